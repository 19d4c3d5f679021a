"""PURE: what the light does to a face, measured on the standard canvas (validation.canvas).

The tones of a face are the histogram of its linear luminance (0..255) below the brows, where ISO/IEC 29794-5 measures the mean and the shares of
too dark and too bright pixels (its own numbers to the letter: validation.ofiq). The four zones are those of ICAO TR "Portrait Quality".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import FACE_BELOW_BROWS, Canvas, Image, luminance
from validation.geometry import INNER_LIPS, eyes

# Spread / mean of grey above which a square shows no bare skin: forehead (bare ones measured up to 0.10, fringes and hats from 0.13), chin (smooth
# ones up to 0.14; more is a beard or the edge of the lip). Cheeks always count.
ZONE_TEXTURE = (0.11, 0.14, math.inf, math.inf)
# The same two squares show no skin either where their shares of blue, green and red are further than this from those of both cheeks: bare foreheads
# and grey beards measured up to 0.067, a grey hat 0.12.
ZONE_CHROMATICITY = 0.09
GREY_BGR = np.array([0.114, 0.587, 0.299])
ZONE_SIDE_PER_EYE_DISTANCE = 0.3
LEVELS = np.arange(256, dtype=np.float64) / 255
# ISO/IEC 29794-5: luminance 0..25 is under-exposed, 247..255 over-exposed.
DARK_UP_TO, BRIGHT_FROM = 25, 247
# Pixels that are counted for the number of levels, at most.
LEVEL_SAMPLES = 160_000
# Calibrated (docs/rules.md): linear luminance that the brightest 5 % of the canvas exceed in a well and in a badly exposed picture; black is below 6.
WHITE_SHARE, WHITE_BRIGHT, WHITE_DULL, BLACK_UP_TO = 0.95, 90.0, 30.0, 6


@dataclass(frozen=True, slots=True, eq=False)
class Zones:
    """Mean colour of the four light zones and where they lie in the source."""

    means_bgr: NDArray[np.float64]  # forehead and chin (where bare), right cheek, left cheek
    boxes: tuple[tuple[tuple[float, float], ...], ...]  # corners in the source
    shown: tuple[int, ...] = (0, 1, 2, 3)  # which of the four these are

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
    edge at M lowered by half of it, starting half an eye distance beside M and reaching outwards. A forehead or chin square that is not
    one smooth surface of the cheeks' colour shows hair, a hat or a beard and is left out: what it measures is not light.
    """
    right, left = eyes(face.points)
    middle = (right + left) / 2
    across = math.dist(left, right)
    mouth = (face.points[INNER_LIPS[1][0]] + face.points[INNER_LIPS[1][1]]) / 2
    half_mouth = math.dist(mouth, middle) / 2
    side = ZONE_SIDE_PER_EYE_DISTANCE * across
    cheek_top = middle[1] + half_mouth
    corners = (
        (middle[0] - side / 2, middle[1] - half_mouth - side),
        (mouth[0] - side / 2, mouth[1] + half_mouth - side / 2),
        (middle[0] - across / 2 - side, cheek_top),
        (middle[0] + across / 2, cheek_top),
    )
    means, squares, shown = [], [], []
    for number, (x, y) in enumerate(corners):
        rows, columns = slice(round(y), round(y + side)), slice(round(x), round(x + side))
        # A slice that starts before 0 would wrap around.
        seen = face.inside[rows, columns]
        if min(rows.start, columns.start) < 0 or not seen.size or not seen.all():
            return None
        patch = face.pixels[rows, columns]
        mean = cv2.mean(patch)[:3]
        if math.isfinite(ZONE_TEXTURE[number]):
            _, spread = cv2.meanStdDev(cv2.cvtColor(patch, cv2.COLOR_BGR2GRAY))
            if float(spread[0, 0]) > ZONE_TEXTURE[number] * max(float(GREY_BGR @ mean), 1.0):
                continue
        shown.append(number)
        means.append(mean)
        squares.append([(x, y), (x + side, y), (x + side, y + side), (x, y + side)])
    boxes = face.back(np.array(squares).reshape(-1, 2)).reshape(-1, 4, 2).tolist()
    colours = np.array(means)
    shares = (colours + 1) / (colours + 1).sum(axis=1, keepdims=True)  # one level: black has no colour
    strange = np.abs(shares[:, None] - shares[None, -2:]).max(axis=-1).min(axis=-1) > ZONE_CHROMATICITY
    kept = np.flatnonzero(~strange)
    outlines = tuple(tuple((px, py) for px, py in boxes[n]) for n in kept)
    return Zones(colours[kept], outlines, tuple(shown[n] for n in kept))


@dataclass(frozen=True, eq=False)
class Tones:
    """Histogram of linear luminance in a region: 256 counts, at least one of them above zero."""

    counts: NDArray[np.float64]

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """The histogram with sum 1."""
        return np.asarray(self.counts / self.counts.sum(), dtype=np.float64)

    @property
    def mean(self) -> float:
        """Mean luminance, 0..1 (ISO/IEC 29794-5 luminance mean)."""
        return float(self.shares @ LEVELS)

    @property
    def entropy_bits(self) -> float:
        """Shannon entropy, 0..8 bit (ISO/IEC 29794-5 dynamic range)."""
        seen = self.shares[self.shares > 0]
        return float(-(seen * np.log2(seen)).sum()) + 0.0

    @property
    def levels(self) -> int:
        """How many of the 256 levels occur."""
        return int(np.count_nonzero(self.counts))

    def up_to(self, level: int) -> float:
        """Share of pixels with this level or less, 0..1."""
        return float(self.shares[: level + 1].sum())

    @property
    def too_bright(self) -> float:
        """Share of pixels with luminance 247 or more, 0..1 (ISO/IEC 29794-5 over-exposure prevention)."""
        return float(self.shares[BRIGHT_FROM:].sum())


def tones(light: Image, region: Image) -> Tones | None:
    """Histogram of the light (uint8) where the region (uint8) is not zero; None for an empty region."""
    if not cv2.countNonZero(region):
        return None
    return Tones(cv2.calcHist([light], [0], region, [256], [0, 256]).reshape(-1).astype(np.float64))


def face_tones(face: Canvas) -> Tones | None:
    """Tones of the hull of the face below the brows, the region of the standard's luminance measures; None where the picture shows none of it."""
    region, window = face.polygon_part(FACE_BELOW_BROWS, hull=True)
    return tones(luminance(face.pixels[window]), region) if region.size else None


def grey_tones(face: Canvas, region: Image) -> Tones | None:
    """Histogram of the coded grey (sRGB luma) in a region of the canvas.

    Coded and not linear: linear light leaves dark skin a few levels only, whatever the picture's quality.
    """
    x, y, width, height = cv2.boundingRect(region)
    if width == 0:
        return None
    part = np.ascontiguousarray(face.pixels[y : y + height, x : x + width])
    grey = np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    return tones(grey, np.ascontiguousarray(region[y : y + height, x : x + width]))


def level_count(image: Image, outline: NDArray[np.floating]) -> int | None:
    """How many of the 256 levels of green occur inside an outline of the picture; None when it lies outside.

    Read from the picture's own pixels, every n-th of a large face: resampling and the sum of three channels would invent levels.
    """
    points = np.rint(outline).astype(np.int32)
    low = np.maximum(points.min(axis=0), 0)
    high = np.minimum(points.max(axis=0) + 1, image.shape[1::-1])
    if np.any(high <= low):
        return None
    step = max(math.ceil(math.sqrt(float(np.prod(high - low)) / LEVEL_SAMPLES)), 1)
    green = np.ascontiguousarray(image[low[1] : high[1] : step, low[0] : high[0] : step, 1])
    inside = np.zeros(green.shape, dtype=np.uint8)
    cv2.fillPoly(inside, [(points - low) // step], 255)
    seen = tones(green, inside)
    return seen.levels if seen else None


def black_level(face: Canvas) -> int:
    """Luminance (0..255) up to which the face has no usable light; it depends on the white of the picture.

    The standard's level (25) alone calls well lit dark skin under-exposed. What stands around the face tells: when 5 % of the picture are bright,
    the exposure was right and only what is nearly black counts; when nothing is bright the standard's level holds.
    """
    pixels, inside = face.around
    around = tones(luminance(pixels), inside)
    white = float(np.searchsorted(np.cumsum(around.shares), WHITE_SHARE)) if around else 0.0
    lack = min(max((WHITE_BRIGHT - white) / (WHITE_BRIGHT - WHITE_DULL), 0.0), 1.0)
    return round(BLACK_UP_TO + (DARK_UP_TO - BLACK_UP_TO) * lack)


def cheek_squares(face: Canvas) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Rows and columns of the standard's two squares on the canvas: the subject's right (image left) and left cheek.

    Side 0.3 eye distances, top at the eye's height lowered by half the eye-mouth distance, reaching from under each eye centre inwards
    (ISO/IEC 29794-5 natural colour). None where the picture cuts one off.
    """
    right, left = (np.rint(eye) for eye in eyes(face.points))
    mouth = (face.points[INNER_LIPS[1][0]] + face.points[INNER_LIPS[1][1]]) / 2
    side = int(ZONE_SIDE_PER_EYE_DISTANCE * float(np.linalg.norm(left - right)))
    down = int(float(np.linalg.norm(mouth - (right + left) / 2)) / 2)
    squares = []
    for x, y in ((right[0], right[1] + down), (left[0] - side, left[1] + down)):
        square = (slice(int(y), int(y) + side), slice(int(x), int(x) + side))
        seen = face.inside[square]
        if min(x, y) < 0 or side < 1 or seen.shape != (side, side) or not seen.all():
            return None
        squares.append(square)
    return squares[0], squares[1]


def face_luminance(face: Canvas) -> float | None:
    """Mean linear luminance of the face below the brows, 0..1."""
    seen = face_tones(face)
    return seen.mean if seen else None
