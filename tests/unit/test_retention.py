"""When a packet is due (pure), and the run that deletes what is: nothing early, nothing held, nothing stuck because of another."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import server.retention_job
from crypto.errors import KeyUnavailableError
from crypto.keys import Purpose
from server.deletions import deletions
from server.errors import ReceiptUnavailableError, StorageCorruptError
from server.handover_rows import decisions, orders
from server.holds import HoldReason, Holds
from server.retention import Fate, HoldSpan, OrderFacts, PacketFacts, Policy, due, final_event
from server.retention_errors import ClocksApartError
from server.retention_job import Retention, delete_due, retention_job
from server.retention_rows import old_packets, read_policy, tell_policy
from server.store import Store
from tests.packets import NOW, make_signer
from tests.unit.test_deletions import Shelf
from tests.unit.test_receipt_log import WORLD, new_packet, opened, sqlite_url, store_of, url  # noqa: F401 (fixtures)

DAY = timedelta(days=1)
POLICY = Policy()
DESK = make_signer(WORLD.authority, "desk-1", purposes=[Purpose.DESK.oid], end=NOW + 1000 * DAY)
INTAKE = make_signer(WORLD.authority, "intake-1", purposes=[Purpose.INTAKE.oid], end=NOW + 1000 * DAY)
TAKEN, REFUSED, OPEN = OrderFacts(NOW, accepted=True), OrderFacts(NOW, accepted=False), OrderFacts(None, accepted=False)


FATES = [
    (PacketFacts(NOW), Fate.UNDECIDED, 180),
    (PacketFacts(NOW - 9 * DAY, NOW, accepted=False), Fate.REJECTED, 90),
    (PacketFacts(NOW - 9 * DAY, NOW - DAY, accepted=True, orders=(TAKEN,)), Fate.HANDED_OVER, 30),
    (PacketFacts(NOW - 9 * DAY, NOW - DAY, accepted=True, orders=(REFUSED,)), Fate.REJECTED, 90),
    (PacketFacts(NOW - 9 * DAY, NOW - DAY, accepted=True, orders=(TAKEN, REFUSED)), Fate.REJECTED, 90),
    (PacketFacts(NOW, NOW, accepted=True), Fate.WAITING, None),
    (PacketFacts(NOW, NOW, accepted=True, orders=(TAKEN, OPEN)), Fate.WAITING, None),
    (PacketFacts(NOW, NOW, accepted=True, orders=(replace(REFUSED, asked_anew=True),)), Fate.WAITING, None),
]


def test_the_time_runs_from_the_final_event():
    for facts, fate, days in FATES:
        assert final_event(facts)[0] is fate
        assert due(facts, POLICY, (), NOW) == (None if days is None else NOW + days * DAY), facts


def test_a_hold_keeps_and_its_release_leaves_time_to_place_it_again():
    old = PacketFacts(NOW - 1000 * DAY)
    assert due(old, POLICY, [HoldSpan(NOW - 900 * DAY)], NOW) is None
    assert due(old, POLICY, [HoldSpan(NOW - 900 * DAY, NOW)], NOW) == NOW + 7 * DAY
    assert due(old, POLICY, [HoldSpan(NOW, NOW - DAY), HoldSpan(NOW)], NOW) is None
    # Another machine's clock is ahead: its release has not come yet.
    assert due(old, POLICY, [HoldSpan(NOW - 900 * DAY, NOW + timedelta(seconds=1))], NOW) is None
    young = PacketFacts(NOW)
    assert due(young, POLICY, [HoldSpan(NOW - DAY, NOW)], NOW) == NOW + 180 * DAY


TIMES = st.integers(-400, 400).map(lambda days: NOW + days * DAY)
ORDERS = st.lists(st.builds(OrderFacts, st.none() | TIMES, st.booleans(), st.booleans()), max_size=3).map(tuple)


@given(st.builds(PacketFacts, TIMES, st.none() | TIMES, st.booleans(), ORDERS), st.integers(1, 300), TIMES)
def test_nothing_is_due_before_its_days_are_over_whatever_happened(facts, days, now):
    policy = Policy(days, days, days)
    found = due(facts, policy, (), now)
    happened = [facts.received_at] if facts.decided_at is None else [facts.received_at, facts.decided_at]
    assert found is None or max(happened) + days * DAY <= found  # whatever date somebody gave the rest by hand
    happened += [
        order.answered_at for order in facts.orders if order.answered_at and facts.accepted and facts.decided_at
    ]
    assert found is None or found <= max(happened) + days * DAY
    assert policy.shortest == days * DAY


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Rig:
    def __init__(self, receipts, monkeypatch) -> None:
        self.receipts, self.store, self.clock = receipts, store_of(receipts), Clock()
        self.place = SimpleNamespace(packets=Shelf(), orders=Shelf())
        self.holds = Holds(self.store, lambda: DESK, Purpose.DESK, self.clock)
        self.retention = Retention(self.store, self.place, lambda: INTAKE, WORLD.trust, POLICY, self.clock)

        async def same(_connection):
            return self.clock.now

        monkeypatch.setattr(server.retention_job, "database_now", same)

    async def take(self, name: object, days_ago: int = 0) -> str:
        new = replace(new_packet(name), received_at=NOW - days_ago * DAY)
        await self.receipts.append(new, None)
        self.place.packets.names.add(new.sha256)
        return new.sha256

    async def decide(self, sha256: str, *answers: str | None) -> None:
        """Accepted by the desk; orders with what producers said."""
        async with self.store.writing() as connection:
            number = 1 + (await connection.execute(sa.select(sa.func.count()).select_from(decisions))).scalar_one()
            row = {"packet_sha256": sha256, "decided_at": NOW, "verdict": "accepted", "decision": b"", "link": b""}
            await connection.execute(sa.insert(decisions).values(number=number, **row))
            for turn, answer in enumerate(answers):
                message = hashlib.sha256(f"{sha256}{turn}".encode()).hexdigest()
                self.place.orders.names.add(message)
                order = {
                    "id": message[:32], "cursor": 10 * number + turn, "packet_sha256": sha256, "producer": "p", "size": 1,
                    "message_sha256": message, "created_at": NOW, "answer_by": NOW, "note": b"",
                    "answered_at": NOW if answer else None, "answer_verdict": answer,
                }  # fmt: skip
                await connection.execute(sa.insert(orders).values(order))

    async def deleted(self) -> dict[str, str]:
        async with self.store.reading() as connection:
            return {row.packet_sha256: row.reason for row in await connection.execute(sa.select(deletions))}


@pytest.fixture
async def rig(sqlite_url, monkeypatch):  # noqa: F811 (the fixture of that name)
    async with opened(sqlite_url, lambda: INTAKE) as receipts:
        yield Rig(receipts, monkeypatch)


@pytest.fixture
async def any_rig(url, monkeypatch):  # noqa: F811 (the fixture of that name)
    async with opened(url, lambda: INTAKE) as receipts:
        yield Rig(receipts, monkeypatch)


async def test_a_run_deletes_exactly_what_is_due(any_rig):
    rig = any_rig
    undecided, taken, refused, waiting, held = [await rig.take(name) for name in "abcde"]
    await rig.decide(taken, "accepted")
    await rig.decide(refused, "rejected")
    await rig.decide(waiting, "accepted", None)
    await rig.holds.place(held, HoldReason.COURT, "officer-1")
    seen = {}
    for days in (29, 30, 89, 90, 179, 180):
        rig.clock.now = NOW + days * DAY
        planned = [one.sha256 async for one in rig.retention.plan(rig.clock.now)]
        run = await rig.retention.run(100)
        assert run.deleted == len(planned)
        seen[days] = set(await rig.deleted())
        assert set(planned) <= seen[days]
    assert seen == {
        29: set(),
        30: {taken},
        89: {taken},
        90: {taken, refused},
        179: {taken, refused},
        180: {taken, refused, undecided},
    }
    assert await rig.deleted() == {taken: "handed_over", refused: "rejected", undecided: "undecided"}
    assert rig.place.packets.names == {waiting, held}
    assert len(rig.place.orders.names) == 2
    await rig.holds.release(held, HoldReason.COURT, "officer-1")
    assert (await rig.retention.run(100)).deleted == 0
    rig.clock.now += 7 * DAY
    assert (await rig.retention.run(100)).deleted == 1
    assert rig.place.packets.names == {waiting}


async def test_a_hold_that_comes_between_look_and_deletion_keeps_the_packet(rig, monkeypatch):
    late, other = await rig.take("late", 200), await rig.take("other", 190)
    delete = rig.retention.deletions.delete_packet

    async def held_first(sha256, reason, **more):
        if sha256 == late:
            await rig.holds.place(late, HoldReason.FRAUD, "officer-1")
        return await delete(sha256, reason, **more)

    monkeypatch.setattr(rig.retention.deletions, "delete_packet", held_first)
    run = await rig.retention.run(100)
    assert (run.deleted, run.kept) == (1, 1)
    assert set(await rig.deleted()) == {other}


async def test_what_cannot_be_deleted_is_told_and_stops_no_other(rig):
    first, second = await rig.take("first", 300), await rig.take("second", 200)
    rig.place.packets.deaf = True
    with pytest.raises(StorageCorruptError, match="still holds"):
        await rig.retention.run(100)
    rig.place.packets.deaf = False
    assert set(await rig.deleted()) == {first, second}  # rows are gone, bytes are not
    assert rig.place.packets.names == {first, second}
    run = await rig.retention.run(100)
    assert (run.finished, run.deleted) == (2, 0)
    assert rig.place.packets.names == set()


async def test_when_nothing_works_a_run_ends(rig, monkeypatch):
    monkeypatch.setattr(server.retention_job, "MOST_IN_A_ROW", 2)
    for name in range(4):
        await rig.take(name, 200)

    def gone():
        raise KeyUnavailableError("The token is unplugged.")

    broken = Retention(rig.store, rig.place, gone, WORLD.trust, POLICY, rig.clock)
    with pytest.raises(ReceiptUnavailableError):
        await broken.run(100)
    assert await rig.deleted() == {}
    assert (await rig.retention.run(100)).deleted == 4


async def test_a_run_ends_at_its_most_and_a_restore_goes_on_until_all_is_done(rig):
    for name in range(5):
        await rig.take(name, 200 + name)
    run = await rig.retention.run(2)
    assert (run.deleted, run.more) == (2, True)
    assert len(await rig.deleted()) == 2
    assert await retention_job(rig.retention, 3600, 1).work() == 1
    assert await delete_due(rig.store, rig.place, lambda: INTAKE, WORLD.trust, POLICY, rig.clock) == 2


async def test_a_clock_that_is_not_the_database_s_deletes_nothing(rig, monkeypatch):
    await rig.take("old", 200)

    async def other(_connection):
        return NOW - timedelta(hours=2)

    monkeypatch.setattr(server.retention_job, "database_now", other)
    with pytest.raises(ClocksApartError):
        await rig.retention.run(100)
    assert await rig.deleted() == {}


async def test_pages_show_every_packet_once_though_some_are_deleted_meanwhile(rig, monkeypatch):
    monkeypatch.setattr("server.retention_rows.PAGE", 2)
    taken = {await rig.take(name, 300 + name // 3) for name in range(7)}
    seen = []
    async for page in old_packets(rig.store, NOW):
        seen += [kept.sha256 for kept in page]
        for kept in page:
            await rig.retention.deletions.delete_packet(kept.sha256, "undecided")
    assert sorted(seen) == sorted(taken)


async def test_the_policy_that_an_intake_tells_is_the_one_that_the_desk_reads(rig):
    async def told(store: Store) -> Policy | None:
        async with store.reading() as connection:
            return await read_policy(connection)

    assert await told(rig.store) is None
    for policy in (POLICY, Policy(1, 2, 3, 4, 5, keep_links=True)):
        await tell_policy(rig.store, policy)
        assert await told(rig.store) == policy
