"""Wild requests at every door: the kiosk's pages, the intake and the desk as running programs.

    .venv/bin/python -m tests.bench.fuzz_requests 100000                                 all doors, figures at the end
    .venv/bin/python -m tests.bench.fuzz_requests 1 --door serve --first 4711            one request again, with its bytes

A request is a door's name and a number; everything in it follows from the two and the seed (tests/wild_requests.py), but for the signatures, which
carry the time. A failure is: a status of 500 or more (503 with Retry-After is overload: allowed, counted apart), no answer within HANG_S where one is
due, a plain request between the wild ones that is not answered within PROBE_S (less the time that the door's event loop and ours stood in line for a
processor, as the kernel counts it: a crowded machine is not the door's fault), an answer that repeats what was sent or shows a trace, a path, a
library or a canary, a door that ends, and a trace in its log. Exit code 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.doors import Door, open_kiosk, open_server, page_token, reveals
from tests.sealed_packets import Keys
from tests.wild_requests import ECHO, Target, Wild, wild_request

SEED = 20261123
HANG_S = 20.0  # a door's own limit for a slow body or head is half of it
PROBE_S = 5.0
PROBE_EVERY = 200
AT_ONCE = 20
PATIENCE_S = 0.05  # what an unfinished request waits for an answer before its sender leaves
MAX_FAILURES = 20
SHARES = {"kiosk": 0.55, "serve": 0.3, "desk": 0.15}
PROBES = {"kiosk": "/api/pages", "serve": "/v1/health", "desk": "/login"}
STATUS = re.compile(rb"^HTTP/1\.1 (\d{3})")


@dataclass
class Tally:
    """How requests ended at one door."""

    ends: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest_probe_s: float = 0.0  # without the waits for a processor
    slowest_probe_wall_s: float = 0.0
    overload: int = 0
    seconds: float = 0.0
    memory_kib: tuple[int, int] = (0, 0)

    @property
    def requests(self) -> int:
        """How many were sent."""
        return sum(self.kinds.values())


@contextlib.contextmanager
def opened(name: str, folder: Path, keys: Keys) -> Iterator[tuple[Door, Target]]:
    """One door and what a sender knows of it."""
    if name == "kiosk":
        with open_kiosk(folder) as door:
            yield door, Target(name, f"127.0.0.1:{door.port}", page_token(door))
    else:
        with open_server(name, keys, folder) as door:
            yield door, Target(name, f"127.0.0.1:{door.port}", "", keys if name == "serve" else None)


async def fuzz(
    door: Door, target: Target, numbers: range, seed: int, *, progress: bool = False, minutes: float | None = None
) -> Tally:
    """Send these requests, some at once, and judge what comes back; those that `minutes` leave time for."""
    tally, begun, before = Tally(), time.monotonic(), door.resident_kib()
    waiting = iter(numbers)
    context = door.context()

    async def sender() -> None:
        for number in waiting:
            wild = wild_request(target, seed, number)
            tally.kinds[wild.kind] += 1
            sent, at = tally.requests, time.monotonic()
            data, hung = await _send(door, wild, context)
            tally.slowest_s = max(tally.slowest_s, time.monotonic() - at)
            for failure in _judge(wild, data, tally, hung=hung, form=door.name == "desk"):
                tally.failures.append(f"{door.name} {number} {wild.kind}: {failure}")
            if sent % PROBE_EVERY == 0:
                await _probe(door, context, tally)
                if progress and sent % (PROBE_EVERY * 25) == 0:
                    rate = sent / (time.monotonic() - begun)
                    print(
                        f"{door.name:6} {sent:7} requests, {rate:.0f}/s, failures {len(tally.failures)}",
                        file=sys.stderr,
                        flush=True,
                    )
            late = minutes is not None and time.monotonic() - begun > 60 * minutes
            if late or len(tally.failures) >= MAX_FAILURES or door.process.poll() is not None:
                return

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    await _probe(door, context, tally)
    if door.process.poll() is not None:
        tally.failures.append(f"{door.name} ended with exit code {door.process.returncode}")
    else:
        tally.memory_kib = (before, door.resident_kib())
    log = door.told()
    if traces := log.count("Traceback (most recent call last)"):
        tally.failures.append(f"{door.name} logged {traces} traces; the first: {log[log.index('Traceback') :][:1500]}")
    if ECHO in log:
        tally.failures.append(f"{door.name} logged what was sent: {log[max(0, log.index(ECHO) - 200) :][:400]}")
    tally.seconds = time.monotonic() - begun
    return tally


async def _send(door: Door, wild: Wild, context: ssl.SSLContext | None) -> tuple[bytes, bool]:
    """What came back, and whether an answer that is due did not come."""
    data = bytearray()
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", door.port, ssl=None if wild.raw else context), HANG_S
        )
    except TimeoutError:
        return b"", True
    except OSError:
        return b"", False
    try:
        async with asyncio.timeout(HANG_S if wild.due else HANG_S / 2):
            for number, piece in enumerate(wild.pieces):
                if number:
                    await asyncio.sleep(0.002)
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof() and not wild.due and wild.kind != "websocket":
                writer.write_eof()  # nothing more comes: an answer or the end is due
            patience = HANG_S if wild.due or (context is None and wild.kind != "websocket") else PATIENCE_S
            with contextlib.suppress(TimeoutError):
                while True:
                    got = await asyncio.wait_for(reader.read(65536), patience)
                    if not got or len(data) > 2_000_000:
                        break
                    data += got
                    if b"text/event-stream" in data or data.startswith(b"HTTP/1.1 101"):
                        patience = PATIENCE_S  # these have no end
                return bytes(data), not data and wild.due and patience == HANG_S and not reader.at_eof()
        return bytes(data), False
    except TimeoutError:
        return bytes(data), True
    except OSError:  # the door has hung up
        return bytes(data), False
    finally:
        writer.transport.abort()


async def _probe(door: Door, context: ssl.SSLContext | None, tally: Tally) -> None:
    """A plain request must be answered as ever."""
    at, in_line = time.monotonic(), _in_line_s(door)
    request = f"GET {PROBES[door.name]} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nConnection: close\r\n\r\n"
    data, _ = await _send(door, Wild("probe", (request.encode(),), due=True), context)
    wall_s = time.monotonic() - at
    waited_s = max(now - before for before, now in zip(in_line, _in_line_s(door), strict=True))
    took_s = max(wall_s - waited_s, 0.0)
    tally.slowest_probe_s = max(tally.slowest_probe_s, took_s)
    tally.slowest_probe_wall_s = max(tally.slowest_probe_wall_s, wall_s)
    if not data.startswith(b"HTTP/1.1 200") or took_s > PROBE_S:
        tally.failures.append(
            f"{door.name}: a plain request took {took_s:.1f} s ({wall_s:.1f} s by the clock) and got {data[:100]!r}"
        )


def _in_line_s(door: Door) -> tuple[float, float]:
    """How long the door's first thread and ours have been ready to run and had no processor; 0 where the kernel does not tell.

    They wait at the same time too, so the longer of the two waits is what a probe may be excused by, not their sum.
    """
    waits = []
    for process in (str(door.process.pid), "self"):
        try:
            waits.append(int(Path(f"/proc/{process}/schedstat").read_text("ascii").split()[1]) / 1e9)
        except OSError:  # the door has ended, which is told elsewhere; or the kernel has no such file
            waits.append(0.0)
    return waits[0], waits[1]


def _judge(wild: Wild, data: bytes, tally: Tally, *, hung: bool, form: bool) -> Iterator[str]:
    """Counts the end of one request; yields what is wrong with it."""
    if hung:
        tally.ends["hung"] += 1
        yield f"no answer; sent {wild.pieces!r:.400}"
        return
    answers = [answer for answer in re.split(rb"(?=HTTP/1\.1 \d{3} )", data) if answer]
    if not answers:
        tally.ends["closed"] += 1
    for answer in answers:
        status = int(found.group(1)) if (found := STATUS.match(answer)) else 0
        tally.ends[str(status) if status else "no HTTP"] += 1
        head, _, body = answer.partition(b"\r\n\r\n")
        lower = head.lower()
        if status == 503 and b"\r\nretry-after:" in lower:
            tally.overload += 1
        elif status >= 500:
            yield f"status {status}: {answer[:300]!r}; sent {wild.pieces!r:.400}"
        if b"\r\nserver:" in lower:
            yield f"names its software: {head!r}"
        # The desk's form keeps where somebody wanted to go, for it alone.
        # A pong repeats its ping (RFC 6455, 5.5.3).
        if ECHO.encode() in (head if status == 101 else answer) and not (form and status == 200):
            yield f"repeats what was sent: {answer[:400]!r}; sent {wild.pieces!r:.400}"
        binary = any(kind in lower for kind in (b"image/", b"octet-stream", b"pkix", b"passbooth", b"javascript"))
        if not binary and (told := reveals(head + b"\n" + body)):
            yield f"reveals {told!r}: {answer[:400]!r}"


def show(name: str, tally: Tally) -> str:
    """The figures of one door as a line of Markdown."""
    statuses = ", ".join(f"{end}: {count}" for end, count in sorted(tally.ends.items()))
    first, last = tally.memory_kib
    return (
        f"| {name} | {tally.requests} | {tally.requests / tally.seconds:.0f}/s | {statuses} | {tally.overload} | {tally.slowest_probe_s:.2f} s ({tally.slowest_probe_wall_s:.2f} s by the clock) | "
        f"{first / 1024:.0f} → {last / 1024:.0f} MiB | {len(tally.failures)} |"
    )


def main() -> int:
    """Run as asked; 1 when something failed."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("requests", type=int)
    reader.add_argument("--door", choices=tuple(SHARES), help="only this one")
    reader.add_argument("--first", type=int, default=0, help="number of the first request")
    reader.add_argument("--seed", type=int, default=SEED)
    reader.add_argument("--minutes", type=float, help="end each door after this time, with the figures until then")
    reader.add_argument("--json", action="store_true")
    options = reader.parse_args()
    doors = [options.door] if options.door else list(SHARES)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="doors-") as folder:
        keys = Keys(Path(folder) / "pki")
        print(
            "| door | requests | rate | ends | overload | slowest probe | memory | failures |\n|---|---|---|---|---|---|---|---|"
        )
        for name in doors:
            count = options.requests if options.door else round(options.requests * SHARES[name])
            numbers = range(options.first, options.first + count)
            with opened(name, Path(folder) / name, keys) as (door, target):
                if count == 1:
                    print(wild_request(target, options.seed, options.first))
                tally = asyncio.run(fuzz(door, target, numbers, options.seed, progress=True, minutes=options.minutes))
            print(show(name, tally), flush=True)
            if options.json:
                print(json.dumps({"door": name, "kinds": tally.kinds, "ends": tally.ends, "failures": tally.failures}))
            for failure in tally.failures:
                print(f"FAILED {failure}", file=sys.stderr)
            failures += len(tally.failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
