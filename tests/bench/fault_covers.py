"""Faults of eyes and mouth and of what covers the face: (portrait, strength) -> picture, drawn from the landmarks.

Sizes are shares of the eye distance, so a strength means the same at any resolution. What is drawn is shaded and soft at its edges; it is
not a photo of the thing, and docs/accuracy.md says so.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from tests.bench.fault_camera import SEED, to_linear, to_pixels, to_srgb
from tests.bench.portraits import Portrait

FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
SHARP_EDGE = 4  # drawings are made this many times finer


class Drawing:
    """Shapes on a finer grid; `weight` is their soft coverage."""

    def __init__(self, p: Portrait) -> None:
        height, width = p.pixels.shape[:2]
        self._size = (width, height)
        self._fine = np.zeros((height * SHARP_EDGE, width * SHARP_EDGE), np.uint8)

    @staticmethod
    def _at(points: object) -> np.ndarray:
        return np.rint(np.asarray(points, dtype=np.float64) * SHARP_EDGE).astype(np.int32)

    def polygon(self, points: object) -> None:
        cv2.fillPoly(self._fine, [self._at(points)], 255)

    def line(self, points: object, thickness: float) -> None:
        cv2.polylines(self._fine, [self._at(points)], False, 255, max(round(thickness * SHARP_EDGE), 1))

    def ellipse(self, centre: np.ndarray, axes: tuple[float, float], thickness: float | None = None) -> None:
        wide = -1 if thickness is None else max(round(thickness * SHARP_EDGE), 1)
        cv2.ellipse(self._fine, self._at(centre).tolist(), self._at(axes).tolist(), 0, 0, 360, 255, wide)

    @property
    def weight(self) -> np.ndarray:
        small = cv2.resize(self._fine, self._size, interpolation=cv2.INTER_AREA)
        return (cv2.GaussianBlur(small, (0, 0), 0.6).astype(np.float32) / 255)[..., None]


def _covered(pixels: np.ndarray, weight: np.ndarray, colour: tuple[float, float, float] | np.ndarray) -> np.ndarray:
    return to_pixels(pixels * (1 - weight) + np.asarray(colour, dtype=np.float32) * weight)


def _lenses(p: Portrait) -> tuple[tuple[np.ndarray, tuple[float, float]], ...]:
    """Centre and half axes of two lenses."""
    drop = np.array([0, 0.05 * p.eye_distance])
    axes = (0.40 * p.eye_distance, 0.29 * p.eye_distance)
    return (p.point(33, 133) + drop, axes), (p.point(362, 263) + drop, axes)


def glasses(p: Portrait, thickness_pct: float) -> np.ndarray:
    """Dark frames around clear lenses; rim thickness in % of the eye distance."""
    thick = thickness_pct / 100 * p.eye_distance
    (right, axes), (left, _) = _lenses(p)
    drawing = Drawing(p)
    for lens in (right, left):
        drawing.ellipse(lens, axes, thick)
    reach = np.array([axes[0], 0])
    drawing.line([right + reach, left - reach], thick)
    drawing.line([right - reach, p.point(127)], thick)
    drawing.line([left + reach, p.point(356)], thick)
    return _covered(p.pixels, drawing.weight, (38, 34, 30))


def tinted_lenses(p: Portrait, transmission: float) -> np.ndarray:
    """Thin frames, and lenses that pass this share of the light."""
    drawing = Drawing(p)
    for lens, axes in _lenses(p):
        drawing.ellipse(lens, axes)
    thin = to_linear(glasses(p, 2.5))
    return to_srgb(thin * (1 - drawing.weight * (1 - transmission)))


def lens_glare(p: Portrait, share: float) -> np.ndarray:
    """Thin frames, and a slanted white reflection over this share of each lens's height and width."""
    drawing = Drawing(p)
    for lens, (wide, high) in _lenses(p):
        a, b = wide * share, high * share
        drawing.polygon(lens + np.array([(-a + 0.3 * b, -b), (a, -b), (a - 0.3 * b, b), (-a, b)]))
    inside = Drawing(p)
    for lens, axes in _lenses(p):
        inside.ellipse(lens, axes)
    weight = drawing.weight * inside.weight * 0.92
    return _covered(glasses(p, 2.5), weight, (255, 252, 250))


def _irises(p: Portrait) -> tuple[tuple[np.ndarray, float, np.ndarray], ...]:
    """Centre, radius and lid outline of both irises."""
    lids = (
        (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
        (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    )
    found = []
    for centre, outline in zip((468, 473), lids, strict=True):
        middle = p.point(centre)
        ring = p.landmarks[centre + 1 : centre + 5, :2]
        radius = float(np.hypot(*(ring - middle).T).mean())
        found.append((middle, radius, p.landmarks[list(outline), :2]))
    return tuple(found)


def red_eye(p: Portrait, share: float) -> np.ndarray:
    """Red discs over this share of the iris's radius."""
    disc, opening = Drawing(p), Drawing(p)
    for centre, radius, outline in _irises(p):
        disc.ellipse(centre, (radius * share, radius * share))
        opening.polygon(outline)
    return _covered(p.pixels, 0.85 * disc.weight * opening.weight, (35, 25, 205))


def gaze(p: Portrait, aside_pct: float) -> np.ndarray:
    """Both irises moved to the picture's right by this share of the eye's width."""
    x, y = (g.copy() - 0.5 for g in p.grid)
    opening = Drawing(p)
    for _, _, outline in _irises(p):
        opening.polygon(outline)
    inside = cv2.GaussianBlur(opening.weight[..., 0], (0, 0), 0.8)
    moved_x = x.copy()
    for centre, radius, outline in _irises(p):
        shift = aside_pct / 100 * float(np.ptp(outline[:, 0]))
        far = np.hypot(x - centre[0] - shift, y - centre[1]) / radius
        moved_x -= shift * np.clip((2.2 - far) / 1.0, 0, 1) * inside
    return cv2.remap(p.pixels, moved_x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def closing_eyes(p: Portrait, share: float) -> np.ndarray:
    """The upper lids drawn down over this share of the opening."""
    x, y = (g.copy() - 0.5 for g in p.grid)
    source_y = y.copy()
    for _, _, outline in _irises(p):
        order = outline[:9][np.argsort(outline[:9, 0])]
        lower = outline[[0, *range(15, 8, -1), 8]]
        lower = lower[np.argsort(lower[:, 0])]
        columns = (x > order[0, 0]) & (x < order[-1, 0])
        up, down = np.interp(x, order[:, 0], order[:, 1]), np.interp(x, lower[:, 0], lower[:, 1])
        start = up - 0.14 * p.eye_distance
        lid = up + share * np.maximum(down - up, 0)
        stretch = start + (y - start) * (up - start) / np.maximum(lid - start, 1e-3)
        source_y = np.where(columns & (y > start) & (y < lid), stretch, source_y)
    return cv2.remap(p.pixels, x, source_y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _parted(p: Portrait, gap_pct: float, *, teeth: bool) -> np.ndarray:
    x, y = (g.copy() - 0.5 for g in p.grid)
    right, left = p.point(78), p.point(308)
    inner = p.landmarks[[78, 81, 13, 311, 308], :2].astype(np.float64)
    lower = p.landmarks[[78, 178, 14, 402, 308], :2].astype(np.float64)
    line = np.interp(x, inner[:, 0], (inner[:, 1] + lower[:, 1]) / 2)
    half = (left[0] - right[0]) / 2
    gap = gap_pct / 100 * p.chin_distance * np.clip(1 - ((x - (right[0] + left[0]) / 2) / half) ** 2, 0, 1)
    below = y - line
    reach = float(p.point(152)[1]) - line
    keep = np.clip(1 - below / np.maximum(reach, 1), 0, 1)
    source_y = np.where(below > 0, y - gap * keep, y).astype(np.float32)
    picture = cv2.remap(p.pixels, x, source_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    opening = (np.clip(below, 0, 1) * np.clip(gap - below, 0, 1))[..., None]
    picture = _covered(picture, opening, (32, 22, 58))
    if teeth:
        picture = _covered(picture, opening * np.clip(0.8 * gap - below, 0, 1)[..., None], (205, 218, 224))
    return picture


def mouth_open(p: Portrait, gap_pct: float) -> np.ndarray:
    """Lips parted by this share of T; darkness between them."""
    return _parted(p, gap_pct, teeth=False)


def teeth(p: Portrait, gap_pct: float) -> np.ndarray:
    """Lips parted by this share of T; the upper teeth show."""
    return _parted(p, gap_pct, teeth=True)


def _oval(p: Portrait, grow: float) -> np.ndarray:
    outline = p.landmarks[list(FACE_OVAL), :2].astype(np.float64)
    centre = outline.mean(axis=0)
    return centre + (outline - centre) * grow


def face_mask(p: Portrait, share: float) -> np.ndarray:
    """A light blue cloth from the chin up over this share of the way to the bridge of the nose."""
    chin, bridge = p.point(152)[1], p.point(168)[1]
    top = chin + (bridge - chin) * share
    drawing = Drawing(p)
    drawing.polygon(_oval(p, 1.05))
    x, y = p.grid
    weight = drawing.weight * np.clip(y - top, 0, 1)[..., None]
    folds = 6 * np.sin((y - top) / (0.07 * p.eye_distance))
    round_shade = 1 - 0.25 * ((x - p.middle[0]) / p.eye_distance) ** 2
    cloth = (np.array([205.0, 185.0, 150.0]) * round_shade[..., None]) + folds[..., None]
    return _covered(p.pixels, weight, cloth)


def hand(p: Portrait, share: float) -> np.ndarray:
    """Four fingers in the person's own skin colour from the picture's left over this share of the mouth's width."""
    cheek = p.pixels[tuple(slice(int(v) - 6, int(v) + 6) for v in p.point(280)[::-1])].reshape(-1, 3).mean(axis=0)
    mouth, right = p.point(13, 14), p.point(61)
    tip = right[0] + (p.point(291)[0] - right[0]) * share
    picture, thick = p.pixels, 0.17 * p.eye_distance
    for number in range(4):
        y = mouth[1] + (number - 1.2) * thick * 1.02
        finger = Drawing(p)
        start = right[0] - 0.55 * p.eye_distance
        finger.line([(start, y + 0.1 * p.eye_distance), (tip - abs(number - 1.4) * 0.03 * p.eye_distance, y)], thick)
        across = np.abs(p.grid[1] - y) / thick
        shade = np.clip(1.02 - 0.9 * across**2, 0.45, 1.02)[..., None]
        picture = _covered(picture, finger.weight, cheek * shade)
    return picture


def eye_bar(p: Portrait, height_pct: float) -> np.ndarray:
    """A black bar over one eye; height in % of the eye distance."""
    centre, half = p.point(33, 133), np.array([0.28, height_pct / 200]) * p.eye_distance
    low, high = centre - half, centre + half
    drawing = Drawing(p)
    drawing.polygon([low, (high[0], low[1]), high, (low[0], high[1])])
    return _covered(p.pixels, drawing.weight, (22, 22, 22))


def hair_strands(p: Portrait, count: float) -> np.ndarray:
    """Dark strands from the forehead over the subject's left eye to the cheek; more of them, the same first."""
    random = np.random.default_rng(SEED)
    drawing = Drawing(p)
    eye = p.point(362, 263)
    for _ in range(round(count)):
        across, bend, lean = random.uniform(-0.26, 0.26), random.uniform(-0.06, 0.06), random.uniform(-0.12, 0.12)
        t = np.linspace(-1, 1, 24)
        x = eye[0] + (across + lean * t + bend * (1 - t**2)) * p.eye_distance
        y = eye[1] + t * 0.75 * p.eye_distance
        drawing.line(np.column_stack([x, y]), 0.018 * p.eye_distance)
    return _covered(p.pixels, 0.95 * drawing.weight, (24, 28, 36))


def hat(p: Portrait, share: float) -> np.ndarray:
    """A dark cap from above the crown down over this share of the forehead."""
    hairline, brows = p.point(10), p.point(9)
    low = hairline + (brows - hairline) * share
    wide = 0.60 * abs(p.point(454)[0] - p.point(234)[0])
    crown = p.middle[1] - 1.12 * p.chin_distance
    drawing = Drawing(p)
    angles = np.linspace(math.pi, 2 * math.pi, 60)
    dome = np.column_stack([low[0] + wide * np.cos(angles), low[1] + (low[1] - crown) * np.sin(angles)])
    brim = np.column_stack([np.linspace(low[0] + wide, low[0] - wide, 30), np.full(30, low[1])])
    drawing.polygon(np.vstack([dome, brim]))
    x, _ = p.grid
    shade = 1 - 0.35 * ((x - low[0]) / wide) ** 2
    return _covered(p.pixels, drawing.weight, np.array([70.0, 48.0, 40.0]) * shade[..., None])


def covered_sides(p: Portrait, inward_pct: float) -> np.ndarray:
    """Dark pads (hair, headphones, a scarf) from the ears inward over both edges of the face; % of the eye distance."""
    inward = inward_pct / 100 * p.eye_distance
    out = 0.22 * p.eye_distance
    high, low = p.point(33, 263)[1] - 0.25 * p.eye_distance, p.point(61, 291)[1] + 0.2 * p.eye_distance
    drawing = Drawing(p)
    for edge, sign in ((p.point(234)[0], 1), (p.point(454)[0], -1)):
        x0, x1 = edge - sign * out, edge + sign * inward
        drawing.polygon([(x0, high), (x1, high), (x1, low), (x0, low)])
    return _covered(p.pixels, drawing.weight, (30, 30, 34))
