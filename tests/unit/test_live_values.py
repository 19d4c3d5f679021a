"""The ring of what the rules measured: bounded, numbers only, empty after a visit."""

from __future__ import annotations

import pytest

from booth.live_values import KEPT_S, LiveValues
from validation.report import Finding, Level, Limit, Report, Verdict

SECOND = 1_000_000_000


def report(**values):
    findings = tuple(
        Finding(
            rule=rule.replace("__", "."), value=value, unit="°", limit=Limit(high=5), source="test", advice="advice.none",
            level=Level.REJECT, verdict=Verdict.FAIL if value is not None and value > 5 else Verdict.PASS,
        )
        for rule, value in values.items()
    )  # fmt: skip
    return Report(
        profile="demo", profile_version="1", judged="live", width=6, height=8, findings=findings, software="test"
    )


def test_a_rule_is_told_with_its_limit_its_verdict_and_how_it_went():
    ring = LiveValues()
    for at, yaw in enumerate((1.0, 2.0, 7.0)):
        ring.note(report(pose__yaw=yaw, light__even=3.0), at * SECOND)
    assert ring.families == ("pose", "light")
    (trace,) = ring.traces("pose", 3 * SECOND)
    assert (trace.rule, trace.value, trace.high, trace.verdict) == ("pose.yaw", 7.0, 5, "fail")
    assert (trace.plot.least, trace.plot.most) == (1.0, 7.0)
    assert len(trace.plot.lines[0]) == 3
    assert ring.age_s(3 * SECOND) == 1.0
    assert ring.traces("eyes", 0) == ()


def test_two_rows_a_second_are_kept_for_three_minutes_and_no_longer():
    ring = LiveValues()
    for at in range(10_000):
        ring.note(report(pose__yaw=float(at)), at * SECOND // 10)
    assert len(ring) <= 2 * KEPT_S + 1
    (trace,) = ring.traces("pose", 1000 * SECOND)
    assert trace.plot.least >= 10 * (1000 - KEPT_S) - 1
    assert trace.value == 9999.0, "the newest verdict counts although no row was written for it"


@pytest.mark.parametrize("use", [lambda ring: ring.traces("pose", 0), lambda ring: ring.families])
def test_after_a_visit_nothing_is_left(use):
    ring = LiveValues()
    ring.note(report(pose__yaw=1.0), 0)
    ring.clear()
    assert (len(ring), use(ring), ring.age_s(0)) == (0, (), None)


def test_a_value_that_could_not_be_measured_is_a_gap():
    ring = LiveValues()
    for at, yaw in enumerate((1.0, None, 2.0)):
        ring.note(report(pose__yaw=yaw), at * SECOND)
    assert [len(line) for line in ring.traces("pose", 3 * SECOND)[0].plot.lines] == [1, 1]
