"""Canaries: bytes that belong to one visit alone, in every clothing that a program might give them, and the search for them.

A needle is taken from what really passed the wire (pictures as the camera sent them, as the screen got them, their pixels) or was typed.
`Tee` stands on a line between two programs and keeps the pictures that pass.
"""

from __future__ import annotations

import base64
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

WINDOW = 24  # bytes; by chance nowhere else
JPEG = (b"\xff\xd8\xff", b"\xff\xd9")
PNG = (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82")
LARGEST = 32 * 2**20


@dataclass(frozen=True)
class Needle:
    """What is searched for."""

    name: str
    data: bytes = field(repr=False)


def clothed(name: str, secret: bytes) -> Iterator[Needle]:
    """The bytes as they are, in hexadecimal, and in Base64 at each of its three alignments."""
    yield Needle(name, secret)
    yield Needle(f"{name} hex", secret.hex().encode())
    yield Needle(f"{name} HEX", secret.hex().upper().encode())
    for shift in range(3):
        inner = secret[shift : shift + (len(secret) - shift) // 3 * 3]
        yield Needle(f"{name} base64+{shift}", base64.b64encode(inner))
        yield Needle(f"{name} base64url+{shift}", base64.urlsafe_b64encode(inner))


def text_needles(name: str, text: str) -> list[Needle]:
    """A text in every encoding and clothing."""
    found = [Needle(f"{name} backwards", text[::-1].encode())]
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"):
        found += clothed(f"{name} {encoding}", text.encode(encoding))
    found += clothed(f"{name} lower case", text.lower().encode())
    return found


def picture_needles(name: str, picture: bytes) -> list[Needle]:
    """A picture file: stretches of its body, and of its pixels in the orders and turns that programs use."""
    found: list[Needle] = []
    for part in (0.45, 0.7):
        stretch = _rich(picture, int(len(picture) * part))
        if stretch is not None:
            found += clothed(f"{name} at {part:.0%}", stretch)
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return found
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    views = {
        "bgr": pixels,
        "rgb": pixels[:, :, ::-1],
        "grey": grey,
        "mirrored": pixels[:, ::-1],
        "turned": np.rot90(pixels),
    }
    for order, view in views.items():
        flat = np.ascontiguousarray(view).tobytes()
        stretch = _rich(flat, len(flat) // 2)
        if stretch is not None:
            found.append(Needle(f"{name} pixels {order}", stretch))
            found += list(clothed(f"{name} pixels {order}", stretch))[3:4]
    return found


def _rich(data: bytes, start: int) -> bytes | None:
    """The first stretch from `start` on that is like nothing else: many different bytes."""
    for at in range(start, len(data) - WINDOW, WINDOW):
        stretch = data[at : at + WINDOW]
        if len(set(stretch)) >= WINDOW * 2 // 3:
            return stretch
    return None


def hits(needles: Iterable[Needle], *roots: Path) -> list[str]:
    """Where needles are: in names and bytes of every file below the roots."""
    wanted = _Wanted(needles)
    found = []
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder) / name
                content = os.fsencode(str(path.relative_to(root))) + b"\0"
                if path.is_symlink():
                    content += os.fsencode(path.readlink())
                elif path.is_file():
                    with suppress(FileNotFoundError):  # the programs go on meanwhile
                        content += path.read_bytes()
                found += [f"{needle.name} in {path}" for needle in wanted.found_in(content)]
    return found


class _Wanted:
    """Thousands of needles in one pass: every eight bytes of the hay are looked up among the needles' first eight."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        self._by_start: dict[int, list[Needle]] = {}
        for needle in {needle.data: needle for needle in needles}.values():
            assert len(needle.data) >= 8, needle
            self._by_start.setdefault(int.from_bytes(needle.data[:8], "little"), []).append(needle)
        self._starts = np.array(sorted(self._by_start), np.dtype("<u8"))

    def found_in(self, hay: bytes) -> Iterator[Needle]:
        """Needles in the hay, once each."""
        told = set()
        for shift in range(min(8, len(hay))):
            eights = np.frombuffer(hay, np.dtype("<u8"), (len(hay) - shift) // 8, shift)
            places = np.searchsorted(self._starts, eights).clip(max=len(self._starts) - 1)
            for at in np.nonzero(self._starts[places] == eights)[0]:
                for needle in self._by_start[int(eights[at])]:
                    if needle not in told and hay.startswith(needle.data, shift + 8 * int(at)):
                        told.add(needle)
                        yield needle


def size_of(*roots: Path) -> tuple[int, int]:
    """Files and bytes that a search looks at."""
    files = [path for root in roots for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return len(files), sum(path.stat().st_size for path in files)


class Tee:
    """Listens on a loopback port, passes everything on to another, and keeps the pictures that come back: one in `every_s` of each connection."""

    def __init__(self, port: int, every_s: float = 0.5) -> None:
        self.pictures: list[bytes] = []
        self._target, self._every_s = port, every_s
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, name="tee", daemon=True)]
        self._threads[0].start()

    def take(self) -> list[bytes]:
        """The pictures since the last call."""
        taken, self.pictures = self.pictures, []
        return taken

    def close(self) -> None:
        """Ends every connection."""
        for line in (self._listening, *self._open):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self._open |= {near, far}
                for start in ((near, far, lambda _: None), (far, near, self._finder())):
                    thread = threading.Thread(target=self._pass, args=start, name="tee", daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, see: Callable[[bytes], None]) -> None:
        with suppress(OSError):
            while data := source.recv(2**18):
                sink.sendall(data)
                see(data)
        for line in (source, sink):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
            self._open.discard(line)

    def _finder(self) -> Callable[[bytes], None]:
        buffer = bytearray()
        kept_at = 0.0

        def see(data: bytes) -> None:
            nonlocal kept_at
            buffer.extend(data)
            while True:
                starts = [(at, end) for begin, end in (JPEG, PNG) if (at := buffer.find(begin)) >= 0]
                if not starts:
                    del buffer[:-16]
                    return
                at, end = min(starts)
                stop = buffer.find(end, at)
                if stop < 0:
                    if len(buffer) > LARGEST:
                        buffer.clear()
                    return
                picture = bytes(buffer[at : stop + len(end)])
                del buffer[: stop + len(end)]
                if time.monotonic() - kept_at >= self._every_s:
                    kept_at = time.monotonic()
                    self.pictures.append(picture)

        return see


@contextmanager
def tee_to(port: int, every_s: float = 0.5) -> Iterator[Tee]:
    """A tee that ends with the block."""
    tee = Tee(port, every_s)
    try:
        yield tee
    finally:
        tee.close()
