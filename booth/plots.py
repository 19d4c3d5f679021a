"""PURE. Numbers over time → what a plot of them is made of, in the units of its drawing.

Rules:
  - The booth decides what is drawn: scale, ticks, limits, gaps, how far a line is thinned; a page only turns it into elements
    (booth/static/technician_plots.js), so no markup is ever sent or parsed, and colours follow the page.
  - The scale always shows the limits, so that the distance to them can be seen, and never less than what was measured.
  - A pause longer than `gap_s`, or a value that could not be measured, breaks the line: nothing is drawn that was not seen.
  - Thinning keeps the first, lowest, highest and last value of each column of the drawing: a short peak stays visible.
  - Everything that is drawn is also there as numbers (`least`, `most`, `newest`), for whoever does not see the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from pydantic import BaseModel, ConfigDict

WIDTH, HEIGHT = 320, 96
SPARK_WIDTH, SPARK_HEIGHT = 160, 32
MARGIN = 0.08  # of the scale, above and below
COLUMN = 2.0  # two units of the drawing are about two pixels
# The steps of a scale that people read without counting: 1, 2, 5 and their tenfolds (Heckbert, Nice Numbers for Graph Labels, 1990).
NICE = (1.0, 2.0, 5.0, 10.0)
MOST_TICKS = 4
SAME = (
    1e-6  # values that differ by less than this share of themselves are one value: noise of the arithmetic is no course
)

Point = tuple[float, float]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Tick(_Value):
    """A place on an axis and the number that stands there."""

    at: float
    value: float


class Plot(_Value):
    """A line over time between its limits; (0, 0) is the top left corner."""

    width: int
    height: int
    span_s: float  # from the left edge to the right edge, which is now
    lines: tuple[tuple[Point, ...], ...]  # broken at gaps; a single point is a dot
    low: Tick | None  # the limits, where they are finite
    high: Tick | None
    ticks: tuple[Tick, ...]  # of the values' axis
    newest: float | None
    least: float | None
    most: float | None


class Bars(_Value):
    """A histogram: for each bin its height as a share of the tallest."""

    heights: tuple[float, ...]
    dark_pct: float  # of the pixels that are as dark as can be
    bright_pct: float  # and as bright
    mean: float  # 0 to 255


def draw_line(
    samples: Iterable[tuple[float, float | None]],
    *,
    span_s: float,
    gap_s: float,
    low: float | None = None,
    high: float | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Plot:
    """The plot of (age in seconds, value) pairs, oldest first; what is older than `span_s` is left out."""
    width, height = size
    kept = [(age, value) for age, value in samples if 0 <= age <= span_s]
    measured = [value for _, value in kept if value is not None and math.isfinite(value)]
    bottom, top = scale_of([*measured, *(bound for bound in (low, high) if bound is not None)])

    def y_of(value: float) -> float:
        return round(height * (top - value) / (top - bottom), 1)

    def tick(value: float | None) -> Tick | None:
        return None if value is None else Tick(at=y_of(value), value=value)

    runs = _runs(kept, gap_s)
    lines = tuple(
        tuple((round(width * (1 - age / span_s), 1), y_of(value)) for age, value in _thinned(run, span_s / width))
        for run in runs
    )
    return Plot(
        width=width,
        height=height,
        span_s=span_s,
        lines=lines,
        low=tick(low),
        high=tick(high),
        ticks=tuple(Tick(at=y_of(value), value=value) for value in nice_ticks(bottom, top)),
        newest=measured[-1] if measured else None,
        least=min(measured, default=None),
        most=max(measured, default=None),
    )


def draw_bars(counts: Sequence[int], dark: int, bright: int, mean: float) -> Bars:
    """The histogram of `counts`, with how many pixels are at either end of what the camera tells."""
    pixels, tallest = max(sum(counts), 1), max(*counts, 1)
    return Bars(
        heights=tuple(round(count / tallest, 4) for count in counts),
        dark_pct=round(100 * dark / pixels, 2),
        bright_pct=round(100 * bright / pixels, 2),
        mean=round(mean, 1),
    )


def scale_of(values: Sequence[float]) -> tuple[float, float]:
    """Bottom and top of a scale that shows all values with a margin; of equal values one around them."""
    if not values:
        return 0.0, 1.0
    least, most = min(values), max(values)
    span = most - least
    if span <= SAME * max(abs(least), abs(most), 1.0):
        around = max(abs(most) * 0.1, 0.5)
        return least - around, most + around
    return least - span * MARGIN, most + span * MARGIN


def nice_ticks(bottom: float, top: float, most: int = MOST_TICKS) -> tuple[float, ...]:
    """At most `most` round numbers between two others."""
    rough = (top - bottom) / most
    power = 10.0 ** math.floor(math.log10(rough))
    for nice in (*NICE, 20.0):
        step = nice * power
        first = math.ceil(bottom / step - 1e-9)
        last = math.floor(top / step + 1e-9)
        if last - first + 1 <= most:
            return tuple(round(number * step, 10) for number in range(first, last + 1))
    return ()  # pragma: no cover - twenty tenths of the rough step hold at most half of `most`


def _runs(samples: Sequence[tuple[float, float | None]], gap_s: float) -> list[list[tuple[float, float]]]:
    """What belongs together without a pause or an unmeasured value."""
    runs: list[list[tuple[float, float]]] = [[]]
    for age, value in samples:
        if value is None or not math.isfinite(value):
            runs.append([])
            continue
        if runs[-1] and runs[-1][-1][0] - age > gap_s:
            runs.append([])
        runs[-1].append((age, value))
    return [run for run in runs if run]


def _thinned(run: list[tuple[float, float]], unit_s: float) -> list[tuple[float, float]]:
    """First, lowest, highest and last of each column, in their order."""
    kept: list[tuple[float, float]] = []
    for _, group in groupby(enumerate(run), key=lambda each: math.floor(each[1][0] / (unit_s * COLUMN))):
        column = list(group)
        chosen = {0, len(column) - 1}
        chosen.add(min(range(len(column)), key=lambda index: column[index][1][1]))
        chosen.add(max(range(len(column)), key=lambda index: column[index][1][1]))
        kept += [column[index][1] for index in sorted(chosen)]
    return kept
