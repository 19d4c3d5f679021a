"""Pictures from a camera: a running preview and a full-resolution still.

One reader thread reads the source (`camera_source`) as fast as it delivers; the newest picture wins. An overseer task in the event loop
replaces the reader: after its end every `RETRY_S` seconds, and when it hangs in a read, which must not keep the booth blind: the hanging
thread is given up (what it still delivers is ignored) and another is started, at most `MAX_GIVEN_UP` hanging at a time. A camera that repeats one picture
is told as frozen, and its stream is opened anew, then and every `REOPEN_S` seconds while that lasts: it stays READY unless it does not open.

`at_ns` is the moment the picture was received (CLOCK_MONOTONIC). A picture that cannot be read is passed over. What is wrong with pictures that
do come stands in the status and is logged once each way: `info["picture"]` is live, frozen, black, resized or slow (`picture_state`). A preview
picture is shared and read-only; when its reader ends, the camera drops the last one, so that nobody stays in the memory of a dead camera.

A still comes from `still_url` where there is one (PNG, or JPEG and then lossy), else from the source itself, always asked for after the call.
Its pixels belong to the caller alone, who may overwrite them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

import cv2
import httpx2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hardware.camera_source import HttpSource, Patience, Shot, Source, V4l2Source, trusted
from hardware.errors import (
    CameraError,
    CameraLostError,
    CameraPictureError,
    CameraStillError,
    CameraTimeoutError,
    SettingsError,
)
from hardware.link import RETRY_S, DeviceState, DeviceStatus, StatusBoard, StatusCallback
from hardware.picture_state import PictureState
from hardware.pictures import decode

log = logging.getLogger(__name__)

# How long opening waits for the first picture; a camera that needs longer becomes READY later.
FIRST_PICTURE_S = 2.0
STALE_NS = 1_000_000_000
# A camera that sends only damaged pictures for so long is lost.
DAMAGED_S = 3.0
STATUS_EVERY_NS = 500_000_000
MAX_GIVEN_UP = 2
# Between two attempts to wake a frozen camera by opening it anew: a camera needs seconds to start, and each attempt costs the preview a moment.
REOPEN_S = 10.0
# 64 million pixels of 24 bits compress to less in practice; a larger answer is no still of this camera.
MAX_STILL_BYTES = 96 * 1024 * 1024
ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True, slots=True, eq=False)
class CameraImage:
    """One picture: BGR, upright (rotation applied), never mirrored. A preview's pixels are read-only, a still's are the caller's own."""

    pixels: NDArray[np.uint8]
    at_ns: int
    sequence: int
    source_format: str
    lossy: bool


@dataclass(frozen=True, slots=True)
class CameraFormat:
    """What a camera was asked for, or what it delivers (before rotation)."""

    width: int
    height: int
    fps: float
    fourcc: str


class CameraSettings(BaseModel):
    """Where the pictures come from and how the camera is mounted."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    still_url: str | None = None
    # Clockwise, applied to what the camera sends.
    rotate_deg: Literal[0, 90, 180, 270] = 0
    width: Annotated[int, Field(ge=16, le=16384)] | None = None
    height: Annotated[int, Field(ge=16, le=16384)] | None = None
    fps: Annotated[int, Field(ge=1, le=240)] | None = None


class Camera(Protocol):
    """The camera of a booth."""

    @property
    def status(self) -> DeviceStatus:
        """The camera's state; frozen and black pictures stand in the detail and in `info`. Never blocks."""

    @property
    def formats(self) -> tuple[CameraFormat | None, CameraFormat | None]:
        """The format asked for and the actual one; None where nothing was asked or nothing came yet."""

    def preview(self) -> CameraImage | None:
        """The newest picture, or None when there is none or it is older than a second. Never blocks."""

    def rest(self, resting: bool) -> None:
        """While nobody looks only about five pictures a second are decoded; what is told of the camera stays the same."""

    async def next_preview(self, after_sequence: int, timeout_s: float) -> CameraImage:
        """Wait for a picture with a higher sequence number. Raise `CameraTimeoutError` or `CameraLostError`."""

    async def still(self, timeout_s: float = 5.0) -> CameraImage:
        """Take a full-resolution picture, exposed after this call; its pixels are the caller's to overwrite. Raise a `CameraError`."""


class Reader:
    """One reader thread over one source; replaceable."""

    def __init__(self, source: Source, deliver: Callable[[Reader, Shot], None], end: Callable[[Reader], None]) -> None:
        self.source = source
        self.given_up = False
        self.renewing = False  # ended on purpose, so that the source is opened anew
        self.failure = CameraLostError("The camera is not connected.")
        self.busy_since = time.monotonic()
        # Set in the event loop when the thread has let go of the source.
        self.ended = asyncio.Event()
        self._deliver = deliver
        self._end = end
        self._stills: deque[Callable[[Source], None]] = deque()
        self.thread = threading.Thread(target=self._read, name="camera reader", daemon=True)

    def request_still(self, take: Callable[[Source], None]) -> None:
        """Let the thread take a still between two preview pictures."""
        self._stills.append(take)

    def _read(self) -> None:
        try:
            self.source.open()
            good_at = time.monotonic()
            while not (self.given_up or self.renewing):
                self.busy_since = time.monotonic()
                while self._stills:
                    self._stills.popleft()(self.source)
                    good_at = self.busy_since = time.monotonic()
                try:
                    shot = self.source.read()
                except CameraPictureError as error:
                    if time.monotonic() - good_at > DAMAGED_S:
                        raise CameraLostError(
                            f"The camera sends only damaged pictures; check its cable, switch it off and on. ({error})"
                        ) from error
                    continue
                good_at = time.monotonic()
                if not self.given_up:
                    self._deliver(self, shot)
        except CameraLostError as error:
            self.failure = error
        except Exception:  # a defect must not end the camera for good: told, logged, tried again
            log.exception("defect in the camera's reader")
            self.failure = CameraLostError("The camera's driver failed; the log has the details.")
        finally:
            self.source.close()
            self._end(self)


class OpenCvCamera:
    """The camera behind `open_camera`."""

    def __init__(self, settings: CameraSettings, make_source: Callable[[], Source], board: StatusBoard) -> None:
        self._settings = settings
        self._make_source = make_source
        self._board = board
        self._loop = asyncio.get_running_loop()
        self._client = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, verify=trusted((settings.still_url or "").startswith("https:"))
        )
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="camera still")
        self._reader: Reader | None = None
        self._given_up: set[Reader] = set()
        self._freed = asyncio.Event()
        self._latest: CameraImage | None = None
        self._swap = threading.Lock()  # between the reader's delivery and the end of its time
        self._numbers = itertools.count(1)
        self._arrived = asyncio.Event()
        self._taking = asyncio.Lock()
        asked = (settings.width, settings.height) if settings.width and settings.height else None
        self._pictures = PictureState(asked, settings.fps)
        self._told_ns = 0
        self._reopened_at: float | None = None
        self._resting = False
        self._upscaled_from = ""
        self._seen = False

    @property
    def status(self) -> DeviceStatus:
        """See `Camera`."""
        return self._board.status

    @property
    def formats(self) -> tuple[CameraFormat | None, CameraFormat | None]:
        """See `Camera`."""
        wanted, image = self._settings, self._latest
        asked = None
        if wanted.width is not None and wanted.height is not None:
            asked = CameraFormat(wanted.width, wanted.height, float(wanted.fps or 0), "MJPG")
        if image is None:
            return asked, None
        height, width = image.pixels.shape[:2]
        if wanted.rotate_deg in {90, 270}:
            width, height = height, width
        return asked, CameraFormat(width, height, self._pictures.rate, image.source_format)

    def preview(self) -> CameraImage | None:
        """See `Camera`."""
        image = self._latest
        return image if image is not None and time.monotonic_ns() - image.at_ns < STALE_NS else None

    def rest(self, resting: bool) -> None:
        """See `Camera`."""
        self._resting = resting
        if self._reader is not None:
            self._reader.source.resting = resting

    async def next_preview(self, after_sequence: int, timeout_s: float) -> CameraImage:
        """See `Camera`; a camera that is lost has until the time-out to come back."""
        try:
            async with asyncio.timeout(timeout_s):
                while (image := self.preview()) is None or image.sequence <= after_sequence:
                    await self._arrived.wait()
        except TimeoutError as error:
            raise self._missed(f"No new picture within {timeout_s:g} s") from error
        return image

    def _missed(self, what: str) -> CameraError:
        status = self.status
        if status.state is not DeviceState.READY:
            return CameraLostError(f"{what}: the camera is {status.state}. {status.detail}")
        return CameraTimeoutError(f"{what}: the camera is connected, but too slow or stuck.")

    async def still(self, timeout_s: float = 5.0) -> CameraImage:
        """See `Camera`."""
        try:
            async with asyncio.timeout(timeout_s), self._taking:
                shot = await (
                    self._take() if self._settings.still_url is None else self._fetch(self._settings.still_url)
                )
        except TimeoutError as error:
            raise self._missed(f"No full-resolution picture within {timeout_s:g} s") from error
        image = self._image(shot, next(self._numbers))
        if image.pixels is not shot.pixels:
            shot.pixels.fill(0)  # the picture before it was turned
        return image

    async def _take(self) -> Shot:
        reader = self._reader
        if reader is None or self.status.state is not DeviceState.READY:
            raise self._missed("No full-resolution picture")
        future: asyncio.Future[Shot] = self._loop.create_future()

        def take(source: Source) -> None:
            try:
                shot = source.still()
            except CameraError as error:
                self._call(_fail, future, error)
                if isinstance(error, CameraLostError):
                    raise
            else:
                self._call(_fulfil, future, shot)

        reader.request_still(take)
        return await future

    async def _fetch(self, url: str) -> Shot:
        try:
            async with self._client.stream("GET", url, timeout=httpx2.Timeout(None)) as answer:
                if answer.status_code != httpx2.codes.OK:
                    raise CameraStillError(
                        f"The camera answers {answer.status_code} instead of a still: check still_url."
                    )
                data = bytearray()
                async for piece in answer.aiter_bytes():
                    data += piece
                    if len(data) > MAX_STILL_BYTES:
                        raise CameraPictureError(f"The camera's still is larger than {MAX_STILL_BYTES} bytes.")
                self._upscaled_from = answer.headers.get("x-upscaled-from", "")[:32]
        except (httpx2.ConnectError, httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            raise CameraLostError("The camera's still cannot be fetched: check its power and the network.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise CameraStillError(
                "The camera gives no still in time, or none that can be read: check still_url and what else asks it."
            ) from error
        at_ns = time.monotonic_ns()
        header, pixels = await self._loop.run_in_executor(self._decoder, decode, bytes(data))
        return Shot(pixels, at_ns, header.format, header.lossy, 0)

    def _image(self, shot: Shot, sequence: int) -> CameraImage:
        turn = ROTATIONS.get(self._settings.rotate_deg)
        pixels = shot.pixels if turn is None else np.asarray(cv2.rotate(shot.pixels, turn), np.uint8)
        return CameraImage(pixels, shot.at_ns, sequence, shot.source_format, shot.lossy)

    # ---- what the reader thread calls

    def _call(self, function: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *args)

    def _deliver(self, reader: Reader, shot: Shot) -> None:
        image = self._image(shot, next(self._numbers))
        image.pixels.setflags(write=False)
        with self._swap:
            if reader is not self._reader:
                return
            self._latest = image
        self._call(self._received, reader, shot)

    def _end(self, reader: Reader) -> None:
        self._call(self._reader_ended, reader)

    # ---- in the event loop

    def _reader_ended(self, reader: Reader) -> None:
        reader.ended.set()
        self._given_up.discard(reader)
        self._freed.set()

    def _received(self, reader: Reader, shot: Shot) -> None:
        if reader is not self._reader:
            return
        self._pictures.note(shot)
        if self.status.state is not DeviceState.READY or shot.at_ns - self._told_ns >= STATUS_EVERY_NS:
            self._told_ns = shot.at_ns
            self._tell(shot)
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    def _tell(self, shot: Shot) -> None:
        before = self._pictures.kind
        picture, detail = self._pictures.judge(shot)
        if picture != before:
            log.log(logging.INFO if picture == "live" else logging.WARNING, "camera is %s: %s", picture, detail)
        info = dict(self._pictures.info(shot))
        if self._upscaled_from:
            info["still_upscaled_from"] = self._upscaled_from
        self._seen = True
        self._board.tell(DeviceState.READY, detail, info)
        self._wake(picture)

    def _wake(self, picture: str) -> None:
        """Has the stream of a frozen camera opened anew; not while a still is taken."""
        if picture != "frozen":
            return
        now = self._loop.time()
        due = self._reopened_at is None or now - self._reopened_at >= REOPEN_S
        if due and self._reader is not None and not self._taking.locked():
            self._reopened_at = now
            self._reader.renewing = True

    async def oversee(self) -> None:
        """Keep one reader alive; runs until cancelled."""
        while True:
            begun = self._loop.time()
            reader = self._reader = Reader(self._make_source(), self._deliver, self._end)
            reader.source.resting = self._resting
            reader.thread.start()
            await self._watch(reader)
            self._let_go()
            self._pictures.interrupted()
            if reader.renewing and not reader.given_up:
                continue
            self._board.tell(DeviceState.LOST if self._seen else DeviceState.MISSING, str(reader.failure))
            while len(self._given_up) >= MAX_GIVEN_UP:
                self._freed.clear()
                await self._freed.wait()
            await asyncio.sleep(begun + RETRY_S - self._loop.time())

    async def _watch(self, reader: Reader) -> None:
        """Wait until the reader ended, or give it up when it hangs."""
        while not reader.ended.is_set():
            left = reader.busy_since + reader.source.stuck_s - time.monotonic()
            if left <= 0:
                reader.given_up = True
                reader.failure = CameraLostError(
                    "The camera's driver hangs: check the cable, switch the camera off and on."
                )
                self._given_up.add(reader)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.ended.wait(), left)
        reader.thread.join()

    def _let_go(self) -> Reader | None:
        """From now on no reader delivers, and the last picture is dropped."""
        with self._swap:
            reader, self._reader, self._latest = self._reader, None, None
        return reader

    async def close(self) -> None:
        """Let the reader end; one that hangs is left to the end of its read."""
        reader = self._let_go()
        if reader is not None:
            reader.given_up = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.ended.wait(), reader.source.stuck_s)
                reader.thread.join()
        self._decoder.shutdown(wait=True)
        await self._client.aclose()

    async def wait_for_first(self) -> None:
        """Wait for the first picture or the first failure."""
        deadline = self._loop.time() + FIRST_PICTURE_S
        while self.status.state is DeviceState.CONNECTING and (left := deadline - self._loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), min(left, 0.1))


def _fulfil(future: asyncio.Future[Shot], shot: Shot) -> None:
    if not future.done():
        future.set_result(shot)


def _fail(future: asyncio.Future[Shot], error: CameraError) -> None:
    if not future.done():
        future.set_exception(error)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def source_maker(settings: CameraSettings) -> Callable[[], Source]:
    """Choose the source by the URL; raise `SettingsError`."""
    parts = urlsplit(settings.url)
    if settings.still_url is not None and urlsplit(settings.still_url).scheme not in {"http", "https"}:
        raise SettingsError("still_url must begin with http:// or https://.")
    if parts.scheme in {"http", "https"} and parts.hostname:
        patience = Patience()
        return lambda: HttpSource(settings.url, patience)
    if parts.scheme in {"", "v4l2"} and not parts.netloc and parts.path.startswith("/dev/"):
        return lambda: V4l2Source(parts.path, settings.width, settings.height, settings.fps)
    raise SettingsError(
        f"{_without_password(settings.url)!r} is no camera: write http://…, v4l2:///dev/… or /dev/video0."
    )


@asynccontextmanager
async def open_camera(settings: CameraSettings, on_status: StatusCallback | None = None) -> AsyncIterator[Camera]:
    """Open the camera; one that is missing is waited for in the background."""
    board = StatusBoard("camera", _without_password(settings.url), on_status)
    board.bind(asyncio.get_running_loop())
    camera = OpenCvCamera(settings, source_maker(settings), board)
    overseer = asyncio.create_task(camera.oversee(), name="camera overseer")
    try:
        await camera.wait_for_first()
        yield camera
    finally:
        overseer.cancel()
        await asyncio.gather(overseer, return_exceptions=True)
        await camera.close()
