"""CMS SignedData as it must be, and with one thing changed: written again from docs/packet.md, for the conformance set.

With no argument changed `signed_data` makes the very bytes of the product (a test compares them). Whatever a case changes, the rest fits
together: digests, attributes and signature are made after the change, so that the change alone is the reason to refuse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from asn1crypto import x509 as asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.der import element, oid
from tests.vectors.parties import MADE_AT, Party

ARC = "2.25.52442001127300817780274782003825495950"
PACKAGE, RECEIPT, DATA = f"{ARC}.2.1", f"{ARC}.2.2", "1.2.840.113549.1.7.1"
SHA384, SHA256, SHA384_NULL = (
    element(0x30, oid("2.16.840.1.101.3.4.2.2")),
    element(0x30, oid("2.16.840.1.101.3.4.2.1")),
    element(0x30, oid("2.16.840.1.101.3.4.2.2"), b"\x05\x00"),
)
ECDSA_SHA384, ECDSA_SHA256 = (element(0x30, oid(f"1.2.840.10045.4.3.{n}")) for n in (3, 2))
CONTENT_TYPE, DIGEST, TIME, CERTIFICATE = (oid(f"1.2.840.113549.1.9.{arc}") for arc in ("3", "4", "5", "16.2.47"))
SIGNED_AT = MADE_AT + timedelta(seconds=2)
_DER = serialization.Encoding.DER
Edit = Callable[[list[bytes]], list[bytes]]


def utc_time(at: datetime) -> bytes:
    return element(0x17, f"{at:%y%m%d%H%M%SZ}".encode())


@lru_cache
def issuer_and_serial(der: bytes) -> bytes:
    body = asn1.Certificate.load(der)["tbs_certificate"]
    return body["issuer"].dump() + body["serial_number"].dump()


@lru_cache
def certificate_id(der: bytes, *, algorithm: bytes = SHA384, digest: Callable[[bytes], bytes] | None = None) -> bytes:
    """The value of signing-certificate-v2 (RFC 5035): digest, issuer and serial number."""
    body = asn1.Certificate.load(der)["tbs_certificate"]
    name = element(0x30, element(0xA4, body["issuer"].dump())) + body["serial_number"].dump()
    value = (digest or (lambda data: hashlib.sha384(data).digest()))(der)
    return element(0x30, element(0x30, element(0x30, algorithm, element(0x04, value), element(0x30, name))))


def attribute(kind: bytes, *values: bytes) -> bytes:
    return element(0x30, kind, element(0x31, *values))


def signed_data(
    content: bytes,
    signer: Party,
    *,
    at: datetime = SIGNED_AT,
    kind: str = PACKAGE,
    attribute_kind: str | None = None,
    digest: bytes = SHA384,
    algorithm: bytes = ECDSA_SHA384,
    hashed: bytes | None = None,
    time: bytes | None = None,
    certificate: bytes | None = None,
    certificates: Sequence[bytes] | None = None,
    edit: Edit = lambda attributes: attributes,
    order: Callable[[list[bytes]], list[bytes]] = sorted,
    by: Party | None = None,
    sid: bytes | None = None,
    unsigned: bytes = b"",
    lists: bytes = b"",
    version: int = 3,
    signer_version: int = 1,
    signature: Callable[[bytes], bytes] = lambda made: made,
    infos: Callable[[bytes], Sequence[bytes]] = lambda own: [own],
    wrapped: Callable[[bytes], bytes] = lambda octets: element(0xA0, octets),
    octets: Callable[[bytes], bytes] = lambda content: element(0x04, content),
) -> bytes:
    """ContentInfo with SignedData. Each argument is one thing to change."""
    small = digest == SHA256
    made = {
        CONTENT_TYPE: oid(attribute_kind or kind),
        DIGEST: element(0x04, hashed or (hashlib.sha256 if small else hashlib.sha384)(content).digest()),
        TIME: time or utc_time(at),
        CERTIFICATE: certificate or certificate_id(signer.der),
    }
    attributes = b"".join(order(edit([attribute(name, value) for name, value in made.items()])))
    key = (by or signer).key
    hashing = hashes.SHA256() if algorithm == ECDSA_SHA256 else hashes.SHA384()
    sealed = key.sign(element(0x31, attributes), ec.ECDSA(hashing, deterministic_signing=True))
    info = element(
        0x30,
        element(0x02, bytes([signer_version])),
        element(0x30, issuer_and_serial(signer.der)) if sid is None else sid,
        digest,
        element(0xA0, attributes),
        algorithm,
        element(0x04, signature(sealed)),
        unsigned,
    )
    chain = [signer.der, *(one.public_bytes(_DER) for one in signer.chain)] if certificates is None else certificates
    body = element(
        0x30,
        element(0x02, bytes([version])),
        element(0x31, digest),
        element(0x30, oid(kind), wrapped(octets(content))),
        element(0xA0, *sorted(chain)) if chain else b"",
        lists,
        element(0x31, *sorted(infos(info))),
    )
    return element(0x30, oid("1.2.840.113549.1.7.2"), element(0xA0, body))
