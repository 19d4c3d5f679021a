"""A whole framing on the height axis at the wire: a child is found, the axis carries the lens down, a cancelled visit stops it, the photo is taken."""

from __future__ import annotations

import pytest

from booth.guidance import CAMERA_MOVES
from booth.kiosk import Cancel, ChooseLanguage, Consent, Identify, Start
from capture.height import ELEVATION_LIMIT_DEG
from crypto.keys import make_development_pki
from tests.booth_rig import FakeIntake, Simulator, booth_config, running_booth

CHILD = {"sitter": "still", "person": "kwame", "stature_cm": 125, "posture": "child"}


@pytest.fixture
def simulator(tmp_path):
    simulator = Simulator(tmp_path / "sim", "lift")
    yield simulator
    simulator.stop()


async def test_a_child_is_found_cancelling_stops_the_axis_and_the_next_visit_ends_in_a_photo_at_eye_height(
    simulator, tmp_path, monkeypatch, no_tasks_left
):
    monkeypatch.setattr("booth.height.ABSENT_S", 0.3)
    pki = make_development_pki(tmp_path / "pki")
    devices = simulator.facts["toml"].replace("[height]", "speed_mm_s = 100\n\n[height]")
    simulator.tell(**CHILD)
    async with running_booth(booth_config(tmp_path, pki, devices), FakeIntake(pki)) as watcher:
        booth = watcher.booth
        assert {device.name for device in booth.technician().devices} >= {"lift", "camera"}

        async def framing():
            await watcher.until("attract")
            for command in (Start(), ChooseLanguage(language="en"), Identify(number="DEMO2026000017Q")):
                booth.post(command)
            await watcher.until("consent")
            booth.post(Consent(answer=True))

        await framing()
        told = await watcher.until(lambda state: state.instruction.key == CAMERA_MOVES)
        assert told.state == "framing"
        while not (axis := simulator.tell(state=True)["lift"])["moving"]:
            await watcher.until("framing")
        booth.post(Cancel())
        await watcher.until("attract")
        stopped = simulator.tell(state=True)["lift"]
        assert not stopped["moving"]
        assert stopped["position_mm"] > axis["moves"][-1] + 5
        await framing()
        review = await watcher.until("review")
        record = booth._performer.record._framing
        state = simulator.tell(state=True)
        broken = [found.rule for found in review.findings if found.verdict == "fail"]
        assert not [rule for rule in broken if rule.startswith("geometry")]
        assert abs(record["elevation_deg"]) <= ELEVATION_LIMIT_DEG
        assert record["lift_mm"] == pytest.approx(state["lift"]["position_mm"], abs=0.2)
        assert abs(state["body"]["eyes_cm"] - state["body"]["lens_cm"]) < 9  # 5 degrees at a metre
        assert state["lift"]["fastest_mm_s"] <= 100
