"""PURE: the next setting of lamps and camera, from what the model says.

What is aimed at: the light that healthy lamps would give this very face and wall, patch by patch, times a factor for the face and one for the wall.
Both factors are free within wide bounds: no skin tone is brought to one luminance (light.exposure in icao.toml says why). Bounds come from what a
picture can show: the brightest skin and the wall below white, the wall light enough, the face above the noise. So a dark skin in front of a lit
wall stays dark skin in front of a lit wall, and what is evened out are the patches among each other.

For each exposure that the camera can take: a least squares for four drives and both factors, each within its bounds (`bounded`); the exposure with
the smallest rest is taken, small changes and low gain before others. Colour: gains that make the wall neutral, half-way for what the face's own light
says otherwise, and only when the wall's colour is off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.light_model import IS_FACE, LightModel, Vector
from capture.metering import PATCHES

# Weights, costs and bounds in this file are assumed unless they name a rule; what they bring on six rendered people is measured in docs/light.md.
# Weight of each patch: the four zones of the rule first.
_WEIGHTS: Mapping[str, float] = {"cheek": 1.0, "under_eye": 1.0, "flank": 0.5, "lid": 0.4, "wall": 0.8}
WEIGHTS = np.array([_WEIGHTS.get(patch.rpartition("_")[0] or patch, 0.6) for patch in PATCHES])
# The patches that decide a rule.
_DECIDES: Mapping[str, tuple[str, ...]] = {
    "light.even": ("forehead", "chin", "cheek"),
    "light.sides": ("cheek", "under_eye"),
    "light.shadows": ("under_eye", "flank", "lid"),
    "background.lightness": ("wall",),
}
# The wall between L* 74 and 93, its best at 82; the face from a third less to a third more than healthy lamps give it.
WALL_LEAST, WALL_MOST = 0.47, 0.83
FACE_LEAST, FACE_MOST = 0.65, 1.35
BRIGHT_SKIN_MOST = 0.82  # linear light of the brightest skin patch; highlights lie above it
FACTOR_WEIGHT = 0.25  # of keeping both factors at 1
STAY_WEIGHT = 0.03  # of keeping each lamp where it is nominal
# Per stop away from what the model takes for right, and more per stop of noise beyond one.
EXPOSURE_COST, GAIN_COST = 0.004, 0.02
# The face's mean luminance in percent that dark skin is kept above (light.exposure warns below 6).
FACE_EXPOSURE_LEAST, FACE_MOST_FOR_DARK = 7.6, 1.1
SWEEPS = 400  # of the coordinate descent, at most: it ends when nothing moves
# Of the rest: what a step must bring.
LEAST_GAINED, LEAST_GAINED_SHARE = 0.001, 0.15
LEAST_DRIVE, LEAST_EXPOSURE, LEAST_GAIN = 0.03, 0.08, 0.04  # smaller changes are not worth a step
TINT_FROM = 4.0  # colour of the wall, CIELAB, from which the gains are changed
GAIN_OF_WALL = 0.6  # the rest is the face's
GAIN_BOUNDS = (0.5, 2.0)


@dataclass(frozen=True, slots=True, eq=False)
class LightPlan:
    """The next setting and what the model expects of it."""

    drives: tuple[float, float, float, float]  # light of each lamp, 1 = nominal
    exposure: float  # light that the camera takes, of what it was set up to take
    gains: tuple[float, float, float]  # blue, green, red
    rest: float  # what stays uneven: 0 is the light of healthy lamps
    rest_now: float  # the same of the present setting
    expected: Vector  # linear light of patch and colour

    @property
    def gains_much(self) -> bool:
        """Whether the model expects more than its own error from it."""
        return self.rest < self.rest_now - max(LEAST_GAINED, LEAST_GAINED_SHARE * self.rest_now)

    def differs(self, drives: Sequence[float], exposure: float, gains: Sequence[float]) -> bool:
        """Whether it is worth a step from there."""
        moved = float(np.abs(np.subtract(self.drives, drives)).max())
        exposed = abs(float(np.log2(self.exposure / exposure)))
        coloured = float(np.abs(np.log(np.divide(self.gains, gains))).max())
        return moved > LEAST_DRIVE or exposed > LEAST_EXPOSURE or coloured > LEAST_GAIN


def bounded(matrix: Vector, target: Vector, low: Vector, high: Vector) -> Vector:
    """The least squares solutions of matrix @ x = target with low <= x <= high, one for each of the stacked problems.

    Coordinate descent, which ends because each problem is convex; all problems take their steps together.
    """
    across = matrix.swapaxes(-1, -2)
    normal, wanted = across @ matrix, (across @ target[..., None])[..., 0]
    x = np.broadcast_to(np.clip(np.ones(low.shape[-1]), low, high), wanted.shape).copy()
    diagonal = np.maximum(np.diagonal(normal, axis1=-2, axis2=-1), 1e-12)
    for _ in range(SWEEPS):
        before = x.copy()
        for n in range(x.shape[-1]):
            moved = x[..., n] + (wanted[..., n] - (normal[..., n, :] * x).sum(axis=-1)) / diagonal[..., n]
            x[..., n] = np.clip(moved, low[n], high[n])
        if float(np.abs(x - before).max()) < 1e-4:
            break
    return np.asarray(x)


def plan(
    model: LightModel,
    exposures: Sequence[float],
    most: Sequence[float],
    *,
    least: Sequence[float] | None = None,
    wall_tint: float = 0.0,
    gains: tuple[float, float, float] | None = None,
    drives: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    exposure: float = 1.0,
    seen: NDArray[np.bool_] | None = None,
    face_pct: float | None = None,
    emphasis: Vector | None = None,
) -> LightPlan:
    """The best setting. `exposures`: what the camera can take; `most`: the drive of each lamp at 100 % (`least`: at its lowest); `gains`: now, None: they cannot be set.

    `drives`, `exposure`: the present setting. `seen`: which patches the frames told of (a covered forehead, a wall that is not seen, count for
    nothing). `face_pct`: the face's mean luminance now. `emphasis`: factors of the patches' weights (`emphasised`).
    """
    weights = WEIGHTS * (1.0 if seen is None else seen) * (1.0 if emphasis is None else emphasis)
    lamps, room = model.response()
    target = model.own[:, 1]
    skin = target[IS_FACE & (weights > 0)]
    brightest = float(skin.max()) if skin.size else 0.5
    wall = float(target[~IS_FACE].mean())
    face_most = max(min(FACE_MOST, BRIGHT_SKIN_MOST / brightest), FACE_LEAST)
    face_least = FACE_LEAST
    present = exposure * (lamps @ np.asarray(drives) + room)
    if face_pct is not None and skin.size:
        nominal_pct = face_pct * float(skin.mean()) / max(float(present[IS_FACE & (weights > 0)].mean()), 1e-6)
        face_least = min(max(FACE_LEAST, FACE_EXPOSURE_LEAST / max(nominal_pct, 1e-6)), FACE_MOST_FOR_DARK, face_most)
    low = np.array([*(least or (0.0,) * 4), face_least, WALL_LEAST / wall])
    high = np.array([*most, face_most, max(WALL_MOST, WALL_LEAST) / wall])
    here = np.array([exposure])
    _, rest_now = _drives(
        lamps, room, here, target, weights, np.array([*drives, *low[4:]]), np.array([*drives, *high[4:]])
    )
    asked = np.array(exposures, dtype=np.float64)
    found, rest = _drives(lamps, room, asked, target, weights, low, high)
    stops = np.log2(asked * model.exposure)
    best = int(np.argmin(rest + EXPOSURE_COST * np.abs(stops) + GAIN_COST * np.maximum(stops - 1.0, 0.0)))
    chosen_exposure, chosen_drives = float(asked[best]), found[best]
    colour = gains or (1.0, 1.0, 1.0)
    if gains is not None and wall_tint > TINT_FROM:
        colour = _gains(model, chosen_drives, chosen_exposure)
    left, right, top, back = (float(drive) for drive in chosen_drives)
    return LightPlan(
        drives=(left, right, top, back),
        exposure=chosen_exposure,
        gains=colour,
        rest=float(rest[best]),
        rest_now=float(rest_now[0]),
        expected=model.predicted(chosen_drives, chosen_exposure, np.asarray(colour)),
    )


def emphasised(lacking: Mapping[str, float], before: Vector | None = None) -> Vector:
    """Factors of the patches' weights: what the last frame lacked counts for more in the next plan, at most double with each step."""
    factors = np.ones(len(PATCHES)) if before is None else before.copy()
    for rule, lack in lacking.items():
        named = _DECIDES.get(rule, ())
        touched = np.array([patch.startswith(named) for patch in PATCHES]) if named else np.zeros(len(PATCHES), bool)
        factors[touched] *= 1.0 + min(lack, 1.0)
    return factors


def _drives(
    lamps: Vector, room: Vector, exposures: Vector, target: Vector, weights: Vector, low: Vector, high: Vector
) -> tuple[Vector, Vector]:
    """Drives for each exposure, and the mean square of what stays uneven."""
    scale = weights / target
    patches = len(target)
    matrix = np.zeros((len(exposures), patches + 6, 6))
    wanted = np.zeros((len(exposures), patches + 6))
    matrix[:, :patches, :4] = exposures[:, None, None] * (lamps * scale[:, None])
    matrix[:, :patches, 4] = -np.where(IS_FACE, weights, 0.0)
    matrix[:, :patches, 5] = -np.where(IS_FACE, 0.0, weights)
    keep = np.array([STAY_WEIGHT] * 4 + [FACTOR_WEIGHT] * 2)
    matrix[:, patches:] = np.diag(keep)
    wanted[:, :patches] = -exposures[:, None] * (room * scale)
    wanted[:, patches:] = keep
    found = bounded(matrix, wanted, low, high)
    left = ((matrix[:, :patches] @ found[..., None])[..., 0] - wanted[:, :patches]) ** 2
    factors = FACTOR_WEIGHT**2 * ((found[:, 4:] - 1) ** 2).sum(axis=1)
    return found[:, :4], left.sum(axis=1) / max(float((weights**2).sum()), 1e-9) + factors


def _gains(model: LightModel, drives: Vector, exposure: float) -> tuple[float, float, float]:
    """Blue and red gains under which the wall, and the light on the face, come near neutral."""
    light = model.predicted(drives, exposure, np.ones(3))
    wall = light[~IS_FACE].mean(axis=0)
    on_face = (light / model.own)[IS_FACE].mean(axis=0)
    factor = (wall[1] / wall) ** GAIN_OF_WALL * (on_face[1] / on_face) ** (1 - GAIN_OF_WALL)
    blue, _, red = (float(v) for v in np.clip(factor, *GAIN_BOUNDS))
    return blue, 1.0, red
