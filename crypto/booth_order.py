"""Orders for booths: what a desk asks a booth to do, and what the booth says came of it. PURE.

An order is canonical JSON inside a CMS SignedData (crypto.cms, content type ARC.2.20) by a desk's key (purpose ARC.1.5): for one booth, with a number that only
grows for this booth, until a time that is at most a week away. The kinds and their arguments are a closed set: none of them can take, show or read a
picture or anything of a visit, and a kind that this file does not know is none. The person who gave it is an opaque id.

An answer (ARC.2.21) is the booth's signed word on one order, named by its id and by the SHA-256 of its bytes: done, refused or failed, a code, a few counts.
A support bundle (ARC.2.22) is signed by the booth and sealed for the desk's keys (crypto.seal): who carries it cannot read it.

Verifying, in this order: size; CMS form, signature, path to a root for the purpose at the signing time; JSON form and schema; who signed and when. Whether an
order is for this booth, is due and is newer than the last is the caller's matter (booth/remote_orders.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from crypto.canonical import MAX_INTEGER, canonical_json
from crypto.cms import MAX_FRAME_BYTES, sign_content, verify_content
from crypto.decision import OfficerId
from crypto.errors import (
    BoothOrderError,
    CertificateRefusedError,
    PacketFormatError,
    SignatureRefusedError,
)
from crypto.keys import Signer
from crypto.package import Identity, Instant, PacketId, Sha256, broken_fields, write_instant
from crypto.packet_header import MAX_HEADER_BYTES, HeaderFields
from crypto.recipient import OVERHEAD_BYTES, RecipientKey, RecipientPublicKey
from crypto.seal import seal, unseal
from crypto.signed_document import DocumentRefusedError, verify_document
from crypto.trust import (
    CONTENT_BOOTH_ANSWER,
    CONTENT_BOOTH_BUNDLE,
    CONTENT_BOOTH_ORDER,
    Purpose,
    TrustStore,
    common_name,
)

ORDER_TYPE = "application/vnd.passbooth.booth-order"
ANSWER_TYPE = "application/vnd.passbooth.booth-answer"
BUNDLE_TYPE = "application/vnd.passbooth.booth-bundle"
MAX_CONTENT_BYTES = 4_096
MAX_ORDER_BYTES = MAX_ANSWER_BYTES = MAX_CONTENT_BYTES + MAX_FRAME_BYTES
# A bundle of ninety days of self-tests has 0.1 to 1 MB.
MAX_BUNDLE_BYTES = 5 * 1024 * 1024
MAX_SEALED_BUNDLE_BYTES = MAX_BUNDLE_BYTES + MAX_FRAME_BYTES + MAX_HEADER_BYTES + 2 * OVERHEAD_BYTES
# A booth that was away for longer is asked anew: what was wise a week ago need not be.
MAX_LIFE = timedelta(days=7)
MAX_COUNTS = 16


class OrderKind(StrEnum):
    """Everything that a booth can be asked from afar."""

    RUN_TESTS = "run_tests"
    SUPPORT_BUNDLE = "support_bundle"
    CHANGE_PROFILE = "change_profile"
    OUT_OF_SERVICE = "out_of_service"
    IN_SERVICE = "in_service"
    ROTATE_KEY = "rotate_key"


class Outcome(StrEnum):
    """What came of an order."""

    DONE = "done"
    REFUSED = "refused"  # nothing was begun
    FAILED = "failed"  # it was begun


# Why a booth is taken out of service: those of its own switch (booth/service_switch.py; a test compares them).
OUT_REASONS = ("maintenance", "device_fault", "cleaning", "premises", "other")
# Kind → its arguments, each of which has to be there: name → what its value looks like.
ARGUMENTS: Mapping[OrderKind, Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        OrderKind.RUN_TESTS: {},
        OrderKind.SUPPORT_BUNDLE: {},
        OrderKind.CHANGE_PROFILE: {"profile": re.compile(r"[a-z][a-z0-9_\-]{0,31}", re.ASCII)},
        OrderKind.OUT_OF_SERVICE: {"reason": re.compile("|".join(OUT_REASONS))},
        OrderKind.IN_SERVICE: {},
        OrderKind.ROTATE_KEY: {},
    }
)

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.\-]{0,63}\z")]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
_Document = TypeVar("_Document", "BoothOrder", "BoothAnswer")


class BoothOrder(BaseModel):
    """What one booth is asked to do."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    id: PacketId
    booth: Identity
    number: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    kind: Annotated[OrderKind, Field(strict=False)]
    arguments: Mapping[str, str]
    made_at: Instant
    expires_at: Instant
    by: OfficerId
    office: Identity

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wanted = ARGUMENTS[self.kind]
        if self.arguments.keys() != wanted.keys():
            raise ValueError("other arguments than this kind has")
        if not all(form.fullmatch(self.arguments[name]) for name, form in wanted.items()):
            raise ValueError("an argument with a value that is none")
        if not timedelta() < self.expires_at - self.made_at <= MAX_LIFE:
            raise ValueError("an end that is not within a week")
        return self

    @property
    def signed_at(self) -> datetime:
        """When it was signed."""
        return self.made_at

    @property
    def signed_by(self) -> str:
        """Whose word it is."""
        return self.office

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        times = {"made_at": write_instant(self.made_at), "expires_at": write_instant(self.expires_at)}
        return canonical_json(self.model_dump(mode="json") | times)


class BoothAnswer(BaseModel):
    """What a booth says came of an order. A bundle is named by the digest of its sealed bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    order: PacketId
    order_sha256: Sha256
    booth: Identity
    outcome: Annotated[Outcome, Field(strict=False)]
    code: Word | None
    counts: Annotated[Mapping[Word, Count], Field(max_length=MAX_COUNTS)]
    bundle_sha256: Sha256 | None
    answered_at: Instant

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.outcome is not Outcome.DONE and (self.code is None or self.bundle_sha256 is not None):
            raise ValueError("what was not done has a code and no bundle")
        return self

    @property
    def signed_at(self) -> datetime:
        """When it was signed."""
        return self.answered_at

    @property
    def signed_by(self) -> str:
        """Whose word it is."""
        return self.booth

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        return canonical_json(self.model_dump(mode="json") | {"answered_at": write_instant(self.answered_at)})


def sign_booth_order(
    *,
    order: str,
    booth: str,
    number: int,
    kind: OrderKind,
    arguments: Mapping[str, str],
    at: datetime,
    life: timedelta,
    by: str,
    signer: Signer,
) -> bytes:
    """An order. Raises BoothOrderError for what no order can say, SealingError for a signer that nobody would believe."""
    try:
        made = BoothOrder(
            id=order,
            booth=booth,
            number=number,
            kind=kind,
            arguments=dict(arguments),
            made_at=at,
            expires_at=at + life,
            by=by,
            office=common_name(signer.certificate),
        )
    except ValidationError as err:
        raise BoothOrderError(f"No order for a booth can say this: wrong {broken_fields(err)}.") from err
    return sign_content(made.to_bytes(), CONTENT_BOOTH_ORDER, signer, Purpose.DESK, made.made_at)


def verify_booth_order(data: bytes, trust: TrustStore) -> BoothOrder:
    """The order in `data` if a trusted desk gave it, or BoothOrderError."""
    return _verified(data, CONTENT_BOOTH_ORDER, Purpose.DESK, "order", BoothOrder, trust)


def sign_booth_answer(
    *,
    order: str,
    order_document: bytes,
    outcome: Outcome,
    code: str | None,
    counts: Mapping[str, int],
    bundle: bytes | None,
    at: datetime,
    signer: Signer,
) -> bytes:
    """A booth's answer to the order with this id and these bytes. Raises BoothOrderError, SealingError."""
    try:
        made = BoothAnswer(
            order=order,
            order_sha256=hashlib.sha256(order_document).hexdigest(),
            booth=common_name(signer.certificate),
            outcome=outcome,
            code=code,
            counts=dict(counts),
            bundle_sha256=None if bundle is None else hashlib.sha256(bundle).hexdigest(),
            answered_at=at,
        )
    except ValidationError as err:
        raise BoothOrderError(f"No answer can say this: wrong {broken_fields(err)}.") from err
    return sign_content(made.to_bytes(), CONTENT_BOOTH_ANSWER, signer, Purpose.BOOTH, made.answered_at)


def verify_booth_answer(data: bytes, trust: TrustStore) -> BoothAnswer:
    """The answer in `data` if a trusted booth gave it, or BoothOrderError. To which order is the caller's matter."""
    return _verified(data, CONTENT_BOOTH_ANSWER, Purpose.BOOTH, "answer", BoothAnswer, trust)


def seal_bundle(
    order: str, bundle: bytes, recipients: Sequence[RecipientPublicKey], signer: Signer, at: datetime
) -> bytes:
    """A support bundle for an order, signed by the booth and sealed for the desk. Raises BoothOrderError, SealingError."""
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise BoothOrderError(f"The bundle has {len(bundle)} bytes; {MAX_BUNDLE_BYTES} is the limit.")
    cms = sign_content(bundle, CONTENT_BOOTH_BUNDLE, signer, Purpose.BOOTH, at)
    try:
        header = HeaderFields(packet_id=order, booth=common_name(signer.certificate), created_at=at)
    except ValidationError as err:
        raise BoothOrderError(f"No bundle can be for this: wrong {broken_fields(err)}.") from err
    return seal(cms, header, recipients)


def open_bundle(sealed: bytes, order: str, booth: str, keys: Iterable[RecipientKey], trust: TrustStore) -> bytes:
    """The bundle that this booth made for this order, or BoothOrderError."""
    try:
        header, cms = unseal(sealed, keys)
        verified = verify_content(cms, CONTENT_BOOTH_BUNDLE, MAX_BUNDLE_BYTES, trust, Purpose.BOOTH)
        signer = common_name(verified.signer)
    except (PacketFormatError, SignatureRefusedError, CertificateRefusedError) as err:
        raise BoothOrderError(f"The bundle does not open, or no trusted booth signed it: {err}") from err
    if (header.packet_id, header.booth, signer) != (order, booth, booth):
        raise BoothOrderError("The bundle is another booth's, or was made for another order.")
    return verified.content


def _verified(
    data: bytes, content_type: str, purpose: Purpose, name: str, kind: type[_Document], trust: TrustStore
) -> _Document:
    try:
        return verify_document(data, content_type, purpose, name, kind, MAX_CONTENT_BYTES, trust)
    except DocumentRefusedError as err:
        raise BoothOrderError(str(err)) from err
