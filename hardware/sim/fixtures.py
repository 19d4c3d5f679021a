"""The lamps themselves, behind their controller: what each one makes of the channel that drives it. And the light that nobody ordered.

Rules:
1. A lamp takes its drive from the channel that its cable leads to: its own, another lamp's (`swap`), or none (`connected` false).
2. A dead lamp gives no light whatever the controller says; a weak one its strength's part.
3. Daylight falls from the place of one lamp, with that lamp's light pass, in a colour and at a level of its own.

Colours of light are told by their temperature: a point of the Planckian locus, in linear sRGB, relative to 5500 K, at the same luminance.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hardware.sim.scenarios import LAMPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardware.sim.scene import Gains

NEUTRAL_KELVIN: Final = 5500.0
KELVIN_LIMITS: Final = (2500.0, 10000.0)
DARK: Final[Gains] = (0.0, 0.0, 0.0)
# The pass with whose geometry daylight comes.
DAYLIGHT_PASS: Final[Mapping[str, str]] = MappingProxyType(
    {"left": "key_left", "right": "key_right", "top": "fill_top"}
)
# Colour of the rendered room light (blue, green, red, green = 1): the wall's mean in the pass `ambient` over that in `fill_top`.
ROOM_TINT: Final[Gains] = (0.671, 1.0, 1.347)


class UnknownLampError(Exception):
    """A lamp that the booth does not have."""


@dataclass(slots=True)
class Fixture:
    """One lamp."""

    channel: str
    strength: float = 1.0
    dead: bool = False
    connected: bool = True

    def light(self, drives: Mapping[str, Gains]) -> Gains:
        """Its light, given the drive of each channel."""
        if self.dead or not self.connected:
            return DARK
        blue, green, red = drives.get(self.channel, DARK)
        return blue * self.strength, green * self.strength, red * self.strength


@dataclass(frozen=True, slots=True)
class Daylight:
    """Strong light from outside."""

    comes_from: str
    level: float
    kelvin: float

    def on(self, channel: str) -> Gains:
        """What it adds to a light pass."""
        if channel != DAYLIGHT_PASS[self.comes_from]:
            return DARK
        blue, green, red = colour_of(self.kelvin)
        return blue * self.level, green * self.level, red * self.level


class Fixtures:
    """All lamps and their cables."""

    def __init__(self) -> None:
        self._of = {name: Fixture(name) for name in LAMPS}
        self.swapped: tuple[str, str] | None = None

    def named(self, lamp: str) -> Fixture:
        """One lamp."""
        if lamp not in self._of:
            raise UnknownLampError(f"there is no lamp '{lamp}'; there are: {', '.join(LAMPS)}")
        return self._of[lamp]

    def swap(self, lamps: tuple[str, str] | None) -> None:
        """Exchanges the cables of two lamps; None puts every cable where it belongs."""
        if lamps is not None:
            for name in lamps:
                self.named(name)
        self.swapped = lamps
        for name, fixture in self._of.items():
            fixture.channel = name
        if lamps is not None:
            first, second = lamps
            self._of[first].channel, self._of[second].channel = second, first

    def lights(self, drives: Mapping[str, Gains]) -> tuple[Gains, ...]:
        """The light of each lamp, in the order of the lamps."""
        return tuple(fixture.light(drives) for fixture in self._of.values())

    def state(self) -> dict[str, dict[str, object]]:
        """For the control socket."""
        return {
            name: {
                "channel": fixture.channel if fixture.connected else None,
                "strength": fixture.strength,
                "dead": fixture.dead,
            }
            for name, fixture in self._of.items()
        }


def colour_of(kelvin: float) -> Gains:
    """Blue, green and red of light of this temperature beside that of 5500 K, at the same luminance."""
    light, neutral = _linear_srgb(kelvin), _linear_srgb(NEUTRAL_KELVIN)
    return light[0] / neutral[0], light[1] / neutral[1], light[2] / neutral[2]


def room_colour(kelvin: float | None) -> Gains:
    """What the rendered room light is multiplied by to have this temperature; as rendered without one."""
    if kelvin is None:
        return 1.0, 1.0, 1.0
    blue, green, red = colour_of(kelvin)
    return blue / ROOM_TINT[0], green / ROOM_TINT[1], red / ROOM_TINT[2]


def _linear_srgb(kelvin: float) -> Gains:
    """Linear sRGB (blue, green, red; luminance 1) of the Planckian locus; cubic splines of Kim et al., US patent 7024034 (1667 to 25000 K)."""
    k = 1000 / kelvin
    x = (
        -0.2661239 * k**3 - 0.2343589 * k**2 + 0.8776956 * k + 0.179910
        if kelvin <= 4000
        else -3.0258469 * k**3 + 2.1070379 * k**2 + 0.2226347 * k + 0.240390
    )
    y = (
        -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
        if kelvin <= 4000
        else 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    )
    large_x, large_z = x / y, (1 - x - y) / y
    red = 3.2406 * large_x - 1.5372 - 0.4986 * large_z
    green = -0.9689 * large_x + 1.8758 + 0.0415 * large_z
    blue = 0.0557 * large_x - 0.2040 + 1.0570 * large_z
    return max(blue, 0.0), green, red
