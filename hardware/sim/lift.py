"""The height axis on its line: own reading of PBL/1 (docs/height.md), with an axis behind it that carries the camera.

Order for a line: everything before its last `:` is noise; without a right check sum it is not answered; an unknown word, a wrong number of
arguments or no number is answered ER SYNTAX; else the word is carried out and answered. Any line with a right check sum feeds the watch.
The axis moves evenly at the ordered speed. It stops at its target, at an obstruction (noted until STOP), and when the watch was not fed for
half a second; it has a supply of its own and goes on for that long when its cable is pulled. A stalled one tells that it moves and does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.sim.faults import Faults

LOW, HIGH, FASTEST = 0, 10000, 1000  # tenths of a millimetre (and of one a second)
WATCH_S: Final = 0.5
LINE_LIMIT: Final = 96
WRONG_BY: Final = 500  # tenths of a millimetre
IDENTITY: Final = "ID PBL/1 virtual 0001 1.0"


def check_sum(text: str) -> str:
    """CRC-16 with polynomial 1021h and start FFFFh, bit by bit."""
    value = 0xFFFF
    for byte in text.encode("latin-1"):
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return f"{value:04X}"


class LiftAxis:
    """The axis and its serial interface."""

    def __init__(
        self, send: Callable[[bytes], None], clock: Callable[[], float], faults: Faults, position_mm: float
    ) -> None:
        self._send = send
        self._clock = clock
        self._faults = faults
        self._line = bytearray()
        self._position = position_mm * 10  # tenths of a millimetre, as everything here
        self._target: int | None = None
        self._speed = 0.0
        self._at_s = self._heard_s = clock()
        self.obstructed = False
        self.messages = 0
        self.moves: list[float] = []  # targets, in mm
        self.fastest_mm_s = 0.0

    # ---- the line

    def plugged(self) -> None:
        """The cable is in."""
        self._line.clear()

    def unplugged(self) -> None:
        """The cable is out."""
        self._line.clear()

    def receive(self, data: bytes) -> None:
        """Takes bytes from the client."""
        for byte in data:
            if byte == ord("\n"):
                line, self._line = bytes(self._line), bytearray()
                self._take(line.decode("latin-1"))
            else:
                self._line.append(byte)
                del self._line[:-LINE_LIMIT]

    def _take(self, line: str) -> None:
        text, star, told = line.rpartition(":")[2].rpartition("*")
        if not star or ":" not in line or check_sum(text) != told:
            return
        self._advance()
        self.messages += 1
        self._heard_s = self._clock()
        number, *words = text.split(" ")
        answer = f"{number} {self._carry_out(words)}"
        self._send(f"={answer}*{check_sum(answer)}\n".encode("latin-1"))

    def _carry_out(self, words: list[str]) -> str:
        match words:
            case ["ID"]:
                return IDENTITY
            case ["LIM"]:
                return f"LIM {LOW} {HIGH} {FASTEST}"
            case ["ST"]:
                return self._status()
            case ["STOP"]:
                self._target = None
                self.obstructed = False
                return self._status()
            case ["GO", position, speed] if _is_number(position) and _is_number(speed):
                return self._go(int(position), int(speed))
            case _:
                return "ER SYNTAX"

    def _go(self, position: int, speed: int) -> str:
        if not LOW <= position <= HIGH:
            return "ER RANGE"
        if not 0 < speed <= FASTEST:
            return "ER SPEED"
        if self.obstructed:
            return "ER BLOCKED"
        self._target, self._speed = position, speed
        self.moves.append(position / 10)
        self.fastest_mm_s = max(self.fastest_mm_s, speed / 10)
        self._advance()
        return self._status()

    def _status(self) -> str:
        wrong = WRONG_BY if self._faults.take("lift.wrong_echo") else 0
        flags = ("M" if self.is_moving else "") + ("O" if self.obstructed else "")
        return f"ST {round(self._position) + wrong} {flags or '-'}"

    # ---- the axis

    @property
    def is_moving(self) -> bool:
        """Whether its motor is on."""
        return self._target is not None

    def _advance(self) -> None:
        """The axis until now."""
        now = self._clock()
        until = min(now, self._heard_s + WATCH_S)
        left_s, self._at_s = max(0.0, until - self._at_s), now
        if self._target is None:
            return
        if self._faults.is_on("lift.obstruct"):
            self._target, self.obstructed = None, True
            return
        if not self._faults.is_on("lift.stall"):
            way = self._target - self._position
            step = min(abs(way), self._speed * left_s)
            self._position += step if way > 0 else -step
        if abs(self._target - self._position) < 0.5 or until < now:
            self._target = None

    def position_mm(self) -> float:
        """Where it is now."""
        self._advance()
        return self._position / 10

    def state(self) -> dict[str, object]:
        """For the control socket."""
        return {
            "position_mm": round(self.position_mm(), 1),
            "moving": self.is_moving,
            "obstructed": self.obstructed,
            "messages": self.messages,
            "moves": self.moves[-20:],
            "fastest_mm_s": self.fastest_mm_s,
        }


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) <= 7
