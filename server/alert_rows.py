"""Alerts as rows: opened, changed, over; kept for more than a year after they were over, so that what happened can be looked up.

Of one booth at most MOST_A_DAY begin within a day: a booth in wrong hands that names other failed tests with each heartbeat would fill the table for a year. What does not begin
today is judged again tomorrow; by then somebody has seen to the others.

A level or number that this program never writes is read as the nearest that it does: one row in wrong hands, or of a later version, must not end the alerts of the fleet.

Order of operation (`settle`), in one transaction: what is open for these booths and kinds → what is to be open and is not is put in → what is open and not to
be is over now → what is open and says something else is changed. Two processes that judge at once open one alert (a unique index over what is open).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.alerts import KINDS, Kind, Level, Standing
from server.fleet_rows import alerts, inserting
from server.store import Store

log = logging.getLogger(__name__)

MOST_A_DAY = 100  # every lamp, device and check of a booth, and more than anybody reads
LEVELS = frozenset(level.value for level in Level)
MOST = 1e9  # of any alert's unit: days, hours, percent, gigabytes, seconds


@dataclass(frozen=True, slots=True)
class Alert:
    """One row."""

    serial: int
    booth: str
    kind: str
    name: str
    level: str
    value: float | None
    bound: float | None
    opened_at: datetime
    changed_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What was looked at of a booth, and what of it is to be open."""

    kinds: Collection[Kind]
    standing: Sequence[Standing]


async def read_open(store: Store, booth: str | None = None) -> list[Alert]:
    """Alerts that are not over, the gravest and oldest first; of one booth when it is named."""
    query = (
        sa.select(alerts)
        .where(alerts.c.resolved_at.is_(None))
        .order_by(alerts.c.level, alerts.c.opened_at, alerts.c.serial)
    )
    if booth is not None:
        query = query.where(alerts.c.booth == booth)
    async with store.reading() as connection:
        return [_alert(row) for row in await connection.execute(query)]


async def read_past(store: Store, booth: str, limit: int) -> list[Alert]:
    """A booth's alerts that are over, the newest first."""
    query = sa.select(alerts).where(alerts.c.booth == booth, alerts.c.resolved_at.is_not(None))
    async with store.reading() as connection:
        rows = await connection.execute(query.order_by(alerts.c.opened_at.desc(), alerts.c.serial.desc()).limit(limit))
        return [_alert(row) for row in rows]


def known_levels(found: Sequence[Alert]) -> dict[str, dict[tuple[Kind, str], Level]]:
    """What is open, by booth, as the rules want it. A kind that this version does not know is left alone."""
    levels: dict[str, dict[tuple[Kind, str], Level]] = {}
    for alert in found:
        if alert.kind in KINDS:
            levels.setdefault(alert.booth, {})[Kind(alert.kind), alert.name] = Level(alert.level)
    return levels


async def settle(store: Store, judged: Mapping[str, Judged], now: datetime) -> int:
    """Make the rows say what was judged; returns how many alerts began or ended."""
    async with store.writing() as connection:
        rows = await connection.execute(sa.select(alerts).where(alerts.c.resolved_at.is_(None)))
        present = {(row.booth, row.kind, row.name): _alert(row) for row in rows}
        wanted = {(booth, one.kind.value, one.name): one for booth, its in judged.items() for one in its.standing}
        over = [
            alert
            for key, alert in present.items()
            if key not in wanted and (its := judged.get(alert.booth)) is not None and alert.kind in its.kinds
        ]
        if over:
            done = sa.update(alerts).where(alerts.c.serial == sa.bindparam("its"))
            await connection.execute(done.values(resolved_at=now), [{"its": alert.serial} for alert in over])
        fresh = await _room(connection, [(key, one) for key, one in wanted.items() if key not in present], now)
        if fresh:
            insert = inserting(connection, alerts).on_conflict_do_nothing()
            await connection.execute(insert, [_row(key[0], one, now) for key, one in fresh])
        for key, one in wanted.items():
            if key in present:
                await _change(connection, present[key], one, now)
    for (booth, kind, name), one in fresh:
        log.warning("An alert began.", extra={"booth": booth, "alert": kind, "about": name, "level": one.level})
    for alert in over:
        log.info("An alert is over.", extra={"booth": alert.booth, "alert": alert.kind, "about": alert.name})
    return len(fresh) + len(over)


async def forget_alerts(store: Store, before: datetime) -> int:
    """Removes alerts that were over before; returns how many."""
    async with store.writing() as connection:
        result = await connection.execute(sa.delete(alerts).where(alerts.c.resolved_at < before))
        return int(result.rowcount)


Fresh = list[tuple[tuple[str, str, str], Standing]]


async def _room(connection: AsyncConnection, fresh: Fresh, now: datetime) -> Fresh:
    """Those that may begin."""
    booths = {key[0] for key, _ in fresh}
    if not booths:
        return []
    began = sa.select(alerts.c.booth, sa.func.count()).where(alerts.c.booth.in_(booths))
    newest = began.where(alerts.c.opened_at > now - timedelta(days=1)).group_by(alerts.c.booth)
    counts = Counter({booth: int(count) for booth, count in await connection.execute(newest)})
    allowed = []
    for key, one in fresh:
        counts[key[0]] += 1
        if counts[key[0]] <= MOST_A_DAY:
            allowed.append((key, one))
    for booth, count in counts.items():
        if count > MOST_A_DAY:
            log.info("A booth has had too many alerts today.", extra={"booth": booth, "not_begun": count - MOST_A_DAY})
    return allowed


def _alert(row: Any) -> Alert:
    read = Alert(*row)
    level = read.level if read.level in LEVELS else Level.WARN.value
    return replace(read, level=level, value=_number(read.value), bound=_number(read.bound))


def _number(value: float | None) -> float | None:
    return value if value is not None and abs(value) <= MOST else None


def _row(booth: str, one: Standing, now: datetime) -> dict[str, Any]:
    return {
        "booth": booth,
        "kind": one.kind.value,
        "name": one.name,
        "level": one.level.value,
        "value": one.value,
        "bound": one.bound,
        "opened_at": now,
        "changed_at": now,
        "resolved_at": None,
    }


async def _change(connection: AsyncConnection, alert: Alert, one: Standing, now: datetime) -> None:
    value = alert.value if one.value is None else one.value
    if (alert.level, alert.value, alert.bound) == (one.level, value, one.bound):
        return
    changed: dict[str, Any] = {"level": one.level.value, "value": value, "bound": one.bound}
    if alert.level != one.level:
        changed["changed_at"] = now
    await connection.execute(sa.update(alerts).where(alerts.c.serial == alert.serial).values(**changed))
