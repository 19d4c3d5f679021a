"""Orders: what lies ready for producers, what they answered, what was asked for anew, and what nobody answered in time.

Rules
    One order is one sealed message for one producer. Orders are listed by their cursor, which only grows (server/handover_rows.py): a producer that has seen
        a cursor has been shown every order up to it. A cursor that was never given is told: after a restore the producer has to start again.
    An answer is the producer's last word on an order: the same answer again changes nothing, another one is refused. To a rejection, whatever its code,
        nothing is sent back but its acknowledgement: no error is answered with an error (BSI TR-03104).
    An order that was not accepted may be asked for anew, at most MOST_SENDINGS times for one packet: the desk seals it again, which makes a new order with a
        cursor of its own, and the old one is superseded. Only the newest is waited for. Who accepts an order takes the wish for another one back.
    Who changes an order locks its row before he takes anything of the counter (sending anew too): so an answer and a desk never wait for each other.
    An order that is neither answered nor superseded when its `answer_by` has passed, of a packet that is still here, is late: a person must look (server/orders_command.py, the desk's page).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.handover import Answer
from server.handover_errors import (
    AnswerRefusedError,
    OrderAnsweredError,
    OrderCursorError,
    OrderGoneError,
    OrderResentError,
    OrderUnknownError,
)
from server.handover_rows import ASKED, WAITING, Order, order_counter, orders, stored_order
from server.store import Store, packets

# Assumed: a key that is wrong twice is a matter for people, and each sending costs a message's bytes.
MOST_SENDINGS = 16
# A producer's clock may be ahead by the window of a request's signature (crypto/http_signature.py), as may the desk's.
CLOCK_SLACK = timedelta(seconds=300)

# Nobody answers for a packet that was deleted.
_WAITED_FOR = sa.and_(WAITING, sa.exists().where(packets.c.sha256 == orders.c.packet_sha256))


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """How many orders wait for their answer, how many of these are late, and how many are asked for anew."""

    waiting: int
    late: int
    asked: int


class Orders:
    """The orders as rows."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now

    async def after(self, producer: str, cursor: int, limit: int) -> list[Order]:
        """A producer's orders behind a cursor, oldest first. Raises `OrderCursorError` for one that was never given: a backup was restored."""
        query = sa.select(orders).where(orders.c.producer == producer, orders.c.cursor > cursor)
        found = await self._read(query.order_by(orders.c.cursor).limit(limit))
        if not found and cursor:
            async with self._store.reading() as connection:
                last = (await connection.execute(sa.select(order_counter.c.last))).scalar_one_or_none()
            if last is None or cursor > last:
                raise OrderCursorError("This cursor was not given yet: the intake was restored. Start again at 0.")
        return found

    async def find(self, order: str, producer: str | None = None) -> Order:
        """An order; with `producer` only one of his. Raises `OrderUnknownError`."""
        query = sa.select(orders).where(orders.c.id == order)
        if producer is not None:
            query = query.where(orders.c.producer == producer)
        found = await self._read(query)
        if not found:
            raise OrderUnknownError("There is no such order.")
        return found[0]

    async def of_packet(self, packet_sha256: str) -> list[Order]:
        """All orders of a packet, newest first."""
        query = sa.select(orders).where(orders.c.packet_sha256 == packet_sha256)
        return await self._read(query.order_by(orders.c.cursor.desc()))

    async def matching(self, beginning: str) -> Order:
        """The order whose id begins so. Raises `OrderUnknownError` unless there is exactly one."""
        found = await self._read(sa.select(orders).where(orders.c.id.startswith(beginning, autoescape=True)).limit(2))
        if len(found) != 1:
            raise OrderUnknownError(
                "No order has this id." if not found else "Several orders begin so: type more of it."
            )
        return found[0]

    async def check_kept(self, order: Order) -> None:
        """Raises `OrderGoneError` when the packet was deleted, and its messages with it."""
        async with self._store.reading() as connection:
            await _check_kept(connection, order)

    async def successor(self, order: str) -> Order | None:
        """What an order was sent anew as."""
        found = await self._read(sa.select(orders).where(orders.c.resend_of == order))
        return found[0] if found else None

    async def late(self, limit: int, producer: str | None = None) -> list[Order]:
        """Orders that nobody answered in time, those waited for longest first."""
        query = sa.select(orders).where(_WAITED_FOR, orders.c.answer_by < self._now())
        return await self._read(_of(query, producer).order_by(orders.c.answer_by, orders.c.cursor).limit(limit))

    async def newest(self, limit: int, before: int | None = None, producer: str | None = None) -> list[Order]:
        """Orders by descending cursor, those below `before` when it is given."""
        query = _of(sa.select(orders), producer)
        if before is not None:
            query = query.where(orders.c.cursor < before)
        return await self._read(query.order_by(orders.c.cursor.desc()).limit(limit))

    async def asked(self, limit: int) -> list[Order]:
        """Orders that the desk has to send anew, oldest wish first."""
        return await self._read(sa.select(orders).where(ASKED).order_by(orders.c.resend_asked_at).limit(limit))

    async def counts(self) -> OrderCounts:
        """How the hand-over stands."""
        waiting = sa.select(sa.func.count()).where(_WAITED_FOR)
        parts = (
            waiting,
            waiting.where(orders.c.answer_by < self._now()),
            sa.select(sa.func.count()).select_from(orders).where(ASKED),
        )
        async with self._store.reading() as connection:
            row = (await connection.execute(sa.select(*(part.scalar_subquery() for part in parts)))).one()
        return OrderCounts(*row)

    async def packet_ids(self, digests: Collection[str]) -> dict[str, str]:
        """The packet ids of those packets that are still here."""
        query = sa.select(packets.c.sha256, packets.c.packet_id).where(packets.c.sha256.in_(digests))
        async with self._store.reading() as connection:
            return {row.sha256: row.packet_id for row in await connection.execute(query)}

    async def answer(self, order: Order, answer: Answer, signed: bytes) -> Order:
        """Write an answer down; the order as it is then. Raises `AnswerRefusedError`, `OrderAnsweredError`, `OrderUnknownError`."""
        if (answer.order, answer.message_sha256, answer.producer) != (order.id, order.message_sha256, order.producer):
            raise AnswerRefusedError("The answer is for another order, or for another message than the order's.")
        now = self._now()
        if not order.created_at - CLOCK_SLACK <= answer.answered_at <= now + CLOCK_SLACK:
            raise AnswerRefusedError(
                "The answer was signed before the order was made, or in the future: set the clock."
            )
        given = {
            "answered_at": now,
            "answer_verdict": answer.verdict,
            "answer_code": answer.code,
            "answer": signed,
        } | ({"resend_asked_at": None} if answer.verdict == "accepted" else {})
        async with self._store.writing() as connection:
            first = sa.update(orders).where(orders.c.id == order.id, orders.c.answered_at.is_(None))
            if (await connection.execute(first.values(given))).rowcount:
                counted = sa.update(order_counter).values(answered=order_counter.c.answered + 1)
                await connection.execute(counted)
            present = await _present(connection, order.id)
        if (present.answer_verdict, present.answer_code) != (answer.verdict, answer.code):
            raise OrderAnsweredError("The order was answered in another way before: that answer stays.")
        return present

    async def ask_again(self, order: Order) -> Order:
        """Ask the desk to send an order anew; asking twice is asking once. Raises `OrderAnsweredError`, `OrderResentError`, `OrderUnknownError`."""
        async with self._store.writing() as connection:
            present = await _present(connection, order.id)
            if present.answer_verdict == "accepted":
                raise OrderAnsweredError("The order was accepted: there is nothing to send anew.")
            await _check_kept(connection, order)
            if present.superseded_at is not None or present.resend_asked_at is not None:
                return present
            same = sa.and_(orders.c.packet_sha256 == order.packet_sha256, orders.c.producer == order.producer)
            sendings = (await connection.execute(sa.select(sa.func.count()).where(same))).scalar_one()
            if sendings >= MOST_SENDINGS:
                raise OrderResentError(f"The packet was sent {MOST_SENDINGS} times: find out why it is not accepted.")
            change = sa.update(orders).where(orders.c.id == order.id)
            await connection.execute(change.values(resend_asked_at=self._now()))
            return await _present(connection, order.id)

    async def _read(self, query: sa.Select[Any]) -> list[Order]:
        async with self._store.reading() as connection:
            return [stored_order(row) for row in await connection.execute(query)]


async def _present(connection: AsyncConnection, order: str) -> Order:
    """The order as it is now, its row locked until the transaction ends."""
    row = (await connection.execute(sa.select(orders).where(orders.c.id == order).with_for_update())).one_or_none()
    if row is None:
        raise OrderUnknownError("There is no such order.")
    return stored_order(row)


async def _check_kept(connection: AsyncConnection, order: Order) -> None:
    kept = sa.select(packets.c.serial).where(packets.c.sha256 == order.packet_sha256)
    if (await connection.execute(kept)).first() is None:
        raise OrderGoneError("The packet of this order was deleted when its time was over.")


def _of(query: sa.Select[Any], producer: str | None) -> sa.Select[Any]:
    return query if producer is None else query.where(orders.c.producer == producer)
