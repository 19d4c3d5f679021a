"""A slow look at every n-th frame, in a thread beside the one that works on every frame.

`offer` comes once for each frame, before anything that takes time; a frame whose turn it is goes to the thread. `newest` answers what is known so
far and waits only when there is nothing yet, when the frames have changed their size, or when it is wanted for this very frame.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Aside(Generic[T]):
    """One kind of look; raises what the look raises, on the frame that takes its result."""

    def __init__(self, look: Callable[[NDArray[np.uint8]], T], every: int, thread: Executor) -> None:
        self._look, self._every, self._thread = look, every, thread
        self._known: tuple[T] | None = None  # in a tuple, because a result may be empty
        self._shape: tuple[int, ...] = ()
        self._pending: Future[T] | None = None
        self._pending_age = 0
        self.age = 0  # frames since the one that `newest` is about

    def offer(self, frame: NDArray[np.uint8]) -> None:
        """The next frame."""
        if frame.shape != self._shape:
            self.forget()
            self._shape = frame.shape
        self.age += 1
        self._pending_age += 1
        if self._pending is not None and self._pending.done():
            self._take(self._pending)
        if self._pending is None and (self._known is None or self.age >= self._every - 1):
            self._pending, self._pending_age = self._thread.submit(self._look, frame), 0

    def newest(self, frame: NDArray[np.uint8], *, now: bool = False) -> T:
        """What was seen last; with `now` on this frame, the one last offered."""
        under_way = self._pending is not None and self._pending_age == 0
        if now and not under_way and (self._known is None or self.age > 0):
            self.forget()
            self._pending, self._pending_age = self._thread.submit(self._look, frame), 0
        if self._pending is not None and (now or self._known is None):
            self._take(self._pending)
        assert self._known is not None, "a frame was offered"
        return self._known[0]

    def forget(self) -> None:
        """Returns when nothing of any frame is kept; what a look still under way says is dropped."""
        pending, self._pending, self._known = self._pending, None, None
        self.age = 0
        if pending is not None:
            pending.exception()

    def _take(self, pending: Future[T]) -> None:
        self._pending = None
        self._known, self.age = (pending.result(),), self._pending_age
