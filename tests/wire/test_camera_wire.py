"""The camera over HTTP against the virtual booth: preview and stills, and everything that can happen to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hardware.camera import Camera, CameraSettings, open_camera
from hardware.errors import CameraLostError, CameraPictureError, CameraTimeoutError
from hardware.lights import CHANNELS, LightsSettings, open_lights
from hardware.link import DeviceState


@asynccontextmanager
async def opened(booth: Any, watcher: Any = None, **changes: Any) -> AsyncIterator[Camera]:
    settings = CameraSettings.model_validate({**booth.settings["camera"], **changes})
    async with open_camera(settings, watcher) as camera:
        yield camera


async def picture_becomes(camera: Camera, kind: str, within_s: float = 5) -> None:
    """Wait until the status says that the picture is live, frozen or black."""
    sequence = 0
    async with asyncio.timeout(within_s):
        while camera.status.info.get("picture") != kind:
            sequence = (await camera.next_preview(sequence, within_s)).sequence


async def test_the_preview_runs_and_its_format_is_told(booth, no_tasks_left):
    async with opened(booth) as camera:
        assert camera.status.state is DeviceState.READY
        first = await camera.next_preview(0, 2)
        assert first.pixels.shape == (800, 600, 3)
        assert (first.source_format, first.lossy) == ("MJPG", True)
        sequence, last = first.sequence, first
        for _ in range(20):
            last = await camera.next_preview(sequence, 1)
            assert last.sequence > sequence
            sequence = last.sequence
        assert time.monotonic_ns() - last.at_ns < 500_000_000
        asked, actual = camera.formats
        assert asked is None
        assert (actual.width, actual.height, actual.fourcc) == (600, 800, "MJPG")
        assert actual.fps > 5
        assert camera.preview() is not None


async def test_a_still_is_full_size_lossless_and_newer_than_the_call(booth, no_tasks_left):
    async with opened(booth) as camera:
        asked_ns = time.monotonic_ns()
        still = await camera.still()
        assert still.pixels.shape == (1280, 960, 3)
        assert (still.source_format, still.lossy) == ("PNG", False)
        assert still.at_ns > asked_ns


async def test_without_a_still_address_the_preview_serves_and_is_told_as_lossy(booth, no_tasks_left):
    async with opened(booth, still_url=None) as camera:
        asked_ns = time.monotonic_ns()
        still = await camera.still()
        assert still.lossy
        assert still.at_ns > asked_ns


async def test_a_camera_mounted_on_its_side_is_turned(booth, no_tasks_left):
    async with opened(booth, rotate_deg=270) as camera:
        assert (await camera.next_preview(0, 2)).pixels.shape == (600, 800, 3)
        assert (await camera.still()).pixels.shape == (960, 1280, 3)


async def test_the_lamps_are_seen(booth, no_tasks_left):
    lamps = LightsSettings.model_validate(booth.settings["lights"])
    async with opened(booth) as camera, open_lights(lamps.url, lamps.channels) as lights:
        await lights.set_levels(dict.fromkeys(CHANNELS, 0))
        dark = (await camera.still()).pixels.mean()
        await lights.set_levels(dict.fromkeys(CHANNELS, 62.5))
        assert (await camera.still()).pixels.mean() > dark + 20


async def test_a_frozen_picture_is_told_and_a_live_one_again(booth, no_tasks_left):
    async with opened(booth) as camera:
        await picture_becomes(camera, "live")
        booth.fault("camera.freeze")
        await picture_becomes(camera, "frozen")
        assert "frozen" in camera.status.detail
        assert camera.status.state is DeviceState.READY
        booth.fault("camera.freeze", on=False)
        await picture_becomes(camera, "live")


async def test_a_black_picture_is_told(booth, no_tasks_left):
    async with opened(booth) as camera:
        booth.fault("camera.black")
        await picture_becomes(camera, "black")
        booth.fault("camera.black", on=False)
        await picture_becomes(camera, "live")


async def test_a_camera_that_dies_is_lost_once_and_heals_within_two_seconds(booth, watcher, no_tasks_left):
    async with opened(booth, watcher) as camera:
        await watcher.wait(DeviceState.READY, 3)
        booth.fault("camera.kill")
        await watcher.wait(DeviceState.LOST, 3)
        sequence = 1 << 30
        with pytest.raises(CameraLostError):
            await camera.next_preview(sequence, 1.2)
        assert camera.preview() is None
        with pytest.raises(CameraLostError):
            await camera.still(1)
        booth.fault("camera.kill", on=False)
        await watcher.wait(DeviceState.READY, 2)
        assert watcher.states == [DeviceState.READY, DeviceState.LOST, DeviceState.READY]
        await camera.still()


async def test_a_picture_of_another_size_is_given_as_it_is(booth, no_tasks_left):
    async with opened(booth) as camera:
        await camera.next_preview(0, 2)
        booth.fault("camera.wrong_size")
        image = await until(camera, lambda shape: shape == (400, 300, 3))
        assert camera.formats[1].width == 300
        booth.fault("camera.wrong_size", on=False)
        await until(camera, lambda shape: shape == (800, 600, 3), image.sequence)


async def until(camera: Camera, fits: Callable[[tuple[int, ...]], bool], sequence: int = 0):
    async with asyncio.timeout(5):
        while not fits((image := await camera.next_preview(sequence, 5)).pixels.shape):
            sequence = image.sequence
    return image


async def test_a_still_that_ends_in_the_middle_is_never_given(booth, no_tasks_left):
    async with opened(booth, url=booth.settings["camera"]["url"].replace("preview.mjpg", "none")) as camera:
        booth.fault(
            "camera.cut"
        )  # until it is over: on a busy machine a first answer may be given up and asked for again
        with pytest.raises((CameraLostError, CameraPictureError)):
            await camera.still()
        booth.fault("camera.cut", on=False)
        await camera.still()


async def test_a_slow_still_runs_into_its_time_limit(booth, no_tasks_left):
    async with opened(booth) as camera:
        booth.fault("camera.slow", ms=3000)
        with pytest.raises((CameraTimeoutError, CameraLostError)):
            await camera.still(0.5)


async def test_a_wrong_address_for_stills_is_told(booth, no_tasks_left):
    async with opened(booth, still_url=booth.settings["camera"]["still_url"] + "x") as camera:
        with pytest.raises(Exception, match="404") as told:
            await camera.still()
        assert told.value.code == "camera.still"
