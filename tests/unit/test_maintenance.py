"""A technician's work between visits: it obstructs visits, waits for them, tells its progress, and survives a restart where it must."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from booth.errors import MaintenanceRefusedError, UnknownCheckError
from booth.kiosk import Start
from booth.maintenance import OUT_REASONS
from booth.service_switch import NAME as SWITCH_NAME
from tests.bench_rig import Disk, Scene, open_bench
from tests.runner_rig import open_stage


@pytest.fixture
def staged(tmp_path):
    return partial(open_stage, tmp_path, patience=0.01)


async def until(maintenance, wanted):
    async with asyncio.timeout(10), maintenance.subscribe() as states:
        async for state in states:
            if wanted(state):
                return state
    raise AssertionError


def ended(state):
    return state.busy is None and state.tests is not None and state.tests.finished_at is not None


async def test_tests_run_between_visits_and_the_booth_is_out_of_service_meanwhile(staged, tmp_path, no_tasks_left):
    scene = Scene()
    scene.gate.clear()
    async with open_bench(tmp_path, scene=scene) as bench, staged() as stage:
        work = stage.booth.maintenance
        work.start(bench)
        work.start_tests(["disk.free", "camera.rate"])
        assert (work.state.busy, work.state.tests.total) == ("tests", 2)
        assert stage.booth.state.state == "out_of_service"
        assert stage.booth.state.fault.message == "fault.booth"
        with pytest.raises(MaintenanceRefusedError, match="busy with tests"):
            work.start_tests()
        scene.gate.set()
        done = (await until(work, ended)).tests
        assert [(each.id, each.verdict) for each in done.findings] == [("camera.rate", "pass"), ("disk.free", "pass")]
        assert (done.done, done.current, done.cancelled) == (2, None, False)
        await stage.until("attract")
        told = [event.text for event in stage.booth._health.events]
        assert "technician: self-tests done, 2 of 2 in order" in told
        assert "technician: 2 self-tests begun (on the technician's page)" in told
        assert {event.level for event in stage.booth._health.events} == {"info"}


async def test_while_a_visit_runs_nothing_begins(staged, tmp_path):
    async with open_bench(tmp_path) as bench, staged() as stage:
        work = stage.booth.maintenance
        with pytest.raises(MaintenanceRefusedError, match="starting"):
            work.start_tests()
        work.start(bench)
        stage.booth.post(Start())
        for begin in (work.start_tests, partial(work.switch_off, "cleaning")):
            with pytest.raises(MaintenanceRefusedError, match="visit is under way"):
                begin()
        assert work.state.busy is None
        assert work.state.switch is None
        assert stage.booth.state.state == "language"


async def test_a_run_can_be_cancelled_and_tells_what_was_found(staged, tmp_path):
    scene = Scene()
    scene.gate.clear()
    async with open_bench(tmp_path, scene=scene) as bench, staged() as stage:
        work = stage.booth.maintenance
        work.start(bench)
        work.start_tests(["camera.rate", "disk.free"])
        await until(work, lambda state: state.tests.current == "camera.rate")
        work.cancel()
        done = (await until(work, ended)).tests
        assert (done.cancelled, done.done) == (True, 0)
        await stage.until("attract")
        work.cancel()  # nothing to do is no error


async def test_what_is_wrong_stands_in_the_event_log_in_words(staged, tmp_path):
    full = Disk()
    full.free = 10_000_000
    async with open_bench(tmp_path, files=full) as bench, staged() as stage:
        work = stage.booth.maintenance
        work.start(bench)
        work.start_tests(["disk.free"], occasion="command")
        run = (await until(work, ended)).tests
        assert [each.id for each in run.failed] == ["disk.free"]
        told = [(event.level, event.text) for event in stage.booth._health.events]
        assert ("error", "technician: disk.free is 10 MB: disk.full") in told


async def test_an_unknown_check_begins_nothing(staged, tmp_path):
    async with open_bench(tmp_path) as bench, staged() as stage:
        stage.booth.maintenance.start(bench)
        with pytest.raises(UnknownCheckError):
            stage.booth.maintenance.start_tests(["disk.taste"])
        assert stage.booth.maintenance.state.busy is None
        with pytest.raises(MaintenanceRefusedError):
            stage.booth.maintenance.proceed()


@pytest.mark.parametrize("reason", OUT_REASONS)
async def test_the_switch_obstructs_and_survives_a_restart(staged, reason):
    async with staged() as stage:
        stage.booth.maintenance.switch_off(reason)
        assert stage.booth.state.state == "out_of_service"
        since = stage.booth.maintenance.state.switch.since
    async with staged() as stage:
        assert stage.booth.state.state == "out_of_service"
        assert stage.booth.maintenance.state.switch.reason == reason
        assert stage.booth.maintenance.state.switch.since == since
        stage.booth.maintenance.switch_on()
        await stage.until("attract")
    async with staged() as stage:
        assert stage.booth.state.state == "attract"
        assert stage.booth.maintenance.state.switch is None


async def test_a_reason_that_is_none_is_refused(staged):
    async with staged() as stage:
        with pytest.raises(MaintenanceRefusedError, match="maintenance, device_fault"):
            stage.booth.maintenance.switch_off("because")
        assert stage.booth.state.state == "attract"


@pytest.mark.parametrize("data", [b"", b"{", b'{"reason":"x","since":"y"}', b"\xff" * 4000])
async def test_a_switch_that_cannot_be_read_keeps_the_booth_out_of_service(staged, tmp_path, data):
    (tmp_path / SWITCH_NAME).write_bytes(data)
    async with staged() as stage:
        assert stage.booth.state.state == "out_of_service"
        assert stage.booth.maintenance.state.switch.reason == "other"
        stage.booth.maintenance.switch_on()
        await stage.until("attract")


async def test_the_switch_stays_off_while_tests_run_and_after(staged, tmp_path):
    async with open_bench(tmp_path) as bench, staged() as stage:
        work = stage.booth.maintenance
        work.start(bench)
        work.switch_off("maintenance")
        work.start_tests(["disk.free"])
        await until(work, ended)
        assert stage.booth.state.state == "out_of_service"
        assert (tmp_path / SWITCH_NAME).stat().st_mode & 0o777 == 0o600


async def test_closing_the_booth_ends_a_run(staged, tmp_path, no_tasks_left):
    scene = Scene()
    scene.gate.clear()
    async with open_bench(tmp_path, scene=scene) as bench:
        async with staged() as stage:
            work = stage.booth.maintenance
            work.start(bench)
            work.start_tests(["camera.latency"])
            await until(work, lambda state: state.tests.current == "camera.latency")
        assert work.state.tests.cancelled
        assert set(scene.levels_pct.values()) == {15.0}


async def test_a_technician_who_left_does_not_keep_the_booth_closed(staged, tmp_path, monkeypatch):
    monkeypatch.setattr("booth.maintenance.PATIENCE_S", 0.05)
    async with open_bench(tmp_path) as bench, staged() as stage:
        work = stage.booth.maintenance
        work.start(bench)
        work.start_tests(["camera.focus"], attended=True)
        await until(work, lambda state: state.waits)
        run = (await until(work, ended)).tests
        assert (run.cancelled, run.waiting) == (True, None)
        await stage.until("attract")
        told = [event.text for event in stage.booth._health.events]
        assert "technician: nobody came for 0 minutes: given up" in told
