"""Reading the desk's audit log: its newest entries, by actor, action, subject and day, each checked as it is read.

Rows are found by their columns, each filter by an index of its own; what is told of a row is what its sealed entry says, and a row whose entry is not genuine is told as
such. Days are those of UTC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from crypto.audit_entry import AuditEntry, open_entry
from crypto.desk_secret import DeskSecret
from crypto.errors import AuditEntryError
from crypto.keys import TrustStore
from server.audit import Action, AuditRow, audit_log
from server.audit_errors import AuditFilterError
from server.packet_search import AFTER_HEX, HEX
from server.store import Store

MAX_TEXT = 128  # of the subject's column
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(9998, 12, 31)
PAGE = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries; what is empty is any."""

    actor: str = ""
    action: Action | None = None
    subject: str = ""  # of a digest its beginning too
    since: datetime | None = None
    until: datetime | None = None  # before

    def __bool__(self) -> bool:
        return self != Wanted()


@dataclass(frozen=True, slots=True)
class Line:
    """A row, and what its entry says; None when that is not genuine or not what the row says."""

    row: AuditRow
    entry: AuditEntry | None


def read_wanted(asked: Mapping[str, str]) -> Wanted:
    """The filter in an address or of a command: actor, action, subject, from, to. Raises `AuditFilterError`."""
    actor, subject = (asked.get(name, "").strip() for name in ("actor", "subject"))
    for name, text in (("actor", actor), ("subject", subject)):
        if len(text) > MAX_TEXT or not text.isascii() or not text.isprintable():
            raise AuditFilterError(f"The {name} is an id, as entries show it.")
    action = asked.get("action", "").strip()
    if action and action not in set(Action):
        raise AuditFilterError("There is no such action.")
    since, until = _midnight(asked, "from"), _midnight(asked, "to")
    if since is not None and until is not None and until < since:
        raise AuditFilterError("The last day is before the first one.")
    end = None if until is None else until + timedelta(days=1)
    return Wanted(actor, Action(action) if action else None, subject, since, end)


async def newest_rows(store: Store, wanted: Wanted, limit: int, before: int | None = None) -> list[AuditRow]:
    """Entries by descending number, those below `before` when it is given."""
    columns = audit_log.c
    query = sa.select(audit_log).order_by(columns.number.desc()).limit(limit)
    if before is not None:
        query = query.where(columns.number < before)
    if wanted.actor:
        query = query.where(columns.actor == wanted.actor)
    if wanted.action is not None:
        query = query.where(columns.action == str(wanted.action))
    if HEX.fullmatch(wanted.subject):
        query = query.where(columns.subject >= wanted.subject, columns.subject < wanted.subject + AFTER_HEX)
    elif wanted.subject:
        query = query.where(columns.subject == wanted.subject)
    if wanted.since is not None:
        query = query.where(columns.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(columns.at < wanted.until)
    async with store.reading() as connection:
        return [_row(one) for one in await connection.execute(query)]


async def each_row(store: Store, wanted: Wanted, most: int) -> AsyncIterator[AuditRow]:
    """The newest entries one after the other, `most` of them."""
    before: int | None = None
    while most > 0:
        rows = await newest_rows(store, wanted, min(most, PAGE), before)
        for row in rows:
            yield row
        if len(rows) < PAGE:
            return
        most, before = most - len(rows), rows[-1].number


async def read_lines(rows: list[AuditRow], trust: TrustStore, secret: DeskSecret | None) -> list[Line]:
    """What the rows' entries say, each checked by itself. Whether none is missing is another question (server/audit_trail.py)."""
    return await asyncio.to_thread(lambda: [read_line(row, trust, secret) for row in rows])


def read_line(row: AuditRow, trust: TrustStore, secret: DeskSecret | None) -> Line:
    """What a row's entry says."""
    try:
        entry = open_entry(row.entry, trust, secret)
    except AuditEntryError:
        return Line(row, None)
    said = (entry.number, entry.at, entry.actor, entry.action, entry.subject)
    return Line(row, entry if said == (row.number, row.at, row.actor, row.action, row.subject) else None)


def _row(row: sa.Row[Any]) -> AuditRow:
    return AuditRow(**row._mapping)  # noqa: SLF001 (the documented way to read a row by names)


def _midnight(asked: Mapping[str, str], name: str) -> datetime | None:
    text = asked.get(name, "").strip()
    if not text:
        return None
    try:
        read = date.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or not FIRST_DAY <= read <= LAST_DAY:
        raise AuditFilterError("A day is written as 2026-11-23.")
    return datetime(read.year, read.month, read.day, tzinfo=UTC)
