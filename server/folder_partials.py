"""Interrupted uploads in a folder.

One file per upload, `partial/<digest of the booth's name>/<packet digest>-<length>`: its size is the offset, its name the rest of the state. Nothing
else is remembered, so a crash leaves nothing to repair; a booth's partials are in its own folder and cannot be named by another booth.

Order of operation
  append: lock the file (one writer; a second one, also in another process, is told to come back) → its size is the offset the sender names →
      bytes, in pieces of GATHERED_BYTES → whatever ends the request: the rest, fsync, unlock.
  find: while a request writes, its end is waited for, a moment: an offset that is told is final.
  complete: fsync → digest of the whole file → `keep`: a second name among the packets, fsync of the folder → row and receipt are committed → the
      name here is removed. So a commit that fails is tried again with nothing to send.
  A file with two names is never written to: `begin` makes a new file, and nothing is appended beyond the length.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from server.disk import FILE_MODE, FOLDER_MODE, Disk, sync_folder
from server.errors import OverloadError, UnknownPacketError, UploadLengthError, UploadOffsetError
from server.partials import ENDING_S, LOOK_S, Append, Partial, PartialLimits

# A kill of the intake costs at most so many bytes of an upload.
GATHERED_BYTES = 64 * 1024
READ_BYTES = 1024 * 1024


class FolderPartials:
    """The interrupted uploads of a folder. What `packet_path` names is where a packet belongs."""

    def __init__(
        self, disk: Disk, packet_path: Callable[[str], Path], limits: PartialLimits, retry_after_s: int
    ) -> None:
        self._disk, self._root, self._packet_path = disk, disk.partial, packet_path
        self._limits, self._retry_after_s = limits, retry_after_s

    async def find(self, booth: str, sha256: str) -> Partial | None:
        """How far the booth's upload of this packet has come; it waits for a request that is just ending.

        Raises `OverloadError` when somebody goes on writing: an offset that moves would cost the sender its content.
        """

        def find() -> Partial | None:
            path = self._path(booth, sha256)
            if path is None:
                return None
            with self._locked(path), contextlib.suppress(FileNotFoundError):
                return Partial(path.stat().st_size, _length(path))
            return None

        for _ in range(int(ENDING_S / LOOK_S)):
            with contextlib.suppress(OverloadError):
                return await self._disk.run(find)
            await asyncio.sleep(LOOK_S)
        return await self._disk.run(find)

    @contextlib.asynccontextmanager
    async def append(
        self, booth: str, sha256: str, offset: int | None, length: int | None
    ) -> AsyncIterator[FolderAppend]:
        """Go on at `offset`; None begins anew. What was written stays, whatever ends the block.

        Raises `UploadOffsetError`, `UploadLengthError`, `UnknownPacketError` (nothing to go on with), `OverloadError` (somebody else writes).
        """
        opening = asyncio.ensure_future(self._disk.run(self._open, booth, sha256, offset, length))
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise
        try:
            yield opened
        finally:
            await self._disk.finish(opened.close)

    async def sweep(self) -> int:
        """Remove what is too old or too much; returns how many that were."""
        return await self._disk.run(self._sweep)

    def _folder(self, booth: str) -> Path:
        return self._root / hashlib.sha256(booth.encode()).hexdigest()

    def _path(self, booth: str, sha256: str) -> Path | None:
        return max(self._folder(booth).glob(f"{sha256}-*"), default=None)

    def _open(self, booth: str, sha256: str, offset: int | None, length: int | None) -> FolderAppend:
        folder = self._folder(booth)
        if offset is None:
            if length is None:
                raise UploadLengthError("Tell the length of the packet (Upload-Length).")
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            for old in folder.glob(f"{sha256}-*"):
                with self._locked(old):
                    old.unlink(missing_ok=True)
            self._make_room(folder, sha256, length)
            path, flags = folder / f"{sha256}-{length}", os.O_CREAT | os.O_EXCL
        else:
            found = self._path(booth, sha256)
            if found is None:
                raise UnknownPacketError("Nothing of this packet came from this booth: begin with PUT.")
            if length is not None and length != _length(found):
                raise UploadLengthError("The upload was begun with another length.")
            self._make_room(folder, sha256, _length(found))
            path, flags = found, 0
        descriptor = self._take(path, flags)
        if descriptor is None:
            raise UnknownPacketError("Nothing of this packet came from this booth: begin with PUT.")
        try:
            size = os.fstat(descriptor).st_size
            if offset is not None and offset != size:
                raise UploadOffsetError(f"The upload goes on at byte {size}.", offset=size)
        except BaseException:
            os.close(descriptor)
            raise
        return FolderAppend(self._disk, path, descriptor, Partial(size, _length(path)), self._packet_path)

    def _take(self, path: Path, flags: int = 0) -> int | None:
        """A locked descriptor; None when the file is gone. Raises `OverloadError` when somebody else has it."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, FILE_MODE)
        except FileNotFoundError:
            return None
        except FileExistsError as error:
            raise self._busy() from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise self._busy() from error
        except FileNotFoundError:
            pass
        # Completed or swept between opening and locking: what is open here is not the upload any more.
        os.close(descriptor)
        return None

    def _busy(self) -> OverloadError:
        return OverloadError("Another upload of this packet is under way.", retry_after_s=self._retry_after_s)

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        descriptor = self._take(path)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _make_room(self, folder: Path, sha256: str, length: int) -> None:
        """The booth's other partials, oldest first, give way to one of this length."""
        others = [one for one in _aged(folder) if not one.path.name.startswith(sha256)]
        bytes_left = self._limits.booth_bytes - length - sum(one.size for one in others)
        for at, one in enumerate(others):
            if bytes_left >= 0 and len(others) - at < self._limits.booth_count:
                break
            if self._drop(one.path):
                bytes_left += one.size

    def _sweep(self) -> int:
        files = sorted((one for folder in self._root.iterdir() for one in _aged(folder)), key=lambda one: one.at)
        total, dropped, now = sum(one.size for one in files), 0, time.time()
        for one in files:
            if now - one.at <= self._limits.kept_s and total <= self._limits.total_bytes:
                break
            if self._drop(one.path):
                total, dropped = total - one.size, dropped + 1
        return dropped

    def _drop(self, path: Path) -> bool:
        """Remove a partial that nobody is writing to."""
        try:
            with self._locked(path):
                path.unlink(missing_ok=True)
        except OverloadError:
            return False
        return True


class FolderAppend(Append):
    """One partial while a request adds to it; it is locked.

    `_busy` orders the disk work of a request that was cancelled half-way before the closing.
    """

    def __init__(
        self, disk: Disk, path: Path, descriptor: int, begun: Partial, packet_path: Callable[[str], Path]
    ) -> None:
        super().__init__(begun, GATHERED_BYTES)
        self._disk, self._path, self._descriptor, self._packet_path = disk, path, descriptor, packet_path
        self._busy = threading.Lock()

    async def _put_gathered(self) -> None:
        await self._disk.finish(self._flush)

    async def sync(self) -> None:
        """Make everything written durable."""
        await self._disk.finish(self._flush, sync=True)

    async def forget_content(self) -> None:
        """What this request brought is not what was signed: back to where it began."""
        await self._disk.finish(self._cut)

    async def read(self, head_bytes: int) -> tuple[str, bytes]:
        """All came: digest and first bytes of the whole, which is durable then."""
        return await self._disk.run(self._read, head_bytes)

    async def keep(self, sha256: str) -> None:
        """Give the whole its name among the packets, durably; the partial stays until `remove`."""
        await self._disk.finish(self._keep, self._packet_path(sha256))

    async def remove(self) -> None:
        """Drop the partial."""
        self._gathered.clear()
        await self._disk.finish(self._path.unlink, missing_ok=True)

    def close(self) -> None:
        """Keep what came, durably, and unlock. Blocks."""
        try:
            self._flush(sync=True)
        finally:
            with self._busy:
                os.close(self._descriptor)
                self._descriptor = -1

    def _flush(self, *, sync: bool = False) -> None:
        with self._busy:
            if self._descriptor < 0:
                return  # cancelled, and closed since
            view = memoryview(bytes(self._gathered))
            self._gathered.clear()
            while view:
                written = os.pwrite(self._descriptor, view, self._offset)
                view, self._offset = view[written:], self._offset + written
            if sync:
                os.fsync(self._descriptor)

    def _cut(self) -> None:
        with self._busy:
            self._gathered.clear()
            if self._offset > self.begun.offset:
                os.ftruncate(self._descriptor, self.begun.offset)
                self._offset = self.begun.offset

    def _read(self, head_bytes: int) -> tuple[str, bytes]:
        self._flush(sync=True)
        head, digest, at = os.pread(self._descriptor, head_bytes, 0), hashlib.sha256(), 0
        while chunk := os.pread(self._descriptor, READ_BYTES, at):
            digest.update(chunk)
            at += len(chunk)
        return digest.hexdigest(), head

    def _keep(self, target: Path) -> None:
        # By way of a name of its own: a damaged file that is there already is replaced, not kept.
        second = self._path.with_name(f".{secrets.token_hex(8)}")
        os.link(self._path, second)
        try:
            os.utime(second)  # the packet is as old as its completion, not as the last byte that came for it
            second.rename(target)
        finally:
            second.unlink(missing_ok=True)  # rename does nothing when both are the same file
        sync_folder(target.parent)


@dataclass(frozen=True, slots=True)
class _Aged:
    path: Path
    size: int
    at: float


def _close_unused(opening: asyncio.Future[FolderAppend]) -> None:
    """The request was cancelled while its partial was being opened."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _aged(folder: Path) -> list[_Aged]:
    """A booth's partials, oldest first; those that go meanwhile left out."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            facts = path.stat()
            found.append(_Aged(path, facts.st_size, facts.st_mtime))
    return sorted(found, key=lambda one: one.at)


def _length(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
