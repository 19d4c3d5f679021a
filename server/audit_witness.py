"""What a desk remembers of the audit log beside the database: its own last entry, in a small file in its data folder.

The entries alone do not show that the newest ones were taken off, or that the whole table was exchanged for an older copy of itself: both are sound in
themselves. A desk therefore keeps number and digest of the last entry that it wrote; an audit log that does not hold this very entry at this very number is not the
one that the desk has written. The file says less than the truth for a moment, never more: it is written after the entry is committed.

Rules: one line of canonical JSON with an HMAC under the desk's secret (purpose "audit witness"), replaced as a whole and on the disk when `note` returns; numbers
only grow, also when two desks share the folder (a lock file). Who can write both the database and this file, and has the secret, can take both back: a copy of
the file kept elsewhere shows that (`intake audit verify --witness`).
"""

from __future__ import annotations

import fcntl
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crypto.canonical import MAX_INTEGER, canonical_json, read_canonical_json
from crypto.desk_secret import DeskSecret
from crypto.errors import CanonicalJsonError
from crypto.package import Sha256
from server.errors import SettingsError

FILE_NAME = "audit.witness"
MAC_PURPOSE = "audit witness"
MAX_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Witnessed:
    """An entry that a desk knows to have written."""

    number: int
    digest: str


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    number: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    digest: Sha256
    mac: Sha256


class WitnessFile:
    """The file of one data folder."""

    def __init__(self, path: Path, secret: DeskSecret) -> None:
        self.path, self._secret = path, secret

    def read(self) -> Witnessed | None:
        """What is remembered; None when nothing was written yet. Raises `SettingsError` for a file that this desk has not written."""
        return read_witness(self.path, self._secret)

    def remember(self, entry: Witnessed) -> None:
        """On the disk when this returns, unless a newer entry is remembered already. Raises `OSError`, `SettingsError`."""
        lock = os.open(self.path.with_name(f"{FILE_NAME}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._give(lock)
            known = self.read()
            if known is None or known.number < entry.number:
                self._write(entry)
        finally:
            os.close(lock)

    def restart(self, entry: Witnessed) -> None:
        """Remember this entry whatever was known: the log went on from an older state, and says so. Raises `OSError`."""
        self._write(entry)

    def _write(self, entry: Witnessed) -> None:
        mac = _mac(self._secret, entry)
        data = canonical_json({"version": 1, "number": entry.number, "digest": entry.digest, "mac": mac}) + b"\n"
        fresh = self.path.with_name(f"{FILE_NAME}.{os.getpid()}.new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, data)
            self._give(file)
            os.fsync(file)
        finally:
            os.close(file)
        fresh.replace(self.path)

    def _give(self, file: int) -> None:
        """A file that an operator's command makes as root belongs to whom the folder belongs to: the desk has to read it."""
        if os.geteuid() == 0:
            owner = self.path.parent.stat()
            os.fchown(file, owner.st_uid, owner.st_gid)


def read_witness(path: Path, secret: DeskSecret | None) -> Witnessed | None:
    """What a file remembers, None when there is none; its HMAC is checked where the secret is known. Raises `SettingsError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"The witness of the audit log {path} cannot be read: {error.strerror}.") from error
    try:
        line = _Line.model_validate(read_canonical_json(data.removesuffix(b"\n"), MAX_BYTES, "witness"))
    except (CanonicalJsonError, ValidationError) as error:
        raise SettingsError(f"{path} is no witness of an audit log, or was damaged.") from error
    known = Witnessed(line.number, line.digest)
    if secret is not None and not hmac.compare_digest(_mac(secret, known), line.mac):
        raise SettingsError(f"The witness {path} was not written by a desk with this secret, or was changed.")
    return known


def _mac(secret: DeskSecret, entry: Witnessed) -> str:
    return secret.mac(MAC_PURPOSE, f"{entry.number} {entry.digest}".encode()).hex()
