"""Whether the tables of packets, of the receipt log and of the hand-over are such that looking at each row once is enough.

Two things are held by the database and not by hashes: that no key stands there twice and nothing is empty that must not be (the keys and NOT NULL of
the tables), and that a column holds values of its kind. Whoever writes SQL by hand can take the first away; and SQLite keeps a value of any kind in
any column, 5 beside 5.0, a text beside the same bytes. So both are looked at: the keys as the database describes them, and on SQLite the kind of every value,
times in the one form that they are written in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from server.handover_rows import decisions, orders
from server.log_rows import log_entries, log_heads, log_identity, log_nodes
from server.store import UtcDateTime, packets

TABLES = (packets, log_entries, log_nodes, log_heads, log_identity, decisions, orders)
KINDS: tuple[tuple[type[Any], str], ...] = (
    (sa.Integer, "integer"),  # BigInteger is one
    (sa.String, "text"),
    (sa.LargeBinary, "blob"),
    (UtcDateTime, "text"),
)
# "2026-11-23 18:25:00.000000", as SQLAlchemy writes a time into SQLite.
TIME = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]"


async def table_faults(connection: AsyncConnection) -> list[tuple[str, str]]:
    """What is wrong with the tables: code and sentence of each finding."""
    found = await connection.run_sync(lambda plain: list(_lost_keys(plain)))
    if connection.dialect.name == "sqlite":
        for table in TABLES:
            strange = sa.select(sa.func.count()).select_from(table).where(sa.not_(sa.and_(*_kinds(table))))
            count = (await connection.execute(strange)).scalar_one()
            if count:
                found.append(
                    ("row.kind", f"{count} rows of {table.name} hold a value of another kind than its column.")
                )
    return found


def _lost_keys(connection: Connection) -> Iterator[tuple[str, str]]:
    inspector = sa.inspect(connection)
    for table in TABLES:
        there = {frozenset(inspector.get_pk_constraint(table.name)["constrained_columns"])}
        there |= {frozenset(one["column_names"]) for one in inspector.get_unique_constraints(table.name)}
        there |= {
            frozenset(map(str, one["column_names"])) for one in inspector.get_indexes(table.name) if one["unique"]
        }
        wanted = {frozenset(column.name for column in table.primary_key)}
        wanted |= {frozenset([column.name]) for column in table.columns if column.unique}
        for key in sorted(", ".join(sorted(one)) for one in wanted - there):
            yield "table.keys", f"The table {table.name} has lost its key over {key}: rows may stand in it twice."
        for column in inspector.get_columns(table.name):
            known = table.columns.get(column["name"])
            if known is not None and column["nullable"] and not known.nullable:
                yield "table.keys", f"The column {column['name']} of {table.name} may be empty, and must not."


def _kinds(table: sa.Table) -> Iterator[sa.ColumnElement[bool]]:
    """That each value of a row is of its column's kind, on SQLite."""
    for column in table.columns:
        raw = sa.type_coerce(column, sa.Text())
        kind = next(name for of, name in KINDS if isinstance(column.type, of))
        right = sa.func.typeof(raw) == kind
        if isinstance(column.type, UtcDateTime):
            right = sa.and_(right, raw.op("GLOB")(TIME))
        yield sa.or_(raw.is_(None), right) if column.nullable else right
