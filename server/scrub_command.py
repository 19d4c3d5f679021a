"""`intake scrub`: every object that a row needs is read and compared with its digest, now and completely.

Intakes do the same slowly in the background (server/scrub.py); this is for the hour after a disk fault, a move or a restore. It runs beside working intakes
and changes nothing; with --mend it puts back, proven by their digest, the bytes that a folder of backups has.

Exit codes: 0 every object is whole, or was mended; 1 something is missing or damaged, each on a line; 2 it could not be looked at, one sentence says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.command_options import AsJson, Data, DatabaseUrl
from server.terminal import failing, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.backup_folder import BackupFolder
    from server.objects import Objects
    from server.scrub import Fault, ScrubState
    from server.store import Store


@dataclass(slots=True)
class Scrubbed:
    """What was found."""

    objects: int = 0
    bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    mended: int = 0  # faults that are none any more
    orphans: int | None = None
    orphan_bytes: int | None = None
    background: ScrubState | None = None

    @property
    def sound(self) -> bool:
        """Whether every object is whole now."""
        return len(self.faults) == self.mended


def scrub(
    data: Data,
    orphans: Annotated[bool, typer.Option("--orphans", help="Also count old objects that no row needs.")] = False,
    mend: Annotated[
        Path | None, typer.Option("--mend", metavar="TARGET", help="Put back what this folder of backups still has.")
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Read every stored packet and order, and tell what is missing or damaged.

    The place is the folder in --data, or what INTAKE_OBJECTS_URL and INTAKE_S3_… name.

    [bold]Examples[/bold]

    intake scrub --data ./data

    intake scrub --data ./data --orphans --json

    intake scrub --data ./data --mend /mnt/backup
    """
    with failing(), _backups(mend) as folder, progress(quiet=as_json) as step:
        found = asyncio.run(_scrub(data, database_url, orphans, folder, step))
    if as_json:
        typer.echo(json.dumps({"sound": found.sound} | asdict(found), default=_moment))
    else:
        _tell(found)
    raise typer.Exit(0 if found.sound else 1)


async def _scrub(
    data: Path,
    database_url: str | None,
    orphans: bool,
    backups: BackupFolder | None,
    step: Callable[[str, int, int], None],
) -> Scrubbed:
    from server.config import StoreSettings
    from server.made_store import await_store
    from server.objects import COLLECTIONS, open_objects
    from server.orphans import Orphans
    from server.packet_counts import count_packets
    from server.scrub import read_state, walk
    from server.store import open_present_store

    settings = StoreSettings(data_dir=data, database_url=database_url)
    found = Scrubbed()
    await await_store(settings)  # opening makes what is missing
    async with open_present_store(settings.resolved_database_url) as store, open_objects(settings) as objects:
        found.background = await read_state(store)
        total = await count_packets(store)
        for collection in COLLECTIONS:
            done = 0
            async for page in walk(store, objects, collection):
                done += len(page.looked)
                found.objects += len(page.looked)
                found.bytes += sum(one.size for one in page.looked)
                found.faults += [one.fault for one in page.looked if one.fault is not None]
                step(collection, done, max(done, total))
        if backups is not None:
            for fault in found.faults:
                found.mended += await _mend(store, objects, fault, backups)
        if orphans:
            found.orphans = found.orphan_bytes = 0
            for collection in COLLECTIONS:
                async for unneeded in Orphans(store, objects).candidates(collection):
                    found.orphans += len(unneeded)
                    found.orphan_bytes += sum(one.size for one in unneeded)
    return found


async def _mend(store: Store, objects: Objects, fault: Fault, backups: BackupFolder) -> bool:
    """Whether the backups had the object's bytes, or nobody needs it any more."""
    from server.errors import StorageCorruptError
    from server.scrub import mend

    path = backups.path_of(fault.collection, fault.name)
    try:
        await mend(store, objects, fault, await asyncio.to_thread(path.read_bytes))
    except (FileNotFoundError, StorageCorruptError):
        typer.echo(f"Not in the backups: {fault.collection}/{fault.name}", err=True)
        return False
    return True


@contextlib.contextmanager
def _backups(target: Path | None) -> Iterator[BackupFolder | None]:
    from server.backup_folder import open_backups

    if target is None:
        yield None
        return
    with open_backups(target, writing=False) as folder:
        yield folder


def _tell(found: Scrubbed) -> None:
    for fault in found.faults:
        typer.echo(f"{fault.kind}: {fault.collection}/{fault.name}")
    if found.orphans is not None:
        typer.echo(f"{found.orphans} old objects that no row needs, {found.orphan_bytes} bytes.")
    typer.echo(f"{found.objects} objects, {found.bytes} bytes.")
    if found.mended:
        typer.echo(f"{found.mended} of {len(found.faults)} were put back from the backups.")
    if not found.sound:
        left = len(found.faults) - found.mended
        typer.echo(f"NOT WHOLE: {left} objects. `--mend TARGET` puts back what a folder of backups has.")
    else:
        typer.echo("Every object is whole.")


def _moment(value: datetime) -> str:
    return value.isoformat()
