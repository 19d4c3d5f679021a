"""Pictures out of an MJPEG stream over HTTP (pure): multipart/x-mixed-replace, in pieces of any size.

Rules: a part begins with `--` and the boundary that the answer's Content-Type names; what stands between parts is noise and skipped. With a
Content-Length the picture ends after so many bytes, and is given at once; a boundary that comes earlier means that it was cut off: the
piece is given as it is (whether it is a picture is for `pictures.decode` to say) and reading goes on behind that boundary. Without a
Content-Length the next boundary ends the picture. Never more than one picture and one head are kept.
"""

from __future__ import annotations

import re
from email.message import Message

MAX_HEAD = 8192
MAX_PICTURE = 32 * 1024 * 1024
HEAD_END = re.compile(rb"\r?\n\r?\n")
LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
# A shorter boundary is so likely inside a JPEG's own bytes that it counts only at the start of a line.
SURE_SIZE = 6
# What stands between a picture without a Content-Length and the boundary behind it.
LINE_END = b"\r\n-"


def read_boundary(content_type: str) -> bytes | None:
    """The boundary in a Content-Type, without leading dashes (cameras add or leave them out at will); None when it is no stream of parts."""
    head = Message()
    head["content-type"] = content_type
    if head.get_content_maintype() != "multipart":
        return None
    boundary = head.get_param("boundary")
    name = boundary.strip().lstrip("-") if isinstance(boundary, str) else ""
    return name.encode("latin-1", "replace") or None


class PictureDecoder:
    """Finds the pictures in a stream of bytes; never raises."""

    def __init__(self, boundary: bytes) -> None:
        self._mark = b"--" + boundary
        self._early_mark = self._mark if len(boundary) >= SURE_SIZE else b"\n" + self._mark
        self._buffer = bytearray()
        self._in_head = self._in_body = False
        self._length: int | None = None
        self._scanned = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the pictures that are complete (or cut off) now."""
        self._buffer += data
        found: list[bytes] = []
        while self._step(found):
            pass
        return found

    def _step(self, found: list[bytes]) -> bool:
        """Go one part of a part further; false when that needs more bytes."""
        if self._in_body:
            return self._take_body(found)
        return self._take_head() if self._in_head else self._seek()

    def _seek(self) -> bool:
        at = self._buffer.find(self._mark)
        if at < 0:
            del self._buffer[: max(0, len(self._buffer) - len(self._mark) + 1)]
            return False
        del self._buffer[: at + len(self._mark)]
        self._in_head = True
        return True

    def _take_head(self) -> bool:
        end = HEAD_END.search(self._buffer, 0, MAX_HEAD)
        limit = len(self._buffer) if end is None else end.start()
        again = self._buffer.find(self._mark, 0, limit)
        if again >= 0:
            del self._buffer[: again + len(self._mark)]  # that head was cut off
            return True
        if end is None:
            self._in_head = len(self._buffer) < MAX_HEAD
            return not self._in_head
        length = LENGTH.search(self._buffer, 0, end.start())
        self._length = None if length is None else int(length[1])
        del self._buffer[: end.end()]
        self._in_head = False
        self._in_body = self._length is None or 0 < self._length <= MAX_PICTURE
        self._scanned = 0
        return True

    def _take_body(self, found: list[bytes]) -> bool:
        mark = self._early_mark if self._length is not None else self._mark
        at = self._buffer.find(mark, max(0, self._scanned - len(mark) + 1), self._length)
        if at >= 0:
            found.append(bytes(self._buffer[:at]).rstrip(LINE_END))
            del self._buffer[: at + len(mark)]
            self._in_body, self._in_head = False, True
            return True
        self._scanned = len(self._buffer)
        if self._length is not None and len(self._buffer) >= self._length:
            found.append(bytes(self._buffer[: self._length]))
            del self._buffer[: self._length]
            self._in_body = False
            return True
        if len(self._buffer) > MAX_PICTURE:
            self._in_body = False
            return True
        return False
