"""ENTTEC DMX USB Pro: golden bytes of the widget API, messages found in any stream, slots from fixture maps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.dmx import (
    LENGTHS,
    Label,
    Message,
    MessageDecoder,
    encode,
    encode_slots,
    fill_slots,
    read_parameters,
    read_serial_number,
)
from hardware.lights import FixtureMap

SERIAL = bytes.fromhex("7e 0a 04 00 78 56 34 02 e7")
PARAMETERS = bytes.fromhex("7e 03 05 00 44 01 09 01 28 e7")


def found(stream: bytes, sizes: list[int] | None = None) -> list[Message]:
    decoder, at, out = MessageDecoder(), 0, []
    for size in [*(sizes or []), len(stream)]:
        out += decoder.feed(stream[at : at + size])
        at += size
    return out + decoder.finish()


def test_messages_are_those_of_the_widget_api():
    assert encode(Message(Label.SERIAL, b"")) == bytes.fromhex("7e 0a 00 00 e7")
    assert encode(Message(Label.PARAMETERS, b"\0\0")) == bytes.fromhex("7e 03 02 00 00 00 e7")
    assert encode_slots(bytes(range(24))) == bytes.fromhex("7e 06 19 00 00") + bytes(range(24)) + b"\xe7"
    assert encode_slots(bytes(512))[:5] == bytes.fromhex("7e 06 01 02 00")


def test_answers_are_read_as_the_widget_means_them():
    serial, parameters = found(SERIAL + PARAMETERS)
    assert read_serial_number(serial.data) == "02345678"
    told = read_parameters(parameters.data)
    assert (told.firmware, told.rate_hz, round(told.break_us), round(told.mark_us)) == ("1.68", 40, 96, 11)
    assert read_serial_number(b"\xff" * 4) == "not programmed"


@pytest.mark.parametrize("slots", [0, 23, 513])
def test_other_numbers_of_slots_than_dmx_has_are_refused(slots: int):
    with pytest.raises(ValueError, match="24 to 512"):
        encode_slots(bytes(slots))


def test_a_head_that_promises_more_than_comes_does_not_hide_the_answer():
    assert found(bytes.fromhex("7e 05 00 02 11 22") + SERIAL) == [Message(10, SERIAL[4:8])]


def test_a_message_without_its_end_mark_is_none():
    assert found(SERIAL[:-1] + b"\0" + SERIAL) == [Message(10, SERIAL[4:8])]


def test_16_bit_lamps_get_coarse_and_fine_and_fixed_slots_stay():
    channels = {"key_left": FixtureMap(address=1, fine=2, fixed={3: 127}), "fill_top": FixtureMap(address=30)}
    slots, written = fill_slots(channels, {"key_left": 50.0, "fill_top": 50.0})
    assert len(slots) == 30
    assert (slots[0], slots[1], slots[2], slots[29]) == (0x80, 0x00, 127, 128)
    assert written["key_left"] == pytest.approx(50, abs=0.001)
    assert written["fill_top"] == pytest.approx(50.2, abs=0.01)


messages = st.sampled_from(sorted(LENGTHS)).flatmap(
    lambda label: st.builds(
        Message,
        st.just(int(label)),
        st.binary(min_size=LENGTHS[label].start, max_size=min(LENGTHS[label].stop - 1, 60)),
    )
)


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 20), max_size=40))
def test_messages_come_through_however_they_are_split(sent: list[Message], sizes: list[int]):
    assert found(b"".join(encode(each) for each in sent), sizes) == sent


@given(st.binary(max_size=80).map(lambda noise: noise.replace(b"\x7e", b"")), messages)
def test_noise_without_a_start_mark_hides_nothing(noise: bytes, sent: Message):
    assert found(noise + encode(sent)) == [sent]


@given(st.binary(max_size=40))
def test_whatever_comes_before_the_second_of_two_answers_is_found(noise: bytes):
    # A forged head may swallow what follows it up to an end mark at the right place; the same answer again is then found.
    answer = Message(10, SERIAL[4:8])
    assert answer in found(noise + SERIAL + SERIAL)


@given(st.lists(st.binary(max_size=40)))
def test_the_decoder_never_raises(pieces: list[bytes]):
    decoder = MessageDecoder()
    for piece in pieces:
        decoder.feed(b"\x7e\x03" + piece)
    decoder.finish()
