"""Objects that belong to no row: what a crash left between the bytes and their row, and what came again after its deletion.

An upload makes its bytes durable first and writes its row later (server/uploads.py), minutes after it at most. So an object without a row may be one
whose row is about to come, also when it is old: the same packet may be sent again at this very moment. Nothing tells the two apart without a lock on
every upload. Therefore an orphan is never deleted where it lies.

Order of operation of a run
  those put aside: a row needs one → it is brought back; else, when it lay there for KEPT → it is deleted, for ever.
  those in the collections: older than KEPT by the store's clock and no row → looked at again, age and rows → put aside: read, proven by its digest,
      durable among those put aside, then removed. A damaged one is left and told.
Why no upload loses its bytes: whatever it wrote before the removal lies aside, because what was removed and what was copied have one digest; what it
writes after the removal is not touched. Its row comes within minutes, and the bytes are read from aside meanwhile; they stay there for KEPT, which is
longer, and are brought back when a run finds the row. Nobody writes an upload's bytes to aside, so the deletion there meets no upload.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from server.errors import StorageCorruptError
from server.object_rows import spoken_for
from server.objects import COLLECTIONS, Collection, Objects, StoredObject
from server.scrub import of_place
from server.store import Store

log = logging.getLogger(__name__)

# Far above the longest upload with its commit (config.body_total_s is 300 s), and above what clocks of store and intake may differ.
KEPT = timedelta(hours=24)
PAGE = 500


@dataclass(slots=True)
class Collected:
    """What one run did."""

    put_aside: int = 0
    brought_back: int = 0
    deleted: int = 0
    damaged: int = 0


class Orphans:
    """The collector."""

    def __init__(self, store: Store, objects: Objects, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store, self._objects, self._now = store, objects, now

    async def collect(self) -> Collected:
        """One run. Raises `StorageError`."""
        done = Collected()
        async for one in self._objects.aside.names():
            await self._settle(one, done)
        for collection in COLLECTIONS:
            async for page in self.candidates(collection):
                for one in page:
                    await self._put_aside(collection, one.name, done)
        if done != Collected():
            log.info(
                "Objects without a row were looked after.",
                extra={
                    "put_aside": done.put_aside,
                    "brought_back": done.brought_back,
                    "deleted": done.deleted,
                    "damaged": done.damaged,
                },
            )
        return done

    async def candidates(self, collection: str) -> AsyncIterator[list[StoredObject]]:
        """Objects of a collection that are old and that no row needs, page by page."""
        page: list[StoredObject] = []
        async for one in of_place(self._objects, collection).names():
            page.append(one)
            if len(page) == PAGE:
                yield await self._unneeded(collection, page)
                page = []
        yield await self._unneeded(collection, page)

    async def _unneeded(self, collection: str, page: list[StoredObject]) -> list[StoredObject]:
        old = [one for one in page if self._is_old(one)]
        if not old:
            return []
        async with self._store.reading() as connection:
            known = await spoken_for(connection, collection, [one.name for one in old])
        return [one for one in old if one.name not in known]

    def _is_old(self, one: StoredObject) -> bool:
        return self._now() - one.modified_at > KEPT

    async def _put_aside(self, collection: str, name: str, done: Collected) -> None:
        place = of_place(self._objects, collection)
        found = await place.find(name)
        if found is None or not await self._unneeded(collection, [found]):
            return
        try:
            done.put_aside += await place.put_aside(name)
        except StorageCorruptError:
            done.damaged += 1
            log.warning(
                "An object without a row is damaged, and is left.", extra={"object": f"{collection}/{name[:16]}"}
            )

    async def _settle(self, one: StoredObject, done: Collected) -> None:
        """Bring an orphan back that a row needs now; delete one that nobody needed for long."""
        needed_in = [collection for collection in COLLECTIONS if await self._is_needed(collection, one.name)]
        try:
            for collection in needed_in:
                await self._bring_back(of_place(self._objects, collection), one.name)
        except StorageCorruptError:
            done.damaged += 1  # the scrubber tells it, because a row needs it
            return
        if needed_in:
            done.brought_back += 1
        elif self._is_old(one):
            done.deleted += 1
        else:
            return
        await self._objects.aside.remove(one.name)

    async def _is_needed(self, collection: str, name: str) -> bool:
        async with self._store.reading() as connection:
            return name in await spoken_for(connection, collection, [name])

    async def _bring_back(self, place: Collection, name: str) -> None:
        there = await place.load(name)
        if there is not None and hashlib.sha256(there).hexdigest() == name:
            return
        data = await self._objects.aside.read(name)
        async with place.writer() as writer:
            await writer.write(data)
            await writer.keep(name)
