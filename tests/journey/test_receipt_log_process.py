"""The receipt log under real processes: killed at any moment, several on one database. What a client was told stays true."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import ssl
import sys
from pathlib import Path

import httpx2
import pytest

from crypto.merkle import verify_consistency
from crypto.receipt import VerifiedReceipt, read_entry, verify_receipt
from crypto.tree_head import verify_tree_head
from server.folder_objects import open_folder_objects
from server.log_audit import Witness, audit_log
from server.log_rows import log_entries
from server.packet_counts import count_packets
from server.store import Store, open_present_store
from tests.journey.intake_nursery import BATCHES, DIED
from tests.sealed_packets import Keys, digest

PROJECT = Path(__file__).resolve().parents[2]
START_S = 60.0
STEP_S = 30.0
KILLS = 32
UPLOADERS = 6


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("log-keys") / "pki")


class Nursery:
    """The process that forks intakes."""

    def __init__(self, process: asyncio.subprocess.Process, keys: Keys) -> None:
        self.process, self.keys = process, keys

    async def start(self, data: Path, **more: object) -> tuple[int, str]:
        """A new intake that accepts connections."""
        order = {"data": str(data), "pki": str(self.keys.folder), **more}
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        line = await asyncio.wait_for(self.process.stdout.readline(), START_S)
        told = json.loads(line)
        return told["pid"], told["url"]

    async def append(self, url: str, steps: int) -> list[dict[str, str]]:
        """What a process told that was to die after so many steps; the last is how it ended."""
        order = {"pki": str(self.keys.folder), "database_url": url, "steps": steps}
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        told = [{}]
        while "end" not in told[-1]:
            told.append(json.loads(await asyncio.wait_for(self.process.stdout.readline(), START_S)))
        return told[1:]


@contextlib.asynccontextmanager
async def nursery(keys: Keys):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.journey.intake_nursery"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=PROJECT,
    )
    try:
        yield Nursery(process, keys)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with the intakes that it forked
        await process.wait()


@contextlib.asynccontextmanager
async def client_of(keys: Keys):
    trusting = ssl.create_default_context(cafile=str(keys.folder / "ca.pem"))
    async with httpx2.AsyncClient(verify=trusting, timeout=STEP_S) as client:
        yield client


async def put(client: httpx2.AsyncClient, keys: Keys, base: str, packet: bytes) -> httpx2.Response:
    url = f"{base}/v1/packets/{digest(packet)}"
    return await client.put(url, content=packet, headers=keys.headers("PUT", url, packet))


class Uploads:
    """Packets that are sent until each has its receipt, whatever becomes of the intake."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.receipts: dict[str, bytes] = {}
        self.waiting: list[bytes] = []
        self.answered = asyncio.Event()

    def take(self) -> bytes:
        return self.waiting.pop() if self.waiting else self.keys.packet({"visit.json": b"{}"})

    async def run(self, client: httpx2.AsyncClient, base: str) -> None:
        """One uploader, until the intake is gone."""
        while True:
            packet = self.take()
            try:
                answer = await put(client, self.keys, base, packet)
            except httpx2.HTTPError:
                self.waiting.append(packet)
                return
            assert answer.status_code in {200, 201}, answer.text
            verify_receipt(answer.content, self.keys.trust, digest(packet))
            assert self.receipts.setdefault(digest(packet), answer.content) == answer.content
            if random.random() < 0.2:
                self.waiting.append(packet)  # once more: the same receipt
            self.answered.set()


async def check_log(store: Store, objects, keys: Keys, receipts: dict[str, bytes]) -> int:
    """That the log is sound, every receipt ever given is in it at its position, and every receipt is a witness; its size."""
    witnesses = []
    for sha256, receipt in receipts.items():
        read = verify_receipt(receipt, keys.trust, sha256)
        witnesses.append(Witness(sha256, verify_tree_head(read.signed_head, keys.trust)))
        async with store.reading() as connection:
            data = (await connection.execute(log_entries.select().where(log_entries.c.position == read.position))).one()
        assert read_entry(bytes(data.entry)).packet_sha256 == sha256
        assert (await store.find(sha256)).receipt == receipt
    audit = await audit_log(store, keys.trust, witnesses=witnesses, objects=objects)
    assert audit.findings == []
    return audit.size


async def test_an_intake_that_is_killed_again_and_again_breaks_no_receipt_and_no_log(keys, tmp_path):
    data = tmp_path / "data"
    chance = random.Random(20261123)
    uploads = Uploads(keys)
    async with nursery(keys) as born:
        for _ in range(KILLS):
            pid, base = await born.start(data)
            async with client_of(keys) as client, asyncio.TaskGroup() as group:
                for _ in range(UPLOADERS):
                    group.create_task(uploads.run(client, base))
                # From before the first answer to the middle of the flow: the time is the test's subject, nothing waits for it.
                if chance.random() < 0.7:
                    uploads.answered.clear()
                    await asyncio.wait_for(uploads.answered.wait(), STEP_S)
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.08), os.kill, pid, signal.SIGKILL)
        _, base = await born.start(data)
        async with client_of(keys) as client:
            for packet in uploads.waiting:  # what was under way at a kill, or is sent once more
                answer = await put(client, keys, base, packet)
                assert uploads.receipts.setdefault(digest(packet), answer.content) == answer.content
            head = verify_tree_head((await client.get(f"{base}/v1/log/head")).content, keys.trust)
            await compare_with_head(client, base, keys, uploads.receipts, head)
    async with (
        open_present_store(f"sqlite+aiosqlite:///{data / 'intake.sqlite3'}") as store,
        open_folder_objects(data / "objects") as objects,
    ):
        size = await check_log(store, objects.packets, keys, uploads.receipts)
    assert size == head.size == len(uploads.receipts) > KILLS


async def compare_with_head(client, base: str, keys: Keys, receipts: dict[str, bytes], head) -> None:
    """That each receipt's tree is the beginning of the newest one, by the intake's own proofs."""
    asked: dict[int, VerifiedReceipt] = {}
    for sha256, receipt in receipts.items():
        read = verify_receipt(receipt, keys.trust, sha256)
        assert read.log == head.log
        asked.setdefault(read.tree_size, read)
    for size, read in asked.items():
        query = {"first": size, "second": head.size}
        proof = (await client.get(f"{base}/v1/log/consistency", params=query)).json()["proof"]
        old = bytes.fromhex(read.root_hash)
        verify_consistency(size, head.size, old, head.root, [bytes.fromhex(one) for one in proof])


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}"


async def test_two_intakes_on_one_database_write_one_log_while_one_of_them_is_killed(keys, tmp_path, url):
    data, more = tmp_path / "data", {"database_url": url}
    receipts: dict[str, bytes] = {}
    async with nursery(keys) as born, client_of(keys) as client:
        pid, one = await born.start(data, **more)
        _, other = await born.start(data, **more)
        packets = [keys.packet({"visit.json": b"{}"}) for _ in range(40)]
        answers = await asyncio.gather(*(put(client, keys, (one, other)[i % 2], p) for i, p in enumerate(packets)))
        assert {answer.status_code for answer in answers} == {201}
        receipts |= {digest(p): answer.content for p, answer in zip(packets, answers, strict=True)}
        # The same packets at the other intake: the same receipts.
        again = await asyncio.gather(*(put(client, keys, (other, one)[i % 2], p) for i, p in enumerate(packets)))
        assert [answer.content for answer in again] == [answer.content for answer in answers]
        uploads = Uploads(keys)
        async with client_of(keys) as dying, asyncio.TaskGroup() as group:
            for _ in range(UPLOADERS):
                group.create_task(uploads.run(dying, one))
            await asyncio.wait_for(uploads.answered.wait(), STEP_S)
            os.kill(pid, signal.SIGKILL)
        for packet in uploads.waiting:
            answer = await put(client, keys, other, packet)
            assert uploads.receipts.setdefault(digest(packet), answer.content) == answer.content
        receipts |= uploads.receipts
        head = verify_tree_head((await client.get(f"{other}/v1/log/head")).content, keys.trust)
        await compare_with_head(client, other, keys, receipts, head)
    async with open_present_store(url) as store, open_folder_objects(data / "objects") as objects:
        assert await check_log(store, objects.packets, keys, receipts) == len(receipts) == head.size


async def test_a_process_that_dies_at_any_step_of_a_commit_leaves_nothing_or_everything(keys, tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}"
    receipts: dict[str, bytes] = {}
    before, steps, outcomes = 0, 0, set()
    async with nursery(keys) as born:
        while True:
            steps += 1
            told = await born.append(url, steps)
            new = {one["sha256"]: one["receipt"].encode() for one in told[:-1]}
            receipts |= new
            async with open_present_store(url) as store:
                size = await check_log(store, None, keys, receipts)
                assert await count_packets(store) == size
            assert size - before in {0, BATCHES[0], sum(BATCHES)}
            assert len(new) <= size - before
            outcomes.add(size - before)
            before = size
            if told[-1]["end"] != DIED:
                break
    assert steps > 2 * 2 * 8
    assert outcomes == {0, BATCHES[0], sum(BATCHES)}
