"""The camera head's settings and what they do to the picture. The values behind the registers are those of a Sony EVI-D70 (60 Hz).

Nominal settings give the reference picture: manual exposure 1/60 s, F4, 0 dB; manual white balance with both gains 80h; focus found; zoom and
pan-tilt at their nominal positions. What each does:
* exposure: light times (shutter / 1/60 s) x (4 / F)^2 x 10^(dB/20); gain also makes noise;
* automatic exposure brings the mean of the metered picture to its target, first with the shutter, then with gain, within its limits;
* white balance: red and blue times gain / 80h; automatic balances the mean of the picture to grey;
* focus: distance of the register from the sitter's place gives blur; automatic focus is always on the sitter;
* zoom: the magnification doubles evenly with the register, 18 times over the range, 1 at the nominal position;
* pan and tilt: 40/3 steps per degree, a degree moves the picture by 1/24 of its height (frame of 24 degrees).
A camera that is badly mounted, out of focus or off in its colours (`Mounting`) is so whatever the registers say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hardware.sim.scene import Framing
from hardware.sim.sheet import FRAME_HEIGHT_DEG, Aim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardware.sim.scene import Gains

# Shutter register to exposure time in s, iris register to f-number (0 is closed), gain register to dB.
SHUTTER_S: Final[Mapping[int, float]] = MappingProxyType(
    {
        0x15: 1 / 10000, 0x14: 1 / 6000, 0x13: 1 / 4000, 0x12: 1 / 3000, 0x11: 1 / 2000, 0x10: 1 / 1500,
        0x0F: 1 / 1000, 0x0E: 1 / 725, 0x0D: 1 / 500, 0x0C: 1 / 350, 0x0B: 1 / 250, 0x0A: 1 / 180,
        0x09: 1 / 125, 0x08: 1 / 100, 0x07: 1 / 90, 0x06: 1 / 60, 0x05: 1 / 30, 0x04: 1 / 15,
        0x03: 1 / 8, 0x02: 1 / 4, 0x01: 1 / 2, 0x00: 1.0,
    }
)  # fmt: skip
IRIS_F: Final[Mapping[int, float]] = MappingProxyType(
    {
        0x11: 1.4, 0x10: 1.6, 0x0F: 2.0, 0x0E: 2.4, 0x0D: 2.8, 0x0C: 3.4, 0x0B: 4.0, 0x0A: 4.8, 0x09: 5.6,
        0x08: 6.8, 0x07: 8.0, 0x06: 9.6, 0x05: 11.0, 0x04: 14.0, 0x03: 16.0, 0x02: 19.0, 0x01: 22.0, 0x00: math.inf,
    }
)  # fmt: skip
GAIN_DB: Final[Mapping[int, float]] = MappingProxyType(
    {0x00: -3.0, **{register: 2.0 * (register - 1) for register in range(1, 0x10)}}
)

NOMINAL_SHUTTER, NOMINAL_IRIS, NOMINAL_GAIN = 0x06, 0x0B, 0x01
NOMINAL_COLOUR_GAIN: Final = 0x80
ZOOM_MAX, NOMINAL_ZOOM, ZOOM_RANGE = 0x4000, 0x0B00, 18.0
FOCUS_MIN, FOCUS_MAX, FOCUS_ON_SITTER = 0x1000, 0xC000, 0x6000
FOCUS_STEPS_PER_BLUR_PX: Final = 0x400
MAX_BLUR_PX: Final = 40.0
PAN_LIMIT, TILT_MIN, TILT_MAX = 0x08DB, -0x0190, 0x04B0
STEPS_PER_DEG: Final = 40 / 3
FRAME_ASPECT: Final = 4 / 3

AE_AUTO, AE_MANUAL, AE_SHUTTER, AE_IRIS = 0x00, 0x03, 0x0A, 0x0B
WB_AUTO, WB_INDOOR, WB_OUTDOOR, WB_ONE_PUSH, WB_MANUAL = 0x00, 0x01, 0x02, 0x03, 0x05
# Metering target: mean linear light of the reference picture (people/anna/neutral.jpg has 0.36).
METER_TARGET: Final = 0.36
BACKLIGHT_FACTOR: Final = 1.6
AUTO_DARKEST, AUTO_LONGEST, AUTO_GAIN_LIMIT = 1 / 160, 2.0, 10 ** (28 / 20)
INDOOR_GAINS: Final[Gains] = (1.45, 1.0, 0.75)  # tungsten of 3200 K made neutral
OUTDOOR_GAINS: Final[Gains] = (0.95, 1.0, 1.05)


@dataclass(slots=True)
class Settings:
    """The registers."""

    power: bool = True
    zoom: float = NOMINAL_ZOOM
    focus: float = FOCUS_ON_SITTER
    focus_auto: bool = True
    pan: float = 0.0
    tilt: float = 0.0
    exposure_mode: int = AE_MANUAL
    shutter: int = NOMINAL_SHUTTER
    iris: int = NOMINAL_IRIS
    gain: int = NOMINAL_GAIN
    white_balance: int = WB_MANUAL
    red_gain: int = NOMINAL_COLOUR_GAIN
    blue_gain: int = NOMINAL_COLOUR_GAIN
    backlight: bool = False
    flip: bool = False
    mirror: bool = False
    one_push: Gains = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Mounting:
    """What is mechanically wrong with the camera, whatever its registers say."""

    defocus_px: float = 0.0  # blur of the frame 960 px wide
    tilt_deg: float = 0.0  # looks up
    roll_deg: float = 0.0  # the picture turns clockwise
    cast: Gains = (1.0, 1.0, 1.0)  # the sensor's own colour: blue, green, red


@dataclass(frozen=True, slots=True)
class Exposed:
    """What the head does with the light at this moment."""

    factors: Gains  # blue, green, red
    gain_db: float


def manual_exposure(settings: Settings) -> float:
    """Light factor of shutter and iris, gain not included."""
    f_number = IRIS_F[settings.iris]
    return SHUTTER_S[settings.shutter] / SHUTTER_S[NOMINAL_SHUTTER] * (IRIS_F[NOMINAL_IRIS] / f_number) ** 2


def exposed(settings: Settings, metered: Gains) -> Exposed:
    """The light factors, given the mean linear light of the scene (blue, green, red) at nominal settings."""
    if settings.exposure_mode == AE_MANUAL:
        light, gain_db = manual_exposure(settings), GAIN_DB[settings.gain]
        amplified = light * 10 ** (gain_db / 20)
    else:
        light, gain_db = _auto_exposure(settings, metered)
        amplified = light * 10 ** (gain_db / 20)
    blue, green, red = white_balance(settings, metered)
    return Exposed((amplified * blue, amplified * green, amplified * red), gain_db)


def _auto_exposure(settings: Settings, metered: Gains) -> tuple[float, float]:
    """Light factor of shutter and iris, and the gain in dB. In shutter or iris priority the chosen part is kept, the rest adapts."""
    blue, green, red = metered
    mean = max(1e-6, 0.0722 * blue + 0.7152 * green + 0.2126 * red)
    wanted = METER_TARGET / mean * (BACKLIGHT_FACTOR if settings.backlight else 1.0)
    longest = AUTO_LONGEST
    if settings.exposure_mode == AE_SHUTTER:
        longest = SHUTTER_S[settings.shutter] / SHUTTER_S[NOMINAL_SHUTTER] * (IRIS_F[NOMINAL_IRIS] / IRIS_F[0x11]) ** 2
    elif settings.exposure_mode == AE_IRIS:
        longest = AUTO_LONGEST * (IRIS_F[NOMINAL_IRIS] / IRIS_F[settings.iris]) ** 2
    light = min(max(wanted, AUTO_DARKEST), longest)
    gain = min(max(wanted / light, 1.0), AUTO_GAIN_LIMIT) if light > 0 else 1.0
    return light, 20 * math.log10(gain)


def auto_registers(settings: Settings, metered: Gains) -> Mapping[str, int]:
    """What the automatic exposure has set, as an inquiry shows it: the adaptation is shown on the shutter, or on the iris in shutter priority."""
    light, gain_db = _auto_exposure(settings, metered)
    shutter, iris = settings.shutter, settings.iris
    if settings.exposure_mode == AE_SHUTTER:
        shutter_light = SHUTTER_S[shutter] / SHUTTER_S[NOMINAL_SHUTTER]
        iris = nearest(IRIS_F, IRIS_F[NOMINAL_IRIS] * math.sqrt(shutter_light / max(light, 1e-9)))
    else:
        iris = settings.iris if settings.exposure_mode == AE_IRIS else NOMINAL_IRIS
        iris_light = (IRIS_F[NOMINAL_IRIS] / IRIS_F[iris]) ** 2
        shutter = nearest(SHUTTER_S, SHUTTER_S[NOMINAL_SHUTTER] * light / max(iris_light, 1e-9))
    gain = min(GAIN_DB, key=lambda register: abs(GAIN_DB[register] - gain_db))
    return {"shutter": shutter, "iris": iris, "gain": gain}


def white_balance(settings: Settings, metered: Gains) -> Gains:
    """Factors of blue, green and red."""
    match settings.white_balance:
        case mode if mode == WB_AUTO:
            return grey_world(metered)
        case mode if mode == WB_INDOOR:
            return INDOOR_GAINS
        case mode if mode == WB_OUTDOOR:
            return OUTDOOR_GAINS
        case mode if mode == WB_ONE_PUSH:
            return settings.one_push
        case _:
            return settings.blue_gain / NOMINAL_COLOUR_GAIN, 1.0, settings.red_gain / NOMINAL_COLOUR_GAIN


def grey_world(metered: Gains) -> Gains:
    """What makes the mean of the scene grey, within a range of 4."""
    blue, green, red = metered
    return min(max(green / max(blue, 1e-6), 0.25), 4.0), 1.0, min(max(green / max(red, 1e-6), 0.25), 4.0)


def magnification(zoom: float) -> float:
    """1 at the nominal zoom position."""
    return float(ZOOM_RANGE ** ((zoom - NOMINAL_ZOOM) / ZOOM_MAX))


def framing(settings: Settings, mounting: Mounting) -> Framing:
    """What the lens shows: pan to the right and tilt up move the window right and up."""
    right_deg, up_deg = settings.pan / STEPS_PER_DEG, settings.tilt / STEPS_PER_DEG + mounting.tilt_deg
    return Framing(
        magnification(settings.zoom) if settings.zoom != NOMINAL_ZOOM else 1.0,
        right_deg / FRAME_HEIGHT_DEG * FRAME_ASPECT,
        -up_deg / FRAME_HEIGHT_DEG,
    )


def aim(settings: Settings, mounting: Mounting, lens_above_mm: float) -> Aim:
    """How the lens stands to the test card."""
    return Aim(
        magnification(settings.zoom) if settings.zoom != NOMINAL_ZOOM else 1.0,
        settings.pan / STEPS_PER_DEG,
        settings.tilt / STEPS_PER_DEG + mounting.tilt_deg,
        mounting.roll_deg,
        lens_above_mm,
    )


def blur_px(settings: Settings, mounting: Mounting) -> float:
    """Blur of the focus, in pixels of a 960 px wide reference picture; a longer lens shows it larger."""
    off = 0.0 if settings.focus_auto else abs(settings.focus - FOCUS_ON_SITTER) / FOCUS_STEPS_PER_BLUR_PX
    return min(MAX_BLUR_PX, math.hypot(off * magnification(settings.zoom), mounting.defocus_px))


def nearest(table: Mapping[int, float], value: float) -> int:
    """The register whose value is nearest in ratio (times, f-numbers)."""
    finite = {register: of for register, of in table.items() if math.isfinite(of)}
    return min(finite, key=lambda register: abs(math.log(finite[register] / max(value, 1e-9))))
