"""Legal holds: a packet that is held is not deleted, whatever the policy says, until the hold is released.

Rules
  - A hold has one of the reasons in `REASONS`. A packet may be held for several; each is released by itself, and one that is open keeps the packet.
  - Rows are inserted, never changed: placing is one, releasing another. Each is a signed record (crypto/retention_records.py) that names the number
    and digest of the one before it; the signed head says how many there are. `intake log verify` finds a row that was changed, taken out or put in.
  - Placed twice for the same reason it is placed once. A packet that is deleted, or was never here, cannot be held.
  - A hold and a deletion of the same packet lock its row: whoever commits first decides (server/deletions.py).

Order of operation: the chain's lock (SQLite: BEGIN IMMEDIATE; PostgreSQL: pg_advisory_xact_lock) → the packet's row is locked → open holds are read → head
and last row must agree → record and head are signed → both are written → commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.errors import CryptoError
from crypto.keys import Purpose, Signer
from crypto.retention_records import NOTHING_BEFORE, HoldHead, HoldRecord, digest_of
from server.errors import ReceiptUnavailableError, StorageCorruptError, UnknownPacketError
from server.retention_errors import HoldUnknownError
from server.store import Store, UtcDateTime, metadata, packets

# Any constant; names the lock of the chain among PostgreSQL's advisory locks.
HOLDS_LOCK = 0x7062686C
_ONLY = 1


class HoldReason(StrEnum):
    """Why a packet is held: a class, no more, so that no personal data stand here. In words: `retention.hold.<value>` in the catalogues."""

    COMPLAINT = "complaint"  # the applicant objects to what became of the application
    COURT = "court"  # a court or a public prosecutor asked for it
    FRAUD = "fraud"  # a presentation attack or another fraud is looked into
    RESTRICTION = (
        "restriction"  # the applicant asked for restriction instead of erasure (Regulation (EU) 2016/679, Article 18)
    )
    OTHER = "other"


holds = sa.Table(
    "holds",
    metadata,
    sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("packet_sha256", sa.String(64), nullable=False, index=True),
    sa.Column("action", sa.String(16), nullable=False),  # placed or released
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("at", UtcDateTime(), nullable=False),
    sa.Column("by", sa.String(64), nullable=False),  # an opaque id
    sa.Column("record", sa.LargeBinary(), nullable=False),
)

hold_head = sa.Table(
    "hold_head",
    metadata,
    sa.Column("slot", sa.Integer(), primary_key=True, autoincrement=False),  # always _ONLY
    sa.Column("number", sa.BigInteger(), nullable=False),
    sa.Column("head", sa.LargeBinary(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Hold:
    """One row."""

    number: int
    packet_sha256: str
    action: str
    reason: str
    at: datetime
    by: str
    record: bytes


class Holds:
    """Places and releases holds, signed by whoever does it: the desk, or an intake's operator."""

    def __init__(
        self, store: Store, signer: Callable[[], Signer], purpose: Purpose, now: Callable[[], datetime]
    ) -> None:
        self._store, self._signer, self._purpose, self._now = store, signer, purpose, now

    async def place(self, sha256: str, reason: HoldReason, by: str) -> Hold:
        """Hold a packet; the hold that there is when there is one for this reason. Raises `UnknownPacketError`, `StorageError`."""
        async with self._store.writing() as connection:
            await _alone(connection)
            locked = sa.select(packets.c.serial).where(packets.c.sha256 == sha256).with_for_update()
            if (await connection.execute(locked)).first() is None:
                raise UnknownPacketError("There is no such packet, or it is deleted: it cannot be held.")
            for hold in (await open_holds(connection, [sha256])).get(sha256, ()):
                if hold.reason == reason:
                    return hold
            return await self._append(connection, sha256, "placed", reason, by)

    async def release(self, sha256: str, reason: HoldReason, by: str) -> Hold:
        """Release a packet's hold for one reason. Raises `HoldUnknownError`, `StorageError`."""
        async with self._store.writing() as connection:
            await _alone(connection)
            if all(hold.reason != reason for hold in (await open_holds(connection, [sha256])).get(sha256, ())):
                raise HoldUnknownError("The packet is not held for this reason.")
            return await self._append(connection, sha256, "released", reason, by)

    async def of(self, sha256: str) -> list[Hold]:
        """Everything that was said of a packet, oldest first."""
        async with self._store.reading() as connection:
            rows = await connection.execute(
                sa.select(holds).where(holds.c.packet_sha256 == sha256).order_by(holds.c.number)
            )
            return [read_hold(row) for row in rows]

    async def _append(self, connection: AsyncConnection, sha256: str, action: str, reason: str, by: str) -> Hold:
        last = (await connection.execute(sa.select(holds).order_by(holds.c.number.desc()).limit(1))).first()
        head = (await connection.execute(sa.select(hold_head.c.number))).scalar_one_or_none()
        if (0 if last is None else last.number) != (head or 0):
            raise StorageCorruptError("The holds do not end as they were signed: look with `intake log verify`.")
        number, at = (head or 0) + 1, self._now().replace(microsecond=0)
        previous = NOTHING_BEFORE if last is None else digest_of(bytes(last.record))

        def sign() -> tuple[bytes, bytes]:
            signer = self._signer()
            said = {"packet_sha256": sha256, "action": action, "reason": str(reason), "by": by, "at": at}
            said |= {"number": number, "previous_sha256": previous}
            record = HoldRecord.sign(signer, self._purpose, **said)
            ends = {"number": number, "last_sha256": digest_of(record), "at": at}
            return record, HoldHead.sign(signer, self._purpose, **ends)

        try:
            record, signed_head = await asyncio.to_thread(sign)
        except CryptoError as error:
            raise ReceiptUnavailableError(f"The hold cannot be signed: {error}") from error
        made = Hold(number, sha256, action, str(reason), at, by, record)
        row = {column.name: getattr(made, column.name) for column in holds.c}
        await connection.execute(sa.insert(holds).values(row))
        if head is None:
            await connection.execute(sa.insert(hold_head).values(slot=_ONLY, number=number, head=signed_head))
        else:
            await connection.execute(sa.update(hold_head).values(number=number, head=signed_head))
        return made


async def open_holds(connection: AsyncConnection, digests: Collection[str] | None) -> dict[str, list[Hold]]:
    """The holds of these packets (None: of all) that are placed and not released, oldest first."""
    newest = sa.select(sa.func.max(holds.c.number)).group_by(holds.c.packet_sha256, holds.c.reason)
    if digests is not None:
        newest = newest.where(holds.c.packet_sha256.in_(digests))
    query = sa.select(holds).where(holds.c.number.in_(newest), holds.c.action == "placed").order_by(holds.c.number)
    found: dict[str, list[Hold]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.packet_sha256, []).append(read_hold(row))
    return found


def read_hold(row: sa.Row[Any]) -> Hold:
    """A row as a value."""
    return Hold(**row._mapping)  # noqa: SLF001 (the documented way to read a row by names)


async def _alone(connection: AsyncConnection) -> None:
    """Nobody else writes to the chain until the transaction ends. With SQLite a writing transaction is alone anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(HOLDS_LOCK)))
