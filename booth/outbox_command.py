"""`booth outbox list`: what waits for its receipt, on the booth that stores it. Reads only, also while the booth runs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Look at the packets that wait for the intake.

    [bold]Examples[/bold]

    booth outbox list --config /etc/passbooth/booth.toml

    booth outbox list --json
    """,
)


@app.callback()
def _outbox() -> None:
    """Makes `list` a command of its own, beside those to come."""


@app.command("list")
def list_packets(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The booth's settings.", envvar="PASSBOOTH_CONFIG")
    ] = Path("booth.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Delivered packets too.")] = False,
) -> None:
    """List packets with state, age, attempts and the intake's last answer; exit code 1 when one needs a technician."""
    from booth.config import Config
    from booth.errors import BoothError
    from booth.outbox import PacketState, read_entries

    try:
        entries = read_entries(Config.load(config).booth.data_dir / "outbox")
    except BoothError as error:
        print(f"booth: {error}")
        raise typer.Exit(2) from None
    shown = [entry for entry in entries if everything or entry.state is not PacketState.RECEIPTED]
    if as_json:
        print(json.dumps([asdict(entry) for entry in shown]))
    else:
        table = Table("Packet", "State", "Size", "Stored", "Attempts", "Next try", "Last answer")
        for entry in shown:
            left_s = entry.next_try_at - time.time()
            waits = entry.state is PacketState.WAITING
            table.add_row(
                entry.sha256[:12],
                entry.state,
                f"{entry.size / 1000:.0f} kB",
                datetime.fromtimestamp(entry.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
                str(entry.attempts),
                (f"in {left_s:.0f} s" if left_s > 0 else "now") if waits else "",
                escape(entry.error or ""),  # the intake's words
            )
        Console().print(table if shown else "Nothing waits.")
    if any(entry.state in {PacketState.REFUSED, PacketState.DAMAGED} for entry in shown):
        raise typer.Exit(1)
