"""What a booth says in `attempts.json`: every capture of the visit with its values, and what failed on the way. Read as hostile, like all records (server/records.py). PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from server.records import FindingRecord, Record, Text, read_document

# A visit has a few attempts of a few stills (profile: retakes; booth: burst); more is shown as far as these.
MAX_ATTEMPTS, MAX_STILLS, MAX_FINDINGS, MAX_TROUBLES = 20, 12, 100, 100


def _some(most: int) -> BeforeValidator:
    def first(value: Any) -> list[Any]:
        return [item for item in value if isinstance(item, Mapping)][:most] if isinstance(value, list) else []

    return BeforeValidator(first)


def _findings(value: Any) -> list[Any]:
    """Findings as a report has them: here their limits stand beside the value."""
    found = [item for item in value if isinstance(item, Mapping)][:MAX_FINDINGS] if isinstance(value, list) else []
    names = ("rule", "value", "unit", "verdict")
    return [
        {name: item.get(name) for name in names} | {"limit": {"low": item.get("low"), "high": item.get("high")}}
        for item in found
    ]


class StillRecord(Record):
    """One picture of a burst."""

    chosen: Annotated[bool, BeforeValidator(lambda value: value is True)] = False
    compliant: Annotated[bool, BeforeValidator(lambda value: value is True)] = False
    findings: Annotated[tuple[FindingRecord, ...], BeforeValidator(_findings)] = ()


class AttemptRecord(Record):
    """One burst: its time and its pictures."""

    at: Text = ""
    stills: Annotated[tuple[StillRecord, ...], _some(MAX_STILLS)] = ()

    @property
    def best(self) -> StillRecord | None:
        """The picture that the booth chose, or the first one."""
        return next((still for still in self.stills if still.chosen), self.stills[0] if self.stills else None)


class TroubleRecord(Record):
    """Something that failed during the visit, by the booth's code for it."""

    code: Text = ""
    at: Text = ""


class AttemptsRecord(Record):
    """All captures of a visit."""

    attempts: Annotated[tuple[AttemptRecord, ...], _some(MAX_ATTEMPTS)] = ()
    errors: Annotated[tuple[TroubleRecord, ...], _some(MAX_TROUBLES)] = ()


def read_attempts(data: bytes | None) -> AttemptsRecord | None:
    """The attempts, or None when there are none that can be read."""
    document = read_document(data)
    if document is None:
        return None
    try:
        return AttemptsRecord.model_validate(document)
    except ValidationError:
        return None
