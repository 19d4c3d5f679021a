"""PURE: presentation attack detection by active light: one score from a face's answers to small lamp changes (measures: validation.pad_cues).

Simulation only, not evaluated to ISO/IEC 30107-3 (docs/pad.md). Never shown to an applicant and never in the way of a capture: for the officer.

The score runs from 0 (attack) to 1 (bona fide presentation). It is the weakest of three pieces of evidence, each 0 at or below what sheets and
screens give and 1 at or above what heads give (EVIDENCE): the local answers follow the mesh's normals, and by how much; the face answers at
all, measured by the wall behind it under the same lamps. Below OPERATING_POINT an officer is warned.
Whatever keeps the measure from being one gives no score but a `Reason`. A face that does not answer while the wall does is no such thing: that
is what a screen does, and the score says so without asking for its shape.

Order: enough frames -> lamps that moved -> the camera's delay and an undisturbed light, both from the wall -> answers of skin points -> interim values -> score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from validation.pad_cues import (
    MESH_POINTS,
    Answers,
    Course,
    Floats,
    Levels,
    PadFrame,
    answers_of,
    changes,
    delay_of,
    light_at,
    line_through,
    moire,
    normals_of,
    parallax,
    skin_points,
    smooth_surface,
    turn_of,
    without,
)

# Limits set on the tuning people of the virtual set, or assumed (docs/pad.md); none was ever tried on a real booth.
MECHANISM = "active-light/1"
OPERATING_POINT = 0.5
# Three answers, the rest and the turn are five unknowns of each point; two more leave something to tell the noise by.
LEAST_FRAMES = 7
LEAST_WALL_MOMENTS = 7
LEAST_POINTS = 120
# The head may turn so far (mean way of the mesh's points in eye distances; 0.04 is some eight degrees of yaw): beyond, nothing was tried.
MOST_MOVED = 0.08
# Below this the mesh only jitters; above it, the turn's own shading is taken out of the answers.
STILL = 0.008
# A lamp answers when wall or face change by this share of their light for a change of 100 %.
LEAST_ANSWER = 0.02
# Of the wall's change over time, what no lamp explains: above this somebody else changed the light (a door, the sun, flicker, the camera's automatic).
MOST_UNEXPLAINED = 0.35
KEYS = ("key_left", "key_right")
# Below this share of the median answer a sum of two answers is noise; keeps their relative difference finite.
FAINT = 0.05
# A difference of two answers is worth 1 / (its own noise² + this²): without it the brightest points would speak alone.
STEADY_NOISE = 0.1
# A shape that is not a head's counts only when the answers stand so far above their noise (median answer over its standard error).
LEAST_CERTAINTY = 3.0


class Reason(StrEnum):
    """Why there is no score."""

    OFF = "off"  # switched off in the settings
    NOT_RUN = "not_run"  # the visit was over before the light was ready
    NO_LAMPS = "no_lamps"
    LAMPS_FAILED = "lamps_failed"  # a lamp or camera failed during the probe
    AUTO_EXPOSURE = "auto_exposure"
    INTERRUPTED = "interrupted"  # the lamps were wanted elsewhere
    TOO_FEW_FRAMES = "too_few_frames"
    NO_FACE = "no_face"
    MOVED = "moved"
    TOO_FEW_LAMPS = "too_few_lamps"  # fewer than two answer: dead, weak, or drowned by other light
    FAINT_ANSWER = "faint_answer"  # the lamps are too weak for this camera's noise
    LIGHT_DISTURBED = "light_disturbed"
    FAILED = "failed"  # our own failure


@dataclass(frozen=True, slots=True)
class PadScore:
    """The answer: a score, or the reason why there is none; interim values as far as they were measured (None: not measured)."""

    usable: bool
    score: float | None
    reason: Reason | None = None
    interim: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))
    evidence: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def suspected(self) -> bool:
        """Whether an officer is warned."""
        return self.score is not None and self.score < OPERATING_POINT


# What each piece of evidence is at an attack (0) and at a head (1): between the two groups of the tuning people, docs/pad.md.
FOLLOWS = "light.follows_wall"
EVIDENCE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "shape.local_slope": (0.1, 0.6),
        "shape.local_fit": (0.02, 0.18),
        FOLLOWS: (0.2, 1.0),
    }
)


def unusable(reason: Reason, interim: Mapping[str, float | None] | None = None) -> PadScore:
    """No score, and why."""
    return PadScore(usable=False, score=None, reason=reason, interim=MappingProxyType(dict(interim or {})))


def assess(frames: tuple[PadFrame, ...], levels: Levels, wall: Course) -> PadScore:
    """The score of these faces under these levels; `wall` is the light of the wall beside the head in all frames of the probe."""
    if len(frames) < LEAST_FRAMES or len(wall.at_ms) < LEAST_WALL_MOMENTS:
        return unusable(Reason.TOO_FEW_FRAMES)
    middle = np.mean([frame.landmarks[:MESH_POINTS] for frame in frames], axis=0).astype(np.float64)
    points = skin_points(middle)
    if len(points) < LEAST_POINTS:
        return unusable(Reason.NO_FACE)
    moments = np.array([frame.at_ms for frame in frames])
    lamps, change = changes(levels, moments)
    if len(lamps) < 2:
        return unusable(Reason.NO_LAMPS if not lamps else Reason.TOO_FEW_LAMPS)
    delay_ms = delay_of(wall, levels)
    wall_moments = np.array(wall.at_ms) - delay_ms
    wall_answers = answers_of(np.array(wall.values)[:, None], *changes(levels, wall_moments))
    lamps, change = changes(levels, moments - delay_ms)
    turn, drift = turn_of(frames)
    answers = answers_of(light_at(frames, points), lamps, change, turn if drift > STILL else None)
    interim = _quality(frames, delay_ms, answers, wall_answers)
    interim["motion.moved"], interim["motion.depth_fit"] = parallax(frames, points)
    interim["screen.moire"] = moire(frames)
    interim |= _light(answers, wall_answers)
    seen = [lamp for lamp in lamps if max(_share(answers, lamp), _share(wall_answers, lamp)) >= LEAST_ANSWER]
    if len(seen) < 2:
        return unusable(Reason.TOO_FEW_LAMPS, interim)
    if wall_answers.unexplained > MOST_UNEXPLAINED:
        return unusable(Reason.LIGHT_DISTURBED, interim)
    interim["motion.drift"] = drift
    if drift > MOST_MOVED:
        return unusable(Reason.MOVED, interim)
    interim |= _shape(answers, seen, middle, points)
    evidence = {name: _ramp(interim[name], *ends) for name, ends in EVIDENCE.items()}
    if evidence[FOLLOWS] < OPERATING_POINT:
        return _scored({FOLLOWS: evidence[FOLLOWS]}, interim)
    if min(evidence.values()) < OPERATING_POINT and (interim["response.certainty"] or 0.0) < LEAST_CERTAINTY:
        return unusable(Reason.FAINT_ANSWER, interim)
    return _scored(evidence, interim)


def _scored(evidence: Mapping[str, float], interim: Mapping[str, float | None]) -> PadScore:
    """The weakest piece of evidence is the score."""
    return PadScore(
        usable=True,
        score=min(evidence.values()),
        interim=MappingProxyType(dict(interim)),
        evidence=MappingProxyType(dict(evidence)),
    )


def _ramp(value: float | None, attack: float, head: float) -> float:
    """0 at the attacks' value, 1 at the heads'; what was not measured proves nothing."""
    return 0.0 if value is None else min(max((value - attack) / (head - attack), 0.0), 1.0)


def _quality(frames: tuple[PadFrame, ...], delay_ms: float, answers: Answers, wall: Answers) -> dict[str, float | None]:
    certain = np.abs(answers.answer) / np.maximum(answers.error, 1e-12)
    return {
        "response.frames": float(len(frames)),
        "response.delay_ms": delay_ms,
        "response.certainty": float(np.median(certain)),
        "response.unexplained": answers.unexplained,
        "response.wall_unexplained": wall.unexplained,
    }


def _share(answers: Answers, lamp: str) -> float:
    """The part of the light that follows a lamp."""
    if lamp not in answers.lamps:
        return 0.0
    row = answers.answer[answers.lamps.index(lamp)]
    return float(np.median(row) / np.median(answers.rest))


def _light(answers: Answers, wall: Answers) -> dict[str, float | None]:
    """How much of the face's light follows the lamps, alone and against the wall's; what glows by itself; whether bright skin answers more."""
    whole = answers.answer.sum(axis=0)
    share = float(np.median(whole) / np.median(answers.rest))
    wall_share = float(wall.answer.sum(axis=0)[0] / wall.rest[0])
    steady = float(np.median(answers.rest - whole))
    wall_steady = max(float(wall.rest[0] - wall.answer.sum(axis=0)[0]), 1e-4)
    albedo, _ = line_through(*_centred(answers.rest, whole))
    _, fit = line_through(*_centred(answers.rest, whole))
    low, high = np.percentile(answers.rest, (10, 90))
    dark, bright = np.median(whole[answers.rest <= low]), np.median(whole[answers.rest >= high])
    return {
        "light.lamp_share": share,
        "light.wall_share": wall_share,
        "light.follows_wall": share / wall_share if wall_share > 0 else None,
        "light.glow": steady / wall_steady,
        "surface.albedo_fit": fit if albedo > 0 else 0.0,
        # A glass or a gloss throws the lamp back whatever lies under it: the darkest tenth answers nearly as the brightest.
        "surface.veil": float(dark / bright) if bright > 0 else None,
    }


def _centred(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    return x - x.mean(), y - y.mean()


def _shape(
    answers: Answers, seen: list[str], middle: NDArray[np.float64], points: NDArray[np.intp]
) -> dict[str, float | None]:
    """Whether the difference of two lamps' answers follows the mesh's normals, as it is and where no smooth surface explains it."""
    normals, places = normals_of(middle)[points], middle[points]
    pair, gain = _pair(seen)
    (first, first_error), (second, second_error) = (_relative(answers, lamp) for lamp in pair)
    whole = np.abs(first) + np.abs(second) + FAINT
    difference = gain * (first - second) / whole
    noise = 2 * gain * np.hypot(second * first_error, first * second_error) / whole**2
    weight = 1 / np.hypot(noise, STEADY_NOISE)
    facing = -normals[:, 0]  # positive towards the picture's left
    sheet = smooth_surface(places) * weight[:, None]
    level, heard = weight[:, None], difference * weight
    local = without(sheet, heard)
    slope, fit = line_through(without(level, facing * weight), without(level, heard))
    local_slope, local_fit = line_through(without(sheet, facing * weight), local)
    result: dict[str, float | None] = {
        "shape.slope": slope,
        "shape.fit": fit,
        "shape.spread": float(difference.std()),
        "shape.local_slope": local_slope,
        "shape.local_fit": local_fit,
        "shape.noise": float(np.median(noise)),
        "plane.smooth_fit": 1 - float((local**2).sum() / max((without(level, heard) ** 2).sum(), 1e-12)),
        "shape.front_fit": None,
    }
    if "fill_top" in seen and pair == KEYS:
        front, _ = _relative(answers, "fill_top")
        towards = (2 * front - first - second) / (2 * np.abs(front) + np.abs(first) + np.abs(second) + FAINT)
        result["shape.front_fit"] = line_through(*_centred(-normals[:, 2], towards))[1]
    return result


def _pair(seen: list[str]) -> tuple[tuple[str, str], float]:
    """The two lamps that are compared, the one at the picture's left first, and what their difference is worth against that of both keys."""
    if all(key in seen for key in KEYS):
        return KEYS, 1.0
    if "key_left" in seen:
        return ("key_left", next(lamp for lamp in seen if lamp != "key_left")), 2.0
    other = next((lamp for lamp in seen if lamp != "key_right"), seen[0])
    return (other, "key_right"), 2.0


def _relative(answers: Answers, lamp: str) -> tuple[Floats, Floats]:
    """Answers to one lamp over their middle, so that a weak lamp counts like a strong one, and their errors."""
    number = answers.lamps.index(lamp)
    row, error = answers.answer[number], answers.error[number]
    middle = max(float(np.median(row)), float(np.median(error)), 1e-9)
    return row / middle, error / middle
