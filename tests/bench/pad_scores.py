"""How well the presentation attack score tells rendered attacks from rendered people, in randomly drawn situations of the booth.

    python -m tests.bench.pad_scores [--each 60] [--part tuning|report|both] [--json FILE] [--svg docs/images]

Simulation only, not evaluated to ISO/IEC 30107-3 (docs/pad.md says what that means). The limits in validation/pad.py were set on TUNING people and
anna's attacks; what counts are the REPORT people and kwame's attacks. Every presentation has its own situation: strength of each lamp (also one
weak, one dead, all weak), room light, daylight from one side, exposure, noise, delay of the camera, a head or a hand that moves.
Anna's recorded session gives heads that move in depth; she is a tuning person, so they are told apart.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.pad_scenes import KINDS, Situation, passes, score, wall_of
from validation.face import FaceModel
from validation.pad import OPERATING_POINT, PadScore

TUNING, REPORT = ("anna", "ingrid", "amara"), ("kwame", "mei", "jorge")
ATTACKED = {"tuning": "anna", "report": "kwame"}
# Runs of neighbouring frames of anna's session in which she turns, nods or leans while nothing else changes.
SESSION_RUNS = ((8, 9, 10, 11), (9, 10, 11, 12), (21, 22, 23, 21), (15, 19, 20, 21), (10, 11, 21, 22))
WALL_WANTED = 0.45  # linear light of the wall that an exposure is set for


def draw(random: np.random.Generator, folder: str, seed: int) -> Situation:
    """One situation."""
    strengths = random.uniform(0.6, 1.2, 3)
    kind = random.random()
    if kind < 0.15:
        strengths[random.integers(3)] = 0.3
    elif kind < 0.25:
        strengths[random.integers(3)] = 0.0
    elif kind < 0.35:
        strengths[:] = 0.3
    daylight = (str(random.choice(["left", "right", "top"])), float(random.uniform(0.5, 3)))
    if random.random() < 0.5:
        daylight = ("left", 0.0)
    ambient = float(random.uniform(0.2, 3))
    stack = passes(folder)
    names = {"key_left": strengths[0], "key_right": strengths[1], "fill_top": strengths[2]}
    wall = sum(wall_of(stack[name]) * level for name, level in names.items())
    wall += wall_of(stack["background"]) + ambient * wall_of(stack["ambient"])
    wall += daylight[1] * wall_of(stack[{"left": "key_left", "right": "key_right", "top": "fill_top"}[daylight[0]]])
    return Situation(
        strengths=(float(strengths[0]), float(strengths[1]), float(strengths[2])),
        ambient=ambient,
        daylight=daylight,
        noise=float(random.uniform(0.5, 4)),
        move=float(random.uniform(0, 0.12)),
        delay_ms=float(random.uniform(0, 120)),
        exposure=float(WALL_WANTED / wall * random.uniform(0.7, 1.3)),
        seed=seed,
    )


def run(model: FaceModel, folder: str, count: int, seed: int) -> list[PadScore]:
    """The scores of one person or attack."""
    random = np.random.default_rng(seed)
    return [score(model, folder, draw(random, folder, seed * 1000 + number)) for number in range(count)]


def run_session(model: FaceModel, count: int) -> list[PadScore]:
    """Anna moving in depth, one run of her session after another."""
    random = np.random.default_rng(77)
    scores = []
    for number in range(count):
        drawn = draw(random, "people/anna", 77_000 + number)
        frames = SESSION_RUNS[number % len(SESSION_RUNS)]
        scores.append(score(model, "people/anna", Situation(**{**vars(drawn), "frames": frames})))
    return scores


def upper_bound(errors: int, count: int) -> float:
    """The one-sided 95 % limit of a rate: the rule of three without an error, else Wilson's."""
    if count == 0:
        return 1.0
    if errors == 0:
        return min(3 / count, 1.0)
    z, p = 1.645, errors / count
    return (p + z * z / (2 * count) + z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))) / (
        1 + z * z / count
    )


def line(name: str, scores: Sequence[PadScore], *, attack: bool) -> dict[str, object]:
    """What is told of one group: errors among usable presentations."""
    values = sorted(found.score for found in scores if found.score is not None)
    errors = sum(found.usable and found.suspected is not attack for found in scores)
    return {
        "group": name,
        "presentations": len(scores),
        "usable": len(values),
        "not_usable": dict(Counter(str(found.reason) for found in scores if not found.usable)),
        "errors": errors,
        "rate_pct": round(100 * errors / len(values), 2) if values else None,
        "upper_95_pct": round(100 * upper_bound(errors, len(values)), 1),
        "lowest": round(values[0], 3) if values else None,
        "median": round(values[len(values) // 2], 3) if values else None,
        "highest": round(values[-1], 3) if values else None,
    }


def plot(title: str, groups: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Every presentation as a dot on its score, a row per group; the operating point as a line."""
    row, left, width = 34, 190, 520
    height = 60 + row * len(groups) + 34
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 90} {height}" '
            'font-family="system-ui,sans-serif" font-size="12" role="img">'
        ),
        f"<title>{title}</title>",
        f'<rect width="{left + width + 90}" height="{height}" fill="#fff"/>',
        f'<text x="16" y="24" font-size="14" font-weight="bold">{title}</text>',
    ]
    bottom = 50 + row * len(groups)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + width * tick
        parts.append(f'<path d="M{x:g} 44V{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:g}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    x = left + width * OPERATING_POINT
    parts.append(f'<path d="M{x:g} 40V{bottom}" stroke="#b00020" stroke-width="1.5" stroke-dasharray="5 3"/>')
    random = np.random.default_rng(3)
    for number, (name, values) in enumerate(groups):
        y = 60 + row * number
        colour = "#b45f06" if any(kind in name for kind in KINDS) else "#0b5394"
        parts.append(f'<text x="{left - 14}" y="{y + 4}" text-anchor="end">{name}</text>')
        for value in values:
            at = y + random.uniform(-9, 9)
            parts.append(
                f'<circle cx="{left + width * value:.1f}" cy="{at:.1f}" r="2.6" fill="{colour}" fill-opacity=".45"/>'
            )
        parts.append(f'<text x="{left + width + 14}" y="{y + 4}" fill="#444">n = {len(values)}</text>')
    parts.append(
        f'<text x="{left + width / 2:g}" y="{bottom + 32}" text-anchor="middle">score: 0 attack, 1 bona fide</text>'
    )
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    """Runs, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=60)
    parser.add_argument("--part", choices=("tuning", "report", "both"), default="both")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    people = {"tuning": TUNING, "report": REPORT}
    told, kept = [], {}
    with FaceModel() as model:
        for part in people if asked.part == "both" else (asked.part,):
            groups: list[tuple[str, list[PadScore], bool]] = []
            for number, person in enumerate(people[part]):
                groups.append((person, run(model, f"people/{person}", asked.each, 10 + number), False))
            for number, kind in enumerate(KINDS):
                name = f"{ATTACKED[part]}_{kind}"
                groups.append((name, run(model, f"attacks/{name}", asked.each, 20 + number), True))
            if part == "tuning":
                groups.append(("anna moving", run_session(model, asked.each), False))
            bona_fide = [found for _, scores, attack in groups if not attack for found in scores]
            lines = [line(name, scores, attack=attack) for name, scores, attack in groups]
            lines.append(line("all bona fide (BPCER)", bona_fide, attack=False))
            for one in lines:
                print(part, json.dumps(one), flush=True)
                told.append({"part": part, **one})
            kept[part] = [
                {"group": name, "score": found.score, "reason": found.reason, "interim": dict(found.interim)}
                for name, scores, _ in groups
                for found in scores
            ]
            if asked.svg is not None:
                title = f"Presentation attack score, {part} people (simulation only)"
                drawn = [(name, [f.score for f in scores if f.score is not None]) for name, scores, _ in groups]
                (asked.svg / f"pad-{part}.svg").write_text(plot(title, drawn), encoding="utf-8")
    if asked.json is not None:
        asked.json.write_text(json.dumps({"summary": told, "scores": kept}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
