"""Waiting times after wrong secrets, for each network (server/addresses.py): access codes of the desk, tokens of enrolments.

Rules: a try counts as wrong from its beginning, so that many at once are no way around; from the `allowed`-th wrong one on the network waits
`lockout_s`, doubled with each further one up to an hour. A right one forgets the wrong ones before it. Only the newest networks are remembered.
Times are of a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_LOCKOUT_S = 3600.0
NETWORKS_REMEMBERED = 10_000


@dataclass(slots=True)
class _Wrong:
    count: int = 0
    locked_until: float = 0.0


class Tries:
    """Who has tried how often."""

    def __init__(self, *, allowed: int, lockout_s: float, clock: Callable[[], float]) -> None:
        self._allowed, self._lockout_s, self._clock = allowed, lockout_s, clock
        self._networks: OrderedDict[str, _Wrong] = OrderedDict()

    def begin(self, network: str) -> int:
        """Counts a try as wrong until it proves otherwise; returns 0, or how many seconds the network has to wait instead of trying."""
        now = self._clock()
        wrong = self._networks.setdefault(network, _Wrong())
        self._networks.move_to_end(network)
        while len(self._networks) > NETWORKS_REMEMBERED:
            self._networks.popitem(last=False)
        if wrong.locked_until > now:
            return int(wrong.locked_until - now) + 1
        wrong.count += 1
        if wrong.count >= self._allowed:
            doubled = self._lockout_s * 2 ** min(wrong.count - self._allowed, 16)
            wrong.locked_until = now + min(doubled, LONGEST_LOCKOUT_S)
        return 0

    def right(self, network: str) -> None:
        """The try was right: nothing is held against the network any more."""
        self._networks.pop(network, None)

    def take_back(self, network: str) -> None:
        """The try was never judged: as if it had not been."""
        wrong = self._networks.get(network)
        if wrong is None:
            return
        wrong.count = max(wrong.count - 1, 0)
        if wrong.count < self._allowed:
            wrong.locked_until = 0.0
