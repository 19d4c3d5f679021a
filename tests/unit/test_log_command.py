"""`intake log verify` finds every change of every row, with a witness also what was cut off or written anew; exit codes and output."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from crypto.keys import load_trust
from crypto.receipt import verify_receipt
from crypto.tree_head import verify_tree_head
from server.cli import app
from server.log_audit import Witness, audit_log
from server.log_rows import log_entries
from server.receipt_log import open_receipt_log
from server.store import make_engine, open_store
from tests.kept_log import BATCHES, SIZE, Kept, append, make_kept
from tests.sealed_packets import Keys, digest


def run(*arguments: object):
    return CliRunner().invoke(app, ["log", *map(str, arguments)])


def verify(kept: Kept, *arguments: object) -> tuple[int, dict]:
    answer = run("verify", "--data", kept.data, "--pki", kept.keys.folder, "--json", *arguments)
    return answer.exit_code, json.loads(answer.stdout) if answer.exit_code < 2 else {"text": answer.stderr}


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Kept:
    return make_kept(tmp_path_factory.mktemp("log"))


@pytest.fixture
def kept(original, tmp_path) -> Kept:
    return original.copy(tmp_path / "copy")


def head_file(kept: Kept, number: int = -1) -> Path:
    path = kept.data / f"kept-{number}.head"
    path.write_bytes(kept.heads[number])
    return path


def receipt_file(kept: Kept, position: int) -> Path:
    path = kept.data / f"kept-{position}.receipt"
    path.write_bytes(kept.receipts[position])
    return path


def codes(told: dict) -> set[str]:
    return {one["code"] for one in told["findings"]}


def test_a_sound_log_is_told_to_be_sound(kept):
    code, told = verify(kept, "--files")
    assert (code, told["sound"], told["found"], told["findings"]) == (0, True, 0, [])
    assert (told["size"], told["packets"], told["files"], told["heads"]) == (SIZE, SIZE, SIZE, len(BATCHES) + 1)
    trust = load_trust(kept.keys.folder / "ca.pem")
    assert told["root_hash"] == verify_tree_head(kept.heads[-1], trust).root_hash


def test_every_witness_of_a_sound_log_agrees(kept):
    witnesses: list[object] = []
    for number in range(len(BATCHES)):
        witnesses += ["--head", head_file(kept, number)]
    for position in range(SIZE):
        witnesses += ["--receipt", receipt_file(kept, position)]
    code, told = verify(kept, *witnesses)
    assert (code, told["witnesses"]) == (0, len(BATCHES) + SIZE)


def test_for_people_there_is_a_summary_and_a_word_on_what_it_does_not_prove(kept):
    base = ("verify", "--data", kept.data, "--trust", kept.keys.folder / "ca.pem")
    alone, with_head = run(*base), run(*base, "--head", head_file(kept))
    assert alone.exit_code == with_head.exit_code == 0
    assert "cut off" in alone.stdout
    assert "continuation of all 1 witnesses" in with_head.stdout
    kept.change("UPDATE packets SET booth = 'booth-0002' WHERE position = 3")
    found = run(*base)
    assert found.exit_code == 1
    assert "packet.changed at position 3" in found.stdout
    assert "NOT SOUND: 1 findings" in found.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_entries SET entry = CAST(entry AS TEXT) WHERE position = 5",
        "UPDATE log_nodes SET hash = 'text' WHERE level = 1 AND number = 1",
        "UPDATE log_heads SET signed_at = 'noon' WHERE size = 4",
        "UPDATE log_heads SET size = 'four' WHERE size = 4",
        "UPDATE packets SET receipt = 7 WHERE position = 5",
        "UPDATE packets SET position = 'five' WHERE position = 5",
    ],
)
def test_values_of_another_kind_are_findings_too(kept, statement):
    kept.change(statement)
    assert verify(kept)[0] == 1


def swapped(table: str, column: str, one: int, other: int) -> list[str]:
    """Two rows change places; the unique index is met on the way, so over a third value."""
    return [
        f"UPDATE {table} SET {column} = -7 WHERE {column} = {one}",
        f"UPDATE {table} SET {column} = {one} WHERE {column} = {other}",
        f"UPDATE {table} SET {column} = {other} WHERE {column} = -7",
    ]


@pytest.mark.parametrize(
    ("name", "statements", "expected"),
    [
        ("entries change places", swapped("log_entries", "position", 4, 5), "entry.changed"),
        (
            "entries change places with their packets",
            swapped("log_entries", "position", 4, 5) + swapped("packets", "position", 4, 5),
            "entry.changed",
        ),
        ("rows of packets change numbers", swapped("packets", "serial", 3, 4), "packet.order"),
        ("heads change places", swapped("log_heads", "size", 3, 4), "head.changed"),
        (
            "all that follows is moved up over a removed entry",
            [
                "DELETE FROM log_entries WHERE position = 4",
                "DELETE FROM packets WHERE position = 4",
                "UPDATE log_entries SET position = position - 1000 WHERE position > 4",
                "UPDATE log_entries SET position = position + 999 WHERE position < 0",
                "UPDATE packets SET position = position - 1000 WHERE position > 4",
                "UPDATE packets SET position = position + 999 WHERE position < 0",
            ],
            "entry.place",
        ),
        (
            "a packet is taken out of the log",
            ["UPDATE packets SET position = NULL WHERE position = 2"],
            "packet.outside",
        ),
        ("a packet is moved behind the log", ["UPDATE packets SET position = 99 WHERE position = 2"], "packet.beyond"),
        (
            "an entry is put behind the log",
            ["INSERT INTO log_entries SELECT 12, 'x', entry FROM log_entries WHERE position = 0"],
            "entry.beyond",
        ),
        (
            "a hash is put behind the log",
            ["INSERT INTO log_nodes SELECT 2, 9, hash FROM log_nodes WHERE level = 0 AND number = 0"],
            "node.beyond",
        ),
        (
            "the log has two names",
            [f"INSERT INTO log_identity SELECT '{'ab' * 16}', created_at FROM log_identity"],
            "log.name",
        ),
        ("the newest head is gone", [f"DELETE FROM log_heads WHERE size = {SIZE}"], "entry.beyond"),
        (
            "receipts are exchanged",
            ["UPDATE packets SET receipt = (SELECT receipt FROM packets WHERE position = 1)"],
            "packet.changed",
        ),
    ],
)
def test_order_and_numbers_count(kept, name, statements, expected):
    kept.change(*statements)
    code, told = verify(kept)
    assert (code, expected in codes(told)) == (1, True), (name, codes(told))


def test_one_changed_entry_is_one_place_not_all_that_follows(kept):
    kept.change(
        "UPDATE log_entries SET entry = CAST(replace(entry, 'booth-0001', 'booth-0002') AS BLOB) WHERE position = 5"
    )
    _, told = verify(kept)
    assert {one["position"] for one in told["findings"]} == {5}


def cut_off(kept: Kept, size: int) -> None:
    """What is left is the log as it was at that size, to the last row."""
    kept.change(
        f"DELETE FROM log_entries WHERE position >= {size}",
        f"DELETE FROM packets WHERE position >= {size}",
        f"DELETE FROM log_heads WHERE size > {size}",
        f"DELETE FROM log_nodes WHERE ((number + 1) << level) > {size}",
    )


def test_a_log_that_was_cut_off_well_is_found_by_a_witness_alone(kept):
    cut_off(kept, 4)
    code, told = verify(kept)
    assert (code, told["size"]) == (0, 4)
    code, told = verify(kept, "--head", head_file(kept), "--receipt", receipt_file(kept, 6))
    assert code == 1
    assert codes(told) == {"witness.longer"}
    assert told["found"] == 2
    assert verify(kept, "--head", head_file(kept, 2), "--receipt", receipt_file(kept, 3))[0] == 0


def test_a_log_written_anew_with_the_signing_key_is_found_by_a_witness_alone(kept):
    cut_off(kept, 4)

    async def go_on() -> None:
        async with (
            open_store(f"sqlite+aiosqlite:///{kept.database}") as store,
            open_receipt_log(store, kept.signer) as receipts,
        ):
            for number in BATCHES[3:]:
                await append(receipts, [kept.keys.packet() for _ in range(number)])

    asyncio.run(go_on())
    code, told = verify(kept)
    assert (code, told["size"]) == (0, SIZE)
    code, told = verify(kept, "--head", head_file(kept), "--receipt", receipt_file(kept, 5))
    assert code == 1
    assert codes(told) == {"witness.root", "witness.entry"}
    assert verify(kept, "--receipt", receipt_file(kept, 3))[0] == 0


def test_a_consistent_change_without_the_signing_key_is_found(kept):
    """Entry, packet row, receipt's entry and all stored hashes are made anew; the signed heads stay."""
    from crypto.merkle import Frontier, leaf_hash

    kept.change(
        "UPDATE log_entries SET entry = replace(entry, 'booth-0001', 'booth-0002') WHERE position = 5",
        "UPDATE packets SET booth = 'booth-0002' WHERE position = 5",
        "UPDATE packets SET receipt = replace(receipt, 'booth-0001', 'booth-0002') WHERE position = 5",
    )
    frontier = Frontier()
    for (entry,) in kept.rows("SELECT entry FROM log_entries ORDER BY position"):
        data = entry.encode() if isinstance(entry, str) else entry
        for level, number, value in frontier.append(leaf_hash(data)):
            kept.change(("UPDATE log_nodes SET hash = ? WHERE level = ? AND number = ?", (value, level, number)))
    kept.change(("UPDATE log_heads SET root_hash = ? WHERE size = ?", (frontier.root(), SIZE)))
    kept.change(
        "UPDATE log_entries SET entry = CAST(entry AS BLOB)", "UPDATE packets SET receipt = CAST(receipt AS BLOB)"
    )
    code, told = verify(kept)
    assert code == 1
    assert {"head.changed", "head.root", "packet.changed"} <= codes(told)


def test_a_witness_of_another_log_is_told(kept, original, tmp_path):
    other = Kept(original.keys, tmp_path / "other", [], [])

    async def begin() -> None:
        async with (
            open_store(f"sqlite+aiosqlite:///{other.database}") as store,
            open_receipt_log(store, other.signer) as receipts,
        ):
            other.receipts += await append(receipts, [other.keys.packet()])
            other.heads.append(await receipts.head())

    asyncio.run(begin())
    code, told = verify(kept, "--head", head_file(other))
    assert (code, "witness.log" in codes(told)) == (1, True)


def test_lost_and_damaged_files_are_found_on_request(kept):
    files = sorted(path for path in (kept.data / "objects" / "packets").rglob("*") if path.is_file())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-1] + b"\x00")
    assert verify(kept)[0] == 0
    code, told = verify(kept, "--files")
    assert (code, told["files"], told["found"], codes(told)) == (1, SIZE - 2, 2, {"file"})


def test_the_head_is_shown_and_written_once(kept):
    path = kept.data / "newest.head"
    base = ("head", "--data", kept.data, "--pki", kept.keys.folder)
    shown = run(*base, "--out", path)
    assert shown.exit_code == 0
    assert f"size    {SIZE}" in shown.stdout
    assert path.read_bytes() == kept.heads[-1]
    assert json.loads(run(*base, "--json").stdout)["size"] == SIZE
    again = run(*base, "--out", path)
    assert (again.exit_code, "newest.head" in again.stderr) == (2, True)


def test_what_prevents_the_look_is_one_sentence_and_code_2(kept, original, tmp_path):
    def told(*arguments: object) -> str:
        answer = run(*arguments)
        assert answer.exit_code == 2, answer.output
        assert answer.stderr.count("\n") == 1
        return answer.stderr

    assert "no database yet" in told("verify", "--data", tmp_path / "nothing", "--pki", kept.keys.folder)
    assert not (tmp_path / "nothing").exists()
    assert "--trust" in told("verify", "--data", kept.data)
    assert "cannot be read" in told("verify", "--data", kept.data, "--trust", tmp_path / "none.pem")
    empty = tmp_path / "empty"
    empty.mkdir()
    sqlite3.connect(empty / "intake.sqlite3").close()
    (empty / "intake.sqlite3").touch()
    assert "no receipt log" in told("verify", "--data", empty, "--pki", kept.keys.folder)
    bad = tmp_path / "bad.head"
    bad.write_bytes(kept.heads[0][:-1])
    assert "tree head" in told("verify", "--data", kept.data, "--pki", kept.keys.folder, "--head", bad)
    assert "none.head" in told(
        "verify", "--data", kept.data, "--pki", kept.keys.folder, "--head", tmp_path / "none.head"
    )
    bad.write_bytes(b"{}")
    assert "receipt" in told("verify", "--data", kept.data, "--pki", kept.keys.folder, "--receipt", bad)
    (kept.database).write_bytes(b"this is no database" * 1000)
    assert "database" in told("verify", "--data", kept.data, "--pki", kept.keys.folder)


def test_a_head_of_a_stranger_is_found(kept, tmp_path):
    stranger = Keys(tmp_path / "stranger")
    answer = run("verify", "--data", kept.data, "--pki", stranger.folder, "--json")
    assert answer.exit_code == 1
    assert "head.signature" in codes(json.loads(answer.stdout))


async def test_an_intake_may_go_on_while_its_log_is_verified_on_postgres_too(original, postgres_url):
    keys, trust = original.keys, load_trust(original.keys.folder / "ca.pem")
    packets = [keys.packet({"visit.json": b"{}"}) for _ in range(12)]
    async with open_store(postgres_url) as store, open_receipt_log(store, original.signer) as receipts:
        first = await append(receipts, packets[:6])
        audit, _ = await asyncio.gather(audit_log(store, trust), append(receipts, packets[6:]))
        assert audit.findings == []
        witness = Witness(
            "first", verify_tree_head(verify_receipt(first[0], trust, digest(packets[0])).signed_head, trust)
        )
        again = await audit_log(store, trust, witnesses=[witness])
        assert (again.findings, again.size, again.packets) == ([], 12, 12)
    engine = make_engine(postgres_url)
    async with engine.begin() as connection:
        await connection.execute(sa.delete(log_entries).where(log_entries.c.position == 3))
    await engine.dispose()
    async with open_store(postgres_url) as store:
        assert [one.code for one in (await audit_log(store, trust)).findings] == ["entry.missing"]
