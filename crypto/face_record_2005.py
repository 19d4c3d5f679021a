"""Face records in the bytes of ISO/IEC 19794-5:2005 (version 010): writing, and reading strictly. PURE.

One picture in one record, big endian, in this order: header, facial information, feature points, image information, picture. Offsets of the
fixed fields, from the record's first byte:

     0  4  'FAC' 0            14  4  block length       26  2  expression          then per point 8: type 1, group and point as nibbles,
     4  4  '010' 0            18  2  feature points     28  3  yaw, pitch, roll      x, y, two octets 0
     8  4  record length      20  3  gender, eyes, hair 31  3  their uncertainties then 12: kind, coding, width, height, colours, source,
    12  2  number of pictures 23  3  properties         34     feature points        device type, quality

This form cannot say all that ISO/IEC 39794-5 says: `write_face_record_2005` leaves out time, quality scores, attack detection and processing, and
refuses what would change its meaning. Order of reading: lengths → fields → written again, bytes compared. Sources: docs/face-record.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from crypto.errors import FaceRecordError
from crypto.face_record import (
    MAX_IMAGE_BYTES,
    Angle,
    CaptureDevice2D,
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
    check_range,
    format_begins,
)
from crypto.face_record_codes import (
    CaptureTechnology,
    ColourSpace,
    EyeColour,
    Gender,
    HairColour,
    ImageFormat,
    ImageKind,
)
from crypto.face_record_form import Leaf

MAGIC, VERSION = b"FAC\x00", b"010\x00"
HEADER = struct.Struct(">4s4sIH")
FACE = struct.Struct(">IHBBB3sH3s3s")
POINT = struct.Struct(">BBHHH")
IMAGE = struct.Struct(">BBHHBBHH")
MPEG4_POINT = 1  # the type of a point named by group and point
MAX_POINTS = 256
MAX_RECORD_BYTES = HEADER.size + FACE.size + MAX_POINTS * POINT.size + IMAGE.size + MAX_IMAGE_BYTES
UNKNOWN = 0xFF
HALF_TURN_DEG = 180

GENDERS = {None: 0, Gender.MALE: 1, Gender.FEMALE: 2, Gender.UNKNOWN: UNKNOWN}
EYES = {
    None: 0,
    EyeColour.BLACK: 1,
    EyeColour.BLUE: 2,
    EyeColour.BROWN: 3,
    EyeColour.GREY: 4,
    EyeColour.GREEN: 5,
    EyeColour.MULTI_COLOURED: 6,
    EyeColour.PINK: 7,
    EyeColour.UNKNOWN: UNKNOWN,
}
HAIR = {
    None: 0,
    HairColour.BALD: 1,
    HairColour.BLACK: 2,
    HairColour.BLONDE: 3,
    HairColour.BROWN: 4,
    HairColour.GREY: 5,
    HairColour.WHITE: 6,
    HairColour.RED: 7,
    HairColour.UNKNOWN: UNKNOWN,
}
COLOURS = {
    None: 0,
    ColourSpace.RGB_24_BIT: 1,
    ColourSpace.YUV_422: 2,
    ColourSpace.GREYSCALE_8_BIT: 3,
    ColourSpace.OTHER: 4,
}
# Bits of the properties, from the lowest; the lowest says that the others are meant.
SPECIFIED = 1
PROPERTIES = (
    "glasses",
    "moustache",
    "beard",
    "teeth_visible",
    "pupil_not_visible",
    "mouth_open",
    "left_eye_patch",
    "right_eye_patch",
    "dark_glasses",
    "distorting_condition",
)
EXPRESSIONS = (
    "unspecified",
    "neutral",
    "smile",
    "open smile",
    "raised eyebrows",
    "looking away",
    "squinting",
    "frowning",
)


@dataclass(frozen=True, slots=True)
class FaceRecord2005:
    """The record's own fields, as numbers of the standard."""

    picture: bytes = field(repr=False)
    width_px: int = 0
    height_px: int = 0
    coding: int = 1  # 0 JPEG, 1 JPEG 2000
    kind: int = 1  # 0 basic, 1 full frontal, 2 token frontal
    colours: int = 1
    source: int = 2
    device_type: int = 0
    quality: int = 0  # the standard reserves the field: 0
    gender: int = 0
    eye_colour: int = 0
    hair_colour: int = 0
    properties: int = 0
    expression: int = 0
    pose: tuple[int, int, int] = (0, 0, 0)
    pose_uncertainty: tuple[int, int, int] = (0, 0, 0)
    points: tuple[Landmark, ...] = ()

    def __post_init__(self) -> None:
        """Ranges, and bytes that begin as the coding says."""
        for name, value, known in (
            ("image coding", self.coding, (0, 1)),
            ("face image kind", self.kind, (0, 1, 2)),
            ("colour space", self.colours, tuple(range(5))),
            ("source type", self.source, tuple(range(8))),
            ("quality", self.quality, (0,)),
            ("gender", self.gender, (0, 1, 2, UNKNOWN)),
            ("eye colour", self.eye_colour, tuple(EYES.values())),
            ("hair colour", self.hair_colour, (*range(10), UNKNOWN)),
            ("expression", self.expression, tuple(range(len(EXPRESSIONS)))),
        ):
            if value not in known:
                raise FaceRecordError(f"The face record's {name} is {value}, which ISO/IEC 19794-5:2005 does not know.")
        check_range("picture width", self.width_px, 0, 0xFFFF)
        check_range("picture height", self.height_px, 0, 0xFFFF)
        check_range("device type", self.device_type, 0, 0xFFFF)
        check_range("properties", self.properties, 0, (1 << (len(PROPERTIES) + 1)) - 1)
        if self.properties and not self.properties & SPECIFIED:
            raise FaceRecordError("The face record's properties are given but not marked as specified.")
        for value in (*self.pose, *self.pose_uncertainty):
            check_range("pose octet", value, 0, 181)
        if len(self.points) > MAX_POINTS or any(point.at is None for point in self.points):
            raise FaceRecordError(f"The face record has more than {MAX_POINTS} feature points, or one without a place.")
        if not 0 < len(self.picture) <= MAX_IMAGE_BYTES:
            raise FaceRecordError(
                f"The face record's picture has {len(self.picture)} bytes; up to {MAX_IMAGE_BYTES} fit."
            )
        if not format_begins(self.format, self.picture):
            raise FaceRecordError("The face record's picture is not of the coding that the record names.")

    @property
    def format(self) -> ImageFormat:
        """The coding as ISO/IEC 39794-5 calls it; this form does not tell lossy from lossless JPEG 2000."""
        return ImageFormat.JPEG if self.coding == 0 else ImageFormat.JPEG2000_LOSSY

    def to_bytes(self) -> bytes:
        """The record."""
        points = b"".join(
            POINT.pack(MPEG4_POINT, point.group << 4 | point.point, point.at.x_px, point.at.y_px, 0)
            for point in self.points
            if point.at is not None
        )
        block = FACE.size + len(points) + IMAGE.size + len(self.picture)
        return b"".join(
            (
                HEADER.pack(MAGIC, VERSION, HEADER.size + block, 1),
                FACE.pack(
                    block,
                    len(self.points),
                    self.gender,
                    self.eye_colour,
                    self.hair_colour,
                    self.properties.to_bytes(3, "big"),
                    self.expression,
                    bytes(self.pose),
                    bytes(self.pose_uncertainty),
                ),
                points,
                IMAGE.pack(
                    self.kind,
                    self.coding,
                    self.width_px,
                    self.height_px,
                    self.colours,
                    self.source,
                    self.device_type,
                    self.quality,
                ),
                self.picture,
            )
        )

    @classmethod
    def of(cls, record: FaceRecord) -> FaceRecord2005:
        """What this form can say of a record; raises FaceRecordError for what it could only say wrongly."""
        information, subject = record.picture.information, record.subject or Subject()
        if information.format not in (ImageFormat.JPEG, ImageFormat.JPEG2000_LOSSY, ImageFormat.JPEG2000_LOSSLESS):
            raise FaceRecordError("ISO/IEC 19794-5:2005 holds JPEG and JPEG 2000 pictures only.")
        size = information.size or Size(0, 0)
        pose = subject.pose or PoseAngles()
        angles = (pose.yaw, pose.pitch, pose.roll)
        device = record.picture.device or CaptureDevice2D()
        return cls(
            picture=record.picture.data,
            width_px=size.width_px,
            height_px=size.height_px,
            coding=0 if information.format is ImageFormat.JPEG else 1,
            kind=1 if information.kind is ImageKind.MRTD else 0,
            colours=_number("colour space", COLOURS, information.colour_space),
            source=int(device.technology or 0),
            gender=_number("gender", GENDERS, subject.gender),
            eye_colour=_number("eye colour", EYES, subject.eye_colour),
            hair_colour=_number("hair colour", HAIR, subject.hair_colour),
            properties=_mask(subject.properties),
            expression=_expression(subject.expression),
            pose=tuple3(_angle(angle) for angle in angles),
            pose_uncertainty=tuple3(_uncertainty(angle) for angle in angles),
            points=tuple(point for point in record.landmarks or () if point.at is not None),
        )

    def record(self) -> FaceRecord:
        """The same in the terms of ISO/IEC 39794-5; raises FaceRecordError where these have no word."""
        technology = CaptureTechnology(self.source) if 0 < self.source < 7 else None
        angles = tuple(_angle_of(*pair) for pair in zip(self.pose, self.pose_uncertainty, strict=True))
        said = Subject(
            gender=_word("gender", GENDERS, self.gender),
            eye_colour=_word("eye colour", EYES, self.eye_colour),
            hair_colour=_word("hair colour", HAIR, self.hair_colour),
            properties=_properties(self.properties),
            expression=_expression_of(self.expression),
            pose=PoseAngles(*angles) if any(angles) else None,
        )
        return FaceRecord(
            Picture(
                self.picture,
                ImageInformation(
                    format=self.format,
                    kind=ImageKind.MRTD if self.kind == 1 else None,
                    size=Size(self.width_px, self.height_px) if self.width_px and self.height_px else None,
                    colour_space=_word("colour space", COLOURS, self.colours),
                ),
                CaptureDevice2D(technology=technology) if technology else None,
            ),
            subject=said if said != Subject() else None,
            landmarks=self.points or None,
        )


def write_face_record_2005(record: FaceRecord) -> bytes:
    """The record as ISO/IEC 19794-5:2005. Raises FaceRecordError."""
    return FaceRecord2005.of(record).to_bytes()


def read_face_record_2005(data: bytes) -> FaceRecord2005:
    """The record in these bytes; raises FaceRecordError for anything that this module would not write the same."""
    return explain_face_record_2005(data)[0]


def explain_face_record_2005(data: bytes) -> tuple[FaceRecord2005, tuple[Leaf, ...]]:
    """The record, and every field of it with its place in the bytes."""
    if len(data) > MAX_RECORD_BYTES:
        raise FaceRecordError(f"The face record has {len(data)} bytes; {MAX_RECORD_BYTES} is the limit.")
    if len(data) < HEADER.size + FACE.size + IMAGE.size or not data.startswith(MAGIC + VERSION):
        raise FaceRecordError("The face record does not begin as ISO/IEC 19794-5:2005 (version 010), or is cut off.")
    _, _, length, pictures = HEADER.unpack_from(data)
    block, count, gender, eyes, hair, properties, expression, pose, uncertainty = FACE.unpack_from(data, HEADER.size)
    if length != len(data) or block != len(data) - HEADER.size:
        raise FaceRecordError(f"The face record's lengths are {length} and {block}; it has {len(data)} bytes.")
    if pictures != 1 or count > MAX_POINTS:
        raise FaceRecordError(
            f"The face record has {pictures} pictures and {count} points; 1 and {MAX_POINTS} are read."
        )
    image_at = HEADER.size + FACE.size + count * POINT.size
    picture_at = image_at + IMAGE.size
    if picture_at > len(data):
        raise FaceRecordError("The face record ends inside its feature points.")
    points = tuple(_landmark(data, HEADER.size + FACE.size + number * POINT.size) for number in range(count))
    kind, coding, width, height, colours, source, device, quality = IMAGE.unpack_from(data, image_at)
    record = FaceRecord2005(
        picture=data[picture_at:],
        width_px=width,
        height_px=height,
        coding=coding,
        kind=kind,
        colours=colours,
        source=source,
        device_type=device,
        quality=quality,
        gender=gender,
        eye_colour=eyes,
        hair_colour=hair,
        properties=int.from_bytes(properties, "big"),
        expression=expression,
        pose=tuple3(pose),
        pose_uncertainty=tuple3(uncertainty),
        points=points,
    )
    if record.to_bytes() != data:
        raise FaceRecordError("The face record is not in the one form that its values have.")
    return record, _leaves(record, image_at)


def _leaves(record: FaceRecord2005, image_at: int) -> tuple[Leaf, ...]:
    block = image_at - HEADER.size + IMAGE.size + len(record.picture)
    rows: list[tuple[int, int, str, Any]] = [
        (0, 4, "format identifier", MAGIC),
        (4, 4, "version", VERSION),
        (8, 4, "record length", HEADER.size + block),
        (12, 2, "number of pictures", 1),
        (14, 4, "block length", block),
        (18, 2, "feature points", len(record.points)),
        (20, 1, "gender", record.gender),
        (21, 1, "eye colour", record.eye_colour),
        (22, 1, "hair colour", record.hair_colour),
        (23, 3, "properties", record.properties),
        (26, 2, "expression", record.expression),
        (28, 3, "pose", record.pose),
        (31, 3, "pose uncertainty", record.pose_uncertainty),
    ]
    rows += [(34 + 8 * number, 8, f"feature point {number}", point) for number, point in enumerate(record.points)]
    rows += [
        (image_at, 1, "face image kind", record.kind),
        (image_at + 1, 1, "image coding", record.coding),
        (image_at + 2, 2, "width", record.width_px),
        (image_at + 4, 2, "height", record.height_px),
        (image_at + 6, 1, "colour space", record.colours),
        (image_at + 7, 1, "source type", record.source),
        (image_at + 8, 2, "device type", record.device_type),
        (image_at + 10, 2, "quality", record.quality),
        (image_at + 12, len(record.picture), "picture", record.picture),
    ]
    return tuple(Leaf(at, "", name, length, value) for at, length, name, value in rows)


def _landmark(data: bytes, at: int) -> Landmark:
    kind, name, x, y, reserved = POINT.unpack_from(data, at)
    if kind != MPEG4_POINT or reserved:
        raise FaceRecordError(f"The face record's feature point at offset {at} is not one of MPEG-4 in the plane.")
    return Landmark(name >> 4, name & 0x0F, Point(x, y))


def tuple3(values: Any) -> tuple[int, int, int]:
    """Three numbers."""
    first, second, third = values
    return first, second, third


def _number(name: str, words: dict[Any, int], word: Any) -> int:
    if word not in words:
        raise FaceRecordError(f"ISO/IEC 19794-5:2005 has no number for the {name} {word.name}.")
    return words[word]


def _word(name: str, words: dict[Any, int], number: int) -> Any:
    for word, known in words.items():
        if known == number:
            return word
    raise FaceRecordError(f"ISO/IEC 39794-5 has no word for the {name} {number} of ISO/IEC 19794-5:2005.")


def _mask(properties: Properties | None) -> int:
    """There is no "not said" for one property here: when some are said, the others count as absent."""
    if properties is None:
        return 0
    said = (1 << number for number, name in enumerate(PROPERTIES, 1) if getattr(properties, name, None))
    return SPECIFIED | sum(said)


def _properties(mask: int) -> Properties | None:
    if not mask:
        return None
    said = {name: bool(mask >> number & 1) for number, name in enumerate(PROPERTIES, 1)}
    if said.pop("distorting_condition"):
        raise FaceRecordError(
            "ISO/IEC 39794-5 has no word for the distorting medical condition of ISO/IEC 19794-5:2005."
        )
    return Properties(**said)


# One expression only: the first of these that is there.
_EXPRESSION_OF = {2: "smile", 4: "raised_eyebrows", 5: "looking_away", 6: "squinting", 7: "frowning", 1: "neutral"}


def _expression(expression: Expression | None) -> int:
    return next((code for code, name in _EXPRESSION_OF.items() if getattr(expression, name, None)), 0)


def _expression_of(code: int) -> Expression | None:
    name = "smile" if code == EXPRESSIONS.index("open smile") else _EXPRESSION_OF.get(code)
    return None if name is None else Expression(**{name: True})


def _angle(angle: Angle | None) -> int:
    """Steps of two degrees around the circle, from 1; 0: not said."""
    return 0 if angle is None else round(angle.value_deg % 360 / 2) % 180 + 1


def angle_deg(octet: int) -> int | None:
    """Degrees of a pose octet; None when it says nothing."""
    if not octet:
        return None
    turn = (octet - 1) * 2
    return turn - 360 if turn > HALF_TURN_DEG else turn


def _angle_of(octet: int, uncertainty: int) -> Angle | None:
    degrees = angle_deg(octet)
    return None if degrees is None else Angle(degrees, uncertainty - 1 if uncertainty else None)


def _uncertainty(angle: Angle | None) -> int:
    return 0 if angle is None or angle.uncertainty_deg is None else angle.uncertainty_deg + 1
