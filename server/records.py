"""What a booth says in `report.json` and `visit.json`, read as if an enemy had written it. PURE.

A valid signature proves which booth sent a packet, not that its words are harmless. So: bounded size, depth, number and length of everything; no
NaN, no infinity; unknown fields are ignored, wrong ones become "unknown" or nothing, and what is no report at all is None. Nothing here raises.
Escaping is the page's business (Jinja2 autoescape); control characters and direction overrides are removed here, because they could make a
line read as another one.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

MAX_DOCUMENT_BYTES = 2 * 1024 * 1024
MAX_TEXT = 300
MAX_UNIT = 16
MAX_FINDINGS = 200
MAX_POINTS = 600
MAX_OUTLINES = 24
MAX_FACTS = 200
MAX_DEPTH = 4
MAX_MEASURES = 60


class Verdict(StrEnum):
    """What a rule said; UNKNOWN is any word that this desk does not know."""

    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    WARN = "warn"
    FAIL = "fail"
    NOT_ASSESSED = "not_assessed"
    UNKNOWN = "unknown"


def clean_text(value: Any) -> str:
    """Any JSON value as one harmless line of at most `MAX_TEXT` characters."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif value is None:
        text = ""
    elif isinstance(value, (int, float)):
        text = _digits(value)
    else:
        text = "…"
    kept = (" " if character.isspace() else character for character in text[: 4 * MAX_TEXT])
    line = "".join(c for c in kept if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def _digits(value: float) -> str:
    """A number as text; an integer of ten thousand digits would raise in `str`."""
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 1024 else "…"
    return format(value, ".6g")


def clean_number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _verdict(value: Any) -> Verdict:
    return Verdict(value) if isinstance(value, str) and value in set(Verdict) else Verdict.UNKNOWN


def _mapping(value: Any) -> Any:
    return value if isinstance(value, Mapping) else {}


def _mapping_or_none(value: Any) -> Any:
    return value if isinstance(value, Mapping) else None


def _mappings(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, Mapping)][:MAX_FINDINGS] if isinstance(value, list) else []


def _texts(value: Any) -> list[Any]:
    return value[:MAX_FINDINGS] if isinstance(value, list) else []


def _points(value: Any) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for item in value[:MAX_POINTS] if isinstance(value, list) else ():
        pair = item if isinstance(item, list) and len(item) == 2 else ()
        numbers = [number for number in map(clean_number, pair) if number is not None]
        if len(numbers) == 2:
            found.append((numbers[0], numbers[1]))
    return found


def _boxes(value: Any) -> list[tuple[float, float, float, float]]:
    found: list[tuple[float, float, float, float]] = []
    for item in _mappings(value):
        x, y, width, height = (clean_number(item.get(side)) for side in ("x", "y", "width", "height"))
        if x is not None and y is not None and width is not None and height is not None and width > 0 and height > 0:
            found.append((x, y, width, height))
    return found


def _outlines(value: Any) -> list[list[tuple[float, float]]]:
    shapes = (_points(item) for item in value[:MAX_OUTLINES]) if isinstance(value, list) else ()
    return [shape for shape in shapes if len(shape) > 2]


Text = Annotated[str, BeforeValidator(clean_text)]
Unit = Annotated[str, BeforeValidator(lambda value: clean_text(value)[:MAX_UNIT])]
Number = Annotated[float | None, BeforeValidator(clean_number)]


class Record(BaseModel):
    """A part of what a booth says."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class LimitRecord(Record):
    """The band of values that a rule allows."""

    low: Number = None
    high: Number = None


class EvidenceRecord(Record):
    """Where in the portrait a rule looked."""

    points: Annotated[tuple[tuple[float, float], ...], BeforeValidator(_points)] = ()
    boxes: Annotated[tuple[tuple[float, float, float, float], ...], BeforeValidator(_boxes)] = ()
    outlines: Annotated[tuple[tuple[tuple[float, float], ...], ...], BeforeValidator(_outlines)] = ()


class FindingRecord(Record):
    """One rule's finding."""

    rule: Text = ""
    value: Number = None
    unit: Unit = ""
    limit: Annotated[LimitRecord, BeforeValidator(_mapping)] = LimitRecord()
    warn_limit: Annotated[LimitRecord, BeforeValidator(_mapping)] = LimitRecord()
    verdict: Annotated[Verdict, BeforeValidator(_verdict)] = Verdict.UNKNOWN
    level: Text = ""
    reason: Text = ""
    source: Text = ""
    evidence: Annotated[EvidenceRecord, BeforeValidator(_mapping)] = EvidenceRecord()

    @property
    def blocks(self) -> bool:
        """Whether the photo cannot be accepted because of this; a level that the desk does not know blocks, too."""
        passed = self.verdict in {Verdict.PASS, Verdict.WARN}
        return not passed and self.level not in {"warn", "info"}


class ChipRecord(Record):
    """How the booth made the chip image, and how much of the portrait it kept."""

    width: Number = None
    height: Number = None
    target_width: Number = None
    target_height: Number = None
    target_bytes: Number = None
    bytes: Number = None
    scale: Number = None
    psnr_db: Number = None
    ssim: Number = None


class ReportRecord(Record):
    """The booth's report."""

    profile: Text = ""
    profile_version: Text = ""
    judged: Text = ""
    software: Text = ""
    width: Number = None
    height: Number = None
    findings: Annotated[tuple[FindingRecord, ...], BeforeValidator(_mappings)] = ()
    notes: Annotated[tuple[Text, ...], BeforeValidator(_texts)] = ()
    chip: Annotated[ChipRecord | None, BeforeValidator(_mapping_or_none)] = None

    @property
    def compliant(self) -> bool:
        """Whether there are findings and none of them blocks."""
        return bool(self.findings) and not any(finding.blocks for finding in self.findings)


def _measures(value: Any) -> list[tuple[str, float | None]]:
    pairs = value.items() if isinstance(value, Mapping) else ()
    return [(clean_text(name), clean_number(one)) for name, one in islice(pairs, MAX_MEASURES)]


class PadRecord(Record):
    """What the booth's presentation attack check came to (`pad/score.json`)."""

    mechanism: Text = ""
    usable: Annotated[bool, BeforeValidator(lambda value: value is True)] = False
    reason: Text = ""
    score: Number = None
    operating_point: Number = None
    suspected: Annotated[bool, BeforeValidator(lambda value: value is not False)] = True
    evidence: Annotated[tuple[tuple[str, float | None], ...], BeforeValidator(_measures)] = ()
    interim: Annotated[tuple[tuple[str, float | None], ...], BeforeValidator(_measures)] = ()

    @property
    def warns(self) -> bool:
        """Whether an officer has to look: by the booth's word or by its numbers."""
        if not self.usable:
            return False
        if self.score is None or self.operating_point is None:
            return True
        return self.suspected or self.score < self.operating_point


class Moment(Record):
    """One point in the course of the visit: a step of it, or an instruction that was shown."""

    after_s: float
    shown: bool = Field(description="An instruction; otherwise a step.")
    name: str


class VisitRecord(Record):
    """The booth's account of the visit: everything in it as short lines, and what the desk looks for by name."""

    facts: tuple[tuple[str, str], ...] = Field(default=(), description="Dotted path and text, in the booth's order.")
    course: tuple[Moment, ...] = Field(default=(), description="Steps and instructions by time.")

    def fact(self, *paths: str) -> str:
        """The first of these facts that is there, or an empty text."""
        found = dict(self.facts)
        return next((found[path] for path in paths if found.get(path)), "")

    @property
    def application_number(self) -> str:
        """The number of the application that the visit belongs to."""
        return self.fact("application.number", "application_number", "application")

    @property
    def typed(self) -> bool:
        """Whether the number was typed by the applicant instead of read from the code on his slip."""
        return self.fact("application.source") not in {"scanned", ""}

    @property
    def released(self) -> bool:
        """Whether a member of staff let the portrait pass although a rule does not hold."""
        return bool(self.fact("override.staff", "override.reason_class"))

    @property
    def unsigned(self) -> bool:
        """Whether the number was read from a code, and no centre's signature with it."""
        return self.fact("application.source") == "scanned" and self.fact("application.verified") != "yes"


def read_report(data: bytes | None) -> ReportRecord | None:
    """The report, or None when there is none that can be read."""
    document = read_document(data)
    if document is None:
        return None
    try:
        return ReportRecord.model_validate(document)
    except ValidationError:
        return None


def read_pad(data: bytes | None) -> PadRecord | None:
    """The result of the presentation attack check, or None when there is none that can be read."""
    document = read_document(data)
    if document is None:
        return None
    try:
        return PadRecord.model_validate(document)
    except ValidationError:
        return None


def read_visit(data: bytes | None) -> VisitRecord | None:
    """The visit, or None when there is none that can be read."""
    document = read_document(data)
    if document is None:
        return None
    course = [
        *_moments(document.get("steps"), "state", shown=False),
        *_moments(document.get("guidance"), "key", shown=True),
    ]
    rest = {name: value for name, value in document.items() if name not in {"steps", "guidance", "schema_version"}}
    return VisitRecord(
        facts=tuple(islice(_flat(rest, "", 0), MAX_FACTS)),
        course=tuple(sorted(course, key=lambda moment: moment.after_s)),
    )


def _moments(value: Any, name: str, *, shown: bool) -> Iterator[Moment]:
    for item in _mappings(value):
        after_ms = clean_number(item.get("after_ms"))
        if after_ms is not None:
            yield Moment(after_s=after_ms / 1000, shown=shown, name=clean_text(item.get(name)))


def read_document(data: bytes | None) -> Mapping[str, Any] | None:
    """The JSON object in a part, or None when it is none or too large."""
    if data is None or len(data) > MAX_DOCUMENT_BYTES:
        return None
    try:
        # Refuses deep nesting by itself. Texts are not cached: pydantic's cache would keep application numbers after their packet was let go.
        document = from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return None
    return document if isinstance(document, Mapping) else None


def _flat(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        for name, item in value.items():
            yield from _flat(item, f"{path}.{clean_text(name)[:60]}".lstrip("."), depth + 1)
    elif isinstance(value, list) and all(isinstance(item, (str, int, float, bool)) or item is None for item in value):
        yield path, clean_text(", ".join(clean_text(item) for item in value[:MAX_FACTS]))
    elif isinstance(value, list) and depth < MAX_DEPTH:
        for number, item in enumerate(value[:MAX_FACTS], 1):
            yield from _flat(item, f"{path}.{number}".lstrip("."), depth + 1)
    else:
        yield path, clean_text(value)
