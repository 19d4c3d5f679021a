"""PURE: what lamps, room and camera do to the patches of a face and its wall; learned from the frames of one visit.

The model, in linear light, for patch p and colour c:

    seen[p, c] = gain[c] * exposure * own[p, c] * ( sum over lamps  share[p, l] * strength[l] * drive[l]
                                                  + sum over places share[p, k] * room[k] * tint[k, c] )

`own` is the patch's light under healthy lamps at their nominal drive: skin, shape and nothing else, so any skin has its own. `share` is how much
of that light each lamp gives: the geometry of the booth (SHARES). `drive` is relative to nominal, through each lamp's curve.

Frames taken under different drives tell strengths from skin. Two frames are few, so one cause is looked for: each hypothesis lets one thing stray (a
lamp, two lamps, light from one side, from above, the room's own light, the camera's exposure, its colour) and keeps the rest near what is usual; the hypothesis
that explains all frames best, a complicated one having to explain more, is believed. A wrong belief costs a step: the next frame corrects it.
Each fit is a least squares of logarithms (Levenberg-Marquardt, the Jacobian in closed form; a strength below zero is cut).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from capture.metering import FACE_PATCHES, PATCH_CLIPPED, PATCH_DARK, PATCHES
from hardware.lights import CHANNELS

Vector = NDArray[np.float64]

PLACES = ("left", "right", "top", "room")
# Share of each lamp (key_left, key_right, fill_top, background) in a patch's nominal light, and the room's own light per unit of it. Measured on the
# virtual booth's renders of two people (anna, kwame), both halves of the face averaged; the other four strayed by 0.05 at most. A real booth of
# another shape has other shares: the model then needs a step more (docs/light.md).
_HALF: Mapping[str, tuple[float, float, float, float, float]] = {
    "cheek": (0.42, 0.11, 0.30, 0.17, 0.045),
    "under_eye": (0.46, 0.15, 0.335, 0.055, 0.045),
    "flank": (0.345, 0.01, 0.21, 0.435, 0.055),
    "lid": (0.375, 0.18, 0.395, 0.05, 0.03),
    "wall": (0.17, 0.14, 0.165, 0.525, 0.06),
}
_WHOLE: Mapping[str, tuple[float, float, float, float, float]] = {
    "forehead": (0.26, 0.26, 0.48, 0.0, 0.05),
    "chin": (0.265, 0.265, 0.46, 0.01, 0.04),
}


def _shares() -> Vector:
    rows = []
    for patch in PATCHES:
        half, _, side = patch.rpartition("_")
        row = _WHOLE[patch] if patch in _WHOLE else _HALF[half]
        near, far, top, back, room = row
        rows.append((far, near, top, back, room) if side == "right" else row)
    return np.array(rows, dtype=np.float64)


SHARES: Vector = _shares()
LAMP_SHARES, PLACE_SHARES = SHARES[:, :4], SHARES[:, (0, 1, 2, 4)]
IS_FACE = np.array([patch in FACE_PATCHES for patch in PATCHES])
# Own light of each patch beside the cheeks', as a logarithm (medians of the renders): flanks are turned away, lids are painted and turned down.
_TEMPLATE: Mapping[str, float] = {"flank": -0.4, "lid": -0.7, "forehead": 0.1, "chin": -0.2}
TEMPLATE = np.array([_TEMPLATE.get(p.rpartition("_")[0] or p, 0.0) for p in PATCHES])
# Own light of a light grey wall, of the sensor's white: what the lamps are set up to give (L* 82).
WALL_LIGHT = 0.59
USUAL_ROOM = 0.35  # of the rendered room light; it gives 2 % of a face's light

# How far things stray when nothing is wrong (standard deviations of logarithms, of strengths and of room light)
# and how far the one that is wrong may stray.
OWN_STRAYS, WALL_STRAYS, HALVES_STRAY = 0.18, 0.06, 0.03
STRENGTH_STRAYS, PLACE_STRAYS, ROOM_STRAYS = 0.05, 0.04, 0.3
EXPOSURE_STRAYS, GAIN_STRAYS, TINT_STRAYS = 0.04, 0.04, 0.15
WRONG_STRENGTH, WRONG_PLACE, WRONG_ROOM, WRONG_EXPOSURE, WRONG_GAIN = 0.7, 3.0, 2.5, 1.5, 0.5
# Of a patch's logarithm: the face moves, and its geometry is not the table's.
SEEN_STRAYS, SEEN_NOISE = 0.05, 0.003
# What a hypothesis must explain more than the simpler one; a camera that was set and read back is rarely the cause.
COST_OF_KIND: Mapping[str, float] = {"": 0.0, "lamp": 2.0, "lamps": 7.0, "ambient": 2.0, "camera": 7.0, "several": 9.0}
STEPS, STRENGTH_MOST, PLACE_MOST = 25, 1.6, 12.0
LEAST_GAINED = 0.02  # of the cost; hypotheses differ by more


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One frame for the model: the light of the patches, and what lamps and camera were set to."""

    patches: Mapping[str, tuple[float, float, float]]
    drives: tuple[float, float, float, float]  # light of each lamp, 1 = nominal
    exposure: float = 1.0  # light that the camera takes, of what it is set up to take
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)  # blue, green, red; of what they are set up to be


@dataclass(frozen=True, slots=True)
class Usual:
    """What is known before the first frame: strengths as calibrated, and whether the camera's settings mean what they say."""

    strengths: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    wall_light: float = WALL_LIGHT


@dataclass(frozen=True, slots=True)
class Cause:
    """A thing that may be wrong."""

    kind: str  # "" | lamp | lamps (two, their names with a blank between) | ambient | camera | several
    name: str = ""


SOUND, SEVERAL = Cause(""), Cause("several")
EXPOSURE, COLOUR = Cause("camera", "exposure"), Cause("camera", "white_balance")
CAUSES: tuple[Cause, ...] = (
    SOUND,
    *(Cause("lamp", name) for name in CHANNELS),
    *(Cause("lamps", f"{one} {other}") for one, other in combinations(CHANNELS, 2)),
    *(Cause("ambient", place) for place in PLACES),
    EXPOSURE,
    COLOUR,
    SEVERAL,
)

# Where the parameters lie: skin colour, own of each patch, wall colour, strengths, places, exposure, gains (blue, red), tints (blue, red).
_PATCH = len(PATCHES)
_AT: Mapping[str, slice] = MappingProxyType(
    dict(
        zip(
            ("skin", "own", "wall", "strength", "place", "exposure", "gain", "tint"),
            (
                slice(start, stop)
                for start, stop in (
                    (0, 3),
                    (3, 3 + _PATCH),
                    (3 + _PATCH, 6 + _PATCH),
                    (6 + _PATCH, 10 + _PATCH),
                    (10 + _PATCH, 14 + _PATCH),
                    (14 + _PATCH, 15 + _PATCH),
                    (15 + _PATCH, 17 + _PATCH),
                    (17 + _PATCH, 19 + _PATCH),
                )
            ),
            strict=True,
        )
    )
)
_SIZE = 19 + _PATCH
_GAIN_OF_COLOUR = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])  # colour x (blue, red)


def _constant() -> Vector:
    """The part of the Jacobian that never changes: patch x colour x parameter."""
    jacobian = np.zeros((_PATCH, 3, _SIZE))
    for colour in range(3):
        jacobian[IS_FACE, colour, _AT["skin"].start + colour] = 1.0
        jacobian[~IS_FACE, colour, _AT["wall"].start + colour] = 1.0
    for patch in range(_PATCH):
        jacobian[patch, :, _AT["own"].start + patch] = 1.0
    jacobian[..., _AT["exposure"]] = 1.0
    jacobian[..., _AT["gain"]] = _GAIN_OF_COLOUR
    return jacobian


_CONSTANT = _constant()


@dataclass(frozen=True, eq=False)
class LightModel:
    """What the frames say: the cause believed, and the light that lamps and room give each patch."""

    cause: Cause
    cost: float
    strengths: Vector  # per lamp
    places: Vector  # light from left, right, top, and the room's own, of the nominal lamp there (the room's: of the rendered one)
    own: Vector  # patch x colour: light under healthy lamps at nominal drive and exposure
    tint: Vector  # colour of the light that is not the lamps'
    exposure: float  # what the camera takes / what it is set to take
    gains: Vector  # the camera's colour beside what it is set to
    parameters: Vector = field(repr=False)

    def predicted(self, drives: Vector, exposure: float, gains: Vector | None = None) -> Vector:
        """Linear light of each patch and colour under other settings."""
        lamps = LAMP_SHARES @ (self.strengths * drives)
        room = (PLACE_SHARES @ self.places)[:, None] * self.tint[None, :]
        colour = self.gains * (1.0 if gains is None else gains)
        return np.asarray(exposure * self.exposure * colour * self.own * (lamps[:, None] + room))

    def response(self) -> tuple[Vector, Vector]:
        """Green light of each patch per unit of each lamp's drive, and without lamps; at nominal exposure."""
        own = self.own[:, 1] * self.exposure
        return own[:, None] * LAMP_SHARES * self.strengths, own * (PLACE_SHARES @ self.places) * self.tint[1]


def _prior(usual: Usual, cause: Cause) -> tuple[Vector, Vector]:
    """Mean and standard deviation of every parameter under a hypothesis."""
    mean, stray = np.zeros(_SIZE), np.zeros(_SIZE)
    mean[_AT["skin"]], stray[_AT["skin"]] = math.log(0.25), 3.0
    mean[_AT["own"]] = TEMPLATE
    stray[_AT["own"]] = np.where(IS_FACE, OWN_STRAYS, HALVES_STRAY)
    mean[_AT["wall"]], stray[_AT["wall"]] = math.log(usual.wall_light), WALL_STRAYS
    mean[_AT["strength"]], stray[_AT["strength"]] = usual.strengths, STRENGTH_STRAYS
    mean[_AT["place"]] = (0.0, 0.0, 0.0, USUAL_ROOM)
    stray[_AT["place"]] = (PLACE_STRAYS,) * 3 + (ROOM_STRAYS,)
    stray[_AT["exposure"]], stray[_AT["gain"]] = EXPOSURE_STRAYS, GAIN_STRAYS
    # The rendered room is lit warmer than the lamps; a real one by daylight or by bulbs.
    mean[_AT["tint"]], stray[_AT["tint"]] = (-0.3, 0.25), 0.5
    strengths, places = _AT["strength"].start, _AT["place"].start
    if cause.kind in {"lamp", "lamps"}:
        for lamp in cause.name.split():
            stray[strengths + CHANNELS.index(lamp)] = WRONG_STRENGTH
    elif cause.kind == "ambient":
        number = PLACES.index(cause.name)
        stray[places + number] = WRONG_ROOM if cause.name == "room" else WRONG_PLACE
    elif cause == EXPOSURE:
        stray[_AT["exposure"]] = WRONG_EXPOSURE
    elif cause == COLOUR:
        stray[_AT["gain"]] = WRONG_GAIN
    elif cause == SEVERAL:
        stray[_AT["strength"]], stray[_AT["exposure"]] = WRONG_STRENGTH / 2, WRONG_EXPOSURE / 3
        stray[_AT["place"]] = (1.0, 1.0, 1.0, 3.0)
        stray[_AT["gain"]] = WRONG_GAIN / 2
    return mean, stray


@dataclass(frozen=True, eq=False)
class _Frames:
    """All frames as arrays: frame x patch x colour."""

    logarithm: Vector
    weight: Vector  # 1 / standard deviation; 0 where nothing is told
    clipped: NDArray[np.bool_]  # at least so bright
    drives: Vector
    offset: Vector  # logarithm of exposure and gains


def _arrays(seen: Sequence[Seen]) -> _Frames:
    light = np.full((len(seen), _PATCH, 3), np.nan)
    for frame, each in enumerate(seen):
        for number, patch in enumerate(PATCHES):
            if patch in each.patches:
                light[frame, number] = each.patches[patch]
    clipped = light >= PATCH_CLIPPED
    told = light > PATCH_DARK
    safe = np.where(told, light, 1.0)
    stray = np.hypot(SEEN_STRAYS, SEEN_NOISE / safe)
    offset = np.log([each.exposure for each in seen])[:, None] + np.log([each.gains for each in seen])
    drives = np.array([each.drives for each in seen], dtype=np.float64)
    return _Frames(np.log(safe), np.where(told, 1 / stray, 0.0), clipped, drives, offset)


def _residuals(parameters: Vector, frames: _Frames) -> tuple[Vector, Vector]:
    """Weighted differences of the logarithms and their Jacobian."""
    count = len(frames.drives)
    strengths, places, tint = (parameters[_AT[name]] for name in ("strength", "place", "tint"))
    tints = np.exp(_GAIN_OF_COLOUR @ tint)
    lamps = (frames.drives * strengths) @ LAMP_SHARES.T  # frame x patch
    room = (PLACE_SHARES @ places)[:, None] * tints[None, :]  # patch x colour
    light = np.maximum(lamps[:, :, None] + room[None], 1e-4)
    base = np.where(IS_FACE[:, None], parameters[_AT["skin"]][None, :], parameters[_AT["wall"]][None, :])
    own = base + parameters[_AT["own"]][:, None]
    colour = _GAIN_OF_COLOUR @ parameters[_AT["gain"]]
    told = np.log(light) + own[None] + parameters[_AT["exposure"]][0] + colour + frames.offset[:, None, :]
    weight = np.where(frames.clipped & (told > frames.logarithm), 0.0, frames.weight)
    jacobian = np.repeat(_CONSTANT[None], count, axis=0)
    by_lamp = LAMP_SHARES[None] * frames.drives[:, None, :]  # frame x patch x lamp
    jacobian[..., _AT["strength"]] = by_lamp[:, :, None, :] / light[..., None]
    jacobian[..., _AT["place"]] = PLACE_SHARES[None, :, None, :] * tints[None, None, :, None] / light[..., None]
    jacobian[..., _AT["tint"]] = (room[None] / light)[..., None] * _GAIN_OF_COLOUR
    difference = (told - frames.logarithm) * weight
    return difference.reshape(-1), (jacobian * weight[..., None]).reshape(-1, _SIZE)


def _cut(parameters: Vector) -> Vector:
    """No light below zero, none beyond reason."""
    parameters = parameters.copy()
    strength, place = _AT["strength"], _AT["place"]
    parameters[strength] = np.clip(parameters[strength], 0.0, STRENGTH_MOST)
    parameters[place] = np.clip(parameters[place], 0.0, PLACE_MOST)
    return parameters


def fit(seen: Sequence[Seen], cause: Cause, usual: Usual | None = None) -> LightModel:
    """The model of these frames under one hypothesis."""
    frames = _arrays(seen)
    mean, stray = _prior(usual or Usual(), cause)

    def cost_of(parameters: Vector) -> tuple[float, Vector, Vector]:
        difference, jacobian = _residuals(parameters, frames)
        off = (parameters - mean) / stray
        return float(difference @ difference + off @ off), difference, jacobian

    # The skin's colour is what the first frame shows of it, so that few steps are needed.
    start = mean.copy()
    known = frames.weight[0] * IS_FACE[:, None]
    if known.any():
        start[_AT["skin"]] = ((frames.logarithm[0] - TEMPLATE[:, None]) * known).sum(axis=0) / np.maximum(
            known.sum(axis=0), 1e-9
        ) - frames.offset[0]
    parameters = _cut(start)
    cost, difference, jacobian = cost_of(parameters)
    damping = 1e-2
    for _ in range(STEPS):
        normal = jacobian.T @ jacobian + np.diag(stray**-2)
        slope = jacobian.T @ difference + (parameters - mean) / stray**2
        tried = _cut(parameters - np.linalg.solve(normal + damping * np.diag(np.diag(normal)), slope))
        new_cost, new_difference, new_jacobian = cost_of(tried)
        if new_cost < cost:
            gained = cost - new_cost
            parameters, cost, difference, jacobian = tried, new_cost, new_difference, new_jacobian
            damping = max(damping / 5, 1e-6)
            if gained < LEAST_GAINED:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    base = np.where(IS_FACE[:, None], parameters[_AT["skin"]][None, :], parameters[_AT["wall"]][None, :])
    return LightModel(
        cause=cause,
        cost=cost + COST_OF_KIND[cause.kind],
        strengths=parameters[_AT["strength"]],
        places=parameters[_AT["place"]],
        own=np.exp(base + parameters[_AT["own"]][:, None]),
        tint=np.exp(_GAIN_OF_COLOUR @ parameters[_AT["tint"]]),
        exposure=float(np.exp(parameters[_AT["exposure"]][0])),
        gains=np.exp(_GAIN_OF_COLOUR @ parameters[_AT["gain"]]),
        parameters=parameters,
    )


def learn(seen: Sequence[Seen], usual: Usual | None = None) -> LightModel:
    """The model under the hypothesis that explains all frames best."""
    return min((fit(seen, cause, usual) for cause in CAUSES), key=lambda model: model.cost)
