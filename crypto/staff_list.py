"""The list of staff codes: whom the booths believe, signed by one who may say so. PURE.

The list is canonical JSON inside a CMS SignedData (crypto.cms, content type ARC.2.4) by a key whose certificate has the purpose "staff" (ARC.1.4): a key
for this alone, so that neither a booth's key nor the one that signs receipts can name staff. Each entry has the staff id, the centre it
is for (null: every one), its end (null: none), and the argon2id hash of its secret in the one form of crypto/staff_code.py. Who is not in
it, or not any more, is nobody.

Verifying, in this order: size; CMS form, signature, path to a root for the purpose "staff" at the signing time, revocation; JSON form and schema;
entries sorted by staff id, each once; the times (issue, then end, at most MOST_DAYS apart); issuer and time of issue against certificate and signing time.

The number says which of two lists is newer and never goes back: it is the second of its issue, or one more than the last one's, so that it goes
on even when the issuer's records came from a backup. A reader refuses an older one, and another one with the same number.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from crypto.canonical import MAX_INTEGER, canonical_json, read_json
from crypto.cms import MAX_FRAME_BYTES, sign_content, verify_content
from crypto.errors import CanonicalJsonError, CertificateRefusedError, SignatureRefusedError, StaffListError
from crypto.keys import Signer
from crypto.package import Identity, Instant, broken_fields, read_sequence, write_instant
from crypto.staff_code import STAFF_ID, STORED
from crypto.trust import CONTENT_STAFF_LIST, Purpose, TrustStore, common_name

MEDIA_TYPE = "application/vnd.passbooth.staff-list"
MAX_STAFF = 10_000
MAX_CONTENT_BYTES = 4 * 1024 * 1024  # an entry has at most 290 bytes
MAX_LIST_BYTES = MAX_CONTENT_BYTES + MAX_FRAME_BYTES
MOST_DAYS = 90


class StaffEntry(BaseModel):
    """One member of staff."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    staff: Annotated[str, StringConstraints(pattern=f"^{STAFF_ID.pattern}\\z")]
    centre: Identity | None
    expires_at: Instant | None
    hash: Annotated[str, StringConstraints(pattern=f"^{STORED.pattern}\\z")] = Field(repr=False)

    def counts(self, centre: str, at: datetime) -> bool:
        """Whether the code is good at a centre at a time."""
        return self.centre in (None, centre) and (self.expires_at is None or at < self.expires_at)


class StaffList(BaseModel):
    """Whom the booths believe."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    number: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    issuer: Identity
    issued_at: Instant
    expires_at: Instant
    staff: Annotated[tuple[StaffEntry, ...], Field(max_length=MAX_STAFF), BeforeValidator(read_sequence)]

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        ids = [entry.staff for entry in self.staff]
        if ids != sorted(set(ids)):
            raise ValueError("staff ids must be sorted and distinct")
        if not self.issued_at < self.expires_at <= self.issued_at + timedelta(days=MOST_DAYS):
            raise ValueError(f"a list lasts for at most {MOST_DAYS} days")
        return self

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""

        def instant(at: datetime | None) -> str | None:
            return None if at is None else write_instant(at)

        entries = [entry.model_dump() | {"expires_at": instant(entry.expires_at)} for entry in self.staff]
        times = {"issued_at": instant(self.issued_at), "expires_at": instant(self.expires_at)}
        return canonical_json(self.model_dump() | times | {"staff": entries})

    def find(self, staff: str) -> StaffEntry | None:
        """The entry of a staff id."""
        return next((entry for entry in self.staff if entry.staff == staff), None)


def sign_staff_list(
    *, number: int, staff: tuple[StaffEntry, ...], at: datetime, expires_at: datetime, signer: Signer
) -> bytes:
    """The signed list. Raises StaffListError for what no list can say, SealingError for a signer that nobody would believe."""
    try:
        made = StaffList(
            number=number, issuer=common_name(signer.certificate), issued_at=at, expires_at=expires_at, staff=staff
        )
    except ValidationError as err:
        raise StaffListError(f"No staff list can say this: wrong {broken_fields(err)}.") from err
    content = made.to_bytes()
    if len(content) > MAX_CONTENT_BYTES:
        raise StaffListError("The staff list is too long.")
    return sign_content(content, CONTENT_STAFF_LIST, signer, Purpose.STAFF, made.issued_at)


def verify_staff_list(data: bytes, trust: TrustStore) -> StaffList:
    """The list in `data` if one who may name staff signed it, or StaffListError. Whether it is still fresh, or newer, is the caller's matter."""
    try:
        verified = verify_content(data, CONTENT_STAFF_LIST, MAX_CONTENT_BYTES, trust, Purpose.STAFF)
        content = verified.content
        read = StaffList.model_validate(read_json(content, MAX_CONTENT_BYTES, "staff list"))
        issuer = common_name(verified.signer)
    except (SignatureRefusedError, CertificateRefusedError, CanonicalJsonError) as err:
        raise StaffListError(f"The staff list is not one of a trusted issuer: {err}") from err
    except ValidationError as err:
        raise StaffListError(f"The staff list breaks its schema at {broken_fields(err)}.") from None
    if read.to_bytes() != content:
        raise StaffListError("The staff list does not say the same thing when it is written again.")
    if read.issuer != issuer or read.issued_at != verified.signing_time:
        raise StaffListError("The staff list names another issuer or time than its signature.")
    return read
