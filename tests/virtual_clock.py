"""An event loop whose time is a number: it passes only when nothing is left to do, and then at once.

Rules
  - A timer that is next is reached by setting the clock, never by sleeping, unless somebody outside the loop is still at work: a job of an
    executor, a request to another process (`Clock.outside`), or whatever `Clock.busy` says. Then the loop really waits for that.
  - Work that is meant to take long says so (`Clock.long`): time passes beside it.
  - `time.time`, `time.monotonic` and `time.monotonic_ns` follow the same clock while `running` lasts, so that schedules, pictures and time-outs
    agree. Real waiting inside a thread (`threading.Condition`) stays real. `datetime.now` stays real: certificates and signatures are.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

SLICE_S = 0.001  # of real waiting; threads that are done usually wake the loop earlier
_REAL_TIME = time.time


class Clock:
    """The virtual time, and who is at work outside the loop."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.began_at = _REAL_TIME() - self.now_s
        self.working = 0
        self.held = 0  # of those at work: meant to take long
        self._lock = threading.Lock()  # of `held`, which threads change
        self.busy: Callable[[], bool] = lambda: False

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return round(self.now_s * 1e9)

    def time(self) -> float:
        return self.began_at + self.now_s

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Something real is waited for: time stands still."""
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1

    @contextlib.contextmanager
    def long(self) -> Iterator[None]:
        """In work that takes long: time passes."""
        with self._lock:
            self.held += 1
        try:
            yield
        finally:
            with self._lock:
                self.held -= 1

    @property
    def waits(self) -> bool:
        return self.held == 0 and (self.working > 0 or self.busy())


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._clock.waits:
            return super().select(SLICE_S)
        ready = super().select(0)  # whoever was at work may have said so between the two looks
        if ready or timeout is None:
            return ready or super().select(SLICE_S)
        self._clock.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on a `Clock`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self.clock.now_s

    def drop_cancelled(self) -> None:
        """Timers that were cancelled, of which asyncio keeps up to a hundred, or half of all: noise for whoever counts objects."""
        kept = [timer for timer in self._scheduled if not timer.cancelled()]
        for timer in self._scheduled:
            timer._scheduled = not timer.cancelled()
        heapq.heapify(kept)
        self._scheduled, self._timer_cancelled_count = kept, 0

    def run_in_executor(self, executor, func, *args):
        self.clock.working += 1
        begun, made = [], []

        def job():
            begun.append(True)
            try:
                return func(*args)
            finally:
                if made and made[0].cancelled():  # nobody waits for it, and yet it was at work until now
                    with contextlib.suppress(RuntimeError):
                        self.call_soon_threadsafe(worked)

        def worked(ended: asyncio.Future[Any] | None = None) -> None:
            if ended is None or not (ended.cancelled() and begun):
                self.clock.working -= 1

        try:
            future = super().run_in_executor(executor, job)
        except BaseException:
            self.clock.working -= 1
            raise
        made.append(future)
        future.add_done_callback(worked)
        return future


@contextlib.contextmanager
def running(clock: Clock) -> Iterator[asyncio.Runner]:
    """A runner of coroutines on the clock; the `time` module follows it."""
    real = time.time, time.monotonic, time.monotonic_ns
    time.time, time.monotonic, time.monotonic_ns = clock.time, clock.monotonic, clock.monotonic_ns
    try:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
            yield runner
    finally:
        time.time, time.monotonic, time.monotonic_ns = real
