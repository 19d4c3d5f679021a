"""PURE: what expression does to a face, as ratios that scale, position and tilt leave alone.

Smile, from one frame: a smile draws the corners of the mouth apart and up and lifts the cheeks towards the lids. The three lengths add up to one
number in % of T; where a relaxed face ends is a limit for the population (docs/rules.md), so a person with a wide mouth lies near it.
Change, from several frames: the mouth and the brows against the median of the person's own relaxed frames; whatever the face's shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from validation.geometry import CHIN, INNER_LIPS, Points, chin_distance_px, eye_midpoint, eyes
from validation.report import Expression

MOUTH_CORNERS = (61, 291)
BROWS = ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282, 295, 285))
# Middle of each lower lid and the cheek below it.
LIDS_AND_CHEEKS = ((145, 50), (374, 280))
PERCENT = 100.0
# Fewer frames of a relaxed face are no measure of it.
LEAST_FRAMES = 5


def expression(landmarks: Points) -> Expression:
    """Mouth width, lift of its corners and height of the brows, each in % of T; `landmarks` (478, 3) in pixels."""
    points = np.asarray(landmarks, dtype=np.float64)[:, :2]
    scale = PERCENT / chin_distance_px(points)
    middle = eye_midpoint(points)
    up = (middle - points[CHIN]) / np.linalg.norm(middle - points[CHIN])
    right, left = points[MOUTH_CORNERS[0]], points[MOUTH_CORNERS[1]]
    lips = points[[INNER_LIPS[1][0], INNER_LIPS[1][1]]].mean(axis=0)
    brows = [(points[list(brow)].mean(axis=0) - eye) @ up for brow, eye in zip(BROWS, eyes(points), strict=True)]
    return Expression(
        mouth_width=float(np.linalg.norm(left - right)) * scale,
        corner_lift=float(((right + left) / 2 - lips) @ up) * scale,
        brow_height=float(np.mean(brows)) * scale,
    )


def smile(landmarks: Points) -> float:
    """Mouth width + lift of its corners - height of the cheeks below the lids, % of T; about 16 relaxed, larger when smiling."""
    points = np.asarray(landmarks, dtype=np.float64)[:, :2]
    seen = expression(points)
    down = (points[CHIN] - eye_midpoint(points)) / chin_distance_px(points) ** 2
    cheeks = float(np.mean([(points[cheek] - points[lid]) @ down for lid, cheek in LIDS_AND_CHEEKS])) * PERCENT
    return seen.mouth_width + seen.corner_lift - cheeks


def change(now: Expression, relaxed: Sequence[Expression]) -> float | None:
    """The largest of the three changes against the person's own relaxed face, % of T; None with too few frames of it."""
    if len(relaxed) < LEAST_FRAMES:
        return None
    own = np.median([(e.mouth_width, e.corner_lift, e.brow_height) for e in relaxed], axis=0)
    return float(np.abs(np.array([now.mouth_width, now.corner_lift, now.brow_height]) - own).max())
