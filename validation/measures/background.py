"""Measures of the wall behind the person. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from validation import wall
from validation.context import Judgement
from validation.measured import PERCENT, Measured
from validation.report import Evidence

NOT_SEEN = "too little of the background is visible"


def uniform(judged: Judgement) -> Measured | str:
    """How much the wall's lightness changes from place to place."""
    return _found(judged, wall.unevenness)


def colour(judged: Judgement) -> Measured | str:
    """Colour difference of the wall from the nearest light grey."""
    return _of_colour(judged, wall.off_light_grey)


def lightness(judged: Judgement) -> Measured | str:
    """Lightness of the wall."""
    return _of_colour(judged, lambda lab: float(lab[0]))


def one_colour(judged: Judgement) -> Measured | str:
    """How far most of the wall strays from its own colour."""
    return _found(judged, wall.one_colour)


def shadow(judged: Judgement) -> Measured | str:
    """Light of the darkest wall beside the head."""
    return _found(judged, wall.shadow, PERCENT)


def objects(judged: Judgement) -> Measured | str:
    """Area of people and things beside the sitter."""
    return _found(judged, wall.strangers, PERCENT)


def contrast(judged: Judgement) -> Measured | str:
    """Colour difference between head and wall where it is weakest."""
    return _found(judged, wall.contrast, unseen="the head's outline is not visible")


def _found(
    judged: Judgement, look: Callable[[wall.Wall], wall.Found | None], unit: float = 1.0, unseen: str = NOT_SEEN
) -> Measured | str:
    """What a look at the wall found, in the rule's unit, drawn where it was found."""
    seen = judged.background
    if isinstance(seen, str):
        return seen
    found = look(seen)
    if found is None:
        return unseen
    if not np.any(found.where):
        return Measured(found.value * unit)
    return Measured(found.value * unit, lambda: Evidence(outlines=seen.back(found.where)))


def _of_colour(judged: Judgement, value: Callable[[NDArray[np.float32]], float]) -> Measured | str:
    """A property of the wall's median L*, a*, b*, drawn on the whole wall that was looked at."""
    seen = judged.background
    if isinstance(seen, str):
        return seen
    if seen.colour is None:
        return NOT_SEEN
    return Measured(value(seen.colour), lambda: Evidence(outlines=() if seen.free is None else seen.back(seen.free)))
