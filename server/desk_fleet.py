"""The fleet at the desk: sites and booths with their state, a page for each booth, names, assignments, enrolment tokens.

Rules: nothing on these pages is of a person or a visit, so looking at them is not an action of the audit log; every change is. What a booth tells is shown as it
told it, escaped as everything is. A token is shown once, in the answer to the form that made it, and stands in no address, log or row.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from server.alert_rows import Alert, read_open, read_past
from server.audit import Action
from server.auth import Session
from server.authority_records import TOKEN_VALID, open_records
from server.desk_session import Noted, audit_of, needs, note_failure, read_officers_form
from server.errors import ServerError
from server.fleet_errors import FleetEntryError, FleetError, TokensUnavailableError
from server.fleet_rows import SEEN, LastBeat, read_days, read_last_beat, read_last_beats
from server.fleet_sites import ID, Booth, Site, Sites
from server.fleet_views import LAMP_DAYS, BoothLine, FleetWords
from server.layout import Pages
from server.messages import LANGUAGES, Language
from server.roles import Permission
from server.store import Store

# So many booths are shown without choosing a site.
SHOWN = 100
MOST_ALERTS, PAST_ALERTS = 50, 20
HOURS = (1, 4, 24, 72)

Reader = Annotated[Session, needs(Permission.FLEET_READ)]
OrdersCard = Callable[[str, Language, Session], Awaitable[Any]]


async def no_orders(booth: str, language: Language, session: Session) -> None:
    """No orders are given at this desk."""


@dataclass(frozen=True)
class FleetRooms:
    """What the pages work with."""

    store: Store
    pages: Pages
    now: Callable[[], datetime]
    issuer_dir: Path | None = None
    orders: OrdersCard = no_orders


@dataclass(frozen=True, slots=True)
class Group:
    """A site with its booths, or the booths without one."""

    site: str | None
    name: str
    booths: Sequence[BoothLine]
    counts: dict[str, int]
    alerts: int
    tone: str


class FleetPages:
    """The pages' work."""

    def __init__(self, rooms: FleetRooms) -> None:
        self._rooms = rooms
        self.sites = Sites(rooms.store, rooms.now)

    async def overview(self, request: Request, session: Session, error: ServerError | None = None) -> Response:
        """Sites, booths, and what is to be seen to; with what went wrong about a form."""
        if error is not None:
            await note_failure(request, error.code)
        rooms = self._rooms
        words = FleetWords(rooms.pages.language(request), rooms.now())
        known_sites, booths = await self.sites.sites(), await self.sites.booths()
        beats, alerts = await read_last_beats(rooms.store), await read_open(rooms.store)
        wanted = request.query_params.get("site")
        groups = await asyncio.to_thread(_groups, words, known_sites, booths, beats, alerts)
        states = defaultdict[str, int](int)
        for group in groups:
            for key, count in group.counts.items():
                states[key] += count
        by_booth = {booth.booth: booth for booth in booths}
        names = {one.site: one.name for one in known_sites}
        chosen = [group for group in groups if (group.site or "") == wanted] if wanted is not None else groups
        return rooms.pages.page(
            request,
            "fleet.html",
            error.status if error else 200,
            session=session,
            error=error,
            states=dict(states),
            total=len(booths) - states["retired"],
            alerts=[
                words.alert(alert, its.label or alert.booth, names.get(its.site or "", ""))
                for alert in alerts[:MOST_ALERTS]
                if (its := by_booth.get(alert.booth)) is not None
            ],
            more_alerts=max(0, len(alerts) - MOST_ALERTS),
            grave=sum(alert.level == "grave" for alert in alerts),
            warn=sum(alert.level == "warn" for alert in alerts),
            groups=chosen,
            chosen=wanted is not None,
            unfolded=wanted is not None or len(booths) <= SHOWN,
            sites=known_sites,
        )

    async def booth(
        self, request: Request, name: str, session: Session, error: ServerError | None = None, **more: Any
    ) -> Response:
        """One booth, with what came of a form. Raises `BoothUnknownError`."""
        if error is not None:
            await note_failure(request, error.code)
        rooms = self._rooms
        booth = await self.sites.booth(name)
        language, today = rooms.pages.language(request), rooms.now().date()
        words = FleetWords(language, rooms.now())
        last, alerts = await read_last_beat(rooms.store, name), await read_open(rooms.store, name)
        beat = None if last is None else last.beat
        since = today - timedelta(days=LAMP_DAYS - 1)
        seen = await read_days(rooms.store, since, today, kinds=[SEEN], booth=name)
        known_sites = await self.sites.sites()
        return rooms.pages.page(
            request,
            "booth.html",
            error.status if error else 200,
            session=session,
            booth=booth,
            site=next((one.name for one in known_sites if one.site == booth.site), ""),
            sites=known_sites,
            state=words.state(booth, last, alerts),
            alerts=[words.alert(alert) for alert in alerts],
            past=[words.alert(alert) for alert in await read_past(rooms.store, name, PAST_ALERTS)],
            facts=words.facts(last) if last is not None else [],
            devices=words.devices(beat) if beat is not None else [],
            tests=beat.tests if beat is not None else None,
            poor=words.poor,
            lamps=words.lamps(seen, today),
            orders=await rooms.orders(name, language, session),
            hours=HOURS,
            tokens=rooms.issuer_dir is not None,
            error=error,
            **{"token": None, "token_until": None, "withdrawn": False, **more},
        )

    async def make_token(self, booth: str, hours: str) -> tuple[str, datetime]:
        """A token for a booth, and until when it is good. Raises `TokensUnavailableError`, `BoothUnknownError`, `FleetEntryError`."""
        folder = self._rooms.issuer_dir
        if folder is None:
            raise TokensUnavailableError("This desk does not reach the authority: make the token with intake ca token.")
        if hours not in map(str, HOURS):
            raise FleetEntryError("A token is valid for one of the hours that are offered.")
        await self.sites.booth(booth)
        valid = timedelta(hours=int(hours))

        def make() -> str:
            return open_records(folder, self._rooms.now).make_token(booth, valid)

        try:
            return await asyncio.to_thread(make), self._rooms.now() + valid
        except ServerError as error:
            raise TokensUnavailableError(
                "The authority's records cannot be written from this desk just now."
            ) from error

    async def withdraw_tokens(self, booth: str) -> None:
        """Make a booth's unused tokens useless. Raises `TokensUnavailableError`."""
        folder = self._rooms.issuer_dir
        if folder is None:
            raise TokensUnavailableError("This desk does not reach the authority: use intake ca token --withdraw.")
        try:
            await asyncio.to_thread(lambda: open_records(folder, self._rooms.now).withdraw_tokens(booth))
        except ServerError as error:
            raise TokensUnavailableError(
                "The authority's records cannot be written from this desk just now."
            ) from error


def _groups(
    words: FleetWords,
    known: Sequence[Site],
    booths: Sequence[Booth],
    beats: dict[str, LastBeat],
    alerts: Sequence[Alert],
) -> list[Group]:
    """Booths by site; those without one last, when there are any."""
    its_alerts = defaultdict[str, list[Alert]](list)
    for alert in alerts:
        its_alerts[alert.booth].append(alert)
    at: dict[str | None, list[BoothLine]] = {one.site: [] for one in known}
    graves = defaultdict[str | None, int](int)
    for booth in booths:
        line = words.line(booth, beats.get(booth.booth), its_alerts[booth.booth])
        at.setdefault(booth.site, []).append(line)
        graves[booth.site] += any(alert.level == "grave" for alert in its_alerts[booth.booth])
    names = {one.site: one.name for one in known}
    groups = []
    for site, lines in at.items():
        counts = defaultdict[str, int](int)
        for line in lines:
            counts[line.state.key] += 1
        name = words.say("fleet.no_site") if site is None else names.get(site, site)
        total = sum(line.alerts for line in lines)
        lines.sort(key=lambda line: (-line.alerts, line.booth))
        groups.append(Group(site, name, lines, dict(counts), total, "bad" if graves[site] else "care"))
    return sorted(groups, key=lambda group: (group.site is None, -group.alerts, group.name))


def chosen_language(request: Request) -> str:
    """What a redirect keeps of the address."""
    asked = request.query_params.get("lang")
    return f"?lang={asked}" if asked in LANGUAGES else ""


async def _note(request: Request, session: Session, action: Action, named: str, act: str) -> None:
    """The entry of a form that names what it changes; what can be no name is not written down."""
    subject = named.strip() if ID.fullmatch(named.strip()) else "unreadable"
    number = await audit_of(request).note(session.officer, action, subject, act=act)
    request.state.noted = Noted(session.officer, action, subject, number)


def make_fleet_pages(fleet: FleetPages) -> APIRouter:
    """The addresses."""
    api = APIRouter(prefix="/fleet")
    sites = fleet.sites

    def back_to(path: str) -> RedirectResponse:
        return RedirectResponse(path, 303)

    @api.get("")
    async def overview(request: Request, session: Reader) -> Response:
        return await fleet.overview(request, session)

    # A page that a form answered keeps the form's address; a change of its language asks for that address.
    @api.get("/{form}")
    @api.get("/sites/{site}/{form}")
    async def after_form(request: Request, form: str, session: Reader) -> Response:  # noqa: ARG001 (asks for the session)
        return back_to(f"/fleet{chosen_language(request)}")

    @api.get("/booths/{booth}/{form}")
    async def after_booth_form(request: Request, booth: str, form: str, session: Reader) -> Response:  # noqa: ARG001 (asks for the session)
        return back_to(f"/fleet/booths/{quote(booth)}{chosen_language(request)}")

    @api.post("/sites")
    async def put_site(
        request: Request, session: Annotated[Session, needs(Permission.FLEET_ACT, Action.SITE_CHANGED, later=True)]
    ) -> Response:
        form = await read_officers_form(request, session)
        await _note(request, session, Action.SITE_CHANGED, form.get("site", ""), "put")
        try:
            await sites.put_site(form.get("site", ""), form.get("name", ""))
        except FleetError as error:
            return await fleet.overview(request, session, error)
        return back_to("/fleet")

    @api.post("/sites/{site}/remove")
    async def remove_site(
        request: Request,
        site: str,
        session: Annotated[Session, needs(Permission.FLEET_ACT, Action.SITE_CHANGED, act="remove")],
    ) -> Response:
        await read_officers_form(request, session)
        try:
            await sites.remove_site(site)
        except FleetError as error:
            return await fleet.overview(request, session, error)
        return back_to("/fleet")

    @api.post("/booths")
    async def add_booth(
        request: Request, session: Annotated[Session, needs(Permission.FLEET_ACT, Action.BOOTH_CHANGED, later=True)]
    ) -> Response:
        form = await read_officers_form(request, session)
        name = form.get("booth", "").strip()
        await _note(request, session, Action.BOOTH_CHANGED, name, "add")
        try:
            await sites.add_booth(name, form.get("label", ""), form.get("site", ""))
        except FleetError as error:
            return await fleet.overview(request, session, error)
        return back_to(f"/fleet/booths/{name}")

    @api.get("/booths/{booth}")
    async def booth_page(request: Request, booth: str, session: Reader) -> Response:
        return await fleet.booth(request, booth, session)

    @api.post("/booths/{booth}")
    async def change_booth(
        request: Request,
        booth: str,
        session: Annotated[Session, needs(Permission.FLEET_ACT, Action.BOOTH_CHANGED, act="change")],
    ) -> Response:
        form = await read_officers_form(request, session)
        await sites.booth(booth)
        try:
            await sites.change_booth(booth, form.get("label", ""), form.get("site", ""))
        except FleetError as error:
            return await fleet.booth(request, booth, session, error)
        return back_to(f"/fleet/booths/{booth}")

    @api.post("/booths/{booth}/retire")
    async def retire(
        request: Request,
        booth: str,
        session: Annotated[Session, needs(Permission.FLEET_ACT, Action.BOOTH_CHANGED, act="retire")],
    ) -> Response:
        await read_officers_form(request, session)
        await sites.retire(booth)
        return back_to(f"/fleet/booths/{booth}")

    @api.post("/booths/{booth}/return")
    async def bring_back(
        request: Request,
        booth: str,
        session: Annotated[Session, needs(Permission.FLEET_ACT, Action.BOOTH_CHANGED, act="return")],
    ) -> Response:
        await read_officers_form(request, session)
        await sites.retire(booth, back=True)
        return back_to(f"/fleet/booths/{booth}")

    @api.post("/booths/{booth}/token")
    async def make_token(
        request: Request,
        booth: str,
        session: Annotated[Session, needs(Permission.FLEET_ACT, Action.TOKEN_MADE, act="make")],
    ) -> Response:
        form = await read_officers_form(request, session)
        await sites.booth(booth)
        try:
            token, until = await fleet.make_token(booth, form.get("hours", str(int(TOKEN_VALID / timedelta(hours=1)))))
        except FleetError as error:
            return await fleet.booth(request, booth, session, error)
        return await fleet.booth(request, booth, session, token=token, token_until=until)

    @api.post("/booths/{booth}/withdraw")
    async def withdraw(
        request: Request,
        booth: str,
        session: Annotated[Session, needs(Permission.FLEET_ACT, Action.TOKEN_MADE, act="withdraw")],
    ) -> Response:
        await read_officers_form(request, session)
        await sites.booth(booth)
        try:
            await fleet.withdraw_tokens(booth)
        except FleetError as error:
            return await fleet.booth(request, booth, session, error)
        return await fleet.booth(request, booth, session, withdrawn=True)

    return api
