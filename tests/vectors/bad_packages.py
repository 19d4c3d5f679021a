"""Packets whose signature is genuine and whose package or manifest is not in the one form: a booth with a broken writer, or a stolen key."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace
from typing import Any

from tests.vectors.case import Case
from tests.vectors.forged_cms import signed_data
from tests.vectors.forged_package import (
    MANIFEST,
    PACKET_ID,
    PARTS,
    Entry,
    canonical,
    entries_of,
    manifest_value,
    package,
    with_entry,
    zip_of,
)
from tests.vectors.forged_seal import single
from tests.vectors.parties import BOOTH_1, DESK, SECOND

STORED, NAME, DIRECTORY = "plainly stored", "no name for a part", "directory"
SCHEMA, NOT_CANONICAL = "breaks its schema", "not in canonical form"
FACTS = {"sha256": "0" * 64, "size": 1}


def packet(content: bytes) -> bytes:
    return single(signed_data(content, BOOTH_1))


def deflated(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


def renamed(name: str, data: bytes = b"x") -> bytes:
    """A package with one part of this name, which the manifest names too."""
    parts = {name: data}
    return zip_of([Entry(MANIFEST.encode(), canonical(manifest_value(parts))), Entry(name.encode(), data)])


def bad_zips() -> list[Case]:
    """The ZIP is another one than the writer's."""
    entries = entries_of()
    good = zip_of(entries)
    last = entries[-1]
    descriptor = struct.pack("<4s3I", b"PK\x07\x08", zlib.crc32(last.data), len(last.data), len(last.data))
    many = {f"part-{n:02}": b"" for n in range(65)}
    clash = {"pad": b"x", "pad/1.bin": b"y"}
    at_entry = good.index(b'visit.json{"')
    found = [
        ("deflated", zip_of(with_entry(2, method=8, stored=deflated(last.data))), "a compressed entry", STORED),
        ("descriptor", zip_of(with_entry(2, flags=8, descriptor=descriptor)), "a data descriptor after an entry", STORED),
        ("encrypted", zip_of(with_entry(2, flags=1)), "an entry that says it is encrypted", STORED),
        ("dated", zip_of(with_entry(1, date=0x5D76, time=0x6000)), "an entry with a date", STORED),
        ("extra-field", zip_of(with_entry(1, extra=b"UT\x05\x00\x00\x00\x00\x00\x00")), "an extra field before the content", STORED),
        ("central-extra", zip_of(with_entry(1, central_extra=b"UT\x00\x00")), "an extra field in the directory", DIRECTORY),
        ("entry-comment", zip_of(with_entry(1, comment=b"note")), "a comment on an entry", DIRECTORY),
        ("comment", zip_of(entries, comment=b"note"), "a comment on the archive", DIRECTORY),
        ("order", zip_of([entries[0], entries[2], entries[1]]), "the parts are not sorted", "in their order"),
        ("manifest-last", zip_of([*entries[1:], entries[0]]), "the manifest is not first", "does not start with"),
        ("manifest-twice", zip_of([replace(entries[0]), *entries]), "two manifests", "exactly the parts"),
        ("no-manifest", zip_of(entries[1:]), "no manifest", "does not start with"),
        ("entry-twice", zip_of([*entries, replace(last)]), "an entry twice", "exactly the parts"),
        ("central-order", zip_of(entries, central=lambda all_: [all_[0], all_[2], all_[1]]), "the directory in another order", DIRECTORY),
        ("central-fewer", zip_of(entries, central=lambda all_: all_[:-1]), "an entry that the directory does not name (hidden part)", DIRECTORY),
        ("central-other-name", zip_of(with_entry(2, central_name=b"Visit.json")), "local header and directory name an entry differently", DIRECTORY),
        ("central-attributes", zip_of(with_entry(2, attributes=0o120777 << 16)), "the directory says that an entry is a symbolic link", DIRECTORY),
        ("name-parent", renamed("../evil.json"), "a name that climbs out of the folder", NAME),
        ("name-absolute", renamed("/etc/passwd"), "an absolute name", NAME),
        ("name-backslash", renamed("pad\\1.bin"), "a backslash in a name", NAME),
        ("name-capitals", renamed("Portrait.jpg"), "capitals in a name", NAME),
        ("name-long", renamed("a" * 101), "a name of 101 bytes", "longer than"),
        ("name-not-ascii", renamed("bild-\N{LATIN SMALL LETTER A WITH DIAERESIS}.jpg"), "a name that is not ASCII", "not ASCII"),
        ("folder-entry", zip_of([*entries, Entry(b"pad/", b"")]), "an entry for a folder", NAME),
        ("zip64-end", zip_of(entries, zip64=True), "zip64 end records", DIRECTORY),
        ("zip64-sizes", zip_of(with_entry(2, extra=struct.pack("<2H2Q", 1, 16, len(last.data), len(last.data)))), "zip64 sizes of an entry", STORED),
        ("crc-wrong", zip_of(with_entry(1, crc=1)), "a wrong CRC-32", "wrong checksum"),
        ("size-claim-huge", zip_of([*entries[:2], replace(last, size=0xFFFFFFFF)]), "an entry that claims 4 GiB", STORED),
        ("size-past-end", good[: at_entry - 12] + struct.pack("<2I", 100_000, 100_000) + good[at_entry - 4 :], "an entry that claims to reach past the end", "longer than the package"),
        ("prefix", zip_of(entries, prefix=b"#!/bin/sh\nexit 0\n"), "a script before the first entry (polyglot)", DIRECTORY),
        ("gap", zip_of(with_entry(2, before=b"\x00" * 8)), "bytes between two entries", DIRECTORY),
        ("gap-before-directory", zip_of(entries, gap=b"hidden"), "bytes before the directory", DIRECTORY),
        ("trailing", zip_of(entries, after=b"\x00"), "a byte after the end record", DIRECTORY),
        ("truncated", good[:-1], "the last byte is missing", DIRECTORY),
        ("header-cut", good[: at_entry - 10], "ends within an entry's header", "within an entry's header"),
        ("empty", zip_of([]), "an archive without entries", "does not start with"),
        ("not-a-zip", b'{"findings":[]}', "no ZIP", DIRECTORY),
        ("parts-65", package(many), "65 parts", "more than"),
        ("clash", package(clash), "a name that is part and folder", "both a part and a folder"),
        ("part-missing", zip_of(entries[:-1]), "a part that the manifest names is not there", "exactly the parts"),
        ("part-extra", zip_of([*entries, Entry(b"zzz.bin", b"x")]), "a part that the manifest does not name", "exactly the parts"),
        ("part-changed", zip_of(with_entry(2, data=b'{"application":"A-2"}')), "a part with another SHA-256 than the manifest's", "is not the one"),
        ("part-shorter", zip_of(with_entry(2, data=b"{}")), "a part with another size than the manifest's", "is not the one"),
    ]  # fmt: skip
    return [Case(f"zip-{one[0]}", packet(one[1]), one[2], "Package", "package", one[3]) for one in found]


def bad_manifests() -> list[Case]:
    """The manifest is not canonical or breaks its schema."""
    value = manifest_value()
    text = canonical(value)
    facts = value["parts"]

    def raw(manifest: bytes) -> bytes:
        return zip_of(entries_of(PARTS, manifest))

    def changed(**changes: Any) -> bytes:
        merged = value | changes
        return raw(canonical({name: one for name, one in merged.items() if one is not None}))

    def part(**changes: Any) -> bytes:
        one = {key: new for key, new in (facts["visit.json"] | changes).items() if new is not None}
        return changed(parts=facts | {"visit.json": one})

    two = sorted((DESK.key_id, SECOND.key_id))
    found = [
        ("white-space", raw(text.replace(b",", b", ")), "white space between members", NOT_CANONICAL),
        ("line-end", raw(text + b"\n"), "a line end after the manifest", NOT_CANONICAL),
        ("unsorted", raw(json.dumps(dict(sorted(value.items(), reverse=True)), separators=(",", ":")).encode()), "the keys are not sorted", NOT_CANONICAL),
        ("escaped", raw(text.replace(b"booth-0001", b"\\u0062ooth-0001")), "a character is escaped without need", NOT_CANONICAL),
        ("name-twice", raw(text.replace(b'{"booth"', b'{"booth":"booth-0002","booth"')), "a name occurs twice", "names a key twice"),
        ("float", raw(text.replace(b'"schema_version":1', b'"schema_version":1.0')), "a float", "no floats"),
        ("nan", raw(text.replace(b'"schema_version":1', b'"schema_version":NaN')), "NaN", "no floats"),
        ("minus-zero", raw(text.replace(b'"schema_version":1', b'"schema_version":-0')), "minus zero", SCHEMA),
        ("big-integer", part(size=2**53), "an integer beyond 2^53 - 1", SCHEMA),
        ("bom", raw(b"\xef\xbb\xbf" + text), "a byte order mark", "not JSON in UTF-8"),
        ("surrogate", raw(text.replace(b"centre-07", b"\\ud800")), "half a surrogate pair", SCHEMA),
        ("array", raw(b"[" + text + b"]"), "an array, not an object", "not a JSON object"),
        ("nested", raw(b'{"a":' * 1_500 + b"1" + b"}" * 1_500), "nested deeper than any manifest", "manifest"),
        ("field-unknown", changed(note="hello"), "a field that nobody knows", SCHEMA),
        ("field-missing", changed(centre=None), "centre is missing", SCHEMA),
        ("version-2", changed(schema_version=2), "a schema version that is not specified", SCHEMA),
        ("version-true", changed(schema_version=True), "the schema version is a boolean", NOT_CANONICAL),
        ("packet-id-version", changed(packet_id=PACKET_ID.replace("4def", "1def")), "a UUID of version 1", SCHEMA),
        ("packet-id-dashes", changed(packet_id="01234567-89ab-4def-8123-456789abcdef"), "a UUID with dashes", SCHEMA),
        ("booth-line-end", changed(booth="booth-0001\n"), "a line end in the booth's name", SCHEMA),
        ("recipients-none", changed(recipients=[]), "no recipients", SCHEMA),
        ("recipients-text", changed(recipients=DESK.key_id), "recipients is a string", SCHEMA),
        ("recipients-unsorted", changed(recipients=two[::-1]), "recipients are not sorted", SCHEMA),
        ("recipients-twice", changed(recipients=[DESK.key_id, DESK.key_id]), "a recipient twice", SCHEMA),
        ("recipients-nine", changed(recipients=[f"{n:032x}" for n in range(9)]), "nine recipients", SCHEMA),
        ("time-offset", changed(created_at="2026-11-22T14:00:00+02:00"), "a time with an offset", SCHEMA),
        ("parts-none", zip_of([Entry(MANIFEST.encode(), canonical(manifest_value(parts={})))]), "no parts", "0 parts"),
        ("parts-itself", changed(parts=facts | {MANIFEST: FACTS}), "the manifest names itself", NAME),
        ("parts-parent", changed(parts=facts | {"../x": FACTS}), "a part that climbs out of the folder", NAME),
        ("part-size-text", part(size=str(facts["visit.json"]["size"])), "a size as a string", SCHEMA),
        ("part-size-true", part(size=True), "a size as a boolean", SCHEMA),
        ("part-size-huge", part(size=20_000_001), "a size above the limit of a package", SCHEMA),
        ("part-size-other", part(size=facts["visit.json"]["size"] + 1), "another size than the part's", "is not the one"),
        ("part-sha256-other", part(sha256="0" * 64), "another SHA-256 than the part's", "is not the one"),
        ("part-sha256-capitals", part(sha256=facts["visit.json"]["sha256"].upper()), "a SHA-256 in capitals", SCHEMA),
        ("part-field-unknown", part(type="json"), "a part with a field that nobody knows", SCHEMA),
    ]  # fmt: skip
    return [Case(f"manifest-{one[0]}", packet(one[1]), one[2], "Manifest", "manifest", one[3]) for one in found]
