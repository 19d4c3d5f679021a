"""The virtual DMX widget reads ENTTEC messages byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.sim.dmx import DmxWidget
from hardware.sim.faults import Faults
from hardware.sim.scenarios import DMX_8_BIT, DMX_16_BIT


class Line:
    def __init__(self, channels=DMX_8_BIT):
        self.answers: list[bytes] = []
        self.faults = Faults()
        self.device = DmxWidget(self.answers.append, channels, self.faults)

    def say(self, *pieces: bytes) -> bytes:
        self.answers.clear()
        for piece in pieces:
            self.device.receive(piece)
        return b"".join(self.answers)


@pytest.fixture
def line():
    return Line()


def dmx(*values: int, channels: int = 24) -> bytes:
    data = bytes((0, *values)).ljust(channels + 1, b"\0")
    return b"\x7e\x06" + len(data).to_bytes(2, "little") + data + b"\xe7"


def test_label_3_gives_firmware_times_and_rate(line):
    assert line.say(bytes.fromhex("7e03 0200 0000 e7")) == bytes.fromhex("7e03 0500 4401 09 01 28 e7")


def test_label_3_gives_as_many_user_bytes_as_asked(line):
    assert line.say(bytes.fromhex("7e03 0200 0200 e7")) == bytes.fromhex("7e03 0700 4401 09 01 28 0000 e7")


def test_label_10_gives_the_serial_number_in_bcd_least_significant_first(line):
    assert line.say(bytes.fromhex("7e0a 0000 e7")) == bytes.fromhex("7e0a 0400 78563402 e7")


def test_label_6_sets_the_lamps_and_is_not_answered(line):
    assert line.say(dmx(255, 51, 0, 102)) == b""
    outputs = line.device.outputs()
    assert outputs["key_left"] == (1.0, 1.0, 1.0)
    assert outputs["key_right"] == pytest.approx((0.2,) * 3)
    assert outputs["fill_top"] == (0.0, 0.0, 0.0)
    assert outputs["background"] == pytest.approx((0.4,) * 3)


def test_a_fixture_with_a_fine_channel_takes_16_bits():
    line = Line(DMX_16_BIT)
    line.say(dmx(0x9F, 0xFF))
    assert line.device.outputs()["key_left"][0] == pytest.approx(0x9FFF / 65535)


@pytest.mark.parametrize(
    "message",
    [
        dmx(255, channels=23),
        dmx(255)[:-1] + b"\xe6",
        b"\x7e\x06\xff\xff" + bytes(30),
        b"\x7e\x06\x19\x00\x01" + b"\xff" * 24 + b"\xe7",
        b"\x7e\x05\x19\x00\x00" + b"\xff" * 24 + b"\xe7",
    ],
    ids=["too few channels", "wrong end byte", "impossible length", "start code not 0", "input label"],
)
def test_what_is_not_a_lighting_message_changes_nothing(line, message):
    assert line.say(message) == b""
    assert set(line.device.values) == {0}


def test_reading_goes_on_after_noise(line):
    assert line.say(b"\x00\xe7\x7e", b"\xff\xff\xff\xff" + bytes.fromhex("7e0a0000e7")).endswith(b"\xe7")


def test_without_power_the_lamps_are_out_until_the_next_message(line):
    line.say(dmx(255, 255, 255, 255))
    line.device.unplugged()
    line.device.plugged()
    assert line.device.outputs()["key_left"] == (0.0, 0.0, 0.0)


@given(st.binary(max_size=100), st.lists(st.integers(0, 255), min_size=24, max_size=512), st.data())
def test_a_message_is_understood_however_it_is_cut(noise, values, data):
    line = Line()
    # Noise without a start byte cannot be the beginning of a message.
    stream = noise.replace(b"\x7e", b"") + dmx(*values, channels=len(values))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        line.device.receive(stream[start:end])
    assert line.device.values[: len(values)] == bytes(values)


@given(st.lists(st.binary(max_size=700), max_size=6))
def test_no_bytes_make_it_fall_over_or_keep_more_than_a_message(pieces):
    line = Line()
    line.say(*pieces)
    assert len(line.device._buffer) <= 605
