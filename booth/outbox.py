"""Sealed packets that wait for their receipt: one database, one file per packet.

Order of operations
  visit: `require_room` refuses before a visit begins, by count, bytes, age and free space (booth/outbox_quota.py); nothing refuses afterwards
       but the disk itself.
  put: 1 write `<sha256>.partial` (new, 0600) and fsync it   2 rename it to `<sha256>.packet`   3 fsync the folder
       4 ask the permit     5 insert the row and COMMIT (WAL, synchronous=FULL: SQLite fsyncs its log).  Only then may a confirmation be
       shown.  Nothing that can raise follows a COMMIT: what is stored is never told to be lost.
  receipt: 1 the verified receipt into the row, COMMIT   2 remove the file   3 fsync the folder.  The row stays as evidence, until an export has
       it too (booth/outbox_receipts.py). A file that cannot be removed is logged and removed at the next start.
  read: a file that is gone or has another digest is flagged damaged; any other trouble of the disk may pass and changes nothing.
  open: booth/outbox_database.py opens or replaces the database, booth/outbox_order.py puts rows and files in order.

So a crash between any two system calls loses nothing that was confirmed (tests/unit/test_outbox_crash.py stops at each of them). A crash
between steps 2 and 5 leaves a whole packet that was neither confirmed nor told to be lost: it is sent. A failed fsync or COMMIT, and a permit
that is not given, mean that the packet is not stored: its file is removed before OutboxWriteError or CommitRevokedError says so (a disk
that refuses the removal too keeps it, and then it is sent).

What failed an fsync is not trusted again. A packet file is given up. A database that had an I/O error, or is found to be broken, is left
before it is used again: its rows go into a new file, or it is set aside (booth/outbox_database.py). While the disk does not allow that,
everything raises OutboxWriteError and no visit begins; the next call tries again, so a disk that comes back needs no restart.

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
from pathlib import Path

from booth.disk import DiskFiles, Files, read_packet
from booth.errors import (
    BoothRevokedError,
    CommitRevokedError,
    IntakeClockError,
    IntakeUnreachableError,
    OutboxDamagedError,
    OutboxFullError,
    OutboxInUseError,
    OutboxUnreadableError,
    OutboxWriteError,
    SoftwareRefusedError,
)
from booth.outbox_database import (
    DATABASE,
    NO_LINKS,
    PARTIAL,
    SUFFIX,
    Entry,
    Links,
    PacketState,
    casts_doubt,
    entry_of,
    is_corrupt,
    open_database,
    renew,
    transaction,
)
from booth.outbox_order import put_in_order
from booth.outbox_quota import DAY_S, OutboxLimits, OutboxStatus, read_status
from booth.outbox_receipts import drop_receipts

__all__ = [
    "DATABASE",
    "Entry",
    "Links",
    "Outbox",
    "OutboxLimits",
    "OutboxStatus",
    "PacketState",
    "open_outbox",
]


LOCK = "outbox.lock"
# Attempts in a row that one packet has before others come first: few, since a packet that is never answered holds up the others so often; on a
# line cut every 0.25 MB a packet needs two to three.
TURN_TRIES = 4
# What concerned every packet when one was postponed; the second pair ends with another certificate or version, which a restart may bring.
PAUSED_CODES = (IntakeUnreachableError.code, IntakeClockError.code)
LASTING_CODES = (BoothRevokedError.code, SoftwareRefusedError.code)

log = logging.getLogger(__name__)


class Outbox:
    """The open outbox; made by `open_outbox`."""

    def __init__(self, folder: Path, limits: OutboxLimits, clock: Callable[[], float], files: Files) -> None:
        self._folder = folder
        self._packets = folder / "packets"
        self._limits = limits
        self._clock = clock
        self._files = files
        self._lock = threading.Lock()
        self.problems: list[str] = []  # what was found wrong while opening, or since; plain sentences
        self._doubt: str | None = None  # why the database file is not trusted any more
        for part in (folder, self._packets):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.sync(folder.parent)
        self._database = self._opened()
        try:
            self.status = self._measure(self._database)
        except BaseException:
            self._database.close()
            raise
        self._dropped_at = -DAY_S
        self._drop_receipts()

    def close(self) -> None:
        """Closes the database, after the call that is at work in it: SQLite would read freed memory. Later calls raise OutboxWriteError."""
        with self._lock:
            self._database.close()

    def take_problems(self) -> tuple[str, ...]:
        """What was found wrong since this was last asked."""
        found = tuple(self.problems)
        del self.problems[: len(found)]
        return found

    # --- storing ---------------------------------------------------------------------------------------------------

    def require_room(self) -> None:
        """Raises OutboxFullError when no visit may start."""
        with self._working() as database:
            self.status = self._measure(database)
        if self.status.refusal is not None:
            raise OutboxFullError(self.status.refusal)

    def put(
        self, packet: bytes, packet_id: str, permit: Callable[[], bool] = lambda: True, links: Links = NO_LINKS
    ) -> str:
        """Stores a sealed packet durably, with its links, and returns its digest. `permit` is asked once, right before the commit."""
        sha256 = hashlib.sha256(packet).hexdigest()
        partial, final = self._packets / (sha256 + PARTIAL), self._path(sha256)
        with self._working() as database:
            if database.execute("SELECT 1 FROM packets WHERE sha256 = ?", (sha256,)).fetchone():
                return sha256
            try:
                self._files.remove(partial)
                self._files.write_new(partial, packet)
                self._files.rename(partial, final)
                self._files.sync(self._packets)
                if not permit():
                    raise CommitRevokedError("The visit ended before its packet was stored; nothing was kept.")
                with transaction(database):
                    database.execute(
                        "INSERT INTO packets (sha256, packet_id, size, state, created_at, application, status) "
                        "VALUES (?, ?, ?, 'waiting', ?, ?, ?)",
                        (sha256, packet_id, len(packet), self._clock(), links.application, links.status),
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
            self._files.sync(self._packets)

    # --- sending ---------------------------------------------------------------------------------------------------

    def next_due(self, now: float | None = None) -> Entry | None:
        """The waiting packet whose turn is first, due or not.

        Among those that are due, the oldest keeps its turn for TURN_TRIES attempts: the intake keeps what came of a few interrupted uploads only,
        so going from one packet to the next on a line that breaks would send everything again and again. After these the others come first.
        """
        return self._first(
            "SELECT * FROM packets WHERE state = 'waiting' ORDER BY max(next_try_at, ?), attempts / ?, created_at, rowid LIMIT 1",
            self._clock() if now is None else now, TURN_TRIES,
        )  # fmt: skip

    def read(self, sha256: str) -> bytes:
        """The packet's bytes, compared with its digest.

        Flags the packet and raises OutboxDamagedError when its file is gone or changed. Any other trouble with the disk may pass (too many
        open files, no memory, a cable): OutboxUnreadableError, and the packet waits as before.
        """
        try:
            packet = read_packet(self._path(sha256))
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
                self._files.sync(self._packets)
            except OSError as error:
                log.warning("delivered packet %s: its copy is removed at the next start (%s)", sha256[:12], error)
        self._drop_receipts()
        self._refresh()

    def hasten(self) -> None:
        """Makes every packet due that only waited for the intake to answer; one with trouble of its own keeps its time."""
        self._change(
            "UPDATE packets SET next_try_at = 0 WHERE state = 'waiting' AND (error_code IS NULL OR error_code IN (?, ?, ?, ?))",
            *PAUSED_CODES, *LASTING_CODES,
        )  # fmt: skip

    def retry_lasting(self) -> None:
        """Makes every packet due that waited for another certificate or version of the software: a restart may have brought it."""
        self._change(
            "UPDATE packets SET next_try_at = 0 WHERE state = 'waiting' AND error_code IN (?, ?)", *LASTING_CODES
        )

    def paused(self) -> tuple[float, int]:
        """Until when no packet is to be tried, as far as the rows tell (0.0: now), and how many attempts that came from."""
        with self._working() as database:
            row = database.execute(
                "SELECT max(next_try_at) AS until, sum(attempts) AS attempts FROM packets "
                "WHERE state = 'waiting' AND error_code IN (?, ?)",
                PAUSED_CODES,
            ).fetchone()
        return row["until"] or 0.0, row["attempts"] or 0

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
        with self._working() as database:
            return tuple(entry_of(row) for row in database.execute("SELECT * FROM packets ORDER BY created_at"))

    def receipt(self, sha256: str) -> bytes | None:
        """The stored receipt of a delivered packet."""
        with self._working() as database:
            row = database.execute("SELECT receipt FROM packets WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else row["receipt"]

    # --- inside ----------------------------------------------------------------------------------------------------

    def _path(self, sha256: str) -> Path:
        return self._packets / (sha256 + SUFFIX)

    def _first(self, query: str, *values: object) -> Entry | None:
        with self._working() as database:
            row = database.execute(query, values).fetchone()
        return None if row is None else entry_of(row)

    def _change(self, statement: str, *values: object) -> bool:
        with self._working() as database, transaction(database):
            changed = database.execute(statement, values).rowcount
        self._refresh()
        return changed > 0

    def _drop_receipts(self) -> None:
        """Once a day; never raises, for what was to be done is done. What cannot be dropped now stays."""
        now = self._clock()
        if abs(now - self._dropped_at) < DAY_S:
            return
        self._dropped_at = now
        try:
            with self._working() as database:
                dropped = drop_receipts(database, self._packets, self._limits, now)
        except OutboxWriteError as error:
            log.warning("old receipts stay for today: %s", error)
        else:
            if dropped:
                log.info("%d old receipts were dropped: exports have them", dropped)

    def _refresh(self) -> None:
        """The status after a COMMIT; never raises, for the commit has happened. The old status stays until it can be measured again."""
        with self._lock:
            try:
                self.status = self._measure(self._database)
            except Exception as error:  # noqa: BLE001 - see above; `require_room` raises it before the next visit
                log.warning("the outbox %s cannot be measured now (%s)", self._folder, error)

    @contextmanager
    def _working(self) -> Iterator[sqlite3.Connection]:
        """The database, trusted. The one place where errors of disk and database become the outbox's own."""
        with self._lock:
            try:
                if self._doubt is not None:
                    self._restore(self._doubt)
                yield self._database
            except (OSError, sqlite3.Error) as error:
                if isinstance(error, sqlite3.Error) and casts_doubt(error):
                    self._doubt = str(error)
                raise OutboxWriteError(
                    f"The outbox {self._folder} could not be written ({error}); check the disk."
                ) from error

    def _restore(self, doubt: str) -> None:
        """A database that can be trusted, in place of the one that cannot; while it raises, the doubt stays."""
        try:
            renew(self._database, self._folder, self._files)
        except sqlite3.ProgrammingError:
            pass  # closed by an earlier attempt that went on from there
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            self._database.close()  # and set aside by the next line
        self._database = self._opened()
        self._doubt = None
        self.problems.append(
            f"The outbox database had an error ({doubt}) and was written anew; check the disk's health."
        )

    def _opened(self) -> sqlite3.Connection:
        database = open_database(self._folder, self._files, self._clock, self.problems)
        try:
            put_in_order(database, self._packets, self._files, self.problems)
            self._files.sync(self._folder)
        except BaseException:
            database.close()
            raise
        return database

    def _measure(self, database: sqlite3.Connection) -> OutboxStatus:
        free_bytes = self._files.free_bytes(self._packets)
        return read_status(database, self._folder, free_bytes, self._limits, self._clock())


@contextmanager
def open_outbox(
    folder: Path, limits: OutboxLimits, clock: Callable[[], float], files: Files | None = None
) -> Iterator[Outbox]:
    """The outbox in `folder`, put in order; raises OutboxWriteError when the disk does not allow that, OutboxInUseError when another booth has it open."""
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(_only_user(folder / LOCK))
            outbox = Outbox(folder, limits, clock, files or DiskFiles())
        except BlockingIOError as error:
            raise OutboxInUseError(f"The outbox {folder} is in use by another booth.") from error
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
