"""The booth's room: lamps, room light, the sitter and what he holds, and the camera head that looks at it.

`view(now)` turns all of this into the one value a picture is computed from. Rules:
1. A lamp's light comes from its controller's last message (and its transition); a dead lamp gives none whatever the controller says.
2. The picture follows the camera head's registers as they are at that moment, also while zoom or tilt are on their way.
3. The full-resolution still takes the best pictures there are of a person who sits still, else the session frame of this moment.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, Protocol

import cv2
import numpy as np

from hardware.sim.lens import Settings, blur_px, exposed, framing
from hardware.sim.passes import CHANNELS, PASS_LIGHT, Source, read_pass
from hardware.sim.scenarios import LAMPS, LEVEL_AT_FULL_DRIVE, STILL_SIZE
from hardware.sim.scene import Place, View
from hardware.sim.sitter import ABSENT, PORTRAIT, Sitter
from hardware.sim.wall import empty_booth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hardware.sim.scene import Gains, Size

DARK: Final[Gains] = (0.0, 0.0, 0.0)
NOTHING: Final = (DARK,) * len(CHANNELS)


class LampController(Protocol):
    """Whatever drives the lamps."""

    def outputs(self) -> Mapping[str, Gains]:
        """Drive 0..1 of each lamp now (blue, green, red)."""


class UnknownLampError(Exception):
    """A lamp that the booth does not have."""


@functools.lru_cache(maxsize=128)
def mean_light(source: Source) -> tuple[Gains, ...]:
    """The mean linear light (blue, green, red) that each pass of a source gives at level 1."""
    means = []
    for index, channel in enumerate(CHANNELS):
        pixels = (
            empty_booth((80, 107))[index]
            if source.kind == "wall"
            else read_pass(source, channel, cv2.IMREAD_REDUCED_COLOR_8)
        )
        blue, green, red = (float(np.mean(PASS_LIGHT[pixels[..., colour]])) for colour in range(3))
        means.append((blue, green, red))
    return tuple(means)


class Room:
    """The state of the room."""

    def __init__(self, sitter: Sitter, ambient: float) -> None:
        self.sitter = sitter
        self.ambient = ambient
        self.place = Place()
        self.look: Source | None = None  # instead of what the sitter does
        self.code: str | None = None
        self.dead: set[str] = set()
        self.head: Callable[[], Settings] = (
            Settings  # the camera head's registers now; nominal without a controlled head
        )
        self.lamps: LampController | None = None
        self.lens_cap = False

    def set_dead(self, lamp: str, *, dead: bool) -> None:
        """Breaks or repairs a lamp."""
        if lamp not in LAMPS:
            raise UnknownLampError(f"there is no lamp '{lamp}'; there are: {', '.join(LAMPS)}")
        (self.dead.add if dead else self.dead.discard)(lamp)

    def levels(self) -> tuple[Gains, ...]:
        """Light level of each pass, in the order of the passes."""
        drive = self.lamps.outputs() if self.lamps is not None else {}
        lamps = (drive.get(name, DARK) if name not in self.dead else DARK for name in LAMPS)
        return (*(_times(LEVEL_AT_FULL_DRIVE, lamp) for lamp in lamps), (self.ambient,) * 3)

    def source(self, now_ms: float, still_size: Size | None = None) -> Source:
        """The passes in front of the camera; for a still of this size, the best there are."""
        action, frame = self.sitter.at(now_ms)
        if frame == ABSENT:
            return Source("wall")
        if self.look is not None:
            return self.look
        if frame != PORTRAIT and (still_size is None or action != "still"):
            return Source("session", str(frame))
        large = Source("stills", self.sitter.person)
        if still_size is not None and still_size[0] > STILL_SIZE[0] and large.exists:
            return large
        return Source("people", self.sitter.person)

    def view(self, now_ms: float, still_size: Size | None = None) -> View:
        """Everything the picture of this moment depends on."""
        source, head = self.source(now_ms, still_size), self.head()
        if not head.power or self.lens_cap:
            return View(source, NOTHING)
        levels = self.levels()
        exposure = exposed(head, self.metered(source, levels))
        return View(
            source,
            tuple(_product(exposure.factors, level) for level in levels),
            self.code,
            self.place.seen(framing(head)),
            blur_px(head),
            exposure.gain_db,
            head.flip,
            head.mirror,
        )

    @staticmethod
    def metered(source: Source, levels: tuple[Gains, ...]) -> Gains:
        """The mean linear light of the scene at nominal camera settings."""
        total = [0.0, 0.0, 0.0]
        for level, mean in zip(levels, mean_light(source), strict=True):
            for colour in range(3):
                total[colour] += level[colour] * mean[colour]
        return total[0], total[1], total[2]


def _times(factor: float, gains: Gains) -> Gains:
    return factor * gains[0], factor * gains[1], factor * gains[2]


def _product(one: Gains, other: Gains) -> Gains:
    return one[0] * other[0], one[1] * other[1], one[2] * other[2]
