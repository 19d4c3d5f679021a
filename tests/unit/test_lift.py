"""The height axis' line: the two independent readings of PBL/1 agree, damage is never taken for an answer, the virtual axis keeps its rules."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain, repeat
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardware.errors import LiftFaultError, LiftStalledError
from hardware.lift import FASTEST_MM_S, LiftSettings, PortLift
from hardware.lift_codec import (
    Answer,
    LiftLimits,
    LiftReading,
    LineDecoder,
    check_sum,
    encode,
    encode_go,
    read_identity,
    read_limits,
    read_refusal,
    read_status,
)
from hardware.sim import lift as sim
from hardware.sim.faults import Faults

GOLDEN_REQUEST = b":2A GO 1234 400*DAB4\n"
GOLDEN_ANSWER = b"=2A ST 1234 MO*54C3\n"


class Axis:
    """The virtual axis with a clock of its own."""

    def __init__(self):
        self.now_s = 100.0
        self.faults = Faults()
        self.sent = b""
        self.device = sim.LiftAxis(self._take, lambda: self.now_s, self.faults, 350.0)

    def _take(self, data):
        self.sent += data

    def ask(self, word, *arguments):
        self.sent = b""
        self.device.receive(encode(7, word, *arguments))
        (answer,) = LineDecoder().feed(self.sent)
        assert answer.number == 7
        return answer

    def after(self, seconds, *, watched=True):
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            if watched:
                self.ask("ST")
        return read_status(self.ask("ST"))


def test_golden_lines():
    assert encode_go(0x2A, 123.4, 40) == GOLDEN_REQUEST
    assert LineDecoder().feed(GOLDEN_ANSWER) == [Answer(0x2A, "ST", ("1234", "MO"))]
    assert check_sum(b"123456789") == b"29B1"  # the check value of CRC-16/CCITT-FALSE
    assert sim.check_sum("123456789") == "29B1"


@given(st.binary(max_size=40).map(lambda text: text.decode("latin-1")))
def test_both_check_sums_are_the_same(text):
    assert check_sum(text.encode("latin-1")).decode() == sim.check_sum(text)


@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(0, 255), st.integers(-9999, 99999))
@example([b"="], 1, 5)
def test_an_answer_is_found_in_any_noise_and_in_any_pieces(noise, number, position):
    text = f"{number:02X} ST {position} -".encode()
    line = b"=" + text + b"*" + check_sum(text) + b"\n"
    decoder = LineDecoder()
    for piece in noise:
        decoder.feed(piece.replace(b"=", b"?"))
    found = [answer for byte in line for answer in decoder.feed(bytes([byte]))]
    assert found == [Answer(number, "ST", (str(position), "-"))]
    reading = read_status(found[0])
    assert reading == (LiftReading(position / 10) if len(str(position).lstrip("-")) <= 6 else None)


@given(st.integers(0, len(GOLDEN_ANSWER) - 2), st.integers(1, 255))
def test_one_damaged_byte_is_never_an_answer(at, change):
    damaged = bytearray(GOLDEN_ANSWER)
    damaged[at] ^= change
    assert LineDecoder().feed(bytes(damaged)) == []


@given(st.binary(max_size=300))
def test_no_bytes_hurt_decoder_or_axis(data):
    LineDecoder().feed(data)
    axis = Axis()
    axis.device.receive(data)
    assert axis.device.position_mm() == 350.0


def test_answers_of_other_words_and_shapes_are_none_of_these():
    assert read_status(Answer(1, "ST", ("12", "OM"))) is None
    assert read_status(Answer(1, "ST", ("12",))) is None
    assert read_limits(Answer(1, "LIM", ("5", "5", "1"))) is None
    assert read_identity(Answer(1, "ID", ("PBL/2", "a", "b", "c"))) is None
    assert read_refusal(Answer(1, "ER", ("WHY",))) is None


def test_the_axis_tells_who_it_is_and_what_it_can():
    axis = Axis()
    assert read_identity(axis.ask("ID")).maker == "virtual"
    limits = read_limits(axis.ask("LIM"))
    assert (limits.low_mm, limits.high_mm, limits.fastest_mm_s) == (0, 1000, 100)
    for wrong, why in (((20000, 400), "RANGE"), ((100, 0), "SPEED"), ((100, 5000), "SPEED"), ((1,), "SYNTAX")):
        assert read_refusal(axis.ask("GO", *wrong)) == why
    assert read_refusal(axis.ask("JUMP")) == "SYNTAX"


def test_the_axis_goes_evenly_stops_there_and_at_once_when_told():
    axis = Axis()
    assert read_status(axis.ask("GO", 4500, 400)).moving
    halfway = axis.after(1)
    assert halfway.moving
    assert halfway.position_mm == pytest.approx(390, abs=1)
    there = axis.after(2)
    assert there == LiftReading(450.0)
    axis.ask("GO", 3500, 400)
    axis.after(1)
    stopped = read_status(axis.ask("STOP"))
    assert not stopped.moving
    assert axis.after(1) == stopped


def test_the_axis_stops_by_itself_when_nobody_asks():
    axis = Axis()
    axis.ask("GO", 9000, 400)
    axis.device.unplugged()
    alone = axis.after(3, watched=False)
    assert not alone.moving
    assert alone.position_mm == pytest.approx(350 + 0.5 * 40, abs=1)


def test_an_obstruction_stops_it_until_it_is_acknowledged_and_a_stalled_one_stays():
    axis = Axis()
    axis.ask("GO", 9000, 400)
    axis.after(1)
    axis.faults.set("lift.obstruct", on=True)
    met = axis.after(0.5)
    assert met.obstructed
    assert not met.moving
    assert read_refusal(axis.ask("GO", 0, 400)) == "BLOCKED"
    axis.faults.set("lift.obstruct", on=False)
    assert not read_status(axis.ask("STOP")).obstructed
    axis.faults.set("lift.stall", on=True)
    axis.ask("GO", 0, 400)
    stalled = axis.after(2)
    assert stalled.moving
    assert stalled.position_mm == met.position_mm


@pytest.mark.parametrize(
    "wrong",
    [
        {"high_mm": 0},
        {"zero_cm": 3},
        {"speed_mm_s": FASTEST_MM_S + 1},
        {"speed_mm_s": 0},
        {"hight_mm": 3},
        {"home_mm": 2000},
        {"high_mm": float("nan")},
        {"low_mm": float("nan")},
        {"home_mm": float("nan")},
    ],
)
def test_settings_that_no_axis_could_obey_are_refused(wrong):
    with pytest.raises(ValidationError):
        LiftSettings(**{"url": "lift+serial:///dev/x", "zero_cm": 90, "high_mm": 1000} | wrong)


class Told:
    """A dialogue that says one position after another, always moving, and whether it was stopped last."""

    limits = LiftLimits(0, 1000, 40)

    def __init__(self, positions):
        self.positions, self.last = iter(positions), ""

    def read(self, link):
        self.last = "read"
        return LiftReading(next(self.positions), moving=True)

    def go(self, link, position_mm):
        return self.read(link)

    def stop(self, link):
        self.last = "stop"


@pytest.mark.parametrize(
    ("positions", "error"),
    [
        (range(350, 0, -5), LiftFaultError),  # the wrong way
        (chain(range(350, 460, 5), range(460, 2000, 10)), LiftFaultError),  # past the target and on
        (chain((350, 355), repeat(90_000)), LiftFaultError),  # a position that jumps
        (chain.from_iterable(repeat((350, 352))), LiftStalledError),  # to and fro, for ever
    ],
)
async def test_an_axis_that_does_not_come_nearer_is_stopped(positions, error, monkeypatch):
    monkeypatch.setattr("hardware.lift.POLL_S", 0.001)
    monkeypatch.setattr("hardware.lift.SLACK_S", 0.05)
    monkeypatch.setattr("hardware.lift.SLOWNESS", 0.0)
    board = SimpleNamespace(judging=nullcontext, status=None)
    dialogue = Told(positions)

    async def run(job):
        return job(None)

    lift = PortLift(SimpleNamespace(board=board, run=run), dialogue)
    with pytest.raises(error) as caught:
        await lift.move_to(450.0)
    assert dialogue.last == "stop"
    assert not any(sign.isdigit() for sign in str(caught.value)), "no position in an error"
