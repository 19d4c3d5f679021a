"""`booth diagnose`: what it prints, its exit codes, a booth that runs and one that does not, and that an interrupt brings the lamps back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sqlite3
import zipfile
from contextlib import asynccontextmanager

import pytest
from typer.testing import CliRunner

from booth.bench_alone import outbox_status
from booth.cli import app
from booth.config import Config
from booth.control_socket import open_control_socket
from booth.diagnose_command import Asked, Reason
from booth.diagnostics import CHECKS
from booth.errors import ConfigUnreadableError, MaintenanceRefusedError, SupportBundleError, UnknownCheckError
from booth.kiosk import Start
from booth.maintenance import TestRun
from booth.outbox import OutboxLimits, open_outbox
from booth.outbox_database import DATABASE
from booth.outbox_quota import OutboxStatus
from booth.self_test import Measured, judge
from booth.self_tests_lamps import lamp_check
from booth.service_switch import NAME
from tests.bench_rig import BARE_TOML, Disk, Scene, open_bench
from tests.runner_rig import open_stage


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "booth.toml"
    found.write_text(BARE_TOML, "utf-8")
    return found


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No controller runs; the devices are stand-ins."""
    changes = {}

    @asynccontextmanager
    async def opened(config):
        async with open_bench(tmp_path, **changes) as bench:
            bench.station.devices = ()
            yield bench

    monkeypatch.setattr("booth.bench_alone.open_bench_alone", opened)
    return changes


def asked(path, *only, attended=False, as_json=True, trends=False, bundle=None, off=None, on=False):
    return Asked(path, only or None, attended, as_json, trends, bundle, off, on)


async def test_a_sound_booth_ends_with_zero_and_a_failed_check_with_one(path, alone, capsys):
    assert await asked(path, "disk.free", "camera.rate").do() == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["verdict"] for each in told["findings"]] == ["pass", "pass"]
    full = alone["files"] = Disk()
    full.free = 10**7
    assert await asked(path, "disk.free").do() == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["remedy"] == "remedy.disk.full"
    assert await asked(path, trends=True).do() == 0
    trends = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
    assert trends["disk.free"]["failed_days"] == 1


async def test_the_table_says_cause_and_remedy_in_words(path, alone, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    full = alone["files"] = Disk()
    full.free = 10**7
    assert await asked(path, "disk.free", "outbox.age", as_json=False).do() == 1
    told = capsys.readouterr().out
    assert "Disk: free space" in told
    assert "The disk is nearly full." in told
    assert "→ See whether packets wait for the intake" in told
    assert "FAILED" in told
    assert "1 in order, 0 to watch, 1 failed, 0 not assessed." in told


def test_a_lamp_is_named_in_words():
    from booth.diagnose_tables import limits_told, said_of, value_told
    from booth.messages import Messages

    check = next(each for each in CHECKS if each.id == lamp_check("key_left"))
    about = {"lamp": "key_left", "other": "key_right", "percent": "99"}
    swapped = judge(check.id, "%", check.limits, check.causes, Measured(99, "lamp.swapped", "fail", about), 1)
    cause, remedy = said_of(swapped, Messages.load("en"))
    assert cause == "Lamp left and Lamp right: their cables are exchanged."
    assert remedy.startswith("→ Lamp left and Lamp right: exchange their plugs")
    assert [value_told(value, "MB") for value in (None, 0.523456, 76_042.4)] == ["", "0.523 MB", "76,042 MB"]
    assert [limits_told(*pair) for pair in ((None, None), (None, 3), (3, None), (1, 2.5))] == [
        "",
        "≤ 3",
        "≥ 3",
        "1 … 2.5",
    ]


def test_what_has_one_cause_and_one_remedy_is_told_once(capsys):
    from booth.diagnose_tables import show_run

    lamps = [each for each in CHECKS if each.id in {lamp_check("key_left"), lamp_check("key_right")}]
    unmeasured = Measured(None, "absent.calibration", "not_assessed")
    found = tuple(judge(each.id, each.unit, each.limits, each.causes, unmeasured, 1) for each in lamps)
    show_run(TestRun(started_at="2026-11-23T12:00:00Z", done=2, total=2, findings=found))
    told = capsys.readouterr().out
    assert told.count("There is no calibration to compare with.") == 1
    assert "Lamp left: its light, Lamp right: its light  not assessed" in told


async def test_a_running_booth_is_asked_and_shows_it(path, tmp_path, capsys):
    async with open_bench(tmp_path) as bench, open_stage(tmp_path, patience=0.01) as stage:
        work = stage.booth.maintenance
        work.start(bench)
        bench.station.devices = ()
        async with open_control_socket(tmp_path, work):
            assert await asked(path, "disk.free").do() == 0
            assert json.loads(capsys.readouterr().out)["occasion"] == "command"
            assert work.state.tests.findings[0].id == "disk.free"
            await stage.until("attract")
            assert await asked(path, off=Reason.CLEANING).do() == 0
            assert stage.booth.state.state == "out_of_service"
            assert await asked(path, on=True).do() == 0
            assert await asked(path, trends=True).do() == 0
            assert await asked(path, bundle=tmp_path / "b.zip").do() == 0
            assert "config.json" in zipfile.ZipFile(tmp_path / "b.zip").namelist()
            await stage.until("attract")
            stage.booth.post(Start())
            with pytest.raises(MaintenanceRefusedError, match="visit is under way"):
                await asked(path, "disk.free").do()


async def test_a_booth_that_is_clearing_is_waited_for(path, tmp_path, monkeypatch):
    monkeypatch.setattr("booth.control_socket.CLEARING_TRY_S", 0.02)
    async with open_bench(tmp_path) as bench, open_stage(tmp_path, patience=0.05) as stage:
        stage.booth.maintenance.start(bench)
        async with open_control_socket(tmp_path, stage.booth.maintenance):
            assert await asked(path, "disk.free").do() == 0
            assert stage.booth.state.state == "clearing"
            assert await asked(path, "disk.free").do() == 0


async def test_the_switch_works_without_a_controller_too(path, alone, tmp_path):
    assert await asked(path, off=Reason.PREMISES).do() == 0
    assert "premises" in (tmp_path / NAME).read_text("utf-8")
    assert await asked(path, on=True).do() == 0
    assert not (tmp_path / NAME).exists()


async def test_the_bundle_is_written_whole_or_told(path, alone, tmp_path, capsys):
    assert await asked(path, bundle=tmp_path / "x.zip").do() == 0
    assert (tmp_path / "x.zip").stat().st_mode & 0o777 == 0o600
    assert zipfile.ZipFile(io.BytesIO((tmp_path / "x.zip").read_bytes())).testzip() is None
    with pytest.raises(SupportBundleError, match="No such file"):
        await asked(path, bundle=tmp_path / "no" / "x.zip").do()


async def test_an_interrupt_brings_the_lamps_back(path, alone, tmp_path):
    scene = alone["scene"] = Scene()
    before, changed, real = dict(scene.levels_pct), asyncio.Event(), scene.set_levels

    async def set_levels(levels, **how):
        if how.get("ramped") is False:  # the step whose picture is then waited for, for ever
            scene.gate.clear()
            changed.set()
        return await real(levels)

    scene.set_levels = set_levels
    running = asyncio.create_task(asked(path, "camera.latency").do())
    async with asyncio.timeout(10):
        await changed.wait()
    await asyncio.sleep(0)
    assert dict(scene.levels_pct) != before
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert dict(scene.levels_pct) == before


async def test_what_cannot_be_done_is_told_before_anything_is_opened(path, tmp_path):
    with pytest.raises(UnknownCheckError, match=r"disk\.taste"):
        await asked(path, "disk.taste").do()
    with pytest.raises(ConfigUnreadableError):
        await asked(tmp_path / "no.toml").do()


def test_the_command_s_own_refusals():
    runner = CliRunner()
    listed = runner.invoke(app, ["diagnose", "--list", "--json"])
    assert [each["id"] for each in json.loads(listed.output)] == [check.id for check in CHECKS]
    assert runner.invoke(app, ["diagnose", "--list"], env={"COLUMNS": "200"}).output.count("camera.") >= 3
    assert runner.invoke(app, ["diagnose", "--attended"]).exit_code == 2
    assert runner.invoke(app, ["diagnose", "--out-of-service", "boredom"]).exit_code == 2
    missing = runner.invoke(app, ["diagnose", "--config", "/nowhere/booth.toml"])
    assert missing.exit_code == 2


async def test_alone_it_runs_as_the_booth_s_own_user(path, alone, monkeypatch):
    monkeypatch.setattr("booth.diagnose_command.os.geteuid", lambda: os.getuid() + 4711)
    with pytest.raises(MaintenanceRefusedError, match="sudo -u"):
        await asked(path, "disk.free").do()


def test_what_waits_is_read_beside_whoever_has_the_outbox(path, tmp_path):
    config = Config.load(path)
    assert outbox_status(config) == OutboxStatus()
    folder = tmp_path / "outbox"
    with open_outbox(folder, OutboxLimits(10, 10**9, 0), lambda: 1_800_000_000.0):
        assert outbox_status(config) == OutboxStatus()
        with contextlib.closing(sqlite3.connect(folder / DATABASE)) as database:
            row = "INSERT INTO packets (sha256, packet_id, size, state, created_at) VALUES (?, ?, ?, ?, ?)"
            for number, state in enumerate(("waiting", "waiting", "refused", "receipted")):
                database.execute(row, (f"{number:064x}", "0" * 32, 100, state, 1_799_999_000.0 + number))
            database.commit()
        told = outbox_status(config)
        assert (told.waiting, told.refused, told.damaged, told.oldest_at) == (2, 1, 0, 1_799_999_000.0)
        assert told.stored_bytes == 300
    (folder / DATABASE).write_bytes(b"no database" * 500)
    assert outbox_status(config).damaged == 1
