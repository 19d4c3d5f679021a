"""What a booth sends: packets as a whole or piece by piece, each request judged by its head before a byte of its body is read.

Order of operation of a whole packet, PUT without `Upload-Complete`:
    a free place (else 503 with Retry-After) → form of path, type and length → signature of the request → the booth's software is not blocked → a
    free place of this booth (else 429) → its day's quota (else 429) → body into a temporary file while it is digested, bounded in size and time → digest is the one in the path and
    in Content-Digest → public header readable and of the booth that signed → bytes durable → nonce, row, place in the receipt log and receipt in
    one commit → receipt answered.
`Passbooth-Application` and `Passbooth-Status` say to which application and status token the packet belongs, as digests; they are optional.
The same packet again, also many at once, gets the same receipt (200 instead of 201), also when it was deleted since (server/late_packets.py). A crash anywhere leaves either nothing, or bytes that the
next upload of the packet adopts, or a row whose receipt the next upload gets.

With `Upload-Complete` an upload can be resumed (draft-ietf-httpbis-resumable-upload; docs/intake-api.md): its nonce is used up before the body is read,
the body goes into the booth's partial (server/partials.py) and stays there if the connection ends; HEAD tells how far it came, PATCH goes on from
there. When all is there: digest of the whole → header → bytes durable under their name → commit → partial removed → receipt.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from fastapi import Request

from crypto.errors import PacketFormatError
from crypto.http_signature import VerifiedRequest
from crypto.seal import HEADER_AT, MAX_HEADER_BYTES, MEDIA_TYPE, read_header
from server.application_rows import Links
from server.config import IntakeSettings
from server.errors import (
    BoothMismatchError,
    DigestMismatchError,
    MalformedRequestError,
    MediaTypeError,
    PacketUnreadableError,
    RequestError,
    UnknownPacketError,
)
from server.late_packets import DELETED, find_taken
from server.metrics import Metrics
from server.objects import Objects
from server.partials import Append, Partial, PartialLimits, UploadFields, read_fields, told_length
from server.quotas import Quota, Reception
from server.receipt_log import ReceiptLog
from server.receiving import (
    BodyLimits,
    BoothPlaces,
    Discard,
    Places,
    ReceivedBody,
    declared_length,
    receive_body,
    too_large,
)
from server.retention_errors import PacketDeletedError
from server.signed_requests import SignedRequests
from server.software import SoftwareGate
from server.store import DIGEST, NewPacket, Nonce, Store, StoredPacket, check_digest

log = logging.getLogger(__name__)

APPLICATION_HEADER, STATUS_HEADER = "passbooth-application", "passbooth-status"
PARTIAL_TYPE = "application/partial-upload"
HEAD_BYTES = HEADER_AT + MAX_HEADER_BYTES


@dataclass(frozen=True, slots=True)
class Taken:
    """A packet that is here, and whether this request brought it."""

    stored: StoredPacket
    created: bool


class Uploads:
    """Takes packets, and tells what came."""

    def __init__(
        self,
        settings: IntakeSettings,
        store: Store,
        objects: Objects,
        receipts: ReceiptLog,
        signed: SignedRequests,
        now: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._metrics = metrics
        self._store, self._objects, self._receipts, self._signed, self._now = store, objects, receipts, signed, now
        self._places = Places(settings.max_uploads, settings.retry_after_s)
        self._booth_places = BoothPlaces(settings.max_uploads_per_booth, settings.retry_after_s)
        self._reception = Reception(store, now)
        self._quota = Quota(settings.quota_packets_per_day, settings.quota_bytes_per_day)
        self._software = SoftwareGate(settings.blocked_software)
        self._limits = BodyLimits(
            settings.max_packet_bytes, settings.body_idle_s, settings.body_total_s, head_bytes=HEAD_BYTES
        )
        self.partials = objects.partials(
            PartialLimits(
                settings.partials_per_booth,
                settings.partial_bytes_per_booth,
                settings.partial_bytes,
                settings.partial_kept_s,
            ),
            settings.retry_after_s,
        )

    async def put(self, request: Request, sha256: str) -> Taken | Partial:
        """Take one packet, or the beginning of one. Raises the `ServerError` family."""
        fields = read_fields(request.headers)
        check_digest(sha256)
        links = read_links(request.headers)
        async with self._admitted(request, MEDIA_TYPE) as verified:
            if fields.complete is not False and verified.content_sha256 != sha256:
                raise DigestMismatchError("The signed Content-Digest is not the digest in the address.")
            if fields.complete is not None:
                return await self._append(request, sha256, verified, replace(fields, offset=None))
            known = await self._find_whole(sha256, verified.booth_id, verified.content_length)
            nonce = self._signed.nonce(verified)
            if known is not None:
                _compare_digest(await receive_body(request, Discard(), self._limits), sha256)
                await self._store.use_nonce(nonce)
                return self._taken(known, False, verified.booth_id)
            async with self._objects.packets.writer() as writer:
                body = await receive_body(request, writer, self._limits)
                _compare_digest(body, sha256)
                new = self._describe(body, verified.booth_id)
                await writer.keep(sha256)
            return self._taken(*await self._write(new, nonce, links), verified.booth_id)

    async def patch(self, request: Request, sha256: str) -> Taken | Partial:
        """Take more of a packet, or its end. Raises the `ServerError` family."""
        check_digest(sha256)
        async with self._admitted(request, PARTIAL_TYPE) as verified:
            fields = read_fields(request.headers)
            read_links(request.headers)  # before the body is
            if fields.complete is None or fields.offset is None:
                raise MalformedRequestError("A PATCH has an Upload-Offset and Upload-Complete, ?0 or ?1.")
            return await self._append(request, sha256, verified, fields)

    async def find(self, request: Request, sha256: str) -> StoredPacket:
        """The row of a packet, for the booth that sent it alone. Raises the `ServerError` family."""
        stored = await self.find_progress(request, sha256)
        if isinstance(stored, Partial):
            raise UnknownPacketError("This packet did not come as a whole yet.")
        return stored

    async def find_progress(self, request: Request, sha256: str) -> StoredPacket | Partial:
        """The row of a packet, or how far it came, for the booth that sends it alone. Raises the `ServerError` family."""
        check_digest(sha256)
        verified = await self._verify(request)
        await self._signed.use_nonce(verified)
        stored = await find_taken(self._store, sha256)
        if stored is not None and stored.booth == verified.booth_id:
            return stored
        partial = await self.partials.find(verified.booth_id, sha256)
        if partial is None:
            raise UnknownPacketError("No packet with this digest came from this booth.")
        return partial

    @contextlib.asynccontextmanager
    async def _admitted(self, request: Request, kind: str) -> AsyncIterator[VerifiedRequest]:
        """Whether this upload may come now, judged by its head."""
        with self._places.taken(), self._metrics.uploads.track_inprogress():
            if request.headers.get("content-type", "").strip().lower() != kind:
                raise MediaTypeError(f"Send this as {kind}.")
            declared_length(request, self._limits.max_bytes)
            verified = await self._verify(request)
            with self._booth_places.taken(verified.booth_id):
                yield verified

    async def _verify(self, request: Request) -> VerifiedRequest:
        verified = await self._signed.verify(request)
        self._software.check(request.headers)
        return verified

    async def _find_whole(self, sha256: str, booth: str, size: int) -> StoredPacket | None:
        """The row of a packet whose bytes are here. Raises `BoothMismatchError`, and `QuotaError` for one that is new and too much."""
        standing = await self._reception.ask(sha256, booth)
        known = standing.known
        if known is not None and known.booth != booth:
            raise BoothMismatchError("This packet belongs to another booth.")
        if known is None:
            self._quota.check(standing, size, self._now())
        if known is None or known.state == DELETED:
            return known
        return known if await self._objects.packets.holds(sha256) else None

    async def _write(self, new: NewPacket, nonce: Nonce | None, links: Links) -> tuple[StoredPacket, bool]:
        """A packet whose bytes are durable into the log; one that was deleted while they came is deleted again."""
        try:
            return await self._receipts.append(new, nonce, links)
        except PacketDeletedError:
            await self._objects.packets.delete(new.sha256)
            deleted = await find_taken(self._store, new.sha256)
            if deleted is None:
                raise
            return deleted, False

    async def _append(
        self, request: Request, sha256: str, verified: VerifiedRequest, fields: UploadFields
    ) -> Taken | Partial:
        """The body into the booth's partial, and the packet out of it when that is the end."""
        length = told_length(fields, verified.content_length)
        if length is not None and length > self._limits.max_bytes:
            raise too_large(self._limits.max_bytes)
        await self._signed.use_nonce(verified)
        known = await self._find_whole(sha256, verified.booth_id, length or verified.content_length)
        if known is not None:
            await receive_body(request, Discard(), self._limits)
            return self._taken(known, False, verified.booth_id)
        async with self.partials.append(verified.booth_id, sha256, fields.offset, length) as partial:
            with partial.telling():
                return await self._append_to(partial, request, sha256, verified, complete=bool(fields.complete))

    async def _append_to(
        self, partial: Append, request: Request, sha256: str, verified: VerifiedRequest, *, complete: bool
    ) -> Taken | Partial:
        body = await receive_body(request, partial, self._limits)
        if body.sha256 != verified.content_sha256:
            await partial.forget_content()
            raise DigestMismatchError("The bytes that arrived are not those that were signed: send them again.")
        if complete:
            return await self._complete(partial, sha256, verified.booth_id, read_links(request.headers))
        await partial.sync()
        return partial.reached

    async def _complete(self, partial: Append, sha256: str, booth: str, links: Links) -> Taken:
        """All is there. What is no packet of this booth leaves nothing; a commit that fails leaves all."""
        digest, head = await partial.read(HEAD_BYTES)
        body = ReceivedBody(digest, partial.reached.offset, head)
        try:
            _compare_digest(body, sha256)
            new = self._describe(body, booth)
        except RequestError as error:
            error.upload = partial.fields(complete=True)  # all of it came and was judged: nothing is left to go on with
            await partial.remove()
            raise
        await partial.keep(sha256)
        stored, created = await self._write(new, None, links)
        await partial.remove()
        return self._taken(stored, created, booth)

    def _taken(self, stored: StoredPacket, created: bool, booth: str) -> Taken:
        """A packet that has its receipt. Raises `BoothMismatchError`."""
        if stored.booth != booth:
            raise BoothMismatchError("This packet belongs to another booth.")
        self._metrics.packets.labels("stored" if created else "known").inc()
        if created:
            self._metrics.packet_bytes.inc(stored.size)
            log.info("A packet was stored.", extra={"packet": stored.sha256[:16], "booth": booth, "size": stored.size})
        return Taken(stored, created)

    def _describe(self, body: ReceivedBody, booth: str) -> NewPacket:
        """The row of a packet, from its public header."""
        try:
            header = read_header(body.head)
        except PacketFormatError as error:
            raise PacketUnreadableError(
                "The bytes are not a sealed packet of a version that this intake knows."
            ) from error
        if header.booth != booth:
            raise BoothMismatchError("The packet names another booth than the one that signed the request.")
        return NewPacket(
            body.sha256,
            header.packet_id,
            header.booth,
            " ".join(header.recipient_key_ids),
            body.size,
            header.created_at,
            self._now(),
        )


def read_links(headers: Mapping[str, str]) -> Links:
    """What the packet belongs to, as digests. Raises `MalformedRequestError`."""
    told = [headers.get(name) for name in (APPLICATION_HEADER, STATUS_HEADER)]
    for text in told:
        if text is not None and not DIGEST.fullmatch(text):
            raise MalformedRequestError("Passbooth-Application and Passbooth-Status are 64 lower-case hex digits.")
    return Links(*told)


def _compare_digest(body: ReceivedBody, sha256: str) -> None:
    if body.sha256 != sha256:
        raise DigestMismatchError("The bytes that arrived do not have the digest in the address: send them again.")
