"""The stream of pictures, cut and garbled in every way: whole pictures come through, nothing is kept without bound."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.mjpeg import MAX_HEAD, PictureDecoder, read_boundary

NAME = b"virtualbooth"


def jpeg(size: int, seed: int = 1) -> bytes:
    return b"\xff\xd8" + random.Random(seed).randbytes(size) + b"\xff\xd9"


def part(body: bytes, *, length: int | None = -1, line_end: bytes = b"\r\n", dashes: bytes = b"--") -> bytes:
    lines = [dashes + NAME, b"Content-Type: image/jpeg"]
    if length is not None:
        lines.append(b"Content-length:  %d" % (len(body) if length < 0 else length))
    return line_end.join([*lines, b"", body, b""])


def found(*pieces: bytes) -> list[bytes]:
    decoder = PictureDecoder(NAME)
    return [picture for piece in pieces for picture in decoder.feed(piece)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_a_picture_is_given_with_its_last_byte_at_every_split():
    stream = part(jpeg(40))
    for at in range(len(stream)):
        assert found(stream[:at], stream[at:]) == [jpeg(40)]
    assert found(*bytewise(stream)) == [jpeg(40)]
    decoder = PictureDecoder(NAME)
    assert decoder.feed(stream[: -len(b"\r\n")]) == [jpeg(40)]


def test_glued_pictures_come_in_order():
    assert found(part(jpeg(30, 1)) + part(jpeg(50, 2))) == [jpeg(30, 1), jpeg(50, 2)]


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("dashes", [b"--", b"----", b"\r\n--"])
def test_without_a_length_the_next_boundary_ends_the_picture(line_end, dashes):
    stream = b"".join(part(jpeg(30, seed), length=None, line_end=line_end, dashes=dashes) for seed in (1, 2, 3))
    assert found(*bytewise(stream)) == [jpeg(30, 1), jpeg(30, 2)]


def test_a_cut_picture_costs_no_other():
    cut = part(jpeg(60)[:20], length=64)
    assert found(cut + part(jpeg(30, 2))) == [jpeg(60)[:20], jpeg(30, 2)]
    assert found(*bytewise(cut + part(jpeg(30, 2)))) == [jpeg(60)[:20], jpeg(30, 2)]


def test_a_head_that_never_ends_is_given_up():
    assert found(b"--" + NAME + bytes(MAX_HEAD + 10), part(jpeg(9))) == [jpeg(9)]
    assert found(b"--" + NAME + b"\r\nContent-Ty" + part(jpeg(9))) == [jpeg(9)]


@pytest.mark.parametrize("length", [0, 999_999_999])
def test_a_length_that_cannot_be_is_no_picture(length):
    assert found(part(b"", length=length), part(jpeg(9))) == [jpeg(9)]


@given(st.lists(st.binary(max_size=200), max_size=4), st.lists(st.integers(1, 50), max_size=60))
def test_noise_between_pictures_hides_none(noise: list[bytes], sizes: list[int]):
    stream = b"".join(each.replace(b"--", b"") + b"\r\n" + part(jpeg(70, at)) for at, each in enumerate(noise))
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    assert found(*pieces, stream) == [jpeg(70, at) for at in range(len(noise))]


@given(st.lists(st.one_of(st.binary(max_size=400), st.just(b"--" + NAME), st.just(b"\r\n\r\n")), max_size=40))
def test_it_never_raises_and_keeps_no_noise(pieces: list[bytes]):
    decoder = PictureDecoder(NAME)
    for piece in pieces:
        decoder.feed(piece)


def test_noise_is_not_kept():
    decoder = PictureDecoder(NAME)
    for _ in range(100):
        assert decoder.feed(bytes(10_000)) == []
    assert len(decoder._buffer) < len(NAME) + 2


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("multipart/x-mixed-replace; boundary=virtualbooth", b"virtualbooth"),
        ('multipart/x-mixed-replace;boundary="--my boundary"', b"my boundary"),
        ("Multipart/X-Mixed-Replace; charset=x; Boundary=--b", b"b"),
        ("multipart/x-mixed-replace", None),
        ("multipart/x-mixed-replace; boundary=--", None),
        ("text/html; boundary=x", None),
        ("image/jpeg", None),
        ("", None),
    ],
)
def test_the_boundary_is_read_from_the_content_type(content_type, name):
    assert read_boundary(content_type) == name
