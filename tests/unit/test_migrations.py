"""Every migration, up and down, with rows in every table: what was written before an upgrade is there after it, and after the way back, on both engines."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from server.errors import SettingsError
from server.store import make_engine, migrate, open_store, schema_revisions
from server.table_rows import Table, read_tables

ROWS = 3
NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}"


@contextlib.asynccontextmanager
async def engine_of(url: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(url)
    try:
        yield engine
    finally:
        await engine.dispose()


def value(kind: str, number: int, width: int | None) -> object:
    """Another one in each row, so that no unique column objects."""
    match kind:
        case "text":
            return f"{number:x}{'0' * 64}"[: width or 64]
        case "bytes":
            return bytes([number]) * 32
        case "time":
            return NOON + timedelta(seconds=number)
        case "day":
            return date(2026, 11, number)
        case "flag":
            return number % 2 == 0
        case _:
            return 100 + number


async def fill(connection: AsyncConnection, table: Table) -> None:
    """Some rows; the last one with nothing in the columns that may be empty."""

    def look(plain: sa.Connection) -> dict[str, dict]:
        return {its["name"]: its for its in sa.inspect(plain).get_columns(table.name)}

    columns = await connection.run_sync(look)
    for number in range(1, ROWS + 1):
        row = {
            name: None
            if number == ROWS and columns[name]["nullable"]
            else value(kind, number, getattr(columns[name]["type"], "length", None))
            for name, kind in table.columns
        }
        await connection.execute(sa.insert(table.clause()).values(row))


async def contents(connection: AsyncConnection, tables: dict[str, Table]) -> dict[str, list[dict]]:
    """The rows of these tables, by the columns that they had then."""
    found = {}
    for table in tables.values():
        its = table.clause()
        rows = await connection.execute(sa.select(*its.c).order_by(*its.c))
        found[table.name] = [dict(row._mapping) for row in rows]
    return found


async def tables_of(connection: AsyncConnection) -> dict[str, Table]:
    return {table.name: table for table in await read_tables(connection)}


async def test_every_upgrade_keeps_the_rows_and_every_way_back_too(url):
    known: dict[str, Table] = {}
    rows: dict[str, list[dict]] = {}
    async with engine_of(url) as engine:
        revisions = schema_revisions()
        for revision in revisions:
            await migrate(engine, revision)
            async with engine.begin() as connection:
                assert {
                    name: its for name, its in (await contents(connection, known)).items() if its != rows[name]
                } == {}
                present = await tables_of(connection)
                for name in present.keys() - known.keys():
                    await fill(connection, present[name])
                known, rows = present, await contents(connection, present)
        assert all(len(its) >= ROWS for its in rows.values())
        for revision in [*revisions[-2::-1], "base"]:
            await migrate(engine, revision)
            async with engine.connect() as connection:
                present = await tables_of(connection)
                after = await contents(connection, present)
            for name, its in after.items():
                left = {column for column, _ in present[name].columns}
                assert left <= {column for column, _ in known[name].columns}, "a way back adds nothing"
                before = [{column: row[column] for column in row if column in left} for row in rows[name]]
                assert sorted(its, key=str) == sorted(before, key=str), (revision, name)
        assert present == {}
        # And up again, as an operator does who went back by mistake.
        await migrate(engine)
        async with engine.connect() as connection:
            assert set(await tables_of(connection)) == set(known)


async def test_a_database_of_a_newer_version_is_left_alone(url):
    async with engine_of(url) as engine:
        await migrate(engine)
        async with engine.begin() as connection:
            await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(SettingsError, match="0999 of a newer version"):
        async with open_store(url):
            pass


def test_the_chain_is_one_line_of_numbers():
    assert list(schema_revisions()) == [f"{number:04d}" for number in range(1, len(schema_revisions()) + 1)]
