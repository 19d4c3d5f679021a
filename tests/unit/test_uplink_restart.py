"""A restart forgets no pause and no refusal, and tries at once what a restart may have mended; blocked software; how the cause is told."""

from __future__ import annotations

import ssl

import httpx2
import pytest

from booth.uplink import Uplink
from crypto.keys import load_trust, open_signer
from tests.uplink_rig import PACKETS, deliver_all, problem


@pytest.fixture
async def start(outbox, worker, settings, pki, intake, clocks, told):
    """Starts an uplink on the same outbox, as after a restart of the booth."""
    signer, trust = open_signer(f"file:{pki / 'booth.key'}"), load_trust(pki / "ca.pem")
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(intake)) as client:

        async def begin():
            uplink = Uplink(
                *(outbox, worker, settings, lambda: signer, lambda: trust, client, lambda: clocks.wall),
                tell=lambda source, error: told.append((source, error)),
                chance=lambda: 1.0,
                monotonic=lambda: clocks.steady,
            )
            await uplink.resume()
            return uplink

        yield begin


DOWN = httpx2.ConnectError("down")


async def test_a_restart_goes_on_with_the_pause_of_all_packets_and_its_doubling(start, outbox, intake, clocks):
    for packet in PACKETS:
        outbox.put(packet, "id")
    intake.answers = [DOWN] * 20
    uplink = await start()
    for _ in range(5):
        await uplink._turn()
        clocks.pass_s(await uplink._turn())
    await uplink._turn()  # the sixth attempt: 64 s
    clocks.pass_s(10)
    knocks = len(intake.received)
    for _ in range(20):
        uplink = await start()
        assert await uplink._turn() == pytest.approx(54, abs=0.1)
        assert uplink.status.next_try_at == pytest.approx(clocks.wall + 54, abs=0.1)
    assert len(intake.received) == knocks == 6
    clocks.pass_s(54)
    await uplink._turn()
    assert await uplink._turn() == pytest.approx(128)


async def test_a_new_packet_after_a_restart_does_not_end_the_pause(start, outbox, intake, clocks):
    outbox.put(PACKETS[0], "id")
    intake.answers = [problem(503, "storage.unavailable", retry=True, **{"retry-after": "120"})]
    await (await start())._turn()
    uplink = await start()
    outbox.put(PACKETS[1], "id")
    assert await uplink._turn() == pytest.approx(120)
    assert len(intake.received) == 1
    clocks.pass_s(120)
    assert await deliver_all(uplink, outbox, clocks, 60) <= 2
    assert sorted(intake.received[1:]) == sorted(PACKETS[:2])


@pytest.mark.parametrize("change_s", [-10 * 86_400, 10 * 86_400])
async def test_a_clock_that_was_set_while_the_booth_was_off_prolongs_no_pause(start, outbox, intake, clocks, change_s):
    outbox.put(PACKETS[0], "id")
    intake.answers = [DOWN] * 2
    uplink = await start()
    for _ in range(3):
        clocks.pass_s(await uplink._turn())
    clocks.wall += change_s
    uplink = await start()
    assert await deliver_all(uplink, outbox, clocks, 86_400) <= 301


async def test_the_first_success_after_a_restart_lets_all_go(start, outbox, intake, clocks):
    for packet in PACKETS:
        outbox.put(packet, "id")
    intake.answers = [DOWN] * 8
    uplink = await start()
    await deliver_all(uplink, outbox, clocks, 500)
    assert outbox.status.waiting == 3
    uplink = await start()
    assert await deliver_all(uplink, outbox, clocks, 3_600) <= 301
    assert outbox.status.waiting == 0


@pytest.mark.parametrize(("code", "refusal"), [("booth.revoked", "revoked"), ("booth.software_blocked", "software")])
async def test_what_a_restart_may_have_mended_is_tried_at_once(start, outbox, intake, clocks, told, code, refusal):
    for packet in PACKETS:
        outbox.put(packet, "id")
    intake.answers = [problem(403, code, retry=False)]
    uplink = await start()
    await uplink._turn()
    assert uplink.status.refusal == refusal
    assert uplink.status.next_try_at == clocks.wall + 300
    assert told[-1][1].code == code
    assert (outbox.status.waiting, outbox.status.refused) == (3, 0)
    uplink = await start()
    assert await deliver_all(uplink, outbox, clocks, 60) <= 3
    assert uplink.status.refusal is None
    assert told[-1] == ("intake", None)


async def test_blocked_software_is_told_with_the_intakes_reason_and_knocks_rarely(start, outbox, intake, clocks, told):
    outbox.put(PACKETS[0], "id")
    intake.answers = [problem(403, "booth.software_blocked", retry=False)] * 100
    uplink = await start()
    await deliver_all(uplink, outbox, clocks, 3_600)
    assert len(intake.received) <= 13
    assert "Told by the intake." in str(told[-1][1])


async def test_a_packet_that_was_refused_is_told_until_none_is_left(start, outbox, intake, told):
    sha = outbox.put(PACKETS[0], "id")
    intake.answers = [problem(403, "packet.booth_mismatch", retry=False)]
    uplink = await start()
    assert told == [("refused packets", None)]
    await uplink._turn()
    assert told[-1][0] == "refused packets"
    assert "Told by the intake." in str(told[-1][1])
    await start()
    assert (told[-1][0], told[-1][1].reason) == ("refused packets", "packet.booth_mismatch")
    assert "Told by the intake." in str(told[-1][1])
    outbox.retry(sha)
    await start()
    assert told[-1] == ("refused packets", None)


async def test_every_request_tells_the_software_version_under_its_signature(start, outbox, intake):
    outbox.put(PACKETS[0], "id")
    seen = []
    take = intake.__call__

    async def look(request):
        seen.append((request.headers["booth-software"], request.headers["signature-input"]))
        return await take(request)

    uplink = await start()
    uplink.delivery.client._transport = httpx2.MockTransport(look)
    await uplink._turn()
    assert seen[0][0][0].isdigit()
    assert '"booth-software"' in seen[0][1]


async def test_a_refused_tls_certificate_is_told_as_such(start, outbox, intake):
    outbox.put(PACKETS[0], "id")
    cause = ssl.SSLCertVerificationError()
    cause.verify_message = "Hostname mismatch, certificate is not valid for 'intake.example'."
    error = httpx2.ConnectError("tls")
    error.__cause__ = cause
    intake.answers = [error]
    uplink = await start()
    await uplink._turn()
    assert "Hostname mismatch" in uplink.status.last_error
    assert outbox.status.waiting == 1
