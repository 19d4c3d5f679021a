"""One attempt: the stills of a burst cut, judged, and the best of them chosen. Runs on the checking thread.

For each still: scene → crop plan → one cut from the camera's pixels → the crop judged by the same stateless check as `booth check --crop`.
A still without a face cannot be cut: it is judged as it came, and its report says so. Which one is the best: booth/best_still.py. The stills are overwritten as soon as they are cut.

A `Burst` is overwritten once and never under the checker's hands: by the job that judges it, when it is done, or by `give_up` when the job
never began. A result that comes after `give_up` is overwritten too and reaches nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from booth.best_still import Rank, best_of, rank
from booth.errors import BurstGivenUpError
from capture.frames import Frame
from capture.metering import LightReading, read_light
from capture.portrait import crop_facts, cut, encode_jpeg, plan_crop
from validation.check import check, judge
from validation.face import FaceModel
from validation.geometry import moved
from validation.image import ImageFacts
from validation.profile import Profile
from validation.report import Report, Series


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Candidate:
    """One still of a burst after judging."""

    report: Report
    at_ns: int
    frame: Frame = field(repr=False)  # its pixels are overwritten; light and camera settings stay
    portrait: NDArray[np.uint8] | None = field(repr=False)  # the crop; None without a face
    light: LightReading | None
    landmarks: NDArray[np.float64] | None = field(default=None, repr=False)  # the face mesh in pixels of the portrait

    @property
    def rank(self) -> Rank:
        """How good it is; larger is better."""
        return rank(self.report, self.at_ns)

    def wipe(self) -> None:
        """Overwrites the pixels and the shape of the face."""
        self.frame.wipe()
        for own in (self.portrait, self.landmarks):
            if own is not None:
                own.fill(0)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Attempt:
    """A judged burst and the best of it."""

    candidates: tuple[Candidate, ...]
    best: Candidate
    jpeg: bytes | None = field(repr=False)  # the portrait under review, encoded once; the packet holds these bytes

    @property
    def report(self) -> Report:
        """The report of the best still."""
        return self.best.report

    def wipe(self) -> None:
        """Overwrites every pixel buffer."""
        for candidate in self.candidates:
            candidate.wipe()


class Burst:
    """The stills of one burst between the camera and the record."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = tuple(frames)
        self._lock = threading.Lock()
        self._begun = self._given_up = False
        self._attempt: Attempt | None = None

    def judge(self, work: Callable[[Sequence[Frame]], Attempt]) -> None:
        """On the checking thread: judges the stills and overwrites them, keeps the result for `take`; raises what `work` raises, BurstGivenUpError for a late result."""
        if not self._begin():
            raise BurstGivenUpError("The visit gave this burst up; nothing was judged.")
        try:
            attempt = work(self._frames)
        finally:
            self._wipe_frames()
        if not self._keep(attempt):
            attempt.wipe()
            raise BurstGivenUpError("The visit gave this burst up before it was judged; the result was overwritten.")

    def _begin(self) -> bool:
        with self._lock:
            self._begun = not self._given_up
            return self._begun

    def _keep(self, attempt: Attempt) -> bool:
        with self._lock:
            if not self._given_up:
                self._attempt = attempt
            return not self._given_up

    def take(self) -> Attempt:
        """The result, from now on the caller's."""
        with self._lock:
            attempt, self._attempt = self._attempt, None
        assert attempt is not None, "taken once, after judging"
        return attempt

    def give_up(self) -> None:
        """Nobody waits for the result any more; without effect on a result that was taken."""
        with self._lock:
            self._given_up = True
            attempt, self._attempt = self._attempt, None
            begun = self._begun
        if attempt is not None:
            attempt.wipe()
        if not begun:
            self._wipe_frames()

    def _wipe_frames(self) -> None:
        for frame in self._frames:
            frame.wipe()


def judge_burst(frames: Sequence[Frame], profile: Profile, model: FaceModel, series: Series | None = None) -> Attempt:
    """Cuts and judges every still, chooses the best, encodes it; raises a ValidationError or CaptureError.

    `series` is what the preview frames before the burst measured; the report keeps it, so that anybody can judge again with the same.
    """
    candidates: list[Candidate] = []
    try:
        candidates.extend(_judge(frame, profile, model, series) for frame in frames)
    except BaseException:
        for candidate in candidates:
            candidate.wipe()
        raise
    best = best_of(candidates, lambda candidate: candidate.rank)
    return Attempt(tuple(candidates), best, None if best.portrait is None else encode_jpeg(best.portrait))


def _judge(frame: Frame, profile: Profile, model: FaceModel, series: Series | None) -> Candidate:
    source = ImageFacts(frame.source_format, frame.lossy, exif_orientation=1, bits=8, colour="rgb")
    height, width = frame.pixels.shape[:2]
    scene = model.scene(frame.pixels)
    try:
        if scene.face is None:
            report = judge(frame.pixels, scene, profile, judged="as_submitted", notes=source.notes, source=source)
            return Candidate(report, frame.at_ns, frame, None, None)
        size = (profile.width_px, profile.height_px)
        plan = plan_crop(scene.face.landmarks, (width, height), size, profile.crop)
        light = read_light(frame.pixels, scene.face.landmarks)
        portrait = cut(frame.pixels, plan)
        report = check(
            portrait,
            profile,
            model,
            judged="crop",
            notes=source.notes,
            crop=crop_facts(plan),
            source=source,
            series=series,
        )
        landmarks = moved(scene.face.landmarks, plan.matrix()).astype(np.float64)
        return Candidate(report, frame.at_ns, frame, portrait, light, landmarks)
    finally:
        frame.wipe()
