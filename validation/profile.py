"""A profile: which size the portrait has, and every rule's limits with the clause they come from. Data, not code (profiles/*.toml).

A profile may extend another: tables are merged key by key, the nearer file wins. A rule that no profile names is not judged.
Whoever changes a rule or the chip image says why: a table without a source of its own is refused, so that no limit stands under another one's clause.
"""

from __future__ import annotations

import math
import tomllib
from functools import cache, cached_property
from importlib import resources
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from validation.errors import ProfileInvalidError, ProfileUnknownError
from validation.report import Level, Limit

MOST_PX = 20_000

RecordForm = Literal["39794-5", "19794-5:2005"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RuleLimits(_Settings):
    """One rule's bands under a profile."""

    level: Level = Level.REJECT
    low: float | None = None
    high: float | None = None
    warn_low: float | None = None
    warn_high: float | None = None
    source: str = Field(min_length=3)

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.low is self.high is self.warn_low is self.warn_high is None:
            raise ValueError("a rule needs at least one limit")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")
        lowest, highest = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
        warn_low, warn_high = (
            end if near is None else near
            for near, end in zip((self.warn_low, self.warn_high), (lowest, highest), strict=True)
        )
        if not lowest <= warn_low <= warn_high <= highest:
            raise ValueError("the band that warns is not inside the band that refuses")
        return self

    @cached_property
    def limit(self) -> Limit:
        """The band whose breach fails."""
        return Limit(low=self.low, high=self.high)

    @cached_property
    def warn_limit(self) -> Limit | None:
        """The narrower band whose breach warns."""
        if self.warn_low is None and self.warn_high is None:
            return None
        return Limit(low=self.warn_low, high=self.warn_high)


class CropRecipe(_Settings):
    """Where the booth's own crop puts the face (icao_rules 2.3: the middle of every band)."""

    head_height: float = Field(default=0.775, gt=0, lt=1, description="head length / image height")
    eye_line: float = Field(default=0.435, gt=0, lt=1, description="eye line from the top / image height")
    level_up_to_deg: float = Field(default=8.0, ge=0, le=15, description="a larger roll is left to the rule")


class ChipTarget(_Settings):
    """The picture for the passport's chip: the whole portrait fitted into this size and these bytes, and the record around it."""

    width_px: int = Field(ge=64, le=MOST_PX, description="never upscaled: a smaller portrait keeps its size")
    height_px: int = Field(ge=64, le=MOST_PX)
    bytes: int = Field(ge=5_000, le=200_000, description="the file with its headers; at most this, at least 95 % of it")
    record: RecordForm = Field(description="the edition of ISO/IEC face data that face.bin follows")
    source: str = Field(min_length=3)


class Profile(_Settings):
    """One national or test profile."""

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    title: str = Field(min_length=1)
    width_px: int = Field(gt=0, le=MOST_PX, description="width of the portrait the booth delivers")
    height_px: int = Field(gt=0, le=MOST_PX)
    size_source: str = Field(min_length=3)
    retakes: int = Field(ge=1, description="captures per visit before staff help")
    hold_s: float = Field(gt=0, description="how long everything must be right before the capture")
    framing_limit_s: float = Field(
        default=30.0, gt=0, description="how long somebody is guided before the best picture so far is reviewed"
    )
    pitch_zero_deg: float = Field(default=0.0, description="calibration: what a level head reads on this camera")
    camera_distance_mm: float = Field(default=900.0, gt=100, description="assumed distance, for perspective")
    camera_focal_widths: float | None = Field(
        default=None,
        gt=0.2,
        lt=20,
        description="focal length / width of the camera's whole picture; where known it replaces the distance for the booth's own pictures",
    )
    crop: CropRecipe = CropRecipe()
    chip: ChipTarget
    rules: dict[str, RuleLimits] = Field(min_length=1, description="without any rule every photo would comply")


def profile_names() -> tuple[str, ...]:
    """The installed profiles."""
    files = resources.files("validation").joinpath("profiles").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for key, value in over.items():
        old = both.get(key)
        both[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def _read(name: str, below: tuple[str, ...] = ()) -> dict[str, Any]:
    if name not in profile_names():
        raise ProfileUnknownError(f"There is no profile '{name}'; the profiles are {', '.join(profile_names())}.")
    if name in below:
        raise ProfileInvalidError(f"Profile '{name}' extends itself through {', '.join(below)}; correct the file.")
    try:
        own = tomllib.loads(resources.files("validation").joinpath("profiles", f"{name}.toml").read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProfileInvalidError(f"Profile '{name}' is not valid TOML ({error}); correct the file.") from error
    rules = own.get("rules", {})
    if not isinstance(rules, dict):
        raise ProfileInvalidError(f"Profile '{name}' has no table of rules; correct the file.")
    if own.get("name", name) != name or ("name" not in own and "extends" in own):
        raise ProfileInvalidError(
            f"Profile '{name}' is not called so by its file, and reports tell the name; correct the file."
        )
    for rule, table in rules.items():
        if not isinstance(table, dict) or "source" not in table:
            raise ProfileInvalidError(f"Profile '{name}' changes '{rule}' without naming a source; correct the file.")
    if "chip" in own and (not isinstance(own["chip"], dict) or "source" not in own["chip"]):
        raise ProfileInvalidError(f"Profile '{name}' changes the chip image without naming a source; correct the file.")
    base = own.pop("extends", None)
    return own if base is None else _merged(_read(base, (*below, name)), own)


@cache
def load_profile(name: str) -> Profile:
    """The named profile with everything it extends."""
    try:
        return Profile.model_validate(_read(name))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProfileInvalidError(f"Profile '{name}' is wrong at '{where}': {first['msg']}; correct it.") from error
