"""Starts booths quickly: one process imports everything and forks, for each line it is given, the part of a booth that stores and sends.

A line is a JSON object with `data`, `pki`, `url` of the intake and `visits`; the answer is the child's number. The child is the real sealing of
packets, the real outbox on the real disk and the real uplink over TLS, in a process of its own that can be killed; no camera, no face. It makes
its visits one after the other and, after each, tells the observer's pipe, with one write: `{"confirmed": sha256}` when the outbox has committed,
`{"lost": …}` when it said that nothing was saved. It says `{"drained": true}` when its visits are over and nothing waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from booth.config import IntakeSection
from booth.errors import OutboxError
from booth.log_witness import LogWitness
from booth.outbox import Outbox, OutboxLimits, open_outbox
from booth.revocation_list import RevocationLists
from booth.uplink import open_uplink
from tests.sealed_packets import Keys, digest

LOOK_S = 0.002
LIMITS = OutboxLimits(min_free_bytes=0)


def tell(**facts: Any) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


def visit(outbox: Outbox, keys: Keys, chance: random.Random) -> None:
    """Seal and store; the confirmation is told only after the commit."""
    packet = keys.packet(
        {"visit.json": b"{}", "portrait.jpg": chance.randbytes(chance.choice((2_000, 60_000, 400_000)))}
    )
    try:
        outbox.require_room()
        sha256 = outbox.put(packet, "visit")
    except OutboxError as error:
        tell(lost=digest(packet), why=error.code)
    else:
        tell(confirmed=sha256)


async def live(order: dict[str, Any], keys: Keys) -> None:
    data, chance = Path(order["data"]), random.Random()
    data.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    # Pauses of milliseconds instead of seconds: hundreds of runs.
    settings = IntakeSection(url=order["url"], trust=keys.folder / "ca.pem", first_retry_s=0.02, longest_retry_s=0.2)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as worker, open_outbox(data / "outbox", LIMITS, time.time) as outbox:
        if outbox.problems:
            tell(problems=outbox.problems)
        lists, witness = RevocationLists(data, keys.trust), LogWitness(data, keys.trust)
        uplink_of = open_uplink(
            *(outbox, worker, settings, lambda: keys.signer, lists, time.time, lambda *_: None), witness=witness
        )
        async with uplink_of as uplink:
            tell(ready=True)
            for _ in range(order["visits"]):
                await loop.run_in_executor(worker, visit, outbox, keys, chance)
                uplink.wake()
            while outbox.status.waiting:  # noqa: ASYNC110 - the outbox has no event for the last receipt
                await asyncio.sleep(LOOK_S)
            await loop.run_in_executor(worker, outbox.entries)  # behind the removal of the last copy
            tell(drained=True)
            await asyncio.Event().wait()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are killed
    keys = Keys(Path(sys.argv[1]))
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                tell(pid=os.getpid())
                asyncio.run(live(order, keys))
            except BaseException as error:  # noqa: BLE001 - told to the observer, who fails
                tell(failed=f"{type(error).__name__}: {error}")
            finally:
                os._exit(1)


if __name__ == "__main__":
    main()
