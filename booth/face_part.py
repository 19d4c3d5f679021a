"""The packet's `face.bin`: the chip image as the standard's face record. PURE.

What it says is taken from the visit and from the record's own picture: landmarks of the still that was cut, brought into the chip image's pixels;
quality measured on those pixels; pose and expression as the report found them; the time of the exposure. What nobody measured is left
out (docs/face-record.md).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from booth.attempt import Attempt
from capture.portrait import ChipImage
from crypto.face_record import FaceRecord

RecordKind = Literal["39794-5", "19794-5:2005"]


def captured_at(at_ns: int, now: datetime, now_ns: int) -> datetime:
    """When a frame of the monotonic clock was taken, by what both clocks say now."""
    return now - timedelta(microseconds=(now_ns - at_ns) // 1000)


def face_record_of(attempt: Attempt, chip: ChipImage, captured: datetime) -> FaceRecord:
    """The record of the attempt's best still around its chip image. Raises FaceRecordError."""
    raise NotImplementedError


def face_part(record: FaceRecord, kind: RecordKind) -> bytes:
    """The bytes of `face.bin` in the form that the profile asks for."""
    raise NotImplementedError
