"""Preview frames judged one after the other: what is fresh, what is kept, what is forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from validation.face import FaceModel
from validation.live import ADVICE_EVERY, PITCH_KEPT, RELAXED_KEPT, LiveAssessor
from validation.report import Level
from validation.rules import RULES


@pytest.fixture
def assessor(demo_profile):
    with FaceModel(video=True) as model:
        yield LiveAssessor(model, demo_profile)


def advice_age(report):
    told = [note for note in report.notes if note.startswith("advice ")]
    return int(told[0].split()[1]) if told else 0


def test_every_frame_reports_every_live_rule_and_tells_how_old_the_advice_is(assessor, applicant, demo_profile):
    anna = applicant("people/anna/neutral")
    reports = [assessor.assess(anna)[1] for _ in range(2 * ADVICE_EVERY + 1)]
    live = [rule.id for rule in RULES if rule.live and rule.id in demo_profile.rules]
    assert all([found.rule for found in report.findings] == live for report in reports)
    assert [advice_age(report) for report in reports] == [*range(ADVICE_EVERY), *range(ADVICE_EVERY), 0]


def test_advice_on_a_turned_head_is_given_up_with_the_first_right_frame(assessor, applicant):
    anna, turned = applicant("people/anna/neutral"), applicant("variations/anna_yaw+25")
    for _ in range(4):
        report = assessor.assess(turned)[1]
    assert not report.compliant
    assert advice_age(report) == 3
    while not report.compliant:
        report = assessor.assess(anna)[1]
    assert advice_age(report) == 0
    assert report.finding("eyes.gaze").verdict == "pass"


def test_what_refuses_is_judged_on_the_frame_itself(assessor, applicant):
    assert assessor.assess(applicant("people/anna/neutral"))[1].finding("pose.yaw").verdict == "pass"
    turned = applicant("variations/anna_yaw+25")
    values = [assessor.assess(turned)[1].finding("pose.yaw").value for _ in range(3)]
    assert max(values) > 15


def test_the_series_holds_the_latest_pitch_and_the_face_in_right_frames(assessor, applicant):
    assert assessor.series is None
    anna = applicant("people/anna/neutral")
    compliant = [assessor.assess(anna)[1].compliant for _ in range(RELAXED_KEPT + 2)]
    series = assessor.series
    assert len(series.pitch_deg) == PITCH_KEPT
    assert np.ptp(series.pitch_deg) < 1
    assert len(series.relaxed) == min(sum(compliant), RELAXED_KEPT) > 0


def test_a_face_that_breaks_a_rule_is_not_taken_for_relaxed(assessor, applicant):
    smile = applicant("variations/amara_smile_teeth")
    for _ in range(3):
        assert not assessor.assess(smile)[1].compliant
    assert assessor.series.relaxed == ()
    assert len(assessor.series.pitch_deg) == 3


def test_an_empty_seat_forgets_the_person(assessor, applicant):
    anna = applicant("people/anna/neutral")
    for _ in range(3):
        assessor.assess(anna)
    scene, report = assessor.assess(np.full((1280, 960, 3), 180, np.uint8))
    while scene.face is not None:  # the mesh may follow a face for a frame or two after it has gone
        scene, report = assessor.assess(np.full((1280, 960, 3), 180, np.uint8))
    assert assessor.series is None
    advising = [found for found in report.findings if found.level is not Level.REJECT]
    assert not any(found.value is not None for found in advising if found.rule != "face.single")
    assert advice_age(assessor.assess(anna)[1]) == 0
