"""`intake applications`: the registry of applications: import, list, show, decide, remove.

Exit codes: 0 done; 1 refused, each fault on a line; 2 the registry or the file cannot be used, or the command was misspelt. A number that is given as `-` is
read from standard input, so that it stands in no shell's history and no list of processes. Intakes that run see every change at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from server.command_options import AsJson, Data, DatabaseUrl
from server.typed_number import read_number

if TYPE_CHECKING:
    from server.application_import import ReadFile
    from server.application_rows import Capture, Registry
    from server.applications import Application

T = TypeVar("T")

PACKET = re.compile("[0-9a-f]{12,64}")

applications_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Applications: which were filed, and what became of them.

    [bold]Examples[/bold]

    intake applications import open.csv --data ./data --dry-run

    intake applications list --data ./data --state retake

    intake applications decide - retake --reason eyes --data ./data
    """,
)

Number = Annotated[
    str, typer.Argument(metavar="NUMBER", help="The application number; - reads it from standard input.")
]


class StateName(StrEnum):
    """States by name."""

    FILED = "filed"
    CAPTURED = "captured"
    ACCEPTED = "accepted"
    RETAKE = "retake"


class Decision(StrEnum):
    """What the desk may decide."""

    ACCEPTED = "accepted"
    RETAKE = "retake"


@applications_app.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="FILE.csv or FILE.json; - reads standard input, JSON when it begins with [."
        ),
    ],
    data: Data,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Add applications, all of the file or none: columns number, centre, expires (the last day, YYYY-MM-DD).

    A number that is known gets the file's centre and last day, and keeps its state. Every fault is told with its row and column.

    [bold]Examples[/bold]

    intake applications import open.csv --data ./data

    registry-export | intake applications import - --data ./data --json
    """
    content = _read(file)
    with _progress("Reading", content.count(b"\n") + 1, quiet=as_json) as step:
        found = _parse(file, content, step)
    if found.faults:
        _tell_faults(found, as_json)
    with _progress("Writing", len(found.applications), quiet=as_json) as step:
        done = _with_registry(
            data, database_url, lambda registry: registry.file(found.applications, dry_run=dry_run, progress=step)
        )
    if as_json:
        print(json.dumps(asdict(done) | {"dry_run": dry_run}))
        return
    would = "would be " if dry_run else ""
    print(f"{done.added} {would}added, {done.changed} {would}changed, {done.unchanged} known already.")


@applications_app.command("list")
def list_applications(
    data: Data,
    state: Annotated[StateName | None, typer.Option(help="Those in one state.")] = None,
    centre: Annotated[str | None, typer.Option(help="Those of one centre.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 100,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show applications in the order of their numbers, and how many there are in each state.

    [bold]Example[/bold]: intake applications list --data ./data --state captured --json
    """
    from server.applications import State

    async def ask(registry: Registry) -> tuple[list[Application], dict[State, int]]:
        wanted = None if state is None else State(state.value)
        return await registry.listed(wanted, centre, limit), await registry.counts()

    rows, counts = _with_registry(data, database_url, ask)
    if as_json:
        print(json.dumps({"counts": counts, "applications": [_facts(row) for row in rows]}))
        return
    for row in rows:
        print(
            f"{_grouped(row):24} {row.state:9} {row.expires}  {row.centre}"
            + (f"  {', '.join(row.reasons)}" if row.reasons else "")
        )
    print(", ".join(f"{count} {name}" for name, count in counts.items()))


@applications_app.command()
def show(number: Number, data: Data, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show one application and its portraits.

    [bold]Example[/bold]: intake applications show DEMO-2026-0000-17Q --data ./data
    """
    wanted = _number(number)

    async def ask(registry: Registry) -> tuple[Application, list[Capture]]:
        found = await registry.find(wanted)
        if found is None:
            _stop("There is no such application.", 1)
        return found, await registry.captures_of(wanted)

    found, portraits = _with_registry(data, database_url, ask)
    if as_json:
        told = [asdict(one) | {"received_at": _time(one)} for one in portraits]
        for each in told:
            each["packet"] = each.pop("packet_sha256")
        print(json.dumps(_facts(found) | {"portraits": told}))
        return
    _tell(found)
    for one in portraits:
        print(f"  {_time(one)}  {one.packet_sha256[:12]}  {one.outcome}{_why(one.reasons)}")


@applications_app.command()
def decide(
    number: Number,
    decision: Annotated[Decision, typer.Argument(help="accepted, or retake.")],
    data: Data,
    reason: Annotated[
        list[str] | None,
        typer.Option(help="Why another portrait is needed; its words are the applicant's. Up to three times."),
    ] = None,
    packet: Annotated[
        str | None,
        typer.Option(
            help="The packet that was looked at (12 digits or more): refused when a newer one came meanwhile."
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Accept the newest portrait of an application, or ask for another one. The status page tells it at once.

    [bold]Example[/bold]: intake applications decide DEMO-2026-0000-17Q retake --reason eyes --packet 3f9a0c21b7d4 --data ./data
    """
    from server.applications import REASONS, Outcome, are_reasons_right

    reasons = tuple(reason or ())
    if not are_reasons_right(Outcome(decision.value), reasons):
        _stop(f"A retake needs one to three of these reasons, acceptance none: {', '.join(REASONS)}.", 2)
    if packet is not None and not PACKET.fullmatch(packet):
        _stop("A packet is named by 12 to 64 of its digits, as `intake applications show` tells them.", 2)
    wanted = _number(number)
    found = _with_registry(
        data, database_url, lambda registry: registry.decide(wanted, Outcome(decision.value), reasons, packet)
    )
    print(json.dumps(_facts(found))) if as_json else _tell(found)


@applications_app.command()
def remove(
    data: Data,
    number: Annotated[
        str | None,
        typer.Argument(metavar="[NUMBER]", help="One application; - reads numbers from standard input, one a line."),
    ] = None,
    expired_before: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Instead: all whose last day is before this one."),
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Remove applications and what is known of their portraits; packets stay. The intake does it by itself 90 days after the last day.

    [bold]Examples[/bold]

    intake applications remove DEMO-2026-0000-17Q --data ./data

    intake applications remove --expired-before 2026-06-30 --data ./data
    """
    if (number is None) is (expired_before is None):
        _stop("Name one application, or --expired-before a day.", 2)
    if expired_before is not None:
        day = expired_before.date()
        removed = _with_registry(data, database_url, lambda registry: registry.forget(day))
    else:
        lines = map(_text, sys.stdin.buffer) if number == "-" else [str(number)]
        numbers = [_parsed(line) for line in lines if line.strip()]
        removed = _with_registry(data, database_url, lambda registry: registry.remove(numbers))
    print(json.dumps({"removed": removed}) if as_json else f"{removed} removed.")


def _read(file: Path) -> bytes:
    from server.application_import import MAX_BYTES

    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        _stop(f"{file} cannot be read: {error.strerror}.", 2)


def _parse(file: Path, content: bytes, step: Callable[[int], None]) -> ReadFile:
    from server.application_import import read_csv, read_json

    kind = file.suffix.lower()
    if str(file) == "-":
        kind = ".json" if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"[", b"{"} else ".csv"
    if kind not in {".csv", ".json"}:
        _stop("The file's name must end in .csv or .json.", 2)
    return (read_json if kind == ".json" else read_csv)(content, datetime.now(UTC).date(), step)


def _tell_faults(found: ReadFile, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"faults": [asdict(one) for one in found.faults], "more": found.more}))
    for fault in found.faults:
        print(f"intake: {fault}.", file=sys.stderr)
    if found.more:
        print(f"intake: and {found.more} more.", file=sys.stderr)
    _stop("Nothing was imported.", 1)


def _number(text: str) -> str:
    return _parsed(read_number() if text == "-" else text)


def _text(data: bytes) -> str:
    """Bytes of no encoding are characters of no number."""
    return data.decode("utf-8", "replace")


def _parsed(text: str) -> str:
    from crypto.application import parse_number
    from crypto.errors import ApplicationNumberError

    try:
        return parse_number(text)
    except ApplicationNumberError as error:
        _stop(str(error), 2)


def _grouped(found: Application) -> str:
    from crypto.application import grouped_number

    return grouped_number(found.number)


def _facts(found: Application) -> dict[str, object]:
    return {
        "number": found.number,
        "centre": found.centre,
        "expires": found.expires.isoformat(),
        "state": found.state,
        "reasons": found.reasons,
    }


def _tell(found: Application) -> None:
    print(f"{_grouped(found)}: {found.state}{_why(found.reasons)}; {found.centre}, until {found.expires}.")


def _time(portrait: Capture) -> str:
    return f"{portrait.received_at:%Y-%m-%dT%H:%M:%SZ}"


def _why(reasons: Sequence[str]) -> str:
    return f" ({', '.join(reasons)})" if reasons else ""


@contextlib.contextmanager
def _progress(what: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr when somebody looks at it and it takes a while."""
    if quiet or total < 5000 or not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _with_registry(data: Path, database_url: str | None, work: Callable[[Registry], Awaitable[T]]) -> T:
    from server.application_errors import ApplicationUndecidableError, ApplicationUnknownError
    from server.errors import ServerError

    async def run() -> T:
        async with _registry(data, database_url) as registry:
            return await work(registry)

    try:
        return asyncio.run(run())
    except (ApplicationUnknownError, ApplicationUndecidableError) as error:
        _stop(str(error), 1)
    except ServerError as error:
        _stop(str(error), 2)


@asynccontextmanager
async def _registry(data: Path, database_url: str | None) -> AsyncIterator[Registry]:
    """The registry of an intake that was started once; nothing is made where no store is."""
    from server.application_rows import Registry
    from server.config import StoreSettings
    from server.made_store import await_store
    from server.store import open_store

    settings = StoreSettings(data_dir=data, database_url=database_url)
    await await_store(settings)
    async with open_store(settings.resolved_database_url) as store:
        yield Registry(store, lambda: datetime.now(UTC))


def _stop(sentence: str, code: int) -> NoReturn:
    print(f"intake: {sentence}", file=sys.stderr)
    raise typer.Exit(code)
