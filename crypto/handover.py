"""Hand-over: what a desk gives to the producer of the document, and what the producer answers.

A message is a sealed packet (crypto.seal) whose signed package (content type ARC.2.8) is made and signed by a desk (purpose ARC.1.5). It has exactly two parts:
`packet.p7m`, the booth's CMS byte for byte, and `decision.p7m` (crypto/decision.py). Its manifest and header repeat packet, booth and centre and name the
producer's keys, so that nobody who opened it can seal it for somebody else under the desk's name.

An order is the desk's note (ARC.2.9) that a message was made for one producer: canonical JSON in a CMS, which the producer gets before the message. An answer
(ARC.2.10, purpose ARC.1.6) is the producer's word on one order: accepted, or rejected with a code. It names order and message, so that it counts for nothing else.

Opening a message, in this order: size and header; decryption; the desk's signature and path; the package against its manifest; header against manifest; its two
parts; the decision; the booth's signature, path and package; packet, booth and centre of all of them against each other. Nothing of it leaves before
all has passed. What failed is told with the code that the answer should carry: `unreadable` (nothing could be opened), `signature`, `content`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from crypto.canonical import canonical_json
from crypto.cms import MAX_FRAME_BYTES, Verified, sign_content, verify_content
from crypto.decision import Decision, Reason, verify_decision
from crypto.errors import (
    CertificateRefusedError,
    CryptoError,
    DecisionError,
    HandOverError,
    PackageError,
    SignatureRefusedError,
)
from crypto.keys import RecipientKey, RecipientPublicKey, Signer
from crypto.package import (
    MAX_PACKAGE_BYTES,
    Identity,
    Instant,
    KeyIds,
    Manifest,
    ManifestFields,
    Sha256,
    broken_fields,
    build_package,
    read_contents,
    write_instant,
)
from crypto.seal import MAX_PACKET_BYTES, MAX_SIGNING_DELAY, HeaderFields, seal, unseal, verify
from crypto.signed_document import DocumentRefusedError, verify_document
from crypto.trust import CONTENT_ANSWER, CONTENT_HANDOVER, CONTENT_ORDER, Purpose, TrustStore, common_name

ANSWER_TYPE = "application/vnd.passbooth.answer"
PACKET_PART, DECISION_PART = "packet.p7m", "decision.p7m"
MAX_CONTENT_BYTES = 2_048
MAX_ANSWER_BYTES = MAX_ORDER_BYTES = MAX_CONTENT_BYTES + MAX_FRAME_BYTES
UNREADABLE, SIGNATURE, CONTENT = "unreadable", "signature", "content"

OrderId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}\z")]
_Document = TypeVar("_Document", "OrderNote", "Answer")


class OrderNote(BaseModel):
    """What a desk says of a message that it made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    order: OrderId
    packet_sha256: Sha256
    producer: Identity
    recipients: KeyIds
    message_sha256: Sha256
    size: Annotated[int, Field(ge=1, le=MAX_PACKET_BYTES)]
    created_at: Instant
    answer_by: Instant
    resend_of: OrderId | None
    office: Identity

    @property
    def signed_at(self) -> datetime:
        """When it was signed."""
        return self.created_at

    @property
    def signed_by(self) -> str:
        """Whose word it is."""
        return self.office

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        times = {"created_at": write_instant(self.created_at), "answer_by": write_instant(self.answer_by)}
        return canonical_json(self.model_dump() | times)


class Answer(BaseModel):
    """What a producer says of an order."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    order: OrderId
    message_sha256: Sha256
    verdict: Literal["accepted", "rejected"]
    code: Reason | None
    answered_at: Instant
    producer: Identity

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.verdict == "rejected") != (self.code is not None):
            raise ValueError("a rejection has a code, an acceptance has none")
        return self

    @property
    def signed_at(self) -> datetime:
        """When it was signed."""
        return self.answered_at

    @property
    def signed_by(self) -> str:
        """Whose word it is."""
        return self.producer

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        return canonical_json(self.model_dump() | {"answered_at": write_instant(self.answered_at)})


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A message that passed every check."""

    decision: Decision
    decision_cms: bytes
    cms: bytes
    manifest: Manifest
    parts: Mapping[str, bytes]
    handed_by: str
    handed_at: datetime


def make_message(
    cms: bytes,
    decision: bytes,
    manifest: Manifest,
    recipients: Sequence[RecipientPublicKey],
    signer: Signer,
    at: datetime,
) -> bytes:
    """The sealed message: `manifest` is that of the booth's package inside `cms`. Raises HandOverError, SealingError."""
    at = at.replace(microsecond=0)
    try:
        fields = ManifestFields(
            packet_id=manifest.packet_id,
            booth=manifest.booth,
            centre=manifest.centre,
            recipients=tuple(sorted(one.key_id for one in recipients)),
            created_at=at,
        )
        package = build_package(fields, {PACKET_PART: cms, DECISION_PART: decision})
    except (ValidationError, PackageError) as err:
        raise HandOverError(
            "No hand-over message can hold this: the package is too large, or there are no keys."
        ) from err
    signed = sign_content(package.data, CONTENT_HANDOVER, signer, Purpose.DESK, at)
    header = HeaderFields(packet_id=manifest.packet_id, booth=manifest.booth, created_at=at)
    return seal(signed, header, recipients)


def open_message(message: bytes, keys: Iterable[RecipientKey], desks: TrustStore, booths: TrustStore) -> HandedOver:
    """What a desk handed over, or HandOverError with the code for the answer."""
    try:
        header, outer = unseal(message, keys)
    except CryptoError as err:
        raise HandOverError(f"The message cannot be opened: {err}", UNREADABLE) from err
    try:
        by_desk = verify_content(outer, CONTENT_HANDOVER, MAX_PACKAGE_BYTES, desks, Purpose.DESK)
        handed_by = common_name(by_desk.signer)
    except (SignatureRefusedError, CertificateRefusedError) as err:
        raise HandOverError(f"The message is not one of a trusted desk: {err}", SIGNATURE) from err
    try:
        wrapper, parts = read_contents(by_desk.view)
    except PackageError as err:
        raise HandOverError(f"The message's package is broken: {err}", CONTENT) from err
    said = (header.packet_id, header.booth, header.created_at, header.recipient_key_ids)
    if said != (wrapper.packet_id, wrapper.booth, wrapper.created_at, wrapper.recipients):
        raise HandOverError("The message's header says something else than what the desk signed.", CONTENT)
    if set(parts) != {PACKET_PART, DECISION_PART}:
        raise HandOverError(f"The message does not hold exactly {PACKET_PART} and {DECISION_PART}.", CONTENT)
    cms, decision_cms = parts[PACKET_PART], parts[DECISION_PART]
    try:
        decision = verify_decision(decision_cms, desks)
        by_booth = verify(cms, booths)
    except (DecisionError, SignatureRefusedError, CertificateRefusedError) as err:
        raise HandOverError(f"The message holds a signature that does not count: {err}", SIGNATURE) from err
    try:
        manifest, inner = read_contents(by_booth.view)
    except PackageError as err:
        raise HandOverError(f"The booth's package is broken: {err}", CONTENT) from err
    if decision.verdict != "accepted":
        raise HandOverError("The desk's decision does not accept the packet.", CONTENT)
    _check_together(wrapper, decision, manifest, by_booth, cms)
    return HandedOver(decision, decision_cms, cms, manifest, inner, handed_by, by_desk.signing_time)


def sign_order(
    *,
    order: str,
    packet_sha256: str,
    producer: str,
    recipients: Sequence[str],
    message: bytes,
    at: datetime,
    answer_by: datetime,
    resend_of: str | None,
    signer: Signer,
) -> bytes:
    """The desk's note of a message. Raises HandOverError for what no note can say."""
    try:
        made = OrderNote(
            order=order,
            packet_sha256=packet_sha256,
            producer=producer,
            recipients=tuple(sorted(recipients)),
            message_sha256=hashlib.sha256(message).hexdigest(),
            size=len(message),
            created_at=at,
            answer_by=answer_by,
            resend_of=resend_of,
            office=common_name(signer.certificate),
        )
    except ValidationError as err:
        raise HandOverError(f"No order can say this: wrong {broken_fields(err)}.") from err
    return sign_content(made.to_bytes(), CONTENT_ORDER, signer, Purpose.DESK, made.created_at)


def verify_order(data: bytes, trust: TrustStore) -> OrderNote:
    """The order in `data` if a trusted desk gave it, or HandOverError. Whether it is for who reads it is the caller's matter."""
    return _verified(data, CONTENT_ORDER, Purpose.DESK, "order", OrderNote, trust)


def sign_answer(*, order: str, message_sha256: str, code: str | None, at: datetime, signer: Signer) -> bytes:
    """A producer's answer: `code` says why an order is rejected, None accepts it. Raises HandOverError, SealingError."""
    try:
        made = Answer(
            order=order,
            message_sha256=message_sha256,
            verdict="accepted" if code is None else "rejected",
            code=code,
            answered_at=at,
            producer=common_name(signer.certificate),
        )
    except ValidationError as err:
        raise HandOverError(f"No answer can say this: wrong {broken_fields(err)}.") from err
    return sign_content(made.to_bytes(), CONTENT_ANSWER, signer, Purpose.PRODUCER, made.answered_at)


def verify_answer(data: bytes, trust: TrustStore) -> Answer:
    """The answer in `data` if a trusted producer gave it, or HandOverError. To which order is the caller's matter."""
    return _verified(data, CONTENT_ANSWER, Purpose.PRODUCER, "answer", Answer, trust)


def _verified(
    data: bytes, content_type: str, purpose: Purpose, name: str, kind: type[_Document], trust: TrustStore
) -> _Document:
    try:
        return verify_document(data, content_type, purpose, name, kind, MAX_CONTENT_BYTES, trust)
    except DocumentRefusedError as err:
        raise HandOverError(str(err), SIGNATURE if err.signature else CONTENT) from err


def _check_together(wrapper: Manifest, decision: Decision, manifest: Manifest, by_booth: Verified, cms: bytes) -> None:
    digest = hashlib.sha256(cms).hexdigest()
    for what, one, other in (
        ("decision's package", decision.cms_sha256, digest),
        ("decision's packet id", decision.packet_id, manifest.packet_id),
        ("message's packet id", wrapper.packet_id, manifest.packet_id),
        ("message's booth", wrapper.booth, manifest.booth),
        ("message's centre", wrapper.centre, manifest.centre),
        ("booth in the certificate", common_name(by_booth.signer), manifest.booth),
    ):
        if one != other:
            raise HandOverError(f"The {what} is {one}, but what the booth signed says {other}.", CONTENT)
    if abs(by_booth.signing_time - manifest.created_at) > MAX_SIGNING_DELAY:
        raise HandOverError("The booth's package was signed at another time than it was made.", CONTENT)
