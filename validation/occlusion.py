"""PURE: what covers the lower face, judged against the face's own skin and never against a fixed skin colour.

Three things are counted, and the worst of them counts:

* The skin of the lower face, without the open mouth, and that of the chin: the share with the chromaticity of places that a mask, scarf or hand over
  the mouth leaves free: under both eyes and above the nose (validation.own_skin). The best of the three references counts, because hair may
  hide one or two; a reference that cannot be skin does not count.
* The mouth: the share of its width at which the dark line between the lips is seen, or the inside of an open mouth. The mesh draws lips on
  cloth and on the back of a hand too; there is no line, and between fingers one that does not end at the corners of the mouth. So covers in the colour of skin are found, and covers of overlit faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import LINEAR, Canvas
from validation.own_skin import ABOVE_NOSE, NO_COLOUR, SHRINK, UNDER_LEFT_EYE, UNDER_RIGHT_EYE, skin_window

# Share of the lower face that must be skin before the cheeks' colour means anything (assumed: half of it).
CHEEKS_VISIBLE_FROM = 0.5
REFERENCES = (UNDER_RIGHT_EYE, UNDER_LEFT_EYE, ABOVE_NOSE)
LOWER_FACE = (2, 98, 327, 216, 436, 214, 434, 210, 430, 211, 431, 32, 262, 140, 369, 171, 396, 175)
BELOW_LIPS = (83, 18, 313, 406, 182, 194, 418, 208, 428, 171, 396, 148, 377, 152, 175, 199)
INNER_LIPS_RING = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
UPPER_LIP_EDGE = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP_EDGE = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
# Linear red light (sRGB 250; skin's brightest channel) from which on the sensor's end has taken the colour; where that is half of a zone, its
# colour tells nothing and the mouth alone decides.
CLIPPED, CLIPPED_SHARE = float(LINEAR[250]), 0.5
CUT_OFF = "the lower face is cut off by the picture's edge"
# The mouth is read in columns without its ends, in canvas pixels: how far from the mesh's line the dark line may lie, where on both sides the
# lips are read, how far a column reaches, the half gap from which a mouth is open, and how far around the inner lips that is read.
COLUMNS, COLUMNS_FROM, COLUMNS_TO = 21, 1.0, 9.0
LINE_OFF, LIP_AT, LIP_HEIGHT, COLUMN_REACH, OPEN_HALF_GAP, OPEN_REACH = 4, 10, 9, 32, 2, 12
# Calibrated, see docs/rules.md: by which share of the lips' grey the line is darker.
LINE_CONTRAST = 0.10
# Beyond the corners: from where to where, how far from the axis of the mouth, and the contrast from which on a line runs on there.
BEYOND_FROM, BEYOND_TO, BEYOND_COLUMNS, BEYOND_OFF, BEYOND_CONTRAST = 12.0, 40.0, 12, 8, 0.18
LINE_BLUR = (7, 3)
CORNERS = (61, 291)
GREY_OFFSET = 2.0
_POSITIONS = np.linspace(COLUMNS_FROM, COLUMNS_TO, COLUMNS)
# Linear interpolation along an edge of eleven landmarks.
_ALONG = np.maximum(1 - np.abs(_POSITIONS[:, None] - np.arange(len(UPPER_LIP_EDGE))), 0)
_DOWN = np.arange(-COLUMN_REACH, COLUMN_REACH + 1, dtype=np.float32)[:, None]
_BEYOND = np.linspace(BEYOND_FROM, BEYOND_TO, BEYOND_COLUMNS)[:, None]
_LIP = np.ones((LIP_HEIGHT, 1), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class LowerFace:
    """Share of the lower face that is seen, 0..1, and its outline in the source."""

    visible: float
    outline: NDArray[np.float64]


def _share(like: NDArray[np.bool_], zone: NDArray[np.bool_]) -> float:
    whole = int(np.count_nonzero(zone))
    return (
        int(np.count_nonzero(like & zone)) / whole if whole else 1.0
    )  # nothing left that has a colour: the mouth decides


def _window(places: NDArray[np.float64]) -> tuple[slice, slice]:
    """The part of the canvas in which columns around these places lie."""
    (left, top), (right, bottom) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    rows = slice(math.floor(top) - COLUMN_REACH - 2, math.ceil(bottom) + COLUMN_REACH + 3)
    return rows, slice(math.floor(left) - 4, math.ceil(right) + 5)


def _whole(face: Canvas, window: tuple[slice, slice]) -> bool:
    """Whether the picture shows all of a part of the canvas."""
    side = face.inside.shape[0]
    on_canvas = all(part.start >= 0 and part.stop <= side for part in window)
    return on_canvas and bool(face.inside[window].all())


def _columns(face: Canvas, places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Columns of grey, COLUMN_REACH up and down from each place."""
    window = _window(places)
    # More along the mouth than across it: stubble and wrinkles are no line.
    grey = cv2.blur(cv2.cvtColor(face.pixels[window], cv2.COLOR_BGR2GRAY), LINE_BLUR)
    across = (places[:, 0] - window[1].start).astype(np.float32)
    along = (places[:, 1] - window[0].start).astype(np.float32) + _DOWN
    maps = np.repeat(across[None], len(_DOWN), axis=0), along
    return np.asarray(cv2.remap(grey, *maps, cv2.INTER_LINEAR), dtype=np.float32) + np.float32(GREY_OFFSET)


def _line_contrast(columns: NDArray[np.float32], off: NDArray[np.float64]) -> NDArray[np.float32]:
    """By which share the darkest point within `off` of the middle of each column is darker than what lies above and below."""
    near = np.abs(_DOWN) <= np.minimum(off, COLUMN_REACH - LIP_AT - LIP_HEIGHT / 2)
    at = np.where(near, columns, np.inf).argmin(0)
    lips = cv2.dilate(columns, _LIP)
    each = np.arange(columns.shape[1])
    return np.asarray(1 - columns[at, each] / np.minimum(lips[at - LIP_AT, each], lips[at + LIP_AT, each]))


def mouth_seen(face: Canvas) -> float | None:
    """Share of the mouth's width, 0..1, at which the line between the lips or the inside of an open mouth is seen; None outside the picture.

    A line that runs on beyond a corner of the mouth is none of the mouth's (between fingers it does): then that half is not seen.
    """
    upper, lower = (_ALONG @ face.points[list(edge)] for edge in (UPPER_LIP_EDGE, LOWER_LIP_EDGE))
    middle, half = (upper + lower) / 2, np.abs(lower[:, 1] - upper[:, 1]) / 2
    if not _whole(face, _window(middle)):
        return None
    right, left = face.points[list(CORNERS)]
    axis = (left - right) / max(math.dist(right, left), 1.0)
    ends = (right - _BEYOND * axis, slice(None, COLUMNS // 2)), (left + _BEYOND * axis, slice(-(COLUMNS // 2), None))
    shown = [(places, half_of) for places, half_of in ends if _whole(face, _window(places))]
    # All columns at once: first the mouth's, then those beyond its corners.
    columns = _columns(face, np.concatenate([middle, *(places for places, _ in shown)]))
    off = np.full(columns.shape[1], float(BEYOND_OFF))
    off[:COLUMNS] = LINE_OFF + half
    contrasts = _line_contrast(columns, off)
    contrast, columns = contrasts[:COLUMNS], columns[:, :COLUMNS]
    around = np.abs(_DOWN) <= half + OPEN_REACH
    opened = 1 - np.where(around, columns, np.inf).min(0) / np.where(around, columns, 0).max(0)
    seen = np.where(half > OPEN_HALF_GAP, np.maximum(contrast, opened), contrast) > LINE_CONTRAST
    beyond = contrasts[COLUMNS:].reshape(-1, BEYOND_COLUMNS)
    for (_, half_of), on in zip(shown, beyond, strict=True):
        if np.sort(on)[BEYOND_COLUMNS // 4] > BEYOND_CONTRAST:
            seen[half_of] = False
    return float(seen.mean())


def lower_face(face: Canvas) -> LowerFace | str:
    """The lower face's visibility, or why it cannot be told."""
    lower = face.points[list(LOWER_FACE)]
    hull = cv2.convexHull(np.asarray(lower, dtype=np.float32)).reshape(-1, 2)
    window = skin_window(face, face.points[[i for part in (*REFERENCES, LOWER_FACE, BELOW_LIPS) for i in part]])
    region, chin = window.hull(lower), window.hull(face.points[list(BELOW_LIPS)])
    if not chin.any() or np.count_nonzero(region) * SHRINK**2 < 0.9 * cv2.contourArea(hull):
        return CUT_OFF
    region &= ~window.hull(face.points[list(INNER_LIPS_RING)])
    counted = (region | chin) > 0
    colours = window.colours(counted)
    clipped = window.light[..., 2][counted] >= CLIPPED
    zones = tuple(zone[counted] > 0 for zone in (region, chin))
    zones = tuple(zone for zone in zones if _share(clipped, zone) < CLIPPED_SHARE)
    shares = []
    for patch in REFERENCES:
        skin = window.skin(face.points[list(patch)])
        if skin is not None:
            like = skin.like(*colours)
            shares.append(min((_share(like, zone) for zone in zones), default=1.0))
    seen = mouth_seen(face)
    if seen is None:
        return CUT_OFF
    outline = face.back(np.asarray(hull, dtype=np.float64))
    if shares:
        return LowerFace(visible=min(max(shares), seen), outline=outline)
    if seen < 1 / 2:
        return LowerFace(visible=seen, outline=outline)
    return NO_COLOUR
