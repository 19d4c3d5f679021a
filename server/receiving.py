"""Taking in a request body: bounded in size and in time. A packet is digested as it comes and never held as a whole in memory.

The declared length is checked before the first byte is read; what comes is counted again. A sender that stays silent for `idle_s`, or is not
done within `total_s`, is told so (408) and let go. The first bytes are kept for the packet's public header.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from fastapi import Request
from starlette.requests import ClientDisconnect

from crypto.timed_http import UNREAD
from server.errors import (
    LengthRequiredError,
    MalformedRequestError,
    MediaTypeError,
    OverloadError,
    PacketTooLargeError,
    RequestTooLargeError,
    SlowRequestError,
    TruncatedRequestError,
    UploadsAtOnceError,
)


class Sink(Protocol):
    """Where the bytes go."""

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes."""


class Discard:
    """A sink for bytes that are already stored."""

    async def write(self, chunk: bytes) -> None:
        """Drop them."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much a body may take."""

    max_bytes: int
    idle_s: float
    total_s: float
    head_bytes: int


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """What came."""

    sha256: str
    size: int
    head: bytes


class Places:
    """How much of one kind of work is done at once; more is told to come back."""

    def __init__(self, count: int, retry_after_s: int) -> None:
        self._left, self._retry_after_s = count, retry_after_s

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """One of the places. Raises `OverloadError`."""
        if self._left == 0:
            raise OverloadError("As much as this intake does at once is under way.", retry_after_s=self._retry_after_s)
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


class BoothPlaces:
    """How many uploads one booth has at once."""

    def __init__(self, count: int, retry_after_s: int) -> None:
        self._count, self._retry_after_s = count, retry_after_s
        self._taken: Counter[str] = Counter()

    @contextlib.contextmanager
    def taken(self, booth: str) -> Iterator[None]:
        """One of the booth's places. Raises `UploadsAtOnceError`."""
        if self._taken[booth] >= self._count:
            raise UploadsAtOnceError(
                f"{self._count} uploads of this booth are under way.", retry_after_s=self._retry_after_s
            )
        self._taken[booth] += 1
        try:
            yield
        finally:
            self._taken[booth] -= 1
            if not self._taken[booth]:
                del self._taken[booth]


def declared_length(request: Request, max_bytes: int) -> int:
    """A packet's length as announced. Raises `LengthRequiredError`, `MalformedRequestError`, `PacketTooLargeError`."""
    length = _announced(request)
    if length > max_bytes:
        raise too_large(max_bytes)
    return length


def too_large(max_bytes: int) -> PacketTooLargeError:
    """The answer to more bytes than a packet may have."""
    return PacketTooLargeError(
        f"The packet is larger than the {max_bytes} bytes that this intake takes.", max_bytes=max_bytes
    )


async def read_small_body(request: Request, kind: str, max_bytes: int, total_s: float) -> bytes:
    """A whole small body of the media type `kind`, as for a form or an enrolment.

    Raises `MediaTypeError`, `LengthRequiredError`, `MalformedRequestError`, `RequestTooLargeError`, `SlowRequestError`, `TruncatedRequestError`.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise MediaTypeError(f"Send the body as {kind}.")
    too_large = RequestTooLargeError(f"The body is larger than the {max_bytes} bytes that this address takes.")
    if _announced(request) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(total_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError as error:
        raise SlowRequestError("The body came too slowly: try again when the line is better.") from error
    except ClientDisconnect as error:
        raise TruncatedRequestError("The connection ended before the body was complete.") from error
    return bytes(body)


def _announced(request: Request) -> int:
    text = request.headers.get("content-length")
    if text is None or "transfer-encoding" in request.headers:
        raise LengthRequiredError("Send the upload with a Content-Length, not in chunks.")
    if not (text.isascii() and text.isdigit()):
        raise MalformedRequestError("The Content-Length is not a number.")
    return int(text[:16])  # more digits are more bytes than anything here takes


async def receive_body(request: Request, sink: Sink, limits: BodyLimits) -> ReceivedBody:
    """Read the whole body into `sink`; all that came, when the connection ends early. Raises `SlowRequestError`, `TruncatedRequestError`, `PacketTooLargeError`, what the sink raises."""
    digest = hashlib.sha256()
    head = bytearray()
    size = 0

    async def take(chunk: bytes) -> None:
        nonlocal head, size
        size += len(chunk)
        if size > limits.max_bytes:
            raise too_large(limits.max_bytes)
        digest.update(chunk)
        if len(head) < limits.head_bytes:
            head += chunk[: limits.head_bytes - len(head)]
        await sink.write(chunk)

    clock = asyncio.get_running_loop().time
    end = clock() + limits.total_s
    try:
        async with asyncio.timeout_at(min(end, clock() + limits.idle_s)) as limit:
            async for chunk in request.stream():
                limit.reschedule(end)  # the sender does not wait for the disk
                await take(chunk)
                limit.reschedule(min(end, clock() + limits.idle_s))
    except TimeoutError as error:
        raise SlowRequestError("The body came too slowly: try again when the line is better.") from error
    except ClientDisconnect as error:
        await take(bytes(getattr(request.state, UNREAD, b"")))
        raise TruncatedRequestError("The connection ended before the body was complete.") from error
    return ReceivedBody(digest.hexdigest(), size, bytes(head))
