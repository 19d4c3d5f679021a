"""WLED's JSON over serial: requests as the project documents them, answers found in any stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.lights import SegmentMap, step_of
from hardware.wled import MAX_ANSWER, AnswerDecoder, encode_colour, encode_levels, encode_question


def answer(brightness: dict[int, int], *, on: bool = True, master: int = 255, name: str = "WLED") -> bytes:
    segments = [{"id": number, "on": value > 0, "bri": value or 128} for number, value in brightness.items()]
    state = {"on": on, "bri": master, "seg": segments, "nl": {"on": False}}
    return json.dumps({"state": state, "info": {"ver": "0.15.0", "name": name}}).encode() + b"\r\n"


def found(stream: bytes, sizes: list[int] | None = None) -> list[dict[int, int]]:
    decoder, at, out = AnswerDecoder(), 0, []
    for size in [*(sizes or []), len(stream)]:
        out += decoder.feed(stream[at : at + size])
        at += size
    return [dict(one.brightness) for one in out]


def test_requests_are_the_documented_ones():
    assert encode_question() == b'{"v":true}\n'
    assert json.loads(encode_levels({1: 0, 0: 255})) == {
        "on": True,
        "bri": 255,
        "transition": 0,
        "seg": [{"id": 0, "on": True, "bri": 255}, {"id": 1, "on": False, "bri": 0}],
        "v": True,
    }
    place = SegmentMap(segment=2, colour=(1, 2, 3, 4), cct=127)
    assert json.loads(encode_colour(place)) == {
        "seg": [{"id": 2, "fx": 0, "col": [[1, 2, 3, 4]], "cct": 127}],
        "v": True,
    }


def test_a_request_fits_the_controllers_serial_input():
    assert len(encode_levels(dict.fromkeys(range(5), 255))) < 256
    assert len(encode_colour(SegmentMap(segment=31, cct=255))) < 256


@pytest.mark.parametrize(
    ("level", "step"), [(0, 0), (0.19, 0), (0.2, 1), (50, 128), (62.5, 159), (99.8, 254), (100, 255)]
)
def test_levels_round_to_the_nearest_step_halves_up(level: float, step: int):
    assert step_of(level, 255) == step


def test_a_segment_that_is_off_has_level_zero_whatever_its_brightness():
    assert found(answer({0: 0, 1: 200})) == [{0: 0, 1: 200}]


def test_the_master_dims_and_switches_every_segment():
    assert found(answer({0: 200}, master=128)) == [{0: 100}]
    assert found(answer({0: 200}, on=False)) == [{0: 0}]


def test_boot_text_before_the_first_answer_is_skipped():
    assert found(b"ets Jul 29 2019\r\nrst:0x1 {odd\r\nAda\r\n" + answer({0: 7})) == [{0: 7}]


def test_a_cut_answer_does_not_hide_the_next():
    whole = answer({0: 7})
    assert found(whole[: len(whole) // 2] + whole + whole) == [{0: 7}, {0: 7}]


def test_the_controllers_error_and_other_objects_are_no_answers():
    assert found(b'{"error":3}\r\n{"success":true}{"state":5,"info":{}}{"state":{"seg":[{"id":"x"}]},"info":{}}') == []


def test_names_in_other_scripts_are_read():
    one = AnswerDecoder().feed(
        json.dumps({"state": {"on": True, "bri": 1, "seg": []}, "info": {"name": "Küche"}}, ensure_ascii=False).encode()
    )
    assert one[0].info["name"] == "Küche"


def test_hostile_nesting_is_skipped():
    assert found(b'{"state":' * 20_000 + answer({0: 1})) == [{0: 1}]


def test_what_never_becomes_an_answer_is_forgotten():
    decoder = AnswerDecoder()
    for _ in range(40):
        decoder.feed(b'{"state":{"on":true,' + b"x" * 4000)
    assert len(decoder._text) <= MAX_ANSWER


levels = st.dictionaries(st.integers(0, 31), st.integers(0, 255), max_size=8)


@given(st.lists(levels, max_size=4), st.lists(st.integers(1, 40), max_size=60))
def test_answers_come_through_however_they_are_split(sent: list[dict[int, int]], sizes: list[int]):
    assert found(b"".join(answer(each) for each in sent), sizes) == sent


@given(st.binary(max_size=300), levels, st.lists(st.integers(1, 40), max_size=30))
def test_no_noise_hides_the_answer_behind_it(noise: bytes, sent: dict[int, int], sizes: list[int]):
    assert found(noise + b"\n" + answer(sent), sizes)[-1:] == [sent]


@given(st.lists(st.binary(max_size=100)))
def test_the_decoder_never_raises(pieces: list[bytes]):
    decoder = AnswerDecoder()
    for piece in pieces:
        decoder.feed(b'{"state":' + piece)
