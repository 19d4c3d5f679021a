"""PURE: which way up a picture is, asked of the faces in it.

Order: a face whose eye line is tilted by more than half a right angle says it by itself (the mesh finds faces lying on their side) -> an upright
face that the detectors are sure of settles it -> otherwise the picture is looked at turned: by half a turn, because the mesh draws an upright
face over an upside-down one and only the detectors' certainty tells; by quarter turns too when nobody was found at all.
A turned look only counts where the mesh finds an upright face in it. Measured on upright photos: the detectors are at least 0.78 sure, 0.88 without a
mask; at most 0.83 of the same turned upside down, 0.87 with a mask, and never surer of it than of the upright picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

HALF_RIGHT_ANGLE_DEG: Final = 45.0
# The networks look at patches of 128-192 pixels.
LOOK_SIDE_PX: Final = 640
SURE: Final = 0.9
# How much surer of the turned picture: when the mesh found nobody, and when it drew an upright face. Upside-down faces measured from 0.092, faces
# under a mask or scarf -0.054 to 0.054, everybody else up to -0.145.
SURER_BY: Final = 0.03
SURER_THAN_MESH_BY: Final = 0.085
_ROTATIONS: Final = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


def turned(image: Image, clockwise_deg: int) -> Image:
    """The picture turned by 0, 90, 180 or 270 degrees."""
    return image if clockwise_deg == 0 else np.asarray(cv2.rotate(image, _ROTATIONS[clockwise_deg]), dtype=np.uint8)


def turn_for_tilt(tilt_deg: float) -> int:
    """The clockwise turn, in quarters, that brings a face with this eye line nearest to upright."""
    return round(-tilt_deg / 90) % 4 * 90


def turn_needed(
    image: Image,
    tilt_deg: float | None,
    certainty: Callable[[Image], float],
    tilt_of_face: Callable[[Image], float | None],
) -> int:
    """The clockwise turn that makes the picture upright: 0, 90, 180 or 270 degrees; 0 when nothing says otherwise.

    `tilt_deg`: the eye line of the face found in the picture as it is, None without one. `certainty`: the detectors' best score on a picture, 0..1.
    `tilt_of_face`: the eye line of the mesh's largest face in a picture.
    """
    small = _small(image)
    if tilt_deg is not None and abs(tilt_deg) > HALF_RIGHT_ANGLE_DEG:
        # On its side the mesh is sometimes drawn the wrong way up.
        turn = turn_for_tilt(tilt_deg)
        opposite = (turn + 180) % 360
        return opposite if opposite and certainty(turned(small, opposite)) > certainty(turned(small, turn)) else turn
    best, answer = certainty(small), 0
    if best >= SURE:
        return 0
    surer_by = SURER_BY if tilt_deg is None else SURER_THAN_MESH_BY
    for turn in (180, 90, 270) if tilt_deg is None else (180,):
        other = turned(small, turn)
        score = certainty(other)
        if score <= best + surer_by:
            continue
        tilt = tilt_of_face(other)
        if tilt is not None and abs(tilt) <= HALF_RIGHT_ANGLE_DEG:
            best, answer = score, turn
    return answer


def not_upright(turn_deg: int) -> str:
    """Why nothing else of the photo is judged."""
    return "the photo is upside down: turn it" if turn_deg == 180 else "the photo lies on its side: turn it"


def _small(image: Image) -> Image:
    longest = max(image.shape[:2])
    if longest <= LOOK_SIDE_PX:
        return image
    scale = LOOK_SIDE_PX / longest
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
