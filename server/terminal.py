"""What the server's commands have in common on a terminal: bars of progress, and one sentence for what prevents the work."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import typer


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each part of the work on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def step(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield step


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """One sentence and exit code 2 for what prevents the look."""
    from crypto.errors import CryptoError
    from server.errors import ServerError

    try:
        yield
    except (CryptoError, ServerError) as error:
        sentence = str(error)
    except OSError as error:
        sentence = f"{error.filename}: {error.strerror}."
    except KeyboardInterrupt:
        sentence = "Stopped before the end."
    else:
        return
    print(f"intake: {sentence}", file=sys.stderr)
    raise typer.Exit(2)
