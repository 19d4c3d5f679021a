"""Who a member of staff is, by a personal code typed on the booth's screen; without any network.

Order of operation of one look at a code, on the worker thread: its form → is there a list that counts? → is a try allowed now? → it counts as wrong,
on stable storage → its hash is compared, or that of nobody when there is no such staff id → centre and end → a right one forgets the wrong tries. So every
code in the right form takes the same work, whoever it belongs to, and is answered alike when it is wrong, unknown, ended, revoked or of another centre.

Rules: the answer is the staff id, which says nothing about a person, or a notice why there is none. What has not the form of a code is wrong and costs no
try. When the count cannot be stored nothing is looked at. No code is ever logged, kept, or part of an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import httpx2

from booth.config import IntakeSection
from booth.errors import StaffListStaleError
from booth.events import Notice
from booth.kept_tries import STAFF, KeptTries
from booth.revocation_list import Tell
from booth.staff_list import StaffListCopy, StaffListWatch
from crypto.errors import CryptoError, StaffCodeError
from crypto.keys import Signer, TrustStore
from crypto.staff_code import NOBODY, matches, read_code

log = logging.getLogger(__name__)

WRONG = Notice("staff.wrong", "staff.wrong")
WAIT = Notice("staff.wait", "staff.wait")
NO_LIST = Notice("staff.no_list", "staff.no_list")
NOT_NOW = Notice("staff.not_now", "staff.not_now")


class StaffCheck(Protocol):
    """Where codes are looked at."""

    @property
    def wait_s(self) -> int:
        """How long no code is looked at; 0 when one may be tried."""
        ...

    def check(self, code: str) -> str | Notice:
        """The staff id, or why there is none; blocking."""
        ...


class StaffCodes:
    """The codes of one booth. Use `open_staff_codes`."""

    def __init__(self, copy: StaffListCopy, tries: KeptTries, centre: str, now: Callable[[], datetime]) -> None:
        self._copy, self._tries, self._centre, self._now = copy, tries, centre, now
        # A list that has this code may be there by now; called on the worker thread.
        self.on_missing: Callable[[], None] = lambda: None

    @property
    def wait_s(self) -> int:
        """How long no code is looked at; 0 when one may be tried."""
        return self._tries.wait_s

    def check(self, code: str) -> str | Notice:
        """The staff id, or why there is none; takes a tenth of a second and 64 MiB."""
        try:
            typed = read_code(code)
        except StaffCodeError:
            return WRONG
        now = self._now()
        try:
            known = self._copy.current(now)
        except (CryptoError, StaffListStaleError) as error:
            log.info("no staff code can be looked at: %s", error)
            known = None
        if known is None:
            self.on_missing()
            return NO_LIST
        if self._tries.wait_s:
            return WAIT
        entry = known.find(typed.staff)
        if entry is None:
            self.on_missing()
        try:
            self._tries.begin()
            right = matches(NOBODY if entry is None else entry.hash, typed)
            if entry is None or not right or not entry.counts(self._centre, max(now, known.issued_at)):
                log.warning("A staff code was refused.")
                return WRONG
            self._tries.right()
        except StaffCodeError as error:
            log.error("no staff code is looked at: %s", error)  # noqa: TRY400 - the sentence suffices
            return NO_LIST
        except OSError as error:
            log.error("no staff code is looked at, because tries cannot be counted: %s", error.strerror)  # noqa: TRY400 - the disk's own words suffice
            return NO_LIST
        return entry.staff


@asynccontextmanager
async def open_staff_codes(
    folder: Path,
    centre: str,
    trust: Callable[[], TrustStore],
    worker: Executor,
    settings: IntakeSection,
    client: httpx2.AsyncClient,
    signer: Callable[[], Signer],
    tell: Tell,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[StaffCodes]:
    """The codes of a booth, with what is stored in `folder`; the list is kept new meanwhile."""

    def read() -> tuple[StaffListCopy, KeptTries]:
        return StaffListCopy(folder, trust), KeptTries(folder / STAFF, lambda: now().timestamp())

    copy, tries = await asyncio.get_running_loop().run_in_executor(worker, read)
    watch = StaffListWatch(copy, worker, settings, client, signer, tell, now)
    running = asyncio.create_task(watch.run(), name="staff list")
    try:
        codes = StaffCodes(copy, tries, centre, now)
        loop = asyncio.get_running_loop()

        def hasten() -> None:
            loop.call_soon_threadsafe(watch.ask_again)

        codes.on_missing = hasten
        yield codes
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
