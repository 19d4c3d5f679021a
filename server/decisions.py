"""Accepting a packet at the desk, and handing it over: decided once, sealed for the producer, ready for him when all of it is durable.

Order of operation of an acceptance
  1. The packet is open (verified by server/opening.py). A decision that is there already is the answer, whoever asks.
  2. The decision is signed, and with it the booth's unchanged CMS becomes a message sealed for the producer's present keys (crypto/handover.py).
  3. The message is made durable in the place's `orders`, under its digest.
  4. One transaction: the packet's row is locked (gone: nothing is accepted), so that nobody else decides about it → is there a decision now? then that one
     counts → the turn is taken (server/handover_rows.py), so that no other desk numbers anything meanwhile → the decision's link is signed → decision and
     order → commit.
A crash or a second officer between 3 and 4 leaves a message without a row, which nobody is shown and the orphan collector removes. There is never an order
without its message, nor two decisions.

Sending anew does the same from step 2 on with the decision that there is, for the keys of now; the old order is superseded in the commit of the new one, and
of several desks that do it at once one commits (`resend_of` is unique, and the old row is looked at again under its lock). An order that its producer accepted
meanwhile is not sent anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.decision import sign_decision, sign_link
from crypto.errors import CryptoError, HandOverError
from crypto.handover import make_message, sign_order
from crypto.issuance import check_identity
from crypto.keys import RecipientPublicKey, Signer
from crypto.seal import Opened
from crypto.trust import Purpose, check_leaf, common_name
from server.deletions import lock_packet
from server.errors import ServerError, StorageCorruptError, UnknownPacketError
from server.handover_errors import AcceptRefusedError, HandOverUnavailableError
from server.handover_rows import (
    Order,
    StoredDecision,
    decisions,
    orders,
    stored_decision,
    stored_order,
    take_turn,
)
from server.objects import ObjectStore
from server.opening import Opener
from server.orders import Orders
from server.producers import keys_of, producer_names
from server.store import Store, StoredPacket

log = logging.getLogger(__name__)

T = TypeVar("T")

# How often a desk looks for orders to send anew, and after how long one that could not be sent is tried again.
LOOK_S = 15.0
AGAIN_S = 900.0
AT_ONCE = 20


@dataclass(frozen=True)
class HandOverRooms:
    """What the hand-over works with."""

    store: Store
    messages: ObjectStore
    opener: Opener
    producers: Path | None
    signer: Callable[[], Signer] | None
    answer_within: timedelta
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class _Made:
    """A message that is durable, and what its order will say."""

    id: str
    producer: str
    message_sha256: str
    size: int
    created_at: datetime
    answer_by: datetime
    note: bytes
    resend_of: str | None


class HandOver:
    """The desk's hand-over."""

    def __init__(self, rooms: HandOverRooms) -> None:
        self._rooms = rooms
        self.orders = Orders(rooms.store, rooms.now)
        self._again_at: dict[str, datetime] = {}  # orders that could not be sent anew just now

    async def producers(self) -> list[str]:
        """Whom this desk can hand over to; nobody without a key for decisions."""
        if self._rooms.signer is None:
            return []
        return await asyncio.to_thread(producer_names, self._rooms.producers)

    async def decision(self, packet_sha256: str) -> StoredDecision | None:
        """What was decided about a packet."""
        async with self._rooms.store.reading() as connection:
            return await _decision(connection, packet_sha256)

    async def decided(self, digests: Collection[str]) -> set[str]:
        """Those of these packets about which something was decided."""
        query = sa.select(decisions.c.packet_sha256).where(decisions.c.packet_sha256.in_(digests))
        async with self._rooms.store.reading() as connection:
            return set((await connection.execute(query)).scalars())

    async def accept(self, stored: StoredPacket, producer: str, officer: str) -> StoredDecision:
        """Accept a packet for a producer; the decision that counts. Raises `AcceptRefusedError`, `HandOverUnavailableError`, what opening raises."""
        if (present := await self.decision(stored.sha256)) is not None:
            return present
        if producer not in await self.producers():
            raise AcceptRefusedError("There is no such producer: choose one that the desk names.")
        try:
            opened = (await self._rooms.opener.content(stored)).opened
        except StorageCorruptError as error:
            if await self._rooms.store.find(stored.sha256) is None:
                raise UnknownPacketError("The packet was deleted meanwhile.") from error
            raise
        at = self._at()

        def decide(signer: Signer) -> bytes:
            return sign_decision(
                packet_sha256=stored.sha256,
                packet_id=stored.packet_id,
                cms=opened.cms,
                verdict="accepted",
                officer=officer,
                at=at,
                signer=signer,
            )

        decision = await self._signed(decide)
        made = await self._make(stored, opened, decision, producer, None)
        async with self._rooms.store.writing() as connection:
            if await lock_packet(connection, stored.sha256) is None:
                raise UnknownPacketError("The packet was deleted meanwhile.")
            if (present := await _decision(connection, stored.sha256)) is not None:
                return present  # another officer was faster
            cursor = await take_turn(connection)
            row = await self._link(connection, stored.sha256, decision, at)
            await connection.execute(sa.insert(decisions).values(row))
            await connection.execute(sa.insert(orders).values(_columns(made, stored.sha256, cursor)))
        log.info("A packet was accepted.", extra={"packet": stored.sha256[:16]})
        return StoredDecision(**row)

    async def resend(self, order: Order) -> bool:
        """Send an order anew; says whether this desk did. Raises `ServerError` when it cannot be done."""
        decision = await self.decision(order.packet_sha256)
        stored = await self._rooms.store.find(order.packet_sha256)
        if decision is None or stored is None:
            raise StorageCorruptError("An order has no packet or no decision: look with `intake log verify`.")
        opened = (await self._rooms.opener.content(stored)).opened
        made = await self._make(stored, opened, decision.decision, order.producer, order.id)
        async with self._rooms.store.writing() as connection:
            if await lock_packet(connection, stored.sha256) is None:
                return False
            locked = sa.select(orders).where(orders.c.id == order.id).with_for_update()
            old = stored_order((await connection.execute(locked)).one())
            if old.superseded_at is not None or old.answer_verdict == "accepted":
                return False
            cursor = await take_turn(connection)
            change = sa.update(orders).where(orders.c.id == order.id).values(superseded_at=made.created_at)
            await connection.execute(change)
            await connection.execute(sa.insert(orders).values(_columns(made, stored.sha256, cursor)))
        log.info("An order was sent anew.", extra={"packet": stored.sha256[:16]})
        return True

    async def send_anew(self) -> int:
        """Send what is asked for anew, as far as it can be; how many. What cannot is tried again later."""
        now, done = self._rooms.now(), 0
        asked = await self.orders.asked(AT_ONCE + len(self._again_at))
        self._again_at = {one.id: self._again_at[one.id] for one in asked if one.id in self._again_at}
        for order in asked:
            if self._again_at.get(order.id, now) > now:
                continue
            try:
                done += await self.resend(order)
            except ServerError as error:
                self._again_at[order.id] = now + timedelta(seconds=AGAIN_S)
                told = {"code": error.code, "packet": order.packet_sha256[:16]}
                log.warning("An order could not be sent anew.", exc_info=error, extra=told)
        return done

    async def work(self) -> None:
        """Send anew what is asked for, again and again; ends when cancelled."""
        while True:
            try:
                if self._rooms.signer is not None:
                    await self.send_anew()
            except ServerError as error:
                log.warning("Orders cannot be looked at.", exc_info=error, extra={"code": error.code})
            except Exception:  # told, and looked at again: nobody would notice that a desk sends nothing anew
                log.exception("Sending anew failed.")
            await asyncio.sleep(LOOK_S)

    async def _make(
        self, stored: StoredPacket, opened: Opened, decision: bytes, producer: str, resend_of: str | None
    ) -> _Made:
        """A message and its note, the message durable."""
        keys: list[RecipientPublicKey] = await asyncio.to_thread(keys_of, self._rooms.producers, producer)
        at, order = self._at(), secrets.token_hex(16)
        answer_by = at + self._rooms.answer_within

        def make(signer: Signer) -> tuple[bytes, bytes]:
            message = make_message(opened.cms, decision, opened.manifest, keys, signer, at)
            note = sign_order(
                order=order,
                packet_sha256=stored.sha256,
                producer=producer,
                recipients=[key.key_id for key in keys],
                message=message,
                at=at,
                answer_by=answer_by,
                resend_of=resend_of,
                signer=signer,
            )
            return message, note

        message, note = await self._signed(make)
        digest = hashlib.sha256(message).hexdigest()
        async with self._rooms.messages.writer() as writer:
            await writer.write(message)
            await writer.keep(digest)
        return _Made(order, producer, digest, len(message), at, answer_by, note, resend_of)

    async def _link(
        self, connection: AsyncConnection, packet_sha256: str, decision: bytes, at: datetime
    ) -> dict[str, Any]:
        """The row of a decision at the end of the chain."""
        query = sa.select(decisions.c.number, decisions.c.link).order_by(decisions.c.number.desc()).limit(1)
        last = (await connection.execute(query)).one_or_none()
        number, previous = (1, None) if last is None else (last.number + 1, bytes(last.link))
        link_at = self._at()

        def link(signer: Signer) -> bytes:
            return sign_link(number=number, decision=decision, previous=previous, at=link_at, signer=signer)

        signed = await self._signed(link)
        return {
            "number": number,
            "packet_sha256": packet_sha256,
            "decided_at": at,
            "verdict": "accepted",
            "decision": decision,
            "link": signed,
        }

    async def _signed(self, work: Callable[[Signer], T]) -> T:
        """What `work` makes with the present signer, off the event loop: a token takes its time."""
        source = self._rooms.signer
        if source is None:
            raise HandOverUnavailableError("This desk has no key for decisions (decision_signer).")
        with _translated():
            return await asyncio.to_thread(lambda: work(source()))

    def _at(self) -> datetime:
        return self._rooms.now().replace(microsecond=0)


def check_signer(signer: Signer) -> None:
    """That somebody would believe this key's decisions, told at the start instead of to an officer. Raises CryptoError."""
    check_leaf(signer.certificate, Purpose.DESK)
    check_identity(common_name(signer.certificate))


async def _decision(connection: AsyncConnection, packet_sha256: str) -> StoredDecision | None:
    query = sa.select(decisions).where(decisions.c.packet_sha256 == packet_sha256)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else stored_decision(row)


def _columns(made: _Made, packet_sha256: str, cursor: int) -> dict[str, Any]:
    return {
        "id": made.id,
        "cursor": cursor,
        "packet_sha256": packet_sha256,
        "producer": made.producer,
        "message_sha256": made.message_sha256,
        "size": made.size,
        "created_at": made.created_at,
        "answer_by": made.answer_by,
        "note": made.note,
        "resend_of": made.resend_of,
    }


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except HandOverError as error:
        raise AcceptRefusedError("The packet cannot be handed over: it is too large for a message.") from error
    except CryptoError as error:
        raise HandOverUnavailableError(
            "This desk cannot sign decisions just now: look at its key and its certificate."
        ) from error
