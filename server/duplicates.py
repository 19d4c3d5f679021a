"""Other packets with the same portrait, or for the same application: what an officer should know before he decides.

No faces are compared, and nothing is kept that faces could be compared with. Two things are: the digest of the portrait's file, which is the same only when the very same file
was sent twice, and the application's number. Both are found by the keyed hashes that the desk keeps of packets it has opened (server/desk_terms.py), so the database
says of no two people that they are one.

Several portraits of one application are usual: each try after a refusal is one. The same file for another application never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crypto.application import application_digest
from crypto.errors import ApplicationNumberError
from server import views
from server.desk_terms import DeskTerms, portrait_digest
from server.messages import Language
from server.opening import PacketContent
from server.queue_search import QueueLine, find_by_term, lines_of
from server.store import Store

MOST = 10  # of each kind; that there are more is told


@dataclass(frozen=True, slots=True)
class DuplicateLine:
    """Another packet."""

    sha256: str
    reference: str
    booth: str
    received: str
    state: str
    other_application: bool  # the same file, for somebody else


@dataclass(frozen=True, slots=True)
class DuplicatesCard:
    """What the packet's page tells of others like it."""

    same_portrait: list[DuplicateLine]
    same_application: list[DuplicateLine]
    more: bool

    @property
    def alarms(self) -> bool:
        """Whether the same file came for another application."""
        return any(line.other_application for line in self.same_portrait)


async def duplicates_card(
    store: Store, terms: DeskTerms, content: PacketContent, language: Language
) -> DuplicatesCard | None:
    """The card; None when there is no other."""
    own = content.stored.sha256
    number = content.visit.application_number if content.visit else ""
    digest = portrait_digest(content)
    portraits = [] if digest is None else await _others(store, terms.term("portrait", digest), own)
    known = {line.stored.sha256 for line in portraits}
    filed = [line for line in await _of_application(store, terms, number, own) if line.stored.sha256 not in known]
    if not portraits and not filed:
        return None

    def told(line: QueueLine) -> DuplicateLine:
        return DuplicateLine(
            line.stored.sha256,
            views.reference(line.stored),
            line.stored.booth,
            language.time(line.stored.received_at),
            language(f"queue.tab.{line.state}"),
            _is_for_another(terms, line, number),
        )

    more = len(portraits) > MOST or len(filed) > MOST
    return DuplicatesCard([told(one) for one in portraits[:MOST]], [told(one) for one in filed[:MOST]], more)


async def is_copy(store: Store, terms: DeskTerms, content: PacketContent) -> bool:
    """Whether the very same portrait file came for another application, as far as the desks have read what came."""
    digest = portrait_digest(content)
    if digest is None:
        return False
    number = content.visit.application_number if content.visit else ""
    others = await _others(store, terms.term("portrait", digest), content.stored.sha256)
    return any(_is_for_another(terms, line, number) for line in others)


def _is_for_another(terms: DeskTerms, line: QueueLine, number: str) -> bool:
    summary = terms.summary(line.stored.sha256, line.summary)
    return summary is not None and summary.opened and _same(summary.application_number) != _same(number)


async def _of_application(store: Store, terms: DeskTerms, number: str, own: str) -> Sequence[QueueLine]:
    digest = _named(number)
    return () if digest is None else await _others(store, terms.application(digest), own)


def _same(number: str) -> str:
    """What two writings of one number have in common."""
    return _named(number) or number


def _named(number: str) -> str | None:
    """The one digest of a number however it is written; None when it is none."""
    try:
        return application_digest(number).hex()
    except ApplicationNumberError:
        return None


async def _others(store: Store, term: bytes, own: str) -> list[QueueLine]:
    """Packets with a term besides this one, newest first, one more than is shown."""
    rows = [row for row in await find_by_term(store, term, MOST + 2) if row.sha256 != own]
    return list(await lines_of(store, rows[: MOST + 1]))
