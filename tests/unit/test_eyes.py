"""Eyes and eyewear: labelled renders get the right verdict, measures follow what is drawn over the eyes, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench import fault_covers as covers
from tests.bench.fault_camera import to_linear, to_srgb
from tests.bench.portraits import PEOPLE, portrait
from tests.mirrored_mesh import mirrored
from validation import eye_cover, eyes, eyewear
from validation.canvas import canvas
from validation.check import judge
from validation.context import Judgement
from validation.face import Face, Scene
from validation.geometry import head_pose, moved
from validation.measured import Measured
from validation.report import Verdict
from validation.rules import RULES, load_profile

EYE_RULES = tuple(rule for rule in RULES if rule.id.startswith("eyes."))
FAULTS = (
    ("kwame_sunglasses", "eyes.dark_lenses", Verdict.FAIL),
    ("kwame_sunglasses", "eyes.glasses", Verdict.WARN),
    ("kwame_sunglasses", "eyes.visible", Verdict.WARN),
    ("kwame_sunglasses", "eyes.gaze", Verdict.NOT_ASSESSED),
    ("jorge_glasses", "eyes.glasses", Verdict.WARN),
    ("jorge_glasses", "eyes.reflection", Verdict.PASS),
    ("jorge_glasses", "eyes.frames", Verdict.PASS),
    ("jorge_glasses", "eyes.dark_lenses", Verdict.PASS),
    ("jorge_glasses_glare", "eyes.glasses", Verdict.WARN),
    ("jorge_glasses_glare", "eyes.reflection", Verdict.FAIL),
    ("jorge_glasses_glare", "eyes.visible", Verdict.WARN),
    ("jorge_glasses_glare", "eyes.red", Verdict.NOT_ASSESSED),
    ("mei_glasses_thick", "eyes.glasses", Verdict.WARN),
    ("mei_glasses_thick", "eyes.frames", Verdict.WARN),
    ("mei_hair_over_eye", "eyes.hair", Verdict.WARN),
    ("mei_hair_over_eye", "eyes.visible", Verdict.WARN),
    ("mei_hair_over_eye", "eyes.dark_lenses", Verdict.PASS),
    ("anna_red_eye", "eyes.red", Verdict.WARN),
    ("jorge_red_eye", "eyes.red", Verdict.WARN),
    ("amara_gaze_left", "eyes.gaze", Verdict.WARN),
    ("anna_eyes_closed", "eyes.open", Verdict.FAIL),
    ("anna_eyes_closed", "eyes.gaze", Verdict.NOT_ASSESSED),
    ("anna_eyes_closed", "eyes.dark_lenses", Verdict.PASS),
    ("kwame_one_eye_closed", "eyes.open", Verdict.FAIL),
    ("anna_ambient_only", "eyes.dark_lenses", Verdict.NOT_ASSESSED),
    ("ingrid_overexposed", "eyes.reflection", Verdict.NOT_ASSESSED),
)


@pytest.fixture(scope="module")
def icao():
    return load_profile("icao")


@pytest.fixture(scope="module")
def people(applicant, face_model):
    return {name: portrait(name, applicant(f"people/{name}/neutral"), face_model) for name in ("anna", "kwame", "mei")}


@pytest.fixture(scope="module")
def anna(people):
    return people["anna"]


def findings(image, model, profile):
    return {f.rule: f for f in judge(image, model.scene(image), profile).findings if f.rule.startswith("eyes.")}


def values(image, landmarks) -> dict[str, float]:
    """Every number of the two eyes, of landmarks that are known."""
    face = canvas(image, landmarks)
    zones = eyes.eye_zones(face)
    frame = eyewear.rims(face)
    spots = eyewear.reflections(zones)
    return {
        "lenses": eyewear.lens_light(zones) * 100,
        "spots": sum(float((spot > 0).mean()) for spot in spots) * 50,
        "glasses": frame.strength * 100,
        "frames": eyewear.heaviness(face, zones, frame)[0] * 100,
        "hair": eye_cover.strands(face).strength * 100,
        "gaze": eyes.gaze_deg(face.points, zones, head_pose(landmarks).yaw_deg),
        "red": eyes.red_share(zones)[0] * 100,
        "covered": eye_cover.covered(zones, seen=(True, True), spots=spots, dark_lenses=False)[0] * 100,
        "contrast": eyes.eye_contrast(face) * 100,
    }


@pytest.mark.parametrize("person", PEOPLE)
def test_neutral_people_pass_every_rule_of_the_eyes(person, applicant, face_model, icao):
    found = findings(applicant(f"people/{person}/neutral"), face_model, icao)
    assert {rule: f.verdict for rule, f in found.items()} == dict.fromkeys(found, Verdict.PASS)
    assert len(found) == len(EYE_RULES)


@pytest.mark.parametrize(("fault", "rule", "verdict"), FAULTS, ids=[f"{f[0]}-{f[1]}" for f in FAULTS])
def test_a_labelled_fault_shows_in_its_rule(fault, rule, verdict, applicant, face_model, icao):
    found = findings(applicant(f"variations/{fault}"), face_model, icao)[rule]
    assert found.verdict is verdict, found
    assert (found.reason is None) == (found.value is not None)
    if verdict in {Verdict.WARN, Verdict.FAIL}:
        assert found.evidence is not None


@given(scale=st.floats(0.2, 20), x=st.floats(0, 500))
def test_the_zone_is_the_box_of_the_lids_and_a_twentieth_of_the_eye_distance(neutral_landmarks, scale, x):
    points = moved(neutral_landmarks, np.array([[scale, 0, x], [0, scale, 10]]))
    apart = np.hypot(*(points[[33, 133], :2].mean(axis=0) - points[[362, 263], :2].mean(axis=0)))
    for box, ring in zip(eyes.evz_boxes(points), eyes.LID_RINGS, strict=True):
        lids = points[list(ring), :2]
        margin = np.floor(apart / 20)
        assert box == (*np.floor(lids.min(axis=0) - margin), *np.ceil(lids.max(axis=0) + margin))


@settings(max_examples=10)
@given(
    scale=st.sampled_from([0.8, 1.0, 1.3]),
    angle=st.sampled_from([-10, 0, 7]),
    mirror=st.booleans(),
    fault=st.sampled_from(["none", "glasses", "lenses", "red", "gaze"]),
)
def test_the_measures_do_not_depend_on_size_tilt_or_side(anna, scale, angle, mirror, fault):
    drawn = {
        "none": lambda: anna.pixels,
        "glasses": lambda: covers.glasses(anna, 4),
        "lenses": lambda: covers.tinted_lenses(anna, 0.3),
        "red": lambda: covers.red_eye(anna, 0.6),
        "gaze": lambda: covers.gaze(anna, 14),
    }[fault]()
    before = values(drawn, anna.landmarks)
    height, width = drawn.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    turn[:, 2] += np.array([width, height]) / 2 * (scale - 1) + 80 * scale
    size = (round((width + 160) * scale), round((height + 160) * scale))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.warpAffine(drawn, turn, size, flags=kind, borderMode=cv2.BORDER_REPLICATE)
    # warpAffine counts from pixel centres, landmarks from corners.
    shift = turn.copy()
    shift[:, 2] += 0.5 - turn[:, :2] @ np.array([0.5, 0.5])
    points = moved(anna.landmarks, shift)
    if mirror:
        image, points = np.ascontiguousarray(image[:, ::-1]), mirrored(points, size[0])
    after = values(image, points)
    for name, tolerance in {
        "lenses": 3,
        "spots": 1,
        "glasses": 4,
        "frames": 8,
        "hair": 5,
        "gaze": 2,
        "red": 10,
        "covered": 5,
        "contrast": 15,
    }.items():
        assert after[name] == pytest.approx(before[name], abs=tolerance), (name, before, after)


@pytest.mark.parametrize("person", ["anna", "kwame", "mei"])
def test_darker_lenses_measure_darker(person, people):
    seen = people[person]
    shares = [
        values(covers.tinted_lenses(seen, share), seen.landmarks)["lenses"] for share in (1, 0.8, 0.6, 0.4, 0.2, 0.05)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 26
    assert shares[-2] < 22


def coloured_lenses(seen, transmitted, reflected):
    """Lenses that let through a share of blue, green and red, twice, and reflect some white light themselves."""
    drawing = np.zeros(seen.pixels.shape[:2], np.uint8)
    for corners in ((33, 133), (362, 263)):
        x, y = seen.point(*corners)
        centre = (round(x), round(y + 0.05 * seen.eye_distance))
        axes = (round(0.4 * seen.eye_distance), round(0.29 * seen.eye_distance))
        cv2.ellipse(drawing, centre, axes, 0, 0, 360, 255, -1)
    weight = cv2.GaussianBlur(drawing, (0, 0), 1.0)[..., None] / 255
    light = to_linear(seen.pixels)
    return to_srgb(light * (1 - weight) + weight * (light * np.square(transmitted) + reflected))


TINTS = {"yellow": (0.15, 0.7, 0.8), "blue": (0.7, 0.45, 0.25), "red": (0.2, 0.2, 0.75), "green": (0.3, 0.6, 0.3)}


@pytest.mark.parametrize("tint", TINTS)
@pytest.mark.parametrize("person", ["anna", "kwame", "mei"])
def test_coloured_lenses_take_the_skin_s_colour_away(person, tint, people):
    seen = people[person]
    free, behind = (
        eyewear.lens_tint(eyes.eye_zones(canvas(image, seen.landmarks)))
        for image in (seen.pixels, coloured_lenses(seen, TINTS[tint], 0.0))
    )
    assert behind < eyewear.TINTED_BELOW < free - 0.2


@pytest.mark.parametrize("transmitted", [0.3, 0.5])
def test_what_a_grey_lens_reflects_shows_on_dark_skin(transmitted, people, icao):
    seen = people["kwame"]
    image = coloured_lenses(seen, (transmitted,) * 3, 0.024)
    outline = np.zeros(image.shape[:2], np.uint8)
    scene = Scene((Face(seen.landmarks, image.shape[1], image.shape[0]),), (), outline)
    assert judge(image, scene, icao).finding("eyes.visible").verdict is Verdict.WARN


@pytest.mark.parametrize("gain", [(1, 0.85, 0.7), (0.7, 0.9, 1), (0.5, 0.5, 0.5)])
@pytest.mark.parametrize("person", ["anna", "kwame", "mei"])
def test_the_colour_of_the_light_is_no_tint_of_lenses(person, gain, people):
    seen = people[person]
    lit = to_srgb(to_linear(seen.pixels) * np.array(gain, np.float32))
    assert eyewear.lens_tint(eyes.eye_zones(canvas(lit, seen.landmarks))) > eyewear.TINTED_BELOW + 0.1


@pytest.mark.parametrize("person", ["anna", "kwame", "mei"])
def test_redder_pupils_and_eyes_further_aside_measure_more(person, people):
    seen = people[person]
    red = [values(covers.red_eye(seen, share), seen.landmarks)["red"] for share in (0.2, 0.4, 0.6, 0.8)]
    assert red == sorted(red)
    assert red[1] > 8
    angles = []
    for aside in (0, 6, 12, 18):
        points = seen.landmarks.copy()
        points[468:, 0] += aside / 100 * abs(points[33, 0] - points[133, 0])
        angles.append(values(covers.gaze(seen, aside) if aside else seen.pixels, points)["gaze"])
    assert angles[1:] == sorted(angles[1:])  # nobody looks exactly straight
    assert angles[0] < 8 < angles[2]


def test_a_glint_in_the_iris_is_no_reflection_and_a_spot_over_the_lids_is(anna):
    centre = anna.landmarks[468, :2]
    radius = np.linalg.norm(anna.landmarks[469, :2] - centre)

    def spot(size, dx=0.0):
        image = anna.pixels.copy()
        middle = np.rint(centre + np.array([dx * radius, 0])).astype(int).tolist()
        cv2.circle(image, middle, round(size * radius), (255,) * 3, -1)
        return values(image, anna.landmarks)["spots"]

    assert spot(0.25) == 0
    assert 2 < spot(0.8) < spot(1.2) < spot(1.6)
    assert spot(0.7, dx=1.6) > 1


@pytest.mark.parametrize("brightness", [0.3, 0.6, 1.4])
def test_the_light_does_not_make_lenses_or_reflections_of_free_eyes(brightness, people):
    for seen in people.values():
        image = np.clip(255 * ((seen.pixels / 255.0) ** 2.2 * brightness) ** (1 / 2.2), 0, 255).astype(np.uint8)
        found = values(image, seen.landmarks)
        assert found["lenses"] > 26
        assert found["spots"] == 0
        assert found["red"] == 0


def test_a_shadow_over_one_eye_is_no_pair_of_dark_lenses(anna):
    image = anna.pixels.copy()
    image[:, : image.shape[1] // 2] //= 3
    assert values(image, anna.landmarks)["lenses"] > 26


def test_eyes_cut_off_by_the_picture_are_not_judged(anna, icao):
    for dx, dy in ((-260, 0), (260, 0), (0, -380), (-5000, 0)):
        points = moved(anna.landmarks, np.array([[1.0, 0, dx], [0, 1, dy]]))
        face = canvas(anna.pixels, points)
        assert eyes.eye_zones(face) is None
        judged = Judgement(anna.pixels, scene(points, anna.pixels), icao)
        answers = {rule.id: rule.measure(judged) for rule in EYE_RULES}
        for rule in ("eyes.dark_lenses", "eyes.open", "eyes.reflection", "eyes.gaze", "eyes.red", "eyes.visible"):
            assert answers[rule] == "the face lies outside the picture"


def scene(landmarks, image) -> Scene:
    return Scene(faces=(Face(landmarks.astype(np.float32), image.shape[1], image.shape[0]),), other_faces=())


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_flat_picture_shows_no_open_eyes(level, anna, icao):
    image = np.full_like(anna.pixels, level)
    judged = Judgement(image, scene(anna.landmarks, image), icao)
    answers = {rule.id: rule.measure(judged) for rule in EYE_RULES}
    for rule in ("eyes.open", "eyes.gaze", "eyes.red"):
        assert isinstance(answers[rule], str)
    for answer in answers.values():
        assert isinstance(answer, str) or np.isfinite(answer.value)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0, 3, 40, 400]),
    x=st.integers(-900, 900),
    y=st.integers(-900, 900),
    scale=st.sampled_from([0.02, 0.3, 1.0, 6.0]),
)
def test_any_pixels_and_landmarks_get_numbers_or_reasons(anna, icao, seed, spread, x, y, scale):
    chance = np.random.default_rng(seed)
    image = chance.integers(0, 256, anna.pixels.shape, dtype=np.uint8)
    points = moved(anna.landmarks, np.array([[scale, 0, x], [0, scale, y]]))
    points[:, :2] += chance.normal(0, spread * scale + 1e-3, (len(points), 2)).astype(np.float32)
    judged = Judgement(image, scene(points, image), icao)
    for rule in EYE_RULES:
        answer = rule.measure(judged)
        assert isinstance(answer, str) or np.isfinite(answer.value), rule.id
        if isinstance(answer, Measured) and answer.evidence is not None:
            answer.evidence()


def test_the_same_picture_gives_the_same_findings(anna, face_model, icao):
    drawn = covers.glasses(anna, 4)
    found = scene(anna.landmarks, drawn)
    assert judge(drawn, found, icao) == judge(drawn.copy(), replace(found), icao)
