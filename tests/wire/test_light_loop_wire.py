"""The light loop against the virtual booth: a weak lamp is made up for and named, daylight is noticed, and lamps can be borrowed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from booth.checker import Live, open_checker
from booth.events import LightScene, Watch
from booth.lamps import LampKeeper, open_lamps
from capture.balance import Balancer, LightOutcome
from capture.metering import Bands
from capture.station import Station, StationSettings, open_station
from validation.profile import load_profile

WITHIN_S = 20


@dataclass
class Bench:
    """A keeper at work, fed with what the checker sees."""

    keeper: LampKeeper
    station: Station
    outcomes: asyncio.Queue[LightOutcome] = field(default_factory=asyncio.Queue)

    async def outcome(self) -> LightOutcome:
        return await asyncio.wait_for(self.outcomes.get(), WITHIN_S)


@asynccontextmanager
async def bench(booth: Any) -> AsyncIterator[Bench]:
    profile = load_profile("demo")
    settings = StationSettings.model_validate({key: booth.settings[key] for key in ("camera", "controls", "lights")})
    made: list[Bench] = []

    def on_live(live: Live) -> None:
        if made and live.light is not None:
            made[0].keeper.saw(live.light)

    async def follow(station: Station) -> None:
        sequence = -1
        while True:
            frame = await station.next_preview(sequence)
            sequence = frame.sequence
            checker.offer(frame)

    async with (
        open_checker(profile, on_live, lambda _: None, lambda _: None) as checker,
        open_station(settings) as station,
    ):
        await station.apply_controls()
        outcomes: asyncio.Queue[LightOutcome] = asyncio.Queue()
        balancer = Balancer(station, Bands.of(profile), lambda: None)
        async with open_lamps(station, lambda _: None, balancer, outcomes.put_nowait, checker.meter_after) as keeper:
            made.append(Bench(keeper, station, outcomes))
            following = asyncio.create_task(follow(station))
            try:
                keeper.want(LightScene.PORTRAIT)
                checker.watch(Watch.FACES)
                yield made[0]
            finally:
                checker.watch(Watch.NOTHING)
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                keeper.want(LightScene.STANDBY)
                async with keeper.lent():
                    pass  # the camera has its settings back


@pytest.fixture
def sitter(booth: Any):
    booth.control(person="kwame")
    yield booth
    booth.control(lamp="background", strength=1)
    booth.control(daylight=None)
    booth.control(person="anna")
    booth.control(sitter="still")


async def test_a_weak_lamp_is_made_up_for_and_named_and_daylight_is_noticed(sitter, no_tasks_left):
    sitter.control(lamp="background", strength=0.3)
    async with bench(sitter) as light:
        outcome = await light.outcome()
        assert outcome.reached
        assert 1 <= outcome.steps <= 3
        assert (outcome.problem.kind, outcome.problem.name) == ("lamp", "background")
        assert outcome.problem.value == pytest.approx(0.3, abs=0.15)
        balanced = dict(light.station.levels_pct)
        assert balanced["background"] > 90, "the weak lamp works harder"
        async with light.keeper.lent() as base:
            assert base == balanced
            await light.station.set_levels({"key_left": base["key_left"] * 1.2}, seen=False, ramped=False)
            assert light.keeper.lit.is_set()
        assert dict(light.station.levels_pct) == balanced

        sitter.control(lamp="background", strength=1)
        sitter.control(daylight={"from": "right", "level": 4, "kelvin": 6500})
        outcome = await light.outcome()
        assert (outcome.problem.kind, outcome.problem.name) == ("ambient", "right")
        await asyncio.wait_for(light.keeper.lit.wait(), WITHIN_S)
        assert light.station.levels_pct["key_right"] < light.station.levels_pct["key_left"]
