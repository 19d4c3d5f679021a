"""Encoded pictures from a camera: only whole ones of a known type and size are decoded."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.errors import CameraPictureError
from hardware.pictures import MAX_PIXELS, decode, read_header

PIXELS = np.random.default_rng(1).integers(0, 255, (24, 40, 3), np.uint8)


def encoded(suffix: str, pixels: np.ndarray = PIXELS) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


JPEG, PNG = encoded(".jpg"), encoded(".png")


def test_a_png_comes_back_pixel_by_pixel_and_is_not_lossy():
    header, pixels = decode(PNG)
    assert (header.format, header.width, header.height, header.lossy) == ("PNG", 40, 24, False)
    assert np.array_equal(pixels, PIXELS)


def test_a_jpeg_is_told_as_lossy():
    header, pixels = decode(JPEG)
    assert (header.format, header.lossy, pixels.shape) == ("MJPG", True, (24, 40, 3))


def test_padding_behind_a_jpeg_is_no_harm():
    assert decode(JPEG + b"\0" * 20)[1].shape == (24, 40, 3)


@given(st.integers(0, len(JPEG) - 3))
def test_a_cut_jpeg_is_refused_not_filled(size: int):
    with pytest.raises(CameraPictureError):
        decode(JPEG[:size])


@given(st.integers(0, len(PNG) - 1))
def test_a_cut_png_is_refused_not_filled(size: int):
    with pytest.raises(CameraPictureError):
        decode(PNG[:size])


@given(st.integers(0, len(PNG) - 1), st.integers(1, 255))
def test_a_png_with_any_byte_changed_is_refused(at: int, flip: int):
    changed = bytearray(PNG)
    changed[at] ^= flip
    with pytest.raises(CameraPictureError):
        decode(bytes(changed))


def test_a_bomb_is_refused_by_its_header():
    bomb = bytearray(JPEG)
    start = bomb.index(b"\xff\xc0") + 5
    bomb[start : start + 4] = (20_000).to_bytes(2, "big") * 2
    with pytest.raises(CameraPictureError, match=str(MAX_PIXELS // 1_000_000)):
        read_header(bytes(bomb))


@pytest.mark.parametrize("pixels", [PIXELS[:, :, 0], PIXELS.astype(np.uint16) * 256])
def test_a_png_that_is_not_8_bit_colour_is_refused(pixels: np.ndarray):
    with pytest.raises(CameraPictureError, match="24-bit"):
        decode(encoded(".png", pixels))


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda rest: b"\xff\xd8" + rest + b"\xff\xd9")))
def test_anything_else_raises_nothing_but_our_error(data: bytes):
    with contextlib.suppress(CameraPictureError):
        decode(data)
