"""Background jobs: one of several replicas does each, a dead holder's job goes on elsewhere, what was done is told."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from server.errors import StorageUnavailableError
from server.jobs import Job, Jobs, jobs, read_jobs
from server.store import open_store


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request) -> str:
    return request.getfixturevalue(f"{request.param}_url")


class Counted:
    """Work that counts, and waits while it is told to."""

    def __init__(self) -> None:
        self.began, self.at_once, self.most = 0, 0, 0
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()
        self.often = asyncio.Event()

    async def __call__(self) -> int:
        self.began += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.begun.set()
        if self.began == 3:
            self.often.set()
        try:
            await self.go_on.wait()
        finally:
            self.at_once -= 1
        return 7


async def state(store):
    (one,) = await read_jobs(store)
    return one


async def forget_the_lease(store, **values):
    async with store.writing() as connection:
        await connection.execute(sa.update(jobs).values(**values))


async def test_of_many_replicas_one_does_a_job_and_only_when_it_is_due(url):
    work = Counted()
    job = Job("scrub", 3600, work)
    async with open_store(url) as one, open_store(url) as other:
        replicas = [Jobs(one, [job]), Jobs(other, [job]), Jobs(one, [job]), Jobs(other, [job])]
        assert sorted(await asyncio.gather(*(replica.run_due(job) for replica in replicas))) == [False] * 3 + [True]
        told = await state(one)
        assert (told.name, told.holder, told.outcome, told.count) == ("scrub", None, "done", 7)
        assert told.ran_at is not None
        assert not await replicas[0].run_due(job)
        often = Job("scrub", 0, work)
        assert await replicas[1].run_due(often)
    assert (work.began, work.most) == (2, 1)


async def test_while_it_is_done_nobody_else_does_it_and_the_lease_is_renewed(url):
    work = Counted()
    work.go_on.clear()
    job = Job("scrub", 0, work)
    async with open_store(url) as store:
        first, second = Jobs(store, [job]), Jobs(store, [job])
        first._renew_s = 0.05
        running = asyncio.create_task(first.run_due(job))
        await work.begun.wait()
        held = (await state(store)).held_until
        async with asyncio.timeout(10):
            while (await state(store)).held_until == held:
                assert not await second.run_due(job)
        assert (await state(store)).holder == first.holder
        work.go_on.set()
        assert await running
        assert await second.run_due(job)


async def test_a_dead_holders_job_is_taken_over_when_its_lease_ran_out(url):
    work = Counted()
    job = Job("scrub", 0, work)
    async with open_store(url) as store:
        dead, living = Jobs(store, [job], lease_s=0.01), Jobs(store, [job])
        assert await dead._claim(job)
        async with asyncio.timeout(10):
            while not await living.run_due(job):
                pass
        assert work.began == 1
        # What the dead one still says counts no more.
        await dead._end(job, "done", 99)
        assert (await state(store)).count == 7


async def test_who_lost_its_lease_stops_working(sqlite_url):
    work = Counted()
    work.go_on.clear()
    job = Job("scrub", 0, work)
    async with open_store(sqlite_url) as store:
        replica = Jobs(store, [job])
        replica._renew_s = 0.05
        running = asyncio.create_task(replica.run_due(job))
        await work.begun.wait()
        await forget_the_lease(store, holder="somebody else")
        async with asyncio.timeout(10):
            assert await running
        assert work.at_once == 0
        assert (await state(store)).holder == "somebody else"


async def test_a_database_that_is_gone_until_the_lease_ran_out_stops_the_work(sqlite_url, monkeypatch):
    work = Counted()
    work.go_on.clear()
    job = Job("scrub", 0, work)

    async def gone(_):
        raise StorageUnavailableError

    async with open_store(sqlite_url) as store:
        replica = Jobs(store, [job], lease_s=0.3)
        monkeypatch.setattr(replica, "_extend", gone)
        async with asyncio.timeout(10):
            assert await replica.run_due(job)
        assert work.at_once == 0


async def test_an_error_is_the_outcome_and_the_job_comes_again_when_it_is_due(sqlite_url):
    async def broken() -> int:
        raise StorageUnavailableError

    async def faulty() -> int:
        raise ZeroDivisionError

    async with open_store(sqlite_url) as store:
        replica = Jobs(store, [])
        assert await replica.run_due(Job("scrub", 3600, broken))
        told = await state(store)
        assert (told.outcome, told.count, told.holder) == ("storage.unavailable", 0, None)
        assert not await replica.run_due(Job("scrub", 3600, broken))
        with pytest.raises(ZeroDivisionError):
            await replica.run_due(Job("scrub", 0, faulty))
        assert ((await state(store)).outcome, (await state(store)).holder) == ("failed", None)


async def test_the_jobs_run_by_themselves_and_end_with_the_process(sqlite_url, no_tasks_left):
    first, second = Counted(), Counted()
    second.go_on.clear()
    async with open_store(sqlite_url) as store:
        replica = asyncio.create_task(Jobs(store, [Job("one", 0.01, first), Job("two", 0.01, second)]).run())
        async with asyncio.timeout(10):
            await second.begun.wait()
            await first.often.wait()
        replica.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replica
        assert second.at_once == 0
        one, two = await read_jobs(store)
        assert (one.holder, one.outcome) == (None, "done")
        assert (two.holder, two.ran_at, two.outcome) == (None, None, None), "it was stopped, and is due as before"
