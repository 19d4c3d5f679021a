"""Packets by what an officer knows of them, each way by an index: the cost does not grow with how many there are.

Term        the beginning of a digest or of a packet id, or an application's number by its digest, as the registry keeps it (captures). At most
`MOST` matches are read, so a term has at least `SHORTEST` hex digits; booth and time are then looked at row by row
Range       a booth, a time of arrival, or both: newest first, page by page. A page begins behind a `Place`, which is a time and a number, so
that it is found again when the row that stood there was deleted
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from crypto.application import application_digest
from crypto.errors import ApplicationNumberError
from server.application_rows import captures
from server.store import LISTED, Store, StoredPacket, UtcDateTime, listed_packet, packets

# 16^4 beginnings: among 20 million packets one of them has about 300.
SHORTEST = 4
MOST = 500
HEX = re.compile(r"[0-9a-f]{1,64}")
# What people write between the parts of a reference or a number.
BETWEEN = str.maketrans(dict.fromkeys(" -\t\r\n\N{EN DASH}\N{NO-BREAK SPACE}"))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Behind every hex digit, in each collation that a database may sort by.
AFTER_HEX = "g"


@dataclass(frozen=True, slots=True)
class Term:
    """What may be looked for by one word: each that is not None."""

    beginning: str | None = None  # of a digest or packet id
    application: str | None = None  # digest of its number


@dataclass(frozen=True, slots=True)
class Place:
    """Behind which row a page begins."""

    received_at: datetime
    serial: int

    def __str__(self) -> str:
        """As it stands in an address."""
        return f"{(self.received_at - EPOCH) // timedelta(microseconds=1)}-{self.serial}"


@dataclass(frozen=True, slots=True)
class Range:
    """Packets of a booth, or that arrived from `since` on and before `until`; None is any."""

    booth: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return self != Range()

    def holds(self, row: StoredPacket) -> bool:
        """Whether a packet is one of them."""
        return (
            self.booth in {None, row.booth}
            and (self.since is None or row.received_at >= self.since)
            and (self.until is None or row.received_at < self.until)
        )


@dataclass(frozen=True, slots=True)
class Matches:
    """What was found, newest first; `more` says that there may be others."""

    rows: Sequence[StoredPacket]
    more: bool


def read_term(text: str) -> Term | None:
    """What a word may stand for; None when it is nothing that packets are found by."""
    compact = text.translate(BETWEEN).lower()
    beginning = compact if HEX.fullmatch(compact) and len(compact) >= SHORTEST else None
    try:
        application = application_digest(text).hex()
    except ApplicationNumberError:
        application = None
    return Term(beginning, application) if beginning or application else None


def read_place(text: str) -> Place | None:
    """A place from an address; None when it is none."""
    found = re.fullmatch(r"([0-9]{1,17})-([1-9][0-9]{0,17})", text)
    return None if found is None else Place(EPOCH + timedelta(microseconds=int(found[1])), int(found[2]))


async def find_packets(store: Store, term: Term, within: Range, limit: int) -> Matches:
    """The packets that a word finds, `limit` at most, without their receipts."""
    found: dict[int, StoredPacket] = {}
    more = False
    async with store.reading() as connection:
        for query in _queries(term):
            rows = (await connection.execute(query.limit(MOST + 1))).all()
            more |= len(rows) > MOST
            found |= {row.serial: listed_packet(row) for row in rows[:MOST] if within.holds(listed_packet(row))}
    newest_first = sorted(found.values(), key=lambda row: (row.received_at, row.serial), reverse=True)
    return Matches(newest_first[:limit], more or len(newest_first) > limit)


async def page_of(store: Store, within: Range, limit: int, behind: Place | None = None) -> Matches:
    """A page of the packets of a range, without their receipts."""
    at, serial = packets.c.received_at, packets.c.serial
    query = sa.select(*LISTED).order_by(at.desc(), serial.desc()).limit(limit + 1)
    if within.booth is not None:
        query = query.where(packets.c.booth == within.booth)
    if within.since is not None:
        query = query.where(at >= within.since)
    if behind is not None:
        place = sa.tuple_(sa.literal(behind.received_at, UtcDateTime()), sa.literal(behind.serial))
        query = query.where(sa.tuple_(at, serial) < place)
    elif within.until is not None:
        query = query.where(at < within.until)
    async with store.reading() as connection:
        rows = [listed_packet(row) for row in await connection.execute(query)]
    return Matches(rows[:limit], len(rows) > limit)


def _queries(term: Term) -> Iterator[sa.Select[tuple[object, ...]]]:
    """One for each index."""
    if term.beginning is not None:
        for column in (packets.c.sha256, packets.c.packet_id):
            begins = sa.and_(column >= term.beginning, column < term.beginning + AFTER_HEX)
            yield sa.select(*LISTED).where(begins).order_by(column)
    if term.application is not None:
        joined = packets.join(captures, captures.c.packet_sha256 == packets.c.sha256)
        of_it = sa.select(*LISTED).select_from(joined).where(captures.c.application == term.application)
        yield of_it.order_by(captures.c.serial.desc())
