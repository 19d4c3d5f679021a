"""PURE: how level the shoulders are, from the person's outline: the face mesh has none."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from validation.geometry import CHIN, Points, chin_distance_px, eye_midpoint

# Where the outline of a shoulder is read, in T (eyes to chin) beside the middle of the eyes: outside the neck, inside a portrait of 35:45.
BESIDE = 0.9
PERSON_FROM = 128
NOT_SHOWN = "the shoulders are not in the picture"
COVERED = "hair or clothes hide where the shoulders begin"


def shoulder_points(person_mask: NDArray[np.uint8], landmarks: Points) -> NDArray[np.float64] | str:
    """Highest points (x, y) of both shoulders in pixels, the subject's right first; `person_mask` (H, W), 255 = person."""
    height, width = person_mask.shape
    middle, reach = eye_midpoint(landmarks), BESIDE * chin_distance_px(landmarks)
    found = []
    for x in (float(middle[0]) - reach, float(middle[0]) + reach):
        if not 0 <= round(x) < width:
            return NOT_SHOWN
        nobody = np.flatnonzero(person_mask[:, round(x)] < PERSON_FROM)
        if nobody.size and nobody[-1] == height - 1:
            return NOT_SHOWN
        top = int(nobody[-1]) + 1 if nobody.size else 0
        if top < float(landmarks[CHIN, 1]) - reach / 2:
            return COVERED
        found.append((x, float(top)))
    return np.array(found)


def shoulder_tilt_deg(points: NDArray[np.float64]) -> float:
    """Tilt of the line between both shoulders, positive when the subject's own left one is lower."""
    (right_x, right_y), (left_x, left_y) = points.tolist()
    return math.degrees(math.atan2(left_y - right_y, left_x - right_x))
