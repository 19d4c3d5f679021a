"""Good portraits for the fault bench: the neutral rendered applicants, cut to 622 x 800 like a compliant submitted photo.

A Portrait keeps the uncropped picture too, for faults of framing. Nothing here is random; same pictures, same portraits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from capture.portrait import cut, plan_crop
from validation.face import FaceModel
from validation.geometry import chin_distance_px, eye_midpoint, inter_eye_px, moved

APPLICANTS = Path(__file__).resolve().parents[2] / "hardware" / "sim" / "applicants"
PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
SIZE = (622, 800)
# Strengths of length are told at the eye distance of the standard canvas: 113 px, about 300 dots per inch on a 35 x 45 mm print.
CANVAS_EYE_DISTANCE = 113.0


@dataclass(frozen=True, eq=False)
class Portrait:
    """One good portrait: pixels BGR, 478 landmarks in them, the person's mask (255 = person); and the picture it was cut from."""

    subject: str
    pixels: np.ndarray
    landmarks: np.ndarray
    mask: np.ndarray
    source: np.ndarray
    source_landmarks: np.ndarray

    @cached_property
    def eye_distance(self) -> float:
        return inter_eye_px(self.landmarks)

    @cached_property
    def canvas_px(self) -> float:
        """Pixels of this portrait per pixel of the standard canvas."""
        return self.eye_distance / CANVAS_EYE_DISTANCE

    @cached_property
    def middle(self) -> np.ndarray:
        """M, between the eyes."""
        return eye_midpoint(self.landmarks)

    @cached_property
    def chin_distance(self) -> float:
        """T."""
        return chin_distance_px(self.landmarks)

    @cached_property
    def person(self) -> np.ndarray:
        """The person's mask as weights 0..1, (H, W, 1)."""
        return (self.mask.astype(np.float32) / 255)[..., None]

    def point(self, *indices: int) -> np.ndarray:
        """Mean of landmarks, x and y."""
        return self.landmarks[list(indices), :2].mean(axis=0).astype(np.float64)

    @cached_property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of every pixel's centre."""
        height, width = self.pixels.shape[:2]
        x, y = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
        return x, y


def portrait(subject: str, source: np.ndarray, model: FaceModel) -> Portrait:
    """The good portrait of a picture."""
    scene = model.scene(source)
    face, outline = scene.face, scene.person_mask
    if face is None or outline is None:
        raise ValueError(f"{subject}: no face in the good picture")
    plan = plan_crop(face.landmarks, (face.width, face.height), SIZE)
    mask = cut(np.repeat(outline[..., None], 3, axis=2), plan)[..., 0]
    return Portrait(
        subject=subject,
        pixels=cut(source, plan),
        landmarks=moved(face.landmarks, plan.matrix()),
        mask=mask,
        source=source,
        source_landmarks=face.landmarks,
    )


def portraits(model: FaceModel, people: tuple[str, ...] = PEOPLE) -> Iterator[Portrait]:
    """The good portraits of the rendered people."""
    for name in people:
        yield portrait(name, cv2.imread(str(APPLICANTS / "people" / name / "neutral.jpg")), model)
