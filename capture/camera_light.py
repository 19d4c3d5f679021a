"""The camera as a part of the light: how much of it it takes, and in which colour; in factors of what it took when the scene began.

Exposure time first, because it costs no noise; gain behind it, and for what the camera's coarse steps leave; the iris stays. Every setting is read
back: the factor that counts is what the camera says it uses. Times are bounded by what a sitting person's sway allows (docs/light.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from capture.station import Station
from hardware.controls import CameraControlSettings, CameraControlState, ExposureMode, WhiteBalance
from hardware.errors import ControlError, ControlValueError

# 1/30 s: beyond it a head that is still enough for the shutter (0.3 eye distances a second) moves by more than a hundredth of its eye distance.
LONGEST_US, SHORTEST_US = 33_400.0, 500.0
GAIN_MOST_DB = 12.0  # noise of four times the usual amplitude
STEPS_PER_STOP = 6
GAIN_FROM, GAIN_TO = 1, 255  # of the colour registers


@dataclass(frozen=True, slots=True)
class Taken:
    """What the camera takes of the light, of what it took at first."""

    exposure: float = 1.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)  # blue, green, red


class CameraLight:
    """The camera of a station; a camera without control is one whose light nobody can change."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._first: CameraControlState | None = None
        self._changed = False
        self.taken = Taken()

    async def restart(self) -> None:
        """The camera as it was before the loop changed it; what it is then counts as 1."""
        first = self._first
        if first is not None and self._changed:
            await self._station.set_camera(
                CameraControlSettings(
                    exposure_us=first.exposure_us,
                    gain_db=first.gain_db,
                    red_gain=first.red_gain,
                    blue_gain=first.blue_gain,
                )
            )
        # Only now: who is interrupted while the camera works can begin again.
        self._first, self._changed, self.taken = None, False, Taken()

    async def prepare(self) -> None:
        """Learns what the camera uses and leaves its automatic modes; one that cannot be asked is not used."""
        if self._first is not None:
            return
        try:
            state = await self._station.read_controls()
            if state is not None and (
                state.exposure_mode is not ExposureMode.MANUAL or state.white_balance is not WhiteBalance.MANUAL
            ):
                state = await self._station.set_camera(
                    CameraControlSettings(
                        exposure_mode=None if state.exposure_mode is None else ExposureMode.MANUAL,
                        white_balance=None if state.white_balance is None else WhiteBalance.MANUAL,
                    )
                )
        except ControlError:
            return  # told by the control line's own status
        self._first = state

    @property
    def usable(self) -> bool:
        """Whether exposure can be set; before `prepare`, whether it may be."""
        state = self._first or self._station.control_state
        return state is not None and state.exposure_us is not None

    @property
    def colour_usable(self) -> bool:
        """Whether the colour gains can be set."""
        first = self._first
        return first is not None and bool(first.red_gain) and bool(first.blue_gain)

    def exposures(self) -> tuple[float, ...]:
        """What the camera can be asked to take, rising."""
        first = self._first
        if first is None or first.exposure_us is None:
            return (self.taken.exposure,)
        usual = first.exposure_us * 10 ** ((first.gain_db or 0.0) / 20)
        gain_most = 1.0 if first.gain_db is None else 10 ** (GAIN_MOST_DB / 20)
        low, high = SHORTEST_US / usual, LONGEST_US * gain_most / usual
        steps = range(math.ceil(math.log2(low) * STEPS_PER_STOP), math.floor(math.log2(high) * STEPS_PER_STOP) + 1)
        return tuple(sorted({*(2 ** (step / STEPS_PER_STOP) for step in steps), self.taken.exposure}))

    async def set(self, exposure: float, gains: tuple[float, float, float]) -> Taken:
        """Asks for this much light and these gains, and tells what the camera really takes. Raises a ControlError."""
        first = self._first
        if first is None or (exposure, gains) == (self.taken.exposure, self.taken.gains):
            return self.taken
        self._changed = True
        state = await self._expose(first, exposure) if exposure != self.taken.exposure else None
        if gains != self.taken.gains and self.colour_usable:
            state = await self._station.set_camera(
                CameraControlSettings(
                    red_gain=_register(first.red_gain, gains[2]), blue_gain=_register(first.blue_gain, gains[0])
                )
            )
        if state is not None:
            self.taken = _taken(first, state)
        return self.taken

    async def _expose(self, first: CameraControlState, exposure: float) -> CameraControlState | None:
        if first.exposure_us is None:
            return None
        light = first.exposure_us * 10 ** ((first.gain_db or 0.0) / 20) * exposure
        exposure_us = min(max(light, SHORTEST_US), LONGEST_US)
        state = await self._station.set_camera(
            CameraControlSettings(exposure_us=exposure_us, gain_db=None if first.gain_db is None else 0.0)
        )
        if state is None or first.gain_db is None:
            return state
        left_db = 20 * math.log10(exposure / _taken(first, state).exposure)
        if left_db < 0.5:
            return state
        try:
            return await self._station.set_camera(CameraControlSettings(gain_db=min(left_db, GAIN_MOST_DB)))
        except ControlValueError:
            return state  # it has no such gain: the lamps give the rest


def _register(first: int | None, factor: float) -> int | None:
    return None if first is None else min(max(round(first * factor), GAIN_FROM), GAIN_TO)


def _taken(first: CameraControlState, state: CameraControlState) -> Taken:
    """Light and colour of a state, of those of the first."""
    exposure = 1.0
    if first.exposure_us and state.exposure_us:
        exposure = state.exposure_us / first.exposure_us
    if first.gain_db is not None and state.gain_db is not None:
        exposure *= 10 ** ((state.gain_db - first.gain_db) / 20)
    if first.f_number and state.f_number:
        exposure *= (first.f_number / state.f_number) ** 2
    blue = state.blue_gain / first.blue_gain if first.blue_gain and state.blue_gain else 1.0
    red = state.red_gain / first.red_gain if first.red_gain and state.red_gain else 1.0
    return Taken(exposure, (blue, 1.0, red))
