"""A heartbeat: what a booth tells the intake of its health every few minutes, and how many visits a day had. PURE.

Rules
  - Nothing of a person and nothing of a single visit: names come from fixed sets or are ids in one narrow form, texts are short and have no room for more,
    and every value is a number of the machine or a count of a whole day.
  - Days are complete UTC days (never the one that runs), at most the last `DAYS_BACK`, in order. Their numbers are absolute: telling a day again changes nothing.
  - A day is told when portraits of at least `LEAST_VISITS` visits were judged in it. Fewer would let somebody who knows that a certain person was there that
    day guess what was wrong with his portrait; so such a day waits and is added to the next ones until that many are together. `since` says from which day
    on the numbers are counted. Visits count and not portraits: one person may have that many tries. An intake can check the portraits alone.
    (Five is assumed: a usual smallest cell of published statistics. National law may ask for more.)
  - A heartbeat has at most `MAX_HEARTBEAT_BYTES`. It is JSON; what signs it is the request that brings it (crypto/http_signature.py). Whose it is says
    the certificate of that request, and the intake refuses a body that names another booth.

Order of reading: size; JSON, strict schema; then the days against the time of sending.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic import PlainSerializer as Written

from crypto.errors import HeartbeatError
from crypto.package import Identity, broken_fields, read_instant, write_instant

MEDIA_TYPE = "application/json"
PATH = "/v1/heartbeats"
MAX_HEARTBEAT_BYTES = 64 * 1024
INTERVAL_S = 300
DAYS_BACK = 7
LEAST_VISITS = 5
# A booth that hardly anybody uses: what was counted longer ago than this is dropped.
MOST_FOLDED_DAYS = 92
MAX_RULES, MAX_CHECKS, MAX_FAULTS = 96, 64, 32
MOST_COUNT = 100_000  # of visits or portraits in `MOST_FOLDED_DAYS`; a booth has a visit a minute at most
_MOST_BYTES = 2**53 - 1
MOST_AGE_S = 10 * 366 * 86_400
MOST_DAYS = 36_500.0

# The lamps and the devices of a booth (hardware/lights.py, booth/health.py), the kinds of port by the scheme of the address.
Lamp = Literal["key_left", "key_right", "fill_top", "background"]
DeviceName = Literal["camera", "controls", "lights", "lift"]
DeviceState = Literal["missing", "connecting", "ready", "lost"]
Port = Literal["serial", "v4l2", "http", "https", "file", "other"]
ServiceState = Literal["in_service", "out_of_service"]
# The switch of the technician (booth/service_switch.py); "fault": the booth closed itself; "work": tests or a calibration run.
OutReason = Literal["maintenance", "device_fault", "cleaning", "premises", "other", "fault", "work"]

Instant = Annotated[datetime, BeforeValidator(read_instant), Written(write_instant, return_type=str, when_used="json")]
# Ids of rules, checks, causes and faults: `lamp.key_left`.
Id = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}(?:\.[a-z0-9_]{1,32}){0,3}\z", min_length=1, max_length=64)
]
# "passbooth 0.6, mediapipe 0.10.21, opencv 5.0.0"
Software = Annotated[
    str, StringConstraints(pattern=r"^[a-z]{1,24} [0-9A-Za-z.+\-]{1,40}(?:, [a-z]{1,24} [0-9A-Za-z.+\-]{1,40}){0,4}\z")
]
ProfileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,47}\z")]
Firmware = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+\-]{0,31}\z")]
Unit = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9%°*/ _.\-]{0,24}\z")]
Count = Annotated[int, Field(ge=0, le=MOST_COUNT)]
Bytes = Annotated[int, Field(ge=0, le=_MOST_BYTES)]
Seconds = Annotated[float, Field(ge=0, le=MOST_AGE_S)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]
# Of the light at the baseline; above ten times of it somebody exchanged the lamp, and the reader learns no more from the number.
Percent = Annotated[float, Field(ge=0, le=1000)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Profile(_Value):
    """The limits that the booth judges by."""

    name: ProfileName
    version: ProfileName


class Service(_Value):
    """Whether applicants are served."""

    state: ServiceState
    reason: OutReason | None = None
    since: Instant | None = None  # when it went out of service

    @model_validator(mode="after")
    def _has_its_reason(self) -> Self:
        out = self.state == "out_of_service"
        if out != (self.reason is not None) or out != (self.since is not None):
            raise ValueError("out of service has a reason and a time, in service has none")
        return self


class Device(_Value):
    """One device."""

    device: DeviceName
    state: DeviceState
    since: Instant
    remedy: Id | None = None
    port: Port
    firmware: Firmware | None = None


class Outbox(_Value):
    """Sealed packets that wait for their receipt."""

    waiting: Count
    oldest_age_s: Seconds | None
    bytes: Bytes
    quota_bytes: Bytes


class PoorCheck(_Value):
    """A self-test that is not in order."""

    id: Id
    verdict: Literal["warn", "fail"]
    cause: Id | None
    value: Number | None
    unit: Unit
    low: Number | None
    high: Number | None


class ComingLimit(_Value):
    """A self-test that will cross its limit."""

    id: Id
    days: Annotated[float, Field(ge=0, le=3_660)]


class SelfTests(_Value):
    """The newest run of self-tests in a few numbers."""

    tested_at: Instant | None  # None before the first run
    passed: Count = 0
    warned: Count = 0
    failed: Count = 0
    not_assessed: Count = 0
    poor: Annotated[tuple[PoorCheck, ...], Field(max_length=MAX_CHECKS)] = ()
    coming: Annotated[tuple[ComingLimit, ...], Field(max_length=MAX_CHECKS)] = ()

    @property
    def line(self) -> str:
        """In words, for an event log."""
        if self.tested_at is None:
            return "no self-tests yet"
        counts = (
            f"{self.passed} in order, {self.warned} to watch, {self.failed} failed, {self.not_assessed} not assessed"
        )
        poor = ", ".join(each.id for each in self.poor)
        coming = ", ".join(f"{each.id} in {each.days:.0f} days" for each in self.coming)
        return counts + (f"; see to {poor}" if poor else "") + (f"; limits ahead: {coming}" if coming else "")


class LampLight(_Value):
    """A lamp as the camera saw it last."""

    response_pct: Percent  # of its light at the baseline
    drive_pct: Annotated[float, Field(ge=0, le=100)] | None = None


class Visits(_Value):
    """How the visits of a day ended."""

    started: Count
    finished: Count
    cancelled: Count
    timed_out: Count
    handed_to_staff: Count
    overridden: Count


class RuleCount(_Value):
    """How often a rule was judged, and how often the portrait failed it."""

    failed: Count
    assessed: Annotated[int, Field(ge=1, le=MOST_COUNT)]

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        if self.failed > self.assessed:
            raise ValueError("more failed than were assessed")
        return self


class Day(_Value):
    """The counts of a day, or of several that were too quiet to be told alone (`since` before `day`)."""

    day: date
    since: date
    portraits: Annotated[int, Field(ge=LEAST_VISITS, le=MOST_COUNT)]  # that were assessed
    visits: Visits
    rules: Annotated[dict[Id, RuleCount], Field(max_length=MAX_RULES)]
    lamps: dict[Lamp, Percent] = {}

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        # Differences of dates: near the first year there is no date so many days before.
        if not timedelta() <= self.day - self.since <= timedelta(days=MOST_FOLDED_DAYS):
            raise ValueError(f"a day is folded from at most {MOST_FOLDED_DAYS} days")
        if any(count.assessed > self.portraits for count in self.rules.values()):
            raise ValueError("a rule was assessed more often than there are portraits")
        return self


class Heartbeat(_Value):
    """What a booth tells."""

    version: Literal[1] = 1
    booth: Identity
    software: Software
    profile: Profile
    sent_at: Instant
    started_at: Instant
    service: Service
    faults: Annotated[tuple[Id, ...], Field(max_length=MAX_FAULTS)] = ()  # codes of booth/faults.py that are present
    devices: Annotated[tuple[Device, ...], Field(max_length=4)] = ()
    outbox: Outbox
    certificate_days: Annotated[float, Field(ge=-MOST_DAYS, le=MOST_DAYS)] | None
    disk_free_bytes: Bytes | None
    clock_offset_s: Number | None = None
    tests: SelfTests
    lamps: dict[Lamp, LampLight] = {}
    days: Annotated[tuple[Day, ...], Field(max_length=DAYS_BACK)] = ()

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        names = [device.device for device in self.devices]
        if len(set(names)) != len(names):
            raise ValueError("a device is named twice")
        today = self.sent_at.date()
        last = date.min
        for day in self.days:
            if not timedelta() < today - day.day <= timedelta(days=DAYS_BACK):
                raise ValueError(f"days are complete ones of the last {DAYS_BACK}")
            if day.since <= last:
                raise ValueError("days must be in order and share none")
            last = day.day
        return self

    def to_bytes(self) -> bytes:
        """The body that is sent. Raises HeartbeatError when it would be too long."""
        data = self.model_dump_json().encode()
        if len(data) > MAX_HEARTBEAT_BYTES:
            raise HeartbeatError(f"The heartbeat has {len(data)} bytes; {MAX_HEARTBEAT_BYTES} is the limit.")
        return data


class HeartbeatAnswer(_Value):
    """What the intake answers."""

    actions: Count  # remote orders that wait for this booth
    next_s: Annotated[int, Field(ge=10, le=86_400)]  # when to tell again


def read_heartbeat(data: bytes) -> Heartbeat:
    """The heartbeat in `data`. Raises HeartbeatError, which tells places and no values."""
    if len(data) > MAX_HEARTBEAT_BYTES:
        raise HeartbeatError(f"The heartbeat has {len(data)} bytes; {MAX_HEARTBEAT_BYTES} is the limit.")
    try:
        return Heartbeat.model_validate_json(data)
    except ValidationError as error:
        raise HeartbeatError(f"The heartbeat breaks its schema at {broken_fields(error)}.") from None


def read_answer(data: bytes) -> HeartbeatAnswer:
    """The intake's answer in `data`. Raises HeartbeatError."""
    if len(data) > MAX_HEARTBEAT_BYTES:
        raise HeartbeatError("The answer to a heartbeat is too long.")
    try:
        return HeartbeatAnswer.model_validate_json(data)
    except ValidationError as error:
        raise HeartbeatError(f"The answer to a heartbeat breaks its schema at {broken_fields(error)}.") from None
