"""Slow looks beside the work on every frame: taken when they are ready, waited for only when nothing else can be told."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import numpy as np
import pytest

from validation.aside import Aside


class Later(Executor):
    """A thread that does its work when told to."""

    def __init__(self):
        self.waiting = []

    def submit(self, work, *arguments):
        future = Future()
        future.exception = lambda timeout=None: self.work() or Future.exception(future, timeout)
        future.result = lambda timeout=None: self.work() or Future.result(future, timeout)
        self.waiting.append((future, work, arguments))
        return future

    def work(self):
        waiting, self.waiting = self.waiting, []
        for future, work, arguments in waiting:
            try:
                future.set_result(work(*arguments))
            except RuntimeError as error:
                future.set_exception(error)


def frame(number, side=4):
    return np.full((side, side, 3), number, np.uint8)


def seen(pixels):
    return int(pixels[0, 0, 0])


def test_between_two_looks_the_newest_answer_stands_and_tells_its_age():
    thread = Later()
    look = Aside(seen, 3, thread)
    told = []
    for number in range(9):
        look.offer(frame(number))
        told.append((look.newest(frame(number)), look.age))
        if number in (2, 6):  # what was begun on this frame or before is ready on the next
            thread.work()
    assert told == [(0, 0), (0, 1), (0, 2), (2, 1), (2, 2), (2, 3), (2, 4), (4, 3), (4, 4)]


def test_what_is_wanted_now_is_about_this_frame():
    look = Aside(seen, 5, Later())
    for number in range(4):
        look.offer(frame(number))
        assert look.newest(frame(number), now=True) == number
        assert look.age == 0


def test_frames_of_another_size_and_forgetting_start_afresh():
    look = Aside(seen, 5, Later())
    look.offer(frame(1))
    assert look.newest(frame(1)) == 1
    look.offer(frame(2, side=6))
    assert (look.newest(frame(2, side=6)), look.age) == (2, 0)
    look.forget()
    look.offer(frame(3, side=6))
    assert (look.newest(frame(3, side=6)), look.age) == (3, 0)


def test_a_failed_look_is_raised_where_its_answer_is_taken_and_not_again():
    def fail(pixels):
        if seen(pixels) == 1:
            raise RuntimeError("no answer")
        return seen(pixels)

    look = Aside(fail, 5, Later())
    look.offer(frame(1))
    with pytest.raises(RuntimeError, match="no answer"):
        look.newest(frame(1))
    look.offer(frame(2))
    assert look.newest(frame(2)) == 2
    look.offer(frame(1))
    look.forget()
