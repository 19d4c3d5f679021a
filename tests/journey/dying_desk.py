"""A desk that dies at a step of its work in the database: told by its number, one line of standard input each.

A line is a JSON object with `pki`, `data`, `packet` and `step`. The forked process accepts that packet with the real hand-over and is no more at that step, as
by kill -9: nothing is rolled back, closed or flushed. The answer says whether it died or came to the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from crypto.keys import SignerSource, load_recipient_key
from server.booth_trust import BoothTrust
from server.config import DeskSettings
from server.decisions import HandOver, HandOverRooms
from server.objects import open_objects
from server.opening import open_opener
from server.store import open_present_store


def tell(**facts: Any) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


async def accept(order: dict[str, Any]) -> None:
    settings = DeskSettings.from_pki(Path(order["pki"]), Path(order["data"]))
    left = [order["step"]]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            tell(died=True)
            os._exit(9)

    keys = [load_recipient_key(path) for path in settings.recipient_keys]
    trust = BoothTrust(settings.trust, settings.crl)
    async with (
        open_present_store(settings.resolved_database_url) as store,
        open_objects(settings) as objects,
        open_opener(objects.packets, keys, trust, kept=1, kept_s=60) as opener,
    ):
        source = SignerSource(f"file:{Path(order['pki']) / 'desk.key'}").current
        rooms = HandOverRooms(
            *(store, objects.orders, opener, settings.producers, source, timedelta(hours=72)), lambda: datetime.now(UTC)
        )
        packet = await store.find(order["packet"])
        assert packet is not None
        for moment in ("before_cursor_execute", "commit"):
            sa.event.listen(store._engine.sync_engine, moment, count)
        await HandOver(rooms).accept(packet, "producer-development", "session-0001")
        tell(died=False)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio.run(accept(json.loads(line)))
                code = 0
            finally:
                os._exit(code)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
