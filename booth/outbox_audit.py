"""`booth outbox list|verify|export`: what an outbox holds, read, proved and copied. Looks only; nothing in this file changes an outbox.

verify, in this order: SQLite's own full check of the database; each row against its file: there, its size, its digest recomputed, a header that
reads as a packet's and names the row's packet; each receipt: that it reads, names this very packet and, when a trust root is given, is signed by an
intake; then files without a row. Beside a running booth a packet may be stored or delivered meanwhile: what differs is looked at a second
time, and only what differs twice is told.

export: into `<target>/.<name>.partial`: packets and receipts, each fsynced and read back, then `manifest.json` with every digest, then the folder
itself is fsynced and gets its name. So a folder without the dot is whole; an export that was broken off leaves none. Packets stay sealed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from booth.disk import read_packet
from booth.errors import OutboxDamagedError, OutboxExportError
from booth.outbox_database import DATABASE, SUFFIX, Entry, PacketState, check, entry_of, plain_connection
from crypto.errors import CryptoError, ReceiptError
from crypto.receipt import read_receipt, verify_receipt
from crypto.seal import read_header

if TYPE_CHECKING:
    from crypto.keys import TrustStore

Step = Callable[[int, int], None]
MANIFEST, RECEIPT = "manifest.json", ".receipt.json"
CHUNK = 1024 * 1024
DIGEST = re.compile("[0-9a-f]{64}")  # a row is only believed to name a file when it does so as the booth does


def read_entries(folder: Path) -> tuple[Entry, ...]:
    """Every packet of an outbox, oldest first, also while a booth has it open; changes nothing. Raises OutboxDamagedError."""
    with reading(folder) as database:
        if database is None:
            return ()
        return tuple(entry_of(row) for row in database.execute("SELECT * FROM packets ORDER BY created_at"))


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """The database of an outbox for looking only, None when there is none. Raises OutboxDamagedError, also for what is done with it."""
    path = folder / DATABASE
    if not path.exists():
        yield None
        return
    try:
        with contextlib.closing(plain_connection(f"{path.resolve().as_uri()}?mode=ro")) as database:
            yield database
    except (sqlite3.Error, ValueError) as error:
        raise OutboxDamagedError(
            f"The outbox {folder} cannot be read ({error}); start the booth to put it in order."
        ) from error


@dataclass(frozen=True, slots=True)
class Audit:
    """What was looked at, and what is wrong; one plain sentence each."""

    packets: int = 0
    receipts: int = 0
    bytes: int = 0
    findings: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify_outbox(folder: Path, trust: TrustStore | None = None, step: Step = lambda _done, _all: None) -> Audit:
    """Proves everything in an outbox, also while a booth has it open. Raises OutboxDamagedError when it cannot be looked at."""
    with reading(folder) as database:
        answer = None if database is None else check(database)
    found = [] if answer is None else [f"The database does not pass SQLite's check: {answer}."]
    rows = list(_rows(folder))
    audit = Audit()
    for number, (entry, receipt) in enumerate(rows):
        step(number, len(rows))
        text = _fault_of(folder, entry, receipt, trust)
        if text is not None:
            again = _row(folder, entry.sha256)
            text = None if again is None else _fault_of(folder, *again, trust)
        if text is not None:
            found.append(f"Packet {entry.sha256[:12]}: {text}")
        delivered = entry.state is PacketState.RECEIPTED
        audit = replace(
            audit,
            packets=audit.packets + (not delivered),
            receipts=audit.receipts + delivered,
            bytes=audit.bytes + (0 if delivered else entry.size),
        )
    step(len(rows), len(rows))
    strays = [file.stem for file in sorted((folder / "packets").glob(f"*{SUFFIX}")) if _row(folder, file.stem) is None]
    found += [
        f"Packet {sha256[:12]}: its file has no row; the booth takes it in at its next start."
        for sha256 in strays
        if _packet(folder, sha256).exists() and _row(folder, sha256) is None
    ]
    return replace(audit, findings=tuple(found))


def _rows(folder: Path, sha256: str | None = None) -> Iterator[tuple[Entry, bytes | None]]:
    with reading(folder) as database:
        if database is not None:
            query = "SELECT * FROM packets WHERE ?1 IS NULL OR sha256 = ?1 ORDER BY created_at"
            for row in database.execute(query, (sha256,)).fetchall():
                yield entry_of(row), row["receipt"]


def _row(folder: Path, sha256: str) -> tuple[Entry, bytes | None] | None:
    return next(_rows(folder, sha256), None)


def _fault_of(folder: Path, entry: Entry, receipt: bytes | None, trust: TrustStore | None) -> str | None:
    """What is wrong with one packet."""
    if not DIGEST.fullmatch(entry.sha256):
        return "its row names no packet."
    if entry.state is PacketState.RECEIPTED:
        return _fault_of_receipt(entry.sha256, receipt, trust)
    try:
        packet = read_packet(_packet(folder, entry.sha256))
    except FileNotFoundError:
        return "its file is missing."
    except OSError as error:
        return f"its file cannot be read ({error.strerror})."
    if len(packet) != entry.size:
        return f"its file has {len(packet)} bytes, its row says {entry.size}."
    if hashlib.sha256(packet).hexdigest() != entry.sha256:
        return "its file does not have its digest any more."
    try:
        header = read_header(packet)
    except CryptoError as error:
        return f"its file is no sealed packet: {error}"
    if entry.packet_id not in {"", header.packet_id}:
        return f"its header names packet {header.packet_id}, its row {entry.packet_id}."
    return None


def _fault_of_receipt(sha256: str, receipt: bytes | None, trust: TrustStore | None) -> str | None:
    try:
        if trust is not None:
            verify_receipt(receipt or b"", trust, sha256)
        elif read_receipt(receipt or b"").entry.packet_sha256 != sha256:
            return "its receipt is another packet's."
    except ReceiptError as error:
        return f"its receipt proves nothing: {error}"
    return None


def _packet(folder: Path, sha256: str) -> Path:
    return folder / "packets" / (sha256 + SUFFIX)


@dataclass(frozen=True, slots=True)
class Export:
    """A folder of copies."""

    folder: Path
    packets: int
    receipts: int
    bytes: int
    left_out: tuple[str, ...]  # packets that do not read back; one plain sentence each


def export_outbox(
    folder: Path, target: Path, booth: str, now: datetime, step: Step = lambda _done, _all: None
) -> Export:
    """Copies every packet and receipt into a new folder of `target`. Raises OutboxExportError (nothing is left) or OutboxDamagedError."""
    name = f"passbooth-{booth}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    if not target.is_dir():
        raise OutboxExportError(f"{target} is no folder: is the stick there?")
    if (target / name).exists():
        raise OutboxExportError(f"{target / name} exists already.")
    rows = list(_rows(folder))
    needed = sum(entry.size if receipt is None else len(receipt) for entry, receipt in rows)
    try:
        if (free := shutil.disk_usage(target).free) < needed:
            raise OutboxExportError(f"{target} has {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB are needed.")
        with _whole_or_not(target, name) as place:
            files, left_out = [], []
            for number, row in enumerate(rows):
                step(number, len(rows))
                try:
                    files.append(_copy(folder, place, *row))
                except OutboxDamagedError as error:
                    left_out.append(str(error))
            told = {
                "format": 1,
                "booth": booth,
                "at": now.astimezone(UTC).isoformat(timespec="seconds"),
                "files": files,
            }
            _write(place / MANIFEST, json.dumps(told | {"left_out": left_out}, indent=1).encode())
            step(len(rows), len(rows))
    except OSError as error:
        raise OutboxExportError(f"The copy to {target} failed ({error}); nothing was left there.") from error
    packets = sum(str(one["name"]).endswith(SUFFIX) for one in files)
    size = sum(int(str(one["size"])) for one in files)
    return Export(target / name, packets, len(files) - packets, size, tuple(left_out))


@contextmanager
def _whole_or_not(target: Path, name: str) -> Iterator[Path]:
    """A folder that gets its name when everything in it is on stable storage, and is gone otherwise."""
    place = target / f".{name}.partial"
    place.mkdir(mode=0o700)
    try:
        yield place
        _sync(place)
        place.rename(target / name)
        _sync(target)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _copy(folder: Path, place: Path, entry: Entry, receipt: bytes | None) -> dict[str, object]:
    """Copies a packet, or the receipt of a delivered one; raises OutboxDamagedError when there is nothing whole to copy."""
    if not DIGEST.fullmatch(entry.sha256):
        raise OutboxDamagedError(f"Packet {entry.sha256[:12]}: its row names no packet.")
    data = receipt
    if data is None:
        try:
            data = read_packet(_packet(folder, entry.sha256))
        except FileNotFoundError as error:
            again = _row(folder, entry.sha256)  # a running booth may just have delivered it
            if again is None or again[1] is None:
                raise OutboxDamagedError(f"Packet {entry.sha256[:12]}: its file is missing.") from error
            entry, receipt = again
            data = again[1]
        except OSError as error:  # a disk that fails here is why the others are copied
            raise OutboxDamagedError(
                f"Packet {entry.sha256[:12]}: its file cannot be read ({error.strerror})."
            ) from error
        else:
            if hashlib.sha256(data).hexdigest() != entry.sha256:
                raise OutboxDamagedError(f"Packet {entry.sha256[:12]}: its file does not have its digest any more.")
    name = entry.sha256 + (SUFFIX if receipt is None else RECEIPT)
    _write(place / name, data)
    facts = {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "packet": entry.sha256}
    return facts | {"packet_id": entry.packet_id, "state": entry.state.value, "error": entry.error}


def _write(path: Path, data: bytes) -> None:
    """A new file on stable storage, read back from the device where the system allows that."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.lseek(descriptor, 0, os.SEEK_SET)
        digest = hashlib.sha256()
        while chunk := os.read(descriptor, CHUNK):
            digest.update(chunk)
    finally:
        os.close(descriptor)
    if digest.digest() != hashlib.sha256(data).digest():
        raise OSError(None, f"{path.name} does not read back as it was written")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
