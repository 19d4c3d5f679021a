"""Signing in as a user of the desk's own list: name, password, and the code of an authenticator. One implementation of server/auth.py's `IdentityProvider`.

Order of operations: the row by the name's keyed hash → it is sealed by this desk, not disabled, a temporary password not over → the password (of
nobody, in the same time, where there is no such row) → the code, where the user has an authenticator; its step is kept in the same transaction, so that a code counts once on all desks
together → who it is. Every refusal is the same one.

Where authenticators are required, a user without one gets in to set one up and for nothing else; as does who has a temporary password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from crypto.errors import KeyUnavailableError
from crypto.totp import matching_step
from server.auth import Credentials, Identity
from server.desk_password import password_fault
from server.errors import LoginRefusedError, LoginRequiredError
from server.user_errors import AuthenticatorCodeError, PasswordRefusedError, PasswordWrongError
from server.users import User, Users, desk_users

_FAULTS = {
    "short": "A password has at least 12 characters.",
    "long": "A password has at most 200 characters.",
    "name": "A password does not hold the user's name, or this program's.",
    "simple": "A password has at least 6 different characters.",
}


class LocalUsers:
    """Who the users of the desk's own list are."""

    def __init__(self, users: Users, *, totp_required: bool) -> None:
        self._users, self.totp_required = users, totp_required

    async def authenticate(self, credentials: Credentials) -> Identity:
        """Who this is. Raises `LoginRefusedError`, `PasswordCheckError`, `StorageError`."""
        by_name = desk_users.c.name_hash == self._users.name_hash(credentials.name)
        async with self._users.reading() as connection:
            row = await self._users.row(connection, by_name)
        # What no desk has written is not compared: its costs would be whatever somebody wrote there.
        stored = str(row["password"]) if row is not None and self._may_enter(row) else None
        right = await asyncio.to_thread(self._users.hashes.matches, stored, credentials.password)
        if row is None or not right:
            raise LoginRefusedError("Name, password or code is wrong.", user="" if row is None else row["id"])
        if row["totp"] is not None:
            await self._use_code(row["id"], credentials.code, generation=row["generation"])
        return self._identity(self._users.user_of(row))

    async def present(self, user: str) -> Identity | None:
        """Who this user is now; None when he may not be signed in any more. Raises `StorageError`."""
        async with self._users.reading() as connection:
            row = await self._users.row(connection, desk_users.c.id == user)
        return None if row is None or not self._may_enter(row) else self._identity(self._users.user_of(row))

    async def check_password(self, user: str, password: str) -> int:
        """Ask for the password once more; the generation that it is of. Raises `PasswordWrongError`."""
        async with self._users.reading() as connection:
            row = await self._users.row(connection, desk_users.c.id == user)
        stored = str(row["password"]) if row is not None and self._may_enter(row) else None
        if row is None or not await asyncio.to_thread(self._users.hashes.matches, stored, password):
            raise PasswordWrongError("The present password is wrong.")
        return int(row["generation"])

    async def set_password(self, user: str, present: str, new: str) -> Identity:
        """The user's own new password; sessions of the old one end. Raises `PasswordRefusedError`, `PasswordWrongError`."""
        name = (await self._users.find(user)).name
        fault = "same" if new == present else password_fault(new, name)
        if fault is not None:
            raise PasswordRefusedError(_FAULTS.get(fault, "The new password is the present one."), fault)
        generation = await self.check_password(user, present)
        kept = await asyncio.to_thread(self._users.hashes.make, new)

        def change(row: Mapping[str, Any]) -> dict[str, Any]:
            if row["generation"] != generation:  # an administrator was faster
                raise PasswordWrongError("The present password is wrong.")
            return {"password": kept, "password_until": None, "generation": generation + 1}

        async with self._users.writing() as connection:
            changed = await self._users.change(connection, user, change)
        return self._identity(changed)

    async def set_totp(self, user: str, totp: bytes, code: str, generation: int) -> Identity:
        """The user's own new authenticator, once it shows the right code; `generation` is of his session.

        Raises `AuthenticatorCodeError`, `LoginRequiredError` when the session is over already: a reset is not undone by who is still signed in.
        """
        step = matching_step(totp, code, self._users.now().timestamp(), 0)
        if step is None:
            raise AuthenticatorCodeError("The code is not the one that the app shows now.")
        new = {"totp": self._users.seal_totp(user, totp), "totp_step": step}

        def change(row: Mapping[str, Any]) -> dict[str, Any]:
            if row["generation"] != generation:
                raise LoginRequiredError("Sign in first.")
            return new | {"generation": generation + 1}

        async with self._users.writing() as connection:
            changed = await self._users.change(connection, user, change)
        return self._identity(changed)

    async def _use_code(self, user: str, code: str, *, generation: int) -> None:
        """Raises `LoginRefusedError`."""
        async with self._users.writing() as connection:
            row = await self._users.row(connection, desk_users.c.id == user, held=True)
            step = None
            if row is not None and row["totp"] is not None and row["generation"] == generation:
                at_s = self._users.now().timestamp()
                step = matching_step(self._users.open_totp(row), code, at_s, row["totp_step"])
            if step is None:
                raise LoginRefusedError("Name, password or code is wrong.", user=user)
            await self._users.change(connection, user, lambda _: {"totp_step": step})

    def _may_enter(self, row: Mapping[str, Any]) -> bool:
        if row["disabled_at"] is not None or not self._users.intact(row):
            return False
        try:
            self._users.user_of(row)
        except KeyUnavailableError:
            return False
        return row["password_until"] is None or self._users.now() < row["password_until"]

    def _identity(self, user: User) -> Identity:
        unfinished = user.password_until is not None or (self.totp_required and not user.has_totp)
        return Identity(user.id, user.name, user.roles, user.generation, unfinished=unfinished)
