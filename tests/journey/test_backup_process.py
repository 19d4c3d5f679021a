"""Backup and restore with real processes: a machine is lost, and every receipt that was ever given verifies on the new one; killed at any moment nothing is half."""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import shutil
import signal
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from crypto.keys import load_trust
from crypto.tree_head import verify_tree_head
from server.backup_folder import open_backups
from server.restore import find_damage
from server.restore_mark import MARK
from tests.journey.intake_nursery import DIED
from tests.journey.test_receipt_log_process import START_S, Nursery, Uploads, client_of, compare_with_head, nursery, put
from tests.kept_log import SIZE, Kept, make_kept
from tests.sealed_packets import Keys, digest

UPLOADERS = 3
# Before the machine is lost, and how many of them before the first backup begins.
PACKETS, EARLY = 12, 4
KILLS = 2


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("backup-keys") / "pki")


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Kept:
    return make_kept(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def kept(original, tmp_path) -> Kept:
    return original.copy(tmp_path / "data")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def born(keys):
    """One nursery for all: what is imported is imported once."""
    async with nursery(keys) as opened:
        yield opened


def await_end(process: int) -> None:
    """Killed is gone when the kernel has ended it, and let go of its locks. Blocks."""
    try:
        watched = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        assert select.select([watched], [], [], START_S)[0]
    finally:
        os.close(watched)


class Command:
    """A command of the server in a process of the nursery."""

    def __init__(self, born: Nursery, folder: Path) -> None:
        self.born, self.output = born, folder / "output"

    async def run(self, *argv: object, die_at: int = 0) -> tuple[int, int, str]:
        """Exit code, steps, what it printed."""
        order = {"argv": [str(one) for one in argv], "output": str(self.output), "die_at": die_at}
        self.born.process.stdin.write(json.dumps(order).encode() + b"\n")
        told = json.loads(await asyncio.wait_for(self.born.process.stdout.readline(), START_S))
        if "pid" in told:
            await_end(told["pid"])
        return told["code"], told["steps"], self.output.read_text()


async def upload(uploads: Uploads, base: str, until: int) -> None:
    """Several booths' clients until so many packets have their receipt."""
    async with client_of(uploads.keys) as client, asyncio.TaskGroup() as group:
        clients = [group.create_task(uploads.run(client, base)) for _ in range(UPLOADERS)]
        while len(uploads.receipts) < until:
            uploads.answered.clear()
            await asyncio.wait_for(uploads.answered.wait(), START_S)
        for one in clients:
            one.cancel()


async def empty(url: str) -> None:
    """The database of a machine that was lost: the new one's is empty."""
    connection = await asyncpg.connect(host=url.partition("host=")[2], user="postgres", database="postgres")
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()


@pytest.fixture(params=["sqlite to sqlite and to postgres", "postgres to postgres"])
def engines(request) -> tuple[str, str, list[str]]:
    """PostgreSQL's address, the engine of the lost machine, those of the new ones."""
    source, *targets = request.param.replace("and ", "").split(" to ")
    return request.getfixturevalue("postgres_url"), source, targets


async def test_a_machine_is_lost_and_every_receipt_ever_issued_verifies_on_the_new_one(keys, born, tmp_path, engines):
    postgres_url, source, targets = engines
    old, root, pki = tmp_path / "old", tmp_path / "backups", keys.folder
    options = {"postgres": ("--database-url", postgres_url), "sqlite": ()}
    more = {"postgres": {"database_url": postgres_url}, "sqlite": {}}
    uploads = Uploads(keys)
    command = Command(born, tmp_path)
    pid, base = await born.start(old, **more[source])
    await upload(uploads, base, EARLY)
    back_up = ("backup", root, "--data", old, "--pki", pki, *options[source], "--json")
    # The first one beside uploads; the last after the last receipt that a booth has.
    working = asyncio.create_task(upload(uploads, base, PACKETS))
    code, _, told = await command.run(*back_up)
    assert code == 0, told
    await working
    # What was to be sent once more.
    async with client_of(keys) as client:
        for packet in uploads.waiting:
            answer = await put(client, keys, base, packet)
            uploads.receipts[digest(packet)] = answer.content
    code, _, told = await command.run(*back_up)
    assert (code, json.loads(told)["log_size"] >= len(uploads.receipts)) == (0, True), told
    os.kill(pid, signal.SIGKILL)
    await_end(pid)
    shutil.rmtree(old)
    if source == "postgres":
        await empty(postgres_url)
    # What a booth holds is its receipts, nothing else of the lost machine.
    held = tmp_path / "booth"
    held.mkdir()
    for sha256, receipt in uploads.receipts.items():
        (held / sha256).write_bytes(receipt)
    receipts = [option for path in held.iterdir() for option in ("--receipt", path)]
    for target in targets:
        place = ("--data", tmp_path / target, "--pki", pki, *options[target])
        code, _, told = await command.run("restore", root, *place, "--json")
        assert (code, json.loads(told)["sound"]) == (0, True), told
        code, _, told = await command.run("log", "verify", *place, "--files", *receipts)
        assert (code, f"continuation of all {len(uploads.receipts)} witnesses" in told) == (0, True), told
        pid, base = await born.start(tmp_path / target, **more[target])
        await ask_for_receipts(keys, base, uploads.receipts)
        os.kill(pid, signal.SIGKILL)
        await_end(pid)


async def ask_for_receipts(keys: Keys, base: str, receipts: dict[str, bytes]) -> None:
    """The new intake gives every one again, proves that its log goes on from each, and goes on with it."""
    async with client_of(keys) as client:
        head = verify_tree_head((await client.get(f"{base}/v1/log/head")).content, keys.trust)
        await compare_with_head(client, base, keys, receipts, head)
        for sha256, receipt in receipts.items():
            url = f"{base}/v1/packets/{sha256}/receipt"
            assert (await client.get(url, headers=keys.headers("GET", url))).content == receipt
        answer = await put(client, keys, base, keys.packet({"visit.json": b"{}"}))
        assert answer.status_code == 201, "the log goes on"


def require_whole_backups(root: Path, keys: Keys) -> int:
    """Every backup that has its name is whole to the last byte; how many there are."""
    with open_backups(root, writing=False) as folder:
        names = folder.names()
        for name in names:
            backup = folder.load(name, load_trust(keys.folder / "ca.pem"))
            assert find_damage(folder, backup, lambda *_: None) == []
    return len(names)


def packets_in(data: Path) -> dict[str, bytes]:
    """What was kept under its name; what a kill leaves in `incoming` goes at a later start."""
    return {path.name: path.read_bytes() for path in (data / "objects" / "packets").rglob("?" * 64)}


def kill_steps(steps: int, count: int) -> list[int]:
    """Moments over the whole of the work; what comes before is the program's start."""
    return random.Random(20261123).sample(range(steps // 2, steps + 1), count)


async def test_a_backup_that_is_killed_at_any_moment_leaves_the_former_ones_whole(born, tmp_path, kept):
    younger = kept.copy(tmp_path / "younger")
    younger.change("DELETE FROM packets WHERE position >= 4")  # so that there is something to copy later
    former, root, pki = tmp_path / "former", tmp_path / "backups", kept.keys.folder
    command = Command(born, tmp_path)
    code, steps, told = await command.run("backup", former, "--data", younger.data, "--pki", pki)
    assert code == 0, told
    outcomes = set()
    for at in kill_steps(steps, KILLS):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(former, root)
        code, _, told = await command.run("backup", root, "--data", kept.data, "--pki", pki, die_at=at)
        assert code in {0, DIED}, told  # 0: this run took fewer steps than the first one
        outcomes.add(require_whole_backups(root, kept.keys))
        code, _, told = await command.run("backup", root, "--data", kept.data, "--pki", pki)
        assert (code, require_whole_backups(root, kept.keys) > 1) == (0, True), told
        assert not list(root.glob(".making-*"))
    assert 1 in outcomes


async def test_a_restore_that_is_killed_at_any_moment_is_finished_by_the_same_command(born, tmp_path, kept):
    root, new, pki = tmp_path / "backups", tmp_path / "new", kept.keys.folder
    before = packets_in(kept.data)
    restore = ("restore", root, "--data", new, "--pki", pki)
    command = Command(born, tmp_path)
    code, _, told = await command.run("backup", root, "--data", kept.data, "--pki", pki)
    assert code == 0, told
    code, steps, told = await command.run(*restore)
    assert code == 0, told
    marked = 0
    for at in kill_steps(steps, KILLS):
        shutil.rmtree(new)
        code, _, told = await command.run(*restore, die_at=at)
        assert code in {0, DIED}, told  # 0: this run took fewer steps than the first one
        marked += (new / MARK).exists()
        if (new / MARK).exists() or not packets_in(new):
            code, _, told = await command.run(*restore)
            assert code == 0, told
        assert Kept(kept.keys, new, [], []).rows("SELECT count(*) FROM packets") == [(SIZE,)]
        assert packets_in(new) == before
        assert not (new / MARK).exists()
    assert marked
