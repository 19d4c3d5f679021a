"""`intake audit verify` and `intake audit list`: the desk's audit log, looked at from outside the desk.

`verify` checks every entry (server/audit_trail.py) while desks go on working. It compares the log with what desks remember of it: the witness in the data folder, when there
is one, and copies of it that were kept elsewhere (`--witness`). `--restored N` says that entry N, in which a desk found its last entry gone, is explained by a restore.

Exit codes: 0 the log is sound; 1 something was found, each finding on a line; 2 it could not be looked at, one sentence says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.command_options import AsJson, DatabaseUrl, Trust
from server.terminal import failing, progress

if TYPE_CHECKING:
    from crypto.desk_secret import DeskSecret
    from crypto.keys import TrustStore
    from server.audit_reading import Line, Wanted
    from server.audit_trail import Step, Trail, Witness
    from server.store import Store

audit_app = typer.Typer(no_args_is_help=True, help="The desk's audit log: who looked at what, and who did what.")

Data = Annotated[Path, typer.Option("--data", help="Folder of the packets and of the database, with the witness.")]
Pki = Annotated[
    Path | None, typer.Option("--pki", help="Folder of the keys; its ca.pem is trusted, its desk.secret is used.")
]
Secret = Annotated[
    Path | None,
    typer.Option("--secret", help="The desk's secret: without it, entries of desks that sign nothing stay unchecked."),
]


@audit_app.command()
def verify(
    data: Data,
    pki: Pki = None,
    trust: Trust = None,
    secret: Secret = None,
    witness: Annotated[
        list[Path] | None,
        typer.Option("--witness", help="A copy of a desk's audit.witness kept elsewhere; repeatable."),
    ] = None,
    restored: Annotated[
        list[int] | None, typer.Option("--restored", help="Entry of a log.resumed that a restore explains; repeatable.")
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check that no entry of the audit log was changed, taken out, put in or cut off.

    [bold]Examples[/bold]

    intake audit verify --data ./data --pki ./pki

    intake audit verify --data ./data --trust ca.pem --secret desk.secret --witness /mnt/safe/audit.witness
    """
    with failing():
        roots, key = _keys(pki, trust, secret)
        witnesses = _witnesses(data, witness or (), key)
        with progress(quiet=as_json) as step:
            trail = asyncio.run(_verify(data, database_url, roots, key, witnesses, restored or (), step))
    if as_json:
        typer.echo(json.dumps(_document(trail, len(witnesses))))
    else:
        _tell(trail, len(witnesses))
    raise typer.Exit(0 if trail.sound else 1)


@audit_app.command("list")
def list_entries(
    data: Data,
    pki: Pki = None,
    trust: Trust = None,
    secret: Secret = None,
    actor: Annotated[str, typer.Option("--actor", help="A user's id.")] = "",
    action: Annotated[str, typer.Option("--action", help="As packet.see or sign_in.refused.")] = "",
    subject: Annotated[str, typer.Option("--subject", help="A packet's SHA-256 or its beginning, or another id.")] = "",
    first: Annotated[str, typer.Option("--from", help="First day (UTC), as 2026-11-23.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last day (UTC).")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="The newest ones, so many.")] = 50,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List entries, newest first; with --json one object on each line.

    [bold]Examples[/bold]

    intake audit list --data ./data --pki ./pki --action packet.export

    intake audit list --data ./data --pki ./pki --subject 3fa8 --from 2026-11-01 --json
    """
    from server.audit_reading import read_wanted

    with failing():
        roots, key = _keys(pki, trust, secret)
        wanted = read_wanted({"actor": actor, "action": action, "subject": subject, "from": first, "to": last})
        genuine = asyncio.run(_list(data, database_url, roots, key, wanted, limit, as_json))
    raise typer.Exit(0 if genuine else 1)


async def _verify(
    data: Path,
    database_url: str | None,
    trust: TrustStore,
    secret: DeskSecret | None,
    witnesses: Sequence[Witness],
    known: Sequence[int],
    step: Step,
) -> Trail:
    from server.audit_trail import check_trail

    async with _present_log(data, database_url) as store:
        return await check_trail(store, trust, secret, witnesses=witnesses, known=known, step=step)


async def _list(
    data: Path,
    database_url: str | None,
    trust: TrustStore,
    secret: DeskSecret | None,
    wanted: Wanted,
    limit: int,
    as_json: bool,
) -> bool:
    from server.audit_reading import each_row, read_line

    genuine = True
    async with _present_log(data, database_url) as store:
        async for row in each_row(store, wanted, limit):
            line = await asyncio.to_thread(read_line, row, trust, secret)
            genuine = genuine and line.entry is not None
            typer.echo(json.dumps(_entry(line)) if as_json else _words(line))
    return genuine


@contextlib.asynccontextmanager
async def _present_log(data: Path, database_url: str | None) -> AsyncIterator[Store]:
    """The database of an intake, with nothing created or migrated in it."""
    import sqlalchemy as sa

    from server.audit import audit_log
    from server.config import StoreSettings
    from server.errors import SettingsError
    from server.store import open_present_store

    settings = StoreSettings(data_dir=data, database_url=database_url)
    async with open_present_store(settings.resolved_database_url) as store:
        async with store.reading() as connection:
            tables = await connection.run_sync(lambda its: set(sa.inspect(its).get_table_names()))
        if audit_log.name not in tables:
            raise SettingsError(
                "This database has no audit log: it is made when an intake or a desk of this version starts."
            )
        yield store


def _keys(pki: Path | None, trust: Path | None, secret: Path | None) -> tuple[TrustStore, DeskSecret | None]:
    from crypto.desk_secret import load_desk_secret
    from crypto.keys import load_trust
    from server.errors import SettingsError

    if (pki is None) == (trust is None):
        raise SettingsError("Say whose signatures count: either --pki or --trust, one of the two.")
    if secret is None and pki is not None and (pki / "desk.secret").is_file():
        secret = pki / "desk.secret"
    return load_trust(trust or Path(pki or ".") / "ca.pem"), None if secret is None else load_desk_secret(secret)


def _witnesses(data: Path, more: Sequence[Path], secret: DeskSecret | None) -> list[Witness]:
    """The desk's own when there is one, and those that were kept elsewhere."""
    from server.audit_trail import Witness
    from server.audit_witness import FILE_NAME, read_witness
    from server.errors import SettingsError

    found = []
    for path in (data / FILE_NAME, *more):
        entry = read_witness(path, secret)
        if entry is not None:
            found.append(Witness(str(path), entry))
        elif path in more:
            raise SettingsError(f"There is no witness {path}.")
    return found


def _document(trail: Trail, witnesses: int) -> dict[str, Any]:
    told = {name: value for name, value in asdict(trail).items() if name not in {"first_at", "last_at"}}
    times = {name: at and at.isoformat() for name, at in (("first_at", trail.first_at), ("last_at", trail.last_at))}
    return told | times | {"sound": trail.sound, "witnesses": witnesses}


def _tell(trail: Trail, witnesses: int) -> None:
    for finding in trail.findings:
        at = "" if finding.number is None else f" at entry {finding.number}"
        typer.echo(f"{finding.code}{at}: {finding.text}")
    if trail.found > len(trail.findings):
        typer.echo(f"… and {trail.found - len(trail.findings)} more.")
    sealed = f"{trail.signed} signed by a desk, {trail.under_secret} under its secret"
    typer.echo(f"{trail.entries} entries: {sealed}" + (f", {trail.unchecked} NOT CHECKED" if trail.unchecked else ""))
    if trail.unchecked:
        typer.echo("Entries of a desk that signs nothing are checked with its secret: --secret.")
    if trail.joined:
        where = ", ".join(map(str, trail.joined))
        typer.echo(f"A desk without a witness began at entry {where}: on a new machine, or its witness was removed.")
    if trail.last is not None:
        typer.echo(f"last  {trail.last.number}  {trail.last.digest}")
    if not trail.sound:
        typer.echo(f"NOT SOUND: {trail.found} findings.")
    elif witnesses:
        typer.echo(f"Sound, and the continuation of all {witnesses} witnesses.")
    else:
        typer.echo("Sound in itself. Without a witness nothing shows whether its end was cut off.")


def _entry(line: Line) -> dict[str, Any]:
    if line.entry is None:
        return {"number": line.row.number, "genuine": False}
    return json.loads(line.entry.to_bytes()) | {"genuine": True}  # type: ignore[no-any-return]


def _words(line: Line) -> str:
    if line.entry is None:
        return f"{line.row.number:>8}  NOT GENUINE, or not checked: look with `intake audit verify`"
    entry = line.entry
    facts = "  ".join(f"{name}={value}" for name, value in sorted(entry.facts.items()))
    at = entry.at.strftime("%Y-%m-%d %H:%M:%SZ")
    return "  ".join(
        filter(None, (f"{entry.number:>8}", at, f"{entry.actor:<12}", f"{entry.action:<18}", entry.subject, facts))
    )
