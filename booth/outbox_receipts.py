"""How long the outbox keeps receipts. A receipt is the evidence that deleting a packet was right, so it goes only where it stands elsewhere.

A receipt is dropped when all of this is true: it is older than `receipts_kept_s`; at least `receipts_kept` newer ones are here; `booth outbox export` has
copied it, this very receipt, into a folder that is whole; and its packet's file is gone. What is not receipted is never touched. Without an
export nothing is ever dropped.

Order of operations
  export: the folder has its name, durably (booth/outbox_audit.py)   2 its manifest is read back   3 the digests of its receipts into `exported`, COMMIT
  drop:   candidates by age, number and mark   2 each receipt's digest is compared with its mark, its file looked for   3 rows and marks removed,
          COMMIT.   A crash leaves all or nothing of it. Marks of a database that was set aside are lost: its receipts stay until they are exported again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from pathlib import Path

from booth.errors import OutboxWriteError
from booth.outbox_audit import MANIFEST, RECEIPT
from booth.outbox_database import DATABASE, SUFFIX, plain_connection, transaction
from booth.outbox_quota import OutboxLimits

BATCH = 1_000  # so that dropping years of receipts at once holds up no upload for long


def note_exported(folder: Path, copy: Path, now: float) -> int:
    """Notes which receipts are in the finished export `copy`; how many. Raises OutboxWriteError, and OSError or ValueError for the manifest.

    One statement of its own process: safe beside a running booth.
    """
    files = json.loads((copy / MANIFEST).read_bytes())["files"]
    marks = [(one["packet"], one["sha256"], now) for one in files if one["name"].endswith(RECEIPT)]
    if not marks:
        return 0
    path = folder / DATABASE
    try:
        with contextlib.closing(plain_connection(f"{path.resolve().as_uri()}?mode=rw")) as database:
            database.execute("PRAGMA synchronous = FULL")
            with transaction(database):
                database.executemany(
                    "INSERT OR REPLACE INTO exported (sha256, receipt_sha256, at) VALUES (?, ?, ?)", marks
                )
    except sqlite3.Error as error:
        raise OutboxWriteError(f"The outbox {folder} could not be written ({error}); are you its owner?") from error
    return len(marks)


def drop_receipts(database: sqlite3.Connection, packets: Path, limits: OutboxLimits, now: float) -> int:
    """Drops what may go; how many. Raises sqlite3.Error."""
    last = database.execute(
        "SELECT receipted_at FROM packets WHERE state = 'receipted' ORDER BY receipted_at DESC LIMIT 1 OFFSET ?",
        (limits.receipts_kept - 1,),
    ).fetchone()
    if last is None:
        return 0
    rows = database.execute(
        "SELECT sha256, receipt, receipt_sha256 FROM packets JOIN exported USING (sha256) "
        "WHERE state = 'receipted' AND receipted_at < ? ORDER BY receipted_at LIMIT ?",
        (min(last["receipted_at"], now - limits.receipts_kept_s), BATCH),
    ).fetchall()
    going = [
        (row["sha256"],)
        for row in rows
        if hashlib.sha256(row["receipt"]).hexdigest() == row["receipt_sha256"]
        and not (packets / (row["sha256"] + SUFFIX)).exists()
    ]
    if going:
        with transaction(database):
            database.executemany("DELETE FROM packets WHERE sha256 = ? AND state = 'receipted'", going)
            database.executemany("DELETE FROM exported WHERE sha256 = ?", going)
    return len(going)
