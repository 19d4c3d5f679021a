"""Who may see the technician's pages: the passphrase set at installation, then a session that ends by itself.

Rules:
  - Without a passphrase (booth/passphrase.py) the pages say how to set one and show nothing else; one that is set later counts at once.
  - Wrong passphrases make everybody wait, longer each time, over restarts too (booth/kept_tries.py): behind one screen all are one party. A try
    counts before it is compared, and tries are compared one after the other. A disk that takes no count does not keep the technician out who is to
    mend it: such tries count until the booth ends.
  - A session is a random token in a cookie (HttpOnly, SameSite=Strict) and is kept only as its digest. It ends `session_s` after the login, whatever
    is done in it, since the page asks by itself all the time; a new passphrase ends every session; the oldest makes room for a sixth.
  - Logging in and out are commands: a POST with the page's token, which no foreign page can read.
  - The cookie has no `Secure`: the pages are plain HTTP, and never leave this machine (booth/guard.py).

Nothing of a passphrase is logged, repeated or kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from starlette.requests import HTTPConnection

from booth.errors import PassphraseError
from booth.kept_tries import KeptTries
from booth.messages import CatalogueError
from booth.page_requests import limited_body, problem
from booth.passphrase import matches, read_passphrase_hash

COOKIE = "passbooth_technician"
SESSION_S = 30 * 60.0
MOST_SESSIONS = 5

log = logging.getLogger(__name__)

Lock = Literal["set", "unset", "unusable"]
Render = Callable[[str, str, dict[str, object]], str]  # template, language, its values


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a passphrase opened no session; `wait_s` when it was not even compared."""

    code: Literal["technician.wrong", "technician.wait", "technician.no_passphrase"]
    message: str
    wait_s: int = 0


@dataclass(frozen=True, slots=True)
class _Session:
    opened_at: float
    stored: str  # the hash that it was opened by


class TechnicianDoor:
    """Passphrase, waiting times and sessions of one booth. Without a file nobody is let in; `tries` is where wrong ones are counted over restarts."""

    def __init__(
        self,
        file: Path | None,
        *,
        tries: Path | None = None,
        session_s: float = SESSION_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session_s = session_s
        self._file, self._clock = file, clock
        self._sessions: dict[bytes, _Session] = {}
        self._tries = KeptTries(tries, monotonic=clock)
        self._turn = asyncio.Lock()
        self._told = ""

    @property
    def lock(self) -> Lock:
        """Whether there is a passphrase to ask for."""
        return self._read()[0]

    async def open(self, passphrase: str) -> str | Refusal:
        """The token of a new session, or why there is none; comparing takes a thread a tenth of a second."""
        if self.lock != "set":
            return Refusal("technician.no_passphrase", "There is no passphrase for this page: set one on the booth.")
        async with self._turn:  # 64 MiB and a core for each
            if wait_s := self._tries.wait_s:
                return Refusal("technician.wait", f"Too many wrong passphrases: wait {wait_s} seconds.", wait_s)
            stored = await asyncio.to_thread(self._compare, passphrase)
        if stored is None:
            log.warning("A wrong passphrase was tried on the technician's page.")
            return Refusal("technician.wrong", "The passphrase is wrong.")
        token = secrets.token_urlsafe(32)
        while len(self._sessions) >= MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[_digest(token)] = _Session(self._clock(), stored)
        log.info("A technician logged in.")
        return token

    def _compare(self, passphrase: str) -> str | None:
        """Counts a try, compares it; the hash that it opens, if it does. Blocking."""
        self._count(self._tries.begin)
        _, stored = self._read()
        if not stored or not matches(stored, passphrase):
            return None
        self._count(self._tries.right)
        return stored

    def _count(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            log.error("Tries of the technician's passphrase count until the booth ends only: %s", error.strerror)  # noqa: TRY400 - the disk's own words suffice

    def admits(self, token: str | None) -> bool:
        """Whether the token is one of a session that lasts."""
        if not token:
            return False
        (_, stored), now = self._read(), self._clock()
        self._sessions = {
            key: session
            for key, session in self._sessions.items()
            if session.stored == stored and now - session.opened_at < self.session_s
        }
        return _digest(token) in self._sessions

    def close(self, token: str | None) -> None:
        """End the token's session."""
        if token and self._sessions.pop(_digest(token), None) is not None:
            log.info("A technician logged out.")

    def _read(self) -> tuple[Lock, str]:
        """The lock and its hash, read anew: it may have been set a moment ago."""
        try:
            stored = None if self._file is None else read_passphrase_hash(self._file)
        except PassphraseError as error:
            if self._told != str(error):
                self._told = str(error)
                log.error("The technician's pages are closed: %s", error)  # noqa: TRY400 - an operator's error, without our stack
            return "unusable", ""
        self._told = ""
        return ("unset", "") if stored is None else ("set", stored)


class TechnicianPages:
    """The page's three faces, and logging in and out."""

    def __init__(self, door: TechnicianDoor, page_token: str, render: Render) -> None:
        self._door, self._page_token, self._render = door, page_token, render

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.get("/technician", response_class=HTMLResponse, include_in_schema=False)(self.page)
        router.post("/api/technician/session", status_code=204, response_class=Response)(self.log_in)
        router.post("/api/technician/session/end", status_code=204, response_class=Response)(self.log_out)
        return router

    async def page(self, request: Request, language: str = "en") -> Response:
        """The technician's page in a session, else the way to one."""
        lock = self._door.lock
        inside = self._door.admits(request.cookies.get(COOKIE))
        template = "technician.html" if inside else "technician_login.html"
        minutes = math.ceil(self._door.session_s / 60)
        try:
            return HTMLResponse(self._render(template, language, {"lock": lock, "minutes": minutes}))
        except CatalogueError as error:
            return problem(404, error.code, str(error))

    def refuse(self, request: Request) -> Response | None:
        """The answer for who has no session; None for who has one."""
        if self.admits(request):
            return None
        return problem(401, "technician.login", "Only for technicians: log in on the technician's page.")

    async def log_in(self, request: Request) -> Response:
        """Open a session for the right passphrase: 204 with its cookie."""
        body = await self.command(request)
        if isinstance(body, Response):
            return body
        passphrase = _passphrase_of(body)
        if passphrase is None:
            return problem(422, "technician.malformed", 'The body must be {"passphrase": "…"}.')
        opened = await self._door.open(passphrase)
        if isinstance(opened, Refusal):
            status = {"technician.wrong": 401, "technician.wait": 429, "technician.no_passphrase": 409}[opened.code]
            headers = {"Retry-After": str(opened.wait_s)} if opened.wait_s else None
            return problem(status, opened.code, opened.message, headers)
        self._door.close(request.cookies.get(COOKIE))  # a login never continues what a browser brought along
        answer = Response(status_code=204)
        answer.set_cookie(COOKIE, opened, max_age=int(self._door.session_s), httponly=True, samesite="strict")
        return answer

    async def log_out(self, request: Request) -> Response:
        """End the session: 204, also when there was none."""
        body = await self.command(request)
        if isinstance(body, Response):
            return body
        self._door.close(request.cookies.get(COOKIE))
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def admits(self, connection: HTTPConnection) -> bool:
        """Whether a request or a socket comes in a technician's session."""
        return self._door.admits(connection.cookies.get(COOKIE))

    async def command(self, request: Request) -> bytes | Response:
        """The body of a command with this page's token, or the answer."""
        token = request.headers.get("x-kiosk-token", "")
        if not secrets.compare_digest(token.encode("latin-1", "replace"), self._page_token.encode()):
            return problem(403, "page.token", "The token of this page is not valid: reload the page.")
        return await limited_body(request)


def _passphrase_of(body: bytes) -> str | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested a thousand deep
        return None
    passphrase = value.get("passphrase") if isinstance(value, dict) and len(value) == 1 else None
    return passphrase if isinstance(passphrase, str) else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
