"""A technician's work that only shows: scripted states of maintenance, live values and training for the pages."""

from __future__ import annotations

import math
import time
from typing import Any

from booth.beat import BeatView
from booth.calibration_work import CalibrationNow, CalibrationView
from booth.errors import MaintenanceRefusedError
from booth.fleet import FleetView
from booth.inspection import LightView, LiveView, Permission
from booth.kiosk import Instruction, Overlay
from booth.live_values import LiveValues
from booth.maintenance import MaintenanceState, OutOfService, OutReason, TestRun
from booth.order_book import OrderLine
from booth.plots import draw_bars
from booth.profile_choice import ChosenProfile
from booth.self_test import CheckFinding
from booth.training import Outcome, TrainingView
from booth.trends import DAY_S, Point, Trend, trend_of
from capture.calibration import Drift
from capture.calibration_run import STEPS, Step, StepState
from crypto.booth_order import OrderKind
from crypto.booth_order import Outcome as Outcome_
from tests.heartbeats import heartbeat
from validation.report import Finding, Level, Limit, Report, Verdict
from validation.rules import RULES, load_profile

AT = "2026-11-22T09:30:00Z"
# id, value, unit, low, high, verdict, cause
FOUND = (
    ("camera.rate", 29.8, "1/s", 15, None, "pass", None),
    ("camera.latency", 92.0, "ms", None, 400, "pass", None),
    ("camera.noise", 3.4, "1/255", 0.02, 4, "warn", "camera.noisy"),
    ("lamps.echo", 18.2, "ms", None, 1000, "pass", None),
    ("controls.echo", 61.0, "ms", None, 2000, "pass", None),
    ("disk.free", 12.0, "MB", 500, None, "fail", "disk.full"),
    ("clock.skew", None, "s", -300, 300, "not_assessed", "clock.unknown"),
    ("certificate.days", 203.4, "d", 0, None, "pass", None),
    ("intake.reachable", 41.0, "ms", None, 10_000, "pass", None),
    ("outbox.age", 0.0, "h", None, 336, "pass", None),
)


def check_findings(*, sound: bool = False) -> tuple[CheckFinding, ...]:
    """What a run found; `sound`: nothing is wrong."""
    return tuple(
        CheckFinding(
            id=check, value=value, unit=unit, low=low, high=high, took_ms=12.5,
            verdict="pass" if sound else verdict,
            cause=None if sound or cause is None else f"cause.{cause}",
            remedy=None if sound or cause is None else f"remedy.{cause}",
        )
        for check, value, unit, low, high, verdict, cause in FOUND
    )  # fmt: skip


def finished_run(*, sound: bool = False) -> TestRun:
    """A run that is over."""
    return TestRun(
        started_at=AT, finished_at="2026-11-22T09:31:12Z", done=10, total=10, findings=check_findings(sound=sound)
    )


def calibration_view(waiting: str | None = None) -> CalibrationView:
    """A calibration in force that drifted; `waiting`: a new one, at this step."""
    at = None if waiting is None else STEPS.index(waiting)
    steps = (
        Step(
            key=key,
            state=StepState.PENDING if place > at else StepState.WAITING if place == at else StepState.DONE,
            values={"lightness": 71.2, "chroma": 1.4} if key == "background" and place < at else {},
        )
        for place, key in enumerate(STEPS)
        if at is not None
    )
    baseline = {
        "background.lightness": 70.0,
        "geometry.pitch_zero": 0.2,
        "sharpness.mtf50": 900.0,
        "lamp.key_left": 100.0,
    }
    changes = {
        "background.lightness": 1.2,
        "geometry.pitch_zero": -1.8,
        "sharpness.mtf50": -4.1,
        "lamp.key_left": -27.0,
    }
    limits = {
        "background.lightness": (-4, 4),
        "geometry.pitch_zero": (-1, 1),
        "sharpness.mtf50": (-20, None),
        "lamp.key_left": (-20, 25),
    }
    units = {"background.lightness": "L*", "geometry.pitch_zero": "°", "sharpness.mtf50": "lines", "lamp.key_left": "%"}
    return CalibrationView(
        steps=tuple(steps),
        current=CalibrationNow(
            id="20261101T081500Z-1a2b3c4d",
            made_at="2026-11-01T08:15:00Z",
            expires_at="2027-01-30T08:15:00Z",
            age_days=21.1,
            expired=False,
        ),
        drift=tuple(
            Drift(
                key=key, unit=units[key], value=start + changes[key], baseline=start, change=changes[key],
                low=limits[key][0], high=limits[key][1], beyond=key in {"geometry.pitch_zero", "lamp.key_left"},
            )
            for key, start in baseline.items()
        ),
    )  # fmt: skip


def fleet_view(*, taken_back: bool = False) -> FleetView:
    """A booth that told its health and did two orders; the second chose a profile."""
    common = {"by": "u-3f9a11c2", "office": "desk-central", "made_at": AT, "told": True, "outcome": Outcome_.DONE}
    lines = (
        OrderLine(
            id="b" * 32, number=1795384529, kind=OrderKind.CHANGE_PROFILE, arguments={"profile": "icao-strict"},
            taken_at="2026-11-22T10:02:00Z", code="next_start", **common,
        ),
        OrderLine(id="a" * 32, number=1795384528, kind=OrderKind.RUN_TESTS, arguments={}, taken_at=AT, **common),
    )  # fmt: skip
    chosen = ChosenProfile(
        profile="icao-strict", instead_of="icao", order="b" * 32, by="u-3f9a11c2", chosen_at="2026-11-22T10:02:00Z"
    )
    beat = BeatView(enabled=True, sent_at="2026-11-22T10:05:00Z", body=heartbeat().model_dump_json())
    return FleetView(heartbeat=beat, orders_enabled=True, orders=lines, profile=None if taken_back else chosen)


class FakeMaintenance:
    """Does what `booth.maintenance.Maintenance` says, at once and to nothing."""

    def __init__(self) -> None:
        self.state = MaintenanceState(tests=finished_run(), calibration=calibration_view())
        self.done: list[str] = []
        self.visiting = False

    def put(self, **changes: Any) -> None:
        """The state from now on."""
        self.state = self.state.model_copy(update=changes)

    def start_tests(self, ids: tuple[str, ...] | None = None, *, attended: bool = False) -> None:
        self._require_idle()
        self.done.append(f"tests {'attended' if attended else 'alone'}")
        self.put(
            busy="tests",
            tests=TestRun(
                started_at=AT, attended=attended, done=3, total=10, current="disk.free", findings=check_findings()[:3]
            ),
        )

    def start_calibration(self, *, baseline: bool = False) -> None:
        self._require_idle()
        self.done.append(f"calibration {'baseline' if baseline else 'compared'}")
        self.put(busy="calibration", calibration=calibration_view("empty"))

    def proceed(self) -> None:
        if self.state.busy == "calibration":
            self.done.append("proceed")
            self.put(calibration=calibration_view("card"))
            return
        run = self.state.tests
        if run is None or run.waiting is None:
            raise MaintenanceRefusedError("Nothing waits for you: start the tests or the calibration first.")
        self.done.append("proceed")
        self.put(tests=run.model_copy(update={"waiting": None}))

    def cancel(self) -> None:
        self.done.append("cancel")
        self.put(busy=None, tests=finished_run())

    def switch_off(self, reason: OutReason) -> None:
        self._require_idle()
        self.done.append(f"off {reason}")
        self.put(switch=OutOfService(reason=reason, since=AT))

    def switch_on(self) -> None:
        self.done.append("on")
        self.put(switch=None)

    async def trends(self) -> tuple[Trend, ...]:
        return tuple(
            [
                trend_of(check, unit, low, high, await self.history(check), time.time())
                for check, _, unit, low, high, *_ in FOUND
            ]
        )

    async def history(self, check_id: str, days: float = 90.0) -> tuple[Point, ...]:
        value = next(found[1] for found in FOUND if found[0] == check_id)
        if value is None or check_id == "outbox.age":
            return ()
        now = time.time()
        return tuple(
            Point(at=now - day * DAY_S, value=value * (1 + 0.02 * day + 0.05 * math.sin(day)), verdict="pass")
            for day in range(int(days) - 1, -1, -1)
            if not 40 < day < 52  # closed
        )

    async def bundle(self) -> bytes:
        self.done.append("bundle")
        return b"PK\x05\x06" + bytes(18)  # an empty ZIP file

    def _require_idle(self) -> None:
        if self.visiting:
            raise MaintenanceRefusedError("A visit is under way: try again when the screen shows the invitation.")


def judged(at: int) -> Report:
    """A report whose values run in waves."""
    limits = load_profile("demo").rules
    findings = []
    for number, rule in enumerate(RULES):
        kept = limits.get(rule.id)
        low, high = (None, None) if kept is None else (kept.limit.low, kept.limit.high)
        middle = (
            (low + high) / 2
            if low is not None and high is not None
            else (high or 0) * 0.6
            if high
            else (low or 1) * 1.3
        )
        value = middle + abs(middle or 1) * 0.4 * math.sin(at / 9 + number)
        good = Limit(low=low, high=high).holds(value)
        findings.append(
            Finding(
                rule=rule.id, value=value, unit=rule.unit, limit=Limit(low=low, high=high), source="made", advice=rule.below,
                verdict=Verdict.PASS if good else Verdict.FAIL, level=Level.REJECT,
            )
        )  # fmt: skip
    return Report(
        profile="demo", profile_version="1", judged="live", width=600, height=800, findings=tuple(findings), software="made"
    )  # fmt: skip


def live_view(
    family: str, overlay: Overlay | None, *, inspecting: bool = True, permission: Permission = Permission.YES
) -> LiveView:
    """Three minutes of somebody who moves."""
    ring = LiveValues()
    if inspecting:
        for at in range(340):
            if not 150 < at < 170:  # away for a moment
                ring.note(judged(at), at * 500_000_000)
    chosen = family if family in ring.families or not ring.families else "light"
    heights = [
        round(4000 * (math.exp(-(((at - 22) / 9) ** 2)) + 0.6 * math.exp(-(((at - 47) / 5) ** 2)))) for at in range(64)
    ]
    return LiveView(
        inspecting=inspecting,
        permission=permission,
        overlay=overlay if inspecting else None,
        instruction=Instruction(key="advice.turn_head_left", arrow="left") if inspecting else None,
        families=ring.families,
        family=chosen,
        age_s=0.2 if inspecting else None,
        rules=ring.traces(chosen, 170_000_000_000),
        histogram=draw_bars(heights, 12, 90, 121.4) if inspecting else None,
        lights_pct={"key_left": 62.5, "key_right": 58.0, "fill_top": 55.0, "background": 70.0},
        elevation_deg=4.2,
        light=LightView(steps=2, time_ms=1840, reached=False, lacking=("light.sides",), kind="lamp", name="key_left"),
    )


class FakeTrainer:
    """A training of two exercises, both with a dark lamp."""

    causes = ("nothing", "lamp_dark", "lamp_weak", "lamps_swapped", "lens_unfocused")

    def __init__(self) -> None:
        self.number, self.right, self.answered = 1, 0, 0
        self.scene = "empty"
        self.outcome: Outcome | None = None
        self.over = False

    async def view(self) -> TrainingView:
        return TrainingView(
            exercise=self.number,
            exercises=2,
            answered=self.answered,
            right=self.right,
            over=self.over,
            scene=self.scene,
            causes=self.causes,
            outcome=self.outcome,
        )

    async def tell(self, order: dict[str, Any]) -> TrainingView:
        if "answer" in order:
            given = order["answer"]
            self.outcome = Outcome(given=given, cause="lamp_dark", right=given == "lamp_dark")
            self.answered += 1
            self.right += given == "lamp_dark"
            self.over = self.number == 2
        if "next" in order:
            self.number, self.outcome = 2, None
        self.scene = order.get("scene", self.scene)
        return await self.view()


def technician_screens() -> tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...]:
    """Name, tab, fields of the status, and what the work is at."""
    from tests.unit.fake_booth import broken_devices, revoked_booth

    off = OutOfService(reason="maintenance", since=AT)
    running = TestRun(started_at=AT, done=3, total=10, current="disk.free", findings=check_findings()[:3])
    waiting = running.model_copy(update={"attended": True, "done": 8, "waiting": "card"})
    return (
        ("technician-overview", "overview", {}, {}),
        ("technician-overview-trouble", "overview", broken_devices(), {"tests": finished_run(), "switch": off}),
        ("technician-overview-revoked", "overview", revoked_booth(), {"tests": None}),
        ("technician-live", "live", {}, {}),
        ("technician-live-inspected", "live", {"state": "out_of_service"}, {"switch": off}),
        ("technician-tests", "tests", {}, {"tests": finished_run()}),
        ("technician-tests-running", "tests", {}, {"busy": "tests", "tests": running}),
        ("technician-tests-card", "tests", {}, {"busy": "tests", "tests": waiting}),
        ("technician-calibration", "calibration", {}, {"calibration": calibration_view()}),
        (
            "technician-calibration-card",
            "calibration",
            {},
            {"busy": "calibration", "calibration": calibration_view("card")},
        ),
        ("technician-devices", "devices", {}, {}),
        ("technician-devices-trouble", "devices", broken_devices(), {}),
        ("technician-log", "log", {}, {}),
        ("technician-log-trouble", "log", broken_devices(), {}),
        ("technician-fleet", "fleet", {}, {}),
        ("technician-training", "training", {}, {}),
    )
