"""What each lamp does to the picture: its light in the cells of a coarse grid, and how much light a drive gives.

Measured while nobody is in the booth, with the camera's automatic off. Order: all lamps dark (what is left is the room's light), then each lamp
alone at rising drives, each step newer than the acknowledged levels, then all dark again: a room whose light changed meanwhile is refused,
because its change would be taken for a lamp's. Values are linear light (IEC 61966-2-1), 1 = the sensor's white, blue, green, red, as means
over the cells of a grid of 4 rows and 3 columns of the preview. The lamps get back the levels that they had, also when it breaks off.

A drive curve is the light at a drive as a share of the light at full drive; cells that were clipped at a drive take no part in it, and their
pattern at full drive is told from the highest drive at which they were not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from capture.errors import LampsNotMeasurableError
from capture.station import Station
from hardware.controls import CameraControlState
from hardware.lights import CHANNELS
from validation.canvas import LINEAR

__all__ = ["DRIVES_PCT", "Grid", "LampResponse", "LampResponses", "measure_lamps", "read_grid", "strength_of"]

ROWS, COLUMNS = 4, 3
DRIVES_PCT = (25.0, 50.0, 75.0, 100.0)
# Pictures of one light that are averaged: the noise of a cell is then far below a code, and four pictures are 0.13 s.
FRAMES = 4
CLIPPED = 250  # a pixel from here on may have lost light; sensors bend before their last code
# A cell with more of such pixels does not tell its light; single hot pixels do not count.
CLIPPED_SHARE = 0.01
# Between both dark pictures, of the sensor's white: a tenth of what the weakest lamp gives a booth's wall (docs/calibration.md).
UNSTEADY = 0.012
# Less than this of the sensor's white, in the mean, is no light: eight-bit pictures of a dark booth differ by half of it.
UNSEEN = 0.002

Cell = tuple[float, float, float]  # blue, green, red
Grid = tuple[tuple[Cell, ...], ...]  # rows from the top, columns from the left
Share = Annotated[float, Field(ge=0)]


class LampResponse(BaseModel):
    """One lamp: its drive curve and its pattern."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lamp: str
    drives_pct: tuple[float, ...]  # as acknowledged
    shares: tuple[Share, ...]  # light at each drive / light at full drive; zeros for a dark lamp
    pattern: Grid  # at full drive, the room's light taken off
    clipped_cells: Annotated[int, Field(ge=0)] = 0  # at full drive: their light is told from a lower drive

    @property
    def mean(self) -> float:
        """Green light at full drive, mean of all cells: of the three colours the one that white balance leaves alone."""
        return float(np.mean(np.asarray(self.pattern)[..., 1]))

    @property
    def is_seen(self) -> bool:
        """Whether the camera sees the lamp at all."""
        return self.mean > UNSEEN

    def share_at(self, drive_pct: float) -> float:
        """The share of its full light at a drive."""
        return float(np.interp(drive_pct, (0.0, *self.drives_pct), (0.0, *self.shares)))

    def drive_for(self, share: float) -> float:
        """The drive that gives a share of its full light, at most full drive."""
        rising = np.maximum.accumulate((0.0, *self.shares))
        return float(np.interp(share, rising, (0.0, *self.drives_pct)))


class LampResponses(BaseModel):
    """All lamps of a booth at one time."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    at: datetime
    controls: CameraControlState | None = None  # the camera's settings meanwhile; None without camera control
    frame_width: int
    frame_height: int
    ambient: Grid  # the room's own light
    ambient_change: float  # the largest change of a cell from the first to the last dark picture
    noise: float  # standard deviation of a cell from picture to picture
    lamps: tuple[LampResponse, ...]

    def lamp(self, name: str) -> LampResponse | None:
        """One lamp; None when the booth had none of that name."""
        return next((each for each in self.lamps if each.lamp == name), None)


def read_grid(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The mean linear light of each cell (rows, columns, BGR), and which cells are clipped. Raises ValueError for a picture without colour."""
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"a grid is read from a colour picture, not from one of shape {pixels.shape}")
    light = cv2.LUT(pixels, LINEAR)  # 0..255
    means = np.asarray(cv2.resize(light, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA), dtype=np.float64) / 255
    full = (pixels.max(axis=2) >= CLIPPED).astype(np.float32)
    share = cv2.resize(full, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return means, np.asarray(share) > CLIPPED_SHARE


def strength_of(now: LampResponse, baseline: LampResponse, exposure: float = 1.0) -> float:
    """The light of a lamp now as a share of its baseline's, 1 = unchanged; `exposure` is the light now / the light then that the camera takes."""
    if not baseline.is_seen:
        raise LampsNotMeasurableError(
            f"The baseline never saw lamp {baseline.lamp}: mend it, then calibrate the booth (booth calibrate)."
        )
    return now.mean / baseline.mean / exposure


async def measure_lamps(
    station: Station, progress: Callable[[float], None] | None = None, drives_pct: Sequence[float] = DRIVES_PCT
) -> LampResponses:
    """Every lamp alone. Raises a CaptureError, or the error of a device that fails; `progress` gets 0..1."""
    lamps = station.lamps
    if not lamps:
        raise LampsNotMeasurableError("The booth has no lamps: add [lights] to its settings.")
    tell = progress or (lambda _done: None)
    total, done = len(lamps) * len(drives_pct) + 2, 0
    controls = await station.apply_controls()
    async with _given_back(station):
        dark, noise, size = await _look(station, dict.fromkeys(lamps, 0.0))
        tell(1 / total)
        responses = []
        for lamp in lamps:
            seen = []
            for drive_pct in drives_pct:
                light, _, _ = await _look(station, dict.fromkeys(lamps, 0.0) | {lamp: drive_pct})
                seen.append((station.levels_pct.get(lamp, drive_pct), *light))
                done += 1
                tell((1 + done) / total)
            responses.append(_response(lamp, seen, dark[0]))
        after, _, _ = await _look(station, dict.fromkeys(lamps, 0.0))
    change = float(np.abs(after[0] - dark[0]).max())
    if change > UNSTEADY:
        raise LampsNotMeasurableError(
            f"The room's own light changed by {change:.3f} of the sensor's white while the lamps were measured ({UNSTEADY} is allowed): "
            "close door and curtain, let nobody into the booth, and start again."
        )
    tell(1.0)
    return LampResponses(
        at=datetime.now(UTC),
        controls=controls,
        frame_width=size[0],
        frame_height=size[1],
        ambient=_told(dark[0]),
        ambient_change=round(change, 6),
        noise=round(noise, 6),
        lamps=tuple(responses),
    )


Light = tuple[NDArray[np.float64], NDArray[np.bool_]]


async def _look(station: Station, levels_pct: Mapping[str, float]) -> tuple[Light, float, tuple[int, int]]:
    """The light of these levels, its noise from picture to picture, and the pictures' size."""
    await station.set_levels(levels_pct)
    newest = station.preview()
    sequence = -1 if newest is None else newest.sequence
    grids, clipped = [], np.zeros((ROWS, COLUMNS), dtype=np.bool_)
    size = (0, 0)
    for _ in range(FRAMES):
        frame = await station.next_preview(sequence)
        sequence = frame.sequence
        grid, full = read_grid(frame.pixels)
        grids.append(grid)
        clipped |= full
        size = (frame.pixels.shape[1], frame.pixels.shape[0])
    stack = np.stack(grids)
    return (stack.mean(axis=0), clipped), float(stack.std(axis=0, ddof=1).mean()), size


def _response(
    lamp: str, seen: Sequence[tuple[float, NDArray[np.float64], NDArray[np.bool_]]], dark: NDArray[np.float64]
) -> LampResponse:
    """Curve and pattern from the pictures at rising drives."""
    drives = tuple(drive for drive, _, _ in seen)
    lights = [np.maximum(grid - dark, 0.0) for _, grid, _ in seen]
    open_at = [~clipped for _, _, clipped in seen]
    clear = np.logical_and.reduce(open_at)
    if not clear.any():
        raise LampsNotMeasurableError(
            f"Lamp {lamp} at full drive overexposes the whole picture: lower the camera's exposure or gain."
        )
    curve = [float(light[clear][:, 1].mean()) for light in lights]
    if curve[-1] <= UNSEEN:
        return LampResponse(lamp=lamp, drives_pct=drives, shares=(0.0,) * len(drives), pattern=_told(lights[-1]))
    shares = [value / curve[-1] for value in curve]
    pattern = lights[-1].copy()
    for row, column in zip(*np.nonzero(~open_at[-1]), strict=True):
        usable = [n for n, each in enumerate(open_at) if each[row, column] and shares[n] > 0]
        if usable:
            pattern[row, column] = lights[usable[-1]][row, column] / shares[usable[-1]]
    return LampResponse(
        lamp=lamp,
        drives_pct=drives,
        shares=tuple(round(share, 5) for share in shares),
        pattern=_told(pattern),
        clipped_cells=int((~open_at[-1]).sum()),
    )


def _told(grid: NDArray[np.float64]) -> Grid:
    """Six digits: two more than an average of pictures is worth."""
    return tuple(tuple((round(float(b), 6), round(float(g), 6), round(float(r), 6)) for b, g, r in row) for row in grid)


@asynccontextmanager
async def _given_back(station: Station) -> AsyncIterator[None]:
    """The lamps as they were, however it ends; an error of the measurement is not covered by one of the way back."""
    before = {name: level for name, level in station.levels_pct.items() if name in CHANNELS}
    try:
        yield
    except BaseException as error:
        try:
            await asyncio.shield(station.set_levels(before, seen=False))
        except Exception as second:  # noqa: BLE001 - the first error is the one to tell; the second stands beside it
            error.add_note(f"The lamps could not be set back: {second}")
        raise
    await station.set_levels(before, seen=False)
