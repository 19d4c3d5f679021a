"""The biometric package: named parts and the manifest that names each by size and SHA-256. PURE.

A package is a ZIP that any `unzip` opens and that has exactly one byte sequence for given parts (docs/packet.md):
`manifest.json` first, then the parts sorted by name; stored, never compressed; one fixed time stamp; no extra fields, no
comments, no folder entries, no zip64. The writer makes nothing else and the reader accepts nothing else.

Reading, in this order: size limit; local headers one after another from offset 0, every fixed field compared, sizes
checked against what is left before anything is copied; the directory at the end compared byte for byte with the only
right one; the manifest (canonical JSON, schema); every part's size and SHA-256 against the manifest.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from crypto.canonical import canonical_json, read_json
from crypto.errors import CanonicalJsonError, PackageError

MANIFEST = "manifest.json"
# With its seal a package of this size stays below the intake's limit of 20 MiB (server settings; product.md "a packet").
MAX_PACKAGE_BYTES = 20_000_000
MAX_MANIFEST_BYTES = 65_536
MAX_PARTS = 64
MAX_NAME_BYTES = 100
# The presentation attack check's folder: a score and a few small pictures (docs/pad.md), never a film of a person.
PAD_FOLDER, MAX_PAD_BYTES = "pad/", 400_000
# The back office, its next key while two overlap, and a few offices more; bounds the header of a sealed packet too.
MAX_RECIPIENTS = 8
# Lower-case names with at most one folder; no part of a name starts with a dot, so neither `..` nor hidden files.
PART_NAME = re.compile(r"(?:[a-z0-9_][a-z0-9_.\-]*/)?[a-z0-9_][a-z0-9_.\-]*")

# ZIP, APPNOTE 6.3.10: 4.3.7 local header, 4.3.12 central directory, 4.3.16 end record.
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_SIGNATURE, _CENTRAL_SIGNATURE, _END_SIGNATURE = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION = 20  # 2.0: stored files in folders (APPNOTE 4.4.3.2)
_MADE_BY = 3 << 8 | _VERSION  # 3 = UNIX, so that the permissions below count
_STORED = 0
_TIME, _DATE = 0, 0x0021  # 1980-01-01 00:00, the earliest a ZIP can say: packages carry their time in the manifest
_ATTRIBUTES = 0o100600 << 16  # a regular file that only its owner reads
_FIXED = (_VERSION, 0, _STORED, _TIME, _DATE)


def read_instant(value: Any) -> datetime:
    """A UTC time to the second: an aware datetime (cut to seconds) or exactly `YYYY-MM-DDTHH:MM:SSZ`."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time without its zone")
        return value.astimezone(UTC).replace(microsecond=0)
    if not isinstance(value, str):
        raise ValueError("not a time")  # noqa: TRY004 - pydantic turns only ValueError into a validation error
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None or write_instant(instant) != value:
        raise ValueError("a time in another spelling")
    return instant


def write_instant(instant: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`; four digits of year on every platform."""
    return instant.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def read_sequence(value: Any) -> Any:
    """A JSON array as the tuple that a frozen model keeps; anything else is left to the schema to refuse."""
    return tuple(value) if isinstance(value, list) else value


def _sorted_and_distinct(key_ids: tuple[str, ...]) -> tuple[str, ...]:
    if list(key_ids) != sorted(set(key_ids)):
        raise ValueError("key ids must be sorted and distinct")
    return key_ids


Instant = Annotated[datetime, BeforeValidator(read_instant)]
PacketId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\z")]
Identity = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,63}\z")]
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}\z")]
KeyIds = Annotated[
    tuple[KeyId, ...],
    Field(min_length=1, max_length=MAX_RECIPIENTS),
    AfterValidator(_sorted_and_distinct),
    BeforeValidator(read_sequence),
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]


class PartFacts(BaseModel):
    """What the manifest says of one part."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: Annotated[int, Field(ge=0, le=MAX_PACKAGE_BYTES)]
    sha256: Sha256


class ManifestFields(BaseModel):
    """What the maker of a package says of it; sizes and digests are computed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    packet_id: PacketId
    booth: Identity
    centre: Identity
    recipients: KeyIds
    created_at: Instant


class Manifest(ManifestFields):
    """The signed table of contents: who made the package, for whom, and every part by size and SHA-256."""

    schema_version: Literal[1] = 1
    parts: dict[str, PartFacts]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump() | {"created_at": write_instant(self.created_at)})


@dataclass(frozen=True, slots=True)
class Package:
    """A package as `build_package` made it or `read_package` checked it: the three say the same.

    Who made it is a question for the signature.
    """

    manifest: Manifest
    parts: Mapping[str, bytes] = field(repr=False)
    data: bytes = field(repr=False)


def build_package(fields: ManifestFields, parts: Mapping[str, bytes]) -> Package:
    """The package of these parts: same input, same bytes. What comes out need not be read again."""
    if not parts:
        raise PackageError("A package needs at least one part.")
    if len(parts) > MAX_PARTS:
        raise PackageError(f"{len(parts)} parts; {MAX_PARTS} is the limit.")
    _check_names(parts)
    facts = {
        name: PartFacts(size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in parts.items()
        if _check_size(name, len(data))
    }
    _check_pad(facts)
    manifest = Manifest(**{name: getattr(fields, name) for name in ManifestFields.model_fields}, parts=facts)
    content = {name: bytes(parts[name]) for name in sorted(parts)}
    pieces: list[bytes] = []
    table: list[tuple[str, int, int]] = []
    for name, data in ((MANIFEST, manifest.to_bytes()), *content.items()):
        crc = zlib.crc32(data)
        pieces += (_LOCAL.pack(*_local_fields(name, crc, len(data))), name.encode("ascii"), data)
        table.append((name, crc, len(data)))
    pieces.append(_directory(table))
    total = sum(map(len, pieces))
    if total > MAX_PACKAGE_BYTES:
        raise PackageError(f"The package would be {total} bytes long; {MAX_PACKAGE_BYTES} is the limit.")
    return Package(manifest, content, b"".join(pieces))


def read_package(data: bytes) -> Package:
    """The package in `data`, or PackageError: nothing but the one canonical form is accepted."""
    manifest, parts = read_contents(memoryview(data))
    return Package(manifest, parts, data)


def read_contents(data: memoryview) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and parts of the package in `data`, which is not copied but for the parts. Raises PackageError."""
    entries = _read_entries(data)
    if not entries or entries[0][0] != MANIFEST:
        raise PackageError(f"The package does not start with {MANIFEST}.")
    manifest = read_manifest(entries[0][1])
    parts = dict(entries[1:])
    if list(parts) != sorted(manifest.parts) or len(parts) != len(entries) - 1:
        raise PackageError("The package does not hold exactly the parts that its manifest names, in their order.")
    for name, content in parts.items():
        facts = manifest.parts[name]
        if facts.size != len(content) or facts.sha256 != hashlib.sha256(content).hexdigest():
            raise PackageError(f"Part {name} is not the one that the manifest names.")
    return manifest, parts


def read_manifest(data: bytes) -> Manifest:
    """A manifest in canonical form with the known schema."""
    try:
        manifest = Manifest.model_validate(read_json(data, MAX_MANIFEST_BYTES, MANIFEST))
    except CanonicalJsonError as err:
        raise PackageError(f"The manifest cannot be read: {err}") from err
    except ValidationError as err:
        raise PackageError(f"The manifest breaks its schema at {broken_fields(err)}.") from err
    if not 1 <= len(manifest.parts) <= MAX_PARTS:
        raise PackageError(f"The manifest names {len(manifest.parts)} parts; 1 to {MAX_PARTS} are allowed.")
    _check_names(manifest.parts)
    _check_pad(manifest.parts)
    if manifest.to_bytes() != data:
        raise PackageError("The manifest is not in canonical form: it has other bytes when it is written again.")
    return manifest


def broken_fields(err: ValidationError) -> str:
    """The places of a validation error, without the values: they may be anything a stranger sent."""
    places = {".".join(str(step) for step in one["loc"])[:80] for one in err.errors(include_input=False)}
    return ", ".join(ascii(place) for place in sorted(places)[:5]) or "its top"


def _read_entries(data: memoryview) -> list[tuple[str, bytes]]:
    if len(data) > MAX_PACKAGE_BYTES:
        raise PackageError(f"The package is {len(data)} bytes long; {MAX_PACKAGE_BYTES} is the limit.")
    entries: list[tuple[str, bytes]] = []
    table: list[tuple[str, int, int]] = []
    at = 0
    while data[at : at + 4] == _LOCAL_SIGNATURE:
        if len(entries) > MAX_PARTS:
            raise PackageError(f"The package holds more than {MAX_PARTS} parts.")
        if len(data) - at < _LOCAL.size:
            raise PackageError("The package ends within an entry's header.")
        _, version, flags, method, time, date, crc, stored, size, name_length, extra_length = _LOCAL.unpack_from(
            data, at
        )
        if (version, flags, method, time, date) != _FIXED or extra_length or stored != size:
            raise PackageError("An entry is compressed, encrypted, dated or extended; packages are plainly stored.")
        start = at + _LOCAL.size + name_length
        if name_length > MAX_NAME_BYTES or size > len(data) - start:
            raise PackageError("An entry says that it is longer than the package.")
        name = _read_name(bytes(data[at + _LOCAL.size : start]))
        content = bytes(data[start : start + size])
        if zlib.crc32(content) != crc:
            raise PackageError(f"Part {name} has a wrong checksum.")
        entries.append((name, content))
        table.append((name, crc, size))
        at = start + size
    if data[at:] != _directory(table):
        raise PackageError("The package's directory is not the one that belongs to its entries, or bytes follow it.")
    return entries


def _read_name(raw: bytes) -> str:
    try:
        name = raw.decode("ascii")
    except UnicodeDecodeError as err:
        raise PackageError("An entry's name is not ASCII.") from err
    if name != MANIFEST:
        _check_name(name)
    return name


def _check_names(names: Collection[str]) -> None:
    folders = set()
    for name in names:
        _check_name(name)
        folders.add(name.rpartition("/")[0])
    if clash := folders.intersection(names):
        raise PackageError(f"{clash.pop()} is both a part and a folder.")


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME_BYTES or not PART_NAME.fullmatch(name) or name == MANIFEST:
        raise PackageError(f"{name[:MAX_NAME_BYTES]!a} is no name for a part.")


def _check_pad(facts: Mapping[str, PartFacts]) -> None:
    size = sum(fact.size for name, fact in facts.items() if name.startswith(PAD_FOLDER))
    if size > MAX_PAD_BYTES:
        raise PackageError(f"The parts in {PAD_FOLDER} are {size} bytes long; {MAX_PAD_BYTES} is their limit.")


def _check_size(name: str, size: int) -> bool:
    if size > MAX_PACKAGE_BYTES:
        raise PackageError(f"Part {name} is {size} bytes long; {MAX_PACKAGE_BYTES} is the limit of a whole package.")
    return True


def _local_fields(name: str, crc: int, size: int) -> tuple[bytes, int, int, int, int, int, int, int, int, int, int]:
    return (_LOCAL_SIGNATURE, *_FIXED, crc, size, size, len(name), 0)


def _directory(table: list[tuple[str, int, int]]) -> bytes:
    """The central directory and end record of entries (name, CRC-32, size) that follow each other from offset 0."""
    pieces: list[bytes] = []
    offset = 0
    for name, crc, size in table:
        fixed = (_CENTRAL_SIGNATURE, _MADE_BY, *_FIXED, crc, size, size, len(name), 0, 0, 0, 0, _ATTRIBUTES, offset)
        pieces += (_CENTRAL.pack(*fixed), name.encode("ascii"))
        offset += _LOCAL.size + len(name) + size
    directory = b"".join(pieces)
    count = len(table)
    return directory + _END.pack(_END_SIGNATURE, 0, 0, count, count, len(directory), offset, 0)
