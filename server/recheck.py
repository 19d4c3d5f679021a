"""The second opinion of a portrait: what the booth's report says beside what this desk measured itself. PURE.

Rules of the comparison, one row for each rule that either of them names, those to look at first:
* verdicts count before values. A rule that one meets and the other does not is told as a contradiction; as a close call when the values lie no further apart than
  re-encoding alone puts them (server/recheck_spread.py) and the limit lies between;
* the same verdict with values further apart than that is told as another value: the two did not judge the same picture, or not with the same program;
* what only the booth could measure (frames before the photo, the cut from the camera's picture) stays the booth's word and is told as such;
* a finding that says "met" of a value beyond its own limit contradicts itself, whoever could measure it;
* a rule of the profile that the booth's report leaves out, and limits that are not those of the profile that it names, are told: a booth that works by other
  limits under the same name would pass what the profile refuses.
Both reports are read as hostile (server/records.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from server.recheck_spread import tolerance
from server.records import FindingRecord, ReportRecord, Verdict

# Measured before the photo or on the camera's own picture: a finished portrait does not show it.
ONLY_AT_THE_BOOTH = frozenset({"pose.pitch_median", "expression.change", "image.upscaled"})
# Below this likeness at a small size the chip image shows another picture than the portrait. Measured: at least 0.997 for chip images of the product's encoder, at most
# 0.73 for the portrait of another person in the same pose and light (`python -m tests.bench.recheck_spread`).
LEAST_CHIP_SSIM = 0.95
# Versions of a profile differ by a few rules; a report that lacks every tenth one is of something else.
COMPARABLE = 0.9
# Limits pass through JSON as they are; anything beyond rounding of a float is another limit.
LIMIT_TOLERANCE = 1e-9


class Standing(StrEnum):
    """What the two say together, the gravest first."""

    CONTRADICTION = "contradiction"
    LEFT_OUT = "left_out"  # the booth's report lacks a rule of the profile
    LIMITS = "limits"  # the booth held it against other limits than the profile's
    VALUE = "value"
    CLOSE = "close"
    UNJUDGED = "unjudged"  # one of them could not assess it
    BOOTH_ONLY = "booth_only"
    AGREES = "agrees"

    @property
    def striking(self) -> bool:
        """Whether an officer has to look."""
        return self in {Standing.CONTRADICTION, Standing.LEFT_OUT, Standing.LIMITS, Standing.VALUE}


@dataclass(frozen=True, slots=True)
class Row:
    """One rule, twice."""

    rule: str
    booth: FindingRecord | None
    desk: FindingRecord | None
    difference: float | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class ChipOpinion:
    """What the chip image shows: how much of it is the portrait, or why that cannot be told."""

    ssim: float | None
    error: str = ""

    @property
    def same_picture(self) -> bool:
        """Whether it shows the portrait."""
        return self.ssim is not None and self.ssim >= LEAST_CHIP_SSIM


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """Both reports side by side."""

    booth: ReportRecord
    desk: ReportRecord
    rows: tuple[Row, ...]
    chip: ChipOpinion | None

    @property
    def blocks(self) -> bool:
        """Whether this desk's own check finds something that stands between the portrait and its release."""
        return any(row.desk.blocks for row in self.rows if row.desk and row.standing is not Standing.BOOTH_ONLY)

    @property
    def striking(self) -> tuple[Row, ...]:
        """The rows at which an officer has to look."""
        return tuple(row for row in self.rows if row.standing.striking)

    @property
    def agrees(self) -> bool:
        """Whether nothing contradicts the booth, and there was enough that could."""
        return self.comparable and not self.striking and (self.chip is None or self.chip.same_picture)

    @property
    def comparable(self) -> bool:
        """Whether the booth's report has most of the rules that this desk judged: one that names another version of the profile may lack them without a word."""
        both = sum(row.booth is not None and row.desk is not None for row in self.rows)
        return both >= COMPARABLE * len(self.desk.findings)

    @property
    def same_software(self) -> bool:
        """Whether both were computed by the same versions."""
        return self.booth.software == self.desk.software

    @property
    def same_profile(self) -> bool:
        """Whether both used the same version of the profile."""
        return self.booth.profile_version == self.desk.profile_version

    def counts(self) -> Mapping[Standing, int]:
        """How many rows stand how."""
        return {standing: sum(row.standing is standing for row in self.rows) for standing in Standing}


def compare(booth: ReportRecord, desk: ReportRecord, chip: ChipOpinion | None = None) -> SecondOpinion:
    """The two reports rule by rule. A rule that the booth names twice counts by its first finding."""
    told: dict[str, FindingRecord] = {}
    for finding in booth.findings:
        told.setdefault(finding.rule, finding)
    own = {finding.rule: finding for finding in desk.findings}
    same_profile = booth.profile_version == desk.profile_version
    rows = [
        _row(rule, told.get(rule), own.get(rule), same_profile=same_profile)
        for rule in (*own, *(name for name in told if name not in own))
    ]
    order = list(Standing)
    return SecondOpinion(booth, desk, tuple(sorted(rows, key=lambda row: order.index(row.standing))), chip)


def _row(rule: str, booth: FindingRecord | None, desk: FindingRecord | None, *, same_profile: bool) -> Row:
    difference = None
    if booth and desk and booth.value is not None and desk.value is not None:
        gap = desk.value - booth.value
        difference = gap if math.isfinite(gap) else None
    return Row(rule, booth, desk, difference, _standing(rule, booth, desk, difference, same_profile=same_profile))


def _standing(
    rule: str,
    booth: FindingRecord | None,
    desk: FindingRecord | None,
    difference: float | None,
    *,
    same_profile: bool,
) -> Standing:
    if booth is None:
        return Standing.LEFT_OUT if same_profile else Standing.UNJUDGED
    if _denies_itself(booth):
        return Standing.CONTRADICTION
    if desk is None:  # a rule that this desk's profile does not have
        return Standing.BOOTH_ONLY
    if same_profile and not _same_limits(booth, desk):
        return Standing.LIMITS
    if rule in ONLY_AT_THE_BOOTH:
        return Standing.BOOTH_ONLY
    if Verdict.NOT_ASSESSED in {booth.verdict, desk.verdict}:
        # Nothing was measured: grave only where the other one refuses, or where this desk cannot see what the booth says it saw.
        if booth.verdict == desk.verdict:
            return Standing.AGREES
        return Standing.CONTRADICTION if booth.blocks != desk.blocks else Standing.UNJUDGED
    most = tolerance(rule)
    near = difference is not None and most is not None and abs(difference) <= most
    if booth.verdict is not desk.verdict:
        return Standing.CLOSE if near else Standing.CONTRADICTION
    if most is None or near:
        return Standing.AGREES
    return Standing.VALUE


def _denies_itself(finding: FindingRecord) -> bool:
    """Whether it says "met" of a value that breaks its own limit."""
    value, low, high = finding.value, finding.limit.low, finding.limit.high
    if finding.verdict is not Verdict.PASS or value is None:
        return False
    return (low is not None and value < low) or (high is not None and value > high)


def _same_limits(booth: FindingRecord, desk: FindingRecord) -> bool:
    pairs = (
        (booth.limit.low, desk.limit.low),
        (booth.limit.high, desk.limit.high),
        (booth.warn_limit.low, desk.warn_limit.low),
        (booth.warn_limit.high, desk.warn_limit.high),
    )
    return booth.level == desk.level and all(
        one == two or (one is not None and two is not None and math.isclose(one, two, rel_tol=LIMIT_TOLERANCE))
        for one, two in pairs
    )
