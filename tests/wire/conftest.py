"""The virtual booth as its own process, once per session and scenario; every test leaves it without faults."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hardware.link import DeviceState, DeviceStatus

PROJECT = Path(__file__).resolve().parents[2]
START_S = 30


class VirtualBooth:
    """One running simulator: where its devices are, and its control socket."""

    def __init__(self, scenario: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hardware.sim", scenario, "--json", "--with-parent"],
            stdout=subprocess.PIPE,
            cwd=PROJECT,
        )
        assert self.process.stdout is not None
        self.addresses: Mapping[str, str] = json.loads(self.process.stdout.readline())
        self.settings: Mapping[str, Any] = tomllib.loads(self.addresses["toml"])
        self._faults: set[str] = set()

    def control(self, **message: Any) -> dict[str, Any]:
        """One message to the simulator, and its answer."""
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as answers:
            line.settimeout(START_S)
            line.connect(self.addresses["control"])
            line.sendall(json.dumps(message).encode() + b"\n")
            answer = json.loads(answers.readline())
        assert "error" not in answer, answer
        return answer

    def state(self, part: str) -> dict[str, Any]:
        """What the simulator says of one of its devices."""
        return self.control(state=True)[part]

    def fault(self, name: str, *, on: bool = True, **more: Any) -> None:
        """Turn a fault knob."""
        (self._faults.add if on else self._faults.discard)(name)
        self.control(fault=name, on=on, **more)

    def mend(self) -> None:
        """Turn off every fault that is on."""
        for name in tuple(self._faults):
            self.fault(name, on=False)

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(START_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="session")
def start_booth() -> Iterator[Callable[[str], VirtualBooth]]:
    """Start a scenario, or return the one that runs."""
    running: dict[str, VirtualBooth] = {}

    def start(scenario: str) -> VirtualBooth:
        if scenario not in running:
            running[scenario] = VirtualBooth(scenario)
        return running[scenario]

    yield start
    for booth in running.values():
        booth.stop()


@pytest.fixture(scope="session")
def wled_process(start_booth: Callable[[str], VirtualBooth]) -> VirtualBooth:
    return start_booth("seated")


@pytest.fixture(scope="session")
def dmx_process(start_booth: Callable[[str], VirtualBooth]) -> VirtualBooth:
    return start_booth("dmx-fine")


@pytest.fixture
def booth(wled_process: VirtualBooth) -> Iterator[VirtualBooth]:
    """The virtual booth with WLED lamps, VISCA and a sitter."""
    yield wled_process
    wled_process.mend()


@pytest.fixture
def dmx_booth(dmx_process: VirtualBooth) -> Iterator[VirtualBooth]:
    """The virtual booth with 16-bit DMX lamps."""
    yield dmx_process
    dmx_process.mend()


class Watcher:
    """Collects the states that a device tells, to wait for one."""

    def __init__(self) -> None:
        self.states: list[DeviceState] = []
        self._news: asyncio.Queue[DeviceState] = asyncio.Queue()

    def __call__(self, status: DeviceStatus) -> None:
        self.states.append(status.state)
        self._news.put_nowait(status.state)

    async def wait(self, state: DeviceState, within_s: float) -> None:
        """Wait until the device tells this state."""
        async with asyncio.timeout(within_s):
            while await self._news.get() is not state:
                pass


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()
