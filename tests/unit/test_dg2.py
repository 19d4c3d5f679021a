"""ICAO LDS DG2: a vector written out by hand, asn1crypto's reading of ours, refusals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from asn1crypto import parser

from crypto import der
from crypto.dg2 import DataGroup2, RecordForm, explain_dg2, read_dg2, write_dg2
from crypto.errors import FaceRecordError
from crypto.face_record_2005 import FaceRecord2005
from crypto.face_record_der import write_face_record
from tests.records import FULL, LEAST, OLD

MADE = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)
RECORDS = {
    RecordForm.ISO_19794_5: FaceRecord2005(bytes.fromhex("FFD8FFD9"), 3, 4, coding=0).to_bytes(),
    RecordForm.ISO_39794_5: write_face_record(LEAST),
}

OLD_VECTOR = """
75 5B                                       # EF.DG2
  7F 61 58                                  # biometric information group template
    02 01 01                                # one instance
    7F 60 52                                # biometric information template
      A1 1B                                 # biometric header template
        80 02 01 01                         # header version 1.1
        81 01 02                            # biometric type: face
        82 01 00                            # no subtype
        83 07 20 26 11 23 01 02 03          # made 2026-11-23 01:02:03
        87 02 01 01                         # format owner: ISO/IEC JTC 1/SC 37
        88 02 00 08                         # format type: ISO/IEC 19794-5 face image
      5F 2E 32                              # the record
        46 41 43 00  30 31 30 00            #   FAC, 010
        00 00 00 32  00 01                  #   50 octets, one picture
        00 00 00 24  00 00  00 00 00        #   block of 36, no points, nothing said of the person
        00 00 00  00 00                     #   no properties, no expression
        00 00 00  00 00 00                  #   no pose
        01 00  00 03 00 04  01 02           #   full frontal, JPEG, 3 x 4, RGB, digital camera
        00 00  00 00                        #   device, quality
        FF D8 FF D9                         #   the picture
"""
NEW_ENVELOPE = """
75 7F                                       # EF.DG2
  7F 61 7C                                  # biometric information group template
    02 01 01                                # one instance
    7F 60 76                                # biometric information template
      A1 12                                 # biometric header template
        80 02 01 01  81 01 02  82 01 00     # header version, face, no subtype
        87 02 01 01  88 02 00 2A            # ISO/IEC JTC 1/SC 37, ISO/IEC 39794-5 face image
      7F 2E 5F                              # the record, constructed
        A1 5D                               # Application Profile for eMRTDs, table 2
"""


def octets(vector: str) -> bytes:
    """A vector without its comments."""
    return bytes.fromhex("".join(line.split("#")[0] for line in vector.splitlines()))


def test_vector_of_the_older_form() -> None:
    data = write_dg2(RECORDS[RecordForm.ISO_19794_5], MADE)
    assert data.hex() == octets(OLD_VECTOR).hex()
    assert read_dg2(data).record == RECORDS[RecordForm.ISO_19794_5]


def test_vector_of_the_newer_form() -> None:
    record = RECORDS[RecordForm.ISO_39794_5]
    data = write_dg2(record)
    assert data.hex() == (octets(NEW_ENVELOPE) + record).hex()
    assert read_dg2(data).record == record


def tree(data: bytes) -> list[Any]:
    """Tags (class, number) and contents by asn1crypto, whose parser knows tags of several octets."""
    found = []
    while data:
        class_, constructed, number, header, content, trailer = parser.parse(data)
        assert trailer == b""
        data = data[len(header) + len(content) :]
        found.append(((class_, number), tree(content) if constructed else content))
    return found


APPLICATION, CONTEXT, UNIVERSAL = 1, 2, 0


@pytest.mark.parametrize("form", list(RecordForm))
def test_asn1crypto_finds_the_same_elements(form: RecordForm) -> None:
    [(group, [(template, [count, (one, [header, record])])])] = tree(write_dg2(RECORDS[form], MADE))
    # 75 is [APPLICATION 21]; 7F61, 7F60 and xF2E are [APPLICATION 97], 96 and 46.
    assert (group, template, one) == ((APPLICATION, 21), (APPLICATION, 97), (APPLICATION, 96))
    assert count == ((UNIVERSAL, 2), b"\x01")
    assert header == (
        (CONTEXT, 1),
        [
            ((CONTEXT, 0), b"\x01\x01"),
            ((CONTEXT, 1), b"\x02"),
            ((CONTEXT, 2), b"\x00"),
            ((CONTEXT, 3), bytes.fromhex("20261123010203")),
            ((CONTEXT, 7), b"\x01\x01"),
            ((CONTEXT, 8), form.value[0]),
        ],
    )
    assert record[0] == (APPLICATION, 46)
    if form is RecordForm.ISO_19794_5:
        assert record[1] == RECORDS[form]
    else:
        assert record[1] == [((CONTEXT, 1), tree(RECORDS[form]))]


@pytest.mark.parametrize("form", list(RecordForm))
def test_an_envelope_says_what_lies_in_it(form: RecordForm) -> None:
    data = write_dg2(RECORDS[form], MADE)
    group, leaves, at = explain_dg2(data)
    assert group == DataGroup2.around(RECORDS[form], MADE)
    assert group.form is form
    assert data[at:] == RECORDS[form]
    for leaf in leaves:
        value = leaf.value if isinstance(leaf.value, bytes) else bytes((leaf.value,))
        assert data[leaf.offset + 2 : leaf.offset + 2 + leaf.length] == value


GOOD = write_dg2(OLD.to_bytes())


def enveloped(header: str, record: bytes, tag: bytes = b"\x5f\x2e") -> bytes:
    """A data group with any header."""

    def tall(name: bytes, content: bytes) -> bytes:
        return name[:1] + der.element(name[1], content)

    template = tall(b"\x7f\x60", der.element(0xA1, bytes.fromhex(header)) + tall(tag, record))
    return der.element(0x75, tall(b"\x7f\x61", b"\x02\x01\x01" + template))


def test_only_owner_and_type_must_be_said() -> None:
    assert read_dg2(enveloped("87020101 88020008", OLD.to_bytes())).record == OLD.to_bytes()
    full = "80020101 810102 820100 830720261123010203 85082026112320361123 860401030001 87020101 88020008"
    assert len(read_dg2(enveloped(full, OLD.to_bytes())).header) == 8


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not the envelope"),
        (b"\x61" + GOOD[1:], "not the envelope"),
        (GOOD[:-1], "not the envelope"),
        (GOOD + b"\x00", "exactly one"),
        (bytes.fromhex("7584FFFFFFFF"), "not the envelope"),
        (GOOD.replace(b"\x02\x01\x01", b"\x02\x01\x02", 1), "exactly one"),
        (enveloped("88020008 87020101", OLD.to_bytes()), "not in order"),
        (enveloped("87020101", OLD.to_bytes()), "misses format owner or type"),
        (enveloped("87020101 87020101 88020008", OLD.to_bytes()), "not in order"),
        (enveloped("810108 87020101 88020008", OLD.to_bytes()), "biometric type is 08, not 02"),
        (enveloped("83072026112301020A 87020101 88020008", OLD.to_bytes()), "decimal digits"),
        (enveloped("8902FFFF 87020101 88020008", OLD.to_bytes()), "not in order"),
        (enveloped("84020000 87020101 88020008", OLD.to_bytes()), "84 is unknown"),
        (enveloped("87020101 8802002A", OLD.to_bytes()), "format type is 002A"),
        (enveloped("87020101 88020008", OLD.to_bytes()[:-1]), "lengths are"),
        (enveloped("87020101 88020008", OLD.to_bytes(), b"\x5f\x2f"), "something else"),
        (enveloped("87020101 8802002A", OLD.to_bytes(), b"\x7f\x2e"), "not the envelope"),
        (enveloped("8700" * 100, OLD.to_bytes()), "more elements"),
    ],
)
def test_a_refusal_names_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(FaceRecordError, match=says):
        read_dg2(data)


def test_records_that_are_none_get_no_envelope() -> None:
    for record in (b"", b"FAC\x00", write_face_record(FULL)[:-1]):
        with pytest.raises(FaceRecordError):
            write_dg2(record)
