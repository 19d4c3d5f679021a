"""Camera, camera control and lamps as one station: preview, settled light, burst.

Order of operation of a portrait: `set_levels` brings the lamps to their levels and returns when the last step was acknowledged and a preview
frame exposed after that arrived (the camera saw the new light); `set_camera` does the same for the camera's exposure and colour; `burst` then
takes stills one after another and refuses one that is not newer than that moment. Nothing is done until acknowledged.

Lamps are ramped: no step is larger than RAMP_STEP_PCT and none follows another within RAMP_PERIOD_S, so that a lamp needs 0.3 s from dark to full
and nobody sees a flash. Who moves lamps slowly himself asks for single steps (`ramped=False`).

Degradation: without [lights] the room's light is used and every scene is settled at once; without [controls] the camera's own automatic
decides. Both are told in `devices` by their absence and in every frame (no levels, no controls). A device that is configured and missing
is different: its calls raise its own error, and its status says so.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from capture.errors import ProfileUnsatisfiableError, StaleStillError
from capture.frames import Frame
from capture.metering import ramp
from hardware.camera import Camera, CameraSettings, open_camera
from hardware.controls import (
    CameraControls,
    CameraControlSettings,
    CameraControlState,
    ExposureMode,
    FocusMode,
    WhiteBalance,
)
from hardware.lift import Lift, LiftSettings, open_lift
from hardware.lift_codec import LiftLimits, LiftReading
from hardware.lights import CHANNELS, Lights, LightsSettings, open_lights
from hardware.link import DeviceStatus
from hardware.visca import ControlsSettings, open_controls
from validation.profile import Profile

FRAME_WAIT_S = 2.0
STILL_WAIT_S = 5.0
# Full drive in 0.3 s at most: slower than what is seen as a flash (assumed), quick enough that a sitter does not wait for it.
RAMP_STEP_PCT, RAMP_PERIOD_S = 10.0, 0.03


class LightsSection(LightsSettings):
    """Lamps and the levels they get."""

    # The portrait level of each lamp; the virtual booth's nominal light is 62.5 % drive.
    nominal_pct: Annotated[float, Field(gt=0, le=100)] = 62.5
    standby_pct: Annotated[float, Field(ge=0, le=100)] = 15.0


class CameraControlSection(ControlsSettings):
    """Camera control and what is set at start and before each visit."""

    settings: CameraControlSettings = CameraControlSettings()


class StationSettings(BaseModel):
    """What the station is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    camera: CameraSettings
    controls: CameraControlSection | None = None
    lights: LightsSection | None = None
    lift: LiftSettings | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int


def check_size(profile: Profile, still: Size) -> None:
    """Raises ProfileUnsatisfiableError, with the arithmetic, when no crop of such a still can be the profile's portrait."""
    aspect = profile.width_px / profile.height_px
    height = min(still.height, int(still.width / aspect))
    width = min(still.width, int(height * aspect))
    if width >= profile.width_px and height >= profile.height_px:
        return
    scale = max(profile.width_px / width, profile.height_px / height)
    raise ProfileUnsatisfiableError(
        f"Profile {profile.name} needs a {profile.width_px}×{profile.height_px} crop; the camera gives "  # noqa: RUF001 - the sign of multiplication
        f"{still.width}×{still.height}: largest 7:9 crop {width}×{height}, it would have to be upscaled {scale:.2f}×. "  # noqa: RUF001
        "Set a larger still size or a still address, or choose another profile."
    )


class Station:
    """The open station; made by `open_station`."""

    def __init__(
        self,
        settings: StationSettings,
        camera: Camera,
        controls: CameraControls | None,
        lights: Lights | None,
        lift: Lift | None = None,
    ) -> None:
        self._settings = settings
        self._lift = lift
        self._camera = camera
        self._controls = controls
        self._lights = lights
        self._control_state: CameraControlState | None = None
        self._learnt = CameraControlSettings()
        self._settled_ns = 0
        self._moving_lights = asyncio.Lock()

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        """Every configured device; never blocks."""
        every = (self._camera, self._controls, self._lights, self._lift)
        return tuple(device.status for device in every if device is not None)

    @property
    def picture(self) -> str:
        """What the driver says of the camera's picture: live, frozen or black."""
        return self._camera.status.info.get("picture", "live")

    @property
    def preview_fps(self) -> float:
        """Pictures per second that the camera delivers, lately; 0 when they stopped."""
        return 0.0 if self._camera.preview() is None else float(self._camera.status.info.get("fps", "0"))

    def rest(self, resting: bool) -> None:
        """Nobody is there to be seen: most preview pictures stay undecoded."""
        self._camera.rest(resting)

    @property
    def levels_pct(self) -> Mapping[str, float]:
        """The lamps' acknowledged levels; empty without lamps."""
        return {} if self._lights is None else self._lights.levels_pct

    @property
    def lamps(self) -> tuple[str, ...]:
        """The lamps of the booth by name (the status light is none); empty without lamps."""
        lights = self._settings.lights
        return () if lights is None else tuple(name for name in CHANNELS if name in lights.channels)

    @property
    def nominal_pct(self) -> float:
        """The portrait level of each lamp before the light is balanced."""
        return 0.0 if self._settings.lights is None else self._settings.lights.nominal_pct

    @property
    def control_state(self) -> CameraControlState | None:
        """The camera's settings as last read; None without camera control, or before."""
        return self._control_state

    @property
    def configured(self) -> CameraControlSettings:
        """The camera's settings that stand in the configuration."""
        return CameraControlSettings() if self._settings.controls is None else self._settings.controls.settings

    @property
    def lights_acknowledged_by(self) -> str | None:
        """What proves the levels: "echo" (the controller said them) or "widget" (it took them); None without lamps."""
        return None if self._lights is None else self._lights.acknowledged_by

    def preview(self) -> Frame | None:
        """The newest preview frame; None without a live camera."""
        image = self._camera.preview()
        return None if image is None else Frame.of(image, self.levels_pct, self._control_state)

    async def next_preview(self, after_sequence: int, timeout_s: float = FRAME_WAIT_S) -> Frame:
        """A newer preview frame; raises a CameraError."""
        image = await self._camera.next_preview(after_sequence, timeout_s)
        return Frame.of(image, self.levels_pct, self._control_state)

    def learn(self, settings: CameraControlSettings) -> None:
        """What a calibration found for the camera: `apply_controls` sets it from now on; what is configured wins."""
        self._learnt = settings

    async def apply_controls(self) -> CameraControlState | None:
        """Brings the camera to its settings for portraits and reads all of them back; None without camera control. Raises a ControlError.

        The camera's automatic of exposure and colour is off then, that of the focus where a position is known (learnt or configured). A mode
        that the camera does not have is not asked for, unless it is configured.
        """
        if self._controls is None or self._settings.controls is None:
            return None
        known = self._control_state or await self._controls.read()
        has = {name for name, value in known.model_dump().items() if value is not None}
        given = self._learnt.model_dump(exclude_none=True)
        configured = self._settings.controls.settings.model_dump(exclude_none=True)
        modes: dict[str, object] = {"exposure_mode": ExposureMode.MANUAL, "white_balance": WhiteBalance.MANUAL}
        if "focus_position" in given.keys() & has or "focus_position" in configured:
            modes["focus_mode"] = FocusMode.MANUAL
        found = {name: value for name, value in (modes | given).items() if name in has}
        wanted = CameraControlSettings.model_validate(found | configured)
        if wanted.model_dump(exclude_none=True):
            self._control_state = await self._controls.apply(wanted)
            self._settled_ns = time.monotonic_ns()
        else:
            self._control_state = await self._controls.read()
        return self._control_state

    async def focus_once(self) -> CameraControlState | None:
        """Lets the camera focus on what is before it and reads everything back; None without camera control. Raises a ControlError."""
        if self._controls is None:
            return None
        await self._controls.focus_once()
        self._settled_ns = time.monotonic_ns()
        return await self.read_controls()

    async def measure_white_balance(self) -> CameraControlState | None:
        """Lets the camera measure white once and reads everything back; None without camera control. Raises a ControlError."""
        if self._controls is None:
            return None
        await self._controls.measure_white_balance()
        self._settled_ns = time.monotonic_ns()
        return await self.read_controls()

    async def read_controls(self) -> CameraControlState | None:
        """Asks the camera for all its settings; None without camera control. Raises a ControlError."""
        if self._controls is not None:
            self._control_state = await self._controls.read()
        return self._control_state

    async def echo_lamps(self) -> None:
        """One order to the lamps that changes nothing, acknowledged. Raises a LightsError."""
        if self._lights is not None:
            async with self._moving_lights:
                await self._lights.set_levels(dict(self._lights.levels_pct))

    async def set_portrait_light(self) -> None:
        """The lamps at portrait level, acknowledged and seen; raises a LightsError or CameraError."""
        if self._settings.lights is not None:
            await self._set_all(self._settings.lights.nominal_pct)

    async def set_standby_light(self) -> None:
        """The lamps dimmed, acknowledged; raises a LightsError."""
        if self._settings.lights is not None:
            await self._set_all(self._settings.lights.standby_pct, seen=False)

    async def _set_all(self, level_pct: float, *, seen: bool = True) -> None:
        assert self._settings.lights is not None
        names = [name for name in CHANNELS if name in self._settings.lights.channels]
        await self.set_levels(dict.fromkeys(names, level_pct), seen=seen)

    @property
    def settled_ns(self) -> int:
        """When lamps or camera were changed last; only a frame exposed later shows the light as it is."""
        return self._settled_ns

    async def set_camera(self, settings: CameraControlSettings) -> CameraControlState | None:
        """Sets the camera and reads back what it uses; None without camera control. Raises a ControlError."""
        if self._controls is None:
            return None
        self._control_state = await self._controls.apply(settings)
        self._settled_ns = time.monotonic_ns()
        return self._control_state

    async def set_levels(
        self, levels_pct: Mapping[str, float], *, seen: bool = True, ramped: bool = True
    ) -> Mapping[str, float]:
        """Brings the named lamps to their levels and returns all acknowledged ones; empty without lamps. Raises a LightsError or CameraError.

        With `seen`, waits until the camera delivered a frame exposed after the last step; without `ramped`, in one step.
        """
        if self._lights is None:
            return {}
        async with self._moving_lights:
            for step in self._ramp(levels_pct) if ramped else (levels_pct,):
                if (left_s := RAMP_PERIOD_S - (time.monotonic_ns() - self._settled_ns) / 1e9) > 0:
                    await asyncio.sleep(left_s)
                try:
                    await self._lights.set_levels(step)
                finally:  # what was given up or not answered may shine all the same
                    self._settled_ns = time.monotonic_ns()
        if seen:
            await self._frame_after(self._settled_ns)
        return self._lights.levels_pct

    def _ramp(self, levels_pct: Mapping[str, float]) -> tuple[dict[str, float], ...]:
        now = self.levels_pct
        change = max((abs(level - now.get(name, 0.0)) for name, level in levels_pct.items()), default=0.0)
        return ramp(now, levels_pct, math.ceil(change / RAMP_STEP_PCT))

    async def see(self) -> None:
        """Waits until the camera delivered a frame exposed after the last change of lamps or camera; raises a CameraError."""
        await self._frame_after(self._settled_ns)

    async def _frame_after(self, at_ns: int) -> None:
        """Waits for a preview frame that began after `at_ns`: the second one that arrives after it."""
        newest = self._camera.preview()
        sequence = -1 if newest is None else newest.sequence
        arrived = 0
        while arrived < 2:
            image = await self._camera.next_preview(sequence, FRAME_WAIT_S)
            sequence = image.sequence
            arrived += image.at_ns > at_ns

    @property
    def lift_reading(self) -> LiftReading | None:
        """Where the height axis is; None without one, and while it does not answer."""
        return None if self._lift is None else self._lift.reading

    @property
    def lift_limits(self) -> LiftLimits | None:
        """How far the height axis may go; None without one, and before it answered."""
        return None if self._lift is None else self._lift.limits

    @property
    def lift_home_mm(self) -> float | None:
        """Where the height axis looks for somebody whose height nobody knows, within its limits; None without one that answered."""
        settings, limits = self._settings.lift, self.lift_limits
        if settings is None or limits is None:
            return None
        home = (limits.low_mm + limits.high_mm) / 2 if settings.home_mm is None else settings.home_mm
        return min(max(home, limits.low_mm), limits.high_mm)

    @property
    def lens_cm(self) -> float | None:
        """How high the lens is above the floor; None without a height axis that answers."""
        reading = self.lift_reading
        return (
            None
            if reading is None or self._settings.lift is None
            else self._settings.lift.zero_cm + reading.position_mm / 10
        )

    async def move_lift(self, position_mm: float) -> None:
        """Carries the camera there and returns when it stands there, read back; any other end stops it. Raises a LiftError."""
        if self._lift is not None:
            try:
                await self._lift.move_to(position_mm)
            finally:
                self._settled_ns = time.monotonic_ns()

    async def echo_lift(self) -> LiftReading | None:
        """One order to the height axis that moves nothing (stop), and its answer; None without one. Raises a LiftError."""
        return None if self._lift is None else await self._lift.stop()

    async def burst(self, count: int) -> tuple[Frame, ...]:
        """Full-resolution stills one after another, each newer than the settled light; raises a CameraError or StaleStillError."""
        frames: list[Frame] = []
        try:
            while len(frames) < count:
                image = await self._camera.still(STILL_WAIT_S)
                frames.append(Frame.of(image, self.levels_pct, self._control_state))
                if image.at_ns <= self._settled_ns:
                    raise StaleStillError("A still is older than the lamps' change; check the camera's still address.")
        except BaseException:
            for frame in frames:
                frame.wipe()
            raise
        return tuple(frames)

    async def require_profile(self, profile: Profile) -> Size:
        """Takes one still and refuses a profile that it cannot satisfy (ProfileUnsatisfiableError); returns the still's size."""
        image = await self._camera.still(STILL_WAIT_S)
        height, width = image.pixels.shape[:2]
        Frame.of(image, {}).wipe()  # somebody may stand before the camera
        size = Size(width, height)
        check_size(profile, size)
        return size


@asynccontextmanager
async def open_station(
    settings: StationSettings, on_status: Callable[[DeviceStatus], None] | None = None
) -> AsyncIterator[Station]:
    """The station, whatever of it is there; devices that are missing keep being tried."""
    async with AsyncExitStack() as stack:
        camera = await stack.enter_async_context(open_camera(settings.camera, on_status))
        controls = lights = lift = None
        if settings.controls is not None:
            controls = await stack.enter_async_context(open_controls(settings.controls, on_status))
        if settings.lights is not None:
            lights = await stack.enter_async_context(
                open_lights(settings.lights.url, settings.lights.channels, on_status)
            )
        if settings.lift is not None:
            lift = await stack.enter_async_context(open_lift(settings.lift, on_status))
        yield Station(settings, camera, controls, lights, lift)
