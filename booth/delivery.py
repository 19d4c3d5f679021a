"""One packet to the intake, over as many connections as it takes; when to try again is booth/uplink.py's.

Order of operation
  up to SINGLE_BYTES: PUT; the answer is the receipt.
  above that: HEAD, how far did it come? → 404, nothing: PUT of everything, which the intake may keep in part · 204: PATCH with the rest from its
      Upload-Offset · 200, it is there: GET of the receipt.
      When the connection ends, or the answer is one that may pass: HEAD again. The packet came forward by MIN_PROGRESS_BYTES: it goes on at once.
      409, or 404 to a PATCH, means that the offset is another by now: asked again, MAX_CONFLICTS times. Anything else is the failure of this attempt.
  last: the receipt is verified against the trust root and this very packet, then judged against earlier receipts (booth/log_witness.py).

The booth keeps nothing of an upload: the intake knows how far it came, under the packet's own address (docs/intake-api.md, "Resumable upload"). So
there is nothing to lose by a crash. A body goes out in small pieces, each with the whole time limit: a slow line is not a dead one.
Every request is signed anew over its own content, and tells the booth's software version. What brings content tells the packet's links too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import httpx2

from booth.config import IntakeSection
from booth.errors import BoothError, IntakeAnswerError, IntakeUnreachableError, ReceiptRejectedError, UplinkError
from booth.intake_answers import delivery_error, read_bounded, read_problem, read_skew_s, why_unanswered
from booth.outbox_database import NO_LINKS, Links
from crypto.errors import ReceiptError
from crypto.http_signature import sign_request
from crypto.keys import Signer, TrustStore
from crypto.receipt import VerifiedReceipt, verify_receipt
from crypto.seal import MEDIA_TYPE

log = logging.getLogger(__name__)
T = TypeVar("T")

SINGLE_BYTES = 1_000_000
APPLICATION_HEADER, STATUS_HEADER = "Passbooth-Application", "Passbooth-Status"
PARTIAL_TYPE = "application/partial-upload"
PIECE_BYTES = 64 * 1024
MIN_PROGRESS_BYTES = 64 * 1024
MAX_CONFLICTS = 3
MAX_ANSWER_BYTES = 65_536
# An HTTP date has whole seconds and may be some seconds old on a busy server.
SKEW_WORTH_TELLING_S = 30.0
# Truncated, slow, conflict: what the intake answers when a request did not arrive as it was sent.
INTERRUPTED_STATUS = frozenset({400, 408, 409})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Delivery:
    """Brings packets to one intake. `signer` and `trust` are asked for each request."""

    def __init__(
        self,
        settings: IntakeSection,
        worker: Executor,
        client: httpx2.AsyncClient,
        signer: Callable[[], Signer],
        trust: Callable[[], TrustStore],
        clock: Callable[[], float],
    ) -> None:
        self._settings, self._worker, self._clock = settings, worker, clock
        self.client, self.signer, self.trust = client, signer, trust
        self.judge: Callable[[VerifiedReceipt], Awaitable[None]] = _believe  # whether a receipt fits earlier ones
        self.clock_skew_s: float | None = None  # intake's clock minus ours, by its newest answer
        self.signed_serial: int | None = None  # of the certificate that the newest request was signed with
        self._software = own_version()

    async def send(self, sha256: str, packet: bytes, links: Links = NO_LINKS) -> bytes:
        """The verified receipt; `links` go with every request that brings content. Raises UplinkError, BoothRevokedError, SoftwareRefusedError or CryptoError."""
        if len(packet) <= SINGLE_BYTES:
            told = {"Content-Type": MEDIA_TYPE, **_link_headers(links)}
            return await self._receipt(sha256, await self._request("PUT", sha256, packet, told))
        offset, conflicts = await self._ask(sha256, len(packet)), 0
        while offset is not None:
            failure: BoothError
            try:
                answer = await self._send_from(sha256, packet, offset, links)
            except IntakeUnreachableError as error:
                failure, moved = error, False
            else:
                if answer.status in {200, 201}:
                    return await self._receipt(sha256, answer)
                moved = answer.status == 409 or (answer.status == 404 and offset > 0)
                failure = self._moved(answer) if moved else self._error(answer)
                if not moved and answer.status not in INTERRUPTED_STATUS and answer.status < 500:
                    raise failure
            reached = await self._ask(sha256, len(packet))
            conflicts += moved
            goes_on = (
                reached is None or reached - offset >= MIN_PROGRESS_BYTES or (moved and conflicts <= MAX_CONFLICTS)
            )
            if not goes_on:
                raise failure
            log.info("packet %s goes on at byte %s of %d", sha256[:12], reached, len(packet))
            offset = reached
        return await self._receipt(sha256, await self._request("GET", f"{sha256}/receipt"))

    async def _ask(self, sha256: str, size: int) -> int | None:
        """How many bytes of the packet the intake has; None when it has taken it as a whole."""
        answer = await self._request("HEAD", sha256)
        if answer.status == 404:
            return 0
        if answer.status not in {200, 204}:
            # The answer to a HEAD has no body: the reason is asked for with a request that is refused alike.
            told = await self._request("GET", f"{sha256}/receipt")
            raise self._error(answer if told.status in {200, 404} else told)
        if answer.headers.get("upload-complete") == "?1":
            return None
        offset = _number(answer.headers.get("upload-offset", ""))
        if offset is None or offset > size or _number(answer.headers.get("upload-length", "")) not in {None, size}:
            return 0  # begun as something else than this packet: PUT begins anew
        return offset

    async def _send_from(self, sha256: str, packet: bytes, offset: int, links: Links) -> Answer:
        """Everything that is missing, in one request."""
        told = {"Upload-Complete": "?1", "Upload-Length": str(len(packet)), **_link_headers(links)}
        if offset == 0:
            return await self._request("PUT", sha256, packet, {"Content-Type": MEDIA_TYPE, **told})
        told["Upload-Offset"] = str(offset)
        return await self._request("PATCH", sha256, packet[offset:], {"Content-Type": PARTIAL_TYPE, **told})

    async def _receipt(self, sha256: str, answer: Answer) -> bytes:
        """The receipt in an answer, verified."""
        if answer.status not in {200, 201}:
            raise self._error(answer)
        try:
            await self.judge(verify_receipt(answer.body, self.trust(), sha256))
        except ReceiptError as error:
            raise ReceiptRejectedError(f"The intake's receipt for {sha256[:12]} proves nothing: {error}") from error
        return answer.body

    async def _request(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One signed request. Raises IntakeUnreachableError without an answer, IntakeAnswerError for a boundless one, CryptoError."""
        url = f"{self._settings.url}/v1/packets/{path}"
        sent = {**(headers or {}), "Booth-Software": self._software}
        loop = asyncio.get_running_loop()
        sent |= await loop.run_in_executor(self._worker, self._sign, method, url, sent, content)
        body = _pieces(content) if content else None
        try:
            async with asyncio.timeout(self._settings.timeout_s * 10):
                async with self.client.stream(method, url, content=body, headers=sent) as response:
                    answer = await read_bounded(response, MAX_ANSWER_BYTES)
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            raise IntakeUnreachableError(
                f"The intake {self._settings.url} did not answer: {why_unanswered(error)}. Packets wait."
            ) from error
        self._read_skew(response.headers)
        return Answer(response.status_code, response.headers, answer)

    def _sign(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> dict[str, str]:
        signer = self.signer()
        self.signed_serial = signer.certificate.serial_number
        return sign_request(method, url, headers, content, signer)

    def _error(self, answer: Answer) -> BoothError:
        return delivery_error(read_problem(answer.status, answer.headers, answer.body), self.clock_skew_s)

    def _moved(self, answer: Answer) -> UplinkError:
        said = read_problem(answer.status, answer.headers, answer.body).said
        return IntakeAnswerError(f"{said}; the packet waits.")

    def _read_skew(self, headers: Mapping[str, str]) -> None:
        self.clock_skew_s = read_skew_s(headers, self._clock())
        if self.clock_skew_s is not None and abs(self.clock_skew_s) > SKEW_WORTH_TELLING_S:
            log.warning(
                "the intake's clock differs from ours by %.0f s; set the booth's clock (NTP)", self.clock_skew_s
            )


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    with memoryview(content) as view:
        for start in range(0, len(view), PIECE_BYTES):
            yield bytes(view[start : start + PIECE_BYTES])


def _link_headers(links: Links) -> dict[str, str]:
    told = {APPLICATION_HEADER: links.application, STATUS_HEADER: links.status}
    return {name: value for name, value in told.items() if value is not None}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None


def own_version() -> str:
    """The booth's software version, as the intake is told it."""
    try:
        return version("passbooth")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "source"


async def _believe(receipt: VerifiedReceipt) -> None:
    """Nothing is known that a receipt could contradict."""
