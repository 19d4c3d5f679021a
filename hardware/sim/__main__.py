"""`python -m hardware.sim`: starts a virtual booth, prints the matching part of booth.toml, serves until it is stopped; `… tell` gives it orders."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import dataclasses
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from hardware.sim.scenarios import PEOPLE, SCENARIOS, Scenario
from hardware.sim.sitter import SESSION_ACTIONS
from hardware.sim.tell import COMMAND, tell

SOCKET_PATH_LIMIT: Final = 100  # a Unix socket's path may have 107 bytes
PARENT_CHECK_S: Final = 1.0
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
STILL_LIMIT_PX: Final = 4096

EXAMPLES = """\
examples:
  python -m hardware.sim                        WLED lamps, VISCA, an empty booth
  python -m hardware.sim seated --person kwame  somebody sits there already
  python -m hardware.sim dmx --json             DMX lamps; one JSON line instead of TOML
  python -m hardware.sim --run-dir ./virtual   serial ports and control socket under this folder

then, from another terminal:
  python -m hardware.sim tell ./virtual/control '{"sitter":"arrive"}' '{"show_code":"DEMO2026000017Q"}'
  python -m hardware.sim tell ./virtual/control '{"fault":"lights.unplug","on":true}' '{"state":true}'
"""


def still_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT."""
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if match is None or not all(64 <= int(side) <= STILL_LIMIT_PX for side in match.groups()):
        raise argparse.ArgumentTypeError(
            f"a size is WIDTHxHEIGHT in pixels, at most {STILL_LIMIT_PX} each, not '{text}'"
        )
    return int(match[1]), int(match[2])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    scenarios = "\n".join(f"  {scenario.name:<13} {scenario.summary}" for scenario in SCENARIOS.values())
    made = argparse.ArgumentParser(
        prog="python -m hardware.sim",
        description=f"The virtual booth: lamps, camera and camera control at the wire, with a rendered sitter.\n\nscenarios:\n{scenarios}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("scenario", nargs="?", default="visit", choices=SCENARIOS, metavar="SCENARIO")
    made.add_argument("--lights", choices=("wled", "dmx", "none"), help="another lamp controller than the scenario's")
    made.add_argument("--person", choices=PEOPLE, help="who sits in the booth")
    made.add_argument("--sitter", choices=tuple(SESSION_ACTIONS), help="what the sitter does at first")
    made.add_argument("--ambient", type=float, help="room light level (1.0 as rendered)")
    made.add_argument("--still-size", type=still_size, metavar="WxH", help="size of the full-resolution still")
    made.add_argument("--power-on-s", type=float, help="how long the camera takes to power on")
    made.add_argument("--port", type=int, default=0, help="TCP port of the camera (default: any free one)")
    made.add_argument(
        "--run-dir", type=Path, help="folder for serial ports and control socket (default: a new one in /tmp)"
    )
    made.add_argument("--json", action="store_true", help="print one JSON line instead of TOML")
    made.add_argument("--with-parent", action="store_true", help="end when the process that started it is gone")
    return made


def chosen_scenario(options: argparse.Namespace) -> Scenario:
    """The scenario with the options' changes."""
    names = ("lights", "person", "sitter", "ambient", "still_size", "power_on_s")
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return dataclasses.replace(SCENARIOS[options.scenario], **changes)


async def run(scenario: Scenario, run_dir: Path, options: argparse.Namespace) -> None:
    """Serves until SIGTERM, SIGINT, or the parent's end."""
    from hardware.sim.booth import VirtualBooth, serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parent = os.getppid()

    def watch_parent() -> None:
        if os.getppid() != parent:
            stop.set()
        else:
            loop.call_later(PARENT_CHECK_S, watch_parent)

    if options.with_parent:
        watch_parent()

    def ready(booth: VirtualBooth) -> None:
        print(
            json.dumps(booth.addresses()) if options.json else f"# control socket: {booth.control.path}\n{booth.toml()}"
        )
        sys.stdout.flush()

    await serve(VirtualBooth(scenario, run_dir, options.port), ready, stop)


def give_memory_back() -> None:
    """Has the allocator return freed pictures to the system at once; without it glibc keeps tens of megabytes per thread (269 against 187 MB)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # another C library has no such call, and no such habit
    if mallopt is not None:
        for parameter, value in ((M_MMAP_THRESHOLD, 2**20), (M_TRIM_THRESHOLD, 2**20), (M_ARENA_MAX, 1)):
            mallopt(parameter, value)


def main(arguments: list[str] | None = None) -> int:
    """The program."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == [COMMAND]:
        return tell(given[1:])
    options = parser().parse_args(given)
    scenario = chosen_scenario(options)
    give_memory_back()
    import cv2

    cv2.setNumThreads(1)  # the two rendering threads are enough; the cores belong to the software under test
    made = Path(tempfile.mkdtemp(prefix="virtual-booth-")) if options.run_dir is None else None
    run_dir = made or options.run_dir.resolve()
    if len(str(run_dir / "control").encode()) > SOCKET_PATH_LIMIT:
        print(
            f"the folder name {run_dir} is too long for a control socket: choose a shorter --run-dir", file=sys.stderr
        )
        return 2
    try:
        asyncio.run(run(scenario, run_dir, options))
    except OSError as error:
        print(f"the virtual booth cannot start: {error}", file=sys.stderr)
        return 1
    finally:
        if made is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
