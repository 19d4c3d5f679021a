"""Compressed files of lines, as a backup consists of: written once, durable, known by their digest; read back only as what was written.

Order of operation, writing: a new file (0600) → lines through gzip → SHA-256 and size of what lies on the disk → fsync. Reading: no link is followed, only a
regular file of the expected size is opened → bytes are hashed as they are unpacked → the digest is compared at the end, when the caller has had every line:
what he does with them counts only after that. No line is longer than `MAX_LINE_BYTES`, so a page of lines is all that is in memory.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from server.backup_errors import BackupDamagedError

# A row holds at most a receipt (60 kB) or a signed record; base64 and JSON add less than a half.
MAX_LINE_BYTES = 4 * 1024 * 1024
# Level 1 takes a third of the time of level 6 (tests/bench/backup_rows.py tells the rate).
GZIP_LEVEL = 1
FILE_MODE = 0o600
READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A finished file."""

    lines: int
    size: int
    sha256: str


class LineWriter:
    """A file that is being written. Use `new_lines`. Blocks."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = _HashedFile(file)
        self._packed = gzip.GzipFile(filename="", fileobj=self._file, mode="wb", compresslevel=GZIP_LEVEL, mtime=0)
        self._lines = 0

    def add(self, lines: Iterable[bytes]) -> int:
        """Append lines, which hold no line break; returns how many there are now."""
        given = list(lines)
        if given:
            self._packed.write(b"\n".join(given) + b"\n")
        self._lines += len(given)
        return self._lines

    def finish(self) -> WrittenFile:
        """End the file and make it durable."""
        self._packed.close()
        self._file.sync()
        return WrittenFile(self._lines, self._file.size, self._file.sha256)

    def give_up(self) -> None:
        """Let go of a file that stays unfinished."""
        self._packed.close()


class _HashedFile(io.RawIOBase):
    """Counts and hashes what passes through to a file."""

    def __init__(self, file: io.FileIO) -> None:
        self._under, self._digest, self.size = file, hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(data).cast("B")
        self._digest.update(view)
        self.size += len(view)
        while view:
            view = view[self._under.write(view) :]
        return len(data)

    def sync(self) -> None:
        os.fsync(self._under.fileno())


@contextlib.contextmanager
def new_lines(path: Path) -> Iterator[LineWriter]:
    """A new file; unfinished unless `finish` was called. Raises OSError. Blocks."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    with io.FileIO(descriptor, "w") as file:
        writer = LineWriter(file)
        try:
            yield writer
        finally:
            writer.give_up()


def read_lines(path: Path, expected: WrittenFile) -> Generator[bytes]:
    """The lines of a file without their ends. Raises `BackupDamagedError` at the latest after the last one. Blocks."""
    digest, size, lines, unpacking, rest = hashlib.sha256(), 0, 0, zlib.decompressobj(wbits=31), b""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size != expected.size:
            raise BackupDamagedError(f"{path.name} is not as long as it was written.")
        while packed := file.read(READ_BYTES):
            digest.update(packed)
            size += len(packed)
            while packed:
                rest += _unpacked(unpacking, packed, path)
                packed = unpacking.unconsumed_tail
                whole = rest.split(b"\n")
                rest = whole.pop()
                if len(rest) > MAX_LINE_BYTES:
                    raise BackupDamagedError(f"{path.name} has a line longer than any row.")
                lines += len(whole)
                if lines > expected.lines:  # before a small file becomes work without an end
                    raise BackupDamagedError(
                        f"{path.name} holds more lines than the {expected.lines} that were written."
                    )
                yield from whole
    if digest.hexdigest() != expected.sha256 or not unpacking.eof or rest or unpacking.unused_data:
        raise BackupDamagedError(f"{path.name} is not what was written: its digest is another one.")
    if lines != expected.lines:
        raise BackupDamagedError(f"{path.name} holds {lines} lines instead of {expected.lines}.")


def _unpacked(unpacking: zlib._Decompress, packed: bytes, path: Path) -> bytes:
    try:
        return unpacking.decompress(packed, READ_BYTES)
    except zlib.error as error:
        raise BackupDamagedError(f"{path.name} cannot be unpacked: it is damaged.") from error


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[io.FileIO]:
    """A file that is a file: a link, a pipe or a device is refused, and what is not there is damage. Raises `BackupDamagedError`, OSError. Blocks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise BackupDamagedError(f"{path.name} is missing.") from error
    except OSError as error:
        raise BackupDamagedError(f"{path.name} cannot be opened as a file: {error.strerror}.") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BackupDamagedError(f"{path.name} is no regular file.")
        with io.FileIO(descriptor, "r", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def check_file(path: Path, expected: WrittenFile) -> None:
    """That a file lies there as it was written. Raises `BackupDamagedError`. Blocks."""
    for _ in read_lines(path, expected):
        pass
