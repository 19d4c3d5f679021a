"""One instruction at a time: the right one first, without flicker, and the shutter only after an unbroken hold."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.guidance import (
    HINT_S,
    HINTS,
    HINTS_S,
    HOLD_STILL,
    MOTION_LIMIT,
    NO_FACE,
    SETTLE_S,
    SHOWN_S,
    Guidance,
    advise,
    interrupted,
)
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


def warned(*advice: str, level: Level = Level.WARN) -> Report:
    return report(*(finding("eyes.glasses", key, verdict=Verdict.WARN, level=level) for key in advice))


GLASSES = warned("advice.take_off_glasses")
HAIR = warned("advice.hair_from_eyes")


def feed(guidance: Guidance, *reports: Report, motion: float | None = STILL) -> Guidance:
    for item in reports:
        guidance = advise(guidance, item, motion, guidance.judged_ns + FRAME_NS)
    return guidance


def test_the_most_urgent_blocking_rule_speaks():
    both = report(finding("geometry.inter_eye", "advice.closer"), finding("pose.yaw", "advice.turn_head_left"))
    shown = feed(Guidance(), both).instruction
    assert (shown.key, shown.arrow) == ("advice.closer", "closer")


def test_borderline_values_measured_values_and_what_the_booth_must_mend_never_speak():
    quiet = report(
        finding("pose.roll", "advice.level_head", verdict=Verdict.WARN),
        finding("pose.shoulders", "advice.relax_face", verdict=Verdict.WARN, level=Level.INFO),
        finding("light.shadows", "advice.light_problem", verdict=Verdict.WARN, level=Level.WARN),
        finding("background.colour", "advice.background_problem", verdict=Verdict.WARN, level=Level.WARN),
        finding("image.motion", "advice.camera_problem", verdict=Verdict.WARN, level=Level.WARN),
        finding("eyes.gaze", "advice.look_here", verdict=Verdict.NOT_ASSESSED, level=Level.WARN),
    )
    guidance = feed(Guidance(), *[quiet] * 11)
    assert guidance.key == HOLD_STILL
    assert guidance.held_s == pytest.approx(10 * FRAME_NS / 1e9)


def test_a_warning_that_the_sitter_can_mend_is_said_when_nothing_blocks():
    assert feed(Guidance(), GLASSES).key == "advice.take_off_glasses"
    both = report(finding("pose.yaw", "advice.turn_head_left"), *GLASSES.findings)
    assert feed(Guidance(), both).key == "advice.turn_head_left"
    assert feed(Guidance(), warned("advice.light_problem", "advice.look_here")).key == "advice.look_here"


def test_a_hint_that_is_followed_frees_the_shutter_at_once():
    guidance = feed(Guidance(), *[GLASSES] * 40)
    assert guidance.held_s == 0
    guidance = feed(guidance, *[RIGHT] * 11)
    assert guidance.held_s == pytest.approx(10 * FRAME_NS / 1e9)
    assert guidance.key == HOLD_STILL


def test_a_hint_that_is_not_followed_delays_the_photo_and_does_not_prevent_it():
    frames = int(HINT_S * 1e9 / FRAME_NS)
    guidance = feed(Guidance(), *[GLASSES] * frames)
    assert (guidance.key, guidance.held_s) == ("advice.take_off_glasses", 0)
    guidance = feed(guidance, *[GLASSES] * 20)
    assert guidance.key == HOLD_STILL
    assert guidance.held_s > 0.8
    assert not guidance.may_hint("advice.take_off_glasses")


def test_a_hint_is_not_used_up_while_something_else_is_said():
    guidance = feed(Guidance(), *[report(*FAR.findings, *GLASSES.findings)] * 200)
    assert feed(guidance, *[GLASSES] * 40).key == "advice.take_off_glasses"
    gap = advise(feed(Guidance(), *[GLASSES] * 3), GLASSES, STILL, int(60e9))
    assert gap.may_hint("advice.take_off_glasses")


@given(st.lists(st.sampled_from([GLASSES, HAIR, *(warned(key) for key in sorted(HINTS))]), min_size=1, max_size=9))
def test_all_hints_together_never_keep_a_sitter_longer_than_their_time(pattern):
    frames = itertools.islice(itertools.cycle(pattern), int((HINTS_S + SETTLE_S) * 1e9 / FRAME_NS) + 2)
    guidance = feed(Guidance(), *frames)
    assert guidance.held_s > 0


def hair(covered: float) -> Finding:
    limits = {"limit": Limit(high=18), "value": covered, "verdict": Verdict.WARN, "level": Level.WARN}
    return finding("eyes.hair", "advice.hair_from_eyes").model_copy(update=limits)


def test_a_hidden_eye_is_uncovered_before_anybody_moves_a_head_that_only_seems_turned():
    tilted = finding("pose.roll", "advice.tilt_head_left")
    assert feed(Guidance(), report(tilted, hair(46.0))).key == "advice.hair_from_eyes"
    assert feed(Guidance(), report(tilted, hair(20.0))).key == "advice.tilt_head_left"
    dark = finding("light.even", "advice.light_problem")
    assert feed(Guidance(), report(dark, hair(46.0))).key == "advice.hair_from_eyes"
    lenses = finding("eyes.dark_lenses", "advice.take_off_glasses")
    assert feed(Guidance(), report(lenses, hair(46.0))).key == "advice.take_off_glasses"
    assert feed(Guidance(), report(*FAR.findings, hair(46.0))).key == "advice.closer"


def test_a_hint_that_was_said_long_enough_leaves_room_for_the_next_one():
    both = report(*GLASSES.findings, *HAIR.findings)
    guidance = feed(Guidance(), *[both] * int((HINT_S + SHOWN_S) * 1e9 / FRAME_NS))
    assert guidance.key == "advice.hair_from_eyes"
    assert feed(guidance, *[both] * 100).key == HOLD_STILL


def test_the_time_with_somebody_there_is_counted_while_the_booth_is_ready():
    guidance = feed(Guidance(judged_ns=10**9), *[NOBODY] * 20)
    assert guidance.guided_s == 0
    guidance = feed(guidance, *[FAR] * 20, *[RIGHT] * 20)
    assert guidance.guided_s == pytest.approx(40 * FRAME_NS / 1e9)
    assert feed(Guidance(), RIGHT).guided_s == 0
    paused = advise(guidance, FAR, STILL, guidance.judged_ns + int(60e9))
    assert paused.guided_s - guidance.guided_s == pytest.approx(0.5)


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
