"""Where pictures come from: a URL (MJPEG over HTTP, taken apart by `mjpeg`) or a V4L2 device (`cv2.VideoCapture`). Used by one reader thread.

URL: every picture is checked and decoded here, so that a cut one is never shown as whole. What keeps a stream from coming says what it is:
nobody there, refused, busy with another viewer, no such path, a web page instead of pictures, or bytes without a picture. Nothing waits longer than
`OPEN_TIMEOUT_S`, `READ_TIMEOUT_S` (for the next byte) or `PICTURE_S` (for the next picture). FFmpeg (which `cv2.VideoCapture` uses for URLs) was
replaced because noise between two pictures ends its stream, it tells no reason, and its calls cannot be limited so.

V4L2: MJPG as it came where the device has it, else what OpenCV converts. Its reads have no time-out of their own (OpenCV waits 10 s for a
frame, set once for the process): the camera gives up a reader that is stuck and starts another.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar

import cv2
import httpx2
import numpy as np
from numpy.typing import NDArray

from hardware.errors import CameraLostError, CameraPictureError, CameraStillError
from hardware.mjpeg import PictureDecoder, read_boundary
from hardware.pictures import decode

OPEN_TIMEOUT_S = 1.5
READ_TIMEOUT_S = 1.5
# A camera that answers, but has no first picture within that, is given twice the time at the next attempt, up to this.
LONGEST_READ_S = 6.0
# Bytes that come for so long without a picture among them are no pictures.
PICTURE_S = 3.0
# A frame that was there at once waited in a buffer: a newer one may wait behind it. At most so many are passed over in a row.
AT_ONCE_NS = 2_000_000
MAX_PASSED_OVER = 30
# Of a camera at rest a picture is decoded so often: enough to notice a frozen, black or damaged one, a sixth of the work at 30 a second.
REST_NS = 200_000_000
# V4L2 drivers answer a size they do not have with their nearest one: this asks for the largest.
LARGEST = 16384
# After a change of format a sensor delivers frames that were exposed before it, and its exposure control needs a few more.
SETTLE_FRAMES = 4
UNCOMPRESSED = ("YUYV", "NV12")
COMPRESSED = "MJPG"
DIGEST = frozenset({"Digest", "digest"})


T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture as it came from the source, not yet rotated."""

    pixels: NDArray[np.uint8]
    at_ns: int
    source_format: str
    lossy: bool
    # Equal for pictures of equal content; tells a frozen camera.
    digest: int
    # When pictures came before this one that a resting source did not decode.
    passed_ns: tuple[int, ...] = ()


class Source(Protocol):
    """A camera being read; blocking, used by one thread."""

    # A call that takes longer than this hangs.
    stuck_s: ClassVar[float]
    # Nobody looks: a picture is decoded every `REST_NS` only. May be set from another thread.
    resting: bool

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


@dataclass(slots=True)
class Patience:
    """How long the next byte of a camera is waited for; kept over its connections. Nothing is known of a camera at first: it gets twice the time."""

    read_s: float = 2 * READ_TIMEOUT_S

    def came_after(self, waited_s: float) -> None:
        """The first picture of a connection."""
        if waited_s < READ_TIMEOUT_S:
            self.read_s = READ_TIMEOUT_S

    def missed(self) -> None:
        """No first picture."""
        self.read_s = min(2 * self.read_s, LONGEST_READ_S)


class Restful:
    """A source that decodes few pictures while nobody looks."""

    resting = False
    _decoded_ns = 0

    def _wanted(self, take: Callable[[], tuple[T, int]]) -> tuple[T, int, tuple[int, ...]]:
        """The next picture that is to be decoded, when it came, and when those before it came that are not."""
        passed: list[int] = []
        while True:
            taken, at_ns = take()
            if not self.resting or at_ns - self._decoded_ns >= REST_NS:
                self._decoded_ns = at_ns
                return taken, at_ns, tuple(passed)
            passed.append(at_ns)


class HttpSource(Restful):
    """MJPEG over HTTP."""

    stuck_s: ClassVar[float] = OPEN_TIMEOUT_S + LONGEST_READ_S + PICTURE_S + 1.0

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self._url = url
        self._patience = patience or Patience()
        self._answered_at: float | None = None  # until the first picture
        self._held = ExitStack()
        self._pieces: Iterator[bytes] = iter(())
        self._decoder = PictureDecoder(b"")

    def open(self) -> None:
        """See `Source`."""
        patience = httpx2.Timeout(OPEN_TIMEOUT_S, read=self._patience.read_s)
        try:
            client = self._held.enter_context(
                httpx2.Client(
                    timeout=patience,
                    # Some cameras close after a 401 without saying so: the next request must not go into a connection that is about to end.
                    limits=httpx2.Limits(max_keepalive_connections=0),
                    trust_env=False,
                    follow_redirects=False,
                    verify=trusted(self._url.startswith("https:")),
                    headers={"Accept-Encoding": "identity"},
                )
            )
            answer = self._held.enter_context(client.stream("GET", self._url))
            if (
                answer.status_code == httpx2.codes.UNAUTHORIZED
                and answer.headers.get("www-authenticate", "")[:6] in DIGEST
            ):
                named = httpx2.URL(self._url)
                auth = httpx2.DigestAuth(named.username, named.password)
                answer = self._held.enter_context(client.stream("GET", self._url, auth=auth))
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise CameraLostError(_why_unreached(error)) from error
        if answer.status_code != httpx2.codes.OK:
            raise CameraLostError(_why_refused(answer.status_code))
        content_type = answer.headers.get("content-type", "")
        boundary = read_boundary(content_type)
        if boundary is None:
            told = content_type.partition(";")[0][:40] or "something"
            raise CameraLostError(f"The camera answers with {told}, not with a stream of pictures: check its address.")
        self._decoder = PictureDecoder(boundary)
        self._pieces = answer.iter_raw()
        self._answered_at = time.monotonic()

    def read(self) -> Shot:
        """See `Source`."""
        data, at_ns, passed_ns = self._wanted(self._newest)
        header, pixels = decode(data)
        return Shot(pixels, at_ns, header.format, header.lossy, hash(data), passed_ns)

    def _newest(self) -> tuple[bytes, int]:
        """The next picture that did not wait in a buffer, and when it came."""
        data, at_ns = b"", 0
        for _ in range(MAX_PASSED_OVER):
            started = time.monotonic_ns()
            data = self._next()
            at_ns = time.monotonic_ns()
            if at_ns - started > AT_ONCE_NS:
                break
        return data, at_ns

    def _next(self) -> bytes:
        """The newest picture of those that come next."""
        deadline = time.monotonic() + PICTURE_S
        while time.monotonic() < deadline:
            try:
                piece = next(self._pieces, b"")
            except httpx2.ReadTimeout as error:
                if self._answered_at is not None:
                    self._patience.missed()
                raise CameraLostError(
                    "The camera's stream stands still: check the camera and the network; switch the camera off and on."
                ) from error
            except (httpx2.HTTPError, httpx2.StreamError) as error:
                raise CameraLostError(
                    "The camera's stream broke off: check its cable, its power and the network."
                ) from error
            if not piece:
                raise CameraLostError("The camera ended its stream: check the camera and the network.")
            if pictures := self._decoder.feed(piece):
                if self._answered_at is not None:
                    self._patience.came_after(time.monotonic() - self._answered_at)
                    self._answered_at = None
                return pictures[-1]
        raise CameraLostError("The camera sends bytes, but no picture: check its address and its format (MJPEG).")

    def still(self) -> Shot:
        """See `Source`; without an address for stills, the second preview picture from now on (the first may be older)."""
        self._next()
        self._decoded_ns = 0
        return self.read()

    def close(self) -> None:
        """See `Source`."""
        self._held.close()


@cache
def trusted(encrypted: bool) -> ssl.SSLContext:
    """Whom to trust: the system's authorities; nobody where nothing is encrypted (reading them costs 20 ms at each attempt)."""
    return ssl.create_default_context() if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _why_unreached(error: Exception) -> str:
    if isinstance(error.__cause__, ssl.SSLError) or "CERTIFICATE" in str(error):
        return "The camera's certificate is not trusted: install its authority's certificate, or use http:// on a closed network."
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return "The camera's stream cannot be opened: check its address."
    if isinstance(error, httpx2.ReadTimeout):
        return "The camera accepts connections, but does not answer: switch it off and on."
    return "No camera answers at its address: check its power, the network and the address."


def _why_refused(status: int) -> str:
    if status in {401, 403}:
        return f"The camera refuses its stream ({status}): check user and password in its address."
    if status in {404, 405, 410}:
        return f"The camera has no stream at this path ({status}): check its address."
    if status in {409, 423, 429, 453, 503}:
        return f"The camera is busy ({status}): end the other program that watches its stream."
    return f"The camera answers {status} instead of its stream: check its address, switch it off and on."


class V4l2Source(Restful):
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
        _, at_ns, passed_ns = self._wanted(self._grab)
        return self._retrieve(at_ns, passed_ns)

    def _grab(self) -> tuple[None, int]:
        if not self._capture.grab():
            raise CameraLostError(f"The camera at {self._path} gives no more pictures: check its cable.")
        return None, time.monotonic_ns()

    def _retrieve(self, at_ns: int, passed_ns: tuple[int, ...]) -> Shot:
        taken, taken_pixels = self._capture.retrieve()
        if not taken or taken_pixels is None:
            raise CameraPictureError(f"The camera at {self._path} gave a picture that cannot be read.")
        if self._raw:
            data = taken_pixels.tobytes()
            header, pixels = decode(data)
            return Shot(pixels, at_ns, header.format, header.lossy, hash(data), passed_ns)
        if taken_pixels.ndim != 3 or taken_pixels.shape[2] != 3:
            raise CameraPictureError(f"The camera at {self._path} gives pictures without colour.")
        # OpenCV reuses its buffer for the next picture.
        pixels = np.array(taken_pixels, np.uint8)
        source_format = fourcc_name(self._capture.get(cv2.CAP_PROP_FOURCC))
        digest = hash(pixels[::16, ::16].tobytes())
        return Shot(pixels, at_ns, source_format, source_format not in UNCOMPRESSED, digest, passed_ns)

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
            return self._retrieve(self._grab()[1], ())
        finally:
            self._set_preview()

    def close(self) -> None:
        """See `Source`."""
        self._capture.release()
