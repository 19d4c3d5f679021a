"""What the booth knows of revocations: newest list only, kept over a restart, told before anybody is invited."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from booth.config import IntakeSection
from booth.revocation_list import AFTER_DELIVERY_S, FETCH_S, NAME, RevocationLists, RevocationWatch
from crypto.errors import KeyUnavailableError, RevocationListError, SigningError
from crypto.issuance import Issuer, Revoked, make_crl
from crypto.keys import load_trust, make_development_pki, open_signer
from crypto.trust import load_certificates


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


def revocation_list(pki, number, *serials, days=7, reason=x509.ReasonFlags.superseded):
    key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    now = datetime.now(UTC) - timedelta(days=30 if days < 0 else 0, minutes=5)
    entries = [Revoked(serial, now, reason) for serial in serials]
    return make_crl(
        Issuer(load_certificates(pki / "ca.pem")[0], key), number, entries, now, now + timedelta(days=abs(days))
    )


@pytest.fixture
def lists(pki, tmp_path):
    return RevocationLists(tmp_path, load_trust(pki / "ca.pem"))


@pytest.fixture
def signer(pki):
    return open_signer(f"file:{pki / 'booth.key'}")


class Watched:
    """A watch whose intake answers as told."""

    def __init__(self, pki, lists, signer, worker):
        self.answer = httpx2.Response(404)
        self.asked = 0
        self.told = {}
        self.steady = 5_000.0
        self.signer = signer
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._give))
        settings = IntakeSection(url="https://intake.example", trust=pki / "ca.pem")
        self.watch = RevocationWatch(
            *(lists, worker, settings, self.current, self.client, self.told.__setitem__), lambda: self.steady
        )

    def current(self):
        if isinstance(self.signer, Exception):
            raise self.signer
        return self.signer

    async def _give(self, request):
        assert request.url.path == "/v1/crl"
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def look(self, content=None):
        if content is not None:
            self.answer = httpx2.Response(200, content=content)
        await self.watch.look()
        self.steady += FETCH_S


@pytest.fixture
async def watched(pki, lists, signer):
    with ThreadPoolExecutor(1) as worker:
        made = Watched(pki, lists, signer, worker)
        async with made.client:
            yield made


def test_a_newer_list_is_kept_over_a_restart_and_an_older_one_changes_nothing(pki, lists, tmp_path):
    trust = load_trust(pki / "ca.pem")
    assert lists.take(revocation_list(pki, 3, 7))
    assert not lists.take(revocation_list(pki, 2))
    assert [one.number for one in lists.trust.crls] == [3]
    again = RevocationLists(tmp_path, trust)
    assert again.trust.crls == lists.trust.crls
    assert again.take(revocation_list(pki, 4))
    assert [one.number for one in RevocationLists(tmp_path, trust).trust.crls] == [4]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("data", [b"", b"x", b"-----BEGIN X509 CRL-----\n", b"0" * 9_000_000])
def test_what_is_no_list_is_refused_and_the_last_good_one_stays(pki, lists, data):
    lists.take(revocation_list(pki, 3, 7))
    with pytest.raises(RevocationListError):
        lists.take(data)
    assert [one.number for one in lists.trust.crls] == [3]


def test_a_list_of_another_authority_is_refused(lists, tmp_path):
    other = make_development_pki(tmp_path / "other")
    with pytest.raises(RevocationListError):
        lists.take(revocation_list(other, 9))


def test_a_damaged_file_counts_as_none_and_is_told(pki, tmp_path):
    (tmp_path / NAME).write_bytes(b"\0" * 100)
    lists = RevocationLists(tmp_path, load_trust(pki / "ca.pem"))
    assert lists.trouble is not None
    assert lists.trust.crls == ()
    lists.take(revocation_list(pki, 1))
    assert lists.trouble is None


def test_a_disk_that_refuses_is_told_and_the_old_list_stays(pki, lists, monkeypatch):
    lists.take(revocation_list(pki, 1))

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("booth.revocation_list.write_whole", full)
    with pytest.raises(KeyUnavailableError, match="No space"):
        lists.take(revocation_list(pki, 2, 7))
    assert [one.number for one in lists.trust.crls] == [1]


async def test_the_booth_learns_of_its_own_revocation_without_a_packet_and_a_new_certificate_ends_it(
    pki, watched, signer
):
    await watched.look(revocation_list(pki, 1))
    assert watched.told == {"revocation list": None, "revocation": None}
    await watched.look(revocation_list(pki, 2, signer.certificate.serial_number))
    assert watched.told["revocation"].code == "booth.revoked"
    assert "Enrol" in str(watched.told["revocation"])
    watched.signer = SigningError("the token is away")
    await watched.look()
    assert watched.told["revocation"].code == "booth.revoked"
    watched.signer = open_signer(f"file:{pki / 'intake.key'}")  # another certificate, which this list does not name
    await watched.look()
    assert watched.told["revocation"] is None


async def test_a_revocation_that_was_known_is_told_after_a_restart_without_an_intake(pki, tmp_path, watched, signer):
    await watched.look(revocation_list(pki, 1, signer.certificate.serial_number))
    with ThreadPoolExecutor(1) as worker:
        again = Watched(pki, RevocationLists(tmp_path, load_trust(pki / "ca.pem")), signer, worker)
        again.answer = httpx2.ConnectError("down")
        async with again.client:
            await again.look()
    assert again.told["revocation"].code == "booth.revoked"
    assert again.told["revocation list"] is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.ConnectError("down"),
        httpx2.ReadTimeout("silent"),
        httpx2.Response(404),
        httpx2.Response(302, headers={"location": "https://portal.example"}),
        httpx2.Response(503),
    ],
    ids=["down", "silent", "none", "portal", "busy"],
)
async def test_no_list_is_no_trouble_and_changes_nothing(pki, lists, watched, answer):
    await watched.look(revocation_list(pki, 5, 7))
    watched.answer = answer
    await watched.look()
    assert watched.told["revocation list"] is None
    assert [one.number for one in lists.trust.crls] == [5]


async def test_a_page_instead_of_a_list_and_an_old_list_are_told(pki, lists, watched):
    await watched.look(b"<html>welcome to the hotel network</html>")
    assert watched.told["revocation list"].code == "crypto.revocation_list"
    await watched.look(revocation_list(pki, 5, 7, days=-7))
    assert watched.told["revocation list"].code == "revocation.stale"
    assert 7 in lists.trust.crls[0].entries
    await watched.look(revocation_list(pki, 6))
    assert watched.told["revocation list"] is None


async def test_an_endless_answer_is_cut(watched):
    async def endless():
        while True:
            yield b"x" * 1_000_000

    watched.answer = httpx2.Response(200, content=endless())
    await watched.look()
    assert watched.told["revocation list"] is None


async def test_it_asks_hourly_and_after_a_delivery_but_not_after_each(pki, watched):
    watch = watched.watch
    for _ in range(3):
        await watch.look()
        watch.delivered()
    assert watched.asked == 1
    watched.steady += AFTER_DELIVERY_S
    watch.delivered()
    await watch.look()
    assert watched.asked == 2
    watched.steady += FETCH_S
    await watch.look()
    assert watched.asked == 3


async def test_it_asks_at_once_when_the_intake_calls_the_booth_revoked(pki, watched, signer):
    await watched.watch.look()
    watched.watch.refused()
    watched.answer = httpx2.Response(200, content=revocation_list(pki, 1, signer.certificate.serial_number))
    await watched.watch.look()
    assert watched.asked == 2
    assert watched.told["revocation"].code == "booth.revoked"


async def test_a_defect_does_not_end_the_watch(pki, watched, monkeypatch, caplog):
    looked = asyncio.Event()

    async def fail():
        looked.set()
        raise RuntimeError("defect")

    monkeypatch.setattr(watched.watch, "look", fail)
    running = asyncio.create_task(watched.watch.run())
    async with asyncio.timeout(10):
        await looked.wait()
        await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "unexpected" in caplog.text
