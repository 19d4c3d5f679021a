"""From a second opinion to the lines of its card. PURE.

Names, units and numbers as on the packet page (server/views.py); what both reports say themselves (software, profile) is shown as it came, cleaned.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.messages import Language
from server.recheck import Row, SecondOpinion, Standing
from server.records import FindingRecord
from server.views import NOTHING, Fact, known_text, limit_text, with_unit

TONES = {
    Standing.CONTRADICTION: "bad",
    Standing.LEFT_OUT: "bad",
    Standing.LIMITS: "bad",
    Standing.VALUE: "care",
    Standing.CLOSE: "none",
    Standing.UNJUDGED: "none",
    Standing.BOOTH_ONLY: "none",
    Standing.AGREES: "good",
}
VERDICT_TONES = {"pass": "good", "warn": "care", "fail": "bad"}


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two says of a rule."""

    value: str
    verdict: str
    tone: str
    limit: str


@dataclass(frozen=True, slots=True)
class RecheckLine:
    """One rule, twice."""

    rule: str
    name: str
    booth: Side
    desk: Side
    difference: str
    standing: str
    tone: str
    striking: bool
    limits: tuple[str, str] | None  # where they differ: the booth's and the profile's


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence beside the rules, and how grave it is."""

    text: str
    tone: str


@dataclass(frozen=True, slots=True)
class RecheckCard:
    """What the two say together, and each rule."""

    verdict: str
    tone: str
    remarks: tuple[Remark, ...]
    facts: tuple[Fact, ...]
    striking: tuple[RecheckLine, ...]
    rest: tuple[RecheckLine, ...]
    rest_told: str


def recheck_card(opinion: SecondOpinion, language: Language) -> RecheckCard:
    """The card of a second opinion."""
    lines = tuple(_line(row, language) for row in opinion.rows)
    rest = tuple(line for line in lines if not line.striking)
    agreed = opinion.counts()[Standing.AGREES] + opinion.counts()[Standing.CLOSE]
    key = "agrees"
    if not opinion.agrees:
        alone = "differs" if opinion.comparable else "incomparable"
        key = "refuses" if opinion.blocks and opinion.booth.compliant else alone
    tone = {"agrees": "good", "refuses": "bad", "differs": "care", "incomparable": "bad"}[key]
    if any(line.tone == "bad" for line in lines) or (opinion.chip and not opinion.chip.same_picture):
        tone = "bad"
    return RecheckCard(
        verdict=language(f"recheck.{key}"),
        tone=tone,
        remarks=tuple(_remarks(opinion, language)),
        facts=tuple(_facts(opinion, language)),
        striking=tuple(line for line in lines if line.striking),
        rest=rest,
        rest_told=language("recheck.rest", count=language.number(agreed, 0), rules=language.number(len(lines), 0)),
    )


def _remarks(opinion: SecondOpinion, language: Language) -> list[Remark]:
    remarks = []
    if opinion.chip is not None and not opinion.chip.same_picture:
        key = "recheck.chip_other" if opinion.chip.ssim is not None else "recheck.chip_unreadable"
        remarks.append(Remark(language(key), "bad"))
    if not opinion.same_profile:
        remarks.append(Remark(language("recheck.other_profile"), "care"))
    if not opinion.same_software:
        remarks.append(Remark(language("recheck.other_software"), "none"))
    return remarks


def _facts(opinion: SecondOpinion, language: Language) -> list[Fact]:
    booth, desk = opinion.booth, opinion.desk
    facts = [
        Fact(language("recheck.fact.profile"), f"{desk.profile} {desk.profile_version}", code=True),
        Fact(language("recheck.fact.software"), desk.software, code=True),
    ]
    if not opinion.same_profile:
        facts.append(
            Fact(language("recheck.fact.booth_profile"), f"{booth.profile} {booth.profile_version}", code=True)
        )
    if not opinion.same_software:
        facts.append(Fact(language("recheck.fact.booth_software"), booth.software or NOTHING, code=True))
    if opinion.chip is not None and opinion.chip.ssim is not None:
        facts.append(Fact(language("recheck.fact.chip"), language.number(opinion.chip.ssim, 3)))
    return facts


def _line(row: Row, language: Language) -> RecheckLine:
    unit = (row.desk or row.booth or FindingRecord()).unit
    difference = ""
    if row.difference is not None:
        sign = "+" if row.difference > 0 else ""
        difference = sign + with_unit(row.difference, unit, language)
    limits = None
    if row.standing is Standing.LIMITS and row.booth and row.desk:
        limits = limit_text(row.booth.limit, row.booth.unit, language), limit_text(row.desk.limit, unit, language)
    return RecheckLine(
        rule=row.rule,
        name=known_text(f"rule.{row.rule}.name", row.rule, language),
        booth=_side(row.booth, language),
        desk=_side(row.desk, language),
        difference=difference or NOTHING,
        standing=language(f"recheck.standing.{row.standing}"),
        tone=TONES[row.standing],
        striking=row.standing.striking,
        limits=limits,
    )


def _side(finding: FindingRecord | None, language: Language) -> Side:
    if finding is None:
        return Side(NOTHING, language("recheck.silent"), "none", "")
    return Side(
        with_unit(finding.value, finding.unit, language) or NOTHING,
        language(f"verdict.{finding.verdict}"),
        VERDICT_TONES.get(finding.verdict, "none"),
        limit_text(finding.limit, finding.unit, language),
    )
