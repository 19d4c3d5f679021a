"""Receipts: the intake's signed word that it holds one packet and has written so into its log. Only against this does a booth delete.

A receipt is canonical JSON of four things: `version` 2; `entry`, the leaf of the receipt log that names the packet; `inclusion`, the hashes
that lead from the leaf to a root (crypto.merkle); `tree_head`, the signed head with that root (crypto.tree_head), base64. One signature
serves every packet of a batch. Nothing in a receipt counts but what the signed root covers.

An entry of version 2 ends in `facts`, the digest of what the intake's row says besides (`facts_digest`), so that no column of it can be changed
unseen. Entries without a version are those of before; receipts over them stay good for ever.

Verifying, in this order: size; JSON form and schema; the tree head's signature, path and schema; entry against head: same intake, not
received after the head was signed, a position inside the tree; the proof from entry to root; the packet against the one asked for.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from crypto.canonical import canonical_json, read_json
from crypto.errors import CanonicalJsonError, LogProofError, ReceiptError
from crypto.keys import Signer
from crypto.merkle import MAX_PROOF_HASHES, MAX_TREE_SIZE, Frontier, Node, inclusion_proof, leaf_hash, verify_inclusion
from crypto.package import Identity, Instant, PacketId, Sha256, broken_fields, write_instant
from crypto.tree_head import MAX_TREE_HEAD_BYTES, TreeHead, sign_tree_head, verify_tree_head
from crypto.trust import TrustStore

MEDIA_TYPE = "application/vnd.passbooth.receipt"
MAX_ENTRY_BYTES = 1_024
# The largest head in base64, the longest proof in hex with quotes and commas, the entry, and the names around them.
_PROOF = re.compile(rb'(?:"[0-9a-f]{64}"(?:,"[0-9a-f]{64}"){0,%d})?' % (MAX_PROOF_HASHES - 1))
MAX_RECEIPT_BYTES = (MAX_TREE_HEAD_BYTES + 2) // 3 * 4 + 67 * MAX_PROOF_HASHES + MAX_ENTRY_BYTES + 128


class LogEntry(BaseModel):
    """One leaf of the log: that this packet came from this booth at this time."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    packet_sha256: Sha256
    packet_id: PacketId
    booth: Identity
    intake: Identity
    received_at: Instant
    position: Annotated[int, Field(ge=0, lt=MAX_TREE_SIZE)]
    version: Literal[2] | None = None
    facts: Sha256 | None = None

    @model_validator(mode="after")
    def _facts_are_of_version_2(self) -> Self:
        if (self.version is None) != (self.facts is None):
            raise ValueError("facts without version 2, or the other way round")
        return self

    def document(self) -> dict[str, Any]:
        """The entry as the object that its leaf and its receipt hold."""
        return self.model_dump(exclude_none=True) | {"received_at": write_instant(self.received_at)}

    def to_bytes(self) -> bytes:
        """Canonical JSON: what the leaf's hash is over."""
        return canonical_json(self.document())


class Receipt(BaseModel):
    """A receipt as it is written. `read_receipt` has checked its form alone, `verify_receipt` everything."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[2] = 2
    entry: LogEntry
    inclusion: Annotated[list[Sha256], Field(max_length=MAX_PROOF_HASHES)]
    tree_head: Annotated[str, StringConstraints(max_length=(MAX_TREE_HEAD_BYTES + 2) // 3 * 4)]

    @property
    def proof(self) -> list[bytes]:
        """The inclusion proof as hashes."""
        return [bytes.fromhex(one) for one in self.inclusion]

    @property
    def signed_head(self) -> bytes:
        """The CMS of the tree head."""
        return base64.b64decode(self.tree_head, validate=True)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(exclude={"entry"}) | {"entry": self.entry.document()})


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a receipt that passed says."""

    packet_sha256: str
    packet_id: str
    booth: str
    intake: str
    received_at: datetime
    position: int
    log: str
    tree_size: int
    root_hash: str
    signed_at: datetime
    signed_head: bytes


@dataclass(frozen=True, slots=True)
class Extension:
    """What a batch of entries adds to a log: the hashes of the subtrees it completes, the new head, a receipt for each entry."""

    nodes: list[tuple[int, int, bytes]]
    size: int
    root: bytes
    at: datetime
    signed_head: bytes
    receipts: list[bytes]


def facts_digest(facts: Mapping[str, str | int | None]) -> str:
    """What an entry says of a row beyond its own fields: the SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(dict(facts))).hexdigest()


def make_entry(
    *,
    packet_sha256: str,
    packet_id: str,
    booth: str,
    intake: str,
    received_at: datetime,
    position: int,
    facts: str | None = None,
) -> LogEntry:
    """A leaf, of version 2 when it has facts; or ReceiptError when no receipt could say this."""
    try:
        return LogEntry(
            packet_sha256=packet_sha256,
            packet_id=packet_id,
            booth=booth,
            intake=intake,
            received_at=received_at,
            position=position,
            version=None if facts is None else 2,
            facts=facts,
        )
    except ValidationError as err:
        raise ReceiptError(f"No receipt can say this: wrong {broken_fields(err)}.") from err


def extend_log(
    log: str, size: int, node: Node, entries: Sequence[LogEntry], *, at: datetime, signer: Signer
) -> Extension:
    """Append entries to a tree of `size` leaves: one signature for all of them.

    `node` must know the complete subtrees that make up the tree so far; no others are asked for. The head is never dated before an entry.
    """
    frontier, nodes = Frontier.of(size, node), []
    for entry in entries:
        if entry.position != frontier.size:
            raise ReceiptError("An entry does not stand where the log ends.")
        nodes += frontier.append(leaf_hash(entry.to_bytes()))
    known = {(level, index): value for level, index, value in nodes}

    def any_node(level: int, index: int) -> bytes:
        return known.get((level, index)) or node(level, index)

    at = max([at, *(entry.received_at for entry in entries)]).replace(microsecond=0)
    root = frontier.root()
    head = sign_tree_head(log=log, size=frontier.size, root=root, at=at, signer=signer)
    text = base64.b64encode(head).decode("ascii")
    receipts = [
        Receipt(
            entry=entry,
            inclusion=[one.hex() for one in inclusion_proof(entry.position, frontier.size, any_node)],
            tree_head=text,
        ).to_bytes()
        for entry in entries
    ]
    return Extension(nodes, frontier.size, root, at, head, receipts)


def read_entry(data: bytes) -> LogEntry:
    """A leaf of the log in its one form, or ReceiptError."""
    try:
        entry = LogEntry.model_validate(read_json(data, MAX_ENTRY_BYTES, "log entry"))
    except CanonicalJsonError as err:
        raise ReceiptError(str(err)) from err
    except ValidationError as err:
        raise ReceiptError(f"The log entry breaks its schema at {broken_fields(err)}.") from err
    if entry.to_bytes() != data:
        raise ReceiptError("The log entry does not say the same thing when it is written again.")
    return entry


def read_receipt(data: bytes) -> Receipt:
    """The receipt by its form alone: nothing is verified."""
    try:
        document = read_json(data, MAX_RECEIPT_BYTES, "receipt")
        receipt = Receipt.model_validate(document)
        head = receipt.signed_head
    except CanonicalJsonError as err:
        raise ReceiptError(str(err)) from err
    except ValidationError as err:
        raise ReceiptError(f"The receipt breaks its schema at {broken_fields(err)}.") from err
    except ValueError as err:
        raise ReceiptError("The receipt's tree head is not base64.") from err
    if base64.b64encode(head).decode("ascii") != receipt.tree_head or receipt.to_bytes() != data:
        raise ReceiptError("The receipt does not say the same thing when it is written again.")
    return receipt


def check_inclusion(receipt: Receipt, head: TreeHead) -> None:
    """That the receipt's entry is in the tree of this head, which must be the verified one that it carries; or LogProofError."""
    entry = receipt.entry
    if entry.intake != head.intake:
        raise LogProofError("The receipt's entry names another intake than its tree head.")
    if entry.received_at > head.at:
        raise LogProofError("The receipt's entry is younger than its tree head.")
    verify_inclusion(leaf_hash(entry.to_bytes()), entry.position, head.size, receipt.proof, head.root)


def is_receipt_over(data: bytes, entry: LogEntry, entry_bytes: bytes, head: TreeHead, head_text: bytes) -> bool:
    """Whether `data` is, byte for byte, a right receipt of this entry under this verified head; `head_text` is the signed head in base64.

    The same is said by `read_receipt` and `check_inclusion` with the reason when it is not so, in five times the time: nothing is parsed here but the proof.
    """
    start, end = b'{"entry":%s,"inclusion":[' % entry_bytes, b'],"tree_head":"%s","version":2}' % head_text
    if not (data.startswith(start) and data.endswith(end)):
        return False
    proof = data[len(start) : -len(end)]
    if entry.intake != head.intake or entry.received_at > head.at or not _PROOF.fullmatch(proof):
        return False
    hashes = [bytes.fromhex(one) for one in proof.decode("ascii").replace('"', "").split(",") if one]
    try:
        verify_inclusion(leaf_hash(entry_bytes), entry.position, head.size, hashes, head.root)
    except LogProofError:
        return False
    return len(start) + len(proof) + len(end) == len(data)


def verify_receipt(data: bytes, trust: TrustStore, packet_sha256: str) -> VerifiedReceipt:
    """The receipt in `data` if a trusted intake's log holds exactly this packet, or ReceiptError (LogProofError for the proof)."""
    receipt = read_receipt(data)
    signed_head = receipt.signed_head
    head = verify_tree_head(signed_head, trust)
    check_inclusion(receipt, head)
    entry = receipt.entry
    if entry.packet_sha256 != packet_sha256:
        raise ReceiptError("The receipt is for another packet.")
    return VerifiedReceipt(
        packet_sha256=packet_sha256,
        packet_id=entry.packet_id,
        booth=entry.booth,
        intake=entry.intake,
        received_at=entry.received_at,
        position=entry.position,
        log=head.log,
        tree_size=head.size,
        root_hash=head.root_hash,
        signed_at=head.at,
        signed_head=signed_head,
    )
