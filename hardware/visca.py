"""Camera control over VISCA (RS-232, 9600 8N1 by default): the driver over `visca_codec` (bytes) and `visca_line` (dialogue).

Order of operation:

1. Connect: AddressSet, IF_Clear, version, power. A camera in standby is switched on (unless it was switched off through `apply`), which
   takes seconds; then the settings that were acknowledged before a loss are set again.
2. Set: at most two commands run at a time (the camera's two sockets). Modes go first, because they decide which values the camera
   takes; the focus position goes last, because zooming moves it.
3. Read back: every register is asked for and compared with what was sent. What differs raises `ControlRefusedError`.

A network change (the camera was plugged into the chain) sets the addresses and the settings again; so does a camera that was switched
on or off by somebody else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from hardware.controls import (
    CameraControls,
    CameraControlSettings,
    CameraControlState,
    ExposureMode,
    FocusMode,
    WhiteBalance,
    merge,
)
from hardware.errors import (
    ControlAnswerError,
    ControlLostError,
    ControlRefusedError,
    ControlSyntaxError,
    ControlTimeoutError,
    LinkError,
    LinkGarbledError,
    LinkSilentError,
)
from hardware.link import DeviceStatus, Port, SerialLink, StatusBoard, StatusCallback, read_serial_path
from hardware.visca_codec import (
    ASK_PAN_TILT,
    ASK_VERSION,
    FOCUS_ONCE,
    OFF,
    ON,
    WHITE_ONCE,
    Command,
    Register,
    encode_ask,
    encode_pan_tilt,
    encode_set,
    read_pan_tilt,
    read_value,
    read_version,
)
from hardware.visca_line import ViscaLine
from hardware.visca_models import CameraModel, load_model

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEME = "visca+serial"
SETTING_S = 3.0
MOTOR_S = 10.0
POWER_ON_S = 15.0
# How long a camera may refuse commands after it said that it is on.
WARM_UP_S = 10.0
PAUSE_S = 0.1

EXPOSURE_MODES = {
    ExposureMode.AUTO: 0x00,
    ExposureMode.MANUAL: 0x03,
    ExposureMode.SHUTTER: 0x0A,
    ExposureMode.IRIS: 0x0B,
}
WHITE_BALANCES = {
    WhiteBalance.AUTO: 0x00,
    WhiteBalance.INDOOR: 0x01,
    WhiteBalance.OUTDOOR: 0x02,
    WhiteBalance.ONE_PUSH: 0x03,
    WhiteBalance.MANUAL: 0x05,
}
FOCUS_MODES = {FocusMode.AUTO: 0x02, FocusMode.MANUAL: 0x03}


class ControlsSettings(BaseModel):
    """Where the control line is and which model's tables apply."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    address: Annotated[int, Field(ge=1, le=7)] = 1
    model: str = "evi-d70"
    baud: int = 9600
    # V4L2: how many decibels one step of the camera's gain is; without it gain is neither told nor set.
    gain_db_per_step: Annotated[float, Field(gt=0)] | None = None


# The settings whose commands need each other's modes first, in this order.
MODES = (Register.EXPOSURE_MODE, Register.WHITE_BALANCE, Register.FOCUS_MODE, Register.BACKLIGHT)
VALUES = (Register.SHUTTER, Register.IRIS, Register.GAIN, Register.RED_GAIN, Register.BLUE_GAIN, Register.ZOOM)
TILT = "tilt"
ASKED = (*MODES, *VALUES, Register.FOCUS)


class ViscaDialogue:
    """The driver, on its port's thread."""

    idle_s: ClassVar[float] = 2.0

    def __init__(self, address: int, model: CameraModel) -> None:
        self._address = address
        self._model = model
        self._line: ViscaLine | None = None
        # What was acknowledged, for a camera that comes back.
        self._wanted = CameraControlSettings(powered=True)

    def connect(self, link: SerialLink) -> Mapping[str, str]:
        """Addresses, version, power; restore the settings."""
        link.discard()
        self._line = line = ViscaLine(link, self._address)
        line.set_addresses()
        version = line.ask(ASK_VERSION, read_version)
        self._restore(line)
        return {
            "vendor": f"{version.vendor:04X}",
            "model": f"{version.model:04X}",
            "firmware": f"{version.rom:04X}",
            "sockets": str(version.sockets),
        }

    def _restore(self, line: ViscaLine) -> None:
        self._power(line, on=self._wanted.powered is not False)
        if self._wanted.powered is not False:
            self._set(line, self._wanted)

    def idle(self, link: SerialLink) -> None:
        """See that the camera is there, and whether it was plugged into the chain or switched anew."""
        line = self._ready(link)
        line.next_reply(0)
        if line.network_changed:
            log.warning("the VISCA chain changed: addresses and settings set again")
            line.set_addresses()
            self._restore(line)
        elif self._powered(line) is not (self._wanted.powered is not False):
            log.warning("the camera was switched on or off by somebody else: power and settings set again")
            self._restore(line)

    def _ready(self, link: SerialLink) -> ViscaLine:
        if self._line is None:
            self._line = ViscaLine(link, self._address)
        return self._line

    def apply(self, link: SerialLink, settings: CameraControlSettings) -> CameraControlState:
        """Set, read back, compare, remember."""
        line = self._ready(link)
        if settings.powered is not None:
            self._power(line, on=settings.powered)
        sent = self._set(line, settings)
        raw = self._read_raw(line)
        for register, value in sent.items():
            if abs(raw.get(register, -0x10000) - value) > self._tolerance(register):
                got = raw.get(register)
                raise ControlRefusedError(
                    f"The camera does not take {_name(register)}: asked for {value}, it says {'nothing' if got is None else got}; "
                    "correct the setting, or the model in the settings."
                )
        self._wanted = merge(self._wanted, settings)
        return self._state(raw)

    def read(self, link: SerialLink) -> CameraControlState:
        """Ask for all settings."""
        return self._state(self._read_raw(self._ready(link)))

    def once(self, link: SerialLink, name: str, message: bytes) -> None:
        """Perform a command that sets nothing."""
        self._ready(link).execute([Command(name, message, MOTOR_S)])

    def _powered(self, line: ViscaLine) -> bool:
        return line.ask(encode_ask(Register.POWER), partial(read_value, Register.POWER)) == ON

    def _power(self, line: ViscaLine, *, on: bool) -> None:
        if self._powered(line) is on:
            return
        line.execute([Command("power", encode_set(Register.POWER, ON if on else OFF), POWER_ON_S)])
        deadline = time.monotonic() + POWER_ON_S
        while self._powered(line) is not on:
            if time.monotonic() >= deadline:
                raise ControlRefusedError("The camera does not switch on or off: check its supply and its switches.")
            line.next_reply(PAUSE_S)
        if on:
            line.warm_at = time.monotonic() + WARM_UP_S

    def _set(self, line: ViscaLine, settings: CameraControlSettings) -> dict[Register | str, int]:
        """Send what is given; return what was sent."""
        values = self._steps(settings)
        sent = dict(values)
        line.execute([self._command(register, values) for register in MODES if register in values])
        commands = [self._command(register, values) for register in VALUES if register in values]
        if settings.tilt_deg is not None and self._model.tilt is not None:
            pan, _ = line.ask(ASK_PAN_TILT, read_pan_tilt)
            sent[TILT] = steps = self._model.tilt_steps(settings.tilt_deg)
            commands.append(Command(TILT, encode_pan_tilt(pan, steps, self._model.tilt.speed), MOTOR_S))
        line.execute(commands)
        if Register.FOCUS in values:
            line.execute([self._command(Register.FOCUS, values)])
        return sent

    def _command(self, register: Register, values: Mapping[Register | str, int]) -> Command:
        timeout_s = MOTOR_S if register in {Register.ZOOM, Register.FOCUS} else SETTING_S
        return Command(_name(register), encode_set(register, values[register]), timeout_s)

    def _steps(self, settings: CameraControlSettings) -> dict[Register | str, int]:
        model = self._model
        given: dict[Register, int | None] = {
            Register.EXPOSURE_MODE: None if settings.exposure_mode is None else EXPOSURE_MODES[settings.exposure_mode],
            Register.WHITE_BALANCE: None if settings.white_balance is None else WHITE_BALANCES[settings.white_balance],
            Register.FOCUS_MODE: None if settings.focus_mode is None else FOCUS_MODES[settings.focus_mode],
            Register.BACKLIGHT: None if settings.backlight is None else ON if settings.backlight else OFF,
            Register.SHUTTER: None if settings.exposure_us is None else model.shutter_step(settings.exposure_us),
            Register.IRIS: None if settings.f_number is None else model.iris_step(settings.f_number),
            Register.GAIN: None if settings.gain_db is None else model.gain_step(settings.gain_db),
            Register.RED_GAIN: settings.red_gain,
            Register.BLUE_GAIN: settings.blue_gain,
            Register.ZOOM: None if settings.zoom_ratio is None else model.zoom_position(settings.zoom_ratio),
            Register.FOCUS: None if settings.focus_position is None else model.focus_step(settings.focus_position),
        }
        for name in ("power_line_hz", "white_kelvin"):
            if getattr(settings, name) is not None:
                raise ControlRefusedError(f"VISCA knows no {name}: take it out of [controls.settings].")
        if settings.tilt_deg is not None:
            model.tilt_steps(settings.tilt_deg)  # refused before anything is sent
        return {register: value for register, value in given.items() if value is not None}

    def _tolerance(self, register: Register | str) -> int:
        if register == Register.ZOOM:
            return self._model.zoom_tolerance
        if register == Register.FOCUS:
            return self._model.focus_tolerance
        if register == TILT and self._model.tilt is not None:
            return round(self._model.tilt.tolerance_deg * self._model.tilt.steps_per_deg)
        return 0

    def _read_raw(self, line: ViscaLine) -> dict[Register | str, int]:
        """All values; what the camera does not know or does not tell now is left out."""
        raw: dict[Register | str, int] = {Register.POWER: ON if self._powered(line) else OFF}
        if raw[Register.POWER] != ON:
            return raw
        for register in ASKED:
            try:
                raw[register] = line.ask(encode_ask(register), partial(read_value, register))
            except (ControlSyntaxError, ControlRefusedError):
                continue
        if self._model.tilt is not None:
            raw[TILT] = line.ask(ASK_PAN_TILT, read_pan_tilt)[1]
        return raw

    def _state(self, raw: Mapping[Register | str, int]) -> CameraControlState:
        model = self._model
        backlight, tilt, zoom, iris = (
            raw.get(Register.BACKLIGHT),
            raw.get(TILT),
            raw.get(Register.ZOOM),
            raw.get(Register.IRIS),
        )
        shutter = _at(model.shutter_per_s, raw.get(Register.SHUTTER))
        return CameraControlState(
            powered=raw[Register.POWER] == ON,
            exposure_mode=_key(EXPOSURE_MODES, raw.get(Register.EXPOSURE_MODE)),
            exposure_us=None if shutter is None else 1e6 / shutter,
            f_number=_at(model.f_numbers, iris) or None,
            gain_db=_at(model.gain_db, raw.get(Register.GAIN)),
            backlight=None if backlight is None else backlight == ON,
            white_balance=_key(WHITE_BALANCES, raw.get(Register.WHITE_BALANCE)),
            red_gain=raw.get(Register.RED_GAIN),
            blue_gain=raw.get(Register.BLUE_GAIN),
            focus_mode=_key(FOCUS_MODES, raw.get(Register.FOCUS_MODE)),
            focus_position=raw.get(Register.FOCUS),
            zoom_ratio=None if zoom is None else model.zoom_ratio(zoom),
            tilt_deg=None if tilt is None or model.tilt is None else tilt / model.tilt.steps_per_deg,
        )


def _name(register: Register | str) -> str:
    return register.name.lower().replace("_", " ") if isinstance(register, Register) else register


def _at(steps: Sequence[float], step: int | None) -> float | None:
    return steps[step] if step is not None and step < len(steps) else None


def _key(codes: Mapping[T, int], code: int | None) -> T | None:
    return next((key for key, each in codes.items() if each == code), None)


class ViscaControls:
    """A camera's controls behind a serial port."""

    def __init__(self, port: Port, dialogue: ViscaDialogue) -> None:
        self._port = port
        self._dialogue = dialogue

    @property
    def status(self) -> DeviceStatus:
        """See `CameraControls`."""
        return self._port.board.status

    async def read(self) -> CameraControlState:
        """See `CameraControls`."""
        return await self._run(self._dialogue.read)

    async def apply(self, settings: CameraControlSettings) -> CameraControlState:
        """See `CameraControls`."""

        def job(link: SerialLink) -> CameraControlState:
            with self._port.board.judging():
                return self._dialogue.apply(link, settings)

        return await self._run(job)

    async def focus_once(self) -> None:
        """See `CameraControls`."""
        await self._run(lambda link: self._dialogue.once(link, "focus once", FOCUS_ONCE))

    async def measure_white_balance(self) -> None:
        """See `CameraControls`."""
        await self._run(lambda link: self._dialogue.once(link, "white balance once", WHITE_ONCE))

    async def _run(self, job: Callable[[SerialLink], T]) -> T:
        try:
            return await self._port.run(job)
        except LinkSilentError as error:
            raise ControlTimeoutError(f"The camera control does not answer: {error}") from error
        except LinkGarbledError as error:
            raise ControlAnswerError(f"The camera control cannot be understood: {error}") from error
        except LinkError as error:
            raise ControlLostError(f"The camera control cannot be reached: {error}") from error


@asynccontextmanager
async def open_controls(
    settings: ControlsSettings | str, on_status: StatusCallback | None = None
) -> AsyncIterator[CameraControls]:
    """Open the controls (visca+serial:///dev/…, v4l2:///dev/…); a missing camera is waited for. Closing leaves the camera as it is."""
    if isinstance(settings, str):
        settings = ControlsSettings(url=settings)
    if settings.url.startswith("v4l2:"):
        from hardware.v4l2_controls import open_v4l2_controls

        opening = open_v4l2_controls(settings.url, on_status, gain_db_per_step=settings.gain_db_per_step)
        async with opening as v4l2:
            yield v4l2
        return
    path = read_serial_path(settings.url, SCHEME)
    dialogue = ViscaDialogue(settings.address, load_model(settings.model))
    board = StatusBoard("controls", settings.url, on_status)
    port = Port(board, path, settings.baud, dialogue, dialogue.idle_s)
    try:
        await port.open()
        yield ViscaControls(port, dialogue)
    finally:
        await port.close()
