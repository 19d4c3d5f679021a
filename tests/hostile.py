"""What a booth that has turned against its desk could sign: words, records, packages and pictures, and the reader that finds what a page let through."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

from crypto.canonical import canonical_json
from crypto.package import _LOCAL, MANIFEST, _directory, _local_fields
from tests.sealed_packets import APPLICANT

# One payload for each way in which a text becomes something else: markup, attribute, address, template, format, terminal, line, direction, table cell, path, size.
MARK = "zq7"
WORDS = {
    "markup": f"<script>alert('{MARK}')</script><img src=x onerror=alert(1)>\"'`> autofocus onfocus=alert(1) style=top:0 x=\""
    "{{1337*7}}{% for %}${1337*7}#{1337*7}<%=1337*7%>{0.__class__}%s%n%(x)s{count}{}",
    "address": f"javascript:alert('{MARK}')//https://evil.example/%0d%0aSet-Cookie:a=b\r\nSet-Cookie: a=b\r\n\r\n<b>"
    "\x1b]0;x\x07\x1b[2J\x00\x08\x7f\x9b=cmd|'/C calc'!A0\t@SUM(1)../../../etc/passwd\\..\\x/%2e%2e/\u0000",
    "direction": f"\u202e{MARK}\u2066\u2067\u200f\u061c\u202a\u2028\u2029\ufeff\u00ad\ue000\U000e0041\u2069"
    + "Z\u0351\u034a\u0328" * 300,
}
NUMBERS = (1e308, -1e308, 5e-324, 2**63, -(2**400), 10**400, -0.0, 0)
ODD = ([], {}, None, True, [[[[[[]]]]]], {"a": {"b": {"c": {"d": {"e": 1}}}}}, "7", -1)
REASON = "other"
AT = "2026-11-22T11:58:00.000Z"

# Every field that booths write (booth/record.py, validation/report.py, booth/pad_part.py), with values of their own kind.
FINDING = {
    "rule": "pose.yaw",
    "value": 2.0,
    "unit": "°",
    "limit": {"low": -8.0, "high": 8.0},
    "warn_limit": {"low": -5.0, "high": 5.0},
    "verdict": "fail",
    "level": "reject",
    "reason": "why",
    "source": "clause",
    "advice": "advice.none",
    "evidence": {
        "points": [[1.0, 2.0]],
        "boxes": [{"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0}],
        "outlines": [[[1.0, 1.0], [2.0, 2.0], [3.0, 1.0]]],
    },
}
REPORT = {
    "schema_version": 1,
    "profile": "demo",
    "profile_version": "1",
    "judged": "crop",
    "width": 622,
    "height": 800,
    "findings": [FINDING, {**FINDING, "rule": "eyes.open", "verdict": "not_assessed"}],
    "software": "passbooth",
    "notes": ["note"],
    "crop": {
        "source_width": 1,
        "source_height": 1,
        "angle_deg": 1.0,
        "scale": 0.5,
        "corners": [[0.0, 0.0]],
        "resampling": "area",
    },
    "chip": dict.fromkeys(
        (
            "width",
            "height",
            "target_width",
            "target_height",
            "target_bytes",
            "bytes",
            "rate",
            "scale",
            "psnr_db",
            "ssim",
        ),
        1.0,
    )
    | {"resampling": "area", "encoder": "x"},
    "series": {"pitch_deg": [1.0], "relaxed": [{"mouth_width": 1.0, "corner_lift": 1.0, "brow_height": 1.0}]},
}
VISIT = {
    "schema_version": 1,
    "visit_id": "v",
    "application": {
        "number": "A1",
        "source": "typed",
        "verified": False,
        "registry": "filed",
        "centre": "c",
        "expires": "2026-12-01",
    },
    "booth": "b",
    "site": "s",
    "centre": "c",
    "language": "de",
    "consent": {"notice_version": "3", "language": "de", "answer": True, "at": AT},
    "steps": [{"state": "framing", "at": AT, "after_ms": 1}],
    "guidance": [{"key": "advice.closer", "at": AT, "after_ms": 2}],
    "tries": 2,
    "shutter": "held",
    "assistance": [{"action": "override", "staff": "482103", "reason_class": REASON, "at": AT, "after_ms": 3}],
    "override": {"staff": "482103", "reason_class": REASON, "open_rules": ["pose.yaw"], "at": AT},
    "light": {
        "levels_pct": {"key_left": 50.0},
        "acknowledged_by": "echo",
        "reading": {"x": 1.0},
        "balance": {"y": "z"},
    },
    "camera": {"source_format": "MJPG", "lossy": True, "rotate_deg": 0, "settings": {"a": 1}},
    "framing": {"lens": 1.0, "how": "x"},
    "images": {"portrait.jpg": {"format": "JPEG", "quality": 95}},
    "calibration": {"id": "c", "made_at": AT, "expired": False},
    "software": "passbooth",
}
ATTEMPTS = {
    "schema_version": 1,
    "attempts": [
        {
            "at": AT,
            "stills": [
                {
                    "chosen": True,
                    "compliant": False,
                    "judged": "crop",
                    "findings": [
                        {"rule": "pose.yaw", "value": 9.0, "unit": "°", "low": -8.0, "high": 8.0, "verdict": "fail"}
                    ],
                }
            ],
        }
    ],
    "errors": [{"code": "camera.lost", "at": AT, "after_ms": 4}],
}
PAD = {
    "schema_version": 1,
    "mechanism": "m",
    "note": "n",
    "usable": True,
    "reason": "ok",
    "score": 0.2,
    "operating_point": 0.5,
    "suspected": True,
    "evidence": {"shape": 0.1},
    "interim": {"shape.slope": 0.1},
    "frames": [{"part": "pad/frame-01.jpg", "at_ms": 1.0}],
    "levels": {"at_ms": [1.0], "pct": {"key_left": [1.0]}},
    "wall": {"at_ms": [1.0], "light": [0.1]},
}
RECORDS = {"report.json": REPORT, "visit.json": VISIT, "attempts.json": ATTEMPTS, "pad/score.json": PAD}
# Words that decide how a record is read; replaced like all others, and in a second packet left, so that what lies behind them is reached.
STEERING = frozenset({"verdict", "level", "judged", "usable", "source", "verified", "chosen", "suspected", "after_ms"})


def poisoned(value: Any, leaf: Callable[[Any], Any], *, keep: frozenset[str] = frozenset(), keys: str = "") -> Any:
    """A record with every leaf replaced, but for those under the names in `keep`; with `keys`, also a field of that name in each object."""
    if isinstance(value, dict):
        changed = {
            name: item if name in keep else poisoned(item, leaf, keep=keep, keys=keys) for name, item in value.items()
        }
        return changed | ({keys: leaf("")} if keys else {})
    if isinstance(value, list):
        return [poisoned(item, leaf, keep=keep, keys=keys) for item in value]
    return leaf(value)


def records(leaf: Callable[[Any], Any], *, keep: frozenset[str] = frozenset(), keys: str = "") -> dict[str, bytes]:
    """All four records as a packet's parts, with a portrait and a picture of the attack check."""
    picture = APPLICANT.read_bytes()
    told = {name: json.dumps(poisoned(record, leaf, keep=keep, keys=keys)).encode() for name, record in RECORDS.items()}
    return told | {"portrait.jpg": picture, "pad/frame-01.jpg": picture[:1] + b"\xd8\xff" + b"<script>" * 20}


def of_words(word: str) -> Callable[[Any], Any]:
    """Every text becomes the word; numbers stay."""
    return lambda value: word if isinstance(value, str) else value


def in_turn(values: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Every leaf becomes the next of these."""
    given = iter(range(1_000_000))
    return lambda _: values[next(given) % len(values)]


# Packages that no packer of ours makes, to be signed as they are.


def plain_package(manifest: dict[str, Any] | bytes, parts: dict[str, bytes]) -> bytes:
    """A package of exactly these bytes, with the directory that belongs to it."""
    pieces, table, at = [], [], 0
    text = manifest if isinstance(manifest, bytes) else canonical_json(manifest)
    for name, data in ((MANIFEST, text), *sorted(parts.items())):
        raw = name.encode("utf-8")
        fields = list(_local_fields("x" * len(raw), zlib.crc32(data), len(data)))
        pieces += (_LOCAL.pack(*fields), raw, data)
        table.append((name, zlib.crc32(data), len(data)))
        at += len(raw) + len(data)
    return b"".join(pieces) + _directory([(name if name.isascii() else "x", crc, size) for name, crc, size in table])


def manifest_of(parts: dict[str, bytes], recipient: str, **changed: Any) -> dict[str, Any]:
    """What a manifest of these parts says, changed."""
    facts = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in parts.items()}
    return {
        "schema_version": 1,
        "packet_id": "0123456789ab4def8123456789abcdef",
        "booth": "booth-0001",
        "centre": "centre-1",
        "recipients": [recipient],
        "created_at": "2026-11-22T11:00:00Z",
        "parts": facts,
        **changed,
    }


def packages(recipient: str) -> Iterator[tuple[str, bytes]]:
    """Hostile packages by name; a desk opens none of them."""
    good = {"portrait.jpg": b"\xff\xd8\xff"}
    for field in ("booth", "centre"):
        for name, word in WORDS.items():
            yield (
                f"{field} {name}",
                plain_package(manifest_of(good, recipient, **{field: word}), good),
            )
    for name in ("../../etc/cron.d/x", "<script>.jpg", "a/b/c", ".hidden", "x" * 101, "con\n.jpg"):
        yield f"part {name!a:.20}", plain_package(manifest_of({name: b"x"}, recipient), {name: b"x"})
    many = {f"p{number}": b"" for number in range(65)}
    yield "65 parts", plain_package(manifest_of(many, recipient), many)
    yield "more", plain_package(manifest_of(good, recipient, note="<script>"), good)
    yield "deep", plain_package(b'{"parts":' * 5_000 + b"1" + b"}" * 5_000, good)
    yield "number", plain_package(b'{"schema_version":' + b"9" * 60_000 + b"}", good)
    short = manifest_of(good, recipient)
    short["parts"]["portrait.jpg"]["size"] = 19_000_000
    yield "size", plain_package(short, good)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:  # 60 MB in 60 kB
        file.writestr(MANIFEST, canonical_json(manifest_of(good, recipient)))
        file.writestr("portrait.jpg", b"\0" * 60_000_000)
    yield "deflated", packed.getvalue()
    # Many entries over one body (D. Fifield, "A better zip bomb", 2019): a directory of thousands that all name the first file.
    body = plain_package(manifest_of(good, recipient), good)
    ends = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65_535, 65_535, 46 * 65_535, len(body), 0)
    yield "overlapping", body + b"PK\1\2" * 100_000 + ends
    huge = bytearray(body)
    struct.pack_into("<II", huge, 18, 0xFFFFFFFF, 0xFFFFFFFF)
    yield "zip64", bytes(huge)
    yield "nothing", b""
    yield "tail", body + b"\0"


# Pictures.


def jpeg_of(width: int, height: int, *, channels: int = 3, bits: int = 8) -> bytes:
    """A JPEG's header of any size, with hardly anything behind it."""
    tables = b"\xff\xdb\x00\x43\x00" + bytes([1]) * 64
    frame = struct.pack(">HBHHB", 8 + 3 * channels, bits, height, width, channels)
    frame += b"".join(bytes([number + 1, 0x11, 0]) for number in range(channels))
    scan = struct.pack(">HB", 6 + 2 * channels, channels)
    scan += b"".join(bytes([number + 1, 0]) for number in range(channels)) + b"\0\x3f\0"
    return b"\xff\xd8" + tables + b"\xff\xc0" + frame + b"\xff\xda" + scan + b"\0" * 64 + b"\xff\xd9"


def png_of(width: int, height: int, rows: int) -> bytes:
    """A PNG of black rows that packs a thousandfold."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packed = zlib.compress(bytes(1 + 3 * width) * rows, 9)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def jp2_of(boxed: tuple[int, int], coded: tuple[int, int], tile: tuple[int, int]) -> bytes:
    """A JPEG 2000 file whose boxes and whose code stream speak of different sizes."""
    ihdr = struct.pack(">I4sIIHBBBB", 22, b"ihdr", boxed[1], boxed[0], 3, 7, 7, 0, 0)
    colr = struct.pack(">I4sBBBI", 15, b"colr", 1, 0, 0, 16)
    head = struct.pack(">I4s", 8 + len(ihdr) + len(colr), b"jp2h") + ihdr + colr
    size = struct.pack(">HIIIIIIIIH", 0, *coded, 0, 0, *tile, 0, 0, 3) + b"\7\1\1" * 3
    stream = b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size
    stream += b"\xff\x52\x00\x0c\x00\x00\x00\x01\x00\x05\x04\x04\x00\x01" + b"\xff\x5c\x00\x13\x40" + b"\x40" * 16
    stream += b"\xff\x90\x00\x0a\x00\x00\x00\x00\x00\x0e\x00\x01\xff\x93\xff\xd9"
    start = b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s4sI4s", 20, b"ftyp", b"jp2 ", 0, b"jp2 ")
    return start + head + struct.pack(">I4s", 8 + len(stream), b"jp2c") + stream


def pictures() -> dict[str, bytes]:
    """Portraits that are none, or that want to be more than they look."""
    whole = APPLICANT.read_bytes()
    return {
        "huge": jpeg_of(65_500, 65_500),
        "as large as allowed and empty": jpeg_of(6_000, 4_000),
        "scans": jpeg_of(5_000, 4_800)[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x01" * 3_000 + b"\xff\xd9",
        "truncated": whole[: len(whole) // 2],
        "truncated with its end": whole[: len(whole) // 2] + b"\xff\xd9",
        "segments": whole[:2] + b"\xff\xfe\x00\x04ab" * 100_000 + whole[2:],
        "no end of segments": whole[:2] + b"\xff\xfe\x00\x02" * 100_000,
        "filled": whole[:2] + b"\xff" * 200_000 + whole[3:],
        "exif": whole[:2] + b"\xff\xe1\x00\x14Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01" + whole[2:],
        "PNG named jpg": png_of(1_000, 1_000, 1_000),
        "bomb named jpg": png_of(30_000, 30_000, 500),
        "twelve bits": jpeg_of(600, 800, bits=12),
        "five channels": jpeg_of(600, 800, channels=5),
        "ink": jpeg_of(600, 800, channels=4),
        "nothing": b"",
        "three bytes": b"\xff\xd8\xff",
        "page": b"\xff\xd8\xff<html><script>alert(1)</script>",
    }


def chips() -> dict[str, bytes]:
    """Chip images that are none, or more than they look."""
    return {
        "huge": jp2_of((60_000, 60_000), (60_000, 60_000), (60_000, 60_000)),
        "huge behind a small box": jp2_of((622, 800), (60_000, 60_000), (60_000, 60_000)),
        "tiles": jp2_of((622, 800), (60_000, 60_000), (1, 1)),
        "tile of nothing": jp2_of((622, 800), (622, 800), (0, 0)),
        "empty": jp2_of((622, 800), (622, 800), (622, 800)),
        "JPEG named jp2": APPLICANT.read_bytes(),
    }


# What a page let through.


class PageReader(HTMLParser):
    """Collects what a browser would run, load or follow, and what it would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if MARK in tag or tag in {"iframe", "object", "embed", "base", "style", "template", "math", "foreignobject"}:
            self.faults.append(f"<{tag}>")
        if tag == "script" and not re.fullmatch(r"/static/[a-z_]+\.js", told.get("src") or ""):
            self.faults.append("a script of its own")
        if tag == "meta" and "http-equiv" in told:
            self.faults.append("<meta http-equiv>")
        for name, value in attrs:
            if name.startswith("on") or MARK in name or name in {"style", "srcdoc", "formaction"}:
                self.faults.append(f"<{tag} {name}>")
            if name in {"href", "src", "action", "data-part"} and not re.match(r"(/(?!/)|\?|#)", value or ""):
                self.faults.append(f"<{tag} {name}={value!r:.60}>")
            if name in {"id", "class", "name", "for"} and MARK in (value or ""):
                self.faults.append(f"a stranger's {name}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


# Controls but for line ends, and what turns or hides text (Unicode TR 36); isolates are the page's own (server/views.py) and closed in the text they open in.
UNSEEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2067\u2068\ufeff\ue000-\uf8ff\ud800-\udfff]"
)


def faults_of(page: str) -> list[str]:
    """What a hostile word became on a page other than text; empty when nothing."""
    reader = PageReader()
    reader.feed(page)
    reader.close()
    shown = "".join(reader.text)
    faults = reader.faults
    if found := UNSEEN.search(page):
        faults.append(f"U+{ord(found[0]):04X} at {found.start()}")
    if any(part.count("\u2066") != part.count("\u2069") for part in reader.text):
        faults.append("a direction that is not closed")
    if re.search(r"(?<![\w.])9[., \u00a0]?359(?!\w)", shown):
        faults.append("a template that was worked out")
    return faults
