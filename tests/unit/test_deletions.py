"""Deletion proven: row, links, bytes and messages go, signed records stay; a crash anywhere is brought to its end; a hold is never raced."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import timedelta

import pytest
import sqlalchemy as sa

from crypto.application import application_digest
from crypto.errors import KeyUnavailableError, RetentionRecordError, SealingError
from crypto.keys import Purpose
from crypto.retention_records import DeletionRecord, ErasureRecord, HoldRecord, digest_of
from server.application_rows import Links, Registry, captures, unlink
from server.applications import NewApplication, State
from server.deletion_audit import account_for_deletions, check_deletions, check_holds
from server.deletions import Deletions, count_unfinished, deletions, lock_packet
from server.errors import ReceiptUnavailableError, StorageCorruptError, UnknownPacketError
from server.handover_rows import decisions, orders
from server.holds import HoldReason, Holds, hold_head, holds
from server.log_audit import Audit, audit_log
from server.retention_errors import HeldError, HoldUnknownError
from tests.packets import NOW, make_signer
from tests.unit.test_receipt_log import WORLD, clock, new_packet, opened, sqlite_url, store_of, url  # noqa: F401 (fixtures)

BACKUPS = timedelta(days=14)
DESK = make_signer(WORLD.authority, "desk-1", purposes=[Purpose.DESK.oid])
NUMBER = "DEMO2026000017Q"


class Shelf:
    """A place for bytes."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.asked = 0
        self.deaf = False  # says that it deleted, and did not

    async def delete(self, name: str) -> bool:
        self.asked += 1
        there = name in self.names
        if not self.deaf:
            self.names.discard(name)
        return there

    async def holds(self, name: str) -> bool:
        return name in self.names


class Rig:
    """A store with two packets, the first with two messages for producers and a capture."""

    def __init__(self, receipts) -> None:
        self.receipts, self.store = receipts, store_of(receipts)
        self.sealed, self.messages = Shelf(), Shelf()
        self.one, self.other = new_packet("one"), new_packet("other")
        self.deletions = self.made()
        self.holds = Holds(self.store, lambda: DESK, Purpose.DESK, clock)

    def made(self, signer=lambda: WORLD.intake) -> Deletions:
        return Deletions(self.store, self.sealed, self.messages, signer, WORLD.trust, clock, BACKUPS)

    async def fill(self) -> None:
        links = Links(application_digest(NUMBER).hex(), "ab" * 32)
        await self.receipts.append(self.one, None, links)
        await self.receipts.append(self.other, None)
        self.sealed.names = {self.one.sha256, self.other.sha256}
        self.messages.names = {hashlib.sha256(bytes([n])).hexdigest() for n in range(3)}
        rows = [
            {
                "id": f"{n:032x}", "cursor": n + 1, "packet_sha256": self.one.sha256 if n < 2 else self.other.sha256,
                "producer": f"producer-{n}", "message_sha256": hashlib.sha256(bytes([n])).hexdigest(), "size": 1,
                "created_at": NOW, "answer_by": NOW, "note": b"",
            }
            for n in range(3)
        ]  # fmt: skip
        async with self.store.writing() as connection:
            await connection.execute(sa.insert(orders), rows)

    async def row(self) -> sa.Row:
        async with self.store.reading() as connection:
            return (await connection.execute(sa.select(deletions))).one()

    async def audit(self) -> list[str]:
        checks = [check_deletions(WORLD.trust), check_holds(WORLD.trust)]
        accounts = [account_for_deletions(WORLD.trust)]
        audit = await audit_log(self.store, WORLD.trust, accounts=accounts, checks=checks)
        return sorted({finding.code for finding in audit.findings})

    async def audit_holds(self) -> list[str]:
        audit = Audit()
        async with self.store.reading() as connection:
            await check_holds(WORLD.trust)(connection, audit)
        return sorted({finding.code for finding in audit.findings})

    async def sql(self, statement: str) -> None:
        async with self.store.writing() as connection:
            assert (await connection.exec_driver_sql(statement)).rowcount >= 1


async def finish(made: Deletions) -> int:
    """What the job does with deletions that were cut off."""
    unfinished = await made.unfinished(9)
    for one in unfinished:
        await made.delete_packet(one.packet_sha256, one.reason)
    return len(unfinished)


@contextlib.asynccontextmanager
async def rigged(url):  # noqa: F811 (no fixture here)
    async with opened(url) as receipts:
        made = Rig(receipts)
        await made.fill()
        yield made


@pytest.fixture
async def rig(sqlite_url):  # noqa: F811 (the fixture of that name)
    async with rigged(sqlite_url) as made:
        yield made


@pytest.fixture
async def any_rig(url):  # noqa: F811 (the fixture of that name)
    async with rigged(url) as made:
        yield made


async def test_a_deletion_takes_the_row_the_links_the_bytes_and_the_messages_and_leaves_signed_records(any_rig):
    deletion = await any_rig.deletions.delete_packet(any_rig.one.sha256, "undecided")
    assert await any_rig.store.find(any_rig.one.sha256) is None
    assert await any_rig.store.find(any_rig.other.sha256) is not None
    assert any_rig.sealed.names == {any_rig.other.sha256}
    assert len(any_rig.messages.names) == 1
    async with any_rig.store.reading() as connection:
        assert (await connection.execute(sa.select(captures))).all() == []
    record = DeletionRecord.verify(deletion.record, WORLD.trust)
    assert (record.packet_sha256, record.position, record.reason, record.messages) == (
        any_rig.one.sha256,
        0,
        "undecided",
        2,
    )
    assert (record.at, record.backups_end_at, record.signer) == (NOW, NOW + BACKUPS, "intake-1")
    erasure = ErasureRecord.verify(deletion.erasure, WORLD.trust)
    assert (erasure.packet_sha256, erasure.deletion_sha256) == (any_rig.one.sha256, digest_of(deletion.record))
    assert await any_rig.audit() == []
    assert await any_rig.deletions.delete_packet(any_rig.one.sha256, "undecided") == deletion  # done once
    with pytest.raises(UnknownPacketError):
        await any_rig.deletions.delete_packet("0" * 64, "undecided")


async def test_an_application_whose_only_portrait_went_undecided_is_filed_again_unless_links_are_kept(rig):
    registry = Registry(rig.store, clock)
    await registry.file([NewApplication(NUMBER, "centre-1", NOW.date())])
    again = new_packet("again")
    await rig.receipts.append(again, None, Links(application_digest(NUMBER).hex()))
    await rig.deletions.delete_packet(again.sha256, "undecided", unlinked=False)
    assert len(await registry.captures_of(NUMBER)) == 2
    await rig.deletions.delete_packet(rig.one.sha256, "undecided")
    assert (await registry.find(NUMBER)).state is State.CAPTURED  # the kept link counts
    async with rig.store.writing() as connection:
        await unlink(connection, again.sha256, NOW)
    assert (await registry.find(NUMBER)).state is State.FILED


async def test_a_packet_that_somebody_made_older_by_hand_is_not_deleted(rig):
    await rig.sql(f"UPDATE packets SET received_at = '2020-01-01 00:00:00.000000' WHERE sha256 = '{rig.one.sha256}'")
    with pytest.raises(StorageCorruptError, match="not what the log says"):
        await rig.deletions.delete_packet(rig.one.sha256, "undecided")
    assert rig.one.sha256 in rig.sealed.names


async def test_a_key_that_does_not_sign_or_a_condition_that_no_longer_holds_leaves_everything_as_it_was(rig):
    def gone():
        raise KeyUnavailableError("The token is unplugged.")

    async def refuse(_connection, packet):
        assert packet.sha256 == rig.one.sha256
        raise HeldError

    with pytest.raises(ReceiptUnavailableError):
        await rig.made(gone).delete_packet(rig.one.sha256, "undecided")
    with pytest.raises(HeldError):
        await rig.deletions.delete_packet(rig.one.sha256, "undecided", check=refuse)
    assert await rig.store.find(rig.one.sha256) is not None
    assert rig.sealed.asked == rig.messages.asked == 0


async def test_a_store_that_only_says_that_it_deleted_proves_nothing(rig):
    rig.sealed.deaf = True
    with pytest.raises(StorageCorruptError):
        await rig.deletions.delete_packet(rig.one.sha256, "undecided")
    assert (await rig.row()).erasure is None
    assert await rig.store.find(rig.one.sha256) is None  # never a row whose bytes may be gone
    assert await rig.audit() == []
    assert await count_unfinished(rig.store) == 1
    rig.sealed.deaf = False
    assert await finish(rig.deletions) == 1
    assert await count_unfinished(rig.store) == 0
    assert await finish(rig.deletions) == 0
    assert (await rig.row()).erased_at == NOW


async def test_a_deletion_of_a_packet_that_is_here_deletes_nothing_and_is_found(rig):
    """Somebody who can write the database but not sign."""
    await rig.deletions.delete_packet(rig.one.sha256, "undecided")
    await rig.sql(f"UPDATE deletions SET packet_sha256 = '{rig.other.sha256}', erased_at = NULL, erasure = NULL")
    with pytest.raises(StorageCorruptError):
        await finish(rig.deletions)
    assert rig.other.sha256 in rig.sealed.names
    assert await rig.audit() == ["deletion.changed", "deletion.packet", "packet.missing"]
    # The packet's row taken away, too: its bytes stay for whoever brings the row back.
    await rig.sql(f"DELETE FROM packets WHERE sha256 = '{rig.other.sha256}'")
    with pytest.raises(StorageCorruptError, match="another packet"):
        await finish(rig.deletions)
    await rig.sql("UPDATE deletions SET record = X'3000'")
    with pytest.raises(StorageCorruptError, match="not one of a trusted intake"):
        await finish(rig.deletions)
    assert rig.other.sha256 in rig.sealed.names


CHANGES = [
    ("DELETE FROM deletions", ["packet.missing"]),
    ("UPDATE deletions SET reason = 'rejected'", ["deletion.changed", "deletion.reason"]),
    ("UPDATE deletions SET size = size + 1", ["deletion.changed"]),
    ("UPDATE deletions SET reason = CAST(reason AS BLOB)", ["row.kind"]),
    ("UPDATE deletions SET erasure = NULL", ["deletion.changed"]),
    ("UPDATE deletions SET erased_at = NULL", ["deletion.changed"]),
    ("UPDATE deletions SET erasure = record", ["deletion.changed"]),
    ("UPDATE deletions SET record = erasure", ["deletion.changed", "packet.missing"]),
    ("DELETE FROM holds WHERE number = 1", ["hold.changed", "hold.missing"]),
    ("DELETE FROM holds WHERE number = 3", ["hold.missing"]),
    ("DELETE FROM holds", ["hold.missing"]),
    ("UPDATE holds SET reason = 'fraud' WHERE number = 2", ["hold.changed"]),
    ("UPDATE holds SET number = 4 WHERE number = 3", ["hold.changed", "hold.head", "hold.missing"]),
    ("UPDATE hold_head SET number = 2", ["hold.head"]),
    ("DELETE FROM hold_head", ["hold.head"]),
    (
        "INSERT INTO decisions SELECT 1, packet_sha256, deleted_at, 'accepted', record, record FROM deletions",
        ["deletion.reason"],
    ),
    ("UPDATE hold_head SET head = (SELECT record FROM holds WHERE number = 3)", ["hold.head"]),
]


async def test_every_change_by_direct_sql_is_found(rig):
    await rig.holds.place(rig.other.sha256, HoldReason.COURT, "officer-1")
    await rig.holds.place(rig.other.sha256, HoldReason.COMPLAINT, "officer-1")
    await rig.holds.release(rig.other.sha256, HoldReason.COURT, "officer-2")
    await rig.deletions.delete_packet(rig.one.sha256, "undecided")
    assert await rig.audit() == []
    tables = (deletions, holds, hold_head, decisions)
    async with rig.store.reading() as connection:
        before = [[row._asdict() for row in await connection.execute(sa.select(table))] for table in tables]
    for statement, codes in CHANGES:
        await rig.sql(statement)
        found = await rig.audit_holds() if "hold" in statement else await rig.audit()
        assert found == codes, statement
        async with rig.store.writing() as connection:
            for table, rows in zip(tables, before, strict=True):
                await connection.execute(sa.delete(table))
                if rows:
                    await connection.execute(sa.insert(table), rows)
    assert await rig.audit() == []


async def test_a_hold_keeps_a_packet_until_every_one_is_released(rig):
    placed = await rig.holds.place(rig.one.sha256, HoldReason.COURT, "officer-1")
    assert await rig.holds.place(rig.one.sha256, HoldReason.COURT, "officer-2") == placed
    await rig.holds.place(rig.one.sha256, HoldReason.FRAUD, "officer-1")
    record = HoldRecord.verify(placed.record, WORLD.trust)
    assert (record.by, record.reason, record.action, record.number) == ("officer-1", "court", "placed", 1)
    for reason in (HoldReason.COURT, HoldReason.FRAUD):
        with pytest.raises(HeldError):
            await rig.deletions.delete_packet(rig.one.sha256, "undecided")
        await rig.holds.release(rig.one.sha256, reason, "officer-1")
        with pytest.raises(HoldUnknownError):
            await rig.holds.release(rig.one.sha256, reason, "officer-1")
    assert [hold.action for hold in await rig.holds.of(rig.one.sha256)] == ["placed", "placed", "released", "released"]
    await rig.deletions.delete_packet(rig.one.sha256, "undecided")
    with pytest.raises(UnknownPacketError):
        await rig.holds.place(rig.one.sha256, HoldReason.COURT, "officer-1")
    assert await rig.audit() == []


async def test_a_hold_that_was_away_while_its_packet_was_deleted_is_found(rig):
    """Somebody who can write the database takes a hold out, waits for the job, and puts it back."""
    await rig.holds.place(rig.one.sha256, HoldReason.COURT, "officer-1")
    await rig.sql("UPDATE holds SET action = 'released'")
    await rig.deletions.delete_packet(rig.one.sha256, "undecided")
    await rig.sql("UPDATE holds SET action = 'placed'")
    assert await rig.audit() == ["deletion.held"]


async def test_a_hold_that_comes_during_a_deletion_is_too_late_or_keeps_the_packet(any_rig):
    """Whichever commits first: no order of the two leaves a packet both held and deleted."""
    for turn in range(6):
        new = new_packet(("race", turn))
        await any_rig.receipts.append(new, None)
        any_rig.sealed.names.add(new.sha256)
        both = [
            any_rig.holds.place(new.sha256, HoldReason.COURT, "desk"),
            any_rig.deletions.delete_packet(new.sha256, "undecided"),
        ]
        outcomes = await asyncio.gather(*(both if turn % 2 else both[::-1]), return_exceptions=True)
        failed = [one for one in outcomes if isinstance(one, Exception)]
        assert [type(one) for one in failed] in ([HeldError], [UnknownPacketError])
        held = isinstance(failed[0], HeldError)
        assert (await any_rig.store.find(new.sha256) is not None) == held == (new.sha256 in any_rig.sealed.names)


async def test_a_deletion_waits_for_whoever_has_locked_the_packet(any_rig):
    """A hold or an order that is being written is seen by the deletion that comes meanwhile."""
    async with contextlib.AsyncExitStack() as stack:
        connection = await stack.enter_async_context(any_rig.store.writing())
        assert await lock_packet(connection, any_rig.one.sha256) is not None
        deleting = asyncio.create_task(any_rig.deletions.delete_packet(any_rig.one.sha256, "undecided"))
        done, _ = await asyncio.wait([deleting], timeout=0.2)
        assert not done
    await deleting


def test_a_record_is_refused_when_it_is_not_of_a_server_or_of_another_kind():
    said = {"at": NOW, "number": 1, "previous_sha256": "0" * 64, "packet_sha256": "a" * 64, "action": "placed"}
    held = HoldRecord.sign(WORLD.intake, reason="court", by="operator", **said)
    assert HoldRecord.verify(held, WORLD.trust).signer == "intake-1"
    with pytest.raises(RetentionRecordError):
        DeletionRecord.verify(held, WORLD.trust)
    with pytest.raises(RetentionRecordError):
        HoldRecord.verify(held[:-1] + bytes([held[-1] ^ 1]), WORLD.trust)
    with pytest.raises(SealingError):
        HoldRecord.sign(WORLD.booth, reason="court", by="operator", **said)
    with pytest.raises(RetentionRecordError):
        HoldRecord.sign(WORLD.intake, reason="Because the applicant, Mr A., objects", by="operator", **said)
