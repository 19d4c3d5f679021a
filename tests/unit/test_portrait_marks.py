"""What is drawn over a refused portrait: fractions of the picture, for broken rules alone, whatever a report holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.kiosk import FaceLines, Marks
from booth.portrait_marks import MOST_OUTLINES, MOST_POINTS, face_lines, marks_of
from booth.screen import Scenery, kiosk_state, show_findings
from booth.visit import State, Visit
from booth.visit import Verdict as VisitVerdict
from validation.report import Box, Evidence, Finding, Level, Limit, Report, Verdict


def finding(rule, evidence=None, verdict=Verdict.FAIL, level=Level.REJECT):
    return Finding(
        rule=rule, value=1.0, unit="%", limit=Limit(high=0), verdict=verdict, level=level,
        source="test", advice="advice.back", evidence=evidence,
    )  # fmt: skip


def report(*findings):
    return Report(
        profile="demo", profile_version="1", judged="crop", width=600, height=800, findings=findings, software="t"
    )


HEIGHT = finding("geometry.head_height", Evidence(points=((300, 80), (306, 640))))
EYES = finding("geometry.inter_eye", Evidence(points=((240, 360), (360, 352))), Verdict.PASS)
TEETH = finding("mouth.teeth", Evidence(boxes=(Box(x=240, y=480, width=120, height=40),)))


def test_crown_eyes_and_chin_are_lines_over_the_portrait():
    assert face_lines(report(HEIGHT, EYES)) == FaceLines(
        crown=(0.5, 0.1), chin=(0.51, 0.8), eyes=((0.4, 0.45), (0.6, 0.44))
    )
    assert face_lines(report(EYES)) is None
    assert face_lines(report(HEIGHT, finding("geometry.inter_eye"))) is None


def test_a_broken_rule_is_marked_where_it_looked_and_no_other():
    shown = {one.rule: one.marks for one in show_findings(report(HEIGHT, EYES, TEETH), marked=True)}
    assert shown["mouth.teeth"] == Marks(outlines=(((0.4, 0.6), (0.6, 0.6), (0.6, 0.65), (0.4, 0.65)),))
    assert shown["geometry.head_height"].dots == ((0.5, 0.1), (0.51, 0.8))
    assert shown["geometry.inter_eye"] is None
    assert {one.marks for one in show_findings(report(HEIGHT, EYES, TEETH))} == {None}


def test_a_remark_and_a_rule_that_shows_nothing_are_not_marked():
    remark = finding("light.sides", TEETH.evidence, Verdict.FAIL, Level.WARN)
    assert {one.marks for one in show_findings(report(remark, finding("image.size")), marked=True)} == {None}


def test_nothing_is_marked_where_no_portrait_is_shown():
    refused = Visit(state=State.REVIEW, verdict=VisitVerdict.FAILED)
    scenery = Scenery(report=report(HEIGHT, EYES, TEETH), has_portrait=True, attempt=1)
    shown = kiosk_state(refused, scenery)
    assert (shown.portrait_size, shown.face is None) == ((600, 800), False)
    without = kiosk_state(refused, Scenery(report=scenery.report))
    assert (without.portrait_size, without.face, {one.marks for one in without.findings}) == (None, None, {None})
    framing = kiosk_state(Visit(state=State.FRAMING), scenery)
    assert (framing.portrait_size, framing.face, framing.findings) == (None, None, ())


def test_long_outlines_are_thinned():
    circle = tuple((300 + 200 * math.cos(i), 400 + 200 * math.sin(i)) for i in range(1000))
    drawn = marks_of(finding("light.exposure", Evidence(outlines=(circle,) * 40)), report())
    assert len(drawn.outlines) == MOST_OUTLINES
    assert {len(outline) <= MOST_POINTS for outline in drawn.outlines} == {True}


numbers = st.floats(-1e9, 1e9)
places = st.lists(st.tuples(numbers, numbers), max_size=70).map(tuple)
anything = st.builds(
    Evidence,
    points=places,
    boxes=st.lists(st.builds(Box, x=numbers, y=numbers, width=numbers, height=numbers), max_size=20).map(tuple),
    outlines=st.lists(places, max_size=20).map(tuple),
)


@given(anything)
def test_whatever_is_marked_lies_near_the_picture(evidence):
    drawn = marks_of(finding("x", evidence), report())
    shapes = [] if drawn is None else [drawn.dots, *drawn.outlines]
    assert all(-1 <= share <= 2 for shape in shapes for place in shape for share in place)


@pytest.mark.parametrize("size", [(0, 800), (600, 0)])
def test_a_report_without_a_size_marks_nothing(size):
    flat = report(HEIGHT, EYES).model_copy(update={"width": size[0], "height": size[1]})
    assert face_lines(flat) is None
    assert marks_of(HEIGHT, flat) is None
