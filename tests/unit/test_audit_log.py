"""The desk's audit log: one line across desks, sealed, durable before the answer; every change by SQL is found, and what a table alone cannot show, a witness does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from crypto.audit_entry import open_entry
from crypto.desk_secret import DeskSecret, generate_desk_secret, load_desk_secret
from crypto.errors import AuditEntryError
from crypto.keys import SignerSource, TrustStore, load_trust
from server.audit import NOBODY, Action, AuditLog, audit_log
from server.audit_errors import AuditUnavailableError
from server.audit_reading import Wanted, newest_rows, read_line
from server.audit_trail import Trail, Witness, check_trail
from server.audit_witness import FILE_NAME, read_witness
from server.cli import app
from server.store import Store, make_engine, open_store
from tests.sealed_packets import Keys

ENTRIES = 7
DIGEST = "ab" * 32


@dataclass
class Kept:
    """A database with some entries, its witness, and an older copy of it."""

    data: Path
    keys: Path
    secret: DeskSecret
    trust: TrustStore

    @property
    def database(self) -> Path:
        return self.data / "intake.sqlite3"

    def witness(self) -> Witness:
        known = read_witness(self.data / FILE_NAME, self.secret)
        assert known is not None
        return Witness("the desk", known)


def log_over(store: Store, kept: Kept, *, signs: bool = False, **more) -> AuditLog:
    signer = SignerSource(f"file:{kept.keys / 'desk.key'}").current if signs else None
    return AuditLog(store, kept.secret, kept.data, signer=signer, now=lambda: datetime.now(UTC), **more)


@contextlib.asynccontextmanager
async def stored(kept: Kept):
    async with open_store(f"sqlite+aiosqlite:///{kept.database}") as store:
        yield store


@pytest.fixture(scope="session")
def pki(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("audit-keys") / "pki")


@pytest.fixture
def kept(pki, tmp_path) -> Kept:
    data = tmp_path / "data"
    data.mkdir()
    keys = pki.folder
    return Kept(data, keys, load_desk_secret(keys / "desk.secret"), load_trust(keys / "ca.pem"))


@pytest.fixture(scope="module")
def original(pki, tmp_path_factory) -> Kept:
    """Some entries under the secret and some signed; `older.sqlite3` is the database as it was before the last two."""
    data = tmp_path_factory.mktemp("audit") / "data"
    data.mkdir()
    made = Kept(data, pki.folder, load_desk_secret(pki.folder / "desk.secret"), load_trust(pki.folder / "ca.pem"))

    async def write() -> None:
        async with stored(made) as store:
            under_secret, signed = log_over(store, made), log_over(store, made, signs=True)
            await under_secret.note("u-0000000a", Action.SIGN_IN)
            await signed.note("u-0000000a", Action.PACKETS_LISTED, count=25, packets=DIGEST)
            await signed.note("u-0000000a", Action.PACKET_SEEN, DIGEST)
            await under_secret.note("u-0000000b", Action.PACKET_HELD, DIGEST)
            await signed.note("u-0000000b", Action.DENIED, "booth-0001", permission="fleet.act")
            async with store.writing() as connection:
                await connection.exec_driver_sql("SELECT 1")
            await asyncio.to_thread(copy_database, made.database, data / "older.sqlite3")
            await under_secret.note("u-0000000a", Action.PACKET_ACCEPTED, DIGEST)
            await signed.note("u-0000000a", Action.SIGN_OUT)

    asyncio.run(write())
    return made


def copy_database(source: Path, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(target)) as new:
        old.backup(new)


class Harmed:
    """One copy of the database after the other, each changed by hand."""

    def __init__(self, kept: Kept, path: Path) -> None:
        self.kept, self.path = kept, path
        copy_database(kept.database, path)
        self.bytes = path.read_bytes()
        self._engine = make_engine(
            f"sqlite+aiosqlite:///{path}", blocking=True
        )  # what it compiled is most of a look at seven entries

    def look(self, harm, *, witnessed: bool = True) -> Trail | None:
        """What is found after the harm; None when the database refuses it."""
        for name in (f"{self.path}-wal", f"{self.path}-shm"):
            Path(name).unlink(missing_ok=True)
        self.path.write_bytes(self.bytes)
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            try:
                with connection:
                    harm(connection)
            except sqlite3.IntegrityError:
                return None
        return asyncio.run(self._check([self.kept.witness()] if witnessed else []))

    async def _check(self, witnesses: list[Witness]) -> Trail:
        try:
            return await check_trail(Store(self._engine), self.kept.trust, self.kept.secret, witnesses=witnesses)
        finally:
            await self._engine.dispose()

    def is_found(self, harm) -> bool:
        trail = self.look(harm)
        return trail is None or not trail.sound


@pytest.fixture(scope="module")
def harmed(original, tmp_path_factory):
    return Harmed(original, tmp_path_factory.mktemp("harmed") / "intake.sqlite3")


COLUMNS = tuple(column.name for column in audit_log.columns)
NUMBERS = st.integers(1, ENTRIES)


def rows_of(connection) -> list[tuple]:
    return connection.execute(f"SELECT {', '.join(COLUMNS)} FROM audit_log ORDER BY number").fetchall()


def test_the_log_as_it_was_left_is_sound(harmed):
    trail = harmed.look(lambda connection: None)
    assert trail.findings == []
    assert (trail.entries, trail.signed, trail.under_secret, trail.unchecked) == (ENTRIES, 4, 3, 0)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=NUMBERS,
    column=st.sampled_from(COLUMNS),
    value=st.one_of(
        st.none(),
        st.integers(-(2**40), 2**40),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=20),
        st.binary(max_size=40),
        st.just("2026-11-23 12:00:00.000000"),
        st.sampled_from(sorted(Action)).map(str),
    ),
)
def test_any_value_of_any_row_that_becomes_another_is_found(harmed, number, column, value):
    unchanged = []

    def harm(connection):
        before = rows_of(connection)
        connection.execute(f"UPDATE audit_log SET {column} = ? WHERE number = ?", (value, number))
        unchanged.append(repr(before) == repr(rows_of(connection)))

    assert harmed.is_found(harm) or unchanged == [True]


@settings(max_examples=12)
@given(number=NUMBERS, place=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_any_flipped_bit_of_an_entry_is_found(harmed, number, place, bit):
    def harm(connection):
        ((entry,),) = connection.execute("SELECT entry FROM audit_log WHERE number = ?", (number,)).fetchall()
        changed = bytearray(entry)
        changed[int(place * len(changed))] ^= 1 << bit
        connection.execute("UPDATE audit_log SET entry = ? WHERE number = ?", (bytes(changed), number))

    assert harmed.is_found(harm)


@settings(max_examples=12)
@given(numbers=st.sets(NUMBERS, min_size=1))
def test_any_rows_that_are_taken_out_are_found(harmed, numbers):
    def harm(connection):
        connection.executemany("DELETE FROM audit_log WHERE number = ?", [(number,) for number in numbers])

    assert not harmed.look(harm).sound


@settings(max_examples=12)
@given(numbers=st.sets(NUMBERS, min_size=1), close=st.booleans())
def test_rows_taken_out_with_the_others_moved_together_are_found(harmed, numbers, close):
    """The gap is closed, and with `close` the columns are all that is changed of what is left."""

    def harm(connection):
        connection.executemany("DELETE FROM audit_log WHERE number = ?", [(number,) for number in numbers])
        left = [row[0] for row in rows_of(connection)]
        if close:
            for new, old in enumerate(left, start=1):
                connection.execute("UPDATE audit_log SET number = ? WHERE number = ?", (new, old))

    assert not harmed.look(harm).sound


@settings(max_examples=12)
@given(
    pair=st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] != pair[1]),
    column=st.sampled_from(["*", *COLUMNS[1:]]),
)
def test_two_rows_that_change_places_or_values_are_found(harmed, pair, column):
    unchanged = []

    def harm(connection):
        before = rows_of(connection)
        rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in before}
        for here, there in (pair, pair[::-1]):
            for name in COLUMNS[1:] if column == "*" else (column,):
                connection.execute(f"UPDATE audit_log SET {name} = ? WHERE number = ?", (rows[there][name], here))
        unchanged.append(before == rows_of(connection))

    assert harmed.is_found(harm) or unchanged == [True]


@settings(max_examples=6)
@given(source=NUMBERS, number=st.integers(-3, ENTRIES + 3).filter(lambda number: not 1 <= number <= ENTRIES))
def test_a_row_that_is_put_in_is_found(harmed, source, number):
    def harm(connection):
        row = rows_of(connection)[source - 1]
        marks = ", ".join("?" * len(COLUMNS))
        connection.execute(f"INSERT INTO audit_log ({', '.join(COLUMNS)}) VALUES ({marks})", (number, *row[1:]))

    assert not harmed.look(harm).sound


def test_an_entry_made_with_another_secret_is_found(harmed, original, tmp_path):
    """Somebody who writes a whole log anew, with a secret of his own."""
    forger = Kept(tmp_path, original.keys, generate_desk_secret(), original.trust)

    async def forge() -> None:
        async with stored(forger) as store:
            log = log_over(store, forger)
            for _ in range(ENTRIES):
                await log.note("u-0000000a", Action.SIGN_IN)

    asyncio.run(forge())

    def harm(connection):
        connection.execute("DELETE FROM audit_log")
        connection.execute("ATTACH ? AS forged", (str(forger.database),))
        connection.execute("INSERT INTO audit_log SELECT * FROM forged.audit_log")
        connection.commit()
        connection.execute("DETACH forged")

    trail = harmed.look(harm)
    assert {one.code for one in trail.findings} == {"entry.seal", "witness.other"}
    assert trail.found == ENTRIES + 1


@pytest.mark.parametrize("keep", range(ENTRIES))
def test_a_tail_that_is_cut_off_is_found_with_the_witness_alone(harmed, keep):
    def harm(connection):
        connection.execute("DELETE FROM audit_log WHERE number > ?", (keep,))

    assert {one.code for one in harmed.look(harm).findings} == {"witness.missing"}
    assert harmed.look(harm, witnessed=False).sound


def test_a_table_that_was_exchanged_for_an_older_copy_is_found(harmed, original):
    def harm(connection):
        connection.execute("ATTACH ? AS older", (str(original.data / "older.sqlite3"),))
        connection.execute("DELETE FROM audit_log")
        connection.execute("INSERT INTO audit_log SELECT * FROM older.audit_log")
        connection.commit()
        connection.execute("DETACH older")

    trail = harmed.look(harm)
    assert [(one.code, one.number) for one in trail.findings] == [("witness.missing", ENTRIES)]


def test_a_table_that_lost_its_key_is_found(harmed):
    def strip(connection):
        connection.execute("CREATE TABLE bare AS SELECT * FROM audit_log")
        connection.execute("DROP TABLE audit_log")
        connection.execute("ALTER TABLE bare RENAME TO audit_log")

    assert {one.code for one in harmed.look(strip).findings} == {"table.keys"}


async def test_a_desk_that_finds_its_last_entry_gone_goes_on_and_says_so_for_ever(kept):
    async with stored(kept) as store:
        log = log_over(store, kept)
        for _ in range(3):
            await log.note("u-0000000a", Action.SIGN_IN)
        async with store.writing() as connection:
            await connection.execute(sa.delete(audit_log).where(audit_log.c.number > 1))
        assert await log.note("u-0000000a", Action.SIGN_OUT) == 3
        assert await log.note("u-0000000a", Action.SIGN_IN) == 4
        trail = await check_trail(store, kept.trust, kept.secret, witnesses=[kept.witness()])
        assert [(one.code, one.number) for one in trail.findings] == [("log.resumed", 2)]
        assert "written up to entry 3" in trail.findings[0].text
        (row,) = await newest_rows(store, Wanted(action=Action.LOG_RESUMED), 5)
        assert read_line(row, kept.trust, kept.secret).entry.facts["known_number"] == 3
        assert (await check_trail(store, kept.trust, kept.secret, witnesses=[kept.witness()], known=[2])).sound
        # Other entries at the same places are noticed too.
        async with store.writing() as connection:
            await connection.execute(sa.delete(audit_log).where(audit_log.c.number > 1))
        other = Kept(kept.data / "other", kept.keys, kept.secret, kept.trust)
        other.data.mkdir()
        for _ in range(5):
            await log_over(store, other).note("u-0000000b", Action.SIGN_IN)
        await log.note("u-0000000a", Action.SIGN_OUT)
        trail = await check_trail(store, kept.trust, kept.secret, witnesses=[kept.witness(), other.witness()])
        assert [one.code for one in trail.findings] == ["log.resumed"]
        assert trail.joined == [2], "a desk that remembered nothing"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, kept) -> str:
    return (
        request.getfixturevalue("postgres_url")
        if request.param == "postgres"
        else f"sqlite+aiosqlite:///{kept.database}"
    )


async def test_desks_that_write_at_once_write_one_line(kept, url):
    async with open_store(url) as one, open_store(url) as other:
        logs = [log_over(one, kept, signs=True), log_over(other, kept), log_over(other, kept)]
        await logs[0].note(NOBODY, Action.SIGN_IN_REFUSED)
        numbers = await asyncio.gather(
            *(log.note(f"u-{place}", Action.PACKET_SEEN, DIGEST) for _ in range(4) for place, log in enumerate(logs))
        )
        assert sorted(numbers) == list(range(2, 14))
        trail = await check_trail(one, kept.trust, kept.secret, witnesses=[kept.witness()])
        assert (trail.findings, trail.entries, trail.last) == ([], 13, kept.witness().entry)
        await other.check()
        if url.startswith("postgresql"):
            await postgres_changes_are_found(url, one, kept)


async def postgres_changes_are_found(url: str, store: Store, kept: Kept) -> None:
    changes = {
        "number": "number + 100",
        "at": "at + interval '1 second'",
        "actor": "'u-9'",
        "action": "'packet.accept'",
        "subject": "''",
        "entry": "entry || '\\x00'::bytea",
    }
    assert set(changes) == set(COLUMNS)
    engine = make_engine(url)
    for column, value in changes.items():
        async with engine.connect() as connection:
            row = (await connection.execute(sa.select(audit_log).where(audit_log.c.number == 5))).one()
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"UPDATE audit_log SET {column} = {value} WHERE number = 5")
        assert not (await check_trail(store, kept.trust, kept.secret)).sound, column
        async with engine.begin() as connection:
            await connection.execute(
                sa.delete(audit_log).where(sa.or_(audit_log.c.number == 5, audit_log.c.number > 100))
            )
            await connection.execute(sa.insert(audit_log), [dict(row._mapping)])
    assert (await check_trail(store, kept.trust, kept.secret)).sound
    await engine.dispose()


async def test_an_entry_says_what_was_done_and_holds_no_sentence(kept):
    async with stored(kept) as store:
        log = log_over(store, kept)
        await log.note("u-0000000a", Action.PACKET_SEEN, DIGEST, page="accept", count=3, flag=True)
        for actor, subject, facts in (
            ("Anna Schmidt", DIGEST, {}),
            ("u-0000000a", "Anna Schmidt", {}),
            ("u-0000000a", "", {"name": "Анна"}),
            ("u-0000000a", "", {"number": "A 1234567"}),
            ("u-0000000a", "", {"Count": 1}),
            ("u-0000000a", "", {"count": 2**60}),
            ("u-0000000a", "x" * 129, {}),
        ):
            with pytest.raises(AuditUnavailableError) as refused:
                await log.note(actor, Action.PACKET_SEEN, subject, **facts)
            assert isinstance(refused.value.__cause__, AuditEntryError)
            assert "Anna" not in str(refused.value.__cause__)
        (row,) = await newest_rows(store, Wanted(), 5)
        entry = open_entry(row.entry, kept.trust, kept.secret)
        assert (entry.actor, entry.action, entry.subject) == ("u-0000000a", "packet.see", DIGEST)
        assert entry.facts == {"page": "accept", "count": 3, "flag": True}
        with pytest.raises(AuditEntryError, match="name the secret"):
            open_entry(row.entry, kept.trust, None)
        assert len(log.application("ab" * 32)) == 64
        assert log.keyed("network", "192.0.2.1") != log.keyed("network", "192.0.2.2")


async def test_pictures_of_a_packet_are_one_entry_in_ten_minutes_and_session(kept):
    time = [0.0]
    async with stored(kept) as store:
        log = log_over(store, kept, clock=lambda: time[0])
        for session, action in (
            ("a", Action.PORTRAIT_SEEN),
            ("a", Action.FRAMES_SEEN),
            ("b", Action.PORTRAIT_SEEN),
        ) * 3:
            await log.note_once(session, "u-1", action, DIGEST)
        assert len(await newest_rows(store, Wanted(), 50)) == 3
        time[0] = 601.0
        await log.note_once("a", "u-1", Action.PORTRAIT_SEEN, DIGEST)
        assert len(await newest_rows(store, Wanted(), 50)) == 4


async def test_what_cannot_be_remembered_beside_the_database_is_refused(kept):
    async with stored(kept) as store:
        log = log_over(store, kept)
        await log.note(NOBODY, Action.SIGN_IN_REFUSED)
        (kept.data / FILE_NAME).write_text('{"version":1}')
        with pytest.raises(AuditUnavailableError):
            await log.note(NOBODY, Action.SIGN_IN_REFUSED)
        assert len(await newest_rows(store, Wanted(), 5)) == 1


def run(*arguments: object):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def test_the_command_verifies_and_lists(original, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(original.data, data)
    fixed = ("--data", data, "--pki", original.keys)
    told = json.loads(run("verify", *fixed, "--json").stdout)
    assert (told["sound"], told["entries"], told["witnesses"]) == (True, ENTRIES, 1)
    assert "continuation of all 1 witnesses" in run("verify", *fixed).stdout
    without = run("verify", "--data", data, "--trust", original.keys / "ca.pem")
    assert (without.exit_code, "3 NOT CHECKED" in without.stdout) == (0, True)
    listed = run("list", *fixed, "--actor", "u-0000000b", "--json")
    assert [json.loads(line)["action"] for line in listed.stdout.splitlines()] == ["denied", "packet.hold"]
    assert len(run("list", *fixed, "--subject", "abab", "--limit", "2").stdout.splitlines()) == 2
    assert run("list", *fixed, "--subject", "abb").stdout == ""
    assert len(run("list", *fixed, "--from", "2020-01-01", "--to", "2021-01-01").stdout) == 0
    assert run("list", *fixed, "--action", "sing_in").exit_code == 2
    kept_elsewhere = tmp_path / "kept.witness"
    shutil.copyfile(data / FILE_NAME, kept_elsewhere)
    with contextlib.closing(sqlite3.connect(data / "intake.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM audit_log WHERE number = 7")
    cut = run("verify", *fixed)
    assert (cut.exit_code, "witness.missing at entry 7" in cut.stdout, "NOT SOUND" in cut.stdout) == (1, True, True)
    (data / FILE_NAME).unlink()
    assert "Without a witness" in run("verify", *fixed).stdout
    assert run("verify", *fixed, "--witness", kept_elsewhere).exit_code == 1
    kept_elsewhere.write_bytes(kept_elsewhere.read_bytes().replace(b'"number":7', b'"number":6'))
    forged = run("verify", *fixed, "--witness", kept_elsewhere)
    assert (forged.exit_code, "or was changed" in forged.stderr) == (2, True)
    assert run("verify", "--data", tmp_path / "none", "--pki", original.keys).exit_code == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_a_witness_that_root_writes_belongs_to_whom_the_folder_belongs_to(kept):
    os.chown(kept.data, 65534, 65534)
    async with stored(kept) as store:
        for _ in range(2):
            await log_over(store, kept).note("operator", Action.USER_ADDED, "u-0000000a")
    owners = {path.name: path.stat().st_uid for path in kept.data.glob("audit.*")}
    assert owners == {FILE_NAME: 65534, f"{FILE_NAME}.lock": 65534}
