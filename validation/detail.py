"""PURE: the picture's technical quality on the face brought to the standard canvas (validation.canvas)."""

from __future__ import annotations

import cv2
import numpy as np

from validation.canvas import MESH_POINTS, Canvas

# Detail is compared in two bands, by the spread of their Gaussians in canvas pixels (eye distance 113): eyelashes and brows' edges live in the
# fine one, and a lens that is out of focus takes them away before it touches the coarse one.
FINE_DETAIL_PX, COARSE_DETAIL_PX = (1.5, 4.0), (4.0, 8.0)
# The face's own outline is no detail of the face.
DETAIL_MARGIN_PX = 7


def sharpness(face: Canvas) -> float | None:
    """Spread of fine detail / spread of coarse detail over the face: contrast and skin tone cancel out. None without detail or face."""
    outline = np.rint(face.points[:MESH_POINTS]).astype(np.int32)
    region = np.zeros(face.inside.shape, dtype=np.uint8)
    cv2.fillConvexPoly(region, np.asarray(cv2.convexHull(outline)), 255)
    margin = np.ones((2 * DETAIL_MARGIN_PX + 1, 2 * DETAIL_MARGIN_PX + 1), np.uint8)
    region = np.asarray(cv2.erode(region & face.inside, margin, borderValue=0), dtype=np.uint8)
    if not region.any():
        return None
    x, y, width, height = cv2.boundingRect(region)
    window = (slice(y, y + height), slice(x, x + width))
    grey = cv2.cvtColor(face.pixels[window], cv2.COLOR_BGR2GRAY).astype(np.float32)
    inside = region[window] > 0

    def spread(band: tuple[float, float]) -> float:
        low, high = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in band)
        return float((low - high)[inside].std())

    coarse = spread(COARSE_DETAIL_PX)
    return spread(FINE_DETAIL_PX) / coarse if coarse > 0 else None
