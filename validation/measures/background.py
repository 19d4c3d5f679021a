"""Measures of the wall behind the person. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

import numpy as np

from validation import wall
from validation.context import Judgement
from validation.measured import PERCENT, Draw, Measured
from validation.report import Evidence

NOT_SEEN = "too little of the background is visible"


def uniform(judged: Judgement) -> Measured | str:
    """How much the wall's lightness changes from place to place."""
    seen = judged.background
    if isinstance(seen, str):
        return seen
    found = wall.unevenness(seen)
    return NOT_SEEN if found is None else _measured(seen, found)


def colour(judged: Judgement) -> Measured | str:
    """Colour difference of the wall from the nearest light grey."""
    seen = judged.background
    if isinstance(seen, str):
        return seen
    return NOT_SEEN if seen.colour is None else Measured(wall.off_light_grey(seen.colour), _all(seen))


def lightness(judged: Judgement) -> Measured | str:
    """Lightness of the wall."""
    seen = judged.background
    if isinstance(seen, str):
        return seen
    return NOT_SEEN if seen.colour is None else Measured(float(seen.colour[0]), _all(seen))


def one_colour(judged: Judgement) -> Measured | str:
    """How far most of the wall strays from its own colour."""
    seen = judged.background
    if isinstance(seen, str):
        return seen
    found = wall.one_colour(seen)
    return NOT_SEEN if found is None else _measured(seen, found)


def shadow(judged: Judgement) -> Measured | str:
    """Light of the darkest wall beside the head."""
    seen = judged.background
    if isinstance(seen, str):
        return seen
    found = wall.shadow(seen)
    return NOT_SEEN if found is None else _measured(seen, found, PERCENT)


def objects(judged: Judgement) -> Measured | str:
    """Area of people and things beside the sitter."""
    seen = judged.background
    if isinstance(seen, str):
        return seen
    found = wall.strangers(seen)
    return NOT_SEEN if found is None else _measured(seen, found, PERCENT)


def contrast(judged: Judgement) -> Measured | str:
    """Colour difference between head and wall where it is weakest."""
    seen = judged.background
    if isinstance(seen, str):
        return seen
    found = wall.contrast(seen)
    return "the head's outline is not visible" if found is None else _measured(seen, found)


def _all(seen: wall.Wall) -> Draw:
    """The whole wall that was looked at."""
    return lambda: Evidence(outlines=() if seen.free is None else seen.back(seen.free))


def _measured(seen: wall.Wall, found: wall.Found, unit: float = 1.0) -> Measured:
    if not np.any(found.where):
        return Measured(found.value * unit)
    return Measured(found.value * unit, lambda: Evidence(outlines=seen.back(found.where)))
