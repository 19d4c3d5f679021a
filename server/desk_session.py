"""What every page of the desk asks first: an officer's session, and for a form that it is one of this site's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qs
from weakref import WeakKeyDictionary

from fastapi import Depends, Request

from server.access_errors import PermissionDeniedError
from server.addresses import network_of
from server.audit import NOBODY, ONCE, Action, AuditLog, digests_hash
from server.auth import Doorkeeper, Session
from server.errors import (
    CsrfError,
    LoginLockedError,
    LoginRequiredError,
    MalformedRequestError,
    ServerError,
    UnknownRouteError,
)
from server.receiving import read_small_body
from server.roles import Permission
from server.user_errors import SetUpRequiredError
from server.users import USER_ID

SESSION_COOKIE = "__Host-desk"
MAX_FORM_BYTES = 4096
FORM_S = 10.0
MOST_FIELDS = 20
# As the words of an entry (crypto/audit_entry.py); whatever else stands in an address is a stranger's.
TOKEN = re.compile(r"[A-Za-z0-9._:/\-]{1,128}")
# What is named by these parts of an address has one form alone: an application's number that somebody typed there is not noted.
FORMS = {"sha256": re.compile(r"[0-9a-f]{64}"), "user": USER_ID, "form": re.compile(r"[a-z\-]{1,32}")}


async def officer(request: Request) -> Session:
    """The session of a request. Raises `LoginRequiredError`, `UnknownRouteError`."""
    door: Doorkeeper = request.app.state.door
    session = await door.admit(request.cookies.get(SESSION_COOKIE))
    if session is None:
        raise LoginRequiredError("Sign in first.")
    if any("\0" in str(value) for value in request.path_params.values()):  # PostgreSQL takes no text with a zero in it
        raise UnknownRouteError("There is nothing at this address.")
    return session


Officer = Annotated[Session, Depends(officer)]


@dataclass(frozen=True, slots=True)
class Need:
    """What a route asks for, and what the audit log is told before it is given."""

    permission: Permission
    action: Action | None
    later: bool


@dataclass(frozen=True, slots=True)
class Noted:
    """The entry that was written before a route's work began."""

    actor: str
    action: Action
    subject: str
    number: int


_NEEDS: WeakKeyDictionary[Callable[..., Any], Need] = WeakKeyDictionary()


def needs(permission: Permission, action: Action | None = None, *, later: bool = False, **facts: str | int) -> Any:
    """The dependency of a route: the session, if its person may do this, after the audit log has it durably.

    A route that shows personal data or has an effect names an action; `facts` tell one of several such routes from the others. `later` is for one that knows only
    when it has read them what it shows: it calls `note_shown` before it answers. Raises `LoginRequiredError`, `PermissionDeniedError`, `AuditUnavailableError`.
    """

    async def allowed(request: Request, session: Officer) -> Session:
        if session.unfinished:
            raise SetUpRequiredError("Set your own password and authenticator first.")
        audit, (subject, name) = audit_of(request), _named(request)
        if not session.may(permission):
            if request.url.path != "/":  # what somebody types who wants the desk; it leads him to his own first page
                asked = {} if action is None else {"asked": str(action)}
                await audit.note(session.officer, Action.DENIED, subject, permission=str(permission), **asked)
            raise PermissionDeniedError("Your role does not allow this.")
        if action is None or later:
            return session
        if action in ONCE:
            await audit.note_once(session.csrf_token, session.officer, action, subject)
        else:
            number = await audit.note(session.officer, action, subject, **facts, **name)
            request.state.noted = Noted(session.officer, action, subject, number)
        return session

    _NEEDS[allowed] = Need(permission, action, later)
    return Depends(allowed)


def need_of(dependency: Callable[..., Any] | None) -> Need | None:
    """What a dependency that `needs` made asks for."""
    return None if dependency is None else _NEEDS.get(dependency)


def audit_of(request: Request) -> AuditLog:
    """The desk's audit log."""
    audit: AuditLog = request.app.state.audit
    return audit


async def note_shown(
    request: Request, session: Session, action: Action, digests: Sequence[str], **facts: str | int
) -> None:
    """Note a list of packets that is about to be shown: how many, and the hash that names them in this order. Raises `AuditUnavailableError`."""
    await audit_of(request).note(session.officer, action, count=len(digests), packets=digests_hash(digests), **facts)


async def note_failure(request: Request, code: str) -> None:
    """Note that the act which was noted before it began came to nothing. Raises `AuditUnavailableError`."""
    noted: Noted | None = getattr(request.state, "noted", None)
    if noted is not None and request.method not in {"GET", "HEAD"}:
        facts: dict[str, str | int] = {"entry": noted.number, "asked": str(noted.action), "code": code}
        await audit_of(request).note(noted.actor, Action.ACT_FAILED, noted.subject, **facts)


async def note_refused(request: Request, error: ServerError, user: str = "") -> None:
    """Note that somebody was not let in; of the network only what tells it from others, and once in ten minutes that it has to wait."""
    audit, address = audit_of(request), request.client.host if request.client else ""
    network = audit.keyed("network", network_of(address))
    if isinstance(error, LoginLockedError):
        await audit.note_once(network, NOBODY, Action.SIGN_IN_LOCKED, user, network=network)
    else:
        await audit.note(NOBODY, Action.SIGN_IN_REFUSED, user, network=network, code=error.code)


def _named(request: Request) -> tuple[str, dict[str, str]]:
    """What a route's address names: its first part is the subject, another one a fact; what no entry can say is told as such."""
    named = [
        str(value) if FORMS.get(name, TOKEN).fullmatch(str(value)) else "unreadable"
        for name, value in request.path_params.items()
    ]
    return (named[0] if named else ""), ({"name": named[1]} if len(named) > 1 else {})


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form of this site. Raises `CsrfError` and what receiving raises."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host', '')}":
        raise CsrfError("The form comes from another site.")
    body = await read_small_body(request, "application/x-www-form-urlencoded", MAX_FORM_BYTES, FORM_S)
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise MalformedRequestError("No form of this site has so many fields.") from error
    return {name: values[0] for name, values in fields.items()}


async def read_officers_form(request: Request, session: Session) -> dict[str, str]:
    """The fields of a form that this session's page has shown. Raises `CsrfError` and what receiving raises."""
    form = await read_form(request)
    door: Doorkeeper = request.app.state.door
    door.check_session_token(session, form.get("csrf_token", ""))
    return form
