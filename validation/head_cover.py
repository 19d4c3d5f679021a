"""PURE: forehead and edges of the face: what a hat, a fringe, a scarf, hair or headphones hide of them.

Seen is what has the chromaticity of the person's own skin (validation.own_skin) and is not much darker than it: dark hair has the chromaticity of
skin. Forehead: its middle, from the brows to the top of the mesh, which ends below the hair line; so a cap, a headscarf or a turban that
leaves the forehead free counts for nothing. Sides: a strip along each edge of the face from temple to jaw, the worse side counts; each
is compared with the skin of its own side, so light from one side is no cover, and with that of the other or of the
forehead when its own is hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import CANVAS_EYE_DISTANCE_PX, Canvas
from validation.own_skin import (
    ABOVE_NOSE,
    LEFT_CHEEK,
    NO_COLOUR,
    RIGHT_CHEEK,
    SHRINK,
    UNDER_LEFT_EYE,
    UNDER_RIGHT_EYE,
    SkinWindow,
    skin_window,
)

FOREHEAD = (67, 109, 10, 338, 297, 299, 337, 9, 108, 69)
RIGHT_EDGE, LEFT_EDGE = (127, 234, 93, 132), (356, 454, 323, 361)
RIGHT_SKIN, LEFT_SKIN = (RIGHT_CHEEK, UNDER_RIGHT_EYE), (LEFT_CHEEK, UNDER_LEFT_EYE)
# The strip: from where to where inside the mesh's edge, in eye distances (the mesh's edge lies on hair or wall by a few pixels).
STRIP_FROM, STRIP_TO = 0.03, 0.16
# Calibrated, see docs/rules.md: part of the reference skin's luminance below which it is hair or a hat's shadow.
FOREHEAD_LIGHT, SIDE_LIGHT = 0.40, 0.25
# Part of the brightest reference's luminance below which a reference is hair or cloth (skin lit from one side: mostly above it).
REFERENCE_LIGHT = 0.15
LEAST_INSIDE = 0.9
OUTSIDE = "a part of the face lies outside the picture"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Share of a part of the face that shows skin, 0..1, and a mask of the rest of it on the canvas."""

    visible: float
    covered: NDArray[np.uint8]


def _seen(
    window: SkinWindow,
    face: Canvas,
    zone: NDArray[np.float64],
    skins: tuple[tuple[tuple[int, ...], ...], ...],
    light: float,
) -> tuple[float, NDArray[np.uint8]] | str:
    """Share of a zone that looks like skin and the rest of it; `skins` are groups of places, the first that shows skin counts."""
    mask = window.polygon(zone)
    if np.count_nonzero(mask) * SHRINK**2 < LEAST_INSIDE * cv2.contourArea(zone.astype(np.float32)) or not mask.any():
        return OUTSIDE
    where = mask > 0
    groups = [[k for p in group if (k := window.skin(face.points[list(p)]))] for group in (*skins, (ABOVE_NOSE,))]
    brightest = max((k.luminance for k in (*groups[0], *groups[-1])), default=0.0)
    groups = [[k for k in group if k.luminance > REFERENCE_LIGHT * brightest] for group in groups]
    references = next((group for group in groups if group), [])
    if not references:
        return NO_COLOUR
    found = np.zeros(np.count_nonzero(where), dtype=bool)
    for skin in references:
        found |= window.like(skin, where) & (window.luminance[where] > light * skin.luminance)
    mask[where] = ~found * np.uint8(255)
    return float(found.mean()), mask


def forehead(face: Canvas) -> Seen | str:
    """How much of the forehead is seen, or why it cannot be told."""
    skins = (*RIGHT_SKIN, *LEFT_SKIN)
    window = skin_window(face, face.points[[*FOREHEAD, *(i for place in (*skins, ABOVE_NOSE) for i in place)]])
    found = _seen(window, face, face.points[list(FOREHEAD)], (skins,), FOREHEAD_LIGHT)
    if isinstance(found, str):
        return found
    return Seen(found[0], window.on_canvas(found[1], face.pixels.shape[0]))


def sides(face: Canvas) -> Seen | str:
    """How much of the edges of the face is seen, on the side where that is less, or why it cannot be told."""
    skins = (*RIGHT_SKIN, *LEFT_SKIN)
    places = [*RIGHT_EDGE, *LEFT_EDGE, *(i for place in (*skins, ABOVE_NOSE) for i in place)]
    window = skin_window(face, face.points[places])
    visible, covered = 1.0, np.zeros(window.inside.shape, dtype=np.uint8)
    for edge, own, other, inwards in ((RIGHT_EDGE, RIGHT_SKIN, LEFT_SKIN, 1), (LEFT_EDGE, LEFT_SKIN, RIGHT_SKIN, -1)):
        line = face.points[list(edge)]
        near, far = (np.array([inwards * part * CANVAS_EYE_DISTANCE_PX, 0.0]) for part in (STRIP_FROM, STRIP_TO))
        found = _seen(window, face, np.vstack([line + near, (line + far)[::-1]]), (own, other), SIDE_LIGHT)
        if isinstance(found, str):
            return found
        visible = min(visible, found[0])
        covered |= found[1]
    return Seen(visible, window.on_canvas(covered, face.pixels.shape[0]))
