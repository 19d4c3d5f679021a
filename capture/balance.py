"""The light loop: brings the light on a face into the rules' limits, with margin, in a few steps; or says what stands in the way.

Order of a balance: reading of the sitter's face -> all rules hold with margin: nothing is done (the usual case) -> else model of all frames so far
(capture.light_model) -> next setting (capture.light_plan) -> camera set and read back, lamps planned again for what it really uses and ramped
softly -> a frame that is newer -> again, at most STEPS_MOST times. It ends early when the model expects nothing from another step; the best
setting that was seen is the one that stays.

A picture without a face that is nearly black or white gets its exposure mended first, or no face would ever be found in it.

Rules
  - Exposure and colour are set in the camera's manual modes only; a camera that cannot be set, or refuses, leaves the lamps; a booth without lamps
    leaves the camera; without both nothing can be balanced, and the outcome says so.
  - Settings live as long as the scene: `restart` forgets what was learned and gives the camera its settings back.
  - No skin tone is aimed at (capture.light_plan).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from capture.camera_light import CameraLight, Taken
from capture.lamp_response import LampResponses
from capture.light_model import CAUSES, COLOUR, EXPOSURE, SEVERAL, SOUND, Cause, LightModel, Seen, Usual, learn
from capture.light_plan import LightPlan, emphasised, plan
from capture.metering import PATCHES, Bands, MeterReading
from capture.station import Station
from hardware.errors import ControlError
from hardware.lights import CHANNELS

log = logging.getLogger(__name__)

STEPS_MOST = 3  # an applicant waits for each; 0.8 were needed in the mean (docs/light.md)
COARSE_MOST = 2
# A picture without a face: the brightest part below this, or the middle above that, and nobody could be found in it; below BLACK it is a lens cap.
TOO_DARK, TOO_BRIGHT, BLACK = 0.12, 0.9, 0.004
COARSE_AIM = 0.6  # of the brightest part
# What is told as the cause: a lamp's strength below, light from a place above, exposure beyond (stops), colour beyond.
WEAK_BELOW, PLACE_ABOVE, ROOM_ABOVE, STOPS_BEYOND, GAIN_BEYOND = 0.8, 0.4, 1.5, 0.4, 0.08
# A light that was as good as it gets is tried again when a patch changed by this factor.
CHANGED = 1.2

NextReading = Callable[[int], Awaitable[MeterReading]]
Drives = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class LightProblem:
    """What stands in the way of good light, or had to be made up for."""

    kind: str  # lamp | ambient | camera
    name: str  # a lamp; left, right, top, room; exposure, white_balance, controls
    value: float  # a lamp's strength, light from a place, the camera's light: 1 = usual (ambient: 0)

    @property
    def advice(self) -> str:
        """Message key of what a technician does."""
        return f"technician.light.problem.{self.kind}"


@dataclass(frozen=True, slots=True)
class LightOutcome:
    """How a balance went."""

    steps: int
    time_ms: int
    before: Mapping[str, float]  # values of the rules that light decides
    after: Mapping[str, float]
    reached: bool  # every rule that light decides holds
    balanced: bool  # with margin
    lacking: tuple[str, ...]  # rules that do not hold
    problem: LightProblem | None
    strengths: Mapping[str, float] = field(default_factory=dict)  # of the lamps, as believed; empty without a step

    def as_record(self) -> dict[str, object]:
        """For visit.json."""
        problem = self.problem
        return {
            "steps": self.steps,
            "time_ms": self.time_ms,
            "before": {rule: round(value, 2) for rule, value in self.before.items()},
            "after": {rule: round(value, 2) for rule, value in self.after.items()},
            "reached": self.reached,
            "balanced": self.balanced,
            "lacking": list(self.lacking),
            "problem": None
            if problem is None
            else {"kind": problem.kind, "name": problem.name, "value": round(problem.value, 2)},
            "strengths": {name: round(value, 2) for name, value in self.strengths.items()},
        }


@dataclass(frozen=True, slots=True)
class _Setting:
    """What lamps and camera are set to."""

    levels_pct: Mapping[str, float]
    taken: Taken


class Balancer:
    """The loop of one station; its owner calls one method at a time."""

    def __init__(self, station: Station, bands: Bands, calibrated: Callable[[], LampResponses | None]) -> None:
        self._station, self._bands, self._calibrated = station, bands, calibrated
        self._camera = CameraLight(station)
        self._seen: list[Seen] = []
        self._last: MeterReading | None = None  # of the setting that stays
        self._coarse = 0

    async def restart(self) -> None:
        """A new sitter: nothing is known, and the camera gets back what the loop changed."""
        self._seen.clear()
        self._last, self._coarse = None, 0
        try:
            await self._camera.restart()
        except ControlError as error:
            log.warning("the camera does not take its settings back: %s", error)

    # --- is there anything to do -------------------------------------------------------------------------------------

    def is_due(self, reading: MeterReading) -> bool:
        """Whether the light of this frame asks for a balance; cheap."""
        if not reading.has_face:
            return self._camera.usable and self._coarse < COARSE_MOST and _out_of_range(reading)
        if self._last is None:
            return not self._bands.balanced(reading.values)
        if self._bands.holds(reading.values):
            return False
        return self._bands.holds(self._last.values) or _changed(self._last, reading)

    def fine(self, reading: MeterReading) -> LightOutcome:
        """The outcome of a light that needs nothing."""
        self._last = reading
        return LightOutcome(0, 0, reading.values, reading.values, reached=True, balanced=True, lacking=(), problem=None)

    # --- the loop --------------------------------------------------------------------------------------------------------

    async def run(self, reading: MeterReading, next_reading: NextReading) -> LightOutcome | None:
        """Balances the light; None for a picture that showed no face. Raises a LightsError or CameraError."""
        began = time.monotonic()
        if not reading.has_face:
            await self._mend_exposure(reading)
            return None
        self._seen.clear()
        await self._camera.prepare()
        before, steps = reading, 0
        model: LightModel | None = None
        emphasis = None
        best = reading, self._setting()
        while steps < STEPS_MOST and not self._bands.balanced(reading.values):
            self._seen.append(self._frame(reading))
            model = await asyncio.to_thread(learn, tuple(self._seen), self._usual())
            if steps:
                emphasis = emphasised(self._bands.lacking(reading.values), emphasis)
            chosen = self._plan(model, reading, emphasis)
            if not self._is_worth(chosen, reading):
                break
            await self._follow(model, chosen, reading, emphasis)
            steps += 1
            reading = await next_reading(time.monotonic_ns())
            if not reading.has_face:
                break
            if self._score(reading) <= self._score(best[0]):
                best = reading, self._setting()
        if best[1] != self._setting():
            await self._set(best[1])
        after = best[0]
        self._last = after
        lacking = tuple(self._bands.lacking(after.values, margin=0.0))
        return LightOutcome(
            steps=steps,
            time_ms=round((time.monotonic() - began) * 1000),
            before=before.values,
            after=after.values,
            reached=not lacking,
            balanced=self._bands.balanced(after.values),
            lacking=lacking,
            problem=self._problem(model, reached=not lacking),
            strengths={} if model is None else dict(zip(CHANNELS, model.strengths.tolist(), strict=True)),
        )

    def _score(self, reading: MeterReading) -> float:
        """What a photo would be refused for, then how far from the limits, then from the margins; 0 is balanced."""
        refused = self._bands.refused(reading.values)
        bare = sum(min(lack, 10.0) for lack in self._bands.lacking(reading.values, margin=0.0).values())
        return (
            1000.0 * refused
            + 10.0 * bare
            + sum(min(lack, 10.0) for lack in self._bands.lacking(reading.values).values())
        )

    def _is_worth(self, chosen: LightPlan, reading: MeterReading) -> bool:
        frame = self._seen[-1]
        if not chosen.differs(frame.drives, frame.exposure, frame.gains):
            return False
        recoloured = float(np.abs(np.log(np.divide(chosen.gains, frame.gains))).max()) > GAIN_BEYOND / 2
        broken = not self._bands.holds(reading.values)
        return recoloured or chosen.gains_much or (broken and chosen.rest < 0.98 * chosen.rest_now)

    # --- lamps and camera --------------------------------------------------------------------------------------------------

    def _usual(self) -> Usual:
        known = self._calibrated()
        if known is None:
            return Usual()
        strengths = [1.0 if (lamp := known.lamp(name)) is None or lamp.is_seen else 0.0 for name in CHANNELS]
        return Usual((strengths[0], strengths[1], strengths[2], strengths[3]))

    def _light_at(self, lamp: str, level_pct: float) -> float:
        """The light of a lamp at a level, of that at its nominal level: by its calibrated curve, or in proportion."""
        known, nominal = self._calibrated(), self._station.nominal_pct
        curve = None if known is None else known.lamp(lamp)
        if curve is None or curve.share_at(nominal) <= 0:
            return level_pct / nominal
        return curve.share_at(level_pct) / curve.share_at(nominal)

    def _level_for(self, lamp: str, light: float) -> float:
        known, nominal = self._calibrated(), self._station.nominal_pct
        curve = None if known is None else known.lamp(lamp)
        if curve is None or curve.share_at(nominal) <= 0:
            return min(max(light * nominal, 0.0), 100.0)
        return min(max(curve.drive_for(light * curve.share_at(nominal)), 0.0), 100.0)

    def _drives(self) -> Drives:
        now = self._station.levels_pct
        left, right, top, back = (self._light_at(lamp, now[lamp]) if lamp in now else 1.0 for lamp in CHANNELS)
        return left, right, top, back

    def _frame(self, reading: MeterReading) -> Seen:
        taken = self._camera.taken
        return Seen(reading.patches, self._drives(), taken.exposure, taken.gains)

    def _setting(self) -> _Setting:
        lamps = {lamp: level for lamp, level in self._station.levels_pct.items() if lamp in CHANNELS}
        return _Setting(lamps, self._camera.taken)

    def _plan(
        self, model: LightModel, reading: MeterReading, emphasis: np.ndarray | None, exposure: float | None = None
    ) -> LightPlan:
        taken = self._camera.taken
        drives = self._drives()
        fixed = not self._station.levels_pct
        if fixed:  # no lamps: what there is stays
            drives = (1.0, 1.0, 1.0, 1.0)
        return plan(
            model,
            (exposure,) if exposure is not None else self._camera.exposures(),
            drives if fixed else tuple(self._light_at(lamp, 100.0) for lamp in CHANNELS),
            least=drives if fixed else None,
            wall_tint=reading.values.get("background.colour", 0.0),
            gains=taken.gains if self._camera.colour_usable else None,
            drives=drives,
            exposure=taken.exposure,
            seen=np.array([patch in reading.patches for patch in PATCHES]),
            face_pct=reading.values.get("light.exposure"),
            emphasis=emphasis,
        )

    async def _follow(
        self, model: LightModel, chosen: LightPlan, reading: MeterReading, emphasis: np.ndarray | None
    ) -> None:
        """Sets the camera first, and the lamps to what suits what it really uses."""
        wanted = chosen.exposure
        try:
            taken = await self._camera.set(wanted, chosen.gains)
        except ControlError as error:
            log.warning("the camera does not take the light loop's settings: %s", error)
            taken = self._camera.taken
        if abs(math.log2(taken.exposure / wanted)) > 0.03:
            chosen = self._plan(model, reading, emphasis, exposure=taken.exposure)
        if self._station.levels_pct:
            levels = {lamp: self._level_for(lamp, light) for lamp, light in zip(CHANNELS, chosen.drives, strict=True)}
            await self._station.set_levels(levels)
        else:
            await self._station.see()

    async def _set(self, setting: _Setting) -> None:
        try:
            await self._camera.set(setting.taken.exposure, setting.taken.gains)
        except ControlError as error:
            log.warning("the camera does not take its settings back: %s", error)
        await self._station.set_levels(setting.levels_pct)
        await self._station.see()

    async def _mend_exposure(self, reading: MeterReading) -> None:
        self._coarse += 1
        await self._camera.prepare()
        factor = COARSE_AIM / max(reading.brightest, 0.01) if reading.brightest < TOO_DARK else 1 / 8
        exposures = self._camera.exposures()
        wanted = min(max(self._camera.taken.exposure * factor, exposures[0]), exposures[-1])
        try:
            await self._camera.set(wanted, self._camera.taken.gains)
        except ControlError as error:
            log.warning("the camera does not take the light loop's exposure: %s", error)
        await self._station.see()

    # --- what to say ---------------------------------------------------------------------------------------------------------

    def _problem(self, model: LightModel | None, *, reached: bool) -> LightProblem | None:
        """What the model believes to be wrong; when the light is not good, always something."""
        if model is None:
            if reached:
                return None
            return LightProblem("camera", "controls", 1.0)
        suspects = [s for s in _suspects(model) if s[0] > 1.0]
        cause = model.cause
        believed = [s for s in suspects if cause.kind.startswith(s[1].kind) and s[1].name in cause.name.split()]
        if believed or suspects:
            return max(believed or suspects, key=lambda suspect: suspect[0])[1]
        if reached:
            return None
        if not self._camera.usable:
            return LightProblem("camera", "controls", 1.0)
        return max(_suspects(model), key=lambda suspect: suspect[0])[1]


def _out_of_range(reading: MeterReading) -> bool:
    return BLACK < reading.brightest < TOO_DARK or reading.middle > TOO_BRIGHT


def _changed(before: MeterReading, now: MeterReading) -> bool:
    """Whether the light itself changed, beyond what a moving head does: half of the patches."""
    both = [patch for patch in before.patches if patch in now.patches]
    if not both:
        return True
    ratios = [abs(math.log(max(now.patches[p][1], 1e-4) / max(before.patches[p][1], 1e-4))) for p in both]
    return float(np.median(ratios)) > math.log(CHANGED)


def _suspects(model: LightModel) -> list[tuple[float, LightProblem]]:
    """Everything that strays, with how much: 1 is worth telling."""
    found: list[tuple[float, LightProblem]] = []
    for name, strength in zip(CHANNELS, model.strengths.tolist(), strict=True):
        found.append(((1 - strength) / (1 - WEAK_BELOW), LightProblem("lamp", name, strength)))
    for name, place in zip(("left", "right", "top"), model.places[:3].tolist(), strict=True):
        found.append((place / PLACE_ABOVE, LightProblem("ambient", name, place)))
    room = float(model.places[3])
    found.append((room / ROOM_ABOVE, LightProblem("ambient", "room", room)))
    stops = abs(math.log2(model.exposure))
    found.append((stops / STOPS_BEYOND, LightProblem("camera", "exposure", model.exposure)))
    colour = float(np.abs(np.log(model.gains)).max())
    found.append((colour / GAIN_BEYOND, LightProblem("camera", "white_balance", 1 + colour)))
    return found


__all__ = [
    "CAUSES",
    "COLOUR",
    "EXPOSURE",
    "SEVERAL",
    "SOUND",
    "Balancer",
    "Cause",
    "LightOutcome",
    "LightProblem",
]
