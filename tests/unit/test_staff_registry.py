"""The registry of staff codes at the intake: what the command does, what the list says, who gets it, and that numbers never go back."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from crypto.keys import Purpose, load_trust
from crypto.staff_code import matches, read_code
from crypto.staff_list import MEDIA_TYPE, verify_staff_list
from server.cli import app
from server.errors import StaffListUnknownError, StaffRefusedError
from server.staff import LIST_LIFE, StaffLists, StaffRegistry, StaffRow
from server.store import open_store
from tests.intake_rig import problem, running
from tests.packets import NOW, World, make_signer, make_world
from tests.sealed_packets import Keys

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def signer(world):
    return make_signer(world.authority, "staff-office", purposes=[Purpose.STAFF.oid])


@pytest.fixture
async def store(tmp_path):
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}") as opened:
        yield opened


@pytest.fixture
def quick_hash(monkeypatch):
    """One hash for all: what is asked here is not how it is made."""
    stored = "$argon2id$v=19$m=65536,t=3,p=1$" + "A" * 22 + "$" + "B" * 43
    monkeypatch.setattr("server.staff.hash_code", lambda _: stored)


class Office:
    """A registry and two intakes on its database, at a time that the test sets."""

    def __init__(self, store, signer):
        self.at, self.monotonic = NOW, 0.0
        self.registry = StaffRegistry(store, lambda: self.at)
        self.lists, self.other = (
            StaffLists(store, lambda: signer, lambda: self.at, lambda: self.monotonic) for _ in range(2)
        )

    def later(self, span):
        self.at += span
        self.monotonic += span.total_seconds()


@pytest.fixture
def office(store, signer):
    return Office(store, signer)


async def test_a_code_is_told_once_and_its_hash_is_in_the_next_list(office, world):
    code = await office.registry.add(None, "centre-07", NOW + DAY)
    listed = verify_staff_list((await office.lists.current()).data, world.trust)
    (entry,) = listed.staff
    assert (entry.staff, entry.centre, entry.expires_at) == (code.staff, "centre-07", NOW + DAY)
    assert matches(entry.hash, code)
    assert listed.number == int(NOW.timestamp())
    assert listed.expires_at == NOW + LIST_LIFE
    assert code.secret not in str(await office.registry.rows())


async def test_what_changed_is_in_a_list_with_a_higher_number(office, world, quick_hash):
    first = await office.lists.current()
    code = await office.registry.add("482103", None, NOW + 2 * DAY)
    office.later(timedelta(seconds=6))
    second = await office.lists.current()
    await office.registry.revoke(code.staff)
    third = await office.other.current()  # within the same second
    office.later(timedelta(seconds=6))
    assert (await office.lists.current()) == third
    numbers = [one.number for one in (first, second, third)]
    assert numbers == sorted(set(numbers))
    counted = [len(verify_staff_list(one.data, world.trust).staff) for one in (first, second, third)]
    assert counted == [0, 1, 0]


async def test_a_list_is_made_anew_in_the_middle_of_its_life_and_when_a_code_ends(office, world, quick_hash):
    await office.registry.add("482103", None, NOW + DAY)
    first = await office.lists.current()
    office.later(timedelta(hours=20))
    assert await office.lists.current() == first
    office.later(timedelta(hours=5))
    second = await office.lists.current()
    assert verify_staff_list(second.data, world.trust).staff == ()
    office.later(LIST_LIFE / 2)
    third = await office.lists.current()
    assert first.number < second.number < third.number


async def test_a_clock_that_was_set_back_never_sets_the_number_back(office, quick_hash):
    first = await office.lists.current()
    office.at -= 5 * DAY
    office.monotonic += 10
    second = await office.lists.current()
    assert second.number == first.number + 1
    office.monotonic += 10
    assert await office.lists.current() == second


async def test_intakes_on_one_postgres_agree_on_one_list(postgres_url, signer, quick_hash):
    async with open_store(postgres_url) as store:
        office = Office(store, signer)
        await office.registry.add("482103", None, None)
        first, second = await asyncio.gather(office.lists.current(), office.other.current())
        assert first == second
        await office.registry.revoke("482103")
        office.later(timedelta(seconds=6))
        assert (await office.lists.current()).number == first.number + 6


async def test_an_id_is_given_once_and_a_code_is_revoked_once(office, quick_hash):
    await office.registry.add("482103", None, None)
    await office.registry.revoke("482103")
    for staff in ("482103", "082103", "anna", "4821035"):
        with pytest.raises(StaffRefusedError):
            await office.registry.add(staff, None, None)
    for staff in ("482103", "731904"):
        with pytest.raises(StaffRefusedError):
            await office.registry.revoke(staff)
    with pytest.raises(StaffRefusedError):
        await office.registry.add(None, None, NOW)


async def test_an_intake_without_a_staff_key_names_nobody(store):
    with pytest.raises(StaffListUnknownError):
        await StaffLists(store, None, lambda: NOW).current()


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("staff-keys") / "pki")


async def test_booths_get_the_list_and_strangers_do_not(keys, tmp_path):
    async with running(keys, tmp_path / "data") as intake:
        problem(await intake.client.get("/v1/staff"), 401, "signature.missing")
        answer = await intake.get("/v1/staff")
        assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
        listed = verify_staff_list(answer.content, load_trust(keys.folder / "ca.pem"))
        assert answer.headers["etag"] == f'"{listed.number}"'
        url = str(answer.request.url)
        signed = keys.headers("GET", url)
        again = await intake.client.get("/v1/staff", headers=signed | {"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        problem(await intake.client.get("/v1/staff", headers=signed), 401, "signature.replayed")


async def test_an_intake_without_the_key_says_so(keys, tmp_path):
    async with running(keys, tmp_path / "data", staff_signer=None) as intake:
        problem(await intake.get("/v1/staff"), 404, "staff.unknown")


def test_the_command_adds_lists_and_revokes_and_shows_a_code_once(tmp_path, quick_hash):
    data = tmp_path / "data"
    runner = CliRunner()

    def intake(*words, code=0):
        ran = runner.invoke(app, ["staff", *words, "--data", str(data)])
        assert ran.exit_code == code, ran.output
        return ran.output

    assert "no store" in intake("list", code=2)
    assert not data.exists()
    (data / "objects" / "packets").mkdir(parents=True)
    (data / "intake.sqlite3").touch(mode=0o600)
    made = json.loads(intake("add", "--centre", "centre-07", "--expires", "2099-06-30", "--json"))
    code = read_code(made["code"])
    assert (made["staff"], made["centre"], made["last_day"]) == (code.staff, "centre-07", "2099-06-30")
    assert intake("add", "111111").startswith("111111 ")
    listed = intake("list")
    assert code.secret not in listed.replace(" ", "")
    assert {line.split()[0] for line in listed.splitlines()} == {code.staff, "111111"}
    intake("revoke", "111111")
    assert "revoked already" in intake("revoke", "111111", code=1)
    assert "111111" not in intake("list")
    told = {row["staff"]: row["state"] for row in json.loads(intake("list", "--all", "--json"))}
    assert told == {code.staff: "counts", "111111": "revoked"}
    assert "centre/07" not in intake("add", "--centre", "centre/07", code=1)
    assert "9998" in intake("add", "--expires", "9999-12-31", code=2)


def test_a_last_day_counts_to_its_end(tmp_path):
    last = datetime(2099, 6, 30, 23, 59, tzinfo=UTC)
    row = StaffRow("482103", None, NOW, datetime(2099, 7, 1, tzinfo=UTC), None)
    assert row.counts(last)
    assert not row.counts(last + timedelta(minutes=1))
