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

from crypto.canonical import canonical_json, read_canonical_json
from crypto.cms import MAX_FRAME_BYTES, sign_content, verify_content
from crypto.errors import CanonicalJsonError, CertificateRefusedError, ReceiptError, SignatureRefusedError
from crypto.keys import Signer
from crypto.merkle import MAX_TREE_SIZE
from crypto.package import Identity, Instant, KeyId, Sha256, broken_fields, write_instant
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
        verified = verify_content(data, CONTENT_TREE_HEAD, MAX_CONTENT_BYTES, trust, Purpose.INTAKE)
        head = TreeHead.model_validate(read_canonical_json(verified.content, MAX_CONTENT_BYTES, "tree head"))
        intake = common_name(verified.signer)
    except (SignatureRefusedError, CertificateRefusedError, CanonicalJsonError) as err:
        raise ReceiptError(f"The tree head is not one of a trusted intake: {err}") from err
    except ValidationError as err:
        raise ReceiptError(f"The tree head breaks its schema at {broken_fields(err)}.") from err
    if head.to_bytes() != verified.content:
        raise ReceiptError("The tree head does not say the same thing when it is written again.")
    if head.intake != intake or head.at != verified.signing_time:
        raise ReceiptError("The tree head names another intake or time than its signature.")
    return head
