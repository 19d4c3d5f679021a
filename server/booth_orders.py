"""Orders for booths as rows: given by a desk, pulled by the booth, answered once (crypto/booth_order.py has the documents).

Rules
    A desk gives an order to a booth that it knows, signs it, and keeps it; it waits until the booth answers, until it is taken back, or until its end. At
        most MOST_WAITING wait for one booth, and of each kind one: a second one is refused, because it would say the same.
    Numbers of one booth only grow, and are never below the time in seconds: a booth does nothing with a number that is not above the last one it took, so they must
        grow also when the database was restored from an older backup.
    The row's columns repeat what the document says, for lists alone: a booth believes the document, a desk shows what the document and the answer say.
    An answer is the booth's last word: the same again changes nothing, another one is refused. A bundle lies here sealed for the desk, and is
        taken while its order is unanswered; it goes after BUNDLE_DAYS, an order after ORDER_DAYS.
    These rows are changed and removed, so no chain holds them; that an order was given, and by whom, is in the audit log.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.booth_order import BoothAnswer, OrderKind, sign_booth_order
from crypto.errors import CryptoError
from crypto.keys import Signer
from server.booth_order_errors import (
    BoothOrderAnsweredError,
    BoothOrderRefusedError,
    BoothOrdersUnavailableError,
    BoothOrderUnknownError,
    BundleUnavailableError,
)
from server.fleet_rows import booths
from server.store import Store, UtcDateTime, metadata

MOST_WAITING = 4
ORDER_DAYS, BUNDLE_DAYS = 400, 14
LIFE = timedelta(days=2)

booth_orders = sa.Table(
    "booth_orders",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("booth", sa.String(64), nullable=False),
    sa.Column("number", sa.BigInteger(), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("made_at", UtcDateTime(), nullable=False, index=True),
    sa.Column("expires_at", UtcDateTime(), nullable=False),
    sa.Column("document", sa.LargeBinary(), nullable=False),
    sa.Column("withdrawn_at", UtcDateTime(), nullable=True),
    sa.Column("answered_at", UtcDateTime(), nullable=True),
    sa.Column("outcome", sa.String(16), nullable=True),
    sa.Column("answer", sa.LargeBinary(), nullable=True),
    # Of two desks that number at once, the first commits.
    sa.UniqueConstraint("booth", "number", name="uq_booth_orders_booth_number"),
)

booth_bundles = sa.Table(
    "booth_bundles",
    metadata,
    sa.Column("order_id", sa.String(32), primary_key=True),
    sa.Column("received_at", UtcDateTime(), nullable=False, index=True),
    sa.Column("sealed", sa.LargeBinary(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """One row of `booth_orders`."""

    id: str
    booth: str
    number: int
    kind: str
    made_at: datetime
    expires_at: datetime
    document: bytes
    withdrawn_at: datetime | None
    answered_at: datetime | None
    outcome: str | None
    answer: bytes | None

    def waits(self, now: datetime) -> bool:
        """Whether the booth may still take it."""
        return self.answered_at is None and self.withdrawn_at is None and now < self.expires_at


class BoothOrders:
    """The orders of all booths. Without a `signer` none is given."""

    def __init__(self, store: Store, now: Callable[[], datetime], signer: Callable[[], Signer] | None = None) -> None:
        self._store, self._now, self._signer = store, now, signer

    @property
    def can_give(self) -> bool:
        """Whether this desk can sign orders."""
        return self._signer is not None

    # --- the desk ------------------------------------------------------------------------------------------------------

    async def give(self, booth: str, kind: OrderKind, arguments: Mapping[str, str], by: str) -> StoredOrder:
        """A new order. Raises `BoothOrdersUnavailableError`, `BoothOrderRefusedError`."""
        if self._signer is None:
            raise BoothOrdersUnavailableError("This desk has no key for decisions: set decision_signer.")
        now = self._now().replace(microsecond=0)
        async with self._store.writing() as connection:
            number = await self._next_number(connection, booth, kind, now)
            order = uuid.uuid4().hex
            try:
                document = sign_booth_order(
                    order=order,
                    booth=booth,
                    number=number,
                    kind=kind,
                    arguments=arguments,
                    at=now,
                    life=LIFE,
                    by=by,
                    signer=self._signer(),
                )
            except CryptoError as error:
                raise BoothOrderRefusedError(str(error)) from error
            row = {"id": order, "booth": booth, "number": number, "kind": kind.value, "document": document}
            row |= {"made_at": now, "expires_at": now + LIFE}
            await connection.execute(sa.insert(booth_orders).values(**row))
            return await _find(connection, order)

    async def _next_number(self, connection: AsyncConnection, booth: str, kind: OrderKind, now: datetime) -> int:
        """The number of the next order; nobody else numbers for this booth meanwhile. Raises `BoothOrderRefusedError`."""
        known = sa.select(booths.c.retired_at).where(booths.c.booth == booth).with_for_update()
        found = (await connection.execute(known)).one_or_none()
        if found is None or found.retired_at is not None:
            raise BoothOrderRefusedError("This desk knows no such booth, or it is retired.")
        waiting = sa.select(booth_orders.c.kind).where(*_waiting(booth, now))
        kinds = (await connection.execute(waiting)).scalars().all()
        if kind.value in kinds:
            raise BoothOrderRefusedError("An order of this kind waits for the booth already.")
        if len(kinds) >= MOST_WAITING:
            raise BoothOrderRefusedError(f"{MOST_WAITING} orders wait for this booth: wait, or take one back.")
        last = sa.select(sa.func.max(booth_orders.c.number)).where(booth_orders.c.booth == booth)
        return max(((await connection.execute(last)).scalar_one() or 0) + 1, int(now.timestamp()))

    async def withdraw(self, order: str) -> StoredOrder:
        """Takes back an order that the booth has not answered; it may be doing it already. Raises `BoothOrderUnknownError`, `BoothOrderRefusedError`."""
        async with self._store.writing() as connection:
            found = await _find(connection, order, lock=True)
            if found.answered_at is not None:
                raise BoothOrderRefusedError("The booth has answered this order: it cannot be taken back.")
            change = sa.update(booth_orders).where(booth_orders.c.id == order, booth_orders.c.withdrawn_at.is_(None))
            await connection.execute(change.values(withdrawn_at=self._now()))
            return await _find(connection, order)

    async def listed(self, booth: str, limit: int) -> list[StoredOrder]:
        """A booth's orders, newest first."""
        query = sa.select(booth_orders).where(booth_orders.c.booth == booth)
        async with self._store.reading() as connection:
            rows = await connection.execute(query.order_by(booth_orders.c.number.desc()).limit(limit))
            return [_stored(row) for row in rows]

    async def find(self, order: str, booth: str | None = None) -> StoredOrder:
        """An order; with `booth` only one of its. Raises `BoothOrderUnknownError`."""
        async with self._store.reading() as connection:
            return await _find(connection, order, booth)

    async def bundle(self, order: str) -> bytes:
        """The sealed bundle of an order. Raises `BundleUnavailableError`."""
        async with self._store.reading() as connection:
            query = sa.select(booth_bundles.c.sealed).where(booth_bundles.c.order_id == order)
            sealed = (await connection.execute(query)).scalar_one_or_none()
        if sealed is None:
            raise BundleUnavailableError(f"There is no bundle of this order; a bundle is kept for {BUNDLE_DAYS} days.")
        return bytes(sealed)

    async def bundled(self, orders: list[str]) -> frozenset[str]:
        """Which of these orders have a bundle."""
        async with self._store.reading() as connection:
            query = sa.select(booth_bundles.c.order_id).where(booth_bundles.c.order_id.in_(orders))
            return frozenset((await connection.execute(query)).scalars())

    # --- the intake ----------------------------------------------------------------------------------------------------

    async def waiting(self, booth: str) -> list[StoredOrder]:
        """What waits for a booth, in its order."""
        query = sa.select(booth_orders).where(*_waiting(booth, self._now())).order_by(booth_orders.c.number)
        async with self._store.reading() as connection:
            return [_stored(row) for row in await connection.execute(query)]

    async def count_waiting(self, booth: str) -> int:
        """How many wait for a booth."""
        query = sa.select(sa.func.count()).select_from(booth_orders).where(*_waiting(booth, self._now()))
        async with self._store.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def answer(self, order: StoredOrder, given: BoothAnswer, data: bytes) -> StoredOrder:
        """Notes a booth's verified answer. Raises `BoothOrderAnsweredError`, `BoothOrderUnknownError`."""
        async with self._store.writing() as connection:
            found = await _find(connection, order.id, lock=True)
            if found.answer is not None:
                if found.answer != data:
                    raise BoothOrderAnsweredError("This order has another answer.")
                return found
            change = sa.update(booth_orders).where(booth_orders.c.id == order.id)
            told = {"answered_at": given.answered_at, "outcome": given.outcome.value, "answer": data}
            await connection.execute(change.values(**told))
            return await _find(connection, order.id)

    async def keep_bundle(self, order: StoredOrder, sealed: bytes) -> None:
        """Keeps the sealed bundle of an order that is not answered yet; a later one takes its place. Raises `BoothOrderAnsweredError`."""
        async with self._store.writing() as connection:
            found = await _find(connection, order.id, lock=True)
            if found.answered_at is not None:
                raise BoothOrderAnsweredError("This order is answered: nothing more is taken for it.")
            await connection.execute(sa.delete(booth_bundles).where(booth_bundles.c.order_id == order.id))
            kept = {"order_id": order.id, "received_at": self._now(), "sealed": sealed}
            await connection.execute(sa.insert(booth_bundles).values(**kept))

    async def forget_old(self) -> int:
        """Removes what is past its time; returns how many rows."""
        now = self._now()
        old_bundle = booth_bundles.c.received_at < now - timedelta(days=BUNDLE_DAYS)
        old_order = booth_orders.c.made_at < now - timedelta(days=ORDER_DAYS)
        async with self._store.writing() as connection:
            bundles = await connection.execute(sa.delete(booth_bundles).where(old_bundle))
            gone = await connection.execute(sa.delete(booth_orders).where(old_order))
            return int(bundles.rowcount) + int(gone.rowcount)


def _waiting(booth: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    its = booth_orders.c
    return its.booth == booth, its.answered_at.is_(None), its.withdrawn_at.is_(None), its.expires_at > now


async def _find(
    connection: AsyncConnection, order: str, booth: str | None = None, *, lock: bool = False
) -> StoredOrder:
    query = sa.select(booth_orders).where(booth_orders.c.id == order)
    if booth is not None:
        query = query.where(booth_orders.c.booth == booth)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise BoothOrderUnknownError("There is no such order.")
    return _stored(row)


def _stored(row: Row[Any]) -> StoredOrder:
    return StoredOrder(**row._mapping)  # noqa: SLF001 (the documented way to read a row by names)
