"""A technician before the camera: judged and lit only while the booth is out of service by his own switch, and forgotten afterwards."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from booth.events import LightScene, Watch
from booth.inspection import Permission, histogram_of
from booth.kiosk import Cancel
from booth.runner import Runner
from hardware.errors import CameraLostError
from tests.runner_rig import open_stage, report
from validation.report import Verdict


@pytest.fixture
def switch(monkeypatch):
    """The technician's switch, by hand."""
    told = {"permission": Permission.YES}
    monkeypatch.setattr(Runner, "_may_inspect", lambda _: told["permission"])
    return told


@pytest.fixture
def staged(tmp_path):
    return partial(open_stage, tmp_path)


def put_out_of_service(stage):
    stage.rooms.station.levels_pct = {"key_left": 15.0}
    stage.senses.on_trouble("technician", CameraLostError("The camera is gone."))
    assert stage.booth.state.state == "out_of_service"


async def test_a_look_lights_the_lamps_and_judges_and_its_end_forgets(staged, switch, no_tasks_left):
    async with staged() as stage:
        put_out_of_service(stage)
        with stage.booth.inspect():
            assert stage.rooms.checker.watched is Watch.FACES
            assert stage.rooms.lamps.scenes[-1] is LightScene.PORTRAIT
            stage.live(report(Verdict.FAIL, "advice.turn_head_left"), frames=20)
            view = stage.booth.live("pose")
            assert view.inspecting
            assert (view.families, [each.rule for each in view.rules]) == (("pose",), ["pose.yaw"])
            assert view.overlay is not None
            assert view.instruction.key == "advice.turn_head_left"
            assert view.histogram.mean == 77.0
            assert stage.booth.state.overlay is None, "the applicant's page shows nothing of it"
            assert stage.booth.state.instruction.key == "fault.camera"
        assert stage.rooms.checker.watched is Watch.NOTHING
        assert stage.rooms.lamps.scenes[-1] is LightScene.STANDBY
        left = stage.booth.live("pose")
        assert (left.inspecting, left.rules, left.overlay, left.histogram) == (False, (), None, None)
        await stage.booth._inspection._forgetting
        assert stage.rooms.checker.forgotten == 1


@pytest.mark.parametrize("permission", [Permission.NO, Permission.BUSY])
async def test_without_the_switch_or_during_a_test_nobody_is_judged(staged, switch, permission):
    async with staged() as stage:
        put_out_of_service(stage)
        switch["permission"] = permission
        scenes = list(stage.rooms.lamps.scenes)
        with stage.booth.inspect():
            stage.live(report(), frames=5)
            assert stage.booth.live("pose").rules == ()
            assert not stage.booth.inspecting
        assert stage.rooms.checker.watched is Watch.NOTHING
        assert stage.rooms.lamps.scenes == scenes


async def test_a_visit_is_never_inspected(staged, switch):
    async with staged() as stage:
        stage.rooms.station.levels_pct = {}
        with stage.booth.inspect():
            await stage.framing()
            stage.live(report(), frames=2)
            view = stage.booth.live("pose")
            assert (view.inspecting, view.histogram, view.overlay) == (False, None, None)
            assert [each.rule for each in view.rules] == ["pose.yaw"], "numbers are the technician's, as before"


async def test_a_test_that_begins_gets_the_lamps_and_the_look_goes_on_after_it(staged, switch):
    async with staged() as stage:
        put_out_of_service(stage)
        with stage.booth.inspect():
            scenes = list(stage.rooms.lamps.scenes)
            switch["permission"] = Permission.BUSY
            stage.booth._inspection.settle()
            assert stage.rooms.checker.watched is Watch.NOTHING
            assert stage.rooms.lamps.scenes == scenes, "the test has the lamps"
            switch["permission"] = Permission.YES
            stage.booth._inspection.settle()
            assert stage.rooms.checker.watched is Watch.FACES
        assert stage.rooms.lamps.scenes[-1] is LightScene.STANDBY


async def test_values_of_a_visit_are_gone_when_it_is_cleared(staged, switch):
    async with staged() as stage:
        stage.rooms.station.levels_pct = {}
        await stage.framing()
        stage.live(report(), frames=2)
        assert stage.booth.live("pose").rules
        stage.booth.post(Cancel())
        assert stage.booth.live("pose").rules == ()


def test_a_histogram_of_a_picture():
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:5] = 255
    bars = histogram_of(pixels)
    assert (bars.dark_pct, bars.bright_pct, bars.mean) == (50.0, 50.0, 127.5)
    assert (bars.heights[0], bars.heights[-1], sum(bars.heights)) == (1.0, 1.0, 2.0)
