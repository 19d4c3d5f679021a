"""The endurance run's short version: 120 visits on a virtual clock, and that its own checks can fail."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from tests.bench.soak_visits import Sample, slope, soak
from tests.soak_rig import Ledger, Template
from tests.virtual_clock import Clock, running

VISITS, EVERY = 120, 8
# So few visits do not average out what allocators and caches keep: these bounds find a task, thread or descriptor in every fiftieth visit, a
# dictionary or two in each, a still in every fourth. The long run's are up to a hundred times tighter.
SHORT = {
    "tasks": 0.02,
    "threads": 0.02,
    "descriptors": 0.02,
    "objects": 6.0,
    "blocks": 25.0,
    "resident_kib": 400.0,
    "intake_resident_kib": 100.0,
    "intake_descriptors": 0.1,
}


@pytest.fixture
def _silent():
    logging.disable(logging.CRITICAL)  # pytest keeps every line
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(400)  # 35 s of one core, on a machine that others use too
@pytest.mark.usefixtures("_silent")
def test_visits_leave_nothing_behind_and_end_in_clearing(tmp_path, face_model):
    clock = Clock()
    with running(clock) as runner:
        outcome = runner.run(soak(Template(face_model), clock, tmp_path, VISITS, every=EVERY, bounds=SHORT))
    assert not outcome.wrong
    assert [one for one in outcome.slopes if one.grows] == []
    assert sum(outcome.ended.values()) == VISITS
    assert {"thanks", "assistance", "consent", "review"} <= outcome.ended.keys()
    assert outcome.delivered == outcome.sealed > VISITS / 4
    assert len([name for name in outcome.did if name.startswith("fault: ")]) > 8
    assert outcome.did["page reloaded"] > VISITS / 20


def test_a_leak_of_one_task_in_a_hundred_visits_is_seen_and_noise_is_not():
    def samples(leak):
        return [
            Sample(n, 20 + int(n * leak), 3, 22 + n // 50 % 2, 170_000, 780_000, 350_000, 100_000, 11)
            for n in range(50, 10_050, 50)
        ]

    assert slope("tasks", samples(0.01), 0.001).grows
    assert not slope("tasks", samples(0), 0.001).grows
    assert not slope("descriptors", samples(0), 0.001).grows


def test_the_ledger_sees_a_visit_that_is_not_cleared():
    from dataclasses import replace

    from booth.events import Event, Happening
    from booth.visit import State, Visit

    ledger = Ledger()
    begun, _ = ledger.step(Visit(), Happening(Event.START, visit_id="one"))
    ledger._note(begun, replace(begun, state=State.ATTRACT, turn=begun.turn + 1))
    assert ledger.wrong
    assert ledger.cleared == 0


def test_time_passes_when_nothing_is_left_to_do_and_stands_still_while_a_thread_works():
    clock = Clock()
    began = time.perf_counter()

    async def main():
        await asyncio.sleep(86_400)
        slept, before = clock.now_s, clock.now_s
        alarm = asyncio.create_task(asyncio.sleep(0.1))
        assert await asyncio.to_thread(lambda: sum(range(300_000))) > 0
        await asyncio.to_thread(lambda: None)
        assert clock.now_s == before
        await alarm
        return slept

    first = clock.now_s
    with running(clock) as runner:
        slept = runner.run(main())
        assert time.monotonic() == clock.now_s
    assert slept - first == pytest.approx(86_400)
    assert time.perf_counter() - began < 30
    assert time.monotonic() != clock.now_s
