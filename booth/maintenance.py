"""The technician's work on the booth between visits: self-tests, calibration, the out-of-service switch. One object for the page, the command line and the night.

Rules
  - Nothing here begins while a visit runs (MaintenanceRefusedError says when to try again), and no visit begins while anything here runs or the switch
    is off: the health source "technician" then obstructs, and applicants see the usual screen.
  - One thing at a time. What runs can be cancelled; the lamps then get back their levels. What waits for a person goes on by `proceed()`, and is given
    up when nobody comes for PATIENCE_S: a technician who left must not keep the booth closed.
  - The switch is a file in data_dir, written whole before it counts and removed before visits may begin again; so it stands after a restart. A file that
    cannot be read keeps the booth out of service, and says so.
  - The event log tells in words what was begun, by whom (page, command line, night), and how it ended. No personal data anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from booth.bench import Bench
from booth.calibration_work import CalibrationView, calibrate, make_run, read_view
from booth.diagnostics import CHECKS, Check, Progress, Prompt, chosen, run_checks
from booth.errors import HistoryUnusableError, MaintenanceRefusedError, OutOfServiceError
from booth.faults import UNKNOWN_CODE, fault_of
from booth.health import Health
from booth.heartbeat import summarise
from booth.history import DAYS, History
from booth.self_test import CheckFinding
from booth.service_switch import OUT_REASONS, OutOfService, OutReason, ServiceSwitch, utc_text
from booth.support_bundle import BundleFacts, make_bundle
from booth.trends import Point, Trend
from capture.calibration_run import CalibrationRun, StepState
from capture.frames import Latest
from crypto.heartbeat import SelfTests

__all__ = ["OUT_REASONS", "Maintenance", "MaintenanceState", "OutOfService", "OutReason", "TestRun"]

log = logging.getLogger(__name__)

SOURCE = "technician"
PATIENCE_S = 900.0
Busy = Literal["tests", "calibration"]
Occasion = Literal["page", "command", "night", "order"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TestRun(_Value):
    """A run of self-tests, under way or done."""

    __test__: ClassVar[bool] = False  # not one of pytest's

    started_at: str
    finished_at: str | None = None
    occasion: Occasion = "page"
    attended: bool = False
    done: int = 0
    total: int
    current: str | None = None
    waiting: Prompt | None = None  # for a person: the card hangs in its holder
    cancelled: bool = False
    findings: tuple[CheckFinding, ...] = ()

    @property
    def failed(self) -> tuple[CheckFinding, ...]:
        """What is wrong."""
        return tuple(each for each in self.findings if each.verdict == "fail")


class MaintenanceState(_Value):
    """What the technician's work is at."""

    busy: Busy | None = None
    tests: TestRun | None = None
    calibration: CalibrationView = CalibrationView()
    switch: OutOfService | None = None

    @property
    def waits(self) -> bool:
        """Whether what runs waits for a person."""
        if self.busy == "tests":
            return self.tests is not None and self.tests.waiting is not None
        return self.busy == "calibration" and any(step.state is StepState.WAITING for step in self.calibration.steps)


class Maintenance:
    """Made by `booth.runner.open_booth`."""

    def __init__(
        self,
        data_dir: Path,
        health: Health,
        tell: Callable[[], None],
        is_idle: Callable[[], bool],
        is_clearing: Callable[[], bool] = lambda: False,
    ) -> None:
        """Reads the switch, blocking; from here on `health` knows it. `tell` brings health's news to the visit.

        Idle: nobody is here. Clearing: nobody is here in a moment.
        """
        self._switch = ServiceSwitch(data_dir)
        self._health, self._tell, self._is_idle, self._is_clearing = health, tell, is_idle, is_clearing
        self._bench: Bench | None = None
        self._work: asyncio.Task[None] | None = None
        self._history = History(data_dir, time.time)
        self._run: CalibrationRun | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._going_on = asyncio.Event()
        self.on_found: Callable[[Sequence[CheckFinding]], None] = lambda _: None  # a run of self-tests came to its end
        self.turn = 0  # counts what was begun: who began something ends that alone
        self.published = Latest(MaintenanceState(switch=self._switch.read()))
        self._tell_health()

    @property
    def state(self) -> MaintenanceState:
        """The state now."""
        return self.published.value

    def start(self, bench: Bench) -> None:
        """Work may begin."""
        self._bench = bench

    async def close(self) -> None:
        """Cancels what runs and waits until the lamps are back."""
        self._bench = None
        self.cancel()
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)
            self._end_tests(self._work)
            self._end_calibration(self._work)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[MaintenanceState]]:
        """The present state, then each newest; a slow reader misses some and delays nobody."""
        async with aclosing(self.published.values()) as changes:

            async def states() -> AsyncGenerator[MaintenanceState, None]:
                async for state in changes:
                    yield state

            async with aclosing(states()) as shown:
                yield shown

    # --- self-tests ----------------------------------------------------------------------------------------------------

    def start_tests(
        self, ids: Sequence[str] | None = None, *, attended: bool = False, occasion: Occasion = "page"
    ) -> None:
        """Begins the checks with these ids, None for all. Raises MaintenanceRefusedError, UnknownCheckError."""
        bench = self._require_free()
        checks = chosen(ids, attended=attended, config=bench.config)
        self.turn += 1
        run = TestRun(started_at=utc_text(), occasion=occasion, attended=attended, total=len(checks))
        self._put(busy="tests", tests=run)
        self._note("info", f"{len(checks)} self-tests begun ({_SAID[occasion]})")
        self._work = asyncio.create_task(self._test(bench, checks), name="self-tests")
        self._work.add_done_callback(self._end_tests)

    async def _test(self, bench: Bench, checks: Sequence[Check]) -> None:
        findings = await run_checks(bench, checks, self._progress, self._ask)
        await self._keep(bench, findings)
        self.on_found(findings)
        self._note_outcome(findings)
        run = self.state.tests
        if run is not None and run.occasion == "night":
            with contextlib.suppress(HistoryUnusableError):  # told already
                self._note("info", f"this night: {(await self.summary()).line}")

    def _end_tests(self, work: asyncio.Task[None]) -> None:
        """The run is over, however it ended; a task that was cancelled before its first step has no `finally` of its own."""
        run = self.state.tests
        if self.state.busy != "tests" or run is None:
            return
        error = None if work.cancelled() else work.exception()
        if error is not None:
            log.error("defect in the self-tests", exc_info=error)
            self._note("error", f"the self-tests broke off: {fault_of(error).detail}")
        cancelled = work.cancelled() or error is not None
        if cancelled:
            self._note("info", f"self-tests ended early, {run.done} of {run.total} done")
        ended = {"finished_at": utc_text(), "current": None, "waiting": None, "cancelled": cancelled}
        self._put(busy=None, tests=run.model_copy(update=ended))

    async def _keep(self, bench: Bench, findings: Sequence[CheckFinding]) -> None:
        """Into the history; what is wrong with it is told and stops nothing."""
        run = self.state.tests
        assert run is not None
        try:
            await bench.blocking(self._history.add, bench.utc().timestamp(), run.occasion, findings)
        except HistoryUnusableError as error:
            self._note("warning", f"{error}")
        for text in self._history.take_problems():
            self._note("warning", f"{text}")

    def _note_outcome(self, findings: Sequence[CheckFinding]) -> None:
        poor = [each for each in findings if each.verdict in {"fail", "warn"}]
        for each in poor:
            told = "has no value" if each.value is None else f"is {each.value:g} {each.unit}"
            cause = (each.cause or "").removeprefix("cause.")
            self._note("error" if each.verdict == "fail" else "warning", f"{each.id} {told}: {cause}")
        good = sum(each.verdict == "pass" for each in findings)
        self._note("info", f"self-tests done, {good} of {len(findings)} in order")

    def _progress(self, progress: Progress) -> None:
        run = self.state.tests
        assert run is not None
        update = {"done": progress.done, "current": progress.current, "findings": progress.findings}
        self._put(tests=run.model_copy(update=update))

    async def _ask(self, prompt: Prompt) -> None:
        """Waits for `proceed`."""
        run = self.state.tests
        assert run is not None
        self._going_on.clear()
        self._put(tests=run.model_copy(update={"waiting": prompt}))
        await self._going_on.wait()
        self._put(tests=run.model_copy(update={"waiting": None}))

    def proceed(self) -> None:
        """What was asked for is done. Raises MaintenanceRefusedError when nothing waits."""
        run = self.state.tests
        if self._run is not None and self._run.proceed():
            return
        if self.state.busy != "tests" or run is None or run.waiting is None:
            raise MaintenanceRefusedError("Nothing waits for you: start the tests or the calibration first.")
        self._going_on.set()

    def cancel(self) -> None:
        """Ends what runs, once: what is set back meanwhile must not be broken off. Nothing to do is no error."""
        if self._work is not None and not self._work.done() and not self._work.cancelling():
            self._work.cancel()

    # --- calibration ---------------------------------------------------------------------------------------------------

    def start_calibration(self, *, baseline: bool = False, occasion: Occasion = "page") -> None:
        """Begins a calibration; with `baseline` later ones are compared with it. Raises MaintenanceRefusedError."""
        bench = self._require_free()
        self.turn += 1
        self._put(busy="calibration", calibration=self.state.calibration.model_copy(update={"steps": ()}))
        self._note("info", f"a calibration begun ({_SAID[occasion]})")
        self._work = asyncio.create_task(self._calibrate(bench, baseline=baseline), name="calibration")
        self._work.add_done_callback(self._end_calibration)

    async def _calibrate(self, bench: Bench, *, baseline: bool) -> None:
        run = self._run = await bench.blocking(lambda: make_run(bench, baseline=baseline))

        async def follow() -> None:
            async for steps in run.published.values():
                self._put(calibration=self.state.calibration.model_copy(update={"steps": steps}))

        following = asyncio.create_task(follow(), name="calibration steps")
        try:
            await calibrate(bench, run, lambda text: self._note("info", text))
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            self._put(calibration=self.state.calibration.model_copy(update={"steps": run.steps}))
        self._put(calibration=await bench.blocking(read_view, bench, run.steps))  # also while the booth closes

    def _end_calibration(self, work: asyncio.Task[None]) -> None:
        """However it ended."""
        if self.state.busy != "calibration":
            return
        self._run = None
        error = None if work.cancelled() else work.exception()
        if work.cancelled():
            self._note("info", "the calibration was cancelled; nothing is changed")
        elif isinstance(error, OSError):
            self._note("error", f"the calibration was not stored: the disk refused ({error.strerror})")
        elif error is not None:
            self._note("error", f"the calibration failed: {fault_of(error).detail}")
            if fault_of(error).code == UNKNOWN_CODE:
                log.error("defect in the calibration", exc_info=error)
        self._put(busy=None)

    async def look_at_calibration(self) -> None:
        """What is in force, as the state tells it from now on."""
        bench = self._opened()
        self._put(calibration=await bench.blocking(read_view, bench, self.state.calibration.steps))

    # --- what is known of earlier runs -----------------------------------------------------------------------------------

    async def history(self, check_id: str, days: float = DAYS) -> tuple[Point, ...]:
        """The values of a check, oldest first. Raises UnknownCheckError, HistoryUnusableError, MaintenanceRefusedError."""
        chosen([check_id], attended=True)
        return await self._opened().blocking(self._history.points, check_id, days)

    async def trends(self) -> tuple[Trend, ...]:
        """How every check went, in the order of the table. Raises HistoryUnusableError, MaintenanceRefusedError."""
        bench = self._opened()
        found = [await bench.blocking(self._history.trend, check.id) for check in CHECKS]
        return tuple(trend for trend in found if trend is not None)

    async def summary(self) -> SelfTests:
        """The booth's health in a few numbers. Raises HistoryUnusableError, MaintenanceRefusedError."""
        tested_at, findings = await self.newest_tests()
        return summarise(tested_at=tested_at, findings=findings, trends=await self.trends())

    async def newest_tests(self) -> tuple[str | None, tuple[CheckFinding, ...]]:
        """When self-tests ran last and what they found, from before the start too. Raises HistoryUnusableError, MaintenanceRefusedError."""
        tests = self.state.tests
        if tests is not None:
            return tests.finished_at or tests.started_at, tests.findings
        newest = await self._opened().blocking(self._history.newest)
        return (None, ()) if newest is None else (utc_text(newest[0]), newest[1])

    async def bundle(self) -> bytes:
        """The support bundle (booth/support_bundle.py), a ZIP file; without the history where that cannot be read. Raises MaintenanceRefusedError."""
        bench = self._opened()
        try:
            past = await bench.blocking(self._history.dump)
        except HistoryUnusableError as error:
            past = []
            self._note("warning", f"{error}")
        facts = BundleFacts(
            config=bench.config,
            events=tuple(self._health.events),
            devices=bench.station.devices,
            outbox=await bench.blocking(bench.outbox),
            tests=self.state.tests,
            history=past,
            calibration=await bench.blocking(bench.known_calibration),
            now=bench.utc(),
        )
        return await bench.blocking(make_bundle, facts)

    def _opened(self) -> Bench:
        if self._bench is None:
            raise MaintenanceRefusedError(_STARTING)
        return self._bench

    # --- the switch ----------------------------------------------------------------------------------------------------

    def switch_off(self, reason: OutReason, order: str | None = None) -> None:
        """Takes the booth out of service, by an order from afar when one is named. Raises MaintenanceRefusedError while a visit runs, OSError when the disk refuses."""
        if not self._is_idle():
            raise self._refusal()
        self._put(switch=self._switch.off(reason, order))

    def switch_on(self) -> None:
        """Lets visits begin again. Raises OSError when the disk refuses."""
        self._switch.on()
        self._put(switch=None)

    # --- inside --------------------------------------------------------------------------------------------------------

    def _require_free(self) -> Bench:
        """The bench, when work may begin now."""
        bench = self._opened()
        if self.state.busy is not None:
            raise MaintenanceRefusedError(f"The booth is busy with {self.state.busy}: wait for the end, or cancel it.")
        if not self._is_idle():
            raise self._refusal()
        return bench

    def _refusal(self) -> MaintenanceRefusedError:
        """Why nothing may begin while somebody is here, or was until now."""
        clearing = self._is_clearing()
        return MaintenanceRefusedError(_CLEARING if clearing else _VISIT, soon=clearing)

    def _note(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """One line of the event log."""
        self._health.note(level, f"{SOURCE}: {text}")

    def _put(self, **changes: object) -> None:
        before = self.state
        after = before.model_copy(update=changes)
        if after == before:
            return
        self.published.put(after)
        self._be_patient(waits=after.waits)
        if (after.busy, after.switch) != (before.busy, before.switch):
            self._tell_health()

    def _be_patient(self, *, waits: bool) -> None:
        """While something waits for a person, and not for ever."""
        if waits and self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._give_up)
        elif not waits and self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._note("warning", f"nobody came for {PATIENCE_S / 60:.0f} minutes: given up")
        self.cancel()

    def _tell_health(self) -> None:
        """The switch and the work as the fault of our source; the switch counts first."""
        state = self.state
        error: OutOfServiceError | None = None
        if state.switch is not None:
            error = OutOfServiceError(f"A technician took the booth out of service ({state.switch.reason}).")
        elif state.busy is not None:
            error = OutOfServiceError(f"A technician's work is under way ({state.busy}).")
        if self._health.set(SOURCE, None if error is None else fault_of(error)):
            self._tell()


_STARTING = "The booth is starting or ending: try again in a few seconds."
_VISIT = "A visit is under way: try again when the screen shows the invitation."
_CLEARING = "The booth is clearing: try again in a few seconds."
_SAID = {
    "page": "on the technician's page",
    "command": "by `booth diagnose`",
    "night": "by night",
    "order": "by an order from afar",
}
