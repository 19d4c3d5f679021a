"""PURE. The words of a visit: what can happen (`Happening`), and what has to be done (`Effect`). `booth.visit` joins them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Event(StrEnum):
    """What can happen."""

    # the applicant or staff
    START = "start"
    LANGUAGE_CHOSEN = "language_chosen"
    NUMBER_GIVEN = "number_given"  # scanned or typed; whose it is comes as IDENTIFIED or NUMBER_REFUSED
    IDENTIFIED = "identified"
    NUMBER_REFUSED = "number_refused"
    CONSENTED = "consented"
    DECLINED = "declined"
    RETAKE = "retake"
    ACCEPT = "accept"
    HELP = "help"
    HELP_GIVEN = "help_given"
    RESUME = "resume"
    CANCEL = "cancel"
    MORE_TIME = "more_time"
    STAFF_ASKED = "staff_asked"  # a personal code was typed; what it is worth comes as one of the outcomes
    # the sitter, seen by the camera
    HELD = "held"
    OVERDUE = "overdue"  # guided for long enough: the best picture so far counts
    # outcomes of effects
    CAPTURED = "captured"
    CAPTURE_FAILED = "capture_failed"
    CHECK_PASSED = "check_passed"
    CHECK_FAILED = "check_failed"
    CHECK_BROKEN = "check_broken"
    SEALED = "sealed"
    SEAL_FAILED = "seal_failed"
    WIPED = "wiped"
    STAFF_REFUSED = "staff_refused"
    STAFF_RELEASED = "staff_released"  # the portrait counts although a rule does not hold
    STAFF_RETAKE = "staff_retake"
    STAFF_ENDED = "staff_ended"
    # the clock
    SILENCE = "silence"
    LIMIT = "limit"
    # devices and disk
    OBSTRUCTED = "obstructed"  # no portrait can be taken or kept
    IMPAIRED = "impaired"  # worth telling; a visit can go on
    REPAIRED = "repaired"


class LightScene(StrEnum):
    """What the lamps are for."""

    STANDBY = "standby"
    PORTRAIT = "portrait"


class Watch(StrEnum):
    """What the preview is looked at for."""

    NOTHING = "nothing"
    CODES = "codes"
    FACES = "faces"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is wrong, for the applicant: a stable code and a message key."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Application:
    """The application number, how it came ("scanned" or "typed"), and what is known of it."""

    number: str = field(repr=False)
    source: str
    verified: bool = False  # a centre signed it
    registry: str | None = None  # the state that the registry told; "unreached" when it told none
    centre: str | None = None  # of the slip
    expires: str | None = None  # the slip's last day


@dataclass(frozen=True, slots=True)
class Given:
    """What was shown to the camera or typed, and which of the two."""

    text: str = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True)
class StaffRequest:
    """A personal code with what is to be done, and why (a class of reasons)."""

    code: str = field(repr=False)
    reason_class: str
    action: str


@dataclass(frozen=True, slots=True)
class Happening:
    """An event and what it carries."""

    event: Event
    turn: int | None = None
    visit_id: str | None = None
    language: str | None = None
    given: Given | None = field(default=None, repr=False)
    application: Application | None = field(default=None, repr=False)
    reference: str | None = None
    notice: Notice | None = None
    portrait: bool = False  # what was judged could be kept
    staff: StaffRequest | None = field(default=None, repr=False)


# --- effects -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Sends `event` after `seconds`, unless another timer is started or the timer is stopped first."""

    event: Event
    seconds: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    """No timer runs."""


@dataclass(frozen=True, slots=True)
class SetLights:
    """Brings the lamps to a scene."""

    scene: LightScene


@dataclass(frozen=True, slots=True)
class SetWatch:
    """Chooses what the preview is looked at for: CODES may send NUMBER_GIVEN, FACES may send HELD or OVERDUE."""

    watch: Watch


@dataclass(frozen=True, slots=True)
class Identify:
    """Verifies a slip or a number and asks the registry; sends IDENTIFIED or NUMBER_REFUSED."""

    given: Given = field(repr=False)


@dataclass(frozen=True, slots=True)
class Capture:
    """Takes the burst; sends CAPTURED or CAPTURE_FAILED."""


@dataclass(frozen=True, slots=True)
class Check:
    """Judges the best of the burst; sends CHECK_PASSED, CHECK_FAILED or CHECK_BROKEN."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Packs, signs, seals and commits to the outbox; then sends SEALED, else SEAL_FAILED."""


@dataclass(frozen=True, slots=True)
class CheckStaffCode:
    """Asks whose code it is; sends STAFF_RELEASED, STAFF_RETAKE or STAFF_ENDED, else STAFF_REFUSED."""

    request: StaffRequest = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wipe:
    """Overwrites and drops everything about the applicant; sends WIPED."""


Effect = StartTimer | StopTimer | SetLights | SetWatch | Identify | Capture | Check | Seal | CheckStaffCode | Wipe
