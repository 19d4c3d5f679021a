"""What a server says about the end of a packet, signed: that it was deleted, that its bytes are gone, that a hold keeps it. PURE.

Each is canonical JSON of at most 1 KiB inside a CMS SignedData (crypto.cms) of a content type of its own. None holds anything of an applicant: digests,
times, the booth, the reason as one of a few words, and who placed a hold as an opaque id.

  - `DeletionRecord` (ARC.2.12): the packet's row is removed in the transaction that writes this; stored bytes are deleted after it.
  - `ErasureRecord` (ARC.2.13): the store was asked and holds none of the bytes any more. It names the deletion by its digest.
  - `HoldRecord` (ARC.2.14): a hold is placed or released. Each names the number and digest of the one before it, so that none can be taken out or put in.
  - `HoldHead` (ARC.2.15): how many hold records there are and the last one's digest, so that none can be taken off the end.

Verifying, in this order: size; CMS form, signature, path to a root for one of the purposes at the signing time; JSON form and schema; signer and time
against certificate and signing time. Whether the records fit together, and fit the rows, is the caller's matter.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from crypto.canonical import MAX_INTEGER, canonical_json, read_canonical_json
from crypto.cms import MAX_FRAME_BYTES, Verified, sign_content, verify_content
from crypto.errors import CanonicalJsonError, CertificateRefusedError, RetentionRecordError, SignatureRefusedError
from crypto.keys import Signer
from crypto.merkle import MAX_TREE_SIZE
from crypto.package import Identity, Instant, PacketId, Sha256, broken_fields, write_instant
from crypto.trust import (
    CONTENT_DELETION,
    CONTENT_ERASURE,
    CONTENT_HOLD,
    CONTENT_HOLD_HEAD,
    Purpose,
    TrustStore,
    common_name,
)

MAX_CONTENT_BYTES = 1_024
MAX_RECORD_BYTES = MAX_CONTENT_BYTES + MAX_FRAME_BYTES
NOTHING_BEFORE = "0" * 64

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,31}\z")]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]


class _Record(BaseModel):
    """What all of them have."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    content_type: ClassVar[str]
    purposes: ClassVar[tuple[Purpose, ...]] = (Purpose.INTAKE,)
    called: ClassVar[str]

    version: Literal[1] = 1
    at: Instant
    signer: Identity

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        times = {name: write_instant(value) for name, value in self if name == "at" or name.endswith("_at")}
        return canonical_json(self.model_dump() | times)

    @classmethod
    def sign(cls, signer: Signer, purpose: Purpose = Purpose.INTAKE, **said: Any) -> bytes:
        """The signed record. Raises RetentionRecordError for what no record can say, SealingError for a signer that nobody would believe."""
        try:
            made = cls(signer=common_name(signer.certificate), **said)
        except ValidationError as err:
            raise RetentionRecordError(f"No {cls.called} can say this: wrong {broken_fields(err)}.") from err
        return sign_content(made.to_bytes(), cls.content_type, signer, purpose, made.at)

    @classmethod
    def verify(cls, data: bytes, trust: TrustStore) -> Self:
        """The record in `data` if a trusted server signed it, or RetentionRecordError."""
        try:
            verified = cls._verified(data, trust)
            record = cls.model_validate(read_canonical_json(verified.content, MAX_CONTENT_BYTES, cls.called))
        except (SignatureRefusedError, CertificateRefusedError, CanonicalJsonError) as err:
            raise RetentionRecordError(f"The {cls.called} is not one of a trusted server: {err}") from err
        except ValidationError as err:
            raise RetentionRecordError(f"The {cls.called} breaks its schema at {broken_fields(err)}.") from err
        if record.to_bytes() != verified.content:
            raise RetentionRecordError(f"The {cls.called} does not say the same thing when it is written again.")
        if record.signer != common_name(verified.signer) or record.at != verified.signing_time:
            raise RetentionRecordError(f"The {cls.called} names another signer or time than its signature.")
        return record

    @classmethod
    def _verified(cls, data: bytes, trust: TrustStore) -> Verified:
        """The content, signed for the first of the purposes that fits."""
        *others, last = cls.purposes
        for purpose in others:
            with contextlib.suppress(CertificateRefusedError):
                return verify_content(data, cls.content_type, MAX_CONTENT_BYTES, trust, purpose)
        return verify_content(data, cls.content_type, MAX_CONTENT_BYTES, trust, last)


class DeletionRecord(_Record):
    """That a packet's row was removed, and why; `at` is when. Its place in the receipt log stays."""

    content_type = CONTENT_DELETION
    called = "deletion record"

    packet_sha256: Sha256
    packet_id: PacketId
    booth: Identity
    position: Annotated[int, Field(ge=0, lt=MAX_TREE_SIZE)]
    size: Count
    received_at: Instant
    reason: Word
    messages: Count  # that were made of it for producers, and are deleted with it
    backups_end_at: Instant  # no backup that may hold it is kept longer


class ErasureRecord(_Record):
    """That the store holds none of a deleted packet's bytes; `at` is when it was asked."""

    content_type = CONTENT_ERASURE
    called = "erasure record"

    packet_sha256: Sha256
    deletion_sha256: Sha256


class HoldRecord(_Record):
    """That a packet is not to be deleted, for one of the reasons, or no longer for that reason."""

    content_type = CONTENT_HOLD
    purposes = (Purpose.DESK, Purpose.INTAKE)
    called = "hold record"

    number: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    previous_sha256: Sha256
    packet_sha256: Sha256
    action: Literal["placed", "released"]
    reason: Word
    by: Identity


class HoldHead(_Record):
    """How many hold records there are."""

    content_type = CONTENT_HOLD_HEAD
    purposes = (Purpose.DESK, Purpose.INTAKE)
    called = "head of the holds"

    number: Annotated[int, Field(ge=0, le=MAX_INTEGER)]
    last_sha256: Sha256


def digest_of(record: bytes) -> str:
    """How one record names another."""
    return hashlib.sha256(record).hexdigest()
