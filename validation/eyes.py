"""PURE: the two eyes on the standard canvas: where they are, whether they are seen, where they look, whether their pupils are red.

Eye visibility zone (EVZ, Doc 9303-1 and ISO/IEC 29794-5 eyes visible): the box around the visible eye grown by V = floor(eye distance / 20).
The mesh draws lids on whatever covers an eye, so no measure of an eye trusts its landmarks alone.

Order: `eye_zones` cuts both zones and the face's own light out of the canvas once; every measure of eyes and eyewear reads that.
The face's own light is that of both cheeks well below any lens, and of the forehead; so skin tone and exposure cancel out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import FACE_BELOW_BROWS, Canvas, Image, luminance
from validation.geometry import EYE_CORNERS_LEFT, EYE_CORNERS_RIGHT, Points, eyes, inter_eye_px

Box = tuple[int, int, int, int]  # x0, y0, x1, y1

# From the outer to the inner corner; upper and lower lid are read in pairs.
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
LID_RINGS = tuple((*u, *d[-2:0:-1]) for u, d in zip(UPPER_LIDS, LOWER_LIDS, strict=True))
IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))  # centre, then ring
LASHES_PX = 2  # around the lids, canvas px
EVZ_MARGIN_DIVISOR = 20  # V = floor(eye distance / 20): Doc 9303-1, at least 5 % of the eye distance
# Middle of both cheeks (below every lens, above most beards) and of the forehead; half sides of the patch read there, canvas px.
CHEEKS, FOREHEAD = (205, 425), 151
PATCH_HALF = (10, 8)
# Part of the lid gap that is read (the mesh's lids are off by a few pixels), columns from corner to corner without the ends, rows.
EYE_INNER_PART = 0.6
EYE_COLUMNS, EYE_COLUMNS_END, EYE_ROWS = 33, 3, 5
# Weights that place the columns between the nine points of a lid.
_ACROSS = np.linspace(0, len(UPPER_LIDS[0]) - 1, EYE_COLUMNS)[EYE_COLUMNS_END:-EYE_COLUMNS_END, None]
LID_WEIGHTS = np.maximum(0, 1 - np.abs(_ACROSS - np.arange(len(UPPER_LIDS[0]))))
LID_DEPTHS = np.linspace(0.5 - EYE_INNER_PART / 2, 0.5 + EYE_INNER_PART / 2, EYE_ROWS)[:, None, None]
# The same for all rows and columns at once, of the points of the upper and then the lower lid.
LID_GRID = np.concatenate([(1 - LID_DEPTHS) * LID_WEIGHTS, LID_DEPTHS * LID_WEIGHTS], axis=2)
LID_LINES = tuple([*u, *d] for u, d in zip(UPPER_LIDS, LOWER_LIDS, strict=True))
# Calibrated, see docs/rules.md: open eyes measured from 0.24, bars, discs and dark glasses over them up to 0.10.
CONTRAST_LEAST = 0.15
FACE_STEP = 4  # the face's median is taken over every 4th row and column

# Gaze: how far the iris moves, in eye distances, when the eye turns by 90 degrees (eyeball radius 12 mm of 63 mm, and what the mesh reads of
# it: 25 degrees measure 0.070), the height of irises that look at the camera above the corners' middle, and what one degree of head turn
# adds while the eye stays on the camera. Calibrated, see docs/rules.md.
IRIS_PER_TURN = 0.17
IRIS_HEIGHT = 0.027
IRIS_PER_YAW_DEG = 0.0018
# Darkness between the lids: from which brightness down, and the part of the iris's way that its middle goes.
DARKNESS_PERCENTILES = (85, 5)
DARKNESS_FOLLOWS = 0.85
LEAST_OPENING_PX = 20

# Red pupils: the part of the iris that is read; redder than the own skin by this share of red light, lit at least so much of the skin's red.
PUPIL_PART = 0.75
REDDER_THAN_SKIN, RED_LEAST_LIGHT, RED_OVER_REST = 0.10, 0.35, 1.5
RED_NOISE = 10  # levels of 255
DARK_OFFSET = 6  # levels of 255: keeps the colour of nearly black pixels from exploding
LEAST_IRIS_PX = 10


def evz_boxes(points: Points) -> tuple[Box, Box]:
    """The eye visibility zones of the right and left eye, in whole pixels of the picture the points lie in."""
    across = np.asarray(points, dtype=np.float64)[:, :2]
    margin = math.floor(inter_eye_px(across) / EVZ_MARGIN_DIVISOR)
    boxes = []
    for ring in LID_RINGS:
        lids = across[list(ring)]
        low, high = np.floor(lids.min(axis=0) - margin), np.ceil(lids.max(axis=0) + margin)
        boxes.append((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    return boxes[0], boxes[1]


@dataclass(frozen=True, eq=False)
class EyeZone:
    """One eye's visibility zone on the canvas."""

    box: Box
    pixels: Image
    points: NDArray[np.float64]  # all landmarks, in the zone's pixels
    lids: Image  # 255 between the lids
    iris: Image  # 255 in the iris, also where a lid covers it
    iris_radius: float

    @cached_property
    def grey(self) -> Image:
        """Grey values as the eye sees them (gamma)."""
        return np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_BGR2GRAY), dtype=np.uint8)

    @cached_property
    def light(self) -> Image:
        """Linear luminance."""
        return luminance(self.pixels)

    @cached_property
    def weakest(self) -> Image:
        """The weakest colour channel: high only where it is white."""
        return np.asarray(self.pixels.min(axis=2), dtype=np.uint8)

    @cached_property
    def beside(self) -> NDArray[np.bool_]:
        """The zone without the opened eye and its lashes: skin, on a free eye."""
        return np.asarray(grown(self.lids, LASHES_PX) == 0)


@dataclass(frozen=True, eq=False)
class EyeZones:
    """Both eyes and the face's own light."""

    right: EyeZone
    left: EyeZone
    cheeks: NDArray[np.float64]  # median colour BGR of the cheeks that lie inside the picture
    light: float  # linear luminance of the face: median of cheeks and forehead, 0..255

    @property
    def both(self) -> tuple[EyeZone, EyeZone]:
        """Right, left."""
        return self.right, self.left

    @cached_property
    def skin_grey(self) -> float:
        """Grey of the brighter cheek: a shadow over one side does not count."""
        return float((self.cheeks @ (0.114, 0.587, 0.299)).max())

    @cached_property
    def skin_weakest(self) -> float:
        """Weakest colour channel of the brighter cheek."""
        return float(self.cheeks.min(axis=1).max())


def grown(mask: Image, by: int) -> Image:
    """A mask with `by` pixels around it."""
    return np.asarray(cv2.dilate(mask, np.ones((2 * by + 1, 2 * by + 1), np.uint8)), dtype=np.uint8)


def ranked(values: NDArray[np.uint8], percentile: float) -> float:
    """The value at this rank: numpy's percentile without its interpolation, at a fraction of its time."""
    index = round((values.size - 1) * percentile / 100)
    return float(np.partition(values.ravel(), index)[index])


def _zone(face: Canvas, box: Box, side: int) -> EyeZone:
    x0, y0, x1, y1 = box
    pixels = face.pixels[y0:y1, x0:x1]
    points = face.points - np.array([x0, y0])
    lids, iris = np.zeros(pixels.shape[:2], np.uint8), np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillPoly(lids, [np.rint(points[list(LID_RINGS[side])]).astype(np.int32)], 255)
    centre, *ring = IRISES[side]
    middle, *around = points[[centre, *ring]].tolist()
    radius = sum(math.dist(middle, point) for point in around) / len(ring)
    cv2.circle(iris, (round(middle[0]), round(middle[1])), max(round(radius), 1), 255, -1)
    return EyeZone(box, pixels, points, lids, iris, radius)


def _patch(face: Canvas, landmark: int) -> Image | None:
    """Median colour around a landmark; None where the picture cuts it off."""
    x, y = round(float(face.points[landmark, 0])), round(float(face.points[landmark, 1]))
    rows, columns = (
        slice(max(y - PATCH_HALF[1], 0), y + PATCH_HALF[1]),
        slice(max(x - PATCH_HALF[0], 0), x + PATCH_HALF[0]),
    )
    inside = face.inside[rows, columns]
    if not inside.size or not inside.all():
        return None
    pixels = np.sort(face.pixels[rows, columns].reshape(-1, 3), axis=0)
    return np.asarray(pixels[len(pixels) // 2], dtype=np.uint8)


def eye_zones(face: Canvas) -> EyeZones | None:
    """Both eyes; None when the picture cuts one off or shows neither cheek."""
    zones = []
    for side, box in enumerate(evz_boxes(face.points)):
        x0, y0, x1, y1 = box
        inside = face.inside[max(y0, 0) : y1, max(x0, 0) : x1]
        if x0 < 0 or y0 < 0 or inside.shape != (y1 - y0, x1 - x0) or not inside.all():
            return None
        zones.append(_zone(face, box, side))
    cheeks = [colour for colour in (_patch(face, i) for i in CHEEKS) if colour is not None]
    if not cheeks:
        return None
    forehead = _patch(face, FOREHEAD)
    patches = cheeks if forehead is None else [*cheeks, forehead]
    light = luminance(np.array(patches)[None])
    return EyeZones(zones[0], zones[1], np.array(cheeks, dtype=np.float64), float(np.median(light)))


def eye_contrasts(face: Canvas, zones: EyeZones) -> tuple[float, float] | None:
    """Right, left: (brightest - darkest column between the lids) / median of the face; None without a face.

    Between real lids the light changes along the eye (white, iris, white); a bar, a disc or a dark lens stays even. Columns across the inner
    part of the lid gap are compared, so an edge that runs along the lids does not count.
    """
    outline = cv2.convexHull(np.rint(face.points[list(FACE_BELOW_BROWS)] / FACE_STEP).astype(np.int32))
    inside = face.inside[::FACE_STEP, ::FACE_STEP]
    hull = np.zeros(inside.shape, np.uint8)
    cv2.fillConvexPoly(hull, outline, 255)
    x, y, width, height = cv2.boundingRect(hull)
    window = slice(y, y + height), slice(x, x + width)
    whole = (hull[window] & inside[window]) > 0
    if not whole.any():
        return None
    x, y, right, bottom = (at * FACE_STEP for at in (x, y, x + width, y + height))
    small = cv2.resize(face.pixels[y:bottom, x:right], (width, height), interpolation=cv2.INTER_NEAREST)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    face_grey = max(ranked(grey[whole], 50), 1.0)
    contrasts = []
    for lids, zone in zip(LID_LINES, zones.both, strict=True):
        blurred = np.asarray(cv2.GaussianBlur(zone.grey, (3, 3), 0), dtype=np.float32)
        where = (LID_GRID @ zone.points[lids]).astype(np.float32)
        columns = np.sort(cv2.remap(blurred, where[..., 0], where[..., 1], cv2.INTER_LINEAR), axis=0)[EYE_ROWS // 2]
        contrasts.append(float(columns.max() - columns.min()) / face_grey)
    return contrasts[0], contrasts[1]


def eye_contrast(face: Canvas) -> float | None:
    """The smaller of both eyes' contrasts; None without a face."""
    zones = eye_zones(face)
    contrasts = None if zones is None else eye_contrasts(face, zones)
    return None if contrasts is None else min(contrasts)


def _dark_middle(zone: EyeZone) -> NDArray[np.float64] | None:
    """Where the darkness between the lids has its middle, in the zone's pixels: the iris's, when the mesh has lost it."""
    between = zone.lids > 0
    if np.count_nonzero(between) < LEAST_OPENING_PX:
        return None
    grey = np.asarray(cv2.GaussianBlur(zone.grey, (3, 3), 0), dtype=np.float64)
    bright, dark = np.percentile(grey[between], DARKNESS_PERCENTILES)
    weight = np.clip((bright - grey) / (bright - dark + 1), 0, 1) ** 2 * between
    whole = float(weight.sum())
    if whole <= 0:
        return None
    x, y = (float(weight.sum(axis=axis) @ np.arange(grey.shape[1 - axis])) / whole for axis in (0, 1))
    return np.array([x, y])


def gaze_deg(points: Points, zones: EyeZones, yaw_deg: float) -> float:
    """Angle between the line of sight and the line to the camera, mean of both eyes, in degrees: 0..90. `points`: landmarks on the canvas.

    Sideways the mesh's irises count two thirds and the middle of the darkness between the lids one third: the mesh loses irises that are pale
    or far aside. A head that is turned while the eyes stay on the camera moves the irises too; that part is taken off by the head's yaw.
    """
    across = np.asarray(points, dtype=np.float64)[:, :2]
    right, left = eyes(across)
    axis = left - right
    apart = float(np.hypot(*axis))
    axis /= apart
    upwards = np.array([axis[1], -axis[0]])
    aside, aloft = [], []
    for zone, iris, corners in zip(zones.both, IRISES, (EYE_CORNERS_RIGHT, EYE_CORNERS_LEFT), strict=True):
        offset = across[iris[0]] - across[list(corners)].mean(axis=0)
        dark = _dark_middle(zone)
        sideways = float(offset @ axis)
        if dark is not None:
            seen = float((dark - zone.points[list(corners)].mean(axis=0)) @ axis) / DARKNESS_FOLLOWS
            sideways = (2 * sideways + seen) / 3
        aside.append(sideways / apart)
        aloft.append(float(offset @ upwards) / apart)
    sideways = float(np.mean(aside)) + IRIS_PER_YAW_DEG * yaw_deg
    height = float(np.mean(aloft)) - IRIS_HEIGHT
    return math.degrees(math.asin(min(math.hypot(sideways, height) / IRIS_PER_TURN, 1.0)))


def red_share(zones: EyeZones) -> tuple[float, tuple[Image | None, Image | None]] | None:
    """Largest share of an iris's inner disc that is red, 0..1, and the red pixels in both zones; None when no iris shows between the lids."""
    skin = zones.cheeks.mean(axis=0)
    skin_red = float(skin[2] / (skin.sum() + DARK_OFFSET))
    shares: list[float] = []
    found: list[Image | None] = []
    for zone in zones.both:
        disc = np.zeros_like(zone.lids)
        centre = IRISES[0] if zone is zones.right else IRISES[1]
        x, y = np.rint(zone.points[centre[0]]).astype(int).tolist()
        cv2.circle(disc, (x, y), max(round(zone.iris_radius * PUPIL_PART), 1), 255, -1)
        where = (disc & zone.lids) > 0
        if np.count_nonzero(where) < LEAST_IRIS_PX:
            found.append(None)
            continue
        blue, green, red = (zone.pixels[..., i].astype(np.float32) for i in range(3))
        is_red = (
            where
            & (red / (blue + green + red + DARK_OFFSET) > skin_red + REDDER_THAN_SKIN)
            & (red > RED_LEAST_LIGHT * skin[2])
            & (red > RED_OVER_REST * np.maximum(blue, green) + RED_NOISE)
        )
        shares.append(float(is_red[where].mean()))
        found.append(np.where(is_red, 255, 0).astype(np.uint8))
    return (max(shares), (found[0], found[1])) if shares else None
