"""Data group 2 of a passport chip (ICAO Doc 9303-10, LDS): the CBEFF envelope around one face record, written and strictly unwrapped. PURE.

    75                      data group 2
      7F61                  biometric information group template
        02 01 01            one instance
        7F60                biometric information template
          A1                header: 80 version, 81 type, 82 subtype, 83 creation, 85 validity, 86 creator, 87 owner, 88 format
          5F2E | 7F2E       the record: 5F2E as bytes (ISO/IEC 19794-5), 7F2E with A1 around the DER (ISO/IEC 39794-5)

Tags have the octets given here, lengths are those of DER. Elements of the header stand in the order of their tags; only 87 and 88 must be there.
The record inside is read by its own strict reader, and the whole is written again and compared. Sources: docs/face-record.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from crypto import der
from crypto.errors import FaceRecordError
from crypto.face_record_2005 import read_face_record_2005
from crypto.face_record_der import MAX_RECORD_BYTES, read_face_record
from crypto.face_record_form import Leaf

GROUP = 0x75
OWNER = b"\x01\x01"  # ISO/IEC JTC 1/SC 37
HEADER_VERSION = b"\x01\x01"
FACE_TYPE = b"\x02"  # facial features
NO_SUBTYPE = b"\x00"
MAX_DG2_BYTES = MAX_RECORD_BYTES + 256


class RecordForm(Enum):
    """What lies in the envelope: the format number of the registry, and the tag around the record."""

    ISO_19794_5 = (b"\x00\x08", b"\x5f\x2e")
    ISO_39794_5 = (b"\x00\x2a", b"\x7f\x2e")


# The header's elements: tag, length where it is fixed, name.
HEADER_ELEMENTS = {
    0x80: (2, "header version"),
    0x81: (1, "biometric type"),
    0x82: (1, "biometric subtype"),
    0x83: (7, "creation date and time"),
    0x85: (8, "validity period"),
    0x86: (4, "creator"),
    0x87: (2, "format owner"),
    0x88: (2, "format type"),
}


@dataclass(frozen=True, slots=True)
class DataGroup2:
    """One face record in its envelope."""

    form: RecordForm
    record: bytes = field(repr=False)
    header: tuple[tuple[int, bytes], ...] = ()

    @classmethod
    def around(cls, record: bytes, created: datetime | None = None) -> DataGroup2:
        """The envelope for a record of either form, which is checked."""
        form = RecordForm.ISO_19794_5 if record.startswith(b"FAC\x00") else RecordForm.ISO_39794_5
        header = [(0x80, HEADER_VERSION), (0x81, FACE_TYPE), (0x82, NO_SUBTYPE)]
        if created is not None:
            header.append((0x83, bytes.fromhex(f"{created.astimezone(UTC):%Y%m%d%H%M%S}")))
        group = cls(form, record, (*header, (0x87, OWNER), (0x88, form.value[0])))
        group.check()
        return group

    def check(self) -> None:
        """The header's order and contents, and the record by its own reader."""
        tags = [tag for tag, _ in self.header]
        if tags != sorted(set(tags)) or not {0x87, 0x88} <= set(tags):
            raise FaceRecordError("The DG2 header misses format owner or type, or its elements are not in order.")
        for tag, value in self.header:
            if tag not in HEADER_ELEMENTS or len(value) != HEADER_ELEMENTS[tag][0]:
                raise FaceRecordError(f"The DG2 header's element {tag:02X} is unknown or has a wrong length.")
        wanted = {0x80: HEADER_VERSION, 0x81: FACE_TYPE, 0x82: NO_SUBTYPE, 0x87: OWNER, 0x88: self.form.value[0]}
        for tag, value in self.header:
            if value != wanted.get(tag, value):
                name = HEADER_ELEMENTS[tag][1]
                raise FaceRecordError(
                    f"The DG2 header's {name} is {value.hex().upper()}, not {wanted[tag].hex().upper()}."
                )
            if tag in (0x83, 0x85) and not value.hex().isdecimal():
                raise FaceRecordError(f"The DG2 header's {HEADER_ELEMENTS[tag][1]} is not of decimal digits.")
        if self.form is RecordForm.ISO_19794_5:
            read_face_record_2005(self.record)
        else:
            read_face_record(self.record)

    def to_bytes(self) -> bytes:
        """The data group."""
        header = der.element(0xA1, *(der.element(tag, value) for tag, value in self.header))
        body = self.record if self.form is RecordForm.ISO_19794_5 else der.element(0xA1, self.record)
        template = _element(b"\x7f\x60", header + _element(self.form.value[1], body))
        return der.element(GROUP, _element(b"\x7f\x61", der.element(der.INTEGER, b"\x01") + template))


def write_dg2(record: bytes, created: datetime | None = None) -> bytes:
    """A record of either form as data group 2. Raises FaceRecordError."""
    return DataGroup2.around(record, created).to_bytes()


def read_dg2(data: bytes) -> DataGroup2:
    """The envelope's contents; raises FaceRecordError for anything that this module would not write the same."""
    return explain_dg2(data)[0]


def explain_dg2(data: bytes) -> tuple[DataGroup2, tuple[Leaf, ...], int]:
    """The envelope's contents, its elements with their places, and where the record inside begins."""
    if len(data) > MAX_DG2_BYTES:
        raise FaceRecordError(f"The DG2 has {len(data)} bytes; {MAX_DG2_BYTES} is the limit.")
    try:
        return _read(data)
    except der.DerError as err:
        raise FaceRecordError(f"The DG2 is not the envelope of Doc 9303: {err}.") from err


def _read(data: bytes) -> tuple[DataGroup2, tuple[Leaf, ...], int]:
    group, rest = der.read(memoryview(data), GROUP)
    instances, beyond = _tall(group, b"\x7f\x61")
    count, template = der.read(instances, der.INTEGER)
    if rest or beyond or bytes(count) != b"\x01":
        raise FaceRecordError("The DG2 does not hold exactly one biometric template, or something follows it.")
    template, beyond = _tall(template, b"\x7f\x60")
    header, body = der.read(template, 0xA1)
    form = next((form for form in RecordForm if bytes(body[:2]) == form.value[1]), None)
    if beyond or form is None:
        raise FaceRecordError("The DG2's template holds something else than a header and one record.")
    content, beyond = _tall(body, form.value[1])
    if form is RecordForm.ISO_39794_5 and not beyond:
        content, beyond = der.read(content, 0xA1)
    if beyond:
        raise FaceRecordError("The DG2's record is followed by something else.")
    # Nothing may follow the record anywhere, so offsets count back from the end.
    elements, leaves = _header(header, len(data) - len(body) - len(header))
    found = DataGroup2(form, bytes(content), elements)
    found.check()
    if found.to_bytes() != data:
        raise FaceRecordError("The DG2 is not in the one form that its values have.")
    leaves.insert(0, Leaf(len(data) - len(instances), "75 7F61 02", "number of instances", 1, 1))
    return found, tuple(leaves), len(data) - len(content)


def _header(header: memoryview, at: int) -> tuple[tuple[tuple[int, bytes], ...], list[Leaf]]:
    elements: list[tuple[int, bytes]] = []
    leaves: list[Leaf] = []
    while header:
        if len(elements) == len(HEADER_ELEMENTS):
            raise FaceRecordError("The DG2 header has more elements than there are.")
        tag = header[0]
        value, after = der.read(header, tag)
        name = HEADER_ELEMENTS.get(tag, (0, "unknown"))[1]
        elements.append((tag, bytes(value)))
        leaves.append(Leaf(at, f"75 7F61 7F60 A1 {tag:02X}", name, len(value), bytes(value)))
        at += len(header) - len(after)
        header = after
    return tuple(elements), leaves


def _element(tag: bytes, content: bytes) -> bytes:
    """An element under a tag of two octets."""
    return tag[:1] + der.element(tag[1], content)


def _tall(view: memoryview, tag: bytes) -> tuple[memoryview, memoryview]:
    """The content of the next element under a tag of two octets, and what follows it."""
    if bytes(view[:1]) != tag[:1]:
        raise der.DerError("an element has another tag than expected, or is missing")
    return der.read(view[1:], tag[1])
