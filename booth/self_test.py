"""PURE: what a self-test of the booth is, what it measures, and the finding that comes of it.

A `Check` is a line of the table in booth/diagnostics.py: what is measured, in which unit, within which limits and why those, and which causes it can
tell. A cause has its words in the catalogues: `cause.<id>` says what is wrong, `remedy.<id>` what a technician does about it.

Judging: outside `low`..`high` the check failed; outside the narrower `warn_low`..`warn_high` it warns. The test itself may say the cause, and a graver
verdict than its value; a value beyond its limit without a cause gets the check's first one. What could not be measured is `not_assessed`
and says why, or `fail` when a device that should be there does not answer; a value that is no finite number was not measured, and fails. No finding
holds personal data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

Verdict = Literal["pass", "warn", "fail", "not_assessed"]
GRAVITY: Mapping[Verdict, int] = {"pass": 0, "not_assessed": 1, "warn": 2, "fail": 3}


class CheckFinding(BaseModel):
    """What one self-test found."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    verdict: Verdict
    cause: str | None = None  # message keys; None when nothing is wrong
    remedy: str | None = None
    about: dict[str, str] = {}  # what fills the braces of those texts: names of lamps and devices, never of people
    took_ms: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a test brings back. Limits given here replace those of the table (some follow from the booth's settings)."""

    value: float | None = None
    cause: str | None = None
    verdict: Verdict | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a value belongs, where it should be, and why."""

    low: float | None = None
    high: float | None = None
    warn_low: float | None = None
    warn_high: float | None = None
    source: str = ""


def judge(
    check_id: str, unit: str, limits: Limits, causes: tuple[str, ...], measured: Measured, took_ms: float
) -> CheckFinding:
    """The finding of what was measured."""
    if measured.value is not None and not math.isfinite(measured.value):  # compares with no limit, and is no JSON
        measured = replace(measured, value=None, verdict="fail")
    low = limits.low if measured.low is None else measured.low
    high = limits.high if measured.high is None else measured.high
    verdict = _verdict(measured.value, low, high, limits)
    if measured.verdict is not None and GRAVITY[measured.verdict] > GRAVITY[verdict]:
        verdict = measured.verdict
    if measured.value is None and measured.verdict is None:
        verdict = "not_assessed"
    cause = measured.cause
    if verdict == "pass":
        cause = None
    elif cause is None and verdict != "not_assessed":
        cause = causes[0]
    return CheckFinding(
        id=check_id,
        value=None if measured.value is None else round(measured.value, 3),
        unit=unit,
        low=None if low is None else round(low, 3),
        high=None if high is None else round(high, 3),
        verdict=verdict,
        cause=None if cause is None else f"cause.{cause}",
        remedy=None if cause is None else f"remedy.{cause}",
        about=dict(measured.about),
        took_ms=round(took_ms, 1),
    )


def _verdict(value: float | None, low: float | None, high: float | None, limits: Limits) -> Verdict:
    if value is None:
        return "pass"  # of its own it says nothing; the test's own verdict counts
    if _outside(value, low, high):
        return "fail"
    return "warn" if _outside(value, limits.warn_low, limits.warn_high) else "pass"


def _outside(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)
