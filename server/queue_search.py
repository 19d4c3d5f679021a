"""The officers' queue, asked for: packets of a state, narrowed by what the desk knows of them, each page in its order by one index.

Filter      state, booth, centre, a rule that failed, presentation attack warning, release by staff, the time of arrival; None is any
Order       what waits for somebody is shown oldest first, what is done newest first; a page begins behind a `Place` (server/packet_search.py)

How a page is read
  - a state alone: the index of states. Everything of any state: the packets themselves.
  - by terms: one of them leads (`TERM_KINDS` from rare to frequent) and the others are looked up for each packet, by their key. At most `LOOKED_AT` packets of the
    leading term are looked at for one page; when it is not full then, it says so and goes on behind them: no page can take long.
  - the newest packets, which no desk has read yet, are looked at by what the database knows of them: state and booth.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.packet_search import Place
from server.queue_reader import read_progress, states_of
from server.queue_rows import OPEN_STATES, QueueState, queue_packets, queue_terms
from server.store import LISTED, Store, StoredPacket, UtcDateTime, listed_packet, packets

# From rare to frequent.
TERM_KINDS = ("pad", "override", "rule", "booth", "centre", "result")
LOOKED_AT = 5_000
# A desk reads hundreds in a minute; more than these are told as being behind.
UNREAD_SHOWN = 300
# Beyond these a count is told as "more than".
COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What is asked for. `terms` are the keyed hashes, from rare to frequent; `booth` is among them, and in the open for packets that were not read yet."""

    state: QueueState | None = None
    terms: tuple[bytes, ...] = ()
    booth: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def oldest_first(self) -> bool:
        """Whether it is work to be done."""
        return self.state in OPEN_STATES

    @property
    def is_open(self) -> bool:
        """Whether the database can answer it for packets that no desk has read."""
        return len(self.terms) == (self.booth is not None)


@dataclass(frozen=True, slots=True)
class QueueLine:
    """A packet in the queue; no summary when no desk has read it."""

    stored: StoredPacket
    state: QueueState
    judged: bytes = b""
    summary: bytes = b""


@dataclass(frozen=True, slots=True)
class QueuePage:
    """A page; `behind` is where the next one begins, None when there is none. `cut` says that it was not searched to the end."""

    lines: tuple[QueueLine, ...]
    behind: Place | None
    cut: bool = False


async def queue_page(store: Store, wanted: Narrowed, limit: int, behind: Place | None = None) -> QueuePage:
    """A page of the queue."""
    async with store.reading() as connection:
        if wanted.terms:
            places, cut = await _by_terms(connection, wanted, limit, behind)
        else:
            places, cut = await _by_state(connection, wanted, limit, behind), None
        found = await _packets_at(connection, [place.serial for place in places])
        if wanted.state is not None and wanted.is_open:
            found |= await _unread(connection, wanted, behind)
        ordered = sorted(found.values(), key=_key, reverse=not wanted.oldest_first)
        more = len(ordered) > limit
        lines = await _lines(connection, ordered[:limit])
    if cut is not None and not more:
        return QueuePage(lines, cut, cut=True)
    last = ordered[limit - 1] if more else None
    return QueuePage(lines, None if last is None else Place(last.received_at, last.serial))


async def lines_of(store: Store, rows: Sequence[StoredPacket]) -> tuple[QueueLine, ...]:
    """The lines of packets that were found otherwise."""
    async with store.reading() as connection:
        return await _lines(connection, rows)


async def find_by_term(store: Store, term: bytes, limit: int) -> list[StoredPacket]:
    """The packets with a term, newest first, whatever their state."""
    async with store.reading() as connection:
        serials: list[int] = []
        for state in QueueState:
            query = sa.select(queue_terms.c.serial).where(queue_terms.c.term == term, queue_terms.c.state == state)
            newest = query.order_by(queue_terms.c.received_at.desc(), queue_terms.c.serial.desc()).limit(limit)
            serials += (await connection.execute(newest)).scalars()
        found = await _packets_at(connection, serials)
    return sorted(found.values(), key=_key, reverse=True)[:limit]


async def count_states(store: Store) -> dict[QueueState, int]:
    """How many packets are in each state, up to one more than `COUNTED`; what no desk has read yet is not counted."""
    counts = []
    for state in QueueState:
        some = sa.select(sa.literal(1)).where(queue_packets.c.state == state).limit(COUNTED + 1).subquery()
        counts.append(sa.select(sa.func.count()).select_from(some).scalar_subquery())
    async with store.reading() as connection:
        row = (await connection.execute(sa.select(*counts))).one()
    return dict(zip(QueueState, map(int, row), strict=True))


async def count_unread(store: Store) -> int:
    """How many packets no desk has read yet, nearly: those that were deleted meanwhile are among them."""
    async with store.reading() as connection:
        return (await read_progress(connection)).behind


def _key(stored: StoredPacket) -> tuple[datetime, int]:
    return stored.received_at, stored.serial


def _within(
    wanted: Narrowed, at: sa.ColumnElement[datetime], serial: sa.ColumnElement[int], behind: Place | None
) -> list[sa.ColumnElement[bool]]:
    """The time of arrival, and behind which place."""
    found: list[sa.ColumnElement[bool]] = []
    if wanted.since is not None:
        found.append(at >= wanted.since)
    if wanted.until is not None:
        found.append(at < wanted.until)
    if behind is not None:
        place = sa.tuple_(sa.literal(behind.received_at, UtcDateTime()), sa.literal(behind.serial))
        here = sa.tuple_(at, serial)
        found.append(here > place if wanted.oldest_first else here < place)
    return found


async def _by_state(connection: AsyncConnection, wanted: Narrowed, limit: int, behind: Place | None) -> list[Place]:
    table = packets if wanted.state is None else queue_packets
    at, serial = table.c.received_at, table.c.serial
    query = sa.select(at, serial).where(*_within(wanted, at, serial, behind)).limit(limit + 1)
    if wanted.state is not None:
        query = query.where(table.c.state == wanted.state)
    ordered = query.order_by(at, serial) if wanted.oldest_first else query.order_by(at.desc(), serial.desc())
    return [Place(*row) for row in await connection.execute(ordered)]


async def _by_terms(
    connection: AsyncConnection, wanted: Narrowed, limit: int, behind: Place | None
) -> tuple[list[Place], Place | None]:
    """Places of packets that have all terms, and where the looking ended when it was given up."""
    lead, *others = wanted.terms
    found: list[Place] = []
    ends: list[Place] = []
    for state in QueueState if wanted.state is None else (wanted.state,):
        its = queue_terms.c
        query = sa.select(its.received_at, its.serial).where(its.term == lead, its.state == state)
        query = query.where(*_within(wanted, its.received_at, its.serial, behind))
        order = (its.received_at, its.serial)
        ordered = query.order_by(*(order if wanted.oldest_first else (one.desc() for one in order)))
        if not others:
            found += [Place(*row) for row in await connection.execute(ordered.limit(limit + 1))]
            continue
        looked = ordered.limit(LOOKED_AT).subquery()
        has = [_has(term, state, looked) for term in others]
        matching = sa.select(looked.c.received_at, looked.c.serial).where(*has).limit(limit + 1)
        at = (looked.c.received_at, looked.c.serial)
        here = matching.order_by(*(at if wanted.oldest_first else (one.desc() for one in at)))
        matches = [Place(*row) for row in await connection.execute(here)]
        found += matches
        if len(matches) <= limit:
            last = await connection.execute(ordered.offset(LOOKED_AT - 1).limit(1))
            ends += [Place(*row) for row in last]
    if not ends:
        return found, None
    # Of several states the one whose looking ended first says how far the page is right.
    end = _first(ends, oldest_first=wanted.oldest_first)
    return [one for one in found if _first([one, end], oldest_first=wanted.oldest_first) == one], end


def _first(places: Sequence[Place], *, oldest_first: bool) -> Place:
    choose = min if oldest_first else max
    return choose(places, key=lambda place: (place.received_at, place.serial))


def _has(term: bytes, state: QueueState, looked: sa.Subquery) -> sa.ColumnElement[bool]:
    its = queue_terms.alias()
    same = (its.c.received_at == looked.c.received_at, its.c.serial == looked.c.serial)
    return sa.select(sa.literal(1)).where(its.c.term == term, its.c.state == state, *same).exists()


async def _unread(connection: AsyncConnection, wanted: Narrowed, behind: Place | None) -> dict[int, StoredPacket]:
    """Packets of the state that no desk has read yet."""
    at = (await read_progress(connection)).position
    query = sa.select(*LISTED).where(
        packets.c.position > at, *_within(wanted, packets.c.received_at, packets.c.serial, behind)
    )
    if wanted.booth is not None:
        query = query.where(packets.c.booth == wanted.booth)
    rows = [
        listed_packet(row) for row in await connection.execute(query.order_by(packets.c.position).limit(UNREAD_SHOWN))
    ]
    states = await states_of(connection, [row.sha256 for row in rows])
    return {row.serial: row for row in rows if states[row.sha256] is wanted.state}


async def _packets_at(connection: AsyncConnection, serials: Collection[int]) -> dict[int, StoredPacket]:
    if not serials:
        return {}
    rows = await connection.execute(sa.select(*LISTED).where(packets.c.serial.in_(serials)))
    return {row.serial: listed_packet(row) for row in rows}


async def _lines(connection: AsyncConnection, rows: Sequence[StoredPacket]) -> tuple[QueueLine, ...]:
    """With what was kept of each, and its state by what was decided."""
    digests = [row.sha256 for row in rows]
    states = await states_of(connection, digests)
    its = queue_packets.c
    query = sa.select(its.packet_sha256, its.judged, its.summary).where(its.packet_sha256.in_(digests))
    kept = {sha256: (bytes(judged), bytes(summary)) for sha256, judged, summary in await connection.execute(query)}
    return tuple(QueueLine(row, states[row.sha256], *kept.get(row.sha256, (b"", b""))) for row in rows)
