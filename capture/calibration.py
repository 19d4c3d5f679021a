"""PURE: what a calibration found, and how far a newer one has drifted from its baseline.

A calibration is measured by `capture.calibration_run` with an empty booth and the printed test card at the head's place (docs/calibration.md).
Angles: `pitch_zero_deg` is the elevation of the lens' axis when the tilt register says 0, positive when it looks up; `roll_deg` is positive when
the camera is turned clockwise seen from behind. Colours are CIELAB under D50, lightness L* and chroma of a grey that should have none.
A drift limit says from where on the booth needs a technician; it stands beside every value, with its source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from capture.lamp_comparison import compare_lamps
from capture.lamp_response import LampResponses
from hardware.controls import CameraControlState

__all__ = [
    "BackgroundGrey",
    "Calibration",
    "Drift",
    "Exposure",
    "Noise",
    "Sharpness",
    "WhiteBalanceResult",
    "drift",
]

FORMAT = "passbooth.calibration/1"
# Two clocks may differ by a time zone that somebody set wrongly; beyond a day a date to come is of no use.
EARLIEST_AGE_DAYS = -1.0
Identifier = Annotated[str, Field(pattern=r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WhiteBalanceResult(_Value):
    """The camera's white on the grey card."""

    red_gain: int | None  # None where the camera has no such gain, or tells none
    blue_gain: int | None
    neutral_error: NotNegative  # chroma of the grey card afterwards
    red_to_green: Finite  # linear light, 1 = neutral
    blue_to_green: Finite


class Exposure(_Value):
    """How bright the grey card comes out under the portrait light."""

    lamps_pct: Mapping[str, float]  # the portrait levels meanwhile
    grey_light: NotNegative  # linear light of the 18 % grey card, 1 = the sensor's white
    error_stops: Finite  # against what a portrait's exposure gives it, positive = too bright


class BackgroundGrey(_Value):
    """The empty booth's wall under the portrait light."""

    lightness: NotNegative  # L*, mean
    chroma: NotNegative
    evenness_pct: Annotated[float, Field(ge=0, le=100)]  # darkest cell / brightest cell, linear light


class Sharpness(_Value):
    """The lens on the card's slanted edge (ISO 12233 e-SFR) and on its markers."""

    mtf50_cycles_px: NotNegative  # where the contrast has fallen to half, in cycles per pixel of the still
    mtf50_lines: NotNegative  # the same in line widths per picture height, which does not depend on the still's size
    card_detail: NotNegative  # steepness of the card's edges, of the full contrast per pixel at the still's size
    focus_position: int | None


class Noise(_Value):
    """Spread from picture to picture, in 8-bit codes."""

    dark_code: NotNegative  # mean of the preview with lamps and room dark enough to tell
    dark: NotNegative
    grey: NotNegative  # on the grey card under the portrait light


class Calibration(_Value):
    """Everything that one calibration found."""

    format: Annotated[str, Field(pattern=f"^{FORMAT}$")] = FORMAT
    id: Identifier
    made_at: AwareDatetime
    expires_at: AwareDatetime
    booth: str
    software: str
    baseline_id: Identifier | None  # None: this one is a baseline itself
    controls: CameraControlState | None
    lamps: LampResponses | None  # None in a booth without lamps
    white_balance: WhiteBalanceResult
    exposure: Exposure
    background_grey: BackgroundGrey
    pitch_zero_deg: Finite
    roll_deg: Finite
    yaw_deg: Finite
    camera_height_cm: Finite
    card_distance_cm: NotNegative
    vertical_fov_deg: Annotated[float, Field(gt=0, lt=180)]  # at the zoom ratio of `controls`
    sharpness: Sharpness
    noise: Noise

    def expired(self, now: datetime) -> bool:
        """Whether it cannot be relied on any more: too old, or of a date to come, when nobody knows how old it is."""
        return now >= self.expires_at or self.age_days(now) < EARLIEST_AGE_DAYS

    def age_days(self, now: datetime) -> float:
        """Days since it was made."""
        return (now - self.made_at).total_seconds() / 86_400

    def as_named(self, now: datetime) -> dict[str, object]:
        """How a packet names it."""
        return {"id": self.id, "made_at": self.made_at.isoformat(), "expired": self.expired(now)}


class Drift(_Value):
    """One value now, its baseline and what change is allowed."""

    key: str
    unit: str
    value: Finite
    baseline: Finite
    change: Finite
    low: float | None  # the least and the largest change that is allowed
    high: float | None
    beyond: bool


@dataclass(frozen=True, slots=True)
class _Measure:
    """How a value is taken out of a calibration, and how it may change."""

    unit: str
    read: Callable[[Calibration], float]
    low: float | None
    high: float | None
    # Whether the change is a share of the baseline, in percent, instead of a difference.
    relative: bool = False


# Repeated calibrations of an unchanged booth spread by a tenth of these limits or less (docs/calibration.md, "Repeatability"). Where they come from:
# neutral error 3: a colour difference that is seen at a glance (CIE 116); exposure 0.3 stops: a third-stop step of a camera; background L* 4 and
# 6 points of evenness: half of what the background rules leave; pitch 1 degree: a fifth of the 5 degrees that a pose may have; roll 1.5 degrees:
# levelled by the crop, but the stand has moved; height 3 cm and distance 5 cm: an eye line of 1.7 and a size of 5 % at 1 m; MTF50 -20 %: about
# half a pixel of blur; noise a half more: 3.5 dB.
MEASURES: Mapping[str, _Measure] = MappingProxyType(
    {
        "white_balance.neutral_error": _Measure("", lambda c: c.white_balance.neutral_error, None, 3.0),
        "exposure.grey": _Measure("stops", lambda c: c.exposure.error_stops, -0.3, 0.3),
        "background.lightness": _Measure("L*", lambda c: c.background_grey.lightness, -4.0, 4.0),
        "background.chroma": _Measure("", lambda c: c.background_grey.chroma, None, 3.0),
        "background.evenness": _Measure("%", lambda c: c.background_grey.evenness_pct, -6.0, None),
        "geometry.pitch_zero": _Measure("°", lambda c: c.pitch_zero_deg, -1.0, 1.0),
        "geometry.roll": _Measure("°", lambda c: c.roll_deg, -1.5, 1.5),
        "geometry.yaw": _Measure("°", lambda c: c.yaw_deg, -2.0, 2.0),
        "geometry.camera_height": _Measure("cm", lambda c: c.camera_height_cm, -3.0, 3.0),
        "geometry.distance": _Measure("cm", lambda c: c.card_distance_cm, -5.0, 5.0),
        "sharpness.mtf50": _Measure("lines", lambda c: c.sharpness.mtf50_lines, -20.0, None, relative=True),
        "sharpness.detail": _Measure("", lambda c: c.sharpness.card_detail, -20.0, None, relative=True),
        "noise.dark": _Measure("codes", lambda c: c.noise.dark, None, 0.5),
        "noise.grey": _Measure("codes", lambda c: c.noise.grey, None, 50.0, relative=True),
    }
)
# A lamp that gives a fifth less is told (LEDs are replaced at L80); a tenth more says that the light or its wiring is another one.
LAMP_LOW_PCT, LAMP_HIGH_PCT = -20.0, 25.0
# Of colours: red or blue against green, in percent of the baseline's; 5 % is about a chroma of 3 on a mid grey.
LAMP_COLOUR_PCT = 5.0


def drift(now: Calibration, baseline: Calibration) -> tuple[Drift, ...]:
    """Every value of a calibration against its baseline; lamps by their light, relative to the baseline's."""
    rows = [_row(key, measure, measure.read(now), measure.read(baseline)) for key, measure in MEASURES.items()]
    if now.lamps is None or baseline.lamps is None or not any(lamp.is_seen for lamp in baseline.lamps.lamps):
        return tuple(rows)
    for view in compare_lamps(now.lamps, baseline.lamps).lamps:
        strength = _Measure("%", lambda _c: 0.0, LAMP_LOW_PCT, LAMP_HIGH_PCT)
        rows.append(_row(f"lamp.{view.lamp}", strength, view.strength * 100, 100.0))
        colour = _Measure("%", lambda _c: 0.0, -LAMP_COLOUR_PCT, LAMP_COLOUR_PCT)
        for name, shift in (("red", view.red_shift), ("blue", view.blue_shift)):
            rows.append(_row(f"lamp.{view.lamp}.{name}", colour, 100 * (1 + shift), 100.0))
    return tuple(rows)


def _row(key: str, measure: _Measure, value: float, baseline: float) -> Drift:
    change = value - baseline
    if measure.relative:
        change = 100 * change / baseline if baseline else math.copysign(100.0, change) if change else 0.0
    beyond = (measure.low is not None and change < measure.low) or (measure.high is not None and change > measure.high)
    return Drift(
        key=key,
        unit=measure.unit,
        value=value,
        baseline=baseline,
        change=change,
        low=measure.low,
        high=measure.high,
        beyond=beyond,
    )
