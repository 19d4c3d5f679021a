"""DMX512 lamps through an ENTTEC DMX USB Pro or a compatible widget.

Codec (pure): messages 7E, label, length (little endian), data, E7 ("DMX USB Pro Widget API"). `MessageDecoder` finds them in any stream
of bytes: a head that cannot be, or whose end mark is missing, costs one byte; behind a head that never completes `finish` looks again.

Driver: labels 3 and 10 prove the widget, label 6 sends the slots; the widget repeats them by itself. DMX has no way back from the lamps,
so the acknowledgement is the widget's answer to label 10 sent behind the slots: it has taken everything before it. All levels that are
set together leave in one label 6, at once; levels that change no slot send none, only the question. When nobody sets anything, the same
slots are sent as keep-alive together with that question. At the first connect all lamps are set to 0, because what a widget sent before
cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import ClassVar, Literal

from hardware.errors import LinkGarbledError, LinkSilentError
from hardware.lights import FixtureMap, step_of
from hardware.link import SerialLink

START, END = 0x7E, 0xE7
MAX_DATA = 600
# Fewer slots than this make the gap between two DMX packets too short for some receivers (widget API, label 6).
MIN_SLOTS, MAX_SLOTS = 24, 512
ANSWER_S = 0.8
ATTEMPTS = 2
FULL_8, FULL_16 = 0xFF, 0xFFFF
# Break and mark after break are told in units of 10.67 µs.
TIME_UNIT_US = 10.67


class Label(IntEnum):
    """The messages used here."""

    PARAMETERS = 3
    RECEIVED = 5
    SEND = 6
    SERIAL = 10


# How long the data of a message from the widget may be; anything else is not a message (RECEIVED: status byte, start code, 512 slots).
LENGTHS: Mapping[int, range] = {
    Label.PARAMETERS: range(5, 514),
    Label.RECEIVED: range(1, 515),
    Label.SERIAL: range(4, 5),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the widget's protocol."""

    label: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Parameters:
    """The answer to label 3."""

    firmware: str
    break_us: float
    mark_us: float
    rate_hz: int


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    if not 0 <= message.label <= 0xFF or len(message.data) > MAX_DATA:
        raise ValueError(f"label {message.label} with {len(message.data)} bytes is no message")
    return bytes((START, message.label)) + len(message.data).to_bytes(2, "little") + message.data + bytes((END,))


def encode_slots(slots: bytes) -> bytes:
    """Send these slots, from slot 1 on (start code 0)."""
    if not MIN_SLOTS <= len(slots) <= MAX_SLOTS:
        raise ValueError(f"{len(slots)} slots: DMX sends {MIN_SLOTS} to {MAX_SLOTS}")
    return encode(Message(Label.SEND, b"\0" + slots))


def read_parameters(data: bytes) -> Parameters:
    """The answer to label 3 (at least 5 bytes, as `MessageDecoder` guarantees)."""
    return Parameters(f"{data[1]}.{data[0]}", data[2] * TIME_UNIT_US, data[3] * TIME_UNIT_US, data[4])


def read_serial_number(data: bytes) -> str:
    """The answer to label 10: 4 bytes of two decimal digits, least significant first; all ones when not programmed."""
    digits = data[::-1].hex()
    return digits if digits.isdecimal() else "not programmed"


class MessageDecoder:
    """Finds the widget's messages in a stream of bytes; never raises."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes, return the messages that are complete now."""
        self._buffer += data
        return self._find(last=False)

    def finish(self) -> list[Message]:
        """No more bytes come: whatever is incomplete was no message; look behind its head."""
        return self._find(last=True)

    def _find(self, *, last: bool) -> list[Message]:
        found = []
        buffer = self._buffer
        at = buffer.find(START)
        while at >= 0:
            size = self._size_at(at)
            if size == 0 and not last:
                break
            if size and size > 0:
                found.append(Message(buffer[at + 1], bytes(buffer[at + 4 : at + size - 1])))
                at = buffer.find(START, at + size)
            else:
                at = buffer.find(START, at + 1)
        del buffer[: len(buffer) if at < 0 else at]
        return found

    def _size_at(self, at: int) -> int:
        """The size of the message that starts here; 0 when more bytes are needed, -1 when there is none."""
        head = self._buffer[at : at + 4]
        lengths = LENGTHS.get(head[1]) if len(head) > 1 else None
        if len(head) > 1 and lengths is None:
            return -1
        if len(head) < 4:
            return 0
        length = int.from_bytes(head[2:4], "little")
        if lengths is None or length not in lengths:
            return -1
        if len(self._buffer) < at + length + 5:
            return 0
        return length + 5 if self._buffer[at + length + 4] == END else -1


class DmxDialogue:
    """The driver, on its port's thread."""

    baud: ClassVar[int] = 57600
    idle_s: ClassVar[float] = 2.0
    acknowledged_by: Literal["echo", "widget"] = "widget"

    def __init__(self, channels: Mapping[str, FixtureMap]) -> None:
        self._channels = dict(channels)
        self.levels_pct: Mapping[str, float] = MappingProxyType({})
        self._wanted = dict.fromkeys(channels, 0.0)
        self._serial_data: bytes | None = None
        self._sent = b""  # the slots that the widget has taken

    def connect(self, link: SerialLink) -> Mapping[str, str]:
        """Ask who is there, restore the levels."""
        link.discard()
        parameters = read_parameters(ask(link, Message(Label.PARAMETERS, b"\0\0")))
        self._serial_data = ask(link, Message(Label.SERIAL, b""))
        self._sent = b""
        self._send(link, self._wanted)
        return {
            "firmware": parameters.firmware,
            "serial": read_serial_number(self._serial_data),
            "rate": f"{parameters.rate_hz} Hz",
            "break": f"{parameters.break_us:.0f} us",
        }

    def idle(self, link: SerialLink) -> None:
        """Send the same slots again and see that the widget is there."""
        self._sent = b""
        self._send(link, self._wanted)

    def set_levels(self, link: SerialLink, levels_pct: Mapping[str, float]) -> None:
        """Send levels and wait until the widget has taken them."""
        wanted = {**self._wanted, **levels_pct}
        self._send(link, wanted)
        self._wanted = wanted

    def _send(self, link: SerialLink, levels_pct: Mapping[str, float]) -> None:
        slots, written = fill_slots(self._channels, levels_pct)
        link.discard()
        if slots != self._sent:
            self._sent = b""  # until the widget answers behind them, nobody knows
            link.write(encode_slots(slots))
        # Another serial number than at the connect is a damaged answer (or another widget: the reconnect will tell).
        ask(link, Message(Label.SERIAL, b""), self._serial_data)
        self._sent = slots
        self.levels_pct = MappingProxyType(written)


def fill_slots(channels: Mapping[str, FixtureMap], levels_pct: Mapping[str, float]) -> tuple[bytes, dict[str, float]]:
    """The slots for these levels, and the levels that they really stand for."""
    slots = bytearray(max(MIN_SLOTS, *(max(place.places()) for place in channels.values())))
    written = {}
    for name, place in channels.items():
        for slot, value in place.fixed.items():
            slots[slot - 1] = value
        if place.fine is None:
            step = step_of(levels_pct[name], FULL_8)
            slots[place.address - 1] = step
            written[name] = step * 100 / FULL_8
        else:
            step = step_of(levels_pct[name], FULL_16)
            slots[place.address - 1], slots[place.fine - 1] = divmod(step, 256)
            written[name] = step * 100 / FULL_16
    return bytes(slots), written


def ask(link: SerialLink, question: Message, expected: bytes | None = None) -> bytes:
    """Send a question until its answer comes (with the expected data, if any); return the answer's data."""

    def answers(messages: list[Message]) -> list[Message]:
        return [one for one in messages if one.label == question.label and expected in {None, one.data}]

    heard = 0
    for _ in range(ATTEMPTS):
        decoder = MessageDecoder()
        link.write(encode(question))
        deadline = time.monotonic() + ANSWER_S
        messages: list[Message] = []
        while not messages and (left := deadline - time.monotonic()) > 0:
            data = link.read(left)
            heard += len(data)
            messages = answers(decoder.feed(data))
        messages += answers(decoder.finish())
        if messages:
            return messages[-1].data
    if heard:
        raise LinkGarbledError(
            f"{heard} bytes came from {link.path}, but no answer of a DMX widget: check what is plugged in there."
        )
    raise LinkSilentError(
        f"No DMX widget answers at {link.path}: check that it is an ENTTEC DMX USB Pro and has power."
    )
