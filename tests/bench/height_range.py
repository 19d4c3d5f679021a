"""Applicants of every height before the real controller: where the lens ends, at which elevation, and whether the photo's geometry passes.

    python -m tests.bench.height_range [--axis with|without|both] [--every CM] [--posture NAME...] [--json FILE]

For each posture and body height somebody of that height is there when framing begins; without a height axis who is told about the seat turns it
by SEAT_STEP_CM, as often as it is said (who stands or sits in a wheelchair has no seat to turn). Controller, camera, checker, guidance and visit
are the real ones at their usual speeds, before the virtual booth. The head is not rendered anew as seen from above or below: what is proven is
where lens and eyes end, not the pitch that a real face would show.
Printed: told elevation, the true one (the virtual booth knows eyes and lens), position of the axis, tilt, what was told, seconds to the
photo, and the geometry and pose rules that did not pass. Exit code 1 when somebody in reach was not brought within the elevation limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from booth.kiosk import Cancel, ChooseLanguage, Consent, Identify, KioskState, Start
from booth.runner import Runner, open_booth
from capture.height import ELEVATION_LIMIT_DEG
from crypto.keys import make_development_pki
from tests.booth_rig import FakeIntake, Simulator, booth_config

NUMBER = "DEMO2026000017Q"
DISTANCE_CM = 98.8  # of the virtual booth's head from its lens
STATURES = {"seated": (110, 200), "standing": (110, 200), "wheelchair": (110, 200), "child": (110, 150)}
SEATS = ("seated", "child")
SEAT_STEP_CM, SEAT_LIMITS_CM, REACTION_S = 4.0, (35.0, 75.0), 0.9
LONGEST_S = 150.0
JUDGED = ("geometry.", "pose.")


@dataclass(frozen=True)
class Outcome:
    """One applicant."""

    axis: bool
    posture: str
    stature_cm: int
    eyes_cm: float
    elevation_deg: float | None
    true_elevation_deg: float
    lens_cm: float
    tilt_deg: float | None
    told: list[str]
    photo_s: float | None
    broken: list[str]

    @property
    def framed(self) -> bool:
        """Whether the lens ended within the limit, and the photo's geometry passed."""
        return (
            self.photo_s is not None and abs(self.true_elevation_deg) <= ELEVATION_LIMIT_DEG + 0.5 and not self.broken
        )


class Applicant:
    """Answers the kiosk, and turns the seat when told."""

    def __init__(self, booth: Runner, simulator: Simulator, posture: str) -> None:
        self._booth, self._simulator, self._posture = booth, simulator, posture
        self._seat_cm, self._turn_at = 50.0, 0.0
        self.told: list[str] = []

    async def see(self, state: KioskState) -> None:
        """One state of the kiosk."""
        match state.state:
            case "attract":
                self._booth.post(Start())
            case "language":
                self._booth.post(ChooseLanguage(language="en"))
            case "identify" if "identify" in state.commands:
                self._booth.post(Identify(number=NUMBER))
            case "consent":
                self._booth.post(Consent(answer=True))
            case "framing":
                key = state.instruction.key.removeprefix("advice.")
                if not self.told or self.told[-1] != key:
                    self.told.append(key)
                await self._turn_seat(key)

    async def _turn_seat(self, key: str) -> None:
        now = time.monotonic()
        if self._posture not in SEATS or key not in {"seat_up", "seat_down"} or now < self._turn_at:
            return
        self._turn_at = now + REACTION_S
        wanted = self._seat_cm + (SEAT_STEP_CM if key == "seat_up" else -SEAT_STEP_CM)
        self._seat_cm = min(max(wanted, SEAT_LIMITS_CM[0]), SEAT_LIMITS_CM[1])
        await asyncio.to_thread(self._simulator.tell, seat_cm=self._seat_cm)


async def measure(booth: Runner, simulator: Simulator, posture: str, stature_cm: int, *, axis: bool) -> Outcome:
    """One visit up to its review; the booth is free again afterwards."""
    simulator.tell(seat_cm=50, stature_cm=stature_cm, posture=posture, sitter="still", person="kwame")
    applicant = Applicant(booth, simulator, posture)
    begun = photo_s = None
    review: KioskState | None = None
    framing: dict[str, Any] | None = None
    try:
        async with asyncio.timeout(LONGEST_S), aclosing(_states(booth)) as states:
            async for state in states:
                await applicant.see(state)
                if state.state == "framing" and begun is None:
                    begun = time.monotonic()
                if state.state == "capturing" and begun is not None and photo_s is None:
                    photo_s = time.monotonic() - begun
                if state.state in {"review", "assistance"}:
                    review, framing = state, booth._rooms.height.as_record()
                    break
    except TimeoutError:
        pass  # told in the row: no photo
    body = simulator.tell(state=True)["body"]
    true_deg = math.degrees(math.atan((body["eyes_cm"] - body["lens_cm"]) / DISTANCE_CM))
    findings = () if review is None else review.findings
    broken = ["no review came"] if review is None else []
    broken += [f.rule for f in findings if f.rule.startswith(JUDGED) and f.level == "reject" and f.verdict != "pass"]
    await _leave(booth, simulator)
    told = framing or {}
    return Outcome(
        *(axis, posture, stature_cm, body["eyes_cm"], told.get("elevation_deg"), round(true_deg, 1)),
        *(body["lens_cm"], told.get("tilt_deg"), applicant.told, photo_s and round(photo_s, 1), broken),
    )


async def _states(booth: Runner) -> AsyncGenerator[KioskState, None]:
    """The kiosk's state ten times a second: an instruction that stands is still told."""
    while True:
        yield booth.state
        await asyncio.sleep(0.1)


async def _leave(booth: Runner, simulator: Simulator) -> None:
    await asyncio.to_thread(simulator.tell, sitter="absent")
    if "cancel" in booth.state.commands:
        booth.post(Cancel())
    async with asyncio.timeout(LONGEST_S), booth.subscribe() as states:
        async for state in states:
            if state.state == "attract":
                return


def row(each: Outcome) -> str:
    """A line of the table."""
    elevation = "-" if each.elevation_deg is None else f"{each.elevation_deg:+.1f}"
    tilt = "-" if each.tilt_deg is None else f"{each.tilt_deg:+.1f}"
    photo = "none" if each.photo_s is None else f"{each.photo_s:.1f}"
    seat = next((key for key in each.told if key.startswith("seat")), "")
    return (
        f"| {'with' if each.axis else 'without'} | {each.posture} | {each.stature_cm} | {each.eyes_cm:.0f} | {elevation} | "
        f"{each.true_elevation_deg:+.1f} | {each.lens_cm:.0f} | {tilt} | {seat} | {photo} | {', '.join(each.broken) or 'pass'} |"
    )


async def measure_all(folder: Path, people: Sequence[tuple[str, int]], axes: Iterable[bool]) -> list[Outcome]:
    """Everybody in turn, before one booth with the axis and one without."""
    pki = make_development_pki(folder / "pki")
    outcomes = []
    for axis in axes:
        simulator = Simulator(folder / f"sim-{axis}", "lift")
        try:
            devices = simulator.facts["toml"]
            if not axis:
                devices = "\n\n".join(part for part in devices.split("\n\n") if not part.startswith("[lift]"))
            place = folder / f"booth-{axis}"
            place.mkdir()
            async with open_booth(booth_config(place, pki, devices), transport=FakeIntake(pki)) as booth:
                for posture, stature_cm in people:
                    outcomes.append(await measure(booth, simulator, posture, stature_cm, axis=axis))
                    print(row(outcomes[-1]), flush=True)
        finally:
            simulator.stop()
    return outcomes


def main() -> int:
    """Measure and print."""
    reading = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reading.add_argument("--axis", choices=("with", "without", "both"), default="both")
    reading.add_argument("--every", type=int, default=30, help="cm between two body heights")
    reading.add_argument("--posture", nargs="*", choices=tuple(STATURES), default=tuple(STATURES))
    reading.add_argument("--json", type=Path)
    wanted = reading.parse_args()
    people = [
        (posture, stature)
        for posture in wanted.posture
        for stature in range(STATURES[posture][0], STATURES[posture][1] + 1, wanted.every)
    ]
    axes = {"with": (True,), "without": (False,), "both": (True, False)}[wanted.axis]
    print(
        "| axis | posture | body, cm | eyes, cm | elevation told | true | lens, cm | tilt | seat | photo, s | geometry and pose |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        outcomes = asyncio.run(measure_all(Path(folder), people, axes))
    if wanted.json:
        wanted.json.write_text(json.dumps([asdict(each) for each in outcomes], indent=1), "utf-8")
    missed = [f"{each.posture} {each.stature_cm}" for each in outcomes if each.axis and not each.framed]
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"load {load}; with the axis not framed: {missed or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
