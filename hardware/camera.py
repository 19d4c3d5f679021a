"""Pictures from a camera: a running preview and a full-resolution still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hardware.link import DeviceStatus, StatusCallback


@dataclass(frozen=True, slots=True, eq=False)
class CameraImage:
    """One picture: BGR, upright (rotation applied), never mirrored."""

    pixels: NDArray[np.uint8]
    at_ns: int
    sequence: int
    source_format: str
    lossy: bool


@dataclass(frozen=True, slots=True)
class CameraFormat:
    """What a camera was asked for, or what it delivers (before rotation)."""

    width: int
    height: int
    fps: float
    fourcc: str


class CameraSettings(BaseModel):
    """Where the pictures come from and how the camera is mounted."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    still_url: str | None = None
    rotate_deg: Literal[0, 90, 180, 270] = 0
    width: Annotated[int, Field(ge=16, le=16384)] | None = None
    height: Annotated[int, Field(ge=16, le=16384)] | None = None
    fps: Annotated[int, Field(ge=1, le=240)] | None = None


class Camera(Protocol):
    """The camera of a booth."""

    @property
    def status(self) -> DeviceStatus:
        """The camera's state; frozen and black pictures stand in the detail and in `info`. Never blocks."""

    @property
    def formats(self) -> tuple[CameraFormat | None, CameraFormat | None]:
        """The format asked for and the actual one; None where nothing was asked or nothing came yet."""

    def preview(self) -> CameraImage | None:
        """The newest picture, or None when there is none or it is older than a second. Never blocks."""

    async def next_preview(self, after_sequence: int, timeout_s: float) -> CameraImage:
        """Wait for a picture with a higher sequence number. Raise `CameraTimeoutError` or `CameraLostError`."""

    async def still(self, timeout_s: float = 5.0) -> CameraImage:
        """Take a full-resolution picture, exposed after this call. Raise a `CameraError`."""


@asynccontextmanager
async def open_camera(settings: CameraSettings, on_status: StatusCallback | None = None) -> AsyncIterator[Camera]:
    """Open the camera; one that is missing is waited for in the background."""
    raise NotImplementedError
    yield
