"""Everybody's own page at the desk: who he is there, a new password, a new authenticator.

    GET  /account                        who is signed in, and the forms
    POST /account/password               a new password, with the present one
    POST /account/authenticator          the code for an app, with the present password
    POST /account/authenticator/confirm  the app shows the right code: from now on it is asked for

Rules: no role is needed, and nobody's page but one's own is here: which user it is comes from the session and from nothing in the request. Who has yet to replace a
temporary password, or to set up a required authenticator, sees this page alone. A new authenticator's secret stays with the form that shows it, sealed for this session
under the desk's secret, until a code proves that the app has it. Each change ends all other sessions of the user, and gives this browser a new one. What is tried wrongly
here makes wait as at the door.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from crypto.desk_secret import DeskSecret
from crypto.errors import KeyUnavailableError
from crypto.totp import make_totp_secret, otpauth_uri, secret_text
from server.audit import Action
from server.auth import Doorkeeper, Identity, Session
from server.desk_session import SESSION_COOKIE, Noted, Officer, audit_of, note_failure, read_officers_form
from server.errors import CsrfError, LoginLockedError, ServerError
from server.layout import ACCOUNT, Pages, set_cookie
from server.local_users import LocalUsers
from server.screen_code import qr_svg
from server.user_errors import AuthenticatorCodeError, PasswordRefusedError, PasswordWrongError
from server.users import Users

ISSUER = "Passbooth"
_DONE = frozenset({"password", "authenticator"})


@dataclass(frozen=True)
class AccountRooms:
    """What the page works with."""

    door: Doorkeeper
    users: Users
    local: LocalUsers
    secret: DeskSecret
    pages: Pages


@dataclass(frozen=True, slots=True)
class _NewCode:
    """A new authenticator as it is shown."""

    picture: str
    uri: str
    text: str
    sealed: str


def make_account_pages(rooms: AccountRooms) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get(ACCOUNT)
    async def account(request: Request, session: Officer) -> Response:
        done = request.query_params.get("done")
        return await _page(request, session, done=done if done in _DONE else None)

    @routes.post(f"{ACCOUNT}/password")
    async def password(request: Request, session: Officer) -> Response:
        form = await read_officers_form(request, session)
        present, new = form.get("present", ""), form.get("new", "")
        if new != form.get("again", ""):
            return await _page(request, session, error=PasswordRefusedError("The two are not the same.", "again"))
        await _note(request, session, "password")
        try:
            identity = await rooms.door.ask_again(
                session, lambda: rooms.local.set_password(session.officer, present, new)
            )
        except (PasswordRefusedError, PasswordWrongError, LoginLockedError) as error:
            await note_failure(request, error.code)
            return await _page(request, session, error=error)
        return _renewed(identity, "password")

    @routes.post(f"{ACCOUNT}/authenticator")
    async def authenticator(request: Request, session: Officer) -> Response:
        form = await read_officers_form(request, session)
        try:
            await rooms.door.ask_again(
                session, lambda: rooms.local.check_password(session.officer, form.get("present", ""))
            )
        except (PasswordWrongError, LoginLockedError) as error:
            return await _page(request, session, error=error, of="authenticator")
        return await _page(request, session, code=_new_code(session, make_totp_secret()))

    @routes.post(f"{ACCOUNT}/authenticator/confirm")
    async def confirm(request: Request, session: Officer) -> Response:
        form = await read_officers_form(request, session)
        totp = _open(session, form.get("sealed", ""))
        await _note(request, session, "authenticator")
        try:
            identity = await rooms.door.ask_again(
                session,
                lambda: rooms.local.set_totp(session.officer, totp, form.get("code", ""), session.generation),
            )
        except (AuthenticatorCodeError, LoginLockedError) as error:
            await note_failure(request, error.code)
            return await _page(request, session, error=error, of="confirm", code=_new_code(session, totp))
        return _renewed(identity, "authenticator")

    @routes.get(f"{ACCOUNT}/{{form}}")
    async def no_form(request: Request, form: str, session: Officer) -> Response:  # noqa: ARG001 (asks for the session)
        """Where a change of language leads on the page of a form that was sent."""
        return RedirectResponse(f"{ACCOUNT}?{request.url.query}" if request.url.query else ACCOUNT, 303)

    async def _page(
        request: Request,
        session: Session,
        *,
        error: ServerError | None = None,
        of: str = "password",
        code: _NewCode | None = None,
        done: str | None = None,
    ) -> Response:
        user = await rooms.users.find(session.officer)
        return rooms.pages.page(
            request,
            "account.html",
            error.status if error else 200,
            session=session,
            user=user,
            error=error,
            error_of=of if error else None,
            fault=error.fault if isinstance(error, PasswordRefusedError) else None,
            wait_s=error.retry_after_s if error else None,
            code=code,
            done=done,
            needs_code=rooms.local.totp_required and not user.has_totp,
        )

    async def _note(request: Request, session: Session, what: str) -> None:
        noted = (session.officer, Action.PASSWORD_CHANGED, session.officer)
        request.state.noted = Noted(*noted, await audit_of(request).note(*noted, what=what))

    def _renewed(identity: Identity, what: str) -> Response:
        rooms.door.close_sessions_of(identity.user)
        token, _ = rooms.door.open_session(identity)
        answer = RedirectResponse(f"{ACCOUNT}?done={what}", 303)
        set_cookie(answer, SESSION_COOKIE, token)
        return answer

    def _about(session: Session) -> bytes:
        return f"{session.officer} {session.csrf_token}".encode()

    def _new_code(session: Session, totp: bytes) -> _NewCode:
        sealed = rooms.secret.seal("totp new", totp, _about(session))
        text = base64.urlsafe_b64encode(sealed).decode("ascii")
        uri = otpauth_uri(totp, ISSUER, session.name)
        return _NewCode(qr_svg(uri), uri, secret_text(totp), text)

    def _open(session: Session, sealed: str) -> bytes:
        try:
            return rooms.secret.open("totp new", base64.urlsafe_b64decode(sealed), _about(session))
        except (KeyUnavailableError, binascii.Error, ValueError):
            raise CsrfError("The form is too old or not from this page: load the page again.") from None

    return routes
