"""A runner whose rooms are stand-ins that a test holds in its hand: nothing happens until the test says so."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest

from booth.attempt import Attempt, Candidate
from booth.checker import Live
from booth.config import Config
from booth.errors import (
    CommitRevokedError,
)
from booth.events import Application
from booth.kiosk import (
    ChooseLanguage,
    Consent,
    Identify,
    Oval,
    Overlay,
    Start,
)
from booth.outbox import Links, OutboxStatus
from booth.performer import Rooms
from booth.runner import Runner
from booth.sealing import SealedVisit, reference_of
from booth.staff import WRONG
from booth.uplink import UplinkStatus
from capture.frames import Frame
from capture.station import Size
from hardware.link import DeviceState, DeviceStatus
from validation.profile import load_profile
from validation.report import Finding, Level, Limit, Report, Verdict

NUMBER = "AB12345677"
STATUS_TOKEN = "k" * 25 + "a"
LINKS = Links("a1" * 32, "b2" * 32)
STAFF_CODE = "482103 937556 211840"
OVERLAY = Overlay(oval=Oval(centre_x=0.5, centre_y=0.4, radius_x=0.2, radius_y=0.3), eye_line_y=0.4)
FRAME_NS = 60_000_000


def config(tmp_path, **visit):
    return Config(
        booth={"id": "booth-0001", "site": "s", "centre": "c", "data_dir": tmp_path},
        camera={"url": "http://127.0.0.1:1/preview.mjpg"},
        profile={"name": "demo"},
        intake={"url": "https://intake.example", "trust": tmp_path / "ca.pem"},
        keys={"signer": "file:/booth.key", "recipients": [tmp_path / "desk.hpke.pub"]},
        visit={"active_light": False, **visit},
    )


def report(verdict=Verdict.PASS, advice="advice.none"):
    finding = Finding(
        rule="pose.yaw", value=1.0, unit="°", limit=Limit(high=5), verdict=verdict, level=Level.REJECT,
        source="test", advice=advice,
    )  # fmt: skip
    return Report(
        profile="demo", profile_version="1", judged="crop", width=6, height=8, findings=(finding,), software="test"
    )


def frame(sequence=1):
    return Frame(np.full((8, 6, 3), 77, np.uint8), sequence, sequence, "PNG", lossy=False)


def attempt(verdict=Verdict.PASS):
    candidate = Candidate(report(verdict), 1, frame(), np.full((8, 6, 3), 99, np.uint8), None)
    return Attempt((candidate,), candidate, b"jpeg bytes")


class Station:
    devices = (DeviceStatus("camera", "x", DeviceState.READY, 0),)
    lights_acknowledged_by = None
    picture = "live"

    def __init__(self):
        self.frames = [frame(n) for n in (1, 2, 3)]
        self.failure = None
        self.camera_set = 0

    def preview(self):
        return self.frames[0]

    async def next_preview(self, after_sequence):
        await asyncio.Event().wait()

    async def require_profile(self, profile):
        return Size(960, 1280)

    async def apply_controls(self):
        self.camera_set += 1

    async def burst(self, count):
        if self.failure:
            raise self.failure
        return tuple(self.frames[:count])


class Checker:
    still_size = None

    def __init__(self):
        self.results = []
        self.forgotten = 0
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    def watch(self, watch):
        self.watched = watch

    async def run(self, work):
        self.asked.set()
        await self.go.wait()
        result = self.results.pop(0) if self.results else attempt()
        if isinstance(result, Exception):
            raise result
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("booth.performer.judge_burst", lambda *_: result)
            return work(None)

    def series(self):
        return None

    async def forget(self):
        self.forgotten += 1


class Lamps:
    def __init__(self):
        self.lit = asyncio.Event()
        self.lit.set()
        self.scenes = []

    def want(self, scene):
        self.scenes.append(scene)

    def repeat(self):
        pass

    def saw(self, reading):
        pass


class Height:
    """A booth where nobody knows an angle: nothing moves, nothing is waited for."""

    moving, aiming, settled, instruction, elevation_deg = False, False, True, None, None

    def __init__(self):
        self.wishes = []

    def want(self, wish):
        self.wishes.append(wish)

    def saw(self, eyes, at_ns):
        pass

    async def still(self):
        pass

    def as_record(self):
        return None


class Outbox:
    status = OutboxStatus()

    def __init__(self):
        self.stored = []
        self.failure = None
        self.before_permit, self.after_permit = threading.Event(), threading.Event()
        self.before_permit.set()
        self.after_permit.set()
        self.entered = threading.Event()

    def require_room(self):
        pass

    def take_problems(self):
        return ()

    def put(self, packet, packet_id, permit, links):
        assert links == LINKS
        self.entered.set()
        assert self.before_permit.wait(10)
        if self.failure:
            raise self.failure
        if not permit():
            raise CommitRevokedError("given up")
        assert self.after_permit.wait(10)
        self.stored.append(packet_id)


class Uplink:
    status = UplinkStatus()

    def __init__(self):
        self.woken = 0

    def wake(self):
        self.woken += 1


class Sealer:
    away = None

    def __init__(self):
        self.expired = None
        self.days = 300.0

    def require_valid(self, now):
        if self.expired:
            raise self.expired

    def require_key(self):
        if self.away:
            raise self.away

    def certificate_days(self, now):
        return self.days

    def seal(self, record, application, language, acknowledged_by):
        assert application.number == NUMBER
        return SealedVisit(b"sealed", "0123456789ab", reference_of("0123456789ab"), STATUS_TOKEN, LINKS)


class Staff:
    """Knows one code."""

    wait_s = 0

    def __init__(self):
        self.go = threading.Event()
        self.go.set()
        self.asked = 0

    def check(self, code):
        self.asked += 1
        assert self.go.wait(10)
        return "482103" if code == STAFF_CODE else WRONG


class Identifier:
    """Takes every number, or says what it was told to."""

    def __init__(self):
        self.answer = None
        self.given = []

    async def identify(self, given):
        self.given.append(given)
        return self.answer or Application(given.text, given.source, registry="filed")


class Stage:
    """A runner between fake rooms."""

    def __init__(self, runner, rooms):
        self.booth, self.rooms = runner, rooms
        self.senses = runner.senses
        self.clock_ns = 10**9

    async def until(self, *names):
        return await self.shown(lambda state: state.state in names)

    async def shown(self, wanted):
        async with asyncio.timeout(10), self.booth.subscribe() as states:
            async for state in states:
                if wanted(state):
                    return state
        raise AssertionError

    def live(self, shown, motion=0.01, frames=1):
        for _ in range(frames):
            self.clock_ns += FRAME_NS
            self.senses.on_live(Live(shown, OVERLAY, motion, self.clock_ns))

    async def framing(self):
        for command in (Start(), ChooseLanguage(language="de"), Identify(number=NUMBER)):
            self.booth.post(command)
        await self.until("consent")
        self.booth.post(Consent(answer=True))
        assert self.booth.state.state == "framing"

    async def review(self):
        await self.framing()
        self.live(report(), frames=200)
        return await self.until("review", "assistance", "framing")


@asynccontextmanager
async def open_stage(folder, **visit):
    runner = Runner(config(folder, **visit), load_profile("demo"))
    with ThreadPoolExecutor(1) as worker:
        rooms = Rooms(
            Station(), Checker(), Lamps(), Outbox(), Uplink(), Sealer(), worker, Staff(), Identifier(), Height()
        )
        runner.start(rooms)
        try:
            yield Stage(runner, rooms)
        finally:
            await runner.close()
            rooms.outbox.before_permit.set()
            rooms.outbox.after_permit.set()
