"""The bench of the self-tests: everything of a booth that a test may touch, made by the running controller or by `booth diagnose` itself.

Rules: a test takes what it needs from here and nothing else, so that a test's stand-ins are one value; blocking work goes through `blocking`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import ParamSpec, TypeVar

import httpx2
from cryptography.x509 import Certificate

from booth.config import Config
from booth.disk import Files
from booth.outbox_quota import OutboxStatus
from capture.calibration import Calibration
from capture.calibration_run import CalibrationSettings
from capture.station import Station
from crypto.errors import CryptoError

# The keeper repeats a scene that failed after a second; three attempts, and the lamps are not coming.
LAMPS_REST_S = 4.0
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bench:
    """What self-tests work with."""

    config: Config
    station: Station
    worker: Executor
    files: Files
    client: httpx2.AsyncClient
    certificate: Callable[[], Certificate]  # the booth's own; raises a CryptoError
    outbox: Callable[[], OutboxStatus]
    known_skew_s: Callable[[], float | None]  # the intake's clock minus ours, as the uplink last saw it
    utc: Callable[[], datetime]
    lend: Callable[
        [], AbstractAsyncContextManager[Mapping[str, float]]
    ]  # the lamps, and the levels that come back after
    calibration: Callable[[], Calibration | None] = lambda: (
        None
    )  # the newest; raises a CryptoError when it cannot be believed
    baseline: Callable[[], Calibration | None] = lambda: None  # that the newest one was measured against

    calibration_settings: CalibrationSettings = field(default_factory=CalibrationSettings)

    save: Callable[[Calibration], object] = lambda _calibration: (
        None
    )  # signed, on the disk; blocks; raises CryptoError, OSError
    adopt: Callable[[Calibration], None] = lambda _calibration: None  # used from now on

    @asynccontextmanager
    async def lamps(self) -> AsyncIterator[Mapping[str, float]]:
        """The lamps to ourselves, and the levels that they get back. Raises TimeoutError when they do not come to rest, LampsTakenBackError."""
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(LAMPS_REST_S):
                levels = await stack.enter_async_context(self.lend())
            yield levels

    def known_calibration(self) -> Calibration | None:
        """The newest calibration, None also when it cannot be believed; blocks."""
        try:
            return self.calibration()
        except (CryptoError, OSError):
            return None

    async def blocking(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Work that may wait for the disk or a token, off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.worker, lambda: work(*arguments, **named))
