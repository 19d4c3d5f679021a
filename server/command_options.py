"""Options that several of `intake`'s commands have, each in one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder of the packets and of the database.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", envvar="INTAKE_DATABASE_URL", help="SQLAlchemy URL; SQLite inside --data if none."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Trust = Annotated[Path | None, typer.Option("--trust", help="Root certificates instead of --pki (PEM).")]
