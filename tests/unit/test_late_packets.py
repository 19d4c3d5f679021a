"""A packet that comes again after its deletion: the booth gets a receipt that proves it, nothing is stored again, the log stays sound."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from booth.config import IntakeSection
from booth.delivery import SINGLE_BYTES
from booth.disk import DiskFiles
from booth.outbox import OutboxLimits, open_outbox
from booth.uplink import Uplink
from crypto.keys import SignerSource
from crypto.receipt import verify_receipt
from crypto.seal import read_header
from server.deletion_audit import account_for_deletions, check_deletions
from server.deletions import Deletions
from server.log_audit import audit_log
from tests.intake_rig import BASE, running
from tests.sealed_packets import Keys, digest


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("late-packets") / "pki")


@pytest.fixture
async def run(keys, tmp_path):
    async with running(keys, tmp_path / "data") as started:
        yield started


def deletions_of(run, keys) -> Deletions:
    signer = SignerSource(run.rooms.settings.receipt_signer).current
    place = run.rooms.objects
    return Deletions(
        *(run.rooms.store, place.packets, place.orders, signer, keys.trust),
        lambda: datetime.now(UTC),
        timedelta(days=30),
    )


async def check(run, keys, answer: httpx2.Response, packet: bytes) -> None:
    assert answer.status_code == 200, answer.text
    assert verify_receipt(answer.content, keys.trust, digest(packet)).packet_sha256 == digest(packet)
    assert await run.rooms.store.find(digest(packet)) is None
    assert digest(packet) not in run.files()
    audit = await audit_log(
        run.rooms.store,
        keys.trust,
        objects=run.rooms.objects.packets,
        accounts=[account_for_deletions(keys.trust)],
        checks=[check_deletions(keys.trust)],
    )
    assert audit.findings == []


async def test_a_deleted_packet_that_comes_again_is_receipted_and_not_stored(run, keys):
    packet, other = keys.packet(), keys.packet()
    first = await run.put(packet)
    await run.put(other)
    await deletions_of(run, keys).delete_packet(digest(packet), "undecided")
    await run.put(keys.packet())  # the log goes on
    answer = await run.put(packet)
    await check(run, keys, answer, packet)
    given = verify_receipt(answer.content, keys.trust, digest(packet))
    before = verify_receipt(
        first.content, keys.trust, digest(packet)
    )  # a receipt from before it was deleted proves as much as ever
    assert (given.position, given.received_at, given.log) == (before.position, before.received_at, before.log)
    assert given.tree_size > before.tree_size
    await check(run, keys, await run.get(f"/v1/packets/{digest(packet)}/receipt"), packet)
    known = await run.get(f"/v1/packets/{digest(packet)}", "HEAD")
    assert (known.status_code, known.headers["upload-complete"]) == (200, "?1")
    assert known.headers["upload-length"] == str(len(packet))
    resumed = await run.upload("PUT", digest(packet), packet, complete=True, length=len(packet))
    await check(run, keys, resumed, packet)


async def test_bytes_that_were_coming_while_the_packet_was_deleted_are_deleted_again(run, keys, monkeypatch):
    """Between the look at the row and the commit of the upload: the log notices, and the bytes go."""
    packet = keys.packet()
    await run.put(packet)
    await run.rooms.objects.packets.delete(digest(packet))  # so that it is taken in again
    deletions, append = deletions_of(run, keys), run.rooms.receipts.append

    async def late(new, nonce, links):
        await deletions.delete_packet(new.sha256, "undecided")
        async with run.rooms.objects.packets.writer() as writer:
            await writer.write(packet)
            await writer.keep(new.sha256)
        return await append(new, nonce, links)

    monkeypatch.setattr(run.rooms.receipts, "append", late)
    await check(run, keys, await run.put(packet), packet)
    assert not await run.rooms.objects.packets.holds(digest(packet))


@pytest.mark.parametrize("padding", [0, SINGLE_BYTES])  # sent at once, and asked for first
async def test_a_booth_that_never_saw_its_receipt_settles_the_packet(run, keys, tmp_path, padding):
    packet = keys.packet(padding=padding)
    await run.put(packet)
    await deletions_of(run, keys).delete_packet(digest(packet), "undecided")
    with (
        ThreadPoolExecutor(1) as worker,
        open_outbox(tmp_path / "outbox", OutboxLimits(min_free_bytes=0), time.time, DiskFiles()) as outbox,
    ):
        outbox.put(packet, read_header(packet).packet_id)
        settings = IntakeSection(url=BASE, trust=keys.folder / "ca.pem")
        signer, trust = keys.signer, keys.trust
        uplink = Uplink(outbox, worker, settings, lambda: signer, lambda: trust, run.client, time.time)
        await uplink.deliver(outbox.next_due())
        assert (outbox.status.waiting, outbox.status.refused) == (0, 0)
        assert verify_receipt(outbox.receipt(digest(packet)), keys.trust, digest(packet)).booth == "booth-0001"
    assert digest(packet) not in run.files()
