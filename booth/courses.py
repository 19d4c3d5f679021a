"""PURE. How each self-test went over ninety days, as the technician's page shows it: a small plot, and each day's newest value as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from booth.plots import SPARK_HEIGHT, SPARK_WIDTH, Plot, draw_line
from booth.trends import DAY_S, Point, Trend

DAYS = 90.0
# Self-tests run each night; a week without one is a gap in what is known.
GAP_DAYS = 7.0


class DayValue(BaseModel):
    """The newest value of a day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str  # UTC, ISO 8601
    value: float


class Course(BaseModel):
    """One check's ninety days."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str
    plot: Plot
    points: tuple[DayValue, ...]  # oldest first
    crosses_in_days: float | None  # until the limit is met, as it goes


class Courses(BaseModel):
    """Every check's, by its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: dict[str, Course]


def course_of(trend: Trend, points: Sequence[Point], now: float) -> Course:
    """The course of one check's points, oldest first."""
    days: dict[int, DayValue] = {}
    for point in points:
        if point.value is not None:
            at = datetime.fromtimestamp(point.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            days[int(point.at // DAY_S)] = DayValue(at=at, value=point.value)
    return Course(
        unit=trend.unit,
        plot=draw_line(
            ((now - point.at, point.value) for point in points),
            span_s=DAYS * DAY_S,
            gap_s=GAP_DAYS * DAY_S,
            low=trend.low,
            high=trend.high,
            size=(SPARK_WIDTH, SPARK_HEIGHT),
        ),
        points=tuple(days[day] for day in sorted(days)),
        crosses_in_days=trend.crosses_in_days,
    )
