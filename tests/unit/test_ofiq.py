"""The ISO/IEC 29794-5 measures: scalar maps against published pairs, natives against what their definition says, the table's form."""

from __future__ import annotations

import csv
import io
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation import ofiq
from validation.face import Face, Scene
from validation.geometry import Pose

LEVEL = Pose(yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0)

# Native -> scalar: the standard's maps at round values, and rows of the reference implementation's conformance table.
PAIRS = {
    "BackgroundUniformity": [
        (50, 76),
        (100, 55),
        (150, 38),
        (200, 25),
        (71.593742, 67),
        (243.065285, 17),
        (35.614756, 83),
    ],
    "IlluminationUniformity": [
        (0.1, 50),
        (0.3, 70),
        (0.8, 94),
        (0.148789, 56),
        (0.020761, 31),
        (0.843893, 95),
        (0.0, 0),
    ],
    "LuminanceMean": [(0.15, 27), (0.2, 50), (0.3, 88), (0.5, 100), (0.103973, 13), (0.247860, 72), (0.189643, 45)],
    "LuminanceVariance": [(1 / 60, 100), (0.014962, 100), (0.067844, 58), (0.007321, 82), (0.039975, 80), (0.0, 0)],
    "UnderExposurePrevention": [(0.8, 90), (0.9, 52), (0.049128, 100), (0.351960, 100)],
    "OverExposurePrevention": [(0.0, 100), (0.01, 50), (0.05, 17), (0.000022, 100)],
    "DynamicRange": [(6.912061, 86.400761), (8.0, 100), (5.560847, 69.510584)],
    "NaturalColour": [(0, 100), (2, 90), (5, 76), (10, 54), (0.604248, 97), (3.299769, 84), (100, 0)],
    "SingleFacePresent": [(0.0, 100), (0.33, 67), (1.0, 0)],
    "EyesOpen": [(0.02, 50), (0.03, 73), (0.04, 88), (0.023125, 58), (0.050498, 95), (0.111405, 100)],
    "MouthClosed": [(0.2, 50), (0.03, 94), (0.08, 88), (0.002205, 96), (0.065307, 90), (0.026127, 95)],
    "InterEyeDistance": [(70, 50), (90, 73), (120, 92), (492.515573, 100)],
    "HeadSize": [(0.45, 100), (0.375, 36), (0.30, 9), (0.224977, 2), (0.257293, 4), (0.134832, 0)],
    "LeftwardCropOfTheFaceImage": [(0.9, 50), (3.434156, 100)],
    "RightwardCropOfTheFaceImage": [(0.9, 50), (2.412375, 100)],
    "MarginAboveOfTheFaceImage": [(1.4, 50), (1.545541, 81), (1.749557, 97), (1.9, 99)],
    "MarginBelowOfTheFaceImage": [(1.8, 50), (1.726251, 32), (1.749557, 38), (2.3, 99)],
    "HeadPoseYaw": [(0, 100), (5, 99), (15, 93), (7.966364, 98), (-90, 0)],
    "HeadPosePitch": [(17, 91), (-16.617661, 92), (13.818240, 94)],
    "HeadPoseRoll": [(27.373343, 79), (-16.291553, 92)],
}


@pytest.fixture(scope="module")
def seen(face_model, applicant):
    pixels = applicant("people/anna/neutral")
    return pixels, face_model.scene(pixels)


@pytest.mark.parametrize(("name", "native", "scalar"), [(n, x, y) for n, pairs in PAIRS.items() for x, y in pairs])
def test_scalars_are_those_that_the_standard_and_its_conformance_table_give(name, native, scalar):
    assert ofiq.SCALARS[name](native) == pytest.approx(scalar, abs=1e-5)


def test_every_computed_measure_has_a_tried_map():
    assert set(PAIRS) == set(ofiq.SCALARS) == set(ofiq.COMPUTED)


@given(st.sampled_from(ofiq.COMPUTED), st.floats(-1e6, 1e6))
def test_no_native_value_breaks_a_map(name, native):
    if name in {"LuminanceVariance", "OverExposurePrevention", "LuminanceMean"}:
        native = abs(native) % 1  # shares and moments of light
    assert 0 <= ofiq.SCALARS[name](native) <= 100


def test_a_plain_frontal_portrait_scores_well(seen):
    scores = ofiq.assess(*seen, LEVEL)
    assert set(scores) == set(ofiq.COMPUTED)
    low = {name for name, score in scores.items() if score.scalar < 80}
    assert low == {"HeadSize"}  # not cropped yet: the head is small in the picture
    assert scores["BackgroundUniformity"].native < 30
    assert scores["SingleFacePresent"] == ofiq.Score(0.0, 100)


def test_crops_on_both_sides_add_up_to_the_width_in_eye_distances_and_one(seen):
    pixels, scene = seen
    scores = ofiq.assess(pixels, scene, LEVEL)
    both = scores["LeftwardCropOfTheFaceImage"].native + scores["RightwardCropOfTheFaceImage"].native
    assert both == pytest.approx(pixels.shape[1] / scores["InterEyeDistance"].native + 1, abs=1e-4)
    tall = scores["MarginAboveOfTheFaceImage"].native + scores["MarginBelowOfTheFaceImage"].native
    assert tall == pytest.approx(1 / scores["HeadSize"].native)


def test_the_mirrored_portrait_measures_alike(seen):
    pixels, scene = seen
    face = scene.face
    mirrored = face.landmarks.copy()
    mirrored[:, 0] = pixels.shape[1] - mirrored[:, 0]
    swapped = mirrored.copy()  # what was the right eye is the left one now
    for ours, theirs in ((33, 263), (133, 362), (61, 291), (81, 311), (178, 402), (70, 300), (105, 334)):
        swapped[[ours, theirs]] = mirrored[[theirs, ours]]
    twin = Scene(faces=(Face(swapped, face.width, face.height),), person_mask=scene.person_mask[:, ::-1].copy())
    ours, theirs = ofiq.assess(pixels, scene, LEVEL), ofiq.assess(pixels[:, ::-1].copy(), twin, LEVEL)
    for name in ("LuminanceMean", "LuminanceVariance", "DynamicRange", "InterEyeDistance", "MarginAboveOfTheFaceImage"):
        assert theirs[name].native == pytest.approx(ours[name].native, rel=0.03), name
    # A plain wall's gradient is noise, and bilinear sampling treats noise by the accident of its phase.
    assert theirs["BackgroundUniformity"].scalar == pytest.approx(ours["BackgroundUniformity"].scalar, abs=4)
    assert theirs["LeftwardCropOfTheFaceImage"].native == pytest.approx(
        ours["RightwardCropOfTheFaceImage"].native, rel=1e-3
    )


def test_faults_move_the_measure_that_names_them(seen):
    pixels, scene = seen
    good = ofiq.assess(pixels, scene, LEVEL)
    noise = np.random.default_rng(7).integers(0, 200, pixels.shape).astype(np.uint8)
    busy = np.where((scene.person_mask < 26)[..., None], noise, pixels)
    assert ofiq.assess(busy, scene, LEVEL)["BackgroundUniformity"].scalar < good["BackgroundUniformity"].scalar - 50
    dark = (pixels * 0.2).astype(np.uint8)
    in_the_dark = ofiq.assess(dark, scene, LEVEL)
    assert in_the_dark["UnderExposurePrevention"].native > 0.9
    assert in_the_dark["LuminanceMean"].scalar < 10
    bright = np.clip(pixels.astype(np.float32) * 4, 0, 255).astype(np.uint8)
    assert ofiq.assess(bright, scene, LEVEL)["OverExposurePrevention"].scalar < 10
    blue = pixels.copy()
    blue[..., 2] //= 2
    assert ofiq.assess(blue, scene, LEVEL)["NaturalColour"].native == 100
    half = pixels.copy()
    half[:, : int(scene.face.landmarks[1, 0])] //= 3
    assert ofiq.assess(half, scene, LEVEL)["IlluminationUniformity"].native < 0.1


def test_a_grey_picture_is_perfect_as_in_the_reference_and_a_nearly_grey_one_is_not(seen):
    pixels, scene = seen
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert ofiq.assess(grey, scene, LEVEL)["NaturalColour"].native == 0
    pale = (grey + 0.03 * (pixels.astype(np.float64) - grey)).clip(0, 255).round().astype(np.uint8)
    # a* and b* near 0 lie nearly 5 below both ranges.
    assert ofiq.assess(pale, scene, LEVEL)["NaturalColour"].native == pytest.approx(math.hypot(5, 5), abs=1.0)


def test_a_second_face_counts_by_its_area(seen):
    pixels, scene = seen
    box = scene.face.box
    half = type(box)(box.x, box.y, box.width / 2, box.height / 2)
    two = Scene(faces=scene.faces, other_faces=(half,), person_mask=scene.person_mask)
    assert ofiq.assess(pixels, two, LEVEL)["SingleFacePresent"] == ofiq.Score(pytest.approx(0.25), 75)


def test_what_cannot_be_measured_fails_and_is_not_guessed(seen):
    pixels, scene = seen
    assert set(ofiq.assess(pixels, Scene(faces=()), None).values()) == {ofiq.FAILED}
    alone = ofiq.assess(pixels, Scene(faces=scene.faces), None)
    missing = {"BackgroundUniformity", "InterEyeDistance", "HeadPoseYaw", "HeadPosePitch", "HeadPoseRoll"}
    assert {name for name, score in alone.items() if score == ofiq.FAILED} == missing
    one_point = Face(np.full((478, 3), 100, np.float32), pixels.shape[1], pixels.shape[0])
    collapsed = ofiq.assess(pixels, Scene(faces=(one_point,), person_mask=scene.person_mask), LEVEL)
    assert {name for name, score in collapsed.items() if score != ofiq.FAILED} <= {"SingleFacePresent"}


def test_a_face_at_the_picture_s_edge_is_measured_without_a_crash(seen):
    pixels, scene = seen
    face = scene.face
    for shift in ((-700, 0), (0, -900), (5000, 5000)):
        moved = face.landmarks + np.float32([*shift, 0])
        out = Scene(faces=(Face(moved, face.width, face.height),), person_mask=scene.person_mask)
        for score in ofiq.assess(pixels, out, LEVEL).values():
            assert math.isfinite(score.native)
            assert -1 <= score.scalar <= 100


def test_the_table_has_the_reference_implementation_s_columns():
    header = ofiq.header()
    assert len(header) == 1 + 28 + 28
    assert header[:3] == ("Filename", "UnifiedQualityScore", "BackgroundUniformity")
    assert header[28:31] == ("NoHeadCoverings", "UnifiedQualityScore.scalar", "BackgroundUniformity.scalar")
    scores = dict.fromkeys(ofiq.COMPUTED, ofiq.FAILED) | {"DynamicRange": ofiq.Score(6.912061, 86.4007625)}
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerows([header, ofiq.row("a;b.jpg", scores)])
    (told,) = csv.DictReader(io.StringIO(out.getvalue()), delimiter=";")
    assert told["Filename"] == "a;b.jpg"
    assert (told["HeadSize"], told["HeadSize.scalar"]) == ("0", "-1")
    assert (told["DynamicRange"], told["DynamicRange.scalar"]) == ("6.912061", "86.400762")
    assert told["Sharpness"] == told["Sharpness.scalar"] == told["EyesVisible"] == ""
