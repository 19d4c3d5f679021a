"""The virtual camera head speaks VISCA as the vendor's command list says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.sim import lens
from hardware.sim.faults import Faults
from hardware.sim.visca import ViscaHead


class _Timer:
    def __init__(self, due, done):
        self.due, self.done, self.cancelled = due, done, False

    def cancel(self):
        self.cancelled = True


class Line:
    """A head with a clock and timers that the test moves."""

    def __init__(self, *, standby=False):
        self.now = 0.0
        self.timers: list[_Timer] = []
        self.answers: list[bytes] = []
        self.faults = Faults()
        self.head = ViscaHead(
            self.answers.append,
            lambda: self.now,
            self._later,
            self.faults,
            lambda: (0.36, 0.36, 0.36),
            power_on_s=0.5,
            standby=standby,
        )

    def _later(self, delay_s, done):
        self.timers.append(_Timer(self.now + delay_s, done))
        return self.timers[-1]

    def pass_s(self, seconds):
        """Lets time pass; returns what was answered meanwhile."""
        self.answers.clear()
        end = self.now + seconds
        while due := [t for t in self.timers if t.due <= end and not t.cancelled]:
            timer = min(due, key=lambda t: t.due)
            self.timers.remove(timer)
            self.now = timer.due
            timer.done()
        self.now = end
        return b"".join(self.answers).hex(" ")

    def say(self, text):
        self.answers.clear()
        self.head.receive(bytes.fromhex(text))
        return b"".join(self.answers).hex(" ")

    def do(self, text):
        """A command and its completion."""
        assert self.say(text) == "90 41 ff"
        assert self.pass_s(5) == "90 51 ff"


@pytest.fixture
def line():
    return Line()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        ("88 30 01 ff", "88 30 02 ff"),
        ("88 01 00 01 ff", "88 01 00 01 ff"),
        ("81 01 00 01 ff", "90 50 ff"),
        ("81 09 04 00 ff", "90 50 02 ff"),
        ("81 09 00 02 ff", "90 50 00 20 04 0e 01 06 02 ff"),
        ("81 09 04 47 ff", "90 50 00 0b 00 00 ff"),
        ("81 09 04 38 ff", "90 50 02 ff"),
        ("81 09 04 35 ff", "90 50 05 ff"),
        ("81 09 04 39 ff", "90 50 03 ff"),
        ("81 09 04 43 ff", "90 50 00 00 08 00 ff"),
        ("81 09 04 4a ff", "90 50 00 00 00 06 ff"),
        ("81 09 04 4b ff", "90 50 00 00 00 0b ff"),
        ("81 09 04 4c ff", "90 50 00 00 00 01 ff"),
        ("81 09 06 12 ff", "90 50 00 00 00 00 00 00 00 00 ff"),
        ("81 0a 01 ff", "90 60 02 ff"),
        ("81 09 04 99 ff", "90 60 02 ff"),
        ("81 01 04 4a 00 00 01 06 ff", "90 60 02 ff"),
        ("81 01 04 47 05 00 00 00 ff", "90 60 02 ff"),
        ("81 21 ff", "90 61 05 ff"),
        ("82 09 04 00 ff", ""),
        ("41 42 ff", ""),
        ("ff", ""),
    ],
)
def test_golden_bytes_of_immediate_answers(line, sent, answer):
    assert line.say(sent) == answer


@pytest.mark.parametrize(
    ("command", "inquiry", "answer"),
    [
        ("81 01 04 47 01 02 03 04 ff", "81 09 04 47 ff", "90 50 01 02 03 04 ff"),
        ("81 01 04 4a 00 00 00 0a ff", "81 09 04 4a ff", "90 50 00 00 00 0a ff"),
        ("81 01 04 4b 00 00 01 00 ff", "81 09 04 4b ff", "90 50 00 00 01 00 ff"),
        ("81 01 04 4c 00 00 00 04 ff", "81 09 04 4c ff", "90 50 00 00 00 04 ff"),
        ("81 01 04 43 00 00 09 03 ff", "81 09 04 43 ff", "90 50 00 00 09 03 ff"),
        ("81 01 04 44 00 00 07 0f ff", "81 09 04 44 ff", "90 50 00 00 07 0f ff"),
        ("81 01 04 35 00 ff", "81 09 04 35 ff", "90 50 00 ff"),
        ("81 01 04 39 0a ff", "81 09 04 39 ff", "90 50 0a ff"),
        ("81 01 04 33 02 ff", "81 09 04 33 ff", "90 50 02 ff"),
        ("81 01 04 66 02 ff", "81 09 04 66 ff", "90 50 02 ff"),
        ("81 01 04 61 02 ff", "81 09 04 61 ff", "90 50 02 ff"),
        ("81 01 04 38 03 ff", "81 09 04 38 ff", "90 50 03 ff"),
        ("81 01 06 02 0c 0c 00 00 00 00 0f 0f 09 0c ff", "81 09 06 12 ff", "90 50 00 00 00 00 0f 0f 09 0c ff"),
    ],
)
def test_a_command_is_acknowledged_completed_and_read_back(line, command, inquiry, answer):
    line.do(command)
    assert line.say(inquiry) == answer


def test_two_commands_run_at_a_time_and_a_third_finds_the_buffer_full(line):
    assert line.say("81 01 04 47 00 00 00 00 ff") == "90 41 ff"
    assert line.say("81 01 06 02 01 01 00 00 00 00 00 00 0a 00 ff") == "90 42 ff"
    assert line.say("81 01 04 39 00 ff") == "90 60 03 ff"
    assert line.say("81 09 04 39 ff") == "90 50 03 ff", "inquiries need no socket"
    assert line.pass_s(5) == "90 51 ff 90 52 ff"


def test_cancel_ends_the_command_and_leaves_the_lens_where_it_is(line):
    line.say("81 01 04 47 04 00 00 00 ff")
    line.pass_s(0.2)
    assert line.say("81 21 ff") == "90 61 04 ff"
    stopped = line.head.settings().zoom
    assert lens.NOMINAL_ZOOM < stopped < lens.ZOOM_MAX
    assert line.pass_s(5) == ""
    assert line.head.settings().zoom == stopped


def test_zoom_moves_evenly_until_its_completion(line):
    line.say("81 01 04 47 04 00 00 00 ff")
    positions = []
    for _ in range(4):
        line.pass_s(0.1)
        positions.append(line.head.settings().zoom)
    steps = [after - before for before, after in itertools.pairwise(positions)]
    assert steps == pytest.approx([steps[0]] * 3)


def test_powering_on_takes_its_time_and_commands_are_refused_meanwhile():
    line = Line(standby=True)
    assert line.say("81 09 04 00 ff") == "90 50 03 ff"
    assert line.say("81 09 04 47 ff") == "90 60 41 ff"
    assert line.say("81 01 04 47 00 00 00 00 ff") == "90 61 41 ff"
    assert line.say("81 01 04 00 02 ff") == "90 41 ff"
    assert line.say("81 01 04 39 03 ff") == "90 62 41 ff"
    assert line.head.settings().power is False
    assert line.pass_s(1) == "90 51 ff"
    assert line.head.settings().power is True
    assert line.say("81 09 04 00 ff") == "90 50 02 ff"


@pytest.mark.parametrize(
    ("mode", "refused"),
    [
        ("81 01 04 39 00 ff", "81 01 04 4a 00 00 00 06 ff"),
        ("81 01 04 39 0a ff", "81 01 04 4b 00 00 00 0b ff"),
        ("81 01 04 39 0b ff", "81 01 04 4c 00 00 00 01 ff"),
        ("81 01 04 35 00 ff", "81 01 04 43 00 00 08 00 ff"),
        ("81 01 04 38 02 ff", "81 01 04 48 06 00 00 00 ff"),
        ("81 01 04 35 05 ff", "81 01 04 10 05 ff"),
    ],
    ids=[
        "shutter in full auto",
        "iris in shutter priority",
        "gain in iris priority",
        "red gain in auto",
        "focus in auto",
        "trigger in manual",
    ],
)
def test_what_the_mode_does_not_allow_is_not_executable(line, mode, refused):
    line.do(mode)
    assert line.say(refused) == "90 61 41 ff"


def test_addresses_are_taken_from_the_chain_and_the_cable_announces_itself(line):
    assert line.say("88 30 03 ff") == "88 30 04 ff"
    assert line.say("83 09 04 00 ff") == "b0 50 02 ff"
    assert line.say("81 09 04 00 ff") == ""
    line.answers.clear()
    line.head.plugged()
    assert b"".join(line.answers).hex(" ") == "b0 38 ff"


def test_an_overlong_packet_is_a_syntax_error_and_the_next_one_is_understood(line):
    assert line.say("81 01" + " 04" * 20 + " ff") == "90 60 02 ff"
    assert line.say("81 09 04 00 ff") == "90 50 02 ff"


def test_if_clear_empties_the_sockets(line):
    line.say("81 01 04 47 00 00 00 00 ff 81 01 04 47 04 00 00 00 ff")
    line.say("88 01 00 01 ff")
    assert line.say("81 01 04 39 00 ff") == "90 41 ff"


def test_step_and_reset_commands(line):
    line.do("81 01 04 0a 02 ff")
    assert line.head.settings().shutter == 7
    line.do("81 01 04 0a 03 ff")
    line.do("81 01 04 0a 03 ff")
    assert line.head.settings().shutter == 5
    line.do("81 01 04 0a 00 ff")
    assert line.head.settings().shutter == lens.NOMINAL_SHUTTER


def test_faults_refuse_fill_the_buffer_and_lie(line):
    line.faults.set("visca.refuse", on=True, times=1)
    line.faults.set("visca.wrong_echo", on=True, times=1)
    assert line.say("81 01 04 39 00 ff") == "90 61 41 ff"
    assert line.say("81 09 04 4a ff") == "90 50 00 00 00 07 ff"
    line.faults.set("visca.buffer_full", on=True, times=1)
    assert line.say("81 01 04 39 00 ff") == "90 60 03 ff"
    line.do("81 01 04 39 00 ff")


def test_automatic_exposure_shows_what_it_has_set(line):
    line.head._metered = lambda: (0.045, 0.045, 0.045)
    line.do("81 01 04 39 00 ff")
    assert line.say("81 09 04 4a ff") == "90 50 00 00 00 05 ff", "1/30 s, the longest it takes"
    assert line.say("81 09 04 4c ff") == "90 50 00 00 00 07 ff", "and 12 dB"


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_bytes_make_it_fall_over_or_answer_unframed(pieces):
    line = Line()
    for piece in pieces:
        line.head.receive(piece)
    line.pass_s(10)
    for answer in line.answers:
        assert answer[0] >= 0x80
        assert answer[-1] == 0xFF
        assert 0xFF not in answer[:-1]
    settings = line.head.settings()
    assert settings.shutter in lens.SHUTTER_S
    assert settings.iris in lens.IRIS_F
    assert settings.gain in lens.GAIN_DB


@given(
    st.sampled_from(sorted(lens.SHUTTER_S)), st.sampled_from(sorted(lens.IRIS_F)), st.sampled_from(sorted(lens.GAIN_DB))
)
def test_more_shutter_iris_or_gain_is_never_darker(shutter, iris, gain):
    def light(**registers):
        return lens.exposed(lens.Settings(**registers), (0.3, 0.3, 0.3)).factors[1]

    here = light(shutter=shutter, iris=iris, gain=gain)
    assert light(shutter=max(0, shutter - 1), iris=iris, gain=gain) >= here
    assert light(shutter=shutter, iris=min(0x11, iris + 1), gain=gain) >= here
    assert light(shutter=shutter, iris=iris, gain=min(0x0F, gain + 1)) >= here
