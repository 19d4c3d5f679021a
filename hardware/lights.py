"""Lamps by name, whatever drives them.

A booth has four lamp channels and may have a status light; the room's own light is no channel. The settings map each name to an address
of the controller (`SegmentMap` for WLED, `FixtureMap` for DMX). A level is a percentage of the drive, 0..100. Nothing is done until
acknowledged: `set_levels` returns when the controller echoed the levels (WLED) or when it took them and then answered a question (DMX,
which has no way back from the lamps: only the camera proves them).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from hardware.link import DeviceStatus, StatusCallback

CHANNELS = ("key_left", "key_right", "fill_top", "background")
STATUS_CHANNEL = "status"


class SegmentMap(BaseModel):
    """A lamp channel on WLED: one segment, its colour (red, green, blue, white) and colour temperature (0 warm .. 255 cold)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    segment: Annotated[int, Field(ge=0, le=31)]
    colour: tuple[int, int, int, int] = (255, 255, 255, 255)
    cct: Annotated[int, Field(ge=0, le=255)] | None = None


class FixtureMap(BaseModel):
    """A lamp channel on DMX512: the slot of its level (1..512), for 16-bit lamps the slot of the fine byte, and slots with a fixed value."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    address: Annotated[int, Field(ge=1, le=512)]
    fine: Annotated[int, Field(ge=1, le=512)] | None = None
    fixed: Mapping[int, int] = {}


ChannelMap = SegmentMap | FixtureMap


class LightsSettings(BaseModel):
    """Which controller drives the lamps and where each named channel is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    channels: Mapping[str, ChannelMap]


class Lights(Protocol):
    """The lamps of a booth."""

    acknowledged_by: Literal["echo", "widget"]

    @property
    def status(self) -> DeviceStatus:
        """The controller's state; never blocks."""

    @property
    def levels_pct(self) -> Mapping[str, float]:
        """The levels acknowledged last."""

    async def set_levels(self, levels_pct: Mapping[str, float]) -> Mapping[str, float]:
        """Set the given channels, leave the others; return all acknowledged levels. Raise a `LightsError`."""


@asynccontextmanager
async def open_lights(
    url: str, channels: Mapping[str, ChannelMap], on_status: StatusCallback | None = None
) -> AsyncIterator[Lights]:
    """Open the lamps behind `url` (wled+serial:///dev/…, dmx+serial:///dev/…); a missing controller is waited for in the background."""
    raise NotImplementedError
    yield
