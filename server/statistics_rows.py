"""What the statistics read: sums of `fleet_days` over days, and each booth's sums beside everybody's on the same days.

The comparison reads every row of its days, a million for a thousand booths and a month, and its answer changes once a day: it is kept for KEPT_S, and asked for by
one at a time, so that a page that is loaded anew does not begin it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from server.fleet_rows import RULE, booths, fleet_days, sites
from server.statistics import Compared, Share
from server.store import Store

KEPT_S = 300.0
MOST_KEPT = 4  # ranges of days; one is 60 MB at most for a thousand booths


@dataclass(frozen=True, slots=True)
class Place:
    """A booth as people call it, and its site."""

    booth: str
    label: str
    site: str | None
    site_name: str | None


async def read_places(store: Store) -> dict[str, Place]:
    """Every booth that has a row, by its id."""
    query = sa.select(booths.c.booth, booths.c.label, booths.c.site, sites.c.name).select_from(
        booths.outerjoin(sites, sites.c.site == booths.c.site)
    )
    async with store.reading() as connection:
        return {row.booth: Place(*row) for row in await connection.execute(query.order_by(booths.c.booth))}


class Comparisons:
    """Each booth's failed portraits beside everybody's, for ranges of days."""

    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store, self._monotonic = store, monotonic
        self._turn = asyncio.Lock()
        self._kept: dict[tuple[date, date], tuple[float, list[Compared]]] = {}

    async def between(self, since: date, until: date) -> list[Compared]:
        """Of the days from `since` to `until`, both included. Raises `StorageError`."""
        async with self._turn:
            now = self._monotonic()
            self._kept = {days: kept for days, kept in self._kept.items() if now - kept[0] < KEPT_S}
            known = self._kept.get((since, until))
            if known is not None:
                return known[1]
            compared = await _compare(self._store, since, until)
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[since, until] = (now, compared)
            return compared


async def _compare(store: Store, since: date, until: date) -> list[Compared]:
    of_rules = sa.and_(fleet_days.c.kind == RULE, fleet_days.c.day.between(since, until))
    everybody = (
        sa.select(
            fleet_days.c.day,
            fleet_days.c.name,
            sa.func.sum(fleet_days.c.count).label("failed"),
            sa.func.sum(fleet_days.c.total).label("assessed"),
        )
        .where(of_rules)
        .group_by(fleet_days.c.day, fleet_days.c.name)
        .subquery()
    )
    same = sa.and_(everybody.c.day == fleet_days.c.day, everybody.c.name == fleet_days.c.name)
    columns = (fleet_days.c.count, fleet_days.c.total, everybody.c.failed, everybody.c.assessed)
    query = (
        sa.select(fleet_days.c.booth, fleet_days.c.name, *map(sa.func.sum, columns))
        .select_from(fleet_days.join(everybody, same))
        .where(of_rules)
        .group_by(fleet_days.c.booth, fleet_days.c.name)
        .order_by(fleet_days.c.booth, fleet_days.c.name)
    )
    async with store.reading() as connection:
        rows = (await connection.execute(query)).all()
    return await asyncio.to_thread(
        lambda: [
            Compared(booth, rule, Share(int(count), int(total)), Share(int(failed), int(assessed)))
            for booth, rule, count, total, failed, assessed in rows
        ]
    )
