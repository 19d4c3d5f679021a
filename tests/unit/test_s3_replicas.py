"""Two intakes on one bucket and one database: an upload goes on at whichever it comes to, and no two writers mix their bytes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from crypto.receipt import verify_receipt
from server.config import StoreSettings
from server.disk import Disk
from server.errors import OverloadError, UnknownPacketError, UploadOffsetError
from server.partials import PartialLimits
from server.s3_bucket import make_bucket
from server.s3_partials import PIECE_BYTES, S3Partials
from tests.intake_rig import problem, running
from tests.sealed_packets import Keys, digest
from tests.unit.test_intake_resume import begin, head

LIMITS = PartialLimits(booth_count=2, booth_bytes=20_000_000, total_bytes=40_000_000, kept_s=3600)
BOOTH = "booth-0001"


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("s3-replica-keys") / "pki")


@pytest.fixture(scope="session")
def packet(keys) -> bytes:
    return keys.packet(padding=2_500_000)


@pytest.fixture
async def replicas(keys, tmp_path, s3_place):
    """Each has a data folder of its own, as on its own machine; the database stands for the one that they share."""
    shared = s3_place.settings | {"database_url": f"sqlite+aiosqlite:///{tmp_path / 'shared.sqlite3'}"}
    async with (
        running(keys, tmp_path / "one", **shared) as one,
        running(keys, tmp_path / "other", **shared) as other,
    ):
        yield one, other


async def test_an_upload_goes_on_at_another_replica(replicas, keys, packet, s3_place):
    one, other = replicas
    assert (await begin(one, packet, 1_500_000)).headers["upload-offset"] == "1500000"
    assert (await head(other, packet)).headers["upload-offset"] == "1500000"
    more = await other.upload("PATCH", digest(packet), packet[1_500_000:2_000_000], complete=False, offset=1_500_000)
    assert more.headers["upload-offset"] == "2000000"
    stale = await one.upload("PATCH", digest(packet), packet[1_500_000:], complete=True, offset=1_500_000)
    assert problem(stale, 409, "upload.offset")["retry"] is True
    assert stale.headers["upload-offset"] == "2000000"
    last = await one.upload("PATCH", digest(packet), packet[2_000_000:], complete=True, offset=2_000_000)
    assert last.status_code == 201
    verify_receipt(last.content, keys.trust, digest(packet))
    assert (await other.put(packet)).content == last.content
    assert s3_place.get(f"packets/{digest(packet)}") == packet
    assert s3_place.names("partial") == []


async def test_of_two_replicas_at_one_offset_one_wins_and_the_packet_is_whole(replicas, packet, s3_place):
    one, other = replicas
    await begin(one, packet, 500_000)
    rest = [
        replica.upload("PATCH", digest(packet), packet[500_000:], complete=True, offset=500_000) for replica in replicas
    ]
    codes = sorted([answer.status_code for answer in await asyncio.gather(*rest)])
    assert codes[0] in {200, 201}
    assert set(codes) <= {200, 201, 404, 409, 503}
    assert (await head(other, packet)).status_code == 200
    assert s3_place.get(f"packets/{digest(packet)}") == packet


@pytest.fixture
async def rooms(s3_place, tmp_path):
    """The interrupted uploads of two intakes."""
    settings = StoreSettings(data_dir=tmp_path, **s3_place.settings)
    (tmp_path / "incoming").mkdir()
    with ThreadPoolExecutor(2) as threads:
        disk = Disk(tmp_path, threads)
        yield [S3Partials(make_bucket(settings), disk, lambda name: f"packets/{name}", LIMITS, 5) for _ in range(2)]


async def test_a_piece_that_another_replica_has_written_meanwhile_is_never_overwritten(rooms, s3_place):
    one, other = rooms
    data = bytes(range(256)) * 8_192  # two pieces
    name, half = digest(data), PIECE_BYTES
    async with one.append(BOOTH, name, None, len(data)) as first:
        await first.write(data[:half])
        async with other.append(BOOTH, name, half, None) as second:
            await second.write(data[half:-10])
            await second.sync()
            with pytest.raises(OverloadError):
                await first.write(b"x" * PIECE_BYTES)
        assert (await other.find(BOOTH, name)).offset == len(data) - 10
    assert (await one.find(BOOTH, name)).offset == len(data) - 10, "what the loser had gathered is dropped"
    async with one.append(BOOTH, name, len(data) - 10, None) as last:
        await last.write(data[-10:])
        assert (await last.read(4))[0] == name
        await last.keep(name)
        await last.remove()
    assert s3_place.get(f"packets/{name}") == data
    assert s3_place.names("partial") == []


async def test_content_that_is_forgotten_leaves_no_gap_that_counts(rooms):
    one, other = rooms
    data = b"a" * (3 * PIECE_BYTES)
    name = digest(data)
    async with one.append(BOOTH, name, None, len(data)) as first:
        await first.write(data[:PIECE_BYTES])
        async with other.append(BOOTH, name, PIECE_BYTES, None) as second:
            await second.write(data[:PIECE_BYTES])
        await first.forget_content()
    assert (await other.find(BOOTH, name)).offset == 0, "what lies behind the gap counts for nothing"
    async with other.append(BOOTH, name, 0, None) as again:
        await again.write(data[: PIECE_BYTES - 1])
        await again.sync()
        await again.write(b"a")
    # The piece behind the former gap is the next of the chain again.
    assert (await one.find(BOOTH, name)).offset == 2 * PIECE_BYTES


async def test_pieces_that_another_replica_swept_are_told_by_the_offset_that_is_left(rooms, s3_place):
    one, _ = rooms
    data = b"b" * (2 * PIECE_BYTES)
    name = digest(data)
    async with one.append(BOOTH, name, None, len(data)) as writing:
        await writing.write(data[:PIECE_BYTES])
        await writing.write(data[PIECE_BYTES:])
        last = next(key for key in s3_place.names("partial") if key.endswith(f"/{PIECE_BYTES}"))
        s3_place.delete(last)
        with pytest.raises(UploadOffsetError) as told:
            await writing.read(10)
        assert told.value.offset == PIECE_BYTES
    assert (await one.find(BOOTH, name)).offset == PIECE_BYTES


async def test_a_booths_oldest_uploads_give_way_and_what_is_old_or_too_much_is_swept(rooms, s3_place):
    one, other = rooms
    names = [f"{number:064x}" for number in range(3)]
    for name in names:
        async with one.append(BOOTH, name, None, 1_000) as writing:
            await writing.write(b"x" * 10)
    left = [name for name in names if await other.find(BOOTH, name) is not None]
    assert len(left) == LIMITS.booth_count
    assert names[2] in left
    assert await other.find("booth-0002", names[2]) is None
    with pytest.raises(UnknownPacketError):
        async with other.append("booth-0002", names[2], 10, None):
            pass
    assert await other.sweep() == 0
    async with one.append(BOOTH, names[2], 10, None):
        one._now = lambda: time.time() + LIMITS.kept_s + 60
        assert await one.sweep() == 1, "not the one that is being written"
    other._limits = PartialLimits(2, 1_000, 5, 3600)
    assert await other.sweep() == 1
    assert s3_place.names("partial") == []


async def test_an_upload_in_too_many_pieces_begins_anew(rooms, s3_place, monkeypatch):
    one, other = rooms
    name = "e" * 64
    monkeypatch.setattr("server.s3_partials.MAX_PIECES", 3)
    for offset in (None, 1, 2):
        async with one.append(BOOTH, name, offset, 100) as writing:
            await writing.write(b"x")
    s3_place.put("partial/somebody/else", b"not ours")
    assert (await other.find(BOOTH, name)).offset == 3
    with pytest.raises(UnknownPacketError):
        async with other.append(BOOTH, name, 3, 100):
            pass
    assert s3_place.names("partial") == ["partial/somebody/else"]
    assert await one.sweep() == 0


async def test_while_a_request_writes_another_of_the_same_process_waits_or_is_told_to(rooms, monkeypatch):
    one, _ = rooms
    monkeypatch.setattr("server.s3_partials.ENDING_S", 0.1)
    name = "c" * 64
    async with one.append(BOOTH, name, None, 100) as writing:
        await writing.write(b"x")
        with pytest.raises(OverloadError):
            await one.find(BOOTH, name)
        with pytest.raises(OverloadError):
            async with one.append(BOOTH, name, 1, None):
                pass
    assert (await one.find(BOOTH, name)).offset == 1


async def test_a_request_that_is_cancelled_keeps_what_came(rooms):
    one, other = rooms
    name, begun = "d" * 64, asyncio.Event()

    async def write():
        async with one.append(BOOTH, name, None, 100) as writing:
            await writing.write(b"x" * 40)
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await begun.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert (await one.find(BOOTH, name)).offset == 40
    assert (await other.find(BOOTH, name)).offset == 40
