"""Light on a face in numbers, and lamps that come up without dazzling anybody."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.metering import PATCHES, WALL_PATCHES, ZONES, Bands, meter, outline_fits, ramp, read_light
from validation.face import FaceModel
from validation.profile import load_profile

levels = st.dictionaries(st.sampled_from(["key_left", "key_right", "fill_top"]), st.floats(0, 100), min_size=1)


@pytest.fixture(scope="module")
def scene(applicants):
    picture = cv2.imread(str(applicants / "stills" / "anna" / "neutral.jpg"))
    with FaceModel() as model:
        return picture, model.scene(picture)


@pytest.fixture(scope="module")
def anna(scene):
    picture, seen = scene
    return picture, seen.face.landmarks


def test_good_light_is_metered_as_balanced_and_in_linear_light(scene):
    picture, seen = scene
    bands = Bands.of(load_profile("demo"))
    reading = meter(picture, seen.face.landmarks, seen.person_mask, 7)
    assert set(reading.patches) == set(PATCHES)
    assert reading.at_ns == 7
    assert bands.balanced(reading.values)
    dim = meter((picture * 0.5).astype(np.uint8), seen.face.landmarks, seen.person_mask, 7)
    ratio = reading.patches["cheek_left"][1] / dim.patches["cheek_left"][1]
    assert ratio == pytest.approx(4.4, abs=0.8), "half the code value is a quarter of the light"
    assert not bands.holds(dim.values)
    assert "background.lightness" in bands.lacking(dim.values)


def test_a_margin_is_asked_for_before_a_limit_is_broken():
    bands = Bands.of(load_profile("icao"))
    assert bands.holds({"light.sides": 80.0})
    assert not bands.balanced({"light.sides": 80.0})
    assert bands.refused({"light.even": 44.0, "light.sides": 10.0}) == 1, "sides only warn"
    assert bands.lacking({"nothing.known": 3.0}) == {}


def test_without_a_face_only_the_brightness_is_told(scene):
    picture, seen = scene
    reading = meter(picture, None, None, 7)
    assert not reading.has_face
    assert 0.3 < reading.brightest <= 1
    assert meter(picture, seen.face.landmarks - [9999, 0, 0], None, 7).patches == {}


def test_a_wall_that_is_not_told_from_the_person_is_not_read(scene):
    picture, seen = scene
    assert outline_fits(seen.face.landmarks, seen.person_mask)
    assert not outline_fits(seen.face.landmarks, np.zeros_like(seen.person_mask)), "the outline of an empty booth"
    assert not outline_fits(seen.face.landmarks, None)
    everybody = meter(picture, seen.face.landmarks, np.full_like(seen.person_mask, 255), 7)
    assert not set(WALL_PATCHES) & set(everybody.patches)
    assert "background.lightness" not in everybody.values


def test_an_evenly_lit_face_reads_even(anna):
    reading = read_light(*anna)
    assert reading.evenness_pct > 60
    assert 0.8 < reading.right_to_left < 1.25
    assert set(reading.zones_pct) == set(ZONES) - {"chin"}, "the crease of this chin is no light"


def test_a_dark_side_shows_on_that_side(anna):
    picture, landmarks = anna
    dark = picture.copy()
    middle = int(landmarks[1, 0])
    dark[:, :middle] = (dark[:, :middle] * 0.4).astype(np.uint8)  # image left is the subject's right
    reading = read_light(dark, landmarks)
    assert reading.right_to_left < 0.6
    assert reading.evenness_pct < read_light(picture, landmarks).evenness_pct
    assert set(reading.zones_pct) == {"right_cheek", "left_cheek"}, "an edge across forehead and chin is no light"


def test_brightness_and_clipping_are_measured(anna):
    picture, landmarks = anna
    plain, bright = read_light(picture, landmarks), read_light(np.full_like(picture, 255), landmarks)
    assert bright.face_luminance_pct == pytest.approx(100)
    assert bright.clipped_pct == pytest.approx(100)
    assert plain.face_luminance_pct < 100
    assert set(plain.as_record()) == {"zones_pct", "evenness_pct", "right_to_left", "face_luminance_pct", "clipped_pct"}


def test_a_zone_outside_the_picture_gives_no_reading(anna):
    picture, landmarks = anna
    assert read_light(picture, landmarks - [landmarks[1, 0], 0, 0]) is None


@given(levels, levels, st.integers(1, 5))
def test_a_ramp_ends_at_its_target_in_few_even_steps(start, target, steps):
    path = ramp(start, target, steps)
    assert len(path) <= steps
    if path:
        assert path[-1] == pytest.approx(target)
        for name, level in target.items():
            seen = [start.get(name, 0.0), *(step[name] for step in path)]
            assert seen == sorted(seen, reverse=level < seen[0]) or np.ptp(seen) < 1e-9
    else:
        assert all(level == start.get(name, 0.0) for name, level in target.items())
