"""Everything in the receipt log computed again from its entries, and compared with what is stored, signed, and kept elsewhere.

What is checked, in one walk from the first leaf to the end, page by page, so that intakes go on appending meanwhile:
    the tables (server/log_tables.py): their keys, and the kinds of their values;
    every tree head: signature, log, columns, and the root that the leaves up to there lead to;
    every entry: its form, that positions have no gap, the stored hash of its leaf and of each subtree that it completes;
    every packet: that its row says what its entry says, in the same order, and that its receipt holds that entry and the head of its batch; one
        that has no row is a finding, unless an `Account` vouches for its absence (a signed record of its deletion);
    nothing beyond: no packet outside the log, no leaf, hash or packet after the newest head;
    every witness, a tree head or receipt that somebody else kept: that the log of then is the beginning of the log of now;
    on request every packet file: its digest, its size, and the public header against the row;
    at the end each `Check` that was registered: rows of other tables that are signed or hang on the log.

A finding never stops the walk: where an entry is gone or changed its stored hash stands in for it, so that later findings are true ones.
What no check of one database can find: rows taken off the end together with the heads over them, or everything written anew with the signing
key. A witness from before finds both.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.errors import CanonicalJsonError, PacketFormatError, ReceiptError
from crypto.keys import TrustStore
from crypto.merkle import Frontier, leaf_hash
from crypto.receipt import LogEntry, read_entry
from crypto.tree_head import TreeHead, verify_tree_head
from server.errors import StorageCorruptError
from server.log_rows import log_entries, log_heads, log_identity, log_nodes
from server.log_tables import table_faults
from server.objects import ObjectStore
from server.packet_faults import Batch, file_faults, packet_faults
from server.store import Store, StoredPacket, packets, stored_packet

log = logging.getLogger(__name__)

PAGE = 500
# More are counted, not listed: a log with so many findings is judged by its first ones.
MAX_LISTED = 1_000

Step = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be."""

    code: str
    text: str
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """What somebody outside kept: a verified tree head, and the entry of the receipt that it came with."""

    name: str
    head: TreeHead
    entry: LogEntry | None = None


@dataclass(slots=True)
class Audit:
    """What a walk over the log has found."""

    log: str = ""
    size: int = 0
    root_hash: str = ""
    heads: int = 0
    packets: int = 0
    deleted: int = 0  # packets without a row whose absence is accounted for
    files: int | None = None
    findings: list[Finding] = field(default_factory=list)
    found: int = 0

    @property
    def sound(self) -> bool:
        """Nothing was found."""
        return self.found == 0

    def add(self, code: str, text: str, position: int | None = None) -> None:
        """Write a finding down."""
        self.found += 1
        if len(self.findings) < MAX_LISTED:
            self.findings.append(Finding(code, text, position))


# Looks at rows that the walk does not know: adds what it finds. It runs when the walk is over, on a connection of its own.
Check = Callable[[AsyncConnection, Audit], Awaitable[None]]
# Asked while the walk goes on, for the entries of a page whose packets have no row: the digests of those whose absence is rightly accounted for.
Account = Callable[[AsyncConnection, Sequence[LogEntry]], Awaitable[Collection[str]]]


async def audit_log(
    store: Store,
    trust: TrustStore,
    *,
    witnesses: Sequence[Witness] = (),
    objects: ObjectStore | None = None,
    accounts: Sequence[Account] = (),
    checks: Sequence[Check] = (),
    step: Step | None = None,
) -> Audit:
    """Check the whole log. Raises `StorageUnavailableError` when the database does not answer."""
    walk = _Walk(store, trust, witnesses, accounts, step or (lambda *_: None))
    audit = await walk.run(objects)
    if walk.unreadable:
        return audit
    for check in checks:
        async with store.reading() as connection:
            with _readable(audit):
                await check(connection, audit)
    return audit


class _Walk:
    """One check of the log."""

    def __init__(
        self, store: Store, trust: TrustStore, witnesses: Sequence[Witness], accounts: Sequence[Account], step: Step
    ) -> None:
        self._store = store
        self._trust = trust
        self._accounts = accounts
        self._without_row: list[LogEntry] = []
        self._witnesses = sorted(witnesses, key=lambda witness: witness.head.size)
        self._step = step
        self._frontier = Frontier()
        self._serial = 0
        self._previous_at: datetime | None = None
        self.audit = Audit()
        # A value of another kind than its column: nothing is read then, because a number in a column of bytes becomes that many bytes in memory.
        self.unreadable = False

    async def run(self, objects: ObjectStore | None) -> Audit:
        """The walk, then the files."""
        with _readable(self.audit):
            await self._walk()
            if objects is not None and not self.unreadable:
                await self._files(objects)
        return self.audit

    async def _walk(self) -> None:
        audit = self.audit
        await self._begin()
        if self.unreadable:
            return
        batches = self._batches()
        batch = await anext(batches, None)
        if batch is None or batch.size != 0:
            audit.add("head.first", "The head that says how the log began is gone.")
        batch = await self._pass_heads(batches, batch)
        async for page in self._pages():
            known, rows = await self._nodes(page), await self._rows(page)
            for row in page:
                if batch is None:
                    break  # appended since the walk began, or without a head: the end tells
                self._fill_gap(row.position, known)
                self._entry(row, rows.get(row.position), known, batch)
                batch = await self._pass_heads(batches, batch)
            await self._account()
            self._step("entries", self._frontier.size, audit.size)
        audit.root_hash = self._frontier.root().hex()
        if self._frontier.size < audit.size:
            audit.add("entry.missing", f"The newest head has {audit.size} entries, the log {self._frontier.size}.")
        for witness in self._witnesses:
            audit.add(
                "witness.longer",
                f"{witness.name} knows {witness.head.size} entries; the log has been cut off at {self._frontier.size}.",
            )
        await self._end()

    async def _begin(self) -> None:
        audit = self.audit
        async with self._store.reading() as connection:
            faults = await table_faults(connection)
            for code, text in faults:
                audit.add(code, text)
            self.unreadable = any(code == "row.kind" for code, _ in faults)
            if self.unreadable:
                return
            names = (await connection.execute(sa.select(log_identity))).all()
            audit.size = (await connection.execute(sa.select(sa.func.max(log_heads.c.size)))).scalar_one() or 0
            first = (
                await connection.execute(sa.select(log_heads.c.signed_at).where(log_heads.c.size == 0))
            ).scalar_one_or_none()
        if len(names) != 1:
            audit.add("log.name", "The log does not have exactly one name.")
        else:
            audit.log = names[0].log
            if names[0].created_at != first:
                audit.add("log.name", "The log was not begun when its first head was signed.")
        for witness in self._witnesses:
            if witness.head.log != audit.log:
                audit.add("witness.log", f"{witness.name} is of another log, {witness.head.log}.")

    async def _batches(self) -> AsyncIterator[Batch]:
        """The heads by size, each verified, up to the newest one of the beginning."""
        last = -1
        while last < self.audit.size:
            query = sa.select(log_heads).where(log_heads.c.size > last, log_heads.c.size <= self.audit.size)
            async with self._store.reading() as connection:
                rows = (await connection.execute(query.order_by(log_heads.c.size).limit(PAGE))).all()
            if not rows:
                return
            verified = await asyncio.to_thread(lambda rows=rows: [self._verify(row) for row in rows])  # type: ignore[misc]
            for batch in verified:
                self.audit.heads += 1
                yield batch
            last = rows[-1].size

    def _verify(self, row: Row[Any]) -> Batch:
        signed, root = bytes(row.head), bytes(row.root_hash)
        head: TreeHead | None = None
        try:
            head = verify_tree_head(signed, self._trust)
        except ReceiptError as error:
            self.audit.add("head.signature", f"The head of size {row.size}: {error}")
        else:
            if (head.log, head.size, head.root, head.at) != (self.audit.log, row.size, root, row.signed_at):
                self.audit.add("head.changed", f"The head of size {row.size} is not what its signature covers.")
        return Batch(signed, row.size, root, head, base64.b64encode(signed))

    async def _pass_heads(self, batches: AsyncIterator[Batch], batch: Batch | None) -> Batch | None:
        """Compare what the log is now with heads and witnesses of this size; returns the head over the next entry."""
        size, root = self._frontier.size, self._frontier.root()
        while self._witnesses and self._witnesses[0].head.size <= size:
            witness = self._witnesses.pop(0)
            if witness.head.root != root:
                self.audit.add("witness.root", f"{witness.name}: the first {size} entries are not those of then.")
        while batch is not None and batch.size <= size:
            if batch.root != root or (batch.head is not None and batch.head.root != root):
                self.audit.add("head.root", f"The first {size} entries do not lead to the root that was signed.")
            batch = await anext(batches, None)
        return batch

    async def _pages(self) -> AsyncIterator[Sequence[Row[Any]]]:
        last = -1
        while True:
            query = sa.select(log_entries).where(log_entries.c.position > last)
            query = query.where(log_entries.c.position < self.audit.size).order_by(log_entries.c.position).limit(PAGE)
            async with self._store.reading() as connection:
                rows = (await connection.execute(query)).all()
            if not rows:
                return
            yield rows
            last = rows[-1].position

    async def _nodes(self, page: Sequence[Row[Any]]) -> dict[tuple[int, int], bytes]:
        """The stored hashes of the leaves of a page and of the subtrees that they complete."""
        first, last = self._frontier.size, page[-1].position + 1
        columns = log_nodes.c
        levels = [
            sa.and_(columns.level == level, columns.number >= first >> level, columns.number < last >> level)
            for level in range(last.bit_length())
        ]
        async with self._store.reading() as connection:
            rows = await connection.execute(sa.select(log_nodes).where(sa.or_(*levels)))
            return {(row.level, row.number): bytes(row.hash) for row in rows}

    async def _rows(self, page: Sequence[Row[Any]]) -> dict[int, StoredPacket]:
        """The packets of a page, by their position."""
        query = sa.select(packets).where(packets.c.position.between(page[0].position, page[-1].position))
        async with self._store.reading() as connection:
            return {row.position: stored_packet(row) for row in await connection.execute(query)}

    def _fill_gap(self, position: int, known: Mapping[tuple[int, int], bytes]) -> None:
        """Stand in for entries that are gone."""
        while self._frontier.size < position:
            at = self._frontier.size
            self.audit.add("entry.missing", "An entry is gone.", at)
            self._append(known.get((0, at), bytes(32)), known)

    def _entry(
        self, row: Row[Any], packet: StoredPacket | None, known: Mapping[tuple[int, int], bytes], batch: Batch
    ) -> None:
        audit, position, data = self.audit, row.position, bytes(row.entry)
        stored = known.get((0, position))
        if stored != leaf_hash(data):
            audit.add("entry.changed", "The entry does not have the stored hash of its leaf.", position)
        self._append(stored or leaf_hash(data), known)
        try:
            entry = read_entry(data)
        except ReceiptError as error:
            audit.add("entry.form", str(error), position)
            return
        if (entry.position, entry.packet_sha256) != (position, row.packet_sha256):
            audit.add(
                "entry.place", "The entry stands at another place, or for another packet, than it says.", position
            )
        for witness in self._witnesses:
            if witness.entry is not None and witness.entry.position == position and witness.entry != entry:
                audit.add("witness.entry", f"{witness.name}: another packet stands at its place now.", position)
        if packet is None:
            self._without_row.append(entry)
            return
        audit.packets += 1
        with _readable(audit, position):
            for fault in packet_faults(packet, entry, data, batch):
                audit.add("packet.changed", fault, position)
        if packet.serial <= self._serial:
            audit.add("packet.order", "The rows of packets are numbered in another order than the log.", position)
        self._serial = max(self._serial, packet.serial)

    async def _account(self) -> None:
        """Ask for the entries of this page whose packets have no row; read after the rows, so that a deletion meanwhile is seen whole."""
        if not self._without_row:
            return
        accounted: set[str] = set()
        for account in self._accounts:
            async with self._store.reading() as connection:
                accounted.update(await account(connection, self._without_row))
        for entry in self._without_row:
            if entry.packet_sha256 in accounted:
                self.audit.deleted += 1
            else:
                self.audit.add("packet.missing", "The packet of an entry has no row.", entry.position)
        self._without_row = []

    def _append(self, leaf: bytes, known: Mapping[tuple[int, int], bytes]) -> None:
        position = self._frontier.size
        for level, number, value in self._frontier.append(leaf):
            if known.get((level, number)) != value:
                self.audit.add("node.changed", f"The stored hash {level}/{number} is not that of its leaves.", position)

    async def _end(self) -> None:
        """What lies beyond the newest head, as it is now: one statement, so that it is one moment."""
        last, numbers = sa.literal(-1), (log_heads.c.size, log_entries.c.position, packets.c.position)
        ends = [
            sa.select(sa.literal(kind), last, sa.func.min(number), sa.func.max(number))
            for kind, number in zip(("head", "entry", "packet"), numbers, strict=True)
        ]
        node, outside = log_nodes.c, sa.func.count()
        ends += [
            sa.select(sa.literal("outside"), last, outside, outside).where(packets.c.position.is_(None)),
            sa.select(sa.literal("node"), node.level, sa.func.min(node.number), sa.func.max(node.number)).group_by(
                node.level
            ),
        ]
        async with self._store.reading() as connection:
            rows = [tuple(row) for row in await connection.execute(sa.union_all(*ends))]
        size = next(highest for kind, _, _, highest in rows if kind == "head") or 0
        for kind, level, lowest, highest in rows:
            if kind in {"head", "entry", "packet"} and lowest is not None and lowest < 0:
                self.audit.add(f"{kind}.beyond", "Something stands before the first place of the log.", lowest)
            if kind in {"entry", "packet"} and highest is not None and highest >= size:
                self.audit.add(f"{kind}.beyond", "Something stands after the newest head.", highest)
            if kind == "node" and (min(level, lowest) < 0 or highest >= size >> level):
                self.audit.add("node.beyond", f"There is a hash {level}/{highest} that no leaf leads to.")
            if kind == "outside" and highest:
                self.audit.add("packet.outside", f"{highest} packets are not in the log.")

    async def _files(self, objects: ObjectStore) -> None:
        """Every packet file against its row."""
        self.audit.files, done, last = 0, 0, 0
        while True:
            query = sa.select(packets).where(packets.c.serial > last).order_by(packets.c.serial).limit(PAGE)
            async with self._store.reading() as connection:
                rows = [stored_packet(row) for row in await connection.execute(query)]
            if not rows:
                return
            for row in rows:
                done += 1
                try:
                    data = await objects.read(row.sha256)
                    faults = list(file_faults(row, data))
                except (StorageCorruptError, PacketFormatError) as error:
                    faults = [str(error)]
                for fault in faults:
                    self.audit.add("file", fault, row.position)
                self.audit.files += not faults
                self._step("files", done, max(done, self.audit.packets))
            last = rows[-1].serial


@contextlib.contextmanager
def _readable(audit: Audit, position: int | None = None) -> Iterator[None]:
    """What cannot be read is a finding: where keys or kinds were taken away by hand, a value is empty or of a kind that nothing of ours writes."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, CanonicalJsonError) as error:
        log.warning("A row of the receipt log cannot be read.", exc_info=error)
        end = ": the look at these rows ended there" if position is None else ""
        audit.add("row.kind", f"A row holds a value of another kind than its column{end}.", position)
