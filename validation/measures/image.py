"""Measures of the picture's technical quality. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from validation import artefacts
from validation.canvas import CANVAS_EYE_DISTANCE_PX
from validation.context import Judgement
from validation.detail import Detail
from validation.geometry import inter_eye_px
from validation.measured import CUT_OFF, NEEDS_FILE, PERCENT, Measured
from validation.report import Evidence

NO_DETAIL = "too little of the face is in the picture, or it shows no detail at all"
NOT_CUT = "a finished picture does not tell whether it was enlarged"
# Smaller "squares" are chance: pictures without any measure up to 1.2 pixels, enlarged ones from 1.5.
SQUARES_FROM_PX = 1.4


def _looked_at(detail: Detail) -> Callable[[], Evidence]:
    return lambda: Evidence(outlines=(tuple((float(x), float(y)) for x, y in detail.box),))


def sharp(judged: Judgement) -> Measured | str:
    """Fine / coarse detail of the face, in the direction that kept most of it."""
    detail = judged.face_detail
    return NO_DETAIL if detail is None else Measured(detail.sharpest * PERCENT, _looked_at(detail))


def motion(judged: Judgement) -> Measured | str:
    """Fine / coarse detail of the face, in the direction that kept least of it."""
    detail = judged.face_detail
    return NO_DETAIL if detail is None else Measured(detail.softest * PERCENT, _looked_at(detail))


def noise(judged: Judgement) -> Measured | str:
    """Spread of the noise on smooth skin."""
    detail = judged.face_detail
    return NO_DETAIL if detail is None else Measured(detail.noise, _looked_at(detail))


def _window(judged: Judgement) -> NDArray[np.float32] | None:
    return artefacts.face_window(judged.image, judged.face.landmarks)


def pixelated(judged: Judgement) -> Measured | str:
    """Side of squares of one colour at the standard eye distance; 0 when there are none."""
    window = _window(judged)
    if window is None:
        return CUT_OFF
    side = artefacts.square_side(window)
    per_pixel = CANVAS_EYE_DISTANCE_PX / max(inter_eye_px(judged.face.landmarks), 1.0)
    return Measured(side * per_pixel if side >= SQUARES_FROM_PX else 0.0)


def blocks(judged: Judgement) -> Measured | str:
    """Steps on a grid of 8 pixels beyond those beside it / mean step."""
    window = _window(judged)
    return CUT_OFF if window is None else Measured(artefacts.blockiness(window) * PERCENT)


def compression(judged: Judgement) -> Measured | str:
    """Raw / file size."""
    if judged.source is None:
        return NEEDS_FILE
    if not judged.source.lossy:
        return "the file lost nothing in compression"
    ratio = judged.source.compression_ratio
    return NEEDS_FILE if ratio is None else Measured(ratio)


def upscaled(judged: Judgement) -> Measured | str:
    """Output pixels per source pixel of the cut."""
    if judged.crop is not None:
        return Measured(judged.crop.scale * PERCENT)
    return NOT_CUT if judged.cut is None else Measured(judged.cut.scale * PERCENT)


def size(judged: Judgement) -> Measured:
    """Height of the picture."""
    return Measured(float(judged.geometry_size[1]))


def aspect(judged: Judgement) -> Measured:
    """Width / height, as a share of the profile's."""
    width, height = judged.geometry_size
    return Measured(width / height * judged.profile.height_px / judged.profile.width_px * PERCENT)


def colour_space(judged: Judgement) -> Measured:
    """In how many ways the file is not a 24-bit sRGB picture. Pixels without a file are what this software keeps: 24 bits, read as sRGB."""
    return Measured(0.0 if judged.source is None else float(len(judged.source.departures)))
