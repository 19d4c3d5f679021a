"""Orders for booths at the desk: the card on a booth's page, giving and taking back, and the support bundle that a booth sent sealed for this desk.

Rules: everything here is for those who may act in the fleet, every act is in the audit log before it is done, and none is a GET but fetching a bundle, which is
noted. The list shows what a desk signed and what the booth signed, not what stands in a row beside it: what does not verify is told as such. A bundle is opened in
memory, and only as this booth's for this order; it holds numbers, settings and events of a machine (booth/support_bundle.py), nothing of applicants.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from crypto.booth_order import (
    OUT_REASONS,
    BoothAnswer,
    BoothOrder,
    OrderKind,
    Outcome,
    open_bundle,
    verify_booth_answer,
    verify_booth_order,
)
from crypto.errors import BoothOrderError
from crypto.keys import RecipientKey, TrustStore
from server.audit import Action
from server.auth import Session
from server.booth_order_errors import BoothOrderRefusedError, BoothOrderUnknownError, BundleUnavailableError
from server.booth_orders import BoothOrders, StoredOrder
from server.booth_trust import BoothTrust
from server.desk_fleet import FleetPages, Reader, chosen_language
from server.desk_session import needs, read_officers_form
from server.errors import DeskError
from server.messages import Language
from server.roles import Permission
from validation.profile import profile_names

log = logging.getLogger(__name__)

SHOWN = 12
# Codes that a booth answers by itself (booth/remote_orders.py, booth/order_work.py) and that have words; another one is a fault's and is shown as it is.
CODES = frozenset(
    {"already", "busy", "cancelled", "expired", "interrupted", "next_start", "predates", "switched_at_the_booth"}
)
TESTS = ("pass", "warn", "fail", "not_assessed")


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One order in words."""

    id: str
    kind: str
    about: str
    by: str
    made: str
    state: str
    tone: str
    outcome: str
    can_withdraw: bool
    bundle: bool


@dataclass(frozen=True, slots=True)
class OrdersCard:
    """What a booth's page shows of its orders, and what can be ordered."""

    lines: Sequence[OrderLine]
    may_act: bool
    can_give: bool
    reasons: Sequence[str]
    profiles: Sequence[str]


@dataclass(frozen=True)
class BoothOrderRooms:
    """What the card and its routes work with."""

    orders: BoothOrders
    keys: Sequence[RecipientKey]
    trust: BoothTrust
    now: Callable[[], datetime]


class BoothOrderPages:
    """The work."""

    def __init__(self, rooms: BoothOrderRooms) -> None:
        self._rooms = rooms

    async def card(self, booth: str, language: Language, session: Session) -> OrdersCard | None:
        """The card of a booth; None for who may only look where nothing was ever ordered."""
        rooms = self._rooms
        stored = await rooms.orders.listed(booth, SHOWN)
        may_act = session.may(Permission.FLEET_ACT)
        if not stored and not (may_act and rooms.orders.can_give):
            return None
        bundled = await rooms.orders.bundled([one.id for one in stored])
        trust, now = await rooms.trust.current(), rooms.now()
        read = await asyncio.to_thread(lambda: [_read(one, trust) for one in stored])
        lines = [
            _line(one, order, answer, language, now, bundle=may_act and one.id in bundled)
            for one, (order, answer) in zip(stored, read, strict=True)
        ]
        return OrdersCard(lines, may_act, may_act and rooms.orders.can_give, OUT_REASONS, profile_names())

    async def give(self, booth: str, kind: str, form: dict[str, str], by: str) -> None:
        """One order. Raises `BoothOrderRefusedError`, `BoothOrdersUnavailableError`."""
        try:
            wanted = OrderKind(kind)
        except ValueError as error:
            raise BoothOrderRefusedError("There is no such order.") from error
        names = {OrderKind.OUT_OF_SERVICE: "reason", OrderKind.CHANGE_PROFILE: "profile"}
        name = names.get(wanted)
        arguments = {} if name is None else {name: form.get(name, "")}
        await self._rooms.orders.give(booth, wanted, arguments, by)

    async def withdraw(self, booth: str, order: str) -> None:
        """Takes an order of this booth back. Raises `BoothOrderUnknownError`, `BoothOrderRefusedError`."""
        found = await self._rooms.orders.find(order, booth)
        await self._rooms.orders.withdraw(found.id)

    async def bundle(self, booth: str, order: str) -> bytes:
        """The bundle of an order, opened. Raises `BoothOrderUnknownError`, `BundleUnavailableError`."""
        rooms = self._rooms
        found = await rooms.orders.find(order, booth)
        sealed, trust = await rooms.orders.bundle(found.id), await rooms.trust.current()
        try:
            return await asyncio.to_thread(open_bundle, sealed, found.id, booth, rooms.keys, trust)
        except BoothOrderError as error:
            log.warning("A booth's bundle does not open.", exc_info=error, extra={"booth": booth})
            raise BundleUnavailableError("The bundle does not open: it is not this booth's, or was changed.") from error


def make_booth_order_pages(work: BoothOrderPages, fleet: FleetPages) -> APIRouter:
    """The addresses."""
    api = APIRouter(prefix="/fleet/booths/{booth}")

    def back_to(booth: str, query: str = "") -> RedirectResponse:
        return RedirectResponse(f"/fleet/booths/{quote(booth)}{query}", 303)

    @api.post("/orders/{kind}")
    async def give(
        request: Request,
        booth: str,
        kind: str,
        session: Annotated[Session, needs(Permission.FLEET_ACT, Action.BOOTH_ORDERED, act="give")],
    ) -> Response:
        """Ask the booth to do something."""
        form = await read_officers_form(request, session)
        try:
            await work.give(booth, kind, form, session.officer)
        except DeskError as error:
            return await fleet.booth(request, booth, session, error)
        return back_to(booth)

    @api.post("/withdraw-order/{order}")
    async def withdraw(
        request: Request,
        booth: str,
        order: str,
        session: Annotated[Session, needs(Permission.FLEET_ACT, Action.BOOTH_ORDERED, act="withdraw")],
    ) -> Response:
        """Take an order back that the booth has not answered."""
        await read_officers_form(request, session)
        try:
            await work.withdraw(booth, order)
        except (DeskError, BoothOrderUnknownError) as error:
            return await fleet.booth(request, booth, session, error)
        return back_to(booth)

    # A page that a form answered keeps the form's address; a change of its language asks for that address.
    @api.get("/orders/{kind}")
    async def after_order(request: Request, booth: str, kind: str, session: Reader) -> Response:  # noqa: ARG001 (asks for the session)
        """Go back to the booth's page."""
        return back_to(booth, chosen_language(request))

    @api.get("/withdraw-order/{order}")
    async def after_withdrawal(request: Request, booth: str, order: str, session: Reader) -> Response:  # noqa: ARG001 (asks for the session)
        """Go back to the booth's page."""
        return back_to(booth, chosen_language(request))

    @api.get("/bundles/{order}")
    async def bundle(
        booth: str,
        order: str,
        session: Annotated[Session, needs(Permission.FLEET_ACT, Action.BUNDLE_FETCHED)],  # noqa: ARG001 (asks for the session)
    ) -> Response:
        """Give the support bundle that the booth sent for an order: a ZIP file."""
        data = await work.bundle(booth, order)
        headers = {"Content-Disposition": f'attachment; filename="passbooth-support-{quote(booth)}-{order[:8]}.zip"'}
        return Response(data, headers=headers, media_type="application/zip")

    return api


def _read(stored: StoredOrder, trust: TrustStore) -> tuple[BoothOrder | None, BoothAnswer | None]:
    """What a desk and the booth signed of this order; None for what does not verify, is of another one, or is not there. Blocks."""
    order = answer = None
    try:
        read = verify_booth_order(stored.document, trust)
        if (read.id, read.booth) != (stored.id, stored.booth):
            raise BoothOrderError("The row holds another order.")
        order = read
        if stored.answer is not None:
            said = verify_booth_answer(stored.answer, trust)
            if (said.order, said.booth) != (stored.id, stored.booth):
                raise BoothOrderError("The row holds the answer to another order.")
            answer = said
    except BoothOrderError as error:
        log.warning("An order for a booth, or its answer, is not genuine.", exc_info=error)
    return order, answer


def _line(
    stored: StoredOrder,
    order: BoothOrder | None,
    answer: BoothAnswer | None,
    language: Language,
    now: datetime,
    *,
    bundle: bool,
) -> OrderLine:
    state, tone = _state(stored, order, answer, now)
    return OrderLine(
        id=stored.id,
        kind=language(f"booth_order.kind.{order.kind}") if order else stored.id[:8],
        about=_about(order, language) if order else "",
        by=order.by if order else "",
        made=language.time(stored.made_at),
        state=language(f"booth_order.state.{state}"),
        tone=tone,
        outcome=_outcome(answer, language) if answer else "",
        can_withdraw=stored.waits(now),
        bundle=bundle,
    )


def _state(stored: StoredOrder, order: BoothOrder | None, answer: BoothAnswer | None, now: datetime) -> tuple[str, str]:
    if order is None or (stored.answer is not None and answer is None):
        return "forged", "bad"
    if answer is not None:
        return answer.outcome.value, {Outcome.DONE: "good", Outcome.REFUSED: "care"}.get(answer.outcome, "bad")
    if stored.withdrawn_at is not None:
        return "withdrawn", "none"
    return ("waits", "care") if stored.waits(now) else ("expired", "none")


def _about(order: BoothOrder, language: Language) -> str:
    """The argument in words."""
    if order.kind is OrderKind.OUT_OF_SERVICE:
        return language(f"fleet.out.{order.arguments['reason']}")
    return order.arguments.get("profile", "")


def _outcome(answer: BoothAnswer, language: Language) -> str:
    """Code and counts in words."""
    parts = []
    if answer.code is not None:
        parts.append(language(f"booth_order.code.{answer.code}") if answer.code in CODES else answer.code)
    if set(TESTS) <= answer.counts.keys():
        parts.append(language("booth_order.tests", **{name: language.number(answer.counts[name], 0) for name in TESTS}))
    if "days" in answer.counts:
        parts.append(language("booth_order.days", count=language.number(answer.counts["days"], 0)))
    return " · ".join(parts)
