"""The keeper of the lamps: brings them to the scene that the visit wants, and keeps trying while they refuse.

Rules
  - One task alone sets the lamps; the newest wish counts; a failed attempt is told and repeated every RETRY_S until it succeeds or another scene
    is wanted; `lit` is set only while the wanted portrait light is acknowledged and was seen by the camera.
  - The portrait light is balanced (capture.balance) as soon as a reading of the sitter's face asks for it: `saw` takes `lit` away, the loop sets
    lamps and camera, `lit` comes back. A light that holds with margin is left alone. What was balanced stays for the visit, until the standby light.
    A reading that asks for it again (the sun through the door) must come twice, and at most BALANCES_MOST times in a scene.
  - `lent()` gives the lamps to somebody else for a while (the presentation attack probe, lamp tests): it waits until the scene stands, and the keeper
    then changes nothing until they come back. A borrower of the portrait light stays within a fifth of each base level (capture.probe.SWING), so `lit` stays set.
    Another wish takes the lamps back at once: the borrower's work is cancelled and ends with LampsTakenBackError. When the loan ends otherwise, the base
    levels are restored and seen again before `lent()` returns; if the lamps refuse that, the keeper sets its scene anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from booth.errors import LampsTakenBackError
from booth.events import LightScene
from capture.balance import Balancer, LightOutcome
from capture.metering import MeterReading
from capture.station import Station
from hardware.errors import HardwareError

RETRY_S = 1.0
# The sitter left, or no frame is judged any more: the balance is given up and begins anew with the next face.
READING_WAIT_S = 4.0
BALANCES_MOST = 5


class Loan:
    """Who has the lamps, and whether they were asked back."""

    def __init__(self, borrower: asyncio.Task[object]) -> None:
        self._borrower = borrower
        self._cancelling = borrower.cancelling()
        self.taken_back = False

    def take_back(self) -> None:
        """Cancels the borrower's work, once."""
        if not self.taken_back:
            self.taken_back = True
            self._borrower.cancel()

    def is_our_cancellation(self) -> bool:
        """Whether the cancellation that arrived is only ours; it is then undone."""
        return self.taken_back and self._borrower.uncancel() <= self._cancelling


class LampKeeper:
    """Made by `open_lamps`; without a balancer the portrait light is the nominal one."""

    def __init__(
        self,
        station: Station,
        on_trouble: Callable[[Exception | None], None],
        balancer: Balancer | None = None,
        on_outcome: Callable[[LightOutcome], None] | None = None,
        meter_after: Callable[[int], None] | None = None,
    ) -> None:
        self.lit = asyncio.Event()
        self.balanced = asyncio.Event()  # the light on the present sitter was looked at, and is as good as it gets
        self.last_outcome: LightOutcome | None = None  # of this scene
        self._station = station
        self._on_trouble, self._on_outcome, self._meter_after = on_trouble, on_outcome, meter_after
        self._balancer = balancer
        self._wanted = LightScene.STANDBY
        self._base: Mapping[str, float] | None = None  # what the present sitter's light was balanced to
        self._changed = asyncio.Event()
        self._due = asyncio.Event()
        self._asked: MeterReading | None = None
        self._asking = self._balances = 0
        self._readings: asyncio.Queue[MeterReading] = asyncio.Queue(maxsize=1)
        self._standing = asyncio.Event()  # the wanted scene is reached, whichever it is
        self._lending = asyncio.Lock()
        self._wished = asyncio.Event()  # since whoever waits for the lamps looked last
        self._loan: Loan | None = None

    def want(self, scene: LightScene) -> None:
        """The scene from now on; the same scene again is set again (a controller that came back may be dark)."""
        self._wanted = scene
        self.lit.clear()
        self._standing.clear()
        self.balanced.clear()
        self._changed.set()
        self._due.set()
        self._wished.set()
        if self._loan is not None:
            self._loan.take_back()

    def repeat(self) -> None:
        """Sets the wanted scene again."""
        self.want(self._wanted)

    def saw(self, reading: MeterReading) -> None:
        """The light of a frame; when it asks for a balance, `lit` is gone before this returns."""
        balancer = self._balancer
        if self._readings.full():
            self._readings.get_nowait()
        self._readings.put_nowait(reading)
        if balancer is None or not self.lit.is_set() or self._loan is not None or self._asked is not None:
            return
        if reading.at_ns <= self._station.settled_ns:
            return  # the light was still on its way
        if not balancer.is_due(reading):
            self._asking = 0
            if reading.has_face and not self.balanced.is_set():
                self._tell(balancer.fine(reading) if self.last_outcome is None else self.last_outcome)
            return
        self._asking += 1
        again = self.last_outcome is not None
        if self._asking > int(again) and self._balances < BALANCES_MOST:
            self._asking, self._asked = 0, reading
            self.lit.clear()
            self.balanced.clear()
            self._due.set()
        elif reading.has_face and again and not self.balanced.is_set() and self._balances >= BALANCES_MOST:
            self.balanced.set()

    def _tell(self, outcome: LightOutcome) -> None:
        self.last_outcome = outcome
        self.balanced.set()
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Mapping[str, float]]:
        """The lamps for one borrower at a time, and their acknowledged base levels (empty without lamps); raises LampsTakenBackError."""
        async with self._lending:
            while missing := [event for event in self._lendable() if not event.is_set()]:
                await _first_of(missing[0], self._wished)
                self._wished.clear()
            base = dict(self._station.levels_pct)
            borrower = asyncio.current_task()
            assert borrower is not None
            loan = self._loan = Loan(borrower)
            try:
                try:
                    yield base
                except asyncio.CancelledError:
                    is_ours = loan.is_our_cancellation()
                    self._set_anew()  # also what is wanted meanwhile: the borrower may have tidied up over it
                    if is_ours:
                        raise LampsTakenBackError("The lamps are needed; what was begun with them is void.") from None
                    raise
                except Exception:
                    await self._give_back(loan, base)
                    raise
                await self._give_back(loan, base)
            finally:
                self._loan = None

    def _lendable(self) -> tuple[asyncio.Event, ...]:
        """What must have come before the lamps can be lent in the wanted scene."""
        if self._wanted is not LightScene.PORTRAIT:
            return (self._standing,)
        return (self._standing, self.lit) if self._balancer is None else (self._standing, self.lit, self.balanced)

    async def _give_back(self, loan: Loan, base: Mapping[str, float]) -> None:
        """The base levels, acknowledged and seen; where that fails the keeper sets its scene anew."""
        asked_back = loan.taken_back
        try:
            if not asked_back:  # else another scene is on its way
                await self._station.set_levels(base)
            await asyncio.sleep(0)  # a cancellation that is under way arrives here, and not in the borrower's next work
        except asyncio.CancelledError:
            if not loan.is_our_cancellation():
                self._set_anew()
                raise
        except HardwareError:
            self._set_anew()
        else:
            if asked_back:  # the borrower took the cancellation for something of his own
                loan.is_our_cancellation()
                self._set_anew()

    def _set_anew(self) -> None:
        self._loan = None  # nobody to take the lamps from
        self.repeat()

    async def run(self) -> None:
        """Keeps the lamps for ever."""
        while True:
            await self._due.wait()
            self._due.clear()
            if self._changed.is_set():
                await self._set_scene()
            elif self._asked is not None:
                await self._balance_until_changed()

    async def _set_scene(self) -> None:
        self._changed.clear()
        self._asked = None
        wanted = self._wanted
        try:
            if wanted is LightScene.PORTRAIT:
                await self._set_portrait()
            else:
                self._base, self.last_outcome, self._balances = None, None, 0
                if self._balancer is not None:
                    await self._balancer.restart()
                await self._station.set_standby_light()
        except Exception as error:  # noqa: BLE001 - told, and tried again: the keeper outlives whatever a driver does
            await self._pause(error)
            return
        self._on_trouble(None)
        if self._changed.is_set():
            return
        self._standing.set()
        if wanted is LightScene.PORTRAIT:
            self.lit.set()

    async def _set_portrait(self) -> None:
        if self._base is not None:
            await self._station.set_levels(self._base)
        else:
            await self._station.set_portrait_light()

    async def _pause(self, error: Exception) -> None:
        """Tells what failed; the scene is set again after a while, or when another is wanted."""
        self._on_trouble(error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await self._changed.wait()
        self._changed.set()
        self._due.set()

    # --- the light on the sitter -----------------------------------------------------------------------------------------

    async def _balance_until_changed(self) -> None:
        """A balance that ends at once when another scene is wanted."""
        balance = asyncio.create_task(self._balance(), name="light balance")
        changed = asyncio.create_task(self._changed.wait(), name="light scene")
        try:
            await asyncio.wait({balance, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            balance.cancel()
            await asyncio.gather(balance, changed, return_exceptions=True)
        self._asked = None
        if self._changed.is_set():
            return
        error = None if balance.cancelled() else balance.exception()
        if isinstance(error, Exception):
            await self._pause(error)
        else:
            self.lit.set()

    async def _balance(self) -> None:
        assert self._balancer is not None
        assert self._asked is not None
        self._balances += 1
        try:
            outcome = await self._balancer.run(self._asked, self._reading_after)
        except TimeoutError:
            return  # nobody sits there any more; the next face asks again
        self._base = dict(self._station.levels_pct) or None
        if outcome is not None:
            self._tell(outcome)

    async def _reading_after(self, at_ns: int) -> MeterReading:
        """The first reading of a frame newer than that; raises TimeoutError."""
        if self._meter_after is not None:
            self._meter_after(at_ns)
        async with asyncio.timeout(READING_WAIT_S):
            while (reading := await self._readings.get()).at_ns <= at_ns:
                pass
        return reading


async def _first_of(*events: asyncio.Event) -> None:
    """Waits until one of them is set."""
    waits = [asyncio.create_task(event.wait(), name="lamps wait") for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


@asynccontextmanager
async def open_lamps(
    station: Station,
    on_trouble: Callable[[Exception | None], None],
    balancer: Balancer | None = None,
    on_outcome: Callable[[LightOutcome], None] | None = None,
    meter_after: Callable[[int], None] | None = None,
) -> AsyncIterator[LampKeeper]:
    """A keeper at work; `meter_after` asks for a reading of the next frame newer than a moment."""
    keeper = LampKeeper(station, on_trouble, balancer, on_outcome, meter_after)
    running = asyncio.create_task(keeper.run(), name="lamps")
    try:
        yield keeper
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        if balancer is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await balancer.restart()  # the next programme finds the camera as this one found it
