"""The counter: an application is registered, its slip printed, its state looked up by its number. Of any centre, and without any picture.

    GET  /counter             the two forms
    POST /counter/register    a new application; its number typed, or made by the centre's rule
    POST /counter/find        an application by its number, typed or read from its slip
    POST /counter/slip        its slip, as a page to print

Rules: a number stands in no address, so that what shows one is the answer to a form; a page that is loaded anew asks the same again. Every form of registering has a
mark of its own: sent twice, it registers once and shows the same application. What is registered and looked up is in the audit log before, under a keyed hash of
the number. A number that is known is never registered anew: its application is shown as it is. A slip can be printed by any centre whose key is here, for
an application of any centre: what counts on it is who vouches for the paper.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from babel.dates import format_date
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from crypto.application import application_digest, grouped_number, parse_number
from crypto.desk_secret import DeskSecret
from crypto.errors import ApplicationNumberError, CryptoError, SlipMalformedError
from crypto.slip import claimed_number, is_slip
from crypto.trust import common_name
from server.application_errors import ApplicationUnknownError
from server.applications import NewApplication
from server.audit import Action
from server.auth import Session
from server.counter_card import application_card
from server.counter_errors import NumbersTakenError, SlipUnavailableError
from server.counter_rows import CounterRecord, look_up, register
from server.desk_session import Noted, audit_of, needs, note_failure, read_officers_form
from server.layout import Pages, set_cookie
from server.messages import Messages
from server.number_rules import DEFAULT_RULE, EVERY_OTHER, read_rule
from server.roles import Permission
from server.slips import MAX_DAYS, CentreKeys, slip_day, slip_drawing, slip_text
from server.store import Store

CENTRE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # as an import has it
CENTRE_COOKIE = "__Host-desk-centre"
CENTRE_KEPT_S = 365 * 86_400
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
KEPT_FORMS = 1_000  # marks of forms that were sent, and what they registered
TAKEN = "application.known"  # in the audit log: the number was registered before
TRIES = 8  # of making a number that nobody has
Clerk = Annotated[Session, needs(Permission.APPLICATIONS)]
Asking = Annotated[Session, needs(Permission.APPLICATIONS, Action.APPLICATION_SEEN, later=True)]
Registering = Annotated[Session, needs(Permission.APPLICATIONS, Action.APPLICATION_REGISTERED, later=True)]
Printing = Annotated[Session, needs(Permission.APPLICATIONS, Action.SLIP_PRINTED, later=True)]


@dataclass(frozen=True)
class CounterRooms:
    """What the counter works with."""

    store: Store
    secret: DeskSecret
    keys: CentreKeys
    rules: Mapping[str, str]
    days: int  # that an application is open when no last day is named
    pages: Pages
    messages: Messages
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Entered:
    """What stands in the forms; `wrong` names the field that cannot be taken, `problem` why."""

    centre: str
    last: str
    mark: str
    number: str = field(default="", repr=False)
    word: str = field(default="", repr=False)
    wrong: str = ""
    problem: str = ""


class CounterPages:
    """The pages' work."""

    def __init__(self, rooms: CounterRooms) -> None:
        self.rooms = rooms
        self._sent: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._one_by_one = asyncio.Lock()  # a form that is sent twice at once

    async def registered(
        self, request: Request, session: Session, form: Mapping[str, str]
    ) -> tuple[str, str] | Entered:
        """Registers what a form says: the number and what is told of it, or what is wrong with the form."""
        async with self._one_by_one:
            return await self._registered(request, session, form)

    async def _registered(
        self, request: Request, session: Session, form: Mapping[str, str]
    ) -> tuple[str, str] | Entered:
        mark = (session.officer, form.get("mark", "")[:64])
        if mark[1] and mark in self._sent:
            return self._sent[mark], "registered"
        read = self._read(form)
        if isinstance(read, Entered):
            return read
        centre, last, number = read
        free = True
        if number:
            new = NewApplication(number, centre, last)
            await self._note(request, session, Action.APPLICATION_REGISTERED, number, typed=True)
            free = await register(self.rooms.store, new, self.rooms.now())
            if not free:
                await note_failure(request, TAKEN)
        else:
            number = await self._made(request, session, centre, last)
        if free:
            self._sent[mark] = number
            while len(self._sent) > KEPT_FORMS:
                self._sent.popitem(last=False)
        return number, "registered" if free else "known"

    async def found(self, request: Request, session: Session, number: str) -> CounterRecord | None:
        """An application, once the audit log has that it is looked at."""
        await self._note(request, session, Action.APPLICATION_SEEN, number)
        return await look_up(self.rooms.store, number)

    async def slip(self, request: Request, session: Session, number: str, centre: str) -> tuple[Markup, date]:
        """The slip as SVG and its last day. Raises `ApplicationUnknownError`, `SlipOverError`, `SlipUnavailableError`."""
        await self._note(
            request, session, Action.SLIP_PRINTED, number, centre=centre if CENTRE.fullmatch(centre) else ""
        )
        found = await look_up(self.rooms.store, number)
        if found is None:
            raise ApplicationUnknownError("There is no such application.")
        return await asyncio.to_thread(self._drawn, found.application.number, found.application.expires, centre)

    def blank(self, request: Request) -> Entered:
        """The forms as a page begins with them."""
        last = self.rooms.now().astimezone(UTC).date() + timedelta(days=self.rooms.days)
        return Entered(self.centre(request), last.isoformat(), secrets.token_urlsafe(16))

    def centre(self, request: Request) -> str:
        """The centre that this browser registered or printed for before, where it is one; else the first."""
        kept, names = request.cookies.get(CENTRE_COOKIE, ""), self.rooms.keys.names
        if names:
            return kept if kept in names else names[0]
        return kept if CENTRE.fullmatch(kept) else ""

    def _read(self, form: Mapping[str, str]) -> tuple[str, date, str] | Entered:
        """Centre, last day and number ("" where one is to be made), or what is wrong."""
        centre, last, typed = (form.get(name, "").strip()[:128] for name in ("centre", "last", "number"))
        entered = Entered(centre, last, form.get("mark", "")[:64], number=typed)
        names, today = self.rooms.keys.names, self.rooms.now().astimezone(UTC).date()
        if not CENTRE.fullmatch(centre) or (names and centre not in names):
            return replace(entered, wrong="centre", problem="counter.wrong.centre")
        day = _day(last)
        if day is None or not today <= day <= today + timedelta(days=MAX_DAYS):
            return replace(entered, wrong="last", problem="counter.wrong.last")
        try:
            return centre, day, parse_number(typed) if typed else ""
        except ApplicationNumberError as error:
            return replace(entered, wrong="number", problem=f"counter.wrong.{error.reason}")

    async def _made(self, request: Request, session: Session, centre: str, last: date) -> str:
        """A number of the centre's rule that is registered now. Raises `NumbersTakenError`."""
        rules = self.rooms.rules
        rule = read_rule(rules.get(centre, rules.get(EVERY_OTHER, DEFAULT_RULE)))
        today = self.rooms.now().astimezone(UTC).date()
        for _ in range(TRIES):
            number = rule.make(today, secrets.choice)
            await self._note(request, session, Action.APPLICATION_REGISTERED, number, typed=False)
            if await register(self.rooms.store, NewApplication(number, centre, last), self.rooms.now()):
                return number
            await note_failure(request, TAKEN)
        raise NumbersTakenError(
            f"The rule for numbers of {centre} makes none that is free: give it more random characters."
        )

    async def _note(self, request: Request, session: Session, action: Action, number: str, **facts: str | int) -> None:
        subject = self.rooms.secret.mac("application", application_digest(number)).hex()
        number_of_entry = await audit_of(request).note(session.officer, action, subject, **facts)
        request.state.noted = Noted(session.officer, action, subject, number_of_entry)

    def _drawn(self, number: str, expires: date, centre: str) -> tuple[Markup, date]:
        """Blocks: files, and drawing."""
        signer = self.rooms.keys.signer(centre)
        today = self.rooms.now().astimezone(UTC).date()
        last = slip_day(expires, today, signer.certificate.not_valid_after_utc.date())
        try:
            text = slip_text(number, last, signer)
        except CryptoError as error:
            raise SlipUnavailableError(f"The key of the centre {centre} does not sign just now.") from error
        svg = slip_drawing(number, last, common_name(signer.certificate), text, self.rooms.messages)
        return Markup(svg), last  # noqa: S704 (drawn here, every text in it escaped)


def read_word(word: str) -> str:
    """The number that was typed, or that the scanned code of a slip claims. Raises `ApplicationNumberError`, `SlipMalformedError`."""
    plain = word.strip()
    return claimed_number(plain) if is_slip(plain) else parse_number(plain)


def make_counter_pages(rooms: CounterRooms) -> APIRouter:
    """The pages."""
    counter, routes, pages = CounterPages(rooms), APIRouter(), rooms.pages

    def page(
        request: Request,
        session: Session,
        entered: Entered,
        found: CounterRecord | None = None,
        told: str = "",
    ) -> Response:
        status = 400 if entered.wrong else 404 if told == "unknown" else 200
        today = rooms.now().astimezone(UTC).date()
        card = None if found is None else application_card(found, today, pages.language(request))
        return pages.page(
            request,
            "counter.html",
            status,
            session=session,
            entered=entered,
            card=card,
            told=told,
            centres=rooms.keys.names,
            first=today.isoformat(),
            furthest=(today + timedelta(days=MAX_DAYS)).isoformat(),
        )

    @routes.get("/counter")
    async def counter_page(request: Request, session: Clerk) -> Response:
        return page(request, session, counter.blank(request))

    @routes.get("/counter/{form}")
    async def no_form(request: Request, form: str, session: Clerk) -> Response:  # noqa: ARG001 (asks for the session)
        """Where a change of language leads on the answer to a form, which has no address."""
        return RedirectResponse(f"/counter?{request.url.query}" if request.url.query else "/counter", 303)

    @routes.post("/counter/register")
    async def register_application(request: Request, session: Registering) -> Response:
        form = await read_officers_form(request, session)
        done = await counter.registered(request, session, form)
        if isinstance(done, Entered):
            return page(request, session, done)
        number, told = done
        centre = form.get("centre", "").strip()[:64]
        entered = replace(counter.blank(request), centre=centre)
        answer = page(request, session, entered, await counter.found(request, session, number), told)
        if CENTRE.fullmatch(centre):
            set_cookie(answer, CENTRE_COOKIE, centre, max_age=CENTRE_KEPT_S)
        return answer

    @routes.post("/counter/find")
    async def find_application(request: Request, session: Asking) -> Response:
        form = await read_officers_form(request, session)
        word = form.get("word", "")
        try:
            number = read_word(word)
        except ApplicationNumberError as error:
            problem = f"counter.wrong.{error.reason}"
            return page(
                request, session, replace(counter.blank(request), word=word[:64], wrong="word", problem=problem)
            )
        except SlipMalformedError:
            return page(request, session, replace(counter.blank(request), wrong="word", problem="counter.wrong.slip"))
        found = await counter.found(request, session, number)
        if found is None:
            return page(request, session, replace(counter.blank(request), word=grouped_number(number)), told="unknown")
        return page(request, session, counter.blank(request), found, "found")

    @routes.post("/counter/slip")
    async def print_slip(request: Request, session: Printing) -> Response:
        form = await read_officers_form(request, session)
        centre = form.get("centre", "")[:64]
        try:
            number = parse_number(form.get("number", ""))
        except ApplicationNumberError as error:
            raise ApplicationUnknownError("There is no such application.") from error
        drawing, last = await counter.slip(request, session, number, centre)
        told = format_date(last, "long", locale=pages.language(request).form)
        answer = pages.page(request, "slip.html", session=session, drawing=drawing, last=told)
        set_cookie(answer, CENTRE_COOKIE, centre, max_age=CENTRE_KEPT_S)
        return answer

    return routes


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if DAY.fullmatch(text) else None
    except ValueError:
        return None
