"""The wall's measures follow the wall: each fault moves its measure and only gross noise does, whatever the picture's size and place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.portrait import cut, plan_crop
from validation import wall
from validation.canvas import canvas_matrix
from validation.check import assess_live, check
from validation.geometry import inter_eye_px, moved

LIGHT = 205


def silhouette(landmarks, shape=(1280, 960)) -> np.ndarray:
    """A head and shoulders around the landmarks, as a mask."""
    middle, unit = landmarks[168, :2], inter_eye_px(landmarks)
    mask = np.zeros(shape, np.uint8)
    centre = (round(float(middle[0])), round(float(middle[1] + 0.35 * unit)))
    cv2.ellipse(mask, centre, (round(1.3 * unit), round(1.9 * unit)), 0, 0, 360, 255, -1)
    cv2.ellipse(
        mask, (centre[0], centre[1] + round(4 * unit)), (round(3 * unit), round(2.5 * unit)), 0, 0, 360, 255, -1
    )
    return mask


def scale_of(landmarks) -> float:
    return float(np.sqrt(np.linalg.det(canvas_matrix(landmarks)[:, :2])))


def person_before(background: np.ndarray, landmarks, tone=(60, 80, 120)) -> wall.Wall:
    mask = silhouette(landmarks, background.shape[:2])
    image = background.copy()
    image[mask > 0] = tone
    seen = wall.wall(image, mask, landmarks, scale_of(landmarks))
    assert seen is not None
    return seen


def plain(level=LIGHT, shape=(1280, 960)) -> np.ndarray:
    return np.full((*shape, 3), level, np.uint8)


def test_a_plain_wall_is_plain(neutral_landmarks):
    seen = person_before(plain(), neutral_landmarks)
    assert wall.unevenness(seen).value == pytest.approx(0, abs=0.01)
    assert wall.one_colour(seen).value < 0.5
    assert wall.shadow(seen).value == pytest.approx(1, abs=0.01)
    assert wall.strangers(seen).value == 0
    assert not wall.strangers(seen).where.any()
    assert wall.off_light_grey(seen.colour) < 1
    assert wall.contrast(seen).value > 30


def test_camera_noise_does_not_make_a_plain_wall_rough(neutral_landmarks):
    noise = np.random.default_rng(1).normal(0, 12, (1280, 960, 3))
    noisy = np.clip(plain() + noise, 0, 255).astype(np.uint8)
    assert wall.unevenness(person_before(noisy, neutral_landmarks)).value < 0.6


def test_a_pattern_is_uneven_by_its_contrast(neutral_landmarks):
    values = []
    for contrast in (0, 5, 15, 40, 80):
        image = plain(160)
        image[(np.arange(1280) // 40 % 2).astype(bool)] += np.uint8(contrast)
        values.append(wall.unevenness(person_before(image, neutral_landmarks)).value)
    assert values == sorted(values)
    assert values[-1] > 10 * values[1] > 0


def test_a_wall_that_changes_its_colour_strays_from_it_by_the_change(neutral_landmarks):
    values = []
    for lost in (0, 0.1, 0.3, 0.6):
        image = (plain() * np.linspace(1, 1 - lost, 960)[None, :, None]).astype(np.uint8)
        values.append(wall.one_colour(person_before(image, neutral_landmarks)).value)
    assert values == sorted(values)
    image = plain()
    image[:, :100] = (40, 40, 200)
    other = wall.one_colour(person_before(image, neutral_landmarks))
    assert other.value > 50
    assert other.where.any()


@given(level=st.integers(0, 255))
def test_greys_are_judged_by_their_lightness(level):
    lab = cv2.cvtColor(np.full((1, 1, 3), level / 255, np.float32), cv2.COLOR_BGR2Lab)[0, 0]
    assert (wall.off_light_grey(lab) > 0.5) == (lab[0] < 65.5)


def test_shadows_beside_the_head_grow_with_their_depth_and_a_slow_fall_off_is_none(neutral_landmarks):
    mask = silhouette(neutral_landmarks).astype(np.float32) / 255
    cast = cv2.GaussianBlur(np.roll(mask, 60, axis=1), (0, 0), 6)[..., None]
    values = [
        wall.shadow(person_before((plain() * (1 - d * cast)).astype(np.uint8), neutral_landmarks)).value
        for d in (0, 0.1, 0.3, 0.5)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.5
    slope = np.linspace(1, 0.7, 960)[None, :, None]
    assert wall.shadow(person_before((plain() * slope).astype(np.uint8), neutral_landmarks)).value > 0.8


def test_a_thing_on_the_wall_counts_and_a_shadow_does_not(neutral_landmarks):
    image = plain()
    image[100:220, 40:160] = (90, 160, 30)
    thing = wall.strangers(person_before(image, neutral_landmarks))
    assert thing.value > 0.05
    assert len(person_before(image, neutral_landmarks).back(thing.where)) == 1
    image[100:220, 40:160] = LIGHT // 2
    assert wall.strangers(person_before(image, neutral_landmarks)).value == 0


def test_somebody_beside_the_sitter_is_a_stranger(neutral_landmarks):
    shape = (1280, 1600)
    mask = silhouette(neutral_landmarks, shape)
    other = silhouette(moved(neutral_landmarks, np.array([[1.0, 0, 760], [0, 1, 60]])), shape)
    scale = scale_of(neutral_landmarks)
    alone, together = (wall.wall(plain(shape=shape), m, neutral_landmarks, scale) for m in (mask, mask | other))
    assert wall.strangers(alone).value == 0
    assert wall.strangers(together).value > 0.5


def test_a_head_like_its_wall_has_no_contrast(neutral_landmarks):
    values = [
        wall.contrast(person_before(plain(), neutral_landmarks, (tone,) * 3)).value for tone in (200, 180, 120, 30)
    ]
    assert values == sorted(values)
    assert values[0] < 5


def test_no_wall_is_said_and_not_guessed(neutral_landmarks):
    everywhere = np.full((1280, 960), 255, np.uint8)
    seen = wall.wall(plain(), everywhere, neutral_landmarks, scale_of(neutral_landmarks))
    assert seen.free is None
    assert seen.colour is None
    assert (wall.unevenness(seen), wall.one_colour(seen), wall.shadow(seen), wall.contrast(seen)) == (None,) * 4
    outside = (slice(2000, 2100), slice(0, 100))
    assert wall.wall(plain(), everywhere, neutral_landmarks, 0.6, window=outside) is None


def test_loose_hair_beside_the_head_is_no_pattern_of_the_wall(neutral_landmarks):
    mask = silhouette(neutral_landmarks)
    shape = plain()
    unit = inter_eye_px(neutral_landmarks)
    outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for x, y in outline[0].reshape(-1, 2)[:: max(round(unit / 4), 1)]:
        cv2.line(shape, (int(x), int(y)), (int(x), int(y - 0.3 * unit)), (20, 25, 30), max(round(unit / 30), 1))
    strands = person_before(shape, neutral_landmarks)
    near = strands.free & (strands.away < 0.3)
    assert np.percentile(strands.difference[near], 95) > 10
    assert wall.unevenness(strands).value < 0.3


@pytest.mark.parametrize(("tall", "somebody"), [(0.25, False), (1.0, True)])
def test_hair_that_stands_off_below_the_ear_is_nobody_else(neutral_landmarks, tall, somebody):
    mask = silhouette(neutral_landmarks)
    unit = inter_eye_px(neutral_landmarks)
    x, chin = neutral_landmarks[168, 0] + 1.55 * unit, neutral_landmarks[152, 1]
    cv2.rectangle(mask, (round(x), round(chin - (0.3 + tall) * unit)), (round(x + 0.35 * unit), round(chin)), 255, -1)
    seen = wall.wall(plain(), mask, neutral_landmarks, scale_of(neutral_landmarks))
    assert (wall.strangers(seen).value > 0.05) is somebody


def test_wide_hair_that_leaves_two_corners_leaves_a_wall_to_judge(neutral_landmarks):
    mask = np.full((1280, 960), 255, np.uint8)
    mask[:150, :150] = mask[:150, -150:] = 0
    seen = wall.wall(plain(), mask, neutral_landmarks, scale_of(neutral_landmarks))
    assert seen.free is not None
    assert 0.005 < seen.free.mean() < 0.03
    assert wall.unevenness(seen).value == pytest.approx(0, abs=0.01)
    assert wall.strangers(seen) is not None


@pytest.mark.parametrize(("tint", "thing"), [((0.9, 1.0, 1.06), False), ((0.45, 1.0, 1.4), True)])
def test_a_shadow_filled_by_light_of_another_colour_is_no_thing(neutral_landmarks, tint, thing):
    background = plain()
    linear = (background / 255.0) ** 2.2
    linear[200:700, :200] *= 0.3 * np.array(tint)
    shaded = np.rint(linear ** (1 / 2.2) * 255).astype(np.uint8)
    value = wall.strangers(person_before(shaded, neutral_landmarks)).value
    assert (value > 0.08) is thing


def test_an_old_outline_is_kept_further_away_from(neutral_landmarks):
    mask = silhouette(neutral_landmarks)
    scale = scale_of(neutral_landmarks)
    fresh, old = (wall.wall(plain(), mask, neutral_landmarks, scale, mask_age=age) for age in (0, 7))
    assert old.free.sum() < fresh.free.sum()


@given(scale=st.sampled_from([0.4, 0.7, 1.6]), x=st.integers(0, 20), y=st.integers(0, 20), mirror=st.booleans())
def test_size_place_and_mirroring_change_nothing(neutral_landmarks, scale, x, y, mirror):
    image = plain()
    image[:, 800:] = 190
    image[100:260, 30:170] = (90, 160, 30)
    before = person_before(image, neutral_landmarks)
    mask = silhouette(neutral_landmarks)
    image[mask > 0] = (60, 80, 120)
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    points = moved(neutral_landmarks, matrix)
    size = (round(960 * scale) + x, round(1280 * scale) + y)
    shown = cv2.copyMakeBorder(
        cv2.resize(image, (size[0] - x, size[1] - y), interpolation=cv2.INTER_AREA), y, 0, x, 0, cv2.BORDER_REPLICATE
    )
    outline = cv2.copyMakeBorder(
        cv2.resize(mask, (size[0] - x, size[1] - y), interpolation=cv2.INTER_AREA), y, 0, x, 0, cv2.BORDER_REPLICATE
    )
    if mirror:
        shown, outline = np.ascontiguousarray(shown[:, ::-1]), np.ascontiguousarray(outline[:, ::-1])
        points = points.copy()
        points[:, 0] = size[0] - points[:, 0]
    after = wall.wall(shown, outline, points, scale_of(neutral_landmarks) / scale)
    assert after.unit == pytest.approx(before.unit, rel=0.02)
    # A mean over the wall, and the border beside the picture is more plain wall.
    assert wall.unevenness(after).value == pytest.approx(wall.unevenness(before).value, rel=0.2, abs=0.1)
    assert wall.one_colour(after).value == pytest.approx(wall.one_colour(before).value, rel=0.05, abs=1)
    assert wall.strangers(after).value == pytest.approx(wall.strangers(before).value, rel=0.2, abs=0.01)
    assert after.colour == pytest.approx(before.colour, abs=2.5)


def test_strangers_are_drawn_where_they_stand(applicant, demo_profile, face_model):
    image = applicant("variations/ingrid_second_person")
    found = check(image, demo_profile, face_model).finding("background.objects")
    largest = np.array(found.evidence.outlines[0])
    sitter = face_model.scene(image, mask=False).face.box
    assert largest[:, 0].mean() > sitter.x + sitter.width
    assert largest.min() >= 0
    assert np.all(largest <= np.array([960, 1280]))


@pytest.mark.parametrize("person", ["kwame", "mei"])
def test_the_crop_and_the_preview_see_the_same_wall(person, applicant, demo_profile, face_model):
    image = applicant(f"people/{person}/neutral")
    scene = face_model.scene(image)
    plan = plan_crop(scene.face.landmarks, (960, 1280), (622, 800), demo_profile.crop)
    live = assess_live(image, scene, demo_profile)
    cropped = check(cut(image, plan), demo_profile, face_model, judged="crop")
    for rule, tolerance in (("lightness", 1), ("colour", 1), ("uniform", 0.2), ("shadow", 4), ("objects", 1)):
        values = [report.finding(f"background.{rule}").value for report in (live, cropped)]
        assert values[0] == pytest.approx(values[1], abs=tolerance)
