"""What is wrong with pictures that do come: told from their content, size and times alone."""

from __future__ import annotations

import numpy as np

from hardware.camera_source import Shot
from hardware.picture_state import PictureState

SECOND = 1_000_000_000


class Stream:
    """Pictures at times that the test chooses."""

    def __init__(self, size: tuple[int, int] | None = None, fps: float | None = None) -> None:
        self.state = PictureState(size, fps)
        self.now_ns = SECOND
        self.number = 0

    def run(self, seconds: float, fps: float = 30, *, level: int = 90, still: bool = False, width: int = 60) -> str:
        """Let pictures come; what the last one is judged as."""
        kind = ""
        for _ in range(round(seconds * fps)):
            self.now_ns += round(SECOND / fps)
            self.number += not still
            pixels = np.full((80, width, 3), level, np.uint8)
            shot = Shot(pixels, self.now_ns, "MJPG", lossy=True, digest=self.number)
            self.state.note(shot)
            kind, self.detail = self.state.judge(shot)
            self.info = self.state.info(shot)
        return kind


def test_pictures_that_come_as_usual_are_live():
    stream = Stream()
    assert stream.run(5) == "live"
    assert stream.info == {"size": "60x80", "format": "MJPG", "fps": "30", "picture": "live"}


def test_frozen_and_black_are_told_and_over_with_the_next_good_picture():
    stream = Stream()
    stream.run(1)
    assert stream.run(1.9, still=True) == "live"
    assert stream.run(0.5, still=True) == "frozen"
    assert stream.run(0.1) == "live"
    assert stream.run(0.1, level=1) == "black"
    assert stream.run(3, level=1, still=True) == "black"
    assert stream.run(0.1) == "live"


def test_half_the_usual_rate_is_told_after_a_while_and_over_when_it_is_back():
    stream = Stream()
    assert stream.run(3) == "live"
    assert stream.run(1.5, fps=15) == "live"
    assert stream.run(2.5, fps=15) == "slow"
    assert "15 of 30 pictures per second" in stream.detail
    assert stream.run(1.5) == "live"


def test_a_burst_after_a_pause_is_no_rate_to_be_held():
    stream = Stream()
    stream.run(2, fps=15)
    stream.run(0.1, fps=120)
    assert stream.run(5, fps=15) == "live"


def test_the_rate_that_is_set_counts_from_the_first_picture():
    assert Stream(fps=30).run(5, fps=12) == "slow"
    assert Stream(fps=30).run(5, fps=28) == "live"


def test_a_loss_begins_the_rate_anew():
    stream = Stream()
    stream.run(3)
    stream.state.interrupted()
    stream.now_ns += 60 * SECOND
    assert stream.run(1) == "live"


def test_another_size_than_the_first_or_the_set_one_is_told():
    stream = Stream()
    stream.run(1)
    assert stream.run(0.1, width=30) == "resized"
    assert "30x80 instead of 60x80" in stream.detail
    assert stream.run(0.1) == "live"
    assert Stream(size=(120, 80)).run(0.1) == "resized"
