"""The scrubber: reads every object that a row needs and compares its digest, so that damage is found while a backup still has the bytes.

Order of operation of a run, one of many that make up a walk: the objects known to be damaged are looked at again (restored, they are forgotten) →
from where the run before stopped, page by page: names from the rows, bytes from the place, digest → what is wrong is written down with the place
where the next run goes on, in one commit → a pause as long as the page took. A walk that has come to its end begins anew with the next run. A run reads `run_bytes` and stops; a
store that does not answer ends the run with its error and is no finding. An object that is missing or damaged counts only if its row still needs it
after that: a deletion may have come between.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import StorageCorruptError
from server.object_rows import needed_behind, spoken_for
from server.objects import COLLECTIONS, Collection, Objects
from server.store import Store, UtcDateTime, metadata

log = logging.getLogger(__name__)

PAGE = 100
Kind = Literal["missing", "damaged"]

object_faults = sa.Table(
    "object_faults",
    metadata,
    sa.Column("collection", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("found_at", UtcDateTime(), nullable=False),
)
# One row: where the walk is.
scrub_walk = sa.Table(
    "scrub_walk",
    metadata,
    sa.Column("slot", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("collection", sa.String(16), nullable=False),
    sa.Column("after", sa.String(64), nullable=False),
    sa.Column("began_at", UtcDateTime(), nullable=False),
    # When a walk last came to its end, and when that one had begun.
    sa.Column("ended_at", UtcDateTime(), nullable=True),
    sa.Column("ended_began_at", UtcDateTime(), nullable=True),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """An object that is not as its row says."""

    collection: str
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Looked:
    """One object that was read."""

    collection: str
    name: str
    size: int
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class ScrubState:
    """What the walks in the background have found until now."""

    faults: int
    ended_at: datetime | None
    began_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """A few objects that were read, and the last name of them all, those included that nobody needs any more."""

    looked: list[Looked]
    last: str


async def walk(store: Store, objects: Objects, collection: str, after: str = "") -> AsyncIterator[Page]:
    """Look at every object of a collection that a row needs, in the order of names, those behind `after`; page by page."""
    place = of_place(objects, collection)
    while True:
        async with store.reading() as connection:
            names = await needed_behind(connection, collection, after, PAGE)
        if not names:
            return
        looked = [one for name in names if (one := await _look(store, place, collection, name)) is not None]
        yield Page(looked, names[-1])
        after = names[-1]


class Scrubber:
    """The walk in the background."""

    def __init__(
        self, store: Store, objects: Objects, run_bytes: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store, self._objects, self._run_bytes, self._now = store, objects, run_bytes, now

    async def run(self) -> int:
        """One run; returns how many faults are known after it. Raises `StorageError`."""
        await self._look_again()
        collection, after, began_at = await self._begin()
        read = 0
        for one in COLLECTIONS[COLLECTIONS.index(collection) :]:
            began = time.monotonic()
            async for page in walk(self._store, self._objects, one, after if one == collection else ""):
                read += sum(looked.size for looked in page.looked)
                await self._write(page, one)
                if read >= self._run_bytes:
                    return (await read_state(self._store)).faults
                await asyncio.sleep(time.monotonic() - began)  # half of the time is for uploads
                began = time.monotonic()
        await self._end(began_at)
        return (await read_state(self._store)).faults

    async def _look_again(self) -> None:
        """Faults that are mended, or whose packets were deleted, are forgotten."""
        async with self._store.reading() as connection:
            known = (await connection.execute(sa.select(object_faults.c.collection, object_faults.c.name))).all()
        for collection, name in known:
            looked = await _look(self._store, of_place(self._objects, collection), collection, name)
            if looked is None or looked.fault is None:
                async with self._store.writing() as connection:
                    await connection.execute(
                        sa.delete(object_faults).where(
                            object_faults.c.collection == collection, object_faults.c.name == name
                        )
                    )
                log.info("An object is whole again, or needed no more.", extra={"object": f"{collection}/{name[:16]}"})

    async def _begin(self) -> tuple[str, str, datetime]:
        """Where to go on, and when this walk began."""
        first = {"slot": 1, "collection": COLLECTIONS[0], "after": "", "began_at": self._now()}
        async with self._store.writing() as connection:
            await connection.execute(self._store.insert(scrub_walk).values(first).on_conflict_do_nothing())
            row = (await connection.execute(sa.select(scrub_walk))).one()
        return row.collection, row.after, row.began_at

    async def _write(self, page: Page, collection: str) -> None:
        faults = [one.fault for one in page.looked if one.fault is not None]
        async with self._store.writing() as connection:
            for fault in faults:
                await self._note(connection, fault)
            await connection.execute(sa.update(scrub_walk).values(collection=collection, after=page.last))
        for fault in faults:
            log.error(
                "A stored object is not as it was: restore it from the backup.",
                extra={"object": f"{fault.collection}/{fault.name[:16]}", "fault": fault.kind},
            )

    async def _note(self, connection: AsyncConnection, fault: Fault) -> None:
        row = {"collection": fault.collection, "name": fault.name, "kind": fault.kind, "found_at": self._now()}
        insert = self._store.insert(object_faults).values(row)
        keys = [object_faults.c.collection, object_faults.c.name]
        await connection.execute(insert.on_conflict_do_update(index_elements=keys, set_={"kind": fault.kind}))

    async def _end(self, began_at: datetime) -> None:
        now = self._now()
        beginning = {"collection": COLLECTIONS[0], "after": "", "began_at": now}
        async with self._store.writing() as connection:
            await connection.execute(sa.update(scrub_walk).values(**beginning, ended_at=now, ended_began_at=began_at))


async def read_state(store: Store) -> ScrubState:
    """What the walks in the background have found until now."""
    async with store.reading() as connection:
        faults = (await connection.execute(sa.select(sa.func.count()).select_from(object_faults))).scalar_one()
        row = (await connection.execute(sa.select(scrub_walk))).one_or_none()
    return ScrubState(faults, row.ended_at if row else None, row.ended_began_at if row else None)


async def mend(store: Store, objects: Objects, fault: Fault, data: bytes) -> bool:
    """Put an object back whose bytes were kept elsewhere; says whether a row still needs it. Raises `StorageCorruptError` when they are not its bytes."""
    if hashlib.sha256(data).hexdigest() != fault.name:
        raise StorageCorruptError("The bytes that were kept elsewhere do not have the digest of the object either.")
    place = of_place(objects, fault.collection)
    async with place.writer() as writer:
        await writer.write(data)
        await writer.keep(fault.name)
    async with store.reading() as connection:
        needed = fault.name in await spoken_for(connection, fault.collection, [fault.name])
    if not needed:  # deleted meanwhile: what its deletion removed does not come back
        await place.delete(fault.name)
    return needed


def of_place(objects: Objects, collection: str) -> Collection:
    """A collection by its name."""
    return {"packets": objects.packets, "orders": objects.orders}[collection]


async def _look(store: Store, place: Collection, collection: str, name: str) -> Looked | None:
    """One object; none when no row needs it any more."""
    try:
        data = await place.read(name)
    except StorageCorruptError:
        kind: Kind = "damaged" if await place.holds(name) else "missing"
        async with store.reading() as connection:
            if name not in await spoken_for(connection, collection, [name]):
                return None
        return Looked(collection, name, 0, Fault(collection, name, kind))
    return Looked(collection, name, len(data), None)
