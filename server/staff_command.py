"""`intake staff`: who may act for a visit at a booth: add, revoke, list.

Exit codes: 0 done; 1 refused; 2 the registry cannot be used, or the command was misspelt. A code is printed once and stored nowhere; no name is asked
for: who has which staff id is written down where the organisation keeps its staff. An intake that runs gives the changed list to booths by itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from server.command_options import AsJson, Data, DatabaseUrl

if TYPE_CHECKING:
    from server.staff import StaffRegistry, StaffRow

T = TypeVar("T")

LAST_YEAR = 9998  # the day after the last one is stored, and Python's years end with 9999

staff_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Staff codes: who may help at a booth, by a personal code.

    [bold]Examples[/bold]

    intake staff add --data ./data --centre centre-07 --expires 2027-06-30

    intake staff revoke 482103 --data ./data

    intake staff list --data ./data
    """,
)


@staff_app.command()
def add(
    data: Data,
    staff: Annotated[
        str | None, typer.Argument(metavar="[STAFF_ID]", help="Six digits, never given before; random unless told.")
    ] = None,
    centre: Annotated[
        str | None, typer.Option(help="The one centre where the code counts; every one unless told.")
    ] = None,
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of the code (UTC); none unless told.")
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a personal code; it is shown here and never again. Hand it to its owner alone, and write down only whose staff id it is.

    [bold]Example[/bold]: intake staff add --data ./data --centre centre-07 --expires 2027-06-30
    """
    from crypto.errors import EnrolmentError
    from crypto.issuance import check_identity

    if centre is not None:
        try:
            check_identity(centre)
        except EnrolmentError as error:
            _stop(str(error), 1)
    if expires is not None and expires.year > LAST_YEAR:
        _stop(f"A code's last day is in {LAST_YEAR} at the latest; without --expires it has none.", 2)
    end = None if expires is None else expires.replace(tzinfo=UTC) + timedelta(days=1)
    code = _with_registry(data, database_url, lambda registry: registry.add(staff, centre, end))
    if as_json:
        last = None if expires is None else f"{expires:%Y-%m-%d}"
        print(json.dumps({"staff": code.staff, "code": code.text, "centre": centre, "last_day": last}))
        return
    where = "every centre" if centre is None else centre
    print(f"{code.text}\n{code.staff}, {where}, {'no end' if expires is None else f'until {expires:%Y-%m-%d}'}.")


@staff_app.command()
def revoke(
    staff: Annotated[str, typer.Argument(metavar="STAFF_ID", help="The first six digits of the code.")],
    data: Data,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take a code back for good. Booths refuse it as soon as they have the new list, within an hour while they have network.

    [bold]Example[/bold]: intake staff revoke 482103 --data ./data
    """
    row = _with_registry(data, database_url, lambda registry: registry.revoke(staff))
    print(json.dumps(_facts(row, datetime.now(UTC))) if as_json else f"{row.staff}: revoked.")


@staff_app.command("list")
def list_staff(
    data: Data,
    everybody: Annotated[bool, typer.Option("--all", help="Revoked and ended codes too.")] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show who has a code: staff ids, centres, ends; no codes, no names.

    [bold]Example[/bold]: intake staff list --data ./data --all
    """
    now = datetime.now(UTC)
    rows = [
        row
        for row in _with_registry(data, database_url, lambda registry: registry.rows())
        if everybody or row.counts(now)
    ]
    if as_json:
        print(json.dumps([_facts(row, now) for row in rows]))
        return
    for row in rows:
        facts = _facts(row, now)
        print(f"{row.staff}  {row.centre or 'every centre'}  {facts['state']}  {facts['last_day'] or 'no end'}")
    if not rows:
        print("Nobody has a code.")


def _facts(row: StaffRow, now: datetime) -> dict[str, object]:
    state = "revoked" if row.revoked_at else "counts" if row.counts(now) else "ended"
    last = None if row.expires_at is None else f"{row.expires_at - timedelta(days=1):%Y-%m-%d}"
    issued = f"{row.issued_at:%Y-%m-%dT%H:%M:%SZ}"
    return {"staff": row.staff, "centre": row.centre, "state": state, "last_day": last, "issued_at": issued}


def _with_registry(data: Path, database_url: str | None, work: Callable[[StaffRegistry], Awaitable[T]]) -> T:
    from server.errors import ServerError, StaffRefusedError
    from server.memory import forbid_dumps

    async def run() -> T:
        async with _registry(data, database_url) as registry:
            return await work(registry)

    forbid_dumps()
    try:
        return asyncio.run(run())
    except StaffRefusedError as error:
        _stop(str(error), 1)
    except ServerError as error:
        _stop(str(error), 2)


@asynccontextmanager
async def _registry(data: Path, database_url: str | None) -> AsyncIterator[StaffRegistry]:
    """The registry of an intake that was started once; nothing is made where no store is."""
    from server.config import StoreSettings
    from server.made_store import await_store
    from server.staff import StaffRegistry
    from server.store import open_store

    settings = StoreSettings(data_dir=data, database_url=database_url)
    await await_store(settings)
    async with open_store(settings.resolved_database_url) as store:
        yield StaffRegistry(store)


def _stop(sentence: str, code: int) -> NoReturn:
    print(f"intake: {sentence}", file=sys.stderr)
    raise typer.Exit(code)
