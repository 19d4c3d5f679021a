"""Packages as they must be, and with one thing changed: ZIP and manifest written again from docs/packet.md, for the conformance set.

With nothing changed `package` makes the very bytes of the product (a test compares them).
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.vectors.parties import BOOTH, DESK

PACKET_ID = "0123456789ab4def8123456789abcdef"
PARTS = {"report.json": b'{"findings":[]}', "visit.json": b'{"application":"A-1"}'}
MANIFEST = "manifest.json"
_DATE = 0x0021


@dataclass(frozen=True)
class Entry:
    """One entry of a ZIP; every number that is None is the right one."""

    name: bytes
    data: bytes
    version: int = 20
    flags: int = 0
    method: int = 0
    time: int = 0
    date: int = _DATE
    crc: int | None = None
    size: int | None = None
    stored: bytes | None = None
    extra: bytes = b""
    central_name: bytes | None = None
    central_extra: bytes = b""
    comment: bytes = b""
    attributes: int = 0o100600 << 16
    descriptor: bytes = b""
    before: bytes = b""


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def manifest_value(parts: Mapping[str, bytes] = PARTS, **changes: Any) -> dict[str, Any]:
    """The manifest as a value; a change that is None leaves its key out."""
    facts = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in parts.items()}
    value: dict[str, Any] = {
        "schema_version": 1,
        "packet_id": PACKET_ID,
        "booth": BOOTH,
        "centre": "centre-07",
        "recipients": [DESK.key_id],
        "created_at": "2026-11-22T12:00:00Z",
        "parts": facts,
    } | changes
    return {key: one for key, one in value.items() if one is not None}


def zip_of(
    entries: Sequence[Entry],
    *,
    prefix: bytes = b"",
    gap: bytes = b"",
    comment: bytes = b"",
    after: bytes = b"",
    central: Callable[[list[Entry]], list[Entry]] = list,
    zip64: bool = False,
) -> bytes:
    """A ZIP of these entries."""
    body, offsets = prefix, {}
    for one in entries:
        body += one.before
        offsets[id(one)] = len(body)
        stored = one.data if one.stored is None else one.stored
        crc = zlib.crc32(one.data) if one.crc is None else one.crc
        sizes = (0, 0) if one.descriptor else (len(stored), len(one.data) if one.size is None else one.size)
        fixed = (b"PK\x03\x04", one.version, one.flags, one.method, one.time, one.date, 0 if one.descriptor else crc)
        body += struct.pack("<4s5H3I2H", *fixed, *sizes, len(one.name), len(one.extra)) + one.name + one.extra
        body += stored + one.descriptor
    body += gap
    directory = b""
    listed = central(list(entries))
    for one in listed:
        name = one.name if one.central_name is None else one.central_name
        stored = one.data if one.stored is None else one.stored
        crc = zlib.crc32(one.data) if one.crc is None else one.crc
        fixed = (b"PK\x01\x02", 3 << 8 | one.version, one.version, one.flags, one.method, one.time, one.date, crc)
        sizes = (len(stored), len(one.data) if one.size is None else one.size)
        lengths = (len(name), len(one.central_extra), len(one.comment), 0, 0, one.attributes, offsets[id(one)])
        directory += struct.pack("<4s6H3I5H2I", *fixed, *sizes, *lengths) + name + one.central_extra + one.comment
    end = b""
    if zip64:  # APPNOTE 4.3.14, 4.3.15: record and locator
        counts = (len(listed), len(listed), len(directory), len(body))
        end += struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *counts)
        end += struct.pack("<4sIQI", b"PK\x06\x07", 0, len(body) + len(directory), 1)
    counts = (len(listed), len(listed), len(directory), 0xFFFFFFFF if zip64 else len(body))
    end += struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, *counts, len(comment)) + comment
    return body + directory + end + after


def entries_of(parts: Mapping[str, bytes] = PARTS, manifest: bytes | None = None) -> list[Entry]:
    """The entries of a package in their order."""
    first = canonical(manifest_value(parts)) if manifest is None else manifest
    return [Entry(MANIFEST.encode(), first), *(Entry(name.encode(), parts[name]) for name in sorted(parts))]


def package(parts: Mapping[str, bytes] = PARTS, **changes: Any) -> bytes:
    """A package with another manifest, or with none of it changed."""
    return zip_of(entries_of(parts, canonical(manifest_value(parts, **changes))))


def with_entry(at: int, entries: Sequence[Entry] | None = None, **changes: Any) -> list[Entry]:
    """The good entries, one of them changed."""
    chosen = list(entries_of() if entries is None else entries)
    chosen[at] = replace(chosen[at], **changes)
    return chosen
