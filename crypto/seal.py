"""Sealed packets: sign, then encrypt; open, then verify. The order is the API.

A sealed packet (docs/packet.md): magic, length of the header (u32, big endian), header in canonical JSON, HPKE output.
Everything before the HPKE output is its `info`, so a changed byte of the header makes decryption fail.

Making one: `build_package` → `sign` (booth's key) → `seal` (for the back office alone); `sign_and_seal` does both and first
compares package, signer and recipient, because a packet that nobody will accept must be told before the applicant leaves.

Opening one, in this order: magic, sizes, header, suite; the key that the header names; HPKE; the signature and its path
for the purpose "booth" at the signing time; the package against its manifest; booth, packet, recipient and time of header,
manifest, certificate and key against each other. Nothing of the content leaves before all of it has passed, and whatever
fails, the caller sees one opaque PacketRefusedError; the reason is its `__cause__`, for the local log only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crypto.canonical import canonical_json, read_canonical_json
from crypto.cms import MAX_FRAME_BYTES, Verified, sign_content, verify_content
from crypto.errors import CanonicalJsonError, CryptoError, PacketFormatError, PacketRefusedError, SealingError
from crypto.keys import RecipientKey, RecipientPublicKey, Signer
from crypto.package import (
    MAX_PACKAGE_BYTES,
    Identity,
    Instant,
    KeyId,
    Manifest,
    PacketId,
    broken_fields,
    read_package,
    write_instant,
)
from crypto.recipient import OVERHEAD_BYTES, SUITE
from crypto.trust import CONTENT_PACKAGE, Purpose, TrustStore, common_name

# Like PNG's: a byte above 127 and both line ends, so that a transfer that changes text is seen in the first bytes.
MAGIC = b"\x89PBOOTH\r\n\x1a\n"
_LENGTH = struct.Struct(">I")
HEADER_AT = len(MAGIC) + _LENGTH.size
MAX_HEADER_BYTES = 4_096
MAX_PACKET_BYTES = HEADER_AT + MAX_HEADER_BYTES + OVERHEAD_BYTES + MAX_PACKAGE_BYTES + MAX_FRAME_BYTES
MEDIA_TYPE = "application/vnd.passbooth.packet"


class HeaderFields(BaseModel):
    """What the maker of a packet says of it in public; the rest of the header follows from recipient and suite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    packet_id: PacketId
    booth: Identity
    created_at: Instant


class Header(HeaderFields):
    """The public header. Before the packet is opened nothing vouches for it: good for routing, not for trust."""

    version: Literal[1] = 1
    recipient_key_id: KeyId
    suite: Annotated[str, Field(max_length=64)]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump() | {"created_at": write_instant(self.created_at)})


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet that passed every check."""

    header: Header
    package_bytes: bytes
    manifest: Manifest
    parts: Mapping[str, bytes]
    signer: x509.Certificate
    signing_time: datetime
    cms: bytes


def sign(package: bytes, signer: Signer, at: datetime) -> bytes:
    """CMS SignedData around a package, by a booth's key."""
    return sign_content(package, CONTENT_PACKAGE, signer, Purpose.BOOTH, at)


def verify(
    cms: bytes, trust: TrustStore, at: datetime | None = None, purpose: Purpose | str = Purpose.BOOTH
) -> Verified:
    """The package inside a CMS and who signed it; the certificates must be valid at `at`, by default the signing time."""
    return verify_content(cms, CONTENT_PACKAGE, MAX_PACKAGE_BYTES, trust, Purpose(purpose), at)


def seal(cms: bytes, header: HeaderFields, recipient: RecipientPublicKey) -> bytes:
    """The sealed packet of a signed package, for one recipient."""
    fields = {name: getattr(header, name) for name in HeaderFields.model_fields}
    public = Header(**fields, recipient_key_id=recipient.key_id, suite=SUITE).to_bytes()
    info = MAGIC + _LENGTH.pack(len(public)) + public
    return info + recipient.encrypt(cms, info)


def sign_and_seal(package: bytes, signer: Signer, recipient: RecipientPublicKey, at: datetime) -> bytes:
    """Signs and seals a package after checking that booth, certificate and recipient belong together."""
    manifest = read_package(package).manifest
    if manifest.booth != common_name(signer.certificate):
        raise SealingError(f"The package names booth {manifest.booth}; the key belongs to another one.")
    if manifest.recipient != recipient.key_id:
        raise SealingError(f"The package names recipient {manifest.recipient}, not {recipient.key_id}.")
    fields = HeaderFields(packet_id=manifest.packet_id, booth=manifest.booth, created_at=manifest.created_at)
    return seal(sign(package, signer, at), fields, recipient)


def read_header(packet: bytes) -> Header:
    """The public header, without any key and without any proof; the first 8 KiB of a packet are enough."""
    return _read_header(packet)[0]


def open_packet(packet: bytes, recipient_keys: Iterable[RecipientKey], trust: TrustStore) -> Opened:
    """The verified content of a packet, or PacketRefusedError."""
    try:
        return _open(packet, recipient_keys, trust)
    except CryptoError as err:
        raise PacketRefusedError from err


def _open(packet: bytes, recipient_keys: Iterable[RecipientKey], trust: TrustStore) -> Opened:
    if len(packet) > MAX_PACKET_BYTES:
        raise PacketFormatError(f"The packet is {len(packet)} bytes long; {MAX_PACKET_BYTES} is the limit.")
    header, end = _read_header(packet)
    if header.suite != SUITE:
        raise PacketFormatError(f"The packet is sealed with an unknown suite; {SUITE} is the only one allowed.")
    key = next((one for one in recipient_keys if one.key_id == header.recipient_key_id), None)
    if key is None:
        raise PacketFormatError(f"The packet is for recipient key {header.recipient_key_id}, which is not here.")
    cms = key.decrypt(memoryview(packet)[end:], packet[:end])
    if cms is None:
        raise PacketFormatError("The packet does not decrypt: header, ciphertext or key differ from what was sealed.")
    verified = verify(cms, trust)
    package = read_package(verified.content)
    manifest = package.manifest
    for what, one, other in (
        ("packet id", header.packet_id, manifest.packet_id),
        ("booth in the header", header.booth, manifest.booth),
        ("booth in the certificate", common_name(verified.signer), manifest.booth),
        ("recipient in the header", header.recipient_key_id, manifest.recipient),
        ("time", header.created_at, manifest.created_at),
    ):
        if one != other:
            raise PacketFormatError(f"The {what} is {one}, but the signed manifest says {other}.")
    return Opened(header, verified.content, manifest, package.parts, verified.signer, verified.signing_time, cms)


def _read_header(packet: bytes) -> tuple[Header, int]:
    """The header and where it ends."""
    if packet[: len(MAGIC)] != MAGIC:
        raise PacketFormatError("This is not a sealed packet: its first bytes are others.")
    if len(packet) < HEADER_AT:
        raise PacketFormatError("The packet ends before its header.")
    (length,) = _LENGTH.unpack_from(packet, len(MAGIC))
    if length > MAX_HEADER_BYTES or length > len(packet) - HEADER_AT:
        raise PacketFormatError("The packet ends within its header, or says that its header is too long.")
    end = HEADER_AT + length
    try:
        header = Header.model_validate(read_canonical_json(packet[HEADER_AT:end], MAX_HEADER_BYTES, "header"))
    except CanonicalJsonError as err:
        raise PacketFormatError(f"The packet's header cannot be read: {err}") from err
    except ValidationError as err:
        raise PacketFormatError(f"The packet's header breaks its schema at {broken_fields(err)}.") from err
    if header.to_bytes() != packet[HEADER_AT:end]:
        raise PacketFormatError("The packet's header does not say the same thing when it is written again.")
    return header, end
