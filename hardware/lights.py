"""Lamps by name, whatever drives them.

A booth has four lamp channels and may have a status light; the room's own light is no channel. The settings map each name to an address
of the controller (`SegmentMap` for WLED, `FixtureMap` for DMX). A level is a percentage of the drive, 0..100. Nothing is done until
acknowledged: `set_levels` returns when the controller echoed the levels (WLED) or when it took them and then answered a question (DMX,
which has no way back from the lamps: only the camera proves them).
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hardware.errors import (
    LightsAnswerError,
    LightsError,
    LightsLevelError,
    LightsLostError,
    LightsTimeoutError,
    LinkError,
    LinkGarbledError,
    LinkSilentError,
    SettingsError,
)
from hardware.link import DeviceStatus, Dialogue, Port, SerialLink, StatusBoard, StatusCallback, read_serial_path

CHANNELS = ("key_left", "key_right", "fill_top", "background")
STATUS_CHANNEL = "status"


Byte = Annotated[int, Field(ge=0, le=255)]


class SegmentMap(BaseModel):
    """A lamp channel on WLED: one segment, its colour (red, green, blue, white) and colour temperature (0 warm .. 255 cold)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    segment: Annotated[int, Field(ge=0, le=31)]
    colour: tuple[Byte, Byte, Byte, Byte] = (255, 255, 255, 255)
    cct: Byte | None = None

    def places(self) -> set[int]:
        """The segment that this channel claims for itself."""
        return {self.segment}


class FixtureMap(BaseModel):
    """A lamp channel on DMX512: the slot of its level (1..512), for 16-bit lamps the slot of the fine byte, and slots with a fixed value."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    address: Annotated[int, Field(ge=1, le=512)]
    fine: Annotated[int, Field(ge=1, le=512)] | None = None
    fixed: Mapping[Annotated[int, Field(ge=1, le=512)], Byte] = Field(default_factory=dict)

    def places(self) -> set[int]:
        """The slots that this channel claims for itself."""
        return {self.address, *(() if self.fine is None else (self.fine,)), *self.fixed}


ChannelMap = SegmentMap | FixtureMap
WLED_SCHEME = "wled+serial"
DMX_SCHEME = "dmx+serial"
MAP_OF_SCHEME: Mapping[str, type[SegmentMap | FixtureMap]] = {WLED_SCHEME: SegmentMap, DMX_SCHEME: FixtureMap}


class LightsSettings(BaseModel):
    """Which controller drives the lamps and where each named channel is; all four lamps are needed, the status light is optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    channels: Mapping[str, ChannelMap]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if unknown := set(self.channels) - {*CHANNELS, STATUS_CHANNEL}:
            raise ValueError(
                f"unknown lamp channels {sorted(unknown)}: there are {', '.join(CHANNELS)} and {STATUS_CHANNEL}"
            )
        if missing := set(CHANNELS) - set(self.channels):
            raise ValueError(f"lamp channels {sorted(missing)} are not mapped")
        scheme = self.url.partition(":")[0]
        wanted = MAP_OF_SCHEME.get(scheme)
        if wanted is None:
            raise ValueError(f"{self.url!r}: lamps are driven by {' or '.join(MAP_OF_SCHEME)}")
        used: set[int] = set()
        for name, place in self.channels.items():
            if not isinstance(place, wanted):
                raise ValueError(f"lamp channel {name} does not fit {scheme}: it needs {list(wanted.model_fields)}")  # noqa: TRY004 - pydantic collects ValueErrors
            if taken := used.intersection(place.places()):
                raise ValueError(f"lamp channel {name} uses {sorted(taken)}, which another channel uses")
            used.update(place.places())
        return self


class Lights(Protocol):
    """The lamps of a booth."""

    @property
    def acknowledged_by(self) -> Literal["echo", "widget"]:
        """Who says that the levels are set: the lamp controller's echo, or only a widget that took them."""

    @property
    def status(self) -> DeviceStatus:
        """The controller's state; never blocks."""

    @property
    def levels_pct(self) -> Mapping[str, float]:
        """The levels acknowledged last; empty before the first."""

    async def set_levels(self, levels_pct: Mapping[str, float]) -> Mapping[str, float]:
        """Set the given channels, leave the others; return all acknowledged levels. Raise a `LightsError`."""


class LightsDialogue(Dialogue, Protocol):
    """What a lamp driver does on its port's thread."""

    acknowledged_by: Literal["echo", "widget"]
    levels_pct: Mapping[str, float]

    def set_levels(self, link: SerialLink, levels_pct: Mapping[str, float]) -> None:
        """Set all given levels and note in `levels_pct` what was acknowledged."""


def step_of(level_pct: float, full: int) -> int:
    """The drive step nearest to a level: round(level / 100 * full), halves up."""
    return math.floor(level_pct * full / 100 + 0.5)


class PortLights:
    """Lamps behind a serial port."""

    def __init__(self, port: Port, dialogue: LightsDialogue, channels: frozenset[str]) -> None:
        self._port = port
        self._dialogue = dialogue
        self._channels = channels

    @property
    def acknowledged_by(self) -> Literal["echo", "widget"]:
        """See `Lights`."""
        return self._dialogue.acknowledged_by

    @property
    def status(self) -> DeviceStatus:
        """See `Lights`."""
        return self._port.board.status

    @property
    def levels_pct(self) -> Mapping[str, float]:
        """See `Lights`."""
        return self._dialogue.levels_pct

    async def set_levels(self, levels_pct: Mapping[str, float]) -> Mapping[str, float]:
        """See `Lights`."""
        for name, level in levels_pct.items():
            if name not in self._channels:
                raise LightsLevelError(f"There is no lamp channel {name!r}: the settings map {sorted(self._channels)}.")
            if not 0 <= level <= 100:
                raise LightsLevelError(f"The level {level} for {name} is outside 0..100 percent.")
        wanted = dict(levels_pct)

        def job(link: SerialLink) -> Mapping[str, float]:
            with self._port.board.judging():
                self._dialogue.set_levels(link, wanted)
            return self._dialogue.levels_pct

        try:
            return await self._port.run(job)
        except LinkError as error:
            raise translate(error) from error


def translate(error: LinkError) -> LightsError:
    """Say in terms of lamps what happened to their port."""
    if isinstance(error, LinkSilentError):
        return LightsTimeoutError(f"The lamp controller does not answer: {error}")
    if isinstance(error, LinkGarbledError):
        return LightsAnswerError(f"The lamp controller cannot be understood: {error}")
    return LightsLostError(f"The lamps cannot be reached: {error}")


@asynccontextmanager
async def open_lights(
    url: str, channels: Mapping[str, ChannelMap], on_status: StatusCallback | None = None
) -> AsyncIterator[Lights]:
    """Open the lamps behind `url` (wled+serial:///dev/…, dmx+serial:///dev/…); a missing controller is waited for.

    Closing leaves the lamps as they are.
    """
    from hardware.dmx import DmxDialogue
    from hardware.wled import WledDialogue

    try:
        settings = LightsSettings(url=url, channels=channels)
    except ValidationError as error:
        raise SettingsError("; ".join(str(each["msg"]) for each in error.errors())) from error
    scheme = settings.url.partition(":")[0]
    path = read_serial_path(settings.url, scheme)
    dialogue: LightsDialogue
    if scheme == WLED_SCHEME:
        dialogue = WledDialogue({name: at for name, at in settings.channels.items() if isinstance(at, SegmentMap)})
        baud, idle_s = WledDialogue.baud, WledDialogue.idle_s
    else:
        dialogue = DmxDialogue({name: at for name, at in settings.channels.items() if isinstance(at, FixtureMap)})
        baud, idle_s = DmxDialogue.baud, DmxDialogue.idle_s
    port = Port(StatusBoard("lights", url, on_status), path, baud, dialogue, idle_s)
    try:
        await port.open()
        yield PortLights(port, dialogue, frozenset(settings.channels))
    finally:
        await port.close()
