"""What the rules measured during the last minutes: a bounded ring of numbers, for the technician's plots.

Rules: numbers and the ids of rules only, no picture, no place in a picture, no number of an application; one row each SAMPLE_S at most, for KEPT_S; the
limits are those of the newest report. Dropped whenever a visit is cleared (the performer's wipe), so nothing of one sitter stands beside the next.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from booth.plots import Plot, draw_line
from validation.report import Report

KEPT_S = 180.0
SAMPLE_S = 0.5
GAP_S = 3.0  # a slow machine judges a frame in less; what is longer is a pause


class RuleTrace(BaseModel):
    """One rule: its newest value, its limits, and how it went."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    unit: str
    verdict: Literal["pass", "warn", "fail", "not_assessed"]
    value: float | None
    low: float | None
    high: float | None
    plot: Plot


@dataclass(frozen=True, slots=True)
class _Row:
    at_ns: int
    values: dict[str, float | None]


def family_of(rule: str) -> str:
    """What a rule is about: the first part of its id."""
    return rule.partition(".")[0]


class LiveValues:
    """The ring of one booth; used on its event loop only."""

    def __init__(self) -> None:
        self._rows: deque[_Row] = deque(maxlen=round(KEPT_S / SAMPLE_S) + 1)
        self._report: Report | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def note(self, report: Report, at_ns: int) -> None:
        """A judged frame; within SAMPLE_S of the one before it only its verdicts count."""
        self._report = report
        if self._rows and 0 <= at_ns - self._rows[-1].at_ns < SAMPLE_S * 1e9:
            return
        self._rows.append(_Row(at_ns, {finding.rule: finding.value for finding in report.findings}))

    def clear(self) -> None:
        """Nothing was measured."""
        self._rows.clear()
        self._report = None

    @property
    def families(self) -> tuple[str, ...]:
        """What there are values of, in the order of the report."""
        if self._report is None:
            return ()
        return tuple(dict.fromkeys(family_of(finding.rule) for finding in self._report.findings))

    def age_s(self, now_ns: int) -> float | None:
        """How old the newest row is; None without one."""
        return max((now_ns - self._rows[-1].at_ns) / 1e9, 0.0) if self._rows else None

    def traces(self, family: str, now_ns: int) -> tuple[RuleTrace, ...]:
        """Every rule of a family with its plot, in the order of the report."""
        if self._report is None:
            return ()
        return tuple(
            RuleTrace(
                rule=finding.rule,
                unit=finding.unit,
                verdict=finding.verdict.value,
                value=finding.value,
                low=finding.limit.low,
                high=finding.limit.high,
                plot=draw_line(
                    (((now_ns - row.at_ns) / 1e9, row.values.get(finding.rule)) for row in self._rows),
                    span_s=KEPT_S,
                    gap_s=GAP_S,
                    low=finding.limit.low,
                    high=finding.limit.high,
                ),
            )
            for finding in self._report.findings
            if family_of(finding.rule) == family
        )
