"""PURE: how the values of a self-test went over weeks, and when they will cross their limit.

Per check: the median of the last 7 days against that of the 30 days before, and a straight line through the daily medians of both: its slope is the
median of the slopes of all pairs of days (Theil 1950, Sen 1968), so that a single bad night does not turn it. The line is only believed when it
explains more than the days scatter around it; a limit that it meets within `LOOK_AHEAD_DAYS` is told, with the days until then.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from statistics import median

from pydantic import BaseModel, ConfigDict

DAY_S = 86_400.0
RECENT_DAYS, BEFORE_DAYS = 7, 30
# Below so many days with values a slope says nothing.
LEAST_DAYS = 5
# The change over the whole time against the median distance of the days from the line.
BELIEVED = 3.0
LOOK_AHEAD_DAYS = 180.0


class Point(BaseModel):
    """One value of one check."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    at: float  # seconds since 1970
    value: float | None
    verdict: str


class Trend(BaseModel):
    """How a check's values went."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    check: str
    unit: str
    low: float | None
    high: float | None
    newest: float | None
    recent: float | None  # median of the last 7 days
    before: float | None  # median of the 30 days before those
    per_day: float | None  # slope; None when it cannot be believed
    crosses_in_days: float | None  # until the slope meets a limit; None when it does not, or not soon
    failed_days: int  # days with a failed check, of those that were looked at


def trend_of(
    check: str, unit: str, low: float | None, high: float | None, points: Sequence[Point], now: float
) -> Trend:
    """The trend of one check's points, oldest first."""
    since = now - (RECENT_DAYS + BEFORE_DAYS) * DAY_S
    seen = [point for point in points if since <= point.at <= now]
    valued = [(point.at, point.value) for point in seen if point.value is not None]
    recent = [value for at, value in valued if at > now - RECENT_DAYS * DAY_S]
    before = [value for at, value in valued if at <= now - RECENT_DAYS * DAY_S]
    slope = _slope(_daily(valued))
    newest = valued[-1][1] if valued else None
    level = median(recent) if recent else None
    return Trend(
        check=check,
        unit=unit,
        low=low,
        high=high,
        newest=newest,
        recent=level,
        before=median(before) if before else None,
        per_day=slope,
        crosses_in_days=None if slope is None or level is None else _days_to_limit(level, slope, low, high),
        failed_days=len({int(point.at // DAY_S) for point in seen if point.verdict == "fail"}),
    )


def _daily(valued: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The median of each day's values."""
    days: dict[int, list[float]] = {}
    for at, value in valued:
        days.setdefault(int(at // DAY_S), []).append(value)
    return [(float(day), median(values)) for day, values in sorted(days.items())]


def _slope(daily: Sequence[tuple[float, float]]) -> float | None:
    """Change per day; None when the days are few, or scatter more than they change."""
    if len(daily) < LEAST_DAYS:
        return None
    slope = median((v2 - v1) / (d2 - d1) for (d1, v1), (d2, v2) in itertools.combinations(daily, 2))
    start = median(value - slope * day for day, value in daily)
    scatter = median(abs(value - start - slope * day) for day, value in daily)
    change = abs(slope) * (daily[-1][0] - daily[0][0])
    return slope if change > BELIEVED * scatter and change > 0 else None


def _days_to_limit(level: float, slope: float, low: float | None, high: float | None) -> float | None:
    """Until the line through the recent median meets the limit that it runs towards."""
    limit = high if slope > 0 else low
    if limit is None:
        return None
    days = (limit - level) / slope
    return round(days, 1) if 0 < days <= LOOK_AHEAD_DAYS else None
