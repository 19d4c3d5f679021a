"""The light loop over the wire: whole visits in bad light, the serial budget, and what the loop costs.

    python -m tests.bench.light_wire            # tables
    python -m tests.bench.light_wire docs       # the same into docs/light.md

Visits: virtual booth and controller as two processes' worth of real devices (ptys, HTTP), one sitter in five situations; told are the steps, the time
of the balance, the time from the first face to the shutter, and how the photo was judged. Serial budget: a lamp's command until its acknowledgement
over the simulated WLED. Cost: processor time of metering and planning while somebody sits there, of one core.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from booth.kiosk import Accept, ChooseLanguage, Consent, Identify, Start
from booth.runner import open_booth
from capture.light_model import PATCHES, Seen, learn
from capture.light_plan import plan
from capture.metering import meter
from crypto.keys import load_recipient_key, load_trust, make_development_pki
from crypto.seal import open_packet
from hardware.lights import CHANNELS, LightsSettings, open_lights
from tests.bench.page_tables import fill_tables
from tests.booth_rig import FakeIntake, Simulator, booth_config
from validation.face import FaceModel

PROJECT = Path(__file__).resolve().parents[2]
NUMBER = "DEMO2026000017Q"
WITHIN_S = 60.0
COMMANDS = 400
METERED_A_SECOND = 4  # booth.checker
APPLICANTS = PROJECT / "hardware" / "sim" / "applicants"

Orders = tuple[Mapping[str, Any], ...]
SITUATIONS: Mapping[str, tuple[Orders, Orders]] = {
    "good light": ((), ()),
    "background lamp at 30 %": (
        ({"lamp": "background", "strength": 0.3},),
        ({"lamp": "background", "strength": 1},),
    ),
    "key_left dead": (({"lamp": "key_left", "dead": True},), ({"lamp": "key_left", "dead": False},)),
    "daylight from the right": (
        ({"daylight": {"from": "right", "level": 4, "kelvin": 6500}},),
        ({"daylight": None},),
    ),
    "warm light from above": (
        ({"daylight": {"from": "top", "level": 2, "kelvin": 2700}},),
        ({"daylight": None},),
    ),
}


async def visit(folder: Path, pki: Path, simulator: Simulator, person: str) -> dict[str, Any]:
    """One visit from the start to the packet; what its visit.json says of the light, and the time to the shutter."""
    os.environ["PASSBOOTH_VOICE__ENABLED"] = "false"
    intake = FakeIntake(pki)
    config = booth_config(folder, pki, simulator.facts["toml"])
    times: dict[str, float] = {}
    async with open_booth(config, transport=intake) as booth, asyncio.timeout(WITHIN_S):
        async with booth.subscribe() as states:
            async for state in states:
                times.setdefault(state.state, time.monotonic())
                if state.state == "attract":
                    for command in (Start(), ChooseLanguage(language="en"), Identify(number=NUMBER)):
                        booth.post(command)
                elif state.state == "consent":
                    simulator.tell(person=person)
                    simulator.tell(sitter="still")
                    booth.post(Consent(answer=True))
                elif state.state == "review":
                    booth.post(Accept())
                elif state.state == "thanks":
                    break
        await intake.came.wait()
    simulator.tell(sitter="absent")
    packet = open_packet(intake.received[0], [load_recipient_key(pki / "desk.hpke")], load_trust(pki / "ca.pem"))
    facts, report = (json.loads(packet.parts[part]) for part in ("visit.json", "report.json"))
    broken = [
        finding["rule"]
        for finding in report["findings"]
        if finding["rule"].startswith(("light.", "background.")) and finding["verdict"] in {"fail", "warn"}
    ]
    if os.environ.get("SHOW"):
        print(json.dumps(facts["guidance"]), json.dumps(facts["light"]), facts["steps"])
    return {**facts["light"]["balance"], "shutter_s": times["capturing"] - times["framing"], "broken": broken}


async def visits() -> str:
    lines = [
        "| situation | sitter | steps | balance, s | framing to shutter, s | cause named | rules broken in the photo |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pki = make_development_pki(folder / "pki")
        simulator = Simulator(folder / "sim", "visit")
        try:
            for number, (situation, (before, after)) in enumerate(SITUATIONS.items()):
                for person in ("kwame", "mei"):
                    for order in before:
                        simulator.tell(**order)
                    (own := folder / f"{number}{person}").mkdir()
                    told = await visit(own, pki, simulator, person)
                    for order in after:
                        simulator.tell(**order)
                    problem = told["problem"]
                    cause = "" if problem is None else f"{problem['kind']} {problem['name']} {problem['value']:.2f}"
                    lines.append(
                        f"| {situation} | {person} | {told['steps']} | {told['time_ms'] / 1000:.2f} | {told['shutter_s']:.1f} "
                        f"| {cause} | {', '.join(told['broken']) or 'none'} |"
                    )
                    print(lines[-1], flush=True)
        finally:
            simulator.stop()
    return "\n".join(lines)


async def serial_budget() -> str:
    """Milliseconds from the call to the acknowledgement."""
    lines = ["| lamps | median, ms | p95, ms | worst, ms |", "|---|---|---|---|"]
    for scenario, name in (("visit", "WLED, 115200 baud"), ("dmx", "DMX512, ENTTEC USB Pro")):
        with tempfile.TemporaryDirectory() as folder:
            simulator = Simulator(Path(folder) / "sim", scenario)
            try:
                config = booth_config(Path(folder), make_development_pki(Path(folder) / "pki"), simulator.facts["toml"])
                assert config.lights is not None
                settings = LightsSettings(url=config.lights.url, channels=config.lights.channels)
                async with open_lights(settings.url, settings.channels) as lights:
                    taken = []
                    for number in range(COMMANDS):
                        began = time.perf_counter()
                        await lights.set_levels(dict.fromkeys(CHANNELS, 20.0 + number % 60))
                        taken.append((time.perf_counter() - began) * 1000)
            finally:
                simulator.stop()
        lines.append(f"| {name} | {median(taken):.1f} | {float(np.percentile(taken, 95)):.1f} | {max(taken):.1f} |")
    return "\n".join(lines)


def cost() -> str:
    """Processor time of the loop while somebody sits there, and of a balance."""
    picture = cv2.resize(cv2.imread(str(APPLICANTS / "people" / "anna" / "neutral.jpg")), (600, 800))
    with FaceModel() as model:
        scene = model.scene(picture)
    assert scene.face is not None
    for _ in range(20):
        reading = meter(picture, scene.face.landmarks, scene.person_mask, 0)
    began = time.process_time()
    for _ in range(200):
        reading = meter(picture, scene.face.landmarks, scene.person_mask, 0)
    meter_ms = (time.process_time() - began) / 200 * 1000
    frame = Seen(reading.patches, (1.0, 1.0, 1.0, 1.0))
    began = time.process_time()
    for _ in range(10):
        learned = learn((frame, frame))
        plan(learned, [2 ** (n / 6) for n in range(-18, 19)], (1.6,) * 4, seen=np.ones(len(PATCHES), dtype=bool))
    plan_ms = (time.process_time() - began) / 10 * 1000
    return "\n".join(
        [
            "| what | processor time, ms | of one core |",
            "|---|---|---|",
            f"| metering a frame, {METERED_A_SECOND} times a second | {meter_ms:.1f} | {meter_ms * METERED_A_SECOND / 10:.1f} % |",
            f"| model and plan, once a step, at most 3 in a balance | {plan_ms:.0f} | |",
        ]
    )


async def main(folder: Path | None) -> None:
    tables = {"serial": await serial_budget(), "cost": cost(), "visits": await visits()}
    for lines in tables.values():
        print(lines, end="\n\n")
    if folder is not None:
        fill_tables(folder / "light.md", tables)


if __name__ == "__main__":
    asyncio.run(main(PROJECT / sys.argv[1] if len(sys.argv) > 1 else None))
