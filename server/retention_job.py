"""Deleting what is due: the intake's job, `intake retention run`, and what a restore does before anything is served.

Order of operation of a run
  clocks: a database of its own tells its time; one that is CLOCKS_APART from ours deletes nothing, because a wrong clock would delete too early
  → deletions that were cut off are brought to their end (server/deletions.py) → old packets page by page, oldest first; each that is due is deleted.
In the transaction of each deletion everything is read again: an officer's decision, a producer's answer, a hold that came meanwhile keep the packet.
What cannot be deleted does not stop the others, until MOST_IN_A_ROW fail one after the other; a run that met such a packet ends with its error, and the
next run tries again.
Runs beside each other are harmless: of two that come to the same packet one deletes it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.keys import Signer, TrustStore
from server.deletions import Deletions
from server.errors import StorageError, UnknownPacketError
from server.jobs import Job, database_now
from server.objects import Objects
from server.retention import Fate, Policy
from server.retention_errors import ClocksApartError, HeldError, NotDueError
from server.retention_rows import Kept, old_packets, read_kept
from server.store import Store, StoredPacket

log = logging.getLogger(__name__)

JOB = "retention"
# More than clocks that are kept by NTP ever differ, less than any time of the policy.
CLOCKS_APART = timedelta(hours=1)
# A store, a database or a key that does not answer fails every time; single objects that cannot be deleted are few.
MOST_IN_A_ROW = 10


@dataclass(frozen=True, slots=True)
class Planned:
    """A packet that is due."""

    sha256: str
    fate: Fate
    due: datetime


@dataclass(slots=True)
class Run:
    """What a run did."""

    deleted: int = 0
    finished: int = 0  # deletions that an earlier run had begun
    kept: int = 0  # due when they were looked at, and not any more: held, or something happened
    failed: int = 0
    more: bool = False  # there was more to do than one run does


class Retention:
    """The keeping and deleting of packets as one process does it."""

    def __init__(
        self,
        store: Store,
        objects: Objects,
        signer: Callable[[], Signer],
        trust: TrustStore,
        policy: Policy,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._policy, self._now = store, policy, now
        self.deletions = Deletions(store, objects.packets, objects.orders, signer, trust, now, policy.backups)

    async def plan(self, at: datetime) -> AsyncGenerator[Planned]:
        """What a run at that time would delete, oldest first, if nothing happened until then. Changes nothing."""
        async for kept, due in self._due(at):
            yield Planned(kept.sha256, kept.fate, due)

    async def run(self, most: int, progress: Callable[[Run], None] = lambda _run: None) -> Run:
        """Delete what is due, `most` packets at most. Raises `ClocksApartError`, and the first `StorageError` when all else is done."""
        await self._check_clock()
        run = Run()
        unfinished = await self.deletions.unfinished(most)
        run.more = len(unfinished) == most
        attempts = _Attempts(run)
        for deletion in unfinished:
            sha256, reason = deletion.packet_sha256, deletion.reason
            run.finished += await attempts.make(sha256, self.deletions.delete_packet(sha256, reason))
            progress(run)
        attempts.failed_in_a_row, now = 0, self._now()
        async with contextlib.aclosing(self._due(now)) as due:
            async for kept, _ in due:
                if run.deleted == most:
                    run.more = True
                    break
                run.deleted += await attempts.make(kept.sha256, self._delete(kept, now))
                progress(run)
        if run.deleted or run.finished:
            log.info("Packets were deleted: their time is over.", extra={"packets": run.deleted + run.finished})
        if attempts.failure is not None:
            raise attempts.failure
        return run

    async def _delete(self, kept: Kept, now: datetime) -> None:
        async def check(connection: AsyncConnection, packet: StoredPacket) -> None:
            found = await read_kept(connection, {packet.sha256: packet.received_at})
            present = found[packet.sha256]
            if present.fate is not kept.fate or (due := present.due(self._policy, now)) is None or due > now:
                raise NotDueError

        linked = self._policy.keep_links
        await self.deletions.delete_packet(kept.sha256, kept.fate, check=check, unlinked=not linked)

    async def _due(self, at: datetime) -> AsyncGenerator[tuple[Kept, datetime]]:
        async for page in old_packets(self._store, at - self._policy.shortest):
            for kept in page:
                due = kept.due(self._policy, at)
                if due is not None and due <= at:
                    yield kept, due

    async def _check_clock(self) -> None:
        async with self._store.reading() as connection:
            apart = abs(await database_now(connection) - self._now())
        if apart > CLOCKS_APART:
            raise ClocksApartError(
                "The clocks of this machine and of the database differ by more than an hour: nothing is deleted."
            )


class _Attempts:
    """Deletions, one after the other: what fails is told and stops no other, until so many fail in a row that nothing works."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.failed_in_a_row = 0
        self.failure: StorageError | None = None

    async def make(self, sha256: str, work: Awaitable[object]) -> bool:
        """Whether it was done. Raises `StorageError` when nothing works."""
        try:
            await work
        except (HeldError, NotDueError, UnknownPacketError):
            self._run.kept += 1
            return False
        except StorageError as error:
            told = {"packet": sha256[:16], "code": error.code}
            log.warning("A packet could not be deleted.", exc_info=error, extra=told)
            self.failure = self.failure or error
            self._run.failed += 1
            self.failed_in_a_row += 1
            if self.failed_in_a_row == MOST_IN_A_ROW:
                raise
            return False
        self.failed_in_a_row = 0
        return True


async def delete_due(
    store: Store,
    objects: Objects,
    signer: Callable[[], Signer],
    trust: TrustStore,
    policy: Policy,
    now: Callable[[], datetime],
) -> int:
    """Delete everything that is due; how many packets. What a restore does before anything is served."""
    retention, deleted = Retention(store, objects, signer, trust, policy, now), 0
    while True:
        run = await retention.run(1_000)
        deleted += run.deleted + run.finished
        if not run.more:
            return deleted


def retention_job(retention: Retention, every_s: float, most: int) -> Job:
    """The intake's job; its count is of packets deleted."""

    async def work() -> int:
        run = await retention.run(most)
        return run.deleted + run.finished

    return Job(JOB, every_s, work)
