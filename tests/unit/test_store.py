"""Rows and bytes: what is committed stays, what crashes half-way is adopted, what comes twice is one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.errors import ReplayedRequestError, StorageCorruptError, StorageFullError, StorageUnavailableError
from server.objects import ABANDONED_S, open_folder_objects
from server.store import NewPacket, Nonce, make_engine, metadata, migrate, open_store

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)


def new_packet(data: bytes = b"packet", booth: str = "booth-0001") -> NewPacket:
    digest = hashlib.sha256(data).hexdigest()
    return NewPacket(digest, "a" * 32, booth, "b" * 32, len(data), NOW - timedelta(hours=1), NOW)


def nonce(value: str = "n1") -> Nonce:
    return Nonce("booth-0001", value, LATER)


def receipt_for(serial: int) -> bytes:
    return f"receipt {serial}".encode()


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'intake.sqlite3'}"


@pytest.fixture
async def store(url):
    async with open_store(url) as opened:
        yield opened


async def test_a_packet_is_found_again_as_it_was_added(store):
    stored, created = await store.add(new_packet(), nonce(), receipt_for)
    assert created
    assert stored.receipt == b"receipt 1"
    assert stored.received_at == NOW
    assert await store.find(stored.sha256) == stored
    assert await store.find("0" * 64) is None
    assert await store.count() == 1


async def test_rows_survive_the_process(url):
    async with open_store(url) as first:
        stored, _ = await first.add(new_packet(), nonce(), receipt_for)
    async with open_store(url) as second:
        assert await second.find(stored.sha256) == stored


async def test_the_second_of_the_same_digest_gets_the_firsts_receipt(store):
    first, _ = await store.add(new_packet(), nonce("n1"), receipt_for)
    second, created = await store.add(new_packet(), nonce("n2"), lambda serial: b"another")
    assert not created
    assert second == first


async def test_twenty_at_once_over_two_processes_make_one_row(url):
    async with open_store(url) as one, open_store(url) as other:
        answers = await asyncio.gather(
            *((one, other)[i % 2].add(new_packet(), nonce(f"n{i}"), receipt_for) for i in range(20))
        )
        assert sum(created for _, created in answers) == 1
        assert len({stored.receipt for stored, _ in answers}) == 1
        assert await one.count() == 1


async def test_two_processes_that_start_together_both_get_their_tables(url):
    async def start():
        async with open_store(url) as opened:
            return await opened.count()

    assert await asyncio.gather(*(start() for _ in range(4))) == [0] * 4


async def test_a_receipt_that_cannot_be_made_leaves_nothing_behind(store):
    def refuse(serial: int) -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.add(new_packet(), nonce(), refuse)
    assert await store.count() == 0
    await store.use_nonce(nonce())


async def test_a_nonce_is_taken_once_and_forgotten_when_its_signature_is_too_old(store):
    await store.use_nonce(nonce())
    with pytest.raises(ReplayedRequestError):
        await store.use_nonce(nonce())
    with pytest.raises(ReplayedRequestError):
        await store.add(new_packet(), nonce(), receipt_for)
    assert await store.count() == 0
    assert await store.forget_nonces(LATER) == 0
    assert await store.forget_nonces(LATER + timedelta(seconds=1)) == 1
    await store.use_nonce(nonce())


async def test_the_same_nonce_of_another_booth_is_another_nonce(store):
    await store.use_nonce(nonce())
    await store.use_nonce(Nonce("booth-0002", "n1", LATER))


async def test_pages_of_the_list_go_from_new_to_old(store):
    for i in range(5):
        await store.add(new_packet(str(i).encode()), nonce(str(i)), receipt_for)
    first = await store.newest(2)
    assert [p.serial for p in first] == [5, 4]
    assert [p.serial for p in await store.newest(10, before=4)] == [3, 2, 1]


async def test_a_serial_is_never_given_twice(url, tmp_path):
    async with open_store(url) as store:
        await store.add(new_packet(), nonce("n1"), receipt_for)
    connection = sqlite3.connect(tmp_path / "data" / "intake.sqlite3")
    with connection:
        connection.execute("DELETE FROM packets")
    connection.close()
    async with open_store(url) as store:
        stored, _ = await store.add(new_packet(), nonce("n2"), receipt_for)
        assert stored.serial == 2


async def test_sqlite_runs_with_the_rules_that_durability_needs(url):
    engine = make_engine(url)
    async with engine.connect() as connection:
        values = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    await engine.dispose()
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


async def test_migrations_make_exactly_the_tables_of_the_code_and_remove_them_again(url):
    engine = make_engine(url)
    await migrate(engine)
    async with engine.connect() as connection:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        differences = await connection.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c, opts={"compare_type": True}), metadata)
        )
    assert differences == []
    await migrate(engine, "base")
    async with engine.connect() as connection:
        tables = await connection.run_sync(lambda c: set(sa.inspect(c).get_table_names()))
    assert tables <= {"alembic_version", "sqlite_sequence"}
    await migrate(engine)
    await engine.dispose()


async def test_a_database_that_is_no_database_is_told_as_one_sentence(tmp_path):
    (tmp_path / "intake.sqlite3").write_bytes(b"this is a text file, not a database" * 100)
    with pytest.raises(StorageUnavailableError):
        async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}"):
            pass


async def kept(objects, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    async with objects.writer() as writer:
        for start in range(0, len(data), 65536):
            await writer.write(data[start : start + 65536])
        await writer.keep(digest)
    return digest


async def test_bytes_come_back_as_they_went_in(tmp_path):
    data = os.urandom(3_000_000)
    async with open_folder_objects(tmp_path / "objects") as objects:
        digest = await kept(objects, data)
        assert await objects.holds(digest)
        assert await objects.read(digest) == data
        assert not await objects.holds("0" * 64)
        assert list((tmp_path / "objects" / "incoming").iterdir()) == []
        await objects.check()
        assert objects.path_of(digest).stat().st_mode & 0o777 == 0o600


async def test_bytes_are_synced_before_and_after_the_rename(tmp_path, monkeypatch):
    told = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor):
        told.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        real_fsync(descriptor)

    def rename(source, target, **more):
        told.append(("rename", str(target)))
        real_rename(source, target, **more)

    async with open_folder_objects(tmp_path / "objects") as objects:
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "rename", rename)
        digest = await kept(objects, b"x")
        folder = tmp_path / "objects" / "packets" / digest[:2]
        assert [kind for kind, _ in told] == ["fsync", "rename", "fsync"]
        assert "incoming" in told[0][1]
        assert told[1:] == [("rename", str(folder / digest)), ("fsync", str(folder))]


async def test_what_is_not_kept_leaves_no_file(tmp_path):
    async with open_folder_objects(tmp_path / "objects") as objects:
        async with objects.writer() as writer:
            await writer.write(b"y" * 2_000_000)
            assert len(list((tmp_path / "objects" / "incoming").iterdir())) == 1
        assert list((tmp_path / "objects" / "incoming").iterdir()) == []


async def test_an_orphan_of_a_crash_is_adopted_by_the_next_upload(tmp_path):
    async with open_folder_objects(tmp_path / "objects") as objects:
        first = await kept(objects, b"packet")
        assert await kept(objects, b"packet") == first
        assert await objects.read(first) == b"packet"


async def test_leftovers_are_removed_at_start_when_they_are_old(tmp_path):
    incoming = tmp_path / "objects" / "incoming"
    async with open_folder_objects(tmp_path / "objects"):
        pass
    old, fresh = incoming / "old", incoming / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"half a packet")
    past = fresh.stat().st_mtime - ABANDONED_S - 1
    os.utime(old, (past, past))
    async with open_folder_objects(tmp_path / "objects"):
        assert [p.name for p in incoming.iterdir()] == ["fresh"]


async def test_a_flipped_bit_or_a_missing_file_is_noticed_on_reading(tmp_path):
    async with open_folder_objects(tmp_path / "objects") as objects:
        digest = await kept(objects, b"packet")
        objects.path_of(digest).write_bytes(b"pacKet")
        with pytest.raises(StorageCorruptError):
            await objects.read(digest)
        objects.path_of(digest).unlink()
        with pytest.raises(StorageCorruptError):
            await objects.read(digest)


async def test_a_full_disk_is_told_as_full(tmp_path, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    async with open_folder_objects(tmp_path / "objects") as objects:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StorageFullError):
            await kept(objects, b"packet")
        monkeypatch.undo()
        assert list((tmp_path / "objects" / "incoming").iterdir()) == []
