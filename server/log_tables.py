"""Whether the tables of packets, of the receipt log and of the hand-over are such that looking at each row once is enough.

Two things are held by the database and not by hashes: that no key stands there twice and nothing is empty that must not be (the keys and NOT NULL of
the tables), and that a column holds values of its kind. Whoever writes SQL by hand can take the first away; and SQLite keeps a value of any kind in
any column, 5 beside 5.0, a text beside the same bytes. So both are looked at: the keys as the database describes them, and on SQLite the kind of every value,
times in the one form that they are written in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.deletions import deletions
from server.handover_rows import decisions, orders
from server.holds import hold_head, holds
from server.log_rows import log_entries, log_heads, log_identity, log_nodes
from server.proposals import proposals
from server.store import UtcDateTime, packets

TABLES = (
    *(packets, log_entries, log_nodes, log_heads, log_identity),
    *(decisions, orders, proposals, deletions, holds, hold_head),
)
KINDS: tuple[tuple[type[Any], str], ...] = (
    (sa.Integer, "integer"),  # BigInteger is one
    (sa.String, "text"),
    (sa.LargeBinary, "blob"),
    (UtcDateTime, "text"),
)
# Table, key and column of every key that no two rows may share, as each database describes itself: SQLAlchemy's inspector asks hundreds of questions for it.
KEYS = {
    "sqlite": """
        SELECT t.name, i.name, c.name FROM sqlite_master AS t JOIN pragma_index_list(t.name) AS i
            JOIN pragma_index_info(i.name) AS c WHERE t.type = 'table' AND i."unique" AND NOT i.partial
        UNION ALL SELECT t.name, 'pk', c.name FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
            WHERE t.type = 'table' AND c.pk""",
    "postgresql": """
        SELECT t.relname, i.indexrelid::text, c.attname FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid
            JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum = ANY (i.indkey)
            WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND t.relnamespace = current_schema()::regnamespace""",
}
MAY_BE_EMPTY = {
    "sqlite": """
        SELECT t.name, c.name FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
            WHERE t.type = 'table' AND NOT c."notnull" """,
    "postgresql": """
        SELECT t.relname, c.attname FROM pg_class AS t JOIN pg_attribute AS c ON c.attrelid = t.oid
            WHERE t.relkind = 'r' AND c.attnum > 0 AND NOT c.attnotnull AND t.relnamespace = current_schema()::regnamespace""",
}
# "2026-11-23 18:25:00.000000", as SQLAlchemy writes a time into SQLite.
TIME = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]"


async def table_faults(connection: AsyncConnection, tables: Collection[sa.Table] = TABLES) -> list[tuple[str, str]]:
    """What is wrong with the tables: code and sentence of each finding."""
    found = await _lost_keys(connection, tables)
    if connection.dialect.name == "sqlite":
        for table in tables:
            strange = sa.select(sa.func.count()).select_from(table).where(sa.not_(sa.and_(*_kinds(table))))
            count = (await connection.execute(strange)).scalar_one()
            if count:
                found.append(
                    ("row.kind", f"{count} rows of {table.name} hold a value of another kind than its column.")
                )
    return found


async def _lost_keys(connection: AsyncConnection, tables: Collection[sa.Table]) -> list[tuple[str, str]]:
    name, keys = connection.dialect.name, defaultdict[tuple[str, str], set[str]](set)
    for table, key, column in await connection.execute(sa.text(KEYS[name])):
        keys[table, key].add(column)
    empty = {(table, column) for table, column in await connection.execute(sa.text(MAY_BE_EMPTY[name]))}
    return [("table.keys", fault) for table in tables for fault in _key_faults(table, keys, empty)]


def _key_faults(
    table: sa.Table, keys: Mapping[tuple[str, str], set[str]], empty: Collection[tuple[str, str]]
) -> Iterator[str]:
    there = {frozenset(columns) for (of, _), columns in keys.items() if of == table.name}
    wanted = {frozenset(column.name for column in table.primary_key)}
    wanted |= {frozenset([column.name]) for column in table.columns if column.unique}
    for lost in sorted(", ".join(sorted(one)) for one in wanted - there):
        yield f"The table {table.name} has lost its key over {lost}: rows may stand in it twice."
    for column in table.columns:
        if not column.nullable and (table.name, column.name) in empty:
            yield f"The column {column.name} of {table.name} may be empty, and must not."


def _kinds(table: sa.Table) -> Iterator[sa.ColumnElement[bool]]:
    """That each value of a row is of its column's kind, on SQLite."""
    for column in table.columns:
        raw = sa.type_coerce(column, sa.Text())
        kind = next(name for of, name in KINDS if isinstance(column.type, of))
        right = sa.func.typeof(raw) == kind
        if isinstance(column.type, UtcDateTime):
            right = sa.and_(right, raw.op("GLOB")(TIME))
        yield sa.or_(raw.is_(None), right) if column.nullable else right
