"""The officers' desk: a list of received packets and one page for each, rendered here, opened in memory only.

Rules: every page but the login needs a session; every form carries its token; nothing is cached by anybody; the pages run no inline script or
style and load nothing from elsewhere (Content-Security-Policy below); what comes from a packet is escaped by Jinja2 and served as an image only
when it is one. A packet that cannot be opened has its line in the list and one opaque sentence, never an error page.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from crypto.desk_secret import DeskSecret, load_desk_secret
from crypto.errors import CryptoError
from crypto.keys import Purpose, SignerSource, load_recipient_key
from server import views
from server.access_errors import PermissionDeniedError
from server.audit import Action, AuditLog
from server.auth import Doorkeeper, Session
from server.booth_orders import BoothOrders
from server.booth_trust import BoothTrust
from server.chip_card import chip_card
from server.config import DeskSettings
from server.decisions import HandOver, HandOverRooms, check_signer
from server.desk_account import AccountRooms, make_account_pages
from server.desk_api import find_packet, make_api
from server.desk_audit import AuditPages, AuditRooms, make_audit_pages
from server.desk_booth_orders import BoothOrderPages, BoothOrderRooms, make_booth_order_pages
from server.desk_counter import CounterRooms, make_counter_pages
from server.desk_decide import DecidePages, DecideRooms, make_decide_pages
from server.desk_fleet import FleetPages, FleetRooms, make_fleet_pages, no_orders
from server.desk_login import make_login_pages
from server.desk_orders import OrderPages, OrderRooms, make_order_pages
from server.desk_recheck import RecheckRooms, make_recheck_pages
from server.desk_retention import RetentionPages, RetentionRooms, make_retention_pages
from server.desk_search import ListRooms, QueueList, make_list_pages
from server.desk_session import (
    SESSION_COOKIE,
    needs,
    note_failure,
)
from server.desk_statistics import StatisticsRooms, make_statistics_pages
from server.desk_terms import DeskTerms
from server.desk_users import make_user_pages
from server.duplicates import duplicates_card, is_copy
from server.errors import (
    LoginRequiredError,
    PacketNotOpenedError,
    PartUnknownError,
    ServerError,
    SettingsError,
    StorageCorruptError,
)
from server.holds import Holds
from server.layout import Pages, SafeHeaders, home_of, next_page
from server.listener import listen
from server.local_users import LocalUsers
from server.looks import Looks
from server.made_store import await_store
from server.messages import Messages, load_messages
from server.metrics import Metrics
from server.objects import open_objects
from server.opening import Opener, open_opener, summarise
from server.own_check import check_objects
from server.pad_card import JPEG_START, frame_of, pad_card
from server.problems import RequestLog, known, note_problem, problem_response
from server.queue_reader import QueueReader
from server.queue_search import count_unread
from server.rechecker import Rechecker, open_rechecker
from server.retention_errors import PacketDeletedError
from server.roles import Permission
from server.slips import CentreKeys
from server.store import Store, open_store
from server.user_errors import SetUpRequiredError
from server.users import Users
from server.visit_cards import OF_RELEASE, attempts_card, release_card

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
SWEEP_S = 15.0


@dataclass(frozen=True)
class DeskRooms:
    """What the desk works with."""

    settings: DeskSettings
    store: Store
    opener: Opener
    door: Doorkeeper
    messages: Messages
    audit: AuditLog
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    metrics: Metrics = field(default_factory=Metrics)
    hand_over: HandOver | None = None
    holds: Holds | None = None
    booth_orders: BoothOrderRooms | None = None
    users: Users | None = None  # where they are the desk's own
    secret: DeskSecret = field(kw_only=True)
    rechecker: Rechecker = field(default_factory=Rechecker)


def make_desk(rooms: DeskRooms) -> ASGIApp:
    """The desk's web application."""
    store, opener, door = rooms.store, rooms.opener, rooms.door
    pages = Pages(rooms.messages)
    orders = decide = None
    if rooms.hand_over is not None:
        orders = OrderPages(OrderRooms(rooms.hand_over, pages, rooms.now))
        decide = DecidePages(DecideRooms(store, opener, rooms.hand_over, pages, rooms.messages, rooms.now))
    retention = RetentionPages(RetentionRooms(store, rooms.holds, pages, rooms.now))
    terms, looks = DeskTerms(rooms.audit.secret), Looks(store, rooms.now)
    length = rooms.settings.list_length
    queue = QueueList(ListRooms(store, opener, pages, terms, looks, rooms.now, length))
    app = FastAPI(title="Passbooth desk", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.door, app.state.audit = door, rooms.audit

    app.include_router(make_login_pages(door, opener, pages))

    @app.get("/packets/{sha256}")
    async def packet_page(
        request: Request, sha256: str, session: Annotated[Session, needs(Permission.PACKETS_READ, Action.PACKET_SEEN)]
    ) -> Response:
        language = pages.language(request)
        try:
            stored = await find_packet(store, sha256)
        except PacketDeletedError:
            opener.forget(sha256)
            return await retention.deleted_page(request, sha256, session)
        card = await retention.card(stored, language)
        place = await queue.place(request, stored, session)
        try:
            content = await opener.content(stored)
        except (PacketNotOpenedError, StorageCorruptError) as error:
            facts = {"facts": views.row_facts(stored, language), "retention": card, "queue": place}
            return pages.page(
                request, "refused.html", error.status, session=session, error=error.code, stored=stored, **facts
            )
        report, visit, summary = content.report, content.visit, summarise(content)
        release = release_card(visit, language)
        named, other = views.visit_facts(visit, language, OF_RELEASE if release else ()) if visit else ([], [])
        findings = views.finding_lines(report, language) if report else []
        chip_part = content.opened.manifest.parts.get("chip.jp2")
        return pages.page(
            request,
            "packet.html",
            session=session,
            **views.heading(stored, summary),
            age=language.age(rooms.now() - stored.received_at),
            portrait=_portrait(content.opened.parts) is not None,
            report=report,
            findings=findings,
            groups=views.finding_groups(findings, language),
            evidence=views.evidence_size(report) if report else None,
            chip=chip_card(report.chip if report else None, chip_part.size if chip_part else None, language),
            signature=views.signature_facts(content, language),
            visit=visit,
            released=views.released_text(visit, language) if visit else "",
            visit_facts=named,
            other_facts=other,
            course=views.course(visit, language) if visit else [],
            pad=pad_card(content.pad, content.opened.parts, language),
            release=release,
            attempts=attempts_card(content.attempts, language),
            parts=content.opened.manifest.parts,
            decision=await decide.card(stored, session, language) if decide else None,
            retention=card,
            queue=place,
            duplicates=await duplicates_card(store, terms, content, language),
        )

    @app.get("/packets/{sha256}/portrait.jpg", dependencies=[needs(Permission.PACKETS_READ, Action.PORTRAIT_SEEN)])
    async def portrait(sha256: str) -> Response:
        content = await opener.content(await find_packet(store, sha256))
        data = _portrait(content.opened.parts)
        if data is None:
            raise PartUnknownError("The packet holds no portrait that can be shown.")
        return Response(data, media_type="image/jpeg")

    @app.get("/packets/{sha256}/pad/{name}", dependencies=[needs(Permission.PACKETS_READ, Action.FRAMES_SEEN)])
    async def pad_frame(sha256: str, name: str) -> Response:
        content = await opener.content(await find_packet(store, sha256))
        data = frame_of(content.opened.parts, name)
        if data is None:
            raise PartUnknownError("The packet holds no such picture that can be shown.")
        return Response(data, media_type="image/jpeg")

    if orders is not None:
        app.include_router(make_order_pages(orders))
    if decide is not None:
        app.include_router(make_decide_pages(decide))
    app.include_router(make_retention_pages(retention))
    app.include_router(make_recheck_pages(RecheckRooms(store, opener, rooms.rechecker, pages)))
    if rooms.users is not None:
        local = LocalUsers(rooms.users, totp_required=rooms.settings.totp == "required")
        app.include_router(make_account_pages(AccountRooms(door, rooms.users, local, rooms.secret, pages)))
        app.include_router(make_user_pages(rooms.users, pages))
    app.include_router(make_list_pages(queue))
    app.include_router(make_api(store, opener, length))
    app.include_router(make_counter_pages(_counter_rooms(rooms, pages)))
    its_orders = None if rooms.booth_orders is None else BoothOrderPages(rooms.booth_orders)
    card = no_orders if its_orders is None else its_orders.card
    fleet = FleetPages(FleetRooms(store, pages, rooms.now, rooms.settings.issuer_dir, card))
    app.include_router(make_fleet_pages(fleet))
    if its_orders is not None:
        app.include_router(make_booth_order_pages(its_orders, fleet))
    app.include_router(make_audit_pages(AuditPages(AuditRooms(rooms.audit, opener.trust, pages, rooms.now))))
    app.include_router(make_statistics_pages(StatisticsRooms(store, pages, rooms.now)))
    app.mount("/static", StaticFiles(directory=STATIC))

    async def answer_error(request: Request, error: Exception) -> Response:
        told = known(error)
        note_problem(request, told, error)
        with contextlib.suppress(ServerError):  # the first failure is the answer
            await note_failure(request, told.code)
        if request.url.path.startswith(("/api/", "/static/")):
            return problem_response(told)
        if isinstance(told, LoginRequiredError):
            wanted = next_page(request.url.path)
            return RedirectResponse("/login" if wanted == "/" else f"/login?next={quote(wanted)}", 303)
        if isinstance(told, SetUpRequiredError):
            return RedirectResponse("/account", 303)
        session = door.session(request.cookies.get(SESSION_COOKIE))
        if isinstance(told, PermissionDeniedError) and request.url.path == "/" and session is not None:
            return RedirectResponse(home_of(session), 303)
        return pages.page(request, "problem.html", told.status, session=session, error=told.code)

    for kind in (ServerError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, answer_error)
    return RequestLog(SafeHeaders(app), rooms.metrics)


def _counter_rooms(rooms: DeskRooms, pages: Pages) -> CounterRooms:
    """What the counter works with. Raises `SettingsError` for a centre's key that is none."""
    settings, keys = rooms.settings, CentreKeys(rooms.settings.slip_signers)
    rules, days = settings.number_rules, settings.application_days
    return CounterRooms(rooms.store, rooms.secret, keys, rules, days, pages, rooms.messages, rooms.now)


async def run_desk(settings: DeskSettings, on_ready: Callable[[str], None], wait_s: float = 0.0) -> None:
    """Open everything, serve until SIGTERM or SIGINT, let go of everything; `wait_s` for an intake to make the store. Raises `ServerError`."""
    try:
        keys = [load_recipient_key(path) for path in settings.recipient_keys]
        secret = load_desk_secret(settings.secret)
        decider = None
        if settings.decision_signer is not None:
            decider = SignerSource(settings.decision_signer, certificate=settings.decision_certificate)
            check_signer(decider.current())
    except CryptoError as error:
        raise SettingsError(str(error)) from error
    trust = BoothTrust(settings.trust, settings.crl)
    await await_store(settings, wait_s)
    async with (
        open_store(settings.resolved_database_url) as store,
        open_objects(settings) as objects,
        open_opener(objects.packets, keys, trust, kept=settings.opened_kept, kept_s=settings.opened_kept_s) as opener,
        open_rechecker(settings.recheck_s, profiles=settings.profiles) as rechecker,
    ):
        users = Users(store, secret)
        door = Doorkeeper(
            LocalUsers(users, totp_required=settings.totp == "required"),
            idle_s=settings.idle_s,
            session_s=settings.session_s,
            tries=settings.login_tries,
            lockout_s=settings.lockout_s,
            device_key=secret.mac("device", b""),
        )
        known = await users.rows()
        if not any(user.intact for user in known):
            log.warning(
                "None of the users was made under this desk's secret: nobody can sign in."
                if known
                else "Nobody can sign in yet: make the first user with `intake users add`."
            )
        hand_over = HandOver(
            HandOverRooms(
                *(store, objects.orders, opener, settings.producers),
                signer=decider.current if decider else None,
                answer_within=timedelta(hours=settings.answer_within_h),
                now=lambda: datetime.now(UTC),
                check_objects=partial(check_objects, rechecker),
                is_copy=partial(is_copy, store, DeskTerms(secret)),
            )
        )
        holds = Holds(store, decider.current, Purpose.DESK, lambda: datetime.now(UTC)) if decider else None
        signer = decider.current if decider else None
        audit = AuditLog(store, secret, settings.data_dir, signer=signer, now=lambda: datetime.now(UTC))
        rooms = DeskRooms(
            *(settings, store, opener, door, load_messages(), audit),
            hand_over=hand_over,
            holds=holds,
            booth_orders=BoothOrderRooms(
                BoothOrders(store, lambda: datetime.now(UTC), signer), keys, trust, lambda: datetime.now(UTC)
            ),
            users=users,
            secret=secret,
            rechecker=rechecker,
        )
        tasks = [
            asyncio.create_task(_sweep(door, opener), name="desk-sweep"),
            asyncio.create_task(hand_over.work(), name="desk-orders"),
            asyncio.create_task(QueueReader(store, opener, DeskTerms(secret)).work(), name="desk-queue"),
        ]

        async def tell_unread() -> None:
            rooms.metrics.queue_unread.set(await count_unread(store))

        rooms.metrics.asked.append(tell_unread)
        try:
            await listen(make_desk(rooms), settings, on_ready, rooms.metrics)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _sweep(door: Doorkeeper, opener: Opener) -> None:
    """End sessions and let go of opened packets on time, also when nobody asks for anything."""
    while True:
        await asyncio.sleep(SWEEP_S)
        opener.sweep(sessions=door.sweep())


def _portrait(parts: Mapping[str, bytes]) -> bytes | None:
    """The portrait when it is a JPEG, which is all that a browser is asked to show."""
    data = parts.get("portrait.jpg")
    return data if data is not None and data.startswith(JPEG_START) else None
