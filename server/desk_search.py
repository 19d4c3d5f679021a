"""The desk's list of packets: newest first, by booth and day of arrival, or by one word.

    GET  /          the newest, or those of a booth and of days; page by page
    POST /search    by a word: the beginning of a digest, a packet id, the reference on a slip, an application's number

Rules: a word may be an application's number, so it is sent in a form and stands in no address; booth and days may. A search by a word has one page: who
gets too many writes more of it. Days are those of UTC, as all times of the desk, and the last one is within. What cannot be read is told beside
the field, and nothing is shown as if it had been found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from server import views
from server.application_rows import Registry
from server.applications import Outcome
from server.auth import Session
from server.decisions import HandOver
from server.desk_session import needs, read_officers_form
from server.layout import Pages
from server.opening import Opener
from server.packet_counts import count_packets
from server.packet_search import Matches, Place, Range, find_packets, page_of, read_place, read_term
from server.roles import Permission
from server.store import Store, StoredPacket

MAX_WORD = 200
MAX_BOOTH = 128  # of the column
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(9998, 12, 31)


@dataclass(frozen=True)
class ListRooms:
    """What the list works with."""

    store: Store
    opener: Opener
    registry: Registry
    hand_over: HandOver | None
    pages: Pages
    now: Callable[[], datetime]
    length: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What stands in the form, and what it means; `wrong` is the field that cannot be read."""

    word: str
    booth: str
    first: str
    last: str
    within: Range
    wrong: str | None = None

    def __bool__(self) -> bool:
        return bool(self.word or self.booth or self.first or self.last)

    def query(self, **more: str) -> str:
        """The fields that may stand in an address."""
        told = {"booth": self.booth, "from": self.first, "to": self.last, **more}
        return urlencode({name: value for name, value in told.items() if value})


def read_wanted(form: Mapping[str, str]) -> Wanted:
    """The fields of a form or of an address."""
    word, booth = form.get("q", "").strip()[:MAX_WORD], form.get("booth", "").strip()[:MAX_BOOTH]
    booth = "".join(
        filter(str.isprintable, booth)
    )  # no booth's name has others, and PostgreSQL takes no text with a zero in it
    first, last = form.get("from", "").strip()[:MAX_BOOTH], form.get("to", "").strip()[:MAX_BOOTH]
    since, until = _midnight(first), _midnight(last)
    wrong = "from" if first and since is None else "to" if last and until is None else None
    if since is not None and until is not None and until < since:
        wrong = "to"
    if word and read_term(word) is None:
        wrong = "q"
    within = Range(booth or None, since, None if until is None else until + timedelta(days=1))
    return Wanted(word, booth, first, last, within, wrong)


def make_list_pages(rooms: ListRooms) -> APIRouter:
    """The pages."""
    routes = APIRouter()

    @routes.get("/")
    async def list_page(
        request: Request,
        session: Annotated[Session, needs(Permission.PACKETS_READ)],
        before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
        behind: Annotated[str | None, Query(max_length=40)] = None,
    ) -> Response:
        wanted = read_wanted({name: value for name, value in request.query_params.items() if name != "q"})
        if not wanted:
            rows = await rooms.store.newest(rooms.length + 1, before)
            found = Matches(rows[: rooms.length], len(rows) > rooms.length)
            older = urlencode({"before": found.rows[-1].serial}) if found.more else None
            return await _page(request, session, wanted, found, older, first_page=before is None)
        if wanted.wrong:
            return await _page(request, session, wanted, Matches((), more=False))
        place = None if behind is None else read_place(behind)
        found = await page_of(rooms.store, wanted.within, rooms.length, place)
        older = wanted.query(behind=str(_place(found.rows[-1]))) if found.more else None
        return await _page(request, session, wanted, found, older, first_page=place is None)

    @routes.get("/search", dependencies=[needs(Permission.PACKETS_READ)])
    async def no_search(request: Request) -> Response:
        """Where a change of language leads on the page of a search, which has no address."""
        return RedirectResponse(f"/?{request.url.query}" if request.url.query else "/", 303)

    @routes.post("/search")
    async def search(request: Request, session: Annotated[Session, needs(Permission.PACKETS_READ)]) -> Response:
        wanted = read_wanted(await read_officers_form(request, session))
        if not wanted.word:
            return RedirectResponse(f"/?{wanted.query()}" if wanted else "/", 303)
        term, found = read_term(wanted.word), Matches((), more=False)
        if term is not None and wanted.wrong is None:
            found = await find_packets(rooms.store, term, wanted.within, rooms.length)
        return await _page(request, session, wanted, found)

    async def _page(
        request: Request,
        session: Session,
        wanted: Wanted,
        found: Matches,
        older: str | None = None,
        *,
        first_page: bool = True,
    ) -> Response:
        language, now = rooms.pages.language(request), rooms.now()
        summaries = await asyncio.gather(*(rooms.opener.summary(row) for row in found.rows))
        outcomes = await _outcomes(found.rows)
        return rooms.pages.page(
            request,
            "packets.html",
            400 if wanted.wrong else 200,
            session=session,
            wanted=wanted,
            lines=[
                views.list_line(row, summary, outcomes.get(row.sha256), now, language)
                for row, summary in zip(found.rows, summaries, strict=True)
            ],
            count=await count_packets(rooms.store),
            more=found.more,
            older=older,
            newest=None if first_page else wanted.query(),
            hands_over=rooms.hand_over is not None,
            verdict_key=views.verdict_key,
            verdict_tone=views.verdict_tone,
        )

    async def _outcomes(rows: Sequence[StoredPacket]) -> dict[str, Outcome]:
        digests = [row.sha256 for row in rows]
        outcomes = await rooms.registry.outcomes(digests)
        if rooms.hand_over is None:
            return outcomes
        return outcomes | dict.fromkeys(await rooms.hand_over.decided(digests), Outcome.ACCEPTED)

    return routes


def _place(row: StoredPacket) -> Place:
    return Place(row.received_at, row.serial)


def _midnight(day: str) -> datetime | None:
    """The beginning of a day; None when it is none."""
    try:
        read = date.fromisoformat(day)
    except ValueError:
        return None
    return datetime(read.year, read.month, read.day, tzinfo=UTC) if FIRST_DAY <= read <= LAST_DAY else None
