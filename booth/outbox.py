"""Sealed packets that wait for their receipt: one database, one file per packet.

Order of operations
  put: 1 refuse when full   2 write `<sha256>.partial` (new, 0600) and fsync it   3 rename it to `<sha256>.packet`   4 fsync the folder
       5 ask the permit     6 insert the row and COMMIT (WAL, synchronous=FULL).  Only then may a confirmation be shown.
  receipt: 1 the verified receipt into the row, COMMIT   2 remove the file   3 fsync the folder.  The row stays as evidence.
  open: remove `*.partial`; a packet file without a row was never confirmed (the crash came before step 6) and is removed; a row that
        waits without its file, or with a file of another size, is flagged damaged; a receipted row's left-over file is removed.
        A database that does not read back is set aside under a new name, and then every whole packet file is taken in again: a second delivery
        is harmless (the intake knows packets by digest), a lost one is not. A missing database beside packet files is the same case.

So a crash between any two steps leaves either nothing that was confirmed, or everything. Files hold sealed bytes only and are named by
their digest; the database holds no personal data. A failed fsync or COMMIT means the packet is not stored: what was written is removed, and
OutboxWriteError says so. All calls block on the disk: call them on one worker thread. `status` is a snapshot and may be read anywhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from booth.disk import DiskFiles, Files
from booth.errors import CommitRevokedError, OutboxDamagedError, OutboxFullError, OutboxWriteError

SUFFIX, PARTIAL = ".packet", ".partial"
DATABASE, LOCK = "outbox.sqlite3", "outbox.lock"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS packets (
    sha256 TEXT PRIMARY KEY,
    packet_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'refused', 'damaged', 'receipted')),
    created_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL NOT NULL DEFAULT 0,
    error_code TEXT,
    error TEXT,
    receipt BLOB,
    receipted_at REAL
) STRICT;
CREATE INDEX IF NOT EXISTS packets_due ON packets (state, next_try_at);
"""


_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class PacketState(StrEnum):
    """Where a packet is."""

    WAITING = "waiting"  # will be sent
    REFUSED = "refused"  # the intake will never take it: a technician must look
    DAMAGED = "damaged"  # the disk did not keep it: a technician must look
    RECEIPTED = "receipted"  # delivered; only the receipt is left


@dataclass(frozen=True, slots=True)
class Entry:
    """One packet as the outbox knows it. Times are seconds since 1970."""

    sha256: str
    packet_id: str
    size: int
    state: PacketState
    created_at: float
    attempts: int
    next_try_at: float
    error_code: str | None
    error: str | None
    receipted_at: float | None


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait, and how much of the disk must stay free."""

    max_packets: int = 2_000
    max_bytes: int = 8_000 * 2**20
    min_free_bytes: int = 500 * 2**20


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What is stored, and whether one more packet would be taken."""

    waiting: int = 0
    refused: int = 0
    damaged: int = 0
    stored_bytes: int = 0
    free_bytes: int = 0
    oldest_at: float | None = None
    last_receipt_at: float | None = None
    refusal: str | None = None  # why no more packets are taken

    @property
    def accepting(self) -> bool:
        """Whether a visit may start."""
        return self.refusal is None


class Outbox:
    """The open outbox; made by `open_outbox`."""

    def __init__(self, folder: Path, limits: OutboxLimits, clock: Callable[[], float], files: Files) -> None:
        self._folder = folder
        self._packets = folder / "packets"
        self._limits = limits
        self._clock = clock
        self._files = files
        self._lock = threading.Lock()
        self.problems: list[str] = []  # what was found wrong while opening; plain sentences
        for part in (folder, self._packets):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = self._open_database()
        try:
            self._recover()
            self.status = self._measure()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    # --- storing ---------------------------------------------------------------------------------------------------

    def require_room(self) -> None:
        """Raises OutboxFullError when no visit may start."""
        with self._lock, self._translated():
            self.status = self._measure()
        if self.status.refusal is not None:
            raise OutboxFullError(self.status.refusal)

    def put(self, packet: bytes, packet_id: str, permit: Callable[[], bool] = lambda: True) -> str:
        """Stores a sealed packet durably and returns its digest. `permit` is asked once, right before the commit."""
        sha256 = hashlib.sha256(packet).hexdigest()
        partial, final = self._packets / (sha256 + PARTIAL), self._path(sha256)
        with self._lock, self._translated():
            self.status = self._measure()
            if self._database.execute("SELECT 1 FROM packets WHERE sha256 = ?", (sha256,)).fetchone():
                return sha256
            if self.status.refusal is not None:
                raise OutboxFullError(self.status.refusal)
            try:
                self._files.remove(partial)
                self._files.write_new(partial, packet)
                self._files.rename(partial, final)
                self._files.sync_folder(self._packets)
                if not permit():
                    raise CommitRevokedError("The visit ended before its packet was stored; nothing was kept.")
                with self._transaction() as database:
                    database.execute(
                        "INSERT INTO packets (sha256, packet_id, size, state, created_at) VALUES (?, ?, ?, 'waiting', ?)",
                        (sha256, packet_id, len(packet), self._clock()),
                    )
            except (OSError, sqlite3.Error, CommitRevokedError):
                self._discard(partial, final)
                raise
            self.status = self._measure()
        return sha256

    def _discard(self, *paths: Path) -> None:
        """Removes what a failed `put` left; what cannot be removed now is removed at the next start."""
        for path in paths:
            with contextlib.suppress(OSError):
                self._files.remove(path)

    # --- sending ---------------------------------------------------------------------------------------------------

    def next_due(self) -> Entry | None:
        """The waiting packet whose turn is first, due or not."""
        return self._first("SELECT * FROM packets WHERE state = 'waiting' ORDER BY next_try_at, created_at LIMIT 1")

    def read(self, sha256: str) -> bytes:
        """The packet's bytes, compared with its digest; flags it and raises OutboxDamagedError when they are not what was stored."""
        try:
            packet = self._path(sha256).read_bytes()
        except OSError as error:
            reason = f"its file cannot be read ({error.strerror})"
        else:
            if hashlib.sha256(packet).hexdigest() == sha256:
                return packet
            reason = "its file does not have its digest any more"
        text = f"Packet {sha256[:12]}: {reason}."
        self._change("UPDATE packets SET state = 'damaged', error_code = ?, error = ? WHERE sha256 = ?",
                     OutboxDamagedError.code, text, sha256)  # fmt: skip
        raise OutboxDamagedError(text)

    def postpone(self, sha256: str, next_try_at: float, code: str, text: str) -> None:
        """Notes a failed attempt and when to try again."""
        self._change(
            "UPDATE packets SET attempts = attempts + 1, next_try_at = ?, error_code = ?, error = ? WHERE sha256 = ? "
            "AND state = 'waiting'",
            next_try_at, code, text, sha256,
        )  # fmt: skip

    def refuse(self, sha256: str, code: str, text: str) -> None:
        """Notes that the intake will never take the packet; it is kept for the technician."""
        self._change(
            "UPDATE packets SET state = 'refused', attempts = attempts + 1, error_code = ?, error = ? WHERE sha256 = ? "
            "AND state = 'waiting'",
            code, text, sha256,
        )  # fmt: skip

    def settle(self, sha256: str, receipt: bytes) -> None:
        """Stores a verified receipt, then removes the local copy."""
        self._change(
            "UPDATE packets SET state = 'receipted', attempts = attempts + 1, receipt = ?, receipted_at = ?, "
            "error_code = NULL, error = NULL WHERE sha256 = ?",
            receipt, self._clock(), sha256,
        )  # fmt: skip
        with self._lock, self._translated():
            self._files.remove(self._path(sha256))
            self._files.sync_folder(self._packets)
            self.status = self._measure()

    def hasten(self) -> None:
        """Makes every waiting packet due: the intake answers again."""
        self._change("UPDATE packets SET next_try_at = 0 WHERE state = 'waiting'")

    def retry(self, sha256: str) -> bool:
        """Lets a refused packet wait again; False when it is not refused."""
        return self._change(
            "UPDATE packets SET state = 'waiting', next_try_at = 0 WHERE sha256 = ? AND state = 'refused'", sha256
        )

    def entries(self) -> tuple[Entry, ...]:
        """Every packet, oldest first."""
        with self._lock, self._translated():
            return tuple(_entry(row) for row in self._database.execute("SELECT * FROM packets ORDER BY created_at"))

    def receipt(self, sha256: str) -> bytes | None:
        """The stored receipt of a delivered packet."""
        with self._lock, self._translated():
            row = self._database.execute("SELECT receipt FROM packets WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else row["receipt"]

    # --- inside ----------------------------------------------------------------------------------------------------

    def _path(self, sha256: str) -> Path:
        return self._packets / (sha256 + SUFFIX)

    def _first(self, query: str) -> Entry | None:
        with self._lock, self._translated():
            row = self._database.execute(query).fetchone()
        return None if row is None else _entry(row)

    def _change(self, statement: str, *values: object) -> bool:
        with self._lock, self._translated():
            with self._transaction() as database:
                changed = database.execute(statement, values).rowcount
            self.status = self._measure()
        return changed > 0

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The one place where errors of disk and database become the outbox's own."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise OutboxWriteError(
                f"The outbox {self._folder} could not be written ({error}); check the disk."
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _measure(self) -> OutboxStatus:
        row = self._database.execute(
            "SELECT sum(state = 'waiting') AS waiting, sum(state = 'refused') AS refused, sum(state = 'damaged') AS damaged, "
            "sum(CASE WHEN state = 'receipted' THEN 0 ELSE size END) AS bytes, "
            "min(CASE WHEN state = 'waiting' THEN created_at END) AS oldest, max(receipted_at) AS receipted FROM packets"
        ).fetchone()
        counts = [int(row[name] or 0) for name in ("waiting", "refused", "damaged")]
        stored, free = int(row["bytes"] or 0), self._files.free_bytes(self._packets)
        limits, refusal = self._limits, None
        if sum(counts) >= limits.max_packets:
            refusal = f"The outbox holds {sum(counts)} packets, its limit: let the intake receive them."
        elif stored >= limits.max_bytes:
            refusal = f"The outbox holds {stored / 1e6:.0f} MB, its limit: let the intake receive them."
        elif free < limits.min_free_bytes:
            refusal = f"Only {free / 1e6:.0f} MB are free on the disk of {self._folder}; make room."
        waiting, refused, damaged = counts
        return OutboxStatus(waiting, refused, damaged, stored, free, row["oldest"], row["receipted"], refusal)

    def _open_database(self) -> sqlite3.Connection:
        path = self._folder / DATABASE
        known = path.exists()
        try:
            database = _connect(path)
        except (_NotReadBackError, sqlite3.DatabaseError) as error:
            # A full or failing disk is no reason to give up a good database.
            if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode not in _CORRUPT:
                raise
            self._set_aside(path, error)
            database, known = _connect(path), False
        if not known:
            self._take_in(database)
            self._files.sync_folder(self._folder)
        return database

    def _set_aside(self, path: Path, error: Exception) -> None:
        aside = path.with_name(f"{path.name}.damaged-{int(self._clock())}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        self.problems.append(f"The outbox database did not read back ({error}) and was set aside as {aside.name}.")

    def _take_in(self, database: sqlite3.Connection) -> None:
        """Rows for every whole packet file: the database that knew them is lost."""
        for file in sorted(self._packets.glob("*" + SUFFIX)):
            packet = file.read_bytes()
            whole = hashlib.sha256(packet).hexdigest() == file.stem
            state = PacketState.WAITING if whole else PacketState.DAMAGED
            database.execute(
                "INSERT OR IGNORE INTO packets (sha256, packet_id, size, state, created_at) VALUES (?, '', ?, ?, ?)",
                (file.stem, len(packet), state, file.stat().st_mtime),
            )
            self.problems.append(f"Packet {file.stem[:12]} was taken in again from its file as {state}.")

    def _recover(self) -> None:
        rows = {row["sha256"]: row for row in self._database.execute("SELECT sha256, size, state FROM packets")}
        for file in sorted(self._packets.iterdir()):
            row = rows.get(file.stem) if file.suffix == SUFFIX else None
            if row is None or row["state"] == PacketState.RECEIPTED:
                self._files.remove(file)
                self.problems.append(f"{file.name[:12]}… was left by an interrupted step and was removed.")
        self._files.sync_folder(self._packets)
        for sha256, row in rows.items():
            if row["state"] not in {PacketState.WAITING, PacketState.REFUSED}:
                continue
            path = self._path(sha256)
            if not path.exists() or path.stat().st_size != row["size"]:
                text = f"Packet {sha256[:12]}: its file is missing or has another size."
                self._change("UPDATE packets SET state = 'damaged', error_code = ?, error = ? WHERE sha256 = ?",
                             OutboxDamagedError.code, text, sha256)  # fmt: skip
                self.problems.append(text)


class _NotReadBackError(Exception):
    """SQLite's own check found damage."""


def _connect(path: Path) -> sqlite3.Connection:
    """The database, proved to read back; raises sqlite3.DatabaseError or _NotReadBackError."""
    # Made 0600 before SQLite writes; -wal and -shm take over the mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        if (answer := database.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
            raise _NotReadBackError(str(answer))
        database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(
        sha256=row["sha256"],
        packet_id=row["packet_id"],
        size=row["size"],
        state=PacketState(row["state"]),
        created_at=row["created_at"],
        attempts=row["attempts"],
        next_try_at=row["next_try_at"],
        error_code=row["error_code"],
        error=row["error"],
        receipted_at=row["receipted_at"],
    )


@contextmanager
def open_outbox(
    folder: Path, limits: OutboxLimits, clock: Callable[[], float], files: Files | None = None
) -> Iterator[Outbox]:
    """The outbox in `folder`, put in order; raises OutboxWriteError when the disk does not allow that or another booth has it open."""
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(_only_user(folder / LOCK))
            outbox = Outbox(folder, limits, clock, files or DiskFiles())
        except BlockingIOError as error:
            raise OutboxWriteError(f"The outbox {folder} is in use by another booth; end that one first.") from error
        except (OSError, sqlite3.Error) as error:
            raise OutboxWriteError(f"The outbox {folder} cannot be opened ({error}); check disk and owner.") from error
        stack.callback(outbox.close)
        yield outbox


@contextmanager
def _only_user(path: Path) -> Iterator[None]:
    """Putting an outbox in order would take a packet away from a booth that is just storing it: one process at a time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)  # which also unlocks


def read_entries(folder: Path) -> tuple[Entry, ...]:
    """Every packet of an outbox, oldest first, also while a booth has it open; changes nothing. Raises OutboxDamagedError."""
    path = folder / DATABASE
    if not path.exists():
        return ()
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return tuple(_entry(row) for row in database.execute("SELECT * FROM packets ORDER BY created_at"))
    except sqlite3.Error as error:
        raise OutboxDamagedError(
            f"The outbox {folder} cannot be read ({error}); start the booth to put it in order."
        ) from error
