"""Every packet is delivered once, however long the intake is away, and deleted only against a receipt that names it."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import httpx2
import pytest

from booth.delivery import SINGLE_BYTES
from booth.errors import OutboxWriteError
from booth.log_witness import LogWitness
from booth.outbox import PacketState
from booth.outbox_order import make_due
from booth.revocation_list import RevocationLists
from booth.uplink import open_uplink
from crypto.keys import load_trust, make_development_pki, open_signer
from tests.receipts import ReceiptPad
from tests.uplink_rig import NOW, PACKETS, deliver_all, problem


async def test_a_packet_is_delivered_and_its_copy_deleted_against_the_receipt(uplink, outbox, intake):
    sha = outbox.put(PACKETS[0], "id")
    await uplink.deliver(outbox.next_due())
    assert intake.received == [PACKETS[0]]
    assert outbox.entries()[0].state is PacketState.RECEIPTED
    assert outbox.receipt(sha)
    assert outbox.status.stored_bytes == 0
    assert uplink.status.last_receipt_at == NOW


async def test_a_large_packet_goes_on_where_the_intake_has_it_and_one_that_is_there_is_not_sent(uplink, outbox, intake):
    begun, there = (bytes([number]) * (SINGLE_BYTES + 1) for number in range(2))
    intake.partial[outbox.put(begun, "id")] = begun[:700_000]
    await uplink.deliver(outbox.next_due())
    intake.stored.add(outbox.put(there, "id"))
    await uplink.deliver(outbox.next_due())
    assert intake.received == [begun[700_000:]]
    assert {entry.state for entry in outbox.entries()} == {PacketState.RECEIPTED}


async def test_a_duplicate_is_a_success(uplink, outbox, intake):
    sha = outbox.put(PACKETS[0], "id")
    intake.stored.add(sha)
    await uplink.deliver(outbox.next_due())
    assert outbox.entries()[0].state is PacketState.RECEIPTED


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("silent"),
        httpx2.RemoteProtocolError("cut"),
        httpx2.Response(502, text="<html>bad gateway</html>"),
        httpx2.Response(403, text="<html>blocked by proxy</html>"),
        httpx2.Response(302, headers={"location": "https://portal.example/login"}),
        httpx2.Response(200, text="welcome to the hotel network"),
        problem(503, "storage.unavailable", retry=True),
        problem(429, "server.busy", retry=True),
        problem(408, "request.slow", retry=True),
        problem(401, "signature.expired", retry=True),
        problem(401, "signature.invalid", retry=False),
        problem(404, "request.unknown_path", retry=False),
        problem(405, "request.method", retry=False),
        problem(415, "request.media_type", retry=False),
        problem(400, "request.malformed", retry=False),
        problem(403, "booth.blocked", retry=False),
        problem(500, "storage.corrupt", retry=False),
        httpx2.Response(404, text="no such page"),
    ],
    ids=lambda answer: (getattr(answer, "status_code", None) and str(answer.status_code)) or type(answer).__name__,
)
async def test_what_may_pass_is_tried_again(uplink, outbox, intake, answer):
    outbox.put(PACKETS[0], "id")
    intake.answers = [answer]
    await uplink.deliver(outbox.next_due())
    entry = outbox.next_due()
    assert (entry.state, entry.attempts) == (PacketState.WAITING, 1)
    assert entry.next_try_at == NOW + 2
    assert uplink.status.last_error
    assert outbox.read(entry.sha256) == PACKETS[0]


async def test_a_refusal_for_good_is_kept_and_flagged_with_the_intakes_reason(uplink, outbox, intake):
    outbox.put(PACKETS[0], "id")
    intake.answers = [problem(403, "packet.booth_mismatch", retry=False)]
    await uplink.deliver(outbox.next_due())
    entry = outbox.entries()[0]
    assert (entry.state, entry.error_code) == (PacketState.REFUSED, "packet.booth_mismatch")
    assert "Told by the intake" in entry.error
    assert outbox.read(entry.sha256) == PACKETS[0]


async def test_a_receipt_for_another_packet_or_by_another_signer_deletes_nothing(uplink, outbox, intake, pki):
    sha = outbox.put(PACKETS[0], "id")
    intake.answers = [httpx2.Response(201, content=intake.receipt("0" * 64))]
    await uplink.deliver(outbox.next_due())
    assert outbox.next_due().error_code == "intake.receipt"
    wrong = make_development_pki(pki.parent / f"{pki.name}-other")
    intake.signer = open_signer(f"file:{wrong / 'intake.key'}")
    await uplink.deliver(outbox.next_due())
    assert outbox.next_due().error_code == "intake.receipt"
    assert outbox.read(sha) == PACKETS[0]


async def test_the_pause_doubles_up_to_its_cap_and_is_spread(uplink):
    assert [uplink.pause_s(n) for n in range(4)] == [2, 4, 8, 16]
    assert uplink.pause_s(10_000) == 300
    uplink._chance = lambda: 0.0
    assert uplink.pause_s(1) == 2
    assert uplink.pause_s(0, asked_s=60) == 60
    assert uplink.pause_s(0, asked_s=86_400) == 300


async def test_while_the_intake_is_away_only_one_packet_knocks_and_then_all_go(uplink, outbox, intake, clocks):
    for packet in PACKETS:
        outbox.put(packet, "id")
    intake.answers = [httpx2.ConnectError("down")]
    assert await uplink._turn() == 0
    assert await uplink._turn() == 2
    assert len(intake.received) == 1
    assert uplink.status.next_try_at == NOW + 2
    uplink.wake()
    clocks.pass_s(2)
    for _ in PACKETS:
        assert await uplink._turn() == 0
    assert await uplink._turn() is None
    assert sorted(intake.received[1:]) == sorted(PACKETS)


@pytest.mark.parametrize("back_s", [1, 299, 3_600, 10 * 86_400])
async def test_a_clock_that_was_set_back_delays_no_longer_than_the_longest_pause(
    uplink, outbox, intake, clocks, back_s
):
    clocks.wall = NOW + back_s
    sha = outbox.put(PACKETS[0], "id")
    outbox.postpone(sha, NOW + back_s + 300, "intake.unreachable", "No answer.")
    clocks.wall = NOW
    assert await deliver_all(uplink, outbox, clocks, 86_400) <= 601
    assert intake.received == [PACKETS[0]]


async def test_a_clock_that_is_set_back_while_the_intake_is_away_prolongs_no_pause(uplink, outbox, intake, clocks):
    outbox.put(PACKETS[0], "id")
    intake.answers = [httpx2.ConnectError("down")]
    await uplink._turn()
    clocks.wall -= 10 * 86_400
    assert await uplink._turn() == 2
    assert await deliver_all(uplink, outbox, clocks, 86_400) <= 303
    assert intake.received == [PACKETS[0]] * 2


@pytest.mark.parametrize(
    "answer",
    [
        problem(500, "storage.corrupt", retry=False),
        httpx2.Response(413, text="<html>too large for the proxy</html>"),
        httpx2.Response(200, text="welcome to the hotel network"),
        httpx2.Response(200, content=b"x" * 100_000),
    ],
    ids=["500", "proxy", "no receipt", "long"],
)
async def test_a_packet_that_brings_trouble_on_itself_holds_up_no_other(uplink, outbox, intake, clocks, answer):
    poisoned = outbox.put(b"poisoned", "id")
    take = intake.__call__

    async def for_others(request):
        if request.url.path.endswith(poisoned):
            intake.received.append(b"poisoned")
            return httpx2.Response(answer.status_code, content=answer.content, headers=answer.headers)
        return await take(request)

    uplink.delivery.client._transport = httpx2.MockTransport(for_others)
    await deliver_all(uplink, outbox, clocks, 12 * 3_600)
    intake.received.clear()
    for number in range(20):
        outbox.put(b"good %d" % number, "id")
    for _ in range(21):
        clocks.pass_s(await uplink._turn() or 0)
    assert outbox.status.waiting == 1
    assert intake.received.count(b"poisoned") <= 1
    assert outbox.next_due().sha256 == poisoned


async def test_a_packet_that_gets_no_answer_lets_the_others_go_first(uplink, outbox, intake, clocks):
    silent = outbox.put(b"silent", "id")
    take = intake.__call__

    async def for_others(request):
        if request.url.path.endswith(silent):
            raise httpx2.ReadTimeout("silent")
        return await take(request)

    uplink.delivery.client._transport = httpx2.MockTransport(for_others)
    await deliver_all(uplink, outbox, clocks, 12 * 3_600)
    for number in range(20):
        outbox.put(b"good %d" % number, "id")
    clocks.pass_s(300)
    start = clocks.steady
    while outbox.status.waiting > 1 and clocks.steady < start + 3_600:
        clocks.pass_s(await uplink._turn() or 0)
    assert outbox.status.waiting == 1
    assert clocks.steady - start <= 30


@pytest.mark.parametrize(
    ("answer", "pauses"),
    [
        (httpx2.ConnectError("refused"), True),
        (problem(503, "server.busy", retry=True), True),
        (httpx2.Response(429), True),
        (problem(401, "signature.expired", retry=True), True),
        (problem(404, "request.unknown_path", retry=False), True),
        (httpx2.Response(404, text="no such page"), True),
        (problem(408, "request.slow", retry=True), False),
        (httpx2.Response(502, text="<html>bad gateway</html>"), False),
        (problem(403, "packet.booth_mismatch", retry=False), False),
    ],
)
async def test_only_what_concerns_every_packet_pauses_the_others(uplink, outbox, intake, answer, pauses):
    for packet in PACKETS[:2]:
        outbox.put(packet, "id")
    intake.answers = [answer]
    assert await uplink._turn() == 0
    assert await uplink._turn() == (2 if pauses else 0)
    assert len(intake.received) == (1 if pauses else 2)


async def test_a_wrong_address_is_told_and_condemns_no_packet(uplink, outbox, intake, clocks):
    outbox.put(PACKETS[0], "id")
    intake.answers = [problem(404, "request.unknown_path", retry=False)]
    await uplink._turn()
    assert "address" in uplink.status.last_error
    assert outbox.status.refused == 0
    assert await deliver_all(uplink, outbox, clocks, 60) <= 3


async def test_a_file_that_cannot_be_read_now_is_tried_again(uplink, outbox, intake, clocks, monkeypatch):
    outbox.put(PACKETS[0], "id")
    with monkeypatch.context() as patch:

        def no_more_files(_path):
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(Path, "read_bytes", no_more_files)
        await uplink.deliver(outbox.next_due())
    assert outbox.next_due().error_code == "outbox.unreadable"
    assert await deliver_all(uplink, outbox, clocks, 60) <= 3
    assert intake.received == [PACKETS[0]]


async def test_a_receipt_that_the_disk_does_not_take_is_stored_later_without_another_upload(
    uplink, outbox, intake, clocks, monkeypatch
):
    sha = outbox.put(PACKETS[0], "id")
    tries, pauses = [], []
    pause_s = uplink.pause_s

    def noted_pause(attempts, asked_s=None):
        pauses.append(pause_s(attempts, asked_s))
        return pauses[-1]

    with monkeypatch.context() as patch:
        patch.setattr(uplink, "pause_s", noted_pause)

        def full(*arguments):
            tries.append(arguments)
            raise OutboxWriteError("database or disk is full")

        patch.setattr(outbox, "settle", full)
        running = asyncio.create_task(uplink.run())
        try:
            async with asyncio.timeout(10):
                while len(pauses) < 9:
                    clocks.pass_s(300)  # so that the pause is over when the uplink is woken
                    uplink.wake()
                    await asyncio.sleep(0)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert intake.received == [PACKETS[0]]
    assert "disk is full" in uplink.status.last_error
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert len(tries) == 9
    clocks.pass_s(300)
    assert await uplink._turn() is None
    assert outbox.receipt(sha)
    assert intake.received == [PACKETS[0]]


HOSTILE = [
    b"[" * 60_000,
    b'{"code":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"code": "packet.x\\ud800", "detail": "\\ud800\\u0000", "retry": false}',
    b'{"code": "packet.gone", "detail": "\\ud800\\u0000\\n", "retry": false}',
    b'{"code": ' + b"9" * 5_000 + b"}",
    b"\xff\xfe",
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("date", ["Mon, 01 Jan 0001 00:00:00 -0000", "Mon, 01 Jan 2024 00:00:00 +9999999999", "x"])
async def test_a_hostile_answer_ends_no_delivery(uplink, outbox, intake, body, date, caplog):
    outbox.put(PACKETS[0], "id")
    headers = {"content-type": "application/problem+json", "date": date, "retry-after": "9" * 400}
    intake.answers = [httpx2.Response(422, content=body, headers=headers)]
    await uplink.deliver(outbox.next_due())
    entry = outbox.entries()[0]
    assert entry.attempts == 1
    assert entry.error_code in {"intake.answer", "packet.gone"}
    assert entry.error.isprintable()
    assert "unexpected" not in caplog.text


async def test_a_defect_of_ours_postpones_its_packet_and_no_other(uplink, outbox, intake, monkeypatch):
    sha = outbox.put(PACKETS[0], "id")
    outbox.put(PACKETS[1], "id")
    read = outbox.read

    def defect(sha256):
        if sha256 == sha:
            raise ZeroDivisionError
        return read(sha256)

    monkeypatch.setattr(outbox, "read", defect)
    assert await uplink._turn() == 0
    assert await uplink._turn() == 0
    assert intake.received == [PACKETS[1]]
    assert outbox.next_due().error_code == "booth.unexpected"


async def test_a_damaged_packet_is_flagged_and_stops_no_other(uplink, outbox, intake, tmp_path):
    sha = outbox.put(PACKETS[0], "id")
    outbox.put(PACKETS[1], "id")
    (tmp_path / "outbox" / "packets" / f"{sha}.packet").write_bytes(b"sealed 0ne")
    assert await uplink._turn() == 0
    assert await uplink._turn() == 0
    assert intake.received == [PACKETS[1]]
    assert outbox.status.damaged == 1


async def test_a_wrong_clock_is_noticed(uplink, outbox, intake, caplog):
    outbox.put(PACKETS[0], "id")
    intake.date = NOW + 3_600
    await uplink.deliver(outbox.next_due())
    assert uplink.status.clock_skew_s == pytest.approx(3_600, abs=2)
    assert "clock" in caplog.text


async def test_a_new_packet_wakes_the_uplink_at_once(outbox, worker, settings, pki, intake, tmp_path, no_tasks_left):
    done = asyncio.Event()

    async def answer(request):
        if request.url.path == "/v1/crl":
            return httpx2.Response(404)
        response = await intake(request)
        done.set()
        return response

    signer, lists = open_signer(f"file:{pki / 'booth.key'}"), RevocationLists(tmp_path, load_trust(pki / "ca.pem"))
    async with open_uplink(
        *(outbox, worker, settings, lambda: signer, lists, lambda: NOW),
        lambda _source, _error: None,
        httpx2.MockTransport(answer),
    ) as running:
        await asyncio.get_running_loop().run_in_executor(worker, outbox.put, PACKETS[0], "id")
        running.wake()
        async with asyncio.timeout(10):
            await done.wait()


async def test_a_receipt_that_contradicts_an_earlier_one_deletes_nothing(
    outbox, worker, settings, pki, intake, tmp_path, no_tasks_left
):
    """The intake's log was exchanged for another one with the same name."""
    signer, roots = open_signer(f"file:{pki / 'booth.key'}"), load_trust(pki / "ca.pem")
    pads = [ReceiptPad(intake.signer, "ab" * 16), ReceiptPad(intake.signer, "ab" * 16)]
    pads[1].give("0" * 64, "1" * 64)
    told, kept, gone = [], asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    real_settle, real_postpone = outbox.settle, outbox.postpone

    def settle(*arguments):
        real_settle(*arguments)
        loop.call_soon_threadsafe(gone.set)

    def postpone(*arguments):
        real_postpone(*arguments)
        loop.call_soon_threadsafe(kept.set)

    outbox.settle, outbox.postpone = settle, postpone

    async def answer(request):
        if request.url.path == "/v1/crl":
            return httpx2.Response(404)
        if request.url.path == "/v1/log/consistency":
            return httpx2.Response(200, json=pads[0].consistency(dict(request.url.params)))
        return httpx2.Response(201, content=pads[0].give(request.url.path.rsplit("/", 1)[1]))

    async with open_uplink(
        *(outbox, worker, settings, lambda: signer, RevocationLists(tmp_path, roots), lambda: NOW),
        lambda source, error: told.append((source, error)),
        httpx2.MockTransport(answer),
        LogWitness(tmp_path, roots),
    ) as running:
        await loop.run_in_executor(worker, outbox.put, PACKETS[0], "id")
        running.wake()
        async with asyncio.timeout(10):
            await gone.wait()
            pads.reverse()
            await loop.run_in_executor(worker, outbox.put, PACKETS[1], "id")
            running.wake()
            await kept.wait()
    assert outbox.status.waiting == 1
    assert outbox.next_due().error_code == "intake.receipt"
    assert [str(error) for source, error in told if source == "receipt log" and error] == [
        "The intake contradicts itself: its log of 3 entries is no continuation of its log of 1."
    ]


async def test_a_retry_by_another_process_is_noticed_without_a_restart(uplink, outbox, intake, tmp_path, monkeypatch):
    sha = outbox.put(PACKETS[0], "id")
    outbox.refuse(sha, "packet.booth_mismatch", "Another booth's packet.")
    monkeypatch.setattr("booth.uplink.LOOK_S", 0.01)
    delivered = asyncio.Event()
    uplink.on_delivery = delivered.set
    running = asyncio.create_task(uplink.run())
    try:
        await asyncio.sleep(0)
        assert not intake.received
        assert await asyncio.to_thread(make_due, tmp_path / "outbox", [sha[:8]], NOW) == [sha]
        await asyncio.wait_for(delivered.wait(), 10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert outbox.entries()[0].state is PacketState.RECEIPTED
