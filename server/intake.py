"""The intake: takes sealed packets from booths (server/uploads.py), keeps them, gives signed receipts. It can open none of them.

This module has the addresses and puts the rooms together. With what it imports, it holds no decryption key and no image code (an import contract
keeps it so).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

from crypto.errors import CryptoError
from crypto.keys import Signer, SignerSource, load_trust
from crypto.receipt import MEDIA_TYPE as RECEIPT_TYPE
from crypto.tree_head import TREE_HEAD_TYPE
from server.application_routes import Lookups, make_application_routes
from server.application_rows import Registry
from server.booth_order_routes import BoothOrderDesk, make_booth_order_routes
from server.booth_orders import BoothOrders
from server.booth_trust import BoothTrust, ListState
from server.centres import CentreBundle, make_centre_routes
from server.config import IntakeSettings
from server.enrolment import Enrolment, make_enrolment_routes, open_enrolment, open_issuer
from server.errors import DrainingError, ServerError, SettingsError
from server.fleet_jobs import Watch, tell_fleet
from server.heartbeats import Heartbeats, make_heartbeat_routes
from server.intake_document import describe_itself
from server.intake_jobs import booth_orders_job, late_orders_job, storage_jobs, tell_jobs
from server.jobs import doing_jobs
from server.listener import listen
from server.metrics import Metrics
from server.objects import Objects, open_objects
from server.order_routes import OrderDesk, make_order_routes
from server.orders import Orders
from server.partials import Partial
from server.problems import RequestLog, answer_with_problems
from server.producers import ProducerRequests
from server.receipt_log import ReceiptLog, open_receipt_log
from server.restore_mark import require_no_mark
from server.retention_job import Retention, retention_job
from server.retention_rows import tell_policy
from server.signed_requests import SignedRequests
from server.staff import StaffLists
from server.staff_routes import make_staff_routes
from server.status_page import StatusDesk, make_status_routes
from server.store import Store, StoredPacket, open_store
from server.uploads import Taken, Uploads

log = logging.getLogger(__name__)

NONCE_SWEEP_S = 60.0
APPLICATIONS_SWEEP_S = 3600.0
# How long an answer of /v1/ready is repeated: each asks the disk for a write.
READY_KEPT_S = 1.0


@dataclass(frozen=True)
class IntakeRooms:
    """What the intake works with."""

    settings: IntakeSettings
    store: Store
    objects: Objects
    trust: BoothTrust
    receipts: ReceiptLog
    enrolment: Enrolment
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    staff_signer: Callable[[], Signer] | None = None
    metrics: Metrics = field(default_factory=Metrics)


class Intake:
    """The intake's work, without HTTP routing."""

    def __init__(self, rooms: IntakeRooms) -> None:
        self._rooms = rooms
        self.signed = SignedRequests(rooms.trust, rooms.store, rooms.settings.public_url, rooms.now)
        self.uploads = Uploads(
            rooms.settings, rooms.store, rooms.objects, rooms.receipts, self.signed, rooms.now, rooms.metrics
        )
        self.registry = Registry(rooms.store, rooms.now)
        self.orders = Orders(rooms.store, rooms.now)
        self.booth_orders = BoothOrders(rooms.store, rooms.now)
        rooms.metrics.asked.append(self._tell_orders)
        self._ready_until = 0.0
        self._draining = False

    def drain(self) -> None:
        """Say from now on that this process is about to end: others should send their work elsewhere."""
        self._draining = True

    async def check_ready(self) -> ListState:
        """How good the revocation list is. Raises `StorageError` when packets cannot be taken just now, `DrainingError` when it is about to end."""
        if self._draining:
            raise DrainingError("This intake is about to end: send new work to another one.")
        if time.monotonic() >= self._ready_until:
            await self._rooms.store.check()
            await self._rooms.objects.packets.check()
            self._ready_until = time.monotonic() + READY_KEPT_S
        await self._rooms.trust.current()
        return self._rooms.trust.state

    async def _tell_orders(self) -> None:
        """How the hand-over stands, for the metrics."""
        counts = await self.orders.counts()
        self._rooms.metrics.orders_waiting.set(counts.waiting)
        self._rooms.metrics.orders_late.set(counts.late)

    async def sweep(self) -> None:
        """Forget old nonces, partials and applications, again and again; ends when cancelled."""
        look_at = time.monotonic()
        while True:
            try:
                await self._rooms.store.forget_nonces(self._rooms.now())
                if dropped := await self.uploads.partials.sweep():
                    log.info("Interrupted uploads were given up.", extra={"partials": dropped})
                if time.monotonic() >= look_at:
                    await self._look_after_applications()
                    look_at = time.monotonic() + APPLICATIONS_SWEEP_S
            except ServerError as error:
                log.warning("What is old could not be removed.", exc_info=error, extra={"code": error.code})
            await asyncio.sleep(NONCE_SWEEP_S)

    async def _look_after_applications(self) -> None:
        """Joins what an import was interrupted before it could, and forgets what is old."""
        await self.registry.settle()
        if gone := await self.registry.forget_old(timedelta(days=self._rooms.settings.applications_kept_days)):
            log.info("Applications were removed: their time is over.", extra={"applications": gone})


def make_intake(rooms: IntakeRooms) -> tuple[ASGIApp, Intake]:
    """The intake's web application and the work behind it."""
    intake = Intake(rooms)
    app = FastAPI(
        title="Passbooth intake",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
    )
    answer_with_problems(app)

    @app.put("/v1/packets/{sha256}", response_class=Response)
    async def put_packet(sha256: str, request: Request) -> Response:
        """Store a sealed packet under its digest and give its receipt; with Upload-Complete, begin an upload that can be resumed."""
        return _upload_response(rooms, sha256, await intake.uploads.put(request, sha256), HTTPStatus.CREATED)

    @app.patch("/v1/packets/{sha256}", response_class=Response)
    async def patch_packet(sha256: str, request: Request) -> Response:
        """Go on with an upload at its offset; give the receipt at its end."""
        return _upload_response(rooms, sha256, await intake.uploads.patch(request, sha256), HTTPStatus.NO_CONTENT)

    @app.head("/v1/packets/{sha256}", response_class=Response)
    async def head_packet(sha256: str, request: Request) -> Response:
        """Say whether a packet of this booth is stored (200), or how far its upload came (204)."""
        found = await intake.uploads.find_progress(request, sha256)
        if isinstance(found, Partial):
            return _upload_response(rooms, sha256, found, HTTPStatus.NO_CONTENT)
        whole = {"Upload-Complete": "?1", "Upload-Offset": str(found.size), "Upload-Length": str(found.size)}
        return Response(headers={"Location": f"/v1/packets/{sha256}", "Cache-Control": "no-store", **whole})

    @app.get("/v1/packets/{sha256}/receipt", response_class=Response)
    async def get_receipt(sha256: str, request: Request) -> Response:
        """Give the receipt of a packet of this booth again."""
        return _receipt_response(await intake.uploads.find(request, sha256), HTTPStatus.OK, {})

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
    app.include_router(make_centre_routes(CentreBundle(rooms.settings.resolved_centres)))

    app.include_router(make_application_routes(Lookups(intake.registry, intake.signed, rooms.now)))
    waiting, interval_s = intake.booth_orders.count_waiting, rooms.settings.heartbeat_s
    heartbeats = Heartbeats(rooms.store, intake.signed, rooms.now, interval_s=interval_s, waiting=waiting)
    app.include_router(make_heartbeat_routes(heartbeats))
    app.include_router(make_booth_order_routes(BoothOrderDesk(intake.booth_orders, intake.signed, rooms.trust)))
    app.include_router(make_status_routes(StatusDesk(intake.registry, rooms.settings.status_asks_per_minute)))
    app.include_router(make_staff_routes(StaffLists(rooms.store, rooms.staff_signer, rooms.now), intake.signed))

    settings = rooms.settings
    producers = ProducerRequests(settings.producers, rooms.store, settings.public_url, rooms.now)
    app.include_router(make_order_routes(OrderDesk(intake.orders, rooms.objects.orders, producers)))

    describe_itself(app)
    return RequestLog(app, rooms.metrics), intake


async def run_intake(settings: IntakeSettings, on_ready: Callable[[str], None]) -> None:
    """Open everything, serve until SIGTERM or SIGINT, close everything. Raises `ServerError`."""
    require_no_mark(settings.data_dir)
    try:
        source = SignerSource(settings.receipt_signer, certificate=settings.receipt_certificate)
        source.current()
        staff = None
        if settings.staff_signer is not None:
            staff = SignerSource(settings.staff_signer, certificate=settings.staff_certificate)
            staff.current()
        roots = load_trust(settings.trust)
    except CryptoError as error:
        raise SettingsError(str(error)) from error
    issuer = open_issuer(settings)
    trust, metrics = BoothTrust(settings.trust, settings.resolved_crl), Metrics()
    async with (
        open_store(settings.resolved_database_url) as store,
        open_objects(settings) as objects,
        open_receipt_log(store, source.current, metrics=metrics) as receipts,
        open_enrolment(issuer) as enrolment,
    ):
        rooms = IntakeRooms(
            *(settings, store, objects, trust, receipts, enrolment),
            staff_signer=staff.current if staff else None,
            metrics=metrics,
        )
        app, intake = make_intake(rooms)
        await tell_policy(store, settings.retention)
        retention = Retention(store, objects, source.current, roots, settings.retention, rooms.now)
        work = [
            retention_job(retention, settings.retention_every_s, settings.retention_per_run),
            *storage_jobs(store, objects, settings.scrub_bytes),
            late_orders_job(intake.orders),
            *Watch(store, settings, rooms.now).jobs(),
            booth_orders_job(intake.booth_orders),
        ]
        metrics.asked += [tell_jobs(store, metrics), tell_fleet(store, metrics, settings.heartbeat_s, rooms.now)]
        sweep = asyncio.create_task(intake.sweep(), name="intake-nonce-sweep")
        try:
            async with doing_jobs(store, work):
                await listen(app, settings, on_ready, rooms.metrics, intake.drain)
        finally:
            sweep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweep


def _upload_response(rooms: IntakeRooms, sha256: str, came: Taken | Partial, in_part: HTTPStatus) -> Response:
    """The receipt of a packet that is here; how far one came that is not."""
    location = {"Location": f"/v1/packets/{sha256}"}
    if isinstance(came, Taken):
        status = HTTPStatus.CREATED if came.created else HTTPStatus.OK
        return _receipt_response(came.stored, status, location | {"Upload-Complete": "?1"})
    settings = rooms.settings
    progress = {
        "Upload-Complete": "?0",
        "Upload-Offset": str(came.offset),
        "Upload-Length": str(came.length),
        "Upload-Limit": f"max-size={settings.max_packet_bytes}, max-age={settings.partial_kept_s:.0f}",
        "Cache-Control": "no-store",
    }
    return Response(status_code=in_part, headers=location | progress)


def _receipt_response(stored: StoredPacket, status: HTTPStatus, headers: dict[str, str]) -> Response:
    return Response(
        stored.receipt,
        status,
        {**headers, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        RECEIPT_TYPE,
    )
