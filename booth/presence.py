"""Whether somebody is in the booth, for what works beside visits and must not disturb one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Presence:
    """The visit, as far as it matters to others."""

    changes: Callable[[], AsyncGenerator[object, None]]  # the present state at once, then each newest
    is_idle: Callable[[], bool]  # nobody is here
    is_waiting: Callable[[], bool]  # nobody is here, or the booth waits for whoever is: it judges and seals nothing

    async def until_idle(self, patience_s: float) -> bool:
        """Waits until nobody is here, so long at most; whether it came so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._until(self.is_idle)
        return self.is_idle()

    async def until_waiting(self) -> None:
        """Waits until the booth judges and seals nothing; its own work has limits of half a minute (booth/visit.py)."""
        await self._until(self.is_waiting)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with aclosing(self.changes()) as changes:
            async for _ in changes:
                if holds():
                    return
