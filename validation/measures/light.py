"""Measures of light and colour on the face. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from validation import colour, light, shade
from validation.canvas import FACE_BELOW_BROWS
from validation.context import Judgement
from validation.measured import CUT_OFF, PERCENT, Draw, Measured, outlines, points
from validation.occlusion import CHEEKS_VISIBLE_FROM, LowerFace
from validation.report import Evidence
from validation.skin import FACE_OVAL

ZONES_CUT_OFF = "forehead, cheeks or chin are cut off by the picture's edge"
CHEEKS_CUT_OFF = "the cheeks are cut off by the picture's edge"
CHEEKS_COVERED = "the cheeks are covered"


def _spots(judged: Judgement, low: int, high: int) -> Draw:
    """Where the face's luminance lies between two levels."""

    def draw() -> Evidence:
        face = judged.canvas
        region = face.polygon(FACE_BELOW_BROWS, hull=True)
        inside: NDArray[np.uint8] = np.asarray(cv2.inRange(face.luminance, np.array([low]), np.array([high])), np.uint8)
        return outlines(judged, inside & region)()

    return draw


def _face(judged: Judgement) -> Draw:
    """The whole face."""

    def draw() -> Evidence:
        outline = judged.face.landmarks[list(FACE_OVAL), :2]
        return Evidence(outlines=(tuple((float(x), float(y)) for x, y in outline),))

    return draw


def _cheeks(judged: Judgement) -> Evidence:
    """The two squares of the standard's natural colour."""
    shapes = []
    for rows, columns in light.cheek_squares(judged.canvas) or ():
        left, right = columns.start, columns.stop
        corners = ((left, rows.start), (right, rows.start), (right, rows.stop), (left, rows.stop))
        shapes.append(tuple((float(x), float(y)) for x, y in judged.canvas.back(np.array(corners, dtype=np.float64))))
    return Evidence(outlines=tuple(shapes))


def even(judged: Judgement) -> Measured | str:
    """Darkest / brightest of the four zones."""
    if judged.unlit:
        return judged.unlit
    zones = judged.light_zones
    if zones is None:
        return ZONES_CUT_OFF
    return Measured(zones.evenness * PERCENT, lambda: Evidence(outlines=zones.boxes))


def sides(judged: Judgement) -> Measured | str:
    """Darker / brighter cheek."""
    if judged.unlit:
        return judged.unlit
    zones = judged.light_zones
    if zones is None:
        return ZONES_CUT_OFF
    return Measured(zones.sides * PERCENT, lambda: Evidence(outlines=zones.boxes[-2:]))


def shadows(judged: Judgement) -> Measured | str:
    """The darkest place around eyes and nose, of the light that even lamps leave there."""
    if judged.unlit:
        return judged.unlit
    found = shade.face_shadow(judged.canvas)
    if found is None:
        return CUT_OFF
    return Measured(found.value * PERCENT, points(judged.face.landmarks[list(found.where)]))


def exposure(judged: Judgement) -> Measured | str:
    """Mean linear luminance of the face."""
    mean = judged.face_luminance
    return CUT_OFF if mean is None else Measured(mean * PERCENT, _face(judged))


def overexposed(judged: Judgement) -> Measured | str:
    """Share of the face without drawing in the lights."""
    seen = judged.face_tones
    return CUT_OFF if seen is None else Measured(seen.too_bright * PERCENT, _spots(judged, light.BRIGHT_FROM, 255))


def underexposed(judged: Judgement) -> Measured | str:
    """Share of the face without drawing in the shadows."""
    seen = judged.face_tones
    if seen is None:
        return CUT_OFF
    level = light.black_level(judged.canvas)
    return Measured(seen.up_to(level) * PERCENT, _spots(judged, 0, level))


def hot_spots(judged: Judgement) -> Measured | str:
    """The largest mirror-like spot, of the skin."""
    found = shade.hot_spot(judged.canvas, judged.skin_region)
    if found is None:
        return CUT_OFF
    return Measured(found.value * PERCENT, outlines(judged, found.where))


def natural_colour(judged: Judgement) -> Measured | str:
    """How far the cheeks' colour is from that of skin."""
    covered = judged.lower_face
    if isinstance(covered, LowerFace) and covered.visible < CHEEKS_VISIBLE_FROM:
        return CHEEKS_COVERED
    background = judged.background
    wall_lab = None if isinstance(background, str) else background.colour
    distance = colour.skin_colour_distance(judged.canvas, wall_lab)
    return CHEEKS_CUT_OFF if distance is None else Measured(distance, lambda: _cheeks(judged))


def grey_levels(judged: Judgement) -> Measured | str:
    """How many of 256 grey levels the face shows."""
    count = light.level_count(judged.image, judged.face.landmarks[list(FACE_OVAL), :2])
    return CUT_OFF if count is None else Measured(float(count), _face(judged))


def entropy(judged: Judgement) -> Measured | str:
    """How evenly the face uses the grey levels."""
    seen = light.grey_tones(judged.canvas, judged.canvas.polygon(FACE_OVAL))
    return CUT_OFF if seen is None else Measured(seen.entropy_bits, _face(judged))
