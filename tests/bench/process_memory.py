"""What the demo's programs and the kiosk's Chromium hold in memory, visit after visit, in real time.

    nice .venv/bin/python -m tests.bench.process_memory --minutes 5

The controller, the intake, the desk and the virtual booth run as in `booth demo`; Chromium shows the kiosk page without a screen, started by
deploy/kiosk/kiosk-browser, which counts too. The scripted visit, each time of another applicant, of `booth demo --visit` is made again and again. After every visit the PSS (memory shared
with others counts in parts), or where it cannot be read the RSS, of each program and its children is read. The bound of 700 MB is for
what runs on a booth: controller and browser; intake and desk run elsewhere, the virtual booth nowhere. Fails when the booth's own programs
are above it, or grow by more than GROWTH_MB_PER_VISIT after the first FIRST visits.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from booth.demo import Demo, DemoError, DemoOptions, running_demo
from booth.demo_visit import make_visit

CHROMIUM = "/usr/bin/chromium"
KEEPER = Path(__file__).resolve().parents[2] / "deploy" / "kiosk" / "kiosk-browser"
MEMORY = Path("/dev/shm")  # the keeper wants a profile on tmpfs
BOUND_MB = 700
BOOTH = ("controller", "chromium")
FIRST = 3  # visits until models, arenas and the page's scripts are loaded
GROWTH_MB_PER_VISIT = 1.0


def family(process: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [process]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def memory_mb(process: int) -> tuple[float, float]:
    """PSS and RSS of a process and its descendants; RSS for both where PSS cannot be read."""
    pss = rss = 0.0
    for one in family(process):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{one}/status").read_text("utf-8", "replace")
            resident = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
            shared = resident
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{one}/smaps_rollup").read_text("ascii")
                shared = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            pss, rss = pss + shared / 1024, rss + resident / 1024
    return pss, rss


@contextlib.contextmanager
def chromium(url: str):
    """The kiosk page in a browser without a screen; None where there is no Chromium."""
    if not Path(CHROMIUM).exists():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="memory-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        environment = {
            **os.environ,
            **dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "RUNTIME_DIRECTORY"), folder),
            "PASSBOOTH_URL": url,
            "PASSBOOTH_CHROMIUM": CHROMIUM,
            "PASSBOOTH_FLAGS": "--headless=new --no-sandbox --disable-gpu --window-size=1080,1920",
        }
        process = subprocess.Popen([KEEPER], env=environment, start_new_session=True)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


async def watch(demo: Demo, browser: int | None, minutes: float) -> list[dict[str, object]]:
    programs = {program.name: program.process.pid for program in demo.programs}
    if browser is not None:
        programs["chromium"] = browser
    samples: list[dict[str, object]] = []
    end, visits = time.monotonic() + minutes * 60, 0
    while time.monotonic() < end:
        if not demo.slips:
            print("no applicants are left", flush=True)
            break
        try:
            outcome = await make_visit(demo, None, lambda _step: None)
        except DemoError as error:  # a busy machine: the visit ended by a time limit; the next one counts
            print(f"visit given up: {error}", flush=True)
            await asyncio.sleep(5)
            continue
        finally:
            demo = dataclasses.replace(demo, slips=demo.slips[1:])
        visits += 1
        found = {name: memory_mb(process) for name, process in programs.items()}
        samples.append({"visits": visits, "faults": outcome.faults, **found})
        print(visits, *(f"{name} {pss:.0f}/{rss:.0f}" for name, (pss, rss) in found.items()), sep="  ", flush=True)
    return samples


def judge(samples: list[dict[str, object]]) -> list[str]:
    """Says the figures; returns what is wrong."""
    wrong = []
    kept = samples[FIRST:] if len(samples) > FIRST + 2 else samples
    visits = np.array([sample["visits"] for sample in kept], float)
    total = np.zeros(len(kept))
    for name in [key for key in samples[0] if key not in {"visits", "faults"}]:
        pss = np.array([sample[name][0] for sample in kept])
        rss = np.array([sample[name][1] for sample in kept])
        growth = float(np.polyfit(visits, pss, 1)[0]) if len(kept) > 2 else float("nan")
        print(
            f"{name:14} PSS {pss[0]:6.0f} → {pss[-1]:6.0f} MB, most {pss.max():6.0f}   RSS most {rss.max():6.0f} MB   {growth:+.2f} MB a visit"
        )
        if name in BOOTH:
            total += pss
            if growth > GROWTH_MB_PER_VISIT:
                wrong.append(f"{name} grows by {growth:.2f} MB a visit")
    print(f"controller and browser together: PSS at most {total.max():.0f} MB of {BOUND_MB} MB")
    if total.max() > BOUND_MB:
        wrong.append(f"the booth's own programs hold {total.max():.0f} MB")
    return wrong


async def measure(minutes: float) -> list[dict[str, object]]:
    async with running_demo(DemoOptions(visit=True, browser=False)) as demo:
        with chromium(demo.kiosk_url) as browser:
            return await watch(demo, None if browser is None else browser.pid, minutes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--json", type=Path, help="write every sample here")
    options = parser.parse_args()
    samples = asyncio.run(measure(options.minutes))
    if options.json is not None:
        options.json.write_text(json.dumps(samples, indent=1), "utf-8")
    wrong = judge(samples) if samples else ["no visit was made"]
    for text in wrong:
        print(f"WRONG: {text}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
