"""How many packets there are, without counting them: what the log has taken in less what was deleted.

The size of the log stands in its newest head. Deletions are counted by the transaction that makes each (`note_deletion`), because counting rows takes
the longer the more there are. `intake log verify` compares the tally with the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from server.log_rows import log_heads
from server.store import Store, metadata, packets

if TYPE_CHECKING:
    from server.log_audit import Audit

DELETED = "deleted packets"

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.BigInteger(), nullable=False),
)

_received = sa.select(sa.func.coalesce(sa.func.max(log_heads.c.size), 0)).scalar_subquery()
_deleted = sa.func.coalesce(sa.select(tallies.c.value).where(tallies.c.name == DELETED).scalar_subquery(), 0)


async def count_packets(store: Store) -> int:
    """The packets of the log that are in the store."""
    async with store.reading() as connection:
        return int((await connection.execute(sa.select(_received - _deleted))).scalar_one())


async def note_deletion(connection: AsyncConnection) -> None:
    """Within the transaction that deletes a packet."""
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    first = dialect.insert(tallies).values(name=DELETED, value=1)
    await connection.execute(
        first.on_conflict_do_update(index_elements=[tallies.c.name], set_={"value": tallies.c.value + 1})
    )


async def check_counts(connection: AsyncConnection, audit: Audit) -> None:
    """That the tally is right: one statement, so that it is one moment."""
    rows = sa.select(sa.func.count()).select_from(packets).where(packets.c.position.is_not(None)).scalar_subquery()
    told, counted = (await connection.execute(sa.select(_received - _deleted, rows))).one()
    if told != counted:
        audit.add("packet.count", f"There are {counted} packets in the log and {told} by the tally of deletions.")
