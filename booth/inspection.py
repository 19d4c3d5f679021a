"""A technician before the camera: frames are lit, judged and shown to him while the booth is switched out of service.

Rules:
  - Nobody is inspected but whoever switched the booth out of service: the visit is OUT_OF_SERVICE by the technician's switch, nothing is under
    test, and at least one live view is open in a technician's session. Else no picture leaves, and of an applicant never one.
  - Lamps: portrait light while somebody looks, standby light else; while a test or a calibration has the lamps they are not touched, and whatever is
    due is asked for when it is over.
  - What was judged is dropped when the last look ends, as after a visit: findings, values, what the models keep of a face.

`settle` brings all of this about; it is called with every preview frame and whenever a look begins or ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from booth.checker import Live
from booth.events import LightScene, Watch
from booth.faults import fault_of
from booth.guidance import advise
from booth.kiosk import Instruction, Overlay
from booth.live_values import LiveValues, RuleTrace
from booth.performer import Performer
from booth.plots import Bars, draw_bars
from booth.screen import Scenery
from booth.visit import State
from capture.balance import LightOutcome

BINS = 64  # two bins for each pixel of a narrow drawing say no more than this
log = logging.getLogger(__name__)


class Permission(StrEnum):
    """Whether a technician may be inspected now."""

    NO = "no"
    BUSY = "busy"  # a test or a calibration has lamps and camera
    YES = "yes"


class LightView(BaseModel):
    """How the light was last balanced on a sitter; no value of his face."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    time_ms: int
    reached: bool
    lacking: tuple[str, ...]  # rules that do not hold
    kind: str | None  # of what stands in the way: lamp, ambient, camera
    name: str | None  # which lamp, from where, which setting


class LiveView(BaseModel):
    """What the technician's live page shows beside the picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inspecting: bool
    permission: Permission
    overlay: Overlay | None
    instruction: Instruction | None  # what an applicant would be told
    families: tuple[str, ...]
    family: str
    age_s: float | None
    rules: tuple[RuleTrace, ...]
    histogram: Bars | None
    lights_pct: dict[str, float]
    light: LightView | None
    elevation_deg: float | None  # of the eye line above the lens; None where no angle is known


class Inspection:
    """One booth's; used on its event loop only."""

    def __init__(self, performer: Performer, permission: Callable[[], Permission]) -> None:
        self.values = LiveValues()
        self._light: LightView | None = None
        self._performer = performer
        self._permission = permission
        self._looks = 0
        self._judging = False
        self._scene = LightScene.STANDBY
        self._forgetting: asyncio.Task[None] | None = None

    @property
    def on(self) -> bool:
        """Whether a technician is inspected now."""
        out = self._performer.visit.state is State.OUT_OF_SERVICE
        return self._looks > 0 and out and self._permission() is Permission.YES

    @property
    def awake(self) -> bool:
        """Whether every picture is wanted although nobody visits."""
        return self.on or self._permission() is Permission.BUSY

    @contextlib.contextmanager
    def look(self) -> Iterator[None]:
        """A live view is open."""
        self._looks += 1
        self.settle()
        try:
            yield
        finally:
            self._looks -= 1
            self.settle()

    def settle(self) -> None:
        """Begins or ends judging and light, where that is due."""
        performer = self._performer
        if not performer.open:
            return
        on = self.on
        if on and not self._judging:
            performer.rooms.checker.watch(Watch.FACES)
        elif self._judging and not on:
            self._end_judging()
        self._judging = on
        if performer.visit.state is not State.OUT_OF_SERVICE:
            self._scene = LightScene.STANDBY  # the visit has the lamps
        elif self._permission() is not Permission.BUSY:
            scene = LightScene.PORTRAIT if on else LightScene.STANDBY
            if scene is not self._scene:
                self._scene = scene
                performer.rooms.lamps.want(scene)

    def _end_judging(self) -> None:
        self.values.clear()
        performer = self._performer
        if performer.visit.state is not State.OUT_OF_SERVICE:
            return  # on the way to ATTRACT the visit itself wipes
        performer.rooms.checker.watch(Watch.NOTHING)
        performer.scenery = Scenery()
        self._forgetting = asyncio.create_task(self._forget(), name="inspection forgets")

    async def _forget(self) -> None:
        try:
            await self._performer.rooms.checker.forget()
        except Exception as error:  # noqa: BLE001 - the checker tells its own trouble; the next wipe forgets again
            log.warning("after an inspection: %s", fault_of(error).code)

    async def close(self) -> None:
        """Ends what is under way."""
        if self._forgetting is not None:
            self._forgetting.cancel()
            await asyncio.gather(self._forgetting, return_exceptions=True)

    def on_live(self, live: Live) -> None:
        """A preview frame was judged while the booth is out of service."""
        if not self.on:
            return
        performer = self._performer
        if live.light is not None:
            performer.rooms.lamps.saw(live.light)
        performer.rooms.height.saw(live.eyes, live.at_ns)
        guidance = advise(performer.scenery.guidance, live.report, live.motion, live.at_ns)
        performer.scenery = Scenery(guidance=guidance, overlay=live.overlay, live=live.report)
        self.values.note(live.report, live.at_ns)

    def note_light(self, outcome: LightOutcome) -> None:
        """The light was balanced on whoever sits there."""
        problem = outcome.problem
        self._light = LightView(
            steps=outcome.steps,
            time_ms=outcome.time_ms,
            reached=outcome.reached,
            lacking=outcome.lacking,
            kind=None if problem is None else problem.kind,
            name=None if problem is None else problem.name,
        )

    def view(self, family: str) -> LiveView:
        """Everything live, with the plots of one family of rules; an unknown one gives the first."""
        performer, station, on = self._performer, self._performer.rooms.station, self.on
        families = self.values.families
        chosen = family if family in families or not families else families[0]
        frame = station.preview() if on else None
        now_ns = time.monotonic_ns()
        return LiveView(
            inspecting=on,
            permission=self._permission(),
            overlay=performer.scenery.overlay if on else None,
            instruction=performer.scenery.guidance.instruction if on and self.values.families else None,
            families=families,
            family=chosen,
            age_s=self.values.age_s(now_ns),
            rules=self.values.traces(chosen, now_ns),
            histogram=None if frame is None else histogram_of(frame.pixels),
            lights_pct=dict(station.levels_pct),
            light=self._light,
            elevation_deg=performer.rooms.height.elevation_deg,
        )


def histogram_of(pixels: NDArray[np.uint8]) -> Bars:
    """How bright the picture's pixels are, from black to white (BGR, BT.601 weights)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    counts = np.bincount(grey.ravel(), minlength=256)
    bins = counts.reshape(BINS, -1).sum(axis=1)
    return draw_bars([int(each) for each in bins], int(counts[0]), int(counts[255]), float(grey.mean()))
