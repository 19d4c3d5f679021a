"""PURE. What an application is to the intake: its number, centre, last day and state; which states follow each other; why a portrait is refused.

    filed ──captured──▶ captured ──accepted──▶ accepted
                         ▲    └─────retake───▶ retake
                         └──────captured─────────┘

Rules: a portrait that arrives is never refused for the registry's sake: an application that is captured stays so, an accepted one stays accepted, an expired
one still becomes captured (a booth may have been without network when it was taken). Whether a visit may begin is `objection`'s: asked by a booth beforehand.
A decision needs a portrait that waits for one; the same decision again changes nothing. A retake has a reason, acceptance has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where an application is."""

    FILED = "filed"  # at a counter; no portrait yet
    CAPTURED = "captured"  # a portrait arrived and waits for the desk
    ACCEPTED = "accepted"
    RETAKE = "retake"  # the desk refused the portrait; any booth may take another


class Outcome(StrEnum):
    """What became of one portrait, as its applicant may know."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
    RETAKE = "retake"


class Objection(StrEnum):
    """Why no visit may begin for an application; the end of the error's code."""

    EXPIRED = "expired"
    CAPTURED = "captured"


# Why a portrait is refused, in words for the applicant: `status.reason.<key>` in the catalogues.
REASONS = (
    "background",
    "blurred",
    "covered",
    "expression",
    "eyes",
    "glasses",
    "light",
    "mismatch",
    "pose",
    "technical",
    "other",
)

AFTER_CAPTURE: Mapping[State, State] = MappingProxyType(
    {
        State.FILED: State.CAPTURED,
        State.CAPTURED: State.CAPTURED,
        State.RETAKE: State.CAPTURED,
        State.ACCEPTED: State.ACCEPTED,
    }
)
AFTER_DECISION: Mapping[tuple[State, Outcome], State] = MappingProxyType(
    {
        (State.CAPTURED, Outcome.ACCEPTED): State.ACCEPTED,
        (State.CAPTURED, Outcome.RETAKE): State.RETAKE,
        (State.ACCEPTED, Outcome.ACCEPTED): State.ACCEPTED,
        (State.RETAKE, Outcome.RETAKE): State.RETAKE,
    }
)


@dataclass(frozen=True, slots=True)
class NewApplication:
    """An application as it is filed."""

    number: str = field(repr=False)
    centre: str
    expires: date  # its last day


@dataclass(frozen=True, slots=True)
class Application:
    """An application as the registry knows it."""

    number: str = field(repr=False)
    centre: str
    expires: date
    state: State
    reason: str | None


def objection(application: Application, today: date) -> Objection | None:
    """Why no visit may begin; None when one may."""
    if application.state in {State.CAPTURED, State.ACCEPTED}:
        return Objection.CAPTURED
    return Objection.EXPIRED if application.expires < today else None


def decided(state: State, outcome: Outcome) -> State | None:
    """The state after a decision; None when there is nothing to decide."""
    return AFTER_DECISION.get((state, outcome))


def is_reason_right(outcome: Outcome, reason: str | None) -> bool:
    """A retake has a known reason, acceptance has none."""
    return reason in REASONS if outcome is Outcome.RETAKE else reason is None
