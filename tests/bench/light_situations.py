"""How far the light loop comes: six people in twelve situations of light, against lamps that stay where they are.

    python -m tests.bench.light_situations            # the table
    python -m tests.bench.light_situations docs       # the same into docs/light.md and docs/images/light-*.svg

The virtual booth's own renderer makes the pictures (its lamps, daylight, room and camera registers), in this process; the loop is the product's
(capture.balance), on previews with noise, and the photo before and after is a still cut and judged as a visit's is (booth.attempt.judge_burst,
profile demo). "good": no rule of light, colour or background refuses or warns. Times are not told here: rendering is not what a booth waits for
(python -m tests.bench.light_wire measures them over the wire).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from booth.attempt import judge_burst
from capture.balance import Balancer, LightOutcome
from capture.frames import Frame
from capture.metering import Bands, MeterReading, meter
from hardware.controls import CameraControlSettings, CameraControlState, ExposureMode, WhiteBalance
from hardware.sim.fixtures import Daylight
from hardware.sim.lens import GAIN_DB, IRIS_F, SHUTTER_S, Settings
from hardware.sim.passes import StackCache
from hardware.sim.room import Room
from hardware.sim.scenarios import LAMPS, PEOPLE
from hardware.sim.scene import Noise, Renderer
from hardware.sim.sitter import Sitter
from hardware.visca_models import load_model
from tests.bench.page_tables import fill_tables
from validation.face import FaceModel
from validation.profile import load_profile
from validation.report import Verdict

PROJECT = Path(__file__).resolve().parents[2]
NOMINAL_PCT = 62.5
ROOM = 0.35
PREVIEW, STILL = (600, 800), (960, 1280)
JUDGED = ("light.", "background.")


@dataclass(frozen=True)
class Situation:
    """What is wrong with the light."""

    name: str
    arrange: Callable[[Room], None]
    shutter_per_s: int = 60
    cause: tuple[str, str] | None = None  # what the loop should name


def _weak(lamp: str, strength: float) -> Callable[[Room], None]:
    def arrange(room: Room) -> None:
        room.fixtures.named(lamp).strength = strength

    return arrange


def _dead(lamp: str) -> Callable[[Room], None]:
    return lambda room: room.set_dead(lamp, dead=True)


def _day(side: str, level: float = 4.0, kelvin: float = 6500.0) -> Callable[[Room], None]:
    def arrange(room: Room) -> None:
        room.daylight = Daylight(side, level, kelvin)

    return arrange


SITUATIONS = (
    *(Situation(f"{lamp} at 30 %", _weak(lamp, 0.3), cause=("lamp", lamp)) for lamp in LAMPS),
    Situation("key_left dead", _dead("key_left"), cause=("lamp", "key_left")),
    Situation("background dead", _dead("background"), cause=("lamp", "background")),
    *(Situation(f"daylight from {side}", _day(side), cause=("ambient", side)) for side in ("left", "right", "top")),
    Situation("dim room", lambda room: setattr(room, "ambient", 0.05)),
    Situation("warm light from above", _day("top", 2.0, 2700.0), cause=("ambient", "top")),
    Situation("exposure two stops short", lambda _: None, 250, ("camera", "exposure")),
)


class RenderedStation:
    """What the loop needs of a station, on the virtual booth's room and renderer."""

    nominal_pct = NOMINAL_PCT

    def __init__(self, person: str, situation: Situation, cache: StackCache, *, controls: bool, lamps: bool) -> None:
        self._model = load_model("evi-d70")
        self._registers = Settings(shutter=self._model.shutter_step(1e6 / situation.shutter_per_s))
        self._room = Room(Sitter(person, "still", 0.0), ROOM)
        situation.arrange(self._room)
        self._room.head = lambda: self._registers
        self._room.lamps = self
        self._controls, self._lamps = controls, lamps
        self._levels = dict.fromkeys(LAMPS, NOMINAL_PCT)
        self._renderer, self._noise = Renderer(cache), Noise(seed=7)
        self.settled_ns = 0

    @property
    def levels_pct(self) -> Mapping[str, float]:
        return dict(self._levels) if self._lamps else {}

    def outputs(self) -> Mapping[str, tuple[float, float, float]]:
        """For the room: eight-bit lamps."""
        return {name: (round(level * 2.55) / 255,) * 3 for name, level in self._levels.items()}

    @property
    def control_state(self) -> CameraControlState | None:
        if not self._controls:
            return None
        own = self._registers
        return CameraControlState(
            powered=True,
            exposure_mode=ExposureMode.MANUAL,
            exposure_us=SHUTTER_S[own.shutter] * 1e6,
            f_number=IRIS_F[own.iris],
            gain_db=GAIN_DB[own.gain],
            white_balance=WhiteBalance.MANUAL,
            red_gain=own.red_gain,
            blue_gain=own.blue_gain,
        )

    async def read_controls(self) -> CameraControlState | None:
        return self.control_state

    async def set_camera(self, settings: CameraControlSettings) -> CameraControlState | None:
        own = self._registers
        if settings.exposure_us is not None:
            own.shutter = self._model.shutter_step(settings.exposure_us)
        if settings.gain_db is not None:
            own.gain = self._model.gain_step(settings.gain_db)
        own.red_gain = settings.red_gain or own.red_gain
        own.blue_gain = settings.blue_gain or own.blue_gain
        return self.control_state

    async def set_levels(self, levels_pct: Mapping[str, float]) -> Mapping[str, float]:
        self._levels.update(levels_pct)
        return self.levels_pct

    async def see(self) -> None:
        """The next picture is always a new one."""

    def picture(self, size: tuple[int, int]) -> np.ndarray:
        view = self._room.view(0.0, size)
        return self._noise.on(self._renderer.picture(view, size).pixels, view.gain_db)


@dataclass(frozen=True)
class Run:
    """One person in one situation."""

    situation: Situation
    person: str
    before: tuple[str, ...]  # rules that do not hold
    after: tuple[str, ...]
    refused_before: bool
    refused_after: bool
    outcome: LightOutcome | None


class Trial:
    """Everything that is loaded once."""

    def __init__(self, model: FaceModel) -> None:
        self.model, self.profile, self.cache = model, load_profile("demo"), StackCache()
        self.loop_s: list[float] = []

    def judged(self, station: RenderedStation) -> tuple[tuple[str, ...], bool]:
        """The rules of light and wall that a photo would break now, and whether one of them refuses it."""
        frame = Frame(station.picture(STILL).copy(), 1, 1, "PNG", lossy=False)
        report = judge_burst((frame,), self.profile, self.model).report
        broken = [f for f in report.findings if f.rule.startswith(JUDGED) and f.verdict in {Verdict.FAIL, Verdict.WARN}]
        return tuple(f.rule for f in broken), any(f.verdict is Verdict.FAIL for f in broken)

    def read(self, station: RenderedStation) -> MeterReading:
        pixels = station.picture(PREVIEW)
        scene = self.model.scene(pixels)
        return meter(
            pixels, None if scene.face is None else scene.face.landmarks, scene.person_mask, time.monotonic_ns()
        )

    async def run(self, situation: Situation, person: str, *, controls: bool = True, lamps: bool = True) -> Run:
        station = RenderedStation(person, situation, self.cache, controls=controls, lamps=lamps)
        before, refused_before = self.judged(station)
        balancer = Balancer(station, Bands.of(self.profile), lambda: None)  # type: ignore[arg-type] - the part of a station that it uses

        async def next_reading(_after_ns: int) -> MeterReading:
            return self.read(station)

        outcome = None
        for _ in range(4):
            reading = self.read(station)
            if reading.has_face and not balancer.is_due(reading):
                outcome = outcome or balancer.fine(reading)
                break
            outcome = await balancer.run(reading, next_reading)
            if outcome is not None:
                break
        after, refused_after = self.judged(station)
        return Run(situation, person, before, after, refused_before, refused_after, outcome)


def _named(run: Run) -> str:
    problem = None if run.outcome is None else run.outcome.problem
    return "" if problem is None else f"{problem.kind} {problem.name}"


def table(runs: Sequence[Run]) -> str:
    lines = [
        "| situation | good with fixed lamps | good with the loop | refused, fixed | refused, loop | steps (mean, most) | cause named rightly, of those that needed a step | what stays |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for situation in (*SITUATIONS, None):
        own = [run for run in runs if situation is None or run.situation is situation]
        if not own:
            continue
        steps = [run.outcome.steps for run in own if run.outcome is not None]
        stepped = [run for run in own if run.outcome is not None and run.outcome.steps and run.situation.cause]
        right = sum(_named(run) == " ".join(run.situation.cause or ()) for run in stepped)
        left = sorted({rule for run in own for rule in run.after})
        lines.append(
            f"| {situation.name if situation else '**all**'} | {sum(not run.before for run in own)}/{len(own)} "
            f"| {sum(not run.after for run in own)}/{len(own)} | {sum(run.refused_before for run in own)} "
            f"| {sum(run.refused_after for run in own)} | {mean(steps) if steps else 0:.1f}, {max(steps, default=0)} "
            f"| {f'{right}/{len(stepped)}' if stepped else ''} | {', '.join(f'`{rule}`' for rule in left)} |"
        )
    return "\n".join(lines)


def bars(runs: Sequence[Run]) -> str:
    """Share of good photos per situation, fixed lamps beside the loop."""
    row, left, width, top = 30, 190, 420, 54
    height = top + row * len(SITUATIONS) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 60} {height}" font-family="sans-serif" font-size="13" role="img">',
        "<title>Photos without a broken rule of light, colour or background: fixed lamps beside the light loop</title>",
        f'<rect width="{left + width + 60}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="20" font-weight="bold">Photos (of six people) that keep every rule of light, colour and wall</text>',
        f'<rect x="{left}" y="30" width="12" height="10" fill="#b9b9b9"/><text x="{left + 18}" y="40">fixed lamps</text>',
        f'<rect x="{left + 120}" y="30" width="12" height="10" fill="#1f5fa8"/><text x="{left + 138}" y="40">light loop</text>',
    ]
    for number, situation in enumerate(SITUATIONS):
        own = [run for run in runs if run.situation is situation]
        y = top + row * number
        parts.append(f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{situation.name}</text>')
        for shift, colour, count in (
            (2, "#b9b9b9", sum(not run.before for run in own)),
            (13, "#1f5fa8", sum(not run.after for run in own)),
        ):
            wide = width * count / len(own)
            parts.append(f'<rect x="{left}" y="{y + shift}" width="{wide:.0f}" height="10" fill="{colour}"/>')
            parts.append(f'<text x="{left + wide + 5:.0f}" y="{y + shift + 9}" font-size="10">{count}</text>')
    return "\n".join([*parts, "</svg>", ""])


def steps_plot(runs: Sequence[Run]) -> str:
    """How many steps the loop took."""
    counts = [sum(run.outcome is not None and run.outcome.steps == n for run in runs) for n in range(4)]
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 420 230" font-family="sans-serif" font-size="13" role="img">',
        "<title>Steps of the light loop</title>",
        '<rect width="420" height="230" fill="#fff"/>',
        f'<text x="20" y="22" font-weight="bold">Steps that the loop took ({len(runs)} visits)</text>',
    ]
    for number, count in enumerate(counts):
        tall = 140 * count / max(counts)
        x = 40 + 90 * number
        parts.append(f'<rect x="{x}" y="{190 - tall:.0f}" width="60" height="{tall:.0f}" fill="#1f5fa8"/>')
        parts.append(f'<text x="{x + 30}" y="{184 - tall:.0f}" text-anchor="middle">{count}</text>')
        parts.append(f'<text x="{x + 30}" y="210" text-anchor="middle">{number}</text>')
    return "\n".join([*parts, "</svg>", ""])


async def main(folder: Path | None) -> None:
    tables: dict[str, str] = {}
    with FaceModel() as model:
        trial = Trial(model)
        for name, means in (
            ("situations", {}),
            ("lamps-only", {"controls": False}),
        ):
            runs = []
            for situation in SITUATIONS:
                for person in PEOPLE:
                    run = await trial.run(situation, person, **means)
                    runs.append(run)
                    steps = None if run.outcome is None else run.outcome.steps
                    print(
                        f"{name}: {situation.name}, {person}: {list(run.before)} -> {list(run.after)}, {steps} steps, {_named(run)}"
                    )
            tables[name] = table(runs)
            print(tables[name])
            if folder is not None and name == "situations":
                (folder / "images" / "light-share.svg").write_text(bars(runs), "utf-8")
                (folder / "images" / "light-steps.svg").write_text(steps_plot(runs), "utf-8")
    if folder is not None:
        fill_tables(folder / "light.md", tables)


if __name__ == "__main__":
    asyncio.run(main(PROJECT / sys.argv[1] if len(sys.argv) > 1 else None))
