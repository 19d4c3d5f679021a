"""A fleet's heartbeats: many booths with certificates of their own tell an intake over TLS, one lamp fails slowly, and the alert has to name booth and lamp.

    nice .venv/bin/python -m tests.bench.fleet_beats                       1000 booths, 21 days, SQLite
    nice .venv/bin/python -m tests.bench.fleet_beats --postgres            the same on PostgreSQL
    nice .venv/bin/python -m tests.bench.fleet_beats --booths 100 --days 10

The intake is the real one behind its real listener, with a clock of the bench's own: each round is a day in which every booth tells once (signed, over kept
connections), and after which the background jobs judge. Told: heartbeats a second, the time of one (median, 95 of 100), the time of the jobs, sizes, and the alerts
with the day on which each began. Exit code 1 when an alert is about another booth or lamp, or when the failing lamp has none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from crypto.development import make_development_pki
from crypto.keys import SignerSource
from server.alert_rows import read_open
from server.booth_trust import BoothTrust
from server.config import IntakeSettings
from server.enrolment import open_enrolment
from server.fleet_jobs import Watch
from server.intake import IntakeRooms, make_intake
from server.listener import listen
from server.objects import open_objects
from server.receipt_log import open_receipt_log
from server.store import Store, open_store
from tests.bench.load_programs import real_postgres
from tests.simulated_fleet import SimulatedBooth, simulated_booths

LAMP = "fill_top"
LINES = 16  # connections at once


class Clock:
    """The intake's time: the bench's own."""

    def __init__(self) -> None:
        # Tomorrow: certificates that are issued now count then.
        self.now = (datetime.now(UTC) + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)

    def __call__(self) -> datetime:
        return self.now


@contextlib.asynccontextmanager
async def serving(settings: IntakeSettings, clock: Clock) -> AsyncIterator[tuple[str, Store]]:
    """An intake on a free port; its address and its rows."""
    async with (
        open_store(settings.resolved_database_url) as store,
        open_objects(settings) as objects,
        open_receipt_log(store, SignerSource(settings.receipt_signer).current) as receipts,
        open_enrolment(None) as enrolment,
    ):
        rooms = IntakeRooms(
            settings, store, objects, BoothTrust(settings.trust, settings.crl), receipts, enrolment, now=clock
        )
        app, intake = make_intake(rooms)
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(listen(app, settings, ready.set_result, rooms.metrics, intake.drain))
        try:
            await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            yield ready.result(), store
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def tell_all(client: httpx2.AsyncClient, base: str, fleet: list[SimulatedBooth], at: datetime) -> list[float]:
    """Every booth tells once; how long each heartbeat took."""
    waiting, took = iter(fleet), []

    async def line() -> None:
        for booth in waiting:
            address, body, headers = await asyncio.to_thread(booth.request, base, at)
            began = time.perf_counter()
            answer = await client.post(address, content=body, headers=headers)
            took.append(time.perf_counter() - began)
            if answer.status_code != 200:
                raise RuntimeError(f"{booth.name}: {answer.status_code} {answer.text}")

    async with asyncio.TaskGroup() as group:
        for _ in range(LINES):
            group.create_task(line())
    return took


async def run(folder: Path, booths: int, days: int, failing: int, database_url: str | None) -> dict[str, Any]:
    """The figures."""
    pki, clock = folder / "pki", Clock()
    make_development_pki(pki)
    say(f"{booths} keys and certificates are being made.")
    fleet = await asyncio.to_thread(lambda: list(simulated_booths(pki, booths, clock.now.date(), (failing, LAMP))))
    settings = IntakeSettings.from_pki(
        pki, folder / "data", database_url=database_url, max_connections=100, max_per_address=100
    )
    trusted = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    began_on: dict[str, int] = {}
    took: list[float] = []
    rounds: list[float] = []
    minute: list[float] = []
    hour: list[float] = []
    async with serving(settings, clock) as (base, store), httpx2.AsyncClient(verify=trusted, timeout=60) as client:
        watch = Watch(store, settings, clock)
        for day in range(1, days + 1):
            began = time.perf_counter()
            took += await tell_all(client, base, fleet, clock.now)
            rounds.append(time.perf_counter() - began)
            for times, judge in ((minute, watch.judge_beats), (hour, watch.judge_days)):
                began = time.perf_counter()
                await judge()
                times.append(time.perf_counter() - began)
            for alert in await read_open(store):
                began_on.setdefault(f"{alert.booth} {alert.kind} {alert.name}", day)
            say(f"day {day} of {days}: {rounds[-1]:.1f} s, alerts so far: {began_on or 'none'}")
            clock.now += timedelta(days=1)
    size = len(fleet[0].beat(clock.now).to_bytes())
    return {
        "booths": booths,
        "days": days,
        "database": "PostgreSQL" if database_url else "SQLite",
        "heartbeat_bytes": size,
        "heartbeats_per_s": round(len(took) / sum(rounds), 1),
        "heartbeat_ms_median": round(1000 * statistics.median(took), 1),
        "heartbeat_ms_95": round(1000 * statistics.quantiles(took, n=20)[-1], 1),
        "judge_heartbeats_s": round(max(minute), 2),
        "judge_days_s": round(max(hour), 2),
        "alerts_by_day": began_on,
        "expected": f"booth-{failing:04d} lamp.falling {LAMP}",
    }


def is_right(found: dict[str, Any]) -> bool:
    """Whether the alerts are about the lamp that fails, and nothing else."""
    name = found["expected"].split(" ")[0]
    others = [key for key in found["alerts_by_day"] if not (key.startswith(f"{name} lamp.") and key.endswith(LAMP))]
    return found["expected"] in found["alerts_by_day"] and not others


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--booths", type=int, default=1000)
    parser.add_argument("--days", type=int, default=21)
    parser.add_argument("--failing", type=int, default=417, help="number of the booth whose lamp fails")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL of its own instead of SQLite")
    asked = parser.parse_args()
    if not 1 <= asked.failing <= asked.booths:
        asked.failing = asked.booths
    folder = Path(tempfile.mkdtemp(prefix="fleet-beats-"))
    try:
        if asked.postgres:
            with real_postgres() as url:
                found = asyncio.run(run(folder, asked.booths, asked.days, asked.failing, url))
        else:
            found = asyncio.run(run(folder, asked.booths, asked.days, asked.failing, None))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found, indent=2))
    return 0 if is_right(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
