"""The best picture of several: most mandatory rules met, then most optional ones, then the most recent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.best_still import best_of, rank
from validation.report import Finding, Level, Limit, Report, Verdict

PASS, WARN, FAIL, UNJUDGED = Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.NOT_ASSESSED
# What a level can say: only a mandatory rule fails.
VERDICTS = {
    Level.REJECT: (PASS, WARN, FAIL, UNJUDGED),
    Level.WARN: (PASS, WARN, UNJUDGED),
    Level.INFO: (PASS, WARN, UNJUDGED),
}
LEVELS = (*[Level.REJECT] * 4, *[Level.WARN] * 3, Level.INFO)


def report(*verdicts: Verdict) -> Report:
    findings = tuple(
        Finding(
            rule=f"rule.{at}", value=1.0, unit="", limit=Limit(), verdict=verdict, level=level, source="test", advice=""
        )
        for at, (level, verdict) in enumerate(zip(LEVELS, verdicts, strict=True))
    )
    return Report(
        profile="p", profile_version="1", judged="crop", width=6, height=8, findings=findings, software="test"
    )


reports = st.tuples(*(st.sampled_from(VERDICTS[level]) for level in LEVELS)).map(lambda verdicts: report(*verdicts))
pictures = st.lists(
    st.tuples(reports, st.integers(0, 50)), min_size=1, max_size=8, unique_by=lambda picture: picture[1]
)


def met(shown: Report, level: Level, *verdicts: Verdict) -> int:
    return sum(found.level is level and found.verdict in verdicts for found in shown.findings)


def optional(shown: Report) -> int:
    return met(shown, Level.WARN, PASS) + met(shown, Level.REJECT, PASS)


@given(pictures)
def test_nothing_beats_the_best_by_the_rule_in_its_own_words(shown):
    best, at_ns = best_of(shown, lambda picture: rank(*picture))
    for other, other_ns in shown:
        mandatory = met(best, Level.REJECT, PASS, WARN) - met(other, Level.REJECT, PASS, WARN)
        assert mandatory >= 0
        if mandatory == 0:
            assert optional(best) >= optional(other)
            if optional(best) == optional(other):
                assert at_ns >= other_ns


@given(pictures, st.randoms())
def test_the_order_in_which_the_pictures_come_does_not_matter(shown, random):
    mixed = random.sample(shown, len(shown))
    assert best_of(mixed, lambda p: rank(*p)) == best_of(shown, lambda p: rank(*p))


@given(reports, st.integers(0, len(LEVELS) - 1))
def test_a_rule_that_is_met_in_addition_never_makes_a_picture_worse(shown, at):
    better = shown.model_copy(
        update={
            "findings": tuple(
                found.model_copy(update={"verdict": PASS}) if number == at else found
                for number, found in enumerate(shown.findings)
            )
        }
    )
    assert rank(better, 1) >= rank(shown, 1)


@given(reports, reports)
def test_a_picture_that_passes_beats_every_one_that_does_not_however_many_optional_rules_that_meets(one, other):
    if one.compliant and not other.compliant:
        assert rank(one, 1) > rank(other, 10**18)


def test_what_is_only_told_counts_nowhere_and_the_later_of_two_equals_wins():
    told = report(*[PASS] * 7, WARN)
    assert rank(told, 5)[:2] == rank(report(*[PASS] * 8), 5)[:2] == (4, 7)
    assert best_of([5, 9, 7], lambda at_ns: rank(told, at_ns)) == 9
    with pytest.raises(ValueError, match="empty"):
        best_of([], lambda at_ns: rank(told, at_ns))
