"""Effects performed and outcomes brought back: confirmations only after the commit, late results wiped, nothing left of a visit."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from functools import partial
from unittest import mock

import pytest

from booth.errors import (
    CertificateNotValidError,
    CommandMalformedError,
    CommandRefusedError,
    OutboxWriteError,
)
from booth.events import Given, Notice
from booth.kiosk import (
    Accept,
    Cancel,
    ChooseLanguage,
    Identify,
    Retake,
    Start,
    read_command,
)
from booth.performer import Permit
from crypto.errors import SigningError
from hardware.errors import CameraLostError, CameraTimeoutError
from hardware.link import DeviceState, DeviceStatus
from tests.runner_rig import (
    FRAME_NS,
    NUMBER,
    STATUS_TOKEN,
    Sealer,
    Station,
    attempt,
    open_stage,
    report,
)
from validation.profile import load_profile
from validation.report import Verdict


@pytest.fixture
def staged(tmp_path):
    return partial(open_stage, tmp_path)


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
        assert stage.rooms.station.camera_set == 1, "a visit begins with the camera's settings for portraits"
        assert thanks.status_url == f"https://intake.example/status#{STATUS_TOKEN}"
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
    async with staged(countdown=3) as stage:
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


async def test_another_try_has_a_probe_of_its_own(staged):
    async with staged() as stage:
        stage.rooms.checker.results = [attempt(Verdict.FAIL), attempt(Verdict.FAIL)]
        await stage.review()
        probing = stage.booth._performer.probing
        probing._film = film = mock.Mock()
        stage.booth.post(Retake())
        await stage.until("framing")
        film.wipe.assert_called_once_with()
        assert (probing._film, probing._judging) == (None, None)
        assert (await probing.evidence()).score.score is None, "nothing is said of a photo by the one before"


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


async def test_a_token_that_is_away_closes_the_booth_before_a_visit_begins(staged):
    async with staged(patience=0.01) as stage:
        assert stage.booth.state.state == "attract"
        stage.senses._note_key(SigningError("The token does not answer."))
        assert stage.booth.state.state == "out_of_service"
        assert (stage.booth.state.fault.code, stage.booth.state.fault.message) == ("crypto.signing", "fault.booth")
        stage.senses._note_key(None)
        await stage.until("attract")


async def test_the_signing_key_is_asked_for_before_anybody_is_invited(staged, monkeypatch):
    monkeypatch.setattr(Sealer, "away", SigningError("The token does not answer."))
    async with staged() as stage:
        assert stage.booth.state.state == "out_of_service"


async def test_the_last_month_of_a_certificate_is_told_once_a_day(staged):
    async with staged() as stage:
        for days in (31.5, 29.6, 29.4, 28.9, 300.0, 12.0):
            stage.rooms.sealer.days = days
            stage.senses._check_certificate(stage.rooms)
        told = [event.text for event in stage.senses._health.events if "days left" in event.text]
        assert [text.split()[1] for text in reversed(told)] == ["29", "28", "12"]
        assert all("booth keys rotate" in text for text in told)


async def test_codes_count_only_while_identifying(staged):
    async with staged() as stage:
        stage.senses.on_code(NUMBER)
        assert stage.booth.state.state == "attract"
        stage.booth.post(Start())
        stage.booth.post(ChooseLanguage(language="ru"))
        stage.senses.on_code(NUMBER)
        assert (await stage.until("consent")).identity == "scanned"
        assert stage.rooms.identifier.given == [Given(NUMBER, "scanned")]


async def test_a_number_that_is_not_taken_is_told_and_another_may_be_given(staged):
    async with staged() as stage:
        stage.booth.post(Start())
        stage.booth.post(ChooseLanguage(language="ru"))
        stage.rooms.identifier.answer = Notice("application.captured", "identify.captured")
        stage.senses.on_code("PB1AAAA")
        asked = stage.booth.state
        assert (asked.state, asked.instruction.key, "identify" in asked.commands) == (
            "identify",
            "identify.asking",
            False,
        )
        with pytest.raises(CommandRefusedError):
            stage.booth.post(Identify(number=NUMBER))
        told = await stage.shown(lambda state: state.fault is not None)
        assert (told.state, told.fault.message) == ("identify", "identify.captured")
        assert {"identify", "help", "cancel"} <= set(told.commands)
        stage.senses.on_code("PB1AAAA")  # still before the camera
        assert stage.booth.state == told
        stage.rooms.identifier.answer = None
        stage.booth.post(Identify(number=NUMBER))
        assert (await stage.until("consent")).identity == "typed"
        assert [one.source for one in stage.rooms.identifier.given] == ["scanned", "typed"]


async def test_whoever_leaves_while_a_number_is_looked_up_is_gone(staged):
    async with staged() as stage:
        stage.booth.post(Start())
        stage.booth.post(ChooseLanguage(language="en"))
        stage.booth.post(Identify(number=NUMBER))
        stage.booth.post(Cancel())
        cleared = await stage.until("clearing")
        assert cleared.identity is None
        await stage.until("attract")


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
