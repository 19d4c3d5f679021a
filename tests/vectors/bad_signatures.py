"""Packets that decrypt and whose signature or certificate must not be believed."""

from __future__ import annotations

from datetime import UTC, datetime

from asn1crypto import algos
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.der import element, oid
from crypto.trust import Purpose
from tests.vectors import parties
from tests.vectors.case import Case
from tests.vectors.forged_cms import (
    CERTIFICATE,
    CONTENT_TYPE,
    DATA,
    DIGEST,
    ECDSA_SHA256,
    RECEIPT,
    SHA256,
    SHA384_NULL,
    SIGNED_AT,
    TIME,
    attribute,
    certificate_id,
    signed_data,
    utc_time,
)
from tests.vectors.forged_package import package
from tests.vectors.forged_seal import single
from tests.vectors.parties import BOOTH_1, BOOTH_BELOW, ISSUING, ROOT, Party, make_party

FORM, UNREADABLE = "signed data", "signed data"


def without(kind: bytes, attributes: list[bytes]) -> list[bytes]:
    return [one for one in attributes if kind not in one[: len(kind) + 4]]


def indefinite(der: bytes) -> bytes:
    """The outermost length left open (BER), closed by two zero bytes."""
    start = 2 + (der[1] & 0x7F)
    return der[:1] + b"\x80" + der[start:] + b"\x00\x00"


def long_length(der: bytes) -> bytes:
    """The outermost length with a leading zero byte."""
    octets = der[1] & 0x7F
    return bytes([der[0], 0x80 | octets + 1, 0]) + der[2:]


def padded_integer(signature: bytes) -> bytes:
    """ECDSA-Sig-Value with a zero byte before r (BER)."""
    values = algos.DSASignature.load(signature)
    r, s = (values[name].contents for name in ("r", "s"))
    return element(0x30, element(0x02, b"\x00\x00" + r), element(0x02, s))


def bad_signatures() -> list[Case]:
    """The CMS is not the one form, or the signature is wrong."""
    content = package()
    good = signed_data(content, BOOTH_1)
    other = make_party("other booth", ROOT, common="booth-0002")
    p256 = make_party("p256", ROOT, curve=ec.SECP256R1())
    at = good.index(b"findings")
    changed = good[:at] + b"F" + good[at + 1 :]
    general = element(0x18, f"{SIGNED_AT:%Y%m%d%H%M%SZ}".encode())
    ess_sha256 = certificate_id(BOOTH_1.der, algorithm=SHA256, digest=sha256_of)
    ess_default = certificate_id(BOOTH_1.der, algorithm=b"", digest=sha256_of)
    key_id = parties.BOOTH_1.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest

    def signed(**changes: object) -> bytes:
        return signed_data(content, BOOTH_1, **changes)  # type: ignore[arg-type]

    second = signed_data(content, other)
    second_info = signer_info_of(second)
    found = [
        ("content-changed", changed, "a byte of the content was changed after signing", "not the one that was signed"),
        ("signed-by-other-key", signed(by=other), "the signature is by another key than the certificate's", "signature is wrong"),
        ("signature-ber", signed(signature=padded_integer), "the signature's integers are not DER", "signature is wrong"),
        ("signature-empty", signed(signature=lambda made: b""), "no signature value", "signature is wrong"),
        ("digest-of-other", signed(hashed=bytes(48)), "message-digest is not that of the content", "not the one that was signed"),
        ("content-type-data", signed(kind=DATA), "content type id-data", FORM),
        ("content-type-receipt", signed(kind=RECEIPT), "content type of a receipt", FORM),
        ("content-type-attribute", signed(attribute_kind=DATA), "the attribute names another content type than the content", FORM),
        ("content-detached", signed(wrapped=lambda octets: b""), "the content lies elsewhere", UNREADABLE),
        ("content-constructed", signed(octets=lambda data: element(0x24, element(0x04, data[:100]), element(0x04, data[100:]))), "the content is in pieces (BER)", UNREADABLE),
        ("signers-two", signed(infos=lambda own: [own, second_info], certificates=[BOOTH_1.der, other.der]), "two signers", FORM),
        ("signers-none", signed(infos=lambda own: []), "no signer", UNREADABLE),
        ("signer-by-key-id", signed(sid=element(0x80, key_id), signer_version=3), "the signer is named by its key, not by issuer and serial number", UNREADABLE),
        ("unsigned-attribute", signed(unsigned=element(0xA1, attribute(oid("1.2.840.113549.1.9.16.2.14"), b"\x05\x00"))), "an unsigned attribute", FORM),
        ("attributes-none", signed(edit=lambda all_: []), "no signed attributes", "does not tell its time"),
        ("attribute-time-missing", signed(edit=lambda all_: without(TIME, all_)), "signing-time is missing", "does not tell its time"),
        ("attribute-digest-missing", signed(edit=lambda all_: without(DIGEST, all_)), "message-digest is missing", FORM),
        ("attribute-type-missing", signed(edit=lambda all_: without(CONTENT_TYPE, all_)), "content-type is missing", FORM),
        ("attribute-certificate-missing", signed(edit=lambda all_: without(CERTIFICATE, all_)), "signing-certificate-v2 is missing (certificate substitution)", FORM),
        ("attribute-twice", signed(edit=lambda all_: [*all_, attribute(TIME, utc_time(SIGNED_AT))]), "signing-time occurs twice", FORM),
        ("attribute-two-values", signed(edit=lambda all_: [*without(TIME, all_), attribute(TIME, utc_time(SIGNED_AT), utc_time(SIGNED_AT))]), "signing-time has two values", FORM),
        ("attribute-extra", signed(edit=lambda all_: [*all_, attribute(oid("1.2.840.113549.1.9.15"), element(0x30))]), "an attribute that is not one of the four", FORM),
        ("attributes-unsorted", signed(order=lambda all_: sorted(all_, reverse=True)), "the attributes are not in DER order", FORM),
        ("time-generalized", signed(time=general), "GeneralizedTime before 2050", FORM),
        ("time-without-seconds", signed(time=element(0x17, b"2611221200Z")), "a time without seconds (BER)", "time cannot be read"),
        ("time-with-offset", signed(time=element(0x17, b"261122140002+0200")), "a time with an offset (BER)", UNREADABLE),
        ("digest-sha256", signed(digest=SHA256, algorithm=ECDSA_SHA256), "SHA-256 throughout", "not the one that was signed"),
        ("digest-parameters", signed(digest=SHA384_NULL), "SHA-384 with parameters NULL", FORM),
        ("algorithm-sha256", signed(algorithm=ECDSA_SHA256), "ecdsa-with-SHA256 over SHA-384 attributes", FORM),
        ("certificate-hash-of-other", signed(certificate=certificate_id(BOOTH_1.der, digest=lambda der: bytes(48))), "signing-certificate-v2 has the hash of another certificate", FORM),
        ("certificate-hash-sha256", signed(certificate=ess_sha256), "signing-certificate-v2 with SHA-256", FORM),
        ("certificate-hash-default", signed(certificate=ess_default), "signing-certificate-v2 with its default hash", FORM),
        ("certificate-missing", signed(certificates=[]), "no certificates", UNREADABLE),
        ("certificate-not-the-signers", signed(certificates=[other.der]), "the signer's certificate is not among them", "exactly one certificate of the signer"),
        ("certificate-twice", signed(certificates=[BOOTH_1.der, BOOTH_1.der]), "the signer's certificate twice", "exactly one certificate of the signer"),
        ("certificate-unused", signed(certificates=[BOOTH_1.der, other.der]), "a certificate that does not belong to the path", "do not belong"),
        ("certificate-root", signed(certificates=[BOOTH_1.der, ROOT.der]), "the root came along", "do not belong"),
        ("lists-inside", signed(lists=element(0xA1, parties.ROOT_LIST)), "a revocation list inside", FORM),
        ("version-1", signed(version=1), "SignedData version 1", FORM),
        ("signer-version-3", signed(signer_version=3), "SignerInfo version 3 with issuer and serial number", FORM),
        ("length-indefinite", indefinite(good), "an indefinite length (BER)", "DER"),
        ("length-not-minimal", long_length(good), "a length with a leading zero byte (BER)", FORM),
        ("trailing-bytes", good + b"\x00\x00", "bytes after the structure", FORM),
        ("not-cms", content, "the bare package without a signature", UNREADABLE),
        ("key-p256", signed_data(content, p256), "the signer's key is P-256", "not P-384"),
    ]  # fmt: skip
    return [Case(f"cms-{one[0]}", single(one[1]), one[2], "Signature", "signature", one[3]) for one in found]


def sha256_of(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize()


def signer_info_of(cms: bytes) -> bytes:
    from asn1crypto import cms as asn1_cms

    infos = asn1_cms.ContentInfo.load(cms)["content"]["signer_infos"]
    dumped: bytes = infos[0].dump()
    return dumped


def unused_bit(der: bytes) -> bytes:
    """The certificate with another first octet in the BIT STRING of its signature."""
    at = der.rindex(bytes([3, len(signature_of(der)) + 1, 0]))
    return der[: at + 2] + b"\x01" + der[at + 3 :]


def signature_of(der: bytes) -> bytes:
    value: bytes = asn1.Certificate.load(der)["signature_value"].native
    return value


def negative_serial(party: Party) -> Party:
    """The certificate with serial number -1, signed again."""
    structure = asn1.Certificate.load(party.der)
    structure["tbs_certificate"]["serial_number"] = -1
    body = structure["tbs_certificate"].dump(force=True)
    signature = ROOT.key.sign(body, parties.ECDSA)
    der = element(0x30, body, structure["signature_algorithm"].dump(), element(0x03, b"\x00" + signature))
    return Raw(party.certificate, party.chain, party.key, der)


class Raw(Party):
    """A party whose certificate no library makes."""

    def __init__(
        self,
        certificate: x509.Certificate,
        chain: tuple[x509.Certificate, ...],
        key: ec.EllipticCurvePrivateKey,
        der: bytes,
    ) -> None:
        super().__init__(certificate, chain, key)
        object.__setattr__(self, "_raw", der)

    @property
    def der(self) -> bytes:
        raw: bytes = self._raw  # type: ignore[attr-defined]
        return raw


def bad_certificates() -> list[Case]:
    """The signature is right; its maker may not make it."""
    no_purpose = make_party("no purpose", ROOT, purposes=[])
    level_2 = make_party("level 2", ROOT, common="level 2", ca=True)
    level_3 = make_party("level 3", level_2, common="level 3", ca=True)
    level_4 = make_party("level 4", level_3, common="level 4", ca=True)
    below_issuing = make_party("below issuing", ISSUING, common="below issuing", ca=True)
    not_authority = make_party("not authority", ROOT, common="not an authority")
    no_cert_sign = make_party("no cert sign", ROOT, common="no cert sign", ca=True, flags=["crl_sign"])
    for_intakes = make_party("for intakes", ROOT, common="for intakes", ca=True, purposes=[Purpose.INTAKE.oid])
    old_issuing = make_party("old issuing", ROOT, common="old issuing", ca=True, end=datetime(2026, 11, 1, tzinfo=UTC))
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.25.1"), b"\x05\x00")
    ended, begun = datetime(2026, 11, 22, 11, 0, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
    alone = make_party("alone", None)
    found = [
        ("purpose-intake", make_party("intake as booth", ROOT, purposes=[Purpose.INTAKE.oid]), "the certificate is an intake's", "purpose"),
        ("purpose-both", make_party("both purposes", ROOT, purposes=[Purpose.BOOTH.oid, Purpose.INTAKE.oid]), "a certificate for two purposes", "purpose"),
        ("purpose-any", make_party("any purpose", ROOT, purposes=[parties.ANY_PURPOSE]), "a certificate for any purpose", "purpose"),
        ("purpose-none", no_purpose, "a certificate without extended key usage", "what it may be used for"),
        ("usage-cert-sign", make_party("cert sign", ROOT, flags=["digital_signature", "key_cert_sign"]), "the signer's certificate may sign certificates", "signing data only"),
        ("authority-as-signer", make_party("ca leaf", ROOT, ca=True, purposes=[Purpose.BOOTH.oid], flags=["digital_signature"]), "the signer is an authority", "signing data only"),
        ("expired", make_party("expired", ROOT, end=ended), "expired at the signing time", "valid from"),
        ("not-yet-valid", make_party("future", ROOT, start=begun), "not yet valid at the signing time", "valid from"),
        ("issuer-expired", make_party("below old", old_issuing), "the issuing authority was expired", "valid from"),
        ("other-root", make_party("rogue booth", parties.ROGUE), "an authority of the same name with another key", "not issued by a trusted authority"),
        ("self-signed", alone, "signed by itself", "not issued by a trusted authority"),
        ("issuer-missing", Party(BOOTH_BELOW.certificate, (), BOOTH_BELOW.key), "the authority between did not come along", "not issued by a trusted authority"),
        ("issuer-no-authority", make_party("below leaf", not_authority), "issued by a booth's certificate", "may not issue"),
        ("issuer-no-cert-sign", make_party("below no cert sign", no_cert_sign), "issued by an authority without keyCertSign", "may not issue"),
        ("issuer-other-purpose", make_party("below intakes", for_intakes), "issued by an authority for intakes only", "for the purpose"),
        ("path-length", make_party("too deep", below_issuing), "an authority below one with path length 0", "so many authorities"),
        ("path-too-long", make_party("five", level_4), "a path of five certificates", "not issued by a trusted authority"),
        ("extension-critical", make_party("unknown critical", ROOT, extra=[(unknown, True)]), "an unknown critical extension", "unknown critical extension"),
        ("authority-key-other", make_party("other key id", ROOT, authority_key=bytes(20)), "names another key of its issuer", "another key"),
        ("signed-sha224", make_party("sha224", ROOT, algorithm=hashes.SHA224()), "the certificate is signed with SHA-224", "algorithm that is not allowed"),
        ("serial-negative", negative_serial(make_party("negative", ROOT)), "a negative serial number", "serial number"),
        ("revoked-compromised", parties.STOLEN, "revoked for keyCompromise, days after the signing time", "revoked"),
        ("revoked-before", parties.REPLACED, "revoked as superseded the day before", "revoked"),
        ("revoked-issuer", parties.BELOW_BROKEN, "the issuing authority is revoked for cACompromise", "revoked"),
    ]  # fmt: skip
    content = package()
    made = [(name, signed_data(content, party), reason, says) for name, party, reason, says in found]
    respelled = signed_data(content, BOOTH_BELOW, certificates=[BOOTH_BELOW.der, unused_bit(ISSUING.der)])
    made.append(("unused-bit", respelled, "an authority's signature says that its last bit is unused", "whole octets"))
    return [
        Case(f"certificate-{name}", single(cms), reason, "Signature: certificates", "certificate", says)
        for name, cms, reason, says in made
    ]
