"""What every program of the house says of itself on its command line."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import typer


def telling_version(program: str) -> Callable[[bool], None]:
    """What stands before the commands of `program`: `--version`. For `typer.Typer.callback`."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program} {metadata.version('passbooth')}")
            raise typer.Exit

    asked: bool = typer.Option(False, "--version", help="Show the version and exit.", callback=show, is_eager=True)

    def common(_version: bool = asked) -> None:
        return

    return common
