"""The checking thread: it alone owns the face models. Live frames, codes and jobs pass through it one at a time.

Rules: a job goes before a frame; of frames only the newest counts; a frame offered while nothing is watched is dropped at once. Results reach
the event loop through `call_soon_threadsafe`. When the model fails, the owner is told, the thread loads it again and goes on.
Landmarks never leave this thread: what goes out are reports, an overlay and a speed. `forget` waits for the jobs before it and then empties
what is kept between pictures (models, motion) and gives what was freed back to the system; a model that failed was closed and keeps nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from booth.codes import CodeReader
from booth.errors import CheckerStoppedError
from booth.events import Watch
from booth.kiosk import Oval, Overlay
from capture.frames import Frame
from capture.height import EyeLine
from capture.metering import MeterReading, meter, outline_fits
from crypto.heap import trim_heap
from validation.errors import ModelFailedError, ValidationError
from validation.face import FaceModel, Scene
from validation.framing import CropPlan, plan_crop
from validation.geometry import eye_midpoint, inter_eye_px
from validation.live import LiveAssessor
from validation.profile import Profile
from validation.report import Report, Series, Verdict

log = logging.getLogger(__name__)
T = TypeVar("T")

LIVE_PERIOD_S = (
    1 / 15
)  # fifteen judgements a second: twice the speed at which instructions may change, half of two slow cores
SCAN_PERIOD_S = 0.2
RELOAD_PAUSE_S = 1.0
# Motion is measured over this span: shorter and the landmarks' jitter of half a pixel looks like movement.
MOTION_SPAN_NS = 150_000_000
MOTION_KEPT_NS = 400_000_000
# A slow camera or a busy machine gives fewer frames than that: the frame before counts then, unless it is older than this.
MOTION_LOST_NS = 1_500_000_000
# The light is metered four times a second (5 ms each), and in the next frame when somebody waits for it.
METER_PERIOD_NS = 250_000_000
METER_MOTION = 0.3  # eye distances per second, as for the shutter (booth.guidance)
# A face that is turned away shows shadows that are no fault of the light.
FRONTAL = frozenset({"face.single", "pose.yaw", "pose.pitch"})
# Width of a head without ears / its length; only draws the oval.
HEAD_WIDTH_PER_LENGTH = 0.72


@dataclass(frozen=True, slots=True)
class Live:
    """What one preview frame says."""

    report: Report
    overlay: Overlay
    motion: float | None  # eye distances per second; None while too few frames show a face
    at_ns: int
    light: MeterReading | None = None  # of the frames that were metered
    eyes: EyeLine | None = None  # where they are, for the height


class Checker:
    """The thread and its inbox; made by `open_checker`, used from one event loop."""

    def __init__(
        self,
        profile: Profile,
        on_live: Callable[[Live], None],
        on_code: Callable[[str], None],
        on_trouble: Callable[[Exception | None], None],
    ) -> None:
        self.still_size: tuple[int, int] | None = None  # the stills' width and height, when known
        self._profile = profile
        self._on_live, self._on_code, self._on_trouble = on_live, on_code, on_trouble
        self._loop = asyncio.get_running_loop()
        self._inbox = threading.Condition()
        self._jobs: deque[tuple[Future[Any], Callable[[FaceModel], Any]]] = deque()
        self._forgetting: list[Future[None]] = []
        self._frame: Frame | None = None
        self._watch = Watch.NOTHING
        self._codes = CodeReader()
        self._stopping = False
        self._busy_since: float | None = None  # on the thread's clock; None while it waits for work
        self._live: LiveAssessor | None = None
        self._trail: deque[tuple[int, NDArray[np.float64], float]] = deque()
        self._metered_ns = 0
        self._meter_after_ns: int | None = None
        self.thread = threading.Thread(target=self._run, name="checker", daemon=True)

    def watch(self, watch: Watch) -> None:
        """What the next frames are looked at for; NOTHING also drops the frame that waits."""
        with self._inbox:
            self._watch = watch
            if watch is Watch.NOTHING:
                self._frame = None

    def offer(self, frame: Frame) -> None:
        """The newest preview frame."""
        with self._inbox:
            if self._watch is not Watch.NOTHING:
                self._frame = frame
                self._inbox.notify()

    def meter_after(self, at_ns: int) -> None:
        """The next frame newer than this is metered, however short ago the last one was."""
        self._meter_after_ns = at_ns

    async def run(self, work: Callable[[FaceModel], T]) -> T:
        """Runs `work` on the thread with the model for single pictures; raises what it raises, or CheckerStoppedError."""
        future: Future[T] = Future()
        with self._inbox:
            if self._stopping:
                raise CheckerStoppedError("The checking thread has ended; start the booth again.")
            self._jobs.append((future, work))
            self._inbox.notify()
        return await asyncio.wrap_future(future)

    async def forget(self) -> None:
        """Returns when nothing of the pictures so far is kept; call it with the watch at NOTHING. Raises ModelFailedError."""
        future: Future[None] = Future()
        with self._inbox:
            if self._stopping:
                raise CheckerStoppedError("The checking thread has ended; start the booth again.")
            self._forgetting.append(future)
            self._inbox.notify()
        await asyncio.wrap_future(future)

    def stop(self) -> None:
        """Ends the thread after what it is doing; waiting jobs fail."""
        with self._inbox:
            self._stopping = True
            self._frame = None
            self._inbox.notify()

    @property
    def busy_s(self) -> float:
        """For how long the thread has been at what it is doing now; infinite when it has ended without being asked."""
        if not (self._stopping or self.thread.is_alive()):
            return math.inf
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def series(self) -> Series | None:
        """What the latest frames of this person measured; for `work` on the checking thread only."""
        return None if self._live is None else self._live.series

    # --- on the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._busy_since = time.monotonic()
            try:
                with FaceModel(video=True) as video, FaceModel() as single:
                    self._live = LiveAssessor(video, self._profile)
                    self._tell(self._on_trouble, None)
                    self._work(self._live, video, single)
            except Exception as error:
                # Whatever happens in a picture's depths: this thread must live, or the booth never takes a portrait again.
                if not isinstance(error, ModelFailedError):
                    log.exception("the checking thread starts again")
                self._tell(self._on_trouble, error)
                self._forgotten()
                with self._inbox:
                    self._inbox.wait_for(lambda: self._stopping, RELOAD_PAUSE_S)
        self._forgotten()
        for future, _ in self._jobs:
            if future.set_running_or_notify_cancel():
                future.set_exception(CheckerStoppedError("The checking thread has ended; start the booth again."))

    def _work(self, live: LiveAssessor, video: FaceModel, single: FaceModel) -> None:
        free_at = 0.0
        while True:
            self._busy_since = None
            with self._inbox:
                while not (
                    self._stopping
                    or self._jobs
                    or self._forgetting
                    or (self._frame is not None and time.monotonic() >= free_at)
                ):
                    self._inbox.wait(None if self._frame is None else max(free_at - time.monotonic(), 0.001))
                if self._stopping:
                    return
                job = self._jobs.popleft() if self._jobs else None
                frame, watch = self._frame, self._watch
                if job is None:
                    self._frame = None
                forgetting = job is None and bool(self._forgetting)
            self._busy_since = time.monotonic()
            if job is not None:
                self._do(job, single)
            elif forgetting:
                live.forget()
                video.forget()
                single.forget()
                trim_heap()
                self._forgotten()
            elif frame is not None:
                started = time.monotonic()
                free_at = started + (SCAN_PERIOD_S if watch is Watch.CODES else LIVE_PERIOD_S)
                self._look(frame, watch, live)
            job = frame = None  # no picture is held while the thread waits

    def _forgotten(self) -> None:
        """Nothing of any picture is kept now."""
        self._trail.clear()
        with self._inbox:
            waiting, self._forgetting = self._forgetting, []
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _do(self, job: tuple[Future[Any], Callable[[FaceModel], Any]], model: FaceModel) -> None:
        future, work = job
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work(model)
        except ModelFailedError as error:
            future.set_exception(error)
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever asked for the work
            future.set_exception(error)
        else:
            future.set_result(result)

    def _look(self, frame: Frame, watch: Watch, live: LiveAssessor) -> None:
        if watch is Watch.CODES:
            text = self._codes.read(frame.pixels)
            if text is not None:
                self._tell(self._on_code, text)
            return
        try:
            scene, report = live.assess(frame.pixels, still_size=self.still_size)
        except ModelFailedError:
            raise
        except ValidationError as error:
            log.warning("a preview frame could not be judged: %s", error)
            return
        points = None if scene.face is None else scene.face.landmarks
        height, width = frame.pixels.shape[:2]
        overlay = draw_overlay(points, (width, height), self.still_size, self._profile)
        motion = self._motion(points, frame.at_ns)
        light = self._light(frame, scene, report, motion)
        eyes = (
            None if points is None else EyeLine(float(eye_midpoint(points)[1]) / height, inter_eye_px(points) / height)
        )
        self._tell(self._on_live, Live(report, overlay, motion, frame.at_ns, light, eyes))

    def _light(self, frame: Frame, scene: Scene, report: Report, motion: float | None) -> MeterReading | None:
        """The light of this frame when it is time for it; None of a face that is turned away or moves: its outline is some frames old."""
        asked_ns, at_ns = self._meter_after_ns, frame.at_ns
        asked = asked_ns is not None and at_ns > asked_ns
        if not asked and 0 <= at_ns - self._metered_ns < METER_PERIOD_NS:
            return None
        if scene.face is None:
            points = None
        elif (
            motion is None
            or motion > METER_MOTION
            or not outline_fits(scene.face.landmarks, scene.person_mask)
            or any(found.rule in FRONTAL and found.verdict is Verdict.FAIL for found in report.findings)
        ):
            return None
        else:
            points = scene.face.landmarks
        self._metered_ns = at_ns
        if asked:
            self._meter_after_ns = None
        return meter(frame.pixels, points, scene.person_mask, at_ns)

    def _motion(self, points: NDArray[np.float32] | None, at_ns: int) -> float | None:
        trail = self._trail
        if points is None:
            trail.clear()
            return None
        while trail and not 0 <= at_ns - trail[0][0] <= (MOTION_KEPT_NS if len(trail) > 1 else MOTION_LOST_NS):
            trail.popleft()
        middle, apart = eye_midpoint(points), inter_eye_px(points)
        trail.append((at_ns, middle, apart))
        then_ns, then_middle, then_apart = trail[0]
        if at_ns - then_ns < MOTION_SPAN_NS:
            return None
        moved = max(float(np.hypot(*(middle - then_middle))), abs(apart - then_apart))
        return moved / apart / ((at_ns - then_ns) / 1e9)

    def _tell(self, listener: Callable[[Any], None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(listener, value)


def draw_overlay(
    points: NDArray[np.float32] | None, preview: tuple[int, int], still: tuple[int, int] | None, profile: Profile
) -> Overlay:
    """Where the head belongs in the crop that would be cut, in fractions of the preview; without a face, in the middle."""
    width, height = still or preview
    out = (profile.width_px, profile.height_px)
    if points is not None:
        plan = plan_crop(points * np.float32(width / preview[0]), (width, height), out, profile.crop)
    else:
        box_height = min(max(float(out[1]), 0.75 * height), height, width * out[1] / out[0])
        plan = CropPlan(0.0, out[1] / box_height, width / 2, height / 2, *out, width, height)
    box_height = plan.out_height / plan.scale
    top = plan.centre_y - box_height / 2
    half_head = profile.crop.head_height * box_height / 2
    eye_y = (top + profile.crop.eye_line * box_height) / height
    return Overlay(
        oval=Oval(
            centre_x=plan.centre_x / width,
            centre_y=eye_y,  # the eyes are half-way between chin and crown
            radius_x=half_head * HEAD_WIDTH_PER_LENGTH / width,
            radius_y=half_head / height,
        ),
        eye_line_y=eye_y,
        crop=tuple((x / width, y / height) for x, y in plan.corners()) if points is not None else (),
    )


@asynccontextmanager
async def open_checker(
    profile: Profile,
    on_live: Callable[[Live], None],
    on_code: Callable[[str], None],
    on_trouble: Callable[[Exception | None], None],
) -> AsyncIterator[Checker]:
    """A running checker; `on_trouble` hears of a failed model, and None when it is loaded (again)."""
    checker = Checker(profile, on_live, on_code, on_trouble)
    checker.thread.start()
    try:
        yield checker
    finally:
        checker.stop()
        await asyncio.to_thread(checker.thread.join)
