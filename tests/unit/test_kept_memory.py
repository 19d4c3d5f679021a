"""What the servers must not keep: texts of packets and tokens in caches, a compiled statement for each size of the log, freed memory."""

from __future__ import annotations

import gc
import json
import sys

import pytest
import sqlalchemy as sa

from server import cli
from server.desk_api import _document
from server.enrolment import EnrolmentRequest
from server.log_rows import log_nodes, read_nodes
from server.records import read_visit
from server.store import open_store

TEXTS = 3_000


def blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.parametrize(
    "read",
    [
        lambda text: read_visit(json.dumps({"application": {"number": text}}).encode()),
        lambda text: _document(json.dumps({"application": {"number": text}}).encode()),
        lambda text: EnrolmentRequest.model_validate_json(json.dumps({"token": text, "csr": text})),
    ],
    ids=["visit", "document", "token"],
)
def test_no_text_of_a_packet_or_request_stays_in_a_cache(read):
    for number in range(100):
        read(f"first {read} {number:08}")
    before = blocks()
    for number in range(TEXTS):
        read(f"{number:08} {read}"[:60])
    assert blocks() - before < TEXTS / 2, "pydantic's cache of texts would keep each of them"


async def test_the_log_is_read_with_few_statements_however_large_it_is(tmp_path):
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}") as store:
        rows = [
            {"level": level, "number": number, "hash": bytes([level]) * 32} for level in range(40) for number in (0, 1)
        ]
        async with store.writing() as connection:
            await connection.execute(sa.insert(log_nodes), rows)
        told: set[str] = set()
        sa.event.listen(store._engine.sync_engine, "before_cursor_execute", lambda *given: told.add(given[2]))
        async with store.reading() as connection:
            for count in range(1, 41):
                wanted = [(level, count % 2) for level in range(count)]
                assert await read_nodes(connection, wanted) == {(level, n): bytes([level]) * 32 for level, n in wanted}
            assert await read_nodes(connection, []) == {}
        selects = [text for text in told if text.startswith("SELECT")]
        assert len(selects) == 1
        async with store.reading() as connection:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {selects[0]}", ("[[1, 2]]",))
            steps = [row.detail for row in plan]
            assert [step for step in steps if step.startswith("SEARCH n ")], steps
            assert all("VIRTUAL TABLE" in step for step in steps if step.startswith("SCAN")), steps


def test_a_server_gives_freed_memory_back_before_it_starts(monkeypatch):
    done = []
    monkeypatch.setattr("crypto.heap.return_freed_memory", lambda: done.append("orders"))
    monkeypatch.setattr("server.logs.configure_logs", lambda: None)

    async def work() -> None:
        done.append("work")

    cli._run(work)
    assert done == ["orders", "work"]
