"""Camera, control and lamps as one: nothing is done until acknowledged and seen."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from capture.errors import ProfileUnsatisfiableError, StaleStillError
from capture.frames import Latest
from capture.station import (
    RAMP_PERIOD_S,
    RAMP_STEP_PCT,
    CameraControlSection,
    LightsSection,
    Size,
    Station,
    StationSettings,
    check_size,
)
from hardware.camera import CameraImage, CameraSettings
from hardware.controls import CameraControlSettings, CameraControlState
from hardware.errors import CameraTimeoutError, LightsTimeoutError
from hardware.lights import CHANNELS, STATUS_CHANNEL, SegmentMap
from hardware.link import DeviceState, DeviceStatus
from validation.profile import load_profile

CAMERA = CameraSettings(url="http://127.0.0.1:1/preview.mjpg")
LIGHTS = LightsSection(
    url="wled+serial:///dev/x",
    channels={name: SegmentMap(segment=number) for number, name in enumerate([*CHANNELS, STATUS_CHANNEL])},
)


class Camera:
    """Delivers a frame when told to, and stills with a chosen time stamp."""

    def __init__(self):
        self.status = DeviceStatus("camera", "x", DeviceState.READY, 0)
        self.sequence = 0
        self.newest = None
        self.waiting = asyncio.Event()
        self.frames = asyncio.Queue()
        self.still_ages_ns = []
        self.stills = []

    def image(self, at_ns=None):
        self.sequence += 1
        pixels = np.full((64, 48, 3), 200, np.uint8)
        return CameraImage(pixels, time.monotonic_ns() if at_ns is None else at_ns, self.sequence, "PNG", False)

    def preview(self):
        return self.newest

    async def next_preview(self, after_sequence, timeout_s):
        self.waiting.set()
        self.newest = await self.frames.get()
        assert self.newest.sequence > after_sequence
        return self.newest

    async def still(self, timeout_s=5.0):
        age = self.still_ages_ns.pop(0) if self.still_ages_ns else 0
        if isinstance(age, Exception):
            raise age
        image = self.image(time.monotonic_ns() - age)
        self.stills.append(image)
        return image


class Lamps:
    acknowledged_by = "echo"

    def __init__(self):
        self.status = DeviceStatus("lights", "x", DeviceState.READY, 0)
        self.levels_pct = {"key_left": 0.0}
        self.steps = []
        self.error = None

    async def set_levels(self, levels_pct):
        if self.error:
            raise self.error
        self.steps.append(dict(levels_pct))
        self.levels_pct = {**self.levels_pct, **levels_pct}
        return self.levels_pct


class Controls:
    def __init__(self):
        self.status = DeviceStatus("controls", "x", DeviceState.READY, 0)
        self.calls = []
        self.has = {}

    async def read(self):
        self.calls.append("read")
        return CameraControlState(powered=True, **self.has)

    async def apply(self, settings):
        self.calls.append(settings)
        return CameraControlState(powered=True, **(self.has | {"gain_db": settings.gain_db}))


async def test_portrait_light_is_ramped_acknowledged_and_seen_by_the_camera():
    camera, lamps = Camera(), Lamps()
    station = Station(StationSettings(camera=CAMERA, lights=LIGHTS), camera, None, lamps)
    lighting = asyncio.create_task(station.set_portrait_light())
    await camera.waiting.wait()
    assert [round(step["key_left"], 1) for step in lamps.steps] == [8.9, 17.9, 26.8, 35.7, 44.6, 53.6, 62.5]
    assert "status" not in lamps.steps[0]
    await camera.frames.put(camera.image(at_ns=1))  # exposed before the last step
    await camera.frames.put(camera.image())
    camera.waiting.clear()
    await camera.waiting.wait()
    assert not lighting.done()
    await camera.frames.put(camera.image())
    await asyncio.wait_for(lighting, 5)


async def test_lamps_come_up_softly_and_single_steps_are_as_asked_for():
    camera, lamps = Camera(), Lamps()
    station = Station(StationSettings(camera=CAMERA, lights=LIGHTS), camera, None, lamps)
    began = time.monotonic()
    await station.set_levels({"key_left": 40.0}, seen=False)
    assert time.monotonic() - began >= 3 * RAMP_PERIOD_S
    levels = [0.0, *(step["key_left"] for step in lamps.steps)]
    assert max(np.diff(levels)) <= RAMP_STEP_PCT + 1e-9
    assert RAMP_STEP_PCT / RAMP_PERIOD_S <= 100 / 0.3 + 1e-9
    lamps.steps.clear()
    told = await station.set_levels({"key_left": 55.0}, seen=False, ramped=False)
    assert [step["key_left"] for step in lamps.steps] == [55.0]
    assert told == {"key_left": 55.0}


async def test_lamps_that_refuse_are_an_error_and_no_step_counts():
    camera, lamps = Camera(), Lamps()
    lamps.error = LightsTimeoutError("The lamps do not answer.")
    station = Station(StationSettings(camera=CAMERA, lights=LIGHTS), camera, None, lamps)
    began_ns = time.monotonic_ns()
    with pytest.raises(LightsTimeoutError):
        await station.set_standby_light()
    assert station.settled_ns > began_ns, "an order that was not answered may shine: no older frame shows that light"


async def test_a_booth_without_lamps_is_settled_at_once():
    station = Station(StationSettings(camera=CAMERA), Camera(), None, None)
    await station.set_portrait_light()
    await station.set_standby_light()
    assert station.levels_pct == {}
    assert station.lights_acknowledged_by is None
    assert await station.apply_controls() is None
    assert [status.name for status in station.devices] == ["camera"]


async def test_every_still_of_a_burst_is_newer_than_the_settled_light_and_knows_its_light():
    camera, lamps = Camera(), Lamps()
    station = Station(StationSettings(camera=CAMERA, lights=LIGHTS), camera, None, lamps)
    await station.set_levels({"key_left": 50.0}, seen=False)
    frames = await station.burst(3)
    assert [frame.sequence for frame in frames] == [1, 2, 3]
    assert frames[0].levels_pct == {"key_left": 50.0}
    camera.still_ages_ns = [0, 10**12]
    with pytest.raises(StaleStillError):
        await station.burst(3)
    assert all(not image.pixels.any() for image in camera.stills[3:]), "stills that nobody gets are overwritten"


async def test_a_burst_that_breaks_off_overwrites_what_it_took():
    camera = Camera()
    station = Station(StationSettings(camera=CAMERA), camera, None, None)
    camera.still_ages_ns = [0, CameraTimeoutError("No picture came.")]
    with pytest.raises(CameraTimeoutError):
        await station.burst(2)
    assert not camera.stills[0].pixels.any()


async def test_camera_settings_are_applied_and_read_back_or_only_read():
    controls = Controls()
    wanted = CameraControlSettings(gain_db=3.0)
    section = CameraControlSection(url="visca+serial:///dev/x", settings=wanted)
    station = Station(StationSettings(camera=CAMERA, controls=section), Camera(), controls, None)
    assert (await station.apply_controls()).gain_db == 3.0
    assert (await station.burst(1))[0].controls.gain_db == 3.0
    plain = CameraControlSection(url="visca+serial:///dev/x")
    station = Station(StationSettings(camera=CAMERA, controls=plain), Camera(), controls, None)
    await station.apply_controls()
    assert controls.calls == ["read", wanted, "read", "read"]


async def test_the_camera_s_automatic_is_off_and_what_was_learnt_is_set_unless_it_is_configured():
    controls = Controls()
    controls.has = {"exposure_mode": "auto", "white_balance": "auto", "focus_mode": "auto", "red_gain": 1, "gain_db": 0}
    section = CameraControlSection(url="visca+serial:///dev/x", settings=CameraControlSettings(gain_db=3.0))
    station = Station(StationSettings(camera=CAMERA, controls=section), Camera(), controls, None)
    await station.apply_controls()
    assert controls.calls.pop().model_dump(exclude_none=True) == {
        "exposure_mode": "manual",
        "white_balance": "manual",
        "gain_db": 3.0,
    }
    station.learn(CameraControlSettings(red_gain=120, gain_db=6.0, focus_position=0x5000))
    await station.apply_controls()
    assert controls.calls.pop().model_dump(exclude_none=True) == {
        "exposure_mode": "manual",
        "white_balance": "manual",
        "red_gain": 120,
        "gain_db": 3.0,
    }, "the camera has no focus position to set"
    controls.has["focus_position"] = 0x6000
    await station.read_controls()
    await station.apply_controls()
    wanted = controls.calls.pop()
    assert (wanted.focus_mode, wanted.focus_position) == ("manual", 0x5000)


def test_a_camera_that_is_too_small_is_refused_with_the_arithmetic():
    with pytest.raises(ProfileUnsatisfiableError) as caught:
        check_size(load_profile("demo"), Size(640, 480))
    told = str(caught.value)
    assert "needs a 622×800 crop; the camera gives 640×480" in told  # noqa: RUF001
    assert "largest 7:9 crop 373×480, it would have to be upscaled 1.67×" in told  # noqa: RUF001


def test_a_camera_that_is_just_large_enough_is_taken():
    profile = load_profile("demo")
    check_size(profile, Size(960, 1280))
    check_size(profile, Size(622, 800))
    with pytest.raises(ProfileUnsatisfiableError):
        check_size(profile, Size(621, 800))


async def test_the_newest_value_reaches_slow_readers_and_delays_nobody():
    latest = Latest(0)
    values = latest.values()
    assert await anext(values) == 0
    for number in range(1, 100):
        latest.put(number)
    assert await anext(values) == 99
    waiting = asyncio.ensure_future(anext(values))
    latest.put(100)
    assert await asyncio.wait_for(waiting, 5) == 100
    await values.aclose()
    assert latest.value == 100
