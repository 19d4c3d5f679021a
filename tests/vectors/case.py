"""One packet of the test vectors and what a reader must make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# The stages of opening, in their order (docs/packet.md, "Who verifies what, in which order").
STAGES = ("header", "seal", "signature", "certificate", "package", "manifest", "binding")


@dataclass(frozen=True)
class Case:
    """A packet. Without a stage it is a good one, and every reader with the key must accept it."""

    id: str
    packet: bytes
    reason: str
    clause: str
    stage: str | None = None
    says: str = ""
    key: str = "desk"

    @property
    def intake(self) -> str:
        """What somebody without a key says: only the header can be wrong for him."""
        return "refuse" if self.stage == "header" else "accept"

    def to_json(self) -> dict[str, Any]:
        """The entry in cases.json; `says` is a part of the reason that this project's command line tells."""
        folder = "bad" if self.stage else "good"
        value = {
            "id": self.id,
            "file": f"{folder}/{self.id}.packet",
            "reason": self.reason,
            "clause": self.clause,
            "stage": self.stage,
            "key": self.key,
            "intake": self.intake,
        }
        return value | {"says": self.says} if self.stage else value
