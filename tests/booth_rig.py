"""A whole booth for tests: the virtual booth as its own process, the controller in this one, the intake behind a transport."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from booth.config import Config
from booth.kiosk import BoothFacade, KioskState
from booth.runner import open_booth
from tests.fake_intake import FakeIntake

PROJECT = Path(__file__).resolve().parent.parent
STEP_S = 30.0


class Simulator:
    """The virtual booth as its own process, told what to do through its control socket; one may serve many tests."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            "hardware.sim",
            *arguments,
            "--json",
            "--with-parent",
            "--run-dir",
            str(folder),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT)
        assert self.process.stdout is not None
        self.facts: dict[str, Any] = json.loads(self.process.stdout.readline())
        self._faults: set[str] = set()

    def tell(self, **order: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as answers:
            line.settimeout(STEP_S)
            line.connect(self.facts["control"])
            line.sendall(json.dumps(order).encode() + b"\n")
            answer: dict[str, Any] = json.loads(answers.readline())
        assert "error" not in answer, answer
        return answer

    def fault(self, name: str, *, on: bool = True) -> None:
        (self._faults.add if on else self._faults.discard)(name)
        self.tell(fault=name, on=on)

    def calm(self) -> None:
        """Nobody there, nothing broken."""
        for name in tuple(self._faults):
            self.fault(name, on=False)
        self.tell(sitter="absent")
        self.tell(show_code=None)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(STEP_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


def booth_config(folder: Path, pki: Path, devices: str, **sections: dict[str, Any]) -> Config:
    path = folder / "booth.toml"
    wanted = {"exposure_mode": '"manual"', **sections["controls"]} if "controls" in sections else {}
    controls = "\n[controls.settings]\n" + "\n".join(f"{key} = {value}" for key, value in wanted.items())
    path.write_text(
        f"""
[booth]
id = "booth-0001"
site = "site"
centre = "centre"
data_dir = "data"
[profile]
name = "{sections.get("profile", {}).get("name", "demo")}"
[intake]
url = "https://intake.example"
trust = "{pki / "ca.pem"}"
[keys]
signer = "file:{pki / "booth.key"}"
recipients = ["{pki / "desk.hpke.pub"}"]
[outbox]
min_free_bytes = {sections.get("outbox", {}).get("min_free_bytes", 0)}
[visit]
patience = {sections.get("visit", {}).get("patience", 1.0)}
active_light = {str(sections.get("visit", {}).get("active_light", False)).lower()}
{devices}{controls}""",
        "utf-8",
    )
    return Config.load(path)


class Watcher:
    """Follows the booth's states as a page would."""

    def __init__(self, booth: BoothFacade) -> None:
        self.booth = booth
        self.seen: list[KioskState] = []

    @property
    def path(self) -> list[str]:
        """The states in order, each change once."""
        names = [state.state for state in self.seen]
        return [name for name, before in zip(names, [None, *names], strict=False) if name != before]

    async def until(self, wanted: Callable[[KioskState], bool] | str, within_s: float = STEP_S) -> KioskState:
        """Waits for a state by name or condition."""
        condition = (lambda state: state.state == wanted) if isinstance(wanted, str) else wanted
        try:
            async with asyncio.timeout(within_s), self.booth.subscribe() as states:
                async for state in states:
                    if not self.seen or self.seen[-1] != state:
                        self.seen.append(state)
                    if condition(state):
                        return state
        except TimeoutError:
            raise AssertionError(f"not reached {wanted}; last {self.booth.state}; {self.path}") from None
        raise AssertionError("the states ended")


@asynccontextmanager
async def running_booth(config: Config, intake: FakeIntake) -> AsyncIterator[Watcher]:
    async with open_booth(config, transport=intake) as booth:
        yield Watcher(booth)
