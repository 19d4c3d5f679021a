"""PURE: the wall behind the person as a small picture: how plain, which colour, shadows, strangers and objects, contrast to the head.

The picture is shrunk until the eyes are WALL_EYE_DISTANCE_PX apart. A wall pixel is then the mean of many camera pixels: camera noise, JPEG
blocks and the weave of a cloth are gone; lines, furniture, flags and shadows stay. All lengths are in eye distances of that small picture,
so values do not depend on the photo's size. Wall is where the person mask sees nobody, without a margin for hair tips.
Colours are CIELAB under D65 (the white of sRGB); luminance is linear light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import CANVAS_EYE_DISTANCE_PX, LINEAR, LUMINANCE_BGR, Image
from validation.geometry import CHIN, chin_distance_px, eye_midpoint

Mask = NDArray[np.bool_]

WALL_EYE_DISTANCE_PX = 32.0
# Longest side of the small picture, however small the face is in it.
WALL_SIDE_MOST_PX = 480
# Person mask below 0.1 is wall, above 0.5 person.
NOBODY_BELOW, SOMEBODY_FROM = 26, 128
# Hair tips beside the outline, and what an old outline adds: a sitter moves by less than this in one preview frame.
MARGIN, MARGIN_PER_FRAME = 0.22, 0.03
# Fewer pixels than this share of the picture say nothing about the wall: wide hair leaves the corners of a portrait, some hundred small pixels.
WALL_LEAST = 0.005
# The same for bands beside the head: the ring of shadows, the outline, and the wall near a place of the outline.
RING_LEAST, OUTLINE_LEAST, BESIDE_LEAST = 0.01, 0.005, 0.02
# Plainness is judged as far from the outline as enough wall is seen: strands of hair and the head's shadow lie nearer (rules of their own judge
# them), a pattern is everywhere.
PLAIN_FROM = (0.4, 0.3)
# The share of the wall that makes its colour, and the difference that is drawn as another colour.
MOST_OF_WALL_PERCENT, OTHER_COLOUR = 95, 15.0
# L* of #A1A1A1, the darkest grey of BSI TR-03121-3 v6.0.
LIGHT_GREY_FROM = 66.0
# Slope that is drawn as uneven, L* per tenth of an eye distance (a plain wall has 0.2).
STEEP = 2.0
# Shadows: the ring beside the head, how far away the wall's light is compared, and the share of the ring that may be darker than the value.
RING_FROM, RING, BESIDE = 0.12, 0.8, 0.6
DARKEST_PERCENT = 5
# A shadow keeps the wall's chromaticity (shares of linear light; the light that fills it has another colour than the lamp's) and some of its light;
# anything else that differs is a thing.
THING_DIFFERENCE = 25.0
SHADOW_CHROMATICITY, SHADOW_LEAST_LIGHT = 0.07, 0.2
# Where a head with any hair and a body may be: half widths in T (eyes to chin) beside the face's axis, and how fast shoulders widen.
HEAD_HALF_WIDTH, BODY_WIDENS, ABOVE_EYES = 1.3, 2.0, 2.2
# Down to here (in T below the eyes) nothing of a sitter stands apart from the head: below are shoulders.
BESIDE_ABOVE = 0.9
# Somebody behind wall is at least so tall, in T; hair that stands off below the ear is not.
APART_TALL = 0.35
# Area of a head, in T squared: ellipse of 2 T by 1.5 T.
HEAD_AREA = math.pi / 4 * 2.0 * 1.5
# Contrast: bands inside and outside the outline, and the share of the outline that may be as weak as the value.
BAND_FROM, BAND_IN_TO, BAND_OUT_TO, WEAKEST_PERCENT = 0.12, 0.35, 0.4, 10


@dataclass(frozen=True, eq=False)
class Wall:
    """The small picture, who stands in it, and where it lies in the source."""

    pixels: Image
    person: Image  # 0..255
    points: NDArray[np.float32]  # landmarks (x, y) in the small picture
    matrix: NDArray[np.float64]  # 2x3, source to small picture
    unit: float  # eye distance in the small picture
    margin: float  # in eye distances

    @cached_property
    def lab(self) -> NDArray[np.float32]:
        """CIELAB of the small picture."""
        return np.asarray(cv2.cvtColor(self.pixels.astype(np.float32) / 255, cv2.COLOR_BGR2Lab), dtype=np.float32)

    @cached_property
    def light(self) -> NDArray[np.float32]:
        """Linear luminance, 0..255."""
        return np.asarray(cv2.transform(cv2.LUT(self.pixels, LINEAR), LUMINANCE_BGR), dtype=np.float32)

    @cached_property
    def away(self) -> NDArray[np.float32]:
        """Distance from the person's outline, outside it, in eye distances."""
        nobody = (self.person < NOBODY_BELOW).astype(np.uint8)
        if nobody.all():
            return np.full(nobody.shape, np.inf, dtype=np.float32)
        return np.asarray(cv2.distanceTransform(nobody, cv2.DIST_L2, 3) / self.unit, dtype=np.float32)

    @cached_property
    def free(self) -> Mask | None:
        """Where the wall is seen; None when that is too little to judge."""
        free = self.away > self.margin
        return free if free.mean() >= WALL_LEAST else None

    @cached_property
    def colour(self) -> NDArray[np.float32] | None:
        """Median L*, a*, b* of the wall."""
        if self.free is None:
            return None
        # Every third pixel: a median needs no more.
        return np.asarray(np.median(self.lab[self.free][::3], axis=0), dtype=np.float32)

    @cached_property
    def difference(self) -> NDArray[np.float32] | None:
        """Colour difference (CIE 1976) of every pixel from the wall's median."""
        if self.colour is None:
            return None
        shift = self.lab - self.colour
        return np.asarray(cv2.sqrt(cv2.transform(shift * shift, np.ones((1, 3), np.float32))), dtype=np.float32)

    def back(self, mask: Mask) -> tuple[tuple[tuple[float, float], ...], ...]:
        """The largest contours of a mask of the small picture, as polygons on the source."""
        found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        inverse = cv2.invertAffineTransform(self.matrix)
        shapes = []
        for contour in sorted(found, key=cv2.contourArea, reverse=True)[:MOST_SHAPES]:
            place = (contour.reshape(-1, 2) + 0.5) @ inverse[:, :2].T + inverse[:, 2]
            shapes.append(tuple((float(x), float(y)) for x, y in place))
        return tuple(shapes)


# More shapes than these are noise to the eye.
MOST_SHAPES = 12


def wall(
    image: Image,
    person_mask: Image,
    landmarks: NDArray[np.floating],
    scale: float,
    *,
    window: tuple[slice, slice] | None = None,
    mask_age: int = 0,
) -> Wall | None:
    """The small picture of `image` or of its `window` (rows, columns); None for a window outside the picture.

    `scale`: size of the standard canvas / size of the source (validation.canvas). `mask_age`: how many frames older than the picture the mask is.
    """
    top = window[0].start if window else 0
    left = window[1].start if window else 0
    seen = image[window] if window else image
    mask = person_mask[window] if window else person_mask
    height, width = seen.shape[:2]
    if not width or not height:
        return None
    shrink = min(scale * WALL_EYE_DISTANCE_PX / CANVAS_EYE_DISTANCE_PX, WALL_SIDE_MOST_PX / max(width, height), 1.0)
    # Halved as often as possible first: fast and exact. The last odd rows and columns are left out.
    halvings = max(math.floor(math.log2(min(1 / shrink, width, height))), 0)
    width, height = width >> halvings << halvings, height >> halvings << halvings
    size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
    across, down = size[0] / width, size[1] / height
    matrix = np.array([[across, 0, -left * across], [0, down, -top * down]], dtype=np.float64)
    return Wall(
        pixels=_shrunk(seen[:height, :width], halvings, size),
        person=_shrunk(mask[:height, :width], halvings, size),
        points=np.asarray(landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2], dtype=np.float32),
        matrix=matrix,
        unit=CANVAS_EYE_DISTANCE_PX * across / scale,
        margin=MARGIN + MARGIN_PER_FRAME * mask_age,
    )


def _shrunk(image: Image, halvings: int, size: tuple[int, int]) -> Image:
    for _ in range(halvings):
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    # Less than another halving is left.
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A value and where in the small picture it was found."""

    value: float
    where: Mask


def unevenness(seen: Wall) -> Found | None:
    """How much the wall's lightness changes on average: L* per tenth of an eye distance, after a blur of one small pixel; 0 for a plain wall.

    Where enough of the wall is seen, what lies close to the person is left out.
    """
    if seen.free is None:
        return None
    farther = (seen.away > margin for margin in PLAIN_FROM if margin > seen.margin)
    judged = next((far for far in farther if far.mean() >= WALL_LEAST), seen.free)
    smooth = cv2.GaussianBlur(seen.lab[..., 0], (0, 0), 1.0)
    # A Scharr kernel answers 32 for a slope of 1 a pixel.
    slope = (
        cv2.magnitude(cv2.Scharr(smooth, cv2.CV_32F, 1, 0), cv2.Scharr(smooth, cv2.CV_32F, 0, 1)) / 32 * seen.unit / 10
    )
    return Found(float(slope[judged].mean()), judged & (slope > STEEP))


def one_colour(seen: Wall) -> Found | None:
    """Colour difference (CIE 1976) from the wall's median that 95 % of the wall stay below; 0 for a wall of one colour."""
    if seen.difference is None or seen.free is None:
        return None
    value = float(np.percentile(seen.difference[seen.free], MOST_OF_WALL_PERCENT))
    return Found(value, seen.free & (seen.difference > OTHER_COLOUR))


def off_light_grey(colour: NDArray[np.float32]) -> float:
    """Colour difference (CIE 1976) of a colour (L*, a*, b*) from the nearest grey that is light: R = G = B = #A1 or brighter."""
    light, a, b = (float(v) for v in colour)
    return math.hypot(max(LIGHT_GREY_FROM - light, 0.0), a, b)


def _above_chin(seen: Wall) -> Mask:
    rows = np.arange(seen.pixels.shape[0])[:, None]
    return np.broadcast_to(rows < seen.points[CHIN, 1], seen.pixels.shape[:2])


def shadow(seen: Wall) -> Found | None:
    """Light of the wall beside the head / the brightest wall within 0.6 eye distances, at its darkest, 0..1; None when too little is seen.

    A shadow has an edge; the fall-off of a lamp over a wall has none and hardly counts.
    """
    if seen.free is None:
        return None
    near = seen.away > seen.margin - MARGIN + RING_FROM
    ring = near & (seen.away < RING) & _above_chin(seen)
    if ring.mean() < RING_LEAST:
        return None
    light = cv2.GaussianBlur(seen.light, (0, 0), 1.0) + 1.0  # one level: black walls have no shadows
    side = 2 * round(BESIDE * seen.unit) + 1
    brightest = cv2.dilate(np.where(near, light, 0).astype(np.float32), np.ones((side, side), np.uint8))
    share = light / np.maximum(brightest, 1.0)
    value = float(np.percentile(share[ring], DARKEST_PERCENT))
    return Found(min(value, 1.0), ring & (share <= (1 + value) / 2))


def strangers(seen: Wall) -> Found | None:
    """Area of people and things beside the sitter, in heads.

    Counted are the person mask where this head and body cannot be or where wall lies between it and the head, and patches of other colour.
    """
    middle, chin = eye_midpoint(seen.points), seen.points[CHIN, :2]
    length = chin_distance_px(seen.points)
    if length <= 0:
        return None
    axis = ((chin - middle) / length**2).astype(np.float32)  # the face's own down, in T
    right = np.arange(seen.pixels.shape[1], dtype=np.float32)[None, :] - np.float32(middle[0])
    below = np.arange(seen.pixels.shape[0], dtype=np.float32)[:, None] - np.float32(middle[1])
    down = right * axis[0] + below * axis[1]
    across = np.abs(below * axis[0] - right * axis[1])
    own = (across <= HEAD_HALF_WIDTH + BODY_WIDENS * np.maximum(down - 1.0, 0.0)) & (down > -ABOVE_EYES)
    somebody = seen.person >= SOMEBODY_FROM
    apart = ((down < BESIDE_ABOVE) & _apart(somebody, round(float(middle[0])))).astype(np.uint8)
    tall = np.ones((max(round(APART_TALL * length), 1), 1), np.uint8)
    apart = cv2.morphologyEx(apart, cv2.MORPH_OPEN, tall) > 0
    people = somebody & (~own | apart)
    where = people | _things(seen)
    return Found(float(where.sum()) / (HEAD_AREA * length**2), where)


def _apart(somebody: Mask, column: int) -> Mask:
    """The part of each row that wall separates from the head at `column`, in the rows where the head is there."""
    column = min(max(column, 0), somebody.shape[1] - 1)
    left = np.logical_and.accumulate(somebody[:, column::-1], axis=1)[:, ::-1]
    right = np.logical_and.accumulate(somebody[:, column:], axis=1)
    head = np.concatenate([left, right[:, 1:]], axis=1)
    return np.asarray(somebody & ~head & somebody[:, column, None], dtype=np.bool_)


def _things(seen: Wall) -> Mask:
    """The patches of the wall whose colour no shadow explains, when the rest of the wall is of one colour."""
    if seen.difference is None or seen.free is None:
        return np.zeros(seen.pixels.shape[:2], dtype=np.bool_)
    odd = seen.free & (seen.difference > THING_DIFFERENCE)
    if not odd.any():
        return odd
    linear = cv2.LUT(seen.pixels, LINEAR) + 1.0
    share = linear / linear.sum(axis=-1, keepdims=True)
    usual = np.median(share[seen.free], axis=0)
    same_hue = np.abs(share - usual).max(axis=-1) < SHADOW_CHROMATICITY
    light = float(np.median(seen.light[seen.free]))
    dimmed = (seen.light < light) & (seen.light > SHADOW_LEAST_LIGHT * light)
    odd = (odd & ~(same_hue & dimmed)).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(odd, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0)


def contrast(seen: Wall) -> Found | None:
    """Colour difference between head and wall across the outline, at its weakest tenth; None when the outline is not seen."""
    if seen.free is None:
        return None
    inside = cv2.distanceTransform((seen.person >= SOMEBODY_FROM).astype(np.uint8), cv2.DIST_L2, 3) / seen.unit
    above = _above_chin(seen)
    inner = (inside > BAND_FROM) & (inside < BAND_IN_TO) & above
    outer = ((seen.away > BAND_FROM) & (seen.away < BAND_OUT_TO) & above).astype(np.float32)
    side = 2 * round(seen.unit / 2) + 1
    weight = cv2.blur(outer, (side, side))
    near = inner & (weight > BESIDE_LEAST)
    if near.mean() < OUTLINE_LEAST:
        return None
    beside = cv2.blur(seen.lab * outer[..., None], (side, side))[near] / weight[near][:, None]
    step = np.linalg.norm(seen.lab[near] - beside, axis=1)
    value = float(np.percentile(step, WEAKEST_PERCENT))
    where = np.zeros(near.shape, dtype=np.bool_)
    where[near] = step <= value
    return Found(value, where)
