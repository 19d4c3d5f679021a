"""What `booth evaluate --out` writes: scores.csv, summary.csv, summary.json, one DET plot per rule with both classes, index.html.

What cannot be written, or would take the place of the labels, is refused before anything is judged. Each file is either whole or as it was.
In the tables no name begins a formula: a file gets `./` before it, a subject or group an apostrophe.
Rates are shares, 0 to 1; in summary.json too. An infinite score (not assessed) is written as `inf`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from booth.check_files import file_cell, text_cell, whole_file
from booth.dataset import DatasetError, Labelled, shown
from booth.det_plot import det_svg, page
from booth.evaluation import CONFIDENCE, RESAMPLES, SEED, Band
from booth.evaluation_summary import (
    FEWEST_FOR_A_CLAIM,
    Answer,
    Figures,
    Part,
    Summary,
    mean_and_median,
    rate,
    score,
    scored,
)
from validation.check import software
from validation.profile import RuleLimits
from validation.rules import RULES

UNITS = {rule.id: rule.unit for rule in RULES}
SCORE_COLUMNS = (
    "file",
    "subject",
    "group",
    "skin_group",
    "ita_deg",
    "rule",
    "label",
    "value",
    "unit",
    "score",
    "verdict",
    "reason",
)
FIGURE_COLUMNS = (
    "kind",
    "name",
    "photos",
    "rule",
    "unit",
    "compliant",
    "not_compliant",
    "false_rejects",
    "false_accepts",
    "not_assessed_compliant",
    "not_assessed_not_compliant",
    "false_reject_rate",
    "false_accept_rate",
    "eer",
    "eer_low",
    "eer_high",
    "resamples",
    "eer_judged_only",
    "threshold_below",
    "threshold_above",
    "limit",
    "claim",
)


def refuse_folder(folder: Path, labels: Path) -> None:
    """Raises DatasetError when the results cannot be written to the folder, or the labels would be lost."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise DatasetError(f"The results cannot be written to {shown(folder)}; name another folder.")
    if labels.resolve() in {(folder / name).resolve() for name in _names()}:
        raise DatasetError(f"The results would overwrite the labels {shown(labels)}; name another folder.")


def _names() -> Iterable[str]:
    """Every file that may be written."""
    return ("scores.csv", "summary.csv", "summary.json", "index.html", *(f"det-{rule.id}.svg" for rule in RULES))


def write_all(folder: Path, summary: Summary, photos: Sequence[Labelled], answers: Sequence[Answer]) -> None:
    """Everything into a folder, which is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    _csv(folder / "scores.csv", SCORE_COLUMNS, _score_rows(summary, photos, answers))
    figures = (row | {"name": text_cell(row["name"])} for row in figure_rows(summary))
    _csv(folder / "summary.csv", FIGURE_COLUMNS, (tuple(row.values()) for row in figures))
    _text(folder / "summary.json", json.dumps(as_json(summary), ensure_ascii=False, indent=2) + "\n")
    for one in summary.rules:
        if one.counted is not None:
            _text(folder / f"det-{one.rule}.svg", _plot(one))
    _text(folder / "index.html", _index(summary))


def _text(path: Path, text: str) -> None:
    with whole_file(path) as out:
        out.write(text.encode())


def _csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with whole_file(path) as file:
        out = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows(rows)
        out.flush()
        out.detach()  # the file is not closed with it


def _score_rows(summary: Summary, photos: Sequence[Labelled], answers: Sequence[Answer]) -> Iterable[Sequence[Any]]:
    bands = {rule: Band.of(limits) for rule, limits in summary.profile.rules.items()}
    for photo, answer in zip(photos, answers, strict=True):
        ita = "" if answer.ita_deg is None else round(answer.ita_deg, 1)
        names = (file_cell(photo.file), text_cell(photo.subject or ""), text_cell(photo.group or ""))
        whom = (*names, answer.skin or "", ita)
        for rule in (r.id for r in RULES if r.id in bands):
            found = scored((photo, answer), rule)
            label = {True: "1", False: "0", None: ""}[photo.labels.get(rule)]
            value = "" if found.value is None else repr(found.value)
            at = repr(score((photo, answer), rule, bands[rule]))
            yield (*whom, rule, label, value, UNITS[rule], at, found.verdict.value, found.reason or "")


def band_text(limits: RuleLimits) -> str:
    """The limits for people: refusing, warning."""

    def told(low: float | None, high: float | None) -> str:
        if low is not None and high is not None:
            return f"{low:g} to {high:g}"
        return f"≥ {low:g}" if low is not None else f"≤ {high:g}"

    outer = limits.low is not None or limits.high is not None
    inner = limits.warn_low is not None or limits.warn_high is not None
    parts = [told(limits.low, limits.high)] if outer else []
    if inner:
        parts.append(f"better {told(limits.warn_low, limits.warn_high)}")
    return ", ".join(parts)


def threshold_text(below: float | None, above: float | None) -> str:
    """Native values at the EER, written like the limits."""
    if below is not None and above is not None:
        return f"{below:.3g} to {above:.3g}"
    if below is not None:
        return f"≥ {below:.3g}"
    return f"≤ {above:.3g}" if above is not None else "-"


def threshold(one: Figures, summary: Summary) -> tuple[float | None, float | None]:
    """Of the EER, in the rule's unit: below the middle of its band, above it."""
    if one.counted is None or math.isnan(one.counted.threshold):
        return None, None
    return Band.of(summary.profile.rules[one.rule]).natives(one.counted.threshold)


def figure_rows(summary: Summary) -> Iterable[dict[str, Any]]:
    """One row per rule: of all photos, then of every group and skin-tone group."""
    whole = Part("", summary.photos, summary.rules)
    parts = [("all", whole), *(("group", p) for p in summary.groups), *(("skin_tone", p) for p in summary.skin)]
    for kind, part in parts:
        for one in part.rules:
            below, above = threshold(one, summary)
            few = kind == "skin_tone" and max(one.compliant, one.others) < FEWEST_FOR_A_CLAIM
            yield {
                "kind": kind,
                "name": part.name,
                "photos": part.photos,
                "rule": one.rule,
                "unit": UNITS[one.rule],
                "compliant": one.compliant,
                "not_compliant": one.others,
                "false_rejects": one.false_rejects,
                "false_accepts": one.false_accepts,
                "not_assessed_compliant": one.unassessed_compliant,
                "not_assessed_not_compliant": one.unassessed_others,
                "false_reject_rate": rate(one.false_rejects, one.compliant),
                "false_accept_rate": rate(one.false_accepts, one.others),
                "eer": one.eer,
                "eer_low": one.interval.low if one.interval else None,
                "eer_high": one.interval.high if one.interval else None,
                "resamples": one.interval.resamples if one.interval else None,
                "eer_judged_only": one.eer_judged,
                "threshold_below": below,
                "threshold_above": above,
                "limit": band_text(summary.profile.rules[one.rule]),
                "claim": f"n < {FEWEST_FOR_A_CLAIM}" if few else "",
            }


def as_json(summary: Summary) -> dict[str, Any]:
    """The whole summary."""
    both, judged = mean_and_median(summary.eers), mean_and_median(summary.eers_judged)
    return {
        "profile": {"name": summary.profile.name, "version": summary.profile.version},
        "software": software(),
        "photos": summary.photos,
        "subjects": summary.subjects,
        "not_judged": [{"file": file, "why": why} for file, why in summary.unjudged],
        "ignored_rules": list(summary.ignored),
        "bootstrap": {
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
            "units": "subjects" if summary.subjects else "files",
        },
        "eer": {"rules": len(summary.eers), "mean": both[0], "median": both[1]} if both else None,
        "eer_judged_only": {"rules": len(summary.eers_judged), "mean": judged[0], "median": judged[1]}
        if judged
        else None,
        "figures": list(figure_rows(summary)),
    }


def _plot(one: Figures) -> str:
    assert one.counted is not None
    title = f"{one.rule}: {one.compliant} compliant, {one.others} not"
    curves = [(f"EER {100 * one.counted.eer:.1f} %", one.counted)]
    if one.unassessed and one.judged is not None:
        curves.append((f"judged only: EER {100 * one.judged.eer:.1f} %", one.judged))
    return det_svg(title, curves)


def per_cent(value: float | None) -> str:
    """For people."""
    return "-" if value is None else f"{100 * value:.1f} %"


def _index(summary: Summary) -> str:
    both = mean_and_median(summary.eers)
    notes = [
        f"{summary.photos} photos under profile {summary.profile.name}, version {summary.profile.version}; {software()}.",
        "Not assessed counts as not compliant; the second EER leaves it out. Intervals of 95 %: bootstrap over "
        + ("subjects." if summary.subjects else "files."),
    ]
    if both:
        notes.append(
            f"EER over {len(summary.eers)} rules with both classes: mean {per_cent(both[0])}, median {per_cent(both[1])}."
        )
    if summary.unjudged:
        notes.append(f"{len(summary.unjudged)} photos could not be judged; they are listed in summary.json.")
    rows: list[tuple[str | None, Sequence[str]]] = []
    for one in summary.rules:
        cells = (
            one.rule,
            str(one.compliant),
            str(one.others),
            str(one.false_rejects),
            str(one.false_accepts),
            f"{one.unassessed_compliant} + {one.unassessed_others}",
            per_cent(one.eer),
            f"{per_cent(one.interval.low)} to {per_cent(one.interval.high)}" if one.interval else "-",
            per_cent(one.eer_judged),
            f"{threshold_text(*threshold(one, summary))} {UNITS[one.rule]}".strip() if one.counted else "-",
            band_text(summary.profile.rules[one.rule]),
        )
        rows.append((f"det-{one.rule}.svg" if one.counted is not None else None, cells))
    columns = (
        "rule",
        "compliant",
        "not",
        "false rejects",
        "false accepts",
        "not assessed",
        "EER",
        "interval",
        "judged only",
        "threshold at EER",
        "limit",
    )
    return page("booth evaluate", notes, columns, rows)
