"""`intake queue`: how far desks have read packets for their lists, whether the queue is what packets and decisions say, and making it anew.

It works beside running intakes and desks and needs no key: it counts rows. `rebuild` removes what desks keep of packets; a running desk reads them all again, from
the oldest on, and until then filters find only what it has read; states and decisions are untouched.

Exit codes: 0 done, and with `check` all is right; 1 `check` found something; 2 the store cannot be used, or the command was misspelt.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.command_options import AsJson, Data, DatabaseUrl
from server.terminal import failing, progress

if TYPE_CHECKING:
    from server.queue_check import QueueCheck

queue_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""What desks keep of packets for the officers' queue.

    [bold]Examples[/bold]

    intake queue check --data ./data

    intake queue rebuild --data ./data --yes
    """,
)

WORDS = {
    "missing": "packets were read and have no row",
    "strangers": "rows are of no packet",
    "hidden": "rows say decided of packets about which nothing is decided",
    "stale": "rows say open of packets that are decided",
    "misplaced": "rows say another state than the proposals do",
    "lost_terms": "terms are too many or too few",
}


@queue_app.command("check")
def check(data: Data, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Compare the queue with packets and decisions; some seconds for a million packets.

    [bold]Example[/bold]: intake queue check --data ./data || intake queue rebuild --data ./data --yes
    """
    with failing(), progress(quiet=as_json) as step:
        step("queue", 0, 1)
        found = asyncio.run(_check(data, database_url))
        step("queue", 1, 1)
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"sound": found.sound}))
    else:
        typer.echo(f"{found.read} packets read, {found.unread} to be read, {found.terms} terms")
        for name, words in WORDS.items():
            if count := getattr(found, name):
                typer.echo(f"{count} {words}: intake queue rebuild")
    raise typer.Exit(0 if found.sound else 1)


@queue_app.command("rebuild")
def rebuild(
    data: Data,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Remove what desks keep of packets, so that they read all of them again: after a new desk secret, or when `check` found something.

    [bold]Example[/bold]: intake queue rebuild --data ./data --yes
    """
    if not yes:
        typer.confirm("Desks will read every packet again. Go on?", abort=True)
    with failing():
        asyncio.run(_rebuild(data, database_url))
    typer.echo("Desks read every packet again.")


async def _check(data: Path, database_url: str | None) -> QueueCheck:
    from server.config import StoreSettings
    from server.queue_check import check_queue
    from server.store import open_present_store

    settings = StoreSettings(data_dir=data, database_url=database_url)
    async with open_present_store(settings.resolved_database_url) as store:
        return await check_queue(store)


async def _rebuild(data: Path, database_url: str | None) -> None:
    from server.config import StoreSettings
    from server.queue_rows import forget_all
    from server.store import open_present_store

    settings = StoreSettings(data_dir=data, database_url=database_url)
    async with open_present_store(settings.resolved_database_url) as store, store.writing() as connection:
        await forget_all(connection)
