"""PURE: traces that enlarging and JPEG leave on the pixels as they came: squares of one colour, and edges on a grid of eight.

Both are looked for on the unresampled picture, in a window around the middle of the face: what was resampled afterwards has lost them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Side of the window, pixels: dozens of squares and of JPEG blocks, and never a pass over a large picture.
WINDOW_PX = 448
MIN_WINDOW_PX = 40
# A column counts as an edge of squares from this share of the mean step around it.
EDGE_SHARE = 0.35
# What "around it" means: wider than any square that still shows a face.
AROUND_PX = 129
GRID_PX = 8


def face_window(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.float32] | None:
    """Grey levels of the middle of the face, unresampled; None when too little of it is in the picture."""
    points = np.asarray(landmarks, dtype=np.float64)[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    centre, half = (low + high) / 2, np.minimum((high - low) / 2, WINDOW_PX / 2)
    first = np.maximum(np.floor(centre - half).astype(int), 0)
    last = np.minimum(np.ceil(centre + half).astype(int), image.shape[1::-1])
    if np.any(last - first < MIN_WINDOW_PX):
        return None
    window = image[first[1] : last[1], first[0] : last[0]]
    return np.asarray(cv2.cvtColor(window, cv2.COLOR_BGR2GRAY), dtype=np.float32)


def _steps(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean absolute step from each column to the next."""
    return np.asarray(np.abs(np.diff(grey, axis=1)).mean(axis=0), dtype=np.float64)


def square_side(grey: NDArray[np.float32]) -> float:
    """Side of the squares of one colour the picture consists of, in pixels; about 1 when neighbours differ everywhere."""

    def side(steps: NDArray[np.float64]) -> float:
        around = cv2.blur(steps[None, :], (AROUND_PX, 1), borderType=cv2.BORDER_REFLECT)[0]
        edges = float((steps > EDGE_SHARE * around).mean())
        return 1.0 if edges <= 0 else 1 / edges

    return min(side(_steps(grey)), side(_steps(grey.T)))


def blockiness(grey: NDArray[np.float32]) -> float:
    """By how much steps on one of the eight grids of 8 exceed those beside it, as a share of the mean step; 0 without a grid."""

    def excess(steps: NDArray[np.float64]) -> float:
        mean = float(steps.mean())
        if mean <= 0:
            return 0.0
        beyond = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
        return max(float(beyond[phase::GRID_PX].mean()) for phase in range(GRID_PX)) / mean

    return (excess(_steps(grey)) + excess(_steps(grey.T))) / 2
