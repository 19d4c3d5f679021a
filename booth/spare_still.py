"""The best picture so far of a sitter who cannot keep every rule: one full-resolution still, taken whenever the preview looks better than before.

Rules: at most one still is kept, and one asked for in PAUSE_S; whatever is replaced, given up or too late is overwritten. It leaves this place only
by `take`, when the time for framing is over; then it is judged with the last burst, and the better one is reviewed.
"""

from __future__ import annotations

from booth.best_still import Rank
from capture.frames import Frame

FIRST_S = 2.0  # of guidance: who sits right at once never needs a spare one
PAUSE_S = 3.0  # some cameras stop their preview for a still


class SpareStill:
    """The still and how good the preview was when it was asked for."""

    def __init__(self) -> None:
        self._frame: Frame | None = None
        self._best: tuple[int, int] = (-1, -1)
        self._asked_ns: int | None = None

    def wants(self, rank: Rank) -> bool:
        """Whether a still now would be better than the one that is kept; it counts as asked for."""
        if self._asked_ns is not None and rank.at_ns - self._asked_ns < PAUSE_S * 1e9:
            return False
        if rank[:2] <= self._best:
            return False
        self._asked_ns = rank.at_ns
        return True

    def keep(self, frame: Frame, rank: Rank) -> None:
        """Keeps a still in place of the one before."""
        self._overwrite()
        self._frame, self._best = frame, rank[:2]

    def take(self) -> tuple[Frame, ...]:
        """The still, from now on the caller's; none is kept any more."""
        frame, self._frame = self._frame, None
        self.wipe()
        return () if frame is None else (frame,)

    def wipe(self) -> None:
        """Overwrites and forgets everything: the next sitter, or the next try, begins anew."""
        self._overwrite()
        self._best, self._asked_ns = (-1, -1), None

    def _overwrite(self) -> None:
        if self._frame is not None:
            self._frame.wipe()
        self._frame = None
