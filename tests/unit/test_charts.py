"""Charts of the desk's pages: well-formed, escaped, mirrored where the page is, and never a number in the drawing that the table lacks."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.charts import Bar, Line, Look, Words, _scale, bar_chart, column_chart, line_chart, small_multiples

SVG = "{http://www.w3.org/2000/svg}"
CSS = (Path(__file__).resolve().parents[2] / "server" / "static" / "charts.css").read_text("utf-8")
LTR = Look("Checks", rtl=False, form=lambda value: f"{value:g}")
RTL = Look("Checks", rtl=True, form=lambda value: f"{value:g}")
WORDS = Words("Day")
DAYS = ("1", "2", "3", "4", "5")
NASTY = "<script>alert('x')</script>\"&"


def shapes(chart, kind=None):
    root = ET.fromstring(f'<div xmlns="http://www.w3.org/2000/svg">{chart.svg}</div>')
    assert "style" not in chart.svg.replace("charts.css", "")
    return [one for one in root.iter() if kind is None or kind in one.get("class", "").split()]


def test_a_day_without_a_number_breaks_the_line_and_a_lone_number_is_a_dot():
    chart = line_chart(LTR, WORDS, DAYS, [Line("North", (1.0, 2.0, None, 4.0, None))])
    assert len(shapes(chart, "dot")) == 3
    lines = shapes(chart, "line")
    assert len(lines) == 1
    assert lines[0].get("d").count("L") == 1
    assert chart.rows == (("1", "1"), ("2", "2"), ("3", "–"), ("4", "4"), ("5", "–"))  # noqa: RUF001 (the dash of the page)
    assert chart.keys == ()


def test_right_to_left_is_the_mirror_image_and_writing_is_not():
    line = Line("North", (1.0, 2.0, 3.0, 4.0, 5.0))
    left, right = line_chart(LTR, WORDS, DAYS, [line]), line_chart(RTL, WORDS, DAYS, [line])
    ways = [[float(dot.get("cx")) for dot in shapes(chart, "dot")] for chart in (left, right)]
    assert ways[0] == sorted(ways[0])
    assert ways[1] == pytest.approx([720 - x for x in ways[0]])
    assert shapes(right, "chart")[0].get("direction") == "rtl"
    assert shapes(left, "chart")[0].get("direction") is None
    assert [t.text for t in shapes(left) if t.tag == f"{SVG}text"] == [
        t.text for t in shapes(right) if t.tag == f"{SVG}text"
    ]
    columns = [column_chart(look, WORDS, DAYS, [line]) for look in (LTR, RTL)]
    boxes = [[(float(b.get("x")), float(b.get("width"))) for b in shapes(chart, "box")] for chart in columns]
    assert [x for x, _ in boxes[1]] == pytest.approx([720 - x - wide for x, wide in boxes[0]], abs=0.11)


def test_columns_stand_one_upon_the_other():
    parts = [Line("finished", (3.0, 0.0, None)), Line("ended", (1.0, 2.0, None), "care")]
    chart = column_chart(LTR, WORDS, ("a", "b", "c"), parts)
    low, high, second = sorted(shapes(chart, "box"), key=lambda box: (float(box.get("x")), -float(box.get("y"))))
    assert float(high.get("y")) + float(high.get("height")) == pytest.approx(float(low.get("y")), abs=0.11)
    assert float(low.get("height")) == pytest.approx(3 * float(high.get("height")), abs=0.4)
    assert float(second.get("height")) == pytest.approx(2 * float(high.get("height")), abs=0.4)
    assert [key.name for key in chart.keys] == ["finished", "ended"]
    assert chart.columns == ("Day", "finished", "ended")


def test_a_bar_has_its_range_its_reference_and_all_of_it_in_the_table():
    words = Words("Check", "Share", "Range", "Others")
    bars = [Bar("light", 0.4, 0.3, 0.5, 0.1, "bad"), Bar("pose", 0.1)]
    chart = bar_chart(LTR, words, bars)
    assert chart.columns == ("Check", "Share", "Range", "Others")
    assert [(key.name, key.mark) for key in chart.keys] == [("Others", "tick")]
    assert chart.rows == (("light", "0.4", "0.3 – 0.5", "0.1"), ("pose", "0.1", "–", "–"))  # noqa: RUF001 (dashes of the page)
    first, second = shapes(chart, "box")
    assert float(first.get("width")) == pytest.approx(4 * float(second.get("width")), abs=0.5)
    assert len(shapes(chart, "whisker")) == 3
    assert len(shapes(chart, "reference")) == 1


def test_panels_share_their_scale_and_their_reference():
    panels = [Line("b1", (0.1, 0.2), "bad"), Line("b2", (0.4, None))]
    chart = small_multiples(LTR, WORDS, ("1", "2"), panels, Line("others", (0.1, 0.1), "soft", dashed=True))
    assert chart.columns == ("Day", "b1", "b2", "others")
    assert len(shapes(chart, "chart")) == 2
    assert len([one for one in shapes(chart, "line") if "dashed" in one.get("class")]) == 2
    ticks = [[t.text for t in one.iter(f"{SVG}text")] for one in shapes(chart, "chart")]
    assert ticks[0] == ticks[1]


def test_no_text_is_ever_markup():
    look = Look(NASTY, rtl=False, form=lambda _value: NASTY)
    line, words = Line(NASTY, (1.0, 2.0)), Words(NASTY, NASTY, NASTY, NASTY)
    for chart in (
        line_chart(look, words, (NASTY, NASTY), [line]),
        column_chart(look, words, (NASTY, NASTY), [line]),
        bar_chart(look, words, [Bar(NASTY, 1.0, 0.5, 2.0, 1.0)]),
        small_multiples(look, words, (NASTY, NASTY), [line], line),
    ):
        assert "<script" not in chart.svg
        assert shapes(chart)


@given(st.floats(0, 1e12, allow_nan=False))
def test_a_scale_is_round_starts_at_zero_and_reaches_what_was_measured(most):
    ticks = _scale(most)
    assert ticks[0] == 0
    assert ticks[-1] >= most * (1 - 1e-6)
    assert 2 <= len(ticks) <= 6
    mantissa = ticks[1] / 10 ** math.floor(math.log10(ticks[1]) + 1e-9)
    assert min(abs(mantissa - nice) for nice in (1, 2, 5, 10)) < 1e-6


@pytest.mark.parametrize("most", [math.nan, math.inf, -1.0, 0.0])
def test_nothing_measured_has_a_scale_all_the_same(most):
    assert _scale(most) == (0.0, 1.0)


def test_charts_of_nothing_are_drawn():
    assert line_chart(LTR, WORDS, (), []).rows == ()
    assert column_chart(LTR, WORDS, (), []).rows == ()
    assert bar_chart(LTR, Words("Check", "Share"), []).rows == ()
    assert small_multiples(LTR, WORDS, (), [], Line("others", ())).rows == ()


def test_every_tone_is_painted_and_nothing_is_loaded():
    for tone in ("soft", "good", "care", "bad"):
        for mark in ("line", "dot", "box"):
            assert re.search(rf"\.{mark}\.{tone} {{", CSS)
    assert "url(" not in CSS
    assert "@import" not in CSS
