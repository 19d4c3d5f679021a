"""Intakes under load: what two replicas keep through duplicates, cuts and kills, and how fast one is beside a bare endpoint.

    nice .venv/bin/python -m tests.bench.intake_load replicas            500 booths, two replicas on one PostgreSQL and one folder
    .venv/bin/python -m tests.bench.intake_load throughput               one replica (SQLite, PostgreSQL) and the bare floor in turn
    .venv/bin/python -m tests.bench.intake_load replicas --booths 40 --packets 2 --kills 2

`replicas`: booths with certificates of their own, in several client processes, send packets of 200 kB that were really sealed: whole, twice at the same moment to
both replicas, cut and sent again, in pieces and resumed wherever the next answer comes from. Meanwhile replicas are killed (SIGKILL) and started
again. Then the observer compares: every packet is in the database once and in the folder with its digest, nothing else is there, every receipt that any booth ever got
verifies, is the stored one and stands in the log at its position, and `intake log verify --files` is sound. Exit code 1 when anything is wrong; the folder is kept.

`throughput`: rounds of the same requests, the targets in turn, over kept TLS connections, signed beforehand; all on this machine, PostgreSQL with fsync.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench.load_fleet import Fleet, make_fleet
from tests.bench.load_observer import compare, read_receipts
from tests.bench.load_programs import Program, Replica, empty_postgres, programs, real_postgres

PACKET_BYTES = 200_000
CLIENTS = 4
# Booths of a load all have one address, and more lines than one machine has in the field.
MANY = {"INTAKE_MAX_CONNECTIONS": "2000", "INTAKE_MAX_PER_ADDRESS": "2000"}
SERVE = ["-m", "server.cli", "serve"]


def serve(folder: Path, fleet: Fleet, name: str, database_url: str | None, run: list[str] = SERVE) -> Replica:
    """An intake on the folder's store."""
    settings = MANY | ({"INTAKE_DATABASE_URL": database_url} if database_url else {})
    return Replica(folder, name, ["--data", str(folder / "data"), "--pki", str(fleet.pki)], settings, run)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def run_replicas(
    folder: Path,
    fleet: Fleet,
    database_url: str,
    *,
    kills: int,
    every_s: tuple[float, float],
    seconds: float,
    seed: int,
) -> dict[str, Any]:
    """Booths, replicas and kills; then everything is compared. The figures; `wrong` is empty when all is well."""
    chance = random.Random(seed)
    replicas = [serve(folder, fleet, f"replica-{number}", database_url) for number in (1, 2)]
    shares = [fleet.booths()[at::CLIENTS] for at in range(CLIENTS)]
    clients = [Program(["-m", "tests.bench.load_client"], folder / f"client-{at}.log", {}) for at in range(CLIENTS)]
    killed = 0
    async with programs(*replicas, *clients):
        await asyncio.gather(*(replica.start() for replica in replicas))
        urls = [replica.url for replica in replicas]
        for at, (client, share) in enumerate(zip(clients, shares, strict=True)):
            order = {"do": "rough", "folder": str(fleet.folder), "urls": urls, "booths": share, "seed": seed}
            await client.start(**order, seconds=seconds, receipts=str(folder / f"receipts-{at}.jsonl"))
        say(f"{sum(map(len, shares))} booths begin.")
        began = time.monotonic()
        for client in clients:
            client.say(go=True)
        over = asyncio.gather(*(_await_client(client) for client in clients))
        while not over.done() and killed < kills:
            await asyncio.wait({over}, timeout=chance.uniform(*every_s))
            if over.done():
                break
            victim = replicas[killed % 2]
            await victim.end(signal.SIGKILL)
            killed += 1
            await victim.start()
            say(f"{time.monotonic() - began:6.1f} s  {killed} kills")
        told: Counter[str] = Counter()
        for counts in await over:
            told.update(counts)
        took_s = time.monotonic() - began
        codes = [await replica.end() for replica in replicas]
    told_in = [folder / f"receipts-{at}.jsonl" for at in range(CLIENTS)]
    figures = await compare(folder / "data", fleet, database_url, read_receipts(told_in))
    wrong = figures.pop("wrong") + [one for one in told if one.startswith("wrong")]
    wrong += [f"a replica ended with {code}" for code in codes if code]
    return {
        "booths": len(fleet.booths()),
        "kills": killed,
        "seconds": round(took_s, 1),
        "booths told": dict(sorted(told.items())),
        **figures,
        "wrong": wrong,
    }


async def _await_client(client: Program) -> dict[str, int]:
    while True:
        told = await client.line()
        if told.get("done"):
            counts: dict[str, int] = told["told"]
            return counts


async def run_round(
    folder: Path, fleet: Fleet, server: Program, shares: list[list[str]], url: str | None = None
) -> dict[str, float]:
    """One target under steady load: packets a second, latencies in ms, processor time of the server per packet in ms."""
    clients = [Program(["-m", "tests.bench.load_client"], folder / f"client-{at}.log", {}) for at in range(2)]
    async with programs(server, *clients):
        ready = await server.start()
        order = {"do": "steady", "folder": str(fleet.folder), "url": url or ready["url"]}
        for at, client in enumerate(clients):
            await client.start(**order, shares=shares[at :: len(clients)])
        used_s = server.cpu_s()
        for client in clients:
            client.say(go=True)
        spans: list[tuple[float, float, int]] = []
        for client in clients:
            spans += (await client.line())["spans"]
        used_s = server.cpu_s() - used_s
        await server.end()
    refused = Counter(status for _, _, status in spans if status != 201)
    if refused:
        raise RuntimeError(f"The load was not taken: {refused}.")
    spans.sort(key=lambda span: span[1])
    kept = spans[len(spans) // 10 :]  # the first tenth finds cold caches
    took = sorted(1000 * (end - begun) for begun, end, _ in kept)
    return {
        "per_s": len(kept) / (kept[-1][1] - spans[len(spans) // 10 - 1][1]),
        "p50_ms": statistics.median(took),
        "p99_ms": took[int(0.99 * (len(took) - 1))],
        "cpu_ms": 1000 * used_s / len(spans),
    }


async def run_throughput(
    folder: Path,
    fleet: Fleet,
    database_url: str,
    *,
    rounds: int,
    connections: int,
    packets_each: int,
    profile: Path | None,
) -> dict[str, Any]:
    """All targets in turn, `rounds` times; medians, and the median of the ratios of each round."""
    booths = fleet.booths()[:connections]
    found: dict[str, list[dict[str, float]]] = {"floor": [], "sqlite": [], "postgresql": []}
    for number in range(rounds):
        shares = [
            [path.name for path in fleet.packets(booth)[number * packets_each : (number + 1) * packets_each]]
            for booth in booths
        ]
        for name, figures in found.items():
            place = folder / f"{name}-{number}"
            place.mkdir()
            run = ["-m", "cProfile", "-o", f"{profile}.{name}", *SERVE] if profile else SERVE
            if name == "floor":
                options = ["--data", str(place / "data"), "--pki", str(fleet.pki)]
                server: Program = Program(["-m", "tests.bench.bare_floor", *options], place / "floor.log", {})
            elif name == "sqlite":
                server = serve(place, fleet, name, None, run)
            else:
                await empty_postgres(database_url)
                server = serve(place, fleet, name, database_url, run)
            figures.append(await run_round(place, fleet, server, shares))
            say(f"round {number + 1}  {name:10}  " + "  ".join(f"{k} {v:.1f}" for k, v in figures[-1].items()))
            shutil.rmtree(place / "data")
    table: dict[str, Any] = {}
    for name, figures in found.items():
        table[name] = {key: round(statistics.median(one[key] for one in figures), 1) for key in figures[0]}
        pairs = list(zip(figures, found["floor"], strict=True))
        table[name]["throughput ratio"] = round(statistics.median(a["per_s"] / b["per_s"] for a, b in pairs), 2)
        table[name]["p99 ratio"] = round(statistics.median(b["p99_ms"] / a["p99_ms"] for a, b in pairs), 2)
    return table


async def main(arguments: argparse.Namespace) -> int:
    """Make the booths, run, tell."""
    folder = Path(tempfile.mkdtemp(prefix="passbooth-load-", dir=arguments.folder))
    each = arguments.packets if arguments.do == "replicas" else arguments.packets * arguments.rounds
    booths = arguments.booths if arguments.do == "replicas" else arguments.connections
    say(f"{booths} booths seal {each} packets each, in {folder}.")
    fleet = make_fleet(folder / "fleet", booths, each, PACKET_BYTES)
    wrong = True
    try:
        with real_postgres() as url:
            if arguments.do == "replicas":
                figures = await run_replicas(
                    *(folder, fleet, url),
                    kills=arguments.kills,
                    every_s=(0.5, 4.0),
                    seconds=arguments.seconds,
                    seed=arguments.seed,
                )
                wrong = bool(figures["wrong"])
            else:
                figures = await run_throughput(
                    *(folder, fleet, url),
                    rounds=arguments.rounds,
                    connections=arguments.connections,
                    packets_each=arguments.packets,
                    profile=arguments.profile,
                )
                wrong = False
        print(json.dumps(figures, indent=2))
        return int(wrong)
    finally:
        if wrong:
            say(f"Look at {folder}.")
        else:
            shutil.rmtree(folder)


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.intake_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, help="where the run's folder is made (default: the system's)")
    kinds = parser.add_subparsers(dest="do", required=True)
    replicas = kinds.add_parser("replicas", help="two replicas through duplicates, cuts and kills")
    replicas.add_argument("--booths", type=int, default=500)
    replicas.add_argument("--packets", type=int, default=4, help="of each booth")
    replicas.add_argument("--kills", type=int, default=12)
    replicas.add_argument("--seconds", type=float, default=900.0, help="how long a booth tries")
    replicas.add_argument("--seed", type=int, default=20261123)
    throughput = kinds.add_parser("throughput", help="one replica beside the bare floor")
    throughput.add_argument("--rounds", type=int, default=5)
    throughput.add_argument("--connections", type=int, default=32, help="as many as an intake takes at once")
    throughput.add_argument("--packets", type=int, default=40, help="of each connection in a round")
    throughput.add_argument(
        "--profile", type=Path, help="also write cProfile's figures of the intakes to files of this name"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(read_arguments())))
