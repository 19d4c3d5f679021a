"""A calibration from first to last step: what is asked for, what is measured, what is set back."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from capture.calibration import Calibration
from capture.calibration_run import (
    STEPS,
    CalibrationRun,
    CalibrationSettings,
    StepState,
    Subject,
    settings_for_visits,
)
from capture.errors import CardNotReadableError, WhiteNotNeutralError
from capture.station import CameraControlSection
from hardware.controls import CameraControlSettings, ExposureMode, FocusMode, WhiteBalance
from hardware.errors import CameraTimeoutError
from hardware.lights import CHANNELS
from tests.calibration_booth import CONTROLS, IN_FOCUS, LIGHTS, CalibrationBooth

SUBJECT = Subject(booth="booth-0001", software="0.1.0")
SETTINGS = CalibrationSettings(card_height_cm=120.0, expiry_days=30)
AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def ramps_at_once(monkeypatch):
    monkeypatch.setattr("capture.station.RAMP_PERIOD_S", 0)


def run_of(booth, settings=SETTINGS, controls=CONTROLS, lights=LIGHTS, **more):
    return CalibrationRun(booth.station(controls, lights), settings, SUBJECT, utc=lambda: AT, **more)


@asynccontextmanager
async def technician(run, booth, hangs=lambda _problem: True):
    """Does what is asked for; `hangs` says whether the card really hangs then. Yields what was asked."""
    asked = []

    async def follow():
        async for _ in run.published.values():
            step = run.step
            if step.state is StepState.WAITING:
                asked.append((step.key, step.problem))
                booth.card = step.key == "card" and hangs(step.problem)
                assert run.proceed()

    following = asyncio.create_task(follow())
    try:
        yield asked
    finally:
        following.cancel()


async def calibrated(booth, **more):
    run = run_of(booth, **more)
    async with technician(run, booth):
        return await run.perform()


async def test_a_calibration_goes_through_all_steps_and_finds_the_booth_as_it_is():
    booth = CalibrationBooth(elevation_deg=2.0, roll_deg=-1.0, above_mm=15.0)
    run = run_of(booth)
    assert run.step.state is StepState.PENDING
    assert not run.proceed(), "nothing waits before it began"
    async with technician(run, booth) as asked:
        found = await run.perform()
    assert asked == [("card", None), ("empty", None)]
    assert [step.key for step in run.steps] == list(STEPS)
    assert {step.state for step in run.steps} == {StepState.DONE}
    assert found.id.startswith("20261123T090000Z-")
    assert (found.made_at, found.expires_at, found.booth) == (AT, AT + timedelta(days=30), "booth-0001")
    assert found.pitch_zero_deg == pytest.approx(1.0, abs=0.1), "the register says 1 degree, the camera looks up by 2"
    assert found.roll_deg == pytest.approx(-1.0, abs=0.1)
    assert found.camera_height_cm == pytest.approx(121.5, abs=0.3)
    assert found.card_distance_cm == pytest.approx(98.8, rel=0.003)
    assert found.exposure.error_stops == pytest.approx(0.03, abs=0.05)
    assert found.background_grey.evenness_pct == pytest.approx(95, abs=2)
    assert [lamp.lamp for lamp in found.lamps.lamps] == list(CHANNELS)
    assert found.noise.grey == pytest.approx(0.85, abs=0.1)
    assert found.sharpness.focus_position == IN_FOCUS
    assert Calibration.model_validate_json(found.model_dump_json()) == found
    # The lamps are as before, and the camera keeps what was found.
    assert dict.fromkeys(CHANNELS, 15.0) == booth.levels_pct
    assert booth.state.exposure_mode is ExposureMode.MANUAL


async def test_a_cast_is_taken_out_with_gains_that_are_not_proportional():
    booth = CalibrationBooth(cast=(1.25, 1.0, 0.8))
    found = await calibrated(booth)
    assert found.white_balance.neutral_error < 0.5
    assert found.white_balance.red_to_green == pytest.approx(1, abs=0.005)
    assert found.white_balance.red_gain == pytest.approx(128 * (1 / 0.8) ** (1 / 0.7), abs=2)
    assert found.white_balance.blue_gain == pytest.approx(128 * (1 / 1.25) ** (1 / 0.7), abs=2)
    learnt = settings_for_visits(found)
    assert (learnt.white_balance, learnt.focus_mode) == (WhiteBalance.MANUAL, FocusMode.MANUAL)
    assert (learnt.red_gain, learnt.focus_position) == (found.white_balance.red_gain, IN_FOCUS)
    assert learnt.tilt_deg is None


async def test_a_cast_that_the_gains_cannot_take_out_is_refused_and_the_camera_set_back():
    booth = CalibrationBooth(cast=(1.0, 1.0, 0.2))
    before = booth.state
    run = run_of(booth)
    async with technician(run, booth):
        with pytest.raises(WhiteNotNeutralError, match="is a grey card fixed on the field"):
            await run.perform()
    assert (run.step.key, run.step.state) == ("white_balance", StepState.FAILED)
    assert "chroma" in run.step.problem
    assert booth.state.white_balance == before.white_balance
    assert dict.fromkeys(CHANNELS, 15.0) == booth.levels_pct


async def test_a_camera_without_gains_measures_white_itself():
    booth = CalibrationBooth(cast=(1.2, 1.0, 0.9))
    booth.state = booth.state.model_copy(update={"red_gain": None, "blue_gain": None})
    found = await calibrated(booth)
    assert found.white_balance.neutral_error < 0.2
    assert found.white_balance.red_gain is None


async def test_gains_and_focus_that_are_configured_are_only_measured():
    fixed = CameraControlSection(
        url="visca+serial:///dev/x",
        settings=CameraControlSettings(red_gain=120, blue_gain=130, focus_position=0x5F00),
    )
    booth = CalibrationBooth()
    found = await calibrated(booth, controls=fixed)
    assert (found.white_balance.red_gain, found.white_balance.blue_gain) == (120, 130)
    assert found.white_balance.neutral_error > 1
    assert found.sharpness.focus_position == 0x5F00


async def test_a_card_that_does_not_hang_is_asked_for_again_with_the_reason():
    booth = CalibrationBooth()
    run = run_of(booth)
    async with technician(run, booth, hangs=lambda problem: problem is not None) as asked:
        await run.perform()
    assert [key for key, _ in asked] == ["card", "card", "empty"]
    assert "There is no test card" in asked[1][1]


async def test_a_card_that_still_hangs_is_asked_to_be_taken_down():
    booth = CalibrationBooth()
    run = run_of(booth)
    asked = []

    async def follow():
        async for _ in run.published.values():
            if run.step.state is StepState.WAITING:
                asked.append((run.step.key, run.step.problem))
                booth.card = run.step.problem is None
                run.proceed()

    following = asyncio.create_task(follow())
    await run.perform()
    following.cancel()
    assert asked[1:] == [("empty", None), ("empty", "The test card still hangs in the booth: take it down.")]


async def test_unattended_a_missing_card_ends_it():
    booth = CalibrationBooth()
    run = run_of(booth, attended=False)
    with pytest.raises(CardNotReadableError):
        await run.perform()
    assert (run.step.key, run.step.state) == ("card", StepState.FAILED)


@pytest.mark.parametrize("step", ["empty", "lamps", "card"])
async def test_cancelled_anywhere_it_sets_lamps_and_camera_back(step):
    booth = CalibrationBooth()
    before = booth.state
    run = run_of(booth)

    async def follow():
        async for _ in run.published.values():
            if run.step.key == step and run.step.state in {StepState.WAITING, StepState.RUNNING}:
                run.cancel()
            if run.step.state is StepState.WAITING:
                booth.card = run.step.key == "card"
                run.proceed()

    following = asyncio.create_task(follow())
    with pytest.raises(asyncio.CancelledError):
        await run.perform()
    following.cancel()
    assert (run.step.state, run.step.problem) == (StepState.FAILED, "cancelled")
    assert dict.fromkeys(CHANNELS, 15.0) == booth.levels_pct
    assert (booth.state.exposure_mode, booth.state.focus_mode) == (before.exposure_mode, before.focus_mode)


async def test_a_booth_without_lamps_and_control_is_measured_as_it_is():
    booth = CalibrationBooth(ambient=0.9, cast=(1.15, 1.0, 1.0))
    booth.levels_pct = dict.fromkeys(CHANNELS, 0.0)
    found = await calibrated(booth, controls=None, lights=None)
    assert found.lamps is None
    assert found.controls is None
    assert found.white_balance.neutral_error > 3, "measured, though nothing can be done about it"
    assert settings_for_visits(found) == CameraControlSettings()


async def test_a_still_that_is_late_once_is_taken_again():
    booth = CalibrationBooth()
    take, late = booth.still, [CameraTimeoutError("No still within 5 s.")]

    async def still(timeout_s=5.0):
        if late:
            raise late.pop()
        return await take(timeout_s)

    booth.still = still
    assert (await calibrated(booth, lights=None, controls=None)).card_distance_cm == pytest.approx(98.8, rel=0.005)
    assert not late
