"""The receipt log on SQLite and PostgreSQL: one log whoever appends, receipts only for what is durable, nothing half done."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from crypto.errors import KeyUnavailableError, SigningError
from crypto.keys import Purpose, Signer
from crypto.merkle import verify_consistency
from crypto.receipt import VerifiedReceipt, verify_receipt
from crypto.tree_head import verify_tree_head
from server.errors import (
    MalformedRequestError,
    ReceiptUnavailableError,
    ReplayedRequestError,
    StorageCorruptError,
    StorageUnavailableError,
)
from server.log_rows import log_entries, log_heads, log_nodes, read_edge
from server.receipt_log import MAX_BATCH, ReceiptLog, open_receipt_log
from server.store import NewPacket, Nonce, Store, make_engine, migrate, open_store, packets
from tests.packets import NOW, World, make_cached_world, make_signer

LATER = NOW + timedelta(minutes=10)
WORLD: World = make_cached_world()


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'intake.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request) -> str:
    return request.getfixturevalue(f"{request.param}_url")


def clock() -> datetime:
    return NOW


def new_packet(name: object = "packet", booth: str = "booth-0001") -> NewPacket:
    digest = hashlib.sha256(str(name).encode()).hexdigest()
    packet_id = str(uuid.uuid5(uuid.NAMESPACE_URL, str(name)).hex)
    packet_id = f"{packet_id[:12]}4{packet_id[13:16]}8{packet_id[17:]}"
    return NewPacket(digest, packet_id, booth, "b" * 32, 6, NOW - timedelta(hours=1), NOW.replace(microsecond=250_000))


def nonce(value: object = "n1") -> Nonce:
    return Nonce("booth-0001", str(value), LATER)


@contextlib.asynccontextmanager
async def opened(url: str, signer: Callable[[], Signer] | None = None):
    async with open_store(url) as store, open_receipt_log(store, signer or (lambda: WORLD.intake), clock) as receipts:
        yield receipts


@pytest.fixture
async def receipts(url):
    async with opened(url) as log:
        yield log


def store_of(receipts: ReceiptLog) -> Store:
    return receipts._store


async def count(receipts: ReceiptLog, table: sa.Table) -> int:
    async with store_of(receipts).reading() as connection:
        return (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()


def verified(receipt: bytes, new: NewPacket) -> VerifiedReceipt:
    return verify_receipt(receipt, WORLD.trust, new.sha256)


async def check_consistent(receipts: ReceiptLog, *read: VerifiedReceipt) -> None:
    """That every receipt's tree is the beginning of the newest one."""
    newest = verify_tree_head(await receipts.head(), WORLD.trust)
    for one in read:
        proof = await receipts.consistency(one.tree_size, newest.size)
        verify_consistency(one.tree_size, newest.size, bytes.fromhex(one.root_hash), newest.root, proof)
        assert one.log == newest.log


async def test_a_packet_gets_a_row_a_place_and_a_receipt_that_proves_it(receipts):
    new = new_packet()
    stored, created = await receipts.append(new, nonce())
    assert created
    assert (stored.position, stored.state) == (0, "received")
    assert await store_of(receipts).find(new.sha256) == stored
    read = verified(stored.receipt, new)
    assert (read.position, read.tree_size, read.booth, read.intake) == (0, 1, "booth-0001", "intake-1")
    assert (read.packet_id, read.received_at) == (new.packet_id, NOW)


async def test_a_new_log_says_that_it_is_empty(receipts):
    head = verify_tree_head(await receipts.head(), WORLD.trust)
    assert (head.size, head.root_hash) == (0, hashlib.sha256(b"").hexdigest())


async def test_the_log_goes_on_after_a_restart(url):
    read = []
    for turn in range(4):
        async with opened(url) as receipts:
            for i in range(turn + 1):
                new = new_packet((turn, i))
                stored, _ = await receipts.append(new, nonce((turn, i)))
                read.append(verified(stored.receipt, new))
            await check_consistent(receipts, *read)
    assert [one.position for one in read] == list(range(10))


async def test_what_waits_is_committed_together_under_one_signature(receipts):
    new = [new_packet(i) for i in range(MAX_BATCH + 7)]
    answers = await asyncio.gather(*(receipts.append(one, nonce(one.sha256)) for one in new))
    read = [verified(stored.receipt, one) for (stored, _), one in zip(answers, new, strict=True)]
    assert sorted(one.position for one in read) == list(range(len(new)))
    heads = {one.tree_size for one in read}
    assert len(heads) == await count(receipts, log_heads) - 1 <= 3
    await check_consistent(receipts, *read)
    for size in (1, 2, 40, max(heads)):
        assert len(await receipts.consistency(size, max(heads))) <= 8
    for first, second in ((0, 1), (2, 1), (1, len(new) + 1), (-1, 2)):
        with pytest.raises(MalformedRequestError):
            await receipts.consistency(first, second)


async def test_copies_at_once_over_two_intakes_are_one_row_with_one_receipt(url):
    async with opened(url) as one, opened(url) as other:
        answers = await asyncio.gather(*((one, other)[i % 2].append(new_packet(), nonce(i)) for i in range(20)))
        assert sum(created for _, created in answers) == 1
        assert len({stored.receipt for stored, _ in answers}) == 1
        assert await count(one, packets) == await count(one, log_entries) == 1


async def test_two_intakes_with_keys_of_their_own_write_one_log(url):
    second = make_signer(WORLD.authority, "intake-2", purposes=[Purpose.INTAKE.oid])
    async with opened(url) as one, opened(url, lambda: second) as other:
        new = [new_packet(i) for i in range(60)]
        answers = await asyncio.gather(*((one, other)[i % 2].append(p, nonce(i)) for i, p in enumerate(new)))
        read = [verified(stored.receipt, p) for (stored, _), p in zip(answers, new, strict=True)]
        assert sorted(r.position for r in read) == list(range(60))
        assert {r.intake for r in read} == {"intake-1", "intake-2"}
        await check_consistent(other, *read)


async def test_two_intakes_that_start_together_make_one_log(url):
    async def begin():
        async with opened(url) as receipts:
            return verify_tree_head(await receipts.head(), WORLD.trust).log

    assert len(set(await asyncio.gather(*(begin() for _ in range(4))))) == 1


async def test_a_used_nonce_fails_its_upload_and_no_other(receipts):
    await store_of(receipts).use_nonce(nonce("used"))
    answers = await asyncio.gather(
        receipts.append(new_packet(1), nonce(1)),
        receipts.append(new_packet(2), nonce("used")),
        receipts.append(new_packet(3), nonce(1)),
        receipts.append(new_packet(4), nonce(4)),
        return_exceptions=True,
    )
    assert [isinstance(one, ReplayedRequestError) for one in answers] == [False, True, True, False]
    assert [one[0].position for one in (answers[0], answers[3])] == [0, 1]
    assert await count(receipts, packets) == 2
    with pytest.raises(ReplayedRequestError):
        await receipts.append(new_packet(5), nonce(4))


async def test_the_first_of_several_copies_in_a_batch_is_the_new_one(receipts):
    first = await receipts.append(new_packet("x"), nonce("x"))
    answers = await asyncio.gather(
        *(receipts.append(new_packet(name), nonce(i)) for i, name in enumerate(["x", "a", "b", "a", "x", "b"]))
    )
    assert [created for _, created in answers] == [False, True, True, False, False, False]
    assert answers[0][0] == answers[4][0] == first[0]
    assert answers[1][0] == answers[3][0]


async def test_an_upload_that_is_given_up_while_it_waits_keeps_its_row(receipts):
    asked = [asyncio.ensure_future(receipts.append(new_packet(i), nonce(i))) for i in range(8)]
    await asyncio.wait(asked[:1], return_when=asyncio.FIRST_COMPLETED, timeout=0)
    for one in asked[2:6]:
        one.cancel()
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in done] == [i in range(2, 6) for i in range(8)]
    again, created = await receipts.append(new_packet(3), nonce("again"))
    assert not created
    assert verified(again.receipt, new_packet(3))
    assert await count(receipts, packets) == 8


async def test_what_waits_at_the_end_is_written(url):
    async with opened(url) as receipts:
        asked = [asyncio.ensure_future(receipts.append(new_packet(i), nonce(i))) for i in range(5)]
        await asyncio.wait(asked[:1], timeout=0)
    assert all(created for _, created in await asyncio.gather(*asked))
    async with opened(url) as receipts:
        assert await count(receipts, packets) == 5


@pytest.mark.parametrize("error", [SigningError("The token is gone."), KeyUnavailableError("The key is gone.")])
async def test_a_key_that_does_not_sign_leaves_nothing_behind_and_is_asked_again(url, error):
    broken = [False]

    def signer() -> Signer:
        if broken[0]:
            raise error
        return WORLD.intake

    async with opened(url, signer) as receipts:
        broken[0] = True
        answers = await asyncio.gather(
            *(receipts.append(new_packet(i), nonce(i)) for i in range(3)), return_exceptions=True
        )
        assert [type(one) for one in answers] == [ReceiptUnavailableError] * 3
        assert await count(receipts, packets) == await count(receipts, log_entries) == 0
        broken[0] = False
        stored, _ = await receipts.append(new_packet(1), nonce(1))  # the nonce was not taken either
        assert stored.position == 0


async def test_an_error_at_any_statement_leaves_nothing_and_the_next_upload_works(url):
    async with opened(url) as receipts:
        await receipts.append(new_packet("first"), nonce("first"))
        engine = receipts._own._engine.sync_engine
        left = [0]

        def fail(connection, cursor, statement, *more):
            left[0] -= 1
            if left[0] == 0:
                raise sa.exc.OperationalError("the disk", None, OSError(5))

        sa.event.listen(engine, "before_cursor_execute", fail)
        step = 0
        while True:
            step += 1
            left[0] = step
            try:
                await receipts.append(new_packet("second"), nonce("second"))
            except StorageUnavailableError:
                left[0] = 0
                for table, rows in ((packets, 1), (log_entries, 1), (log_nodes, 1), (log_heads, 2)):
                    assert await count(receipts, table) == rows
            else:
                break
        sa.event.remove(engine, "before_cursor_execute", fail)
        assert step > 10
        stored, _ = await receipts.append(new_packet("second"), nonce("other"))
        assert stored.position == 1


async def test_nothing_is_signed_over_a_log_that_does_not_end_as_it_was_signed(url):
    async with opened(url) as receipts:
        for i in range(3):
            await receipts.append(new_packet(i), nonce(i))
        harm = [
            sa.update(log_nodes).where(log_nodes.c.level == 1).values(hash=bytes(32)),
            sa.delete(log_entries).where(log_entries.c.position == 2),
            sa.delete(log_heads).where(log_heads.c.size == 3),
            sa.delete(log_nodes).where(log_nodes.c.number == 2),
        ]
        for one in harm:
            store = store_of(receipts)
            async with store._engine.connect() as connection:
                await connection.execute(one)
                # In the same transaction, which is never committed: the harm is undone at its end.
                with pytest.raises(StorageCorruptError):
                    await read_edge(connection)
        async with store_of(receipts).writing() as connection:
            await connection.execute(harm[1])
        with pytest.raises(StorageCorruptError, match="log verify"):
            await receipts.append(new_packet("more"), nonce("more"))
        assert await count(receipts, packets) == 3
    with pytest.raises(StorageCorruptError):
        async with opened(url):
            pass


async def make_old_database(url: str, rows: int) -> None:
    """A database as it was before the log, with packets in it."""
    engine = make_engine(url)
    await migrate(engine)
    await migrate(engine, "0001")
    values = [
        {
            "sha256": new.sha256,
            "packet_id": new.packet_id,
            "booth": new.booth,
            "recipient": new.recipient,
            "size": new.size,
            "sealed_at": new.sealed_at,
            "received_at": new.received_at - timedelta(days=1),
            "state": "received",
            "receipt": b"an old receipt",
        }
        for new in map(new_packet, range(rows))
    ]
    old = sa.table("packets", *(sa.column(c.name, c.type) for c in packets.columns if c.name != "position"))
    async with engine.begin() as connection:
        await connection.execute(sa.insert(old), values)
    await engine.dispose()


async def test_packets_from_before_the_log_get_their_place_at_the_first_start(url):
    rows = MAX_BATCH + 3
    await make_old_database(url, rows)
    async with opened(url) as receipts:
        for i in range(rows):
            stored = await store_of(receipts).find(new_packet(i).sha256)
            assert (stored.position, stored.serial) == (i, i + 1)
            assert verified(stored.receipt, new_packet(i)).received_at == NOW - timedelta(days=1)
        assert (await receipts.append(new_packet("new"), nonce()))[0].position == rows
        assert await count(receipts, log_heads) == 1 + 2 + 1
    async with opened(url) as receipts:
        assert await count(receipts, log_heads) == 4


async def test_the_log_can_be_taken_back_without_losing_packets(url):
    await make_old_database(url, 3)
    async with opened(url):
        pass
    engine = make_engine(url)
    await migrate(engine, "0001")
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda c: set(sa.inspect(c).get_table_names()))
        assert (await connection.exec_driver_sql("SELECT count(*) FROM packets")).scalar_one() == 3
    await engine.dispose()
    assert {name for name in names if name.startswith("log_")} == set()


async def test_the_numbers_of_rows_go_on_after_the_migration(sqlite_url, tmp_path):
    """SQLite's migration copies the table: its memory of given numbers must come along."""
    await make_old_database(sqlite_url, 3)
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "intake.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM packets WHERE serial = 3")
    async with opened(sqlite_url) as receipts:
        stored, _ = await receipts.append(new_packet("new"), nonce())
        assert (stored.serial, stored.position) == (4, 2)


async def test_a_signer_that_is_exchanged_is_used_from_the_next_batch_on(url):
    signers = [WORLD.intake]
    async with opened(url, lambda: signers[0]) as receipts:
        first, _ = await receipts.append(new_packet(1), nonce(1))
        signers[0] = make_signer(WORLD.authority, "intake-9", purposes=[Purpose.INTAKE.oid])
        second, _ = await receipts.append(new_packet(2), nonce(2))
        assert verified(first.receipt, new_packet(1)).intake == "intake-1"
        assert verified(second.receipt, new_packet(2)).intake == "intake-9"


async def test_a_number_is_never_given_twice_also_by_a_database_that_came_from_a_backup(receipts):
    """The numbers stand in signed entries; a restored database remembers the rows and not always how far it had counted."""
    for i in range(2):
        await receipts.append(new_packet(i), nonce(i))
    store = store_of(receipts)
    async with store.writing() as connection:
        await connection.execute(sa.delete(packets).where(packets.c.serial == 2))
    assert (await receipts.append(new_packet(2), nonce(2)))[0].serial == 3
    async with store.writing() as connection:
        if connection.dialect.name == "sqlite":
            await connection.exec_driver_sql("DELETE FROM sqlite_sequence")
        else:
            await connection.exec_driver_sql("ALTER SEQUENCE packets_serial_seq RESTART")
    answers = await asyncio.gather(*(receipts.append(new_packet(i), nonce(i)) for i in (3, 4)))
    assert sorted(stored.serial for stored, _ in answers) == [4, 5]
