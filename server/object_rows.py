"""Which objects the rows need, and which of them belong to nobody: the one place that says how collections and tables go together."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.deletions import deletions
from server.handover_rows import orders
from server.store import packets


async def needed_behind(connection: AsyncConnection, collection: str, after: str, limit: int) -> Sequence[str]:
    """Names of objects that must be there, those behind `after`, in order."""
    name, query = _needed(collection)
    page = query.where(name > after).order_by(name).limit(limit)
    return (await connection.execute(page)).scalars().all()


def needed_objects(collection: str) -> sa.Select[str, int]:
    """Name and size of the objects that must be there, each once, in the order of names."""
    name, query = _needed(collection)
    return query.add_columns(packets.c.size if collection == "packets" else orders.c.size).order_by(name)


async def is_needed(connection: AsyncConnection, collection: str, wanted: str) -> bool:
    """Whether this object must be there."""
    name, query = _needed(collection)
    return (await connection.execute(query.where(name == wanted).limit(1))).first() is not None


async def spoken_for(connection: AsyncConnection, collection: str, names: Collection[str]) -> set[str]:
    """Those of these objects that a row needs, or whose deletion is under way and will be brought to its end by others."""
    name, query = _needed(collection)
    found = set((await connection.execute(query.where(name.in_(names)))).scalars())
    going = sa.select(deletions.c.packet_sha256).where(deletions.c.erased_at.is_(None))
    if collection == "packets":
        under_way = going.where(deletions.c.packet_sha256.in_(names))
    else:
        under_way = sa.select(name).where(name.in_(names), orders.c.packet_sha256.in_(going))
    return found | set((await connection.execute(under_way)).scalars())


def _needed(collection: str) -> tuple[sa.Column[str], sa.Select[str]]:
    """The names of the objects that must be there. A message is needed as long as its packet (server/deletions.py)."""
    if collection == "packets":
        return packets.c.sha256, sa.select(packets.c.sha256)
    joined = orders.join(packets, packets.c.sha256 == orders.c.packet_sha256)
    return orders.c.message_sha256, sa.select(orders.c.message_sha256).select_from(joined).distinct()
