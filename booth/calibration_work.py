"""The calibration as a technician's work sees it: what is in force, how far it drifted from its baseline, and the run under way.

A new calibration is compared with the baseline of the newest one, unless it is to be a baseline itself; where the stored one cannot be believed, the new one
begins anew; likewise where that one is dated later than now, by a clock that was ahead. It is signed and stored before it counts, and then used at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from booth.bench import Bench
from capture.calibration import Calibration, Drift, drift
from capture.calibration_run import CalibrationRun, Step, StepState, Subject
from crypto.errors import CryptoError
from validation.check import software


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CalibrationNow(_Value):
    """The calibration in force."""

    id: str
    made_at: AwareDatetime
    expires_at: AwareDatetime
    age_days: float
    expired: bool


class CalibrationView(_Value):
    """Everything that a page shows of calibrations."""

    steps: tuple[Step, ...] = ()  # of the run under way, or the last one
    current: CalibrationNow | None = None
    drift: tuple[Drift, ...] = ()  # of the one in force against its baseline; empty for a baseline

    @property
    def beyond(self) -> tuple[Drift, ...]:
        """What drifted too far."""
        return tuple(row for row in self.drift if row.beyond)


def read_view(bench: Bench, steps: tuple[Step, ...] = ()) -> CalibrationView:
    """What is in force; nothing where the stored one cannot be believed (a self-test tells that). Blocks."""
    try:
        known = bench.calibration()
        first = None if known is None else bench.baseline()
    except (CryptoError, OSError):
        return CalibrationView(steps=steps)
    if known is None:
        return CalibrationView(steps=steps)
    rows = () if first is None or first.id == known.id else drift(known, first)
    return CalibrationView(steps=steps, current=now_of(known, bench.utc()), drift=rows)


def now_of(known: Calibration, now: datetime) -> CalibrationNow:
    """In words of a page."""
    return CalibrationNow(
        id=known.id,
        made_at=known.made_at,
        expires_at=known.expires_at,
        age_days=round(known.age_days(now), 2),
        expired=known.expired(now),
    )


def make_run(bench: Bench, *, baseline: bool) -> CalibrationRun:
    """A run for this booth; blocks for what it is compared with."""
    try:
        first = None if baseline else bench.baseline()
    except (CryptoError, OSError):
        first = None
    if first is not None and first.made_at > bench.utc():
        first = None
    subject = Subject(booth=bench.config.booth.id, software=software(), baseline_id=None if first is None else first.id)
    return CalibrationRun(bench.station, bench.calibration_settings, subject, utc=bench.utc)


async def calibrate(bench: Bench, run: CalibrationRun, tell: Callable[[str], None]) -> Calibration:
    """Performs the run, stores what it found, uses it; once it is being stored it is not cancelled any more, because a file that is there counts.

    Raises a CaptureError, HardwareError, CryptoError or OSError.
    """
    async with bench.lamps():
        found = await run.perform()
    storing = asyncio.create_task(bench.blocking(bench.save, found), name="calibration is stored")
    while not storing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((storing,))
    storing.result()
    bench.adopt(found)
    view = await bench.blocking(read_view, bench)
    beyond = ", ".join(row.key for row in view.beyond)
    tell(f"calibration {found.id} stored" + (f"; beyond its limit against the baseline: {beyond}" if beyond else ""))
    return found


def failed(steps: tuple[Step, ...]) -> str:
    """Why a run ended early, in words."""
    return next((step.problem or step.key for step in steps if step.state is StepState.FAILED), "")
