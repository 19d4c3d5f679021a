"""Speed of the checker, told as ratios to the bare face mesh on the same frames in the same run.  Run: ./run bench -k validation -s

Nothing is asserted of times: a shared machine says nothing about speed. What is asserted: every frame was judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from validation.check import judge
from validation.face import FaceModel
from validation.live import LiveAssessor
from validation.report import Report
from validation.rules import load_profile

FRAMES = 300


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
        assessor = LiveAssessor(model, profile)
        reports: list[Report] = []
        live = seconds(lambda frame: reports.append(assessor.assess(frame)[1]), frames, FRAMES)
    print(
        f"\nlive {live / FRAMES * 1e3:.1f} ms a frame ({FRAMES / live:.0f} a second), "
        f"bare mesh {floor / FRAMES * 1e3:.1f} ms, ratio {live / floor:.2f}"
    )
    assert len(reports) == FRAMES
    assert all(len(report.findings) == len(reports[0].findings) for report in reports)


@pytest.mark.usefixtures("measuring")
def test_a_twelve_megapixel_still(applicants):
    still = cv2.resize(cv2.imread(str(applicants / "stills" / "anna" / "neutral.jpg")), (3000, 4000))
    profile = load_profile("icao")
    with FaceModel() as model:
        judge(still, model.scene(still), profile)
        floor = min(seconds(model.scene, [still], 1) for _ in range(5))
        reports: list[Report] = []
        best = min(seconds(lambda s: reports.append(judge(s, model.scene(s), profile)), [still], 1) for _ in range(5))
    print(
        f"\n12 megapixels, all rules: {best * 1e3:.0f} ms, ratio to mesh, detectors and mask alone {best / floor:.2f}"
    )
    assert len({report.model_dump_json() for report in reports}) == 1
