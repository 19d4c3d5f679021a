"""Judging preview frames one after the other: what is kept between them so that each frame stays cheap.

Every frame: the mesh and the rules that refuse. Rules that look beside the person are judged with each new outline. Rules that only advise or tell:
every ADVICE_EVERY-th frame, and the first one that breaks no rule after one that did. Between, their newest findings stand in the report, and its
notes tell how old outline and advice are.
A frame without a face forgets them: they belonged to somebody who may have gone.
Along the way the series is taken that some rules ask for: the pitch of the latest frames, the face in frames that broke no rule and showed no smile.
A LiveAssessor belongs to one thread and one person at a time; `forget` empties it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

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
        self._kept: dict[str, Finding] = {}
        self._advice_age = 0
        self._compliant = False  # the frame before
        self._outline: NDArray[np.uint8] | None = None
        self._pitch: deque[float] = deque(maxlen=PITCH_KEPT)
        self._relaxed: deque[Expression] = deque(maxlen=RELAXED_KEPT)

    def assess(
        self, image_bgr: NDArray[np.uint8], *, still_size: tuple[int, int] | None = None
    ) -> tuple[Scene, Report]:
        """Scene and report of the next frame, (H, W, 3) uint8; raises ModelFailedError."""
        scene = self._model.scene(image_bgr)
        if scene.face is None:
            self.forget()
        self._advice_age = self._advice_age + 1 if self._advice_age < ADVICE_EVERY - 1 and self._kept else 0

        def judged(kept: Mapping[str, Finding]) -> Report:
            return assess_live(image_bgr, scene, self._profile, still_size=still_size, series=self.series, kept=kept)

        report = judged(self._standing(new_outline=scene.person_mask is not self._outline))
        if self._advice_age and report.compliant and not self._compliant:
            # Advice on a head that was turned or too far away says nothing of the head that is right now.
            self._advice_age = 0
            report = judged({found.rule: found for found in report.findings if found.level is Level.REJECT})
        self._compliant = report.compliant
        if scene.face is not None:
            self._remember(scene, report)
        if not self._advice_age:
            return scene, report
        notes = (*report.notes, f"advice {self._advice_age} frames old")
        return scene, report.model_copy(update={"notes": notes})

    @property
    def series(self) -> Series | None:
        """What the frames so far measured; None before the first face."""
        if not self._pitch:
            return None
        return Series(pitch_deg=tuple(self._pitch), relaxed=tuple(self._relaxed))

    def forget(self) -> None:
        """Drops everything about the person."""
        self._kept, self._advice_age, self._compliant, self._outline = {}, 0, False, None
        self._pitch.clear()
        self._relaxed.clear()

    def _standing(self, *, new_outline: bool) -> dict[str, Finding]:
        """Findings on earlier frames that need not be made again on this one."""
        return {
            rule.id: found
            for rule in RULES
            if (found := self._kept.get(rule.id)) is not None
            and not (new_outline if rule.outline else found.level is Level.REJECT or not self._advice_age)
        }

    def _remember(self, scene: Scene, report: Report) -> None:
        self._kept = {found.rule: found for found in report.findings}
        self._outline = scene.person_mask
        pitch = next((found.value for found in report.findings if found.rule == "pose.pitch"), None)
        if pitch is not None:
            self._pitch.append(pitch)
        smiling = any(found.rule == "expression.smile" and found.verdict is Verdict.WARN for found in report.findings)
        if report.compliant and not smiling and scene.face is not None:
            self._relaxed.append(expression(scene.face.landmarks))
