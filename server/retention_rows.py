"""What the database knows about the keeping of packets: which may be due, what happened to each, and the policy that is in force.

Only packets that are older than the shortest time of the policy are looked at, by the index of their receipt: what is deleted is no row any more, so
this is what waits for its time and not everything that ever was.

The policy is a setting of the intake, which writes it here when it starts, so that the desk's countdown is the one that the job keeps. The job itself goes
by its settings: a row that somebody changed misleads a page and deletes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.handover_rows import decisions, orders
from server.holds import holds
from server.retention import Fate, HoldSpan, OrderFacts, PacketFacts, Policy, due, final_event
from server.store import Store, UtcDateTime, metadata, packets

PAGE = 200
_ONLY = 1

retention_policy = sa.Table(
    "retention_policy",
    metadata,
    sa.Column("slot", sa.Integer(), primary_key=True, autoincrement=False),  # always _ONLY
    *(sa.Column(name, sa.Integer(), nullable=False) for name in asdict(Policy()) if name != "keep_links"),
    sa.Column("keep_links", sa.Boolean(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A packet and its time."""

    sha256: str
    facts: PacketFacts
    holds: tuple[HoldSpan, ...]

    @property
    def fate(self) -> Fate:
        """What has become of it."""
        return final_event(self.facts)[0]

    def due(self, policy: Policy, now: datetime) -> datetime | None:
        """When it is to be deleted."""
        return due(self.facts, policy, self.holds, now)


async def read_kept(connection: AsyncConnection, received: Mapping[str, datetime]) -> dict[str, Kept]:
    """What happened to packets, given by digest with their time of receipt."""
    facts = await _read_facts(connection, received)
    spans = await read_spans(connection, received)
    return {sha256: Kept(sha256, facts[sha256], spans.get(sha256, ())) for sha256 in received}


async def old_packets(store: Store, before: datetime) -> AsyncIterator[Sequence[Kept]]:
    """Packets received before a time, oldest first, page by page; what is deleted meanwhile does not disturb."""
    last: tuple[datetime, int] | None = None
    columns = packets.c
    while True:
        query = sa.select(columns.sha256, columns.serial, columns.received_at).where(columns.received_at <= before)
        if last is not None:
            place = sa.tuple_(sa.literal(last[0], UtcDateTime()), sa.literal(last[1]))
            query = query.where(sa.tuple_(columns.received_at, columns.serial) > place)
        async with store.reading() as connection:
            page = query.order_by(columns.received_at, columns.serial).limit(PAGE)
            rows = (await connection.execute(page)).all()
            kept = await read_kept(connection, {row.sha256: row.received_at for row in rows})
        if not rows:
            return
        yield list(kept.values())
        last = rows[-1].received_at, rows[-1].serial


async def read_spans(connection: AsyncConnection, digests: Collection[str]) -> dict[str, tuple[HoldSpan, ...]]:
    """The holds of packets, each from its placing to its release."""
    query = sa.select(holds).where(holds.c.packet_sha256.in_(digests)).order_by(holds.c.number)
    spans: dict[str, dict[tuple[str, int], HoldSpan]] = {}
    opened: dict[tuple[str, str], int] = {}
    for row in await connection.execute(query):
        of_packet = spans.setdefault(row.packet_sha256, {})
        if row.action == "placed":
            opened[row.packet_sha256, row.reason] = row.number
            of_packet[row.reason, row.number] = HoldSpan(row.at)
        elif (number := opened.pop((row.packet_sha256, row.reason), None)) is not None:
            of_packet[row.reason, number] = HoldSpan(of_packet[row.reason, number].placed_at, row.at)
    return {sha256: tuple(found.values()) for sha256, found in spans.items()}


async def tell_policy(store: Store, policy: Policy) -> None:
    """Write the policy down for the desk."""
    async with store.writing() as connection:
        values = asdict(policy)
        change = sa.update(retention_policy).where(retention_policy.c.slot == _ONLY).values(values)
        if (await connection.execute(change)).rowcount == 0:
            row = store.insert(retention_policy).values(slot=_ONLY, **values).on_conflict_do_nothing()
            await connection.execute(row)  # an intake that starts beside this one has the same settings


async def read_policy(connection: AsyncConnection) -> Policy | None:
    """The policy that an intake told; None when none has started yet."""
    row = (await connection.execute(sa.select(retention_policy))).first()
    return None if row is None else Policy(**{name: getattr(row, name) for name in asdict(Policy())})


async def _read_facts(connection: AsyncConnection, received: Mapping[str, datetime]) -> dict[str, PacketFacts]:
    made = sa.select(decisions.c.packet_sha256, decisions.c.decided_at, decisions.c.verdict)
    found = await connection.execute(made.where(decisions.c.packet_sha256.in_(received)))
    decided = {sha256: (at, verdict == "accepted") for sha256, at, verdict in found}
    given: dict[str, list[OrderFacts]] = {}
    columns = orders.c
    query = sa.select(columns.packet_sha256, columns.answered_at, columns.answer_verdict, columns.resend_asked_at)
    present = query.where(columns.packet_sha256.in_(decided), columns.superseded_at.is_(None)).order_by(columns.cursor)
    for row in await connection.execute(present):
        order = OrderFacts(row.answered_at, row.answer_verdict == "accepted", row.resend_asked_at is not None)
        given.setdefault(row.packet_sha256, []).append(order)
    facts = {}
    for sha256, received_at in received.items():
        decided_at, accepted = decided.get(sha256, (None, False))
        facts[sha256] = PacketFacts(received_at, decided_at, accepted, tuple(given.get(sha256, ())))
    return facts
