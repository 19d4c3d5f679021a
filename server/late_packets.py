"""A packet that comes again after it was deleted: its booth gets its receipt, and nothing is stored.

A booth that never saw its receipt sends the packet until it has one; it may have been without network for longer than packets are kept. What the receipt
says is still true: the log has an entry that this packet was received here. So the receipt is made again from the entry and the newest signed head, the
booth settles the packet and deletes its copy, and the bytes that came are not kept. A refusal would leave the applicant's photo at the booth for ever; taking it in
would bring back what was deleted.
"""

from __future__ import annotations

import base64

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.errors import ReceiptError
from crypto.merkle import HASH_BYTES, inclusion_proof
from crypto.receipt import Receipt, read_entry
from server.deletions import Deletion, find_deletions
from server.errors import StorageCorruptError
from server.log_rows import log_entries, log_heads, read_nodes
from server.store import Store, StoredPacket, packets, stored_packet

DELETED = "deleted"


async def find_taken(store: Store, sha256: str) -> StoredPacket | None:
    """The row of a packet; when it was deleted, what the log still knows of it, in the state `DELETED` and with its receipt."""
    async with store.reading() as connection:
        row = (await connection.execute(sa.select(packets).where(packets.c.sha256 == sha256))).one_or_none()
        if row is not None:
            return stored_packet(row)
        deletion = (await find_deletions(connection, [sha256])).get(sha256)
        return None if deletion is None else await _recall(connection, deletion)


async def _recall(connection: AsyncConnection, deletion: Deletion) -> StoredPacket:
    query = sa.select(log_entries.c.entry).where(log_entries.c.packet_sha256 == deletion.packet_sha256)
    data = (await connection.execute(query)).scalar_one_or_none()
    newest = sa.select(log_heads.c.size, log_heads.c.head).order_by(log_heads.c.size.desc()).limit(1)
    head = (await connection.execute(newest)).one()
    try:
        entry = read_entry(bytes(data or b""))
        asked: list[tuple[int, int]] = []

        def note(level: int, number: int) -> bytes:
            asked.append((level, number))
            return bytes(HASH_BYTES)

        inclusion_proof(entry.position, head.size, note)
        nodes = await read_nodes(connection, asked)
        proof = inclusion_proof(entry.position, head.size, lambda level, number: nodes[level, number])
    except (ReceiptError, KeyError) as error:
        raise StorageCorruptError("The log has no entry of a deleted packet: look with `intake log verify`.") from error
    signed = base64.b64encode(bytes(head.head)).decode("ascii")
    receipt = Receipt(entry=entry, inclusion=[one.hex() for one in proof], tree_head=signed)
    return StoredPacket(
        serial=0,
        sha256=entry.packet_sha256,
        packet_id=entry.packet_id,
        booth=entry.booth,
        recipient="",
        size=deletion.size,
        sealed_at=None,
        received_at=entry.received_at,
        state=DELETED,
        receipt=receipt.to_bytes(),
        position=entry.position,
    )
