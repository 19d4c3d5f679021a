"""A disk that fails, stops or forgets, below the outbox's file seam and below SQLite.

`FaultyDisk` stands in the `os` of booth/disk.py and booth/outbox_database.py, and in SQLite's own virtual file system: through ctypes it takes
the place of the default VFS and patches each opened file's write, truncate and sync (the way of SQLite's own test_vfs). Every system call
that changes the disk below one folder is a numbered step, written down in `events`, and may be told to fail or to be the process's last.

`states_after` builds from the events what a power cut may leave on the disk: contents count from fsync on, names from the folder's fsync on;
what was not synced may be there, be missing, be torn, or be there in any choice. A failed fsync loses the writes that it was for: they are
never on the disk, whatever later fsyncs say.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import booth.disk
import booth.outbox_database
from booth.disk import DiskFiles

CRASHED = 9
OK, FULL, CANTOPEN = 0, 13, 14
CODES = {
    "write": 778,
    "truncate": 1546,
    "sync": 1034,
    "unlink": 2570,
    "create": CANTOPEN,
}  # SQLITE_IOERR_WRITE and so on
SYNC_NAME = frozenset({"-wal", "-journal"})  # SQLite fsyncs the folder with the first sync of a log that it made


@dataclass(frozen=True)
class Fault:
    """What becomes of one step: an error, or the process's end before, within or after it."""

    kind: str  # error, crash before, crash torn, crash after
    number: int = errno.EIO


@dataclass
class FaultyDisk:
    """Counts and writes down the steps below `root`; `plan` says which of them go wrong."""

    root: Path
    plan: Callable[[int, str], Fault | None] = lambda _number, _kind: None
    steps: int = 0
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def concerns(self, path: str) -> bool:
        return path.startswith(f"{self.root}/") or path == str(self.root)

    def step(self, event: tuple[Any, ...], act: Callable[[], Any], torn: Callable[[], Any] = lambda: None) -> Any:
        """Does one step, or what the plan has for it instead; raises OSError."""
        self.steps += 1
        fault = self.plan(self.steps, event[0])
        if fault is None:
            done = act()
            self.events.append(event)
            return done
        if fault.kind == "crash torn":
            torn()
        elif fault.kind == "crash after":
            act()
        if fault.kind != "error":
            os._exit(CRASHED)
        if event[0] == "sync":
            self.events.append(("lost", event[1]))
        raise OSError(fault.number, os.strerror(fault.number))

    def mark(self, *fact: Any) -> None:
        self.events.append(("mark", *fact))


class SystemCalls:
    """`os` as booth/disk.py sees it."""

    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk
        self._paths: dict[int, str] = {}
        self._sizes: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        name = str(path)
        if flags & os.O_CREAT and not Path(name).exists() and self._disk.concerns(name):
            descriptor = self._disk.step(("create", name), lambda: os.open(name, flags, mode))
        else:
            descriptor = os.open(name, flags, mode)
        self._paths[descriptor], self._sizes[descriptor] = name, 0
        return int(descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        at = self._sizes[descriptor]
        half = bytes(data[: len(data) // 2])
        done = self._disk.step(
            ("write", self._paths[descriptor], at, bytes(data)),
            lambda: os.write(descriptor, data),
            lambda: os.write(descriptor, half),
        )
        self._sizes[descriptor] += done
        return int(done)

    def fsync(self, descriptor: int) -> None:
        self._disk.step(("sync", self._paths[descriptor]), lambda: os.fsync(descriptor))

    def rename(self, old: Any, new: Any) -> None:
        self._disk.step(("rename", str(old), str(new)), lambda: Path(old).rename(new))

    def unlink(self, path: Any) -> None:
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        self._disk.step(("unlink", str(path)), lambda: Path(path).unlink())


# --- below SQLite ------------------------------------------------------------------------------------------------------

_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_OPEN = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, ctypes.POINTER(_I))
_DELETE = ctypes.CFUNCTYPE(_I, _P, ctypes.c_char_p, _I)
_WRITE = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_TRUNCATE = ctypes.CFUNCTYPE(_I, _P, _L)
_SYNC = ctypes.CFUNCTYPE(_I, _P, _I)


class Vfs(ctypes.Structure):
    """sqlite3_vfs: https://sqlite.org/c3ref/vfs.html"""

    _fields_ = (
        ("version", _I),
        ("file_bytes", _I),
        ("max_path", _I),
        ("next", _P),
        ("name", ctypes.c_char_p),
        ("data", _P),
        ("open", _P),
        ("delete", _P),
        ("others", _P * 16),
    )


class Methods(ctypes.Structure):
    """sqlite3_io_methods: https://sqlite.org/c3ref/io_methods.html"""

    _fields_ = (
        ("version", _I),
        ("close", _P),
        ("read", _P),
        ("write", _P),
        ("truncate", _P),
        ("sync", _P),
        ("others", _P * 13),
    )


def sqlite_library() -> ctypes.CDLL:
    """The very library that Python's sqlite3 works with; skips where it cannot be reached."""
    try:
        library = ctypes.CDLL("libsqlite3.so.0")
        library.sqlite3_libversion.restype = ctypes.c_char_p
    except OSError:
        pytest.skip("SQLite is no shared library here: nothing can stand below it")
    used = Path("/proc/self/maps").read_text("utf-8")
    if used.count("libsqlite3") == 0 or library.sqlite3_libversion().decode() != sqlite3.sqlite_version:
        pytest.skip("Python's SQLite is another one than libsqlite3.so.0")
    return library


@contextmanager
def below_sqlite(disk: FaultyDisk) -> Iterator[None]:
    """SQLite's files below `disk.root` go through `disk` while this lasts."""
    library = sqlite_library()
    library.sqlite3_vfs_find.restype = ctypes.POINTER(Vfs)
    library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
    plain = library.sqlite3_vfs_find(None)
    at = ctypes.addressof(plain.contents)
    ours = Vfs.from_buffer_copy(plain.contents)
    paths: dict[int, str] = {}
    patched: dict[int, Methods] = {}
    kept: list[Any] = []
    plain_open, plain_delete = _OPEN(plain.contents.open), _DELETE(plain.contents.delete)

    def attempt(event: tuple[Any, ...], act: Callable[[], int], torn: Callable[[], Any] = lambda: None) -> int:
        if not disk.concerns(event[1]):
            return act()
        try:
            return int(disk.step(event, act, torn))
        except OSError as error:
            return FULL if error.errno == errno.ENOSPC else CODES[event[0]]

    def methods_of(address: int) -> Methods:
        if address in patched:
            return patched[address]
        origin = Methods.from_address(address)
        mine = Methods.from_buffer_copy(origin)
        write, truncate, sync = _WRITE(origin.write), _TRUNCATE(origin.truncate), _SYNC(origin.sync)

        def on_write(file: int, data: int, size: int, offset: int) -> int:
            content = ctypes.string_at(data, size)
            event = ("write", paths[file], offset, content)
            return attempt(event, lambda: write(file, data, size, offset), lambda: write(file, data, size // 2, offset))

        def on_truncate(file: int, size: int) -> int:
            return attempt(("truncate", paths[file], size), lambda: truncate(file, size))

        def on_sync(file: int, flags: int) -> int:
            return attempt(("sync", paths[file]), lambda: sync(file, flags))

        hooks = (_WRITE(on_write), _TRUNCATE(on_truncate), _SYNC(on_sync))
        kept.extend(hooks)
        mine.write, mine.truncate, mine.sync = (ctypes.cast(hook, _P).value for hook in hooks)
        patched[address] = mine
        return mine

    def on_open(_vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        # SQLite keeps the very address of the name, and reads on behind it.
        path = ctypes.string_at(name).decode() if name else ""
        new = bool(path) and not Path(path).exists()
        code = attempt(("create", path), lambda: plain_open(at, name, file, flags, out)) if new else plain_open(
            at, name, file, flags, out
        )  # fmt: skip
        if code == OK:
            paths[file] = path
            first = ctypes.cast(file, ctypes.POINTER(_P))
            if first[0]:
                first[0] = ctypes.addressof(methods_of(first[0]))
        else:
            ctypes.cast(file, ctypes.POINTER(_P))[0] = None
        return code

    def on_delete(_vfs: int, name: bytes, sync_folder: int) -> int:
        path = name.decode()
        code = attempt(("unlink", path), lambda: plain_delete(at, name, sync_folder))
        if code == OK and sync_folder and disk.concerns(path):
            disk.events.append(("sync", path.rpartition("/")[0]))
        return code

    hooks = (_OPEN(on_open), _DELETE(on_delete))
    ours.name = b"faulty"
    ours.open, ours.delete = (ctypes.cast(hook, _P).value for hook in hooks)
    assert library.sqlite3_vfs_register(ctypes.byref(ours), 1) == OK
    try:
        yield
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(ours))
        assert library.sqlite3_vfs_register(plain, 1) == OK
        assert kept is not None  # the hooks lived until here


@contextmanager
def faulty(disk: FaultyDisk) -> Iterator[FaultyDisk]:
    """Everything that the outbox does to the disk goes through `disk`."""
    calls = SystemCalls(disk)
    rooms: tuple[ModuleType, ...] = (booth.disk, booth.outbox_database)
    with below_sqlite(disk), pytest.MonkeyPatch.context() as patch:
        for room in rooms:
            patch.setattr(room, "os", calls)
        yield disk


# --- what a power cut leaves -------------------------------------------------------------------------------------------


class Platter:
    """Files and names as the process sees them and as they are on stable storage."""

    def __init__(self) -> None:
        self.live: dict[str, int] = {}
        self.durable: dict[str, int] = {}
        self.contents: dict[int, bytearray] = {}
        self.stored: dict[int, bytearray] = {}
        self.pending: dict[int, list[tuple[Any, ...]]] = {}

    def apply(self, event: tuple[Any, ...]) -> None:
        kind, path, *more = event
        if kind == "create":
            number = len(self.contents)
            self.live[path] = number
            self.contents[number], self.stored[number], self.pending[number] = bytearray(), bytearray(), []
        elif kind in {"write", "truncate"}:
            number = self.live[path]
            _change(self.contents[number], kind, *more)
            self.pending[number].append((kind, *more))
        elif kind == "rename":
            self.live[more[0]] = self.live.pop(path)
        elif kind == "unlink":
            del self.live[path]
        elif kind in {"sync", "lost"}:
            self._sync(path, lost=kind == "lost")

    def _sync(self, path: str, *, lost: bool) -> None:
        number = self.live.get(path)
        if number is None:  # a folder
            if not lost:
                inside = {name for name in self.live.keys() | self.durable.keys() if name.rpartition("/")[0] == path}
                for name in inside:
                    self._settle_name(name)
            return
        if not lost:
            for change in self.pending[number]:
                _change(self.stored[number], *change)
            if any(path.endswith(suffix) for suffix in SYNC_NAME):
                self._settle_name(path)
        self.pending[number] = []

    def _settle_name(self, name: str) -> None:
        if name in self.live:
            self.durable[name] = self.live[name]
        else:
            self.durable.pop(name, None)

    def states(self, chance: random.Random) -> Iterator[tuple[str, dict[str, bytes]]]:
        """What may be there after a power cut now."""
        yield "everything", {name: bytes(self.contents[number]) for name, number in self.live.items()}
        yield "synced only", {name: bytes(self.stored[number]) for name, number in self.durable.items()}
        yield "names without contents", {name: bytes(self.stored[number]) for name, number in self.live.items()}
        yield "the last write torn", {name: self._some(number, torn=True) for name, number in self.live.items()}
        names = self.live if chance.random() < 0.5 else self.durable
        yield "some writes", {name: self._some(number, chance) for name, number in names.items()}

    def _some(self, number: int, chance: random.Random | None = None, *, torn: bool = False) -> bytes:
        data, pending = bytearray(self.stored[number]), list(self.pending[number])
        if torn and pending and pending[-1][0] == "write":
            kind, offset, content = pending.pop()
            pending.append((kind, offset, content[: len(content) // 2]))
        for change in pending:
            if chance is None or chance.random() < 0.5:
                _change(data, *change)
        return bytes(data)


def _change(data: bytearray, kind: str, at: int, content: bytes = b"") -> None:
    if kind == "truncate":
        del data[at:]
        data.extend(bytes(at - len(data)))
        return
    data.extend(bytes(max(0, at - len(data))))
    data[at : at + len(content)] = content


def lay_out(files: Mapping[str, bytes], old: Path, new: Path) -> None:
    """Writes a state below `new` that was seen below `old`."""
    for name, data in files.items():
        path = new / Path(name).relative_to(old)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class PowerCutError(BaseException):
    """The machine stops here."""


class StoppingFiles(DiskFiles):
    """The real disk until step `stop_at`; there it stops (or fails with an OSError), before or after the step."""

    def __init__(self, stop_at=None, *, after=False, error=None):
        self.steps = 0
        self.stop_at, self.after, self.error = stop_at, after, error or PowerCutError()
        self.free = 10**12

    def _step(self, act, *arguments):
        self.steps += 1
        here = self.steps == self.stop_at
        if here and not self.after:
            raise self.error
        act(*arguments)
        if here:
            raise self.error

    def write_new(self, path, data):
        self._step(super().write_new, path, data)

    def rename(self, old, new):
        self._step(super().rename, old, new)

    def sync(self, folder):
        self._step(super().sync, folder)

    def remove(self, path):
        self._step(super().remove, path)

    def free_bytes(self, folder):
        return self.free
