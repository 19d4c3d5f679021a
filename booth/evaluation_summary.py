"""PURE: from every photo's findings and labels to the figures of `booth evaluate`.

Counted per rule, over the photos whose label is known:
  false rejects   compliant photos that warn or fail;
  false accepts   photos that do not comply and pass;
  not assessed    per class; neither of the above.
The error rates of the curve are told twice where photos were not assessed: `counted` takes such a photo as the least compliant of all, as the
public FICV competition takes a rejection and as a refusing rule does; `judged` leaves it out. A photo that could not be read
is not assessed by every rule that it has a label for.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from booth.dataset import Labelled
from booth.evaluation import Band, Curve, Interval, curve, interval
from validation.profile import Profile
from validation.report import Verdict
from validation.rules import RULES

# Below this many photos a rate per skin-tone group is no finding.
FEWEST_FOR_A_CLAIM = 20
UNKNOWN_GROUP = "unknown"


@dataclass(frozen=True, slots=True)
class Scored:
    """What one rule said of one photo."""

    value: float | None
    verdict: Verdict
    reason: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one photo."""

    findings: Mapping[str, Scored] = field(default_factory=dict)
    skin: str | None = None  # group by measured skin tone
    ita_deg: float | None = None
    error: str | None = None  # why it could not be judged at all


@dataclass(frozen=True, slots=True)
class Figures:
    """One rule's counts and error rates over some photos; rates 0..1."""

    rule: str
    compliant: int
    others: int
    false_rejects: int
    false_accepts: int
    unassessed_compliant: int
    unassessed_others: int
    counted: Curve | None  # None without both classes, and when no photo was judged
    judged: Curve | None  # the same without the photos that were not assessed; None when that leaves a class empty
    interval: Interval | None = None

    @property
    def unassessed(self) -> int:
        """Of both classes."""
        return self.unassessed_compliant + self.unassessed_others

    @property
    def eer(self) -> float | None:
        """Not assessed counted as not compliant."""
        return self.counted.eer if self.counted else None

    @property
    def eer_judged(self) -> float | None:
        """Not assessed left out."""
        return self.judged.eer if self.judged else None


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the photos: those of one group."""

    name: str
    photos: int
    rules: tuple[Figures, ...]

    @property
    def compliant(self) -> int:
        """Labels that say so."""
        return sum(r.compliant for r in self.rules)

    @property
    def others(self) -> int:
        """Labels of the other kind."""
        return sum(r.others for r in self.rules)


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that `booth evaluate` tells."""

    profile: Profile
    photos: int
    subjects: int | None  # None: not given, each photo stands for itself
    unjudged: tuple[tuple[str, str], ...]  # file, why
    ignored: tuple[str, ...]  # labelled rules that the profile does not judge
    rules: tuple[Figures, ...]
    groups: tuple[Part, ...]
    skin: tuple[Part, ...]

    @property
    def eers(self) -> list[float]:
        """Of the rules with both classes."""
        return [r.eer for r in self.rules if r.eer is not None]

    @property
    def eers_judged(self) -> list[float]:
        """The same without what was not assessed."""
        return [r.eer_judged for r in self.rules if r.eer_judged is not None]


def mean_and_median(eers: Sequence[float]) -> tuple[float, float] | None:
    """None without any."""
    return (statistics.fmean(eers), statistics.median(eers)) if eers else None


Pair = tuple[Labelled, Answer]


def scored(one: Pair, rule: str) -> Scored:
    """What the rule said; of an unread photo, that it was not assessed."""
    return one[1].findings.get(rule) or Scored(None, Verdict.NOT_ASSESSED, one[1].error)


def score(one: Pair, rule: str, band: Band) -> float:
    """The position on the rule's axis, infinite when it was not assessed."""
    value = scored(one, rule).value
    return math.inf if value is None else band.score(value)


def figures(rule: str, band: Band, pairs: Iterable[Pair], *, with_interval: bool) -> Figures:
    """One rule over the photos that have a label for it."""
    known = [p for p in pairs if rule in p[0].labels]
    good = [p for p in known if not p[0].labels[rule]]
    bad = [p for p in known if p[0].labels[rule]]
    verdicts_good = [scored(p, rule).verdict for p in good]
    verdicts_bad = [scored(p, rule).verdict for p in bad]
    scores_good, scores_bad = [score(p, rule, band) for p in good], [score(p, rule, band) for p in bad]
    judged_good, judged_bad = [s for s in scores_good if s < math.inf], [s for s in scores_bad if s < math.inf]
    # A rule that judged none of the photos (it needs several frames, say) was not evaluated.
    both = bool(good and bad) and bool(judged_good or judged_bad)
    units = [_unit(p) for p in (*good, *bad)]
    marks = [False] * len(good) + [True] * len(bad)
    return Figures(
        rule=rule,
        compliant=len(good),
        others=len(bad),
        false_rejects=sum(v in {Verdict.WARN, Verdict.FAIL} for v in verdicts_good),
        false_accepts=sum(v is Verdict.PASS for v in verdicts_bad),
        unassessed_compliant=sum(v is Verdict.NOT_ASSESSED for v in verdicts_good),
        unassessed_others=sum(v is Verdict.NOT_ASSESSED for v in verdicts_bad),
        counted=curve(scores_good, scores_bad) if both else None,
        judged=curve(judged_good, judged_bad) if judged_good and judged_bad else None,
        interval=interval([*scores_good, *scores_bad], marks, units) if both and with_interval else None,
    )


def _unit(one: Pair) -> tuple[str, str]:
    """Whom a photo shows; without a name, the photo itself."""
    return ("subject", one[0].subject) if one[0].subject else ("file", one[0].file)


def summarise(photos: Sequence[Labelled], answers: Sequence[Answer], profile: Profile) -> Summary:
    """All figures. `answers`: one per photo, in the same order."""
    pairs = list(zip(photos, answers, strict=True))
    labelled = {rule for photo in photos for rule in photo.labels}
    order = [rule.id for rule in RULES if rule.id in labelled]
    rules = [rule for rule in order if rule in profile.rules]
    bands = {rule: Band.of(profile.rules[rule]) for rule in rules}

    def part(name: str, some: Sequence[Pair]) -> Part:
        told = (figures(rule, bands[rule], some, with_interval=False) for rule in rules)
        return Part(name, len(some), tuple(f for f in told if f.compliant + f.others))

    groups = {p[0].group for p in pairs} - {None}
    skins = [p[1].skin or UNKNOWN_GROUP for p in pairs]
    subjects = {p[0].subject for p in pairs} - {None}
    return Summary(
        profile=profile,
        photos=len(pairs),
        subjects=len(subjects) or None,
        unjudged=tuple((p[0].file, p[1].error) for p in pairs if p[1].error is not None),
        ignored=tuple(rule for rule in order if rule not in profile.rules),
        rules=tuple(figures(rule, bands[rule], pairs, with_interval=True) for rule in rules),
        groups=tuple(part(str(g), [p for p in pairs if p[0].group == g]) for g in sorted(map(str, groups))),
        skin=tuple(part(s, [p for p, own in zip(pairs, skins, strict=True) if own == s]) for s in skin_order(skins)),
    )


def skin_order(names: Iterable[str]) -> list[str]:
    """From light to dark, the unknown last."""
    from validation.skin import GROUPS

    order = [name for _, name in GROUPS]
    return sorted(set(names), key=lambda name: order.index(name) if name in order else len(order))


def rate(part: int, whole: int) -> float | None:
    """None of nothing."""
    return part / whole if whole else None


def claimed(part: int, whole: int) -> str:
    """A rate of a skin-tone group for people: no claim on few photos."""
    if whole == 0:
        return "-"
    return f"{100 * part / whole:.1f} %" if whole >= FEWEST_FOR_A_CLAIM else f"n < {FEWEST_FOR_A_CLAIM}"
