"""Faults of lamps and lens at the wire: the virtual booth has them, the self-tests find them under the right cause with the right remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from booth.diagnostics import chosen, run_checks
from booth.self_tests_lamps import lamps_seen
from capture.calibration import Sharpness
from capture.lamp_response import measure_lamps
from capture.station import StationSettings, open_station
from tests.bench_rig import open_bench
from tests.calibrations import calibration

LAMPS = ("lamp.key_left", "lamp.key_right", "lamp.fill_top", "lamp.background")


async def nobody(prompt):
    raise AssertionError(prompt)


@pytest.fixture(scope="session")
def empty_process(start_booth):
    return start_booth("visit")


@pytest.fixture
def booth(empty_process, monkeypatch):
    monkeypatch.setattr("capture.station.RAMP_PERIOD_S", 0.005)
    monkeypatch.setattr("capture.lamp_response.FRAMES", 2)
    virtual = empty_process
    yield virtual
    for lamp in LAMPS:
        virtual.control(lamp=lamp.partition(".")[2], dead=False, strength=1, connected=True, channel=None)
    virtual.control(swap=None)
    virtual.control(lens=None)
    virtual.control(card=None)


async def findings_of(bench, *ids):
    found = await run_checks(bench, chosen(ids, attended=True), lambda _: None, nobody)
    return {each.id: each for each in found}


async def test_lamps_that_are_dead_weak_swapped_or_misaddressed_are_told_apart(booth, tmp_path, no_tasks_left):
    async with (
        open_station(StationSettings.model_validate(booth.settings)) as station,
        open_bench(tmp_path) as plain,
    ):
        await station.set_standby_light()
        before = dict(station.levels_pct)
        known = calibration(lamps=await measure_lamps(station, drives_pct=(100.0,)))
        bench = replace(plain, station=station, calibration=lambda: known)
        booth.control(lamp="fill_top", strength=0.6)
        booth.control(lamp="background", dead=True)
        booth.control(swap=["key_left", "key_right"])
        found = await findings_of(bench, *LAMPS)
        told = {name.removeprefix("lamp."): (each.verdict, each.remedy) for name, each in found.items()}
        assert told == {
            "key_left": ("fail", "remedy.lamp.swapped"),
            "key_right": ("fail", "remedy.lamp.swapped"),
            "fill_top": ("fail", "remedy.lamp.weak"),
            "background": ("fail", "remedy.lamp.dark"),
        }
        assert found["lamp.fill_top"].value == pytest.approx(60, abs=2)
        assert found["lamp.fill_top"].about == {"lamp": "fill_top", "percent": "60"}
        assert found["lamp.key_left"].about["other"] == "key_right"

        booth.control(swap=None)
        booth.control(lamp="fill_top", strength=1)
        booth.control(lamp="background", dead=False)
        booth.control(lamp="key_left", channel="background")
        seen = await lamps_seen(bench)
        assert {name: each.cause for name, each in seen.items() if each.cause is not None} == {
            "lamp.key_left": "lamp.misaddressed"
        }
        assert seen["lamp.key_left"].about["other"] == "background"
        assert dict(station.levels_pct) == before


async def test_exposure_is_obeyed_or_not(booth, tmp_path):
    async with (
        open_station(StationSettings.model_validate(booth.settings)) as station,
        open_bench(tmp_path) as plain,
    ):
        bench = replace(plain, station=station)
        before = await station.read_controls()
        found = await findings_of(bench, "camera.exposure_control", "controls.echo", "camera.rate", "camera.noise")
        assert [(each.id, each.verdict) for each in found.values()] == [(name, "pass") for name in found], found
        assert found["camera.exposure_control"].value == pytest.approx(100, abs=15)
        assert await station.read_controls() == before


CARD = ("camera.focus", "camera.tilt", "camera.white_balance")


async def test_an_unfocused_lens_a_tilted_camera_and_a_wrong_white_are_told_apart(booth, tmp_path, no_tasks_left):
    async with (
        open_station(StationSettings.model_validate(booth.settings)) as station,
        open_bench(tmp_path) as plain,
    ):
        bench, asked = replace(plain, station=station), []

        async def hang_up(prompt):
            asked.append(prompt)
            booth.control(card="test")

        async def found(**calibrated):
            more = {"calibration": lambda: calibration(**calibrated)} if calibrated else {}
            findings = await run_checks(replace(bench, **more), chosen(CARD, attended=True), lambda _: None, hang_up)
            return {each.id: (each.verdict, each.remedy) for each in findings}, findings

        told, values = await found()
        assert asked == ["card"]
        assert set(told.values()) == {("pass", None)}, values
        sound = values[0].value
        booth.control(lens={"defocus_px": 4})
        told, values = await found()
        assert told == {**dict.fromkeys(CARD, ("pass", None)), CARD[0]: ("fail", "remedy.camera.unfocused")}, values
        booth.control(lens={"tilt_deg": 3})
        told, _ = await found()
        assert told == {**dict.fromkeys(CARD, ("pass", None)), CARD[1]: ("fail", "remedy.camera.tilted")}
        booth.control(lens={"roll_deg": 2, "cast": [1.2, 1, 0.8], "defocus_px": 0.7})
        sharp = Sharpness(mtf50_cycles_px=sound, mtf50_lines=700, card_detail=0.3, focus_position=None)
        told, values = await found(pitch_zero_deg=0.0, roll_deg=0.0, sharpness=sharp)
        assert [remedy for _, remedy in told.values()] == [
            "remedy.camera.unfocused",  # a fifth of the sharpness at the calibration is gone
            "remedy.camera.tilted",
            "remedy.camera.cast",
        ]
        assert values[1].value == pytest.approx(-2, abs=0.2)
