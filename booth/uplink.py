"""Outbox → intake: every packet delivered once, however long it takes.

Order for one packet: read it from the outbox (digest compared) → PUT it under its digest with a signed request → 201 or 200: verify the
receipt against the trust root and this very packet → store the receipt, delete the copy (`Outbox.settle`).

Rules
  - Attempts never end. Their schedule is in the outbox's database, so a restart changes nothing: `first_retry_s` doubled per attempt up to
    `longest_retry_s`, times a random 0.5 to 1, so that booths do not come back all at once. A `Retry-After` of the intake is kept up to that cap.
  - No answer, 5xx, a proxy's answer without our problem code, a receipt that proves nothing: not now. While the intake does not answer, no
    other packet is tried before that packet's time; the first success makes all waiting packets due.
  - 401 is about the booth (certificate, clock), not about the packet: not now, and shown to the technician.
  - Any other 4xx with a problem code and `retry: false` is a refusal for good: the packet is kept and flagged for the technician.
  - 200 (the intake had it already) is a success like 201.
  - The intake's Date header tells the clock skew.

A new packet wakes the uplink at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

import httpx2

from booth.config import IntakeSection
from booth.errors import (
    BoothError,
    ConfigInvalidError,
    IntakeRefusedError,
    IntakeUnreachableError,
    OutboxDamagedError,
    OutboxError,
    ReceiptRejectedError,
    UplinkError,
)
from booth.outbox import Entry, Outbox
from crypto.errors import CryptoError, ReceiptError
from crypto.http_signature import sign_request
from crypto.keys import Signer, TrustStore
from crypto.receipt import verify_receipt
from crypto.seal import MEDIA_TYPE

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_ANSWER_BYTES = 65_536
# An HTTP date has whole seconds and may be some seconds old on a busy server.
SKEW_WORTH_TELLING_S = 30.0
# When the disk itself fails there is nothing to schedule in: try again after this time.
DISK_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class UplinkStatus:
    """How the last attempts went. Times are seconds since 1970."""

    last_receipt_at: float | None = None
    last_error: str | None = None
    next_try_at: float | None = None
    clock_skew_s: float | None = None  # intake's clock minus ours


class Uplink:
    """Delivers what is in the outbox; made by `open_uplink`."""

    def __init__(
        self,
        outbox: Outbox,
        worker: Executor,
        settings: IntakeSection,
        signer: Signer,
        trust: TrustStore,
        client: httpx2.AsyncClient,
        clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._worker = worker
        self._settings = settings
        self._signer = signer
        self._trust = trust
        self._client = client
        self._clock = clock
        self._chance = chance
        self._wake = asyncio.Event()
        self._failures = 0  # in a row, since the intake last took a packet
        self._resume_at = 0.0  # nothing is tried before this time
        self.status = UplinkStatus(last_receipt_at=outbox.status.last_receipt_at)

    def wake(self) -> None:
        """There is a new packet."""
        self._wake.set()

    async def run(self) -> None:
        """Delivers for ever."""
        while True:
            self._wake.clear()
            try:
                wait_s = await self._turn()
            except OutboxError as error:
                self._note(error)
                wait_s = DISK_PAUSE_S
            except Exception as error:
                # A defect of ours must not end the deliveries of weeks.
                log.exception("the uplink goes on after an unexpected error")
                self.status = replace(self.status, last_error=f"Unexpected {type(error).__name__}.")
                wait_s = DISK_PAUSE_S
            if wait_s == 0:
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _turn(self) -> float | None:
        """Handles the packet whose turn it is; returns how long to wait for the next one, None for until there is one."""
        entry = await self._on_worker(self._outbox.next_due)
        if entry is None:
            self.status = replace(self.status, next_try_at=None)
            return None
        now, cap = self._clock(), self._settings.longest_retry_s
        # A clock that was set back must not make a packet wait longer than the longest retry.
        left_s = min(max(entry.next_try_at, self._resume_at) - now, cap)
        if left_s > 0:
            self.status = replace(self.status, next_try_at=now + left_s)
            return left_s
        await self.deliver(entry)
        return 0

    async def deliver(self, entry: Entry) -> None:
        """One attempt for one packet, its outcome in the outbox; raises OutboxError only."""
        try:
            packet = await self._on_worker(self._outbox.read, entry.sha256)
            receipt, skew_s = await self._put(entry.sha256, packet)
        except OutboxDamagedError as error:
            self._note(error)
        except IntakeRefusedError as error:
            self._note(error)
            await self._on_worker(self._outbox.refuse, entry.sha256, error.reason, str(error))
        except (UplinkError, CryptoError) as error:
            self._note(error)
            self._failures += 1
            pause_s = self.pause_s(max(entry.attempts, self._failures - 1), getattr(error, "retry_after_s", None))
            next_try_at = self._resume_at = self._clock() + pause_s
            self.status = replace(self.status, next_try_at=next_try_at)
            await self._on_worker(self._outbox.postpone, entry.sha256, next_try_at, error.code, str(error))
        else:
            await self._on_worker(self._outbox.settle, entry.sha256, receipt)
            log.info("packet %s delivered and receipted", entry.sha256[:12])
            self.status = replace(
                self.status, last_receipt_at=self._clock(), last_error=None, next_try_at=None, clock_skew_s=skew_s
            )
            if self._failures:
                self._failures, self._resume_at = 0, 0.0
                await self._on_worker(self._outbox.hasten)

    def pause_s(self, attempts: int, asked_s: float | None = None) -> float:
        """How long to wait after the attempt that follows `attempts` earlier ones."""
        cap = self._settings.longest_retry_s
        # Beyond 2**30 the cap has long been reached; larger powers would only overflow.
        pause = min(cap, self._settings.first_retry_s * 2.0 ** min(attempts, 30)) * (0.5 + self._chance() / 2)
        return pause if asked_s is None else min(cap, max(pause, asked_s))

    async def _put(self, sha256: str, packet: bytes) -> tuple[bytes, float | None]:
        """Uploads; returns the verified receipt and the clock skew. Raises UplinkError or CryptoError."""
        url = f"{self._settings.url}/v1/packets/{sha256}"
        headers = {"content-type": MEDIA_TYPE}
        headers |= await self._on_worker(lambda: sign_request("PUT", url, headers, packet, self._signer))
        try:
            async with asyncio.timeout(self._settings.timeout_s * 10):
                async with self._client.stream("PUT", url, content=packet, headers=headers) as response:
                    body = await _bounded(response)
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            raise IntakeUnreachableError(
                f"The intake {self._settings.url} did not answer ({type(error).__name__}); packets wait."
            ) from error
        skew_s = self._read_skew(response)
        if response.status_code not in {200, 201}:
            raise _refusal(response, body)
        try:
            verify_receipt(body, self._trust, sha256)
        except ReceiptError as error:
            raise ReceiptRejectedError(f"The intake's receipt for {sha256[:12]} proves nothing: {error}") from error
        return body, skew_s

    def _read_skew(self, response: httpx2.Response) -> float | None:
        try:
            skew_s = parsedate_to_datetime(response.headers["date"]).timestamp() - self._clock()
        except (KeyError, ValueError):
            return None
        self.status = replace(self.status, clock_skew_s=skew_s)
        if abs(skew_s) > SKEW_WORTH_TELLING_S:
            log.warning("the intake's clock differs from ours by %.0f s; set the booth's clock (NTP)", skew_s)
        return skew_s

    def _note(self, error: BoothError | CryptoError) -> None:
        text = str(error)
        if text != self.status.last_error:
            log.warning("%s: %s", error.code, text)
        self.status = replace(self.status, last_error=text)

    async def _on_worker(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)


async def _bounded(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise IntakeUnreachableError(
                "The intake's answer is longer than any answer of an intake; is the address right?"
            )
    return bytes(body)


def _refusal(response: httpx2.Response, body: bytes) -> UplinkError:
    """The error for an answer that is no success."""
    problem: dict[str, object] = {}
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        with contextlib.suppress(ValueError):
            value = json.loads(body)
            problem = value if isinstance(value, dict) else {}
    code, detail = str(problem.get("code", ""))[:80], str(problem.get("detail", ""))[:300]
    status = response.status_code
    if 400 <= status < 500 and status != 401 and code and problem.get("retry") is False:
        return IntakeRefusedError(f"The intake refuses the packet for good: {detail} ({code})", code)
    after = response.headers.get("retry-after", "")
    said = f" {code}: {detail}" if code else ""
    return IntakeUnreachableError(
        f"The intake answered {status}{said}; packets wait.", float(after) if after.isdecimal() else None
    )


@asynccontextmanager
async def open_uplink(
    outbox: Outbox,
    worker: Executor,
    settings: IntakeSection,
    signer: Signer,
    trust: TrustStore,
    clock: Callable[[], float],
    transport: httpx2.AsyncBaseTransport | None = None,
) -> AsyncIterator[Uplink]:
    """An uplink that is delivering; ended with its upload in flight given up (the next start repeats it)."""
    async with httpx2.AsyncClient(
        verify=trusting(settings.trust), timeout=settings.timeout_s, transport=transport, trust_env=False
    ) as client:
        uplink = Uplink(outbox, worker, settings, signer, trust, client, clock)
        running = asyncio.create_task(uplink.run(), name="uplink")
        try:
            yield uplink
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def trusting(path: Path) -> ssl.SSLContext:
    """TLS that trusts the given roots alone."""
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise ConfigInvalidError(
            f"intake.trust: {path} holds no usable certificates ({type(error).__name__})."
        ) from error
