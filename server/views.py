"""From an opened packet to the lines of a page. PURE.

Everything here is text and numbers; the page escapes and arranges. Rule names come from the desk's own catalogue (`rule.<id>.name`), never from
the packet; an id that the desk does not know is shown as it is.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from server.messages import Language
from server.opening import PacketContent, Summary
from server.records import EvidenceRecord, FindingRecord, LimitRecord, ReportRecord, Verdict, VisitRecord
from server.store import StoredPacket

NOTHING, RANGE = "\N{EN DASH}", " \N{EN DASH} "
# Keep a range of numbers in its order inside a right-to-left sentence (UAX 9).
ISOLATE, POP_ISOLATE = "\N{LEFT-TO-RIGHT ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}(Z|\+00:00)")
FRACTION = re.compile(r"-?\d{1,9}\.\d+", re.ASCII)
# The gauge's drawing units; the page scales it.
GAUGE_WIDTH = 100.0
# A picture larger than this is not what a booth sends; evidence is then not drawn.
MAX_SIDE_PX = 20_000
# What a rule is about, by the first word of its id; any other id is shown under "other".
SUBJECTS = {
    **dict.fromkeys(("geometry", "pose"), "position"),
    "eyes": "eyes",
    **dict.fromkeys(("face", "mouth", "expression"), "face"),
    "light": "light",
    "background": "background",
    "image": "picture",
}
# What the unit of a finding is written as; others are shown as they came.
UNITS = {"deg": "°", "pct": "%", "ratio": "", "faces": ""}


@dataclass(frozen=True, slots=True)
class ListLine:
    """One packet in the list."""

    stored: StoredPacket
    summary: Summary
    state: str
    reference: str
    age: str
    received: str
    taken: bool  # somebody else looks at it


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value against its limits, drawn from 0 to `GAUGE_WIDTH`."""

    low: float
    high: float
    value: float


@dataclass(frozen=True, slots=True)
class FindingLine:
    """One rule on the packet page."""

    number: int
    rule: str
    name: str
    measured: str
    limit: str
    advised: str
    verdict: str
    tone: str
    advisory: bool
    striking: bool  # refused or remarked, so that an officer has to look
    reason: str
    source: str
    gauge: Gauge | None
    evidence: EvidenceRecord


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """The findings on one subject, the striking ones first; where there are any, the page shows the group unfolded."""

    name: str
    met: str
    tone: str
    lines: tuple[FindingLine, ...]

    @property
    def unfolded(self) -> bool:
        """Whether an officer has to look."""
        return any(line.striking for line in self.lines)


@dataclass(frozen=True, slots=True)
class MomentLine:
    """One point in the course of the visit."""

    after: str
    text: str
    shown: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of a list of facts: label, value, and whether the value is a code to be compared character by character."""

    label: str
    value: str
    code: bool = False


def finding_lines(report: ReportRecord, language: Language) -> list[FindingLine]:
    """The findings in the report's order."""
    drawable = evidence_size(report) is not None
    return [
        FindingLine(
            number=number,
            rule=finding.rule,
            name=known_text(f"rule.{finding.rule}.name", finding.rule, language),
            measured=with_unit(finding.value, finding.unit, language) or NOTHING,
            limit=limit_text(finding.limit, finding.unit, language),
            advised=_advised(finding, language),
            verdict=language(f"verdict.{finding.verdict}"),
            tone=_tone(finding),
            advisory=finding.level in {"warn", "info"},
            striking=finding.blocks or finding.verdict is Verdict.WARN,
            reason=finding.reason,
            source=finding.source,
            gauge=gauge(finding.value, finding.limit),
            evidence=finding.evidence if drawable else EvidenceRecord(),
        )
        for number, finding in enumerate(report.findings, 1)
    ]


def finding_groups(lines: list[FindingLine], language: Language) -> list[FindingGroup]:
    """The findings by subject, always in the same order."""
    grouped: dict[str, list[FindingLine]] = {subject: [] for subject in (*SUBJECTS.values(), "other")}
    for line in lines:
        grouped[SUBJECTS.get(line.rule.partition(".")[0], "other")].append(line)
    return [
        FindingGroup(
            name=language(f"subject.{subject}"),
            met=language("subject.met", met=sum(line.tone == "good" for line in found), count=len(found)),
            tone=_worst(found),
            lines=tuple(sorted(found, key=lambda line: not line.striking)),
        )
        for subject, found in grouped.items()
        if found
    ]


def _worst(lines: list[FindingLine]) -> str:
    """The colour family of a group: what was not assessed and only advises is neither met nor remarked."""
    striking = {line.tone for line in lines if line.striking}
    if striking:
        return "bad" if "bad" in striking else "care"
    return "good" if all(line.tone == "good" for line in lines) else "none"


def evidence_size(report: ReportRecord) -> tuple[float, float] | None:
    """The size of the picture that evidence points refer to, when that is the portrait itself."""
    width, height = report.width, report.height
    if report.judged not in {"crop", "as_submitted"} or width is None or height is None:
        return None
    return (width, height) if 1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX else None


def gauge(value: float | None, limit: LimitRecord) -> Gauge | None:
    """Where a value lies: the allowed band fills the middle half, or the half on its open side.

    None where nothing can be drawn: no value, no limit, or limits near the end of what a float can hold (a hostile report).
    """
    low, high = limit.low, limit.high
    if value is None or (low is None and high is None):
        return None
    if low is not None and high is not None:
        span = high - low
        if span <= 0 or not math.isfinite(2 * span):
            return None
        start, unit = low - span / 2, GAUGE_WIDTH / (2 * span)
    else:
        edge = low if low is not None else high
        assert edge is not None
        reach = abs(edge) or 1.0
        if not math.isfinite(2 * reach):
            return None
        start, unit = edge - reach, GAUGE_WIDTH / (2 * reach)

    if not math.isfinite(unit):
        return None

    def place(at: float) -> float:
        return round(min(max((at - start) * unit, 2.0), GAUGE_WIDTH - 2.0), 1)

    return Gauge(0.0 if low is None else place(low), GAUGE_WIDTH if high is None else place(high), place(value))


def verdict_key(summary: Summary) -> str:
    """The message key of a packet's overall result."""
    if not summary.opened:
        return "result.refused"
    if not summary.has_report:
        return "result.no_report"
    if not summary.compliant:
        return "result.not_compliant"
    return "result.warnings" if summary.warnings else "result.compliant"


def verdict_tone(summary: Summary) -> str:
    """The colour family of a packet's overall result."""
    key = verdict_key(summary)
    tones = {
        "result.compliant": "good",
        "result.warnings": "care",
        "result.refused": "none",
        "result.no_report": "care",
    }
    return tones.get(key, "bad")


def heading(stored: StoredPacket, summary: Summary) -> dict[str, Any]:
    """What each page about one opened packet has at its head, by the names of its template."""
    return {
        "stored": stored,
        "reference": reference(stored),
        "summary": summary,
        "result_key": verdict_key(summary),
        "result_tone": verdict_tone(summary),
    }


def signature_facts(content: PacketContent, language: Language) -> list[Fact]:
    """Who made the packet and how that is known."""
    stored, opened = content.stored, content.opened
    certificate = opened.signer
    valid = RANGE.join(map(language.time, (certificate.not_valid_before_utc, certificate.not_valid_after_utc)))
    return [
        Fact(language("fact.signature"), language("fact.signature.verified")),
        Fact(language("fact.booth"), opened.manifest.booth),
        Fact(language("fact.centre"), opened.manifest.centre),
        Fact(language("fact.signed_at"), language.time(opened.signing_time)),
        Fact(language("fact.received_at"), language.time(stored.received_at)),
        Fact(language("fact.issuer"), _common_name(certificate.issuer)),
        Fact(language("fact.certificate"), f"{certificate.serial_number:x}", code=True),
        Fact(language("fact.certificate_valid"), valid),
        Fact(language("fact.packet_id"), opened.manifest.packet_id, code=True),
        Fact(language("fact.sha256"), stored.sha256, code=True),
        Fact(language("fact.recipient"), stored.recipient, code=True),
        Fact(language("fact.serial"), str(stored.serial)),
    ]


def row_facts(stored: StoredPacket, language: Language) -> list[Fact]:
    """What is known of a packet that could not be opened. The booth is the one whose key signed the upload."""
    return [
        Fact(language("fact.booth"), stored.booth),
        Fact(language("fact.received_at"), language.time(stored.received_at)),
        Fact(language("fact.packet_id"), stored.packet_id, code=True),
        Fact(language("fact.sha256"), stored.sha256, code=True),
        Fact(language("fact.recipient"), stored.recipient, code=True),
        Fact(language("fact.serial"), str(stored.serial)),
    ]


def visit_facts(visit: VisitRecord, language: Language, without: tuple[str, ...] = ()) -> tuple[list[Fact], list[Fact]]:
    """What the booth says of the visit: what the desk has a word for, then the rest under the booth's own names; but for paths that begin so."""
    told = [(path, value) for path, value in visit.facts if value and not path.startswith(without)]
    named = [
        Fact(language(f"visit.{path}"), _fraction(instant_text(_told(path, value, language), language), language))
        for path, value in told
        if language.has(f"visit.{path}")
    ]
    other = [Fact(path, instant_text(value, language)) for path, value in told if not language.has(f"visit.{path}")]
    return named, other


def released_text(visit: VisitRecord, language: Language) -> str:
    """Who let the portrait pass and why; empty when nobody did."""
    if not visit.released:
        return ""
    path = "override.reason_class"
    reason = word_text(f"visit.{path}", visit.fact(path), language) or NOTHING
    return language("flag.released", staff=visit.fact("override.staff") or NOTHING, reason=reason)


def course(visit: VisitRecord, language: Language) -> list[MomentLine]:
    """The course of the visit, in the order of its time."""
    return [
        MomentLine(
            after=f"{language.number(moment.after_s, 1)}\N{NO-BREAK SPACE}s",
            text=known_text(f"{'told' if moment.shown else 'step'}.{moment.name}", moment.name, language),
            shown=moment.shown,
        )
        for moment in visit.course
    ]


def list_line(
    stored: StoredPacket, summary: Summary, outcome: str | None, now: datetime, language: Language, *, taken: bool
) -> ListLine:
    """One packet in the list; its state is what was decided, else how far it is."""
    state = language(f"state.{outcome or stored.state}")
    age, received = language.age(now - stored.received_at), language.time(stored.received_at)
    return ListLine(stored, summary, state, reference(stored), age, received, taken)


def reference(stored: StoredPacket) -> str:
    """What the applicant's slip says: the packet id's first eight digits in two groups."""
    return reference_of(stored.packet_id)


def reference_of(packet_id: str) -> str:
    """A packet id as the slip shows it."""
    return f"{packet_id[:4]}-{packet_id[4:8]}".upper()


def known_text(key: str, otherwise: str, language: Language) -> str:
    """The text of a key that came from a packet, or what the packet called it."""
    return language(key) if language.has(key) else otherwise


def _told(path: str, value: str, language: Language) -> str:
    """A fact of the visit in words: rules by their names, other values when they are one of few words."""
    if path != "override.open_rules":
        return word_text(f"visit.{path}", value, language)
    return ", ".join(known_text(f"rule.{rule}.name", rule, language) for rule in value.split(", "))


def word_text(path: str, value: str, language: Language) -> str:
    """A value that is one of few words, in the officer's language."""
    return known_text(f"{path}.{value}", known_text(f"word.{value}", value, language), language)


def _tone(finding: FindingRecord) -> str:
    if finding.verdict is Verdict.PASS:
        return "good"
    if finding.blocks:
        return "bad"
    silent = finding.verdict is Verdict.NOT_ASSESSED or (
        finding.level == "info" and finding.verdict is not Verdict.WARN
    )
    return "none" if silent else "care"


def with_unit(value: float | None, unit: str, language: Language) -> str:
    """A measured value as a page shows it; empty when there is none."""
    if value is None:
        return ""
    shown = UNITS.get(unit, unit)
    number = language.number(value)
    return f"{number}{shown}" if shown in {"", "°"} else f"{number}\N{NO-BREAK SPACE}{shown}"


def limit_text(limit: LimitRecord, unit: str, language: Language) -> str:
    """The band that a limit allows."""
    low, high = with_unit(limit.low, unit, language), with_unit(limit.high, unit, language)
    if low and high:
        return low if limit.low == limit.high else f"{low}{RANGE}{high}"
    return f"≥\N{NO-BREAK SPACE}{low}" if low else f"≤\N{NO-BREAK SPACE}{high}" if high else NOTHING


def _advised(finding: FindingRecord, language: Language) -> str:
    """The narrower limit behind a remark, or an empty text."""
    if finding.verdict is not Verdict.WARN or finding.warn_limit in {LimitRecord(), finding.limit}:
        return ""
    limit = limit_text(finding.warn_limit, finding.unit, language)
    return language("finding.advised", limit=f"{ISOLATE}{limit}{POP_ISOLATE}")


def instant_text(value: str, language: Language) -> str:
    """A time as the language writes it; any other text as it is."""
    if not INSTANT.fullmatch(value):
        return value
    try:
        return language.time(datetime.fromisoformat(value))
    except ValueError:
        return value


def _fraction(value: str, language: Language) -> str:
    """A measured value as people read it (the record keeps every digit); any other text as it is."""
    return language.number(float(value), 1) if FRACTION.fullmatch(value) else value


def _common_name(name: x509.Name) -> str:
    values = [str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return ", ".join(values) or name.rfc4514_string()
