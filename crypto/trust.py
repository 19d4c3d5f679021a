"""Trust roots and certificate paths: who may sign what, at which time.

A certificate is accepted for one purpose only, told by its extended key usage: a booth's key signs packages and requests,
an intake's key signs receipts; neither can do the other's work. Purposes and content types live under the project's own
OID arc 2.25.<UUID> (ITU-T X.667, needs no registration): `.1.n` purposes, `.2.n` CMS content types.

The path is checked in this order (RFC 5280, section 6.1, narrowed to what we issue): names and signatures from the leaf up to a
root, before anything else in a stranger's certificate is read; then the leaf's purpose and usage; for every certificate validity at the
time asked for, no unknown critical extension, algorithm allow-list; for every authority CA flag, right to sign certificates, path
length, purpose, key identifiers.
`x509.verification` is not used: it judges TLS names and serverAuth or clientAuth only (and knows no other purposes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from crypto.certificate import PARSE_ERRORS
from crypto.errors import CertificateRefusedError, KeyUnavailableError

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

ARC = "2.25.52442001127300817780274782003825495950"  # UUID 2773f647-b1b3-4220-8390-a9c256004f8e
MAX_PATH = 4  # leaf, two intermediates, root
MAX_CERTIFICATES = 4  # what a signature may carry; bounds the search for a path
MAX_TRUST_FILE_BYTES = 262_144
CURVES = ("secp256r1", "secp384r1", "secp521r1")
HASHES = ("sha256", "sha384", "sha512")
# Extensions whose meaning is checked below, or that cannot widen what a certificate may do.
UNDERSTOOD = frozenset(
    {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE}
    | {ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER}
)


class Purpose(StrEnum):
    """What a signing certificate is for; the value names it in calls, `oid` in certificates."""

    BOOTH = "booth"
    INTAKE = "intake"

    @property
    def oid(self) -> x509.ObjectIdentifier:
        """The extended key usage that stands for this purpose."""
        return x509.ObjectIdentifier(f"{ARC}.1.{1 if self is Purpose.BOOTH else 2}")


CONTENT_PACKAGE = f"{ARC}.2.1"
CONTENT_TREE_HEAD = f"{ARC}.2.3"  # 2.2 was a receipt with a signature of its own


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The roots that this side believes; nothing else is believed, whatever a message carries."""

    roots: tuple[x509.Certificate, ...]

    def path(
        self, leaf: x509.Certificate, others: Sequence[x509.Certificate], purpose: Purpose, at: datetime
    ) -> tuple[x509.Certificate, ...]:
        """The certificates from `leaf` to a root, or CertificateRefusedError."""
        if len(others) >= MAX_CERTIFICATES:
            raise CertificateRefusedError(f"More than {MAX_CERTIFICATES} certificates came along.")
        reason: CertificateRefusedError | None = None
        for path in self._signed_paths((leaf,), others):
            try:
                _check_path(path, purpose, at)
            except CertificateRefusedError as err:
                reason = reason or err
            else:
                return path
        raise reason or CertificateRefusedError(f"{name_of(leaf)} was not issued by a trusted authority.")

    def _signed_paths(
        self, path: tuple[x509.Certificate, ...], others: Sequence[x509.Certificate]
    ) -> Iterator[tuple[x509.Certificate, ...]]:
        """Every way to a root on which each name and signature is right."""
        current = path[-1]
        if current in self.roots:
            yield path
            return
        for issuer in (*self.roots, *others):
            if len(path) < MAX_PATH and issuer not in path and _is_signed_by(current, issuer):
                yield from self._signed_paths((*path, issuer), others)


def load_trust(path: Path) -> TrustStore:
    """The trust roots in a PEM file; each must be a self-signed authority."""
    certificates = load_certificates(path)
    for root in certificates:
        try:
            root.verify_directly_issued_by(root)
            usable = _constraints(root).ca
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as err:
            raise KeyUnavailableError(f"{path} holds a certificate that is no root: {name_of(root)}.") from err
        if not usable:
            raise KeyUnavailableError(f"{path} holds a certificate that is no authority: {name_of(root)}.")
    return TrustStore(tuple(certificates))


def load_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, in its order."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TRUST_FILE_BYTES + 1)
        if len(data) > MAX_TRUST_FILE_BYTES:
            raise KeyUnavailableError(f"{path} is too large for a file of certificates.")
        return x509.load_pem_x509_certificates(data)
    except OSError as err:
        raise KeyUnavailableError(f"The certificates in {path} cannot be read: {err.strerror}.") from err
    except ValueError as err:
        raise KeyUnavailableError(f"{path} holds no certificates in PEM form.") from err


def common_name(certificate: x509.Certificate) -> str:
    """The one common name of the subject: a booth's or an intake's identity."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise CertificateRefusedError("A certificate does not have exactly one common name.")
    return names[0].value


def name_of(certificate: x509.Certificate) -> str:
    """A certificate's subject for messages."""
    return ascii(certificate.subject.rfc4514_string()[:200])


def check_leaf(leaf: x509.Certificate, purpose: Purpose) -> None:
    """That a certificate's holder may sign for this purpose and may do nothing else."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as err:
        raise CertificateRefusedError(f"{name_of(leaf)} does not say what it may be used for.") from err
    if purposes != [purpose.oid]:
        raise CertificateRefusedError(f"{name_of(leaf)} is not for the purpose {purpose} alone.")
    if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign or _is_authority(leaf):
        raise CertificateRefusedError(f"{name_of(leaf)} is not a certificate for signing data only.")
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise CertificateRefusedError(f"{name_of(leaf)} has no P-384 key.")


def check_validity(certificate: x509.Certificate, at: datetime) -> None:
    """That a certificate is valid at a time."""
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        span = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
        raise CertificateRefusedError(f"{name_of(certificate)} is valid from {span} UTC, not at {at:%Y-%m-%d %H:%M}.")


def _check_path(path: Sequence[x509.Certificate], purpose: Purpose, at: datetime) -> None:
    try:
        check_leaf(path[0], purpose)
        for certificate in path:
            _check_certificate(certificate, at)
        for below, (issued, issuer) in enumerate(pairwise(path)):
            _check_issuer(issuer, issued, below=below, purpose=purpose)
    except PARSE_ERRORS as err:
        raise CertificateRefusedError("A certificate on the way to the root cannot be read.") from err


def _is_signed_by(issued: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(issuer)
    except (*PARSE_ERRORS, InvalidSignature):
        return False
    return True


def _check_certificate(certificate: x509.Certificate, at: datetime) -> None:
    """What holds for every certificate of a path, leaf and root included."""
    check_validity(certificate, at)
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in UNDERSTOOD:
            raise CertificateRefusedError(f"{name_of(certificate)} has an unknown critical extension.")
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise CertificateRefusedError(f"{name_of(certificate)} has a key of a kind that is not allowed.")
    algorithm = certificate.signature_hash_algorithm
    ecdsa = isinstance(certificate.signature_algorithm_parameters, ec.ECDSA)
    if not ecdsa or not isinstance(algorithm, hashes.HashAlgorithm) or algorithm.name not in HASHES:
        raise CertificateRefusedError(f"{name_of(certificate)} is signed by an algorithm that is not allowed.")


def _check_issuer(issuer: x509.Certificate, issued: x509.Certificate, *, below: int, purpose: Purpose) -> None:
    """That `issuer` may have issued `issued`, whose signature is verified; `below` counts the authorities in between."""
    try:
        constraints = _constraints(issuer)
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as err:
        raise CertificateRefusedError(f"{name_of(issuer)} is no authority.") from err
    if not constraints.ca or not usage.key_cert_sign:
        raise CertificateRefusedError(f"{name_of(issuer)} may not issue certificates.")
    if constraints.path_length is not None and below > constraints.path_length:
        raise CertificateRefusedError(f"{name_of(issuer)} may not have so many authorities below it.")
    purposes = _extension(issuer, x509.ExtendedKeyUsage)
    if purposes is not None and purpose.oid not in purposes:
        raise CertificateRefusedError(f"{name_of(issuer)} may not issue certificates for the purpose {purpose}.")
    theirs, ours = _extension(issued, x509.AuthorityKeyIdentifier), _extension(issuer, x509.SubjectKeyIdentifier)
    if theirs is not None and ours is not None and theirs.key_identifier not in (None, ours.digest):
        raise CertificateRefusedError(f"{name_of(issued)} names another key of {name_of(issuer)}.")


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
