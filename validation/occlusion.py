"""PURE: what covers the face, judged against the face's own skin and never against a fixed skin colour.

Lower face visible: the skin's chromaticity (r, g of linear light; free of brightness, so of shade and of the amount of pigment) is taken from
three places that a mask, scarf or hand over the mouth leaves free: under both eyes and above the nose. Counted is the share of the lower face,
without the open mouth, that has the same chromaticity. The best of the three references counts, because hair may hide one or two;
a reference that cannot be skin does not count.
Tolerance: cloth of any grey lies at the neutral point, so no more than a part of the skin's own distance from neutral is allowed; towards more
saturated skin (lips, beard shade, light reflected within the face) it is wider.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import LINEAR, Canvas

UNDER_RIGHT_EYE = (111, 117, 118, 119, 120, 121)
UNDER_LEFT_EYE = (340, 346, 347, 348, 349, 350)
ABOVE_NOSE = (151, 108, 107, 9, 336, 337)
LOWER_FACE = (2, 98, 327, 216, 436, 214, 434, 210, 430, 211, 431, 32, 262, 140, 369, 171, 396, 175)
INNER_LIPS_RING = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
# The canvas is read at a quarter: chromaticity of single pixels is mostly noise and JPEG colour blocks.
SHRINK = 4
NEUTRAL = np.array([1 / 3, 1 / 3])
# Calibrated, see docs/rules.md: part of the skin's distance from neutral, its bounds, and the weight of a shift to more saturation.
TOLERANCE_PER_DISTANCE = 0.75
TOLERANCE_LEAST, TOLERANCE_MOST = 0.05, 0.12
SATURATION_WEIGHT = 0.6
# Skin of every tone sends back more red than green (measured: 0.07 to 0.5); less is cloth, dark hair, or a face without colour.
SKIN_RED_OVER_GREEN = 0.04
# Sensor offset: keeps the ratio of nearly black pixels from exploding (255 levels of linear light).
DARK_OFFSET = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class LowerFace:
    """Share of the lower face that looks like the person's own skin, and its outline in the source."""

    visible: float
    outline: NDArray[np.float64]


def _small(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    side = mask.shape[0] // SHRINK
    return np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA) > 127)


def _likeness(colours: NDArray[np.float64], skin: NDArray[np.float64]) -> float | None:
    """Share of colours like one skin colour; None when that cannot be skin."""
    off = skin - NEUTRAL
    distance = float(np.hypot(*off))
    if skin[0] - skin[1] < SKIN_RED_OVER_GREEN:
        return None
    tolerance = min(max(TOLERANCE_PER_DISTANCE * distance, TOLERANCE_LEAST), TOLERANCE_MOST)
    axis = off / distance
    shift = colours - skin
    along = shift @ axis
    across = shift @ np.array([-axis[1], axis[0]])
    along = np.where(along > 0, along * SATURATION_WEIGHT, along)
    return float((np.hypot(along, across) < tolerance).mean())


def lower_face(face: Canvas) -> LowerFace | str:
    """The lower face's visibility, or why it cannot be told."""
    side = face.pixels.shape[0] // SHRINK
    light = np.asarray(
        cv2.LUT(cv2.resize(face.pixels, (side, side), interpolation=cv2.INTER_AREA), LINEAR), dtype=np.float64
    )
    total = light.sum(axis=-1) + DARK_OFFSET
    chromaticity = np.stack([light[..., 2] / total, light[..., 1] / total], axis=-1)
    region = face.polygon(LOWER_FACE, hull=True)
    whole = int(np.count_nonzero(region))
    inside = _small(region & ~face.polygon(INNER_LIPS_RING, hull=True))
    hull = cv2.convexHull(np.asarray(face.points[list(LOWER_FACE)], dtype=np.float32)).reshape(-1, 2)
    if not inside.any() or whole < 0.9 * cv2.contourArea(hull):
        return "the lower face is cut off by the picture's edge"
    shares = []
    for patch in (UNDER_RIGHT_EYE, UNDER_LEFT_EYE, ABOVE_NOSE):
        reference = _small(face.polygon(patch, hull=True))
        if reference.any():
            share = _likeness(chromaticity[inside], np.median(chromaticity[reference], axis=0))
            if share is not None:
                shares.append(share)
    if not shares:
        return "the face has no colour to compare (greyscale or overexposed)"
    return LowerFace(visible=max(shares), outline=face.back(np.asarray(hull, dtype=np.float64)))
