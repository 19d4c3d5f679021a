"""Light on a face in numbers, and lamps that come up without dazzling anybody."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.metering import ZONES, ramp, read_light
from validation.face import FaceModel

levels = st.dictionaries(st.sampled_from(["key_left", "key_right", "fill_top"]), st.floats(0, 100), min_size=1)


@pytest.fixture(scope="module")
def anna(applicants):
    picture = cv2.imread(str(applicants / "stills" / "anna" / "neutral.jpg"))
    with FaceModel() as model:
        return picture, model.scene(picture).face.landmarks


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
