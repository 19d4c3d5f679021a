"""What happens by itself: devices come and go, frames are judged, codes are read, the disk fills, the certificate expires. Turned into events of the visit.

The shutter: guidance tells since when everything has been right; after the profile's `hold_s` HELD is sent, or a countdown runs before it where
one is set. Whatever breaks a rule, moves, dims the lamps or stops the camera starts the hold anew. A sitter who was guided for the profile's
`framing_limit_s` is sent on by OVERDUE, with the best picture so far (booth/spare_still.py).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime

from booth.best_still import rank
from booth.checker import Live
from booth.config import VisitSection
from booth.errors import CertificateNotValidError, ConfigInvalidError, OutboxError
from booth.events import Event, Given, Happening
from booth.faults import fault_of
from booth.guidance import NO_FACE, advise, interrupted, is_still
from booth.identify import ShownCodes
from booth.inspection import Inspection
from booth.performer import Performer, Rooms
from booth.probing import by_steady_light
from booth.screen import Scenery
from booth.spare_still import FIRST_S
from booth.visit import State, accepts
from capture.balance import LightOutcome
from capture.errors import ProfileUnsatisfiableError
from crypto.errors import CryptoError
from hardware.errors import CameraPictureError, HardwareError
from hardware.link import DeviceState, DeviceStatus

log = logging.getLogger(__name__)

OUTBOX_PERIOD_S = 5.0
CERTIFICATE_PERIOD_S = 60.0
RENEW_DAYS = 30
KEY_PERIOD_S = 5.0
CAMERA_PAUSE_S = 0.2
DEVICE_PAUSE_S = 2.0


def _key_trouble(rooms: Rooms) -> CryptoError | ConfigInvalidError | None:
    """Why no packet could be signed now; may wait for a token."""
    try:
        rooms.sealer.require_key()
    except (CryptoError, ConfigInvalidError) as error:
        return error
    return None


class Senses:
    """Made by `booth.runner.open_booth`; its callbacks may come before `start`."""

    def __init__(self, performer: Performer, settings: VisitSection, inspection: Inspection) -> None:
        self._performer, self._health = performer, performer.health
        self._inspection = inspection
        self._settings = settings
        self._rooms: Rooms | None = None
        self._countdown: tuple[int, int] | None = None  # turn of the visit and when it began
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_days: int | None = None
        self._shown = ShownCodes()

    def start(self, rooms: Rooms) -> None:
        """Begins to follow camera, outbox and certificate."""
        self._rooms = rooms
        for text in rooms.outbox.take_problems():
            self._health.note("warning", text)
        for status in rooms.station.devices:
            self.on_device(status)
        self._check_certificate(rooms)  # before anybody is invited
        self._note_key(_key_trouble(rooms))
        # Whatever changed the camera since: each visit begins with the settings for portraits.
        self._performer.on_begun = lambda: self._spawn(self._apply_controls(rooms), "camera settings")
        self._spawn(self._follow_certificate(rooms), "certificate watch")
        self._spawn(self._follow_key(rooms), "signing key watch")
        self._spawn(self._follow_preview(rooms), "preview")
        self._spawn(self._follow_outbox(rooms), "outbox watch")
        self._performer.send(self._health.told)

    async def close(self) -> None:
        """Ends everything that follows."""
        self._rooms = None
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- devices and disk ----------------------------------------------------------------------------------------------

    def on_device(self, status: DeviceStatus) -> None:
        """A device came, went, or is as it was at the start."""
        changed = self._health.set_device(status)
        ready = status.state is DeviceState.READY
        if changed and not ready:
            self._note_error(f"{status.name}.{status.state}")
        rooms = self._rooms
        if rooms is None:
            return
        if ready and status.name == "camera":
            self._spawn(self._measure_still(rooms), "still size")
        elif ready and status.name == "controls":
            self._spawn(self._apply_controls(rooms), "camera settings")
        elif ready and status.name == "lights":
            rooms.lamps.repeat()
        if changed:
            self._performer.send(self._health.told)

    def on_trouble(self, source: str, error: BaseException | None) -> None:
        """A source failed, or works (None)."""
        fault = None if error is None else fault_of(error)
        if self._health.set(source, fault):
            if fault is not None:
                self._note_error(fault.code)
            self._performer.send(self._health.told)

    def _note_error(self, code: str) -> None:
        if self._performer.record is not None:
            self._performer.record.note_error(code)

    async def _measure_still(self, rooms: Rooms) -> None:
        """Learns the stills' size and refuses a profile that they cannot satisfy; a camera that fails is asked again."""
        while True:
            try:
                size = await rooms.station.require_profile(self._performer.profile)
            except ProfileUnsatisfiableError as error:
                self.on_trouble("still", error)
                return
            except HardwareError as error:
                self.on_trouble("still", error)
            else:
                rooms.checker.still_size = size.width, size.height
                self.on_trouble("still", None)
                return
            await asyncio.sleep(DEVICE_PAUSE_S)

    async def _apply_controls(self, rooms: Rooms) -> None:
        """Brings the camera to its configured settings; one that refuses is asked again."""
        while True:
            try:
                await rooms.station.apply_controls()
            except HardwareError as error:
                self.on_trouble("camera settings", error)
            else:
                self.on_trouble("camera settings", None)
                return
            await asyncio.sleep(DEVICE_PAUSE_S)

    async def _follow_outbox(self, rooms: Rooms) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(rooms.worker, rooms.outbox.require_room)
            except OutboxError as error:
                self.on_trouble("outbox", error)
            else:
                self.on_trouble("outbox", None)
            for text in rooms.outbox.take_problems():
                self._health.note("warning", text)
            await asyncio.sleep(OUTBOX_PERIOD_S)

    async def _follow_certificate(self, rooms: Rooms) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_PERIOD_S)
            self._check_certificate(rooms)

    def _check_certificate(self, rooms: Rooms) -> None:
        try:
            rooms.sealer.require_valid(datetime.now(UTC))
        except (CertificateNotValidError, CryptoError) as error:
            self.on_trouble("certificate", error)
        else:
            self.on_trouble("certificate", None)
            self._warn_of_end(rooms)

    def _warn_of_end(self, rooms: Rooms) -> None:
        """One line of the event log for each day of the certificate's last month."""
        days = rooms.sealer.certificate_days(datetime.now(UTC))
        left = None if days is None or days > RENEW_DAYS else math.floor(days)
        if left is not None and left != self._told_days:
            self._health.note("warning", f"certificate: {left} days left; renew it with `booth keys rotate`")
        self._told_days = left

    async def _follow_key(self, rooms: Rooms) -> None:
        """Asks for the signing key again and again: a visit must not find out at its end that the token is gone."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(KEY_PERIOD_S)
            self._note_key(await loop.run_in_executor(rooms.worker, _key_trouble, rooms))

    def _note_key(self, error: CryptoError | ConfigInvalidError | None) -> None:
        self.on_trouble("signing key", error)

    # --- the camera ----------------------------------------------------------------------------------------------------

    async def _follow_preview(self, rooms: Rooms) -> None:
        sequence = -1
        while True:
            try:
                frame = await rooms.station.next_preview(sequence)
            except Exception as error:  # noqa: BLE001 - told, and tried again: without this loop the booth is blind
                scenery = self._performer.scenery
                self._performer.scenery = replace(scenery, guidance=interrupted(scenery.guidance), countdown=None)
                self.on_trouble("preview", error)
                await asyncio.sleep(CAMERA_PAUSE_S)
                continue
            self.on_trouble("preview", self._picture_trouble(rooms))
            sequence = frame.sequence
            self._inspection.settle()
            rooms.station.rest(self._performer.visit.idle and not self._inspection.awake)
            rooms.checker.offer(frame)

    @staticmethod
    def _picture_trouble(rooms: Rooms) -> HardwareError | None:
        """A picture that comes and shows nothing: frozen, or black although the lamps are lit."""
        picture = rooms.station.picture
        if picture == "frozen" or (picture == "black" and rooms.lamps.lit.is_set()):
            return CameraPictureError(f"The camera's picture is {picture}.")
        return None

    def on_code(self, text: str) -> None:
        """A code was read; one that stays before the camera counts once."""
        visit = self._performer.visit
        if visit.state is not State.IDENTIFY:
            return
        if self._shown.counts(text, time.monotonic(), visit.turn, free=accepts(visit, Event.NUMBER_GIVEN)):
            self._performer.send(Happening(Event.NUMBER_GIVEN, given=Given(text, "scanned")))

    def on_live(self, live: Live) -> None:
        """A preview frame was judged."""
        performer, rooms = self._performer, self._rooms
        if rooms is None or performer.visit.state is not State.FRAMING:
            self._inspection.on_live(live)
            return
        self._inspection.values.note(live.report, live.at_ns)
        if live.light is not None:
            rooms.lamps.saw(live.light)  # may take the light away that `lit` stands for
        height = rooms.height
        height.saw(live.eyes, live.at_ns)
        guidance = performer.scenery.guidance
        ready = rooms.lamps.lit.is_set() and not performer.visit.obstructed
        ready = ready and not height.moving and not height.aiming
        probing = performer.probing.holds_shutter
        report = by_steady_light(live.report) if probing else live.report
        first = height.instruction
        guidance = advise(guidance, report, live.motion, live.at_ns, first) if ready else interrupted(guidance, first)
        if ready and height.settled and guidance.wanted != NO_FACE:
            performer.probing.begin(rooms.station, rooms.lamps)
        if (
            ready
            and not probing
            and guidance.wanted != NO_FACE
            and is_still(live.motion)
            and guidance.guided_s >= FIRST_S
        ):
            performer.consider(rank(live.report, live.at_ns))
        if performer.record is not None:
            performer.record.note_instruction(guidance.key)
        left = self._count(live.at_ns) if guidance.held_s >= performer.profile.hold_s else None
        if left is None:
            self._countdown = None
        performer.scenery = Scenery(guidance=guidance, countdown=left or None, overlay=live.overlay, live=live.report)
        if left == 0 and not probing and height.settled:
            performer.send(Happening(Event.HELD))
        elif guidance.guided_s >= performer.profile.framing_limit_s * self._settings.patience:
            performer.send(Happening(Event.OVERDUE))
        else:
            performer.publish()

    def on_light(self, outcome: LightOutcome) -> None:
        """The light on the sitter was balanced, or is as good as it gets."""
        self._inspection.note_light(outcome)
        if self._performer.record is not None:
            self._performer.record.note_light(outcome)
        problem = outcome.problem
        if problem is not None:
            how = "made up for" if outcome.reached else f"not made up for ({', '.join(outcome.lacking)})"
            self._health.note(
                "warning", f"light: {problem.kind} {problem.name} {problem.value:.2f}, {how}", of_visit=True
            )

    def _count(self, at_ns: int) -> int:
        """What the countdown shows; 0 is the shutter."""
        turn = self._performer.visit.turn
        if self._countdown is None or self._countdown[0] != turn:
            self._countdown = turn, at_ns
        steps = int((at_ns - self._countdown[1]) / 1e9 / self._settings.countdown_step_s)
        return max(self._settings.countdown - steps, 0)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        for older in self._tasks:
            if older.get_name() == name:
                older.cancel()  # the device came back meanwhile: begin anew
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("%s ended", task.get_name(), exc_info=error)
            self.on_trouble(task.get_name(), error)
