"""PURE. Which of several findings is worth telling first: fixed priority, then distance to the limit.

1. Each rule belongs to a stage; the stages have a fixed order. What comes first decides whether what comes later can be judged or is
 worth judging: a head that is turned away has no gaze, and whoever is too far away need not take off a hat yet.
2. Within a stage the finding furthest beyond its limit comes first. Distances of different units are compared as parts of the limit's own
 band: half its width, or its only end.
3. What is said already stays ahead of what is about as far: it counts STAY times its distance and NEAR more, so that two broken rules
 at equal distance do not take turns.
A rule that could not be judged has no distance and comes after those that have one; among equals the rule table's order counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from validation.report import Finding

# The beginnings of the rules' ids.
STAGES: tuple[tuple[str, ...], ...] = (
    ("image.upright", "face.single"),
    # A head that reaches out of the picture sits to one side, too high or too close, and that is what to tell, if it can be told.
    (
        *("geometry.inter_eye", "geometry.head_height", "geometry.head_width"),
        *("geometry.vertical", "geometry.horizontal"),
    ),
    ("geometry.head_inside",),
    ("pose.",),
    # Covered eyes and mouths first, then what they do: behind dark glass nobody can tell whether an eye is open.
    (
        *("eyes.dark_lenses", "eyes.glasses", "eyes.reflection", "eyes.frames", "eyes.hair", "eyes.visible"),
        *("face.lower_visible", "face.forehead_visible", "face.sides_visible"),
    ),
    ("eyes.open", "eyes.gaze", "eyes.red"),
    ("mouth.", "expression."),
    ("light.",),
    ("background.",),
    ("image.",),
)
STAY, NEAR = 1.25, 0.05


def stage_of(rule: str) -> int:
    """The stage of a rule, 0 first; one that no stage names comes last."""
    return next((at for at, names in enumerate(STAGES) if rule.startswith(names)), len(STAGES))


def distance(finding: Finding) -> float:
    """How far the value lies beyond the band that it broke, in parts of that band; 0 inside, and where nothing was measured."""
    value = finding.value
    if value is None:
        return 0.0
    band = finding.limit
    if band.holds(value) and finding.warn_limit is not None:
        band = finding.warn_limit
    low, high = band.low, band.high
    if low is not None and value < low:
        beyond, end = low - value, low
    elif high is not None and value > high:
        beyond, end = value - high, high
    else:
        return 0.0
    scale = (high - low) / 2 if low is not None and high is not None else abs(end)
    return beyond / scale if scale > 0 else beyond


def most_urgent(findings: Iterable[Finding], said: str = "") -> Finding | None:
    """The finding to tell first; `said` is the advice that stands already. None for no findings."""

    def order(finding: Finding) -> tuple[int, float]:
        far = distance(finding)
        return stage_of(finding.rule), -(
            far * STAY + NEAR if finding.advice == said and finding.value is not None else far
        )

    return min(findings, key=order, default=None)
