"""The virtual WLED controller reads and answers its serial line as the firmware does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.sim.faults import Faults
from hardware.sim.wled import BOOT_TEXT, OBJECT_LIMIT_BYTES, WledController


class Line:
    """A controller with a clock that the test moves."""

    def __init__(self):
        self.now = 1000.0
        self.answers: list[bytes] = []
        self.faults = Faults()
        self.device = WledController(self.answers.append, lambda: self.now, self.faults)

    def say(self, *pieces: bytes) -> bytes:
        self.answers.clear()
        for piece in pieces:
            self.device.receive(piece)
        return b"".join(self.answers)

    def ask(self, message: dict) -> dict:
        return json.loads(self.say(json.dumps({**message, "v": True}).encode()))


@pytest.fixture
def line():
    return Line()


def test_the_single_byte_v_is_answered_with_the_version_text(line):
    assert line.say(b"v") == b"WLED 2412100\r\n"


def test_an_object_is_answered_only_when_it_asks_with_one_line_of_state_and_info(line):
    assert line.say(b'{"on":true}') == b""
    answer = line.say(b'{"v":true}')
    assert answer.endswith(b"\r\n")
    assert answer.count(b"\n") == 1
    assert len(answer) > 1024, "a real answer is longer than one read"
    parsed = json.loads(answer)
    assert set(parsed) == {"state", "info"}
    assert parsed["state"]["on"] is True
    assert parsed["info"]["ver"] == "0.15.0"
    assert [segment["id"] for segment in parsed["state"]["seg"]] == [0, 1, 2, 3, 4]


def test_the_documented_set_command_is_echoed_and_lights_the_lamp(line):
    answer = line.ask(
        {"on": True, "bri": 255, "transition": 0, "seg": [{"id": 2, "bri": 159, "col": [[255, 255, 255, 0]]}]}
    )
    assert answer["state"]["seg"][2]["bri"] == 159
    assert line.device.outputs()["fill_top"] == pytest.approx((159 / 255,) * 3)


def test_lamps_start_off_and_boot_text_comes_first(line):
    line.answers.clear()
    line.device.plugged()
    assert b"".join(line.answers) == BOOT_TEXT
    assert all(light == (0.0, 0.0, 0.0) for light in line.device.outputs().values())


def test_a_segment_brightness_of_zero_switches_off_and_keeps_the_old_value(line):
    line.ask({"on": True, "seg": [{"id": 0, "bri": 100}]})
    segment = line.ask({"seg": [{"id": 0, "bri": 0}]})["state"]["seg"][0]
    assert (segment["on"], segment["bri"]) == (False, 100)
    segment = line.ask({"seg": [{"id": 0, "on": True}]})["state"]["seg"][0]
    assert (segment["on"], segment["bri"]) == (True, 100)


def test_master_brightness_scales_every_segment_and_off_darkens_all(line):
    line.ask({"on": True, "bri": 51, "tt": 0, "seg": [{"id": 0, "bri": 255}]})
    assert line.device.outputs()["key_left"] == pytest.approx((0.2,) * 3)
    line.ask({"on": False, "tt": 0})
    assert line.device.outputs()["key_left"] == (0.0, 0.0, 0.0)


def test_the_answer_tells_the_target_and_the_light_follows_the_transition(line):
    line.ask({"on": True, "bri": 255, "tt": 0, "seg": [{"id": 0, "bri": 255}]})
    state = line.ask({"transition": 10, "seg": [{"id": 0, "bri": 51}]})["state"]
    assert state["seg"][0]["bri"] == 51
    assert line.device.outputs()["key_left"][0] == pytest.approx(1.0)
    line.now += 0.5
    assert line.device.outputs()["key_left"][0] == pytest.approx(0.6)
    line.now += 0.5
    assert line.device.outputs()["key_left"][0] == pytest.approx(0.2)


def test_tt_counts_for_one_call_and_transition_stays(line):
    assert line.ask({"transition": 3})["state"]["transition"] == 3
    assert line.ask({"tt": 0})["state"]["transition"] == 3


def test_colour_temperature_and_colour_tint_the_light(line):
    line.ask({"on": True, "bri": 255, "tt": 0, "seg": [{"id": 0, "bri": 255, "cct": 0}]})
    blue, _, red = line.device.outputs()["key_left"]
    assert blue < 1 < red
    line.ask({"tt": 0, "seg": [{"id": 0, "cct": 127, "col": [[255, 0, 0]]}]})
    assert line.device.outputs()["key_left"] == (0.0, 0.0, 1.0)


def test_seg_may_be_one_object_for_all_segments(line):
    state = line.ask({"on": True, "seg": {"bri": 77}})["state"]
    assert {segment["bri"] for segment in state["seg"]} == {77}


def test_a_preset_brings_back_what_was_saved(line):
    line.ask({"on": True, "seg": [{"id": 1, "bri": 42}], "psave": 3})
    line.ask({"seg": [{"id": 1, "bri": 200}]})
    state = line.ask({"ps": 3})["state"]
    assert (state["seg"][1]["bri"], state["ps"]) == (42, 3)


def test_an_object_may_arrive_in_pieces_but_not_pause_longer_than_100_ms(line):
    assert line.say(b'{"v":', b"true}").startswith(b'{"state"')
    assert line.say(b'{"v":') == b""
    line.now += 0.2
    assert line.say(b"true}v") == b"WLED 2412100\r\n", "the rest of a dropped object is not an object"


def test_braces_and_quotes_inside_strings_do_not_end_an_object(line):
    assert line.say(b'{"n":"a}\\"{b","v":true}').startswith(b'{"state"')


@pytest.mark.parametrize(
    "text", [b"{broken}", b'{"v":1}', b'{"v":"true"}', b"{" * 3000, b'{"a":' * 2000 + b"1" + b"}" * 2000]
)
def test_what_the_firmware_cannot_read_is_not_answered(line, text):
    assert line.say(text) == b""


def test_an_endless_object_is_dropped(line):
    assert line.say(b'{"a":"' + b"x" * (OBJECT_LIMIT_BYTES + 1)) == b""
    assert line.say(b"v") == b"WLED 2412100\r\n"


def test_wrong_echo_answers_well_formed_with_another_brightness(line):
    line.faults.set("lights.wrong_echo", on=True, times=1)
    assert line.ask({"seg": [{"id": 0, "bri": 100}]})["state"]["seg"][0]["bri"] != 100
    assert line.ask({})["state"]["seg"][0]["bri"] == 100


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_make_it_fall_over(pieces):
    line = Line()
    line.say(*pieces)
    line.now += 1
    assert line.say(b"v") == b"WLED 2412100\r\n"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["on", "bri", "seg", "id", "col", "cct", "ps", "tt", "transition", "psave"]),
                inner,
                max_size=6,
            )
        ),
        max_leaves=30,
    )
)
def test_no_json_makes_it_fall_over_or_leave_the_range_of_light(value):
    line = Line()
    line.say(json.dumps({"on": True, "seg": value, "bri": value}).encode())
    state = line.ask({})["state"]
    assert 1 <= state["bri"] <= 255
    assert all(0 <= part <= 1.5 for light in line.device.outputs().values() for part in light)
