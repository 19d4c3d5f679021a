"""Judging preview frames one after the other: what is kept between them so that each frame stays cheap.

Every frame: the mesh and all rules that refuse. Every ADVICE_EVERY-th frame also the rules that only advise or tell; between them their
newest findings stand in the report, and its notes tell their age, as they do for the person's outline and the search for other people.
A frame without a face forgets them: they belonged to somebody who may have gone.
Along the way the series is taken that some rules ask for: the pitch of the latest frames, the face in frames that broke no rule and showed no smile.
A LiveAssessor belongs to one thread and one person at a time; `forget` empties it.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from validation.check import assess_live
from validation.expression import expression
from validation.face import FaceModel, Scene
from validation.profile import Profile
from validation.report import Expression, Finding, Level, Report, Series, Verdict
from validation.rules import RULES

ADVICE_EVERY = 15
# At fifteen judged frames a second: the pitch of the last second, the face of the last two.
PITCH_KEPT, RELAXED_KEPT = 15, 30


class LiveAssessor:
    """Reports on consecutive preview frames of one sitter. `model` is one made for video."""

    def __init__(self, model: FaceModel, profile: Profile) -> None:
        self._model, self._profile = model, profile
        self._advice: dict[str, Finding] = {}
        self._advice_age = 0
        self._pitch: deque[float] = deque(maxlen=PITCH_KEPT)
        self._relaxed: deque[Expression] = deque(maxlen=RELAXED_KEPT)

    def assess(
        self, image_bgr: NDArray[np.uint8], *, still_size: tuple[int, int] | None = None
    ) -> tuple[Scene, Report]:
        """Scene and report of the next frame, (H, W, 3) uint8; raises ModelFailedError."""
        scene = self._model.scene(image_bgr)
        self._advice_age += 1
        advising = not self._advice or self._advice_age >= ADVICE_EVERY
        report = assess_live(
            image_bgr, scene, self._profile, still_size=still_size, advising=advising, series=self.series
        )
        if scene.face is None:
            self.forget()
            return scene, report
        if advising:
            self._advice = {found.rule: found for found in report.findings if found.level is not Level.REJECT}
            self._advice_age = 0
        else:
            report = self._with_advice(report)
        self._remember(scene, report)
        return scene, report

    @property
    def series(self) -> Series | None:
        """What the frames so far measured; None before the first face."""
        if not self._pitch:
            return None
        return Series(pitch_deg=tuple(self._pitch), relaxed=tuple(self._relaxed))

    def forget(self) -> None:
        """Drops everything about the person."""
        self._advice, self._advice_age = {}, 0
        self._pitch.clear()
        self._relaxed.clear()

    def _with_advice(self, report: Report) -> Report:
        fresh = {found.rule: found for found in report.findings}
        merged = [found for rule in RULES if (found := fresh.get(rule.id) or self._advice.get(rule.id)) is not None]
        notes = (*report.notes, f"advice {self._advice_age} frames old")
        return report.model_copy(update={"findings": tuple(merged), "notes": notes})

    def _remember(self, scene: Scene, report: Report) -> None:
        pitch = next((found.value for found in report.findings if found.rule == "pose.pitch"), None)
        if pitch is not None:
            self._pitch.append(pitch)
        smiling = any(found.rule == "expression.smile" and found.verdict is Verdict.WARN for found in report.findings)
        if report.compliant and not smiling and scene.face is not None:
            self._relaxed.append(expression(scene.face.landmarks))
