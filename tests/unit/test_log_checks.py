"""What `intake log verify` is told by others: who vouches for packets that are gone, and what is looked at besides the log."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from crypto.keys import load_trust
from crypto.receipt import read_receipt
from server.log_audit import audit_log
from server.receipt_log import open_receipt_log
from server.store import open_store
from tests.kept_log import SIZE, Kept, append, auditing, make_kept


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Kept:
    return make_kept(tmp_path_factory.mktemp("log"))


@pytest.fixture
def kept(original, tmp_path) -> Kept:
    return original.copy(tmp_path / "copy")


async def test_a_packet_without_a_row_is_a_finding_unless_somebody_vouches_for_it(kept):
    asked: list[list[int]] = []
    gone = {sha256 for (sha256,) in kept.rows("SELECT sha256 FROM packets WHERE position IN (2, 7)")}

    async def nobody(connection, entries):
        asked.append([one.position for one in entries])
        return ()

    async def somebody(connection, entries):
        known = set((await connection.execute(sa.text("SELECT packet_sha256 FROM log_entries"))).scalars())
        return {one.packet_sha256 for one in entries} & gone & known

    async with auditing(kept, accounts=[nobody, somebody]) as audit:
        assert (await audit()).sound
        assert asked == []
        kept.change("DELETE FROM packets WHERE position IN (2, 7)")
        told = await audit()
        assert (told.sound, told.packets, told.deleted) == (True, SIZE - 2, 2)
        assert asked == [[2, 7]]
        kept.change("DELETE FROM packets WHERE position = 3")
        told = await audit()
        assert [(one.code, one.position) for one in told.findings] == [("packet.missing", 3)]
        kept.change("DELETE FROM log_entries WHERE position = 7")
        assert {one.code for one in (await audit()).findings} == {"packet.missing", "entry.missing"}


async def test_checks_run_after_the_walk_and_their_findings_count(kept):
    async def more(connection, audit):
        assert audit.size == SIZE
        rows = (await connection.execute(sa.text("SELECT count(*) FROM packets"))).scalar_one()
        audit.add("more.found", f"{rows} rows, after {audit.packets} packets.", 4)

    async def unreadable(connection, audit):
        bytes((await connection.execute(sa.text("SELECT NULL"))).scalar_one())

    async with auditing(kept, checks=[more, unreadable]) as audit:
        told = await audit()
    assert [(one.code, one.position) for one in told.findings] == [("more.found", 4), ("row.kind", None)]
    assert told.findings[0].text == f"{SIZE} rows, after {SIZE} packets."


async def test_a_number_where_bytes_belong_ends_the_look_instead_of_taking_as_much_memory(kept):
    async def never(_connection, _audit):
        raise AssertionError("a check reads rows, too")

    kept.change("UPDATE log_heads SET root_hash = 9000000000000000 WHERE size = 0")
    async with auditing(kept, checks=[never]) as audit:
        told = await audit()
    assert [one.code for one in told.findings] == ["row.kind"]


async def test_entries_of_both_versions_stand_in_one_log(original, tmp_path, monkeypatch):
    """An intake of before wrote entries without facts: they stay sound, and what they say stays held."""
    old = Kept(original.keys, tmp_path / "old", [], [])

    async def fill(number: int) -> None:
        async with (
            open_store(f"sqlite+aiosqlite:///{old.database}") as store,
            open_receipt_log(store, old.signer) as receipts,
        ):
            old.receipts += await append(receipts, [old.keys.packet({"visit.json": b"{}"}) for _ in range(number)])

    monkeypatch.setattr("server.receipt_log.packet_facts", lambda _row: None)
    await fill(3)
    monkeypatch.undo()
    await fill(2)
    assert [read_receipt(one).entry.version for one in old.receipts] == [None] * 3 + [2] * 2
    trust = load_trust(old.keys.folder / "ca.pem")
    async with open_store(f"sqlite+aiosqlite:///{old.database}") as store:
        assert (await audit_log(store, trust)).findings == []
        old.change("UPDATE packets SET state = 'lost' WHERE position = 1")
        assert (await audit_log(store, trust)).sound, "an entry without facts says nothing of it"
        old.change("UPDATE packets SET state = 'lost' WHERE position = 4")
        old.change("UPDATE packets SET booth = 'x' WHERE position = 2")
        assert [one.position for one in (await audit_log(store, trust)).findings] == [2, 4]
