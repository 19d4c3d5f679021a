"""The keeper of the lamps: brings them to the scene that the visit wants, and keeps trying while they refuse.

Rules
  - One task alone sets the lamps; the newest wish counts; a failed attempt is told and repeated every RETRY_S until it succeeds or another scene
    is wanted; `lit` is set only while the wanted portrait light is acknowledged and was seen by the camera.
  - `lent()` gives the lamps to somebody else for a while (the presentation attack probe, lamp tests): it waits until the scene stands, and the keeper
    then changes nothing until they come back. A borrower of the portrait light stays within LOAN_SHARE of each base level, so `lit` stays set.
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
from capture.station import Station
from hardware.errors import HardwareError

RETRY_S = 1.0
# What a borrower may add to or take from a lamp of the portrait light, of its base level.
LOAN_SHARE = 0.2


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
    """Made by `open_lamps`."""

    def __init__(self, station: Station, on_trouble: Callable[[Exception | None], None]) -> None:
        self.lit = asyncio.Event()
        self._station = station
        self._on_trouble = on_trouble
        self._wanted = LightScene.STANDBY
        self._changed = asyncio.Event()
        self._standing = asyncio.Event()  # the wanted scene is reached, whichever it is
        self._lending = asyncio.Lock()
        self._loan: Loan | None = None

    def want(self, scene: LightScene) -> None:
        """The scene from now on; the same scene again is set again (a controller that came back may be dark)."""
        self._wanted = scene
        self.lit.clear()
        self._standing.clear()
        self._changed.set()
        if self._loan is not None:
            self._loan.take_back()

    def repeat(self) -> None:
        """Sets the wanted scene again."""
        self.want(self._wanted)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Mapping[str, float]]:
        """The lamps for one borrower at a time, and their acknowledged base levels (empty without lamps); raises LampsTakenBackError."""
        async with self._lending:
            await self._standing.wait()
            base = dict(self._station.levels_pct)
            borrower = asyncio.current_task()
            assert borrower is not None
            loan = self._loan = Loan(borrower)
            try:
                try:
                    yield base
                except asyncio.CancelledError:
                    if loan.is_our_cancellation():
                        raise LampsTakenBackError("The lamps are needed; what was begun with them is void.") from None
                    self._set_anew()
                    raise
                except Exception:
                    await self._give_back(loan, base)
                    raise
                await self._give_back(loan, base)
            finally:
                self._loan = None

    async def _give_back(self, loan: Loan, base: Mapping[str, float]) -> None:
        """The base levels, acknowledged and seen; where that fails the keeper sets its scene anew."""
        try:
            await self._station.set_levels(base)
            await asyncio.sleep(0)  # a cancellation that is under way arrives here, and not in the borrower's next work
        except asyncio.CancelledError:
            if not loan.is_our_cancellation():
                self._set_anew()
                raise
        except HardwareError:
            self._set_anew()

    def _set_anew(self) -> None:
        self._loan = None  # nobody to take the lamps from
        self.repeat()

    async def run(self) -> None:
        """Keeps the lamps for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = self._wanted
            try:
                if wanted is LightScene.PORTRAIT:
                    await self._station.set_portrait_light()
                else:
                    await self._station.set_standby_light()
            except Exception as error:  # noqa: BLE001 - told, and tried again: the keeper outlives whatever a driver does
                self._on_trouble(error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await self._changed.wait()
                self._changed.set()
                continue
            self._on_trouble(None)
            if self._changed.is_set():
                continue
            self._standing.set()
            if wanted is LightScene.PORTRAIT:
                self.lit.set()


@asynccontextmanager
async def open_lamps(station: Station, on_trouble: Callable[[Exception | None], None]) -> AsyncIterator[LampKeeper]:
    """A keeper at work."""
    keeper = LampKeeper(station, on_trouble)
    running = asyncio.create_task(keeper.run(), name="lamps")
    try:
        yield keeper
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
