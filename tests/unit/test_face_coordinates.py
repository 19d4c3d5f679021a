"""Landmarks read from their packed form are those that each one tells; another form is read one by one."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from validation.face import _coordinates

POINTS = np.random.default_rng(3).uniform(-1, 2, (478, 3)).astype(np.float32)


class Landmarks:
    """A list of landmarks as the model gives it, packed with this format."""

    def __init__(self, packing: str, fields: tuple[int, ...]) -> None:
        self.landmark = [SimpleNamespace(x=x, y=y, z=z) for x, y, z in POINTS.tolist()]
        self._packing, self._fields = packing, fields

    def SerializeToString(self) -> bytes:  # noqa: N802 - the name protobuf gives it
        size = struct.calcsize(self._packing) - 2
        return b"".join(
            struct.pack(
                self._packing, 0x0A, size, *(v for pair in zip(self._fields, point, strict=False) for v in pair)
            )
            for point in POINTS.tolist()
        )


@pytest.mark.parametrize(
    ("packing", "fields"),
    [
        ("<BBBfBfBf", (0x0D, 0x15, 0x1D)),
        ("<BBBfBfBf", (0x15, 0x0D, 0x1D)),  # y before x
        ("<BBBfBf", (0x0D, 0x15)),  # without depth
    ],
)
def test_landmarks_are_read_right_however_they_are_packed(packing, fields):
    assert np.array_equal(_coordinates(Landmarks(packing, fields)), POINTS)
