"""PURE: what a booth tells of itself in a heartbeat (crypto/heartbeat.py), put together from what its rooms say. Numbers, ids and states; nothing of a visit.

Whether somebody is in the booth is not told: a booth at a visit is in service like one that waits. Of an address the kind of port is told, of a device its
firmware where that has the expected form, of a fault its code. A text that does not fit the heartbeat's form is left out, not shortened; a number beyond what it has
room for (a packet from the time of a dead clock, a certificate without end) is told as the last that it has: a booth must not fall silent for one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args
from urllib.parse import urlsplit

from booth.day_counts import MOST_PERCENT
from booth.health import ABSENT
from booth.outbox_quota import OutboxStatus
from booth.self_test import CheckFinding
from booth.service_switch import OutOfService
from crypto.heartbeat import (
    MAX_FAULTS,
    MOST_AGE_S,
    MOST_COUNT,
    MOST_DAYS,
    Day,
    Device,
    DeviceName,
    Heartbeat,
    Lamp,
    LampLight,
    Outbox,
    OutReason,
    Port,
    Profile,
    SelfTests,
    Service,
)
from crypto.package import read_instant
from hardware.link import DeviceState, DeviceStatus

_FIRMWARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+\-]{0,31}")
_NO_WORD = re.compile(r"[^A-Za-z0-9._\-]")
_PORTS: Mapping[str, Port] = {
    "v4l2": "v4l2",
    "http": "http",
    "https": "https",
    "file": "file",
    "serial": "serial",
}


@dataclass(frozen=True, slots=True)
class Present:
    """What the rooms say now."""

    booth: str
    software: str
    profile: tuple[str, str]  # name, version
    now: datetime
    now_ns: int  # of the clock that device states are timed by
    started_at: datetime
    switch: OutOfService | None
    closed_since: datetime  # where the booth is out of service without the switch
    works: bool  # a technician's work, or an order's, is under way
    obstructed: bool  # a fault keeps the booth closed
    faults: Collection[str]  # codes
    devices: Sequence[DeviceStatus]
    outbox: OutboxStatus
    quota_bytes: int
    certificate_days: float | None
    clock_offset_s: float | None
    tests: SelfTests
    findings: Sequence[CheckFinding]  # of those tests
    days: tuple[Day, ...]


def compose(present: Present) -> Heartbeat:
    """The heartbeat of now. Raises pydantic's ValidationError for what a heartbeat has no room for: a defect."""
    outbox, now = present.outbox, present.now
    age_s = None if outbox.oldest_at is None else min(max(now.timestamp() - outbox.oldest_at, 0.0), MOST_AGE_S)
    days = None if present.certificate_days is None else min(max(present.certificate_days, -MOST_DAYS), MOST_DAYS)
    return Heartbeat(
        booth=present.booth,
        software=present.software,
        profile=Profile(name=_word(present.profile[0]), version=_word(present.profile[1])),
        sent_at=now,
        started_at=present.started_at,
        service=_service(present),
        faults=tuple(sorted(present.faults))[:MAX_FAULTS],
        devices=_devices(present),
        outbox=Outbox(
            waiting=min(outbox.waiting, MOST_COUNT),
            oldest_age_s=age_s,
            bytes=outbox.stored_bytes,
            quota_bytes=present.quota_bytes,
        ),
        certificate_days=None if days is None else round(days, 2),
        disk_free_bytes=outbox.free_bytes,
        clock_offset_s=None if present.clock_offset_s is None else round(present.clock_offset_s, 1),
        tests=present.tests,
        lamps=_lamps(present.findings),
        days=present.days,
    )


def _word(text: str) -> str:
    """An operator's own profile may be named and numbered as he likes."""
    return _NO_WORD.sub("-", text)[:48].lstrip("._-") or "unnamed"


def _service(present: Present) -> Service:
    if present.switch is not None:
        switch, since = present.switch, present.closed_since
        with contextlib.suppress(ValueError):  # a file that somebody wrote by hand
            since = read_instant(switch.since)
        return Service(state="out_of_service", reason=switch.reason, since=since)
    if present.works or present.obstructed:
        reason: OutReason = "work" if present.works else "fault"
        return Service(state="out_of_service", reason=reason, since=present.closed_since)
    return Service(state="in_service")


def _devices(present: Present) -> tuple[Device, ...]:
    by_name: dict[str, DeviceStatus] = {one.name: one for one in present.devices}
    return tuple(
        Device(
            device=name,
            state=one.state.value,
            since=present.now - timedelta(microseconds=max(present.now_ns - one.since_ns, 0) // 1000),
            remedy=None if one.state is DeviceState.READY else ABSENT[name],
            port=_port(one.url),
            firmware=_firmware(one.info),
        )
        for name in get_args(DeviceName)
        if (one := by_name.get(name)) is not None
    )


def _port(url: str) -> Port:
    """`wled+serial:///dev/…` is a serial port."""
    return _PORTS.get(urlsplit(url).scheme.rpartition("+")[2], "other")


def _firmware(info: Mapping[str, str]) -> str | None:
    text = info.get("firmware", "")
    return text if _FIRMWARE.fullmatch(text) else None


def _lamps(findings: Sequence[CheckFinding]) -> dict[Lamp, LampLight]:
    values = {one.id: one.value for one in findings}
    seen: dict[Lamp, float | None] = {lamp: values.get(f"lamp.{lamp}") for lamp in get_args(Lamp)}
    return {
        lamp: LampLight(response_pct=min(max(value, 0.0), MOST_PERCENT))
        for lamp, value in seen.items()
        if value is not None
    }
