"""Bytes of sealed packets, named by their SHA-256.

Order of operation of the folder store: temporary file in the same file system → bytes → fsync → rename → fsync of the folder (the folders
themselves are made durable at start). Only then `keep` returns, so a row or a receipt never speaks of bytes that a power cut can take
(docs/decisions/0007-own-folder-store.md). Writing the same packet twice is harmless: the name is its content. Bytes without a row are orphans
of a crash between the two; the next upload of the same packet adopts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from server.errors import StorageCorruptError, StorageError, StorageFullError, StorageUnavailableError

P = ParamSpec("P")
T = TypeVar("T")

# Disk waits, not work: four let fsyncs of different uploads overlap, which file systems merge into one journal commit.
THREADS = 4
# Chunks from the network (up to 64 KiB) are gathered to this size before a thread is troubled.
GATHERED_BYTES = 1024 * 1024
# No upload lives this long (config.body_total_s is 300 s): an older temporary file is what a crash left.
ABANDONED_S = 3600.0
FOLDER_MODE = 0o700
FILE_MODE = 0o600


class ObjectWriter(Protocol):
    """One packet being received."""

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""

    async def keep(self, sha256: str) -> None:
        """Make everything written durable under this name; returns when it is."""


class ObjectStore(Protocol):
    """Where sealed packets live."""

    def writer(self) -> contextlib.AbstractAsyncContextManager[ObjectWriter]:
        """A new packet; dropped without a trace unless `keep` was called."""

    async def read(self, sha256: str) -> bytes:
        """The bytes, with their digest checked. Raises `StorageCorruptError`."""

    async def holds(self, sha256: str) -> bool:
        """Whether there are bytes under this name."""

    async def check(self) -> None:
        """Raises `StorageError` when nothing can be written just now."""


class FolderObjects:
    """An `ObjectStore` in a local folder. Use `open_folder_objects`."""

    def __init__(self, root: Path, threads: ThreadPoolExecutor) -> None:
        self._packets = root / "packets"
        self._incoming = root / "incoming"
        self.partial = root / "partial"  # server/partials.py
        self._threads = threads

    @contextlib.asynccontextmanager
    async def writer(self) -> AsyncIterator[FolderWriter]:
        """A new packet in a temporary file."""
        writer = FolderWriter(self, self._incoming / secrets.token_hex(16))
        try:
            yield writer
        finally:
            # A disk wait is not interrupted by a cancelled request: the descriptor would be left behind.
            await self.finish(writer.drop)

    async def read(self, sha256: str) -> bytes:
        """The bytes of a packet, with their digest checked."""
        try:
            data = await self.run(self.path_of(sha256).read_bytes)
        except StorageUnavailableError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise StorageCorruptError(
                    "A stored packet is gone from the folder: restore it from the backup."
                ) from error
            raise
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StorageCorruptError("A stored packet no longer has its digest: restore it from the backup.")
        return data

    async def holds(self, sha256: str) -> bool:
        """Whether there are bytes under this name."""
        return await self.run(self.path_of(sha256).is_file)

    async def check(self) -> None:
        """Write and remove an empty file."""
        async with self.writer() as writer:
            await writer.sync()

    def path_of(self, sha256: str) -> Path:
        """One of 256 folders: a million packets are 4000 in each."""
        return self._packets / sha256[:2] / sha256

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a disk operation in one of this store's threads; the only place where `OSError` is translated."""

        def work() -> T:
            return call(*args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            raise _translated(error) from error

    async def finish(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`run`, to its end even when the request is cancelled meanwhile."""
        return await asyncio.shield(self.run(call, *args, **kwargs))

    def prepare(self) -> int:
        """Make the folders and remove what crashes left; returns how many files that were. Blocks."""
        try:
            for folder in (
                self._incoming,
                self.partial,
                self._packets,
                *(self._packets / f"{i:02x}" for i in range(256)),
            ):
                folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            for folder in (self._packets, self._packets.parent, self._packets.parent.parent):
                sync_folder(folder)
            abandoned = [path for path in self._incoming.iterdir() if time.time() - path.stat().st_mtime > ABANDONED_S]
            for path in abandoned:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _translated(error) from error
        return len(abandoned)


class FolderWriter:
    """One temporary file of `FolderObjects`, made when the first bytes go to the disk.

    The lock orders the disk work of a request that was cancelled half-way before the clean-up of its file.
    """

    def __init__(self, store: FolderObjects, path: Path) -> None:
        self._store = store
        self._path = path
        self._descriptor: int | None = None
        self._gathered = bytearray()
        self._busy = threading.Lock()

    async def write(self, chunk: bytes) -> None:
        """Append bytes; written to the file a mebibyte at a time."""
        self._gathered += chunk
        if len(self._gathered) >= GATHERED_BYTES:
            await self._store.finish(self._flush)

    async def keep(self, sha256: str) -> None:
        """Write the rest, fsync, rename, fsync the folder."""
        await self._store.finish(self._keep, self._store.path_of(sha256))

    async def sync(self) -> None:
        """Write the rest and fsync, without keeping it."""
        await self._store.finish(self._flush, sync=True)

    def _flush(self, *, sync: bool = False) -> None:
        with self._busy:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            view = memoryview(bytes(self._gathered))
            self._gathered.clear()
            while view:
                view = view[os.write(self._descriptor, view) :]
            if sync:
                os.fsync(self._descriptor)

    def _keep(self, target: Path) -> None:
        self._flush(sync=True)
        with self._busy:
            self._path.rename(target)
            sync_folder(target.parent)

    def drop(self) -> None:
        """Close the file and remove it unless it was kept. Blocks."""
        with self._busy:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
                self._path.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def open_folder_objects(root: Path) -> AsyncIterator[FolderObjects]:
    """Open the folder store; its threads end with it. Raises `StorageError`."""
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")
    try:
        objects = FolderObjects(root, threads)
        await objects.run(objects.prepare)
        yield objects
    finally:
        threads.shutdown(wait=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Blocks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _translated(error: OSError) -> StorageError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFullError("No room is left for packets: free space or extend the folder.")
    return StorageUnavailableError("The folder of packets cannot be read or written: look at the disk and its rights.")
