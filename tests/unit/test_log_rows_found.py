"""`intake log verify` finds a change, an emptied value, an exchange, a removal and an addition in every column of every table that is audited.

The columns are asked of the database, so that one which is added later and not covered fails here.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from crypto.keys import load_trust
from server.log_audit import Audit, audit_log
from server.log_rows import log_entries, log_heads, log_identity, log_nodes
from server.receipt_log import open_receipt_log
from server.store import Store, make_engine, open_present_store, open_store, packets
from tests.kept_log import Kept, append, make_kept

# First, one in the middle of a batch, and the last.
PLACES = (0, 5, -1)
# What hangs on the log besides has tests of its own.
LOG_TABLES = (packets, log_entries, log_nodes, log_heads, log_identity)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Kept:
    return make_kept(tmp_path_factory.mktemp("log"))


class Harmed:
    """One copy of the database after the other, each with one harm done to it by hand."""

    def __init__(self, kept: Kept, path: Path, store: Store) -> None:
        self.kept, self.path, self.store = kept, path, store
        self.trust = load_trust(kept.keys.folder / "ca.pem")

    def columns(self, table: str) -> list[str]:
        return [row[1] for row in self.kept.rows(f"PRAGMA table_info({table})")]

    def rowids(self, table: str) -> list[int]:
        found = [rowid for (rowid,) in self.kept.rows(f"SELECT rowid FROM {table} ORDER BY rowid")]
        return sorted({found[place] if abs(place) < len(found) else found[0] for place in PLACES})

    def value(self, table: str, column: str, rowid: int):
        return self.kept.rows(f"SELECT {column} FROM {table} WHERE rowid = {rowid}")[0][0]

    async def audit(self, harm: Callable[[sqlite3.Connection], object]) -> Audit | None:
        """What is found after the harm; None when the database refuses it."""
        await (
            self.store._engine.dispose()
        )  # its connections; what it compiled stays, and is most of an audit of twelve packets
        shutil.copyfile(self.kept.database, self.path)
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            try:
                with connection:
                    harm(connection)
            except sqlite3.IntegrityError:
                return None
        return await audit_log(self.store, self.trust)

    async def found(self, harm: Callable[[sqlite3.Connection], object]) -> bool:
        audit = await self.audit(harm)
        return audit is None or not audit.sound


@pytest.fixture
async def harmed(original, tmp_path):
    path = tmp_path / "harmed.sqlite3"
    shutil.copyfile(original.database, path)
    async with open_present_store(f"sqlite+aiosqlite:///{path}") as store:
        yield Harmed(original, path, store)


def others(value: object) -> Iterator[object]:
    """Other values of the same kind, near and far, and the same value as another kind."""
    if isinstance(value, int):
        yield from (value + 1, value + 0.5)
    elif isinstance(value, bytes):
        yield from (bytes([*value[:-1], value[-1] ^ 1]), value + b"\x00")
    elif isinstance(value, str):
        yield from (value[:-1] + ("1" if value[-1] != "1" else "2"), value.encode())
        if value[4:5] == "-":  # a time: the same one, written otherwise
            yield value + "+00:00"
    else:
        yield "2026-11-23 12:00:00.000000"


NAMES = [table.name for table in LOG_TABLES]


def exchange(table: str, column: str, rowids: tuple[int, int], values: tuple) -> Callable[[sqlite3.Connection], None]:
    """Two rows exchange a value, over a third one where the column is a key."""
    one, other = rowids
    between = -7 if isinstance(values[0], int) else "x"
    moved = between if column == "serial" else one  # it is the rowid itself
    change = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"

    def run(connection: sqlite3.Connection) -> None:
        for value, rowid in ((between, one), (values[0], other), (values[1], moved)):
            connection.execute(change, (value, rowid))

    return run


def addition(table: str, row: dict) -> Callable[[sqlite3.Connection], object]:
    insert = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
    return lambda connection: connection.execute(insert, tuple(row.values()))


async def test_the_log_as_it_was_left_is_sound(harmed):
    assert (await harmed.audit(lambda connection: None)).findings == []


@pytest.mark.parametrize("table", NAMES)
async def test_every_changed_or_emptied_value_is_found(harmed, table):
    for column in harmed.columns(table):
        for turn, rowid in enumerate(harmed.rowids(table)):
            value = harmed.value(table, column, rowid)
            chosen = [*others(value), None] if turn == 0 else [next(others(value))]
            for other in chosen:
                if other == value and type(other) is type(value):
                    continue
                change = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"
                assert await harmed.found(lambda c, o=other: c.execute(change, (o, rowid))), (column, rowid, other)  # noqa: B023 (runs at once)


@pytest.mark.parametrize("table", NAMES)
async def test_two_rows_that_exchange_a_value_are_found(harmed, table):
    one, *_, other = harmed.rowids(table) * 2
    for column in harmed.columns(table):
        values = harmed.value(table, column, one), harmed.value(table, column, other)
        if values[0] == values[1]:
            continue

        assert await harmed.found(exchange(table, column, (one, other), values)), column


@pytest.mark.parametrize("table", NAMES)
async def test_every_removed_row_is_found(harmed, table):
    for rowid in harmed.rowids(table):
        assert await harmed.found(lambda c, r=rowid: c.execute(f"DELETE FROM {table} WHERE rowid = {r}")), rowid


@pytest.mark.parametrize("table", NAMES)
async def test_every_added_row_is_found(harmed, table):
    keys = [c.name for c in next(one for one in LOG_TABLES if one.name == table).columns if c.primary_key or c.unique]
    rowid = harmed.rowids(table)[0]
    row = {name: harmed.value(table, name, rowid) for name in harmed.columns(table)}
    for number in (-1, 2.5, 2**40):
        fresh = {name: number if isinstance(row[name], int) else f"{number}".rjust(64, "0") for name in keys}

        audit = await harmed.audit(addition(table, row | fresh))
        assert audit is None or not audit.sound, number
        assert audit is not None or number == 2.5, "an INTEGER key of SQLite takes no fraction"


@pytest.mark.parametrize("table", NAMES)
async def test_a_table_that_has_lost_its_keys_is_found(harmed, table):
    def strip(connection: sqlite3.Connection) -> None:
        connection.execute(f"CREATE TABLE bare AS SELECT * FROM {table}")
        connection.execute(f"DROP TABLE {table}")
        connection.execute(f"ALTER TABLE bare RENAME TO {table}")

    audit = await harmed.audit(strip)
    assert {one.code for one in audit.findings} == {"table.keys"}
    assert any(f"{table} has lost its key" in one.text for one in audit.findings)


def other_on_postgres(value: object) -> object:
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1)
    return value + 1000 if isinstance(value, int) else next(others(value))


async def test_on_postgres_a_change_of_every_column_and_a_removal_is_found_too(original, postgres_url):
    keys, trust = original.keys, load_trust(original.keys.folder / "ca.pem")
    async with open_store(postgres_url) as store, open_receipt_log(store, original.signer) as receipts:
        for number in (1, 3, 2):
            await append(receipts, [keys.packet({"visit.json": b"{}"}) for _ in range(number)])
        assert (await audit_log(store, trust)).findings == []
        engine = make_engine(postgres_url)
        async with engine.begin() as connection:
            for table in LOG_TABLES:
                for column in table.columns:
                    if not column.primary_key:
                        await connection.exec_driver_sql(f"ALTER TABLE {table.name} ALTER {column.name} DROP NOT NULL")
        assert {one.code for one in (await audit_log(store, trust)).findings} == {"table.keys"}
        usual = (await audit_log(store, trust)).found
        for table in LOG_TABLES:
            async with engine.connect() as connection:
                columns = await connection.run_sync(
                    lambda c, t=table: [o["name"] for o in sa.inspect(c).get_columns(t.name)]
                )
                row = dict(
                    (
                        await connection.execute(
                            sa.select(table)
                            .order_by(*table.primary_key)
                            .offset(3 if table.name == "log_nodes" else 0)
                            .limit(1)
                        )
                    )
                    .one()
                    ._mapping
                )
            assert columns == list(row), "a column that the code does not know"
            for name in columns:
                for value in (other_on_postgres(row[name]), None):
                    if value is None and table.columns[name].primary_key:
                        continue
                    found = row | {name: value}
                    await replace(engine, table, row, found)
                    assert (await audit_log(store, trust)).found > usual, (table.name, name, value)
                    await replace(engine, table, found, row)
            await replace(engine, table, row, None)
            assert (await audit_log(store, trust)).found > usual, table.name
            await replace(engine, table, None, row)
        assert (await audit_log(store, trust)).found == usual
        await engine.dispose()


async def replace(engine, table: sa.Table, old: dict | None, new: dict | None) -> None:
    async with engine.begin() as connection:
        if old is not None:
            await connection.execute(
                sa.delete(table).where(*(table.c[c.name] == old[c.name] for c in table.primary_key))
            )
        if new is not None:
            await connection.execute(sa.insert(table), [new])
