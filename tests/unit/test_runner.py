"""Effects performed and outcomes brought back: confirmations only after the commit, late results wiped, nothing left of a visit."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest

from booth.attempt import Attempt, Candidate
from booth.checker import Live
from booth.config import Config
from booth.errors import (
    CertificateNotValidError,
    CommandMalformedError,
    CommandRefusedError,
    CommitRevokedError,
    OutboxWriteError,
)
from booth.kiosk import (
    Accept,
    Cancel,
    ChooseLanguage,
    Consent,
    Identify,
    Oval,
    Overlay,
    Retake,
    Start,
    read_command,
)
from booth.outbox import OutboxStatus
from booth.performer import Permit, Rooms
from booth.runner import Runner
from booth.sealing import SealedVisit, reference_of
from booth.uplink import UplinkStatus
from capture.frames import Frame
from capture.station import Size
from hardware.errors import CameraLostError, CameraTimeoutError
from hardware.link import DeviceState, DeviceStatus
from validation.profile import load_profile
from validation.report import Finding, Level, Limit, Report, Verdict

NUMBER = "AB-1234567"
OVERLAY = Overlay(oval=Oval(centre_x=0.5, centre_y=0.4, radius_x=0.2, radius_y=0.3), eye_line_y=0.4)
FRAME_NS = 60_000_000


def config(tmp_path, **visit):
    return Config(
        booth={"id": "booth-0001", "site": "s", "centre": "c", "data_dir": tmp_path},
        camera={"url": "http://127.0.0.1:1/preview.mjpg"},
        profile={"name": "demo"},
        intake={"url": "https://intake.example", "trust": tmp_path / "ca.pem"},
        keys={"signer": "file:/booth.key", "recipient": tmp_path / "desk.hpke.pub"},
        visit=visit,
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

    def preview(self):
        return self.frames[0]

    async def next_preview(self, after_sequence):
        await asyncio.Event().wait()

    async def require_profile(self, profile):
        return Size(960, 1280)

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


class Outbox:
    problems = ()
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

    def put(self, packet, packet_id, permit):
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
    def __init__(self):
        self.expired = None

    def require_valid(self, now):
        if self.expired:
            raise self.expired

    def seal(self, record, application, language, acknowledged_by):
        assert application.number == NUMBER
        return SealedVisit(b"sealed", "0123456789ab", reference_of("0123456789ab"))


class Stage:
    """A runner between fake rooms."""

    def __init__(self, runner, rooms):
        self.booth, self.rooms = runner, rooms
        self.senses = runner.senses
        self.clock_ns = 10**9

    async def until(self, *names):
        async with asyncio.timeout(10), self.booth.subscribe() as states:
            async for state in states:
                if state.state in names:
                    return state
        raise AssertionError

    def live(self, shown, motion=0.01, frames=1):
        for _ in range(frames):
            self.clock_ns += FRAME_NS
            self.senses.on_live(Live(shown, OVERLAY, motion, self.clock_ns))

    async def framing(self):
        for command in (Start(), ChooseLanguage(language="de"), Identify(number=NUMBER), Consent(answer=True)):
            self.booth.post(command)
        assert self.booth.state.state == "framing"

    async def review(self):
        await self.framing()
        self.live(report(), frames=200)
        return await self.until("review", "assistance", "framing")


@pytest.fixture
def staged(tmp_path):
    @asynccontextmanager
    async def make(**visit):
        runner = Runner(config(tmp_path, **visit), load_profile("demo"))
        with ThreadPoolExecutor(1) as worker:
            rooms = Rooms(Station(), Checker(), Lamps(), Outbox(), Uplink(), Sealer(), worker)
            runner.start(rooms)
            try:
                yield Stage(runner, rooms)
            finally:
                await runner.close()
                rooms.outbox.before_permit.set()
                rooms.outbox.after_permit.set()

    return make


async def test_thanks_come_only_after_the_outbox_has_committed(staged, no_tasks_left):
    async with staged() as stage:
        stage.rooms.outbox.after_permit.clear()
        await stage.review()
        stage.booth.post(Accept())
        await asyncio.to_thread(stage.rooms.outbox.entered.wait, 10)
        assert stage.booth.state.state == "sealing"
        assert stage.booth.state.reference is None
        stage.rooms.outbox.after_permit.set()
        thanks = await stage.until("thanks")
        assert thanks.reference == "0123-4567"
        assert stage.rooms.outbox.stored == ["0123456789ab"]
        assert stage.rooms.uplink.woken == 1


async def test_a_time_limit_before_the_commit_saves_nothing_and_says_so(staged):
    async with staged(patience=0.01) as stage:
        stage.rooms.outbox.before_permit.clear()
        await stage.review()
        stage.booth.post(Accept())
        told = await stage.until("assistance")
        assert told.fault.message == "fault.not_saved"
        stage.rooms.outbox.before_permit.set()
        await stage.until("attract")
        assert stage.rooms.outbox.stored == []


async def test_a_time_limit_after_the_commit_has_begun_waits_for_it(staged):
    async with staged(patience=0.01) as stage:
        stage.rooms.outbox.after_permit.clear()
        await stage.review()
        stage.booth.post(Accept())
        await asyncio.to_thread(stage.rooms.outbox.entered.wait, 10)
        passed = asyncio.get_running_loop().time() + 0.7  # two limits of 0.3 s
        asyncio.get_running_loop().call_at(passed, stage.rooms.outbox.after_permit.set)
        assert (await stage.until("thanks", "assistance")).state == "thanks"


async def test_a_disk_that_fails_is_told_and_never_thanked_for(staged):
    async with staged() as stage:
        stage.rooms.outbox.failure = OutboxWriteError("The disk is broken.")
        await stage.review()
        stage.booth.post(Accept())
        told = await stage.until("assistance", "thanks")
        assert (told.state, told.fault.code, told.fault.message) == ("assistance", "outbox.write", "fault.not_saved")
        assert told.portrait is None


async def test_a_camera_that_fails_three_bursts_calls_staff(staged):
    async with staged() as stage:
        stage.rooms.station.failure = CameraTimeoutError("No picture came.")
        for _ in range(2):
            again = await stage.review() if stage.booth.state.state == "attract" else None
            if again is None:
                stage.live(report(), frames=200)
                again = await stage.until("framing", "assistance")
            assert again.fault.code == "camera.timeout"
            await stage.until("framing")
        stage.live(report(), frames=200)
        await stage.until("assistance")


async def test_an_unexpected_error_is_ours_ends_nothing_and_shows_no_personal_data(staged, caplog):
    async with staged() as stage:
        stage.rooms.checker.results = [ValueError("the defect")]
        told = await stage.review()
        assert (told.state, told.fault.code) == ("framing", "booth.unexpected")
        assert NUMBER not in caplog.text
        assert NUMBER not in repr(stage.booth.state)


async def test_the_shutter_waits_for_the_lamps(staged):
    async with staged() as stage:
        await stage.framing()
        stage.rooms.lamps.lit.clear()
        stage.live(report(), frames=200)
        assert stage.booth.state.state == "framing"
        stage.rooms.lamps.lit.set()
        stage.live(report(), frames=200)
        await stage.until("review")


async def test_a_countdown_runs_and_starts_anew_when_a_rule_breaks(staged):
    async with staged() as stage:
        await stage.framing()
        hold = int(load_profile("demo").hold_s * 1e9 / FRAME_NS) + 2
        stage.live(report(), frames=hold)
        assert stage.booth.state.countdown_s == 3
        stage.live(report(Verdict.FAIL, "advice.closer"))
        assert stage.booth.state.countdown_s is None
        stage.live(report(), frames=hold - 3)
        assert stage.booth.state.countdown_s is None
        assert stage.booth.state.state == "framing"


async def test_refused_portraits_show_their_findings_and_the_third_calls_staff(staged):
    async with staged() as stage:
        stage.rooms.checker.results = [attempt(Verdict.FAIL) for _ in range(3)]
        first = await stage.review()
        assert (first.compliant, first.tries_left, first.portrait) == (False, 2, "/api/visit/portrait?attempt=1")
        assert first.findings[0].verdict == "fail"
        for number in (2, 3):
            stage.booth.post(Retake())
            stage.live(report(), frames=200)
            last = await stage.until("review", "assistance")
            assert last.portrait == f"/api/visit/portrait?attempt={number}"
        assert last.state == "assistance"
        assert last.findings
        assert stage.booth.portrait() == b"jpeg bytes"


async def test_nothing_of_a_visit_is_left_after_clearing(staged):
    async with staged() as stage:
        made = attempt()
        portrait, still = made.best.portrait, stage.rooms.station.frames[0]
        stage.rooms.checker.results = [made]
        ghosts = [weakref.ref(item) for item in (made, made.best, made.best.frame)]
        await stage.review()
        ghosts.append(weakref.ref(stage.booth._performer.record))
        stage.booth.post(Cancel())
        assert not portrait.any()
        assert not made.best.frame.pixels.any()
        assert still is not None
        await stage.until("attract")
        del made
        gc.collect()
        assert [ghost() for ghost in ghosts] == [None] * len(ghosts)
        assert stage.booth.portrait() is None
        assert stage.booth.state.visit is None


async def test_a_result_that_comes_after_the_visit_is_wiped_at_once(staged):
    async with staged() as stage:
        late = attempt()
        stage.rooms.checker.results = [late]
        stage.rooms.checker.go.clear()
        await stage.framing()
        stage.live(report(), frames=200)
        await asyncio.wait_for(stage.rooms.checker.asked.wait(), 10)
        record = stage.booth._performer.record
        stage.booth.post(Cancel())
        assert not record.add(late, stage.booth._performer.visit.turn)
        assert not late.best.portrait.any()


async def test_judging_that_ran_over_its_limit_counts_nowhere_and_keeps_its_stills_until_it_is_done(staged):
    async with staged(patience=0.01) as stage:
        begun, go_on, seen = threading.Event(), threading.Event(), []
        late, burst = attempt(), stage.rooms.station.frames

        async def slow(work):
            def judge(frames, *_):
                begun.set()
                assert go_on.wait(10)
                seen.extend(int(still.pixels.min()) for still in frames)
                return late

            def job():
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("booth.performer.judge_burst", judge)
                    return work(None)

            return await asyncio.to_thread(job)

        stage.rooms.checker.run = slow
        await stage.framing()
        stage.live(report(), frames=200)
        assert await asyncio.to_thread(begun.wait, 10)
        record = stage.booth._performer.record
        told = await stage.until("framing", "review")
        assert (told.state, told.fault.message) == ("framing", "fault.slow")
        assert [error["code"] for error in json.loads(record.attempts_json())["errors"]] == ["visit.slow"]
        assert all(still.pixels.all() for still in burst), "the checker still looks at them"
        go_on.set()
        async with asyncio.timeout(10):
            while late.best.portrait.any():  # the job's thread overwrites it
                await asyncio.to_thread(lambda: None)
        assert seen == [77, 77, 77]
        assert not any(still.pixels.any() for still in burst)
        assert record.tries == 0
        assert record.attempt is None


async def test_an_attempt_of_another_turn_is_refused_and_overwritten(staged):
    async with staged() as stage:
        await stage.framing()
        performer, late = stage.booth._performer, attempt()
        assert not performer.record.add(late, performer.visit.turn - 1)
        assert not late.best.portrait.any()
        assert performer.record.add(attempt(), performer.visit.turn)
        assert performer.record.tries == 1


async def test_a_visit_is_cleared_only_when_the_checker_has_forgotten_it(staged):
    async with staged(patience=0.01) as stage:
        forgotten, asked = asyncio.Event(), asyncio.Queue()

        async def forget():
            asked.put_nowait(None)
            await forgotten.wait()

        stage.rooms.checker.forget = forget
        await stage.framing()
        stage.booth.post(Cancel())
        for _ in range(2):  # its limit passes, and it clears again instead of inviting the next
            await asyncio.wait_for(asked.get(), 10)
            assert stage.booth.state.state == "clearing"
        forgotten.set()
        await stage.until("attract")


async def test_an_expired_certificate_closes_the_booth_until_it_is_renewed(staged):
    async with staged(patience=0.01) as stage:
        stage.rooms.sealer.expired = CertificateNotValidError("The booth's certificate expired.")
        stage.senses._check_certificate(stage.rooms)
        assert stage.booth.state.state == "out_of_service"
        assert stage.booth.state.fault.code == "keys.certificate"
        stage.rooms.sealer.expired = None
        stage.senses._check_certificate(stage.rooms)
        await stage.until("attract")


async def test_codes_count_only_while_identifying_and_only_when_they_can_be_an_application(staged):
    async with staged() as stage:
        stage.senses.on_code(NUMBER)
        assert stage.booth.state.state == "attract"
        stage.booth.post(Start())
        stage.booth.post(ChooseLanguage(language="ru"))
        stage.senses.on_code("https://example.org/menu")
        assert stage.booth.state.state == "identify"
        stage.senses.on_code(f" {NUMBER.lower()} ")
        assert stage.booth.state.state == "consent"


async def test_a_command_out_of_place_is_refused_and_changes_nothing(staged):
    async with staged() as stage:
        before = stage.booth.state
        with pytest.raises(CommandRefusedError, match="attract"):
            stage.booth.post(Accept())
        assert stage.booth.state == before
        assert before.commands == ("start",)


async def test_a_device_that_is_lost_between_visits_closes_the_booth_until_it_is_back(staged):
    async with staged(patience=0.01) as stage:
        lost = DeviceStatus("camera", "x", DeviceState.LOST, 0, "The cable is out.")
        stage.senses.on_device(lost)
        assert stage.booth.state.state == "out_of_service"
        assert stage.booth.state.fault.message == "fault.camera"
        stage.senses.on_trouble("preview", CameraLostError("Gone."))
        stage.senses.on_device(Station.devices[0])
        assert stage.booth.state.state == "out_of_service"
        stage.senses.on_trouble("preview", None)
        await stage.until("attract")


async def test_a_slow_reader_gets_the_newest_state_and_delays_nobody(staged):
    async with staged() as stage, stage.booth.subscribe() as states:
        assert (await anext(states)).state == "attract"
        await stage.framing()
        assert (await anext(states)).state == "framing"


async def test_closing_in_the_middle_of_sealing_confirms_and_stores_nothing(staged):
    async with staged() as stage:
        stage.rooms.outbox.before_permit.clear()
        await stage.review()
        stage.booth.post(Accept())
        await asyncio.to_thread(stage.rooms.outbox.entered.wait, 10)
        outbox = stage.rooms.outbox
    assert outbox.stored == []


def test_a_permit_has_one_owner():
    permit = Permit()
    assert permit.take()
    assert not permit.revoke()
    other = Permit()
    assert other.revoke()
    assert not other.take()
    assert other.revoke()


def test_commands_are_read_strictly_and_never_repeat_what_was_typed():
    assert read_command("identify", {"number": NUMBER}) == Identify(number=NUMBER)
    assert read_command("start", None) == Start()
    for event, body in (
        ("fly", {}),
        ("identify", {"number": "SECRET" * 40}),
        ("consent", {"answer": "perhaps"}),
        ("start", {"extra": 1}),
        ("start", ["SECRET"]),
        ("language", {"language": "xx"}),
    ):
        with pytest.raises(CommandMalformedError) as caught:
            read_command(event, body)
        assert "SECRET" not in str(caught.value)
    assert NUMBER not in repr(Identify(number=NUMBER))


async def test_stills_that_nobody_judged_are_overwritten_when_the_visit_is_given_up(staged):
    async with staged() as stage:
        stage.rooms.checker.go.clear()
        await stage.framing()
        stage.live(report(), frames=200)
        await asyncio.wait_for(stage.rooms.checker.asked.wait(), 10)
        stage.booth.post(Cancel())
        await stage.until("attract")
        assert not any(still.pixels.any() for still in stage.rooms.station.frames)
