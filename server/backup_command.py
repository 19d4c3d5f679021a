"""`intake backup` and `intake restore`: copies of everything that receipts speak of, and the way back.

`intake backup TARGET` makes one; `list`, `verify` and `prune` look after those there are. Only the intake's own keys are needed, and they are in no backup: keep copies
of /etc/passbooth-intake apart.

Exit codes: 0 done; 1 done, but something is not as it should be (objects that the store could not give, a backup too old or damaged, a log that is not sound), each
on a line; 2 not done, one sentence says why, and what was there before is as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from server.command_options import AsJson, Data, DatabaseUrl
from server.terminal import failing, progress

if TYPE_CHECKING:
    from crypto.keys import TrustStore
    from server.backup import MadeBackup, Step
    from server.backup_folder import BackupFolder
    from server.config import IntakeSettings
    from server.log_audit import Audit, Witness
    from server.objects import Objects
    from server.restore import Restored
    from server.store import Store


class _BackupGroup(TyperGroup):
    """`intake backup TARGET` is `intake backup make TARGET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in that was left out."""
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["make", *args]
        return super().parse_args(ctx, args)


backup_app = typer.Typer(
    cls=_BackupGroup,
    no_args_is_help=True,
    help="""Backups: every row, every sealed packet, beside running intakes.

    [bold]Examples[/bold]

    intake backup /mnt/backup --data ./data --pki ./pki      make one; only new packets are copied

    intake backup list /mnt/backup --pki ./pki --max-age-hours 26

    intake backup verify /mnt/backup --pki ./pki             read everything, compare every digest

    intake restore /mnt/backup --data ./new --pki ./pki      on an empty machine
    """,
)

Target = Annotated[Path, typer.Argument(metavar="TARGET", help="Folder of the backups, on another disk.")]
Pki = Annotated[Path, typer.Option("--pki", help="Folder of the intake's keys; its ca.pem is trusted.")]
Roots = Annotated[Path, typer.Option("--pki", help="Folder of keys; its ca.pem is trusted.")]
Named = Annotated[str | None, typer.Option("--backup", help="Name of the backup; the newest if none.")]


@backup_app.command("make")
def make(
    target: Target,
    data: Data,
    pki: Pki,
    database_url: DatabaseUrl = None,
    keep_days: Annotated[
        int | None,
        typer.Option("--keep-days", min=1, help="Days until the backup is over; the setting backup_kept_days if none."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a backup and remove those whose time is over. Safe beside running intakes; a kill leaves the former backups whole.

    [bold]Example[/bold]: intake backup /mnt/backup --data ./data --pki ./pki
    """
    with failing(), progress(quiet=as_json) as step:
        settings = _settings(data, pki, database_url)
        kept = timedelta(days=keep_days or settings.backup_kept_days)
        made = asyncio.run(_make(settings, target, kept, step))
    if as_json:
        typer.echo(json.dumps(_facts(made.manifest) | _outcome(made)))
    else:
        manifest, copied = made.manifest, made.copied
        typer.echo(
            f"{manifest.name}: {manifest.rows} rows, {manifest.objects.lines} objects, {copied.count} of them new "
            f"({copied.bytes} bytes); kept until {_time(manifest.expires_at)}."
        )
        for name in made.dropped.backups:
            typer.echo(f"{name} was removed: its time is over.")
        _tell_lacking(manifest.lacking)
    raise typer.Exit(1 if made.manifest.lacking else 0)


@backup_app.command("list")
def show(
    target: Target,
    pki: Roots,
    max_age_hours: Annotated[
        float | None, typer.Option("--max-age-hours", min=0, help="Exit code 1 when the newest is older.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the backups there are, oldest first, each with its signature checked.

    [bold]Example[/bold]: intake backup list /mnt/backup --pki ./pki --max-age-hours 26
    """
    now = datetime.now(UTC)
    with failing(), _opened(target, pki) as (folder, trust):
        backups = [folder.load(name, trust) for name in folder.names()]
    newest = backups[-1].manifest.made_at if backups else None
    too_old = max_age_hours is not None and (newest is None or now - newest > timedelta(hours=max_age_hours))
    if as_json:
        listed = [_facts(one.manifest) | {"over": one.manifest.is_over(now)} for one in backups]
        typer.echo(json.dumps({"backups": listed, "too_old": too_old}))
    else:
        for one in backups:
            over = "over since" if one.manifest.is_over(now) else "kept until"
            size = f"{one.manifest.rows} rows, {one.manifest.objects.lines} objects ({one.manifest.object_bytes} bytes)"
            typer.echo(f"{one.name}  {size}, log of {one.manifest.log_size}; {over} {_time(one.manifest.expires_at)}")
        if too_old:
            typer.echo(
                f"The newest backup is older than {max_age_hours:g} hours." if backups else "There is no backup."
            )
    raise typer.Exit(1 if too_old else 0)


@backup_app.command("verify")
def verify(target: Target, pki: Roots, backup: Named = None, as_json: AsJson = False) -> None:
    """Read a backup to its last byte: signature, rows, and the digest of every object that it needs.

    [bold]Example[/bold]: intake backup verify /mnt/backup --pki ./pki
    """
    from server.restore import choose, find_damage

    with failing(), progress(quiet=as_json) as step, _opened(target, pki) as (folder, trust):
        chosen = choose(folder, trust, backup)
        damage = find_damage(folder, chosen, step)
    lacking = chosen.manifest.lacking
    if as_json:
        typer.echo(json.dumps(_facts(chosen.manifest) | {"damage": damage, "sound": not damage and not lacking}))
    else:
        for sentence in damage:
            typer.echo(sentence)
        _tell_lacking(lacking)
        state = f"NOT SOUND: {len(damage)} faults." if damage else "sound."
        typer.echo(f"{chosen.name}: {chosen.manifest.rows} rows, {chosen.manifest.objects.lines} objects: {state}")
    raise typer.Exit(1 if damage or lacking else 0)


@backup_app.command("prune")
def prune(target: Target, pki: Roots, as_json: AsJson = False) -> None:
    """Remove every backup whose time is over, the newest too, and the objects that no other one needs.

    [bold]Example[/bold]: intake backup prune /mnt/backup --pki ./pki
    """
    with failing(), _opened(target, pki, writing=True) as (folder, trust):
        folder.prepare()
        dropped = folder.drop_expired(trust, datetime.now(UTC))
        left = len(folder.names())
    if as_json:
        told = {"removed": dropped.backups, "objects": dropped.objects, "bytes": dropped.bytes, "left": left}
        typer.echo(json.dumps(told))
        return
    typer.echo(
        f"{len(dropped.backups)} backups and {dropped.objects} objects ({dropped.bytes} bytes) were removed; {left} are left."
    )


def restore(
    target: Target,
    data: Data,
    pki: Pki,
    database_url: DatabaseUrl = None,
    backup: Named = None,
    even_expired: Annotated[
        bool, typer.Option("--even-expired", help="Also a backup whose time is over; what is due is deleted at once.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup on an empty machine: everything or nothing. No intake and no desk may run there meanwhile.

    At the end the receipt log is verified and what is due for deletion is deleted. The database may be another engine than the backup's. After a kill the same
    command goes on.

    [bold]Examples[/bold]

    intake restore /mnt/backup --data ./data --pki ./pki

    intake restore /mnt/backup --data ./data --pki ./pki --database-url postgresql+asyncpg://intake@db/intake
    """
    with failing(), progress(quiet=as_json) as step:
        settings = _settings(data, pki, database_url)
        restored = asyncio.run(_restore(settings, target, backup, even_expired, step))
    sound = restored.audit is None or restored.audit.sound
    lacking = restored.backup.manifest.lacking
    if as_json:
        told = _facts(restored.backup.manifest) | {"copied": restored.objects, "deleted": restored.deleted}
        found = [] if restored.audit is None else [f"{one.code}: {one.text}" for one in restored.audit.findings]
        typer.echo(json.dumps(told | {"sound": sound, "findings": found}))
    else:
        manifest = restored.backup.manifest
        typer.echo(f"{manifest.name} is restored: {manifest.rows} rows, {manifest.objects.lines} objects.")
        typer.echo(f"It is as of {_time(manifest.made_at)}: what came later is not in it.")
        if restored.deleted:
            typer.echo(f"{restored.deleted} packets were deleted: their time is over.")
        _tell_lacking(lacking)
        typer.echo(_told_log(restored))
    raise typer.Exit(0 if sound and not lacking else 1)


def _told_log(restored: Restored) -> str:
    audit = restored.audit
    if audit is None:
        return "No intake had begun a receipt log."
    if audit.sound:
        return f"The receipt log of {audit.size} entries is sound."
    first = audit.findings[0]
    return f"The receipt log is NOT SOUND, {audit.found} findings, {first.code} first: look with `intake log verify`."


def _settings(data: Path, pki: Path, database_url: str | None) -> IntakeSettings:
    from server.config import IntakeSettings

    more = {} if database_url is None else {"database_url": database_url}
    return IntakeSettings.from_pki(pki, data, **more)


@contextlib.contextmanager
def _opened(target: Path, pki: Path, *, writing: bool = False) -> Iterator[tuple[BackupFolder, TrustStore]]:
    from crypto.keys import load_trust
    from server.backup_folder import open_backups

    trust = load_trust(pki / "ca.pem")
    with open_backups(target, writing=writing) as folder:
        yield folder, trust


@contextlib.asynccontextmanager
async def _made_rooms(settings: IntakeSettings) -> AsyncIterator[tuple[Store, Objects]]:
    """Rows and objects of an intake, with nothing made or migrated."""
    from server.made_store import await_store
    from server.objects import open_objects
    from server.store import open_present_store

    await await_store(settings)
    async with open_present_store(settings.resolved_database_url) as store, open_objects(settings) as objects:
        yield store, objects


async def _make(settings: IntakeSettings, target: Path, kept: timedelta, step: Step) -> MadeBackup:
    from crypto.keys import SignerSource, load_trust
    from server.backup import BackupRooms, make_backup

    signer = SignerSource(settings.receipt_signer, certificate=settings.receipt_certificate).current
    trust = load_trust(settings.trust)
    async with _made_rooms(settings) as (store, objects):
        rooms = BackupRooms(store, objects, signer, trust, lambda: datetime.now(UTC), kept, step)
        return await make_backup(rooms, target)


async def _restore(
    settings: IntakeSettings, target: Path, name: str | None, even_expired: bool, step: Step
) -> Restored:
    from crypto.keys import SignerSource, load_trust
    from server.application_rows import Registry
    from server.log_audit import audit_log
    from server.log_command import accounts_for, checks_for
    from server.restore import RestoreRooms, restore_backup
    from server.retention_job import delete_due

    trust = load_trust(settings.trust)

    def now() -> datetime:
        return datetime.now(UTC)

    async def audit(store: Store, witnesses: Sequence[Witness]) -> Audit:
        return await audit_log(
            store, trust, witnesses=witnesses, accounts=accounts_for(trust), checks=checks_for(trust), step=step
        )

    async def delete_again(store: Store, objects: Objects) -> int:
        await Registry(store, now).forget_old(timedelta(days=settings.applications_kept_days))
        signer = SignerSource(settings.receipt_signer, certificate=settings.receipt_certificate).current
        return await delete_due(store, objects, signer, trust, settings.retention, now)

    return await restore_backup(
        RestoreRooms(settings, trust, now, audit, delete_again, step, even_expired), target, name
    )


def _facts(manifest: Any) -> dict[str, Any]:
    return {
        "backup": manifest.name,
        "made_at": _time(manifest.made_at),
        "expires_at": _time(manifest.expires_at),
        "intake": manifest.intake,
        "revision": manifest.revision,
        "engine": manifest.engine,
        "rows": manifest.rows,
        "objects": manifest.objects.lines,
        "object_bytes": manifest.object_bytes,
        "lacking": manifest.lacking,
        "log": manifest.log,
        "log_size": manifest.log_size,
    }


def _outcome(made: MadeBackup) -> dict[str, Any]:
    return {
        "folder": str(made.folder),
        "new_objects": made.copied.count,
        "new_bytes": made.copied.bytes,
        "removed": made.dropped.backups,
    }


def _tell_lacking(lacking: Sequence[str]) -> None:
    for name in lacking:
        typer.echo(
            f"{name} is missing or damaged in the store, and in no backup from here on: look with `intake scrub`."
        )


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
