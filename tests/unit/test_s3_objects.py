"""The bucket as a place: what is kept is there, what fails is told, nothing that was confirmed is lost, and the settings are judged before the start."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os

import pytest

from crypto.receipt import verify_receipt
from server.config import StoreSettings
from server.errors import SettingsError, StorageCorruptError, StorageUnavailableError
from server.made_store import await_store
from server.objects import open_objects
from server.packet_counts import count_packets
from server.s3_bucket import make_bucket as open_bucket
from tests.intake_rig import problem, running
from tests.s3_rig import ERROR_500, S3Place, faulty_s3, make_bucket
from tests.sealed_packets import Keys, digest


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("s3-fault-keys") / "pki")


@pytest.fixture
def settings(tmp_path, s3_place) -> StoreSettings:
    return StoreSettings(data_dir=tmp_path / "data", **s3_place.settings)


@pytest.fixture
async def door(s3_endpoint):
    async with faulty_s3(s3_endpoint) as opened:
        yield opened


async def kept(collection, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    async with collection.writer() as writer:
        for start in range(0, len(data), 65_536):
            await writer.write(data[start : start + 65_536])
        await writer.keep(name)
    return name


@pytest.mark.parametrize("size", [0, 1_000, 3_000_000])
async def test_bytes_come_back_as_they_went_in_and_leave_nothing_on_this_machine(settings, s3_place, size):
    data = os.urandom(size)
    async with open_objects(settings) as objects:
        name = await kept(objects.packets, data)
        assert await objects.packets.read(name) == data
        assert await objects.packets.holds(name)
        found = await objects.packets.find(name)
        assert (found.name, found.size) == (name, size)
        assert not await objects.orders.holds(name)
        assert await objects.orders.find(name) is None
        async with objects.orders.writer() as writer:
            await writer.write(data)
        assert s3_place.names() == [f"packets/{name}", "passbooth"]
    assert [path for path in settings.data_dir.rglob("*") if path.is_file()] == []


async def test_names_come_in_order_behind_any_name_and_deletion_removes_from_aside_too(settings):
    async with open_objects(settings) as objects:
        names = sorted([await kept(objects.packets, bytes([i])) for i in range(5)])
        assert [one.name async for one in objects.packets.names()] == names
        assert [one.name async for one in objects.packets.names(names[1])] == names[2:]
        assert await objects.packets.put_aside(names[0])
        assert not await objects.packets.put_aside(names[0])
        assert not await objects.packets.holds(names[0])
        assert hashlib.sha256(await objects.packets.read(names[0])).hexdigest() == names[0]
        assert [one.name async for one in objects.aside.names()] == names[:1]
        assert await objects.packets.delete(names[0])
        assert await objects.packets.delete(names[1])
        assert not await objects.packets.delete(names[1])
        assert [one.name async for one in objects.aside.names()] == []
        with pytest.raises(StorageCorruptError):
            await objects.packets.read(names[0])


async def test_what_is_damaged_is_not_put_aside(settings, s3_place):
    async with open_objects(settings) as objects:
        name = await kept(objects.packets, b"packet")
        s3_place.put(f"packets/{name}", b"pacKet")
        with pytest.raises(StorageCorruptError):
            await objects.packets.put_aside(name)
        assert s3_place.names("packets") == [f"packets/{name}"]
        assert s3_place.names("aside") == []


async def test_the_folder_may_be_elsewhere(tmp_path):
    elsewhere = tmp_path / "a disk"
    settings = StoreSettings(data_dir=tmp_path / "data", objects_url=elsewhere.as_uri())
    with pytest.raises(SettingsError, match="the folder of packets"):
        await await_store(settings)
    async with open_objects(settings) as objects:
        name = await kept(objects.packets, b"packet")
    assert (elsewhere / "packets" / name[:2] / name).read_bytes() == b"packet"
    assert not (tmp_path / "data").exists()


async def test_a_desk_does_not_take_a_bucket_that_no_intake_has_made(settings, tmp_path):
    with pytest.raises(SettingsError, match="the mark of an intake in s3://"):
        await await_store(settings)
    async with open_objects(settings):
        pass
    with pytest.raises(SettingsError, match="the database"):
        await await_store(settings)


async def test_a_bucket_that_keeps_old_versions_is_refused(s3_endpoint, tmp_path):
    make_bucket(s3_endpoint, "versioned", versioned=True)
    settings = StoreSettings(data_dir=tmp_path / "data", **S3Place(s3_endpoint, "versioned").settings)
    with pytest.raises(SettingsError, match="old versions"):
        async with open_objects(settings):
            pass
    with pytest.raises(StorageUnavailableError, match="old versions"):
        await open_bucket(settings).check()


async def test_a_bucket_that_is_not_there_and_a_key_that_is_refused_are_told(s3_place, door, tmp_path):
    other = s3_place.settings | {"objects_url": "s3://no-such-bucket/here"}
    with pytest.raises(StorageUnavailableError, match="no such bucket"):
        async with open_objects(StoreSettings(data_dir=tmp_path / "data", **other)):
            pass

    async def refuse(method, path, forward):
        return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    door.fault = refuse
    settings = StoreSettings(data_dir=tmp_path / "data", **s3_place.settings | {"s3_endpoint": door.endpoint})
    with pytest.raises(StorageUnavailableError, match="refuses the key"):
        async with open_objects(settings):
            pass


async def test_a_store_that_ignores_conditions_is_refused(s3_place, door, tmp_path):
    async def ignoring(method, path, forward):
        return b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'

    door.fault = ignoring
    settings = StoreSettings(data_dir=tmp_path / "data", **s3_place.settings | {"s3_endpoint": door.endpoint})
    with pytest.raises(SettingsError, match="If-None-Match"):
        async with open_objects(settings):
            pass


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"objects_url": "ftp://bucket"}, "objects_url is"),
        ({"objects_url": "file://host/folder"}, "objects_url is"),
        ({"objects_url": "s3://key:secret@bucket"}, "without keys"),
        ({"objects_url": "s3://bucket?region=x"}, "without keys"),
        ({"s3_endpoint": "http://s3.example.org"}, "without TLS"),
        ({"s3_endpoint": "https://key:secret@s3.example.org"}, "nothing else"),
        ({"s3_endpoint": "s3.example.org"}, "nothing else"),
        ({"s3_access_key_id": None}, "s3_access_key_id is missing"),
        ({"s3_secret_key": None}, "one of them"),
        ({"s3_secret_key_file": "/nowhere"}, "one of them"),
        ({"s3_secret_key": None, "s3_secret_key_file": "/nowhere"}, "/nowhere cannot be read"),
        ({"s3_root_certificate": "/nowhere"}, "/nowhere cannot be read"),
        ({"s3_root_certificate": __file__}, "contradict themselves"),
    ],
)
async def test_settings_that_cannot_be_right_are_told_before_the_start(tmp_path, s3_place, changed, told):
    settings = StoreSettings(data_dir=tmp_path, **(s3_place.settings | changed))
    with pytest.raises(SettingsError, match=told) as refused:
        async with open_objects(settings):
            pass
    assert "secret@" not in str(refused.value)


async def test_the_secret_may_lie_in_a_file_and_is_never_shown(tmp_path, s3_place):
    secret = tmp_path / "secret"
    secret.write_text("tests\n")
    given = s3_place.settings | {"s3_secret_key": None, "s3_secret_key_file": secret}
    settings = StoreSettings(data_dir=tmp_path / "data", **given)
    async with open_objects(settings) as objects:
        await objects.packets.check()
    shown = StoreSettings(data_dir=tmp_path, **(s3_place.settings | {"s3_secret_key": "very-secret"}))
    assert "very-secret" not in repr(shown)


async def answer_500(method, path, forward):
    return ERROR_500


async def close(method, path, forward):
    return b""


async def store_and_close(method, path, forward):
    await forward()
    return b""


async def never_answer(method, path, forward):
    await asyncio.sleep(3600)


@pytest.mark.parametrize("fault", [answer_500, close, store_and_close, never_answer])
async def test_a_store_that_fails_is_a_503_and_nothing_that_was_confirmed_is_lost(
    keys, tmp_path, s3_place, door, fault, monkeypatch
):
    monkeypatch.setattr("server.s3_bucket.RETRIES", 0)
    first, second = keys.packet(), keys.packet()
    given = s3_place.settings | {"s3_endpoint": door.endpoint, "s3_timeout_s": 0.4 if fault is never_answer else 20}
    async with running(keys, tmp_path / "data", **given) as intake:
        confirmed = await intake.put(first)
        assert confirmed.status_code == 201

        async def puts_fail(method, path, forward):
            return await fault(method, path, forward) if method == "PUT" else None

        door.fault = puts_fail
        answers = [await intake.put(second)]
        if fault is not never_answer:  # each of its requests takes the whole time
            answers.append(await intake.upload("PUT", digest(second), second, complete=True))
        for answer in answers:
            assert problem(answer, 503, "storage.unavailable")["retry"] is True
            assert "s3" not in answer.text.lower(), "the problem says nothing of where the store is"
        assert await count_packets(intake.rooms.store) == 1, "no row without bytes that the store confirmed"
        with pytest.raises(StorageUnavailableError):
            await intake.rooms.objects.packets.check()
        assert (await intake.put(first)).content == confirmed.content
        door.fault = None
        again = await intake.put(second)
        assert again.status_code == 201
        verify_receipt(again.content, keys.trust, digest(second))
        for packet in (first, second):
            assert await intake.rooms.objects.packets.read(digest(packet)) == packet


async def test_a_store_that_fails_for_a_moment_is_asked_again(keys, tmp_path, s3_place, door):
    packet, failed = keys.packet(), []

    async def once(method, path, forward):
        if method == "PUT" and not failed:
            failed.append(path)
            return ERROR_500
        return None

    async with running(keys, tmp_path / "data", **s3_place.settings | {"s3_endpoint": door.endpoint}) as intake:
        door.fault = once
        assert (await intake.put(packet)).status_code == 201
    assert failed
    assert s3_place.get(f"packets/{digest(packet)}") == packet


async def test_a_packet_that_comes_at_once_is_put_once_and_never_in_pieces(keys, tmp_path, s3_place, door):
    packet = keys.packet()
    async with running(keys, tmp_path / "data", **s3_place.settings | {"s3_endpoint": door.endpoint}) as intake:
        door.asked.clear()
        assert (await intake.upload("PUT", digest(packet), packet, complete=True)).status_code == 201
        assert [method for method, _ in door.asked] == ["GET", "PUT"]
        assert door.asked[1][1].endswith(f"/packets/{digest(packet)}")
        checksum = base64.b64encode(bytes.fromhex(digest(packet))).decode()
        assert door.heads[-1]["x-amz-checksum-sha256"] == checksum, "the store is told what must have arrived"
