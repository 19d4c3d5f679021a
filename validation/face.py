"""Where the faces are: landmarks, other faces, the person's outline. The only file that imports mediapipe.

Order for one picture: shrink to at most MODEL_SIDE_PX (the networks look at 192-256 pixel patches; more pixels only cost memory) ->
face mesh -> if it finds nobody but a detector does, the mesh again on an enlarged cut-out of that face -> both face detectors for
other people -> person mask. In a single picture also small faces beside the head are looked for, and which way up it is. All results are in
pixels of the picture that was given.
A FaceModel belongs to one thread. `video=False` keeps no memory between pictures: same pixels, same scene. `video=True` tracks the face;
the mask is then computed on every MASK_EVERY-th frame and the detectors look on every OTHERS_EVERY-th, both in a thread beside the mesh
(validation.aside); the scene tells both ages in frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.aside import Aside
from validation.beside import windows
from validation.errors import ModelFailedError
from validation.geometry import CHIN, eyes, roll_deg
from validation.image import check_pixels
from validation.orientation import turn_needed
from validation.quiet import without_chatter, without_extras

MODEL_SIDE_PX = 2048
# A sitter who holds still has the same outline for half a second at fifteen frames a second; somebody else is seen within one second.
MASK_EVERY = 8
OTHERS_EVERY = 15
ASIDE_SIDE_PX = 800
MAX_FACES = 4
# The mesh's own default; the detectors are asked for more so that a pattern on the wall is not taken for a person.
MESH_CONFIDENCE = 0.5
DETECTOR_CONFIDENCE = 0.6
# Eyes nearer to each other, or mouth and chin nearer to their line, are no face (the smallest one the detectors find has ten times as much).
LEAST_FACE_PX = 2.0
MOUTH = 13
# Of small faces on the wall more is asked: enlarged patterns reach 0.61, small faces mostly 0.77 to 0.95.
BESIDE_CERTAINTY = 0.75
# Two boxes of one face overlap at least by this (intersection / smaller box).
SAME_FACE_OVERLAP = 0.4
# A cut-out around a face that only a detector saw, in widths of its box.
SECOND_LOOK_WIDTHS = 3.0
SECOND_LOOK_SIDE_PX = 512
# How a list of landmarks is packed when each has x, y and z and nothing else: field number and length, then number and value of each coordinate.
PACKED_LANDMARK = np.dtype(
    [("start", "<u2"), ("x_is", "u1"), ("x", "<f4"), ("y_is", "u1"), ("y", "<f4"), ("z_is", "u1"), ("z", "<f4")]
)
PACKED_FIELDS = {"start": 0x0F0A, "x_is": 0x0D, "y_is": 0x15, "z_is": 0x1D}
BLANK = np.zeros((64, 64, 3), np.uint8)
BLANK.setflags(write=False)


@dataclass(frozen=True, slots=True)
class FaceBox:
    """A face as a rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    def overlap(self, other: FaceBox) -> float:
        """Shared area / area of the smaller box."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        smaller = min(self.area, other.area)
        return max(wide, 0.0) * max(high, 0.0) / smaller if smaller > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face: 478 landmarks (x, y in pixels of the picture, z in the same scale) and the picture's size."""

    landmarks: NDArray[np.float32]
    width: int
    height: int

    @property
    def is_mesh(self) -> bool:
        """Whether the landmarks can be a face's at all: finite, eyes apart, mouth and chin off the eye line."""
        if not np.isfinite(self.landmarks).all():
            return False
        right, left = eyes(self.landmarks)
        middle, (across_x, across_y) = ((right + left) / 2).tolist(), (left - right).tolist()
        apart = math.hypot(across_x, across_y)
        if apart < LEAST_FACE_PX:
            return False
        below = ((x - middle[0], y - middle[1]) for x, y, _ in self.landmarks[[MOUTH, CHIN]].tolist())
        return all(abs(x * across_y - y * across_x) >= LEAST_FACE_PX * apart for x, y in below)

    @property
    def box(self) -> FaceBox:
        """The rectangle around all landmarks."""
        low, high = self.landmarks[:, :2].min(axis=0), self.landmarks[:, :2].max(axis=0)
        return FaceBox(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything the model saw in one picture."""

    faces: tuple[Face, ...]  # with landmarks, largest first
    other_faces: tuple[FaceBox, ...] = ()  # seen by a detector only
    person_mask: NDArray[np.uint8] | None = None  # (H, W), 255 = person
    mask_age: int = 0  # frames since the mask was computed
    others_age: int = 0  # frames since the detectors looked
    turn_deg: int = (
        0  # a single picture: the clockwise turn that makes it upright; no face is told of one that needs a turn
    )

    @property
    def face(self) -> Face | None:
        """The largest face."""
        return self.faces[0] if self.faces else None

    def of_meshes(self) -> Scene:
        """The scene without faces whose landmarks can be none; nothing can be measured on them."""
        kept = tuple(face for face in self.faces if face.is_mesh)
        return self if len(kept) == len(self.faces) else replace(self, faces=kept)


class FaceModel:
    """The networks of the mediapipe wheel behind one call. Construction loads nothing; `with` loads and always releases."""

    def __init__(self, *, video: bool = False) -> None:
        self._video = video
        self._open = ExitStack()
        self._mesh: Any = None
        self._detectors: tuple[Any, ...] = ()
        self._segmenter: Any = None
        self._seen_a_face = False
        self._outline: Aside[NDArray[np.uint8]] | None = None  # video only, like the next
        self._others: Aside[tuple[FaceBox, ...]] | None = None

    def __enter__(self) -> Self:
        try:
            with without_chatter():
                self._load()
        except (ImportError, RuntimeError, OSError, ValueError) as error:
            self._open.close()
            raise ModelFailedError(
                f"The face model did not start ({type(error).__name__}); install the locked packages again."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        self._mesh = self._segmenter = self._outline = self._others = None
        self._detectors = ()

    def _load(self) -> None:
        with without_extras():
            import mediapipe

        solutions = mediapipe.solutions
        self._mesh = self._owned(
            solutions.face_mesh.FaceMesh(
                static_image_mode=not self._video,
                max_num_faces=1 if self._video else MAX_FACES,
                refine_landmarks=True,
                min_detection_confidence=MESH_CONFIDENCE,
            )
        )
        # 0 looks within 2 m, 1 within 5 m; people behind the sitter are seen by the second.
        self._detectors = tuple(
            self._owned(
                solutions.face_detection.FaceDetection(
                    model_selection=reach, min_detection_confidence=DETECTOR_CONFIDENCE
                )
            )
            for reach in (0, 1)
        )
        self._segmenter = self._owned(solutions.selfie_segmentation.SelfieSegmentation(model_selection=0))
        for graph in self._graphs():
            graph.process(BLANK)  # makes every graph start now and not at the first picture
        if self._video:
            thread = self._open.enter_context(ThreadPoolExecutor(1, thread_name_prefix="outline"))
            self._outline = Aside(self._segment, MASK_EVERY, thread)
            self._others = Aside(self._detect, OTHERS_EVERY, thread)

    def _owned(self, graph: Any) -> Any:
        self._open.callback(graph.close)
        return graph

    def forget(self) -> None:
        """Drops what is kept of earlier pictures: the track, the mask, the others, and the graphs' last pictures and outputs."""
        if self._mesh is None:
            return
        try:
            for look in (self._outline, self._others):
                if look is not None:
                    look.forget()
            with without_chatter():
                for graph in self._graphs():
                    if self._video:
                        graph.reset()
                    graph.process(BLANK)
        except (RuntimeError, ValueError) as error:
            raise ModelFailedError("The face model did not start anew; start the checker again.") from error

    def _graphs(self) -> tuple[Any, ...]:
        return self._mesh, *self._detectors, self._segmenter

    def scene(self, image_bgr: NDArray[np.uint8], *, mask: bool = True) -> Scene:
        """What is in the picture. Without `mask` the person's outline is left out (None)."""
        if self._mesh is None:
            raise ModelFailedError("The face model is not open; use it inside a with block.")
        check_pixels(image_bgr)
        height, width = image_bgr.shape[:2]
        rgb, scale = _for_model(image_bgr)
        try:
            if self._outline is not None and mask:
                self._outline.offer(rgb)
            faces = self._faces(rgb)
            others = self._other_faces(rgb, faces)
            if not faces and others:
                faces = self._second_look(rgb, others)
                others = tuple(o for o in others if not any(o.overlap(f.box) > SAME_FACE_OVERLAP for f in faces))
            if faces and not self._video:
                others = _apart((*others, *self._beside(rgb, faces[0])), faces)
            outline = self._mask_of(rgb, (width, height)) if mask else None
            turn_deg = 0 if self._video else turn_needed(rgb, _tilt(faces), self._certainty, self._tilt_of_face)
        except (RuntimeError, ValueError) as error:
            raise ModelFailedError("The face model did not answer; start the checker again.") from error
        if turn_deg:  # what the mesh drew over it is no face to judge
            return Scene(faces=(), person_mask=outline, turn_deg=turn_deg)
        return Scene(
            faces=tuple(Face(_scaled(f.landmarks, 1 / scale), width, height) for f in faces),
            other_faces=tuple(FaceBox(o.x / scale, o.y / scale, o.width / scale, o.height / scale) for o in others),
            person_mask=outline,
            mask_age=self._outline.age if self._outline is not None and mask else 0,
            others_age=self._others.age if self._others is not None else 0,
        )

    def _mesh_on(self, rgb: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        if self._seen_a_face:
            found = self._mesh.process(rgb)
        else:  # the first face makes one more graph start
            with without_chatter():
                found = self._mesh.process(rgb)
        all_points = found.multi_face_landmarks or ()
        self._seen_a_face = self._seen_a_face or bool(all_points)
        height, width = rgb.shape[:2]
        size = np.array([width, height, width], dtype=np.float32)
        return [_coordinates(face) * size for face in all_points]

    def _faces(self, rgb: NDArray[np.uint8]) -> tuple[Face, ...]:
        height, width = rgb.shape[:2]
        kept: list[Face] = []
        for face in sorted((Face(p, width, height) for p in self._mesh_on(rgb)), key=lambda f: -f.box.area):
            if not any(face.box.overlap(other.box) > SAME_FACE_OVERLAP for other in kept):
                kept.append(face)
        return tuple(kept)

    def _other_faces(self, rgb: NDArray[np.uint8], faces: tuple[Face, ...]) -> tuple[FaceBox, ...]:
        if self._others is None:
            return _apart(self._detect(rgb), faces)
        self._others.offer(rgb)
        kept = _apart(self._others.newest(rgb, now=not faces), faces)
        if faces and kept and kept[0].area > faces[0].box.area:
            self._mesh.reset()  # it follows the smaller of two people; look afresh on the next frame
        return kept

    def _beside(self, rgb: NDArray[np.uint8], face: Face) -> list[FaceBox]:
        """Small faces on the wall beside the head, each window of it looked at by itself."""
        box = face.box
        found = []
        for window in windows(rgb, (box.x, box.y, box.width, box.height)):
            for seen in self._detectors[0].process(window.pixels).detections or ():
                if seen.score[0] >= BESIDE_CERTAINTY:
                    at, side = seen.location_data.relative_bounding_box, window.side
                    x, y = window.x + at.xmin * side, window.y + at.ymin * side
                    found.append(FaceBox(x, y, at.width * side, at.height * side))
        return found

    def _certainty(self, rgb: NDArray[np.uint8]) -> float:
        """How sure the detectors are of the best face, 0..1; 0 below their confidence."""
        found = (face for detector in self._detectors for face in detector.process(rgb).detections or ())
        return max((float(face.score[0]) for face in found), default=0.0)

    def _tilt_of_face(self, rgb: NDArray[np.uint8]) -> float | None:
        return _tilt(self._faces(rgb))

    def _detect(self, rgb: NDArray[np.uint8]) -> tuple[FaceBox, ...]:
        height, width = rgb.shape[:2]
        boxes, small = [], self._aside_size(rgb)
        for detector in self._detectors:
            for found in detector.process(small).detections or ():
                box = found.location_data.relative_bounding_box
                boxes.append(FaceBox(box.xmin * width, box.ymin * height, box.width * width, box.height * height))
        return tuple(boxes)

    def _second_look(self, rgb: NDArray[np.uint8], others: tuple[FaceBox, ...]) -> tuple[Face, ...]:
        """The mesh on an enlarged cut-out around the largest detected face: its own detector misses small ones."""
        height, width = rgb.shape[:2]
        box = others[0]
        side = SECOND_LOOK_WIDTHS * box.width
        left, top = box.x + box.width / 2 - side / 2, box.y + box.height / 2 - side / 2
        grow = SECOND_LOOK_SIDE_PX / side
        to_cut = np.array([[grow, 0, -left * grow], [0, grow, -top * grow]])
        side_px = (SECOND_LOOK_SIDE_PX, SECOND_LOOK_SIDE_PX)
        cut = np.asarray(cv2.warpAffine(rgb, to_cut, side_px, flags=cv2.INTER_LINEAR), dtype=np.uint8)
        faces = []
        for points in self._mesh_on(cut):
            back = _scaled(points, 1 / grow)
            back[:, 0] += left
            back[:, 1] += top
            faces.append(Face(back, width, height))
        return tuple(sorted(faces, key=lambda f: -f.box.area)[:1])

    def _mask_of(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """The person in a picture of (width, height), 255 = person."""
        mask = self._segment(rgb) if self._outline is None else self._outline.newest(rgb)
        if mask.shape == (size[1], size[0]):
            return mask
        return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    def _segment(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        soft = self._segmenter.process(self._aside_size(rgb)).segmentation_mask
        mask = np.asarray(np.rint(np.clip(soft, 0.0, 1.0) * 255.0), dtype=np.uint8)
        if mask.shape == rgb.shape[:2]:
            return mask
        return np.asarray(cv2.resize(mask, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    def _aside_size(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What outline and other faces are looked for in: frames are made smaller, which the networks do anyway, at a third of the time."""
        scale = ASIDE_SIDE_PX / max(rgb.shape[:2])
        if not self._video or scale >= 1:
            return rgb
        size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
        return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _coordinates(landmarks: Any) -> NDArray[np.float32]:
    """The (x, y, z) of a list of landmarks: all at once from its packed form, which takes a tenth of the time of asking each one."""
    packed = landmarks.SerializeToString()
    if len(packed) == len(landmarks.landmark) * PACKED_LANDMARK.itemsize:
        table = np.frombuffer(packed, PACKED_LANDMARK)
        if all((table[name] == value).all() for name, value in PACKED_FIELDS.items()):
            return np.stack([table["x"], table["y"], table["z"]], axis=1)
    return np.array([(p.x, p.y, p.z) for p in landmarks.landmark], dtype=np.float32)


def _apart(boxes: Iterable[FaceBox], faces: tuple[Face, ...]) -> tuple[FaceBox, ...]:
    """The boxes that are neither one of the faces nor each other, largest first."""
    kept: list[FaceBox] = []
    for box in sorted(boxes, key=lambda b: -b.area):
        known = [*(f.box for f in faces), *kept]
        if not any(box.overlap(other) > SAME_FACE_OVERLAP for other in known):
            kept.append(box)
    return tuple(kept)


def _tilt(faces: tuple[Face, ...]) -> float | None:
    """The eye line of the largest face."""
    return roll_deg(faces[0].landmarks) if faces else None


def _for_model(image_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """The RGB picture the networks see, and its size relative to the given one."""
    longest = max(image_bgr.shape[:2])
    if longest <= MODEL_SIDE_PX:
        return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8), 1.0
    scale = MODEL_SIDE_PX / longest
    size = (max(round(image_bgr.shape[1] * scale), 1), max(round(image_bgr.shape[0] * scale), 1))
    small = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), dtype=np.uint8), scale


def _scaled(points: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    return (points * np.float32(scale)).astype(np.float32)
