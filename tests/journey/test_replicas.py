"""Two intakes on one PostgreSQL and one folder: a short run of what tests/bench/intake_load.py does; and how one says goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from tests.bench.load_client import rough_booths
from tests.bench.load_fleet import Fleet, make_small_fleet
from tests.bench.load_observer import compare

PROJECT = Path(__file__).resolve().parents[2]
BOOTHS = 10
PATIENCE_S = 100.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Fleet:
    return make_small_fleet(tmp_path_factory.mktemp("fleet"), BOOTHS, 2, 20_000)


class Nursery:
    """Forks intakes and commands of one store (tests/journey/intake_nursery.py)."""

    def __init__(self, process: asyncio.subprocess.Process, data: Path, pki: Path) -> None:
        self.process, self.data, self.pki = process, data, pki

    async def ask(self, **order: object) -> dict:
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.process.stdout.readline())

    async def start(self, **more: object) -> tuple[int, str]:
        told = await self.ask(data=str(self.data), pki=str(self.pki), **more)
        return told["pid"], told["url"]

    async def run(self, arguments: list[str]) -> tuple[int, bytes]:
        output = self.data.with_name("output.txt")
        told = await self.ask(argv=arguments, output=str(output))
        return told["code"], output.read_bytes()


@contextlib.asynccontextmanager
async def nursery(data: Path, fleet: Fleet):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.journey.intake_nursery"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=PROJECT,
    )
    try:
        yield Nursery(process, data, fleet.pki)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with all that it forked
        await process.wait()


async def test_two_replicas_keep_every_packet_once_through_duplicates_cuts_and_a_kill_and_say_goodbye(
    fleet, postgres_url, tmp_path
):
    data, database = tmp_path / "data", {"database_url": postgres_url}
    trusting = ssl.create_default_context(cafile=str(fleet.pki / "ca.pem"))
    async with nursery(data, fleet) as born:
        first, one = await born.start(**database)
        last, other = await born.start(drain_s=600.0, **database)
        booths = rough_booths(fleet, fleet.booths(), [one, other], trusting, 20261123, PATIENCE_S)
        threads = [threading.Thread(target=booth.run) for booth in booths]
        for thread in threads:
            thread.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not any(booth.receipts for booth in booths):
                    await asyncio.to_thread(threads[0].join, 0.005)
            os.kill(first, signal.SIGKILL)
            await born.start(port=int(one.rpartition(":")[2]), **database)
        finally:
            for thread in threads:
                await asyncio.to_thread(thread.join)
        wrong = [told for booth in booths for told in booth.told if told.startswith("wrong")]
        receipts = [receipt for booth in booths for receipt in booth.receipts]
        figures = await compare(data, fleet, postgres_url, receipts, born.run)
        await says_goodbye(last, other, trusting)
    assert wrong + figures["wrong"] == []
    assert figures["packets"] == 2 * BOOTHS
    assert figures["receipts given"] >= figures["packets"]
    assert figures["log verify"] == "sound"
    ways = {way for booth in booths for way in booth.told}
    assert {"plain", "twice", "cut", "pieces", "lost"} <= ways


async def says_goodbye(pid: int, url: str, trusting: ssl.SSLContext) -> None:
    """An intake with a long drain: after SIGTERM it is not ready, still works, and ends at a second signal."""
    async with httpx2.AsyncClient(verify=trusting, trust_env=False) as client, asyncio.timeout(PATIENCE_S):
        assert (await client.get(f"{url}/v1/ready")).json()["status"] == "ready"
        os.kill(pid, signal.SIGTERM)
        while (answer := await client.get(f"{url}/v1/ready")).status_code == 200:
            pass
        assert (answer.status_code, answer.json()["code"]) == (503, "server.draining")
        async with httpx2.AsyncClient(verify=trusting, trust_env=False) as other:
            assert (await other.get(f"{url}/v1/health")).status_code == 200, "work is still taken"
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(httpx2.HTTPError):
            while await client.get(f"{url}/v1/health"):
                pass
