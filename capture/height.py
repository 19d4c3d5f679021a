"""PURE: how high an applicant's eyes are as seen from the lens, and what follows: nothing, a tilt, a move of the height axis, or a word about the seat.

The elevation is the angle above the horizontal at which the lens sees the middle between the eyes: elevation of the lens' axis (its tilt, plus
what a calibration found it to be at tilt 0) plus the angle of the eye line in the picture. It is positive when the eyes are higher than the
lens. A face seen from above or below has its chin and forehead at other distances; tilt and zoom cannot mend that, a head that is lifted does
not look straight. So (`decide`):
1. within ELEVATION_LIMIT_DEG the tilt may centre the face, and does so when it is out of the middle of the picture;
2. beyond it the axis carries the lens to the eyes, as far as it goes;
3. where it goes no further, or there is none, the applicant is told to raise or lower the seat.
The distance to the face comes from the calibration, else from the eyes, which are EYES_APART_CM apart; a wrong one costs a second move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from capture.calibration import Calibration

# As much as BSI TR-03121-3 allows a head's pitch; it asks for a camera at eye height.
ELEVATION_LIMIT_DEG = 5.0
# Where the eye line belongs in the preview, and how far from there it is left alone. Rendered sitters have it at 0.456.
EYE_LINE, EYE_LINE_SLACK = 0.45, 0.08
EYES_APART_CM = 6.3  # mean of adults, ANSUR 1988 (Dodgson 2004, Variation and extrema of human interpupillary distance)
WIDEST = 1.0  # zoom ratio
# Less than this the axis is not worth a move.
SMALLEST_MOVE_MM = 10.0


class HeightSection(BaseModel):
    """[height] what is known of the lens until a calibration measures it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    # Of the whole upright picture with the zoom that visits begin with.
    vertical_fov_deg: Annotated[float, Field(gt=1, lt=120)]
    # Elevation of the lens' axis when the tilt register says 0, up positive.
    pitch_zero_deg: Annotated[float, Field(ge=-30, le=30)] = 0.0
    distance_cm: Annotated[float, Field(gt=20, lt=500)] | None = None


@dataclass(frozen=True, slots=True)
class EyeLine:
    """Where the eyes are in an upright preview: their middle's height (0 top, 1 bottom) and their distance, in picture heights."""

    y: float
    apart: float


@dataclass(frozen=True, slots=True)
class Aim:
    """Where the lens looks: tilt up from the register's zero, and zoom ratio."""

    tilt_deg: float = 0.0
    zoom_ratio: float = WIDEST


@dataclass(frozen=True, slots=True)
class Optics:
    """What is known of the lens: its field of view at a zoom ratio, the elevation of its axis at tilt 0, and how far away faces are."""

    vertical_fov_deg: float
    zoom_ratio: float = WIDEST
    pitch_zero_deg: float = 0.0
    distance_cm: float | None = None

    @classmethod
    def of(cls, calibration: Calibration) -> Optics:
        """What a calibration found."""
        zoom = None if calibration.controls is None else calibration.controls.zoom_ratio
        return cls(
            calibration.vertical_fov_deg,
            WIDEST if zoom is None else zoom,
            calibration.pitch_zero_deg,
            calibration.card_distance_cm or None,
        )

    def half_picture(self, zoom_ratio: float) -> float:
        """Half the picture's height at a distance of 1; the zoom enlarges it evenly."""
        return math.tan(math.radians(self.vertical_fov_deg / 2)) * self.zoom_ratio / zoom_ratio

    def angle_deg(self, y: float, zoom_ratio: float) -> float:
        """The angle of a height in the picture above the lens' axis."""
        return math.degrees(math.atan((0.5 - y) * 2 * self.half_picture(zoom_ratio)))

    def distance_to_cm(self, eyes: EyeLine, zoom_ratio: float) -> float:
        """How far away the face is."""
        if self.distance_cm is not None:
            return self.distance_cm
        return EYES_APART_CM / (max(eyes.apart, 1e-3) * 2 * self.half_picture(zoom_ratio))


@dataclass(frozen=True, slots=True)
class AxisRoom:
    """Where the height axis stands and how far it goes."""

    position_mm: float
    low_mm: float
    high_mm: float


class Step(StrEnum):
    """What is to be done."""

    FINE = "fine"
    TILT = "tilt"
    DRIVE = "drive"
    SEAT_UP = "seat_up"
    SEAT_DOWN = "seat_down"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, and how far: a tilt in degrees, a position in mm."""

    step: Step
    target: float = 0.0


def elevation_deg(eyes: EyeLine, aim: Aim, optics: Optics) -> float:
    """How high above the horizontal the lens sees the eyes."""
    return optics.pitch_zero_deg + aim.tilt_deg + optics.angle_deg(eyes.y, aim.zoom_ratio)


def level_tilt_deg(optics: Optics) -> float:
    """The tilt at which the lens looks straight ahead."""
    return -optics.pitch_zero_deg


def decide(eyes: EyeLine, aim: Aim, framed: Aim, optics: Optics, axis: AxisRoom | None, *, can_tilt: bool) -> Decision:
    """What to do about eyes seen with this aim; `framed` is the aim to photograph with as long as nothing has to be tilted."""
    elevation = elevation_deg(eyes, aim, optics)
    eye_angle = optics.angle_deg(EYE_LINE, framed.zoom_ratio)
    if abs(elevation) <= ELEVATION_LIMIT_DEG:
        beside = math.tan(math.radians(elevation - optics.pitch_zero_deg - framed.tilt_deg))
        y = 0.5 - beside / (2 * optics.half_picture(framed.zoom_ratio))
        if not can_tilt or abs(y - EYE_LINE) <= EYE_LINE_SLACK:
            return Decision(Step.FINE)
        return Decision(Step.TILT, elevation - optics.pitch_zero_deg - eye_angle)
    if axis is not None:
        rise_cm = math.tan(math.radians(elevation)) - math.tan(math.radians(eye_angle))
        wanted = axis.position_mm + 10 * optics.distance_to_cm(eyes, aim.zoom_ratio) * rise_cm
        target = min(max(wanted, axis.low_mm), axis.high_mm)
        if abs(target - axis.position_mm) >= SMALLEST_MOVE_MM:
            return Decision(Step.DRIVE, round(target, 1))
    return Decision(Step.SEAT_UP if elevation < 0 else Step.SEAT_DOWN)
