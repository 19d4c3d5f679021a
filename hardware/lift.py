"""The height axis that carries the camera: `lift+serial:///dev/serial/by-id/…`, protocol PBL/1 (lift_codec.py, docs/height.md). hardware: untested.

It is a machine that moves beside people, so:
1. every connect begins with STOP: whoever comes newly does not know what moves;
2. a target outside the soft limits (settings and device, the narrower of both) is refused before anything is sent; never faster than the
   setting, which is never above FASTEST_MM_S;
3. a move is watched: asked every POLL_S, which also feeds the device's own watch (it stops when it hears nothing for DEADMAN_S). It ends with
   the position read back at the target; an obstruction, a fault, no progress, a way that leads off the target, more time than the way can take,
   another position or a lost line ends it with an error;
4. whatever ends a move early, also a cancellation, sends STOP first; where the line is lost, the device stops by its own watch;
5. closing stops.
No error tells a position: where the lens stands is how tall an applicant is, and errors go to the log. An obstruction stays noted in the device until the next STOP. An axis that stopped by its own watch, because this machine was busy for too
long, is sent on, RESTARTS times.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from hardware.errors import (
    LiftAnswerError,
    LiftError,
    LiftFaultError,
    LiftLostError,
    LiftObstructedError,
    LiftRangeError,
    LiftRefusedError,
    LiftStalledError,
    LiftTimeoutError,
    LinkError,
    LinkGarbledError,
    LinkSilentError,
)
from hardware.lift_codec import (
    Answer,
    LiftIdentity,
    LiftLimits,
    LiftReading,
    LineDecoder,
    encode,
    encode_go,
    read_identity,
    read_limits,
    read_refusal,
    read_status,
)
from hardware.link import DeviceState, DeviceStatus, Port, SerialLink, StatusBoard, StatusCallback, read_serial_path

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEME = "lift+serial"
ANSWER_S = 0.2
ATTEMPTS = 2
POLL_S = 0.1
# As slow as electric desks (about 40 mm/s); faster needs guards that this software cannot prove (assumed).
FASTEST_MM_S = 100.0
TOLERANCE_MM = 2.0
# Moving and yet not a PROGRESS_MM further after this time: a motor that slips or a belt that is torn.
STALL_S, PROGRESS_MM = 1.0, 1.0
RESTARTS = 2
# Further from the target than it was already: it runs the wrong way, past it, or its position jumps. Two polls at the fastest speed.
AWAY_MM = 20.0
# The way at the set speed may take twice as long as it should, and so much more for starting, braking and restarts.
SLOWNESS, SLACK_S = 2.0, 5.0


class LiftSettings(BaseModel):
    """[lift] the axis: its line, how high the lens is when it stands at 0, how far and how fast it may go."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    zero_cm: Annotated[float, Field(ge=20, le=250)]  # height of the lens above the floor at position 0
    low_mm: FiniteFloat = 0.0
    high_mm: FiniteFloat
    home_mm: FiniteFloat | None = None  # where nobody's height is known: the middle unless told
    speed_mm_s: Annotated[float, Field(gt=0, le=FASTEST_MM_S)] = 40.0
    baud: int = 19200

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.low_mm >= self.high_mm:
            raise ValueError("lift.low_mm must be below lift.high_mm")
        if self.home_mm is not None and not self.low_mm <= self.home_mm <= self.high_mm:
            raise ValueError("lift.home_mm must be between lift.low_mm and lift.high_mm")
        return self


class Lift(Protocol):
    """A height axis."""

    @property
    def status(self) -> DeviceStatus:
        """The line's state; never blocks."""

    @property
    def reading(self) -> LiftReading | None:
        """What was read last; None before the first time, and while the line is lost."""

    @property
    def limits(self) -> LiftLimits | None:
        """How far it may go; None before it answered."""

    async def move_to(self, position_mm: float) -> LiftReading:
        """Go there and return when it stands there, read back. Raise a `LiftError`; any end but arrival stops it."""

    async def stop(self) -> LiftReading:
        """Stop now. Raise a `LiftError`."""


class LiftDialogue:
    """The driver, on its port's thread."""

    idle_s: ClassVar[float] = 2.0

    def __init__(self, settings: LiftSettings) -> None:
        self._settings = settings
        self._number = 0
        self.reading: LiftReading | None = None
        self.limits: LiftLimits | None = None

    def connect(self, link: SerialLink) -> Mapping[str, str]:
        """Stop, then ask who is there and what it can."""
        link.discard()
        self.stop(link)
        who: LiftIdentity = self._ask(link, "ID", read_identity)
        limits: LiftLimits = self._ask(link, "LIM", read_limits)
        low, high = max(limits.low_mm, self._settings.low_mm), min(limits.high_mm, self._settings.high_mm)
        if low >= high:
            raise LiftRefusedError(
                f"The axis goes from {limits.low_mm:g} to {limits.high_mm:g} mm, the settings allow "
                f"{self._settings.low_mm:g} to {self._settings.high_mm:g}: correct [lift]."
            )
        self.limits = LiftLimits(low, high, min(limits.fastest_mm_s, self._settings.speed_mm_s))
        return {
            "maker": who.maker,
            "serial": who.serial,
            "firmware": who.firmware,
            "range": f"{low:g} to {high:g} mm",
            "speed": f"{self.limits.fastest_mm_s:g} mm/s",
        }

    def idle(self, link: SerialLink) -> None:
        """See that it is there."""
        self.read(link)

    def read(self, link: SerialLink) -> LiftReading:
        """Position and flags."""
        return self._note(self._ask(link, "ST", read_status))

    def stop(self, link: SerialLink) -> LiftReading:
        """Stop; an obstruction is acknowledged with it."""
        return self._note(self._ask(link, "STOP", read_status))

    def go(self, link: SerialLink, position_mm: float) -> LiftReading:
        """Begin to move."""
        assert self.limits is not None
        if self.reading is None or self.reading.obstructed:
            self.stop(link)
        speed = self.limits.fastest_mm_s
        return self._note(self._ask(link, "GO", read_status, lambda number: encode_go(number, position_mm, speed)))

    def _note(self, reading: LiftReading) -> LiftReading:
        self.reading = reading
        return reading

    def _ask(
        self,
        link: SerialLink,
        word: str,
        read: Callable[[Answer], T | None],
        request: Callable[[int], bytes] | None = None,
    ) -> T:
        heard = 0
        for _ in range(ATTEMPTS):
            self._number = (self._number + 1) & 0xFF
            decoder = LineDecoder()
            link.write(encode(self._number, word) if request is None else request(self._number))
            deadline = time.monotonic() + ANSWER_S
            while (left := deadline - time.monotonic()) > 0:
                data = link.read(left)
                heard += len(data)
                for answer in decoder.feed(data):
                    if answer.number != self._number:
                        continue
                    if (why := read_refusal(answer)) is not None:
                        raise LiftRefusedError(f"The axis refuses {word}: {why}; check its limits and its state.")
                    if (value := read(answer)) is not None:
                        return value
        self.reading = None
        if heard:
            raise LinkGarbledError(f"{heard} bytes came from {link.path}, but no answer of a height axis (PBL/1).")
        raise LinkSilentError(f"No height axis answers at {link.path}: check its power and its cable.")


class PortLift:
    """A height axis behind a serial port."""

    def __init__(self, port: Port, dialogue: LiftDialogue) -> None:
        self._port = port
        self._dialogue = dialogue
        self._moving = False

    @property
    def status(self) -> DeviceStatus:
        """See `Lift`."""
        return self._port.board.status

    @property
    def reading(self) -> LiftReading | None:
        """See `Lift`."""
        return self._dialogue.reading if self.status.state is DeviceState.READY else None

    @property
    def limits(self) -> LiftLimits | None:
        """See `Lift`."""
        return self._dialogue.limits

    async def move_to(self, position_mm: float) -> LiftReading:
        """See `Lift`."""
        limits = self.limits
        if limits is None:
            raise LiftLostError(f"The height axis never answered: {self.status.detail}")
        if not limits.low_mm <= position_mm <= limits.high_mm:
            raise LiftRangeError(
                f"A position outside the axis' limits {limits.low_mm:g} to {limits.high_mm:g} mm was asked for."
            )
        self._moving = True
        try:
            reading = await self._watched(position_mm, limits.fastest_mm_s)
        except BaseException:
            with contextlib.suppress(LiftError):  # the line is lost: the device stops by its own watch
                await self.stop()
            raise
        self._moving = False
        return reading

    async def _watched(self, target_mm: float, speed_mm_s: float) -> LiftReading:
        reading = await self._do(lambda link: self._dialogue.go(link, target_mm))
        mark_mm, mark_s = reading.position_mm, time.monotonic()
        closest_mm = abs(reading.position_mm - target_mm)
        end_s = mark_s + SLOWNESS * closest_mm / speed_mm_s + SLACK_S
        restarts = 0
        while True:
            if reading.obstructed:
                raise LiftObstructedError("The height axis met an obstacle and stopped.")
            if reading.fault:
                raise LiftFaultError("The height axis tells a fault of its own.")
            left_mm = abs(reading.position_mm - target_mm)
            if left_mm > closest_mm + AWAY_MM:
                raise LiftFaultError("The height axis moves away from where it was sent.")
            closest_mm = min(closest_mm, left_mm)
            if time.monotonic() > end_s:
                raise LiftStalledError("The height axis moves and does not arrive.")
            if not reading.moving:
                if left_mm <= TOLERANCE_MM:
                    return reading
                if restarts == RESTARTS:
                    break
                restarts += 1
                await self._do(lambda link: self._dialogue.go(link, target_mm))
            elif abs(reading.position_mm - mark_mm) >= PROGRESS_MM:
                mark_mm, mark_s = reading.position_mm, time.monotonic()
            elif time.monotonic() - mark_s > STALL_S:
                raise LiftStalledError("The height axis is on and does not move.")
            await asyncio.sleep(POLL_S)
            reading = await self._do(self._dialogue.read)
        raise LiftRefusedError(f"The axis says that it stands {left_mm:g} mm from where it was sent.")

    async def stop(self) -> LiftReading:
        """See `Lift`."""
        reading = await self._do(self._dialogue.stop)
        self._moving = False
        return reading

    async def stop_if_moving(self) -> None:
        """Before the line is closed."""
        if self._moving:
            with contextlib.suppress(LiftError):  # nobody answers: the device stops by its own watch
                await self.stop()

    async def _do(self, ask: Callable[[SerialLink], LiftReading]) -> LiftReading:
        def job(link: SerialLink) -> LiftReading:
            with self._port.board.judging():
                return ask(link)

        try:
            return await self._port.run(job)
        except LinkSilentError as error:
            raise LiftTimeoutError(f"The height axis does not answer: {error}") from error
        except LinkGarbledError as error:
            raise LiftAnswerError(f"The height axis cannot be understood: {error}") from error
        except LinkError as error:
            raise LiftLostError(f"The height axis cannot be reached: {error}") from error


@asynccontextmanager
async def open_lift(settings: LiftSettings, on_status: StatusCallback | None = None) -> AsyncIterator[Lift]:
    """Open the axis (lift+serial:///dev/…); a missing one is waited for. Closing stops it where it is."""
    path = read_serial_path(settings.url, SCHEME)
    dialogue = LiftDialogue(settings)
    port = Port(StatusBoard("lift", settings.url, on_status), path, settings.baud, dialogue, dialogue.idle_s)
    lift = PortLift(port, dialogue)
    try:
        await port.open()
        yield lift
    finally:
        await lift.stop_if_moving()
        await port.close()
