"""The camera head on its RS-232 line: own reading of Sony's VISCA, with the registers of `lens.py` behind it.

Order for a packet (header, 1 to 14 bytes, FF):
1. not for this address: passed on (ignored); longer than 16 bytes: skipped up to its FF and answered with a syntax error;
2. interface messages (AddressSet, IF_Clear) are answered at once;
3. an inquiry is answered at once with `y0 50 ... FF`; while the head is off or powering on only power and version are known, others get 41;
4. Cancel ends the command in that socket (`y0 6s 04 FF`), or there was none (`y0 6s 05 FF`);
5. a command: unknown or out of range gives 02 (syntax), both sockets taken 03 (buffer full), not possible in this mode 41 (not executable);
   else ACK `y0 4s FF` at once and completion `y0 5s FF` when it is done. Registers change when the command starts, zoom, focus and pan-tilt
   move there evenly. Powering on takes its time; meanwhile every command is answered 41 and the picture is black.
Putting the cable in makes the head announce itself: network change, `y0 38 FF`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from hardware.sim import lens

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.sim.faults import Faults
    from hardware.sim.scene import Gains

PACKET_LIMIT: Final = 16
SOCKETS: Final = (1, 2)
SYNTAX, BUFFER_FULL, CANCELLED, NO_SOCKET, NOT_EXECUTABLE = 0x02, 0x03, 0x04, 0x05, 0x41
VERSION: Final = bytes((0x00, 0x20, 0x04, 0x0E, 0x01, 0x06, 0x02))  # Sony, EVI-D70, ROM 1.06, two sockets
ON, OFF = 0x02, 0x03

SETTING_S: Final = 0.02  # a register takes effect within about a field
ZOOM_RANGE_S, FOCUS_RANGE_S = 1.0, 0.6  # over the whole range; quicker than the real lens (about 3 s)
PAN_SPEED_MAX, TILT_SPEED_MAX = 0x18, 0x17
FASTEST_DEG_S: Final = 80.0

EXPOSURE_MODES: Final = (lens.AE_AUTO, lens.AE_MANUAL, lens.AE_SHUTTER, lens.AE_IRIS)
BALANCE_MODES: Final = (lens.WB_AUTO, lens.WB_INDOOR, lens.WB_OUTDOOR, lens.WB_ONE_PUSH, lens.WB_MANUAL)
# Register of a direct command: settings field, highest value, exposure modes in which it may be set (None: white balance manual).
DIRECT: Final = {
    0x43: ("red_gain", 0xFF, None),
    0x44: ("blue_gain", 0xFF, None),
    0x4A: ("shutter", 0x15, (lens.AE_MANUAL, lens.AE_SHUTTER)),
    0x4B: ("iris", 0x11, (lens.AE_MANUAL, lens.AE_IRIS)),
    0x4C: ("gain", 0x0F, (lens.AE_MANUAL,)),
}
# Reset, up and down commands of the same registers, and what reset gives.
STEPS: Final = {
    0x03: (0x43, lens.NOMINAL_COLOUR_GAIN),
    0x04: (0x44, lens.NOMINAL_COLOUR_GAIN),
    0x0A: (0x4A, lens.NOMINAL_SHUTTER),
    0x0B: (0x4B, lens.NOMINAL_IRIS),
    0x0C: (0x4C, lens.NOMINAL_GAIN),
}
SWITCHES: Final = {0x33: "backlight", 0x38: "focus_auto", 0x61: "mirror", 0x66: "flip"}


class Timer(Protocol):
    """A started timer."""

    def cancel(self) -> None:
        """Stops it."""


class _Refusal(Exception):  # noqa: N818 - an answer on the line, not a fault of this program
    """The error code to answer."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class _Move:
    """A register on its way."""

    start: float
    end: float
    since_s: float
    lasts_s: float

    def at(self, now_s: float) -> float:
        share = min(1.0, (now_s - self.since_s) / self.lasts_s)
        return self.start + (self.end - self.start) * share


@dataclass(slots=True)
class _Running:
    """A command in a socket."""

    timer: Timer
    moves: tuple[str, ...]


class ViscaHead:
    """The head's state and its serial interface."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
        faults: Faults,
        metered: Callable[[], Gains],
        *,
        power_on_s: float,
        standby: bool = False,
    ) -> None:
        self._send = send
        self._clock = clock
        self._call_later = call_later
        self._faults = faults
        self._metered = metered
        self._power_on_s = power_on_s
        self._settings = lens.Settings(power=not standby)
        self._powering_on = False
        self._moves: dict[str, _Move] = {}
        self._running: dict[int, _Running] = {}
        self._packet = bytearray()
        self._overlong = False
        self.address = 1
        self.packets = 0

    # ---- the line

    def plugged(self) -> None:
        """The cable was put in."""
        self._packet.clear()
        self._overlong = False
        self.announce()

    def unplugged(self) -> None:
        """The line is gone; the head works on."""
        self._packet.clear()
        self._overlong = False

    def announce(self) -> None:
        """Network change: something was plugged into the chain, addresses are to be set again."""
        self._reply(0x38)

    def receive(self, data: bytes) -> None:
        """Takes bytes from the client."""
        for byte in data:
            if byte == 0xFF:
                packet, overlong = bytes(self._packet), self._overlong
                self._packet.clear()
                self._overlong = False
                self._take(packet, overlong=overlong)
            elif len(self._packet) < PACKET_LIMIT - 1:
                self._packet.append(byte)
            else:
                self._overlong = True

    def _reply(self, *data: int) -> None:
        self._send(bytes(((self.address + 8) << 4, *data, 0xFF)))

    def _refuse(self, code: int, socket: int = 0) -> None:
        self._reply(0x60 | socket, code)

    def _take(self, packet: bytes, *, overlong: bool) -> None:
        if not packet or packet[0] not in {0x80 | self.address, 0x88}:
            return
        self.packets += 1
        body = packet[1:]
        if overlong or not body:
            self._refuse(SYNTAX)
        elif packet[0] == 0x88 and len(body) == 2 and body[0] == 0x30 and 1 <= body[1] <= 7:
            self.address = body[1]
            self._send(bytes((0x88, 0x30, self.address + 1, 0xFF)))
        elif body == bytes((0x01, 0x00, 0x01)):
            self._clear()
            if packet[0] == 0x88:
                self._send(packet + b"\xff")
            else:
                self._reply(0x50)
        elif len(body) == 1 and body[0] >> 4 == 2:
            self._cancel(body[0] & 0x0F)
        elif body[0] == 0x09:
            self._inquire(body[1:])
        elif body[0] == 0x01:
            self._command(body[1:])
        else:
            self._refuse(SYNTAX)

    def _clear(self) -> None:
        for running in self._running.values():
            running.timer.cancel()
        self._running.clear()

    def _cancel(self, socket: int) -> None:
        running = self._running.pop(socket, None)
        if running is None:
            self._refuse(NO_SOCKET, socket)
            return
        running.timer.cancel()
        self.settings()  # brings moving registers to where they are now
        for name in running.moves:
            self._moves.pop(name, None)
        self._refuse(CANCELLED, socket)

    # ---- commands

    def _command(self, body: bytes) -> None:
        socket = next((number for number in SOCKETS if number not in self._running), 0)
        if not socket or self._faults.take("visca.buffer_full"):
            self._refuse(BUFFER_FULL)
            return
        try:
            if self._faults.take("visca.refuse") or self._powering_on:
                raise _Refusal(NOT_EXECUTABLE)
            moves_before = dict(self._moves)
            lasts_s, done = self._start(body)
        except _Refusal as refusal:
            self._refuse(refusal.code, socket if refusal.code == NOT_EXECUTABLE else 0)
            return
        moves = tuple(name for name, move in self._moves.items() if moves_before.get(name) is not move)

        def complete() -> None:
            del self._running[socket]
            done()
            self._reply(0x50 | socket)

        self._reply(0x40 | socket)
        self._running[socket] = _Running(self._call_later(lasts_s, complete), moves)

    def _start(self, body: bytes) -> tuple[float, Callable[[], None]]:
        """Begins a command: how long it takes and what is to be done at its end."""
        settings = self.settings()
        group, rest = body[:1], body[1:]
        if group == b"\x04" and len(rest) == 2 and rest[0] == 0x00 and rest[1] in {ON, OFF}:
            return self._power(on=rest[1] == ON)
        if not settings.power:
            raise _Refusal(NOT_EXECUTABLE)
        if group == b"\x04" and rest:
            return self._camera_command(rest[0], rest[1:])
        if group == b"\x06" and rest:
            return self._pan_tilt_command(rest[0], rest[1:])
        raise _Refusal(SYNTAX)

    def _power(self, *, on: bool) -> tuple[float, Callable[[], None]]:
        if not on:
            self._settings.power = False
        if not on or self._settings.power:
            return SETTING_S, _nothing
        self._powering_on = True

        def powered() -> None:
            self._powering_on = False
            self._settings.power = True

        return self._power_on_s, powered

    def _camera_command(self, code: int, data: bytes) -> tuple[float, Callable[[], None]]:
        settings = self._settings
        if code in {0x47, 0x48}:
            return self._move_lens(code, _value(data, 4))
        if code in DIRECT:
            if len(data) != 4 or data[0] or data[1]:
                raise _Refusal(SYNTAX)
            self._set_register(code, _value(data, 4))
        elif len(data) != 1:
            raise _Refusal(SYNTAX)
        elif code in STEPS:
            register, nominal = STEPS[code]
            steps = {0x00: nominal, 0x02: self._register(register) + 1, 0x03: self._register(register) - 1}
            if data[0] not in steps:
                raise _Refusal(SYNTAX)
            limit = DIRECT[register][1]
            self._set_register(register, max(0, min(limit, steps[data[0]])))
        elif code in SWITCHES and data[0] in {ON, OFF}:
            setattr(settings, SWITCHES[code], data[0] == ON)
            if code == 0x38 and data[0] == ON:
                self._moves.pop("focus", None)
                settings.focus = lens.FOCUS_ON_SITTER
        elif code == 0x39 and data[0] in EXPOSURE_MODES:
            settings.exposure_mode = data[0]
        elif code == 0x35 and data[0] in BALANCE_MODES:
            settings.white_balance = data[0]
        elif code == 0x10 and data[0] == 0x05:
            if settings.white_balance != lens.WB_ONE_PUSH:
                raise _Refusal(NOT_EXECUTABLE)
            settings.one_push = lens.grey_world(self._metered())
        elif code == 0x18 and data[0] == 0x01:
            return self._move_lens(0x48, lens.FOCUS_ON_SITTER)
        else:
            raise _Refusal(SYNTAX)
        return SETTING_S, _nothing

    def _register(self, code: int) -> int:
        return int(getattr(self._settings, DIRECT[code][0]))

    def _set_register(self, code: int, value: int) -> None:
        name, limit, modes = DIRECT[code]
        if value > limit:
            raise _Refusal(SYNTAX)
        settings = self._settings
        allowed = settings.white_balance == lens.WB_MANUAL if modes is None else settings.exposure_mode in modes
        if not allowed:
            raise _Refusal(NOT_EXECUTABLE)
        setattr(settings, name, value)

    def _move_lens(self, code: int, target: int) -> tuple[float, Callable[[], None]]:
        if code == 0x47:
            if target > lens.ZOOM_MAX:
                raise _Refusal(SYNTAX)
            return self._move(
                "zoom", target, abs(target - self._settings.zoom) / lens.ZOOM_MAX * ZOOM_RANGE_S
            ), _nothing
        if self._settings.focus_auto:
            raise _Refusal(NOT_EXECUTABLE)
        if not lens.FOCUS_MIN <= target <= lens.FOCUS_MAX:
            raise _Refusal(SYNTAX)
        return self._move(
            "focus", target, abs(target - self._settings.focus) / lens.FOCUS_MAX * FOCUS_RANGE_S
        ), _nothing

    def _pan_tilt_command(self, code: int, data: bytes) -> tuple[float, Callable[[], None]]:
        pan_speed, tilt_speed = PAN_SPEED_MAX, TILT_SPEED_MAX
        pan = tilt = 0
        if code == 0x02 and len(data) == 10:
            pan_speed, tilt_speed = data[0], data[1]
            pan, tilt = _signed(_value(data[2:6], 4)), _signed(_value(data[6:], 4))
            if not (1 <= pan_speed <= PAN_SPEED_MAX and 1 <= tilt_speed <= TILT_SPEED_MAX):
                raise _Refusal(SYNTAX)
            if not (abs(pan) <= lens.PAN_LIMIT and lens.TILT_MIN <= tilt <= lens.TILT_MAX):
                raise _Refusal(SYNTAX)
        elif code not in {0x04, 0x05} or data:
            raise _Refusal(SYNTAX)
        pan_s = _turn_s(pan - self._settings.pan, pan_speed / PAN_SPEED_MAX)
        tilt_s = _turn_s(tilt - self._settings.tilt, tilt_speed / TILT_SPEED_MAX)
        return max(self._move("pan", pan, pan_s), self._move("tilt", tilt, tilt_s)), _nothing

    def _move(self, name: str, target: float, lasts_s: float) -> float:
        """Starts a register moving; how long it takes."""
        lasts_s = max(SETTING_S, lasts_s)
        self._moves[name] = _Move(getattr(self._settings, name), target, self._clock(), lasts_s)
        return lasts_s

    def settings(self) -> lens.Settings:
        """The registers at this moment."""
        now = self._clock()
        for name, move in list(self._moves.items()):
            setattr(self._settings, name, move.at(now))
            if now >= move.since_s + move.lasts_s:
                setattr(self._settings, name, move.end)
                del self._moves[name]
        return self._settings

    # ---- inquiries

    def _inquire(self, body: bytes) -> None:
        settings = self.settings()
        if body == b"\x00\x02":
            self._reply(0x50, *VERSION)
            return
        if body == b"\x04\x00":
            self._reply(0x50, ON if settings.power or self._powering_on else OFF)
            return
        answer = self._answer(body)
        if answer is None:
            self._refuse(SYNTAX)
        elif not settings.power:
            self._refuse(NOT_EXECUTABLE)
        else:
            if self._faults.take("visca.wrong_echo"):
                answer = answer[:-1] + bytes((answer[-1] ^ 0x01,))
            self._reply(0x50, *answer)

    def _answer(self, body: bytes) -> bytes | None:
        settings = self._settings
        if body == b"\x06\x12":
            return _nibbles(round(settings.pan)) + _nibbles(round(settings.tilt))
        if len(body) != 2 or body[0] != 0x04:
            return None
        code = body[1]
        if code == 0x47:
            return _nibbles(round(settings.zoom))
        if code == 0x48:
            return _nibbles(round(settings.focus))
        if code in DIRECT:
            automatic = settings.exposure_mode != lens.AE_MANUAL and code in {0x4A, 0x4B, 0x4C}
            chosen = lens.auto_registers(settings, self._metered()) if automatic else None
            return _nibbles(chosen[DIRECT[code][0]] if chosen else self._register(code))
        if code in SWITCHES:
            return bytes((ON if getattr(settings, SWITCHES[code]) else OFF,))
        modes = {0x35: settings.white_balance, 0x39: settings.exposure_mode}
        return bytes((modes[code],)) if code in modes else None

    def state(self) -> dict[str, object]:
        """For the control socket."""
        settings = self.settings()
        values = {name: getattr(settings, name) for name in settings.__slots__}
        return {"address": self.address, "packets": self.packets, "powering_on": self._powering_on, **values}

    def close(self) -> None:
        """Stops what is running."""
        self._clear()


def _nothing() -> None:
    """The end of a command that has nothing left to do."""


def _value(data: bytes, nibbles: int) -> int:
    if len(data) != nibbles or any(byte > 0x0F for byte in data):
        raise _Refusal(SYNTAX)
    value = 0
    for byte in data:
        value = value << 4 | byte
    return value


def _signed(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value


def _nibbles(value: int) -> bytes:
    return bytes((value >> shift) & 0x0F for shift in (12, 8, 4, 0))


def _turn_s(steps: float, speed: float) -> float:
    return abs(steps) / lens.STEPS_PER_DEG / (FASTEST_DEG_S * speed)
