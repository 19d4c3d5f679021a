"""`booth cameras`: the cameras of this machine with formats, frame rates and controls, for the person who writes booth.toml.

Looks at V4L2 devices (hardware/v4l2_device.py); cameras behind a URL (MJPEG over HTTP) and VISCA lines do not announce themselves and are only told how to be
written. A device that another program holds is still listed: controls may be read beside a stream. Nothing is changed.

Exit codes: 0 cameras were found; 1 there is none; 2 it could not be done, and one sentence says why.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from booth.terminal import output, printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hardware.v4l2_device import ControlEntry, VideoFormat, VideoInfo

NONE, IMPOSSIBLE = 1, 2
UNTESTED = "hardware: untested (this software was proved on stand-ins of V4L2 cameras, and has met none)"
ELSEWHERE = (
    'Cameras behind an address do not announce themselves: [camera] url = "http://…" takes their MJPEG stream,\n'
    '[controls] url = "visca+serial:///dev/serial/by-id/…" their serial control (docs/hardware.md).'
)


def cameras_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every format and every control, not the largest and the used ones.")
    ] = False,
) -> None:
    """List the cameras of this machine: formats, frame rates, controls with their ranges and present values. Changes nothing.

    [bold]Examples[/bold]: booth cameras      booth cameras --all      booth cameras --json
    """
    from hardware.v4l2_device import find_cameras

    try:
        found = find_cameras(tell=_tell_unread)
    except OSError as error:
        print(
            f"booth: The video devices cannot be read: {error.strerror or error}. Give this user access (group video).",
            file=sys.stderr,
        )
        raise typer.Exit(IMPOSSIBLE) from None
    if as_json:
        print(json.dumps({"cameras": [asdict(each) for each in found], "hardware": "untested"}))
    else:
        show_cameras(found, everything=everything)
    if not found:
        raise typer.Exit(NONE)


def _tell_unread(path: Path, error: OSError) -> None:
    why = printable(error.strerror or str(error))
    print(f"booth: {path} cannot be read ({why}): give this user access (group video).", file=sys.stderr)


def show_cameras(found: Sequence[VideoInfo], *, everything: bool) -> None:
    """For people."""
    console = output()
    if not found:
        print("There is no V4L2 camera on this machine: plug one in, and give this user access (group video).")
    for camera in found:
        console.print(
            f"[bold]{escape(printable(camera.name))}[/]  driver {escape(printable(camera.driver))}, {escape(printable(camera.bus))}"
        )
        address = f"v4l2://{camera.by_id or camera.path}"
        console.print(f'  \\[camera] url = "{escape(address)}"   \\[controls] url = "{escape(address)}"')
        console.print(f"  {UNTESTED}")
        console.print(_formats(camera.formats if everything else _largest(camera.formats)))
        console.print(_controls(camera.controls if everything else [c for c in camera.controls if c.name in USED]))
    print(ELSEWHERE)


# What the control seam sets (hardware/v4l2_units.py).
USED = frozenset(
    {"exposure_auto", "exposure_auto_priority", "exposure_absolute", "gain", "iris_absolute", "backlight_compensation"}
    | {"auto_white_balance", "white_balance_temperature", "do_white_balance", "red_balance", "blue_balance"}
    | {"focus_auto", "focus_absolute", "auto_focus_start", "zoom_absolute", "tilt_absolute", "power_line_frequency"}
)


def _largest(formats: Sequence[VideoFormat]) -> list[VideoFormat]:
    """The first of each format: they come largest first."""
    seen: dict[str, VideoFormat] = {}
    for each in formats:
        seen.setdefault(each.fourcc, each)
    return list(seen.values())


def _formats(formats: Sequence[VideoFormat]) -> Table:
    table = Table("Format", "Size", "Pictures per second", box=SIMPLE_HEAD)
    for each in formats:
        rate = f"{each.fps:g}" if each.fps else "not told"
        table.add_row(escape(printable(each.fourcc)), f"{each.width}x{each.height}", rate)
    return table


def _controls(controls: Sequence[ControlEntry]) -> Table:
    table = Table("Control", "Now", "Range", "Step", "", box=SIMPLE_HEAD)
    for each in controls:
        menu = ", ".join(f"{key} {printable(text)}" for key, text in each.menu.items())
        notes = [*(() if each.writable else ("read only",)), *(() if each.active else ("held by an automatic",))]
        table.add_row(
            each.name,
            "" if each.value is None else str(each.value),
            escape(menu) or f"{each.minimum} to {each.maximum}",
            "" if menu else str(each.step),
            ", ".join(notes),
        )
    return table
