"""PURE. A report's evidence → what the page draws over the portrait: lines of crown, eyes and chin, and where each broken rule looked.

Everything is in fractions of the portrait's width and height, to a thousandth, so that it fits the picture at whatever size it is shown. Only what stands
between a portrait and its release is marked. A long outline is thinned; what is not finite or lies far outside is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from booth.kiosk import FaceLines, Marks, Place
from validation.report import Evidence, Finding, Report

MOST_OUTLINES, MOST_POINTS = 12, 48
HEIGHT, EYES = "geometry.head_height", "geometry.inter_eye"  # whose evidence is crown and chin, and the two eye centres
_FAR = 1.0  # of the picture's size outside of it


def face_lines(report: Report) -> FaceLines | None:
    """Crown, eyes and chin; None when the report does not say where they are."""
    found = [_places(_points(report, rule), report) for rule in (HEIGHT, EYES)]
    if [len(places) for places in found] != [2, 2]:
        return None
    (crown, chin), (right, left) = found
    return FaceLines(crown=crown, chin=chin, eyes=(right, left))


def marks_of(finding: Finding, report: Report) -> Marks | None:
    """Where the rule looked; None when there is nothing to draw."""
    evidence = finding.evidence
    if evidence is None:
        return None
    shapes = [*_boxes(evidence), *evidence.outlines]
    outlines = tuple(shape for one in shapes[:MOST_OUTLINES] if len(shape := _places(_thinned(one), report)) > 2)
    dots = _places(evidence.points[:MOST_POINTS], report)
    return Marks(dots=dots, outlines=outlines) if dots or outlines else None


def _points(report: Report, rule: str) -> Sequence[tuple[float, float]]:
    found = next((finding for finding in report.findings if finding.rule == rule), None)
    return () if found is None or found.evidence is None else found.evidence.points


def _boxes(evidence: Evidence) -> list[tuple[tuple[float, float], ...]]:
    return [
        (
            (box.x, box.y),
            (box.x + box.width, box.y),
            (box.x + box.width, box.y + box.height),
            (box.x, box.y + box.height),
        )
        for box in evidence.boxes
    ]


def _thinned(outline: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    step = math.ceil(len(outline) / MOST_POINTS)
    return outline[:: max(step, 1)]


def _places(points: Iterable[tuple[float, float]], report: Report) -> tuple[Place, ...]:
    if report.width <= 0 or report.height <= 0:
        return ()
    shares = [(x / report.width, y / report.height) for x, y in points]
    return tuple(
        (round(x, 3), round(y, 3))
        for x, y in shares
        if math.isfinite(x) and math.isfinite(y) and -_FAR <= x <= 1 + _FAR and -_FAR <= y <= 1 + _FAR
    )
