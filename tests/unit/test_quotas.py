"""What a booth may bring within a day, counted from the rows for all replicas, and the question that many uploads ask together."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from crypto.receipt import verify_receipt
from server.errors import QuotaError, StorageUnavailableError
from server.quotas import LONGEST_WAIT, Quota, Reception, Standing
from server.store import open_store, packets, padded
from tests.intake_rig import problem, running
from tests.sealed_packets import Keys, digest

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("quota-keys") / "pki")


def small(keys: Keys) -> bytes:
    return keys.packet({"visit.json": b"{}"})


async def test_what_is_too_much_for_a_day_comes_back_later_and_what_is_here_is_never_refused(keys, tmp_path):
    data = tmp_path / "data"
    first, second, third = (small(keys) for _ in range(3))
    async with (
        running(keys, data, quota_packets_per_day=2) as one,
        running(keys, data, quota_packets_per_day=2) as other,
    ):
        assert (await one.put(first)).status_code == 201
        assert (await other.put(second)).status_code == 201
        for replica in (one, other):
            refused = await replica.put(third)
            assert problem(refused, 429, "booth.quota")["retry"] is True
            assert 0 < int(refused.headers["retry-after"]) <= LONGEST_WAIT.total_seconds() + 1
            answer = await replica.upload("PUT", digest(third), third[:100], complete=False, length=len(third))
            problem(answer, 429, "booth.quota")
            again = await replica.put(first)
            assert again.status_code == 200
            verify_receipt(again.content, keys.trust, digest(first))
        yesterday = one.rooms.now() - timedelta(days=1)
        async with one.rooms.store.writing() as connection:
            await connection.execute(sa.update(packets).values(received_at=yesterday))
        assert (await one.put(third)).status_code == 201
        assert len(one.files()) == 3


async def test_bytes_count_too_with_those_that_are_announced(keys, tmp_path):
    packet = small(keys)
    async with running(keys, tmp_path / "data", quota_bytes_per_day=len(packet) + 10) as intake:
        assert (await intake.put(packet)).status_code == 201
        problem(await intake.put(small(keys)), 429, "booth.quota")
    async with running(keys, tmp_path / "other", quota_bytes_per_day=len(packet) - 1) as intake:
        begun = await intake.upload("PUT", digest(packet), packet[:10], complete=False, length=len(packet))
        problem(begun, 429, "booth.quota")


@pytest.mark.parametrize(("hour", "wait_s"), [(12, 3601), (23.5, 1801)])
def test_a_quota_says_when_to_come_back(hour, wait_s):
    quota = Quota(packets=2, size_bytes=100)
    quota.check(Standing(None, 1, 60), 40, NOON)
    now = NOON.replace(hour=0) + timedelta(hours=hour)
    for standing, size in ((Standing(None, 2, 0), 1), (Standing(None, 0, 60), 41)):
        with pytest.raises(QuotaError) as refused:
            quota.check(standing, size, now)
        assert refused.value.retry_after_s == wait_s


async def test_uploads_that_ask_together_are_answered_by_few_questions_each_with_its_own(keys, tmp_path, no_tasks_left):
    async with running(keys, tmp_path / "data") as intake:
        stored = [small(keys) for _ in range(5)]
        for packet in stored:
            assert (await intake.put(packet)).status_code == 201
        reception = Reception(intake.rooms.store, intake.rooms.now)
        asked: list[str] = []
        engine = intake.rooms.store._engine.sync_engine
        sa.event.listen(engine, "before_cursor_execute", lambda *event: asked.append(event[2]))
        names = [*(digest(packet) for packet in stored), *(f"{number:064x}" for number in range(75))]
        found = await asyncio.gather(*(reception.ask(name, "booth-0001") for name in names))
        given_up = asyncio.create_task(reception.ask(names[0], "booth-0002"))
        await asyncio.sleep(0)
        given_up.cancel()
        other = await reception.ask(names[0], "booth-0002")
    assert [one.known.sha256 if one.known else None for one in found] == [*names[:5], *([None] * 75)]
    assert {(one.packets_today, one.bytes_today) for one in found} == {(5, sum(map(len, stored)))}
    assert (other.packets_today, replace(other, known=None).bytes_today) == (0, 0)
    assert sum("FROM packets" in one and "sum" not in one for one in asked) <= 4


async def test_a_database_that_is_gone_is_told_to_everybody_who_asked(tmp_path):
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}") as store:
        reception = Reception(store, lambda: NOON)
        async with store.writing() as connection:
            await connection.execute(sa.text("ALTER TABLE packets RENAME TO gone"))
        answers = await asyncio.gather(*(reception.ask("0" * 64, "b") for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [StorageUnavailableError] * 3
        async with store.writing() as connection:
            await connection.execute(sa.text("ALTER TABLE gone RENAME TO packets"))
        assert await reception.ask("0" * 64, "b") == Standing(None, 0, 0)


def test_questions_have_few_lengths():
    assert padded(["b", "a", "c", "a"]) == ["a", "b", "c", "c"]
    assert [len(padded([str(at) for at in range(count)])) for count in (1, 2, 3, 5, 64)] == [1, 2, 4, 8, 64]
