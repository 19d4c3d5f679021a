"""A frame with everything known about its making, and the slot that holds the newest of anything.

A `Latest` is the only hand-over of running values (frames, states): writers never wait, readers get the newest and miss what they were too
slow for. It belongs to one event loop; threads write through `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraImage
from hardware.controls import CameraControlState

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Frame:
    """One picture and how it was made: BGR, upright, un-mirrored."""

    pixels: NDArray[np.uint8] = field(repr=False)
    at_ns: int
    sequence: int
    source_format: str
    lossy: bool
    levels_pct: Mapping[str, float] = field(default_factory=dict)  # lamps, as acknowledged when the picture was taken
    controls: CameraControlState | None = None  # as last read from the camera

    @classmethod
    def of(
        cls, image: CameraImage, levels_pct: Mapping[str, float], controls: CameraControlState | None = None
    ) -> Frame:
        """A camera's picture with the light and the settings it was taken with."""
        return cls(
            pixels=image.pixels,
            at_ns=image.at_ns,
            sequence=image.sequence,
            source_format=image.source_format,
            lossy=image.lossy,
            levels_pct=MappingProxyType(dict(levels_pct)),
            controls=controls,
        )

    def wipe(self) -> None:
        """Overwrites the pixels where they lie; ValueError for a shared, read-only buffer (a preview's), which is only dropped."""
        self.pixels.fill(0)


class Latest(Generic[T]):
    """The newest value of a kind."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._changed = asyncio.Event()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def put(self, value: T) -> None:
        """Replaces the value and wakes the readers."""
        self._value = value
        self._version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def values(self) -> AsyncGenerator[T, None]:
        """The present value at once, then the newest after each change; never ends by itself."""
        seen = -1
        while True:
            if seen == self._version:
                await self._changed.wait()
                continue
            seen = self._version
            yield self._value
