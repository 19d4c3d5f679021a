"""PURE: shadows and highlights on the face, on the standard canvas; both relative to the face's own skin.

Hot spots: a mirror image of the lamp adds white to the skin's colour. How far a pixel has gone from the skin's median to white is seen in its
smallest channel, whatever the skin's tone: 0 is the skin, 1 is white. The largest connected patch beyond HOT_FROM counts.
Shadows: light (linear) of patches around the eyes and the nose, where lamps from the side, from above and from behind leave their shadows first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import Canvas, luminance

# Part of the way from the skin's colour to white (calibrated, docs/rules.md: neutral skin of any tone and pale foreheads stay below).
HOT_FROM = 0.8
UNDER_RIGHT_EYE, UNDER_LEFT_EYE = (119, 120, 100, 101, 118), (348, 349, 329, 330, 347)
# Eye sockets: the lids under the brows, and the skin right under the lower lids.
RIGHT_SOCKET = ((222, 223, 224, 29, 27, 28, 56), (22, 23, 24, 110, 228, 229, 230, 231))
LEFT_SOCKET = ((442, 443, 444, 259, 257, 258, 286), (252, 253, 254, 339, 448, 449, 450, 451))
RIGHT_FLANK, LEFT_FLANK = (198, 209, 49, 131), (420, 429, 279, 360)  # of the nose
RIGHT_CHEEK, LEFT_CHEEK = (101, 205, 187, 117), (330, 425, 411, 346)
# What an evenly lit face shows, of the cheeks' light (medians of renders and real photos): the nose's flanks are turned away from the camera, lids
# are turned down and painted, the skin right under the lower lids is turned up.
FLANK_LIGHT, LID_LIGHT, LOWER_LID_LIGHT = 0.72, 0.5, 0.76
# Sensor offset: keeps ratios of nearly black patches from exploding (255 levels of linear light).
DARK_OFFSET = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A value and the part of the canvas it comes from."""

    value: float
    where: NDArray[np.uint8]


def hot_spot(face: Canvas, skin: NDArray[np.uint8]) -> Patch | None:
    """Largest mirror-like patch / skin area, 0..1; None without skin. `skin`: the region of validation.skin."""
    x, y, width, height = cv2.boundingRect(skin)
    if width == 0:
        return None
    window = (slice(y, y + height), slice(x, x + width))
    region = skin[window]
    blue, green, red = cv2.split(np.ascontiguousarray(face.pixels[window]))
    least = cv2.min(cv2.min(blue, green), red)
    counts = cv2.calcHist([least], [0], region, [256], [0, 256]).ravel().cumsum()
    usual = float(np.searchsorted(counts, counts[-1] / 2))
    hot = cv2.threshold(least, usual + HOT_FROM * (255 - usual) - 0.5, 255, cv2.THRESH_BINARY)[1]
    hot = cv2.bitwise_and(hot, region)
    where = np.zeros_like(skin)
    if not hot.any():
        return Patch(0.0, where)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(hot)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    where[window] = np.where(labels == largest, 255, 0)
    return Patch(float(stats[largest, cv2.CC_STAT_AREA]) / float(counts[-1]), where)


def _light(face: Canvas, landmarks: tuple[int, ...]) -> float | None:
    """Mean luminance inside the hull of some landmarks, 0..255; None when the picture cuts it off."""
    hull = np.asarray(cv2.convexHull(np.rint(face.points[list(landmarks)]).astype(np.int32)))
    x, y, width, height = cv2.boundingRect(hull)
    seen = face.inside[max(y, 0) : y + height, max(x, 0) : x + width]
    if seen.shape != (height, width) or not seen.all():
        return None
    inside = np.zeros((height, width), dtype=np.uint8)
    cv2.fillConvexPoly(inside, hull - (x, y), 255)
    return float(cv2.mean(luminance(face.pixels[y : y + height, x : x + width]), inside)[0]) + DARK_OFFSET


@dataclass(frozen=True, slots=True)
class FaceShadow:
    """How dark the darkest place is beside what even light gives it, and where (landmarks)."""

    value: float
    where: tuple[int, ...]


def face_shadow(face: Canvas) -> FaceShadow | None:
    """The smallest of four shares, about 1 for an evenly lit face; None where a patch is cut off.

    The skin under one eye / under the other (light from one side), under both / cheeks (from behind), the nose's flanks / cheeks (from the middle
    only), the eye sockets / cheeks (from above). The last three are held against what even light gives.
    """
    under = [_light(face, place) for place in (UNDER_RIGHT_EYE, UNDER_LEFT_EYE)]
    flanks = _sum(face, RIGHT_FLANK, LEFT_FLANK)
    cheeks = _sum(face, RIGHT_CHEEK, LEFT_CHEEK)
    lids = _sum(face, RIGHT_SOCKET[0], LEFT_SOCKET[0])
    lower_lids = _sum(face, RIGHT_SOCKET[1], LEFT_SOCKET[1])
    right, left = under
    if right is None or left is None or flanks is None or cheeks is None or lids is None or lower_lids is None:
        return None
    socket = math.sqrt((lids / cheeks / LID_LIGHT) * (lower_lids / cheeks / LOWER_LID_LIGHT))
    shares = (
        (min(right, left) / max(right, left), UNDER_RIGHT_EYE if right < left else UNDER_LEFT_EYE),
        ((right + left) / cheeks, UNDER_RIGHT_EYE + UNDER_LEFT_EYE),
        (flanks / cheeks / FLANK_LIGHT, RIGHT_FLANK + LEFT_FLANK),
        (socket, RIGHT_SOCKET[0] + LEFT_SOCKET[0]),
    )
    value, where = min(shares)
    return FaceShadow(min(value, 1.0), where)


def _sum(face: Canvas, right: tuple[int, ...], left: tuple[int, ...]) -> float | None:
    lights = [_light(face, place) for place in (right, left)]
    return None if lights[0] is None or lights[1] is None else lights[0] + lights[1]
