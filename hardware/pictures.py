"""Encoded pictures as a camera sends them: looked at before they are decoded, and decoded only when whole (pure).

Order: type by the first bytes (JPEG, PNG), then the size from the header, refused above `MAX_PIXELS`; then completeness (a PNG with every
chunk and its check sum, a JPEG with its end mark), because decoders fill the missing part of a cut picture without a word; then the
decoder; then the size again. Orientation marks are ignored: how the camera is mounted stands in the settings.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.errors import CameraPictureError

MAX_PIXELS = 64_000_000
PNG_MARK = b"\x89PNG\r\n\x1a\n"
JPEG_MARK = b"\xff\xd8"
JPEG_END = b"\xff\xd9"
# Start of frame: baseline, extended, progressive (Huffman); the other kinds are not decoded by libjpeg.
FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2})
# Markers without a length: TEM, RST0-7, SOI.
BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
SCAN_MARKER, END_MARKER = 0xDA, 0xD9
# Cameras pad JPEGs to a fixed length with these.
JPEG_PADDING = b"\0\r\n"


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What the header of a picture says."""

    format: str
    width: int
    height: int

    @property
    def lossy(self) -> bool:
        """Whether the format loses detail."""
        return self.format != "PNG"


def read_header(data: bytes) -> PictureHeader:
    """Type and size of a whole picture; raise `CameraPictureError` for anything else."""
    if data.startswith(PNG_MARK):
        header = _read_png(data)
    elif data.startswith(JPEG_MARK):
        header = _read_jpeg(data)
    else:
        raise CameraPictureError(f"The camera sent {len(data)} bytes that are neither JPEG nor PNG: check its address.")
    if header.width < 1 or header.height < 1 or header.width * header.height > MAX_PIXELS:
        raise CameraPictureError(
            f"The camera sent a picture of {header.width}x{header.height}: at most {MAX_PIXELS // 1_000_000} million pixels are read."
        )
    return header


def _read_png(data: bytes) -> PictureHeader:
    at, header = len(PNG_MARK), None
    view = memoryview(data)
    while at + 12 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise CameraPictureError("The camera sent a damaged PNG (check sum).")
        kind = bytes(view[at + 4 : at + 8])
        if header is None:
            if kind != b"IHDR" or length != 13:
                break
            width, height = (
                int.from_bytes(view[at + 8 : at + 12], "big"),
                int.from_bytes(view[at + 12 : at + 16], "big"),
            )
            header = PictureHeader("PNG", width, height)
            if view[at + 16] != 8 or view[at + 17] not in {2, 6}:
                raise CameraPictureError("The camera sent a PNG that is not 8-bit colour: set it to 24-bit RGB.")
        if kind == b"IEND":
            return header
        at = end
    raise CameraPictureError(f"The camera sent an incomplete PNG ({len(data)} bytes).")


def _read_jpeg(data: bytes) -> PictureHeader:
    if not data[-64:].rstrip(JPEG_PADDING).endswith(JPEG_END):
        raise CameraPictureError(f"The camera sent an incomplete JPEG ({len(data)} bytes).")
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in BARE_MARKERS:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in FRAME_MARKERS and length >= 8 and at + 9 <= len(data):
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return PictureHeader("MJPG", width, height)
        if marker in {SCAN_MARKER, END_MARKER} or length < 2:
            break
        at += 2 + length
    raise CameraPictureError("The camera sent a JPEG without a readable size.")


def decode(data: bytes) -> tuple[PictureHeader, NDArray[np.uint8]]:
    """The header and the BGR pixels of a whole picture."""
    header = read_header(data)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise CameraPictureError(f"The camera sent a damaged {header.format}.") from error
    if pixels is None or pixels.shape != (header.height, header.width, 3):
        raise CameraPictureError(f"The camera sent a damaged {header.format}.")
    return header, np.asarray(pixels, np.uint8)
