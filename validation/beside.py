"""PURE: where small faces of other people can hide from the detectors: the wall beside the head.

The detectors look at the whole picture in 128 to 192 pixels and miss a face below a fifth of the sitter's. So the two strips beside the face, above
its chin, are cut into squares that overlap by a third, and each is looked at by itself; a square without structure shows no face and is left out,
so a plain wall costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

LOOK_SIDE_PX: Final = 256
# Of the square's side, from one square to the next.
STEP: Final = 2 / 3
# The strips begin this far beside the mesh (of its width), where ears and hair end and the wall begins.
CLEAR_OF_FACE: Final = 0.08
# A narrower strip (of the face's width, of the strip's height, in pixels) has no room for a face that counts; so the squares stay few.
LEAST_STRIP: Final = 0.1
LEAST_OF_HEIGHT: Final = 1 / 12
LEAST_PX: Final = 8
# Standard deviation of grey: plain walls measure up to 4 with noise and shadow, small faces of any skin tone on grey from 12.
LEAST_STRUCTURE: Final = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One square of the picture, and its pixels at the detectors' size."""

    x: int
    y: int
    side: int
    pixels: Image


def windows(rgb: Image, face: tuple[float, float, float, float]) -> Iterator[Window]:
    """The squares worth a look. `face`: x, y, width, height of the sitter's face."""
    height, width = rgb.shape[:2]
    x, y, wide, high = face
    bottom = min(round(y + high), height)
    edges = ((0, round(x - CLEAR_OF_FACE * wide)), (max(round(x + (1 + CLEAR_OF_FACE) * wide), 0), width))
    for left, right in edges:
        side = min(right - left, bottom)
        if side < max(LEAST_STRIP * wide, LEAST_OF_HEIGHT * max(bottom, right - left), LEAST_PX):
            continue
        for top in _starts(0, bottom, side):
            for start in _starts(left, right, side):
                part = rgb[top : top + side, start : start + side]
                method = cv2.INTER_AREA if side > LOOK_SIDE_PX else cv2.INTER_LINEAR
                small = np.asarray(cv2.resize(part, (LOOK_SIDE_PX, LOOK_SIDE_PX), interpolation=method), dtype=np.uint8)
                if float(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).std()) >= LEAST_STRUCTURE:
                    yield Window(start, top, side, small)


def _starts(low: int, high: int, side: int) -> list[int]:
    """Where squares begin so that they cover low..high, the last one flush with the end."""
    room = high - side - low
    count = int(np.ceil(room / (STEP * side))) + 1 if room > 0 else 1
    return [low + round(i * room / max(count - 1, 1)) for i in range(count)]
