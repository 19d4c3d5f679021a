"""What the statistics read: sums of `fleet_days` over days, and each booth's sums beside everybody's on the same days.

The comparison reads every row of its days, a million and more for a thousand booths and a month, and what booths tell changes once a day: answers are kept for KEPT_S, and the
comparison is made by one at a time, so that a page that is loaded anew does not begin it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from server.fleet_rows import RULE, booths, fleet_days, sites, sum_days
from server.statistics import Compared, Share, Standout, standouts
from server.store import Store

KEPT_S = 300.0
MOST_COMPARED = 3  # ranges of days; one is 30 MB for a thousand booths
MOST_SUMS = 64

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every booth and check of some days, and those that stand out."""

    rows: list[Compared]
    standouts: list[Standout]


class FleetSums:
    """Sums over days, as they were at most KEPT_S ago."""

    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.store, self._monotonic = store, monotonic
        self._turn = asyncio.Lock()
        self._compared: _Kept[Comparison] = _Kept(MOST_COMPARED)
        self._sums: _Kept[list[dict[str, Any]]] = _Kept(MOST_SUMS)

    async def compared(self, since: date, until: date) -> Comparison:
        """Each booth's failed portraits beside everybody's, of the days from `since` to `until`, both included. Raises `StorageError`."""
        async with self._turn:
            known = self._compared.get((since, until), self._monotonic())
            if known is None:
                known = await _compare(self.store, since, until)
                self._compared.put((since, until), known, self._monotonic())
            return known

    async def sums(
        self,
        days: tuple[date, date],
        kind: str,
        *,
        by: tuple[str, ...],
        booth: str | None = None,
        site: str | None = None,
        name: str | None = None,
    ) -> list[dict[str, Any]]:
        """`sum_days`. Raises `StorageError`."""
        asked = (days, kind, by, booth, site, name)
        known = self._sums.get(asked, self._monotonic())
        if known is None:
            known = await sum_days(self.store, *days, kind, by=by, booth=booth, site=site, name=name)
            self._sums.put(asked, known, self._monotonic())
        return known


class _Kept(Generic[T]):
    """Answers, the newest `most` of them, each for KEPT_S."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: dict[Hashable, tuple[float, T]] = {}

    def get(self, asked: Hashable, now: float) -> T | None:
        self._answers = {each: kept for each, kept in self._answers.items() if now - kept[0] < KEPT_S}
        known = self._answers.get(asked)
        return None if known is None else known[1]

    def put(self, asked: Hashable, answer: T, now: float) -> None:
        self._answers[asked] = (now, answer)
        while len(self._answers) > self._most:
            del self._answers[next(iter(self._answers))]


async def _compare(store: Store, since: date, until: date) -> Comparison:
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
    return await asyncio.to_thread(_comparison, rows)


def _comparison(rows: Sequence[Any]) -> Comparison:
    compared = [
        Compared(booth, rule, Share(int(count), int(total)), Share(int(failed), int(assessed)))
        for booth, rule, count, total, failed, assessed in rows
    ]
    return Comparison(compared, standouts(compared))
