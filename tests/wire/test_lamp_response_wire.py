"""The lamps of the virtual booth measured in its empty room, over serial and through its camera."""

from __future__ import annotations

import time

import numpy as np
import pytest

from capture.lamp_comparison import compare_lamps
from capture.lamp_response import measure_lamps
from capture.station import StationSettings, open_station
from hardware.lights import CHANNELS


@pytest.fixture(scope="session")
def empty_process(start_booth):
    return start_booth("visit")


@pytest.fixture
def empty_booth(empty_process):
    yield empty_process
    empty_process.control(lamp="key_left", dead=False)


async def test_the_lamps_of_an_empty_booth_are_measured_and_a_dead_one_is_found(
    empty_booth, monkeypatch, no_tasks_left
):
    monkeypatch.setattr("capture.station.RAMP_PERIOD_S", 0.005)
    monkeypatch.setattr("capture.lamp_response.FRAMES", 2)
    async with open_station(StationSettings.model_validate(empty_booth.settings)) as station:
        began = time.monotonic()
        baseline = await measure_lamps(station, drives_pct=(50.0, 100.0))
        assert time.monotonic() - began < 20
        for response in baseline.lamps:
            # The virtual lamps are linear in their drive.
            assert response.shares == pytest.approx([drive / 100 for drive in response.drives_pct], abs=0.02)
            assert response.clipped_cells == 0
        left, right = (np.asarray(baseline.lamp(name).pattern)[..., 1] for name in CHANNELS[:2])
        assert (left[:, 0] > left[:, 2]).all()
        assert (right[:, 0] < right[:, 2]).all()
        assert baseline.noise < 0.001

        empty_booth.control(lamp="key_left", dead=True)
        found = compare_lamps(await measure_lamps(station, drives_pct=(100.0,)), baseline)
        assert {view.lamp: view.verdict.value for view in found.lamps} == {
            **dict.fromkeys(CHANNELS, "sound"),
            "key_left": "dark",
        }
        assert all(abs(view.strength - 1) < 0.02 for view in found.lamps[1:])
