"""Deletion of packets, proven: the row goes with a signed record of it in its place, then the stored bytes go, then that is signed too.

Order of operation
  1. One transaction: the packet's row is locked (PostgreSQL: FOR UPDATE; SQLite: BEGIN IMMEDIATE) → what the caller wants to be still true is looked at
     again, and the row is compared with the log's entry → holds are looked at → the deletion record is signed (crypto/retention_records.py) → the packet's row, its links to an application and what desks kept of it
     (server/queue_rows.py) go, the record is inserted → commit. Whoever places a hold or makes an order locks the same row first: he comes before, and then the packet stays, or
     after, and then there is no packet.
  2. The sealed packet and every message that was made of it for producers are deleted from the store, those put aside too; each is asked for afterwards.
  3. The erasure record is signed and written beside the deletion record.
A crash before 1's commit leaves everything; after it a deletion without erasure, which every run of the retention job goes on with.
So there is never a row whose bytes a deletion took, and never bytes that nobody goes on deleting.

What stays: the entry in the receipt log, the records, the desk's signed decision and the producer's signed answer: digests, times, the booth, opaque ids.
Bytes are deleted by their record, so one that somebody else wrote for a packet that still has its row deletes nothing (`intake log verify` tells it).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.errors import CryptoError, ReceiptError, RetentionRecordError
from crypto.keys import Signer, TrustStore
from crypto.receipt import read_entry
from crypto.retention_records import DeletionRecord, ErasureRecord, digest_of
from server.application_rows import unlink
from server.errors import ReceiptUnavailableError, StorageCorruptError, UnknownPacketError
from server.handover_rows import orders
from server.holds import open_holds
from server.log_rows import log_entries
from server.packet_counts import note_deletion
from server.queue_rows import forget_packet
from server.retention_errors import HeldError
from server.store import Store, StoredPacket, UtcDateTime, metadata, packets, stored_packet

log = logging.getLogger(__name__)

deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("packet_sha256", sa.String(64), primary_key=True),
    sa.Column("deleted_at", UtcDateTime(), nullable=False, index=True),
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("record", sa.LargeBinary(), nullable=False),
    # Both none until the store holds nothing of it any more.
    sa.Column("erased_at", UtcDateTime(), nullable=True, index=True),
    sa.Column("erasure", sa.LargeBinary(), nullable=True),
)


class Erasable(Protocol):
    """Where stored bytes are deleted; an `ObjectStore`."""

    async def delete(self, name: str) -> bool:
        """Delete the bytes under this name durably; whether there were any."""

    async def holds(self, name: str) -> bool:
        """Whether there are bytes under this name."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """One row."""

    packet_sha256: str
    deleted_at: datetime
    reason: str
    size: int
    record: bytes
    erased_at: datetime | None = None
    erasure: bytes | None = None


# Raises when the packet is not to be deleted after all.
Condition = Callable[[AsyncConnection, StoredPacket], Awaitable[None]]


async def _nothing_more(_connection: AsyncConnection, _packet: StoredPacket) -> None:
    """No further condition."""


class Deletions:
    """Deletes packets of one store."""

    def __init__(
        self,
        store: Store,
        sealed: Erasable,
        messages: Erasable,
        signer: Callable[[], Signer],
        trust: TrustStore,
        now: Callable[[], datetime],
        backups_kept: timedelta,
    ) -> None:
        self._store, self._sealed, self._messages = store, sealed, messages
        self._signer, self._trust, self._now, self._backups_kept = signer, trust, now, backups_kept

    async def delete_packet(
        self, sha256: str, reason: str, *, check: Condition = _nothing_more, unlinked: bool = True
    ) -> Deletion:
        """Delete a packet and everything made of it; returns when nothing is left. `check` may raise within the transaction.

        A packet that is deleted already is finished. Raises `UnknownPacketError`, `HeldError`, `StorageError`, `ReceiptUnavailableError`.
        """
        deletion = await self.find(sha256) or await self._remove(sha256, reason, check, unlinked=unlinked)
        return deletion if deletion.erased_at else await self._erase(deletion)

    async def find(self, sha256: str) -> Deletion | None:
        """The deletion of a packet."""
        async with self._store.reading() as connection:
            return (await find_deletions(connection, [sha256])).get(sha256)

    async def unfinished(self, limit: int) -> Sequence[Deletion]:
        """Deletions that were cut off before the store was empty of their packets, oldest first."""
        query = sa.select(deletions).where(deletions.c.erased_at.is_(None)).order_by(deletions.c.deleted_at)
        async with self._store.reading() as connection:
            return [read_deletion(row) for row in await connection.execute(query.limit(limit))]

    async def stored(self, sha256: str) -> int:
        """How many objects the store holds of a packet and of what was made of it."""
        async with self._store.reading() as connection:
            messages = await messages_of(connection, sha256)
        held = [await place.holds(name) for place, name in self._places(sha256, messages)]
        return sum(held)

    def _places(self, sha256: str, messages: Sequence[str]) -> list[tuple[Erasable, str]]:
        return [*((self._messages, name) for name in messages), (self._sealed, sha256)]

    async def _remove(self, sha256: str, reason: str, check: Condition, *, unlinked: bool) -> Deletion:
        """The transaction."""
        async with self._store.writing() as connection:
            packet = await lock_packet(connection, sha256)
            if packet is None:
                present = (await find_deletions(connection, [sha256])).get(sha256)
                if present is None:
                    raise UnknownPacketError("There is no such packet.")
                return present  # another process was faster
            await _check_entry(connection, packet)
            await check(connection, packet)
            if held := (await open_holds(connection, [sha256])).get(sha256):
                raise HeldError(f"The packet is held: {', '.join(sorted(hold.reason for hold in held))}.")
            deletion = await self._sign(packet, reason, len(await messages_of(connection, sha256)))
            if unlinked:
                await unlink(connection, sha256, deletion.deleted_at)
            await connection.execute(sa.insert(deletions).values(_columns(deletion)))
            await note_deletion(connection)
            await forget_packet(connection, sha256)
            gone = await connection.execute(sa.delete(packets).where(packets.c.serial == packet.serial))
            if gone.rowcount != 1:
                raise StorageCorruptError(
                    "The row of a packet went while it was locked: look with `intake log verify`."
                )
        log.info("A packet was deleted.", extra={"packet": sha256[:16], "reason": reason})
        return deletion

    def _check_record(self, deletion: Deletion) -> None:
        """That an intake decided to delete this packet: a row alone, which anybody can write who has the database, deletes no bytes."""
        try:
            named = DeletionRecord.verify(deletion.record, self._trust).packet_sha256
        except RetentionRecordError as error:
            raise StorageCorruptError(
                "A deletion's record is not one of a trusted intake: look with `intake log verify`."
            ) from error
        if named != deletion.packet_sha256:
            raise StorageCorruptError("A deletion's record is for another packet: look with `intake log verify`.")

    async def _sign(self, packet: StoredPacket, reason: str, messages: int) -> Deletion:
        at = self._now().replace(microsecond=0)

        def sign() -> bytes:
            return DeletionRecord.sign(
                self._signer(),
                at=at,
                packet_sha256=packet.sha256,
                packet_id=packet.packet_id,
                booth=packet.booth,
                position=packet.position,
                size=packet.size,
                received_at=packet.received_at.replace(microsecond=0),
                reason=reason,
                messages=messages,
                backups_end_at=at + self._backups_kept,
            )

        with _signing():
            record = await asyncio.to_thread(sign)
        return Deletion(packet.sha256, at, reason, packet.size, record)

    async def _erase(self, deletion: Deletion) -> Deletion:
        """The bytes, and the proof that they are gone."""
        sha256 = deletion.packet_sha256
        async with self._store.reading() as connection:
            kept = (await connection.execute(sa.select(packets.c.serial).where(packets.c.sha256 == sha256))).first()
            messages = await messages_of(connection, sha256)
        if kept is not None:
            raise StorageCorruptError("A packet is here and said to be deleted: look with `intake log verify`.")
        await asyncio.to_thread(self._check_record, deletion)
        for place, name in self._places(sha256, messages):
            await place.delete(name)
            if await place.delete(name) or await place.holds(name):
                raise StorageCorruptError("The store still holds bytes that it said to have deleted.")
        at = max(self._now().replace(microsecond=0), deletion.deleted_at)

        def sign() -> bytes:
            named = digest_of(deletion.record)
            return ErasureRecord.sign(self._signer(), at=at, packet_sha256=sha256, deletion_sha256=named)

        with _signing():
            erasure = await asyncio.to_thread(sign)
        change = sa.update(deletions).where(deletions.c.packet_sha256 == sha256, deletions.c.erased_at.is_(None))
        async with self._store.writing() as connection:
            await connection.execute(change.values(erased_at=at, erasure=erasure))
            return (await find_deletions(connection, [sha256]))[sha256]


async def _check_entry(connection: AsyncConnection, packet: StoredPacket) -> None:
    """That the row says what the packet's entry in the log says: nobody has made it older by hand. Raises `StorageCorruptError`."""
    query = sa.select(log_entries.c.entry).where(log_entries.c.packet_sha256 == packet.sha256)
    data = (await connection.execute(query)).scalar_one_or_none()
    said = (packet.packet_id, packet.booth, packet.position, packet.received_at.replace(microsecond=0))
    try:
        entry = read_entry(bytes(data or b""))
    except ReceiptError as error:
        raise StorageCorruptError("A packet has no entry in the log: look with `intake log verify`.") from error
    if said != (entry.packet_id, entry.booth, entry.position, entry.received_at):
        raise StorageCorruptError("A packet's row is not what the log says of it: look with `intake log verify`.")


async def lock_packet(connection: AsyncConnection, sha256: str) -> StoredPacket | None:
    """The packet's row, locked until the transaction ends: nobody deletes it, holds it or orders from it meanwhile."""
    query = sa.select(packets).where(packets.c.sha256 == sha256).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else stored_packet(row)


_BY_DIGESTS = sa.select(deletions).where(deletions.c.packet_sha256.in_(sa.bindparam("digests", expanding=True)))


async def find_deletions(connection: AsyncConnection, digests: Collection[str]) -> dict[str, Deletion]:
    """Those of these packets that are deleted."""
    found = await connection.execute(_BY_DIGESTS, {"digests": list(digests)})
    return {row.packet_sha256: read_deletion(row) for row in found}


async def count_unfinished(store: Store) -> int:
    """How many deletions were begun and have not come to their end."""
    query = sa.select(sa.func.count()).where(deletions.c.erased_at.is_(None))
    async with store.reading() as connection:
        return int((await connection.execute(query)).scalar_one())


async def messages_of(connection: AsyncConnection, sha256: str) -> Sequence[str]:
    """The names of the messages that were made of a packet for producers."""
    query = sa.select(orders.c.message_sha256).where(orders.c.packet_sha256 == sha256).distinct()
    return (await connection.execute(query.order_by(orders.c.message_sha256))).scalars().all()


def read_deletion(row: sa.Row[Any]) -> Deletion:
    """A row as a value."""
    return Deletion(**{column.name: getattr(row, column.name) for column in deletions.c})


def _columns(deletion: Deletion) -> dict[str, Any]:
    return {column.name: getattr(deletion, column.name) for column in deletions.c}


@contextlib.contextmanager
def _signing() -> Iterator[None]:
    try:
        yield
    except CryptoError as error:
        raise ReceiptUnavailableError(
            "This intake cannot sign deletions just now: look at its key and its certificate."
        ) from error
