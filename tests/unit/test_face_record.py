"""ISO/IEC 39794-5: what is written is read the same, by us and by two ASN.1 compilers from the committed module; everything else is refused."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import asn1tools
import pytest
from hypothesis import HealthCheck, given, settings

from crypto import der
from crypto.dg2 import read_dg2
from crypto.errors import FaceRecordError
from crypto.face_record import (
    MAX_IMAGE_BYTES,
    Angle,
    FaceRecord,
    ImageInformation,
    Landmark,
    Moment,
    Picture,
    Point,
    RegistryId,
    Score,
    Size,
)
from crypto.face_record_2005 import read_face_record_2005
from crypto.face_record_codes import ImageFormat
from crypto.face_record_der import explain_face_record, read_face_record, write_face_record
from crypto.face_record_form import Choices
from tests.records import FULL, JPEG, LEAST, face_records, mutations, samples

MODULE = Path("crypto/face_image.asn1")


@pytest.fixture(scope="module")
def schema() -> Any:
    return asn1tools.compile_files(str(MODULE), "der")


@pytest.fixture(scope="module")
def pycrate_block(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module's outermost type, compiled by pycrate."""
    from pycrate_asn1c.asnproc import GLOBAL, PycrateGenerator, compile_text, generate_modules

    GLOBAL.clear()
    compile_text(MODULE.read_text("utf-8"))
    target = tmp_path_factory.mktemp("pycrate") / "face_image_by_pycrate.py"
    generate_modules(PycrateGenerator, str(target))
    spec = importlib.util.spec_from_file_location(target.stem, target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PASSBOOTH_FACE_IMAGE.FaceImageDataBlock


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(record=face_records())
def test_what_is_written_is_read_again_in_both_ways_of_writing_codes(record: FaceRecord) -> None:
    for choices in Choices:
        assert read_face_record(write_face_record(record, choices)) == record


def told(record: FaceRecord, choice: str) -> dict[str, Any]:
    """The full sample as the module's own names say it, written out by hand from the values; `choice` is how a code is wrapped."""

    def code(name: str) -> Any:
        return ("code", name) if choice == "code" else ("extensionBlock", {"fallback": name})

    processing = "rotated cropped downSampled whiteBalanceAdjusted multiplyCompressed interpolated contrastStretched"
    processing += " poseCorrected multiViewImage ageProgressed superResolutionProcessed normalised"
    properties = "glasses moustache beard teethVisible pupilOrIrisNotVisible mouthOpen leftEyePatch rightEyePatch"
    properties += " darkGlasses biometricAbsent headCoveringsPresent"
    return {
        "versionBlock": {"generation": 3, "year": 2019},
        "representationBlocks": [
            {
                "representationId": 0,
                "imageRepresentation": (
                    "base",
                    (
                        "imageRepresentation2DBlock",
                        {
                            "representationData2D": record.picture.data,
                            "imageInformation2DBlock": {
                                "imageDataFormat": ("code", "jpeg2000Lossy"),
                                "faceImageKind2D": code("mrtd"),
                                "postAcquisitionProcessingBlock": {
                                    name: number % 2 == 0 for number, name in enumerate(processing.split())
                                },
                                "lossyTransformationAttempts": code("one"),
                                "cameraToSubjectDistance": 3000,
                                "sensorDiagonal": 43,
                                "lensFocalLength": 55,
                                "imageSizeBlock": {"width": 572, "height": 731},
                                "imageFaceMeasurementsBlock": {
                                    "imageHeadWidth": 300,
                                    "imageInterEyeDistance": 150,
                                    "imageEyeToMouthDistance": 180,
                                    "imageHeadLength": 500,
                                },
                                "imageColourSpace": code("rgb24Bit"),
                                "referenceColourMappingBlock": {
                                    "referenceColourSchema": b"schema",
                                    "referenceColourDefinitionAndValueBlocks": [
                                        {"referenceColourDefinition": b"definition", "referenceColourValue": b"value"},
                                        {},
                                    ],
                                },
                            },
                            "captureDevice2DBlock": {
                                "captureDeviceSpectral2DBlock": {
                                    "whiteLight": True,
                                    "nearInfrared": False,
                                    "thermal": False,
                                },
                                "captureDeviceTechnologyId2D": code("staticPhotographFromDigitalStillImageCamera"),
                            },
                        },
                    ),
                ),
                "captureDateTimeBlock": {
                    "year": 2024,
                    "month": 1,
                    "day": 20,
                    "hour": 13,
                    "minute": 23,
                    "second": 9,
                    "millisecond": 908,
                },
                "qualityBlocks": [
                    {"algorithmIdBlock": {"organization": 257, "id": 0x4D}, "scoreOrError": ("score", 99)},
                    {
                        "algorithmIdBlock": {"organization": 257, "id": 0x4E},
                        "scoreOrError": ("error", code("failureToAssess")),
                    },
                ],
                "padDataBlock": {
                    "decision": code("noAttack"),
                    "scoreBlocks": [{"mechanismIdBlock": {"organization": 1, "id": 1}, "scoreOrError": ("score", 99)}],
                    "extendedDataBlocks": [{"dataTypeIdBlock": {"organization": 1, "id": 1}, "data": b"data"}],
                    "captureContext": code("enrolment"),
                    "supervisionLevel": code("unattended"),
                    "riskLevel": 5,
                    "criteriaCategory": code("common"),
                    "parameter": b"parameter",
                    "challenges": [b"first", b"second"],
                    "captureDateTimeBlock": {"year": 2024, "month": 1, "day": 22},
                },
                "sessionId": 9,
                "derivedFrom": 0,
                "captureDeviceBlock": {
                    "modelIdBlock": {"organization": 1, "id": 1},
                    "certificationIdBlocks": [{"organization": 2, "id": 2}, {"organization": 65535, "id": 3}],
                },
                "identityMetadataBlock": {
                    "gender": code("female"),
                    "eyeColour": code("blue"),
                    "hairColour": code("brown"),
                    "subjectHeight": 1786,
                    "propertiesBlock": {name: number % 3 == 0 for number, name in enumerate(properties.split())},
                    "expressionBlock": {
                        "neutral": True,
                        "smile": False,
                        "raisedEyebrows": False,
                        "eyesLookingAwayFromTheCamera": False,
                        "squinting": False,
                        "frowning": False,
                    },
                    "poseAngleBlock": {
                        "yawAngleBlock": {"angleValue": 2, "angleUncertainty": 1},
                        "pitchAngleBlock": {"angleValue": -3},
                        "rollAngleBlock": {"angleValue": -180, "angleUncertainty": 180},
                    },
                },
                "landmarkBlocks": [
                    _landmark(code("mpeg4PointCode-02-11"), {"x": 90, "y": 22}),
                    _landmark(code("mpeg4PointCode-12-04"), None),
                    _landmark(code("mpeg4PointCode-09-03"), {"x": 571, "y": 730}),
                ],
            }
        ],
    }


def _landmark(code: Any, at: dict[str, int] | None) -> dict[str, Any]:
    kind = {"landmarkKind": ("base", ("mpeg4FeaturePoint", code))}
    return kind if at is None else kind | {"landmarkCoordinates": ("base", ("coordinateCartesian2DBlock", at))}


WAYS = [(Choices.ICAO, "extensionBlock"), (Choices.ISO, "code")]


@pytest.mark.parametrize(("choices", "choice"), WAYS)
def test_asn1tools_reads_every_field_by_the_committed_module(schema: Any, choices: Choices, choice: str) -> None:
    data = write_face_record(FULL, choices)
    assert schema.decode("FaceImageDataBlock", data) == told(FULL, choice)


@pytest.mark.parametrize(("choices", "choice"), WAYS)
def test_what_asn1tools_writes_is_the_record(schema: Any, choices: Choices, choice: str) -> None:
    data = schema.encode("FaceImageDataBlock", told(FULL, choice))
    assert data == write_face_record(FULL, choices)
    assert read_face_record(data) == FULL


@pytest.mark.parametrize(("choices", "choice"), WAYS)
def test_pycrate_reads_and_writes_the_same(pycrate_block: Any, choices: Choices, choice: str) -> None:
    data = write_face_record(FULL, choices)
    pycrate_block.from_der(data)
    assert pycrate_block.get_val() == told(FULL, choice)
    assert pycrate_block.to_der() == data


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(record=face_records())
def test_both_compilers_read_any_record_and_write_it_the_same(
    schema: Any, pycrate_block: Any, record: FaceRecord
) -> None:
    for choices in Choices:
        data = write_face_record(record, choices)
        assert schema.encode("FaceImageDataBlock", schema.decode("FaceImageDataBlock", data)) == data
        pycrate_block.from_der(data)
        assert pycrate_block.to_der() == data


def test_the_module_names_a_source_for_every_tag() -> None:
    lines = MODULE.read_text("utf-8").split("BEGIN", 1)[1].splitlines()
    tagged = [line for line in lines if "[" in line]
    assert len(tagged) > 150
    assert [line for line in tagged if not any(source in line for source in ("-- AP", "-- J", "unverified"))] == []


def test_changed_records_are_refused_with_our_error_alone() -> None:
    readers = {"39794-5": read_face_record, "19794-5": read_face_record_2005, "DG2": read_dg2}
    refused = taken = 0
    for seed, (name, data) in enumerate(samples().items()):
        read = next(reader for begins, reader in readers.items() if name.startswith(begins))
        for changed in mutations(data, 2000, seed):
            try:
                read(changed)
            except FaceRecordError:
                refused += 1
            else:
                taken += 1  # another number or other pixels are another good record
    assert refused > 9000
    assert taken > 0


def edited(data: bytes, old: str, new: str) -> bytes:
    """A stretch of a record replaced; the lengths around it must stay the same."""
    before, after = bytes.fromhex(old), bytes.fromhex(new)
    assert data.count(before) == 1, old
    assert len(before) == len(after)
    return data.replace(before, after)


FULL_DER = write_face_record(FULL)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty", b"", "does not begin as"),
        ("other tag", b"\x66" + FULL_DER[1:], "does not begin as"),
        ("cut off", FULL_DER[:-1], "cut off"),
        ("something after it", FULL_DER + b"\x00", "followed by 1 bytes"),
        ("huge length", bytes.fromhex("6584FFFFFFFF"), "cut off"),
        ("indefinite length", b"\x65\x80" + FULL_DER[4:] + b"\x00\x00", "does not begin as"),
        ("length of five octets", bytes.fromhex("658500000000010000"), "does not begin as"),
        ("long length spelling", b"\x65\x84" + (len(FULL_DER) - 4).to_bytes(4, "big") + FULL_DER[4:], "one form"),
        ("no version", der.element(0x65, b"\xa1\x00"), "has no versionBlock"),
        ("no representation", der.element(0x65, bytes.fromhex("A007800103810207E3A100")), "has 0 elements"),
        ("year before the standard", edited(FULL_DER, "8001038102 07e3", "8001038102 07e2"), "version year"),
        (
            "TRUE as 01",
            edited(FULL_DER, "a00980 01ff 8101 00", "a00980 0101 8101 00"),
            "whiteLight is not TRUE or FALSE",
        ),
        (
            "unknown code",
            edited(FULL_DER, "a305a103800102", "a305a103800109"),
            "lossyTransformationAttempts has code 9",
        ),
        (
            "extension",
            edited(FULL_DER, "a305a103800102", "a305a103810102"),
            "lossyTransformationAttempts is not a code",
        ),
        ("month 13", edited(FULL_DER, "800207e881010182 0114", "800207e881010d82 0114"), "month of a date is 13"),
        (
            "score 101",
            edited(FULL_DER, "80020101 81014d a103 800163".replace(" ", ""), "8002010181014da103800165"),
            "score is 101",
        ),
        ("tags out of order", edited(FULL_DER, "8002023c 810202db", "810202db 8002023c"), "has no width"),
        ("tag doubled", edited(FULL_DER, "8002023c 810202db", "8002023c 8002023c"), "has no height|doubled"),
        (
            "point outside",
            edited(FULL_DER, "80015a810116", "80015a81017f").replace(b"\x81\x02\x02\xdb", b"\x81\x02\x00\x7f"),
            "outside its picture",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_names_what_is_wrong(name: str, data: bytes, says: str) -> None:
    assert name
    with pytest.raises(FaceRecordError, match=says):
        read_face_record(data)


def test_number_with_a_leading_zero_is_refused() -> None:
    least = write_face_record(LEAST)
    longer = least.replace(b"\xa0\x07\x80\x01\x03", b"\xa0\x08\x80\x02\x00\x03")
    longer = der.element(0x65, longer[2:])
    with pytest.raises(FaceRecordError, match="one form"):
        read_face_record(longer)


def test_mixed_ways_of_writing_codes_are_refused(schema: Any) -> None:
    values = told(FULL, "code")
    values["representationBlocks"][0]["padDataBlock"]["decision"] = ("extensionBlock", {"fallback": "noAttack"})
    with pytest.raises(FaceRecordError, match="one form"):
        read_face_record(schema.encode("FaceImageDataBlock", values))


def test_deep_nests_and_many_elements_end_at_once() -> None:
    nest = b""
    for _ in range(5000):
        nest = der.element(0xA1, nest)
    for data in (der.element(0x65, nest), der.element(0x65, b"\xa0\x00" * 100_000)):
        with pytest.raises(FaceRecordError):
            read_face_record(data)


def test_a_record_above_the_limit_is_not_looked_at() -> None:
    with pytest.raises(FaceRecordError, match="is the limit"):
        read_face_record(bytes(MAX_IMAGE_BYTES + 100_000))


def test_values_that_no_record_holds_do_not_come_into_being() -> None:
    for make, says in (
        (lambda: RegistryId(0, 1), "organization"),
        (lambda: Score(RegistryId(1, 1), 101), "score"),
        (lambda: Angle(181), "pose angle"),
        (lambda: Landmark(7, 2, None), "7.2 is not a feature point"),
        (lambda: Landmark(1, 1, None), "1.1 is not a feature point"),
        (lambda: Moment(2026, 13), "month"),
        (lambda: Moment.of(datetime(2026, 1, 1)), "time zone"),  # noqa: DTZ001 - that is what is refused
        (lambda: Picture(b"GIF89a", ImageInformation(ImageFormat.JPEG)), "called JPEG"),
        (lambda: Picture(b"", ImageInformation(ImageFormat.PNG)), "0 bytes"),
        (lambda: Size(65536, 1), "width"),
        (lambda: replace(FULL, landmarks=(Landmark(2, 1, Point(572, 0)),)), "outside its picture"),
    ):
        with pytest.raises(FaceRecordError, match=says):
            make()


def test_moment_is_told_in_utc() -> None:
    at = datetime(2026, 11, 24, 1, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=3)))
    assert Moment.of(at) == Moment(2026, 11, 23, 22, 30, 0, 123)
    assert Moment.of(at.astimezone(UTC)) == Moment.of(at)


def test_too_many_blocks_are_not_written() -> None:
    record = replace(LEAST, quality=(Score(RegistryId(1, 1), 1),) * 257)
    with pytest.raises(FaceRecordError, match="257 elements"):
        write_face_record(record)


def test_explanation_points_at_the_bytes_of_each_value() -> None:
    record, leaves = explain_face_record(FULL_DER)
    assert record == FULL
    by_name = {leaf.name.removeprefix("representationBlocks.0."): leaf for leaf in leaves}
    year = by_name["captureDateTimeBlock.year"]
    assert FULL_DER[year.offset : year.offset + 4] == bytes.fromhex("800207E8")
    assert (year.tags, year.length, year.value) == ("65 A1 30 A2 80", 2, 2024)
    picture = by_name["imageRepresentation.representationData2D"]
    assert FULL_DER[picture.offset + 2 : picture.offset + 2 + picture.length] == FULL.picture.data
    assert by_name["landmarkBlocks.2.landmarkKind"].value == (9, 3)
    assert [leaf.offset for leaf in leaves] == sorted(leaf.offset for leaf in leaves)


def test_the_picture_is_not_in_what_a_record_prints() -> None:
    assert JPEG.hex() not in repr(replace(LEAST, picture=Picture(JPEG, ImageInformation(ImageFormat.JPEG))))
    assert "ffd8" not in repr(LEAST).lower()
