"""The countdown at the desk: when a packet is deleted, what keeps it, placing and releasing a hold, and what is left of a packet that was deleted.

Rules: the dates are those of the policy that the intake told (server/retention_rows.py), read anew for every page, as is the packet's row: what was deleted is not
shown from any memory. A hold is placed and released by a form of the session's own page alone, signed by the desk's key, under the session's opaque id. A
desk without that key shows the countdown and no form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from server.audit import Action
from server.auth import Session
from server.desk_api import find_packet
from server.desk_session import needs, read_officers_form
from server.errors import MalformedRequestError
from server.holds import Hold, HoldReason, Holds
from server.layout import Pages
from server.messages import Language
from server.retention import Fate
from server.retention_errors import HoldsUnavailableError
from server.retention_state import RetentionState, read_state
from server.roles import Permission
from server.store import Store, StoredPacket
from server.views import Fact


@dataclass(frozen=True, slots=True)
class HoldLine:
    """A hold that is open."""

    reason: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RetentionCard:
    """What the packet's page tells of its time."""

    tone: str
    short: str
    text: str
    why: str
    held: list[HoldLine]
    reasons: list[tuple[str, str]]  # that it can be held for; none where this desk signs nothing
    can_release: bool


@dataclass(frozen=True)
class RetentionRooms:
    """What the pages work with."""

    store: Store
    holds: Holds | None
    pages: Pages
    now: Callable[[], datetime]


class RetentionPages:
    """The pages' work."""

    def __init__(self, rooms: RetentionRooms) -> None:
        self.rooms = rooms

    async def card(self, stored: StoredPacket, language: Language) -> RetentionCard:
        """The card of a packet."""
        now, signs = self.rooms.now(), self.rooms.holds is not None
        state = await read_state(self.rooms.store, stored.sha256, None, now)
        tone, short, text = _countdown(state, now, language)
        open_ones = {hold.reason for hold in state.held}
        return RetentionCard(
            tone=tone,
            short=short,
            text=text,
            why=language(f"retention.fate.{state.fate}"),
            held=[_hold_line(hold, language) for hold in state.held],
            reasons=[(one, language(f"retention.hold.{one}")) for one in HoldReason if one not in open_ones]
            if signs
            else [],
            can_release=signs,
        )

    async def deleted_page(self, request: Request, sha256: str, session: Session) -> Response:
        """What is left of a deleted packet."""
        language = self.rooms.pages.language(request)
        state = await read_state(self.rooms.store, sha256, None, self.rooms.now())
        facts = _deletion_facts(state, language)
        return self.rooms.pages.page(request, "deleted.html", 410, session=session, facts=facts)


def make_retention_pages(work: RetentionPages) -> APIRouter:
    """The routes; each asks for a session first."""
    api, rooms = APIRouter(), work.rooms

    @api.post("/packets/{sha256}/hold")
    async def hold(
        request: Request, sha256: str, session: Annotated[Session, needs(Permission.PACKETS_HOLD, Action.PACKET_HELD)]
    ) -> Response:
        """Hold a packet; twice for one reason is once."""
        form = await read_officers_form(request, session)
        holds, stored = _signing(rooms), await find_packet(rooms.store, sha256)
        await holds.place(stored.sha256, _reason(form), session.officer)
        return RedirectResponse(f"/packets/{stored.sha256}#retention-title", 303)

    @api.post("/packets/{sha256}/release")
    async def release(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_HOLD, Action.PACKET_RELEASED)],
    ) -> Response:
        """Release the hold for one reason."""
        form = await read_officers_form(request, session)
        holds, stored = _signing(rooms), await find_packet(rooms.store, sha256)
        await holds.release(stored.sha256, _reason(form), session.officer)
        return RedirectResponse(f"/packets/{stored.sha256}#retention-title", 303)

    return api


def _signing(rooms: RetentionRooms) -> Holds:
    if rooms.holds is None:
        raise HoldsUnavailableError
    return rooms.holds


def _reason(form: dict[str, str]) -> HoldReason:
    try:
        return HoldReason(form.get("reason", ""))
    except ValueError:
        raise MalformedRequestError("Choose one of the reasons for a hold.") from None


def _countdown(state: RetentionState, now: datetime, language: Language) -> tuple[str, str, str]:
    """Tone, in few words, as a sentence."""
    if state.due is None or state.backups_end_at is None:
        waits = state.fate is Fate.WAITING and not state.held
        word, tone = ("waiting", "none") if waits else ("held", "care")
        return tone, language(f"retention.short.{word}"), language(f"retention.{word}")
    dates = {"date": language.date(state.due), "backups": language.date(state.backups_end_at)}
    if state.due <= now:
        return "care", language("retention.short.overdue"), language("retention.overdue", **dates)
    ahead = language.ahead(state.due - now)
    return "none", language("retention.short.due", ahead=ahead), language("retention.due", ahead=ahead, **dates)


def _hold_line(hold: Hold, language: Language) -> HoldLine:
    name = language(f"retention.hold.{hold.reason}")
    return HoldLine(hold.reason, name, language("retention.hold.since", time=language.time(hold.at), by=hold.by))


def _deletion_facts(state: RetentionState, language: Language) -> list[Fact]:
    deletion = state.deletion
    if deletion is None:
        return []
    past = f"retention.past.{deletion.reason}"
    gone = language.time(deletion.erased_at) if deletion.erased_at else language("retention.deleted.pending")
    backups = language.date(state.backups_end_at) if state.backups_end_at else ""
    return [
        Fact(language("retention.deleted.at"), language.time(deletion.deleted_at)),
        Fact(language("retention.deleted.why"), language(past) if language.has(past) else deletion.reason),
        Fact(language("retention.deleted.erased"), gone),
        Fact(language("retention.deleted.backups"), backups),
        Fact(language("fact.sha256"), deletion.packet_sha256, code=True),
    ]
