"""Camera control over VISCA."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hardware.controls import CameraControls
from hardware.link import StatusCallback


class ControlsSettings(BaseModel):
    """Where the control line is and which model's tables apply."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    address: Annotated[int, Field(ge=1, le=7)] = 1
    model: str = "evi-d70"
    baud: int = 9600


@asynccontextmanager
async def open_controls(
    settings: ControlsSettings | str, on_status: StatusCallback | None = None
) -> AsyncIterator[CameraControls]:
    """Open the control line (visca+serial:///dev/…); a missing camera is waited for in the background."""
    raise NotImplementedError
    yield
