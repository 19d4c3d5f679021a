"""What is wrong with the booth now, and what happened lately.

Rules: each source (a device, the outbox, the profile, the checker) has at most one fault at a time; the gravest one is what applicants are
told; a fault is written to the event log when it comes and when it goes, once each way. Nothing here is personal.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

from booth.errors import OutOfServiceError
from booth.events import Event, Happening
from booth.faults import TABLE, Fault, Severity
from booth.kiosk import EventView
from hardware.link import DeviceState, DeviceStatus

log = logging.getLogger(__name__)

MAX_EVENTS = 200
# What it means when a device is not ready, by the name in its status.
ABSENT: Mapping[str, str] = {
    "camera": "camera.lost",
    "controls": "control.lost",
    "lights": "lights.lost",
    "lift": "lift.lost",
}

_LEVELS: Mapping[Severity, Literal["info", "warning", "error"]] = {
    Severity.TOLD: "warning",
    Severity.IMPAIRS: "warning",
    Severity.OBSTRUCTS: "error",
}


class Health:
    """Present faults by source, and the event log."""

    def __init__(self, utc: Callable[[], datetime]) -> None:
        self._utc = utc
        self._faults: dict[str, Fault] = {}
        self._ready: set[str] = set()
        self._good: dict[str, str] = {}
        self.events: deque[EventView] = deque(maxlen=MAX_EVENTS)

    @property
    def worst(self) -> Fault | None:
        """The gravest present fault; the first of equals."""
        return max(self._faults.values(), key=lambda fault: fault.severity, default=None)

    @property
    def codes(self) -> frozenset[str]:
        """The codes of the present faults."""
        return frozenset(fault.code for fault in self._faults.values())

    @property
    def told(self) -> Happening:
        """The present faults as an event of the visit."""
        worst = self.worst
        if worst is None or worst.severity is Severity.TOLD:
            return Happening(Event.REPAIRED)
        event = Event.OBSTRUCTED if worst.severity is Severity.OBSTRUCTS else Event.IMPAIRED
        return Happening(event, notice=worst.notice)

    def note(self, level: Literal["info", "warning", "error"], text: str, *, of_visit: bool = False) -> None:
        """One line of the event log; one that a visit gave reason for is told to nobody outside as it is (booth/support_bundle.py)."""
        self.events.appendleft(EventView(at=self._now(), level=level, text=text, of_visit=of_visit))
        log.log({"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}[level], "%s", text)

    def set(self, source: str, fault: Fault | None) -> bool:
        """The source's fault from now on, None for none; whether that changed what is told."""
        before = self._faults.get(source)
        if fault is None:
            if self._faults.pop(source, None) is not None:
                self.note("info", f"{source}: in order again")
        else:
            self._faults[source] = fault
            if before is None or before.code != fault.code:
                # What a technician does on purpose is no error of the booth.
                level = "info" if fault.code == OutOfServiceError.code else _LEVELS[fault.severity]
                self.note(level, f"{source}: {fault.code}: {fault.detail}")
        return (before and before.code) != (fault and fault.code)

    def set_device(self, status: DeviceStatus) -> bool:
        """A device's state as a fault of its source."""
        self._note_ready(status)
        if status.state is DeviceState.READY:
            return self.set(status.name, None)
        code = ABSENT[status.name]
        severity, message, hint = TABLE[code]
        return self.set(status.name, Fault(code, "device", True, severity, message, hint, status.detail))

    def _note_ready(self, status: DeviceStatus) -> None:
        if status.state is DeviceState.READY:
            self._ready.add(status.name)
        elif status.name in self._ready:
            self._ready.discard(status.name)
            self._good[status.name] = self._now()

    def last_good(self, device: str) -> str | None:
        """When the device was last ready, UTC; None when it never was."""
        return self._now() if device in self._ready else self._good.get(device)

    def _now(self) -> str:
        return self._utc().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
