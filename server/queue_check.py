"""Whether the officers' queue is what packets and decisions say: nothing is decided by it, but a row that somebody changed could hide a packet from its officers.

Each question is one statement over whole tables, so it is asked by a command and not by a page. What is found is put right by `intake queue rebuild`: desks read
everything anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application_rows import captures
from server.applications import Outcome
from server.handover_rows import decisions
from server.proposals import STANDS, proposals
from server.queue_reader import read_progress
from server.queue_rows import OPEN_STATES, TERM_BYTES, QueueState, queue_mark, queue_packets, queue_terms
from server.store import Store, packets


@dataclass(frozen=True, slots=True)
class QueueCheck:
    """What was found. Each number but the first three should be zero."""

    read: int  # packets with a row
    unread: int  # places of the log that no desk has read
    terms: int
    missing: int  # packets that were read and have no row
    strangers: int  # rows without a packet
    hidden: int  # rows that say decided, of packets about which nothing is
    stale: int  # rows that say open, of packets that are decided
    misplaced: int  # rows that say another open state than their proposals do
    lost_terms: int  # terms that rows name and that have no row, or the other way round

    @property
    def sound(self) -> bool:
        """Whether all is as it should be."""
        return not any((self.missing, self.strangers, self.hidden, self.stale, self.misplaced, self.lost_terms))


async def check_queue(store: Store) -> QueueCheck:
    """Compare the queue with packets and decisions."""
    rows, its = queue_packets, queue_packets.c
    decided = sa.exists().where(decisions.c.packet_sha256 == its.packet_sha256)
    verdict = sa.exists().where(decisions.c.packet_sha256 == its.packet_sha256, decisions.c.verdict == its.state)
    # What an operator told an applicant counts where nothing is decided.
    told = sa.exists().where(captures.c.packet_sha256 == its.packet_sha256, captures.c.outcome != Outcome.RECEIVED)
    proposed = sa.exists().where(proposals.c.packet_sha256 == its.packet_sha256, STANDS)
    mark = sa.select(queue_mark.c.position).scalar_subquery()
    row = sa.exists().where(its.packet_sha256 == packets.c.sha256)
    packet = sa.exists().where(packets.c.sha256 == its.packet_sha256)
    async with store.reading() as connection:
        progress = await read_progress(connection)
        terms = await _count(connection, queue_terms)
        named = await connection.execute(sa.select(sa.func.coalesce(sa.func.sum(sa.func.length(its.terms)), 0)))
        return QueueCheck(
            read=await _count(connection, rows),
            unread=progress.behind,
            terms=terms,
            missing=await _count(connection, packets, packets.c.position <= mark, ~row),
            strangers=await _count(connection, rows, ~packet),
            hidden=await _count(connection, rows, its.state.not_in(OPEN_STATES), ~verdict, ~told),
            stale=await _count(connection, rows, its.state.in_(OPEN_STATES), decided),
            misplaced=await _count(
                connection,
                rows,
                sa.or_(
                    sa.and_(its.state == QueueState.PROPOSED, ~proposed),
                    sa.and_(its.state == QueueState.WAITING, proposed),
                ),
                ~decided,
            ),
            lost_terms=abs(int(named.scalar_one()) // TERM_BYTES - terms),
        )


async def _count(connection: AsyncConnection, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    return int((await connection.execute(sa.select(sa.func.count()).select_from(table).where(*where))).scalar_one())
