"""PURE: the test card in a picture: where it hangs, how the camera stands to it, its greys, and how sharp it is.

Order: markers (at least three, upright) -> the camera's pose from their corners, planar perspective -> the grey card and the patches, each from its
inner part -> the slanted square's four edges. Nothing is guessed: what cannot be read raises CardNotReadableError with the remedy; a card whose
edges alone cannot be read (too soft, or turned so that they are not slanted) has no edges and no sharpness.

Axes: the sheet's x to the right, y down, z away from the camera; it hangs plumb, so its y is down in the room, and the camera's elevation is read
off it. The lens is taken to be free of distortion, its axis in the middle of the picture. Of focal length and distance one must be known: with
`distance_cm` the field of view is measured, else `vertical_fov_deg` is believed and the distance is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.card_layout import (
    GREY_FIELD_MM,
    MARKERS_MM,
    PATCH_SIDE_MM,
    PATCH_TOP_MM,
    PATCHES,
    SHEET_MM,
    marker_corners_mm,
    square_corners_mm,
)
from capture.errors import CardNotReadableError
from capture.slanted_edge import EdgeReading, read_edge
from validation.canvas import LINEAR, luminance
from validation.colour import lab_d50

__all__ = ["CardPose", "CardReading", "Neutral", "find_card", "grey_box", "read_card"]

Image = NDArray[np.uint8]
Points = NDArray[np.float64]
# Sixteen corners that lie further than this from where the pose puts them, in the mean and in a picture 1000 pixels high: a bent sheet, or not ours.
MOST_OFF_PX = 2.0
# Of a patch or the grey card; the border is left out, where focus and print mix it with its neighbour.
INNER_SHARE = 0.6
# The picture is searched at its size, a half and a quarter of it.
FOLDS = (1, 2, 4)
WIDEST_WINDOW_PX = 63
SAMPLES_PER_SIDE = 48
# From here on 8-bit values carry no detail.
CLIPPED = 254
# What is cut out for one edge of the square, of its side: the edge's middle, without corners, and far enough to both sides.
EDGE_LENGTH, EDGE_REACH = 0.7, 0.4
FOCAL_TURNS = 20
HOLD_IT = "hang the card upright in its holder, whole in the picture, facing the camera, in the portrait light"


@dataclass(frozen=True, slots=True)
class CardPose:
    """How the camera stands to the card."""

    elevation_deg: float  # of the lens' axis, positive when it looks up
    yaw_deg: float  # positive when it looks to the right of the card's middle line
    roll_deg: float  # positive when the camera is turned clockwise, seen from behind
    distance_cm: float  # of the lens from the card's plane
    camera_above_cm: float  # of the lens over the card's middle
    vertical_fov_deg: float
    off_px: float  # mean distance of the corners from where the pose puts them


@dataclass(frozen=True, slots=True)
class Neutral:
    """A field that should be grey."""

    code: float  # what was printed, sRGB
    mean_bgr: tuple[float, float, float]  # sRGB codes
    light_bgr: tuple[float, float, float]  # linear light, 1 = the sensor's white
    clipped: bool

    @property
    def chroma(self) -> float:
        """How far from grey it is: chroma in CIELAB."""
        _, a, b = lab_d50(np.asarray(self.mean_bgr))
        return math.hypot(a, b)


@dataclass(frozen=True, slots=True)
class CardReading:
    """Everything that a picture of the card tells."""

    pose: CardPose
    centre: tuple[float, float]  # of the sheet, in shares of the picture
    grey: Neutral
    patches: tuple[Neutral, ...]
    edges: tuple[EdgeReading, ...] = field(repr=False)

    @property
    def mtf50_cycles_px(self) -> float | None:
        """Mean of the edges, both directions weighing alike; None without edges."""
        return float(np.mean([edge.mtf50_cycles_px for edge in self.edges])) if self.edges else None

    @property
    def detail(self) -> float | None:
        """Mean steepness of the edges, of their contrast per pixel; None without edges."""
        return float(np.mean([edge.steepness_per_px for edge in self.edges])) if self.edges else None


def read_card(picture: Image, *, vertical_fov_deg: float, distance_cm: float | None = None) -> CardReading:
    """Reads the card in an upright, un-mirrored colour picture; raises CardNotReadableError."""
    corners = find_card(picture)
    pose = _pose(corners, picture.shape[1], picture.shape[0], vertical_fov_deg, distance_cm)
    to_px = _homography(corners)
    light = cv2.LUT(picture, LINEAR) / np.float32(255)
    grey = _neutral(picture, light, to_px, GREY_FIELD_MM, 118)
    if grey.clipped:
        raise CardNotReadableError("The grey card is overexposed: lower the camera's exposure or the lamps.")
    patches = tuple(
        _neutral(picture, light, to_px, (left, PATCH_TOP_MM, left + PATCH_SIDE_MM, PATCH_TOP_MM + PATCH_SIDE_MM), code)
        for left, code in PATCHES
    )
    edges = _edges(np.asarray(light[..., 1]), to_px)
    x, y = _mapped(to_px, np.array([[SHEET_MM[0] / 2, SHEET_MM[1] / 2]]))[0]
    centre = float(x / picture.shape[1]), float(y / picture.shape[0])
    return CardReading(pose, centre, grey, patches, edges)


def find_card(picture: Image) -> Points:
    """The corners of the markers, [marker, corner, x y], NaN for one that is not seen; raises CardNotReadableError with fewer than three."""
    # In linear light: in sRGB codes a soft edge lies closer to the black, and soft black cells vanish.
    grey = luminance(picture)
    by_id: dict[int, Points] = {}
    for fold in FOLDS:
        # A soft picture is sharp again when it is made smaller.
        size = (grey.shape[1] // fold, grey.shape[0] // fold)
        small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        for number, corners in _markers(small).items():
            by_id.setdefault(number, corners * fold)
    if not by_id:
        raise CardNotReadableError(f"There is no test card in the picture: {HOLD_IT}.")
    missing = [number for number in range(len(MARKERS_MM)) if number not in by_id]
    if len(missing) > 1:
        where = ("top left", "top right", "bottom left", "bottom right")
        told = " and ".join(where[number] for number in missing)
        raise CardNotReadableError(f"The card's markers at the {told} are not seen: {HOLD_IT}.")
    corners = np.full((len(MARKERS_MM), 4, 2), np.nan)
    for number, found in by_id.items():
        corners[number] = found
    down = corners[:, 3] - corners[:, 0]
    if np.nanmin(down[:, 1]) <= np.nanmax(np.abs(down[:, 0])):
        raise CardNotReadableError("The card hangs upside down or on its side: turn it upright.")
    return corners


def _markers(grey: Image) -> dict[int, Points]:
    """What the detector finds in one picture; corners in pixels whose centres are at .5."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    # Each side of a corner, at most this share of a marker's cell: the wider, the more of its two edges tells the corner.
    parameters.cornerRefinementWinSize, parameters.relativeCornerRefinmentWinSize = 5, 0.4
    parameters.cornerRefinementMinAccuracy, parameters.cornerRefinementMaxIterations = 0.005, 100
    parameters.adaptiveThreshWinSizeMax = WIDEST_WINDOW_PX
    # One wrong bit is forgiven: where the markers must lie on the sheet shows what is none.
    parameters.errorCorrectionRate = 1.0
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), parameters)
    found, ids, _ = detector.detectMarkers(grey)
    if not found:
        return {}
    pairs = zip(np.asarray(ids).ravel(), found, strict=True)
    return {int(i): np.asarray(c, dtype=np.float64)[0] + 0.5 for i, c in pairs if int(i) < len(MARKERS_MM)}


def _matched(corners: Points) -> tuple[Points, Points]:
    """The corners that are seen: on the sheet, and in the picture."""
    seen = [number for number in range(len(MARKERS_MM)) if not np.isnan(corners[number]).any()]
    sheet = np.concatenate([marker_corners_mm(number) for number in seen])
    return sheet, np.concatenate([corners[number] for number in seen])


def grey_box(picture: Image) -> tuple[int, int, int, int]:
    """A rectangle (left, top, right, bottom, pixels) that lies inside the grey card; raises CardNotReadableError."""
    to_px = _homography(find_card(picture))
    left, top, right, bottom = _inner(GREY_FIELD_MM)
    corners = _mapped(to_px, np.array([(left, top), (right, top), (right, bottom), (left, bottom)]))
    xs, ys = np.sort(corners[:, 0]), np.sort(corners[:, 1])
    box = math.ceil(xs[1]), math.ceil(ys[1]), math.floor(xs[2]), math.floor(ys[2])
    if box[2] - box[0] < 8 or box[3] - box[1] < 8:
        raise CardNotReadableError(f"The card is too small in the picture: {HOLD_IT}.")
    return box


def _homography(corners: Points) -> NDArray[np.float64]:
    """From mm on the sheet to pixels."""
    sheet, seen = _matched(corners)
    # Of twelve corners and more of real squares there is always one; the pose's error tells when it fits badly.
    return np.asarray(cv2.findHomography(sheet, seen, 0)[0], dtype=np.float64)


def _mapped(matrix: NDArray[np.float64], points: Points) -> Points:
    return np.asarray(cv2.perspectiveTransform(points[None], matrix)[0], dtype=np.float64)


def _pose(corners: Points, width: int, height: int, fov_deg: float, distance_cm: float | None) -> CardPose:
    sheet, seen = _matched(corners)
    points = np.concatenate([sheet, np.zeros((len(sheet), 1))], axis=1)
    focal_px = height / 2 / math.tan(math.radians(fov_deg) / 2)
    turn, shift, off = _solved(points, seen, width, height, focal_px)
    if distance_cm is not None:
        for _ in range(FOCAL_TURNS):
            ratio = distance_cm * 10 / -float((-turn.T @ shift)[2])
            if abs(ratio - 1) < 1e-6:
                break
            focal_px *= ratio
            turn, shift, off = _solved(points, seen, width, height, focal_px)
    if off > MOST_OFF_PX * height / 1000:
        raise CardNotReadableError(
            f"The card's corners lie {off:.1f} pixels from where a flat sheet has them: flatten the sheet on a stiff board, or print it at 100 %."
        )
    axis, right, place = turn.T @ (0.0, 0.0, 1.0), turn.T @ (1.0, 0.0, 0.0), -turn.T @ shift
    return CardPose(
        elevation_deg=math.degrees(math.asin(-axis[1])),
        yaw_deg=math.degrees(math.atan2(axis[0], axis[2])),
        roll_deg=math.degrees(math.atan2(right[1], right[0])),
        distance_cm=-float(place[2]) / 10,
        camera_above_cm=(SHEET_MM[1] / 2 - float(place[1])) / 10,
        vertical_fov_deg=math.degrees(2 * math.atan(height / 2 / focal_px)),
        off_px=off,
    )


def _solved(
    points: Points, seen: Points, width: int, height: int, focal_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Rotation, shift and mean error; of the two poses that a flat thing may have, the one that fits better, refined."""
    lens = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
    count, turns, shifts, _ = cv2.solvePnPGeneric(points, seen, lens, None, flags=cv2.SOLVEPNP_IPPE)
    best: tuple[NDArray[np.float64], NDArray[np.float64], float] | None = None
    for number in range(count):
        vector, shift = cv2.solvePnPRefineLM(points, seen, lens, None, turns[number], shifts[number])
        again, _ = cv2.projectPoints(points, vector, shift, lens, None)
        off = float(np.linalg.norm(again.reshape(-1, 2) - seen, axis=1).mean())
        if best is None or off < best[2]:
            best = np.asarray(cv2.Rodrigues(vector)[0], np.float64), np.asarray(shift, np.float64).ravel(), off
    if best is None:
        raise CardNotReadableError(f"The card's place cannot be told: {HOLD_IT}.")
    return best


def _inner(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    x, y = (right - left) * (1 - INNER_SHARE) / 2, (bottom - top) * (1 - INNER_SHARE) / 2
    return left + x, top + y, right - x, bottom - y


def _neutral(
    picture: Image,
    light: NDArray[np.float32],
    to_px: NDArray[np.float64],
    box: tuple[float, float, float, float],
    code: float,
) -> Neutral:
    """The inner part of a field, sampled evenly."""
    left, top, right, bottom = _inner(box)
    xs, ys = np.linspace(left, right, SAMPLES_PER_SIDE), np.linspace(top, bottom, SAMPLES_PER_SIDE)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    at = np.floor(_mapped(to_px, grid)).astype(np.intp)
    if at.min() < 0 or (at >= (picture.shape[1], picture.shape[0])).any():
        raise CardNotReadableError(f"A part of the card lies outside the picture: {HOLD_IT}.")
    codes, lights = picture[at[:, 1], at[:, 0]], light[at[:, 1], at[:, 0]]
    b, g, r = (float(value) for value in codes.mean(axis=0))
    light_b, light_g, light_r = (float(value) for value in lights.mean(axis=0, dtype=np.float64))
    return Neutral(code, (b, g, r), (light_b, light_g, light_r), bool((codes >= CLIPPED).any(axis=1).mean() > 0.02))


def _edges(light: NDArray[np.float32], to_px: NDArray[np.float64]) -> tuple[EdgeReading, ...]:
    """The square's edges, as many of each direction, so that a missing one does not tip the mean."""
    corners = _mapped(to_px, square_corners_mm())
    side = float(np.linalg.norm(corners[1] - corners[0]))
    upright: list[EdgeReading] = []
    level: list[EdgeReading] = []
    for number in range(4):
        one, other = corners[number], corners[(number + 1) % 4]
        x, y = (one + other) / 2
        is_level = number % 2 == 0
        across, down = (EDGE_LENGTH, EDGE_REACH * 2) if is_level else (EDGE_REACH * 2, EDGE_LENGTH)
        left, top = round(x - across * side / 2), round(y - down * side / 2)
        part = light[max(top, 0) : round(y + down * side / 2), max(left, 0) : round(x + across * side / 2)]
        reading = read_edge(part.T if is_level else part)
        if reading is not None:
            (level if is_level else upright).append(reading)
    count = min(len(upright), len(level))
    return (*upright[:count], *level[:count])
