"""The auditor's page: the desk's audit log, newest first, by actor, action, subject and day; and whether all of it is whole.

    GET  /audit          a page of entries, each checked as it is shown
    POST /audit/verify   look at the newest 5 000 entries now (server/audit_trail.py), and show what was found

Rules: reading the log is noted in it like everything else, before it is shown. What the page says of an entry is what the sealed entry says; one that is not
genuine stands there as such, never as what its row claims. A look takes its time, so it has a form of its own, one runs at a time, and
what it found stays on the page until the next one. Ids of actors stand here as they are: the names to them are on the administrators' page.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from crypto.audit_entry import AuditEntry
from crypto.keys import TrustStore
from server.audit import Action, AuditLog
from server.audit_errors import AuditFilterError
from server.audit_reading import Line, Wanted, newest_rows, read_lines, read_wanted
from server.audit_trail import Trail, Witness, check_trail
from server.auth import Session
from server.desk_session import needs, read_officers_form
from server.layout import Pages
from server.messages import Language
from server.roles import Permission

LENGTH = 50
# Checking a signed entry takes one to seven milliseconds (tests/bench/audit_entries.py), so this takes half a minute at most; all of a longer log is looked at by `intake audit verify`.
MOST = 5_000
FIELDS = ("actor", "action", "subject", "from", "to")
DIGEST = re.compile(r"[0-9a-f]{64}")
# What colours a line: what was refused or came to nothing, and what changed something.
CARE = frozenset(
    {
        Action.SIGN_IN_REFUSED,
        Action.SIGN_IN_LOCKED,
        Action.DENIED,
        Action.ACT_FAILED,
        Action.PACKET_EXPORTED,
        Action.LOG_JOINED,
    }
)
BAD = frozenset({Action.LOG_RESUMED})


@dataclass(frozen=True, slots=True)
class EntryLine:
    """An entry in words."""

    number: int
    at: str
    instant: str
    actor: str
    action: str
    tone: str
    subject: str
    packet: str  # its address, when the subject is one
    facts: list[tuple[str, str]]
    genuine: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the log found."""

    trail: Trail
    at: datetime
    witnessed: bool


@dataclass(frozen=True)
class AuditRooms:
    """What the page works with."""

    audit: AuditLog
    trust: Callable[[], Awaitable[TrustStore]]
    pages: Pages
    now: Callable[[], datetime]


class AuditPages:
    """The page's work."""

    def __init__(self, rooms: AuditRooms) -> None:
        self.rooms = rooms
        self._looked: Looked | None = None
        self._turn = asyncio.Lock()

    async def look(self) -> None:
        """Look at the log; who comes meanwhile waits for the same look."""
        if self._turn.locked():
            async with self._turn:
                return
        async with self._turn:
            audit = self.rooms.audit
            known = await asyncio.to_thread(audit.witness.read)
            witnesses = [] if known is None else [Witness("this desk", known)]
            trust = await self.rooms.trust()
            trail = await check_trail(audit.store, trust, audit.secret, witnesses=witnesses, newest=MOST)
            self._looked = Looked(trail, self.rooms.now(), witnessed=bool(witnesses))

    async def page(self, request: Request, session: Session, before: int | None) -> Response:
        """The page."""
        rooms, language = self.rooms, self.rooms.pages.language(request)
        asked = {name: request.query_params.get(name, "").strip() for name in FIELDS}
        wrong = False
        try:
            wanted = read_wanted(asked)
        except AuditFilterError:
            wanted, wrong = Wanted(), True
        rows = [] if wrong else await newest_rows(rooms.audit.store, wanted, LENGTH + 1, before)
        lines = await read_lines(rows[:LENGTH], await rooms.trust(), rooms.audit.secret)
        older = rows[LENGTH - 1].number if len(rows) > LENGTH else None
        return rooms.pages.page(
            request,
            "audit.html",
            400 if wrong else 200,
            session=session,
            asked=asked,
            narrowed=any(asked.values()),
            wrong=wrong,
            actions=sorted(
                ((str(one), action_text(one, language)) for one in Action), key=lambda pair: pair[1].casefold()
            ),
            lines=[entry_line(line, language) for line in lines],
            looked=self._looked,
            looked_at=language.time(self._looked.at) if self._looked else "",
            older=None if older is None else _query(asked, before=str(older)),
            newest=None if before is None else _query(asked),
        )


def make_audit_pages(work: AuditPages) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get("/audit")
    async def audit_page(
        request: Request,
        session: Annotated[Session, needs(Permission.AUDIT_READ, Action.AUDIT_READ)],
        before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    ) -> Response:
        return await work.page(request, session, before)

    @routes.post("/audit/verify")
    async def verify(
        request: Request, session: Annotated[Session, needs(Permission.AUDIT_READ, Action.AUDIT_READ, page="verify")]
    ) -> Response:
        await read_officers_form(request, session)
        await work.look()
        return RedirectResponse("/audit#verified", 303)

    return routes


def entry_line(line: Line, language: Language) -> EntryLine:
    """A row in words; of one that is not genuine its number alone."""
    entry, number = line.entry, line.row.number
    if entry is None:
        return EntryLine(number, "", "", "", "", "bad", "", "", [], genuine=False)
    return EntryLine(
        number=number,
        at=language.time(entry.at),
        instant=entry.at.isoformat(),
        actor=entry.actor,
        action=action_text(entry.action, language),
        tone="bad" if entry.action in BAD else "care" if entry.action in CARE else "none",
        subject=entry.subject,
        packet=f"/packets/{entry.subject}" if _is_packet(entry) else "",
        facts=[(_fact_name(name, language), _fact(name, value, language)) for name, value in entry.facts.items()],
        genuine=True,
    )


def _is_packet(entry: AuditEntry) -> bool:
    """A keyed hash of an application has a packet's form; what was done, or asked for, tells them apart."""
    asked = str(entry.facts.get("asked", entry.action))
    return asked.startswith("packet.") and DIGEST.fullmatch(entry.subject) is not None


def action_text(action: str, language: Language) -> str:
    """An action in words; of a newer version's its name."""
    key = f"audit.action.{action}"
    return language(key) if language.has(key) else str(action)


def _fact_name(name: str, language: Language) -> str:
    key = f"audit.fact.{name}"
    return language(key) if language.has(key) else name


def _fact(name: str, value: bool | int | str, language: Language) -> str:
    if isinstance(value, bool):
        return language("audit.yes" if value else "audit.no")
    if isinstance(value, int):
        return str(value)
    if name == "asked":
        return action_text(value, language)
    if name == "roles":
        return ", ".join(
            language(f"role.{role}") if language.has(f"role.{role}") else role for role in value.split("/")
        )
    return value


def _query(asked: Mapping[str, str], **more: str) -> str:
    return urlencode({name: value for name, value in {**asked, **more}.items() if value})
