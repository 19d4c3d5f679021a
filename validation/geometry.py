"""PURE: measures of the face's shape from 478 landmarks: eyes, lids, mouth, pose. The head around the face: validation/head.py.

Names: M = midpoint of the eye centres, T = distance from M to the chin, IED = distance of the eye centres; an eye's centre is the midpoint
of its two corners (ISO/IEC 39794-5). "Right" is the subject's own right, at the left of the un-mirrored picture. Pixels: x right, y down.
Every ratio is free of scale, position and tilt; angles follow: roll positive when the head tips to the subject's own left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canonical import EYE_DISTANCE_MM, STABLE_POINTS

Points = NDArray[np.floating]

EYE_CORNERS_RIGHT = (33, 133)
EYE_CORNERS_LEFT = (362, 263)
EYE_CORNERS = (*EYE_CORNERS_RIGHT, *EYE_CORNERS_LEFT)
_EYE_CORNERS = np.array(EYE_CORNERS)
_STABLE = list(STABLE_POINTS), np.array(list(STABLE_POINTS.values()))
# TR-03121-3 asks for 70-100 cm between camera and face.
USUAL_DISTANCE_MM = 900.0
LIDS_RIGHT = ((160, 144), (159, 145), (158, 153))
LIDS_LEFT = ((385, 380), (386, 374), (387, 373))
INNER_LIPS = ((81, 178), (13, 14), (311, 402))
CHIN = 152
FOREHEAD_TOP = 10
# Open eyes looking straight show the pupil above the line between the corners, by this share of the inter-eye distance (calibrated:
# tests/bench/pose_calibration.py).
PUPIL_RISE = 0.035


def _distance(a: Points, b: Points) -> float:
    return math.hypot(float(a[0]) - float(b[0]), float(a[1]) - float(b[1]))


def eyes(landmarks: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The eye centres: the subject's right (image left), then left."""
    corners = landmarks[_EYE_CORNERS][:, :2].astype(np.float64)
    return (corners[0] + corners[1]) / 2, (corners[2] + corners[3]) / 2


def eye_midpoint(landmarks: Points) -> NDArray[np.float64]:
    """M."""
    right, left = eyes(landmarks)
    return (right + left) / 2


def inter_eye_px(landmarks: Points) -> float:
    """Distance of the eye centres as seen (a turned head sees it shorter)."""
    right, left = eyes(landmarks)
    return _distance(right, left)


def chin_distance_px(landmarks: Points) -> float:
    """T."""
    return _distance(eye_midpoint(landmarks), landmarks[CHIN])


def pupils(landmarks: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the pupils are when the eyes look straight ahead, whether they are open, closed or covered: right, then left."""
    right, left = eyes(landmarks)
    across = left - right
    rise = np.array([across[1], -across[0]]) * PUPIL_RISE
    return right + rise, left + rise


def roll_deg(landmarks: Points) -> float:
    """Tilt of the eye line."""
    right, left = eyes(landmarks)
    return math.degrees(math.atan2(left[1] - right[1], left[0] - right[0]))


@dataclass(frozen=True, slots=True)
class Pose:
    """Head angles seen from the camera: yaw > 0 to the subject's own left, pitch > 0 chin up, roll > 0 to the own left."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


def size_px(landmarks: Points) -> float:
    """Distance of the eye centres with the mesh's depth: a turned head keeps its size."""
    right_outer, right_inner, left_inner, left_outer = landmarks[_EYE_CORNERS].astype(np.float64).tolist()
    right = [(a + b) / 2 for a, b in zip(right_outer, right_inner, strict=True)]
    left = [(a + b) / 2 for a, b in zip(left_inner, left_outer, strict=True)]
    return math.dist(right, left)


def head_pose(
    landmarks: Points,
    *,
    distance_mm: float = USUAL_DISTANCE_MM,
    focal_px: float | None = None,
    face: Mapping[int, Sequence[float] | NDArray[np.float64]] = STABLE_POINTS,
) -> Pose:
    """Pose of a rigid face by perspective-n-point.

    The view is centred on the face: what counts is whether the head is turned against the line to the camera, and a submitted crop does
    not tell where the optical axis was. Without a known focal length (pixels of this picture) the one is taken at which the face has its
    size at `distance_mm` (TR-03121-3 asks for 70-100 cm); so the angles do not change with the picture's scale. Between 50 and 120 cm
    the readings differ by 1.5 degrees at most. Never the mesh's own depth as the model.
    """
    size = size_px(landmarks)
    focal = focal_px / size if focal_px is not None else distance_mm / EYE_DISTANCE_MM
    index, model = _STABLE if face is STABLE_POINTS else (list(face), np.array(list(face.values()), dtype=np.float64))
    # Around the face's middle and in units of its size: the solver's rounding does not depend on where and how large the face is.
    seen = (landmarks[index][:, :2].astype(np.float64) - eye_midpoint(landmarks)) / size
    camera = np.array([[focal, 0.0, 0.0], [0.0, focal, 0.0], [0.0, 0.0, 1.0]])
    # A refinement afterwards changes the angles by 0.15 degrees at most and no error against the labels; it costs three times as much.
    solved, turn, _ = cv2.solvePnP(model, seen, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not solved or np.size(turn) != 3 or not np.isfinite(turn).all():
        # No head seen from the front gives such landmarks (a mesh gone astray): what is not the front is refused as turned away.
        return Pose(yaw_deg=90.0, pitch_deg=0.0, roll_deg=roll_deg(landmarks))
    # From the camera's axes (y down, z away) to x = subject's left, y = up, z = towards the camera.
    # y and z change their signs, so do what mixes x with them.
    (_, _, x_z), (y_x, y_y, y_z), (_, _, z_z) = cv2.Rodrigues(turn)[0].tolist()
    # rotation = Ry(yaw) Rx(-pitch) Rz(-roll)
    return Pose(
        yaw_deg=math.degrees(math.atan2(-x_z, z_z)),
        pitch_deg=math.degrees(math.asin(min(1.0, max(-1.0, y_z)))),
        roll_deg=math.degrees(math.atan2(y_x, y_y)),
    )


def eye_opening(landmarks: Points) -> float:
    """The smaller eye's largest lid gap / T."""
    gaps = [max(_distance(landmarks[u], landmarks[d]) for u, d in lids) for lids in (LIDS_RIGHT, LIDS_LEFT)]
    return min(gaps) / chin_distance_px(landmarks)


def mouth_opening(landmarks: Points) -> float:
    """The largest gap of the inner lips / T."""
    return max(_distance(landmarks[u], landmarks[d]) for u, d in INNER_LIPS) / chin_distance_px(landmarks)


def moved(landmarks: Points, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Landmarks under a 2x3 similarity; depth is scaled with it."""
    points = np.asarray(landmarks, dtype=np.float64)
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    plane = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return np.column_stack([plane, points[:, 2] * scale]).astype(np.float32)
