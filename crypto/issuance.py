"""Making certificates, revocation lists, and reading the requests for them: one way for development keys and for a real authority. PURE.

Profile (RFC 5280): version 3, serial number of 159 random bits, ECDSA P-384 with SHA-384, subject and authority key identifier; basic
constraints and key usage critical. The key of a leaf is on P-384, a centre's on P-256. An authority: CA, path length 0, keyCertSign and cRLSign, so that it issues leaves only. A leaf for a purpose of
ours: digitalSignature, exactly one extended key usage, critical. A leaf for TLS: serverAuth and the names it serves. No leaf outlives its authority.

Of a request (PKCS#10) only two things are believed, after the signature in it proved that the sender has the key: the key and the
one common name, which is the identity asked for. Extensions and attributes are not read: the profile says what a certificate may do.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crypto.certificate import PARSE_ERRORS, SIGNATURE_ALGORITHMS, check_name
from crypto.der import INTEGER, SEQUENCE, element, oid, read
from crypto.errors import CertificateRefusedError, EnrolmentError
from crypto.trust import Purpose, curve_name

LEAF_DAYS = 397  # the longest life that browsers accept for a TLS certificate
CLOCK_SLACK = timedelta(hours=1)  # a booth whose clock is behind must still accept a new certificate
MAX_REQUEST_BYTES = 8_192
MAX_NAMES = 16
# RFC 5480, 2.1.1
_ALGORITHM: Mapping[type[ec.EllipticCurve], bytes] = MappingProxyType(
    {
        curve: element(SEQUENCE, oid("1.2.840.10045.2.1"), oid(number))
        for curve, number in ((ec.SECP384R1, "1.3.132.0.34"), (ec.SECP256R1, "1.2.840.10045.3.1.7"))
    }
)
_IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # as a manifest names booths
_REQUEST = re.compile(
    rb"\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----\s([A-Za-z0-9+/=\s]+)-----END (?:NEW )?CERTIFICATE REQUEST-----\s*"
)
_DNS_NAME = re.compile(
    r"(?=.{1,253}\Z)(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)


class Profile(StrEnum):
    """What a leaf certificate is made for."""

    BOOTH = "booth"
    INTAKE = "intake"
    TLS = "tls"
    CENTRE = "centre"
    STAFF = "staff"
    DESK = "desk"
    PRODUCER = "producer"

    @property
    def purpose(self) -> Purpose | None:
        """The purpose that the trust store checks; none for TLS, which TLS itself checks."""
        return None if self is Profile.TLS else Purpose(self.value)

    @property
    def curve(self) -> type[ec.EllipticCurve]:
        """The curve of its keys."""
        return ec.SECP384R1 if self.purpose is None else self.purpose.curve


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What is believed of a request."""

    identity: str
    public_key: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Revoked:
    """One entry of a revocation list."""

    serial: int
    at: datetime
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


def make_root(common_name: str, organisation: str, at: datetime, days: int) -> Issuer:
    """A new authority that signs itself."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    start = at.replace(microsecond=0)
    certificate = (
        _builder(name, name, key.public_key(), start - CLOCK_SLACK, start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    return Issuer(certificate, key)


def issue(
    issuer: Issuer,
    public_key: ec.EllipticCurvePublicKey,
    identity: str,
    profile: Profile,
    at: datetime,
    *,
    days: int = LEAF_DAYS,
    names: Sequence[str] = (),
) -> x509.Certificate:
    """A leaf certificate. `names` are the DNS names and addresses of a TLS certificate. Raises EnrolmentError."""
    check_identity(identity)
    if bool(names) != (profile is Profile.TLS) or len(names) > MAX_NAMES:
        raise EnrolmentError(f"A TLS certificate has 1 to {MAX_NAMES} names or addresses, every other one has none.")
    start = max(at.replace(microsecond=0) - CLOCK_SLACK, issuer.certificate.not_valid_before_utc)
    end = min(at.replace(microsecond=0) + timedelta(days=days), issuer.certificate.not_valid_after_utc)
    if end <= at:
        raise EnrolmentError("The authority's own certificate has ended: it cannot issue another one.")
    if not isinstance(public_key.curve, profile.curve):
        raise EnrolmentError(f"A certificate for a {profile} needs a {curve_name(profile.curve)} key.")
    purpose = profile.purpose
    usages = [purpose.oid if purpose else ExtendedKeyUsageOID.SERVER_AUTH]
    above = issuer.certificate.subject
    subject = x509.Name(
        [
            *above.get_attributes_for_oid(NameOID.ORGANIZATION_NAME),
            x509.NameAttribute(NameOID.COMMON_NAME, identity),
        ]
    )
    builder = (
        _builder(above, subject, public_key, start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=purpose is not None)
        .add_extension(_names_key_of(issuer), critical=False)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
    return builder.sign(issuer.key, hashes.SHA384())


def make_crl(issuer: Issuer, number: int, revoked: Iterable[Revoked], at: datetime, next_update: datetime) -> bytes:
    """A revocation list in DER: complete, version 2, with its number; entries in the order of their serial numbers."""
    entries = []
    for one in sorted(revoked, key=lambda entry: entry.serial):
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(_second(one.at))
        if one.reason is not x509.ReasonFlags.unspecified:  # RFC 5280, 5.3.1: then better left out
            entry = entry.add_extension(x509.CRLReason(one.reason), critical=False)
        entries.append(entry.build())
    extensions: list[x509.ExtensionType] = [_names_key_of(issuer), x509.CRLNumber(number)]
    return (
        x509.CertificateRevocationListBuilder(
            issuer.certificate.subject,
            _second(at),
            _second(next_update),
            [x509.Extension(one.oid, critical=False, value=one) for one in extensions],
            entries,
        )
        .sign(issuer.key, hashes.SHA384())
        .public_bytes(serialization.Encoding.DER)
    )


def read_csr(pem: bytes, profile: Profile = Profile.BOOTH) -> CertificateRequest:
    """A certificate request whose sender has proved to hold the key, one that this profile has. Raises EnrolmentError."""
    wrong = f"The certificate request is not for a {curve_name(profile.curve)} key."
    block = _REQUEST.fullmatch(pem) if len(pem) <= MAX_REQUEST_BYTES else None
    if block is None:
        raise EnrolmentError(f"This is not one certificate request in PEM form of at most {MAX_REQUEST_BYTES} bytes.")
    try:
        der = base64.b64decode(b"".join(block[2].split()), validate=True)
        _check_request_frame(memoryview(der), profile.curve, wrong)
        request = x509.load_der_x509_csr(der)
        key, algorithm = request.public_key(), request.signature_hash_algorithm
        if not isinstance(key, ec.EllipticCurvePublicKey) or algorithm is None:
            raise EnrolmentError(wrong)
        key.verify(request.signature, request.tbs_certrequest_bytes, ec.ECDSA(algorithm))
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except InvalidSignature as err:
        raise EnrolmentError("The certificate request is not signed by the key that it names.") from err
    except (*PARSE_ERRORS, binascii.Error, CertificateRefusedError) as err:
        raise EnrolmentError("The certificate request cannot be read.") from err
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise EnrolmentError("The certificate request does not have exactly one common name.")
    return CertificateRequest(check_identity(names[0].value), key)


def _check_request_frame(der: memoryview, curve: type[ec.EllipticCurve], wrong: str) -> None:
    """A key on the curve, names of allowed lengths, an allowed algorithm (RFC 2986, 4): the library forgives more, some with a warning."""
    whole, rest = read(der, SEQUENCE)
    body, signature = read(whole, SEQUENCE)
    version, fields = read(body, INTEGER)
    subject, fields = read(fields, SEQUENCE)
    key, _ = read(fields, SEQUENCE)
    algorithm, _ = read(signature, SEQUENCE)
    if rest or bytes(version) != b"\0":
        raise EnrolmentError("The certificate request is of another version.")
    if key[: len(_ALGORITHM[curve])] != _ALGORITHM[curve]:
        raise EnrolmentError(wrong)
    if algorithm not in SIGNATURE_ALGORITHMS:
        raise EnrolmentError("The certificate request is signed by an algorithm that is not allowed.")
    check_name(subject)


def check_identity(identity: str) -> str:
    """The name of a booth, an intake or a server, when it is one."""
    if not _IDENTITY.fullmatch(identity):
        raise EnrolmentError(
            "A name has 1 to 64 letters, digits, dots, dashes and underscores, and starts with a letter or digit."
        )
    return identity


def _builder(
    issuer: x509.Name, subject: x509.Name, public: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _names_key_of(issuer: Issuer) -> x509.AuthorityKeyIdentifier:
    above = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if not _DNS_NAME.fullmatch(text.lower()):
            raise EnrolmentError("A name for TLS is a DNS name in ASCII or an IP address.") from None
        return x509.DNSName(text.lower())


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


def _second(at: datetime) -> datetime:
    """A time as lists hold it: whole seconds of UTC, without saying so."""
    return at.astimezone(UTC).replace(microsecond=0, tzinfo=None)
