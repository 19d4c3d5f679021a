"""PURE: the printed test card: where everything is on the sheet, and its drawing as SVG.

One A4 sheet, upright, matt, printed at 100 %; millimetres from the sheet's top left corner. White ground; four ArUco markers (DICT_4X4_50, ids
0 to 3) in the corners tell place and perspective; six neutral patches; a field of 18 % grey, on which a real grey card is fixed, because printers
are not neutral; a black square turned by 5 degrees, whose edges tell the sharpness (ISO 12233); a line of 100 mm to check the print.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

SHEET_MM = (210.0, 297.0)
MARKERS_MM = ((10.0, 10.0), (170.0, 10.0), (10.0, 257.0), (170.0, 257.0))  # top left corners, by id
MARKER_SIDE_MM = 30.0
MARKER_BITS = 6  # four by four, and a black frame
PATCHES = ((45.0, 243), (65.0, 200), (85.0, 160), (105.0, 122), (125.0, 85), (145.0, 52))  # left edge, sRGB code
PATCH_TOP_MM, PATCH_SIDE_MM = 15.0, 20.0
GREY_FIELD_MM = (20.0, 70.0, 190.0, 190.0)  # left, top, right, bottom
GREY_CODE = 118  # 18 % in sRGB
SQUARE_CENTRE_MM, SQUARE_SIDE_MM, SQUARE_TURN_DEG, SQUARE_CODE = (105.0, 228.0), 40.0, 5.0, 20
SCALE_LINE_MM = (55.0, 281.0, 100.0)  # left end, height, length
INSTRUCTIONS = (
    (60.0, 4.2, "Passbooth test card: fix an 18 % grey card on the grey field"),
    (262.0, 4.2, "Print at 100 % on matt A4."),
    (268.0, 4.2, "Hang it upright in its holder at the head's place,"),
    (274.0, 4.2, "facing the camera."),
    (285.5, 3.2, "100 mm: measure this line"),
)

__all__ = [
    "GREY_CODE",
    "MARKER_SIDE_MM",
    "PATCHES",
    "SHEET_MM",
    "card_svg",
    "marker_bits",
    "marker_corners_mm",
    "square_corners_mm",
]


def marker_bits(number: int) -> NDArray[np.bool_]:
    """The cells of a marker, its frame included; True is white."""
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    drawn = cv2.aruco.generateImageMarker(dictionary, number, MARKER_BITS)
    return np.asarray(drawn, dtype=np.uint8) > 127


def marker_corners_mm(number: int) -> NDArray[np.float64]:
    """Clockwise from the top left, the order in which they are found."""
    left, top = MARKERS_MM[number]
    right, bottom = left + MARKER_SIDE_MM, top + MARKER_SIDE_MM
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def square_corners_mm() -> NDArray[np.float64]:
    """The turned square's corners, clockwise from the top left."""
    half = SQUARE_SIDE_MM / 2
    angle = math.radians(SQUARE_TURN_DEG)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
    return np.asarray(corners @ turn.T + SQUARE_CENTRE_MM, dtype=np.float64)


def card_svg() -> str:
    """The sheet to print."""
    width, height = SHEET_MM
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" viewBox="0 0 {width:g} {height:g}">',
        "<title>Passbooth test card, A4, 100 %</title>",
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>',
    ]
    parts += [_marker(number) for number in range(len(MARKERS_MM))]
    parts += [_rect(left, PATCH_TOP_MM, PATCH_SIDE_MM, PATCH_SIDE_MM, code) for left, code in PATCHES]
    left, top, right, bottom = GREY_FIELD_MM
    parts.append(_rect(left, top, right - left, bottom - top, GREY_CODE))
    corners = " ".join(f"{x:.3f},{y:.3f}" for x, y in square_corners_mm())
    parts.append(f'<polygon points="{corners}" fill="{_grey(SQUARE_CODE)}"/>')
    start, at, length = SCALE_LINE_MM
    parts.append(
        f'<path d="M{start:g} {at:g}h{length:g}M{start:g} {at - 2:g}v4M{start + length:g} {at - 2:g}v4" stroke="#000" stroke-width="0.3" fill="none"/>'
    )
    for y, size, text in INSTRUCTIONS:
        parts.append(
            f'<text x="{width / 2:g}" y="{y:g}" font-family="sans-serif" font-size="{size:g}" text-anchor="middle" fill="#444">{text}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _marker(number: int) -> str:
    """Black square with its white cells on top: no seams between black cells."""
    left, top = MARKERS_MM[number]
    cell = MARKER_SIDE_MM / MARKER_BITS
    cells = "".join(
        f"M{left + column * cell:g} {top + row * cell:g}h{cell:g}v{cell:g}h{-cell:g}z"
        for row, column in np.argwhere(marker_bits(number))
    )
    return f'{_rect(left, top, MARKER_SIDE_MM, MARKER_SIDE_MM, 0)}<path d="{cells}" fill="#fff"/>'


def _rect(left: float, top: float, width: float, height: float, code: int) -> str:
    return f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" fill="{_grey(code)}"/>'


def _grey(code: int) -> str:
    return f"#{code:02x}{code:02x}{code:02x}"
