"""`booth calibrate`: measures lamps, camera and lens against the test card, stores it signed, shows how far everything drifted from the baseline.

A running booth is asked through its control socket and takes nobody in meanwhile; where none runs the devices are opened here. It asks for two things:
the test card in its holder, then an empty booth. Ctrl-C ends it; the lamps get back their levels and the camera its settings.

Exit codes: 0 done, nothing beyond its limit; 1 done, but something drifted too far (with --show: or there is none, or it expired); 2 it could not be done,
and one sentence says why; 130 interrupted.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from booth.terminal import output, printable, wait_for_enter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from booth.calibration_work import CalibrationNow, CalibrationView
    from booth.calibrations import CalibrationStore
    from booth.config import Config
    from booth.maintenance import MaintenanceState
    from capture.calibration import Drift
    from capture.calibration_run import Step

DRIFTED, IMPOSSIBLE = 1, 2
ASK = {
    "empty": "Take the card down, leave the booth empty, close its curtain or door",
    "card": "Hang the test card upright in its holder at the head's place, with a grey card on the grey field",
}
DOING = {
    "camera": "Camera settings",
    "empty": "An empty booth",
    "dark": "Dark picture",
    "lamps": "Each lamp alone",
    "background": "The wall",
    "card": "The test card",
    "white_balance": "White balance",
    "focus": "Focus",
    "geometry": "Place and sharpness",
    "noise": "Noise",
}


def calibrate_command(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The booth's settings.", envvar="PASSBOOTH_CONFIG")
    ] = Path("booth.toml"),
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Later calibrations are compared with this one (after a repair).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Show the calibration in force and its drift; measure nothing.")
    ] = False,
    card: Annotated[
        Path | None,
        typer.Option("--card", metavar="FILE", help="Write the test card (SVG, A4) to print; measure nothing."),
    ] = None,
) -> None:
    """Calibrate the booth against the printed test card, or show what the last calibration found and how it drifted.

    [bold]Examples[/bold]: booth calibrate      booth calibrate --show      booth calibrate --card card.svg
    booth calibrate --baseline      after a lamp, the camera or the lens was replaced
    """
    from booth.cli import finish

    if card is not None:
        _write_card(card)
        return
    if show:
        finish(_show(config, as_json=as_json))
        return
    logging.getLogger().addHandler(logging.NullHandler())  # what devices say ends in one sentence
    finish(_calibrate(config, baseline=baseline, as_json=as_json))


def _write_card(path: Path) -> None:
    from capture.card_layout import card_svg

    try:
        path.write_text(card_svg(), encoding="utf-8")
    except OSError as error:
        print(f"booth: The card cannot be written to {path}: {error.strerror}.", file=sys.stderr)
        raise typer.Exit(IMPOSSIBLE) from None
    print(
        f"{path}: print it at 100 % on matt A4 paper, and fix an 18 % grey card on its grey field (docs/calibration.md)."
    )


async def _show(path: Path, *, as_json: bool) -> int:
    from booth.calibration_work import CalibrationView, now_of
    from booth.config import Config
    from capture.calibration import drift

    config = Config.load(path)
    store = await asyncio.to_thread(_store, config)
    known = await asyncio.to_thread(store.current)
    if known is None:
        print("{}" if as_json else "This booth was never calibrated: booth calibrate.")
        return DRIFTED
    first = await asyncio.to_thread(store.baseline_of, known)
    rows = () if first.id == known.id else drift(known, first)
    view = CalibrationView(current=now_of(known, datetime.now(UTC)), drift=rows)
    _tell(view, as_json=as_json)
    return DRIFTED if view.beyond or known.expired(datetime.now(UTC)) else 0


def _store(config: Config) -> CalibrationStore:
    from booth.calibrations import CalibrationStore
    from booth.revocation_list import RevocationLists
    from crypto.keys import load_trust

    lists = RevocationLists(config.booth.data_dir, load_trust(config.intake.trust))
    return CalibrationStore(config.booth.data_dir, config.booth.id, lambda: lists.trust)


async def _calibrate(path: Path, *, baseline: bool, as_json: bool) -> int:
    from booth.config import Config
    from booth.diagnose_command import open_work

    config = Config.load(path)
    view: CalibrationView | None = None
    before: CalibrationNow | None = None
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    async with open_work(config) as work, AsyncExitStack() as stack:
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=as_json) as progress:
            bar = progress.add_task("Calibration", total=1.0)
            asked: Step | None = None
            begun = cast("AsyncGenerator[MaintenanceState]", work.calibrate(baseline=baseline))
            states = await stack.enter_async_context(aclosing(begun))
            async for state in states:
                before = before if view is not None else state.calibration.current
                view = state.calibration
                step = _present(view.steps)
                if step is None:
                    continue
                done = sum(each.state == "done" for each in view.steps)
                progress.update(
                    bar, completed=(done + step.progress) / len(view.steps), description=DOING.get(step.key, step.key)
                )
                if step.state == "waiting" and step != asked:
                    asked = step
                    progress.stop()
                    if not await _ask(step):
                        return IMPOSSIBLE
                    progress.start()
                    await work.proceed()
    assert view is not None, "a calibration tells at least its end"
    return _outcome(view, before, as_json=as_json)


def _outcome(view: CalibrationView, before: CalibrationNow | None, *, as_json: bool) -> int:
    problem = next((step.problem or step.key for step in view.steps if step.state == "failed"), None)
    if problem is None and (view.current is None or (before is not None and view.current.id == before.id)):
        problem = "The calibration could not be stored: the event log says why."
    if problem is not None:
        print(f"booth: {printable(problem)}", file=sys.stderr)
        return IMPOSSIBLE
    _tell(view, as_json=as_json)
    return DRIFTED if view.beyond else 0


def _present(steps: tuple[Step, ...]) -> Step | None:
    """The step that runs or waits."""
    return next((step for step in steps if step.state in {"running", "waiting"}), None)


async def _ask(step: Step) -> bool:
    """Tells what is wanted, and waits for the return key; False when nobody is there to press it."""
    if step.problem is not None:
        print(printable(step.problem), file=sys.stderr)
    print(f"{ASK.get(step.key, step.key)}, then press Enter.", file=sys.stderr)
    if await wait_for_enter():
        return True
    print("booth: Nobody answers at standard input: start it at a terminal.", file=sys.stderr)
    return False


def _tell(view: CalibrationView, *, as_json: bool) -> None:
    current = view.current
    assert current is not None
    if as_json:
        print(view.model_dump_json())
        return
    age = f"{current.age_days:.0f} days old" if current.age_days >= 1 else "made today"
    ends = (
        f"[bold red]expired on {current.expires_at:%Y-%m-%d}[/]"
        if current.expired
        else f"holds until {current.expires_at:%Y-%m-%d}"
    )
    console = output()
    console.print(f"Calibration {current.id}: {age}, {ends}.")
    if not view.drift:
        console.print("It is a baseline: later ones are compared with it.")
        return
    console.print(_table(view.drift))
    many = len(view.beyond)
    console.print(
        f"{many} of {len(view.drift)} values drifted beyond their limit."
        if many
        else "Nothing drifted beyond its limit."
    )


def _table(rows: tuple[Drift, ...]) -> Table:
    table = Table("Value", "Now", "Baseline", "Change", "Limit", "", box=SIMPLE_HEAD)
    table.columns[0].no_wrap = True
    for column in table.columns[1:5]:
        column.justify = "right"
    for row in rows:
        limit = " … ".join("" if each is None else f"{each:+g}" for each in (row.low, row.high)).strip()
        table.add_row(
            escape(row.key),
            f"{row.value:.2f} {row.unit}".rstrip(),
            f"{row.baseline:.2f}",
            f"{row.change:+.2f}",
            limit,
            "[bold red]BEYOND[/]" if row.beyond else "[green]ok[/]",
        )
    return table
