"""V4L2 camera control over a stand-in of linuxpy's device: units, modes first, read back, cameras that lack things or go away."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from hardware.controls import CameraControlSettings, ExposureMode, FocusMode, WhiteBalance
from hardware.errors import ControlLostError, ControlRefusedError, ControlValueError, SettingsError
from hardware.link import DeviceState
from hardware.v4l2_controls import open_v4l2_controls, read_path
from hardware.v4l2_device import LinuxpyDevice, find_cameras
from hardware.visca import open_controls

PATH = "/dev/video7"
URL = f"v4l2://{PATH}"


class Control:
    """As linuxpy shows one."""

    is_flagged_disabled = is_flagged_write_only = False

    def __init__(self, camera, name, low, high, value, *, step=1, by=None, automatic=None):
        self.standard = SimpleNamespace(name=name.upper())
        self.minimum, self.maximum, self.step = low, high, step
        self.camera, self.held, self.by, self.automatic = camera, value, by, automatic

    @property
    def is_flagged_inactive(self):
        """An automatic has it in its hands."""
        by = self.camera.found.get(self.by)
        return by is not None and by.held in self.automatic

    @property
    def is_writeable(self):
        return True

    @property
    def value(self):
        self.camera.require()
        return self.held

    @value.setter
    def value(self, value):
        self.camera.require()
        if self.is_flagged_inactive:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.camera.log.append((self.standard.name.lower(), value))
        self.held = self.camera.stubborn.get(self.standard.name.lower(), value)


class MenuControl(Control):
    def __init__(self, camera, name, menu, value):
        super().__init__(camera, name, min(menu), max(menu), value)
        self.data = menu


class ButtonControl(Control):
    def push(self):
        self.camera.log.append((self.standard.name.lower(), "pushed"))


class Controls(dict):
    def __init__(self, camera):
        super().__init__()
        self.camera = camera

    def refresh(self):
        self.camera.require()
        self.update(self.camera.found)


class Camera:
    """A UVC camera."""

    def __init__(self, *, lacks=()):
        self.log, self.stubborn, self.gone, self.opened = [], {}, False, 0
        made = [
            MenuControl(self, "exposure_auto", {1: "Manual Mode", 3: "Aperture Priority Mode"}, 3),
            Control(self, "exposure_auto_priority", 0, 1, 1),
            Control(self, "exposure_absolute", 3, 2047, 250, by="exposure_auto", automatic={3}),
            Control(self, "gain", 0, 255, 10),
            Control(self, "auto_white_balance", 0, 1, 1),
            Control(
                self, "white_balance_temperature", 2000, 6500, 4000, by="auto_white_balance", automatic={1}, step=10
            ),
            Control(self, "red_balance", 0, 1023, 512),
            Control(self, "focus_auto", 0, 1, 1),
            Control(self, "focus_absolute", 0, 250, 30, by="focus_auto", automatic={1}, step=5),
            Control(self, "zoom_absolute", 100, 500, 100),
            Control(self, "tilt_absolute", -36000, 36000, 0, step=3600),
            Control(self, "iris_absolute", 0, 2000, 280),
            Control(self, "backlight_compensation", 0, 2, 1),
            MenuControl(self, "power_line_frequency", {0: "Disabled", 1: "50 Hz", 2: "60 Hz"}, 2),
        ]
        self.found = {c.standard.name.lower(): c for c in made if c.standard.name.lower() not in lacks}
        self.info = SimpleNamespace(card="Studio\x1b[2J Cam", driver="uvcvideo", bus_info="usb-1.2", frame_types=[])

    def __call__(self, path):
        assert path == PATH
        self.controls = Controls(self)
        return self

    def require(self):
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")

    def open(self):
        if self.gone:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.opened += 1

    def close(self):
        self.opened -= 1


def opened(camera, **more):
    return open_v4l2_controls(URL, open_device=lambda path: LinuxpyDevice(path, camera), **more)


async def test_everything_is_told_in_the_units_of_the_seam_and_what_is_missing_is_none(no_tasks_left):
    camera = Camera(lacks=("iris_absolute", "backlight_compensation"))
    async with opened(camera) as controls:
        assert controls.status.state is DeviceState.READY
        assert controls.status.info["name"] == "Studio?[2J Cam"
        state = await controls.read()
    assert state.exposure_us == 25_000, "V4L2 counts in 100 microseconds"
    assert state.exposure_mode is ExposureMode.AUTO, "3 is the automatic of a camera without 0"
    assert (state.white_balance, state.focus_mode) == (WhiteBalance.AUTO, FocusMode.AUTO)
    assert (state.white_kelvin, state.power_line_hz, state.zoom_ratio) == (4000, 60, 1.0)
    assert (state.red_gain, state.blue_gain) == (128, None)
    assert (state.gain_db, state.f_number, state.backlight) == (None, None, None)
    assert camera.opened == 0


async def test_modes_go_first_values_follow_and_all_is_read_back(no_tasks_left):
    camera = Camera()
    settings = CameraControlSettings(
        exposure_mode="manual",
        exposure_us=16_667,
        white_balance="manual",
        white_kelvin=5004,
        focus_mode="manual",
        focus_position=43,
        red_gain=64,
        zoom_ratio=1.5,
        tilt_deg=2.0,
        f_number=4.0,
        gain_db=6.0,
        power_line_hz=50,
    )
    async with opened(camera, gain_db_per_step=0.5) as controls:
        state = await controls.apply(settings)
    order = [name for name, _ in camera.log]
    assert order.index("exposure_auto") < order.index("exposure_absolute")
    assert order.index("focus_auto") < order.index("focus_absolute")
    assert ("exposure_auto_priority", 0) in camera.log, "a dark picture must not lower the frame rate"
    assert state.exposure_us == 16_700
    assert (state.white_kelvin, state.focus_position) == (5000, 45), "the camera's own steps"
    assert (state.red_gain, state.zoom_ratio, state.tilt_deg, state.f_number) == (64, 1.5, 2.0, 4.0)
    assert (state.gain_db, state.power_line_hz) == (6.0, 50)
    assert camera.found["gain"].held == 12


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"exposure_mode": "manual", "exposure_us": 500_000}, ControlValueError, "exposure_us .* from 3 to 2047"),
        ({"blue_gain": 100}, ControlRefusedError, "no blue_gain"),
        ({"gain_db": 3.0}, ControlRefusedError, "gain_db_per_step"),
        ({"exposure_mode": "shutter"}, ControlRefusedError, "no exposure mode shutter"),
        ({"white_balance": "indoor"}, ControlRefusedError, "no white balance indoor"),
        ({"exposure_us": 10_000}, ControlRefusedError, "refuses exposure_us = 100 .*busy"),
        ({"power_line_hz": 50}, ControlRefusedError, "does not take power_line_hz: asked for 1, it says 2"),
        ({"powered": False}, ControlRefusedError, "cannot be switched off"),
    ],
)
async def test_what_the_camera_cannot_do_is_refused_with_its_name(settings, error, told, no_tasks_left):
    camera = Camera()
    camera.stubborn = {"power_line_frequency": 2}
    async with opened(camera) as controls:
        with pytest.raises(error, match=told):
            await controls.apply(CameraControlSettings(**settings))
        assert controls.status.state is DeviceState.READY


async def test_an_iris_of_an_unknown_driver_has_no_f_number(no_tasks_left):
    camera = Camera()
    camera.info.driver = "mxb"
    async with opened(camera) as controls:
        assert (await controls.read()).f_number is None
        with pytest.raises(ControlRefusedError, match="unit of its iris"):
            await controls.apply(CameraControlSettings(f_number=4.0))


async def test_a_camera_that_goes_is_lost_and_comes_back_with_its_settings(monkeypatch, no_tasks_left):
    monkeypatch.setattr("hardware.v4l2_controls.IDLE_S", 0.01)
    monkeypatch.setattr("hardware.v4l2_controls.RETRY_S", 0.01)
    camera, states, news = Camera(), [], asyncio.Event()

    def on_status(status):
        states.append(status.state)
        news.set()

    async def until(state):
        async with asyncio.timeout(5):
            while not states or states[-1] is not state:
                news.clear()
                await news.wait()

    async with opened(camera, on_status=on_status) as controls:
        await controls.apply(CameraControlSettings(exposure_mode="manual", exposure_us=10_000))
        camera.gone = True
        with pytest.raises(ControlLostError, match="was lost"):
            await controls.read()
        await until(DeviceState.LOST)
        with pytest.raises(ControlLostError):
            await controls.apply(CameraControlSettings(power_line_hz=50))
        camera.found["exposure_auto"].held, camera.found["exposure_absolute"].held = 3, 250
        camera.gone = False
        await until(DeviceState.READY)
        assert (await controls.read()).exposure_us == 10_000
    assert states == [DeviceState.READY, DeviceState.LOST, DeviceState.READY]


async def test_white_and_focus_are_measured_by_a_button_or_by_the_automatic_for_a_while(monkeypatch, no_tasks_left):
    monkeypatch.setattr("hardware.v4l2_controls.AUTOMATIC_S", 0)
    camera = Camera()
    async with opened(camera) as controls:
        await controls.apply(CameraControlSettings(focus_mode="manual", white_balance="one_push"))
        camera.log.clear()
        await controls.focus_once()
        await controls.measure_white_balance()
        assert camera.log == [
            ("focus_auto", 1),
            ("focus_auto", 0),
            ("auto_white_balance", 1),
            ("auto_white_balance", 0),
        ]
        camera.found["do_white_balance"] = ButtonControl(camera, "do_white_balance", 0, 0, None)
        await controls.measure_white_balance()
        assert camera.log[-1] == ("do_white_balance", "pushed")
    without = Camera(lacks=("focus_auto",))
    async with opened(without) as controls:
        with pytest.raises(ControlRefusedError, match="no automatic focus"):
            await controls.focus_once()


async def test_a_camera_that_is_not_there_is_missing(no_tasks_left):
    camera = Camera()
    camera.gone = True
    async with opened(camera) as controls:
        assert controls.status.state is DeviceState.MISSING
        assert "plug it in" in controls.status.detail
    async with open_controls("v4l2:///dev/video-that-is-not-there") as controls:
        assert controls.status.state is DeviceState.MISSING


@pytest.mark.parametrize("where", ["require", "open"])
async def test_what_linuxpy_has_no_word_for_is_no_reason_not_to_start(monkeypatch, no_tasks_left, where):
    monkeypatch.setattr("hardware.v4l2_controls.RETRY_S", 0.001)
    monkeypatch.setattr("hardware.v4l2_controls.IDLE_S", 0.001)
    camera, ready = Camera(), asyncio.Event()
    sound = getattr(camera, where)

    def note(status):
        (ready.set if status.state is DeviceState.READY else ready.clear)()

    def strange():
        raise ValueError("1234 is not a valid ControlType")

    setattr(camera, where, strange)
    async with opened(camera, on_status=note) as controls:
        if where == "open":
            assert controls.status.state is DeviceState.MISSING
        else:
            with pytest.raises(ControlLostError, match="not understood"):
                await controls.read()
        setattr(camera, where, sound)
        async with asyncio.timeout(5):
            await ready.wait()
            assert controls.status.state is DeviceState.READY
    told = []

    def find(path):
        if path == "/dev/video6":
            raise PermissionError(errno.EACCES, "Permission denied")
        return camera(path)

    found = find_cameras(lambda: [Path("/dev/video6"), Path(PATH)], find, lambda path, error: told.append(path))
    assert [each.path for each in found] == [PATH]
    assert told == [Path("/dev/video6")]


@pytest.mark.parametrize(
    "url", ["v4l2://video0", "v4l2:/video0", "visca+serial:///dev/video0", "v4l2:///dev/video0?x=1"]
)
def test_an_address_that_names_no_device_is_refused(url):
    with pytest.raises(SettingsError, match="write v4l2:///dev"):
        read_path(url)


async def test_visca_says_that_it_knows_no_power_line(no_tasks_left):
    from hardware.visca import ViscaDialogue
    from hardware.visca_models import load_model

    dialogue = ViscaDialogue(1, load_model("evi-d70"))
    with pytest.raises(ControlRefusedError, match="VISCA knows no power_line_hz"):
        dialogue._steps(CameraControlSettings(power_line_hz=50))


def test_cameras_are_found_with_formats_and_controls():
    camera = Camera()
    mjpg = int.from_bytes(b"MJPG", "little")
    camera.info.frame_types = [
        SimpleNamespace(pixel_format=mjpg, width=640, height=480, max_fps=60),
        SimpleNamespace(pixel_format=mjpg, width=1920, height=1080, max_fps=30),
    ]
    (found,) = find_cameras(lambda: [Path(PATH)], camera)
    assert (found.path, found.driver, found.by_id) == (PATH, "uvcvideo", None)
    assert [(f.fourcc, f.width, f.fps) for f in found.formats] == [("MJPG", 1920, 30), ("MJPG", 640, 60)]
    exposure = next(c for c in found.controls if c.name == "exposure_absolute")
    assert (exposure.minimum, exposure.maximum, exposure.value, exposure.active) == (3, 2047, 250, False)
    assert camera.opened == 0
