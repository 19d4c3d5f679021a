"""Hats, fringes and what hides the edges of a face cost visible skin; scarves that leave the face free do not."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from validation.canvas import canvas
from validation.geometry import moved
from validation.head_cover import Seen, forehead, sides

PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
BLACK, WHITE, TEAL = (30, 30, 34), (235, 235, 235), (130, 120, 40)


def visible(found):
    assert isinstance(found, Seen), found
    return found.visible


@pytest.fixture(scope="module")
def faces(face_model, applicant):
    names = {p: f"people/{p}/neutral" for p in PEOPLE}
    names |= {v: f"variations/{v}" for v in ("kwame_cap", "amara_headscarf", "mei_hair_over_eye", "mei_side_light")}
    found = {}
    for name, path in names.items():
        image = applicant(path)
        face = face_model.scene(image, mask=False).face
        assert face is not None
        found[name] = image, face.landmarks
    return found


def with_cap(image, landmarks, share, colour):
    """From the top of the picture down over this share of the forehead."""
    low = landmarks[10, 1] + (landmarks[9, 1] - landmarks[10, 1]) * share
    out = image.copy()
    out[: round(float(low))] = colour
    return out


def with_pads(image, landmarks, inward, colour):
    """Over both edges of the face, this part of the eye distance inwards."""
    eye = float(np.linalg.norm(landmarks[33, :2] - landmarks[263, :2])) * 0.7
    out = image.copy()
    out[:, : round(float(landmarks[234, 0] + inward * eye))] = colour
    out[:, round(float(landmarks[454, 0] - inward * eye)) :] = colour
    return out


@pytest.mark.parametrize("person", PEOPLE)
def test_a_bare_forehead_and_free_edges_are_seen_on_every_skin(person, faces):
    image, landmarks = faces[person]
    assert visible(forehead(canvas(image, landmarks))) > 0.92
    assert visible(sides(canvas(image, landmarks))) > 0.52


@pytest.mark.parametrize("person", ["kwame", "mei", "amara", "ingrid"])
@pytest.mark.parametrize("colour", [BLACK, WHITE, TEAL])
def test_the_lower_the_cap_the_less_forehead(person, colour, faces):
    image, landmarks = faces[person]
    shares = (0, 0.25, 0.5, 0.75, 1)
    values = [visible(forehead(canvas(with_cap(image, landmarks, s, colour), landmarks))) for s in shares]
    assert values == sorted(values, reverse=True)
    assert values[1] < 0.9 < values[0]
    assert values[-1] < 0.1


@pytest.mark.parametrize("person", ["kwame", "mei", "amara", "ingrid"])
@pytest.mark.parametrize("colour", [BLACK, TEAL])
def test_the_further_in_the_pads_the_less_of_the_edges(person, colour, faces):
    image, landmarks = faces[person]
    widths = (-0.5, 0.06, 0.12, 0.2, 0.35)
    values = [visible(sides(canvas(with_pads(image, landmarks, w, colour), landmarks))) for w in widths]
    assert all(a >= b - 0.02 for a, b in pairwise(values))
    assert max(values[-2:]) < 0.3  # also where the pads hide the cheeks


def test_a_cap_and_hair_are_covers_a_headscarf_around_the_face_is_none(faces):
    def seen(name):
        return visible(forehead(canvas(*faces[name])))

    assert seen("kwame_cap") < 0.5
    assert seen("mei_hair_over_eye") < 0.5
    assert visible(sides(canvas(*faces["mei_hair_over_eye"]))) < 0.3
    assert seen("amara_headscarf") > 0.9
    assert visible(sides(canvas(*faces["amara_headscarf"]))) > 0.5


def test_light_from_the_side_is_no_cover(faces):
    assert visible(sides(canvas(*faces["mei_side_light"]))) > 0.6
    assert visible(forehead(canvas(*faces["mei_side_light"]))) > 0.9


def test_size_and_light_change_little(faces):
    image, landmarks = faces["kwame"]
    before = canvas(image, landmarks)
    small = cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    after = canvas(small, moved(landmarks, np.array([[0.4, 0, 0], [0, 0.4, 0]])))
    darker = canvas(cv2.convertScaleAbs(image, alpha=0.6), landmarks)
    for measure in (forehead, sides):
        assert visible(measure(after)) == pytest.approx(visible(measure(before)), abs=0.05)
    assert visible(forehead(darker)) == pytest.approx(visible(forehead(before)), abs=0.05)
    assert visible(sides(darker)) > 0.5


def test_the_cover_is_drawn_where_it_is(faces):
    image, landmarks = faces["mei"]
    face = canvas(with_cap(image, landmarks, 0.5, TEAL), landmarks)
    found = forehead(face)
    rows = np.flatnonzero(found.covered.any(axis=1))
    assert face.points[10, 1] - 8 < rows[0] < rows[-1] < face.points[9, 1]


def test_what_cannot_be_compared_or_lies_outside_is_not_judged(faces):
    image, landmarks = faces["anna"]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    away = moved(landmarks, np.array([[1.0, 0, -380], [0, 1, -480]]))
    for measure in (forehead, sides):
        assert "colour" in measure(canvas(grey, landmarks))
        assert "outside" in measure(canvas(image, away))
