"""Speed of the checker, as ratios to the bare face mesh on the same frames in the same run.  Run: ./run bench -k validation -s

Limits are asserted only with --benchmark-enable: a loaded test machine says nothing about speed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from validation.check import assess_live, judge
from validation.face import FaceModel
from validation.rules import load_profile

FRAMES = 300
LIVE_PER_SECOND_LEAST = 30
STILL_MS_MOST = 400


@pytest.fixture
def measuring(request):
    if request.config.getoption("benchmark_disable") and not request.config.getoption("benchmark_enable"):
        pytest.skip("a benchmark; run ./run bench")


def seconds(work: Callable[[np.ndarray], object], frames: list[np.ndarray], count: int) -> float:
    start = time.perf_counter()
    for number in range(count):
        work(frames[number % len(frames)])
    return time.perf_counter() - start


@pytest.mark.usefixtures("measuring")
def test_live_assessment_against_the_bare_mesh(applicants):
    names = sorted((applicants / "session").glob("frame_*.jpg"))[5:]
    frames = [cv2.resize(cv2.imread(str(n)), (960, 1280)) for n in names]
    profile = load_profile("demo")
    with FaceModel(video=True) as bare, FaceModel(video=True) as model:
        for frame in frames[:3]:
            model.scene(frame)
            bare.scene(frame, mask=False)

        def mesh_only(frame):
            bare._mesh.process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))

        floor = seconds(mesh_only, frames, FRAMES)
        live = seconds(lambda frame: assess_live(frame, model.scene(frame), profile), frames, FRAMES)
    print(
        f"\nlive {live / FRAMES * 1e3:.1f} ms a frame ({FRAMES / live:.0f} a second), "
        f"bare mesh {floor / FRAMES * 1e3:.1f} ms, ratio {live / floor:.2f}"
    )
    assert FRAMES / live >= LIVE_PER_SECOND_LEAST


@pytest.mark.usefixtures("measuring")
def test_a_twelve_megapixel_still(applicants):
    still = cv2.resize(cv2.imread(str(applicants / "stills" / "anna" / "neutral.jpg")), (3000, 4000))
    profile = load_profile("icao")
    with FaceModel() as model:
        judge(still, model.scene(still), profile)
        best = min(seconds(lambda s: judge(s, model.scene(s), profile), [still], 1) for _ in range(5))
    print(f"\n12 megapixels, all rules: {best * 1e3:.0f} ms")
    assert best * 1e3 <= STILL_MS_MOST
