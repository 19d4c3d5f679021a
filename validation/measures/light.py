"""Measures of light and colour on the face. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

import numpy as np

from validation.context import Judgement
from validation.measured import CUT_OFF, PERCENT, Measured, points

ZONES_CUT_OFF = "forehead, cheeks or chin are cut off by the picture's edge"


def even(judged: Judgement) -> Measured | str:
    """Darkest / brightest of the four zones."""
    if judged.unlit:
        return judged.unlit
    zones = judged.light_zones
    if zones is None:
        return ZONES_CUT_OFF
    return Measured(zones.evenness * PERCENT, points([np.array(p) for box in zones.boxes for p in box]))


def sides(judged: Judgement) -> Measured | str:
    """Darker / brighter cheek."""
    if judged.unlit:
        return judged.unlit
    zones = judged.light_zones
    if zones is None:
        return ZONES_CUT_OFF
    return Measured(zones.sides * PERCENT, points([np.array(p) for box in zones.boxes[-2:] for p in box]))


def exposure(judged: Judgement) -> Measured | str:
    """Mean linear luminance of the face."""
    mean = judged.face_luminance
    return CUT_OFF if mean is None else Measured(mean * PERCENT)
