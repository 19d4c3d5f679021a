"""What is told of the lamps: by their light now against the calibration, and without one; drift; exposure that is not obeyed."""

from __future__ import annotations

import asyncio

import pytest

from booth.diagnostics import BY_ID, EVERYWHERE, chosen, run_checks
from booth.events import LightScene
from booth.lamps import open_lamps
from booth.self_tests_lamps import share_of
from capture.calibration import Drift
from capture.errors import LampsNotMeasurableError
from crypto.errors import SignatureRefusedError
from hardware.controls import CameraControlState, ExposureMode
from hardware.lights import CHANNELS
from tests.bench_rig import Scene, open_bench
from tests.calibrations import calibration, lamp_responses

IDS = (*(f"lamp.{lamp}" for lamp in CHANNELS), "calibration.drift")


@pytest.fixture
def found(tmp_path, monkeypatch):
    """What the lamp checks find when the lamps are seen like this."""

    async def run(now, **changes):
        async def measured(station, *, drives_pct):
            if isinstance(now, Exception):
                raise now
            return now

        monkeypatch.setattr("booth.self_tests_lamps.measure_lamps", measured)
        async with open_bench(tmp_path, **changes) as bench:
            findings = await run_checks(bench, chosen(IDS, attended=False), lambda _: None, None)
        assert tuple(each.id for each in findings) == IDS
        for each in findings:
            known = {*BY_ID[each.id].causes, *EVERYWHERE}
            assert each.cause is None or each.cause.removeprefix("cause.") in known
        return {each.id: each for each in findings}

    return run


def tinted(responses, lamp, red):
    lamps = [
        one.model_copy(update={"pattern": tuple(tuple((b, g, r * red) for b, g, r in row) for row in one.pattern)})
        if one.lamp == lamp
        else one
        for one in responses.lamps
    ]
    return responses.model_copy(update={"lamps": tuple(lamps)})


async def test_lamps_as_calibrated_pass(found):
    told = await found(lamp_responses(), calibration=calibration)
    assert {each.verdict for each in told.values()} == {"pass"}
    assert told["calibration.drift"].value == pytest.approx(0)


async def test_without_a_calibration_a_dark_lamp_is_found_and_the_others_are_not_judged(found):
    told = await found(lamp_responses(fill_top=0.0))
    assert told.pop("lamp.fill_top").cause == "cause.lamp.dark"
    assert {(each.verdict, each.cause) for each in told.values()} == {("not_assessed", "cause.absent.calibration")}


async def test_a_calibration_that_saw_no_lamp_is_none(found):
    blind = calibration(lamps=lamp_responses(**dict.fromkeys(CHANNELS, 0.0)))
    told = await found(lamp_responses(), calibration=lambda: blind)
    assert {each.cause for each in told.values()} == {"cause.absent.calibration"}


async def test_a_calibration_that_cannot_be_believed_is_a_finding(found):
    def changed():
        raise SignatureRefusedError("not ours")

    told = await found(lamp_responses(), calibration=changed)
    assert told["calibration.drift"].cause == "cause.calibration.unusable"
    assert told["lamp.key_left"].verdict == "not_assessed"


async def test_lamps_that_are_all_weaker_point_at_the_lens_or_the_camera(found):
    told = await found(lamp_responses(**dict.fromkeys(CHANNELS, 0.6)), calibration=calibration)
    lamps = [told[f"lamp.{lamp}"] for lamp in CHANNELS]
    assert {(each.verdict, each.remedy, each.about["percent"]) for each in lamps} == {("fail", "remedy.lamp.all", "60")}


async def test_a_lamp_that_is_too_strong_is_told(found):
    told = await found(lamp_responses(key_right=1.5), calibration=calibration)
    assert told["lamp.key_right"].cause == "cause.lamp.strong"
    assert told["lamp.key_left"].verdict == "pass"


async def test_a_room_whose_light_changes_makes_no_finding_of_a_lamp(found):
    told = await found(LampsNotMeasurableError("the sun came out"), calibration=calibration)
    assert {(each.verdict, each.cause) for each in told.values()} == {("fail", "cause.lamps.unmeasurable")}


async def test_somebody_in_the_booth_is_told_instead_of_faults_of_lamps(found):
    seen = lamp_responses()
    lamps = [
        one.model_copy(update={"pattern": (*one.pattern[:2], *(tuple((b * k, g * k, r * k) for (b, g, r), k in
                                           zip(row, (1, 0.4, 1), strict=True)) for row in one.pattern[2:]))})
        for one in seen.lamps
    ]  # fmt: skip
    told = await found(seen.model_copy(update={"lamps": tuple(lamps)}), calibration=calibration)
    assert {(each.verdict, each.remedy) for each in told.values()} == {("fail", "remedy.lamps.obstructed")}


async def test_a_booth_without_lamps_is_not_assessed(found):
    scene = Scene()
    scene.lamps = ()
    told = await found(AssertionError("nothing to measure"), scene=scene)
    assert {(each.verdict, each.cause) for each in told.values()} == {("not_assessed", "cause.absent.lamps")}


async def test_a_lamp_whose_colour_changed_is_drift(found):
    told = await found(tinted(lamp_responses(), "key_left", 1.08), calibration=calibration)
    assert told["calibration.drift"].value == pytest.approx(160, rel=0.02)
    assert (told["calibration.drift"].verdict, told["lamp.key_left"].verdict) == ("fail", "pass")


async def test_the_calibration_s_own_change_against_its_baseline_is_drift(found):
    first = calibration()
    newest = calibration(baseline_id=first.id, pitch_zero_deg=first.pitch_zero_deg - 1.5)
    told = await found(lamp_responses(), calibration=lambda: newest, baseline=lambda: first)
    assert told["calibration.drift"].value == pytest.approx(150)


def test_a_change_in_the_direction_without_a_limit_is_none():
    row = Drift(key="x", unit="", value=1, baseline=2, change=-1, low=None, high=3, beyond=False)
    assert share_of(row) == 0
    assert share_of(row.model_copy(update={"change": 1.5})) == pytest.approx(0.5)


class Exposed(Scene):
    """A scene whose light follows the exposure time as far as it is told to."""

    def __init__(self, follows):
        super().__init__()
        self.follows, self.sigma, self.settled_ns = follows, 0.5, 0
        self.controls = CameraControlState(powered=True, exposure_mode=ExposureMode.MANUAL, exposure_us=16_000.0)
        self.sets = []

    def _light(self):
        share = 1.0 if not hasattr(self, "controls") else self.controls.exposure_us / 16_000
        return 180 * share ** (getattr(self, "follows", 1) / 2.2)

    async def read_controls(self):
        return self.controls

    async def set_camera(self, settings):
        self.sets.append(settings)
        self.controls = self.controls.model_copy(update=settings.model_dump(exclude_none=True))
        self.settled_ns = self.at_ns
        return self.controls


async def test_a_camera_that_takes_its_exposure_and_ignores_it_is_found(tmp_path):
    for follows, verdict, cause in ((1, "pass", None), (0, "fail", "cause.camera.ignores")):
        scene = Exposed(follows)
        async with open_bench(tmp_path, scene=scene) as bench:
            (finding,) = await run_checks(bench, [BY_ID["camera.exposure_control"]], lambda _: None, None)
        assert (finding.verdict, finding.cause) == (verdict, cause), finding
        assert scene.controls.exposure_us == 16_000
        assert scene.controls.exposure_mode is ExposureMode.MANUAL
        assert set(scene.levels_pct.values()) == {15.0}


async def test_a_camera_that_reads_back_another_exposure_than_it_was_told_is_found(tmp_path):
    scene = Exposed(1)
    scene.set_camera = lambda settings: scene.read_controls()
    async with open_bench(tmp_path, scene=scene) as bench:
        (finding,) = await run_checks(bench, [BY_ID["camera.exposure_control"]], lambda _: None, None)
    assert (finding.verdict, finding.cause, finding.value) == ("fail", "cause.camera.ignores", 0), finding


async def test_an_automatic_camera_gets_its_automatic_back(tmp_path):
    scene = Exposed(1)
    scene.controls = scene.controls.model_copy(update={"exposure_mode": ExposureMode.AUTO})
    async with open_bench(tmp_path, scene=scene) as bench:
        await run_checks(bench, [BY_ID["camera.exposure_control"]], lambda _: None, None)
    assert scene.controls.exposure_mode is ExposureMode.AUTO
    assert scene.sets[-1].exposure_us is None


async def test_lamps_that_are_taken_back_end_a_test_without_a_verdict(tmp_path, no_tasks_left):
    scene, waiting = Scene(), asyncio.Event()
    scene.gate.clear()

    async def standby():
        await scene.set_levels(dict.fromkeys(CHANNELS, 15.0))

    async def next_preview(_after_sequence):
        waiting.set()
        await scene.gate.wait()

    scene.set_standby_light, scene.next_preview = standby, next_preview
    async with (
        open_lamps(scene, lambda _: None) as keeper,
        open_bench(tmp_path, scene=scene, lend=keeper.lent) as bench,
    ):
        keeper.want(LightScene.STANDBY)
        running = asyncio.create_task(
            run_checks(bench, chosen(["camera.latency", "disk.free"], attended=False), lambda _: None, None)
        )
        async with asyncio.timeout(10):
            await waiting.wait()
            keeper.repeat()  # the lamp controller came back
            findings = await running
    assert [(each.id, each.verdict, each.cause) for each in findings] == [
        ("camera.latency", "not_assessed", "cause.lamps.interrupted"),
        ("disk.free", "pass", None),
    ]
