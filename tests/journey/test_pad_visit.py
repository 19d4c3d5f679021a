"""An attack held before the camera: the visit goes on as any other, nobody at the booth is told, and the officer is warned."""

from __future__ import annotations

import json

import pytest

from booth.kiosk import Accept, Cancel
from crypto.face_record_codes import PadDecision
from crypto.face_record_der import read_face_record
from crypto.keys import load_recipient_key, load_trust, make_development_pki
from crypto.seal import open_packet
from server.messages import load_messages
from server.pad_card import pad_card
from server.records import read_pad
from tests.booth_rig import Simulator, booth_config, running_booth
from tests.fake_intake import FakeIntake
from tests.journey.test_visit_core import until_framing


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pad-pki"))


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    started = Simulator(tmp_path_factory.mktemp("pad-sim"), "visit")
    yield started
    started.stop()


async def a_visit(config, pki, simulator):
    """One visit to its end: what the pages were shown, and the parts of the packet."""
    intake = FakeIntake(pki)
    async with running_booth(config, intake) as watcher:
        simulator.tell(sitter="still")
        await until_framing(watcher)
        review = await watcher.until("review")
        assert review.compliant, [finding.rule for finding in review.findings if finding.verdict == "fail"]
        watcher.booth.post(Accept())
        await watcher.until("thanks")
        await intake.came.wait()
        probing = watcher.booth._performer.probing
        kept = [shot.pixels for shot in probing._film.shots]
        assert kept
        assert not any(pixels.any() for pixels in kept), "overwritten when they were judged"
        watcher.booth.post(Cancel())
        await watcher.until("attract")
        assert (probing._film, probing._judging) == (None, None)
        seen = str(watcher.seen) + str(watcher.booth.technician())
    simulator.tell(sitter="absent")
    opened = open_packet(intake.received[0], [load_recipient_key(pki / "desk.hpke")], load_trust(pki / "ca.pem"))
    return seen, opened.parts


async def test_a_print_is_photographed_sealed_and_told_to_the_officer_alone(
    tmp_path, pki, simulator, caplog, monkeypatch
):
    monkeypatch.setenv("PASSBOOTH_VISIT__ACTIVE_LIGHT", "true")
    simulator.tell(person="kwame")
    simulator.tell(look="print_bent")
    for number in range(
        2
    ):  # a machine that is busy with other tests may give the first visit too few pictures, or late ones
        folder = tmp_path / str(number)
        folder.mkdir()
        config = booth_config(folder, pki, simulator.facts["toml"], visit={"active_light": True})
        seen, parts = await a_visit(config, pki, simulator)
        score = json.loads(parts["pad/score.json"])
        if score["usable"]:
            break
    assert score["usable"], score["reason"]
    assert score["suspected"]
    assert score["score"] < score["operating_point"]
    assert len(score["frames"]) >= 7
    assert read_face_record(parts["face.bin"]).attack.decision is PadDecision.ATTACK
    assert "pad" not in json.loads(parts["visit.json"])
    for told in (seen, caplog.text, parts["visit.json"].decode(), parts["report.json"].decode()):
        assert "attack" not in told
        assert "suspect" not in told
    card = pad_card(read_pad(parts["pad/score.json"]), parts, load_messages().languages["en"])
    assert card.warning.startswith("The face did not answer")
    assert len(card.frames) == len(score["frames"])
