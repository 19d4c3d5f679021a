"""The intake: takes sealed packets from booths, keeps them, gives signed receipts. It can open none of them.

Order of operation for `PUT /v1/packets/{sha256}`:
    a free place (else 503 with Retry-After) → form of path, type and length → signature of the request (before a byte of the body is read) →
    body into a temporary file while it is digested, bounded in size and time → digest is the one in the path and in Content-Digest →
    public header readable and of the booth that signed → bytes durable → nonce, row, place in the receipt log and receipt in one commit → receipt answered.
The same packet again, also many at once, gets the same receipt (200 instead of 201). A crash anywhere leaves either nothing, or bytes that the
next upload of the packet adopts, or a row whose receipt the next upload gets.

This module, with what it imports, holds no decryption key and no image code (an import contract keeps it so).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

from crypto.errors import CryptoError, PacketFormatError
from crypto.keys import SignerSource
from crypto.receipt import MEDIA_TYPE as RECEIPT_TYPE
from crypto.seal import HEADER_AT, MAX_HEADER_BYTES, MEDIA_TYPE, read_header
from crypto.tree_head import TREE_HEAD_TYPE
from server.booth_trust import BoothTrust, ListState
from server.config import IntakeSettings
from server.enrolment import Enrolment, make_enrolment_routes, open_enrolment, open_issuer
from server.errors import (
    BoothMismatchError,
    DigestMismatchError,
    MediaTypeError,
    PacketUnreadableError,
    ServerError,
    SettingsError,
    UnknownPacketError,
)
from server.listener import listen
from server.objects import ObjectStore, open_folder_objects
from server.problems import RequestLog, answer_with_problems
from server.receipt_log import ReceiptLog, open_receipt_log
from server.receiving import BodyLimits, Discard, Places, ReceivedBody, declared_length, receive_body
from server.signed_requests import SignedRequests
from server.store import NewPacket, Store, StoredPacket, check_digest, open_store

log = logging.getLogger(__name__)

HEAD_BYTES = HEADER_AT + MAX_HEADER_BYTES
NONCE_SWEEP_S = 60.0
# How long an answer of /v1/ready is repeated: each asks the disk for a write.
READY_KEPT_S = 1.0


@dataclass(frozen=True)
class IntakeRooms:
    """What the intake works with."""

    settings: IntakeSettings
    store: Store
    objects: ObjectStore
    trust: BoothTrust
    receipts: ReceiptLog
    enrolment: Enrolment
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class Intake:
    """The intake's work, without HTTP routing."""

    def __init__(self, rooms: IntakeRooms) -> None:
        self._rooms = rooms
        settings = rooms.settings
        self._places = Places(settings.max_uploads, settings.retry_after_s)
        self.signed = SignedRequests(rooms.trust, rooms.store, settings.public_url, rooms.now)
        self._limits = BodyLimits(
            settings.max_packet_bytes, settings.body_idle_s, settings.body_total_s, head_bytes=HEAD_BYTES
        )
        self._ready_until = 0.0

    async def put(self, request: Request, sha256: str) -> tuple[StoredPacket, bool]:
        """Take one packet; returns its row and whether it is new. Raises the `ServerError` family."""
        rooms = self._rooms
        check_digest(sha256)
        with self._places.taken():
            if request.headers.get("content-type", "").strip().lower() != MEDIA_TYPE:
                raise MediaTypeError(f"Send the packet as {MEDIA_TYPE}.")
            declared_length(request, rooms.settings.max_packet_bytes)
            verified = await self.signed.verify(request)
            if verified.content_sha256 != sha256:
                raise DigestMismatchError("The signed Content-Digest is not the digest in the address.")
            known = await rooms.store.find(sha256)
            if known is not None and known.booth != verified.booth_id:
                raise BoothMismatchError("This packet belongs to another booth.")
            nonce = self.signed.nonce(verified)
            if known is not None and await rooms.objects.holds(sha256):
                _compare_digest(await receive_body(request, Discard(), self._limits), sha256)
                await rooms.store.use_nonce(nonce)
                return known, False
            async with rooms.objects.writer() as writer:
                body = await receive_body(request, writer, self._limits)
                _compare_digest(body, sha256)
                new = self._describe(body, verified.booth_id)
                await writer.keep(sha256)
            stored, created = await rooms.receipts.append(new, nonce)
        if stored.booth != verified.booth_id:
            raise BoothMismatchError("This packet belongs to another booth.")
        if created:
            log.info("A packet was stored.", extra={"packet": sha256[:16], "booth": stored.booth, "size": stored.size})
        return stored, created

    async def find(self, request: Request, sha256: str) -> StoredPacket:
        """The row of a packet, for the booth that sent it alone. Raises the `ServerError` family."""
        check_digest(sha256)
        verified = await self.signed.verify(request)
        await self.signed.use_nonce(verified)
        stored = await self._rooms.store.find(sha256)
        if stored is None or stored.booth != verified.booth_id:
            raise UnknownPacketError("No packet with this digest came from this booth.")
        return stored

    async def check_ready(self) -> ListState:
        """How good the revocation list is. Raises `StorageError` when packets cannot be taken just now."""
        if time.monotonic() >= self._ready_until:
            await self._rooms.store.check()
            await self._rooms.objects.check()
            self._ready_until = time.monotonic() + READY_KEPT_S
        await self._rooms.trust.current()
        return self._rooms.trust.state

    async def sweep(self) -> None:
        """Forget old nonces, again and again; ends when cancelled."""
        while True:
            try:
                await self._rooms.store.forget_nonces(self._rooms.now())
            except ServerError as error:
                log.warning("Old nonces could not be removed.", exc_info=error, extra={"code": error.code})
            await asyncio.sleep(NONCE_SWEEP_S)

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
            self._rooms.now(),
        )


def make_intake(rooms: IntakeRooms) -> tuple[ASGIApp, Intake]:
    """The intake's web application and the work behind it."""
    intake = Intake(rooms)
    app = FastAPI(title="Passbooth intake", version="1", docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json")
    answer_with_problems(app)

    @app.put("/v1/packets/{sha256}", response_class=Response)
    async def put_packet(sha256: str, request: Request) -> Response:
        """Store a sealed packet under its digest and give its receipt."""
        stored, created = await intake.put(request, sha256)
        status = HTTPStatus.CREATED if created else HTTPStatus.OK
        return _receipt_response(stored, status, {"Location": f"/v1/packets/{stored.sha256}"})

    @app.head("/v1/packets/{sha256}", response_class=Response)
    async def head_packet(sha256: str, request: Request) -> Response:
        """Say whether a packet of this booth is stored."""
        stored = await intake.find(request, sha256)
        return Response(headers={"Location": f"/v1/packets/{stored.sha256}", "Cache-Control": "no-store"})

    @app.get("/v1/packets/{sha256}/receipt", response_class=Response)
    async def get_receipt(sha256: str, request: Request) -> Response:
        """Give the receipt of a packet of this booth again."""
        return _receipt_response(await intake.find(request, sha256), HTTPStatus.OK, {})

    @app.get("/v1/log/head", response_class=Response)
    async def log_head() -> Response:
        """Give the newest signed tree head of the receipt log, to anybody."""
        return Response(await rooms.receipts.head(), headers={"Cache-Control": "no-store"}, media_type=TREE_HEAD_TYPE)

    @app.get("/v1/log/consistency")
    async def log_consistency(first: int, second: int) -> dict[str, list[str]]:
        """Prove, to anybody, that the log with `second` entries begins with the log of `first` entries."""
        return {"proof": [one.hex() for one in await rooms.receipts.consistency(first, second)]}

    @app.get("/v1/health")
    async def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/v1/ready")
    async def ready() -> dict[str, str]:
        """Database and packet folder can be written; how good the revocation list is (an old one stops nothing)."""
        return {"status": "ready", "revocation_list": await intake.check_ready()}

    app.include_router(make_enrolment_routes(rooms.enrolment, rooms.trust, intake.signed))

    return RequestLog(app), intake


async def run_intake(settings: IntakeSettings, on_ready: Callable[[str], None]) -> None:
    """Open everything, serve until SIGTERM or SIGINT, close everything. Raises `ServerError`."""
    try:
        source = SignerSource(settings.receipt_signer)
        source.current()
    except CryptoError as error:
        raise SettingsError(str(error)) from error
    issuer = open_issuer(settings)
    trust = BoothTrust(settings.trust, settings.resolved_crl)
    async with (
        open_store(settings.resolved_database_url) as store,
        open_folder_objects(settings.objects_dir) as objects,
        open_receipt_log(store, source.current) as receipts,
        open_enrolment(issuer) as enrolment,
    ):
        app, intake = make_intake(IntakeRooms(settings, store, objects, trust, receipts, enrolment))
        sweep = asyncio.create_task(intake.sweep(), name="intake-nonce-sweep")
        try:
            await listen(app, settings, on_ready)
        finally:
            sweep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweep


def _receipt_response(stored: StoredPacket, status: HTTPStatus, headers: dict[str, str]) -> Response:
    return Response(
        stored.receipt,
        status,
        {**headers, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        RECEIPT_TYPE,
    )


def _compare_digest(body: ReceivedBody, sha256: str) -> None:
    if body.sha256 != sha256:
        raise DigestMismatchError("The bytes that arrived do not have the digest in the address: send them again.")
