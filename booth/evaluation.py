"""PURE: how well a rule's score tells photos that comply from photos that do not. Numbers in, numbers out; no files, no chance but a seed.

A score is larger the less a photo complies. A photo is flagged when its score is at or above a threshold. For a threshold:
  FRR  share of the compliant photos that are flagged (false rejects);
  FAR  share of the others that are not (false accepts).
EER is their mean where they meet. With few photos they rarely meet exactly; then it is as in Maio et al., "FVC2000: Fingerprint verification
competition", IEEE TPAMI 24 (2002): of the last threshold with FAR <= FRR and the first with FAR >= FRR, the one with the smaller sum. It
depends on the order of the scores only. Infinite scores are allowed: a photo that could not be judged is the least compliant of all.

Interval: percentile bootstrap over independent units (people, or photos), which are drawn whole. Where a class shows no error at the EER, drawing
again shows none either; then the upper end is at least that of the exact binomial interval for no error among its units (Clopper-Pearson).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.profile import RuleLimits

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 1000
SEED = 20260101
# Resamples are drawn in portions of about this many numbers: 16 MB.
PORTION = 2_000_000


@dataclass(frozen=True, slots=True)
class Curve:
    """All error rates that a threshold can give, from "everything is flagged" to "nothing is"."""

    scores: Floats  # the distinct scores, rising; threshold k lies just below scores[k], the last one above all
    frr: Floats  # falls from 1 to 0
    far: Floats  # rises from 0 to 1

    @property
    def meeting(self) -> int:
        """The threshold at which the rates meet."""
        return int(_meeting(self.frr[None], self.far[None])[0])

    @property
    def eer(self) -> float:
        """0..1."""
        return float((self.frr[self.meeting] + self.far[self.meeting]) / 2)

    @property
    def threshold(self) -> float:
        """A score at which the rates meet: the middle between the two photos that it separates, as far as they have scores."""
        k, known = self.meeting, self.scores[np.isfinite(self.scores)]
        if known.size == 0:
            return float("nan")
        below = known[min(k, known.size) - 1] if k > 0 else known[0]
        above = known[k] if k < known.size else known[-1]
        return float((below + above) / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """Of the EER, and how many resamples held both classes."""

    low: float
    high: float
    resamples: int


def curve(compliant: Sequence[float] | Floats, others: Sequence[float] | Floats) -> Curve:
    """The error rates of two non-empty sets of scores."""
    good, bad = np.sort(np.asarray(compliant, dtype=np.float64)), np.sort(np.asarray(others, dtype=np.float64))
    if good.size == 0 or bad.size == 0:
        raise ValueError("both classes are needed")
    if np.isnan(good).any() or np.isnan(bad).any():
        raise ValueError("a score is not a number")
    scores = np.unique(np.concatenate([good, bad]))
    # Counts are divided, not rates subtracted: equal rates are then equal numbers.
    frr = (good.size - np.append(np.searchsorted(good, scores, side="left"), good.size)) / good.size
    far = np.append(np.searchsorted(bad, scores, side="left"), bad.size) / bad.size
    return Curve(scores, frr, far)


def eer(compliant: Sequence[float] | Floats, others: Sequence[float] | Floats) -> float:
    """0..1; 0 when a threshold separates the sets, 0.5 when they are alike."""
    return curve(compliant, others).eer


def _meeting(frr: Floats, far: Floats) -> NDArray[np.intp]:
    """The column of each row at which the rates meet."""
    last = frr.shape[1] - 1 - np.argmax((far <= frr)[:, ::-1], axis=1)
    first = np.argmax(far >= frr, axis=1)
    rows = np.arange(len(frr))
    total = frr + far
    return np.asarray(np.where(total[rows, last] <= total[rows, first], last, first), dtype=np.intp)


def interval(
    scores: Sequence[float] | Floats,
    bad: Sequence[bool] | NDArray[np.bool_],
    units: Sequence[Hashable],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """The 95 % interval of the EER. `units`: whom each photo shows, or the photo itself; photos of one unit are drawn together."""
    values, is_bad = np.asarray(scores, dtype=np.float64), np.asarray(bad, dtype=np.bool_)
    rates = curve(values[~is_bad], values[is_bad])
    point = rates.eer
    names = {name: number for number, name in enumerate(dict.fromkeys(units))}
    unit = np.array([names[name] for name in units])
    order = np.argsort(values, kind="stable")
    # Photos with one score stand on one side of any threshold: sums are taken at the ends of such runs.
    ends = np.append(np.flatnonzero(values[order][1:] != values[order][:-1]), values.size - 1)
    chance = np.random.default_rng(seed)
    found: list[Floats] = []
    portion = max(PORTION // values.size, 1)
    for start in range(0, resamples, portion):
        count = min(portion, resamples - start)
        drawn = chance.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
        weights = drawn[:, unit[order]].astype(np.float64)
        good_below = np.cumsum(weights * ~is_bad[order], axis=1)[:, ends]
        bad_below = np.cumsum(weights * is_bad[order], axis=1)[:, ends]
        both = (good_below[:, -1] > 0) & (bad_below[:, -1] > 0)
        good_below, bad_below = good_below[both], bad_below[both]
        nothing = np.zeros((len(good_below), 1))
        good_all, bad_all = good_below[:, -1:], bad_below[:, -1:]
        frr = (good_all - np.hstack([nothing, good_below])) / good_all
        far = np.hstack([nothing, bad_below]) / bad_all
        at = _meeting(frr, far)
        rows = np.arange(len(frr))
        found.append((frr[rows, at] + far[rows, at]) / 2)
    eers = np.concatenate(found)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(q) for q in np.quantile(eers, [tail, 1 - tail])) if eers.size else (point, point)
    for rate, own in ((rates.frr, ~is_bad), (rates.far, is_bad)):
        if rate[rates.meeting] == 0:
            high = max(high, 1 - tail ** (1 / len(set(unit[own]))))
    return Interval(min(low, point), max(high, point), int(eers.size))


@dataclass(frozen=True, slots=True)
class Band:
    """A rule's limits as one axis: the score is 0 where the rule begins to say something, and larger beyond.

    One limit: the distance from it in the rule's unit. A limit on both sides: -1 in the middle between the inner (warning) limits, 0 on them,
    1 on the outer (refusing) ones, straight between and beyond; where a side has one limit only, straight on. So both sides
    weigh alike, and a score above 0 is what the rule warns of or refuses.
    """

    low: float | None  # inner
    high: float | None
    outer_low: float | None  # beyond the inner one, else None
    outer_high: float | None

    @classmethod
    def of(cls, limits: RuleLimits) -> Band:
        """From a profile's row."""
        lows = [v for v in (limits.low, limits.warn_low) if v is not None]
        highs = [v for v in (limits.high, limits.warn_high) if v is not None]
        low, high = max(lows, default=None), min(highs, default=None)
        return cls(
            low,
            high,
            min(lows) if lows and min(lows) != low else None,
            max(highs) if highs and max(highs) != high else None,
        )

    @property
    def two_sided(self) -> bool:
        """Limits above and below."""
        return self.low is not None and self.high is not None

    def score(self, value: float) -> float:
        """Larger: less compliant. Above 0: outside the inner limits."""
        if self.low is None or self.high is None:
            return value - self.high if self.high is not None else (self.low or 0.0) - value
        middle = (self.low + self.high) / 2
        edge, outer = (self.low, self.outer_low) if value < middle else (self.high, self.outer_high)
        half, away = abs(edge - middle), abs(value - middle)
        if half == 0:
            return away
        if away <= half or outer is None:
            return away / half - 1
        return (away - half) / abs(outer - edge)

    def natives(self, score: float) -> tuple[float | None, float | None]:
        """The values below the middle and above it that have this score, in the rule's unit."""
        if self.low is None or self.high is None:
            above = self.high + score if self.high is not None else None
            return (self.low - score if self.low is not None else None), above
        middle = (self.low + self.high) / 2
        found = []
        for edge, outer, sign in ((self.low, self.outer_low, -1), (self.high, self.outer_high, 1)):
            half = abs(edge - middle)
            if half == 0:
                away = score
            elif score <= 0 or outer is None:
                away = half * (1 + score)
            else:
                away = half + score * abs(outer - edge)
            found.append(middle + sign * away)
        return found[0], found[1]
