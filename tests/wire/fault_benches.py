"""The devices of the fault matrix: how each is opened and proved, in the virtual booth or, with `--device URL`, a real one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
import serial

from hardware.camera import Camera, CameraSettings, open_camera
from hardware.controls import CameraControls, CameraControlSettings, CameraControlState, ExposureMode
from hardware.lights import CHANNELS, FixtureMap, Lights, LightsSettings, open_lights
from hardware.link import DeviceStatus, StatusCallback
from hardware.visca import ControlsSettings, open_controls

# How long a picture is waited for: on a starved machine it takes long, and one that cannot come need not be waited for so long.
PATIENT_S, IMPATIENT_S = 15.0, 1.2
CAMERA_NAME = "camera.test"


class Driver(Protocol):
    """What all drivers have."""

    @property
    def status(self) -> DeviceStatus: ...


class Bench(Protocol):
    """One kind of device."""

    patience_s: float  # of a call that waits for what the device sends by itself

    def open(self, on_status: StatusCallback) -> AbstractAsyncContextManager[Any]:
        """The product's driver."""

    async def prove(self, driver: Any) -> None:
        """A call that the device must answer; raises a `HardwareError`."""

    async def require_restored(self, driver: Any) -> None:
        """What was acknowledged last is what the device has now."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Another program holds the device."""

    def is_about(self, line: str) -> bool:
        """Whether a line of the log is about this device."""


class LightsBench:
    """WLED and DMX."""

    patience_s = PATIENT_S

    def __init__(self, settings: Mapping[str, Any], booth: Any) -> None:
        self.settings = LightsSettings.model_validate(settings)
        self._booth = booth
        self._turn = 0
        self._levels: Mapping[str, float] = {}

    @asynccontextmanager
    async def open(self, on_status: StatusCallback) -> AsyncIterator[Lights]:
        async with open_lights(self.settings.url, self.settings.channels, on_status) as lights:
            yield lights

    async def prove(self, driver: Lights) -> None:
        self._turn += 1
        self._levels = await driver.set_levels(dict.fromkeys(CHANNELS, 40 if self._turn % 2 else 60))

    async def require_restored(self, driver: Lights) -> None:
        # A channel that nobody set (the status light) is as the controller has it.
        assert {name: driver.levels_pct[name] for name in CHANNELS} == {name: self._levels[name] for name in CHANNELS}
        if self._booth is not None:
            assert self._lit() == pytest.approx({name: self._levels[name] for name in CHANNELS}, abs=0.01)

    def _lit(self) -> dict[str, float]:
        shown = self._booth.state("lights")
        if "segments" in shown:
            return {name: shown["segments"][name]["bri"] * 100 / 255 for name in CHANNELS}
        slots, lit = shown["first_channels"], {}
        for name in CHANNELS:
            place = self.settings.channels[name]
            assert isinstance(place, FixtureMap)
            assert place.fine is not None
            lit[name] = (slots[place.address - 1] * 256 + slots[place.fine - 1]) * 100 / 65535
        return lit

    def held(self) -> Any:
        return serial.Serial(urlsplit(self.settings.url).path, exclusive=True)

    def is_about(self, line: str) -> bool:
        return self.settings.url in line


class ViscaBench:
    """Camera control."""

    patience_s = PATIENT_S

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = 0
        self._state: CameraControlState | None = None

    @asynccontextmanager
    async def open(self, on_status: StatusCallback) -> AsyncIterator[CameraControls]:
        async with open_controls(ControlsSettings(url=self._url), on_status) as controls:
            yield controls

    async def prove(self, driver: CameraControls) -> None:
        self._turn += 1
        exposure_us = 10_000 if self._turn % 2 else 4_000
        wanted = CameraControlSettings(exposure_mode=ExposureMode.MANUAL, exposure_us=exposure_us, gain_db=6)
        self._state = await driver.apply(wanted)

    async def require_restored(self, driver: CameraControls) -> None:
        assert await driver.read() == self._state

    def held(self) -> Any:
        return serial.Serial(urlsplit(self._url).path, exclusive=True)

    def is_about(self, line: str) -> bool:
        return self._url in line


class CameraBench:
    """The stream; the simulator's camera is reached by a name, which the test resolves."""

    def __init__(self, settings: Mapping[str, Any], booth: Any) -> None:
        self._settings = CameraSettings.model_validate(settings)
        self._booth = booth
        self._sequence = 0
        self.patience_s = PATIENT_S
        self._address = urlsplit(self._settings.url).hostname

    def named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on the URL has a name, which leads to where the camera was last."""
        port = urlsplit(self._settings.url).port
        resolve = socket.getaddrinfo

        def look_up(host: Any, *rest: Any, **more: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            return resolve(self._address if name == CAMERA_NAME else host, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        self._settings = self._settings.model_copy(update={"url": f"http://{CAMERA_NAME}:{port}/preview.mjpg"})

    def calm(self, fps: float) -> None:
        """The camera runs at this rate, and the settings say so."""
        self._booth.fault("camera.calm")
        self._settings = self._settings.model_copy(update={"fps": fps})

    def look_where_it_is(self) -> None:
        """What a name server would say now."""
        self._address = self._booth.state("camera")["address"]

    @asynccontextmanager
    async def open(self, on_status: StatusCallback) -> AsyncIterator[Camera]:
        async with open_camera(self._settings, on_status) as camera:
            yield camera

    async def prove(self, driver: Camera) -> None:
        self._sequence = (await driver.next_preview(self._sequence, self.patience_s)).sequence

    async def prove_still(self, driver: Camera) -> None:
        """The other call."""
        await driver.still(self.patience_s)

    async def require_restored(self, driver: Camera) -> None:
        await self.prove(driver)

    @contextmanager
    def held(self) -> Iterator[None]:
        parts = urlsplit(self._settings.url)
        assert parts.hostname is not None
        with socket.create_connection((parts.hostname, parts.port or 80), timeout=10) as viewer:
            viewer.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.hostname}\r\n\r\n".encode())
            assert viewer.recv(1)
            yield

    def is_about(self, line: str) -> bool:
        return line.startswith("camera ")


BENCH_OF_SCHEME: Mapping[str, str] = {
    "wled+serial": "wled",
    "dmx+serial": "dmx",
    "visca+serial": "visca",
    "http": "camera",
    "https": "camera",
    "v4l2": "camera",
}


def make_bench(kind: str, url: str | None, booths: Mapping[str, Any]) -> tuple[Bench, Any]:
    """The bench, and the virtual booth it stands in (None for a real device)."""
    if url is not None:
        if kind == "visca":
            return ViscaBench(url), None
        if kind == "camera":
            return CameraBench({"url": url}, None), None
        key, first = ("segment", 0) if kind == "wled" else ("address", 1)
        channels = {name: {key: first + number} for number, name in enumerate(CHANNELS)}
        return LightsBench({"url": url, "channels": channels}, None), None
    booth = booths["dmx-fine" if kind == "dmx" else "seated"]
    if kind == "visca":
        return ViscaBench(booth.settings["controls"]["url"]), booth
    if kind == "camera":
        return CameraBench(booth.settings["camera"], booth), booth
    return LightsBench(booth.settings["lights"], booth), booth


async def ask_person(config: pytest.Config, text: str) -> None:
    """Ask the person at the real device to do something, and wait until it is done."""
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.suspend_global_capture(in_=True)
    try:
        await asyncio.get_running_loop().run_in_executor(None, input, f"\n    {text}, then press Enter at once: ")
    finally:
        capture.resume_global_capture()
