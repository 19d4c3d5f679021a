"""The rows of the receipt log: its name, its leaves, the hashes of its complete subtrees, its signed heads; and how they are read.

They are inserted, never changed: a complete subtree keeps its hash for ever. Where the log ends is told by the newest head and by the last
entry; `read_edge` believes neither unless the stored hashes lead to the root that was signed.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.merkle import HASH_BYTES, Frontier, complete_subtrees
from crypto.receipt import facts_digest
from server.errors import StorageCorruptError
from server.store import Store, StoredPacket, UtcDateTime, metadata, packets

log_identity = sa.Table(
    "log_identity",
    metadata,
    sa.Column("log", sa.String(32), primary_key=True),
    sa.Column("created_at", UtcDateTime(), nullable=False),
)

log_entries = sa.Table(
    "log_entries",
    metadata,
    sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("packet_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("entry", sa.LargeBinary(), nullable=False),
)

log_nodes = sa.Table(
    "log_nodes",
    metadata,
    sa.Column("level", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary(HASH_BYTES), nullable=False),
)

log_heads = sa.Table(
    "log_heads",
    metadata,
    sa.Column("size", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("root_hash", sa.LargeBinary(HASH_BYTES), nullable=False),
    sa.Column("signed_at", UtcDateTime(), nullable=False),
    sa.Column("head", sa.LargeBinary(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Edge:
    """Where the log ends, as the writer that holds the lock sees it."""

    log: str
    size: int
    nodes: dict[tuple[int, int], bytes]

    def node(self, level: int, number: int) -> bytes:
        """The hash of a complete subtree at the edge."""
        return self.nodes[level, number]


def packet_facts(row: StoredPacket) -> str:
    """What an entry of version 2 holds of a packet's row besides its own fields. Never another set of facts: every such entry was made with it."""
    return facts_digest(
        {
            "serial": row.serial,
            "recipient": row.recipient,
            "size": row.size,
            "sealed_at": None if row.sealed_at is None else _instant(row.sealed_at),
            "received_at": _instant(row.received_at),
            "state": row.state,
        }
    )


def _instant(at: datetime) -> str:
    """To the microsecond, as both databases keep it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


_HIGHEST = sa.select(sa.func.coalesce(sa.func.max(packets.c.serial), 0)).scalar_subquery()
_GIVEN = (
    sa.select(sa.column("seq", sa.BigInteger()))
    .select_from(sa.table("sqlite_sequence"))
    .where(sa.column("name") == "packets")
)
_LAST_OF_SQLITE = sa.select(sa.func.max(sa.func.coalesce(_GIVEN.scalar_subquery(), 0), _HIGHEST))
_SEQUENCE = sa.func.pg_get_serial_sequence("packets", "serial")
_FIRST = sa.func.greatest(sa.func.nextval(_SEQUENCE), _HIGHEST + 1)
_LAST_OF_POSTGRESQL = sa.select(sa.func.setval(_SEQUENCE, _FIRST + sa.bindparam("count", type_=sa.BigInteger()) - 1))


async def reserve_serials(connection: AsyncConnection, count: int) -> range:
    """The next numbers of packets, given to nobody else; ask with the log's lock held.

    They are told before the rows are written, because their entries hold them. A number that was given once is never given again, also when its
    row is gone; beside the database's own memory of that the rows count, in case they came from a backup.
    """
    if connection.dialect.name == "sqlite":
        last = (await connection.execute(_LAST_OF_SQLITE)).scalar_one()
        return range(last + 1, last + 1 + count)
    last = (await connection.execute(_LAST_OF_POSTGRESQL, {"count": count})).scalar_one()
    return range(last + 1 - count, last + 1)


async def holds_log(store: Store) -> bool:
    """Whether an intake has begun a log in this database."""
    async with store.reading() as connection:
        tables = await connection.run_sync(lambda its: set(sa.inspect(its).get_table_names()))
        if log_heads.name not in tables:
            return False
        return (await connection.execute(sa.select(log_heads.c.size).limit(1))).first() is not None


async def read_newest_head(store: Store) -> bytes:
    """The newest signed tree head."""
    newest = sa.select(log_heads.c.head).order_by(log_heads.c.size.desc()).limit(1)
    async with store.reading() as connection:
        return bytes((await connection.execute(newest)).scalar_one())


# Name, newest head and last position in one question.
_EDGE = (
    sa.select(
        log_heads.c.size,
        log_heads.c.root_hash,
        sa.select(sa.func.count()).select_from(log_identity).scalar_subquery().label("names"),
        sa.select(sa.func.max(log_identity.c.log)).scalar_subquery().label("log"),
        sa.select(sa.func.max(log_entries.c.position)).scalar_subquery().label("last"),
    )
    .order_by(log_heads.c.size.desc())
    .limit(1)
)


async def read_edge(connection: AsyncConnection) -> Edge:
    """The log's name, size and right edge. Raises `StorageCorruptError` when they do not lead to the root that was signed last."""
    newest = (await connection.execute(_EDGE)).one_or_none()
    if newest is not None and newest.names == 1 and newest.size == (0 if newest.last is None else newest.last + 1):
        wanted = list(complete_subtrees(newest.size))
        nodes = await read_nodes(connection, wanted)
        edge = Edge(newest.log, newest.size, nodes)
        if len(nodes) == len(wanted) and Frontier.of(newest.size, edge.node).root() == newest.root_hash:
            return edge
    raise StorageCorruptError("The receipt log does not end as it was signed: look with `intake log verify`.")


# One value holds all that is asked for, so that one statement serves every count: an OR of thirty pairs costs ten times as much.
_NODES = {
    "sqlite": sa.text(
        "SELECT n.level, n.number, n.hash FROM json_each(:asked) AS w CROSS JOIN log_nodes AS n "
        "ON n.level = json_extract(w.value, '$[0]') AND n.number = json_extract(w.value, '$[1]')"
    ),
    "postgresql": sa.text(
        "SELECT n.level, n.number, n.hash FROM unnest(:levels, :numbers) AS w (level, number) "
        "JOIN log_nodes AS n ON n.level = w.level AND n.number = w.number"
    ).bindparams(
        sa.bindparam("levels", type_=ARRAY(sa.Integer())), sa.bindparam("numbers", type_=ARRAY(sa.BigInteger()))
    ),
}


async def read_nodes(connection: AsyncConnection, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """The hashes of complete subtrees by level and number, those that are there."""
    if not wanted:
        return {}
    name, asked = connection.dialect.name, list(wanted)
    values: dict[str, object] = {"asked": json.dumps(asked)}
    if name == "postgresql":
        values = {"levels": [level for level, _ in asked], "numbers": [number for _, number in asked]}
    rows = await connection.execute(_NODES[name], values)
    return {(row.level, row.number): bytes(row.hash) for row in rows}
