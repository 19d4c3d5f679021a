"""`intake orders`: what was handed over, what is late by its exit code, and sending anew; nothing of a packet's content."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from server.intake_jobs import late_orders_job
from server.orders_command import orders_app
from tests.handover_rig import PRODUCER, opened_counter
from tests.sealed_packets import Keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("order-command-keys") / "pki")


def typed(*words: str):
    return CliRunner().invoke(orders_app, list(words))


@pytest.fixture
async def made(keys, tmp_path, caplog):
    """Three orders: one late, one rejected, one waiting; their rows were written four days ago and just now."""
    async with opened_counter(keys, tmp_path / "data") as counter:
        waiting, rejected = await counter.accept(), await counter.accept()
        await counter.answer(rejected, "quality")
        job = late_orders_job(counter.orders)
        assert await job.work() == 0
        counter.clock.ahead = timedelta(hours=73)
        assert await job.work() == 1
        assert "Producers have not answered orders in time." in caplog.text
    return {"data": str(tmp_path / "data"), "waiting": waiting, "rejected": rejected}


def test_orders_are_listed_shown_and_sent_anew_and_what_is_late_is_told_by_the_exit_code(made, monkeypatch, tmp_path):
    data = ("--data", made["data"])
    waiting, rejected = made["waiting"], made["rejected"]
    listed = typed("list", *data)
    assert listed.exit_code == 0
    newest, oldest = listed.stdout.splitlines()
    assert newest.startswith(rejected.id[:8])
    assert "rejected: quality" in newest
    assert PRODUCER in oldest
    assert "waiting until" in oldest
    told = json.loads(typed("list", *data, "--json", "--limit", "1").stdout)
    assert [(one["order"], one["code"]) for one in told] == [(rejected.id, "quality")]
    assert typed("list", *data, "--producer", "nobody").stdout == "Nothing was handed over.\n"
    late = typed("late", *data)
    assert (late.exit_code, late.stdout) == (0, "Nothing is late.\n")
    shown = json.loads(typed("show", waiting.id[:12], *data, "--json").stdout)
    assert (shown["packet_sha256"], shown["superseded_by"]) == (waiting.packet_sha256, None)
    assert waiting.message_sha256 in typed("show", waiting.id, *data).stdout
    asked = typed("resend", rejected.id[:8], *data)
    assert (asked.exit_code, asked.stdout) == (0, f"{rejected.id[:8]} will be sent anew by the desk.\n")
    assert json.loads(typed("show", rejected.id, *data, "--json").stdout)["resend_asked_at"]

    import server.orders_command as room

    class Later(room.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(hours=73)

    monkeypatch.setattr(room, "datetime", Later)
    for words in (("late",), ("list", "--late")):
        late = typed(*words, "--data", made["data"])
        assert late.exit_code == 1
        assert "LATE since" in late.stdout
        assert made["waiting"].id[:8] in late.stdout
        assert made["rejected"].id[:8] not in late.stdout

    for words, code in (
        (("show", "0" * 32, *data), 1),
        (("resend", "0" * 8, *data), 1),
        (("show", "xyz", *data), 2),
        (("show", "..%' OR", *data), 2),
        (("list", "--data", str(tmp_path / "nowhere")), 2),
    ):
        done = typed(*words)
        assert done.exit_code == code, words
        assert "Traceback" not in done.output
    for words in ((), ("list",), ("late",), ("show",), ("resend",)):
        assert "Example" in typed(*words, "--help").stdout
