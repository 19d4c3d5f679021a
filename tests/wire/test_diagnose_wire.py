"""Faults of lamps, lens and camera at the wire: the virtual booth has them, `booth diagnose` finds them under the right cause with the right remedy."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from booth.calibrations import CalibrationStore
from booth.diagnose_command import Asked
from booth.diagnostics import chosen, run_checks
from capture.calibration import Sharpness
from capture.lamp_response import measure_lamps
from capture.station import StationSettings, open_station
from crypto.keys import load_trust, make_development_pki, open_signer
from tests.bench_rig import open_bench
from tests.booth_rig import booth_config
from tests.calibrations import calibration

LAMPS = ("lamp.key_left", "lamp.key_right", "lamp.fill_top", "lamp.background")
CARD = ("camera.focus", "camera.tilt", "camera.white_balance")


@pytest.fixture(scope="session")
def empty_process(start_booth):
    return start_booth("visit")


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def booth(empty_process, monkeypatch):
    monkeypatch.setattr("capture.station.RAMP_PERIOD_S", 0.005)
    monkeypatch.setattr("capture.lamp_response.FRAMES", 2)
    for wait in (
        "hardware.camera_source.READ_TIMEOUT_S",
        "capture.station.STILL_WAIT_S",
        "capture.station.FRAME_WAIT_S",
    ):
        monkeypatch.setattr(wait, 30.0)  # the machine's load is no fault of the camera
    virtual = empty_process
    yield virtual
    for lamp in LAMPS:
        virtual.control(lamp=lamp.partition(".")[2], dead=False, strength=1, connected=True, channel=None)
    virtual.control(swap=None)
    virtual.control(lens=None)
    virtual.control(card=None)


@pytest.fixture
def diagnose(booth, tmp_path, pki, monkeypatch, capsys):
    """`booth diagnose --attended --json` on a booth whose controller does not run; the calibration, where there is one, is in its store."""
    config = booth_config(tmp_path, pki, booth.addresses["toml"])

    async def hang_up():
        booth.control(card="test")

    monkeypatch.setattr("booth.diagnose_command._ask_for_card", hang_up)

    async def run(*only, known=None):
        if known is not None:
            store = CalibrationStore(config.booth.data_dir, config.booth.id, lambda: load_trust(pki / "ca.pem"))
            config.booth.data_dir.mkdir(exist_ok=True)
            store.save(known, open_signer(f"file:{pki / 'booth.key'}"))
        code = await Asked(tmp_path / "booth.toml", only, True, True, False, None, None, False).do()
        findings = json.loads(capsys.readouterr().out)["findings"]
        assert code == any(each["verdict"] == "fail" for each in findings)
        return {each["id"]: each for each in findings}

    return run


def remedies(findings):
    return {
        name: each["remedy"].removeprefix("remedy.") for name, each in findings.items() if each["verdict"] != "pass"
    }


async def test_lamps_that_are_dead_weak_swapped_or_misaddressed_are_told_apart(booth, diagnose, no_tasks_left):
    async with open_station(StationSettings.model_validate(booth.settings)) as station:
        await station.set_standby_light()
        before = dict(station.levels_pct)
        lamps = await measure_lamps(station, drives_pct=(100.0,))
    booth.control(lamp="fill_top", strength=0.6)
    booth.control(lamp="background", dead=True)
    booth.control(swap=["key_left", "key_right"])
    found = await diagnose(*LAMPS, known=calibration(lamps=lamps, controls=None))
    assert remedies(found) == {
        "lamp.key_left": "lamp.swapped",
        "lamp.key_right": "lamp.swapped",
        "lamp.fill_top": "lamp.weak",
        "lamp.background": "lamp.dark",
    }
    assert {each["verdict"] for each in found.values()} == {"fail"}
    assert found["lamp.fill_top"]["value"] == pytest.approx(60, abs=2)
    assert found["lamp.fill_top"]["about"] == {
        "lamp": "fill_top",
        "percent": format(found["lamp.fill_top"]["value"], ".0f"),
    }
    assert found["lamp.key_left"]["about"]["other"] == "key_right"

    booth.control(swap=None)
    booth.control(lamp="fill_top", strength=1)
    booth.control(lamp="background", dead=False)
    booth.control(lamp="key_left", channel="background")
    found = await diagnose(*LAMPS, "calibration.drift")
    assert remedies(found) == {"lamp.key_left": "lamp.misaddressed"}
    assert found["lamp.key_left"]["about"]["other"] == "background"
    async with open_station(StationSettings.model_validate(booth.settings)) as station:
        assert dict(station.levels_pct) == before or not station.levels_pct


async def test_exposure_is_obeyed_and_lines_answer(booth, tmp_path):
    async with (
        open_station(StationSettings.model_validate(booth.settings)) as station,
        open_bench(tmp_path) as plain,
    ):
        before = await station.read_controls()
        checks = chosen(("camera.exposure_control", "controls.echo", "camera.noise"), attended=False)
        found = await run_checks(replace(plain, station=station), checks, lambda _: None, None)
        assert {each.verdict for each in found} == {"pass"}, found
        assert next(each.value for each in found if each.id == "camera.exposure_control") == pytest.approx(100, abs=15)
        assert await station.read_controls() == before


async def test_an_unfocused_lens_a_tilted_camera_and_a_wrong_white_are_told_apart(booth, diagnose, no_tasks_left):
    booth.control(lens={"defocus_px": 4, "tilt_deg": 3})
    assert remedies(await diagnose(*CARD)) == {"camera.focus": "camera.unfocused", "camera.tilt": "camera.tilted"}
    booth.control(lens={"roll_deg": 2, "cast": [1.2, 1, 0.8], "defocus_px": 0.7})
    # The virtual lens in focus gives 0.283.
    sharp = Sharpness(mtf50_cycles_px=0.283, mtf50_lines=724, card_detail=0.3, focus_position=None)
    known = calibration(pitch_zero_deg=0.0, roll_deg=0.0, sharpness=sharp, controls=None)
    found = await diagnose(*CARD, known=known)
    assert remedies(found) == {
        "camera.focus": "camera.unfocused",  # a fifth of the sharpness at the calibration is gone
        "camera.tilt": "camera.tilted",
        "camera.white_balance": "camera.cast",
    }
    assert found["camera.tilt"]["value"] == pytest.approx(-2, abs=0.2)
