"""VISCA: golden bytes of Sony's command list, replies found in any stream, two sockets, model tables, and what a mode makes void."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.controls import CameraControlSettings, ExposureMode, FocusMode, WhiteBalance
from hardware.errors import ControlAnswerError, ControlError, ControlValueError, SettingsError
from hardware.visca import merge
from hardware.visca_codec import (
    ADDRESS_SET,
    ASK_PAN_TILT,
    ASK_VERSION,
    IF_CLEAR,
    SOCKETS,
    Command,
    Kind,
    Register,
    Reply,
    ReplyDecoder,
    Sockets,
    encode,
    encode_ask,
    encode_cancel,
    encode_pan_tilt,
    encode_set,
    from_nibbles,
    read_pan_tilt,
    read_value,
    read_version,
    to_nibbles,
)
from hardware.visca_line import ViscaLine
from hardware.visca_models import load_model

MODEL = load_model("evi-d70")


def found(stream: bytes, sizes: list[int] | None = None) -> list[Reply]:
    decoder, at, out = ReplyDecoder(), 0, []
    for size in [*(sizes or []), len(stream)]:
        out += decoder.feed(stream[at : at + size])
        at += size
    return out


@pytest.mark.parametrize(
    ("packet", "golden"),
    [
        (ADDRESS_SET, "88 30 01 ff"),
        (IF_CLEAR, "88 01 00 01 ff"),
        (encode(1, encode_set(Register.POWER, 2)), "81 01 04 00 02 ff"),
        (encode(1, encode_ask(Register.POWER)), "81 09 04 00 ff"),
        (encode(7, ASK_VERSION), "87 09 00 02 ff"),
        (encode(1, encode_set(Register.ZOOM, 0x1606)), "81 01 04 47 01 06 00 06 ff"),
        (encode(1, encode_ask(Register.ZOOM)), "81 09 04 47 ff"),
        (encode(1, encode_set(Register.FOCUS_MODE, 3)), "81 01 04 38 03 ff"),
        (encode(1, encode_set(Register.FOCUS, 0xC000)), "81 01 04 48 0c 00 00 00 ff"),
        (encode(1, encode_set(Register.WHITE_BALANCE, 5)), "81 01 04 35 05 ff"),
        (encode(1, encode_set(Register.RED_GAIN, 0x80)), "81 01 04 43 00 00 08 00 ff"),
        (encode(1, encode_set(Register.EXPOSURE_MODE, 3)), "81 01 04 39 03 ff"),
        (encode(1, encode_set(Register.SHUTTER, 0x12)), "81 01 04 4a 00 00 01 02 ff"),
        (encode(1, encode_set(Register.BACKLIGHT, 3)), "81 01 04 33 03 ff"),
        (encode(1, ASK_PAN_TILT), "81 09 06 12 ff"),
        (encode(1, encode_pan_tilt(-1, 0x4B0, 0xC)), "81 01 06 02 0c 0c 0f 0f 0f 0f 00 04 0b 00 ff"),
        (encode_cancel(2, 1), "82 21 ff"),
    ],
)
def test_packets_are_those_of_the_command_list(packet: bytes, golden: str):
    assert packet == bytes.fromhex(golden)


@pytest.mark.parametrize(
    ("golden", "reply"),
    [
        ("90 41 ff", Reply(Kind.ACK, 1, 1)),
        ("a0 52 ff", Reply(Kind.COMPLETION, 2, 2)),
        ("90 50 02 ff", Reply(Kind.COMPLETION, 1, 0, b"\x02")),
        ("90 60 02 ff", Reply(Kind.ERROR, 1, 0, error=2)),
        ("90 61 41 ff", Reply(Kind.ERROR, 1, 1, error=0x41)),
        ("90 38 ff", Reply(Kind.NETWORK_CHANGE, 1)),
        ("88 30 02 ff", Reply(Kind.ADDRESS_SET, 0, data=b"\x02")),
        ("88 01 00 01 ff", Reply(Kind.IF_CLEAR, 0)),
    ],
)
def test_replies_are_read_as_the_command_list_says(golden: str, reply: Reply):
    assert found(bytes.fromhex(golden)) == [reply]


def test_answers_hold_the_values():
    assert read_value(Register.ZOOM, bytes.fromhex("01 06 00 06")) == 0x1606
    assert read_value(Register.POWER, b"\x02") == 2
    assert read_pan_tilt(bytes.fromhex("0f 0f 0f 0f 00 04 0b 00")) == (-1, 0x4B0)
    version = read_version(bytes.fromhex("00 20 04 0e 01 06 02"))
    assert (version.vendor, version.model, version.rom, version.sockets) == (0x20, 0x40E, 0x106, 2)


@pytest.mark.parametrize("data", [b"", b"\x01\x02", b"\x10\0\0\0", b"\0" * 5])
def test_answers_of_another_shape_are_refused(data: bytes):
    for read in (lambda d: read_value(Register.ZOOM, d), read_pan_tilt, read_version):
        with pytest.raises(ControlAnswerError):
            read(data)


@pytest.mark.parametrize(
    ("address", "message"), [(0, b"\x01"), (8, b"\x01"), (1, b""), (1, b"\x01" * 15), (1, b"\xff")]
)
def test_what_is_no_packet_is_not_sent(address: int, message: bytes):
    with pytest.raises(ControlValueError):
        encode(address, message)


def test_a_cut_reply_does_not_hide_the_next():
    assert found(bytes.fromhex("90 41 90 51 ff")) == [Reply(Kind.COMPLETION, 1, 1)]


replies = st.one_of(
    st.builds(Reply, st.just(Kind.ACK), st.integers(1, 7), st.integers(0, 2)),
    st.builds(
        Reply,
        st.just(Kind.COMPLETION),
        st.integers(1, 7),
        st.integers(0, 2),
        st.lists(st.integers(0, 0x7F), max_size=13).map(bytes),
    ),
    st.builds(
        Reply, st.just(Kind.ERROR), st.integers(1, 7), st.integers(0, 2), error=st.sampled_from([2, 3, 4, 5, 0x41])
    ),
    st.builds(Reply, st.just(Kind.NETWORK_CHANGE), st.integers(1, 7)),
)


def packet(reply: Reply) -> bytes:
    head = bytes((0x80 + (reply.address << 4),))
    group = {Kind.ACK: 0x40, Kind.COMPLETION: 0x50, Kind.ERROR: 0x60, Kind.NETWORK_CHANGE: 0x38}[reply.kind]
    tail = bytes((reply.error,)) if reply.kind is Kind.ERROR else reply.data
    return head + bytes((group | reply.socket,)) + tail + b"\xff"


@given(st.lists(replies, max_size=6), st.lists(st.integers(1, 9), max_size=40))
def test_replies_come_through_however_they_are_split(sent: list[Reply], sizes: list[int]):
    assert found(b"".join(packet(each) for each in sent), sizes) == sent


@given(st.binary(max_size=60), replies)
def test_no_noise_hides_the_reply_behind_it(noise: bytes, sent: Reply):
    assert found(noise + b"\xff" + packet(sent))[-1:] == [sent]


@given(st.lists(st.integers(0, 0x7F), max_size=14).map(bytes), replies)
def test_noise_without_a_header_is_passed_over(noise: bytes, sent: Reply):
    if len(noise) + len(packet(sent)) <= 16:
        assert found(noise + packet(sent)) == [sent]


@given(st.lists(st.binary(max_size=40)))
def test_the_decoder_and_the_readers_raise_nothing_but_our_error(pieces: list[bytes]):
    decoder = ReplyDecoder()
    for piece in pieces:
        for reply in decoder.feed(b"\x90\x50" + piece):
            for read in (
                lambda d: read_value(Register.ZOOM, d),
                lambda d: read_value(Register.POWER, d),
                read_pan_tilt,
                read_version,
            ):
                try:
                    read(reply.data)
                except ControlError:
                    continue


@given(st.integers(0, 0xFFFF))
def test_nibbles_round_trip(value: int):
    assert from_nibbles(to_nibbles(value)) == value


@given(st.integers(-0x8000, 0x7FFF), st.integers(-0x8000, 0x7FFF))
def test_positions_round_trip(pan: int, tilt: int):
    assert read_pan_tilt(encode_pan_tilt(pan, tilt, 1)[5:]) == (pan, tilt)


@given(st.lists(st.one_of(st.just("send"), replies), max_size=60))
def test_the_sockets_never_hold_more_than_the_camera_has_and_lose_no_command(events: list):
    sockets, sent, over = Sockets(), [], []
    for event in events:
        if event == "send":
            if sockets.free:
                sockets.sent = Command(f"command {len(sent)}", b"\x01", 1.0)
                sent.append(sockets.sent)
        elif (done := sockets.take(event)) is not None:
            over.append(done[0])
        # A camera that acknowledges into a socket that is taken has forgotten the command there.
        held = list(sockets.running.values()) + ([sockets.sent] if sockets.sent else [])
        assert len(sockets.running) <= SOCKETS + 1
        assert len(set(held)) == len(held)
        assert not set(held) & set(over)
    assert len(over) == len(set(over))


def test_two_commands_run_and_end_in_any_order():
    zoom, tilt = Command("zoom", b"\x01", 1), Command("tilt", b"\x02", 1)
    sockets = Sockets(sent=zoom)
    assert sockets.take(Reply(Kind.ACK, 1, 1)) is None
    assert sockets.free
    sockets.sent = tilt
    assert not sockets.free
    assert sockets.take(Reply(Kind.ACK, 1, 2)) is None
    assert not sockets.free
    assert sockets.take(Reply(Kind.COMPLETION, 1, 2)) == (tilt, None)
    assert sockets.take(Reply(Kind.ERROR, 1, 1, error=4)) == (zoom, 4)
    assert not sockets.busy


def test_values_go_to_the_nearest_step_of_the_model():
    assert MODEL.shutter_per_s[MODEL.shutter_step(10_000)] == 100
    assert MODEL.shutter_per_s[MODEL.shutter_step(5_000)] == 180
    assert MODEL.f_numbers[MODEL.iris_step(4.1)] == 4
    assert MODEL.gain_db[MODEL.gain_step(5.2)] == 6
    assert MODEL.tilt_steps(-30) == -400
    assert MODEL.zoom_position(1.0) == 0
    assert MODEL.zoom_position(18) == 0x4000
    assert MODEL.zoom_ratio(0x7AC0) == 18


@given(st.floats(1, 18))
def test_zoom_ratios_round_trip(ratio: float):
    assert MODEL.zoom_ratio(MODEL.zoom_position(ratio)) == pytest.approx(ratio, abs=0.02)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: MODEL.shutter_step(9e6),
        lambda: MODEL.iris_step(64),
        lambda: MODEL.gain_step(40),
        lambda: MODEL.zoom_position(30),
        lambda: MODEL.focus_step(5),
        lambda: MODEL.tilt_steps(100),
    ],
)
def test_values_outside_the_tables_are_refused(ask):
    with pytest.raises(ControlValueError):
        ask()


def test_the_tables_of_every_model_are_whole():
    for name in ("evi-d70", "evi-d70p"):
        model = load_model(name)
        assert len(model.shutter_per_s) == 22
        assert len(model.f_numbers) == 18
        assert len(model.gain_db) == 16
        assert list(model.zoom) == sorted(model.zoom)
    with pytest.raises(SettingsError, match="evi-d70"):
        load_model("unknown")


def test_an_automatic_mode_makes_the_values_void_that_it_chooses():
    manual = CameraControlSettings(
        exposure_mode=ExposureMode.MANUAL, exposure_us=10_000, gain_db=2, white_balance=WhiteBalance.MANUAL, red_gain=9, focus_mode=FocusMode.MANUAL, focus_position=0x2000
    )  # fmt: skip
    kept = merge(
        manual,
        CameraControlSettings(
            exposure_mode=ExposureMode.SHUTTER, white_balance=WhiteBalance.AUTO, focus_mode=FocusMode.AUTO
        ),
    )
    assert kept == CameraControlSettings(
        exposure_mode=ExposureMode.SHUTTER,
        exposure_us=10_000,
        white_balance=WhiteBalance.AUTO,
        focus_mode=FocusMode.AUTO,
    )


class Line:
    """Answers each packet with the next of its bytes."""

    path = "/dev/x"

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.sent, self.waits = list(answers), [], b""

    def write(self, packet: bytes) -> None:
        self.sent.append(packet)
        self.waits += self.answers.pop(0)

    def read(self, _timeout_s: float) -> bytes:
        came, self.waits = self.waits, b""
        return came


POSITION = bytes.fromhex("90 50 0f 0f 0e 02 00 00 07 05 ff")
NOISE = bytes.fromhex("90 50 44 64 7d 1b 6b 53 70 15 1d 43 3e ff")


@pytest.mark.parametrize(
    "answers",
    [(NOISE + POSITION,), (bytes.fromhex("90 50 0f 0f 0e 02 00 07 05 ff"), IF_CLEAR, POSITION)],
    ids=["noise like an answer", "an answer that lost a byte"],
)
def test_an_answer_of_another_shape_is_passed_over_for_the_right_one(answers, monkeypatch):
    monkeypatch.setattr("hardware.visca_line.ANSWER_S", 0.05)
    assert ViscaLine(Line(*answers), 1).ask(ASK_PAN_TILT, read_pan_tilt) == (-30, 117)


def test_a_camera_that_only_gives_answers_of_another_shape_is_told(monkeypatch):
    monkeypatch.setattr("hardware.visca_line.ANSWER_S", 0.05)
    line = Line(NOISE, IF_CLEAR, NOISE)
    with pytest.raises(ControlAnswerError, match="no pan-tilt position"):
        ViscaLine(line, 1).ask(ASK_PAN_TILT, read_pan_tilt)
    assert line.sent == [encode(1, ASK_PAN_TILT), IF_CLEAR, encode(1, ASK_PAN_TILT)]
