"""PURE: where the face shows skin, and how light it looks in the picture: the individual typology angle (ITA).

ITA = atan2(L* - 50, b*) in degrees of CIELAB under D65, high for light skin: Chardon, Cretois, Hourseau, "Skin colour typology and suntanning
pathways", Int. J. Cosmet. Sci. 13 (1991); the six groups with the borders 55, 41, 28, 10 and -30 degrees as in Del Bino and Bernerd, "Variations
in skin colour and the biological consequences of ultraviolet radiation exposure", Br. J. Dermatol. 169 s3 (2013).
It was defined for a colorimeter on the skin. From a photo it follows the exposure and the white balance too: it groups pictures for error rates
and is never a rule. Each of forehead and two cheeks gives the angle of its median colour; the middle one of the three counts, so that a
fringe, a shadow or a highlight on one of them does not decide.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import CANVAS_EYE_DISTANCE_PX, Canvas

FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
# Brow and eye of either side, and the lips: their hulls are no skin.
RIGHT_EYE_AND_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70, 33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_EYE_AND_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300, 263, 249, 390, 373, 374, 380, 381, 382, 362)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
# How much the oval shrinks (hair and wall at its rim) and the holes grow, canvas pixels.
RIM_PX, LID_PX = 4, 2

FOREHEAD, RIGHT_CHEEK, LEFT_CHEEK = 151, 50, 280
PATCH_SIDE_PER_EYE_DISTANCE = 0.25
# Lower borders in degrees, and the names in the literature.
GROUPS: tuple[tuple[float, str], ...] = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
    (-math.inf, "dark"),
)


def skin_region(face: Canvas) -> NDArray[np.uint8]:
    """Mask of the canvas: the face's oval without eyes, brows and lips, where the picture has pixels. Hair and glasses over it are not taken out."""
    region = face.polygon(FACE_OVAL)
    oval = np.rint(face.points[list(FACE_OVAL)]).astype(np.int32)
    cv2.polylines(region, [oval], isClosed=True, color=0, thickness=2 * RIM_PX + 1)
    for outline in (RIGHT_EYE_AND_BROW, LEFT_EYE_AND_BROW, LIPS):
        hull = cv2.convexHull(np.rint(face.points[list(outline)]).astype(np.int32))
        cv2.fillConvexPoly(region, hull, 0)
        cv2.polylines(region, [hull], isClosed=True, color=0, thickness=2 * LID_PX + 1)
    return region


def _patch(face: Canvas, landmark: int) -> NDArray[np.uint8] | None:
    half = PATCH_SIDE_PER_EYE_DISTANCE * CANVAS_EYE_DISTANCE_PX / 2
    x, y = face.points[landmark]
    rows, columns = slice(round(y - half), round(y + half)), slice(round(x - half), round(x + half))
    seen = face.inside[rows, columns]
    whole = round(2 * half) ** 2
    return face.pixels[rows, columns] if seen.size >= 0.9 * whole and seen.all() else None


def ita_deg(face: Canvas) -> float | None:
    """The angle, -90 to 90 (skin darker than L* = 50 is negative); None when two of the three places are outside or show no skin colour."""
    angles = []
    for landmark in (FOREHEAD, RIGHT_CHEEK, LEFT_CHEEK):
        patch = _patch(face, landmark)
        if patch is None:
            continue
        colour = np.median(patch.reshape(-1, 3), axis=0)
        if not colour[0] < colour[2]:  # blue reaches red: a grey picture, cloth, or nothing left of the colour
            continue
        one = np.asarray(colour / 255, dtype=np.float32).reshape(1, 1, 3)
        light, _, yellow = (float(v) for v in cv2.cvtColor(one, cv2.COLOR_BGR2Lab)[0, 0])
        if yellow > 0:
            angles.append(math.degrees(math.atan2(light - 50.0, yellow)))
    return float(np.median(angles)) if len(angles) >= 2 else None


def skin_group(ita: float) -> str:
    """The name of the group an angle belongs to."""
    return next(name for border, name in GROUPS if ita > border)
