"""PURE: the newest self-tests and the trends in the few numbers that a heartbeat tells (crypto/heartbeat.py) and the event log repeats."""

from __future__ import annotations

from collections.abc import Sequence

from booth.self_test import CheckFinding
from booth.trends import Trend
from crypto.heartbeat import MAX_CHECKS, ComingLimit, PoorCheck, SelfTests
from crypto.package import read_instant


def summarise(*, tested_at: str | None, findings: Sequence[CheckFinding], trends: Sequence[Trend]) -> SelfTests:
    """The summary of a run and the trends."""
    count = {verdict: sum(each.verdict == verdict for each in findings) for verdict in _VERDICTS}
    poor = [
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
    ]
    coming = [
        ComingLimit(id=each.check, days=each.crosses_in_days) for each in trends if each.crosses_in_days is not None
    ]
    return SelfTests(
        tested_at=None if tested_at is None else read_instant(tested_at),
        passed=count["pass"],
        warned=count["warn"],
        failed=count["fail"],
        not_assessed=count["not_assessed"],
        poor=tuple(poor[:MAX_CHECKS]),
        coming=tuple(coming[:MAX_CHECKS]),
    )


_VERDICTS = ("pass", "warn", "fail", "not_assessed")
