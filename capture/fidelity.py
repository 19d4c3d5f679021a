"""PURE: how much of a picture a lossy encoder kept: PSNR and SSIM between what went in and what a decoder makes of it.

PSNR is over all three channels, peak 255. SSIM is that of Wang, Bovik, Sheikh and Simoncelli 2004 on the grey picture: Gaussian window of
11x11 with a deviation of 1.5 pixels, K1 = 0.01, K2 = 0.03, mean over all windows that lie inside the picture.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["psnr_db", "ssim"]

Image = NDArray[np.uint8]
PEAK = 255.0
WINDOW_PX = 11
DEVIATION_PX = 1.5
# Taken off before squares are taken: variances then keep six digits in single precision, at a sixth of the time of double.
MIDDLE = np.float32(128)
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def psnr_db(picture: Image, reference: Image) -> float | None:
    """Peak signal to noise ratio; None when the pictures are equal."""
    _require_same_shape(picture, reference)
    squares = cv2.norm(picture, reference, cv2.NORM_L2SQR)
    return None if squares == 0 else 10 * math.log10(PEAK**2 * reference.size / squares)


def ssim(picture: Image, reference: Image) -> float:
    """Mean structural similarity of two BGR pictures, 1 for equal ones."""
    _require_same_shape(picture, reference)
    one, two = (cv2.cvtColor(side, cv2.COLOR_BGR2GRAY).astype(np.float32) - MIDDLE for side in (picture, reference))
    mean_one, mean_two = _windowed(one), _windowed(two)
    variances = _windowed(one * one + two * two) - mean_one * mean_one - mean_two * mean_two
    covariance = _windowed(one * two) - mean_one * mean_two
    mean_one, mean_two = mean_one + MIDDLE, mean_two + MIDDLE
    means = (2 * mean_one * mean_two + C1) / (mean_one * mean_one + mean_two * mean_two + C1)
    similarity = means * (2 * covariance + C2) / (variances + C2)
    # A picture smaller than one window has no window inside it: then the reflected border counts, too.
    edge = WINDOW_PX // 2 if min(similarity.shape) >= WINDOW_PX else 0
    height, width = similarity.shape
    return float(similarity[edge : height - edge, edge : width - edge].mean(dtype=np.float64))


def _windowed(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The Gaussian mean around every pixel."""
    blurred = cv2.GaussianBlur(values, (WINDOW_PX, WINDOW_PX), DEVIATION_PX, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.float32)


def _require_same_shape(picture: Image, reference: Image) -> None:
    if picture.shape != reference.shape:
        raise ValueError(f"the pictures differ in shape: {picture.shape} and {reference.shape}")
