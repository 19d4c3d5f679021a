"""A little of tests/bench/fuzz_check.py: no picture, file or landmarks make the checker crash, hang or tell a number that is none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench import fuzz_check
from validation.check import assess_live, judge
from validation.face import Face, Scene
from validation.report import Verdict

CASES = 150


def test_random_and_mutated_pictures_are_judged_or_refused():
    ends, failures, _ = fuzz_check.run(CASES, first=1_000_000)
    assert not failures, "\n".join(f"case {number}\n{trace}" for number, trace in failures)
    assert sum(ends.values()) == CASES
    assert len({kind for kind, _ in ends}) == len(set(fuzz_check.KINDS))


def test_landmarks_that_no_head_gives_count_as_turned_away():
    # Case 7731: the pose solver finds no head behind these landmarks.
    assert not fuzz_check.run(1, first=7731)[1]


def test_a_case_is_the_same_each_time(face_model):
    material = fuzz_check.Material(face_model)
    for kind in fuzz_check.PICTURES.values():
        first, second = (kind(np.random.default_rng(5), material) for _ in range(2))
        assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((478, 3)),
        np.full((478, 3), 50.0),
        np.full((478, 3), np.nan),
        np.full((478, 3), np.inf),
        np.outer(np.arange(478), [1, 0, 0]),
    ],
    ids=["zeros", "one place", "nan", "infinite", "a line"],
)
def test_landmarks_that_can_be_no_face_are_none(points, demo_profile):
    image = np.full((200, 160, 3), 120, np.uint8)
    scene = Scene((Face(points.astype(np.float32), 160, 200),), (), np.zeros((200, 160), np.uint8))
    for report in (judge(image, scene, demo_profile), assess_live(image, scene, demo_profile)):
        fuzz_check.hold(report)
        assert report.finding("face.single").verdict is Verdict.FAIL
        assert report.finding("pose.yaw").verdict is Verdict.NOT_ASSESSED
