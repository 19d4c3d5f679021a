"""The desk's users: their rows, and what an administrator does with them. How they sign in is in server/local_users.py.

Rules: a row keeps a random id, the roles, the name sealed under the desk's secret and its keyed hash to be found by, argon2id of the password (server/desk_password.py), and
the authenticator's secret sealed. The whole row is under a keyed hash too (`seal`): whoever can write to the database and has no desk's secret, as the intake,
makes no user and gives nobody a role; such a row signs nobody in and is shown as changed. An older row put back is not told from a newer one.
  - An id is never given twice, and nobody is removed: a user who leaves is disabled, so that what he did keeps its author.
  - A password that somebody else has seen is good for `TEMPORARY` and for one thing: to be replaced by its owner.
  - Nobody changes his own roles; one administrator is left. Changes come one after the other in the whole database (`_alone`).
  - `generation` grows with password, authenticator and state: sessions of another generation end (server/auth.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.canonical import canonical_json
from crypto.desk_secret import DeskSecret
from crypto.errors import CanonicalJsonError, KeyUnavailableError
from crypto.package import write_instant
from crypto.totp import make_totp_secret
from server.auth import plain_name
from server.desk_password import PasswordHashes, make_password
from server.roles import Role
from server.store import Store, UtcDateTime, metadata
from server.user_errors import (
    LastAdministratorError,
    OwnUserError,
    UserNameError,
    UserRolesError,
    UserRowChangedError,
    UserTakenError,
    UserUnknownError,
)

TEMPORARY = timedelta(days=7)
MOST_NAME = 64
USER_ID = re.compile(r"u-[0-9a-f]{8}", re.ASCII)
# Any constant; names the users' lock among PostgreSQL's advisory locks.
USERS_LOCK = 0x70627573
_DRAWS = 20  # of 2^32 ids
_BY_NAME = {role.value: role for role in Role}

desk_users = sa.Table(
    "desk_users",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.LargeBinary(), nullable=False),
    sa.Column("roles", sa.String(128), nullable=False),
    sa.Column("password", sa.String(128), nullable=False),
    sa.Column("password_until", UtcDateTime(), nullable=True),  # of a temporary one
    sa.Column("totp", sa.LargeBinary(), nullable=True),
    sa.Column("totp_step", sa.BigInteger(), nullable=False),  # the last one that counted
    sa.Column("generation", sa.BigInteger(), nullable=False),
    sa.Column("made_at", UtcDateTime(), nullable=False),
    sa.Column("disabled_at", UtcDateTime(), nullable=True),
    sa.Column("seal", sa.String(64), nullable=False),
)


@dataclass(frozen=True, slots=True)
class User:
    """One user. The name is of a person: it is shown to administrators and to himself, and stands in no log."""

    id: str
    name: str = field(repr=False)
    roles: frozenset[Role]
    made_at: datetime
    disabled_at: datetime | None
    password_until: datetime | None
    has_totp: bool
    generation: int
    intact: bool = True

    @property
    def state(self) -> str:
        """One word for it: active, new, disabled, changed."""
        if not self.intact:
            return "changed"
        if self.disabled_at is not None:
            return "disabled"
        return "new" if self.password_until is not None else "active"


@dataclass(frozen=True, slots=True)
class NewSecrets:
    """What its owner needs to sign in; told once, kept nowhere."""

    user: User
    password: str = field(repr=False)
    totp: bytes | None = field(default=None, repr=False)


class Users:
    """The rows."""

    def __init__(
        self,
        store: Store,
        secret: DeskSecret,
        hashes: PasswordHashes | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._secret, self.now = store, secret, now
        self.hashes = hashes or PasswordHashes(secret)

    async def add(
        self,
        name: str,
        roles: Iterable[str],
        *,
        user: str | None = None,
        with_totp: bool = False,
        temporary: bool = True,
    ) -> NewSecrets:
        """A new user with a random password. Raises `UserNameError`, `UserRolesError`, `UserTakenError`."""
        plain, given = read_name(name), read_roles(roles)
        password, totp = make_password(), make_totp_secret() if with_totp else None
        row: dict[str, Any] = {
            "name_hash": self.name_hash(plain),
            "roles": _roles_text(given),
            "totp_step": 0,
            "generation": 1,
        }
        row |= {"made_at": self._instant(), "disabled_at": None, "password_until": self._until(temporary=temporary)}
        row["password"] = await asyncio.to_thread(self.hashes.make, password)
        async with self._alone() as connection:
            taken = sa.select(desk_users.c.id).where(desk_users.c.name_hash == row["name_hash"])
            if (await connection.execute(taken)).first() is not None:
                raise UserTakenError("A user has this name already: names are told apart without capitals.")
            row["id"] = await _free_id(connection, user)
            row["name"] = self._secret.seal("user name", plain.encode(), row["id"].encode())
            row["totp"] = None if totp is None else self._secret.seal("totp", totp, row["id"].encode())
            await connection.execute(sa.insert(desk_users).values(**row, seal=self._row_seal(row)))
        return NewSecrets(self.user_of(row), password, totp)

    async def rows(self) -> list[User]:
        """Everybody, by the time they were made; those whose row is not ours are marked and have no roles."""
        async with self._store.reading() as connection:
            found = await connection.execute(sa.select(desk_users).order_by(desk_users.c.made_at, desk_users.c.id))
            return [self._shown(dict(row._mapping)) for row in found]  # noqa: SLF001 (the documented way to read a row by names)

    async def find(self, user: str) -> User:
        """One user. Raises `UserUnknownError`."""
        row = None
        if USER_ID.fullmatch(user):  # PostgreSQL takes no text with a zero in it
            async with self._store.reading() as connection:
                row = await self.row(connection, desk_users.c.id == user)
        if row is None:
            raise UserUnknownError("There is no user of this id.")
        return self._shown(row)

    async def set_roles(self, user: str, roles: Iterable[str], *, by: str | None) -> User:
        """Other roles; they count within seconds. Raises `UserRolesError`, `OwnUserError`, `LastAdministratorError`, `UserUnknownError`."""
        given = read_roles(roles)
        _not_own(user, by)
        async with self._alone() as connection:
            if Role.ADMINISTRATOR not in given:
                await self._another_administrator(connection, user)
            return await self.change(connection, user, lambda _: {"roles": _roles_text(given)})

    async def disable(self, user: str, *, by: str | None) -> User:
        """Nobody signs in as this user any more, and his sessions end within seconds; twice is once. Raises as `set_roles`."""
        _not_own(user, by)
        now = self._instant()
        async with self._alone() as connection:
            await self._another_administrator(connection, user)
            return await self.change(
                connection, user, lambda row: _next(row) | {"disabled_at": row["disabled_at"] or now}
            )

    async def enable(self, user: str, *, by: str | None) -> User:
        """The user may sign in again, with the password that he has. Raises `OwnUserError`, `UserUnknownError`."""
        _not_own(user, by)
        async with self._alone() as connection:
            return await self.change(connection, user, lambda row: _next(row) | {"disabled_at": None})

    async def reset(self, user: str, *, by: str | None, with_totp: bool = False, temporary: bool = True) -> NewSecrets:
        """A new password; the authenticator is forgotten, or a new one is made; his sessions end. Raises `OwnUserError`, `UserUnknownError`."""
        _not_own(user, by)
        password, totp = make_password(), make_totp_secret() if with_totp else None
        kept = await asyncio.to_thread(self.hashes.make, password)
        sealed = None if totp is None else self._secret.seal("totp", totp, user.encode())
        new = {"password": kept, "password_until": self._until(temporary=temporary), "totp": sealed}
        async with self._alone() as connection:
            changed = await self.change(connection, user, lambda row: _next(row) | new)
        return NewSecrets(changed, password, totp)

    # What signing in needs too (server/local_users.py).

    def name_hash(self, name: str) -> str:
        """By which a user is found: without capitals, and however Unicode writes it."""
        return self._secret.mac("user name", plain_name(name)).hex()

    async def row(
        self, connection: AsyncConnection, where: sa.ColumnElement[bool], *, held: bool = False
    ) -> Mapping[str, Any] | None:
        """A row; `held` until the transaction ends, so that nobody changes it meanwhile."""
        query = sa.select(desk_users).where(where)
        found = (await connection.execute(query.with_for_update() if held else query)).first()
        return None if found is None else dict(found._mapping)  # noqa: SLF001 (the documented way to read a row by names)

    def intact(self, row: Mapping[str, Any]) -> bool:
        """Whether a row was written by a desk of this secret."""
        try:
            made = self._row_seal(row)
        except (CanonicalJsonError, ValueError, OverflowError):  # what no desk has written
            return False
        return secrets.compare_digest(made.encode(), str(row["seal"]).encode("utf-8", "replace"))

    async def change(
        self, connection: AsyncConnection, user: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> User:
        """Change a row and seal it anew, within a transaction. Raises `UserUnknownError`, `UserRowChangedError`."""
        row = await self.row(connection, desk_users.c.id == user, held=True)
        if row is None:
            raise UserUnknownError("There is no user of this id.")
        if not self.intact(row):
            raise UserRowChangedError(
                "This user was changed outside of the desk, or under another secret: make a new one instead."
            )
        new = {**row, **change(row)}
        values = {name: value for name, value in new.items() if name not in {"id", "seal"}}
        await connection.execute(
            sa.update(desk_users).where(desk_users.c.id == user).values(**values, seal=self._row_seal(new))
        )
        return self.user_of(new)

    def writing(self) -> contextlib.AbstractAsyncContextManager[AsyncConnection]:
        """A transaction."""
        return self._store.writing()

    def reading(self) -> contextlib.AbstractAsyncContextManager[AsyncConnection]:
        """A connection to ask with."""
        return self._store.reading()

    def user_of(self, row: Mapping[str, Any]) -> User:
        """The user of a row of ours. Raises KeyUnavailableError when the name does not open."""
        return User(
            id=row["id"],
            name=self._secret.open("user name", row["name"], row["id"].encode()).decode(),
            roles=frozenset(_BY_NAME[name] for name in row["roles"].split() if name in _BY_NAME),
            made_at=row["made_at"],
            disabled_at=row["disabled_at"],
            password_until=row["password_until"],
            has_totp=row["totp"] is not None,
            generation=row["generation"],
        )

    def open_totp(self, row: Mapping[str, Any]) -> bytes:
        """The authenticator's secret."""
        return self._secret.open("totp", row["totp"], row["id"].encode())

    def seal_totp(self, user: str, totp: bytes) -> bytes:
        """As it is kept."""
        return self._secret.seal("totp", totp, user.encode())

    def _shown(self, row: Mapping[str, Any]) -> User:
        if self.intact(row):
            with contextlib.suppress(KeyUnavailableError):
                return self.user_of(row)
        facts = (row["made_at"], row["disabled_at"], row["password_until"])
        return User(str(row["id"]), "", frozenset(), *facts, has_totp=False, generation=0, intact=False)

    def _row_seal(self, row: Mapping[str, Any]) -> str:
        """The keyed hash over a row's columns."""
        told = []
        for column in desk_users.columns:
            value = row["id"] if column.name == "id" else None if column.name == "seal" else row[column.name]
            told.append(_told(value))
        return self._secret.mac("user row", canonical_json(told)).hex()

    def _instant(self) -> datetime:
        return self.now().replace(microsecond=0)

    def _until(self, *, temporary: bool) -> datetime | None:
        return self._instant() + TEMPORARY if temporary else None

    async def _another_administrator(self, connection: AsyncConnection, user: str) -> None:
        """Raises `LastAdministratorError` when without this user nobody may make users."""
        enabled = await connection.execute(sa.select(desk_users).where(desk_users.c.disabled_at.is_(None)))
        left = [self._shown(dict(row._mapping)) for row in enabled]  # noqa: SLF001 (the documented way to read a row by names)
        ids = {one.id for one in left if Role.ADMINISTRATOR in one.roles}
        if ids == {user}:
            raise LastAdministratorError("This is the last administrator: make another one first.")

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[AsyncConnection]:
        async with self._store.writing() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(USERS_LOCK)))
            yield connection


def read_name(name: str) -> str:
    """A user's name as it is kept. Raises `UserNameError`."""
    plain = unicodedata.normalize("NFC", " ".join(name.split()))
    if not plain or len(plain) > MOST_NAME or not plain.isprintable() or not any(map(str.isalnum, plain)):
        raise UserNameError(f"A user's name has up to {MOST_NAME} printable characters, among them a letter or digit.")
    return plain


def read_roles(roles: Iterable[str]) -> frozenset[Role]:
    """Roles by their names. Raises `UserRolesError`."""
    named = set(roles)
    if not named or not named <= _BY_NAME.keys():
        raise UserRolesError(f"A user needs at least one of the roles {', '.join(_BY_NAME)}, and no other.")
    return frozenset(_BY_NAME[name] for name in named)


def make_user_id() -> str:
    """A random id; says nothing of a person."""
    return f"u-{secrets.token_hex(4)}"


async def _free_id(connection: AsyncConnection, wanted: str | None) -> str:
    """An id that nobody ever had: rows are never removed."""
    for drawn in [wanted] if wanted else [make_user_id() for _ in range(_DRAWS)]:
        if (await connection.execute(sa.select(desk_users.c.id).where(desk_users.c.id == drawn))).first() is None:
            return drawn
    raise UserTakenError("No free id was found: try again.")


def _roles_text(roles: Iterable[Role]) -> str:
    return " ".join(sorted(roles))


def _next(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"generation": row["generation"] + 1}


def _not_own(user: str, by: str | None) -> None:
    if user == by:
        raise OwnUserError("Another administrator has to do this: nobody changes his own roles and state.")


def _told(value: Any) -> Any:
    """A column's value for the keyed hash."""
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return write_instant(value)
        case _:
            return value
