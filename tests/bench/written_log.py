"""A receipt log of any length with all that a database holds of it, fast: real leaves, subtree hashes, signed heads and receipts that verify.

It comes in blocks of whole batches and is the same for every length: the log of a thousand packets is the beginning of that of a million. What the
product does for one batch (crypto/receipt.py) is done here without its models, which costs a tenth; the programs that use it verify a sample with
the product's own code, or all of it with `audit_log`.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from crypto.application import application_digest, check_character
from crypto.keys import Signer, common_name
from crypto.merkle import EMPTY_ROOT, Frontier, inclusion_proof, leaf_hash
from crypto.package import write_instant
from crypto.tree_head import sign_tree_head
from server.log_rows import packet_facts
from server.store import NewPacket, StoredPacket

# One signed head for so many packets: what an intake with 64 uploads at once reaches (server/receipt_log.py).
BATCH = 64
BLOCK = 100 * BATCH
SPACING = timedelta(seconds=0.5)
# Every tenth packet comes from the busy booth, so that it has full pages at every length; the rest from so many others.
BUSY_SHARE, BUSY, OTHERS = 10, "booth-0000", 2_000
SIZE_BYTES = 200_000
RECIPIENT = "ab" * 16


@dataclass(slots=True)
class Rows:
    """What a stretch of the log adds, by table, as tuples in the order of the table's columns."""

    packets: list[tuple[Any, ...]] = field(default_factory=list)
    log_entries: list[tuple[Any, ...]] = field(default_factory=list)
    log_nodes: list[tuple[Any, ...]] = field(default_factory=list)
    log_heads: list[tuple[Any, ...]] = field(default_factory=list)
    log_identity: list[tuple[Any, ...]] = field(default_factory=list)
    captures: list[tuple[Any, ...]] = field(default_factory=list)


def sha256_at(position: int) -> str:
    """The digest of the packet at a place."""
    return hashlib.sha256(b"packet %d" % position).hexdigest()


def packet_id_at(position: int) -> str:
    """Its packet id: a UUID of version 4."""
    name = hashlib.sha256(b"id %d" % position).hexdigest()
    return f"{name[:12]}4{name[13:16]}8{name[17:32]}"


def number_at(position: int) -> str:
    """The number of the application that it is for."""
    body = f"A{position:09d}"
    return body + check_character(body)


def booth_at(position: int) -> str:
    """The booth that it came from."""
    return BUSY if position % BUSY_SHARE == 0 else f"booth-{1 + random.Random(position).randrange(OTHERS):04d}"


def new_packet(number: int, at: datetime) -> NewPacket:
    """A packet that an intake is to append."""
    return NewPacket(
        *(sha256_at(number), packet_id_at(number), booth_at(number), RECIPIENT, SIZE_BYTES),
        *(at - timedelta(minutes=1), at),
    )


class WrittenLog:
    """A log that is written on and on."""

    def __init__(self, signer: Signer, begun: datetime, name: str = "10" * 16) -> None:
        self.signer, self.begun, self.name = signer, begun, name
        self._intake = common_name(signer.certificate)
        self._frontier = Frontier()
        self._nodes: dict[tuple[int, int], bytes] = {}

    def received_at(self, position: int) -> datetime:
        """When the packet at a place came."""
        return self.begun + SPACING * (position + 1)

    def beginning(self) -> Rows:
        """The log's name and its first head."""
        head = sign_tree_head(log=self.name, size=0, root=EMPTY_ROOT, at=self.begun, signer=self.signer)
        return Rows(log_identity=[(self.name, self.begun)], log_heads=[(0, EMPTY_ROOT, self.begun, head)])

    def blocks(self, size: int) -> Iterator[Rows]:
        """From where it ends up to `size` packets."""
        while self._frontier.size < size:
            rows, until = Rows(), min(self._frontier.size + BLOCK, size)
            while self._frontier.size < until:
                self._batch(rows, min(BATCH, until - self._frontier.size))
            yield rows

    def _batch(self, rows: Rows, count: int) -> None:
        first = self._frontier.size
        made = [self._entry(first + i) for i in range(count)]
        for packet, entry in made:
            nodes = self._frontier.append(leaf_hash(entry))
            self._nodes.update(((level, number), value) for level, number, value in nodes)
            rows.log_nodes += nodes
            rows.log_entries.append((packet.position, packet.sha256, entry))
        size, root = self._frontier.size, self._frontier.root()
        at = self.received_at(size - 1).replace(microsecond=0) + timedelta(seconds=1)
        head = sign_tree_head(log=self.name, size=size, root=root, at=at, signer=self.signer)
        rows.log_heads.append((size, root, at, head))
        text = base64.b64encode(head)
        for (packet, entry), position in zip(made, range(first, size), strict=True):
            proof = inclusion_proof(position, size, lambda level, number: self._nodes[level, number])
            path = b",".join(b'"%s"' % one.hex().encode() for one in proof)
            receipt = b'{"entry":%s,"inclusion":[%s],"tree_head":"%s","version":2}' % (entry, path, text)
            rows.packets.append(
                (
                    *(packet.serial, packet.sha256, packet.packet_id, packet.booth, packet.recipient, packet.size),
                    *(packet.sealed_at, packet.received_at, packet.state, receipt, position),
                )
            )
            application = application_digest(number_at(position)).hex()
            rows.captures.append(
                (packet.serial, packet.sha256, application, None, "received", None, packet.received_at)
            )

    def _entry(self, position: int) -> tuple[StoredPacket, bytes]:
        at = self.received_at(position)
        packet = StoredPacket(
            *(position + 1, sha256_at(position), packet_id_at(position), booth_at(position), RECIPIENT, SIZE_BYTES),
            *(at.replace(microsecond=0) - timedelta(minutes=1), at, "received", b"", position),
        )
        entry = (
            f'{{"booth":"{packet.booth}","facts":"{packet_facts(packet)}","intake":"{self._intake}",'
            f'"packet_id":"{packet.packet_id}","packet_sha256":"{packet.sha256}","position":{position},'
            f'"received_at":"{write_instant(at)}","version":2}}'
        )
        return packet, entry.encode()
