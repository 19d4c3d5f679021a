"""Where pictures come from: a URL (MJPEG over HTTP) or a V4L2 device, both through `cv2.VideoCapture`. Used by one reader thread.

URL: FFmpeg only takes the stream apart and hands over each JPEG as it came (`CAP_PROP_FORMAT` -1); it is checked and decoded here. FFmpeg's
own decoder returns cut pictures as whole and scales pictures of another size to the first one's size without a word. Measured on 600x800 at
30 fps over loopback: 1.8 ms from sending a frame to having it, with a Content-Length in each part; without it one frame period more (35 ms),
because only the next part's head ends a picture. `nobuffer`, `probesize` and `analyzeduration` change nothing and cost the first frame.

V4L2: MJPG as it came where the device has it, else what OpenCV converts. Its reads have no time-out of their own (OpenCV waits 10 s for a
frame, set once for the process): the camera gives up a reader that is stuck and starts another.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.errors import CameraLostError, CameraPictureError, CameraStillError
from hardware.pictures import decode

OPEN_TIMEOUT_MS = 2000
READ_TIMEOUT_MS = 1500
# A frame that was there at once waited in a buffer: a newer one may wait behind it. At most so many are passed over in a row.
AT_ONCE_NS = 2_000_000
MAX_PASSED_OVER = 30
# V4L2 drivers answer a size they do not have with their nearest one: this asks for the largest.
LARGEST = 16384
# After a change of format a sensor delivers frames that were exposed before it, and its exposure control needs a few more.
SETTLE_FRAMES = 4
UNCOMPRESSED = ("YUYV", "NV12")
COMPRESSED = "MJPG"


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture as it came from the source, not yet rotated."""

    pixels: NDArray[np.uint8]
    at_ns: int
    source_format: str
    lossy: bool
    # Equal for pictures of equal content; tells a frozen camera.
    digest: int


class Source(Protocol):
    """A camera being read; blocking, used by one thread."""

    # A call that takes longer than this hangs.
    stuck_s: ClassVar[float]

    def open(self) -> None:
        """Connect; raise `CameraLostError`."""

    def read(self) -> Shot:
        """Wait for the newest picture; raise `CameraLostError`, or `CameraPictureError` for one that is skipped."""

    def still(self) -> Shot:
        """Take a full-resolution picture exposed after the call."""

    def close(self) -> None:
        """Let go of the device."""


def fourcc_code(name: str) -> int:
    """The code of e.g. "MJPG"."""
    return int.from_bytes(name.encode("ascii"), "little")


def fourcc_name(code: float) -> str:
    """The name of a code that OpenCV tells; empty when it tells none."""
    number = int(code)
    return number.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ") if 0 < number < 1 << 32 else ""


class HttpSource:
    """MJPEG over HTTP."""

    stuck_s: ClassVar[float] = (OPEN_TIMEOUT_MS + READ_TIMEOUT_MS) / 1000 + 1.0

    def __init__(self, url: str) -> None:
        self._url = url
        self._capture = cv2.VideoCapture()

    def open(self) -> None:
        """See `Source`."""
        # FFmpeg writes each lost connection to stderr; what matters is told through the camera's status.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        if cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_WARNING:
            # So does OpenCV at its default level, for each attempt to reconnect.
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        wanted = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS),
            *(cv2.CAP_PROP_FORMAT, -1),
        ]
        try:
            opened = self._capture.open(self._url, cv2.CAP_FFMPEG, wanted)
        except cv2.error as error:
            raise CameraLostError("The camera's stream cannot be opened: check its address.") from error
        if not opened:
            raise CameraLostError("No camera answers at its address: check its power, the network and the address.")

    def read(self) -> Shot:
        """See `Source`."""
        for _ in range(MAX_PASSED_OVER):
            started = time.monotonic_ns()
            self._grab()
            at_ns = time.monotonic_ns()
            if at_ns - started > AT_ONCE_NS:
                break
        taken, packet = self._capture.retrieve()
        if not taken or packet is None:
            raise CameraPictureError("The camera's stream holds something that is no picture.")
        data = packet.tobytes()
        header, pixels = decode(data)
        return Shot(pixels, at_ns, header.format, header.lossy, hash(data))

    def _grab(self) -> None:
        if not self._capture.grab():
            raise CameraLostError("The camera's stream ended or stood still: check the camera and the network.")

    def still(self) -> Shot:
        """See `Source`; without an address for stills, the second preview picture from now on (the first may be older)."""
        self._grab()
        return self.read()

    def close(self) -> None:
        """See `Source`."""
        self._capture.release()


class V4l2Source:
    """A video device of this machine."""

    stuck_s: ClassVar[float] = 4.0

    def __init__(self, path: str, width: int | None, height: int | None, fps: int | None, capture: Any = None) -> None:
        self._path = path
        self._size = (width, height)
        self._fps = fps
        self._capture = cv2.VideoCapture() if capture is None else capture
        self._raw = False
        self._best: tuple[str, int, int] | None = None

    def open(self) -> None:
        """See `Source`."""
        try:
            opened = self._capture.open(self._path, cv2.CAP_V4L2)
        except cv2.error as error:
            raise CameraLostError(f"{self._path} cannot be opened as a camera.") from error
        if not opened:
            raise CameraLostError(
                f"No camera opens at {self._path}: check that it is there and no other program holds it."
            )
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._set_preview()

    def _set_preview(self) -> None:
        width, height = self._size
        self._set_format(COMPRESSED, width, height)
        if self._fps is not None:
            self._capture.set(cv2.CAP_PROP_FPS, self._fps)

    def _set_format(self, fourcc: str, width: int | None, height: int | None) -> tuple[str, int, int]:
        """Ask for a format; return the one that the device chose."""
        self._capture.set(cv2.CAP_PROP_FOURCC, fourcc_code(fourcc))
        if width is not None and height is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        actual = fourcc_name(self._capture.get(cv2.CAP_PROP_FOURCC))
        # Undecoded only where the decoding is ours: OpenCV knows how to convert the uncompressed formats.
        self._raw = actual == COMPRESSED
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0 if self._raw else 1)
        return (
            actual,
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )

    def read(self) -> Shot:
        """See `Source`."""
        if not self._capture.grab():
            raise CameraLostError(f"The camera at {self._path} gives no more pictures: check its cable.")
        at_ns = time.monotonic_ns()
        taken, taken_pixels = self._capture.retrieve()
        if not taken or taken_pixels is None:
            raise CameraPictureError(f"The camera at {self._path} gave a picture that cannot be read.")
        if self._raw:
            data = taken_pixels.tobytes()
            header, pixels = decode(data)
            return Shot(pixels, at_ns, header.format, header.lossy, hash(data))
        if taken_pixels.ndim != 3 or taken_pixels.shape[2] != 3:
            raise CameraPictureError(f"The camera at {self._path} gives pictures without colour.")
        # OpenCV reuses its buffer for the next picture.
        pixels = np.array(taken_pixels, np.uint8)
        source_format = fourcc_name(self._capture.get(cv2.CAP_PROP_FOURCC))
        return Shot(pixels, at_ns, source_format, source_format not in UNCOMPRESSED, hash(pixels[::16, ::16].tobytes()))

    def still(self) -> Shot:
        """See `Source`: the largest size that the device has, uncompressed where that has the same size."""
        try:
            if self._best is None:
                found = [self._set_format(fourcc, LARGEST, LARGEST) for fourcc in (*UNCOMPRESSED, COMPRESSED)]
                # `max` keeps the first of equals, and the uncompressed formats come first.
                self._best = max(found, key=lambda each: each[1] * each[2])
            actual = self._set_format(*self._best)
            if actual[1] * actual[2] == 0:
                raise CameraStillError(f"The camera at {self._path} has no full-resolution format.")
            for _ in range(SETTLE_FRAMES):
                if not self._capture.grab():
                    raise CameraLostError(f"The camera at {self._path} gives no full-resolution picture.")
            return self.read()
        finally:
            self._set_preview()

    def close(self) -> None:
        """See `Source`."""
        self._capture.release()
