"""A store with packets as an intake leaves them, on a folder or in a bucket, for tests of what looks after stored bytes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from server.config import StoreSettings
from server.handover_rows import orders
from server.objects import Collection, Objects, open_objects
from server.store import NewPacket, Store, open_store
from server.store import packets as rows


async def keep(collection: Collection, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    async with collection.writer() as writer:
        await writer.write(data)
        await writer.keep(name)
    return name


class Stored:
    """Rows and objects of one place."""

    def __init__(self, settings: StoreSettings, store: Store, objects: Objects, place: object) -> None:
        self.settings, self.store, self.objects, self._place = settings, store, objects, place

    async def add_row(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        now = datetime.now(UTC)
        new = NewPacket(name, "a" * 32, "booth-0001", "b" * 32, len(data), now, now)
        async with self.store.writing() as connection:
            await connection.execute(
                sa.insert(rows).values(asdict(new) | {"state": "received", "receipt": b"receipt", "position": None})
            )
        return name

    async def add(self, data: bytes) -> str:
        """What an upload does."""
        await keep(self.objects.packets, data)
        return await self.add_row(data)

    async def add_order(self, packet: str, message: bytes) -> str:
        """What a hand-over does."""
        name, now = await keep(self.objects.orders, message), datetime.now(UTC)
        async with self.store.writing() as connection:
            last = (await connection.execute(sa.select(sa.func.count()).select_from(orders))).scalar_one()
            values = {
                "id": name[:32],
                "cursor": last + 1,
                "packet_sha256": packet,
                "producer": "producer",
                "message_sha256": name,
                "size": len(message),
                "created_at": now,
                "answer_by": now + timedelta(days=3),
                "note": b"note",
            }
            await connection.execute(sa.insert(orders).values(values))
        return name

    async def remove_row(self, name: str) -> None:
        async with self.store.writing() as connection:
            await connection.execute(sa.delete(rows).where(rows.c.sha256 == name))

    def harm(self, collection: str, name: str, data: bytes | None) -> None:
        """Change the bytes behind the store's back; None removes them."""
        if isinstance(self._place, Path):
            path = self._place / collection / name[:2] / name
            path.unlink() if data is None else path.write_bytes(data)
        elif data is None:
            self._place.delete(f"{collection}/{name}")
        else:
            self._place.put(f"{collection}/{name}", data)


@contextlib.asynccontextmanager
async def stored(folder: Path, s3_place=None) -> AsyncIterator[Stored]:
    given = {} if s3_place is None else s3_place.settings
    settings = StoreSettings(data_dir=folder, **given)
    async with open_store(settings.resolved_database_url) as store, open_objects(settings) as objects:
        yield Stored(settings, store, objects, s3_place or folder / "objects")


def flipped(data: bytes, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
