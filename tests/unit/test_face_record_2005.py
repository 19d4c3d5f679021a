"""ISO/IEC 19794-5:2005: round trips, an independent walk over the documented table, an independent reader, refusals."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from crypto.errors import FaceRecordError
from crypto.face_record import (
    Angle,
    Expression,
    FaceRecord,
    ImageInformation,
    Landmark,
    Picture,
    Point,
    PoseAngles,
    Properties,
    Size,
    Subject,
)
from crypto.face_record_2005 import (
    FaceRecord2005,
    angle_deg,
    explain_face_record_2005,
    read_face_record_2005,
    write_face_record_2005,
)
from crypto.face_record_codes import ColourSpace, EyeColour, Gender, HairColour, ImageFormat, ImageKind
from tests.records import FULL, JPEG, OLD, face_records_2005

READER = "PASSBOOTH_ISO19794_PYTHON"


@settings(max_examples=300, deadline=None)
@given(record=face_records_2005())
def test_what_is_written_is_read_again(record: FaceRecord2005) -> None:
    assert read_face_record_2005(record.to_bytes()) == record


def walk(data: bytes) -> dict[str, Any]:
    """The record by the documented table alone: offset, length, field."""
    told: dict[str, Any] = {
        "magic": data[0:4],
        "version": data[4:8],
        "length": int.from_bytes(data[8:12], "big"),
        "pictures": int.from_bytes(data[12:14], "big"),
        "block": int.from_bytes(data[14:18], "big"),
        "points": int.from_bytes(data[18:20], "big"),
        "gender": data[20],
        "eyes": data[21],
        "hair": data[22],
        "mask": int.from_bytes(data[23:26], "big"),
        "expression": int.from_bytes(data[26:28], "big"),
        "pose": tuple(data[28:31]),
        "uncertainty": tuple(data[31:34]),
    }
    at = 34
    told["at"] = []
    for _ in range(told["points"]):
        told["at"].append(
            (data[at], data[at + 1] >> 4, data[at + 1] & 15, *struct.unpack(">HHH", data[at + 2 : at + 8]))
        )
        at += 8
    told["kind"], told["coding"] = data[at], data[at + 1]
    told["size"] = struct.unpack(">HH", data[at + 2 : at + 6])
    told["colours"], told["source"] = data[at + 6], data[at + 7]
    told["device"], told["quality"] = struct.unpack(">HH", data[at + 8 : at + 12])
    told["picture"] = data[at + 12 :]
    return told


def test_the_documented_table_finds_every_field() -> None:
    data = OLD.to_bytes()
    assert walk(data) == {
        "magic": b"FAC\0",
        "version": b"010\0",
        "length": len(data),
        "pictures": 1,
        "block": len(data) - 14,
        "points": 2,
        "gender": 2,
        "eyes": 0,
        "hair": 0,
        "mask": 0b1000011,
        "expression": 1,
        "pose": (1, 180, 3),
        "uncertainty": (0, 181, 2),
        "at": [(1, 12, 1, 260, 200, 0), (1, 12, 2, 150, 201, 0)],
        "kind": 1,
        "coding": 1,
        "size": (413, 531),
        "colours": 1,
        "source": 2,
        "device": 0,
        "quality": 0,
        "picture": OLD.picture,
    }


def test_without_points_the_record_has_46_octets_around_the_picture() -> None:
    assert len(replace(OLD, points=()).to_bytes()) == 46 + len(OLD.picture)


def test_bytes_written_out_by_hand() -> None:
    picture = bytes.fromhex("FFD8FFD9")
    record = FaceRecord2005(picture, 3, 4, coding=0, points=(Landmark(2, 1, Point(1, 2)),), pose=(0, 1, 2))
    assert record.to_bytes().hex(" ") == (
        "46 41 43 00 30 31 30 00 00 00 00 3a 00 01 "  # FAC, 010, 58 octets, one picture
        "00 00 00 2c 00 01 00 00 00 00 00 00 00 00 00 01 02 00 00 00 "  # block of 44, one point, nothing said, pose
        "01 21 00 01 00 02 00 00 "  # point 2.1 at 1, 2
        "01 00 00 03 00 04 01 02 00 00 00 00 "  # full frontal, JPEG, 3 x 4, RGB, camera
        "ff d8 ff d9"
    )


@pytest.mark.parametrize(
    ("degrees", "octet"), [(0, 1), (2, 2), (90, 46), (180, 91), (-2, 180), (-90, 136), (-178, 92), (-180, 91), (5, 3)]
)
def test_angles_go_in_steps_of_two_degrees_around_the_circle(degrees: int, octet: int) -> None:
    pose = PoseAngles(yaw=Angle(degrees))
    record = FaceRecord2005.of(replace(FULL, subject=Subject(pose=pose)))
    assert record.pose == (octet, 0, 0)
    back = angle_deg(octet)
    assert back is not None
    assert (back - degrees) % 360 in (0, 1, 359)


def test_what_both_forms_say_survives_the_way_there_and_back() -> None:
    record = FaceRecord(
        Picture(
            JPEG,
            ImageInformation(
                ImageFormat.JPEG, ImageKind.MRTD, size=Size(413, 531), colour_space=ColourSpace.RGB_24_BIT
            ),
        ),
        subject=Subject(
            Gender.FEMALE,
            EyeColour.GREEN,
            HairColour.GREY,
            properties=Properties(True, *[False] * 7, False),
            expression=Expression(neutral=True),
            pose=PoseAngles(Angle(4, 2), Angle(-6), Angle(0)),
        ),
        landmarks=(Landmark(12, 1, Point(260, 200)),),
    )
    back = read_face_record_2005(write_face_record_2005(record)).record()
    assert back == record


def test_what_only_the_newer_form_knows_is_refused_or_left_out() -> None:
    for subject, says in (
        (Subject(gender=Gender.OTHER), "gender OTHER"),
        (Subject(eye_colour=EyeColour.HAZEL), "eye colour HAZEL"),
        (Subject(hair_colour=HairColour.KNOWN_COLOURED), "hair colour KNOWN_COLOURED"),
    ):
        with pytest.raises(FaceRecordError, match=says):
            write_face_record_2005(replace(FULL, subject=subject))
    png = Picture(b"\x89PNG", ImageInformation(ImageFormat.PNG))
    with pytest.raises(FaceRecordError, match="JPEG 2000 pictures only"):
        write_face_record_2005(FaceRecord(png))
    plain = write_face_record_2005(replace(FULL, quality=None, attack=None, captured=None))
    assert write_face_record_2005(FULL) == plain


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hair_colour": 8}, "hair colour 8"),
        ({"properties": 1 << 10 | 1}, "medical condition"),
    ],
)
def test_what_only_the_older_form_knows_is_refused_on_the_way_up(change: dict[str, int], says: str) -> None:
    record = replace(OLD, **change)  # type: ignore[arg-type]
    assert read_face_record_2005(record.to_bytes()) == record
    with pytest.raises(FaceRecordError, match=says):
        record.record()


GOOD = OLD.to_bytes()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut off"),
        (GOOD[:45], "cut off"),
        (b"FAC\x00030\x00" + GOOD[8:], "version 010"),
        (GOOD[:-1], "lengths are"),
        (GOOD + b"\x00", "lengths are"),
        (GOOD[:12] + b"\x00\x02" + GOOD[14:], "2 pictures"),
        (GOOD[:18] + b"\xff\xff" + GOOD[20:], "65535 points"),
        (GOOD[:18] + b"\x00\x40" + GOOD[20:], "inside its feature points"),
        (GOOD[:20] + b"\x03" + GOOD[21:], "gender is 3"),
        (GOOD[:23] + b"\x00\x00\x02" + GOOD[26:], "not marked as specified"),
        (GOOD[:23] + b"\x80\x00\x01" + GOOD[26:], "properties is"),
        (GOOD[:26] + b"\x00\x08" + GOOD[28:], "expression is 8"),
        (GOOD[:28] + b"\xb6" + GOOD[29:], "pose octet is 182"),
        (GOOD[:34] + b"\x02" + GOOD[35:], "offset 34 is not one of MPEG-4"),
        (GOOD[:35] + b"\x00" + GOOD[36:], "0.0 is not a feature point"),
        (GOOD[:40] + b"\x00\x01" + GOOD[42:], "offset 34 is not one of MPEG-4"),
        (GOOD[:51] + b"\x00" + GOOD[52:], "not of the coding"),
        (GOOD[:56] + b"\x05" + GOOD[57:], "colour space is 5"),
        (GOOD[:60] + b"\x00\x01" + GOOD[62:], "quality is 1"),
    ],
)
def test_a_refusal_names_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(FaceRecordError, match=says):
        read_face_record_2005(data)


def test_explanation_points_at_the_bytes_of_each_field() -> None:
    record, leaves = explain_face_record_2005(GOOD)
    assert record == OLD
    assert [leaf.offset for leaf in leaves] == sorted(leaf.offset for leaf in leaves)
    assert sum(leaf.length for leaf in leaves) == len(GOOD)
    width = next(leaf for leaf in leaves if leaf.name == "width")
    assert int.from_bytes(GOOD[width.offset : width.offset + width.length], "big") == 413


@pytest.mark.parametrize(("coding", "suffix"), [(0, ".jpg"), (1, ".jp2")])
def test_an_independent_reader_finds_the_same_values(coding: int, suffix: str, tmp_path: Path) -> None:
    """PyPI iso19794 in an environment of its own (tests/vectors/read_iso19794.py says which versions)."""
    python = os.environ.get(READER)
    if not python:
        pytest.skip(f"{READER} names no interpreter with iso19794 and the old Pillow it needs")
    pixels = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (53, 41, 3), dtype=np.uint8), (9, 9), 3)
    done, picture = cv2.imencode(suffix, pixels)
    assert done
    record = replace(OLD, picture=picture.tobytes(), coding=coding, width_px=41, height_px=53)
    file = tmp_path / "record.bin"
    file.write_bytes(record.to_bytes())
    answer = subprocess.run(
        [python, "tests/vectors/read_iso19794.py", str(file)], capture_output=True, text=True, timeout=60, check=True
    )
    told = json.loads(answer.stdout)
    assert len(told.pop("pixels_sha256")) == 64
    assert told == {
        "version": "010",
        "pictures": 1,
        "width": 41,
        "height": 53,
        "landmark_points": [[1, 0xC1, 260, 200, 0], [1, 0xC2, 150, 201, 0]],
        "gender": "F",
        "eye_colour": "UNSPECIFIED",
        "hair_colour": "UNSPECIFIED",
        "property_mask": ["SPECIFIED", "GLASSES", "MOUTH_OPEN"],
        "expression": "NEUTRAL",
        # That reader takes the six octets of the pose as they are, with a sign.
        "pose_yaw": 1,
        "pose_pitch": 180 - 256,
        "pose_roll": 3,
        "pose_uncertainty_yaw": 0,
        "pose_uncertainty_pitch": 181 - 256,
        "pose_uncertainty_roll": 2,
        "face_image_type": "FULL_FRONTAL",
        "image_data_type": ("JPEG", "JPEG2000")[coding],
        "source_type": "STATIC_CAMERA",
        "device_type": "0000",
        "quality": 0,
    }
