"""Camera control over V4L2 (UVC cameras and others), beside the stream of the same device. hardware: untested: no real camera was met.

Order of operation: as `visca`: modes go first, because they decide which values the camera takes; then the values; then everything is asked for again and
compared (ControlRefusedError). A camera that comes back gets the acknowledged settings again. One named thread talks to the device.

Units: `v4l2_units`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urlsplit

from hardware.controls import (
    CameraControls,
    CameraControlSettings,
    CameraControlState,
    merge,
)
from hardware.errors import ControlError, ControlLostError, ControlRefusedError, ControlValueError, SettingsError
from hardware.link import ANSWERS, RETRY_S, DeviceState, DeviceStatus, StatusBoard, StatusCallback
from hardware.v4l2_device import LinuxpyDevice, VideoDevice
from hardware.v4l2_units import Entries, Wanted, modes_of, state_of, values_of

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEME = "v4l2"
IDLE_S = 2.0
# How long an automatic is let work when the camera has no button for it: UVC cameras settle within a second or two.
AUTOMATIC_S = 2.0
# Values that a camera rounds to its own steps may come back changed by this share.
TOLERANCE = 0.02


class V4l2Dialogue:
    """The driver, on its own thread; raises `ControlError`."""

    def __init__(self, path: str, open_device: Callable[[str], VideoDevice], gain_db_per_step: float | None) -> None:
        self._path, self._open, self._gain_db = path, open_device, gain_db_per_step
        self._device: VideoDevice | None = None
        self._driver = ""
        self._wanted = CameraControlSettings()

    def connect(self) -> Mapping[str, str]:
        """Opens the device and restores what was acknowledged."""
        try:
            self._device = self._open(self._path)
            told = self._device.identity()
        except OSError as error:
            self.close()
            raise ControlLostError(_why(self._path, error)) from error
        self._driver = told.get("driver", "")
        if self._wanted.model_dump(exclude_none=True):
            self.apply(self._wanted)
        return told

    def close(self) -> None:
        """Lets go of the device."""
        device, self._device = self._device, None
        if device is not None:
            with contextlib.suppress(OSError):  # a device that is gone
                device.close()

    def read(self) -> CameraControlState:
        """Asks for everything."""
        return state_of(self._entries(), driver=self._driver, gain_db_per_step=self._gain_db)

    def apply(self, settings: CameraControlSettings) -> CameraControlState:
        """Sets, reads back, compares, remembers."""
        if settings.powered is False:
            raise ControlRefusedError("A V4L2 camera cannot be switched off: leave powered out of the settings.")
        modes = self._send(modes_of(settings, self._entries()))
        values = values_of(settings, self._entries(), driver=self._driver, gain_db_per_step=self._gain_db)
        sent = self._send(values)
        after = self._entries()
        for (setting, control), value in (modes | sent).items():
            entry = after[control]
            span = 0 if (setting, control) in modes else max(entry.step, abs(value) * TOLERANCE)
            if entry.value is not None and abs(entry.value - value) > span:
                raise ControlRefusedError(
                    f"The camera does not take {setting}: asked for {value}, it says {entry.value}; correct the setting."
                )
        self._wanted = merge(self._wanted, settings)
        return state_of(after, driver=self._driver, gain_db_per_step=self._gain_db)

    def _send(self, wanted: Wanted) -> dict[tuple[str, str], int]:
        """Sets one control after another; returns what was sent, on the camera's steps."""
        entries, sent = self._entries(), dict[tuple[str, str], int]()
        for setting, control, value in wanted:
            entry = entries.get(control)
            if entry is None:
                raise ControlRefusedError(f"The camera has no {setting} (V4L2 control {control}): leave it out.")
            if not entry.minimum <= value <= entry.maximum:
                raise ControlValueError(
                    f"The camera's {setting} (V4L2 control {control}) goes from {entry.minimum} to {entry.maximum}, not to {value}."
                )
            stepped = min(entry.minimum + round((value - entry.minimum) / entry.step) * entry.step, entry.maximum)
            if entry.value != stepped:
                self._set(control, stepped, setting)
            sent[setting, control] = stepped
        return sent

    def _set(self, control: str, value: int, setting: str) -> None:
        device = self._opened()
        try:
            device.set(control, value)
        except OSError as error:
            if error.errno in GONE:
                raise ControlLostError(_why(self._path, error)) from error
            raise ControlRefusedError(
                f"The camera refuses {setting} = {value} (V4L2 control {control}): {error.strerror or error}."
            ) from error

    def focus_once(self) -> None:
        """By the camera's button, else by its automatic for a while."""
        self._once("auto_focus_start", "focus_auto", "focus")

    def measure_white(self) -> None:
        """By the camera's button, else by its automatic for a while."""
        self._once("do_white_balance", "auto_white_balance", "white balance")

    def _once(self, button: str, automatic: str, what: str) -> None:
        entries = self._entries()
        if button in entries and entries[button].active:
            self._set(button, 1, what)
            time.sleep(AUTOMATIC_S)
        elif automatic in entries:
            self._set(automatic, 1, what)
            time.sleep(AUTOMATIC_S)
            self._set(automatic, 0, what)
        else:
            raise ControlRefusedError(f"The camera has no automatic {what}.")

    def _entries(self) -> Entries:
        device = self._opened()
        try:
            return device.controls()
        except OSError as error:
            raise ControlLostError(_why(self._path, error)) from error

    def _opened(self) -> VideoDevice:
        if self._device is None:
            raise ControlLostError(f"The camera control at {self._path} is not connected.")
        return self._device


# The device is gone, whatever was asked.
GONE = frozenset({errno.ENOENT, errno.EIO, errno.ENXIO, errno.EBADF, errno.ENODEV})


def _why(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"No camera at {path}: plug it in, or correct the path in the settings."
    if isinstance(error, PermissionError):
        return f"{path} may not be opened: give this user access (group video)."
    return f"The camera control at {path} was lost ({error.strerror or error}): check the cable."


class V4l2Controls:
    """A V4L2 camera's controls."""

    def __init__(self, dialogue: V4l2Dialogue, board: StatusBoard) -> None:
        self._dialogue, self._board = dialogue, board
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="v4l2 controls")
        self._seen = False

    @property
    def status(self) -> DeviceStatus:
        """See `CameraControls`."""
        return self._board.status

    async def read(self) -> CameraControlState:
        """See `CameraControls`."""
        return await self._run(self._dialogue.read)

    async def apply(self, settings: CameraControlSettings) -> CameraControlState:
        """See `CameraControls`."""

        def job() -> CameraControlState:
            with self._board.judging():
                return self._dialogue.apply(settings)

        return await self._run(job)

    async def focus_once(self) -> None:
        """See `CameraControls`."""
        await self._run(self._dialogue.focus_once)

    async def measure_white_balance(self) -> None:
        """See `CameraControls`."""
        await self._run(self._dialogue.measure_white)

    async def _run(self, job: Callable[[], T]) -> T:
        if self.status.state is not DeviceState.READY:
            raise ControlLostError(f"The camera control is {self.status.state}: {self.status.detail}")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, job)

    def _guarded(self, job: Callable[[], T]) -> T:
        try:
            return job()
        except ControlLostError as error:
            self._lose(error)
            raise

    def _lose(self, error: ControlError) -> None:
        self._dialogue.close()
        self._board.tell(DeviceState.LOST if self._seen else DeviceState.MISSING, str(error))

    def try_connect(self) -> None:
        """On the thread: opens the device, or asks it whether it is there."""
        try:
            if self.status.state is DeviceState.READY:
                self._dialogue.read()
            else:
                told = self._dialogue.connect()
                self._seen = True
                self._board.tell(DeviceState.READY, ANSWERS, told)
        except ControlError as error:
            self._lose(error)

    async def follow(self) -> None:
        """Keeps the device; runs until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(IDLE_S if self.status.state is DeviceState.READY else RETRY_S)
            await loop.run_in_executor(self._thread, self.try_connect)

    async def open(self) -> None:
        """The first attempt."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.try_connect)

    async def close(self) -> None:
        """Lets go of device and thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._dialogue.close)
        self._thread.shutdown()


def read_path(url: str) -> str:
    """The device of v4l2:///dev/…; raises `SettingsError`."""
    parts = urlsplit(url)
    if parts.scheme != SCHEME or parts.netloc or not parts.path.startswith("/dev/") or parts.query or parts.fragment:
        raise SettingsError(
            f"{url!r} does not name a video device: write v4l2:///dev/v4l/by-id/… or v4l2:///dev/video0."
        )
    return parts.path


@asynccontextmanager
async def open_v4l2_controls(
    url: str,
    on_status: StatusCallback | None = None,
    *,
    gain_db_per_step: float | None = None,
    open_device: Callable[[str], VideoDevice] = LinuxpyDevice,
) -> AsyncIterator[CameraControls]:
    """Opens a camera's controls (v4l2:///dev/…); a missing camera is waited for. Closing leaves the camera as it is."""
    board = StatusBoard("controls", url, on_status)
    board.bind(asyncio.get_running_loop())
    controls = V4l2Controls(V4l2Dialogue(read_path(url), open_device, gain_db_per_step), board)
    following: asyncio.Task[None] | None = None
    try:
        await controls.open()
        following = asyncio.create_task(controls.follow(), name="v4l2 controls")
        yield controls
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await controls.close()
