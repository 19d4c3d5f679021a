"""The application slip that the sitter holds to the camera: a white card with a QR code, lit by the same lamps as the sitter.

The card is drawn into every light pass with the light that falls on its place, so it is dark when the lamps are off, like paper.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from hardware.sim.passes import EXPOSURE_SCALE, encode_srgb

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.sim.passes import Image

# Light on the card from each lamp group at level 1 (blue, green, red), and its fall across the card from the lamp's side to the other.
# The sum is 1.0: white paper shows about sRGB 232 under the nominal light.
CARD_LIGHT: Final = {
    "key_left": ((0.30, 0.30, 0.30), -0.15),
    "key_right": ((0.30, 0.30, 0.30), 0.15),
    "fill_top": ((0.31, 0.31, 0.31), 0.0),
    "background": ((0.02, 0.02, 0.02), 0.0),
    "ambient": ((0.04, 0.07, 0.09), 0.0),
}
DARK: Final = (0.0, 0.0, 0.0)  # from any other light
PAPER, INK = 0.80, 0.04  # reflectance
QUIET_MODULES: Final = 4  # ISO/IEC 18004: quiet zone on each side
TILT_DEG: Final = 4.0
CENTRE: Final = (0.5, 0.80)  # of the frame: in front of the chest
PREVIEW_WIDTH_PX: Final = 600
MODULE_PX: Final = 4.5  # at least this much of the preview for each module
MIN_WIDTH, MAX_WIDTH = 0.36, 0.62  # of the frame


class CodeTooLongError(Exception):
    """The text does not fit on a card that the camera could read."""


@functools.lru_cache(maxsize=4)
def code_modules(text: str) -> Image:
    """The QR code with its quiet zone, one pixel per module, 0 ink and 255 paper."""
    try:
        code = np.asarray(cv2.QRCodeEncoder.create().encode(text), dtype=np.uint8)
    except cv2.error as error:
        raise CodeTooLongError(f"a text of {len(text)} characters does not fit in a QR code") from error
    ink = np.argwhere(code == 0)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    return np.pad(code[top : bottom + 1, left : right + 1], QUIET_MODULES, constant_values=255)


def card_width(text: str) -> float:
    """Width of the card as a share of the frame."""
    width = max(MIN_WIDTH, len(code_modules(text)) * MODULE_PX / PREVIEW_WIDTH_PX)
    if width > MAX_WIDTH:
        raise CodeTooLongError(f"a text of {len(text)} characters makes modules too small for the camera")
    return width


def held_card(text: str, size: tuple[int, int]) -> Callable[[str, Image], Image]:
    """Draws the card in front of the sitter into one pass of such a frame."""
    width, height = size
    modules = code_modules(text)
    side = card_width(text) * width
    scale = side / len(modules)
    cosine, sine = scale * np.cos(np.radians(TILT_DEG)), scale * np.sin(np.radians(TILT_DEG))
    middle = len(modules) / 2 - 0.5
    x, y = CENTRE[0] * width, min(CENTRE[1] * height, height - 0.56 * side)
    place = np.array(
        [[cosine, -sine, x - cosine * middle + sine * middle], [sine, cosine, y - sine * middle - cosine * middle]]
    )
    # Supersampled through an enlarged code, so that module edges are grey where a pixel lies across them.
    enlarge = 8
    big = cv2.resize(modules, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_NEAREST)
    fine = place.copy()
    fine[:, :2] /= enlarge
    fine[:, 2] += place[:, :2] @ np.full(2, (1 / enlarge - 1) / 2)
    left, right = (int(np.clip(x + sign * 0.56 * side, 0, width)) for sign in (-1, 1))
    top, bottom = (int(np.clip(y + sign * 0.56 * side, 0, height)) for sign in (-1, 1))
    fine[:, 2] -= (left, top)
    box = (right - left, bottom - top)
    paper = np.asarray(cv2.warpAffine(big, fine, box, flags=cv2.INTER_AREA), dtype=np.float64) / 255
    cover = np.asarray(cv2.warpAffine(np.full_like(big, 255), fine, box), dtype=np.float64)[..., None] / 255
    reflectance = INK + (PAPER - INK) * paper
    across = np.linspace(-1, 1, box[0])

    def draw(channel: str, pixels: Image) -> Image:
        copy = pixels.copy()
        region = copy[top:bottom, left:right]
        light, fall = CARD_LIGHT.get(channel, (DARK, 0.0))
        linear = reflectance[..., None] * (1 + fall * across)[None, :, None] * np.asarray(light)
        card = 255 * encode_srgb(EXPOSURE_SCALE * linear)
        region[:] = np.clip(np.rint(region * (1 - cover) + card * cover), 0, 255).astype(np.uint8)
        return copy

    return draw
