"""What every page of the desk asks first: an officer's session, and for a form that it is one of this site's own."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, Request

from server.access_errors import PermissionDeniedError
from server.auth import Doorkeeper, Session
from server.errors import CsrfError, LoginRequiredError
from server.receiving import read_small_body
from server.roles import Permission

SESSION_COOKIE = "__Host-desk"
MAX_FORM_BYTES = 4096
FORM_S = 10.0


async def officer(request: Request) -> Session:
    """The session of a request. Raises `LoginRequiredError`."""
    door: Doorkeeper = request.app.state.door
    session = door.session(request.cookies.get(SESSION_COOKIE))
    if session is None:
        raise LoginRequiredError("Sign in with the access code.")
    return session


Officer = Annotated[Session, Depends(officer)]


def needs(permission: Permission) -> Any:
    """The dependency of a route: the session, if its person may do this. Raises `LoginRequiredError`, `PermissionDeniedError`."""

    async def allowed(session: Officer) -> Session:
        if not session.may(permission):
            raise PermissionDeniedError("Your role does not allow this.")
        return session

    return Depends(allowed)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form of this site. Raises `CsrfError` and what receiving raises."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host', '')}":
        raise CsrfError("The form comes from another site.")
    body = await read_small_body(request, "application/x-www-form-urlencoded", MAX_FORM_BYTES, FORM_S)
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=20)
    return {name: values[0] for name, values in fields.items()}


async def read_officers_form(request: Request, session: Session) -> dict[str, str]:
    """The fields of a form that this session's page has shown. Raises `CsrfError` and what receiving raises."""
    form = await read_form(request)
    door: Doorkeeper = request.app.state.door
    door.check_session_token(session, form.get("csrf_token", ""))
    return form
