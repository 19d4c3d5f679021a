"""What a face record says: one picture of a face and what was measured on it, as values. PURE.

The fields are those of ISO/IEC 39794-5 (the ASN.1 module: face_image.asn1; where each comes from: docs/face-record.md). None means that a
record does not say it: nothing is filled in that was not measured. Points count in pixels of the record's own picture, from its top left.
The bytes: crypto.face_record_der (39794-5), crypto.face_record_2005 (ISO/IEC 19794-5:2005), crypto.dg2 (ICAO LDS DG2 around either).

Rule: a value that no record can hold does not come into being: every class checks its own ranges and raises FaceRecordError naming the field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from crypto.errors import FaceRecordError
from crypto.face_record_codes import (
    CaptureTechnology,
    ColourSpace,
    EyeColour,
    Gender,
    HairColour,
    ImageFormat,
    ImageKind,
    LossySteps,
    PadContext,
    PadCriteria,
    PadDecision,
    PadSupervision,
)

MAX_IMAGE_BYTES = 8 * 1024 * 1024  # a register portrait has some 2 MB; a chip holds some 20 kB
MAX_U16 = 0xFFFF
MAX_IDENTIFIER = 2**31 - 1

JPEG_BEGINS = (b"\xff\xd8\xff",)
JPEG_2000_BEGINS = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")  # a JP2 file, a bare codestream


def check_range(name: str, value: int | None, low: int, high: int) -> None:
    """Raises FaceRecordError for a number outside its range; None is none."""
    if value is not None and not low <= value <= high:
        raise FaceRecordError(f"The face record's {name} is {value}; {low} to {high} is allowed.")


@dataclass(frozen=True, slots=True)
class RegistryId:
    """An organization of the CBEFF registry (kept by the IBIA) and a number that it gave to an algorithm, a device or a kind of data."""

    organization: int
    id: int

    def __post_init__(self) -> None:
        """Ranges."""
        check_range("organization of a registry id", self.organization, 1, MAX_U16)
        check_range("number of a registry id", self.id, 1, MAX_U16)


@dataclass(frozen=True, slots=True)
class Version:
    """Edition of the record's form."""

    generation: int = 3
    year: int = 2019

    def __post_init__(self) -> None:
        """Ranges."""
        check_range("version generation", self.generation, 3, MAX_U16)
        check_range("version year", self.year, 2019, 9999)


@dataclass(frozen=True, slots=True)
class Moment:
    """A date and time in UTC, as exact as it is known."""

    year: int
    month: int | None = None
    day: int | None = None
    hour: int | None = None
    minute: int | None = None
    second: int | None = None
    millisecond: int | None = None

    def __post_init__(self) -> None:
        """Ranges, and no finer part without the coarser ones."""
        for name, value, low, high in (
            ("year", self.year, 0, 9999),
            ("month", self.month, 1, 12),
            ("day", self.day, 1, 31),
            ("hour", self.hour, 0, 23),
            ("minute", self.minute, 0, 59),
            ("second", self.second, 0, 59),
            ("millisecond", self.millisecond, 0, 999),
        ):
            check_range(f"{name} of a date", value, low, high)

    @classmethod
    def of(cls, at: datetime) -> Moment:
        """An instant with its milliseconds; it must know its time zone."""
        if at.tzinfo is None:
            raise FaceRecordError("The face record's date has no time zone.")
        at = at.astimezone(UTC)
        return cls(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond // 1000)


@dataclass(frozen=True, slots=True)
class Score:
    """An algorithm's answer from 0 to 100; None: it could not assess the picture."""

    algorithm: RegistryId
    value: int | None

    def __post_init__(self) -> None:
        """Ranges."""
        check_range("score", self.value, 0, 100)

    @property
    def outcome(self) -> tuple[int | None]:
        """The value, wrapped: a failure to assess is an answer, not a missing one."""
        return (self.value,)


@dataclass(frozen=True, slots=True)
class ExtendedData:
    """Bytes of a kind that the registry names."""

    kind: RegistryId
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PresentationAttack:
    """What presentation attack detection found."""

    decision: PadDecision | None = None
    scores: tuple[Score, ...] | None = None
    extended: tuple[ExtendedData, ...] | None = None
    context: PadContext | None = None
    supervision: PadSupervision | None = None
    risk_level: int | None = None
    criteria: PadCriteria | None = None
    parameter: bytes | None = field(default=None, repr=False)
    challenges: tuple[bytes, ...] | None = field(default=None, repr=False)
    captured: Moment | None = None

    def __post_init__(self) -> None:
        """Ranges."""
        check_range("PAD risk level", self.risk_level, 0, 100)


@dataclass(frozen=True, slots=True)
class CaptureDevice:
    """The camera's model and its certificates, where they are registered."""

    model: RegistryId | None = None
    certifications: tuple[RegistryId, ...] | None = None


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The light the picture was taken in."""

    white: bool | None = None
    near_infrared: bool | None = None
    thermal: bool | None = None


@dataclass(frozen=True, slots=True)
class CaptureDevice2D:
    """How the picture was taken."""

    spectrum: Spectrum | None = None
    technology: CaptureTechnology | None = None


@dataclass(frozen=True, slots=True)
class Processing:
    """What was done to the pixels after the capture."""

    rotated: bool | None = None
    cropped: bool | None = None
    down_sampled: bool | None = None
    white_balance_adjusted: bool | None = None
    multiply_compressed: bool | None = None
    interpolated: bool | None = None
    contrast_stretched: bool | None = None
    pose_corrected: bool | None = None
    multi_view: bool | None = None
    age_progressed: bool | None = None
    super_resolution: bool | None = None
    normalised: bool | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels of the picture."""

    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        """Ranges."""
        check_range("picture width", self.width_px, 0, MAX_U16)
        check_range("picture height", self.height_px, 0, MAX_U16)


@dataclass(frozen=True, slots=True)
class FaceMeasurements:
    """Distances in the picture, in pixels."""

    head_width_px: int | None = None
    inter_eye_px: int | None = None
    eye_to_mouth_px: int | None = None
    head_length_px: int | None = None


@dataclass(frozen=True, slots=True)
class ColourReference:
    """One colour of a chart that was in the picture."""

    definition: bytes | None = None
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class ColourMapping:
    """A colour chart that was in the picture."""

    schema: bytes | None = None
    references: tuple[ColourReference, ...] | None = None


@dataclass(frozen=True, slots=True)
class ImageInformation:
    """What the picture is."""

    format: ImageFormat
    kind: ImageKind | None = None
    processing: Processing | None = None
    lossy_steps: LossySteps | None = None
    subject_distance_mm: int | None = None
    sensor_diagonal: int | None = None  # the unit is not in the module: docs/face-record.md
    focal_length: int | None = None  # likewise
    size: Size | None = None
    measurements: FaceMeasurements | None = None
    colour_space: ColourSpace | None = None
    colour_mapping: ColourMapping | None = None

    def __post_init__(self) -> None:
        """Ranges."""
        check_range("camera to subject distance", self.subject_distance_mm, 0, 50_000)
        check_range("sensor diagonal", self.sensor_diagonal, 0, 2000)
        check_range("lens focal length", self.focal_length, 0, 2000)


@dataclass(frozen=True, slots=True)
class Picture:
    """The picture's bytes and what they are."""

    data: bytes = field(repr=False)
    information: ImageInformation
    device: CaptureDevice2D | None = None

    def __post_init__(self) -> None:
        """Bytes that begin as their format does, within the limit."""
        if not 0 < len(self.data) <= MAX_IMAGE_BYTES:
            raise FaceRecordError(
                f"The face record's picture has {len(self.data)} bytes; 1 to {MAX_IMAGE_BYTES} are allowed."
            )
        if format_begins(self.information.format, self.data) is False:
            raise FaceRecordError(
                f"The face record's picture is called {self.information.format.name}, its bytes are something else."
            )


def format_begins(kind: ImageFormat, data: bytes) -> bool | None:
    """Whether bytes begin as a format does; None for a format whose beginning is not known here."""
    if kind is ImageFormat.JPEG:
        return data.startswith(JPEG_BEGINS)
    if kind in (ImageFormat.JPEG2000_LOSSY, ImageFormat.JPEG2000_LOSSLESS):
        return data.startswith(JPEG_2000_BEGINS)
    return None


@dataclass(frozen=True, slots=True)
class Properties:
    """What is seen of the face."""

    glasses: bool | None = None
    moustache: bool | None = None
    beard: bool | None = None
    teeth_visible: bool | None = None
    pupil_not_visible: bool | None = None
    mouth_open: bool | None = None
    left_eye_patch: bool | None = None
    right_eye_patch: bool | None = None
    dark_glasses: bool | None = None
    biometric_absent: bool | None = None
    head_covering: bool | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """What the face does."""

    neutral: bool | None = None
    smile: bool | None = None
    raised_eyebrows: bool | None = None
    looking_away: bool | None = None
    squinting: bool | None = None
    frowning: bool | None = None


@dataclass(frozen=True, slots=True)
class Angle:
    """Whole degrees."""

    value_deg: int
    uncertainty_deg: int | None = None

    def __post_init__(self) -> None:
        """Ranges."""
        check_range("pose angle", self.value_deg, -180, 180)
        check_range("pose uncertainty", self.uncertainty_deg, 0, 180)


@dataclass(frozen=True, slots=True)
class PoseAngles:
    """The head against the line to the camera, by the standard's signs: yaw > 0 to the own left, pitch > 0 down, roll > 0 to the own right shoulder."""

    yaw: Angle | None = None
    pitch: Angle | None = None
    roll: Angle | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is said of the person."""

    gender: Gender | None = None
    eye_colour: EyeColour | None = None
    hair_colour: HairColour | None = None
    height_mm: int | None = None
    properties: Properties | None = None
    expression: Expression | None = None
    pose: PoseAngles | None = None

    def __post_init__(self) -> None:
        """Ranges."""
        check_range("subject height", self.height_mm, 1, MAX_U16)


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the picture."""

    x_px: int
    y_px: int

    def __post_init__(self) -> None:
        """Ranges."""
        check_range("landmark x", self.x_px, 0, MAX_U16)
        check_range("landmark y", self.y_px, 0, MAX_U16)


@dataclass(frozen=True, slots=True)
class Landmark:
    """A feature point of MPEG-4 (ISO/IEC 14496-2), named by group and point, and where it is."""

    group: int
    point: int
    at: Point | None

    def __post_init__(self) -> None:
        """The standard numbers the points of its groups 2 to 12 only."""
        if not 1 <= self.point <= MPEG4_POINTS.get(self.group, 0):
            raise FaceRecordError(f"The face record's landmark {self.group}.{self.point} is not a feature point.")

    @property
    def name(self) -> tuple[int, int]:
        """Group and point."""
        return self.group, self.point


# Points in each MPEG-4 group that ISO/IEC 39794-5 numbers (MPEG4FeaturePointCode in face_image.asn1).
MPEG4_POINTS = {2: 14, 3: 14, 4: 6, 5: 4, 6: 4, 7: 1, 8: 10, 9: 15, 10: 10, 11: 6, 12: 4}


@dataclass(frozen=True, slots=True)
class FaceRecord:
    """One representation of a face."""

    picture: Picture
    captured: Moment | None = None
    quality: tuple[Score, ...] | None = None
    attack: PresentationAttack | None = None
    session_id: int | None = None
    derived_from: int | None = None
    device: CaptureDevice | None = None
    subject: Subject | None = None
    landmarks: tuple[Landmark, ...] | None = None
    representation_id: int = 0
    version: Version = field(default_factory=Version)

    def __post_init__(self) -> None:
        """Ranges, and landmarks inside the picture."""
        for name, value in (
            ("representation id", self.representation_id),
            ("session id", self.session_id),
            ("derived-from id", self.derived_from),
        ):
            check_range(name, value, 0, MAX_IDENTIFIER)
        size = self.picture.information.size
        for landmark in self.landmarks or ():
            if size is None or landmark.at is None:
                continue
            if landmark.at.x_px >= size.width_px or landmark.at.y_px >= size.height_px:
                raise FaceRecordError(
                    f"The face record's landmark {landmark.group}.{landmark.point} lies outside its picture."
                )
