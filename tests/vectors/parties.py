"""Who takes part in the test vectors: fixed keys, certificates and lists, the same bytes at every run. For tests only: every key is public.

Private keys are SHA-384 of a name (P-384) or SHA-256 of it (recipients' seeds); ECDSA is deterministic (RFC 6979), so certificates and
signatures have one byte sequence each. One root issues nearly everything, so that packets stay small; `issuing` is an authority below it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crypto.recipient import RecipientKey
from crypto.trust import Purpose

MADE_AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BOOTH = "booth-0001"
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
ECDSA = ec.ECDSA(hashes.SHA384(), deterministic_signing=True)
_FLAGS = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True)
class Party:
    """A certificate, its key, and the authorities between it and the root."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, data: bytes) -> bytes:
        """As the product's signers do."""
        return self.key.sign(data, ECDSA)


def signing_key(name: str, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha384(f"passbooth test vector {name}".encode()).digest(), "big")
    if curve is not None:
        return ec.derive_private_key(number % 2**255 + 1, curve)
    return ec.derive_private_key(number % (_ORDER - 1) + 1, ec.SECP384R1())


def recipient_key(name: str) -> RecipientKey:
    return RecipientKey(hashlib.sha256(f"passbooth test vector {name}".encode()).digest())


def serial_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:15], "big") | 1


def usage(*on: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{flag: flag in on for flag in _FLAGS})


def make_party(
    name: str,
    issuer: Party | None,
    *,
    common: str = BOOTH,
    ca: bool = False,
    path_length: int | None = None,
    purposes: Sequence[x509.ObjectIdentifier] | None = None,
    flags: Sequence[str] = (),
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    end: datetime = datetime(2029, 1, 1, tzinfo=UTC),
    curve: ec.EllipticCurve | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    authority_key: bytes | None = None,
) -> Party:
    """A certificate like those that the project's authority issues, but for what the case changes."""
    key = signing_key(name, curve)
    by = issuer.key if issuer else key
    flags = flags or (("key_cert_sign", "crl_sign") if ca else ("digital_signature",))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]))
        .issuer_name(
            issuer.certificate.subject if issuer else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        )
        .public_key(key.public_key())
        .serial_number(serial_of(name))
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(usage(*flags), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
        if authority_key is not None:
            identifier = x509.AuthorityKeyIdentifier(authority_key, None, None)
        builder = builder.add_extension(identifier, critical=False)
    if purposes is None and not ca:
        purposes = [Purpose.BOOTH.oid]
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=not ca)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(by, algorithm or hashes.SHA384(), ecdsa_deterministic=True)
    chain = (
        ()
        if issuer is None or issuer.certificate.issuer == issuer.certificate.subject
        else (issuer.certificate, *issuer.chain)
    )
    return Party(certificate, () if issuer is None else chain, key)


_LONG = datetime(2060, 1, 1, tzinfo=UTC)
_EARLY = datetime(2025, 1, 1, tzinfo=UTC)
ROOT = make_party("root", None, common="Passbooth test root", ca=True, start=_EARLY, end=_LONG)
ROGUE = make_party("rogue root", None, common="Passbooth test root", ca=True, start=_EARLY, end=_LONG)
ISSUING = make_party("issuing", ROOT, common="Passbooth test issuing", ca=True, path_length=0, start=_EARLY, end=_LONG)
BOOTH_1 = make_party("booth", ROOT)
BOOTH_BELOW = make_party("booth below", ISSUING)
INTAKE = make_party("intake", ROOT, common="intake-1", purposes=[Purpose.INTAKE.oid])
DESK, SECOND, THIRD, STRANGER = (recipient_key(name) for name in ("desk", "second desk", "third desk", "stranger"))
RECIPIENTS = {"desk": DESK, "second": SECOND, "third": THIRD}

# Taken back: the reasons that count at any time, those that count from their date on, and one after the packet was signed.
STOLEN = make_party("booth stolen", ROOT)
REPLACED = make_party("booth replaced", ROOT)
REPLACED_LATER = make_party("booth replaced later", ROOT)
BROKEN_ISSUING = make_party("issuing broken", ROOT, common="Passbooth test issuing 2", ca=True, start=_EARLY, end=_LONG)
BELOW_BROKEN = make_party("booth below broken", BROKEN_ISSUING)
_REVOKED = (
    (STOLEN, x509.ReasonFlags.key_compromise, MADE_AT + timedelta(days=3)),
    (REPLACED, x509.ReasonFlags.superseded, MADE_AT - timedelta(days=1)),
    (REPLACED_LATER, x509.ReasonFlags.superseded, MADE_AT + timedelta(days=1)),
    (BROKEN_ISSUING, x509.ReasonFlags.ca_compromise, MADE_AT + timedelta(days=3)),
)
ANY_PURPOSE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


def make_list(issuer: Party, revoked: Sequence[tuple[Party, x509.ReasonFlags, datetime]], number: int) -> bytes:
    """A certificate revocation list (RFC 5280, 5) in DER."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(MADE_AT + timedelta(days=4))
        .next_update(datetime(2059, 1, 1, tzinfo=UTC))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for party, reason, at in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(party.certificate.serial_number)
            .revocation_date(at)
            .add_extension(x509.CRLReason(reason), critical=False)
            .build()
        )
    made = builder.sign(issuer.key, hashes.SHA384(), ecdsa_deterministic=True)
    return made.public_bytes(serialization.Encoding.DER)


ROOT_LIST = make_list(ROOT, _REVOKED, 7)
