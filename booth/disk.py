"""The disk below the outbox, step by step: every call is one step that may be the last before a power cut.

Rules
  - `write_new` returns only after the bytes are on stable storage; a name is there only after `sync` of its folder.
  - A file or folder whose fsync failed is never fsynced again in the hope of a better answer: the kernel tells a lost write once and then
    calls the page clean (https://wiki.postgresql.org/wiki/Fsync_Errors). Who called gives the file up and writes a new one.
  - Every system call goes through this module's `os`, so that a test can stop, fail or lose any single one; `DiskFiles` is what runs.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from crypto.seal import MAX_PACKET_BYTES


class Files(Protocol):
    """The disk below the outbox: every call is one step that may be the last."""

    def write_new(self, path: Path, data: bytes) -> None:
        """Writes a file that did not exist, readable by its owner alone, and fsyncs it."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Gives a file its name."""
        ...

    def sync(self, path: Path) -> None:
        """Makes the names in a folder, or the bytes of a file, durable."""
        ...

    def remove(self, path: Path) -> None:
        """Removes a file that may be gone already."""
        ...

    def free_bytes(self, folder: Path) -> int:
        """Space left."""
        ...


def read_packet(path: Path) -> bytes:
    """What a packet's file holds; nothing when it is a link, a FIFO, a folder, a device, or larger than any packet: such a one must not hold or fill the booth. Raises OSError."""
    facts = path.lstat()
    return path.read_bytes() if stat.S_ISREG(facts.st_mode) and facts.st_size <= MAX_PACKET_BYTES else b""


class DiskFiles:
    """The real disk."""

    def write_new(self, path: Path, data: bytes) -> None:
        """Writes and fsyncs a new file with mode 0600."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with memoryview(data) as view:
                done = 0
                while done < len(view):
                    done += os.write(descriptor, view[done:])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Renames within the folder."""
        os.rename(old, new)  # noqa: PTH104 - through this module's `os`

    def sync(self, path: Path) -> None:
        """Fsyncs a folder or a file."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Unlinks."""
        try:
            os.unlink(path)  # noqa: PTH108 - through this module's `os`
        except FileNotFoundError:
            return

    def free_bytes(self, folder: Path) -> int:
        """What an ordinary user may still write."""
        disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize
