"""Finding faces: one, several, small, none; still pictures without memory, video with told ages; everything released."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from validation.errors import ModelFailedError, NotJudgeableError
from validation.face import MASK_EVERY, OTHERS_EVERY, FaceModel


def test_eyes_are_found_where_the_labels_say(face_model, applicant):
    face = face_model.scene(applicant("people/kwame/neutral"), mask=False).face
    assert face.landmarks.shape == (478, 3)
    assert face.landmarks[468, :2] == pytest.approx([375.0, 586.8], abs=6)
    assert face.landmarks[473, :2] == pytest.approx([584.9, 589.4], abs=6)


def test_two_people_are_two_faces_and_the_nearer_comes_first(face_model, applicant):
    scene = face_model.scene(applicant("variations/ingrid_second_person"))
    assert len(scene.faces) + len(scene.other_faces) == 2
    assert scene.face.landmarks[1, 0] < 480


def test_a_person_seen_twice_by_several_networks_is_one(face_model, applicant):
    for name in (
        "people/anna/neutral",
        "variations/mei_roll+15",
        "variations/mei_too_far",
        "variations/amara_too_close",
    ):
        scene = face_model.scene(applicant(name), mask=False)
        assert len(scene.faces) + len(scene.other_faces) == 1


@pytest.mark.parametrize("share", [0.09, 0.14, 0.2])
def test_a_small_face_on_the_wall_beside_the_head_is_found_once(face_model, applicant, share):
    image = applicant("people/kwame/neutral").copy()
    other = applicant("people/mei/neutral")
    top = face_model.scene(image, mask=False).face.box
    tall = round(share * top.height / face_model.scene(other, mask=False).face.box.height * 1280)
    small = cv2.resize(other, (tall * 3 // 4, tall), interpolation=cv2.INTER_AREA)
    image[300 : 300 + tall, 30 : 30 + tall * 3 // 4] = small
    scene = face_model.scene(image, mask=False)
    assert len(scene.faces) == 1
    assert len(scene.other_faces) == 1
    box = scene.other_faces[0]
    assert box.x < 30 + tall * 3 // 4
    assert box.height == pytest.approx(share * top.height, rel=0.6)


def test_a_pattern_on_the_wall_is_no_face(face_model, applicant):
    for name in ("variations/anna_bg_pattern", "variations/jorge_bg_shadow", "variations/amara_noisy"):
        assert face_model.scene(applicant(name), mask=False).other_faces == ()


def test_a_small_face_gets_a_second_look(face_model, applicant):
    page = np.full((2000, 1500, 3), 200, np.uint8)
    page[1200:1520, 1000:1240] = cv2.resize(applicant("people/anna/neutral"), (240, 320), interpolation=cv2.INTER_AREA)
    face = face_model.scene(page, mask=False).face
    assert face is not None
    assert face.landmarks[1, :2] == pytest.approx([1120, 1365], abs=12)


def test_the_mask_covers_the_person_and_has_the_pictures_size(face_model, applicant):
    image = applicant("people/anna/neutral")
    mask = face_model.scene(image).person_mask
    assert mask.shape == image.shape[:2]
    assert mask[700, 480] > 230
    assert mask[50, 50] < 26


def test_a_large_picture_gives_landmarks_in_its_own_pixels(face_model, applicant):
    image = applicant("people/anna/neutral")
    small = face_model.scene(image, mask=False).face.landmarks
    large = face_model.scene(cv2.resize(image, (3840, 5120)), mask=False).face.landmarks
    assert np.abs(large[:, :2] / 4 - small[:, :2]).max() < 8


def test_a_model_that_forgot_keeps_nothing_of_the_last_picture(applicant):
    image = applicant("people/anna/neutral")
    with FaceModel(video=True) as model:
        for _ in range(2):
            model.scene(image)
        assert model.scene(image).mask_age > 0
        model.forget()
        assert model._outline._known is None
        assert model._others._known is None
        kept = {name: packet for graph in model._graphs() for name, packet in graph._graph_outputs.items()}
        assert all(packet.is_empty() for name, packet in kept.items() if name != "segmentation_mask"), kept
        afresh = model.scene(image)
        assert (afresh.mask_age, afresh.others_age) == (0, 0)
        assert afresh.face is not None


def test_a_noisy_wall_has_nobody(face_model):
    wall = np.random.default_rng(3).integers(0, 256, (640, 480, 3), dtype=np.uint8)
    scene = face_model.scene(wall)
    assert (scene.face, scene.other_faces) == (None, ())


def settled(model, image):
    """The scene of a frame, after which what is looked for beside the mesh has its answer: as at a camera's pace."""
    scene = model.scene(image)
    for look in (model._outline, model._others):
        if look._pending is not None:
            look._pending.exception(timeout=30)
    return scene


def test_video_follows_a_sitter_and_tells_how_old_its_side_looks_are(applicant):
    ages = []
    with FaceModel(video=True) as model:
        for number in range(8, 24):
            scene = settled(model, applicant(f"session/frame_{number:02d}"))
            assert len(scene.faces) == 1
            ages.append((scene.mask_age, scene.others_age))
    assert ages[0] == (0, 0)
    assert max(mask for mask, _ in ages) == MASK_EVERY - 1
    assert max(others for _, others in ages) == OTHERS_EVERY - 1


def test_video_notices_a_second_person(applicant):
    with FaceModel(video=True) as model:
        model.scene(applicant("people/ingrid/neutral"))
        seen = [settled(model, applicant("variations/ingrid_second_person")) for _ in range(OTHERS_EVERY + 1)]
    assert len(seen[-1].faces) + len(seen[-1].other_faces) == 2


def test_a_closed_model_says_so():
    model = FaceModel()
    with pytest.raises(ModelFailedError, match="with block"):
        model.scene(np.zeros((100, 100, 3), np.uint8))


def test_opening_says_nothing_on_the_terminal(capfd, applicant):
    with FaceModel() as model:
        model.scene(applicant("people/anna/neutral"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((100, 100, 3), np.float32),
        np.zeros((100, 100), np.uint8),
        np.zeros((0, 100, 3), np.uint8),
        np.zeros((9, 9, 4), bool),
    ],
)
def test_what_is_no_colour_picture_of_eight_bits_is_refused(face_model, pixels):
    with pytest.raises(NotJudgeableError, match="8 bits"):
        face_model.scene(pixels)
