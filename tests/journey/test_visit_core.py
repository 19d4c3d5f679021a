"""Whole visits against the virtual booth at the wire: the controller's core without its pages."""

from __future__ import annotations

import asyncio
import json

import pytest

from booth.kiosk import Accept, Cancel, ChooseLanguage, Consent, Identify, Start
from crypto.keys import load_recipient_key, load_trust, make_development_pki
from crypto.seal import open_packet
from tests.booth_rig import FakeIntake, booth_config, running_booth, running_simulator

NUMBER = "DEMO-2026-000017"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


async def until_framing(watcher, number=NUMBER):
    await watcher.until("attract")
    watcher.booth.post(Start())
    watcher.booth.post(ChooseLanguage(language="de"))
    if number is not None:
        watcher.booth.post(Identify(number=number))
    await watcher.until("consent")
    watcher.booth.post(Consent(answer=True))
    return await watcher.until("framing")


async def test_a_visit_from_the_camera_to_the_intake(tmp_path, pki, no_tasks_left):
    intake = FakeIntake(pki)
    async with running_simulator(tmp_path / "sim", "visit") as simulator:
        config = booth_config(tmp_path, pki, simulator.facts["toml"])
        async with running_booth(config, intake) as watcher:
            await watcher.until("attract")
            watcher.booth.post(Start())
            watcher.booth.post(ChooseLanguage(language="de"))
            await simulator.tell(sitter="still")
            await simulator.tell(show_code=NUMBER)
            await watcher.until("consent")
            await simulator.tell(show_code=None)
            await simulator.tell(sitter="look_away")
            watcher.booth.post(Consent(answer=True))
            guided = await watcher.until(lambda s: s.state == "framing" and s.instruction.key.startswith("advice.turn"))
            assert guided.overlay is not None
            await simulator.tell(sitter="still")
            await watcher.until("capturing")
            review = await watcher.until("review")
            failed = [(f.rule, f.value) for f in review.findings if f.verdict not in {"pass", "warn"}]
            assert review.compliant, failed
            portrait = watcher.booth.portrait()
            watcher.booth.post(Accept())
            thanks = await watcher.until("thanks")
            async with asyncio.timeout(10):
                await intake.received.wait()
            watcher.booth.post(Cancel())
            await watcher.until("attract")
            assert watcher.booth.portrait() is None
            status = watcher.booth.technician()
            assert {device.state for device in status.devices} == {"ready"}
            assert status.lights_pct["key_left"] > 0
    opened = open_packet(intake.packets[0], [load_recipient_key(pki / "desk.hpke")], load_trust(pki / "ca.pem"))
    assert opened.parts["portrait.jpg"] == portrait
    assert opened.header.packet_id.upper().startswith(thanks.reference.replace("-", ""))
    report = json.loads(opened.parts["report.json"])
    assert [(f["rule"], f["value"]) for f in report["findings"]] == [(f.rule, f.value) for f in review.findings]
    visit = json.loads(opened.parts["visit.json"])
    assert visit["application"] == {"number": NUMBER, "how": "scanned"}
    assert NUMBER not in str(watcher.seen)
