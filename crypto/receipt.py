"""Receipts: the intake's signed word that it holds one packet. Only against this does a booth delete its copy.

A receipt is a CMS SignedData (crypto.cms) by an intake's key over canonical JSON: which packet (SHA-256 of the sealed bytes,
packet id), which intake, when, and the intake's running number.

Verifying, in this order: size; CMS form, signature, path to a root for the purpose "intake" at the signing time; JSON form
and schema; intake against the certificate, time against the signing time; the packet against the one asked for.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crypto.canonical import MAX_INTEGER, canonical_json, read_canonical_json
from crypto.cms import sign_content, verify_content
from crypto.errors import CanonicalJsonError, CertificateRefusedError, ReceiptError, SignatureRefusedError
from crypto.keys import Signer
from crypto.package import Identity, Instant, PacketId, Sha256, broken_fields, write_instant
from crypto.trust import CONTENT_RECEIPT, Purpose, TrustStore, common_name

MEDIA_TYPE = "application/vnd.passbooth.receipt"
MAX_RECEIPT_BYTES = 4_096


class Receipt(BaseModel):
    """What the intake says it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    packet_sha256: Sha256
    packet_id: PacketId
    intake: Identity
    received_at: Instant
    serial: Annotated[int, Field(ge=1, le=MAX_INTEGER)]

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        return canonical_json(self.model_dump() | {"received_at": write_instant(self.received_at)})


def issue_receipt(*, packet_sha256: str, packet_id: str, received_at: datetime, serial: int, signer: Signer) -> bytes:
    """The signed receipt of a packet that the intake has stored for good."""
    try:
        receipt = Receipt(
            packet_sha256=packet_sha256,
            packet_id=packet_id,
            intake=common_name(signer.certificate),
            received_at=received_at,
            serial=serial,
        )
    except ValidationError as err:
        raise ReceiptError(f"No receipt can say this: wrong {broken_fields(err)}.") from err
    return sign_content(receipt.to_bytes(), CONTENT_RECEIPT, signer, Purpose.INTAKE, receipt.received_at)


def verify_receipt(data: bytes, trust: TrustStore, packet_sha256: str) -> Receipt:
    """The receipt in `data` if a trusted intake signed it for exactly this packet, or ReceiptError."""
    try:
        verified = verify_content(data, CONTENT_RECEIPT, MAX_RECEIPT_BYTES, trust, Purpose.INTAKE)
        receipt = Receipt.model_validate(read_canonical_json(verified.content, MAX_RECEIPT_BYTES, "receipt"))
        intake = common_name(verified.signer)
    except (SignatureRefusedError, CertificateRefusedError, CanonicalJsonError) as err:
        raise ReceiptError(f"The receipt is not one of a trusted intake: {err}") from err
    except ValidationError as err:
        raise ReceiptError(f"The receipt breaks its schema at {broken_fields(err)}.") from err
    if receipt.to_bytes() != verified.content:
        raise ReceiptError("The receipt does not say the same thing when it is written again.")
    if receipt.intake != intake or receipt.received_at != verified.signing_time:
        raise ReceiptError("The receipt names another intake or time than its signature.")
    if receipt.packet_sha256 != packet_sha256:
        raise ReceiptError("The receipt is for another packet.")
    return receipt
