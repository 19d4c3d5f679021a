"""The booth as the pages see it, and how it is opened. The only place where the rooms are put together.

Order of opening: settings proved (profile, keys, trust) → worker thread and outbox → checking thread → devices → lamps → revocation lists → uplink → visits.
Closing is the opposite: the visit under way is given up and wiped first; a packet that is not committed by then never will be.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime

import cv2
import httpx2

from booth.bench import Bench
from booth.calibrations import SOURCE as CALIBRATION
from booth.calibrations import CalibrationInUse, CalibrationStore
from booth.centres import open_centres
from booth.checker import open_checker
from booth.config import Config
from booth.control_socket import open_control_socket
from booth.disk import DiskFiles
from booth.errors import CommandRefusedError
from booth.events import Event, Given, Happening, StaffRequest
from booth.fleet import Fleet, FleetRooms, FleetView, open_fleet
from booth.health import Health
from booth.height import open_height, optics_of
from booth.identify import Identifier
from booth.inspection import Inspection, LiveView, Permission
from booth.kiosk import (
    ChooseLanguage,
    Consent,
    Identify,
    KioskCommand,
    KioskState,
    PreviewFrame,
    Staff,
    TechnicianStatus,
)
from booth.lamps import open_lamps
from booth.log_witness import LogWitness
from booth.maintenance import Maintenance
from booth.nightly import Nightly, open_nightly
from booth.outbox import Outbox, OutboxLimits, open_outbox
from booth.outbox_quota import DAY_S
from booth.performer import Performer, Rooms
from booth.profile_choice import ProfileChoice
from booth.registry import IntakeRegistry
from booth.revocation_list import RevocationLists
from booth.screen import COMMANDS, STAFF_ACTIONS, show_findings, shows_portrait
from booth.sealing import Sealer
from booth.senses import Senses
from booth.staff import open_staff_codes
from booth.status import technician_status
from booth.uplink import open_uplink
from booth.visit import State, accepts
from capture.balance import Balancer
from capture.calibration import Calibration
from capture.metering import Bands
from capture.station import StationSettings, open_station
from crypto.keys import TrustStore, load_trust
from validation.profile import Profile, load_profile

# Without one of these the booth does not work, and does not come back by itself: the watchdog is not fed.
MAIN_TASKS = frozenset(
    {
        *("booth-pages", "preview", "outbox watch", "certificate watch", "signing key watch"),
        *("uplink", "revocation list", "centres", "staff list", "lamps", "height", "camera overseer"),
    }
)
STUCK_S = 60.0  # loading the models took 12 s on two busy cores, judging a burst 4 s
PREVIEW_QUALITY = 80  # of the kiosk's picture; what is judged and kept never passes through it


class Runner:
    """`booth.kiosk.BoothFacade`."""

    def __init__(self, config: Config, profile: Profile) -> None:
        self._config = config
        self._health = Health(lambda: datetime.now(UTC))
        self._performer = Performer(config, profile, self._health, self._forget)
        self.maintenance = Maintenance(
            *(config.booth.data_dir, self._health, self._tell_health, lambda: self._performer.visit.idle),
            lambda: self._performer.visit.state is State.CLEARING,
        )
        self._inspection = Inspection(self._performer, self._may_inspect)
        self.calibration = CalibrationInUse()
        self._performer.calibration = self.calibration
        self.senses = Senses(self._performer, config.visit, self._inspection)
        self._rooms: Rooms | None = None
        self._fleet: Fleet | None = None
        self.on_restart: Callable[[], None] | None = None  # where something starts the booth anew when it ends
        self._encoded: tuple[int, PreviewFrame] | None = None

    def start(self, rooms: Rooms) -> None:
        """Visits may begin."""
        self._rooms = rooms
        self._performer.start(rooms)
        self.senses.start(rooms)

    async def close(self) -> None:
        """Gives up and wipes the visit under way."""
        await self.maintenance.close()
        await self.senses.close()
        await self._inspection.close()
        await self._performer.close()

    def _forget(self) -> None:
        self._encoded = None
        self._inspection.values.clear()

    async def open_maintenance(self, stack: AsyncExitStack) -> None:
        """The line to `booth diagnose` and the nightly self-tests, until the stack ends."""
        config, performer = self._config, self._performer
        await self.maintenance.look_at_calibration()
        try:
            await stack.enter_async_context(open_control_socket(config.booth.data_dir, self.maintenance))
        except OSError as error:
            self._health.note("warning", f"technician: `booth diagnose` cannot reach this booth: {error.strerror}")
        if config.diagnostics.nightly_at:
            nightly = Nightly(
                *(self.maintenance, self._health, config.diagnostics.nightly_at),
                *(lambda: performer.visit.state is State.ATTRACT, lambda: datetime.now().astimezone()),
            )
            await stack.enter_async_context(open_nightly(nightly))

    async def open_fleet(
        self,
        stack: AsyncExitStack,
        choice: ProfileChoice,
        configured: str,
        rooms: Rooms,
        trust: Callable[[], TrustStore],
    ) -> None:
        """Counters, heartbeat and orders from afar, until the stack ends."""
        uplink, sealer = rooms.uplink, rooms.sealer
        fleet = FleetRooms(
            *(self._config, configured, choice, self._performer, self.maintenance, self._health),
            *(rooms.outbox, rooms.worker, uplink.delivery.client, sealer.source.current, trust, sealer.recipients),
            *(sealer.certificate_days, lambda: uplink.status.clock_skew_s, lambda: self.inspecting),
            *(self.senses.on_trouble, self._restart),
        )
        self._fleet = await stack.enter_async_context(open_fleet(fleet))

    def _restart(self) -> bool:
        if self.on_restart is None:
            return False
        self._health.note("info", "fleet: the booth ends to be started anew with another profile")
        self.on_restart()
        return True

    async def fleet(self) -> FleetView:
        """What is told to the fleet, and what it asked."""
        assert self._fleet is not None, "the booth is not open"
        return await self._fleet.view()

    async def take_profile_back(self) -> None:
        """The profile of booth.toml counts again from the next start on. Raises OSError."""
        assert self._fleet is not None, "the booth is not open"
        await self._fleet.take_profile_back()

    def adopt(self, found: Calibration) -> None:
        """A new calibration is used from now on; one that could not be believed is no trouble any more."""
        assert self._rooms is not None, "the booth is not open"
        self.calibration.use(found, self._rooms.station)
        self.senses.on_trouble(CALIBRATION, None)

    def _tell_health(self) -> None:
        self._performer.send(self._health.told)

    def _may_inspect(self) -> Permission:
        """Whether a technician may be looked at: while he has the booth out of service, and nothing is measured."""
        state = self.maintenance.state
        if state.busy is not None:
            return Permission.BUSY
        return Permission.NO if state.switch is None else Permission.YES

    @property
    def inspecting(self) -> bool:
        """Whether a technician is before the camera, by his own switch."""
        return self._inspection.on

    def inspect(self) -> AbstractContextManager[None]:
        """A technician's live view is open as long as this is held."""
        return self._inspection.look()

    def live(self, family: str) -> LiveView:
        """What the technician's live page shows beside the picture."""
        return self._inspection.view(family)

    @property
    def state(self) -> KioskState:
        """The state now."""
        return self._performer.show()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[KioskState]]:
        """The present state, then each newest."""
        async with aclosing(self._performer.published.values()) as changes:

            async def states() -> AsyncGenerator[KioskState, None]:
                async for _ in changes:
                    yield self.state

            async with aclosing(states()) as shown:
                yield shown

    def post(self, command: KioskCommand) -> None:
        """Follows the command or raises CommandRefusedError."""
        happening, performer = self._happening(command), self._performer
        impossible = isinstance(command, Staff) and not accepts(performer.visit, STAFF_ACTIONS[command.action])
        if impossible or not accepts(performer.visit, happening.event):
            raise CommandRefusedError(command.event, performer.visit.state)
        if happening.event is Event.CONSENTED and performer.record is not None:
            performer.record.note_consent(performer.visit.language)
        performer.send(happening)

    @staticmethod
    def _happening(command: KioskCommand) -> Happening:
        match command:
            case Identify(number=number):
                return Happening(Event.NUMBER_GIVEN, given=Given(number, "typed"))
            case Consent(answer=answer):
                return Happening(Event.CONSENTED if answer else Event.DECLINED)
            case Staff(code=code, reason_class=reason_class, action=action):
                return Happening(Event.STAFF_ASKED, staff=StaffRequest(code, reason_class, action))
            case ChooseLanguage(language=language):
                return Happening(Event.LANGUAGE_CHOSEN, language=language)
            case _:
                visit_id = secrets.token_hex(8) if command.event == "start" else None
                return Happening(COMMANDS[command.event], visit_id=visit_id)

    def preview(self) -> PreviewFrame | None:
        """The newest preview picture, encoded once."""
        frame = None if self._rooms is None else self._rooms.station.preview()
        if frame is None:
            return None
        if self._encoded is None or self._encoded[0] != frame.sequence:
            done, data = cv2.imencode(".jpg", frame.pixels, [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_QUALITY])
            if not done:
                return None
            self._encoded = frame.sequence, PreviewFrame(frame.at_ns, bytes(data))
        return self._encoded[1]

    def portrait(self) -> bytes | None:
        """The portrait under review."""
        record, visit = self._performer.record, self._performer.visit
        attempt = None if record is None else record.attempt
        return attempt.jpeg if attempt is not None and shows_portrait(visit) else None

    def note(self, text: str) -> None:
        """One line of information for the technician."""
        self._health.note("info", text)

    def ailing(self) -> tuple[str, ...]:
        """What hangs although the event loop runs: a reason to be started anew."""
        stuck = self._rooms is not None and self._rooms.checker.busy_s > STUCK_S
        return ("checker",) if stuck else ()

    def technician(self) -> TechnicianStatus:
        """Everything on the technician's page."""
        performer, rooms = self._performer, self._performer.rooms
        live = performer.scenery.live
        return technician_status(
            state=performer.visit.state.value,
            config=self._config,
            profile=performer.profile,
            software=performer.place.software,
            station=rooms.station,
            health=self._health,
            outbox=rooms.outbox.status,
            uplink=rooms.uplink.status,
            sealer=rooms.sealer,
            findings=() if live is None else show_findings(live),
            now=datetime.now(UTC),
        )


@asynccontextmanager
async def open_booth(config: Config, *, transport: httpx2.AsyncBaseTransport | None = None) -> AsyncIterator[Runner]:
    """A booth at work. Raises the errors of settings, profile, keys and outbox; devices that are missing are waited for.

    `transport` replaces the way to the intake.
    """
    choice, configured = ProfileChoice(config.booth.data_dir), config.profile.name
    named = config.profile.model_copy(update={"name": choice.in_force(configured)})
    config = config.model_copy(update={"profile": named})
    profile = load_profile(config.profile.name)
    sealer, trust = Sealer.open(config), load_trust(config.intake.trust)
    runner = Runner(config, profile)
    senses, calibration = runner.senses, runner.calibration
    station_settings = StationSettings(
        camera=config.camera, controls=config.controls, lights=config.lights, lift=config.lift
    )
    async with AsyncExitStack() as stack:
        stack.callback(sealer.close)
        worker = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="worker"))
        outbox = await stack.enter_async_context(_opened_on(worker, config))
        checker = await stack.enter_async_context(
            open_checker(profile, senses.on_live, senses.on_code, lambda error: senses.on_trouble("checker", error))
        )
        station = await stack.enter_async_context(open_station(station_settings, senses.on_device))
        lamps = await stack.enter_async_context(
            open_lamps(
                station,
                lambda error: senses.on_trouble("lamp levels", error),
                Balancer(station, Bands.of(profile), lambda: calibration.lamps),
                senses.on_light,
                checker.meter_after,
            )
        )
        height = await stack.enter_async_context(
            open_height(station, optics_of(config.height, lambda: calibration.value), senses.on_trouble)
        )
        loop = asyncio.get_running_loop()
        lists = await loop.run_in_executor(worker, RevocationLists, config.booth.data_dir, trust)
        calibrations = CalibrationStore(config.booth.data_dir, config.booth.id, lambda: lists.trust)
        unbelieved = await calibration.load(calibrations, worker, station)
        witness = await loop.run_in_executor(worker, LogWitness, config.booth.data_dir, trust)
        uplink = await stack.enter_async_context(
            open_uplink(
                *(outbox, worker, config.intake, sealer.source.current, lists, time.time),
                senses.on_trouble,
                transport,
                witness,
            )
        )
        centres = await stack.enter_async_context(
            open_centres(
                *(config.booth.data_dir, lambda: lists.trust, worker),
                *(config.intake, uplink.delivery.client, senses.on_trouble),
            )
        )
        staff = await stack.enter_async_context(
            open_staff_codes(
                *(config.booth.data_dir, config.booth.centre, lambda: lists.trust, worker, config.intake),
                *(uplink.delivery.client, sealer.source.current, senses.on_trouble),
            )
        )
        registry = IntakeRegistry(config.intake, worker, uplink.delivery.client, sealer.source.current)
        identifier = Identifier(centres, registry, lambda: datetime.now().astimezone().date())
        stack.push_async_callback(runner.close)
        bench = Bench(
            *(config, station, worker, DiskFiles(), uplink.delivery.client, sealer.source.certificate),
            *(lambda: outbox.status, lambda: uplink.status.clock_skew_s, lambda: datetime.now(UTC), lamps.lent),
            *(calibrations.current, calibrations.baseline, config.calibration),
            lambda found: calibrations.save(found, sealer.signer),
            runner.adopt,
        )
        rooms = Rooms(station, checker, lamps, outbox, uplink, sealer, worker, staff, identifier, height)
        runner.start(rooms)
        senses.on_trouble(CALIBRATION, unbelieved)
        runner.maintenance.start(bench)
        await runner.open_maintenance(stack)
        await runner.open_fleet(stack, choice, configured, rooms, lambda: lists.trust)
        yield runner


@asynccontextmanager
async def _opened_on(worker: ThreadPoolExecutor, config: Config) -> AsyncIterator[Outbox]:
    """The outbox, opened and closed on the worker thread."""
    loop = asyncio.get_running_loop()
    wanted = config.outbox
    limits = OutboxLimits(
        wanted.max_packets,
        wanted.max_bytes,
        wanted.min_free_bytes,
        max_age_s=wanted.max_age_days * DAY_S,
        receipts_kept=wanted.receipts_kept,
        receipts_kept_s=wanted.receipt_days_kept * DAY_S,
    )
    opening = open_outbox(config.booth.data_dir / "outbox", limits, time.time)
    outbox = await loop.run_in_executor(worker, opening.__enter__)
    try:
        yield outbox
    finally:
        await loop.run_in_executor(worker, opening.__exit__, None, None, None)
