"""Many photos, all cores: `judged(paths, work, jobs)` gives `work(model, path)` for every path, in the order of the paths.

Rules:
  - each process loads the face model once; few photos are judged in this process, where no second model has to start;
  - `work` and what it returns are pickled: a function of a module (or a partial of one) that returns plain values, not pixels;
  - `work` answers for what it expects (an unreadable photo is an answer). What it raises otherwise reaches the caller and ends everything;
  - a process that dies (a decoder's crash, no memory) costs no answer but its photo's: the photos that were under way are judged again, one
    at a time, and the one that kills its process again is answered by `lost(path)`;
  - Ctrl-C reaches this process only; leaving the iteration early, for whatever reason, ends the others. They also end when this process dies.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from validation.face import FaceModel

T = TypeVar("T")
Work = Callable[["FaceModel", Path], T]

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Starting a process with its model takes as long as judging about this many photos.
WORTH_A_PROCESS = 8
# Photos handed out ahead of the one whose answer is next, per process: enough to keep all busy, few enough to hold.
AHEAD = 4

_model: Any = None


def default_jobs() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0))


def judged(paths: Sequence[Path], work: Work[T], jobs: int, lost: Callable[[Path], T]) -> Iterator[T]:
    """One answer per path, in order. Raises what `work` raises, and ModelFailedError when the model does not start."""
    jobs = min(jobs, -(-len(paths) // WORTH_A_PROCESS))
    if jobs <= 1:
        yield from _here(paths, work)
        return
    waiting: deque[tuple[Path, Future[T]]] = deque()
    todo = deque(paths)
    pool = _pool(jobs)
    try:
        while todo or waiting:
            try:
                while todo and len(waiting) < jobs * AHEAD:
                    waiting.append((todo[0], pool.submit(_in_process, work, todo[0])))
                    todo.popleft()
                value = waiting[0][1].result()
            except BrokenProcessPool:
                _end(pool)
                under_way = [path for path, _ in waiting]
                waiting.clear()
                yield from _one_at_a_time(under_way, work, lost)
                pool = _pool(jobs)
            else:
                waiting.popleft()
                yield value
    finally:
        _end(pool)


def _one_at_a_time(paths: Sequence[Path], work: Work[T], lost: Callable[[Path], T]) -> Iterator[T]:
    """In one other process, so that it is plain which photo it died of."""
    pool = _pool(1)
    try:
        for path in paths:
            try:
                value = pool.submit(_in_process, work, path).result()
            except BrokenProcessPool:
                _end(pool)
                pool = _pool(1)
                value = lost(path)
            yield value
    finally:
        _end(pool)


def _here(paths: Sequence[Path], work: Work[T]) -> Iterator[T]:
    from validation.face import FaceModel

    if not paths:
        return
    with FaceModel() as model:
        for path in paths:
            yield work(model, path)


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Not forked: this process may hold threads and a loaded model.
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_start_process)


def _end(pool: ProcessPoolExecutor) -> None:
    pool.shutdown(wait=True, cancel_futures=True)


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    import cv2

    cv2.setNumThreads(1)  # the photos are what runs side by side


def _in_process(work: Work[T], path: Path) -> T:
    global _model  # noqa: PLW0603 - one model per process, for as long as the process lives
    if _model is None:
        from validation.face import FaceModel

        _model = FaceModel().__enter__()
    return work(_model, path)
