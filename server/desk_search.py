"""The desk's queue of packets: what waits for a decision, oldest first; the other states, newest first; narrowed by filters, or found by one word.

    GET  /               the packets of a state and of the filters in the address; page by page
    POST /search         the form: filters become an address; a word (the beginning of a digest, a packet id, the reference on a slip, an application's number)
                         is answered at once and stands in no address
    POST /queue/next     opens the first packet of the same filters that nobody else looks at, behind the one that was open
    POST /packets/…/look an open packet's page says that somebody is still there (server/static/looks.js)

Rules: a line is made of the sealed summary that the desk keeps of a packet; one that was opened under other roots, revocations or keys than now, or never, is
opened for it. A search by a word has one page: who gets too many writes more of it. What an application's number finds is looked for among the terms of opened packets
and among the links that booths told. The list is one entry in the audit log, with the digests' hash, before it is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from server import views
from server.audit import Action
from server.auth import Session
from server.desk_api import find_packet
from server.desk_session import audit_of, needs, note_shown, read_officers_form
from server.desk_terms import DeskTerms
from server.layout import Pages
from server.looks import Looks
from server.messages import Language
from server.opening import Opener, Summary
from server.packet_counts import count_packets
from server.packet_search import Place, Term, find_packets, read_place, read_term
from server.queue_filters import AGES, RESULTS, TABS, Wanted, read_wanted
from server.queue_rows import OPEN_STATES, QueueState
from server.queue_search import (
    COUNTED,
    QueueLine,
    count_states,
    count_unread,
    find_by_term,
    lines_of,
    queue_page,
)
from server.roles import Permission
from server.store import Store, StoredPacket

RULE_NAMES = ("rule.", ".name")


@dataclass(frozen=True)
class ListRooms:
    """What the list works with."""

    store: Store
    opener: Opener
    pages: Pages
    terms: DeskTerms
    looks: Looks
    now: Callable[[], datetime]
    length: int


@dataclass(frozen=True, slots=True)
class Tab:
    """One state above the list."""

    key: str
    count: str
    query: str
    here: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What a page shows."""

    lines: Sequence[QueueLine]
    behind: Place | None = None
    cut: bool = False
    more: bool = False  # of a search by a word


@dataclass(frozen=True, slots=True)
class PacketPlace:
    """Where a packet's page stands in the queue that its reader came from."""

    query: str
    fields: Mapping[str, str]
    behind: str
    taken: bool  # somebody else looks at it
    open: bool  # something is still to be done about it


def make_list_pages(shown: QueueList) -> APIRouter:
    """The pages."""
    routes, rooms = APIRouter(), shown.rooms

    @routes.get("/")
    async def list_page(
        request: Request,
        session: Annotated[Session, needs(Permission.PACKETS_READ, Action.PACKETS_LISTED, later=True)],
        behind: Annotated[str | None, Query(max_length=40)] = None,
    ) -> Response:
        wanted = read_wanted({name: value for name, value in request.query_params.items() if name != "q"})
        place = None if behind is None else read_place(behind)
        found = Found(())
        if not wanted.wrong:
            page = await queue_page(rooms.store, wanted.narrowed(rooms.terms, rooms.now()), rooms.length, place)
            found = Found(page.lines, page.behind, page.cut)
        return await shown.page(request, session, wanted, found, first_page=place is None)

    @routes.get("/search", dependencies=[needs(Permission.PACKETS_READ)])
    async def no_search(request: Request) -> Response:
        """Where a change of language leads on the page of a search, which has no address."""
        return RedirectResponse(f"/?{request.url.query}" if request.url.query else "/", 303)

    @routes.post("/search")
    async def search(
        request: Request,
        session: Annotated[Session, needs(Permission.PACKETS_READ, Action.PACKETS_SEARCHED, later=True)],
    ) -> Response:
        wanted = read_wanted(await read_officers_form(request, session))
        if not wanted.word:
            query = wanted.query()
            return RedirectResponse(f"/?{query}" if query else "/", 303)
        term = read_term(wanted.word)
        found = Found(()) if term is None or wanted.wrong else await shown.by_word(term, wanted)
        return await shown.page(request, session, wanted, found, term=term)

    @routes.post("/queue/next")
    async def next_packet(
        request: Request, session: Annotated[Session, needs(Permission.PACKETS_DECIDE, Action.PACKET_TAKEN, later=True)]
    ) -> Response:
        """Take the next packet, and open it."""
        form = await read_officers_form(request, session)
        wanted = read_wanted({name: value for name, value in form.items() if name != "q"})
        query, sha256 = wanted.query(), None
        if not wanted.wrong:
            asked = wanted.narrowed(rooms.terms, rooms.now())
            behind = read_place(form.get("behind", ""))
            sha256 = await rooms.looks.take_next(asked, session.officer, behind, await shown.sealed_ones())
        if sha256 is None:
            return RedirectResponse(f"/?{wanted.query(done='1')}", 303)
        await audit_of(request).note(session.officer, Action.PACKET_TAKEN, sha256)
        return RedirectResponse(f"/packets/{sha256}?{query}" if query else f"/packets/{sha256}", 303)

    @routes.post("/packets/{sha256}/look", status_code=204)
    async def look(
        request: Request,
        sha256: str,
        session: Annotated[Session, needs(Permission.PACKETS_DECIDE, Action.PACKET_TAKEN, later=True)],
    ) -> Response:
        """Somebody has the packet's page open; whether he is the only one."""
        await read_officers_form(request, session)
        stored = await find_packet(rooms.store, sha256)
        await audit_of(request).note_once(session.csrf_token, session.officer, Action.PACKET_TAKEN, stored.sha256)
        await rooms.looks.take(stored.sha256, session.officer)
        return Response(status_code=204)

    return routes


class QueueList:
    """The list's work."""

    def __init__(self, rooms: ListRooms) -> None:
        self.rooms = rooms

    async def sealed_ones(self) -> Callable[[QueueLine], bool]:
        """Tells packets that this desk could not open: nobody can decide about them here, so nobody is led to them."""
        terms = self.rooms.terms
        judged = terms.judged(*await self.rooms.opener.judges())

        def is_sealed(line: QueueLine) -> bool:
            kept = terms.summary(line.stored.sha256, line.summary) if line.judged == judged else None
            return kept is not None and not kept.opened

        return is_sealed

    async def place(self, request: Request, stored: StoredPacket, session: Session) -> PacketPlace:
        """What the page of a packet knows of the queue."""
        wanted = read_wanted({name: value for name, value in request.query_params.items() if name != "q"})
        (line,) = await lines_of(self.rooms.store, [stored])
        taken = await self.rooms.looks.others([stored.sha256], session.officer)
        place, open_now = Place(stored.received_at, stored.serial), line.state in OPEN_STATES
        return PacketPlace(wanted.query(), wanted.fields(), str(place), bool(taken) and open_now, open_now)

    async def by_word(self, term: Term, wanted: Wanted) -> Found:
        """What a word finds, within booth and days; of any state."""
        store, length = self.rooms.store, self.rooms.length
        matches = await find_packets(store, term, wanted.within, length)
        rows = {row.serial: row for row in matches.rows}
        if term.application is not None:
            opened = await find_by_term(store, self.rooms.terms.application(term.application), length + 1)
            rows |= {row.serial: row for row in opened if wanted.within.holds(row)}
        newest = sorted(rows.values(), key=lambda row: (row.received_at, row.serial), reverse=True)
        return Found(await lines_of(store, newest[:length]), more=matches.more or len(newest) > length)

    async def page(
        self,
        request: Request,
        session: Session,
        wanted: Wanted,
        found: Found,
        *,
        first_page: bool = True,
        term: Term | None = None,
    ) -> Response:
        """The page."""
        rooms, digests = self.rooms, [line.stored.sha256 for line in found.lines]
        facts: dict[str, str | int] = {}
        if term is not None and term.application is not None:
            facts["application"] = audit_of(request).application(term.application)
        action = Action.PACKETS_LISTED if term is None else Action.PACKETS_SEARCHED
        await note_shown(request, session, action, digests, **facts)
        language, now = rooms.pages.language(request), rooms.now()
        summaries = await self._summaries(found.lines)
        taken = await rooms.looks.others(digests, session.officer)
        lines = [
            views.list_line(
                line.stored,
                summary,
                None if line.state is QueueState.WAITING else line.state,
                now,
                language,
                taken=line.stored.sha256 in taken,
            )
            for line, summary in zip(found.lines, summaries, strict=True)
        ]
        return rooms.pages.page(
            request,
            "packets.html",
            400 if wanted.wrong else 200,
            session=session,
            wanted=wanted,
            lines=lines,
            tabs=await self._tabs(wanted, language),
            rules=rule_choices(language),
            ages=tuple(AGES),
            results=RESULTS,
            count=await count_packets(rooms.store),
            unread=await count_unread(rooms.store),
            more=found.more,
            cut=found.cut,
            nothing_left=request.query_params.get("done") == "1",
            address=wanted.query(),
            behind=None if found.behind is None else wanted.query(behind=str(found.behind)),
            first=None if first_page else wanted.query(),
            verdict_key=views.verdict_key,
            verdict_tone=views.verdict_tone,
        )

    async def _summaries(self, lines: Sequence[QueueLine]) -> list[Summary]:
        """What is kept of each packet, as far as it was opened under what counts now; the others are opened."""
        rooms = self.rooms
        judged = rooms.terms.judged(*await rooms.opener.judges())

        async def summary(line: QueueLine) -> Summary:
            kept = None
            if line.judged == judged:
                kept = rooms.terms.summary(line.stored.sha256, line.summary)
            return kept or await rooms.opener.summary(line.stored)

        return list(await asyncio.gather(*map(summary, lines)))

    async def _tabs(self, wanted: Wanted, language: Language) -> list[Tab]:
        counts = {str(state): count for state, count in (await count_states(self.rooms.store)).items()}
        return [
            Tab(key, _counted(counts.get(key), language), wanted.query(state=key), key == wanted.tab) for key in TABS
        ]


def rule_choices(language: Language) -> list[tuple[str, str]]:
    """The rules that the desk has a name for, by name."""
    begin, end = RULE_NAMES
    ids = (key[len(begin) : -len(end)] for key in language.fallback if key.startswith(begin) and key.endswith(end))
    return sorted(((one, language(f"{begin}{one}{end}")) for one in ids), key=lambda pair: pair[1].casefold())


def _counted(count: int | None, language: Language) -> str:
    if count is None:
        return ""
    return (
        language.number(count, 0)
        if count <= COUNTED
        else language("queue.more_than", count=language.number(COUNTED, 0))
    )
