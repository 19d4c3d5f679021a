"""PURE. Waiting times after wrong secrets, for each party: the desk's passwords, tokens of enrolments (a booth keeps its own: booth/kept_tries.py).

Rules: a try counts as wrong from its beginning, so that many at once are no way around; from the `allowed`-th wrong one on the party waits
`lockout_s`, doubled with each further one up to an hour. A right one forgets the wrong ones before it. Only the newest parties are remembered.
A party is a name that the caller gives: at a server the network (server/addresses.py).
Times are of a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_LOCKOUT_S = 3600.0
PARTIES_REMEMBERED = 10_000


@dataclass(slots=True)
class _Wrong:
    count: int = 0
    locked_until: float = 0.0


class Tries:
    """Who has tried how often."""

    def __init__(self, *, allowed: int, lockout_s: float, clock: Callable[[], float]) -> None:
        self._allowed, self._lockout_s, self._clock = allowed, lockout_s, clock
        self._parties: OrderedDict[str, _Wrong] = OrderedDict()

    def begin(self, party: str) -> int:
        """Counts a try as wrong until it proves otherwise; returns 0, or how many seconds the party has to wait instead of trying."""
        now = self._clock()
        wrong = self._parties.setdefault(party, _Wrong())
        self._parties.move_to_end(party)
        while len(self._parties) > PARTIES_REMEMBERED:
            self._parties.popitem(last=False)
        if wrong.locked_until > now:
            return int(wrong.locked_until - now) + 1
        wrong.count += 1
        if wrong.count >= self._allowed:
            doubled = self._lockout_s * 2 ** min(wrong.count - self._allowed, 16)
            wrong.locked_until = now + min(doubled, LONGEST_LOCKOUT_S)
        return 0

    def waits(self, party: str) -> int:
        """How many seconds the party has to wait now; counts nothing."""
        wrong = self._parties.get(party)
        left = 0.0 if wrong is None else wrong.locked_until - self._clock()
        return int(left) + 1 if left > 0 else 0

    def right(self, party: str) -> None:
        """The try was right: nothing is held against the party any more."""
        self._parties.pop(party, None)

    def take_back(self, party: str) -> None:
        """The try was never judged: as if it had not been."""
        wrong = self._parties.get(party)
        if wrong is None:
            return
        wrong.count = max(wrong.count - 1, 0)
        if wrong.count < self._allowed:
            wrong.locked_until = 0.0
