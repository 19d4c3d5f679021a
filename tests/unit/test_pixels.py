"""Light and background measures follow the picture and nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation import canvas, light
from validation.eyes import eye_contrast
from validation.geometry import moved
from validation.occlusion import lower_face


def flat(value, landmarks, size=(1280, 960)) -> canvas.Canvas:
    return canvas.canvas(np.full((*size, 3), value, dtype=np.uint8), landmarks)


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (255, 255), (188, 128), (128, 55)])
def test_luminance_is_linear_light(level, expected):
    assert abs(int(canvas.luminance(np.full((4, 4, 3), level, np.uint8))[0, 0]) - expected) <= 1


def test_luminance_weighs_green_most():
    pure = np.zeros((1, 3, 3), np.uint8)
    pure[0, [0, 1, 2], [0, 1, 2]] = 255
    assert canvas.luminance(pure).tolist() == [[18, 182, 54]]


def test_the_canvas_puts_eyes_where_the_standard_says(neutral_landmarks):
    canvas = flat(100, neutral_landmarks)
    eye_line = (canvas.points[[33, 133]].mean(axis=0) + canvas.points[[362, 263]].mean(axis=0)) / 2
    assert eye_line == pytest.approx([307.5, 272], abs=12)


@given(level=st.integers(10, 250))
def test_a_flat_picture_is_evenly_lit_at_any_level(neutral_landmarks, level):
    face = flat(level, neutral_landmarks)
    assert light.light_zones(face).evenness == pytest.approx(1)
    assert light.face_luminance(face) == pytest.approx(
        canvas.luminance(np.full((1, 1, 3), level, np.uint8))[0, 0] / 255
    )


def test_a_darker_side_lowers_the_evenness_by_its_share(neutral_landmarks):
    image = np.full((1280, 960, 3), 200, np.uint8)
    image[:, :480] = 80
    zones = light.light_zones(canvas.canvas(image, neutral_landmarks))
    assert zones.evenness == pytest.approx(80 / 200, abs=0.01)


def test_one_dark_channel_is_enough(neutral_landmarks):
    image = np.full((1280, 960, 3), 200, np.uint8)
    image[:, :480, 0] = 60
    assert light.light_zones(canvas.canvas(image, neutral_landmarks)).evenness == pytest.approx(0.3, abs=0.01)


def test_a_face_cut_off_by_the_edge_has_no_zones(neutral_landmarks):
    shifted = moved(neutral_landmarks, np.array([[1.0, 0, -380], [0, 1, 0]]))
    assert light.light_zones(flat(100, shifted)) is None
    assert isinstance(lower_face(flat(100, moved(neutral_landmarks, np.array([[1.0, 0, 0], [0, 1, 600]])))), str)


@given(scale=st.sampled_from([0.5, 1.0, 2.0]), x=st.integers(-30, 30), y=st.integers(-30, 30))
def test_the_canvas_looks_the_same_at_any_size_and_place(neutral_landmarks, applicant, scale, x, y):
    image = applicant("people/anna/neutral")
    before = canvas.canvas(image, neutral_landmarks)
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    size = (round(960 * scale) + 60, round(1280 * scale) + 60)
    shown = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    page = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = max(y, 0), max(x, 0)
    visible = shown[max(-y, 0) :, max(-x, 0) :]
    page[top : top + visible.shape[0], left : left + visible.shape[1]] = visible
    after = canvas.canvas(page, moved(neutral_landmarks, matrix))
    a, b = light.light_zones(before), light.light_zones(after)
    assert b.evenness == pytest.approx(a.evenness, abs=0.01)
    assert light.face_luminance(after) == pytest.approx(light.face_luminance(before), abs=0.01)
    assert lower_face(after).visible == pytest.approx(lower_face(before).visible, abs=0.03)


def test_a_picture_shrunk_by_area_keeps_its_mean_and_does_not_alias():
    image = np.zeros((900, 900, 3), np.uint8)
    image[::2] = 255
    small = canvas.area_warp(image, np.array([[0.25, 0, 0], [0, 0.25, 0]]), (225, 225))
    assert small[5:-5, 5:-5].min() >= 120
    assert small[5:-5, 5:-5].max() <= 135


def test_a_flat_face_shows_no_eye(neutral_landmarks):
    assert eye_contrast(flat(128, neutral_landmarks)) == 0
