"""Rows about packets: SQLAlchemy over SQLite (embedded) or PostgreSQL, and the migrations that make the tables.

Order of operation for a packet: its bytes are durable first (server/objects.py), then the receipt log (server/receipt_log.py) commits in one
transaction the nonce of the request, the row, its place in the log and its receipt. Whoever comes second with the same digest gets the first
one's row, however many come at once. A crash before the commit leaves bytes without a row, never a row without bytes or receipt.

SQLite runs with WAL, synchronous=FULL (each commit is on the disk), foreign keys, and a busy time-out. A writing transaction starts with BEGIN
IMMEDIATE, so that two processes wait for each other instead of failing half-way.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiosqlite
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect, Row
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.errors import MalformedRequestError, ReplayedRequestError, SettingsError, StorageUnavailableError

DIGEST = re.compile(r"[0-9a-f]{64}")
MIGRATIONS = Path(__file__).parent / "migrations"
# The intake and the desk wait this long for each other's SQLite transactions, which last milliseconds.
BUSY_MS = 10_000
# Any constant; names the migration lock among PostgreSQL's advisory locks.
MIGRATION_LOCK = 0x70617373


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """Aware UTC times; SQLite keeps them without a zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC) if dialect.name != "sqlite" else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (the base class passes it)
        """Give UTC."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Constraint names by rule, so that later migrations can name what they change on every database.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

packets = sa.Table(
    "packets",
    metadata,
    # SQLite numbers only INTEGER keys by itself; AUTOINCREMENT never gives a serial twice, even after deletion.
    sa.Column("serial", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("packet_id", sa.String(64), nullable=False, index=True),
    sa.Column("booth", sa.String(128), nullable=False),
    # Up to eight key ids with spaces between them. SQLite keeps no widths, and altering one there would copy the table.
    sa.Column("recipient", sa.String(264).with_variant(sa.String(128), "sqlite"), nullable=False),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("sealed_at", UtcDateTime(), nullable=True),
    sa.Column("received_at", UtcDateTime(), nullable=False),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("receipt", sa.LargeBinary(), nullable=False),
    # Where the packet stands in the receipt log; none until the intake's first start over a database from before the log.
    sa.Column("position", sa.BigInteger(), nullable=True, index=True, unique=True),
    # Down to the serial, so that each page of a search is read in its order (server/packet_search.py).
    sa.Index("ix_packets_arrival", "received_at", "serial"),
    sa.Index("ix_packets_booth_arrival", "booth", "received_at", "serial"),
    sqlite_autoincrement=True,
)

# What lists and searches show. Receipts are most of a row's bytes, and PostgreSQL keeps them elsewhere.
LISTED = tuple(column for column in packets.columns if column.name != "receipt")

request_nonces = sa.Table(
    "request_nonces",
    metadata,
    sa.Column("booth", sa.String(128), primary_key=True),
    sa.Column("nonce", sa.String(128), primary_key=True),
    sa.Column("expires_at", UtcDateTime(), nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class NewPacket:
    """What is known of a packet from its public header when its bytes are durable."""

    sha256: str
    packet_id: str
    booth: str
    recipient: str
    size: int
    sealed_at: datetime | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class StoredPacket:
    """One row."""

    serial: int
    sha256: str
    packet_id: str
    booth: str
    recipient: str
    size: int
    sealed_at: datetime | None
    received_at: datetime
    state: str
    receipt: bytes
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Nonce:
    """The part of a request signature that may be used once."""

    booth: str
    value: str
    expires_at: datetime


class Store:
    """The rows. Use `open_store`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._dialect: Any = sqlite if engine.dialect.name == "sqlite" else postgresql

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[Store]:
        """The same database with connections of its own, for the loop that opens it and has nothing else to do (server/side_loop.py)."""
        engine = make_engine(self._engine.url.render_as_string(hide_password=False), blocking=True)
        try:
            yield Store(engine)
        finally:
            await engine.dispose()

    async def find(self, sha256: str) -> StoredPacket | None:
        """The row of a packet."""
        async with self.reading() as connection:
            row = (await connection.execute(sa.select(packets).where(packets.c.sha256 == sha256))).one_or_none()
        return None if row is None else stored_packet(row)

    async def use_nonce(self, nonce: Nonce) -> None:
        """Remember a nonce. Raises `ReplayedRequestError` when it was used before."""
        async with self.writing() as connection:
            if not all(await self.take_nonces(connection, [nonce])):
                raise ReplayedRequestError("This signature was used before: sign the request anew.")

    async def forget_nonces(self, now: datetime) -> int:
        """Remove nonces whose signatures are too old to be accepted anyway; returns how many."""
        async with self.writing() as connection:
            result = await connection.execute(sa.delete(request_nonces).where(request_nonces.c.expires_at < now))
            return int(result.rowcount)

    async def newest(self, limit: int, before: int | None = None) -> Sequence[StoredPacket]:
        """Packets by descending serial, those below `before` when it is given, without their receipts."""
        query = sa.select(*LISTED).order_by(packets.c.serial.desc()).limit(limit)
        if before is not None:
            query = query.where(packets.c.serial < before)
        async with self.reading() as connection:
            return [listed_packet(row) for row in await connection.execute(query)]

    async def check(self) -> None:
        """Raises `StorageUnavailableError` when the database does not answer."""
        async with self.reading() as connection:
            await connection.execute(sa.select(packets.c.serial).limit(1))

    async def take_nonces(self, connection: AsyncConnection, nonces: Sequence[Nonce]) -> list[bool]:
        """Remember nonces within a transaction; says of each whether this is its first use."""
        # By key, so that transactions that take the same ones wait for each other instead of for ever.
        values = {(one.booth, one.value): one.expires_at for one in sorted(nonces, key=lambda n: (n.booth, n.value))}
        rows = [{"booth": b, "nonce": n, "expires_at": until} for (b, n), until in values.items()]
        insert = self._dialect.insert(request_nonces).on_conflict_do_nothing()
        insert = insert.returning(request_nonces.c.booth, request_nonces.c.nonce)
        left = {(row.booth, row.nonce) for row in await connection.execute(insert, rows)}
        taken = []
        for one in nonces:
            taken.append((one.booth, one.value) in left)
            left.discard((one.booth, one.value))
        return taken

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows `on_conflict_do_nothing`."""
        return self._dialect.insert(table)

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to ask with."""
        with _translated():
            async with self._engine.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end, rolled back on any exception."""
        with _translated():
            async with self._engine.connect() as connection:
                await connection.execution_options(begin_immediate=True)
                async with connection.begin():
                    yield connection


@contextlib.asynccontextmanager
async def open_store(database_url: str) -> AsyncIterator[Store]:
    """Open the database, bring its tables up to date, close it at the end. Raises `StorageUnavailableError`."""
    with _translated():
        engine = make_engine(database_url)
    try:
        with _translated():
            async with _only_starter(engine):
                await migrate(engine)
        yield Store(engine)
    finally:
        await engine.dispose()


@contextlib.asynccontextmanager
async def open_present_store(database_url: str) -> AsyncIterator[Store]:
    """Open a database that an intake has made, for looking only. Raises `StorageUnavailableError`."""
    url = read_address(database_url)
    if url.get_backend_name() == "sqlite" and not await asyncio.to_thread(os.path.isfile, url.database or ""):
        raise StorageUnavailableError(
            f"There is no database yet: {url.database} is made when the intake starts. Is --data the folder that the intake uses?"
        )
    with _translated():
        engine = make_engine(database_url)
    try:
        yield Store(engine)
    finally:
        await engine.dispose()


def check_digest(sha256: str) -> None:
    """The form of a packet's name. Raises `MalformedRequestError`."""
    if not DIGEST.fullmatch(sha256):
        raise MalformedRequestError("A packet is addressed by the 64 lower-case hex digits of its SHA-256.")


class _Blocking(aiosqlite.Connection):
    """Works in the thread that asks instead of one of its own: each statement is four visits there, which cost more than SQLite's own work."""

    async def _execute(self, fn: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if not self._running or not self._connection:
            raise ValueError("Connection closed")
        return fn(*args, **more)


def _connect_blocking(database: str, **more: Any) -> _Blocking:
    made = _Blocking(lambda: sqlite3.connect(database, **more), iter_chunk_size=64)
    made._thread.daemon = True  # noqa: SLF001 (as SQLAlchemy does it; the thread opens and closes)
    return made


def read_address(database_url: str) -> sa.URL:
    """The address of a database. Raises `SettingsError` for one that is not understood; no part of it is told, for it may hold a password."""
    try:
        url = sa.make_url(database_url)
    except (SQLAlchemyError, ValueError):
        url = None
    if url is None or url.drivername not in {"sqlite+aiosqlite", "postgresql+asyncpg"}:
        raise SettingsError(
            "The database_url is not understood: postgresql+asyncpg://user@host/database, or none for SQLite in the data folder."
        )
    return url


def make_engine(database_url: str, *, blocking: bool = False) -> AsyncEngine:
    """The engine with the rules for SQLite set on each connection; opens nothing yet. A new SQLite file is its owner's alone.

    `blocking` is for a loop that does one thing at a time and waits for nothing else: then there is one connection, and SQLite works in the loop's thread.
    """
    url = read_address(database_url)
    alone: dict[str, Any] = {"pool_size": 1, "max_overflow": 0} if blocking else {}
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True, **alone)
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # SQLite's own files beside it get its mode
            os.close(os.open(url.database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    creator = {"async_creator_fn": _connect_blocking} if blocking else {}
    engine = create_async_engine(url, connect_args=creator, **alone)

    def set_rules(connection: Any, record: Any) -> None:  # noqa: ARG001 (SQLAlchemy passes the pool's record)
        connection.isolation_level = None  # sqlite3 would otherwise begin by itself, and only before the first write
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("begin_immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    sa.event.listen(engine.sync_engine, "connect", set_rules)
    sa.event.listen(engine.sync_engine, "begin", begin)
    return engine


@contextlib.asynccontextmanager
async def _only_starter(engine: AsyncEngine) -> AsyncIterator[None]:
    """One process at a time makes an SQLite database: its change to WAL fails at once, whatever the busy time-out, beside another's."""
    database = engine.url.database
    if engine.url.get_backend_name() != "sqlite" or not database:
        yield
        return
    lock = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


async def migrate(engine: AsyncEngine, revision: str = "head") -> None:
    """Bring the tables up or down to `revision` ("base" removes them). Processes that start together wait for each other."""
    async with engine.connect() as connection:
        await connection.execution_options(begin_immediate=True)
        async with connection.begin():
            await migrate_within(connection, revision)


async def migrate_within(connection: AsyncConnection, revision: str = "head") -> None:
    """`migrate` within the caller's transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    def run(plain: Connection) -> None:
        config.attributes["connection"] = plain
        order = ("base", *schema_revisions(), "head")
        present = MigrationContext.configure(plain).get_current_revision() or "base"
        if present not in order:
            raise SettingsError(f"The database has the schema {present} of a newer version: start that one.")
        if order.index(revision) < order.index(present):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)

    await wait_for_migrations(connection)
    await connection.run_sync(run)


async def wait_for_migrations(connection: AsyncConnection) -> None:
    """Nobody else makes or changes tables until the transaction ends. With SQLite a writing transaction is alone anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))


@functools.cache
def schema_revisions() -> tuple[str, ...]:
    """The schema's revisions that this version knows, oldest first."""
    return tuple(one.revision for one in ScriptDirectory(str(MIGRATIONS)).walk_revisions())[::-1]


def listed_packet(row: Row[Any]) -> StoredPacket:
    """A row of `LISTED` as a value; its receipt is left empty."""
    return StoredPacket(receipt=b"", **row._mapping)  # noqa: SLF001 (the documented way to read a row by names)


def stored_packet(row: Row[Any]) -> StoredPacket:
    """A row of `packets` as a value."""
    return StoredPacket(**row._mapping)  # noqa: SLF001 (the documented way to read a row by names)


def padded(values: Iterable[str]) -> list[str]:
    """Each once, filled up to a power of two with the last one: databases keep what they prepared for few lengths."""
    unique = sorted(set(values))
    return unique + unique[-1:] * ((1 << (len(unique) - 1).bit_length()) - len(unique))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise StorageUnavailableError(
            "The database did not answer: look at its disk, its rights and whether it runs."
        ) from error
