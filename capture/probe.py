"""The probe: two seconds in which the lamps change a little while the camera looks on (docs/pad.md).

Schedule: the lamp at the picture's left moves once, PERIOD_S long, as a sine around its base level by SWING of it, then the one at the right; over both
times the front lamp moves once, half as fast (the three are orthogonal, so that each point's answers come apart). A lamp too near to full
drive dips by a raised cosine instead. 0.9 Hz at most, nothing jumps: no flashing (WCAG 2.3.1).
Order: who calls has borrowed the lamps and gives the base levels -> lamp steps every TICK_S, and beside them every preview picture: the light of
the wall at its sides goes into a series of numbers, and at evenly spaced moments a small copy of the picture is kept.

A `Film` holds pictures of a person: in memory only, made small, overwritten once they were judged or given up, whichever is first, and never
under the hands of the thread that judges them.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.frames import Frame
from capture.station import Station
from hardware.controls import ExposureMode
from hardware.errors import HardwareError
from validation.pad import Reason
from validation.pad_cues import Course, linear_light

# The lamps that move; the one behind the head lights the wall and tells nothing of a face.
LAMPS = ("key_left", "key_right", "fill_top")
PERIOD_S = 1.1  # 0.9 Hz: WCAG 2.3.1 allows three flashes a second, this project one change (docs/pad.md)
PROBE_S = 2 * PERIOD_S
SPANS_S = {"key_left": (0.0, PERIOD_S), "key_right": (PERIOD_S, PROBE_S), "fill_top": (0.0, PROBE_S)}
SWING = 0.2  # of its level: assumed; what it brings is measured in docs/pad.md
TICK_S = 0.05  # a step of the steepest part is 6 % of the level at most
# A camera that gives few pictures gets more time for them; slower still, the shutter would not wait (booth/probing.py).
SLOW_FPS, SLOW_STRETCH = 8.0, 1.6
# A lamp below this has nothing to swing with.
LEAST_BASE_PCT = 5.0
# How many pictures are kept; they also go into the packet (booth/pad_part.py).
KEPT = 12
KEPT_SIDE_PX = 640
# The wall beside a head: this part of the width at either side, between these parts of the height.
WALL_SIDE, WALL_TOP, WALL_BOTTOM = 0.06, 0.05, 0.45
WALL_EVERY_PX = 2


def level_at(lamp: str, at_s: float, base_pct: float, stretch: float = 1.0) -> float:
    """What a lamp is set to, so long after the beginning; `stretch` times as slow."""
    begin, end = SPANS_S[lamp]
    turn = (at_s / stretch - begin) / (end - begin)
    if not 0 < turn < 1:
        return base_pct
    if base_pct * (1 + SWING) > 100:
        return base_pct * (1 - SWING * (1 - math.cos(2 * math.pi * turn)) / 2)
    return base_pct * (1 + SWING * math.sin(2 * math.pi * turn))


def kept_moments() -> tuple[float, ...]:
    """When the pictures are kept, in seconds after the beginning: evenly, so that every lamp is seen up, down and between."""
    return tuple((number + 0.5) * PROBE_S / KEPT for number in range(KEPT))


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A small copy of one preview picture and when it was received (ms after the beginning)."""

    pixels: NDArray[np.uint8] = field(repr=False)
    at_ms: float


@dataclass(slots=True)
class _Series:
    at_ms: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, at_ms: float, value: float) -> None:
        self.at_ms.append(at_ms)
        self.values.append(value)

    @property
    def course(self) -> Course:
        return Course(tuple(self.at_ms), tuple(self.values))


class Film:
    """What a probe saw; without pictures when it was not run (`reason`)."""

    def __init__(
        self,
        begun_ns: int,
        shots: Sequence[Shot] = (),
        levels: Mapping[str, Course] | None = None,
        wall: Course | None = None,
        reason: Reason | None = None,
    ) -> None:
        self.begun_ns = begun_ns  # monotonic
        self.levels = dict(levels or {})
        self.wall = wall or Course((), ())
        self.reason = reason
        self._shots = tuple(shots)
        self._lock = threading.Lock()
        self._judging = self._given_up = False

    @property
    def shots(self) -> tuple[Shot, ...]:
        """The pictures; for whoever called `begin`."""
        return self._shots

    def begin(self) -> bool:
        """On the thread that judges: the pictures are its own until `end`; False when they were given up before."""
        with self._lock:
            self._judging = not self._given_up
            return self._judging

    def end(self) -> bool:
        """The pictures are overwritten; whether anybody still wants what was found in them."""
        self._erase()
        with self._lock:
            self._judging = False
            return not self._given_up

    def wipe(self) -> None:
        """Gives the pictures up: overwritten now, or by the thread that has them as soon as it is done."""
        with self._lock:
            self._given_up = True
            judging = self._judging
        if not judging:
            self._erase()

    def _erase(self) -> None:
        for shot in self._shots:
            shot.pixels.fill(0)


def not_run(reason: Reason) -> Film:
    """The film of a probe that did not take place."""
    return Film(time.monotonic_ns(), reason=reason)


async def run_probe(station: Station, base_pct: Mapping[str, float]) -> Film:
    """Moves the borrowed lamps and films it; takes PROBE_S, of a slow camera SLOW_STRETCH as long. A lamp or camera that fails gives a film with its reason; a cancellation wipes."""
    moving = {lamp: base_pct[lamp] for lamp in LAMPS if base_pct.get(lamp, 0.0) >= LEAST_BASE_PCT}
    if len(moving) < 2:
        return not_run(Reason.NO_LAMPS if not base_pct else Reason.TOO_FEW_LAMPS)
    newest = station.preview()
    if newest is not None and newest.controls is not None and newest.controls.exposure_mode not in MANUAL:
        return not_run(Reason.AUTO_EXPOSURE)
    stretch = SLOW_STRETCH if station.preview_fps < SLOW_FPS else 1.0
    camera = _Camera(stretch)
    begun_ns = time.monotonic_ns()
    sequence = -1 if newest is None else newest.sequence
    looking = asyncio.create_task(camera.look(station, begun_ns, sequence), name="probe camera")
    try:
        levels = await _move(station, moving, begun_ns, stretch)
        await _end(looking)
    except BaseException as error:
        looking.cancel()
        camera.wipe()
        if not isinstance(error, HardwareError):
            raise
        await _end(looking)
        camera.wipe()
        return not_run(Reason.LAMPS_FAILED)
    return Film(begun_ns, camera.shots, levels, camera.wall.course)


# The camera's automatic would take back what the lamps do; a camera that does not tell is judged by what the wall shows.
MANUAL = frozenset({ExposureMode.MANUAL, None})


async def _move(station: Station, base_pct: Mapping[str, float], begun_ns: int, stretch: float) -> dict[str, Course]:
    """Sets the lamps by the schedule and returns what was acknowledged over time."""
    seen = {lamp: _Series() for lamp in base_pct}
    loop = asyncio.get_running_loop()
    begun, tick = loop.time(), 0
    while True:
        at_s = (time.monotonic_ns() - begun_ns) / 1e9
        wanted = {lamp: level_at(lamp, at_s, base, stretch) for lamp, base in base_pct.items()}
        acknowledged = await station.set_levels(wanted, seen=False, ramped=False)
        now_ms = (time.monotonic_ns() - begun_ns) / 1e6
        for lamp, series in seen.items():
            series.add(now_ms, acknowledged[lamp])
        if at_s >= PROBE_S * stretch:
            return {lamp: series.course for lamp, series in seen.items()}
        tick = max(tick, math.floor(at_s / TICK_S)) + 1
        await asyncio.sleep(max(begun + tick * TICK_S - loop.time(), 0.0))


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # a camera that fails is told by whoever follows the preview; here it only gives fewer pictures


class _Camera:
    """Looks at every preview picture while the lamps move."""

    def __init__(self, stretch: float) -> None:
        self._stretch = stretch
        self.shots: list[Shot] = []
        self.wall = _Series()

    async def look(self, station: Station, begun_ns: int, sequence: int) -> None:
        """For ever; raises a CameraError."""
        due = [self._stretch * moment for moment in kept_moments()]
        while True:
            frame = await station.next_preview(sequence)
            sequence = frame.sequence
            at_ms = (frame.at_ns - begun_ns) / 1e6
            if at_ms < 0:
                continue
            self.wall.add(at_ms, wall_light(frame))
            if due and at_ms >= due[0] * 1000:
                while due and at_ms >= due[0] * 1000:
                    due.pop(0)
                self.shots.append(Shot(_small(frame), at_ms))

    def wipe(self) -> None:
        """Overwrites what was kept."""
        for shot in self.shots:
            shot.pixels.fill(0)


def _small(frame: Frame) -> NDArray[np.uint8]:
    """A copy of our own, at most KEPT_SIDE_PX long."""
    height, width = frame.pixels.shape[:2]
    scale = min(KEPT_SIDE_PX / max(height, width), 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = np.asarray(cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small if scale < 1 else small.copy()


def wall_light(frame: Frame) -> float:
    """The mean linear light at both sides of the picture, above the shoulders."""
    height, width = frame.pixels.shape[:2]
    rows = slice(int(WALL_TOP * height), int(WALL_BOTTOM * height), WALL_EVERY_PX)
    side = max(int(WALL_SIDE * width), 1)
    left, right = frame.pixels[rows, :side:WALL_EVERY_PX], frame.pixels[rows, -side::WALL_EVERY_PX]
    return float((linear_light(left).mean() + linear_light(right).mean()) / 2)
