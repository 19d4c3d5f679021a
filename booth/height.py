"""The keeper of lens and height axis: brings the applicant's eyes to the lens while framing, and stops at once when framing ends.

Rules
  - Nothing moves but while framing. Any other wish stops the axis at once (the move is cancelled, the driver sends STOP); the axis then stays where
    it is, also for the next visit. HOLD keeps lens and axis for the photo; REST puts tilt and zoom back to where the visit found them.
  - A look is acted upon when the eyes were in one place for STEADY_S, in frames newer than the last move (`capture.height.decide`).
  - Who is not seen for ABSENT_S is looked for with the widest zoom, straight ahead, above and below; that is no framing, and no photo is taken
    meanwhile. Who is found beyond the elevation limit without an axis that reaches him is told about the seat, and followed so.
  - An axis or a camera that fails is told and not used again in this visit; the next one tries once more.
  - Without a field of view (calibration, or [height]) nobody knows an angle: nothing moves and nothing is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

from booth.guidance import CAMERA_MOVES, SEAT_DOWN, SEAT_UP
from capture.calibration import Calibration
from capture.height import (
    WIDEST,
    Aim,
    AxisRoom,
    Decision,
    EyeLine,
    HeightSection,
    Optics,
    Step,
    decide,
    elevation_deg,
    level_tilt_deg,
)
from capture.station import Station
from hardware.controls import CameraControlSettings
from hardware.errors import HardwareError

log = logging.getLogger(__name__)

# Waits and shares in this file: assumed, and tried with the applicants of docs/height.md.
# A face counts as seated when its eyes stayed for so long within this share of the picture's height; as gone after ABSENT_S without one.
STEADY_S, STEADY_SHARE = 0.25, 0.03
ABSENT_S = 1.5
# After a search that found nobody: the lens rests so long, so that whoever comes in finds a quiet booth.
SEARCH_PAUSE_S = 4.0
GLIMPSE_S = 0.8
# From straight ahead, one after the other: half of what the widest zoom of the EVI-D70 shows, then as far as it tilts down.
SEARCH_TILTS_DEG = (0.0, 18.0, -18.0, 30.0, -30.0)
# So far from its home position the axis goes there when nobody was found.
HOME_MM = 150.0
# So long the applicant is not told to move while the lens does; after it whatever the picture says.
AIMING_S = 3.0
MOVES_MOST = 6  # in one visit
# A frame that arrived earlier than this after a move may have been exposed before its end.
SETTLE_NS = 120_000_000
SEAT = {Step.SEAT_UP: SEAT_UP, Step.SEAT_DOWN: SEAT_DOWN}


class Wish(StrEnum):
    """What the visit wants of the lens."""

    REST = "rest"
    FRAME = "frame"
    HOLD = "hold"


class HeightKeeper:
    """Made by `open_height`."""

    def __init__(
        self,
        station: Station,
        optics: Callable[[float], Optics | None],
        on_trouble: Callable[[str, Exception | None], None],
    ) -> None:
        """`optics` tells what is known of the lens, given the zoom ratio that the visit found."""
        self.moving = False  # frames of now are no base for advice
        self.settled = True  # no photo is to be taken before
        self.advice: str | None = None  # what to tell before anything else
        self.elevation_deg: float | None = None
        self._station, self._optics_at, self._on_trouble = station, optics, on_trouble
        self._wanted = Wish.REST
        self._changed = asyncio.Event()
        self._held = asyncio.Event()
        self._news = asyncio.Event()
        self._seen: tuple[EyeLine | None, int] = None, 0
        self._unsettled_since_ns: int | None = None
        self._base = self._aim = self._framed = Aim()
        self._optics: Optics | None = None
        self._begun = self._driving = False
        self._aim_known = True
        self._failed: set[str] = set()
        self._moves = 0
        self._how: set[str] = set()

    # --- what the visit says and asks ----------------------------------------------------------------------------------

    def want(self, wish: Wish | None) -> None:
        """The wish from now on; None: as before."""
        if wish is not None and wish is not self._wanted:
            self._wanted = wish
            self.settled = wish is not Wish.FRAME
            self._held.clear()
            self._changed.set()

    async def still(self) -> None:
        """Returns when the lens stands as it is to photograph; asked for with HOLD."""
        await self._held.wait()

    def saw(self, eyes: EyeLine | None, at_ns: int) -> None:
        """One judged frame."""
        self._seen = eyes, at_ns
        aim = self._aim if self._begun else self._aim_now()
        optics = self._optics if self._begun else self._optics_at(aim.zoom_ratio)
        if optics is not None and not self.moving:
            self.elevation_deg = None if eyes is None else elevation_deg(eyes, aim, optics)
        unsettled = eyes is not None and not self.settled and self.advice is None
        self._unsettled_since_ns = (self._unsettled_since_ns or at_ns) if unsettled else None
        self._news.set()

    @property
    def aiming(self) -> bool:
        """Whether the lens is about to move to somebody who is seen: not the time to tell him to move."""
        since_ns = self._unsettled_since_ns
        return since_ns is not None and self._seen[1] - since_ns < AIMING_S * 1e9

    @property
    def instruction(self) -> str | None:
        """What is to be told before anything that the picture says."""
        return CAMERA_MOVES if self._driving else self.advice

    def as_record(self) -> dict[str, Any] | None:
        """For visit.json; None where no angle is known."""
        if self._optics is None:
            return None
        reading, elevation = self._station.lift_reading, self.elevation_deg
        return {
            "elevation_deg": None if elevation is None else round(elevation, 1),
            "lens_cm": None if self._station.lens_cm is None else round(self._station.lens_cm, 1),
            "lift_mm": None if reading is None else reading.position_mm,
            "tilt_deg": round(self._aim.tilt_deg, 2),
            "zoom_ratio": round(self._aim.zoom_ratio, 3),
            "how": sorted(self._how),
        }

    # --- the task ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follows the wishes for ever."""
        work: asyncio.Task[None] | None = None
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                await _end(work)
                work = asyncio.create_task(self._follow(self._wanted), name=f"height {self._wanted}")
        finally:
            await _end(work)

    async def _follow(self, wish: Wish) -> None:
        try:
            match wish:
                case Wish.FRAME:
                    await self._begin()
                    await self._frame()
                case Wish.HOLD:
                    await self._point(self._framed)
                    self._held.set()
                case Wish.REST:
                    await self._rest()
        except Exception as error:
            log.exception("framing by height ended")
            self._on_trouble("height", error)
            self._held.set()
        finally:
            self.moving = False

    async def _begin(self) -> None:
        """Where the visit finds the lens: asked anew, behind the camera's settings for this visit."""
        if self._begun or self._optics_at(WIDEST) is None:
            return
        try:
            await self._station.read_controls()
        except HardwareError as error:
            self._failed.add("lens")
            self._on_trouble("camera aim", error)
        self._begun = True
        self._framed = self._base = self._aim = self._aim_now()
        self._optics = self._optics_at(self._aim.zoom_ratio)

    def _aim_now(self) -> Aim:
        """What the camera last said; a camera that says nothing is neither tilted nor zoomed."""
        state = self._station.control_state
        tilt, zoom = (None, None) if state is None else (state.tilt_deg, state.zoom_ratio)
        return Aim(tilt or 0.0, zoom or WIDEST)

    async def _rest(self) -> None:
        self._failed.clear()
        self.elevation_deg = self.advice = None
        self._how.clear()
        self._moves = 0
        self._framed = self._base
        # The next visit may begin before a slow camera is done; it then goes on from the same base.
        await self._point(self._base)
        self._begun = False
        self._optics = None

    async def _frame(self) -> None:
        self.settled = self._optics is None
        while self._optics is not None:
            eyes = await self._look() or await self._search()
            if eyes is None:
                self.advice = None
                if not await self._go_home():
                    await asyncio.sleep(SEARCH_PAUSE_S if self._can_point else 0)
                continue
            found = decide(eyes, self._aim, self._framed, self._optics, self._axis(), can_tilt=self._can_point)
            await self._act(found)

    async def _go_home(self) -> bool:
        """Nobody was found from here: the axis goes to where most can be found. Whether it was elsewhere."""
        axis, home = self._axis(), self._station.lift_home_mm
        if axis is None or home is None or abs(axis.position_mm - home) < HOME_MM:
            return False
        await self._drive(home)
        return True

    async def _act(self, found: Decision) -> None:
        assert self._optics is not None
        self.advice = SEAT.get(found.step)
        self.settled = self.settled and found.step is Step.FINE
        match found.step:
            case Step.DRIVE:
                self._framed = Aim(level_tilt_deg(self._optics), self._base.zoom_ratio)
                await self._drive(found.target)
            case Step.TILT:
                self._how.add("tilt")
                self._framed = Aim(found.target, self._base.zoom_ratio)
                await self._point(self._framed)
            case Step.FINE:
                await self._point(self._framed)
                self.settled = True
            case _:
                self._how.add("seat")

    # --- looking -------------------------------------------------------------------------------------------------------

    async def _next(self) -> tuple[EyeLine | None, int]:
        """The next judged frame that was exposed after the last move."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._seen[1] > self._station.settled_ns + SETTLE_NS:
                return self._seen

    async def _look(self) -> EyeLine | None:
        """Eyes that stay in one place; None when frames came and nobody was in them for a while."""
        first: tuple[EyeLine, int] | None = None
        empty_since_ns: int | None = None
        while True:
            eyes, at_ns = await self._next()
            if eyes is None:
                first = None
                empty_since_ns = empty_since_ns or at_ns
                if at_ns - empty_since_ns >= ABSENT_S * 1e9:
                    return None
                continue
            empty_since_ns = None
            if first is None or abs(eyes.y - first[0].y) > STEADY_SHARE:
                first = eyes, at_ns
            elif at_ns - first[1] >= STEADY_S * 1e9:
                return eyes

    async def _search(self) -> EyeLine | None:
        """Looks around with the widest zoom; the lens stays where somebody was found."""
        if not self._can_point or self._optics is None:
            return None
        level = level_tilt_deg(self._optics)
        self.moving = True
        try:
            for tilt in SEARCH_TILTS_DEG:
                await self._point(Aim(level + tilt if abs(tilt) < SEARCH_TILTS_DEG[-2] else tilt, WIDEST))
                eyes = await self._glimpse()
                if eyes is not None:
                    return eyes
            await self._point(self._framed)
        finally:
            self.moving = False
        return None

    async def _glimpse(self) -> EyeLine | None:
        """Eyes that two frames in a row show at one place; None when there are none for a moment."""
        before: EyeLine | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GLIMPSE_S) as patience:
                while True:
                    eyes, _ = await self._next()
                    if eyes is not None:
                        if before is not None and abs(eyes.y - before.y) <= STEADY_SHARE:
                            return eyes
                        patience.reschedule(asyncio.get_running_loop().time() + GLIMPSE_S)
                    before = eyes
        return None

    # --- moving --------------------------------------------------------------------------------------------------------

    @property
    def _can_point(self) -> bool:
        state = self._station.control_state
        return state is not None and state.tilt_deg is not None and "lens" not in self._failed

    def _axis(self) -> AxisRoom | None:
        reading, limits = self._station.lift_reading, self._station.lift_limits
        if reading is None or limits is None or "axis" in self._failed or self._moves >= MOVES_MOST:
            return None
        return AxisRoom(reading.position_mm, limits.low_mm, limits.high_mm)

    async def _point(self, aim: Aim) -> None:
        """Tilt and zoom, read back."""
        if (aim == self._aim and self._aim_known) or not self._can_point:
            return
        self._aim_known = False  # until it is read back: a visit may end in between
        try:
            state = await self._station.set_camera(
                CameraControlSettings(tilt_deg=aim.tilt_deg, zoom_ratio=aim.zoom_ratio)
            )
        except HardwareError as error:
            self._failed.add("lens")
            self._on_trouble("camera aim", error)
            return
        self._on_trouble("camera aim", None)
        self._aim_known = True
        told = None if state is None else state.tilt_deg
        self._aim = Aim(aim.tilt_deg if told is None else told, aim.zoom_ratio)
        if aim == self._framed:
            self._framed = self._aim
        if aim == self._base:
            self._base = self._aim

    async def _drive(self, position_mm: float) -> None:
        self.moving = self._driving = True
        self._moves += 1
        self._how.add("lift")
        try:
            await self._point(self._framed)
            await self._station.move_lift(position_mm)
        except HardwareError as error:
            self._failed.add("axis")
            self._on_trouble("height axis", error)
        else:
            self._on_trouble("height axis", None)
        finally:
            self.moving = self._driving = False


def optics_of(
    section: HeightSection | None, calibration: Callable[[], Calibration | None] = lambda: None
) -> Callable[[float], Optics | None]:
    """What is known of the lens, for the zoom ratio that a visit finds: the calibration in force, else what the settings say."""

    def known(zoom_ratio: float) -> Optics | None:
        measured = calibration()
        if measured is not None:
            return Optics.of(measured)
        if section is None:
            return None
        return Optics(section.vertical_fov_deg, zoom_ratio, section.pitch_zero_deg, section.distance_cm)

    return known


async def _end(work: asyncio.Task[None] | None) -> None:
    if work is not None:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@asynccontextmanager
async def open_height(
    station: Station,
    optics: Callable[[float], Optics | None],
    on_trouble: Callable[[str, Exception | None], None],
) -> AsyncIterator[HeightKeeper]:
    """A keeper at work."""
    keeper = HeightKeeper(station, optics, on_trouble)
    running = asyncio.create_task(keeper.run(), name="height")
    try:
        yield keeper
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
