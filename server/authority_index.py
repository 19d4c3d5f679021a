"""What an authority remembers: every certificate it ever issued, what it took back, its tokens and its last revocation list.

SQLite in one file of mode 0600; rollback journal with synchronous=EXTRA, so that a committed row survives a power failure. One connection for each
piece of work: nothing stays open. Nothing is ever deleted but old tokens: packets are judged at their signing time for decades, so a revocation of
an expired certificate still counts.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.x509 import ReasonFlags

from crypto.issuance import Profile, Revoked
from crypto.key_folder import PRIVATE

_VERSION = 1
_BUSY_S = 10.0
_TABLES = """
CREATE TABLE certificates (
    serial TEXT PRIMARY KEY, identity TEXT NOT NULL, profile TEXT NOT NULL, key_sha256 TEXT NOT NULL,
    issued_at INTEGER NOT NULL, not_after INTEGER NOT NULL, der BLOB NOT NULL
) STRICT;
CREATE INDEX certificates_by_identity ON certificates (identity);
CREATE INDEX certificates_by_key ON certificates (key_sha256);
CREATE TABLE revocations (serial TEXT PRIMARY KEY, revoked_at INTEGER NOT NULL, reason TEXT NOT NULL) STRICT;
CREATE TABLE tokens (
    sha256 TEXT PRIMARY KEY, booth TEXT NOT NULL, expires_at INTEGER NOT NULL, used_at INTEGER
) STRICT;
CREATE TABLE list (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL, der BLOB NOT NULL) STRICT;
"""
_SELECT = (
    "SELECT c.serial, c.identity, c.profile, c.key_sha256, c.issued_at, c.not_after, r.revoked_at, r.reason"
    " FROM certificates c LEFT JOIN revocations r USING (serial)"
)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate as the authority remembers it."""

    serial: int
    identity: str
    profile: Profile
    key_sha256: str
    issued_at: datetime
    not_after: datetime
    revoked_at: datetime | None
    reason: ReasonFlags | None


class AuthorityIndex:
    """The rows, inside one transaction. Use `open_index`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, one: Issued, der: bytes) -> None:
        """Remember a certificate that was just signed, or was signed before by this authority's key."""
        row = (
            hex_of(one.serial),
            one.identity,
            one.profile.value,
            one.key_sha256,
            _s(one.issued_at),
            _s(one.not_after),
        )
        self._connection.execute("INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, der))

    def all(self) -> list[Issued]:
        """Every certificate, oldest first."""
        return [_issued(row) for row in self._connection.execute(f"{_SELECT} ORDER BY c.issued_at, c.rowid")]

    def in_force(self, profile: Profile, at: datetime) -> list[bytes]:
        """The certificates of a profile in DER that have not ended and were not taken back, oldest first."""
        rows = self._connection.execute(
            "SELECT c.der FROM certificates c LEFT JOIN revocations r USING (serial)"
            " WHERE c.profile = ? AND c.not_after > ? AND r.serial IS NULL ORDER BY c.issued_at, c.rowid",
            (profile.value, _s(at)),
        )
        return [bytes(der) for (der,) in rows]

    def by_serial(self, serial: int) -> Issued | None:
        """The certificate of a serial number."""
        row = self._connection.execute(f"{_SELECT} WHERE c.serial = ?", (hex_of(serial),)).fetchone()
        return None if row is None else _issued(row)

    def by_identity(self, identity: str) -> list[Issued]:
        """Every certificate of a name, also expired and revoked ones."""
        return [_issued(row) for row in self._connection.execute(f"{_SELECT} WHERE c.identity = ?", (identity,))]

    def by_key(self, key_sha256: str) -> list[Issued]:
        """Every certificate of a key."""
        return [_issued(row) for row in self._connection.execute(f"{_SELECT} WHERE c.key_sha256 = ?", (key_sha256,))]

    def revoke(self, serial: int, at: datetime, reason: ReasonFlags) -> None:
        """Take a certificate back. Taken back before, it keeps its date and gets the new reason."""
        self._connection.execute(
            "INSERT INTO revocations VALUES (?, ?, ?) ON CONFLICT (serial) DO UPDATE SET reason = excluded.reason,"
            " revoked_at = min(revoked_at, excluded.revoked_at)",
            (hex_of(serial), _s(at), reason.value),
        )

    def revoked(self) -> list[Revoked]:
        """The entries of the revocation list."""
        rows = self._connection.execute("SELECT serial, revoked_at, reason FROM revocations")
        return [Revoked(int(serial, 16), _at(at), ReasonFlags(reason)) for serial, at, reason in rows]

    def add_token(self, digest: str, booth: str, expires_at: datetime, forget_before: datetime) -> None:
        """Remember a token by its digest, and forget those that ended long ago."""
        self._connection.execute("DELETE FROM tokens WHERE expires_at < ?", (_s(forget_before),))
        self._connection.execute("INSERT INTO tokens VALUES (?, ?, ?, NULL)", (digest, booth, _s(expires_at)))

    def use_token(self, digest: str, booth: str, at: datetime) -> bool:
        """Whether a token was good for this booth; it is not any more."""
        found = self._connection.execute(
            "UPDATE tokens SET used_at = ?1 WHERE sha256 = ?2 AND booth = ?3 AND used_at IS NULL AND expires_at > ?1",
            (_s(at), digest, booth),
        )
        return found.rowcount == 1

    def withdraw_tokens(self, booth: str, at: datetime) -> int:
        """Make every unused token of a booth useless; how many there were."""
        found = self._connection.execute(
            "UPDATE tokens SET used_at = ?1 WHERE booth = ?2 AND used_at IS NULL AND expires_at > ?1", (_s(at), booth)
        )
        return found.rowcount

    def list(self) -> tuple[int, bytes] | None:
        """Number and bytes of the last revocation list."""
        row = self._connection.execute("SELECT number, der FROM list").fetchone()
        return None if row is None else (int(row[0]), bytes(row[1]))

    def set_list(self, number: int, der: bytes) -> None:
        """Remember the last revocation list."""
        self._connection.execute("INSERT OR REPLACE INTO list VALUES (1, ?, ?)", (number, der))


@contextmanager
def open_index(path: Path) -> Iterator[AuthorityIndex]:
    """One transaction, made durable at the end; nothing happened when the body raises. Raises sqlite3.Error, OSError."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE))  # private from its first moment
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"version {version} of the records is not known here")
        yield AuthorityIndex(connection)
        connection.execute("COMMIT")
    finally:
        connection.close()  # which rolls back what was not committed


def hex_of(serial: int) -> str:
    """A serial number as OpenSSL shows it, in small letters."""
    text = f"{serial:x}"
    return text if len(text) % 2 == 0 else f"0{text}"


def _issued(row: tuple[str, str, str, str, int, int, int | None, str | None]) -> Issued:
    serial, identity, profile, key, issued_at, not_after, revoked_at, reason = row
    return Issued(
        int(serial, 16),
        identity,
        Profile(profile),
        key,
        _at(issued_at),
        _at(not_after),
        None if revoked_at is None else _at(revoked_at),
        None if reason is None else ReasonFlags(reason),
    )


def _s(at: datetime) -> int:
    return int(at.timestamp())


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
