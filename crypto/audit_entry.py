"""One entry of the desk's audit log: who did what about what, and where it stands. PURE.

An entry is canonical JSON. It holds its number, the SHA-256 of the sealed entry before it, the time, the actor as an opaque id, the office, the action and its
subject as words of closed alphabets, and a few facts that are numbers, flags or such words: a person's name, with its space or its own alphabet, fits nowhere.

It is sealed in one of two ways, and says which:
  - `cms`: a CMS SignedData (crypto.cms, content type ARC.2.16) by a desk's key (purpose ARC.1.5). Whoever has the root can check it.
  - `hmac`: for a desk that signs nothing: a line that names the form, HMAC-SHA256 under the desk's secret (purpose "audit"), then the entry. Only who has that secret
    can check it, and could have written it.

Verifying, in this order: size; form; signature and path to a root for the purpose "desk" at the signing time, or HMAC; JSON form and schema; what the entry
says of its own sealing, office and time. Whether entries follow each other is the caller's matter (server/audit_trail.py).
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from crypto.canonical import MAX_INTEGER, canonical_json, read_canonical_json
from crypto.cms import MAX_FRAME_BYTES, sign_content, verify_content
from crypto.decision import OfficerId
from crypto.desk_secret import DeskSecret
from crypto.errors import AuditEntryError, CanonicalJsonError, CertificateRefusedError, SignatureRefusedError
from crypto.keys import Signer
from crypto.package import Identity, Instant, Sha256, broken_fields, write_instant
from crypto.trust import CONTENT_AUDIT_ENTRY, Purpose, TrustStore, common_name

MAX_CONTENT_BYTES = 4_096
MAX_ENTRY_BYTES = MAX_CONTENT_BYTES + MAX_FRAME_BYTES
MAX_FACTS = 12
NOTHING_BEFORE = "0" * 64  # what stands before the first entry
UNSIGNED_OFFICE = "desk"  # of a desk without a certificate
MAC_PURPOSE = "audit"
MAC_BYTES = 32
_HMAC_FORM = b"passbooth audit hmac 1\n"  # a CMS begins with 0x30

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,31}\z")]
ActionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,31}(\.[a-z][a-z_]{0,31}){0,2}\z")]
# Digests, ids, names of booths and of a packet's parts, classes. No space: no sentence and no person's name.
Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/\-]{0,128}\z")]
Fact = bool | Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] | Token


class AuditEntry(BaseModel):
    """What somebody did."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    number: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    previous: Sha256
    at: Instant
    actor: OfficerId
    office: Identity
    sealing: Literal["cms", "hmac"]
    action: ActionName
    subject: Token
    facts: Annotated[dict[Word, Fact], Field(max_length=MAX_FACTS)]

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is sealed."""
        return canonical_json(self.model_dump() | {"at": write_instant(self.at)})


def seal_entry(said: dict[str, Any], secret: DeskSecret, signer: Signer | None) -> bytes:
    """The sealed entry: by the signer when there is one. `said` are the fields besides version, office and sealing.

    Raises AuditEntryError for what no entry can say, SealingError for a signer that nobody would believe.
    """
    office = UNSIGNED_OFFICE if signer is None else common_name(signer.certificate)
    try:
        made = AuditEntry(**said, office=office, sealing="hmac" if signer is None else "cms")
    except ValidationError as err:
        raise AuditEntryError(f"No entry of the audit log can say this: wrong {broken_fields(err)}.") from err
    content = made.to_bytes()
    if len(content) > MAX_CONTENT_BYTES:
        raise AuditEntryError(f"An entry of the audit log has at most {MAX_CONTENT_BYTES} bytes.")
    if signer is None:
        return _HMAC_FORM + secret.mac(MAC_PURPOSE, content) + content
    return sign_content(content, CONTENT_AUDIT_ENTRY, signer, Purpose.DESK, made.at)


def open_entry(data: bytes, trust: TrustStore, secret: DeskSecret | None) -> AuditEntry:
    """The entry in `data` if a trusted desk, or one with this secret, sealed it. Raises AuditEntryError."""
    if not data.startswith(_HMAC_FORM):
        return _signed(data, trust)
    mac, content = data[len(_HMAC_FORM) :][:MAC_BYTES], data[len(_HMAC_FORM) + MAC_BYTES :]
    if secret is None:
        raise AuditEntryError("The entry is sealed with the desk's secret: name the secret to check it.")
    if not hmac.compare_digest(secret.mac(MAC_PURPOSE, content), mac):
        raise AuditEntryError("The entry is not sealed with this desk's secret, or was changed.")
    entry = _read(content)
    if (entry.sealing, entry.office) != ("hmac", UNSIGNED_OFFICE):
        raise AuditEntryError("The entry says that it is sealed in another way.")
    return entry


def digest_of(sealed: bytes | None) -> str:
    """How an entry is named by the next one."""
    return NOTHING_BEFORE if sealed is None else hashlib.sha256(sealed).hexdigest()


def needs_secret(sealed: bytes) -> bool:
    """Whether only the desk's secret tells if this entry is genuine."""
    return sealed.startswith(_HMAC_FORM)


def _signed(data: bytes, trust: TrustStore) -> AuditEntry:
    try:
        verified = verify_content(data, CONTENT_AUDIT_ENTRY, MAX_CONTENT_BYTES, trust, Purpose.DESK)
        office = common_name(verified.signer)
    except (SignatureRefusedError, CertificateRefusedError) as err:
        raise AuditEntryError(f"The entry is not one of a trusted desk: {err}") from err
    entry = _read(verified.content)
    told: tuple[str, str, datetime] = (entry.sealing, entry.office, entry.at)
    if told != ("cms", office, verified.signing_time):
        raise AuditEntryError("The entry names another sealing, office or time than its signature.")
    return entry


def _read(content: bytes) -> AuditEntry:
    try:
        entry = AuditEntry.model_validate(read_canonical_json(content, MAX_CONTENT_BYTES, "audit entry"))
    except CanonicalJsonError as err:
        raise AuditEntryError(str(err)) from err
    except ValidationError as err:
        raise AuditEntryError(f"The audit entry breaks its schema at {broken_fields(err)}.") from None
    if entry.to_bytes() != content:
        raise AuditEntryError("The audit entry does not say the same thing when it is written again.")
    return entry
