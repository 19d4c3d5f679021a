"""Face records of every kind for tests and fuzzing: samples, hypothesis strategies over all values, and mutations of bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import IntEnum

from hypothesis import strategies as st

from crypto.dg2 import write_dg2
from crypto.face_record import (
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
from crypto.face_record_2005 import EXPRESSIONS, EYES, FaceRecord2005
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
from crypto.face_record_der import write_face_record
from crypto.face_record_form import Choices

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(40)) + b"\xff\xd9"
JPEG_2000 = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(range(48))

LEAST = FaceRecord(Picture(JPEG_2000, ImageInformation(ImageFormat.JPEG2000_LOSSY)))
# Every field of the module: what ICAO's "silver" data set (all fields) holds, and what it leaves out.
FULL = FaceRecord(
    picture=Picture(
        JPEG_2000,
        ImageInformation(
            format=ImageFormat.JPEG2000_LOSSY,
            kind=ImageKind.MRTD,
            processing=Processing(*(number % 2 == 0 for number in range(12))),
            lossy_steps=LossySteps.ONE,
            subject_distance_mm=3000,
            sensor_diagonal=43,
            focal_length=55,
            size=Size(572, 731),
            measurements=FaceMeasurements(300, 150, 180, 500),
            colour_space=ColourSpace.RGB_24_BIT,
            colour_mapping=ColourMapping(b"schema", (ColourReference(b"definition", b"value"), ColourReference())),
        ),
        CaptureDevice2D(Spectrum(True, False, False), CaptureTechnology.PHOTOGRAPH_DIGITAL_CAMERA),
    ),
    captured=Moment(2024, 1, 20, 13, 23, 9, 908),
    quality=(Score(RegistryId(257, 0x4D), 99), Score(RegistryId(257, 0x4E), None)),
    attack=PresentationAttack(
        PadDecision.NO_ATTACK,
        (Score(RegistryId(1, 1), 99),),
        (ExtendedData(RegistryId(1, 1), b"data"),),
        PadContext.ENROLMENT,
        PadSupervision.UNATTENDED,
        5,
        PadCriteria.COMMON,
        b"parameter",
        (b"first", b"second"),
        Moment(2024, 1, 22),
    ),
    session_id=9,
    derived_from=0,
    device=CaptureDevice(RegistryId(1, 1), (RegistryId(2, 2), RegistryId(65535, 3))),
    subject=Subject(
        Gender.FEMALE,
        EyeColour.BLUE,
        HairColour.BROWN,
        1786,
        Properties(*(number % 3 == 0 for number in range(11))),
        Expression(True, False, False, False, False, False),
        PoseAngles(Angle(2, 1), Angle(-3), Angle(-180, 180)),
    ),
    landmarks=(Landmark(2, 11, Point(90, 22)), Landmark(12, 4, None), Landmark(9, 3, Point(571, 730))),
)
OLD = FaceRecord2005(
    JPEG_2000,
    width_px=413,
    height_px=531,
    pose=(1, 180, 3),
    pose_uncertainty=(0, 181, 2),
    properties=0b1000011,
    expression=1,
    gender=2,
    points=(Landmark(12, 1, Point(260, 200)), Landmark(12, 2, Point(150, 201))),
)


def samples() -> dict[str, bytes]:
    """Good files of every form, by name."""
    icao, iso = write_face_record(FULL), write_face_record(FULL, Choices.ISO)
    return {
        "39794-5 least": write_face_record(LEAST),
        "39794-5 full": icao,
        "39794-5 full base": iso,
        "19794-5:2005": OLD.to_bytes(),
        "DG2 of 39794-5": write_dg2(icao),
        "DG2 of 19794-5:2005": write_dg2(OLD.to_bytes()),
    }


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Changed copies: bits, octets, lengths, cuts, doubled and dropped stretches. None of them equals `data`."""
    chance = random.Random(seed)
    while count:
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            _mutate(changed, chance)
        if changed != data:
            count -= 1
            yield bytes(changed)


def _mutate(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(6):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.choice((0, 1, 0x7F, 0x80, 0x81, 0x82, 0x84, 0x88, 0xFF))
        case 2:
            del data[at:]
        case 3:
            data[at:at] = chance.randbytes(chance.randrange(1, 9))
        case 4:
            data[at:at] = data[at : at + chance.randrange(1, 40)]
        case _:
            del data[at : at + chance.randrange(1, 12)]


def _maybe(value: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | value


def _code(codes: type[IntEnum]) -> st.SearchStrategy[object]:
    return _maybe(st.sampled_from(list(codes)))


def _several(value: st.SearchStrategy[object], most: int = 3) -> st.SearchStrategy[object]:
    return _maybe(st.lists(value, max_size=most).map(tuple))


FLAGS = _maybe(st.booleans())
U16 = st.integers(0, 0xFFFF)
NOTES = st.binary(max_size=30)
REGISTRY_IDS = st.builds(RegistryId, st.integers(1, 0xFFFF), st.integers(1, 0xFFFF))
SCORES = st.builds(Score, REGISTRY_IDS, _maybe(st.integers(0, 100)))
MOMENTS = st.builds(
    Moment,
    st.integers(0, 9999),
    *(_maybe(st.integers(low, high)) for low, high in ((1, 12), (1, 31), (0, 23), (0, 59), (0, 59), (0, 999))),
)
PICTURES = st.sampled_from(
    [(ImageFormat.JPEG, JPEG), (ImageFormat.JPEG2000_LOSSY, JPEG_2000), (ImageFormat.JPEG2000_LOSSLESS, JPEG_2000)]
) | st.tuples(st.just(ImageFormat.PNG), st.binary(min_size=1, max_size=300))
NAMES = st.sampled_from([(group, point) for group, count in MPEG4_POINTS.items() for point in range(1, count + 1)])
LANDMARKS = st.builds(lambda name, at: Landmark(*name, at), NAMES, _maybe(st.builds(Point, U16, U16)))
ANGLES = st.builds(Angle, st.integers(-180, 180), _maybe(st.integers(0, 180)))
BIG = st.integers(0, 2**31 - 1)


@st.composite
def information(draw: st.DrawFn, kind: ImageFormat) -> ImageInformation:
    """Image information of any content; without a size, so that landmarks may lie anywhere."""
    return ImageInformation(
        format=kind,
        kind=draw(_code(ImageKind)),
        processing=draw(_maybe(st.builds(Processing, *[FLAGS] * 12))),
        lossy_steps=draw(_code(LossySteps)),
        subject_distance_mm=draw(_maybe(st.integers(0, 50_000))),
        sensor_diagonal=draw(_maybe(st.integers(0, 2000))),
        focal_length=draw(_maybe(st.integers(0, 2000))),
        measurements=draw(_maybe(st.builds(FaceMeasurements, *[_maybe(BIG)] * 4))),
        colour_space=draw(_code(ColourSpace)),
        colour_mapping=draw(
            _maybe(
                st.builds(
                    ColourMapping,
                    _maybe(NOTES),
                    _several(st.builds(ColourReference, _maybe(NOTES), _maybe(NOTES))),
                )
            )
        ),
    )


@st.composite
def face_records(draw: st.DrawFn) -> FaceRecord:
    """Any record that can be."""
    kind, data = draw(PICTURES)
    device = st.builds(CaptureDevice2D, _maybe(st.builds(Spectrum, FLAGS, FLAGS, FLAGS)), _code(CaptureTechnology))
    subject = st.builds(
        Subject,
        _code(Gender),
        _code(EyeColour),
        _code(HairColour),
        _maybe(st.integers(1, 0xFFFF)),
        _maybe(st.builds(Properties, *[FLAGS] * 11)),
        _maybe(st.builds(Expression, *[FLAGS] * 6)),
        _maybe(st.builds(PoseAngles, *[_maybe(ANGLES)] * 3)),
    )
    attack = st.builds(
        PresentationAttack,
        _code(PadDecision),
        _several(SCORES),
        _several(st.builds(ExtendedData, REGISTRY_IDS, NOTES)),
        _code(PadContext),
        _code(PadSupervision),
        _maybe(st.integers(0, 100)),
        _code(PadCriteria),
        _maybe(NOTES),
        _several(NOTES),
        _maybe(MOMENTS),
    )
    return FaceRecord(
        picture=Picture(data, draw(information(kind)), draw(_maybe(device))),
        captured=draw(_maybe(MOMENTS)),
        quality=draw(_several(SCORES)),
        attack=draw(_maybe(attack)),
        session_id=draw(_maybe(BIG)),
        derived_from=draw(_maybe(BIG)),
        device=draw(_maybe(st.builds(CaptureDevice, _maybe(REGISTRY_IDS), _several(REGISTRY_IDS)))),
        subject=draw(_maybe(subject)),
        landmarks=draw(_several(LANDMARKS, 5)),
        representation_id=draw(BIG),
        version=draw(st.builds(Version, st.integers(3, 0xFFFF), st.integers(2019, 9999))),
    )


@st.composite
def face_records_2005(draw: st.DrawFn) -> FaceRecord2005:
    """Any record of the older form."""
    coding = draw(st.integers(0, 1))
    octets = st.integers(0, 181)
    return FaceRecord2005(
        picture=JPEG_2000 if coding else JPEG,
        width_px=draw(U16),
        height_px=draw(U16),
        coding=coding,
        kind=draw(st.integers(0, 2)),
        colours=draw(st.integers(0, 4)),
        source=draw(st.integers(0, 7)),
        device_type=draw(U16),
        gender=draw(st.sampled_from((0, 1, 2, 255))),
        eye_colour=draw(st.sampled_from(sorted(EYES.values()))),
        hair_colour=draw(st.sampled_from((*range(10), 255))),
        properties=draw(st.integers(0, 1023).map(lambda bits: bits << 1 | 1) | st.just(0)),
        expression=draw(st.integers(0, len(EXPRESSIONS) - 1)),
        pose=draw(st.tuples(octets, octets, octets)),
        pose_uncertainty=draw(st.tuples(octets, octets, octets)),
        points=draw(
            st.lists(
                st.builds(lambda name, at: Landmark(*name, at), NAMES, st.builds(Point, U16, U16)), max_size=5
            ).map(tuple)
        ),
    )
