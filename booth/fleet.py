"""The booth's part in the fleet: what it counts, tells and is asked, put together (docs/fleet.md).

Order of opening: the counters' file and the book of orders are read → visits and self-tests are counted from now on → the heartbeat and the listening for
orders run as tasks of their own, until the booth closes. Neither is a task that the booth cannot do without.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2
from pydantic import BaseModel, ConfigDict

from booth.beat import Beat, BeatView
from booth.beat_content import Present, compose
from booth.config import Config
from booth.counters import Counters, VisitTally, lamps_counted
from booth.day_counts import Counted
from booth.errors import HistoryUnusableError, MaintenanceRefusedError
from booth.events import Event
from booth.faults import Severity
from booth.health import Health
from booth.heartbeat import summarise
from booth.maintenance import Maintenance
from booth.order_book import OrderBook, OrderLine
from booth.order_work import Means, OrderWork
from booth.outbox import Outbox
from booth.performer import Performer
from booth.presence import Presence
from booth.profile_choice import ChosenProfile, ProfileChoice
from booth.remote_orders import RemoteOrders
from booth.revocation_list import Tell
from booth.self_test import CheckFinding
from booth.visit import State, Visit
from crypto.heartbeat import Heartbeat, SelfTests
from crypto.keys import RecipientPublicKey, Signer, TrustStore
from validation.report import Report

log = logging.getLogger(__name__)

# In these the booth works for somebody; in the others it waits for him.
BUSY = frozenset({State.CAPTURING, State.CHECKING, State.SEALING, State.CLEARING})
# Trends are looked up anew this often; tests run once a night.
TRENDS_S = 3600.0


class FleetView(BaseModel):
    """What the technician sees of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    heartbeat: BeatView
    orders_enabled: bool
    orders: tuple[OrderLine, ...]
    profile: ChosenProfile | None  # that an order chose, from the next start on


@dataclass(frozen=True, slots=True)
class FleetRooms:
    """What it works with."""

    config: Config
    configured_profile: str
    choice: ProfileChoice
    performer: Performer
    maintenance: Maintenance
    health: Health
    outbox: Outbox
    worker: Executor
    client: httpx2.AsyncClient
    signer: Callable[[], Signer]
    trust: Callable[[], TrustStore]
    recipients: tuple[RecipientPublicKey, ...]
    certificate_days: Callable[[datetime], float | None]
    clock_skew_s: Callable[[], float | None]
    looked_at: Callable[[], bool]  # a technician looks through the camera
    tell: Tell
    restart: Callable[[], bool]  # ends the booth where something starts it anew; False where nothing does


class Fleet:
    """Made by `open_fleet`."""

    def __init__(self, rooms: FleetRooms, counters: Counters, book: OrderBook) -> None:
        self._rooms, self._counters = rooms, counters
        self._started_at = datetime.now(UTC)
        # Since when nobody is served; the visit tells when that changes.
        self._closed_at = self._started_at if rooms.performer.visit.state is State.OUT_OF_SERVICE else None
        self._tests: tuple[float, str | None, SelfTests] | None = None
        self._findings: dict[str, CheckFinding] = {}
        performer = rooms.performer
        presence = Presence(
            performer.published.values,
            lambda: performer.visit.idle,
            lambda: performer.visit.state not in BUSY,
        )
        work = OrderWork(
            Means(
                *(rooms.config, rooms.configured_profile, rooms.maintenance, rooms.choice, rooms.recipients),
                *(rooms.signer, rooms.trust, lambda: performer.visit.idle and not rooms.looked_at(), rooms.restart),
            )
        )
        settings = rooms.config.fleet
        self.orders = RemoteOrders(
            *(settings, rooms.config.intake, rooms.config.booth.id, book, work, presence),
            *(rooms.client, rooms.worker, rooms.signer, rooms.trust, rooms.tell),
            lambda text: rooms.health.note("info", f"fleet: {text}"),
            lambda: datetime.now(UTC),
        )
        self.beat = Beat(
            *(settings, rooms.config.intake, self.facts, rooms.client, rooms.worker, rooms.signer, presence),
            lambda _waiting: self.orders.wake(),
        )
        self._tally = VisitTally(self._count)
        performer.on_turned, performer.on_judged = self._turned, self._judged
        rooms.maintenance.on_found = lambda findings: self._count(lamps_counted(findings))

    async def facts(self) -> Heartbeat:
        """The heartbeat of now."""
        rooms, now = self._rooms, datetime.now(UTC)
        tests, findings = await self._known_tests()
        state, health, worst = rooms.maintenance.state, rooms.health, rooms.health.worst
        loop = asyncio.get_running_loop()
        return compose(
            Present(
                booth=rooms.config.booth.id,
                software=rooms.performer.place.software,
                profile=(rooms.performer.profile.name, rooms.performer.profile.version),
                now=now,
                now_ns=time.monotonic_ns(),
                started_at=self._started_at,
                switch=state.switch,
                closed_since=self._closed_at or now,
                works=state.busy is not None,
                obstructed=worst is not None and worst.severity is Severity.OBSTRUCTS,
                faults=health.codes,
                devices=rooms.performer.rooms.station.devices,
                outbox=rooms.outbox.status,
                quota_bytes=rooms.config.outbox.max_bytes,
                certificate_days=rooms.certificate_days(now),
                clock_offset_s=rooms.clock_skew_s(),
                tests=tests,
                findings=findings,
                days=await loop.run_in_executor(rooms.worker, self._counters.days),
            )
        )

    async def view(self) -> FleetView:
        """What the technician sees."""
        rooms = self._rooms
        chosen = await asyncio.to_thread(rooms.choice.read, rooms.configured_profile)
        return FleetView(
            heartbeat=self.beat.published.value,
            orders_enabled=self.orders.enabled,
            orders=self.orders.lines,
            profile=chosen,
        )

    async def take_profile_back(self) -> None:
        """The profile of booth.toml counts again from the next start on. Raises OSError."""
        await asyncio.to_thread(self._rooms.choice.forget)
        self._rooms.health.note("info", "technician: the profile that an order chose was taken back")

    async def _known_tests(self) -> tuple[SelfTests, tuple[CheckFinding, ...]]:
        """What the self-tests found last, each check's newest; none where they cannot be read.

        A run that is under way, or of a few checks alone, says nothing of the others: what was wrong with them would seem to be over.
        """
        maintenance, known = self._rooms.maintenance, self._tests
        run = maintenance.state.tests
        if run is not None and run.finished_at is None and known is not None:
            return known[2], tuple(self._findings.values())
        try:
            tested_at, findings = await maintenance.newest_tests()
            if known is None or known[1] != tested_at or time.monotonic() - known[0] > TRENDS_S:
                self._findings |= {one.id: one for one in findings}
                told, trends = tuple(self._findings.values()), await maintenance.trends()
                summary = summarise(tested_at=tested_at, findings=told, trends=trends)
                known = self._tests = time.monotonic(), tested_at, summary
        except (HistoryUnusableError, MaintenanceRefusedError) as error:
            log.info("no self-tests for the heartbeat: %s", error)
            return SelfTests(tested_at=None), ()
        return known[2], tuple(self._findings.values())

    def _turned(self, before: Visit, event: Event, after: Visit) -> None:
        if after.state is State.OUT_OF_SERVICE:
            now = datetime.now(UTC)  # to five minutes: a visit may just have ended by the same fault
            self._closed_at = now.replace(minute=now.minute - now.minute % 5, second=0, microsecond=0)
        elif after.state is State.ATTRACT:
            self._closed_at = None
        try:
            self._tally.stepped(before, event, after)
        except Exception:  # counting is never a visit's trouble
            log.exception("a visit was not counted")

    def _judged(self, report: Report) -> None:
        try:
            self._tally.judged(report)
        except Exception:
            log.exception("a portrait was not counted")

    def _count(self, counted: Counted) -> None:
        """On the worker thread, so that no visit waits for the disk."""
        self._rooms.worker.submit(self._counters.add, counted).add_done_callback(_tell_defect)


@asynccontextmanager
async def open_fleet(rooms: FleetRooms) -> AsyncIterator[Fleet]:
    """Counting, telling and listening, until the end."""
    loop, folder = asyncio.get_running_loop(), rooms.config.booth.data_dir

    def note(text: str) -> None:
        loop.call_soon_threadsafe(rooms.health.note, "warning", f"fleet: {text}")

    counters = await loop.run_in_executor(
        rooms.worker, lambda: Counters(folder, lambda: datetime.now(UTC).date(), note)
    )
    book = await loop.run_in_executor(rooms.worker, lambda: OrderBook(folder, lambda: datetime.now(UTC), note))
    fleet = Fleet(rooms, counters, book)
    tasks = (
        asyncio.create_task(fleet.beat.run(), name="heartbeat"),
        asyncio.create_task(fleet.orders.run(), name="remote orders"),
    )
    for task in tasks:
        task.add_done_callback(_tell_defect)
    try:
        yield fleet
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _tell_defect(work: Future[None] | asyncio.Task[None]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        log.error("the booth's part in the fleet broke off", exc_info=error)
