"""Measures of the face's shape do not depend on where, how large or how tilted the face is; angles do what their names say."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mirrored_mesh import mirrored
from validation import geometry
from validation.canonical import STABLE_POINTS
from validation.framing import plan_crop
from validation.head import head_length_px

angles = st.floats(-30, 30)
scales = st.floats(0.2, 5)
shifts = st.floats(-2000, 2000)


def similarity(scale: float, angle_deg: float, x: float, y: float) -> np.ndarray:
    turn = math.radians(angle_deg)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    return np.array([[cos, -sin, x], [sin, cos, y]])


@given(scale=scales, angle=angles, x=shifts, y=shifts)
def test_ratios_ignore_scale_place_and_tilt(neutral_landmarks, scale, angle, x, y):
    seen = geometry.moved(neutral_landmarks, similarity(scale, angle, x, y))
    assert geometry.eye_opening(seen) == pytest.approx(geometry.eye_opening(neutral_landmarks), rel=0.01)
    assert geometry.mouth_opening(seen) == pytest.approx(geometry.mouth_opening(neutral_landmarks), abs=1e-3)
    assert head_length_px(seen) == pytest.approx(scale * head_length_px(neutral_landmarks), rel=1e-3)
    assert geometry.inter_eye_px(seen) == pytest.approx(scale * geometry.inter_eye_px(neutral_landmarks), rel=1e-3)
    assert geometry.roll_deg(seen) == pytest.approx(geometry.roll_deg(neutral_landmarks) + angle, abs=0.05)


@given(scale=scales, x=shifts, y=shifts)
def test_pose_ignores_scale_and_place(neutral_landmarks, scale, x, y):
    before = geometry.head_pose(neutral_landmarks)
    after = geometry.head_pose(geometry.moved(neutral_landmarks, similarity(scale, 0, x, y)))
    assert after.yaw_deg == pytest.approx(before.yaw_deg, abs=0.05)
    assert after.pitch_deg == pytest.approx(before.pitch_deg, abs=0.05)
    assert after.roll_deg == pytest.approx(before.roll_deg, abs=0.05)


@given(angle=angles)
def test_a_mirrored_face_turns_and_tilts_the_other_way(neutral_landmarks, angle):
    face = geometry.moved(neutral_landmarks, similarity(1, angle, 0, 0))
    reflected = mirrored(face)
    pose, other = geometry.head_pose(face), geometry.head_pose(reflected)
    assert other.yaw_deg == pytest.approx(-pose.yaw_deg, abs=0.05)
    assert other.roll_deg == pytest.approx(-pose.roll_deg, abs=0.05)
    assert other.pitch_deg == pytest.approx(pose.pitch_deg, abs=0.05)
    assert geometry.eye_opening(reflected) == pytest.approx(geometry.eye_opening(face), rel=1e-4)


def seen_by_a_camera(yaw: float, pitch: float, roll: float, distance_mm: float = 900.0) -> np.ndarray:
    """Our rigid face turned by R = Ry(yaw) Rx(-pitch) Rz(-roll) and projected, as 478 landmarks."""

    def about(axis: int, degrees: float) -> np.ndarray:
        vector = np.zeros(3)
        vector[axis] = math.radians(degrees)
        return cv2.Rodrigues(vector)[0]

    flip = np.diag([1.0, -1.0, -1.0])
    turn = flip @ about(1, yaw) @ about(0, -pitch) @ about(2, -roll) @ flip
    landmarks = np.zeros((478, 3))
    for index, point in STABLE_POINTS.items():
        x, y, z = turn @ np.array(point) + [0, 0, distance_mm]
        landmarks[index] = (x / z * 2000 + 500, y / z * 2000 + 600, (z - distance_mm) * 2000 / distance_mm)
    return landmarks


@given(yaw=st.floats(-25, 25), pitch=st.floats(-20, 20), roll=st.floats(-20, 20))
def test_a_turned_rigid_face_is_measured_in_degrees_with_the_labels_signs(yaw, pitch, roll):
    pose = geometry.head_pose(seen_by_a_camera(yaw, pitch, roll))
    assert pose.yaw_deg == pytest.approx(yaw, abs=0.6)
    assert pose.pitch_deg == pytest.approx(pitch, abs=0.6)
    assert pose.roll_deg == pytest.approx(roll, abs=0.6)


def test_a_known_focal_length_is_used():
    near = seen_by_a_camera(15, 0, 0, distance_mm=350)
    assert geometry.head_pose(near, focal_px=2000).yaw_deg == pytest.approx(15, abs=0.2)


@given(scale=st.floats(0.3, 4), roll=st.floats(-20, 20), x=st.floats(-200, 200), y=st.floats(-200, 200))
def test_the_planned_crop_never_leaves_the_source_nor_invents_pixels(neutral_landmarks, scale, roll, x, y):
    width, height = round(960 * max(scale, 0.7)), round(1280 * max(scale, 0.7))
    face = geometry.moved(neutral_landmarks, similarity(scale, roll, x, y))
    plan = plan_crop(face, (width, height), (622, 800))
    for corner_x, corner_y in plan.corners():
        assert -0.01 <= corner_x <= width + 0.01
        assert -0.01 <= corner_y <= height + 0.01
    if abs(geometry.roll_deg(face)) < 7.9:
        assert geometry.roll_deg(geometry.moved(face, plan.matrix())) == pytest.approx(0, abs=0.05)
    smallest = 622 * math.cos(math.radians(plan.angle_deg)) + 800 * abs(math.sin(math.radians(plan.angle_deg)))
    tallest = 800 * math.cos(math.radians(plan.angle_deg)) + 622 * abs(math.sin(math.radians(plan.angle_deg)))
    if width >= smallest and height >= tallest:
        assert plan.scale <= 1 + 1e-9


def test_a_well_placed_face_gets_the_recipe(neutral_landmarks):
    plan = plan_crop(neutral_landmarks, (960, 1280), (622, 800))
    face = geometry.moved(neutral_landmarks, plan.matrix())
    assert head_length_px(face) / 800 == pytest.approx(0.775, abs=1e-3)
    assert geometry.eye_midpoint(face)[0] == pytest.approx(311, abs=0.1)
    assert 0.435 * 800 - 0.1 <= geometry.eye_midpoint(face)[1] <= 0.47 * 800 + 0.1


def test_a_large_tilt_is_left_for_the_rule_to_refuse(neutral_landmarks):
    tilted = geometry.moved(neutral_landmarks, similarity(1, 15, 100, -50))
    assert plan_crop(tilted, (960, 1280), (622, 800)).angle_deg == 0
