"""Application slips: what the code on the counter's paper says, and the centre's signature over it. PURE.

The text is `PB1` and base32 (RFC 4648, capitals, no padding), so that it fits the alphanumeric mode of QR codes and code set B of Code 128. Its bytes:

    version 1 (1) · last valid day, days since 2000-01-01 (2) · length (1), centre · length (1), number · key id (8) · signature, r and s (64)

The signature is ECDSA with P-256 and SHA-256 over `passbooth slip v1`, a zero octet and everything before it. Whoever has the centre's certificate
verifies it without a network.

Read in this order: form (one text for one slip: canonical base32, number in its one form, s in the lower half of its range, nothing left over) →
the centre's key, by the id → the centre's name → the signature → only then the day. So an expired slip is a genuine one. Nothing of a slip stands in
an error.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from crypto.application import parse_number
from crypto.errors import (
    ApplicationNumberError,
    CertificateRefusedError,
    SealingError,
    SlipExpiredError,
    SlipForgedError,
    SlipMalformedError,
    SlipUnknownCentreError,
)
from crypto.trust import common_name

PREFIX = "PB1"
VERSION = 1
SIGNED_CONTEXT = b"passbooth slip v1\0"
KEY_ID_BYTES = 8
MAX_CENTRE = 64
EPOCH = date(2000, 1, 1)
_HALF = 32  # octets of r and of s on P-256
SIGNATURE_BYTES = 2 * _HALF
MAX_BYTES = 1 + 2 + 1 + MAX_CENTRE + 1 + 20 + KEY_ID_BYTES + SIGNATURE_BYTES
MAX_TEXT = len(PREFIX) + -(-MAX_BYTES * 8 // 5)
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2, 2.4.2)
_CENTRE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # as certificates name their holders
_TEXT = re.compile(r"PB1([A-Z2-7]+)")


@dataclass(frozen=True, slots=True)
class Slip:
    """What a slip says: the number in its one form, the last day on which it counts, who gave it out and with which key."""

    number: str = field(repr=False)
    expires: date
    centre: str
    key_id: bytes


@dataclass(frozen=True, slots=True)
class Centre:
    """Who may sign slips: the name and the key of a centre's certificate, whose path to a root is verified."""

    name: str
    key_id: bytes
    public_key: ec.EllipticCurvePublicKey = field(repr=False)


def centre_of(certificate: x509.Certificate) -> Centre:
    """The centre of a certificate. Raises CertificateRefusedError when its key is not on P-256; its path is not judged here."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateRefusedError("A centre's certificate has no P-256 key.")
    return Centre(common_name(certificate), key_id_of(key), key)


def key_id_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """What names a centre's key on a slip: the beginning of SHA-256 over its SubjectPublicKeyInfo."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).digest()[:KEY_ID_BYTES]


def write_slip(slip: Slip, sign: Callable[[bytes], bytes]) -> str:
    """The text of a slip. `sign` is the centre's signer: ECDSA with P-256 and SHA-256, as DER. Raises SealingError."""
    days = (slip.expires - EPOCH).days
    try:
        canonical = parse_number(slip.number) == slip.number
    except ApplicationNumberError:
        canonical = False
    if (
        not canonical
        or not _CENTRE.fullmatch(slip.centre)
        or len(slip.key_id) != KEY_ID_BYTES
        or not 0 <= days < 1 << 16
    ):
        raise SealingError("The slip's number, day, centre or key id cannot be written.")
    centre, number = slip.centre.encode("ascii"), slip.number.encode("ascii")
    body = bytes((VERSION,)) + days.to_bytes(2, "big") + bytes((len(centre),)) + centre
    body += bytes((len(number),)) + number + slip.key_id
    try:
        r, s = decode_dss_signature(sign(SIGNED_CONTEXT + body))
    except ValueError as err:
        raise SealingError("The centre's key gave no signature in DER form.") from err
    if not (0 < r < _ORDER and 0 < s < _ORDER):
        raise SealingError("The centre's key is not on P-256.")
    s = min(s, _ORDER - s)
    return _to_text(body + r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big"))


def is_slip(text: str) -> bool:
    """Whether a scanned text claims to be a slip; other codes are somebody else's, and a number may begin with these letters too."""
    if not text.startswith(PREFIX):
        return False
    try:
        parse_number(text)  # the shortest slip is longer than the longest number
    except ApplicationNumberError:
        return True
    return False


def claimed_number(text: str) -> str:
    """The number that a slip claims, whoever signed it: to look an application up by, as if it had been typed. Raises SlipMalformedError."""
    return _read_body(_to_bytes(text)[:-SIGNATURE_BYTES]).number


def read_slip(text: str, centres: Mapping[bytes, Centre], today: date) -> Slip:
    """What a slip says, now that a centre of `centres` (by key id) signed it and its day has not passed.

    Raises SlipMalformedError, SlipUnknownCentreError, SlipForgedError, SlipExpiredError.
    """
    data = _to_bytes(text)
    signature = data[-SIGNATURE_BYTES:]
    body = data[:-SIGNATURE_BYTES]
    slip = _read_body(body)
    r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
    if not (0 < r < _ORDER and 0 < s <= _ORDER // 2):
        raise SlipMalformedError("A slip's signature is out of its range.")
    centre = centres.get(slip.key_id)
    if centre is None:
        raise SlipUnknownCentreError("A slip was signed with a key that is no trusted centre's.")
    if centre.name != slip.centre:
        raise SlipForgedError("A slip names another centre than its key's.")
    try:
        centre.public_key.verify(encode_dss_signature(r, s), SIGNED_CONTEXT + body, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as err:
        raise SlipForgedError("A slip's signature is wrong.") from err
    if today > slip.expires:
        raise SlipExpiredError("A slip's last day has passed.")
    return slip


def _read_body(body: bytes) -> Slip:
    if len(body) < 4 or body[0] != VERSION:
        raise SlipMalformedError("A slip is cut off, or of another version.")
    days = int.from_bytes(body[1:3], "big")
    centre, rest = _field(body[3:])
    number, key_id = _field(rest)
    if len(key_id) != KEY_ID_BYTES:
        raise SlipMalformedError("A slip is cut off, or goes on after its end.")
    if not _CENTRE.fullmatch(centre):
        raise SlipMalformedError("A slip's centre is no name.")
    try:
        canonical = parse_number(number)
    except ApplicationNumberError as err:
        raise SlipMalformedError("A slip's number is no application number.") from err
    if canonical != number:
        raise SlipMalformedError("A slip's number is not in its one form.")
    return Slip(number, EPOCH + timedelta(days=days), centre, key_id)


def _field(data: bytes) -> tuple[str, bytes]:
    """A text with its length before it, and what follows."""
    end = 1 + data[0] if data else 0
    if not 0 < end <= len(data):
        raise SlipMalformedError("A slip is cut off.")
    try:
        return data[1:end].decode("ascii"), data[end:]
    except UnicodeDecodeError as err:
        raise SlipMalformedError("A slip holds characters that are not allowed.") from err


def _to_text(data: bytes) -> str:
    return PREFIX + base64.b32encode(data).decode("ascii").rstrip("=")


def _to_bytes(text: str) -> bytes:
    matched = _TEXT.fullmatch(text) if len(text) <= MAX_TEXT else None
    if matched is None:
        raise SlipMalformedError("A text is no slip, or longer than any slip.")
    digits = matched[1]
    try:
        data = base64.b32decode(digits + "=" * (-len(digits) % 8))
    except binascii.Error as err:
        raise SlipMalformedError("A slip is cut off.") from err
    if _to_text(data) != text:
        raise SlipMalformedError("A slip is not spelt in its one way.")
    if len(data) <= SIGNATURE_BYTES:
        raise SlipMalformedError("A slip is cut off.")
    return data
