"""Reading a submitted picture: the right pixels, or one clear sentence; never a half picture, never a flood of memory."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from validation.errors import ImageTooLargeError, ImageUnreadableError, NotJudgeableError, ValidationError
from validation.icc import profile_name
from validation.image import read_image
from validation.image_header import read_header


def picture(width=90, height=120) -> np.ndarray:
    """A picture that shows every turn and mirror: a gradient with one red corner."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 1] = np.linspace(0, 200, width, dtype=np.uint8)
    pixels[:30, :20] = (0, 0, 255)
    return pixels


def encoded(kind: str, pixels=None, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((picture() if pixels is None else pixels)[..., ::-1]).save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_claiming(width: int, height: int) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + data + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "options", "name", "lossy"),
    [
        ("PNG", {}, "PNG", False),
        ("BMP", {}, "BMP", False),
        ("WEBP", {"lossless": True}, "WebP", False),
        ("JPEG", {"quality": 95}, "JPEG", True),
        ("JPEG", {"quality": 95, "progressive": True}, "JPEG", True),
        ("WEBP", {"quality": 95}, "WebP", True),
        ("JPEG2000", {}, "JPEG 2000", True),
        ("GIF", {}, "GIF", False),
    ],
)
def test_each_format_gives_the_picture(kind, options, name, lossy):
    pixels, facts = read_image(encoded(kind, **options))
    assert (facts.format, facts.lossy, facts.bits, facts.exif_orientation) == (name, lossy, 8, 1)
    assert pixels.shape == (120, 90, 3)
    assert np.abs(pixels.astype(int) - picture()).mean() < (0.01 if name in {"PNG", "BMP"} else 6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_turned_file_comes_out_upright(kind, orientation):
    turns = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: np.rot90,
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(turns[orientation](picture()))
    pixels, facts = read_image(encoded(kind, stored, exif=exif.tobytes(), quality=95))
    assert facts.exif_orientation == orientation
    assert pixels.shape == (120, 90, 3)
    assert np.abs(pixels.astype(int) - picture()).mean() < 6
    assert any("orientation" in note for note in facts.notes) == (orientation != 1)


def test_sixteen_bits_become_eight():
    deep = picture().astype(np.uint16) * 257
    pixels, facts = read_image(bytes(cv2.imencode(".png", deep)[1]))
    assert facts.bits == 16
    assert np.array_equal(pixels, picture())
    assert "16 bits per channel, judged at 8" in facts.notes


def test_greyscale_is_told():
    _, facts = read_image(bytes(cv2.imencode(".jpg", picture()[..., 1])[1]))
    assert facts.colour == "grey"
    assert "greyscale picture" in facts.notes


def test_cmyk_is_refused_with_the_remedy():
    buffer = io.BytesIO()
    Image.fromarray(picture()[..., ::-1]).convert("CMYK").save(buffer, "JPEG")
    with pytest.raises(NotJudgeableError, match=r"CMYK.*save it as an RGB picture"):
        read_image(buffer.getvalue())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused(kind):
    frames = [Image.fromarray(picture()[..., ::-1]), Image.fromarray(255 - picture())]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(NotJudgeableError, match="animation"):
        read_image(buffer.getvalue())


def test_a_bomb_is_refused_by_its_header():
    with pytest.raises(ImageTooLargeError, match="20000 x 20000 pixels, the checker takes up to 64 million"):
        read_image(png_claiming(20_000, 20_000))


def test_a_header_that_lies_about_its_data_is_damage():
    with pytest.raises(ImageUnreadableError, match=r"damaged|contradicts"):
        read_image(png_claiming(3000, 2000))


def test_a_single_pixel_holds_no_face():
    with pytest.raises(NotJudgeableError, match="1 x 1 pixels; no face can be judged below 64 x 64"):
        read_image(encoded("PNG", np.zeros((1, 1, 3), np.uint8)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"Dear booth, here is my photo.\n", "not a picture"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(100), "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"II*\0" + bytes(100), "TIFF"),
        (b"\xff\xd8\xff", "JPEG file is damaged"),
        (b"RIFF\x00\x00\x00\x00WAVE", "WebP file is damaged"),
    ],
)
def test_what_is_no_photo_is_told_in_one_sentence(data, words):
    with pytest.raises(ValidationError, match=words) as told:
        read_image(data)
    assert "\n" not in str(told.value)


def test_paths_that_are_no_files(tmp_path):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    secret = tmp_path / "nul\0name.jpg"
    for path, words in (
        (tmp_path / "missing.jpg", "no such file"),
        (tmp_path, "folder"),
        (pipe, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (secret, "cannot be opened"),
    ):
        with pytest.raises(ImageUnreadableError, match=words):
            read_image(path)


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path):
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(300_000_000)  # a hole: no bytes on the disk
    with pytest.raises(ImageTooLargeError, match="300 MB, the checker takes up to 100 MB"):
        read_image(huge)


WHOLE = {
    kind: encoded(kind, **options)
    for kind, options in (
        ("JPEG", {"quality": 80}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("JPEG2000", {}),
    )
}


@given(kind=st.sampled_from(sorted(WHOLE)), share=st.floats(0, 0.999))
def test_a_file_cut_off_anywhere_is_refused(kind, share):
    data = WHOLE[kind]
    with pytest.raises((ImageUnreadableError, NotJudgeableError)):
        read_image(data[: min(int(len(data) * share), len(data) - 3)])


@given(kind=st.sampled_from(sorted(WHOLE)), at=st.floats(0, 1), value=st.integers(0, 255), length=st.integers(1, 4))
def test_damage_gives_a_picture_or_our_own_error(kind, at, value, length):
    data = bytearray(WHOLE[kind])
    start = int(at * (len(data) - length))
    data[start : start + length] = bytes([value]) * length
    try:
        pixels, _ = read_image(bytes(data))
    except ValidationError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3


@given(
    st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"BM"])
)
def test_random_bytes_never_crash_the_header_reader(tail, magic):
    try:
        header = read_header(magic + tail)
    except ValidationError:
        return
    assert header.width > 0
    assert header.height > 0


def icc_profile(name: str, *, version: int) -> bytes:
    """The least an ICC profile needs to have a name."""
    if version == 2:
        tag = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name.encode() + b"\0"
    else:
        text = name.encode("utf-16-be")
        tag = b"mluc\0\0\0\0" + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(text), 28) + text
    return b"\0" * 128 + struct.pack(">I", 1) + struct.pack(">4sII", b"desc", 144, len(tag)) + tag


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize(("name", "srgb"), [("sRGB IEC61966-2.1", True), ("Display P3", False), ("Adobe RGB", False)])
def test_the_colour_profile_of_a_jpeg_is_named_and_held_against_srgb(name, srgb, version):
    jpeg = cv2.imencode(".jpg", np.full((80, 80, 3), 128, np.uint8))[1].tobytes()
    body = b"ICC_PROFILE\0\x01\x01" + icc_profile(name, version=version)
    facts = read_image(jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body + jpeg[2:])[1]
    assert facts.icc == name
    assert (facts.departures == ()) is srgb


def test_the_colour_profile_of_a_png_is_named():
    png = cv2.imencode(".png", np.full((80, 80, 3), 128, np.uint8))[1].tobytes()
    chunk = png_chunk(b"iCCP", b"any name\0\0" + zlib.compress(icc_profile("Display P3", version=4)))
    facts = read_image(png[:33] + chunk + png[33:])[1]
    assert facts.icc == "Display P3"
    assert facts.notes == ("source PNG, lossless", "colour profile Display P3, judged as sRGB")


@pytest.mark.parametrize("name", ["Anna Muster's MacBook", "Display P3 of Anna"])
def test_a_report_does_not_repeat_the_file_s_own_words(name):
    chunk = png_chunk(b"iCCP", b"any name\0\0" + zlib.compress(icc_profile(name, version=4)))
    png = cv2.imencode(".png", np.full((80, 80, 3), 128, np.uint8))[1].tobytes()
    facts = read_image(png[:33] + chunk + png[33:])[1]
    assert facts.notes[1] == "colour profile of another name, judged as sRGB"


@pytest.mark.parametrize("profile", [b"", b"\0" * 131, b"\xff" * 400, icc_profile("", version=4)[:150]])
def test_a_profile_that_cannot_be_read_has_no_name(profile):
    assert profile_name(profile) == "unnamed"


def test_compression_is_raw_size_over_file_size_and_only_of_files_that_lost_something():
    pixels = np.random.default_rng(1).integers(0, 255, (80, 80, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    assert read_image(jpeg)[1].compression_ratio == 80 * 80 * 3 / len(jpeg)
    assert read_image(cv2.imencode(".png", pixels)[1].tobytes())[1].compression_ratio is None


def test_a_grey_file_is_no_srgb_picture():
    grey = cv2.imencode(".jpg", np.full((80, 80), 128, np.uint8))[1].tobytes()
    assert read_image(grey)[1].departures == ("greyscale picture",)


def test_a_damaged_file_is_told_in_one_sentence_and_nothing_else(capfd):
    jp2 = bytearray(cv2.imencode(".jp2", picture(200, 200))[1].tobytes())
    del jp2[300:700]
    with pytest.raises(ImageUnreadableError):
        read_image(bytes(jp2))
    assert capfd.readouterr().err == ""
