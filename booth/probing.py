"""The presentation attack probe of one photo: when it runs, how long the shutter waits for it, when it is judged, when it is forgotten.

Rules
  - It runs in FRAMING as soon as a face is there and the portrait light is balanced; `LampKeeper.lent()` has the last word about the light. A
    probe whose lamps were taken back or failed begins again, TRIES times at most; one that came to its end is not repeated for this photo. Another try
    of the visit has a probe of its own, and the packet gets that of its photo.
  - It never stops a capture: the shutter waits WAIT_S for a running probe and then goes on, and whatever fails here is a reason without a score.
  - It is judged on the checking thread once a burst was, beside the review; sealing waits JUDGE_S for that.
  - Pictures are overwritten when they were judged, or with the visit (capture.probe.Film).
Nothing of this reaches the kiosk's state or pages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from booth.checker import Checker
from booth.errors import LampsTakenBackError
from booth.lamps import LampKeeper
from booth.pad_part import PadEvidence, attack_block, judge_film, pad_parts, without_score
from capture.probe import Film, not_run, run_probe
from capture.station import Station
from validation.face import FaceModel
from validation.pad import Reason
from validation.report import Report

log = logging.getLogger(__name__)

WAIT_S = 4.0  # the longest probe takes 3.5 s (capture.probe)
JUDGE_S = 3.0  # judging takes 0.4 s of a core (docs/pad.md); a busy machine gets several times that
TRIES = 3
LIGHT_RULES = ("light.", "background.")


def by_steady_light(report: Report) -> Report:
    """The report without what the moving lamps may break: nobody is told of a light that we ourselves change."""
    kept = tuple(finding for finding in report.findings if not finding.rule.startswith(LIGHT_RULES))
    return report.model_copy(update={"findings": kept})


class Probing:
    """The probe of the photo that is being taken; `wipe` makes it ready for the next."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._photo = 0
        self._tries = 0
        self._begun_s: float | None = None
        self._running: asyncio.Task[None] | None = None
        self._film: Film | None = None
        self._judging: asyncio.Task[PadEvidence] | None = None
        self._ending: set[asyncio.Task[Any]] = set()  # given up, not yet ended
        self.judged_ms: float | None = None  # how long the checking thread took for the newest film

    def begin(self, station: Station, lamps: LampKeeper) -> None:
        """A face is there and the light stands: runs the probe, unless it was run or is running."""
        if not self._enabled or self._film is not None or self._running is not None or self._tries >= TRIES:
            return
        if not station.lamps:
            self._film = not_run(Reason.NO_LAMPS)
        else:
            self._tries += 1
            self._begun_s = None
            self._running = asyncio.create_task(self._run(station, lamps), name="presentation attack probe")
            self._running.add_done_callback(self._ended)

    @property
    def holds_shutter(self) -> bool:
        """Whether a probe is running that is worth waiting for."""
        return self._running is not None and self._begun_s is not None and time.monotonic() - self._begun_s < WAIT_S

    async def _run(self, station: Station, lamps: LampKeeper) -> None:
        film: Film | None = None
        photo = self._photo
        try:
            async with lamps.lent() as base:  # waits for the balance
                self._begun_s = time.monotonic()
                film = await run_probe(station, base)
            if film.reason is Reason.LAMPS_FAILED and self._tries < TRIES:
                film = None
        except LampsTakenBackError:
            if film is None and self._tries >= TRIES:
                film = not_run(Reason.INTERRUPTED)
        finally:  # a film that is complete counts, though the lamps were not given back yet
            if film is not None and (self._film is not None or self._photo != photo):
                film.wipe()
            elif film is not None:
                self._film = film

    def _ended(self, task: asyncio.Task[None]) -> None:
        given_up = self._running is not task
        if not given_up:
            self._running = None
        self._ending.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("the presentation attack probe failed", exc_info=error)
            if not given_up:  # else it may be the next photo's turn
                self._film = self._film or not_run(Reason.FAILED)

    def leave(self) -> None:
        """Framing is over: a probe that still runs is given up."""
        if self._running is not None:
            self._running.cancel()
            self._ending.add(self._running)
            self._running = None

    async def left(self) -> None:
        """Waits until a probe that was given up has let go of the lamps."""
        if self._ending:
            await asyncio.wait(self._ending)

    def judge(self, checker: Checker) -> None:
        """Has the film judged, once."""
        if self._film is not None and self._judging is None:
            self._judging = asyncio.create_task(self._judge(self._film, checker), name="presentation attack score")

    async def _judge(self, film: Film, checker: Checker) -> PadEvidence:
        def work(model: FaceModel) -> tuple[PadEvidence, bool, float]:
            began = time.monotonic()
            if not film.begin():
                return without_score(Reason.INTERRUPTED), False, 0.0
            try:
                evidence = judge_film(film, model)
                # What cannot be told must fail here, where it costs no visit, and not while the packet is made.
                pad_parts(evidence)
                attack_block(evidence, None)
            finally:
                wanted = film.end()
            return evidence, wanted, (time.monotonic() - began) * 1000

        try:
            evidence, wanted, took_ms = await checker.run(work)
        except Exception:
            log.exception("a probe could not be judged")
            film.wipe()
            return without_score(Reason.FAILED)
        self.judged_ms = took_ms
        return evidence if wanted else without_score(Reason.INTERRUPTED)

    async def evidence(self) -> PadEvidence:
        """What the packet gets; waits JUDGE_S at most, and never raises but when cancelled."""
        if self._judging is None:
            if not self._enabled:
                return without_score(Reason.OFF)
            return without_score(self._film.reason or Reason.NOT_RUN if self._film is not None else Reason.NOT_RUN)
        done, _ = await asyncio.wait((self._judging,), timeout=JUDGE_S)
        return self._judging.result() if done and not self._judging.cancelled() else without_score(Reason.FAILED)

    def wipe(self) -> tuple[asyncio.Task[Any], ...]:
        """Forgets the photo's probe; returns what was given up and has not ended yet."""
        self.leave()
        if self._film is not None:
            self._film.wipe()
        if self._judging is not None and not self._judging.done():
            self._judging.cancel()
            self._ending.add(self._judging)
            self._judging.add_done_callback(self._ending.discard)
        self._film = self._judging = self._begun_s = None
        self._tries = 0
        self._photo += 1
        return tuple(self._ending)
