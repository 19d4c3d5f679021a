"""Searching and counting stored packets on SQLite and PostgreSQL: right answers, each by an index and in its order, so that the cost does not grow."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from server.log_audit import Audit, audit_log
from server.packet_counts import check_counts, count_packets, note_deletion
from server.packet_search import Place, Range, Term, find_packets, page_of, read_place, read_term
from server.receipt_log import open_receipt_log
from server.store import open_store, packets
from tests.bench.growth_stores import FilledPostgres, FilledSqlite
from tests.bench.written_log import WrittenLog, booth_at, new_packet, number_at, packet_id_at, sha256_at
from tests.packets import NOW, make_cached_world

SIZE = 300
WORLD = make_cached_world()
LOG = WrittenLog(WORLD.intake, NOW - timedelta(days=9))
ROWS = [LOG.beginning(), *LOG.blocks(SIZE)]


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
async def store(url):
    async with open_store(url) as opened:
        place = sa.make_url(url)
        if place.get_backend_name() == "sqlite":
            filled = FilledSqlite(Path(place.database))
        else:
            host = place.query["host"]
            filled = FilledPostgres(await asyncpg.connect(host=host, user="postgres", database="postgres"))
        for rows in ROWS:
            await filled.add(rows)
        await filled.finish()
        yield opened


async def found(store, word: str, within: Range = Range(), limit: int = 50) -> list[int]:  # noqa: B008 (frozen)
    term = read_term(word)
    assert term is not None
    return [row.position for row in (await find_packets(store, term, within, limit)).rows]


async def test_a_packet_is_found_by_everything_that_names_it(store):
    for position in (0, 1, 150, SIZE - 1):
        digest, packet_id = sha256_at(position), packet_id_at(position)
        for word in (digest, digest[:12], packet_id, packet_id[:8].upper(), number_at(position)):
            assert await found(store, word) == [position], word
        at = LOG.received_at(position)
        assert await found(store, digest, Range(booth_at(position), at, at + timedelta(seconds=1))) == [position]
        for other in (Range("booth"), Range(None, at + timedelta(microseconds=1)), Range(None, None, at)):
            assert await found(store, digest, other) == []
    assert await found(store, "0" * 64) == []


async def test_a_beginning_of_many_gives_the_newest_and_says_that_there_are_more(store):
    same = [place for place in range(SIZE) if sha256_at(place)[0] == "a" or packet_id_at(place)[0] == "a"]
    matches = await find_packets(store, Term("a"), Range(), 5)
    assert ([row.position for row in matches.rows], matches.more) == (same[:-6:-1], True)
    matches = await find_packets(store, Term("a"), Range(), SIZE)
    assert ([row.position for row in matches.rows], matches.more) == (same[::-1], False)


async def test_every_range_is_read_page_by_page_without_gap_or_copy(store):
    middle, late = LOG.received_at(100), LOG.received_at(201)
    for within in (
        Range("booth-0000"),
        Range(None, middle, late),
        Range("booth-0000", middle),
        Range(None, None, late),
    ):
        wanted = [
            place
            for place in reversed(range(SIZE))
            if within.booth in {None, booth_at(place)}
            and (within.since or NOW - timedelta(days=99)) <= LOG.received_at(place) < (within.until or NOW)
        ]
        seen, behind = [], None
        while True:
            matches = await page_of(store, within, 7, behind)
            seen += [row.position for row in matches.rows]
            if not matches.more:
                break
            behind = read_place(str(Place(matches.rows[-1].received_at, matches.rows[-1].serial)))
        assert seen == wanted, within
        assert wanted


def test_words_and_places_have_one_meaning():
    assert read_term("ABCD-1234") == Term("abcd1234")
    assert read_term(number_at(7)).application is not None
    assert [read_term(word) for word in ("", "abc", "g" * 64, "a" * 65, "Z0000000071")] == [None] * 5
    assert [read_place(text) for text in ("", "1", "x-1", "1-0", "1-1-1", "9" * 18 + "-1")] == [None] * 6
    assert not Range()


async def test_each_question_is_answered_by_an_index_in_its_order(store):
    middle = LOG.received_at(150)
    behind = Place(middle, 151)
    for name, work in {
        "beginning": lambda: find_packets(store, Term(sha256_at(7)[:6]), Range(), 50),
        "application": lambda: found(store, number_at(7)),
        "booth": lambda: page_of(store, Range("booth-0000"), 5),
        "booth, page": lambda: page_of(store, Range("booth-0000"), 5, behind),
        "time": lambda: page_of(store, Range(None, LOG.begun, middle), 5),
        "time, page": lambda: page_of(store, Range(None, LOG.begun), 5, behind),
        "booth and time": lambda: page_of(store, Range("booth-0000", LOG.begun, middle), 5),
        "page of the list": lambda: store.newest(5, 100),
        "receipt": lambda: store.find(sha256_at(7)),
        "count": lambda: count_packets(store),
    }.items():
        for plan in await plans(store, work):
            assert re.search(r"SEARCH|Index", plan), (name, plan)
            assert not re.search(r"SCAN (?!CONSTANT)|TEMP B-TREE|Seq Scan on (packets|captures|log_heads)", plan), (
                name,
                plan,
            )
            assert name == "application" or "Sort" not in plan, (name, plan)


async def plans(store, work) -> list[str]:
    """How the database answers each statement that the work asks."""
    asked: list[tuple] = []

    def note(connection, cursor, statement, parameters, context, many) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    engine = store._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", note)
    await work()
    sa.event.remove(engine, "before_cursor_execute", note)
    assert asked
    told = []
    async with store.reading() as connection:
        on_sqlite = connection.dialect.name == "sqlite"
        if not on_sqlite:  # a table of 300 rows is read as a whole by a planner that is free to
            await connection.exec_driver_sql("SET enable_seqscan = off")
            await connection.exec_driver_sql("SET enable_bitmapscan = off")
        for statement, parameters in asked:
            explain = "EXPLAIN QUERY PLAN " if on_sqlite else "EXPLAIN "
            rows = await connection.exec_driver_sql(explain + statement, parameters)
            told.append("\n".join(str(row[-1]) for row in rows))
    return told


async def test_packets_are_counted_by_the_log_and_the_tally_of_deletions_which_is_verified(store):
    async def faults() -> list[str]:
        audit = Audit()
        async with store.reading() as connection:
            await check_counts(connection, audit)
        return [one.code for one in audit.findings]

    assert (await count_packets(store), await faults()) == (SIZE, [])
    for serial in (3, 5):
        async with store.writing() as connection:
            await connection.execute(sa.delete(packets).where(packets.c.serial == serial))
            await note_deletion(connection)
    assert (await count_packets(store), await faults()) == (SIZE - 2, [])
    async with store.writing() as connection:
        await connection.execute(sa.delete(packets).where(packets.c.serial == 9))
    assert (await count_packets(store), await faults()) == (SIZE - 2, ["packet.count"])


async def test_the_rows_of_the_bench_are_what_an_intake_writes(store):
    async with open_receipt_log(store, lambda: WORLD.intake, lambda: NOW) as receipts:
        await receipts.append(new_packet(SIZE, NOW), None)
    audit = await audit_log(store, WORLD.trust)
    assert (audit.findings, audit.size, audit.packets) == ([], SIZE + 1, SIZE + 1)
