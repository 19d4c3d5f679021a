"""The intake: takes sealed packets from booths, keeps them, gives signed receipts. It can open none of them.

Order of operation for `PUT /v1/packets/{sha256}`:
    a free place (else 503 with Retry-After) → form of path, type and length → signature of the request (before a byte of the body is read) →
    body into a temporary file while it is digested, bounded in size and time → digest is the one in the path and in Content-Digest →
    public header readable and of the booth that signed → bytes durable → nonce, row and receipt in one commit → receipt answered.
The same packet again, also many at once, gets the same receipt (200 instead of 201). A crash anywhere leaves either nothing, or bytes that the
next upload of the packet adopts, or a row whose receipt the next upload gets.

This module, with what it imports, holds no decryption key and no image code (an import contract keeps it so).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

from crypto.errors import CryptoError, PacketFormatError, RequestClockError
from crypto.http_signature import WINDOW_S, VerifiedRequest, verify_request_head
from crypto.keys import Signer, SignerSource, TrustStore, load_trust
from crypto.receipt import MEDIA_TYPE as RECEIPT_TYPE
from crypto.receipt import issue_receipt
from crypto.seal import HEADER_AT, MAX_HEADER_BYTES, MEDIA_TYPE, read_header
from server.config import IntakeSettings
from server.errors import (
    BoothMismatchError,
    DigestMismatchError,
    MediaTypeError,
    OverloadError,
    PacketUnreadableError,
    ServerError,
    SettingsError,
    SignatureExpiredError,
    SignatureInvalidError,
    SignatureMissingError,
    UnknownPacketError,
)
from server.listener import listen
from server.objects import ObjectStore, open_folder_objects
from server.problems import RequestLog, answer_with_problems
from server.receiving import BodyLimits, Discard, ReceivedBody, declared_length, receive_body
from server.store import NewPacket, Nonce, Store, StoredPacket, check_digest, open_store

log = logging.getLogger(__name__)

HEAD_BYTES = HEADER_AT + MAX_HEADER_BYTES
# A signature is taken up to WINDOW_S after its making, so a nonce needs remembering no longer; one second for rounding.
NONCE_LIFE = timedelta(seconds=WINDOW_S + 1)
NONCE_SWEEP_S = 60.0
# How long an answer of /v1/ready is repeated: each asks the disk for a write.
READY_KEPT_S = 1.0


@dataclass(frozen=True)
class IntakeRooms:
    """What the intake works with."""

    settings: IntakeSettings
    store: Store
    objects: ObjectStore
    trust: TrustStore
    signer: Callable[[], Signer]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class Intake:
    """The intake's work, without HTTP routing."""

    def __init__(self, rooms: IntakeRooms) -> None:
        self._rooms = rooms
        settings = rooms.settings
        self._places = settings.max_uploads
        self._limits = BodyLimits(
            settings.max_packet_bytes, settings.body_idle_s, settings.body_total_s, head_bytes=HEAD_BYTES
        )
        self._ready_until = 0.0

    async def put(self, request: Request, sha256: str) -> tuple[StoredPacket, bool]:
        """Take one packet; returns its row and whether it is new. Raises the `ServerError` family."""
        rooms = self._rooms
        check_digest(sha256)
        with self._place():
            if request.headers.get("content-type", "").strip().lower() != MEDIA_TYPE:
                raise MediaTypeError(f"Send the packet as {MEDIA_TYPE}.")
            declared_length(request, rooms.settings.max_packet_bytes)
            verified = self._verify(request)
            if verified.content_sha256 != sha256:
                raise DigestMismatchError("The signed Content-Digest is not the digest in the address.")
            known = await rooms.store.find(sha256)
            if known is not None and known.booth != verified.booth_id:
                raise BoothMismatchError("This packet belongs to another booth.")
            nonce = self._nonce(verified)
            if known is not None and await rooms.objects.holds(sha256):
                _compare_digest(await receive_body(request, Discard(), self._limits), sha256)
                await rooms.store.use_nonce(nonce)
                return known, False
            async with rooms.objects.writer() as writer:
                body = await receive_body(request, writer, self._limits)
                _compare_digest(body, sha256)
                new = self._describe(body, verified.booth_id)
                await writer.keep(sha256)
            stored, created = await rooms.store.add(new, nonce, lambda serial: self._receipt(new, serial))
        if stored.booth != verified.booth_id:
            raise BoothMismatchError("This packet belongs to another booth.")
        if created:
            log.info("A packet was stored.", extra={"packet": sha256[:16], "booth": stored.booth, "size": stored.size})
        return stored, created

    async def find(self, request: Request, sha256: str) -> StoredPacket:
        """The row of a packet, for the booth that sent it alone. Raises the `ServerError` family."""
        check_digest(sha256)
        verified = self._verify(request)
        await self._rooms.store.use_nonce(self._nonce(verified))
        stored = await self._rooms.store.find(sha256)
        if stored is None or stored.booth != verified.booth_id:
            raise UnknownPacketError("No packet with this digest came from this booth.")
        return stored

    async def check_ready(self) -> None:
        """Raises `StorageError` when packets cannot be taken just now."""
        if time.monotonic() < self._ready_until:
            return
        await self._rooms.store.check()
        await self._rooms.objects.check()
        self._ready_until = time.monotonic() + READY_KEPT_S

    async def sweep(self) -> None:
        """Forget old nonces, again and again; ends when cancelled."""
        while True:
            try:
                await self._rooms.store.forget_nonces(self._rooms.now())
            except ServerError as error:
                log.warning("Old nonces could not be removed.", exc_info=error, extra={"code": error.code})
            await asyncio.sleep(NONCE_SWEEP_S)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places for uploads. Raises `OverloadError`."""
        if self._places == 0:
            raise OverloadError(
                "As many uploads as this intake takes at once are running.",
                retry_after_s=self._rooms.settings.retry_after_s,
            )
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    def _verify(self, request: Request) -> VerifiedRequest:
        """Who signed the request."""
        if "signature" not in request.headers or "signature-input" not in request.headers:
            raise SignatureMissingError("Sign the request (RFC 9421) with the booth's key.")
        try:
            return verify_request_head(
                request.method, self._target(request), request.headers, self._rooms.trust, self._rooms.now()
            )
        except RequestClockError as error:
            raise SignatureExpiredError("The signature is too old or from the future: set the clock.") from error
        except CryptoError as error:
            log.info("A request signature was refused.", exc_info=error)
            raise SignatureInvalidError(
                "The signature of the request does not hold: check the key, its certificate and what is signed."
            ) from error

    def _target(self, request: Request) -> str:
        """The address that the booth signed."""
        base = self._rooms.settings.public_url or f"{request.url.scheme}://{request.headers.get('host', '')}"
        query = request.scope["query_string"].decode("latin-1")
        return f"{base.rstrip('/')}{request.scope['raw_path'].decode('latin-1')}" + (f"?{query}" if query else "")

    def _nonce(self, verified: VerifiedRequest) -> Nonce:
        return Nonce(verified.booth_id, verified.nonce, verified.created + NONCE_LIFE)

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

    def _receipt(self, new: NewPacket, serial: int) -> bytes:
        return issue_receipt(
            packet_sha256=new.sha256,
            packet_id=new.packet_id,
            received_at=new.received_at,
            serial=serial,
            signer=self._rooms.signer(),
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

    @app.get("/v1/health")
    async def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/v1/ready")
    async def ready() -> dict[str, str]:
        """Database and packet folder can be written."""
        await intake.check_ready()
        return {"status": "ready"}

    return RequestLog(app), intake


async def run_intake(settings: IntakeSettings, on_ready: Callable[[str], None]) -> None:
    """Open everything, serve until SIGTERM or SIGINT, close everything. Raises `ServerError`."""
    try:
        trust, source = load_trust(settings.trust), SignerSource(settings.receipt_signer)
        source.current()
    except CryptoError as error:
        raise SettingsError(str(error)) from error
    async with (
        open_store(settings.resolved_database_url) as store,
        open_folder_objects(settings.objects_dir) as objects,
    ):
        app, intake = make_intake(IntakeRooms(settings, store, objects, trust, source.current))
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
