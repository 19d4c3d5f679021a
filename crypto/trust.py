"""Trust roots and certificate paths: who may sign what, at which time.

A certificate is accepted for one purpose only, told by its extended key usage: a booth's key signs packages and requests,
an intake's key signs receipts, a desk's decisions, a producer's requests and answers; none can do another's work. Purposes and content types live under the project's own
OID arc 2.25.<UUID> (ITU-T X.667, needs no registration): `.1.n` purposes, `.2.n` CMS content types. A centre's key signs application slips; it is on
P-256, whose signatures a barcode has room for; every other one is on P-384.

The path is checked in this order (RFC 5280, section 6.1, narrowed to what we issue): names and signatures from the leaf up to a
root, before anything else in a stranger's certificate is read; then the leaf's purpose and usage; for every certificate validity at the
time asked for, no unknown critical extension, algorithm allow-list; for every authority CA flag, right to sign certificates, path
length, purpose, key identifiers; at last, for every certificate below the root, the newest revocation list of its issuer.
An authority without a list has taken nothing back; a list past its end still refuses what it names (docs/decisions/0009).
`x509.verification` is not used: it judges TLS names and serverAuth or clientAuth only (and knows no other purposes).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from crypto.certificate import (
    CURVES,
    HASHES,
    PARSE_ERRORS,
    extension_of,
    name_of,
    pem_blocks,
    read_certificate,
)
from crypto.errors import (
    CertificateRefusedError,
    CertificateRevokedError,
    KeyUnavailableError,
    RevocationListError,
)
from crypto.key_folder import read_file
from crypto.revocation import (
    MAX_LIST_BYTES,
    RevocationList,
    authority_of,
    newest,
    oldest_end,
    read_revocation_list,
)

ARC = "2.25.52442001127300817780274782003825495950"  # UUID 2773f647-b1b3-4220-8390-a9c256004f8e
MAX_PATH = 4  # leaf, two intermediates, root
MAX_CERTIFICATES = 4  # what a signature may carry; bounds the search for a path
MAX_TRUST_FILE_BYTES = 262_144
MAX_LIST_FILE_BYTES = 2 * MAX_LIST_BYTES  # lists in PEM take a third more, and several may be in one file
MAX_CENTRES_BYTES = 1024 * 1024  # of the centres' certificates together, in PEM: about 1200
MAX_LISTS = 64  # in one file; each costs a signature to verify, and a booth takes such a file from the network
_REMEMBERED_SIGNATURES = 2048  # the booths of one intake; certificates have 1 kB, the largest ones would be 32 MiB
# Extensions whose meaning is checked below, or that cannot widen what a certificate may do.
UNDERSTOOD = frozenset(
    {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE}
    | {ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER}
)


_NUMBERS = {
    "booth": 1,
    "intake": 2,
    "centre": 3,
    "staff": 4,
    "desk": 5,
    "producer": 6,
}  # of the purposes below, under the arc


class Purpose(StrEnum):
    """What a signing certificate is for; the value names it in calls, `oid` in certificates."""

    BOOTH = "booth"
    INTAKE = "intake"
    CENTRE = "centre"
    STAFF = "staff"
    DESK = "desk"
    PRODUCER = "producer"

    @property
    def oid(self) -> x509.ObjectIdentifier:
        """The extended key usage that stands for this purpose."""
        return x509.ObjectIdentifier(f"{ARC}.1.{_NUMBERS[self.value]}")

    @property
    def curve(self) -> type[ec.EllipticCurve]:
        """The curve of its keys."""
        return ec.SECP256R1 if self is Purpose.CENTRE else ec.SECP384R1


CONTENT_PACKAGE = f"{ARC}.2.1"
CONTENT_TREE_HEAD = f"{ARC}.2.3"  # 2.2 was a receipt with a signature of its own
CONTENT_STAFF_LIST = f"{ARC}.2.4"
CONTENT_CALIBRATION = f"{ARC}.2.5"  # of a booth, by its own key (booth/calibrations.py)
# What becomes of a packet in the end (crypto/retention_records.py).
CONTENT_DELETION, CONTENT_ERASURE = f"{ARC}.2.12", f"{ARC}.2.13"
CONTENT_HOLD, CONTENT_HOLD_HEAD = f"{ARC}.2.14", f"{ARC}.2.15"
CONTENT_DECISION = f"{ARC}.2.6"
CONTENT_DECISION_LINK = f"{ARC}.2.7"
CONTENT_PROPOSAL = f"{ARC}.2.17"
CONTENT_HANDOVER = f"{ARC}.2.8"
CONTENT_ORDER = f"{ARC}.2.9"
CONTENT_ANSWER = f"{ARC}.2.10"
# What a booth is asked from afar, its answer, its support bundle (crypto/booth_order.py).
CONTENT_BOOTH_ORDER, CONTENT_BOOTH_ANSWER, CONTENT_BOOTH_BUNDLE = f"{ARC}.2.20", f"{ARC}.2.21", f"{ARC}.2.22"
CONTENT_AUDIT_ENTRY = f"{ARC}.2.16"  # crypto/audit_entry.py


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The roots that this side believes, and what they took back; nothing else is believed, whatever a message carries."""

    roots: tuple[x509.Certificate, ...]
    crls: tuple[RevocationList, ...] = ()

    def path(
        self, leaf: x509.Certificate, others: Sequence[x509.Certificate], purpose: Purpose, at: datetime
    ) -> tuple[x509.Certificate, ...]:
        """The certificates from `leaf` to a root, or CertificateRefusedError; CertificateRevokedError when only that is wrong."""
        if len(others) >= MAX_CERTIFICATES:
            raise CertificateRefusedError(f"More than {MAX_CERTIFICATES} certificates came along.")
        reason: CertificateRefusedError | None = None
        for path in self._signed_paths((leaf,), others):
            try:
                _check_path(path, purpose, at)
                self._check_revocation(path, at)
            except CertificateRefusedError as err:
                reason = err if reason is None or isinstance(err, CertificateRevokedError) else reason
            else:
                return path
        raise reason or CertificateRefusedError(f"{name_of(leaf)} was not issued by a trusted authority.")

    def with_lists(self, lists: Iterable[RevocationList]) -> TrustStore:
        """The same roots with these lists too, of each authority the newest: an older list changes nothing."""
        return TrustStore(self.roots, newest((*self.crls, *lists)))

    def stale_since(self, now: datetime) -> datetime | None:
        """Since when a newer revocation list is due; None while all are fresh. A reason to warn, not to stop."""
        return oldest_end(self.crls, now)

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

    def _check_revocation(self, path: Sequence[x509.Certificate], at: datetime) -> None:
        if not self.crls:
            return
        for issued, issuer in pairwise(path):
            authority = authority_of(issuer)
            for crl in self.crls:
                found = crl.entries.get(issued.serial_number) if crl.authority == authority else None
                if found is not None and found.counts_at(at):
                    raise CertificateRevokedError(
                        f"{name_of(issued)} was revoked on {found.since:%Y-%m-%d %H:%M} UTC ({found.reason.value})."
                    )

    def believed(self, certificates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
        """The roots, and of these certificates the authorities that lead to a root: those whose lists count."""
        return (*self.roots, *(one for one in certificates if self._is_authority(one, certificates)))

    def _is_authority(self, certificate: x509.Certificate, others: Sequence[x509.Certificate]) -> bool:
        for path in self._signed_paths((certificate,), others):
            try:
                for below, (issued, issuer) in enumerate(pairwise(path)):
                    _check_issuer(issuer, issued, below=below + 1)
            except CertificateRefusedError:
                continue
            return _is_authority(certificate)
        return False


def load_trust(path: Path, crl: Path | None = None) -> TrustStore:
    """The trust roots in a PEM file, each a self-signed authority, and the revocation lists in another file.

    Raises KeyUnavailableError when a file is missing or is not what it should be, RevocationListError for a list that is not to be believed.
    """
    certificates = load_certificates(path)
    for root in certificates:
        try:
            root.verify_directly_issued_by(root)
            usable = _constraints(root).ca
        except (*PARSE_ERRORS, InvalidSignature, x509.ExtensionNotFound) as err:
            raise KeyUnavailableError(f"{path} holds a certificate that is no root: {name_of(root)}.") from err
        if not usable:
            raise KeyUnavailableError(f"{path} holds a certificate that is no authority: {name_of(root)}.")
    trust = TrustStore(tuple(certificates))
    return trust if crl is None else trust.with_lists(load_lists(crl, trust))


def load_lists(path: Path, trust: TrustStore) -> list[RevocationList]:
    """The revocation lists in a file: one in DER, or in PEM one or more with the intermediate authorities that signed them."""
    try:
        data = read_file(path, MAX_LIST_FILE_BYTES)
    except OSError as err:
        raise KeyUnavailableError(f"The revocation lists in {path} cannot be read: {err.strerror}.") from err
    if len(data) > MAX_LIST_FILE_BYTES:
        raise RevocationListError(f"{path} is too large for a file of revocation lists.")
    return read_lists(data, trust)


def read_lists(data: bytes, trust: TrustStore) -> list[RevocationList]:
    """Revocation lists as `load_lists` reads them, each signed by an authority that leads to a root, or RevocationListError."""
    if not data.lstrip().startswith(b"-----"):
        return [read_revocation_list(data, trust.roots)]
    lists, certificates = list[bytes](), list[x509.Certificate]()
    try:
        for label, der in pem_blocks(data):
            if label == b"X509 CRL" and len(lists) < MAX_LISTS:
                lists.append(der)
            elif label == b"CERTIFICATE" and len(certificates) < MAX_CERTIFICATES:
                certificates.append(read_certificate(der))
            else:
                raise RevocationListError("A file of revocation lists holds something else too.")
        authorities = trust.believed(certificates)
    except (*PARSE_ERRORS, CertificateRefusedError) as err:
        raise RevocationListError("A file of revocation lists cannot be read, or holds something else too.") from err
    if not lists:
        raise RevocationListError("A file of revocation lists holds none.")
    return [read_revocation_list(der, authorities) for der in lists]


def load_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, in its order."""
    try:
        data = read_file(path, MAX_TRUST_FILE_BYTES)
        if len(data) > MAX_TRUST_FILE_BYTES:
            raise KeyUnavailableError(f"{path} is too large for a file of certificates.")
        return x509.load_pem_x509_certificates(data)
    except OSError as err:
        raise KeyUnavailableError(f"The certificates in {path} cannot be read: {err.strerror}.") from err
    except PARSE_ERRORS as err:
        raise KeyUnavailableError(f"{path} holds no certificates in PEM form.") from err


def load_chain(path: Path) -> list[x509.Certificate]:
    """A signer's certificate and the authorities above it in their order, without a root: what belongs into a signature.

    Raises KeyUnavailableError, also for certificates beside the path: nobody would accept a signature that carries them.
    """
    leaf, *others = load_certificates(path)
    chain, above = [leaf], [one for one in others if one.subject != one.issuer]
    while above:
        issuer = next((one for one in above if one not in chain and _is_signed_by(chain[-1], one)), None)
        if issuer is None or len(chain) + 1 == MAX_PATH:  # the root is one of them
            raise KeyUnavailableError(
                f"{path} holds certificates that do not lead from the first one to a root, or more than {MAX_PATH - 1}: take them out."
            )
        chain.append(issuer)
        above.remove(issuer)
    return chain


def common_name(certificate: x509.Certificate) -> str:
    """The one common name of the subject: a booth's or an intake's identity."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise CertificateRefusedError("A certificate does not have exactly one common name.")
    return names[0].value


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
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, purpose.curve):
        raise CertificateRefusedError(f"{name_of(leaf)} has no {curve_name(purpose.curve)} key.")


def curve_name(curve: type[ec.EllipticCurve]) -> str:
    """How people call a curve."""
    return "P-256" if curve is ec.SECP256R1 else "P-384"


def check_validity(certificate: x509.Certificate, at: datetime) -> None:
    """That a certificate is valid at a time."""
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        span = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
        raise CertificateRefusedError(f"{name_of(certificate)} is valid from {span} UTC, not at {at:%Y-%m-%d %H:%M}.")


def _check_path(path: Sequence[x509.Certificate], purpose: Purpose, at: datetime) -> None:
    try:
        for certificate in path:
            check_validity(certificate, at)
        _check_form(tuple(path), purpose)
    except PARSE_ERRORS as err:
        raise CertificateRefusedError("A certificate on the way to the root cannot be read.") from err


@lru_cache(maxsize=_REMEMBERED_SIGNATURES)
def _check_form(path: tuple[x509.Certificate, ...], purpose: Purpose) -> None:
    """What does not change with time; remembers paths, by their certificates' bytes, that were right for this purpose."""
    check_leaf(path[0], purpose)
    for certificate in path:
        _check_certificate(certificate)
    for below, (issued, issuer) in enumerate(pairwise(path)):
        _check_issuer(issuer, issued, below=below, purpose=purpose)


def _is_signed_by(issued: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        _verify(issued, issuer)
    except (*PARSE_ERRORS, InvalidSignature):
        return False
    return True


@lru_cache(maxsize=_REMEMBERED_SIGNATURES)
def _verify(issued: x509.Certificate, issuer: x509.Certificate) -> None:
    """Remembers pairs of certificates, by their bytes, whose signature was right: the same booth sends many packets."""
    issued.verify_directly_issued_by(issuer)


def _check_certificate(certificate: x509.Certificate) -> None:
    """What holds for every certificate of a path, leaf and root included, at any time."""
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


def _check_issuer(
    issuer: x509.Certificate, issued: x509.Certificate, *, below: int, purpose: Purpose | None = None
) -> None:
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
    purposes = extension_of(issuer, x509.ExtendedKeyUsage)
    if purposes is not None and purpose is not None and purpose.oid not in purposes:
        raise CertificateRefusedError(f"{name_of(issuer)} may not issue certificates for the purpose {purpose}.")
    theirs, ours = extension_of(issued, x509.AuthorityKeyIdentifier), extension_of(issuer, x509.SubjectKeyIdentifier)
    if theirs is not None and ours is not None and theirs.key_identifier not in (None, ours.digest):
        raise CertificateRefusedError(f"{name_of(issued)} names another key of {name_of(issuer)}.")


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = extension_of(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca
