"""What the desk decides about a packet: accepted and handed over, by one person or two, or refused with reasons. Decided once, durable as a whole or not at all.

Order of operation of an acceptance
  1. The packet is open (verified by server/opening.py). A decision that is there already is the answer, whoever asks; one that says otherwise is told.
  2. Where one person is not enough (server/second_person.py) nothing is decided: `propose` keeps the first person's signed word, `approve` goes on with it.
  3. The decision is signed, and with it the booth's unchanged CMS becomes a message sealed for the producer's present keys (crypto/handover.py).
  4. The message is made durable in the place's `orders`, under its digest.
  5. One transaction: the packet's row is locked (gone: nothing is accepted), so that nobody else decides about it → is there a decision now? then that one
     counts → of two persons: does the proposal stand, as it was signed, and is the second person another one? → the turn is taken
     (server/handover_rows.py), so that no other desk numbers anything meanwhile → the decision's link is signed → decision, order, and what the applicant may know (server/application_rows.py) → commit.
A crash or a second officer between 4 and 5 leaves a message without a row, which nobody is shown and the orphan collector removes. There is never an order
without its message, nor two decisions, nor a decision that the applicant is not told of. A refusal is the same without message and order: the packet goes nowhere.

Sending anew does the same from step 3 on with the decision that there is, for the keys of now; the old order is superseded in the commit of the new one, and
of several desks that do it at once one commits (`resend_of` is unique, and the old row is looked at again under its lock). An order that its producer accepted
meanwhile is not sent anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.decision import Decision, sign_decision, sign_link, verify_decision
from crypto.errors import DecisionError
from crypto.issuance import check_identity
from crypto.keys import Signer
from crypto.seal import Opened
from crypto.trust import Purpose, check_leaf, common_name
from server.application_rows import decide_capture
from server.applications import Outcome, are_reasons_right
from server.decision_errors import (
    DecidedOtherwiseError,
    ProposalGoneError,
    RefusalReasonsError,
    SamePersonError,
    SecondPersonError,
)
from server.deletions import lock_packet
from server.errors import ServerError, StorageCorruptError, UnknownPacketError
from server.handover_errors import AcceptRefusedError
from server.handover_rows import (
    Order,
    StoredDecision,
    decisions,
    lock_turn,
    orders,
    stored_decision,
    stored_order,
    take_turn,
)
from server.objects import ObjectStore
from server.opening import Opener, PacketContent
from server.order_making import DecisionKey, OrderMaker
from server.orders import Orders
from server.producers import producer_names
from server.proposals import (
    StoredProposal,
    append_proposal,
    open_proposal,
    proposal_faults,
    proposals_of,
    record_before,
)
from server.queue_reader import states_of
from server.queue_rows import QueueState, note_state
from server.second_person import Cause, Objection, causes_of
from server.store import Store, StoredPacket

log = logging.getLogger(__name__)

ACCEPTED, REFUSED = "accepted", "refused"
# What the applicant may know of a verdict.
OUTCOMES = {ACCEPTED: Outcome.ACCEPTED, REFUSED: Outcome.RETAKE}

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
    # Whether the desk's own check objects to the portrait (server/own_check.py); None checks nothing.
    check_objects: Callable[[PacketContent], Awaitable[bool]] | None = None
    # Whether its portrait came for another application, too (server/duplicates.py); None looks for none.
    is_copy: Callable[[PacketContent], Awaitable[bool]] | None = None


class HandOver:
    """The desk's hand-over."""

    def __init__(self, rooms: HandOverRooms) -> None:
        self._rooms = rooms
        self.orders = Orders(rooms.store, rooms.now)
        self._key = DecisionKey(rooms.signer)
        self._maker = OrderMaker(rooms.messages, rooms.producers, self._key, rooms.answer_within)
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

    async def read(self, stored: StoredDecision) -> Decision:
        """What a decision says. Raises `DecisionError` when its signature does not count, or the row says something else."""
        said = verify_decision(stored.decision, await self._rooms.opener.trust())
        if (said.packet_sha256, said.verdict) != (stored.packet_sha256, stored.verdict):
            raise DecisionError("The decision is of another packet, or another one than its row says.")
        return said

    async def standing(self, digests: Collection[str]) -> dict[str, QueueState]:
        """How far each of these packets is."""
        async with self._rooms.store.reading() as connection:
            return await states_of(connection, digests)

    async def proposal(self, packet_sha256: str) -> StoredProposal | None:
        """The proposal that stands for a packet."""
        async with self._rooms.store.reading() as connection:
            return await open_proposal(connection, packet_sha256)

    async def proposals(self, packet_sha256: str) -> list[StoredProposal]:
        """Everything that was proposed about a packet, oldest first."""
        async with self._rooms.store.reading() as connection:
            return await proposals_of(connection, packet_sha256)

    async def causes(self, content: PacketContent) -> tuple[Cause, ...]:
        """Why a second person has to accept an opened packet; empty where one is enough.

        What was a cause once stays one: the desk's own check may not be there the next time. It is made only where nothing else asks for a second person.
        """
        copied = self._rooms.is_copy is not None and await self._rooms.is_copy(content)
        if told := (*causes_of(content.report, content.visit, content.pad), *((Cause.COPY,) if copied else ())):
            return told
        for row in reversed(await self.proposals(content.stored.sha256)):
            if row.causes:  # a row that says what no desk says is a cause all the same
                known = tuple(Cause(cause) for cause in row.causes.split() if cause in set(Cause))
                return known or (Cause.RECHECK,)
        check = self._rooms.check_objects
        return (Cause.RECHECK,) if check is not None and await check(content) else ()

    async def accept(self, stored: StoredPacket, producer: str, officer: str) -> StoredDecision:
        """Accept a packet for a producer; the decision that counts.

        Raises `SecondPersonError` where one person is not enough, `DecidedOtherwiseError`, `AcceptRefusedError`, `HandOverUnavailableError`, what opening raises.
        """
        if (present := await self.decision(stored.sha256)) is not None:
            return _same(present, ACCEPTED)
        await self._check_producer(producer)
        content = await self._content(stored)
        if await self.causes(content):
            raise SecondPersonError(
                "One person's acceptance is not enough for this packet: propose it to a second one."
            )
        return await self._accept(stored, content.opened, producer, officer)

    async def propose(self, stored: StoredPacket, producer: str, officer: str) -> StoredProposal:
        """Propose to a second person that a packet be accepted; the proposal that stands. Raises as `accept` does, and `ProposalGoneError` where none is needed."""
        await self._check_producer(producer)
        causes = await self.causes(await self._content(stored))
        if not causes:
            raise ProposalGoneError("This packet needs no second person: accept it.")
        signer = self._key.source()
        async with self._rooms.store.writing() as connection:
            await self._lock_undecided(connection, stored.sha256)
            if (present := await open_proposal(connection, stored.sha256)) is not None:
                return present
            made = await append_proposal(
                connection,
                signer,
                packet_sha256=stored.sha256,
                action="proposed",
                producer=producer,
                causes=causes,
                officer=officer,
                at=self._at(),
            )
            await note_state(connection, stored.sha256, QueueState.PROPOSED)
        log.info("An acceptance was proposed to a second person.", extra={"packet": stored.sha256[:16]})
        return made

    async def approve(self, stored: StoredPacket, number: int, officer: str) -> StoredDecision:
        """Accept, as the second person, what the proposal with this number proposes. Raises as `accept` does, `ProposalGoneError`, `SamePersonError`."""
        if (present := await self.decision(stored.sha256)) is not None:
            return _same(present, ACCEPTED)
        async with self._rooms.store.reading() as connection:
            proposal = await _standing_proposal(connection, stored.sha256, number, officer)
            before = await record_before(connection, number)
        await self._check_signed(proposal, before)
        assert proposal.producer is not None
        await self._check_producer(proposal.producer)
        opened = (await self._content(stored)).opened
        return await self._accept(stored, opened, proposal.producer, officer, proposal)

    async def end_proposal(
        self, stored: StoredPacket, number: int, officer: str, objection: Objection | None = None
    ) -> None:
        """Withdraw one's own proposal, or reject another person's with an objection. Raises `ProposalGoneError`, `SamePersonError`."""
        signer = self._key.source()
        async with self._rooms.store.writing() as connection:
            await self._lock_undecided(connection, stored.sha256)
            proposal = await open_proposal(connection, stored.sha256)
            if proposal is None or proposal.number != number:
                raise ProposalGoneError("The proposal does not stand any more: look at the packet again.")
            if (proposal.officer == officer) is (objection is not None):
                raise SamePersonError("A proposal is withdrawn by who made it, and rejected by another person.")
            await append_proposal(
                connection,
                signer,
                packet_sha256=stored.sha256,
                action="withdrawn" if objection is None else "rejected",
                reason=objection,
                officer=officer,
                at=self._at(),
            )
            await note_state(connection, stored.sha256, QueueState.WAITING)
        log.info("A proposal ended.", extra={"packet": stored.sha256[:16]})

    async def refuse(self, stored: StoredPacket, reasons: Sequence[str], officer: str) -> StoredDecision:
        """Refuse a packet with reasons for its applicant; the decision that counts. Raises `RefusalReasonsError`, and as `accept` does."""
        if not are_reasons_right(Outcome.RETAKE, reasons):
            raise RefusalReasonsError("A refusal has one to three of the known reasons, each once.")
        if (present := await self.decision(stored.sha256)) is not None:
            return _same(present, REFUSED)
        opened, at = (await self._content(stored)).opened, self._at()
        said: dict[str, Any] = {"verdict": REFUSED, "reasons": tuple(reasons), "officer": officer}
        decision = await self._key.signed(lambda signer: _decide(signer, stored, opened, at, **said))
        async with self._rooms.store.writing() as connection:
            await self._lock(connection, stored.sha256)
            if (present := await _decision(connection, stored.sha256)) is not None:
                return _same(present, REFUSED)
            await lock_turn(connection)
            row = await self._write(connection, stored.sha256, decision, at, REFUSED, reasons)
        log.info("A packet was refused.", extra={"packet": stored.sha256[:16]})
        return row

    async def _accept(
        self,
        stored: StoredPacket,
        opened: Opened,
        producer: str,
        officer: str,
        proposal: StoredProposal | None = None,
    ) -> StoredDecision:
        """From step 3 on; the second person's with the proposal of the first."""
        at, first = self._at(), officer if proposal is None else proposal.officer
        said = {"verdict": ACCEPTED, "officer": first, "second_officer": None if proposal is None else officer}
        decision = await self._key.signed(lambda signer: _decide(signer, stored, opened, at, **said))
        made = await self._maker.make(stored, opened, decision, producer, at)
        async with self._rooms.store.writing() as connection:
            await self._lock(connection, stored.sha256)
            if (present := await _decision(connection, stored.sha256)) is not None:
                return _same(present, ACCEPTED)  # another officer was faster
            if proposal is not None:
                if await _standing_proposal(connection, stored.sha256, proposal.number, officer) != proposal:
                    raise ProposalGoneError("The proposal was changed meanwhile: look at the packet again.")
            elif await proposals_of(connection, stored.sha256):  # somebody proposed it meanwhile
                raise SecondPersonError("One person's acceptance is not enough for this packet: it was proposed.")
            cursor = await take_turn(connection)
            row = await self._write(connection, stored.sha256, decision, at, ACCEPTED, ())
            await connection.execute(sa.insert(orders).values(made.columns(stored.sha256, cursor)))
        log.info("A packet was accepted.", extra={"packet": stored.sha256[:16]})
        return row

    async def resend(self, order: Order) -> bool:
        """Send an order anew; says whether this desk did. Raises `ServerError` when it cannot be done."""
        decision = await self.decision(order.packet_sha256)
        stored = await self._rooms.store.find(order.packet_sha256)
        if decision is None or stored is None:
            raise StorageCorruptError("An order has no packet or no decision: look with `intake log verify`.")
        await self._check_accepted(decision)
        opened = (await self._rooms.opener.content(stored)).opened
        made = await self._maker.make(stored, opened, decision.decision, order.producer, self._at(), order.id)
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
            await connection.execute(sa.insert(orders).values(made.columns(stored.sha256, cursor)))
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

    async def _write(
        self,
        connection: AsyncConnection,
        packet_sha256: str,
        decision: bytes,
        at: datetime,
        verdict: str,
        reasons: Sequence[str],
    ) -> StoredDecision:
        """Put a decision at the end of the chain, and tell its applicant; with the packet's row and the turn."""
        query = sa.select(decisions.c.number, decisions.c.link).order_by(decisions.c.number.desc()).limit(1)
        last = (await connection.execute(query)).one_or_none()
        number, previous = (1, None) if last is None else (last.number + 1, bytes(last.link))
        link_at = self._at()

        def link(signer: Signer) -> bytes:
            return sign_link(number=number, decision=decision, previous=previous, at=link_at, signer=signer)

        signed = await self._key.signed(link)
        row = StoredDecision(number, packet_sha256, at, verdict, decision, signed)
        await connection.execute(sa.insert(decisions).values(asdict(row)))
        await note_state(connection, packet_sha256, QueueState(verdict))
        await decide_capture(connection, packet_sha256, OUTCOMES[verdict], reasons, at)
        return row

    async def _content(self, stored: StoredPacket) -> PacketContent:
        """The opened packet. Raises what opening raises, `UnknownPacketError` for one that was deleted meanwhile."""
        try:
            return await self._rooms.opener.content(stored)
        except StorageCorruptError as error:
            if await self._rooms.store.find(stored.sha256) is None:
                raise UnknownPacketError("The packet was deleted meanwhile.") from error
            raise

    async def _check_signed(self, proposal: StoredProposal, before: bytes | None) -> None:
        """That the first person's word is his: who can write rows is no person. Raises `ProposalGoneError`."""
        trust = await self._rooms.opener.trust()
        if await asyncio.to_thread(lambda: list(proposal_faults(proposal, before, trust))):
            log.error("A proposal is not one that a desk signed.", extra={"packet": proposal.packet_sha256[:16]})
            raise ProposalGoneError("The proposal is not one that a desk signed: look with `intake log verify`.")

    async def _check_accepted(self, decision: StoredDecision) -> None:
        """That a desk signed that this packet goes to a producer: who can write rows sends nothing. Raises `StorageCorruptError`."""
        try:
            said = await self.read(decision)
        except DecisionError as error:
            raise StorageCorruptError("An order has no genuine decision: look with `intake log verify`.") from error
        if said.verdict != ACCEPTED:
            raise StorageCorruptError("An order is of a packet that was not accepted: look with `intake log verify`.")

    async def _check_producer(self, producer: str) -> None:
        if producer not in await self.producers():
            raise AcceptRefusedError("There is no such producer: choose one that the desk names.")

    async def _lock(self, connection: AsyncConnection, packet_sha256: str) -> None:
        """The packet's row is this transaction's, or the packet is gone."""
        if await lock_packet(connection, packet_sha256) is None:
            raise UnknownPacketError("The packet was deleted meanwhile.")

    async def _lock_undecided(self, connection: AsyncConnection, packet_sha256: str) -> None:
        await self._lock(connection, packet_sha256)
        if await _decision(connection, packet_sha256) is not None:
            raise DecidedOtherwiseError("The packet was decided meanwhile: look at it again.")

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


async def _standing_proposal(
    connection: AsyncConnection, packet_sha256: str, number: int, officer: str
) -> StoredProposal:
    """The proposal that this person may approve. Raises `ProposalGoneError`, `SamePersonError`."""
    proposal = await open_proposal(connection, packet_sha256)
    if proposal is None or proposal.number != number:
        raise ProposalGoneError("The proposal does not stand any more: look at the packet again.")
    if proposal.officer == officer:
        raise SamePersonError("Who proposed this cannot approve it: another person has to.")
    return proposal


def _same(present: StoredDecision, verdict: str) -> StoredDecision:
    if present.verdict != verdict:
        raise DecidedOtherwiseError("Somebody else has decided otherwise meanwhile: look at the packet again.")
    return present


def _decide(signer: Signer, stored: StoredPacket, opened: Opened, at: datetime, **said: Any) -> bytes:
    packet_sha256, packet_id = stored.sha256, stored.packet_id
    return sign_decision(packet_sha256=packet_sha256, packet_id=packet_id, cms=opened.cms, at=at, signer=signer, **said)
