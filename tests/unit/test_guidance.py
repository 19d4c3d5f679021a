"""One instruction at a time: the right one first, without flicker, and the shutter only after an unbroken hold."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.guidance import HOLD_STILL, MOTION_LIMIT, NO_FACE, SETTLE_S, SHOWN_S, Guidance, advise, interrupted
from validation.report import Finding, Level, Limit, Report, Verdict

FRAME_NS = 50_000_000
STILL = 0.05


def finding(rule: str, advice: str, *, verdict: Verdict = Verdict.FAIL, level: Level = Level.REJECT) -> Finding:
    return Finding(
        rule=rule, value=1.0, unit="px", limit=Limit(), verdict=verdict, level=level, source="test", advice=advice
    )


def report(*findings: Finding) -> Report:
    return Report(
        profile="demo", profile_version="1", judged="live", width=600, height=800, findings=findings, software="test"
    )


RIGHT = report(finding("pose.yaw", "advice.none", verdict=Verdict.PASS))
FAR = report(finding("geometry.inter_eye", "advice.closer"))
LEFT = report(finding("geometry.horizontal", "advice.left"))
NOBODY = report(finding("face.single", NO_FACE))


def feed(guidance: Guidance, *reports: Report, motion: float | None = STILL) -> Guidance:
    for item in reports:
        guidance = advise(guidance, item, motion, guidance.judged_ns + FRAME_NS)
    return guidance


def test_the_first_blocking_rule_of_the_table_speaks():
    both = report(finding("geometry.inter_eye", "advice.closer"), finding("pose.yaw", "advice.turn_head_left"))
    shown = feed(Guidance(), both).instruction
    assert (shown.key, shown.arrow) == ("advice.closer", "closer")


def test_warnings_and_measured_values_never_speak():
    warned = report(
        finding("pose.roll", "advice.level_head", verdict=Verdict.WARN),
        finding("light.exposure", "advice.light_problem", level=Level.INFO),
    )
    assert feed(Guidance(), warned).key == HOLD_STILL


def test_a_rule_that_could_not_be_judged_blocks_as_well():
    dark = report(finding("eyes.open", "advice.open_eyes", verdict=Verdict.NOT_ASSESSED))
    guidance = feed(Guidance(), dark)
    assert guidance.key == "advice.open_eyes"
    assert guidance.held_s == 0


def test_one_noisy_frame_does_not_change_what_is_shown():
    guidance = feed(Guidance(), *[FAR] * 40)
    assert feed(guidance, LEFT).key == "advice.closer"
    assert feed(guidance, LEFT, FAR, LEFT, FAR).key == "advice.closer"


def test_a_lasting_change_is_shown_after_it_settled():
    guidance = feed(Guidance(), *[FAR] * 40)
    frames = int(SETTLE_S * 1e9 / FRAME_NS) + 1
    assert feed(guidance, *[LEFT] * (frames - 1)).key == "advice.closer"
    assert feed(guidance, *[LEFT] * frames).key == "advice.left"


def test_a_new_instruction_can_be_read_before_the_next_one_comes():
    guidance = feed(Guidance(), FAR)
    guidance = feed(guidance, *[LEFT] * int((SHOWN_S - 0.1) * 1e9 / FRAME_NS))
    assert guidance.key == "advice.closer"


def test_somebody_who_sits_down_is_guided_at_once():
    guidance = feed(Guidance(), *[NOBODY] * 3)
    assert guidance.key == NO_FACE
    assert feed(guidance, FAR).key == "advice.closer"


def test_the_hold_grows_with_right_frames_and_starts_anew_with_one_wrong_frame():
    guidance = feed(Guidance(), *[RIGHT] * 11)
    assert guidance.held_s == pytest.approx(10 * FRAME_NS / 1e9)
    broken = feed(guidance, FAR)
    assert broken.held_s == 0
    assert feed(broken, RIGHT).held_s == 0
    assert interrupted(guidance).held_s == 0


def test_a_moving_sitter_is_never_captured():
    guidance = feed(Guidance(), *[RIGHT] * 30, motion=MOTION_LIMIT * 2)
    assert guidance.held_s == 0
    assert guidance.key == HOLD_STILL
    assert feed(Guidance(), RIGHT, motion=None).held_s == 0


@given(
    st.lists(st.tuples(st.sampled_from([RIGHT, FAR, LEFT, NOBODY]), st.sampled_from([None, 0.1, 1.0])), max_size=120)
)
def test_instructions_never_follow_each_other_faster_than_they_can_be_read(frames):
    guidance, at_ns, shown = Guidance(), 0, []
    for item, motion in frames:
        at_ns += FRAME_NS
        before = guidance
        guidance = advise(before, item, motion, at_ns)
        if guidance.key != before.key:
            shown.append((before.key, at_ns))
        assert guidance.held_s >= 0
        assert guidance.held_s == 0 or item is RIGHT
    for (_, earlier), (left, later) in itertools.pairwise(shown):
        assert left == NO_FACE or later - earlier >= SHOWN_S * 1e9
