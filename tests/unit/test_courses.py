"""The ninety days of a self-test: a plot with its gaps, and each day's newest value."""

from __future__ import annotations

from booth.courses import course_of
from booth.trends import DAY_S, Point, trend_of

NOW = 1_795_000_000.0


def course(*ages_and_values):
    points = [Point(at=NOW - age * DAY_S, value=value, verdict="pass") for age, value in ages_and_values]
    return course_of(trend_of("disk.free", "MB", 500, None, points, NOW), points, NOW)


def test_of_a_day_with_many_runs_the_newest_value_stands():
    found = course((1.02, 800.0), (1.01, 790.0), (0.0, 700.0))
    assert [point.value for point in found.points] == [790.0, 700.0]
    assert found.points[-1].at == "2026-11-18T11:06:40Z"
    assert (found.unit, found.plot.low.value, found.plot.newest) == ("MB", 500, 700.0)


def test_a_closed_week_is_a_gap_and_what_was_not_measured_is_left_out():
    found = course((60, 900.0), (59, 890.0), (50, 880.0), (49, None))
    assert [len(line) for line in found.plot.lines] == [2, 1]
    assert len(found.points) == 3


def test_a_check_that_runs_towards_its_limit_says_when():
    found = course(*((day, 600.0 + 10.0 * day) for day in range(30, -1, -1)))
    assert found.crosses_in_days is not None
    assert course().points == ()
