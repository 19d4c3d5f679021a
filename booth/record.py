"""What one visit leaves behind until it is sealed or wiped: times, guidance, attempts; the contents of visit.json and attempts.json.

Rules: a record belongs to one visit and holds all of its personal data that the visit itself does not hold; `wipe` overwrites every pixel
buffer and drops the rest, and whatever arrives later is wiped at once. An attempt counts only in the turn of the visit that asked for it. Nothing in it is ever logged. Times are UTC for people and
milliseconds since the start, on a clock that cannot be set, for order.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from booth.attempt import Attempt, Candidate
from booth.events import Application
from booth.pad_part import PadEvidence
from capture.balance import LightOutcome
from capture.calibration import Calibration

SCHEMA_VERSION = 1
NOTICE_VERSION = "3"  # of the privacy notice in the catalogues; changed with its words
# A visit's guidance is a few dozen lines; more would only be a device gone mad.
MAX_LINES = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where the visit is made and with what."""

    booth: str
    site: str
    centre: str
    software: str


class VisitRecord:
    """The record of one visit."""

    def __init__(
        self, visit_id: str, place: Place, utc: Callable[[], datetime], monotonic_ns: Callable[[], int]
    ) -> None:
        self.visit_id = visit_id
        self._place = place
        self._utc, self._monotonic_ns = utc, monotonic_ns
        self._begun_ns = monotonic_ns()
        self._open = True
        self._turn = -1
        self._steps: list[dict[str, Any]] = []
        self._guidance: list[dict[str, Any]] = []
        self._errors: list[dict[str, Any]] = []
        self._consent: dict[str, Any] | None = None
        self._assistance: list[dict[str, Any]] = []
        self._released: tuple[int, dict[str, Any]] | None = None  # which try a member of staff let pass
        self._attempts: list[tuple[str, Attempt]] = []
        self.calibration: Calibration | None = None  # that the booth works with
        self._shutter: str | None = None
        self._framing: Mapping[str, Any] | None = None
        self._light: LightOutcome | None = None
        self.pad: PadEvidence | None = None  # for the packet alone: no page of the booth shows it

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt."""
        return self._attempts[-1][1] if self._attempts else None

    def note_state(self, state: str, turn: int) -> None:
        """The visit went on to a state, in its turn."""
        self._turn = turn
        self._add(self._steps, {"state": state})

    def note_instruction(self, key: str) -> None:
        """An instruction was shown; repeated ones count once."""
        if not self._guidance or self._guidance[-1]["key"] != key:
            self._add(self._guidance, {"key": key})

    def note_shutter(self, *, overdue: bool) -> None:
        """The newest photo was taken because everything was right for long enough (held), or because the time for it was over (overdue)."""
        self._shutter = "overdue" if overdue else "held"

    def note_light(self, outcome: LightOutcome) -> None:
        """The light was balanced; the newest outcome counts."""
        if self._open:
            self._light = outcome

    def note_framing(self, framing: Mapping[str, Any] | None) -> None:
        """Where lens and height axis stood for the newest photo, and how they came there; None where no angle is known."""
        if self._open:
            self._framing = framing

    def note_error(self, code: str) -> None:
        """A device or the booth itself failed."""
        if not self._errors or self._errors[-1]["code"] != code:
            self._add(self._errors, {"code": code})

    def note_consent(self, language: str) -> None:
        """The notice was accepted in a language."""
        self._consent = {"notice_version": NOTICE_VERSION, "language": language, "answer": True, "at": self._now()}

    def note_pad(self, evidence: PadEvidence) -> None:
        """What the presentation attack probe came to."""
        if self._open:
            self.pad = evidence

    def note_staff(self, staff: str, action: str, reason_class: str) -> None:
        """A member of staff acted; an override is of the newest attempt and of no other."""
        who = {"staff": staff, "reason_class": reason_class}
        self._add(self._assistance, {"action": action, **who})
        attempt = self.attempt
        if self._open and action == "override" and attempt is not None:
            open_rules = [finding.rule for finding in attempt.report.blocking]
            self._released = self.tries, {**who, "open_rules": open_rules, "at": self._now()}

    @property
    def tries(self) -> int:
        """How many attempts were judged."""
        return len(self._attempts)

    def add(self, attempt: Attempt, turn: int) -> bool:
        """Keeps an attempt that was judged in this turn of the visit; any other is overwritten. Whether it was kept."""
        kept = self._open and turn == self._turn
        if kept:
            self._attempts.append((self._now(), attempt))
        else:
            attempt.wipe()
        return kept

    def wipe(self) -> None:
        """Overwrites pixels and drops everything."""
        self._open = False
        for _, attempt in self._attempts:
            attempt.wipe()
        for part in (self._attempts, self._steps, self._guidance, self._errors, self._assistance):
            part.clear()
        self._consent = self._released = self._shutter = self.pad = self._light = self._framing = None

    def visit_json(
        self,
        application: Application,
        language: str,
        light_acknowledged_by: str | None,
        rotate_deg: int,
        images: Mapping[str, Any],
    ) -> bytes:
        """visit.json; `images` tells how the packet's pictures were encoded, as far as the report does not."""
        attempt = self.attempt
        assert attempt is not None
        frame = attempt.best.frame
        return _json(
            {
                "schema_version": SCHEMA_VERSION,
                "visit_id": self.visit_id,
                "application": dataclasses.asdict(application),
                "booth": self._place.booth,
                "site": self._place.site,
                "centre": self._place.centre,
                "language": language,
                "consent": self._consent,
                "steps": self._steps,
                "guidance": self._guidance,
                "tries": self.tries,
                "shutter": self._shutter,
                "assistance": self._assistance,
                "override": self._released[1]
                if self._released is not None and self._released[0] == self.tries
                else None,
                "light": {
                    "levels_pct": dict(frame.levels_pct),
                    "acknowledged_by": light_acknowledged_by,
                    "reading": None if attempt.best.light is None else attempt.best.light.as_record(),
                    "balance": None if self._light is None else self._light.as_record(),
                },
                "camera": {
                    "source_format": frame.source_format,
                    "lossy": frame.lossy,
                    "rotate_deg": rotate_deg,
                    "settings": None if frame.controls is None else frame.controls.model_dump(mode="json"),
                },
                "framing": self._framing,
                "images": images,
                "calibration": None if self.calibration is None else self.calibration.as_named(self._utc()),
                "software": self._place.software,
            }
        )

    def attempts_json(self) -> bytes:
        """attempts.json: every still of every attempt with its values and bounds, and the errors on the way."""
        return _json(
            {
                "schema_version": SCHEMA_VERSION,
                "attempts": [
                    {"at": at, "stills": [_still(candidate, attempt) for candidate in attempt.candidates]}
                    for at, attempt in self._attempts
                ],
                "errors": self._errors,
            }
        )

    def _add(self, lines: list[dict[str, Any]], line: Mapping[str, Any]) -> None:
        if self._open and len(lines) < MAX_LINES:
            lines.append({**line, "at": self._now(), "after_ms": (self._monotonic_ns() - self._begun_ns) // 1_000_000})

    def _now(self) -> str:
        return self._utc().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _still(candidate: Candidate, attempt: Attempt) -> dict[str, Any]:
    report = candidate.report
    return {
        "chosen": candidate is attempt.best,
        "compliant": report.compliant,
        "judged": report.judged,
        "findings": [
            {
                "rule": finding.rule,
                "value": finding.value,
                "unit": finding.unit,
                "low": finding.limit.low,
                "high": finding.limit.high,
                "verdict": finding.verdict,
            }
            for finding in report.findings
        ],
    }


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
