"""The receipt log: an append-only Merkle tree (RFC 9162) of every packet that was ever receipted, in the intake's database.

Order of operation: an upload whose bytes are durable waits in a queue. One writer takes what waits (at most MAX_BATCH) into one transaction:
    the log's lock (SQLite: BEGIN IMMEDIATE; PostgreSQL: pg_advisory_xact_lock) → newest head and right edge of the tree are read anew and must
    agree → nonces → packets known already → the new ones at the positions that follow → one tree head is signed → rows,
    leaves, subtree hashes, head, receipts, links to applications (server/application_rows.py) → commit → each upload gets its receipt.
The transaction runs in a loop and on a connection of its own (server/side_loop.py), so that it waits for the database alone.
So there is one log however many intakes work on the database, and no receipt is seen before it is durable. What fails before the commit leaves
nothing, for each upload of the batch. An upload that was given up while it waited is written all the same: its bytes are here.

Rows of the log are inserted, never changed: a complete subtree keeps its hash for ever. The intake signs nothing over a log whose rows do not
lead to the root it signed last; `intake log verify` (server/log_audit.py) checks everything from the first leaf on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.errors import CryptoError
from crypto.keys import Signer, common_name
from crypto.merkle import HASH_BYTES, Frontier, consistency_proof
from crypto.receipt import Extension, extend_log, make_entry
from crypto.tree_head import sign_tree_head
from server.application_rows import NO_LINKS, Links, note_captures
from server.deletions import find_deletions
from server.errors import (
    MalformedRequestError,
    ReceiptUnavailableError,
    ReplayedRequestError,
    ServerError,
    StorageCorruptError,
)
from server.log_rows import (
    Edge,
    log_entries,
    log_heads,
    log_identity,
    log_nodes,
    packet_facts,
    read_edge,
    read_newest_head,
    read_nodes,
    reserve_serials,
)
from server.metrics import Metrics
from server.retention_errors import PacketDeletedError
from server.side_loop import SideLoop, open_side_loop
from server.store import NewPacket, Nonce, Store, StoredPacket, packets, padded, stored_packet

log = logging.getLogger(__name__)

# Any constant; names the log's lock among PostgreSQL's advisory locks.
LOG_LOCK = 0x70626C67
# Above the uploads that one intake takes at once (config.max_uploads); bounds the transaction at a first start over many old packets.
MAX_BATCH = 64


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One upload in the queue."""

    new: NewPacket
    nonce: Nonce | None
    links: Links
    outcome: asyncio.Future[tuple[StoredPacket, bool]]


class ReceiptLog:
    """The log of one database as one intake process works with it. Use `open_receipt_log`."""

    def __init__(
        self,
        store: Store,
        own: Store,
        side: SideLoop,
        signer: Callable[[], Signer],
        now: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._metrics = metrics
        self._store, self._own, self._side = store, own, side
        self._signer = signer
        self._now = now
        self._waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue()

    async def append(self, new: NewPacket, nonce: Nonce | None, links: Links = NO_LINKS) -> tuple[StoredPacket, bool]:
        """The row of a packet with its receipt, and whether it is new; returns when it is durable. A new one's links are written with it.

        With the same digest already there, or before this one in the queue, the first row is returned unchanged. `nonce` is used up in the
        same commit; None when the request's nonce was used up before its content was read. Raises
        `ReplayedRequestError`, `StorageError`, `ReceiptUnavailableError`.
        """
        waiting = _Waiting(new, nonce, links, asyncio.get_running_loop().create_future())
        self._waiting.put_nowait(waiting)
        return await waiting.outcome

    async def head(self) -> bytes:
        """The newest signed tree head."""
        return await read_newest_head(self._store)

    async def consistency(self, first: int, second: int) -> list[bytes]:
        """That the tree of `second` leaves begins with that of `first`. Raises `MalformedRequestError`."""
        async with self._store.reading() as connection:
            size = (await connection.execute(sa.select(sa.func.max(log_heads.c.size)))).scalar_one()
            if not 1 <= first <= second <= size:
                raise MalformedRequestError("Ask for 1 ≤ first ≤ second ≤ size of the newest tree head.")
            asked: list[tuple[int, int]] = []

            def note(level: int, number: int) -> bytes:
                asked.append((level, number))
                return bytes(HASH_BYTES)

            consistency_proof(first, second, note)
            nodes = await read_nodes(connection, asked)
        return consistency_proof(first, second, lambda level, number: nodes[level, number])

    async def begin(self) -> None:
        """Give a new database its log, and packets from before there was a log their place in it, oldest first."""
        await self._side.run(self._begin())

    async def _begin(self) -> None:
        async with self._locked() as connection:
            if (await connection.execute(sa.select(log_identity.c.log))).first() is None:
                await self._create(connection)
        adopted = 0
        without = sa.select(packets).where(packets.c.position.is_(None)).order_by(packets.c.serial).limit(MAX_BATCH)
        while True:
            async with self._locked() as connection:
                rows = [stored_packet(row) for row in await connection.execute(without)]
                edge = await read_edge(connection)
                if not rows:
                    break
                extension = await self._extend(connection, edge, rows)
                change = (
                    sa.update(packets)
                    .where(packets.c.serial == sa.bindparam("its_serial"))
                    .values(position=sa.bindparam("its_position"), receipt=sa.bindparam("its_receipt"))
                )
                await connection.execute(
                    change,
                    [
                        {
                            "its_serial": row.serial,
                            "its_position": edge.size + at,
                            "its_receipt": extension.receipts[at],
                        }
                        for at, row in enumerate(rows)
                    ],
                )
                adopted += len(rows)
        if adopted:
            log.info("Packets from before the receipt log were written into it.", extra={"packets": adopted})

    async def write(self) -> None:
        """Serve the queue until it is closed: one transaction at a time, as many uploads in it as wait."""
        closing = False
        while not closing:
            batch: list[_Waiting] = []
            first = await self._waiting.get()
            closing = first is None
            if first is not None:
                batch.append(first)
            while len(batch) < MAX_BATCH and not self._waiting.empty():
                waiting = self._waiting.get_nowait()
                if waiting is None:
                    closing = True
                else:
                    batch.append(waiting)
            if batch:
                await self._settle(batch)

    def close(self) -> None:
        """Let `write` end once the queue is empty."""
        self._waiting.put_nowait(None)

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        """Commit a batch and tell each upload what became of it."""
        outcomes: Sequence[tuple[StoredPacket, bool] | ServerError]
        try:
            with self._metrics.commit_seconds.time():
                outcomes = await self._side.run(self._commit(batch))
            self._metrics.commit_packets.observe(len(batch))
        except Exception as error:  # noqa: BLE001 - every upload of the batch is told; the writer serves the next ones
            for waiting in batch:
                if not waiting.outcome.done():
                    waiting.outcome.set_exception(error)
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if waiting.outcome.done():
                continue  # given up meanwhile; the next upload of the packet gets this receipt
            if isinstance(outcome, ServerError):
                waiting.outcome.set_exception(outcome)
            else:
                waiting.outcome.set_result(outcome)

    async def _commit(self, batch: Sequence[_Waiting]) -> list[tuple[StoredPacket, bool] | ServerError]:
        async with self._locked() as connection:
            edge = await read_edge(connection)
            nonces = [waiting.nonce for waiting in batch if waiting.nonce is not None]
            fresh = iter(await self._own.take_nonces(connection, nonces) if nonces else [])
            accepted = {id(waiting) for waiting in batch if waiting.nonce is None or next(fresh)}
            wanted = {waiting.new.sha256: waiting for waiting in reversed(batch) if id(waiting) in accepted}
            rows = await _known(connection, wanted)
            came = [wanted[sha256] for sha256 in reversed(wanted) if sha256 not in rows]
            # After the rows, so that a deletion that commits between the two is seen.
            gone = await find_deletions(connection, [one.new.sha256 for one in came]) if came else {}
            came = [one for one in came if one.new.sha256 not in gone]
            added = [waiting.new for waiting in came]
            if added:
                serials = await reserve_serials(connection, len(added))
                numbered = [
                    StoredPacket(serial=serial, **_values(new), state="received", receipt=b"")
                    for serial, new in zip(serials, added, strict=True)
                ]
                extension = await self._extend(connection, edge, numbered)
                placed = [
                    replace(row, position=edge.size + at, receipt=extension.receipts[at])
                    for at, row in enumerate(numbered)
                ]
                await connection.execute(sa.insert(packets), [_values(row) for row in placed])
                rows |= {row.sha256: row for row in placed}
                await note_captures(connection, [(one.new.sha256, one.links) for one in came], self._now)
        new_ones = {new.sha256 for new in added}
        outcomes: list[tuple[StoredPacket, bool] | ServerError] = []
        for waiting in batch:
            sha256 = waiting.new.sha256
            if id(waiting) not in accepted:
                outcomes.append(ReplayedRequestError("This signature was used before: sign the request anew."))
            elif sha256 in gone:
                outcomes.append(PacketDeletedError("The packet was here and was deleted when its time was over."))
            else:
                outcomes.append((rows[sha256], sha256 in new_ones))
                new_ones.discard(sha256)  # the first of several copies is the new one
        return outcomes

    async def _extend(self, connection: AsyncConnection, edge: Edge, added: Sequence[StoredPacket]) -> Extension:
        """Sign the log with these packets at its end and write its rows."""
        with _signing():
            signer = self._signer()
            intake = common_name(signer.certificate)
            entries = [
                make_entry(
                    packet_sha256=one.sha256,
                    packet_id=one.packet_id,
                    booth=one.booth,
                    intake=intake,
                    received_at=one.received_at,
                    position=edge.size + at,
                    facts=packet_facts(one),
                )
                for at, one in enumerate(added)
            ]
            made = extend_log(edge.log, edge.size, edge.node, entries, at=self._now(), signer=signer)
        await connection.execute(
            sa.insert(log_entries),
            [
                {"position": one.position, "packet_sha256": one.packet_sha256, "entry": one.to_bytes()}
                for one in entries
            ],
        )
        await connection.execute(
            sa.insert(log_nodes), [{"level": level, "number": at, "hash": value} for level, at, value in made.nodes]
        )
        head = {"size": made.size, "root_hash": made.root, "signed_at": made.at, "head": made.signed_head}
        await connection.execute(sa.insert(log_heads), [head])
        return made

    async def _create(self, connection: AsyncConnection) -> None:
        """A log of its own name, its first head says that it is empty."""
        if (await connection.execute(sa.select(log_heads.c.size).limit(1))).first() is not None:
            raise StorageCorruptError("The receipt log has lost its name: look with `intake log verify`.")
        identity, now, root = secrets.token_hex(16), self._now().replace(microsecond=0), Frontier().root()
        with _signing():
            head = sign_tree_head(log=identity, size=0, root=root, at=now, signer=self._signer())
        await connection.execute(sa.insert(log_identity), [{"log": identity, "created_at": now}])
        await connection.execute(sa.insert(log_heads), [{"size": 0, "root_hash": root, "signed_at": now, "head": head}])

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that no other writer of the log runs beside."""
        async with self._own.writing() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOG_LOCK)))
            yield connection


@contextlib.asynccontextmanager
async def open_receipt_log(
    store: Store,
    signer: Callable[[], Signer],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    metrics: Metrics | None = None,
) -> AsyncIterator[ReceiptLog]:
    """The log, ready to be appended to; at the end what waits is written. Raises `StorageError`, `ReceiptUnavailableError`."""
    async with open_side_loop("receipt-log") as side, _own_store(store, side) as own:
        receipts = ReceiptLog(store, own, side, signer, now, metrics or Metrics())
        await receipts.begin()
        writer = asyncio.create_task(receipts.write(), name="receipt-log-writer")
        try:
            yield receipts
        finally:
            receipts.close()
            await writer


@contextlib.asynccontextmanager
async def _own_store(store: Store, side: SideLoop) -> AsyncIterator[Store]:
    """The database with connections of the side loop."""
    beside = store.beside()
    own = await side.run(beside.__aenter__())
    try:
        yield own
    finally:
        await side.run(beside.__aexit__(None, None, None))


_BY_DIGESTS = sa.select(packets).where(packets.c.sha256.in_(sa.bindparam("digests", expanding=True)))


async def _known(connection: AsyncConnection, digests: Collection[str]) -> dict[str, StoredPacket]:
    """The rows that there are, by digest."""
    rows = await connection.execute(_BY_DIGESTS, {"digests": padded(digests)})
    return {row.sha256: stored_packet(row) for row in rows}


def _values(packet: NewPacket | StoredPacket) -> dict[str, Any]:
    """Its fields by name; `dataclasses.asdict` would copy each value deeply, which takes as long as writing the row."""
    return {one.name: getattr(packet, one.name) for one in fields(packet)}


@contextlib.contextmanager
def _signing() -> Iterator[None]:
    try:
        yield
    except CryptoError as error:
        raise ReceiptUnavailableError(
            "This intake cannot sign receipts just now: look at its key and its certificate."
        ) from error
