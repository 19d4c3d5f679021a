"""What the packet page shows of the visit's attempts and of a release by staff, as the booth's signed packet tells them. PURE.

Names of rules, reasons and actions come from the desk's catalogues; what the desk has no word for is shown as it came, cleaned (server/records.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from server.attempt_records import AttemptRecord, AttemptsRecord
from server.messages import Language
from server.records import Verdict, VisitRecord
from server.views import NOTHING, Fact, instant_text, known_text, limit_text, with_unit, word_text

# The parts of visit.json that have a card of their own.
OF_RELEASE = ("override.", "assistance")


@dataclass(frozen=True, slots=True)
class AttemptMark:
    """A rule that an attempt's chosen picture does not meet."""

    name: str
    verdict: str
    tone: str
    measured: str
    limit: str


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """One attempt."""

    number: str
    at: str
    stills: str
    result: str
    tone: str
    marks: tuple[AttemptMark, ...]


@dataclass(frozen=True, slots=True)
class AttemptsCard:
    """All attempts of the visit, and what failed on the way."""

    lines: tuple[AttemptLine, ...]
    troubles: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class ReleaseCard:
    """Who let the portrait pass, why, when and although which rules; and what else staff did."""

    facts: tuple[Fact, ...]
    actions: tuple[Fact, ...]


def attempts_card(record: AttemptsRecord | None, language: Language) -> AttemptsCard | None:
    """The card; None when the packet tells of no attempt."""
    if record is None or not (record.attempts or record.errors):
        return None
    lines = tuple(_attempt(number, attempt, language) for number, attempt in enumerate(record.attempts, 1))
    troubles = tuple(Fact(instant_text(one.at, language) or NOTHING, one.code, code=True) for one in record.errors)
    return AttemptsCard(lines, troubles)


def _attempt(number: int, attempt: AttemptRecord, language: Language) -> AttemptLine:
    best = attempt.best
    findings = best.findings if best else ()
    # A picture of no findings meets nothing; the booth's own word of the whole is not needed where its findings tell it.
    marks = tuple(
        AttemptMark(
            known_text(f"rule.{finding.rule}.name", finding.rule, language),
            language(f"verdict.{finding.verdict}"),
            "bad" if finding.verdict is Verdict.FAIL else "care",
            with_unit(finding.value, finding.unit, language) or NOTHING,
            limit_text(finding.limit, finding.unit, language),
        )
        for finding in findings
        if finding.verdict not in {Verdict.PASS, Verdict.NOT_ASSESSED}
    )
    good = best is not None and best.compliant and bool(findings)
    return AttemptLine(
        language.number(number, 0),
        instant_text(attempt.at, language) or NOTHING,
        language.number(len(attempt.stills), 0),
        language("result.compliant" if good else "result.not_compliant"),
        "good" if good else "bad",
        marks,
    )


def release_card(visit: VisitRecord | None, language: Language) -> ReleaseCard | None:
    """The card; None when no staff had to do with the visit."""
    if visit is None:
        return None
    told = dict(visit.facts)
    actions = tuple(_actions(told, language))
    if not visit.released and not actions:
        return None
    facts = []
    if visit.released:
        rules = [one for one in visit.fact("override.open_rules").split(", ") if one]
        facts = [
            Fact(language("visit.override.staff"), visit.fact("override.staff") or NOTHING, code=True),
            Fact(
                language("visit.override.reason_class"),
                word_text("visit.override.reason_class", visit.fact("override.reason_class"), language) or NOTHING,
            ),
            Fact(language("visit.override.at"), instant_text(visit.fact("override.at"), language) or NOTHING),
            Fact(
                language("visit.override.open_rules"),
                ", ".join(known_text(f"rule.{rule}.name", rule, language) for rule in rules) or NOTHING,
            ),
        ]
    return ReleaseCard(tuple(facts), actions)


def _actions(told: dict[str, str], language: Language) -> list[Fact]:
    """What staff did in the order in which it was told: `assistance.1.action`, `.staff`, `.at`."""
    found = []
    for number in range(1, len(told) + 1):
        action = told.get(f"assistance.{number}.action")
        if action is None:
            break
        staff = told.get(f"assistance.{number}.staff") or NOTHING
        at = instant_text(told.get(f"assistance.{number}.at", ""), language)
        found.append(Fact(word_text("release.action", action, language), " · ".join(filter(None, (staff, at)))))
    return found
