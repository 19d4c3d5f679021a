"""PURE. What is wrong with a booth that somebody should see to: from its newest heartbeat, from its silence, from the counts of its days.

Rules
  - An alert opens when a value crosses its `warn` limit, becomes grave beyond `grave`, and is over only when the value is back beyond `over`, which lies on the
    good side of `warn`: a value that trembles around a limit opens one alert and not fifty. A grave one stays grave until it is over.
  - Alerts are over by themselves; nobody closes one by hand. Somebody who takes a booth out of the fleet ends all of its alerts.
  - Of a booth that is silent nothing else is known: its other alerts stay as they were.
  - Durations are taken on one clock: "out of service since" and "lost since" against the heartbeat's own time, silence against the intake's.
  - A kind names what it is about (`name`): the lamp, the device, the rule or the self-test; "" is the booth.

Where the limits come from stands beside each. What is not measured (a booth without a lift, a clock that nobody compared) is no alert.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from statistics import median

from crypto.heartbeat import INTERVAL_S, Heartbeat


class Kind(StrEnum):
    """What is wrong."""

    SILENT = "booth.silent"
    OUT = "service.out"
    DEVICE = "device.lost"
    LAMP_WEAK = "lamp.weak"
    LAMP_FALLING = "lamp.falling"
    REFUSALS = "refusals.rising"
    TEST = "test.failed"
    OUTBOX_OLD = "outbox.old"
    OUTBOX_FULL = "outbox.full"
    CERTIFICATE = "certificate.ending"
    DISK = "disk.low"
    CLOCK = "clock.wrong"


KINDS = frozenset(kind.value for kind in Kind)


class Level(StrEnum):
    """How soon somebody should see to it."""

    WARN = "warn"
    GRAVE = "grave"


@dataclass(frozen=True, slots=True)
class Limits:
    """When a value is an alert. Bad is what is above, or with `falling` below."""

    warn: float
    grave: float
    over: float
    unit: str
    source: str
    falling: bool = False
    # With the clock alone: then a row holds no value, which would have to be written again all the time.
    grows: bool = False

    def level(self, value: float, before: Level | None) -> Level | None:
        """What the value is now, when it was `before`; None: nothing is wrong."""
        if self._bad(value, self.grave):
            return Level.GRAVE
        if self._bad(value, self.warn):
            return before or Level.WARN
        return before if before is not None and self._bad(value, self.over) else None

    def _bad(self, value: float, limit: float) -> bool:
        return value <= limit if self.falling else value >= limit


LIMITS: Mapping[Kind, Limits] = {
    Kind.SILENT: Limits(
        15.0, 240.0, 2 * INTERVAL_S / 60, "min", "three heartbeats of five minutes; half a working day is grave", grows=True
    ),
    Kind.OUT: Limits(4.0, 24.0, 0.0, "h", "assumed: cleaning and repairs are done within half a working day", grows=True),
    Kind.DEVICE: Limits(10.0, 60.0, -10.0, "min", "assumed: a cable that is put back, and a booth that starts, take less", grows=True),
    Kind.LAMP_WEAK: Limits(
        85.0, 80.0, 88.0, "%", "LED lamps are replaced at 80 % of their light (IES LM-80, L80); a little before", falling=True
    ),
    Kind.LAMP_FALLING: Limits(
        30.0, 7.0, 45.0, "d", "a month is enough to order a lamp and to send somebody (assumed)", falling=True
    ),
    Kind.REFUSALS: Limits(10.0, 30.0, 5.0, "%", "points above the booth's own four weeks before (assumed), and no chance: CERTAIN_Z"),
    Kind.OUTBOX_OLD: Limits(24.0, 168.0, 12.0, "h", "as the booth's own self-test outbox.age warns; a week is half of where it closes itself"),
    Kind.OUTBOX_FULL: Limits(70.0, 90.0, 60.0, "%", "of the quota, beyond which nobody is let in"),
    Kind.CERTIFICATE: Limits(
        30.0, 7.0, 35.0, "d", "booths renew theirs long before (docs/operations.md): a month means that renewing fails", falling=True
    ),
    Kind.DISK: Limits(2.0, 0.5, 3.0, "GB", "some hundred packets of 6 MB beside the logs (assumed)", falling=True),
    Kind.CLOCK: Limits(60.0, 240.0, 30.0, "s", "the intake refuses what is signed 300 s too early or late (crypto/http_signature.py)"),
}  # fmt: skip

# Which kinds come from a heartbeat, and which from the counts of days: each is settled where it is judged.
OF_BEATS = frozenset(Kind) - {Kind.SILENT, Kind.LAMP_FALLING, Kind.REFUSALS}
OF_DAYS = frozenset({Kind.LAMP_FALLING, Kind.REFUSALS})
# Self-tests that have an alert of their own.
_TOLD_OTHERWISE = ("lamp.", "outbox.", "certificate.", "disk.", "clock.")

GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert that is to be open. No value: the one that it has stays."""

    kind: Kind
    name: str
    level: Level
    value: float | None = None
    bound: float | None = None


Open = Mapping[tuple[Kind, str], Level]


def is_silent(received_at: datetime, now: datetime, interval_s: float) -> bool:
    """Whether a booth has missed so many heartbeats that nothing is known of it."""
    return (now - received_at).total_seconds() / 60 >= silence_limits(interval_s).warn


def silence_limits(interval_s: float) -> Limits:
    """The limits of silence where booths tell every so often."""
    usual, times = LIMITS[Kind.SILENT], max(1.0, interval_s / INTERVAL_S)
    return replace(
        usual, warn=usual.warn * times, grave=max(usual.grave, 3 * usual.warn * times), over=usual.over * times
    )


def judge_silence(
    received_at: datetime, now: datetime, interval_s: float, before: Open, listening_since: datetime
) -> tuple[Standing, ...]:
    """The alert of a silent booth. An intake that was away itself gives booths the usual time to tell, before it calls them silent."""
    limits, known = silence_limits(interval_s), before.get((Kind.SILENT, ""))
    listened = (now - (received_at if known is not None else max(received_at, listening_since))).total_seconds() / 60
    level = limits.level(listened, known)
    return () if level is None else (Standing(Kind.SILENT, "", level, None, limits.warn),)


def judge_beat(beat: Heartbeat, before: Open) -> tuple[Standing, ...]:
    """The alerts that a heartbeat gives reason for, or that are not over yet."""
    standing = []
    for kind, measure in _MEASURES.items():
        limits = LIMITS[kind]
        for name, value in measure(beat):
            level = limits.level(value, before.get((kind, name)))
            if level is None:
                continue
            told = not limits.grows and limits.level(value, None) is not None
            standing.append(Standing(kind, name, level, round(value, 1) if told else None, limits.warn))
    standing += [
        Standing(Kind.TEST, poor.id, Level.WARN, poor.value)
        for poor in beat.tests.poor
        if poor.verdict == "fail" and not poor.id.startswith(_TOLD_OTHERWISE)
    ]
    return tuple(standing)


Values = Iterator[tuple[str, float]]


def _out(beat: Heartbeat) -> Values:
    if beat.service.since is not None:
        yield "", (beat.sent_at - beat.service.since).total_seconds() / 3600


def _devices(beat: Heartbeat) -> Values:
    """Minutes that a device is away; below zero the minutes that it is back."""
    for device in beat.devices:
        minutes = max(0.0, (beat.sent_at - device.since).total_seconds() / 60)
        yield device.device, -minutes if device.state == "ready" else minutes


def _lamps(beat: Heartbeat) -> Values:
    for lamp, light in beat.lamps.items():
        yield lamp, light.response_pct


def _outbox_age(beat: Heartbeat) -> Values:
    yield "", (beat.outbox.oldest_age_s or 0.0) / 3600


def _outbox_share(beat: Heartbeat) -> Values:
    if beat.outbox.quota_bytes:
        yield "", 100 * beat.outbox.bytes / beat.outbox.quota_bytes


def _certificate(beat: Heartbeat) -> Values:
    if beat.certificate_days is not None:
        yield "", beat.certificate_days


def _disk(beat: Heartbeat) -> Values:
    if beat.disk_free_bytes is not None:
        yield "", beat.disk_free_bytes / GIGABYTE


def _clock(beat: Heartbeat) -> Values:
    if beat.clock_offset_s is not None:
        yield "", abs(beat.clock_offset_s)


_MEASURES: Mapping[Kind, Callable[[Heartbeat], Values]] = {
    Kind.OUT: _out,
    Kind.DEVICE: _devices,
    Kind.LAMP_WEAK: _lamps,
    Kind.OUTBOX_OLD: _outbox_age,
    Kind.OUTBOX_FULL: _outbox_share,
    Kind.CERTIFICATE: _certificate,
    Kind.DISK: _disk,
    Kind.CLOCK: _clock,
}

# --- from the counts of days -------------------------------------------------------------------------------------------

# How far back a lamp's light is followed, and how many days with a value a slope needs at least.
TREND_DAYS, LEAST_TREND_DAYS = 35, 5
# The change over the whole time against the median distance of the days from the line.
BELIEVED = 3.0
LAMP_END_PCT = LIMITS[Kind.LAMP_WEAK].grave
# The newest days against those before them.
RECENT_DAYS, BASE_DAYS = 3, 28
LEAST_RECENT, LEAST_BASE = 30, 100
# Some 40 rules of 1000 booths are compared every day: at 4.5 standard deviations (one-sided p = 3.4e-6) chance makes one alert in a week.
CERTAIN_Z, STAYING_Z = 4.5, 3.0


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    count: int
    total: int

    @property
    def pct(self) -> float:
        """In percent; 0 of nothing."""
        return 100 * self.count / self.total if self.total else 0.0


def judge_lamp(lamp: str, points: Sequence[tuple[int, float]], before: Open) -> tuple[Standing, ...]:
    """Whether a lamp's light falls so that its end is near: `points` are days (as ordinals) and percent of the light at the baseline.

    The slope is the median of the slopes of all pairs of days (Theil 1950, Sen 1968), as the booth's own trends have it (booth/trends.py): a single bad
    night does not turn it. It is believed when the line explains more than the days scatter around it.
    """
    if len(points) < LEAST_TREND_DAYS:
        return ()
    slope = median((v2 - v1) / (d2 - d1) for (d1, v1), (d2, v2) in itertools.combinations(sorted(points), 2))
    start = median(value - slope * day for day, value in points)
    scatter = median(abs(value - start - slope * day) for day, value in points)
    first, last = min(points)[0], max(points)[0]
    light = start + slope * last
    if slope >= 0 or abs(slope) * (last - first) <= BELIEVED * scatter or light <= LAMP_END_PCT:
        return ()  # below its end it is weak, which is another alert
    days = (LAMP_END_PCT - light) / slope
    level = LIMITS[Kind.LAMP_FALLING].level(days, before.get((Kind.LAMP_FALLING, lamp)))
    return () if level is None else (Standing(Kind.LAMP_FALLING, lamp, level, round(days), LAMP_END_PCT),)


def judge_share(name: str, recent: Share, base: Share, before: Open) -> tuple[Standing, ...]:
    """Whether a share has risen beyond chance: two proportions, pooled (Fleiss, Statistical Methods for Rates and Proportions, chapter 3)."""
    known = before.get((Kind.REFUSALS, name))
    if recent.total < (LEAST_RECENT if known is None else 1) or base.total < LEAST_BASE:
        return ()
    level = LIMITS[Kind.REFUSALS].level(recent.pct - base.pct, known)
    if level is None or distance_z(recent, base) < (CERTAIN_Z if known is None else STAYING_Z):
        return ()
    return (Standing(Kind.REFUSALS, name, level, round(recent.pct, 1), round(base.pct, 1)),)


def distance_z(one: Share, other: Share) -> float:
    """How many standard deviations the first share lies above the second; 0 where nothing varies."""
    pooled = (one.count + other.count) / (one.total + other.total)
    variance = pooled * (1 - pooled) * (1 / one.total + 1 / other.total)
    return (one.count / one.total - other.count / other.total) / math.sqrt(variance) if variance > 0 else 0.0
