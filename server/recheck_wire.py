"""What the desk and its checker say to each other over two pipes: lengths, JSON, pictures. PURE.

The desk asks once: three lengths (words, portrait, chip image; big-endian), then these bytes. The checker tells first that it is ready and then its answer, each a length and JSON.
The desk reads an answer as it reads a booth's report (server/records.py): whoever made the picture may have taken the checker over.
"""

from __future__ import annotations

import json
import struct
from typing import Any

ASKED = struct.Struct(">III")
TOLD = struct.Struct(">I")
# A package is no larger (crypto.package.MAX_PACKAGE_BYTES); words are a name and a word; an answer has sixty findings of some 400 bytes.
MOST_PICTURE_BYTES, MOST_WORDS_BYTES, MOST_TOLD_BYTES = 20_000_000, 4_096, 1_000_000
# The largest portrait of a profile has 2 million pixels (1244 x 1600); cameras of booths have up to 24 million.
MOST_PIXELS = 24_000_000
# Which kind of file a portrait is by its name; the names are those of validation/image_header.py.
JPEG, JPEG_2000 = "JPEG", "JPEG 2000"
PORTRAITS = {"portrait.jpg": JPEG, "portrait.jp2": JPEG_2000}


def asked(words: dict[str, Any], portrait: bytes, chip: bytes) -> bytes:
    """A question as it goes over the pipe."""
    text = json.dumps(words).encode()
    return ASKED.pack(len(text), len(portrait), len(chip)) + text + portrait + chip


def told(answer: dict[str, Any]) -> bytes:
    """An answer as it goes over the pipe."""
    text = json.dumps(answer, allow_nan=False).encode()
    return TOLD.pack(len(text)) + text
