"""PURE: the whole head from the landmarks of the face: crown, chin, sides, length and width.

The mesh ends near the hair line, so the crown is estimated from a skull of our own. Order: the face's size (eye distance with depth) ->
its pitch -> the top of a ball that stands for the skull's roof, SKULL_DEPTH_MM behind the eyes, turned with the head -> crown.
So the crown of a turned head moves sideways and that of a raised head sinks, as real ones do; twice T does neither.
Pitch has two readers here, because the mesh takes a face with a short nose for a raised one: what perspective-n-point says, corrected by how
far below the eyes this person's nose ends. The chin is the mesh's, unless a cover has drawn the mesh's mouth up to the nose.
Constants are made by tests/bench/pose_calibration.py; docs/rules.md says how well they hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from validation.canonical import EYE_DISTANCE_MM, STABLE_POINTS
from validation.geometry import CHIN, Points, Pose, eye_midpoint, head_pose, size_px

# The ball's middle behind the eyes and its radius: the crowns of heads turned to the side and tipped over.
SKULL_DEPTH_MM: Final = 85.0
SKULL_RADIUS_MM: Final = 76.0
# What the level heads of the rendered applicants read on average.
LEVEL_READING_DEG: Final = 1.3
# The nose ends (under its tip) this far below the eyes, and that far before them.
NOSE_END: Final = 2
NOSE_MM: Final = STABLE_POINTS[NOSE_END][1]
NOSE_DEPTH_MM: Final = STABLE_POINTS[NOSE_END][2]
# People differ by up to this (two standard deviations on real faces); more is a mesh gone astray.
SHAPE_LIMIT_MM: Final = 4.0
PITCH_LIMIT_DEG: Final = 30.0
# The lips' line lies at least this far below the eyes in every uncovered face seen; nearer, the mesh follows a scarf. The chin of the mean
# face then stands for the hidden one.
LIPS: Final = (13, 14)
LIPS_DEPTH_MM: Final = -12.6
SHORTEST_LIPS_MM: Final = 60.0
CHIN_MM: Final = 111.0
# The mesh's sides lie just before the ears, where the head's width is told (ISO/IEC 39794-5: between the ears).
FACE_SIDES: Final = (234, 454)
LEAST_COSINE: Final = 0.5
_READ: Final = [*LIPS, NOSE_END, CHIN, *FACE_SIDES]


@dataclass(frozen=True, slots=True)
class Skull:
    """What is fitted to labelled crowns."""

    crown_mm: float  # above the eye centres of a level head
    shape_deg_per_mm: float  # what each millimetre of a longer nose reads less in pitch


SKULL: Final = Skull(crown_mm=115.0, shape_deg_per_mm=1.25)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A head in pixels of its picture."""

    crown: NDArray[np.float64]  # the highest point of the skull without hair, in the picture
    chin: NDArray[np.float64]
    right: NDArray[np.float64]  # the head's sides: the subject's right, at the picture's left
    left: NDArray[np.float64]
    length_px: float  # chin to crown of the levelled head: the same at every tilt
    width_px: float  # between the ears, straightened by the turn

    def moved(self, matrix: NDArray[np.float64]) -> Head:
        """The same head under a 2x3 similarity."""
        scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
        crown, chin, right, left = (
            point @ matrix[:, :2].T + matrix[:, 2] for point in (self.crown, self.chin, self.right, self.left)
        )
        return Head(crown, chin, right, left, self.length_px * scale, self.width_px * scale)


def _limited(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def _turned_back(height: float, depth: float, pitch_deg: float) -> float:
    """The height below the eyes that a point of this depth (away from the camera) would have in a level head."""
    pitch = math.radians(pitch_deg)
    return (height - depth * math.sin(pitch)) / math.cos(pitch)


def _in_the_picture(pose: Pose) -> tuple[float, float, float]:
    """Radians: the tilt of the face's axis in the picture, then turn and pitch of the face levelled by it.

    The pose tells roll about the head's own axis; how its axis lies in the picture is what stays the same when the picture is turned.
    """
    yaw, pitch, roll = (math.radians(angle) for angle in (pose.yaw_deg, pose.pitch_deg, pose.roll_deg))
    # The face's up and forward directions: second and third column of Ry(yaw) Rx(-pitch) Rz(-roll).
    up_x = math.sin(roll) * math.cos(yaw) - math.cos(roll) * math.sin(pitch) * math.sin(yaw)
    up_y = math.cos(roll) * math.cos(pitch)
    up_z = -math.sin(roll) * math.sin(yaw) - math.cos(roll) * math.sin(pitch) * math.cos(yaw)
    forward_x, forward_y = math.cos(pitch) * math.sin(yaw), math.sin(pitch)
    tilt = math.atan2(up_x, up_y)
    aside = forward_x * math.cos(tilt) - forward_y * math.sin(tilt)
    return tilt, math.asin(_limited(aside, 1.0)), math.asin(_limited(-up_z, 1.0))


def head(landmarks: Points, pose: Pose, *, levelled_deg: float = 0.0, skull: Skull = SKULL) -> Head:
    """The head of a face whose pose (from `head_pose`, not from a calibrated zero) is known.

    `levelled_deg`: by how much the picture will be turned back to be upright; up is then up in that upright picture.
    """
    middle, mm = eye_midpoint(landmarks), size_px(landmarks) / EYE_DISTANCE_MM
    upper_lip, lower_lip, nose_end, chin_seen, right, left = landmarks[_READ][:, :2].astype(np.float64)
    tilt, turn, read = _in_the_picture(pose)
    across, down = np.array([math.cos(tilt), math.sin(tilt)]), np.array([-math.sin(tilt), math.cos(tilt)])

    reading = _limited(math.degrees(read) - LEVEL_READING_DEG, PITCH_LIMIT_DEG)
    lips = float(((upper_lip + lower_lip) / 2 - middle) @ down) / mm
    covered = _turned_back(lips, LIPS_DEPTH_MM, reading) < SHORTEST_LIPS_MM
    nose = float((nose_end - middle) @ down) / mm
    shape = 0.0 if covered else _limited(_turned_back(nose, NOSE_DEPTH_MM, reading) - NOSE_MM, SHAPE_LIMIT_MM)
    pitch = math.radians(_limited(reading + skull.shape_deg_per_mm * shape, PITCH_LIMIT_DEG))

    # Of two heads of one size, the one with the longer face has its eyes higher.
    level = skull.crown_mm - SKULL_RADIUS_MM - shape
    up = level * math.cos(pitch) - SKULL_DEPTH_MM * math.cos(turn) * math.sin(pitch)
    aside = -SKULL_DEPTH_MM * math.sin(turn)
    ball = middle + (aside * across - up * down) * mm
    chin = middle + CHIN_MM * mm * down if covered else chin_seen
    upward = math.radians(levelled_deg)
    crown = ball + SKULL_RADIUS_MM * mm * np.array([math.sin(upward), -math.cos(upward)])
    level_crown = ball - SKULL_RADIUS_MM * mm * down

    width = math.dist(right, left) / max(math.cos(turn), LEAST_COSINE)
    return Head(
        crown=crown,
        chin=chin,
        right=right,
        left=left,
        length_px=math.dist(level_crown, chin),
        width_px=width,
    )


def head_length_px(landmarks: Points) -> float:
    """Chin to crown without hair, estimated; where the pose is known already, `head` is cheaper."""
    return head(landmarks, head_pose(landmarks)).length_px
