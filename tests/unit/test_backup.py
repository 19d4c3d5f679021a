"""Backup and restore: everything comes back on either engine, nothing comes back half, damaged and hostile backups are told."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from crypto.keys import load_trust
from crypto.receipt import verify_receipt
from server.backup import BackupRooms, make_backup
from server.backup_errors import BackupBusyError, BackupDamagedError, BackupRefusedError
from server.backup_folder import open_backups
from server.backup_manifest import read_manifest, sign_manifest
from server.cli import app
from server.config import IntakeSettings
from server.errors import SettingsError, StorageUnavailableError
from server.intake import run_intake
from server.line_files import WrittenFile, new_lines, read_lines
from server.log_audit import audit_log
from server.made_store import await_store
from server.objects import open_objects
from server.restore import RestoreRooms, restore_backup
from server.restore_mark import MARK, put_mark
from server.store import Store, open_present_store, open_store, packets, schema_revisions
from server.table_rows import read_tables
from tests.kept_log import SIZE, Kept, make_kept
from tests.sealed_packets import Keys

NOW = datetime.now(UTC)
KEPT = timedelta(days=30)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Kept:
    return make_kept(tmp_path_factory.mktemp("backup"))


@pytest.fixture
def kept(original, tmp_path) -> Kept:
    return original.copy(tmp_path / "data")


@pytest.fixture(scope="module")
def made_once(original, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("made") / "backups"
    asyncio.run(back_up(original, root))
    return root


@pytest.fixture
def made(made_once, root) -> Path:
    """A folder with one backup."""
    shutil.copytree(made_once, root)
    return root


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "backups"


def settings(kept: Kept, data: Path, url: str | None = None, **more) -> IntakeSettings:
    return IntakeSettings.from_pki(kept.keys.folder, data, database_url=url, **more)


def sqlite_url(data: Path) -> str:
    return f"sqlite+aiosqlite:///{data / 'intake.sqlite3'}"


async def back_up(kept: Kept, root: Path, url: str | None = None, *, now=NOW, days: int = 30, **more):
    chosen = settings(kept, kept.data, url, **more)
    async with open_present_store(chosen.resolved_database_url) as store, open_objects(chosen) as objects:
        trust = load_trust(kept.keys.folder / "ca.pem")
        rooms = BackupRooms(store, objects, kept.signer, trust, lambda: now, timedelta(days=days))
        return await make_backup(rooms, root)


async def restore(
    kept: Kept, root: Path, data: Path, url: str | None = None, name: str | None = None, *, now=NOW, step=None, **more
):
    chosen, trust = settings(kept, data, url, **more), load_trust(kept.keys.folder / "ca.pem")

    async def audit(store, witnesses):
        return await audit_log(store, trust, witnesses=witnesses)

    async def delete_due(_store, _objects) -> int:
        return 0

    rooms = RestoreRooms(chosen, trust, lambda: now, audit, delete_due, step or (lambda *_: None))
    return await restore_backup(rooms, root, name)


async def rows_of(url: str) -> dict[str, list[tuple]]:
    """Every row of every table."""
    found = {}
    async with open_present_store(url) as store, store.reading() as connection:
        for table in await read_tables(connection):
            rows = await connection.execute(sa.select(*table.clause().c).order_by(*table.clause().c))
            found[table.name] = [tuple(row) for row in rows]
    return found


def files_of(data: Path) -> dict[str, bytes]:
    places = [data / "objects" / collection for collection in ("packets", "orders")]
    return {path.name: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}


async def require_whole(kept: Kept, data: Path, url: str) -> None:
    """Rows, objects, log and every receipt that was ever given."""
    trust = load_trust(kept.keys.folder / "ca.pem")
    assert files_of(data) == files_of(kept.data)
    chosen = settings(kept, data, url)
    async with open_store(url) as store, open_objects(chosen) as objects:
        assert (await audit_log(store, trust, objects=objects.packets)).findings == []
        for receipt in kept.receipts:
            sha256 = json.loads(receipt)["entry"]["packet_sha256"]
            verify_receipt(receipt, trust, sha256)
            assert (await store.find(sha256)).receipt == receipt
    assert not (data / MARK).exists()


async def test_a_backup_comes_back_whole_on_an_empty_machine(original, root, tmp_path):
    before = await rows_of(sqlite_url(original.data))
    made = await back_up(original, root)
    assert (made.copied.count, made.manifest.log_size, made.manifest.revision) == (SIZE, SIZE, schema_revisions()[-1])
    restored = await restore(original, root, tmp_path / "new")
    assert (restored.objects, restored.audit.findings) == (SIZE, [])
    assert await rows_of(sqlite_url(tmp_path / "new")) == before
    await require_whole(original, tmp_path / "new", sqlite_url(tmp_path / "new"))


async def test_from_sqlite_to_postgresql_with_the_numbers_that_were_given(original, root, tmp_path, postgres_url):
    before = await rows_of(sqlite_url(original.data))
    await back_up(original, root)
    await restore(original, root, tmp_path / "new", postgres_url)
    assert await rows_of(postgres_url) == before
    await require_whole(original, tmp_path / "new", postgres_url)
    async with open_store(postgres_url) as store, store.writing() as connection:
        # The serial goes on, also behind one whose row is gone.
        highest = (await connection.execute(sa.select(sa.func.max(packets.c.serial)))).scalar_one()
        sequence = sa.func.pg_get_serial_sequence("packets", "serial")
        assert (await connection.execute(sa.select(sa.func.nextval(sequence)))).scalar_one() == highest + 1
    other = Kept(original.keys, tmp_path / "new", original.receipts, original.heads)
    made = await back_up(other, tmp_path / "again", postgres_url)
    assert (made.manifest.engine, made.manifest.serials["packets"]) == ("postgresql", highest + 1)


async def test_from_a_folder_to_a_bucket_and_from_there_to_a_folder(original, root, tmp_path, s3_place):
    await back_up(original, root)
    await restore(original, root, tmp_path / "cloud", **s3_place.settings)
    cloud = Kept(original.keys, tmp_path / "cloud", original.receipts, original.heads)
    made = await back_up(cloud, tmp_path / "again", **s3_place.settings)
    assert (made.copied.count, made.manifest.lacking) == (SIZE, [])
    with pytest.raises(BackupRefusedError, match="place of the packets is not empty"):
        await restore(original, root, tmp_path / "other", **s3_place.settings)
    await restore(original, tmp_path / "again", tmp_path / "home")
    await require_whole(original, tmp_path / "home", sqlite_url(tmp_path / "home"))


async def test_a_second_backup_copies_only_what_is_new_and_a_kept_number_is_not_given_again(kept, root, tmp_path):
    await back_up(kept, root)
    kept.change("INSERT INTO staff_codes VALUES ('123456', NULL, 'x', '2026-11-23 10:00:00.000000', NULL, NULL)")
    kept.change("UPDATE sqlite_sequence SET seq = 99 WHERE name = 'packets'")
    second = await back_up(
        kept, root, now=NOW - timedelta(minutes=30)
    )  # the clock was set back: it is the newest all the same
    assert second.copied.count == 0
    await restore(kept, root, tmp_path / "new")
    assert len((await rows_of(sqlite_url(tmp_path / "new")))["staff_codes"]) == 1
    again = Kept(kept.keys, tmp_path / "new", [], [])
    assert again.rows("SELECT seq FROM sqlite_sequence WHERE name = 'packets'") == [(99,)]
    with open_backups(root, writing=False) as folder:
        first = folder.names()[0]
    await restore(kept, root, tmp_path / "older", name=first)
    assert (await rows_of(sqlite_url(tmp_path / "older")))["staff_codes"] == []


async def test_only_the_objects_that_no_other_backup_needs_go_with_one_whose_time_is_over(kept, root, tmp_path):
    await back_up(kept, root, days=1)
    gone = json.loads(kept.receipts[0])["entry"]["packet_sha256"]
    kept.change(f"DELETE FROM packets WHERE sha256 = '{gone}'")
    later = NOW + timedelta(days=2)
    made = await back_up(kept, root, now=later)
    assert (len(made.dropped.backups), made.dropped.objects) == (1, 1)
    with open_backups(root, writing=False) as folder:
        assert folder.names() == [made.manifest.name]
        assert not folder.path_of("packets", gone).exists()
    assert not list(root.glob(".making*"))
    with pytest.raises(BackupRefusedError, match="is over"):
        await restore(kept, root, tmp_path / "new", now=later + KEPT)
    assert not (tmp_path / "new").exists()


async def test_a_missing_or_damaged_object_does_not_keep_the_others_from_the_backup(kept, root, tmp_path):
    missing, damaged = (json.loads(one)["entry"]["packet_sha256"] for one in kept.receipts[:2])
    (kept.data / "objects" / "packets" / missing[:2] / missing).unlink()
    (kept.data / "objects" / "packets" / damaged[:2] / damaged).write_bytes(b"x")
    made = await back_up(kept, root)
    assert sorted(made.manifest.lacking) == sorted(f"packets/{one}" for one in (missing, damaged))
    assert made.copied.count == SIZE - 2
    restored = await restore(kept, root, tmp_path / "new")
    assert restored.objects == SIZE - 2


async def test_an_object_that_is_deleted_meanwhile_makes_the_moment_a_later_one(kept, root, monkeypatch):
    gone = max(json.loads(one)["entry"]["packet_sha256"] for one in kept.receipts)  # the last to be copied
    chosen = settings(kept, kept.data)
    async with open_present_store(chosen.resolved_database_url) as store, open_objects(chosen) as objects:
        real, deleted = objects.packets.read, []

        async def read(name: str) -> bytes:
            if not deleted:  # the moment is taken, the copying has begun
                deleted.append(gone)
                assert await objects.packets.delete(gone)
                async with store.writing() as connection:
                    await connection.execute(sa.delete(packets).where(packets.c.sha256 == gone))
            return await real(name)

        monkeypatch.setattr(objects.packets, "read", read)
        trust = load_trust(kept.keys.folder / "ca.pem")
        made = await make_backup(BackupRooms(store, objects, kept.signer, trust, lambda: NOW, KEPT), root)
    assert deleted == [gone]
    assert (made.manifest.lacking, made.manifest.objects.lines) == ([], SIZE - 1)


def harm_bit(backup: Path) -> None:
    data = bytearray((backup / "packets.gz").read_bytes())
    data[len(data) // 2] ^= 1
    (backup / "packets.gz").write_bytes(data)


def harm_end(backup: Path) -> None:
    path = backup / "log_nodes.gz"
    path.write_bytes(path.read_bytes()[:-9])


def harm_object(backup: Path) -> None:
    path = next(path for path in sorted((backup.parent / "objects" / "packets").rglob("*")) if path.is_file())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def harm_link(backup: Path) -> None:
    path = backup / "staff_codes.gz"
    path.rename(backup.parent.parent / "elsewhere.gz")
    path.symlink_to(backup.parent.parent / "elsewhere.gz")


def harm_manifest(backup: Path) -> None:
    data = (backup / "manifest.cms").read_bytes()
    (backup / "manifest.cms").write_bytes(data.replace(b'"log_size":12', b'"log_size":11'))


def harm_name(backup: Path) -> None:
    backup.rename(backup.with_name("00000007-20301123T183000Z"))


HARMS = {
    "a flipped bit in rows": (harm_bit, r"packets\.gz (is not what was written|cannot be unpacked)"),
    "rows cut off": (harm_end, r"log_nodes\.gz is not as long"),
    "rows gone": (lambda backup: (backup / "log_heads.gz").unlink(), r"log_heads\.gz is missing"),
    "rows behind a link": (harm_link, r"staff_codes\.gz cannot be opened as a file"),
    "a flipped bit in an object": (harm_object, r"The object packets/[0-9a-f]{64} is damaged"),
    "an object gone": (
        lambda backup: next(p for p in (backup.parent / "objects").rglob("*") if p.is_file()).unlink(),
        r"1 objects of .* are missing",
    ),
    "the list of objects gone": (lambda backup: (backup / "objects.gz").unlink(), r"objects\.gz is missing"),
    "a changed manifest": (harm_manifest, "is not one of a trusted intake"),
    "no manifest": (lambda backup: (backup / "manifest.cms").unlink(), r"manifest\.cms is missing"),
    "a manifest under another name": (harm_name, "is that of another backup"),
}


@pytest.mark.parametrize("harm", HARMS)
async def test_a_damaged_backup_is_told_and_nothing_is_restored(original, made, tmp_path, harm):
    change, told = HARMS[harm]
    change(next(path for path in made.iterdir() if path.name.startswith("0")))
    with pytest.raises(BackupDamagedError, match=told):
        await restore(original, made, tmp_path / "new")
    left = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert left == []


def resigned(kept: Kept, backup: Path, **changes) -> None:
    """A manifest that an intake's key signed, with other content."""
    trust = load_trust(kept.keys.folder / "ca.pem")
    manifest = read_manifest((backup / "manifest.cms").read_bytes(), trust, backup.name)
    signed = sign_manifest(manifest.model_copy(update=changes), kept.signer())
    (backup / "manifest.cms").write_bytes(signed)


async def test_what_a_signed_manifest_must_not_name_is_refused_too(original, root, tmp_path):
    made = await back_up(original, root)
    tables, manifest = made.manifest.tables, (made.folder / "manifest.cms").read_bytes()
    outside = tables[0].model_copy(update={"name": "../../outside"})
    resigned(original, made.folder, tables=[outside, *tables[1:]])
    with pytest.raises(BackupDamagedError, match=r"breaks its schema at 'tables\.0\.name'"):
        await restore(original, root, tmp_path / "new")
    others = {
        "the schema 0999, which this version does not know": {"revision": "0999"},
        "not those of the schema 0001 here": {"revision": "0001"},
        f"not those of the schema {made.manifest.revision} here": {"tables": tables[1:]},
    }
    for told, changes in others.items():
        (made.folder / "manifest.cms").write_bytes(manifest)
        resigned(original, made.folder, **changes)
        with pytest.raises(BackupRefusedError, match=told):
            await restore(original, root, tmp_path / "new")
    shuffled = made.folder / "objects.gz"
    lines = gzip.decompress(shuffled.read_bytes()).splitlines()
    shuffled.unlink()
    with new_lines(shuffled) as writer:
        writer.add([*lines[:-1], b"packets ../../../etc/passwd 7"])
        facts = writer.finish()
    (made.folder / "manifest.cms").write_bytes(manifest)
    objects = made.manifest.objects.model_copy(update={"size": facts.size, "sha256": facts.sha256})
    resigned(original, made.folder, objects=objects)
    with pytest.raises(BackupDamagedError, match="a line of the list of objects has the wrong form"):
        await restore(original, root, tmp_path / "new")
    assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == []


async def test_another_authoritys_backup_is_not_believed(original, made, tmp_path):
    stranger = Kept(Keys(tmp_path / "other-pki"), original.data, [], [])
    with pytest.raises(BackupDamagedError, match="not one of a trusted intake"):
        await restore(stranger, made, tmp_path / "new")


async def test_an_older_schema_is_brought_to_this_versions(kept, root, tmp_path):
    """Also with rows that this version's tables have more columns for: the schema before the newest one."""
    from server.store import make_engine, migrate

    engine = make_engine(sqlite_url(kept.data))
    await migrate(engine, "0005")
    await engine.dispose()
    made = await back_up(kept, root)
    assert made.manifest.revision == "0005"
    await restore(kept, root, tmp_path / "new")
    await require_whole(kept, tmp_path / "new", sqlite_url(tmp_path / "new"))


async def test_nothing_is_restored_over_anything(kept, root, tmp_path):
    await back_up(kept, root)
    before = files_of(kept.data)
    with pytest.raises(BackupRefusedError, match="The database is not empty"):
        await restore(kept, root, kept.data)
    kept.database.unlink()
    with pytest.raises(BackupRefusedError, match="place of the packets is not empty"):
        await restore(kept, root, kept.data)
    assert files_of(kept.data) == before
    assert not kept.database.exists()
    assert not (kept.data / MARK).exists()


async def test_nothing_outside_of_the_folder_is_written_or_removed_whatever_lies_in_it(original, made, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ("ab" * 32)).write_bytes(b"somebody else's")
    collection = made / "objects" / "packets"
    folder = min(collection.iterdir())
    shutil.rmtree(folder)
    folder.symlink_to(outside)
    with pytest.raises(BackupDamagedError, match="is no folder"):
        await back_up(original, made)
    backup = made / "00000001-20261123T000000Z"
    backup.symlink_to(outside)
    code, _, told = run("backup", "prune", made, "--pki", original.keys.folder)
    assert (code, "is no folder" in told) == (2, True)
    assert [path.read_bytes() for path in outside.iterdir()] == [b"somebody else's"]


async def test_a_commit_that_was_made_though_it_looked_otherwise_is_not_taken_back(
    original, made, tmp_path, monkeypatch
):
    real = Store.writing

    @contextlib.asynccontextmanager
    async def writing(self):
        async with real(self) as connection:
            yield connection
        raise StorageUnavailableError("the answer to the commit was lost")

    monkeypatch.setattr(Store, "writing", writing)
    with pytest.raises(StorageUnavailableError):
        await restore(original, made, tmp_path / "new")
    monkeypatch.undo()
    assert (tmp_path / "new" / MARK).exists()
    await restore(original, made, tmp_path / "new")  # goes on behind it
    await require_whole(original, tmp_path / "new", sqlite_url(tmp_path / "new"))


async def test_a_restore_that_is_stopped_by_hand_leaves_the_place_as_empty_as_it_was(original, made, tmp_path):
    def stop(name: str, done: int, _total: int) -> None:
        if (name, done) == ("packets", SIZE):  # all objects are copied, rows are in the transaction
            asyncio.current_task().cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(restore(original, made, tmp_path / "new", step=stop))
    assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == []


async def test_an_intake_on_another_machine_that_begins_meanwhile_keeps_its_rows_and_its_objects(
    original, made, tmp_path
):
    """It shares database and place, and knows nothing of the mark in the data folder of this machine."""
    data, theirs = tmp_path / "new", []

    def begin(name: str, done: int, total: int) -> None:
        if name == "objects" and done == total and not theirs:
            theirs.append(threading.Thread(target=asyncio.run, args=(migrated(sqlite_url(data)),)))
            theirs[0].start()
            theirs[0].join()

    async def migrated(url: str) -> None:
        async with open_store(url):
            pass

    with pytest.raises(BackupRefusedError, match="not empty"):
        await restore(original, made, data, step=begin)
    assert theirs
    assert not (data / MARK).exists()
    async with open_store(sqlite_url(data)) as store:
        assert await store.newest(1) == []
    copied = [path for path in (data / "objects" / "packets").rglob("*") if path.is_file()]
    assert copied, "they lie among the other intake's, which may need them"


async def test_while_a_restore_is_marked_no_other_one_and_no_program_begins(original, made, tmp_path):
    data = tmp_path / "new"
    data.mkdir()
    put_mark(data, "00000001-20261123T000000Z")
    with pytest.raises(BackupRefusedError, match="Another restore was begun here"):
        await restore(original, made, data)
    with pytest.raises(SettingsError, match="has not come to its end"):
        await run_intake(settings(original, data), lambda _url: None)
    with pytest.raises(SettingsError, match="has not come to its end"):
        await await_store(settings(original, data))


def test_a_file_with_more_lines_than_were_written_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"\n" * 30_000_000))  # 30 kB
    read = read_lines(path, WrittenFile(5, path.stat().st_size, "0" * 64))
    with pytest.raises(BackupDamagedError, match="more lines"):
        next(read)


async def test_two_commands_do_not_work_in_one_folder(original, made):
    with open_backups(made, writing=False), pytest.raises(BackupBusyError):
        await back_up(original, made)
    with open_backups(made, writing=False), open_backups(made, writing=False):
        pass


async def test_backups_are_not_strewn_among_other_files_and_not_made_on_a_disk_that_is_not_there(original, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("x")
    with pytest.raises(BackupRefusedError, match="holds other files"):
        await back_up(original, tmp_path / "full")
    with pytest.raises(BackupRefusedError, match="is its disk mounted"):
        await back_up(original, tmp_path / "not mounted" / "backups")
    with pytest.raises(BackupRefusedError, match="no folder of backups"), open_backups(tmp_path, writing=False):
        pass


def run(*arguments: object):
    answer = CliRunner().invoke(app, [*map(str, arguments)])
    return answer.exit_code, answer.stdout, answer.stderr


def test_the_commands_tell_what_they_did_with_their_exit_codes(original, root, tmp_path):
    pki = original.keys.folder
    code, told, _ = run("backup", root, "--data", original.data, "--pki", pki)
    assert (code, f"{SIZE} of them new" in told) == (0, True)
    code, told, _ = run("backup", root, "--data", original.data, "--pki", pki, "--json", "--keep-days", 3)
    assert (code, json.loads(told)["new_objects"]) == (0, 0)
    code, told, _ = run("backup", "list", root, "--pki", pki, "--max-age-hours", 26)
    assert (code, len(told.splitlines())) == (0, 2)
    assert run("backup", "list", root, "--pki", pki, "--max-age-hours", 0)[0] == 1
    code, told, _ = run("backup", "verify", root, "--pki", pki, "--json")
    assert (code, json.loads(told)["sound"]) == (0, True)
    code, told, _ = run("restore", root, "--data", tmp_path / "new", "--pki", pki)
    assert (code, f"log of {SIZE} entries is sound" in told) == (0, True)
    code, _, told = run("restore", root, "--data", tmp_path / "new", "--pki", pki)
    assert (code, "not empty" in told) == (2, True)
    code, told, _ = run("backup", "prune", root, "--pki", pki, "--json")
    assert (code, json.loads(told)) == (0, {"removed": [], "objects": 0, "bytes": 0, "left": 2})
    harm_object(next(path for path in root.iterdir() if path.name.startswith("0")))
    code, told, _ = run("backup", "verify", root, "--pki", pki)
    assert (code, "is damaged" in told, "NOT SOUND: 1 faults" in told) == (1, True, True)
    assert run("backup", "list", tmp_path, "--pki", pki)[0] == 2


async def test_a_value_of_another_kind_ends_the_backup_in_one_sentence(kept, root):
    kept.change("UPDATE packets SET receipt = 'text' WHERE position = 5")
    with pytest.raises(BackupRefusedError, match="another kind than its column"):
        await back_up(kept, root)
    assert not [path for path in root.iterdir() if path.name.startswith(("0", ".making"))]


async def test_every_table_and_every_kind_of_column_has_a_form_in_a_backup(tmp_path):
    async with open_store(sqlite_url(tmp_path)) as store, store.reading() as connection:
        found = {table.name: dict(table.columns) for table in await read_tables(connection)}
    from server.store import metadata

    assert {table.name: {column.name for column in table.c} for table in metadata.sorted_tables} == {
        name: set(columns) for name, columns in found.items()
    }
