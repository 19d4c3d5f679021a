"""Whose signatures count now: trust roots and revocation list, read again when their files change.

Rules: the files are looked at once a second at most, by `stat` alone; what changed is read and verified in a thread, by one reader at a time,
while requests go on with what was known. What cannot be read, or is older than what is in use, changes nothing: the last good roots and list stay, that is logged as an error
once for each state of the files and told by `/v1/ready`, so that a torn or forged list never makes a revoked booth good again; nor does a file
that leaves a list out while its roots are trusted. A list past its end still counts and is told as stale (docs/decisions/0009). Only at the start is an
unreadable file an error: nothing good is known yet.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from crypto.errors import CryptoError, RevocationListError
from crypto.keys import TrustStore, load_trust
from crypto.revocation import RevocationList
from server.errors import SettingsError

log = logging.getLogger(__name__)

LOOK_S = 1.0
# A stale list is told again this often, so that nobody overlooks it.
TELL_STALE_S = 3600.0


class ListState(StrEnum):
    """How good the revocation list is."""

    NONE = "none"
    CURRENT = "current"
    STALE = "stale"
    UNREADABLE = "unreadable"  # the file changed and cannot be used; an older list is in use


class BoothTrust:
    """Roots and revocation list of one process."""

    def __init__(
        self,
        roots: Path,
        crl: Path | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Reads the files, blocking. Raises `SettingsError`."""
        self._roots, self._crl = roots, crl
        self._monotonic, self._now = monotonic, now
        self._reading = asyncio.Lock()
        self._broken = False
        self._passing = False  # it was the disk: the same file may be read a second later
        self._stale_told_at: float | None = None
        self._seen = self._marks()  # before reading, so that a later change is noticed
        try:
            self._trust = load_trust(roots, crl)
        except CryptoError as error:
            raise SettingsError(str(error)) from error
        if not self._trust.crls:
            message = "No revocation list is configured: a certificate that its authority took back is not noticed."
            log.warning(message, extra={"roots_of": roots.parent.name})
        self._looked_at = monotonic()
        self._tell_stale()

    async def current(self) -> TrustStore:
        """What counts now."""
        if self._monotonic() - self._looked_at >= LOOK_S and not self._reading.locked():
            async with self._reading:
                self._looked_at = self._monotonic()
                await self._look()
        return self._trust

    @property
    def state(self) -> ListState:
        """How good the list in use is."""
        if self._broken:
            return ListState.UNREADABLE
        if not self._trust.crls:
            return ListState.NONE
        return ListState.CURRENT if self._trust.stale_since(self._now()) is None else ListState.STALE

    async def lists(self) -> tuple[RevocationList, ...]:
        """The revocation lists in use, as their authorities signed them."""
        return (await self.current()).crls

    async def _look(self) -> None:
        seen = self._marks()
        if seen != self._seen or self._passing:
            try:
                trust = await asyncio.to_thread(self._read_newer)
            except Exception as error:
                self._broken, self._passing = True, isinstance(error.__cause__, OSError)
                if seen != self._seen:  # told once
                    log.exception("Trust roots or revocation list changed and cannot be used; the last good ones stay.")
            else:
                self._trust, self._broken, self._passing, self._stale_told_at = trust, False, False, None
                log.info("Trust roots and revocation list were read again.")
            self._seen = seen  # last: a request that is given up meanwhile leaves the change to the next one
        self._tell_stale()

    def _read_newer(self) -> TrustStore:
        """What the files say; blocking. Raises a CryptoError, also for a list that is older than the one in use.

        The list of an authority that the file leaves out stays: a file of several that is being written looks like that.
        """
        trust = load_trust(self._roots, self._crl)
        known = {one.authority: one for one in self._trust.crls}
        for one in trust.crls:
            before = known.get(one.authority, one)
            if one.number < before.number or (one.number == before.number and one != before):
                raise RevocationListError("The revocation list is older than the one in use, or another of its number.")
        return trust.with_lists(self._trust.crls) if set(self._trust.roots) <= set(trust.roots) else trust

    def _tell_stale(self) -> None:
        now = self._monotonic()
        due = self._stale_told_at is None or now - self._stale_told_at >= TELL_STALE_S
        if due and self._trust.stale_since(self._now()) is not None:
            self._stale_told_at = now
            log.warning("The revocation list is past its end: let the authority issue a new one.")

    def _marks(self) -> tuple[object, ...]:
        """What changes when a file is replaced or rewritten; None for one that is not there."""
        return tuple(_mark(path) for path in (self._roots, self._crl) if path is not None)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
