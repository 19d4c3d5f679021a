"""The rule table on rendered people: neutral portraits pass, each labelled fault breaks the rule it should."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest

from booth.messages import Messages, known_languages
from capture.portrait import crop_facts, cut, plan_crop
from validation.check import assess_live, check, judge
from validation.errors import ProfileUnknownError
from validation.face import Face, FaceBox, Scene
from validation.report import Level, Report, Verdict
from validation.rules import RULES, load_profile, profile_names, text_keys

PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
PROMISED = (
    *("face.single", "geometry.inter_eye", "geometry.head_height", "geometry.vertical", "geometry.horizontal"),
    *("pose.roll", "pose.yaw", "pose.pitch", "eyes.open", "face.lower_visible", "mouth.closed"),
    *("light.even", "background.uniform", "light.exposure", "image.sharp", "image.size"),
)
# Fault, the rule it breaks, the verdict, and the advice.
FAULTS = (
    ("ingrid_second_person", "face.single", "fail", "advice.one_person"),
    ("mei_too_far", "geometry.head_height", "fail", "advice.closer"),
    ("jorge_off_centre", "geometry.horizontal", "fail", "advice.right"),
    ("mei_roll+5", "pose.roll", "warn", "advice.tilt_head_right"),
    ("mei_roll+15", "pose.roll", "fail", "advice.tilt_head_right"),
    ("mei_roll-15", "pose.roll", "fail", "advice.tilt_head_left"),
    ("anna_yaw+10", "pose.yaw", "fail", "advice.turn_head_right"),
    ("anna_yaw-10", "pose.yaw", "fail", "advice.turn_head_left"),
    ("anna_yaw+25", "pose.yaw", "fail", "advice.turn_head_right"),
    ("anna_yaw-25", "pose.yaw", "fail", "advice.turn_head_left"),
    ("kwame_pitch+20", "pose.pitch", "fail", "advice.chin_down"),
    ("kwame_pitch-10", "pose.pitch", "fail", "advice.chin_up"),
    ("kwame_pitch-20", "pose.pitch", "fail", "advice.chin_up"),
    ("anna_eyes_closed", "eyes.open", "fail", "advice.open_eyes"),
    ("jorge_eyes_closed", "eyes.open", "fail", "advice.open_eyes"),
    ("kwame_one_eye_closed", "eyes.open", "fail", "advice.open_eyes"),
    ("jorge_mouth_open", "mouth.closed", "fail", "advice.close_mouth"),
    ("anna_smile_teeth", "mouth.closed", "fail", "advice.close_mouth"),
    ("amara_smile_teeth", "mouth.closed", "fail", "advice.close_mouth"),
    ("jorge_side_light", "light.even", "warn", "advice.light_problem"),
    ("jorge_side_light", "light.shadows", "warn", "advice.light_problem"),
    ("mei_side_light", "light.shadows", "warn", "advice.light_problem"),
    ("ingrid_top_light_only", "light.shadows", "warn", "advice.light_problem"),
    ("kwame_backlit", "light.shadows", "warn", "advice.light_problem"),
    ("kwame_backlit", "light.underexposed", "warn", "advice.light_problem"),
    ("jorge_side_light", "light.sides", "warn", "advice.light_problem"),
    ("mei_side_light", "light.sides", "warn", "advice.light_problem"),
    ("kwame_backlit", "light.even", "fail", "advice.light_problem"),
    ("anna_bg_pattern", "background.uniform", "fail", "advice.background_problem"),
    ("anna_bg_pattern", "background.one_colour", "warn", "advice.background_problem"),
    ("jorge_bg_shadow", "background.one_colour", "warn", "advice.background_problem"),
    ("jorge_bg_shadow", "background.shadow", "warn", "advice.background_problem"),
    ("ingrid_bg_dark", "background.colour", "warn", "advice.background_problem"),
    ("ingrid_bg_dark", "background.lightness", "warn", "advice.background_problem"),
    ("ingrid_bg_dark", "background.contrast", "warn", "advice.background_problem"),
    ("mei_background_light_off", "background.lightness", "warn", "advice.background_problem"),
    ("ingrid_second_person", "background.objects", "fail", "advice.background_problem"),
    ("anna_colour_cast", "light.natural_colour", "warn", "advice.light_problem"),
    ("ingrid_mask", "light.natural_colour", "not_assessed", "advice.uncover_face"),
    ("ingrid_mask", "face.lower_visible", "fail", "advice.uncover_face"),
    ("jorge_mouth_covered", "face.lower_visible", "fail", "advice.uncover_face"),
    ("kwame_sunglasses", "eyes.open", "not_assessed", "advice.uncover_face"),
    ("amara_dark", "light.exposure", "fail", "advice.light_problem"),
    ("amara_dark", "light.even", "not_assessed", "advice.light_problem"),
    ("anna_dark", "light.exposure", "warn", "advice.light_problem"),
    ("amara_dark", "light.underexposed", "fail", "advice.light_problem"),
    ("anna_dark", "light.underexposed", "fail", "advice.light_problem"),
    ("anna_dark", "light.grey_levels", "fail", "advice.light_problem"),
    ("anna_ambient_only", "light.underexposed", "fail", "advice.light_problem"),
    ("ingrid_overexposed", "light.overexposed", "fail", "advice.light_problem"),
    ("ingrid_overexposed", "light.hot_spots", "fail", "advice.light_problem"),
    ("ingrid_overexposed", "background.lightness", "warn", "advice.background_problem"),
    ("kwame_overexposed", "light.overexposed", "warn", "advice.light_problem"),
    ("kwame_overexposed", "background.lightness", "warn", "advice.background_problem"),
    ("ingrid_overexposed", "light.exposure", "warn", "advice.light_problem"),
    ("kwame_overexposed", "light.exposure", "pass", "advice.none"),
    ("kwame_defocus_6", "image.sharp", "fail", "advice.camera_problem"),
)


def portrait(image, profile, model) -> Report:
    face = model.scene(image, mask=False).face
    plan = plan_crop(face.landmarks, (face.width, face.height), (profile.width_px, profile.height_px), profile.crop)
    return check(cut(image, plan), profile, model, judged="crop", crop=crop_facts(plan))


@pytest.mark.parametrize("person", PEOPLE)
def test_neutral_people_in_full_light_pass_every_rejecting_rule(person, applicant, demo_profile, face_model):
    report = portrait(applicant(f"people/{person}/neutral"), demo_profile, face_model)
    assert report.compliant, report.blocking
    assert (report.judged, report.width, report.height) == ("crop", 622, 800)


@pytest.mark.parametrize("person", PEOPLE)
def test_the_live_judgement_of_a_frame_agrees_with_the_portrait_cut_from_it(
    person, applicant, demo_profile, face_model
):
    image = applicant(f"people/{person}/neutral")
    live = assess_live(image, face_model.scene(image), demo_profile)
    cropped = portrait(image, demo_profile, face_model)
    assert live.compliant
    for rule, tolerance in (("geometry.inter_eye", 8), ("geometry.head_height", 2), ("geometry.vertical", 1)):
        assert live.finding(rule).value == pytest.approx(cropped.finding(rule).value, abs=tolerance)
    for rule, tolerance in (("pose.yaw", 2.5), ("pose.pitch", 2.5), ("eyes.open", 1.5), ("light.even", 3)):
        assert live.finding(rule).value == pytest.approx(cropped.finding(rule).value, abs=tolerance)


@pytest.mark.parametrize(("fault", "rule", "verdict", "advice"), FAULTS, ids=[f"{f[0]}-{f[1]}" for f in FAULTS])
def test_a_labelled_fault_breaks_its_rule_and_gets_the_right_advice(
    fault, rule, verdict, advice, applicant, demo_profile, face_model
):
    image = applicant(f"variations/{fault}")
    report = assess_live(image, face_model.scene(image), demo_profile)
    found = report.finding(rule)
    assert (found.verdict.value, found.advice) == (verdict, advice), found
    if verdict in {"fail", "not_assessed"}:
        assert not report.compliant


def test_too_near_asks_to_move_back(applicant, demo_profile, face_model):
    close = applicant("variations/amara_too_close")[200:1130, 120:840]
    found = assess_live(close, face_model.scene(close), demo_profile).finding("geometry.head_height")
    assert (found.verdict, found.advice) == (Verdict.FAIL, "advice.back")


def test_a_preview_is_judged_by_the_pixels_of_the_still(applicant, demo_profile, face_model):
    still = applicant("people/anna/neutral")
    preview = cv2.resize(still, (600, 800), interpolation=cv2.INTER_AREA)
    scene = face_model.scene(preview)
    found = assess_live(preview, scene, demo_profile, still_size=(960, 1280))
    whole = assess_live(still, face_model.scene(still), demo_profile)
    assert found.compliant
    for rule in ("geometry.inter_eye", "geometry.head_height", "geometry.vertical", "geometry.horizontal"):
        assert found.finding(rule).value == pytest.approx(whole.finding(rule).value, rel=0.03)


def relit(folder, **levels):
    """A neutral sitter with each lamp at its level (the recombination written in the pictures' own README)."""

    def linear(pixels):
        x = pixels.astype(np.float64) / 255
        return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)

    total = 0
    for lamp in ("key_left", "key_right", "fill_top", "background", "ambient"):
        total = total + levels.get(lamp, 1.0) * linear(cv2.imread(str(folder / f"pass_{lamp}.jpg"))) / 2.0
    x = np.clip(total, 0, 1)
    return np.rint(np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055) * 255).astype(np.uint8)


@pytest.mark.parametrize("person", ["anna", "kwame", "jorge"])
def test_a_dead_lamp_shows_in_the_measured_light(person, applicants, demo_profile, face_model):
    folder = applicants / "people" / person

    def light(**levels):
        report = check(relit(folder, **levels), demo_profile, face_model)
        return report.finding("light.sides").value, report.finding("light.exposure").value

    sides, exposure = light()
    assert sides > 95
    for lamp in ("key_left", "key_right"):
        one_side, darker = light(**{lamp: 0})
        assert one_side < sides - 10
        assert darker < 0.85 * exposure
    assert light(key_left=0, key_right=0)[1] < 0.65 * exposure
    assert light(fill_top=0)[1] < 0.85 * exposure


def relit_at(folder, level):
    return relit(folder, **dict.fromkeys(("key_left", "key_right", "fill_top", "background", "ambient"), level))


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("dead", [None, "key_left", "key_right", "fill_top"])
def test_no_skin_tone_under_working_or_dead_lamps_is_called_far_too_dark(
    person, dead, applicants, demo_profile, face_model
):
    report = check(
        relit(applicants / "people" / person, **({dead: 0} if dead else {})), demo_profile, face_model, judged="crop"
    )
    assert report.finding("light.exposure").verdict is Verdict.PASS
    assert report.finding("light.even").value is not None


@pytest.mark.parametrize("person", PEOPLE)
def test_a_nearly_black_portrait_is_refused_and_its_light_is_not_called_even(
    person, applicants, demo_profile, face_model
):
    report = check(relit_at(applicants / "people" / person, 0.05), demo_profile, face_model)
    exposure = report.finding("light.exposure")
    assert (exposure.verdict, exposure.level, exposure.advice) == (Verdict.FAIL, Level.REJECT, "advice.light_problem")
    for rule in ("light.even", "light.sides", "face.lower_visible"):
        assert report.finding(rule).verdict is Verdict.NOT_ASSESSED
        assert "dark" in report.finding(rule).reason
    assert not report.compliant


@pytest.mark.parametrize("person", PEOPLE)
def test_a_burnt_out_face_is_refused(person, applicant, demo_profile, face_model):
    image = applicant(f"people/{person}/neutral")
    white = cv2.addWeighted(image, 0.04, np.full_like(image, 255), 0.96, 0)  # hardly anything left of the face
    report = judge(white, face_model.scene(image), demo_profile)
    assert report.finding("light.exposure").verdict is Verdict.FAIL
    assert not report.compliant


def covered(image, landmarks, how, colour):
    """The eyes under something drawn over them, at the scale of the face."""
    right, left = (landmarks[list(pair), :2].mean(axis=0) for pair in ((33, 133), (362, 263)))
    apart = float(np.linalg.norm(left - right))
    drawn = image.copy()
    if how == "bar":
        low, high = (right + left) / 2 - (apart, 0.2 * apart), (right + left) / 2 + (apart, 0.2 * apart)
        cv2.rectangle(drawn, low.astype(int).tolist(), high.astype(int).tolist(), colour, -1)
    else:
        for eye in (right, left)[: 1 if how == "patch" else 2]:
            cv2.circle(drawn, eye.astype(int).tolist(), round(0.33 * apart), colour, -1)
    return drawn


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("how", ["bar", "discs", "patch"])
@pytest.mark.parametrize("colour", [(15, 15, 15), (255, 255, 255), (90, 120, 160)], ids=["black", "white", "tan"])
def test_eyes_under_a_bar_or_disc_are_not_open_eyes(person, how, colour, applicant, demo_profile, face_model):
    image = applicant(f"people/{person}/neutral")
    hidden = covered(image, face_model.scene(image, mask=False).face.landmarks, how, colour)
    report = check(hidden, demo_profile, face_model)
    assert not report.compliant
    found = report.finding("eyes.open")
    assert found.verdict in {Verdict.NOT_ASSESSED, Verdict.FAIL}
    if found.verdict is Verdict.NOT_ASSESSED and report.finding("face.single").value:
        assert (found.reason.startswith("no eye is seen"), found.advice) == (True, "advice.uncover_face")


@pytest.mark.parametrize("quality", [50, 70, 95])
def test_dark_glasses_do_not_turn_into_eyes_by_compression(quality, applicant, demo_profile, face_model):
    image = cv2.resize(applicant("variations/kwame_sunglasses"), (600, 800), interpolation=cv2.INTER_AREA)
    packed = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    assert check(packed, demo_profile, face_model).finding("eyes.open").verdict is Verdict.NOT_ASSESSED


@pytest.mark.parametrize("person", PEOPLE)
def test_gross_blur_is_refused_and_people_are_sharp_with_room_to_spare(person, applicant, demo_profile, face_model):
    image = applicant(f"people/{person}/neutral")
    scene = face_model.scene(image)
    low = demo_profile.rules["image.sharp"].low
    assert judge(image, scene, demo_profile).finding("image.sharp").value > low + 15
    for sigma in (8, 15):
        blurred = judge(cv2.GaussianBlur(image, (0, 0), sigma), scene, demo_profile)
        assert blurred.finding("image.sharp").verdict is Verdict.FAIL
        assert not blurred.compliant


@pytest.mark.parametrize("frame", [3, 10, 12, 20, 23])
def test_a_moving_sitter_in_the_preview_has_seen_eyes_and_a_sharp_face(frame, applicant, demo_profile, face_model):
    preview = cv2.resize(applicant(f"session/frame_{frame:02}"), (600, 800), interpolation=cv2.INTER_AREA)
    report = assess_live(preview, face_model.scene(preview), demo_profile, still_size=(960, 1280))
    assert {report.finding(rule).verdict for rule in ("eyes.open", "image.sharp", "light.exposure")} == {Verdict.PASS}


@pytest.mark.parametrize("person", PEOPLE)
def test_a_second_face_of_a_fifth_of_the_height_counts(person, applicant, demo_profile, face_model):
    image = applicant(f"people/{person}/neutral")
    face = face_model.scene(image, mask=False).face
    image = cut(image, plan_crop(face.landmarks, (960, 1280), (622, 800), demo_profile.crop))
    small = cv2.resize(image, None, fx=0.22, fy=0.22, interpolation=cv2.INTER_AREA)
    image[5 : 5 + small.shape[0], 5 : 5 + small.shape[1]] = small
    found = check(image, demo_profile, face_model).finding("face.single")
    assert (found.verdict, found.advice) == (Verdict.FAIL, "advice.one_person")


def test_no_face_is_a_failed_rule_and_nothing_else_passes(demo_profile, face_model):
    wall = np.full((800, 622, 3), 190, np.uint8)
    for report in (check(wall, demo_profile, face_model), assess_live(wall, face_model.scene(wall), demo_profile)):
        assert not report.compliant
        first = next(
            found for found in report.blocking if found.rule != "image.upright"
        )  # nobody can tell which way up
        assert (first.rule, first.verdict, first.advice) == ("face.single", Verdict.FAIL, "advice.no_face")
        of_the_file = {"image.size", "image.aspect", "image.colour_space"}
        others = {f.rule: f.verdict for f in report.findings if f.rule not in {"face.single", *of_the_file}}
        assert set(others.values()) == {Verdict.NOT_ASSESSED}
        assert all(f.reason for f in report.findings if f.verdict is Verdict.NOT_ASSESSED)


def test_a_grey_face_is_not_passed_as_uncovered(applicant, demo_profile, face_model):
    grey = cv2.cvtColor(cv2.cvtColor(applicant("people/anna/neutral"), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    found = check(grey, demo_profile, face_model).finding("face.lower_visible")
    assert found.verdict is Verdict.NOT_ASSESSED
    assert "colour" in found.reason


def test_without_the_outline_the_background_is_not_assessed(applicant, demo_profile, face_model):
    image = applicant("people/anna/neutral")
    report = judge(image, face_model.scene(image, mask=False), demo_profile)
    assert report.finding("background.uniform").verdict is Verdict.NOT_ASSESSED
    assert not report.compliant


def test_the_same_pixels_give_the_same_report(applicant, demo_profile, face_model):
    image = applicant("people/kwame/neutral")
    first = check(image, demo_profile, face_model).model_dump_json()
    check(applicant("variations/anna_yaw+25"), demo_profile, face_model)
    assert check(image, demo_profile, face_model).model_dump_json() == first


def test_a_report_survives_json(applicant, demo_profile, face_model):
    report = check(applicant("people/mei/neutral"), demo_profile, face_model)
    again = Report.model_validate_json(report.model_dump_json())
    assert again == report
    assert json.loads(report.model_dump_json())["findings"][0]["verdict"] == "pass"


@pytest.mark.parametrize("profile", profile_names())
def test_each_profile_limits_every_promised_rule_with_a_source(profile):
    loaded = load_profile(profile)
    assert set(PROMISED) <= set(loaded.rules)
    assert set(loaded.rules) <= {rule.id for rule in RULES}
    for limits in loaded.rules.values():
        assert len(limits.source) > 10
    assert loaded.rules["light.exposure"].level is Level.REJECT


def test_an_unknown_profile_names_the_known_ones():
    with pytest.raises(ProfileUnknownError, match="demo, eu-ees, icao"):
        load_profile("atlantis")


@pytest.mark.parametrize("language", known_languages())
def test_every_rule_and_advice_has_its_words(language):
    messages = Messages.load(language)
    assert all(messages.text(key) for key in text_keys())


def test_a_small_print_on_clothes_does_not_count_and_a_face_beside_does(applicant, demo_profile, neutral_landmarks):
    image = applicant("people/anna/neutral")
    face = Face(neutral_landmarks, 960, 1280)
    below = face.box.y + face.box.height + 10
    cases = (
        (0.003, 10, Verdict.PASS),
        (0.02, 10, Verdict.FAIL),
        (0.2, 10, Verdict.FAIL),
        (0.03, below, Verdict.PASS),
        (0.06, below, Verdict.FAIL),
    )
    for share, top, verdict in cases:
        side = math.sqrt(face.box.area * share)
        scene = Scene(faces=(face,), other_faces=(FaceBox(10, top, side, side),))
        assert judge(image, scene, demo_profile).finding("face.single").verdict is verdict
