"""Appending to the receipt log against the floor: one bare SQLite commit with its fsync, in the same run.

With one upload at a time each append pays its own commit and its own signature. With many, one commit and one signature serve all that
wait, so the time of an upload's share falls below the floor.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import statistics
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from crypto.merkle import Frontier, inclusion_proof, verify_inclusion
from crypto.receipt import verify_receipt
from server.receipt_log import open_receipt_log
from server.store import NewPacket, Nonce, open_store
from tests.packets import NOW, make_cached_world
from tests.receipts import ReceiptPad

APPENDS = 128
ROUNDS = 3
# Time of an append as a ratio to the floor, by how many uploads come at once (docs/receipt-log.md has what was measured). Wide: disks
# of shared machines are noisy, and what must not be lost is the order of magnitude.
LIMITS = {1: 25.0, 8: 6.0, 32: 3.0}


def floor_s(path) -> float:
    """One committed row, synced as the log's rows are."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b BLOB)")
    start = time.perf_counter()
    for _ in range(APPENDS):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t (b) VALUES (?)", (bytes(2_500),))
        connection.execute("COMMIT")
    taken_s = time.perf_counter() - start
    connection.close()
    return taken_s / APPENDS


async def append_s(url: str, at_once: int) -> float:
    """One append, when so many uploads come at once."""
    world = make_cached_world()
    async with open_store(url) as store, open_receipt_log(store, lambda: world.intake, lambda: NOW) as receipts:

        async def upload() -> None:
            for _ in range(APPENDS // at_once):
                name = uuid.uuid4().hex
                digest = hashlib.sha256(name.encode()).hexdigest()
                new = NewPacket(digest, name, "booth-0001", "ab" * 16, 7, NOW, NOW)
                soon = datetime.now(UTC) + timedelta(minutes=5)
                await receipts.append(new, Nonce("booth-0001", name, soon))

        start = time.perf_counter()
        await asyncio.gather(*(upload() for _ in range(at_once)))
        return (time.perf_counter() - start) / APPENDS


@pytest.mark.usefixtures(
    "measuring"
)  # the suite holds what makes it cheap: tests/unit/test_receipt_log.py, committed together under one signature
@pytest.mark.parametrize("at_once", [1, 8, 32])
def test_an_append_costs_a_bounded_multiple_of_one_synced_commit(tmp_path, at_once, record_property):
    ratios, appends, floors = [], [], []
    for turn in range(ROUNDS):
        floors.append(floor_s(tmp_path / "floor.sqlite3"))
        appends.append(asyncio.run(append_s(f"sqlite+aiosqlite:///{tmp_path / f'log-{turn}.sqlite3'}", at_once)))
        ratios.append(appends[-1] / floors[-1])
    told = f"{at_once} at once: {1 / min(appends):.0f} appends/s, floor {1 / min(floors):.0f} commits/s, ratios {sorted(ratios)}"
    record_property("append", told)
    print(told)
    assert statistics.median(ratios) < LIMITS[at_once]


def median_s(work: Callable[[], object], rounds: int = 200) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def test_a_proof_of_many_leaves_is_checked_in_less_than_a_signature(tmp_path):
    frontier, nodes = Frontier(), {}
    leaves = [hashlib.sha256(str(i).encode()).digest() for i in range(1 << 16)]
    for leaf in leaves:
        nodes |= {(level, number): value for level, number, value in frontier.append(leaf)}
    root, index = frontier.root(), 12_345
    proof = inclusion_proof(index, len(leaves), lambda level, number: nodes[level, number])
    proof_s = median_s(lambda: verify_inclusion(leaves[index], index, len(leaves), proof, root))
    world = make_cached_world()
    pad = ReceiptPad(world.intake)
    pad.give(*(hashlib.sha256(leaf).hexdigest() for leaf in leaves[:1000]), at=NOW)
    sha256 = hashlib.sha256(b"packet").hexdigest()
    receipt = pad.give(sha256, at=NOW)
    receipt_s = median_s(lambda: verify_receipt(receipt, world.trust, sha256))
    print(
        f"proof of {len(proof)} hashes {proof_s * 1e6:.0f} µs, receipt of {len(receipt)} bytes {receipt_s * 1e3:.2f} ms"
    )
    assert proof_s < receipt_s / 4
