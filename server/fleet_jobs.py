"""What an intake does about booths in the background: alerts every minute, trends of days every hour, forgetting. One process of any number does each (server/jobs.py).

Judging reads all newest heartbeats and all open alerts, judges in a thread, and writes what changed; a thousand booths take some tenths of a second
(tests/bench/fleet_beats.py). Days are judged every hour: they change once a day.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime, timedelta

import sqlalchemy as sa

from server.alert_rows import Alert, Judged, forget_alerts, known_levels, read_open, settle
from server.alerts import (
    BASE_DAYS,
    KINDS,
    OF_BEATS,
    OF_DAYS,
    RECENT_DAYS,
    TREND_DAYS,
    Kind,
    Level,
    Open,
    Share,
    Standing,
    is_silent,
    judge_beat,
    judge_lamp,
    judge_share,
    judge_silence,
)
from server.config import IntakeSettings
from server.fleet_rows import (
    HUNDREDTHS,
    RULE,
    SEEN,
    VISITS,
    DayCount,
    LastBeat,
    booths,
    forget_days,
    read_days,
    read_last_beats,
    sum_days,
)
from server.jobs import Job
from server.metrics import Metrics
from server.store import Store

log = logging.getLogger(__name__)

ALERTS_S, TRENDS_S, FORGET_S = 60.0, 3600.0, 6 * 3600.0


class Watch:
    """Judges the fleet of one database."""

    def __init__(self, store: Store, settings: IntakeSettings, now: Callable[[], datetime]) -> None:
        self._store, self._settings, self._now = store, settings, now
        self._began = now()

    def jobs(self) -> list[Job]:
        """The work in its rhythms."""
        return [
            Job("fleet-alerts", ALERTS_S, self.judge_beats),
            Job("fleet-trends", TRENDS_S, self.judge_days),
            Job("fleet-retention", FORGET_S, self.forget),
        ]

    async def judge_beats(self) -> int:
        """Silence, and what the newest heartbeats say; returns how many alerts began or ended."""
        now, beats = self._now(), await read_last_beats(self._store)
        retired, before = await self._retired(), await read_open(self._store)
        interval_s = self._settings.heartbeat_s

        def judge() -> dict[str, Judged]:
            levels = known_levels(before)
            judged = {
                booth: _judge(last, now, interval_s, levels.get(booth, {}), self._began)
                for booth, last in beats.items()
                if booth not in retired
            }
            return judged | {booth: Judged(frozenset(Kind), ()) for booth in retired}

        return await settle(self._store, await asyncio.to_thread(judge), now)

    async def judge_days(self) -> int:
        """Lamps whose light falls, shares that have risen; returns how many alerts began or ended."""
        now = self._now()
        today, yesterday = now.date(), now.date() - timedelta(days=1)
        begin = today - timedelta(days=RECENT_DAYS)
        seen = await read_days(self._store, today - timedelta(days=TREND_DAYS), today, kinds=[SEEN])
        recent = await self._shares(begin, yesterday)
        base = await self._shares(begin - timedelta(days=BASE_DAYS), begin - timedelta(days=1))
        retired, before = await self._retired(), await read_open(self._store)
        judged = await asyncio.to_thread(_judge_days, seen, recent, base, before)
        # A silent booth tells no days: what was wrong with it is not over for that (server/alerts.py).
        apart = retired | {alert.booth for alert in before if alert.kind == Kind.SILENT}
        return await settle(self._store, {booth: its for booth, its in judged.items() if booth not in apart}, now)

    async def forget(self) -> int:
        """Removes counts and alerts that are old; returns how many rows."""
        now = self._now()
        days = await forget_days(self._store, now.date() - timedelta(days=self._settings.fleet_days_kept))
        past = await forget_alerts(self._store, now - timedelta(days=self._settings.alerts_kept_days))
        if days or past:
            log.info("Old counts and alerts of booths were removed.", extra={"counts": days, "alerts": past})
        return days + past

    async def _retired(self) -> set[str]:
        async with self._store.reading() as connection:
            found = await connection.execute(sa.select(booths.c.booth).where(booths.c.retired_at.is_not(None)))
            return set(found.scalars())

    async def _shares(self, since: date, until: date) -> dict[tuple[str, str], Share]:
        """Of each booth: the share of portraits that failed each rule, and under "visits" that of visits without a portrait."""
        rules = await sum_days(self._store, since, until, RULE)
        shares = {(row["booth"], row["name"]): Share(row["count"], row["total"]) for row in rules}
        for row in await sum_days(self._store, since, until, VISITS):
            if row["name"] == "finished":  # not the sum of other endings: one that staff released, or gave up, has two
                unfinished = max(0, row["total"] - row["count"])  # one that began before midnight ends in the next day
                shares[row["booth"], VISITS] = Share(unfinished, row["total"])
        return shares


def _judge(last: LastBeat, now: datetime, interval_s: float, before: Open, began: datetime) -> Judged:
    silence = judge_silence(last.received_at, now, interval_s, before, began)
    if last.beat is None or is_silent(last.received_at, now, interval_s):
        return Judged({Kind.SILENT}, silence)
    return Judged({Kind.SILENT, *OF_BEATS}, (*silence, *judge_beat(last.beat, before)))


def _judge_days(
    seen: list[DayCount],
    recent: Mapping[tuple[str, str], Share],
    base: Mapping[tuple[str, str], Share],
    before: list[Alert],
) -> dict[str, Judged]:
    levels = known_levels(before)
    standing: dict[str, list[Standing]] = {booth: [] for booth in levels}
    lamps: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in seen:
        lamps.setdefault((row.booth, row.name), []).append((row.day.toordinal(), row.count / HUNDREDTHS))
    for (booth, lamp), points in lamps.items():
        standing.setdefault(booth, []).extend(judge_lamp(lamp, points, levels.get(booth, {})))
    for (booth, name), share in recent.items():
        its = judge_share(name, share, base.get((booth, name), Share(0, 0)), levels.get(booth, {}))
        standing.setdefault(booth, []).extend(its)
    return {booth: Judged(OF_DAYS, its) for booth, its in standing.items()}


def tell_fleet(
    store: Store, metrics: Metrics, interval_s: float, now: Callable[[], datetime]
) -> Callable[[], Awaitable[None]]:
    """Brings the gauges of the fleet up to date."""

    async def tell() -> None:
        counts = dict.fromkeys(((kind, level) for kind in Kind for level in Level), 0)
        for alert in await read_open(store):
            if alert.kind in KINDS:
                counts[Kind(alert.kind), Level(alert.level)] += 1
        for (kind, level), count in counts.items():
            metrics.alerts.labels(kind, level).set(count)
        at, beats = now(), await read_last_beats(store)
        async with store.reading() as connection:
            gone = set(await connection.scalars(sa.select(booths.c.booth).where(booths.c.retired_at.is_not(None))))
        states = dict.fromkeys(("in_service", "out_of_service", "silent", "unreadable"), 0)
        for last in (beats[booth] for booth in beats.keys() - gone):
            silent = is_silent(last.received_at, at, interval_s)
            states["silent" if silent else "unreadable" if last.beat is None else last.beat.service.state] += 1
        for state, count in states.items():
            metrics.booths.labels(state).set(count)

    return tell
