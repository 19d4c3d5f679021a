"""Starts intakes quickly: one process imports everything and forks an intake for each line it is given, told by its number.

A line is a JSON object with `data`, `pki` and, perhaps, `database_url` and `port`; the answer says `pid` and `url`. It is a real intake, by `run_intake`,
in a process of its own that can be killed; only the import is shared. With `steps` the process appends two batches to the log instead, and
dies at that many steps of its work in the database; it tells each receipt, and its end. With `argv` it is one of the server's commands, whose output goes to
the file `output`; it tells its exit code and how many steps it took: files opened, made, renamed, removed. At the step `die_at` it is killed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
import traceback
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from crypto.keys import SignerSource
from server import backup, restore  # noqa: F401 - a command would import them anew in each process
from server.cli import app
from server.config import IntakeSettings
from server.intake import run_intake
from server.receipt_log import open_receipt_log
from server.store import NewPacket, Nonce, open_store

BATCHES = (1, 3)
DIED = 9
FILE_STEPS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def tell(**facts: Any) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


async def live(order: dict[str, Any]) -> None:
    """An intake."""
    more = {name: order[name] for name in ("database_url", "port", "drain_s") if name in order}
    # One booth plays many here.
    settings = IntakeSettings.from_pki(Path(order["pki"]), Path(order["data"]), max_uploads_per_booth=64, **more)
    await run_intake(settings, lambda url: tell(pid=os.getpid(), url=url))


async def append(order: dict[str, Any]) -> None:
    """Append batches, die half-way."""
    left = [order["steps"]]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            tell(end=DIED)
            os._exit(DIED)  # as a kill: nothing is rolled back, closed or flushed

    signer = SignerSource(f"file:{order['pki']}/intake.key").current
    async with open_store(order["database_url"]) as store, open_receipt_log(store, signer) as receipts:
        engine = receipts._own._engine.sync_engine
        for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
            sa.event.listen(engine, moment, count)
        for number in BATCHES:
            answers = await asyncio.gather(*(receipts.append(*upload()) for _ in range(number)))
            for stored, _ in answers:
                tell(sha256=stored.sha256, receipt=stored.receipt.decode())
    tell(end=0)


def command(order: dict[str, Any]) -> None:
    """One of the server's commands."""
    told, steps, die_at = os.dup(1), [0], order.get("die_at", 0)
    os.dup2(os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    os.dup2(1, 2)

    def count(event: str, _arguments: tuple[Any, ...]) -> None:
        if event in FILE_STEPS:
            steps[0] += 1
            if steps[0] == die_at:
                os.write(told, json.dumps({"code": DIED, "steps": die_at, "pid": os.getpid()}).encode() + b"\n")
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    code = 0
    try:
        app(order["argv"])
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - whatever it was is told, and the test sees it
        traceback.print_exc()
        code = 1
    os.write(told, json.dumps({"code": code, "steps": steps[0]}).encode() + b"\n")


def upload() -> tuple[NewPacket, Nonce]:
    """A packet that nobody sent."""
    name, now = uuid.uuid4().hex, datetime.now(UTC)
    new = NewPacket(hashlib.sha256(name.encode()).hexdigest(), name, "booth-0001", "ab" * 16, 7, now, now)
    return new, Nonce("booth-0001", name, now + timedelta(minutes=5))


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are killed
    for line in sys.stdin:
        if os.fork() == 0:
            code = 1
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                order = json.loads(line)
                if "argv" in order:
                    command(order)
                else:
                    asyncio.run(append(order) if "steps" in order else live(order))
                code = 0
            finally:
                os._exit(code)


if __name__ == "__main__":
    main()
