"""How long the statistics take with the counts of many booths and days, in SQLite and in PostgreSQL.

    .venv/bin/python -m tests.bench.statistics_page                      a thousand booths, 30 days, 45 checks: 1.6 million rows, about five minutes
    .venv/bin/python -m tests.bench.statistics_page --booths 100 --engine sqlite

Asked for through the desk's own web application, signed in: the page for the first time (the comparison of all booths is made then), again (it is kept), one booth's
page, and the file with everything. Told are seconds: the first one as it is, the others as the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from server.fleet_rows import booths, fleet_days
from server.messages import load_messages
from server.store import Store
from tests.bench.growth_stores import postgres
from tests.desk_rig import NOW, Desk, opened_desk
from tests.sealed_packets import Keys
from validation.rules import RULES

BATCH = 20_000
TODAY = NOW.date()


def counts(number_of_booths: int, number_of_days: int) -> Iterator[dict[str, object]]:
    """The rows of a fleet, in which every hundredth booth has a weak lamp."""
    draw = random.Random(9)
    rules = [rule.id for rule in RULES]
    for number in range(number_of_booths):
        booth = f"booth-{number:05}"
        for back in range(1, number_of_days + 1):
            day = TODAY - timedelta(days=back)
            visits = draw.randint(20, 60)
            for name, share in (("started", 1.0), ("finished", 0.9), ("cancelled", 0.03), ("timed_out", 0.03)):
                yield _row(booth, day, "visits", name, round(visits * share), visits)
            yield _row(booth, day, "portraits", "assessed", visits, visits)
            for rule in rules:
                rate = 0.3 if number % 100 == 0 and rule == "light.even" else 0.04
                yield _row(booth, day, "rule", rule, round(visits * rate * draw.uniform(0.5, 1.5)), visits)


def _row(booth: str, day: date, kind: str, name: str, count: int, total: int) -> dict[str, object]:
    return {"booth": booth, "day": day, "kind": kind, "name": name, "count": count, "total": total}


async def fill(store: Store, number_of_booths: int, number_of_days: int) -> int:
    """Puts them in; how many rows."""
    made, batch = 0, []
    async with store.writing() as connection:
        rows = [
            {"booth": f"booth-{number:05}", "site": None, "label": "", "made_at": NOW, "retired_at": None}
            for number in range(number_of_booths)
        ]
        await connection.execute(sa.insert(booths), rows)
    for row in counts(number_of_booths, number_of_days):
        batch.append(row)
        if len(batch) == BATCH:
            made += await _put(store, batch)
            batch.clear()
            print(f"\r  {made} rows", end="", file=sys.stderr, flush=True)
    made += await _put(store, batch)
    print(f"\r  {made} rows", file=sys.stderr)
    async with store.writing() as connection:
        await connection.execute(sa.text("ANALYZE"))
    return made


async def _put(store: Store, rows: list[dict[str, object]]) -> int:
    if rows:
        async with store.writing() as connection:
            await connection.execute(sa.insert(fleet_days), rows)
    return len(rows)


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Seconds of one piece of work."""
    begun = time.perf_counter()
    answer = await work()
    if answer.status_code != 200:
        raise RuntimeError(f"The desk answered {answer.status_code}.")
    return time.perf_counter() - begun


async def measure(desk: Desk, days: int, rounds: int) -> dict[str, float]:
    """The figures of one store."""
    address = f"/statistics?from={TODAY - timedelta(days=days)}"
    first = await timed(lambda: desk.client.get(address))
    again = [await timed(lambda: desk.client.get(address)) for _ in range(rounds)]
    booth = [
        await timed(lambda: desk.client.get(f"{address}&booth=booth-00100&rule=light.even")) for _ in range(rounds)
    ]
    file = await timed(lambda: desk.client.get(f"{address.replace('statistics', 'statistics.csv')}&by=all"))
    return {
        "first_s": first,
        "again_s": statistics.median(again),
        "booth_s": statistics.median(booth),
        "file_s": file,
    }


async def run(options: argparse.Namespace, folder: Path, engine: str, url: str | None) -> dict[str, Any]:
    """One engine."""
    keys = Keys(folder / f"{engine}-keys")
    settings = {} if url is None else {"database_url": url}
    async with opened_desk(keys, folder / f"{engine}-data", load_messages(), **settings) as desk:
        print(f"{engine}: filling", file=sys.stderr)
        rows = await fill(desk.rooms.store, options.booths, options.days)
        await desk.sign_in()
        return {"engine": engine, "rows": rows, **await measure(desk, options.days, options.rounds)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--booths", type=int, default=1000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", choices=["sqlite", "postgres"], action="append")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="passbooth-statistics-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for engine in options.engine or ["sqlite", "postgres"]:
            if engine == "sqlite":
                told = asyncio.run(run(options, folder, engine, None))
            else:
                place = Path(tempfile.mkdtemp(prefix="passbooth-postgres-"))
                with postgres(place) as socket:
                    url = f"postgresql+asyncpg://postgres@/postgres?host={socket}"
                    told = asyncio.run(run(options, folder, engine, url))
            if options.json:
                print(json.dumps(told))
            else:
                figures = ", ".join(
                    f"{what.removesuffix('_s')} {told[what]:.2f} s" for what in told if what.endswith("_s")
                )
                print(f"{engine}: {told['rows']} rows; {figures}")


if __name__ == "__main__":
    main()
