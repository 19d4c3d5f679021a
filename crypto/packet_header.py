"""The public header of a sealed packet: what it says, its one form, and what of it is bound to the content. PURE.

    MAGIC | u32 length, big endian | header, canonical JSON | body

Version 1 has one recipient: the body is HPKE, single shot, and everything before it is its `info`.
Version 2 has two to eight: the header carries one wrap of the content key for each, in the order of their key ids, and a
commitment to that key (docs/decisions/0010). The `info` of every wrap is `prefix()`: the same three pieces with the wraps
left out, the key ids kept. Everything before the body, wraps included, is associated data of the body.

Nothing vouches for a header before the packet is opened: it is good for routing, not for trust.
"""

from __future__ import annotations

import base64
import struct
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from crypto.canonical import canonical_json, read_json
from crypto.errors import CanonicalJsonError, PacketFormatError
from crypto.package import (
    MAX_RECIPIENTS,
    Identity,
    Instant,
    KeyId,
    PacketId,
    Sha256,
    broken_fields,
    read_sequence,
    write_instant,
)
from crypto.recipient import WRAP_BYTES

# Like PNG's: a byte above 127 and both line ends, so that a transfer that changes text is seen in the first bytes.
MAGIC = b"\x89PBOOTH\r\n\x1a\n"
_LENGTH = struct.Struct(">I")
HEADER_AT = len(MAGIC) + _LENGTH.size
MAX_HEADER_BYTES = 16_384  # eight wraps of 1558 characters, and room


def write_wrap(wrap: bytes) -> str:
    """base64url without padding (RFC 4648, 5)."""
    return base64.urlsafe_b64encode(wrap).rstrip(b"=").decode("ascii")


def read_wrap(text: str) -> bytes:
    """The bytes of a wrap whose alphabet and length were checked."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _check_spelling(text: str) -> str:
    if write_wrap(read_wrap(text)) != text:  # the last character has bits that say nothing
        raise ValueError("a wrap in another spelling")
    return text


_WRAP_CHARACTERS = len(write_wrap(bytes(WRAP_BYTES)))


class HeaderFields(BaseModel):
    """What the maker of a packet says of it in public; the rest of the header follows from the recipients and the suite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    packet_id: PacketId
    booth: Identity
    created_at: Instant


class _Header(HeaderFields):
    suite: Annotated[str, Field(max_length=64)]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump() | {"created_at": write_instant(self.created_at)})


class SingleHeader(_Header):
    """Version 1: one recipient."""

    version: Literal[1] = 1
    recipient_key_id: KeyId

    @property
    def recipient_key_ids(self) -> tuple[str, ...]:
        """Whom the packet is for."""
        return (self.recipient_key_id,)

    def prefix(self) -> bytes:
        """The `info` of the body."""
        return framed(self.to_bytes())


class Wrap(BaseModel):
    """The content key for one recipient."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    key_id: KeyId
    wrap: Annotated[
        str, Field(pattern=rf"^[A-Za-z0-9_\-]{{{_WRAP_CHARACTERS}}}\z", repr=False), AfterValidator(_check_spelling)
    ]


def _sorted_by_key_id(recipients: tuple[Wrap, ...]) -> tuple[Wrap, ...]:
    key_ids = [one.key_id for one in recipients]
    if key_ids != sorted(set(key_ids)):
        raise ValueError("key ids must be sorted and distinct")
    return recipients


class SharedHeader(_Header):
    """Version 2: several recipients."""

    version: Literal[2] = 2
    commitment: Sha256
    recipients: Annotated[
        tuple[Wrap, ...],
        Field(min_length=2, max_length=MAX_RECIPIENTS),
        AfterValidator(_sorted_by_key_id),
        BeforeValidator(read_sequence),
    ]

    @property
    def recipient_key_ids(self) -> tuple[str, ...]:
        """Whom the packet is for."""
        return tuple(one.key_id for one in self.recipients)

    def prefix(self) -> bytes:
        """The `info` of every wrap."""
        return shared_prefix(self, self.suite, self.commitment, self.recipient_key_ids)


Header = SingleHeader | SharedHeader
_HEADERS: TypeAdapter[Header] = TypeAdapter(Annotated[Header, Field(discriminator="version")])


def shared_prefix(fields: HeaderFields, suite: str, commitment: str, key_ids: tuple[str, ...]) -> bytes:
    """Magic, length and header of several recipients without the wraps: what exists before the wraps do."""
    value: dict[str, Any] = {name: getattr(fields, name) for name in HeaderFields.model_fields}
    value |= {"created_at": write_instant(fields.created_at), "suite": suite, "commitment": commitment, "version": 2}
    return framed(canonical_json(value | {"recipients": [{"key_id": key_id} for key_id in key_ids]}))


def framed(header: bytes) -> bytes:
    """Magic, length, header: how a packet begins."""
    return MAGIC + _LENGTH.pack(len(header)) + header


def split_packet(packet: bytes) -> tuple[Header, int]:
    """The header of a packet, or of its beginning, and where the body starts."""
    if packet[: len(MAGIC)] != MAGIC:
        raise PacketFormatError("This is not a sealed packet: its first bytes are others.")
    if len(packet) < HEADER_AT:
        raise PacketFormatError("The packet ends before its header.")
    (length,) = _LENGTH.unpack_from(packet, len(MAGIC))
    if length > MAX_HEADER_BYTES or length > len(packet) - HEADER_AT:
        raise PacketFormatError("The packet ends within its header, or says that its header is too long.")
    end = HEADER_AT + length
    raw = packet[HEADER_AT:end]
    try:
        header = _HEADERS.validate_python(read_json(raw, MAX_HEADER_BYTES, "header"))
    except CanonicalJsonError as err:
        raise PacketFormatError(f"The packet's header cannot be read: {err}") from err
    except ValidationError as err:
        raise PacketFormatError(f"The packet's header breaks its schema at {broken_fields(err)}.") from err
    if header.to_bytes() != raw:
        raise PacketFormatError("The packet's header is not in canonical form: it has other bytes when written again.")
    return header, end
