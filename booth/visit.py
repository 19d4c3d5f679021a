"""PURE. One applicant's visit as a table: state and event give the next state and the effects to perform.

Theory of operation
  - Everything that changes a visit is in this file, and only `step` does it; `booth.events` holds the words. `step` never raises and
    never waits: an event for which the table has no row changes nothing (`accepts` tells beforehand).
  - The runner performs effects and brings their outcomes back as events. An outcome carries the `turn` of the visit that asked for it;
    the turn grows with each change of state, so the outcome of work that was given up is ignored. Events of people and devices carry no turn.
  - Guards look at the visit as it was before the event. The first matching row counts.
  - One timer runs at a time; a new one replaces it. States that wait for a person have a silence: when it is over the visit is warned
    (SILENCE) and, after WARNING_S more, cleared (LIMIT). Whatever the applicant does starts the silence anew. States in which the booth
    works have a LIMIT only. ATTRACT and OUT_OF_SERVICE are idle: no timer, no personal data.
  - Faults of devices never lengthen a time-out, so a flapping cable cannot keep a visit alive. Work that fails sends the applicant back
    to FRAMING at most MAX_FAILURES - 1 times.
  - A number that was shown or typed (NUMBER_GIVEN) is looked at while the visit stays in IDENTIFY, one at a time; what came of it is IDENTIFIED or
    NUMBER_REFUSED with its reason, after which another may be given.
  - CLEARING is the only way to ATTRACT. It drops everything about the applicant on entry, and is left only after WIPED.
  - After the last try, and whenever asked for, there is ASSISTANCE. A member of staff shows there who he is by a personal code (STAFF_ASKED; one code
    is looked at at a time) and releases the refused portrait, gives tries anew, or ends the visit. A released portrait goes back to REVIEW,
    where the applicant keeps it or not. Without a code the visit can always be ended; and whoever only asked for help, or whose portrait could not
    be saved, goes on where he was (RESUME, RESUMED_IN).

Rules that the tests prove: never two visits at once; SEALING only with consent and a passed check or a portrait that staff released; THANKS only by SEALED, which the
runner sends after the outbox commit; from every state back to ATTRACT or OUT_OF_SERVICE by time-outs alone.

`python -m booth.visit` prints the diagram and the table of docs/visit.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from booth.events import (
    Application,
    Capture,
    Check,
    CheckStaffCode,
    Effect,
    Event,
    Happening,
    Identify,
    LightScene,
    Notice,
    Seal,
    SetLights,
    SetWatch,
    StartTimer,
    StopTimer,
    Watch,
    Wipe,
)

# WCAG 2.2, 2.2.1: a person who is warned has at least 20 seconds to ask for more time.
WARNING_S = 20.0
MAX_FAILURES = 3  # captures or checks that the booth itself spoilt, before staff are called
CLEARED_SHOWN_S = 2.0  # long enough to read "your data were deleted"


class State(StrEnum):
    """Where the visit is."""

    ATTRACT = "attract"
    LANGUAGE = "language"
    IDENTIFY = "identify"
    CONSENT = "consent"
    FRAMING = "framing"
    CAPTURING = "capturing"
    CHECKING = "checking"
    REVIEW = "review"
    SEALING = "sealing"
    THANKS = "thanks"
    CLEARING = "clearing"
    ASSISTANCE = "assistance"
    OUT_OF_SERVICE = "out_of_service"


class Verdict(StrEnum):
    """How the portrait under review was judged."""

    PASSED = "passed"
    FAILED = "failed"
    RELEASED = "released"  # a rule does not hold, and a member of staff answers for it


ACCEPTED = frozenset({Verdict.PASSED, Verdict.RELEASED})
REFUSED = frozenset({Verdict.FAILED, Verdict.RELEASED})  # by a rule, whatever staff say


@dataclass(frozen=True, slots=True)
class Terms:
    """What every visit of this booth starts with."""

    language: str = "en"
    tries: int = 3


NUMBER_UNREADABLE = Notice("application.malformed", "identify.refused")
TOO_SLOW = Notice("visit.slow", "fault.slow")
NOT_SAVED = Notice("visit.not_saved", "fault.not_saved")


# --- the visit ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visit:
    """Everything that decides what happens next."""

    terms: Terms = field(default_factory=Terms)
    state: State = State.ATTRACT
    turn: int = 0
    language: str = "en"
    visit_id: str | None = None
    identifying: bool = False  # a number is being looked up
    application: Application | None = field(default=None, repr=False)
    consented: bool = False
    verdict: Verdict | None = None
    tries_left: int = 0
    failures: int = 0
    overdue: bool = False  # the time for framing was over: the best picture so far counts
    has_portrait: bool = False  # the judged one could be kept
    asking_staff: bool = False  # a code is being looked at
    came_from: State | None = None  # where RESUME leads back to, in ASSISTANCE
    reference: str | None = None
    warned: bool = False
    wiped: bool = True
    fault: Notice | None = None  # of a device or the disk; stands until repaired
    obstructed: bool = False
    trouble: Notice | None = None  # what just went wrong; goes with the next success

    @property
    def idle(self) -> bool:
        """Nobody is here."""
        return self.state in IDLE


IDLE = frozenset({State.ATTRACT, State.OUT_OF_SERVICE})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a state lasts: seconds of silence before the warning, or the limit of the booth's own work."""

    silence_s: float | None = None
    limit_s: float | None = None


PATIENCE: Mapping[State, Patience] = MappingProxyType(
    {
        State.LANGUAGE: Patience(silence_s=30),
        State.IDENTIFY: Patience(silence_s=60),
        State.CONSENT: Patience(silence_s=90),
        State.FRAMING: Patience(silence_s=60),
        State.CAPTURING: Patience(limit_s=15),
        State.CHECKING: Patience(limit_s=10),
        State.REVIEW: Patience(silence_s=60),
        State.SEALING: Patience(limit_s=30),
        State.THANKS: Patience(silence_s=20),
        State.CLEARING: Patience(limit_s=10),
        State.ASSISTANCE: Patience(silence_s=180),
    }
)

ON_ENTRY: Mapping[State, tuple[Effect, ...]] = MappingProxyType(
    {
        State.ATTRACT: (SetLights(LightScene.STANDBY), SetWatch(Watch.NOTHING)),
        State.LANGUAGE: (),
        State.IDENTIFY: (SetWatch(Watch.CODES),),
        State.CONSENT: (SetWatch(Watch.NOTHING),),
        State.FRAMING: (SetLights(LightScene.PORTRAIT), SetWatch(Watch.FACES)),
        State.CAPTURING: (SetWatch(Watch.NOTHING), Capture()),
        State.CHECKING: (Check(),),
        State.REVIEW: (),
        State.SEALING: (Seal(),),
        State.THANKS: (SetLights(LightScene.STANDBY),),
        State.CLEARING: (SetWatch(Watch.NOTHING), Wipe()),
        State.ASSISTANCE: (SetWatch(Watch.NOTHING),),
        State.OUT_OF_SERVICE: (SetLights(LightScene.STANDBY), SetWatch(Watch.NOTHING)),
    }
)


class Guard(StrEnum):
    """A condition on the visit before the event."""

    ALWAYS = ""
    UNOBSTRUCTED = "camera and lamps work"
    TRIES_LEFT = "tries left"
    ANOTHER_TRY = "not the last try"
    LAST_TRY = "the last try"
    FAILURES_LEFT = "first failures"
    NO_FAILURES_LEFT = "failed too often"
    ACCEPTABLE = "consent, passed or released"
    RELEASABLE = "consent, refused portrait"
    CONSENTED = "consent"
    FROM_LANGUAGE = "help asked for in language"
    FROM_IDENTIFY = "help asked for in identify"
    FROM_CONSENT = "help asked for in consent"
    FROM_FRAMING = "help asked for in framing"
    FROM_REVIEW = "help asked for in review, or not saved"
    NO_NUMBER_ASKED = "no number under way"
    NO_CODE_ASKED = "no code under way"
    CLEARED = "wiped, all well"
    CLEARED_OBSTRUCTED = "wiped, fault"
    NOT_WIPED = "not wiped"


GUARDS: Mapping[Guard, Callable[[Visit], bool]] = MappingProxyType(
    {
        Guard.ALWAYS: lambda _: True,
        Guard.UNOBSTRUCTED: lambda visit: not visit.obstructed,
        Guard.TRIES_LEFT: lambda visit: visit.tries_left > 0,
        Guard.ANOTHER_TRY: lambda visit: visit.tries_left > 1,
        Guard.LAST_TRY: lambda visit: visit.tries_left <= 1,
        Guard.FAILURES_LEFT: lambda visit: visit.failures + 1 < MAX_FAILURES,
        Guard.NO_FAILURES_LEFT: lambda visit: visit.failures + 1 >= MAX_FAILURES,
        Guard.ACCEPTABLE: lambda visit: visit.consented and visit.verdict in ACCEPTED,
        Guard.RELEASABLE: lambda visit: visit.consented and visit.has_portrait and visit.verdict in REFUSED,
        Guard.CONSENTED: lambda visit: visit.consented,
        Guard.FROM_LANGUAGE: lambda visit: visit.came_from is State.LANGUAGE,
        Guard.FROM_IDENTIFY: lambda visit: visit.came_from is State.IDENTIFY,
        Guard.FROM_CONSENT: lambda visit: visit.came_from is State.CONSENT,
        Guard.FROM_FRAMING: lambda visit: visit.came_from is State.FRAMING,
        Guard.FROM_REVIEW: lambda visit: visit.came_from is State.REVIEW,
        Guard.NO_NUMBER_ASKED: lambda visit: not visit.identifying,
        Guard.NO_CODE_ASKED: lambda visit: not visit.asking_staff,
        Guard.CLEARED: lambda visit: visit.wiped and not visit.obstructed,
        Guard.CLEARED_OBSTRUCTED: lambda visit: visit.wiped and visit.obstructed,
        Guard.NOT_WIPED: lambda visit: not visit.wiped,
    }
)


@dataclass(frozen=True, slots=True)
class Row:
    """In `state`, `event` leads to `target`; no target: the visit stays, without leaving the state."""

    state: State
    event: Event
    target: State | None = None
    when: Guard = Guard.ALWAYS


_S, _E, _G = State, Event, Guard
_PRESENT = (_S.LANGUAGE, _S.IDENTIFY, _S.CONSENT, _S.FRAMING, _S.REVIEW)  # the applicant is asked for something

# Where a visit goes on that came to ASSISTANCE from here; from elsewhere only staff can let it go on.
RESUMED_IN: Mapping[State, State] = MappingProxyType({**{state: state for state in _PRESENT}, _S.SEALING: _S.REVIEW})

TRANSITIONS: tuple[Row, ...] = (
    Row(_S.ATTRACT, _E.START, _S.LANGUAGE),
    Row(_S.ATTRACT, _E.OBSTRUCTED, _S.OUT_OF_SERVICE),
    Row(_S.LANGUAGE, _E.LANGUAGE_CHOSEN, _S.IDENTIFY),
    Row(_S.IDENTIFY, _E.NUMBER_GIVEN, None, _G.NO_NUMBER_ASKED),
    Row(_S.IDENTIFY, _E.IDENTIFIED, _S.CONSENT),
    Row(_S.IDENTIFY, _E.NUMBER_REFUSED),
    Row(_S.CONSENT, _E.CONSENTED, _S.FRAMING),
    Row(_S.CONSENT, _E.DECLINED, _S.CLEARING),
    Row(_S.FRAMING, _E.HELD, _S.CAPTURING, _G.UNOBSTRUCTED),
    Row(_S.FRAMING, _E.OVERDUE, _S.CAPTURING, _G.UNOBSTRUCTED),
    Row(_S.CAPTURING, _E.CAPTURED, _S.CHECKING),
    *(
        Row(state, event, target, when)
        for state, event in (
            (_S.CAPTURING, _E.CAPTURE_FAILED),
            (_S.CAPTURING, _E.LIMIT),
            (_S.CHECKING, _E.CHECK_BROKEN),
            (_S.CHECKING, _E.LIMIT),
        )
        for target, when in ((_S.FRAMING, _G.FAILURES_LEFT), (_S.ASSISTANCE, _G.NO_FAILURES_LEFT))
    ),
    Row(_S.CHECKING, _E.CHECK_PASSED, _S.REVIEW),
    Row(_S.CHECKING, _E.CHECK_FAILED, _S.REVIEW, _G.ANOTHER_TRY),
    Row(_S.CHECKING, _E.CHECK_FAILED, _S.ASSISTANCE, _G.LAST_TRY),
    Row(_S.REVIEW, _E.RETAKE, _S.FRAMING, _G.TRIES_LEFT),
    Row(_S.REVIEW, _E.ACCEPT, _S.SEALING, _G.ACCEPTABLE),
    Row(_S.SEALING, _E.SEALED, _S.THANKS),
    Row(_S.SEALING, _E.SEAL_FAILED, _S.ASSISTANCE),
    Row(_S.SEALING, _E.LIMIT, _S.ASSISTANCE),
    Row(_S.THANKS, _E.CANCEL, _S.CLEARING),
    Row(_S.ASSISTANCE, _E.HELP_GIVEN, _S.CLEARING),
    Row(_S.ASSISTANCE, _E.STAFF_ASKED, None, _G.NO_CODE_ASKED),
    Row(_S.ASSISTANCE, _E.STAFF_REFUSED),
    Row(_S.ASSISTANCE, _E.STAFF_RELEASED, _S.REVIEW, _G.RELEASABLE),
    Row(_S.ASSISTANCE, _E.STAFF_RETAKE, _S.FRAMING, _G.CONSENTED),
    Row(_S.ASSISTANCE, _E.STAFF_ENDED, _S.CLEARING),
    Row(_S.ASSISTANCE, _E.RESUME, _S.LANGUAGE, _G.FROM_LANGUAGE),
    Row(_S.ASSISTANCE, _E.RESUME, _S.IDENTIFY, _G.FROM_IDENTIFY),
    Row(_S.ASSISTANCE, _E.RESUME, _S.CONSENT, _G.FROM_CONSENT),
    Row(_S.ASSISTANCE, _E.RESUME, _S.FRAMING, _G.FROM_FRAMING),
    Row(_S.ASSISTANCE, _E.RESUME, _S.REVIEW, _G.FROM_REVIEW),
    *(Row(state, _E.LANGUAGE_CHOSEN) for state in (_S.IDENTIFY, _S.CONSENT, _S.FRAMING, _S.REVIEW, _S.ASSISTANCE)),
    *(Row(state, _E.HELP, _S.ASSISTANCE) for state in _PRESENT),
    *(Row(state, _E.CANCEL, _S.CLEARING) for state in (*_PRESENT, _S.CAPTURING, _S.CHECKING, _S.ASSISTANCE)),
    *(
        row
        for state in (*_PRESENT, _S.THANKS, _S.ASSISTANCE)
        for row in (Row(state, _E.MORE_TIME), Row(state, _E.SILENCE), Row(state, _E.LIMIT, _S.CLEARING))
    ),
    Row(_S.CLEARING, _E.WIPED),
    Row(_S.CLEARING, _E.LIMIT, _S.ATTRACT, _G.CLEARED),
    Row(_S.CLEARING, _E.LIMIT, _S.OUT_OF_SERVICE, _G.CLEARED_OBSTRUCTED),
    Row(_S.CLEARING, _E.LIMIT, _S.CLEARING, _G.NOT_WIPED),  # wiped again: nobody may start before
    Row(_S.OUT_OF_SERVICE, _E.REPAIRED, _S.CLEARING),
    Row(_S.OUT_OF_SERVICE, _E.IMPAIRED, _S.CLEARING),
    Row(_S.OUT_OF_SERVICE, _E.OBSTRUCTED),
    *(
        Row(state, event)
        for state in State
        for event in (_E.OBSTRUCTED, _E.IMPAIRED, _E.REPAIRED)
        if state is not _S.OUT_OF_SERVICE and (state, event) != (_S.ATTRACT, _E.OBSTRUCTED)
    ),
)

_ROWS: Mapping[tuple[State, Event], tuple[Row, ...]] = MappingProxyType(
    {
        (state, event): rows
        for state in State
        for event in Event
        if (rows := tuple(row for row in TRANSITIONS if row.state is state and row.event is event))
    }
)

# Events by which a person shows that somebody is there.
_TOUCHES = frozenset(
    {_E.LANGUAGE_CHOSEN, _E.NUMBER_GIVEN, _E.NUMBER_REFUSED, _E.MORE_TIME, _E.STAFF_ASKED, _E.STAFF_REFUSED}
)
_WORKING = frozenset({_S.CAPTURING, _S.CHECKING})


def find_row(visit: Visit, happening: Happening) -> Row | None:
    """The row that `step` would follow."""
    if happening.turn is not None and happening.turn != visit.turn:
        return None
    rows = _ROWS.get((visit.state, happening.event), ())
    return next((row for row in rows if GUARDS[row.when](visit)), None)


def accepts(visit: Visit, event: Event) -> bool:
    """Whether the event would do something now."""
    return find_row(visit, Happening(event)) is not None


def step(visit: Visit, happening: Happening) -> tuple[Visit, tuple[Effect, ...]]:
    """The visit after the event, and what has to be done."""
    row = find_row(visit, happening)
    if row is None:
        return visit, ()
    after = replace(visit, **_changes(visit, happening))
    if row.target is not None:
        return _enter(after, row.target)
    if happening.event is Event.SILENCE:
        return replace(after, warned=True), (StartTimer(Event.LIMIT, WARNING_S),)
    if happening.event is Event.WIPED:
        return after, (StartTimer(Event.LIMIT, CLEARED_SHOWN_S),)
    if happening.event in _TOUCHES:
        return replace(after, warned=False), (_timer(after.state), *_questions(after, happening))
    return after, ()


def _questions(visit: Visit, happening: Happening) -> Iterator[Effect]:
    """What is asked for without leaving the state."""
    if visit.identifying and happening.given is not None:
        yield Identify(happening.given)
    if visit.asking_staff and happening.staff is not None:
        yield CheckStaffCode(happening.staff)


def _enter(visit: Visit, target: State) -> tuple[Visit, tuple[Effect, ...]]:
    turn = visit.turn + 1
    if target in IDLE or target is State.CLEARING:
        # Nothing about the applicant survives; the language stays until the clearing screen was read.
        visit = Visit(
            terms=visit.terms,
            language=visit.language if target is State.CLEARING else visit.terms.language,
            fault=visit.fault,
            obstructed=visit.obstructed,
            wiped=target is not State.CLEARING,
        )
    came_from = RESUMED_IN.get(visit.state) if target is State.ASSISTANCE else None
    visit = replace(visit, state=target, turn=turn, came_from=came_from)
    visit = replace(visit, warned=False, identifying=False, asking_staff=False)
    return visit, (_timer(target), *ON_ENTRY[target])


def _timer(state: State) -> Effect:
    patience = PATIENCE.get(state)
    if patience is None:
        return StopTimer()
    if patience.silence_s is not None:
        return StartTimer(Event.SILENCE, patience.silence_s)
    assert patience.limit_s is not None
    return StartTimer(Event.LIMIT, patience.limit_s)


def _changes(visit: Visit, happening: Happening) -> dict[str, Any]:
    """What the event itself changes, whatever the target."""
    match happening.event:
        case Event.START:
            return {
                "visit_id": happening.visit_id,
                "language": visit.terms.language,
                "tries_left": visit.terms.tries,
                "wiped": False,
            }
        case Event.LANGUAGE_CHOSEN:
            return {"language": happening.language or visit.language}
        case Event.NUMBER_GIVEN:
            return {"identifying": happening.given is not None, "trouble": None}
        case Event.IDENTIFIED:
            return {"application": happening.application, "trouble": None}
        case Event.NUMBER_REFUSED:
            return {"identifying": False, "trouble": happening.notice or NUMBER_UNREADABLE}
        case Event.CONSENTED:
            return {"consented": True}
        case Event.HELD | Event.OVERDUE | Event.RETAKE:
            return {
                "trouble": None,
                "verdict": None,
                "has_portrait": False,
                "overdue": happening.event is Event.OVERDUE,
            }
        case Event.CHECK_PASSED | Event.CHECK_FAILED:
            return {
                "verdict": Verdict.PASSED if happening.event is Event.CHECK_PASSED else Verdict.FAILED,
                "has_portrait": happening.portrait,
                "tries_left": visit.tries_left - 1,
            }
        case Event.STAFF_ASKED:
            return {"asking_staff": happening.staff is not None, "trouble": None}
        case Event.STAFF_REFUSED:
            return {"asking_staff": False, "trouble": happening.notice}
        case Event.RESUME:
            return {"trouble": None}
        case Event.STAFF_RELEASED:
            return {"verdict": Verdict.RELEASED, "trouble": None}
        case Event.STAFF_RETAKE:
            return {
                "verdict": None,
                "has_portrait": False,
                "tries_left": visit.terms.tries,
                "failures": 0,
                "trouble": None,
            }
        case Event.CAPTURE_FAILED | Event.CHECK_BROKEN:
            return {"failures": visit.failures + 1, "trouble": happening.notice}
        case Event.LIMIT if visit.state in _WORKING:
            return {"failures": visit.failures + 1, "trouble": TOO_SLOW}
        case Event.LIMIT if visit.state is State.SEALING:
            return {"trouble": NOT_SAVED}
        case Event.SEAL_FAILED:
            return {"trouble": happening.notice or NOT_SAVED}
        case Event.SEALED:
            return {"reference": happening.reference, "trouble": None}
        case Event.WIPED:
            return {"wiped": True}
        case Event.OBSTRUCTED | Event.IMPAIRED:
            return {"fault": happening.notice, "obstructed": happening.event is Event.OBSTRUCTED}
        case Event.REPAIRED:
            return {"fault": None, "obstructed": False}
        case _:
            return {}


def diagram() -> str:
    """The table as a mermaid state diagram; events that never leave a state are left out."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for row in TRANSITIONS:
        if row.target is not None:
            label = f"{row.event} [{row.when}]" if row.when else str(row.event)
            arrows.setdefault((row.state, row.target), []).append(label)
    lines = ["stateDiagram-v2", f"    [*] --> {State.ATTRACT}"]
    lines += [f"    {source} --> {target}: {', '.join(labels)}" for (source, target), labels in arrows.items()]
    return "\n".join(lines) + "\n"


def patience_table() -> str:
    """The time-outs as rows of a markdown table."""

    def cell(seconds: float | None) -> str:
        return "" if seconds is None else f"{seconds:g} s"

    return "".join(f"| {state} | {cell(p.silence_s)} | {cell(p.limit_s)} |\n" for state, p in PATIENCE.items())


if __name__ == "__main__":
    print(diagram(), patience_table(), sep="\n", end="")
