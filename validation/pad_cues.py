"""PURE: what a face's answer to moving lamps says about its shape and its surface.

Order: levels at the moment of each exposure (the camera's delay is found on the wall) -> linear light at skin points of the mesh in every frame ->
for each point, light = rest + sum over lamps of answer times relative change (least squares) -> measures of the answers.

Why it works: the answer of a matte point to a lamp is its albedo times the cosine between its normal and the lamp, so the *difference of two
lamps' answers over their sum* is free of albedo, makeup, print and picture content, and follows the true normals. The mesh draws a face's
normals on everything that looks like a face; only on a head do the answers follow them. A bent print answers smoothly across the picture: what
a smooth surface in x and y explains is taken out first, and what is left (sides of the nose, lips, eye sockets, chin) has to follow the normals.
A screen's picture does not answer at all, and what its glass throws back does not know how bright the picture is there.
Normals: the plane through each mesh point's nearest neighbours, in the picture's axes (x right, y down, z away from the camera).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import LINEAR, LUMINANCE_BGR
from validation.geometry import eye_midpoint, inter_eye_px

Floats = NDArray[np.float64]

# All faces are brought to this size before anything is measured, so that no camera's resolution can be a cue.
EYE_DISTANCE_PX = 64
CROP_WIDTH_PX, CROP_HEIGHT_PX = 192, 240
EYE_LINE_PX = 96
MESH_POINTS = 468  # of 478: the last ten are the irises
# Points whose plane is a point's normal, and the blur that leaves pores and noise out: assumed; what they bring is measured in docs/pad.md.
NEIGHBOURS = 14
SKIN_BLUR_PX = 2.5
# A lamp that did not change by this share gives no answer that could be read.
LEAST_CHANGE = 0.01
LONGEST_DELAY_MS, DELAY_STEP_MS = 240, 20
# Mesh points on the outline (hair, ears, the wall behind), the lids and the lips: they move by themselves, shine, or are not skin.
OUTLINE = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
LIDS = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
)
AWAY_FROM_LIDS_PX = 3.5
# Moire is looked for in this square below the eyes' middle, at frequencies (cycles per pixel) above those of a face's own shapes.
MOIRE_SIDE_PX, MOIRE_LOW, MOIRE_HIGH = 96, 0.16, 0.45
# The head has to turn so far between two frames before its depth shows in them.
LEAST_TURN_SHIFT = 0.01
DARKEST_LIGHT = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class PadFrame:
    """A face cut out at the one size, its mesh in pixels of the cut, and when it was received (ms on the probe's clock)."""

    pixels: NDArray[np.uint8] = field(repr=False)
    landmarks: NDArray[np.float32] = field(repr=False)
    at_ms: float

    def wipe(self) -> None:
        """Overwrites both."""
        self.pixels.fill(0)
        self.landmarks.fill(0)


@dataclass(frozen=True, slots=True)
class Course:
    """Something over time: moments in ascending order and the value at each."""

    at_ms: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, moments: Floats) -> Floats:
        """The values at other moments, straight between the known ones."""
        return np.interp(moments, self.at_ms, self.values)


Levels = Mapping[str, Course]  # per lamp, the acknowledged level in percent


def cut_face(picture: NDArray[np.uint8], landmarks: NDArray[np.floating], at_ms: float) -> PadFrame:
    """The face at the one size; the picture's frame is not turned: the lamps do not turn with a head."""
    scale = EYE_DISTANCE_PX / inter_eye_px(landmarks)
    middle = eye_midpoint(landmarks)
    shift = np.array([CROP_WIDTH_PX / 2, EYE_LINE_PX]) - scale * middle
    matrix = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    if scale < 1:  # warpAffine looks at neighbours only: what is finer than the cut's pixels is taken out before
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.4 / scale), dtype=np.uint8)
    size = (CROP_WIDTH_PX, CROP_HEIGHT_PX)
    pixels = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points = np.asarray(landmarks, dtype=np.float64) * scale
    points[:, :2] += shift
    return PadFrame(np.asarray(pixels, dtype=np.uint8), points.astype(np.float32), at_ms)


def linear_light(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Luminance in linear light, 0..1."""
    return np.asarray(LINEAR[pixels] @ LUMINANCE_BGR[0] / 255, dtype=np.float32)


def normals_of(points: Floats) -> Floats:
    """The unit normal at each point, towards the camera."""
    apart = ((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)
    near = points[np.argpartition(apart, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]]
    near = near - near.mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", near, near))
    normals: Floats = axes[:, :, 0]
    return normals * np.where(normals[:, 2] > 0, -1.0, 1.0)[:, None]


def skin_points(points: Floats) -> NDArray[np.intp]:
    """Which mesh points are looked at: skin inside the outline and inside the cut."""
    lids = points[[*LIDS, *LIPS], :2]
    apart = np.sqrt(((points[:, None, :2] - lids[None]) ** 2).sum(axis=2)).min(axis=1)
    inside = (
        (points[:, 0] > 1)
        & (points[:, 0] < CROP_WIDTH_PX - 2)
        & (points[:, 1] > 1)
        & (points[:, 1] < CROP_HEIGHT_PX - 2)
    )
    inside[list(OUTLINE)] = False
    return np.flatnonzero(inside & (apart > AWAY_FROM_LIDS_PX))


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """How points answer the lamps: `rest` without any change, `answer` per lamp and point (for a change of 100 %), `error` its standard error."""

    lamps: tuple[str, ...]
    rest: Floats  # (points,) all the light at the base levels
    answer: Floats  # (lamps, points)
    error: Floats  # (lamps, points)
    unexplained: float  # share of the change over time that no lamp explains, median over the points


def changes(levels: Levels, moments: Floats) -> tuple[tuple[str, ...], Floats]:
    """The lamps that moved, and their relative changes against their middle level at these moments."""
    names, columns = [], []
    for name, course in levels.items():
        base = float(np.mean(course.values))
        change = course.at(moments) / base - 1 if base > 0 else np.zeros(len(moments))
        if np.ptp(change) >= 2 * LEAST_CHANGE:
            names.append(name)
            columns.append(change)
    return tuple(names), np.column_stack(columns) if columns else np.zeros((len(moments), 0))


def answers_of(light: Floats, lamps: tuple[str, ...], change: Floats, turn: Floats | None = None) -> Answers:
    """Least squares of the light (frames, points) on the lamps' changes (frames, lamps) and on a turn of the head; needs more frames than columns."""
    frames = len(light)
    turned = np.zeros((frames, 0)) if turn is None else turn[:, None]
    table = np.column_stack([np.ones(frames), change, turned])
    solved = np.linalg.lstsq(table, light, rcond=None)[0]
    left = light - table @ solved
    variance = (left**2).sum(axis=0) / (frames - table.shape[1])
    spread = np.linalg.pinv(table.T @ table).diagonal()
    moved = ((light - light.mean(axis=0)) ** 2).sum(axis=0)
    share = (left**2).sum(axis=0) / np.maximum(moved, 1e-18)
    number = len(lamps)
    error = np.sqrt(spread[1 : number + 1, None] * variance)
    rest = np.maximum(solved[0], DARKEST_LIGHT)
    answer: Floats = np.asarray(solved[1 : number + 1], dtype=np.float64)
    return Answers(lamps, rest, answer, error, float(np.median(share)))


def delay_of(wall: Course, levels: Levels) -> float:
    """How much later a picture arrives than its light was, in ms: the delay at which the lamps explain the wall best."""
    moments, light = np.array(wall.at_ms), np.array(wall.values)[:, None]
    best = 0.0, np.inf
    for delay in range(0, LONGEST_DELAY_MS + 1, DELAY_STEP_MS):
        lamps, change = changes(levels, moments - delay)
        found = answers_of(light, lamps, change).unexplained
        if found < best[1] - 1e-9:
            best = float(delay), found
    return best[0]


def turn_of(frames: tuple[PadFrame, ...]) -> tuple[Floats, float]:
    """How the head turned over the frames (the mesh's first way of changing shape, standard deviation 1), and how far at most, in eye distances."""
    shapes = np.array([frame.landmarks[:MESH_POINTS, :2] for frame in frames], dtype=np.float64) / EYE_DISTANCE_PX
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes -= shapes.mean(axis=0)
    drift = float(np.sqrt((shapes**2).sum(axis=2)).mean(axis=1).max())
    along = np.linalg.svd(shapes.reshape(len(frames), -1), full_matrices=False)[0][:, 0]
    return along * np.sqrt(len(frames)), drift


def light_at(frames: tuple[PadFrame, ...], points: NDArray[np.intp]) -> Floats:
    """Linear light around mesh points in every frame, each at its own place in that frame: (frames, points)."""
    rows = []
    for frame in frames:
        smooth = cv2.GaussianBlur(linear_light(frame.pixels), (0, 0), SKIN_BLUR_PX)
        x, y = (frame.landmarks[points, axis].astype(np.float32)[None] - np.float32(0.5) for axis in (0, 1))
        rows.append(cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0])
    return np.array(rows, dtype=np.float64)


def smooth_surface(points: Floats) -> Floats:
    """Columns of every surface that a flat or bent sheet could answer with: cubic in x and y."""
    x, y = (points[:, axis] / EYE_DISTANCE_PX for axis in (0, 1))
    x, y = x - x.mean(), y - y.mean()
    return np.column_stack([x**i * y**j for i in range(4) for j in range(4 - i)])


def without(columns: Floats, values: Floats) -> Floats:
    """What the columns do not explain of the values."""
    return np.asarray(values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0])


def explained(values: Floats, left: Floats) -> float:
    """Share of the values' variance that is gone from what is left."""
    whole = float(((values - values.mean()) ** 2).sum())
    return 1.0 - float((left**2).sum()) / whole if whole > 0 else 0.0


def line_through(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope of y on x, both without a mean, and the share of y that it explains."""
    below = float(x @ x)
    if below <= 0:
        return 0.0, 0.0
    slope = float(x @ y) / below
    return slope, explained(y, y - slope * x)


def moire(frames: tuple[PadFrame, ...]) -> float:
    """The strongest peak of the fine pattern's spectrum over its surroundings (decades), averaged over the frames; 0 without a pattern."""
    side = MOIRE_SIDE_PX
    top, left = EYE_LINE_PX - side // 4, (CROP_WIDTH_PX - side) // 2
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.zeros((side, side))
    for frame in frames:
        patch = linear_light(frame.pixels[top : top + side, left : left + side]).astype(np.float64)
        power += np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    # Against the ring of its own radius, so that the fall of every picture's spectrum is no peak.
    rings = np.rint(frequency * side).astype(int)
    peaks = [
        float(np.log10(max(ring.max(), 1e-18) / max(float(np.median(ring)), 1e-18)))
        for number in range(int(MOIRE_LOW * side), int(MOIRE_HIGH * side) + 1)
        if (ring := power[rings == number]).size
    ]
    # The largest of a ring's chance values stands some 0.9 decades above its median; what is above that is a pattern.
    return max(max(peaks) - 0.9, 0.0)


def parallax(frames: tuple[PadFrame, ...], points: NDArray[np.intp]) -> tuple[float, float | None]:
    """How far the mesh moved between the two frames that differ most (eye distances), and the share of its change of shape that follows depth.

    A sheet seen from elsewhere changes as a plane does (affine, at this distance); a head moves its near points against its far ones. None
    when it moved too little for that to be seen.
    """
    shapes = np.array([frame.landmarks[points].astype(np.float64) for frame in frames]) / EYE_DISTANCE_PX
    middle = shapes.mean(axis=0)
    plane = np.column_stack([np.ones(len(points)), middle[:, :2]])
    depth = without(plane, middle[:, 2])
    moved, found = 0.0, None
    for shape in shapes:
        change = shape[:, :2] - middle[:, :2]
        moved = max(moved, float(np.sqrt((change**2).sum(axis=1)).mean()))
        own = without(plane, change)
        slopes = depth @ own / float(depth @ depth)
        if float(np.hypot(*slopes)) >= LEAST_TURN_SHIFT * 2:
            share = 1 - float(((own - np.outer(depth, slopes)) ** 2).sum()) / float((own**2).sum())
            found = share if found is None else max(found, share)
    return moved, found
