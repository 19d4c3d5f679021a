"""`booth check PHOTO…`: judges photo files, and all pictures in folders, by the rules of a profile.

Order: which photos and which outputs (refusals before anything is judged) -> every photo judged, on all cores when there are many, in the given
order -> printed as they come (a line each, a table for a single photo) -> outputs written whole at the end.
Exit code: 0 all compliant, 1 at least one not compliant (no face found is a failed rule), 2 at least one could not be judged or written,
130 interrupted; 2 wins over 1. A photo that cannot be judged never stops the others.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from booth.check_files import (
    OutputRefusedError,
    Wanted,
    file_cell,
    portrait_targets,
    refuse_output,
    wanted,
    whole_file,
)
from booth.check_photo import Checked, Outcome, Wishes, check_photo, process_died

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from booth.check_html import HtmlReport
    from booth.messages import Messages

INTERRUPTED = 130


def _profiles() -> str:
    """The installed profiles for --help, without loading the checker (a test holds this to validation.profile.profile_names)."""
    files = resources.files("validation").joinpath("profiles").iterdir()
    return ", ".join(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the command leaves besides its words."""

    crop: Path | None = None
    html: Path | None = None
    ofiq: Path | None = None
    as_json: bool = False
    full: bool = False


def check_command(
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO|FOLDER",
            help="Photo files (JPEG, PNG, WebP, BMP, GIF or JPEG 2000), or folders: all pictures in them and below.",
        ),
    ],
    profile: Annotated[str, typer.Option(help=f"The rules' limits: {_profiles()}.")] = "icao",
    crop: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="Cut the portrait as the booth would, judge that, and write it here: a .jpg file for one photo, a folder for many.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a report for people: one file with the photos, the evidence drawn on them, and every rule.",
        ),
    ] = None,
    ofiq: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the ISO/IEC 29794-5 measures as CSV, in the columns of the reference software OFIQ.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Print every photo's whole table, not a line each.")] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that judge many photos.", show_default="all usable cores")
    ] = None,
) -> None:
    """Judge photos as submitted, rule by rule: measured value, limit, verdict and what to do.

    Exit code 0: compliant. 1: not compliant. 2: something is unreadable, cannot be judged or cannot be written. 130: interrupted.

    [bold]Examples[/bold]

    booth check photo.jpg

    booth check --html report.html --ofiq out.csv folder

    booth check --profile demo --crop portrait.jpg photo.jpg
    """
    for stream in (sys.stdout, sys.stderr):  # a file name may hold bytes that are no text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _check(photos, profile, Outputs(crop, html, ofiq, as_json, full), jobs)
    except KeyboardInterrupt:
        typer.echo("booth check: interrupted; no report was written.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except OutputRefusedError as error:
        typer.echo(f"booth check: {error}", err=True)
        raise typer.Exit(Outcome.NOT_JUDGED) from error
    raise typer.Exit(code)


def _check(arguments: list[Path], profile_name: str, outputs: Outputs, jobs: int | None) -> int:
    from booth.messages import Messages
    from validation.errors import ValidationError
    from validation.profile import load_profile

    photos = wanted(arguments)
    targets = _targets(outputs, arguments, photos)
    messages = Messages.load("en")
    wishes = Wishes(profile_name, outputs.crop is not None, outputs.ofiq is not None, outputs.html is not None)
    told: list[Checked] = []
    with ExitStack() as stack:
        try:
            profile = load_profile(profile_name)
            page: HtmlReport | None = None
            if outputs.html is not None:
                from booth.check_html import HtmlReport

                page = stack.enter_context(HtmlReport(profile, messages))
            told_to = stack.enter_context(_Printer(outputs, messages, len(photos)))
            for one, checked in zip(photos, _judged(photos, wishes, jobs), strict=True):
                judged = _with_portrait(checked, targets.get(one.path))
                told_to.take(judged)
                if page is not None:
                    page.add(judged)
                told.append(replace(judged, picture=None))  # the report has it
        except ValidationError as error:  # an unknown profile, a model that does not start
            typer.echo(f"booth check: {error}", err=True)
            return Outcome.NOT_JUDGED
        told_to.finish(told)
        code = max((one.outcome for one in told), default=Outcome.NOT_JUDGED)
        if (
            page is not None
            and outputs.html is not None
            and not _written(outputs.html, partial(page.write, outputs.html))
        ):
            code = Outcome.NOT_JUDGED
        if outputs.ofiq is not None and not _written(outputs.ofiq, partial(_write_ofiq, outputs.ofiq, told)):
            code = Outcome.NOT_JUDGED
    return code


def _targets(outputs: Outputs, arguments: list[Path], photos: list[Wanted]) -> dict[Path, Path]:
    """Where portraits go, by photo. Raises OutputRefusedError for any output that must not be written."""
    files = [path for path in (outputs.html, outputs.ofiq) if path is not None]
    for path in files:
        refuse_output(path, photos)
    targets: dict[Path, Path] = {}
    if outputs.crop is not None:
        one = len(photos) == 1 and not arguments[0].is_dir()
        places = portrait_targets(outputs.crop, photos, folder=not one or outputs.crop.is_dir())
        targets = dict(zip((photo.path for photo in photos), places, strict=True))
    every = [path.resolve() for path in (*files, *targets.values())]
    if len(set(every)) < len(every):
        raise OutputRefusedError("Two outputs have the same file; name one for each.")
    return targets


def _judged(photos: list[Wanted], wishes: Wishes, jobs: int | None) -> Iterator[Checked]:
    """One answer for each photo, in order; an argument that names no photo answers with its problem."""
    from booth.photo_pool import default_jobs, judged

    paths = [one.path for one in photos if one.problem is None]
    answers = judged(paths, partial(check_photo, wishes), jobs or default_jobs(), process_died) if paths else iter(())
    for one in photos:
        if one.problem is not None:
            yield Checked(str(one.path), error_code="check.no_picture", error=one.problem)
        else:
            yield next(answers)


def _with_portrait(checked: Checked, target: Path | None) -> Checked:
    """Writes what was cut; the answer tells where, or that it could not be written."""
    if target is None or checked.portrait_jpeg is None:
        return checked
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file:
            file.write(checked.portrait_jpeg)
    except OSError as error:
        return Checked(
            checked.photo,
            error_code="check.not_written",
            error=f"The portrait cannot be written ({error.strerror or error}).",
        )
    return replace(checked, portrait_jpeg=None, portrait=target)


def _written(target: Path, write: Callable[[], None]) -> bool:
    try:
        write()
    except OSError as error:
        typer.echo(f"booth check: {target} cannot be written ({error.strerror or error}).", err=True)
        return False
    typer.echo(f"written: {target}", err=True)
    return True


def _write_ofiq(target: Path, told: list[Checked]) -> None:
    from validation import ofiq

    text = io.StringIO()
    # The reference implementation ends each line with an empty field.
    lines = csv.writer(text, delimiter=";", lineterminator=";\n")
    lines.writerow(ofiq.header())
    failed = dict.fromkeys(ofiq.COMPUTED, ofiq.FAILED)
    lines.writerows(ofiq.row(file_cell(one.photo), failed if one.ofiq is None else one.ofiq) for one in told)
    with whole_file(target) as file:
        file.write(text.getvalue().encode("utf-8", "replace"))


class _Printer:
    """Prints answers as they come; shows on a terminal how far the work is."""

    def __init__(self, outputs: Outputs, messages: Messages, number: int) -> None:
        from rich.console import Console

        from booth.terminal import output

        self._quiet = outputs.as_json
        self._whole = outputs.full or number == 1
        self._messages = messages
        self._number = number
        self._out, self._errors = output(), Console(stderr=True)
        self._open = ExitStack()
        self._advance: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        if self._number > 1 and self._errors.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            bar = Progress(
                TextColumn("judging"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._errors,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._open.enter_context(bar)
            task = bar.add_task("", total=self._number)
            self._advance = partial(bar.advance, task)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def take(self, one: Checked) -> None:
        """Prints one answer, unless all are wanted as JSON."""
        self._advance()
        if self._quiet:
            return
        from booth.check_table import print_line, print_report

        if one.report is None and self._whole:
            self._say(self._errors, lambda console: print_line(console, one, self._messages))
        elif self._whole:
            self._say(self._out, lambda console: print_report(console, one, self._messages))
        else:
            self._say(self._out, lambda console: print_line(console, one, self._messages))

    def _say(self, console: Console, tell: Callable[[Console], None]) -> None:
        # While the bar stands, what goes to the same terminal has to pass above it.
        tell(self._errors if console.is_terminal and self._errors.is_terminal else console)

    def finish(self, told: list[Checked]) -> None:
        """Prints the end: the JSON document, or how many had which outcome."""
        from booth.check_table import print_sum

        self._open.close()
        if self._quiet:
            typer.echo(json.dumps({"photos": [one.as_json() for one in told]}, ensure_ascii=False, indent=2))
        elif self._number > 1:
            print_sum(self._out, told)
