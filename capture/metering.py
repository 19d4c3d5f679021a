"""PURE: what the light does to a face, and which levels the lamps get.

Readings are taken on the standard canvas of `validation.canvas`, the same one that judges the photo, and go into visit.json beside the lamp
levels and the camera's settings, so that an uneven or wrongly exposed picture can be traced to the lamp or the setting that made it.
Level policy: standby between visits, one nominal level for portraits, reached in a few steps so that nobody is dazzled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.canvas import canvas
from validation.light import face_luminance, light_zones

ZONES = (
    "forehead",
    "chin",
    "right_cheek",
    "left_cheek",
)  # the order of validation.light.Zones; a covered forehead is left out
CLIPPED = 254  # 8-bit values from here on carry no detail
# Steps smaller than this are not worth a serial message.
LEAST_STEP_PCT = 0.5


@dataclass(frozen=True, slots=True)
class LightReading:
    """Light on one face. Percentages of full scale in sRGB values; luminance in linear light."""

    zones_pct: Mapping[str, tuple[float, float, float]]  # mean red, green, blue of each zone
    evenness_pct: float  # darkest zone / brightest zone, in the worst channel
    right_to_left: float  # right cheek / left cheek, green channel
    face_luminance_pct: float | None
    clipped_pct: float  # share of the whole picture with a channel at full scale

    def as_record(self) -> dict[str, object]:
        """For visit.json, rounded to what the measurement is worth."""
        return {
            "zones_pct": {name: [round(v, 1) for v in rgb] for name, rgb in self.zones_pct.items()},
            "evenness_pct": round(self.evenness_pct, 1),
            "right_to_left": round(self.right_to_left, 3),
            "face_luminance_pct": None if self.face_luminance_pct is None else round(self.face_luminance_pct, 1),
            "clipped_pct": round(self.clipped_pct, 2),
        }


def read_light(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> LightReading | None:
    """The light on the face with these landmarks; None when a zone lies outside the picture."""
    face = canvas(image, landmarks)
    zones = light_zones(face)
    if zones is None:
        return None
    rgb = zones.means_bgr[:, ::-1] / 255 * 100
    luminance = face_luminance(face)
    return LightReading(
        zones_pct={
            ZONES[number]: (float(r), float(g), float(b)) for number, (r, g, b) in zip(zones.shown, rgb, strict=True)
        },
        evenness_pct=zones.evenness * 100,
        right_to_left=float(rgb[-2, 1] / max(rgb[-1, 1], 1e-6)),
        face_luminance_pct=None if luminance is None else luminance * 100,
        clipped_pct=float((image.max(axis=2) >= CLIPPED).mean() * 100),
    )


def ramp(start_pct: Mapping[str, float], target_pct: Mapping[str, float], steps: int) -> tuple[dict[str, float], ...]:
    """Levels from start to target in at most `steps` even steps, the last being the target; empty when there is nothing to do."""
    change = max((abs(level - start_pct.get(name, 0.0)) for name, level in target_pct.items()), default=0.0)
    if change == 0:
        return ()
    steps = max(1, min(steps, int(change / LEAST_STEP_PCT)))
    return tuple(
        {
            name: start_pct.get(name, 0.0) + (level - start_pct.get(name, 0.0)) * step / steps
            for name, level in target_pct.items()
        }
        for step in range(1, steps + 1)
    )
