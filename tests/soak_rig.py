"""A whole booth on a virtual clock: everything of the product but the driver's wire and the face networks.

Real: runner, visit, performer, senses, checking thread, station, lamp keeper, record, attempt, portrait and chip encoders, face record, packages,
signatures, HPKE, outbox on a disk, uplink, revocation watch, log witness, pages over loopback (HTTP, events, preview), and the intake as a process of
its own behind TLS. Stand-ins, each at a seam: camera and lamps (`hardware.camera.Camera`, `hardware.lights.Lights`); the networks' answers (one still of a
rendered sitter, judged once by the real model; every attempt gets copies of its pixels and its report); the disk below the outbox and the
transport of the uplink pass through and fail when told.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import subprocess
import sys
import threading
import weakref
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import cv2
import httpx2
import zxingcpp

from booth.attempt import Attempt, Candidate, judge_burst
from booth.disk import DiskFiles
from booth.health import MAX_EVENTS
from booth.intake_answers import trusting
from booth.runner import open_booth
from booth.sealing import Sealer
from booth.uplink import Uplink
from booth.visit import State, step
from booth.web import open_pages
from capture.frames import Frame
from capture.portrait import encode_jpeg
from crypto.keys import make_development_pki
from hardware.camera import CameraImage
from hardware.errors import CameraLostError, CameraTimeoutError, LightsTimeoutError
from hardware.link import DeviceState, DeviceStatus
from tests.booth_rig import PROJECT, booth_config
from tests.virtual_clock import Clock
from validation.errors import ModelFailedError
from validation.face import Face, FaceModel, Scene
from validation.profile import load_profile
from validation.report import Verdict

FRAME_S = 0.3  # between two preview pictures: as seldom as motion can be measured
PREVIEW = (480, 360)  # height, width
STILL = (853, 640)  # the smallest that satisfies the profile
SMALL = 4  # most visits have a portrait of a quarter of the width and height: the encoders are the same
NUMBER = "AB12345677"
LAMPS = "".join(
    f"[lights.channels.{name}]\nsegment = {number}\n"
    for number, name in enumerate(("key_left", "key_right", "fill_top", "background"))
)
DEVICES = f'[camera]\nurl = "http://127.0.0.1:9/"\n[lights]\nurl = "wled+serial:///dev/null"\n{LAMPS}[controls]\nurl = "visca+serial:///dev/null"\n'


class Template:
    """What the real model said of one sitter, at full size and small."""

    def __init__(self, model: FaceModel) -> None:
        self.profile = load_profile("demo")
        pixels = cv2.imread(str(PROJECT / "hardware/sim/applicants/stills/anna/neutral.jpg"))
        self.attempt = judge_burst((Frame(pixels.copy(), 1, 1, "PNG", lossy=False),), self.profile, model)
        assert self.attempt.report.compliant
        scene = model.scene(cv2.resize(pixels, PREVIEW[::-1]), mask=False)
        assert scene.face is not None
        self.landmarks = scene.face.landmarks
        best = self.attempt.best
        small = cv2.resize(best.portrait, None, fx=1 / SMALL, fy=1 / SMALL, interpolation=cv2.INTER_AREA)
        self.portraits = {False: (small, best.landmarks / SMALL), True: (best.portrait, best.landmarks)}
        self.chips = {
            False: self.profile.chip.model_copy(
                update={"width_px": small.shape[1], "height_px": small.shape[0], "bytes": 5_000}
            ),
            True: self.profile.chip,
        }
        self.preview = cv2.resize(pixels, PREVIEW[::-1])
        self.still = cv2.resize(pixels, STILL[::-1])
        code = cv2.QRCodeEncoder.create().encode(NUMBER)
        code = cv2.copyMakeBorder(code, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=255)
        code = cv2.resize(code, None, fx=6, fy=6, interpolation=cv2.INTER_NEAREST)
        self.coded = self.preview.copy()
        self.coded[100 : 100 + code.shape[0], 100 : 100 + code.shape[1]] = code[:, :, None]
        assert zxingcpp.read_barcodes(self.coded)[0].text == NUMBER

    def report(self, *, passed: bool):
        """A report of its own for each attempt."""
        report = self.attempt.report.model_copy(deep=True)
        if passed:
            return report
        first = report.findings[0].model_copy(update={"verdict": Verdict.FAIL, "advice": "advice.closer"})
        return report.model_copy(update={"findings": (first, *report.findings[1:])})


@dataclass
class Orders:
    """What goes wrong, and who sits there; set by the director of the visits."""

    code: bool = False  # the sitter holds the code to the camera
    away: bool = False  # nobody sits right
    passes: bool = True  # the portrait keeps every rule
    full: bool = False  # portrait at the size of the profile
    still_fails: int = 0
    camera_lost: bool = False
    lamps_fail: int = 0
    live_fails: int = 0  # the networks fail on a preview frame
    judge_fails: int = 0
    judge_waits: bool = False  # judging takes longer than its limit
    seal_waits: bool = False
    disk_fails: int = 0
    intake_fails: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)  # what waits goes on


class SimCamera:
    """Pictures by the virtual clock."""

    formats = (None, None)

    def __init__(self, template: Template, orders: Orders, clock: Clock, on_status) -> None:
        self._template, self._orders, self._clock, self._on_status = template, orders, clock, on_status
        self._pictures = {True: template.coded, False: template.preview}
        for picture in self._pictures.values():
            picture.flags.writeable = False
        self._sequence = 0
        self._newest: CameraImage | None = None
        self.status = DeviceStatus("camera", "sim", DeviceState.READY, 0)

    def plug(self, *, lost: bool) -> None:
        state = DeviceState.LOST if lost else DeviceState.READY
        if state is not self.status.state:
            self._orders.camera_lost = lost
            self.status = replace(self.status, state=state, since_ns=self._clock.monotonic_ns())
            self._on_status(self.status)

    def preview(self) -> CameraImage | None:
        return None if self._orders.camera_lost else self._newest

    def rest(self, resting: bool) -> None:
        self.resting = resting

    async def next_preview(self, after_sequence: int, timeout_s: float) -> CameraImage:
        await asyncio.sleep(FRAME_S)
        if self._orders.camera_lost:
            raise CameraLostError("The cable is out.")
        self._sequence += 1
        pixels = self._pictures[self._orders.code]
        self._newest = CameraImage(pixels, self._clock.monotonic_ns(), self._sequence, "JPEG", lossy=True)
        return self._newest

    async def still(self, timeout_s: float = 5.0) -> CameraImage:
        await asyncio.sleep(0.05)
        if self._orders.camera_lost:
            raise CameraLostError("The cable is out.")
        if self._orders.still_fails:
            self._orders.still_fails -= 1
            raise CameraTimeoutError("No picture came.")
        self._sequence += 1
        pixels = self._template.still.copy()
        return CameraImage(pixels, self._clock.monotonic_ns() + 1, self._sequence, "PNG", lossy=False)


class SimLights:
    """Lamps that say what they were told."""

    acknowledged_by = "echo"

    def __init__(self, orders: Orders, on_status) -> None:
        self._orders = orders
        self.levels_pct: dict[str, float] = {}
        self.status = DeviceStatus("lights", "sim", DeviceState.READY, 0)

    async def set_levels(self, levels_pct):
        await asyncio.sleep(0.02)
        if self._orders.lamps_fail:
            self._orders.lamps_fail -= 1
            raise LightsTimeoutError("The lamps do not answer.")
        self.levels_pct = {**self.levels_pct, **levels_pct}
        return self.levels_pct


class SimDisk(DiskFiles):
    """The real disk, until it is told to be full."""

    orders = Orders()

    def write_new(self, path: Path, data: bytes) -> None:
        if self.orders.disk_fails and path.name.endswith(".partial"):
            self.orders.disk_fails -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_new(path, data)


class Wire(httpx2.AsyncBaseTransport):
    """The way to the real intake: time stands still while it answers."""

    def __init__(self, trust: Path, clock: Clock, orders: Orders) -> None:
        self._inner = httpx2.AsyncHTTPTransport(verify=trusting(trust))
        self._clock, self._orders = clock, orders
        self.answers: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        packet = "/packets/" in request.url.path and request.method in {"PUT", "PATCH", "POST"}
        failure = self._orders.intake_fails.pop() if packet and self._orders.intake_fails else None
        if failure == "refused":
            self.answers["refused"] += 1
            raise httpx2.ConnectError("Connection refused", request=request)
        if failure == "503":
            self.answers["503"] += 1
            return httpx2.Response(503, json={"code": "intake.unavailable", "retry": True}, request=request)
        with self._clock.outside():
            answer = await self._inner.handle_async_request(request)
            body = await answer.aread()
            await answer.aclose()
        if failure == "cut":  # the intake has it, the booth does not know
            self.answers["cut"] += 1
            raise httpx2.ReadError("Connection reset by peer", request=request)
        if packet:
            self.answers[str(answer.status_code)] += 1
        headers = [
            (k, v) for k, v in answer.headers.items() if k not in {"date", "content-encoding", "transfer-encoding"}
        ]
        return httpx2.Response(answer.status_code, headers=headers, content=body, request=request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Ledger:
    """Every change of state of every visit, as the visit itself makes them."""

    def __init__(self) -> None:
        self.began = self.cleared = self.sealed = 0
        self.ended: Counter[str] = Counter()  # the state before CLEARING
        self.wrong: list[str] = []
        self.faults: Counter[str] = Counter()
        self._clear = True

    def step(self, visit, happening):
        after, effects = step(visit, happening)
        if after.turn != visit.turn:
            self._note(visit, after)
        return after, effects

    def _note(self, before, after) -> None:
        if before.state is State.ATTRACT and after.state is State.LANGUAGE:
            self.began += 1
            if not self._clear:
                self.wrong.append(f"visit {self.began} began before the one before it was cleared")
            self._clear = False
        if after.state is State.THANKS:
            self.sealed += 1
        if after.state is State.CLEARING and before.state is not State.CLEARING and not self._clear:
            self.ended[before.state.value] += 1
        if (
            after.state in {State.ATTRACT, State.OUT_OF_SERVICE}
            and before.state is not State.OUT_OF_SERVICE
            and not self._clear
        ):
            if before.state is State.CLEARING and before.wiped and after.visit_id is None and after.application is None:
                self.cleared += 1
            else:
                self.wrong.append(f"visit {self.began} came to {after.state} from {before.state}")
            self._clear = True
        if after.trouble is not None and after.trouble != before.trouble:
            self.faults[after.trouble.code] += 1


class SoakBooth:
    """The running booth and what holds its strings."""

    def __init__(self, template: Template, clock: Clock) -> None:
        self.template, self.clock, self.orders, self.ledger = template, clock, Orders(), Ledger()
        self.camera: SimCamera | None = None
        self.lights: SimLights | None = None
        self.wire: Wire | None = None
        self.runner = None
        self.address = ""
        self.intake: subprocess.Popen[bytes] | None = None
        self.ghosts: list[weakref.ref] = []  # of everything personal; dead after its visit

    # --- stand-ins ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def open_camera(self, settings, on_status=None):
        self.camera = SimCamera(self.template, self.orders, self.clock, on_status)
        yield self.camera

    @contextlib.asynccontextmanager
    async def open_lights(self, url, channels, on_status=None):
        self.lights = SimLights(self.orders, on_status)
        yield self.lights

    def judge(self, frames, profile, model, series=None):
        orders = self.orders
        if orders.judge_fails:
            orders.judge_fails -= 1
            raise ModelFailedError("The networks failed.")
        if orders.judge_waits:
            self._wait()
        portrait, landmarks = self.template.portraits[orders.full]
        candidates = []
        for frame in frames:
            frame.wipe()
            report = self.template.report(passed=orders.passes)
            candidates.append(Candidate(report, frame.at_ns, frame, portrait.copy(), None, landmarks.copy()))
        best = candidates[-1]
        attempt = Attempt(tuple(candidates), best, encode_jpeg(best.portrait))
        self.ghosts += [weakref.ref(one) for one in (attempt, best, best.frame, best.portrait)]
        return attempt

    def seal(self, sealer, *arguments):
        chip = self.template.chips[self.orders.full]
        self.ghosts.append(weakref.ref(arguments[1]))  # the application
        sealed = self._seal(replace(sealer, chip=chip), *arguments)
        if self.orders.seal_waits:
            self._wait()
        return sealed

    _seal = staticmethod(Sealer.seal)

    def _wait(self) -> None:
        with self.clock.long():
            assert self.orders.release.wait(120)

    def assessor(self, model, profile):
        rig = self

        class Assessor:
            series = None

            def assess(self, pixels, *, still_size=None):
                orders = rig.orders
                if orders.live_fails:
                    orders.live_fails -= 1
                    raise ModelFailedError("The networks failed.")
                face = Face(rig.template.landmarks, pixels.shape[1], pixels.shape[0])
                return Scene((face,)), rig.template.report(passed=not orders.away)

            def forget(self) -> None:
                pass

        return Assessor()

    # --- the booth ---------------------------------------------------------------------------------------------------

    def busy(self) -> bool:
        """Whether the checking thread has work: it waits for its inbox when it has none."""
        checker = self.checker
        with checker._inbox:
            work = checker._frame is not None or checker._jobs or checker._forgetting
            return bool(work) or not (checker._inbox._waiters or checker._stopping)

    @contextlib.asynccontextmanager
    async def open(self, folder: Path):
        pki = make_development_pki(folder / "pki")
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(self._intake(folder, pki))
            loaded = booth_config(folder, pki, DEVICES)
            intake = loaded.intake.model_copy(update={"url": url})
            config = loaded.model_copy(update={"intake": intake, "controls": None})
            for target, stand_in in {
                "capture.station.open_camera": self.open_camera,
                "capture.station.open_lights": self.open_lights,
                "booth.checker.FaceModel": _NoNetworks,
                "booth.checker.LiveAssessor": self.assessor,
                "booth.checker.LIVE_PERIOD_S": 0.0,
                "booth.checker.SCAN_PERIOD_S": 0.0,
                "booth.checker.RELOAD_PAUSE_S": 0.01,
                "booth.performer.judge_burst": self.judge,
                "booth.performer.step": self.ledger.step,
                "booth.sealing.Sealer.seal": lambda sealer, *arguments: self.seal(sealer, *arguments),  # noqa: PLW0108 - a method
                "booth.outbox.DiskFiles": lambda: self.disk,
                "booth.uplink.Uplink": lambda *arguments: Uplink(*arguments, monotonic=self.clock.monotonic),
                "booth.preview_socket.POLL_S": FRAME_S,
            }.items():
                stack.enter_context(mock.patch(target, stand_in))
            self.disk = SimDisk()
            self.disk.orders = self.orders
            self.wire = Wire(pki / "ca.pem", self.clock, self.orders)
            async with open_booth(config, transport=self.wire) as self.runner:
                self.checker = self.runner._performer.rooms.checker
                for number in range(MAX_EVENTS):  # as after the first weeks: what is bounded is full
                    self.runner._health.note("info", f"nothing: {number}")
                self.outbox = self.runner._performer.rooms.outbox
                self.clock.busy = self.busy
                async with open_pages(self.runner, 0) as self.address:
                    yield self
                self.clock.busy = lambda: False

    @contextlib.contextmanager
    def _intake(self, folder: Path, pki: Path):
        command = ["server.cli", "serve", "--data", str(folder / "intake"), "--pki", str(pki), "--port", "0"]
        with (folder / "intake.log").open("wb") as log:
            self.intake = subprocess.Popen(
                [sys.executable, "-m", *command, "--json-ready"], stdout=subprocess.PIPE, stderr=log, cwd=PROJECT
            )
            assert self.intake.stdout is not None
            try:
                yield json.loads(self.intake.stdout.readline())["url"].rstrip("/")
            finally:
                self.intake.terminate()
                self.intake.wait(30)
                self.intake.stdout.close()


class _NoNetworks:
    """A model that was loaded at once and remembers nobody."""

    def __init__(self, *, video: bool = False) -> None:
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def forget(self) -> None:
        pass
