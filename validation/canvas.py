"""PURE: the face brought to one standard size, and linear luminance.

The standard canvas is that of ISO/IEC 29794-5's reference implementation: 616 x 616, eye distance 113, eyes at y = 272. The picture is
brought there once, by area sampling, and every measure reads that canvas: so values do not depend on the photo's resolution or tilt.
Luminance: linear light, 0.2126 R + 0.7152 G + 0.0722 B, rounded to 0..255, as the standard's measures want it; mid skin is then 0.2-0.35.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.geometry import eyes

Image = NDArray[np.uint8]

CANVAS_SIDE = 616
# Right eye, left eye (image left, image right), nose tip, mouth corners: ISO/IEC 29794-5 alignment targets.
CANVAS_TARGETS = np.array([(251, 272), (364, 272), (308, 336), (262, 402), (355, 402)], dtype=np.float64)
_TARGET_MEAN = CANVAS_TARGETS.mean(axis=0)
_TARGETS_FROM_MEAN = CANVAS_TARGETS - _TARGET_MEAN
CANVAS_EYE_DISTANCE_PX = 113
# What the measures look at around the landmarks: hair and hats above the forehead, the face's edges, the detail of its outline.
MARGIN_PX = 45
# The surroundings tell how the picture is exposed: a share of them needs no more than every eighth row and column.
AROUND_STEP = 8
NOSE_TIP, MOUTH_CORNERS = 1, (61, 291)
MESH_POINTS = 468  # the rest are the irises
# Landmarks whose hull is the face without the forehead (the standard leaves it out: alpha 0).
FACE_BELOW_BROWS = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127),
)


def _linear() -> NDArray[np.float32]:
    x = np.arange(256, dtype=np.float64) / 255
    return np.asarray(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) * 255, dtype=np.float32)


LINEAR = _linear()
LUMINANCE_BGR = np.array([[0.0722, 0.7152, 0.2126]], dtype=np.float32)


def luminance(image: Image) -> Image:
    """Linear luminance 0..255."""
    return np.asarray(cv2.convertScaleAbs(cv2.transform(cv2.LUT(image, LINEAR), LUMINANCE_BGR)), dtype=np.uint8)


def area_warp(image: Image, matrix: NDArray[np.float64], size: tuple[int, int]) -> Image:
    """The picture under a 2x3 similarity (corner coordinates) at (width, height), without skipping source pixels when it shrinks."""
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [size[0], 0, 1], [size[0], size[1], 1], [0, size[1], 1]]) @ inverse.T
    fold = max(math.floor(1 / scale), 1)
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2 * fold, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2 * fold, image.shape[1::-1])
    if np.any(high - low < fold):
        return np.zeros((size[1], size[0], *image.shape[2:]), dtype=np.uint8)
    # Whole source pixels per folded pixel, so that the mean is exact.
    high = low + (high - low) // fold * fold
    part = image[low[1] : high[1], low[0] : high[0]]
    if fold > 1:
        small = ((high[0] - low[0]) // fold, (high[1] - low[1]) // fold)
        part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    step = matrix.copy()
    step[:, 2] += step[:, :2] @ low
    step[:, :2] *= fold
    step[:, 2] += step[:, :2] @ np.array([0.5, 0.5]) - 0.5  # cv2 counts from pixel centres
    if part.ndim == 2:
        return np.asarray(cv2.warpAffine(part, step, size, flags=cv2.INTER_LINEAR), dtype=np.uint8)
    # OpenCV turns four channels twice as fast as three.
    turned = cv2.warpAffine(cv2.cvtColor(part, cv2.COLOR_BGR2BGRA), step, size, flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_BGRA2BGR), dtype=np.uint8)


def canvas_matrix(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """The similarity that brings eyes, nose and mouth to the canvas's targets (least squares, Umeyama)."""
    nose_and_mouth = np.asarray(landmarks[[NOSE_TIP, *MOUTH_CORNERS]], dtype=np.float64)[:, :2]
    seen = np.array([*eyes(landmarks), *nose_and_mouth])
    seen_mean = seen.mean(axis=0)
    a = seen - seen_mean
    # Sums of x x', x y', y x' and y y' over the points as seen and their targets.
    (xx, xy), (yx, yy) = (a.T @ _TARGETS_FROM_MEAN).tolist()
    spread = float(np.vdot(a, a))
    cos, sin = (xx + yy) / spread, (xy - yx) / spread
    x, y = seen_mean.tolist()
    to_x, to_y = _TARGET_MEAN.tolist()
    return np.array([[cos, -sin, to_x - cos * x + sin * y], [sin, cos, to_y - sin * x - cos * y]])


@dataclass(frozen=True, eq=False)
class Canvas:
    """One face at the standard size."""

    matrix: NDArray[np.float64]
    pixels: Image
    points: NDArray[np.float64]  # landmarks on the canvas
    inside: Image  # 255 where the source has pixels
    source: Image

    @cached_property
    def luminance(self) -> Image:
        """Linear luminance of the canvas."""
        return luminance(self.pixels)

    @cached_property
    def around(self) -> tuple[Image, Image]:
        """The whole canvas, every AROUND_STEP-th row and column: pixels of the source, and 255 where it has any."""
        side = CANVAS_SIDE // AROUND_STEP
        small = self.matrix / AROUND_STEP
        pixels = cv2.warpAffine(self.source, small, (side, side), flags=cv2.INTER_NEAREST)
        return np.asarray(pixels, dtype=np.uint8), _inside(self.source, small, (side, side))

    def polygon(self, indices: tuple[int, ...], *, hull: bool = False) -> Image:
        """Mask of a polygon of landmarks, where the source has pixels."""
        mask = np.zeros(self.pixels.shape[:2], dtype=np.uint8)
        part, window = self.polygon_part(indices, hull=hull)
        mask[window] = part
        return mask

    def polygon_part(self, indices: tuple[int, ...], *, hull: bool = False) -> tuple[Image, tuple[slice, slice]]:
        """The same mask of no more than the window (rows, columns) around the polygon; empty beside the canvas."""
        outline = np.rint(self.points[list(indices)]).astype(np.int32)
        x, y, width, height = cv2.boundingRect(outline)
        tall, wide = self.inside.shape
        left, top = min(max(x, 0), wide), min(max(y, 0), tall)
        window = slice(top, max(min(y + height, tall), top)), slice(left, max(min(x + width, wide), left))
        inside = self.inside[window]
        if not inside.size:
            return inside, window
        mask = np.zeros(inside.shape, dtype=np.uint8)
        shape = np.asarray(cv2.convexHull(outline)) if hull else outline
        cv2.fillPoly(mask, [shape], 255, offset=(-left, -top))
        return mask & inside, window

    def back(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Canvas points in pixels of the source."""
        return np.asarray(points, dtype=np.float64) @ self._inverse[:, :2].T + self._inverse[:, 2]

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        return np.asarray(cv2.invertAffineTransform(self.matrix), dtype=np.float64)


def _inside(image: Image, matrix: NDArray[np.float64], size: tuple[int, int]) -> Image:
    """Where (width, height) under the matrix has pixels of the picture, without those at its edge."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix[:, :2].T + matrix[:, 2]
    seen = np.zeros((size[1], size[0]), dtype=np.uint8)
    cv2.fillConvexPoly(seen, np.rint(corners).astype(np.int32), 255)
    if cv2.countNonZero(seen) == seen.size:
        return seen
    return np.asarray(cv2.erode(seen, np.ones((3, 3), np.uint8), borderValue=255), dtype=np.uint8)


def canvas(image: Image, landmarks: NDArray[np.floating], *, whole: bool = False) -> Canvas:
    """The face of a picture (H, W, 3) on the standard canvas.

    Only the face and MARGIN_PX around it are brought there, about a third of the canvas, unless the `whole` is asked for: the rest is black and
    not `inside`.
    """
    matrix = canvas_matrix(landmarks)
    points = np.asarray(landmarks, dtype=np.float64)[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    low, high = np.zeros(2, dtype=int), np.full(2, CANVAS_SIDE)
    if not whole:
        low = np.clip(np.floor(points.min(axis=0)).astype(int) - MARGIN_PX, 0, CANVAS_SIDE)
        high = np.clip(np.ceil(points.max(axis=0)).astype(int) + MARGIN_PX, 0, CANVAS_SIDE)
    wide, tall = (int(side) for side in high - low)
    pixels = np.zeros((CANVAS_SIDE, CANVAS_SIDE, 3), dtype=np.uint8)
    inside = np.zeros((CANVAS_SIDE, CANVAS_SIDE), dtype=np.uint8)
    if wide > 0 and tall > 0:
        window = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
        there = matrix.copy()
        there[:, 2] -= low
        inside[window] = _inside(image, there, (wide, tall))
        pixels[window] = area_warp(image, there, (wide, tall))
    return Canvas(matrix=matrix, pixels=pixels, points=points, inside=inside, source=image)
