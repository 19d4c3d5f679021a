"""What systemd hears: ready once, alive only while every main task runs, stopping at the end."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from crypto.supervision import notify, running, supervised, watchdog_s


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """The service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield line


async def heard(manager, wanted):
    """Messages up to the wanted one."""
    told = []
    async with asyncio.timeout(10):
        while True:
            text = (await asyncio.get_running_loop().sock_recv(manager, 4096)).decode()
            told.append(text)
            if wanted in text:
                return told


def waiting(manager):
    told = []
    try:
        while True:
            told.append(manager.recv(4096).decode())
    except BlockingIOError:
        return told


async def test_the_watchdog_is_fed_only_while_the_main_tasks_run(manager, monkeypatch, caplog, no_tasks_left):
    monkeypatch.setenv("WATCHDOG_USEC", "3000")  # fed every millisecond
    caplog.set_level("INFO")
    preview, uplink = (asyncio.create_task(asyncio.Event().wait(), name=name) for name in ("preview", "uplink"))
    async with supervised({"preview", "uplink", "never there"}) as ready:
        assert waiting(manager) == []
        ready()
        assert (await heard(manager, "WATCHDOG=1"))[0] == "READY=1\nSTATUS=ready"
        preview.cancel()
        await heard(manager, "STATUS=not fed: preview")
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, passed.set)
        await passed.wait()
        assert waiting(manager) == [], "not a single sign of life more"
        assert "watchdog: not fed: preview" in caplog.text
        uplink.cancel()
        await heard(manager, "STATUS=not fed: preview, uplink")
    assert waiting(manager) == ["STOPPING=1\nSTATUS=stopping"]


async def test_a_reason_named_by_the_program_stops_the_feeding_and_its_end_starts_it_again(manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "3000")
    reasons = []
    async with supervised((), lambda: reasons) as ready:
        ready()
        await heard(manager, "WATCHDOG=1")
        reasons.append("checker")
        assert "WATCHDOG=1" not in (await heard(manager, "not fed: checker"))[-1]
        reasons.clear()
        await heard(manager, "WATCHDOG=1")


async def test_without_a_watchdog_nothing_runs_and_ready_is_told_all_the_same(manager, monkeypatch, no_tasks_left):
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    async with supervised({"x"}) as ready:
        ready()
        assert running({"watchdog"}) == frozenset()
    assert waiting(manager) == ["READY=1\nSTATUS=ready", "STOPPING=1\nSTATUS=stopping"]


def test_no_manager_no_message(tmp_path, caplog):
    assert not notify("READY=1", environment={})
    assert not notify("READY=1", environment={"NOTIFY_SOCKET": "relative"})
    assert not notify("READY=1", environment={"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert "could not be told" in caplog.text


def test_an_abstract_address_is_an_address():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("")  # the kernel takes a free abstract name
        name = line.getsockname()[1:].decode()
        assert notify("READY=1", "STATUS=x", environment={"NOTIFY_SOCKET": f"@{name}"})
        assert line.recv(100) == b"READY=1\nSTATUS=x"


@pytest.mark.parametrize(
    ("environment", "limit"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_time_is_for_the_process_that_is_named(environment, limit):
    assert watchdog_s(environment) == limit
