"""The face model loads once per session: it takes half a second and 200 MB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings

from tests.uplink_rig import clocks, intake, outbox, pki, settings, told, uplink, worker  # noqa: F401 - fixtures
from validation.face import FaceModel
from validation.rules import Profile, load_profile

# A machine shared with other work misses any deadline; pytest's own time limit stands.
hypothesis_settings.register_profile("no-deadline", deadline=None)
hypothesis_settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def face_model() -> Iterator[FaceModel]:
    with FaceModel() as model:
        yield model


@pytest.fixture(scope="session")
def demo_profile() -> Profile:
    return load_profile("demo")


@pytest.fixture(scope="session")
def applicant(applicants: Path) -> Callable[[str], np.ndarray]:
    """Pixels of a rendered picture by its path without the suffix; the smaller renders at the size the virtual camera shows them."""

    def read(name: str) -> np.ndarray:
        pixels = cv2.imread(str(applicants / f"{name}.jpg"))
        if pixels.shape[1] == 640:
            pixels = cv2.resize(pixels, (960, 1280), interpolation=cv2.INTER_CUBIC)
        return pixels

    return read


@pytest.fixture(scope="session")
def neutral_landmarks(face_model: FaceModel, applicant: Callable[[str], np.ndarray]) -> np.ndarray:
    """Landmarks of one frontal face, 960 x 1280."""
    face = face_model.scene(applicant("people/anna/neutral"), mask=False).face
    assert face is not None
    return face.landmarks
