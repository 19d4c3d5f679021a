"""PURE: what the light does to a face, measured on the standard canvas (validation.canvas)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.canvas import FACE_BELOW_BROWS, Canvas
from validation.geometry import INNER_LIPS, eyes

# Spread / mean of grey above which the forehead square shows hair (bare foreheads measured up to 0.10, fringes and hats from 0.13).
FOREHEAD_TEXTURE = 0.11
GREY_BGR = np.array([0.114, 0.587, 0.299])
ZONE_SIDE_PER_EYE_DISTANCE = 0.3


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
