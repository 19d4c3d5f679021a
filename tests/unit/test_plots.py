"""Plots: scales that show the limits, ticks that people read, lines that are broken where nothing was seen, peaks that survive thinning."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.plots import draw_bars, draw_line, nice_ticks, scale_of

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


def test_a_line_runs_from_the_past_to_now_and_grows_upwards():
    plot = draw_line([(100, 1.0), (50, 2.0), (0, 3.0)], span_s=100, gap_s=60)
    ((first, middle, last),) = plot.lines
    assert (first[0], middle[0], last[0]) == (0, plot.width / 2, plot.width)
    assert first[1] > middle[1] > last[1]
    assert (plot.newest, plot.least, plot.most) == (3.0, 1.0, 3.0)


def test_limits_are_always_in_sight():
    plot = draw_line([(0, 50.0)], span_s=10, gap_s=3, low=10, high=90)
    assert 0 < plot.high.at < plot.lines[0][0][1] < plot.low.at < plot.height
    assert (plot.low.value, plot.high.value) == (10, 90)
    assert draw_line([(0, 5.0)], span_s=10, gap_s=3).low is None


def test_a_pause_or_an_unmeasured_value_breaks_the_line():
    samples = [(30, 1.0), (29, 1.0), (20, 1.0), (19, None), (18, 1.0), (17, float("nan")), (16, 1.0)]
    assert [len(line) for line in draw_line(samples, span_s=60, gap_s=3).lines] == [2, 1, 1, 1]


def test_without_a_value_there_is_an_empty_plot_and_no_number():
    plot = draw_line([(5, None)], span_s=60, gap_s=3, low=2, high=4)
    assert (plot.lines, plot.newest, plot.least) == ((), None, None)
    assert plot.low.at > plot.high.at


def test_what_is_older_than_the_span_is_left_out():
    assert draw_line([(61, 9.0), (60, 1.0)], span_s=60, gap_s=3).most == 1.0


def test_thinning_keeps_a_short_peak():
    samples = [(age / 100, 1.0) for age in range(6000, -1, -1)]
    samples[3000] = (30.0, 99.0)
    plot = draw_line(samples, span_s=60, gap_s=3)
    (line,) = plot.lines
    assert len(line) <= 4 * plot.width / 2 + 4
    assert min(y for _, y in line) < plot.height * 0.2


@given(values=st.lists(NUMBERS, max_size=40), low=st.none() | NUMBERS, high=st.none() | NUMBERS)
def test_everything_that_is_drawn_lies_within_the_drawing(values, low, high):
    plot = draw_line(
        [(len(values) - at, value) for at, value in enumerate(values)], span_s=50, gap_s=3, low=low, high=high
    )
    drawn = [y for line in plot.lines for _, y in line] + [tick.at for tick in (plot.low, plot.high) if tick]
    assert all(0 <= y <= plot.height for y in drawn)
    assert all(-0.1 <= tick.at <= plot.height + 0.1 for tick in plot.ticks)


@given(one=NUMBERS, other=NUMBERS)
def test_ticks_are_few_round_and_between(one, other):
    bottom, top = scale_of([one, other])
    ticks = nice_ticks(bottom, top)
    assert len(ticks) <= 4
    assert all(bottom - 1e-3 <= tick <= top + 1e-3 for tick in ticks)
    steps = {f"{after - before:.3e}" for before, after in itertools.pairwise(ticks)}
    assert len(steps) <= 1
    assert all(step[0] in "125" for step in steps)


@pytest.mark.parametrize(
    ("bottom", "top", "ticks"), [(0, 10, (0, 5, 10)), (-5.5, 5.5, (-5, 0, 5)), (0, 1, (0, 0.5, 1))]
)
def test_ticks_of_some_scales(bottom, top, ticks):
    assert nice_ticks(bottom, top) == ticks


def test_a_histogram_tells_its_ends():
    bars = draw_bars([50, 100, 50], dark=10, bright=2, mean=127.25)
    assert bars.heights == (0.5, 1.0, 0.5)
    assert (bars.dark_pct, bars.bright_pct, bars.mean) == (5.0, 1.0, 127.2)
    assert draw_bars([0, 0], 0, 0, 0.0).heights == (0.0, 0.0)
