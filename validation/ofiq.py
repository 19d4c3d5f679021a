"""PURE: the measures of ISO/IEC 29794-5 that landmarks and pixels determine, as the reference implementation (OFIQ) defines them.

Each measure has a native value and a scalar of 0 to 100 (higher is better), by the same formulas and rounding: 20 of the 28 columns. The other
eight are judged by networks that are not shipped here (unified score, sharpness, compression, occlusions, expression, head coverings); their
columns stay empty and are never guessed. A measure that this picture does not allow answers FAILED: native 0, scalar -1.

What differs from OFIQ are the inputs, not the formulas: landmarks of the face mesh instead of its 98 points, the person mask instead of its
face parsing, our head pose (> 0: to the own left, chin up, tilted to the own left), and no occlusion mask: every face counts as unoccluded.
Sources: ISO/IEC 29794-5:2025 and OFIQ 1.0.3; "aligned" is the picture on its 616 x 616 canvas, sampled bilinearly as there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation import geometry
from validation.canvas import (
    CANVAS_SIDE,
    CANVAS_TARGETS,
    FACE_BELOW_BROWS,
    MOUTH_CORNERS,
    NOSE_TIP,
    Image,
    luminance,
)
from validation.face import Scene
from validation.geometry import Pose

# The reference implementation's columns, in its order.
COLUMNS: tuple[str, ...] = (
    "UnifiedQualityScore",
    "BackgroundUniformity",
    "IlluminationUniformity",
    "LuminanceMean",
    "LuminanceVariance",
    "UnderExposurePrevention",
    "OverExposurePrevention",
    "DynamicRange",
    "Sharpness",
    "CompressionArtifacts",
    "NaturalColour",
    "SingleFacePresent",
    "EyesOpen",
    "MouthClosed",
    "EyesVisible",
    "MouthOcclusionPrevention",
    "FaceOcclusionPrevention",
    "InterEyeDistance",
    "HeadSize",
    "LeftwardCropOfTheFaceImage",
    "RightwardCropOfTheFaceImage",
    "MarginAboveOfTheFaceImage",
    "MarginBelowOfTheFaceImage",
    "HeadPoseYaw",
    "HeadPosePitch",
    "HeadPoseRoll",
    "ExpressionNeutrality",
    "NoHeadCoverings",
)
BY_NETWORK = frozenset(
    {
        "UnifiedQualityScore",
        "Sharpness",
        "CompressionArtifacts",
        "EyesVisible",
        "MouthOcclusionPrevention",
        "FaceOcclusionPrevention",
        "ExpressionNeutrality",
        "NoHeadCoverings",
    }
)
COMPUTED: tuple[str, ...] = tuple(name for name in COLUMNS if name not in BY_NETWORK)

# The part of the canvas where the background is measured, the size it is measured at, and the person mask below which nobody is (0.1).
BACKGROUND_ROWS, BACKGROUND_COLUMNS = slice(0, 406), slice(62, 554)
BACKGROUND_SIZE = (354, 292)
MASK_BELOW = 26
EROSION = np.ones((4, 4), np.uint8)
DARK_UP_TO, LIGHT_FROM = 25, 247
ZONE_SIDE_PER_EYE_DISTANCE = 0.3
TALL = 0.45  # T / image height of a head that fills the picture as wanted
# CIELAB box of natural skin.
A_LOW, A_HIGH, B_LOW, B_HIGH = 5.0, 25.0, 5.0, 35.0
UNNATURAL = 100.0
# Linear sRGB to CIE XYZ under D50 (Bradford), and that white.
TO_XYZ = np.array([[0.43605, 0.38508, 0.14309], [0.22249, 0.71689, 0.06062], [0.01393, 0.09710, 0.71419]])
WHITE = np.array([0.964221, 1.0, 0.825211])


@dataclass(frozen=True, slots=True)
class Score:
    """One measure of one picture."""

    native: float
    scalar: float


FAILED = Score(0.0, -1.0)


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """The standard's map from native to scalar: h (a + s / (1 + exp((x0 - x) / w))), rounded and clipped to 0..100."""

    x0: float
    w: float
    h: float = 100.0
    a: float = 0.0
    s: float = 1.0

    def __call__(self, native: float) -> float:
        """The scalar."""
        # Beyond 700 exp overflows; the share is then 0 or 1 to the last bit.
        share = 1 / (1 + math.exp(min(max((self.x0 - native) / self.w, -700.0), 700.0)))
        return _whole(self.h * (self.a + self.s * share))


def _whole(value: float) -> float:
    return min(max(math.floor(value + 0.5), 0.0), 100.0)


def _luminance_mean(x: float) -> float:
    return _whole(100 / (1 + math.exp((0.2 - x) / 0.05)) * (1 - 1 / (1 + math.exp((0.8 - x) / 0.05))))


def _cosine(degrees: float) -> float:
    return _whole(100 * math.cos(math.radians(degrees)) ** 2)


def _head_size(native: float) -> float:
    return Sigmoid(h=200, a=1, s=-1, x0=0, w=0.05)(abs(native - TALL))


_BESIDE = Sigmoid(x0=0.9, w=0.1)
SCALARS: Mapping[str, Callable[[float], float]] = {
    "BackgroundUniformity": Sigmoid(h=190, a=1, s=-1, x0=10, w=100),
    "IlluminationUniformity": lambda x: _whole(100 * max(x, 0.0) ** 0.3),
    "LuminanceMean": _luminance_mean,
    "LuminanceVariance": lambda x: _whole(100 * math.sin(math.pi * 60 * x / (60 * x + 1))),
    "UnderExposurePrevention": Sigmoid(h=120, a=0.832, s=-1, x0=0.92, w=0.05),
    "OverExposurePrevention": lambda x: _whole(1 / (x + 0.01)),
    "DynamicRange": lambda x: min(max(12.5 * x, 0.0), 100.0),  # the one scalar that is not rounded
    "NaturalColour": Sigmoid(h=200, a=1, s=-1, x0=0, w=10),
    "SingleFacePresent": lambda x: _whole(100 * (1 - x)),
    "EyesOpen": Sigmoid(x0=0.02, w=0.01),
    "MouthClosed": Sigmoid(a=1, s=-1, x0=0.2, w=0.06),
    "InterEyeDistance": Sigmoid(x0=70, w=20),
    "HeadSize": _head_size,
    "LeftwardCropOfTheFaceImage": _BESIDE,
    "RightwardCropOfTheFaceImage": _BESIDE,
    "MarginAboveOfTheFaceImage": Sigmoid(x0=1.4, w=0.1),
    "MarginBelowOfTheFaceImage": Sigmoid(x0=1.8, w=0.1),
    "HeadPoseYaw": _cosine,
    "HeadPosePitch": _cosine,
    "HeadPoseRoll": _cosine,
}


def assess(image: Image, scene: Scene, pose: Pose | None) -> dict[str, Score]:
    """Every computed measure of a picture; all FAILED when it shows no face. `pose`: the head's angles, None when not known."""
    face = scene.face
    if face is None:
        return dict.fromkeys(COMPUTED, FAILED)
    natives: dict[str, float | None] = _geometry(face.landmarks, (face.width, face.height), pose)
    natives["SingleFacePresent"] = _second_face(
        [*(f.box.area for f in scene.faces), *(b.area for b in scene.other_faces)]
    )
    aligned = _aligned(image, face.landmarks)
    if aligned is not None:
        natives |= _light(aligned)
        natives["BackgroundUniformity"] = _background(aligned, scene.person_mask)
    return {name: _score(name, natives.get(name)) for name in COMPUTED}


def _score(name: str, native: float | None) -> Score:
    if native is None or not math.isfinite(native):
        return FAILED
    return Score(native, SCALARS[name](native))


def _second_face(areas: Sequence[float]) -> float:
    """Area of the second largest face / area of the largest."""
    largest = sorted(areas, reverse=True)
    return largest[1] / largest[0] if len(largest) > 1 and largest[0] > 0 else 0.0


def _geometry(landmarks: NDArray[np.floating], size: tuple[int, int], pose: Pose | None) -> dict[str, float | None]:
    right, left = geometry.eyes(landmarks)  # the subject's right lies at the picture's left
    middle = (right + left) / 2
    across = geometry.inter_eye_px(landmarks)
    chin = geometry.chin_distance_px(landmarks)
    if not (across > 0 and chin > 0):
        return {}
    width, height = size
    turn = math.cos(math.radians(pose.yaw_deg)) if pose is not None else 0.0
    return {
        "EyesOpen": geometry.eye_opening(landmarks),
        "MouthClosed": geometry.mouth_opening(landmarks),
        "InterEyeDistance": across / turn if abs(turn) > 1e-6 else None,
        "HeadSize": chin / height,
        "LeftwardCropOfTheFaceImage": float(left[0]) / across,
        "RightwardCropOfTheFaceImage": (width - float(right[0])) / across,
        "MarginAboveOfTheFaceImage": float(middle[1]) / chin,
        "MarginBelowOfTheFaceImage": (height - float(middle[1])) / chin,
        "HeadPoseYaw": pose.yaw_deg if pose is not None else None,
        "HeadPosePitch": pose.pitch_deg if pose is not None else None,
        "HeadPoseRoll": pose.roll_deg if pose is not None else None,
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Aligned:
    matrix: NDArray[np.float64]
    pixels: Image
    points: NDArray[np.float64]
    padding: Image  # 255 where the source has no pixels
    face: Image  # 255 inside the hull of the landmarks, without the forehead


def _aligned(image: Image, landmarks: NDArray[np.floating]) -> _Aligned | None:
    points = np.asarray(landmarks, dtype=np.float64)[:, :2]
    seen = np.array([*geometry.eyes(landmarks), points[NOSE_TIP], *points[list(MOUTH_CORNERS)]])
    found = cv2.estimateAffinePartial2D(seen, CANVAS_TARGETS, method=cv2.LMEDS)[0]
    matrix = np.asarray(found, dtype=np.float64)  # without a solution: not a number
    if matrix.shape != (2, 3) or not np.isfinite(matrix).all() or not np.any(matrix[:, :2]):
        return None
    side = (CANVAS_SIDE, CANVAS_SIDE)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    empty = np.zeros(image.shape[:2], np.uint8)
    padding = cv2.warpAffine(empty, matrix, side, flags=cv2.INTER_NEAREST, borderValue=255)
    hull = cv2.convexHull(np.rint(moved[list(FACE_BELOW_BROWS)]).astype(np.int32))
    face = np.zeros(side, np.uint8)
    cv2.fillConvexPoly(face, np.asarray(hull), 255)
    pixels = cv2.warpAffine(image, matrix, side, flags=cv2.INTER_LINEAR)
    return _Aligned(matrix, np.asarray(pixels, dtype=np.uint8), moved, np.asarray(padding, dtype=np.uint8), face)


def _light(aligned: _Aligned) -> dict[str, float | None]:
    light = luminance(aligned.pixels)
    inside = light[aligned.face > 0]
    if inside.size == 0:
        return {}
    counts = np.bincount(inside, minlength=256)
    share = counts / counts.sum()
    grey = np.arange(256) / 255
    mean = float(share @ grey)
    occupied = share[share > 0]
    told: dict[str, float | None] = {
        "LuminanceMean": mean,
        "LuminanceVariance": float(share @ (grey - mean) ** 2),
        "UnderExposurePrevention": float(share[: DARK_UP_TO + 1].sum()),
        "OverExposurePrevention": float(share[LIGHT_FROM:].sum()),
        "DynamicRange": abs(float(-(occupied * np.log2(occupied)).sum())),
    }
    zones = _zones(aligned.points)
    if zones is None:
        return told
    masked = np.where(aligned.face[..., None] > 0, aligned.pixels, 0)
    right, left = ((light * (aligned.face > 0))[zone] for zone in zones)
    told["IlluminationUniformity"] = _shared_light(right, left)
    # A picture without any colour counts as perfect: so does the reference implementation.
    grey_only = np.ptp(aligned.pixels, axis=2).max() == 0
    told["NaturalColour"] = 0.0 if grey_only else _colour_distance([masked[zone] for zone in zones])
    return told


def _zones(points: NDArray[np.float64]) -> tuple[tuple[slice, slice], ...] | None:
    """The squares on both cheeks: 0.3 eye distances wide, from each eye's centre inwards, half the eye-mouth distance below the eyes."""
    right, left = geometry.eyes(points)
    mouth = (points[geometry.INNER_LIPS[1][0]] + points[geometry.INNER_LIPS[1][1]]) / 2
    side = int(np.linalg.norm(left - right) * ZONE_SIDE_PER_EYE_DISTANCE)
    down = int(np.linalg.norm(mouth - (right + left) / 2) / 2)
    # In the picture the subject's right eye lies left: inwards is to the right of it.
    corners = ((round(right[0]), round(right[1]) + down), (round(left[0]) - side, round(left[1]) + down))
    if side < 1 or any(min(x, y) < 0 or max(x, y) + side > CANVAS_SIDE for x, y in corners):
        return None
    return tuple((slice(y, y + side), slice(x, x + side)) for x, y in corners)


def _shared_light(right: Image, left: Image) -> float:
    """Common area of the two cheeks' luminance histograms."""
    a, b = (np.bincount(zone.ravel(), minlength=256) / zone.size for zone in (right, left))
    return float(np.minimum(a, b).sum())


def _colour_distance(zones: Iterable[NDArray[np.uint8]]) -> float:
    """Distance of the cheeks' mean colour from the box of natural skin in CIELAB (D50)."""
    mean = np.mean([zone.reshape(-1, 3).mean(axis=0) for zone in zones], axis=0)[::-1] / 255
    linear = np.where(mean > 0.04045, ((mean + 0.055) / 1.055) ** 2.4, mean / 12.92)
    xyz = TO_XYZ @ linear / WHITE
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    a, b = 500 * (root[0] - root[1]), 200 * (root[1] - root[2])
    if a < 0 or b < 0:
        return UNNATURAL
    return float(math.hypot(max(A_LOW - a, 0, a - A_HIGH), max(B_LOW - b, 0, b - B_HIGH)))


def _background(aligned: _Aligned, person_mask: Image | None) -> float | None:
    """Mean gradient (Scharr) of the luminance behind the person."""
    if person_mask is None:
        return None
    window = (BACKGROUND_ROWS, BACKGROUND_COLUMNS)
    person = cv2.warpAffine(person_mask, aligned.matrix, (CANVAS_SIDE, CANVAS_SIDE), flags=cv2.INTER_LINEAR)
    free = ((person < MASK_BELOW) & (aligned.padding == 0)).astype(np.uint8)[window]
    free = np.asarray(cv2.erode(cv2.resize(free, BACKGROUND_SIZE, interpolation=cv2.INTER_NEAREST), EROSION))
    if not free.any():
        return None
    pixels = cv2.resize(aligned.pixels[window], BACKGROUND_SIZE, interpolation=cv2.INTER_LINEAR)
    light = luminance(np.asarray(pixels, dtype=np.uint8))
    slope = cv2.magnitude(cv2.Scharr(light, cv2.CV_32F, 1, 0), cv2.Scharr(light, cv2.CV_32F, 0, 1))
    return float(slope[free > 0].mean())


def header() -> tuple[str, ...]:
    """The columns of a table as the reference implementation writes it: file name, natives, scalars."""
    return ("Filename", *COLUMNS, *(f"{name}.scalar" for name in COLUMNS))


def row(filename: str, scores: Mapping[str, Score]) -> tuple[str, ...]:
    """One picture's line of that table: whole numbers without decimals, others with six; empty where nothing is computed."""
    natives = (_number(scores[name].native) if name in scores else "" for name in COLUMNS)
    scalars = (_number(scores[name].scalar) if name in scores else "" for name in COLUMNS)
    return (filename, *natives, *scalars)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6f}"
