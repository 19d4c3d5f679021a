"""The desk's door: the form to sign in with, and the way out.

    GET  /login     the form
    POST /login     name, password, code; a new session, never one that the browser brought along
    POST /logout    the session ends, and the browser forgets the desk's pages

Rules: the form is bound to a cookie of its own, because there is no session yet. Whoever signs in is led to the packet that he asked for, or to the first section that he
may see (server/layout.py); a user who has yet to set his own password or authenticator is led to his account. A name is in no log and no address.
"""

from __future__ import annotations

import logging
import secrets

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from server.audit import Action
from server.auth import DEVICE_S, Credentials, Doorkeeper
from server.desk_session import SESSION_COOKIE, Officer, audit_of, note_refused, read_form, read_officers_form
from server.errors import LoginRefusedError, ServerError
from server.layout import Pages, home_of, next_page, set_cookie
from server.opening import Opener

log = logging.getLogger(__name__)

FORM_COOKIE = "__Host-desk-form"
DEVICE_COOKIE = "__Host-desk-known"


def make_login_pages(door: Doorkeeper, opener: Opener, pages: Pages) -> APIRouter:
    """The routes; the only ones of the desk that anybody may use."""
    routes = APIRouter()

    @routes.get("/login")
    async def login_page(request: Request) -> Response:
        session = await door.admit(request.cookies.get(SESSION_COOKIE))
        if session is not None:
            return RedirectResponse(home_of(session), 303)
        return _login_page(request, None)

    def _login_page(request: Request, error: ServerError | None, name: str = "") -> Response:
        seed = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(24)
        answer = pages.page(
            request,
            "login.html",
            error.status if error else 200,
            csrf_token=door.form_token(seed),
            error=error.code if error else None,
            wait_s=error.retry_after_s if error else None,
            next=next_page(request.query_params.get("next")),
            typed_name=name,
        )
        set_cookie(answer, FORM_COOKIE, seed)
        if error is not None and error.retry_after_s:
            answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer

    @routes.post("/login")
    async def login(request: Request) -> Response:
        form = await read_form(request)
        door.check_form_token(request.cookies.get(FORM_COOKIE), form.get("csrf_token", ""))
        address = request.client.host if request.client else ""
        typed = Credentials(form.get("name", ""), form.get("password", ""), form.get("code", ""))
        try:
            identity = await door.sign_in(address, typed, request.cookies.get(DEVICE_COOKIE))
        except ServerError as error:
            log.warning("Somebody was not let in.", extra={"code": error.code})
            await note_refused(request, error, error.user if isinstance(error, LoginRefusedError) else "")
            return _login_page(request, error, typed.name)
        door.close_session(request.cookies.get(SESSION_COOKIE))
        await audit_of(request).note(identity.user, Action.SIGN_IN)
        token, session = door.open_session(identity)
        log.info("Somebody signed in.")
        wanted = next_page(form.get("next"))
        answer = RedirectResponse(home_of(session) if wanted == "/" or session.unfinished else wanted, 303)
        set_cookie(answer, SESSION_COOKIE, token)
        set_cookie(answer, DEVICE_COOKIE, door.device_token(typed.name), max_age=int(DEVICE_S))
        drop_cookie(answer, FORM_COOKIE)
        return answer

    @routes.post("/logout")
    async def logout(request: Request, session: Officer) -> Response:
        await read_officers_form(request, session)
        door.close_session(request.cookies.get(SESSION_COOKIE))
        opener.sweep(sessions=door.sweep())
        await audit_of(request).note(session.officer, Action.SIGN_OUT)
        answer = RedirectResponse("/login", 303, {"Clear-Site-Data": '"cache", "storage"'})
        drop_cookie(answer, SESSION_COOKIE)
        return answer

    return routes


def drop_cookie(answer: Response, name: str) -> None:
    """Make the browser forget a cookie."""
    answer.delete_cookie(name, path="/", secure=True, httponly=True, samesite="strict")
