"""Signed tree heads: an intake's word how large its receipt log is and which root it has (RFC 9162, 4.10, in our own form).

A tree head is a CMS SignedData (crypto.cms, content type ARC.2.3) by an intake's key over canonical JSON. Two heads of one log that no
consistency proof connects are evidence against the intake that holds without any further word: both carry its signature.

Verifying, in this order: size; CMS form, signature, path to a root for the purpose "intake" at the signing time; JSON form and schema;
intake against the certificate, time against the signing time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crypto.canonical import canonical_json
from crypto.cms import MAX_FRAME_BYTES, sign_content
from crypto.errors import ReceiptError
from crypto.keys import Signer
from crypto.merkle import MAX_TREE_SIZE
from crypto.package import Identity, Instant, KeyId, Sha256, broken_fields, write_instant
from crypto.signed_document import DocumentRefusedError, verify_document
from crypto.trust import CONTENT_TREE_HEAD, Purpose, TrustStore, common_name

TREE_HEAD_TYPE = "application/vnd.passbooth.tree-head"
MAX_CONTENT_BYTES = 1_024
MAX_TREE_HEAD_BYTES = MAX_CONTENT_BYTES + MAX_FRAME_BYTES

LogId = KeyId


class TreeHead(BaseModel):
    """What is said of the log at one moment."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    log: LogId
    size: Annotated[int, Field(ge=0, le=MAX_TREE_SIZE)]
    root_hash: Sha256
    at: Instant
    intake: Identity

    @property
    def signed_by(self) -> str:
        """Whose word it is."""
        return self.intake

    @property
    def signed_at(self) -> datetime:
        """When it was signed."""
        return self.at

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        return canonical_json(self.model_dump() | {"at": write_instant(self.at)})

    @property
    def root(self) -> bytes:
        """The root hash as bytes."""
        return bytes.fromhex(self.root_hash)


def sign_tree_head(*, log: str, size: int, root: bytes, at: datetime, signer: Signer) -> bytes:
    """The signed head of a tree that is stored, or is committed together with this head."""
    try:
        head = TreeHead(log=log, size=size, root_hash=root.hex(), at=at, intake=common_name(signer.certificate))
    except ValidationError as err:
        raise ReceiptError(f"No tree head can say this: wrong {broken_fields(err)}.") from err
    return sign_content(head.to_bytes(), CONTENT_TREE_HEAD, signer, Purpose.INTAKE, head.at)


def verify_tree_head(data: bytes, trust: TrustStore) -> TreeHead:
    """The head in `data` if a trusted intake signed it, or ReceiptError."""
    try:
        return verify_document(data, CONTENT_TREE_HEAD, Purpose.INTAKE, "tree head", TreeHead, MAX_CONTENT_BYTES, trust)
    except DocumentRefusedError as err:
        raise ReceiptError(str(err)) from err
