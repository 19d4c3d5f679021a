"""How much may wait in the outbox, and whether one more visit may begin.

Rules: count, bytes, age of the oldest waiting packet, and free space are judged before a visit and never after the applicant has accepted:
storing is refused by the disk alone. So each limit leaves room for the visit that is under way: counts and bytes may be passed by one
packet, and the disk must have space for two of the largest packets and the database's growth, whatever the settings say.
The age limit closes a booth whose packets nobody has taken for so long that somebody must look; packets that the intake refused, or that
are damaged, have been told to the technician and do not count for it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from crypto.seal import MAX_PACKET_BYTES

# Two packets: the one that is under way, and what was taken since the disk was last measured. The database's log grows by 4 MB (SQLite's
# checkpoint every 1000 pages) and a renewal writes the database once more.
VISIT_BYTES = 2 * MAX_PACKET_BYTES + 16 * 2**20
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait, how long, how much of the disk must stay free, and which receipts always stay."""

    max_packets: int = 2_000
    max_bytes: int = 8_000 * 2**20
    min_free_bytes: int = 500 * 2**20
    max_age_s: float = 28 * DAY_S
    # Receipts that stay whatever happens (booth/outbox_receipts.py).
    receipts_kept: int = 20_000
    receipts_kept_s: float = 400 * DAY_S


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What is stored, and whether one more visit may begin."""

    waiting: int = 0
    refused: int = 0
    damaged: int = 0
    stored_bytes: int = 0
    free_bytes: int = 0
    oldest_at: float | None = None
    last_receipt_at: float | None = None
    refusal: str | None = None  # why no visit may begin

    @property
    def accepting(self) -> bool:
        """Whether a visit may begin."""
        return self.refusal is None


def read_status(
    database: sqlite3.Connection, folder: Path, free_bytes: int, limits: OutboxLimits, now: float
) -> OutboxStatus:
    """The outbox now; raises sqlite3.Error."""
    row = database.execute(
        "SELECT sum(state = 'waiting') AS waiting, sum(state = 'refused') AS refused, sum(state = 'damaged') AS damaged, "
        "sum(CASE WHEN state = 'receipted' THEN 0 ELSE size END) AS bytes, "
        "min(CASE WHEN state = 'waiting' THEN created_at END) AS oldest, max(receipted_at) AS receipted FROM packets"
    ).fetchone()
    waiting, refused, damaged = (int(row[name] or 0) for name in ("waiting", "refused", "damaged"))
    stored, count, oldest = int(row["bytes"] or 0), waiting + refused + damaged, row["oldest"]
    needed = max(limits.min_free_bytes, VISIT_BYTES)
    refusal = None
    if count >= limits.max_packets:
        refusal = f"The outbox holds {count} packets, its limit: let the intake receive them."
    elif stored >= limits.max_bytes:
        refusal = f"The outbox holds {stored / 1e6:.0f} MB, its limit: let the intake receive them."
    elif oldest is not None and now - oldest > limits.max_age_s:
        refusal = (
            f"The oldest packet of the outbox has waited for {(now - oldest) / DAY_S:.1f} days, its limit is "
            f"{limits.max_age_s / DAY_S:g}: let the intake receive it (and look whether the booth's clock is right)."
        )
    elif free_bytes < needed:
        refusal = f"Only {free_bytes / 1e6:.0f} MB are free on the disk of {folder}, {needed / 1e6:.0f} are needed; make room."
    return OutboxStatus(waiting, refused, damaged, stored, free_bytes, oldest, row["receipted"], refusal)
