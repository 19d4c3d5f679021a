"""PURE: what covers the eyes that is no pair of glasses: strands of hair, bars, cloth; and how much of the zone is covered in all.

Hair: a strand that crosses an eye is seen twice, as a thin line across the skin above the upper lid and across the skin below the lower
lid. Lashes, wrinkles and brows show in one of the two bands or lie along it; a frame's rims run along both. Lines steeper than 30 degrees
count, dark or bright, as a share of the light around them; the weaker of both bands counts, of the worse eye.

Visible: the share of the EVZ (ISO/IEC 29794-5 eyes visible) that shows neither skin nor an eye: pixels beside the opened eye that are much darker
than the skin there, the opening itself when no eye is seen between the lids, reflections, and everything behind a dark or tinted lens.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import Canvas, Image
from validation.eyes import LID_RINGS, Box, EyeZones, ranked

# Bands above and below the lids, canvas px (eye distance 113): clear of lashes, below the brow; margin beside the corners.
ABOVE_FROM, ABOVE_TO = -14, -3
BELOW_FROM, BELOW_TO = 5, 19
BAND_ACROSS = 5
SLANTS = (-0.6, -0.3, 0.0, 0.3, 0.6)  # columns per row
STRAND_LINE = 15  # strands up to this many pixels wide
STRAND_ROWS = 25  # percentile of the rows that must show the line
STRONGEST_COLUMNS = 3
LEAST_LIGHT = 4  # levels of 255
# Covered: darker than this part of the skin beside the eye, which itself counts as half to all as bright as the cheek.
COVER_DARK, SOCKET_LEAST = 0.5, 0.5
SKIN_PERCENTILE = 60


@dataclass(frozen=True, slots=True)
class Strands:
    """How strongly strands show over the worse eye, 0 to about 1.5, and the bands they were looked for in, on the canvas."""

    strength: float
    bands: tuple[Box, ...]


def _band(face: Canvas, box: Box) -> float | None:
    x0, y0, x1, y1 = box
    if x0 < 0 or y0 < 0 or not face.inside[y0:y1, x0:x1].all() or min(x1 - x0, y1 - y0) < STRONGEST_COLUMNS:
        return None
    grey = np.asarray(cv2.cvtColor(face.pixels[y0:y1, x0:x1], cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    height, width = grey.shape
    # The band sheared by every slant, side by side with margins: upright lines are those of that slant.
    wide = np.arange(-STRAND_LINE, width + STRAND_LINE, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    across = np.hstack([wide - slant * (rows - height / 2) for slant in SLANTS]).astype(np.float32)
    down = np.broadcast_to(rows, across.shape).astype(np.float32)
    upright = np.asarray(cv2.remap(grey, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    light = cv2.blur(upright, (31, 9)).astype(np.float32) + LEAST_LIGHT
    kernel = np.ones((1, STRAND_LINE), np.uint8)
    lines = np.maximum(*(cv2.morphologyEx(upright, kind, kernel) for kind in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT)))
    column = np.sort(lines / light, axis=0)[height * STRAND_ROWS // 100]
    strongest = column.reshape(len(SLANTS), -1)[:, STRAND_LINE:-STRAND_LINE].max(axis=0)
    return float(np.sort(strongest)[-STRONGEST_COLUMNS:].mean())


def strands(face: Canvas) -> Strands | None:
    """Strands across the eyes; None when the picture cuts off the skin around both."""
    found: list[tuple[float, tuple[Box, Box]]] = []
    for ring in LID_RINGS:
        lids = face.points[list(ring)]
        x0, x1 = int(lids[:, 0].min()) - BAND_ACROSS, int(lids[:, 0].max()) + BAND_ACROSS
        top, bottom = lids[:, 1].min(), lids[:, 1].max()
        above = (x0, int(top) + ABOVE_FROM, x1, int(top) + ABOVE_TO)
        below = (x0, int(bottom) + BELOW_FROM, x1, int(bottom) + BELOW_TO)
        lines = [_band(face, band) for band in (above, below)]
        if lines[0] is not None and lines[1] is not None:
            found.append((min(lines[0], lines[1]), (above, below)))
    if not found:
        return None
    strength, bands = max(found, key=lambda one: one[0])
    return Strands(strength, bands)


def covered(
    zones: EyeZones, *, seen: tuple[bool, bool], spots: tuple[Image, Image] | None, dark_lenses: bool
) -> tuple[float, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Covered share of the worse eye's zone, 0..1, and the covered pixels of both.

    `seen`: whether an eye is seen between the lids; `spots`: reflections in both zones.
    """
    shares, masks = [], []
    for number, zone in enumerate(zones.both):
        beside = zone.beside
        if dark_lenses or not beside.any():
            mask = np.ones_like(beside)
        else:
            skin = ranked(zone.grey[beside], SKIN_PERCENTILE)
            skin = min(max(skin, SOCKET_LEAST * zones.skin_grey), zones.skin_grey)
            dark = zone.grey < COVER_DARK * skin
            mask = dark & beside
            if not seen[number]:
                mask |= zone.lids > 0
            if spots is not None:
                mask |= spots[number] > 0
        shares.append(float(mask.mean()))
        masks.append(mask)
    return max(shares), (masks[0], masks[1])
