"""The list of staff codes as this booth knows it: kept on its disk, fetched from the intake, believed for its signature alone.

Order of operation: what is on the disk is read before the first visit → the intake is asked at once, then hourly, and when a code of an unknown staff
id, or without a list that counts, was typed (at most every `AGAIN_S`), by a signed request that names the number it has → what comes is bounded and
verified up to a root (crypto/staff_list.py), and taken only when it is newer → stored whole or not at all, then its number beside it → counts from then on.

Rules: an older list is refused, from the network and from the disk: the highest number that was ever taken is kept in a file of its own. When that
file is damaged nothing on the disk counts until the intake gave a list. An answer that is no list changes nothing and is told. The list is verified
anew when other revocation lists count. It counts until its end, with or without a network; after it no code counts, and the technician is told.
A clock that stands before the list's issue is taken for that time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import httpx2

from booth.config import IntakeSection
from booth.delivery import own_version
from booth.errors import StaffListStaleError, UplinkError
from booth.intake_answers import read_bounded, why_unanswered
from booth.revocation_list import Tell
from crypto.canonical import MAX_INTEGER
from crypto.errors import CryptoError, KeyUnavailableError, StaffListError
from crypto.http_signature import sign_request
from crypto.key_folder import PRIVATE, read_file, write_whole
from crypto.keys import Signer, TrustStore
from crypto.staff_list import MAX_LIST_BYTES, StaffList, verify_staff_list

log = logging.getLogger(__name__)
T = TypeVar("T")

FETCH_S = 3600.0
AGAIN_S = 60.0
LOOK_S = 60.0
NAME, NUMBER_NAME = "staff.list", "staff.number"
SOURCE = "staff codes"
_NUMBER_DIGITS = len(str(MAX_INTEGER))


class StaffListCopy:
    """What is known; blocking, on the worker thread."""

    def __init__(self, folder: Path, trust: Callable[[], TrustStore]) -> None:
        """Reads what is stored; what cannot be used counts as none and is told by `trouble`."""
        self._path, self._number_path, self._trust = folder / NAME, folder / NUMBER_NAME, trust
        self._data = b""
        self._list: StaffList | None = None
        self._judged_by: TrustStore | None = None
        self.trouble: CryptoError | None = None
        self._highest = 0
        try:
            self._highest = self._read_highest()
            if self._path.exists():
                self._load(self._read(self._path, MAX_LIST_BYTES))
        except CryptoError as error:
            self.trouble = error

    @property
    def number(self) -> int | None:
        """The number of the list in use."""
        return None if self._list is None else self._list.number

    def take(self, data: bytes) -> bool:
        """Takes over what is newer; whether it was. Raises StaffListError, or KeyUnavailableError when the disk refuses."""
        trust = self._trust()
        came = verify_staff_list(data, trust)
        if came.number < self._highest:
            raise StaffListError(f"The staff list is number {came.number}; number {self._highest} was known before.")
        if self._list is not None and came.number == self._list.number:
            if came != self._list:
                raise StaffListError(f"There are two different staff lists with the number {came.number}.")
            return False
        try:
            write_whole(self._path, data, PRIVATE)
            write_whole(self._number_path, f"{came.number}\n".encode(), PRIVATE)
        except OSError as error:
            raise KeyUnavailableError(f"The staff list cannot be stored in {self._path}: {error.strerror}.") from error
        self._keep(data, came, trust)
        self._highest, self.trouble = came.number, None
        return True

    def current(self, now: datetime) -> StaffList | None:
        """The list that counts, None when there is none. Raises StaffListStaleError, StaffListError."""
        trust = self._trust()
        if self._list is not None and trust is not self._judged_by:
            self._list = None  # until it was verified again: the key that signed it may have been taken back
            try:
                self._keep(self._data, verify_staff_list(self._data, trust), trust)
            except StaffListError as error:
                self.trouble = error
                raise
        known = self._list
        if known is not None and max(now, known.issued_at) >= known.expires_at:
            raise StaffListStaleError(
                f"The list of staff codes ended on {known.expires_at:%Y-%m-%d %H:%M} UTC; no code counts until there is a new one."
            )
        return known

    def _load(self, data: bytes) -> None:
        trust = self._trust()
        found = verify_staff_list(data, trust)
        if found.number < self._highest:
            raise StaffListError("The staff list on the disk is older than one that was known.")
        self._keep(data, found, trust)
        self._highest = found.number

    def _keep(self, data: bytes, listed: StaffList, trust: TrustStore) -> None:
        self._data, self._list, self._judged_by = data, listed, trust

    def _read_highest(self) -> int:
        if not self._number_path.exists():
            return 0
        text = self._read(self._number_path, _NUMBER_DIGITS + 1)
        digits = text.removesuffix(b"\n")
        if not digits.isdigit() or len(digits) > _NUMBER_DIGITS:
            raise StaffListError(f"{self._number_path} is damaged: the intake is asked for the staff list.")
        return int(digits)

    @staticmethod
    def _read(path: Path, limit_bytes: int) -> bytes:
        try:
            return read_file(path, limit_bytes)
        except OSError as error:
            raise KeyUnavailableError(f"{path} cannot be read: {error.strerror}.") from error


class StaffListWatch:
    """Keeps the list new and tells what is wrong with it."""

    def __init__(
        self,
        copy: StaffListCopy,
        worker: Executor,
        settings: IntakeSection,
        client: httpx2.AsyncClient,
        signer: Callable[[], Signer],
        tell: Tell,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._copy, self._worker, self._settings, self._client = copy, worker, settings, client
        self._signer, self._tell, self._now, self._monotonic = signer, tell, now, monotonic
        self._url = f"{settings.url}/v1/staff"
        self._asked_at: float | None = None
        self._refused: CryptoError | None = None  # what the intake's newest answer was refused for
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            self._wake.clear()
            try:
                await self.look()
            except Exception:
                log.exception("staff codes are looked for again after an unexpected error")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    def ask_again(self) -> None:
        """Somebody typed a code of an unknown staff id, or while no list counts: one that has it may have come since."""
        if self._asked_at is not None and self._monotonic() - self._asked_at >= AGAIN_S:
            self._asked_at = None
            self._wake.set()

    async def look(self) -> None:
        """Fetches when it is time, then tells what is wrong."""
        if self._asked_at is None or self._monotonic() - self._asked_at >= FETCH_S:
            self._asked_at = self._monotonic()
            self._refused = None
            try:
                await self._ask()
            except CryptoError as error:
                self._refused = error
            except (httpx2.HTTPError, TimeoutError, OSError, UplinkError) as error:
                # An intake that does not answer is told by the deliveries.
                log.info("no staff codes from the intake: %s", why_unanswered(error))
        trouble: BaseException | None = self._refused or self._copy.trouble
        try:
            await self._on_worker(self._copy.current, self._now())
        except (StaffListStaleError, CryptoError) as error:
            trouble = error
        self._tell(SOURCE, trouble)

    async def _ask(self) -> None:
        try:
            headers = await self._on_worker(self._signed)
        except CryptoError as error:
            self._asked_at = (
                None  # nothing was asked: the next look does; the key's trouble is told by who follows the key
            )
            log.info("staff codes are not asked for: %s", error)
        else:
            await self._fetch(headers)

    async def _fetch(self, headers: dict[str, str]) -> None:
        async with asyncio.timeout(self._settings.timeout_s):
            async with self._client.stream("GET", self._url, headers=headers) as response:
                if response.status_code != 200:  # 304: it is the one that is known
                    log.debug("no other staff list from the intake: %d", response.status_code)
                    return
                body = await read_bounded(response, MAX_LIST_BYTES)
        if await self._on_worker(self._copy.take, body):
            log.info("a newer list of staff codes was taken over")

    def _signed(self) -> dict[str, str]:
        told = {"Booth-Software": own_version()}
        signed = sign_request("GET", self._url, told, b"", self._signer())
        known = {} if self._copy.number is None else {"If-None-Match": f'"{self._copy.number}"'}
        return told | signed | known

    async def _on_worker(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)
