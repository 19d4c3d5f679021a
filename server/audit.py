"""The desk's audit log: who looked at what, and who did what, one entry after the other, none of which can be changed unseen.

Rules
  - An entry is there before what it tells of: a page with personal data is shown after its entry is committed, an act begins after it. What cannot be noted is not
    shown and not done (`AuditUnavailableError`). An act that then fails has a second entry (`act.failed`); whether it was done stands in its own signed record.
  - All desks of one database write one line of entries: each names its number and the digest of the one before, and is sealed (crypto/audit_entry.py), by the desk's
    key for decisions where there is one, otherwise under the desk's secret.
  - An entry holds no personal data: the actor is an opaque id, the subject a digest or another id, facts are numbers and words of a closed alphabet. An application's
    number is named by its keyed hash alone.
  - The desk remembers its last entry beside the database (server/audit_witness.py). A table that does not hold it was cut or exchanged: the desk goes on, because a
    restored backup does the same, and its next entry says so (`log.resumed`) for ever; server/audit_trail.py finds it. A desk that remembers nothing, on a new machine or
    because its memory was removed, says so too (`log.joined`).
  - Pictures of one packet, looked at in one session, are one entry of each kind for ten minutes (`ONCE`): the browser asks for each by itself.

Order of operation of an entry: this process's lock → transaction and the lock of all desks (SQLite: BEGIN IMMEDIATE; PostgreSQL: pg_advisory_xact_lock) → the last
row, and the remembered one → seal → insert → commit → the witness is on the disk → the caller goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.audit_entry import digest_of, seal_entry
from crypto.desk_secret import DeskSecret
from crypto.errors import CryptoError
from crypto.keys import Signer
from server.audit_errors import AuditUnavailableError
from server.audit_witness import FILE_NAME, Witnessed, WitnessFile
from server.errors import SettingsError
from server.store import Store, UtcDateTime, metadata

# Any constant; names the lock of the log among PostgreSQL's advisory locks.
AUDIT_LOCK = 0x70626175
NOBODY = "nobody"  # the actor before somebody has signed in
REPEATED_S = 600.0
KEPT_REPEATS = 10_000


class Action(StrEnum):
    """What an entry tells of. In words: `audit.action.<value>` in the catalogues."""

    # Who is there.
    SIGN_IN = "sign_in"
    SIGN_IN_REFUSED = "sign_in.refused"
    SIGN_IN_LOCKED = "sign_in.locked"
    SIGN_OUT = "sign_out"
    DENIED = "denied"  # a person who is signed in asked for what his roles do not allow
    # What was looked at.
    PACKETS_LISTED = "packets.list"
    PACKETS_SEARCHED = "packets.search"
    PACKET_SEEN = "packet.see"
    PORTRAIT_SEEN = "packet.portrait"
    FRAMES_SEEN = "packet.frames"
    PACKET_RECHECKED = "packet.recheck"
    PACKET_EXPORTED = "packet.export"
    ORDERS_LISTED = "orders.list"
    APPLICATION_SEEN = "application.see"
    AUDIT_READ = "audit.read"
    # What was done about a packet.
    PACKET_TAKEN = "packet.take"
    PACKET_ACCEPTED = "packet.accept"
    PACKET_REFUSED = "packet.refuse"
    PACKET_PROPOSED = "packet.propose"
    PACKET_APPROVED = "packet.approve"
    PROPOSAL_REJECTED = "packet.reject_proposal"
    PROPOSAL_WITHDRAWN = "packet.withdraw_proposal"
    PACKET_HELD = "packet.hold"
    PACKET_RELEASED = "packet.release"
    ORDER_RESENT = "order.resend"
    # At a counter.
    APPLICATION_REGISTERED = "application.register"
    SLIP_PRINTED = "application.slip"
    # Of the fleet.
    SITE_CHANGED = "fleet.site"
    BOOTH_CHANGED = "fleet.booth"
    TOKEN_MADE = "fleet.token"  # noqa: S105 (the name of an action)
    BOOTH_ORDERED = "fleet.order"
    BUNDLE_FETCHED = "fleet.bundle"
    # Of users.
    USERS_LISTED = "users.list"
    USER_ADDED = "user.add"
    USER_CHANGED = "user.change"
    USER_DISABLED = "user.disable"
    USER_ENABLED = "user.enable"
    USER_RESET = "user.reset"
    PASSWORD_CHANGED = "user.password"  # noqa: S105 (the name of an action)
    # Of the log itself.
    ACT_FAILED = "act.failed"
    LOG_RESUMED = "log.resumed"
    LOG_JOINED = "log.joined"


# What a browser asks for by itself while a page is looked at: noted once (`AuditLog.note_once`).
ONCE = frozenset({Action.PORTRAIT_SEEN, Action.FRAMES_SEEN, Action.PACKET_RECHECKED})

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("at", UtcDateTime(), nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(128), nullable=False),
    sa.Column("entry", sa.LargeBinary(), nullable=False),
    # Down to the number, so that each page of a filter is read in its order.
    sa.Index("ix_audit_log_at", "at", "number"),
    sa.Index("ix_audit_log_actor", "actor", "number"),
    sa.Index("ix_audit_log_action", "action", "number"),
    sa.Index("ix_audit_log_subject", "subject", "number"),
)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row."""

    number: int
    at: datetime
    actor: str
    action: str
    subject: str
    entry: bytes


class AuditLog:
    """The one that writes. `signer` gives the key for decisions; None seals under the secret."""

    def __init__(
        self,
        store: Store,
        secret: DeskSecret,
        data_dir: Path,
        *,
        signer: Callable[[], Signer] | None,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.secret = store, secret
        self.witness = WitnessFile(data_dir / FILE_NAME, secret)
        self._signer, self._now, self._clock = signer, now, clock
        self._turn = asyncio.Lock()
        self._noted_until: OrderedDict[tuple[str, ...], float] = OrderedDict()

    async def note(self, actor: str, action: Action, subject: str = "", /, **facts: str | int | bool) -> int:
        """Write an entry; its number, when it is durable. Raises `AuditUnavailableError`, `StorageError`."""
        said = {"actor": actor, "action": str(action), "subject": subject, "facts": facts}
        async with self._turn:
            try:
                async with self.store.writing() as connection:
                    made = await self._append(connection, said)
                await asyncio.to_thread(self._remember, made)
            except (CryptoError, OSError, SettingsError) as error:
                raise AuditUnavailableError(
                    "What is done here cannot be noted, so it is not done: look at the desk's key, its certificate and its data folder."
                ) from error
        return made.entry.number

    async def note_once(
        self, session: str, actor: str, action: Action, subject: str, /, **facts: str | int | bool
    ) -> None:
        """`note`, but once in ten minutes for one session, action and subject. Raises what `note` raises."""
        key, now = (session, str(action), subject), self._clock()
        while self._noted_until and next(iter(self._noted_until.values())) <= now:
            self._noted_until.popitem(last=False)
        if key in self._noted_until:
            return
        await self.note(actor, action, subject, **facts)
        self._noted_until[key] = now + REPEATED_S
        if len(self._noted_until) > KEPT_REPEATS:
            self._noted_until.popitem(last=False)

    def keyed(self, what: str, value: str) -> str:
        """How something that must not stand in an entry is told apart there: 32 hex digits under the desk's secret."""
        return self.secret.mac("audit", f"{what}:{value}".encode()).hex()[:32]

    def application(self, digest: str) -> str:
        """How an application is named in an entry, by the digest of its number in hex."""
        return self.secret.mac("application", bytes.fromhex(digest)).hex()

    async def _append(self, connection: AsyncConnection, said: dict[str, Any]) -> _Made:
        if connection.dialect.name == "postgresql":  # a writing transaction of SQLite is alone anyway
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(AUDIT_LOCK)))
        known = await asyncio.to_thread(self.witness.read)
        query = sa.select(audit_log.c.number, audit_log.c.entry).order_by(audit_log.c.number.desc()).limit(1)
        last = (await connection.execute(query)).one_or_none()
        tail = None if last is None else Witnessed(last.number, digest_of(bytes(last.entry)))
        resumed = known is not None and not await _holds(connection, tail, known)
        if known is not None and resumed:
            facts: dict[str, str | int] = {"known_number": known.number, "known_digest": known.digest}
            tail = await self._insert(connection, tail, _of_the_log(Action.LOG_RESUMED, facts))
        elif known is None and tail is not None:
            tail = await self._insert(connection, tail, _of_the_log(Action.LOG_JOINED, {}))
        return _Made(await self._insert(connection, tail, said), resumed)

    async def _insert(self, connection: AsyncConnection, tail: Witnessed | None, said: dict[str, Any]) -> Witnessed:
        at = self._now().replace(microsecond=0)
        number = 1 if tail is None else tail.number + 1
        placed = said | {"number": number, "previous": digest_of(None) if tail is None else tail.digest, "at": at}

        def seal() -> bytes:
            return seal_entry(placed, self.secret, None if self._signer is None else self._signer())

        sealed = await asyncio.to_thread(seal)
        row = {
            "number": number,
            "at": at,
            "entry": sealed,
            **{name: said[name] for name in ("actor", "action", "subject")},
        }
        await connection.execute(sa.insert(audit_log).values(row))
        return Witnessed(number, digest_of(sealed))

    def _remember(self, made: _Made) -> None:
        if made.resumed:
            self.witness.restart(made.entry)
        else:
            self.witness.remember(made.entry)


@dataclass(frozen=True, slots=True)
class _Made:
    entry: Witnessed
    resumed: bool


def _of_the_log(action: Action, facts: dict[str, str | int]) -> dict[str, Any]:
    return {"actor": NOBODY, "action": str(action), "subject": "", "facts": facts}


async def _holds(connection: AsyncConnection, tail: Witnessed | None, known: Witnessed) -> bool:
    """Whether the table still holds the entry that this desk wrote last."""
    if tail is None or tail.number < known.number:
        return False
    if tail.number == known.number:
        return tail.digest == known.digest
    query = sa.select(audit_log.c.entry).where(audit_log.c.number == known.number)
    entry = (await connection.execute(query)).scalar_one_or_none()
    return entry is not None and digest_of(bytes(entry)) == known.digest


def digests_hash(digests: Collection[str]) -> str:
    """What names the packets of a list in one entry: SHA-256 over their digests, one on each line, in the order shown."""
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()
