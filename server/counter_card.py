"""An application as a counter shows it: its state and what to do now, and every portrait so far, in the clerk's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from babel.dates import format_date

from crypto.application import grouped_number
from server.applications import State
from server.counter_rows import CounterRecord, Portrait
from server.messages import Language

TONES: Mapping[State, str] = {State.FILED: "none", State.CAPTURED: "care", State.ACCEPTED: "good", State.RETAKE: "bad"}


@dataclass(frozen=True, slots=True)
class PortraitLine:
    """One portrait in the history."""

    at: str
    booth: str
    text: str
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class ApplicationCard:
    """An application in words."""

    number: str = field(repr=False)
    plain: str = field(repr=False)
    centre: str
    last: str
    over: bool
    changed: str
    tone: str
    state: str
    text: str
    reasons: list[str]
    portraits: list[PortraitLine]


def application_card(found: CounterRecord, today: date, language: Language) -> ApplicationCard:
    """An application in the clerk's language."""
    one = found.application
    over = one.expires < today and one.state in {State.FILED, State.RETAKE}
    return ApplicationCard(
        number=grouped_number(one.number),
        plain=one.number,
        centre=one.centre,
        last=format_date(one.expires, "long", locale=language.form),
        over=over,
        changed=language.time(found.changed_at),
        tone="none" if over else TONES[one.state],
        state=language(f"counter.state.{one.state}"),
        text=language("counter.over" if over else f"counter.next.{one.state}"),
        reasons=_reasons(one.reasons, language),
        portraits=[_portrait_line(portrait, language) for portrait in found.portraits],
    )


def _portrait_line(portrait: Portrait, language: Language) -> PortraitLine:
    return PortraitLine(
        language.time(portrait.received_at),
        portrait.booth or "",
        language(f"counter.portrait.{portrait.outcome}"),
        _reasons(portrait.reasons, language),
    )


def _reasons(reasons: tuple[str, ...], language: Language) -> list[str]:
    return [language(f"status.reason.{reason}") for reason in reasons]
