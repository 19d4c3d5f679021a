"""Measures of the picture's technical quality. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

from validation.context import Judgement
from validation.measured import PERCENT, Measured


def sharp(judged: Judgement) -> Measured | str:
    """Fine / coarse detail of the face."""
    sharpness = judged.sharpness
    return "the face shows no detail at all" if sharpness is None else Measured(sharpness * PERCENT)


def size(judged: Judgement) -> Measured:
    """Height of the picture."""
    return Measured(float(judged.geometry_size[1]))
