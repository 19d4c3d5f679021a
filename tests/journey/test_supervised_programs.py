"""The real programs under a service manager: ready when they serve, alive while they work, stopping at the end, and no core dump."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

from booth.checker import Checker
from booth.demo import DemoOptions, running_demo
from booth.runner import MAIN_TASKS
from booth.web import open_pages
from crypto.keys import make_development_pki
from crypto.supervision import running
from tests.booth_rig import Simulator, booth_config, running_booth
from tests.fake_intake import FakeIntake

pytestmark = pytest.mark.timeout(240)


class Manager:
    """What each process tells, by its number."""

    def __init__(self, path: Path) -> None:
        self.told: dict[int, list[str]] = {}
        self._news = asyncio.Event()
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(str(path))
        self._line.setblocking(False)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        asyncio.get_running_loop().add_reader(self._line, self._read)

    def _read(self) -> None:
        data, extra, _, _ = self._line.recvmsg(4096, 256)
        self.told.setdefault(int.from_bytes(extra[0][2][:4], "little"), []).append(data.decode())
        self._news.set()

    async def until_told(self, text: str, pids: Iterable[int]) -> None:
        async with asyncio.timeout(60):
            while not all(text in self.told.get(pid, []) for pid in pids):
                self._news.clear()
                await self._news.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._line)
        self._line.close()


def core_limit(pid: int) -> str:
    return re.search(r"Max core file size\s+(\w+\s+\w+)", Path(f"/proc/{pid}/limits").read_text())[1]


async def test_every_program_tells_that_it_is_ready_and_alive_and_leaves_no_core_dump(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    manager = Manager(tmp_path / "notify")
    try:
        async with running_demo(DemoOptions(data=tmp_path / "demo", browser=False)) as demo:
            watched = {each.process.pid: each.name for each in demo.programs if each.name != "virtual-booth"}
            await manager.until_told("WATCHDOG=1", watched)
            assert {manager.told[pid][0] for pid in watched} == {"READY=1\nSTATUS=ready"}
            assert set(manager.told) == set(watched), "nobody else speaks"
            # The intake holds nothing that opens a packet; its unit limits it all the same.
            assert {core_limit(pid).split()[0] for pid, name in watched.items() if name != "intake"} == {"0"}
        await manager.until_told("STOPPING=1\nSTATUS=stopping", watched)
    finally:
        manager.close()


async def test_every_main_task_of_the_booth_is_known_by_its_name(tmp_path, monkeypatch, no_tasks_left):
    pki = make_development_pki(tmp_path / "pki")
    simulator = Simulator(tmp_path / "sim", "visit")
    try:
        config = booth_config(tmp_path, pki, simulator.facts["toml"])
        async with running_booth(config, FakeIntake(pki)) as watcher, open_pages(watcher.booth, 0):
            await watcher.until("attract")
            assert running(MAIN_TASKS) == MAIN_TASKS
            assert watcher.booth.ailing() == ()
            monkeypatch.setattr(Checker, "busy_s", 61.0)
            assert watcher.booth.ailing() == ("checker",)
    finally:
        simulator.stop()
