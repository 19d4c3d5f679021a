"""The rows of the hand-over: what a desk decided, which orders it gave to producers, and the turn by which both are numbered.

Rules: a decision is written once for a packet and never changed nor removed: it names no person, and the chain of links (crypto/decision.py) needs every one. It
stands beside the packet's row, whose state stays what the receipt log wrote. An order is one sealed message for one producer, whose bytes are durable before the
row. Its note is signed by the desk and holds all that is never changed; a producer's answer is signed by him. `resend_asked_at` and `superseded_at` are nobody's word.

Cursors and decisions are numbered under one lock that is held until the commit (`take_turn`): who sees a number sees every smaller one, however many desks
write. The counter is never taken back, so that a cursor which a producer keeps stays right when old orders are removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import StorageCorruptError
from server.store import UtcDateTime, metadata

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("packet_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("decided_at", UtcDateTime(), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("decision", sa.LargeBinary(), nullable=False),
    sa.Column("link", sa.LargeBinary(), nullable=False),
)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("cursor", sa.BigInteger(), nullable=False, unique=True),
    sa.Column("packet_sha256", sa.String(64), nullable=False, index=True),
    sa.Column("producer", sa.String(64), nullable=False),
    sa.Column("message_sha256", sa.String(64), nullable=False, index=True),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("answer_by", UtcDateTime(), nullable=False),
    sa.Column("note", sa.LargeBinary(), nullable=False),
    # Of several desks that send one order anew, the first commits.
    sa.Column("resend_of", sa.String(32), nullable=True, unique=True),
    sa.Column("resend_asked_at", UtcDateTime(), nullable=True),
    sa.Column("superseded_at", UtcDateTime(), nullable=True),
    sa.Column("answered_at", UtcDateTime(), nullable=True),
    sa.Column("answer_verdict", sa.String(16), nullable=True),
    sa.Column("answer_code", sa.String(64), nullable=True),
    sa.Column("answer", sa.LargeBinary(), nullable=True),
)
# What still waits for an answer is a small part of all that ever was: only it is looked through for what is late.
WAITING = sa.and_(orders.c.answered_at.is_(None), orders.c.superseded_at.is_(None))
ASKED = sa.and_(orders.c.resend_asked_at.is_not(None), orders.c.superseded_at.is_(None))
sa.Index("ix_orders_producer_cursor", orders.c.producer, orders.c.cursor)
sa.Index("ix_orders_waiting", orders.c.answer_by, sqlite_where=WAITING, postgresql_where=WAITING)
sa.Index("ix_orders_asked", orders.c.resend_asked_at, sqlite_where=ASKED, postgresql_where=ASKED)

order_counter = sa.Table(
    "order_counter",
    metadata,
    sa.Column("slot", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("last", sa.BigInteger(), nullable=False),
    # How many orders were answered: an answer that is taken away is missed (server/order_audit.py).
    sa.Column("answered", sa.BigInteger(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """One row."""

    number: int
    packet_sha256: str
    decided_at: datetime
    verdict: str
    decision: bytes
    link: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """One row."""

    id: str
    cursor: int
    packet_sha256: str
    producer: str
    message_sha256: str
    size: int
    created_at: datetime
    answer_by: datetime
    note: bytes
    resend_of: str | None
    resend_asked_at: datetime | None
    superseded_at: datetime | None
    answered_at: datetime | None
    answer_verdict: str | None
    answer_code: str | None
    answer: bytes | None

    def is_late(self, now: datetime) -> bool:
        """Whether the producer should have answered by now."""
        return self.answered_at is None and self.superseded_at is None and self.answer_by < now


def stored_decision(row: Row[Any]) -> StoredDecision:
    """A row of `decisions` as a value."""
    return StoredDecision(**row._mapping)  # noqa: SLF001 (the documented way to read a row by names)


def stored_order(row: Row[Any]) -> Order:
    """A row of `orders` as a value."""
    return Order(**row._mapping)  # noqa: SLF001 (the documented way to read a row by names)


async def lock_turn(connection: AsyncConnection) -> None:
    """No other writer numbers a decision or an order before this transaction has ended, though it may take no cursor itself."""
    turn = sa.update(order_counter).values(last=order_counter.c.last).returning(order_counter.c.last)
    if len((await connection.execute(turn)).scalars().all()) != 1:
        raise StorageCorruptError("The counter of orders is gone: restore the database from the backup.")


async def take_turn(connection: AsyncConnection) -> int:
    """The next cursor. No other writer gets one before this transaction has ended, and none is given twice."""
    turn = sa.update(order_counter).values(last=order_counter.c.last + 1).returning(order_counter.c.last)
    taken = (await connection.execute(turn)).scalars().all()
    if len(taken) != 1:
        raise StorageCorruptError("The counter of orders is gone: restore the database from the backup.")
    return int(taken[0])
