"""PURE: the canonical portrait: one cut from the camera's pixels (turned, scaled down, cropped in one resampling) and its encodings.

Rules: never upscaled, never retouched, never re-compressed; what was done is told and signed: the cut as CropFacts in report.json, the two
encodings (JPEG_FACTS, Jp2) under `images` in visit.json.
Order of the cut: the plan's map at k times the output size, k = whole source pixels per output pixel, then the exact mean of k x k.
That is area sampling of the turned picture; a plain bilinear warp would skip source pixels and alias.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.errors import EncodingFailedError, UpscalingRefusedError
from validation.framing import CropPlan, plan_crop
from validation.report import CropFacts

__all__ = ["JPEG_FACTS", "CropPlan", "Jp2", "crop_facts", "cut", "encode_jp2", "encode_jpeg", "plan_crop"]

Image = NDArray[np.uint8]
# A plan at exactly 1:1 may come out a rounding error above it.
SCALE_TOLERANCE = 1e-6
JPEG_QUALITY = 95
ENCODER = f"OpenCV {cv2.__version__}"
# What `encode_jpeg` does, for the record.
JPEG_FACTS: Mapping[str, str | int] = MappingProxyType(
    {"format": "JPEG", "encoder": ENCODER, "quality": JPEG_QUALITY, "subsampling": "4:4:4"}
)


@dataclass(frozen=True, slots=True)
class Jp2:
    """A JPEG 2000 picture and how it was made."""

    data: bytes = field(repr=False)
    target_bytes: int
    rate_per_mille: int  # of the raw size, as the encoder was asked

    @property
    def facts(self) -> Mapping[str, str | int]:
        """For the record."""
        return {
            "format": "JPEG 2000",
            "encoder": ENCODER,
            "target_bytes": self.target_bytes,
            "rate_per_mille": self.rate_per_mille,
            "bytes": len(self.data),
        }


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
    fine = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if fold > 1:
        fine = cv2.resize(fine, (plan.out_width, plan.out_height), interpolation=cv2.INTER_AREA)
    return np.asarray(fine, dtype=np.uint8)


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


def encode_jp2(pixels: Image, target_bytes: int) -> Jp2:
    """JPEG 2000 as large as fits into the target: the best picture a chip of that size can hold.

    The encoder takes thousandths of the raw size and keeps close to them: the first rate that fits, going down from just above, is the largest.
    """
    raw_bytes = pixels.size
    for rate in range(min(target_bytes * 1000 // raw_bytes + 1, 1000), 0, -1):
        data = _encoded(".jp2", pixels, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, rate])
        if len(data) <= target_bytes:
            return Jp2(data, target_bytes, rate)
    raise EncodingFailedError(
        f"JPEG 2000 of {raw_bytes} raw bytes does not fit into {target_bytes} bytes; raise the target size."
    )


def _encoded(kind: str, pixels: Image, options: list[int]) -> bytes:
    done, data = cv2.imencode(kind, pixels, options)
    if not done:
        raise EncodingFailedError(f"The {kind} encoder refused {pixels.shape[1]}x{pixels.shape[0]} pixels.")
    return bytes(data)
