"""The wall beside the head is looked at in squares: all of it, nothing of the face, and no square where nothing can be."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from validation.beside import CLEAR_OF_FACE, LEAST_OF_HEIGHT, LEAST_PX, LEAST_STRIP, LOOK_SIDE_PX, windows

NOISE = np.random.default_rng(3).integers(0, 256, (500, 700, 3), dtype=np.uint8)


@given(
    width=st.integers(40, 700),
    height=st.integers(40, 500),
    x=st.floats(-0.3, 1.0),
    y=st.floats(-0.3, 1.0),
    wide=st.floats(0.05, 1.2),
    high=st.floats(0.05, 1.2),
)
def test_squares_cover_both_strips_and_stay_in_the_picture(width, height, x, y, wide, high):
    face = (x * width, y * height, wide * width, high * height)
    picture = NOISE[:height, :width]
    covered = np.zeros((height, width), bool)
    looks = 0
    for window in windows(picture, face):
        looks += 1
        assert window.pixels.shape == (LOOK_SIDE_PX, LOOK_SIDE_PX, 3)
        assert window.x >= 0
        assert window.y >= 0
        assert window.x + window.side <= width
        assert window.y + window.side <= height
        covered[window.y : window.y + window.side, window.x : window.x + window.side] = True
    left = round(face[0] - CLEAR_OF_FACE * face[2])
    right = round(face[0] + (1 + CLEAR_OF_FACE) * face[2])
    bottom = min(round(face[1] + face[3]), height)
    inner = slice(max(left, 0), max(right, 0))
    assert not covered[:, inner].any()
    for strip in (slice(0, max(left, 0)), slice(max(right, 0), width)):
        part = covered[: max(bottom, 0), strip]
        if part.size and min(part.shape) >= max(LEAST_STRIP * face[2], LEAST_OF_HEIGHT * max(part.shape), LEAST_PX):
            assert part.all()
    assert looks <= 2 * 19


def test_a_plain_wall_costs_no_look():
    wall = np.full((500, 700, 3), 205, np.uint8)
    assert not list(windows(wall, (250, 100, 200, 260)))
    shaded = np.clip(wall + np.random.default_rng(5).normal(0, 4, wall.shape), 0, 255).astype(np.uint8)
    assert not list(windows(shaded, (250, 100, 200, 260)))
