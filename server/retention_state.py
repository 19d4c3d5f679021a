"""How one packet, and retention as a whole, stand: what the desk's countdown and `intake retention show` tell.

A packet is there and has a time, or is held, or waits for a producer; or it is deleted, and then its signed records are all there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from crypto.errors import RetentionRecordError
from crypto.keys import TrustStore
from crypto.retention_records import DeletionRecord, ErasureRecord, digest_of
from server.deletions import Deletion, deletions, find_deletions
from server.errors import MalformedRequestError, UnknownPacketError
from server.holds import Hold, open_holds
from server.jobs import jobs
from server.packet_search import HEX
from server.retention import Fate, Policy
from server.retention_job import JOB
from server.retention_rows import read_kept, read_policy
from server.store import Store, packets

SHORTEST = 8


@dataclass(frozen=True, slots=True)
class RetentionState:
    """One packet."""

    fate: Fate | None  # None when it is deleted
    due: datetime | None  # None when it is held, waits for a producer, or is deleted
    backups_end_at: datetime | None
    held: tuple[Hold, ...] = ()
    deletion: Deletion | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Retention as a whole."""

    held: int
    deleted: int
    unfinished: int
    ran_at: datetime | None
    outcome: str | None


async def read_state(store: Store, sha256: str, policy: Policy | None, now: datetime) -> RetentionState:
    """How a packet stands by a policy, by the one that an intake told when none is given. Raises `UnknownPacketError`."""
    row = sa.select(packets.c.received_at).where(packets.c.sha256 == sha256)
    async with store.reading() as connection:
        received_at = (await connection.execute(row)).scalar_one_or_none()
        policy = policy or await read_policy(connection) or Policy()
        if received_at is None:
            deletion = (await find_deletions(connection, [sha256])).get(sha256)
            if deletion is None:
                raise UnknownPacketError("There is no such packet.")
            return RetentionState(None, None, deletion.deleted_at + policy.backups, deletion=deletion)
        kept = (await read_kept(connection, {sha256: received_at}))[sha256]
        held = tuple((await open_holds(connection, [sha256])).get(sha256, ()))
    due = None if held else kept.due(policy, now)
    return RetentionState(kept.fate, due, None if due is None else max(due, now) + policy.backups, held)


async def read_standing(store: Store) -> Standing:
    """How many packets are held and deleted, and how the job last went."""
    async with store.reading() as connection:
        held = len(await open_holds(connection, None))
        counted = sa.select(sa.func.count(), sa.func.count(deletions.c.erased_at)).select_from(deletions)
        deleted, erased = (await connection.execute(counted)).one()
        job = (await connection.execute(sa.select(jobs).where(jobs.c.name == JOB))).one_or_none()
    last = (None, None) if job is None else (job.ran_at, job.outcome)
    return Standing(held, deleted, deleted - erased, *last)


async def find_beginning(store: Store, text: str) -> str:
    """The packet, deleted or not, whose digest begins so. Raises `MalformedRequestError`, `UnknownPacketError`."""
    if not HEX.fullmatch(text) or len(text) < SHORTEST:
        raise MalformedRequestError(f"A packet is named by the first {SHORTEST} or more hex digits of its digest.")
    found: set[str] = set()
    async with store.reading() as connection:
        for column in (packets.c.sha256, deletions.c.packet_sha256):
            within = sa.select(column).where(column >= text, column < text + "g").limit(2)
            found.update((await connection.execute(within)).scalars())
    if not found:
        raise UnknownPacketError("There is no such packet.")
    if len(found) > 1:
        raise MalformedRequestError("Several packets begin so: give more of the digest.")
    return found.pop()


def told_deletion(deletion: Deletion, trust: TrustStore) -> dict[str, Any]:
    """A deletion with its records verified, for people and programs."""
    told: dict[str, Any] = {
        "deleted_at": _time(deletion.deleted_at),
        "reason": deletion.reason,
        "erased_at": _time(deletion.erased_at),
        "record_sha256": digest_of(deletion.record),
        "genuine": True,
        "fault": None,
    }
    try:
        record = DeletionRecord.verify(deletion.record, trust)
        told |= {"signer": record.signer, "messages": record.messages, "position": record.position}
        told["backups_end_at"] = _time(record.backups_end_at)
        if record.packet_sha256 != deletion.packet_sha256:
            raise RetentionRecordError("The deletion record is for another packet.")
        if deletion.erasure is not None:
            erasure = ErasureRecord.verify(deletion.erasure, trust)
            if erasure.deletion_sha256 != told["record_sha256"]:
                raise RetentionRecordError("The erasure record is for another deletion.")
    except RetentionRecordError as error:
        told |= {"genuine": False, "fault": str(error)}
    return told


def _time(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
