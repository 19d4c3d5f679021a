"""The hand-over on real stores: one decision however many accept, no order that a cursor passes by, and answers that count once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from crypto.decision import verify_decision, verify_link
from crypto.errors import CertificateRefusedError
from crypto.handover import verify_order
from server.decisions import check_signer
from server.errors import StorageCorruptError, StorageUnavailableError, UnknownPacketError
from server.handover_errors import (
    AcceptRefusedError,
    HandOverUnavailableError,
    OrderAnsweredError,
    OrderGoneError,
    OrderResentError,
)
from server.handover_rows import decisions, order_counter, orders, stored_decision
from server.log_audit import audit_log
from server.log_command import checks_for
from server.orders import MOST_SENDINGS
from server.store import packets
from tests.handover_rig import OFFICER, PRODUCER, another_desk, opened_counter, sha256
from tests.sealed_packets import Keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("handover-keys") / "pki")


@pytest.fixture
async def counter(keys, tmp_path):
    async with opened_counter(keys, tmp_path / "data") as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    return {} if request.param == "sqlite" else {"database_url": request.getfixturevalue("postgres_url")}


async def answered_while_it_is_sent_anew(counter, order):
    """On PostgreSQL, where two transactions write at once: the answer is held up half-way while a desk sends the order anew."""
    store, locked = counter.intake.rooms.store, sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    order = await counter.orders.ask_again(order)
    async with asyncio.timeout(30):
        async with store.writing() as connection:
            await connection.execute(sa.update(order_counter).values(last=order_counter.c.last))
            answering = asyncio.create_task(counter.answer(order))
            while not (await connection.execute(locked)).scalar_one():
                pass
            sending = asyncio.create_task(counter.hand_over.resend(order))
            while (await connection.execute(locked)).scalar_one() < 2:
                pass
        assert (await answering).status_code == 200
        assert not await sending
    assert await counter.orders.successor(order.id) is None


async def all_decisions(counter):
    async with counter.intake.rooms.store.reading() as connection:
        rows = await connection.execute(sa.select(decisions).order_by(decisions.c.number))
        return [stored_decision(row) for row in rows]


async def test_an_acceptance_is_a_signed_decision_and_one_message_that_the_producer_alone_opens(counter, keys):
    stored = await counter.receive()
    decided = await counter.hand_over.accept(stored, PRODUCER, OFFICER)
    decision = verify_decision(decided.decision, keys.trust)
    assert (decision.packet_sha256, decision.packet_id) == (stored.sha256, stored.packet_id)
    assert (decision.verdict, decision.officer, decision.office) == ("accepted", OFFICER, "desk-development")
    verify_link(decided.link, keys.trust, number=1, decision=decided.decision, previous=None)
    (order,) = await counter.orders.of_packet(stored.sha256)
    message = await counter.intake.rooms.objects.orders.read(order.message_sha256)
    opened = counter.open(message)
    assert sha256(opened.cms) == decision.cms_sha256
    assert opened.decision_cms == decided.decision
    note = verify_order(order.note, keys.trust)
    assert (note.order, note.packet_sha256, note.producer) == (order.id, stored.sha256, PRODUCER)
    assert (note.message_sha256, note.size, note.resend_of) == (order.message_sha256, len(message), None)
    assert note.answer_by == order.answer_by == order.created_at + timedelta(hours=72)
    row = await counter.intake.rooms.store.find(stored.sha256)
    assert row.state == "received", "the row stays what the receipt log wrote"

    store = counter.intake.rooms.store
    async with store.reading() as connection:
        row = dict((await connection.execute(sa.select(orders))).one()._mapping)

    async def add(number: int, **changes) -> None:
        async with store.writing() as connection:
            again = row | {"id": f"{number:032x}", "cursor": 100 + number} | changes
            await connection.execute(sa.insert(orders).values(again))

    await add(1, resend_of=order.id)
    for changes in ({"cursor": order.cursor}, {"id": order.id}, {"resend_of": order.id}):
        with pytest.raises(StorageUnavailableError):
            await add(2, **changes)
    await add(2)


async def test_desks_that_accept_at_once_make_one_decision_each_and_no_cursor_passes_an_order_by(
    keys, tmp_path, database
):
    """A reader who goes on from the last cursor he saw gets every order, each once, while two desks with two officers each are at it."""
    async with (
        opened_counter(keys, tmp_path / "data", **database) as counter,
        another_desk(counter.intake, keys, counter.clock, keys.folder / "producers") as second,
    ):
        wanted = [await counter.receive() for _ in range(4)]
        seen: list[int] = []

        async def follow() -> None:
            while len(seen) < len(wanted):
                found = await counter.orders.after(PRODUCER, seen[-1] if seen else 0, 3)
                seen.extend(order.cursor for order in found)
                await asyncio.sleep(0)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow())
            tasks = [
                group.create_task(desk.accept(one, PRODUCER, OFFICER))
                for one in wanted
                for desk in (counter.hand_over, second, counter.hand_over, second)
            ]
        made = [task.result() for task in tasks]
        assert seen == list(range(1, len(wanted) + 1))
        for one in wanted:
            assert len({each.decision for each in made if each.packet_sha256 == one.sha256}) == 1
            assert len(await counter.orders.of_packet(one.sha256)) == 1
        chain = await all_decisions(counter)
        assert [one.number for one in chain] == [1, 2, 3, 4]
        before = None
        for one in chain:
            verify_link(one.link, keys.trust, number=one.number, decision=one.decision, previous=before)
            before = one.link
        made_orders = await counter.orders.newest(10)
        assert {order.message_sha256 for order in made_orders} <= counter.messages()
        # On either database: an answer, sending anew, and what `log verify` finds of a change by hand.
        await counter.answer(made_orders[0])
        await counter.orders.ask_again(made_orders[1])
        assert await second.send_anew() == 1
        if database:
            await answered_while_it_is_sent_anew(counter, made_orders[2])
        store, checks = counter.intake.rooms.store, checks_for(keys.trust)
        assert (await audit_log(store, keys.trust, checks=checks)).sound
        async with store.writing() as connection:
            await connection.execute(sa.update(orders).where(orders.c.cursor == 1).values(size=orders.c.size + 1))
        found = await audit_log(store, keys.trust, checks=checks)
        assert [finding.code for finding in found.findings] == ["order.changed"]


async def test_neither_an_end_before_the_commit_nor_a_deletion_meanwhile_leaves_an_order(counter, keys):
    stored = await counter.receive()
    rooms = counter.intake.rooms

    class Dying:
        """Keeps the message and then is no more, as a killed desk."""

        def writer(self):
            return rooms.objects.orders.writer()

    async with another_desk(counter.intake, keys, counter.clock, keys.folder / "producers", messages=Dying()) as desk:
        original, rooms.store.writing = rooms.store.writing, None
        try:
            with pytest.raises(TypeError):
                await desk.accept(stored, PRODUCER, OFFICER)
        finally:
            rooms.store.writing = original
    assert len(counter.messages()) == 1
    assert await counter.hand_over.decision(stored.sha256) is None
    assert await counter.orders.newest(10) == []
    order = await counter.accept(stored)
    assert order.message_sha256 in counter.messages()

    stored, other, closed = [await counter.receive() for _ in range(3)]
    order = await counter.accept(other)
    await counter.hand_over._rooms.opener.content(stored)
    await counter.intake.rooms.objects.packets.delete(closed.sha256)
    with pytest.raises(StorageCorruptError):
        await counter.hand_over.accept(closed, PRODUCER, OFFICER)
    async with counter.intake.rooms.store.writing() as connection:
        await connection.execute(sa.delete(packets))
    for one in (stored, closed):  # opened before, and not
        with pytest.raises(UnknownPacketError):
            await counter.hand_over.accept(one, PRODUCER, OFFICER)
    with pytest.raises(OrderGoneError):
        await counter.orders.check_kept(order)
    with pytest.raises(OrderGoneError):
        await counter.orders.ask_again(order)


async def test_a_desk_without_a_key_or_a_producer_accepts_nothing_nor_one_whose_counter_is_gone(
    counter, keys, tmp_path
):
    stored = await counter.receive()
    with pytest.raises(AcceptRefusedError):
        await counter.hand_over.accept(stored, "nobody", OFFICER)
    with pytest.raises(AcceptRefusedError):
        await counter.hand_over.accept(stored, "../producers/producer-development", OFFICER)
    (tmp_path / "producers" / PRODUCER).mkdir(parents=True)
    async with another_desk(counter.intake, keys, counter.clock, tmp_path / "producers") as keyless:
        with pytest.raises(HandOverUnavailableError):
            await keyless.accept(stored, PRODUCER, OFFICER)
    folder = keys.folder / "producers"
    check_signer(counter.signer("desk"))
    with pytest.raises(CertificateRefusedError):
        check_signer(counter.signer("booth"))
    async with another_desk(counter.intake, keys, counter.clock, folder, signer="booth") as impostor:
        with pytest.raises(HandOverUnavailableError):
            await impostor.accept(stored, PRODUCER, OFFICER)
    assert counter.messages() == set()

    stored = await counter.receive()
    async with counter.intake.rooms.store.writing() as connection:
        await connection.execute(sa.delete(order_counter))
    with pytest.raises(StorageCorruptError):
        await counter.hand_over.accept(stored, PRODUCER, OFFICER)
    assert await all_decisions(counter) == []


async def test_an_order_that_is_asked_for_anew_comes_as_a_new_one_once_for_the_keys_of_now(counter, keys, tmp_path):
    order = await counter.accept()
    first = await counter.orders.ask_again(order)
    assert (await counter.orders.ask_again(order)) == first
    async with another_desk(counter.intake, keys, counter.clock, keys.folder / "producers") as second:
        done = await asyncio.gather(*(desk.resend(order) for desk in (counter.hand_over, second)))
    assert sorted(done) == [False, True]
    newest, old = await counter.orders.of_packet(order.packet_sha256)
    assert (newest.resend_of, newest.producer) == (order.id, order.producer)
    assert newest.cursor > order.cursor
    assert newest.message_sha256 != order.message_sha256
    assert old.superseded_at is not None
    messages = counter.intake.rooms.objects.orders
    opened = [counter.open(await messages.read(one.message_sha256)) for one in (newest, old)]
    assert opened[0].cms == opened[1].cms
    assert opened[0].decision_cms == opened[1].decision_cms
    assert await counter.orders.asked(10) == []
    assert await counter.hand_over.send_anew() == 0

    order = await counter.orders.ask_again(await counter.accept())
    assert (await counter.answer(order)).status_code == 200  # it came after all
    assert await counter.orders.asked(10) == []
    assert not await counter.hand_over.resend(order)

    from crypto.keys import generate_recipient_key

    order = await counter.accept()
    folder, key = tmp_path / "producers" / PRODUCER, generate_recipient_key()
    folder.mkdir(parents=True)
    (folder / "next.hpke.pub").write_bytes(key.public.to_pem())
    await counter.orders.ask_again(order)
    async with another_desk(counter.intake, keys, counter.clock, tmp_path / "producers") as desk:
        assert await desk.send_anew() == 1
    newest = (await counter.orders.of_packet(order.packet_sha256))[0]
    assert verify_order(newest.note, keys.trust).recipients == (key.key_id,)


async def test_what_cannot_be_sent_anew_is_tried_later_and_nothing_is_sent_for_ever(counter, caplog):
    broken, good = await counter.accept(), await counter.accept()
    for order in (broken, good):
        await counter.orders.ask_again(order)
    root = counter.intake.rooms.settings.data_dir / "objects" / "packets"
    (path,) = root.rglob(broken.packet_sha256)
    path.unlink()
    counter.hand_over._rooms.opener.sweep(sessions=0)
    assert await counter.hand_over.send_anew() == 1
    assert [order.id for order in await counter.orders.asked(10)] == [broken.id]
    assert [record.message for record in caplog.records].count("An order could not be sent anew.") == 1
    assert await counter.hand_over.send_anew() == 0
    assert [record.message for record in caplog.records].count("An order could not be sent anew.") == 1
    counter.clock.ahead = timedelta(hours=1)
    assert await counter.hand_over.send_anew() == 0
    assert [record.message for record in caplog.records].count("An order could not be sent anew.") == 2

    counter.clock.ahead = timedelta()
    order = await counter.accept()
    for _ in range(MOST_SENDINGS - 1):
        await counter.orders.ask_again(order)
        assert await counter.hand_over.resend(order)
        order = (await counter.orders.of_packet(order.packet_sha256))[0]
    with pytest.raises(OrderResentError):
        await counter.orders.ask_again(order)
    assert (await counter.answer(order)).status_code == 200
    with pytest.raises(OrderAnsweredError):
        await counter.orders.ask_again(order)


async def test_silence_is_late_from_its_moment_on_and_ends_with_the_answer(counter):
    order, answered = await counter.accept(), await counter.accept()
    assert (await counter.answer(answered)).status_code == 200
    counter.clock.ahead = timedelta(hours=71)
    assert await counter.orders.late(10) == []
    counter.clock.ahead = timedelta(hours=73)
    assert [one.id for one in await counter.orders.late(10)] == [order.id]
    assert await counter.orders.late(10, "another") == []
    counts = await counter.orders.counts()
    assert (counts.waiting, counts.late, counts.asked) == (1, 1, 0)
    told = (await counter.intake.rooms.metrics.text()).decode()
    assert "passbooth_orders_late 1.0" in told
    counter.clock.ahead = timedelta()
    assert (await counter.answer(order)).status_code == 200
    counter.clock.ahead = timedelta(hours=73)
    assert await counter.orders.late(10) == []
