"""The virtual booth put together: room, camera, serial devices, control socket; their start, their end, and the orders they take.

Start: run folder, serial ports (stable names), camera, control socket; only then is the configuration told. End: the reverse, nothing left.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardware.sim.camera import Camera
from hardware.sim.card import CodeTooLongError, card_width
from hardware.sim.control import ControlSocket, OrderRefusedError
from hardware.sim.dmx import DmxWidget
from hardware.sim.faults import DEFAULT_DELAY_MS, Faults, UnknownFaultError
from hardware.sim.passes import CHANNELS, StackCache, looks_of
from hardware.sim.port import Port
from hardware.sim.room import Room, UnknownLampError
from hardware.sim.scenarios import LAMPS, PREVIEW_FPS, PREVIEW_SIZE, STATUS, Scenario
from hardware.sim.scene import Place
from hardware.sim.sitter import Sitter, UnknownActionError
from hardware.sim.visca import ViscaHead
from hardware.sim.wled import WledController

if TYPE_CHECKING:
    from collections.abc import Callable

AMBIENT_LIMIT: Final = 4.0
PLACE_LIMIT, SMALLEST_SITTER = 2.0, 0.3


class VirtualBooth:
    """One running booth."""

    def __init__(self, scenario: Scenario, run_dir: Path, port: int = 0) -> None:
        self.scenario = scenario
        self.run_dir = run_dir
        self.faults = Faults()
        self.cache = StackCache()
        self.room = Room(Sitter(scenario.person, "absent", 0.0), scenario.ambient)
        self.room.sitter = self.room.sitter.told(scenario.sitter, _now_ms())
        self.camera = Camera(
            self.room,
            self.cache,
            self.faults,
            preview_size=PREVIEW_SIZE,
            still_size=scenario.still_size,
            fps=PREVIEW_FPS,
            rotate_deg=scenario.rotate_deg,
        )
        self.control = ControlSocket(run_dir / "control", self)
        self._http_port = port
        self._started_s = time.monotonic()
        self.ports: dict[str, Port] = {}
        self.lights = self._make_lights()
        self.head = self._make_head()

    def _make_lights(self) -> WledController | DmxWidget | None:
        if self.scenario.lights == "none":
            return None
        port = self.ports["lights"] = Port("lights", self.run_dir / "lights", self.faults)
        device: WledController | DmxWidget
        if self.scenario.lights == "wled":
            device = WledController(port.send, time.monotonic, self.faults)
        else:
            device = DmxWidget(port.send, self.scenario.dmx, self.faults)
        port.attach(device)
        self.room.lamps = device
        return device

    def _make_head(self) -> ViscaHead | None:
        if not self.scenario.controls:
            return None
        port = self.ports["visca"] = Port("visca", self.run_dir / "visca", self.faults)
        head = ViscaHead(
            port.send,
            time.monotonic,
            lambda delay_s, done: asyncio.get_running_loop().call_later(delay_s, done),
            self.faults,
            lambda: self.room.metered(self.room.source(_now_ms()), self.room.levels()),
            power_on_s=self.scenario.power_on_s,
            standby=self.scenario.standby,
        )
        port.attach(head)
        self.room.head = head.settings
        return head

    # ---- life

    async def start(self) -> None:
        """Makes everything reachable."""
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for port in self.ports.values():
            port.plug()
        await self.camera.start(self._http_port)
        await self.control.start()

    async def close(self) -> None:
        """Ends everything."""
        await self.control.close()
        await self.camera.close()
        if self.head is not None:
            self.head.close()
        for port in self.ports.values():
            port.unplug()

    # ---- what a booth's configuration needs to know

    @property
    def camera_url(self) -> str:
        """The preview."""
        return f"http://127.0.0.1:{self.camera.port}/preview.mjpg"

    @property
    def still_url(self) -> str:
        """The full-resolution still."""
        return f"http://127.0.0.1:{self.camera.port}/still.png"

    @property
    def lights_url(self) -> str | None:
        """The lamps."""
        return f"{self.scenario.lights}+serial://{self.ports['lights'].link}" if self.lights is not None else None

    @property
    def controls_url(self) -> str | None:
        """The camera's own control."""
        return f"visca+serial://{self.ports['visca'].link}" if "visca" in self.ports else None

    def toml(self) -> str:
        """The part of booth.toml that matches this booth."""
        lines = ["[camera]", f'url = "{self.camera_url}"', f'still_url = "{self.still_url}"']
        lines += [f"rotate_deg = {self.scenario.rotate_deg}", ""]
        if self.controls_url:
            lines += ["[controls]", f'url = "{self.controls_url}"', ""]
        if self.lights_url:
            lines += ["[lights]", f'url = "{self.lights_url}"', ""]
            for number, name in enumerate((*LAMPS, STATUS)):
                lines.append(f"[lights.channels.{name}]")
                if self.scenario.lights == "wled":
                    lines.append(f"segment = {number}")
                else:
                    channel = self.scenario.dmx[name]
                    lines.append(f"address = {channel.address}")
                    if channel.fine is not None:
                        lines.append(f"fine = {channel.fine}")
                lines.append("")
        return "\n".join(lines)

    def addresses(self) -> dict[str, str | None]:
        """The same, for programs."""
        return {
            "toml": self.toml(),
            "camera_url": self.camera_url,
            "still_url": self.still_url,
            "visca": str(self.ports["visca"].link) if "visca" in self.ports else None,
            "controls_url": self.controls_url,
            "lights": str(self.ports["lights"].link) if "lights" in self.ports else None,
            "lights_url": self.lights_url,
            "control": str(self.control.path),
        }

    # ---- orders from the control socket

    async def order(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carries out one object."""
        orders: dict[str, Callable[[Any], None]] = {
            "sitter": self._order_sitter,
            "person": self._order_person,
            "look": self._order_look,
            "place": self._order_place,
            "show_code": self._order_code,
            "ambient": self._order_ambient,
            "visca": self._order_visca,
        }
        answer: dict[str, Any] = {}
        try:
            for name, value in request.items():
                if name in orders:
                    orders[name](value)
                elif name == "lamp":
                    self.room.set_dead(str(value), dead=_flag(request, "dead"))
                elif name == "fault":
                    await self._order_fault(str(value), request)
                elif name == "state":
                    answer |= self.state()
                elif name not in {"dead", "on", "times", "ms"}:
                    raise OrderRefusedError(f"there is no order '{name}'")
        except (UnknownActionError, UnknownLampError, UnknownFaultError, CodeTooLongError) as error:
            raise OrderRefusedError(str(error)) from error
        return answer

    def _order_sitter(self, value: object) -> None:
        self.room.sitter = self.room.sitter.told(str(value), _now_ms())

    def _order_person(self, value: object) -> None:
        self.room.look = None
        self.room.sitter = self.room.sitter.replaced_by(str(value), _now_ms())

    def _order_look(self, value: object) -> None:
        looks = looks_of(self.room.sitter.person)
        if value is not None and value not in looks:
            raise OrderRefusedError(f"{self.room.sitter.person} cannot look '{value}'; possible: {', '.join(looks)}")
        self.room.look = None if value is None else looks[str(value)]

    def _order_place(self, value: object) -> None:
        where = value if isinstance(value, dict) else {}
        numbers = all(isinstance(number, int | float) and abs(number) <= PLACE_LIMIT for number in where.values())
        if not numbers or not where.keys() <= {"x", "y", "size"} or where.get("size", 1) < SMALLEST_SITTER:
            raise OrderRefusedError(
                'a place is {"x": to the right, "y": down, "size": 1 as rendered}, in frame sizes; {} is the usual one'
            )
        self.room.place = Place(**where)

    def _order_code(self, value: object) -> None:
        if value is not None and (not isinstance(value, str) or not value):
            raise OrderRefusedError("show_code takes a text, or null to put the card away")
        if isinstance(value, str):
            card_width(value)
        self.room.code = value

    def _order_ambient(self, value: object) -> None:
        if not isinstance(value, int | float) or not 0 <= value <= AMBIENT_LIMIT:
            raise OrderRefusedError(f"ambient is a light level from 0 to {AMBIENT_LIMIT:g}")
        self.room.ambient = float(value)

    def _order_visca(self, value: object) -> None:
        if self.head is None or value != "network_change":
            raise OrderRefusedError('the only VISCA order is "network_change", in a booth with a controlled camera')
        self.head.announce()

    async def _order_fault(self, name: str, request: dict[str, Any]) -> None:
        on = _flag(request, "on")
        times, delay_ms = request.get("times"), request.get("ms", DEFAULT_DELAY_MS)
        if times is not None and (not isinstance(times, int) or times < 1):
            raise OrderRefusedError("times is a whole number from 1")
        if not isinstance(delay_ms, int | float) or delay_ms < 0:
            raise OrderRefusedError("ms is a number of milliseconds")
        self.faults.set(name, on=on, times=times, delay_ms=float(delay_ms))
        device, _, what = name.partition(".")
        if device in self.ports:
            self._turn_cable(self.ports[device], what, on=on)
        elif name == "camera.move":
            await (self.camera.kill() if on else self.camera.move())
        elif name == "camera.kill":
            await (self.camera.kill() if on else self.camera.start())

    @staticmethod
    def _turn_cable(port: Port, what: str, *, on: bool) -> None:
        if what in {"unplug", "move"} and on:
            port.unplug(elsewhere=what == "move")
        elif what in {"unplug", "move", "unplug_on_write", "unplug_on_answer"} and not on:
            port.plug()
        elif what == "deaf":
            (port.deafen if on else port.hear)()
        elif what == "babble" and on:
            port.babble()

    def state(self) -> dict[str, Any]:
        """Everything, for tests and people."""
        action, frame = self.room.sitter.at(_now_ms())
        return {
            "scenario": self.scenario.name,
            "sitter": {
                "person": self.room.sitter.person,
                "told": self.room.sitter.action,
                "phase": action,
                "frame": frame,
                "look": self.room.look.name if self.room.look is not None else None,
                "place": [self.room.place.x, self.room.place.y, self.room.place.size],
            },
            "code": self.room.code,
            "levels": {
                name: [round(part, 4) for part in level]
                for name, level in zip(CHANNELS, self.room.levels(), strict=True)
            },
            "dead": sorted(self.room.dead),
            "faults": self.faults.state(),
            "ports": {name: port.state() for name, port in self.ports.items()},
            "lights": self.lights.state() if self.lights is not None else None,
            "visca": self.head.state() if self.head is not None else None,
            "camera": self.camera.state(),
            "cache_bytes": self.cache.size_bytes,
            "rss_mb": round(_rss_mb(), 1),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "cpu_s": round(time.process_time(), 3),
            "up_s": round(time.monotonic() - self._started_s, 3),
        }


def _flag(request: dict[str, Any], name: str) -> bool:
    value = request.get(name, True)
    if not isinstance(value, bool):
        raise OrderRefusedError(f"'{name}' is true or false")
    return value


def _now_ms() -> float:
    return time.monotonic_ns() / 1e6


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


async def serve(booth: VirtualBooth, ready: Callable[[VirtualBooth], None], stop: asyncio.Event) -> None:
    """Runs a booth until it is told to stop."""
    try:
        await booth.start()
        ready(booth)
        await stop.wait()
    finally:
        await booth.close()
