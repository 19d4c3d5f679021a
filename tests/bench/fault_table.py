"""Holds the fault bench against the measures: does every measure follow its fault, and from which strength on is it told?

    .venv/bin/python tests/bench/fault_table.py [--people anna,kwame] [--faults defocus,noise] [--csv values.csv]

Order: each grade as a file -> read, scene, judgement (as `booth check` does) -> per fault and rule one line of a Markdown table:
* steps: share of the steps between neighbouring grades (of all people) that go the right way or stay within 3 % of the whole range;
* rank: mean over the people of Spearman's rank correlation of strength and badness;
* told from: the weakest strength from which on every person's photo warns, fails, or cannot be judged by a rule that then refuses; in
  brackets the first for anybody;
* good: what the good portraits measure.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.bench.fault import Effect, Fault, encoded
from tests.bench.faults import BY_NAME, FAULTS
from tests.bench.portraits import PEOPLE, Portrait, portraits
from validation.check import judge
from validation.face import FaceModel
from validation.image import read_image
from validation.profile import Profile
from validation.report import Level, Report, Verdict
from validation.rules import load_profile

TOLERANCE = 0.03  # of the range of one person's values


@dataclass(frozen=True)
class Course:
    """One person's values of one rule over the good portrait and the grades of one fault."""

    fault: Fault
    effect: Effect
    subject: str
    values: tuple[
        float | None, ...
    ]  # badness: larger is worse, None where it could not be judged; first the good portrait
    native: tuple[float | None, ...]
    verdicts: tuple[Verdict, ...]
    blocking: bool = True  # what cannot be judged blocks too: the rule refuses

    @property
    def steps(self) -> tuple[int, int]:
        """Steps that go the right way or stay, and all steps."""
        seen = [v for v in self.values if v is not None]
        if len(seen) < 2:
            return 0, 0
        least = -TOLERANCE * (max(seen) - min(seen))
        good = sum(b - a >= least for a, b in pairwise(seen))
        return good, len(seen) - 1

    def follows(self, tolerance: float) -> bool:
        """No step back by more than this share of the range, unless both grades are told: how gross is gross does not matter."""
        seen = [(v, verdict) for v, verdict in zip(self.values, self.verdicts, strict=True) if v is not None]
        least = -tolerance * (max(v for v, _ in seen) - min(v for v, _ in seen))
        return all(b - a >= least or Verdict.PASS not in {first, second} for (a, first), (b, second) in pairwise(seen))

    @property
    def rank(self) -> float | None:
        """Spearman's correlation of strength and badness."""
        seen = np.array([v for v in self.values if v is not None])
        if len(seen) < 2 or float(np.ptp(seen)) <= 0:
            return None
        order = np.array([(np.sum(seen < v) + np.sum(seen <= v) - 1) / 2 for v in seen])
        return float(np.corrcoef(np.arange(len(seen)), order)[0, 1])

    def told(self) -> int | None:
        """The first grade from which on every grade is told."""
        first = None
        for grade in range(len(self.fault.strengths), 0, -1):
            verdict = self.verdicts[grade]
            if verdict is Verdict.PASS or (verdict is Verdict.NOT_ASSESSED and not self.blocking):
                break
            first = grade
        return first


def report_of(data: bytes, profile: Profile, model: FaceModel) -> Report:
    """The judgement of a file as submitted."""
    pixels, facts = read_image(data)
    return judge(pixels, model.scene(pixels), profile, source=facts)


def badness(effect: Effect, profile: Profile, value: float) -> float:
    """The value turned so that larger is worse."""
    if effect.moves != "worse":
        return value if effect.moves == "up" else -value
    limits = profile.rules[effect.rule]
    low = limits.low if limits.low is not None else limits.warn_low
    high = limits.high if limits.high is not None else limits.warn_high
    if low is not None and high is not None:
        return abs(value - (low + high) / 2)
    return -value if low is not None else value


def good_report(portrait: Portrait, profile: Profile, model: FaceModel, *, lossless: bool) -> Report:
    """The judgement of the good portrait, through the same encoder as its faults, so that a step is the fault's own."""
    return report_of(encoded(portrait.pixels, lossless=lossless)[0], profile, model)


def courses(
    portrait: Portrait,
    fault: Fault,
    profile: Profile,
    model: FaceModel,
    good: Report,
    grades: tuple[int, ...] | None = None,
) -> Iterator[Course]:
    """The courses of a fault's rules on one person; of all grades, or of some (counted from 0)."""
    effects = [e for e in fault.effects if e.rule in profile.rules]
    if not effects:
        return
    chosen = [s for n, s in enumerate(fault.strengths) if grades is None or n in grades]
    reports = [good, *(report_of(fault.file(portrait, s)[0], profile, model) for s in chosen)]
    for effect in effects:
        findings = [report.finding(effect.rule) for report in reports]
        native = tuple(f.value for f in findings)
        yield Course(
            fault=fault,
            effect=effect,
            subject=portrait.subject,
            values=tuple(None if v is None else badness(effect, profile, v) for v in native),
            native=native,
            verdicts=tuple(f.verdict for f in findings),
            blocking=findings[0].level is Level.REJECT,
        )


def _strength(fault: Fault, grade: int | None) -> str:
    return "never" if grade is None else f"{fault.strengths[grade - 1]:g}"


def line(found: list[Course]) -> str:
    """One line of the table: the same fault and rule, several people."""
    fault, effect = found[0].fault, found[0].effect
    right = [c.steps for c in found]
    total = sum(n for _, n in right)
    ranks = [r for c in found if (r := c.rank) is not None]
    told = [c.told() for c in found]
    everybody = None if None in told else max(t for t in told if t is not None)
    anybody = min((t for t in told if t is not None), default=None)
    refused = "" if effect.refused is None else f"{fault.strengths[effect.refused]:g}"
    good = [c.native[0] for c in found if c.native[0] is not None]
    return (
        f"| {fault.name} | `{effect.rule}` | {fault.unit} | {f'{sum(g for g, _ in right) / total:.0%}' if total else '—'} "
        f"| {f'{np.mean(ranks):.2f}' if ranks else '—'} | {refused} "
        f"| {_strength(fault, everybody)} ({_strength(fault, anybody)}) "
        f"| {f'{min(good):.3g} to {max(good):.3g}' if good else 'not assessed'} |"
    )


def table(found: list[Course]) -> str:
    """The Markdown table."""
    groups: dict[tuple[str, str], list[Course]] = {}
    for course in found:
        groups.setdefault((course.fault.name, course.effect.rule), []).append(course)
    head = "| fault | rule | strength in | steps | rank | refused from | told from (first) | good |\n|---|---|---|---|---|---|---|---|\n"
    return head + "\n".join(line(group) for group in groups.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Holds the fault bench against the measures.")
    parser.add_argument("--people", default=",".join(PEOPLE), help="names, with commas")
    parser.add_argument("--faults", default=",".join(BY_NAME), help="names, with commas")
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--csv", type=Path, help="also write every value")
    told = parser.parse_args()
    profile = load_profile(told.profile)
    faults = [fault for fault in FAULTS if fault.name in told.faults.split(",")]
    found: list[Course] = []
    with FaceModel() as model:
        for portrait in portraits(model, tuple(told.people.split(","))):
            good = {kind: good_report(portrait, profile, model, lossless=kind) for kind in (False, True)}
            for fault in faults:
                found.extend(courses(portrait, fault, profile, model, good[fault.lossless]))
    found.sort(key=lambda c: (faults.index(c.fault), c.effect.rule))
    print(table(found))
    if told.csv:
        with told.csv.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["fault", "rule", "subject", "grade", "strength", "value", "verdict", "label"])
            for course in found:
                for grade, (value, verdict) in enumerate(zip(course.native, course.verdicts, strict=True)):
                    strength = course.fault.strengths[grade - 1] if grade else 0
                    label = course.effect.label(grade - 1) if grade else 0
                    rows.writerow(
                        [course.fault.name, course.effect.rule, course.subject, grade, strength, value, verdict, label]
                    )


if __name__ == "__main__":
    main()
