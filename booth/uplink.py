"""Outbox → intake: every packet delivered once, however long it takes.

Order for one packet: read it from the outbox (digest compared) → bring it to the intake (booth/delivery.py: signed requests, resumed where they
were interrupted) → the receipt is verified there → store the receipt, delete the copy (`Outbox.settle`).

Rules
  - Attempts never end. Each packet's schedule is in the outbox's database, so a restart changes nothing in it: `first_retry_s` doubled per
    attempt up to `longest_retry_s`, times a random 0.5 to 1, so that booths do not come back all at once. A `Retry-After` of the intake is
    kept up to that cap. A clock that was set back is noticed by a time beyond the cap, and such times are brought forward to it, once.
    What was interrupted and came forward goes on at once; the schedule is for what does not.
  - What concerns every packet pauses them all, on the monotonic clock and with the same doubling: no answer, 503, 429; 401 and a request that
    cannot be signed (the booth's certificate, key or clock); 404, 405, 411, 415 and other `request.*` problems that a repetition would not
    change (the address is wrong: the technician is told). The first success makes all packets due that waited for that. The packet that knocked
    has the pause as its own next time, under a code that says so: by these rows a restart goes on with the pause and its doubling.
  - 403 `booth.revoked` pauses them all for the longest pause, and tells it: a booth that nobody believes takes no portraits. Its packets wait;
    as soon as another certificate is installed (looked for every REVOKED_LOOK_S) the next one is tried, and what the intake takes ends it.
    403 `booth.software_blocked` likewise, with the intake's reason; an update ends it. What ends either may come with a restart: that tries at once.
  - Everything else postpones its packet alone: other 5xx, a proxy's page, a receipt that proves nothing, a file that cannot be read now, a
    defect of ours. Among packets that are due the oldest goes first, until it was tried often (booth/outbox.py, TURN_TRIES).
  - A 4xx with a `packet.*` problem code and `retry: false` is a refusal for good: the packet is kept, and the technician is told the intake's reason
    until no refused packet is left.
  - 200 (the intake had it already) is a success like 201.
  - When the disk refuses to note an outcome, everything pauses, with the same doubling. A verified receipt is kept in memory meanwhile and
    storing it is tried again before anything else; its packet is not uploaded again (unless the booth restarts, which is harmless).
  - The intake's Date header tells the clock skew.

A new packet wakes the uplink at once; a pause of all packets stays a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import httpx2

from booth.config import IntakeSection
from booth.delivery import Delivery
from booth.errors import (
    BoothError,
    BoothRevokedError,
    IntakeAnswerError,
    IntakeClockError,
    IntakeRefusedError,
    IntakeUnreachableError,
    OutboxDamagedError,
    OutboxError,
    OutboxUnreadableError,
    ReceiptRejectedError,
    SoftwareRefusedError,
    UplinkError,
)
from booth.faults import UNKNOWN_CODE
from booth.intake_answers import trusting
from booth.log_witness import LogWitness
from booth.outbox import Entry, Outbox, PacketState
from booth.revocation_list import RevocationLists, RevocationWatch, Tell
from crypto.errors import CryptoError
from crypto.keys import Signer, TrustStore

log = logging.getLogger(__name__)
T = TypeVar("T")

REVOKED_LOOK_S = 5.0
# How soon `booth outbox retry`, another process, is noticed.
LOOK_S = 30.0
# So many attempts that the pause has reached its cap.
LONGEST = 30
# What the uplink's faults are told under: the way to the intake, and packets that it refused.
SOURCE, REFUSED_SOURCE = "intake", "refused packets"


@dataclass(frozen=True, slots=True)
class UplinkStatus:
    """How the last attempts went. Times are seconds since 1970."""

    last_receipt_at: float | None = None
    last_error: str | None = None
    next_try_at: float | None = None
    clock_skew_s: float | None = None  # intake's clock minus ours
    refusal: Literal["revoked", "clock", "software"] | None = (
        None  # the intake answers, and refuses everything this booth signs
    )


class Uplink:
    """Delivers what is in the outbox; made by `open_uplink`."""

    def __init__(
        self,
        outbox: Outbox,
        worker: Executor,
        settings: IntakeSection,
        signer: Callable[[], Signer],
        trust: Callable[[], TrustStore],
        client: httpx2.AsyncClient,
        clock: Callable[[], float],
        tell: Tell = lambda _source, _error: None,
        chance: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._worker = worker
        self._settings = settings
        self.delivery = Delivery(settings, worker, client, signer, trust, clock)
        self._clock = clock
        self._tell = tell
        self._chance = chance
        self._monotonic = monotonic
        self._wake = asyncio.Event()
        self._failures = 0  # in a row that concern every packet, since the intake last took one
        self._disk_failures = 0  # in a row, since the disk last noted an outcome
        self._resume_at = monotonic()  # nothing is tried before this time of the monotonic clock
        self._receipts: dict[str, bytes] = {}  # verified, not stored yet
        self._refused_serial: int | None = None  # of the certificate that the intake calls revoked
        self.on_delivery: Callable[[], None] = lambda: None
        self.on_revoked: Callable[[], None] = lambda: None
        self.on_renewed: Callable[[], None] = lambda: None
        self.status = UplinkStatus(last_receipt_at=outbox.status.last_receipt_at)

    def wake(self) -> None:
        """There is a new packet."""
        self._wake.set()

    async def run(self) -> None:
        """Delivers for ever."""
        resumed = False
        while True:
            self._wake.clear()
            try:
                if not resumed:
                    await self.resume()
                    resumed = True
                wait_s = await self._turn()
            except OutboxError as error:
                self._note(error)
                wait_s = self._pause_for_disk()
            except Exception as error:  # noqa: BLE001 - noted with its traceback
                # A defect of ours must not end the deliveries of weeks.
                self._note_defect(error)
                wait_s = self._pause_for_disk()
            if wait_s == 0:
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if wait_s is None else min(wait_s, LOOK_S)):
                    await self._wake.wait()

    async def resume(self) -> None:
        """Goes on with the pause that was running when the booth ended, and with what there was to tell. Raises OutboxError."""
        until, self._failures = await self._on_worker(self._outbox.paused)
        now, cap = self._clock(), self._settings.longest_retry_s
        if until > now + cap:  # the clock was set back while the booth was off
            await self._record(self._outbox.bring_forward, now + cap)
        left_s = min(max(until - now, 0.0), cap)
        self._resume_at = self._monotonic() + left_s
        await self._record(self._outbox.retry_lasting)
        await self._tell_refused()

    async def _turn(self) -> float | None:
        """Handles the packet whose turn it is; returns how long to wait for the next one, None for until there is one."""
        if self._refused_serial is not None and await self._has_other_certificate():
            log.info("another certificate is installed: packets are tried again")
            self.on_renewed()
            self._refused_serial, self._resume_at = None, self._monotonic()
            await self._record(self._outbox.hasten)
        if (left_s := self._resume_at - self._monotonic()) > 0:
            self.status = replace(self.status, next_try_at=self._clock() + left_s)
            return left_s if self._refused_serial is None else min(left_s, REVOKED_LOOK_S)
        for sha256 in tuple(self._receipts):
            await self._settle(sha256)
        entry = await self._on_worker(self._outbox.next_due, self._clock())
        if entry is None:
            self.status = replace(self.status, next_try_at=None)
            return None
        now, cap = self._clock(), self._settings.longest_retry_s
        if entry.next_try_at > now + cap:
            # The clock was set back. Once: from here on the packet's time comes nearer.
            await self._record(self._outbox.bring_forward, now + cap)
            return 0
        left_s = entry.next_try_at - now
        if left_s > 0:
            self.status = replace(self.status, next_try_at=now + left_s)
            return left_s
        await self.deliver(entry)
        return 0

    async def deliver(self, entry: Entry) -> None:
        """One attempt for one packet, its outcome in the outbox; raises OutboxError only."""
        try:
            packet = await self._on_worker(self._outbox.read, entry.sha256)
            receipt = await self.delivery.send(entry.sha256, packet, entry.links)
        except OutboxDamagedError as error:
            self._note(error)
        except IntakeRefusedError as error:
            self._note(error)
            await self._record(self._outbox.refuse, entry.sha256, error.reason, str(error))
            self._tell(REFUSED_SOURCE, error)
        except (OutboxUnreadableError, IntakeAnswerError, ReceiptRejectedError) as error:
            self._note(error)
            pause_s = self.pause_s(entry.attempts, getattr(error, "retry_after_s", None))
            await self._postpone(entry, pause_s, error.code, str(error))
        except (UplinkError, BoothRevokedError, CryptoError) as error:
            self._note(error)
            # No shorter pause helps against a revocation or a blocked version.
            lasting = isinstance(error, BoothRevokedError | SoftwareRefusedError)
            pause_s = self.pause_s(LONGEST if lasting else self._failures, getattr(error, "retry_after_s", None))
            self._failures += 1
            self._resume_at = self._monotonic() + pause_s
            self._note_refusal(error)
            # A request that cannot be signed is noted like an intake that does not answer: nothing is wrong with the packet.
            code = IntakeUnreachableError.code if isinstance(error, CryptoError) else error.code
            await self._postpone(entry, pause_s, code, str(error))
        except OutboxError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect that one packet brings out must not hold up the others
            text = self._note_defect(error)
            await self._postpone(entry, self.pause_s(entry.attempts), UNKNOWN_CODE, text)
        else:
            self._receipts[entry.sha256] = receipt
            await self._settle(entry.sha256)
        finally:
            if self.delivery.clock_skew_s is not None:
                self.status = replace(self.status, clock_skew_s=self.delivery.clock_skew_s)

    async def _settle(self, sha256: str) -> None:
        """Stores a verified receipt; it stays in memory until that has worked."""
        await self._record(self._outbox.settle, sha256, self._receipts[sha256])
        del self._receipts[sha256]
        log.info("packet %s delivered and receipted", sha256[:12])
        self.status = replace(
            self.status, last_receipt_at=self._clock(), last_error=None, next_try_at=None, refusal=None
        )
        self._refused_serial = None
        self._tell(SOURCE, None)
        self.on_delivery()
        if self._failures:
            self._failures, self._resume_at = 0, self._monotonic()
            await self._record(self._outbox.hasten)

    async def _postpone(self, entry: Entry, pause_s: float, code: str, text: str) -> None:
        next_try_at = self._clock() + pause_s
        self.status = replace(self.status, next_try_at=next_try_at)
        await self._record(self._outbox.postpone, entry.sha256, next_try_at, code, text)

    async def _record(self, work: Callable[..., object], *arguments: object) -> None:
        """An outcome into the outbox; the disk is in order when that works."""
        await self._on_worker(work, *arguments)
        self._disk_failures = 0

    def _pause_for_disk(self) -> float:
        """Nothing is tried for a while: what cannot be noted must not be repeated every few seconds."""
        pause_s = self.pause_s(self._disk_failures)
        self._disk_failures += 1
        self._resume_at = self._monotonic() + pause_s
        self.status = replace(self.status, next_try_at=self._clock() + pause_s)
        return pause_s

    def pause_s(self, attempts: int, asked_s: float | None = None) -> float:
        """How long to wait after the attempt that follows `attempts` earlier ones."""
        cap = self._settings.longest_retry_s
        # Beyond 2**30 the cap has long been reached; larger powers would only overflow.
        pause = min(cap, self._settings.first_retry_s * 2.0 ** min(attempts, 30)) * (0.5 + self._chance() / 2)
        return pause if asked_s is None else min(cap, max(pause, asked_s))

    async def _tell_refused(self) -> None:
        """Tells that a packet was refused for good, with the intake's reason, or that none is left."""
        refused = [one for one in await self._on_worker(self._outbox.entries) if one.state is PacketState.REFUSED]
        for one in refused[-1:]:
            self._tell(REFUSED_SOURCE, IntakeRefusedError(one.error or "", one.error_code or ""))
        if not refused:
            self._tell(REFUSED_SOURCE, None)

    async def _has_other_certificate(self) -> bool:
        """Whether the booth's certificate is another one than the intake refused."""
        try:
            signer = await self._on_worker(self.delivery.signer)
        except CryptoError:  # told by who follows the key
            return False
        return signer.certificate.serial_number != self._refused_serial

    def _note_refusal(self, error: BoothError | CryptoError) -> None:
        """Tells what concerns everything that this booth signs, until the intake takes a packet again."""
        if isinstance(error, BoothRevokedError):
            self._refused_serial = self.delivery.signed_serial
            self.status = replace(self.status, refusal="revoked")
            self._tell(SOURCE, error)
            self.on_revoked()
        elif isinstance(error, SoftwareRefusedError):
            self.status = replace(self.status, refusal="software")
            self._tell(SOURCE, error)
        elif isinstance(error, IntakeClockError):
            self.status = replace(self.status, refusal="clock")
            self._tell(SOURCE, error)

    def _note(self, error: BoothError | CryptoError) -> None:
        text = str(error)
        if text != self.status.last_error:
            log.warning("%s: %s", error.code, text)
        self.status = replace(self.status, last_error=text)

    def _note_defect(self, error: Exception) -> str:
        log.error("the uplink goes on after an unexpected error", exc_info=error)
        text = f"Unexpected {type(error).__name__}."
        self.status = replace(self.status, last_error=text)
        return text

    async def _on_worker(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)


@asynccontextmanager
async def open_uplink(
    outbox: Outbox,
    worker: Executor,
    settings: IntakeSection,
    signer: Callable[[], Signer],
    lists: RevocationLists,
    clock: Callable[[], float],
    tell: Tell,
    transport: httpx2.AsyncBaseTransport | None = None,
    witness: LogWitness | None = None,
) -> AsyncIterator[Uplink]:
    """An uplink that is delivering; ended with its upload in flight given up (the next start repeats it).

    Revocation lists are fetched beside it; `tell` hears what is wrong (source, error) and what is in order again (source, None).
    """
    async with httpx2.AsyncClient(
        verify=trusting(settings.trust), timeout=settings.timeout_s, transport=transport, trust_env=False
    ) as client:
        uplink = Uplink(outbox, worker, settings, signer, lambda: lists.trust, client, clock, tell)
        watch = RevocationWatch(lists, worker, settings, signer, client, tell)
        uplink.on_delivery, uplink.on_revoked, uplink.on_renewed = watch.delivered, watch.refused, watch.renewed
        if witness is not None:
            uplink.delivery.judge = lambda receipt: witness.judge(receipt, client, settings, worker, tell)
        await watch.judge_own()  # before anybody is invited; asking the intake may take its time
        running = [asyncio.create_task(uplink.run(), name="uplink")]
        running += [asyncio.create_task(watch.run(), name="revocation list")]
        try:
            yield uplink
        finally:
            for task in running:
                task.cancel()
            for task in running:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
