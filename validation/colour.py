"""PURE: the colour of the skin, and pictures without colour.

Natural colour is that of ISO/IEC 29794-5: the mean sRGB colour of the two cheek squares (validation.light) in CIELAB under D50, and how far its
(a*, b*) lies outside the box 5..25 x 5..35. The standard's reference answers 0, the best value, for a picture without any colour; here such a
picture is found by its own measure: of one tint, grey included, is a face whose colour follows from its lightness alone (sepia, a toned print);
blood gives every real face other hues at lips, cheeks and lids than beside them.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import Canvas
from validation.light import cheek_squares
from validation.skin import FACE_OVAL

A_BAND, B_BAND = (5.0, 25.0), (5.0, 35.0)
# What the standard answers for a* or b* below zero.
NO_SKIN_COLOUR = 100.0
# Chroma below which the skin has lost its colour; the palest skin measured 12.
COLOURLESS = 5.0
# One tint: a*, b* stray from those of the same lightness by this much at least. Toned pictures measured 0.5 to 0.9, dark and backlit faces from 1.8,
# all others from 3.1. Means of 8 x 8 pixels are read, in steps of lightness that hold enough of them, without the clipped ends.
LEAST_STRAY, STRAY_STEP, TONE_BINS = 1.2, 8, 25
TONES, LEAST_IN_TONE, LEAST_PIXELS = (8.0, 97.0), 5, 150
# Tints shared by wall and skin: the usual a*, b* of skin (mean of renders and real photos), how much further from it the skin may come by taking the
# tint out, the chroma that a plain grey wall has at most, what a tint alone can add, and the lightness that a wall needs to tell.
USUAL_SKIN = (16.0, 18.0)
TINT_DOUBT, TINT_FREE, TINT_MOST, TINT_LIGHT_FROM = 4.0, 5.0, 9.9, 40.0
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


def colour_stray(face: Canvas) -> float | None:
    """How far the face's colours stray from one colour per lightness, CIELAB (root mean square); None where too little of it is drawn."""
    points = face.points[list(FACE_OVAL)] / STRAY_STEP
    side = face.pixels.shape[0] // STRAY_STEP
    x0, y0 = np.clip(np.floor(points.min(axis=0)), 0, side - 1).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(points.max(axis=0)), (x0 + 1, y0 + 1), side).astype(int).tolist()
    window = slice(y0 * STRAY_STEP, y1 * STRAY_STEP), slice(x0 * STRAY_STEP, x1 * STRAY_STEP)
    size = (x1 - x0, y1 - y0)
    oval = np.zeros(size[::-1], dtype=np.uint8)
    cv2.fillPoly(oval, [np.rint(points - (x0 + 0.5, y0 + 0.5)).astype(np.int32)], 255)
    oval &= cv2.resize(face.inside[window], size, interpolation=cv2.INTER_NEAREST)
    # Means of squares: the noise of single pixels is no colour.
    pixels = cv2.resize(face.pixels[window], size, interpolation=cv2.INTER_AREA)[oval > 0]
    if len(pixels) < LEAST_PIXELS:
        return None
    lab = cv2.cvtColor(pixels[None].astype(np.float32) / np.float32(255), cv2.COLOR_BGR2Lab)[0]
    lab = lab[(lab[:, 0] > TONES[0]) & (lab[:, 0] < TONES[1])]
    tone = (lab[:, 0] * (TONE_BINS / 100)).astype(np.intp)
    count = np.bincount(tone, minlength=TONE_BINS)
    held = count >= LEAST_IN_TONE
    if count[held].sum() < LEAST_PIXELS:
        return None
    strayed = 0.0
    for plane in (lab[:, 1], lab[:, 2]):
        mean = np.bincount(tone, plane, TONE_BINS) / np.maximum(count, 1)
        strayed += float(((plane - mean[tone]) ** 2)[held[tone]].sum())
    return math.sqrt(strayed / int(count[held].sum()))


def skin_colour_distance(face: Canvas, wall_lab: NDArray[np.floating] | None = None) -> float | None:
    """Natural colour's distance, 0 for a natural skin; 100 for a skin without any colour or a face of one tint; None where a cheek is cut off.

    The standard leaves a grey picture at a distance of 7 at most, so that fault would look smaller than a slight cast. And a skin far inside the
    box can be tinted a good deal before it leaves it: so a tint of the wall (its D65 L*, a*, b*) counts when the skin shows it too. A coloured wall
    behind a natural skin does not, and the wall alone never says more than TINT_MOST.
    """
    colour = cheek_colour(face)
    if colour is None:
        return None
    _, a, b = lab_d50(colour)
    if math.hypot(a, b) < COLOURLESS:
        return NO_SKIN_COLOUR
    stray = colour_stray(face)
    if stray is not None and stray < LEAST_STRAY:
        return NO_SKIN_COLOUR
    tint = _shared_tint(colour, wall_lab) if wall_lab is not None else 0.0
    return max(natural_colour_distance(a, b), min(max(tint - TINT_FREE, 0.0), TINT_MOST))


def _shared_tint(skin: NDArray[np.float64], wall_lab: NDArray[np.floating]) -> float:
    """Chroma of the wall when taking its tint out of the skin leaves a more usual skin; else 0."""
    if wall_lab[0] < TINT_LIGHT_FROM:
        return 0.0
    one = np.asarray(wall_lab, dtype=np.float32).reshape(1, 1, 3)
    wall = np.maximum(cv2.cvtColor(one, cv2.COLOR_Lab2LBGR).reshape(3).astype(np.float64), 0.01)
    linear = ((skin / 255 + 0.055) / 1.055) ** 2.4 * wall.mean() / wall
    cleared = np.clip(linear ** (1 / 2.4) * 1.055 - 0.055, 0, 1) * 255
    before, after = (math.dist(lab_d50(c)[1:], USUAL_SKIN) for c in (skin, cleared))
    return math.hypot(float(wall_lab[1]), float(wall_lab[2])) if after < before + TINT_DOUBT else 0.0
