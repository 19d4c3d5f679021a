"""The presentation attack score: heads apart from sheets and screens, whatever the light; no score without a reason; its measures by known shapes."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.pad_scenes import KINDS, Situation, passes, present
from validation.pad import EVIDENCE, OPERATING_POINT, Reason, assess
from validation.pad_cues import (
    CROP_WIDTH_PX,
    EYE_DISTANCE_PX,
    EYE_LINE_PX,
    Course,
    cut_face,
    normals_of,
    skin_points,
)
from validation.pad_cues import moire as moire_of

HARD = Situation(
    strengths=(0.7, 1.1, 0.3), ambient=2.0, daylight=("left", 1.5), noise=3.0, move=0.08, delay_ms=90, exposure=0.6
)

PLAIN = Situation()


@pytest.fixture(scope="module")
def presented(face_model):
    """Presentations by folder and situation; the face is looked for once in each, because nothing of it moves."""

    @functools.cache
    def make(folder, situation=PLAIN):
        found = []

        def scene(pixels, *, mask):
            if not found or situation.move:
                found.append(face_model.scene(pixels, mask=mask))
            return found[-1]

        return present(SimpleNamespace(scene=scene), folder, situation)

    return make


def test_heads_answer_and_prints_and_screens_do_not(presented):
    found = assess(*presented("people/kwame"))
    assert found.usable
    assert not found.suspected
    assert found.score > 0.9
    assert found.interim["shape.local_slope"] > 0.5
    for kind in KINDS:
        found = assess(*presented(f"attacks/kwame_{kind}"))
        assert found.usable
        assert found.suspected
        assert found.score < OPERATING_POINT / 2


@pytest.mark.parametrize(("folder", "attack"), [("people/amara", False), ("attacks/anna_print_bent", True)])
def test_daylight_a_weak_lamp_noise_movement_and_a_late_camera_change_nothing(presented, folder, attack):
    found = assess(*presented(folder, HARD))
    assert found.usable
    assert found.suspected is attack
    assert found.interim["response.delay_ms"] == pytest.approx(HARD.delay_ms, abs=40)


def test_the_score_has_its_evidence_and_more_than_ten_interim_values(presented):
    found = assess(*presented("people/kwame"))
    assert set(found.evidence) == set(EVIDENCE)
    assert found.score == min(found.evidence.values())
    measured = {name: value for name, value in found.interim.items() if value is not None}
    assert len(measured) >= 20
    assert all(np.isfinite(value) for value in measured.values())


def test_the_size_of_the_picture_is_no_cue(presented):
    frames, levels, wall = presented("people/kwame")
    scores = []
    for scale in (1.0, 0.75):
        again = []
        for frame in frames:
            size = tuple(round(side * scale) for side in frame.pixels.shape[1::-1])
            smaller = cv2.resize(frame.pixels, size)
            again.append(cut_face(smaller, frame.landmarks * np.float32(scale), frame.at_ms))
        assert {frame.pixels.shape for frame in again} == {frames[0].pixels.shape}
        scores.append(assess(tuple(again), levels, wall))
    assert [found.score for found in scores] == [1.0, 1.0]
    slopes = [found.interim["shape.local_slope"] for found in scores]
    assert slopes[1] == pytest.approx(slopes[0], rel=0.2)


def test_the_cut_has_its_size_wherever_and_however_large_the_face_is(presented):
    frame = presented("people/kwame")[0][0]
    eyes = (frame.landmarks[[33, 133]].mean(axis=0) + frame.landmarks[[362, 263]].mean(axis=0)) / 2
    assert eyes[:2] == pytest.approx((CROP_WIDTH_PX / 2, EYE_LINE_PX), abs=0.5)
    assert frame.pixels.shape == (240, 192, 3)
    frame = cut_face(np.full((400, 300, 3), 128, np.uint8), frame.landmarks * np.float32(1.5), 0.0)
    apart = frame.landmarks[[362, 263]].mean(axis=0) - frame.landmarks[[33, 133]].mean(axis=0)
    assert np.hypot(*apart[:2]) == pytest.approx(EYE_DISTANCE_PX, abs=0.1)
    frame.wipe()
    assert not frame.pixels.any()
    assert not frame.landmarks.any()


def _unusable(presented, what):
    frames, levels, wall = presented("people/kwame")
    still = {lamp: Course(course.at_ms, (62.5,) * len(course.at_ms)) for lamp, course in levels.items()}
    match what:
        case Reason.TOO_FEW_FRAMES:
            return frames[:5], levels, wall
        case Reason.NO_LAMPS:
            return frames, still, wall
        case Reason.TOO_FEW_LAMPS:
            return frames, still | {"key_left": levels["key_left"]}, wall
        case Reason.LIGHT_DISTURBED:
            flicker = tuple(value * (1 + 0.2 * (number % 2)) for number, value in enumerate(wall.values))
            return frames, levels, Course(wall.at_ms, flicker)
        case Reason.NO_FACE:
            gone = tuple(replace(frame, landmarks=frame.landmarks + np.float32(500)) for frame in frames)
            return gone, levels, wall
        case _:
            turned = tuple(
                replace(frame, landmarks=frame.landmarks * np.float32([1 + 0.5 * (number % 2), 1, 1]))
                for number, frame in enumerate(frames)
            )
            return turned, levels, wall


@pytest.mark.parametrize(
    "what",
    [
        Reason.TOO_FEW_FRAMES,
        Reason.NO_LAMPS,
        Reason.TOO_FEW_LAMPS,
        Reason.LIGHT_DISTURBED,
        Reason.NO_FACE,
        Reason.MOVED,
    ],
)
def test_what_cannot_be_judged_gets_no_score_but_a_reason(presented, what):
    found = assess(*_unusable(presented, what))
    assert (found.usable, found.score, found.suspected) == (False, None, False)
    assert found.reason is what


def test_a_lamp_that_is_dead_leaves_two_that_are_enough(presented):
    for folder, attack in (("people/kwame", False), ("attacks/kwame_print_flat", True)):
        found = assess(*presented(folder, Situation(strengths=(0.0, 1.0, 1.0))))
        assert found.usable
        assert found.suspected is attack


def test_the_normals_of_a_ball_are_its_radii():
    random = np.random.default_rng(5)
    points = random.normal(size=(600, 3))
    points[:, 2] = -np.abs(points[:, 2])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    inner = points[:, 2] < -0.3
    assert (np.einsum("ni,ni->n", normals_of(points), points)[inner] > 0.97).all()


def test_skin_points_are_inside_the_face_and_away_from_eyes_and_lips(presented):
    frame = presented("people/kwame")[0][0]
    points = frame.landmarks[:468].astype(float)
    chosen = skin_points(points)
    assert 200 < len(chosen) < 400
    assert {10, 152, 33, 263, 13, 61}.isdisjoint(chosen.tolist())


def test_a_fine_pattern_is_seen(presented):
    frames = presented("people/kwame")[0][:3]
    x = np.arange(CROP_WIDTH_PX)
    stripes = (12 * np.sin(2 * np.pi * x * 0.3))[None, :, None]
    patterned = tuple(
        replace(frame, pixels=np.clip(frame.pixels + stripes, 0, 255).astype(np.uint8)) for frame in frames
    )
    assert moire_of(patterned) > moire_of(frames) + 1


def test_attacks_and_people_come_at_one_size():
    assert {passes(folder)["ambient"].shape for folder in ("people/kwame", "attacks/kwame_screen", "session/21")} == {
        (640, 480, 3)
    }
