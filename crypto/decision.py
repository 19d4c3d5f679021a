"""Decisions: a desk's signed word what is to become of one packet, and the chain that shows that none was taken away.

A decision is canonical JSON inside a CMS SignedData (crypto.cms, content type ARC.2.6) by a desk's key (purpose ARC.1.5). It names the sealed packet by its
SHA-256, the package inside by its id and by the SHA-256 of the booth's CMS, so that it says the same to one who never sees the sealed packet. The officer is an
opaque id, never a name; the office is the common name of the desk's certificate. An acceptance gives no reasons, a refusal one to three. `second_officer` is another
person without whom the first one's acceptance would not have counted. Version 1, which knew acceptances by one person alone, has no such field; it is read, and made no more.

A link is a second small SignedData (ARC.2.7) by the same key: the number of a decision, its SHA-256, and the SHA-256 of the link before. Numbers start at 1 and
have no gap: a decision that is changed, exchanged or taken out is found from the links alone. What is taken off the end with its links shows only beside
something that was kept elsewhere, as the producer keeps the decisions that he was handed.

A proposal (ARC.2.17) is the first person's signed word where two are needed: that a packet be accepted for a producer, and why one person is not enough; or that
this is withdrawn, or rejected by the other person. Proposals have a chain of their own, each naming the SHA-256 of the one before. The second person's yes is the decision itself.

Verifying, in this order: size; CMS form, signature, path to a root for the purpose "desk" at the signing time; JSON form and schema; office and time against
certificate and signing time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from crypto.canonical import MAX_INTEGER, canonical_json
from crypto.cms import MAX_FRAME_BYTES, sign_content
from crypto.errors import DecisionError
from crypto.keys import Signer
from crypto.package import Identity, Instant, PacketId, Sha256, broken_fields, read_sequence, write_instant
from crypto.signed_document import DocumentRefusedError, verify_document
from crypto.trust import (
    CONTENT_DECISION,
    CONTENT_DECISION_LINK,
    CONTENT_PROPOSAL,
    Purpose,
    TrustStore,
    common_name,
)

MEDIA_TYPE = "application/vnd.passbooth.decision"
MAX_CONTENT_BYTES = 4_096  # twice what the longest ids and reasons need
MAX_DECISION_BYTES = MAX_CONTENT_BYTES + MAX_FRAME_BYTES
MAX_REASONS = 3  # what an applicant can bear in mind on the way to the booth; assumed
MAX_CAUSES = 8
NO_LINK = "0" * 64  # what stands before the first link

Reason = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.\-]{0,63}\z")]
# Tells officers apart and says nothing of them: a name has spaces or capitals, or another alphabet.
OfficerId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9\-]{0,63}\z")]

_Document = TypeVar("_Document", "Decision", "DecisionLink", "Proposal")


class Decision(BaseModel):
    """What is to become of a packet."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1, 2] = 2
    packet_sha256: Sha256
    packet_id: PacketId
    cms_sha256: Sha256
    verdict: Literal["accepted", "refused"]
    reasons: Annotated[tuple[Reason, ...], Field(max_length=MAX_REASONS), BeforeValidator(read_sequence)]
    decided_at: Instant
    officer: OfficerId
    second_officer: OfficerId | None = None
    office: Identity

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.version == 1 and (self.verdict != "accepted" or self.second_officer is not None):
            raise ValueError("version 1 knows one person's acceptance alone")
        if (self.verdict == "refused") != bool(self.reasons):
            raise ValueError("a refusal gives reasons, an acceptance none")
        if len(set(self.reasons)) != len(self.reasons):
            raise ValueError("a reason is given once")
        if self.second_officer is not None and (self.verdict == "refused" or self.second_officer == self.officer):
            raise ValueError("the second person is another one, and accepts")
        return self

    @property
    def signed_by(self) -> str:
        """Whose word it is."""
        return self.office

    @property
    def signed_at(self) -> datetime:
        """When it was signed."""
        return self.decided_at

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        said = self.model_dump(exclude={"second_officer"} if self.version == 1 else None)
        return canonical_json(said | {"decided_at": write_instant(self.decided_at)})


class DecisionLink(BaseModel):
    """The place of a decision in the desk's chain."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    number: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    decision_sha256: Sha256
    previous: Sha256
    linked_at: Instant
    office: Identity

    @property
    def signed_by(self) -> str:
        """Whose word it is."""
        return self.office

    @property
    def signed_at(self) -> datetime:
        """When it was signed."""
        return self.linked_at

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        return canonical_json(self.model_dump() | {"linked_at": write_instant(self.linked_at)})


class Proposal(BaseModel):
    """What the first of two persons proposed, took back, or was refused by the other."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    number: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    previous: Sha256
    packet_sha256: Sha256
    action: Literal["proposed", "withdrawn", "rejected"]
    producer: Identity | None = None  # whom the packet is to be handed over to
    causes: Annotated[tuple[Reason, ...], Field(max_length=MAX_CAUSES), BeforeValidator(read_sequence)] = ()
    reason: Reason | None = None  # why it was rejected
    made_at: Instant
    officer: OfficerId
    office: Identity

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.action == "proposed") != (self.producer is not None) or (self.action == "proposed") != bool(
            self.causes
        ):
            raise ValueError("a proposal names a producer and causes, its end neither")
        if (self.action == "rejected") != (self.reason is not None):
            raise ValueError("a rejection gives a reason")
        return self

    @property
    def signed_by(self) -> str:
        """Whose word it is."""
        return self.office

    @property
    def signed_at(self) -> datetime:
        """When it was signed."""
        return self.made_at

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        return canonical_json(self.model_dump() | {"made_at": write_instant(self.made_at)})


def sign_decision(
    *,
    packet_sha256: str,
    packet_id: str,
    cms: bytes,
    verdict: str,
    reasons: Sequence[str] = (),
    officer: str,
    second_officer: str | None = None,
    at: datetime,
    signer: Signer,
) -> bytes:
    """A decision about a packet. Raises DecisionError for what no decision can say, SealingError for a signer that nobody would believe."""
    said: dict[str, Any] = {
        "packet_sha256": packet_sha256,
        "packet_id": packet_id,
        "cms_sha256": hashlib.sha256(cms).hexdigest(),
        "verdict": verdict,
        "reasons": tuple(reasons),
        "decided_at": at,
        "officer": officer,
        "second_officer": second_officer,
    }
    try:
        made = Decision(office=common_name(signer.certificate), **said)
    except ValidationError as err:
        raise DecisionError(f"No decision can say this: wrong {broken_fields(err)}.") from err
    return sign_content(made.to_bytes(), CONTENT_DECISION, signer, Purpose.DESK, made.decided_at)


def verify_decision(data: bytes, trust: TrustStore) -> Decision:
    """The decision in `data` if a trusted desk signed it, or DecisionError. Whether it is about the packet at hand is the caller's matter."""
    return _verified(data, CONTENT_DECISION, "decision", Decision, trust)


def sign_link(*, number: int, decision: bytes, previous: bytes | None, at: datetime, signer: Signer) -> bytes:
    """The link of the decision with this number; `previous` is the link before, None for the first."""
    try:
        made = DecisionLink(
            number=number,
            decision_sha256=hashlib.sha256(decision).hexdigest(),
            previous=digest_of(previous),
            linked_at=at,
            office=common_name(signer.certificate),
        )
    except ValidationError as err:
        raise DecisionError(f"No link can say this: wrong {broken_fields(err)}.") from err
    return sign_content(made.to_bytes(), CONTENT_DECISION_LINK, signer, Purpose.DESK, made.linked_at)


def verify_link(
    data: bytes, trust: TrustStore, *, number: int, decision: bytes, previous: bytes | None
) -> DecisionLink:
    """The link in `data` if a trusted desk put this decision at this place, or DecisionError."""
    link = _verified(data, CONTENT_DECISION_LINK, "link", DecisionLink, trust)
    if link.number != number or link.decision_sha256 != hashlib.sha256(decision).hexdigest():
        raise DecisionError("The link is of another decision, or of another place.")
    if link.previous != digest_of(previous):
        raise DecisionError("The link does not follow the one before it.")
    return link


def sign_proposal(*, previous: bytes | None, signer: Signer, **said: Any) -> bytes:
    """A proposal or its end, with the fields of `Proposal`; `previous` is the one before, None for the first. Raises as `sign_decision` does."""
    try:
        made = Proposal(previous=digest_of(previous), office=common_name(signer.certificate), **said)
    except ValidationError as err:
        raise DecisionError(f"No proposal can say this: wrong {broken_fields(err)}.") from err
    return sign_content(made.to_bytes(), CONTENT_PROPOSAL, signer, Purpose.DESK, made.made_at)


def verify_proposal(data: bytes, trust: TrustStore, *, number: int, previous: bytes | None) -> Proposal:
    """The proposal in `data` if a trusted desk put it at this place, or DecisionError."""
    proposal = _verified(data, CONTENT_PROPOSAL, "proposal", Proposal, trust)
    if proposal.number != number or proposal.previous != digest_of(previous):
        raise DecisionError("The proposal does not follow the one before it.")
    return proposal


def digest_of(link: bytes | None) -> str:
    """How a link or a proposal is named by the next one."""
    return NO_LINK if link is None else hashlib.sha256(link).hexdigest()


def _verified(data: bytes, content_type: str, name: str, kind: type[_Document], trust: TrustStore) -> _Document:
    try:
        return verify_document(data, content_type, Purpose.DESK, name, kind, MAX_CONTENT_BYTES, trust)
    except DocumentRefusedError as err:
        raise DecisionError(str(err)) from err
