"""Starts controllers quickly: one process imports everything and forks, for each line it is given, a `booth run`.

A line is a JSON object with `config` and `log`; the child tells its own ready line (`booth run --json-ready`), and when it is over, however that came,
this process tells `{"pid": …, "status": …}` as `os.waitstatus_to_exitcode` has it. The child is what the command runs (`booth.serve.serve`), in a
session of its own, with its own log; only the seconds of imports are saved, a dozen times. One child at a time.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import os
import signal
import sys
from pathlib import Path

from booth.serve import serve

# What a controller imports on its way.
ROOMS = ("booth.runner", "booth.web", "booth.logs", "booth.technician_login", "mediapipe")
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tell(**facts: object) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


def live(config: Path, log: Path) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(sink, 2)
    os.close(sink)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    asyncio.run(serve(config, json_ready=True))


def main() -> None:
    for room in ROOMS:
        importlib.import_module(room)
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                live(Path(order["config"]), Path(order["log"]))
                status = 0
            finally:
                os._exit(status)
        tell(pid=child)
        tell(pid=child, status=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
