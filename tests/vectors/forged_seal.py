"""Sealed packets as they must be, and with one thing changed: header and body written again from docs/packet.md, for the conformance set."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.recipient import RecipientKey
from tests.vectors.forged_package import PACKET_ID, canonical
from tests.vectors.parties import BOOTH, DESK, SECOND

MAGIC = bytes.fromhex("8950424f4f54480d0a1a0a")
SUITE = "hpke-mlkem768-x25519-hkdf-sha256-aes-256-gcm"
SHARED_SUITE = f"{SUITE}+aes-256-gcm"


def framed(header: bytes, length: int | None = None) -> bytes:
    return MAGIC + struct.pack(">I", len(header) if length is None else length) + header


def header_value(recipient: RecipientKey = DESK, **changes: Any) -> dict[str, Any]:
    """A header of version 1; a change that is None leaves its key out."""
    value = {
        "version": 1,
        "suite": SUITE,
        "packet_id": PACKET_ID,
        "booth": BOOTH,
        "created_at": "2026-11-22T12:00:00Z",
        "recipient_key_id": recipient.key_id,
    } | changes
    return {key: one for key, one in value.items() if one is not None}


def single(cms: bytes, *, recipient: RecipientKey = DESK, before: bytes | None = None, **changes: Any) -> bytes:
    """A packet for one recipient; `before` is everything in front of the body."""
    info = framed(canonical(header_value(recipient, **changes))) if before is None else before
    return info + recipient.public.encrypt(cms, info)


def content_key(name: str = "content key") -> bytes:
    return hashlib.sha256(f"passbooth test vector {name}".encode()).digest()


def commitment(key: bytes) -> str:
    return hashlib.sha256(b"passbooth content key" + key).hexdigest()


def shared_value(key: bytes, **changes: Any) -> dict[str, Any]:
    value = header_value() | {"version": 2, "suite": SHARED_SUITE, "commitment": commitment(key)}
    del value["recipient_key_id"]
    return {name: one for name, one in (value | changes).items() if one is not None}


def wraps_of(value: dict[str, Any], recipients: Sequence[RecipientKey], keys: Sequence[bytes]) -> list[dict[str, str]]:
    """One wrap for each recipient, in this order, bound to the header without wraps."""
    prefix = framed(canonical(value | {"recipients": [{"key_id": one.key_id} for one in recipients]}))
    sealed = [one.public.encrypt(key, prefix) for one, key in zip(recipients, keys, strict=True)]
    texts = [base64.urlsafe_b64encode(wrap).rstrip(b"=").decode() for wrap in sealed]
    return [{"key_id": one.key_id, "wrap": text} for one, text in zip(recipients, texts, strict=True)]


def body_of(cms: bytes, key: bytes, before: bytes) -> bytes:
    return AESGCM(key).encrypt(bytes(12), cms, before)


def shared(
    cms: bytes,
    recipients: Sequence[RecipientKey] = (DESK, SECOND),
    *,
    keys: Sequence[bytes] | None = None,
    sort: bool = True,
    edit: Any = lambda header: header,
    **changes: Any,
) -> bytes:
    """A packet for several recipients. `edit` changes the complete header before the body is encrypted under it."""
    key = content_key()
    people = sorted(recipients, key=lambda one: one.key_id) if sort else list(recipients)
    value = shared_value(key, **changes)
    complete = value | {"recipients": wraps_of(value, people, keys or [key] * len(people))}
    edited = edit(complete)
    before = framed(edited if isinstance(edited, bytes) else canonical(edited))
    return before + body_of(cms, key, before)
