"""Mouth and expression: the numbers follow the face and not where, how large or which way round it is in the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.canvas import canvas
from validation.context import Judgement
from validation.expression import LEAST_FRAMES, change, expression, smile
from validation.geometry import moved
from validation.measures import face as measures
from validation.mouth import INNER_LIPS_RING, lip_gap, teeth
from validation.report import Expression

PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
# Landmarks whose places a mirror swaps, of those that the measures here read.
PAIRS = (
    *((33, 263), (133, 362), (61, 291), (145, 374), (50, 280), (81, 311), (178, 402), (78, 308)),
    *((70, 300), (63, 293), (105, 334), (66, 296), (107, 336), (46, 276), (53, 283), (52, 282), (65, 295), (55, 285)),
)


def mirrored(landmarks, width):
    out = landmarks.copy()
    out[:, 0] = width - out[:, 0]
    for right, left in PAIRS:
        out[[right, left]] = out[[left, right]]
    return out


def landmarks_of(model, image):
    found = model.scene(image, mask=False).face
    assert found is not None
    return found.landmarks


@pytest.fixture(scope="module")
def teeth_landmarks(face_model, applicant):
    return landmarks_of(face_model, applicant("variations/anna_smile_teeth"))


similar = st.tuples(st.floats(0.3, 3), st.floats(-0.5, 0.5), st.floats(-300, 300), st.floats(-300, 300))


@given(similar)
def test_scale_position_and_tilt_change_no_expression(teeth_landmarks, how):
    scale, angle, x, y = how
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    after = moved(teeth_landmarks, np.array([[cos, -sin, x], [sin, cos, y]]))
    assert smile(after) == pytest.approx(smile(teeth_landmarks), abs=0.02)
    assert lip_gap(after) == pytest.approx(lip_gap(teeth_landmarks), rel=1e-3)
    now, then = expression(after), expression(teeth_landmarks)
    assert now.brow_height == pytest.approx(then.brow_height, abs=0.02)


def test_a_mirror_changes_no_expression(teeth_landmarks):
    after = mirrored(teeth_landmarks, 960)
    assert smile(after) == pytest.approx(smile(teeth_landmarks), abs=1e-3)
    assert lip_gap(after) == pytest.approx(lip_gap(teeth_landmarks), rel=1e-6)


def test_wider_higher_and_rounder_is_more_of_a_smile(neutral_landmarks):
    values = []
    for pull in (0, 4, 8, 16):
        face = neutral_landmarks.copy()
        face[61, :2] += (-pull, -pull)
        face[291, :2] += (pull, -pull)
        values.append(smile(face))
    assert values == sorted(values)
    raised = neutral_landmarks.copy()
    raised[[50, 280], 1] -= 10
    assert smile(raised) > smile(neutral_landmarks)


def test_change_is_the_largest_of_the_three_and_needs_five_frames():
    rest = Expression(mouth_width=45, corner_lift=0, brow_height=17)
    now = Expression(mouth_width=46, corner_lift=4, brow_height=15)
    assert change(now, [rest] * (LEAST_FRAMES - 1)) is None
    assert change(now, [rest] * LEAST_FRAMES) == pytest.approx(4)
    odd = Expression(mouth_width=90, corner_lift=30, brow_height=40)
    assert change(now, [rest] * LEAST_FRAMES + [odd] * 2) == pytest.approx(4)  # the median does not mind single frames


def test_a_smile_changes_the_face_and_a_dark_lamp_does_not(applicant, face_model):
    relaxed = [expression(landmarks_of(face_model, applicant("people/anna/neutral")))] * LEAST_FRAMES
    smiling = expression(landmarks_of(face_model, applicant("variations/anna_smile_teeth")))
    darker = expression(landmarks_of(face_model, applicant("variations/anna_dark")))
    assert change(smiling, relaxed) > 5
    assert change(darker, relaxed) < 2


@pytest.mark.parametrize("person", PEOPLE)
def test_relaxed_faces_show_no_teeth_and_no_smile(person, applicant, face_model):
    image = applicant(f"people/{person}/neutral")
    landmarks = landmarks_of(face_model, image)
    assert teeth(canvas(image, landmarks)).share < 0.01
    assert lip_gap(landmarks) < 0.3
    assert smile(landmarks) < 27


@pytest.mark.parametrize("name", ["anna_smile_teeth", "amara_smile_teeth", "jorge_mouth_open"])
def test_teeth_are_found_on_light_and_dark_skin_and_in_less_light(name, applicant, face_model):
    image = applicant(f"variations/{name}")
    landmarks = landmarks_of(face_model, image)
    found = teeth(canvas(image, landmarks))
    assert found.share > 0.1
    assert lip_gap(landmarks) > 1
    dimmed = teeth(canvas(cv2.convertScaleAbs(image, alpha=0.6), landmarks))
    assert dimmed.share == pytest.approx(found.share, abs=0.05)
    inside = canvas(image, landmarks).points[list(INNER_LIPS_RING)]
    assert found.mask.shape == tuple(s.stop - s.start for s in found.window)
    assert found.window[1].start <= inside[:, 0].min() < inside[:, 0].max() <= found.window[1].stop


def test_more_of_the_mouth_painted_white_is_more_teeth(teeth_landmarks, applicant):
    image = applicant("people/anna/neutral")
    ring = teeth_landmarks[list(INNER_LIPS_RING), :2]
    image = cv2.fillPoly(image.copy(), [np.rint(ring).astype(np.int32)], (20, 10, 60))
    low, high = ring[:, 1].min(), ring[:, 1].max()
    values = []
    for part in (0, 0.3, 0.6, 1):
        painted = image.copy()
        rows = slice(round(low), round(low + part * (high - low)))
        painted[rows, round(ring[:, 0].min()) : round(ring[:, 0].max())] = (190, 200, 205)
        values.append(teeth(canvas(painted, teeth_landmarks)).share)
    assert values == sorted(values)
    assert values[0] == 0
    assert values[-1] > 0.2


def test_no_colour_no_picture_no_answer(teeth_landmarks, neutral_landmarks, applicant):
    image = applicant("variations/anna_smile_teeth")
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert "colour" in teeth(canvas(grey, teeth_landmarks))
    away = moved(teeth_landmarks, np.array([[1.0, 0, 0], [0, 1, 650]]))
    assert "edge" in teeth(canvas(image, away))
    closed = teeth(canvas(np.full_like(image, 128), neutral_landmarks))
    assert closed.share == 0  # lips that enclose nothing show nothing, in any colour


def test_a_mesh_without_a_lip_has_a_finite_gap(neutral_landmarks):
    flat = neutral_landmarks.copy()
    flat[17] = flat[14]
    assert np.isfinite(lip_gap(flat))
    assert np.isfinite(lip_gap(np.zeros_like(flat)))


def test_a_masked_mouth_is_not_judged(applicant, face_model, demo_profile):
    image = applicant("variations/ingrid_mask")
    judged = Judgement(image, face_model.scene(image), demo_profile)
    for measure in (measures.mouth_closed, measures.lip_gap, measures.teeth, measures.smile):
        assert measure(judged) == measures.MOUTH_COVERED
