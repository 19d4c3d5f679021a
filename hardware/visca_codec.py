"""VISCA packets (pure): what goes over the line, without the line. Source: Sony EVI-D70 technical manual, VISCA command list.

A packet is a header, 1 to 14 message bytes and FF. Commands to camera x have the header 8x, broadcasts 88, replies y0 with y = x + 8.
`ReplyDecoder` finds replies in any stream of bytes: FF ends a packet, and what stands before the first byte that starts a known reply
is noise; so is a reply that was cut off before a whole one. `Sockets` keeps account of the two commands a camera runs at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto

from hardware.errors import ControlAnswerError, ControlValueError

END = 0xFF
BROADCAST = 0x88
MAX_MESSAGE = 14
# A camera runs two commands at a time and keeps none waiting.
SOCKETS = 2

ADDRESS_SET = bytes((BROADCAST, 0x30, 0x01, END))
IF_CLEAR = bytes((BROADCAST, 0x01, 0x00, 0x01, END))
ASK_VERSION = bytes((0x09, 0x00, 0x02))
ASK_PAN_TILT = bytes((0x09, 0x06, 0x12))
FOCUS_ONCE = bytes((0x01, 0x04, 0x18, 0x01))
WHITE_ONCE = bytes((0x01, 0x04, 0x10, 0x05))


class Register(IntEnum):
    """Settings with one value: command 01 04 rr value, inquiry 09 04 rr."""

    POWER = 0x00
    BACKLIGHT = 0x33
    WHITE_BALANCE = 0x35
    FOCUS_MODE = 0x38
    EXPOSURE_MODE = 0x39
    RED_GAIN = 0x43
    BLUE_GAIN = 0x44
    ZOOM = 0x47
    FOCUS = 0x48
    SHUTTER = 0x4A
    IRIS = 0x4B
    GAIN = 0x4C


# These take a value of four nibbles, the others one byte.
NIBBLES = frozenset(
    {
        Register.RED_GAIN,
        Register.BLUE_GAIN,
        Register.ZOOM,
        Register.FOCUS,
        Register.SHUTTER,
        Register.IRIS,
        Register.GAIN,
    }
)
ON, OFF = 0x02, 0x03


class ErrorCode(IntEnum):
    """Why a camera does not obey."""

    SYNTAX = 0x02
    BUFFER_FULL = 0x03
    CANCELLED = 0x04
    NO_SOCKET = 0x05
    NOT_EXECUTABLE = 0x41


class Kind(Enum):
    """What a reply is."""

    ACK = auto()
    COMPLETION = auto()
    ERROR = auto()
    NETWORK_CHANGE = auto()
    ADDRESS_SET = auto()
    IF_CLEAR = auto()


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; `address` 0 means that it came back from a broadcast."""

    kind: Kind
    address: int
    socket: int = 0
    data: bytes = b""
    error: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    """The answer to the version inquiry."""

    vendor: int
    model: int
    rom: int
    sockets: int


def encode(address: int, message: bytes) -> bytes:
    """A packet to one camera."""
    if not 1 <= address <= 7 or not 1 <= len(message) <= MAX_MESSAGE or END in message:
        raise ControlValueError(f"{message.hex(' ')} for camera {address} is no VISCA message.")
    return bytes((0x80 | address,)) + message + bytes((END,))


def encode_cancel(address: int, socket: int) -> bytes:
    """Stop the command that runs in a socket."""
    return encode(address, bytes((0x20 | socket,)))


def encode_set(register: Register, value: int) -> bytes:
    """The message that sets a register."""
    if register in NIBBLES:
        return bytes((0x01, 0x04, register)) + to_nibbles(value)
    if not 0 <= value < END:
        raise ControlValueError(f"{value} is no value for {register.name.lower()}.")
    return bytes((0x01, 0x04, register, value))


def encode_ask(register: Register) -> bytes:
    """The message that asks for a register."""
    return bytes((0x09, 0x04, register))


def encode_pan_tilt(pan: int, tilt: int, speed: int) -> bytes:
    """The message that moves to an absolute position, in the camera's own steps (signed)."""
    if not -0x8000 <= pan < 0x8000 or not -0x8000 <= tilt < 0x8000 or not 1 <= speed <= 0x14:
        raise ControlValueError(f"pan {pan}, tilt {tilt} at speed {speed} is no position.")
    return bytes((0x01, 0x06, 0x02, speed, speed)) + to_nibbles(pan & 0xFFFF) + to_nibbles(tilt & 0xFFFF)


def to_nibbles(value: int) -> bytes:
    """16 bits as four bytes of four bits."""
    if not 0 <= value <= 0xFFFF:
        raise ControlValueError(f"{value} has no 16 bits.")
    return bytes((value >> shift & 0xF) for shift in (12, 8, 4, 0))


def from_nibbles(data: bytes) -> int:
    """Four bytes of four bits as 16 bits."""
    if len(data) != 4 or any(byte > 0xF for byte in data):
        raise ControlAnswerError(f"The camera answers {data.hex(' ')}, which is no 16-bit value.")
    return data[0] << 12 | data[1] << 8 | data[2] << 4 | data[3]


def read_value(register: Register, data: bytes) -> int:
    """The value in the answer to `encode_ask`."""
    if register in NIBBLES:
        return from_nibbles(data)
    if len(data) != 1:
        raise ControlAnswerError(
            f"The camera answers {data.hex(' ')} for {register.name.lower()}, which is no single byte."
        )
    return data[0]


def read_pan_tilt(data: bytes) -> tuple[int, int]:
    """Pan and tilt in the camera's own steps (signed)."""
    if len(data) != 8:
        raise ControlAnswerError(f"The camera answers {data.hex(' ')}, which is no pan-tilt position.")
    pan, tilt = from_nibbles(data[:4]), from_nibbles(data[4:])
    return pan - (pan >> 15 << 16), tilt - (tilt >> 15 << 16)


def read_version(data: bytes) -> Version:
    """The answer to `ASK_VERSION`."""
    if len(data) != 7:
        raise ControlAnswerError(f"The camera answers {data.hex(' ')}, which is no version.")
    vendor, model, rom = (int.from_bytes(data[at : at + 2], "big") for at in (0, 2, 4))
    return Version(vendor, model, rom, data[6])


class ReplyDecoder:
    """Finds replies in a stream of bytes; never raises."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Reply]:
        """Take bytes, return the replies that are complete now."""
        *ended, rest = (self._buffer + data).split(bytes((END,)))
        self._buffer = rest[-(MAX_MESSAGE + 1) :]
        return [reply for packet in ended if (reply := _find_reply(packet[-(MAX_MESSAGE + 1) :])) is not None]


def _find_reply(packet: bytes) -> Reply | None:
    # From the end: headers are the only bytes above 7F in these replies, so a header later on means that what stands before was cut off.
    for start in range(len(packet) - 2, -1, -1):
        if packet[start] >= 0x80 and (reply := _read_reply(packet[start:])) is not None:
            return reply
    return None


def _read_reply(packet: bytes) -> Reply | None:
    """Read a packet without its FF."""
    header, message = packet[0], packet[1:]
    if header == BROADCAST:
        if len(message) == 2 and message[0] == 0x30:
            return Reply(Kind.ADDRESS_SET, 0, data=message[1:])
        return Reply(Kind.IF_CLEAR, 0) if message == IF_CLEAR[1:-1] else None
    address = (header >> 4) - 8
    if header & 0xF or not 1 <= address <= 7:
        return None
    group, socket = message[0] & 0xF0, message[0] & 0xF
    if message == b"\x38":
        return Reply(Kind.NETWORK_CHANGE, address)
    if group == 0x40 and len(message) == 1:
        return Reply(Kind.ACK, address, socket)
    if group == 0x50:
        return Reply(Kind.COMPLETION, address, socket, data=message[1:])
    if group == 0x60 and len(message) == 2:
        return Reply(Kind.ERROR, address, socket, error=message[1])
    return None


@dataclass(frozen=True, slots=True)
class Command:
    """Something to do: its name for messages, its bytes, and how long it may take."""

    name: str
    message: bytes
    timeout_s: float


@dataclass(slots=True)
class Sockets:
    """Which command was sent and not acknowledged yet, and which runs in which socket."""

    sent: Command | None = None
    running: dict[int, Command] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        """Whether another command may be sent."""
        return self.sent is None and len(self.running) < SOCKETS

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self.sent is not None or bool(self.running)

    def take(self, reply: Reply) -> tuple[Command, int | None] | None:
        """Account for a reply; return the command that is over, with its error or None, when one is.

        A completion or an error in a socket that runs nothing belongs to the command that was just sent (some cameras leave out the
        acknowledgement); without such a command it is a leftover of earlier times.
        """
        if reply.kind is Kind.ACK:
            if self.sent is not None:
                self.running[reply.socket] = self.sent
                self.sent = None
            return None
        if reply.kind not in {Kind.COMPLETION, Kind.ERROR}:
            return None
        command = self.running.pop(reply.socket, None)
        if command is None:
            command, self.sent = self.sent, None
        if command is None:
            return None
        return command, reply.error if reply.kind is Kind.ERROR else None
