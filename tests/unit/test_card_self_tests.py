"""The checks with the test card, on drawn cards: each fault under its own cause, soft pictures too, and nothing proved without a card."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from booth.diagnostics import BY_ID, chosen, run_checks
from capture.frames import Frame
from hardware.errors import LiftFaultError
from tests.bench_rig import NOW, Scene, open_bench
from tests.calibrations import calibration
from tests.card_pictures import card_picture

CARD = ("camera.focus", "camera.tilt", "camera.white_balance")


class Pictured(Scene):
    """A station whose stills show this picture."""

    nominal_pct = 62.5

    def __init__(self, picture, tilt_deg=None):
        super().__init__()
        self.picture, self.stills = picture, []
        self.state = None if tilt_deg is None else SimpleNamespace(tilt_deg=tilt_deg)

    async def apply_controls(self):
        return self.state

    async def burst(self, count):
        assert set(self.levels_pct.values()) == {62.5}
        still = Frame(self.picture.copy(), 1, 1, "PNG", lossy=False)
        self.stills.append(still)
        return (still,)


@pytest.fixture
def seen(tmp_path):
    async def run(picture, *, known=None, tilt_deg=None):
        scene, asked = Pictured(picture, tilt_deg), []

        async def ask(prompt):
            asked.append(prompt)

        async with open_bench(tmp_path, scene=scene, calibration=lambda: known) as bench:
            findings = await run_checks(bench, chosen(CARD, attended=True), lambda _: None, ask)
        assert asked == ["card"]
        assert set(scene.levels_pct.values()) == {15.0}
        assert all(not still.pixels.any() for still in scene.stills)
        return {each.id: each for each in findings}

    return run


def causes(findings):
    return {name: each.cause.removeprefix("cause.") for name, each in findings.items() if each.cause}


async def test_a_lens_is_found_out_of_focus_where_the_card_can_only_be_read_in_a_smaller_picture(seen):
    told = await seen(card_picture(sigma_px=7.5))
    assert causes(told) == {"camera.focus": "camera.unfocused"}
    assert told["camera.focus"].verdict == "fail"


async def test_a_camera_that_looks_up_is_tilted_unless_its_register_says_so(seen):
    picture = card_picture(elevation_deg=3.5)
    assert causes(await seen(picture)) == {"camera.tilt": "camera.tilted"}
    assert causes(await seen(picture, tilt_deg=3.5)) == {}


async def test_without_a_card_nothing_is_proved(seen):
    told = await seen(np.full((640, 480, 3), 120, np.uint8))
    assert {(each.verdict, each.cause) for each in told.values()} == {("fail", "cause.absent.card")}


async def test_the_card_is_asked_for_once_and_after_all_else(tmp_path):
    order = [check.attended for check in chosen(None, attended=True)]
    assert order == sorted(order)
    assert not any(check.attended for check in chosen(None, attended=False))
    assert {check.id for check in chosen(None, attended=True) if check.attended} == set(CARD)


@pytest.fixture
def found(tmp_path):
    async def run(check_id, **changes):
        async with open_bench(tmp_path, **changes) as bench:
            (finding,) = await run_checks(bench, [BY_ID[check_id]], lambda _: None, None)
        return finding

    return run


async def test_the_age_of_the_calibration_is_told(found):
    made = calibration().made_at
    assert made < NOW
    fresh = await found("calibration.age", calibration=calibration)
    assert (fresh.verdict, fresh.high) == ("pass", 90)
    old = await found("calibration.age", calibration=lambda: calibration(expires_at=NOW))
    assert (old.verdict, old.cause) == ("warn", "cause.calibration.old")
    past = calibration(made_at=made.replace(month=3), expires_at=made.replace(month=6))
    assert (await found("calibration.age", calibration=lambda: past)).verdict == "fail"
    ahead = await found("calibration.age", calibration=lambda: calibration(made_at=made.replace(year=2036)))
    assert (ahead.verdict, ahead.cause) == ("fail", "cause.calibration.old")
    none = await found("calibration.age")
    assert (none.verdict, none.cause) == ("warn", "cause.absent.calibration")


async def test_the_height_drive_answers_or_not(found):
    scene = Scene()

    async def standing():
        await asyncio.sleep(0)
        return object()

    async def broken():
        raise LiftFaultError("motor")

    async def absent():
        return None

    for answer, verdict, cause in (
        (standing, "pass", None),
        (broken, "fail", "cause.lift.silent"),
        (absent, "not_assessed", "cause.absent.lift"),
    ):
        scene.echo_lift = answer
        finding = await found("lift.echo", scene=scene)
        assert (finding.verdict, finding.cause) == (verdict, cause)


def test_devices_that_a_booth_does_not_have_are_left_out_unless_asked_for_by_name():
    bare = SimpleNamespace(lights=None, controls=None, lift=None)
    ids = {check.id for check in chosen(None, attended=False, config=bare)}
    assert not ids & {"lift.echo", "controls.echo", "lamps.echo", "lamp.key_left", "camera.exposure_control"}
    assert {"camera.rate", "disk.free"} <= ids
    assert [check.id for check in chosen(["lift.echo"], attended=False, config=bare)] == ["lift.echo"]
