"""What stands on the screen: one instruction, one fault, nothing personal."""

from __future__ import annotations

import pytest

from booth.events import Application, Notice
from booth.guidance import Guidance
from booth.kiosk import KioskState
from booth.screen import COMMANDS, Scenery, kiosk_state
from booth.visit import NOT_SAVED, State, Verdict, Visit
from validation.report import Finding, Level, Limit, Report
from validation.report import Verdict as RuleVerdict

CAMERA = Notice("camera.lost", "fault.camera")
CONTROLS = Notice("control.lost", "fault.controls")
REPORT = Report(
    profile="demo",
    profile_version="1",
    judged="crop",
    width=622,
    height=800,
    software="test",
    findings=(
        Finding(
            rule="pose.yaw",
            value=7.5,
            unit="°",
            limit=Limit(low=-5, high=5),
            verdict=RuleVerdict.FAIL,
            level=Level.REJECT,
            source="test",
            advice="advice.turn_head_left",
        ),
    ),
)
REVIEWED = Scenery(report=REPORT, has_portrait=True, attempt=2)


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_screen_that_pages_can_read(state):
    shown = kiosk_state(Visit(state=state, application=Application("AB123456T", "typed")), REVIEWED)
    assert KioskState.model_validate_json(shown.model_dump_json()) == shown
    assert "AB123456T" not in shown.model_dump_json()
    assert set(shown.commands) <= set(COMMANDS)


def test_guidance_speaks_while_framing_and_a_lost_camera_speaks_first():
    scenery = Scenery(guidance=Guidance(key="advice.closer"), countdown=2)
    framing = kiosk_state(Visit(state=State.FRAMING), scenery)
    assert (framing.instruction.key, framing.instruction.arrow, framing.countdown_s) == ("advice.closer", "closer", 2)
    lost = kiosk_state(Visit(state=State.FRAMING, fault=CAMERA, obstructed=True), scenery)
    assert (lost.instruction.key, lost.fault.code) == ("fault.camera", "camera.lost")
    impaired = kiosk_state(Visit(state=State.FRAMING, fault=CONTROLS), scenery)
    assert (impaired.instruction.key, impaired.fault.code) == ("advice.closer", "control.lost")


def test_a_camera_that_is_lost_during_review_hinders_nobody():
    shown = kiosk_state(Visit(state=State.REVIEW, fault=CAMERA, obstructed=True, verdict=Verdict.PASSED), REVIEWED)
    assert shown.instruction.key == "state.review.title"
    assert shown.fault.code == "camera.lost"
    assert shown.compliant


def test_with_staff_what_went_wrong_comes_before_a_standing_fault():
    visit = Visit(state=State.ASSISTANCE, fault=CAMERA, obstructed=True, trouble=NOT_SAVED)
    assert kiosk_state(visit, REVIEWED).fault.message == "fault.not_saved"


def test_the_portrait_is_offered_in_review_and_to_staff_after_a_refusal_only():
    assert kiosk_state(Visit(state=State.REVIEW, verdict=Verdict.FAILED), REVIEWED).portrait.endswith("?attempt=2")
    assert kiosk_state(Visit(state=State.ASSISTANCE, verdict=Verdict.FAILED), REVIEWED).findings
    for visit in (Visit(state=State.ASSISTANCE), Visit(state=State.THANKS), Visit(state=State.FRAMING)):
        shown = kiosk_state(visit, REVIEWED)
        assert (shown.portrait, shown.findings, shown.compliant) == (None, (), None)


def test_the_warning_and_the_reference_are_shown_where_they_belong():
    assert kiosk_state(Visit(state=State.REVIEW, warned=True), Scenery(warning_s=20)).timeout_s == 20
    assert kiosk_state(Visit(state=State.REVIEW), Scenery(warning_s=20)).timeout_s is None
    assert kiosk_state(Visit(state=State.THANKS, reference="AB12-CD34"), Scenery()).reference == "AB12-CD34"
    assert kiosk_state(Visit(state=State.CLEARING, reference="AB12-CD34"), Scenery()).reference is None
    sealed = Scenery(status_url="https://intake.example/status#token")
    assert kiosk_state(Visit(state=State.THANKS), sealed).status_url == sealed.status_url
    assert kiosk_state(Visit(state=State.CLEARING), sealed).status_url is None
