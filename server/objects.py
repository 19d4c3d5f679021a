"""Bytes of sealed packets and of sealed orders, named by their SHA-256: what every place for them does, and the one that the settings name.

    Objects               one place, a folder (server/folder_objects.py) or a bucket (server/s3_objects.py)
      .packets            what booths sent
      .orders             what the desk sealed for a producer
      .aside              orphans that wait for their end, under the same names (server/orphans.py)
      .partials(…)        interrupted uploads (server/partials.py)

`ObjectStore` is what takes and gives bytes, `ObjectKeeper` what looks after them; every collection is both. `keep` returns when the bytes are
durable: the folder has fsynced, the store has answered. The bytes of a name are always those with its digest: `read` proves it, and writing them
again is harmless. An object that was put aside is still read under its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from server.config import StoreSettings
from server.errors import SettingsError, StorageCorruptError
from server.partials import PartialLimits, Partials

COLLECTIONS = ("packets", "orders")


class ObjectWriter(Protocol):
    """Bytes being received."""

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""

    async def keep(self, name: str) -> None:
        """Make everything written durable under this name; returns when it is."""


class ObjectStore(Protocol):
    """Where sealed bytes are taken and given."""

    def writer(self) -> AbstractAsyncContextManager[ObjectWriter]:
        """New bytes; dropped without a trace unless `keep` was called."""

    async def read(self, name: str) -> bytes:
        """The bytes, with their digest checked. Raises `StorageCorruptError`."""

    async def holds(self, name: str) -> bool:
        """Whether there are bytes under this name."""

    async def check(self) -> None:
        """Raises `StorageError` when nothing can be written just now."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What is known of bytes without reading them."""

    name: str
    size: int
    modified_at: datetime


class ObjectKeeper(Protocol):
    """Where sealed bytes are looked after."""

    async def find(self, name: str) -> StoredObject | None:
        """Size and age of what lies under this name."""

    def names(self, after: str = "") -> AsyncIterator[StoredObject]:
        """All that lies here behind `after`, in the order of names; what comes or goes meanwhile may be missing."""

    async def delete(self, name: str) -> bool:
        """Remove the bytes, durably, wherever they lie; says whether there were any."""

    async def put_aside(self, name: str) -> bool:
        """Move the bytes to those that wait for their end; says whether there were any. Raises `StorageCorruptError`, and moves nothing then."""


class Collection(ABC):
    """A collection of a place, as both protocols want it; what folder and bucket do differently is abstract."""

    def __init__(self, aside: Collection | None) -> None:
        self._aside = aside

    @abstractmethod
    def writer(self) -> AbstractAsyncContextManager[ObjectWriter]:
        """New bytes; dropped without a trace unless `keep` was called."""

    @abstractmethod
    async def load(self, name: str) -> bytes | None:
        """The bytes as they lie there, none when there are none."""

    @abstractmethod
    async def holds(self, name: str) -> bool:
        """Whether there are bytes under this name."""

    @abstractmethod
    async def check(self) -> None:
        """Raises `StorageError` when nothing can be written just now."""

    @abstractmethod
    async def find(self, name: str) -> StoredObject | None:
        """Size and age of what lies under this name."""

    @abstractmethod
    def names(self, after: str = "") -> AsyncIterator[StoredObject]:
        """All that lies here behind `after`, in the order of names; what comes or goes meanwhile may be missing."""

    @abstractmethod
    async def remove(self, name: str) -> bool:
        """Remove the bytes of this collection alone, durably; says whether there were any."""

    async def read(self, name: str) -> bytes:
        """The bytes, with their digest checked. Raises `StorageCorruptError`."""
        data = await self.load(name)
        if data is None and self._aside is not None:
            data = await self._aside.load(name)
        if data is None:
            raise StorageCorruptError("Stored bytes are gone: restore them from the backup.")
        if hashlib.sha256(data).hexdigest() != name:
            raise StorageCorruptError("Stored bytes no longer have their digest: restore them from the backup.")
        return data

    async def delete(self, name: str) -> bool:
        """Remove the bytes, durably, here and among those put aside; says whether there were any."""
        here = await self.remove(name)
        return (self._aside is not None and await self._aside.remove(name)) or here

    async def put_aside(self, name: str) -> bool:
        """Copy the bytes, proven by their digest, to those put aside; then remove them here. Raises `StorageCorruptError`."""
        if self._aside is None:
            raise ValueError("what is put aside already is put aside no further")
        if not await self.holds(name):
            return False
        data = await self.read(name)
        async with self._aside.writer() as writer:
            await writer.write(data)
            await writer.keep(name)
        await self.remove(name)
        return True


@dataclass(frozen=True)
class Objects:
    """One place with all its collections."""

    packets: Collection
    orders: Collection
    aside: Collection
    partials: Callable[[PartialLimits, int], Partials]


@contextlib.asynccontextmanager
async def open_objects(settings: StoreSettings) -> AsyncIterator[Objects]:
    """Open the place that the settings name, make what it lacks, close it at the end. Raises `SettingsError`, `StorageError`."""
    folder = folder_in(settings)
    if folder is None:
        from server.s3_objects import open_s3_objects  # obstore is not imported before it is needed

        opening = open_s3_objects(settings)
    else:
        from server.folder_objects import open_folder_objects

        opening = open_folder_objects(folder)
    async with opening as objects:
        yield objects


async def lacking_place(settings: StoreSettings) -> str | None:
    """The place that the settings name, in words, when no intake has made it yet. Raises `SettingsError`, `StorageError`."""
    folder = folder_in(settings)
    if folder is None:
        from server.s3_bucket import MARK, make_bucket

        made = await make_bucket(settings).find(MARK)
        return None if made is not None else f"the mark of an intake in {settings.objects_url}"
    packets = folder / COLLECTIONS[0]
    return None if await asyncio.to_thread(packets.is_dir) else f"the folder of packets {packets}"


def folder_in(settings: StoreSettings) -> Path | None:
    """The folder that the settings name as the place; none when it is a bucket. Raises `SettingsError`."""
    if settings.objects_url is None:
        return settings.data_dir / "objects"
    url = urlsplit(settings.objects_url)
    if url.scheme == "file" and not url.netloc and url.path.startswith("/"):
        return Path(unquote(url.path))
    if url.scheme == "s3":
        return None
    raise SettingsError("objects_url is file:///folder or s3://bucket/prefix.")
