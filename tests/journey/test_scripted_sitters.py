"""Sitters who do what they are told are led to a portrait that passes; who does not is shown what is wrong (tests/bench/scripted_sitters.py plays all)."""

from __future__ import annotations

import pytest

from crypto.keys import make_development_pki
from tests.bench.scripted_sitters import SITTERS, play
from tests.booth_rig import FakeIntake, Simulator, booth_config, running_booth
from validation.profile import load_profile

LIMIT_S = 6.0  # instead of half a minute


@pytest.fixture
def simulator(tmp_path):
    simulator = Simulator(tmp_path / "sim", "visit")
    yield simulator
    simulator.stop()


def named(name):
    return next(sitter for sitter in SITTERS if sitter.name == name)


async def test_who_obeys_is_led_to_a_portrait_and_who_cannot_sees_the_best_picture_and_why(
    simulator, tmp_path, monkeypatch
):
    short = load_profile("demo").model_copy(update={"framing_limit_s": LIMIT_S})
    monkeypatch.setattr("booth.runner.load_profile", lambda _: short)
    pki = make_development_pki(tmp_path / "pki")
    config = booth_config(tmp_path, pki, simulator.facts["toml"])
    async with running_booth(config, FakeIntake(pki)) as watcher:
        led = await play(watcher.booth, simulator, named("wears a cap"))
        assert led.as_it_should, led
        kept = await play(watcher.booth, simulator, named("wears a mask and keeps it on"))
    assert kept.as_it_should, kept
    assert kept.instructions[-1][1] == "advice.uncover_face"
    assert "face.lower_visible" in kept.ends
    assert kept.shutter_s > LIMIT_S
