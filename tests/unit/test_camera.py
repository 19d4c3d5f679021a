"""The camera's sources and its overseer, without a device: a V4L2 device played by an object, readers that hang."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from types import SimpleNamespace
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from capture.frames import Frame
from hardware import camera_source
from hardware.camera import CameraSettings, OpenCvCamera, open_camera, source_maker
from hardware.camera_source import HttpSource, Shot, V4l2Source, fourcc_code
from hardware.errors import CameraLostError, CameraPictureError, CameraTimeoutError, SettingsError
from hardware.link import DeviceState, StatusBoard
from hardware.picture_state import PictureState


class Device:
    """Plays `cv2.VideoCapture` over V4L2: sizes by format, MJPG undecoded when conversion is off."""

    def __init__(self, sizes: dict[str, tuple[int, int]]) -> None:
        self.sizes = sizes
        self.fourcc, self.size = "YUYV", (32, 24)
        self.convert = 1.0
        self.frames = 0
        self.works = True

    def open(self, path: str, backend: int) -> bool:
        assert backend == cv2.CAP_V4L2
        return self.works

    def set(self, name: int, value: float) -> bool:
        if name == cv2.CAP_PROP_FOURCC:
            wanted = int(value).to_bytes(4, "little").decode()
            if wanted in self.sizes:
                self.fourcc = wanted
        elif name == cv2.CAP_PROP_FRAME_WIDTH:
            self.size = min((int(value), self.size[1]), self.sizes[self.fourcc])
        elif name == cv2.CAP_PROP_FRAME_HEIGHT:
            self.size = min((self.size[0], int(value)), self.sizes[self.fourcc])
        elif name == cv2.CAP_PROP_CONVERT_RGB:
            self.convert = value
        return True

    def get(self, name: int) -> float:
        found = {
            cv2.CAP_PROP_FOURCC: fourcc_code(self.fourcc),
            cv2.CAP_PROP_FRAME_WIDTH: self.size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self.size[1],
        }
        return float(found[name])

    def grab(self) -> bool:
        self.frames += 1
        return self.works

    def retrieve(self) -> tuple[bool, Any]:
        pixels = np.full((self.size[1], self.size[0], 3), self.frames, np.uint8)
        if self.fourcc == "MJPG" and not self.convert:
            return True, cv2.imencode(".jpg", pixels)[1].reshape(1, -1)
        return True, pixels

    def release(self) -> None:
        self.works = False


def v4l2(device: Device, width: int | None = 32, height: int | None = 24) -> V4l2Source:
    source = V4l2Source("/dev/video0", width, height, 30, device)
    source.open()
    return source


def test_v4l2_previews_in_mjpg_and_takes_stills_uncompressed_at_full_size():
    device = Device({"YUYV": (64, 48), "MJPG": (64, 48)})
    source = v4l2(device)
    preview = source.read()
    assert (preview.source_format, preview.lossy, preview.pixels.shape) == ("MJPG", True, (24, 32, 3))
    before = device.frames
    still = source.still()
    assert (still.source_format, still.lossy, still.pixels.shape) == ("YUYV", False, (48, 64, 3))
    assert device.frames - before >= 4  # frames exposed before the change of format are passed over
    assert source.read().pixels.shape == (24, 32, 3)


def test_v4l2_takes_a_lossy_still_where_only_that_has_the_full_size():
    still = v4l2(Device({"YUYV": (32, 24), "MJPG": (64, 48)})).still()
    assert (still.source_format, still.lossy, still.pixels.shape) == ("MJPG", True, (48, 64, 3))


def test_v4l2_that_has_no_mjpg_is_previewed_as_it_is():
    shot = v4l2(Device({"YUYV": (32, 24)})).read()
    assert (shot.source_format, shot.lossy) == ("YUYV", False)


def test_v4l2_that_stops_is_lost():
    device = Device({"YUYV": (32, 24)})
    source = v4l2(device)
    device.works = False
    with pytest.raises(CameraLostError):
        source.read()
    with pytest.raises(CameraLostError):
        v4l2(device)


class Faulty(Device):
    """A V4L2 device with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__({"MJPG": (32, 24)} if fault in {"cut", "empty"} else {"YUYV": (32, 24)})
        self.fault = fault

    def open(self, path: str, backend: int) -> bool:
        if self.fault == "refused":
            raise cv2.error("VIDIOC_QUERYCAP")
        return super().open(path, backend) and self.fault != "busy"

    def retrieve(self) -> tuple[bool, Any]:
        taken, pixels = super().retrieve()
        if self.fault == "unreadable":
            return False, None
        if self.fault == "grey":
            return True, pixels[:, :, 0]
        if self.fault == "cut":
            return True, pixels[:, : pixels.shape[1] // 2]
        if self.fault == "empty":
            return True, pixels[:, :0]
        return taken, pixels


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("refused", CameraLostError, "cannot be opened as a camera"),
        ("busy", CameraLostError, "no other program holds it"),
        ("unreadable", CameraPictureError, "cannot be read"),
        ("grey", CameraPictureError, "without colour"),
        ("cut", CameraPictureError, "incomplete"),
        ("empty", CameraPictureError, "neither JPEG nor PNG"),
    ],
)
def test_each_fault_of_a_v4l2_device_is_told_as_what_it_is(fault: str, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        v4l2(Faulty(fault)).read()


def test_a_v4l2_picture_that_repeats_is_known_by_its_content():
    device = Device({"YUYV": (32, 24)})
    source = v4l2(device)
    assert source.read().digest != source.read().digest
    device.grab = lambda: True  # the same buffer again
    assert source.read().digest == source.read().digest


def test_a_source_at_rest_decodes_five_pictures_a_second_and_tells_when_the_others_came(monkeypatch):
    clock = itertools.count(10**12, 10**9 // 30)
    monkeypatch.setattr(camera_source, "time", SimpleNamespace(monotonic_ns=lambda: next(clock)))
    source, state = v4l2(Device({"YUYV": (32, 24)})), PictureState(None, None)
    shots = [source.read() for _ in range(3)]
    source.resting = True
    shots += [source.read() for _ in range(20)]
    source.resting = False
    shots += [source.read() for _ in range(3)]
    for shot in shots:
        state.note(shot)
    assert {len(shot.passed_ns) for shot in shots[3:23]} == {6}
    assert not any(shot.passed_ns for shot in (*shots[:3], *shots[-3:]))
    times = [at for shot in shots for at in (*shot.passed_ns, shot.at_ns)]
    assert times == sorted(times)
    assert state.rate == 30.0


def test_a_still_that_fails_leaves_the_v4l2_preview_as_it_was():
    device = Device({"YUYV": (64, 48), "MJPG": (64, 48)})
    source = v4l2(device)
    device.works = False
    with pytest.raises(CameraLostError):
        source.still()
    device.works = True
    assert source.read().pixels.shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1/x", HttpSource),
        ("https://a.b/x", HttpSource),
        ("v4l2:///dev/v4l/by-id/x", V4l2Source),
        ("/dev/video0", V4l2Source),
    ],
)
def test_the_url_selects_the_source(url: str, kind: type):
    assert isinstance(source_maker(CameraSettings(url=url))(), kind)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "rtsp://a/b", "concat:a|b", "/etc/passwd", "v4l2://host/dev/video0", "http:///x", ""]
)
def test_other_urls_are_refused_and_passwords_not_repeated(url: str):
    with pytest.raises(SettingsError):
        source_maker(CameraSettings(url=url))
    with pytest.raises(SettingsError) as refused:
        source_maker(CameraSettings(url="rtsp://user:secret@host/x"))
    assert "secret" not in str(refused.value)


class Scripted:
    """A source whose reads do what the test says; `hang` holds a read until the test lets it go."""

    stuck_s: ClassVar[float] = 0.3
    made: ClassVar[list[Scripted]] = []
    hang: ClassVar[threading.Event | None] = None
    value: ClassVar[int] = 0
    damaged: ClassVar[bool] = False
    stuck: ClassVar[int | None] = None  # how many sources repeat one picture
    tick: ClassVar[threading.Event] = threading.Event()

    resting = False

    def __init__(self) -> None:
        self.closed = False
        self.made.append(self)

    def open(self) -> None:
        pass

    def read(self) -> Shot:
        Scripted.tick.wait(0.01)  # never set: 100 pictures a second
        if (hang := Scripted.hang) is not None:
            hang.wait(30)
            raise CameraLostError("let go")
        if Scripted.damaged:
            raise CameraPictureError("damaged")
        pixels = np.full((4, 6, 3), Scripted.value, np.uint8)
        repeats = Scripted.stuck is not None and self.made.index(self) < Scripted.stuck
        return Shot(pixels, time.monotonic_ns(), "MJPG", True, 7 if repeats else time.monotonic_ns())

    still = read

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def scripted():
    Scripted.made, Scripted.hang, Scripted.value, Scripted.damaged, Scripted.stuck = [], None, 100, False, None
    return Scripted


class Opened:
    """A camera over scripted sources."""

    def __init__(self, **settings: Any) -> None:
        self.told: list[DeviceState] = []
        self.board = StatusBoard("camera", "x", lambda status: self.told.append(status.state))
        self.settings = CameraSettings(url="http://127.0.0.1/x", **settings)

    async def __aenter__(self) -> OpenCvCamera:
        self.board.bind(asyncio.get_running_loop())
        self.camera = OpenCvCamera(self.settings, Scripted, self.board)
        self.overseer = asyncio.create_task(self.camera.oversee())
        await self.camera.wait_for_first()
        return self.camera

    async def __aexit__(self, *_: object) -> None:
        if Scripted.hang is not None:
            Scripted.hang.set()
        self.overseer.cancel()
        await asyncio.gather(self.overseer, return_exceptions=True)
        await self.camera.close()


async def test_the_newest_picture_wins_and_is_rotated_clockwise(scripted, no_tasks_left):
    async with Opened(rotate_deg=90) as camera:
        first = await camera.next_preview(0, 2)
        assert first.pixels.shape == (6, 4, 3)
        later = await camera.next_preview(first.sequence, 2)
        assert later.sequence > first.sequence
        assert later.at_ns > first.at_ns
        newest = camera.preview()
        assert newest is not None
        assert newest.sequence >= later.sequence
        assert camera.formats[1].width == 6


async def test_a_reader_that_hangs_is_replaced_and_what_hangs_stays_bounded(scripted, no_tasks_left):
    opened = Opened()
    async with opened as camera:
        await camera.next_preview(0, 2)
        scripted.hang = hang = threading.Event()
        with pytest.raises(CameraLostError, match="hangs"):
            # Long enough for three readers to hang if there were no bound.
            await camera.next_preview(camera.preview().sequence, 3.5)
        assert len(scripted.made) == 2
        assert camera.status.state is DeviceState.LOST
        scripted.hang = None
        hang.set()
        await camera.next_preview(0, 3)
    assert opened.told == [DeviceState.READY, DeviceState.LOST, DeviceState.READY]
    assert all(source.closed for source in scripted.made)


async def test_a_camera_at_rest_stays_so_when_it_is_opened_anew(scripted, no_tasks_left):
    async with Opened() as camera:
        camera.rest(True)
        scripted.hang = hang = threading.Event()
        hang.set()  # the reader ends at once
        with pytest.raises(CameraLostError):
            await camera.next_preview(camera.preview().sequence + 5, 0.5)
        scripted.hang = None
        await camera.next_preview(0, 3)
        assert len(scripted.made) > 1
        assert scripted.made[-1].resting
        camera.rest(False)
        assert not scripted.made[-1].resting


async def test_damaged_pictures_are_passed_over(scripted, no_tasks_left):
    async with Opened() as camera:
        sequence = (await camera.next_preview(0, 2)).sequence
        scripted.damaged = True
        with pytest.raises(CameraTimeoutError):
            await camera.next_preview(sequence + 2, 0.3)
        scripted.damaged = False
        await camera.next_preview(sequence, 2)


async def test_a_black_picture_is_told(scripted, no_tasks_left):
    scripted.value = 1
    async with Opened() as camera:
        assert camera.status.info["picture"] == "black"
        assert camera.status.state is DeviceState.READY


async def picture_becomes(camera: OpenCvCamera, kind: str) -> None:
    sequence = 0
    async with asyncio.timeout(20):
        while camera.status.info.get("picture") != kind:
            sequence = (await camera.next_preview(sequence, 5)).sequence


@pytest.mark.parametrize("stuck", [1, 3])
async def test_a_frozen_camera_is_opened_anew_at_a_bounded_rate_and_told_once(
    scripted, stuck, monkeypatch, caplog, no_tasks_left
):
    monkeypatch.setattr("hardware.picture_state.FROZEN_NS", 300_000_000)
    monkeypatch.setattr("hardware.camera.STATUS_EVERY_NS", 50_000_000)
    monkeypatch.setattr("hardware.camera.REOPEN_S", 0.6)
    caplog.set_level("INFO", logger="hardware")
    scripted.stuck = stuck
    opened = Opened()
    begun = time.monotonic()
    async with opened as camera:
        await picture_becomes(camera, "frozen")
        await picture_becomes(camera, "live")
        assert len(scripted.made) == stuck + 1
        assert time.monotonic() - begun > 0.6 * (stuck - 1)
    assert opened.told == [DeviceState.READY], "a stream that is opened anew is not lost"
    told = [line.getMessage().partition(":")[0] for line in caplog.records]
    assert told == ["camera is ready", "camera is frozen", "camera is live"]
    assert all(source.closed for source in scripted.made)


@pytest.mark.parametrize("rotate_deg", [0, 90])
async def test_a_still_of_the_source_is_taken_between_previews_and_is_the_callers_own(
    scripted, rotate_deg, no_tasks_left
):
    async with Opened(rotate_deg=rotate_deg) as camera:
        asked_ns = time.monotonic_ns()
        still = await camera.still(2)
        assert still.at_ns > asked_ns
        assert still.pixels.flags.writeable
        shared = camera.preview()
        assert not np.shares_memory(still.pixels, shared.pixels)
        Frame.of(still, {}).wipe()
        assert not still.pixels.any()
        with pytest.raises(ValueError, match="read-only"):
            Frame.of(shared, {}).wipe()


async def test_a_camera_that_is_lost_keeps_no_picture(scripted, no_tasks_left):
    async with Opened() as camera:
        await camera.next_preview(0, 2)
        scripted.hang = threading.Event()
        with pytest.raises(CameraLostError, match="hangs"):
            await camera.next_preview(camera.preview().sequence, 3.5)
        assert camera._latest is None
        assert camera.formats[1] is None


async def test_a_camera_that_is_not_there_is_missing_and_says_what_to_do(no_tasks_left):
    async with open_camera(
        CameraSettings(url="http://user:secret@127.0.0.1:9/x", still_url="http://127.0.0.1:9/y")
    ) as camera:
        assert camera.status.state is DeviceState.MISSING
        assert "check its power" in camera.status.detail
        assert "secret" not in camera.status.url
        assert camera.preview() is None
        with pytest.raises(CameraLostError):
            await camera.next_preview(0, 0.1)
        with pytest.raises(CameraLostError):
            await camera.still(1)
