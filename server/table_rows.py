"""Tables and rows of any database as lines of JSON, and back: what a backup holds of it, whichever engine it came from or goes to.

Rules: tables, columns and their order are asked of the database, never named here, so that a table that is added tomorrow is in tomorrow's backup.
A value is written by the kind of its column (`KINDS`), not by what a driver gives: times are UTC with a zone, bytes are base64. A value of another
kind than its column (SQLite keeps such) ends the work: nothing of ours writes one, and PostgreSQL could not take it.

Order of operation, reading: one transaction that sees one moment (`frozen`) → tables, those that others refer to first → each page by page, ordered by its
primary key. Writing back: page by page within the caller's transaction. Neither holds more than a page of rows in memory.

Numbers that a database gives by itself go on where they were: those of rows that were deleted since are not given again.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from server.backup_errors import BackupDamagedError, BackupRefusedError
from server.line_files import LineWriter, WrittenFile, read_lines
from server.store import Store, UtcDateTime

PAGE = 500
# What SQLite and alembic keep for themselves; the schema's revision and the serials stand in the manifest.
OWN_TABLES = frozenset({"alembic_version", "sqlite_sequence"})

KINDS: Mapping[str, Callable[[], sa.types.TypeEngine[Any]]] = {
    "text": sa.String,
    "number": sa.BigInteger,
    "flag": sa.Boolean,
    "real": sa.Double,
    "bytes": sa.LargeBinary,
    "time": UtcDateTime,
    "day": sa.Date,
}
_KINDS_BY_TYPE: tuple[tuple[type[sa.types.TypeEngine[Any]], str], ...] = (
    (sa.Boolean, "flag"),
    (sa.Integer, "number"),
    (sa.Float, "real"),
    (sa.LargeBinary, "bytes"),
    (sa.DateTime, "time"),
    (sa.Date, "day"),
    (sa.String, "text"),
)
_Types = type | tuple[type, ...]
_Convert = Callable[[Any], Any]
# By kind: what a driver gives, what stands in a line, and the ways between the two; none where it is the same.
_GIVEN: Mapping[str, _Types] = {
    "text": str,
    "number": int,
    "flag": bool,
    "real": (float, int),
    "bytes": (bytes, memoryview),
    "time": datetime,
    "day": date,
}
_IN_LINES: Mapping[str, _Types] = {**_GIVEN, "bytes": str, "time": str, "day": str}
_WRITE: Mapping[str, _Convert] = {
    "bytes": lambda value: base64.b64encode(value).decode("ascii"),
    "time": lambda value: value.astimezone(UTC).isoformat(),
    "day": date.isoformat,
}
_READ: Mapping[str, _Convert] = {
    "bytes": lambda value: base64.b64decode(value, validate=True),
    "time": datetime.fromisoformat,
    "day": date.fromisoformat,
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table as a backup knows it: its columns in their order, with their kinds."""

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...] = ()

    def clause(self) -> sa.TableClause:
        """The table for statements, with types that mean the same on every engine."""
        return sa.table(self.name, *(sa.column(name, KINDS[kind]()) for name, kind in self.columns))


@contextlib.asynccontextmanager
async def frozen(store: Store) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one moment of the database, however long it is asked, and holds nobody up."""
    async with store.reading() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield connection  # SQLite with WAL: one read transaction, begun by the first question


async def read_tables(connection: AsyncConnection) -> list[Table]:
    """The tables of the database, those that others refer to first. Raises `BackupRefusedError` for a kind of column that has no form here."""

    def look(plain: Connection) -> list[Table]:
        inspector = sa.inspect(plain)
        found = []
        for name, _ in inspector.get_sorted_table_and_fkc_names():
            if name is None or name in OWN_TABLES:
                continue
            columns = tuple((its["name"], kind_of(its["type"], name)) for its in inspector.get_columns(name))
            found.append(Table(name, columns, tuple(inspector.get_pk_constraint(name)["constrained_columns"])))
        return found

    return await connection.run_sync(look)


def kind_of(its: sa.types.TypeEngine[Any], table: str) -> str:
    """How values of a column are written. Raises `BackupRefusedError`."""
    for cls, kind in _KINDS_BY_TYPE:
        if isinstance(its, cls):
            return kind
    raise BackupRefusedError(f"The table {table} has a column of a kind that backups have no form for: {its!r}.")


async def read_revision(connection: AsyncConnection) -> str | None:
    """The schema's revision; None in a database that no intake has made."""

    def look(plain: Connection) -> bool:
        return sa.inspect(plain).has_table("alembic_version")

    if not await connection.run_sync(look):
        return None
    version = sa.table("alembic_version", sa.column("version_num", sa.String()))
    return (await connection.execute(sa.select(version.c.version_num))).scalar_one_or_none()


async def read_serials(connection: AsyncConnection, tables: Sequence[Table]) -> dict[str, int]:
    """The last number given in each table that numbers its rows by itself."""
    if connection.dialect.name != "postgresql":
        return {name: last for name, last in await _sqlite_serials(connection) if any(name == t.name for t in tables)}
    serials = {}
    for table, _, sequence in await _sequences(connection, tables):
        its = (await connection.execute(sa.text(f"SELECT last_value, is_called FROM {sequence}"))).one()  # noqa: S608 (the database quoted its own name)
        serials[table.name] = int(its.last_value) if its.is_called else 0
    return serials


async def set_serials(connection: AsyncConnection, tables: Sequence[Table], serials: Mapping[str, int]) -> None:
    """Let each table go on after the numbers that were given before."""
    if connection.dialect.name == "postgresql":
        for table, column, sequence in await _sequences(connection, tables):
            highest = (await connection.execute(sa.select(sa.func.max(table.clause().c[column])))).scalar_one() or 0
            if last := max(int(highest), serials.get(table.name, 0)):
                await connection.execute(sa.text(f"SELECT setval('{sequence}', {last})"))
        return
    there = dict(await _sqlite_serials(connection))
    sequences = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
    for name, last in serials.items():
        if name not in there:  # a table without rows, or one that SQLite numbers by its highest row alone
            await connection.execute(sa.insert(sequences).values(name=name, seq=last))
        elif there[name] < last:
            await connection.execute(sa.update(sequences).where(sequences.c.name == name).values(seq=last))


async def write_rows(
    connection: AsyncConnection, table: Table, writer: LineWriter, told: Callable[[int], None]
) -> None:
    """Every row of a table as a line; `told` hears how many there are so far."""
    its, line = table.clause(), _line_writer(table)
    query = sa.select(*its.c).order_by(*(its.c[name] for name in table.key)).execution_options(yield_per=PAGE)

    def add(page: Sequence[sa.Row[Any]]) -> int:
        return writer.add(map(line, page))

    async with connection.stream(query) as result:
        async for page in result.partitions(PAGE):
            told(await asyncio.to_thread(add, page))


async def insert_rows(
    connection: AsyncConnection, table: Table, path: Path, expected: WrittenFile, told: Callable[[int], None]
) -> None:
    """Every line of a file as a row. Raises `BackupDamagedError` when it is not the file that was written: the caller's transaction must not be committed then."""
    insert, values, rows = sa.insert(table.clause()), _row_reader(table), 0
    with contextlib.closing(read_lines(path, expected)) as lines:

        def next_page() -> list[dict[str, Any]]:
            return [values(line) for line in islice(lines, PAGE)]

        while page := await asyncio.to_thread(next_page):
            await connection.execute(insert, page)
            rows += len(page)
            told(rows)


def _line_writer(table: Table) -> Callable[[Sequence[Any]], bytes]:
    kinds = [(_GIVEN[kind], _WRITE.get(kind)) for _, kind in table.columns]
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

    def line(row: Sequence[Any]) -> bytes:
        return encode([_converted(value, *kind) for value, kind in zip(row, kinds, strict=True)]).encode()

    return line


def _row_reader(table: Table) -> Callable[[bytes], dict[str, Any]]:
    columns = [(name, _IN_LINES[kind], _READ.get(kind)) for name, kind in table.columns]

    def values(line: bytes) -> dict[str, Any]:
        try:
            given = json.loads(line)
            if not isinstance(given, list):
                raise TypeError
            return {name: _converted(value, its, way) for value, (name, its, way) in zip(given, columns, strict=True)}
        except (ValueError, TypeError) as error:
            raise BackupDamagedError(f"A line of {table.name} cannot be read as a row.") from error

    return values


def _converted(value: Any, expected: _Types, convert: _Convert | None) -> Any:
    """A value in the other form. Raises TypeError, ValueError."""
    if value is None:
        return None
    if not isinstance(value, expected):
        raise TypeError
    return value if convert is None else convert(value)


async def _sequences(connection: AsyncConnection, tables: Sequence[Table]) -> list[tuple[Table, str, str]]:
    """PostgreSQL's sequences, with the table and the column that each is for."""
    found = []
    for table in tables:
        for column in table.key:
            # Names with capitals or spaces would need quoting inside the text; ours have none (naming rules of the tables).
            name = await connection.execute(sa.select(sa.func.pg_get_serial_sequence(table.name, column)))
            if (sequence := name.scalar_one()) is not None:
                found.append((table, column, str(sequence)))
    return found


async def _sqlite_serials(connection: AsyncConnection) -> list[tuple[str, int]]:
    def look(plain: Connection) -> bool:
        found = plain.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").first()
        return found is not None

    if not await connection.run_sync(look):
        return []
    rows = await connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")
    return [(str(row.name), int(row.seq)) for row in rows]
