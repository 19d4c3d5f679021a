"""The booth's room: lamps, room light, daylight, the sitter and what he holds, the test card, and the camera head that looks at it.

`view(now)` turns all of this into the one value a picture is computed from. Rules:
1. A lamp's light comes from its controller's last message (and its transition), through its cable and whatever is wrong with it (`fixtures`).
2. The picture follows the camera head's registers as they are at that moment, also while zoom or tilt are on their way.
3. Without an ordered body height the sitter is where he was rendered, for a lens at its usual height. With one his eyes are at their height
   above the floor, and the picture moves as far as they are above or below the lens, at the head's distance. The head's pitch as seen from
   above or below is not rendered anew.
4. The full-resolution still takes the best pictures there are of a person who sits still, else the session frame of this moment.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, Protocol

import cv2
import numpy as np

from hardware.sim.fixtures import DARK, Fixtures, UnknownLampError, room_colour
from hardware.sim.lens import Mounting, Settings, aim, blur_px, exposed, framing
from hardware.sim.passes import CHANNELS, PASS_LIGHT, Source, read_pass
from hardware.sim.scenarios import LEVEL_AT_FULL_DRIVE, STILL_SIZE, USUAL_LENS_CM
from hardware.sim.scene import Place, View
from hardware.sim.sheet import COVERS, FRAME_HEIGHT_MM, LAMP_LIGHT, mean_reflectance
from hardware.sim.sitter import ABSENT, PORTRAIT, Sitter
from hardware.sim.stature import USUAL_SEAT_CM, Body
from hardware.sim.wall import empty_booth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hardware.sim.fixtures import Daylight
    from hardware.sim.scene import Gains, Size

__all__ = ["Room", "UnknownLampError", "mean_light"]

FULL: Final[Gains] = (1.0, 1.0, 1.0)
# The rendered eyes are at 585 of 1280 rows: this much above the lens' axis.
RENDERED_EYES_ABOVE_CM: Final = (0.5 - 585 / 1280) * FRAME_HEIGHT_MM / 10


class LampController(Protocol):
    """Whatever drives the lamps."""

    def outputs(self) -> Mapping[str, Gains]:
        """Drive 0..1 of each lamp now (blue, green, red)."""


@functools.lru_cache(maxsize=128)
def mean_light(source: Source, *, carded: bool = False) -> tuple[Gains, ...]:
    """The mean linear light (blue, green, red) that each pass of a source gives at level 1; with the test card in front of it."""
    means = []
    for index, channel in enumerate(source.channels):
        pixels = (
            empty_booth((80, 107))[index]
            if source.kind == "wall"
            else read_pass(source, channel, cv2.IMREAD_REDUCED_COLOR_8)
        )
        light = np.array([float(np.mean(PASS_LIGHT[pixels[..., colour]])) for colour in range(3)])
        if carded:
            light = (1 - COVERS) * light + COVERS * mean_reflectance() * np.asarray(LAMP_LIGHT.get(channel, DARK))
        means.append((float(light[0]), float(light[1]), float(light[2])))
    return tuple(means)


class Room:
    """The state of the room."""

    def __init__(self, sitter: Sitter, ambient: float) -> None:
        self.sitter = sitter
        self.ambient = ambient
        self.kelvin: float | None = None  # of the room light; as rendered without
        self.daylight: Daylight | None = None
        self.place = Place()
        self.look: Source | None = None  # instead of what the sitter does
        self.code: str | None = None
        self.test_card = False
        self.body: Body | None = None
        self.seat_cm = USUAL_SEAT_CM
        self.fixtures = Fixtures()
        self.mounting = Mounting()
        self.noise = 1.0
        self.head: Callable[[], Settings] = (
            Settings  # the camera head's registers now; nominal without a controlled head
        )
        self.lens_cm: Callable[[], float] = lambda: USUAL_LENS_CM  # height of the lens above the floor
        self.lamps: LampController | None = None
        self.lens_cap = False

    def set_dead(self, lamp: str, *, dead: bool) -> None:
        """Breaks or repairs a lamp."""
        self.fixtures.named(lamp).dead = dead

    def levels(self) -> tuple[Gains, ...]:
        """Light level of each pass, in the order of the passes."""
        drives = self.lamps.outputs() if self.lamps is not None else {}
        lamps = [_times(LEVEL_AT_FULL_DRIVE, light) for light in self.fixtures.lights(drives)]
        levels = (*lamps, _times(self.ambient, room_colour(self.kelvin)))
        if self.daylight is None:
            return levels
        return tuple(_sum(level, self.daylight.on(name)) for name, level in zip(CHANNELS, levels, strict=True))

    def sitter_at(self) -> Place:
        """Where the sitter is in the frame, the heights of his eyes and of the lens taken into account."""
        eyes_cm = USUAL_LENS_CM + RENDERED_EYES_ABOVE_CM
        if self.body is not None:
            eyes_cm = self.body.eye_height_cm(self.seat_cm)
        above_cm = eyes_cm - self.lens_cm() - RENDERED_EYES_ABOVE_CM
        return Place(self.place.x, self.place.y - round(above_cm * 10 / FRAME_HEIGHT_MM, 5), self.place.size)

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
            return View(source, (DARK,) * len(source.channels), noise=self.noise)
        levels = self.levels() + (FULL,) * (len(source.channels) - len(CHANNELS))
        exposure = exposed(head, self.metered(now_ms))
        factors = _product(exposure.factors, self.mounting.cast)
        return View(
            source,
            tuple(_product(factors, level) for level in levels),
            self.code,
            self.sitter_at().seen(framing(head, self.mounting)),
            blur_px(head, self.mounting),
            exposure.gain_db,
            head.flip,
            head.mirror,
            self.mounting.roll_deg,
            aim(head, self.mounting, 10 * (self.lens_cm() - USUAL_LENS_CM)) if self.test_card else None,
            self.noise,
        )

    def metered(self, now_ms: float) -> Gains:
        """The mean linear light that the sensor sees of the scene at nominal camera settings."""
        source = self.source(now_ms)
        total = [0.0, 0.0, 0.0]
        levels = self.levels() + (FULL,) * (len(source.channels) - len(CHANNELS))
        for level, mean in zip(levels, mean_light(source, carded=self.test_card), strict=True):
            for colour in range(3):
                total[colour] += level[colour] * mean[colour]
        return _product((total[0], total[1], total[2]), self.mounting.cast)


def _times(factor: float, gains: Gains) -> Gains:
    return factor * gains[0], factor * gains[1], factor * gains[2]


def _product(one: Gains, other: Gains) -> Gains:
    return one[0] * other[0], one[1] * other[1], one[2] * other[2]


def _sum(one: Gains, other: Gains) -> Gains:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
