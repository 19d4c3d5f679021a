"""Mutated packets and everything inside them through all strict readers: only the reader's own errors, no crash, no hang, little memory.

    .venv/bin/python -m tests.bench.fuzz_crypto 1000000                            all readers, two processes, figures at the end
    .venv/bin/python -m tests.bench.fuzz_crypto 1 --reader zip --first 4711        one case again, with its input
    .venv/bin/python -m tests.bench.fuzz_crypto --atheris zip -runs=100000         guided by coverage, where atheris is installed

A case is a reader's name and a number; everything in it follows from the two. A failure is: another error than the reader's own, a warning, an
accepted input of which the reader's promise does not hold (it is written again as the same bytes, it names what it must), more than LIMIT_S for one
input, or more than MEMORY_MB in a process. Processes have MEMORY_MB plus room of address space, so one huge allocation fails by itself. A
process that does not come on for HANG_S is ended and its case told: that is a hang in C, where no signal reaches.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from types import FrameType
from typing import Any

from tests.bench.fuzz_readers import Material, Reader

SEED = 20261123
LIMIT_S = 2.0
HANG_S = 60.0
MEMORY_MB = 200
ADDRESS_SPACE_BYTES = 2 * 1024**3  # what is mapped, most of it never touched: libraries, threads' stacks
MAX_FAILURES = 20
SEEDS = 200  # what atheris begins with
PROCESSES = 2


class TooSlowError(Exception):
    """One input took longer than LIMIT_S."""


@dataclass
class Tally:
    """How cases ended."""

    cases: Counter[str] = field(default_factory=Counter)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[tuple[str, int, str]] = field(default_factory=list)
    slowest: tuple[float, str, int] = (0.0, "", 0)
    peak_mb: float = 0.0

    def add(self, other: Tally) -> None:
        self.cases += other.cases
        self.ends += other.ends
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.peak_mb = max(self.peak_mb, other.peak_mb)


def input_of(reader: Reader, number: int) -> Any:
    """The input of a case."""
    return reader.make(random.Random(f"{SEED} {reader.name} {number}"))


def judge(reader: Reader, data: Any) -> str:
    """How an input ended; raises when it ended as no input may."""
    try:
        value = reader.read(data)
    except reader.errors as err:
        if not reader.refused(err):
            raise AssertionError(f"a refusal that tells too much or too little: {err!r}") from err
        return str(err.__cause__ or err)
    if not reader.hold(data, value):
        raise AssertionError("an input was accepted of which the promise does not hold")
    return "accepted"


def run(
    readers: Sequence[Reader], numbers: Sequence[int], tell: Callable[[int, int], None] = lambda _r, _n: None
) -> Tally:
    """These cases of every reader, one after the other, in this process."""
    tally = Tally()

    def too_slow(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, too_slow)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for number in numbers:
                for index, reader in enumerate(readers):
                    tell(index, number)
                    _one(reader, number, tally)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    tally.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return tally


def _one(reader: Reader, number: int, tally: Tally) -> None:
    data = input_of(reader, number)
    start = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        end = judge(reader, data)
    except Exception:  # noqa: BLE001 - whatever a reader raises is what is looked for
        end = "FAILED"
        if len(tally.failures) < MAX_FAILURES:
            tally.failures.append((reader.name, number, traceback.format_exc(limit=-6)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    tally.slowest = max(tally.slowest, (time.perf_counter() - start, reader.name, number))
    tally.cases[reader.name] += 1
    tally.ends[reader.name, _kind(end)] += 1


def _kind(end: str) -> str:
    """A reason without its numbers and names, so that reasons can be counted."""
    words = end.split()
    return " ".join(word for word in words if word.isalpha() or word[:-1].isalpha())[:90]


# --- several processes


def _work(
    names: Sequence[str], numbers: range, place: SynchronizedArray[int], at: int, results: multiprocessing.Queue[Tally]
) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    known = Material().readers()

    def tell(reader: int, number: int) -> None:
        place[2 * at], place[2 * at + 1] = reader, number

    results.put(run([known[name] for name in names], numbers, tell))


def run_processes(names: Sequence[str], first: int, count: int, processes: int) -> Tally:
    """`count` numbers of every reader, spread over processes; tells how far it is once every ten seconds."""
    context = multiprocessing.get_context("spawn")
    place = context.Array("q", [-1] * (2 * processes), lock=True)
    results: multiprocessing.Queue[Tally] = context.Queue()
    share = [range(first + at, first + count, processes) for at in range(processes)]
    workers = [
        context.Process(target=_work, args=(names, numbers, place, at, results)) for at, numbers in enumerate(share)
    ]
    for worker in workers:
        worker.start()
    total, seen, moved, told = Tally(), list(place), time.monotonic(), time.monotonic()
    pending = set(range(processes))
    while pending:
        if not results.empty():
            total.add(results.get())
        pending = {at for at in pending if workers[at].is_alive()}
        time.sleep(0.2)
        now = time.monotonic()
        if list(place) != seen:
            seen, moved = list(place), now
        elif pending and now - moved > HANG_S:
            for at in pending:
                total.failures.append((names[place[2 * at]], place[2 * at + 1], f"no end within {HANG_S:.0f} s"))
                workers[at].kill()
        if now - told > 10:
            told = now
            done = sum(max(place[2 * at + 1] - first, 0) // processes for at in range(processes)) * len(names)
            print(f"  {done:,} of {count * len(names):,} inputs", file=sys.stderr, flush=True)
    while not results.empty():
        total.add(results.get())
    for at, worker in enumerate(workers):
        worker.join()
        if worker.exitcode != 0:
            case = (names[place[2 * at]], place[2 * at + 1])
            total.failures.append((*case, f"the process ended with {worker.exitcode}"))
    return total


def explore(reader: Reader, options: Sequence[str]) -> None:
    """Bytes chosen by coverage (atheris from pip, Python 3.12 on), beginning with ours; for readers of bytes."""
    import atheris  # type: ignore[import-not-found,unused-ignore]

    with tempfile.TemporaryDirectory() as corpus:
        for number in range(SEEDS):
            data = input_of(reader, number)
            if not isinstance(data, bytes):
                raise SystemExit(f"{reader.name} does not read bytes alone.")
            (Path(corpus) / str(number)).write_bytes(data)
        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *options, corpus], lambda data: judge(reader, data) and None)
        atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Mutated packets and everything inside them through all strict readers."
    )
    parser.add_argument("count", type=int, nargs="?", default=100_000, help="inputs in all")
    parser.add_argument("--reader", action="append", help="only this reader; may be given more than once")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument(
        "--atheris", metavar="READER", help="let atheris choose the bytes; it gets the options that are not ours"
    )
    told, options = parser.parse_known_args()
    known = Material().readers()
    if told.atheris:
        explore(known[told.atheris], options)
        return
    if options:
        parser.error(f"no such option: {' '.join(options)}")
    names = told.reader or list(known)
    count = -(-told.count // len(names))
    if told.count == 1:
        data = input_of(known[names[0]], told.first)
        print(data.hex() if isinstance(data, bytes) else data)
    start = time.monotonic()
    tally = run_processes(names, told.first, count, min(told.processes, count))
    for name in names:
        ends = {end: n for (reader, end), n in tally.ends.items() if reader == name}
        accepted = ends.pop("accepted", 0)
        print(f"{name:15} {tally.cases[name]:>8,} inputs {accepted:>7,} accepted {len(ends):>4} reasons to refuse")
    for name, number, trace in tally.failures:
        print(f"\n--reader {name!r} --first {number}\n{trace}")
    seconds, name, number = tally.slowest
    print(
        f"{sum(tally.cases.values()):,} inputs in {time.monotonic() - start:.0f} s, seed {SEED}: {len(tally.failures)} failures"
    )
    print(f"slowest {seconds:.3f} s ({name} {number}); most memory {tally.peak_mb:.0f} MB in a process")
    raise SystemExit(1 if tally.failures or tally.peak_mb > MEMORY_MB else 0)


if __name__ == "__main__":
    main()
