"""Measures of the eyes and of what covers them. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from validation import eye_cover, eyes, eyewear, geometry
from validation.canvas import CANVAS_SIDE, Image
from validation.context import Judgement
from validation.eyes import Box, EyeZones
from validation.measured import CUT_OFF, PERCENT, Draw, Measured, outlines, points
from validation.occlusion import CHEEKS_VISIBLE_FROM
from validation.report import Evidence

NOT_SEEN = "no eye is seen between the lids: something covers it (dark glasses, hair, cloth)"
CLOSED = "the eyes are closed or nearly closed"
TOO_DARK = "the face is far too dark to judge this"
TOO_BRIGHT = "the face is far too bright to judge this"


def _allowed(judged: Judgement, rule: str, value: float) -> bool:
    limits = judged.profile.rules.get(rule)
    return limits is None or limits.limit.holds(value)


def _zone_masks(zones: EyeZones, masks: tuple[NDArray[np.bool_] | NDArray[np.uint8] | None, ...]) -> Image:
    """Masks of both zones on one canvas."""
    whole = np.zeros((CANVAS_SIDE, CANVAS_SIDE), np.uint8)
    for zone, mask in zip(zones.both, masks, strict=True):
        if mask is not None:
            x0, y0, x1, y1 = zone.box
            whole[y0:y1, x0:x1][np.asarray(mask, dtype=np.bool_)] = 255
    return whole


def _closed_lines(judged: Judgement, lines: Iterable[NDArray[np.float64]]) -> Draw:
    """Closed polygons on the canvas, drawn on the judged picture."""
    return lambda: Evidence(
        outlines=tuple(tuple((float(x), float(y)) for x, y in judged.canvas.back(line)) for line in lines)
    )


def _canvas_boxes(judged: Judgement, boxes: Iterable[Box]) -> Draw:
    corners = [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) for x0, y0, x1, y1 in boxes]
    return _closed_lines(judged, corners)


def opening(judged: Judgement) -> Measured | str:
    """Lid gap of the less open eye / T."""
    lids = [i for pair in (*geometry.LIDS_RIGHT, *geometry.LIDS_LEFT) for i in pair]
    opening = geometry.eye_opening(judged.face.landmarks) * PERCENT
    if _allowed(judged, "eyes.open", opening):  # closed lids need no proof of an eye between them
        if judged.eye_zones is None:
            return CUT_OFF
        if not all(judged.eyes_seen):
            return NOT_SEEN
    return Measured(opening, points(lambda: judged.face.landmarks[lids]))


def dark_lenses(judged: Judgement) -> Measured | str:
    """Light of the eye's zone / light of the face."""
    zones = judged.eye_zones
    if zones is None:
        return CUT_OFF
    share = judged.lens_light
    if judged.unlit:
        return judged.unlit
    return (
        TOO_DARK
        if share is None
        else Measured(share * PERCENT, _canvas_boxes(judged, (zone.box for zone in zones.both)))
    )


def reflection(judged: Judgement) -> Measured | str:
    """Share of both zones that reflections cover."""
    zones = judged.eye_zones
    if zones is None:
        return CUT_OFF
    spots = judged.reflections
    if spots is None:
        return TOO_BRIGHT
    covered = sum(int(np.count_nonzero(spot)) for spot in spots)
    evidence = outlines(judged, _zone_masks(zones, spots)) if covered else None
    return Measured(covered / sum(spot.size for spot in spots) * PERCENT, evidence)


def glasses(judged: Judgement) -> Measured | str:
    """How strongly a frame shows across the nose and under both eyes."""
    rims = judged.rims
    if rims is None:
        return CUT_OFF
    value = rims.strength * PERCENT
    if _allowed(judged, "eyes.glasses", value):
        return Measured(value)
    return Measured(value, _closed_lines(judged, [np.vstack([path, path[::-1]]) for path in rims.paths]))


def frames(judged: Judgement) -> Measured | str:
    """Share of the free zone around the eye that a frame covers, or what its thickness counts; 0 without glasses."""
    zones, rims = judged.eye_zones, judged.rims
    if zones is None or rims is None:
        return CUT_OFF
    if _allowed(judged, "eyes.glasses", rims.strength * PERCENT):
        return Measured(0.0)
    if judged.unlit:
        return judged.unlit
    share, mask = eyewear.heaviness(judged.canvas, zones, rims)
    return Measured(share * PERCENT, outlines(judged, mask))


def hair(judged: Judgement) -> Measured | str:
    """How strongly strands show across the worse eye."""
    found = eye_cover.strands(judged.canvas)
    if found is None:
        return CUT_OFF
    return Measured(found.strength * PERCENT, _canvas_boxes(judged, found.bands))


def _tinted(judged: Judgement, zones: EyeZones) -> bool:
    """Whether lenses change the colour of the skin behind them; not told where the cheeks to compare with are covered."""
    lower = judged.lower_face
    if isinstance(lower, str) or lower.visible < CHEEKS_VISIBLE_FROM:
        return False
    tint = eyewear.lens_tint(zones)
    return tint is not None and tint < eyewear.TINTED_BELOW


def visible(judged: Judgement) -> Measured | str:
    """Covered share of the worse eye's zone."""
    zones = judged.eye_zones
    if zones is None:
        return CUT_OFF
    share = judged.lens_light
    if share is None or judged.unlit:
        return judged.unlit or TOO_DARK
    dark = not _allowed(judged, "eyes.dark_lenses", share * PERCENT) or _tinted(judged, zones)
    closed = not _allowed(judged, "eyes.open", geometry.eye_opening(judged.face.landmarks) * PERCENT)
    seen = (True, True) if closed else judged.eyes_seen
    covered, masks = eye_cover.covered(zones, seen=seen, spots=judged.reflections, dark_lenses=dark)
    return Measured(covered * PERCENT, outlines(judged, _zone_masks(zones, masks)))


def _irises_hidden(judged: Judgement) -> str | None:
    """Why nothing can be said about the irises, if so."""
    if judged.eye_zones is None:
        return CUT_OFF
    if not _allowed(judged, "eyes.open", geometry.eye_opening(judged.face.landmarks) * PERCENT):
        return CLOSED
    if not all(judged.eyes_seen):
        return NOT_SEEN
    spots = judged.reflections
    if spots is not None and any(
        np.count_nonzero(spot & zone.iris) > np.count_nonzero(zone.iris) / 2
        for spot, zone in zip(spots, judged.eye_zones.both, strict=True)
    ):
        return "reflections hide the eyes"
    return None


def gaze(judged: Judgement) -> Measured | str:
    """Angle between the line of sight and the camera."""
    hidden = _irises_hidden(judged)
    zones = judged.eye_zones
    if hidden or zones is None:
        return hidden or CUT_OFF
    angle = eyes.gaze_deg(judged.canvas.points, zones, judged.pose.yaw_deg)
    irises = [judged.face.landmarks[iris[0]] for iris in eyes.IRISES]
    corners = [judged.face.landmarks[i] for i in (*geometry.EYE_CORNERS_RIGHT, *geometry.EYE_CORNERS_LEFT)]
    return Measured(angle, points([*irises, *corners]))


def red(judged: Judgement) -> Measured | str:
    """Red share of the redder iris."""
    hidden = _irises_hidden(judged)
    zones = judged.eye_zones
    if hidden or zones is None:
        return hidden or CUT_OFF
    if judged.unlit:
        return judged.unlit
    found = eyes.red_share(zones)
    if found is None:
        return CLOSED
    share, masks = found
    return Measured(share * PERCENT, outlines(judged, _zone_masks(zones, masks)) if share else None)
