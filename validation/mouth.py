"""PURE: what is seen of a mouth that should be closed: the gap between the lips, and teeth in it.

Teeth: between the inner lips, what is less red than the person's own skin and not dark. Light tints teeth and skin alike, so the border is taken
from the skin under the eyes: ln(R/G) of linear light at most a part of the skin's. Lips and gums are redder than skin, the open mouth is dark.
A mouth whose inner lips enclose next to nothing shows no teeth, whatever its colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import LINEAR, Canvas
from validation.geometry import INNER_LIPS, Points
from validation.own_skin import NO_COLOUR, UNDER_LEFT_EYE, UNDER_RIGHT_EYE

LOWER_LIP = (14, 17)
INNER_LIPS_RING = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
OUTER_LIPS_RING = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
# Calibrated, see docs/rules.md: part of the skin's ln(R/G) and of its green light that bound teeth.
TEETH_REDNESS, TEETH_LIGHT = 0.6, 0.2
# Skin with less ln(R/G) has no colour to compare with (measured: overlit skin from 0.2).
LEAST_REDNESS = 0.06
# Part of the mouth that the inner lips enclose, below which nothing between them can be seen.
LEAST_GAP_SHARE = 0.01
# A lip thinner than this part of the mouth's width is a mesh without a lip: the ratio would explode.
THINNEST_LIP = 0.02
# Sensor offset: keeps the ratio of nearly black pixels from exploding (255 levels of linear light).
DARK_OFFSET = 1.5
LOG_LIGHT = np.log(LINEAR + np.float32(DARK_OFFSET))


@dataclass(frozen=True, slots=True, eq=False)
class Teeth:
    """Their share of the mouth (outer lips), 0..1, and where they are: a mask of the window (rows, columns) of the canvas."""

    share: float
    mask: NDArray[np.uint8]
    window: tuple[slice, slice]


def lip_gap(landmarks: Points) -> float:
    """Largest gap of the inner lips / thickness of the lower lip, 0 upwards (ICAO TR Portrait Quality, after BioGaze)."""
    points = np.asarray(landmarks, dtype=np.float64)[:, :2]
    gap = max(float(np.linalg.norm(points[u] - points[d])) for u, d in INNER_LIPS)
    width = float(np.linalg.norm(points[INNER_LIPS_RING[0]] - points[INNER_LIPS_RING[10]]))
    lip = float(np.linalg.norm(points[LOWER_LIP[0]] - points[LOWER_LIP[1]]))
    return gap / max(lip, THINNEST_LIP * width, 1e-9)


def _window(points: NDArray[np.float64], side: int, margin: int = 2) -> tuple[slice, slice]:
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - margin, 0, side)
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + margin, 0, side)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _filled(points: NDArray[np.float64], window: tuple[slice, slice], *, hull: bool = False) -> NDArray[np.uint8]:
    mask = np.zeros((window[0].stop - window[0].start, window[1].stop - window[1].start), dtype=np.uint8)
    outline = np.rint(points - [window[1].start, window[0].start]).astype(np.int32)
    cv2.fillPoly(mask, [np.asarray(cv2.convexHull(outline)) if hull else outline], 255)
    return mask


def _skin(face: Canvas) -> NDArray[np.uint8] | None:
    """Median colour of the skin under the eyes, BGR; None when the picture does not show it."""
    patches = []
    for patch in (UNDER_RIGHT_EYE, UNDER_LEFT_EYE):
        points = face.points[list(patch)]
        window = _window(points, face.pixels.shape[0])
        chosen = (_filled(points, window, hull=True) & face.inside[window]) > 0
        patches.append(face.pixels[window][chosen])
    pixels = np.concatenate(patches)
    return np.median(pixels, axis=0).astype(np.uint8) if pixels.size else None


def teeth(face: Canvas) -> Teeth | str:
    """Share of the mouth that shows teeth, or why it cannot be told."""
    ring, mouth = face.points[list(INNER_LIPS_RING)], face.points[list(OUTER_LIPS_RING)]
    side = face.pixels.shape[0]
    window = _window(ring, side)
    whole = float(cv2.contourArea(mouth.astype(np.float32)))
    outside = np.any(ring < 0) or np.any(ring > side - 1)
    if whole <= 0 or outside or not face.inside[window].all():
        return "the mouth is cut off by the picture's edge"
    if cv2.contourArea(ring.astype(np.float32)) < LEAST_GAP_SHARE * whole:
        return Teeth(0.0, np.zeros((1, 1), dtype=np.uint8), window)
    skin = _skin(face)
    if skin is None or (redness := float(LOG_LIGHT[skin[2]] - LOG_LIGHT[skin[1]])) < LEAST_REDNESS:
        return NO_COLOUR
    pixels = np.asarray(cv2.GaussianBlur(face.pixels[window], (3, 3), 0), dtype=np.uint8)
    green, red = LOG_LIGHT[pixels[..., 1]], LOG_LIGHT[pixels[..., 2]]
    dark = float(LOG_LIGHT[skin[1]]) + math.log(TEETH_LIGHT)
    found = (_filled(ring, window) > 0) & (red - green < TEETH_REDNESS * redness) & (green > dark)
    return Teeth(min(float(np.count_nonzero(found)) / whole, 1.0), found * np.uint8(255), window)
