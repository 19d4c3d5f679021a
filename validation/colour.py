"""PURE: the colour of the skin, and pictures without colour.

Natural colour is that of ISO/IEC 29794-5: the mean sRGB colour of the two cheek squares (validation.light) in CIELAB under D50, and how far its
(a*, b*) lies outside the box 5..25 x 5..35. The standard's reference answers 0, the best value, for a picture without any colour; here such a
picture is found by its own measure.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from validation.canvas import Canvas
from validation.light import cheek_squares

A_BAND, B_BAND = (5.0, 25.0), (5.0, 35.0)
# What the standard answers for a* or b* below zero.
NO_SKIN_COLOUR = 100.0
# Linear sRGB to XYZ adapted to D50 (ISO/IEC 29794-5 gives five digits), white point D50.
RGB_TO_XYZ_D50 = np.array([[0.43605, 0.38508, 0.14309], [0.22249, 0.71689, 0.06062], [0.01393, 0.09710, 0.71419]])
WHITE_D50 = np.array([0.964221, 1.0, 0.825211])
LAB_EPSILON, LAB_KAPPA = 216 / 24389, 24389 / 27


def lab_d50(colour_bgr: NDArray[np.floating]) -> tuple[float, float, float]:
    """CIELAB (L*, a*, b*) under D50 of one sRGB colour given as BGR 0..255."""
    rgb = np.asarray(colour_bgr, dtype=np.float64)[::-1] / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = RGB_TO_XYZ_D50 @ linear / WHITE_D50
    root = np.where(xyz > LAB_EPSILON, np.cbrt(xyz), (LAB_KAPPA * xyz + 16) / 116)
    return float(116 * root[1] - 16), float(500 * (root[0] - root[1])), float(200 * (root[1] - root[2]))


def cheek_colour(face: Canvas) -> NDArray[np.float64] | None:
    """Mean sRGB colour (BGR 0..255) of both cheek squares; None where the picture cuts one off."""
    squares = cheek_squares(face)
    if squares is None:
        return None
    return np.asarray(np.mean([face.pixels[s].reshape(-1, 3).mean(axis=0) for s in squares], axis=0), dtype=np.float64)


def natural_colour_distance(a: float, b: float) -> float:
    """How far (a*, b*) lies outside the box of skin colours; 100 when either is negative (ISO/IEC 29794-5 natural colour)."""
    if a < 0 or b < 0:
        return NO_SKIN_COLOUR
    off_a = max(A_BAND[0] - a, a - A_BAND[1], 0.0)
    off_b = max(B_BAND[0] - b, b - B_BAND[1], 0.0)
    return math.hypot(off_a, off_b)
