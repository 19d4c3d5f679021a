"""A restore brings back what was deleted since the backup: it is deleted again before anything is served, and what is held stays."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime, timedelta

from typer.testing import CliRunner

from server.cli import app
from tests.intake_rig import running
from tests.sealed_packets import Keys, digest


def test_what_fell_due_after_the_backup_is_deleted_again_by_the_restore_and_what_is_held_stays(tmp_path, monkeypatch):
    keys, data, backups = Keys(tmp_path / "pki"), tmp_path / "data", str(tmp_path / "backups")
    sent = [keys.packet() for _ in range(3)]
    old, held, young = (digest(packet) for packet in sent)

    async def fill() -> None:
        async with running(keys, data) as intake:
            for packet, days in zip(sent, (200, 200, 0), strict=True):
                moved = datetime.now(UTC) - timedelta(days=days)
                intake.intake.uploads._now = lambda moved=moved: moved
                assert (await intake.put(packet)).status_code == 201

    def told(*arguments: str, code: int = 0) -> dict:
        where = ["--data", str(data), "--pki", str(keys.folder), "--json"]
        result = CliRunner().invoke(app, [*arguments, *where])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def packets_kept() -> set[str]:
        return {path.name for path in (data / "objects" / "packets").glob("*/*")}

    # The time of a packet is over a year after it came when the backup is made, and half a year after it later.
    monkeypatch.setenv("INTAKE_RETENTION_UNDECIDED_DAYS", "365")
    asyncio.run(fill())
    told("retention", "hold", held, "--reason", "court", "--by", "officer-17")
    assert told("retention", "plan")["packets"] == []
    assert told("backup", backups)["objects"] == 3
    monkeypatch.setenv("INTAKE_RETENTION_UNDECIDED_DAYS", "180")
    assert told("retention", "run")["deleted"] == 1
    assert packets_kept() == {held, young}

    shutil.rmtree(data)
    restored = told("restore", backups)
    assert (restored["objects"], restored["deleted"]) == (3, 1)
    assert packets_kept() == {held, young}
    gone = told("retention", "show", old)
    assert (gone["proven"], gone["stored_objects"], gone["deletion"]["reason"]) == (True, 0, "undecided")
    assert [one["action"] for one in told("retention", "show", held)["holds"]] == ["placed"]
    verified = told("log", "verify", "--files")
    assert (verified["sound"], verified["findings"]) == (True, [])
