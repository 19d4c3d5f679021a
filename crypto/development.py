"""A development PKI: one authority, one booth, one intake, one desk, made where the demo first starts. Never for production.

The authority's key lies beside the others, so whoever has the folder can make any certificate; real booths are enrolled.

Rules: the folder is 0700, private keys are 0600, public files 0644; a lock file lets only one process write; every file
appears whole or not at all; a key is written before its certificate, so a pair without a certificate is made again. What
exists is kept: a second start changes nothing. A certificate in its last month is issued again for a new key; what was
signed before stays valid, because packets are judged at their signing time. The authority is never replaced.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crypto.errors import KeyUnavailableError
from crypto.recipient import generate_recipient_key, load_recipient_key
from crypto.trust import Purpose, common_name, load_certificates

AUTHORITY_NAME = "Passbooth development authority, not for production"
AUTHORITY_DAYS = 3_650
LEAF_DAYS = 397  # the longest life that browsers accept for a TLS certificate
RENEW_DAYS = 30
CLOCK_SLACK = timedelta(hours=1)  # a booth whose clock is behind must still accept a new certificate
# File name, common name, purpose. TLS pairs carry loopback names and serverAuth instead of a purpose of ours.
_LEAVES = (
    ("booth", None, Purpose.BOOTH),
    ("intake", "intake-development", Purpose.INTAKE),
    ("intake-tls", "intake on loopback", None),
    ("desk-tls", "desk on loopback", None),
)


def make_development_pki(folder: Path, booth: str = "booth-0001", *, at: datetime | None = None) -> Path:
    """Fills `folder` with what is missing and returns it; safe when two processes start at once.

    Files: ca.pem ca.key booth.pem booth.key intake.pem intake.key intake-tls.pem intake-tls.key desk-tls.pem desk-tls.key
    desk.hpke (private) desk.hpke.pub.
    """
    now = (at or datetime.now(UTC)).replace(microsecond=0)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(folder)
        with _only_writer(folder):
            _fill(folder, booth, now)
    except OSError as err:
        raise KeyUnavailableError(f"The development keys in {folder} cannot be made: {err.strerror}.") from err
    return folder


def _close_to_others(folder: Path) -> None:
    if not stat.S_IMODE(folder.stat().st_mode) & 0o077:
        return
    if any(folder.iterdir()):
        raise KeyUnavailableError(f"{folder} holds files and is open to others: make it 0700, or use another folder.")
    folder.chmod(0o700)


def _fill(folder: Path, booth: str, now: datetime) -> None:
    if not (folder / "ca.pem").exists():
        if any((folder / f"{name}.pem").exists() for name, _, _ in _LEAVES):
            raise KeyUnavailableError(f"{folder} holds certificates but not their authority: use another folder.")
        key = ec.generate_private_key(ec.SECP384R1())
        _write(folder / "ca.key", _private_pem(key), 0o600)
        _write(folder / "ca.pem", _authority(key, now).public_bytes(serialization.Encoding.PEM), 0o644)
    for name, identity, purpose in _LEAVES:
        path = folder / f"{name}.pem"
        if path.exists() and (folder / f"{name}.key").exists():
            current = load_certificates(path)[0]
            if identity is None and common_name(current) != booth:
                raise KeyUnavailableError(f"{folder} belongs to {common_name(current)}, not to {booth}.")
            if current.not_valid_after_utc - now > timedelta(days=RENEW_DAYS):
                continue
        path.unlink(missing_ok=True)  # first, so that a new key never stands beside an old certificate
        key = ec.generate_private_key(ec.SECP384R1())
        _write(folder / f"{name}.key", _private_pem(key), 0o600)
        _write(path, _leaf(folder, key.public_key(), identity or booth, purpose, now), 0o644)
    if not (folder / "desk.hpke").exists():
        (folder / "desk.hpke.pub").unlink(missing_ok=True)
        _write(folder / "desk.hpke", generate_recipient_key().to_pem(), 0o600)
    if not (folder / "desk.hpke.pub").exists():
        _write(folder / "desk.hpke.pub", load_recipient_key(folder / "desk.hpke").public.to_pem(), 0o644)


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _name(AUTHORITY_NAME)
    return (
        _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )


def _leaf(
    folder: Path, public: ec.EllipticCurvePublicKey, identity: str, purpose: Purpose | None, now: datetime
) -> bytes:
    authority = load_certificates(folder / "ca.pem")[0]
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyUnavailableError(f"{folder / 'ca.key'} is not the key that was made here: use another folder.")
    purposes = [purpose.oid if purpose else ExtendedKeyUsageOID.SERVER_AUTH]
    builder = (
        _builder(authority.subject, _name(identity), public, now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=purpose is not None)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
    )
    if purpose is None:
        addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), *addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM)


def _builder(
    issuer: x509.Name, subject: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Passbooth"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and with its mode from the first moment."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.fchmod(descriptor, mode)  # whatever the umask
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(path)


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which also unlocks
