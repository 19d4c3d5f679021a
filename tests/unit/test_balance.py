"""The light loop on a booth made of numbers: few steps, the best setting stays, and it does what it can without a camera or lamps."""

from __future__ import annotations

import time

import numpy as np
import pytest

from capture.balance import Balancer
from capture.light_model import LAMP_SHARES, PATCHES, PLACE_SHARES
from capture.light_plan import IS_FACE
from capture.metering import Bands, MeterReading
from hardware.controls import CameraControlState, ExposureMode, WhiteBalance
from hardware.errors import ControlRefusedError
from hardware.lights import CHANNELS
from validation.profile import load_profile

NOMINAL = 62.5
SHUTTERS_US = tuple(1e6 / per_s for per_s in (1000, 500, 250, 125, 100, 60, 30))
BANDS = Bands.of(load_profile("demo"))


class Booth:
    """A station whose light is arithmetic."""

    nominal_pct = NOMINAL

    def __init__(self, *, lamps=True, controls=True, strengths=(1.0, 1.0, 1.0, 1.0), places=(0.0, 0.0, 0.0, 0.35)):
        self.strengths, self.places = np.array(strengths), np.array(places)
        self._levels = dict.fromkeys(CHANNELS, NOMINAL)
        self._lamps = lamps
        self.told = []
        self.refuses = False
        self.control_state = (
            CameraControlState(
                powered=True,
                exposure_mode=ExposureMode.MANUAL,
                exposure_us=1e6 / 60,
                f_number=4.0,
                gain_db=0.0,
                white_balance=WhiteBalance.MANUAL,
                red_gain=128,
                blue_gain=128,
            )
            if controls
            else None
        )
        self.own = np.where(IS_FACE[:, None], np.array([0.14, 0.2, 0.34]), 0.59)

    @property
    def levels_pct(self):
        return dict(self._levels) if self._lamps else {}

    async def set_levels(self, levels_pct):
        self._levels.update(levels_pct)
        return self.levels_pct

    async def see(self):
        pass

    async def read_controls(self):
        return self.control_state

    async def set_camera(self, wanted):
        if self.refuses:
            raise ControlRefusedError("The camera refuses the exposure.")
        changes = wanted.model_dump(exclude_none=True)
        self.told.append(changes)
        if "exposure_us" in changes:
            changes["exposure_us"] = min(SHUTTERS_US, key=lambda one: abs(np.log(one / changes["exposure_us"])))
        self.control_state = self.control_state.model_copy(update=changes)
        return self.control_state

    def read(self, *, face=True) -> MeterReading:
        state = self.control_state
        camera = 1.0 if state is None else state.exposure_us * 60 / 1e6 * 10 ** (state.gain_db / 20)
        drives = np.array([self._levels[name] / NOMINAL for name in CHANNELS])
        lit = LAMP_SHARES @ (self.strengths * drives) + PLACE_SHARES @ self.places
        light = np.minimum(camera * self.own * lit[:, None], 1.0)
        patches = dict(zip(PATCHES, map(tuple, light.tolist()), strict=True))
        coded = light[:, 1] ** (1 / 2.2)
        at = {name: coded[number] for number, name in enumerate(PATCHES)}
        cheeks = sorted((at["cheek_left"], at["cheek_right"]))
        zones = [at[name] for name in ("forehead", "chin", "cheek_left", "cheek_right")]
        values = {
            "light.even": 100 * min(zones) / max(zones),
            "light.sides": 100 * cheeks[0] / cheeks[1],
            "light.exposure": 100 * float(light[IS_FACE, 1].mean()),
            "light.overexposed": 100 * float((light[IS_FACE] > 0.97).mean()),
            "background.lightness": 116 * float(light[~IS_FACE, 1].mean()) ** (1 / 3) - 16,
        }
        bright = float(light.max())
        at_ns = time.monotonic_ns()
        return (
            MeterReading(at_ns, patches, values, bright, bright / 2)
            if face
            else MeterReading(at_ns, {}, {}, bright, bright)
        )


async def balanced(booth: Booth, balancer: Balancer | None = None):
    balancer = balancer or Balancer(booth, BANDS, lambda: None)

    async def next_reading(_at_ns):
        return booth.read()

    return await balancer.run(booth.read(), next_reading)


async def test_good_light_takes_no_step():
    booth = Booth()
    balancer = Balancer(booth, BANDS, lambda: None)
    assert not balancer.is_due(booth.read())
    outcome = balancer.fine(booth.read())
    assert (outcome.steps, outcome.reached, outcome.problem) == (0, True, None)
    assert booth.told == []


@pytest.mark.parametrize("lamp", [0, 3])
async def test_a_dead_lamp_is_made_up_for_in_few_steps_and_named(lamp):
    strengths = [1.0] * 4
    strengths[lamp] = 0.0
    outcome = await balanced(booth := Booth(strengths=strengths))
    assert 1 <= outcome.steps <= 3
    assert outcome.reached
    assert (outcome.problem.kind, outcome.problem.name) == ("lamp", CHANNELS[lamp])
    assert outcome.strengths[CHANNELS[lamp]] < 0.3
    assert all(0 <= level <= 100 for level in booth.levels_pct.values())
    assert outcome.problem.advice == "technician.light.problem.lamp"
    assert outcome.as_record()["problem"] == {
        "kind": "lamp",
        "name": CHANNELS[lamp],
        "value": pytest.approx(0, abs=0.3),
    }


async def test_light_that_nothing_can_mend_leaves_the_best_setting_and_a_cause():
    booth = Booth(places=(12.0, 0.0, 0.0, 0.35), controls=False)
    before = booth.read()
    outcome = await balanced(booth)
    assert not outcome.reached
    assert outcome.lacking
    assert (outcome.problem.kind, outcome.problem.name) == ("ambient", "left")
    assert BANDS.refused(booth.read().values) <= BANDS.refused(before.values)


async def test_without_camera_control_the_lamps_do_what_they_can():
    outcome = await balanced(booth := Booth(strengths=(0.0, 1.0, 1.0, 1.0), controls=False))
    assert outcome.reached
    assert booth.levels_pct["key_left"] > booth.levels_pct["key_right"]


async def test_without_lamps_the_camera_does_what_it_can():
    booth = Booth(lamps=False)
    booth.control_state = booth.control_state.model_copy(update={"exposure_us": 4000.0})
    outcome = await balanced(booth)
    assert outcome.reached
    assert (outcome.problem.kind, outcome.problem.name) == ("camera", "exposure")
    assert booth.levels_pct == {}


async def test_without_lamps_and_camera_it_is_told_that_nothing_can_be_done():
    booth = Booth(lamps=False, controls=False, strengths=(0.05, 1.0, 0.2, 0.3))
    outcome = await balanced(booth)
    assert outcome.steps == 0
    assert not outcome.reached
    assert outcome.problem is not None


async def test_a_camera_that_refuses_leaves_the_lamps_to_work(caplog):
    booth = Booth(strengths=(1.0, 1.0, 1.0, 0.3))
    booth.refuses = True
    outcome = await balanced(booth)
    assert outcome.steps >= 1
    assert "does not take" in caplog.text


async def test_automatic_modes_are_left_before_anything_is_learned():
    booth = Booth(strengths=(0.0, 1.0, 1.0, 1.0))
    automatic = {"exposure_mode": ExposureMode.AUTO, "white_balance": WhiteBalance.AUTO}
    booth.control_state = booth.control_state.model_copy(update=automatic)
    await balanced(booth)
    assert booth.told[0] == {"exposure_mode": ExposureMode.MANUAL, "white_balance": WhiteBalance.MANUAL}


async def test_a_new_sitter_finds_the_camera_as_it_was():
    booth = Booth(strengths=(1.0, 1.0, 1.0, 0.1))
    balancer = Balancer(booth, BANDS, lambda: None)
    before = booth.control_state
    await balanced(booth, balancer)
    assert booth.control_state != before
    await balancer.restart()
    assert booth.control_state == before


async def test_a_change_of_the_light_is_due_again_and_what_cannot_be_mended_is_not():
    booth = Booth()
    balancer = Balancer(booth, BANDS, lambda: None)
    balancer.fine(booth.read())
    booth.places = np.array([6.0, 0.0, 0.0, 0.35])
    assert balancer.is_due(booth.read())
    hopeless = Booth(places=(12.0, 0.0, 0.0, 0.35), controls=False)
    balancer = Balancer(hopeless, BANDS, lambda: None)
    await balanced(hopeless, balancer)
    assert not balancer.is_due(hopeless.read()), "the same light is not tried again and again"


async def test_a_picture_too_dark_for_any_face_is_brightened_first():
    booth = Booth()
    booth.control_state = booth.control_state.model_copy(update={"exposure_us": 1000.0})
    balancer = Balancer(booth, BANDS, lambda: None)
    dark = booth.read(face=False)
    assert balancer.is_due(dark)
    assert await balancer.run(dark, None) is None
    assert booth.read().brightest > 4 * dark.brightest


async def test_a_sitter_who_leaves_ends_the_balance_with_what_is_best_so_far():
    booth = Booth(strengths=(0.0, 1.0, 1.0, 1.0))
    balancer = Balancer(booth, BANDS, lambda: None)

    async def nobody(_at_ns):
        return booth.read(face=False)

    before = booth.levels_pct
    outcome = await balancer.run(booth.read(), nobody)
    assert outcome.steps == 1
    assert booth.levels_pct == before
