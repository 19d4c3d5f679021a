"""The package has one byte sequence, opens with any unzip, and nothing else is accepted."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import subprocess
import zipfile
import zlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crypto import package as package_module
from crypto.canonical import canonical_json, read_canonical_json
from crypto.errors import CanonicalJsonError, CryptoError, PackageError
from crypto.package import (
    MANIFEST,
    MAX_PACKAGE_BYTES,
    MAX_PARTS,
    ManifestFields,
    build_package,
    read_instant,
    read_manifest,
    read_package,
)
from tests.packets import NOW, PARTS, fields_for

RECIPIENT = "0123456789abcdef" * 2
FIELDS = fields_for(RECIPIENT, packet_id="5f0c6f2f4b7a4d16a5ad0c7c3f1b9e22")
NAMES = st.from_regex(r"(?:[a-z0-9_][a-z0-9_.\-]{0,8}/)?[a-z0-9_][a-z0-9_.\-]{0,12}", fullmatch=True)


def name_sets_without_clash(names: set[str]) -> bool:
    return MANIFEST not in names and not {n.rpartition("/")[0] for n in names} & names


def manifest_for(parts: dict[str, bytes], **changes: object) -> bytes:
    facts = {n: {"size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in parts.items()}
    value = {
        "schema_version": 1,
        "packet_id": FIELDS.packet_id,
        "booth": FIELDS.booth,
        "centre": FIELDS.centre,
        "recipients": [RECIPIENT],
        "created_at": "2026-11-22T12:00:00Z",
        "parts": facts,
    }
    return canonical_json(value | changes)


def pack(entries: list[tuple[str, bytes]]) -> bytes:
    """A ZIP in our form around any entries, so that one rule at a time can be broken behind a perfect frame."""
    table = [(n, zlib.crc32(d), len(d)) for n, d in entries]
    local = b"".join(
        package_module._LOCAL.pack(*package_module._local_fields(n, crc, size)) + n.encode() + d
        for (n, d), (_, crc, size) in zip(entries, table, strict=True)
    )
    return local + package_module._directory(table)


def standard_zip(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for entry, data in entries:
            archive.writestr(entry, data)
    return buffer.getvalue()


def built_of(parts: dict[str, bytes]) -> bytes:
    return build_package(FIELDS, parts).data


def test_same_parts_give_the_same_bytes_in_whatever_order_they_come():
    shuffled = dict(reversed(PARTS.items()))
    assert built_of(PARTS) == built_of(shuffled)


def test_the_bytes_of_a_known_package_never_change():
    built = built_of({"portrait.jpg": b"jpeg", "pad/frame.bin": b""})
    assert hashlib.sha256(built).hexdigest() == "8aa22b3cc85a56fae5e9e8f3d27cfc3e204273ca52fc3827297038cb77f33274"


def test_what_was_packed_is_what_is_read():
    package = read_package(built_of(PARTS))
    assert dict(package.parts) == PARTS
    assert package.manifest.booth == "booth-0001"
    assert package.manifest.created_at == NOW
    assert package.manifest.parts["visit.json"].size == len(PARTS["visit.json"])


@given(st.dictionaries(NAMES, st.binary(max_size=200), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_parts_come_back_unchanged_and_rebuild_to_the_same_bytes(parts):
    if not name_sets_without_clash(set(parts)):
        with pytest.raises(PackageError):
            built_of(parts)
        return
    built = built_of(parts)
    package = read_package(built)
    assert dict(package.parts) == parts
    assert built_of(dict(package.parts)) == built
    with zipfile.ZipFile(io.BytesIO(built)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [MANIFEST, *sorted(parts)]


@pytest.mark.skipif(shutil.which("unzip") is None, reason="no unzip: apt-get install unzip")
def test_unzip_finds_no_fault(tmp_path):
    path = tmp_path / "package.zip"
    path.write_bytes(built_of({**PARTS, "pad/frame.bin": b"123"}))
    run = subprocess.run(["unzip", "-t", path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "No errors detected" in run.stdout


def test_every_changed_byte_is_refused():
    built = built_of({"a.bin": b"content", "pad/b.bin": b"x"})
    for at in range(len(built)):
        for bit in (1, 0x80):
            changed = bytearray(built)
            changed[at] ^= bit
            with pytest.raises(PackageError):
                read_package(bytes(changed))


def test_every_truncation_and_every_extension_is_refused():
    built = built_of({"a.bin": b"content"})
    for end in range(len(built)):
        with pytest.raises(PackageError):
            read_package(built[:end])
    for extra in (b"\x00", b"PK\x03\x04", built):
        with pytest.raises(PackageError):
            read_package(built + extra)
        with pytest.raises(PackageError):
            read_package(extra + built)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_refused_with_our_own_error(data):
    for start in (b"", b"PK\x03\x04", built_of({"a": b""})[:60]):
        with pytest.raises(PackageError):
            read_package(start + data)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_spliced_packages_are_refused_with_our_own_error(data):
    built = built_of({"a.bin": b"content", "b.bin": b"other"})
    start = data.draw(st.integers(0, len(built)))
    end = data.draw(st.integers(start, len(built)))
    insert = data.draw(st.binary(max_size=40))
    changed = built[:start] + insert + built[end:]
    if changed == built:
        return
    with pytest.raises(PackageError):
        read_package(changed)


ONE = {"a.bin": b"content"}
GOOD = [(MANIFEST, manifest_for(ONE)), ("a.bin", b"content")]


def patched(data: bytes, at: int, fmt: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(fmt, changed, at, value)
    return bytes(changed)


TRICKS = {
    "nothing at all": b"",
    "an empty archive": pack([]),
    "made by another packer": standard_zip(GOOD),
    "compressed": standard_zip(GOOD, zipfile.ZIP_DEFLATED),
    "the manifest is not first": pack(GOOD[::-1]),
    "no manifest": pack(GOOD[1:]),
    "a part twice": pack([*GOOD, GOOD[1]]),
    "the manifest twice": pack([GOOD[0], GOOD[0], GOOD[1]]),
    "a part that the manifest does not name": pack([*GOOD, ("b.bin", b"")]),
    "a part missing": pack(GOOD[:1]),
    "a part of another size": pack([GOOD[0], ("a.bin", b"content!")]),
    "a part of another content": pack([GOOD[0], ("a.bin", b"Content")]),
    "parts out of order": pack([(MANIFEST, manifest_for({"a": b"", "b": b""})), ("b", b""), ("a", b"")]),
    "a climbing name": pack([(MANIFEST, manifest_for({"../a": b""})), ("../a", b"")]),
    "an absolute name": pack([(MANIFEST, manifest_for({"/a": b""})), ("/a", b"")]),
    "a hidden name": pack([(MANIFEST, manifest_for({".a": b""})), (".a", b"")]),
    "a name with a backslash": pack([(MANIFEST, manifest_for({"a\\b": b""})), ("a\\b", b"")]),
    "a name with a zero": pack([(MANIFEST, manifest_for({"a\x00b": b""})), ("a\x00b", b"")]),
    "a name with capitals": pack([(MANIFEST, manifest_for({"A.bin": b""})), ("A.bin", b"")]),
    "a folder in a folder": pack([(MANIFEST, manifest_for({"a/b/c": b""})), ("a/b/c", b"")]),
    "a folder entry": pack([(MANIFEST, manifest_for({"pad/": b""})), ("pad/", b"")]),
    "a name that is file and folder": pack(
        [(MANIFEST, manifest_for({"a": b"", "a/b": b""})), ("a", b""), ("a/b", b"")]
    ),
    "a long name": pack([(MANIFEST, manifest_for({"a" * 101: b""})), ("a" * 101, b"")]),
    "an archive comment": patched(pack(GOOD), len(pack(GOOD)) - 2, "<H", 1) + b"!",
    "an extra field": patched(pack(GOOD), 28, "<H", 4),
    "a size beyond the end": patched(patched(pack(GOOD), 18, "<I", 2**31), 22, "<I", 2**31),
    "zip64 sizes": patched(patched(pack(GOOD), 18, "<I", 2**32 - 1), 22, "<I", 2**32 - 1),
    "a wrong checksum": patched(pack(GOOD), 14, "<I", 0),
    "an encrypted entry": patched(pack(GOOD), 6, "<H", 1),
    "a directory elsewhere": patched(pack(GOOD), len(pack(GOOD)) - 6, "<I", 0),
    "bytes before the directory": pack(GOOD)[:-150] + b"\x00" + pack(GOOD)[-150:],
    "too many parts": pack([GOOD[0], *((f"p{n:03}", b"") for n in range(MAX_PARTS + 1))]),
    "too large": bytes(MAX_PACKAGE_BYTES + 1),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_zip_tricks_are_refused(trick):
    with pytest.raises(PackageError):
        read_package(TRICKS[trick])


def test_the_tricks_are_measured_against_a_frame_that_is_accepted():
    assert dict(read_package(pack(GOOD)).parts) == ONE


BAD_MANIFESTS = {
    "white space": manifest_for(ONE).replace(b":", b": "),
    "a byte order mark": b"\xef\xbb\xbf" + manifest_for(ONE),
    "keys out of order": json.dumps(
        dict(reversed(json.loads(manifest_for(ONE)).items())), separators=(",", ":")
    ).encode(),
    "a key twice": manifest_for(ONE)[:-1] + b',"schema_version":1}',
    "an unknown key": manifest_for(ONE, surprise=1),
    "a later schema": manifest_for(ONE, schema_version=2),
    "a schema that is a float": manifest_for(ONE).replace(b'"schema_version":1', b'"schema_version":1.0'),
    "a schema that is true": manifest_for(ONE, schema_version=True),
    "a size that is a string": manifest_for(ONE).replace(b'"size":7', b'"size":"7"'),
    "a size below zero": manifest_for(ONE).replace(b'"size":7', b'"size":-7'),
    "a size of many digits": manifest_for(ONE).replace(b'"size":7', b'"size":' + b"9" * 5000),
    "NaN": manifest_for(ONE).replace(b'"size":7', b'"size":NaN'),
    "an id that is no uuid4": manifest_for(ONE, packet_id="0" * 32),
    "an id with a line end": manifest_for(ONE, packet_id=FIELDS.packet_id + "\n"),
    "a booth with a slash": manifest_for(ONE, booth="a/b"),
    "an empty centre": manifest_for(ONE, centre=""),
    "a recipient in capitals": manifest_for(ONE, recipients=[RECIPIENT.upper()]),
    "a time with a zone": manifest_for(ONE, created_at="2026-11-22T12:00:00+00:00"),
    "a day that does not exist": manifest_for(ONE, created_at="2026-02-30T12:00:00Z"),
    "a time in another spelling": manifest_for(ONE, created_at="2026-1-2T12:00:00Z"),
    "no parts": manifest_for({}),
    "a list": b"[]",
    "nothing": b"",
    "half a character": b'{"\xff":1}',
    "half a surrogate": b'{"\\ud800":1}',
    "a deep nest": b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "too long": b" " * 65_537,
    "a part list": manifest_for(ONE)[: manifest_for(ONE).index(b"{", 1)]
    + b"[]"
    + manifest_for(ONE)[manifest_for(ONE).index(b"}}") + 2 :],
}


@pytest.mark.parametrize("fault", BAD_MANIFESTS)
def test_bad_manifests_are_refused(fault):
    with pytest.raises(PackageError):
        read_manifest(BAD_MANIFESTS[fault])
    with pytest.raises(PackageError):
        read_package(pack([(MANIFEST, BAD_MANIFESTS[fault]), GOOD[1]]))


def test_errors_do_not_repeat_what_a_stranger_sent():
    with pytest.raises(PackageError) as caught:
        read_manifest(manifest_for(ONE, centre="Anna Example, 1 Main Street"))
    assert "Anna" not in str(caught.value)
    assert "centre" in str(caught.value)


@pytest.mark.parametrize(
    "parts",
    [{}, {MANIFEST: b""}, {"../x": b""}, {"X": b""}, {"": b""}, {"a": b"", "a/b": b""}, {"x" * 101: b""}, {"å": b""}],
)
def test_the_maker_refuses_names_that_the_reader_would_refuse(parts):
    with pytest.raises(PackageError):
        built_of(parts)


def test_the_maker_refuses_what_is_too_large_or_too_much():
    with pytest.raises(PackageError):
        built_of({"big.bin": bytes(MAX_PACKAGE_BYTES + 1)})
    with pytest.raises(PackageError):
        built_of({"big.bin": bytes(MAX_PACKAGE_BYTES - 300)})
    with pytest.raises(PackageError):
        built_of({f"p{n}": b"" for n in range(MAX_PARTS + 1)})


def test_a_package_at_the_limit_of_parts_is_read():
    parts = {f"p{n:02}": bytes([n]) for n in range(MAX_PARTS)}
    assert dict(read_package(built_of(parts)).parts) == parts


def test_times_are_kept_in_utc_to_the_second():
    east = datetime(2026, 11, 22, 15, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=3)))
    assert fields_for(RECIPIENT, created_at=east).created_at == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert read_instant("2026-11-22T12:00:00Z") == NOW
    with pytest.raises(ValidationError):
        fields_for(RECIPIENT, created_at=datetime(2026, 11, 22))  # noqa: DTZ001 - the fault under test


def test_fields_are_frozen_and_closed():
    with pytest.raises(ValidationError):
        FIELDS.booth = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        ManifestFields(**FIELDS.model_dump(), extra=1)  # type: ignore[call-arg]


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=10), JSON_VALUES, max_size=5))
@settings(deadline=None)
def test_canonical_json_reads_what_it_wrote(value):
    assert read_canonical_json(canonical_json(value), 1_000_000, "value") == value


@pytest.mark.parametrize("value", [{"a": 1.5}, {"a": 2**53}, {1: "a"}, {"a": {1, 2}}, {"a": b"x"}, {"a": "\ud800"}])
def test_canonical_json_refuses_what_has_no_one_form(value):
    with pytest.raises(CanonicalJsonError):
        canonical_json(value)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_hostile_json_gives_our_own_error(data):
    try:
        value = read_canonical_json(data, 150, "value")
    except CryptoError:
        return
    assert canonical_json(value) == data
