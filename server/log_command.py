"""`intake log verify` and `intake log head`: the receipt log, looked at from outside the intake.

`verify` checks everything (server/log_audit.py) while intakes go on working, and compares the log with what was kept elsewhere: tree heads
(`intake log head --out`, `GET /v1/log/head`) and receipts of booths. Only such a witness shows that nothing was cut off or written anew.

Exit codes: 0 the log is sound; 1 something was found, each finding on a line; 2 it could not be looked at, one sentence says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from server.command_options import AsJson, Data, DatabaseUrl, Trust
from server.terminal import failing, progress

if TYPE_CHECKING:
    from crypto.keys import TrustStore
    from server.log_audit import Account, Audit, Check, Step, Witness
    from server.store import Store

T = TypeVar("T")

log_app = typer.Typer(no_args_is_help=True, help="The receipt log: everything that was ever receipted, append-only.")

Pki = Annotated[Path | None, typer.Option("--pki", help="Folder of the keys; its ca.pem is trusted.")]


@log_app.command()
def verify(
    data: Data,
    pki: Pki = None,
    trust: Trust = None,
    head: Annotated[list[Path] | None, typer.Option("--head", help="A tree head kept elsewhere; repeatable.")] = None,
    receipt: Annotated[list[Path] | None, typer.Option("--receipt", help="A booth's receipt; repeatable.")] = None,
    files: Annotated[bool, typer.Option("--files", help="Also read every packet file and compare its digest.")] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check that nothing in the receipt log was ever removed or changed.

    [bold]Examples[/bold]

    intake log verify --data ./data --pki ./pki

    intake log verify --data ./data --trust ca.pem --head /mnt/safe/2026-10.head --files
    """
    with failing():
        roots = _load_trust(pki, trust)
        witnesses = [_head_witness(path, roots) for path in head or ()]
        witnesses += [_receipt_witness(path, roots) for path in receipt or ()]
        with progress(quiet=as_json) as step:
            audit = _run(lambda: _verify(data, database_url, roots, witnesses, files, step))
    if as_json:
        told = {name: value for name, value in asdict(audit).items() if name != "found"}
        typer.echo(json.dumps(told | {"sound": audit.sound, "found": audit.found, "witnesses": len(witnesses)}))
    else:
        _tell(audit, len(witnesses))
    raise typer.Exit(0 if audit.sound else 1)


@log_app.command("head")
def show_head(
    data: Data,
    pki: Pki = None,
    trust: Trust = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the signed head to this new file.")] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest tree head. Keep it where nobody of the intake can write: it shows later that nothing was taken away.

    [bold]Example[/bold]: intake log head --data ./data --pki ./pki --out /mnt/safe/2026-11.head
    """
    from crypto.tree_head import verify_tree_head

    with failing():
        roots = _load_trust(pki, trust)
        signed = _run(lambda: _read_head(data, database_url))
        newest = verify_tree_head(signed, roots)
        if out is not None:
            with out.open("xb") as file:
                file.write(signed)
                file.flush()
                os.fsync(file.fileno())
    told = json.loads(newest.to_bytes())
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"log     {newest.log}\nsize    {newest.size}\nroot    {newest.root_hash}")
    typer.echo(f"signed  {told['at']} by {newest.intake}")


async def _verify(
    data: Path, database_url: str | None, trust: TrustStore, witnesses: Sequence[Witness], files: bool, step: Step
) -> Audit:
    from server.config import StoreSettings
    from server.log_audit import audit_log
    from server.made_store import await_store
    from server.objects import open_objects

    settings = StoreSettings(data_dir=data, database_url=database_url)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(_present_log(data, database_url))
        if files:
            await await_store(settings)  # opening makes what is missing
        objects = (await stack.enter_async_context(open_objects(settings))).packets if files else None
        return await audit_log(
            store,
            trust,
            witnesses=witnesses,
            objects=objects,
            accounts=accounts_for(trust),
            checks=checks_for(trust),
            step=step,
        )


def accounts_for(trust: TrustStore) -> list[Account]:
    """Who vouches for packets that are in the log and have no row; the signatures that count are those of `trust`."""
    from server.deletion_audit import account_for_deletions

    return [account_for_deletions(trust)]


def checks_for(trust: TrustStore) -> list[Check]:
    """What is looked at besides the log: tables whose rows are signed or hang on it."""
    from server.deletion_audit import check_deletions, check_holds
    from server.order_audit import check_decisions, check_orders
    from server.packet_counts import check_counts
    from server.proposal_audit import check_proposals

    decided = [check_decisions(trust), check_orders(trust), check_proposals(trust)]
    return [check_deletions(trust), check_holds(trust), *decided, check_counts]


async def _read_head(data: Path, database_url: str | None) -> bytes:
    from server.log_rows import read_newest_head

    async with _present_log(data, database_url) as store:
        return await read_newest_head(store)


@contextlib.asynccontextmanager
async def _present_log(data: Path, database_url: str | None) -> AsyncIterator[Store]:
    """The database of an intake, with nothing created or migrated in it."""
    from server.config import StoreSettings
    from server.errors import SettingsError
    from server.log_rows import holds_log
    from server.store import open_present_store

    settings = StoreSettings(data_dir=data, database_url=database_url)
    async with open_present_store(settings.resolved_database_url) as store:
        if not await holds_log(store):
            raise SettingsError("This database has no receipt log: it is made when the intake starts.")
        yield store


def _load_trust(pki: Path | None, trust: Path | None) -> TrustStore:
    from crypto.keys import load_trust
    from server.errors import SettingsError

    if (pki is None) == (trust is None):
        raise SettingsError("Say whose signatures count: either --pki or --trust, one of the two.")
    return load_trust(trust or Path(pki or ".") / "ca.pem")


def _head_witness(path: Path, trust: TrustStore) -> Witness:
    from crypto.tree_head import MAX_TREE_HEAD_BYTES, verify_tree_head
    from server.log_audit import Witness

    return Witness(str(path), verify_tree_head(_read(path, MAX_TREE_HEAD_BYTES), trust))


def _receipt_witness(path: Path, trust: TrustStore) -> Witness:
    from crypto.receipt import MAX_RECEIPT_BYTES, read_receipt, verify_receipt
    from crypto.tree_head import verify_tree_head
    from server.log_audit import Witness

    data = _read(path, MAX_RECEIPT_BYTES)
    receipt = read_receipt(data)
    verify_receipt(data, trust, receipt.entry.packet_sha256)
    return Witness(str(path), verify_tree_head(receipt.signed_head, trust), receipt.entry)


def _read(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit_bytes + 1)


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(work())


def _tell(audit: Audit, witnesses: int) -> None:
    for finding in audit.findings:
        at = "" if finding.position is None else f" at position {finding.position}"
        typer.echo(f"{finding.code}{at}: {finding.text}")
    if audit.found > len(audit.findings):
        typer.echo(f"… and {audit.found - len(audit.findings)} more.")
    files = "" if audit.files is None else f", {audit.files} packet files"
    deleted = f", {audit.deleted} deleted ones" if audit.deleted else ""
    typer.echo(
        f"{audit.size} entries, {audit.heads} tree heads, {audit.packets} packets{deleted}{files}; root {audit.root_hash}"
    )
    if not audit.sound:
        typer.echo(f"NOT SOUND: {audit.found} findings.")
    elif witnesses:
        typer.echo(f"Sound, and the log is the continuation of all {witnesses} witnesses.")
    else:
        typer.echo("Sound in itself. Without --head or --receipt nothing shows whether its end was cut off.")
