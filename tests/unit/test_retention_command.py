"""`intake retention`: what it says, that a plan changes nothing, that proofs are judged, and its exit codes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from server.cli import app
from tests.intake_rig import running
from tests.sealed_packets import Keys, digest


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An intake's store with three packets, two of them received 200 days ago."""
    folder = tmp_path_factory.mktemp("retention")
    keys = Keys(folder / "pki")
    packets = [keys.packet() for _ in range(3)]

    async def fill() -> None:
        async with running(keys, folder / "data") as intake:
            for number, packet in enumerate(packets):
                moved = datetime.now(UTC) - timedelta(days=200) if number < 2 else datetime.now(UTC)
                intake.intake.uploads._now = lambda moved=moved: moved
                assert (await intake.put(packet)).status_code == 201

    asyncio.run(fill())
    return folder, [digest(packet) for packet in packets]


def test_a_life_of_packets_by_command(store, monkeypatch):
    folder, (old, held, young) = store
    monkeypatch.setenv("INTAKE_RETENTION_RELEASE_DAYS", "1")

    def asked(*arguments: str, code: int = 0) -> str:
        where = ["--data", str(folder / "data"), "--pki", str(folder / "pki")]
        result = CliRunner().invoke(app, ["retention", *arguments, *where])
        assert result.exit_code == code, result.output
        return result.output

    def told(*arguments: str, code: int = 0) -> dict:
        return json.loads(asked(*arguments, "--json", code=code))

    placed = told("hold", held[:12], "--reason", "court", "--by", "officer-17")
    assert (placed["packet_sha256"], placed["action"], placed["by"]) == (held, "placed", "officer-17")
    assert [one["packet_sha256"] for one in told("plan")["packets"]] == [old]
    assert {one["packet_sha256"] for one in told("plan", "--days", "180")["packets"]} == {old, young}
    assert "nothing was deleted" in asked("plan")
    assert "due 20" in asked("show", old)
    assert told("run") == {"deleted": 1, "finished": 0, "kept": 0, "failed": 0, "more": False}
    gone = told("show", old[:8])
    assert (gone["proven"], gone["stored_objects"], gone["deletion"]["reason"]) == (True, 0, "undecided")
    assert gone["backups_until"] > gone["deletion"]["deleted_at"]
    assert "genuine" in asked("show", old)
    assert "1 packets are held; 1 are deleted" in asked("show")
    told("release", held, "--reason", "court", "--by", "officer-17")
    assert [one["action"] for one in told("show", held)["holds"]] == ["placed", "released"]
    for command in ("show", "plan", "run", "hold", "release"):
        assert "Example" in CliRunner().invoke(app, ["retention", command, "--help"]).output
    # What cannot be done.
    assert "not held" in asked("release", held, "--reason", "court", "--by", "officer-17", code=1)
    assert "deleted" in asked("hold", old, "--reason", "court", "--by", "officer-17", code=1)
    assert "no such packet" in asked("show", "0" * 64, code=1)
    asked("hold", held, "--reason", "because", "--by", "officer-17", code=2)
    assert "opaque id" in asked("hold", held, "--reason", "other", "--by", "Anna Muster", code=2)
    with closing(sqlite3.connect(folder / "data" / "intake.sqlite3")) as connection, connection:
        connection.execute("UPDATE deletions SET record = erasure")
    assert told("show", old, code=1)["deletion"]["genuine"] is False


def test_who_holds_is_an_opaque_id_and_a_held_packet_says_why_it_is_not_due(store):
    folder, (_, _, young) = store

    def asked(*arguments: str, code: int = 0) -> str:
        where = ["--data", str(folder / "data"), "--pki", str(folder / "pki")]
        result = CliRunner().invoke(app, ["retention", *arguments, *where])
        assert result.exit_code == code, result.output
        return result.output

    assert "opaque id" in asked("hold", young, "--reason", "fraud", "--by", "A. Person", code=2)
    asked("hold", young, "--reason", "fraud", "--by", "officer-17")
    assert "not due while it is held for fraud" in asked("show", young)
    asked("release", young, "--reason", "fraud", "--by", "officer-17")
    assert "not due while" not in asked("show", young)
