"""The rows of the officers' queue: each packet's state, what it may be found by, a short summary, and who looks at it just now.

The desk opens a packet once and keeps of it what a list needs (server/desk_terms.py): a summary sealed under the desk's secret, and terms, which are
keyed hashes: `rule.<id>` that failed, the centre, the application's digest. Who reads the database sees which packets share a term and not which one it is.

Rules
  - A packet has its row here once a desk has read it, and then a row of `queue_terms` for each of its terms. Both carry the state and the time of arrival, so
    that every list is read in its order by one index, however many packets there are.
  - State follows the decision in the decision's own transaction (`note_state`), and who deletes a packet takes the rows along (`forget_packet`): both hold the
    packet's row locked, as the desk does that writes these rows. So no row says "waiting" of a packet that is decided, and none is left of one that is gone.
  - Nothing here is anybody's word: all of it can be made anew from packets and decisions (`intake queue rebuild`), and nothing is decided by it.
  - A look says that an officer has a packet open, for `LOOK_S` from his last sign of life. It keeps two from doing the same work and forbids nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store import UtcDateTime, metadata

# Half of a SHA-256: two different terms share one of 2^128 by chance, and the row is a third smaller.
TERM_BYTES = 16
# A page that is open says so every minute and a half (server/static/looks.js); three may get lost.
LOOK_S = 300.0
LOOK = timedelta(seconds=LOOK_S)


class QueueState(StrEnum):
    """Where a packet is in the officers' work."""

    WAITING = "waiting"
    PROPOSED = "proposed"  # one person would accept it, and it needs a second one
    ACCEPTED = "accepted"
    REFUSED = "refused"


OPEN_STATES = (QueueState.WAITING, QueueState.PROPOSED)

queue_packets = sa.Table(
    "queue_packets",
    metadata,
    sa.Column("packet_sha256", sa.String(64), primary_key=True),
    sa.Column("serial", sa.BigInteger(), nullable=False),
    sa.Column("received_at", UtcDateTime(), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    # Under which roots, revocations and keys it was opened: under others it is opened anew.
    sa.Column("judged", sa.LargeBinary(), nullable=False),
    # One behind the other: where its rows of `queue_terms` are, for who changes or removes them without the secret.
    sa.Column("terms", sa.LargeBinary(), nullable=False),
    sa.Column("summary", sa.LargeBinary(), nullable=False),
    sa.Index("ix_queue_packets_state_arrival", "state", "received_at", "serial"),
)

queue_terms = sa.Table(
    "queue_terms",
    metadata,
    sa.Column("term", sa.LargeBinary(), primary_key=True),
    sa.Column("state", sa.String(16), primary_key=True),
    sa.Column("received_at", UtcDateTime(), primary_key=True),
    sa.Column("serial", sa.BigInteger(), primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

queue_mark = sa.Table(
    "queue_mark",
    metadata,
    sa.Column("slot", sa.Integer(), primary_key=True, autoincrement=False),  # always 1
    sa.Column("secret", sa.LargeBinary(), nullable=False),  # whose terms these are: a keyed hash of nothing
    sa.Column("position", sa.BigInteger(), nullable=False),  # in the receipt log, up to which packets were read
)

queue_looks = sa.Table(
    "queue_looks",
    metadata,
    sa.Column("packet_sha256", sa.String(64), primary_key=True),
    sa.Column("officer", sa.String(64), nullable=False),
    sa.Column("until", UtcDateTime(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """What is kept of one packet: a row of `queue_packets`."""

    packet_sha256: str
    serial: int
    received_at: datetime
    state: QueueState
    judged: bytes
    terms: bytes
    summary: bytes


def split_terms(joined: bytes) -> list[bytes]:
    """The terms of a row."""
    return [joined[start : start + TERM_BYTES] for start in range(0, len(joined), TERM_BYTES)]


async def put_packets(connection: AsyncConnection, rows: Sequence[QueueRow]) -> None:
    """Within a transaction that holds the packets' rows locked: their rows here, in place of older ones."""
    if not rows:
        return
    present = sa.select(queue_packets).where(queue_packets.c.packet_sha256.in_([one.packet_sha256 for one in rows]))
    for row in (await connection.execute(present)).all():
        await _remove(connection, row)
    await connection.execute(sa.insert(queue_packets), [asdict(one) for one in rows])
    found = [
        {"term": term, "state": one.state, "received_at": one.received_at, "serial": one.serial}
        for one in rows
        for term in split_terms(one.terms)
    ]
    if found:
        await connection.execute(sa.insert(queue_terms), found)


async def note_state(connection: AsyncConnection, packet_sha256: str, state: QueueState) -> None:
    """Within the transaction that decides about a packet, whose row it holds locked. A packet that no desk has read yet gets its state when it is."""
    row = await _row(connection, packet_sha256)
    if row is not None and row.state != state:
        change = sa.update(queue_packets).where(queue_packets.c.packet_sha256 == packet_sha256)
        await connection.execute(change.values(state=state))
        await connection.execute(sa.update(queue_terms).where(*_terms_of(row)).values(state=state))
    if state not in OPEN_STATES:
        await connection.execute(sa.delete(queue_looks).where(queue_looks.c.packet_sha256 == packet_sha256))


async def forget_packet(connection: AsyncConnection, packet_sha256: str) -> None:
    """Within a transaction that holds the packet's row locked: nothing of it stays here."""
    row = await _row(connection, packet_sha256)
    if row is not None:
        await _remove(connection, row)
    await connection.execute(sa.delete(queue_looks).where(queue_looks.c.packet_sha256 == packet_sha256))


async def forget_all(connection: AsyncConnection) -> None:
    """Everything that was read: desks begin anew."""
    for table in (queue_terms, queue_packets, queue_looks, queue_mark):
        await connection.execute(sa.delete(table))


async def _remove(connection: AsyncConnection, row: sa.Row[tuple[object, ...]]) -> None:
    await connection.execute(sa.delete(queue_terms).where(*_terms_of(row)))
    await connection.execute(sa.delete(queue_packets).where(queue_packets.c.packet_sha256 == row.packet_sha256))


async def _row(connection: AsyncConnection, packet_sha256: str) -> sa.Row[tuple[object, ...]] | None:
    query = sa.select(queue_packets).where(queue_packets.c.packet_sha256 == packet_sha256)
    return (await connection.execute(query)).one_or_none()


def _terms_of(row: sa.Row[tuple[object, ...]]) -> Sequence[sa.ColumnElement[bool]]:
    """The rows of `queue_terms` that belong to a row of `queue_packets`, by their key."""
    its = queue_terms.c
    return (
        its.term.in_(split_terms(bytes(row.terms))),
        its.state == row.state,
        its.received_at == row.received_at,
        its.serial == row.serial,
    )
