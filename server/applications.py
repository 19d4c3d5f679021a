"""PURE. What an application is to the intake: its number, centre, last day and state; which states follow each other; why a portrait is refused.

    filed ──captured──▶ captured ──accepted──▶ accepted
                         ▲    └─────retake───▶ retake
                         └──────captured─────────┘

Rules: a portrait that arrives is never refused for the registry's sake: an application that is captured stays so, an accepted one stays accepted, an expired
one still becomes captured (a booth may have been without network when it was taken). Whether a visit may begin is `objection`'s: asked by a booth beforehand.
A decision of an operator (`decided`) needs a portrait that waits for one; the same decision again changes nothing. A retake has reasons, acceptance has none.
The desk decides about portraits, whichever came first, and the application follows all of them (`settled`): once one is accepted it stays accepted; else the newest counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
MAX_REASONS = 3  # of one decision; crypto/decision.py has room for no more

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
    reasons: tuple[str, ...]  # of a retake


def objection(application: Application, today: date) -> Objection | None:
    """Why no visit may begin; None when one may."""
    if application.state in {State.CAPTURED, State.ACCEPTED}:
        return Objection.CAPTURED
    return Objection.EXPIRED if application.expires < today else None


def decided(state: State, outcome: Outcome) -> State | None:
    """The state after a decision; None when there is nothing to decide."""
    return AFTER_DECISION.get((state, outcome))


def settled(present: State, portraits: Sequence[tuple[Outcome, tuple[str, ...]]]) -> tuple[State, tuple[str, ...]]:
    """The state, and the reasons of a retake, by what became of an application's portraits, oldest first; `present` where none is left."""
    if present is State.ACCEPTED or any(outcome is Outcome.ACCEPTED for outcome, _ in portraits):
        return State.ACCEPTED, ()
    if not portraits:
        return present, ()
    outcome, reasons = portraits[-1]
    return (State.RETAKE, reasons) if outcome is Outcome.RETAKE else (State.CAPTURED, ())


def are_reasons_right(outcome: Outcome, reasons: Sequence[str]) -> bool:
    """A retake has one to three known reasons, each once; acceptance has none."""
    if outcome is not Outcome.RETAKE:
        return not reasons
    return 1 <= len(reasons) <= MAX_REASONS and len(set(reasons)) == len(reasons) and set(reasons) <= set(REASONS)
