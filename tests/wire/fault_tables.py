"""What every fault at the wire must lead to, device by device: the documented state, and the words that tell cause and remedy.

A row is a fault, a column a device, a cell what is to happen. Rows a device cannot have are left out, with the reason in `NOT_APPLICABLE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from typing import Any

FAULTS: Mapping[str, str] = {
    "happy": "nothing is wrong",
    "split": "split at every byte",
    "glued": "replies glued together",
    "garbage": "garbage and half a reply before each reply",
    "silent": "silent",
    "slow": "slow",
    "wrong echo": "wrong echo",
    "unplug while writing": "unplugged while something is sent",
    "unplug while waiting": "unplugged while an answer is awaited",
    "unplug while idle": "unplugged while nothing is asked",
    "replug elsewhere": "plugged in again under another path",
    "second opener": "held by another program",
    "never reads": "takes no bytes: the line is full",
    "babbles": "sends garbage without end",
    "frozen": "the same picture again and again",
    "black": "black picture",
    "half frame rate": "half the frame rate",
    "wrong size": "another picture size",
    "cut stream": "stream cut in a JPEG",
    "cut pictures": "every JPEG cut, the stream goes on",
}


class End(StrEnum):
    """The documented states."""

    WORKS = "ready"  # tolerated: calls succeed, nothing is told
    LOST = "lost"
    MISSING = "missing"  # never answered yet
    REFUSES = "ready, refuses"  # the call names the setting that is not taken
    FROZEN = "ready, frozen"
    BLACK = "ready, black"
    SLOW = "ready, slow"
    RESIZED = "ready, resized"

    @property
    def picture(self) -> str | None:
        """What `info["picture"]` says."""
        return self.value.partition(", ")[2] if self in PICTURES else None


PICTURES = frozenset({End.FROZEN, End.BLACK, End.SLOW, End.RESIZED})


@dataclass(frozen=True)
class Cell:
    """One fault at one device."""

    ends: End
    knob: str = ""  # of the simulator; none where the test itself makes the fault
    options: Mapping[str, Any] = field(default_factory=dict)
    says: str = ""  # a pattern for cause and remedy in the status
    raises: tuple[str, ...] = ()  # codes of what a call during the fault raises
    calm_fps: float | None = None  # the camera's rate is set to this, one that every machine can deliver
    by_hand: tuple[str, str] | None = None  # what a person does at the real device, and how to undo it


CABLE = ("pull the device's cable out of this machine", "put the cable back")
ELSEWHERE = ("pull the device's cable out of this machine", "put the cable into ANOTHER port of this machine")
POWER = ("switch the device's own power off, leave its cable in", "switch its power on")

PLUG = "No device at .*plug it in"
FEW = "pictures per second: check the camera's frame rate"
HELD = "held by another program: stop it"


def _serial_cells(
    device: str, lost: str, timeout: str, answer: str, silent: str, garbled: str, slow_ms: int = 400
) -> dict[str, Cell]:
    """What all serial devices have in common; `device` names their knobs, the codes are their errors'."""
    gone = (lost,)
    return {
        "happy": Cell(End.WORKS, by_hand=("nothing", "nothing")),
        "split": Cell(End.WORKS, f"{device}.crumble"),
        "glued": Cell(End.WORKS, f"{device}.glue", {"ms": 30}),
        "garbage": Cell(End.WORKS, f"{device}.noise"),
        "silent": Cell(End.LOST, f"{device}.mute", says=silent, raises=(timeout, lost), by_hand=POWER),
        "slow": Cell(End.WORKS, f"{device}.delay", {"ms": slow_ms}),
        "unplug while writing": Cell(End.LOST, f"{device}.unplug_on_write", says=PLUG, raises=gone),
        "unplug while waiting": Cell(End.LOST, f"{device}.unplug_on_answer", says=PLUG, raises=gone),
        "unplug while idle": Cell(End.LOST, f"{device}.unplug", says=PLUG, raises=gone, by_hand=CABLE),
        "replug elsewhere": Cell(End.LOST, f"{device}.move", says=PLUG, raises=gone, by_hand=ELSEWHERE),
        "second opener": Cell(End.MISSING, says=HELD, raises=gone, by_hand=("nothing", "nothing")),
        "never reads": Cell(
            End.LOST, f"{device}.deaf", says="does not read; check it, switch it off and on", raises=(timeout, lost)
        ),
        "babbles": Cell(End.LOST, f"{device}.babble", says=garbled, raises=(answer, lost)),
    }


WLED: Mapping[str, Cell] = {
    **_serial_cells(
        "lights",
        "lights.lost",
        "lights.timeout",
        "lights.answer",
        "No WLED answers .*check that it has power",
        "no WLED answer: check the speed",
    ),
    "wrong echo": Cell(
        End.LOST,
        "lights.wrong_echo",
        says="does not take the levels.*check its brightness limit",
        raises=("lights.refused", "lights.lost"),
    ),
}
DMX: Mapping[str, Cell] = {
    **_serial_cells(
        "lights",
        "lights.lost",
        "lights.timeout",
        "lights.answer",
        "No DMX widget answers .*check that it is an ENTTEC",
        "no answer of a DMX widget: check what is plugged in",
    ),
    "wrong echo": Cell(
        End.LOST,
        "lights.wrong_echo",
        says="no answer of a DMX widget: check what is plugged in",
        raises=("lights.answer", "lights.lost"),
    ),
}
VISCA: Mapping[str, Cell] = {
    **_serial_cells(
        "visca",
        "control.lost",
        "control.timeout",
        "control.answer",
        "No camera answers .*check that it has power",
        "no VISCA answer: check the speed and the cable",
        slow_ms=100,
    ),
    "wrong echo": Cell(
        End.REFUSES,
        "visca.wrong_echo",
        says="does not take .*correct the setting, or the model",
        raises=("control.refused",),
    ),
}
CAMERA: Mapping[str, Cell] = {
    "happy": Cell(End.WORKS, by_hand=("nothing", "nothing")),
    "split": Cell(End.WORKS, "camera.crumble"),
    "glued": Cell(End.WORKS, "camera.glue"),
    "garbage": Cell(End.WORKS, "camera.noise"),
    "silent": Cell(
        End.LOST,
        "camera.stall",
        says="does not answer: switch it off and on",
        raises=("camera.timeout", "camera.lost"),
    ),
    "slow": Cell(End.SLOW, "camera.slow", {"ms": 300}, says=FEW, calm_fps=10),
    "wrong echo": Cell(
        End.LOST,
        "camera.page",
        says="answers with text/html, not with a stream of pictures: check its address",
        raises=("camera.timeout", "camera.lost"),
    ),
    "unplug while writing": Cell(
        End.LOST, "camera.kill", says="No camera answers .*check its power", raises=("camera.lost",)
    ),
    "unplug while waiting": Cell(
        End.LOST,
        "camera.kill",
        says="No camera answers .*check its power",
        raises=("camera.timeout", "camera.lost"),
        by_hand=("pull the camera's network cable", "put the cable back"),
    ),
    "replug elsewhere": Cell(
        End.LOST,
        "camera.move",
        says="No camera answers .*check its power, the network and the address",
        raises=("camera.timeout", "camera.lost"),
    ),
    "second opener": Cell(
        End.MISSING,
        "camera.single",
        says=r"busy \(503\): end the other program",
        raises=("camera.timeout", "camera.lost"),
    ),
    "frozen": Cell(End.FROZEN, "camera.freeze", says="frozen: switch the camera off and on"),
    "black": Cell(
        End.BLACK,
        "camera.black",
        says="black: check the lens cap, the exposure and the lamps",
        by_hand=("put the lens cap on", "take the lens cap off"),
    ),
    "half frame rate": Cell(End.SLOW, "camera.half_rate", says=FEW, calm_fps=10),
    "wrong size": Cell(End.RESIZED, "camera.wrong_size", says="300x400 instead of 600x800: set the size"),
    "cut stream": Cell(
        End.LOST,
        "camera.cut",
        says="ended its stream: check the camera and the network",
        raises=("camera.timeout", "camera.lost"),
    ),
    "cut pictures": Cell(
        End.LOST,
        "camera.damage",
        says="only damaged pictures; check its cable",
        raises=("camera.timeout", "camera.lost"),
    ),
}
TABLES: Mapping[str, Mapping[str, Cell]] = {"camera": CAMERA, "visca": VISCA, "wled": WLED, "dmx": DMX}

_NO_PICTURE = "gives no picture"
NOT_APPLICABLE: Mapping[tuple[str, str], str] = {
    **{
        (fault, device): _NO_PICTURE
        for fault in ("frozen", "black", "half frame rate", "wrong size", "cut stream", "cut pictures")
        for device in ("visca", "wled", "dmx")
    },
    ("unplug while idle", "camera"): "a stream is never idle",
    ("never reads", "camera"): "nothing is sent but one request",
    ("babbles", "camera"): "tests/unit/test_mjpeg.py",
}

# The faults by how long the drivers' limits let them last. In a round each device has one, about equally long: the devices do not wait for each other.
LONG_FIRST = (
    *("babbles", "half frame rate", "silent", "slow", "cut pictures", "wrong echo", "never reads", "frozen"),
    *("cut stream", "replug elsewhere", "unplug while waiting", "glued", "second opener", "split"),
    *("unplug while idle", "wrong size", "unplug while writing", "black", "happy", "garbage"),
)
_LANES = [[(device, fault) for fault in LONG_FIRST if fault in cells] for device, cells in TABLES.items()]
ROUNDS: Sequence[tuple[tuple[str, str], ...]] = [
    tuple(cell for cell in together if cell is not None) for together in zip_longest(*_LANES)
]
