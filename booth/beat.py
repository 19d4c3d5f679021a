"""The heartbeat's sender: every few minutes this booth tells the intake how it is (booth/beat_content.py), and hears whether orders wait for it.

Order of operation of one: wait until it is due → wait until nobody is here, two minutes at most, and never while the booth judges or seals → put together →
signed and sent as the body of one request → the answer says when the next is wanted and how many orders wait (booth/remote_orders.py).

Rules
  - The first goes within FIRST_S of the start at a random time, each next after the interval, a tenth more or less: booths that got their power back at once
    do not all tell at once. What fails is tried again after the doubled time, LONGEST_S or the interval at most; a heartbeat is never kept for later, the next one tells how it is then.
  - The intake's wish counts between LEAST_S and MOST_S. An answer that is none of an intake changes nothing.
  - `[fleet] heartbeat = false` ends it: nothing is sent, and the technician's page says so. It shows the very bytes that were sent last.
  - Nothing here stops or delays a visit: it signs on the worker thread, and its failures are a line in the log.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from datetime import UTC, datetime

import httpx2
from pydantic import BaseModel, ConfigDict

from booth.config import FleetSection, IntakeSection
from booth.delivery import own_version
from booth.errors import UplinkError
from booth.intake_answers import read_bounded, read_problem, why_unanswered
from booth.presence import Presence
from capture.frames import Latest
from crypto.errors import CryptoError
from crypto.heartbeat import MAX_HEARTBEAT_BYTES, MEDIA_TYPE, PATH, Heartbeat, read_answer
from crypto.http_signature import sign_request
from crypto.keys import Signer

log = logging.getLogger(__name__)

FIRST_S = 30.0
LEAST_S, MOST_S = 60.0, 3600.0
# With PATIENCE_S below the time that an intake which was away gives every booth before it calls it silent (server/alerts.py).
LONGEST_S = 600.0
JITTER = 0.1
# A visit takes three minutes; longer than this the booth is not silent for it.
PATIENCE_S = 120.0


class BeatView(BaseModel):
    """What the technician sees: the newest heartbeat as it was sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    enabled: bool
    sent_at: str | None = None  # UTC, ISO 8601
    body: str | None = None  # the very JSON
    error: str | None = None  # why the last try failed
    next_s: float | None = None


class Beat:
    """One booth's; run as a task."""

    def __init__(
        self,
        settings: FleetSection,
        intake: IntakeSection,
        facts: Callable[[], Awaitable[Heartbeat]],
        client: httpx2.AsyncClient,
        worker: Executor,
        signer: Callable[[], Signer],
        presence: Presence,
        on_orders: Callable[[int], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings, self._url = settings, f"{intake.url}{PATH}"
        self._timeout_s = intake.timeout_s
        self._facts, self._client, self._worker, self._signer = facts, client, worker, signer
        self._presence, self._on_orders, self._chance = presence, on_orders, chance
        self._interval_s, self._failures = settings.interval_s, 0
        self.published = Latest(BeatView(enabled=settings.heartbeat))

    async def run(self) -> None:
        """Tells for ever."""
        if not self._settings.heartbeat:
            return
        wait_s = FIRST_S * self._chance()
        while True:
            self._put(next_s=round(wait_s, 1))
            await asyncio.sleep(wait_s)
            if not await self._presence.until_idle(PATIENCE_S):
                await self._presence.until_waiting()
            wait_s = await self.beat()

    async def beat(self) -> float:
        """One heartbeat; returns how long to wait for the next one."""
        try:
            heartbeat = await self._facts()
            body = heartbeat.to_bytes()
            self._put(body=body.decode(), sent_at=_utc_text(heartbeat.sent_at))
            actions, wanted_s = await self._send(body)
        except (httpx2.HTTPError, TimeoutError, OSError, UplinkError) as error:
            return self._failed(f"The intake was not told: {why_unanswered(error)}.")
        except (CryptoError, _RefusedError) as error:
            return self._failed(str(error))
        except Exception as error:
            # A defect of ours must not end the heartbeats of months.
            log.exception("a heartbeat failed unexpectedly; the next one is sent all the same")
            return self._failed(f"Unexpected {type(error).__name__}.")
        self._failures, self._interval_s = 0, min(max(float(wanted_s), LEAST_S), MOST_S)
        self._put(error=None)
        if actions:
            self._on_orders(actions)
        return self._interval_s * (1 - JITTER + 2 * JITTER * self._chance())

    async def _send(self, body: bytes) -> tuple[int, int]:
        """Orders that wait, and seconds until the next one is wanted."""
        headers = {"Content-Type": MEDIA_TYPE, "Booth-Software": own_version()}
        loop = asyncio.get_running_loop()
        headers |= await loop.run_in_executor(
            self._worker, lambda: sign_request("POST", self._url, headers, body, self._signer())
        )
        async with asyncio.timeout(self._timeout_s):
            async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                answer = await read_bounded(response, MAX_HEARTBEAT_BYTES)
        if response.status_code != 200:
            problem = read_problem(response.status_code, response.headers, answer)
            raise _RefusedError(f"{problem.said}; the heartbeat was not taken.")
        told = read_answer(answer)
        return told.actions, told.next_s

    def _failed(self, text: str) -> float:
        if self.published.value.error != text:
            log.info("no heartbeat: %s", text)
        self._put(error=text)
        pause_s = min(max(LONGEST_S, self._interval_s), self._interval_s * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return pause_s * (0.5 + self._chance() / 2)

    def _put(self, **changes: object) -> None:
        self.published.put(self.published.value.model_copy(update=changes))


class _RefusedError(Exception):
    """The intake answered, and did not take it."""


def _utc_text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
