r"""PURE. The line protocol of the height axis, PBL/1 (docs/height.md): one request, one answer, each a line of ASCII with a check sum.

Request  `:SS WORD args*CCCC\n`, answer `=SS WORD args*CCCC\n`. SS is the request's number, two hexadecimal digits, and stands in its answer,
so that a late answer is never taken for the one asked for now. CCCC is the CRC-16 (polynomial 1021h, start FFFFh) of what stands between the
first sign and the asterisk. Lengths are whole tenths of a millimetre, speeds tenths of a millimetre a second.

    ID                   → ID PBL/1 maker serial firmware
    LIM                  → LIM lowest highest fastest
    ST                   → ST position flags
    GO position speed    → ST …, or ER
    STOP                 → ST …; also acknowledges an obstruction

Flags: M moving, O obstructed, F fault, `-` for none. ER tells why not: RANGE, SPEED, BLOCKED (an obstruction is not acknowledged), FAULT, SYNTAX.
A device that hears no valid request for DEADMAN_S while it moves, stops.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

PROTOCOL = "PBL/1"
DEADMAN_S = 0.5
LONGEST_LINE = 96
REFUSALS = ("RANGE", "SPEED", "BLOCKED", "FAULT", "SYNTAX")

_ANSWER = re.compile(rb"=([0-9A-F]{2}) ([A-Z]{2,4})((?: [A-Za-z0-9._/+\-]{1,32}){0,4})\*([0-9A-F]{4})")
_FLAGS = re.compile(r"-|M?O?F?")
_NUMBER = re.compile(r"-?[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Answer:
    """One line from the device."""

    number: int
    word: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiftReading:
    """Where the axis is and how it is."""

    position_mm: float
    moving: bool = False
    obstructed: bool = False
    fault: bool = False


@dataclass(frozen=True, slots=True)
class LiftLimits:
    """How far and how fast the axis goes."""

    low_mm: float
    high_mm: float
    fastest_mm_s: float


@dataclass(frozen=True, slots=True)
class LiftIdentity:
    """Who answers."""

    maker: str
    serial: str
    firmware: str


def check_sum(text: bytes) -> bytes:
    """CRC-16/CCITT-FALSE, four hexadecimal digits."""
    return f"{binascii.crc_hqx(text, 0xFFFF):04X}".encode()


def encode(number: int, word: str, *arguments: int) -> bytes:
    """One request."""
    text = " ".join((f"{number & 0xFF:02X}", word, *(str(each) for each in arguments))).encode("ascii")
    return b":" + text + b"*" + check_sum(text) + b"\n"


def encode_go(number: int, position_mm: float, speed_mm_s: float) -> bytes:
    """Go there at this speed."""
    return encode(number, "GO", round(position_mm * 10), round(speed_mm_s * 10))


class LineDecoder:
    """Finds answers in any stream of bytes; never raises. A line whose check sum is wrong is no answer."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Answer]:
        """Take bytes, return the answers that are complete now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-LONGEST_LINE:]
        found = (self._read(line) for line in lines)
        return [answer for answer in found if answer is not None]

    @staticmethod
    def _read(line: bytes) -> Answer | None:
        # Noise before an answer is on its line: the last start counts.
        match = _ANSWER.fullmatch(line[max(line.rfind(b"="), 0) :].rstrip(b"\r"))
        if match is None or check_sum(match.group(0)[1:-5]) != match[4]:
            return None
        return Answer(int(match[1], 16), match[2].decode(), tuple(match[3].decode().split()))


def read_status(answer: Answer) -> LiftReading | None:
    """The reading of an ST; None for any other answer."""
    if answer.word != "ST" or len(answer.arguments) != 2 or not _NUMBER.fullmatch(answer.arguments[0]):
        return None
    position, flags = answer.arguments
    if not _FLAGS.fullmatch(flags):
        return None
    return LiftReading(int(position) / 10, "M" in flags, "O" in flags, "F" in flags)


def read_limits(answer: Answer) -> LiftLimits | None:
    """The limits of a LIM; None for any other answer, and for limits that cannot be."""
    if answer.word != "LIM" or len(answer.arguments) != 3 or not all(map(_NUMBER.fullmatch, answer.arguments)):
        return None
    low, high, fastest = (int(each) / 10 for each in answer.arguments)
    return LiftLimits(low, high, fastest) if low < high and fastest > 0 else None


def read_identity(answer: Answer) -> LiftIdentity | None:
    """Who an ID comes from; None for any other answer, and for another protocol."""
    if answer.word != "ID" or len(answer.arguments) != 4 or answer.arguments[0] != PROTOCOL:
        return None
    return LiftIdentity(*answer.arguments[1:])


def read_refusal(answer: Answer) -> str | None:
    """Why the device refuses; None for any other answer."""
    refuses = answer.word == "ER" and len(answer.arguments) == 1 and answer.arguments[0] in REFUSALS
    return answer.arguments[0] if refuses else None
