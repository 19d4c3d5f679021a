"""The centres whose slips count: their certificates, kept on the booth's disk, fetched from the intake, believed for their path alone.

Order of operation: what is on the disk is read before the first visit → the intake is asked at once, then hourly, and when a slip of an unknown centre is
shown (at most every `AGAIN_S`) → what comes is bounded, and every certificate in it verified up to a root and against the revocation lists → stored whole
or not at all → counts from then on. Every `LOOK_S` and after each newer revocation list all are judged anew.

Rules: the intake's answer needs no trust: it can only add what the authority certified. What it leaves out stays until its end or its
revocation, so that no answer and no silence stops a centre. An answer that is no bundle changes nothing and is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from booth.config import IntakeSection
from booth.errors import CentresUnusableError, UplinkError
from booth.intake_answers import read_bounded, why_unanswered
from booth.revocation_list import Tell
from crypto.certificate import PARSE_ERRORS, extension_of, pem_blocks, read_certificate
from crypto.errors import CertificateRefusedError
from crypto.key_folder import PUBLIC, read_file, write_whole
from crypto.keys import TrustStore
from crypto.slip import Centre, centre_of
from crypto.trust import MAX_CENTRES_BYTES, MAX_CERTIFICATES, Purpose

log = logging.getLogger(__name__)
T = TypeVar("T")

FETCH_S = 3600.0
AGAIN_S = 60.0
LOOK_S = 60.0
WAIT_S = 3.0  # how long an applicant with a slip of an unknown centre waits for the intake; what comes later counts for the next slip
NAME = "centres.pem"
_PEM = serialization.Encoding.PEM
Way = tuple[x509.Certificate, ...]  # from a centre to below the root


class CentreCertificates:
    """What is known; blocking, on the worker thread, but for `known`, which any thread may read."""

    def __init__(self, folder: Path, trust: Callable[[], TrustStore]) -> None:
        """Reads what is stored; a file that cannot be used counts as none and is told by `trouble`."""
        self._path, self._trust = folder / NAME, trust
        self._kept: dict[x509.Certificate, Way] = {}
        self.known: Mapping[bytes, Centre] = MappingProxyType({})
        self.trouble: CentresUnusableError | None = None
        now = datetime.now(UTC)
        try:
            if self._path.exists():
                stored = _pairs(_read_bundle(read_file(self._path, MAX_CENTRES_BYTES)))
                # Whatever the clock says: one that is wrong at the start may be right an hour later.
                self._kept = self._judged(stored, lambda leaf: min(max(now, _begin(leaf)), leaf.not_valid_after_utc))
        except OSError as error:
            self.trouble = CentresUnusableError(
                f"The centres' certificates in {self._path} cannot be read: {error.strerror}."
            )
        except CentresUnusableError as error:
            self.trouble = error
        self.judge(now)

    def take(self, data: bytes, now: datetime) -> bool:
        """Adds what is certified and not known yet; whether anything was. Raises CentresUnusableError."""
        came = self._judged(_pairs(_read_bundle(data)), lambda _: now)
        kept = self._judged(self._kept.items(), lambda leaf: max(now, _begin(leaf)))
        if came.keys() <= kept.keys():
            return False
        kept |= came
        text = b"".join(one.public_bytes(_PEM) for one in dict.fromkeys(one for path in kept.values() for one in path))
        if len(text) > MAX_CENTRES_BYTES:
            raise CentresUnusableError("There are more centres' certificates than a booth keeps.")
        try:
            write_whole(self._path, text, PUBLIC)
        except OSError as error:
            raise CentresUnusableError(
                f"The centres' certificates cannot be stored in {self._path}: {error.strerror}."
            ) from error
        self._kept, self.trouble = kept, None
        self.judge(now)
        return True

    def judge(self, now: datetime) -> None:
        """Which centres count now, by the present revocation lists."""
        found = {}
        for leaf in self._judged(self._kept.items(), lambda _: now):
            centre = centre_of(leaf)
            found[centre.key_id] = centre
        self.known = MappingProxyType(found)

    def _judged(
        self,
        pairs: Iterable[tuple[x509.Certificate, Sequence[x509.Certificate]]],
        at: Callable[[x509.Certificate], datetime],
    ) -> dict[x509.Certificate, Way]:
        """Of these centres, each with authorities that may be above it, those that lead to a root at a time of each, and how."""
        trust, found = self._trust(), dict[x509.Certificate, Way]()
        for leaf, others in pairs:
            try:
                path = trust.path(leaf, [one for one in others if one != leaf], Purpose.CENTRE, at(leaf))
                centre_of(leaf)
            except CertificateRefusedError as error:
                log.info("a centre's certificate does not count: %s", error)
            else:
                found[leaf] = tuple(one for one in path if one not in trust.roots)
        return found


class CentreWatch:
    """Keeps the certificates new and tells what is wrong with them."""

    def __init__(
        self,
        centres: CentreCertificates,
        worker: Executor,
        settings: IntakeSection,
        client: httpx2.AsyncClient,
        tell: Tell,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._centres, self._worker, self._settings = centres, worker, settings
        self._client, self._tell, self._monotonic = client, tell, monotonic
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()
        self._again: asyncio.Task[None] | None = None

    @property
    def known(self) -> Mapping[bytes, Centre]:
        """The centres that count, by the id of their key."""
        return self._centres.known

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("centres are looked for again after an unexpected error")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Fetches when it is time, then judges what is kept."""
        await self._ask(FETCH_S)
        await self._on_worker(self._centres.judge, datetime.now(UTC))

    async def look_again(self) -> None:
        """Somebody shows a slip of a centre that is not known: it may have come since. He waits for it, but not for ever."""
        if self._again is None or self._again.done():
            self._again = asyncio.create_task(self._ask(AGAIN_S), name="centres again")
        done, _ = await asyncio.wait({self._again}, timeout=WAIT_S)
        for asked in done:
            asked.result()

    async def close(self) -> None:
        """Gives up what nobody waits for any more."""
        if self._again is not None:
            self._again.cancel()
            await asyncio.wait({self._again})

    async def _ask(self, after_s: float) -> None:
        async with self._asking:
            if self._asked_at is not None and self._monotonic() - self._asked_at < after_s:
                return
            self._asked_at = self._monotonic()
            trouble: BaseException | None = None
            try:
                await self._fetch()
            except CentresUnusableError as error:
                trouble = error
            except (httpx2.HTTPError, TimeoutError, OSError, UplinkError) as error:
                # An intake that does not answer is told by the deliveries.
                log.info("no centres from the intake: %s", why_unanswered(error))
            self._tell("centres", trouble or self._centres.trouble)

    async def _fetch(self) -> None:
        async with asyncio.timeout(self._settings.timeout_s):
            async with self._client.stream("GET", f"{self._settings.url}/v1/centres") as response:
                if response.status_code != 200:
                    log.info("the intake tells no centres: %d", response.status_code)
                    return
                body = await read_bounded(response, MAX_CENTRES_BYTES)
        if await self._on_worker(self._centres.take, body, datetime.now(UTC)):
            log.info("%d centres are known", len(self._centres.known))

    async def _on_worker(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)


@asynccontextmanager
async def open_centres(
    folder: Path,
    trust: Callable[[], TrustStore],
    worker: Executor,
    settings: IntakeSection,
    client: httpx2.AsyncClient,
    tell: Tell,
) -> AsyncIterator[CentreWatch]:
    """A watch at work, with what is stored in `folder`."""
    centres = await asyncio.get_running_loop().run_in_executor(worker, CentreCertificates, folder, trust)
    watch = CentreWatch(centres, worker, settings, client, tell)
    running = asyncio.create_task(watch.run(), name="centres")
    try:
        yield watch
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await watch.close()


def _begin(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_before_utc


def _is_centre(certificate: x509.Certificate) -> bool:
    try:
        usages = extension_of(certificate, x509.ExtendedKeyUsage)
    except PARSE_ERRORS:
        return True  # then it is refused as one
    return usages is not None and Purpose.CENTRE.oid in usages


def _pairs(bundle: Iterable[x509.Certificate]) -> list[tuple[x509.Certificate, Way]]:
    """The centres of a bundle with its other certificates, which may be authorities above them. Raises CentresUnusableError."""
    sorts: dict[bool, list[x509.Certificate]] = {True: [], False: []}
    for one in dict.fromkeys(bundle):
        sorts[_is_centre(one)].append(one)
    if len(sorts[False]) >= MAX_CERTIFICATES:
        raise CentresUnusableError(f"A bundle of centres holds {len(sorts[False])} other certificates.")
    return [(leaf, tuple(sorts[False])) for leaf in sorts[True]]


def _read_bundle(data: bytes) -> list[x509.Certificate]:
    """The certificates of a bundle, nothing believed yet. Raises CentresUnusableError."""
    if len(data) > MAX_CENTRES_BYTES:
        raise CentresUnusableError("A bundle of centres is longer than any bundle is.")
    try:
        blocks = list(pem_blocks(data))
        if any(label != b"CERTIFICATE" for label, _ in blocks):
            raise CentresUnusableError("A bundle of centres holds something else too.")
        return [read_certificate(der) for _, der in blocks]
    except (*PARSE_ERRORS, CertificateRefusedError) as error:
        raise CentresUnusableError("A bundle of centres cannot be read.") from error
