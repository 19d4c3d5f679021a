"""What a backup consists of, signed: the list of its files with their digests, the schema they are of, and the newest tree head of the log in them.

A manifest is a CMS SignedData (crypto/cms.py, content type ARC.2.16) by an intake's key around canonical JSON. Who reads it believes it in this order:
size → signature, path to a trusted root for the purpose of an intake at the time of signing → schema → written again it is the same bytes → its time is the
signature's → it bears the name of the folder it lies in. Only then a file that it names is opened: every name in it is of the form that `Name` or a digest has, so
that none leads out of the folder.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from crypto.canonical import canonical_json
from crypto.cms import MAX_FRAME_BYTES, sign_content
from crypto.errors import CryptoError
from crypto.keys import Signer
from crypto.package import Instant, Sha256, write_instant
from crypto.signed_document import DocumentRefusedError, verify_document
from crypto.trust import ARC, Purpose, TrustStore
from server.backup_errors import BackupDamagedError, BackupRefusedError
from server.line_files import WrittenFile
from server.table_rows import Table

CONTENT_BACKUP = f"{ARC}.2.16"
# A table takes about 600 bytes: room for a thousand.
MAX_CONTENT_BYTES = 1024 * 1024
MAX_MANIFEST_BYTES = MAX_CONTENT_BYTES + MAX_FRAME_BYTES
# Objects of rows that the store could not give any more: more of them are a store to mend, not to copy.
MAX_LACKING = 1_000
# A number that goes up and when it was made: names sort in the order of their making, also when a clock was set back.
BACKUP_NAME = r"[0-9]{8}-[0-9]{8}T[0-9]{6}Z"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}\z")]
Kind = Literal["text", "number", "flag", "real", "bytes", "time", "day"]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileFacts(_Part):
    """A file by its content."""

    lines: Count
    size: Count
    sha256: Sha256

    @classmethod
    def of(cls, written: WrittenFile) -> FileFacts:
        """The facts of a file that was written."""
        return cls(lines=written.lines, size=written.size, sha256=written.sha256)

    @property
    def written(self) -> WrittenFile:
        """What the file is compared with."""
        return WrittenFile(self.lines, self.size, self.sha256)


class ColumnFacts(_Part):
    """A column and how its values are written."""

    name: Name
    kind: Kind


class TableFacts(_Part):
    """A table: its columns in their order, and its rows in the file that has its name."""

    name: Name
    columns: Annotated[list[ColumnFacts], Field(min_length=1, max_length=200)]
    rows: FileFacts

    @property
    def table(self) -> Table:
        """The table for statements."""
        return Table(self.name, tuple((one.name, one.kind) for one in self.columns))


class Manifest(_Part):
    """Everything that is signed about a backup."""

    version: Literal[1] = 1
    name: Annotated[str, StringConstraints(pattern=rf"^{BACKUP_NAME}\z")]
    made_at: Instant
    expires_at: Instant
    intake: str
    software: str
    engine: Literal["sqlite", "postgresql"]
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z_]{1,32}\z")]
    tables: Annotated[list[TableFacts], Field(min_length=1, max_length=1_000)]
    serials: dict[Name, Count]
    objects: FileFacts
    object_bytes: Count
    lacking: Annotated[list[str], Field(max_length=MAX_LACKING)]
    log: str
    log_size: Count
    tree_head: str  # signed, base64; empty when no intake had begun a log

    @property
    def signed_by(self) -> str:
        """Whose word it is."""
        return self.intake

    @property
    def signed_at(self) -> datetime:
        """When it was signed."""
        return self.made_at

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        times = {"made_at": write_instant(self.made_at), "expires_at": write_instant(self.expires_at)}
        return canonical_json(self.model_dump() | times)

    @property
    def rows(self) -> int:
        """Of all tables together."""
        return sum(one.rows.lines for one in self.tables)

    @property
    def signed_head(self) -> bytes:
        """The tree head of the log at the moment of the backup."""
        return base64.b64decode(self.tree_head)

    def is_over(self, now: datetime) -> bool:
        """Whether the time of this backup has ended."""
        return now >= self.expires_at


def sign_manifest(manifest: Manifest, signer: Signer) -> bytes:
    """The manifest as it is stored. Raises `BackupRefusedError` when the key does not sign."""
    try:
        return sign_content(manifest.to_bytes(), CONTENT_BACKUP, signer, Purpose.INTAKE, manifest.made_at)
    except CryptoError as error:
        raise BackupRefusedError(f"The backup cannot be signed: {error}") from error


def read_manifest(data: bytes, trust: TrustStore, name: str) -> Manifest:
    """The manifest of the backup `name`, believed. Raises `BackupDamagedError`."""
    called = f"manifest of {name}"
    try:
        manifest = verify_document(data, CONTENT_BACKUP, Purpose.INTAKE, called, Manifest, MAX_CONTENT_BYTES, trust)
    except DocumentRefusedError as error:
        raise BackupDamagedError(str(error)) from error
    if manifest.name != name:
        raise BackupDamagedError(f"The manifest in {name} is that of another backup.")
    return manifest
