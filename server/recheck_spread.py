"""How far a second opinion may lie from the first when nothing is wrong: values for each rule, in the rule's unit. PURE.

The booth judges the uncompressed pixels of its cut, the desk the JPEG that was made of them. SPREAD is the largest difference that this alone made.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Measured over the rendered applicants: `python -m tests.bench.recheck_spread` prints this table.
SPREAD: Mapping[str, float] = MappingProxyType(
    {
        "background.colour": 0.0301,
        "background.contrast": 0.21,
        "background.lightness": 0.0793,
        "background.objects": 0,
        "background.one_colour": 0.182,
        "background.shadow": 0.0905,
        "background.uniform": 0.00355,
        "expression.smile": 1.27,
        "eyes.dark_lenses": 3.51,
        "eyes.frames": 0,
        "eyes.gaze": 0.972,
        "eyes.glasses": 0.68,
        "eyes.hair": 1.43,
        "eyes.open": 0.242,
        "eyes.red": 5.69,
        "eyes.reflection": 0,
        "eyes.visible": 1.8,
        "face.forehead_visible": 1.33,
        "face.lower_visible": 0.721,
        "face.sides_visible": 10.1,
        "face.single": 0,
        "geometry.head_height": 0.43,
        "geometry.head_inside": 0.464,
        "geometry.head_width": 0.167,
        "geometry.horizontal": 0.0868,
        "geometry.inter_eye": 1.95,
        "geometry.vertical": 0.0471,
        "image.aspect": 0,
        "image.blocks": 13.9,
        "image.colour_space": 0,
        "image.motion": 0.444,
        "image.noise": 0.0816,
        "image.pixelated": 0,
        "image.sharp": 0.304,
        "image.size": 0,
        "image.upright": 0,
        "light.entropy": 0.0188,
        "light.even": 0.762,
        "light.exposure": 0.0496,
        "light.grey_levels": 8,
        "light.hot_spots": 0,
        "light.natural_colour": 0,
        "light.overexposed": 0.000987,
        "light.shadows": 1.34,
        "light.sides": 0.468,
        "light.underexposed": 0.0552,
        "mouth.closed": 0.766,
        "mouth.lip_gap": 6.41,
        "mouth.teeth": 0.0281,
        "pose.pitch": 0.409,
        "pose.roll": 0.345,
        "pose.shoulders": 1.4,
        "pose.yaw": 0.821,
    }
)
# Other libraries and processors round otherwise: as much again, twice. Below LEAST nothing is read off a value as pages show it.
MARGIN, LEAST = 3.0, 0.05


def tolerance(rule: str) -> float | None:
    """The largest difference that says nothing; None for a rule that was not measured."""
    spread = SPREAD.get(rule)
    return None if spread is None else max(MARGIN * spread, LEAST)
