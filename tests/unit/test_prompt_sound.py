"""From a synthesiser's stream to a small file: what is read strictly, and what µ-law makes of it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.prompt_sound import LONGEST_S, MAX_BYTES, Sound, SoundRefusedError, mu_law, read_sound, write_sound
from tests.sounds import RATE, pcm, tone


def test_a_stream_with_unknown_lengths_is_read_to_its_end_and_its_silence_is_cut():
    quiet = np.zeros(RATE, np.int16)
    sound = read_sound(pcm(np.concatenate([quiet, tone(), quiet])))
    assert sound.rate_hz == RATE
    assert sound.seconds == pytest.approx(0.2 + 2 * 0.06, abs=0.01)
    known = read_sound(pcm(tone(), data_size=len(tone()) * 2, before=b"LIST" + struct.pack("<I", 3) + b"abc\0"))
    assert known.seconds == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"OggS" + bytes(100),
        pcm(tone(), form=(3, 1, 32)),
        pcm(tone(), form=(1, 2, 16)),
        pcm(tone(), rate=2_000_000_000),
        pcm(tone(), rate=0),
        pcm(np.zeros(RATE, np.int16)),
        pcm(tone())[:36],
        pcm(tone(), fmt_size=0xFFFFFFFF),
        pcm(tone(), fmt_size=4),
        b"RIFF\0\0\0\0WAVEdata" + struct.pack("<I", 400) + tone().tobytes(),
        pcm(np.full(int((LONGEST_S + 1) * 8000), 900, np.int16), rate=8000),
        bytes(MAX_BYTES + 1),
    ],
)
def test_what_is_no_prompt_is_refused(data):
    with pytest.raises(SoundRefusedError):
        read_sound(data)


@given(st.binary(max_size=200), st.integers(0, 60), st.binary(max_size=30))
def test_no_stream_gives_anything_but_a_sound_or_a_refusal(garbage, at, other):
    good = bytearray(pcm(tone(0.02)))
    good[at : at + len(other)] = other
    for data in (garbage, bytes(good)):
        try:
            sound = read_sound(data)
        except SoundRefusedError:
            continue
        assert 0 < sound.seconds <= LONGEST_S


def decoded(codes):
    """G.711 read back, straight from the standard's words."""
    code = ~codes.astype(np.int32) & 0xFF
    exponent, mantissa = (code >> 4) & 7, code & 15
    size = ((mantissa << 3) + 0x84 << exponent) - 0x84
    return np.where(code & 0x80, -size, size)


def test_mu_law_is_that_of_g711():
    # The ends and the middle, as every codec has them.
    known = {0: 0xFF, -1: 0x7F, 8: 0xFE, 32767: 0x80, -32768: 0x00, 1000: 0xCE, -1000: 0x4E}
    assert dict(zip(known, mu_law(np.array(list(known), np.int16)).tolist(), strict=True)) == known
    every = np.arange(-32768, 32768).astype(np.int16)
    error = np.abs(decoded(mu_law(every)) - np.clip(every.astype(int), -32635, 32635))
    assert (error <= np.maximum(np.abs(every.astype(int)) / 16, 8)).all()


def test_the_file_is_what_players_expect_and_the_same_for_the_same_samples():
    data = write_sound(Sound(tone(0.1), RATE))
    assert data == write_sound(Sound(tone(0.1), RATE))
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    assert struct.unpack("<HHIIHHH", data[20:38]) == (7, 1, RATE, RATE, 1, 8, 0)
    assert len(write_sound(Sound(tone()[:101], RATE))) % 2 == 0
    assert len(data) < len(tone(0.1)) + 80
