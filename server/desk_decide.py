"""Deciding at the desk: the pages that accept, refuse, propose and approve, and the card that tells on a packet's page what was decided.

    GET  /packets/{sha256}/accept            says what accepting means and asks; where one person is not enough it offers to propose
    POST /packets/{sha256}/accept, /propose
    GET  /packets/{sha256}/refuse            the reasons as pictures and words, and what the applicant will read, in the language of the visit
    POST /packets/{sha256}/refuse
    GET  /packets/{sha256}/approve           the second person's page: why one is not enough, who proposes
    POST /packets/{sha256}/approve, /reject-proposal, /withdraw

Rules: nothing is decided by a GET, and nothing without the page that says what will happen and that it is final; the same decision twice is one. Who may not be the second
person is told so before he tries, and again by server/decisions.py, whose word counts. Officers stand here as opaque ids: their names are the users' page's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from crypto.errors import DecisionError
from server import views
from server.applications import MAX_REASONS, REASONS
from server.audit import Action
from server.auth import Session
from server.decision_errors import ProposalGoneError, RefusalReasonsError
from server.decisions import HandOver
from server.desk_api import find_packet
from server.desk_orders import OrderLine, order_line
from server.desk_session import needs, note_failure, read_officers_form
from server.handover_errors import HandOverUnavailableError
from server.handover_rows import StoredDecision
from server.layout import Pages
from server.messages import Language, Messages
from server.opening import Opener, PacketContent, summarise
from server.pad_card import JPEG_START
from server.proposals import StoredProposal
from server.roles import Permission
from server.second_person import Objection
from server.store import Store, StoredPacket

MAX_NUMBER = 2**53


@dataclass(frozen=True, slots=True)
class ProposalLine:
    """A proposal that stands, or one that ended, in words."""

    number: int
    officer: str
    made: str
    causes: list[str]
    mine: bool
    ended: str = ""


@dataclass(frozen=True, slots=True)
class DecisionCard:
    """What the packet's page tells of its decision."""

    verdict: str  # empty: nothing is decided
    decided: str = ""
    officers: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    orders: tuple[OrderLine, ...] = ()
    proposal: ProposalLine | None = None
    ended: tuple[ProposalLine, ...] = ()
    can_decide: bool = False
    can_approve: bool = False


@dataclass(frozen=True)
class DecideRooms:
    """What the pages work with."""

    store: Store
    opener: Opener
    hand_over: HandOver
    pages: Pages
    messages: Messages
    now: Callable[[], datetime]


class DecidePages:
    """The pages' work."""

    def __init__(self, rooms: DecideRooms) -> None:
        self.rooms = rooms

    async def card(self, stored: StoredPacket, session: Session, language: Language) -> DecisionCard | None:
        """The card of a packet; None where nothing was said of it and nothing can be."""
        hand_over = self.rooms.hand_over
        decision = await hand_over.decision(stored.sha256)
        lines = proposal_lines(await hand_over.proposals(stored.sha256), session, language)
        if decision is not None:
            orders = await hand_over.orders.of_packet(stored.sha256)
            shown = [order_line(one, self.rooms.now(), language, views.reference(stored)) for one in orders]
            return await self._decided(decision, tuple(shown), lines, language)
        standing = lines[-1] if lines and not lines[-1].ended else None
        able = bool(await hand_over.producers())
        if not able and not lines:
            return None
        return DecisionCard(
            "",
            proposal=standing,
            ended=tuple(line for line in lines if line.ended),
            can_decide=able and session.may(Permission.PACKETS_DECIDE),
            can_approve=able and session.may(Permission.PACKETS_APPROVE),
        )

    async def _decided(
        self, stored: StoredDecision, orders: tuple[OrderLine, ...], lines: list[ProposalLine], language: Language
    ) -> DecisionCard:
        decided = language.time(stored.decided_at)
        # One that approved a proposal has ended it without a row of its own.
        ended = tuple(line for line in lines if line.ended)
        try:
            said = await self.rooms.hand_over.read(stored)
        except DecisionError:  # the row is shown, and that its signature does not count
            return DecisionCard(stored.verdict, decided, (), (language("decision.unsigned"),), orders, ended=ended)
        officers = tuple(one for one in (said.officer, said.second_officer) if one is not None)
        reasons = tuple(reason_text(reason, language) for reason in said.reasons)
        return DecisionCard(stored.verdict, decided, officers, reasons, orders, ended=ended)

    async def page(
        self,
        request: Request,
        name: str,
        session: Session,
        content: PacketContent,
        status: int = 200,
        **values: Any,
    ) -> Response:
        """One of the pages that ask before something is decided."""
        summary = summarise(content)
        portrait = content.opened.parts.get("portrait.jpg", b"").startswith(JPEG_START)
        head = views.heading(content.stored, summary)
        return self.rooms.pages.page(request, name, status, session=session, **head, portrait=portrait, **values)

    async def undecided(self, sha256: str) -> PacketContent | None:
        """The opened packet; None when it is decided. Raises `HandOverUnavailableError` where this desk decides nothing, and what opening raises."""
        stored = await find_packet(self.rooms.store, sha256)
        if await self.rooms.hand_over.decision(sha256) is not None:
            return None
        if not await self.rooms.hand_over.producers():
            raise HandOverUnavailableError("This desk has no key for decisions, or knows no producer.")
        return await self.rooms.opener.content(stored)

    async def refusing(
        self, request: Request, session: Session, content: PacketContent, form: Mapping[str, str] | None = None
    ) -> Response:
        """The page that asks for the reasons; again with what was chosen, when that was not right."""
        visit = content.visit
        code = visit.fact("language") if visit else ""
        officers = self.rooms.pages.language(request)
        return await self.page(
            request,
            "refuse.html",
            session,
            content,
            200 if form is None else RefusalReasonsError.status,
            reasons=REASONS,
            most=MAX_REASONS,
            chosen=read_reasons(form or {}),
            wrong=form is not None,
            applicants=self.rooms.messages.languages.get(code, officers),
            told=code in self.rooms.messages.languages,
        )


def proposal_lines(rows: list[StoredProposal], session: Session, language: Language) -> list[ProposalLine]:
    """What was proposed about a packet, each with what became of it; only the last may still stand."""
    lines: list[ProposalLine] = []
    for row in rows:
        made = language.time(row.made_at)
        if row.action == "proposed":
            causes = [language(f"second.cause.{cause}") for cause in (row.causes or "").split()]
            lines.append(ProposalLine(row.number, row.officer, made, causes, mine=row.officer == session.officer))
        elif lines:
            why = language(f"second.objection.{row.reason}") if row.reason else ""
            # A text is filled in only where it is ours: what stands in a row may hold braces.
            key = f"second.{row.action}"
            ended = language(key, officer=row.officer, time=made, why=why) if language.has(key) else row.action
            last = lines[-1]
            lines[-1] = ProposalLine(last.number, last.officer, last.made, last.causes, last.mine, ended)
    return lines


def reason_text(reason: str, language: Language) -> str:
    """A reason as officers call it; one that this desk does not know as it stands."""
    return language(f"reason.{reason}") if reason in REASONS else reason


def read_reasons(form: Mapping[str, str]) -> tuple[str, ...]:
    """The reasons that were ticked, in the catalogue's order."""
    return tuple(reason for reason in REASONS if f"reason.{reason}" in form)


def _number(form: Mapping[str, str]) -> int:
    """The proposal that the page was about. Raises `ProposalGoneError`."""
    text = form.get("proposal", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 17 and 1 <= int(text) <= MAX_NUMBER):
        raise ProposalGoneError("There is no such proposal: look at the packet again.")
    return int(text)


def make_decide_pages(work: DecidePages) -> APIRouter:
    """The routes."""
    api, hand_over, store = APIRouter(), work.rooms.hand_over, work.rooms.store

    def packet_page(sha256: str) -> Response:
        return RedirectResponse(f"/packets/{sha256}", 303)

    @api.get("/packets/{sha256}/accept")
    async def accept_page(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_DECIDE, Action.PACKET_SEEN, page="accept")],
    ) -> Response:
        """Say what accepting means, and ask."""
        content = await work.undecided(sha256)
        if content is None or await hand_over.proposal(sha256) is not None:
            return packet_page(sha256)
        producers, causes = await hand_over.producers(), await hand_over.causes(content)
        return await work.page(request, "accept.html", session, content, producers=producers, causes=causes)

    @api.post("/packets/{sha256}/accept")
    async def accept(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_DECIDE, Action.PACKET_ACCEPTED)],
    ) -> Response:
        """Accept, sign, seal for the producer; twice is once."""
        form = await read_officers_form(request, session)
        await hand_over.accept(await find_packet(store, sha256), form.get("producer", ""), session.officer)
        return packet_page(sha256)

    @api.post("/packets/{sha256}/propose")
    async def propose(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_DECIDE, Action.PACKET_PROPOSED)],
    ) -> Response:
        """Ask a second person to accept; twice is once."""
        form = await read_officers_form(request, session)
        await hand_over.propose(await find_packet(store, sha256), form.get("producer", ""), session.officer)
        return packet_page(sha256)

    @api.get("/packets/{sha256}/refuse")
    async def refuse_page(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_DECIDE, Action.PACKET_SEEN, page="refuse")],
    ) -> Response:
        """Say what refusing means, and ask why."""
        content = await work.undecided(sha256)
        return packet_page(sha256) if content is None else await work.refusing(request, session, content)

    @api.post("/packets/{sha256}/refuse")
    async def refuse(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_DECIDE, Action.PACKET_REFUSED)],
    ) -> Response:
        """Refuse and sign; the applicant is told with the commit."""
        form = await read_officers_form(request, session)
        stored = await find_packet(store, sha256)
        try:
            await hand_over.refuse(stored, read_reasons(form), session.officer)
        except RefusalReasonsError as error:
            await note_failure(request, error.code)
            return await work.refusing(request, session, await work.rooms.opener.content(stored), form)
        return packet_page(sha256)

    @api.get("/packets/{sha256}/approve")
    async def approve_page(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_APPROVE, Action.PACKET_SEEN, page="approve")],
    ) -> Response:
        """Tell the second person why he is asked, and by whom."""
        content = await work.undecided(sha256)
        lines = proposal_lines(await hand_over.proposals(sha256), session, work.rooms.pages.language(request))
        if content is None or not lines or lines[-1].ended:
            return packet_page(sha256)
        standing = await hand_over.proposal(sha256)
        producer = None if standing is None else standing.producer
        values: dict[str, Any] = {"proposal": lines[-1], "producer": producer, "objections": [*Objection]}
        return await work.page(request, "approve.html", session, content, **values)

    @api.post("/packets/{sha256}/approve")
    async def approve(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_APPROVE, Action.PACKET_APPROVED)],
    ) -> Response:
        """Accept as the second person; twice is once."""
        form = await read_officers_form(request, session)
        await hand_over.approve(await find_packet(store, sha256), _number(form), session.officer)
        return packet_page(sha256)

    @api.post("/packets/{sha256}/reject-proposal")
    async def reject(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_APPROVE, Action.PROPOSAL_REJECTED)],
    ) -> Response:
        """Send it back as the second person, with an objection."""
        form = await read_officers_form(request, session)
        if form.get("objection") not in {*Objection}:
            raise RefusalReasonsError("Say why: choose one of the objections on the page.")
        stored, objection = await find_packet(store, sha256), Objection(form["objection"])
        await hand_over.end_proposal(stored, _number(form), session.officer, objection)
        return packet_page(sha256)

    @api.post("/packets/{sha256}/withdraw")
    async def withdraw(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_DECIDE, Action.PROPOSAL_WITHDRAWN)],
    ) -> Response:
        """Take one's own proposal back."""
        form = await read_officers_form(request, session)
        await hand_over.end_proposal(await find_packet(store, sha256), _number(form), session.officer)
        return packet_page(sha256)

    return api
