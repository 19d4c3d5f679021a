"""PURE: what an ICC colour profile (ISO 15076-1) calls itself. A profile that cannot be read has no name, which is not sRGB."""

from __future__ import annotations

import struct

UNNAMED = "unnamed"
# The tag table follows the header and its own count.
_TAGS_AT = 128
MAX_TAGS = 200
MAX_NAME = 80
# What reports may repeat; any other name is the file's own words, which may name a person or a device ("Anna's MacBook").
KNOWN = (
    "Adobe RGB (1998)",
    "Apple Wide Color Sharing Profile",
    "Camera RGB Profile",
    "Display P3",
    "Dot Gain 20%",
    "eciRGB v2",
    "Generic RGB Profile",
    "Gray Gamma 2.2",
    "Image P3",
    "ProPhoto RGB",
    "ROMM RGB",
    "Rec. 2020",
    "Rec. 709",
)


def profile_name(profile: bytes) -> str:
    """The profile's description, at most MAX_NAME printable characters."""
    try:
        (count,) = struct.unpack_from(">I", profile, _TAGS_AT)
        for number in range(min(count, MAX_TAGS)):
            name, at, length = struct.unpack_from(">4sII", profile, _TAGS_AT + 4 + 12 * number)
            if name == b"desc":
                return _text(profile[at : at + length])
    except struct.error:
        return UNNAMED
    return UNNAMED


def _text(tag: bytes) -> str:
    if tag[:4] == b"desc":  # version 2: counted ASCII
        (length,) = struct.unpack_from(">I", tag, 8)
        text = tag[12 : 12 + length].decode("ascii", "replace")
    elif tag[:4] == b"mluc":  # version 4: the first translation, UTF-16
        length, at = struct.unpack_from(">II", tag, 20)
        text = tag[at : at + length].decode("utf-16-be", "replace")
    else:
        return UNNAMED
    return "".join(c for c in text if c.isprintable()).strip()[:MAX_NAME] or UNNAMED


def reported(name: str) -> str:
    """The profile for a report: by its name when that is a standard's or a maker's, else without."""
    return next((known for known in KNOWN if known.lower() == name.lower()), "of another name")


def is_srgb(name: str | None) -> bool:
    """Whether colours mean sRGB: told so, or nothing told, which software reads as sRGB."""
    return name is None or "srgb" in name.lower()
