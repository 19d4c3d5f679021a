"""Values of face records in words for people: codes, the numbers of ISO/IEC 19794-5:2005, of the CBEFF registry and of MPEG-4. PURE."""

from __future__ import annotations

from enum import Enum
from typing import Any

from crypto import face_record_2005 as old
from crypto.face_record import Landmark
from crypto.face_record_codes import FIRST_MEASURE, ISO_SC37, CaptureTechnology
from validation.ofiq import COLUMNS

ONE_LINE_BYTES = 16
DG2_WORDS = {
    ("header version", "0101"): "1.1",
    ("biometric type", "02"): "face",
    ("biometric subtype", "00"): "none",
    ("format owner", "0101"): "ISO/IEC JTC 1/SC 37",
    ("format type", "0008"): "face image of ISO/IEC 19794-5",
    ("format type", "002A"): "face image of ISO/IEC 39794-5",
}

POINTS = {
    (2, 1): "bottom of the chin",
    (3, 7): "left eye, outer corner",
    (3, 8): "right eye, inner corner",
    (3, 11): "left eye, inner corner",
    (3, 12): "right eye, outer corner",
    (8, 1): "middle of the upper lip",
    (8, 2): "middle of the lower lip",
    (8, 3): "left mouth corner",
    (8, 4): "right mouth corner",
    (9, 3): "tip of the nose",
    (12, 1): "centre of the left eye",
    (12, 2): "centre of the right eye",
}


def words(name: str, value: Any, before: Any = None) -> str:
    """A value for people; `before` is the value that stands before it."""
    if isinstance(value, Enum):
        return f"{value.name.replace('_', ' ').lower()} ({value.value})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        known = DG2_WORDS.get((name, value.hex().upper()))
        return f"{known} ({value.hex().upper()})" if known else _bytes_words(value)
    told = _old_words(name, value) or _point_words(value) or _registry_words(name, value, before)
    return told or f"{value}{_unit(name)}"


def _registry_words(name: str, value: Any, before: Any) -> str | None:
    """Numbers of the CBEFF registry that this booth writes."""
    if name.endswith(".organization") and value == ISO_SC37:
        return f"ISO/IEC JTC 1/SC 37 ({value})"
    measure = value - FIRST_MEASURE if name.endswith("algorithmIdBlock.id") and before == ISO_SC37 else -1
    if 0 <= measure < len(COLUMNS):
        return f"{COLUMNS[measure]} of ISO/IEC 29794-5 ({value})"
    return None


def _bytes_words(value: bytes) -> str:
    return value.hex().upper() if len(value) <= ONE_LINE_BYTES else f"{len(value):,} bytes"


def _unit(name: str) -> str:
    last = name.rsplit(".", 1)[-1]
    if last in ("angleValue", "angleUncertainty"):
        return "°"
    if last in ("x", "y", "width", "height") or (last.startswith("image") and last != "imageDataFormat"):
        return " px"
    return ""


def _point_words(value: Any) -> str | None:
    if isinstance(value, Landmark) and value.at is not None:
        return f"{_point_words(value.name)} at x {value.at.x_px}, y {value.at.y_px}"
    if isinstance(value, tuple) and len(value) == 2:
        group, point = value
        called = POINTS.get((group, point))
        return f"MPEG-4 point {group}.{point}" + (f": {called}" if called else "")
    return None


def _old_words(name: str, value: Any) -> str | None:
    """The numbers of ISO/IEC 19794-5:2005 in words."""
    tables: dict[str, dict[int, str]] = {
        "image coding": {0: "JPEG", 1: "JPEG 2000"},
        "face image kind": {0: "basic", 1: "full frontal", 2: "token frontal"},
        "expression": dict(enumerate(old.EXPRESSIONS)),
        "source type": {code: code.name.replace("_", " ").lower() for code in CaptureTechnology} | {7: "unknown"},
    }
    for label, words in (
        ("gender", old.GENDERS),
        ("eye colour", old.EYES),
        ("hair colour", old.HAIR),
        ("colour space", old.COLOURS),
    ):
        known: dict[Any, int] = {**words}
        tables[label] = {
            number: "not said" if word is None else word.name.replace("_", " ").lower()
            for word, number in known.items()
        }
    if name in tables:
        return f"{tables[name].get(value, 'other')} ({value})"
    if name == "properties":
        said = [label.replace("_", " ") for bit, label in enumerate(old.PROPERTIES, 1) if value >> bit & 1]
        return f"{', '.join(said) or ('none of them' if value else 'not said')} (0x{value:06X})"
    if name == "pose":
        return ", ".join(_angle_words(axis, octet) for axis, octet in zip(("yaw", "pitch", "roll"), value, strict=True))
    if name == "pose uncertainty":
        pairs = zip(("yaw", "pitch", "roll"), value, strict=True)
        return ", ".join(f"{axis} ±{octet - 1}° ({octet})" if octet else f"{axis} not said" for axis, octet in pairs)
    return None


def _angle_words(axis: str, octet: int) -> str:
    degrees = old.angle_deg(octet)
    return f"{axis} not said" if degrees is None else f"{axis} {degrees}° ({octet})"
