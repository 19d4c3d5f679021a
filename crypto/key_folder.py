"""Folders of keys and certificates: closed to others, written by one process at a time, every file whole or not at all.

Rules: the folder is 0700, private files 0600, public files 0644, whatever the umask; a file appears under its name only when its bytes
and then its name are on stable storage; the lock goes with the process that holds it, and is not waited for
without end.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crypto.errors import KeyUnavailableError

PRIVATE, PUBLIC = 0o600, 0o644
LOCK_NAME = ".lock"
WAIT_S = 30.0  # a piece of work takes milliseconds, with a slow token seconds
_ASK_S = 0.01


def make_key_folder(folder: Path) -> None:
    """Makes the folder, or closes an empty one to others. Raises KeyUnavailableError when it holds files and is open, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not stat.S_IMODE(folder.stat().st_mode) & 0o077:
        return
    if any(folder.iterdir()):
        raise KeyUnavailableError(f"{folder} holds files and is open to others: make it 0700, or use another folder.")
    folder.chmod(0o700)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Waits until no other process, and no other thread, writes in this folder. Raises TimeoutError (an OSError) after `WAIT_S`."""
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)  # which also unlocks


def _lock(descriptor: int) -> None:
    """Asks again and again: a wait for the lock alone would never end when its holder was stopped."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, "another program works in it") from None
            time.sleep(_ASK_S)
        else:
            return


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, with its mode from the first moment, and on stable storage afterwards: its bytes, then its name."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.fchmod(descriptor, mode)  # whatever the umask
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(path)
    sync_folder(path.parent)


def read_file(path: Path, limit_bytes: int) -> bytes:
    """What is in a file, at most one byte more than the limit. Raises OSError, also for a FIFO or device: it could hold a server for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(
            os.fstat(descriptor).st_mode
        ):  # before a file object is made, which would leave a folder open
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit_bytes + 1)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Puts the names in a folder on stable storage."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
