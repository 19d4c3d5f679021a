"""Assistance: what a member of staff may do for a visit, what the packet says of it, and that no code is left anywhere."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from booth.errors import CommandMalformedError, CommandRefusedError, OutboxWriteError
from booth.events import Application
from booth.kiosk import REASON_CLASSES, Accept, Help, HelpGiven, Resume, Retake, read_command
from booth.kiosk import Staff as StaffCommand
from booth.performer import Rooms
from booth.runner import Runner
from tests.runner_rig import (
    NUMBER,
    STAFF_CODE,
    Checker,
    Height,
    Identifier,
    Lamps,
    Outbox,
    Sealer,
    Staff,
    Stage,
    Station,
    Uplink,
    attempt,
    config,
)
from validation.profile import load_profile
from validation.report import Verdict

OVERRIDE = StaffCommand(code=STAFF_CODE, reason_class="medical", action="override")


class WitnessSealer(Sealer):
    """Keeps what a packet would say of the visit."""

    visit: dict

    def seal(self, record, application, language, acknowledged_by):
        self.visit = json.loads(record.visit_json(Application(NUMBER, "typed"), language, None, 0, {}))
        return super().seal(record, application, language, acknowledged_by)


@pytest.fixture
def staged(tmp_path):
    @asynccontextmanager
    async def make(*verdicts, **visit):
        runner = Runner(config(tmp_path, **visit), load_profile("demo"))
        with ThreadPoolExecutor(1) as worker:
            rooms = Rooms(
                *(Station(), Checker(), Lamps(), Outbox(), Uplink(), WitnessSealer()),
                *(worker, Staff(), Identifier(), Height()),
            )
            rooms.checker.results += [attempt(verdict) for verdict in verdicts]
            runner.start(rooms)
            try:
                yield Stage(runner, rooms)
            finally:
                rooms.staff.go.set()
                await runner.close()

    return make


async def refuse_three_times(stage):
    await stage.review()
    for _ in range(2):
        stage.booth.post(Retake())
        stage.live(stage_report(), frames=200)
        told = await stage.until("review", "assistance")
    assert told.state == "assistance"
    return told


def stage_report():
    return attempt().report


FAILED = (Verdict.FAIL,) * 3


async def test_after_the_last_try_staff_let_the_portrait_pass_and_the_packet_says_who_and_why(staged, caplog):
    caplog.set_level(logging.DEBUG)
    async with staged(*FAILED) as stage:
        told = await refuse_three_times(stage)
        assert (told.tries_left, told.tries_allowed) == (0, 3)
        assert told.staff_actions == ("override", "retake", "end")
        assert told.reason_classes == REASON_CLASSES
        assert {"staff", "help_given", "cancel"} <= set(told.commands)
        stage.booth.post(OVERRIDE)
        shown = await stage.until("review")
        assert (shown.compliant, shown.released) == (False, True)
        assert "accept" in shown.commands
        stage.booth.post(Accept())
        await stage.until("thanks")
        visit = stage.rooms.sealer.visit
        override, (act,) = visit["override"], visit["assistance"]
        assert (override["staff"], override["reason_class"], override["open_rules"]) == (
            "482103",
            "medical",
            ["pose.yaw"],
        )
        assert (act["action"], act["staff"], act["reason_class"]) == ("override", "482103", "medical")
        assert visit["tries"] == 3
    digits = STAFF_CODE.replace(" ", "")
    assert STAFF_CODE not in caplog.text
    assert digits not in caplog.text
    assert "482103" not in caplog.text


async def test_tries_that_staff_gave_anew_are_in_the_packet_and_no_override_is(staged):
    async with staged(*FAILED, Verdict.PASS) as stage:
        await refuse_three_times(stage)
        stage.booth.post(OVERRIDE.model_copy(update={"action": "retake", "reason_class": "child"}))
        assert (await stage.until("framing")).tries_left == 3
        stage.live(stage_report(), frames=200)
        await stage.until("review")
        stage.booth.post(Accept())
        await stage.until("thanks")
        visit = stage.rooms.sealer.visit
        assert visit["override"] is None
        assert [act["action"] for act in visit["assistance"]] == ["retake"]


async def test_an_override_is_of_one_portrait_and_not_of_the_next_one(staged):
    async with staged(Verdict.FAIL, Verdict.PASS) as stage:
        await stage.review()
        stage.booth.post(Help())
        stage.booth.post(OVERRIDE)
        await stage.until("review")
        stage.booth.post(Retake())
        stage.live(stage_report(), frames=200)
        shown = await stage.until("review")
        assert shown.compliant
        assert not shown.released
        stage.booth.post(Accept())
        await stage.until("thanks")
        assert stage.rooms.sealer.visit["override"] is None


async def test_staff_end_a_visit_and_so_does_whoever_has_no_code(staged):
    for last in (OVERRIDE.model_copy(update={"action": "end"}), HelpGiven()):
        async with staged(*FAILED) as stage:
            await refuse_three_times(stage)
            stage.booth.post(last)
            await stage.until("clearing")


async def test_whoever_only_asked_for_help_keeps_his_portrait_and_so_does_whose_was_not_saved(staged):
    async with staged() as stage:
        shown = await stage.review()
        stage.booth.post(Help())
        assert "resume" in stage.booth.state.commands
        stage.booth.post(Resume())
        assert stage.booth.state.portrait == shown.portrait
        stage.rooms.outbox.failure = OutboxWriteError("The disk is broken.")
        stage.booth.post(Accept())
        told = await stage.until("assistance")
        assert told.fault.message == "fault.not_saved"
        stage.rooms.outbox.failure = None
        stage.booth.post(Resume())
        assert stage.booth.state.fault is None
        stage.booth.post(Accept())
        await stage.until("thanks")
        assert len(stage.rooms.outbox.stored) == 1


async def test_a_wrong_code_is_told_and_leaves_the_visit_where_it_is(staged):
    async with staged(*FAILED) as stage:
        await refuse_three_times(stage)
        stage.rooms.staff.go.clear()
        stage.booth.post(OVERRIDE.model_copy(update={"code": "000000 000000 000000"}))
        assert "staff" not in stage.booth.state.commands
        with pytest.raises(CommandRefusedError):  # one at a time
            stage.booth.post(OVERRIDE)
        stage.rooms.staff.go.set()
        async with asyncio.timeout(10), stage.booth.subscribe() as states:
            told = await anext(state async for state in states if state.fault is not None)
        assert (told.state, told.fault.message) == ("assistance", "staff.wrong")
        assert stage.rooms.staff.asked == 1


async def test_what_a_code_cannot_do_now_is_refused_before_it_is_looked_at(staged):
    async with staged() as stage:
        await stage.framing()
        stage.booth.post(Help())
        assert stage.booth.state.staff_actions == ("retake", "end")
        with pytest.raises(CommandRefusedError) as refused:
            stage.booth.post(OVERRIDE)
        assert STAFF_CODE not in str(refused.value)
        assert stage.rooms.staff.asked == 0


async def test_a_code_that_is_looked_at_when_the_visit_ends_does_nothing(staged):
    async with staged(*FAILED) as stage:
        await refuse_three_times(stage)
        stage.rooms.staff.go.clear()
        stage.booth.post(OVERRIDE)
        stage.booth.post(HelpGiven())
        stage.rooms.staff.go.set()
        await stage.until("attract")
        assert stage.rooms.outbox.stored == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"code": "482103937556211840"},
        {"code": "482103937556211840", "reason_class": "because", "action": "override"},
        {"code": "482103937556211840", "reason_class": "child", "action": "open the door"},
        {"code": "4" * 41, "reason_class": "child", "action": "end"},
        {"code": 482103937556211840, "reason_class": "child", "action": "end"},
        {"482103937556211840": "child"},
    ],
)
def test_no_error_repeats_a_code(body):
    with pytest.raises(CommandMalformedError) as error:
        read_command("staff", body)
    assert "482103" not in str(error.value)
    assert "4444" not in str(error.value)
    assert error.value.__cause__ is None
