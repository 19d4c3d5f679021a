"""PURE: what expression does to a face, as ratios that scale, position and tilt leave alone."""

from __future__ import annotations

import numpy as np

from validation.geometry import CHIN, INNER_LIPS, Points, chin_distance_px, eye_midpoint, eyes
from validation.report import Expression

MOUTH_CORNERS = (61, 291)
BROWS = ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282, 295, 285))
PERCENT = 100.0


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
