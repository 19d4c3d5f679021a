"""Shoulders from the person's outline: level, tilted by a known angle, covered, out of the picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from tests.mirrored_mesh import mirrored
from validation.geometry import CHIN, eye_midpoint
from validation.shoulders import COVERED, NOT_SHOWN, shoulder_points, shoulder_tilt_deg


def outline(landmarks, tilt_deg, size=(960, 1280)):
    """Head and shoulders: an ellipse, and everything below a line that tilts around a point under the chin."""
    middle, chin = eye_midpoint(landmarks), landmarks[CHIN]
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    below = down > chin[1] + 60 + np.tan(math.radians(tilt_deg)) * (across - middle[0])
    mask = np.where(below, 255, 0).astype(np.uint8)
    cv2.ellipse(mask, (round(middle[0]), round(middle[1])), (150, 230), 0, 0, 360, 255, -1)
    return mask


@pytest.mark.parametrize("tilt_deg", [-15, -4, 0, 6, 12])
def test_the_tilt_is_that_of_the_drawn_shoulders_and_turns_with_a_mirror(neutral_landmarks, tilt_deg):
    mask = outline(neutral_landmarks, tilt_deg)
    found = shoulder_tilt_deg(shoulder_points(mask, neutral_landmarks))
    assert found == pytest.approx(tilt_deg, abs=0.6)
    across = shoulder_points(np.ascontiguousarray(mask[:, ::-1]), mirrored(neutral_landmarks, 960))
    assert shoulder_tilt_deg(across) == pytest.approx(-found, abs=0.6)


def test_shoulders_that_do_not_show_are_not_guessed(neutral_landmarks):
    hair = outline(neutral_landmarks, 0)
    hair[300:] = 255
    assert shoulder_points(hair, neutral_landmarks) == COVERED
    cut = outline(neutral_landmarks, 0)
    cut[round(float(neutral_landmarks[CHIN, 1])) + 40 :] = 0
    assert shoulder_points(cut, neutral_landmarks) == NOT_SHOWN
    narrow = outline(neutral_landmarks, 0)[:, : round(float(eye_midpoint(neutral_landmarks)[0])) + 50]
    assert shoulder_points(narrow, neutral_landmarks) == NOT_SHOWN
