"""The kill test: booth and intake are killed at random moments, again and again; what was confirmed is received exactly once.

    nice .venv/bin/python -m tests.bench.kill_booth --runs 500

One folder of a booth and one of an intake live through all runs. A run starts the booth (tests/journey/booth_nursery.py: sealing, outbox and
uplink as a process of their own) against the intake (run_intake of `intake serve`, a process of its own, over TLS), lets it make visits, and
SIGKILLs the booth, the intake or both at a random moment, sometimes while it is still opening. What was killed is started again and everything
has to arrive. After every run the observer, who lives in neither process, compares: each confirmation that it heard is one row of the intake's
database and a file of its digest; nothing that was told to be lost arrived; both databases are whole, no packet is damaged, no copy is left.
At the end `intake log verify --files` recomputes the receipt log. Exit code 1 when anything is wrong, and the folder is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crypto.development import make_development_pki

PROJECT = Path(__file__).resolve().parents[2]
STEP_S = 60.0
VISITS = 4
TARGETS = ("booth", "booth", "intake", "both")


@dataclass
class Figures:
    """What the observer saw."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    confirmed: set[str] = field(default_factory=set)
    told_lost: set[str] = field(default_factory=set)
    problems: Counter[str] = field(default_factory=Counter)
    received: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def table(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "kills": dict(self.kills),
            "confirmed": len(self.confirmed),
            "received": self.received,
            "received, killed before the confirmation": self.received - len(self.confirmed),
            "told lost": len(self.told_lost),
            "put in order at a start": dict(self.problems),
            "wrong": len(self.wrong),
            "seconds": round(self.seconds, 1),
        }


class Nursery:
    """A process that forks others; what they all tell comes in order on one pipe."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def order(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    async def told(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), STEP_S)
        assert line, "the nursery has ended"
        facts: dict[str, Any] = json.loads(line)
        return facts


@contextlib.asynccontextmanager
async def nursery(module: str, *arguments: str) -> AsyncIterator[Nursery]:
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd=PROJECT,
        )
        try:
            yield Nursery(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with all that it forked
            await process.wait()


class Rig:
    """One booth, one intake, and the observer."""

    def __init__(self, folder: Path, pki: Path, booths: Nursery, intakes: Nursery, chance: random.Random) -> None:
        self.booth_data, self.intake_data, self.pki = folder / "booth", folder / "intake", pki
        self.booths, self.intakes, self.chance = booths, intakes, chance
        self.figures = Figures()
        self.booth: int | None = None
        self.intake: int | None = None
        self.ready, self.drained = asyncio.Event(), asyncio.Event()
        self.born: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.busy_s = 0.3  # how long a booth takes for its visits, measured as we go
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    async def start_intake(self) -> None:
        self.intakes.order(data=str(self.intake_data), pki=str(self.pki), port=self.port)
        self.intake = (await self.intakes.told())["pid"]

    async def listen(self) -> None:
        """Hears the booths for ever. The last words of a killed one come before the number of the next."""
        while True:
            facts = await self.booths.told()
            self.hear(facts)
            if "pid" in facts:
                self.drained.clear()
                self.ready.clear()
                self.born.set_result(facts["pid"])
            elif "ready" in facts:
                self.ready.set()
            elif "drained" in facts or "failed" in facts:
                self.drained.set()

    async def start_booth(self, visits: int) -> None:
        url = f"https://127.0.0.1:{self.port}"
        self.born = asyncio.get_running_loop().create_future()
        self.booths.order(data=str(self.booth_data), pki=str(self.pki), url=url, visits=visits)
        self.booth = await asyncio.wait_for(self.born, STEP_S)

    async def kill(self, who: str) -> None:
        """SIGKILL, and until it is gone: a supervisor does not start a second one beside the first."""
        for name in ("booth", "intake"):
            number = getattr(self, name)
            if who in {name, "both"} and number is not None:
                os.kill(number, signal.SIGKILL)
                while is_alive(number):  # noqa: ASYNC110 - another process tells no event
                    await asyncio.sleep(0.001)
                setattr(self, name, None)

    def hear(self, facts: dict[str, Any]) -> None:
        if "confirmed" in facts:
            self.figures.confirmed.add(facts["confirmed"])
        elif "lost" in facts:
            self.figures.told_lost.add(facts["lost"])
        elif "failed" in facts:
            self.figures.wrong.append(f"run {self.figures.runs}: {facts['failed']}")
        for problem in facts.get("problems", ()):
            what = next((word for word in ("taken in", "removed", "set aside", "damaged") if word in problem), problem)
            self.figures.problems[what] += 1
            if what not in {"taken in", "removed"}:
                self.figures.wrong.append(f"run {self.figures.runs}: {problem}")

    async def settled(self) -> None:
        """Nothing waits at the booth any more."""
        await asyncio.wait_for(self.drained.wait(), STEP_S)

    async def run(self) -> None:
        """One run: visits, a kill, a new start, the comparison."""
        self.figures.runs += 1
        target = self.chance.choice(TARGETS)
        self.figures.kills[target] += 1
        if self.intake is None:
            await self.start_intake()
        begun = time.monotonic()
        await self.start_booth(VISITS)
        # The moment of the kill is the test's subject: from before the booth is open to after its last receipt.
        if self.chance.random() < 0.8:
            await asyncio.wait_for(self.ready.wait(), STEP_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.drained.wait(), self.chance.uniform(0, 1.1 * self.busy_s))
        await self.kill(target)
        if target == "intake":
            await asyncio.sleep(self.chance.uniform(0, 0.1))
            await self.start_intake()
        else:
            if self.intake is None:
                await self.start_intake()
            await self.start_booth(0)
        await self.settled()
        self.busy_s += 0.1 * (min(time.monotonic() - begun, 2.0) - self.busy_s)
        await self.kill("booth")
        self.compare()

    def compare(self) -> None:
        """What the observer heard against what the two have."""
        rows = read(self.intake_data / "intake.sqlite3", "SELECT sha256 FROM packets")
        received = Counter(str(row[0]) for row in rows)
        stored = {path.name for path in (self.intake_data / "objects").rglob("*") if path.is_file()}
        figures, wrong = self.figures, []
        wrong += [f"{one[:12]} confirmed and lost" for one in figures.confirmed - received.keys()]
        wrong += [f"{one[:12]} received {count} times" for one, count in received.items() if count != 1]
        wrong += [f"{one[:12]} told lost and received" for one in figures.told_lost & received.keys()]
        wrong += [f"{one[:12]} has no file" for one in received if not any(one in name for name in stored)]
        outbox = self.booth_data / "outbox"
        states = Counter(dict(read(outbox / "outbox.sqlite3", "SELECT state, count(*) FROM packets GROUP BY state")))
        if set(states) - {"receipted"} or states["receipted"] < len(figures.confirmed):
            wrong.append(f"the booth's rows: {dict(states)}")
        if left := list((outbox / "packets").iterdir()):
            wrong.append(f"{len(left)} copies are left")
        for path in (self.intake_data / "intake.sqlite3", outbox / "outbox.sqlite3"):
            if read(path, "PRAGMA integrity_check") != [("ok",)]:
                wrong.append(f"{path.name} is not whole")
        figures.received = len(received)
        figures.wrong += [f"run {figures.runs}: {one}" for one in wrong]


def is_alive(number: int) -> bool:
    return Path(f"/proc/{number}").exists()


def read(path: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path, timeout=STEP_S)) as database:
        return database.execute(query).fetchall()


async def verify_log(rig: Rig) -> None:
    """`intake log verify` as its operator calls it."""
    command = (
        "-m",
        "server.cli",
        "log",
        "verify",
        "--data",
        str(rig.intake_data),
        "--pki",
        str(rig.pki),
        "--files",
        "--json",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, cwd=PROJECT
    )
    answer, _ = await process.communicate()
    told = json.loads(answer)
    if process.returncode != 0 or not told["sound"] or told["size"] != rig.figures.received:
        rig.figures.wrong.append(f"intake log verify: {told}")


async def kill_again_and_again(
    runs: int, folder: Path, seed: int, told: Any = lambda _figures: None, limit_s: float = 36_000.0
) -> Figures:
    """The whole test; raises nothing that is the booth's fault, see `Figures.wrong`."""
    pki = make_development_pki(folder / "pki")
    begun = time.monotonic()
    async with (
        nursery("tests.journey.booth_nursery", str(pki)) as booths,
        nursery("tests.journey.intake_nursery") as intakes,
    ):
        rig = Rig(folder, pki, booths, intakes, random.Random(seed))
        listening = asyncio.create_task(rig.listen())
        for _ in range(runs):
            await rig.run()
            told(rig.figures)
            if rig.figures.wrong or time.monotonic() - begun > limit_s:
                break
        await rig.kill("both")
        listening.cancel()
        await verify_log(rig)
    rig.figures.seconds = time.monotonic() - begun
    return rig.figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=600.0, help="Begin no run after this time.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument(
        "--folder", type=Path, help="Keep the data here; default: a temporary folder, removed when all is well."
    )
    wanted = parser.parse_args()
    folder = wanted.folder or Path(tempfile.mkdtemp(prefix="kill-booth-"))

    def progress(figures: Figures) -> None:
        print(
            f"\r{figures.runs}/{wanted.runs} runs, {len(figures.confirmed)} confirmed",
            end="",
            file=sys.stderr,
            flush=True,
        )

    figures = asyncio.run(kill_again_and_again(wanted.runs, folder, wanted.seed, progress, wanted.minutes * 60))
    print(file=sys.stderr)
    print(json.dumps({"seed": wanted.seed, **figures.table()}, indent=2))
    for line in figures.wrong:
        print(line, file=sys.stderr)
    if not figures.wrong and wanted.folder is None:
        shutil.rmtree(folder)
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
