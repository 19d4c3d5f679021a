"""Camera control over a pseudo-terminal against the virtual booth: every setting read back, faults on the line, power."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hardware.controls import CameraControls, CameraControlSettings, ExposureMode, FocusMode, WhiteBalance
from hardware.errors import (
    ControlAnswerError,
    ControlLostError,
    ControlRefusedError,
    ControlTimeoutError,
    ControlValueError,
)
from hardware.link import DeviceState
from hardware.visca import ControlsSettings, open_controls

EVERYTHING = CameraControlSettings(
    exposure_mode=ExposureMode.MANUAL,
    exposure_us=10_000,
    f_number=4,
    gain_db=6,
    backlight=False,
    white_balance=WhiteBalance.MANUAL,
    red_gain=100,
    blue_gain=120,
    focus_mode=FocusMode.MANUAL,
    focus_position=0x3000,
    zoom_ratio=1.5,
    tilt_deg=6,
)


@asynccontextmanager
async def opened(booth: Any, watcher: Any = None, **settings: Any) -> AsyncIterator[CameraControls]:
    async with open_controls(ControlsSettings(url=booth.settings["controls"]["url"], **settings), watcher) as controls:
        yield controls


async def test_every_setting_is_set_read_back_and_told_in_the_cameras_steps(booth, no_tasks_left):
    async with opened(booth) as controls:
        assert controls.status.state is DeviceState.READY
        assert controls.status.info["model"] == "040E"
        state = await controls.apply(EVERYTHING)
        told = state.model_dump(exclude={"tilt_deg", "zoom_ratio"})
        assert told == {**EVERYTHING.model_dump(exclude={"tilt_deg", "zoom_ratio"}), "powered": True}
        assert state.tilt_deg == pytest.approx(6, abs=0.05)
        assert state.zoom_ratio == pytest.approx(1.5, abs=0.01)
        assert await controls.read() == state
        camera = booth.state("visca")
        assert (camera["shutter"], camera["iris"], camera["gain"], camera["exposure_mode"]) == (8, 11, 4, 3)
        assert (camera["red_gain"], camera["blue_gain"], camera["white_balance"]) == (100, 120, 5)
        assert (camera["focus"], camera["focus_auto"], camera["tilt"], camera["pan"]) == (0x3000, False, 80, 0)


async def test_a_time_between_two_steps_goes_to_the_nearer_one_and_is_told(booth, no_tasks_left):
    async with opened(booth) as controls:
        state = await controls.apply(CameraControlSettings(exposure_mode=ExposureMode.MANUAL, exposure_us=8_500))
        assert state.exposure_us == 8_000


async def test_a_value_that_does_not_fit_the_mode_is_refused_by_name(booth, no_tasks_left):
    async with opened(booth) as controls:
        await controls.apply(CameraControlSettings(exposure_mode=ExposureMode.AUTO))
        with pytest.raises(ControlRefusedError, match="shutter"):
            await controls.apply(CameraControlSettings(exposure_us=10_000))
        assert controls.status.state is DeviceState.READY
        await controls.apply(EVERYTHING)


async def test_a_value_outside_the_table_is_refused_before_anything_is_sent(booth, no_tasks_left):
    async with opened(booth) as controls:
        before = booth.state("visca")
        with pytest.raises(ControlValueError, match="gain"):
            await controls.apply(CameraControlSettings(exposure_mode=ExposureMode.AUTO, gain_db=90))
        assert booth.state("visca")["exposure_mode"] == before["exposure_mode"]


async def test_the_camera_measures_white_and_focuses_on_request(booth, no_tasks_left):
    async with opened(booth) as controls:
        await controls.apply(CameraControlSettings(white_balance=WhiteBalance.ONE_PUSH, focus_mode=FocusMode.MANUAL))
        await controls.measure_white_balance()
        await controls.focus_once()
        await controls.apply(EVERYTHING)


async def test_a_wrong_value_read_back_is_refused_by_name(booth, no_tasks_left):
    async with opened(booth) as controls:
        await controls.apply(EVERYTHING)
        booth.fault("visca.wrong_echo")
        with pytest.raises(ControlRefusedError):
            await controls.apply(CameraControlSettings(exposure_us=4_000))


@pytest.mark.parametrize("fault", ["visca.split", "visca.buffer_full", "visca.refuse"])
async def test_a_busy_camera_and_a_slow_line_are_waited_for(booth, fault, no_tasks_left):
    async with opened(booth) as controls:
        booth.fault(fault, **({} if fault == "visca.split" else {"times": 2}))
        assert (
            await controls.apply(CameraControlSettings(exposure_mode=ExposureMode.MANUAL, exposure_us=10_000))
        ).exposure_us == 10_000


async def test_one_lost_answer_is_asked_for_again(booth, no_tasks_left):
    async with opened(booth) as controls:
        booth.fault("visca.mute", times=1)
        await controls.apply(CameraControlSettings(exposure_mode=ExposureMode.MANUAL, exposure_us=4_000))
        assert booth.state("visca")["shutter"] == 11
        assert controls.status.state is DeviceState.READY


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("visca.mute", ControlTimeoutError),
        ("visca.garble", (ControlAnswerError, ControlRefusedError, ControlTimeoutError)),
    ],
)
async def test_a_camera_that_cannot_be_understood_is_told_once_and_heals(booth, watcher, fault, error, no_tasks_left):
    async with opened(booth, watcher) as controls:
        await controls.apply(EVERYTHING)
        await watcher.wait(DeviceState.READY, 2)
        booth.fault(fault)
        with pytest.raises(error):
            await controls.apply(CameraControlSettings(gain_db=12))
        booth.fault(fault, on=False)
        await watcher.wait(DeviceState.READY, 6)
        assert watcher.states == [DeviceState.READY, DeviceState.LOST, DeviceState.READY]
        assert (await controls.read()).gain_db == 6


async def test_a_pulled_cable_heals_within_two_seconds_with_the_settings_back(booth, watcher, no_tasks_left):
    async with opened(booth, watcher) as controls:
        await controls.apply(EVERYTHING)
        await watcher.wait(DeviceState.READY, 2)
        booth.fault("visca.unplug")
        await watcher.wait(DeviceState.LOST, 2)
        with pytest.raises(ControlLostError):
            await controls.read()
        booth.fault("visca.unplug", on=False)
        await watcher.wait(DeviceState.READY, 2)
        assert watcher.states == [DeviceState.READY, DeviceState.LOST, DeviceState.READY]
        assert (await controls.read()).red_gain == 100


async def test_a_camera_is_switched_off_and_on(booth, no_tasks_left):
    async with opened(booth) as controls:
        await controls.apply(EVERYTHING)
        assert not (await controls.apply(CameraControlSettings(powered=False))).powered
        assert not booth.state("visca")["power"]
        state = await controls.apply(CameraControlSettings(powered=True, exposure_us=4_000))
        assert state.powered
        assert state.exposure_us == 4_000


async def test_an_address_that_the_chain_does_not_have_is_told(booth, no_tasks_left):
    async with opened(booth, address=3) as controls:
        assert controls.status.state is DeviceState.MISSING
        assert "address 3" in controls.status.detail
