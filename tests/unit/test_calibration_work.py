"""A calibration as a technician's work: followed step by step, stored and used at its end, nothing changed when it ends early."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from booth.calibration_work import make_run, read_view
from booth.control_socket import AskCalibrate, AskPlain, open_control_line, open_control_socket
from booth.errors import MaintenanceRefusedError
from capture.calibration_run import STEPS, Step, StepState
from capture.errors import CardNotReadableError
from capture.frames import Latest
from crypto.errors import CalibrationRefusedError
from tests.bench_rig import NOW, open_bench
from tests.calibrations import calibration
from tests.runner_rig import open_stage


class Run:
    """A run that a test holds in its hand."""

    def __init__(self, result):
        self.result, self.published = result, Latest(tuple(Step(key=key) for key in STEPS))
        self.going_on = asyncio.Event()

    @property
    def steps(self):
        return self.published.value

    def proceed(self):
        waits = self.steps[1].state is StepState.WAITING
        self.going_on.set()
        return waits

    def tell(self, number, state, **more):
        steps = list(self.steps)
        steps[number] = Step(key=steps[number].key, state=state, **more)
        self.published.put(tuple(steps))

    async def perform(self):
        self.tell(0, StepState.DONE)
        self.tell(1, StepState.WAITING)
        await self.going_on.wait()
        if isinstance(self.result, Exception):
            self.tell(1, StepState.FAILED, problem=str(self.result))
            raise self.result
        for number in range(1, len(STEPS)):
            self.tell(number, StepState.DONE)
        return self.result


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A staged booth whose next calibration has this result; what it stored and uses."""

    class Opening:
        def __init__(self, result, first=None):
            self.run, self.first = Run(result), first
            self.stored, self.used = [], []

        async def __aenter__(self):
            monkeypatch.setattr("booth.maintenance.make_run", lambda _bench, *, baseline: self.run)
            self.bench = open_bench(
                tmp_path, save=self.stored.append, adopt=self.used.append,
                calibration=lambda: self.stored[-1] if self.stored else self.first, baseline=lambda: self.first,
            )  # fmt: skip
            self.stage = open_stage(tmp_path, patience=0.01)
            bench, stage = await self.bench.__aenter__(), await self.stage.__aenter__()
            self.stage_until = stage.until
            self.work, self.booth = stage.booth.maintenance, stage.booth
            self.work.start(bench)
            await self.work.look_at_calibration()
            return self

        async def until(self, wanted):
            async with asyncio.timeout(10), self.work.subscribe() as states:
                async for state in states:
                    if wanted(state):
                        return state
            raise AssertionError

        async def __aexit__(self, *error):
            await self.stage.__aexit__(*error)
            await self.bench.__aexit__(*error)

    return Opening


def waits(state):
    return any(step.state is StepState.WAITING for step in state.calibration.steps)


async def test_a_calibration_is_followed_stored_and_used(opened, no_tasks_left):
    first = calibration()
    newest = calibration(made_at=NOW, baseline_id=first.id, pitch_zero_deg=first.pitch_zero_deg + 2)
    async with opened(newest, first) as booth:
        assert booth.work.state.calibration.current.id == first.id
        assert booth.work.state.calibration.drift == ()
        booth.work.start_calibration()
        assert booth.work.state.busy == "calibration"
        assert booth.booth.state.state == "out_of_service"
        with pytest.raises(MaintenanceRefusedError, match="busy with calibration"):
            booth.work.start_tests()
        await booth.until(waits)
        booth.work.proceed()
        state = await booth.until(lambda state: state.busy is None)
        assert {step.state for step in state.calibration.steps} == {StepState.DONE}
        assert booth.stored == booth.used == [newest]
        assert state.calibration.current.id == newest.id
        assert [row.key for row in state.calibration.beyond] == ["geometry.pitch_zero"]
        told = [event.text for event in booth.booth._health.events]
        assert (
            f"technician: calibration {newest.id} stored; beyond its limit against the baseline: geometry.pitch_zero"
            in told
        )


async def test_one_that_is_cancelled_changes_nothing(opened):
    async with opened(calibration()) as booth:
        booth.work.start_calibration()
        await booth.until(waits)
        booth.work.cancel()
        await booth.until(lambda state: state.busy is None)
        assert booth.stored == booth.used == []
        assert booth.work.state.calibration.current is None
        with pytest.raises(MaintenanceRefusedError):
            booth.work.proceed()
        told = [event.text for event in booth.booth._health.events]
        assert "technician: the calibration was cancelled; nothing is changed" in told
        with pytest.raises(MaintenanceRefusedError, match="clearing"):
            booth.work.start_calibration()
        await booth.stage_until("attract")
        booth.work.start_calibration()
        booth.work.cancel()  # before its first step
        await booth.until(lambda state: state.busy is None)


async def test_what_is_set_back_is_not_broken_off_by_cancelling_twice(opened):
    async with opened(calibration()) as booth:
        begun, back, ended = asyncio.Event(), asyncio.Event(), []

        async def perform():
            try:
                begun.set()
                await asyncio.Event().wait()
            finally:
                await back.wait()
                ended.append("set back")

        booth.run.perform = perform
        booth.work.start_calibration()
        await begun.wait()
        for _ in range(3):  # the command's "cancel", then the end of its line
            booth.work.cancel()
            await asyncio.sleep(0)
        back.set()
        await booth.until(lambda state: state.busy is None)
        assert ended == ["set back"]


async def test_one_that_is_being_stored_when_it_is_cancelled_is_used(opened):
    async with opened(calibration()) as booth:
        booth.work.start_calibration()
        storing, going_on = threading.Event(), threading.Event()

        def save(found):
            storing.set()
            going_on.wait(5)
            booth.stored.append(found)

        object.__setattr__(booth.work._bench, "save", save)
        await booth.until(waits)
        booth.work.proceed()
        await asyncio.to_thread(storing.wait, 5)
        booth.work.cancel()
        await asyncio.sleep(0)
        going_on.set()
        await booth.until(lambda state: state.busy is None)
        assert booth.stored == booth.used
        assert len(booth.stored) == 1
        told = [event.text for event in booth.booth._health.events]
        assert "technician: the calibration was cancelled; nothing is changed" not in told


async def test_a_full_disk_is_told_and_nothing_new_is_used(opened):
    async with opened(calibration()) as booth:

        def full(found):
            raise OSError(28, "No space left on device")

        object.__setattr__(booth.work._bench, "save", full)
        booth.work.start_calibration()
        await booth.until(waits)
        booth.work.proceed()
        await booth.until(lambda state: state.busy is None)
        assert booth.used == []
        told = [event.text for event in booth.booth._health.events]
        assert "technician: the calibration was not stored: the disk refused (No space left on device)" in told
        await booth.stage_until("attract")


async def test_one_that_fails_says_why(opened):
    async with opened(CardNotReadableError("There is no card.")) as booth:
        booth.work.start_calibration()
        await booth.until(waits)
        booth.work.proceed()
        state = await booth.until(lambda state: state.busy is None)
        assert state.calibration.steps[1].problem == "There is no card."
        assert booth.stored == []
        told = [event.text for event in booth.booth._health.events]
        assert "technician: the calibration failed: There is no card." in told


async def test_the_command_follows_it_over_the_line(opened, tmp_path):
    async with opened(calibration()) as booth, open_control_socket(tmp_path, booth.work):
        async with open_control_line(tmp_path) as line:
            await line.say(AskCalibrate(baseline=True))
            keys = []
            async for answer in line.answers():
                if "state" not in answer:
                    break
                steps = answer["state"]["calibration"]["steps"]
                keys = [(step["key"], step["state"]) for step in steps]
                if any(told == "waiting" for _, told in keys):
                    await line.say(AskPlain(ask="proceed"))
            assert {state for _, state in keys} == {"done"}
        assert len(booth.stored) == 1
        async with open_control_line(tmp_path) as line:
            await line.say(AskCalibrate())
            async for answer in line.answers():
                if json.dumps(answer).count('"waiting"'):
                    break
        await booth.until(lambda state: state.busy is None)  # it ended with its line


async def test_what_cannot_be_believed_is_no_baseline_and_no_calibration_in_force(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("booth.calibration_work.CalibrationRun", lambda *args, **_: made.append(args[2]))

    def changed():
        raise CalibrationRefusedError("changed")

    async with open_bench(tmp_path, calibration=changed, baseline=changed) as bench:
        assert read_view(bench).current is None
        make_run(bench, baseline=False)
    first = calibration()
    async with open_bench(tmp_path, calibration=lambda: first, baseline=lambda: first) as bench:
        make_run(bench, baseline=False)
        make_run(bench, baseline=True)
    ahead = calibration(made_at=NOW.replace(year=2036))
    async with open_bench(tmp_path, calibration=lambda: ahead, baseline=lambda: ahead) as bench:
        make_run(bench, baseline=False)
    assert [subject.baseline_id for subject in made] == [None, first.id, None, None]
