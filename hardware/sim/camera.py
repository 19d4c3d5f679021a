"""The HTTP camera: `GET /preview.mjpg` (multipart MJPEG) and `GET /still.png` (full resolution, exposed when asked), own HTTP/1.1 server.

Order for each preview frame: at the tick of the frame clock the room's state is taken (that moment is `X-Timestamp-Ns`, CLOCK_MONOTONIC), a
worker thread relights and encodes, every client gets the newest frame; a slow client loses frames, never delays the others.
Nothing is computed while nobody watches. An unchanged picture is not computed again: a handful of encodings with different sensor noise
take turns, so that two frames in a row are never the same bytes (a frozen camera is told by its content).
`X-Upscaled-From` says the native size of a picture that had to be enlarged; `X-Cpu-S` is the CPU time of the whole simulator so far.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from hardware.sim.scene import Noise, Renderer

if TYPE_CHECKING:
    from hardware.sim.faults import Faults
    from hardware.sim.passes import Image, Source, StackCache
    from hardware.sim.room import Room
    from hardware.sim.scene import Picture, Size, View

JPEG_QUALITY: Final = 90
PNG_COMPRESSION: Final = 1
LOOK_AHEAD_MS: Final = 150.0
NOISE_VARIANTS: Final = 6
REQUEST_TIMEOUT_S: Final = 10.0
CALM_FPS: Final = 10.0
BOUNDARY: Final = "virtualbooth"
REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
ADDRESSES: Final = ("127.0.0.1", "127.0.0.2")
CRUMBLED_BYTES, CRUMB_BYTES = 64, 4096
NOISE: Final = bytes(range(256)) + f"\r\n--{BOUNDARY}\r\nContent-Ty".encode()


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One preview frame on the wire."""

    head: bytes
    body: bytes


class PreviewEncoder:
    """View to JPEG, with noise variants of an unchanged picture; used by one thread."""

    def __init__(self, cache: StackCache, size: Size, rotate_deg: int = 0) -> None:
        self._rotate_deg = rotate_deg
        self.renderer = Renderer(cache)
        self.size = size
        self.jpegs = 0
        self._noise = Noise(seed=1)
        self._picture: Picture | None = None
        self._noise_factor = 1.0
        self._encoded: list[bytes] = []
        self._turn = 0

    def encode(self, view: View, shrink: int) -> tuple[bytes, Picture]:
        """The next JPEG of this view."""
        size = (self.size[0] // shrink, self.size[1] // shrink)
        picture = self.renderer.picture(view, size)
        if picture is not self._picture or view.noise != self._noise_factor:
            self._picture, self._noise_factor, self._turn = picture, view.noise, 0
            self._encoded.clear()
        self._turn += 1
        if len(self._encoded) < NOISE_VARIANTS:
            noisy = lying(self._noise.on(picture.pixels, view.gain_db, view.noise), self._rotate_deg)
            jpeg = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            self._encoded.append(jpeg.tobytes())
            self.jpegs += 1
        return self._encoded[(self._turn - 1) % len(self._encoded)], picture


class Camera:
    """The server, its frame clock and its clients."""

    def __init__(
        self,
        room: Room,
        cache: StackCache,
        faults: Faults,
        *,
        preview_size: Size,
        still_size: Size,
        fps: float,
        rotate_deg: int = 0,
    ) -> None:
        self._room = room
        self._faults = faults
        self._fps = fps
        self._preview = PreviewEncoder(cache, preview_size, rotate_deg)
        self._rotate_deg = rotate_deg
        self._stills = Renderer(cache)
        self._still_noise = Noise(seed=2)
        self._still_size = still_size
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.Queue[Part | None]] = set()
        self._somebody = asyncio.Event()
        self._clock: asyncio.Task[None] | None = None
        self._preview_thread = ThreadPoolExecutor(1, "preview")
        self._still_thread = ThreadPoolExecutor(1, "still")
        self._prepared: Source | None = None
        self._frozen: bytes | None = None
        self._held: set[asyncio.TimerHandle] = set()
        self.latency_ms = 0.0  # how much later than its exposure every picture comes
        self.port = 0
        self.address = ADDRESSES[0]
        self.frames = 0
        self.streams = 0
        self.stills = 0

    # ---- life

    async def start(self, port: int = 0) -> None:
        """Listens; the port is chosen once and kept over a kill."""
        self._server = await asyncio.start_server(self._accept, self.address, self.port or port)
        self.port = self._server.sockets[0].getsockname()[1]
        if self._clock is None:
            self._clock = asyncio.create_task(self._run_clock(), name="frame clock")

    async def move(self) -> None:
        """Comes back at its other address, on the same port."""
        self.address = ADDRESSES[1 - ADDRESSES.index(self.address)]
        await self.start()

    async def kill(self) -> None:
        """The server is gone and every connection with it, as when the camera loses power."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Ends everything."""
        await self.kill()
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.gather(self._clock, return_exceptions=True)
        for timer in self._held:
            timer.cancel()
        self._preview_thread.shutdown()
        self._still_thread.shutdown()

    # ---- the frame clock

    async def _run_clock(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._somebody.wait()
            fps = CALM_FPS if self._faults.is_on("camera.calm") else self._fps
            due = max(due + 1 / fps, loop.time())
            await asyncio.sleep(due - loop.time())
            part = await self._next_part()
            self.frames += 1
            if self.frames % 2 and self._faults.is_on("camera.half_rate"):
                continue  # half of what this machine can deliver, also when that is less than 30 a second
            if self.latency_ms:
                self._later(self.latency_ms / 1000, part)
            else:
                self._deliver(part)

    def _deliver(self, part: Part) -> None:
        for queue in self._clients:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(part)

    def _later(self, delay_s: float, part: Part) -> None:
        def fire() -> None:
            self._held.discard(timer)
            self._deliver(part)

        timer = asyncio.get_running_loop().call_later(delay_s, fire)
        self._held.add(timer)

    async def _next_part(self) -> Part:
        loop = asyncio.get_running_loop()
        at_ns = time.monotonic_ns()
        view = self._view(at_ns)
        shrink = 2 if self._faults.is_on("camera.wrong_size") else 1
        body, picture = await loop.run_in_executor(self._preview_thread, self._preview.encode, view, shrink)
        self._look_ahead(view, at_ns)
        if self._faults.take("camera.freeze"):
            self._frozen = body = self._frozen or body
        else:
            self._frozen = None
        slow = self._faults.take("camera.slow")
        if slow is not None:
            await asyncio.sleep(slow.delay_ms / 1000)
        lines = ["Content-Type: image/jpeg", f"Content-Length: {len(body)}", f"X-Timestamp-Ns: {at_ns}"]
        if picture.upscaled_from:
            lines.append(_upscaled_header(picture.upscaled_from))
        return Part("\r\n".join([f"--{BOUNDARY}", *lines, "", ""]).encode(), body)

    def _look_ahead(self, view: View, at_ns: int) -> None:
        """Has the sitter's next frame decoded in time, on the other thread, so that its first picture is not late."""
        ahead = self._room.view(at_ns / 1e6 + LOOK_AHEAD_MS)
        if ahead.source not in {view.source, self._prepared}:
            self._prepared = ahead.source
            self._still_thread.submit(self._stills.prepare, ahead, self._preview.size)

    def _view(self, at_ns: int, still_size: Size | None = None) -> View:
        self._room.lens_cap = self._faults.take("camera.black") is not None
        return self._room.view(at_ns / 1e6, still_size)

    # ---- connections

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
            if not self._faults.is_on("camera.stall"):
                await self._answer(request, writer)
            if self._faults.is_on("camera.stall"):
                await reader.read()  # silent until the client goes away
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away or does not speak HTTP: nobody to tell
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            if task is not None:
                self._tasks.discard(task)

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        words = request.split(b"\r\n", 1)[0].split(b" ")
        method, path = (words[0], words[1].split(b"?")[0]) if len(words) == 3 else (b"", b"")
        if not method:
            await _send_whole(writer, 400, "text/plain", b"not an HTTP request\n")
        elif method not in {b"GET", b"HEAD"}:
            await _send_whole(writer, 405, "text/plain", b"only GET and HEAD\n")
        elif path == b"/preview.mjpg":
            await self._stream(writer, only_head=method == b"HEAD")
        elif path == b"/still.png":
            await self._send_still(writer)
        else:
            await _send_whole(writer, 404, "text/plain", b"there is /preview.mjpg and /still.png\n")

    async def _stream(self, writer: asyncio.StreamWriter, *, only_head: bool) -> None:
        if self._faults.is_on("camera.page"):
            await _send_whole(writer, 200, "text/html", b"<html><h1>Camera</h1></html>\n")
            return
        if self._clients and self._faults.is_on("camera.single"):
            await _send_whole(writer, 503, "text/plain", b"another viewer has the stream\n")
            return
        writer.write(
            _head(200, f"multipart/x-mixed-replace; boundary={BOUNDARY}", [f"X-Cpu-S: {time.process_time():.3f}"])
        )
        await writer.drain()
        if only_head:
            return
        queue: asyncio.Queue[Part | None] = asyncio.Queue(maxsize=1)
        self._clients.add(queue)
        self._somebody.set()
        try:
            held = b""
            frozen: Part | None = None
            born_live = self._faults.is_on("camera.freeze_stream")
            self.streams += 1
            while (part := await queue.get()) is not None and not self._ended():
                if self._faults.is_on("camera.freeze_stream") and not born_live:
                    part = frozen = frozen or part
                cut = self._faults.take("camera.cut")
                damaged = cut or self._faults.take("camera.damage")
                body = part.body[: len(part.body) // 2] if damaged else part.body
                if self._faults.take("camera.noise"):
                    held += NOISE
                if self._faults.take("camera.glue") and not held:
                    held = part.head + body + b"\r\n"
                    continue
                await self._send_pieces(writer, held + part.head + body + (b"" if cut else b"\r\n"))
                held = b""
                if cut:
                    return
        finally:
            self._clients.discard(queue)
            if not self._clients:
                self._somebody.clear()

    def _ended(self) -> bool:
        return self._faults.is_on("camera.stall") or self._faults.is_on("camera.page")

    async def _send_pieces(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self._faults.take("camera.crumble"):
            # The head, and the first and last bytes of the picture, one by one.
            inner = data.index(b"\r\n\r\n") + CRUMBLED_BYTES
            edges = [*range(inner), *range(inner, len(data) - CRUMBLED_BYTES, CRUMB_BYTES)]
            edges += range(len(data) - CRUMBLED_BYTES, len(data))
            for start, end in itertools.pairwise([*edges, len(data)]):
                writer.write(data[start:end])
                await writer.drain()
                await asyncio.sleep(0)
            return
        writer.write(data)
        await writer.drain()

    async def _send_still(self, writer: asyncio.StreamWriter) -> None:
        at_ns = time.monotonic_ns()
        view = self._view(at_ns, self._still_size)
        size = self._still_size
        if self._faults.is_on("camera.wrong_size"):
            size = (size[0] // 2, size[1] // 2)
        loop = asyncio.get_running_loop()
        body, picture = await loop.run_in_executor(self._still_thread, self._encode_still, view, size)
        slow = self._faults.take("camera.slow")
        if slow is not None:
            await asyncio.sleep(slow.delay_ms / 1000)
        await asyncio.sleep(self.latency_ms / 1000)
        self.stills += 1
        lines = [f"X-Timestamp-Ns: {at_ns}", f"X-Cpu-S: {time.process_time():.3f}"]
        if picture.upscaled_from:
            lines.append(_upscaled_header(picture.upscaled_from))
        cut = len(body) // 2 if self._faults.take("camera.cut") else len(body)
        writer.write(_head(200, "image/png", [f"Content-Length: {len(body)}", *lines]) + body[:cut])
        await writer.drain()

    def _encode_still(self, view: View, size: Size) -> tuple[bytes, Picture]:
        picture = self._stills.picture(view, size)
        noisy = lying(self._still_noise.on(picture.pixels, view.gain_db, view.noise), self._rotate_deg)
        png = cv2.imencode(".png", noisy, [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])[1]
        return np.asarray(png, dtype=np.uint8).tobytes(), picture

    def state(self) -> dict[str, object]:
        """For the control socket."""
        return {
            "port": self.port,
            "address": self.address,
            "listening": self._server is not None,
            "watchers": len(self._clients),
            "frames": self.frames,
            "streams": self.streams,
            "stills": self.stills,
            "latency_ms": self.latency_ms,
            "noise": self._room.noise,
            "relit": self._preview.renderer.renders,
            "relit_last_ms": round(self._preview.renderer.last_ms, 2),
            "jpegs_encoded": self._preview.jpegs,
        }


def lying(pixels: Image, rotate_deg: int) -> Image:
    """The picture as a camera gives it that must be turned clockwise by this angle to be upright."""
    turns = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
    return np.asarray(cv2.rotate(pixels, turns[rotate_deg]), dtype=np.uint8) if rotate_deg else pixels


def _head(status: int, content_type: str, lines: list[str]) -> bytes:
    fixed = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Content-Type: {content_type}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    return ("\r\n".join([*fixed, *lines]) + "\r\n\r\n").encode()


def _upscaled_header(size: Size) -> str:
    return f"X-Upscaled-From: {size[0]}x{size[1]}"


async def _send_whole(writer: asyncio.StreamWriter, status: int, content_type: str, body: bytes) -> None:
    writer.write(_head(status, content_type, [f"Content-Length: {len(body)}"]) + body)
    await writer.drain()
