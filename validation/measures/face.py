"""Measures of mouth, expression and what covers the face. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

import numpy as np

from validation import expression, geometry, head_cover, mouth
from validation.context import Judgement
from validation.measured import NEEDS_FRAMES, PERCENT, Draw, Measured, outlines, points
from validation.report import Level

INNER_LIPS = tuple(i for pair in geometry.INNER_LIPS for i in pair)
MOUTH_COVERED = "the mouth is covered"


def _covered(judged: Judgement) -> bool:
    """Whether the lower face is refused as covered: the mesh draws lips on a mask too."""
    limits = judged.profile.rules.get("face.lower_visible")
    if limits is None or limits.level is not Level.REJECT or judged.unlit or isinstance(judged.lower_face, str):
        return False
    return not limits.limit.holds(judged.lower_face.visible * PERCENT)


def _lips(judged: Judgement) -> Draw:
    return points(lambda: judged.face.landmarks[list(mouth.INNER_LIPS_RING)])


def mouth_closed(judged: Judgement) -> Measured | str:
    """Gap of the inner lips / T."""
    if _covered(judged):
        return MOUTH_COVERED
    gap = geometry.mouth_opening(judged.face.landmarks)
    return Measured(gap * PERCENT, points(lambda: judged.face.landmarks[list(INNER_LIPS)]))


def lip_gap(judged: Judgement) -> Measured | str:
    """Gap of the inner lips / thickness of the lower lip."""
    if _covered(judged):
        return MOUTH_COVERED
    return Measured(mouth.lip_gap(judged.face.landmarks) * PERCENT, _lips(judged))


def teeth(judged: Judgement) -> Measured | str:
    """Share of the mouth that shows teeth."""
    if _covered(judged):
        return MOUTH_COVERED
    found = mouth.teeth(judged.canvas)
    if isinstance(found, str):
        return found
    if not found.share:
        return Measured(0.0, _lips(judged))
    mask = np.zeros_like(judged.canvas.inside)
    mask[found.window] = found.mask
    return Measured(found.share * PERCENT, outlines(judged, mask))


def smile(judged: Judgement) -> Measured | str:
    """Mouth width, corner lift and raised cheeks, in one frame."""
    if _covered(judged):
        return MOUTH_COVERED
    drawn = [*expression.MOUTH_CORNERS, *(i for pair in expression.LIDS_AND_CHEEKS for i in pair)]
    return Measured(expression.smile(judged.face.landmarks), points(judged.face.landmarks[drawn]))


def _cover(judged: Judgement, seen: head_cover.Seen | str) -> Measured | str:
    if judged.unlit:
        return judged.unlit
    return seen if isinstance(seen, str) else Measured(seen.visible * PERCENT, outlines(judged, seen.covered))


def forehead_visible(judged: Judgement) -> Measured | str:
    """Share of the forehead that shows skin; drawn is what hides the rest."""
    return _cover(judged, head_cover.forehead(judged.canvas))


def sides_visible(judged: Judgement) -> Measured | str:
    """Share of the face's edges that shows skin, on the worse side; drawn is what hides the rest."""
    return _cover(judged, head_cover.sides(judged.canvas))


def expression_change(judged: Judgement) -> Measured | str:
    """Largest change of mouth and brows against the person's own relaxed frames."""
    value = None
    if judged.series is not None:
        value = expression.change(expression.expression(judged.face.landmarks), judged.series.relaxed)
    if value is None:
        return NEEDS_FRAMES
    drawn = [*expression.MOUTH_CORNERS, *(i for brow in expression.BROWS for i in brow)]
    return Measured(value, points(judged.face.landmarks[drawn]))


def lower_visible(judged: Judgement) -> Measured | str:
    """Share of the lower face that shows skin."""
    if judged.unlit:
        return judged.unlit
    lower = judged.lower_face
    if isinstance(lower, str):
        return lower
    return Measured(lower.visible * PERCENT, points(lower.outline))
