"""WLED lamps: one JSON object per line over serial, 115200 8N1 (https://kno.wled.ge/interfaces/serial).

Codec (pure): `encode_*` write requests, `AnswerDecoder` finds answers in any stream of bytes. An answer is one object with `state` and
`info`; boot text, half answers and noise around it are skipped and never hide an answer that follows.

Driver: each request carries `"v":true`, so the controller answers with its whole new state: that echo is the acknowledgement. Rules:

* A segment's brightness of 0 switches the segment off and keeps the old `bri`; the level of a segment that is off is 0.
* A request stays below the 256 bytes that the controller's serial input holds while it is busy: levels go in one request, colours in one
  request per segment, once after each connect.
* An answer that says something else than asked may be a late answer to an earlier request: the next one is waited for, and of answers
  that came together the newest counts. A controller that says another level than the one asked for does not follow: it is lost, and
  ready again when it takes a level (after a connect the last ones; channels that nobody set keep what they have).
* A request without a readable answer is repeated once; then the connection is worth nothing (`LinkSilentError`, `LinkGarbledError`).
* Serial input is dead while WLED drives LEDs on GPIO 1 or 3, and with the serial JSON switched off: that looks like silence.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from hardware.errors import LightsRefusedError, LinkGarbledError, LinkSilentError
from hardware.lights import SegmentMap, step_of
from hardware.link import SerialLink

log = logging.getLogger(__name__)

FULL = 255
# 32 segments of about 300 bytes, and the info.
MAX_ANSWER = 32 * 1024
ANSWER_START = re.compile(r'\{\s?"(?:state|info)"\s?:')
# The longest text that `ANSWER_START` matches: so much of the tail may be the start of an answer.
START_SIZE = 11
JSON = json.JSONDecoder()
# How long the first byte of an answer, and any pause inside it, may take; and the whole (10 kB take 0.9 s at 115200 baud).
ANSWER_S = 1.2
WHOLE_ANSWER_S = 2.0
ATTEMPTS = 2
# Opening the port may restart the controller (DTR and RTS reach its reset): it needs a few seconds.
CONNECT_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class WledAnswer:
    """What WLED says of itself: the effective brightness 0..255 of each segment, and who it is."""

    brightness: Mapping[int, int]
    info: Mapping[str, str]


def encode_question() -> bytes:
    """Ask for state and info."""
    return b'{"v":true}\n'


def encode_levels(brightness: Mapping[int, int]) -> bytes:
    """Set segments at once, without a transition, and ask for the new state."""
    segments = [{"id": segment, "on": value > 0, "bri": value} for segment, value in sorted(brightness.items())]
    return _line({"on": True, "bri": FULL, "transition": 0, "seg": segments, "v": True})


def encode_colour(place: SegmentMap) -> bytes:
    """Give a segment its colour, without an effect, and ask for the new state."""
    segment: dict[str, Any] = {"id": place.segment, "fx": 0, "col": [list(place.colour)]}
    if place.cct is not None:
        segment["cct"] = place.cct
    return _line({"seg": [segment], "v": True})


def _line(request: Mapping[str, Any]) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


class AnswerDecoder:
    """Finds answers in a stream of bytes; never raises."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, data: bytes) -> list[WledAnswer]:
        """Take bytes, return the answers that are complete now."""
        # Latin-1 keeps one character per byte; the few texts that matter are read as UTF-8 later.
        self._text = (self._text + data.decode("latin-1"))[-MAX_ANSWER:]
        answers = []
        done = 0
        unread: int | None = None
        for match in ANSWER_START.finditer(self._text):
            start = match.start()
            if start < done:
                continue
            try:
                value, end = JSON.raw_decode(self._text, start)
            except (ValueError, RecursionError):
                # Cut off or damaged: kept as long as nothing readable follows.
                unread = start if unread is None else unread
                continue
            done, unread = end, None
            if (answer := _read_answer(value)) is not None:
                answers.append(answer)
        self._text = self._text[max(done, len(self._text) - START_SIZE) if unread is None else unread :]
        return answers


def _read_answer(value: Any) -> WledAnswer | None:
    state, info = value.get("state"), value.get("info")
    if not isinstance(state, dict) or not isinstance(info, dict):
        return None
    segments = state.get("seg")
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        return None
    master = _byte(state.get("bri")) if state.get("on") is True else 0
    brightness = {}
    for position, segment in enumerate(segments):
        number, own = segment.get("id", position), _byte(segment.get("bri", FULL))
        if not isinstance(number, int) or master is None or own is None:
            return None
        brightness[number] = own * master // FULL if segment.get("on", True) is True else 0
    leds = info.get("leds")
    told = {
        "firmware": info.get("ver"),
        "name": info.get("name"),
        "board": info.get("arch"),
        "lights": leds.get("count") if isinstance(leds, dict) else None,
    }
    return WledAnswer(
        MappingProxyType(brightness),
        MappingProxyType({key: _text(one) for key, one in told.items() if one is not None}),
    )


def _byte(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= FULL else None


def _text(value: Any) -> str:
    return str(value).encode("latin-1", "replace").decode("utf-8", "replace")[:64]


class WledDialogue:
    """The driver, on its port's thread."""

    baud: ClassVar[int] = 115200
    idle_s: ClassVar[float] = 2.0
    acknowledged_by: Literal["echo", "widget"] = "echo"

    def __init__(self, channels: Mapping[str, SegmentMap]) -> None:
        self._channels = dict(channels)
        self.levels_pct: Mapping[str, float] = MappingProxyType({})
        # Segment brightness as last acknowledged to a caller; restored after a reconnect. Empty until somebody sets a level.
        self._wanted: dict[int, int] = {}

    def connect(self, link: SerialLink) -> Mapping[str, str]:
        """Ask who is there, give the segments their colour, restore the levels."""
        answer = ask(link, encode_question(), lambda _: True, CONNECT_ATTEMPTS)
        for name, place in self._channels.items():
            if place.segment not in answer.brightness:
                raise LightsRefusedError(
                    f"WLED has no segment {place.segment} for {name}: make it in WLED, or correct the settings."
                )
        for place in self._channels.values():
            answer = ask(link, encode_colour(place), lambda _: True)
        present = {place.segment: answer.brightness.get(place.segment, 0) for place in self._channels.values()}
        # Switching the master on must not light what nobody has set.
        self._note(self._apply(link, {**present, **self._wanted}))
        return answer.info

    def idle(self, link: SerialLink) -> None:
        """See that the controller is there and its levels are still ours (it may have restarted behind an open port)."""
        answer = ask(link, encode_question(), lambda _: True)
        changed = {segment for segment, value in self._wanted.items() if answer.brightness.get(segment) != value}
        if changed:
            for place in self._channels.values():
                ask(link, encode_colour(place), lambda _: True)
            self._note(self._apply(link, self._wanted))
            log.warning("WLED had lost the levels of segments %s: set again", sorted(changed))

    def set_levels(self, link: SerialLink, levels_pct: Mapping[str, float]) -> None:
        """Set levels and wait for their echo."""
        given = {self._channels[name].segment: step_of(level, FULL) for name, level in levels_pct.items()}
        self._note(self._apply(link, given))
        self._wanted.update(given)

    def _apply(self, link: SerialLink, brightness: Mapping[int, int]) -> WledAnswer:
        def same(answer: WledAnswer) -> bool:
            return all(answer.brightness.get(segment) == value for segment, value in brightness.items())

        return ask(link, encode_levels(brightness), same)

    def _note(self, answer: WledAnswer) -> None:
        self.levels_pct = MappingProxyType(
            {name: answer.brightness[place.segment] * 100 / FULL for name, place in self._channels.items()}
        )


def ask(link: SerialLink, request: bytes, fits: Callable[[WledAnswer], bool], attempts: int = ATTEMPTS) -> WledAnswer:
    """Send a request until an answer fits; raise `LinkError` without a readable one, `LightsRefusedError` without a fitting one."""
    heard = 0
    other: WledAnswer | None = None
    for _ in range(attempts):
        link.discard()
        decoder = AnswerDecoder()
        link.write(request)
        deadline = time.monotonic() + WHOLE_ANSWER_S
        while (left := deadline - time.monotonic()) > 0 and (data := link.read(min(left, ANSWER_S))):
            heard += len(data)
            answers = decoder.feed(data)
            if fitting := [answer for answer in answers if fits(answer)]:
                return fitting[-1]  # of several that came together the newest
            other = answers[-1] if answers else other
    if other is not None:
        raise LightsRefusedError(
            f"WLED on {link.path} does not take the levels, it answers {dict(other.brightness)}: "
            "check its brightness limit and who else sets it; switch it off and on."
        )
    if heard:
        raise LinkGarbledError(
            f"{heard} bytes came from {link.path}, but no WLED answer: check the speed (115200) and the cable."
        )
    raise LinkSilentError(
        f"No WLED answers at {link.path}: check that it has power, and that its serial JSON is on and GPIO 1 and 3 are free."
    )
