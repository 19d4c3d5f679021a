"""PURE: the canonical portrait: one cut from the camera's pixels (turned, scaled down, cropped in one resampling), and its two encodings.

Rules: never upscaled, never retouched, never re-compressed; what was done is told and signed: the cut and the chip image as CropFacts and
ChipFacts in report.json, the portrait's JPEG (JPEG_FACTS) under `images` in visit.json.
Order of the cut: the plan's map at k times the output size, k = whole source pixels per output pixel, then the exact mean of k x k.
That is area sampling of the turned picture; a plain bilinear warp would skip source pixels and alias.

The chip image shows what the portrait shows, so that what was judged holds for it: the portrait's uncompressed pixels, fitted whole into the
profile's size by the same cut, then the one lossy step: JPEG 2000 (irreversible 9/7), the rate searched so that the bytes fill their target
from below. It is not cut from the camera's picture anew: those pixels are overwritten as soon as the portrait is cut, and at a whole ratio
(1244x1600 to 622x800) the mean of the portrait's means is the same picture but for one rounding. Why and how exact: docs/chip-image.md.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import cv2
import numpy as np
import PIL.features
import PIL.Image
from numpy.typing import NDArray

from capture.errors import EncodingFailedError, UpscalingRefusedError
from capture.fidelity import psnr_db, ssim
from validation.framing import CropPlan, plan_crop
from validation.profile import ChipTarget
from validation.report import CHIP_FILLED, ChipFacts, CropFacts

__all__ = [
    "JPEG_FACTS",
    "ChipImage",
    "ChipTarget",
    "CropPlan",
    "chip_plan",
    "crop_facts",
    "cut",
    "encode_chip",
    "encode_jpeg",
    "plan_crop",
]

Image = NDArray[np.uint8]
# A plan at exactly 1:1 may come out a rounding error above it.
SCALE_TOLERANCE = 1e-6
JPEG_QUALITY = 95
ENCODER = f"OpenCV {cv2.__version__}"
# What `encode_jpeg` does, for the record.
JPEG_FACTS: Mapping[str, str | int] = MappingProxyType(
    {"format": "JPEG", "encoder": ENCODER, "quality": JPEG_QUALITY, "subsampling": "4:4:4"}
)

CHIP_ENCODER = f"OpenJPEG {PIL.features.version('jpg_2000')} through Pillow {PIL.__version__}, irreversible 9/7"
# The encoder keeps within some bytes of what it is asked: measured over photos, -1.1 to +0.1 % (docs/chip-image.md).
AIM = 0.996
# From here on another encode would gain nothing that anybody sees: 2 % of the bytes are 0.1 dB.
ENOUGH = 0.98
# One is the rule, two or three where the encoder jumps; five end the search for a picture that cannot reach the band.
MOST_ENCODES = 5
# Markers of the code stream (ISO/IEC 15444-1 table A.2): comment, start of the tile's part.
COM, SOT = b"\xff\x64", b"\xff\x90"


@dataclass(frozen=True, slots=True)
class ChipImage:
    """The picture for the passport's chip, and how it was made."""

    data: bytes = field(repr=False)  # a JP2 file
    facts: ChipFacts

    @property
    def width(self) -> int:
        """In pixels."""
        return self.facts.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.facts.height


def cut(image: Image, plan: CropPlan) -> Image:
    """The crop's pixels."""
    height, width = image.shape[:2]
    if (width, height) != (plan.source_width, plan.source_height):
        raise ValueError(f"the plan is for {plan.source_width}x{plan.source_height}, the picture is {width}x{height}")
    if plan.scale > 1 + SCALE_TOLERANCE:
        need = math.ceil(plan.out_height)
        have = math.floor(plan.out_height / plan.scale)
        raise UpscalingRefusedError(
            f"The portrait needs {need} pixels of height, the crop has {have} "
            f"(scale {plan.scale:.2f}, allowed 1.00); come closer or use a camera with more pixels."
        )
    fold = _fold(plan)
    matrix = plan.matrix() * fold
    # cv2 counts from pixel centres; the plan counts from the corner.
    matrix[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    size = (plan.out_width * fold, plan.out_height * fold)
    if size == (width, height) and np.array_equal(matrix, np.eye(2, 3)):
        fine = image.copy()  # what the warp would give, at a tenth of its time
    else:
        warped = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        fine = np.asarray(warped, dtype=np.uint8)
    if fold == 1:
        return fine
    means = cv2.resize(fine, (plan.out_width, plan.out_height), interpolation=cv2.INTER_AREA)
    return np.asarray(means, dtype=np.uint8)


def _fold(plan: CropPlan) -> int:
    """Whole source pixels per output pixel: how much finer than the output the picture is sampled."""
    return max(math.ceil(1 / plan.scale - SCALE_TOLERANCE), 1)


def crop_facts(plan: CropPlan) -> CropFacts:
    """What the cut did, for the report."""
    fold = _fold(plan)
    return CropFacts(
        resampling="bicubic" if fold == 1 else f"bicubic at {fold} times the size, then the mean of {fold}x{fold}",
        source_width=plan.source_width,
        source_height=plan.source_height,
        angle_deg=plan.angle_deg,
        scale=plan.scale,
        corners=plan.corners(),
    )


def encode_jpeg(pixels: Image) -> bytes:
    """JPEG as JPEG_FACTS say, without metadata."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        cv2.IMWRITE_JPEG_OPTIMIZE,
        1,
    ]
    return _encoded(".jpg", pixels, options)


def chip_plan(width: int, height: int, target: ChipTarget) -> CropPlan:
    """How a portrait of this size is fitted into the chip's: whole (but for the fraction of a pixel that the other side's rounding takes), never larger."""
    fit = min(target.width_px / width, target.height_px / height, 1.0)
    out_width, out_height = max(round(width * fit), 1), max(round(height * fit), 1)
    scale = min(max(out_width / width, out_height / height), 1.0)
    return CropPlan(0.0, scale, width / 2, height / 2, out_width, out_height, width, height)


def encode_chip(portrait: Image, target: ChipTarget) -> ChipImage:
    """The portrait as the chip holds it: at most the target's bytes, and at least 95 % of them where the picture has that much to tell.

    Raises EncodingFailedError when even the coarsest picture is too large. A picture that compresses to less than the band (flat, or of few
    pixels) is no error: `facts.fills_target` says so.
    """
    height, width = portrait.shape[:2]
    plan = chip_plan(width, height, target)
    pixels = cut(portrait, plan)
    picture = PIL.Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))

    def encode(size_bytes: int) -> bytes:
        return _encoded_jp2(picture, _rate(pixels, size_bytes))

    data, asked_bytes = _fill(encode, target.bytes, pixels.size)
    seen = _decoded_jp2(data)
    noise_db = psnr_db(seen, pixels)
    facts = ChipFacts(
        width=plan.out_width,
        height=plan.out_height,
        target_width=target.width_px,
        target_height=target.height_px,
        target_bytes=target.bytes,
        bytes=len(data),
        rate=_rate(pixels, asked_bytes),
        scale=plan.scale,
        resampling="none: the portrait's pixels" if plan.scale == 1 else crop_facts(plan).resampling,
        encoder=CHIP_ENCODER,
        psnr_db=None if noise_db is None else round(noise_db, 3),
        ssim=round(ssim(seen, pixels), 5),
    )
    return ChipImage(data, facts)


def _rate(pixels: Image, size_bytes: int) -> float:
    """How many times smaller than the raw pixels; 1 lets the encoder keep everything that its quantiser keeps."""
    return max(pixels.size / size_bytes, 1.0)


def _fill(encode: Callable[[int], bytes], target_bytes: int, raw_bytes: int) -> tuple[bytes, int]:
    """The fullest file of a few that fits, and the size that was asked for it.

    The next question is the last one corrected by what its answer was off, kept between the largest that fitted and the smallest that did not.
    """
    aim = max(round(AIM * target_bytes), 1)
    low, high = 0, raw_bytes + 1
    best: tuple[bytes, int] | None = None
    asked = min(aim, raw_bytes)
    for _ in range(MOST_ENCODES):
        data = encode(asked)
        if len(data) > target_bytes:
            high = asked
        else:
            # The same file for a larger size: all is told, or the encoder's next step is too wide; that one is only searched on below the band.
            same = best is not None and len(data) == len(best[0])
            last = same and (high > raw_bytes or len(data) >= CHIP_FILLED * target_bytes)
            if best is None or len(data) > len(best[0]):
                best = data, asked
            if last or len(data) >= ENOUGH * target_bytes:
                break
            low = asked
        if high - low < 2:
            break
        corrected = asked + aim - len(data)
        asked = corrected if low < corrected < high else (low + high) // 2
    if best is None:
        raise EncodingFailedError(
            f"JPEG 2000 of {raw_bytes} raw bytes does not fit into {target_bytes} bytes; raise the target size."
        )
    return best


class _Rate(int):
    """A rate as Pillow reads it, used again and again: Pillow 13.0 never lets go of the object, so a number for each picture would stay for ever."""

    value = 1.0

    def __float__(self) -> float:
        return self.value


_SPARE_RATES: list[_Rate] = []


def _encoded_jp2(picture: PIL.Image.Image, rate: float) -> bytes:
    file = io.BytesIO()
    told = _SPARE_RATES.pop() if _SPARE_RATES else _Rate()
    told.value = rate
    try:
        picture.save(file, "JPEG2000", quality_mode="rates", quality_layers=[told], irreversible=True, mct=1)
    except OSError as error:
        raise EncodingFailedError(f"The JPEG 2000 encoder refused {picture.width}x{picture.height} pixels.") from error
    finally:
        _SPARE_RATES.append(told)
    return _without_comment(file.getvalue())


def _decoded_jp2(data: bytes) -> Image:
    """What a reader of the chip sees."""
    with PIL.Image.open(io.BytesIO(data), formats=("JPEG2000",)) as file:
        return np.asarray(cv2.cvtColor(np.asarray(file), cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _without_comment(data: bytes) -> bytes:
    """The file without the encoder's own name in it (COM, ISO/IEC 15444-1 A.9.2), which tells nothing about the picture and costs bytes.

    The code stream is the last box; its length stands before its name. No pointer in the stream counts from before the main header's end.
    """
    box = data.index(b"jp2c") - 4
    at = box + 10  # after length, name and SOC
    header = bytearray(data[box + 4 : at])
    while (marker := data[at : at + 2]) != SOT:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker != COM:
            header += data[at:end]
        at = end
    code = bytes(header) + data[at:]
    return data[:box] + (len(code) + 4).to_bytes(4) + code


def _encoded(kind: str, pixels: Image, options: list[int]) -> bytes:
    done, data = cv2.imencode(kind, pixels, options)
    if not done:
        raise EncodingFailedError(f"The {kind} encoder refused {pixels.shape[1]}x{pixels.shape[0]} pixels.")
    return bytes(data)
