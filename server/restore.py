"""Restoring a backup on an empty machine: all of it or nothing.

Order of operation
  manifest believed (server/backup_manifest.py), its time not over, its schema known here → every file of rows and the list of objects read through, digests compared;
  every object there with its size → the place is empty, or holds what an interrupted restore of this same backup left → a mark is put into the data
  folder: while it is there neither intake nor desk starts on this machine (server/restore_mark.py) → objects are copied, each with its digest checked, each durable → one
  transaction: still no tables (an intake on another machine may have begun in the same database) → tables of the backup's schema, compared with the backup's; rows; serials; migrations to the schema of this version; commit → the receipt log is
  verified, with the tree head of the manifest as a witness → what is due for deletion by now is deleted → the mark is removed.
Rows come last and at once, so whatever ends a restore before, there is no store. Then what was copied is removed again; after a kill it is still there, with the mark,
and the same command goes on with it. After the commit it goes on behind it.

The database may be another engine than the backup's. An older backup is brought to the schema of this version; a newer one is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from crypto.errors import ReceiptError
from crypto.keys import TrustStore
from crypto.tree_head import verify_tree_head
from server.backup import AT_ONCE, Step
from server.backup_errors import BackupDamagedError, BackupRefusedError
from server.backup_folder import Backup, BackupFolder, ListedObject, open_backups
from server.backup_manifest import TableFacts
from server.config import StoreSettings
from server.line_files import check_file
from server.log_audit import Audit, Witness
from server.log_rows import log_heads
from server.objects import Collection, Objects, open_objects
from server.restore_mark import is_marked, put_mark, remove_mark
from server.store import Store, make_engine, migrate_within, read_address, schema_revisions, wait_for_migrations
from server.table_rows import Table, insert_rows, read_revision, read_tables, set_serials

# A backup with so much damage is judged by its first.
MAX_DAMAGE = 1_000

# The check of the receipt log that `intake log verify` makes.
Auditing = Callable[[Store, Sequence[Witness]], Awaitable[Audit]]
# What is to be done with a restored store before anything is served from it; returns how many packets were deleted.
Deleting = Callable[[Store, Objects], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to."""

    backup: Backup
    objects: int
    audit: Audit | None
    deleted: int


@dataclass(frozen=True)
class RestoreRooms:
    """What a restore works with."""

    settings: StoreSettings
    trust: TrustStore
    now: Callable[[], datetime]
    audit: Auditing
    delete_due: Deleting
    step: Step = field(default=lambda _name, _done, _total: None)
    even_expired: bool = False


async def restore_backup(rooms: RestoreRooms, root: Path, name: str | None = None) -> Restored:
    """Restore a backup, the newest unless one is named. Raises `BackupError`, `StorageError`, OSError; then nothing is restored."""
    with open_backups(root, writing=False) as folder:
        backup = await asyncio.to_thread(choose, folder, rooms.trust, name)
        manifest = backup.manifest
        if manifest.is_over(rooms.now()) and not rooms.even_expired:
            raise BackupRefusedError(
                f"The time of {backup.name} is over: what it holds should be deleted. `--even-expired` restores it all the same."
            )
        if manifest.revision not in schema_revisions():
            raise BackupRefusedError(
                f"{backup.name} has the schema {manifest.revision}, which this version does not know: "
                f"restore with {manifest.software} or a newer one."
            )
        await asyncio.to_thread(check_backup, folder, backup, rooms.step)
        return await _restore(rooms, folder, backup)


def choose(folder: BackupFolder, trust: TrustStore, name: str | None) -> Backup:
    """The backup of this name, or the newest. Raises `BackupError`. Blocks."""
    names = folder.names()
    if name is None and not names:
        raise BackupRefusedError(f"There is no backup in {folder.root}.")
    return folder.load(name or names[-1], trust)


def check_backup(folder: BackupFolder, backup: Backup, step: Step) -> None:
    """That every file is what was written and every object is there, by size. Raises `BackupDamagedError`. Blocks."""
    tables = backup.manifest.tables
    for number, table in enumerate(tables):
        check_file(backup.table_file(table.name), table.rows.written)
        step("files", number + 1, len(tables) + 1)
    absent, first, lacking = 0, "", set(backup.manifest.lacking)
    for one in backup.objects():
        if not folder.holds(one) and f"{one.collection}/{one.name}" not in lacking:
            absent, first = absent + 1, first or f"{one.collection}/{one.name}"
    step("files", len(tables) + 1, len(tables) + 1)
    if absent:
        raise BackupDamagedError(
            f"{absent} objects of {backup.name} are missing or not as long as they were: {first} first."
        )


def find_damage(folder: BackupFolder, backup: Backup, step: Step) -> list[str]:
    """Everything that is not as it was written, in sentences, at most `MAX_DAMAGE`; every byte is read. Blocks."""
    damage: list[str] = []
    tables, lacking = backup.manifest.tables, set(backup.manifest.lacking)
    for number, table in enumerate(tables):
        with _noted(damage):
            check_file(backup.table_file(table.name), table.rows.written)
        step("rows", number + 1, len(tables))
    with _noted(damage):
        for number, one in enumerate(backup.objects()):
            if f"{one.collection}/{one.name}" not in lacking:
                with _noted(damage):
                    folder.read(one)
            step("objects", number + 1, backup.manifest.objects.lines)
            if len(damage) >= MAX_DAMAGE:
                break
    return damage


@contextlib.contextmanager
def _noted(damage: list[str]) -> Iterator[None]:
    try:
        yield
    except BackupDamagedError as error:
        damage.append(str(error))


async def _restore(rooms: RestoreRooms, folder: BackupFolder, backup: Backup) -> Restored:
    data, copied = rooms.settings.data_dir, 0
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    marked = is_marked(data, backup.name)
    async with _bare_store(rooms.settings) as store:
        committed = marked and await _is_there(store, backup)
        if not committed:
            async with store.reading() as connection:
                await _require_no_tables(connection, backup)
        async with open_objects(rooms.settings) as objects:
            if not marked:
                await _require_no_objects(objects)
                put_mark(data, backup.name)
            if not committed:
                try:
                    copied = await _copy_objects(rooms, folder, backup, objects)
                    async with store.writing() as connection:
                        manifest = backup.manifest
                        await wait_for_migrations(connection)
                        await _require_no_tables(connection, backup)  # an intake on another machine knows no mark
                        tables = await write_moment(
                            connection, manifest.tables, manifest.revision, backup.folder, rooms.step
                        )
                        await set_serials(connection, tables, manifest.serials)
                        if manifest.revision != schema_revisions()[-1]:
                            await migrate_within(connection)
                except BaseException:
                    await asyncio.shield(_take_back(rooms, store, objects, backup))
                    raise
            audit = await rooms.audit(store, _witnesses(rooms, backup)) if backup.manifest.tree_head else None
            deleted = await rooms.delete_due(store, objects)
    remove_mark(data)
    return Restored(backup, copied, audit, deleted)


@contextlib.asynccontextmanager
async def _bare_store(settings: StoreSettings) -> AsyncIterator[Store]:
    """The database, whatever is in it; a file of SQLite that stays empty is removed."""
    url = read_address(settings.resolved_database_url)
    file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    engine = make_engine(settings.resolved_database_url)
    store = Store(engine)
    try:
        yield store
    finally:
        empty = file is not None and not await _tables(store)
        await engine.dispose()
        if empty and file is not None:
            for path in file.parent.glob(f"{file.name}*"):
                path.unlink()


async def _tables(store: Store) -> list[str]:
    async with store.reading() as connection:
        return await connection.run_sync(lambda plain: sa.inspect(plain).get_table_names())


async def _our_tables(connection: AsyncConnection, backup: Backup) -> set[str]:
    there = await connection.run_sync(lambda plain: sa.inspect(plain).get_table_names())
    return {"alembic_version", *(one.name for one in backup.manifest.tables)} & set(there)


async def _is_there(store: Store, backup: Backup) -> bool:
    """Whether the rows of this backup were committed by a restore that was interrupted after it."""
    async with store.reading() as connection:
        if await read_revision(connection) is None:
            return False
        if not backup.manifest.tree_head:
            return True
        newest = sa.select(log_heads.c.head).order_by(log_heads.c.size.desc()).limit(1)
        head = (await connection.execute(newest)).scalar_one_or_none()
        return head is not None and bytes(head) == backup.manifest.signed_head


async def _require_no_tables(connection: AsyncConnection, backup: Backup) -> None:
    if await _our_tables(connection, backup):
        raise BackupRefusedError("The database is not empty: a backup is restored into an empty one, never over rows.")


async def _require_no_objects(objects: Objects) -> None:
    for collection in (objects.packets, objects.orders, objects.aside):
        async for _ in collection.names():
            raise BackupRefusedError("The place of the packets is not empty: a backup is restored into an empty one.")


async def _copy_objects(rooms: RestoreRooms, folder: BackupFolder, backup: Backup, objects: Objects) -> int:
    """Every object of the backup into the place; how many were copied."""
    manifest, copied, done = backup.manifest, 0, 0
    lacking = set(manifest.lacking)
    with contextlib.closing(backup.objects()) as listed:
        while page := await asyncio.to_thread(lambda: list(islice(listed, AT_ONCE))):
            wanted = [one for one in page if f"{one.collection}/{one.name}" not in lacking]
            outcomes = await asyncio.gather(
                *(_copy_object(folder, one, getattr(objects, one.collection)) for one in wanted), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):  # all of the page have ended
                    raise outcome
                copied += outcome
            done += len(page)
            rooms.step("objects", done, manifest.objects.lines)
    return copied


async def _copy_object(folder: BackupFolder, one: ListedObject, place: Collection) -> bool:
    if await place.holds(one.name):
        return False  # by a restore that was interrupted; what has its name is whole
    data = await asyncio.to_thread(folder.read, one)
    async with place.writer() as writer:
        await writer.write(data)
        await writer.keep(one.name)
    return True


async def _take_back(rooms: RestoreRooms, store: Store, objects: Objects, backup: Backup) -> None:
    """Remove what was copied: the place was empty before. Not when the rows are there: an end that came with the commit may have come after it.

    When an intake on another machine has made its tables meanwhile, the objects are its own too: then none is removed, and its collector of orphans looks after them.
    Where nobody can say (the database is gone), everything stays with its mark, and the same command goes on.
    """
    if await _is_there(store, backup):
        return
    async with store.reading() as connection:
        shared = await _our_tables(connection, backup)
    for collection in () if shared else (objects.packets, objects.orders):
        async for one in collection.names():
            await collection.delete(one.name)
    remove_mark(rooms.settings.data_dir)


async def write_moment(
    connection: AsyncConnection, facts: Sequence[TableFacts], revision: str, folder: Path, step: Step
) -> list[Table]:
    """The tables of a schema with the rows of a backup's files; within the caller's transaction. Raises `BackupError`."""
    await migrate_within(connection, revision)
    there = await read_tables(connection)
    made = {table.name: sorted(table.columns) for table in there}
    if made != {one.name: sorted(one.table.columns) for one in facts}:
        raise BackupRefusedError(f"The tables of this backup are not those of the schema {revision} here.")
    for one in reversed(facts):  # what migrations put there is in the backup too
        await connection.execute(sa.delete(one.table.clause()))
    for one in facts:
        rows = one.rows.written
        await insert_rows(
            connection,
            one.table,
            folder / f"{one.name}.gz",
            rows,
            lambda done, name=one.name, total=rows.lines: step(name, done, total),  # type: ignore[misc]
        )
    return there


def _witnesses(rooms: RestoreRooms, backup: Backup) -> list[Witness]:
    """The tree head of the moment of the backup."""
    try:
        return [Witness(backup.name, verify_tree_head(backup.manifest.signed_head, rooms.trust))]
    except ReceiptError as error:
        raise BackupDamagedError(f"The tree head in {backup.name} does not hold: {error}") from error
