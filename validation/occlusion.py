"""PURE: what covers the lower face, judged against the face's own skin and never against a fixed skin colour.

Three things are counted, and the worst of them counts:

* The skin of the lower face, without the open mouth, and that of the chin: the share with the chromaticity of places that a mask, scarf or hand over
  the mouth leaves free: under both eyes and above the nose (validation.own_skin). The best of the three references counts, because hair may
  hide one or two; a reference that cannot be skin does not count.
* The mouth: the share of its width at which the dark line between the lips is seen, or the inside of an open mouth. The mesh draws lips on
  cloth and on the back of a hand too; there is no line. So covers in the colour of skin are found, and covers of overlit faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import Canvas
from validation.own_skin import ABOVE_NOSE, NO_COLOUR, SHRINK, UNDER_LEFT_EYE, UNDER_RIGHT_EYE, skin_window

REFERENCES = (UNDER_RIGHT_EYE, UNDER_LEFT_EYE, ABOVE_NOSE)
LOWER_FACE = (2, 98, 327, 216, 436, 214, 434, 210, 430, 211, 431, 32, 262, 140, 369, 171, 396, 175)
BELOW_LIPS = (83, 18, 313, 406, 182, 194, 418, 208, 428, 171, 396, 148, 377, 152, 175, 199)
INNER_LIPS_RING = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
UPPER_LIP_EDGE = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP_EDGE = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
# The mouth is read in columns without its ends, in canvas pixels: how far from the mesh's line the dark line may lie, where on both sides the
# lips are read, how far a column reaches, the half gap from which a mouth is open, and how far around the inner lips that is read.
COLUMNS, COLUMNS_FROM, COLUMNS_TO = 21, 1.0, 9.0
LINE_OFF, LIP_AT, LIP_HEIGHT, COLUMN_REACH, OPEN_HALF_GAP, OPEN_REACH = 4, 10, 9, 32, 2, 12
# Calibrated, see docs/rules.md: by which share of the lips' grey the line is darker.
LINE_CONTRAST = 0.10
GREY_OFFSET = 2.0
_POSITIONS = np.linspace(COLUMNS_FROM, COLUMNS_TO, COLUMNS)
# Linear interpolation along an edge of eleven landmarks.
_ALONG = np.maximum(1 - np.abs(_POSITIONS[:, None] - np.arange(len(UPPER_LIP_EDGE))), 0)
_DOWN = np.arange(-COLUMN_REACH, COLUMN_REACH + 1, dtype=np.float32)[:, None]
_LIP = np.ones((LIP_HEIGHT, 1), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class LowerFace:
    """Share of the lower face that is seen, 0..1, and its outline in the source."""

    visible: float
    outline: NDArray[np.float64]


def _share(like: NDArray[np.bool_], zone: NDArray[np.bool_]) -> float:
    whole = int(np.count_nonzero(zone))
    return int(np.count_nonzero(like & zone)) / whole if whole else 0.0


def mouth_seen(face: Canvas) -> float:
    """Share of the mouth's width, 0..1, at which the line between the lips or the inside of an open mouth is seen; 0 outside the picture."""
    upper, lower = (_ALONG @ face.points[list(edge)] for edge in (UPPER_LIP_EDGE, LOWER_LIP_EDGE))
    middle = (upper + lower) / 2
    half = np.abs(lower[:, 1] - upper[:, 1]) / 2
    side = face.pixels.shape[0]
    low = np.floor(middle.min(axis=0)).astype(int) - np.array([2, COLUMN_REACH + 2])
    high = np.ceil(middle.max(axis=0)).astype(int) + np.array([3, COLUMN_REACH + 3])
    if np.any(low < 0) or np.any(high > side) or not face.inside[low[1] : high[1], low[0] : high[0]].all():
        return 0.0
    grey = cv2.cvtColor(face.pixels[low[1] : high[1], low[0] : high[0]], cv2.COLOR_BGR2GRAY)
    across = np.repeat((middle[:, 0] - low[0])[None].astype(np.float32), len(_DOWN), axis=0)
    along = (middle[:, 1] - low[1]).astype(np.float32) + _DOWN
    columns = cv2.remap(cv2.GaussianBlur(grey, (3, 3), 0), across, along, cv2.INTER_LINEAR).astype(np.float32)
    columns += np.float32(GREY_OFFSET)
    away = np.abs(_DOWN)
    at = np.where(away <= np.minimum(LINE_OFF + half, COLUMN_REACH - LIP_AT - LIP_HEIGHT / 2), columns, np.inf).argmin(
        0
    )
    lips = cv2.dilate(columns, _LIP)
    each = np.arange(COLUMNS)
    contrast = 1 - columns[at, each] / np.minimum(lips[at - LIP_AT, each], lips[at + LIP_AT, each])
    around = away <= half + OPEN_REACH
    opened = 1 - np.where(around, columns, np.inf).min(0) / np.where(around, columns, 0).max(0)
    return float((np.where(half > OPEN_HALF_GAP, np.maximum(contrast, opened), contrast) > LINE_CONTRAST).mean())


def lower_face(face: Canvas) -> LowerFace | str:
    """The lower face's visibility, or why it cannot be told."""
    lower = face.points[list(LOWER_FACE)]
    hull = cv2.convexHull(np.asarray(lower, dtype=np.float32)).reshape(-1, 2)
    window = skin_window(face, face.points[[i for part in (*REFERENCES, LOWER_FACE, BELOW_LIPS) for i in part]])
    region, chin = window.hull(lower), window.hull(face.points[list(BELOW_LIPS)])
    if not chin.any() or np.count_nonzero(region) * SHRINK**2 < 0.9 * cv2.contourArea(hull):
        return "the lower face is cut off by the picture's edge"
    region &= ~window.hull(face.points[list(INNER_LIPS_RING)])
    counted = (region | chin) > 0
    zones = region[counted] > 0, chin[counted] > 0
    shares = []
    for patch in REFERENCES:
        skin = window.skin(face.points[list(patch)])
        if skin is not None:
            like = window.like(skin, counted)
            shares.append(min(_share(like, zone) for zone in zones))
    seen = mouth_seen(face)
    outline = face.back(np.asarray(hull, dtype=np.float64))
    if shares:
        return LowerFace(visible=min(max(shares), seen), outline=outline)
    if seen < 1 / 2:
        return LowerFace(visible=seen, outline=outline)
    return NO_COLOUR
