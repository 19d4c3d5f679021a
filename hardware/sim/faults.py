"""The fault knobs: which exist, which are on, and for how many times still.

`{"fault": "lights.garble", "on": true, "times": 1}` garbles one answer and turns itself off; without `times` it stays until `"on": false`.
`ms` gives a delay where a fault has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINE_FAULTS = {
    "mute": "the device works but answers nothing",
    "garble": "bits of its answers are flipped",
    "split": "its answers arrive in pieces of a few bytes",
    "delay": "its answers come `ms` later",
    "drop": "what is sent to it is lost",
    "unplug": "the cable is out; off puts it back under the same name",
    "wrong_echo": "it answers well-formed but with wrong values",
    "crumble": "its answers arrive byte by byte",
    "glue": "its answers are held back for `ms` and then come in one piece",
    "noise": "garbage and the first half of the answer come before each of its answers",
    "babble": "it sends garbage without end and answers nothing",
    "deaf": "it reads nothing, and the line is full: nothing more can be sent to it",
    "unplug_on_write": "the cable is pulled as soon as something is sent; off puts it back",
    "unplug_on_answer": "the cable is pulled in the middle of its next answer; off puts it back",
    "move": "the cable is out; off puts it into another port: the stable name leads to another terminal",
}

FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "camera.freeze": "the preview repeats one and the same picture",
        "camera.freeze_stream": "connections that are open repeat one and the same picture; a new one is live",
        "camera.black": "the picture is black (lens cap)",
        "camera.kill": "the HTTP server is gone; off brings it back on the same port",
        "camera.slow": "every picture takes `ms` longer",
        "camera.half_rate": "half the frame rate",
        "camera.calm": "10 pictures a second, which a busy machine delivers as well",
        "camera.wrong_size": "pictures of half the size",
        "camera.cut": "the connection ends in the middle of a JPEG or PNG",
        "camera.damage": "every JPEG stops in the middle and the stream goes on",
        "camera.crumble": "the stream comes in small pieces: heads, and the beginning and end of pictures, byte by byte",
        "camera.glue": "two pictures come in one piece",
        "camera.noise": "garbage and half a head come before each picture",
        "camera.stall": "nothing more is sent, and what connects is not answered; connections of that time stay dead when it is off",
        "camera.page": "a web page comes instead of the stream",
        "camera.single": "only one viewer at a time; others are answered 503",
        "camera.move": "the server is gone; off brings it back at another address (127.0.0.1, 127.0.0.2 in turn)",
        **{f"lights.{name}": what for name, what in _LINE_FAULTS.items()},
        **{f"visca.{name}": what for name, what in _LINE_FAULTS.items()},
        **{f"lift.{name}": what for name, what in _LINE_FAULTS.items()},
        "lift.obstruct": "something is in the axis' way: it stops as soon as it moves, and says so",
        "lift.stall": "the axis says that it moves and stays where it is",
        "visca.buffer_full": "every command is answered with 'buffer full'",
        "visca.refuse": "every command is answered with 'not executable now'",
    }
)

DEFAULT_DELAY_MS: Final = 1000.0


class UnknownFaultError(Exception):
    """A fault name that does not exist."""


@dataclass(slots=True)
class Fault:
    """One fault that is on."""

    times: int | None
    delay_ms: float


class Faults:
    """The faults that are on now."""

    def __init__(self) -> None:
        self._on: dict[str, Fault] = {}

    def set(self, name: str, *, on: bool, times: int | None = None, delay_ms: float = DEFAULT_DELAY_MS) -> None:
        """Turns one knob."""
        if name not in FAULTS:
            raise UnknownFaultError(f"there is no fault '{name}'; known: {', '.join(FAULTS)}")
        if on:
            self._on[name] = Fault(times, delay_ms)
        else:
            self._on.pop(name, None)

    def is_on(self, name: str) -> bool:
        """Whether it is on, without using it up."""
        return name in self._on

    def take(self, name: str) -> Fault | None:
        """The fault if it is on, counting this use."""
        fault = self._on.get(name)
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                del self._on[name]
        return fault

    def state(self) -> dict[str, int | None]:
        """Names that are on, with the times left."""
        return {name: fault.times for name, fault in self._on.items()}
