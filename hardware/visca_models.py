"""What the steps of a camera model mean; the tables themselves are data (visca_models.toml)."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Sequence
from importlib.resources import files
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from hardware.errors import ControlValueError, SettingsError


class TiltTable(BaseModel):
    """How a tilt angle becomes the camera's steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps_per_deg: float
    low_deg: float
    high_deg: float
    speed: int
    tolerance_deg: float


class CameraModel(BaseModel):
    """What the steps of one camera model mean (visca_models.toml)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    shutter_per_s: tuple[float, ...]
    f_numbers: tuple[float, ...]
    gain_db: tuple[float, ...]
    zoom: tuple[tuple[float, int], ...]
    focus_positions: tuple[int, int]
    zoom_tolerance: int
    focus_tolerance: int
    tilt: TiltTable | None = None

    def shutter_step(self, exposure_us: float) -> int:
        """The step nearest to an exposure time, in stops."""
        return _nearest("exposure", exposure_us, [1e6 / each for each in self.shutter_per_s], math.log2)

    def iris_step(self, f_number: float) -> int:
        """The step nearest to an f-number, in stops; step 0 is the closed iris."""
        return 1 + _nearest("f-number", f_number, self.f_numbers[1:], math.log2)

    def gain_step(self, gain_db: float) -> int:
        """The step nearest to a gain."""
        return _nearest("gain", gain_db, self.gain_db, float)

    def focus_step(self, position: int) -> int:
        """A focus position, if the lens has it."""
        low, high = self.focus_positions
        if not low <= position <= high:
            raise ControlValueError(f"The camera has no focus position {position}: it goes from {low} to {high}.")
        return position

    def zoom_position(self, ratio: float) -> int:
        """The position of a zoom ratio."""
        for (low, start), (high, end) in pairwise(self.zoom):
            if low <= ratio <= high:
                return start + round((ratio - low) / (high - low) * (end - start))
        raise ControlValueError(
            f"The camera has no zoom ratio {ratio}: it goes from {self.zoom[0][0]} to {self.zoom[-1][0]}."
        )

    def zoom_ratio(self, position: int) -> float:
        """The zoom ratio at a position; beyond the table (digital zoom) the last one."""
        for (low, start), (high, end) in pairwise(self.zoom):
            if start <= position <= end:
                return low + (position - start) / (end - start) * (high - low)
        return self.zoom[-1][0]

    def tilt_steps(self, tilt_deg: float) -> int:
        """The steps of a tilt angle."""
        if self.tilt is None or not self.tilt.low_deg <= tilt_deg <= self.tilt.high_deg:
            raise ControlValueError(f"The camera cannot tilt to {tilt_deg} degrees.")
        return round(tilt_deg * self.tilt.steps_per_deg)


def _nearest(what: str, value: float, steps: Sequence[float], scale: Callable[[float], float]) -> int:
    """The index of the nearest step; a value more than a step beyond the ends is refused."""
    distances = [abs(scale(each) - scale(value)) for each in steps]
    best = min(range(len(steps)), key=distances.__getitem__)
    inner = min(steps) <= value <= max(steps)
    room = max(abs(scale(a) - scale(b)) for a, b in pairwise(steps))
    if not inner and distances[best] > room:
        raise ControlValueError(f"The camera has no {what} {value:g}: it goes from {min(steps):g} to {max(steps):g}.")
    return best


def load_model(name: str) -> CameraModel:
    """Read a model's tables."""
    tables = tomllib.loads(files("hardware").joinpath("visca_models.toml").read_text(encoding="utf-8"))
    if name not in tables:
        raise SettingsError(
            f"There are no tables for the camera model {name!r}: there are {', '.join(sorted(tables))}."
        )
    return CameraModel.model_validate(tables[name])
