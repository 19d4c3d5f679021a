"""The seam of camera control: exposure, focus, zoom, white balance and tilt, in physical units where the camera has them.

Every setting is read back and compared before `apply` returns. Values between a camera's steps go to the nearest step (in stops for
times and apertures), and the state that comes back says what the camera really uses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from hardware.link import DeviceStatus


class ExposureMode(StrEnum):
    """Who chooses shutter, iris and gain."""

    AUTO = "auto"
    MANUAL = "manual"
    SHUTTER = "shutter"
    IRIS = "iris"


class FocusMode(StrEnum):
    """Who chooses the distance."""

    AUTO = "auto"
    MANUAL = "manual"


class WhiteBalance(StrEnum):
    """Who chooses the colour gains."""

    AUTO = "auto"
    INDOOR = "indoor"
    OUTDOOR = "outdoor"
    ONE_PUSH = "one_push"
    MANUAL = "manual"


class CameraControlSettings(BaseModel):
    """What to set; None leaves a setting as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    powered: bool | None = None
    exposure_mode: ExposureMode | None = None
    exposure_us: Annotated[float, Field(gt=0)] | None = None
    f_number: Annotated[float, Field(gt=0)] | None = None
    gain_db: float | None = None
    backlight: bool | None = None
    white_balance: WhiteBalance | None = None
    red_gain: Annotated[int, Field(ge=0, le=255)] | None = None
    blue_gain: Annotated[int, Field(ge=0, le=255)] | None = None
    focus_mode: FocusMode | None = None
    focus_position: Annotated[int, Field(ge=0, le=0xFFFF)] | None = None
    zoom_ratio: Annotated[float, Field(ge=1)] | None = None
    tilt_deg: float | None = None
    white_kelvin: Annotated[int, Field(ge=1000, le=20000)] | None = None  # V4L2: the light that shows neutral
    power_line_hz: Literal[0, 50, 60] | None = None  # V4L2: against flicker of the mains' lamps


class CameraControlState(BaseModel):
    """What the camera says it uses; None where it has no such thing, or does not tell (an iris that is closed has no f-number)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    powered: bool
    exposure_mode: ExposureMode | None = None
    exposure_us: float | None = None
    f_number: float | None = None
    gain_db: float | None = None
    backlight: bool | None = None
    white_balance: WhiteBalance | None = None
    red_gain: int | None = None
    blue_gain: int | None = None
    focus_mode: FocusMode | None = None
    focus_position: int | None = None
    zoom_ratio: float | None = None
    tilt_deg: float | None = None
    white_kelvin: int | None = None
    power_line_hz: int | None = None


def merge(old: CameraControlSettings, new: CameraControlSettings) -> CameraControlSettings:
    """What holds after `new` on top of `old`: an automatic mode makes the values void that it chooses itself."""
    given = {**old.model_dump(exclude_none=True), **new.model_dump(exclude_none=True)}
    void = set[str]()
    if given.get("exposure_mode") in {ExposureMode.AUTO, ExposureMode.SHUTTER}:
        void |= {"f_number", "gain_db"}
    if given.get("exposure_mode") in {ExposureMode.AUTO, ExposureMode.IRIS}:
        void |= {"exposure_us", "gain_db"}
    if given.get("white_balance", WhiteBalance.MANUAL) is not WhiteBalance.MANUAL:
        void |= {"red_gain", "blue_gain", "white_kelvin"}
    if given.get("focus_mode") is FocusMode.AUTO:
        void |= {"focus_position"}
    return CameraControlSettings.model_validate({key: value for key, value in given.items() if key not in void})


class CameraControls(Protocol):
    """The controls of a camera."""

    @property
    def status(self) -> DeviceStatus:
        """The control line's state; never blocks."""

    async def read(self) -> CameraControlState:
        """Ask the camera for all settings. Raise a `ControlError`."""

    async def apply(self, settings: CameraControlSettings) -> CameraControlState:
        """Set what is given, in an order that the camera accepts, and read it back. Raise a `ControlError` naming the setting."""

    async def focus_once(self) -> None:
        """Let the camera focus once (manual focus stays on)."""

    async def measure_white_balance(self) -> None:
        """Let the camera measure white once (the white balance must be one_push)."""
