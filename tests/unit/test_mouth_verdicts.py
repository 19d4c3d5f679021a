"""Rules on mouth, expression and covers give their verdicts on the labelled renders, and none on people as they should be."""

from __future__ import annotations

import pytest

from validation.check import judge
from validation.expression import LEAST_FRAMES, expression
from validation.report import Series

PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
RULES = (
    *("face.lower_visible", "face.forehead_visible", "face.sides_visible"),
    *("mouth.closed", "mouth.lip_gap", "mouth.teeth", "expression.smile"),
)
FAULTS = (
    ("anna_smile_teeth", "mouth.teeth", "fail", "advice.close_mouth"),
    ("amara_smile_teeth", "mouth.teeth", "fail", "advice.close_mouth"),
    ("anna_smile_teeth", "mouth.lip_gap", "fail", "advice.close_mouth"),
    ("jorge_mouth_open", "mouth.lip_gap", "fail", "advice.close_mouth"),
    ("anna_smile_teeth", "expression.smile", "warn", "advice.relax_face"),
    ("amara_smile_teeth", "expression.smile", "warn", "advice.relax_face"),
    ("ingrid_mask", "face.lower_visible", "fail", "advice.uncover_face"),
    ("ingrid_mask", "mouth.closed", "not_assessed", "advice.uncover_face"),
    ("jorge_mouth_covered", "mouth.teeth", "not_assessed", "advice.uncover_face"),
    ("kwame_cap", "face.forehead_visible", "warn", "advice.take_off_hat"),
    ("kwame_cap", "face.lower_visible", "pass", "advice.none"),
    ("mei_hair_over_eye", "face.forehead_visible", "warn", "advice.take_off_hat"),
    ("mei_hair_over_eye", "face.sides_visible", "warn", "advice.uncover_face"),
    ("amara_headscarf", "face.lower_visible", "pass", "advice.none"),
    ("amara_headscarf", "face.forehead_visible", "pass", "advice.none"),
    ("jorge_glasses", "face.forehead_visible", "pass", "advice.none"),  # a short fringe
)


def findings(image, model, profile, series=None):
    return judge(image, model.scene(image), profile, series=series)


@pytest.mark.parametrize("person", PEOPLE)
def test_neutral_people_pass(person, applicant, demo_profile, face_model):
    report = findings(applicant(f"people/{person}/neutral"), face_model, demo_profile)
    assert {rule: report.finding(rule).verdict.value for rule in RULES} == dict.fromkeys(RULES, "pass")
    assert report.finding("expression.change").reason == "needs frames"


@pytest.mark.parametrize(("fault", "rule", "verdict", "advice"), FAULTS, ids=[f"{f[0]}-{f[1]}" for f in FAULTS])
def test_a_labelled_fault_gets_its_verdict(fault, rule, verdict, advice, applicant, demo_profile, face_model):
    found = findings(applicant(f"variations/{fault}"), face_model, demo_profile).finding(rule)
    assert (found.verdict.value, found.advice) == (verdict, advice), found
    if verdict in {"fail", "warn"}:
        assert found.evidence is not None
        assert found.evidence.points or found.evidence.outlines


def test_a_smile_against_the_own_relaxed_face_warns_and_the_relaxed_face_passes(applicant, demo_profile, face_model):
    neutral = applicant("people/anna/neutral")
    own = expression(face_model.scene(neutral).face.landmarks)
    series = Series(pitch_deg=(), relaxed=(own,) * LEAST_FRAMES)
    smiling = findings(applicant("variations/anna_smile_teeth"), face_model, demo_profile, series)
    assert smiling.finding("expression.change").verdict.value == "warn"
    relaxed = findings(neutral, face_model, demo_profile, series)
    assert relaxed.finding("expression.change").verdict.value == "pass"
    few = Series(pitch_deg=(), relaxed=(own,) * (LEAST_FRAMES - 1))
    assert findings(neutral, face_model, demo_profile, few).finding("expression.change").value is None
