"""PURE: what a booth says of its health in a few numbers, for whoever watches many booths. No personal data, nothing of a visit.

The intake takes no heartbeat yet; the line that a nightly run leaves in the event log shows what one will hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from booth.self_test import CheckFinding
from booth.trends import Trend

FORMAT = "passbooth.heartbeat/1"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PoorCheck(_Value):
    """A check that is not in order."""

    id: str
    verdict: Literal["warn", "fail"]
    cause: str | None
    value: float | None
    unit: str
    low: float | None
    high: float | None


class ComingLimit(_Value):
    """A check that will cross its limit."""

    id: str
    days: float


class HeartbeatSummary(_Value):
    """One booth's health by its newest self-tests."""

    format: Literal["passbooth.heartbeat/1"] = "passbooth.heartbeat/1"
    booth: str
    software: str
    tested_at: str | None  # UTC, ISO 8601; None before the first run
    passed: int = 0
    warned: int = 0
    failed: int = 0
    not_assessed: int = 0
    poor: tuple[PoorCheck, ...] = ()
    coming: tuple[ComingLimit, ...] = ()
    out_of_service: str | None = None  # reason class of the switch

    @property
    def line(self) -> str:
        """In words, for the event log."""
        if self.tested_at is None:
            return "no self-tests yet"
        counts = (
            f"{self.passed} in order, {self.warned} to watch, {self.failed} failed, {self.not_assessed} not assessed"
        )
        poor = ", ".join(each.id for each in self.poor)
        coming = ", ".join(f"{each.id} in {each.days:.0f} days" for each in self.coming)
        return counts + (f"; see to {poor}" if poor else "") + (f"; limits ahead: {coming}" if coming else "")


def summarise(
    *,
    booth: str,
    software: str,
    tested_at: str | None,
    findings: Sequence[CheckFinding],
    trends: Sequence[Trend],
    out_of_service: str | None,
) -> HeartbeatSummary:
    """The summary of a run and the trends."""
    count = {verdict: sum(each.verdict == verdict for each in findings) for verdict in _VERDICTS}
    return HeartbeatSummary(
        booth=booth,
        software=software,
        tested_at=tested_at,
        passed=count["pass"],
        warned=count["warn"],
        failed=count["fail"],
        not_assessed=count["not_assessed"],
        poor=tuple(
            PoorCheck(
                id=each.id,
                verdict="fail" if each.verdict == "fail" else "warn",
                cause=None if each.cause is None else each.cause.removeprefix("cause."),
                value=each.value,
                unit=each.unit,
                low=each.low,
                high=each.high,
            )
            for each in sorted(findings, key=lambda one: one.verdict != "fail")
            if each.verdict in {"warn", "fail"}
        ),
        coming=tuple(
            ComingLimit(id=each.check, days=each.crosses_in_days) for each in trends if each.crosses_in_days is not None
        ),
        out_of_service=out_of_service,
    )


_VERDICTS = ("pass", "warn", "fail", "not_assessed")
