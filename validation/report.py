"""The answer of the checker: one Report with one Finding for each rule of the table.

Rules of the answer:
* every rule of the table has its finding, in the table's order (the order of guidance); what cannot be judged says so and why;
* a value stands in the rule's native unit, beside the limits it was held against and the clause they come from;
* `fail` is a broken limit; `warn` is a broken advisory limit; `not_assessed` never counts as passed;
* a report is a value: the same pixels, profile and software give the same report, byte for byte. It holds no time and no name.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
# BSI TR-03121-3 v6.0: the chip's file is at most 5 % smaller than its target.
CHIP_FILLED = 0.95

Judged = Literal["as_submitted", "crop", "live"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Verdict(StrEnum):
    """What a rule says of the photo."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    WARN = "warn"
    FAIL = "fail"
    NOT_ASSESSED = "not_assessed"


class Level(StrEnum):
    """What breaking the rule means: the photo is refused, a person is told, or it is only measured."""

    REJECT = "reject"
    WARN = "warn"
    INFO = "info"


class Limit(_Value):
    """A closed band in the rule's unit; None leaves that side open."""

    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        """Whether the value lies inside the band."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


class Box(_Value):
    """A rectangle in pixels of the judged picture."""

    x: float
    y: float
    width: float
    height: float


class Evidence(_Value):
    """What to draw on the judged picture to show where a value comes from."""

    points: tuple[tuple[float, float], ...] = ()
    boxes: tuple[Box, ...] = ()
    outlines: tuple[tuple[tuple[float, float], ...], ...] = Field(
        default=(), description="closed polygons: the contours of a mask"
    )


class Finding(_Value):
    """One rule's answer."""

    rule: str
    value: float | None
    unit: str
    limit: Limit
    warn_limit: Limit | None = None
    verdict: Verdict
    level: Level
    reason: str | None = Field(default=None, description="why the rule was not assessed")
    source: str = Field(description="clause or document the limits come from")
    advice: str = Field(description="message key of what to do; advice.none when there is nothing to do")
    evidence: Evidence | None = None


class CropFacts(_Value):
    """What was done to the source pixels before judging (the whole of it: nothing is ever retouched)."""

    source_width: int
    source_height: int
    angle_deg: float = Field(description="the picture was turned by this, clockwise positive, to level the eyes")
    scale: float = Field(description="output pixels per source pixel; never above 1")
    corners: tuple[tuple[float, float], ...] = Field(
        description="the crop's corners in the source, clockwise from top left"
    )
    resampling: str = Field(description="the filter that turned and scaled the source pixels")


class ChipFacts(_Value):
    """How the chip image was made of the portrait's uncompressed pixels, and how much of them it kept; filled when a visit is sealed."""

    width: int
    height: int
    target_width: int = Field(
        description="the profile's size; a chip that is smaller has the portrait's own size or shape"
    )
    target_height: int
    target_bytes: int
    bytes: int = Field(description="of the JPEG 2000 file with its headers")
    rate: float = Field(description="how many times smaller than the raw pixels the encoder was asked to be")
    scale: float = Field(gt=0, le=1, description="chip pixels per pixel of the portrait; never upscaled")
    resampling: str = Field(description="the filter that scaled the portrait's pixels")
    encoder: str
    psnr_db: float | None = Field(
        description="against the pixels that were encoded, three channels; null when nothing was lost"
    )
    ssim: float = Field(description="against the same, on grey (Wang et al. 2004)")

    @property
    def fills_target(self) -> bool:
        """Whether the file is at least 95 % of its target; a flat or a tiny picture has less to tell."""
        return self.bytes >= CHIP_FILLED * self.target_bytes


class Expression(_Value):
    """What expression does to a face, free of scale, position and tilt; each in % of T (eye midpoint to chin)."""

    mouth_width: float = Field(description="distance of the mouth corners")
    corner_lift: float = Field(description="mean height of the corners above the middle of the lips")
    brow_height: float = Field(description="mean distance of the brows from the eye centres")


class Series(_Value):
    """Measures over several frames of one person just before the capture: named inputs, so that anybody can judge again with the same."""

    pitch_deg: tuple[float, ...] = Field(description="head pitch of the latest frames, from the calibrated zero")
    relaxed: tuple[Expression, ...] = Field(description="the face in frames without a broken rule")


class Report(_Value):
    """All findings on one photo under one profile."""

    schema_version: int = SCHEMA_VERSION
    profile: str
    profile_version: str
    judged: Judged
    width: int
    height: int
    findings: tuple[Finding, ...]
    software: str
    notes: tuple[str, ...] = ()
    crop: CropFacts | None = None
    chip: ChipFacts | None = Field(
        default=None, description="the packet's chip image; only in the report of a sealed visit"
    )
    series: Series | None = Field(default=None, description="the inputs of measures over several frames")

    @property
    def compliant(self) -> bool:
        """No rule of level reject failed or stayed unassessed."""
        return not self.blocking

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings that stand between this photo and its release, most urgent first."""
        blocks = (Verdict.FAIL, Verdict.NOT_ASSESSED)
        return tuple(f for f in self.findings if f.level is Level.REJECT and f.verdict in blocks)

    def finding(self, rule: str) -> Finding:
        """The finding of one rule; KeyError when the profile does not hold it."""
        for found in self.findings:
            if found.rule == rule:
                return found
        raise KeyError(rule)
