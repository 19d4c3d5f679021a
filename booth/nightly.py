"""The nightly self-tests: every unattended check at [diagnostics] nightly_at, when the booth is empty.

Rules: only from the invitation (ATTRACT) and with nothing else under way; a night that is skipped is told with its reason. The time is the booth's own
local time; the next night is computed anew after each, so that a clock that is set or a summer time costs at most one run. A controller that was off at that
time does not catch up: in the day people come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from booth.errors import MaintenanceRefusedError
from booth.health import Health
from booth.maintenance import Maintenance

log = logging.getLogger(__name__)

# How often the clock is looked at: a clock that was set is noticed within this time.
LOOK_S = 60.0


def next_night(now: datetime, nightly_at: str) -> datetime:
    """The next moment with this local time, after `now`."""
    hour, minute = (int(part) for part in nightly_at.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


class Nightly:
    """One booth's nights; run as a task."""

    def __init__(
        self,
        maintenance: Maintenance,
        health: Health,
        nightly_at: str,
        invites: Callable[[], bool],
        local: Callable[[], datetime],
    ) -> None:
        self._maintenance, self._health = maintenance, health
        self._at, self._invites, self._local = nightly_at, invites, local

    async def run(self) -> None:
        """For ever."""
        due = next_night(self._local(), self._at)
        while True:
            now = self._local()
            if now >= due:
                self.begin()
                due = next_night(now, self._at)
            else:
                due = min(due, next_night(now, self._at))  # the clock was set back
            await asyncio.sleep(min(LOOK_S, max((due - self._local()).total_seconds(), 0.0)))

    def begin(self) -> bool:
        """Begins the tests where nobody is disturbed; whether it did."""
        reason = None
        if not self._invites():
            reason = "the booth was not waiting for anybody"
        else:
            try:
                self._maintenance.start_tests(occasion="night")
            except MaintenanceRefusedError as error:
                reason = str(error)
        if reason is not None:
            self._health.note("warning", f"technician: the nightly self-tests were skipped: {reason}")
        return reason is None


@asynccontextmanager
async def open_nightly(nightly: Nightly) -> AsyncIterator[None]:
    """The nights are watched for, until the end."""
    task = asyncio.create_task(nightly.run(), name="nightly self-tests")
    task.add_done_callback(_tell_defect)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _tell_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the nightly self-tests ended", exc_info=error)
