"""CMS SignedData (RFC 5652): the one form that is written, and a reader that accepts exactly this form.

Written: DER; version 3; one content type of ours with the content inside; the signer's certificate and its authorities
without the root; one SignerInfo, version 1, issuer and serial number, SHA-384, ECDSA P-384; signed attributes content-type,
message-digest, signing-time, signing-certificate-v2 (RFC 5035, SHA-384); no unsigned attribute, no CRL.

Read, in this order: size limit; the outer frame by its lengths, without copying; the certificates; the one signer's
certificate by issuer and serial number; signing time and signature out of the SignerInfo; then everything is written again
from content, certificates, time and signature, and must be the same bytes, which proves digest, attributes, order and DER at
once; then the signature; then the path to a root for the purpose at the signing time, through every certificate that came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.certificate import read_certificate
from crypto.der import (
    GENERALIZED_TIME,
    INTEGER,
    OCTETS,
    OID,
    SEQUENCE,
    SET,
    TAG_0,
    TAG_4,
    UTC_TIME,
    DerError,
    element,
    header,
    integer,
    oid,
    read,
)
from crypto.errors import CertificateRefusedError, SealingError, SignatureRefusedError
from crypto.keys import Signer
from crypto.trust import MAX_CERTIFICATES, Purpose, TrustStore, check_leaf, check_validity

# What certificates, attributes and signature may add to the content: four certificates of 8 KiB and room.
MAX_FRAME_BYTES = 40_960
_UTC_TIME_YEARS = range(1950, 2050)  # RFC 5652, 11.3: UTCTime for these years, GeneralizedTime for others
_VERSION_1 = integer(1)  # RFC 5652, 5.3: the signer is named by issuer and serial number
_VERSION_3 = integer(3)  # RFC 5652, 5.1: the content is not id-data
_SIGNED_DATA = oid("1.2.840.113549.1.7.2")
_CONTENT_TYPE, _MESSAGE_DIGEST = oid("1.2.840.113549.1.9.3"), oid("1.2.840.113549.1.9.4")
_SIGNING_TIME, _SIGNING_CERTIFICATE_V2 = oid("1.2.840.113549.1.9.5"), oid("1.2.840.113549.1.9.16.2.47")
_SHA384 = element(SEQUENCE, oid("2.16.840.1.101.3.4.2.2"))  # RFC 5754, 2: parameters absent
_ECDSA_SHA384 = element(SEQUENCE, oid("1.2.840.10045.4.3.3"))  # RFC 5754, 3.3


# A desk reads packets of the same few booths, and an intake their requests: what a certificate says does not change with its bytes.
_CERTIFICATES_KEPT = 64


@dataclass(frozen=True, slots=True)
class Verified:
    """Content whose signature, signer and path to a root were checked."""

    view: memoryview  # into the signed data: 20 MB need not be copied to be read
    signer: x509.Certificate
    signing_time: datetime
    path: tuple[x509.Certificate, ...]

    @property
    def content(self) -> bytes:
        """The content, copied."""
        return bytes(self.view)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things lie in a SignedData that has not been checked."""

    content: memoryview
    certificates: list[bytes]
    issuer_and_serial: memoryview
    attributes: memoryview
    signature: bytes


def sign_content(content: bytes, content_type: str, signer: Signer, purpose: Purpose, at: datetime) -> bytes:
    """SignedData around `content`. Refuses to sign with a certificate that nobody would accept at that time."""
    at = at.astimezone(UTC).replace(microsecond=0)
    try:
        check_leaf(signer.certificate, purpose)
        check_validity(signer.certificate, at)
    except CertificateRefusedError as err:
        raise SealingError(f"This machine's certificate cannot sign now: {err}") from err
    certificates = [_der(one) for one in (signer.certificate, *signer.chain)]
    attributes = _attributes(content_type, hashlib.sha384(content).digest(), certificates[0], at)
    signature = signer.sign(element(SET, attributes))
    head, tail = _around(content_type, len(content), certificates, _signer_info(certificates[0], attributes, signature))
    return b"".join((head, content, tail))


def verify_content(
    data: bytes, content_type: str, limit_bytes: int, trust: TrustStore, purpose: Purpose, at: datetime | None = None
) -> Verified:
    """The content of a SignedData, or SignatureRefusedError, CertificateRefusedError.

    `at` asks for the certificates' validity at another time than the signing time.
    """
    if len(data) > limit_bytes + MAX_FRAME_BYTES:
        raise SignatureRefusedError(f"The signed data are {len(data)} bytes long; {limit_bytes} is the limit.")
    try:
        frame = _read_frame(data)
        if len(frame.content) > limit_bytes or len(data) - len(frame.content) > MAX_FRAME_BYTES:
            raise SignatureRefusedError("The content, or what stands around the content, is longer than its limit.")
        leaf_der, others = _split(frame)
        digest = hashlib.sha384(frame.content).digest()
        signing_time = _read_attributes(frame.attributes, digest)
    except DerError as err:
        raise SignatureRefusedError(f"The signed data cannot be read: {err}.") from err

    attributes = _attributes(content_type, digest, leaf_der, signing_time)
    info = _signer_info(leaf_der, attributes, frame.signature)
    head, tail = _around(content_type, len(frame.content), frame.certificates, info)
    if not (data.startswith(head) and data.endswith(tail) and len(data) == len(head) + len(frame.content) + len(tail)):
        raise SignatureRefusedError("The signed data are not in the one form that is accepted.")

    leaf = _certificate(leaf_der)
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise SignatureRefusedError("The signer's key is not P-384.")
    try:
        key.verify(frame.signature, element(SET, attributes), ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as err:
        raise SignatureRefusedError("The signature is wrong.") from err
    path = trust.path(leaf, [_certificate(der) for der in others], purpose, at or signing_time)
    if len(path) - 1 != len(frame.certificates):
        raise SignatureRefusedError("Certificates came along that do not belong to the signer's path.")
    return Verified(frame.content, leaf, signing_time, path)


def _attributes(content_type: str, digest: bytes, certificate: bytes, at: datetime) -> bytes:
    """The signed attributes in their DER order, without the tag: it is SET where they are signed, [0] where they stand."""
    attributes = [
        *_constant_attributes(content_type, certificate),
        _attribute(_SIGNING_TIME, _time(at)),
        _attribute(_MESSAGE_DIGEST, element(OCTETS, digest)),
    ]
    return b"".join(sorted(attributes))


@lru_cache(maxsize=_CERTIFICATES_KEPT)
def _constant_attributes(content_type: str, certificate: bytes) -> tuple[bytes, bytes]:
    """Content type and signing certificate: the same in all signatures of one key over one kind of content."""
    issuer, serial = _identity(certificate)
    name = element(SEQUENCE, element(TAG_4, issuer)) + serial
    identity = element(
        SEQUENCE, _SHA384 + element(OCTETS, hashlib.sha384(certificate).digest()) + element(SEQUENCE, name)
    )
    return (
        _attribute(_CONTENT_TYPE, oid(content_type)),
        _attribute(_SIGNING_CERTIFICATE_V2, element(SEQUENCE, element(SEQUENCE, identity))),
    )


def _attribute(kind: bytes, value: bytes) -> bytes:
    return element(SEQUENCE, kind + element(SET, value))


def _signer_info(certificate: bytes, attributes: bytes, signature: bytes) -> bytes:
    sid = element(SEQUENCE, b"".join(_identity(certificate)))
    signed = element(TAG_0, attributes) + _ECDSA_SHA384 + element(OCTETS, signature)
    return element(SEQUENCE, _VERSION_1 + sid + _SHA384 + signed)


@lru_cache(maxsize=_CERTIFICATES_KEPT)
def _identity(certificate: bytes) -> tuple[bytes, bytes]:
    """Issuer and serial number as they stand in a certificate (RFC 5280, 4.1), tags included."""
    whole, _ = read(memoryview(certificate), SEQUENCE)
    body, _ = read(whole, SEQUENCE)
    _, body = read(body, TAG_0)
    _, after_serial = read(body, INTEGER)
    _, algorithm_gone = read(after_serial, SEQUENCE)
    _, rest = read(algorithm_gone, SEQUENCE)
    serial = body[: len(body) - len(after_serial)]
    return bytes(algorithm_gone[: len(algorithm_gone) - len(rest)]), bytes(serial)


def _around(content_type: str, length: int, certificates: Sequence[bytes], signer_info: bytes) -> tuple[bytes, bytes]:
    """The bytes before and after the content."""
    digests = element(SET, _SHA384)
    kind = oid(content_type)
    octets = header(OCTETS, length)
    explicit = header(TAG_0, len(octets) + length)
    encapsulated = header(SEQUENCE, len(kind) + len(explicit) + len(octets) + length) + kind + explicit + octets
    tail = element(TAG_0, b"".join(sorted(certificates))) + element(SET, signer_info)
    inner = _VERSION_3 + digests + encapsulated
    signed = header(SEQUENCE, len(inner) + length + len(tail))
    wrapped = header(TAG_0, len(signed) + len(inner) + length + len(tail))
    whole = len(_SIGNED_DATA) + len(wrapped) + len(signed) + len(inner) + length + len(tail)
    return header(SEQUENCE, whole) + _SIGNED_DATA + wrapped + signed + inner, tail


def _read_frame(data: bytes) -> _Frame:
    view = memoryview(data)
    whole, rest = read(view, SEQUENCE)
    _, body = read(whole, OID)
    wrapped, after = read(body, TAG_0)
    signed, trailing = read(wrapped, SEQUENCE)
    if rest or after or trailing:
        raise SignatureRefusedError("Bytes follow the signed data.")
    _, signed = read(signed, INTEGER)
    _, signed = read(signed, SET)
    encapsulated, signed = read(signed, SEQUENCE)
    _, encapsulated = read(encapsulated, OID)
    explicit, _ = read(encapsulated, TAG_0)
    content, _ = read(explicit, OCTETS)
    certificate_set, signed = read(signed, TAG_0)
    infos, _ = read(signed, SET)
    certificates: list[bytes] = []
    while certificate_set:
        if len(certificates) == MAX_CERTIFICATES:
            raise SignatureRefusedError(f"More than {MAX_CERTIFICATES} certificates came along.")
        _, following = read(certificate_set, SEQUENCE)
        certificates.append(bytes(certificate_set[: len(certificate_set) - len(following)]))
        certificate_set = following
    info, more = read(infos, SEQUENCE)
    if more:
        raise SignatureRefusedError("The signed data do not have exactly one signer.")
    _, info = read(info, INTEGER)
    issuer_and_serial, info = read(info, SEQUENCE)
    _, info = read(info, SEQUENCE)
    attributes, info = read(info, TAG_0)
    _, info = read(info, SEQUENCE)
    signature, _ = read(info, OCTETS)
    return _Frame(content, certificates, issuer_and_serial, attributes, bytes(signature))


def _split(frame: _Frame) -> tuple[bytes, list[bytes]]:
    """The signer's certificate and the others."""
    leaves = [der for der in frame.certificates if b"".join(_identity(der)) == frame.issuer_and_serial]
    if len(leaves) != 1:
        raise SignatureRefusedError("The signed data do not hold exactly one certificate of the signer.")
    return leaves[0], [der for der in frame.certificates if der is not leaves[0]]


def _read_attributes(attributes: memoryview, digest: bytes) -> datetime:
    """The signing time; tells a changed content apart, because that is the question everyone asks first."""
    at: datetime | None = None
    while attributes:
        attribute, attributes = read(attributes, SEQUENCE)
        if attribute[: len(_SIGNING_TIME)] == _SIGNING_TIME:
            at = _read_time(read(attribute[len(_SIGNING_TIME) :], SET)[0])
        elif attribute[: len(_MESSAGE_DIGEST)] == _MESSAGE_DIGEST:
            claimed, _ = read(read(attribute[len(_MESSAGE_DIGEST) :], SET)[0], OCTETS)
            if claimed != digest:
                raise SignatureRefusedError("The content is not the one that was signed.")
    if at is None:
        raise SignatureRefusedError("The signature does not tell its time.")
    return at


def _read_time(value: memoryview) -> datetime:
    general = bytes(value[:1]) == bytes((GENERALIZED_TIME,))
    text, _ = read(value, GENERALIZED_TIME if general else UTC_TIME)
    try:
        digits = bytes(text).decode("ascii")
        if not general:  # RFC 5652, 11.3: two digits of year, turning at 50
            digits = ("19" if digits >= "5" else "20") + digits
        return datetime.fromisoformat(
            f"{digits[:8]}T{digits[8:14]}+00:00"
        )  # its spelling is compared when written again
    except ValueError as err:
        raise SignatureRefusedError("The signature's time cannot be read.") from err


def _time(at: datetime) -> bytes:
    if at.year in _UTC_TIME_YEARS:
        return element(UTC_TIME, f"{at:%y%m%d%H%M%SZ}".encode("ascii"))
    return element(GENERALIZED_TIME, f"{at.year:04d}{at:%m%d%H%M%SZ}".encode("ascii"))


@lru_cache(maxsize=_CERTIFICATES_KEPT)
def _certificate(der: bytes) -> x509.Certificate:
    return read_certificate(der)


@lru_cache(maxsize=_CERTIFICATES_KEPT)
def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
