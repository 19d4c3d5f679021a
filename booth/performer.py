"""Performs what the visit asks for and brings the outcomes back as events.

Order of operation of an event (`send`): step → work of the turn that ended is given up → effects are performed → the screen is published.
Events that effects cause wait their turn. Everything here runs on one event loop; what blocks runs on the checking thread (faces, codes), on
one worker thread (sealing, outbox, uplink's disk), or inside the drivers.

Sealing and its time limit: the packet's commit asks a `Permit` right before it happens. The time limit takes the permit away first; when it
comes too late the commit has happened, and SEALED follows. So a visit is never told "not saved" for a packet that was: nothing after the
commit, in the outbox or here, may turn the outcome into SEAL_FAILED.

Clearing: pixels are overwritten and everything is dropped at once; WIPED follows when the work that was given up has let go, the checker is
done with its last picture and its models remember nobody.
No application number and no picture is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from booth.attempt import Burst, judge_burst
from booth.best_still import Rank
from booth.calibrations import CalibrationInUse
from booth.checker import Checker
from booth.config import Config
from booth.events import (
    Capture,
    Check,
    CheckStaffCode,
    Effect,
    Event,
    Given,
    Happening,
    Identify,
    Notice,
    Seal,
    SetLights,
    SetWatch,
    StaffRequest,
    StartTimer,
    StopTimer,
    Wipe,
)
from booth.faults import UNKNOWN_CODE, fault_of
from booth.health import Health
from booth.height import HeightKeeper, Wish
from booth.identify import Identifier
from booth.kiosk import KioskState
from booth.lamps import LampKeeper
from booth.outbox import Outbox
from booth.probing import Probing
from booth.record import Place, VisitRecord
from booth.screen import STAFF_ACTIONS, Scenery, kiosk_state
from booth.sealing import SealedVisit, Sealer
from booth.spare_still import SpareStill
from booth.staff import NOT_NOW, StaffCheck
from booth.status_code import status_address
from booth.uplink import Uplink
from booth.visit import TOO_SLOW, State, Terms, Visit, accepts, step
from capture.frames import Frame, Latest
from capture.station import Station
from validation.check import software
from validation.profile import Profile
from validation.report import Report

log = logging.getLogger(__name__)


# What the visit's states want of lens and height axis; another state than these leaves them as they are, after framing still.
LENS = {State.FRAMING: Wish.FRAME, State.CLEARING: Wish.REST, State.ATTRACT: Wish.REST, State.OUT_OF_SERVICE: Wish.REST}
SLOW = frozenset({State.CAPTURING, State.CHECKING})  # whose time limit is our own failure


class Permit:
    """May the packet be committed? Taken once, by the commit or by the time limit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: str | None = None

    def take(self) -> bool:
        """For the commit."""
        return self._claim("commit")

    def revoke(self) -> bool:
        """For the time limit."""
        return self._claim("limit")

    def _claim(self, owner: str) -> bool:
        with self._lock:
            self._owner = self._owner or owner
            return self._owner == owner


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything open that the runner works with."""

    station: Station
    checker: Checker
    lamps: LampKeeper
    outbox: Outbox
    uplink: Uplink
    sealer: Sealer
    worker: Executor
    staff: StaffCheck
    identifier: Identifier
    height: HeightKeeper


class Performer:
    """The visit and everything it sets in motion."""

    def __init__(self, config: Config, profile: Profile, health: Health, on_wipe: Callable[[], None]) -> None:
        self.profile, self.health = profile, health
        self._config, self._on_wipe = config, on_wipe
        terms = Terms(language=config.visit.language, tries=profile.retakes)
        self.visit = Visit(terms=terms, language=terms.language)
        self.place = Place(config.booth.id, config.booth.site, config.booth.centre, software())
        self.record: VisitRecord | None = None
        self.scenery = Scenery()
        self.published = Latest(kiosk_state(self.visit, self.scenery))
        self._rooms: Rooms | None = None
        self.on_begun: Callable[[], None] = lambda: None  # a visit begins
        self.on_turned: Callable[[Visit, Event, Visit], None] = lambda _before, _event, _after: None
        self.on_judged: Callable[[Report], None] = lambda _report: None  # a portrait of this visit
        self.calibration = CalibrationInUse()
        self._frames: tuple[Frame, ...] = ()
        self._permit: Permit | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._work: asyncio.Task[None] | None = None
        self._spare = SpareStill()
        self._spare_work: asyncio.Task[None] | None = None
        self.probing = Probing(enabled=config.visit.active_light)
        self._ending: set[asyncio.Task[Any]] = set()  # given up, not yet ended
        self._waiting: deque[Happening] = deque()
        self._sending = False

    @property
    def rooms(self) -> Rooms:
        """Everything open."""
        assert self._rooms is not None, "the booth is not open"
        return self._rooms

    @property
    def open(self) -> bool:
        """Whether there is anything to work with."""
        return self._rooms is not None

    def start(self, rooms: Rooms) -> None:
        """Events are followed from now on."""
        self._rooms = rooms

    async def close(self) -> None:
        """Gives up the visit under way and wipes it; nothing is confirmed any more."""
        self._rooms = None
        if self._permit is not None:
            self._permit.revoke()
        self._stop_timer()
        self._give_up_work()
        await asyncio.gather(*self._ending, return_exceptions=True)
        self._wipe()
        await asyncio.gather(*self._ending, return_exceptions=True)

    # --- events and effects --------------------------------------------------------------------------------------------

    def send(self, happening: Happening) -> None:
        """One event; events that its effects cause follow it."""
        self._waiting.append(happening)
        if self._sending or self._rooms is None:
            return
        self._sending = True
        try:
            while self._waiting:
                before, happening = self.visit, self._waiting.popleft()
                self.visit, effects = step(before, happening)
                if self.visit.turn != before.turn:
                    self._turned(before)
                    self.on_turned(before, happening.event, self.visit)
                for effect in effects:
                    self._perform(effect)
                self.publish()
        finally:
            self._sending = False

    def _give_up_work(self) -> None:
        for work in (self._work, self._spare_work):
            if work is not None:
                work.cancel()
                self._ending.add(work)
                work.add_done_callback(self._ending.discard)
        self._work = self._spare_work = None

    def _turned(self, before: Visit) -> None:
        self._give_up_work()
        if not (self.visit.state is State.CAPTURING and self.visit.overdue):
            self._spare.wipe()
        if self.visit.state is State.LANGUAGE and before.state is State.ATTRACT:
            assert self.visit.visit_id is not None
            self.record = VisitRecord(self.visit.visit_id, self.place, lambda: datetime.now(UTC), time.monotonic_ns)
            self.record.calibration = self.calibration.value
            self.on_begun()
        self.rooms.height.want(LENS.get(self.visit.state, Wish.HOLD if before.state is State.FRAMING else None))
        if self.visit.state is State.FRAMING:
            self.scenery = Scenery()
            self._forget_probe()  # another photo is another presentation
        else:
            self.probing.leave()
        if self.record is not None:
            self.record.note_state(self.visit.state, self.visit.turn)
            if self.visit.state is State.CAPTURING:
                self.record.note_shutter(overdue=self.visit.overdue)

    def _perform(self, effect: Effect) -> None:
        rooms = self.rooms
        match effect:
            case StartTimer(event=event, seconds=seconds):
                self._start_timer(event, seconds * self._config.visit.patience)
            case StopTimer():
                self._stop_timer()
            case SetLights(scene=scene):
                rooms.lamps.want(scene)
            case SetWatch(watch=watch):
                rooms.checker.watch(watch)
            case Identify(given=given):
                self._begin(partial(self._identify, given), Event.NUMBER_REFUSED)
            case Capture():
                self._begin(self._capture, Event.CAPTURE_FAILED)
            case Check():
                self._begin(self._check, Event.CHECK_BROKEN)
            case Seal():
                self._begin(self._seal, Event.SEAL_FAILED)
            case CheckStaffCode(request=request):
                self._begin(partial(self._check_staff, request), Event.STAFF_REFUSED)
            case Wipe():
                self._wipe()
                # A checker that cannot forget is told and noted; the visit has no row for it here, and clears again after its limit.
                self._begin(self._forget, Event.CHECK_BROKEN)

    def _start_timer(self, event: Event, seconds: float) -> None:
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        self._timer = loop.call_later(seconds, self._time_over, event, seconds)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_over(self, event: Event, seconds: float) -> None:
        if self.visit.state is State.SEALING and self._permit is not None and not self._permit.revoke():
            self._start_timer(event, seconds)  # the commit has begun: its outcome follows
            return
        if event is Event.LIMIT and self.visit.state in SLOW and self.record is not None:
            self.record.note_error(TOO_SLOW.code)
            self.health.note(
                "warning", f"{self.visit.state} took longer than its limit of {seconds:g} s", of_visit=True
            )
        self.send(Happening(event))

    def _begin(self, work: Callable[[int], Coroutine[None, None, Happening]], failed: Event) -> None:
        turn = self.visit.turn

        async def guarded() -> None:
            try:
                outcome = await work(turn)
            except Exception as error:  # noqa: BLE001 - whatever work raises, the visit must go on
                outcome = self._failed(error, failed, turn)
            self.send(outcome)

        self._work = asyncio.create_task(guarded(), name=f"visit {failed}")

    def _failed(self, error: Exception, failed: Event, turn: int) -> Happening:
        fault = fault_of(error)
        self.health.note("error", f"{failed}: {fault.code}: {fault.detail}", of_visit=True)
        if fault.code == UNKNOWN_CODE:
            log.error("unexpected error", exc_info=error)
        if self.record is not None:
            self.record.note_error(fault.code)
        message = "fault.not_saved" if failed is Event.SEAL_FAILED else fault.message
        return Happening(failed, turn=turn, notice=Notice(fault.code, message))

    def consider(self, rank: Rank) -> None:
        """The preview looks so good now: a still of it is kept when it is the best so far."""
        if self._spare_work is None and self._spare.wants(rank):
            self._spare_work = asyncio.create_task(self._keep_spare(rank), name="visit spare still")

    async def _keep_spare(self, rank: Rank) -> None:
        """Takes the still; whoever gives this work up before it is done has nothing of it."""
        try:
            (still,) = await self.rooms.station.burst(1)
        except Exception as error:  # noqa: BLE001 - it is a spare one; a camera in trouble is told by its preview
            log.info("no spare still: %s", fault_of(error).code)
        else:
            self._spare.keep(still, rank)
        self._spare_work = None

    async def _identify(self, given: Given, turn: int) -> Happening:
        answer = await self.rooms.identifier.identify(given)
        if isinstance(answer, Notice):
            self.health.note("info", f"a number was not taken: {answer.code}", of_visit=True)
            return Happening(Event.NUMBER_REFUSED, turn=turn, notice=answer)
        return Happening(Event.IDENTIFIED, turn=turn, application=answer)

    async def _capture(self, turn: int) -> Happening:
        rooms = self.rooms
        self._frames = self._spare.take()  # nothing, unless the time for framing is over
        try:
            await self.probing.left()
            await rooms.lamps.lit.wait()
            await rooms.height.still()
            burst = await rooms.station.burst(self._config.visit.burst)
        except BaseException:
            for frame in self._frames:
                frame.wipe()
            self._frames = ()
            raise
        self._frames = (*self._frames, *burst)
        if self.record is not None:
            self.record.note_framing(rooms.height.as_record())
        return Happening(Event.CAPTURED, turn=turn)

    async def _check(self, turn: int) -> Happening:
        burst, self._frames = Burst(self._frames), ()
        record, profile = self.record, self.profile
        assert record is not None
        checker = self.rooms.checker
        try:
            await checker.run(
                lambda model: burst.judge(lambda frames: judge_burst(frames, profile, model, checker.series()))
            )
            attempt = burst.take()
        finally:
            burst.give_up()
        if record.add(attempt, turn):
            self.on_judged(attempt.report)
        self.probing.judge(checker)
        has_portrait = attempt.best.portrait is not None
        passed = attempt.report.compliant and has_portrait
        return Happening(Event.CHECK_PASSED if passed else Event.CHECK_FAILED, turn=turn, portrait=has_portrait)

    async def _seal(self, turn: int) -> Happening:
        rooms, visit, record = self.rooms, self.visit, self.record
        permit = self._permit = Permit()
        assert record is not None
        assert visit.application is not None
        application = visit.application
        record.note_pad(await self.probing.evidence())

        def work() -> SealedVisit:
            sealed = rooms.sealer.seal(record, application, visit.language, rooms.station.lights_acknowledged_by)
            rooms.outbox.put(sealed.packet, sealed.packet_id, permit.take, sealed.links)
            return sealed

        sealed = await asyncio.get_running_loop().run_in_executor(rooms.worker, work)
        try:
            rooms.uplink.wake()
            self.health.note("info", f"packet {sealed.packet_id[:12]} committed to the outbox", of_visit=True)
        except Exception:
            log.exception("the packet is committed; telling of it failed")
        address = status_address(self._config.intake.status_page, sealed.status_token)
        self.scenery = replace(self.scenery, status_url=address)
        return Happening(Event.SEALED, turn=turn, reference=sealed.reference)

    async def _check_staff(self, request: StaffRequest, turn: int) -> Happening:
        rooms, record, event = self.rooms, self.record, STAFF_ACTIONS[request.action]
        assert record is not None
        asked = asyncio.get_running_loop().run_in_executor(rooms.worker, rooms.staff.check, request.code)
        answer = await asked
        if isinstance(answer, str) and accepts(self.visit, event):
            record.note_staff(answer, request.action, request.reason_class)
            self.health.note("info", f"a staff code was used: {request.action} ({request.reason_class})", of_visit=True)
            return Happening(event, turn=turn)
        return Happening(Event.STAFF_REFUSED, turn=turn, notice=NOT_NOW if isinstance(answer, str) else answer)

    async def _forget(self, turn: int) -> Happening:
        if self._ending:
            await asyncio.wait(self._ending)
        await self.rooms.checker.forget()
        return Happening(Event.WIPED, turn=turn)

    def _forget_probe(self) -> None:
        for work in self.probing.wipe():
            self._ending.add(work)
            work.add_done_callback(self._ending.discard)

    def _wipe(self) -> None:
        """Everything about the applicant that this process holds and can reach."""
        for frame in self._frames:
            frame.wipe()
        self._spare.wipe()
        self._forget_probe()
        if self.record is not None:
            self.record.wipe()
        self.record = self._permit = None
        self._frames, self.scenery = (), Scenery()
        self._on_wipe()

    # --- the screen ----------------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Tells the pages when something changed."""
        state = self.show()
        if state != self.published.value:
            self.published.put(state)

    def show(self) -> KioskState:
        """The screen now."""
        attempt = None if self.record is None else self.record.attempt
        left_s = self._deadline - asyncio.get_running_loop().time() if self.visit.warned else None
        scenery = replace(
            self.scenery,
            report=None if attempt is None else attempt.report,
            has_portrait=attempt is not None and attempt.jpeg is not None,
            attempt=0 if self.record is None else self.record.tries,
            warning_s=None if left_s is None else max(round(left_s), 0),
            staff_wait_s=self._rooms.staff.wait_s if self._rooms and self.visit.state is State.ASSISTANCE else 0,
        )
        return kiosk_state(self.visit, scenery)
