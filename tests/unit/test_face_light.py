"""Measures of light and colour on the face: each follows its fault, none follows the skin's tone."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation import canvas, colour, light, shade, skin
from validation.geometry import moved

PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")


@pytest.fixture(scope="module")
def faces(applicant, face_model) -> dict[str, canvas.Canvas]:
    """The neutral applicants on the canvas."""
    found = {}
    for person in PEOPLE:
        image = applicant(f"people/{person}/neutral")
        found[person] = canvas.canvas(image, face_model.scene(image, mask=False).face.landmarks)
    return found


def changed(face, pixels) -> canvas.Canvas:
    return dataclasses.replace(face, pixels=np.clip(pixels, 0, 255).astype(np.uint8))


def exposed(face, stops) -> canvas.Canvas:
    linear = np.minimum(canvas.LINEAR / 255 * 2.0**stops, 1)
    table = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    table = table.astype(np.uint8)
    return dataclasses.replace(face, pixels=table[face.pixels], source=table[face.source])


@given(level=st.integers(0, 255))
def test_a_flat_face_has_one_tone(neutral_landmarks, level):
    face = canvas.canvas(np.full((1280, 960, 3), level, np.uint8), neutral_landmarks)
    seen = light.face_tones(face)
    luminance = int(face.luminance[300, 308])
    assert seen.mean == pytest.approx(luminance / 255)
    assert (seen.levels, seen.entropy_bits) == (1, 0)
    assert seen.too_bright == (luminance >= 247)


def test_tones_of_nothing_are_none():
    assert light.tones(np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.uint8)) is None


@pytest.mark.parametrize("person", PEOPLE)
def test_less_light_drops_more_of_any_face_and_one_stop_is_forgiven(person, faces):
    shares = []
    for stops in (0, -0.5, -1, -2, -3):
        face = exposed(faces[person], stops)
        shares.append(light.face_tones(face).up_to(light.black_level(face)))
    assert shares == sorted(shares)
    assert shares[2] < 0.4, "warned at most"
    assert shares[-1] > 0.9


@pytest.mark.parametrize("person", PEOPLE)
def test_hot_spots_grow_with_the_spot_on_every_skin(person, faces):
    face = faces[person]
    x, y = np.meshgrid(np.arange(616), np.arange(616))
    values = []
    for radius in (0, 4, 8, 16):
        weight = np.exp(-((np.hypot(x - face.points[151, 0], y - face.points[151, 1]) / max(radius, 1)) ** 4)) * (
            radius > 0
        )
        spotted = changed(face, face.pixels + (255 - face.pixels) * weight[..., None])
        values.append(shade.hot_spot(spotted, skin.skin_region(spotted)).value)
    assert values[0] == 0
    assert values == sorted(values)
    assert values[2] > 0.0015


def test_a_hot_spot_is_shown_where_it_is(faces):
    face = faces["kwame"]
    pixels = face.pixels.copy()
    x, y = np.rint(face.points[50]).astype(int)
    cv2.circle(pixels, (int(x), int(y)), 8, (250, 250, 250), -1)
    found = shade.hot_spot(changed(face, pixels), skin.skin_region(face))
    columns = np.nonzero(found.where.any(axis=0))[0]
    assert abs(columns.mean() - x) < 2


@pytest.mark.parametrize("person", PEOPLE)
def test_shadows_in_the_eye_sockets_and_from_one_side_are_seen(person, faces):
    face = faces[person]
    y, x = np.mgrid[:616, :616]
    eyes = [face.points[list(c)].mean(axis=0) for c in ((33, 133), (362, 263))]
    far = np.min([np.hypot((x - e[0]) / 40, (y - e[1]) / 25) for e in eyes], axis=0)
    socket = np.clip(1.5 - far, 0, 1)[..., None]
    side = np.clip((x - face.points[168, 0]) / 60, 0, 1)[..., None]
    for where in (socket, side):
        values = [shade.face_shadow(changed(face, face.pixels * (1 - d * where))).value for d in (0, 0.2, 0.4, 0.6)]
        assert values == sorted(values, reverse=True)
        assert values[0] > 0.75
        assert values[-1] < 0.5


def test_a_face_at_the_edge_shows_no_shadow(neutral_landmarks):
    image = np.full((1280, 960, 3), 120, np.uint8)
    cut = canvas.canvas(image, moved(neutral_landmarks, np.array([[1.0, 0, -450], [0, 1, 0]])))
    assert shade.face_shadow(cut) is None
    assert colour.skin_colour_distance(cut) is None


@pytest.mark.parametrize("person", PEOPLE)
def test_natural_skin_of_any_tone_has_no_distance_and_a_grey_one_the_largest(person, faces):
    face = faces[person]
    assert colour.skin_colour_distance(face) == 0
    grey = cv2.cvtColor(cv2.cvtColor(face.pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert colour.skin_colour_distance(changed(face, grey)) == colour.NO_SKIN_COLOUR


def toned(pixels: np.ndarray, tone: tuple[float, float, float]) -> np.ndarray:
    """A picture of one tint: white becomes the tone (BGR)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[..., None] / 255
    return np.asarray(np.rint(grey * np.array(tone)), dtype=np.uint8)


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("tone", [(165, 205, 245), (140, 180, 255)])
def test_a_picture_of_one_tint_has_no_natural_skin(tone, person, faces):
    face = faces[person]
    assert colour.colour_stray(face) > 2 * colour.LEAST_STRAY
    sepia = toned(face.pixels, tone)
    _, data = cv2.imencode(".jpg", sepia, [cv2.IMWRITE_JPEG_QUALITY, 75])
    for one in (sepia, cv2.imdecode(data, cv2.IMREAD_COLOR)):
        assert colour.skin_colour_distance(changed(face, one)) == colour.NO_SKIN_COLOUR


def test_a_face_outside_the_picture_has_no_colours(faces):
    face = faces["anna"]
    assert colour.colour_stray(dataclasses.replace(face, inside=np.zeros_like(face.inside))) is None
    for off in (-5000.0, 5000.0):
        assert colour.colour_stray(dataclasses.replace(face, points=face.points + off)) is None


def test_a_tint_counts_when_wall_and_skin_share_it(faces):
    face = faces["anna"]
    wall = (206, 206, 206)
    for gain in ((0.75, 1, 1.25), (1.3, 1, 0.8)):
        tinted = changed(face, face.pixels * np.array(gain))
        lab = cv2.cvtColor(np.array([[np.clip(np.array(wall) * gain, 0, 255) / 255]], np.float32), cv2.COLOR_BGR2Lab)[
            0, 0
        ]
        assert colour.skin_colour_distance(tinted, lab) > 5
        natural = colour.skin_colour_distance(face, lab)
        assert natural < 5 or gain[0] < 1, "a blue wall behind a natural skin says nothing of the skin"
        assert colour.skin_colour_distance(tinted, np.array([83.0, 0, 0])) <= colour.skin_colour_distance(tinted, lab)


@given(a=st.floats(-50, 80), b=st.floats(-50, 80))
def test_distance_from_natural_skin_is_zero_only_inside_the_box(a, b):
    distance = colour.natural_colour_distance(a, b)
    assert (distance == 0) == (5 <= a <= 25 and 5 <= b <= 35)
    assert 0 <= distance <= 100


def test_lab_of_white_and_of_a_known_colour():
    assert colour.lab_d50(np.array([255.0, 255, 255])) == pytest.approx((100, 0, 0), abs=0.05)
    assert colour.lab_d50(np.array([0.0, 0, 255])) == pytest.approx((54.3, 80.8, 69.9), abs=0.2)  # sRGB red under D50


@pytest.mark.parametrize("levels", [8, 32, 100])
def test_posterised_greens_are_counted(levels, applicant, neutral_landmarks):
    image = applicant("people/anna/neutral")
    coarse = (np.rint(image / 255 * (levels - 1)) * (255 / (levels - 1))).astype(np.uint8)
    outline = neutral_landmarks[list(skin.FACE_OVAL), :2]
    assert light.level_count(coarse, outline) <= levels < light.level_count(image, outline)
    large = cv2.resize(coarse, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    assert light.level_count(large, outline * 3) <= levels
    assert light.level_count(image, outline + 5000) is None


def test_lower_contrast_has_less_entropy(faces):
    face = faces["jorge"]
    region = face.polygon(skin.FACE_OVAL)
    values = [
        light.grey_tones(changed(face, 140 + (face.pixels - 140.0) * c), region).entropy_bits for c in (1, 0.6, 0.2)
    ]
    assert values == sorted(values, reverse=True)
    assert light.grey_tones(face, np.zeros_like(region)) is None


def test_beards_and_hats_are_no_light_zone(faces):
    zones = {person: light.light_zones(face).shown for person, face in faces.items()}
    assert zones["ingrid"] == (0, 1, 2, 3)
    assert 1 not in zones["jorge"], "a beard"


@pytest.mark.parametrize(("person", "cap"), [("ingrid", (150, 70, 40)), ("kwame", (175, 172, 170))])
def test_a_smooth_cap_over_the_forehead_does_not_pass_for_uneven_light(person, cap, faces):
    face = faces[person]
    bare = light.light_zones(face)
    assert 0 in bare.shown
    pixels = face.pixels.copy()
    left, right = round(face.points[54, 0]), round(face.points[284, 0])
    pixels[: round(face.points[9, 1]), left:right] = cap
    capped = light.light_zones(changed(face, pixels))
    assert capped.shown == tuple(number for number in bare.shown if number != 0)
    assert len(capped.boxes) == len(capped.shown)
    assert capped.evenness >= bare.evenness


def test_typology_angles_sort_people_by_their_skin(faces):
    angles = {person: skin.ita_deg(face) for person, face in faces.items()}
    assert (
        max(angles["kwame"], angles["amara"]) < angles["jorge"] < min(angles["anna"], angles["mei"], angles["ingrid"])
    )
    assert {skin.skin_group(angles[p]) for p in ("kwame", "amara")} <= {"brown", "dark"}
    grey = changed(faces["anna"], np.full((616, 616, 3), 120))
    assert skin.ita_deg(grey) is None


@pytest.mark.parametrize(
    ("angle", "group"),
    [(60, "very light"), (55, "light"), (41, "intermediate"), (28, "tan"), (10, "brown"), (-30, "dark"), (-90, "dark")],
)
def test_a_group_begins_above_its_border(angle, group):
    assert skin.skin_group(angle) == group
