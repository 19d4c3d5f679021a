"""The folder of backups: what lies where, who works in it, which backups there are, what their time is over for.

    TARGET/objects/packets/ab/ab12…        sealed packets by their digest, each once for all backups that need it
    TARGET/objects/orders/cd/cd34…         hand-over messages alike
    TARGET/00000042-20261123T183000Z/      a backup: manifest.cms, objects.gz (which objects it needs), one TABLE.gz for each table

Rules: a backup appears under its name when every byte of it, and every object that it needs, is on stable storage; its folder is never written to
again. What is being made or removed has another name (`.making-…`, `.removing-…`) and is cleared away by the next command that writes. Writers are
alone (flock on TARGET/.lock), readers keep them out. No link is followed to a folder: nothing outside of TARGET is written or removed. Folders are 0700, files 0600: rows hold application numbers.

Order of operation of `drop_expired`: the lists of objects of all backups that stay are proven readable → backups whose time is over are renamed, removed → objects that
no list names any more are removed, folder by folder, names in order. So a list that cannot be read removes nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import heapq
import os
import re
import secrets
import shutil
import stat
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from crypto.key_folder import sync_folder, write_whole
from crypto.trust import TrustStore
from server.backup_errors import BackupBusyError, BackupDamagedError, BackupRefusedError
from server.backup_manifest import BACKUP_NAME, MAX_MANIFEST_BYTES, Manifest, read_manifest
from server.line_files import FILE_MODE, READ_BYTES, check_file, open_regular, read_lines
from server.store import DIGEST

COLLECTIONS = ("orders", "packets")  # in the order of their names, as lists have them
MANIFEST, OBJECTS, LOCK = "manifest.cms", "objects.gz", ".lock"
MAKING, REMOVING, INCOMING = ".making-", ".removing-", ".incoming"
FOLDER_MODE = 0o700
_OBJECT_LINE = re.compile(rb"(orders|packets) ([0-9a-f]{64}) (0|[1-9][0-9]{0,11})")


class ListedObject(NamedTuple):
    """A line of a list of objects; sorts as lists are."""

    collection: str
    name: str
    size: int

    def line(self) -> bytes:
        """As it stands in the list."""
        return f"{self.collection} {self.name} {self.size}".encode()


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup whose manifest is believed."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Its name, which is that of its folder."""
        return self.manifest.name

    def table_file(self, table: str) -> Path:
        """Where the rows of a table are."""
        return self.folder / f"{table}.gz"

    def objects(self) -> Generator[ListedObject]:
        """Which objects it needs, in order. Raises `BackupDamagedError`. Blocks."""
        last: ListedObject | None = None
        for line in read_lines(self.folder / OBJECTS, self.manifest.objects.written):
            found = _OBJECT_LINE.fullmatch(line)
            if found is None:
                raise BackupDamagedError(f"{self.name}: a line of the list of objects has the wrong form.")
            listed = ListedObject(found[1].decode(), found[2].decode(), int(found[3]))
            if last is not None and listed[:2] <= last[:2]:
                raise BackupDamagedError(f"{self.name}: the list of objects is not in order.")
            last = listed
            yield listed


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was removed because its time is over."""

    backups: tuple[str, ...] = ()
    objects: int = 0
    bytes: int = 0


class BackupFolder:
    """A folder of backups. Use `open_backups`. Everything here blocks."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, collection: str, name: str) -> Path:
        """Where an object lies."""
        return self.root / "objects" / collection / name[:2] / name

    def names(self) -> list[str]:
        """The backups there are, oldest first."""
        return sorted(
            path.name for path in self.root.iterdir() if re.fullmatch(BACKUP_NAME, path.name) and path.is_dir()
        )

    def next_name(self, made_at: datetime) -> str:
        """What the next backup is called: behind all others, whatever the clock says."""
        last = self.names()[-1:]
        return f"{int(last[0].partition('-')[0]) + 1 if last else 1:08d}-{made_at:%Y%m%dT%H%M%SZ}"

    def load(self, name: str, trust: TrustStore) -> Backup:
        """A backup by its name. Raises `BackupDamagedError`, `BackupRefusedError` when there is none of this name."""
        if not re.fullmatch(BACKUP_NAME, name) or not _is_folder(self.root / name):
            raise BackupRefusedError(f"There is no backup of this name in {self.root}: look with `intake backup list`.")
        with open_regular(self.root / name / MANIFEST) as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        return Backup(self.root / name, read_manifest(data, trust, name))

    def holds(self, one: ListedObject) -> bool:
        """Whether the object lies here, by its name and size: what has its name was whole when it got it."""
        try:
            return self.path_of(one.collection, one.name).stat(follow_symlinks=False).st_size == one.size
        except FileNotFoundError:
            return False

    def keep(self, one: ListedObject, data: bytes) -> None:
        """Store an object whose digest was checked; returns when it is durable."""
        target = self.path_of(one.collection, one.name)
        if not self._is_inside(target.parent):
            target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            for folder in (target.parent.parent, self.root / "objects", self.root):
                sync_folder(folder)
        partial = self.root / INCOMING / secrets.token_hex(16)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(target)
        sync_folder(target.parent)

    def read(self, one: ListedObject) -> bytes:
        """The bytes of an object, digest checked. Raises `BackupDamagedError`."""
        with open_regular(self.path_of(one.collection, one.name)) as file:
            data = file.read(one.size + 1)
            while len(data) <= one.size and (more := file.read(READ_BYTES)):
                data += more
        if len(data) != one.size or hashlib.sha256(data).hexdigest() != one.name:
            raise BackupDamagedError(f"The object {one.collection}/{one.name} is damaged.")
        return data

    def prepare(self) -> None:
        """Clear away what an interrupted command left, and make the folder of what is coming in."""
        for path in self.root.iterdir():
            if path.name.startswith((MAKING, REMOVING)) or path.name == INCOMING:
                shutil.rmtree(path)
        (self.root / INCOMING).mkdir(mode=FOLDER_MODE)

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[Path]:
        """The folder of a new backup; removed unless `place` gave it its name."""
        partial = self.root / f"{MAKING}{name}"
        partial.mkdir(mode=FOLDER_MODE)
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def place(self, name: str, manifest: bytes) -> None:
        """Make what is in the folder of a new backup that backup; returns when it is durable."""
        partial = self.root / f"{MAKING}{name}"
        write_whole(partial / MANIFEST, manifest, FILE_MODE)  # which makes all names in the folder durable
        partial.rename(self.root / name)
        sync_folder(self.root)

    def drop_expired(self, trust: TrustStore, now: datetime) -> Dropped:
        """Remove backups whose time is over, and every object that no other one needs. Raises `BackupDamagedError`."""
        backups = [self.load(name, trust) for name in self.names()]
        over = [one for one in backups if one.manifest.is_over(now)]
        staying = [one for one in backups if not one.manifest.is_over(now)]
        for one in staying:
            check_file(one.folder / OBJECTS, one.manifest.objects.written)
        for one in over:
            gone = self.root / f"{REMOVING}{one.name}"
            one.folder.rename(gone)
            sync_folder(self.root)
            shutil.rmtree(gone)
        objects, size = self._drop_objects(staying)
        return Dropped(tuple(one.name for one in over), objects, size)

    def _is_inside(self, folder: Path) -> bool:
        """Whether there is this folder of objects. Raises `BackupDamagedError` when a link leads to it."""
        return all(_is_folder(one) for one in (self.root / "objects", folder.parent, folder))

    def _drop_objects(self, needing: Sequence[Backup]) -> tuple[int, int]:
        """Objects that no backup needs: one folder's names are in memory at a time."""
        count = size = 0
        needed = ((one.collection, one.name) for one in heapq.merge(*(one.objects() for one in needing)))
        by_folder = groupby(needed, key=lambda its: (its[0], its[1][:2]))
        at, names = next(by_folder, (None, iter(())))
        for collection in COLLECTIONS:
            for number in range(256):
                folder = self.root / "objects" / collection / f"{number:02x}"
                kept: set[str] = set()
                if at == (collection, folder.name):
                    kept = {name for _, name in names}
                    at, names = next(by_folder, (None, iter(())))
                if not self._is_inside(folder):
                    continue
                for path in folder.iterdir():
                    if path.name not in kept and DIGEST.fullmatch(path.name):
                        size += path.stat(follow_symlinks=False).st_size
                        path.unlink()
                        count += 1
                sync_folder(folder)
        return count, size


@contextlib.contextmanager
def open_backups(root: Path, *, writing: bool, make: bool = False) -> Iterator[BackupFolder]:
    """A folder of backups, for one who writes or for any number of those who read. Raises `BackupRefusedError`, `BackupBusyError`, OSError. Blocks."""
    if make:
        try:
            root.mkdir(mode=FOLDER_MODE, exist_ok=True)  # never its parents: a disk that is not mounted must be noticed
        except FileNotFoundError as error:
            raise BackupRefusedError(
                f"{root} cannot be made, there is no {root.parent}: is its disk mounted?"
            ) from error
        _check_folder(root)
    if not root.is_dir() or not (make or (root / LOCK).is_file()):
        raise BackupRefusedError(
            f"{root} is no folder of backups: is its disk mounted? `intake backup {root}` makes one."
        )
    flags = os.O_RDWR | os.O_CREAT if writing else os.O_RDONLY  # readers may read what they cannot write to
    descriptor = os.open(root / LOCK, flags | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if writing else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupBusyError(f"Another command works in {root}: try again when it has ended.") from error
        yield BackupFolder(root)
    finally:
        os.close(descriptor)


def _is_folder(path: Path) -> bool:
    """Whether there is a folder. Raises `BackupDamagedError` when it is something else, above all a link to one."""
    try:
        mode = path.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(mode):
        raise BackupDamagedError(f"{path.name} is no folder: nothing is followed out of the folder of backups.")
    return True


def _check_folder(root: Path) -> None:
    """That a folder is one of backups, or empty: backups are not strewn among other files."""
    known = {LOCK, INCOMING, "objects", "lost+found"}
    for path in root.iterdir():
        if path.name not in known and not re.fullmatch(rf"(\.(making|removing)-)?{BACKUP_NAME}", path.name):
            raise BackupRefusedError(f"{root} holds other files: name a folder for backups alone.")
