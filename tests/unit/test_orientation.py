"""Photos that are upside down or lie on their side are found, named, and not judged further; upright ones are left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from validation.check import check
from validation.face import FaceModel, Scene
from validation.geometry import roll_deg
from validation.orientation import turn_for_tilt, turn_needed, turned
from validation.profile import load_profile
from validation.report import Verdict
from validation.rules import RULES

PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
HARD = (
    "variations/mei_roll+15",
    "variations/kwame_sunglasses",
    "variations/jorge_glasses",
    "variations/mei_too_far",
    "variations/anna_dark",
)


@pytest.mark.parametrize("pad", [(0, 0, 0, 0), (40, 20, 60, 30), (100, 0, 50, 50)])
@pytest.mark.parametrize("name", ["variations/ingrid_mask", "variations/jorge_mouth_covered"])
def test_a_covered_mouth_does_not_turn_a_photo_upside_down(face_model: FaceModel, applicant, name, pad):
    photo = cv2.copyMakeBorder(applicant(name), *pad, cv2.BORDER_REPLICATE)
    assert face_model.scene(photo, mask=False).turn_deg == 0


@pytest.mark.parametrize("turn", [90, 180, 270])
@pytest.mark.parametrize("name", [*(f"people/{person}/neutral" for person in PEOPLE), *HARD])
def test_a_turned_photo_is_told_by_the_turn_that_helps(face_model: FaceModel, applicant, name, turn):
    photo = turned(applicant(name), (360 - turn) % 360)
    scene = face_model.scene(photo, mask=False)
    assert scene.turn_deg == turn
    assert scene.faces == ()
    upright = face_model.scene(turned(photo, scene.turn_deg), mask=False)
    assert upright.turn_deg == 0
    assert upright.face is not None
    assert abs(roll_deg(upright.face.landmarks)) < 20


@pytest.mark.parametrize(
    "name", ["variations/ingrid_mask", "variations/mei_roll-15", "variations/ingrid_second_person", *HARD]
)
def test_an_upright_photo_stays(face_model: FaceModel, applicant, name):
    scene = face_model.scene(applicant(name), mask=False)
    assert scene.turn_deg == 0
    assert scene.faces


@pytest.mark.parametrize(("turn", "reason"), [(180, "upside down"), (90, "on its side"), (270, "on its side")])
def test_nothing_about_the_face_of_a_turned_photo_is_judged(face_model: FaceModel, applicant, turn, reason):
    photo = turned(applicant("people/anna/neutral"), (360 - turn) % 360)
    report = check(photo, load_profile("icao"), face_model)
    found = report.finding("image.upright")
    assert (found.value, found.verdict, found.advice) == (turn, Verdict.FAIL, "advice.turn_photo")
    assert report.blocking[0] == found
    judged = {rule.id for rule in RULES if rule.needs_face} | {"face.single"}
    for other in report.findings:
        if other.rule in judged:
            assert other.verdict is Verdict.NOT_ASSESSED
            assert reason in (other.reason or "")
            assert other.advice == "advice.turn_photo" or other.rule == "face.single"


def test_without_a_face_nobody_can_tell_which_way_up(face_model: FaceModel):
    noise = np.random.default_rng(7).integers(0, 255, (640, 480, 3), dtype=np.uint8)
    for picture in (noise, np.full((640, 480, 3), 200, np.uint8)):
        assert face_model.scene(picture, mask=False).turn_deg == 0
        assert check(picture, load_profile("icao"), face_model).finding("image.upright").verdict is Verdict.NOT_ASSESSED


@pytest.mark.parametrize(
    ("tilt", "turn"), [(0, 0), (44, 0), (-44, 0), (50, 270), (-50, 90), (90, 270), (-90, 90), (179, 180), (-179, 180)]
)
def test_a_tilted_eye_line_tells_the_quarter(tilt, turn):
    assert turn_for_tilt(tilt) == turn


def test_a_turned_look_without_a_face_of_the_mesh_does_not_count():
    looks = iter((0.0, 0.7, 0.8, 0.9))
    assert turn_needed(np.zeros((8, 8, 3), np.uint8), None, lambda _: next(looks), lambda _: None) == 0


def test_a_sure_upright_face_needs_no_second_look():
    def never(_: np.ndarray) -> float | None:
        raise AssertionError("looked again")

    assert turn_needed(np.zeros((8, 8, 3), np.uint8), 3.0, lambda _: 0.95, never) == 0
    assert Scene(faces=()).turn_deg == 0
