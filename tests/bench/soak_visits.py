"""Ten thousand visits on a virtual clock: does anything of a visit stay behind, and did every visit pass through CLEARING?

    nice .venv/bin/python -m tests.bench.soak_visits 10000                    the long run, figures at the end
    .venv/bin/python -m tests.bench.soak_visits 300 --seed 7 --allocations    where memory is allocated that stays (slower)
    .venv/bin/python -m tests.bench.soak_visits 2000 --json soak.json         every sample, for a drawing

Ctrl-C or SIGTERM ends it after the visit under way, with the figures of the visits that were made.
The booth is that of tests/soak_rig.py. What visitors do and what breaks follows from the seed and the number of the visit alone. A sample is taken
every `--every` visits, between two visits, with nothing waiting in the outbox, after a full garbage collection.

A run fails when
  - a visit began before the one before it was cleared, or came to ATTRACT or OUT_OF_SERVICE otherwise than wiped and out of CLEARING;
  - an object with personal data of an earlier visit is alive at a sample (weak references of attempts, stills, portraits, applications);
  - a packet that was confirmed is not at the intake, or one is there that was not confirmed;
  - a figure grows: a straight line is fitted to the samples after the warm-up, and the upper end of the slope's 99 % confidence interval is above the
    figure's bound (BOUNDS). The interval makes it a proof of absence, not an absence of proof: a run that is too short fails.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from random import Random

import httpx2
import numpy as np
from scipy import stats

from booth.demo import DemoError
from booth.demo_visit import Kiosk
from booth.kiosk import LANGUAGES
from booth.visit import State
from crypto.application import check_character
from crypto.heap import return_freed_memory
from tests.soak_rig import SoakBooth, Template
from tests.virtual_clock import Clock, running
from validation.face import FaceModel

SEED = 20261123
WARM_UP = 0.2  # of the visits: caches, arenas and pools fill
CONFIDENCE = 0.99
DRAIN_S = 2_000.0
PREVIEW_OF = 3  # every third page asks for pictures: encoding them is half of a run's work
# Growth per visit. The smallest leak is one task, thread, descriptor or object per visit; a tenth of that, or a hundredth, is a leak in every tenth or
# hundredth visit. 1 KiB of resident memory per visit is 10 MB in 10 000 visits, a year of thirty visits a day; what a visit holds is larger
# by orders: a packet has 0.3 MB, a still 15 MB.
BOUNDS = {
    "tasks": 0.001,
    "threads": 0.001,
    "descriptors": 0.001,
    "objects": 0.1,
    "blocks": 0.3,
    "resident_kib": 1.0,
    "intake_resident_kib": 1.0,
    "intake_descriptors": 0.001,
}
STATES = tuple(state.value for state in State if state not in {State.ATTRACT, State.OUT_OF_SERVICE})
FAULTS = (
    *("still", "still_thrice", "camera_lost", "lamps", "live_model", "judge_model", "judge_slow"),
    *("seal_slow", "disk", "refused", "503", "cut"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the booth's process, and the intake's, hold between two visits."""

    visits: int
    tasks: int
    threads: int
    descriptors: int
    objects: int
    blocks: int
    resident_kib: int
    intake_resident_kib: int
    intake_descriptors: int


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per visit with the bounds of its confidence interval."""

    name: str
    first: float
    last: float
    per_visit: float
    low: float
    high: float
    bound: float

    @property
    def grows(self) -> bool:
        return self.high > self.bound


def resident_kib(process: int | str) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def count_descriptors(process: int | str) -> int:
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def count_types() -> Counter[str]:
    return Counter(type(one).__name__ for one in gc.get_objects())


def count_objects(folder: Path) -> int:
    """Packets that an intake keeps."""
    return sum(1 for one in folder.rglob("*") if one.is_file() and len(one.name) >= 64)


def slope(name: str, samples: list[Sample], bound: float) -> Slope:
    """A straight line through the samples after the warm-up."""
    visits = np.array([sample.visits for sample in samples], float)
    values = np.array([getattr(sample, name) for sample in samples], float)
    kept = visits >= visits[-1] * WARM_UP
    line = stats.linregress(visits[kept], values[kept])
    half = line.stderr * stats.t.ppf((1 + CONFIDENCE) / 2, kept.sum() - 2)
    return Slope(name, values[kept][0], values[-1], line.slope, line.slope - half, line.slope + half, bound)


def _numbered(body: str) -> str:
    return body + check_character(body)


class Director:
    """Visitors, staff and misfortunes, one visit after the other."""

    def __init__(self, booth: SoakBooth, seed: int) -> None:
        self.booth, self.seed = booth, seed
        self.did: Counter[str] = Counter()
        self._pages = 0
        self._stack = contextlib.AsyncExitStack()
        self.kiosk: Kiosk | None = None

    async def load_page(self) -> None:
        """A page as the kiosk browser would have it; the one before it is gone without a word."""
        await self._stack.aclose()
        client = await self._stack.enter_async_context(httpx2.AsyncClient(timeout=600.0, verify=False))
        self.kiosk = Kiosk(self.booth.address, client)
        self._pages += 1
        await self._stack.enter_async_context(self.kiosk.open(preview=self._pages % PREVIEW_OF == 0))
        while not self.kiosk.state:
            await self.kiosk.next_state(1.0)

    async def close(self) -> None:
        await self._stack.aclose()

    def _what(self) -> tuple[object, ...]:
        state = self.kiosk.state
        return state["state"], state["visit"], state["tries_left"], state["language"]

    async def _new_state(self, before: tuple[object, ...], within_s: float = 400.0) -> None:
        deadline = self.booth.clock.now_s + within_s
        while self._what() == before and self.booth.clock.now_s < deadline:
            await self.kiosk.next_state(5.0)

    async def _press(self, event: str, **body: object) -> None:
        try:
            await self.kiosk.post(event, **body)
            self.did[event] += 1
        except DemoError:
            self.did["refused by the screen"] += 1  # the screen had changed meanwhile

    async def visit(self, number: int) -> None:
        """One visit, from ATTRACT to ATTRACT."""
        random, orders = Random(f"{self.seed}/{number}"), self.booth.orders
        orders.passes, orders.full, orders.code, orders.away = random.random() < 0.8, number % 25 == 0, False, False
        fault = random.choice(FAULTS) if random.random() < 0.4 else None
        fault_in, reload_in = random.choice(STATES[:8]), random.choice(STATES) if random.random() < 0.25 else None
        silent_in = random.choice(STATES) if random.random() < 0.12 else None
        ledger = self.booth.ledger
        began, cleared = ledger.began, ledger.cleared
        steps = 0
        while ledger.cleared == cleared:
            now = self._what()
            steps += 1
            if steps > 200:
                raise AssertionError(f"visit {number} does not end: {self.booth.runner.state}")
            if now[0] in {"attract", "out_of_service"}:
                if now[0] == "attract" and ledger.began == began:
                    await self._press("start")
                await self._new_state(now, 5.0)
                continue
            if now[0] == fault_in and fault is not None:
                self._break(fault, random)
                fault = None
            if now[0] == reload_in:
                reload_in = None
                self.did["page reloaded"] += 1
                await self.load_page()
                continue
            if now[0] == silent_in:
                self.did["nobody answers"] += 1
                await self._new_state(now)
                continue
            await asyncio.sleep(random.uniform(0.2, 3.0))
            if self._what() != now:
                continue
            await self._act(str(now[0]), random)
            await self._new_state(now)
        self._mend()

    async def _act(self, state: str, random: Random) -> None:
        """What the person before the screen does."""
        orders, kiosk = self.booth.orders, self.kiosk
        chance = random.random()
        if state in {"identify", "consent", "framing", "review", "assistance"} and chance < 0.06:
            await self._press("language", language=random.choice(LANGUAGES))
        elif state in {"language", "identify", "consent", "framing", "review"} and chance < 0.08:
            await self._press("help")
        elif state not in {"attract", "sealing", "clearing", "out_of_service"} and chance < 0.11:
            await self._press("cancel")
        elif state == "language":
            await self._press("language", language=random.choice(LANGUAGES))
        elif state == "identify":
            if random.random() < 0.5:
                orders.code = True
            else:
                typed = "§" if random.random() < 0.15 else _numbered(f"AB{random.randrange(10**7):07}")
                await self._press("identify", number=typed)
                if typed == "§":
                    await self._press("identify", number="AB0000001H")
        elif state == "consent":
            orders.code = False
            await self._press("consent", answer=random.random() > 0.08)
        elif state == "framing":
            orders.away = random.random() < 0.3
            await asyncio.sleep(random.uniform(0.5, 8.0) if orders.away else 0.0)
            orders.away = False
        elif state == "review":
            with contextlib.suppress(httpx2.HTTPStatusError):  # gone meanwhile
                await kiosk.portrait()
            if kiosk.state["state"] == "review":
                choice = "accept" if kiosk.state["compliant"] and random.random() < 0.9 else "retake"
                orders.passes = random.random() < 0.8 if choice == "retake" else orders.passes
                await self._press(choice)
        elif state == "thanks":
            if random.random() < 0.6:
                await self._press("cancel")
        elif state == "assistance" and random.random() < 0.7:
            choice = random.random() < 0.3 and "resume" in kiosk.state["commands"]
            await self._press("resume" if choice else "help_given")

    def _break(self, fault: str, random: Random) -> None:
        booth, orders, loop = self.booth, self.booth.orders, asyncio.get_running_loop()
        self.did[f"fault: {fault}"] += 1
        match fault:
            case "still":
                orders.still_fails = 1
            case "still_thrice":
                orders.still_fails = 3
            case "camera_lost":
                booth.camera.plug(lost=True)
                loop.call_later(random.uniform(0.5, 90.0), lambda: booth.camera.plug(lost=False))
            case "lamps":
                orders.lamps_fail = random.randint(1, 4)
            case "live_model":
                orders.live_fails = random.randint(1, 2)
            case "judge_model":
                orders.judge_fails = random.randint(1, 3)
            case "judge_slow" | "seal_slow":
                orders.release.clear()
                orders.judge_waits, orders.seal_waits = fault == "judge_slow", fault == "seal_slow"
                loop.call_later(random.uniform(5.0, 120.0), self._release)
            case "disk":
                orders.disk_fails = random.randint(1, 2)
            case _:
                orders.intake_fails += [fault] * random.randint(1, 5)

    def _release(self) -> None:
        orders = self.booth.orders
        orders.judge_waits = orders.seal_waits = False
        orders.release.set()

    def _mend(self) -> None:
        """The technician; nothing of a visit's misfortune reaches the next one but what is still on its way."""
        orders = self.booth.orders
        orders.still_fails = orders.lamps_fail = orders.live_fails = orders.judge_fails = orders.disk_fails = 0
        self._release()
        self.booth.camera.plug(lost=False)

    async def settle(self) -> None:
        """Everything confirmed is delivered, and no page is there: every sample is taken in the same state."""
        await self.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self.booth.outbox.status.waiting:  # noqa: ASYNC110 - the outbox tells nobody
                    await asyncio.sleep(5.0)
        await asyncio.sleep(10.0)


def measure(booth: SoakBooth, visits: int) -> Sample:
    """A sample; what is alive of earlier visits is noted as wrong."""
    asyncio.get_running_loop().drop_cancelled()
    gc.collect()
    alive = [ghost() for ghost in booth.ghosts]
    if left := [type(one).__name__ for one in alive if one is not None]:
        booth.ledger.wrong.append(f"after visit {visits} there is still {Counter(left)}")
    alive.clear()
    booth.ghosts.clear()
    intake = booth.intake.pid
    return Sample(
        visits=visits,
        tasks=len(asyncio.all_tasks()),
        threads=threading.active_count(),
        descriptors=count_descriptors("self"),
        objects=len(gc.get_objects()),
        blocks=sys.getallocatedblocks(),
        resident_kib=resident_kib("self"),
        intake_resident_kib=resident_kib(intake),
        intake_descriptors=count_descriptors(intake),
    )


@dataclass
class Outcome:
    """What a run showed."""

    visits: int
    seed: int
    real_s: float
    virtual_s: float
    samples: list[Sample]
    slopes: list[Slope]
    ended: dict[str, int]
    did: dict[str, int]
    told: dict[str, int]
    answers: dict[str, int]
    sealed: int
    delivered: int
    wrong: list[str]
    grown: dict[
        str, int
    ]  # objects at the end that were not there after the warm-up, by type; for looking, not for judging

    @property
    def failed(self) -> bool:
        return bool(self.wrong) or any(one.grows for one in self.slopes)


async def soak(
    template: Template, clock: Clock, folder: Path, visits: int, *, seed: int = SEED, every: int = 50,
    bounds: dict[str, float] | None = None, progress=lambda _sample: None, watch=lambda _number: None, ending=lambda: False,
) -> Outcome:  # fmt: skip
    """Makes the visits and judges them."""
    began, began_s = time.perf_counter(), clock.now_s
    rows = np.zeros(
        (visits // every, len(fields(Sample)))
    )  # made beforehand: samples in a list would grow by themselves
    types: Counter[str] = Counter()
    async with SoakBooth(template, clock).open(folder) as booth:
        director = Director(booth, seed)
        await director.load_page()
        try:
            for number in range(1, visits + 1):
                await director.visit(number)
                if number % every == 0:
                    await director.settle()
                    if not types and number >= visits * WARM_UP:
                        types = count_types()  # before the first sample that counts, for it stays
                    sample = measure(booth, number)
                    rows[number // every - 1] = astuple(sample)
                    progress(sample)
                    watch(number)
                    await director.load_page()
                if ending():
                    visits = number
                    break
            await director.settle()
            gc.collect()
            grown = count_types()
            grown.subtract(types)
        finally:
            await director.close()
        ledger, entries = booth.ledger, booth.outbox.entries()
        wrong = list(ledger.wrong)
        delivered = sum(one.state.value == "receipted" for one in entries)
        at_intake = count_objects(folder / "intake" / "objects")
    if ledger.began != visits or ledger.cleared != visits:
        wrong.append(f"{visits} visits were made, {ledger.began} began, {ledger.cleared} were cleared")
    if not at_intake == delivered == len(entries) == ledger.sealed:
        wrong.append(
            f"{ledger.sealed} were confirmed, {len(entries)} are in the outbox, {delivered} of them delivered, {at_intake} at the intake"
        )
    samples = [Sample(*map(int, row)) for row in rows[: visits // every]]
    slopes = [slope(name, samples, bound) for name, bound in (BOUNDS | (bounds or {})).items()]
    return Outcome(
        visits, seed, time.perf_counter() - began, clock.now_s - began_s, samples, slopes, dict(ledger.ended),
        dict(director.did), dict(ledger.faults), dict(booth.wire.answers), ledger.sealed, delivered, wrong,
        {name: number for name, number in grown.most_common(12) if types and number > 0},
    )  # fmt: skip


def show(outcome: Outcome) -> str:
    """The figures in words."""
    lines = [
        (
            f"{outcome.visits} visits, seed {outcome.seed}: {outcome.real_s:.0f} s for {outcome.virtual_s / 3600:.1f} h of the booth's time; "
            f"{outcome.sealed} confirmed, {outcome.delivered} delivered"
        ),
        f"ended in CLEARING from: {_counts(outcome.ended)}",
        f"done: {_counts(outcome.did)}",
        f"told to applicants: {_counts(outcome.told)}",
        f"intake: {_counts(outcome.answers)}",
        f"objects that were added after the warm-up: {_counts(outcome.grown)}",
        f"{'per visit':22}{'first':>12}{'last':>12}{'slope':>12}{'99 % from':>12}{'to':>12}{'bound':>9}",
    ]
    lines += [
        (
            f"{one.name:22}{one.first:12.0f}{one.last:12.0f}{one.per_visit:12.5f}{one.low:12.5f}{one.high:12.5f}{one.bound:9g}"
            f"  {'GROWS' if one.grows else 'ok'}"
        )
        for one in outcome.slopes
    ]
    return "\n".join(lines + [f"WRONG: {text}" for text in outcome.wrong[:20]])


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items(), key=lambda item: -item[1])) or "none"


class Allocations:
    """What grows, by type of object and by line of code; for looking, not for judging."""

    def __init__(self, after: int) -> None:
        self._after, self._types, self._lines = after, Counter(), None
        tracemalloc.start(8)

    def __call__(self, number: int) -> None:
        types = count_types()
        lines = tracemalloc.take_snapshot()
        if number >= self._after and self._lines is None:
            self._types, self._lines = types, lines
            return
        if self._lines is not None:
            grown = {name: number - self._types[name] for name, number in types.items()}
            print("types:", Counter(grown).most_common(12))
            for one in lines.compare_to(self._lines, "traceback")[:10]:
                print("  ", one, *one.traceback.format()[-6:], sep="\n    ", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("visits", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--every", type=int, default=50, help="visits between two samples")
    parser.add_argument("--allocations", action="store_true", help="show what grows, by type and by line")
    parser.add_argument("--json", type=Path, help="write every sample and slope here")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=open(os.devnull, "w"))  # noqa: SIM115, PTH123 - lines are made, as in a booth, and go nowhere
    with FaceModel() as model:
        template = Template(model)
    return_freed_memory()  # as `booth run` does
    clock = Clock()
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda which, _frame: asked.append(which))

    def progress(sample: Sample) -> None:
        print(*(f"{name} {value:.0f}" for name, value in asdict(sample).items()), sep="  ", flush=True)

    watch = Allocations(options.visits // 3) if options.allocations else lambda _number: None
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, running(clock) as runner:
        outcome = runner.run(
            soak(
                template, clock, Path(folder), options.visits, seed=options.seed, every=options.every,
                progress=progress, watch=watch, ending=lambda: bool(asked),
            )
        )  # fmt: skip
    print(show(outcome))
    if options.json:
        options.json.write_text(json.dumps(asdict(outcome), indent=1), "utf-8")
    return int(outcome.failed)


if __name__ == "__main__":
    sys.exit(main())
