"""The keeper of the lamps: brings them to the scene that the visit wants, and keeps trying while they refuse.

Rules: one task alone sets the lamps; the newest wish counts; a failed attempt is told and repeated every RETRY_S until it succeeds or another
scene is wanted; `lit` is set only while the wanted portrait light is acknowledged and was seen by the camera.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from booth.events import LightScene
from capture.station import Station

RETRY_S = 1.0


class LampKeeper:
    """Made by `open_lamps`."""

    def __init__(self, station: Station, on_trouble: Callable[[Exception | None], None]) -> None:
        self.lit = asyncio.Event()
        self._station = station
        self._on_trouble = on_trouble
        self._wanted = LightScene.STANDBY
        self._changed = asyncio.Event()

    def want(self, scene: LightScene) -> None:
        """The scene from now on; the same scene again is set again (a controller that came back may be dark)."""
        self._wanted = scene
        self.lit.clear()
        self._changed.set()

    def repeat(self) -> None:
        """Sets the wanted scene again."""
        self.want(self._wanted)

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
            if wanted is LightScene.PORTRAIT and not self._changed.is_set():
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
