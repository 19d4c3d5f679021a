"""The chip image fills its bytes and never exceeds them, shows what the portrait shows, is never larger, and tells how much it kept."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture import portrait as portraits
from capture.errors import EncodingFailedError
from capture.fidelity import psnr_db, ssim
from capture.portrait import ChipTarget, CropPlan, chip_plan, cut, encode_chip
from validation.profile import load_profile, profile_names

APPLICANTS = Path(__file__).resolve().parents[2] / "hardware" / "sim" / "applicants"
# Everybody and every variation as the virtual camera shows them; the passes of single lamps and the session's frames are the same people.
PICTURES = sorted(
    str(path.relative_to(APPLICANTS).with_suffix(""))
    for folder in ("people", "variations", "attacks", "stills")
    for path in (APPLICANTS / folder).rglob("*.jpg")
    if not path.stem.startswith("pass_")
)
# What a chip of these bytes keeps of a rendered face at least; the noisiest camera and a patterned wall keep less (docs/chip-image.md).
LEAST_PSNR_DB, LEAST_SSIM = 42.0, 0.98
HARD = {"amara_noisy": (31.0, 0.67), "anna_bg_pattern": (37.0, 0.96)}


def target(width: int = 622, height: int = 800, size: int = 17_000) -> ChipTarget:
    return ChipTarget(width_px=width, height_px=height, bytes=size, record="39794-5", source="a test")


def portrait_of(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """The middle of a picture in a portrait's shape and at most its size."""
    scale = min(width / pixels.shape[1], 1.0)
    source = pixels if scale == 1 else cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows = min(source.shape[0], round(source.shape[1] * height / width))
    top = (source.shape[0] - rows) // 2
    return np.ascontiguousarray(source[top : top + rows])


def smooth_noise(width: int, height: int, seed: int = 7) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def decoded(data: bytes) -> np.ndarray:
    """By the other reader of the house."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_there_are_pictures_of_everybody():
    assert len(PICTURES) > 60


@pytest.mark.parametrize("name", PICTURES)
def test_every_applicant_fills_the_chip_of_the_german_passport(applicant, name):
    chip = encode_chip(portrait_of(applicant(name), 1244, 1600), load_profile("de-gid-6.0").chip)
    facts = chip.facts
    assert 0.95 * 17_000 <= len(chip.data) == facts.bytes <= 17_000
    assert facts.fills_target
    assert (facts.target_width, facts.target_height, facts.target_bytes) == (622, 800, 17_000)
    least_psnr_db, least_ssim = HARD.get(Path(name).name, (LEAST_PSNR_DB, LEAST_SSIM))
    assert facts.psnr_db > least_psnr_db
    assert facts.ssim > least_ssim


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_fills_its_chip_and_shows_the_whole_portrait(applicant, profile):
    loaded = load_profile(profile)
    pixels = cv2.resize(
        applicant("stills/anna/neutral"), (loaded.width_px, loaded.height_px), interpolation=cv2.INTER_AREA
    )
    chip = encode_chip(pixels, loaded.chip)
    assert 0.95 * loaded.chip.bytes <= len(chip.data) <= loaded.chip.bytes
    assert decoded(chip.data).shape == (chip.height, chip.width, 3)
    assert chip.width == loaded.chip.width_px or chip.height == loaded.chip.height_px
    left, top = chip_plan(loaded.width_px, loaded.height_px, loaded.chip).corners()[0]
    assert 0 <= left * chip.facts.scale < 0.51
    assert 0 <= top * chip.facts.scale < 0.51


def test_what_the_facts_say_is_what_a_reader_finds(applicant):
    pixels = portrait_of(applicant("people/mei/neutral"), 1244, 1600)
    chip = encode_chip(pixels, target(413, 531, 15_000))
    small = cut(pixels, chip_plan(pixels.shape[1], pixels.shape[0], target(413, 531, 15_000)))
    seen = decoded(chip.data)
    assert (chip.facts.width, chip.facts.height) == (seen.shape[1], seen.shape[0]) == (chip.width, chip.height)
    # Two builds of the same decoder may round differently.
    assert chip.facts.psnr_db == pytest.approx(psnr_db(seen, small), abs=0.05)
    assert chip.facts.ssim == pytest.approx(ssim(seen, small), abs=0.002)
    assert chip.facts.rate == pytest.approx(small.size / len(chip.data), rel=0.02)
    assert "9/7" in chip.facts.encoder


def test_the_same_portrait_gives_the_same_bytes(applicant):
    pixels = portrait_of(applicant("people/kwame/neutral"), 622, 800)
    first, second = encode_chip(pixels, target()), encode_chip(pixels.copy(), target())
    assert first == second


def test_the_file_tells_the_picture_and_nothing_else(applicant):
    chip = encode_chip(portrait_of(applicant("people/anna/neutral"), 622, 800), target())
    kinds, at = [], 0
    while at < len(chip.data):
        length = int.from_bytes(chip.data[at : at + 4])
        kinds.append(chip.data[at + 4 : at + 8])
        at += length
    assert at == len(chip.data)
    assert kinds == [b"jP  ", b"ftyp", b"jp2h", b"jp2c"]
    assert b"OpenJPEG" not in chip.data
    assert b"\xff\x64" not in chip.data[:300]
    with PIL.Image.open(io.BytesIO(chip.data)) as file:
        assert (file.format, file.mode, file.info.get("comment")) == ("JPEG2000", "RGB", None)


def test_red_stays_red():
    pixels = smooth_noise(622, 800)
    pixels[:, :, 2] = 250
    seen = decoded(encode_chip(pixels, target(size=40_000)).data)
    assert seen[:, :, 2].mean() > 240 > seen[:, :, 0].mean() + 50


@given(
    width=st.integers(40, 400), height=st.integers(40, 400), box=st.tuples(st.integers(64, 300), st.integers(64, 300))
)
@settings(max_examples=60)
def test_a_chip_lies_in_its_box_keeps_the_shape_and_is_never_larger(width, height, box):
    plan = chip_plan(width, height, target(*box))
    assert plan.scale <= 1
    assert plan.out_width <= min(width, box[0])
    assert plan.out_height <= min(height, box[1])
    if width <= box[0] and height <= box[1]:
        assert (plan.scale, plan.out_width, plan.out_height) == (1, width, height)
    else:
        assert plan.out_width == box[0] or plan.out_height == box[1]
    # Nothing outside the portrait, and no more of it left out than the rounding of one side.
    corners = np.array(plan.corners())
    assert corners.min() >= -1e-9
    assert (corners.max(axis=0) <= np.array([width, height]) + 1e-9).all()
    ratio = max(width / height, height / width)
    assert (plan.scale * corners.min(axis=0) <= ratio / 4 + 1e-9).all()


def test_a_portrait_smaller_than_the_chip_keeps_its_pixels_and_says_so():
    pixels = smooth_noise(350, 450)
    chip = encode_chip(pixels, target())
    facts = chip.facts
    assert (facts.width, facts.height, facts.scale) == (350, 450, 1)
    assert (facts.target_width, facts.target_height) == (622, 800)
    assert facts.resampling == "none: the portrait's pixels"
    assert facts.fills_target
    assert decoded(chip.data).shape == (450, 350, 3)


def test_a_chip_of_half_the_size_is_the_one_that_the_camera_would_have_given():
    """Why the chip is made of the portrait's pixels: cut from the camera's at half the size it is the same picture."""
    camera = smooth_noise(1920, 2560)
    plan = CropPlan(2.5, 0.72, 960, 1280, 1244, 1600, 1920, 2560)
    direct = cut(camera, CropPlan(2.5, 0.36, 960, 1280, 622, 800, 1920, 2560))
    made = cut(cut(camera, plan), chip_plan(1244, 1600, target()))
    difference = np.abs(made.astype(int) - direct)
    assert psnr_db(made, direct) > 50
    assert difference.mean() < 0.5


def test_fine_stripes_of_the_portrait_do_not_alias():
    pixels = np.zeros((1063, 827, 3), dtype=np.uint8)
    pixels[:, ::2] = 255
    small = cut(pixels, chip_plan(827, 1063, target(413, 531)))
    assert small.std() < 20
    assert small.mean() == pytest.approx(127.5, abs=2)


@pytest.mark.parametrize("kind", ["grey", "gradient", "dot"])
def test_a_picture_with_nothing_to_tell_is_told_and_not_searched_for_ever(monkeypatch, kind):
    pixels = np.full((800, 622, 3), 128, dtype=np.uint8)
    if kind == "gradient":
        pixels[:] = np.linspace(0, 255, 622).astype(np.uint8)[None, :, None]
    if kind == "dot":
        pixels[400, 300] = 255
    asked = counted(monkeypatch)
    chip = encode_chip(pixels, target())
    assert len(asked) <= portraits.MOST_ENCODES
    assert chip.facts.fills_target is (len(chip.data) >= 16_150)
    assert kind == "gradient" or not chip.facts.fills_target
    if kind == "grey":
        assert (chip.facts.psnr_db, chip.facts.ssim) == (None, 1.0)
        assert len(asked) == 2


def counted(monkeypatch) -> list[float]:
    asked: list[float] = []
    encode = portraits._encoded_jp2

    def counting(picture, rate):
        asked.append(rate)
        return encode(picture, rate)

    monkeypatch.setattr(portraits, "_encoded_jp2", counting)
    return asked


def test_one_encode_is_enough_for_a_face(monkeypatch, applicant):
    asked = counted(monkeypatch)
    for name in ("people/anna/neutral", "people/kwame/neutral", "people/mei/neutral"):
        encode_chip(portrait_of(applicant(name), 622, 800), target())
    assert len(asked) == 3


@given(
    width=st.integers(64, 240),
    height=st.integers(64, 240),
    size=st.integers(5_000, 30_000),
    deviation=st.floats(0.1, 8),
    contrast=st.floats(0, 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_no_picture_exceeds_its_bytes(width, height, size, deviation, contrast, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels = cv2.convertScaleAbs(cv2.GaussianBlur(noise, (0, 0), deviation), alpha=contrast)
    chip = encode_chip(pixels, target(width, height, size))
    assert len(chip.data) <= size
    assert decoded(chip.data).shape == pixels.shape
    # One pass over a code block is up to 512 bytes, and the encoder takes whole passes: below 12 kB a step may be wider than the band.
    if 12_000 < size < pixels.size / 8 and deviation < 2 and contrast > 1:
        assert chip.facts.fills_target, "noise always has more to tell"


def test_bytes_for_which_the_picture_is_too_large_are_told():
    with pytest.raises(EncodingFailedError, match="90000 raw bytes does not fit into 300 bytes"):
        portraits._fill(lambda asked: bytes(301 + asked), 300, 90_000)


@given(jumps=st.lists(st.integers(50, 40_000), min_size=1, max_size=30), size=st.integers(5_000, 40_000))
def test_the_search_ends_and_takes_the_fullest_that_fits(jumps, size):
    """An encoder that only knows a few sizes, each at or below what is asked, or a little above."""
    sizes = sorted(jumps)
    given_out: list[int] = []

    def encode(asked: int) -> bytes:
        assert 1 <= asked <= 300_000
        below = [one for one in sizes if one <= 1.02 * asked]
        given_out.append(below[-1] if below else sizes[0])
        return bytes(given_out[-1])

    try:
        data, _ = portraits._fill(encode, size, 300_000)
    except EncodingFailedError:
        assert min(given_out) > size
    else:
        assert len(data) == max(one for one in given_out if one <= size)
    assert len(given_out) <= portraits.MOST_ENCODES


def test_the_encoder_gets_the_same_number_again_because_it_never_lets_go_of_it(monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 255, (120, 96, 3), dtype=np.uint8)
    picture, told = PIL.Image.fromarray(pixels), []
    save = PIL.Image.Image.save

    def noted(self, *arguments, **options):
        told.extend(options["quality_layers"])
        save(self, *arguments, **options)

    monkeypatch.setattr(PIL.Image.Image, "save", noted)
    sizes = {len(portraits._encoded_jp2(picture, rate)) for rate in np.linspace(5, 30, 100).tolist()}
    assert len(sizes) > 10, "each rate counts"
    assert len(told) == 100
    assert len(set(map(id, told))) == 1
