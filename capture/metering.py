"""PURE: what the light does to a face and to the wall behind it.

Readings are taken on the standard canvas of `validation.canvas`, the same one that judges the photo, and go into visit.json beside the lamp
levels and the camera's settings, so that an uneven or wrongly exposed picture can be traced to the lamp or the setting that made it.

Two readings: `read_light` tells people what the light of a portrait was; `meter` is what the light is balanced by (capture.balance). It gives the
linear light of patches of skin and wall, which is a sum of the lamps' shares (capture.light_model), and the values of the rules that light decides,
by the very functions that judge the portrait. Without a face in the picture it tells only how bright the picture is.
`Bands` holds the values against the profile's limits with a margin: the shutter falls later, and the sitter moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import LINEAR, LUMINANCE_BGR, Canvas, canvas
from validation.colour import skin_colour_distance
from validation.light import black_level, face_luminance, face_tones, light_zones
from validation.profile import Profile, RuleLimits
from validation.report import Level
from validation.shade import (
    LEFT_CHEEK,
    LEFT_FLANK,
    LEFT_SOCKET,
    RIGHT_CHEEK,
    RIGHT_FLANK,
    RIGHT_SOCKET,
    UNDER_LEFT_EYE,
    UNDER_RIGHT_EYE,
    face_shadow,
    hot_spot,
)
from validation.skin import skin_region
from validation.wall import off_light_grey

ZONES = (
    "forehead",
    "chin",
    "right_cheek",
    "left_cheek",
)  # the order of validation.light.Zones; a covered forehead is left out
CLIPPED = 254  # 8-bit values from here on carry no detail
# Steps smaller than this are not worth a serial message.
LEAST_STEP_PCT = 0.5

# Patches of the face by the side of the picture: the subject's right cheek is at the left. Hulls of landmarks; forehead and chin: between the brows
# and under the lip, where hair, hats and beards come last.
FACE_PATCHES: Mapping[str, tuple[int, ...]] = {
    "cheek_left": RIGHT_CHEEK,
    "cheek_right": LEFT_CHEEK,
    "under_eye_left": UNDER_RIGHT_EYE,
    "under_eye_right": UNDER_LEFT_EYE,
    "flank_left": RIGHT_FLANK,
    "flank_right": LEFT_FLANK,
    "lid_left": RIGHT_SOCKET[0],
    "lid_right": LEFT_SOCKET[0],
    "forehead": (9, 108, 151, 337),
    "chin": (199, 200, 208, 428),
}
WALL_PATCHES = ("wall_left", "wall_right")
PATCHES = (*FACE_PATCHES, *WALL_PATCHES)
# The wall is read in a picture of this width; the person's outline grows by this many of its pixels, for hair and an outline of some frames ago.
WALL_WIDTH_PX, OUTLINE_GROWS_PX = 75, 7
SOMEBODY = 26  # of the person mask (validation.wall)
OUTLINE_COVERS = 0.9  # of the face's landmarks
WALL_LEAST_PX = 40
# A patch whose mean comes near the sensor's white, or whose light is within the noise of 8 bits, tells nothing of the lamps.
PATCH_CLIPPED, PATCH_DARK = 0.93, 0.002

# What is added to the limits before the light counts as balanced, in the rule's own unit; exposure of dark skin: as a factor.
MARGINS: Mapping[str, tuple[float, float]] = {
    "light.even": (5.0, 0.0),
    "light.sides": (6.0, 0.0),
    "light.shadows": (6.0, 0.0),
    "light.overexposed": (0.0, 0.2),
    "light.underexposed": (0.0, 10.0),
    "light.hot_spots": (0.0, 0.1),
    "light.natural_colour": (0.0, 1.0),
    "light.exposure": (1.0, 8.0),
    "background.lightness": (3.0, 4.0),
    "background.colour": (0.0, 4.0),
}


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


@dataclass(frozen=True, slots=True, eq=False)
class MeterReading:
    """The light of one preview frame as the loop needs it."""

    at_ns: int
    patches: Mapping[str, tuple[float, float, float]]  # linear light 0..1, blue, green, red; empty without a face
    values: Mapping[str, float]  # of the rules in MARGINS, in their own units
    brightest: float  # linear light that the brightest 1 % of the picture exceed
    middle: float  # median of the picture

    @property
    def has_face(self) -> bool:
        """Whether there is a face whose light can be balanced."""
        return bool(self.patches)


def meter(
    image: NDArray[np.uint8],
    landmarks: NDArray[np.floating] | None,
    person_mask: NDArray[np.uint8] | None,
    at_ns: int,
) -> MeterReading:
    """The light of a frame; without a face, or with one that the picture cuts off, only how bright the picture is."""
    small = cv2.resize(
        image,
        (WALL_WIDTH_PX, max(round(image.shape[0] * WALL_WIDTH_PX / image.shape[1]), 1)),
        interpolation=cv2.INTER_AREA,
    )
    linear = np.asarray(cv2.LUT(small, LINEAR), dtype=np.float32) / np.float32(255)
    grey = np.asarray(cv2.transform(linear, LUMINANCE_BGR), dtype=np.float32)
    brightest, middle = (float(v) for v in np.percentile(grey, (99, 50)))
    dark = MeterReading(at_ns, {}, {}, brightest, middle)
    if landmarks is None:
        return dark
    face = canvas(image, landmarks)
    zones, shadow = light_zones(face), face_shadow(face)
    tones = face_tones(face)
    if zones is None or shadow is None or tones is None:
        return dark
    patches = _face_patches(face)
    values = {
        "light.even": zones.evenness * 100,
        "light.sides": zones.sides * 100,
        "light.shadows": shadow.value * 100,
        "light.overexposed": tones.too_bright * 100,
        "light.underexposed": tones.up_to(black_level(face)) * 100,
        "light.exposure": tones.mean * 100,
    }
    spot = hot_spot(face, skin_region(face))
    if spot is not None:
        values["light.hot_spots"] = spot.value * 100
    wall_lab = None
    if person_mask is not None:
        wall = _wall_patches(linear, person_mask, float(landmarks[1, 0]) / image.shape[1])
        patches |= wall
        if wall:
            wall_lab = _lab(np.mean(list(wall.values()), axis=0))
            values["background.lightness"] = float(wall_lab[0])
            values["background.colour"] = off_light_grey(wall_lab)
    distance = skin_colour_distance(face, wall_lab)
    if distance is not None:
        values["light.natural_colour"] = distance
    return MeterReading(at_ns, patches, values, brightest, middle)


def outline_fits(landmarks: NDArray[np.floating], person_mask: NDArray[np.uint8] | None) -> bool:
    """Whether the person's outline, which may be some frames old, is that of somebody with this face where it is now."""
    if person_mask is None:
        return False
    height, width = person_mask.shape
    columns, rows = (np.rint(landmarks[:, axis]).astype(int) for axis in (0, 1))
    seen = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return float((person_mask[rows[seen], columns[seen]] >= SOMEBODY).sum()) >= OUTLINE_COVERS * len(landmarks)


def _face_patches(face: Canvas) -> dict[str, tuple[float, float, float]]:
    found = {}
    for name, landmarks in FACE_PATCHES.items():
        hull = np.asarray(cv2.convexHull(np.rint(face.points[list(landmarks)]).astype(np.int32)))
        x, y, width, height = cv2.boundingRect(hull)
        window = (slice(max(y, 0), y + height), slice(max(x, 0), x + width))
        seen = face.inside[window]
        if seen.shape != (height, width) or not seen.all():
            continue
        inside = np.zeros((height, width), dtype=np.uint8)
        cv2.fillConvexPoly(inside, hull - (x, y), 255)
        blue, green, red, _ = cv2.mean(cv2.LUT(face.pixels[window], LINEAR), inside)
        found[name] = (blue / 255, green / 255, red / 255)
    return found


def _wall_patches(
    linear: NDArray[np.float32], person_mask: NDArray[np.uint8], nose_x: float
) -> dict[str, tuple[float, float, float]]:
    """The wall at both sides of the head: medians, so that a lock of hair or a thing on the wall does not count."""
    height, width = linear.shape[:2]
    mask = cv2.resize(person_mask, (width, height), interpolation=cv2.INTER_AREA)
    somebody = (mask >= SOMEBODY).astype(np.uint8)
    free = cv2.dilate(somebody, np.ones((OUTLINE_GROWS_PX, OUTLINE_GROWS_PX), np.uint8)) == 0
    middle = min(max(round(nose_x * width), 1), width - 1)
    found = {}
    for name, columns in zip(WALL_PATCHES, (slice(0, middle), slice(middle, width)), strict=True):
        pixels = linear[:, columns][free[:, columns]]
        if len(pixels) >= WALL_LEAST_PX:
            blue, green, red = (float(v) for v in np.median(pixels, axis=0))
            found[name] = (blue, green, red)
    return found


def _lab(linear_bgr: NDArray[np.floating]) -> NDArray[np.float32]:
    """CIELAB under D65."""
    one = np.asarray(linear_bgr, dtype=np.float32).reshape(1, 1, 3)
    return np.asarray(cv2.cvtColor(one, cv2.COLOR_LBGR2Lab)[0, 0], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Bands:
    """Where the light's values shall lie: the profile's limits, the warning ones where there are such, and the margins."""

    limits: Mapping[str, RuleLimits]

    @classmethod
    def of(cls, profile: Profile) -> Bands:
        """Those of a profile."""
        return cls({rule: limits for rule, limits in profile.rules.items() if rule in MARGINS})

    def lacking(self, values: Mapping[str, float], margin: float = 1.0) -> dict[str, float]:
        """How far each value lies outside its band, as a share of the rule's margin; only those that do. `margin` 0: the bare limits."""
        found = {}
        for rule, value in values.items():
            limits = self.limits.get(rule)
            if limits is None:
                continue
            below, above = MARGINS[rule]
            low = limits.warn_low if limits.warn_low is not None else limits.low
            high = limits.warn_high if limits.warn_high is not None else limits.high
            lack = 0.0
            if low is not None:
                lack = max(lack, (low + margin * below - value) / (below or 1.0))
            if high is not None:
                lack = max(lack, (value - (high - margin * above)) / (above or 1.0))
            if lack > 0:
                found[rule] = lack
        return found

    def refused(self, values: Mapping[str, float]) -> int:
        """How many values a photo would be refused for."""
        return sum(
            limits.level is Level.REJECT and not limits.limit.holds(values[rule])
            for rule, limits in self.limits.items()
            if rule in values
        )

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether every value keeps the bare limits."""
        return not self.lacking(values, margin=0.0)

    def balanced(self, values: Mapping[str, float]) -> bool:
        """Whether every value keeps its limits with margin."""
        return not self.lacking(values)


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
