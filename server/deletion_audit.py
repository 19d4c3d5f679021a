"""What `intake log verify` looks at for deletions and holds (server/log_audit.py takes these as an account and as checks).

- A packet without a row is accounted for by a signed deletion record that says what the packet's entry in the log says.
- Every deletion: its columns are what its record says, its packet is in the log and has no row, an erasure names this very deletion. Its reason fits: nothing that
  was decided about is deleted as undecided, and nothing else without a decision; no hold of the packet is open. So rows that somebody put in for the moment
  of a deletion, or took out, and put back as they were, leave a trace.
- Every hold: its columns are what its record says; numbers have no gap; each names the digest of the one before; the signed head names the last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.errors import RetentionRecordError
from crypto.keys import TrustStore
from crypto.receipt import LogEntry
from crypto.retention_records import NOTHING_BEFORE, DeletionRecord, ErasureRecord, HoldHead, HoldRecord, digest_of
from server.deletions import Deletion, deletions, find_deletions, read_deletion
from server.handover_rows import decisions
from server.holds import Hold, hold_head, holds, open_holds, read_hold
from server.log_audit import Account, Audit, Check
from server.log_rows import log_entries
from server.retention import Fate
from server.store import packets

PAGE = 500


def account_for_deletions(trust: TrustStore) -> Account:
    """Which absent packets were rightly deleted."""

    async def account(connection: AsyncConnection, entries: Sequence[LogEntry]) -> Collection[str]:
        known = await find_deletions(connection, [entry.packet_sha256 for entry in entries])
        return {
            entry.packet_sha256
            for entry in entries
            if entry.packet_sha256 in known and _says(known[entry.packet_sha256], entry, trust)
        }

    return account


def check_deletions(trust: TrustStore) -> Check:
    """Every row of `deletions`."""

    async def check(connection: AsyncConnection, audit: Audit) -> None:
        last, decided = "", sa.exists().where(decisions.c.packet_sha256 == deletions.c.packet_sha256)
        while True:
            query = (
                sa.select(deletions, packets.c.serial, log_entries.c.position, decided.label("decided"))
                .outerjoin(packets, packets.c.sha256 == deletions.c.packet_sha256)
                .outerjoin(log_entries, log_entries.c.packet_sha256 == deletions.c.packet_sha256)
                .where(deletions.c.packet_sha256 > last)
                .order_by(deletions.c.packet_sha256)
                .limit(PAGE)
            )
            rows = (await connection.execute(query)).all()
            held = await open_holds(connection, [row.packet_sha256 for row in rows]) if rows else {}
            for row in rows:
                deletion = read_deletion(row)
                if deletion.packet_sha256 in held:
                    audit.add("deletion.held", "A packet that is held was deleted.", row.position)
                if row.decided == (deletion.reason == Fate.UNDECIDED):
                    audit.add("deletion.reason", "The reason of a deletion is not what was decided.", row.position)
                if deletion.packet_sha256 == last:
                    audit.add("deletion.changed", "A deletion stands there twice.", row.position)
                last = deletion.packet_sha256
                if row.serial is not None:
                    audit.add("deletion.packet", "A packet that is said to be deleted has its row.", row.position)
                if row.position is None:
                    audit.add("deletion.entry", "A packet that is said to be deleted was never in the log.")
                for fault in _deletion_faults(deletion, trust):
                    audit.add("deletion.changed", fault, row.position)
            if not rows:
                return

    return check


def check_holds(trust: TrustStore) -> Check:
    """Every row of `holds`, and their head."""

    async def check(connection: AsyncConnection, audit: Audit) -> None:
        first = await _read_head(connection, trust, audit)
        number, previous = 0, NOTHING_BEFORE
        at_head = NOTHING_BEFORE
        while True:
            query = sa.select(holds).where(holds.c.number > number).order_by(holds.c.number).limit(PAGE)
            rows = [read_hold(row) for row in await connection.execute(query)]
            for hold in rows:
                if hold.number != number + 1:
                    audit.add("hold.missing", f"A record of a hold is gone before number {hold.number}.")
                for fault in _hold_faults(hold, previous, trust):
                    audit.add("hold.changed", fault)
                number, previous = hold.number, digest_of(hold.record)
                if number <= first.number:
                    at_head = previous
            if not rows:
                break
        if number < first.number:
            audit.add("hold.missing", f"The head names {first.number} records of holds, there are {number}.")
        elif at_head != first.last_sha256:
            audit.add("hold.head", "The head of the holds names another last record.")
        # Holds may have been placed since the head was read, each with a newer head.
        if number > first.number and number > (await _read_head(connection, trust, audit)).number:
            audit.add("hold.head", "There are records of holds that the signed head does not name.")

    return check


@dataclass(frozen=True, slots=True)
class _End:
    """Where the signed head says that the chain ends."""

    number: int = 0
    last_sha256: str = NOTHING_BEFORE


async def _read_head(connection: AsyncConnection, trust: TrustStore, audit: Audit) -> _End:
    rows = (await connection.execute(sa.select(hold_head))).all()
    if not rows:
        return _End()
    try:
        head = HoldHead.verify(bytes(rows[0].head), trust)
    except RetentionRecordError as error:
        audit.add("hold.head", str(error))
        return _End()
    if len(rows) != 1 or rows[0].number != head.number:
        audit.add("hold.head", "The head of the holds is not what its signature covers.")
    return _End(head.number, head.last_sha256)


def _says(deletion: Deletion, entry: LogEntry, trust: TrustStore) -> bool:
    """Whether a deletion is genuine and of this entry's packet."""
    try:
        record = DeletionRecord.verify(deletion.record, trust)
    except RetentionRecordError:
        return False
    said = (record.packet_sha256, record.packet_id, record.booth, record.position, record.received_at)
    return said == (entry.packet_sha256, entry.packet_id, entry.booth, entry.position, entry.received_at)


def _deletion_faults(deletion: Deletion, trust: TrustStore) -> Iterator[str]:
    """What a deletion's columns and signatures say otherwise than they must."""
    columns = (deletion.packet_sha256, deletion.deleted_at, deletion.reason, deletion.size)
    try:
        record = DeletionRecord.verify(deletion.record, trust)
        if columns != (record.packet_sha256, record.at, record.reason, record.size):
            yield "A deletion is not what its signature covers."
    except RetentionRecordError as error:
        yield str(error)
    if deletion.erasure is None:
        if deletion.erased_at is not None:
            yield "A deletion has a time of its erasure and no record of it."
        return
    try:
        erasure = ErasureRecord.verify(deletion.erasure, trust)
    except RetentionRecordError as error:
        yield str(error)
        return
    said = (deletion.packet_sha256, digest_of(deletion.record), deletion.erased_at)
    if said != (erasure.packet_sha256, erasure.deletion_sha256, erasure.at):
        yield "An erasure is not that of its deletion."


def _hold_faults(hold: Hold, previous: str, trust: TrustStore) -> Iterator[str]:
    try:
        record = HoldRecord.verify(hold.record, trust)
    except RetentionRecordError as error:
        yield f"The hold with number {hold.number}: {error}"
        return
    columns = (hold.number, hold.packet_sha256, hold.action, hold.reason, hold.at, hold.by)
    if columns != (record.number, record.packet_sha256, record.action, record.reason, record.at, record.by):
        yield f"The hold with number {hold.number} is not what its signature covers."
    if record.previous_sha256 != previous:
        yield f"The hold with number {hold.number} names another one before it."
