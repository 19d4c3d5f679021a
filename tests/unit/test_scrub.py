"""The scrubber finds a flipped bit and a missing object, in a folder and in a bucket, and nothing else."""

from __future__ import annotations

import hashlib
import json

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from server.cli import app
from server.errors import StorageUnavailableError
from server.intake_jobs import storage_jobs, tell_jobs
from server.jobs import Jobs, read_jobs
from server.metrics import Metrics
from server.scrub import Fault, Scrubber, mend, object_faults, read_state
from server.store import open_store
from tests.scrub_rig import flipped, stored


@pytest.fixture(params=["folder", "s3"])
async def place(request, tmp_path, s3_place):
    async with stored(tmp_path / "data", s3_place if request.param == "s3" else None) as opened:
        yield opened


async def faults(store) -> set[tuple[str, str, str]]:
    async with store.reading() as connection:
        rows = await connection.execute(
            sa.select(object_faults.c.collection, object_faults.c.name, object_faults.c.kind)
        )
        return {tuple(row) for row in rows}


async def test_a_flipped_bit_and_a_missing_object_are_found_and_forgotten_when_mended(place, caplog):
    data = [bytes([number]) * 1_000 for number in range(5)]
    names = [await place.add(one) for one in data]
    message = await place.add_order(names[0], b"message" * 100)
    scrubber = Scrubber(place.store, place.objects, 10**9)
    assert await scrubber.run() == 0
    place.harm("packets", names[1], flipped(data[1], 4_321))
    place.harm("packets", names[3], None)
    place.harm("orders", message, flipped(b"message" * 100, 1))
    assert await scrubber.run() == 3
    found = {("packets", names[1], "damaged"), ("packets", names[3], "missing"), ("orders", message, "damaged")}
    assert await faults(place.store) == found
    assert [record.fault for record in caplog.records if record.levelname == "ERROR"].count("missing") == 1
    assert names[3] not in caplog.text, "a log tells the beginning of a digest"
    assert await scrubber.run() == 3, "found again, and counted once"
    place.harm("packets", names[1], data[1])
    place.harm("packets", names[3], data[3])
    await place.remove_row(names[0])  # the message is needed no more
    assert await scrubber.run() == 0
    assert await faults(place.store) == set()


async def test_a_walk_goes_on_where_the_run_before_stopped_also_in_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr("server.scrub.PAGE", 2)
    async with stored(tmp_path / "data") as place:
        names = sorted([await place.add(bytes([number]) * 100) for number in range(7)])
        read = []
        real = place.objects.packets.read

        async def noting(name):
            read.append(name)
            return await real(name)

        monkeypatch.setattr(place.objects.packets, "read", noting)
        for upto in (2, 4, 6):
            await Scrubber(place.store, place.objects, 150).run()
            assert read == names[:upto]
        assert (await read_state(place.store)).ended_at is None
        await Scrubber(place.store, place.objects, 150).run()
        assert read == names
        state = await read_state(place.store)
        assert state.began_at is not None
        assert state.ended_at > state.began_at
        await Scrubber(place.store, place.objects, 150).run()
        assert read == names + names[:2], "a new walk"


async def test_what_is_deleted_while_it_is_read_is_no_finding(tmp_path, monkeypatch):
    async with stored(tmp_path / "data") as place:
        name = await place.add(b"packet")
        real = place.objects.packets.load

        async def deleting(sha256):
            await place.remove_row(name)
            await place.objects.packets.delete(name)
            return await real(sha256)

        monkeypatch.setattr(place.objects.packets, "load", deleting)
        assert await Scrubber(place.store, place.objects, 10**9).run() == 0


async def test_a_store_that_does_not_answer_is_no_finding(tmp_path, monkeypatch):
    async with stored(tmp_path / "data") as place:
        await place.add(b"packet")

        async def gone(_):
            raise StorageUnavailableError

        with monkeypatch.context() as patch:
            patch.setattr(place.objects.packets, "load", gone)
            scrub = next(job for job in storage_jobs(place.store, place.objects, 10**9) if job.name == "scrub")
            assert await Jobs(place.store, [scrub]).run_due(scrub)
        (state,) = await read_jobs(place.store)
        assert state.outcome == "storage.unavailable"
        assert await faults(place.store) == set()


async def test_as_a_job_it_tells_what_it_found_to_the_metrics(tmp_path):
    async with stored(tmp_path / "data") as place:
        name = await place.add(b"packet")
        place.harm("packets", name, b"pacKet")
        for job in storage_jobs(place.store, place.objects, 10**9):
            assert await Jobs(place.store, [job]).run_due(job)
        metrics = Metrics()
        metrics.asked.append(tell_jobs(place.store, metrics))
        text = (await metrics.text()).decode()
    assert "passbooth_damaged_objects 1.0" in text
    assert 'passbooth_job_failed{job="scrub"} 0.0' in text
    assert 'passbooth_job_ended_seconds{job="orphans"}' in text
    assert "passbooth_scrubbed_since_seconds" in text
    assert name not in text


def run(*arguments: str):
    return CliRunner().invoke(app, ["scrub", *arguments])


@pytest.fixture
async def damaged(tmp_path) -> tuple[str, str]:
    async with stored(tmp_path / "data") as place:
        whole, name = await place.add(b"whole"), await place.add(b"packet")
        place.harm("packets", name, b"pacKet")
    return whole, name


def test_the_command_tells_what_is_damaged(tmp_path, damaged):
    told = run("--data", str(tmp_path / "data"))
    assert told.exit_code == 1
    assert f"damaged: packets/{damaged[1]}" in told.stdout
    assert "NOT WHOLE: 1 objects" in told.stdout
    assert "Traceback" not in told.output
    document = json.loads(run("--data", str(tmp_path / "data"), "--orphans", "--json").stdout)
    assert document["sound"] is False
    assert document["faults"] == [{"collection": "packets", "name": damaged[1], "kind": "damaged"}]
    assert (document["objects"], document["bytes"], document["orphans"]) == (2, 5, 0)


def test_the_command_mends_what_the_backups_have(tmp_path, damaged):
    data, backups = str(tmp_path / "data"), tmp_path / "backups"
    told = run("--data", data, "--mend", str(backups))
    assert (told.exit_code, "no folder of backups" in told.stderr) == (2, True)
    kept = backups / "objects" / "packets" / damaged[1][:2] / damaged[1]
    kept.parent.mkdir(parents=True)
    (backups / ".lock").touch()
    for content in (None, b"not it"):
        if content is not None:
            kept.write_bytes(content)
        told = run("--data", data, "--mend", str(backups))
        assert (told.exit_code, f"Not in the backups: packets/{damaged[1]}" in told.stderr) == (1, True)
    kept.write_bytes(b"packet")
    told = run("--data", data, "--mend", str(backups))
    assert told.exit_code == 0
    assert "1 of 1 were put back" in told.stdout
    assert "Every object is whole." in run("--data", data).stdout


async def test_what_was_deleted_meanwhile_is_not_put_back(tmp_path):
    async with stored(tmp_path / "data") as place:
        name = hashlib.sha256(b"gone").hexdigest()
        assert not await mend(place.store, place.objects, Fault("packets", name, "missing"), b"gone")
        assert not await place.objects.packets.holds(name)


async def test_the_command_over_a_bucket_gets_it_from_the_intakes_variables(tmp_path, s3_place, monkeypatch):
    async with stored(tmp_path / "data", s3_place) as place:
        await place.add(b"packet")
    for name, value in s3_place.settings.items():
        monkeypatch.setenv(f"INTAKE_{name.upper()}", str(value))
    from server.scrub_command import _scrub

    found = await _scrub(tmp_path / "data", None, True, None, lambda *_: None)
    assert found.sound
    assert (found.objects, found.orphans) == (1, 0)


async def test_the_command_refuses_where_there_is_no_store(tmp_path):
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}"):
        pass
    from asyncio import to_thread

    told = await to_thread(run, "--data", str(tmp_path))
    assert told.exit_code == 2
    assert "There is no store here yet" in told.stderr
