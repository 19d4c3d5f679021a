"""Sealed bytes in a local folder: the place of an intake that has no object store.

Order of operation: temporary file in the same file system → bytes → fsync → rename → fsync of the folder (the folders themselves are made durable
at start). Only then `keep` returns, so a row or a receipt never speaks of bytes that a power cut can take (docs/decisions/0007-own-folder-store.md).
Writing the same packet twice is harmless: the name is its content. Bytes without a row are orphans of a crash between the two; the next upload of
the same packet adopts them, and server/orphans.py puts away those that nobody adopts.

    packets/ab/…  orders/ab/…  aside/ab/…   the collections, each in 256 folders: a million packets are 4000 in each
    incoming/                               files that have no name yet
    partial/                                interrupted uploads (server/folder_partials.py)
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from server.disk import FILE_MODE, FOLDER_MODE, THREADS, Disk, sync_folder
from server.folder_partials import FolderPartials
from server.objects import COLLECTIONS, Collection, Objects, StoredObject

# Chunks from the network (up to 64 KiB) are gathered to this size before a thread is troubled.
GATHERED_BYTES = 1024 * 1024
# No upload lives this long (config.body_total_s is 300 s): an older temporary file is what a crash left.
ABANDONED_S = 3600.0
SHARDS = tuple(f"{i:02x}" for i in range(256))


class FolderObjects(Collection):
    """A collection in 256 folders. Use `open_folder_objects`."""

    def __init__(self, disk: Disk, name: str, aside: FolderObjects | None = None) -> None:
        super().__init__(aside)
        self._disk = disk
        self.root = disk.root / name
        self.premade = (
            name == COLLECTIONS[0]
        )  # the folders in it; those of the rarer collections come with what they hold

    @contextlib.asynccontextmanager
    async def writer(self) -> AsyncIterator[FolderWriter]:
        """New bytes in a temporary file."""
        writer = FolderWriter(self, self._disk)
        try:
            yield writer
        finally:
            # A disk wait is not interrupted by a cancelled request: the descriptor would be left behind.
            if writer.begun:
                await self._disk.finish(writer.drop)

    async def load(self, name: str) -> bytes | None:
        """The bytes as they lie there: read from the disk anew, not from what the system remembers of it."""

        def load() -> bytes | None:
            with contextlib.suppress(FileNotFoundError), self.path_of(name).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                return file.read()
            return None

        return await self._disk.run(load)

    async def holds(self, name: str) -> bool:
        """Whether there are bytes under this name."""
        return await self._disk.run(self.path_of(name).is_file)

    async def check(self) -> None:
        """Write and remove an empty file."""
        async with self.writer() as writer:
            await writer.sync()

    async def find(self, name: str) -> StoredObject | None:
        """Size and age of what lies under this name."""
        return await self._disk.run(_seen, self.path_of(name))

    async def names(self, after: str = "") -> AsyncIterator[StoredObject]:
        """All that lies here behind `after`, in the order of names; what comes or goes meanwhile may be missing."""
        for shard in SHARDS:
            if shard >= after[:2]:
                for one in await self._disk.run(self._shard, shard, after):
                    yield one

    async def remove(self, name: str) -> bool:
        """Unlink, and make that durable."""

        def remove() -> bool:
            path = self.path_of(name)
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            sync_folder(path.parent)
            return True

        return await self._disk.finish(remove)

    def path_of(self, name: str) -> Path:
        """Where bytes of this name lie."""
        return self.root / name[:2] / name

    def prepare(self) -> None:
        """Make the folders, durably. Blocks."""
        for folder in (self.root, *(self.root / shard for shard in SHARDS if self.premade)):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        sync_folder(self.root)

    def _shard(self, shard: str, after: str) -> list[StoredObject]:
        try:
            found = [_seen(path) for path in (self.root / shard).iterdir() if path.name > after]
        except FileNotFoundError:
            return []
        return sorted((one for one in found if one is not None), key=lambda one: one.name)


class FolderWriter:
    """One temporary file, made when the first bytes go to the disk.

    The lock orders the disk work of a request that was cancelled half-way before the clean-up of its file.
    """

    def __init__(self, objects: FolderObjects, disk: Disk) -> None:
        self._objects, self._disk = objects, disk
        self._path = disk.incoming / secrets.token_hex(16)
        self.begun = False  # something may be on the disk that has to be dropped
        self._descriptor: int | None = None
        self._gathered = bytearray()
        self._busy = threading.Lock()

    async def write(self, chunk: bytes) -> None:
        """Append bytes; written to the file a mebibyte at a time."""
        self._gathered += chunk
        if len(self._gathered) >= GATHERED_BYTES:
            self.begun = True
            await self._disk.finish(self._flush)

    async def keep(self, name: str) -> None:
        """Write the rest, fsync, rename, fsync the folder."""
        self.begun = True
        await self._disk.finish(self._keep, self._objects.path_of(name))
        self.begun = False

    async def sync(self) -> None:
        """Write the rest and fsync, without keeping it."""
        self.begun = True
        await self._disk.finish(self._flush, sync=True)

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
            if not self._objects.premade:
                target.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
                sync_folder(self._objects.root)  # also when another process made it, and may not have come this far
            self._path.rename(target)
            sync_folder(target.parent)
            assert self._descriptor is not None, "the flush opened it"
            os.close(self._descriptor)
            self._descriptor = None

    def drop(self) -> None:
        """Close the file and remove it unless it was kept. Blocks."""
        with self._busy:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
                self._path.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def open_folder_objects(root: Path) -> AsyncIterator[Objects]:
    """Open the place in a folder; its threads end with it. Raises `StorageError`."""
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")
    try:
        disk = Disk(root, threads)
        aside = FolderObjects(disk, "aside")
        packets, orders = (FolderObjects(disk, name, aside) for name in COLLECTIONS)
        await disk.run(_prepare, disk, (packets, orders, aside))
        yield Objects(
            packets, orders, aside, lambda limits, retry_s: FolderPartials(disk, packets.path_of, limits, retry_s)
        )
    finally:
        threads.shutdown(wait=True)


def _prepare(disk: Disk, collections: tuple[FolderObjects, ...]) -> None:
    """Make the folders and remove what crashes left. Blocks."""
    for folder in (disk.incoming, disk.partial):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    for one in collections:
        one.prepare()
    for folder in (disk.root, disk.root.parent):
        sync_folder(folder)
    for path in disk.incoming.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process removes it, or gives it its name
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


def _seen(path: Path) -> StoredObject | None:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return StoredObject(path.name, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))
