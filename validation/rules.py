"""The rule table: one row per rule, in the order in which they are worth telling the applicant.

A row says what is measured and in which unit, and which advice helps when the value is below or above its band. Limits, levels and sources
are the profile's. A measure answers with a Measured (value and evidence), or with a plain reason why it cannot be judged; it never guesses.
To add a rule: a measure in validation/measures, a row here, limits in profiles/icao.toml, names and texts in booth/locale and server/locale.
"""

from __future__ import annotations

from dataclasses import dataclass

from validation.measured import NO_FACE, Measure, Measured
from validation.measures import background, eyes, face, geometry, image, light
from validation.profile import Profile, load_profile, profile_names

__all__ = [
    "ADVICE_KEYS",
    "NO_ADVICE",
    "NO_FACE",
    "RULES",
    "TURN_PHOTO",
    "Measured",
    "Profile",
    "Rule",
    "load_profile",
    "profile_names",
    "text_keys",
]

NO_ADVICE = "advice.none"
TURN_PHOTO = "advice.turn_photo"


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
    live: bool = True  # a preview frame can be judged by it
    outline: bool = False  # it looks beside the person: on preview frames it is judged with each new outline


RULES: tuple[Rule, ...] = (
    # Before anything else: of a photo that is not upright nothing about the face is judged.
    Rule("image.upright", "°", geometry.upright, "advice.no_face", TURN_PHOTO, needs_face=False, live=False),
    Rule("face.single", "faces", geometry.single_face, "advice.no_face", "advice.one_person", needs_face=False),
    Rule("geometry.inter_eye", "px", geometry.inter_eye, "advice.closer", "advice.back"),
    Rule("geometry.head_height", "%", geometry.head_height, "advice.closer", "advice.back"),
    # Low numbers are near the top of the picture: the person sits too high.
    Rule("geometry.vertical", "%", geometry.vertical, "advice.down", "advice.up"),
    # Low numbers are at the picture's left, the subject's own right.
    Rule("geometry.horizontal", "%", geometry.horizontal, "advice.left", "advice.right"),
    Rule("geometry.head_width", "%", geometry.head_width, "advice.closer", "advice.back"),
    Rule("geometry.head_inside", "%", geometry.head_inside, "advice.back", NO_ADVICE),
    Rule("pose.roll", "°", geometry.roll, "advice.tilt_head_left", "advice.tilt_head_right"),
    Rule("pose.yaw", "°", geometry.yaw, "advice.turn_head_left", "advice.turn_head_right"),
    Rule("pose.pitch", "°", geometry.pitch, "advice.chin_up", "advice.chin_down"),
    Rule("pose.pitch_median", "°", geometry.pitch_median, "advice.chin_up", "advice.chin_down", unclear=NO_ADVICE),
    Rule("pose.shoulders", "°", geometry.shoulder_tilt, NO_ADVICE, NO_ADVICE, live=False),
    # Without light enough nothing is seen behind a lens or on it. Where an eye does not show, the refusing rules of the eyes say what to do.
    Rule(
        "eyes.dark_lenses",
        "%",
        eyes.dark_lenses,
        "advice.take_off_glasses",
        "advice.take_off_glasses",
        unclear="advice.light_problem",
    ),
    Rule(
        "eyes.open",
        "% of eye-chin",
        eyes.opening,
        "advice.open_eyes",
        "advice.open_eyes",
        unclear="advice.uncover_face",
    ),
    Rule("eyes.glasses", "%", eyes.glasses, "advice.take_off_glasses", "advice.take_off_glasses", unclear=NO_ADVICE),
    Rule(
        "eyes.reflection",
        "%",
        eyes.reflection,
        "advice.take_off_glasses",
        "advice.take_off_glasses",
        unclear="advice.light_problem",
    ),
    Rule("eyes.frames", "%", eyes.frames, "advice.take_off_glasses", "advice.take_off_glasses", unclear=NO_ADVICE),
    Rule("eyes.hair", "%", eyes.hair, "advice.hair_from_eyes", "advice.hair_from_eyes", unclear=NO_ADVICE),
    Rule("eyes.gaze", "°", eyes.gaze, "advice.look_here", "advice.look_here", unclear=NO_ADVICE),
    Rule("eyes.red", "%", eyes.red, "advice.light_problem", "advice.light_problem", unclear=NO_ADVICE),
    Rule("eyes.visible", "%", eyes.visible, "advice.uncover_face", "advice.uncover_face", unclear=NO_ADVICE),
    Rule("face.lower_visible", "%", face.lower_visible, "advice.uncover_face", "advice.uncover_face"),
    Rule("face.forehead_visible", "%", face.forehead_visible, "advice.take_off_hat", "advice.take_off_hat"),
    Rule("face.sides_visible", "%", face.sides_visible, "advice.uncover_face", "advice.uncover_face"),
    Rule(
        "mouth.closed",
        "% of eye-chin",
        face.mouth_closed,
        "advice.close_mouth",
        "advice.close_mouth",
        unclear="advice.uncover_face",
    ),
    Rule("mouth.lip_gap", "%", face.lip_gap, "advice.close_mouth", "advice.close_mouth", unclear="advice.uncover_face"),
    Rule("mouth.teeth", "%", face.teeth, "advice.close_mouth", "advice.close_mouth", unclear="advice.uncover_face"),
    Rule("expression.smile", "% of eye-chin", face.smile, "advice.relax_face", "advice.relax_face"),
    Rule("expression.change", "% of eye-chin", face.expression_change, "advice.relax_face", "advice.relax_face"),
    Rule("light.exposure", "%", light.exposure, "advice.light_problem", "advice.light_problem"),
    Rule("light.overexposed", "%", light.overexposed, "advice.light_problem", "advice.light_problem"),
    Rule("light.underexposed", "%", light.underexposed, "advice.light_problem", "advice.light_problem"),
    Rule("light.even", "%", light.even, "advice.light_problem", "advice.light_problem"),
    Rule("light.sides", "%", light.sides, "advice.light_problem", "advice.light_problem"),
    Rule("light.shadows", "%", light.shadows, "advice.light_problem", "advice.light_problem"),
    Rule("light.hot_spots", "% of skin", light.hot_spots, "advice.light_problem", "advice.light_problem"),
    Rule(
        "light.natural_colour",
        "CIELAB",
        light.natural_colour,
        "advice.light_problem",
        "advice.light_problem",
        unclear="advice.uncover_face",
        outline=True,
    ),
    Rule("light.grey_levels", "levels", light.grey_levels, "advice.light_problem", "advice.light_problem"),
    Rule("light.entropy", "bit", light.entropy, "advice.light_problem", "advice.light_problem"),
    Rule(
        "background.uniform",
        "L*",
        background.uniform,
        "advice.background_problem",
        "advice.background_problem",
        outline=True,
    ),
    Rule(
        "background.colour",
        "CIELAB",
        background.colour,
        "advice.background_problem",
        "advice.background_problem",
        outline=True,
    ),
    Rule(
        "background.lightness",
        "L*",
        background.lightness,
        "advice.background_problem",
        "advice.background_problem",
        outline=True,
    ),
    Rule(
        "background.one_colour",
        "CIELAB",
        background.one_colour,
        "advice.background_problem",
        "advice.background_problem",
        outline=True,
    ),
    Rule(
        "background.shadow",
        "%",
        background.shadow,
        "advice.background_problem",
        "advice.background_problem",
        outline=True,
    ),
    Rule(
        "background.objects",
        "% of head",
        background.objects,
        "advice.background_problem",
        "advice.background_problem",
        outline=True,
    ),
    Rule(
        "background.contrast",
        "CIELAB",
        background.contrast,
        "advice.background_problem",
        "advice.background_problem",
        outline=True,
    ),
    Rule("image.sharp", "%", image.sharp, "advice.camera_problem", NO_ADVICE),
    Rule("image.motion", "%", image.motion, "advice.hold_still", NO_ADVICE),
    Rule("image.pixelated", "px", image.pixelated, NO_ADVICE, "advice.camera_problem", live=False),
    Rule("image.blocks", "%", image.blocks, NO_ADVICE, "advice.camera_problem", live=False),
    Rule("image.compression", "", image.compression, NO_ADVICE, "advice.camera_problem", needs_face=False, live=False),
    Rule("image.noise", "grey levels", image.noise, NO_ADVICE, "advice.camera_problem"),
    Rule("image.upscaled", "%", image.upscaled, NO_ADVICE, "advice.closer"),
    Rule("image.size", "px", image.size, "advice.closer", NO_ADVICE, needs_face=False, live=False),
    Rule(
        "image.aspect",
        "%",
        image.aspect,
        "advice.camera_problem",
        "advice.camera_problem",
        needs_face=False,
        live=False,
    ),
    Rule(
        "image.colour_space", "", image.colour_space, NO_ADVICE, "advice.camera_problem", needs_face=False, live=False
    ),
)

ADVICE_KEYS: frozenset[str] = frozenset(key for rule in RULES for key in (rule.below, rule.above, rule.unclear)) - {
    NO_ADVICE,
    "",
}


def text_keys() -> frozenset[str]:
    """Every message key that findings can show: a catalogue without one of them is incomplete."""
    return ADVICE_KEYS | {f"rule.{rule.id}.name" for rule in RULES}
