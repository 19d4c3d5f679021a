"""The outbox's database file: opened and proved, set aside when it is damaged, written anew when it cannot be trusted any more.

Order of operations
  open:  1 a renewal that was interrupted is completed   2 connect, SQLite's own full check, the schema word for word
         A database that does not read back is set aside under a new name, beside its log; a new one is made, and the receipts that the old
         one still gives are copied into it (packets come from their files: booth/outbox_order.py; what the intake is told beside a packet
         comes from the old rows). A disk that is full, busy or failing is no reason to give up a good database: that is raised.
         3 a database from before packets had links to their application gets the two columns, in one transaction; one from before receipts
         were dropped gets its table
  renew: after a failed fsync, or any other I/O error, what the page cache shows of a file and what the disk holds may differ, and a second
         fsync would say that all is well (booth/disk.py). So the rows, as the last COMMIT that was acknowledged left them, go into a file that
         never failed:
         1 VACUUM INTO `.next`   2 fsync it   3 rename it to `.renewed`, fsync the folder: from here on it is the database
         4 remove the old log files, fsync the folder (a log beside another database would be replayed into it)
         5 rename `.renewed` over the old database, fsync the folder.   A crash after 3 is completed by the next open.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from booth.disk import Files

SUFFIX, PARTIAL = ".packet", ".partial"
DATABASE = "outbox.sqlite3"
NEXT, RENEWED = ".next", ".renewed"
LOGS = ("-wal", "-shm", "-journal")
BUSY_S = 10.0
_TABLE = """CREATE TABLE IF NOT EXISTS packets (
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
, application TEXT, status TEXT) STRICT"""  # as ALTER TABLE writes it: old and new databases are the same word for word
_OLD_TABLE = _TABLE.replace(", application TEXT, status TEXT", "")
_INDEX = "CREATE INDEX IF NOT EXISTS packets_due ON packets (state, next_try_at)"
# Receipts that stand in an export too (booth/outbox_receipts.py).
_EXPORTED = """CREATE TABLE IF NOT EXISTS exported (
    sha256 TEXT PRIMARY KEY,
    receipt_sha256 TEXT NOT NULL,
    at REAL NOT NULL
) STRICT"""
_SCHEMA, _OLD_SCHEMA = (
    [
        (name, text.replace("IF NOT EXISTS ", ""))
        for name, text in (("exported", _EXPORTED), ("packets", table), ("packets_due", _INDEX))
    ]
    for table in (_TABLE, _OLD_TABLE)
)
_PRIMARY_CODE = 0xFF  # the low byte of SQLite's extended result codes: https://sqlite.org/rescode.html
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# What says nothing about the file: the machine, the disk or another process is in the way now.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_INTERRUPT,
    }
)


class PacketState(StrEnum):
    """Where a packet is."""

    WAITING = "waiting"  # will be sent
    REFUSED = "refused"  # the intake will never take it: a technician must look
    DAMAGED = "damaged"  # the disk did not keep it: a technician must look
    RECEIPTED = "receipted"  # delivered; only the receipt is left


@dataclass(frozen=True, slots=True)
class Links:
    """What the intake is told beside a packet, as SHA-256 in hex: its application's digest, and its status token's."""

    application: str | None = None
    status: str | None = None


NO_LINKS = Links()


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
    links: Links = NO_LINKS


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
        # An older booth's database that is only looked at has no such columns.
        links=Links(row["application"], row["status"]) if "status" in row.keys() else NO_LINKS,  # noqa: SIM118 - a sqlite3.Row
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


def open_database(folder: Path, files: Files, clock: Callable[[], float], problems: list[str]) -> sqlite3.Connection:
    """The outbox's database, or a new one when it does not read back. Raises OSError or sqlite3.Error."""
    path = folder / DATABASE
    complete_renewal(folder, files)
    try:
        return _connect(path)
    except (_NotReadBackError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.DatabaseError) and _code(error) in _PASSING:
            raise
        aside = _set_aside(path, files, clock)
        problems.append(f"The outbox database did not read back ({error}) and was set aside as {aside.name}.")
    database = _connect(path)
    try:
        kept = _salvage(aside, database, folder)
    except BaseException:
        database.close()
        raise
    problems.append(f"{kept} receipts were found in {aside.name} and kept.")
    return database


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether the database file itself is broken."""
    return _code(error) in _CORRUPT


def casts_doubt(error: sqlite3.Error) -> bool:
    """Whether the file cannot be trusted after this error: an fsync or another I/O call failed, or it is broken."""
    return is_corrupt(error) or _code(error) == sqlite3.SQLITE_IOERR


def _code(error: sqlite3.Error) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY_CODE


def renew(database: sqlite3.Connection, folder: Path, files: Files) -> None:
    """Steps 1 to 3 of a renewal; `database` is closed afterwards, and `open_database` does the rest. Raises OSError or sqlite3.Error."""
    new = folder / (DATABASE + NEXT)
    files.remove(new)
    files.write_new(new, b"")  # made 0600 before SQLite writes
    database.execute("VACUUM INTO ?", (str(new),))
    files.sync(new)
    files.rename(new, folder / (DATABASE + RENEWED))
    files.sync(folder)
    database.close()


def complete_renewal(folder: Path, files: Files) -> None:
    """Steps 4 and 5 of a renewal, when there is one. Raises OSError."""
    renewed = folder / (DATABASE + RENEWED)
    if not renewed.exists():
        return
    for suffix in LOGS:
        files.remove(folder / (DATABASE + suffix))
    files.sync(folder)
    files.rename(renewed, folder / DATABASE)
    files.sync(folder)


def _set_aside(path: Path, files: Files, clock: Callable[[], float]) -> Path:
    """Gives the damaged database and its log another name."""
    at, number = int(clock()), 0
    while (aside := path.with_name(f"{path.name}.damaged-{at}" + (f"-{number}" if number else ""))).exists():
        number += 1
    # The database first: SQLite throws away a log that it finds beside an empty database.
    for suffix in ("", *LOGS):
        if path.with_name(path.name + suffix).exists():
            files.rename(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
    files.sync(path.parent)
    return aside


def _salvage(aside: Path, database: sqlite3.Connection, folder: Path) -> int:
    """Copies the receipts that a damaged database still gives, from its beginning and from its end; how many."""
    columns = "sha256, packet_id, size, state, created_at, attempts, receipt, receipted_at"
    found: dict[str, tuple[object, ...]] = {}
    with contextlib.suppress(sqlite3.Error), contextlib.closing(plain_connection(aside.resolve().as_uri())) as damaged:
        for direction in ("ASC", "DESC"):
            with contextlib.suppress(sqlite3.Error):
                query = (
                    f"SELECT {columns} FROM packets NOT INDEXED WHERE state = 'receipted' ORDER BY rowid {direction}"  # noqa: S608 - constants
                )
                for row in damaged.execute(query):
                    found[str(row["sha256"])] = tuple(row)
        linked = _read_links(damaged)
    kept = 0
    with transaction(database):
        for sha256, links in linked.items():
            _keep_links(database, folder / "packets" / (sha256 + SUFFIX), sha256, links)
        for sha256, row in found.items():
            # A file that is still there is sent again: that is harmless, and a damaged row's word is not enough to remove it.
            if (folder / "packets" / (sha256 + SUFFIX)).exists():
                continue
            with contextlib.suppress(sqlite3.IntegrityError):
                marks = ", ".join("?" for _ in row)
                kept += database.execute(f"INSERT OR IGNORE INTO packets ({columns}) VALUES ({marks})", row).rowcount  # noqa: S608 - constants
    return kept


def _read_links(damaged: sqlite3.Connection) -> dict[str, tuple[object, ...]]:
    """What a damaged database still tells of packets that wait and have links."""
    found: dict[str, tuple[object, ...]] = {}
    for direction in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error):
            query = (
                "SELECT sha256, packet_id, created_at, application, status FROM packets NOT INDEXED WHERE state = 'waiting' "  # noqa: S608 - constants
                f"AND (application IS NOT NULL OR status IS NOT NULL) ORDER BY rowid {direction}"
            )
            for row in damaged.execute(query):
                found[str(row["sha256"])] = tuple(row)[1:]
    return found


def _keep_links(database: sqlite3.Connection, file: Path, sha256: str, links: tuple[object, ...]) -> None:
    """A row for a packet that waits and whose file is here; the file's digest is compared when it is sent."""
    with contextlib.suppress(OSError, ValueError, sqlite3.IntegrityError):
        size = file.stat().st_size
        database.execute(
            "INSERT OR IGNORE INTO packets (sha256, size, state, packet_id, created_at, application, status) "
            "VALUES (?, ?, 'waiting', ?, ?, ?, ?)",
            (sha256, size, *links),
        )


class _NotReadBackError(Exception):
    """SQLite's own check, or ours, found damage."""


def plain_connection(uri: str) -> sqlite3.Connection:
    """A connection to the database as it is, whatever is in it."""
    database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
    database.row_factory = sqlite3.Row
    # One flipped bit in a text must not make its row, and so the table, unreadable.
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    return database


def _connect(path: Path) -> sqlite3.Connection:
    """The database, proved to read back; raises OSError, sqlite3.DatabaseError or _NotReadBackError."""
    # Made 0600 before SQLite writes; -wal and -shm take over the mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = plain_connection(path.resolve().as_uri())
    try:
        # Not taken on trust: when an fsync fails here, SQLite stays with the rollback journal, whose removal alone is a COMMIT, unsynced.
        if (mode := database.execute("PRAGMA journal_mode = WAL").fetchone()[0]) != "wal":
            raise OSError(errno.EIO, f"the database stays in journal mode {mode}", str(path))
        database.execute("PRAGMA synchronous = FULL")
        if (answer := check(database)) is not None:
            raise _NotReadBackError(answer)
        database.execute(_TABLE)
        database.execute(_INDEX)
        database.execute(_EXPORTED)
        if _schema(database) == _OLD_SCHEMA:
            with transaction(database):
                for column in ("application", "status"):
                    database.execute(f"ALTER TABLE packets ADD COLUMN {column} TEXT")
        if _schema(database) != _SCHEMA:
            raise _NotReadBackError("its schema is another one")
    except BaseException:
        database.close()
        raise
    return database


def _schema(database: sqlite3.Connection) -> list[tuple[str, str]]:
    rows = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    return [(row["name"], row["sql"]) for row in rows]


def check(database: sqlite3.Connection) -> str | None:
    """What SQLite's own full check finds first, None when all is well: pages, indexes against rows, constraints."""
    answer = str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
    return None if answer == "ok" else answer
