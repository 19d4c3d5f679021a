"""kill -9 at every step of a deletion, on real files: what is left is either the packet, whole, or a deletion that the next run brings to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from server.config import StoreSettings
from server.deletion_audit import account_for_deletions, check_deletions
from server.deletions import Deletions
from server.folder_objects import open_folder_objects
from server.handover_rows import orders
from server.log_audit import audit_log
from server.packet_counts import check_counts
from server.receipt_log import open_receipt_log
from server.store import Store, make_engine, migrate
from tests.packets import NOW
from tests.unit.test_receipt_log import WORLD, clock, new_packet

NEW, MESSAGE = new_packet("sealed"), "b" * 64


class Steps:
    """Ends this process at one of its steps."""

    def __init__(self, last: int) -> None:
        self.left = last

    def pass_one(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """A collection whose deletions are steps; what is after one is before the next."""

    def __init__(self, place, steps: Steps) -> None:
        self._place, self._steps = place, steps

    async def delete(self, name: str) -> bool:
        self._steps.pass_one()
        return await self._place.delete(name)

    async def holds(self, name: str) -> bool:
        return await self._place.holds(name)


class DyingStore(Store):
    """A store whose commits are steps."""

    steps: Steps

    @contextlib.asynccontextmanager
    async def writing(self):
        async with super().writing() as connection:
            yield connection
            self.steps.pass_one()


@contextlib.asynccontextmanager
async def opened(folder: Path, steps: Steps):
    engine = make_engine(StoreSettings(data_dir=folder).resolved_database_url)
    async with open_folder_objects(folder / "objects") as objects:
        dying = DyingStore(engine)
        dying.steps = steps
        sealed, messages = Dying(objects.packets, steps), Dying(objects.orders, steps)
        try:
            made = Deletions(dying, sealed, messages, lambda: WORLD.intake, WORLD.trust, clock, timedelta(days=30))
            yield dying, objects, made
        finally:
            await engine.dispose()


async def fill(folder: Path) -> None:
    """One packet with one message for a producer."""
    engine = make_engine(StoreSettings(data_dir=folder).resolved_database_url)
    await migrate(engine)
    await engine.dispose()
    async with (
        opened(folder, Steps(0)) as (store, objects, _),
        open_receipt_log(store, lambda: WORLD.intake, clock) as receipts,
    ):
        await receipts.append(NEW, None)
        for place, name in ((objects.packets, NEW.sha256), (objects.orders, MESSAGE)):
            async with place.writer() as writer:
                await writer.write(b"sealed")
                await writer.keep(name)
        row = {"id": "1" * 32, "cursor": 1, "packet_sha256": NEW.sha256, "producer": "p", "message_sha256": MESSAGE}
        row |= {"size": 1, "created_at": NOW, "answer_by": NOW, "note": b""}
        async with store.writing() as connection:
            await connection.execute(sa.insert(orders).values(row))


async def delete(folder: Path, steps: Steps) -> None:
    async with opened(folder, steps) as (_, _, deletions):
        await deletions.delete_packet(NEW.sha256, "undecided")


async def look(folder: Path) -> tuple[bool, int]:
    """Whether the packet's row is there, and how many objects; then everything is brought to its end and must be sound."""
    async with opened(folder, Steps(0)) as (store, objects, deletions):
        row = await store.find(NEW.sha256) is not None
        held = [await objects.packets.holds(NEW.sha256), await objects.orders.holds(MESSAGE)]
        for one in await deletions.unfinished(9):
            await deletions.delete_packet(one.packet_sha256, one.reason)
        if not row:
            assert (await deletions.find(NEW.sha256)).erased_at is not None
            assert await deletions.stored(NEW.sha256) == 0
        audit = await audit_log(
            store,
            WORLD.trust,
            accounts=[account_for_deletions(WORLD.trust)],
            checks=[check_deletions(WORLD.trust), check_counts],
        )
        assert audit.findings == []
        return row, sum(held)


def test_a_kill_at_any_step_leaves_the_packet_or_a_deletion_that_ends(tmp_path):
    asyncio.run(fill(tmp_path / "made"))
    seen = []
    for last in range(1, 100):
        folder = tmp_path / f"killed-{last}"
        shutil.copytree(tmp_path / "made", folder)
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(delete(folder, Steps(last)))
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        seen.append(asyncio.run(look(folder)))
    # Before the commit both are there; after it the row is gone, then the message, then the packet's bytes.
    assert seen[0] == (True, 2)
    assert [row for row, _ in seen[1:]] == [False] * (len(seen) - 1)
    assert [count for _, count in seen] == sorted((count for _, count in seen), reverse=True)
    assert {count for _, count in seen} == {0, 1, 2}
    assert len(seen) == 6
    assert asyncio.run(look(folder)) == (False, 0)
