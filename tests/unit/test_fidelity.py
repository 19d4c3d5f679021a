"""PSNR and SSIM are those that everybody else computes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from capture.fidelity import psnr_db, ssim


def noisy(pixels: np.ndarray, deviation: float, seed: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, deviation, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def reference_ssim(one: np.ndarray, two: np.ndarray) -> float:
    """As the paper has it, by an independent implementation."""
    grey = [cv2.cvtColor(side, cv2.COLOR_BGR2GRAY) for side in (one, two)]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(structural_similarity(*grey, **settings))


@pytest.mark.parametrize("deviation", [1, 8, 40])
@pytest.mark.parametrize("name", ["stills/anna/neutral", "stills/kwame/neutral"])
def test_both_agree_with_an_independent_implementation(applicant, name, deviation):
    pixels = cv2.resize(applicant(name), (413, 531), interpolation=cv2.INTER_AREA)
    worse = noisy(pixels, deviation)
    assert psnr_db(worse, pixels) == pytest.approx(peak_signal_noise_ratio(pixels, worse, data_range=255), abs=1e-9)
    assert ssim(worse, pixels) == pytest.approx(reference_ssim(worse, pixels), abs=1e-5)


@given(
    width=st.integers(11, 40), height=st.integers(11, 40), seed=st.integers(0, 2**32 - 1), deviation=st.floats(0.6, 90)
)
def test_any_two_pictures_agree_and_the_order_does_not_matter(width, height, seed, deviation):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    worse = noisy(pixels, deviation, seed)
    worse[0, 0] = 255 - pixels[0, 0]
    assert ssim(worse, pixels) == pytest.approx(reference_ssim(worse, pixels), abs=1e-5)
    assert ssim(worse, pixels) == pytest.approx(ssim(pixels, worse), abs=1e-6)
    assert psnr_db(worse, pixels) == psnr_db(pixels, worse)


@pytest.mark.parametrize("size", [(1, 1), (5, 30), (10, 10), (60, 40)])
def test_equal_pictures_of_any_size_lose_nothing(size):
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert psnr_db(pixels, pixels.copy()) is None
    assert ssim(pixels, pixels.copy()) == pytest.approx(1, abs=1e-6)


def test_pictures_of_two_sizes_are_not_compared():
    one, two = np.zeros((30, 40, 3), np.uint8), np.zeros((40, 30, 3), np.uint8)
    for measure in (psnr_db, ssim):
        with pytest.raises(ValueError, match="differ in shape"):
            measure(one, two)
