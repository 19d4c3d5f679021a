"""Lamps over a pseudo-terminal against the virtual booth: acknowledged levels, faults on the line, cables pulled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hardware.errors import (
    LightsAnswerError,
    LightsError,
    LightsLevelError,
    LightsLostError,
    LightsRefusedError,
    LightsTimeoutError,
    SettingsError,
)
from hardware.lights import CHANNELS, FixtureMap, Lights, LightsSettings, open_lights
from hardware.link import DeviceState

NOMINAL = dict.fromkeys(CHANNELS, 62.5)


@asynccontextmanager
async def opened(booth: Any, watcher: Any = None) -> AsyncIterator[Lights]:
    settings = LightsSettings.model_validate(booth.settings["lights"])
    async with open_lights(settings.url, settings.channels, watcher) as lights:
        yield lights


def shown(booth: Any) -> Mapping[str, Any]:
    return booth.state("lights")


async def test_levels_are_set_when_the_call_returns(booth, no_tasks_left):
    async with opened(booth) as lights:
        assert lights.status.state is DeviceState.READY
        assert lights.status.info["firmware"]
        assert lights.acknowledged_by == "echo"
        told = await lights.set_levels({**NOMINAL, "key_left": 0})
        segments = shown(booth)["segments"]
        assert told == lights.levels_pct
        assert told["key_left"] == 0
        assert not segments["key_left"]["on"]
        assert told["background"] == pytest.approx(62.5, abs=0.2)
        assert segments["background"] == {"on": True, "bri": 159}
        told = await lights.set_levels({"key_left": 100})
        assert told["key_left"] == 100
        assert told["background"] == pytest.approx(62.5, abs=0.2)


async def test_a_level_that_is_none_is_refused_before_it_is_sent(booth, no_tasks_left):
    async with opened(booth) as lights:
        for levels in ({"key_left": 101}, {"key_left": -1}, {"key_left": float("nan")}, {"ambient": 5}):
            with pytest.raises(LightsLevelError):
                await lights.set_levels(levels)


@pytest.mark.parametrize("fault", ["lights.split", "lights.delay"])
async def test_a_slow_line_only_takes_longer(booth, fault, no_tasks_left):
    async with opened(booth) as lights:
        booth.fault(fault)
        assert (await lights.set_levels({"key_left": 40}))["key_left"] == 40
        assert lights.status.state is DeviceState.READY


async def test_one_garbled_answer_is_asked_for_again(booth, no_tasks_left):
    async with opened(booth) as lights:
        booth.fault("lights.garble", times=1)
        assert (await lights.set_levels({"key_left": 20}))["key_left"] == 20


@pytest.mark.parametrize(
    ("fault", "error"),
    [("lights.mute", LightsTimeoutError), ("lights.drop", LightsTimeoutError), ("lights.garble", LightsAnswerError)],
)
async def test_a_controller_that_cannot_be_understood_is_told_once_and_heals(
    booth, watcher, fault, error, no_tasks_left
):
    async with opened(booth, watcher) as lights:
        await lights.set_levels(NOMINAL)
        booth.fault(fault)
        with pytest.raises(error) as told:
            await lights.set_levels({"key_left": 10})
        assert told.value.retry
        with pytest.raises(LightsLostError):
            await lights.set_levels({"key_left": 10})
        booth.fault(fault, on=False)
        await watcher.wait(DeviceState.READY, 1)  # the first one
        await watcher.wait(DeviceState.READY, 4)
        assert watcher.states == [DeviceState.READY, DeviceState.LOST, DeviceState.READY]
        # What was acknowledged is set again, the level that failed is not.
        assert shown(booth)["segments"]["key_left"]["bri"] == 159


async def test_a_level_that_the_controller_does_not_take_is_refused_and_its_lamps_are_lost(
    booth, watcher, no_tasks_left
):
    async with opened(booth, watcher) as lights:
        before = (await lights.set_levels({"key_left": 30}))["key_left"]
        booth.fault("lights.wrong_echo")
        with pytest.raises(LightsRefusedError):
            await lights.set_levels({"key_left": 60})
        assert lights.levels_pct["key_left"] == before
        assert lights.status.state is DeviceState.LOST
        booth.fault("lights.wrong_echo", on=False)
        await watcher.wait(DeviceState.LOST, 5)
        await watcher.wait(DeviceState.READY, 5)
        assert lights.levels_pct["key_left"] == before


@pytest.mark.parametrize("kind", ["wled", "dmx"])
async def test_a_pulled_cable_heals_within_two_seconds_with_the_levels_back(
    booth, dmx_booth, kind, watcher, no_tasks_left
):
    booth = booth if kind == "wled" else dmx_booth
    async with opened(booth, watcher) as lights:
        await lights.set_levels(NOMINAL)
        await watcher.wait(DeviceState.READY, 2)
        booth.fault("lights.unplug")
        await watcher.wait(DeviceState.LOST, 2)
        with pytest.raises(LightsLostError):
            await lights.set_levels(NOMINAL)
        booth.fault("lights.unplug", on=False)
        await watcher.wait(DeviceState.READY, 2)
        assert watcher.states == [DeviceState.READY, DeviceState.LOST, DeviceState.READY]
        assert lights.levels_pct["fill_top"] == pytest.approx(62.5, abs=0.2)
        if kind == "wled":
            assert shown(booth)["segments"]["fill_top"] == {"on": True, "bri": 159}
        else:
            assert lamp_levels(booth)["fill_top"] == pytest.approx(62.5, abs=0.2)


async def test_a_controller_that_is_plugged_in_later_is_found(booth, watcher, no_tasks_left):
    booth.fault("lights.unplug")
    async with opened(booth, watcher) as lights:
        assert lights.status.state is DeviceState.MISSING
        with pytest.raises(LightsLostError):
            await lights.set_levels(NOMINAL)
        booth.fault("lights.unplug", on=False)
        await watcher.wait(DeviceState.READY, 2)
        await lights.set_levels(NOMINAL)


async def test_the_port_is_ours_alone(booth, no_tasks_left):
    async with opened(booth) as first, opened(booth) as second:
        assert first.status.state is DeviceState.READY
        assert second.status.state is DeviceState.MISSING
        assert "another program" in second.status.detail


async def test_calls_at_the_same_time_are_done_one_after_another(booth, no_tasks_left):
    async with opened(booth) as lights:
        await asyncio.gather(*(lights.set_levels({name: 10 * number}) for number, name in enumerate(CHANNELS)))
        assert [round(lights.levels_pct[name]) for name in CHANNELS] == [0, 10, 20, 30]


# ---- DMX


def lamp_levels(booth: Any) -> Mapping[str, float]:
    channels = LightsSettings.model_validate(booth.settings["lights"]).channels
    slots = shown(booth)["first_channels"]
    levels = {}
    for name, place in channels.items():
        assert isinstance(place, FixtureMap)
        assert place.fine is not None
        levels[name] = (slots[place.address - 1] * 256 + slots[place.fine - 1]) * 100 / 65535
    return levels


async def test_a_widget_is_proved_and_the_slots_arrive(dmx_booth, no_tasks_left):
    async with opened(dmx_booth) as lights:
        assert lights.acknowledged_by == "widget"
        assert lights.status.info["serial"].isdecimal()
        told = await lights.set_levels({**NOMINAL, "key_right": 33.3})
        levels = lamp_levels(dmx_booth)
        assert levels["key_right"] == pytest.approx(33.3, abs=0.01)
        assert levels == pytest.approx(dict(told))


@pytest.mark.parametrize("fault", ["lights.split", "lights.delay"])
async def test_a_slow_widget_only_takes_longer(dmx_booth, fault, no_tasks_left):
    async with opened(dmx_booth) as lights:
        dmx_booth.fault(fault)
        await lights.set_levels(NOMINAL)


async def test_a_mute_widget_is_told_once_and_heals(dmx_booth, watcher, no_tasks_left):
    async with opened(dmx_booth, watcher) as lights:
        await lights.set_levels(NOMINAL)
        await watcher.wait(DeviceState.READY, 2)
        dmx_booth.fault("lights.mute")
        with pytest.raises(LightsTimeoutError):
            await lights.set_levels(NOMINAL)
        dmx_booth.fault("lights.mute", on=False)
        await watcher.wait(DeviceState.READY, 3)
        assert watcher.states == [DeviceState.READY, DeviceState.LOST, DeviceState.READY]


async def test_settings_that_fit_no_lamp_are_refused_before_opening(booth, dmx_booth):
    wled, dmx = booth.settings["lights"], dmx_booth.settings["lights"]
    some = dict(list(wled["channels"].items())[:3])
    twice = {**wled["channels"], "key_left": wled["channels"]["key_right"]}
    for url, channels in [
        (wled["url"], dmx["channels"]),
        (dmx["url"], wled["channels"]),
        (wled["url"], some),
        (wled["url"], twice),
        (wled["url"], {**wled["channels"], "ambient": {"segment": 9}}),
        ("http://x", wled["channels"]),
        ("wled+serial://relative", wled["channels"]),
    ]:
        with pytest.raises(SettingsError):
            async with open_lights(url, channels):
                pass
    assert issubclass(LightsLostError, LightsError)
