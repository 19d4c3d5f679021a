"""PURE. What the counts of many booths say: shares with what is certain of them, and the booths that differ from all others.

A check that fails for everybody in one booth is a matter of the booth: a lamp, the backdrop, the camera. A check that fails everywhere is not. So each booth's share of
failed portraits is compared with that of all other booths together, on the days that the booth has told of, so that a changed profile or a season
concerns both sides alike.

The test: the difference of two shares with Newcombe's hybrid score interval (Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10; it is made of Wilson's
interval for one share, JASA 22 (1927) 209-212, and holds for few portraits too). A booth stands out when the interval's lower end is above
LEAST_DIFFERENCE, with CERTAINTY over all comparisons of the page together (Bonferroni: each is made at the share of doubt that its part is). The distance is asked for because
people differ from place to place: with ten thousand portraits a difference of one percent is certain, and no lamp.

What it does not say: that a booth which does not stand out is well. With few portraits nothing is certain; a lamp that fails slowly is found by its own
measurements first (server/alerts.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

CERTAINTY = 0.99
LEAST_DIFFERENCE = 0.05  # assumed: a twentieth more retakes than elsewhere is worth a technician's way
LEAST_ASSESSED = 20  # on either side: below, the interval is wider than anything that could be told
RANGE_Z = NormalDist().inv_cdf(0.975)  # of the ranges that are shown: 95 %

# What a technician looks at when a check of this family (the first part of its id) fails in one booth alone: `statistics.cause.<value>`.
CAUSES = {"light": "lamps", "background": "backdrop", "image": "camera", "geometry": "place", "pose": "place"}


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    count: int
    total: int

    @property
    def value(self) -> float | None:
        """None of nothing."""
        return self.count / self.total if self.total > 0 else None

    @property
    def range(self) -> tuple[float, float]:
        """Between what it lies with 95 % certainty."""
        return wilson(self, RANGE_Z)

    def __add__(self, other: Share) -> Share:
        return Share(self.count + other.count, self.total + other.total)


NOTHING = Share(0, 0)


@dataclass(frozen=True, slots=True)
class Compared:
    """A booth's failed portraits for one check, and those of all booths, its own among them, on the same days."""

    booth: str
    rule: str
    own: Share
    everybody: Share

    @property
    def others(self) -> Share:
        """Without its own."""
        return Share(self.everybody.count - self.own.count, self.everybody.total - self.own.total)


@dataclass(frozen=True, slots=True)
class Standout:
    """A booth in which a check fails more often than in all others."""

    booth: str
    rule: str
    own: Share
    others: Share
    at_least: float  # the difference is no smaller, with CERTAINTY


def wilson(share: Share, z: float) -> tuple[float, float]:
    """Wilson's interval of a share; all there is for a share of nothing."""
    n = share.total
    if n <= 0:
        return 0.0, 1.0
    p = share.count / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def least_difference(own: Share, others: Share, z: float) -> float:
    """The lower end of Newcombe's interval for `own` less `others`; both are of something."""
    p, q = own.count / own.total, others.count / others.total
    return p - q - math.hypot(p - wilson(own, z)[0], wilson(others, z)[1] - q)


def standouts(compared: Iterable[Compared]) -> list[Standout]:
    """The booths that differ, the farthest first."""
    pairs = [one for one in compared if min(one.own.total, one.others.total) >= LEAST_ASSESSED]
    if not pairs:
        return []
    z = NormalDist().inv_cdf(1 - (1 - CERTAINTY) / len(pairs))
    found = [
        Standout(one.booth, one.rule, one.own, one.others, least_difference(one.own, one.others, z)) for one in pairs
    ]
    return sorted((one for one in found if one.at_least > LEAST_DIFFERENCE), key=lambda one: -one.at_least)


def cause_of(rule: str) -> str:
    """What to look at, as the end of a text's key."""
    return CAUSES.get(rule.partition(".")[0], "people")


def by_rule(compared: Iterable[Compared], booths: Collection[str] | None = None) -> dict[str, Share]:
    """The share of failed portraits for each check, of some booths or of all."""
    sums: dict[str, Share] = {}
    for one in compared:
        if booths is None or one.booth in booths:
            sums[one.rule] = sums.get(one.rule, NOTHING) + one.own
    return sums


def by_booth(compared: Iterable[Compared], rule: str) -> dict[str, Share]:
    """Each booth's share for one check."""
    return {one.booth: one.own for one in compared if one.rule == rule}


def worst_rule(shares: dict[str, Share]) -> str | None:
    """The check that most certainly fails most often; None when nothing was assessed."""
    known = [rule for rule, share in shares.items() if share.total > 0]
    return max(known, key=lambda rule: (shares[rule].range[0], rule), default=None)


def shown_first(shares: dict[str, Share], found: Sequence[Standout], most: int) -> list[str]:
    """The booths worth a picture of their own: those that stand out, then those with the highest share that is certain."""
    striking = [one.booth for one in found if one.booth in shares]
    rest = sorted(shares, key=lambda booth: (-shares[booth].range[0], booth))
    return list(dict.fromkeys([*striking, *rest]))[:most]
