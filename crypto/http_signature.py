"""Signed requests of a booth, or of a producer, to the intake: HTTP Message Signatures (RFC 9421), Content-Digest (RFC 9530).

Both sides use this file. The booth's certificate travels in `Booth-Certificate` (a list of byte sequences, the booth's first)
and is itself covered; the usual `Client-Cert` (RFC 9440) belongs to proxies, which must remove it from what clients send.

Covered, in this order, nothing more or less: "@method" "@target-uri" "booth-certificate", and for methods with content
(PUT, POST, PATCH) "content-digest" "content-length"; then those of "booth-software" "passbooth-application" "passbooth-status" "upload-complete"
"upload-length" "upload-offset" that the request has: none can be added, changed or taken away. Parameters: created, keyid (SHA-256 of the
certificate), nonce, alg ecdsa-p384-sha384, tag "passbooth". Other methods carry no content.

Verifying, in this order: each header once and small; certificate and its path for the purpose asked for ("booth" or "producer") now; the signature
over exactly the covered components; the clock, ±300 s; the body against length and digest. A server calls
`verify_request_head` before it reads a large body, then compares what it read with `content_sha256` and `content_length`.
Remembering nonces for the length of the window is the server's part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver, VerifyResult
from http_message_signatures.algorithms import ECDSA_P384_SHA384
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from crypto.certificate import read_certificate
from crypto.errors import (
    CertificateRefusedError,
    CertificateRevokedError,
    RequestClockError,
    RequestRevokedError,
    RequestSignatureError,
    SigningError,
)
from crypto.keys import Signer
from crypto.trust import MAX_CERTIFICATES, Purpose, TrustStore, common_name

WINDOW_S = 300
LABEL = "booth"
TAG = "passbooth"
CERTIFICATE_HEADER = "Booth-Certificate"
MAX_HEADER_CHARACTERS = 16_384
METHODS_WITH_CONTENT = frozenset({"PUT", "POST", "PATCH"})
NONCE_BYTES = 16
_ALWAYS = ("@method", "@target-uri", "booth-certificate")
_CONTENT = ("content-digest", "content-length")
_WHEN_SENT = (
    "booth-software",
    "passbooth-application",
    "passbooth-status",
    "upload-complete",
    "upload-length",
    "upload-offset",
)
_MADE_HERE = ("signature", "signature-input", "booth-certificate", *_CONTENT)
_READ_ONCE = (*_MADE_HERE, *_WHEN_SENT)
_PARAMETERS = {"created", "keyid", "nonce", "alg", "tag"}
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,14}")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_PLAIN_INPUT = re.compile(
    LABEL
    + r'=(?P<parameters>\((?P<covered>[a-z@" -]*)\);created=(?P<created>0|[1-9][0-9]{0,11});keyid="(?P<keyid>[0-9a-f]{64})"'
    r';alg="ecdsa-p384-sha384";nonce="(?P<nonce>[A-Za-z0-9_-]{16,64})";tag="' + TAG + '")'
)
_SIMPLE = re.compile(
    r"[!-~](?:[ -~]*[!-~])?"
)  # a value that no reader changes: printable ASCII without spaces around it
_PLAIN_SIGNATURE = re.compile(LABEL + r"=:([A-Za-z0-9+/]{128}):")  # 96 octets fill 128 characters
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class VerifiedRequest:
    """Who sent a request, and which content the signature names."""

    certificate: x509.Certificate
    booth_id: str  # or the producer's name
    nonce: str
    created: datetime
    content_sha256: str
    content_length: int


@dataclass(frozen=True, slots=True)
class _Sender:
    """What the certificates of a request say, whoever trusts them."""

    leaf: x509.Certificate
    others: tuple[x509.Certificate, ...]
    name: str
    thumbprint: str
    key: ec.EllipticCurvePublicKey


# Certificates of senders whose signature was right, by the header's text: booths send many requests, and what a certificate says does not change
# with its bytes. Only reading is saved: trust, time and signature are judged for each request. A booth's text has 1 to 4 kB.
_SENDERS: dict[str, _Sender] = {}
_REMEMBERING = threading.Lock()
_REMEMBERED_SENDERS = 2048
_REMEMBERED_CHARACTERS = 6_144  # a longer text is read each time: whoever has one key cannot fill the memory with certificates of his own making


@dataclass(slots=True)
class _Message:
    """A request as the library wants it."""

    method: str
    url: str
    headers: dict[str, str]


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: timedelta | None = None) -> None:
        """The clock is judged here against the caller's time, after the signature."""


def sign_request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    signer: Signer,
    *,
    created: datetime | None = None,
    nonce: str | None = None,
) -> dict[str, str]:
    """The headers to add to a request: certificate, digest and length of the content, signature.

    `headers` are those already set; they may not hold any of the headers that are made here.
    """
    if clash := {name.lower() for name in headers}.intersection(_MADE_HERE):
        raise RequestSignatureError(f"The request already has a header {clash.pop()}: it is made by signing.")
    has_content = method in METHODS_WITH_CONTENT
    if body and not has_content:
        raise RequestSignatureError(f"A {method} request carries no content.")
    chain = [signer.certificate, *signer.chain]
    added = {CERTIFICATE_HEADER: ", ".join(_byte_sequence(_der(one)) for one in chain)}
    if has_content:
        added["Content-Digest"] = f"sha-256={_byte_sequence(hashlib.sha256(body).digest())}"
        added["Content-Length"] = str(len(body))
    covered_too = {name: value for name, value in headers.items() if name.lower() in _WHEN_SENT}
    message = _Message(method, url, added | covered_too)
    library = HTTPMessageSigner(signature_algorithm=ECDSA_P384_SHA384)
    try:
        prepared = library.prepare(
            message,
            key_id=_thumbprint(signer.certificate),
            created=created or datetime.now(UTC),
            nonce=nonce or secrets.token_urlsafe(NONCE_BYTES),
            label=LABEL,
            tag=TAG,
            covered_component_ids=_covered(method, covered_too),
            use_existing_digest=has_content,
        )
    except HTTPMessageSignaturesException as err:
        raise RequestSignatureError("The request cannot be signed: its method or address is not a proper one.") from err
    try:
        signature = ECDSA_P384_SHA384.signature_from_der(signer.sign(prepared.signature_base))
        library.apply(message, prepared, signature)
    except HTTPMessageSignaturesException as err:
        raise SigningError("The signing key did not give a P-384 signature.") from err
    return {name: value for name, value in message.headers.items() if name not in covered_too}


def verify_request(
    method: str, url: str, headers: Mapping[str, str], body: bytes, trust: TrustStore, now: datetime
) -> VerifiedRequest:
    """The proven sender of a complete request, or RequestSignatureError, RequestClockError."""
    request = verify_request_head(method, url, headers, trust, now)
    check_content(request, len(body), hashlib.sha256(body).hexdigest())
    return request


def check_content(request: VerifiedRequest, length: int, sha256: str) -> None:
    """That the content that arrived is the content that was signed."""
    if length != request.content_length or not hmac.compare_digest(sha256, request.content_sha256):
        raise RequestSignatureError("The request's content is not the one that was signed.")


def claimed_sender(headers: Mapping[str, str]) -> str:
    """Whom the request's certificate names: no proof of anything, only whose trust roots to judge it by. Raises RequestSignatureError."""
    try:
        return common_name(_read_certificates(_read_once(headers))[0])
    except CertificateRefusedError as err:
        raise RequestSignatureError("The request's certificate does not say whose it is.") from err


def verify_request_head(
    method: str,
    url: str,
    headers: Mapping[str, str],
    trust: TrustStore,
    now: datetime,
    purpose: Purpose = Purpose.BOOTH,
) -> VerifiedRequest:
    """The proven sender by the headers alone, before any content is read; the content still has to be checked.

    Raises RequestSignatureError, RequestClockError; RequestRevokedError when the signature holds and the certificate was revoked.
    """
    fields = _read_once(headers)
    text = fields.get("booth-certificate", "")
    sender = _SENDERS.get(text) or _read_sender(fields)
    try:
        trust.path(sender.leaf, sender.others, purpose, now)
    except CertificateRevokedError as err:
        _verify(_Message(method, url, fields), sender.leaf)  # only who has the key is told
        raise RequestRevokedError(sender.name, sender.leaf.serial_number) from err
    except CertificateRefusedError as err:
        raise RequestSignatureError(f"The request's certificate is refused: {err}") from err
    message = _Message(method, url, fields)
    created, nonce = _verify_plain(message, sender) or _read_parameters(_verify(message, sender.leaf), method, fields)
    if text not in _SENDERS and len(text) <= _REMEMBERED_CHARACTERS:
        with _REMEMBERING:
            while len(_SENDERS) >= _REMEMBERED_SENDERS:
                del _SENDERS[next(iter(_SENDERS))]
            _SENDERS[text] = sender
    if abs(now.timestamp() - created) > WINDOW_S:
        raise RequestClockError(f"The request was signed {now.timestamp() - created:+.0f} s away from this clock.")
    if method in METHODS_WITH_CONTENT:
        length, sha256 = _read_content_fields(fields)
    elif fields.get("content-length", "0") != "0" or "transfer-encoding" in {name.lower() for name in headers}:
        raise RequestSignatureError(f"A {method} request carries no content.")
    else:
        length, sha256 = 0, _EMPTY_SHA256
    return VerifiedRequest(sender.leaf, sender.name, nonce, datetime.fromtimestamp(created, UTC), sha256, length)


def _verify_plain(message: _Message, sender: _Sender) -> tuple[int, str] | None:
    """Time and nonce of a right signature over exactly the covered components in exactly the spelling that `sign_request` writes.

    None for anything else, a wrong signature too: then the library judges, which knows every spelling of RFC 9421 and takes four times as long.
    """
    fields = message.headers
    told = _PLAIN_INPUT.fullmatch(fields.get("signature-input", ""))
    signature = _PLAIN_SIGNATURE.fullmatch(fields.get("signature", ""))
    if told is None or signature is None or told["keyid"] != sender.thumbprint:
        return None
    names = _covered(message.method, fields)
    if told["covered"] != " ".join(f'"{name}"' for name in names):
        return None
    values = {"@method": message.method, "@target-uri": message.url} | fields
    if any(name not in values or not _SIMPLE.fullmatch(values[name]) for name in names):
        return None
    base = [f'"{name}": {values[name]}' for name in names]  # RFC 9421, 2.5
    base.append(f'"@signature-params": {told["parameters"]}')
    r_and_s = base64.b64decode(signature[1])
    r, s = (int.from_bytes(half, "big") for half in (r_and_s[:48], r_and_s[48:]))
    try:
        sender.key.verify(encode_dss_signature(r, s), "\n".join(base).encode(), ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        return None
    return int(told["created"]), told["nonce"]


def _read_parameters(result: VerifyResult, method: str, fields: Mapping[str, str]) -> tuple[int, str]:
    """Time and nonce of a signature that the library found right, when it covers what it must and says no more than it must."""
    if tuple(result.covered_components) != (*(f'"{name}"' for name in _covered(method, fields)), '"@signature-params"'):
        raise RequestSignatureError("The request's signature does not cover exactly what it must.")
    created, nonce = result.parameters.get("created"), result.nonce
    if set(result.parameters) != _PARAMETERS or not isinstance(created, int) or not _NONCE.fullmatch(nonce or ""):
        raise RequestSignatureError("The request's signature does not have exactly the parameters it must.")
    return created, nonce or ""


def _verify(message: _Message, leaf: x509.Certificate) -> VerifyResult:
    keys = MappingKeyResolver(public_keys={_thumbprint(leaf): leaf.public_key()}, private_keys={})  # type: ignore[dict-item]
    verifier = _Verifier(signature_algorithm=ECDSA_P384_SHA384, key_resolver=keys)
    try:
        results: list[VerifyResult] = verifier.verify(message, max_age=None, expect_tag=TAG)
    except HTTPMessageSignaturesException as err:
        raise RequestSignatureError("The request's signature is missing, malformed or wrong.") from err
    if len(results) != 1 or results[0].label != LABEL:
        raise RequestSignatureError("The request does not have exactly one signature of ours.")
    return results[0]


def _read_once(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that count, each at most once (`items()` of a server's header map shows repeated lines)."""
    fields: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower not in _READ_ONCE:
            continue
        if lower in fields:
            raise RequestSignatureError(f"The request has the header {lower} twice.")
        if len(value) > MAX_HEADER_CHARACTERS or not value.isascii():
            raise RequestSignatureError(f"The request's header {lower} is too long or not ASCII.")
        fields[lower] = value
    return fields


def _read_certificates(fields: Mapping[str, str]) -> list[x509.Certificate]:
    items = fields.get("booth-certificate", "").split(", ")
    if len(items) > MAX_CERTIFICATES:
        raise RequestSignatureError(f"The request carries more than {MAX_CERTIFICATES} certificates.")
    try:
        return [read_certificate(_read_byte_sequence(item)) for item in items]
    except (binascii.Error, CertificateRefusedError) as err:
        raise RequestSignatureError("The request carries no certificate that can be read.") from err


def _read_sender(fields: Mapping[str, str]) -> _Sender:
    leaf, *others = _read_certificates(fields)
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise RequestSignatureError("The request's certificate has no P-384 key.")
    try:
        return _Sender(leaf, tuple(others), common_name(leaf), _thumbprint(leaf), key)
    except CertificateRefusedError as err:
        raise RequestSignatureError(f"The request's certificate is refused: {err}") from err


def _read_content_fields(fields: Mapping[str, str]) -> tuple[int, str]:
    digest = _DIGEST.fullmatch(fields.get("content-digest", ""))
    length = fields.get("content-length", "")
    if digest is None or not _LENGTH.fullmatch(length):
        raise RequestSignatureError("The request does not give its content's length and SHA-256 as it must.")
    return int(length), base64.b64decode(digest[1]).hex()


def _covered(method: str, headers: Collection[str]) -> tuple[str, ...]:
    sent = {name.lower() for name in headers}
    return (
        *_ALWAYS,
        *(_CONTENT if method in METHODS_WITH_CONTENT else ()),
        *(name for name in _WHEN_SENT if name in sent),
    )


def _byte_sequence(data: bytes) -> str:
    return f":{base64.b64encode(data).decode('ascii')}:"


def _read_byte_sequence(text: str) -> bytes:
    if len(text) < 3 or text[0] != ":" or text[-1] != ":":
        raise binascii.Error("no byte sequence")
    return base64.b64decode(text[1:-1], validate=True)


def _thumbprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
