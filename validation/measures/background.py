"""Measures of the wall behind the person. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

from validation.context import Judgement
from validation.measured import NO_MASK, PERCENT, Measured


def uniform(judged: Judgement) -> Measured | str:
    """Roughness of the wall."""
    roughness = judged.background_roughness
    return _no_background(judged) if roughness is None else Measured(roughness)


def one_colour(judged: Judgement) -> Measured | str:
    """Share of the wall that has one colour."""
    share = judged.background_one_colour
    return _no_background(judged) if share is None else Measured(share * PERCENT)


def _no_background(judged: Judgement) -> str:
    if judged.scene.person_mask is None:
        return NO_MASK
    return "too little of the background is visible"
