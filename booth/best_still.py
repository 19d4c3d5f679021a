"""PURE. Which picture of a person is the best: most mandatory rules met, then most optional ones, then the most recent
(BSI TR-03121-3 v6.0, 4.1).

- A mandatory rule (level reject) is met when it was judged and its value lies inside the band that refuses.
- An optional rule (level warn) is met when it passed. The narrower, recommended band of a mandatory rule counts as an optional rule.
- Rules that are only told (level info) count nowhere. What could not be judged is not met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from validation.report import Level, Report, Verdict

T = TypeVar("T")


class Rank(NamedTuple):
    """Larger is better."""

    mandatory_met: int
    optional_met: int
    at_ns: int


def rank(report: Report, at_ns: int) -> Rank:
    """How good a picture is, by its report and its time."""
    mandatory = [found.verdict for found in report.findings if found.level is Level.REJECT]
    optional = [found.verdict for found in report.findings if found.level is Level.WARN]
    return Rank(
        sum(verdict in {Verdict.PASS, Verdict.WARN} for verdict in mandatory),
        sum(verdict is Verdict.PASS for verdict in (*mandatory, *optional)),
        at_ns,
    )


def best_of(pictures: Iterable[T], rank_of: Callable[[T], Rank]) -> T:
    """The best picture; the first of two that are equal in everything. ValueError for none."""
    return max(pictures, key=rank_of)
