"""PURE. When one person is not enough to accept a packet.

    override    a member of staff let the portrait pass at the booth although a rule does not hold
    finding     a rule that must hold does not, by the booth's report, or there is no report that says so
    attack      the presentation attack check warns
    copy        the very same portrait file came for another application, too (server/duplicates.py)
    recheck     the desk's own check objects to the portrait (server/own_check.py)

Rules: a refusal needs one person, whatever the packet; it harms nobody, since any booth takes another portrait. The table says no more than what a packet
and its check say: whether somebody accepts, and who, is server/decisions.py's matter. What stands in a packet came from a booth and may be hostile, but it can
only add causes: what is missing or unreadable is one (`finding`), never a way around.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.records import PadRecord, ReportRecord, VisitRecord


class Cause(StrEnum):
    """Why a second person is needed. In words: `second.cause.<value>` in the catalogues."""

    OVERRIDE = "override"
    FINDING = "finding"
    ATTACK = "attack"
    COPY = "copy"
    RECHECK = "recheck"


class Objection(StrEnum):
    """Why the second person rejects a proposal. In words: `second.objection.<value>` in the catalogues."""

    PORTRAIT = "portrait"  # the portrait is not good enough
    PERSON = "person"  # it may not be the applicant, or not a living face
    OVERRIDE = "override"  # staff should not have released it
    OTHER = "other"


def causes_of(report: ReportRecord | None, visit: VisitRecord | None, pad: PadRecord | None) -> tuple[Cause, ...]:
    """Why these records need a second person; empty where one is enough, as far as a packet tells."""
    asked = {
        Cause.OVERRIDE: visit is not None and visit.released,
        Cause.FINDING: report is None or not report.compliant,
        Cause.ATTACK: pad is not None and pad.warns,
    }
    return tuple(cause for cause, holds in asked.items() if holds)
