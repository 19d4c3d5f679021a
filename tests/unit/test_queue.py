"""The officers' queue on both databases: what a desk keeps of packets, found by any mixture of what is known; states and deletions in the same transaction."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from datetime import timedelta
from itertools import product

import pytest
import sqlalchemy as sa

from crypto.application import application_digest
from crypto.desk_secret import generate_desk_secret
from crypto.keys import SignerSource, load_recipient_key
from crypto.seal import read_header
from server import queue_reader, queue_search
from server.booth_trust import BoothTrust
from server.deletions import lock_packet
from server.desk_terms import DeskTerms
from server.folder_objects import open_folder_objects
from server.handover_rows import decisions
from server.looks import Looks
from server.opening import open_opener
from server.proposals import proposals
from server.queue_check import QueueCheck, check_queue
from server.queue_errors import QueueSecretError
from server.queue_reader import QueueReader
from server.queue_rows import (
    LOOK,
    QueueState,
    forget_all,
    forget_packet,
    note_state,
    queue_packets,
    queue_terms,
)
from server.queue_search import Narrowed, count_states, count_unread, find_by_term, lines_of, queue_page
from server.receipt_log import open_receipt_log
from server.store import NewPacket, Nonce, open_store
from tests.packets import NOW
from tests.sealed_packets import Keys, digest, finding, report, visit

RULES = ("pose.yaw", "light.even")
BOOTHS = ("booth-0001", "booth-0002")


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("queue-keys") / "pki")


# What asks the database for more than a row by its key.
ON_BOTH = pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def url(request, tmp_path) -> str:
    if getattr(request, "param", "sqlite") == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite+aiosqlite:///{tmp_path / 'intake.sqlite3'}"


class Queue:
    """A store with packets, and a desk that reads them."""

    def __init__(self, keys, store, objects, receipts, opener) -> None:
        self.keys, self.store, self.objects, self.receipts, self.opener = keys, store, objects, receipts, opener
        self.terms = DeskTerms(generate_desk_secret())
        self.reader = QueueReader(store, opener, self.terms)
        self.looks = Looks(store, lambda: self.now)
        self.now = NOW
        self.told: dict[str, dict] = {}

    async def receive(self, *, booth=BOOTHS[0], failing=(), released=False, number="A1234567") -> str:
        rules = [finding(rule, verdict="fail" if rule in failing else "pass") for rule in RULES]
        told = visit(number, **({"override": {"staff": "s-1", "reason_class": "other"}} if released else {}))
        parts = {"report.json": json.dumps(report(*rules)).encode(), "visit.json": json.dumps(told).encode()}
        packet = self.keys.packet(parts)  # another booth's key is not needed: the row says whose upload it was
        sha256, header = digest(packet), read_header(packet)
        async with self.objects.writer() as writer:
            await writer.write(packet)
            await writer.keep(sha256)
        at = NOW - timedelta(days=1) + timedelta(minutes=len(self.told))
        new = NewPacket(sha256, header.packet_id, booth, "k", len(packet), NOW, at)
        await self.receipts.append(new, Nonce(booth, sha256, NOW))
        self.told[sha256] = {"booth": booth, "failing": failing, "released": released, "at": at, "state": "waiting"}
        return sha256

    async def decide(self, sha256: str, state: QueueState) -> None:
        """As the desk does; the decision itself is written as its row alone."""
        async with self.store.writing() as connection:
            await lock_packet(connection, sha256)
            await note_state(connection, sha256, state)
            number = list(self.told).index(sha256) + 1
            if state is QueueState.PROPOSED:
                row = {"number": number, "packet_sha256": sha256, "action": "proposed", "officer": "u-first"}
                await connection.execute(sa.insert(proposals).values(**row, made_at=NOW, record=b"r"))
            else:
                row = {"number": number, "packet_sha256": sha256, "decided_at": NOW, "verdict": str(state)}
                await connection.execute(sa.insert(decisions).values(**row, decision=b"d", link=b"l"))
        self.told[sha256]["state"] = str(state)

    def narrowed(self, state=None, booth=None, rule=None, released=False, **times) -> Narrowed:
        chosen = {"override": "released" if released else None, "rule": rule, "booth": booth}
        terms = tuple(self.terms.term(kind, value) for kind, value in chosen.items() if value)
        return Narrowed(state, terms, booth, **times)

    def expected(self, state=None, booth=None, rule=None, released=False) -> list[str]:
        found = [
            sha256
            for sha256, told in self.told.items()
            if state in {None, told["state"]}
            and booth in {None, told["booth"]}
            and (rule is None or rule in told["failing"])
            and (told["released"] or not released)
        ]
        return found if state in {"waiting", "proposed"} else found[::-1]

    async def pages(self, wanted: Narrowed, limit: int = 3) -> list[str]:
        found, behind = [], None
        while True:
            page = await queue_page(self.store, wanted, limit, behind)
            assert len(page.lines) <= limit
            found += [line.stored.sha256 for line in page.lines]
            behind = page.behind
            if behind is None:
                return found

    async def count(self, table) -> int:
        async with self.store.reading() as connection:
            return (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()


@contextlib.asynccontextmanager
async def opened_queue(keys, url, folder):
    async with (
        open_store(url) as store,
        open_folder_objects(folder) as objects,
        open_receipt_log(store, SignerSource(f"file:{keys.folder / 'intake.key'}").current) as receipts,
        open_opener(
            objects.packets,
            [load_recipient_key(keys.folder / "desk.hpke")],
            BoothTrust(keys.folder / "ca.pem"),
            kept=4,
            kept_s=60,
        ) as opener,
    ):
        yield Queue(keys, store, objects.packets, receipts, opener)


@pytest.fixture
async def queue(keys, url, tmp_path):
    async with opened_queue(keys, url, tmp_path / "objects") as opened:
        yield opened


async def filled(queue) -> None:
    """Two of each kind, some of them decided; the last ones not read."""
    for booth, failing, released in product(BOOTHS, ((), RULES[:1], RULES), (False, True)):
        await queue.receive(booth=booth, failing=failing, released=released)
    assert await queue.reader.look() == 12
    for number, state in ((1, "accepted"), (4, "refused"), (5, "proposed"), (8, "accepted"), (10, "refused")):
        await queue.decide(list(queue.told)[number], QueueState(state))


@ON_BOTH
async def test_every_mixture_of_filters_finds_what_it_says_page_by_page(queue, monkeypatch):
    await filled(queue)
    states, booth, rule = [None, *QueueState], BOOTHS[1], RULES[1]
    mixtures = [{"state": state} for state in states]
    mixtures += [{"state": state, "booth": booth, "rule": rule} for state in states]
    mixtures += [{"released": True}, {"state": QueueState.WAITING, "rule": rule}, {"state": None, "booth": booth}]
    mixtures += [{"state": QueueState.WAITING, "booth": booth, "rule": rule, "released": True}]
    order = list(queue.told)
    times = {"since": queue.told[order[3]]["at"], "until": queue.told[order[9]]["at"]}
    for mixture in mixtures:
        expected = queue.expected(**mixture)
        assert await queue.pages(queue.narrowed(**mixture)) == expected, mixture
        within = await queue.pages(queue.narrowed(**mixture, **times))
        assert within == [one for one in expected if one in order[3:9]], mixture
    assert any(len(queue.expected(**mixture)) > 3 for mixture in mixtures[6:]), "more than a page"
    assert await count_states(queue.store) == {state: len(queue.expected(state=state)) for state in QueueState}
    # A page that looks at no more than two of the leading term comes to the same, in more pages.
    monkeypatch.setattr(queue_search, "LOOKED_AT", 2)
    for mixture in mixtures[6:]:
        assert await queue.pages(queue.narrowed(**mixture)) == queue.expected(**mixture), mixture


async def test_packets_that_no_desk_has_read_are_in_the_queue_all_the_same(queue):
    first = await queue.receive()
    assert (await count_unread(queue.store), await queue.pages(Narrowed(QueueState.WAITING))) == (1, [first])
    assert await queue.reader.look() == 1
    second = await queue.receive(booth=BOOTHS[1])
    await queue.decide(await queue.receive(), QueueState.REFUSED)
    assert await queue.pages(Narrowed(QueueState.WAITING), 1) == [first, second]
    assert await queue.pages(queue.narrowed(QueueState.WAITING, BOOTHS[1])) == [second]
    assert len(await queue.pages(Narrowed(QueueState.REFUSED))) == 1
    assert (await queue.reader.look(), await queue.reader.look(), await count_unread(queue.store)) == (2, 0, 0)
    assert await queue.pages(Narrowed(QueueState.WAITING), 1) == [first, second]
    assert await queue.pages(Narrowed(QueueState.REFUSED)) == queue.expected(state="refused")


@ON_BOTH
async def test_reading_goes_on_where_another_desk_ended_and_a_row_that_somebody_changed_is_found(queue):
    await filled(queue)
    other = QueueReader(queue.store, queue.opener, queue.terms)
    assert await other.look() == 0, "it judges anew only what was opened under something else"
    rows, terms = await queue.count(queue_packets), await queue.count(queue_terms)
    async with queue.store.writing() as connection:
        await connection.execute(sa.text("UPDATE queue_mark SET position = 4"))
    assert await other.look() == 7
    assert (await queue.count(queue_packets), await queue.count(queue_terms)) == (rows, terms)
    assert await queue.pages(Narrowed(QueueState.REFUSED)) == queue.expected(state="refused")
    assert await check_queue(queue.store) == QueueCheck(12, 0, await queue.count(queue_terms), *[0] * 6)
    harms = {
        "missing": "DELETE FROM queue_packets WHERE state = 'proposed'",
        "strangers": f"UPDATE queue_packets SET packet_sha256 = '{'0' * 64}' WHERE packet_sha256 = '{next(iter(queue.told))}'",
        "hidden": f"UPDATE queue_packets SET state = 'refused' WHERE packet_sha256 = '{list(queue.told)[2]}'",
        "stale": f"UPDATE queue_packets SET state = 'waiting' WHERE packet_sha256 = '{list(queue.told)[1]}'",
        "misplaced": f"UPDATE queue_packets SET state = 'proposed' WHERE packet_sha256 = '{list(queue.told)[3]}'",
        "lost_terms": f"DELETE FROM queue_terms WHERE serial = (SELECT serial FROM packets WHERE sha256 = '{list(queue.told)[6]}')",
    }
    for name, harm in harms.items():
        async with queue.store.writing() as connection:
            await connection.execute(sa.text(harm))
        found = await check_queue(queue.store)
        assert getattr(found, name) > 0, name
        assert not found.sound
    async with queue.store.writing() as connection:
        await forget_all(connection)
    assert await queue.reader.look() == 12
    assert (await check_queue(queue.store)).sound
    foreign = QueueReader(queue.store, queue.opener, DeskTerms(generate_desk_secret()))
    with pytest.raises(QueueSecretError, match="another desk secret"):
        await foreign.look()


async def test_a_rebuild_beside_a_desk_that_reads_just_then_leaves_no_packet_out(queue, monkeypatch):
    monkeypatch.setattr(queue_reader, "BATCH", 2)
    first = [await queue.receive() for _ in range(4)]
    assert await queue.reader.read_batch() == 2
    keep = queue.reader._keep

    async def rebuilt(rows, step) -> None:
        async with queue.store.writing() as connection:
            await forget_all(connection)
        await keep(rows, step)

    monkeypatch.setattr(queue.reader, "_keep", rebuilt)
    assert await queue.reader.read_batch() == 2
    monkeypatch.setattr(queue.reader, "_keep", keep)
    assert (await count_unread(queue.store), await queue.reader.look()) == (4, 4)
    assert await queue.pages(Narrowed(QueueState.WAITING)) == first
    assert (await check_queue(queue.store)).sound


async def test_what_is_deleted_leaves_no_term_and_what_does_not_open_waits(queue):
    await filled(queue)
    for sha256 in list(queue.told):
        async with queue.store.writing() as connection:
            await lock_packet(connection, sha256)
            await forget_packet(connection, sha256)
    assert (await queue.count(queue_packets), await queue.count(queue_terms)) == (0, 0)
    lost = await queue.receive()
    await queue.objects.delete(lost)
    assert await queue.reader.look() == 1
    assert lost in await queue.pages(Narrowed(QueueState.WAITING))
    (line,) = [one for one in await lines_of(queue.store, [await queue.store.find(lost)]) if one.summary]
    assert queue.terms.summary(lost, line.summary).opened is False
    refused = queue.terms.term("result", "result.refused")
    assert [one.sha256 for one in await find_by_term(queue.store, refused, 5)] == [lost]


async def test_the_database_tells_nothing_of_what_was_read(queue):
    await queue.receive(number="DEMO2026000017Q", failing=RULES)
    await queue.receive(number="DEMO2026000017Q")
    await queue.reader.look()
    async with queue.store.reading() as connection:
        rows = (await connection.execute(sa.select(queue_packets))).all()
        terms = {bytes(row.term) for row in await connection.execute(sa.select(queue_terms))}
    for told in (
        b"DEMO",
        b"pose",
        b"centre",
        application_digest("DEMO2026000017Q"),
        application_digest("DEMO2026000017Q")[:16],
    ):
        assert not any(told in bytes(row.terms) + bytes(row.summary) for row in rows), told
    one, other = rows
    assert one.summary != other.summary
    assert queue.terms.summary(one.packet_sha256, bytes(other.summary)) is None, "a summary opens for its packet alone"
    assert queue.terms.summary(one.packet_sha256, bytes(one.summary)).application_number == "DEMO2026000017Q"
    assert DeskTerms(generate_desk_secret()).summary(one.packet_sha256, bytes(one.summary)) is None
    assert all(len(term) == 16 for term in terms)
    by_number = await find_by_term(queue.store, queue.terms.application(application_digest("DEMO2026000017Q").hex()), 9)
    assert [row.sha256 for row in by_number] == list(queue.told)[::-1]


async def test_next_looks_through_nothing_that_is_done(queue, monkeypatch):
    """One form with another state in it, and a desk would try each packet that was ever accepted."""
    await filled(queue)
    tried, take = [], queue.looks.take
    waiting = queue.expected(state="waiting")

    async def counted(sha256, officer):
        tried.append(sha256)
        return await take(sha256, officer)

    monkeypatch.setattr(queue.looks, "take", counted)
    for state in (QueueState.ACCEPTED, QueueState.REFUSED, None):
        assert await queue.looks.take_next(Narrowed(state), "u-1") == waiting[0], state
    assert set(tried) == {waiting[0]}


@ON_BOTH
async def test_nobody_keeps_the_whole_queue_from_others(queue, monkeypatch):
    await filled(queue)
    monkeypatch.setattr("server.looks.MOST_LOOKS", 2)
    waiting = queue.expected(state="waiting")
    assert await queue.looks.take(waiting[3], "u-other")
    for sha256 in waiting[:3]:
        assert await queue.looks.take(sha256, "u-1")
        queue.now += timedelta(seconds=1)
    assert await queue.looks.others(waiting, "u-2") == {
        **dict.fromkeys(waiting[1:3], "u-1"),
        waiting[3]: "u-other",
    }, "of his own the newest two"


@ON_BOTH
async def test_next_gives_every_officer_another_packet_and_nobody_one_that_is_done(queue):
    await filled(queue)
    waiting = queue.expected(state="waiting")
    wanted, looks = Narrowed(QueueState.WAITING), queue.looks
    taken = [await looks.take_next(wanted, f"u-{number}") for number in range(len(waiting))]
    assert taken == waiting
    assert await looks.take_next(wanted, "u-late") is None
    assert await looks.others(waiting, "u-0") == {sha256: f"u-{n}" for n, sha256 in enumerate(waiting) if n}
    assert await looks.take(waiting[0], "u-late") is False
    await queue.decide(waiting[2], QueueState.ACCEPTED)
    assert await looks.take(waiting[2], "u-2") is False, "it is decided"
    assert await looks.take_next(wanted, "u-3") == waiting[3], "the first that is free: he let go of his own"
    queue.now += LOOK + timedelta(seconds=1)
    assert await looks.take_next(wanted, "u-late") == waiting[0]
    places = [one.behind for one in [await queue_page(queue.store, wanted, 1)]]
    assert await looks.take_next(wanted, "u-late", places[0]) == waiting[1], "behind the one that he has"
    last = await queue_page(queue.store, wanted, len(waiting) - 2)
    assert await looks.take_next(wanted, "u-late", last.behind) == waiting[-1]
    proposed = queue.expected(state="proposed")
    second = Narrowed(QueueState.PROPOSED)
    assert [await looks.take_next(second, one) for one in ("u-first", "u-other")] == [None, *proposed], "not one's own"
    found = defaultdict(int)
    for number in range(3):
        found[await looks.take_next(wanted, f"u-{number}")] += 1
    assert set(found.values()) == {1}
