"""Material for tests of revocation: lists that the product makes, and lists that it would never make."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from crypto.issuance import Issuer, Revoked, make_crl
from crypto.keys import TrustStore
from crypto.revocation import read_revocation_list
from crypto.trust import load_certificates
from tests.packets import NOW, Authority

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
AN_HOUR_AGO = NOW - timedelta(hours=1)


def list_of(authority: Authority, *revoked: Revoked, number: int = 1, at: datetime = AN_HOUR_AGO) -> bytes:
    return make_crl(Issuer(authority.certificate, authority.key), number, revoked, at, at + WEEK)


def write_list(keys: Path, path: Path, number: int, *revoked: Revoked) -> None:
    """The list of a folder of development keys, as from now on, in one step."""
    key = serialization.load_pem_private_key((keys / "ca.key").read_bytes(), None)
    now = datetime.now(UTC)
    root = Issuer(load_certificates(keys / "ca.pem")[0], key)
    path.with_name("partial").write_bytes(make_crl(root, number, revoked, now, now + WEEK))
    path.with_name("partial").replace(path)


def trusting(root: Authority, *lists: bytes, authorities: tuple[Authority, ...] = ()) -> TrustStore:
    believed = [root.certificate, *(one.certificate for one in authorities)]
    return TrustStore((root.certificate,)).with_lists(read_revocation_list(der, believed) for der in lists)


def entry(serial: int, at: datetime = NOW, *extensions: tuple[x509.ExtensionType, bool]) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.build()


def free_list(
    authority: Authority,
    *entries: x509.RevokedCertificate,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ((x509.CRLNumber(1), False),),
    algorithm: hashes.HashAlgorithm | None = None,
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | None = None,
    issuer: x509.Name | None = None,
) -> bytes:
    """A list that the product would not make."""
    builder = x509.CertificateRevocationListBuilder(
        issuer or authority.certificate.subject,
        (NOW - DAY).replace(tzinfo=None),
        (NOW + DAY).replace(tzinfo=None),
        [x509.Extension(one.oid, critical, one) for one, critical in extensions],
        list(entries),
    )
    signer = key or authority.key
    chosen = None if isinstance(signer, ed25519.Ed25519PrivateKey) else algorithm or hashes.SHA384()
    return builder.sign(signer, chosen).public_bytes(DER)


def pem_list(der: bytes) -> bytes:
    return x509.load_der_x509_crl(der).public_bytes(PEM)
