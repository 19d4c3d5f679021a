"""PURE: the crop the booth cuts: upright, 35:45, the face in the middle of every band (recipe: docs/rules.md).

Order: eye line and head from the landmarks -> ideal box, lowered where a high crown would touch its top -> the nearest box that the source
can give: never smaller in source pixels than the output (that would be upscaling), never reaching outside the picture. A face too far
away or too near the edge thus gets a crop whose geometry misses the limits, and the geometry rules say so in their own units.
Only small tilts are levelled; a larger one stays and the roll rule refuses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.geometry import Pose, eyes, head_pose, roll_deg
from validation.head import head
from validation.profile import CropRecipe

# Air above the crown / height of the crop: twice what geometry.head_inside asks for. For it the eyes may come down to the second line, well
# inside the band of geometry.vertical.
CROWN_MARGIN = 0.04
LOWEST_EYE_LINE = 0.47


@dataclass(frozen=True, slots=True)
class CropPlan:
    """Where the crop lies in the source. Pure numbers: the same landmarks give the same plan."""

    angle_deg: float  # the head's roll, taken out by the cut (clockwise positive in the image)
    scale: float  # output pixels per source pixel; above 1 the cut is refused
    centre_x: float  # centre of the crop in the source
    centre_y: float
    out_width: int
    out_height: int
    source_width: int
    source_height: int

    def matrix(self) -> NDArray[np.float64]:
        """The 2x3 map from source pixels to crop pixels (pixel centres at .5 in both)."""
        turn = math.radians(-self.angle_deg)
        cos, sin = self.scale * math.cos(turn), self.scale * math.sin(turn)
        linear = np.array([[cos, -sin], [sin, cos]])
        centre = np.array([self.centre_x, self.centre_y])
        shift = np.array([self.out_width / 2, self.out_height / 2]) - linear @ centre
        return np.hstack([linear, shift[:, None]])

    def corners(self) -> tuple[tuple[float, float], ...]:
        """The crop's corners in the source, clockwise from the top left."""
        inverse = np.linalg.inv(np.vstack([self.matrix(), [0, 0, 1]]))
        width, height = self.out_width, self.out_height
        outer = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], dtype=np.float64)
        return tuple((float(x), float(y)) for x, y in (outer @ inverse.T)[:, :2])


def _within(centre: float, half: float, length: float) -> float:
    """The centre moved as little as possible so that centre +- half stays in 0..length."""
    return length / 2 if 2 * half >= length else min(max(centre, half), length - half)


def plan_crop(
    landmarks: NDArray[np.floating],
    source_size: tuple[int, int],
    out_size: tuple[int, int],
    recipe: CropRecipe | None = None,
    *,
    pose: Pose | None = None,
) -> CropPlan:
    """The crop for a face in a source of (width, height), giving (width, height) pixels. `pose`: of `head_pose`, where it is known already."""
    recipe = recipe or CropRecipe()
    width, height = source_size
    out_width, out_height = out_size
    right, left = eyes(landmarks)
    middle = (right + left) / 2
    roll = roll_deg(landmarks)
    angle = roll if abs(roll) <= recipe.level_up_to_deg else 0.0
    turn = math.radians(angle)
    cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
    aspect = out_width / out_height
    # Half extents of the turned box, per pixel of its height.
    half_x, half_y = (aspect * cos + sin) / 2, (aspect * sin + cos) / 2
    largest = min(width / (2 * half_x), height / (2 * half_y))
    whole = head(landmarks, pose or head_pose(landmarks), levelled_deg=angle)
    box_height = max(whole.length_px / recipe.head_height, float(out_height))
    box_height = min(box_height, largest)
    upward = np.array([math.sin(turn), -math.cos(turn)])
    crown = float((whole.crown - middle) @ upward) / box_height
    eye_line = max(recipe.eye_line, min(crown + CROWN_MARGIN, LOWEST_EYE_LINE))
    # From the eye line down to the box's centre, in the source's axes.
    down = (0.5 - eye_line) * box_height
    ideal_x = float(middle[0]) - math.sin(turn) * down
    ideal_y = float(middle[1]) + math.cos(turn) * down
    centre_x = _within(ideal_x, half_x * box_height, width)
    centre_y = _within(ideal_y, half_y * box_height, height)
    return CropPlan(
        angle_deg=angle,
        scale=out_height / box_height,
        centre_x=centre_x,
        centre_y=centre_y,
        out_width=out_width,
        out_height=out_height,
        source_width=width,
        source_height=height,
    )
