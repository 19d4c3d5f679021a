"""Whether the desk's audit log is whole: every entry sealed, in its place, as its row says, and nothing cut off or exchanged.

What is looked at, entry by entry in the order of their numbers
  - the table has its keys, and every value is of its column's kind (server/log_tables.py);
  - the entry is sealed by a trusted desk, or under this desk's secret (crypto/audit_entry.py); without the secret such entries are counted as not checked;
  - number, time, actor, action and subject of the row are those of the entry;
  - numbers begin at 1 and have no gap, and each entry names the sealed one before it;
  - the desks' own memories (server/audit_witness.py, and copies kept elsewhere) name entries that stand there;
  - no desk found, when it wrote, that its last entry was gone (`log.resumed`). A restored backup causes that too: who knows of one says so (`known`).

An entry that is appended while this runs is looked at too, or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.audit_entry import AuditEntry, digest_of, needs_secret, open_entry
from crypto.desk_secret import DeskSecret
from crypto.errors import AuditEntryError
from crypto.keys import TrustStore
from server.audit import Action, audit_log
from server.audit_witness import Witnessed
from server.log_tables import table_faults
from server.store import Store

PAGE = 500
MAX_FINDINGS = 100  # more are counted
MAX_JOINED = 20

Step = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong; `number` is the entry's."""

    code: str
    text: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """What somebody remembers of the log, and who."""

    name: str
    entry: Witnessed


@dataclass
class Trail:
    """What a look found."""

    entries: int = 0
    signed: int = 0
    under_secret: int = 0
    unchecked: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    last: Witnessed | None = None
    joined: list[int] = field(default_factory=list)  # where desks began that remembered nothing, the newest of them
    findings: list[Finding] = field(default_factory=list)
    found: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing was found. Entries that could not be checked are told beside it."""
        return self.found == 0

    def add(self, code: str, text: str, number: int | None = None) -> None:
        """Note a finding."""
        self.found += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(code, text, number))


async def check_trail(
    store: Store,
    trust: TrustStore,
    secret: DeskSecret | None,
    *,
    witnesses: Sequence[Witness] = (),
    known: Collection[int] = (),
    newest: int | None = None,
    step: Step = lambda *_: None,
) -> Trail:
    """Check the whole log, or its `newest` entries as what follows the one before them. `known` are the numbers of `log.resumed` entries that a restore explains.

    Raises `StorageUnavailableError`.
    """
    trail = Trail()
    async with store.reading() as connection:
        faults = await table_faults(connection, (audit_log,))
        for code, text in faults:
            trail.add(code, text)
        if any(code == "row.kind" for code, _ in faults):
            # SQLAlchemy makes a number in a column of bytes into so many bytes: 2^40 in one row would take all memory.
            trail.add("row.unread", "The entries were not read: not every row holds what its columns can hold.")
            return trail
        total = (await connection.execute(sa.select(sa.func.count()).select_from(audit_log))).scalar_one()
        base = None if newest is None else await _base(connection, newest)
    walk = _Walk(trail, trust, secret, witnesses, known, base)
    try:
        async for page in _pages(store, base):
            await asyncio.to_thread(walk.page, page)
            step("entries", trail.entries, max(total, trail.entries))
    except (TypeError, ValueError, AttributeError):  # SQLite keeps a value of any kind in any column
        trail.add("row.kind", "A row holds a value of another kind than its column: the look ended there.")
    walk.end()
    return trail


async def _base(connection: AsyncConnection, newest: int) -> Witnessed | None:
    """The entry before the newest ones, taken as it stands; None when those are all."""
    query = sa.select(audit_log.c.number, audit_log.c.entry).order_by(audit_log.c.number.desc()).offset(newest).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Witnessed(row.number, digest_of(bytes(row.entry)))


async def _pages(store: Store, base: Witnessed | None) -> AsyncIterator[Sequence[sa.Row[Any]]]:
    """The rows behind `base` by their numbers; where those are no numbers any more, as the database orders them."""
    after: Any = None if base is None else base.number
    while True:
        query = sa.select(audit_log).order_by(audit_log.c.number).limit(PAGE)
        if after is not None:
            query = query.where(audit_log.c.number > after)
        async with store.reading() as connection:
            rows = (await connection.execute(query)).all()
        if not rows:
            return
        yield rows
        after = rows[-1].number


class _Walk:
    """One look."""

    def __init__(
        self,
        trail: Trail,
        trust: TrustStore,
        secret: DeskSecret | None,
        witnesses: Sequence[Witness],
        known: Collection[int],
        base: Witnessed | None,
    ) -> None:
        self._trail, self._trust, self._secret, self._known = trail, trust, secret, frozenset(known)
        first = 1 if base is None else base.number + 1
        self._waiting = {(one.name, one.entry.number): one.entry for one in witnesses if one.entry.number >= first}
        self._previous = base

    def page(self, rows: Sequence[sa.Row[Any]]) -> None:
        """Look at some rows."""
        for row in rows:
            self._trail.entries += 1
            self._row(row)

    def end(self) -> None:
        """What the walk has not met."""
        self._trail.last = self._previous
        for (name, number), _ in sorted(self._waiting.items()):
            self._trail.add("witness.missing", f"{name} knows entry {number}; it is gone.", number)

    def _row(self, row: sa.Row[Any]) -> None:
        trail, sealed, number = self._trail, bytes(row.entry), int(row.number)
        expected = 1 if self._previous is None else self._previous.number + 1
        if number == expected + 1:
            trail.add("entry.missing", f"Entry {expected} is gone.", expected)
        elif number > expected:
            trail.add("entry.missing", f"Entries {expected} to {number - 1} are gone.", expected)
        elif number < expected:
            trail.add("entry.place", "An entry stands before the first one, or twice.", number)
        before = digest_of(None) if self._previous is None else self._previous.digest
        self._previous = Witnessed(number, digest_of(sealed))
        self._meet(self._previous)
        if needs_secret(sealed) and self._secret is None:
            trail.unchecked += 1
            return
        try:
            entry = open_entry(sealed, self._trust, self._secret)
        except AuditEntryError as error:
            trail.add("entry.seal", str(error), number)
            return
        trail.signed += entry.sealing == "cms"
        trail.under_secret += entry.sealing == "hmac"
        trail.first_at, trail.last_at = trail.first_at or entry.at, entry.at
        self._compare(row, entry, before)

    def _compare(self, row: sa.Row[Any], entry: AuditEntry, before: str) -> None:
        trail = self._trail
        if entry.number != row.number:
            trail.add("entry.place", f"The entry says that it is number {entry.number}.", row.number)
        if entry.previous != before:
            trail.add("entry.chain", "The entry does not follow the one that stands before it.", row.number)
        said = (entry.at, entry.actor, entry.action, entry.subject)
        if (row.at, row.actor, row.action, row.subject) != said:
            trail.add("entry.columns", "The row says something else than its entry.", row.number)
        if entry.action == Action.LOG_JOINED:
            trail.joined = [*trail.joined, entry.number][-MAX_JOINED:]
        if entry.action == Action.LOG_RESUMED and entry.number not in self._known:
            at = entry.facts.get("known_number", "?")
            text = f"A desk had written up to entry {at}, and found its last entry gone: the log was cut or exchanged before, or a backup was restored."
            trail.add("log.resumed", text, row.number)

    def _meet(self, entry: Witnessed) -> None:
        for name, number in [key for key in self._waiting if key[1] == entry.number]:
            if self._waiting.pop((name, number)).digest != entry.digest:
                self._trail.add("witness.other", f"{name} knows another entry at this place.", number)
