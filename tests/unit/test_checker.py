"""The checking thread: newest frame only, jobs first, and it never dies of a picture."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import cv2
import numpy as np
import pytest
import zxingcpp

from booth.attempt import judge_burst
from booth.check_photo import Wishes, check_photo
from booth.checker import draw_overlay, open_checker
from booth.errors import CheckerStoppedError
from booth.events import Watch
from capture.frames import Frame
from validation.check import judge
from validation.errors import ModelFailedError
from validation.image import ImageFacts
from validation.profile import load_profile
from validation.report import Series

DEMO = load_profile("demo")


@pytest.fixture(scope="module")
def anna(applicants):
    picture = cv2.imread(str(applicants / "stills" / "anna" / "neutral.jpg"))
    return cv2.resize(picture, (960, 1280), interpolation=cv2.INTER_AREA)


def frame(pixels, sequence=1, at_ns=None):
    return Frame(pixels.copy(), time.monotonic_ns() if at_ns is None else at_ns, sequence, "PNG", lossy=False)


class Ears:
    """What the checker tells."""

    def __init__(self):
        self.live, self.codes, self.troubles = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()

    def open(self):
        return open_checker(DEMO, self.live.put_nowait, self.codes.put_nowait, self.troubles.put_nowait)


async def heard(queue):
    return await asyncio.wait_for(queue.get(), 30)


async def test_frames_become_reports_and_a_still_sitter_becomes_still(anna):
    ears = Ears()
    async with ears.open() as checker:
        checker.still_size = (960, 1280)
        assert await heard(ears.troubles) is None
        checker.offer(frame(anna))
        checker.watch(Watch.FACES)
        motions, at_ns = [], 10**9
        for sequence in range(1, 6):
            at_ns += 66_000_000
            checker.offer(frame(cv2.resize(anna, (600, 800)), sequence, at_ns))
            live = await heard(ears.live)
            assert live.at_ns == at_ns, "a frame that was offered before the watch was dropped"
            motions.append(live.motion)
        assert live.report.compliant
        assert motions[0] is None
        assert motions[-1] < 0.05
        for sequence, pause_ns in ((6, 700_000_000), (7, 1_400_000_000), (8, 1_600_000_000)):
            at_ns += pause_ns
            checker.offer(frame(cv2.resize(anna, (600, 800)), sequence, at_ns))
            motions.append((await heard(ears.live)).motion)
        assert max(motions[5:7]) < 0.05, "a slow camera's sitter becomes still too"
        assert motions[7] is None
        assert 0.3 < live.overlay.oval.centre_x < 0.7
        assert len(live.overlay.crop) == 4
        checker.offer(frame(np.zeros((800, 600, 3), np.uint8), 9))
        nobody = await heard(ears.live)
        assert nobody.motion is None
        assert nobody.overlay.crop == ()
        assert not nobody.report.compliant


async def test_a_burst_is_judged_the_best_chosen_and_the_stills_overwritten(anna):
    ears = Ears()
    empty = np.full_like(anna, 120)
    frames = (frame(anna, 1, 100), frame(anna, 2, 200), frame(empty, 3, 300))
    async with ears.open() as checker:
        attempt = await checker.run(lambda model: judge_burst(frames, DEMO, model))
    assert [candidate.report.compliant for candidate in attempt.candidates] == [True, True, False]
    assert attempt.best is attempt.candidates[1], "of equals the most recent"
    assert attempt.best.portrait.shape == (800, 622, 3)
    assert attempt.report.crop.scale <= 1
    assert attempt.best.light.evenness_pct > 50
    assert attempt.candidates[2].portrait is None
    assert attempt.jpeg.startswith(b"\xff\xd8")
    assert not any(still.pixels.any() for still in frames)
    attempt.wipe()
    assert not attempt.best.portrait.any()


def test_a_visit_judges_its_still_as_booth_check_judges_the_same_pixels_from_a_file(anna, face_model, tmp_path):
    photo = tmp_path / "still.png"
    cv2.imwrite(str(photo), anna)
    attempt = judge_burst((frame(anna),), DEMO, face_model)
    checked = check_photo(Wishes(profile="demo", crop=True), face_model, photo)
    assert attempt.report.model_dump_json() == checked.report.model_dump_json()
    series = Series(pitch_deg=(1.0,) * 5, relaxed=())
    attempt = judge_burst((frame(anna),), DEMO, face_model, series)
    again = judge(
        attempt.best.portrait,
        face_model.scene(attempt.best.portrait),
        DEMO,
        judged="crop",
        notes=attempt.report.notes,
        crop=attempt.report.crop,
        source=ImageFacts("PNG", lossy=False, exif_orientation=1, bits=8, colour="rgb"),
        series=attempt.report.series,
    )
    assert again == attempt.report


async def test_after_forgetting_no_picture_and_no_motion_is_kept(anna):
    ears = Ears()
    async with ears.open() as checker:
        assert await heard(ears.troubles) is None
        checker.watch(Watch.FACES)
        at_ns = 10**9
        for sequence in range(4):
            picture = frame(cv2.resize(anna, (600, 800)), sequence, at_ns + sequence * 66_000_000)
            ghost = weakref.ref(picture)
            checker.offer(picture)
            await heard(ears.live)
        assert checker._trail
        del picture
        checker.watch(Watch.NOTHING)
        await checker.forget()
        assert not checker._trail
        gc.collect()
        assert ghost() is None
        await checker.forget()


async def test_a_model_that_cannot_forget_is_loaded_anew_and_then_has_forgotten(monkeypatch):
    ears = Ears()
    async with ears.open() as checker:
        assert await heard(ears.troubles) is None
        with monkeypatch.context() as patch:
            patch.setattr("booth.checker.FaceModel.forget", broken)
            await asyncio.wait_for(checker.forget(), 30)
        assert isinstance(await heard(ears.troubles), ModelFailedError)
        assert await heard(ears.troubles) is None


def broken(_):
    raise ModelFailedError("The face model did not start anew.")


async def test_codes_are_read_from_the_preview():
    drawn = zxingcpp.create_barcode("DEMO-2026-000017", zxingcpp.BarcodeFormat.QRCode)
    code = np.asarray(zxingcpp.write_barcode_to_image(drawn, scale=4))
    picture = np.full((800, 600, 3), 200, np.uint8)
    picture[300 : 300 + code.shape[0], 200 : 200 + code.shape[1]] = code[..., None] if code.ndim == 2 else code
    ears = Ears()
    async with ears.open() as checker:
        checker.watch(Watch.CODES)
        checker.offer(frame(picture))
        assert await heard(ears.codes) == "DEMO-2026-000017"


async def test_a_job_that_fails_tells_its_owner_and_the_thread_goes_on(anna):
    ears = Ears()
    async with ears.open() as checker:
        with pytest.raises(ZeroDivisionError):
            await checker.run(lambda _: 1 // 0)
        assert await checker.run(lambda _: 42) == 42


async def test_a_failed_model_is_told_and_loaded_again():
    def fail(_):
        raise ModelFailedError("The face model did not answer.")

    ears = Ears()
    async with ears.open() as checker:
        assert await heard(ears.troubles) is None
        with pytest.raises(ModelFailedError):
            await checker.run(fail)
        assert isinstance(await heard(ears.troubles), ModelFailedError)
        assert await heard(ears.troubles) is None
        assert await checker.run(lambda _: 42) == 42


async def test_a_picture_that_breaks_a_library_ends_nothing(monkeypatch, anna):
    def breaks(*_, **__):
        raise cv2.error("an assertion deep inside")

    ears = Ears()
    async with ears.open() as checker:
        assert await heard(ears.troubles) is None
        checker.watch(Watch.FACES)
        with monkeypatch.context() as patch:
            patch.setattr("booth.checker.LiveAssessor.assess", breaks)
            checker.offer(frame(anna))
            assert isinstance(await heard(ears.troubles), cv2.error)
        assert await heard(ears.troubles) is None
        assert await checker.run(lambda _: 42) == 42


async def test_a_frame_without_pixels_is_passed_over(anna):
    ears = Ears()
    async with ears.open() as checker:
        assert await heard(ears.troubles) is None
        checker.watch(Watch.FACES)
        checker.offer(frame(np.zeros((0, 0, 3), np.uint8)))
        assert await checker.run(lambda _: 42) == 42
        checker.offer(frame(anna))
        assert (await heard(ears.live)).report.findings


async def test_jobs_that_wait_when_the_booth_closes_are_told():
    ears = Ears()
    async with ears.open() as checker:
        checker.stop()
        with pytest.raises(CheckerStoppedError):
            await checker.run(lambda _: 42)


def test_without_a_face_the_oval_stands_in_the_middle():
    overlay = draw_overlay(None, (600, 800), (960, 1280), DEMO)
    assert overlay.oval.centre_x == 0.5
    assert 0.3 < overlay.eye_line_y < 0.5
    assert 0 < overlay.oval.radius_x < 0.5
