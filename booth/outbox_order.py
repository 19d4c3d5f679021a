"""Rows and packet files brought in line when the outbox is opened.

Order of operations, in ONE transaction that ends by setting `user_version` to 1 (0: the database is new and does not know the files yet):
  1 a row that says what cannot be (no digest, a time before 1970, delivered without a receipt) is dropped: bits of it have changed;
    a link (application, status) that is no digest is forgotten
  2 a packet file without a row is taken in: waiting when whole, damaged when it has another digest or cannot be read now
  3 a damaged packet whose file is whole (again) waits again
  4 a packet whose file is missing or has another size is flagged damaged
then, after the COMMIT: `*.partial` files and left-over files of receipted rows are removed, and the folder is fsynced.

A packet file is only ever removed against the receipt in its row. So a step that is interrupted, or a file that the disk does not give back
today, costs nothing at the next start. A damaged packet is quarantined where it lies: it is kept, told, and never sent. A second delivery
is harmless (the intake knows packets by digest), a lost packet is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from booth.disk import Files, read_packet
from booth.errors import OutboxDamagedError, OutboxUnreadableError, OutboxWriteError
from booth.outbox_database import DATABASE, PARTIAL, SUFFIX, PacketState, plain_connection, transaction

FILES_KNOWN = 1  # `user_version` of a database that has rows for all files
_POSSIBLE = """
    length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*' AND size BETWEEN 0 AND 1e12 AND attempts BETWEEN 0 AND 1e12
    AND created_at BETWEEN 0 AND 1e11 AND next_try_at BETWEEN 0 AND 1e11
    AND (receipted_at IS NULL OR receipted_at BETWEEN 0 AND 1e11) AND (state != 'receipted' OR length(receipt) > 0)
"""


def put_in_order(database: sqlite3.Connection, packets: Path, files: Files, problems: list[str]) -> None:
    """Rows and files in line, see above. What was found wrong is added to `problems`. Raises OSError or sqlite3.Error."""
    found = sorted(packets.iterdir())
    with transaction(database):
        dropped = database.execute(f"DELETE FROM packets WHERE ({_POSSIBLE}) IS NOT TRUE RETURNING sha256").fetchall()  # noqa: S608 - a constant
        problems += [f"The row of packet {row[0][:12]!a} said what cannot be and was dropped." for row in dropped]
        for link in ("application", "status"):
            database.execute(
                f"UPDATE packets SET {link} = NULL WHERE length({link}) != 64 OR {link} GLOB '*[^0-9a-f]*'"  # noqa: S608 - constants
            )
        known = {
            row["sha256"]: PacketState(row["state"]) for row in database.execute("SELECT sha256, state FROM packets")
        }
        packet_files = {file.stem: file for file in found if file.suffix == SUFFIX}
        if packet_files and not known and database.execute("PRAGMA user_version").fetchone()[0] < FILES_KNOWN:
            problems.append(
                f"The outbox database is new, and {len(packet_files)} packet files are older: they are taken in."
            )
        for sha256, file in packet_files.items():
            if sha256 not in known:
                _take_in(database, file, problems)
        for sha256, state in known.items():
            if state is PacketState.DAMAGED:
                _revive(database, sha256, packets / (sha256 + SUFFIX), problems)
            elif state in {PacketState.WAITING, PacketState.REFUSED}:
                _prove(database, sha256, packets / (sha256 + SUFFIX), problems)
        database.execute(f"PRAGMA user_version = {FILES_KNOWN}")
    for file in found:
        left_over = file.suffix == SUFFIX and known.get(file.stem) is PacketState.RECEIPTED
        if file.suffix == PARTIAL or left_over:
            try:
                files.remove(file)
                problems.append(f"{file.name[:12]}… was left by an interrupted step and was removed.")
            except OSError as error:
                problems.append(
                    f"{file.name[:12]}… was left by an interrupted step and cannot be removed ({error.strerror})."
                )
    files.sync(packets)


def make_due(folder: Path, chosen: Sequence[str], now: float) -> list[str]:
    """Lets refused and postponed packets be tried at once, those of `chosen` or all; which these are. Raises OutboxWriteError.

    One statement of its own process: safe beside a running booth, which looks for it every half minute.
    """
    path = folder / DATABASE
    if not path.exists():
        return []
    try:
        with contextlib.closing(plain_connection(f"{path.resolve().as_uri()}?mode=rw")) as database:
            database.execute("PRAGMA synchronous = FULL")
            with transaction(database):
                rows = database.execute(
                    "SELECT sha256 FROM packets WHERE state = 'refused' OR (state = 'waiting' AND next_try_at > ?)",
                    (now,),
                )
                due = [str(row[0]) for row in rows if not chosen or any(row[0].startswith(one) for one in chosen)]
                database.executemany(
                    "UPDATE packets SET state = 'waiting', next_try_at = 0, error_code = NULL, error = NULL WHERE sha256 = ?",
                    [(sha256,) for sha256 in due],
                )
    except sqlite3.Error as error:
        raise OutboxWriteError(f"The outbox {folder} could not be written ({error}); are you its owner?") from error
    return due


def _take_in(database: sqlite3.Connection, file: Path, problems: list[str]) -> None:
    """A row for a packet file that has none."""
    size, at, code, text = 0, 0.0, None, None
    try:
        facts = file.stat()
        size, at = facts.st_size, facts.st_mtime
        if not _is_whole(file, file.stem):
            code, text = OutboxDamagedError.code, f"Packet {file.stem[:12]}: its file does not have its digest."
    except OSError as error:
        code = OutboxUnreadableError.code
        text = f"Packet {file.stem[:12]}: its file cannot be read ({error.strerror}); it is looked at again at the next start."
    state = PacketState.WAITING if code is None else PacketState.DAMAGED
    database.execute(
        "INSERT INTO packets (sha256, packet_id, size, state, created_at, error_code, error) VALUES (?, '', ?, ?, ?, ?, ?)",
        (file.stem, size, state, at, code, text),
    )
    problems.append(f"Packet {file.stem[:12]} had no row and was taken in from its file as {state}.")


def _revive(database: sqlite3.Connection, sha256: str, file: Path, problems: list[str]) -> None:
    """A damaged packet that reads back now waits again."""
    try:
        if not _is_whole(file, sha256):
            return
        size = file.stat().st_size
    except OSError:  # still flagged, still kept
        return
    database.execute(
        "UPDATE packets SET state = 'waiting', size = ?, next_try_at = 0, error_code = NULL, error = NULL WHERE sha256 = ?",
        (size, sha256),
    )
    problems.append(f"Packet {sha256[:12]} was flagged damaged, but its file is whole: it waits again.")


def _prove(database: sqlite3.Connection, sha256: str, file: Path, problems: list[str]) -> None:
    """Flags a packet whose file is missing or has another size; its digest is compared when it is sent."""
    row = database.execute("SELECT size FROM packets WHERE sha256 = ?", (sha256,)).fetchone()
    try:
        if file.stat().st_size == row["size"]:
            return
        text = f"Packet {sha256[:12]}: its file has another size."
    except FileNotFoundError:
        text = f"Packet {sha256[:12]}: its file is missing."
    except OSError as error:
        problems.append(f"Packet {sha256[:12]}: its file cannot be looked at now ({error.strerror}).")
        return
    database.execute(
        "UPDATE packets SET state = 'damaged', error_code = ?, error = ? WHERE sha256 = ?",
        (OutboxDamagedError.code, text, sha256),
    )
    problems.append(text)


def _is_whole(file: Path, sha256: str) -> bool:
    return hashlib.sha256(read_packet(file)).hexdigest() == sha256
