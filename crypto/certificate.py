"""Certificates that strangers send: the frame is checked as bytes before the library reads it.

The library forgives, with a warning, what RFC 5280 forbids: serial numbers that are not positive, names of a wrong length. Here it is
refused, and so is what we have no use for: unique identifiers, signature algorithms outside the allow-list or with parameters.
Extensions are not read here: crypto.trust does that after the signatures up to a root are verified.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from crypto.der import BIT_STRING, INTEGER, OID, SEQUENCE, SET, TAG_0, TAG_3, element, oid, read
from crypto.errors import CertificateRefusedError

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

MAX_CERTIFICATE_BYTES = 8_192
MAX_SERIAL_BITS = 159  # RFC 5280, 4.1.2.2: 20 octets, positive
CURVES = ("secp256r1", "secp384r1", "secp521r1")
HASHES = ("sha256", "sha384", "sha512")
SIGNATURE_ALGORITHMS = tuple(
    oid(f"1.2.840.10045.4.3.{n}") for n in (2, 3, 4)
)  # ecdsa-with-SHA256, -SHA384, -SHA512 (RFC 5758)
# First octet of a signature's BIT STRING: no unused bits. The library reads others alike, so one certificate had two spellings.
WHOLE_OCTETS = b"\x00"
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s([A-Za-z0-9+/=\s]*)-----END \1-----\s*")
_UTF8, _PRINTABLE = 0x0C, 0x13
# Name attributes with a length of their own (RFC 5280, appendix A.1): common name, country, country of jurisdiction.
_LENGTHS = {
    oid("2.5.4.3"): range(1, 65),
    oid("2.5.4.6"): range(2, 3),
    oid("1.3.6.1.4.1.311.60.2.1.3"): range(2, 3),
}
# What the library raises on bytes that it cannot read, or can read and does not know.
PARSE_ERRORS = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)


def pem_blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Label and content of every block of a PEM file, which holds nothing else; ValueError (also binascii's) when it does."""
    at = len(data) - len(data.lstrip())
    while at < len(data):
        block = _PEM_BLOCK.match(data, at)
        if block is None:
            raise ValueError("something else stands between PEM blocks")
        yield block[1], base64.b64decode(b"".join(block[2].split()), validate=True)
        at = block.end()


def read_certificate(der: bytes) -> x509.Certificate:
    """A certificate from another side: frame, names and public key are readable, nothing is believed yet."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise CertificateRefusedError(f"A certificate is {len(der)} bytes long; {MAX_CERTIFICATE_BYTES} is the limit.")
    try:
        _check_frame(memoryview(der))
        certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
        _ = certificate.subject, certificate.issuer
    except PARSE_ERRORS as err:
        raise CertificateRefusedError("A certificate cannot be read.") from err
    return certificate


def _check_frame(der: memoryview) -> None:
    """Version 3, serial number, algorithm named alike twice, signature in whole octets, names (RFC 5280, 4.1)."""
    whole, rest = read(der, SEQUENCE)
    body, signature = read(whole, SEQUENCE)
    _, fields = read(body, TAG_0)
    serial, fields = read(fields, INTEGER)
    inner, fields = read(fields, SEQUENCE)
    outer, signature = read(signature, SEQUENCE)
    bits, beyond = read(signature, BIT_STRING)
    issuer, fields = read(fields, SEQUENCE)
    _, fields = read(fields, SEQUENCE)
    subject, fields = read(fields, SEQUENCE)
    _, fields = read(fields, SEQUENCE)
    _, after = read(fields, TAG_3)
    if rest or after or not 0 < int.from_bytes(serial, "big", signed=True) < 1 << MAX_SERIAL_BITS:
        raise CertificateRefusedError("A certificate has fields or a serial number that are not allowed.")
    if beyond or bytes(bits[:1]) != WHOLE_OCTETS:
        raise CertificateRefusedError("A certificate's signature is not made of whole octets.")
    if inner not in SIGNATURE_ALGORITHMS or inner != outer:
        raise CertificateRefusedError("A certificate is signed by an algorithm that is not allowed.")
    for name in (issuer, subject):
        check_name(name)


def check_name(name: memoryview) -> None:
    """That the attributes of a name have lengths that the library reads without a warning."""
    while name:
        attributes, name = read(name, SET)
        while attributes:
            attribute, attributes = read(attributes, SEQUENCE)
            kind, value = read(attribute, OID)
            lengths = _LENGTHS.get(element(OID, kind))
            if lengths is None:
                continue
            text, _ = read(value, _UTF8 if bytes(value[:1]) == bytes((_UTF8,)) else _PRINTABLE)
            if len(text) not in lengths:
                raise CertificateRefusedError("A certificate holds a name of a length that is not allowed.")


def extension_of(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    """An extension's value, or None when the certificate does not have it."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def name_of(certificate: x509.Certificate) -> str:
    """A certificate's subject for messages."""
    return ascii(certificate.subject.rfc4514_string()[:200])
