"""Measures of mouth, expression and what covers the face. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

from validation import geometry
from validation.context import Judgement
from validation.measured import PERCENT, Measured, points


def mouth_closed(judged: Judgement) -> Measured:
    """Gap of the inner lips / T."""
    lips = [i for pair in geometry.INNER_LIPS for i in pair]
    return Measured(geometry.mouth_opening(judged.face.landmarks) * PERCENT, points(judged.face.landmarks[lips]))


def lower_visible(judged: Judgement) -> Measured | str:
    """Share of the lower face that shows skin."""
    if judged.unlit:
        return judged.unlit
    lower = judged.lower_face
    if isinstance(lower, str):
        return lower
    return Measured(lower.visible * PERCENT, points(lower.outline))
