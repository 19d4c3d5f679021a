"""Receipts for tests that need no database: a log in memory, one entry after the other."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from crypto.keys import Signer, common_name
from crypto.merkle import consistency_proof
from crypto.receipt import Extension, extend_log, make_entry


class ReceiptPad:
    """A log of its own that gives a receipt for whatever it is asked."""

    def __init__(self, signer: Signer, log: str | None = None) -> None:
        self.signer, self.log, self.size = signer, log or uuid.uuid4().hex, 0
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.extension: Extension | None = None

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def consistency(self, query: Mapping[str, str]) -> dict[str, list[str]]:
        """What an intake answers to /v1/log/consistency."""
        proof = consistency_proof(int(query["first"]), int(query["second"]), self.node)
        return {"proof": [one.hex() for one in proof]}

    def give(self, *digests: str, at: datetime | None = None, **changes: object) -> bytes:
        """The receipt of the last of these packets, which come as one batch."""
        now = at or datetime.now(UTC)
        fields = {"packet_id": uuid.uuid4().hex, "booth": "booth-0001", "received_at": now}
        fields["intake"] = common_name(self.signer.certificate)
        entries = [
            make_entry(packet_sha256=one, position=self.size + i, **(fields | changes))  # type: ignore[arg-type]
            for i, one in enumerate(digests)
        ]
        made = extend_log(self.log, self.size, self.node, entries, at=now, signer=self.signer)
        self.nodes |= {(level, index): value for level, index, value in made.nodes}
        self.size, self.extension = made.size, made
        return made.receipts[-1]
