"""What the self-tests found in the last 90 days: the booth's own SQLite file, `history.sqlite3` in data_dir.

Rules
  - Numbers, ids of checks and causes alone: no personal data, nothing of a visit. 0600.
  - WAL with synchronous=NORMAL: a power cut may cost the newest run, never the file. Each piece of work opens and closes the file, on a worker thread:
    the command line beside a running booth sees the same.
  - Bounded: runs older than 90 days go, and beyond MAX_RUNS the oldest. A schema of another version, or a file that does not read back, is set aside under
    a new name, told once, and begun anew; of files set aside the newest two stay. A history that cannot be written is told and stops nothing.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from booth.errors import HistoryUnusableError
from booth.outbox_database import transaction
from booth.self_test import CheckFinding
from booth.trends import BEFORE_DAYS, DAY_S, RECENT_DAYS, Point, Trend, trend_of

log = logging.getLogger(__name__)

NAME = "history.sqlite3"
LOGS = ("-wal", "-shm", "-journal")
ASIDE = ".damaged-"
KEPT_ASIDE = 2
DAYS = 90.0
# Twenty runs a day for ninety days.
MAX_RUNS = 1_800
BUSY_S = 5.0
VERSION = 1
_SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    occasion TEXT NOT NULL,
    cancelled INTEGER NOT NULL
) STRICT;
CREATE INDEX runs_at ON runs (at);
CREATE TABLE findings (
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    "check" TEXT NOT NULL,
    unit TEXT NOT NULL,
    value REAL,
    low REAL,
    high REAL,
    verdict TEXT NOT NULL,
    cause TEXT,
    took_ms REAL NOT NULL,
    PRIMARY KEY (run, "check")
) STRICT, WITHOUT ROWID;
"""


class History:
    """One booth's history; every method blocks."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._path, self._clock = folder / NAME, clock
        self._problems: list[str] = []

    def take_problems(self) -> tuple[str, ...]:
        """What there is to tell of the file, once."""
        problems, self._problems = tuple(self._problems), []
        return problems

    def add(self, at: float, occasion: str, findings: Sequence[CheckFinding], *, cancelled: bool = False) -> None:
        """One run. Raises HistoryUnusableError."""
        rows = [
            (one.id, one.unit, one.value, one.low, one.high, one.verdict, _plain(one.cause), one.took_ms)
            for one in findings
        ]
        with self._open() as database, transaction(database):
            added = database.execute(
                "INSERT INTO runs (at, occasion, cancelled) VALUES (?, ?, ?)", (at, occasion, int(cancelled))
            )
            database.executemany(
                f"INSERT INTO findings VALUES ({added.lastrowid}, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a number of ours
                rows,
            )
            database.execute("DELETE FROM runs WHERE at < ?", (self._clock() - DAYS * DAY_S,))
            database.execute(
                "DELETE FROM runs WHERE id NOT IN (SELECT id FROM runs ORDER BY at DESC, id DESC LIMIT ?)", (MAX_RUNS,)
            )

    def points(self, check: str, days: float = DAYS) -> tuple[Point, ...]:
        """The values of a check in the last days, oldest first. Raises HistoryUnusableError."""
        query = (
            'SELECT at, value, verdict FROM findings JOIN runs ON run = id WHERE "check" = ? AND at > ? ORDER BY at, id'
        )
        with self._open() as database:
            rows = database.execute(query, (check, self._clock() - days * DAY_S)).fetchall()
        return tuple(Point(at=at, value=value, verdict=verdict) for at, value, verdict in rows)

    def newest(self) -> tuple[float, tuple[CheckFinding, ...]] | None:
        """When the newest run was, and its findings; None before the first. Raises HistoryUnusableError."""
        query = 'SELECT at, "check", value, unit, low, high, verdict, cause, took_ms FROM findings JOIN runs ON run = id WHERE run = (SELECT id FROM runs ORDER BY at DESC, id DESC LIMIT 1)'
        with self._open() as database:
            rows = database.execute(query).fetchall()
        found = tuple(
            CheckFinding(
                id=check,
                value=value,
                unit=unit,
                low=low,
                high=high,
                verdict=verdict,
                cause=None if cause is None else f"cause.{cause}",
                took_ms=took_ms,
            )
            for _, check, value, unit, low, high, verdict, cause, took_ms in rows
        )
        return (rows[0][0], found) if rows else None

    def dump(self) -> list[dict[str, object]]:
        """Everything, as rows by name, newest run first. Raises HistoryUnusableError."""
        query = 'SELECT at, occasion, "check", value, unit, low, high, verdict, cause, took_ms FROM findings JOIN runs ON run = id ORDER BY at DESC, run DESC, "check"'
        with self._open() as database:
            cursor = database.execute(query)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def checks(self) -> tuple[str, ...]:
        """Every check that has values. Raises HistoryUnusableError."""
        with self._open() as database:
            return tuple(one for (one,) in database.execute('SELECT DISTINCT "check" FROM findings ORDER BY 1'))

    def trend(self, check: str) -> Trend | None:
        """How a check went, by the limits of its newest finding; None without one. Raises HistoryUnusableError."""
        query = 'SELECT unit, low, high FROM findings JOIN runs ON run = id WHERE "check" = ? ORDER BY at DESC, id DESC LIMIT 1'
        with self._open() as database:
            row = database.execute(query, (check,)).fetchone()
        if row is None:
            return None
        unit, low, high = row
        return trend_of(check, unit, low, high, self.points(check, RECENT_DAYS + BEFORE_DAYS), self._clock())

    # --- the file ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database, for one piece of work; errors of SQLite and the disk become our own."""
        try:
            try:
                database = self._connected()
            except (sqlite3.DatabaseError, _OtherSchemaError) as error:
                if not isinstance(error, _OtherSchemaError) and _passing(error):
                    raise
                self._set_aside(error)
                database = self._connected()
            with contextlib.closing(database):
                yield database
        except (sqlite3.Error, OSError) as error:
            raise HistoryUnusableError(
                f"The history of self-tests {self._path} cannot be used ({error}): look at the disk; nothing else needs it."
            ) from error

    def _connected(self) -> sqlite3.Connection:
        """Opened and proved; made when it was not there. Raises sqlite3.Error, _OtherSchemaError, OSError."""
        self._path.touch(mode=0o600)
        database = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute("PRAGMA foreign_keys=ON")
            if self._version(database) is None:
                with transaction(database):
                    if self._version(database) is None:  # another process may have been quicker
                        for statement in filter(str.strip, _SCHEMA.split(";")):
                            database.execute(statement)
                        database.execute(f"PRAGMA user_version={VERSION}")
            if (version := self._version(database)) != VERSION:
                raise _OtherSchemaError(f"its schema is version {version}, ours is {VERSION}")
            if (answer := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise _OtherSchemaError(f"SQLite's check says: {answer}")
            database.execute("SELECT run FROM findings LIMIT 1")
        except BaseException:
            database.close()
            raise
        return database

    @staticmethod
    def _version(database: sqlite3.Connection) -> int | None:
        """Of the schema; None for an empty file."""
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        empty = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        return None if version == 0 and empty else version

    def _set_aside(self, error: Exception) -> None:
        number = max((_number(old) for old in self._asides()), default=0) + 1
        aside = self._path.with_name(f"{NAME}{ASIDE}{number:04d}")
        self._path.rename(aside)
        for suffix in LOGS:  # a log beside another database would be replayed into it
            self._path.with_name(NAME + suffix).unlink(missing_ok=True)
        for old in self._asides()[:-KEPT_ASIDE]:
            old.unlink()
        text = (
            f"The history of self-tests did not read back ({error}); it was set aside as {aside.name} and begun anew."
        )
        log.warning("%s", text)
        self._problems.append(text)

    def _asides(self) -> list[Path]:
        return sorted((old for old in self._path.parent.glob(f"{NAME}{ASIDE}*") if old.is_file()), key=_number)


class _OtherSchemaError(Exception):
    """Not what this booth writes."""


def _passing(error: sqlite3.Error) -> bool:
    """Whether the disk or another process is in the way, and the file may be sound."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def _number(aside: Path) -> int:
    digits = aside.name.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def _plain(cause: str | None) -> str | None:
    return None if cause is None else cause.removeprefix("cause.")
