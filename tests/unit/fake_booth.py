"""A booth that only shows: scripted states for the pages, without camera, visit or outbox. Used by tests and by tests/journey/screens.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from booth.errors import BoothRevokedError, CommandRefusedError
from booth.faults import fault_of
from booth.fleet import FleetView
from booth.inspection import LiveView, Permission
from booth.kiosk import (
    REASON_CLASSES,
    DeviceView,
    EventView,
    FaceLines,
    FaultNotice,
    Instruction,
    IntakeView,
    KioskCommand,
    KioskFinding,
    KioskState,
    Marks,
    OutboxView,
    Oval,
    Overlay,
    PreviewFrame,
    TechnicianStatus,
)
from tests.unit.fake_technician import FakeMaintenance, fleet_view, live_view
from validation.rules import RULES as TABLE
from validation.rules import load_profile

GUIDE = Overlay(oval=Oval(centre_x=0.5, centre_y=0.47, radius_x=0.24, radius_y=0.27), eye_line_y=0.45)
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "attract": ("start",),
    "language": ("language", "help", "cancel"),
    "identify": ("identify", "language", "help", "cancel"),
    "consent": ("consent", "language", "help", "cancel"),
    "framing": ("language", "help", "cancel"),
    "capturing": ("cancel",),
    "checking": ("cancel",),
    "review": ("retake", "accept", "language", "help", "cancel"),
    "sealing": (),
    "thanks": ("cancel",),
    "clearing": (),
    "assistance": ("help_given", "staff", "language", "cancel"),
    "out_of_service": (),
}
# rule, value, unit, low, high, advice when broken
MEASURED = (
    ("face.single", 1, "faces", 1, 1, "advice.one_person"),
    ("geometry.inter_eye", 148.2, "px", 120, None, "advice.closer"),
    ("geometry.head_height", 74.1, "%", 60, 90, "advice.back"),
    ("geometry.vertical", 45.8, "%", 30, 50, "advice.up"),
    ("geometry.horizontal", 50.6, "%", 45, 55, "advice.left"),
    ("pose.roll", -0.8, "°", -8, 8, "advice.tilt_head_right"),
    ("pose.yaw", 1.4, "°", -5, 5, "advice.turn_head_right"),
    ("pose.pitch", -2.1, "°", -5, 5, "advice.chin_up"),
    ("eyes.open", 91.0, "% of eye-chin", 60, None, "advice.open_eyes"),
    ("mouth.closed", 4.0, "% of eye-chin", None, 20, "advice.close_mouth"),
    ("light.even", 6.5, "%", None, 20, "advice.light_problem"),
    ("background.uniform", 3.2, "", None, 8, "advice.background_problem"),
    ("background.one_colour", 1.2, "%", None, 5, "advice.background_problem"),
    ("face.lower_visible", 99.0, "%", 90, None, "advice.uncover_face"),
    ("light.exposure", 52.0, "%", None, None, "advice.light_problem"),
    ("image.size", 622, "px", 622, None, "advice.closer"),
)
FACE = FaceLines(crown=(0.5, 0.13), chin=(0.5, 0.76), eyes=((0.4, 0.43), (0.61, 0.43)))
MARKS = {
    "eyes.open": Marks(
        outlines=(
            ((0.34, 0.41), (0.45, 0.41), (0.45, 0.46), (0.34, 0.46)),
            ((0.55, 0.41), (0.66, 0.41), (0.66, 0.46), (0.55, 0.46)),
        )
    ),
    "geometry.horizontal": Marks(dots=((0.505, 0.435),)),
    "mouth.closed": Marks(outlines=(((0.42, 0.61), (0.59, 0.61), (0.59, 0.68), (0.42, 0.68)),)),
    "pose.yaw": Marks(dots=((0.5, 0.55), (0.28, 0.5), (0.72, 0.5))),
    "background.uniform": Marks(outlines=(((0.02, 0.02), (0.2, 0.02), (0.14, 0.4), (0.02, 0.5)),)),
}
_MEASURED_IDS = {rule for rule, *_ in MEASURED}
LEVELS = {rule: limits.level.value for rule, limits in load_profile("demo").rules.items()}
RULES = (
    *MEASURED,
    *((rule.id, 1.0, rule.unit, None, None, rule.below) for rule in TABLE if rule.id not in _MEASURED_IDS),
)


def beyond(low: float | None, high: float | None) -> float:
    """A value that does not keep these limits."""
    return round(high * 1.2, 1) if high else round((low or 0) * 0.8, 1)


def findings(broken: Mapping[str, str] | None = None) -> tuple[KioskFinding, ...]:
    """Every rule passed, but for the verdicts given by rule."""
    broken = broken or {}
    return tuple(
        KioskFinding(
            rule=rule,
            verdict=broken.get(rule, "pass"),
            level=LEVELS.get(rule, "reject"),
            value={"pass": value, "not_assessed": None}.get(broken.get(rule, "pass"), beyond(low, high)),
            unit=unit,
            low=low,
            high=high,
            advice=advice if rule in broken else "advice.none",
            marks=MARKS.get(rule) if broken.get(rule) == "fail" else None,
        )
        for rule, value, unit, low, high, advice in RULES
    )


def kiosk_state(state: str, **values: Any) -> KioskState:
    """A plausible state of that name; `values` replace its fields."""
    active = state not in {"attract", "clearing", "out_of_service"}
    default: dict[str, Any] = {
        "state": state,
        "language": "en",
        "visit": "8f4a2c61" if active else None,
        "instruction": Instruction(key=f"state.{state}.title"),
        "tries_left": 2,
        "tries_allowed": 3,
        "commands": COMMANDS[state],
    }
    if state in {"framing", "capturing"}:
        default |= {"instruction": Instruction(key="advice.hold_still"), "overlay": GUIDE}
    if state == "review":
        default |= {"findings": findings(), "compliant": True, "portrait": "/api/visit/portrait?1"}
    if state == "assistance":
        default |= {"reason_classes": REASON_CLASSES, "staff_actions": ("retake", "end")}
    if state == "thanks":
        default["reference"] = "9F3C-71AD-0B52"
        default["status_url"] = "https://passport.example/status#gezdgnbvgy3tqojqgezdgnbvgy"
    shown = default | values
    if shown.get("portrait") is not None and "portrait_size" not in shown:
        shown |= {"portrait_size": (622, 800), "face": FACE}
    return KioskState(**shown)


def technician_status(**values: Any) -> TechnicianStatus:
    """A booth in good health; `values` replace its fields."""
    default: dict[str, Any] = {
        "state": "framing",
        "booth": "booth-0001",
        "site": "town-hall",
        "centre": "centre-07",
        "profile": "demo",
        "profile_version": "1",
        "software_version": "0.1.0",
        "devices": (
            DeviceView(
                name="camera",
                url="http://127.0.0.1:8080/preview.mjpg",
                state="ready",
                for_s=5423,
                detail="Pictures arrive.",
                info={"preview": "600x800 MJPG 30/s", "still": "960x1280 PNG"},
            ),
            DeviceView(
                name="controls",
                url="visca+serial:///dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00",
                state="ready",
                for_s=5423,
                detail="Every setting was read back.",
                info={"firmware": "1.03", "model": "FCB-EV7520"},
            ),
            DeviceView(
                name="lights",
                url="wled+serial:///dev/serial/by-id/usb-Silicon_Labs_CP2102N-if00",
                state="ready",
                for_s=312,
                detail="The lamps echo every level.",
                info={"firmware": "WLED 0.15.0"},
            ),
        ),
        "lights_pct": {"key_left": 62.5, "key_right": 62.5, "fill_top": 58.0, "background": 70.0},
        "outbox": OutboxView(
            waiting=1,
            refused=0,
            damaged=0,
            stored_bytes=1_840_000,
            max_packets=500,
            max_bytes=2_000_000_000,
            free_bytes=41_300_000_000,
            oldest_age_s=48,
            accepting=True,
        ),
        "intake": IntakeView(
            url="https://intake.example.org/",
            last_receipt_at="2026-11-22T09:41:07Z",
            last_error=None,
            next_try_s=None,
            clock_skew_s=0.4,
        ),
        "certificate_days": 203.4,
        "fault": None,
        "fault_hint": None,
        "findings": findings({"geometry.horizontal": "fail"}),
        "preview_fps": 29.8,
        "events": (
            EventView(at="2026-11-22T09:42:11Z", level="info", text="A visit began."),
            EventView(
                at="2026-11-22T09:41:07Z",
                level="info",
                text="The intake has receipted a packet; the booth's copy is deleted.",
            ),
            EventView(at="2026-11-22T09:37:02Z", level="warning", text="lights: lost, then ready again after 1.2 s."),
        ),
    }
    return TechnicianStatus(**(default | values))


class FakeBooth:
    """A `BoothFacade` whose states are set by hand; commands are written down."""

    def __init__(
        self, state: KioskState | None = None, picture: bytes | None = None, portrait: bytes | None = None
    ) -> None:
        self._state = state or kiosk_state("attract")
        self._changed = asyncio.Condition()
        self._turn = 0
        self.picture = picture
        self.picture_at_ns = 1
        self.portrait_bytes = portrait
        self.status = technician_status()
        self.commands: list[KioskCommand] = []
        self.subscribers = 0
        self.alone = asyncio.Event()  # nobody follows the states
        self.on_command = lambda _command: None
        self.maintenance = FakeMaintenance()
        self.looks = 0
        self.profile_taken_back = False
        self.unseen = asyncio.Event()  # no technician's live view is open

    @property
    def state(self) -> KioskState:
        return self._state

    async def fleet(self) -> FleetView:
        return fleet_view(taken_back=self.profile_taken_back)

    async def take_profile_back(self) -> None:
        self.profile_taken_back = True

    async def show(self, state: KioskState) -> None:
        """Makes this the state now and tells every subscriber."""
        async with self._changed:
            self._state = state
            self._turn += 1
            self._changed.notify_all()

    @contextlib.asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[KioskState]]:
        self.subscribers += 1
        self.alone.clear()
        try:
            yield self._states()
        finally:
            self.subscribers -= 1
            if self.subscribers == 0:
                self.alone.set()

    async def _states(self) -> AsyncIterator[KioskState]:
        seen = None
        while True:
            async with self._changed:
                while self._turn == seen:
                    await self._changed.wait()
                seen = self._turn
                state = self._state
            yield state

    def post(self, command: KioskCommand) -> None:
        if command.event not in self._state.commands and command.event != "more_time":
            raise CommandRefusedError(command.event, self._state.state)
        self.commands.append(command)
        self.on_command(command)

    def preview(self) -> PreviewFrame | None:
        return None if self.picture is None else PreviewFrame(self.picture_at_ns, self.picture)

    def portrait(self) -> bytes | None:
        return self.portrait_bytes if self._state.portrait is not None else None

    def technician(self) -> TechnicianStatus:
        return self.status

    @property
    def inspecting(self) -> bool:
        return self.maintenance.state.switch is not None and self.maintenance.state.busy is None

    @contextlib.contextmanager
    def inspect(self) -> Iterator[None]:
        self.looks += 1
        self.unseen.clear()
        try:
            yield
        finally:
            self.looks -= 1
            if self.looks == 0:
                self.unseen.set()

    def live(self, family: str) -> LiveView:
        return live_view(
            family, GUIDE, inspecting=self.inspecting, permission=Permission.YES if self.inspecting else Permission.NO
        )


def broken_devices() -> dict[str, Any]:
    """Fields of a technician's status on a bad day."""
    good = technician_status()
    camera, controls, lights = good.devices
    return {
        "state": "out_of_service",
        "devices": (
            camera,
            controls.model_copy(
                update={"state": "connecting", "for_s": 2, "detail": "Asking the camera for its version."}
            ),
            lights.model_copy(
                update={
                    "state": "lost",
                    "for_s": 94,
                    "detail": "The port is gone: check the cable and the power of the lamp controller. It is used again by itself when it is back.",
                }
            ),
        ),
        "outbox": good.outbox.model_copy(update={"waiting": 37, "refused": 1, "oldest_age_s": 93_000}),
        "intake": good.intake.model_copy(
            update={"last_error": "The intake does not answer: connection refused.", "next_try_s": 41}
        ),
        "certificate_days": 12.0,
        "fault": FaultNotice(code="lights.lost", message="fault.lights"),
        "fault_hint": "Check cable and power of the device; it is used again by itself when it is back.",
        "findings": (),
        "preview_fps": 0.0,
    }


def revoked_booth() -> dict[str, Any]:
    """Fields of a technician's status when the authority took the booth's certificate back."""
    good = technician_status()
    fault = fault_of(
        BoothRevokedError(
            "The intake refuses this booth: its certificate was revoked. Enrol the booth again; packets wait."
        )
    )
    return {
        "state": "out_of_service",
        "outbox": good.outbox.model_copy(update={"waiting": 3, "oldest_age_s": 640}),
        "intake": good.intake.model_copy(
            update={"refusal": "revoked", "last_error": fault.detail, "next_try_s": 212, "clock_skew_s": 431.0}
        ),
        "fault": FaultNotice(code=fault.code, message=fault.message),
        "fault_hint": f"{fault.detail} {fault.hint}",
        "findings": (),
    }
