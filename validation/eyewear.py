"""PURE: glasses: dark lenses, reflections on them, frames. Measured on the standard canvas against the face's own light and skin.

Dark lenses: a lens takes light from skin and eye alike, so both must be dark: make-up and deep sockets leave the white of the eye, a dark
eye leaves the skin. Measured in linear light, of the eye that shows more: a shadow or hair over one eye is no pair of lenses.

Tinted lenses: a coloured lens takes more of one colour than of another, and what any lens reflects at its front has not the colour of skin, which
shows most on dark skin. So the skin around the eye has lost the cheeks' colour: of the light in blue, green and red, each against the cheeks',
the smallest share is held against the largest. Free of how bright the light is.

Reflections: white spots much brighter than the cheeks. The glint that every moist eye shows lies in the iris and is small; a spot
that reaches over the lids, covers the iris or whitens the white of the eye is a reflection on a lens.

Glasses: a frame is a thin line in three places where a face has none: across the bridge of the nose, and under both eyes from the nose
to the temple. A line is what a closing (dark) or an opening (bright) of the picture along the search direction takes away, as a share of the
light around it. Under an eye the best unbroken path is taken, whatever the shape of the rim. A furrow shows at the nose or a bag
under the eyes, seldom both: the geometric mean of the bridge and of the weaker rim counts.

Frames: the share of the zone around the eye, where nothing of a frame should be (the EVZ and a margin), that is much darker or brighter than
the skin; or the thickness of the rims, when that counts more: a rim of 5 % of the eye distance is as heavy as a quarter of the zone is covered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import CANVAS_EYE_DISTANCE_PX, LINEAR, Canvas, Image
from validation.eyes import LID_RINGS, EyeZone, EyeZones, grown, ranked
from validation.geometry import eye_midpoint, eyes

# All lengths in canvas pixels, where the eye distance is 113.
# Dark lenses: part of the eye opening that counts as its white; offset of linear luminance (0..255) that keeps nearly black faces apart.
WHITE_PERCENTILE = 75
LIGHT_OFFSET = 0.5
DARKEST_FACE = 3.0  # below this linear luminance of the cheeks nothing can be compared
# Tint: free eyes measured 0.62 and more, lenses that take a third or more of one colour mostly below 0.5; offset as above.
TINTED_BELOW, TINT_OFFSET = 0.5, 2.0
# Reflections: brighter than the weakest channel of the cheek by this, and at least, at most.
SPOT_OVER_SKIN, SPOT_LEAST, SPOT_MOST = 1.3, 130, 238
# Moist or oily skin shines too, but keeps some of its colour: a reflection's brightest tenth is whiter than this.
WHITEST_OVER_SKIN, WHITEST_LEAST, WHITEST_MOST = 1.6, 160, 232
SKIN_MOST = 225  # on brighter skin a reflection cannot be told
SPOT_OVER_LIDS_PX, SPOT_ON_WHITE_PX, WHITE_SPOT = 6, 8, 235
GLINT_RADIUS = 0.45  # of the iris's: larger white discs in it are no glints
# Lines: bridge strip (half width; rows above and below M), rims (polar, from under the nose side to the temple side).
BRIDGE_HALF, BRIDGE_UP, BRIDGE_DOWN = 11, 34, 38
RIM_FROM_DEG, RIM_TO_DEG, RIM_STEPS = 15, 150, 46
RIM_NEAR, RIM_FAR, RIM_DROP = 12, 60, 4
PATH_STEP = 2  # columns that a rim's path may move per row
BRIDGE_SHARE = 30  # percentile of the columns that must show the line
NOSE_BRIDGE = (168, 6, 197)
# Widest line at the bridge and at a rim. Thick frames need longer searches, where shades of the face count too; silver and white frames hardly
# differ from skin in grey but do in blue, where noise counts more: both get less weight.
FINE_LINES, THICK_LINES = (19, 15), (31, 31)
THICK_WEIGHT, BLUE_WEIGHT = 0.75, 0.75
CLEARLY_A_FRAME = 0.3  # a stronger line is no more of a frame: black, thick and thin ones read alike
LEAST_LIGHT = 4  # levels of 255
# Frames: margin around the EVZ that should be free (across, down); how much darker or brighter than skin a frame is.
FREE_ACROSS, FREE_DOWN = 8, 13
FRAME_DARK, FRAME_BRIGHT = 0.55, 1.5
LASHES_PX = 3
THICKNESS_COUNTS = 5.0  # share of the zone per share of the eye distance
BROWS_BELOW = ((46, 53, 52, 65, 55), (276, 283, 282, 295, 285))


def lens_light(zones: EyeZones) -> float | None:
    """Light of the eye's zone / light of the face, of the eye that shows more; None when the face is too dark to compare."""
    if zones.light < DARKEST_FACE:
        return None
    shares = []
    for zone in zones.both:
        around, opening = zone.light[zone.beside], zone.light[zone.lids > 0]
        if not around.size:
            continue
        skin = ranked(around, 50) + LIGHT_OFFSET
        white = ranked(opening, WHITE_PERCENTILE) + LIGHT_OFFSET if opening.size else skin
        shares.append(math.sqrt(skin * max(white, skin)) / (zones.light + 1))
    return max(shares, default=None)


def lens_tint(zones: EyeZones) -> float | None:
    """How much of the cheeks' colour the skin around the eyes has, 0..1, of the eye that shows more; None where no skin shows beside the eyes."""
    cheeks = LINEAR[zones.cheeks.astype(np.uint8)].mean(axis=0) + TINT_OFFSET
    kept = []
    for zone in zones.both:
        around = zone.pixels[zone.beside]
        if around.size:
            shares = (LINEAR[np.median(around, axis=0).astype(np.uint8)] + TINT_OFFSET) / cheeks
            kept.append(float(shares.min() / shares.max()))
    return max(kept, default=None)


def _spots(zone: EyeZone, least: float, whitest: float) -> Image:
    bright = np.where(zone.weakest > least, 255, 0).astype(np.uint8)
    found = np.zeros_like(bright)
    if not bright.any():
        return found
    over_lids = zone.beside
    count, label = cv2.connectedComponents(bright, connectivity=8)
    for number in range(1, count):
        spot = label == number
        if ranked(zone.weakest[spot], 90) < whitest:
            continue
        in_iris = int(np.count_nonzero(spot & (zone.iris > 0)))
        on_white = int(np.count_nonzero(spot & (zone.iris == 0) & (zone.weakest >= WHITE_SPOT)))
        if (
            int(np.count_nonzero(spot & over_lids)) >= SPOT_OVER_LIDS_PX
            or on_white >= SPOT_ON_WHITE_PX
            or in_iris > math.pi * (GLINT_RADIUS * zone.iris_radius) ** 2
        ):
            found[spot] = 255
    return found


def reflections(zones: EyeZones) -> tuple[Image, Image] | None:
    """The reflections in both zones as masks; None when the skin itself is nearly white."""
    if zones.skin_weakest > SKIN_MOST:
        return None
    least = min(max(SPOT_OVER_SKIN * zones.skin_weakest, SPOT_LEAST), SPOT_MOST)
    whitest = min(max(WHITEST_OVER_SKIN * zones.skin_weakest, WHITEST_LEAST), WHITEST_MOST)
    return _spots(zones.right, least, whitest), _spots(zones.left, least, whitest)


def _lines(channel: Image, widest: int, *, down: bool) -> tuple[Image, Image]:
    """What a closing and an opening along the search direction take away: dark and bright lines."""
    kernel = np.ones((widest, 1) if down else (1, widest), np.uint8)
    dark, bright = (cv2.morphologyEx(channel, kind, kernel) for kind in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT))
    return np.asarray(dark, dtype=np.uint8), np.asarray(bright, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class _Path:
    """The strongest unbroken path through one unrolled eye, followed back only when somebody asks where it runs."""

    response: NDArray[np.float32]  # rows: from the nose to the temple; columns: outwards
    totals: NDArray[np.float32]  # sum of the best path that ends there
    x: NDArray[np.float64]  # where the cells lie on the canvas
    y: NDArray[np.float64]

    @cached_property
    def columns(self) -> NDArray[np.intp]:
        path = np.empty(len(self.totals), dtype=np.intp)
        path[-1] = int(self.totals[-1].argmax())
        for row in range(len(path) - 1, 0, -1):
            low = max(path[row] - PATH_STEP, 0)
            path[row - 1] = low + int(self.totals[row - 1, low : path[row] + PATH_STEP + 1].argmax())
        return path

    @property
    def points(self) -> NDArray[np.float64]:
        at = np.arange(len(self.columns)), self.columns
        return np.column_stack([self.x[at], self.y[at]])

    @property
    def thickness(self) -> float:
        """Median width of the line: how far the response stays above half of what it is on the path."""
        widths = []
        for row, column in zip(self.response, self.columns, strict=True):
            ends = np.flatnonzero(row < row[column] / 2)
            before, after = ends[ends < column], ends[ends > column]
            widths.append((after[0] if after.size else row.size) - (before[-1] if before.size else -1) - 1)
        return float(np.median(widths))


@dataclass(frozen=True, eq=False)
class Rims:
    """How strongly lines of a frame show, each from 0 (none) to about 1 (black on skin), and where, on the canvas."""

    bridge: float
    right: float
    left: float
    bridge_line: NDArray[np.float64]  # its ends
    right_rim: _Path
    left_rim: _Path
    thick: tuple[_Path, _Path]  # the rims as the search for thick frames found them

    @cached_property
    def paths(self) -> tuple[NDArray[np.float64], ...]:
        """Bridge, right rim, left rim."""
        return self.bridge_line, self.right_rim.points, self.left_rim.points

    @cached_property
    def thickness(self) -> float:
        """Of the rims under the eyes, canvas px."""
        return (self.thick[0].thickness + self.thick[1].thickness) / 2

    @property
    def strength(self) -> float:
        """All three together, at most CLEARLY_A_FRAME."""
        return min(math.sqrt(self.bridge * min(self.right, self.left)), CLEARLY_A_FRAME)


def _bridge(strip: Image, widest: int) -> tuple[float, int]:
    """Strength of the strongest line across the strip and its row."""
    light = cv2.blur(strip, (9, 31)).astype(np.float32) + LEAST_LIGHT
    strongest, row = 0.0, 0
    for line in _lines(np.asarray(cv2.blur(strip, (5, 1)), dtype=np.uint8), widest, down=True):
        # The bridge is arched: each column's line may lie two rows up or down.
        near = np.sort(cv2.dilate(line, np.ones((5, 1), np.uint8)) / light, axis=1)
        profile = near[:, near.shape[1] * BRIDGE_SHARE // 100]
        if float(profile.max()) > strongest:
            strongest, row = float(profile.max()), int(profile.argmax())
    return strongest, row


def _path_totals(responses: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each picture of a stack: the sum of the strongest unbroken path from the first row to each cell, at most PATH_STEP columns aside per
    row.
    """
    count, rows, columns = responses.shape
    totals = np.empty((rows, count, columns), dtype=np.float32)
    totals[0] = responses[:, 0]
    reach = np.full((count, columns + 2 * PATH_STEP), -1.0, dtype=np.float32)
    for row in range(1, rows):
        reach[:, PATH_STEP:-PATH_STEP] = totals[row - 1]
        best = reach[:, :columns]
        for step in range(1, 2 * PATH_STEP + 1):
            best = np.maximum(best, reach[:, step : step + columns])
        np.add(best, responses[:, row], out=totals[row])
    return totals.transpose(1, 0, 2)


def rims(face: Canvas) -> Rims | None:
    """Lines of a frame across the nose and under both eyes; None when the picture cuts them off."""
    middle = eye_midpoint(face.points)
    x0 = round(float(face.points[list(NOSE_BRIDGE), 0].mean())) - BRIDGE_HALF
    y0 = round(float(middle[1])) - BRIDGE_UP
    bridge = (slice(max(y0, 0), y0 + BRIDGE_UP + BRIDGE_DOWN), slice(max(x0, 0), x0 + 2 * BRIDGE_HALF))
    angle = np.deg2rad(np.linspace(RIM_FROM_DEG, RIM_TO_DEG, RIM_STEPS))[:, None]
    radius = np.arange(RIM_NEAR, RIM_FAR, dtype=np.float64)
    right, left = eyes(face.points)
    # Both eyes below each other, each unrolled from the nose to the temple.
    x = np.vstack([right[0] + np.cos(angle) * radius, left[0] - np.cos(angle) * radius])
    y = np.vstack([right[1] + RIM_DROP + np.sin(angle) * radius, left[1] + RIM_DROP + np.sin(angle) * radius])
    low, high = np.floor([x.min(), y.min()]).astype(int), np.ceil([x.max(), y.max()]).astype(int) + 1
    if low.min() < 0 or not face.inside[bridge].any() or not face.inside[low[1] : high[1], low[0] : high[0]].all():
        return None
    window = face.pixels[low[1] : high[1], low[0] : high[0]]
    where = (x - low[0]).astype(np.float32), (y - low[1]).astype(np.float32)
    strip = face.pixels[bridge]
    grey = [np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), dtype=np.uint8) for part in (strip, window)]
    blue = [np.ascontiguousarray(part[..., 0]) for part in (strip, window)]
    searches = ((grey, FINE_LINES, 1.0), (grey, THICK_LINES, THICK_WEIGHT), (blue, FINE_LINES, BLUE_WEIGHT))
    stack = []
    halves = (slice(None, RIM_STEPS), slice(RIM_STEPS, None))
    for (_, around), (_, widest), weight in searches:
        along = cv2.remap(around, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        unrolled = np.asarray(cv2.blur(along, (1, 3)), dtype=np.uint8)  # along a rim: noise goes, lines stay
        share = [weight / (cv2.blur(unrolled[half], (41, 9)).astype(np.float32) + LEAST_LIGHT) for half in halves]
        lines = _lines(unrolled, widest, down=False)
        stack += [line[half] * share[side] for line in lines for side, half in enumerate(halves)]
    responses = np.array(stack, dtype=np.float32)
    totals = _path_totals(responses)
    strengths = totals[:, -1].max(axis=1) / RIM_STEPS

    def rim(search: int, side: int) -> tuple[float, _Path]:
        # The four lines of a search: dark right, dark left, bright right, bright left.
        index = max((4 * search + side, 4 * search + 2 + side), key=lambda i: strengths[i])
        return float(strengths[index]), _Path(responses[index], totals[index], x[halves[side]], y[halves[side]])

    thick = (rim(1, 0)[1], rim(1, 1)[1])
    found = []
    for search, ((across, _), (widest, _), weight) in enumerate(searches):
        strength, row = _bridge(across, widest)
        ends = np.array([(bridge[1].start, bridge[0].start + row), (bridge[1].stop, bridge[0].start + row)])
        (right_strength, right_rim), (left_strength, left_rim) = rim(search, 0), rim(search, 1)
        line = ends.astype(np.float64)
        found.append(Rims(strength * weight, right_strength, left_strength, line, right_rim, left_rim, thick))
    return max(found, key=lambda one: one.strength)


def heaviness(face: Canvas, zones: EyeZones, frame: Rims) -> tuple[float, Image]:
    """Of the zone that a frame must leave free around the eye, the share that it covers, of the worse eye, or its thickness weighed against
    that; and what is covered, on the canvas.
    """
    mask = np.zeros(face.pixels.shape[:2], np.uint8)
    shares = [0.0]
    for side, zone in enumerate(zones.both):
        x0, y0, x1, y1 = zone.box
        x0, x1 = max(x0 - FREE_ACROSS, 0), x1 + FREE_ACROSS
        y0, y1 = max(y0 - FREE_DOWN, 0), y1 + FREE_DOWN
        window = face.pixels[y0:y1, x0:x1]
        grey = np.asarray(cv2.cvtColor(window, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        lids = np.zeros_like(grey)
        cv2.fillPoly(lids, [np.rint(face.points[list(LID_RINGS[side])] - (x0, y0)).astype(np.int32)], 255)
        free = grown(lids, LASHES_PX) == 0
        brow = face.points[list(BROWS_BELOW[side])] - (x0, y0)
        brow = brow[np.argsort(brow[:, 0])]
        below_brow = np.interp(np.arange(grey.shape[1]), brow[:, 0], brow[:, 1]) + LASHES_PX
        free &= np.arange(grey.shape[0])[:, None] > below_brow
        if not free.any():
            continue
        skin = min(max(ranked(grey[free], 60), zones.skin_grey / 2), zones.skin_grey)
        covered = free & ((grey < FRAME_DARK * skin) | (grey > FRAME_BRIGHT * skin))
        shares.append(float(covered.sum()) / float(free.sum()))
        mask[y0:y1, x0:x1][covered] = 255
    return max(*shares, THICKNESS_COUNTS * frame.thickness / CANVAS_EYE_DISTANCE_PX), mask
