"""PURE: what is seen in and around the eyes: open, covered, glasses, reflections, gaze. Measured on the standard canvas.

Covered eyes: the mesh draws lids on whatever covers an eye. Between real lids the light changes along the eye (white, iris, white); a bar, a
disc or a dark lens stays even. Columns across the inner part of the lid gap are compared, so an edge that runs along the lids does not count.
"""

from __future__ import annotations

import cv2
import numpy as np

from validation.canvas import FACE_BELOW_BROWS, Canvas

# From the outer to the inner corner; upper and lower lid are read in pairs.
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
# Part of the lid gap that is read (the mesh's lids are off by a few pixels), columns from corner to corner without the ends, rows.
EYE_INNER_PART = 0.6
EYE_COLUMNS, EYE_COLUMNS_END, EYE_ROWS = 33, 3, 5


def eye_contrast(face: Canvas) -> float | None:
    """(brightest - darkest column between the lids) / median of the face, of the eye where that is smaller; None without a face."""
    grey = np.asarray(cv2.cvtColor(cv2.GaussianBlur(face.pixels, (3, 3), 0), cv2.COLOR_BGR2GRAY), dtype=np.float32)
    across = np.linspace(0, len(UPPER_LIDS[0]) - 1, EYE_COLUMNS)[EYE_COLUMNS_END:-EYE_COLUMNS_END]
    down = np.linspace(0.5 - EYE_INNER_PART / 2, 0.5 + EYE_INNER_PART / 2, EYE_ROWS)[:, None, None]
    whole = grey[face.polygon(FACE_BELOW_BROWS, hull=True) > 0]
    if not whole.size:
        return None
    contrasts = []
    for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        lids = [
            np.column_stack([np.interp(across, np.arange(len(line)), face.points[list(line), axis]) for axis in (0, 1)])
            for line in (upper, lower)
        ]
        where = (lids[0] * (1 - down) + lids[1] * down).astype(np.float32)
        columns = np.median(cv2.remap(grey, where[..., 0], where[..., 1], cv2.INTER_LINEAR), axis=0)
        contrasts.append(float(np.ptp(columns)))
    return min(contrasts) / max(float(np.median(whole)), 1.0)
