"""Material for tests of packets: authorities and certificates of every kind, right and wrong, and one good packet."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crypto.keys import FileSigner, Purpose, RecipientKey, TrustStore, generate_recipient_key
from crypto.package import ManifestFields, Package, build_package
from crypto.seal import sign_and_seal

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BOOTH = "booth-0001"
PARTS = {
    "portrait.jpg": bytes(range(256)) * 40,
    "chip.jp2": b"\x00\x00\x00\x0cjP  " + bytes(500),
    "report.json": b'{"findings":[]}',
    "visit.json": b'{"application":"A-1"}',
    "attempts.json": b"[]",
}


@dataclass(frozen=True)
class Authority:
    """A certificate with its key that issues others."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def usage(**on: bool) -> x509.KeyUsage:
    flags = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{flag: on.get(flag, False) for flag in flags})


def make_authority(
    common: str = "root",
    issuer: Authority | None = None,
    *,
    path_length: int | None = None,
    ca: bool = True,
    purposes: list[x509.ObjectIdentifier] | None = None,
    key_usage: x509.KeyUsage | None = None,
    start: datetime = NOW - timedelta(days=100),
    end: datetime = NOW + timedelta(days=1000),
    curve: ec.EllipticCurve | None = None,
) -> Authority:
    key = ec.generate_private_key(curve or ec.SECP384R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(issuer.certificate.subject if issuer else name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(key_usage or usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return Authority(builder.sign(issuer.key if issuer else key, hashes.SHA384()), key)


def make_signer(
    issuer: Authority,
    common: str = BOOTH,
    *,
    purposes: list[x509.ObjectIdentifier] | None = None,
    key_usage: x509.KeyUsage | None = None,
    ca: bool = False,
    start: datetime = NOW - timedelta(days=10),
    end: datetime = NOW + timedelta(days=300),
    curve: ec.EllipticCurve | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
    extra: list[tuple[x509.ExtensionType, bool]] | None = None,
    signed_by: ec.EllipticCurvePrivateKey | None = None,
    serial: int | None = None,
    chain: tuple[x509.Certificate, ...] = (),
) -> FileSigner:
    key = ec.generate_private_key(curve or ec.SECP384R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(key_usage or usage(digital_signature=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    if purposes is None:
        purposes = [Purpose.BOOTH.oid]
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
    for extension, critical in extra or []:
        builder = builder.add_extension(extension, critical)
    return FileSigner(builder.sign(signed_by or issuer.key, algorithm or hashes.SHA384()), chain, key)


@dataclass(frozen=True)
class World:
    """One authority, one booth, one intake, one desk, and a packet between them."""

    authority: Authority
    booth: FileSigner
    intake: FileSigner
    desk: RecipientKey
    trust: TrustStore
    package: Package
    packet: bytes


def fields_for(*recipients: str, **changes: object) -> ManifestFields:
    fields: dict[str, object] = {
        "packet_id": uuid.uuid4().hex,
        "booth": BOOTH,
        "centre": "centre-07",
        "recipients": tuple(sorted(recipients)),
        "created_at": NOW,
    }
    return ManifestFields(**(fields | changes))  # type: ignore[arg-type]


def make_world() -> World:
    authority = make_authority()
    booth = make_signer(authority)
    intake = make_signer(authority, "intake-1", purposes=[Purpose.INTAKE.oid])
    desk = generate_recipient_key()
    package = build_package(fields_for(desk.key_id), PARTS)
    packet = sign_and_seal(package, booth, [desk.public], NOW)
    return World(authority, booth, intake, desk, TrustStore((authority.certificate,)), package, packet)


def make_cached_world(found: list[World] = []) -> World:  # noqa: B006 - one world for all examples of hypothesis
    if not found:
        found.append(make_world())
    return found[0]


def flipped(data: bytes, at: int, mask: int = 1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)
