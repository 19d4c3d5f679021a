"""The revocation lists that the booth knows: kept on its disk, fetched from the intake, used for receipts and for its own certificate.

Order of operation: what is on the disk is read before the first visit → the intake is asked at once, then hourly, after a delivery when the
last answer is older than `AFTER_DELIVERY_S`, and at once when it calls this booth revoked (so that the list, which is kept and proves it,
stands for the answer, which does not) → what comes is bounded, verified up to a root, and taken only where it is newer (CRL number) → stored
whole or not at all → counts from then on.

Rules: an answer that is no list, or none at all, changes nothing: the last good lists stay. A list past its end still counts and is told. A
revoked certificate of this booth is told before anybody is invited, without asking the intake; a new certificate ends that at the next look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from booth.config import IntakeSection
from booth.errors import BoothRevokedError, RevocationListStaleError, UplinkError
from booth.intake_answers import read_bounded, why_unanswered
from crypto.errors import CertificateRefusedError, CertificateRevokedError, CryptoError, KeyUnavailableError
from crypto.key_folder import PUBLIC, write_whole
from crypto.keys import Signer, TrustStore
from crypto.trust import MAX_LIST_FILE_BYTES, Purpose, load_lists, read_lists

log = logging.getLogger(__name__)

FETCH_S = 3600.0
AFTER_DELIVERY_S = 300.0
LOOK_S = 60.0  # how often the booth's own certificate is compared
NAME = "revocation.pem"

T = TypeVar("T")
Tell = Callable[[str, BaseException | None], None]


class RevocationLists:
    """What is known; blocking, on the worker thread."""

    def __init__(self, folder: Path, roots: TrustStore) -> None:
        """Reads what is stored; a file that cannot be used counts as none and is told by `trouble`."""
        self._path = folder / NAME
        self.trust = roots
        self.trouble: CryptoError | None = None
        if self._path.exists():
            try:
                self.trust = roots.with_lists(load_lists(self._path, roots))
            except CryptoError as error:
                self.trouble = error

    def take(self, data: bytes) -> bool:
        """Takes over what is newer; whether anything was. Raises RevocationListError, or KeyUnavailableError when the disk refuses."""
        newer = self.trust.with_lists(read_lists(data, self.trust))
        if newer == self.trust:
            return False
        pem = serialization.Encoding.PEM
        text = b"".join(
            one.issuer.public_bytes(pem) + x509.load_der_x509_crl(one.der).public_bytes(pem) for one in newer.crls
        )
        try:
            write_whole(self._path, text, PUBLIC)
        except OSError as error:
            raise KeyUnavailableError(
                f"The revocation list cannot be stored in {self._path}: {error.strerror}."
            ) from error
        self.trust, self.trouble = newer, None
        return True

    def check_own(self, signer: Signer, now: datetime) -> None:
        """Raises BoothRevokedError when the certificate was taken back."""
        try:
            self.trust.path(signer.certificate, signer.chain, Purpose.BOOTH, now)
        except CertificateRevokedError as error:
            raise BoothRevokedError(f"This booth's certificate was revoked: {error} Enrol the booth again.") from error
        except CertificateRefusedError as error:
            # Expired is told elsewhere; and the roots that receipts lead to need not be those of this certificate.
            log.debug("the booth's own certificate is not judged by this list: %s", error)


class RevocationWatch:
    """Keeps the lists new and tells what they mean."""

    def __init__(
        self,
        lists: RevocationLists,
        worker: Executor,
        settings: IntakeSection,
        signer: Callable[[], Signer],
        client: httpx2.AsyncClient,
        tell: Tell,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lists, self._worker, self._settings, self._signer = lists, worker, settings, signer
        self._client, self._tell, self._monotonic = client, tell, monotonic
        self._asked_at: float | None = None
        self._wake = asyncio.Event()

    def delivered(self) -> None:
        """The intake answers just now."""
        if self._asked_at is not None and self._monotonic() - self._asked_at >= AFTER_DELIVERY_S:
            self._asked_at = None
            self._wake.set()

    def refused(self) -> None:
        """The intake just called this booth revoked; how often it is given the occasion is the uplink's to say."""
        self._asked_at = None
        self._wake.set()

    def renewed(self) -> None:
        """Another certificate was installed: it is judged now."""
        self._wake.set()

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            self._wake.clear()
            try:
                await self.look()
            except Exception:
                log.exception("revocations are looked for again after an unexpected error")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    async def look(self) -> None:
        """Fetches when it is time, then judges; what is wrong is told."""
        trouble: BaseException | None = self._lists.trouble
        if self._asked_at is None or self._monotonic() - self._asked_at >= FETCH_S:
            self._asked_at = self._monotonic()
            try:
                await self._fetch()
                trouble = self._lists.trouble
            except CryptoError as error:
                trouble = error
            except (httpx2.HTTPError, TimeoutError, OSError, UplinkError) as error:
                # An intake that does not answer is told by the deliveries.
                log.info("no revocation list from the intake: %s", why_unanswered(error))
        since = self._lists.trust.stale_since(datetime.now(UTC))
        if trouble is None and since is not None:
            trouble = RevocationListStaleError(
                f"The newest revocation list should have been replaced on {since:%Y-%m-%d %H:%M} UTC; it still counts."
            )
        self._tell("revocation list", trouble)
        await self.judge_own()

    async def _fetch(self) -> None:
        async with asyncio.timeout(self._settings.timeout_s):
            async with self._client.stream("GET", f"{self._settings.url}/v1/crl") as response:
                if response.status_code != 200:
                    log.debug("the intake gives no revocation list: %d", response.status_code)
                    return
                body = await read_bounded(response, MAX_LIST_FILE_BYTES)
        if await self._on_worker(self._lists.take, body):
            log.info("a newer revocation list was taken over")

    async def judge_own(self) -> None:
        """Tells whether the booth's own certificate was taken back, by what is known."""

        def judge() -> None:
            self._lists.check_own(self._signer(), datetime.now(UTC))

        try:
            await self._on_worker(judge)
        except BoothRevokedError as error:
            self._tell("revocation", error)
        except CryptoError as error:
            log.debug("the booth's own certificate cannot be read now: %s", error)  # told by who follows the key
        else:
            self._tell("revocation", None)

    async def _on_worker(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)
