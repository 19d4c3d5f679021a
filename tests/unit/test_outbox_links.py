"""What the intake is told beside a packet (application, status) is kept with it: over restarts, an older database, and a damaged one."""

from __future__ import annotations

import hashlib
import sqlite3

import httpx2

from booth.delivery import APPLICATION_HEADER, STATUS_HEADER
from booth.outbox import DATABASE, NO_LINKS, Links, OutboxLimits, PacketState, open_outbox
from booth.outbox_audit import read_entries
from booth.outbox_database import _INDEX, _OLD_TABLE
from tests.uplink_rig import PACKETS, deliver_all

LINKS = Links("a1" * 32, "b2" * 32)
PAGE = 4096


def opened(folder):
    return open_outbox(folder, OutboxLimits(min_free_bytes=0), lambda: 1_000.0)


def links_of(outbox):
    return {entry.sha256: entry.links for entry in outbox.entries()}


def test_links_are_kept_with_their_packet(tmp_path):
    with opened(tmp_path) as outbox:
        with_links = outbox.put(b"one", "id", links=LINKS)
        without = outbox.put(b"two", "id")
        assert outbox.put(b"one", "id", links=NO_LINKS) == with_links
    with opened(tmp_path) as outbox:
        assert links_of(outbox) == {with_links: LINKS, without: NO_LINKS}
        outbox._doubt = "an I/O error"
        assert links_of(outbox) == {with_links: LINKS, without: NO_LINKS}, "in the database that is written anew"


def make_old_outbox(folder):
    """As a booth from before the links left it: one packet waits, one is delivered, one was refused."""
    packets = folder / "packets"
    packets.mkdir(parents=True)
    database = sqlite3.connect(folder / DATABASE)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(_OLD_TABLE)
    database.execute(_INDEX)
    rows = [(b"waits", "waiting", None, None), (b"delivered", "receipted", b"receipt", 900.0)]
    rows.append((b"refused", "refused", None, None))
    for packet, state, receipt, at in rows:
        sha256 = hashlib.sha256(packet).hexdigest()
        if state != "receipted":
            (packets / f"{sha256}.packet").write_bytes(packet)
        database.execute(
            "INSERT INTO packets (sha256, packet_id, size, state, created_at, attempts, receipt, receipted_at) "
            "VALUES (?, 'id', ?, ?, 800.0, 3, ?, ?)",
            (sha256, len(packet), state, receipt, at),
        )
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    return [hashlib.sha256(packet).hexdigest() for packet, *_ in rows]


def test_an_older_database_gets_its_columns_and_loses_nothing(tmp_path):
    waits, delivered, refused = make_old_outbox(tmp_path)
    assert {entry.links for entry in read_entries(tmp_path)} == {NO_LINKS}, "looked at before it is opened"
    for _ in range(2):
        with opened(tmp_path) as outbox:
            assert outbox.problems == [], "neither set aside nor told of"
            entries = {entry.sha256: entry for entry in outbox.entries()}
            assert {sha: entry.state.value for sha, entry in entries.items()} == {
                waits: "waiting",
                delivered: "receipted",
                refused: "refused",
            }
            assert {(entry.attempts, entry.links) for entry in entries.values()} == {(3, NO_LINKS)}
            assert outbox.receipt(delivered) == b"receipt"
            assert outbox.read(waits) == b"waits"
    with opened(tmp_path) as outbox:
        new = outbox.put(b"new", "id", links=LINKS)
        assert links_of(outbox)[new] == LINKS


def test_a_link_that_is_no_digest_is_forgotten_and_its_packet_waits(tmp_path):
    with opened(tmp_path) as outbox:
        sha256 = outbox.put(b"one", "id", links=LINKS)
        outbox._change("UPDATE packets SET application = 'A1', status = ? WHERE sha256 = ?", "g" * 64, sha256)
    with opened(tmp_path) as outbox:
        (entry,) = outbox.entries()
        assert (entry.links, entry.state) == (NO_LINKS, PacketState.WAITING)


def test_links_that_a_damaged_database_still_gives_are_kept(tmp_path):
    packets = [bytes([n]) * 300 for n in range(60)]
    with opened(tmp_path) as outbox:
        digests = [outbox.put(packet, "id", links=LINKS) for packet in packets]
    whole = (tmp_path / DATABASE).read_bytes()
    kept = []
    for number in range(1, len(whole) // PAGE):
        for rest in tmp_path.glob(f"{DATABASE}*"):
            rest.unlink()
        start = number * PAGE
        (tmp_path / DATABASE).write_bytes(whole[:start] + b"\xa5" * PAGE + whole[start + PAGE :])
        with opened(tmp_path) as outbox:
            entries = outbox.entries()
            assert {entry.sha256 for entry in entries} == set(digests), "no packet is lost with its row"
            assert {entry.state for entry in entries} == {PacketState.WAITING}
            assert all(outbox.read(sha256) in packets for sha256 in digests[:3])
            kept.append(sum(entry.links == LINKS for entry in entries))
    assert len(kept) > 5
    assert sum(kept) / len(kept) > 30, "all but those behind a lost inner page, and on the page itself"


async def test_links_are_sent_as_signed_headers(uplink, outbox, intake, clocks):
    """The rig's intake verifies the signature, which covers them."""
    seen = []

    async def told(request):
        seen.append(tuple(request.headers.get(name) for name in (APPLICATION_HEADER, STATUS_HEADER)))
        assert (APPLICATION_HEADER.lower() in request.headers["signature-input"]) is any(seen[-1])
        return await intake(request)

    uplink.delivery.client = httpx2.AsyncClient(transport=httpx2.MockTransport(told))
    async with uplink.delivery.client:
        outbox.put(PACKETS[0], "id", links=LINKS)
        outbox.put(PACKETS[1], "id")
        await deliver_all(uplink, outbox, clocks, 60.0)
    assert seen == [(LINKS.application, LINKS.status), (None, None)]
