"""WLED on a serial line: its own reading of the JSON interface, as the firmware does it.

Order for each byte received: `{` starts an object, which ends with its closing brace; `v` outside an object is answered with the version
text; anything else is ignored. An object that pauses for more than 100 ms is dropped without an answer, as is one that is not JSON.
Only an object with `"v": true` is answered, with one line holding state and info.

Particulars kept because a driver must live with them (wled00/json.cpp):
* a segment `bri` of 0 turns the segment off and keeps its old `bri`; the state never shows 0;
* master `on`/`bri` work the same way; the state shows the last brightness while off;
* `transition` (tenths of a second) stays, `tt` counts for this call only; the answer shows the target, the light follows;
* opening the port resets the controller (auto-reset circuit): lamps off, boot text first.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hardware.sim.scenarios import LAMPS, STATUS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hardware.sim.faults import Faults

VERSION = "0.15.0"
BUILD = 2412100
BOOT_TEXT = b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\nAda\r\n"
PAUSE_LIMIT_S = 0.1
OBJECT_LIMIT_BYTES = 24576  # the firmware's JSON buffer on an ESP32
DEFAULT_TRANSITION = 7  # tenths of a second
LEDS_PER_SEGMENT = 30
WARM_CCT, NEUTRAL_CCT = 0, 127
# Tint of the white strip from its warm to its cold end, linear light, blue green red: half the way from daylight to tungsten.
WARM_TINT = (0.7, 0.95, 1.15)

Light = tuple[float, float, float]  # drive 0..1 in blue, green, red


@dataclass(slots=True)
class Segment:
    """One segment of the strip: one lamp."""

    number: int
    name: str
    on: bool = True
    bri: int = 255
    cct: int = NEUTRAL_CCT
    colour: list[int] = field(default_factory=lambda: [255, 255, 255, 0])


class WledController:
    """The controller's state and its serial interface."""

    def __init__(
        self, send: Callable[[bytes], None], clock: Callable[[], float], faults: Faults, *, boot_text: bool = True
    ) -> None:
        self._send = send
        self._clock = clock
        self._faults = faults
        self._boot_text = boot_text
        self._object = bytearray()
        self._depth = 0
        self._in_string = self._escaped = False
        self._last_byte_s = -math.inf
        self.messages = 0
        self._reset()

    def _reset(self) -> None:
        self.on = False
        self.bri = 128
        self.transition = DEFAULT_TRANSITION
        self.preset = -1
        self.segments = [Segment(number, name) for number, name in enumerate((*LAMPS, STATUS))]
        self._presets: dict[int, dict[str, Any]] = {}
        dark = {segment.name: (0.0, 0.0, 0.0) for segment in self.segments}
        self._from, self._to = dark, dark
        self._changed_s, self._fade_s = -math.inf, 0.0

    # ---- the line

    def plugged(self) -> None:
        """The port was opened anew: the controller boots."""
        self._reset()
        self._drop_object()
        if self._boot_text:
            self._send(BOOT_TEXT)

    def unplugged(self) -> None:
        """The line is gone; the lamps have a supply of their own and stay as they are."""
        self._drop_object()

    def receive(self, data: bytes) -> None:
        """Takes bytes from the client."""
        now = self._clock()
        if self._depth and now - self._last_byte_s > PAUSE_LIMIT_S:
            self._drop_object()
        self._last_byte_s = now
        for byte in data:
            self._take(byte)

    def _drop_object(self) -> None:
        self._object.clear()
        self._depth = 0
        self._in_string = self._escaped = False

    def _take(self, byte: int) -> None:
        if not self._depth:
            if byte == ord("{"):
                self._object += b"{"
                self._depth = 1
            elif byte == ord("v"):
                self._send(f"WLED {BUILD}\r\n".encode())
            return
        self._object.append(byte)
        if len(self._object) > OBJECT_LIMIT_BYTES:
            self._drop_object()
        elif self._escaped:
            self._escaped = False
        elif self._in_string:
            self._escaped = byte == ord("\\")
            self._in_string = byte != ord('"')
        elif byte == ord('"'):
            self._in_string = True
        elif byte == ord("{"):
            self._depth += 1
        elif byte == ord("}"):
            self._depth -= 1
            if not self._depth:
                text = bytes(self._object)
                self._drop_object()
                self._handle(text)

    def _handle(self, text: bytes) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return  # the firmware answers nothing to what it cannot read
        self.messages += 1
        self._apply(message)
        if message.get("v") is True:
            answer = json.dumps({"state": self._state(), "info": self._info()}, separators=(",", ":"))
            self._send(answer.encode() + b"\r\n")

    # ---- the state

    def _apply(self, message: Mapping[str, Any]) -> None:
        preset = message.get("ps")
        if isinstance(preset, int) and preset in self._presets:
            self._apply(self._presets[preset])
            self.preset = preset
        before = self.outputs()
        bri = _byte(message.get("bri"))
        if bri is not None:
            self.on = bri > 0
            self.bri = bri or self.bri
        on = message.get("on")
        if isinstance(on, bool):
            self.on = on
        elif on == "t":
            self.on = not self.on
        fade = _byte(message.get("transition"), 65535)
        if fade is not None:
            self.transition = fade
        once = _byte(message.get("tt"), 65535)
        self._apply_segments(message.get("seg"))
        self._from, self._to = before, self._target()
        self._changed_s = self._clock()
        self._fade_s = (once if once is not None else self.transition) / 10
        save = message.get("psave")
        if isinstance(save, int) and 0 < save <= 250:
            self._presets[save] = self._state()

    def _apply_segments(self, segments: object) -> None:
        if isinstance(segments, dict):
            numbers = [segments["id"]] if isinstance(segments.get("id"), int) else range(len(self.segments))
            segments = [{**segments, "id": number} for number in numbers]
        if not isinstance(segments, list):
            return
        for position, change in enumerate(segments):
            if not isinstance(change, dict):
                continue
            number = change.get("id", position)
            if isinstance(number, int) and 0 <= number < len(self.segments):
                _change_segment(self.segments[number], change)

    def _target(self) -> dict[str, Light]:
        master = self.bri / 255 if self.on else 0.0
        return {segment.name: _light(segment, master) for segment in self.segments}

    def outputs(self) -> dict[str, Light]:
        """The light now, on its way through a transition."""
        elapsed = self._clock() - self._changed_s
        if elapsed >= self._fade_s:
            return self._to
        share = elapsed / self._fade_s
        return {name: _mix(self._from[name], target, share) for name, target in self._to.items()}

    def _state(self) -> dict[str, Any]:
        wrong = 1 if self._faults.take("lights.wrong_echo") else 0
        return {
            "on": self.on,
            "bri": self.bri,
            "transition": self.transition,
            "ps": self.preset,
            "pl": -1,
            "nl": {"on": False, "dur": 60, "mode": 1, "tbri": 0, "rem": -1},
            "udpn": {"send": False, "recv": True, "sgrp": 1, "rgrp": 1},
            "lor": 0,
            "mainseg": 0,
            "seg": [self._segment_state(segment, wrong) for segment in self.segments],
        }

    @staticmethod
    def _segment_state(segment: Segment, wrong: int) -> dict[str, Any]:
        start = segment.number * LEDS_PER_SEGMENT
        return {
            "id": segment.number,
            "start": start,
            "stop": start + LEDS_PER_SEGMENT,
            "len": LEDS_PER_SEGMENT,
            "grp": 1,
            "spc": 0,
            "of": 0,
            "on": segment.on,
            "frz": False,
            "bri": (segment.bri + 128 * wrong) % 256,
            "cct": segment.cct,
            "set": 0,
            "n": segment.name,
            "col": [list(segment.colour), [0, 0, 0, 0], [0, 0, 0, 0]],
            "fx": 0,
            "sx": 128,
            "ix": 128,
            "pal": 0,
            "c1": 128,
            "c2": 128,
            "c3": 16,
            "sel": segment.number == 0,
            "rev": False,
            "mi": False,
            "o1": False,
            "o2": False,
            "o3": False,
            "si": 0,
            "m12": 0,
        }

    def _info(self) -> dict[str, Any]:
        count = LEDS_PER_SEGMENT * len(self.segments)
        return {
            "ver": VERSION,
            "vid": BUILD,
            "leds": {"count": count, "pwr": 0, "fps": 42, "maxpwr": 0, "maxseg": 32, "rgbw": True, "wv": 2, "cct": 7},
            "str": False,
            "name": "Virtual booth lamps",
            "udpport": 21324,
            "live": False,
            "fxcount": 187,
            "palcount": 71,
            "arch": "esp32",
            "core": "v3.3.6-16-gcc5440f6a2",
            "freeheap": 168432,
            "uptime": int(self._clock()) % 2**31,
            "brand": "WLED",
            "product": "FOSS",
            "mac": "5ec1a1b00700",
            "ip": "",
        }

    def state(self) -> dict[str, object]:
        """For the control socket."""
        return {
            "kind": "wled",
            "on": self.on,
            "bri": self.bri,
            "messages": self.messages,
            "segments": {segment.name: {"on": segment.on, "bri": segment.bri} for segment in self.segments},
        }


def _byte(value: object, limit: int = 255) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return min(value, limit)
    return None


def _change_segment(segment: Segment, change: Mapping[str, Any]) -> None:
    bri = _byte(change.get("bri"))
    if bri is not None:
        segment.bri = bri or segment.bri
        segment.on = bri > 0
    if isinstance(change.get("on"), bool):
        segment.on = change["on"]
    cct = _byte(change.get("cct"))
    if cct is not None:
        segment.cct = cct
    colours = change.get("col")
    if isinstance(colours, list) and colours and isinstance(colours[0], list):
        parts = [_byte(part) for part in colours[0][:4]]
        if parts and None not in parts:
            segment.colour = [part or 0 for part in parts] + [0] * (4 - len(parts))


def _light(segment: Segment, master: float) -> Light:
    if not segment.on:
        return (0.0, 0.0, 0.0)
    drive = master * segment.bri / 255
    red, green, blue, white = segment.colour
    warm = max(0, NEUTRAL_CCT - segment.cct) / (NEUTRAL_CCT - WARM_CCT)
    cold = max(0, segment.cct - NEUTRAL_CCT) / (255 - NEUTRAL_CCT)
    tint = [1 + (warm_part - 1) * warm + (1 / warm_part - 1) * cold for warm_part in WARM_TINT]
    parts = [min(255, part + white) / 255 for part in (blue, green, red)]
    return (drive * parts[0] * tint[0], drive * parts[1] * tint[1], drive * parts[2] * tint[2])


def _mix(start: Light, end: Light, share: float) -> Light:
    return (
        start[0] + (end[0] - start[0]) * share,
        start[1] + (end[1] - start[1]) * share,
        start[2] + (end[2] - start[2]) * share,
    )
