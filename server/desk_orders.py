"""Following the hand-over at the desk: the list of orders, and an order in words.

Rules: what is late stands first in the list, because a person has to find out why. An order that was rejected or is late can be sent anew from there; so can the
producer ask for it himself (server/order_routes.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from server import views
from server.audit import Action
from server.auth import Session
from server.decisions import HandOver
from server.desk_session import needs, read_officers_form
from server.handover_rows import Order
from server.layout import Pages
from server.messages import Language
from server.roles import Permission

LENGTH = 50
# Codes whose meaning docs/handover.md fixes; a producer may have others, which are shown as they are.
CODES = ("unreadable", "signature", "content", "quality", "duplicate", "unknown_application")


@dataclass(frozen=True, slots=True)
class OrderLine:
    """An order in a list."""

    order: Order
    reference: str
    state: str
    tone: str
    created: str
    answer_by: str
    answered: str
    can_resend: bool
    asked: bool


@dataclass(frozen=True)
class OrderRooms:
    """What the pages work with."""

    hand_over: HandOver
    pages: Pages
    now: Callable[[], datetime]


class OrderPages:
    """The pages' work."""

    def __init__(self, rooms: OrderRooms) -> None:
        self.rooms = rooms

    async def listed(self, language: Language, before: int | None) -> tuple[list[OrderLine], list[OrderLine]]:
        """What is late, and a page of all orders."""
        orders, now = self.rooms.hand_over.orders, self.rooms.now()
        late = await orders.late(LENGTH) if before is None else []
        page = await orders.newest(LENGTH, before)
        references = await self._references([*late, *page])
        return (
            [order_line(one, now, language, references[one.packet_sha256]) for one in late],
            [order_line(one, now, language, references[one.packet_sha256]) for one in page],
        )

    async def _references(self, orders: list[Order]) -> dict[str, str]:
        """How packets are called; one that was deleted by the beginning of its digest."""
        ids = await self.rooms.hand_over.orders.packet_ids({one.packet_sha256 for one in orders})
        return {
            one.packet_sha256: views.reference_of(ids[one.packet_sha256])
            if one.packet_sha256 in ids
            else one.packet_sha256[:8]
            for one in orders
        }


def order_line(order: Order, now: datetime, language: Language, reference: str) -> OrderLine:
    """An order in words."""
    state, tone = _state(order, now, language)
    open_again = order.superseded_at is None and order.resend_asked_at is None
    return OrderLine(
        order=order,
        reference=reference,
        state=state,
        tone=tone,
        created=language.time(order.created_at),
        answer_by=language.time(order.answer_by),
        answered=language.time(order.answered_at) if order.answered_at else "",
        can_resend=open_again and (order.answer_verdict == "rejected" or order.is_late(now)),
        asked=order.superseded_at is None and order.resend_asked_at is not None,
    )


def _state(order: Order, now: datetime, language: Language) -> tuple[str, str]:
    if order.answer_verdict == "accepted":
        return language("order.accepted"), "good"
    if order.answer_verdict == "rejected":
        code = order.answer_code or ""
        why = language(f"order.code.{code}") if code in CODES else code
        return language("order.rejected", why=why), "none" if order.superseded_at else "bad"
    if order.superseded_at is not None:
        return language("order.superseded"), "none"
    if order.is_late(now):
        return language("order.late"), "bad"
    return language("order.waiting"), "care"


def make_order_pages(work: OrderPages) -> APIRouter:
    """The routes; each asks for a session first."""
    api, rooms = APIRouter(), work.rooms
    hand_over, pages = rooms.hand_over, rooms.pages

    @api.get("/handover")
    async def list_page(
        request: Request,
        session: Annotated[Session, needs(Permission.HANDOVER_READ, Action.ORDERS_LISTED)],
        before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    ) -> Response:
        """The orders, late ones first."""
        late, page = await work.listed(pages.language(request), before)
        counts = await hand_over.orders.counts()
        return pages.page(
            request,
            "handover.html",
            session=session,
            late=late,
            lines=page,
            counts=counts,
            older=page[-1].order.cursor if len(page) == LENGTH and page[-1].order.cursor > 1 else None,
            first_page=before is None,
        )

    @api.post("/handover/{order}/resend")
    async def resend(
        request: Request,
        order: str,
        session: Annotated[Session, needs(Permission.HANDOVER_RESEND, Action.ORDER_RESENT)],
    ) -> Response:
        """Seal an order anew; asking twice is asking once."""
        await read_officers_form(request, session)
        await hand_over.orders.ask_again(await hand_over.orders.find(order))
        await hand_over.send_anew()
        return RedirectResponse("/handover", 303)

    return api
