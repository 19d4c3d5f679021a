"""The packet's `face.bin`: the chip image as the standard's face record. PURE.

What it says is taken from the visit and from the record's own picture: the still's landmarks in the chip image's pixels, quality measured on
those pixels, pose and expression as the report found them, the time of the exposure. What nobody measured is left out: gender, eye and hair
colour, height, distance, the camera's registry number (docs/face-record.md).

Quality blocks name the measures of ISO/IEC 29794-5 that landmarks and pixels determine (validation.ofiq): scores by the standard's formulas, on
our landmarks. NOT_HERE says which are left out.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from booth.attempt import Attempt
from capture.portrait import ChipImage
from crypto.errors import FaceRecordError
from crypto.face_record import (
    Angle,
    CaptureDevice2D,
    Expression,
    FaceMeasurements,
    FaceRecord,
    ImageInformation,
    Landmark,
    Moment,
    Picture,
    Point,
    PoseAngles,
    Processing,
    RegistryId,
    Score,
    Size,
    Spectrum,
    Subject,
)
from crypto.face_record_2005 import write_face_record_2005
from crypto.face_record_codes import (
    FIRST_MEASURE,
    ISO_SC37,
    CaptureTechnology,
    ColourSpace,
    ImageFormat,
    ImageKind,
    LossySteps,
)
from crypto.face_record_der import write_face_record
from validation import geometry, ofiq
from validation.face import Face, Scene
from validation.profile import RecordForm
from validation.report import Report, Verdict

# Left out: what landmarks and pixels alone do not tell; brightness, which scores dark skin low (OFIQ issue 93) and would stand in a passport for ten
# years; the margins, which the profile's cut sets the same for everybody and the standard's two wishes for them contradict each other (OFIQ issue 60).
NOT_HERE = frozenset(
    {
        "BackgroundUniformity",
        "SingleFacePresent",
        "LuminanceMean",
        "LuminanceVariance",
        "MarginAboveOfTheFaceImage",
        "MarginBelowOfTheFaceImage",
    }
)

# MPEG-4 feature points on the face mesh (docs/face-record.md). "Left" is the person's own left, as in MPEG-4 and in the mesh.
MESH_OF_POINT: dict[tuple[int, int], tuple[int, ...]] = {
    (2, 1): (152,),  # bottom of the chin
    (3, 7): (263,),  # left eye, outer corner
    (3, 8): (133,),  # right eye, inner corner
    (3, 11): (362,),  # left eye, inner corner
    (3, 12): (33,),  # right eye, outer corner
    (8, 1): (0,),  # upper lip, middle of the outer contour
    (8, 2): (17,),  # lower lip, middle of the outer contour
    (8, 3): (291,),  # left mouth corner
    (8, 4): (61,),  # right mouth corner
    (9, 3): (1,),  # tip of the nose
    (12, 1): (362, 263),  # centre of the left eye: the middle of its corners
    (12, 2): (33, 133),  # centre of the right eye
}


def captured_at(at_ns: int, now: datetime, now_ns: int) -> datetime:
    """When a frame of the monotonic clock was taken, by what both clocks say now."""
    return now - timedelta(microseconds=(now_ns - at_ns) // 1000)


def face_record_of(
    attempt: Attempt, chip: ChipImage, captured: datetime, technology: CaptureTechnology | None = None
) -> FaceRecord:
    """The record of the attempt's best still around its chip image; `technology` where it is known. Raises FaceRecordError."""
    best = attempt.best
    assert best.landmarks is not None, "a portrait was cut by its landmarks"
    assert best.portrait is not None
    points = chip_landmarks(best.landmarks, best.portrait.shape[1], best.portrait.shape[0], chip)
    pose = _pose(attempt.report)
    crop = attempt.report.crop
    lossy = best.frame.lossy
    information = ImageInformation(
        format=ImageFormat.JPEG2000_LOSSY,
        kind=ImageKind.MRTD,
        processing=Processing(
            rotated=None if crop is None else crop.angle_deg != 0,
            cropped=None if crop is None else True,
            down_sampled=(crop is not None and crop.scale < 1) or chip.facts.scale < 1,
            multiply_compressed=lossy,
            contrast_stretched=False,
            pose_corrected=False,
            multi_view=False,
            age_progressed=False,
            super_resolution=False,
        ),
        lossy_steps=LossySteps.MORE_THAN_ONE if lossy else LossySteps.ONE,
        size=Size(chip.width, chip.height),
        measurements=_measurements(points),
        colour_space=ColourSpace.RGB_24_BIT,
    )
    return FaceRecord(
        picture=Picture(
            chip.data,
            information,
            CaptureDevice2D(Spectrum(white=True), technology),
        ),
        captured=Moment.of(captured),
        quality=_quality(chip, points, pose),
        subject=Subject(expression=_expression(attempt.report), pose=_angles(pose)),
        landmarks=_landmarks(points, chip),
    )


def face_part(record: FaceRecord, kind: RecordForm) -> bytes:
    """The bytes of `face.bin` in the form that the profile asks for."""
    return write_face_record(record) if kind == "39794-5" else write_face_record_2005(record)


def chip_landmarks(
    landmarks: NDArray[np.float64], portrait_width: int, portrait_height: int, chip: ChipImage
) -> NDArray[np.float64]:
    """Landmarks of the portrait in pixels of the chip image, which is the portrait scaled about its middle (capture.portrait)."""
    scaled = landmarks * chip.facts.scale
    shift = np.array([chip.width - portrait_width * chip.facts.scale, chip.height - portrait_height * chip.facts.scale])
    scaled[:, :2] += shift / 2
    return scaled


def _landmarks(points: NDArray[np.float64], chip: ChipImage) -> tuple[Landmark, ...]:
    found = []
    for (group, point), mesh in MESH_OF_POINT.items():
        x, y = points[list(mesh), :2].mean(axis=0).tolist()
        if 0 <= x < chip.width and 0 <= y < chip.height:
            found.append(Landmark(group, point, Point(math.floor(x), math.floor(y))))
    return tuple(found)


def _measurements(points: NDArray[np.float64]) -> FaceMeasurements:
    mouth = points[list(geometry.INNER_LIPS[1]), :2].mean(axis=0)
    down = math.dist(geometry.eye_midpoint(points), mouth)
    return FaceMeasurements(inter_eye_px=round(geometry.inter_eye_px(points)), eye_to_mouth_px=round(down))


def _quality(chip: ChipImage, points: NDArray[np.float64], pose: geometry.Pose | None) -> tuple[Score, ...]:
    """The standard's measures of the record's own picture; a measure that failed says so."""
    pixels = cv2.imdecode(np.frombuffer(chip.data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None or pixels.shape[:2] != (chip.height, chip.width):
        raise FaceRecordError("The face record's picture cannot be decoded, or has another size than it says.")
    scene = Scene((Face(points.astype(np.float32), chip.width, chip.height),))
    scores = ofiq.assess(np.asarray(pixels, dtype=np.uint8), scene, pose)
    return tuple(
        Score(
            RegistryId(ISO_SC37, FIRST_MEASURE + number),
            None if scores[name].scalar < 0 else round(scores[name].scalar),
        )
        for number, name in enumerate(ofiq.COLUMNS)
        if name in scores and name not in NOT_HERE
    )


def _pose(report: Report) -> geometry.Pose | None:
    values = [_value(report, f"pose.{axis}") for axis in ("yaw", "pitch", "roll")]
    if None in values:
        return None
    yaw, pitch, roll = (value or 0.0 for value in values)
    return geometry.Pose(yaw, pitch, roll)


def _angles(pose: geometry.Pose | None) -> PoseAngles | None:
    """By the standard's signs: ours count up and the own left positive, it counts down and the own right shoulder."""
    if pose is None:
        return None
    return PoseAngles(*(Angle(round(value)) for value in (pose.yaw_deg, -pose.pitch_deg, -pose.roll_deg)))


def _expression(report: Report) -> Expression | None:
    """Only what its rules judged: no rule measures brows, squinting or frowning."""
    smile, gaze = (_passed(report, rule) for rule in ("expression.smile", "eyes.gaze"))
    if smile is None and gaze is None:
        return None
    return Expression(
        smile=None if smile is None else not smile,
        looking_away=None if gaze is None else not gaze,
    )


def _value(report: Report, rule: str) -> float | None:
    return next((found.value for found in report.findings if found.rule == rule), None)


def _passed(report: Report, rule: str) -> bool | None:
    """Whether the rule's limits hold; None when the profile has no such rule or it was not assessed."""
    for found in report.findings:
        if found.rule == rule and found.verdict is not Verdict.NOT_ASSESSED:
            return found.verdict is Verdict.PASS
    return None
