"""The kiosk's pages as a program, with a booth that only shows: `python -m tests.kiosk_door`. One ready line, then until SIGTERM.

What the pages show holds canaries (tests/doors.py): nothing but the answers that are for them may ever repeat one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import tempfile
from pathlib import Path

import argon2

from booth.page_document import COMMANDS, name_of
from booth.passphrase import make_passphrase, write_passphrase
from booth.technician_login import TechnicianDoor
from booth.web import open_pages
from tests.unit.fake_booth import FakeBooth, kiosk_state, technician_status

CANARY = "CANARY-4711"
PORTRAIT = b"\xff\xd8" + CANARY.encode() + b"\xff\xd9"
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


async def serve() -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # as in booth/logs.py
    every = tuple(name_of(command) for command in COMMANDS)
    status_url = f"https://intake.example/status#{'a' * 26}"
    booth = FakeBooth(kiosk_state("review", commands=every, status_url=status_url), PORTRAIT, PORTRAIT)
    booth.status = technician_status(site=CANARY)
    booth.on_command = lambda _: booth.commands.clear()
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    with tempfile.TemporaryDirectory() as folder:
        file, passphrase = Path(folder) / "technician.argon2id", make_passphrase()
        write_passphrase(file, passphrase, CHEAP)
        async with open_pages(booth, 0, door=TechnicianDoor(file)) as url:
            print(json.dumps({"ready": True, "url": url, "passphrase": passphrase}), flush=True)
            await ending.wait()


if __name__ == "__main__":
    asyncio.run(serve())
