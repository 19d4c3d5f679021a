"""PURE. How often one party may ask, right or wrong: a bucket of `burst` questions that fills again by one every `per_s` seconds.

For questions whose answers are public to whoever knows what to ask for; wrong secrets are crypto/tries.py's. Only the newest parties are remembered: whoever was
forgotten begins with a full bucket, which costs an attacker as many networks as are remembered.
Times are of a monotonic clock.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

PARTIES_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """How much is allowed."""

    burst: int
    per_s: float


class Rates:
    """Who has asked how often."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate, self._clock = rate, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when the party's bucket is full again

    def ask(self, party: str) -> int:
        """Counts a question; returns 0, or how many seconds the party has to wait instead of asking."""
        now, rate = self._clock(), self._rate
        full_at = max(self._full_at.get(party, now), now)
        wait_s = full_at + rate.per_s - now - rate.burst * rate.per_s
        if wait_s > 1e-9:
            return math.ceil(wait_s)
        self._full_at[party] = full_at + rate.per_s
        self._full_at.move_to_end(party)
        while len(self._full_at) > PARTIES_REMEMBERED:
            self._full_at.popitem(last=False)
        return 0
