"""How the desk's pages leave: rendered in the officer's language, with the headers that keep them private and free of foreign code."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.auth import Session
from server.messages import LANGUAGES, Language, Messages
from server.roles import Permission

PAGES = Path(__file__).parent / "pages"
LANGUAGE_COOKIE = "__Host-desk-language"
LANGUAGE_KEPT_S = 365 * 86400
ACCOUNT = "/account"
PACKET_PAGE = re.compile(r"/packets/[0-9a-f]{64}")

# What of the list's address stays when the language changes.
KEPT = {
    "behind": r"[0-9]{1,17}-[1-9][0-9]{0,17}",
    "booth": r"[\w.\-]{1,128}",
    "from": r"[0-9-]{10}",
    "to": r"[0-9-]{10}",
    "state": r"[a-z]{1,16}",
    "older": r"[0-9]{1,2}[hd]",
    "centre": r"[\w.\-]{1,128}",
    "rule": r"[a-z_.]{1,64}",
    "result": r"[a-z_]{1,32}",
    "pad": r"1",
    "released": r"1",
    "site": r"[\w.\-]{1,64}",
    "actor": r"[a-z0-9\-]{1,64}",
    "action": r"[a-z_.]{1,64}",
    "subject": r"[A-Za-z0-9._:\-]{1,128}",
}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Strict-Transport-Security": "max-age=31536000",
}


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the desk, as the navigation names it (`section.<key>`), for those who may see it."""

    path: str
    key: str
    permission: Permission


# In the order of the navigation; the first one that somebody may see is his first page.
SECTIONS = (
    Section("/", "queue", Permission.PACKETS_READ),
    Section("/counter", "counter", Permission.APPLICATIONS),
    Section("/handover", "handover", Permission.HANDOVER_READ),
    Section("/fleet", "fleet", Permission.FLEET_READ),
    Section("/statistics", "statistics", Permission.STATISTICS),
    Section("/audit", "audit", Permission.AUDIT_READ),
    Section("/users", "users", Permission.USERS),
)


def home_of(session: Session) -> str:
    """The first page of a person."""
    return next((section.path for section in SECTIONS if session.may(section.permission)), ACCOUNT)


class SafeHeaders:
    """ASGI middleware: the headers above on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request with the headers added."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in self._headers}
                message["headers"] = [h for h in message["headers"] if h[0].lower() not in ours] + self._headers
            await send(message)

        await self._app(scope, receive, with_headers)


class Pages:
    """Renders pages in the language of the request."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._environment = _environment()

    def language(self, request: Request) -> Language:
        """The language of a request."""
        return self._messages.language(
            request.query_params.get("lang"),
            request.cookies.get(LANGUAGE_COOKIE),
            request.headers.get("accept-language"),
        )

    def page(
        self, request: Request, name: str, status: int = 200, *, session: Session | None = None, **values: Any
    ) -> HTMLResponse:
        """A page; keeps a language that was chosen just now."""
        language = self.language(request)
        html = self._environment.get_template(name).render(
            t=language,
            languages=LANGUAGES,
            language_query=lambda code: urlencode({**_kept_query(request), "lang": code}),
            session=session,
            home="/login" if session is None else home_of(session),
            sections=[one for one in SECTIONS if session is not None and session.may(one.permission)],
            here=request.url.path,
            **values,
        )
        answer = HTMLResponse(html, status, {"Content-Language": language.code, "Vary": "Accept-Language, Cookie"})
        if request.query_params.get("lang") == language.code:
            set_cookie(answer, LANGUAGE_COOKIE, language.code, max_age=LANGUAGE_KEPT_S)
        return answer


def set_cookie(answer: Response, name: str, value: str, max_age: int | None = None) -> None:
    """A cookie that scripts and other sites never see."""
    answer.set_cookie(name, value, max_age=max_age, path="/", secure=True, httponly=True, samesite="strict")


def _kept_query(request: Request) -> dict[str, str]:
    """What a change of language keeps of the address: the place in the list and where a login leads; nothing unchecked."""
    asked, wanted = request.query_params, next_page(request.query_params.get("next"))
    kept = {name: asked[name] for name, form in KEPT.items() if re.fullmatch(form, asked.get(name, ""))}
    return kept if wanted == "/" else {**kept, "next": wanted}


def next_page(wanted: str | None) -> str:
    """Where to go after login: a packet's page of this desk, or the first page of the person (told by "/")."""
    return wanted if wanted and PACKET_PAGE.fullmatch(wanted) else "/"


@functools.cache
def _environment() -> Environment:
    """The templates; each is compiled once in a process, whatever number of desks it holds."""
    return Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
