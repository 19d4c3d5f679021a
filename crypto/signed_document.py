"""Signed documents: canonical JSON inside a CMS SignedData, believed in one order of operation wherever one is read.

Verifying, in this order: size; CMS form, signature, path to a root for the purpose at the signing time; JSON form and schema; the same bytes when written again; who signed, and when,
against what the document says of itself. What a document is about is its reader's matter, and so is its place among others.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, Self, TypeVar

from pydantic import ValidationError

from crypto.canonical import read_canonical_json
from crypto.cms import verify_content
from crypto.errors import CanonicalJsonError, CertificateRefusedError, SignatureRefusedError
from crypto.package import broken_fields
from crypto.trust import Purpose, TrustStore, common_name


class Document(Protocol):
    """What a document is to whom verifies it: a pydantic model that says who signed it, and when."""

    @property
    def signed_by(self) -> str:
        """The common name of whose word it is."""

    @property
    def signed_at(self) -> datetime:
        """When it was signed, in whole seconds."""

    @classmethod
    def model_validate(cls, obj: object) -> Self:
        """The document of what its JSON says. Raises pydantic's ValidationError."""

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""


_D = TypeVar("_D", bound=Document)


class DocumentRefusedError(Exception):
    """A document is not to be believed; every reader says it with an error of his own. `signature`: it is about who signed."""

    def __init__(self, text: str, *, signature: bool) -> None:
        super().__init__(text)
        self.signature = signature


def verify_document(
    data: bytes, content_type: str, purpose: Purpose, called: str, schema: type[_D], limit_bytes: int, trust: TrustStore
) -> _D:
    """The document in `data`, which errors call `called`, if a trusted holder of the purpose signed it, or DocumentRefusedError."""
    try:
        verified = verify_content(data, content_type, limit_bytes, trust, purpose)
        read = schema.model_validate(read_canonical_json(verified.content, limit_bytes, called))
        holder = common_name(verified.signer)
    except (SignatureRefusedError, CertificateRefusedError, CanonicalJsonError) as err:
        raise DocumentRefusedError(f"The {called} is not one of a trusted {purpose}: {err}", signature=True) from err
    except ValidationError as err:
        raise DocumentRefusedError(
            f"The {called} breaks its schema at {broken_fields(err)}.", signature=False
        ) from None
    if read.to_bytes() != verified.content:
        raise DocumentRefusedError(
            f"The {called} does not say the same thing when it is written again.", signature=False
        )
    if (read.signed_by, read.signed_at) != (holder, verified.signing_time):
        raise DocumentRefusedError(f"The {called} names another {purpose} or time than its signature.", signature=True)
    return read
