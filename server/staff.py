"""Who is staff: the registry of personal codes, and the signed list of them that booths get.

Rules: the registry keeps a random staff id, the centre it is for, its times, and the argon2id hash of the secret; no name, and no code. A staff id is never
given twice, also not after it was revoked. What changed in the registry is in the next list, at most `LOOK_S` later.

Order of operation of a list: the rows that count now → is the present list made of them, by this signer, and in the first half of its life? then it is
given as it is → else, one at a time in the whole database (SQLite: BEGIN IMMEDIATE; PostgreSQL: pg_advisory_xact_lock), looked at again, signed with a
higher number, committed, given. So a list is never seen before its number is durable, however many intakes there are, and numbers
never go back (crypto/staff_list.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.canonical import canonical_json
from crypto.errors import CryptoError
from crypto.keys import Signer
from crypto.package import write_instant
from crypto.staff_code import STAFF_ID, StaffCode, hash_code, make_code, make_staff_id
from crypto.staff_list import MAX_STAFF, StaffEntry, sign_staff_list
from server.errors import StaffListUnavailableError, StaffListUnknownError, StaffRefusedError
from server.store import Store, UtcDateTime, metadata

log = logging.getLogger(__name__)

LIST_LIFE = timedelta(days=30)  # a booth may be without network for weeks
LOOK_S = 5.0  # how old a look at the rows may be
CLOCKS_APART = timedelta(hours=1)  # of two intakes on one database, at most
# Any constant; names the list's lock among PostgreSQL's advisory locks.
STAFF_LOCK = 0x70627374
_ONLY = 1
_DRAWS = 20  # 900 000 ids: with half of them given, all of these are taken once in a million times

staff_codes = sa.Table(
    "staff_codes",
    metadata,
    sa.Column("staff", sa.String(6), primary_key=True),
    sa.Column("centre", sa.String(64), nullable=True),
    sa.Column("hash", sa.String(128), nullable=False),
    sa.Column("issued_at", UtcDateTime(), nullable=False),
    sa.Column("expires_at", UtcDateTime(), nullable=True),
    sa.Column("revoked_at", UtcDateTime(), nullable=True),
)

staff_list = sa.Table(
    "staff_list",
    metadata,
    sa.Column("slot", sa.Integer(), primary_key=True, autoincrement=False),  # always _ONLY
    sa.Column("number", sa.BigInteger(), nullable=False),
    sa.Column("made_at", UtcDateTime(), nullable=False),
    sa.Column("expires_at", UtcDateTime(), nullable=False),
    sa.Column("basis", sa.String(64), nullable=False),  # digest of what it was made of, and by whom
    sa.Column("signed", sa.LargeBinary(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class StaffRow:
    """A member of staff as the registry knows him."""

    staff: str
    centre: str | None
    issued_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def counts(self, at: datetime) -> bool:
        """Whether the code is in a list made now."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True)
class SignedList:
    """The present list."""

    number: int
    data: bytes


class StaffRegistry:
    """The rows; used by the operator's command."""

    def __init__(self, store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store, self._now = store, now

    async def add(self, staff: str | None, centre: str | None, expires_at: datetime | None) -> StaffCode:
        """A new code; it is told here and never again. Raises StaffRefusedError, StorageError."""
        now = self._now()
        if staff is not None and not STAFF_ID.fullmatch(staff):
            raise StaffRefusedError("A staff id has six digits and does not begin with 0.")
        if expires_at is not None and expires_at <= now:
            raise StaffRefusedError("The code would be of no use: its last day is over.")
        if sum(row.counts(now) for row in await self.rows()) >= MAX_STAFF:
            raise StaffRefusedError(f"A list holds at most {MAX_STAFF} codes: revoke those that nobody needs.")
        for _ in range(1 if staff else _DRAWS):
            code = make_code(staff or make_staff_id())
            row = {"staff": code.staff, "centre": centre, "issued_at": now, "expires_at": expires_at}
            row["hash"] = await asyncio.to_thread(hash_code, code)
            if await self._insert(row):
                return code
        raise StaffRefusedError("This staff id was given before: each is given once.")

    async def _insert(self, row: Mapping[str, object]) -> bool:
        async with self._store.writing() as connection:
            taken = sa.select(staff_codes.c.staff).where(staff_codes.c.staff == row["staff"])
            if (await connection.execute(taken)).first() is not None:
                return False
            await connection.execute(sa.insert(staff_codes).values(row))
        return True

    async def revoke(self, staff: str) -> StaffRow:
        """Takes a code back for good. Raises StaffRefusedError when there is none, or it is revoked already."""
        async with self._store.writing() as connection:
            change = sa.update(staff_codes).where(staff_codes.c.staff == staff, staff_codes.c.revoked_at.is_(None))
            if (await connection.execute(change.values(revoked_at=self._now()))).rowcount != 1:
                raise StaffRefusedError("There is no such staff id, or its code is revoked already.")
        return next(row for row in await self.rows() if row.staff == staff)

    async def rows(self) -> list[StaffRow]:
        """Everybody who ever had a code, by the time it was given."""
        columns = [column for column in staff_codes.c if column.name != "hash"]
        async with self._store.reading() as connection:
            found = await connection.execute(sa.select(*columns).order_by(staff_codes.c.issued_at, staff_codes.c.staff))
            return [StaffRow(**row._mapping) for row in found]  # noqa: SLF001 (the documented way to read a row by names)


class StaffLists:
    """The list as one intake gives it."""

    def __init__(
        self,
        store: Store,
        signer: Callable[[], Signer] | None,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._signer, self._now, self._monotonic = store, signer, now, monotonic
        self._turn = asyncio.Lock()
        self._given: SignedList | None = None
        self._look_at = 0.0

    async def current(self) -> SignedList:
        """The present list. Raises StaffListUnknownError, StaffListUnavailableError, StorageError."""
        if self._signer is None:
            raise StaffListUnknownError("This intake names no staff.")
        async with self._turn:
            if self._given is None or self._monotonic() >= self._look_at:
                try:
                    self._given = await self._look(await asyncio.to_thread(self._signer))
                except CryptoError as error:
                    raise StaffListUnavailableError("The list of staff codes cannot be signed just now.") from error
                self._look_at = self._monotonic() + LOOK_S
            return self._given

    async def _look(self, signer: Signer) -> SignedList:
        async with self._store.reading() as connection:
            if (found := await self._fresh(connection, signer)) is not None:
                return found
        async with self._locked() as connection:
            if (found := await self._fresh(connection, signer)) is not None:
                return found  # another intake was faster
            return await self._make(connection, signer)

    async def _fresh(self, connection: AsyncConnection, signer: Signer) -> SignedList | None:
        row = (await connection.execute(sa.select(staff_list))).first()
        now = self._now()
        if row is None or row.basis != _basis(await _entries(connection, now), signer):
            return None
        in_time = row.made_at - CLOCKS_APART <= now < row.made_at + (row.expires_at - row.made_at) / 2
        return SignedList(row.number, row.signed) if in_time else None

    async def _make(self, connection: AsyncConnection, signer: Signer) -> SignedList:
        now = self._now().replace(microsecond=0)
        entries = await _entries(connection, now)
        last = (await connection.execute(sa.select(staff_list.c.number))).scalar_one_or_none()
        number = max((last or 0) + 1, int(now.timestamp()))

        def sign() -> bytes:
            return sign_staff_list(number=number, staff=entries, at=now, expires_at=now + LIST_LIFE, signer=signer)

        signed = await asyncio.to_thread(sign)
        values = {"number": number, "made_at": now, "expires_at": now + LIST_LIFE, "signed": signed}
        values["basis"] = _basis(entries, signer)
        if last is None:
            await connection.execute(sa.insert(staff_list).values(slot=_ONLY, **values))
        else:
            await connection.execute(sa.update(staff_list).values(**values))
        log.info("A new list of staff codes was signed.", extra={"list": number, "codes": len(entries)})
        return SignedList(number, signed)

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[AsyncConnection]:
        async with self._store.writing() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(STAFF_LOCK)))
            yield connection


async def _entries(connection: AsyncConnection, now: datetime) -> tuple[StaffEntry, ...]:
    """Whom a list made now names."""
    ends = staff_codes.c.expires_at
    wanted = sa.select(staff_codes).where(staff_codes.c.revoked_at.is_(None), sa.or_(ends.is_(None), ends > now))
    rows = await connection.execute(wanted.order_by(staff_codes.c.staff))
    return tuple(
        StaffEntry(staff=row.staff, centre=row.centre, expires_at=row.expires_at, hash=row.hash) for row in rows
    )


def _basis(entries: tuple[StaffEntry, ...], signer: Signer) -> str:
    """What a list is made of, and whose certificate signs it: when either changes, there is a new list."""
    ends = [None if one.expires_at is None else write_instant(one.expires_at) for one in entries]
    told = [[one.staff, one.centre, end, one.hash] for one, end in zip(entries, ends, strict=True)]
    certificate = f"{signer.certificate.serial_number:x}"
    return hashlib.sha256(canonical_json([certificate, told])).hexdigest()
