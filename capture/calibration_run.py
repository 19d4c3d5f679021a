"""One calibration from its first to its last step, as an object that a page or a command line follows and drives.

Order: camera settings (automatic off), portrait light -> *wait: the card hangs in its holder* -> white balance on the grey card -> focus on the card -> the
card in a still: the camera's stand, exposure, sharpness -> noise -> *wait: the card is taken down, the booth is empty* -> dark picture -> each lamp
alone -> the wall under the portrait light. White balance comes first, so that a lamp's colour is told with a neutral camera. A step that waits goes
on with `proceed`; a card that cannot be read, or still hangs, is asked for again instead of ending everything. The room is dark to the sensor
only as far as the room is: the dark picture tells both.

However it ends, the lamps get back their levels; when it fails or is cancelled the camera gets back its settings, too. What it found for the
camera is used when the calibration is (booth/calibrations.py, CalibrationInUse).
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from capture.calibration import Calibration, Exposure, Noise, Sharpness
from capture.calibration_measures import (
    NOISE_FRAMES,
    balance_white,
    fresh_frames,
    read_dark,
    read_wall,
    temporal_noise,
)
from capture.errors import CardNotReadableError
from capture.frames import Latest
from capture.lamp_response import LampResponses, measure_lamps
from capture.station import Station
from capture.test_card import CardReading, find_card, grey_box, read_card
from hardware.controls import (
    CameraControlSettings,
    CameraControlState,
    ExposureMode,
    FocusMode,
    WhiteBalance,
)
from hardware.errors import CameraTimeoutError

__all__ = ["STEPS", "CalibrationRun", "CalibrationSettings", "Step", "StepState", "Subject", "settings_for_visits"]

# What a portrait's exposure gives the 18 % grey card, linear light.
GREY_TARGET = 0.18
# Half a second: who pressed the key may still be in the picture.
LOOKS = 4


class CalibrationSettings(BaseModel):
    """[calibration] the test card's holder, the lens, and how long a calibration holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    expiry_days: Annotated[float, Field(gt=0, le=730)] = 90.0
    # Of the sheet's middle over the floor, where the heads of seated applicants are; in the virtual booth 2.3 cm above its lens at 125 cm.
    card_height_cm: Annotated[float, Field(gt=0, lt=300)] = 127.3
    # Of the whole picture, upright, at the zoom used for portraits. Left to itself when card_distance_cm is given: then it is measured.
    vertical_fov_deg: Annotated[float, Field(gt=1, lt=120)] = 24.0
    # From the lens to the sheet, by tape measure.
    card_distance_cm: Annotated[float, Field(gt=10, lt=1000)] | None = None


class StepState(StrEnum):
    """Where a step is."""

    PENDING = "pending"
    WAITING = "waiting"  # for a person: `proceed`
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Step(BaseModel):
    """One step, for whoever shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: str
    state: StepState = StepState.PENDING
    progress: Annotated[float, Field(ge=0, le=1)] = 0.0
    values: Mapping[str, float] = {}
    problem: str | None = None  # why it asks again, or failed


STEPS = ("camera", "card", "white_balance", "focus", "geometry", "noise", "empty", "dark", "lamps", "background")


class Subject(BaseModel):
    """Whose calibration it is, and what it is compared with later."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    booth: str
    software: str
    baseline_id: str | None = None


class CalibrationRun:
    """One calibration."""

    def __init__(
        self,
        station: Station,
        settings: CalibrationSettings,
        subject: Subject,
        *,
        attended: bool = True,
        utc: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is done before `perform`; unattended it waits for nobody, and a card that cannot be read ends it."""
        self._station, self._settings, self._subject = station, settings, subject
        self._attended, self._utc = attended, utc
        self._going_on = asyncio.Event()
        self._work: asyncio.Task[object] | None = None
        self.published: Latest[tuple[Step, ...]] = Latest(tuple(Step(key=key) for key in STEPS))

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in their order."""
        return self.published.value

    @property
    def step(self) -> Step:
        """The step that is under way, failed, or else the last one that is done."""
        begun = [step for step in self.steps if step.state is not StepState.PENDING]
        return begun[-1] if begun else self.steps[0]

    def proceed(self) -> bool:
        """What the step waits for is done; False when none waits."""
        if self.step.state is not StepState.WAITING:
            return False
        self._going_on.set()
        return True

    def cancel(self) -> None:
        """Ends it; the lamps and the camera are set back."""
        if self._work is not None:
            self._work.cancel()

    async def perform(self) -> Calibration:
        """Runs all steps; raises a CaptureError or the error of a device."""
        self._work = asyncio.current_task()
        try:
            async with self._lamps_given_back():
                before = await self._station.read_controls()
                try:
                    return await self._measure()
                except BaseException as error:
                    await self._set_camera_back(before, error)
                    raise
        except BaseException as error:
            step = self.step
            if step.state in {StepState.RUNNING, StepState.WAITING}:
                cancelled = isinstance(error, asyncio.CancelledError)
                self._tell(step.key, StepState.FAILED, problem="cancelled" if cancelled else str(error))
            raise
        finally:
            self._work = None

    async def _measure(self) -> Calibration:
        station = self._station
        self._begin("camera")
        await station.apply_controls()
        await self._light(station.nominal_pct)
        self._done("camera")

        box = await self._see_card()

        self._begin("white_balance")
        white = await balance_white(station, box)
        self._done("white_balance", neutral_error=white.neutral_error)

        self._begin("focus")
        await self._focus()
        state = station.control_state
        position = None if state is None else state.focus_position
        self._done("focus", **({} if position is None else {"position": float(position)}))

        self._begin("geometry")
        card, height_px = await self._read_card()
        mtf50, detail = card.mtf50_cycles_px, card.detail
        if mtf50 is None or detail is None:
            raise CardNotReadableError(
                "The edges of the card's black square cannot be read: hang the card and the camera level "
                f"(they are turned by {card.pose.roll_deg:+.1f}° against each other), and focus the lens on the card."
            )
        self._done(
            "geometry",
            elevation_deg=card.pose.elevation_deg,
            roll_deg=card.pose.roll_deg,
            distance_cm=card.pose.distance_cm,
            mtf50_cycles_px=mtf50,
        )

        self._begin("noise")
        left, top, right, bottom = box
        frames = await fresh_frames(station, NOISE_FRAMES)
        grey_noise = temporal_noise([frame.pixels[top:bottom, left:right] for frame in frames])
        self._done("noise", grey=grey_noise)

        await self._see_nothing()

        self._begin("dark")
        await self._light(0.0)
        dark_code, dark_noise = await read_dark(station)
        self._done("dark", code=dark_code, noise=dark_noise)

        self._begin("lamps")
        lamps = await self._read_lamps()
        self._done("lamps", **{lamp.lamp: lamp.mean for lamp in (lamps.lamps if lamps is not None else ())})

        self._begin("background")
        await self._light(station.nominal_pct)
        wall = await read_wall(station)
        self._done("background", lightness=wall.lightness, chroma=wall.chroma, evenness_pct=wall.evenness_pct)

        light = card.grey.light_bgr[1]
        now = self._utc().replace(microsecond=0)
        tilt = 0.0 if state is None or state.tilt_deg is None else state.tilt_deg
        return Calibration(
            id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
            made_at=now,
            expires_at=now + timedelta(days=self._settings.expiry_days),
            booth=self._subject.booth,
            software=self._subject.software,
            baseline_id=self._subject.baseline_id,
            controls=state,
            lamps=lamps,
            white_balance=white,
            exposure=Exposure(
                lamps_pct=dict(station.levels_pct),
                grey_light=round(light, 5),
                error_stops=round(math.log2(max(light, 1e-6) / GREY_TARGET), 4),
            ),
            background_grey=wall,
            pitch_zero_deg=round(card.pose.elevation_deg - tilt, 4),
            roll_deg=round(card.pose.roll_deg, 4),
            yaw_deg=round(card.pose.yaw_deg, 4),
            camera_height_cm=round(self._settings.card_height_cm + card.pose.camera_above_cm, 3),
            card_distance_cm=round(card.pose.distance_cm, 3),
            vertical_fov_deg=round(card.pose.vertical_fov_deg, 4),
            sharpness=Sharpness(
                mtf50_cycles_px=round(mtf50, 5),
                mtf50_lines=round(2 * mtf50 * height_px, 2),
                card_detail=round(detail, 5),
                focus_position=position,
            ),
            noise=Noise(dark_code=round(dark_code, 3), dark=round(dark_noise, 4), grey=round(grey_noise, 4)),
        )

    # --- the steps' parts ----------------------------------------------------------------------------------------------

    async def _light(self, level_pct: float) -> None:
        await self._station.set_levels(dict.fromkeys(self._station.lamps, level_pct))

    async def _read_lamps(self) -> LampResponses | None:
        if not self._station.lamps:
            return None
        return await measure_lamps(self._station, lambda done: self._tell("lamps", StepState.RUNNING, progress=done))

    async def _see_nothing(self) -> None:
        """Waits until the booth is empty; a card that still hangs is asked to be taken down."""
        problem: str | None = None
        while True:
            await self._wait("empty", problem)
            self._begin("empty")
            for _ in range(LOOKS):
                if not await self._sees_card():
                    self._done("empty")
                    return
            problem = "The test card still hangs in the booth: take it down."
            if not self._attended:
                raise CardNotReadableError(problem)

    async def _sees_card(self) -> bool:
        (frame,) = await fresh_frames(self._station, 1)
        try:
            find_card(frame.pixels)
        except CardNotReadableError:
            return False
        return True

    async def _see_card(self) -> tuple[int, int, int, int]:
        """Waits until the card hangs and is seen; returns where the grey card is in the preview."""
        problem: str | None = None
        while True:
            await self._wait("card", problem)
            self._begin("card")
            for _ in range(LOOKS):
                (frame,) = await fresh_frames(self._station, 1)
                try:
                    box = grey_box(frame.pixels)
                except CardNotReadableError as error:
                    problem, cause = str(error), error
                else:
                    self._done("card")
                    return box
            if not self._attended:
                raise cause

    async def _focus(self) -> None:
        """Focuses on the card, unless a position is configured; without control nothing is done."""
        state, configured = self._station.control_state, self._station.configured
        is_free = configured.focus_position is None and configured.focus_mode in {None, FocusMode.MANUAL}
        if state is None or state.focus_mode is None or not is_free:
            return
        await self._station.set_camera(CameraControlSettings(focus_mode=FocusMode.MANUAL))
        await self._station.focus_once()

    async def _read_card(self) -> tuple[CardReading, int]:
        await fresh_frames(self._station, 1)
        try:
            (still,) = await self._station.burst(1)
        except CameraTimeoutError:  # one that is slow once does not end everything; twice it does
            (still,) = await self._station.burst(1)
        reading = read_card(
            still.pixels,
            vertical_fov_deg=self._settings.vertical_fov_deg,
            distance_cm=self._settings.card_distance_cm,
        )
        return reading, still.pixels.shape[0]

    @asynccontextmanager
    async def _lamps_given_back(self) -> AsyncIterator[None]:
        before = {name: level for name, level in self._station.levels_pct.items() if name in self._station.lamps}
        try:
            yield
        except BaseException as error:
            try:
                await self._station.set_levels(before, seen=False)
            except Exception as second:  # noqa: BLE001 - the first error is the one to tell; the second stands beside it
                error.add_note(f"The lamps could not be set back: {second}")
            raise
        await self._station.set_levels(before, seen=False)

    async def _set_camera_back(self, before: CameraControlState | None, error: BaseException) -> None:
        if before is None:
            return
        try:
            await self._station.set_camera(_settings_of(before))
        except Exception as second:  # noqa: BLE001 - as above
            error.add_note(f"The camera could not be set back: {second}")

    # --- what is told --------------------------------------------------------------------------------------------------

    async def _wait(self, key: str, problem: str | None = None) -> None:
        if not self._attended:
            self._done(key)
            return
        self._going_on.clear()
        self._tell(key, StepState.WAITING, problem=problem)
        await self._going_on.wait()
        self._done(key)

    def _begin(self, key: str) -> None:
        self._tell(key, StepState.RUNNING)

    def _done(self, key: str, **values: float) -> None:
        self._tell(key, StepState.DONE, progress=1.0, values={name: round(each, 4) for name, each in values.items()})

    def _tell(self, key: str, state: StepState, **more: object) -> None:
        told = Step.model_validate({"key": key, "state": state, **more})
        self.published.put(tuple(told if step.key == key else step for step in self.steps))


def settings_for_visits(calibration: Calibration) -> CameraControlSettings:
    """What a calibration found for the camera, as it is set at the beginning of each visit."""
    state = calibration.controls
    if state is None:
        return CameraControlSettings()
    found = _settings_of(state).model_dump(exclude={"powered"})
    return CameraControlSettings.model_validate(found)


def _settings_of(state: CameraControlState) -> CameraControlSettings:
    """The settings that make this state again: what an automatic chose is left to it. Zoom and tilt are the framing's."""
    given = state.model_dump(exclude_none=True, exclude={"powered", "zoom_ratio", "tilt_deg"})
    if state.exposure_mode not in {ExposureMode.MANUAL, None}:
        for name in ("exposure_us", "f_number", "gain_db"):
            given.pop(name, None)
    if state.white_balance not in {WhiteBalance.MANUAL, None}:
        for name in ("red_gain", "blue_gain", "white_kelvin"):
            given.pop(name, None)
    if state.focus_mode is FocusMode.AUTO:
        given.pop("focus_position", None)
    return CameraControlSettings.model_validate(given)
