"""PURE. The visit and what the camera says → the kiosk's state.

One instruction at a time: while the camera is needed a fault that hinders comes first, then guidance while framing, else the state's own
title. One fault at a time: what hinders, then what just went wrong, then what is merely worth telling; with staff, what went wrong comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast, get_args

from booth.events import Event
from booth.guidance import Guidance
from booth.kiosk import (
    REASON_CLASSES,
    FaultNotice,
    IdentitySource,
    Instruction,
    KioskFinding,
    KioskState,
    Language,
    Overlay,
    StaffAction,
)
from booth.portrait_marks import face_lines, marks_of
from booth.visit import REFUSED, State, Verdict, Visit, accepts
from validation.report import Report

PORTRAIT_URL = "/api/visit/portrait"

# The page's commands and the events that they become; consent becomes one of two.
COMMANDS: Mapping[str, Event] = MappingProxyType(
    {
        "start": Event.START,
        "language": Event.LANGUAGE_CHOSEN,
        "identify": Event.NUMBER_GIVEN,
        "consent": Event.CONSENTED,
        "retake": Event.RETAKE,
        "accept": Event.ACCEPT,
        "help": Event.HELP,
        "help_given": Event.HELP_GIVEN,
        "resume": Event.RESUME,
        "staff": Event.STAFF_ASKED,
        "cancel": Event.CANCEL,
        "more_time": Event.MORE_TIME,
    }
)


STAFF_ACTIONS: Mapping[str, Event] = MappingProxyType(
    {"override": Event.STAFF_RELEASED, "retake": Event.STAFF_RETAKE, "end": Event.STAFF_ENDED}
)


CAMERA_NEEDED = frozenset({State.FRAMING, State.CAPTURING, State.OUT_OF_SERVICE})


@dataclass(frozen=True, slots=True)
class Scenery:
    """What the screen shows beside the visit itself."""

    guidance: Guidance = field(default_factory=Guidance)
    countdown: int | None = None
    overlay: Overlay | None = None
    live: Report | None = None  # of the newest judged preview frame; for the technician
    report: Report | None = None  # of the portrait under review
    has_portrait: bool = False
    attempt: int = 0
    warning_s: float | None = None  # left until the visit is cleared
    status_url: str | None = None  # of the sealed visit, with its token
    staff_wait_s: int = 0  # until another staff code is looked at


def shows_portrait(visit: Visit) -> bool:
    """Whether the portrait under review may be asked for."""
    if visit.state is State.ASSISTANCE:
        return visit.verdict in REFUSED
    return visit.state in {State.REVIEW, State.SEALING}


def kiosk_state(visit: Visit, scenery: Scenery) -> KioskState:
    """Everything the page needs."""
    reviewed = scenery.report if shows_portrait(visit) else None
    framing, with_staff = visit.state is State.FRAMING, visit.state is State.ASSISTANCE
    first_told = visit.obstructed and not with_staff
    fault = (visit.fault or visit.trouble) if first_told else (visit.trouble or visit.fault)
    return KioskState(
        state=visit.state.value,
        language=cast("Language", visit.language),
        visit=visit.visit_id,
        identity=None if visit.application is None else cast("IdentitySource", visit.application.source),
        instruction=_instruction(visit, scenery.guidance),
        countdown_s=scenery.countdown if framing else None,
        timeout_s=scenery.warning_s if visit.warned else None,
        overlay=scenery.overlay if framing or visit.state is State.CAPTURING else None,
        findings=() if reviewed is None else show_findings(reviewed, marked=scenery.has_portrait),
        compliant=None if reviewed is None else visit.verdict is Verdict.PASSED,
        # The number makes a page ask again after a retake.
        portrait=f"{PORTRAIT_URL}?attempt={scenery.attempt}" if reviewed is not None and scenery.has_portrait else None,
        portrait_size=None if reviewed is None or not scenery.has_portrait else (reviewed.width, reviewed.height),
        face=None if reviewed is None or not scenery.has_portrait else face_lines(reviewed),
        reference=visit.reference if visit.state is State.THANKS else None,
        status_url=scenery.status_url if visit.state is State.THANKS else None,
        fault=None if fault is None else FaultNotice(code=fault.code, message=fault.message),
        tries_left=visit.tries_left,
        tries_allowed=visit.terms.tries,
        released=reviewed is not None and visit.verdict is Verdict.RELEASED,
        reason_classes=REASON_CLASSES if with_staff else (),
        staff_actions=tuple(one for one in get_args(StaffAction) if accepts(visit, STAFF_ACTIONS[one])),
        staff_wait_s=(scenery.staff_wait_s or None) if with_staff else None,
        commands=tuple(name for name, event in COMMANDS.items() if accepts(visit, event)),
    )


def _instruction(visit: Visit, guidance: Guidance) -> Instruction:
    if visit.obstructed and visit.fault is not None and visit.state in CAMERA_NEEDED:
        return Instruction(key=visit.fault.message)
    if visit.state is State.FRAMING:
        return guidance.instruction
    if visit.identifying:
        return Instruction(key="identify.asking")
    if visit.state is State.CLEARING and visit.wiped:
        return Instruction(key="state.cleared.title")  # the applicant sees when it is done
    return Instruction(key=f"state.{visit.state}.title")


def show_findings(report: Report, *, marked: bool = False) -> tuple[KioskFinding, ...]:
    """The findings as the page lists them, in the report's order; `marked`: with what is drawn over the portrait."""
    blocking = {finding.rule for finding in report.blocking} if marked else set()
    return tuple(
        KioskFinding(
            rule=finding.rule,
            verdict=finding.verdict.value,
            level=finding.level.value,
            value=finding.value,
            unit=finding.unit,
            low=finding.limit.low,
            high=finding.limit.high,
            advice=finding.advice,
            marks=marks_of(finding, report) if finding.rule in blocking else None,
        )
        for finding in report.findings
    )
