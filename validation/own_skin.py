"""PURE: which part of a face has the colour of that face's own skin. No skin colour is built in: references are taken from the face itself.

Compared is chromaticity (r, g of linear light): it is free of brightness, so of shade and of the amount of pigment. The canvas is read at a quarter,
because chromaticity of single pixels is mostly noise and JPEG colour blocks.
Tolerance: cloth of any grey lies at the neutral point, so no more than a part of the skin's own distance from neutral is allowed; towards more
saturated skin (lips, beard shade, light reflected within the face) it is wider.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import LINEAR, LUMINANCE_BGR, Canvas

# Places that carry skin: their hulls are references.
UNDER_RIGHT_EYE = (111, 117, 118, 119, 120, 121)
UNDER_LEFT_EYE = (340, 346, 347, 348, 349, 350)
ABOVE_NOSE = (151, 108, 107, 9, 336, 337)
RIGHT_CHEEK = (205, 50, 187, 207)
LEFT_CHEEK = (425, 280, 411, 427)
NO_COLOUR = "the face has no colour to compare (greyscale or overexposed)"
SHRINK = 4
NEUTRAL = 1 / 3
# Calibrated, see docs/rules.md: part of the skin's distance from neutral, its bounds, and the weight of a shift to more saturation.
TOLERANCE_PER_DISTANCE = 0.75
TOLERANCE_LEAST, TOLERANCE_MOST = 0.05, 0.12
SATURATION_WEIGHT = 0.6
# Skin of every tone sends back more red than green (measured: 0.07 to 0.5); less is cloth, dark hair, or a face without colour.
SKIN_RED_OVER_GREEN = 0.04
# Sensor offset: keeps the ratio of nearly black pixels from exploding (255 levels of linear light).
DARK_OFFSET = 1.5


@dataclass(frozen=True, slots=True)
class Skin:
    """Chromaticity and luminance (linear, 0..255) of one place."""

    red: float
    green: float
    luminance: float

    def like(self, red: NDArray[np.float32], green: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which chromaticities are those of this skin."""
        x, y = self.red - NEUTRAL, self.green - NEUTRAL
        distance = math.hypot(x, y)
        tolerance = min(max(TOLERANCE_PER_DISTANCE * distance, TOLERANCE_LEAST), TOLERANCE_MOST)
        x, y = x / distance, y / distance
        red, green = red - np.float32(self.red), green - np.float32(self.green)
        along, across = red * np.float32(x) + green * np.float32(y), green * np.float32(x) - red * np.float32(y)
        along = np.where(along > 0, along * np.float32(SATURATION_WEIGHT), along)
        return np.asarray(along * along + across * across < tolerance**2)


@dataclass(frozen=True, eq=False)
class SkinWindow:
    """Part of the canvas at a quarter of its size, in linear light."""

    left: int
    top: int
    light: NDArray[np.float32]
    inside: NDArray[np.uint8]

    @cached_property
    def red_green(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Chromaticity."""
        total = self.light[..., 0] + self.light[..., 1] + self.light[..., 2] + np.float32(DARK_OFFSET)
        return self.light[..., 2] / total, self.light[..., 1] / total

    @cached_property
    def luminance(self) -> NDArray[np.float32]:
        """0..255."""
        return np.asarray(cv2.transform(self.light, LUMINANCE_BGR), dtype=np.float32)

    def _small(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        # Pixel centres: canvas pixel 4 n + 1.5 is small pixel n.
        small = (points - np.array([self.left, self.top])) / SHRINK - (SHRINK - 1) / (2 * SHRINK)
        return np.asarray(np.rint(small), dtype=np.int32)

    def hull(self, points: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Mask of the hull of canvas points, where the source has pixels."""
        mask = np.zeros(self.inside.shape, dtype=np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(self._small(points)), 255)
        return mask & self.inside

    def polygon(self, points: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Mask of a polygon of canvas points, where the source has pixels."""
        mask = np.zeros(self.inside.shape, dtype=np.uint8)
        cv2.fillPoly(mask, [self._small(points)], 255)
        return mask & self.inside

    def skin(self, points: NDArray[np.float64]) -> Skin | None:
        """The skin in the hull of canvas points; None when there is nothing or when that cannot be skin."""
        chosen = self.hull(points) > 0
        if not chosen.any():
            return None
        red, green = (_median(plane[chosen]) for plane in self.red_green)
        return Skin(red, green, _median(self.luminance[chosen])) if red - green >= SKIN_RED_OVER_GREEN else None

    def colours(self, where: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Chromaticity of the chosen pixels."""
        red, green = self.red_green
        return red[where], green[where]

    def like(self, skin: Skin, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the chosen pixels have the chromaticity of this skin, in the order of `where`."""
        return skin.like(*self.colours(where))

    def on_canvas(self, mask: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        """A mask of the window on the whole canvas."""
        whole = np.zeros((side, side), dtype=np.uint8)
        large = cv2.resize(mask, None, fx=SHRINK, fy=SHRINK, interpolation=cv2.INTER_NEAREST)
        whole[self.top : self.top + large.shape[0], self.left : self.left + large.shape[1]] = large
        return whole


def _median(values: NDArray[np.float32]) -> float:
    """The upper median; numpy's own takes ten times as long on few values."""
    return float(np.sort(values)[len(values) // 2])


def skin_window(face: Canvas, points: NDArray[np.float64]) -> SkinWindow:
    """The window around canvas points."""
    side = face.pixels.shape[0] // SHRINK
    low = np.clip(np.floor(points.min(axis=0) / SHRINK).astype(int), 0, side - 1)
    high = np.clip(np.ceil(points.max(axis=0) / SHRINK).astype(int) + 1, low + 1, side)
    rows, columns = slice(low[1] * SHRINK, high[1] * SHRINK), slice(low[0] * SHRINK, high[0] * SHRINK)
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    light = cv2.LUT(cv2.resize(face.pixels[rows, columns], size, interpolation=cv2.INTER_AREA), LINEAR)
    inside = cv2.resize(face.inside[rows, columns], size, interpolation=cv2.INTER_NEAREST)
    return SkinWindow(
        int(columns.start), int(rows.start), np.asarray(light, dtype=np.float32), np.asarray(inside, dtype=np.uint8)
    )
