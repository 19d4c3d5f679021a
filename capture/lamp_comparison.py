"""PURE: which lamp is dark, weak, exchanged with another, or answers the wrong channel: the light of each channel now against the baseline.

Every lamp throws its own pattern on the wall, so that a picture tells which lamp a channel lit. Order: scale by what the camera's settings let
in more or less than then; for each channel, the patterns that explain its light best: none, one lamp, or two where they leave less than half of
what one leaves unexplained; then each lamp by the channels that lit it:

* its own channel and no other: sound, or weak or strong by its strength;
* another's channel, whose lamp its own channel lights: swapped;
* another's channel otherwise, or another's beside its own: mis-addressed;
* no channel: dark. A broken lamp, one without supply and one with an address that nothing is sent to look the same: no light.

Patterns of lamps that light a plain wall are alike (cosines of 0.98 to 0.995 in the virtual booth), but a cell of 200x200 pixels is known to a
thousandth: single patterns are told apart by a factor of ten, pairs of them by their residual.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from capture.errors import LampsNotMeasurableError
from capture.lamp_response import LampResponse, LampResponses
from hardware.controls import CameraControlState

__all__ = ["LampComparison", "LampVerdict", "LampView", "compare_lamps", "exposure_ratio"]

# Of the baseline's light: a lamp below the first is dark, below the second weak (LEDs are replaced at L80 or L70, IES LM-80); above the third
# it gives more than a lamp can that only ages: its drive, its wiring or the picture's exposure is another one.
DARK, WEAK, STRONG = 0.1, 0.8, 1.25
# A lamp that another channel lights with at least this share of its light is lit by that channel.
LIT = 0.3
# What one pattern may leave of a channel's light unexplained before two are tried: the noise of the pictures leaves 0.002.
UNEXPLAINED = 0.006
# Two patterns are believed when they leave less than half of what one left.
GAIN = 0.5


class LampVerdict(StrEnum):
    """What is wrong with a lamp."""

    SOUND = "sound"
    WEAK = "weak"
    STRONG = "strong"
    DARK = "dark"
    SWAPPED = "swapped"
    MISADDRESSED = "misaddressed"


class LampView(BaseModel):
    """One lamp as the camera sees it now."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lamp: str
    verdict: LampVerdict
    strength: float  # of its light at the baseline, by whichever channel lights it most
    lit_by: tuple[str, ...]  # the channels that light it
    red_shift: float = 0.0  # change of red / green and of blue / green, as a share
    blue_shift: float = 0.0


class LampComparison(BaseModel):
    """All lamps now against the baseline."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    exposure_ratio: float  # what the camera's settings let in now / then
    lamps: tuple[LampView, ...]

    @property
    def common_strength(self) -> float | None:
        """The strength that all lamps share: then it is the camera's exposure or a dirty lens rather than each lamp; None when they differ."""
        strengths = [each.strength for each in self.lamps if each.verdict is not LampVerdict.DARK]
        if len(strengths) < len(self.lamps) or len(strengths) < 2:
            return None
        middle = float(np.median(strengths))
        return middle if max(abs(each - middle) for each in strengths) <= 0.05 * middle else None

    def lamp(self, name: str) -> LampView | None:
        """One lamp."""
        return next((each for each in self.lamps if each.lamp == name), None)


def exposure_ratio(now: CameraControlState | None, then: CameraControlState | None) -> float:
    """How much more light the camera's settings let in now; what either does not tell counts as unchanged."""
    if now is None or then is None:
        return 1.0
    ratio = 1.0
    if now.exposure_us and then.exposure_us:
        ratio *= now.exposure_us / then.exposure_us
    if now.f_number and then.f_number:
        ratio *= (then.f_number / now.f_number) ** 2
    if now.gain_db is not None and then.gain_db is not None:
        ratio *= 10 ** ((now.gain_db - then.gain_db) / 20)
    return float(ratio)


def compare_lamps(now: LampResponses, baseline: LampResponses) -> LampComparison:
    """Every lamp of the baseline; raises LampsNotMeasurableError when the baseline saw none."""
    patterns = {each.lamp: _greens(each) for each in baseline.lamps if each.is_seen}
    if not patterns:
        raise LampsNotMeasurableError("The baseline saw no lamp at all: mend the lamps, then calibrate the booth.")
    exposure = exposure_ratio(now.controls, baseline.controls)
    lights = {each.lamp: _explained(_greens(each) / exposure, patterns) if each.is_seen else {} for each in now.lamps}
    views = [
        _view(each, baseline, now, {channel: found.get(each, 0.0) for channel, found in lights.items()}, lights)
        for each in patterns
    ]
    return LampComparison(exposure_ratio=round(exposure, 4), lamps=tuple(views))


def _greens(response: LampResponse) -> NDArray[np.float64]:
    """The pattern in green: of the three colours the one that white balance leaves alone."""
    return np.asarray(response.pattern, dtype=np.float64)[..., 1].ravel()


def _explained(light: NDArray[np.float64], patterns: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """How strong each lamp shines in this light: one lamp, or two where one does not explain it."""
    one = {name: _fit(light, [pattern]) for name, pattern in patterns.items()}
    best = min(one, key=lambda name: one[name][1])
    (strength,), left = one[best]
    if left <= UNEXPLAINED:
        return {best: strength}
    pairs = {pair: _fit(light, [patterns[name] for name in pair]) for pair in itertools.combinations(patterns, 2)}
    bright = {pair: fit for pair, fit in pairs.items() if min(fit[0]) >= LIT}
    if bright:
        pair = min(bright, key=lambda names: bright[names][1])
        strengths, rest = bright[pair]
        if rest < GAIN * left:
            return dict(zip(pair, strengths, strict=True))
    return {best: strength}


def _fit(light: NDArray[np.float64], patterns: list[NDArray[np.float64]]) -> tuple[tuple[float, ...], float]:
    """The strengths that fit best, and the share of the light that they leave unexplained (root of squares)."""
    columns = np.stack(patterns, axis=1)
    strengths = np.linalg.lstsq(columns, light, rcond=None)[0]
    left = float(np.linalg.norm(light - columns @ strengths) / np.linalg.norm(light))
    return tuple(float(each) for each in strengths), left


def _view(
    lamp: str,
    baseline: LampResponses,
    now: LampResponses,
    by_channel: Mapping[str, float],
    lights: Mapping[str, Mapping[str, float]],
) -> LampView:
    """What is to be said of one lamp, from how strong each channel lights it."""
    others = tuple(channel for channel, strength in by_channel.items() if channel != lamp and strength >= LIT)
    own = by_channel.get(lamp, 0.0)
    strength = max(by_channel.values(), default=0.0)
    lit_by = (*((lamp,) if own >= DARK else ()), *others)
    if own < DARK and not others:
        verdict = LampVerdict.DARK
    elif own < DARK and any(lights.get(lamp, {}).get(channel, 0.0) >= LIT for channel in others):
        verdict = LampVerdict.SWAPPED
    elif others:
        verdict = LampVerdict.MISADDRESSED
    else:
        verdict = LampVerdict.WEAK if own < WEAK else LampVerdict.STRONG if own > STRONG else LampVerdict.SOUND
    red, blue = _shifts(lit_by[0], lamp, now, baseline) if len(lit_by) == 1 else (0.0, 0.0)
    return LampView(
        lamp=lamp, verdict=verdict, strength=round(strength, 4), lit_by=lit_by, red_shift=red, blue_shift=blue
    )


def _shifts(channel: str, lamp: str, now: LampResponses, baseline: LampResponses) -> tuple[float, float]:
    """How the lamp's colour changed: red and blue against green."""
    seen, known = now.lamp(channel), baseline.lamp(lamp)
    if seen is None or known is None:
        return 0.0, 0.0
    (b1, g1, r1), (b0, g0, r0) = (np.asarray(each.pattern).mean(axis=(0, 1)) for each in (seen, known))
    if min(b0, r0, g1, g0) <= 0:
        return 0.0, 0.0
    return round(float(r1 / g1 / (r0 / g0) - 1), 4), round(float(b1 / g1 / (b0 / g0) - 1), 4)
