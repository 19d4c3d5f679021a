"""What the desk keeps of an opened packet for its lists, all of it under the desk's secret: terms to find it by, and the sealed summary of its line.

Terms are keyed hashes of a kind and a value (`TERM_KINDS`). Two packets with the same term have the same hash: who reads the database can count how often
each occurs and cannot tell what it says, nor try values, because the key is in no database. An application's number is looked for by the keyed hash of its
digest, under a key of its own. The summary is what a line of the list shows, encrypted for this packet alone.

`judged` tells under what a packet was opened: roots, what was taken back, the desk's keys, the version of these terms. What was opened under
something else is opened anew before it is shown or counted: a packet whose booth was revoked since is told as refused, as it is everywhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

from cryptography.hazmat.primitives.hashes import SHA256

from crypto.application import application_digest
from crypto.desk_secret import DeskSecret
from crypto.errors import ApplicationNumberError, KeyUnavailableError
from crypto.trust import TrustStore
from server.opening import PacketContent, Summary, summarise
from server.queue_rows import TERM_BYTES
from server.records import Verdict
from server.store import StoredPacket
from server.views import verdict_key

# Another one when terms or summary change: packets that are still open are then read anew.
VERSION = 1
JUDGED_BYTES = 8
PURPOSE = "terms"
# A signed report can name as many rules as it likes; a profile has about forty.
MOST_RULES = 60
MOST_VALUE = 128


@dataclass(frozen=True, slots=True)
class Reading:
    """What is kept of one packet."""

    terms: tuple[bytes, ...]
    summary: bytes


class DeskTerms:
    """The terms and summaries of one desk."""

    def __init__(self, secret: DeskSecret) -> None:
        self._secret = secret

    @property
    def owner(self) -> bytes:
        """Tells this secret's terms from those of another one."""
        return self._mac("owner", "")

    def term(self, kind: str, value: str) -> bytes:
        """The term of a value; `kind` is one of those that `read` makes."""
        return self._mac(kind, value)

    def application(self, digest: str) -> bytes:
        """The term of an application, by the digest of its number in hex."""
        return self._secret.mac("application", bytes.fromhex(digest))[:TERM_BYTES]

    def judged(self, trust: TrustStore, keys: Iterable[str]) -> bytes:
        """Under what packets are opened now; the same as long as nothing changes that could open or refuse one of them."""
        taken_back = sorted((crl.authority.hex(), f"{serial:x}") for crl in trust.crls for serial in crl.entries)
        roots = sorted(root.fingerprint(SHA256()).hex() for root in trust.roots)
        told = json.dumps([VERSION, sorted(keys), roots, taken_back])
        return self._mac("judged", hashlib.sha256(told.encode()).hexdigest())[:JUDGED_BYTES]

    def read(self, stored: StoredPacket, content: PacketContent | None) -> Reading:
        """What is kept of a packet; None is one that did not open. Its booth is known all the same: it signed the upload."""
        summary = Summary(opened=False) if content is None else summarise(content)
        terms = [self.term("result", verdict_key(summary)), self.term("booth", stored.booth)]
        if content is not None:
            terms += [self.term(kind, value[:MOST_VALUE]) for kind, value in _found(content, summary)]
            terms += self._application_of(summary)
        return Reading(tuple(dict.fromkeys(terms)), self._seal(stored.sha256, summary))

    def summary(self, sha256: str, sealed: bytes) -> Summary | None:
        """The summary of a packet's row; None when it was made under another secret, for another packet, or changed."""
        try:
            told = json.loads(self._secret.open(PURPOSE, sealed, sha256.encode()))
            return Summary(**told)
        except (KeyUnavailableError, ValueError, TypeError):
            return None

    def _seal(self, sha256: str, summary: Summary) -> bytes:
        default = {one.name: one.default for one in fields(Summary)}
        told = {name: value for name, value in asdict(summary).items() if name == "opened" or value != default[name]}
        return self._secret.seal(PURPOSE, json.dumps(told, separators=(",", ":")).encode(), sha256.encode())

    def _application_of(self, summary: Summary) -> list[bytes]:
        try:
            return [self.application(application_digest(summary.application_number).hex())]
        except ApplicationNumberError:
            return []

    def _mac(self, kind: str, value: str) -> bytes:
        return self._secret.mac(PURPOSE, f"{kind}\0{value}".encode())[:TERM_BYTES]


def _found(content: PacketContent, summary: Summary) -> Iterable[tuple[str, str]]:
    """Kind and value of everything that a list may be narrowed to."""
    manifest, report = content.opened.manifest, content.report
    yield "centre", manifest.centre
    portrait = portrait_digest(content)
    if portrait is not None:
        yield "portrait", portrait
    if report is not None:
        yield "software", report.software
        yield "profile", report.profile
        failed = [one.rule for one in report.findings if one.blocks or one.verdict is Verdict.FAIL]
        yield from (("rule", rule) for rule in list(dict.fromkeys(failed))[:MOST_RULES])
    if summary.suspected:
        yield "pad", "warns"
    if summary.released:
        yield "override", "released"
    if summary.typed:
        yield "number", "typed"


def portrait_digest(content: PacketContent) -> str | None:
    """The digest of the portrait's file, whichever form it has; None when there is none."""
    parts = content.opened.manifest.parts
    found = (parts[name].sha256 for name in ("portrait.jpg", "portrait.jp2") if name in parts)
    return next(found, None)
