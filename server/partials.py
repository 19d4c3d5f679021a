"""Uploads that were interrupted: what arrived is kept, so that the booth can go on from there (docs/intake-api.md, "Resumable upload").

What every place does alike: how far an upload is, what its headers say, and what a request that adds to it may ask for. Where the bytes lie, and who keeps
two writers apart: server/folder_partials.py, server/s3_partials.py.

Partials are a saving of bandwidth and nothing more: a packet is what passed the check of its whole digest. So there is always room: a booth's
oldest partials give way to its new one, the oldest of all when the sum is too large, each after `kept_s`.
"""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from server.errors import ServerError, UploadLengthError

# How long the question for an offset waits for a request whose connection has ended, and how often it looks.
ENDING_S = 2.0
LOOK_S = 0.05
_INTEGER = re.compile(r"[0-9]{1,15}", re.ASCII)
_BOOLEAN = {"?0": False, "?1": True}


@dataclass(frozen=True, slots=True)
class PartialLimits:
    """How much is kept."""

    booth_count: int
    booth_bytes: int
    total_bytes: int
    kept_s: float


@dataclass(frozen=True, slots=True)
class Partial:
    """How far an upload has come."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class UploadFields:
    """The draft's request headers; a value of the wrong form counts as none (structured fields, RFC 9651)."""

    complete: bool | None
    offset: int | None
    length: int | None


def read_fields(headers: Mapping[str, str]) -> UploadFields:
    """What a request says about its upload."""
    return UploadFields(
        _BOOLEAN.get(headers.get("upload-complete", "")),
        _integer(headers.get("upload-offset", "")),
        _integer(headers.get("upload-length", "")),
    )


def told_length(fields: UploadFields, content_length: int) -> int | None:
    """The whole upload's length as a request tells it. Raises `UploadLengthError` when it contradicts itself."""
    implied = (fields.offset or 0) + content_length
    if fields.length is not None and (implied > fields.length or (fields.complete and implied != fields.length)):
        raise UploadLengthError("Upload-Length is not the length of what is sent.")
    return implied if fields.complete else fields.length


class Partials(Protocol):
    """The interrupted uploads of a place."""

    async def find(self, booth: str, sha256: str) -> Partial | None:
        """How far the booth's upload of this packet has come; it waits for a request that is just ending.

        Raises `OverloadError` when somebody goes on writing: an offset that moves would cost the sender its content.
        """

    def append(
        self, booth: str, sha256: str, offset: int | None, length: int | None
    ) -> AbstractAsyncContextManager[Append]:
        """Go on at `offset`; None begins anew. What was written stays, whatever ends the block.

        Raises `UploadOffsetError`, `UploadLengthError`, `UnknownPacketError` (nothing to go on with), `OverloadError` (somebody else writes).
        """

    async def sweep(self) -> int:
        """Remove what is too old or too much; returns how many that were."""


class Append(ABC):
    """One partial while a request adds to it; what has gathered goes to the place piece by piece."""

    def __init__(self, begun: Partial, piece_bytes: int) -> None:
        self.begun, self._piece_bytes = begun, piece_bytes
        self._gathered = bytearray()
        self._offset = begun.offset

    @property
    def reached(self) -> Partial:
        """How far the upload has come."""
        return Partial(self._offset + len(self._gathered), self.begun.length)

    def fields(self, *, complete: bool = False) -> dict[str, str]:
        """How far the upload has come, for the head of an answer."""
        reached = self.reached
        return {
            "Upload-Complete": "?1" if complete else "?0",
            "Upload-Offset": str(reached.offset),
            "Upload-Length": str(reached.length),
        }

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """What goes wrong meanwhile is answered with how far the upload has come; it can go on there."""
        try:
            yield
        except ServerError as error:
            error.upload = error.upload or self.fields()
            raise

    async def write(self, chunk: bytes) -> None:
        """Append bytes. Raises `UploadLengthError` beyond the length."""
        if self.reached.offset + len(chunk) > self.begun.length:
            raise UploadLengthError("More came than the length that was told.")
        self._gathered += chunk
        if len(self._gathered) >= self._piece_bytes:
            await self._put_gathered()

    @abstractmethod
    async def _put_gathered(self) -> None:
        """Hand what has gathered to the place."""

    @abstractmethod
    async def sync(self) -> None:
        """Make everything written durable."""

    @abstractmethod
    async def forget_content(self) -> None:
        """What this request brought is not what was signed: back to where it began."""

    @abstractmethod
    async def read(self, head_bytes: int) -> tuple[str, bytes]:
        """All came: digest and first bytes of the whole, as `keep` would keep it."""

    @abstractmethod
    async def keep(self, sha256: str) -> None:
        """Give the whole its name among the packets, durably; the partial stays until `remove`."""

    @abstractmethod
    async def remove(self) -> None:
        """Drop the partial."""


def _integer(text: str) -> int | None:
    return int(text) if _INTEGER.fullmatch(text) else None
