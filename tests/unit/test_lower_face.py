"""A cover over the lower face is found whatever its colour, and skin, beards and closed lips are none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from validation.canvas import canvas
from validation.geometry import moved
from validation.occlusion import LOWER_FACE, lower_face, mouth_seen

PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
COLOURS = {"white": (240, 240, 240), "black": (25, 25, 25), "blue": (200, 170, 120), "beige": (150, 185, 210)}


def seen(image, landmarks):
    found = lower_face(canvas(image, landmarks))
    assert not isinstance(found, str), found
    return found.visible


def covered(image, landmarks, colour, *, share=1.0):
    """Plain cloth with a shade over this share of the lower face, from below."""
    hull = cv2.convexHull(np.rint(landmarks[list(LOWER_FACE), :2]).astype(np.int32))
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, hull, 255)
    mask = cv2.dilate(mask, np.ones((31, 31), np.uint8))
    rows = np.flatnonzero(mask.any(axis=1))
    mask[: round(rows[-1] - share * (rows[-1] - rows[0]))] = 0
    x = np.linspace(-1, 1, image.shape[1])[:, None]
    cloth = np.clip(np.asarray(colour) * (1 - 0.3 * x**2), 0, 255)[None]
    return np.where(mask[..., None] > 0, cloth, image).astype(np.uint8)


@pytest.fixture(scope="module")
def faces(face_model, applicant):
    found = {}
    for person in PEOPLE:
        image = applicant(f"people/{person}/neutral")
        face = face_model.scene(image, mask=False).face
        assert face is not None
        found[person] = image, face.landmarks
    return found


@pytest.mark.parametrize("person", PEOPLE)
def test_an_uncovered_face_is_seen(person, faces):
    image, landmarks = faces[person]
    assert seen(image, landmarks) > 0.9
    assert mouth_seen(canvas(image, landmarks)) == 1


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("colour", [*COLOURS, "skin"])
def test_cloth_of_any_colour_is_a_cover_even_that_of_skin(person, colour, faces):
    image, landmarks = faces[person]
    x, y = np.rint(landmarks[[50, 280], :2]).astype(int)[0]
    shade = image[y - 5 : y + 5, x - 5 : x + 5].reshape(-1, 3).mean(axis=0) if colour == "skin" else COLOURS[colour]
    assert seen(covered(image, landmarks, shade), landmarks) < 0.5


def test_the_higher_the_cloth_the_less_is_seen(faces):
    image, landmarks = faces["kwame"]
    values = [seen(covered(image, landmarks, COLOURS["blue"], share=s), landmarks) for s in (0, 0.25, 0.5, 0.75, 1)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9
    assert values[1] < 0.75  # the chin alone


@pytest.mark.parametrize("person", ["kwame", "mei", "jorge"])
def test_light_blur_and_size_do_not_cover_a_mouth(person, faces):
    image, landmarks = faces[person]
    for changed in (
        cv2.convertScaleAbs(image, alpha=0.4),
        cv2.convertScaleAbs(image, alpha=1.2),
        cv2.GaussianBlur(image, (0, 0), 3),
    ):
        assert mouth_seen(canvas(changed, landmarks)) == 1
    small = cv2.resize(image, None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
    after = moved(landmarks, np.array([[0.35, 0, 0], [0, 0.35, 0]]))
    assert seen(small, after) == pytest.approx(seen(image, landmarks), abs=0.05)


def with_fingers(image, landmarks, share):
    """Four fingers of the person's own colour from the picture's left over this share of the mouth, a gap between two of them along the lips."""
    out = image.astype(np.float32)
    x, y = np.rint(landmarks[280, :2]).astype(int)
    skin = image[y - 5 : y + 5, x - 5 : x + 5].reshape(-1, 3).mean(axis=0)
    right, left, line = landmarks[61, 0], landmarks[291, 0], landmarks[[13, 14], 1].mean()
    wide = float(left - right)
    thick = 0.2 * wide
    rows = np.arange(image.shape[0], dtype=np.float32)[:, None]
    for finger in range(-2, 2):
        off = (rows - line) / thick - finger - 0.5
        shade = np.where(np.abs(off) <= 0.5, np.clip(1.02 - 2.2 * off**2, 0.4, 1.02), 0)
        part = slice(round(float(right - 0.7 * wide)), round(float(right + share * wide)))
        covered = np.repeat(shade > 0, part.stop - part.start, axis=1)[..., None]
        out[:, part] = np.where(covered, skin * shade[..., None], out[:, part])
    return np.clip(cv2.GaussianBlur(out, (0, 0), 1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("person", PEOPLE)
def test_fingers_are_no_mouth_though_they_are_skin_and_have_lines_between_them(person, faces):
    image, landmarks = faces[person]
    for share in (0.4, 1.0):
        assert seen(with_fingers(image, landmarks, share), landmarks) < 0.6


def test_overlit_skin_is_no_cover_but_a_white_mask_is_one(faces):
    image, landmarks = faces["mei"]
    bright = cv2.convertScaleAbs(image, alpha=1.35)
    assert seen(bright, landmarks) > 0.6
    assert seen(covered(bright, landmarks, (255, 255, 255)), landmarks) < 0.5


def test_an_open_mouth_is_seen(applicant, face_model):
    for name in ("anna_smile_teeth", "amara_smile_teeth", "jorge_mouth_open"):
        image = applicant(f"variations/{name}")
        assert mouth_seen(canvas(image, face_model.scene(image, mask=False).face.landmarks)) == 1


def test_a_mirror_changes_nothing(faces):
    image, landmarks = faces["jorge"]
    before = mouth_seen(canvas(covered(image, landmarks, COLOURS["beige"]), landmarks))
    flipped = np.ascontiguousarray(covered(image, landmarks, COLOURS["beige"])[:, ::-1])
    after = landmarks.copy()
    after[:, 0] = image.shape[1] - after[:, 0]
    for right, left in ((33, 263), (133, 362), (61, 291)):
        after[[right, left]] = after[[left, right]]
    for edge in ((78, 308), (191, 415), (80, 310), (81, 311), (82, 312), (95, 324), (88, 318), (178, 402), (87, 317)):
        after[list(edge)] = after[list(edge[::-1])]
    assert mouth_seen(canvas(flipped, after)) == pytest.approx(before, abs=0.1)


def test_a_colourless_face_is_covered_or_not_judged(faces):
    image, landmarks = faces["anna"]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert "colour" in lower_face(canvas(grey, landmarks))
    assert seen(covered(grey, landmarks, COLOURS["white"]), landmarks) < 0.5
