"""The line to a running booth: what it answers, whom, and what it does with strangers, endless lines and silence."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import socket
import zipfile

import pytest

from booth.control_socket import (
    MAX_LINES,
    NAME,
    AskHistory,
    AskOff,
    AskPlain,
    AskTests,
    open_control_line,
    open_control_socket,
    reachable,
)
from booth.errors import ControlSocketError, MaintenanceRefusedError
from booth.kiosk import Start
from tests.bench_rig import Scene, open_bench
from tests.runner_rig import open_stage


class Open:
    def __init__(self, folder, work, stage):
        self.folder, self.work, self.stage = folder, work, stage

    async def ask(self, ask):
        async with open_control_line(self.folder) as line:
            return await line.answer(ask)

    async def raw(self, data, *, end=False):
        """The answers to these bytes, until the booth hangs up."""
        with reachable(self.folder / NAME) as address:
            reader, writer = await asyncio.open_unix_connection(address)
        try:
            writer.write(data)
            if end:
                writer.write_eof()
            async with asyncio.timeout(10):
                return [json.loads(line) async for line in reader]
        except ConnectionResetError:  # hung up before it was read
            return []
        finally:
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()


@pytest.fixture
def opened(tmp_path):
    """A staged booth with its socket."""

    class Opening:
        def __init__(self, **changes):
            self.changes = changes

        async def __aenter__(self):
            self.bench = open_bench(tmp_path, **self.changes)
            self.stage = open_stage(tmp_path, patience=0.01)
            bench, stage = await self.bench.__aenter__(), await self.stage.__aenter__()
            stage.booth.maintenance.start(bench)
            self.socket = open_control_socket(tmp_path, stage.booth.maintenance)
            await self.socket.__aenter__()
            return Open(tmp_path, stage.booth.maintenance, stage)

        async def __aexit__(self, *error):
            await self.socket.__aexit__(*error)
            await self.stage.__aexit__(*error)
            await self.bench.__aexit__(*error)

    return Opening


async def test_tests_are_run_and_followed_over_the_line(opened, no_tasks_left):
    async with opened() as booth, open_control_line(booth.folder) as line:
        await line.say(AskTests(ids=("disk.free", "camera.rate")))
        told = [answer async for answer in line.answers()]
        assert told[-1] == {"done": True}
        last = told[-2]["state"]["tests"]
        assert [each["verdict"] for each in last["findings"]] == ["pass", "pass"]
        assert last["occasion"] == "command"
        points = await booth.ask(AskHistory(check="camera.rate", days=1))
        assert [point["verdict"] for point in points["points"]] == ["pass"]
        assert {trend["check"] for trend in (await booth.ask(AskPlain(ask="trends")))["trends"]} == {
            "camera.rate", "disk.free",
        }  # fmt: skip


async def test_tests_end_with_the_line_that_began_them(opened):
    scene = Scene()
    scene.gate.clear()
    async with opened(scene=scene) as booth:
        async with open_control_line(booth.folder) as line:
            await line.say(AskTests(ids=("camera.latency",)))
            async for answer in line.answers():
                if answer["state"]["tests"]["current"] == "camera.latency":
                    break
        async with asyncio.timeout(10), booth.work.subscribe() as states:
            async for state in states:
                if state.busy is None:
                    break
        assert booth.work.state.tests.cancelled
        assert set(scene.levels_pct.values()) == {15.0}


async def test_a_line_does_not_end_what_another_began_after_it(opened, no_tasks_left):
    scene = Scene()
    scene.gate.clear()
    async with opened(scene=scene) as booth:
        work = booth.work
        async with open_control_line(booth.folder) as line:
            await line.say(AskTests(ids=("camera.rate",)))
            async for answer in line.answers():
                if answer["state"]["tests"]["current"] == "camera.rate":
                    break
            work.cancel()
            await asyncio.gather(work._work, return_exceptions=True)
            await booth.stage.until("attract")
            # The line has not looked since: the one state that it sees next is of the other's tests.
            work.start_tests(["camera.rate"])
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "control line"))
        assert work.state.busy == "tests"
        work.cancel()


@pytest.mark.parametrize("word", [b'{"ask":"cancel"}\n', b"nonsense\n", b"x" * 5000])
async def test_a_line_that_says_cancel_or_nonsense_ends_its_tests(opened, word):
    scene = Scene()
    scene.gate.clear()
    async with opened(scene=scene) as booth:
        told = await booth.raw(b'{"ask":"tests","ids":["camera.rate"]}\n' + word)
        assert told[-1] == {"done": True}
        assert told[-2]["state"]["tests"]["cancelled"]


async def test_the_switch_and_the_state(opened):
    async with opened() as booth:
        told = await booth.ask(AskOff(reason="cleaning"))
        assert told["state"]["switch"]["reason"] == "cleaning"
        assert booth.stage.booth.state.state == "out_of_service"
        assert (await booth.ask(AskPlain(ask="switch_on")))["state"]["switch"] is None
        assert (await booth.ask(AskPlain(ask="state")))["state"]["busy"] is None
        assert (await booth.ask(AskPlain(ask="cancel")))["state"]["busy"] is None


async def test_the_bundle_comes_over_the_line(opened):
    async with opened() as booth:
        booth.stage.rooms.station.devices = ()
        booth.work._bench.station.devices = ()
        told = await booth.ask(AskPlain(ask="bundle"))
        names = zipfile.ZipFile(io.BytesIO(base64.b64decode(told["bundle"]))).namelist()
        assert "config.json" in names


async def test_what_is_refused_is_told_in_a_sentence(opened):
    async with opened() as booth:
        booth.stage.booth.post(Start())
        for ask in (AskTests(), AskOff(reason="other"), AskPlain(ask="proceed"), AskHistory(check="no.such")):
            with pytest.raises(MaintenanceRefusedError):
                await booth.ask(ask)
        assert booth.stage.booth.state.state == "language"


HOSTILE = [
    b"\n",
    b"{}\n",
    b"[]\n",
    b'{"ask":"shell","command":"id"}\n',
    b'{"ask":"state","more":1}\n',
    b'{"ask":"tests","ids":"all"}\n',
    b'{"ask":"switch_off","reason":"../../etc"}\n',
    b'{"ask":"history","check":"x","days":1e999}\n',
    b'{"ask":' + b"[" * 2000 + b"\n",
    b"\xff\xfe\x00\n",
    b"GET / HTTP/1.1\r\n",
    b"x" * 100_000,
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
async def test_whatever_cannot_be_read_is_answered_once_and_ends_the_line(opened, data):
    async with opened() as booth:
        (told,) = await booth.raw(data)
        assert told["error"]["code"] == "maintenance.socket"
        assert booth.work.state.busy is None
        assert booth.stage.booth.state.state == "attract"


async def test_random_bytes_never_stop_it(opened):
    async with opened() as booth:
        for seed in range(40):
            data = bytes((seed * 37 + n * n * 11) % 256 for n in range(seed * 3)) + b"\n"
            told = await booth.raw(data, end=True)
            assert len(told) <= 1
        assert (await booth.ask(AskPlain(ask="state")))["state"]["busy"] is None


async def test_who_says_nothing_is_dropped(opened, monkeypatch):
    monkeypatch.setattr("booth.control_socket.FIRST_LINE_S", 0.05)
    async with opened() as booth:
        assert await booth.raw(b'{"ask"') == []
        assert await booth.raw(b"", end=True) == []


async def test_a_reader_that_takes_nothing_is_dropped_and_delays_nobody(opened, monkeypatch):
    monkeypatch.setattr("booth.control_socket.WRITE_S", 0.05)
    async with opened() as booth:

        async def large():
            return bytes(8_000_000)

        monkeypatch.setattr(booth.work, "bundle", large)
        with socket.socket(socket.AF_UNIX) as deaf:
            with reachable(booth.folder / NAME) as address:
                deaf.connect(address)
            deaf.sendall(b'{"ask":"bundle"}\n')
            assert (await booth.ask(AskPlain(ask="state")))["state"]["busy"] is None
            async with asyncio.timeout(10):
                await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "control line"))


async def test_too_many_lines_are_refused(opened):
    async with opened() as booth:
        lines = []
        with reachable(booth.folder / NAME) as address:
            for _ in range(MAX_LINES):
                lines.append(await asyncio.open_unix_connection(address))  # noqa: PERF401 - awaited one by one
        with pytest.raises(MaintenanceRefusedError, match="Too many"):
            await booth.ask(AskPlain(ask="state"))
        for _, writer in lines:
            writer.close()
            await writer.wait_closed()


async def test_only_our_user_and_root_are_answered(opened, monkeypatch):
    async with opened() as booth:
        mode = (booth.folder / NAME).stat().st_mode & 0o777
        assert mode == 0o600
        real = os.getuid()
        monkeypatch.setattr("booth.control_socket._peer_uid", lambda _: real + 4711)
        assert await booth.raw(b'{"ask":"state"}\n') == []
        monkeypatch.setattr("booth.control_socket._peer_uid", lambda _: 0)
        assert (await booth.ask(AskPlain(ask="state")))["state"]["busy"] is None


async def test_without_a_booth_there_is_no_line(tmp_path):
    async with open_control_line(tmp_path) as line:
        assert line is None
    with socket.socket(socket.AF_UNIX) as dead, reachable(tmp_path / NAME) as address:
        dead.bind(address)  # a booth that was killed
    async with open_control_line(tmp_path) as line:
        assert line is None


async def test_a_socket_left_by_a_killed_booth_is_no_obstacle_and_none_stays(opened, tmp_path):
    with socket.socket(socket.AF_UNIX) as dead, reachable(tmp_path / NAME) as address:
        dead.bind(address)
    async with opened() as booth:
        assert (await booth.ask(AskPlain(ask="state")))["state"]["busy"] is None
    assert not (tmp_path / NAME).exists()


async def test_a_folder_deeper_than_a_socket_s_name_is_reached(tmp_path):
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6)
    deep.mkdir(parents=True)
    work = type("Work", (), {"state": type("State", (), {"model_dump": lambda _self, mode: {"busy": None}})()})()
    async with open_control_socket(deep, work), open_control_line(deep) as line:
        assert await line.answer(AskPlain(ask="state")) == {"state": {"busy": None}}


async def test_a_booth_that_answers_nonsense_is_told(tmp_path):
    async def serve(reader, writer):
        await reader.readline()
        writer.write(b"what?\n")
        writer.close()

    with reachable(tmp_path / NAME) as address:
        server = await asyncio.start_unix_server(serve, address)
    async with server, open_control_line(tmp_path) as line:
        with pytest.raises(ControlSocketError, match="cannot be read"):
            await line.answer(AskPlain(ask="state"))
