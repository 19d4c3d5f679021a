"""Sealed packets: sign, then encrypt; open, then verify. The order is the API.

A sealed packet (docs/packet.md): magic, length, header (crypto.packet_header), body. With one recipient the body is HPKE and
everything before it its `info`; with several it is AES-256-GCM under a fresh content key, which the header carries wrapped by
HPKE for each, and everything before it is associated data. Either way a changed byte anywhere makes it fail for everybody.

Making one: `build_package` → `sign` (booth's key) → `seal` (for the back office alone); `sign_and_seal` does both and first
compares package, signer, recipients and time, because a packet that nobody will accept must be told before the applicant leaves.

Opening one, in this order: magic, sizes, header, suite; a key that the header names; decryption (several recipients: wrap,
commitment, body); the signature and its path for the purpose "booth" at the signing time; the package against its manifest; booth,
packet, recipients and time of header, manifest, certificate and signature against each other. Nothing of the content leaves
before all of it has passed, and whatever fails, the caller sees one opaque PacketRefusedError; the reason is its `__cause__`,
for the local log only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from crypto.cms import MAX_FRAME_BYTES, Verified, sign_content, verify_content
from crypto.errors import (
    CertificateRefusedError,
    CryptoError,
    PacketFormatError,
    PacketRefusedError,
    SealingError,
    Stage,
)
from crypto.keys import RecipientKey, RecipientPublicKey, Signer
from crypto.package import MAX_PACKAGE_BYTES, MAX_RECIPIENTS, Manifest, Package, read_contents
from crypto.packet_header import (
    HEADER_AT,
    MAGIC,
    MAX_HEADER_BYTES,
    Header,
    HeaderFields,
    SharedHeader,
    SingleHeader,
    Wrap,
    framed,
    read_wrap,
    shared_prefix,
    split_packet,
    write_wrap,
)
from crypto.recipient import OVERHEAD_BYTES, SHARED_SUITE, SUITE, ContentKey, generate_content_key
from crypto.trust import CONTENT_PACKAGE, Purpose, TrustStore, common_name

__all__ = [
    "HEADER_AT",
    "MAGIC",
    "MAX_HEADER_BYTES",
    "MAX_PACKET_BYTES",
    "MAX_SIGNING_DELAY",
    "MEDIA_TYPE",
    "Header",
    "HeaderFields",
    "Opened",
    "open_packet",
    "read_header",
    "seal",
    "sign",
    "sign_and_seal",
    "unseal",
    "verify",
]

MAX_PACKET_BYTES = HEADER_AT + MAX_HEADER_BYTES + OVERHEAD_BYTES + MAX_PACKAGE_BYTES + MAX_FRAME_BYTES
MEDIA_TYPE = "application/vnd.passbooth.packet"
# Both come from the booth's clock within one sealing; more than this apart, one of them was not told by it.
MAX_SIGNING_DELAY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet that passed every check."""

    header: Header
    manifest: Manifest
    parts: Mapping[str, bytes]
    signer: x509.Certificate
    signing_time: datetime
    cms: bytes
    _package: memoryview  # into `cms`

    @property
    def package_bytes(self) -> bytes:
        """The signed package as it came, copied: a ZIP."""
        return bytes(self._package)


def sign(package: bytes, signer: Signer, at: datetime) -> bytes:
    """CMS SignedData around a package, by a booth's key."""
    return sign_content(package, CONTENT_PACKAGE, signer, Purpose.BOOTH, at)


def verify(
    cms: bytes, trust: TrustStore, at: datetime | None = None, purpose: Purpose | str = Purpose.BOOTH
) -> Verified:
    """The package inside a CMS and who signed it; the certificates must be valid at `at`, by default the signing time."""
    return verify_content(cms, CONTENT_PACKAGE, MAX_PACKAGE_BYTES, trust, Purpose(purpose), at)


def seal(cms: bytes, header: HeaderFields, recipients: Sequence[RecipientPublicKey]) -> bytes:
    """The sealed packet of a signed package."""
    chosen = {one.key_id: one for one in sorted(recipients, key=lambda one: one.key_id)}
    if not 1 <= len(chosen) == len(recipients) <= MAX_RECIPIENTS:
        raise SealingError(f"A packet is for 1 to {MAX_RECIPIENTS} different recipients, not for {len(recipients)}.")
    fields = {name: getattr(header, name) for name in HeaderFields.model_fields}
    if len(chosen) == 1:
        (only,) = chosen.values()
        info = SingleHeader(**fields, recipient_key_id=only.key_id, suite=SUITE).prefix()
        return info + only.encrypt(cms, info)
    key = generate_content_key()
    info = shared_prefix(header, SHARED_SUITE, key.commitment, tuple(chosen))
    wraps = tuple(Wrap(key_id=one.key_id, wrap=write_wrap(one.encrypt(key.raw, info))) for one in chosen.values())
    complete = SharedHeader(**fields, suite=SHARED_SUITE, commitment=key.commitment, recipients=wraps)
    before = framed(complete.to_bytes())
    return before + key.encrypt(cms, before)


def sign_and_seal(package: Package, signer: Signer, recipients: Sequence[RecipientPublicKey], at: datetime) -> bytes:
    """Signs and seals a package after checking that booth, certificate, recipients and time belong together."""
    manifest = package.manifest
    if manifest.booth != common_name(signer.certificate):
        raise SealingError(f"The package names booth {manifest.booth}; the key belongs to another one.")
    if manifest.recipients != tuple(sorted(one.key_id for one in recipients)):
        raise SealingError(
            f"The package names the recipients {' '.join(manifest.recipients)}; it is sealed for others."
        )
    if abs(at - manifest.created_at) > MAX_SIGNING_DELAY:
        raise SealingError(f"The package was made at {manifest.created_at}; it cannot be signed at {at}.")
    fields = {name: getattr(manifest, name) for name in HeaderFields.model_fields}
    return seal(sign(package.data, signer, at), HeaderFields.model_construct(**fields), recipients)


def read_header(packet: bytes) -> Header:
    """The public header, without any key and without any proof; the first HEADER_AT + MAX_HEADER_BYTES bytes are enough."""
    return split_packet(packet)[0]


def open_packet(packet: bytes, recipient_keys: Iterable[RecipientKey], trust: TrustStore) -> Opened:
    """The verified content of a packet, or PacketRefusedError."""
    stage: Stage = "header"
    try:
        if len(packet) > MAX_PACKET_BYTES:
            raise PacketFormatError(f"The packet is {len(packet)} bytes long; {MAX_PACKET_BYTES} is the limit.")
        header, end = split_packet(packet)
        stage = "seal"
        cms = _decrypt(packet, header, end, recipient_keys)
        stage = "signature"
        verified = verify(cms, trust)
        stage = "package"
        manifest, parts = read_contents(verified.view)
        stage = "binding"
        _check_together(header, manifest, verified)
    except CryptoError as err:
        raise PacketRefusedError("certificate" if isinstance(err, CertificateRefusedError) else stage) from err
    return Opened(header, manifest, parts, verified.signer, verified.signing_time, cms, verified.view)


def unseal(packet: bytes, recipient_keys: Iterable[RecipientKey]) -> tuple[Header, bytes]:
    """The header and the signed data of a packet, of which nothing is verified yet. Raises PacketFormatError."""
    if len(packet) > MAX_PACKET_BYTES:
        raise PacketFormatError(f"The packet is {len(packet)} bytes long; {MAX_PACKET_BYTES} is the limit.")
    header, end = split_packet(packet)
    return header, _decrypt(packet, header, end, recipient_keys)


def _decrypt(packet: bytes, header: Header, end: int, recipient_keys: Iterable[RecipientKey]) -> bytes:
    suite = SUITE if isinstance(header, SingleHeader) else SHARED_SUITE
    if header.suite != suite:
        raise PacketFormatError(f"The packet is sealed with an unknown suite; {suite} is the only one allowed.")
    named = header.recipient_key_ids
    key = next((one for one in recipient_keys if one.key_id in named), None)
    if key is None:
        raise PacketFormatError(f"The packet is for recipient key {' '.join(named)}, which is not here.")
    body, before = memoryview(packet)[end:], packet[:end]
    if isinstance(header, SingleHeader):
        cms = key.decrypt(body, before)
    else:
        wrap = header.recipients[named.index(key.key_id)].wrap
        content_key = key.decrypt(read_wrap(wrap), header.prefix())
        if content_key is None:
            raise PacketFormatError(
                "The content key does not decrypt: header, wrap or key differ from what was sealed."
            )
        shared = ContentKey(content_key)
        if shared.commitment != header.commitment:
            raise PacketFormatError("The content key is not the one that the header commits to for every recipient.")
        cms = shared.decrypt(body, before)
    if cms is None:
        raise PacketFormatError("The packet does not decrypt: header, ciphertext or key differ from what was sealed.")
    return cms


def _check_together(header: Header, manifest: Manifest, verified: Verified) -> None:
    for what, one, other in (
        ("packet id", header.packet_id, manifest.packet_id),
        ("booth in the header", header.booth, manifest.booth),
        ("booth in the certificate", common_name(verified.signer), manifest.booth),
        ("recipients in the header", header.recipient_key_ids, manifest.recipients),
        ("time", header.created_at, manifest.created_at),
    ):
        if one != other:
            raise PacketFormatError(f"The {what}: {one}, but the signed manifest says {other}.")
    if abs(verified.signing_time - manifest.created_at) > MAX_SIGNING_DELAY:
        raise PacketFormatError(
            f"The package says that it was made at {manifest.created_at}, but it was signed at {verified.signing_time}."
        )
