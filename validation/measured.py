"""What a measure answers: a value with the evidence to draw, or a plain reason why it cannot be judged. It never guesses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.context import Judgement
from validation.report import Box, Evidence

PERCENT = 100.0
MOST_OUTLINES = 12  # more contours are noise to the eye
NO_FACE = "no face was found"
NEEDS_FRAMES = "needs frames"
NEEDS_FILE = "needs the file"
NO_MASK = "the person's outline was not computed"
CUT_OFF = "the face lies outside the picture"


Draw = Callable[[], Evidence]  # only called where somebody will look: not for preview frames


@dataclass(frozen=True, slots=True)
class Measured:
    """A value in the rule's native unit and how to draw what shows it, in pixels of the judged picture."""

    value: float
    evidence: Draw | None = None


Measure = Callable[[Judgement], Measured | str]


Points = Sequence[NDArray[np.floating]] | NDArray[np.floating]


def points(where: Points | Callable[[], Points]) -> Draw:
    """Points to draw; or what finds them, when that takes time."""
    return lambda: Evidence(points=tuple((float(p[0]), float(p[1])) for p in (where() if callable(where) else where)))


def boxes(where: Sequence[Box]) -> Draw:
    """Rectangles to draw."""
    return lambda: Evidence(boxes=tuple(where))


def outlines(judged: Judgement, mask: NDArray[np.uint8]) -> Draw:
    """A mask on the standard canvas as closed polygons on the judged picture: its largest contours, simplified to a canvas pixel."""
    return lambda: _outlines(judged, mask)


def _outlines(judged: Judgement, mask: NDArray[np.uint8]) -> Evidence:
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = sorted(found, key=cv2.contourArea, reverse=True)[:MOST_OUTLINES]
    shapes = []
    for contour in largest:
        on_canvas = np.asarray(cv2.approxPolyDP(contour, 1.0, closed=True), dtype=np.float64).reshape(-1, 2) + 0.5
        shapes.append(tuple((float(x), float(y)) for x, y in judged.canvas.back(on_canvas)))
    return Evidence(outlines=tuple(shapes))
