"""PURE: the drawings of an HTML report as SVG paths: evidence over the photo, and the histograms of the face.

Coordinates of evidence are those of the judged picture; numbers are cut to a tenth of a pixel. What is not finite or lies far outside is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from validation.report import Evidence

# A point is drawn as a ring of this share of the picture's longer side.
POINT_SHARE = 0.007
HISTOGRAM_SIZE = (256.0, 100.0)


def evidence_path(evidence: Evidence | None, width: int, height: int) -> str:
    """One SVG path with every point, box and outline; empty when there is nothing to draw."""
    if evidence is None:
        return ""
    radius = max(width, height) * POINT_SHARE
    far = 2.0 * max(width, height)
    parts = []
    for x, y in evidence.points:
        if _near((x, y), far):
            r = _number(radius)
            parts.append(
                f"M{_number(x - radius)} {_number(y)}a{r} {r} 0 1 0 {_number(2 * radius)} 0a{r} {r} 0 1 0 -{_number(2 * radius)} 0z"
            )
    for box in evidence.boxes:
        corners = (
            (box.x, box.y),
            (box.x + box.width, box.y),
            (box.x + box.width, box.y + box.height),
            (box.x, box.y + box.height),
        )
        parts.append(_polygon(corners, far))
    parts += [_polygon(outline, far) for outline in evidence.outlines]
    return "".join(parts)


def _near(point: Sequence[float], far: float) -> bool:
    return all(math.isfinite(value) and abs(value) <= far for value in point)


def _polygon(corners: Sequence[Sequence[float]], far: float) -> str:
    if len(corners) < 2 or not all(_near(corner, far) for corner in corners):
        return ""
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in corners) + "z"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def histogram_paths(shares: dict[str, tuple[float, ...]]) -> dict[str, str]:
    """A curve per channel over a common scale; "light" is closed, to be filled."""
    width, height = HISTOGRAM_SIZE
    highest = max((max(values, default=0.0) for values in shares.values()), default=0.0) or 1.0
    told = {}
    for name, values in shares.items():
        step = width / max(len(values), 1)
        curve = "L".join(
            f"{_number((at + 0.5) * step)} {_number(height - share / highest * height)}"
            for at, share in enumerate(values)
        )
        told[name] = (
            f"M0 {_number(height)}L{curve}L{_number(width)} {_number(height)}z" if name == "light" else f"M{curve}"
        )
    return told
