"""Cost of the light loop, told as a ratio to the bare face mesh on the same picture in the same run.  Run: ./run bench -k light -s

Nothing is asserted of times: a shared machine says nothing about speed.
"""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from capture.light_model import PATCHES, Seen, learn
from capture.light_plan import plan
from capture.metering import meter
from validation.face import FaceModel

METERINGS = 200


@pytest.mark.usefixtures("measuring")
def test_metering_and_planning_against_the_bare_mesh(applicants, benchmark):
    picture = cv2.resize(cv2.imread(str(applicants / "people" / "anna" / "neutral.jpg")), (600, 800))
    rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    with FaceModel(video=True) as model:
        scene = model.scene(picture)
        for _ in range(5):
            model._mesh.process(rgb)
        began = time.perf_counter()
        for _ in range(METERINGS):
            model._mesh.process(rgb)
        mesh_s = (time.perf_counter() - began) / METERINGS

    def once():
        reading = meter(picture, scene.face.landmarks, scene.person_mask, 0)
        learned = learn((Seen(reading.patches, (1.0, 1.0, 1.0, 1.0)),))
        return plan(learned, [2 ** (n / 6) for n in range(-18, 19)], (1.6,) * 4, seen=np.ones(len(PATCHES), dtype=bool))

    began = time.perf_counter()
    for _ in range(METERINGS):
        meter(picture, scene.face.landmarks, scene.person_mask, 0)
    meter_s = (time.perf_counter() - began) / METERINGS
    planned = benchmark.pedantic(once, rounds=20, warmup_rounds=2)
    assert planned.rest < 0.01, "the light of this picture is good"
    step_s = benchmark.stats.stats.median
    print(
        f"\nbare mesh {mesh_s * 1e3:.1f} ms; metering {meter_s * 1e3:.1f} ms, ratio {meter_s / mesh_s:.2f}; "
        f"metering with model and plan {step_s * 1e3:.0f} ms, ratio {step_s / mesh_s:.1f}"
    )
