"""What a counter asks of the registry: a new application, and one application with all that became of its portraits.

Rules: a number stands for one application. Registering one that is known changes nothing of it, its centre and last day neither: the answer says that it is
known. Portraits that came before their application (a booth without the registry) give it its state in the same transaction. An application's
history is its portraits' arrivals with their outcomes, of any booth of any centre: no picture, no digest, nothing that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from crypto.application import application_digest
from server.application_rows import REGISTRY_LOCK, applications, captures
from server.applications import Application, NewApplication, Outcome, State, settled
from server.store import Store, packets

MOST_PORTRAITS = 50  # of one application that are shown; the newest


@dataclass(frozen=True, slots=True)
class Portrait:
    """One portrait of an application: when it arrived, of which booth, and what became of it. A deleted packet has no booth any more."""

    received_at: datetime
    booth: str | None
    outcome: Outcome
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CounterRecord:
    """An application as a counter sees it; portraits from new to old."""

    application: Application
    changed_at: datetime
    portraits: tuple[Portrait, ...]


async def register(store: Store, new: NewApplication, at: datetime) -> bool:
    """Files an application; says whether its number was free. Raises `StorageError`."""
    digest = application_digest(new.number).hex()
    came = (
        sa.select(captures.c.outcome, captures.c.reason)
        .where(captures.c.application == digest)
        .order_by(captures.c.serial)
    )
    async with store.writing() as connection:
        if connection.dialect.name == "postgresql":  # as all that changes states; a writing SQLite is alone anyway
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(REGISTRY_LOCK)))
        portraits = [(Outcome(row.outcome), _reasons(row.reason)) for row in await connection.execute(came)]
        state, why = settled(State.FILED, portraits)
        row = {
            "number": new.number,
            "digest": digest,
            "centre": new.centre,
            "expires": new.expires,
            "state": state,
            "reason": " ".join(why) or None,
            "changed_at": at,
        }
        done = await connection.execute(store.insert(applications).values(row).on_conflict_do_nothing())
        return done.rowcount == 1


async def look_up(store: Store, number: str) -> CounterRecord | None:
    """An application with its history; None when it is not filed. Raises `StorageError`."""
    of_it = sa.select(applications).where(applications.c.number == number)
    came = (
        sa.select(captures.c.received_at, captures.c.outcome, captures.c.reason, packets.c.booth)
        .select_from(captures.outerjoin(packets, packets.c.sha256 == captures.c.packet_sha256))
        .where(captures.c.application == application_digest(number).hex())
        .order_by(captures.c.serial.desc())
        .limit(MOST_PORTRAITS)
    )
    async with store.reading() as connection:
        row = (await connection.execute(of_it)).one_or_none()
        if row is None:
            return None
        portraits = [
            Portrait(one.received_at, one.booth, Outcome(one.outcome), _reasons(one.reason))
            for one in await connection.execute(came)
        ]
    application = Application(row.number, row.centre, row.expires, State(row.state), _reasons(row.reason))
    return CounterRecord(application, row.changed_at, tuple(portraits))


def _reasons(text: str | None) -> tuple[str, ...]:
    return tuple(text.split()) if text else ()
