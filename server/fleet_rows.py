"""The rows about booths: sites, booths, each booth's newest heartbeat, the counts of its days, and alerts.

Nothing here is of a person or of a visit (crypto/heartbeat.py says what a booth may tell). None of it is signed: a heartbeat is believed because its
request was signed, and what it changes can be told again by the booth. `intake log verify` has therefore nothing to say of these tables; a backup has them.

`fleet_days` has one row for each booth, day, kind and name:

    kind      name                            count                                    total
    visits    started                         visits that began                        the same
    visits    finished | cancelled | timed_out | handed_to_staff | overridden   of them   visits that began
    portraits assessed                        portraits that were assessed             the same
    rule      the rule's id                   portraits that failed it                 portraits that it was assessed in
    lamp      the lamp's name                 light of that day, in 1/100 %            10000: the light of the baseline
    seen      the lamp's name                 light as the newest test of that day saw it, in 1/100 %   10000
    span      days                            days that these counts are of            1

so that count / total is a share everywhere. A day of a span above 1 stands for quiet days before it, too. "seen" comes with each heartbeat and is the one kind
that the day which still runs has.

Order of operation of heartbeats, in one transaction for those that came together: the nonces are used up → the booths have rows → the newest heartbeats are replaced,
unless the one that is here was sent later (one from a time to come was taken while the clocks were wrong, and counts no longer) → days are written anew when they changed since: all rows of the days that the told ones cover go, then those told are put in.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.errors import HeartbeatError
from crypto.heartbeat import Day, Heartbeat, read_heartbeat
from crypto.http_signature import WINDOW_S
from server.errors import ReplayedRequestError
from server.store import Nonce, Store, UtcDateTime, metadata

log = logging.getLogger(__name__)

REPLAYED = "This signature was used before: sign the request anew."
AHEAD = timedelta(seconds=WINDOW_S)  # so far the clock of a booth may be before the intake's
HUNDREDTHS = 100  # of a percent
WHOLE_LAMP = 100 * HUNDREDTHS
VISITS, PORTRAITS, RULE, LAMP, SEEN, SPAN = "visits", "portraits", "rule", "lamp", "seen", "span"

sites = sa.Table(
    "sites",
    metadata,
    sa.Column("site", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("made_at", UtcDateTime(), nullable=False),
)

booths = sa.Table(
    "booths",
    metadata,
    sa.Column("booth", sa.String(64), primary_key=True),
    sa.Column("site", sa.String(64), nullable=True, index=True),
    sa.Column("label", sa.String(80), nullable=False),  # where it stands, in the operator's words; "" when nobody said
    sa.Column("made_at", UtcDateTime(), nullable=False),
    sa.Column("retired_at", UtcDateTime(), nullable=True),
)

heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("booth", sa.String(64), primary_key=True),
    sa.Column("received_at", UtcDateTime(), nullable=False),
    sa.Column("sent_at", UtcDateTime(), nullable=False),
    sa.Column(
        "days_sha256", sa.String(64), nullable=False
    ),  # what was told of days, so that they are written when they change
    sa.Column("body", sa.LargeBinary(), nullable=False),  # without its days, which have rows of their own
)

fleet_days = sa.Table(
    "fleet_days",
    metadata,
    sa.Column("booth", sa.String(64), primary_key=True),
    sa.Column("day", sa.Date(), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("count", sa.BigInteger(), nullable=False),
    sa.Column("total", sa.BigInteger(), nullable=False),
    # Sums over the fleet ask by kind and days.
    sa.Index("ix_fleet_days_kind_day", "kind", "day"),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("serial", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("booth", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),  # of the lamp, device, rule or check; "" for the booth itself
    sa.Column("level", sa.String(8), nullable=False),
    sa.Column("value", sa.Double(), nullable=True),
    sa.Column("bound", sa.Double(), nullable=True),
    sa.Column("opened_at", UtcDateTime(), nullable=False),
    sa.Column("changed_at", UtcDateTime(), nullable=False),
    sa.Column("resolved_at", UtcDateTime(), nullable=True),
    sa.Index("ix_alerts_booth_opened", "booth", "opened_at"),
    sa.Index("ix_alerts_resolved", "resolved_at"),
    sqlite_autoincrement=True,
)
# One open alert for each thing, whatever two processes do at once.
sa.Index(
    "ix_alerts_open",
    alerts.c.booth,
    alerts.c.kind,
    alerts.c.name,
    unique=True,
    sqlite_where=alerts.c.resolved_at.is_(None),
    postgresql_where=alerts.c.resolved_at.is_(None),
)


@dataclass(frozen=True, slots=True)
class LastBeat:
    """A booth's newest heartbeat, without its days, and when it came. None for one that an older intake took and this one cannot read."""

    received_at: datetime
    beat: Heartbeat | None


@dataclass(frozen=True, slots=True)
class DayCount:
    """One row of `fleet_days`."""

    booth: str
    day: date
    kind: str
    name: str
    count: int
    total: int


def inserting(connection: AsyncConnection, table: sa.Table) -> Any:
    """An INSERT that knows what to do about a row that is there."""
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


@dataclass(frozen=True, slots=True)
class Told:
    """A heartbeat that came, and the part of its request's signature that counts once."""

    beat: Heartbeat
    received_at: datetime
    nonce: Nonce


async def note_heartbeats(store: Store, came: Sequence[Told]) -> list[bool]:
    """Keep heartbeats in one transaction; says of each whether its request was new. Raises `StorageError`, and then none is kept."""
    async with store.writing() as connection:
        taken = await store.take_nonces(connection, [one.nonce for one in came])
        newest: dict[str, Told] = {}
        for one, is_new in sorted(zip(came, taken, strict=True), key=lambda pair: pair[0].beat.sent_at):
            if is_new:
                newest[one.beat.booth] = one
        if newest:
            # By name, so that transactions of two intakes wait for each other instead of for ever.
            await _write(connection, [newest[booth] for booth in sorted(newest)])
    return taken


async def note_heartbeat(store: Store, beat: Heartbeat, received_at: datetime, nonce: Nonce) -> None:
    """Keep one heartbeat. Raises `ReplayedRequestError`, `StorageError`."""
    if await note_heartbeats(store, [Told(beat, received_at, nonce)]) == [False]:
        raise ReplayedRequestError(REPLAYED)


async def _write(connection: AsyncConnection, came: Sequence[Told]) -> None:
    """One heartbeat of each of some booths."""
    names = [one.beat.booth for one in came]
    made = inserting(connection, booths).on_conflict_do_nothing(index_elements=[booths.c.booth])
    rows = [{"booth": one.beat.booth, "label": "", "made_at": one.received_at} for one in came]
    await connection.execute(made, rows)
    known = sa.select(heartbeats.c.booth, heartbeats.c.sent_at, heartbeats.c.days_sha256)
    locked = known.where(heartbeats.c.booth.in_(names)).order_by(heartbeats.c.booth).with_for_update()
    before = {row.booth: row for row in await connection.execute(locked)}
    later = [
        one
        for one in came
        if one.beat.booth not in before
        or not one.beat.sent_at < before[one.beat.booth].sent_at <= one.received_at + AHEAD
    ]
    if not later:
        return
    digests = {one.beat.booth: _days_digest(one.beat) for one in later}
    put = inserting(connection, heartbeats)
    changed = put.on_conflict_do_update(
        index_elements=[heartbeats.c.booth],
        set_={name: put.excluded[name] for name in ("received_at", "sent_at", "days_sha256", "body")},
    )
    rows = [
        {
            "booth": one.beat.booth,
            "received_at": one.received_at,
            "sent_at": one.beat.sent_at,
            "days_sha256": digests[one.beat.booth],
            "body": one.beat.model_copy(update={"days": ()}).to_bytes(),
        }
        for one in later
    ]
    await connection.execute(changed, rows)
    await _write_seen(connection, [one.beat for one in later])
    retold = [
        one.beat
        for one in later
        if one.beat.booth not in before or before[one.beat.booth].days_sha256 != digests[one.beat.booth]
    ]
    await _write_days(connection, retold)


def _days_digest(beat: Heartbeat) -> str:
    return hashlib.sha256(b"".join(day.model_dump_json().encode() for day in beat.days)).hexdigest()


async def note_booth(connection: AsyncConnection, booth: str, at: datetime) -> None:
    """That there is a booth of this name, with nothing known of it yet."""
    made = inserting(connection, booths).values(booth=booth, site=None, label="", made_at=at, retired_at=None)
    await connection.execute(made.on_conflict_do_nothing(index_elements=[booths.c.booth]))


async def read_last_beats(store: Store) -> dict[str, LastBeat]:
    """Every booth's newest heartbeat."""
    query = sa.select(heartbeats.c.booth, heartbeats.c.received_at, heartbeats.c.body)
    async with store.reading() as connection:
        rows = (await connection.execute(query)).all()
    # In a thread: a thousand of them take a second.
    return await asyncio.to_thread(lambda: {row.booth: _last_beat(row.received_at, row.body) for row in rows})


async def read_last_beat(store: Store, booth: str) -> LastBeat | None:
    """A booth's newest heartbeat."""
    query = sa.select(heartbeats.c.received_at, heartbeats.c.body).where(heartbeats.c.booth == booth)
    async with store.reading() as connection:
        row = (await connection.execute(query)).one_or_none()
    return None if row is None else _last_beat(row.received_at, row.body)


async def read_days(
    store: Store,
    since: date,
    until: date,
    *,
    kinds: Sequence[str] = (),
    booth: str | None = None,
    site: str | None = None,
) -> list[DayCount]:
    """The counts of the days from `since` to `until`, both included, by booth, day, kind and name; of one booth or site when it is named."""
    query = sa.select(fleet_days).where(fleet_days.c.day.between(since, until))
    if kinds:
        query = query.where(fleet_days.c.kind.in_(kinds))
    if booth is not None:
        query = query.where(fleet_days.c.booth == booth)
    if site is not None:
        query = query.where(fleet_days.c.booth.in_(sa.select(booths.c.booth).where(booths.c.site == site)))
    query = query.order_by(*(fleet_days.c[name] for name in ("booth", "day", "kind", "name")))
    async with store.reading() as connection:
        return [DayCount(*row) for row in await connection.execute(query)]


async def sum_days(
    store: Store,
    since: date,
    until: date,
    kind: str,
    *,
    by: Sequence[str] = ("booth", "name"),
    booth: str | None = None,
    site: str | None = None,
    name: str | None = None,
) -> list[dict[str, Any]]:
    """Sums of `count` and `total` over days, grouped by columns of `fleet_days` and by "site"; a booth without a site has None there.

    Of one booth, site or name when it is named.
    """
    columns = {"site": booths.c.site} | {which: fleet_days.c[which] for which in ("booth", "day", "name")}
    chosen = [columns[which].label(which) for which in by]
    only = {"booth": booth, "site": site, "name": name}
    query = (
        sa.select(
            *chosen, sa.func.sum(fleet_days.c.count).label("count"), sa.func.sum(fleet_days.c.total).label("total")
        )
        .select_from(fleet_days.join(booths, booths.c.booth == fleet_days.c.booth, isouter=True))
        .where(fleet_days.c.kind == kind, fleet_days.c.day.between(since, until))
        .where(*(columns[which] == value for which, value in only.items() if value is not None))
        .group_by(*(columns[which] for which in by))
        .order_by(*(columns[which] for which in by))
    )
    async with store.reading() as connection:
        rows = [dict(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001 (the documented way to read a row by names)
    return [row | {"count": int(row["count"]), "total": int(row["total"])} for row in rows]


async def forget_days(store: Store, before: date) -> int:
    """Removes the counts of days before this one; returns how many rows."""
    async with store.writing() as connection:
        result = await connection.execute(sa.delete(fleet_days).where(fleet_days.c.day < before))
        return int(result.rowcount)


def _last_beat(received_at: datetime, body: bytes) -> LastBeat:
    try:
        beat = read_heartbeat(bytes(body))
    except HeartbeatError as error:
        log.warning("A stored heartbeat cannot be read; the booth's next one replaces it.", exc_info=error)
        beat = None
    return LastBeat(received_at, beat)


async def _write_days(connection: AsyncConnection, beats: Sequence[Heartbeat]) -> None:
    told = [(beat.booth, day) for beat in beats for day in beat.days]
    if not told:
        return
    covered = fleet_days.c.day.between(sa.bindparam("its_first"), sa.bindparam("its_last"))
    its = sa.and_(fleet_days.c.booth == sa.bindparam("its_booth"), covered, fleet_days.c.kind != SEEN)
    spans = [{"its_booth": booth, "its_first": day.since, "its_last": day.day} for booth, day in told]
    await connection.execute(sa.delete(fleet_days).where(its), spans)
    await connection.execute(sa.insert(fleet_days), [row for booth, day in told for row in _rows_of(booth, day)])


def _rows_of(booth: str, day: Day) -> list[dict[str, object]]:
    started = day.visits.started
    told = [(VISITS, name, count, started) for name, count in day.visits]
    told.append((PORTRAITS, "assessed", day.portraits, day.portraits))
    told += [(RULE, rule, count.failed, count.assessed) for rule, count in day.rules.items()]
    told += [(LAMP, lamp, round(percent * HUNDREDTHS), WHOLE_LAMP) for lamp, percent in day.lamps.items()]
    told.append((SPAN, "days", (day.day - day.since) // timedelta(days=1) + 1, 1))
    return [
        {"booth": booth, "day": day.day, "kind": kind, "name": name, "count": count, "total": total}
        for kind, name, count, total in told
    ]


async def _write_seen(connection: AsyncConnection, beats: Sequence[Heartbeat]) -> None:
    """What the newest test saw of the lamps, under the day of the heartbeat."""
    rows = [
        {
            "booth": beat.booth,
            "day": beat.sent_at.date(),
            "kind": SEEN,
            "name": lamp,
            "count": round(light.response_pct * HUNDREDTHS),
            "total": WHOLE_LAMP,
        }
        for beat in beats
        for lamp, light in sorted(beat.lamps.items())
    ]
    if rows:
        put = inserting(connection, fleet_days)
        changed = put.on_conflict_do_update(
            index_elements=[fleet_days.c[name] for name in ("booth", "day", "kind", "name")],
            set_={"count": put.excluded.count, "total": put.excluded.total},
        )
        await connection.execute(changed, rows)
