"""PURE. Numbers → charts that a page of the desk holds in itself: SVG for the eye, and the same numbers as a table.

Rules:
  - No chart without its table: `Chart` has both, pages/charts.html shows both. What is drawn is in the table, and nothing is in the drawing alone.
  - A day without a number breaks a line and has no column; nothing is drawn that was not told. A lone number is a dot.
  - A scale begins at zero and ends at the first round number that nothing exceeds (steps of 1, 2, 5 and their tenfolds:
    Heckbert, Nice Numbers for Graph Labels, 1990).
  - No colour stands here: marks have a tone, which static/charts.css paints in both themes; a second line is dashed, so that no colour has to be told apart.
  - A page that is read from right to left has its charts that way too: everything is mirrored but the writing.
  - Every text is escaped here, because the result goes into a page as it is. No style stands inside (Content-Security-Policy).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from markupsafe import Markup, escape

Tone = Literal["accent", "soft", "good", "care", "bad"]
WIDE = (720, 240)
PANEL = (220, 96)
NICE = (1.0, 2.0, 5.0, 10.0)
MOST_TICKS = 4
LEAST = 1e-9  # what is smaller is nothing
MOST_DAY_LABELS = 7
LETTER = 6.9  # mean width of a letter at the 13 units of charts.css
DOT, LONE_DOT = 2.4, 1.5
TOP, BOTTOM, END = 12.0, 26.0, 14.0
BAR_HEIGHT, BAR_STEP, BAR_LABEL, BAR_VALUE = 14.0, 26.0, 240.0, 64.0
MAX_LABEL = 34  # letters that BAR_LABEL has room for


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart is read: its name, the direction of the page, and how a number is written."""

    title: str
    rtl: bool
    form: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers, one for each place on the axis; None where there is none."""

    name: str
    values: tuple[float | None, ...]
    tone: Tone = "accent"
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its number, between what and what it certainly lies, and what it is compared with."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    tone: Tone = "accent"


@dataclass(frozen=True, slots=True)
class Key:
    """What a mark means."""

    name: str
    tone: Tone
    dashed: bool = False
    mark: Literal["line", "box", "tick"] = "line"


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing, what its marks mean, and its numbers."""

    title: str
    svg: Markup
    keys: tuple[Key, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Words:
    """The table's headings, and what stands where there is no number."""

    place: str  # what the first column names: day, check, booth
    value: str = ""
    range: str = ""
    reference: str = ""
    nothing: str = "\N{EN DASH}"


def line_chart(look: Look, words: Words, places: Sequence[str], lines: Sequence[Line]) -> Chart:
    """Lines over the same places (days), drawn over each other."""
    draw = _Drawing(WIDE, look, _scale(_most(lines)))
    parts = [*draw.frame(places)]
    for line in lines:
        parts += draw.line(line, places)
    return _chart(look, words, places, lines, draw.svg(parts))


def column_chart(look: Look, words: Words, places: Sequence[str], parts: Sequence[Line]) -> Chart:
    """One column for each place, made of the parts one upon the other."""
    sums = [sum(part.values[at] or 0.0 for part in parts) for at in range(len(places))]
    draw = _Drawing(WIDE, look, _scale(max(sums, default=0.0)))
    marks = [*draw.frame(places)]
    for at, place in enumerate(places):
        below = 0.0
        for part in parts:
            value = part.values[at]
            if value:
                told = f"{place}: {part.name} {look.form(value)}"
                marks.append(draw.column(at, len(places), below, value, part.tone, told))
                below += value
    keys = tuple(Key(part.name, part.tone, mark="box") for part in parts)
    return Chart(look.title, draw.svg(marks), keys, *_table(look, words, places, parts))


def bar_chart(look: Look, words: Words, bars: Sequence[Bar]) -> Chart:
    """Bars one below the other, with the whiskers of their range and a mark at what each is compared with."""
    known = [value for bar in bars for value in (bar.value, bar.high, bar.reference) if value is not None]
    scale = _scale(max(known, default=0.0))
    width, height = WIDE[0], round(TOP + max(1, len(bars)) * BAR_STEP + BOTTOM - 8)
    draw = _Drawing((width, height), look, scale, start=BAR_LABEL, end=BAR_VALUE, bottom=BOTTOM - 8)
    marks = [*draw.uprights()]
    for number, bar in enumerate(bars):
        marks += draw.bar(bar, TOP + number * BAR_STEP)
    rows = tuple(
        (bar.name, look.form(bar.value), *_range_cells(bar, words, look), *_reference_cells(bar, words, look))
        for bar in bars
    )
    columns = tuple(text for text in (words.place, words.value, words.range, words.reference) if text)
    keys = (Key(words.reference, "accent", mark="tick"),) if words.reference else ()
    return Chart(look.title, draw.svg(marks), keys, columns, rows)


def small_multiples(look: Look, words: Words, places: Sequence[str], panels: Sequence[Line], reference: Line) -> Chart:
    """One small drawing for each line on the same scale, each with the same line of reference behind it."""
    scale, drawn = _scale(_most([*panels, reference])), []
    for panel in panels:
        own = Look(panel.name, look.rtl, look.form)
        draw = _Drawing(PANEL, own, scale, start=34.0)
        ends = [places[0], *[""] * (len(places) - 2), places[-1]] if len(places) > 1 else list(places)
        marks = [*draw.frame(ends), *draw.line(reference, places, dot=0.0), *draw.line(panel, places, dot=1.5)]
        heading = f'<p class="panel-name {panel.tone}"><bdi>{escape(panel.name)}</bdi></p>'
        drawn.append(f"<li>{heading}{draw.svg(marks)}</li>")
    svg = Markup(f'<ul class="panels">{"".join(drawn)}</ul>')  # noqa: S704 (every text in it was escaped)
    keys = (Key(reference.name, reference.tone, reference.dashed),)
    return Chart(look.title, svg, keys, *_table(look, words, places, [*panels, reference]))


class _Drawing:
    """A field with a scale: places from start to end, values from bottom to top (lines, columns) or from start to end (bars)."""

    def __init__(
        self,
        size: tuple[int, int],
        look: Look,
        scale: tuple[float, ...],
        *,
        start: float = 52.0,
        end: float = END,
        bottom: float = BOTTOM,
    ) -> None:
        self.width, self.height = size
        self.look, self.ticks = look, scale
        self.left, self.right = start, self.width - end
        self.top, self.bottom = TOP, self.height - bottom

    def svg(self, parts: Sequence[str]) -> Markup:
        """The whole drawing."""
        direction = ' direction="rtl"' if self.look.rtl else ""
        return Markup(  # noqa: S704 (every text in it was escaped)
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img"'
            f' aria-label="{escape(self.look.title)}"{direction}>{"".join(parts)}</svg>'
        )

    def frame(self, places: Sequence[str]) -> Iterator[str]:
        """Grid, scale and as many names of places as there is room for."""
        for tick in self.ticks:
            y = self.y(tick)
            kind = "axis" if tick == 0 else "grid"
            yield self.path([(self.left, y), (self.right, y)], kind)
            yield self.text(self.look.form(tick), self.left - 6, y + 4, "end")
        step = max(1, math.ceil(len(places) / MOST_DAY_LABELS))
        longest = max(map(len, places), default=0) * LETTER
        for at, place in enumerate(places):
            from_last = len(places) - 1 - at  # the newest always has its name
            if not place or (from_last % step and any(map(bool, places[1:-1]))):
                continue
            x = min(max(self.place(at, len(places)), self.left + longest / 2 - 30), self.width - longest / 2 - 2)
            yield self.text(place, x, self.height - 6, "middle")

    def uprights(self) -> Iterator[str]:
        """The grid of bars, with the scale below."""
        for tick in self.ticks:
            x = self.along(tick)
            yield self.path([(x, self.top - 6), (x, self.bottom)], "axis" if tick == 0 else "grid")
            yield self.text(self.look.form(tick), x, self.height - 4, "middle")

    def line(self, line: Line, places: Sequence[str], dot: float = DOT) -> Iterator[str]:
        """A line with a dot for each number, or only for lone ones where `dot` is 0; broken where there is none."""
        points = [
            (self.place(at, len(line.values)), self.y(value), value, at)
            for at, value in enumerate(line.values)
            if value is not None
        ]
        for _, numbered in groupby(enumerate(points), key=lambda pair: pair[1][3] - pair[0]):
            run = [point for _, point in numbered]
            if len(run) > 1:
                yield self.path([(x, y) for x, y, _, _ in run], f"line {line.tone}{' dashed' if line.dashed else ''}")
            radius = dot if len(run) > 1 else dot or LONE_DOT
            for x, y, value, at in run if radius else ():
                told = f"{places[at]}: {line.name} {self.look.form(value)}"
                yield (
                    f'<circle class="dot {line.tone}" cx="{self.x(x):.1f}" cy="{y:.1f}" r="{radius:g}">'
                    f"<title>{escape(told)}</title></circle>"
                )

    def column(self, at: int, count: int, below: float, value: float, tone: Tone, told: str) -> str:
        """One part of a column."""
        room = (self.right - self.left) / max(1, count)
        wide = max(1.0, min(28.0, room * 0.72))
        return self.box(
            self.place(at, count) - wide / 2,
            self.y(below + value),
            wide,
            self.y(below) - self.y(below + value),
            tone,
            told,
        )

    def bar(self, bar: Bar, top: float) -> Iterator[str]:
        """A bar with its name before and its number behind it."""
        middle, told = top + BAR_HEIGHT / 2, self.look.form(bar.value)
        name = bar.name if len(bar.name) <= MAX_LABEL else f"{bar.name[: MAX_LABEL - 1]}…"
        yield self.text(name, self.left - 10, middle + 4, "end", "name")
        yield self.box(
            self.left, top, max(1.0, self.along(bar.value) - self.left), BAR_HEIGHT, bar.tone, f"{bar.name}: {told}"
        )
        if bar.low is not None and bar.high is not None:
            low, high = self.along(bar.low), self.along(bar.high)
            yield self.path([(low, middle), (high, middle)], "whisker")
            yield self.path([(low, middle - 3), (low, middle + 3)], "whisker")
            yield self.path([(high, middle - 3), (high, middle + 3)], "whisker")
        if bar.reference is not None:
            x = self.along(bar.reference)
            yield self.path([(x, top - 4), (x, top + BAR_HEIGHT + 4)], "reference")
        yield self.text(told, self.width - 4, middle + 4, "end", "value")

    def place(self, at: int, count: int) -> float:
        """The middle of a place on the axis."""
        return self.left + (at + 0.5) * (self.right - self.left) / max(1, count)

    def y(self, value: float) -> float:
        """How high a value stands; above the scale is its end."""
        return self.bottom - (self.bottom - self.top) * min(1.0, max(0.0, value / self.ticks[-1]))

    def along(self, value: float) -> float:
        """How far a value reaches."""
        return self.left + (self.right - self.left) * min(1.0, max(0.0, value / self.ticks[-1]))

    def x(self, x: float) -> float:
        """Mirrored where the page is."""
        return self.width - x if self.look.rtl else x

    def box(self, x: float, y: float, width: float, height: float, tone: Tone, told: str) -> str:
        """A rectangle."""
        at = self.width - x - width if self.look.rtl else x
        return (
            f'<rect class="box {tone}" x="{at:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>{escape(told)}</title></rect>"
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> str:
        """A line through points."""
        drawn = "L".join(f"{self.x(x):.1f} {y:.1f}" for x, y in points)
        return f'<path class="{kind}" d="M{drawn}"/>'

    def text(self, text: str, x: float, y: float, anchor: str, kind: str = "") -> str:
        """Writing; start and end are those of the page's direction, as the drawing's are."""
        return f'<text class="{kind}" x="{self.x(x):.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _scale(most: float) -> tuple[float, ...]:
    """Round numbers from zero to the first that is not exceeded."""
    if not most > LEAST or not math.isfinite(most):
        return (0.0, 1.0)
    rough = most / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in NICE if nice * power * MOST_TICKS >= most * (1 - 1e-9))
    return tuple(number * step for number in range(math.ceil(most / step - 1e-9) + 1))


def _most(lines: Sequence[Line]) -> float:
    return max((value for line in lines for value in line.values if value is not None), default=0.0)


def _chart(look: Look, words: Words, places: Sequence[str], lines: Sequence[Line], svg: Markup) -> Chart:
    keys = tuple(Key(line.name, line.tone, line.dashed) for line in lines) if len(lines) > 1 else ()
    return Chart(look.title, svg, keys, *_table(look, words, places, lines))


def _table(
    look: Look, words: Words, places: Sequence[str], lines: Sequence[Line]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    def cell(value: float | None) -> str:
        return words.nothing if value is None else look.form(value)

    rows = tuple((place, *(cell(line.values[at]) for line in lines)) for at, place in enumerate(places))
    return (words.place, *(line.name for line in lines)), rows


def _range_cells(bar: Bar, words: Words, look: Look) -> tuple[str, ...]:
    if not words.range:
        return ()
    known = bar.low is not None and bar.high is not None
    return (f"{look.form(bar.low or 0.0)} \N{EN DASH} {look.form(bar.high or 0.0)}" if known else words.nothing,)


def _reference_cells(bar: Bar, words: Words, look: Look) -> tuple[str, ...]:
    if not words.reference:
        return ()
    return (words.nothing if bar.reference is None else look.form(bar.reference),)
