"""The rule table: one row per rule, in the order in which they are worth telling the applicant.

A row says what is measured and in which unit, and which advice helps when the value is below or above its band. Limits, levels and sources
are the profile's. A measure answers with a Measured (value and evidence), or with a plain reason why it cannot be judged; it never guesses.
To add a rule: a measure here, a row in RULES, limits in profiles/icao.toml, a name in booth/locale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation import geometry
from validation.context import Judgement
from validation.profile import Profile, load_profile, profile_names
from validation.report import Box, Evidence

__all__ = ["ADVICE_KEYS", "RULES", "Measured", "Profile", "Rule", "load_profile", "profile_names", "text_keys"]

NO_FACE = "no face was found"
NO_ADVICE = "advice.none"
PERCENT = 100.0
# Calibrated, see docs/rules.md: open eyes measured from 0.24, bars, discs and dark glasses over them up to 0.10.
EYE_CONTRAST_LEAST = 0.15


@dataclass(frozen=True, slots=True)
class Measured:
    """A value and what to draw to show it."""

    value: float
    evidence: Evidence | None = None


Measure = Callable[[Judgement], Measured | str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row."""

    id: str
    unit: str
    measure: Measure
    below: str  # advice when the value is below its band, and when it could not be judged
    above: str
    unclear: str = ""  # advice when it could not be judged; empty: that of `below`
    needs_face: bool = True


def _points(points: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> Evidence:
    return Evidence(points=tuple((float(p[0]), float(p[1])) for p in points))


def _single_face(judged: Judgement) -> Measured:
    # A face that only a detector sees and the mesh cannot follow is no face to judge.
    boxes = judged.face_boxes if judged.scene.faces else ()
    drawn = tuple(Box(x=b.x, y=b.y, width=b.width, height=b.height) for b in boxes)
    return Measured(float(len(boxes)), Evidence(boxes=drawn))


def _inter_eye(judged: Judgement) -> Measured:
    # A turned head shows the eyes closer together; the face is not smaller for that (ISO/IEC 29794-5: IED / cos yaw).
    seen = geometry.inter_eye_px(judged.geometry_points)
    straight = seen / max(float(np.cos(np.radians(judged.pose.yaw_deg))), 0.5)
    return Measured(straight, _points(geometry.eyes(judged.face.landmarks)))


def _head_height(judged: Judgement) -> Measured:
    length = geometry.head_length_px(judged.geometry_points)
    points = judged.face.landmarks
    ends = _points([geometry.crown(points), points[geometry.CHIN]])
    return Measured(length / judged.geometry_size[1] * PERCENT, ends)


def _vertical(judged: Judgement) -> Measured:
    middle = geometry.eye_midpoint(judged.geometry_points)
    return Measured(
        float(middle[1]) / judged.geometry_size[1] * PERCENT, _points([geometry.eye_midpoint(judged.face.landmarks)])
    )


def _horizontal(judged: Judgement) -> Measured:
    middle = geometry.eye_midpoint(judged.geometry_points)
    return Measured(
        float(middle[0]) / judged.geometry_size[0] * PERCENT, _points([geometry.eye_midpoint(judged.face.landmarks)])
    )


def _roll(judged: Judgement) -> Measured:
    return Measured(geometry.roll_deg(judged.face.landmarks), _points(geometry.eyes(judged.face.landmarks)))


def _yaw(judged: Judgement) -> Measured:
    return Measured(judged.pose.yaw_deg, _points(judged.face.landmarks[[1, 234, 454]]))


def _pitch(judged: Judgement) -> Measured:
    return Measured(judged.pose.pitch_deg, _points(judged.face.landmarks[[1, geometry.FOREHEAD_TOP, geometry.CHIN]]))


def _eyes_open(judged: Judgement) -> Measured | str:
    lids = [i for pair in (*geometry.LIDS_RIGHT, *geometry.LIDS_LEFT) for i in pair]
    opening = geometry.eye_opening(judged.face.landmarks) * PERCENT
    limits = judged.profile.rules.get("eyes.open")
    if limits is None or limits.limit.holds(opening):  # closed lids need no proof of an eye between them
        contrast = judged.eye_contrast
        if contrast is None:
            return "the face lies outside the picture"
        if contrast < EYE_CONTRAST_LEAST:
            return "no eye is seen between the lids: something covers it (dark glasses, hair, cloth)"
    return Measured(opening, _points(judged.face.landmarks[lids]))


def _mouth_closed(judged: Judgement) -> Measured:
    lips = [i for pair in geometry.INNER_LIPS for i in pair]
    return Measured(geometry.mouth_opening(judged.face.landmarks) * PERCENT, _points(judged.face.landmarks[lips]))


ZONES_CUT_OFF = "forehead, cheeks or chin are cut off by the picture's edge"


def _light_even(judged: Judgement) -> Measured | str:
    if judged.unlit:
        return judged.unlit
    zones = judged.light_zones
    if zones is None:
        return ZONES_CUT_OFF
    return Measured(zones.evenness * PERCENT, _points([np.array(p) for box in zones.boxes for p in box]))


def _light_sides(judged: Judgement) -> Measured | str:
    if judged.unlit:
        return judged.unlit
    zones = judged.light_zones
    if zones is None:
        return ZONES_CUT_OFF
    return Measured(zones.sides * PERCENT, _points([np.array(p) for box in zones.boxes[-2:] for p in box]))


def _background_uniform(judged: Judgement) -> Measured | str:
    roughness = judged.background_roughness
    return _no_background(judged) if roughness is None else Measured(roughness)


def _background_one_colour(judged: Judgement) -> Measured | str:
    share = judged.background_one_colour
    return _no_background(judged) if share is None else Measured(share * PERCENT)


def _no_background(judged: Judgement) -> str:
    if judged.scene.person_mask is None:
        return "the person's outline was not computed"
    return "too little of the background is visible"


def _lower_face_visible(judged: Judgement) -> Measured | str:
    if judged.unlit:
        return judged.unlit
    lower = judged.lower_face
    if isinstance(lower, str):
        return lower
    return Measured(lower.visible * PERCENT, _points(lower.outline))


def _exposure(judged: Judgement) -> Measured | str:
    mean = judged.face_luminance
    return "the face lies outside the picture" if mean is None else Measured(mean * PERCENT)


def _sharp(judged: Judgement) -> Measured | str:
    sharpness = judged.sharpness
    return "the face shows no detail at all" if sharpness is None else Measured(sharpness * PERCENT)


def _image_size(judged: Judgement) -> Measured:
    return Measured(float(judged.geometry_size[1]))


RULES: tuple[Rule, ...] = (
    Rule("face.single", "faces", _single_face, "advice.no_face", "advice.one_person", needs_face=False),
    Rule("geometry.inter_eye", "px", _inter_eye, "advice.closer", "advice.back"),
    Rule("geometry.head_height", "%", _head_height, "advice.closer", "advice.back"),
    # Low numbers are near the top of the picture: the person sits too high.
    Rule("geometry.vertical", "%", _vertical, "advice.down", "advice.up"),
    # Low numbers are at the picture's left, the subject's own right.
    Rule("geometry.horizontal", "%", _horizontal, "advice.left", "advice.right"),
    Rule("pose.roll", "°", _roll, "advice.tilt_head_left", "advice.tilt_head_right"),
    Rule("pose.yaw", "°", _yaw, "advice.turn_head_left", "advice.turn_head_right"),
    Rule("pose.pitch", "°", _pitch, "advice.chin_up", "advice.chin_down"),
    Rule(
        "eyes.open", "% of eye-chin", _eyes_open, "advice.open_eyes", "advice.open_eyes", unclear="advice.uncover_face"
    ),
    Rule("mouth.closed", "% of eye-chin", _mouth_closed, "advice.close_mouth", "advice.close_mouth"),
    Rule("light.even", "%", _light_even, "advice.light_problem", "advice.light_problem"),
    Rule("light.sides", "%", _light_sides, "advice.light_problem", "advice.light_problem"),
    Rule("background.uniform", "", _background_uniform, "advice.background_problem", "advice.background_problem"),
    Rule(
        "background.one_colour", "%", _background_one_colour, "advice.background_problem", "advice.background_problem"
    ),
    Rule("face.lower_visible", "%", _lower_face_visible, "advice.uncover_face", "advice.uncover_face"),
    Rule("light.exposure", "%", _exposure, "advice.light_problem", "advice.light_problem"),
    Rule("image.sharp", "%", _sharp, "advice.camera_problem", "advice.camera_problem"),
    Rule("image.size", "px", _image_size, "advice.closer", NO_ADVICE, needs_face=False),
)

ADVICE_KEYS: frozenset[str] = frozenset(key for rule in RULES for key in (rule.below, rule.above, rule.unclear)) - {
    NO_ADVICE,
    "",
}


def text_keys() -> frozenset[str]:
    """Every message key that findings can show: a catalogue without one of them is incomplete."""
    return ADVICE_KEYS | {f"rule.{rule.id}.name" for rule in RULES}
