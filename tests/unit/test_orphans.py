"""Objects without a row go, a day after a day; an upload that races with their going never loses its bytes."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from server.errors import StorageCorruptError
from server.orphans import KEPT, Collected, Orphans
from tests.s3_rig import S3Place
from tests.scrub_rig import flipped, keep, stored

DAY = timedelta(days=1, minutes=1)


class Later:
    """A clock that is ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
async def place(request, tmp_path, s3_endpoint):
    """In a folder; in a bucket where a test asks for it."""
    s3_place = S3Place(s3_endpoint) if getattr(request, "param", "folder") == "bucket" else None
    async with stored(tmp_path / "data", s3_place) as opened:
        yield opened


async def names(collection) -> list[str]:
    return [one.name async for one in collection.names()]


@pytest.mark.parametrize("place", ["folder", "bucket"], indirect=True)
async def test_what_no_row_needs_is_put_aside_after_a_day_and_gone_after_another(place):
    clock = Later()
    orphans = Orphans(place.store, place.objects, clock)
    needed = await place.add(b"needed")
    order = await place.add_order(needed, b"order")
    orphan, message = await keep(place.objects.packets, b"orphan"), await keep(place.objects.orders, b"message")
    clock.ahead = KEPT - timedelta(minutes=1)
    assert await orphans.collect() == Collected()
    clock.ahead = DAY
    assert await orphans.collect() == Collected(put_aside=2)
    assert await names(place.objects.packets) == [needed]
    assert await names(place.objects.orders) == [order]
    assert await names(place.objects.aside) == sorted([orphan, message])
    assert await place.objects.packets.read(orphan) == b"orphan"
    # They were put aside just now by the store's clock, whatever ours says: a run at once deletes them only by that clock.
    clock.ahead = KEPT - timedelta(minutes=1)
    assert await orphans.collect() == Collected()
    clock.ahead = DAY
    assert await orphans.collect() == Collected(deleted=2)
    assert await names(place.objects.aside) == []
    with pytest.raises(StorageCorruptError):
        await place.objects.packets.read(orphan)


async def test_an_order_goes_with_its_packet(place):
    clock = Later()
    orphans = Orphans(place.store, place.objects, clock)
    packet = await place.add(b"packet")
    await place.add_order(packet, b"message")
    await place.remove_row(packet)
    clock.ahead = DAY
    assert await orphans.collect() == Collected(put_aside=2)


async def test_a_damaged_orphan_is_left_and_told(place, caplog):
    clock = Later()
    orphan = await keep(place.objects.packets, b"orphan")
    place.harm("packets", orphan, flipped(b"orphan"))
    clock.ahead = DAY
    assert await Orphans(place.store, place.objects, clock).collect() == Collected(damaged=1)
    assert await names(place.objects.packets) == [orphan]
    assert await names(place.objects.aside) == []
    assert orphan not in caplog.text


async def test_a_damaged_copy_aside_is_no_reason_to_delete_what_a_row_needs(place):
    clock = Later()
    orphans = Orphans(place.store, place.objects, clock)
    name = await keep(place.objects.packets, b"late")
    clock.ahead = DAY
    assert (await orphans.collect()).put_aside == 1
    place.harm("aside", name, flipped(b"late"))
    await place.add_row(b"late")
    assert await orphans.collect() == Collected(damaged=1)
    assert await names(place.objects.aside) == [name]


class Racing:
    """Uploads of packets that are orphans, each step of each at its own moment of the collector's work on that packet.

    `before` is called with a packet's name before every operation of the collector on it. At the moment `kept_at` of its packet an upload makes
    its bytes durable, at the moment `written_at` it writes its row.
    """

    def __init__(self, place, uploads: dict[str, tuple[bytes, int, int]]) -> None:
        self.place, self.uploads = place, uploads
        self.moment = dict.fromkeys(uploads, 0)
        self.busy = False

    async def before(self, name: str) -> None:
        if self.busy or name not in self.uploads:
            return
        self.busy = True
        data, kept_at, written_at = self.uploads[name]
        if self.moment[name] == kept_at:
            await keep(self.place.objects.packets, data)
        if self.moment[name] == written_at:
            await self.place.add_row(data)
        self.moment[name] += 1
        self.busy = False

    def watch(self, monkeypatch) -> None:
        for collection in (self.place.objects.packets, self.place.objects.aside):
            for operation in ("find", "holds", "load", "remove"):
                monkeypatch.setattr(collection, operation, self._watched(getattr(collection, operation)))
        monkeypatch.setattr("server.orphans.spoken_for", self._asking())
        real_writer = self.place.objects.aside.writer
        before = self.before

        def writer():
            opened = real_writer()

            class Watched:
                async def __aenter__(self):
                    self.writer = await opened.__aenter__()
                    self.write = self.writer.write
                    return self

                async def keep(self, name):
                    await before(name)
                    await self.writer.keep(name)

                async def __aexit__(self, *error):
                    return await opened.__aexit__(*error)

            return Watched()

        monkeypatch.setattr(self.place.objects.aside, "writer", writer)

    def _watched(self, operation):
        async def watched(name):
            await self.before(name)
            return await operation(name)

        return watched

    def _asking(self):
        from server.object_rows import spoken_for

        async def asking(connection, collection, names):
            if len(names) == 1 and not self.busy:
                await connection.rollback()  # the upload writes; a reader that has not asked yet sees it
                await self.before(next(iter(names)))
            return await spoken_for(connection, collection, names)

        return asking


async def test_an_upload_at_any_moment_of_the_collectors_work_never_loses_its_bytes(tmp_path, monkeypatch):
    """Every pair of moments: bytes durable before any operation of the collector, row written before the same or any later one."""
    async with stored(tmp_path / "data") as place:
        clock = Later()
        orphans = Orphans(place.store, place.objects, clock)
        left = {await keep(place.objects.packets, data): (data, -1, -1) for data in (b"one", b"two")}
        counted = Racing(place, left)  # two, so that questions about a page are told from those about one packet
        with monkeypatch.context() as patch:
            counted.watch(patch)
            clock.ahead = DAY
            assert (await orphans.collect()).put_aside == 2
            (next_day,) = set(counted.moment.values())
            assert (await orphans.collect()).deleted == 2
            (moments,) = set(counted.moment.values())
        assert next_day >= 6, "age, rows, bytes there, bytes read, durable aside, removed"
        assert moments - next_day >= 3, "rows of packets, rows of orders, deleted"

        uploads = {}
        for kept_at, written_at in itertools.combinations_with_replacement(range(moments + 1), 2):
            if kept_at < next_day < written_at:
                continue  # no upload lasts a day
            data = f"{kept_at} {written_at}".encode()
            uploads[await keep(place.objects.packets, data)] = (data, kept_at, written_at)
        racing = Racing(place, uploads)
        with monkeypatch.context() as patch:
            racing.watch(patch)
            first = await orphans.collect()
            second = await orphans.collect()
        assert first.put_aside + second.put_aside > len(uploads) / 2
        assert second.brought_back >= next_day
        for name, (data, _, written_at) in uploads.items():
            while racing.moment[name] <= written_at:  # the collector had done with it before
                await racing.before(name)
            assert await place.objects.packets.read(name) == data, uploads[name]
        await orphans.collect()
        for name, (data, _, _) in uploads.items():
            assert await place.objects.packets.read(name) == data
            assert await place.objects.packets.holds(name)
        assert await names(place.objects.aside) == []
