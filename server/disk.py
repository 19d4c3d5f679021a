"""The folder that sealed bytes are kept in: its threads, its durability, its errors. What lies in it: server/folder_objects.py, server/folder_partials.py.

Disk waits run in a few threads of their own. A wait that must not be left half-way (it holds a descriptor) is run to its end even when the request
that began it is cancelled. `OSError` is translated here and nowhere else.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from server.errors import StorageError, StorageFullError, StorageUnavailableError

P = ParamSpec("P")
T = TypeVar("T")

# Disk waits, not work: four let fsyncs of different uploads overlap, which file systems merge into one journal commit.
THREADS = 4
FOLDER_MODE = 0o700
FILE_MODE = 0o600


class Disk:
    """A folder with threads that work in it."""

    def __init__(self, root: Path, threads: ThreadPoolExecutor) -> None:
        self.root = root
        self._threads = threads

    @property
    def incoming(self) -> Path:
        """Where files are made before they get their name."""
        return self.root / "incoming"

    @property
    def partial(self) -> Path:
        """The interrupted uploads."""
        return self.root / "partial"

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a disk operation in one of the threads; the only place where `OSError` is translated."""

        def work() -> T:
            return call(*args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            raise _translated(error) from error

    async def finish(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`run`, to its end even when the request is cancelled meanwhile."""
        return await asyncio.shield(self.run(call, *args, **kwargs))


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
