"""The booth's centres: only certified ones, kept over a restart and an intake that forgets, judged anew when the authority takes one back."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from booth.centres import AGAIN_S, FETCH_S, NAME, CentreCertificates, CentreWatch
from booth.config import IntakeSection
from booth.errors import CentresUnusableError
from crypto.revocation import read_revocation_list
from crypto.slip import centre_of
from crypto.trust import MAX_CENTRES_BYTES, Purpose, TrustStore
from tests.vectors.make_slips import NORTH, make_centre
from tests.vectors.parties import BOOTH_1, ISSUING, ROGUE, ROOT, make_list, make_party

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
SOUTH = make_centre("centre south", "centre-south")
BELOW = make_party("centre below", ISSUING, common="centre-below", purposes=[Purpose.CENTRE.oid], curve=ec.SECP256R1())
LARGE = make_party("centre large", ROOT, common="centre-large", purposes=[Purpose.CENTRE.oid])
SHORT = make_party(
    "centre short",
    ROOT,
    common="centre-short",
    purposes=[Purpose.CENTRE.oid],
    curve=ec.SECP256R1(),
    end=NOW + timedelta(days=1),
)
STRANGER = make_party("centre rogue", ROGUE, common="centre-north", purposes=[Purpose.CENTRE.oid], curve=ec.SECP256R1())


class Trust:
    """A trust store that the authority's next list changes."""

    def __init__(self) -> None:
        self.store = TrustStore((ROOT.certificate,))

    def __call__(self) -> TrustStore:
        return self.store

    def revoke(self, party) -> None:
        der = make_list(ROOT, [(party, x509.ReasonFlags.superseded, NOW)], 9)
        self.store = self.store.with_lists([read_revocation_list(der, [ROOT.certificate])])


@pytest.fixture
def trust():
    return Trust()


@pytest.fixture
def centres(tmp_path, trust):
    return CentreCertificates(tmp_path, trust)


def names(centres) -> list[str]:
    return sorted(one.name for one in centres.known.values())


def test_what_is_certified_counts_and_nothing_else(centres, tmp_path):
    bundle = b"".join(one.pem for one in (NORTH, STRANGER, BOOTH_1, LARGE, BELOW, ISSUING))
    assert centres.take(bundle, NOW)
    assert names(centres) == ["centre-below", "centre-north"]
    assert centres.known[centre_of(NORTH.certificate).key_id].name == "centre-north"
    assert not centres.take(bundle, NOW)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_an_answer_only_adds_and_a_restart_forgets_nothing(centres, tmp_path, trust):
    centres.take(NORTH.pem + BELOW.pem + ISSUING.pem, NOW)
    assert not centres.take(b"", NOW)
    assert centres.take(SOUTH.pem, NOW)
    again = CentreCertificates(tmp_path, trust)
    assert names(again) == names(centres) == ["centre-below", "centre-north", "centre-south"]
    assert again.trouble is None


def test_a_centre_ends_with_its_certificate_and_with_its_revocation(centres, trust):
    centres.take(NORTH.pem + SHORT.pem, NOW)
    assert names(centres) == ["centre-north", "centre-short"]
    centres.judge(NOW + timedelta(days=2))
    assert names(centres) == ["centre-north"]
    trust.revoke(NORTH)
    centres.judge(NOW)
    assert names(centres) == ["centre-short"]


@pytest.mark.parametrize("started", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_a_clock_that_is_wrong_at_the_start_loses_no_centre(centres, tmp_path, trust, monkeypatch, started):
    centres.take(NORTH.pem + BELOW.pem + ISSUING.pem, NOW)

    class WrongClock(datetime):
        @classmethod
        def now(cls, tz=None):
            return started

    monkeypatch.setattr("booth.centres.datetime", WrongClock)
    again = CentreCertificates(tmp_path, trust)
    assert names(again) == []
    again.judge(NOW)
    assert names(again) == names(centres) == ["centre-below", "centre-north"]
    assert again.take(SOUTH.pem, NOW)
    assert names(CentreCertificates(tmp_path, trust)) == []
    monkeypatch.undo()
    assert names(CentreCertificates(tmp_path, trust)) == ["centre-below", "centre-north", "centre-south"]


def test_a_file_that_lost_a_centres_authority_is_mended_by_the_next_answer(centres, tmp_path, trust):
    centres.take(BELOW.pem + ISSUING.pem, NOW)
    (tmp_path / NAME).write_bytes(BELOW.pem)
    again = CentreCertificates(tmp_path, trust)
    assert names(again) == []
    assert again.take(BELOW.pem + ISSUING.pem, NOW)
    assert names(again) == ["centre-below"]


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        NORTH.pem[:-20],
        NORTH.pem + b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        b"".join(make_party(f"ca {n}", ROOT, common=f"ca {n}", ca=True).pem for n in range(4)),
        b"\n" * (MAX_CENTRES_BYTES + 1),
    ],
    ids=["no PEM", "cut", "something else", "many authorities", "long"],
)
def test_what_is_no_bundle_is_refused_and_what_was_known_counts_on(centres, tmp_path, trust, data):
    centres.take(NORTH.pem, NOW)
    with pytest.raises(CentresUnusableError):
        centres.take(SOUTH.pem + data, NOW)
    assert names(centres) == ["centre-north"]
    (tmp_path / NAME).write_bytes(data)
    damaged = CentreCertificates(tmp_path, trust)
    assert isinstance(damaged.trouble, CentresUnusableError)
    assert names(damaged) == []
    assert damaged.take(NORTH.pem, NOW)
    assert damaged.trouble is None


def test_a_disk_that_refuses_is_told(tmp_path, trust):
    centres = CentreCertificates(tmp_path / "none", trust)
    with pytest.raises(CentresUnusableError, match="stored"):
        centres.take(NORTH.pem, NOW)
    assert names(centres) == []


class Watched:
    """A watch whose intake answers as told."""

    def __init__(self, centres, worker):
        self.answer: httpx2.Response | Exception = httpx2.Response(200, content=NORTH.pem)
        self.asked, self.told, self.steady = 0, {}, 100.0
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._give))
        settings = IntakeSection(url="https://intake.example", trust="ca.pem")
        self.watch = CentreWatch(centres, worker, settings, self.client, self.told.__setitem__, lambda: self.steady)

    async def _give(self, request):
        assert request.url.path == "/v1/centres"
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def watched(centres):
    with ThreadPoolExecutor(1) as worker:
        made = Watched(centres, worker)
        async with made.client:
            yield made


async def test_the_intake_is_asked_hourly_and_sooner_for_an_unknown_centre(watched):
    await watched.watch.look()
    await watched.watch.look()
    assert (watched.asked, watched.told) == (1, {"centres": None})
    assert [one.name for one in watched.watch.known.values()] == ["centre-north"]
    await watched.watch.look_again()
    assert watched.asked == 1
    watched.steady += AGAIN_S
    watched.answer = httpx2.Response(200, content=SOUTH.pem)
    await watched.watch.look_again()
    assert sorted(one.name for one in watched.watch.known.values()) == ["centre-north", "centre-south"]
    watched.steady += FETCH_S
    await watched.watch.look()
    assert watched.asked == 3


async def test_an_intake_that_hangs_keeps_nobody_waiting_and_what_it_says_later_counts(watched, monkeypatch):
    answering = asyncio.Event()

    async def late(_request):
        await answering.wait()
        return httpx2.Response(200, content=NORTH.pem)

    monkeypatch.setattr("booth.centres.WAIT_S", 0.01)
    monkeypatch.setattr(watched.watch, "_client", httpx2.AsyncClient(transport=httpx2.MockTransport(late)))
    for _ in range(2):
        await asyncio.wait_for(watched.watch.look_again(), 5)
    assert not watched.watch.known
    answering.set()
    monkeypatch.setattr("booth.centres.WAIT_S", 5.0)
    await watched.watch.look_again()
    assert [one.name for one in watched.watch.known.values()] == ["centre-north"]
    await watched.watch.close()


@pytest.mark.parametrize("answer", [httpx2.ConnectError("no"), httpx2.Response(404), TimeoutError()])
async def test_an_intake_that_tells_nothing_is_no_trouble(watched, answer):
    watched.answer = answer
    await watched.watch.look()
    assert watched.told == {"centres": None}
    assert not watched.watch.known


async def test_a_bundle_that_cannot_be_read_is_told_until_one_can(watched):
    watched.answer = httpx2.Response(200, content=b"x")
    await watched.watch.look()
    assert isinstance(watched.told["centres"], CentresUnusableError)
    watched.steady += FETCH_S
    watched.answer = httpx2.Response(200, content=NORTH.pem)
    await watched.watch.look()
    assert watched.told == {"centres": None}
