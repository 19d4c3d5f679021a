"""The disk below the outbox, step by step: every call is one step that may be the last before a power cut.

The seam exists so that tests can stop, fail or lose any single step; `DiskFiles` is what runs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """The disk below the outbox: every call is one step that may be the last."""

    def write_new(self, path: Path, data: bytes) -> None:
        """Writes a file that did not exist, readable by its owner alone, and fsyncs it."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Gives a file its name."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Makes names in the folder durable."""
        ...

    def remove(self, path: Path) -> None:
        """Removes a file that may be gone already."""
        ...

    def free_bytes(self, folder: Path) -> int:
        """Space left."""
        ...


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
        old.rename(new)

    def sync_folder(self, folder: Path) -> None:
        """Fsyncs the folder."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Unlinks."""
        path.unlink(missing_ok=True)

    def free_bytes(self, folder: Path) -> int:
        """What an ordinary user may still write."""
        return shutil.disk_usage(folder).free
