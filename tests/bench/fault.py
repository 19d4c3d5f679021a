"""What a fault of the bench is: its name, its frozen strengths, the rules it must move, and from which grade on an officer refuses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from tests.bench.portraits import Portrait

JPEG_QUALITY = 97


@dataclass(frozen=True)
class Effect:
    """A rule that the fault must move.

    `fine` grades come first that nobody minds (label 0), from number `refused` on an officer refuses (label 1); None: not labelled, only
    moved. `moves`: "worse" (out of the rule's band), "up" or "down".
    """

    rule: str
    fine: int = 0
    refused: int | None = None
    moves: str = "worse"

    def label(self, grade: int) -> int | None:
        """0 compliant, 1 not, None unknown."""
        if self.refused is None or self.fine <= grade < self.refused:
            return None
        return int(grade >= self.refused)


@dataclass(frozen=True)
class Fault:
    """One kind of fault; `make` answers with pixels, or with a file's bytes when the fault is the file's."""

    name: str
    make: Callable[[Portrait, float], np.ndarray | bytes]
    strengths: tuple[float, ...]
    unit: str
    effects: tuple[Effect, ...]
    lossless: bool = False  # written as PNG: a JPEG would change what was made

    def file(self, portrait: Portrait, strength: float) -> tuple[bytes, str]:
        """The faulty photo as a file, and its suffix."""
        made = self.make(portrait, strength)
        return (made, ".jpg") if isinstance(made, bytes) else encoded(made, lossless=self.lossless)


def encoded(pixels: np.ndarray, *, lossless: bool = False) -> tuple[bytes, str]:
    """A file that adds no fault of its own."""
    if lossless:
        return cv2.imencode(".png", pixels)[1].tobytes(), ".png"
    full_colour = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *full_colour])[1].tobytes(), ".jpg"
