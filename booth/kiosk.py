"""What the pages see of the booth: its state, its commands, and the one seam between the web and the visit.

Rules:
  - `KioskState` is the whole truth for the screen. Every change gives a new, complete, frozen state; a page that reconnects needs nothing else.
  - A page never decides. It posts a `KioskCommand`; the visit accepts it or raises `CommandRefusedError`.
  - Everything here is un-mirrored: overlay coordinates are fractions of the preview as the camera sees it; the page mirrors picture and
    overlay together. Arrows are the applicant's own directions.
  - No application number and no portrait is in a `KioskState`; the portrait is asked for by `BoothFacade.portrait()`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from booth.errors import CommandMalformedError

if TYPE_CHECKING:
    from booth.fleet import FleetView
    from booth.inspection import LiveView
    from booth.maintenance import Maintenance

Arrow = Literal["up", "down", "left", "right", "closer", "back", "none"]
Language = Literal["en", "de", "ru", "ar"]
LANGUAGES: tuple[Language, ...] = ("en", "de", "ru", "ar")
IdentitySource = Literal["scanned", "typed"]
StateName = Literal[
    "attract",
    "language",
    "identify",
    "consent",
    "framing",
    "capturing",
    "checking",
    "review",
    "sealing",
    "thanks",
    "clearing",
    "assistance",
    "out_of_service",
]


# What a member of staff can do for a visit, and why. The classes follow the veto of BSI TR-03121-3 (GID v6.0), which tells an obvious reason
# from none; ours say which one. The words are in the catalogues (`reason.<class>`), here and at the desk.
StaffAction = Literal["override", "retake", "end"]
ReasonClass = Literal["medical", "disability", "head_cover", "child", "device_fault", "other"]
REASON_CLASSES: tuple[ReasonClass, ...] = get_args(ReasonClass)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- what the page shows ---------------------------------------------------------------------------------------------


class Instruction(_Value):
    """The one thing to do now: a message key and a direction."""

    key: str
    arrow: Arrow = "none"


class Oval(_Value):
    """The head oval, in fractions of the preview's width (x) and height (y)."""

    centre_x: float
    centre_y: float
    radius_x: float
    radius_y: float


class Overlay(_Value):
    """The guide drawn over the preview: where the head belongs, and where the software would cut."""

    oval: Oval
    eye_line_y: float
    crop: tuple[
        tuple[float, float], ...
    ] = ()  # four corners, clockwise from top left of the crop; empty without a face


Place = tuple[float, float]  # in fractions of the portrait's width and height


class FaceLines(_Value):
    """Where the booth found crown, chin and the eyes' centres in the portrait under review."""

    crown: Place
    chin: Place
    eyes: tuple[Place, Place]


class Marks(_Value):
    """Where a rule looked in the portrait."""

    dots: tuple[Place, ...] = ()
    outlines: tuple[tuple[Place, ...], ...] = ()  # closed


class KioskFinding(_Value):
    """One rule of the review: ticked, or explained."""

    rule: str
    verdict: Literal["pass", "warn", "fail", "not_assessed"]
    level: Literal["reject", "warn", "info"]
    value: float | None
    unit: str
    low: float | None
    high: float | None
    advice: str  # message key
    marks: Marks | None = None  # of a rule that stands between the portrait under review and its release


class FaultNotice(_Value):
    """What is wrong with the booth, for the applicant."""

    code: str
    message: str  # message key


class KioskState(_Value):
    """The kiosk's whole state, as sent to the page."""

    state: StateName
    language: Language
    visit: str | None  # random, new for every visit; None between visits
    identity: IdentitySource | None = None  # how the application number came
    instruction: Instruction
    countdown_s: int | None = None  # to the shutter while framing
    timeout_s: float | None = None  # shown as a warning: the visit is cleared after this time unless somebody acts
    overlay: Overlay | None = None
    findings: tuple[KioskFinding, ...] = ()
    compliant: bool | None = None  # verdict of the portrait under review
    portrait: str | None = None  # address of the portrait under review
    portrait_size: tuple[int, int] | None = None  # its pixels
    face: FaceLines | None = None  # in it
    reference: str | None = None  # on the thanks screen
    status_url: str | None = (
        None  # on the thanks screen: where the applicant asks later, with his token; its code is /api/visit/status-code
    )
    fault: FaultNotice | None = None
    tries_left: int
    tries_allowed: int  # by the profile
    released: bool = False  # the portrait under review does not hold every rule, and staff let it pass
    reason_classes: tuple[ReasonClass, ...] = ()  # with staff: what a code may be used for
    staff_actions: tuple[StaffAction, ...] = ()  # with staff: what a code can do now
    staff_wait_s: int | None = None  # with staff: no code is looked at for so long, after too many wrong ones
    commands: tuple[str, ...] = ()  # events that the visit accepts now


# --- what the page asks ----------------------------------------------------------------------------------------------


class Start(_Value):
    """Wakes the booth."""

    event: Literal["start"] = "start"


class ChooseLanguage(_Value):
    """Chooses, or changes, the language."""

    event: Literal["language"] = "language"
    language: Language


class Identify(_Value):
    """The application number as typed."""

    event: Literal["identify"] = "identify"
    number: str = Field(max_length=64, repr=False)


class Consent(_Value):
    """The answer to the privacy notice."""

    event: Literal["consent"] = "consent"
    answer: bool


class Retake(_Value):
    """Another try."""

    event: Literal["retake"] = "retake"


class Accept(_Value):
    """Keeps this portrait."""

    event: Literal["accept"] = "accept"


class Help(_Value):
    """Calls staff."""

    event: Literal["help"] = "help"


class HelpGiven(_Value):
    """Staff have helped; the visit ends."""

    event: Literal["help_given"] = "help_given"


class Resume(_Value):
    """Goes on where help was asked for."""

    event: Literal["resume"] = "resume"


class Staff(_Value):
    """A member of staff acts by a personal code: lets the refused portrait pass, gives tries anew, or ends the visit."""

    event: Literal["staff"] = "staff"
    code: str = Field(min_length=1, max_length=40, repr=False)
    reason_class: ReasonClass
    action: StaffAction


class Cancel(_Value):
    """Ends the visit."""

    event: Literal["cancel"] = "cancel"


class MoreTime(_Value):
    """Stays after a warning."""

    event: Literal["more_time"] = "more_time"


KioskCommand = Annotated[
    Start
    | ChooseLanguage
    | Identify
    | Consent
    | Retake
    | Accept
    | Help
    | HelpGiven
    | Resume
    | Staff
    | Cancel
    | MoreTime,
    Field(discriminator="event"),
]
_COMMANDS: TypeAdapter[KioskCommand] = TypeAdapter(KioskCommand)


def read_command(event: str, body: object) -> KioskCommand:
    """The command of `POST /api/visit/{event}` with its JSON body (an object, or None); raises CommandMalformedError."""
    fields: dict[str, Any] = {}
    if isinstance(body, dict) and "event" not in body:  # the address says which
        fields.update(body)
    elif body is not None:
        raise CommandMalformedError("The body of a command must be a JSON object.")
    fields["event"] = event
    try:
        return _COMMANDS.validate_python(fields)
    except ValidationError as error:
        # The input itself stays out of the message: it may be an application number or a staff code, also where the name of a field belongs.
        known = {"language", "number", "answer", "code", "reason_class", "action"}
        where = {
            str(item["loc"][-1]) if item["loc"] and item["loc"][-1] in known else "its fields"
            for item in error.errors()
        }
        raise CommandMalformedError(f"The command cannot be read: check {', '.join(sorted(where))}.") from None


# --- the technician's view -------------------------------------------------------------------------------------------


class DeviceView(_Value):
    """One device: name, address, state and for how long."""

    name: str
    url: str
    state: Literal["missing", "connecting", "ready", "lost"]
    for_s: float
    last_good_at: str | None = None  # UTC, ISO 8601; None: never since the start
    detail: str
    info: dict[str, str]


class OutboxView(_Value):
    """What waits for its receipt."""

    waiting: int
    refused: int
    damaged: int
    stored_bytes: int
    max_packets: int
    max_bytes: int
    free_bytes: int
    oldest_age_s: float | None
    accepting: bool


class IntakeView(_Value):
    """The way to the intake."""

    url: str
    last_receipt_at: str | None  # UTC, ISO 8601
    last_error: str | None
    next_try_s: float | None
    clock_skew_s: float | None
    refusal: Literal["revoked", "clock", "software"] | None = (
        None  # it answers, and refuses everything that this booth signs
    )


class EventView(_Value):
    """One line of the event log; never personal data."""

    at: str  # UTC, ISO 8601
    level: Literal["info", "warning", "error"]
    text: str
    of_visit: Annotated[bool, Field(exclude=True)] = False  # its time is that of a visit: stays in the booth


class TechnicianStatus(_Value):
    """Everything on the technician's page."""

    state: StateName
    booth: str
    site: str
    centre: str
    profile: str
    profile_version: str
    software_version: str
    devices: tuple[DeviceView, ...]
    lights_pct: dict[str, float]
    outbox: OutboxView
    intake: IntakeView
    certificate_days: float | None
    fault: FaultNotice | None
    fault_hint: str | None
    findings: tuple[KioskFinding, ...]  # of the newest preview frame that was judged
    preview_fps: float
    events: tuple[EventView, ...]  # newest first


@dataclass(frozen=True, slots=True)
class PreviewFrame:
    """A preview picture: when the camera's frame was received, and its JPEG bytes, un-mirrored."""

    at_ns: int
    jpeg: bytes


# --- the seam --------------------------------------------------------------------------------------------------------


class BoothFacade(Protocol):
    """The booth as the pages use it; called on the booth's event loop only."""

    @property
    def state(self) -> KioskState:
        """The state now."""
        ...

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[KioskState]]:
        """States from now on: the present one at once, then each newest; a slow reader misses some and delays nobody."""
        ...

    def post(self, command: KioskCommand) -> None:
        """Follows the command; `state` tells the outcome. Raises CommandRefusedError and changes nothing."""
        ...

    def preview(self) -> PreviewFrame | None:
        """The newest preview picture, encoded once per frame; None without a live camera. Blocks for one JPEG encoding at most."""
        ...

    def portrait(self) -> bytes | None:
        """The portrait under review (JPEG); None outside REVIEW, ASSISTANCE after a refusal, and SEALING."""
        ...

    def technician(self) -> TechnicianStatus:
        """Devices, outbox, intake, findings and events, for the technician's page."""
        ...

    @property
    def inspecting(self) -> bool:
        """Whether a technician is before the camera, by his own switch."""
        ...

    def inspect(self) -> AbstractContextManager[None]:
        """A technician's live view is open as long as this is held."""
        ...

    def live(self, family: str) -> LiveView:
        """What the rules measured lately, of one family of rules."""
        ...

    @property
    def maintenance(self) -> Maintenance:
        """The technician's work."""
        ...

    async def fleet(self) -> FleetView:
        """What the booth tells of itself, and what it was asked from afar."""
        ...

    async def take_profile_back(self) -> None:
        """The profile of booth.toml counts again from the next start on. Raises OSError."""
        ...
