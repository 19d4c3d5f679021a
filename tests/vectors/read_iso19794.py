"""Reads a face record of ISO/IEC 19794-5:2005 with the independent reader `iso19794` and prints its fields as JSON.

Run by an interpreter of its own, because that reader needs an old Pillow (measured: iso19794 0.1.0 with pillow 10.0.1 on Python 3.11):
    uv venv X && uv pip install --python X/bin/python iso19794==0.1.0 pillow==10.0.1
    X/bin/python tests/vectors/read_iso19794.py RECORD
"""

from __future__ import annotations

import hashlib
import json
import sys

import iso19794  # registers the format with Pillow
import PIL.Image


def main() -> None:
    """The record's fields and a digest of its decoded pixels."""
    with PIL.Image.open(sys.argv[1]) as picture:
        assert picture.format == "FAC", iso19794.__name__
        header = vars(picture.header) if hasattr(picture.header, "__dict__") else dict(picture.header)
        pixels = picture.convert("RGB").tobytes()
        told = {
            "version": picture.info["version"],
            "pictures": picture.info["nb_facial_images"],
            "width": picture.size[0],
            "height": picture.size[1],
            "pixels_sha256": hashlib.sha256(pixels).hexdigest(),
            **{key: _plain(value) for key, value in header.items()},
        }
    print(json.dumps(told))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, type(None))) else str(value)


if __name__ == "__main__":
    main()
