"""The virtual booth put together: room, camera, serial devices, control socket; their start, their end, and the orders they take.

Start: run folder, serial ports (stable names), camera, control socket; only then is the configuration told. End: the reverse, nothing left.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware.sim.camera import Camera
from hardware.sim.card import CodeTooLongError
from hardware.sim.control import ControlSocket, OrderRefusedError
from hardware.sim.dmx import DmxWidget
from hardware.sim.faults import DEFAULT_DELAY_MS, Faults, UnknownFaultError
from hardware.sim.fixtures import UnknownLampError
from hardware.sim.lift import HIGH, LOW, LiftAxis
from hardware.sim.orders import DETAILS, fields, flag, now_ms, room_orders, room_state
from hardware.sim.passes import StackCache
from hardware.sim.port import Port
from hardware.sim.room import Room
from hardware.sim.scenarios import LAMPS, LIFT_ZERO_CM, PREVIEW_FPS, PREVIEW_SIZE, STATUS, USUAL_LENS_CM, Scenario
from hardware.sim.sheet import FRAME_HEIGHT_DEG
from hardware.sim.sitter import Sitter, UnknownActionError
from hardware.sim.visca import ViscaHead
from hardware.sim.wled import WledController

if TYPE_CHECKING:
    from collections.abc import Callable


class VirtualBooth:
    """One running booth."""

    def __init__(self, scenario: Scenario, run_dir: Path, port: int = 0) -> None:
        self.scenario = scenario
        self.run_dir = run_dir
        self.faults = Faults()
        self.cache = StackCache()
        self.room = Room(Sitter(scenario.person, "absent", 0.0), scenario.ambient)
        self.room.sitter = self.room.sitter.told(scenario.sitter, now_ms())
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
        self.lift = self._make_lift()
        self._orders = room_orders(self.room)

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
            lambda: self.room.metered(now_ms()),
            power_on_s=self.scenario.power_on_s,
            standby=self.scenario.standby,
        )
        port.attach(head)
        self.room.head = head.settings
        return head

    def _make_lift(self) -> LiftAxis | None:
        if not self.scenario.lift:
            return None
        port = self.ports["lift"] = Port("lift", self.run_dir / "lift", self.faults)
        axis = LiftAxis(port.send, time.monotonic, self.faults, 10 * (USUAL_LENS_CM - LIFT_ZERO_CM))
        port.attach(axis)
        self.room.lens_cm = lambda: LIFT_ZERO_CM + axis.position_mm() / 10
        return axis

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

    @property
    def lift_url(self) -> str | None:
        """The height axis."""
        return f"lift+serial://{self.ports['lift'].link}" if self.lift is not None else None

    def toml(self) -> str:
        """The part of booth.toml that matches this booth."""
        lines = ["[camera]", f'url = "{self.camera_url}"', f'still_url = "{self.still_url}"']
        lines += [f"rotate_deg = {self.scenario.rotate_deg}", ""]
        if self.controls_url:
            lines += ["[controls]", f'url = "{self.controls_url}"', ""]
        if self.lift_url:
            lines += ["[lift]", f'url = "{self.lift_url}"', f"zero_cm = {LIFT_ZERO_CM:g}"]
            lines += [f"low_mm = {LOW / 10:g}", f"high_mm = {HIGH / 10:g}", ""]
            lines += ["[height]", f"vertical_fov_deg = {FRAME_HEIGHT_DEG:g}", ""]
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
            "lift": str(self.ports["lift"].link) if "lift" in self.ports else None,
            "lift_url": self.lift_url,
            "control": str(self.control.path),
        }

    # ---- orders from the control socket

    async def order(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carries out one object."""
        answer: dict[str, Any] = {}
        try:
            for name, value in request.items():
                if name in self._orders:
                    self._orders[name](value, request)
                elif name == "visca":
                    self._order_visca(value)
                elif name == "camera":
                    self._order_camera(value)
                elif name == "fault":
                    await self._order_fault(str(value), request)
                elif name == "state":
                    answer |= self.state()
                elif name not in DETAILS:
                    raise OrderRefusedError(f"there is no order '{name}'")
        except (UnknownActionError, UnknownLampError, UnknownFaultError, CodeTooLongError) as error:
            raise OrderRefusedError(str(error)) from error
        return answer

    def _order_visca(self, value: object) -> None:
        if self.head is None or value != "network_change":
            raise OrderRefusedError('the only VISCA order is "network_change", in a booth with a controlled camera')
        self.head.announce()

    def _order_camera(self, value: object) -> None:
        wanted = fields(
            value, {"noise": (0, 20), "latency_ms": (0, 2000)}, 'camera takes {"noise": 1, "latency_ms": 0}'
        )
        self.room.noise = wanted.get("noise", 1.0)
        self.camera.latency_ms = wanted.get("latency_ms", 0.0)

    async def _order_fault(self, name: str, request: dict[str, Any]) -> None:
        on = flag(request, "on")
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
        return {
            "scenario": self.scenario.name,
            **room_state(self.room),
            "faults": self.faults.state(),
            "ports": {name: port.state() for name, port in self.ports.items()},
            "lights": self.lights.state() if self.lights is not None else None,
            "visca": self.head.state() if self.head is not None else None,
            "lift": self.lift.state() if self.lift is not None else None,
            "camera": self.camera.state(),
            "cache_bytes": self.cache.size_bytes,
            "rss_mb": round(_rss_mb(), 1),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "cpu_s": round(time.process_time(), 3),
            "up_s": round(time.monotonic() - self._started_s, 3),
        }


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
