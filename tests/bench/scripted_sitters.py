"""Scripted sitters before the real controller: what each is told, when, and how it ends.

    python -m tests.bench.scripted_sitters [NAME...] [--json FILE]

Each sitter sits down somehow and then does what he is told, REACTION_S after he was told it, or never. The virtual booth, camera, lamps, checker, guidance, visit
and judgement are the real ones at their usual speeds; the intake is a stand-in. Printed: the instructions with their times since framing began, the moment
the sitter became right and still and the time from there to the shutter, and the end: a portrait that passes, one that passes with a remark, or what the
review explains. Exit code 1 when a sitter ended otherwise than he should.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from booth.kiosk import BoothFacade, Cancel, ChooseLanguage, Consent, Identify, KioskFinding, KioskState, Start
from booth.messages import Messages
from booth.runner import open_booth
from crypto.keys import make_development_pki
from tests.booth_rig import FakeIntake, Simulator, booth_config

REACTION_S = 0.9  # to hear or read a short sentence and to begin to follow it
SEATED_S = 1.0  # between sitting down and the first touch: no picture of the one before is left
LONGEST_S = 60.0
NUMBER = "DEMO2026000017Q"
Orders = Mapping[str, Any]


@dataclass(frozen=True)
class Sitter:
    """How somebody sits down, and what he does when he is told something: orders to the virtual booth, the next ones each time."""

    name: str
    begins: tuple[Orders, ...]
    does: Mapping[str, tuple[tuple[Orders, ...], ...]] = field(default_factory=dict)
    by_himself: tuple[tuple[float, tuple[Orders, ...]], ...] = ()  # seconds after framing began
    ends: str = "passes"  # "passes", or the rule that the review explains
    told: tuple[str, ...] = ()  # instructions that must be among those told


def _person(name: str, **more: Any) -> tuple[Orders, ...]:
    return ({"person": name}, {"sitter": "still"}, *({key: value} for key, value in more.items()))


_AS_USUAL: tuple[Orders, ...] = ({"look": None}, {"place": {}})
_STILL: tuple[Orders, ...] = ({"sitter": "still"},)


def _obeys(*keys: str) -> dict[str, tuple[tuple[Orders, ...], ...]]:
    return dict.fromkeys((f"advice.{key}" for key in keys), (_AS_USUAL,))


SITTERS: tuple[Sitter, ...] = (
    Sitter("sits right at once", _person("anna")),
    Sitter(
        "sits too far to one side",
        _person("jorge", place={"x": 0.33}),
        {f"advice.{side}": (({"place": {"x": 0.15}},), ({"place": {}},)) for side in ("left", "right")},
    ),
    Sitter(
        "sits too far away",
        _person("kwame", place={"size": 0.5}),
        {"advice.closer": (({"place": {"size": 0.75}},), ({"place": {}},))},
        told=("advice.closer",),
    ),
    Sitter(
        "sits too close",
        _person("amara", place={"size": 1.5}),
        {f"advice.{way}": (({"place": {"size": 1.25}},), ({"place": {}},)) for way in ("back", "up", "down")},
        told=("advice.back",),
    ),
    Sitter(
        "looks to the side",
        ({"person": "anna"}, {"sitter": "look_away"}),
        {f"advice.turn_head_{side}": (_STILL,) for side in ("left", "right")},
    ),
    Sitter(
        "tilts the head",
        _person("mei", look="roll+15"),
        {f"advice.tilt_head_{side}": (({"look": "roll+5"},), ({"look": None},)) for side in ("left", "right")},
    ),
    Sitter("lowers the chin", _person("kwame", look="pitch-20"), _obeys("chin_up", "chin_down")),
    Sitter(
        "blinks all the time, then less",
        ({"person": "anna"}, {"sitter": "still"}),
        by_himself=tuple((0.5 + 0.45 * n, ({"sitter": "blink"},)) for n in range(9)),
    ),
    Sitter("has the eyes closed", _person("jorge", look="eyes_closed"), _obeys("open_eyes"), told=("advice.open_eyes",)),
    Sitter(
        "smiles",
        ({"person": "anna"}, {"sitter": "smile"}),
        {f"advice.{key}": (_STILL,) for key in ("close_mouth", "relax_face")},
    ),
    Sitter("has the mouth open", _person("jorge", look="mouth_open"), _obeys("close_mouth"), told=("advice.close_mouth",)),
    Sitter("looks elsewhere", _person("amara", look="gaze_left"), _obeys("look_here"), told=("advice.look_here",)),
    Sitter("wears glasses and takes them off", _person("jorge", look="glasses"), _obeys("take_off_glasses"), told=("advice.take_off_glasses",)),
    Sitter("wears glasses and keeps them on", _person("jorge", look="glasses"), ends="eyes.glasses", told=("advice.take_off_glasses",)),
    Sitter("wears sunglasses", _person("kwame", look="sunglasses"), _obeys("take_off_glasses"), told=("advice.take_off_glasses",)),
    Sitter("wears a cap", _person("kwame", look="cap"), _obeys("take_off_hat", "uncover_face", "hair_from_eyes"), told=("advice.take_off_hat",)),
    Sitter("has hair over an eye", _person("mei", look="hair_over_eye"), _obeys("hair_from_eyes", "uncover_face", "take_off_hat", "open_eyes")),
    Sitter("has somebody beside her", _person("ingrid", look="second_person"), _obeys("one_person"), told=("advice.one_person",)),
    Sitter("wears a mask and keeps it on", _person("ingrid", look="mask"), ends="face.lower_visible", told=("advice.uncover_face",)),
    Sitter(
        "fidgets, then sits still",
        _person("anna"),
        by_himself=(
            *((0.3 + 0.2 * n, ({"place": {"x": 0.07 * (n % 2)}},)) for n in range(22)),
            (5.0, ({"place": {}},)),
        ),
    ),
)  # fmt: skip


@dataclass
class Played:
    """What happened."""

    name: str
    instructions: list[tuple[float, str]]
    shutter_s: float | None
    right_s: float  # the last time that the sitter changed
    ends: str
    remarks: list[str]
    as_it_should: bool


class Player:
    """Moves one sitter and writes down what he is told."""

    def __init__(self, simulator: Simulator, sitter: Sitter) -> None:
        self._simulator, self._sitter = simulator, sitter
        self._left = {key: list(steps) for key, steps in sitter.does.items()}
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = 0.0
        self.told: list[tuple[float, str]] = []
        self.changed_s = 0.0
        self.shutter_s: float | None = None

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._begun

    async def sit_down(self) -> None:
        for order in (*_AS_USUAL[1:], *self._sitter.begins):
            await asyncio.to_thread(self._simulator.tell, **order)
        await asyncio.sleep(SEATED_S)

    def begin(self) -> None:
        self._begun = time.monotonic()
        for at_s, orders in self._sitter.by_himself:
            self._later(at_s, orders)

    def see(self, state: KioskState) -> None:
        """Another state of the kiosk."""
        if state.state == "capturing":
            self.shutter_s = self.shutter_s or self.now_s
        if state.state != "framing" or (self.told and self.told[-1][1] == state.instruction.key):
            return
        key = state.instruction.key
        self.told.append((self.now_s, key))
        if steps := self._left.get(key):
            self._later(REACTION_S, steps.pop(0), again=key)

    def _later(self, delay_s: float, orders: tuple[Orders, ...], again: str | None = None) -> None:
        task = asyncio.create_task(self._move(delay_s, orders, again))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _move(self, delay_s: float, orders: tuple[Orders, ...], again: str | None) -> None:
        await asyncio.sleep(delay_s)
        for order in orders:
            await asyncio.to_thread(self._simulator.tell, **order)
        self.changed_s = self.now_s
        # Whoever is still told the same goes on doing so.
        if again is not None and self._left[again]:
            await asyncio.sleep(REACTION_S)
            if self.told[-1][1] == again:
                self._later(0, self._left[again].pop(0), again)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def play(booth: BoothFacade, simulator: Simulator, sitter: Sitter) -> Played:
    """One visit up to its review; the booth is free again afterwards."""
    player = Player(simulator, sitter)
    await player.sit_down()
    review: KioskState | None = None
    try:
        async with asyncio.timeout(LONGEST_S), booth.subscribe() as states:
            async for state in states:
                _go_on(booth, state)
                if state.state == "framing" and player._begun == 0:
                    player.begin()
                player.see(state)
                if state.state in {"review", "assistance"}:
                    review = state
                    break
    finally:
        await player.end()
    assert review is not None
    broken = [found.rule for found in review.findings if found.level == "reject" and _breaks(found)]
    remarks = [found.rule for found in review.findings if found.level != "info" and found.verdict == "warn"]
    reached = sitter.ends == "passes" or sitter.ends in {*broken, *remarks}
    fits = bool(review.compliant) == (not broken) and (sitter.ends != "passes" or not broken)
    obeyed = {key for _, key in player.told} >= set(sitter.told)
    await _leave(booth)
    ends = "passes" if review.compliant else f"explains {', '.join(broken)}"
    return Played(
        sitter.name, player.told, player.shutter_s, player.changed_s, ends, remarks, reached and fits and obeyed
    )


def _go_on(booth: BoothFacade, state: KioskState) -> None:
    """The applicant's touches up to the camera."""
    match state.state:
        case "attract":
            booth.post(Start())
        case "language":
            booth.post(ChooseLanguage(language="en"))
        case "identify" if "identify" in state.commands:
            booth.post(Identify(number=NUMBER))
        case "consent":
            booth.post(Consent(answer=True))


def _breaks(found: KioskFinding) -> bool:
    return found.verdict in {"fail", "not_assessed"}


async def _leave(booth: BoothFacade) -> None:
    booth.post(Cancel())
    async with asyncio.timeout(LONGEST_S), booth.subscribe() as states:
        async for state in states:
            if state.state == "attract":
                return


def told(played: Played) -> str:
    """A row of the table."""
    words = Messages.load("en")
    steps = " → ".join(f"{at:.1f} s “{words.text(key)}”" for at, key in played.instructions)
    shutter = "" if played.shutter_s is None else f"{played.shutter_s:.1f}"
    waited = "" if played.shutter_s is None else f"{played.shutter_s - played.right_s:.1f}"
    ends = played.ends + (f"; remarks: {', '.join(played.remarks)}" if played.remarks else "")
    return f"| {played.name} | {steps} | {played.right_s:.1f} | {shutter} | {waited} | {ends} |"


async def play_all(sitters: Iterable[Sitter], folder: Path) -> list[Played]:
    """Every sitter in turn before one booth."""
    simulator = Simulator(folder / "sim", "visit")
    try:
        pki = make_development_pki(folder / "pki")
        config = booth_config(folder, pki, simulator.facts["toml"])
        all_played = []
        async with open_booth(config, transport=FakeIntake(pki)) as booth:
            for sitter in sitters:
                all_played.append(await play(booth, simulator, sitter))
                print(told(all_played[-1]), flush=True)
    finally:
        simulator.stop()
    return all_played


def main() -> int:
    """Play them and print the table."""
    reading = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reading.add_argument("names", nargs="*", help="sitters; all unless told")
    reading.add_argument("--json", type=Path)
    wanted = reading.parse_args()
    chosen = [sitter for sitter in SITTERS if not wanted.names or sitter.name in wanted.names]
    print("| sitter | told, seconds after framing began | right and still, s | photo, s | waited, s | end |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        played = asyncio.run(play_all(chosen, Path(folder)))
    if wanted.json:
        wanted.json.write_text(json.dumps([asdict(each) for each in played], indent=1), "utf-8")
    wrong = [each.name for each in played if not each.as_it_should]
    print(f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())}; otherwise than it should: {wrong or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
