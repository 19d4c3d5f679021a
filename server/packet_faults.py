"""What a packet's row, receipt and file say otherwise than they must. PURE.

The row against the entry of the receipt log, the receipt against entry and signed head, the file's public header against the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crypto.errors import LogProofError, ReceiptError
from crypto.receipt import LogEntry, check_inclusion, is_receipt_over, read_receipt
from crypto.seal import read_header
from crypto.tree_head import TreeHead
from server.log_rows import packet_facts
from server.store import StoredPacket


@dataclass(frozen=True, slots=True)
class Batch:
    """The head over a batch, verified or not."""

    signed: bytes
    size: int
    root: bytes
    head: TreeHead | None
    text: bytes  # the signed head in base64, as receipts hold it


def packet_faults(packet: StoredPacket, entry: LogEntry, entry_bytes: bytes, batch: Batch) -> Iterator[str]:
    """What a packet's row and receipt say otherwise than its entry."""
    said = (packet.sha256, packet.packet_id, packet.booth, packet.received_at.replace(microsecond=0))
    if said != (entry.packet_sha256, entry.packet_id, entry.booth, entry.received_at):
        yield "The packet's row says something else than its entry."
    elif entry.facts is not None and packet_facts(packet) != entry.facts:
        yield "The packet's row is not the one that its entry was made of: number, recipient, size, state or a time."
    if batch.head is not None and is_receipt_over(packet.receipt, entry, entry_bytes, batch.head, batch.text):
        return
    try:
        receipt = read_receipt(packet.receipt)
    except ReceiptError as error:
        yield str(error)
        return
    if receipt.entry != entry:
        yield "The packet's receipt names another entry."
    if receipt.signed_head != batch.signed:
        yield "The packet's receipt holds another tree head than the log has over this entry."
    if batch.head is not None:
        try:
            check_inclusion(receipt, batch.head)
        except LogProofError as error:
            yield str(error)


def file_faults(row: StoredPacket, data: bytes) -> Iterator[str]:
    """What a packet file says otherwise than its row; its digest is checked."""
    header = read_header(data)
    said = (row.packet_id, row.booth, " ".join(header.recipient_key_ids), row.sealed_at, row.size)
    if said != (header.packet_id, header.booth, row.recipient, header.created_at, len(data)):
        yield "The packet's row says something else than the packet's header."
