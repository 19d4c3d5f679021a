"""The keeper of the lamps and the light loop: when it runs, what `lit` says meanwhile, and what interrupts it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from booth.events import LightScene
from booth.lamps import BALANCES_MOST, open_lamps
from capture.balance import LightOutcome
from capture.metering import MeterReading
from hardware.errors import LightsTimeoutError


def reading(*, good=True) -> MeterReading:
    return MeterReading(
        time.monotonic_ns(), {"chin": (0.1, 0.1, 0.1)}, {"light.sides": 99.0 if good else 1.0}, 0.9, 0.4
    )


class Station:
    settled_ns = 0

    def __init__(self):
        self.levels_pct = {}
        self.portraits = 0

    async def set_levels(self, levels_pct, *, seen=True, ramped=True):
        await asyncio.sleep(0)
        self.levels_pct = {**self.levels_pct, **levels_pct}
        return self.levels_pct

    async def set_portrait_light(self):
        self.portraits += 1
        await self.set_levels({"key_left": 62.5})

    async def set_standby_light(self):
        await self.set_levels({"key_left": 15.0})


class Balancer:
    """Balances when it is told to, to 80 %."""

    def __init__(self, station):
        self.station = station
        self.go, self.begun = asyncio.Event(), asyncio.Event()
        self.runs = self.restarts = 0
        self.error = None

    async def restart(self):
        self.restarts += 1

    def is_due(self, seen):
        return seen.values["light.sides"] < 50

    def fine(self, seen):
        return LightOutcome(0, 0, seen.values, seen.values, reached=True, balanced=True, lacking=(), problem=None)

    async def run(self, seen, next_reading):
        self.runs += 1
        self.begun.set()
        await self.go.wait()
        if self.error:
            error, self.error = self.error, None
            raise error
        await self.station.set_levels({"key_left": 80.0})
        after = await next_reading(seen.at_ns)
        return LightOutcome(1, 9, seen.values, after.values, reached=True, balanced=True, lacking=(), problem=None)


@asynccontextmanager
async def lit():
    station, outcomes, troubles = Station(), [], []
    balancer = Balancer(station)
    async with open_lamps(station, troubles.append, balancer, outcomes.append) as keeper:
        keeper.want(LightScene.PORTRAIT)
        await keeper.lit.wait()
        yield keeper, balancer, outcomes, troubles


async def test_light_that_is_good_is_told_once_and_keeps_the_lamps_lit(no_tasks_left):
    async with lit() as (keeper, balancer, outcomes, _):
        for _ in range(3):
            keeper.saw(reading())
        assert keeper.lit.is_set()
        assert [outcome.steps for outcome in outcomes] == [0]
        assert keeper.balanced.is_set()
        assert balancer.runs == 0


async def test_lit_is_gone_at_once_and_comes_back_with_the_balance(no_tasks_left):
    async with lit() as (keeper, balancer, outcomes, _):
        keeper.saw(reading(good=False))
        assert not keeper.lit.is_set(), "before any shutter"
        await balancer.begun.wait()
        balancer.go.set()
        await asyncio.sleep(0)
        keeper.saw(reading())
        await keeper.lit.wait()
        assert [outcome.steps for outcome in outcomes] == [1]
        assert keeper.last_outcome is outcomes[0]
        keeper.repeat()
        await keeper.lit.wait()
        assert balancer.station.levels_pct == {"key_left": 80.0}, "a try later in the visit keeps what was balanced"
        keeper.want(LightScene.STANDBY)
        keeper.want(LightScene.PORTRAIT)
        await keeper.lit.wait()


async def test_the_next_sitter_begins_with_the_nominal_light(no_tasks_left):
    async with lit() as (keeper, balancer, _outcomes, _):
        balancer.go.set()
        keeper.saw(reading(good=False))
        await balancer.begun.wait()
        keeper.saw(reading())
        await keeper.lit.wait()
        keeper.want(LightScene.STANDBY)
        async with keeper.lent() as base:
            assert base == {"key_left": 15.0}
        assert balancer.restarts == 1
        assert keeper.last_outcome is None
        keeper.want(LightScene.PORTRAIT)
        await keeper.lit.wait()
        assert balancer.station.levels_pct == {"key_left": 62.5}


async def test_another_scene_interrupts_a_balance(no_tasks_left):
    async with lit() as (keeper, balancer, outcomes, _):
        keeper.saw(reading(good=False))
        await balancer.begun.wait()
        keeper.want(LightScene.STANDBY)
        async with keeper.lent() as base:
            assert base == {"key_left": 15.0}
        assert outcomes == []


async def test_a_light_that_changes_must_be_seen_twice_and_is_not_balanced_for_ever(no_tasks_left):
    async with lit() as (keeper, balancer, _outcomes, _):
        balancer.go.set()
        keeper.saw(reading())
        keeper.saw(reading(good=False))
        assert keeper.lit.is_set(), "a single frame may be a hand before the face"
        for turn in range(2 * BALANCES_MOST):
            balancer.begun.clear()
            for _ in range(2):
                keeper.saw(reading(good=False))
            if turn < BALANCES_MOST:
                await balancer.begun.wait()
                keeper.saw(reading())
                await keeper.lit.wait()
        assert balancer.runs == BALANCES_MOST
        assert keeper.lit.is_set()


async def test_lamps_that_fail_in_a_balance_are_told_and_the_scene_is_set_again(no_tasks_left, monkeypatch):
    monkeypatch.setattr("booth.lamps.RETRY_S", 0.01)
    async with lit() as (keeper, balancer, _outcomes, troubles):
        balancer.error = LightsTimeoutError("The lamps do not answer.")
        balancer.go.set()
        keeper.saw(reading(good=False))
        await keeper.lit.wait()
        assert any(isinstance(trouble, LightsTimeoutError) for trouble in troubles)
        assert troubles[-1] is None


@pytest.mark.parametrize("late", [False, True])
async def test_what_was_seen_before_the_light_settled_says_nothing(no_tasks_left, late):
    async with lit() as (keeper, balancer, _outcomes, _):
        balancer.station.settled_ns = time.monotonic_ns() + (10**9 if late else -(10**9))
        keeper.saw(reading(good=False))
        assert keeper.lit.is_set() is late
        keeper.want(LightScene.STANDBY)
