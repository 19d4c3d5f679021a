"""The cut takes pixels from where the plan says, never invents any, and the JPEG keeps what it promises."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.errors import UpscalingRefusedError
from capture.portrait import CropPlan, crop_facts, cut, encode_jpeg


def plan(scale: float = 0.5, angle: float = 0.0, source=(1000, 1200), out=(350, 450)) -> CropPlan:
    return CropPlan(angle, scale, source[0] / 2, source[1] / 2, *out, *source)


def smooth_noise(width: int, height: int) -> np.ndarray:
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def test_a_cut_at_full_size_copies_pixels():
    source = smooth_noise(1000, 1200)
    assert np.array_equal(cut(source, plan(1.0)), source[375:825, 325:675])


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_a_cut_of_the_whole_picture_is_its_exact_mean_and_a_picture_of_its_own(fold):
    source = smooth_noise(600, 900)
    whole = plan(1 / fold, source=(600, 900), out=(600 // fold, 900 // fold))
    made = cut(source, whole)
    warped = cv2.warpAffine(source, np.eye(2, 3), (600, 900), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    assert np.array_equal(made, cv2.resize(warped, (600 // fold, 900 // fold), interpolation=cv2.INTER_AREA))
    assert not np.shares_memory(made, source)


def test_a_cut_at_half_size_is_the_mean_of_four():
    source = smooth_noise(1000, 1200)
    part = source[150:1050, 150:850].astype(float)
    mean = part.reshape(450, 2, 350, 2, 3).mean(axis=(1, 3))
    assert np.abs(cut(source, plan(0.5)) - mean).max() <= 1


def test_fine_stripes_become_grey_and_not_false_stripes():
    source = np.zeros((1200, 1000, 3), dtype=np.uint8)
    source[:, ::2] = 255
    made = plan(0.37, angle=3.0)
    small = cut(source, made)
    skipping = cv2.warpAffine(source, made.matrix(), (350, 450), flags=cv2.INTER_LINEAR)
    assert small.std() < 0.4 * skipping.std()
    assert small.mean() == pytest.approx(127.5, abs=2)


@given(scale=st.floats(0.4, 1.0), angle=st.floats(-8, 8), x=st.integers(-60, 60), y=st.integers(-60, 60))
def test_a_spot_lands_where_the_plan_says(scale, angle, x, y):
    source = np.zeros((1200, 1000, 3), dtype=np.uint8)
    at = (500 + x, 600 + y)
    cv2.circle(source, at, 8, (255, 255, 255), -1)
    made = plan(scale, angle)
    moments = cv2.moments(cut(source, made)[:, :, 0].astype(np.float32))
    found = np.array([moments["m10"], moments["m01"]]) / moments["m00"] + 0.5
    expected = made.matrix() @ [at[0] + 0.5, at[1] + 0.5, 1]
    assert found == pytest.approx(expected, abs=0.15)


def test_upscaling_is_refused_with_the_arithmetic():
    with pytest.raises(UpscalingRefusedError, match=r"needs 450 pixels of height, the crop has 360 .*1\.25"):
        cut(smooth_noise(1000, 1200), plan(1.25))


def test_a_plan_for_another_picture_is_refused():
    with pytest.raises(ValueError, match="1000x1200"):
        cut(smooth_noise(500, 600), plan())


def test_the_facts_tell_the_whole_cut():
    facts = crop_facts(plan(0.5))
    assert facts.resampling == "bicubic at 2 times the size, then the mean of 2x2"
    assert crop_facts(plan(1.0)).resampling == "bicubic"
    assert (facts.source_width, facts.source_height, facts.scale, facts.angle_deg) == (1000, 1200, 0.5, 0.0)
    corners = [(150, 150), (850, 150), (850, 1050), (150, 1050)]
    assert np.array(facts.corners) == pytest.approx(np.array(corners))


def test_jpeg_keeps_full_colour_and_carries_no_metadata():
    data = encode_jpeg(smooth_noise(350, 450))
    frame = data.index(b"\xff\xc0")
    components = data[frame + 10 : frame + 19]
    assert [components[1], components[4], components[7]] == [0x11, 0x11, 0x11]
    assert b"Exif" not in data
    assert data == encode_jpeg(smooth_noise(350, 450))
