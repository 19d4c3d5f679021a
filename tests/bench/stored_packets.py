"""Does what is asked of a store cost more, the more packets it holds? From a thousand to a million of them, in SQLite and in PostgreSQL.

    .venv/bin/python -m tests.bench.stored_packets                          all, about half an hour and 15 GB in the temporary folder
    .venv/bin/python -m tests.bench.stored_packets --largest 4 --rounds 20  up to 10^4, a minute
    .venv/bin/python -m tests.bench.stored_packets --engine sqlite --verify also `intake log verify` over each, in rows a second

The stores are made first: rows with a real log (tests/bench/written_log.py), of which a sample of receipts is verified. Then every question is asked of
every store, one store after the other within each round, so that what else the machine does falls on all of them alike. Told is the median of
all rounds, with the files in the machine's memory, and its ratio to that of the smallest store. Exit code 1 when a ratio is above 1.5.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crypto.merkle import inclusion_proof, leaf_hash, verify_consistency, verify_inclusion
from crypto.receipt import verify_receipt
from crypto.tree_head import verify_tree_head
from server.application_rows import Registry
from server.log_audit import audit_log
from server.log_rows import log_entries, read_nodes
from server.packet_counts import count_packets
from server.packet_search import Place, Range, find_packets, page_of, read_term
from server.receipt_log import ReceiptLog, open_receipt_log
from server.store import Store, open_store
from tests.bench.growth_stores import Database, Filled, make_postgres, make_sqlite, postgres, size_on_disk
from tests.bench.page_tables import fill_tables
from tests.bench.written_log import (
    BUSY,
    BUSY_SHARE,
    SPACING,
    WrittenLog,
    new_packet,
    number_at,
    packet_id_at,
    sha256_at,
)
from tests.packets import NOW, World, make_cached_world

PAGE_OF_DOCS = Path(__file__).resolve().parents[2] / "docs" / "scale.md"
SMALLEST, LARGEST = 3, 6
LIMIT = 1.5
PAGE = 50
SAMPLE = 200
BEGUN = NOW - timedelta(days=9)
WINDOW = timedelta(minutes=5)

Question = Callable[[], Awaitable[object]]


class Probe:
    """One store with its questions, each at another place every time."""

    def __init__(
        self, database: Database, store: Store, receipts: ReceiptLog, log: WrittenLog, world: World, seed: int
    ) -> None:
        self.database, self.store, self.receipts, self.log, self.world = database, store, receipts, log, world
        self.size, self._chance = database.size, random.Random(seed)
        self._registry = Registry(store, lambda: NOW)
        self._appended = 0
        self.questions: dict[str, Question] = {
            "list: the newest 50": self._list,
            "page at any place": self._page,
            "count": lambda: count_packets(store),
            "search: digest": lambda: self._search(sha256_at(self._place())),
            "search: beginning of a digest": lambda: self._search(sha256_at(self._place())[:8]),
            "search: packet id": lambda: self._search(packet_id_at(self._place())),
            "search: application number": lambda: self._search(number_at(self._place())),
            "search: booth, any page": self._booth,
            "search: time, first page": self._time,
            "search: booth and time": self._booth_and_time,
            "receipt again": lambda: store.find(sha256_at(self._place())),
            "inclusion proof": self._inclusion,
            "consistency proof": self._consistency,
            "append one packet": self._append,
        }

    def _place(self) -> int:
        return self._chance.randrange(self.size)

    async def _list(self) -> None:
        rows = await self.store.newest(PAGE)
        await self._registry.outcomes([row.sha256 for row in rows])
        assert len(rows) == PAGE

    async def _page(self) -> None:
        rows = await self.store.newest(PAGE, self._chance.randrange(PAGE + 1, self.size + 1))
        await self._registry.outcomes([row.sha256 for row in rows])
        assert len(rows) == PAGE

    async def _search(self, word: str) -> None:
        term = read_term(word)
        assert term is not None
        assert (await find_packets(self.store, term, Range(), PAGE)).rows

    async def _booth(self) -> None:
        place = self._chance.randrange(PAGE * BUSY_SHARE, self.size)
        found = await page_of(self.store, Range(BUSY), PAGE, Place(self.log.received_at(place), place + 1))
        assert len(found.rows) == PAGE

    async def _time(self) -> None:
        since = self._since()
        assert len((await page_of(self.store, Range(None, since, since + WINDOW), PAGE)).rows) == PAGE

    async def _booth_and_time(self) -> None:
        since = self._since()
        assert len((await page_of(self.store, Range(BUSY, since, since + WINDOW), PAGE)).rows) == PAGE

    def _since(self) -> datetime:
        return self.log.received_at(self._chance.randrange(self.size - WINDOW // SPACING))

    async def _inclusion(self) -> None:
        place, asked = self._place(), list[tuple[int, int]]()
        inclusion_proof(place, self.size, lambda level, number: asked.append((level, number)) or bytes(32))
        async with self.store.reading() as connection:
            nodes = await read_nodes(connection, asked)
        inclusion_proof(place, self.size, lambda level, number: nodes[level, number])

    async def _consistency(self) -> None:
        await self.receipts.consistency(self._chance.randrange(1, self.size), self.size)

    async def _append(self) -> None:
        self._appended += 1
        _, created = await self.receipts.append(new_packet(10**9 + self._appended, NOW), None)
        assert created

    async def check(self) -> None:
        """That receipts and proofs of the store are true."""
        trust = self.world.trust
        newest = verify_tree_head(await self.receipts.head(), trust)
        assert (newest.size, await count_packets(self.store)) == (self.size, self.size)
        for _ in range(SAMPLE):
            place = self._place()
            row = await self.store.find(sha256_at(place))
            assert row is not None
            read = verify_receipt(row.receipt, trust, row.sha256)
            assert (read.position, read.log) == (place, newest.log)
            proof = await self.receipts.consistency(read.tree_size, newest.size)
            verify_consistency(read.tree_size, newest.size, bytes.fromhex(read.root_hash), newest.root, proof)
        asked: list[tuple[int, int]] = []
        inclusion_proof(place, self.size, lambda level, number: asked.append((level, number)) or bytes(32))
        async with self.store.reading() as connection:
            nodes = await read_nodes(connection, asked)
            entry = await connection.execute(log_entries.select().where(log_entries.c.position == place))
        path = inclusion_proof(place, self.size, lambda level, number: nodes[level, number])
        verify_inclusion(leaf_hash(entry.one().entry), place, self.size, path, newest.root)


async def fill(targets: Sequence[tuple[Database, Filled]], world: World) -> WrittenLog:
    """One log into all of them, each up to its size."""
    log, done, began = WrittenLog(world.intake, BEGUN), 0, time.monotonic()
    beginning = log.beginning()
    for _, target in targets:
        await target.add(beginning)
    for size in sorted({database.size for database, _ in targets}):
        wanting = [target for database, target in targets if database.size >= size]
        for rows in log.blocks(size):
            for target in wanting:
                await target.add(rows)
            done += len(rows.packets)
            told = f"{done:,} packets, {done / (time.monotonic() - began):,.0f} a second"
            print(f"\r{told}", end="", flush=True, file=sys.stderr)
    for _, target in targets:
        await target.finish()
    print(file=sys.stderr)
    return log


async def measure(probes: Sequence[Probe], rounds: int) -> dict[tuple[str, str, int], float]:
    """The median time of each question, by engine, question and size."""
    times: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for turn in range(-2, rounds):  # the first ones warm up
        for name in probes[0].questions:
            for probe in probes if turn % 2 else reversed(probes):
                start = time.perf_counter()
                await probe.questions[name]()
                if turn >= 0:
                    times[probe.database.engine, name, probe.size].append(time.perf_counter() - start)
        print(f"\rround {turn + 1} of {rounds}", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return {key: statistics.median(values) for key, values in times.items()}


def warm(folder: Path) -> None:
    """Read all files once, so that they lie in memory: what is measured is the work, not the disk of this machine."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 24):
                    pass


async def verify(probe: Probe) -> dict[str, object]:
    """`intake log verify` over it."""
    start = time.monotonic()
    audit = await audit_log(probe.store, probe.world.trust)
    taken_s = time.monotonic() - start
    assert audit.sound, audit.findings
    found = {"engine": probe.database.engine, "entries": audit.size, "heads": audit.heads, "seconds": round(taken_s, 1)}
    return found | {"a_second": round(audit.size / taken_s)}


def told(medians: dict[tuple[str, str, int], float]) -> float:
    """Print the table; the largest ratio."""
    sizes, worst = sorted({size for _, _, size in medians}), 0.0
    for engine in dict.fromkeys(engine for engine, _, _ in medians):
        print(f"\n{engine:32}" + "".join(f"{f'{size:,}':>12}" for size in sizes) + f"{'ratio':>9}")
        for name in dict.fromkeys(name for one, name, _ in medians if one == engine):
            row = [medians[engine, name, size] for size in sizes]
            worst = max(worst, row[-1] / row[0])
            print(f"{name:32}" + "".join(f"{one * 1e3:9.2f} ms" for one in row) + f"{row[-1] / row[0]:9.2f}")
    return worst


def page_tables(figures: dict[str, Any]) -> dict[str, str]:
    """The tables of docs/scale.md, from the figures of a run."""
    medians = {(one["engine"], one["question"], one["packets"]): one["median_s"] for one in figures["medians"]}
    sizes, made = sorted({size for _, _, size in medians}), {}
    for engine in dict.fromkeys(engine for engine, _, _ in medians):
        lines = [["", *(f"{size:,}" for size in sizes), "ratio"]]
        for name in dict.fromkeys(name for one, name, _ in medians if one == engine):
            row = [medians[engine, name, size] for size in sizes]
            lines.append([name, *(f"{one * 1e3:.2f} ms" for one in row), f"**{row[-1] / row[0]:.2f}**"])
        disk = [figures["disk"][f"{engine} {size}"] for size in sizes]
        lines.append(["room in the database", *(f"{one / 1e6:,.0f} MB" for one in disk), ""])
        first, *rest = (f"| {' | '.join(line)} |" for line in lines)
        made[f"growth {engine}"] = "\n".join([first, "|" + "---|" * len(lines[0]), *rest])
    return made


async def run(arguments: argparse.Namespace, folder: Path) -> int:
    """Make, check, measure, tell."""
    world, sizes = make_cached_world(), [10**power for power in range(SMALLEST, arguments.largest + 1)]
    async with contextlib.AsyncExitStack() as stack:
        targets = []
        if arguments.engine != "postgres":
            targets += [await make_sqlite(folder, size) for size in sizes]
        if arguments.engine != "sqlite":
            socket = stack.enter_context(postgres(folder / "postgres"))
            targets += [await make_postgres(socket, size) for size in sizes]
        log = await fill(targets, world)
        disk = {f"{one.engine} {one.size}": await size_on_disk(one) for one, _ in targets}
        probes = []
        for number, (database, _) in enumerate(targets):
            store = await stack.enter_async_context(open_store(database.url))
            receipts = await stack.enter_async_context(open_receipt_log(store, lambda: world.intake, lambda: NOW))
            probes.append(Probe(database, store, receipts, log, world, number))
            await probes[-1].check()
        verified = [await verify(probe) for probe in probes] if arguments.verify else []
        await asyncio.to_thread(warm, folder)
        medians = await measure(probes, arguments.rounds)
    worst = told(medians)
    for name, size in disk.items():
        print(f"{name:>20}: {size / 1e6:10.1f} MB, {size / int(name.split()[1]):7.0f} bytes for each packet")
    for one in verified:
        print(", ".join(f"{name} {value}" for name, value in one.items()))
    if arguments.json:
        figures = [{"engine": e, "question": n, "packets": s, "median_s": v} for (e, n, s), v in medians.items()]
        arguments.json.write_text(json.dumps({"medians": figures, "disk": disk, "verified": verified}, indent=2))
    return int(worst > LIMIT)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=LARGEST, choices=range(SMALLEST, 8), help="power of ten (6)")
    parser.add_argument("--engine", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=100, help="how often each question is asked of each store (100)")
    parser.add_argument("--verify", action="store_true", help="also check each whole log")
    parser.add_argument("--folder", type=Path, help="where the stores are made; a temporary folder, removed at the end")
    parser.add_argument("--fill", type=Path, help="write the figures of this file into docs/scale.md, and end")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.fill:
        fill_tables(PAGE_OF_DOCS, page_tables(json.loads(arguments.fill.read_text())))
        return 0
    with tempfile.TemporaryDirectory(prefix="passbooth-stores-", dir=arguments.folder) as folder:
        Path(folder).chmod(0o755)  # under root PostgreSQL runs as a user of its own
        return asyncio.run(run(arguments, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
