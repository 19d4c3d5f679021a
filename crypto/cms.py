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

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.errors import CertificateRefusedError, SealingError, SignatureRefusedError
from crypto.keys import Signer
from crypto.trust import MAX_CERTIFICATES, Purpose, TrustStore, check_leaf, check_validity, read_certificate

# What certificates, attributes and signature may add to the content: four certificates of 8 KiB and room.
MAX_FRAME_BYTES = 40_960
MAX_SIGNER_INFO_BYTES = 4_096
_SIGNED_DATA = core.ObjectIdentifier("1.2.840.113549.1.7.2").dump()
_SHA384 = bytes.fromhex("300b0609608648016503040202")  # RFC 5754, 2: parameters absent
_VERSION_3 = core.Integer(3).dump()  # RFC 5652, 5.1: content is not id-data
_UTC_TIME_ENDS = 2050  # RFC 5652, 11.3: UTCTime before, GeneralizedTime from then on
_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET, _TAG_0 = 0x02, 0x04, 0x06, 0x30, 0x31, 0xA0
# What asn1crypto raises on hostile bytes, lazily and from different depths.
_PARSE_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Verified:
    """Content whose signature, signer and path to a root were checked."""

    content: bytes
    signer: x509.Certificate
    signing_time: datetime
    path: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things lie in a SignedData that has not been checked."""

    content: memoryview
    certificates: list[bytes]
    signer_info: bytes


def sign_content(content: bytes, content_type: str, signer: Signer, purpose: Purpose, at: datetime) -> bytes:
    """SignedData around `content`. Refuses to sign with a certificate that nobody would accept at that time."""
    at = at.astimezone(UTC).replace(microsecond=0)
    try:
        check_leaf(signer.certificate, purpose)
        check_validity(signer.certificate, at)
    except CertificateRefusedError as err:
        raise SealingError(f"This machine's certificate cannot sign now: {err}") from err
    attributes = _attributes(content_type, hashlib.sha384(content).digest(), signer.certificate, at)
    signature = signer.sign(attributes.dump())
    info = _signer_info(signer.certificate, attributes, signature)
    certificates = [_der(one) for one in (signer.certificate, *signer.chain)]
    head, tail = _around(content_type, len(content), certificates, info)
    return b"".join((head, content, tail))


def verify_content(
    data: bytes, content_type: str, limit_bytes: int, trust: TrustStore, purpose: Purpose, at: datetime | None = None
) -> Verified:
    """The content of a SignedData, or SignatureRefusedError, CertificateRefusedError.

    `at` asks for the certificates' validity at another time than the signing time.
    """
    if len(data) > limit_bytes + MAX_FRAME_BYTES:
        raise SignatureRefusedError(f"The signed data are {len(data)} bytes long; {limit_bytes} is the limit.")
    frame = _read_frame(data)
    certificates = [read_certificate(der) for der in frame.certificates]
    leaf, others = _split(frame, certificates)
    digest = hashlib.sha384(frame.content).digest()
    signing_time, signature = _read_signer_info(frame.signer_info, digest)

    attributes = _attributes(content_type, digest, leaf, signing_time)
    info = _signer_info(leaf, attributes, signature)
    head, tail = _around(content_type, len(frame.content), frame.certificates, info)
    if not (data.startswith(head) and data.endswith(tail) and len(data) == len(head) + len(frame.content) + len(tail)):
        raise SignatureRefusedError("The signed data are not in the one form that is accepted.")

    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise SignatureRefusedError("The signer's key is not P-384.")
    try:
        key.verify(signature, attributes.dump(), ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as err:
        raise SignatureRefusedError("The signature is wrong.") from err
    path = trust.path(leaf, others, purpose, at or signing_time)
    if len(path) - 1 != len(certificates):
        raise SignatureRefusedError("Certificates came along that do not belong to the signer's path.")
    return Verified(bytes(frame.content), leaf, signing_time, path)


def _attributes(content_type: str, digest: bytes, certificate: x509.Certificate, at: datetime) -> cms.CMSAttributes:
    parsed = asn1_x509.Certificate.load(_der(certificate))
    issuer = asn1_x509.GeneralName(name="directory_name", value=parsed.issuer)
    identity = tsp.ESSCertIDv2(
        {
            "hash_algorithm": _sha384(),
            "cert_hash": hashlib.sha384(_der(certificate)).digest(),
            "issuer_serial": {"issuer": [issuer], "serial_number": parsed.serial_number},
        }
    )
    time = {"utc_time" if 1950 <= at.year < _UTC_TIME_ENDS else "generalized_time": at}
    return cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": [content_type]}),
            cms.CMSAttribute({"type": "signing_time", "values": [cms.Time(time)]}),
            cms.CMSAttribute({"type": "message_digest", "values": [digest]}),
            cms.CMSAttribute(
                {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [identity]})]}
            ),
        ]
    )


def _signer_info(certificate: x509.Certificate, attributes: cms.CMSAttributes, signature: bytes) -> bytes:
    parsed = asn1_x509.Certificate.load(_der(certificate))
    sid = cms.IssuerAndSerialNumber({"issuer": parsed.issuer, "serial_number": parsed.serial_number})
    info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(name="issuer_and_serial_number", value=sid),
            "digest_algorithm": _sha384(),
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha384_ecdsa"}),
            "signature": signature,
        }
    )
    der: bytes = info.dump()
    return der


def _around(content_type: str, length: int, certificates: Sequence[bytes], signer_info: bytes) -> tuple[bytes, bytes]:
    """The bytes before and after the content."""
    digests = _tlv(_SET, _SHA384)
    kind = core.ObjectIdentifier(content_type).dump()
    octets = _header(_OCTETS, length)
    explicit = _header(_TAG_0, len(octets) + length)
    encapsulated = _header(_SEQUENCE, len(kind) + len(explicit) + len(octets) + length) + kind + explicit + octets
    tail = _tlv(_TAG_0, b"".join(sorted(certificates))) + _tlv(_SET, signer_info)
    inner = _VERSION_3 + digests + encapsulated
    signed = _header(_SEQUENCE, len(inner) + length + len(tail))
    wrapped = _header(_TAG_0, len(signed) + len(inner) + length + len(tail))
    whole = len(_SIGNED_DATA) + len(wrapped) + len(signed) + len(inner) + length + len(tail)
    return _header(_SEQUENCE, whole) + _SIGNED_DATA + wrapped + signed + inner, tail


def _read_frame(data: bytes) -> _Frame:
    view = memoryview(data)
    whole, rest = _read(view, _SEQUENCE)
    _, body = _read(whole, _OID)
    wrapped, after = _read(body, _TAG_0)
    signed, trailing = _read(wrapped, _SEQUENCE)
    if rest or after or trailing:
        raise SignatureRefusedError("Bytes follow the signed data.")
    _, signed = _read(signed, _INTEGER)
    _, signed = _read(signed, _SET)
    encapsulated, signed = _read(signed, _SEQUENCE)
    _, encapsulated = _read(encapsulated, _OID)
    explicit, _ = _read(encapsulated, _TAG_0)
    content, _ = _read(explicit, _OCTETS)
    certificate_set, signed = _read(signed, _TAG_0)
    infos, _ = _read(signed, _SET)
    certificates: list[bytes] = []
    while certificate_set:
        if len(certificates) == MAX_CERTIFICATES:
            raise SignatureRefusedError(f"More than {MAX_CERTIFICATES} certificates came along.")
        _, following = _read(certificate_set, _SEQUENCE)
        certificates.append(bytes(certificate_set[: len(certificate_set) - len(following)]))
        certificate_set = following
    _, more = _read(infos, _SEQUENCE)
    if more or len(infos) > MAX_SIGNER_INFO_BYTES:
        raise SignatureRefusedError("The signed data do not have exactly one signer.")
    return _Frame(content, certificates, bytes(infos))


def _split(frame: _Frame, certificates: list[x509.Certificate]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The signer's certificate and the others."""
    try:
        sid = cms.SignerInfo.load(frame.signer_info, strict=True)["sid"]
        if sid.name != "issuer_and_serial_number":
            raise SignatureRefusedError("The signer is not named by issuer and serial number.")
        issuer, serial = sid.chosen["issuer"].dump(), sid.chosen["serial_number"].native
    except _PARSE_ERRORS as err:
        raise SignatureRefusedError("The signer's entry cannot be read.") from err
    leaves = [one for one in certificates if one.serial_number == serial and one.issuer.public_bytes() == issuer]
    if len(leaves) != 1:
        raise SignatureRefusedError("The signed data do not hold exactly one certificate of the signer.")
    return leaves[0], [one for one in certificates if one is not leaves[0]]


def _read_signer_info(data: bytes, digest: bytes) -> tuple[datetime, bytes]:
    """Signing time and signature; tells a changed content apart, because that is the question everyone asks first."""
    try:
        info = cms.SignerInfo.load(data, strict=True)
        found = {attribute["type"].native: attribute["values"] for attribute in info["signed_attrs"]}
        times, digests = found["signing_time"], found["message_digest"]
        at, claimed, signature = times[0].native, digests[0].native, info["signature"].native
    except _PARSE_ERRORS as err:
        raise SignatureRefusedError("The signer's entry cannot be read.") from err
    if not isinstance(at, datetime) or at.tzinfo is None or not isinstance(signature, bytes):
        raise SignatureRefusedError("The signer's entry lacks its time or its signature.")
    if claimed != digest:
        raise SignatureRefusedError("The content is not the one that was signed.")
    return at.astimezone(UTC), signature


def _sha384() -> algos.DigestAlgorithm:
    return algos.DigestAlgorithm.load(_SHA384)  # asn1crypto itself would write NULL parameters


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _header(tag: int, length: int) -> bytes:
    if length < 0x80:
        return bytes((tag, length))
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big")


def _tlv(tag: int, content: bytes) -> bytes:
    return _header(tag, len(content)) + content


def _read(view: memoryview, tag: int) -> tuple[memoryview, memoryview]:
    """The content of the next element, which must have this tag, and what follows it."""
    if len(view) < 2 or view[0] != tag:
        raise SignatureRefusedError("The signed data do not have the expected structure.")
    length, start = view[1], 2
    if length >= 0x80:
        start = 2 + (length & 0x7F)
        if not 2 < start <= 6:
            raise SignatureRefusedError("A length in the signed data is not one of DER.")
        length = int.from_bytes(view[2:start], "big")
    if length > len(view) - start:
        raise SignatureRefusedError("The signed data are shorter than they say.")
    return view[start : start + length], view[start + length :]
