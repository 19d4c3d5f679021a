"""Opening packets at the desk: decrypted and verified in memory, kept there for minutes, never written anywhere.

Order of operation: sealed bytes (digest checked) → crypto.seal.open_packet (header, decryption, signature, chain, manifest, in that order) →
records read as hostile. What fails is told with one opaque reason; the cause goes to the log as exception types alone. Opened packets live in a
small cache with a time limit and a byte limit, which is emptied when the last session ends or another revocation list counts; the short summaries
for the list likewise. A packet whose booth was revoked is refused like any other, with the one opaque reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from crypto.errors import CryptoError
from crypto.keys import RecipientKey, TrustStore
from crypto.seal import Opened, open_packet
from server.attempt_records import AttemptsRecord, read_attempts
from server.booth_trust import BoothTrust
from server.errors import PacketNotOpenedError, StorageCorruptError
from server.objects import ObjectStore
from server.records import PadRecord, ReportRecord, Verdict, VisitRecord, read_pad, read_report, read_visit
from server.store import StoredPacket

log = logging.getLogger(__name__)

T = TypeVar("T")

# Decryption and verification are a few milliseconds of one core; two threads let a long list and one packet share.
THREADS = 2
MAX_CACHED_BYTES = 128 * 1024 * 1024
SUMMARIES_KEPT = 2_000


@dataclass(frozen=True, slots=True, weakref_slot=True)
class PacketContent:
    """An opened and verified packet with its records."""

    stored: StoredPacket
    opened: Opened
    report: ReportRecord | None
    visit: VisitRecord | None
    pad: PadRecord | None = None
    attempts: AttemptsRecord | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What the list shows of a packet: nothing but the row when it was refused."""

    opened: bool
    application_number: str = ""
    typed: bool = False
    unsigned: bool = False
    released: bool = False
    suspected: bool = False  # by the presentation attack check
    has_report: bool = False
    compliant: bool = False
    rules: int = 0
    failed: int = 0
    warnings: int = 0


class _Kept(Generic[T]):
    """Least recently used values with a life, a number and a weight."""

    def __init__(self, count: int, weight: int, life_s: float, clock: Callable[[], float]) -> None:
        self._count, self._weight, self._life_s, self._clock = count, weight, life_s, clock
        self._values: OrderedDict[str, tuple[float, int, T]] = OrderedDict()

    def get(self, key: str) -> T | None:
        self.sweep()
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[2]

    def put(self, key: str, value: T, weight: int) -> None:
        self._values[key] = (self._clock() + self._life_s, weight, value)
        self._values.move_to_end(key)
        while len(self._values) > self._count or (
            len(self._values) > 1 and sum(entry[1] for entry in self._values.values()) > self._weight
        ):
            self._values.popitem(last=False)

    def sweep(self) -> None:
        now = self._clock()
        for key in [key for key, entry in self._values.items() if entry[0] <= now]:
            del self._values[key]

    def drop(self, key: str) -> None:
        self._values.pop(key, None)

    def clear(self) -> None:
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)


class Opener:
    """Opens packets for the desk. Use `open_opener`."""

    def __init__(
        self,
        objects: ObjectStore,
        keys: Sequence[RecipientKey],
        trust: BoothTrust,
        threads: ThreadPoolExecutor,
        *,
        kept: int,
        kept_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects, self._keys, self._trust, self._threads = objects, tuple(keys), trust, threads
        self._judged_by: TrustStore | None = None  # what the kept packets were verified against
        self._contents: _Kept[PacketContent] = _Kept(kept, MAX_CACHED_BYTES, kept_s, clock)
        self._summaries: _Kept[Summary] = _Kept(SUMMARIES_KEPT, SUMMARIES_KEPT, kept_s, clock)

    async def content(self, stored: StoredPacket) -> PacketContent:
        """The opened packet. Raises `PacketNotOpenedError`, `StorageError`."""
        trust = await self._trust_now()
        known = self._contents.get(stored.sha256)
        if known is not None:
            return known
        content, weight = await self._open(stored, trust)
        self._contents.put(stored.sha256, content, weight)
        return content

    async def read(self, stored: StoredPacket) -> PacketContent:
        """The opened packet, which is not kept here. Raises `PacketNotOpenedError`, `StorageError`."""
        return (await self._open(stored, await self._trust_now()))[0]

    async def judges(self) -> tuple[TrustStore, tuple[str, ...]]:
        """What packets are opened under now: roots and what was taken back, and the names of this desk's keys."""
        return await self._trust_now(), tuple(key.key_id for key in self._keys)

    async def sealed(self, stored: StoredPacket) -> bytes:
        """The packet as the booth sent it. Raises `StorageError`."""
        return await self._objects.read(stored.sha256)

    async def summary(self, stored: StoredPacket) -> Summary:
        """What the list shows; a packet that does not open or is damaged is told as such, never raised."""
        trust = await self._trust_now()
        known = self._summaries.get(stored.sha256)
        if known is not None:
            return known
        try:
            content = self._contents.get(stored.sha256) or (await self._open(stored, trust))[0]
        except (PacketNotOpenedError, StorageCorruptError):
            summary = Summary(opened=False)
        else:
            summary = summarise(content)
        self._summaries.put(stored.sha256, summary, 1)
        return summary

    def sweep(self, *, sessions: int) -> None:
        """Let go of what is too old, and of everything when nobody is signed in."""
        for kept in (self._contents, self._summaries):
            if sessions:
                kept.sweep()
            else:
                kept.clear()

    def forget(self, sha256: str) -> None:
        """Let go of a packet that was deleted."""
        self._contents.drop(sha256)
        self._summaries.drop(sha256)

    async def trust(self) -> TrustStore:
        """Whose signatures count now."""
        return await self._trust_now()

    @property
    def held(self) -> int:
        """How many opened packets and summaries are in memory."""
        return len(self._contents) + len(self._summaries)

    async def _trust_now(self) -> TrustStore:
        """What counts now; what was opened under other roots or another revocation list is opened again."""
        trust = await self._trust.current()
        if trust is not self._judged_by:
            self._judged_by = trust
            self.sweep(sessions=0)
        return trust

    async def _open(self, stored: StoredPacket, trust: TrustStore) -> tuple[PacketContent, int]:
        sealed = await self._objects.read(stored.sha256)

        def work() -> PacketContent:
            opened = open_packet(sealed, self._keys, trust)
            parts = opened.parts
            return PacketContent(
                stored,
                opened,
                read_report(parts.get("report.json")),
                read_visit(parts.get("visit.json")),
                read_pad(parts.get("pad/score.json")),
                read_attempts(parts.get("attempts.json")),
            )

        try:
            content = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except CryptoError as error:
            log.warning(
                "A packet did not open.", exc_info=error, extra={"packet": stored.sha256[:16], "booth": stored.booth}
            )
            raise PacketNotOpenedError("The packet could not be opened and verified.") from error
        opened = content.opened
        weight = len(opened.cms) + sum(map(len, opened.parts.values()))
        return content, weight


def summarise(content: PacketContent) -> Summary:
    """The line of an opened packet in the list."""
    report, visit = content.report, content.visit
    findings = report.findings if report else ()
    return Summary(
        opened=True,
        application_number=visit.application_number if visit else "",
        typed=visit.typed if visit else False,
        unsigned=visit.unsigned if visit else False,
        released=visit.released if visit else False,
        suspected=content.pad.warns if content.pad else False,
        has_report=report is not None,
        compliant=report.compliant if report else False,
        rules=len(findings),
        failed=sum(finding.blocks for finding in findings),
        # An advisory rule that was not assessed is told beside its reason and is no remark about the portrait.
        warnings=sum(
            not f.blocks and f.verdict not in {Verdict.PASS, Verdict.NOT_ASSESSED} and f.level != "info"
            for f in findings
        ),
    )


@contextlib.asynccontextmanager
async def open_opener(
    objects: ObjectStore, keys: Sequence[RecipientKey], trust: BoothTrust, *, kept: int, kept_s: float
) -> AsyncIterator[Opener]:
    """An opener; its threads end with it and its memory is let go."""
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="opener")
    opener = Opener(objects, keys, trust, threads, kept=kept, kept_s=kept_s)
    try:
        yield opener
    finally:
        threads.shutdown(wait=True)
        opener.sweep(sessions=0)
