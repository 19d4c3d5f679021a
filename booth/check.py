"""`booth check PHOTO…`: judges photo files by the rules of a profile.

Order per photo: read (refusals in one sentence) -> scene -> with --crop: plan, cut, write the portrait, judge what was cut -> report.
Exit code: 0 all compliant, 1 at least one not compliant (no face found is a failed rule), 2 at least one could not be judged; 2 wins over 1.
A photo that cannot be judged never stops the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from booth.messages import Messages
    from validation.face import FaceModel
    from validation.report import Finding, Report
    from validation.rules import Profile

PORTRAIT_SUFFIX = ".portrait.jpg"
PIPE_WIDTH = 140
LEVEL_WORDS = {"reject": "", "warn": " [dim](advice)[/dim]", "info": " [dim](info)[/dim]"}
VERDICT_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "not_assessed": "magenta"}


class Outcome(IntEnum):
    """The exit code of one photo; the largest is the command's."""

    COMPLIANT = 0
    NOT_COMPLIANT = 1
    NOT_JUDGED = 2


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of one photo after the check."""

    photo: str
    report: Report | None = None
    portrait: Path | None = None  # what --crop wrote
    error_code: str | None = None
    error: str | None = None

    @property
    def outcome(self) -> Outcome:
        """The photo's part in the exit code."""
        if self.report is None:
            return Outcome.NOT_JUDGED
        return Outcome.COMPLIANT if self.report.compliant else Outcome.NOT_COMPLIANT

    def as_json(self) -> dict[str, Any]:
        """For --json; `report` follows the schema of validation.report.Report."""
        if self.report is None:
            return {"photo": self.photo, "error": {"code": self.error_code, "message": self.error}}
        told: dict[str, Any] = {"photo": self.photo, "compliant": self.report.compliant}
        if self.portrait is not None:
            told["portrait"] = str(self.portrait)
        return told | {"report": self.report.model_dump(mode="json")}


def check_command(
    photos: Annotated[list[Path], typer.Argument(help="Photo files: JPEG, PNG, WebP, BMP, GIF or JPEG 2000.")],
    profile: Annotated[str, typer.Option(help="The rules' limits: icao or demo.")] = "icao",
    crop: Annotated[
        bool, typer.Option("--crop", help="Cut the portrait as the booth would, write it, and judge that.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"With --crop: the file to write, or a folder. Default: PHOTO{PORTRAIT_SUFFIX} beside the photo."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Judge photos as submitted, rule by rule: measured value, limit, verdict and what to do.

    Exit code 0: compliant. 1: not compliant. 2: a file is unreadable or cannot be judged.

    [bold]Examples[/bold]: booth check photo.jpg      booth check --profile demo --crop *.png      booth check --json photo.jpg
    """
    from validation.errors import ValidationError
    from validation.rules import load_profile

    if out is not None and not crop:
        raise typer.BadParameter("--out says where --crop writes; give --crop too.")
    if out is not None and len(photos) > 1 and not out.is_dir():
        raise typer.BadParameter("several photos need a folder as --out.")
    try:
        checked = check_photos(photos, load_profile(profile), crop=crop, out=out)
    except ValidationError as error:  # an unknown profile, a model that does not start
        typer.echo(f"booth check: {error}", err=True)
        raise typer.Exit(Outcome.NOT_JUDGED) from error
    if as_json:
        typer.echo(json.dumps({"photos": [c.as_json() for c in checked]}, ensure_ascii=False, indent=2))
    else:
        _print(checked)
    raise typer.Exit(max(c.outcome for c in checked))


def check_photos(
    photos: Sequence[Path], profile: Profile, *, crop: bool = False, out: Path | None = None
) -> list[Checked]:
    """Every photo judged, in the given order."""
    from validation.face import FaceModel

    with FaceModel() as model:
        return [_check_photo(photo, profile, model, crop=crop, out=out) for photo in photos]


def _check_photo(photo: Path, profile: Profile, model: FaceModel, *, crop: bool, out: Path | None) -> Checked:
    from capture.errors import CaptureError
    from validation.check import judge
    from validation.errors import ValidationError
    from validation.image import read_image

    try:
        pixels, facts = read_image(photo)
        scene = model.scene(pixels)
        if not crop:
            return Checked(str(photo), judge(pixels, scene, profile, notes=facts.notes))
        face = scene.face
        if face is None:
            notes = (*facts.notes, "no face was found, so nothing was cut: the photo is judged as submitted")
            return Checked(str(photo), judge(pixels, scene, profile, notes=notes))
        from capture.portrait import crop_facts, cut, encode_jpeg, plan_crop
        from validation.check import check

        plan = plan_crop(face.landmarks, (face.width, face.height), (profile.width_px, profile.height_px), profile.crop)
        portrait = cut(pixels, plan)
        report = check(portrait, profile, model, judged="crop", notes=facts.notes, crop=crop_facts(plan))
        target = _target(photo, out)
        target.write_bytes(encode_jpeg(portrait))
        return Checked(str(photo), report, target)
    except (ValidationError, CaptureError) as error:
        return Checked(str(photo), error_code=error.code, error=str(error))
    except OSError as error:
        return Checked(
            str(photo), error_code="check.not_written", error=f"The portrait cannot be written ({error.strerror})."
        )


def _target(photo: Path, out: Path | None) -> Path:
    if out is None:
        return photo.with_name(photo.name + PORTRAIT_SUFFIX)
    if out.is_dir():
        return out / (photo.name + PORTRAIT_SUFFIX)
    if out.exists() and out.samefile(photo):
        raise OSError(0, "it would overwrite the photo")
    return out


def _print(checked: Sequence[Checked]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from booth.messages import Messages

    console, errors = Console(), Console(stderr=True)
    if not console.is_terminal:  # a log or a pipe has no width of its own
        console = Console(width=PIPE_WIDTH)
    messages = Messages.load("en")
    for one in checked:
        if one.report is None:
            errors.print(
                f"[bold]{escape(shown(one.photo))}[/bold]: {escape(one.error or '')}", highlight=False, soft_wrap=True
            )
            continue
        console.print(_table(one, one.report, messages))
        for note in one.report.notes:
            console.print(f"  note: {escape(note)}", highlight=False)
        if one.report.crop is not None:
            facts = one.report.crop
            console.print(
                f"  cut from {facts.source_width} x {facts.source_height}, turned by {facts.angle_deg:.1f}°, "
                f"scale {facts.scale:.2f}",
                highlight=False,
            )
        if one.portrait is not None:
            console.print(f"  portrait written: {escape(str(one.portrait))}", highlight=False, soft_wrap=True)
        style, text = ("bold green", "compliant") if one.report.compliant else ("bold red", "not compliant")
        console.print(f"  [{style}]{text}[/{style}] under profile {one.report.profile}\n", highlight=False)


def _table(one: Checked, report: Report, messages: Messages) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    judged = {"as_submitted": "as submitted", "crop": "as the booth would cut it", "live": "live"}[report.judged]
    table = Table(
        title=f"{escape(shown(one.photo))} - judged {judged}, {report.width} x {report.height}",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("rule")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what to do")
    for found in report.findings:
        style = VERDICT_STYLES[found.verdict.value]
        told = found.reason or ("" if found.advice == "advice.none" else messages.text(found.advice))
        table.add_row(
            messages.text(f"rule.{found.rule}.name"),
            measured(found),
            limit(found),
            f"[{style}]{messages.text(f'verdict.{found.verdict.value}')}[/{style}]" + LEVEL_WORDS[found.level.value],
            escape(told),
        )
    return table


def shown(name: str) -> str:
    """A file name without the characters that steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def measured(found: Finding) -> str:
    """The value for people; judged was the unrounded one."""
    if found.value is None:
        return "-"
    digits = 0 if found.unit in {"px", "faces"} else 1
    return f"{found.value:.{digits}f} {found.unit}".strip()


def limit(found: Finding) -> str:
    """The band for people, with the warning band behind it."""
    told = _band(found.limit.low, found.limit.high)
    if found.warn_limit is not None and found.warn_limit != found.limit:
        told += f", better {_band(found.warn_limit.low, found.warn_limit.high)}"
    return told


def _band(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"≥ {low:g}" if low is not None else f"≤ {high:g}"
