"""Proposals: what the first of two persons said about a packet that one person alone may not accept.

Rules
  - Rows are inserted, never changed: a proposal is one, that it was withdrawn by whoever made it or rejected by another is a further one. Each is a signed record
    (crypto/decision.py, `Proposal`) that names the one before it; `intake log verify` finds a row that was changed, taken out or put in.
  - A packet's proposal stands while its newest row is one, and nothing is decided about the packet. So an approval needs no row: it is the decision, which names
    both persons (server/decisions.py), and a refusal ends a proposal by itself.
  - Nobody approves what stands in a row alone: the row has to say what its record does, and the record to stand at its place (`proposal_faults`).
  - Whoever writes here or decides has locked the packet's row before: of an approval, a withdrawal and a rejection at once the first counts.

Order of operation: the packet's row is locked (the caller's) → the chain's lock (SQLite: BEGIN IMMEDIATE; PostgreSQL: pg_advisory_xact_lock) → the last row is
read → the record is signed → written → commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.decision import sign_proposal, verify_proposal
from crypto.errors import CryptoError, DecisionError
from crypto.keys import Signer, TrustStore
from server.handover_errors import HandOverUnavailableError
from server.handover_rows import decisions
from server.store import UtcDateTime, metadata

# Any constant; names the lock of the chain among PostgreSQL's advisory locks.
PROPOSALS_LOCK = 0x70627070

proposals = sa.Table(
    "proposals",
    metadata,
    sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("packet_sha256", sa.String(64), nullable=False, index=True),
    sa.Column("action", sa.String(16), nullable=False),  # proposed, withdrawn or rejected
    sa.Column("producer", sa.String(64), nullable=True),
    sa.Column("causes", sa.String(128), nullable=True),  # with spaces between them
    sa.Column("reason", sa.String(32), nullable=True),
    sa.Column("officer", sa.String(64), nullable=False),
    sa.Column("made_at", UtcDateTime(), nullable=False),
    sa.Column("record", sa.LargeBinary(), nullable=False),
)

# Of a row of `proposals`: whether it is a proposal that stands.
_later = proposals.alias()
STANDS = sa.and_(
    proposals.c.action == "proposed",
    ~sa.exists().where(_later.c.packet_sha256 == proposals.c.packet_sha256, _later.c.number > proposals.c.number),
    ~sa.exists().where(decisions.c.packet_sha256 == proposals.c.packet_sha256),
)


@dataclass(frozen=True, slots=True)
class StoredProposal:
    """One row."""

    number: int
    packet_sha256: str
    action: str
    producer: str | None
    causes: str | None
    reason: str | None
    officer: str
    made_at: datetime
    record: bytes


def stored_proposal(row: sa.Row[Any]) -> StoredProposal:
    """A row of `proposals` as a value."""
    return StoredProposal(**row._mapping)  # noqa: SLF001 (the documented way to read a row by names)


async def open_proposal(connection: AsyncConnection, packet_sha256: str) -> StoredProposal | None:
    """The proposal that stands for a packet."""
    query = sa.select(proposals).where(proposals.c.packet_sha256 == packet_sha256, STANDS)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else stored_proposal(row)


async def proposed_packets(connection: AsyncConnection, digests: Collection[str]) -> set[str]:
    """Those of these packets for which a proposal stands."""
    query = sa.select(proposals.c.packet_sha256).where(proposals.c.packet_sha256.in_(digests), STANDS)
    return set((await connection.execute(query)).scalars())


async def proposals_of(connection: AsyncConnection, packet_sha256: str) -> list[StoredProposal]:
    """Everything that was proposed about a packet and became of it, oldest first."""
    query = sa.select(proposals).where(proposals.c.packet_sha256 == packet_sha256).order_by(proposals.c.number)
    return [stored_proposal(row) for row in await connection.execute(query)]


async def record_before(connection: AsyncConnection, number: int) -> bytes | None:
    """The record that a proposal's names as the one before it; None before the first."""
    query = sa.select(proposals.c.record).where(proposals.c.number == number - 1)
    return (await connection.execute(query)).scalar_one_or_none()


def proposal_faults(row: StoredProposal, previous: bytes | None, trust: TrustStore) -> Iterator[str]:
    """Why a row is not what a trusted desk put at its place; nothing when it is."""
    try:
        said = verify_proposal(row.record, trust, number=row.number, previous=previous)
    except DecisionError as error:
        yield str(error)
        return
    causes = " ".join(said.causes) or None
    told = (said.packet_sha256, said.action, said.producer, causes, said.reason, said.officer, said.made_at)
    if told != (row.packet_sha256, row.action, row.producer, row.causes, row.reason, row.officer, row.made_at):
        yield "its row says something else than its signature covers."


async def append_proposal(
    connection: AsyncConnection,
    signer: Callable[[], Signer],
    *,
    packet_sha256: str,
    action: str,
    officer: str,
    at: datetime,
    producer: str | None = None,
    causes: Collection[str] = (),
    reason: str | None = None,
) -> StoredProposal:
    """Write at the end of the chain, with the packet's row locked. Raises `HandOverUnavailableError` when the desk cannot sign."""
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(PROPOSALS_LOCK)))
    query = sa.select(proposals.c.number, proposals.c.record).order_by(proposals.c.number.desc()).limit(1)
    last = (await connection.execute(query)).one_or_none()
    number, previous = (1, None) if last is None else (last.number + 1, bytes(last.record))
    said: dict[str, Any] = {"packet_sha256": packet_sha256, "action": action, "producer": producer, "reason": reason}
    said |= {"officer": officer, "made_at": at, "number": number}

    def sign() -> bytes:
        return sign_proposal(previous=previous, signer=signer(), causes=tuple(map(str, causes)), **said)

    try:
        record = await asyncio.to_thread(sign)
    except CryptoError as error:
        raise HandOverUnavailableError(
            "This desk cannot sign a proposal just now: look at its key and its certificate."
        ) from error
    row = StoredProposal(**said, causes=" ".join(causes) or None, record=record)
    await connection.execute(sa.insert(proposals).values(asdict(row)))
    return row
