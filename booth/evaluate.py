"""`booth evaluate DATASET`: how often the rules are right on photos whose answer is known.

Order: labels read and checked, all problems told at once -> where results go -> every photo judged as submitted, with its file, on all cores -> figures -> files, tables.
A photo that cannot be judged is counted and listed and stays in the figures as not assessed. Nothing is written before all photos are judged.
Exit code: 0 evaluated, 2 not evaluated (one sentence per reason), 130 interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from booth.dataset import Labelled
    from booth.evaluation_summary import Answer, Summary
    from validation.face import FaceModel
    from validation.profile import Profile

# Columns of a terminal that holds the whole table; narrower ones do without the limits, which the files have.
WIDE = 130
NOT_EVALUATED = 2
INTERRUPTED = 130


def evaluate_command(
    dataset: Annotated[Path, typer.Argument(help="A folder of photos with labels.csv.")],
    profile: Annotated[str, typer.Option(help="The rules' limits.")] = "icao",
    out: Annotated[
        Path | None, typer.Option(help="A folder for scores.csv, summary.csv, summary.json, DET plots and index.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: as many as there are cores.")] = 0,
    labels: Annotated[Path | None, typer.Option(help="The labels, when they do not stand in the folder.")] = None,
) -> None:
    """Measure the rules on labelled photos: false rejects, false accepts and equal error rate per rule.

    labels.csv has the columns `file`, optionally `subject` and `group`, and one per rule id: 0 complies, 1 does not, empty unknown.
    Exit code 0: evaluated. 2: not.

    [bold]Examples[/bold]: booth evaluate photos      booth evaluate photos --out report      booth evaluate photos --labels mine.csv --json
    """
    from booth.dataset import LABELS_NAME, DatasetError, read_dataset
    from booth.evaluation_files import as_json as whole_summary
    from booth.evaluation_files import refuse_folder, write_all
    from booth.evaluation_summary import summarise
    from validation.errors import ValidationError
    from validation.rules import RULES, load_profile

    try:
        limits = load_profile(profile)
        photos = read_dataset(dataset, [rule.id for rule in RULES], labels)
        if out is not None:
            refuse_folder(out, labels or dataset / LABELS_NAME)
        answers = judged_photos(photos, limits, jobs)
        if all(answer.error is not None for answer in answers):
            raise DatasetError(f"None of the {len(answers)} photos could be judged; the first one: {answers[0].error}")
        summary = summarise(photos, answers, limits)
        if out is not None:
            write_all(out, summary, photos, answers)
    except (DatasetError, ValidationError) as error:
        typer.echo(f"booth evaluate: {error}", err=True)
        raise typer.Exit(NOT_EVALUATED) from error
    except OSError as error:
        typer.echo(f"booth evaluate: the results cannot be written ({error.strerror}).", err=True)
        raise typer.Exit(NOT_EVALUATED) from error
    except KeyboardInterrupt:
        typer.echo("booth evaluate: interrupted; nothing was written.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(whole_summary(summary), ensure_ascii=False, indent=2))
    else:
        _print(summary, out)


def judged_photos(photos: Sequence[Labelled], profile: Profile, jobs: int = 0) -> list[Answer]:
    """Every photo's findings, in order, with a progress bar where somebody looks."""
    from rich.console import Console
    from rich.progress import track

    from booth.photo_pool import default_jobs, judged

    paths = [photo.path for photo in photos]
    answers = judged(paths, partial(judge_photo, profile), jobs or default_jobs(), _lost)
    console = Console(stderr=True)
    return list(track(answers, "judging", len(paths), console=console, transient=True, disable=not console.is_terminal))


def judge_photo(profile: Profile, model: FaceModel, path: Path) -> Answer:
    """What the rules say of one photo as submitted, and how light its skin looks."""
    from booth.evaluation_summary import Answer, Scored
    from validation.canvas import canvas
    from validation.check import judge
    from validation.errors import ModelFailedError, ValidationError
    from validation.image import read_image
    from validation.skin import ita_deg, skin_group

    try:
        pixels, facts = read_image(path)
        scene = model.scene(pixels)
        report = judge(pixels, scene, profile, source=facts)
    except ModelFailedError:
        raise
    except ValidationError as error:
        return Answer(error=str(error))
    except Exception as error:  # noqa: BLE001 - one photo must not stop the others; its kind is told, nothing is hidden
        kind = type(error).__name__
        return Answer(error=f"The check failed unexpectedly ({kind}); please report it with this photo.")
    findings = {f.rule: Scored(f.value, f.verdict, f.reason) for f in report.findings}
    ita = ita_deg(canvas(pixels, scene.face.landmarks)) if scene.face is not None else None
    return Answer(findings, None if ita is None else skin_group(ita), ita)


def _lost(_path: Path) -> Answer:
    from booth.evaluation_summary import Answer

    return Answer(error="The process that judged this photo died of it; please report it with this photo.")


def _print(summary: Summary, out: Path | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from booth.dataset import shown
    from booth.evaluation_files import UNITS, band_text, per_cent, threshold, threshold_text
    from booth.evaluation_summary import claimed, mean_and_median
    from booth.terminal import output

    console = output(160)

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for number, column in enumerate(columns):
            made.add_column(column, justify="right" if number else "left", no_wrap=True)
        return made

    whose = f"{summary.subjects} subjects" if summary.subjects else "files"
    wide = console.width >= WIDE
    rules = table(
        f"{summary.photos} photos, labels 0 and 1; profile {summary.profile.name}; intervals: bootstrap over {whose}",
        *("rule", "0", "1", "false\nrejects", "false\naccepts", "not\nassessed", "EER %", "95 % (resamples)"),
        *(("judged\nonly", "at the EER", "limit") if wide else ()),
    )
    for one in summary.rules:
        span = "-"
        if one.interval is not None:
            span = f"{100 * one.interval.low:.1f}-{100 * one.interval.high:.1f} ({one.interval.resamples})"
        rules.add_row(
            one.rule,
            str(one.compliant),
            str(one.others),
            str(one.false_rejects),
            str(one.false_accepts),
            f"{one.unassessed_compliant} + {one.unassessed_others}" if one.unassessed else "",
            "-" if one.eer is None else f"{100 * one.eer:.1f}",
            span,
            *(
                (
                    per_cent(one.eer_judged) if one.unassessed else "",
                    f"{threshold_text(*threshold(one, summary))} {UNITS[one.rule]}".strip() if one.counted else "",
                    band_text(summary.profile.rules[one.rule]),
                )
                if wide
                else ()
            ),
        )
    console.print(rules)
    for eers, how in (
        (summary.eers, "not assessed counts as not compliant"),
        (summary.eers_judged, "judged photos only"),
    ):
        both = mean_and_median(eers)
        if both is not None:
            told = f"EER over {len(eers)} rules with both classes ({how})"
            console.print(f"{told}:\n  mean {per_cent(both[0])}, median {per_cent(both[1])}", highlight=False)
    for title, parts in (("groups", summary.groups), ("skin tone as measured in the photo", summary.skin)):
        if not parts:
            continue
        by = table(
            f"\nBy {title}",
            "group",
            "photos",
            "0",
            "1",
            "false\nrejects",
            "false\naccepts",
            "mean EER",
            "rules",
        )
        for part in parts:
            eers = [r.eer for r in part.rules if r.eer is not None]
            claim = parts is summary.groups or part.photos >= 20
            rejects, accepts = sum(r.false_rejects for r in part.rules), sum(r.false_accepts for r in part.rules)
            by.add_row(
                escape(shown(part.name)),
                str(part.photos),
                str(part.compliant),
                str(part.others),
                per_cent(rejects / part.compliant if part.compliant else None) if claim else claimed(0, part.photos),
                per_cent(accepts / part.others if part.others else None) if claim else claimed(0, part.photos),
                per_cent(mean_and_median(eers)[0] if eers else None) if claim else claimed(0, part.photos),  # type: ignore[index]
                str(len(eers)),
            )
        console.print(by)
    if summary.ignored:
        console.print(
            f"Not in profile {summary.profile.name}, so not judged: {', '.join(summary.ignored)}", highlight=False
        )
    if summary.unjudged:
        console.print(f"Could not be judged, counted as not assessed: {len(summary.unjudged)}", highlight=False)
        for file, why in summary.unjudged:
            console.print(f"  {escape(shown(file))}: {escape(why)}", highlight=False, soft_wrap=True)
    if out is not None:
        console.print(
            f"Written: {escape(shown(out / 'index.html'))} and the files beside it", highlight=False, soft_wrap=True
        )
