"""Reading packets for the queue: each new one is opened once, in the order of the receipt log, and what lists need of it is kept (server/desk_terms.py).

Order of operation
  look: every `LOOK_S` the log's newest position is compared with the mark; nothing new costs two small questions and writes nothing.
  read: of several desks one has the job's lease (server/jobs.py) → a batch of packets behind the mark is opened, one at a time, so that an officer's
     page waits for one packet at most → one transaction: the packets' rows are locked, so that nobody decides or deletes meanwhile → their states are read → rows
     and terms are written → the mark moves → commit. A crash before it reads the batch again; done twice it is the same.
  judge anew: when roots, revocations, keys or the terms' version change, every packet that is still open is read again.
A packet that does not open has its row as such: it waits for an officer like any other. A store that does not answer stops the reading until the next look.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application_rows import captures
from server.applications import Outcome
from server.desk_terms import DeskTerms, Reading
from server.errors import PacketNotOpenedError, ServerError, StorageCorruptError
from server.handover_rows import decisions
from server.jobs import Job, Jobs
from server.opening import Opener
from server.proposals import proposed_packets
from server.queue_errors import QueueSecretError
from server.queue_rows import OPEN_STATES, QueueRow, QueueState, put_packets, queue_mark, queue_packets
from server.store import LISTED, Store, StoredPacket, listed_packet, packets

log = logging.getLogger(__name__)

LOOK_S = 2.0
# A batch is opened in about a second and written in one transaction.
BATCH = 50
# Then the lease is let go of, so that a desk that is stopped leaves the rest to another one.
MOST_BATCHES = 40
_SLOT = 1
_BEFORE_ALL = -1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far packets were read."""

    position: int  # of the last one
    newest: int  # in the log
    foreign: bool  # another secret's terms stand there

    @property
    def behind(self) -> int:
        """How many places of the log are still to be read."""
        return max(0, self.newest - self.position)


class QueueReader:
    """Reads packets for the queue of one desk."""

    def __init__(self, store: Store, opener: Opener, terms: DeskTerms) -> None:
        self._store, self._opener, self._terms = store, opener, terms
        self._jobs = Jobs(store, [])
        self._judged: bytes | None = None  # under what every open packet was read
        self.done = 0  # packets that this desk has read

    async def work(self) -> None:
        """Look again and again; ends when cancelled. What prevents it is told once, until it is something else."""
        told: str | None = None
        while True:
            try:
                await self.look()
                told = None
            except ServerError as error:
                if error.code != told:
                    log.warning("Packets cannot be read for the queue.", exc_info=error, extra={"code": error.code})
                told = error.code
            except Exception:  # told, and looked at again: nobody would notice that the queue stands still
                log.exception("Reading packets for the queue failed.")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> int:
        """Read what is new or has to be judged anew, if there is any and no other desk does; how many packets this one read."""
        async with self._store.reading() as connection:
            found = await read_progress(connection, self._terms.owner)
        if found.behind == 0 and self._judged == await self._judged_now():
            return 0
        if found.foreign:
            raise QueueSecretError("The queue was read under another desk secret: give this desk that one, or rebuild.")
        before, began = self.done, time.monotonic()
        await self._jobs.run_due(Job("queue", 0.0, self._read))
        count = self.done - before
        if count:
            passed_ms = round((time.monotonic() - began) * 1000)
            log.info("Packets were read for the queue.", extra={"count": count, "duration_ms": passed_ms})
        return count

    async def _read(self) -> int:
        """The job's work; how many."""
        before = self.done
        for _ in range(MOST_BATCHES):
            if not await self.read_batch():
                await self._judge_anew()
                break
        return self.done - before

    async def read_batch(self) -> int:
        """The next packets of the log; how many there were."""
        async with self._store.reading() as connection:
            at = (await read_progress(connection, self._terms.owner)).position
            query = sa.select(*LISTED).where(packets.c.position > at).order_by(packets.c.position).limit(BATCH)
            rows = [listed_packet(row) for row in await connection.execute(query)]
            newest = await _newest(connection)
        if rows:
            await self._keep(rows, (at, max(row.position or 0 for row in rows)))
        elif newest > at:
            await self._keep((), (at, newest))
        return len(rows)

    async def _judge_anew(self) -> None:
        judged = await self._judged_now()
        joined = packets.join(queue_packets, queue_packets.c.packet_sha256 == packets.c.sha256)
        other = sa.select(*LISTED).select_from(joined).where(queue_packets.c.judged != judged)
        query = other.where(queue_packets.c.state.in_(OPEN_STATES)).limit(BATCH)
        while True:
            async with self._store.reading() as connection:
                rows = [listed_packet(row) for row in await connection.execute(query)]
            if not rows:
                break
            await self._keep(rows, None)
            if judged != await self._judged_now():
                return  # changed again: with the next look
        self._judged = judged

    async def _judged_now(self) -> bytes:
        return self._terms.judged(*await self._opener.judges())

    async def _keep(self, rows: Sequence[StoredPacket], step: tuple[int, int] | None) -> None:
        judged = await self._judged_now()
        readings = {stored.sha256: await self._open(stored) for stored in rows}
        async with self._store.writing() as connection:
            locked = sa.select(packets.c.sha256).where(packets.c.sha256.in_(readings)).order_by(packets.c.serial)
            there = set((await connection.execute(locked.with_for_update())).scalars())
            states = await states_of(connection, there)
            kept = [_row(stored, readings[stored.sha256], states, judged) for stored in rows if stored.sha256 in there]
            await put_packets(connection, kept)
            if step is not None:
                await self._move_mark(connection, *step)
        self.done += len(kept)

    async def _open(self, stored: StoredPacket) -> Reading:
        try:
            content = await self._opener.read(stored)
        except (PacketNotOpenedError, StorageCorruptError):
            content = None
        return await asyncio.to_thread(self._terms.read, stored, content)

    async def _move_mark(self, connection: AsyncConnection, at: int, position: int) -> None:
        """From where the batch began. A mark that is elsewhere stays: another desk read it, or everything is to be read again (`intake queue rebuild`)."""
        if at == _BEFORE_ALL:
            first = self._store.insert(queue_mark).values(slot=_SLOT, secret=self._terms.owner, position=position)
            await connection.execute(first.on_conflict_do_nothing())
            return
        mine = sa.and_(queue_mark.c.secret == self._terms.owner, queue_mark.c.position == at)
        await connection.execute(sa.update(queue_mark).where(mine).values(position=position))


async def read_progress(connection: AsyncConnection, owner: bytes | None = None) -> Progress:
    """How far the packets of this database were read."""
    mark = (await connection.execute(sa.select(queue_mark.c.secret, queue_mark.c.position))).first()
    if mark is None:
        return Progress(_BEFORE_ALL, await _newest(connection), foreign=False)
    foreign = owner is not None and bytes(mark.secret) != owner
    return Progress(mark.position, await _newest(connection), foreign)


async def states_of(connection: AsyncConnection, digests: Collection[str]) -> dict[str, QueueState]:
    """The state of each packet: from what was decided, else from what an operator told the applicant (`intake applications decide`), else from what was proposed."""
    made = sa.select(decisions.c.packet_sha256, decisions.c.verdict).where(decisions.c.packet_sha256.in_(digests))
    states = dict.fromkeys(digests, QueueState.WAITING)
    states |= dict.fromkeys(await proposed_packets(connection, digests), QueueState.PROPOSED)
    told = sa.select(captures.c.packet_sha256, captures.c.outcome).where(captures.c.packet_sha256.in_(digests))
    for sha256, outcome in await connection.execute(told.where(captures.c.outcome != Outcome.RECEIVED)):
        states[sha256] = QueueState.ACCEPTED if outcome == Outcome.ACCEPTED else QueueState.REFUSED
    for sha256, verdict in await connection.execute(made):
        states[sha256] = QueueState.ACCEPTED if verdict == "accepted" else QueueState.REFUSED
    return states


async def _newest(connection: AsyncConnection) -> int:
    newest = (await connection.execute(sa.select(sa.func.max(packets.c.position)))).scalar_one()
    return _BEFORE_ALL if newest is None else int(newest)


def _row(stored: StoredPacket, reading: Reading, states: Mapping[str, QueueState], judged: bytes) -> QueueRow:
    return QueueRow(
        stored.sha256,
        stored.serial,
        stored.received_at,
        states[stored.sha256],
        judged,
        b"".join(reading.terms),
        reading.summary,
    )
