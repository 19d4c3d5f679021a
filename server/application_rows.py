"""The registry's rows: applications, and captures, which join a packet with its application and with the status token of its applicant.

Rules:
  - A capture is written in the transaction that takes its packet (server/receipt_log.py), once; it names application and token by their digests. So an
    upload needs no registry: the application may be imported later, `settle` joins them then.
  - State changes follow server/applications.py, one transaction after the other (`_alone`): a portrait that arrives while another one is decided, or
    while its application is imported, is not missed. A decision is the application's and the newest capture's in one transaction; an older capture keeps the
    outcome that it had.
  - The desk's decision about a packet reaches its capture, and the application by all its captures, within the decision's own transaction (`decide_capture`).
  - What an applicant learns by his token is his own capture's outcome; once another portrait of his is accepted, a refused one asks for nothing any more.
  - Reasons of a retake stand in one column with spaces between them, as key ids do in `packets`.
  - `forget` removes applications some time after their last day, with their captures; captures that no application ever came for go by their age.
    Packets are not concerned. `unlink` removes the capture of a packet that is deleted (server/deletions.py).
No number is logged here or stands in an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.application import application_digest
from server.application_errors import ApplicationUndecidableError, ApplicationUnknownError
from server.applications import Application, NewApplication, Outcome, State, are_reasons_right, decided, settled
from server.handover_rows import decisions
from server.queue_rows import QueueState, note_state
from server.store import Store, UtcDateTime, metadata, packets

BATCH = 500
# Any constants; name the registry's locks among PostgreSQL's advisory locks. An import takes them in this order.
IMPORT_LOCK, REGISTRY_LOCK = 0x7062696D, 0x70626170

applications = sa.Table(
    "applications",
    metadata,
    sa.Column("number", sa.String(20), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("centre", sa.String(64), nullable=False),
    sa.Column("expires", sa.Date(), nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(32), nullable=True),
    sa.Column("changed_at", UtcDateTime(), nullable=False),
)

captures = sa.Table(
    "captures",
    metadata,
    sa.Column("serial", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("packet_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("application", sa.String(64), nullable=True, index=True),
    sa.Column("status", sa.String(64), nullable=True, index=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(32), nullable=True),
    sa.Column("received_at", UtcDateTime(), nullable=False, index=True),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True)
class Links:
    """What a booth tells beside a packet, in hex: its application's digest, and its status token's."""

    application: str | None = None
    status: str | None = None

    def __bool__(self) -> bool:
        return self.application is not None or self.status is not None


NO_LINKS = Links()


@dataclass(frozen=True, slots=True)
class Status:
    """What an applicant may know of his portrait."""

    state: Outcome
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Capture:
    """One portrait of an application."""

    packet_sha256: str
    outcome: Outcome
    reasons: tuple[str, ...]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0


async def note_captures(
    connection: AsyncConnection, came: Sequence[tuple[str, Links]], now: Callable[[], datetime]
) -> None:
    """Within the transaction that takes the packets: their captures, and the state of the applications that are known."""
    linked = [(sha256, links) for sha256, links in came if links]
    if not linked:
        return
    await _alone(connection)
    at = now()
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    rows = [
        {
            "packet_sha256": sha256,
            "application": links.application,
            "status": links.status,
            "outcome": Outcome.RECEIVED,
            "received_at": at,
        }
        for sha256, links in linked
    ]
    await connection.execute(dialect.insert(captures).on_conflict_do_nothing(), rows)
    digests = {links.application for _, links in linked if links.application is not None}
    # Those that are captured or accepted stay so: AFTER_CAPTURE.
    capturable = sa.update(applications).where(
        applications.c.digest.in_(digests), applications.c.state.in_([State.FILED, State.RETAKE])
    )
    await connection.execute(capturable.values(state=State.CAPTURED, reason=None, changed_at=at))


class Registry:
    """The applications of one database."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now

    async def find(self, number: str) -> Application | None:
        """An application by its number."""
        async with self._store.reading() as connection:
            return await _find(connection, number)

    async def is_empty(self) -> bool:
        """Whether there is no application at all."""
        async with self._store.reading() as connection:
            return (await connection.execute(sa.select(applications.c.number).limit(1))).first() is None

    async def captures_of(self, number: str) -> list[Capture]:
        """Its portraits, oldest first."""
        query = sa.select(captures).where(captures.c.application == application_digest(number).hex())
        async with self._store.reading() as connection:
            rows = await connection.execute(query.order_by(captures.c.serial))
            return [_capture(row) for row in rows]

    async def listed(self, state: State | None, centre: str | None, limit: int) -> list[Application]:
        """Applications in the order of their numbers."""
        query = sa.select(applications).order_by(applications.c.number).limit(limit)
        if state is not None:
            query = query.where(applications.c.state == state)
        if centre is not None:
            query = query.where(applications.c.centre == centre)
        async with self._store.reading() as connection:
            return [_application(row) for row in await connection.execute(query)]

    async def counts(self) -> dict[State, int]:
        """How many applications are in each state."""
        query = sa.select(applications.c.state, sa.func.count()).group_by(applications.c.state)
        async with self._store.reading() as connection:
            found = {State(state): int(count) for state, count in await connection.execute(query)}
        return {state: found.get(state, 0) for state in State}

    async def outcomes(self, packets: Sequence[str]) -> dict[str, Outcome]:
        """What became of these packets' portraits; those that no application or status token goes with are left out."""
        query = sa.select(captures.c.packet_sha256, captures.c.outcome).where(captures.c.packet_sha256.in_(packets))
        async with self._store.reading() as connection:
            return {sha256: Outcome(outcome) for sha256, outcome in await connection.execute(query)}

    async def status(self, digest: str) -> Status | None:
        """What the bearer of a status token may know; None when nothing came for it."""
        joined = captures.outerjoin(applications, applications.c.digest == captures.c.application)
        query = sa.select(captures.c.outcome, captures.c.reason, applications.c.state).select_from(joined)
        newest = query.where(captures.c.status == digest).order_by(captures.c.serial.desc()).limit(1)
        async with self._store.reading() as connection:
            row = (await connection.execute(newest)).first()
        if row is None:
            return None
        if row.outcome == Outcome.RETAKE and row.state == State.ACCEPTED:
            return Status(Outcome.ACCEPTED, ())
        return Status(Outcome(row.outcome), _reasons(row.reason))

    async def file(
        self,
        new: Sequence[NewApplication],
        *,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> Imported:
        """Adds applications, and changes centre and last day of those that are known; all or none. Their states stay."""
        done = Imported()
        try:
            async with self._store.writing() as connection:
                await _alone(connection, IMPORT_LOCK)
                for start in range(0, len(new), BATCH):
                    done = await self._file_batch(connection, new[start : start + BATCH], done)
                    progress(min(start + BATCH, len(new)))
                if dry_run:
                    raise _TakenBackError
        except _TakenBackError:
            return done
        await self.settle()
        return done

    async def _file_batch(self, connection: AsyncConnection, new: Sequence[NewApplication], done: Imported) -> Imported:
        at = self._now()
        query = sa.select(applications).where(applications.c.number.in_([one.number for one in new]))
        known = {row.number: row for row in await connection.execute(query)}
        added = [
            {
                "number": one.number,
                "digest": application_digest(one.number).hex(),
                "centre": one.centre,
                "expires": one.expires,
                "state": State.FILED,
                "changed_at": at,
            }
            for one in new
            if one.number not in known
        ]
        changed = [
            {"its_number": one.number, "its_centre": one.centre, "its_end": one.expires, "its_time": at}
            for one in new
            if one.number in known
            and (known[one.number].centre, known[one.number].expires) != (one.centre, one.expires)
        ]
        if added:
            await connection.execute(sa.insert(applications), added)
        if changed:
            change = (
                sa.update(applications)
                .where(applications.c.number == sa.bindparam("its_number"))
                .values(
                    centre=sa.bindparam("its_centre"),
                    expires=sa.bindparam("its_end"),
                    changed_at=sa.bindparam("its_time"),
                )
            )
            await _alone(connection)  # from here on uploads wait, instead of each for rows of the other
            await connection.execute(change, changed)
        unchanged = len(new) - len(added) - len(changed)
        return Imported(done.added + len(added), done.changed + len(changed), done.unchanged + unchanged)

    async def settle(self) -> int:
        """Applications whose portrait arrived before they did become captured, or what the desk has decided meanwhile; how many. Safe beside uploads, and again."""
        mine = sa.select(captures.c.serial).where(captures.c.application == applications.c.digest)
        newest = sa.select(captures.c.reason).where(captures.c.application == applications.c.digest)
        why = newest.order_by(captures.c.serial.desc()).limit(1).scalar_subquery()
        steps: tuple[tuple[Outcome, State, Any], ...] = (
            (Outcome.ACCEPTED, State.ACCEPTED, None),
            (Outcome.RECEIVED, State.CAPTURED, None),
            (Outcome.RETAKE, State.RETAKE, why),
        )
        done = 0
        async with self._store.writing() as connection:
            await _alone(connection)
            for outcome, state, reason in steps:
                there = mine.where(captures.c.outcome == outcome).exists()
                change = sa.update(applications).where(applications.c.state == State.FILED, there)
                values = {"state": state, "reason": reason, "changed_at": self._now()}
                done += int((await connection.execute(change.values(values))).rowcount)
        return done

    async def decide(
        self, number: str, outcome: Outcome, reasons: Sequence[str], packet: str | None = None
    ) -> Application:
        """An operator's decision about the newest portrait, which is that of `packet` (the beginning of its digest) where one is named.

        Raises `ApplicationUnknownError`, `ApplicationUndecidableError`.
        """
        if not are_reasons_right(outcome, reasons):
            raise ApplicationUndecidableError("A retake has one to three of the known reasons, acceptance has none.")
        reason = " ".join(reasons) or None
        async with self._store.writing() as connection:
            await _alone(connection)
            found = await _find(connection, number)
            if found is None:
                raise ApplicationUnknownError("There is no such application.")
            state = decided(found.state, outcome)
            if state is None:
                raise ApplicationUndecidableError(
                    f"The application is {found.state}: there is no portrait to decide on."
                )
            newest = await _newest(connection, number)
            if packet is not None and (newest is None or not newest.startswith(packet)):
                raise ApplicationUndecidableError("The newest portrait is another one: look at it first.")
            if found.state is State.ACCEPTED:
                return found  # a portrait that came later was looked at by nobody
            change = sa.update(applications).where(applications.c.number == number)
            await connection.execute(change.values(state=state, reason=reason, changed_at=self._now()))
            if newest is not None:  # else it was forgotten
                decision = sa.update(captures).where(captures.c.packet_sha256 == newest)
                await connection.execute(decision.values(outcome=outcome, reason=reason))
        if newest is not None:
            await self._tell_queue(newest, outcome)
        return Application(found.number, found.centre, found.expires, state, tuple(reasons))

    async def _tell_queue(self, packet: str, outcome: Outcome) -> None:
        """It waits for no officer any more, unless the desk has decided, which counts. In a transaction of its own: packets are locked before the registry."""
        state = QueueState.ACCEPTED if outcome is Outcome.ACCEPTED else QueueState.REFUSED
        locked = sa.select(packets.c.serial).where(packets.c.sha256 == packet).with_for_update()
        made = sa.select(decisions.c.number).where(decisions.c.packet_sha256 == packet)
        async with self._store.writing() as connection:
            there = (await connection.execute(locked)).first() is not None
            if there and (await connection.execute(made)).first() is None:
                await note_state(connection, packet, state)

    async def remove(self, numbers: Iterable[str]) -> int:
        """Applications and their captures, by number; how many there were."""
        removed = 0
        async with self._store.writing() as connection:
            await _alone(connection)
            for number in numbers:
                gone = sa.delete(captures).where(captures.c.application == application_digest(number).hex())
                await connection.execute(gone)
                removed += (
                    await connection.execute(sa.delete(applications).where(applications.c.number == number))
                ).rowcount
        return removed

    async def forget(self, last_day: date) -> int:
        """Applications whose last day is before `last_day`, with their captures; captures without one that came before it. How many applications."""
        over = applications.c.expires < last_day
        known = sa.select(applications.c.digest)
        morning = datetime.combine(last_day, datetime.min.time(), self._now().tzinfo)
        async with self._store.writing() as connection:
            await _alone(connection)
            of_them = captures.c.application.in_(known.where(over))
            alone = sa.or_(captures.c.application.is_(None), captures.c.application.not_in(known))
            await connection.execute(
                sa.delete(captures).where(sa.or_(of_them, sa.and_(alone, captures.c.received_at < morning)))
            )
            return int((await connection.execute(sa.delete(applications).where(over))).rowcount)

    async def forget_old(self, kept: timedelta) -> int:
        """What is due for removal today."""
        return await self.forget(self._now().date() - kept)


async def decide_capture(
    connection: AsyncConnection, packet: str, outcome: Outcome, reasons: Sequence[str], at: datetime
) -> None:
    """Within the transaction that decides about a packet: what its applicant may know, and the state of his application where one is known."""
    await _alone(connection)
    change = sa.update(captures).where(captures.c.packet_sha256 == packet)
    told = change.values(outcome=outcome, reason=" ".join(reasons) or None).returning(captures.c.application)
    digest = (await connection.execute(told)).scalar_one_or_none()
    if digest is None:
        return
    its = sa.select(applications.c.state).where(applications.c.digest == digest)
    present = (await connection.execute(its)).scalar_one_or_none()
    if present is None:
        return
    rows = await connection.execute(
        sa.select(captures.c.outcome, captures.c.reason)
        .where(captures.c.application == digest)
        .order_by(captures.c.serial)
    )
    portraits = [(Outcome(row.outcome), _reasons(row.reason)) for row in rows]
    state, why = settled(State(present), portraits)
    follow = sa.update(applications).where(applications.c.digest == digest)
    await connection.execute(follow.values(state=state, reason=" ".join(why) or None, changed_at=at))


async def unlink(connection: AsyncConnection, packet: str, at: datetime) -> None:
    """Within the transaction that deletes a packet: its capture goes, and an application whose last portrait nobody decided on is filed as before."""
    await _alone(connection)
    gone = sa.delete(captures).where(captures.c.packet_sha256 == packet).returning(captures.c.application)
    application = (await connection.execute(gone)).scalar_one_or_none()
    if application is None:
        return
    undecided = sa.select(captures.c.serial).where(
        captures.c.application == application, captures.c.outcome == Outcome.RECEIVED
    )
    change = sa.update(applications).where(
        applications.c.digest == application, applications.c.state == State.CAPTURED, ~undecided.exists()
    )
    await connection.execute(change.values(state=State.FILED, changed_at=at))


class _TakenBackError(Exception):
    """Ends the transaction of a dry run."""


async def _alone(connection: AsyncConnection, lock: int = REGISTRY_LOCK) -> None:
    """Until the transaction ends no other one changes states: each sees what those before it did. With SQLite a writing transaction is alone anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))


async def _find(connection: AsyncConnection, number: str) -> Application | None:
    query = sa.select(applications).where(applications.c.number == number)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _application(row)


async def _newest(connection: AsyncConnection, number: str) -> str | None:
    """The packet of an application's newest portrait."""
    query = sa.select(captures.c.packet_sha256).where(captures.c.application == application_digest(number).hex())
    return (await connection.execute(query.order_by(captures.c.serial.desc()).limit(1))).scalar_one_or_none()


def _application(row: sa.Row[Any]) -> Application:
    return Application(row.number, row.centre, row.expires, State(row.state), _reasons(row.reason))


def _capture(row: sa.Row[Any]) -> Capture:
    return Capture(row.packet_sha256, Outcome(row.outcome), _reasons(row.reason), row.received_at)


def _reasons(text: str | None) -> tuple[str, ...]:
    return tuple(text.split()) if text else ()
