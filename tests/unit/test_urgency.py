"""What is told first: fixed priority, then distance to the limit, and no taking turns."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.urgency import STAGES, distance, most_urgent, stage_of
from validation.report import Finding, Level, Limit, Verdict
from validation.rules import RULES, load_profile


def finding(
    rule: str,
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    advice: str = "",
    warn: Limit | None = None,
) -> Finding:
    return Finding(
        rule=rule,
        value=value,
        unit="",
        limit=Limit(low=low, high=high),
        warn_limit=warn,
        verdict=Verdict.FAIL if value is not None else Verdict.NOT_ASSESSED,
        level=Level.REJECT,
        source="test",
        advice=advice or rule,
    )  # fmt: skip


def test_every_rule_has_a_stage_and_every_stage_has_a_rule():
    assert {stage_of(rule.id) for rule in RULES} == set(range(len(STAGES)))


def test_the_stages_follow_the_way_to_a_portrait():
    order = ("face.single", "geometry.inter_eye", "pose.yaw", "eyes.dark_lenses", "face.forehead_visible", "eyes.open", "mouth.closed", "light.even", "background.uniform", "image.sharp")  # fmt: skip
    assert [stage_of(rule) for rule in order] == sorted(stage_of(rule) for rule in order)
    assert stage_of("image.upright") == 0 < stage_of("image.motion")


@given(
    st.permutations(
        [finding("pose.yaw", 5.1, -5, 5), finding("mouth.closed", 90.0, high=3), finding("light.even", 0.0, low=50)]
    )
)
def test_priority_goes_before_distance(shown):
    assert most_urgent(shown).rule == "pose.yaw"


def test_within_a_stage_the_furthest_beyond_its_limit_is_told():
    closer, left = finding("geometry.inter_eye", 80.0, low=90), finding("geometry.horizontal", 40.0, 45, 55)
    assert distance(closer) == pytest.approx(10 / 90)
    assert distance(left) == pytest.approx(1.0)
    assert most_urgent([closer, left]) is left
    assert most_urgent([]) is None


def test_a_borderline_value_is_measured_against_the_band_it_broke():
    assert distance(finding("pose.roll", 6.0, -8, 8, warn=Limit(low=-5, high=5))) == pytest.approx(0.2)
    assert distance(finding("pose.roll", 4.0, -8, 8, warn=Limit(low=-5, high=5))) == 0
    assert distance(finding("face.single", 2.0, 1, 1)) == 1
    assert distance(finding("eyes.red", 2.0, high=0)) == 2


def test_what_could_not_be_judged_comes_after_what_was_and_keeps_the_order_of_the_table():
    unjudged, known = finding("pose.roll", None, -8, 8), finding("pose.yaw", 5.01, -5, 5)
    assert most_urgent([unjudged, known]) is known
    assert most_urgent([unjudged, finding("pose.pitch", None, -10, 10)]) is unjudged


def test_two_that_are_about_as_far_do_not_take_turns():
    said, told = "", []
    for yaw, pitch in itertools.islice(itertools.cycle([(6.0, 12.2), (6.2, 12.0)]), 20):
        found = most_urgent(
            [finding("pose.yaw", yaw, -5, 5, "yaw"), finding("pose.pitch", pitch, -10, 10, "pitch")], said
        )
        said = found.advice
        told.append(said)
    assert len(set(told)) == 1
    assert (
        most_urgent(
            [finding("pose.yaw", 6.0, -5, 5, "yaw"), finding("pose.pitch", 17.0, -10, 10, "pitch")], "yaw"
        ).advice
        == "pitch"
    )


values = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    st.lists(st.tuples(st.sampled_from([rule.id for rule in RULES]), st.none() | values), min_size=1, max_size=9),
    st.sampled_from(["", "advice.closer", "advice.back"]),
)
def test_whatever_is_measured_one_of_the_first_stage_is_told(shown, said):
    limits = load_profile("icao").rules
    findings = [
        finding(rule, value, limits[rule].low, limits[rule].high, "advice.closer", limits[rule].warn_limit)
        for rule, value in shown
        if rule in limits
    ]
    found = most_urgent(findings, said)
    if findings:
        assert stage_of(found.rule) == min(stage_of(each.rule) for each in findings)
        assert all(distance(each) >= 0 for each in findings)
