"""PURE: what a picture file says about itself, read from its bytes without decoding: format, size, bits, colour, frames, turn.

Each format is walked from its first byte to its end mark, so a file that was cut off is found here and not by a half grey picture.
Formats: JPEG (ISO/IEC 10918-1), PNG (ISO/IEC 15948), GIF89a, WebP (RFC 9649), BMP, JPEG 2000 (ISO/IEC 15444-1).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace

from validation.errors import ImageUnreadableError, NotJudgeableError
from validation.icc import profile_name

# Colour profiles have some kilobytes; a larger one is not unpacked further.
MAX_PROFILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says."""

    format: str
    width: int
    height: int
    bits: int = 8
    colour: str = "rgb"  # "rgb", "grey", "palette", "cmyk"
    lossy: bool = False
    frames: int = 1  # 2 stands for "more than one"
    orientation: int = 1  # EXIF
    icc: str | None = None  # what the embedded colour profile calls itself; None when there is none


def read_header(data: bytes) -> Header:
    """The header of a picture; raises ImageUnreadableError or NotJudgeableError for anything else."""
    if not data:
        raise ImageUnreadableError("The file is empty.")
    for magic, at, walk in _WALKS:
        if data[at : at + len(magic)] == magic:
            try:
                header = walk(data)
            except (struct.error, IndexError, ValueError, zlib.error) as error:
                raise _damaged(walk.__name__[1:].upper()) from error
            if header.width < 1 or header.height < 1:
                raise _damaged(header.format)
            return header
    for magic, at, name in _KNOWN_BUT_NOT_READ:
        if data[at : at + len(magic)] == magic:
            raise NotJudgeableError(f"{name} pictures are not read; save the photo as JPEG or PNG.")
    raise ImageUnreadableError("The file is not a picture; give a JPEG, PNG, WebP, BMP, GIF or JPEG 2000 file.")


def _damaged(kind: str) -> ImageUnreadableError:
    return ImageUnreadableError(f"The {kind} file is damaged or cut off; save or send it again.")


def _jpeg(data: bytes) -> Header:
    header: Header | None = None
    orientation = 1
    profile = b""
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        if data[at] != 0xFF:
            raise _damaged("JPEG")
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        body = data[at + 4 : at + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            bits, height, width, channels = struct.unpack_from(">BHHB", body)
            colour = {1: "grey", 3: "rgb", 4: "cmyk"}.get(channels)
            if colour is None:
                raise NotJudgeableError(f"The JPEG has {channels} colour channels; save it as an RGB picture.")
            # SOF3, 7, 11, 15 are the lossless processes.
            header = Header("JPEG", width, height, bits, colour, lossy=marker & 3 != 3)
        elif marker == 0xE1 and body[:6] == b"Exif\0\0":
            orientation = _orientation(body[6:])
        elif marker == 0xE2 and body[:12] == b"ICC_PROFILE\0" and len(profile) < MAX_PROFILE_BYTES:
            profile += body[14:]  # parts come in order
        elif marker == 0xDA:
            break
        at += 2 + length
    # Within coded data FF is followed by 00 or RSTn only, so the first FF D9 after the scan's start is the end mark.
    if header is None or data.find(b"\xff\xd9", at) < 0:
        raise _damaged("JPEG")
    return replace(header, orientation=orientation, icc=profile_name(profile) if profile else None)


def _orientation(tiff: bytes) -> int:
    """EXIF tag 274 of the first directory; 1 when absent or senseless."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, directory + 2 + 12 * entry)
            if tag == 274 and kind == 3 and 1 <= value <= 8:
                return int(value)
    except struct.error:
        return 1
    return 1


def _png(data: bytes) -> Header:
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    colour = {0: "grey", 2: "rgb", 3: "palette", 4: "grey", 6: "rgb"}.get(kind)
    if colour is None:
        raise _damaged("PNG")
    header = Header("PNG", width, height, 8 if kind == 3 else bits, colour)
    at = 8
    while True:
        (length,) = struct.unpack_from(">I", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (told,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(body, zlib.crc32(name)) != told:
            raise _damaged("PNG")
        if name == b"acTL" and struct.unpack_from(">I", body)[0] > 1:
            header = replace(header, frames=2)
        elif name == b"eXIf":
            header = replace(header, orientation=_orientation(body))
        elif name == b"iCCP":
            packed = body[body.index(b"\0") + 2 :]
            header = replace(header, icc=profile_name(zlib.decompressobj().decompress(packed, MAX_PROFILE_BYTES)))
        elif name == b"sRGB":
            header = replace(header, icc="sRGB")
        elif name == b"IEND":
            return header
        at += 12 + length


def _gif(data: bytes) -> Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (1 + (flags & 7)) if flags & 0x80 else 0)
    frames = 0
    while data[at] != 0x3B:  # trailer
        if data[at] == 0x21:  # extension
            at = _gif_blocks(data, at + 2)
        elif data[at] == 0x2C:  # image
            frames += 1
            local = data[at + 9]
            at = _gif_blocks(data, at + 11 + (3 << (1 + (local & 7)) if local & 0x80 else 0))
        else:
            raise _damaged("GIF")
    return Header("GIF", width, height, 8, "palette", frames=min(frames, 2))


def _gif_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _webp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 4)
    if data[8:12] != b"WEBP" or len(data) < size + 8:
        raise _damaged("WebP")
    kind, start = data[12:16], 20
    if kind == b"VP8X":
        flags = data[start]
        width = 1 + int.from_bytes(data[start + 4 : start + 7], "little")
        height = 1 + int.from_bytes(data[start + 7 : start + 10], "little")
        lossy = b"VP8L" not in data[:4096]
        icc = _webp_chunk(data, b"ICCP")
        return Header(
            "WebP",
            width,
            height,
            lossy=lossy,
            frames=2 if flags & 0x02 else 1,
            orientation=_orientation((_webp_chunk(data, b"EXIF") or b"").removeprefix(b"Exif\0\0")),
            icc=None if icc is None else profile_name(icc),
        )
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, start + 1)
        return Header("WebP", 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF))
    width, height = struct.unpack_from("<HH", data, start + 6)
    return Header("WebP", width & 0x3FFF, height & 0x3FFF, lossy=True)


def _webp_chunk(data: bytes, wanted: bytes) -> bytes | None:
    at = 12
    while at + 8 <= len(data):
        name, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        if name == wanted:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)
    return None


def _bmp(data: bytes) -> Header:
    size, head = struct.unpack_from("<I", data, 2)[0], struct.unpack_from("<I", data, 14)[0]
    if head < 40 or len(data) < size:
        raise _damaged("BMP")
    width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    return Header("BMP", width, abs(height), 8, "palette" if bits <= 8 else "rgb")


def _jp2(data: bytes) -> Header:
    at = data.find(b"ihdr")
    if at < 0:
        raise _damaged("JPEG 2000")
    height, width, channels, bits = struct.unpack_from(">IIHB", data, at + 4)
    colour = {1: "grey", 2: "grey", 3: "rgb", 4: "rgb"}.get(channels)
    if colour is None or not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise _damaged("JPEG 2000")
    return Header("JPEG 2000", width, height, (bits & 0x7F) + 1, colour, lossy=True)


_WALKS = (
    (b"\xff\xd8\xff", 0, _jpeg),
    (b"\x89PNG\r\n\x1a\n", 0, _png),
    (b"GIF8", 0, _gif),
    (b"RIFF", 0, _webp),
    (b"BM", 0, _bmp),
    (b"\0\0\0\x0cjP  \r\n\x87\n", 0, _jp2),
)
_KNOWN_BUT_NOT_READ = (
    (b"ftypheic", 4, "HEIC"),
    (b"ftypheix", 4, "HEIC"),
    (b"ftypmif1", 4, "HEIF"),
    (b"ftypavif", 4, "AVIF"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"%PDF", 0, "PDF"),
)
