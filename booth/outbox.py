"""Sealed packets that wait for their receipt: one database, one file per packet.

Order of operations
  put: 1 refuse when full   2 write `<sha256>.partial` (new, 0600) and fsync it   3 rename it to `<sha256>.packet`   4 fsync the folder
       5 ask the permit     6 insert the row and COMMIT (WAL, synchronous=FULL).  Only then may a confirmation be shown.
       Nothing that can raise follows a COMMIT: what is stored is never told to be lost.
  receipt: 1 the verified receipt into the row, COMMIT   2 remove the file   3 fsync the folder.  The row stays as evidence. A file that
       cannot be removed is logged and removed at the next start.
  read: a file that is gone or has another digest is flagged damaged; any other trouble of the disk may pass and changes nothing.
  open: booth/outbox_database.py puts rows and files in order.

So a crash between any two steps loses nothing that was confirmed. A crash between steps 3 and 6 leaves a whole packet that was neither
confirmed nor told to be lost: it is sent. A failed fsync or COMMIT, and a permit that is not given, mean that the packet is not stored: its
file is removed before OutboxWriteError or CommitRevokedError says so (a disk that refuses the removal too keeps it, and then it is sent).
Files hold sealed bytes only and are named by their digest; the database holds no personal data. All calls block on the disk: call them on
one worker thread. `status` is a snapshot and may be read anywhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from booth.disk import DiskFiles, Files
from booth.errors import (
    CommitRevokedError,
    IntakeUnreachableError,
    OutboxDamagedError,
    OutboxFullError,
    OutboxUnreadableError,
    OutboxWriteError,
)
from booth.outbox_database import (
    DATABASE,
    PARTIAL,
    SUFFIX,
    Entry,
    PacketState,
    entry_of,
    open_database,
    put_in_order,
    transaction,
)

__all__ = [
    "DATABASE",
    "Entry",
    "Outbox",
    "OutboxLimits",
    "OutboxStatus",
    "PacketState",
    "open_outbox",
    "read_entries",
]


LOCK = "outbox.lock"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait, and how much of the disk must stay free."""

    max_packets: int = 2_000
    max_bytes: int = 8_000 * 2**20
    min_free_bytes: int = 500 * 2**20


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What is stored, and whether one more packet would be taken."""

    waiting: int = 0
    refused: int = 0
    damaged: int = 0
    stored_bytes: int = 0
    free_bytes: int = 0
    oldest_at: float | None = None
    last_receipt_at: float | None = None
    refusal: str | None = None  # why no more packets are taken

    @property
    def accepting(self) -> bool:
        """Whether a visit may start."""
        return self.refusal is None


class Outbox:
    """The open outbox; made by `open_outbox`."""

    def __init__(self, folder: Path, limits: OutboxLimits, clock: Callable[[], float], files: Files) -> None:
        self._folder = folder
        self._packets = folder / "packets"
        self._limits = limits
        self._clock = clock
        self._files = files
        self._lock = threading.Lock()
        self.problems: list[str] = []  # what was found wrong while opening; plain sentences
        for part in (folder, self._packets):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = open_database(folder, clock, self.problems)
        try:
            put_in_order(self._database, self._packets, files, self.problems)
            files.sync_folder(folder)
            self.status = self._measure()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    # --- storing ---------------------------------------------------------------------------------------------------

    def require_room(self) -> None:
        """Raises OutboxFullError when no visit may start."""
        with self._lock, self._translated():
            self.status = self._measure()
        if self.status.refusal is not None:
            raise OutboxFullError(self.status.refusal)

    def put(self, packet: bytes, packet_id: str, permit: Callable[[], bool] = lambda: True) -> str:
        """Stores a sealed packet durably and returns its digest. `permit` is asked once, right before the commit."""
        sha256 = hashlib.sha256(packet).hexdigest()
        partial, final = self._packets / (sha256 + PARTIAL), self._path(sha256)
        with self._lock, self._translated():
            self.status = self._measure()
            if self._database.execute("SELECT 1 FROM packets WHERE sha256 = ?", (sha256,)).fetchone():
                return sha256
            if self.status.refusal is not None:
                raise OutboxFullError(self.status.refusal)
            try:
                self._files.remove(partial)
                self._files.write_new(partial, packet)
                self._files.rename(partial, final)
                self._files.sync_folder(self._packets)
                if not permit():
                    raise CommitRevokedError("The visit ended before its packet was stored; nothing was kept.")
                with transaction(self._database) as database:
                    database.execute(
                        "INSERT INTO packets (sha256, packet_id, size, state, created_at) VALUES (?, ?, ?, 'waiting', ?)",
                        (sha256, packet_id, len(packet), self._clock()),
                    )
            except Exception:
                self._discard(partial, final)
                raise
            self._refresh()
        return sha256

    def _discard(self, *paths: Path) -> None:
        """Removes what a failed `put` left, durably if the disk lets us: a whole packet file would be sent after the next start."""
        for path in paths:
            with contextlib.suppress(OSError):
                self._files.remove(path)
        with contextlib.suppress(OSError):
            self._files.sync_folder(self._packets)

    # --- sending ---------------------------------------------------------------------------------------------------

    def next_due(self) -> Entry | None:
        """The waiting packet whose turn is first, due or not."""
        return self._first(
            "SELECT * FROM packets WHERE state = 'waiting' ORDER BY next_try_at, attempts, created_at LIMIT 1"
        )

    def read(self, sha256: str) -> bytes:
        """The packet's bytes, compared with its digest.

        Flags the packet and raises OutboxDamagedError when its file is gone or changed. Any other trouble with the disk may pass (too many
        open files, no memory, a cable): OutboxUnreadableError, and the packet waits as before.
        """
        try:
            packet = self._path(sha256).read_bytes()
        except FileNotFoundError:
            reason = "its file is missing"
        except OSError as error:
            raise OutboxUnreadableError(
                f"Packet {sha256[:12]}: its file cannot be read now ({error.strerror}); it is tried again."
            ) from error
        else:
            if hashlib.sha256(packet).hexdigest() == sha256:
                return packet
            reason = "its file does not have its digest any more"
        text = f"Packet {sha256[:12]}: {reason}."
        self._change("UPDATE packets SET state = 'damaged', error_code = ?, error = ? WHERE sha256 = ?",
                     OutboxDamagedError.code, text, sha256)  # fmt: skip
        raise OutboxDamagedError(text)

    def postpone(self, sha256: str, next_try_at: float, code: str, text: str) -> None:
        """Notes a failed attempt and when to try again."""
        self._change(
            "UPDATE packets SET attempts = attempts + 1, next_try_at = ?, error_code = ?, error = ? WHERE sha256 = ? "
            "AND state = 'waiting'",
            next_try_at, code, text, sha256,
        )  # fmt: skip

    def refuse(self, sha256: str, code: str, text: str) -> None:
        """Notes that the intake will never take the packet; it is kept for the technician."""
        self._change(
            "UPDATE packets SET state = 'refused', attempts = attempts + 1, error_code = ?, error = ? WHERE sha256 = ? "
            "AND state = 'waiting'",
            code, text, sha256,
        )  # fmt: skip

    def settle(self, sha256: str, receipt: bytes) -> None:
        """Stores a verified receipt, then removes the local copy."""
        self._change(
            "UPDATE packets SET state = 'receipted', attempts = attempts + 1, receipt = ?, receipted_at = ?, "
            "error_code = NULL, error = NULL WHERE sha256 = ? AND state != 'receipted'",
            receipt, self._clock(), sha256,
        )  # fmt: skip
        with self._lock:
            try:
                self._files.remove(self._path(sha256))
                self._files.sync_folder(self._packets)
            except OSError as error:
                log.warning("delivered packet %s: its copy is removed at the next start (%s)", sha256[:12], error)
            self._refresh()

    def hasten(self) -> None:
        """Makes every packet due that only waited for the intake to answer; one with trouble of its own keeps its time."""
        self._change(
            "UPDATE packets SET next_try_at = 0 WHERE state = 'waiting' AND (error_code IS NULL OR error_code = ?)",
            IntakeUnreachableError.code,
        )

    def bring_forward(self, latest: float) -> bool:
        """No waiting packet is tried later than `latest` (the clock was set back); whether one was to be."""
        return self._change(
            "UPDATE packets SET next_try_at = ? WHERE state = 'waiting' AND next_try_at > ?", latest, latest
        )

    def retry(self, sha256: str) -> bool:
        """Lets a refused or damaged packet wait again; False when it is neither. What is still damaged is flagged again when it is read."""
        return self._change(
            "UPDATE packets SET state = 'waiting', next_try_at = 0, error_code = NULL, error = NULL WHERE sha256 = ? "
            "AND state IN ('refused', 'damaged')",
            sha256,
        )

    def entries(self) -> tuple[Entry, ...]:
        """Every packet, oldest first."""
        with self._lock, self._translated():
            return tuple(entry_of(row) for row in self._database.execute("SELECT * FROM packets ORDER BY created_at"))

    def receipt(self, sha256: str) -> bytes | None:
        """The stored receipt of a delivered packet."""
        with self._lock, self._translated():
            row = self._database.execute("SELECT receipt FROM packets WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else row["receipt"]

    # --- inside ----------------------------------------------------------------------------------------------------

    def _path(self, sha256: str) -> Path:
        return self._packets / (sha256 + SUFFIX)

    def _first(self, query: str) -> Entry | None:
        with self._lock, self._translated():
            row = self._database.execute(query).fetchone()
        return None if row is None else entry_of(row)

    def _change(self, statement: str, *values: object) -> bool:
        with self._lock, self._translated():
            with transaction(self._database) as database:
                changed = database.execute(statement, values).rowcount
            self._refresh()
        return changed > 0

    def _refresh(self) -> None:
        """The status after a COMMIT; never raises, for the commit has happened. The old status stays until it can be measured again."""
        try:
            self.status = self._measure()
        except Exception as error:  # noqa: BLE001 - see above; `require_room` raises it before the next visit
            log.warning("the outbox %s cannot be measured now (%s)", self._folder, error)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The one place where errors of disk and database become the outbox's own."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise OutboxWriteError(
                f"The outbox {self._folder} could not be written ({error}); check the disk."
            ) from error

    def _measure(self) -> OutboxStatus:
        row = self._database.execute(
            "SELECT sum(state = 'waiting') AS waiting, sum(state = 'refused') AS refused, sum(state = 'damaged') AS damaged, "
            "sum(CASE WHEN state = 'receipted' THEN 0 ELSE size END) AS bytes, "
            "min(CASE WHEN state = 'waiting' THEN created_at END) AS oldest, max(receipted_at) AS receipted FROM packets"
        ).fetchone()
        counts = [int(row[name] or 0) for name in ("waiting", "refused", "damaged")]
        stored, free = int(row["bytes"] or 0), self._files.free_bytes(self._packets)
        limits, refusal = self._limits, None
        if sum(counts) >= limits.max_packets:
            refusal = f"The outbox holds {sum(counts)} packets, its limit: let the intake receive them."
        elif stored >= limits.max_bytes:
            refusal = f"The outbox holds {stored / 1e6:.0f} MB, its limit: let the intake receive them."
        elif free < limits.min_free_bytes:
            refusal = f"Only {free / 1e6:.0f} MB are free on the disk of {self._folder}; make room."
        waiting, refused, damaged = counts
        return OutboxStatus(waiting, refused, damaged, stored, free, row["oldest"], row["receipted"], refusal)


@contextmanager
def open_outbox(
    folder: Path, limits: OutboxLimits, clock: Callable[[], float], files: Files | None = None
) -> Iterator[Outbox]:
    """The outbox in `folder`, put in order; raises OutboxWriteError when the disk does not allow that or another booth has it open."""
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(_only_user(folder / LOCK))
            outbox = Outbox(folder, limits, clock, files or DiskFiles())
        except BlockingIOError as error:
            raise OutboxWriteError(f"The outbox {folder} is in use by another booth; end that one first.") from error
        except (OSError, sqlite3.Error) as error:
            raise OutboxWriteError(f"The outbox {folder} cannot be opened ({error}); check disk and owner.") from error
        stack.callback(outbox.close)
        yield outbox


@contextmanager
def _only_user(path: Path) -> Iterator[None]:
    """Putting an outbox in order would take a packet away from a booth that is just storing it: one process at a time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)  # which also unlocks


def read_entries(folder: Path) -> tuple[Entry, ...]:
    """Every packet of an outbox, oldest first, also while a booth has it open; changes nothing. Raises OutboxDamagedError."""
    path = folder / DATABASE
    if not path.exists():
        return ()
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return tuple(entry_of(row) for row in database.execute("SELECT * FROM packets ORDER BY created_at"))
    except sqlite3.Error as error:
        raise OutboxDamagedError(
            f"The outbox {folder} cannot be read ({error}); start the booth to put it in order."
        ) from error
