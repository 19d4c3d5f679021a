"""Sealed bytes in a bucket of an S3-compatible store, shared by any number of intakes and desks.

Order of operation: bytes gather on this machine (server/spool.py) → one put with their SHA-256 as checksum → the store has answered → `keep`
returns. Only then row and receipt are written, so neither ever speaks of bytes that the store did not confirm (docs/decisions/0007). A put that
failed or was cut leaves the whole object or nothing.

    packets/<digest>  orders/<digest>  aside/<digest>   the collections
    partial/…                                           interrupted uploads (server/s3_partials.py)
    passbooth                                           the mark that an intake made this place
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from server.config import StoreSettings
from server.disk import FOLDER_MODE, THREADS, Disk
from server.objects import COLLECTIONS, Collection, Objects, StoredObject
from server.s3_bucket import Bucket, make_bucket
from server.s3_partials import S3Partials
from server.spool import Spool


class S3Objects(Collection):
    """A collection in a bucket. Use `open_s3_objects`."""

    def __init__(self, bucket: Bucket, disk: Disk, name: str, aside: S3Objects | None = None) -> None:
        super().__init__(aside)
        self._bucket, self._disk, self.root = bucket, disk, name

    @contextlib.asynccontextmanager
    async def writer(self) -> AsyncIterator[S3Writer]:
        """New bytes, on this machine until they are kept."""
        spool = Spool(self._disk)
        try:
            yield S3Writer(self, self._bucket, spool)
        finally:
            await spool.drop()

    async def load(self, name: str) -> bytes | None:
        """The bytes as they lie there."""
        return await self._bucket.get(self.key_of(name))

    async def holds(self, name: str) -> bool:
        """Whether there are bytes under this name."""
        return await self._bucket.find(self.key_of(name)) is not None

    async def check(self) -> None:
        """Write the mark once more."""
        await self._bucket.check()

    async def find(self, name: str) -> StoredObject | None:
        """Size and age of what lies under this name."""
        found = await self._bucket.find(self.key_of(name))
        return None if found is None else StoredObject(name, found.size, found.modified_at)

    async def names(self, after: str = "") -> AsyncIterator[StoredObject]:
        """All that lies here behind `after`, in the order of names; what comes or goes meanwhile may be missing."""
        async for key in self._bucket.keys(self.root, after):
            yield StoredObject(key.name.removeprefix(f"{self.root}/"), key.size, key.modified_at)

    async def remove(self, name: str) -> bool:
        """Delete the object; the store has answered that it is gone."""
        if not await self.holds(name):
            return False
        await self._bucket.delete(self.key_of(name))
        return True

    def key_of(self, name: str) -> str:
        """Where bytes of this name lie, below the prefix."""
        return f"{self.root}/{name}"


class S3Writer:
    """Bytes that become one object."""

    def __init__(self, objects: S3Objects, bucket: Bucket, spool: Spool) -> None:
        self._objects, self._bucket, self._spool = objects, bucket, spool

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""
        await self._spool.write(chunk)

    async def keep(self, name: str) -> None:
        """Put everything as one object; returns when the store has answered."""
        async with self._bucket.putting():
            await self._bucket.put(self._objects.key_of(name), await self._spool.whole(name))


@contextlib.asynccontextmanager
async def open_s3_objects(settings: StoreSettings) -> AsyncIterator[Objects]:
    """Open the place in the bucket that the settings name. Raises `SettingsError`, `StorageError`."""
    bucket = make_bucket(settings)
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")
    try:
        disk = Disk(settings.data_dir, threads)
        await disk.run(disk.incoming.mkdir, mode=FOLDER_MODE, parents=True, exist_ok=True)
        await bucket.prove()
        aside = S3Objects(bucket, disk, "aside")
        packets, orders = (S3Objects(bucket, disk, name, aside) for name in COLLECTIONS)
        yield Objects(
            packets, orders, aside, lambda limits, retry_s: S3Partials(bucket, disk, packets.key_of, limits, retry_s)
        )
    finally:
        threads.shutdown(wait=True)
