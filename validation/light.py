"""PURE: what the light does to a face, measured on the standard canvas (validation.canvas).

The tones of a face are the histogram of its linear luminance (0..255) below the brows, where ISO/IEC 29794-5 measures mean, variance, entropy and the
shares of too dark and too bright pixels. The four zones are those of ICAO TR "Portrait Quality".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import FACE_BELOW_BROWS, Canvas, Image
from validation.geometry import INNER_LIPS, eyes

# Spread / mean of grey above which the forehead square shows hair (bare foreheads measured up to 0.10, fringes and hats from 0.13).
FOREHEAD_TEXTURE = 0.11
GREY_BGR = np.array([0.114, 0.587, 0.299])
ZONE_SIDE_PER_EYE_DISTANCE = 0.3
LEVELS = np.arange(256, dtype=np.float64) / 255
# ISO/IEC 29794-5: luminance 0..25 is under-exposed, 247..255 over-exposed.
DARK_UP_TO, BRIGHT_FROM = 25, 247


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
        # A slice that starts before 0 would wrap around.
        if min(rows.start, columns.start) < 0 or not face.inside[rows, columns].any():
            return None
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
    def variance(self) -> float:
        """Variance of luminance on 0..1 (ISO/IEC 29794-5 luminance variance)."""
        return float(self.shares @ (LEVELS - self.mean) ** 2)

    @property
    def entropy_bits(self) -> float:
        """Shannon entropy, 0..8 bit (ISO/IEC 29794-5 dynamic range)."""
        seen = self.shares[self.shares > 0]
        return float(-(seen * np.log2(seen)).sum()) + 0.0

    @property
    def too_dark(self) -> float:
        """Share of pixels with luminance 25 or less, 0..1 (ISO/IEC 29794-5 under-exposure prevention)."""
        return float(self.shares[: DARK_UP_TO + 1].sum())

    @property
    def too_bright(self) -> float:
        """Share of pixels with luminance 247 or more, 0..1 (ISO/IEC 29794-5 over-exposure prevention)."""
        return float(self.shares[BRIGHT_FROM:].sum())


def tones(luminance: Image, region: Image) -> Tones | None:
    """Histogram of the luminance (uint8) where the region (uint8) is not zero; None for an empty region."""
    counts = cv2.calcHist([luminance], [0], region, [256], [0, 256]).reshape(-1).astype(np.float64)
    return Tones(counts) if counts.sum() > 0 else None


def face_tones(face: Canvas) -> Tones | None:
    """Tones of the hull of the face below the brows, the region of the standard's luminance measures; None where the picture shows none of it."""
    return tones(face.luminance, face.polygon(FACE_BELOW_BROWS, hull=True))


def cheek_squares(face: Canvas) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Rows and columns of the standard's two squares on the canvas: the subject's right (image left) and left cheek.

    Side 0.3 eye distances, top at the eye's height lowered by half the eye-mouth distance, reaching from under each eye centre inwards
    (ISO/IEC 29794-5 illumination uniformity and natural colour). None where the picture cuts one off.
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


def illumination_overlap(face: Canvas) -> float | None:
    """Shared part of the two cheek squares' luminance histograms, 0..1 (ISO/IEC 29794-5 illumination uniformity); None where one is cut off."""
    squares = cheek_squares(face)
    if squares is None:
        return None
    histograms = [np.bincount(face.luminance[square].ravel(), minlength=256) for square in squares]
    shares = [counts / counts.sum() for counts in histograms]
    return float(np.minimum(*shares).sum())


def face_luminance(face: Canvas) -> float | None:
    """Mean linear luminance of the face below the brows, 0..1."""
    seen = face_tones(face)
    return seen.mean if seen else None
