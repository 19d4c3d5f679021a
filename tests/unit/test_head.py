"""The whole head from the face's landmarks: free of place, scale, tilt and side; it follows a head that turns; margins mean what they say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mirrored_mesh import mirrored
from validation import geometry
from validation.check import assess_live, judge
from validation.face import Face, FaceModel, Scene
from validation.head import CHIN_MM, LIPS, Head, head, head_length_px
from validation.measured import NEEDS_FRAMES
from validation.profile import Profile, load_profile
from validation.report import CropFacts, Series, Verdict

APPLICANTS = Path(__file__).resolve().parents[2] / "hardware" / "sim" / "applicants"
LABELS = {label["file"]: label for label in json.loads((APPLICANTS / "labels.json").read_text())["images"]}
scales = st.floats(0.2, 5)
shifts = st.floats(-2000, 2000)
RATIOS = ("geometry.inter_eye", "geometry.head_height", "geometry.head_width", "geometry.head_inside")
PLACE = (*RATIOS, "geometry.vertical", "geometry.horizontal", "pose.roll", "pose.yaw", "pose.pitch")


def whole(landmarks: np.ndarray, levelled_deg: float = 0.0) -> Head:
    return head(landmarks, geometry.head_pose(landmarks), levelled_deg=levelled_deg)


def similarity(scale: float, angle_deg: float, x: float, y: float) -> np.ndarray:
    turn = math.radians(angle_deg)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    return np.array([[cos, -sin, x], [sin, cos, y]])


def findings(landmarks: np.ndarray, size: tuple[int, int], profile: Profile) -> dict[str, float]:
    """The values of the rules about place, size and pose; they look at no pixel."""
    wanted = profile.model_copy(update={"rules": {rule: profile.rules[rule] for rule in PLACE}})
    width, height = size
    scene = Scene(faces=(Face(landmarks, width, height),))
    report = judge(np.zeros((height, width, 3), np.uint8), scene, wanted)
    return {found.rule: found.value for found in report.findings if found.value is not None}


@given(scale=scales, angle=st.floats(-30, 30), x=shifts, y=shifts)
def test_a_head_moves_grows_and_tips_with_its_face(neutral_landmarks, scale, angle, x, y):
    matrix = similarity(scale, angle, x, y)
    seen = whole(geometry.moved(neutral_landmarks, matrix), levelled_deg=angle)
    carried = whole(neutral_landmarks).moved(matrix)
    near = 0.003 * seen.length_px
    for name in ("crown", "chin", "right", "left"):
        assert getattr(seen, name) == pytest.approx(getattr(carried, name), abs=near), name
    assert seen.length_px == pytest.approx(carried.length_px, rel=3e-3)
    assert seen.width_px == pytest.approx(carried.width_px, rel=3e-3)


@given(angle=st.floats(-20, 20))
def test_a_mirrored_face_has_the_mirrored_head(neutral_landmarks, angle):
    face = geometry.moved(neutral_landmarks, similarity(1, angle, 0, 0))
    one, other = whole(face), whole(mirrored(face))
    side = np.array([-1, 1])
    near = 0.002 * one.length_px
    assert other.crown == pytest.approx(one.crown * side, abs=near)
    assert other.chin == pytest.approx(one.chin * side, abs=near)
    assert other.left == pytest.approx(one.right * side, abs=near)
    assert other.length_px == pytest.approx(one.length_px, rel=1e-3)
    for seen, reflected in zip(geometry.pupils(face), reversed(geometry.pupils(mirrored(face))), strict=True):
        assert reflected == pytest.approx(seen * side, abs=0.01)


@given(scale=st.sampled_from((0.5, 1.5, 2.0, 3.0)))
def test_every_measure_of_place_and_pose_ignores_the_pictures_size(neutral_landmarks, scale):
    icao = load_profile("icao")
    small = findings(neutral_landmarks, (960, 1280), icao)
    large = findings(
        geometry.moved(neutral_landmarks, similarity(scale, 0, 0, 0)), (round(960 * scale), round(1280 * scale)), icao
    )
    small["geometry.inter_eye"] *= scale
    assert large == pytest.approx(small, rel=2e-3, abs=0.05)


def test_every_measure_of_place_and_pose_ignores_the_side(neutral_landmarks):
    icao = load_profile("icao")
    turned = geometry.moved(neutral_landmarks, similarity(1, 6, 60, -40))
    one, other = findings(turned, (960, 1280), icao), findings(mirrored(turned, 960), (960, 1280), icao)
    for rule in ("pose.roll", "pose.yaw"):
        other[rule] = -other[rule]
    other["geometry.horizontal"] = 100 - other["geometry.horizontal"]
    assert other == pytest.approx(one, rel=2e-3, abs=0.06)


@given(x=st.floats(-200, 200), y=st.floats(-200, 200))
def test_a_shifted_head_keeps_its_size_and_moves_by_that_much(neutral_landmarks, x, y):
    icao = load_profile("icao")
    before = findings(neutral_landmarks, (960, 1280), icao)
    after = findings(geometry.moved(neutral_landmarks, similarity(1, 0, x, y)), (960, 1280), icao)
    before["geometry.horizontal"] += x / 960 * 100
    before["geometry.vertical"] += y / 1280 * 100
    del before["geometry.head_inside"], after["geometry.head_inside"]
    assert after == pytest.approx(before, rel=2e-3, abs=0.05)


@given(y=st.floats(-900, 900))
def test_the_margin_is_the_crowns_or_the_chins(neutral_landmarks, y):
    seen = geometry.moved(neutral_landmarks, similarity(1, 0, 0, y))
    ends = whole(seen)
    inside = findings(seen, (960, 1280), load_profile("icao"))["geometry.head_inside"]
    assert inside <= min(ends.crown[1], 1280 - ends.chin[1]) / 1280 * 100 + 0.05
    assert (inside < 0) == (min(ends.crown[1], 1280 - ends.chin[1], ends.right[0], 960 - ends.left[0]) < 0)


@pytest.mark.parametrize(
    "name",
    [
        "people/anna/neutral",
        "people/jorge/neutral",
        "variations/anna_yaw+25",
        "variations/kwame_pitch-10",
        "variations/mei_roll+15",
    ],
)
def test_crown_chin_and_eyes_lie_where_the_labels_say(face_model: FaceModel, applicant, name):
    label = LABELS[f"{name}.jpg"]
    face = face_model.scene(applicant(name), mask=False).face
    assert face is not None
    landmarks = face.landmarks * np.float32(label["width"] / face.width)
    seen, tall, apart = whole(landmarks), label["head_height_px"], label["inter_eye_px"]
    assert np.hypot(*(seen.crown - label["crown"])) <= 0.07 * tall
    assert np.hypot(*(seen.chin - label["chin"])) <= 0.04 * tall
    assert seen.length_px == pytest.approx(tall, rel=0.07)
    for found, side in zip(geometry.pupils(landmarks), ("pupil_right", "pupil_left"), strict=True):
        assert np.hypot(*(found - label[side])) <= 0.04 * apart


def test_a_known_focal_length_counts_where_the_whole_picture_is_known(neutral_landmarks):
    icao = load_profile("icao")
    only = icao.model_copy(update={"rules": {"pose.pitch": icao.rules["pose.pitch"]}, "camera_focal_widths": 1.2})
    scene = Scene(faces=(Face(neutral_landmarks, 960, 1280),))
    picture = np.zeros((1280, 960, 3), np.uint8)
    cut = CropFacts(
        source_width=1920,
        source_height=2560,
        angle_deg=0,
        scale=0.5,
        corners=((0, 0), (1920, 0), (1920, 2560), (0, 2560)),
        resampling="area",
    )
    by_focal = geometry.head_pose(neutral_landmarks, focal_px=1.2 * 1920 * 0.5).pitch_deg - icao.pitch_zero_deg
    by_distance = geometry.head_pose(neutral_landmarks).pitch_deg - icao.pitch_zero_deg
    assert by_focal != pytest.approx(by_distance, abs=0.05)
    assert judge(picture, scene, only, judged="crop", crop=cut).finding("pose.pitch").value == pytest.approx(by_focal)
    assert assess_live(picture, scene, only).finding("pose.pitch").value == pytest.approx(by_focal)
    assert judge(picture, scene, only).finding("pose.pitch").value == pytest.approx(by_distance)


def test_a_mesh_drawn_up_by_a_scarf_does_not_shorten_the_head(neutral_landmarks):
    middle = geometry.eye_midpoint(neutral_landmarks)
    covered = neutral_landmarks.copy()
    below = covered[:, 1] > middle[1] + 0.8 * (covered[LIPS[0], 1] - middle[1])
    covered[below, 1] = middle[1] + 0.75 * (covered[below, 1] - middle[1])
    mesh, told = covered[geometry.CHIN, 1], whole(covered).chin[1]
    assert told > mesh + 10
    assert told - middle[1] == pytest.approx(CHIN_MM / 63 * geometry.size_px(covered), rel=0.02)
    assert head_length_px(covered) == pytest.approx(head_length_px(neutral_landmarks), rel=0.06)


@pytest.mark.parametrize(
    ("readings", "verdict"), [((1.0, 2.0, 9.0, 1.5, 1.2), Verdict.PASS), ((9.0, 10.0, 0.0, 9.5, 8.5), Verdict.WARN)]
)
def test_the_pitch_of_several_frames_is_their_median(neutral_landmarks, readings, verdict):
    icao = load_profile("icao")
    scene = Scene(faces=(Face(neutral_landmarks, 960, 1280),))
    only = icao.model_copy(update={"rules": {"pose.pitch_median": icao.rules["pose.pitch_median"]}})
    picture = np.zeros((1280, 960, 3), np.uint8)
    found = judge(picture, scene, only, series=Series(pitch_deg=readings, relaxed=())).finding("pose.pitch_median")
    assert found.value == sorted(readings)[2]
    assert found.verdict is verdict
    for series in (None, Series(pitch_deg=readings[:4], relaxed=())):
        missing = judge(picture, scene, only, series=series).finding("pose.pitch_median")
        assert (missing.verdict, missing.reason) == (Verdict.NOT_ASSESSED, NEEDS_FRAMES)
