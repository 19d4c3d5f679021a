"""The height axis over a pseudo-terminal against the virtual booth: moves read back, everything that must stop it, faults of its line."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from hardware.errors import (
    LiftAnswerError,
    LiftLostError,
    LiftObstructedError,
    LiftRangeError,
    LiftRefusedError,
    LiftStalledError,
    LiftTimeoutError,
)
from hardware.lift import LiftSettings, open_lift
from hardware.link import DeviceState


@pytest.fixture(scope="session")
def lift_process(start_booth):
    return start_booth("lift")


@pytest.fixture
def booth(lift_process):
    yield lift_process
    lift_process.mend()


@asynccontextmanager
async def opened(booth, watcher=None, **settings):
    given = {**booth.settings["lift"], "speed_mm_s": 100, **settings}
    async with open_lift(LiftSettings(**given), watcher) as lift:
        yield lift


def axis(booth):
    return booth.state("lift")


async def under_way(lift, position_mm):
    """A move that has begun."""
    moving = asyncio.create_task(lift.move_to(position_mm))
    while not (lift.reading and lift.reading.moving):  # noqa: ASYNC110 - a driver has no event for it
        await asyncio.sleep(0)
    return moving


async def test_it_goes_there_slowly_and_reads_back_where_it_is(booth, no_tasks_left):
    async with opened(booth) as lift:
        assert lift.status.state is DeviceState.READY
        assert (lift.status.info["maker"], lift.status.info["range"]) == ("virtual", "0 to 1000 mm")
        start_mm = axis(booth)["position_mm"]
        reading = await lift.move_to(start_mm + 20)
        assert reading.position_mm == pytest.approx(start_mm + 20, abs=0.1)
        assert not reading.moving
        assert lift.reading == reading
        assert booth.state("body")["lens_cm"] == pytest.approx(90 + reading.position_mm / 10, abs=0.1)
        assert axis(booth)["fastest_mm_s"] == 100


async def test_outside_its_limits_nothing_is_sent(booth, no_tasks_left):
    async with opened(booth, low_mm=300, high_mm=400) as lift:
        moves = axis(booth)["moves"]
        for wrong in (299, 401):
            with pytest.raises(LiftRangeError, match="limits 300 to 400"):
                await lift.move_to(wrong)
        assert axis(booth)["moves"] == moves


async def test_a_cancelled_move_stops_at_once_and_closing_stops_too(booth, no_tasks_left):
    async with opened(booth) as lift:
        moving = await under_way(lift, 900)
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
        assert not axis(booth)["moving"]
        assert axis(booth)["position_mm"] < 500
    async with opened(booth) as lift:
        moving = await under_way(lift, 900)
        moving.cancel()
    await asyncio.gather(moving, return_exceptions=True)
    assert not axis(booth)["moving"]


async def test_an_obstruction_stops_it_and_is_told_and_the_next_move_goes(booth, no_tasks_left):
    async with opened(booth) as lift:
        moving = await under_way(lift, 900)
        booth.fault("lift.obstruct")
        with pytest.raises(LiftObstructedError, match="obstacle"):
            await moving
        assert not axis(booth)["moving"]
        booth.fault("lift.obstruct", on=False)
        here = axis(booth)["position_mm"]
        assert (await lift.move_to(here - 5)).position_mm == pytest.approx(here - 5, abs=0.1)


async def test_an_axis_that_does_not_move_and_one_that_lies_are_told(booth, no_tasks_left, monkeypatch):
    monkeypatch.setattr("hardware.lift.STALL_S", 0.25)
    async with opened(booth) as lift:
        booth.fault("lift.stall")
        with pytest.raises(LiftStalledError):
            await lift.move_to(100)
        assert not axis(booth)["moving"]
        booth.fault("lift.stall", on=False)
        booth.fault("lift.wrong_echo")
        with pytest.raises(LiftRefusedError, match="mm from where it was sent"):
            await lift.move_to(axis(booth)["position_mm"] - 1)


@pytest.mark.parametrize(
    ("fault", "error"), [("mute", LiftTimeoutError), ("garble", LiftAnswerError), ("unplug", LiftLostError)]
)
async def test_a_lost_line_stops_the_axis_by_its_own_watch_and_heals(booth, watcher, fault, error, no_tasks_left):
    async with opened(booth, watcher) as lift:
        moving = await under_way(lift, 100 if axis(booth)["position_mm"] > 500 else 900)
        booth.fault(f"lift.{fault}")
        with pytest.raises(error):
            await moving
        await watcher.wait(DeviceState.LOST, 2)
        booth.fault(f"lift.{fault}", on=False)
        await watcher.wait(DeviceState.READY, 3)
        assert not axis(booth)["moving"]
        assert lift.reading is not None


@pytest.mark.parametrize("fault", ["split", "crumble", "noise"])
async def test_a_bad_line_that_can_be_read_is_no_trouble(booth, fault, no_tasks_left):
    async with opened(booth) as lift:
        booth.fault(f"lift.{fault}")
        here = axis(booth)["position_mm"]
        target = here + (5 if here < 500 else -5)
        assert (await lift.move_to(target)).position_mm == pytest.approx(target, abs=0.1)
