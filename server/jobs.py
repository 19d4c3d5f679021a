"""Work that has to be done again and again, by one of any number of processes on the same database: scrubbing, orphans, retention.

Each job has one row: who holds it, until when, when it last ran to an end, with what outcome and count.

Order of operation
  claim: one UPDATE takes the row when nobody holds it, or its holder's lease has run out, and when the job is due. Of several processes one succeeds.
  work: the lease is renewed every RENEW_S while the work runs. Who cannot renew it before it ends stops the work: somebody else may hold the job.
  end: outcome, count and time are written and the row is let go of in one UPDATE, by its holder alone. A process that stops lets go of the row too,
      and the job is due as before.
All times are the database's, so that the clocks of the replicas do not matter. A killed holder's lease runs out after LEASE_S, and another process
takes the job. What a job does must bear being done twice: between the end of a lease and the end of the work that had it lies a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import ServerError
from server.store import Store, UtcDateTime, metadata

log = logging.getLogger(__name__)

LEASE_S = 60.0
# A third of the lease: one renewal may fail, and the work still goes on.
RENEW_S = LEASE_S / 3
# How often a process looks whether a job is due; a job that is due more often is looked at as often as it is due.
LOOK_S = 60.0
DONE, FAILED = "done", "failed"

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("holder", sa.String(32), nullable=True),
    sa.Column("held_until", UtcDateTime(), nullable=True),
    # When it last came to an end, and how: "done", or the code of the error.
    sa.Column("ran_at", UtcDateTime(), nullable=True),
    sa.Column("outcome", sa.String(64), nullable=True),
    # What it did then, in the job's own unit: objects removed, faults found.
    sa.Column("count", sa.BigInteger(), nullable=True),
)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done every so often; `work` returns how much it did."""

    name: str
    every_s: float
    work: Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class JobState:
    """One row."""

    name: str
    holder: str | None
    held_until: datetime | None
    ran_at: datetime | None
    outcome: str | None
    count: int | None


class Jobs:
    """The jobs as one process does them."""

    def __init__(self, store: Store, work: Sequence[Job], *, lease_s: float = LEASE_S) -> None:
        self._store, self._jobs, self._lease = store, tuple(work), timedelta(seconds=lease_s)
        self._renew_s = lease_s * RENEW_S / LEASE_S
        self.holder = secrets.token_hex(16)

    async def run(self) -> None:
        """Do each job whenever it is due, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for job in self._jobs:
                group.create_task(self._repeat(job), name=f"job-{job.name}")

    async def run_due(self, job: Job) -> bool:
        """Do the job if it is due and nobody else does it; says whether this process did. Raises `StorageError`, what the work raises unexpectedly."""
        if not await self._claim(job):
            return False
        outcome: str | None = None
        count = 0
        work = asyncio.ensure_future(job.work())
        renewal = asyncio.create_task(self._renew(job), name=f"lease-{job.name}")
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.warning("A job was stopped: its lease could not be renewed.", extra={"job": job.name})
                return True
            try:
                outcome, count = DONE, work.result()
            except ServerError as error:
                outcome = error.code
                log.warning("A job could not be done.", exc_info=error, extra={"job": job.name, "code": error.code})
            except Exception:
                outcome = FAILED
                raise
        finally:
            for task in (work, renewal):
                task.cancel()
            await asyncio.gather(work, renewal, return_exceptions=True)
            await asyncio.shield(self._end(job, outcome, count))
        return True

    async def _repeat(self, job: Job) -> None:
        look_s = min(job.every_s, LOOK_S)
        while True:
            try:
                await self.run_due(job)
            except ServerError as error:
                log.warning("Jobs cannot be looked at.", exc_info=error, extra={"job": job.name, "code": error.code})
            except Exception:  # a fault in one job is told and stops neither the others nor the intake
                log.exception("A job failed.", extra={"job": job.name})
            await asyncio.sleep(look_s * random.uniform(0.9, 1.1))  # noqa: S311 (replicas that start together drift apart)

    async def _claim(self, job: Job) -> bool:
        async with self._store.writing() as connection:
            now = await database_now(connection)
            insert = self._store.insert(jobs).values(name=job.name).on_conflict_do_nothing()
            await connection.execute(insert)
            free = sa.or_(jobs.c.holder.is_(None), jobs.c.held_until < now)
            due = sa.or_(jobs.c.ran_at.is_(None), jobs.c.ran_at <= now - timedelta(seconds=job.every_s))
            taken = await connection.execute(
                sa.update(jobs)
                .where(jobs.c.name == job.name, free, due)
                .values(holder=self.holder, held_until=now + self._lease)
            )
            return taken.rowcount == 1

    async def _renew(self, job: Job) -> None:
        """Ends when the lease is somebody else's, or when the database did not answer until it ran out."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._lease.total_seconds()
        while True:
            await asyncio.sleep(self._renew_s)
            asked_at = loop.time()
            try:
                async with asyncio.timeout_at(until):
                    if not await self._extend(job):
                        return
            except TimeoutError:
                return
            except ServerError as error:
                log.warning("A lease was not renewed.", exc_info=error, extra={"job": job.name})
                if asked_at + self._renew_s >= until:
                    return
                continue
            until = asked_at + self._lease.total_seconds()

    async def _extend(self, job: Job) -> bool:
        async with self._store.writing() as connection:
            now = await database_now(connection)
            kept = await connection.execute(
                sa.update(jobs)
                .where(jobs.c.name == job.name, jobs.c.holder == self.holder)
                .values(held_until=now + self._lease)
            )
            return kept.rowcount == 1

    async def _end(self, job: Job, outcome: str | None, count: int) -> None:
        """Let go of the job; None is a stop half-way, after which it is due as before."""
        told = {} if outcome is None else {"outcome": outcome, "count": count}
        try:
            async with self._store.writing() as connection:
                now = await database_now(connection)
                await connection.execute(
                    sa.update(jobs)
                    .where(jobs.c.name == job.name, jobs.c.holder == self.holder)
                    .values(holder=None, held_until=None, **({"ran_at": now} | told if told else {}))
                )
        except ServerError as error:
            # The lease runs out by itself, and the job is done anew.
            log.warning("A job's end could not be written.", exc_info=error, extra={"job": job.name})


@contextlib.asynccontextmanager
async def doing_jobs(store: Store, work: Sequence[Job]) -> AsyncIterator[None]:
    """The jobs are done in the background as long as the block lasts."""
    task = asyncio.create_task(Jobs(store, work).run(), name="jobs")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def read_jobs(store: Store) -> list[JobState]:
    """What is known of each job, by name."""
    async with store.reading() as connection:
        rows = await connection.execute(sa.select(jobs).order_by(jobs.c.name))
        return [JobState(**row._mapping) for row in rows]  # noqa: SLF001 (the documented way to read a row by names)


async def database_now(connection: AsyncConnection) -> datetime:
    """The time of the database's clock, which all replicas share."""
    if connection.dialect.name == "postgresql":
        now: datetime = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        return now.astimezone(UTC)
    told = (await connection.execute(sa.select(sa.func.strftime("%Y-%m-%dT%H:%M:%f+00:00", "now")))).scalar_one()
    return datetime.fromisoformat(told)
