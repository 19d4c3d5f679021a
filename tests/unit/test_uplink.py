"""Every packet is delivered once, however long the intake is away, and deleted only against a receipt that names it."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx2
import pytest

from booth.config import IntakeSection
from booth.disk import DiskFiles
from booth.outbox import OutboxLimits, PacketState, open_outbox
from booth.uplink import Uplink, open_uplink
from crypto.http_signature import verify_request
from crypto.keys import load_trust, make_development_pki, open_signer
from crypto.receipt import issue_receipt
from crypto.seal import MEDIA_TYPE

NOW = datetime.now(UTC).timestamp()
PACKETS = [b"sealed one", b"sealed two", b"sealed three"]


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


class Intake:
    """The intake's side of the wire: checks the signature, then answers as told."""

    def __init__(self, pki):
        self.trust = load_trust(pki / "ca.pem")
        self.signer = open_signer(f"file:{pki / 'intake.key'}")
        self.answers = []  # one per request: a response, an exception, or None for a receipt
        self.received = []
        self.serial = 0
        self.stored = set()
        self.date = NOW

    def receipt(self, sha256):
        self.serial += 1
        return issue_receipt(
            packet_sha256=sha256,
            packet_id=uuid.uuid4().hex,
            received_at=datetime.now(UTC),
            serial=self.serial,
            signer=self.signer,
        )

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        verify_request(request.method, str(request.url), request.headers, body, self.trust, datetime.now(UTC))
        assert request.headers["content-type"] == MEDIA_TYPE
        sha256 = request.url.path.rsplit("/", 1)[1]
        self.received.append(body)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        status = 200 if sha256 in self.stored else 201
        self.stored.add(sha256)
        date = datetime.fromtimestamp(self.date, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return httpx2.Response(status, content=self.receipt(sha256), headers={"Date": date})


def problem(status, code, *, retry, **headers):
    return httpx2.Response(
        status,
        json={"code": code, "detail": "Told by the intake.", "retry": retry},
        headers={"content-type": "application/problem+json", **headers},
    )


@pytest.fixture
def intake(pki):
    return Intake(pki)


@pytest.fixture
def settings(pki):
    return IntakeSection(url="https://intake.example", trust=pki / "ca.pem", first_retry_s=2, longest_retry_s=300)


@pytest.fixture
def worker():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def outbox(tmp_path):
    with open_outbox(tmp_path / "outbox", OutboxLimits(min_free_bytes=0), lambda: NOW, DiskFiles()) as opened:
        yield opened


@pytest.fixture
async def uplink(outbox, worker, settings, pki, intake):
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(intake)) as client:
        signer, trust = open_signer(f"file:{pki / 'booth.key'}"), load_trust(pki / "ca.pem")
        yield Uplink(outbox, worker, settings, signer, trust, client, lambda: NOW, chance=lambda: 1.0)


async def test_a_packet_is_delivered_and_its_copy_deleted_against_the_receipt(uplink, outbox, intake):
    sha = outbox.put(PACKETS[0], "id")
    await uplink.deliver(outbox.next_due())
    assert intake.received == [PACKETS[0]]
    assert outbox.entries()[0].state is PacketState.RECEIPTED
    assert outbox.receipt(sha)
    assert outbox.status.stored_bytes == 0
    assert uplink.status.last_receipt_at == NOW


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


async def test_while_the_intake_is_away_only_one_packet_knocks_and_then_all_go(uplink, outbox, intake):
    for packet in PACKETS:
        outbox.put(packet, "id")
    intake.answers = [httpx2.ConnectError("down")]
    assert await uplink._turn() == 0
    assert await uplink._turn() == 2
    assert len(intake.received) == 1
    assert uplink.status.next_try_at == NOW + 2
    uplink._clock = lambda: NOW + 2
    for _ in PACKETS:
        assert await uplink._turn() == 0
    assert await uplink._turn() is None
    assert sorted(intake.received[1:]) == sorted(PACKETS)


async def test_a_clock_that_was_set_back_delays_no_longer_than_the_longest_pause(uplink, outbox):
    sha = outbox.put(PACKETS[0], "id")
    outbox.postpone(sha, NOW + 10 * 86_400, "intake.unreachable", "No answer.")
    assert await uplink._turn() == 300


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


async def test_a_new_packet_wakes_the_uplink_at_once(outbox, worker, settings, pki, intake, no_tasks_left):
    done = asyncio.Event()

    async def answer(request):
        response = await intake(request)
        done.set()
        return response

    signer, trust = open_signer(f"file:{pki / 'booth.key'}"), load_trust(pki / "ca.pem")
    async with open_uplink(
        outbox, worker, settings, signer, trust, lambda: NOW, transport=httpx2.MockTransport(answer)
    ) as running:
        await asyncio.get_running_loop().run_in_executor(worker, outbox.put, PACKETS[0], "id")
        running.wake()
        async with asyncio.timeout(10):
            await done.wait()
