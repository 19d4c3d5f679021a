"""Rows and bytes: what is committed stays, what crashes half-way is adopted, what comes twice is one."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.config import StoreSettings
from server.errors import (
    ReplayedRequestError,
    SettingsError,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
)
from server.folder_objects import ABANDONED_S, open_folder_objects
from server.made_store import await_store
from server.store import NewPacket, Nonce, make_engine, metadata, migrate, open_present_store, open_store
from server.store import packets as rows

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)


def new_packet(data: bytes = b"packet", booth: str = "booth-0001") -> NewPacket:
    digest = hashlib.sha256(data).hexdigest()
    return NewPacket(digest, "a" * 32, booth, "b" * 32, len(data), NOW - timedelta(hours=1), NOW)


def nonce(value: str = "n1") -> Nonce:
    return Nonce("booth-0001", value, LATER)


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'intake.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request) -> str:
    return request.getfixturevalue(f"{request.param}_url")


async def add(store, *packets: NewPacket, position: int | None = None) -> None:
    """Rows without a log."""
    async with store.writing() as connection:
        for new in packets:
            values = asdict(new) | {"state": "received", "receipt": b"receipt", "position": position}
            await connection.execute(sa.insert(rows).values(values))


@pytest.fixture
async def store(url):
    async with open_store(url) as opened:
        yield opened


async def test_a_packet_is_found_again_as_it_was_added(store):
    await add(store, new_packet(), position=7)
    stored = await store.find(new_packet().sha256)
    assert asdict(stored) == asdict(new_packet()) | {
        "serial": 1,
        "state": "received",
        "receipt": b"receipt",
        "position": 7,
    }
    assert await store.find("0" * 64) is None


async def test_rows_survive_the_process(url):
    async with open_store(url) as first:
        await add(first, new_packet())
        stored = await first.find(new_packet().sha256)
    async with open_store(url) as second:
        assert await second.find(stored.sha256) == stored


async def test_no_two_packets_have_one_digest_or_one_place_in_the_log(store):
    await add(store, new_packet(b"1"), position=0)
    await add(store, new_packet(b"2"), new_packet(b"3"))  # not in the log yet
    for another, position in ((new_packet(b"1"), 1), (new_packet(b"4"), 0)):
        with pytest.raises(StorageUnavailableError):
            await add(store, another, position=position)
    assert len(await store.newest(10)) == 3


async def test_two_processes_that_start_together_both_get_their_tables(url):
    async def start():
        async with open_store(url) as opened:
            return await opened.newest(1)

    assert await asyncio.gather(*(start() for _ in range(4))) == [[]] * 4


async def test_a_nonce_is_taken_once_and_forgotten_when_its_signature_is_too_old(store):
    await store.use_nonce(nonce())
    with pytest.raises(ReplayedRequestError):
        await store.use_nonce(nonce())
    assert await store.forget_nonces(LATER) == 0
    assert await store.forget_nonces(LATER + timedelta(seconds=1)) == 1
    await store.use_nonce(nonce())


async def test_the_same_nonce_of_another_booth_is_another_nonce(store):
    await store.use_nonce(nonce())
    await store.use_nonce(Nonce("booth-0002", "n1", LATER))


async def test_nonces_taken_together_are_judged_one_by_one(store):
    await store.use_nonce(nonce("n1"))
    async with store.writing() as connection:
        taken = await store.take_nonces(connection, [nonce(value) for value in ("n2", "n1", "n3", "n2", "n0")])
    assert taken == [True, False, True, False, True]


async def test_nonces_taken_by_two_at_once_are_taken_once(url):
    values = [f"n{i}" for i in range(20)]

    async def take(store, order):
        async with store.writing() as connection:
            return await store.take_nonces(connection, [nonce(value) for value in order])

    async with open_store(url) as one, open_store(url) as other:
        answers = await asyncio.gather(take(one, values), take(other, values[::-1]))
    assert sum(map(sum, answers)) == 20


async def test_pages_of_the_list_go_from_new_to_old(store):
    for i in range(5):
        await add(store, new_packet(str(i).encode()))
    first = await store.newest(2)
    assert [p.serial for p in first] == [5, 4]
    assert [p.serial for p in await store.newest(10, before=4)] == [3, 2, 1]


async def test_a_serial_is_never_given_twice(store):
    await add(store, new_packet())
    async with store.writing() as connection:
        await connection.execute(sa.delete(rows))
    await add(store, new_packet())
    assert (await store.find(new_packet().sha256)).serial == 2


async def test_sqlite_runs_with_the_rules_that_durability_needs(sqlite_url):
    engine = make_engine(sqlite_url)
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
    async with objects.packets.writer() as writer:
        for start in range(0, len(data), 65536):
            await writer.write(data[start : start + 65536])
        await writer.keep(digest)
    return digest


async def test_bytes_come_back_as_they_went_in(tmp_path):
    data = os.urandom(3_000_000)
    async with open_folder_objects(tmp_path / "objects") as objects:
        digest = await kept(objects, data)
        assert await objects.packets.holds(digest)
        assert await objects.packets.read(digest) == data
        assert not await objects.packets.holds("0" * 64)
        assert list((tmp_path / "objects" / "incoming").iterdir()) == []
        await objects.packets.check()
        assert objects.packets.path_of(digest).stat().st_mode & 0o777 == 0o600


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
        async with objects.packets.writer() as writer:
            await writer.write(b"y" * 2_000_000)
            assert len(list((tmp_path / "objects" / "incoming").iterdir())) == 1
        assert list((tmp_path / "objects" / "incoming").iterdir()) == []


async def test_an_orphan_of_a_crash_is_adopted_by_the_next_upload(tmp_path):
    async with open_folder_objects(tmp_path / "objects") as objects:
        first = await kept(objects, b"packet")
        assert await kept(objects, b"packet") == first
        assert await objects.packets.read(first) == b"packet"


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
        objects.packets.path_of(digest).write_bytes(b"pacKet")
        with pytest.raises(StorageCorruptError):
            await objects.packets.read(digest)
        objects.packets.path_of(digest).unlink()
        with pytest.raises(StorageCorruptError):
            await objects.packets.read(digest)


async def test_a_full_disk_is_told_as_full(tmp_path, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    async with open_folder_objects(tmp_path / "objects") as objects:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StorageFullError):
            await kept(objects, b"packet")
        monkeypatch.undo()
        assert list((tmp_path / "objects" / "incoming").iterdir()) == []


async def test_a_new_database_is_its_owners_alone_also_in_an_open_folder(tmp_path):
    tmp_path.chmod(0o755)
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/intake.sqlite3") as store:
        await store.newest(1)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes
    assert set(modes.values()) == {0o600}


async def test_a_desk_does_not_take_a_database_that_no_intake_has_made(tmp_path, postgres_url):
    (tmp_path / "objects" / "packets").mkdir(parents=True)
    settings = StoreSettings(data_dir=tmp_path, database_url=postgres_url)
    with pytest.raises(SettingsError, match="the table of packets"):
        await await_store(settings)
    async with open_store(postgres_url):
        await await_store(settings)


@pytest.mark.parametrize("url", ["nonsense", "postgresql://u:hidden@host/x", "postgres://host/x", "mysql://h:none/x"])
async def test_the_address_of_a_database_that_is_not_understood_is_told_without_what_it_holds(url, tmp_path):
    with pytest.raises(SettingsError, match="postgresql\\+asyncpg") as refused:
        async with open_store(url):
            pass
    assert "hidden" not in str(refused.value)
    with pytest.raises(SettingsError, match="postgresql\\+asyncpg"):
        async with open_present_store(url):
            pass
    (tmp_path / "objects" / "packets").mkdir(parents=True)
    with pytest.raises(SettingsError, match="postgresql\\+asyncpg"):
        await await_store(StoreSettings(data_dir=tmp_path, database_url=url))
