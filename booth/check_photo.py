"""One photo of `booth check`, from its file to what is told of it.

Order: read (refusals in one sentence) -> scene -> with `crop`: plan, cut, encode, and the cut is judged instead -> report -> what the outputs
asked for want (OFIQ measures, the picture for the HTML report). Nothing is written here: bytes travel back and the command writes them.
A photo that cannot be judged is an answer like any other, in one sentence; no exception leaves `check_photo` but the interrupt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from validation.face import FaceModel, Scene
    from validation.ofiq import Score
    from validation.profile import Profile
    from validation.report import Report

# Longest side and quality of the photo inside an HTML report.
PICTURE_SIDE = 1000
PICTURE_QUALITY = 85
HISTOGRAM_BINS = 64


class Outcome(IntEnum):
    """The exit code of one photo; the largest is the command's."""

    COMPLIANT = 0
    NOT_COMPLIANT = 1
    NOT_JUDGED = 2


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is wanted of every photo."""

    profile: str
    crop: bool = False
    ofiq: bool = False
    picture: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """The judged picture for people: a small JPEG and how light and colours spread over the face."""

    jpeg: bytes = field(repr=False)
    histograms: dict[str, tuple[float, ...]] | None  # share of the face per bin, by channel; None without a face


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of one photo after the check."""

    photo: str
    report: Report | None = None
    portrait_jpeg: bytes | None = field(default=None, repr=False)  # what was cut
    portrait: Path | None = None  # where that was written
    ofiq: dict[str, Score] | None = field(default=None, repr=False)
    picture: Picture | None = field(default=None, repr=False)
    error_code: str | None = None
    error: str | None = None

    @property
    def outcome(self) -> Outcome:
        """The photo's part in the exit code."""
        if self.report is None:
            return Outcome.NOT_JUDGED
        return Outcome.COMPLIANT if self.report.compliant else Outcome.NOT_COMPLIANT

    def as_json(self) -> dict[str, Any]:
        """For --json; `report` follows the schema of validation.report.Report."""
        if self.report is None:
            return {"photo": self.photo, "error": {"code": self.error_code, "message": self.error}}
        told: dict[str, Any] = {"photo": self.photo, "compliant": self.report.compliant}
        if self.portrait is not None:
            told["portrait"] = str(self.portrait)
        return told | {"report": self.report.model_dump(mode="json")}


def check_photo(wishes: Wishes, model: FaceModel, photo: Path) -> Checked:
    """The answer on one photo file."""
    from capture.errors import CaptureError
    from validation.errors import ValidationError

    try:
        return _checked(photo, wishes, model)
    except (ValidationError, CaptureError) as error:
        return Checked(str(photo), error_code=error.code, error=str(error))
    except MemoryError:
        return Checked(str(photo), error_code="check.memory", error="There is not enough memory to judge this photo.")
    except Exception as error:  # noqa: BLE001 - one photo must not stop the others; its kind is told, nothing is hidden
        return Checked(
            str(photo),
            error_code="check.failed",
            error=f"The check failed unexpectedly ({_where(error)}); please report it with this photo.",
        )


def _where(error: BaseException) -> str:
    """Kind and place of a fault of ours, for who mends it: no values, so nothing personal."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    kind = type(error).__name__
    if trace is None:
        return kind
    return f"{kind} in {Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"


def process_died(photo: Path) -> Checked:
    """The answer on a photo that killed the process which judged it."""
    return Checked(
        str(photo),
        error_code="check.process_died",
        error="The process that judged this photo died of it; please report it with this photo.",
    )


def _checked(photo: Path, wishes: Wishes, model: FaceModel) -> Checked:
    from capture.portrait import crop_facts, cut, encode_jpeg, plan_crop
    from validation.check import judge
    from validation.image import read_image
    from validation.profile import load_profile

    profile = load_profile(wishes.profile)
    pixels, facts = read_image(photo)
    scene = model.scene(pixels)
    notes, face, jpeg = facts.notes, scene.face, None
    if wishes.crop and face is not None:
        plan = plan_crop(face.landmarks, (face.width, face.height), (profile.width_px, profile.height_px), profile.crop)
        pixels = cut(pixels, plan)
        scene = model.scene(pixels)
        jpeg = encode_jpeg(pixels)
        report = judge(pixels, scene, profile, judged="crop", notes=notes, crop=crop_facts(plan), source=facts)
    else:
        if wishes.crop:
            notes = (*notes, "no upright face was found, so nothing was cut: the photo is judged as submitted")
        report = judge(pixels, scene, profile, notes=notes, source=facts)
    return Checked(
        str(photo),
        report,
        portrait_jpeg=jpeg,
        ofiq=_ofiq(pixels, scene, profile) if wishes.ofiq else None,
        picture=_picture(pixels, scene) if wishes.picture else None,
    )


def _ofiq(pixels: NDArray[np.uint8], scene: Scene, profile: Profile) -> dict[str, Score]:
    from validation import ofiq
    from validation.context import Judgement

    pose = Judgement(pixels, scene, profile).pose if scene.face is not None else None
    return ofiq.assess(pixels, scene, pose)


def _picture(pixels: NDArray[np.uint8], scene: Scene) -> Picture:
    import cv2

    scale = min(1.0, PICTURE_SIDE / max(pixels.shape[:2]))
    small = pixels
    if scale < 1:
        size = (max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY])
    return Picture(bytes(data), _histograms(pixels, scene))


def _histograms(pixels: NDArray[np.uint8], scene: Scene) -> dict[str, tuple[float, ...]] | None:
    """Shares of the face below the brows, in 64 steps of the picture's own (sRGB) values; light is luminance in the same coding."""
    import numpy as np

    from validation.canvas import FACE_BELOW_BROWS, LINEAR, canvas

    if scene.face is None:
        return None
    face = canvas(pixels, scene.face.landmarks)
    region = face.polygon(FACE_BELOW_BROWS, hull=True) > 0
    if not region.any():
        return None
    coded = np.searchsorted(LINEAR, np.arange(256, dtype=np.float32)).clip(0, 255)
    channels = {"light": coded[face.luminance[region]]}
    channels |= {name: face.pixels[..., at][region] for at, name in enumerate(("blue", "green", "red"))}
    told = {}
    for name, values in channels.items():
        counts = np.bincount(values.astype(int) * HISTOGRAM_BINS // 256, minlength=HISTOGRAM_BINS)
        told[name] = tuple(round(float(share), 5) for share in counts / counts.sum())
    return told
