"""What the virtual booth costs, beside a floor of the same run: encoding the same picture as JPEG.

Goals on two cores: relighting a 600x800 preview frame on a lamp change at most 15 ms; an unchanged picture costs next to nothing.
"""

from __future__ import annotations

import itertools

import cv2
import pytest

from hardware.sim.camera import PreviewEncoder
from hardware.sim.passes import CHANNELS, Source, StackCache, add_light, read_pass
from hardware.sim.scenarios import PREVIEW_SIZE
from hardware.sim.scene import Noise, Renderer, View

SEATED = Source("session", "22")


def view(level):
    return View(SEATED, ((level,) * 3,) * len(CHANNELS))


@pytest.fixture
def renderer():
    made = Renderer(StackCache())
    made.picture(view(1.0), PREVIEW_SIZE)
    return made


@pytest.mark.benchmark(group="preview")
def test_floor_jpeg_of_one_preview_picture(benchmark, renderer):
    noisy = Noise(1).on(renderer.picture(view(1.0), PREVIEW_SIZE).pixels, 0)
    benchmark(cv2.imencode, ".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])


@pytest.mark.benchmark(group="preview")
def test_relight_on_a_lamp_change(benchmark, renderer):
    levels = itertools.cycle((0.5, 0.6, 0.7, 0.8, 0.9))
    benchmark(lambda: renderer.picture(view(next(levels)), PREVIEW_SIZE))


@pytest.mark.benchmark(group="preview")
def test_next_frame_of_an_unchanged_picture(benchmark):
    encoder = PreviewEncoder(StackCache(), PREVIEW_SIZE)
    for _ in range(10):
        encoder.encode(view(1.0), 1)
    benchmark(encoder.encode, view(1.0), 1)


@pytest.mark.benchmark(group="still")
def test_relight_of_a_960x1280_still(benchmark):
    stack = tuple(read_pass(Source("people", "anna"), channel) for channel in CHANNELS)
    benchmark(add_light, stack, ((0.8,) * 3,) * len(CHANNELS))
