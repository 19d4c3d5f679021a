"""The outbox's rows: the database opened and proved, then rows and packet files brought in line.

Order of operations
  open: connect, SQLite's own check, schema. A database that does not read back is set aside under a new name and a new one is made; a disk
        that is full, busy or failing is no reason to give up a good one.
  put in order, in ONE transaction that ends by setting `user_version` to 1 (0: the database is new and does not know the files yet):
        1 a packet file without a row is taken in: waiting when whole, damaged when it has another digest or cannot be read now
        2 a damaged packet whose file is whole (again) waits again
        3 a packet whose file is missing or has another size is flagged damaged
    then, after the COMMIT: `*.partial` files and left-over files of receipted rows are removed, and the folder is fsynced.

A packet file is only ever removed against the receipt in its row. So a step that is interrupted, or a file that the disk does not give back
today, costs nothing at the next start. A second delivery is harmless (the intake knows packets by digest), a lost packet is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from booth.disk import Files
from booth.errors import OutboxDamagedError, OutboxUnreadableError

SUFFIX, PARTIAL = ".packet", ".partial"
DATABASE = "outbox.sqlite3"
FILES_KNOWN = 1  # `user_version` of a database that has rows for all files
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
_PRIMARY_CODE = 0xFF  # the low byte of SQLite's extended result codes: https://sqlite.org/rescode.html


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


def entry_of(row: sqlite3.Row) -> Entry:
    """A row as an entry."""
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
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing; nothing that can raise follows the COMMIT."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def open_database(folder: Path, clock: Callable[[], float], problems: list[str]) -> sqlite3.Connection:
    """The outbox's database, or a new one when it does not read back. Raises OSError or sqlite3.Error."""
    path = folder / DATABASE
    try:
        return _connect(path)
    except (_NotReadBackError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.DatabaseError) and not _is_corrupt(error):
            raise
        aside = path.with_name(f"{path.name}.damaged-{int(clock())}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        problems.append(f"The outbox database did not read back ({error}) and was set aside as {aside.name}.")
        return _connect(path)


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY_CODE in _CORRUPT


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


def put_in_order(database: sqlite3.Connection, packets: Path, files: Files, problems: list[str]) -> None:
    """Rows and files in line, see above. What was found wrong is added to `problems`. Raises OSError or sqlite3.Error."""
    found = sorted(packets.iterdir())
    with transaction(database):
        known = {
            row["sha256"]: PacketState(row["state"]) for row in database.execute("SELECT sha256, state FROM packets")
        }
        packet_files = {file.stem: file for file in found if file.suffix == SUFFIX}
        if packet_files and not known and database.execute("PRAGMA user_version").fetchone()[0] < FILES_KNOWN:
            problems.append(
                f"The outbox database is new, and {len(packet_files)} packet files are older: they are taken in."
            )
        for sha256, file in packet_files.items():
            if sha256 not in known:
                _take_in(database, file, problems)
        for sha256, state in known.items():
            if state is PacketState.DAMAGED:
                _revive(database, sha256, packets / (sha256 + SUFFIX), problems)
            elif state in {PacketState.WAITING, PacketState.REFUSED}:
                _prove(database, sha256, packets / (sha256 + SUFFIX), problems)
        database.execute(f"PRAGMA user_version = {FILES_KNOWN}")
    for file in found:
        left_over = file.suffix == SUFFIX and known.get(file.stem) is PacketState.RECEIPTED
        if file.suffix == PARTIAL or left_over:
            try:
                files.remove(file)
                problems.append(f"{file.name[:12]}… was left by an interrupted step and was removed.")
            except OSError as error:
                problems.append(
                    f"{file.name[:12]}… was left by an interrupted step and cannot be removed ({error.strerror})."
                )
    files.sync_folder(packets)


def _take_in(database: sqlite3.Connection, file: Path, problems: list[str]) -> None:
    """A row for a packet file that has none."""
    size, at, code, text = 0, 0.0, None, None
    try:
        facts = file.stat()
        size, at = facts.st_size, facts.st_mtime
        if not _is_whole(file, file.stem):
            code, text = OutboxDamagedError.code, f"Packet {file.stem[:12]}: its file does not have its digest."
    except OSError as error:
        code = OutboxUnreadableError.code
        text = f"Packet {file.stem[:12]}: its file cannot be read ({error.strerror}); it is looked at again at the next start."
    state = PacketState.WAITING if code is None else PacketState.DAMAGED
    database.execute(
        "INSERT INTO packets (sha256, packet_id, size, state, created_at, error_code, error) VALUES (?, '', ?, ?, ?, ?, ?)",
        (file.stem, size, state, at, code, text),
    )
    problems.append(f"Packet {file.stem[:12]} had no row and was taken in from its file as {state}.")


def _revive(database: sqlite3.Connection, sha256: str, file: Path, problems: list[str]) -> None:
    """A damaged packet that reads back now waits again."""
    try:
        if not _is_whole(file, sha256):
            return
        size = file.stat().st_size
    except OSError:  # still flagged, still kept
        return
    database.execute(
        "UPDATE packets SET state = 'waiting', size = ?, next_try_at = 0, error_code = NULL, error = NULL WHERE sha256 = ?",
        (size, sha256),
    )
    problems.append(f"Packet {sha256[:12]} was flagged damaged, but its file is whole: it waits again.")


def _prove(database: sqlite3.Connection, sha256: str, file: Path, problems: list[str]) -> None:
    """Flags a packet whose file is missing or has another size; its digest is compared when it is sent."""
    row = database.execute("SELECT size FROM packets WHERE sha256 = ?", (sha256,)).fetchone()
    try:
        if file.stat().st_size == row["size"]:
            return
        text = f"Packet {sha256[:12]}: its file has another size."
    except FileNotFoundError:
        text = f"Packet {sha256[:12]}: its file is missing."
    except OSError as error:
        problems.append(f"Packet {sha256[:12]}: its file cannot be looked at now ({error.strerror}).")
        return
    database.execute(
        "UPDATE packets SET state = 'damaged', error_code = ?, error = ? WHERE sha256 = ?",
        (OutboxDamagedError.code, text, sha256),
    )
    problems.append(text)


def _is_whole(file: Path, sha256: str) -> bool:
    return hashlib.sha256(file.read_bytes()).hexdigest() == sha256
