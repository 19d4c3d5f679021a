"""A booth that the intake refuses, revoked or with a wrong clock: its packets wait, it is told, and it heals."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from booth.revocation_list import RevocationLists
from booth.uplink import REVOKED_LOOK_S, open_uplink
from crypto.errors import KeyUnavailableError
from crypto.issuance import Issuer, Profile, Revoked, issue, make_crl
from crypto.keys import FileSigner, common_name, load_trust, open_signer
from crypto.revocation import read_revocation_list
from crypto.trust import load_certificates
from tests.uplink_rig import NOW, PACKETS, deliver_all, problem

REVOKED = problem(403, "booth.revoked", retry=False)


async def test_a_revoked_booth_keeps_every_packet_knocks_rarely_and_tells_it(uplink, outbox, intake, clocks, told):
    for packet in PACKETS:
        outbox.put(packet, "id")
    intake.answers = [REVOKED] * 20
    start = clocks.steady
    while clocks.steady - start < 3_600:
        clocks.pass_s(await uplink._turn() or 0.5)
    assert 10 <= len(intake.received) <= 13  # once in the longest pause of 300 s
    assert (outbox.status.waiting, outbox.status.refused) == (3, 0)
    assert uplink.status.refusal == "revoked"
    source, error = told[-1]
    assert (source, error.code) == ("intake", "booth.revoked")
    assert "Enrol" in str(error)


async def test_the_revocation_list_is_fetched_at_once_when_the_intake_calls_the_booth_revoked(
    outbox, worker, settings, pki, tmp_path, no_tasks_left
):
    asked, again = [], asyncio.Event()

    async def answer(request):
        if request.url.path == "/v1/crl":
            asked.append(any(one == "PUT" for one in asked))
            if asked[-1]:
                again.set()
            return httpx2.Response(404)
        await request.aread()
        asked.append(request.method)
        return REVOKED

    signer, lists = open_signer(f"file:{pki / 'booth.key'}"), RevocationLists(tmp_path, load_trust(pki / "ca.pem"))
    async with (
        asyncio.timeout(10),
        open_uplink(
            *(outbox, worker, settings, lambda: signer, lists, lambda: NOW),
            lambda _source, _error: None,
            httpx2.MockTransport(answer),
        ) as running,
    ):
        await asyncio.get_running_loop().run_in_executor(worker, outbox.put, PACKETS[0], "id")
        running.wake()
        await again.wait()
    assert outbox.status.waiting == 1


async def test_after_enrolling_again_everything_that_waited_goes_at_the_next_look(
    uplink, outbox, intake, clocks, told, pki
):
    for packet in PACKETS:
        outbox.put(packet, "id")
    intake.answers = [REVOKED]
    await uplink._turn()
    assert await uplink._turn() == REVOKED_LOOK_S
    old = uplink.delivery.signer()
    key = ec.generate_private_key(ec.SECP384R1())
    root = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    leaf = issue(
        Issuer(load_certificates(pki / "ca.pem")[0], root),
        key.public_key(),
        common_name(old.certificate),
        Profile.BOOTH,
        datetime.now(UTC),
    )

    def torn():
        raise KeyUnavailableError("half of a new pair")

    uplink.delivery.signer = torn
    assert await uplink._turn() == REVOKED_LOOK_S
    uplink.delivery.signer = lambda: FileSigner(leaf, (), key)
    clocks.pass_s(REVOKED_LOOK_S)
    assert await deliver_all(uplink, outbox, clocks, 60) <= 2
    assert sorted(intake.received[1:]) == sorted(PACKETS)
    assert uplink.status.refusal is None
    assert told[-1] == ("intake", None)


async def test_an_intake_that_takes_the_old_certificate_again_ends_it_too(uplink, outbox, intake, clocks, told):
    outbox.put(PACKETS[0], "id")
    intake.answers = [REVOKED]
    assert await deliver_all(uplink, outbox, clocks, 3_600) <= 302
    assert told[-1] == ("intake", None)


@pytest.mark.parametrize(("ahead_s", "words"), [(420, "7 minutes behind"), (-3_900, "65 minutes ahead of")])
async def test_a_refusal_for_the_clock_tells_the_difference_in_minutes(
    uplink, outbox, intake, clocks, told, ahead_s, words
):
    outbox.put(PACKETS[0], "id")
    date = datetime.fromtimestamp(NOW + ahead_s, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    intake.answers = [problem(401, "signature.expired", retry=True, Date=date)]
    await uplink._turn()
    assert words in uplink.status.last_error
    assert words in str(told[-1][1])
    assert uplink.status.refusal == "clock"
    assert await deliver_all(uplink, outbox, clocks, 60) <= 3
    assert (uplink.status.refusal, told[-1]) == (None, ("intake", None))


async def test_a_receipt_of_a_revoked_intake_deletes_nothing_and_says_why(uplink, outbox, intake, pki):
    sha = outbox.put(PACKETS[0], "id")
    root = Issuer(
        load_certificates(pki / "ca.pem")[0],
        serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None),
    )
    now = datetime.now(UTC)
    gone = Revoked(intake.signer.certificate.serial_number, now - timedelta(hours=1), x509.ReasonFlags.key_compromise)
    der = make_crl(root, 9, [gone], now, now + timedelta(days=1))
    trust = load_trust(pki / "ca.pem")
    uplink.delivery.trust = lambda: trust.with_lists([read_revocation_list(der, trust.roots)])
    await uplink.deliver(outbox.next_due())
    assert outbox.next_due().error_code == "intake.receipt"
    assert "revoked" in uplink.status.last_error
    assert outbox.read(sha) == PACKETS[0]
