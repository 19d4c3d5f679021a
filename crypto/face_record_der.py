"""Face records in the bytes of ISO/IEC 39794-5 (DER): writing, and reading strictly. PURE.

The tables below are face_image.asn1 in Python: tag, name in the standard, attribute of crypto.face_record, form. One representation, one 2D
picture, landmarks of MPEG-4 with plane coordinates; what else the standard offers is refused, not skipped.

Order of reading: size → elements by the tables → values with their ranges → the record is written again, in both ways of writing codes
(crypto.face_record_form.Choices), and one of them must give the same bytes. So a record has one form, and a reader cannot miss what another sees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from crypto import der
from crypto.errors import FaceRecordError
from crypto.face_record import (
    MAX_IMAGE_BYTES,
    MPEG4_POINTS,
    Angle,
    CaptureDevice,
    CaptureDevice2D,
    ColourMapping,
    ColourReference,
    Expression,
    ExtendedData,
    FaceMeasurements,
    FaceRecord,
    ImageInformation,
    Landmark,
    Moment,
    Picture,
    Point,
    PoseAngles,
    PresentationAttack,
    Processing,
    Properties,
    RegistryId,
    Score,
    Size,
    Spectrum,
    Subject,
    Version,
)
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
from crypto.face_record_form import (
    CONSTRUCTED,
    CONTEXT,
    FLAG,
    NUMBER,
    Choices,
    Chosen,
    Code,
    Field,
    Fields,
    Leaf,
    Octets,
    Part,
    Several,
    Trail,
    only,
)

FACE_IMAGE = 0x65  # [APPLICATION 5], constructed
MAX_RECORD_BYTES = MAX_IMAGE_BYTES + 64 * 1024
MAX_NOTE_BYTES = 4096  # extended data, parameters, challenges, colour references

must = partial(Field, optional=False)
# MPEG4FeaturePointCode: the points of the groups one after another.
POINTS = tuple((group, point) for group, count in MPEG4_POINTS.items() for point in range(1, count + 1))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """ScoreOrError."""

    failure: Code
    constructed = True

    def write(self, value: tuple[int | None], choices: Choices) -> bytes:
        if value[0] is None:
            return der.element(CONTEXT | CONSTRUCTED | 1, self.failure.write(0, choices))
        return der.element(CONTEXT, NUMBER.write(value[0], choices))

    def read(self, part: Part, trail: Trail) -> tuple[int | None]:
        tag, inner = only(part, trail)
        if tag == CONTEXT:
            return (NUMBER.read(inner, trail),)
        if tag != CONTEXT | CONSTRUCTED | 1:
            raise trail.refuse("is neither a score nor an error")
        self.failure.read(inner, trail)
        return (None,)


def _failure(number: int) -> str:
    if number != 0:
        raise ValueError(number)
    return "failureToAssess"


def _point(number: int) -> tuple[int, int]:
    if not 0 <= number < len(POINTS):
        raise ValueError(number)
    return POINTS[number]


def _score(algorithm: RegistryId, outcome: tuple[int | None]) -> Score:
    return Score(algorithm, outcome[0])


def _landmark(name: tuple[int, int], at: Point | None = None) -> Landmark:
    return Landmark(*name, at)


def _flags(make: type, *names: tuple[str, str]) -> Fields:
    return Fields(make, tuple(Field(number, name, attribute, FLAG) for number, (name, attribute) in enumerate(names)))


NOTE = Octets(MAX_NOTE_BYTES)
REGISTRY_ID = Fields(RegistryId, (must(0, "organization", "organization", NUMBER), must(1, "id", "id", NUMBER)))
MOMENT = Fields(
    Moment,
    (
        must(0, "year", "year", NUMBER),
        *(
            Field(number, name, name, NUMBER)
            for number, name in enumerate(("month", "day", "hour", "minute", "second", "millisecond"), 1)
        ),
    ),
)


def _scores(algorithm: str) -> Several:
    outcome = _Outcome(Code(_failure))
    fields = (must(0, algorithm, "algorithm", REGISTRY_ID), must(1, "scoreOrError", "outcome", outcome))
    return Several(Fields(_score, fields))


ATTACK = Fields(
    PresentationAttack,
    (
        Field(0, "decision", "decision", Code(PadDecision)),
        Field(1, "scoreBlocks", "scores", _scores("mechanismIdBlock")),
        Field(
            2,
            "extendedDataBlocks",
            "extended",
            Several(
                Fields(ExtendedData, (must(0, "dataTypeIdBlock", "kind", REGISTRY_ID), must(1, "data", "data", NOTE)))
            ),
        ),
        Field(3, "captureContext", "context", Code(PadContext)),
        Field(4, "supervisionLevel", "supervision", Code(PadSupervision)),
        Field(5, "riskLevel", "risk_level", NUMBER),
        Field(6, "criteriaCategory", "criteria", Code(PadCriteria)),
        Field(7, "parameter", "parameter", NOTE),
        Field(8, "challenges", "challenges", Several(NOTE, tag=der.OCTETS)),
        Field(9, "captureDateTimeBlock", "captured", MOMENT),
    ),
)
PROCESSING = _flags(
    Processing,
    ("rotated", "rotated"),
    ("cropped", "cropped"),
    ("downSampled", "down_sampled"),
    ("whiteBalanceAdjusted", "white_balance_adjusted"),
    ("multiplyCompressed", "multiply_compressed"),
    ("interpolated", "interpolated"),
    ("contrastStretched", "contrast_stretched"),
    ("poseCorrected", "pose_corrected"),
    ("multiViewImage", "multi_view"),
    ("ageProgressed", "age_progressed"),
    ("superResolutionProcessed", "super_resolution"),
    ("normalised", "normalised"),
)
MEASUREMENTS = Fields(
    FaceMeasurements,
    (
        Field(0, "imageHeadWidth", "head_width_px", NUMBER),
        Field(1, "imageInterEyeDistance", "inter_eye_px", NUMBER),
        Field(2, "imageEyeToMouthDistance", "eye_to_mouth_px", NUMBER),
        Field(3, "imageHeadLength", "head_length_px", NUMBER),
    ),
)
COLOUR_REFERENCE = Fields(
    ColourReference,
    (Field(0, "referenceColourDefinition", "definition", NOTE), Field(1, "referenceColourValue", "value", NOTE)),
)
COLOUR_MAPPING = Fields(
    ColourMapping,
    (
        Field(0, "referenceColourSchema", "schema", NOTE),
        Field(1, "referenceColourDefinitionAndValueBlocks", "references", Several(COLOUR_REFERENCE)),
    ),
)
INFORMATION = Fields(
    ImageInformation,
    (
        must(0, "imageDataFormat", "format", Code(ImageFormat, plain=True)),
        Field(1, "faceImageKind2D", "kind", Code(ImageKind)),
        Field(2, "postAcquisitionProcessingBlock", "processing", PROCESSING),
        Field(3, "lossyTransformationAttempts", "lossy_steps", Code(LossySteps)),
        Field(4, "cameraToSubjectDistance", "subject_distance_mm", NUMBER),
        Field(5, "sensorDiagonal", "sensor_diagonal", NUMBER),
        Field(6, "lensFocalLength", "focal_length", NUMBER),
        Field(
            7,
            "imageSizeBlock",
            "size",
            Fields(Size, (must(0, "width", "width_px", NUMBER), must(1, "height", "height_px", NUMBER))),
        ),
        Field(8, "imageFaceMeasurementsBlock", "measurements", MEASUREMENTS),
        Field(9, "imageColourSpace", "colour_space", Code(ColourSpace)),
        Field(10, "referenceColourMappingBlock", "colour_mapping", COLOUR_MAPPING),
    ),
)
DEVICE_2D = Fields(
    CaptureDevice2D,
    (
        Field(
            0,
            "captureDeviceSpectral2DBlock",
            "spectrum",
            _flags(Spectrum, ("whiteLight", "white"), ("nearInfrared", "near_infrared"), ("thermal", "thermal")),
        ),
        Field(1, "captureDeviceTechnologyId2D", "technology", Code(CaptureTechnology)),
    ),
)
PICTURE = Fields(
    Picture,
    (
        must(0, "representationData2D", "data", Octets(MAX_IMAGE_BYTES)),
        must(1, "imageInformation2DBlock", "information", INFORMATION),
        Field(2, "captureDevice2DBlock", "device", DEVICE_2D),
    ),
)
PROPERTIES = _flags(
    Properties,
    ("glasses", "glasses"),
    ("moustache", "moustache"),
    ("beard", "beard"),
    ("teethVisible", "teeth_visible"),
    ("pupilOrIrisNotVisible", "pupil_not_visible"),
    ("mouthOpen", "mouth_open"),
    ("leftEyePatch", "left_eye_patch"),
    ("rightEyePatch", "right_eye_patch"),
    ("darkGlasses", "dark_glasses"),
    ("biometricAbsent", "biometric_absent"),
    ("headCoveringsPresent", "head_covering"),
)
EXPRESSION = _flags(
    Expression,
    ("neutral", "neutral"),
    ("smile", "smile"),
    ("raisedEyebrows", "raised_eyebrows"),
    ("eyesLookingAwayFromTheCamera", "looking_away"),
    ("squinting", "squinting"),
    ("frowning", "frowning"),
)
ANGLE = Fields(
    Angle,
    (must(0, "angleValue", "value_deg", NUMBER), Field(1, "angleUncertainty", "uncertainty_deg", NUMBER)),
)
POSE = Fields(
    PoseAngles,
    tuple(Field(number, f"{name}AngleBlock", name, ANGLE) for number, name in enumerate(("yaw", "pitch", "roll"))),
)
SUBJECT = Fields(
    Subject,
    (
        Field(0, "gender", "gender", Code(Gender)),
        Field(1, "eyeColour", "eye_colour", Code(EyeColour)),
        Field(2, "hairColour", "hair_colour", Code(HairColour)),
        Field(3, "subjectHeight", "height_mm", NUMBER),
        Field(4, "propertiesBlock", "properties", PROPERTIES),
        Field(5, "expressionBlock", "expression", EXPRESSION),
        Field(6, "poseAngleBlock", "pose", POSE),
    ),
)
LANDMARK = Fields(
    _landmark,
    (
        must(0, "landmarkKind", "name", Chosen((0, 0), Code(_point, number=POINTS.index))),
        Field(
            1,
            "landmarkCoordinates",
            "at",
            Chosen((0, 0), Fields(Point, (must(0, "x", "x_px", NUMBER), must(1, "y", "y_px", NUMBER)))),
        ),
    ),
)
REPRESENTATION = Fields(
    FaceRecord,
    (
        must(0, "representationId", "representation_id", NUMBER),
        must(1, "imageRepresentation", "picture", Chosen((0, 0), PICTURE)),
        Field(2, "captureDateTimeBlock", "captured", MOMENT),
        Field(3, "qualityBlocks", "quality", _scores("algorithmIdBlock")),
        Field(4, "padDataBlock", "attack", ATTACK),
        Field(5, "sessionId", "session_id", NUMBER),
        Field(6, "derivedFrom", "derived_from", NUMBER),
        Field(
            7,
            "captureDeviceBlock",
            "device",
            Fields(
                CaptureDevice,
                (
                    Field(0, "modelIdBlock", "model", REGISTRY_ID),
                    Field(1, "certificationIdBlocks", "certifications", Several(REGISTRY_ID)),
                ),
            ),
        ),
        Field(8, "identityMetadataBlock", "subject", SUBJECT),
        Field(9, "landmarkBlocks", "landmarks", Several(LANDMARK)),
    ),
)
VERSION = Fields(Version, (must(0, "generation", "generation", NUMBER), must(1, "year", "year", NUMBER)))


@dataclass(frozen=True, slots=True)
class _DataBlock:
    version: Version
    representations: tuple[FaceRecord, ...]


DATA_BLOCK = Fields(
    _DataBlock,
    (
        must(0, "versionBlock", "version", VERSION),
        must(1, "representationBlocks", "representations", Several(REPRESENTATION, least=1, most=1)),
    ),
)


def write_face_record(record: FaceRecord, choices: Choices = Choices.ICAO) -> bytes:
    """The record as ISO/IEC 39794-5; for the chip as ICAO's application profile writes it. Raises FaceRecordError."""
    content = DATA_BLOCK.write(_DataBlock(record.version, (record,)), choices)
    return der.element(FACE_IMAGE, content)


def read_face_record(data: bytes) -> FaceRecord:
    """The record in these bytes; raises FaceRecordError for anything that this module would not write the same."""
    return _read(data, Trail())


def explain_face_record(data: bytes) -> tuple[FaceRecord, tuple[Leaf, ...]]:
    """The record, and every value of it with its place in the bytes."""
    trail = Trail()
    return _read(data, trail), tuple(trail.leaves)


def _read(data: bytes, trail: Trail) -> FaceRecord:
    if len(data) > MAX_RECORD_BYTES:
        raise FaceRecordError(f"The face record has {len(data)} bytes; {MAX_RECORD_BYTES} is the limit.")
    try:
        content, rest = der.read(memoryview(data), FACE_IMAGE)
    except der.DerError as err:
        raise FaceRecordError("The face record does not begin as ISO/IEC 39794-5, or is cut off.") from err
    if rest:
        raise FaceRecordError(f"The face record is followed by {len(rest)} bytes that do not belong to it.")
    trail.tags.append(FACE_IMAGE)
    block: Any = DATA_BLOCK.read(Part(content, len(data) - len(content), 0), trail)
    record: FaceRecord = replace(block.representations[0], version=block.version)
    if data not in (write_face_record(record, choices) for choices in Choices):
        raise FaceRecordError("The face record is not in the one form that its values have (DER).")
    return record
