"""Rules about the picture and its file, through the judgement: what a file, a crop and bare pixels each can tell."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from capture.portrait import crop_facts, cut, plan_crop
from tests.bench.portraits import portrait
from validation.check import check, judge
from validation.image import read_image
from validation.report import Level, Verdict

PASS, WARN, FAIL, OPEN = Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.NOT_ASSESSED


@pytest.fixture(scope="module")
def mei(applicant, face_model):
    return portrait("mei", applicant("people/mei/neutral"), face_model)


@pytest.fixture(scope="module")
def judged(face_model, demo_profile):
    """The report on a file's bytes."""

    def report(data: bytes):
        pixels, facts = read_image(data)
        return judge(pixels, face_model.scene(pixels), demo_profile, source=facts)

    return report


def jpeg(pixels, quality=98) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def test_a_good_file_breaks_no_rule_about_pictures(mei, judged):
    report = judged(jpeg(mei.pixels))
    verdicts = {f.rule: f.verdict for f in report.findings if f.rule.startswith("image.")}
    assert verdicts.pop("image.upscaled") is OPEN
    assert set(verdicts.values()) == {PASS}, verdicts


def test_a_lossless_file_was_not_compressed_too_far(mei, judged):
    finding = judged(cv2.imencode(".png", mei.pixels)[1].tobytes()).finding("image.compression")
    assert (finding.verdict, finding.reason) == (OPEN, "the file lost nothing in compression")


@pytest.mark.parametrize(("quality", "compression", "blocks"), [(98, PASS, PASS), (60, WARN, PASS), (12, WARN, WARN)])
def test_small_files_and_their_squares_warn(mei, judged, quality, compression, blocks):
    report = judged(jpeg(mei.pixels, quality))
    assert report.finding("image.compression").verdict is compression
    assert report.finding("image.blocks").verdict is blocks


def test_grey_files_are_refused(mei, judged):
    grey = judged(jpeg(cv2.cvtColor(mei.pixels, cv2.COLOR_BGR2GRAY)))
    assert grey.finding("image.colour_space").verdict is FAIL
    assert "greyscale picture" in read_image(jpeg(cv2.cvtColor(mei.pixels, cv2.COLOR_BGR2GRAY)))[1].notes


@pytest.mark.parametrize(("width", "verdict"), [(622, PASS), (618, PASS), (600, FAIL), (640, FAIL)])
def test_width_and_height_stand_as_the_profile_says(mei, judged, width, verdict):
    finding = judged(jpeg(cv2.resize(mei.pixels, (width, 800)))).finding("image.aspect")
    assert finding.verdict is verdict
    assert finding.value == pytest.approx(width / 622 * 100)


def test_coarse_squares_are_refused_and_finer_ones_pass(mei, judged):
    for block, verdict in ((1, PASS), (3, WARN), (6, FAIL)):
        small = cv2.resize(mei.pixels, (622 // block, 800 // block), interpolation=cv2.INTER_AREA)
        shown = cv2.resize(small, (622, 800), interpolation=cv2.INTER_NEAREST)
        assert judged(cv2.imencode(".png", shown)[1].tobytes()).finding("image.pixelated").verdict is verdict


def test_a_crop_and_pixels_without_a_file_are_never_held_up_by_rules_about_files(applicant, demo_profile, face_model):
    image = applicant("people/mei/neutral")
    face = face_model.scene(image, mask=False).face
    plan = plan_crop(face.landmarks, (960, 1280), (622, 800), demo_profile.crop)
    report = check(cut(image, plan), demo_profile, face_model, judged="crop", crop=crop_facts(plan))
    for finding in report.findings:
        if finding.rule.startswith("image."):
            assert finding.verdict is PASS or finding.level is not Level.REJECT, finding
    assert report.finding("image.compression").reason == "needs the file"
    assert report.finding("image.upscaled").value == pytest.approx(plan.scale * 100)
    assert report.finding("image.upscaled").verdict is PASS


def test_a_face_outside_the_picture_is_not_judged_for_its_detail(demo_profile, face_model, mei):
    report = judge(np.full((40, 40, 3), 200, np.uint8), face_model.scene(mei.pixels, mask=False), demo_profile)
    for rule in ("image.sharp", "image.motion", "image.noise", "image.pixelated", "image.blocks"):
        assert report.finding(rule).verdict is OPEN
