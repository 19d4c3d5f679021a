"""Blur, movement, noise, squares and JPEG traces: each measure follows its own fault and no other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation import artefacts
from validation.canvas import canvas
from validation.detail import detail
from validation.geometry import moved


@pytest.fixture(scope="module")
def anna(applicant):
    return applicant("people/anna/neutral")


def streak(image, length, angle_deg):
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), angle_deg, 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def noisy(image, sigma):
    return np.clip(image + np.random.default_rng(1).normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def test_blur_lowers_the_sharpness_step_by_step_and_light_does_not(anna, neutral_landmarks):
    blurred = [cv2.GaussianBlur(anna, (0, 0), sigma) for sigma in (0.1, 1, 2, 4, 8)]
    values = [detail(canvas(image, neutral_landmarks)).sharpest for image in blurred]
    assert values == sorted(values, reverse=True)
    half = detail(canvas((anna * 0.5).astype(np.uint8), neutral_landmarks))
    assert half.sharpest == pytest.approx(values[0], rel=0.03)


@pytest.mark.parametrize("sigma", [0.1, 2.5, 4])
def test_noise_neither_hides_blur_nor_looks_like_it(anna, neutral_landmarks, sigma):
    image = cv2.GaussianBlur(anna, (0, 0), sigma)
    clean = detail(canvas(image, neutral_landmarks))
    grainy = detail(canvas(noisy(image, 12), neutral_landmarks))
    assert grainy.sharpest == pytest.approx(clean.sharpest, abs=0.05)
    assert grainy.noise > clean.noise + 1


@pytest.mark.parametrize("angle_deg", [0, 35, 90])
def test_movement_takes_detail_in_its_own_direction(anna, neutral_landmarks, angle_deg):
    still = detail(canvas(anna, neutral_landmarks))
    values = [detail(canvas(streak(anna, n, angle_deg), neutral_landmarks)) for n in (5, 11, 19)]
    softest = [still.softest, *(v.softest for v in values)]
    assert softest == sorted(softest, reverse=True)
    assert softest[-1] < 0.75
    assert values[-1].sharpest > values[-1].softest + 0.1


def test_noise_is_told_step_by_step(anna, neutral_landmarks):
    values = [detail(canvas(noisy(anna, sigma), neutral_landmarks)).noise for sigma in (0, 3, 7, 15, 25)]
    assert values == sorted(values)


@settings(max_examples=8)
@given(scale=st.sampled_from([0.6, 1.0, 1.5]), angle=st.sampled_from([-12, 0, 12]), mirror=st.booleans())
def test_detail_does_not_depend_on_size_tilt_or_side(anna, neutral_landmarks, scale, angle, mirror):
    before = detail(canvas(cv2.GaussianBlur(anna, (0, 0), 2), neutral_landmarks))
    turn = cv2.getRotationMatrix2D((480, 640), angle, scale)
    turn[:, 2] += np.array([480, 640]) * (scale - 1) + 100 * scale
    size = (round(1160 * scale), round(1480 * scale))
    image = cv2.warpAffine(
        cv2.GaussianBlur(anna, (0, 0), 2), turn, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    points = moved(neutral_landmarks, turn)
    if mirror:
        image = np.ascontiguousarray(image[:, ::-1])
        points[:, 0] = size[0] - points[:, 0]
        # The canvas asks for the right eye at the image's left.
        pairs = {33: 263, 133: 362, 61: 291}
        for a, b in pairs.items():
            points[[a, b]] = points[[b, a]]
    after = detail(canvas(image, points))
    assert after.sharpest == pytest.approx(before.sharpest, rel=0.06)
    assert after.softest == pytest.approx(before.softest, rel=0.06)


def test_without_detail_or_face_nothing_is_said(neutral_landmarks):
    flat = np.full((1280, 960, 3), 128, np.uint8)
    assert detail(canvas(flat, neutral_landmarks)) is None
    away = moved(neutral_landmarks, np.array([[1.0, 0, 900], [0, 1, 0]]))
    assert detail(canvas(flat, away)) is None
    assert artefacts.face_window(flat, away) is None


@pytest.mark.parametrize("side", [2, 3, 5, 8, 16])
def test_squares_are_measured_and_blur_and_noise_are_none(anna, neutral_landmarks, side):
    small = cv2.resize(anna, (960 // side, 1280 // side), interpolation=cv2.INTER_AREA)
    shown = cv2.resize(small, (small.shape[1] * side, small.shape[0] * side), interpolation=cv2.INTER_NEAREST)
    assert artefacts.square_side(artefacts.face_window(shown, neutral_landmarks)) == pytest.approx(side, rel=0.1)
    for image in (anna, cv2.GaussianBlur(anna, (0, 0), side), noisy(anna, side)):
        assert artefacts.square_side(artefacts.face_window(image, neutral_landmarks)) < 1.2


def test_a_jpegs_grid_shows_the_more_the_less_it_kept_wherever_the_picture_was_cut(anna, neutral_landmarks):
    values = []
    for quality in (95, 70, 40, 20, 8):
        data = cv2.imencode(".jpg", anna, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        shown = cv2.imdecode(data, cv2.IMREAD_COLOR)
        values.append(artefacts.blockiness(artefacts.face_window(shown, neutral_landmarks)))
        cut = shown[5:, 3:]
        points = moved(neutral_landmarks, np.array([[1.0, 0, -3], [0, 1, -5]]))
        assert artefacts.blockiness(artefacts.face_window(cut, points)) == pytest.approx(values[-1], rel=0.1)
    assert values == sorted(values)
    assert values[-1] > 1.5


def test_a_flat_window_has_neither_squares_nor_grid():
    flat = np.full((200, 200), 90, np.float32)
    assert artefacts.square_side(flat) == 1
    assert artefacts.blockiness(flat) == 0
