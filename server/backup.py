"""Making a backup: one moment of the database and every object that its rows need, beside running intakes.

Order of operation
  lock the folder of backups, clear away what an interrupted command left → one transaction that sees one moment: schema, serials, newest tree head, each table's
  rows into a file, the list of the objects that rows name → the transaction ends → objects that the folder does not hold yet are copied, each read with
  its digest checked, each durable before it counts → manifest, signed by the intake's receipt key → the backup gets its name → those whose time is over go.
An object is durable before its row is committed, so each row of that moment has its object, unless it was deleted since: when the row of a missing object is
gone from the database too, everything begins anew with a later moment (what was copied stays copied). An object that is missing or damaged although its row is
there does not stop the backup, because then there would be none: it is named in the manifest, and the command says so.
A kill at any moment leaves the former backups whole, and objects without a backup, which the next one needs or removes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.keys import Signer, TrustStore, common_name
from server.backup_errors import BackupRefusedError
from server.backup_folder import COLLECTIONS, OBJECTS, BackupFolder, Dropped, ListedObject, open_backups
from server.backup_manifest import MAX_LACKING, ColumnFacts, FileFacts, Manifest, TableFacts, sign_manifest
from server.errors import StorageCorruptError
from server.line_files import WrittenFile, new_lines, read_lines
from server.log_rows import log_heads, log_identity
from server.object_rows import is_needed, needed_objects
from server.objects import Collection, Objects
from server.store import Store
from server.table_rows import PAGE, Table, frozen, read_revision, read_serials, read_tables, write_rows

# Objects copied at once: waits for a disk or a bucket. Each is in memory whole, at most 20 MiB (config.max_packet_bytes).
AT_ONCE = 4
# How often a moment is taken anew because of deletions meanwhile: a run of the retention job is over long before.
MOMENTS = 5

Step = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of the objects of a moment."""

    count: int = 0
    bytes: int = 0
    total: int = 0
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MadeBackup:
    """A backup that was made."""

    manifest: Manifest
    copied: Copied
    dropped: Dropped
    folder: Path


class _DeletedSinceError(Exception):
    """A row of the moment, and its object, are gone from the store: a later moment is needed."""


@dataclass(frozen=True)
class BackupRooms:
    """What a backup is made of and with."""

    store: Store
    objects: Objects
    signer: Callable[[], Signer]
    trust: TrustStore
    now: Callable[[], datetime]
    kept: timedelta
    step: Step = field(default=lambda _name, _done, _total: None)


async def make_backup(rooms: BackupRooms, root: Path) -> MadeBackup:
    """Make a backup in the folder of backups `root`. Raises `BackupError`, `StorageError`, OSError."""
    with open_backups(root, writing=True, make=True) as folder:
        await asyncio.to_thread(folder.prepare)
        for _ in range(MOMENTS):
            with contextlib.suppress(_DeletedSinceError):
                manifest, copied = await _make(rooms, folder)
                break
        else:
            raise BackupRefusedError("Packets are deleted faster than they are copied: try again later.")
        dropped = await asyncio.to_thread(folder.drop_expired, rooms.trust, rooms.now())
        return MadeBackup(manifest, copied, dropped, root / manifest.name)


async def _make(rooms: BackupRooms, folder: BackupFolder) -> tuple[Manifest, Copied]:
    made_at = rooms.now().replace(microsecond=0)
    name = folder.next_name(made_at)
    with folder.making(name) as partial:
        async with frozen(rooms.store) as connection:
            facts = await read_moment(connection, partial, rooms.step)
        copied = await _copy_objects(rooms, folder, partial / OBJECTS, facts["objects"])
        signer = rooms.signer()
        manifest = Manifest(
            name=name,
            made_at=made_at,
            expires_at=made_at + rooms.kept,
            intake=common_name(signer.certificate),
            software=f"passbooth {version('passbooth')}",
            object_bytes=copied.total,
            lacking=list(copied.lacking),
            **facts | {"objects": FileFacts.of(facts["objects"])},
        )
        await asyncio.to_thread(folder.place, name, sign_manifest(manifest, signer))
    return manifest, copied


async def read_moment(connection: AsyncConnection, partial: Path, step: Step) -> dict[str, Any]:
    """The rows of one moment and the list of their objects, as files; what the manifest says of them."""
    revision = await read_revision(connection)
    if revision is None:
        raise BackupRefusedError("There is nothing to copy: this database has no tables of an intake.")
    tables = await read_tables(connection)
    try:
        facts = [await _write_table(connection, table, partial, step) for table in tables]
    except (TypeError, ValueError) as error:  # SQLite keeps a value of any kind in any column
        raise BackupRefusedError(
            "A row holds a value of another kind than its column: look with `intake log verify`."
        ) from error
    names = {table.name for table in tables}
    with new_lines(partial / OBJECTS) as writer:
        async for page in _needed_objects(connection, names):
            await asyncio.to_thread(writer.add, [one.line() for one in page])
        objects = await asyncio.to_thread(writer.finish)
    log, size, head = await _read_log(connection, names)
    return {
        "engine": connection.dialect.name,
        "revision": revision,
        "tables": facts,
        "serials": await read_serials(connection, tables),
        "objects": objects,
        "log": log,
        "log_size": size,
        "tree_head": base64.b64encode(head).decode("ascii"),
    }


async def _write_table(connection: AsyncConnection, table: Table, partial: Path, step: Step) -> TableFacts:
    total = (await connection.execute(sa.select(sa.func.count()).select_from(table.clause()))).scalar_one()
    with new_lines(partial / f"{table.name}.gz") as writer:
        await write_rows(connection, table, writer, lambda done: step(table.name, done, total))
        written = await asyncio.to_thread(writer.finish)
    columns = [ColumnFacts.model_validate({"name": name, "kind": kind}) for name, kind in table.columns]
    return TableFacts(name=table.name, columns=columns, rows=FileFacts.of(written))


async def _needed_objects(connection: AsyncConnection, names: set[str]) -> AsyncIterator[Sequence[ListedObject]]:
    """Every object that rows need, once, in the order of lists, page by page."""
    for collection in COLLECTIONS:
        if collection not in names:
            continue  # a schema from before it
        query = needed_objects(collection).execution_options(yield_per=PAGE)
        async with connection.stream(query) as result:
            async for page in result.partitions(PAGE):
                yield [ListedObject(collection, name, size) for name, size in page]


async def _read_log(connection: AsyncConnection, names: set[str]) -> tuple[str, int, bytes]:
    """The log's name, size and newest head; empty before an intake has begun one."""
    if log_heads.name not in names:
        return "", 0, b""
    log = (await connection.execute(sa.select(log_identity.c.log).limit(1))).scalar_one_or_none() or ""
    newest = sa.select(log_heads.c.size, log_heads.c.head).order_by(log_heads.c.size.desc()).limit(1)
    head = (await connection.execute(newest)).one_or_none()
    return (log, 0, b"") if head is None else (log, head.size, bytes(head.head))


async def _copy_objects(rooms: BackupRooms, folder: BackupFolder, path: Path, facts: WrittenFile) -> Copied:
    """Copy what the folder lacks, a few at a time."""
    count = size = total = done = 0
    lacking: list[str] = []
    with contextlib.closing(read_lines(path, facts)) as lines:

        def next_page() -> tuple[list[ListedObject], list[ListedObject]]:
            page = [_listed(line) for line in islice(lines, PAGE)]
            return page, [one for one in page if not folder.holds(one)]

        while True:
            page, missing = await asyncio.to_thread(next_page)
            if not page:
                return Copied(count, size, total, tuple(lacking))
            total += sum(one.size for one in page)
            for start in range(0, len(missing), AT_ONCE):
                group = missing[start : start + AT_ONCE]
                outcomes = await asyncio.gather(
                    *(_copy_object(rooms, folder, one) for one in group), return_exceptions=True
                )
                for one, whole in zip(group, outcomes, strict=True):
                    if isinstance(whole, BaseException):  # all of the group have ended
                        raise whole
                    count, size = count + whole, size + one.size * whole
                    if not whole:
                        lacking.append(f"{one.collection}/{one.name}")
                rooms.step("objects", done + start + len(group), facts.lines)
            done += len(page)
            rooms.step("objects", done, facts.lines)
            if len(lacking) > MAX_LACKING:
                raise BackupRefusedError(
                    f"More than {MAX_LACKING} objects are missing or damaged: look with `intake scrub` first."
                )


async def _copy_object(rooms: BackupRooms, folder: BackupFolder, one: ListedObject) -> bool:
    """Copy an object; False when it is missing or damaged although its row is there."""
    place: Collection = getattr(rooms.objects, one.collection)
    try:
        data = await place.read(one.name)
    except StorageCorruptError:
        async with rooms.store.reading() as connection:
            if not await is_needed(connection, one.collection, one.name):
                raise _DeletedSinceError from None
        return False
    if len(data) != one.size:
        return False
    await asyncio.to_thread(folder.keep, one, data)
    return True


def _listed(line: bytes) -> ListedObject:
    collection, name, size = line.decode("ascii").split(" ")
    return ListedObject(collection, name, int(size))
