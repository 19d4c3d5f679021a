"""PURE: measures of light and background on the face brought to one standard size.

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

from validation.geometry import INNER_LIPS, eyes

Image = NDArray[np.uint8]

CANVAS_SIDE = 616
# Right eye, left eye (image left, image right), nose tip, mouth corners: ISO/IEC 29794-5 alignment targets.
CANVAS_TARGETS = np.array([(251, 272), (364, 272), (308, 336), (262, 402), (355, 402)], dtype=np.float64)
NOSE_TIP, MOUTH_CORNERS = 1, (61, 291)
MESH_POINTS = 468  # the rest are the irises
# Background part of the canvas and the size it is measured at (ISO/IEC 29794-5 background uniformity).
BACKGROUND_ROWS, BACKGROUND_COLUMNS = slice(0, 406), slice(62, 554)
BACKGROUND_SIZE = (354, 292)
MASK_BELOW = 26  # person mask < 0.1
MASK_MARGIN_PX = 4
# Longest side at which the whole picture is looked at, whatever the face's size in it.
SURROUNDINGS_SIDE = 1400
# Colour spread is a matter of areas, not of detail.
COLOUR_SIDE = 240
COLOUR_MARGIN_PX = 5  # hair tips beside the outline
ONE_COLOUR_DIFFERENCE = 20.0
# Fewer background pixels than this share say nothing about the wall.
BACKGROUND_LEAST = 0.02
# Landmarks whose hull is the face without the forehead (the standard leaves it out: alpha 0).
FACE_BELOW_BROWS = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127),
)
# Spread / mean of grey above which the forehead square shows hair (bare foreheads measured up to 0.10, fringes and hats from 0.13).
FOREHEAD_TEXTURE = 0.11
GREY_BGR = np.array([0.114, 0.587, 0.299])
ZONE_SIDE_PER_EYE_DISTANCE = 0.3
# Detail is compared in two bands, by the spread of their Gaussians in canvas pixels (eye distance 113): eyelashes and brows' edges live in the
# fine one, and a lens that is out of focus takes them away before it touches the coarse one.
FINE_DETAIL_PX, COARSE_DETAIL_PX = (1.5, 4.0), (4.0, 8.0)
# The face's own outline is no detail of the face.
DETAIL_MARGIN_PX = 7


def _linear() -> NDArray[np.float32]:
    x = np.arange(256, dtype=np.float64) / 255
    return np.asarray(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) * 255, dtype=np.float32)


LINEAR = _linear()
LUMINANCE_BGR = np.array([[0.0722, 0.7152, 0.2126]], dtype=np.float32)


def luminance(image: Image) -> Image:
    """Linear luminance 0..255."""
    return np.asarray(np.rint(cv2.transform(cv2.LUT(image, LINEAR), LUMINANCE_BGR)), dtype=np.uint8)


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
    return np.asarray(cv2.warpAffine(part, step, size, flags=cv2.INTER_LINEAR), dtype=np.uint8)


def canvas_matrix(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """The similarity that brings eyes, nose and mouth to the canvas's targets (least squares, Umeyama)."""
    points = np.asarray(landmarks, dtype=np.float64)[:, :2]
    seen = np.array([*eyes(landmarks), points[NOSE_TIP], *points[list(MOUTH_CORNERS)]])
    seen_mean, target_mean = seen.mean(axis=0), CANVAS_TARGETS.mean(axis=0)
    a, b = seen - seen_mean, CANVAS_TARGETS - target_mean
    spread = float((a**2).sum())
    cos = float((a * b).sum()) / spread
    sin = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.hstack([linear, (target_mean - linear @ seen_mean)[:, None]])


@dataclass(frozen=True, eq=False)
class Canvas:
    """One face at the standard size."""

    matrix: NDArray[np.float64]
    pixels: Image
    points: NDArray[np.float64]  # landmarks on the canvas
    inside: Image  # 255 where the source has pixels

    @cached_property
    def luminance(self) -> Image:
        """Linear luminance of the canvas."""
        return luminance(self.pixels)

    def polygon(self, indices: tuple[int, ...], *, hull: bool = False) -> Image:
        """Mask of a polygon of landmarks, where the source has pixels."""
        outline = np.rint(self.points[list(indices)]).astype(np.int32)
        mask = np.zeros(self.pixels.shape[:2], dtype=np.uint8)
        cv2.fillPoly(mask, [np.asarray(cv2.convexHull(outline)) if hull else outline], 255)
        return mask & self.inside

    def back(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Canvas points in pixels of the source."""
        return np.asarray(points, dtype=np.float64) @ self._inverse[:, :2].T + self._inverse[:, 2]

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        return np.asarray(cv2.invertAffineTransform(self.matrix), dtype=np.float64)


def canvas(image: Image, landmarks: NDArray[np.floating]) -> Canvas:
    """The face of a picture on the standard canvas."""
    matrix = canvas_matrix(landmarks)
    size = (CANVAS_SIDE, CANVAS_SIDE)
    points = np.asarray(landmarks, dtype=np.float64)[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix[:, :2].T + matrix[:, 2]
    inside = np.zeros((CANVAS_SIDE, CANVAS_SIDE), dtype=np.uint8)
    cv2.fillConvexPoly(inside, np.rint(corners).astype(np.int32), 255)
    inside = np.asarray(cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=255), dtype=np.uint8)
    return Canvas(matrix=matrix, pixels=area_warp(image, matrix, size), points=points, inside=inside)


@dataclass(frozen=True, slots=True, eq=False)
class Zones:
    """Mean colour of the four light zones and where they lie in the source."""

    means_bgr: NDArray[np.float64]  # forehead (unless hair or a hat covers it), chin, right cheek, left cheek
    boxes: tuple[tuple[tuple[float, float], ...], ...]  # corners in the source

    @property
    def evenness(self) -> float:
        """Darkest / brightest zone, of the channel where that is smallest."""
        brightest = np.maximum(self.means_bgr.max(axis=0), 1e-6)
        return float((self.means_bgr.min(axis=0) / brightest).min())

    @property
    def sides(self) -> float:
        """Darker / brighter cheek, in grey: what one lamp from the side does to a face, whatever hair and beard do."""
        cheeks = self.means_bgr[-2:] @ GREY_BGR
        return float(cheeks.min() / max(float(cheeks.max()), 1e-6))


def light_zones(face: Canvas) -> Zones | None:
    """Squares of 0.3 eye distances on forehead, chin and both cheeks; None where the picture cuts one off.

    Forehead: bottom edge on M raised by half the eye-mouth distance. Chin: centred on the mouth centre lowered by half of it. Cheeks: top
    edge at M lowered by half of it, starting half an eye distance beside M and reaching outwards. A forehead square that is not one smooth
    surface shows hair or a hat and is left out: what it measures is not light.
    """
    right, left = eyes(face.points)
    middle = (right + left) / 2
    across = float(np.linalg.norm(left - right))
    mouth = (face.points[INNER_LIPS[1][0]] + face.points[INNER_LIPS[1][1]]) / 2
    half_mouth = float(np.linalg.norm(mouth - middle)) / 2
    side = ZONE_SIDE_PER_EYE_DISTANCE * across
    cheek_top = middle[1] + half_mouth
    corners = (
        (middle[0] - side / 2, middle[1] - half_mouth - side),
        (mouth[0] - side / 2, mouth[1] + half_mouth - side / 2),
        (middle[0] - across / 2 - side, cheek_top),
        (middle[0] + across / 2, cheek_top),
    )
    means, boxes = [], []
    for number, (x, y) in enumerate(corners):
        rows, columns = slice(round(y), round(y + side)), slice(round(x), round(x + side))
        if not face.inside[rows, columns].all():
            return None
        patch = face.pixels[rows, columns].reshape(-1, 3).astype(np.float64)
        grey = patch @ GREY_BGR
        if number == 0 and grey.std() > FOREHEAD_TEXTURE * max(float(grey.mean()), 1.0):
            continue
        means.append(patch.mean(axis=0))
        box = face.back(np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)]))
        boxes.append(tuple((float(px), float(py)) for px, py in box))
    return Zones(np.array(means), tuple(boxes))


def face_luminance(face: Canvas) -> float | None:
    """Mean linear luminance of the face below the brows, 0..1."""
    region = face.polygon(FACE_BELOW_BROWS, hull=True) > 0
    return float(face.luminance[region].mean()) / 255 if region.any() else None


def sharpness(face: Canvas) -> float | None:
    """Spread of fine detail / spread of coarse detail over the face: contrast and skin tone cancel out. None without detail or face."""
    outline = np.rint(face.points[:MESH_POINTS]).astype(np.int32)
    region = np.zeros(face.inside.shape, dtype=np.uint8)
    cv2.fillConvexPoly(region, np.asarray(cv2.convexHull(outline)), 255)
    margin = np.ones((2 * DETAIL_MARGIN_PX + 1, 2 * DETAIL_MARGIN_PX + 1), np.uint8)
    region = np.asarray(cv2.erode(region & face.inside, margin, borderValue=0), dtype=np.uint8)
    if not region.any():
        return None
    x, y, width, height = cv2.boundingRect(region)
    window = (slice(y, y + height), slice(x, x + width))
    grey = cv2.cvtColor(face.pixels[window], cv2.COLOR_BGR2GRAY).astype(np.float32)
    inside = region[window] > 0

    def spread(band: tuple[float, float]) -> float:
        low, high = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in band)
        return float((low - high)[inside].std())

    coarse = spread(COARSE_DETAIL_PX)
    return spread(FINE_DETAIL_PX) / coarse if coarse > 0 else None


def _roughness(light: Image, free: Image) -> float | None:
    margin = np.ones((2 * MASK_MARGIN_PX + 1, 2 * MASK_MARGIN_PX + 1), np.uint8)
    free = np.asarray(cv2.erode(free, margin, borderValue=1), dtype=np.uint8)
    if free.mean() < BACKGROUND_LEAST:
        return None
    slope = cv2.magnitude(cv2.Scharr(light, cv2.CV_32F, 1, 0), cv2.Scharr(light, cv2.CV_32F, 0, 1))
    return float(slope[free > 0].mean())


def background_roughness(face: Canvas, person_mask: Image) -> float | None:
    """Mean Scharr gradient of the luminance behind the head; None when too little of the wall is seen."""
    outline = area_warp(person_mask, face.matrix, (CANVAS_SIDE, CANVAS_SIDE))
    window = (BACKGROUND_ROWS, BACKGROUND_COLUMNS)
    free = ((outline < MASK_BELOW) & (face.inside > 0)).astype(np.uint8)[window]
    free = np.asarray(cv2.resize(free, BACKGROUND_SIZE, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    light = cv2.resize(face.luminance[window], BACKGROUND_SIZE, interpolation=cv2.INTER_LINEAR)
    return _roughness(np.asarray(light, dtype=np.uint8), free)


def surroundings_roughness(image: Image, face: Canvas, person_mask: Image) -> float | None:
    """The same over the whole picture, at the same scale: a flag or a shelf beside the standard canvas counts too."""
    height, width = image.shape[:2]
    scale = math.sqrt(abs(float(np.linalg.det(face.matrix[:, :2])))) * BACKGROUND_SIZE[0] / (554 - 62)
    scale = min(scale, SURROUNDINGS_SIDE / max(width, height))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    matrix = np.array([[size[0] / width, 0, 0], [0, size[0] / width, 0]], dtype=np.float64)
    outline = area_warp(person_mask, matrix, size)
    return _roughness(luminance(area_warp(image, matrix, size)), (outline < MASK_BELOW).astype(np.uint8))


def background_one_colour(image: Image, person_mask: Image) -> float | None:
    """Share of the background within a colour difference (CIE 1976) of 20 from its median colour; None when too little is seen."""
    height, width = image.shape[:2]
    scale = min(1.0, COLOUR_SIDE / max(width, height))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    matrix = np.array([[size[0] / width, 0, 0], [0, size[0] / width, 0]], dtype=np.float64)
    free = (area_warp(person_mask, matrix, size) < MASK_BELOW).astype(np.uint8)
    free = np.asarray(
        cv2.erode(free, np.ones((COLOUR_MARGIN_PX, COLOUR_MARGIN_PX), np.uint8), borderValue=1), dtype=np.uint8
    )
    if free.mean() < BACKGROUND_LEAST:
        return None
    small = area_warp(image, matrix, size).astype(np.float32) / 255
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2Lab)[free > 0]
    away = np.linalg.norm(lab - np.median(lab, axis=0), axis=1)
    return float((away <= ONE_COLOUR_DIFFERENCE).mean())
