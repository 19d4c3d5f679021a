"""The nightly self-tests: at their time, from the invitation alone, and told when they are skipped; the summary that comes of them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError

from booth.config import DiagnosticsSection
from booth.heartbeat import summarise
from booth.kiosk import Start
from booth.nightly import Nightly, next_night, open_nightly
from booth.trends import Trend
from booth.visit import State
from crypto.heartbeat import SelfTests
from tests.bench_rig import open_bench
from tests.runner_rig import open_stage
from tests.unit.test_history import finding

REAL_SLEEP = asyncio.sleep
EVENING = datetime(2026, 11, 23, 22, 0)  # noqa: DTZ001 - the booth's own clock


@pytest.mark.parametrize(
    ("hour", "wanted"), [(22, "2026-11-24 03:30:00"), (3, "2026-11-23 03:30:00"), (4, "2026-11-24 03:30:00")]
)
def test_the_next_night(hour, wanted):
    assert str(next_night(EVENING.replace(hour=hour), "03:30")) == wanted
    assert str(next_night(EVENING.replace(hour=3, minute=30), "03:30")) == "2026-11-24 03:30:00"


@pytest.mark.parametrize("text", ["3:30", "24:00", "03:60", "at night", "03:30\n"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(ValidationError, match="03:30"):
        DiagnosticsSection(nightly_at=text)
    assert DiagnosticsSection(nightly_at="").nightly_at == ""


class Night:
    """A clock that jumps with every sleep."""

    def __init__(self, monkeypatch, now=EVENING):
        self.now, self.slept = now, []
        monkeypatch.setattr("booth.nightly.asyncio.sleep", self.sleep)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += timedelta(seconds=max(seconds, 1))
        if len(self.slept) > 2000:
            await asyncio.Event().wait()
        await REAL_SLEEP(0)

    def __call__(self):
        return self.now


class Work:
    def __init__(self):
        self.begun = []

    def start_tests(self, occasion):
        self.begun.append(occasion)


async def test_every_night_they_begin_once(monkeypatch):
    work, begun = Work(), []
    clock = Night(monkeypatch)
    nightly = Nightly(work, None, "03:30", lambda: True, clock)
    nightly.begin = lambda: begun.append(clock.now)
    monkeypatch.setattr("booth.nightly.LOOK_S", 600.0)
    async with open_nightly(nightly):
        async with asyncio.timeout(10):
            while len(begun) < 3:
                await REAL_SLEEP(0)
    assert [f"{at:%d %H:%M}" for at in begun] == ["24 03:30", "25 03:30", "26 03:30"]


async def test_a_night_runs_from_the_invitation_and_is_skipped_otherwise(tmp_path):
    async with open_bench(tmp_path) as bench, open_stage(tmp_path, patience=0.01) as stage:
        work, health = stage.booth.maintenance, stage.booth._health
        work.start(bench)
        bench.station.gate.clear()
        nightly = Nightly(
            work, health, "03:30", lambda: stage.booth._performer.visit.state is State.ATTRACT, lambda: EVENING
        )
        assert nightly.begin()
        assert work.state.tests.occasion == "night"
        assert not nightly.begin()
        work.cancel()
        await stage.until("attract")
        stage.booth.post(Start())
        assert not nightly.begin()
        told = [event.text for event in health.events]
        assert "technician: the nightly self-tests were skipped: the booth was not waiting for anybody" in told


async def test_a_night_leaves_its_summary_in_the_event_log(tmp_path):
    async with open_bench(tmp_path) as bench, open_stage(tmp_path, patience=0.01) as stage:
        work = stage.booth.maintenance
        work.start(bench)
        work.start_tests(["disk.free", "camera.noise"], occasion="night")
        async with asyncio.timeout(10), work.subscribe() as states:
            async for state in states:
                if state.busy is None:
                    break
        told = [event.text for event in stage.booth._health.events]
        assert "technician: this night: 2 in order, 0 to watch, 0 failed, 0 not assessed" in told
        summary = await work.summary()
        assert (summary.passed, summary.failed) == (2, 0)


def trend(check, days):
    return Trend(
        check=check, unit="%", low=80, high=None, newest=84, recent=85, before=90, per_day=-0.4,
        crosses_in_days=days, failed_days=0,
    )  # fmt: skip


def test_the_summary_says_what_to_see_to_and_what_is_coming():
    summary = summarise(
        tested_at="2026-11-24T02:30:00Z",
        findings=[finding(), finding(85.0, "warn", "disk.free"), finding(60.0, "fail")],
        trends=[trend("lamp.fill_top", 12.4), trend("camera.rate", None)],
    )
    assert [each.id for each in summary.poor] == ["lamp.key_left", "disk.free"]
    assert summary.line == (
        "1 in order, 1 to watch, 1 failed, 0 not assessed; see to lamp.key_left, disk.free; limits ahead: lamp.fill_top in 12 days"
    )
    assert SelfTests.model_validate_json(summary.model_dump_json()) == summary
    empty = summarise(tested_at=None, findings=(), trends=())
    assert empty.line == "no self-tests yet"
