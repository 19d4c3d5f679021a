"""The administrators' pages: who may sign in at the desk, and as what.

    GET  /users                   everybody, and the form for somebody new
    POST /users                   a new user: his first password, told once
    GET  /users/{user}            one user, and what can be done
    POST /users/{user}/roles      other roles
    POST /users/{user}/disable    nobody signs in as this user any more
    POST /users/{user}/enable     he may again
    POST /users/{user}/reset      a new first password, told once; the authenticator is forgotten

Rules: an administrator never learns a password or an authenticator that counts for more than replacing it: the first password is temporary, and its owner sets both
himself (server/desk_account.py). Nobody does any of this to himself, and one administrator is left (server/users.py). Every act is in the audit log before it
happens, with the roles that it gives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from server.audit import Action
from server.auth import Session
from server.desk_session import Noted, audit_of, needs, note_failure, read_officers_form
from server.layout import Pages
from server.roles import GRANTS, Permission, Role
from server.user_errors import (
    LastAdministratorError,
    OwnUserError,
    UserNameError,
    UserRolesError,
    UserRowChangedError,
    UserTakenError,
)
from server.users import NewSecrets, User, Users, make_user_id, read_name, read_roles

# What is told beside the form, instead of a page of its own.
_TOLD = (LastAdministratorError, OwnUserError, UserNameError, UserRolesError, UserRowChangedError, UserTakenError)


def make_user_pages(users: Users, pages: Pages) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get("/users")
    async def list_page(
        request: Request, session: Annotated[Session, needs(Permission.USERS, Action.USERS_LISTED)]
    ) -> Response:
        return await _list_page(request, session)

    @routes.post("/users")
    async def add(
        request: Request, session: Annotated[Session, needs(Permission.USERS, Action.USER_ADDED, later=True)]
    ) -> Response:
        form = await read_officers_form(request, session)
        wanted, new = _roles_in(form), make_user_id()
        try:
            read_name(form.get("name", ""))
            read_roles(wanted)
            await _note(request, session, Action.USER_ADDED, new, wanted)
            made = await users.add(form.get("name", ""), wanted, user=new)
        except _TOLD as error:
            await note_failure(request, error.code)
            return await _list_page(request, session, error=error, form=form)
        return _user_page(request, session, made.user, made=made)

    @routes.get("/users/{user}")
    async def user_page(
        request: Request, user: str, session: Annotated[Session, needs(Permission.USERS, Action.USERS_LISTED)]
    ) -> Response:
        return _user_page(request, session, await users.find(user))

    @routes.post("/users/{user}/roles")
    async def set_roles(
        request: Request,
        user: str,
        session: Annotated[Session, needs(Permission.USERS, Action.USER_CHANGED, later=True)],
    ) -> Response:
        wanted = _roles_in(await read_officers_form(request, session))

        async def act(present: str) -> None:
            read_roles(wanted)
            await _note(request, session, Action.USER_CHANGED, present, wanted)
            await users.set_roles(present, wanted, by=session.officer)

        return await _done(request, session, user, act)

    @routes.post("/users/{user}/disable")
    async def disable(
        request: Request, user: str, session: Annotated[Session, needs(Permission.USERS, Action.USER_DISABLED)]
    ) -> Response:
        await read_officers_form(request, session)
        return await _done(request, session, user, lambda present: users.disable(present, by=session.officer))

    @routes.post("/users/{user}/enable")
    async def enable(
        request: Request, user: str, session: Annotated[Session, needs(Permission.USERS, Action.USER_ENABLED)]
    ) -> Response:
        await read_officers_form(request, session)
        return await _done(request, session, user, lambda present: users.enable(present, by=session.officer))

    @routes.post("/users/{user}/reset")
    async def reset(
        request: Request, user: str, session: Annotated[Session, needs(Permission.USERS, Action.USER_RESET)]
    ) -> Response:
        await read_officers_form(request, session)
        return await _done(request, session, user, lambda present: users.reset(present, by=session.officer))

    @routes.get("/users/{user}/{form}", dependencies=[needs(Permission.USERS)])
    async def no_form(request: Request, user: str, form: str) -> Response:  # noqa: ARG001 (of an address of its own)
        """Where a change of language leads on the page of a form that was sent."""
        present = (await users.find(user)).id
        return RedirectResponse(f"/users/{present}{'?' if request.url.query else ''}{request.url.query}", 303)

    async def _done(request: Request, session: Session, user: str, act: Callable[[str], Awaitable[object]]) -> Response:
        """The answer of an act: the user's page, with what is told once, or with what prevented it."""
        present = await users.find(user)
        try:
            made = await act(present.id)
        except _TOLD as error:
            await note_failure(request, error.code)
            return _user_page(request, session, present, error=error)
        if isinstance(made, NewSecrets):
            return _user_page(request, session, made.user, made=made)
        return RedirectResponse(f"/users/{present.id}", 303)

    async def _list_page(
        request: Request,
        session: Session,
        *,
        error: _Told | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        given = form or {}
        return pages.page(
            request,
            "users.html",
            error.status if error else 200,
            session=session,
            users=await users.rows(),
            roles=list(Role),
            grants=GRANTS,
            error=error,
            typed=given.get("name", ""),
            chosen=_roles_in(given),
        )

    def _user_page(
        request: Request,
        session: Session,
        user: User,
        *,
        made: NewSecrets | None = None,
        error: _Told | None = None,
    ) -> Response:
        return pages.page(
            request,
            "user.html",
            error.status if error else 200,
            session=session,
            user=user,
            state=user.state,
            roles=list(Role),
            grants=GRANTS,
            made=made,
            error=error,
            own=user.id == session.officer,
        )

    return routes


_Told = LastAdministratorError | OwnUserError | UserNameError | UserRolesError | UserRowChangedError | UserTakenError


async def _note(request: Request, session: Session, action: Action, user: str, roles: list[str]) -> None:
    """The entry of an act, with the roles that it gives; what fails then is told by a second one (server/desk_session.py)."""
    number = await audit_of(request).note(session.officer, action, user, roles="/".join(roles))
    request.state.noted = Noted(session.officer, action, user, number)


def _roles_in(form: Mapping[str, str]) -> list[str]:
    """The roles that a form has ticked."""
    return sorted(role.value for role in Role if f"role-{role.value}" in form)
