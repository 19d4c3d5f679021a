"""An uplink for tests: its outbox, the intake that it delivers to (tests/fake_intake.py), and the two clocks that it goes by."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx2
import pytest

from booth.config import IntakeSection
from booth.disk import DiskFiles
from booth.outbox import OutboxLimits, open_outbox
from booth.uplink import Uplink
from crypto.keys import load_trust, make_development_pki, open_signer
from tests.fake_intake import FakeIntake

NOW = datetime.now(UTC).timestamp()
PACKETS = [b"sealed one", b"sealed two", b"sealed three"]


def problem(status, code, *, retry, **headers):
    return httpx2.Response(
        status,
        json={"code": code, "detail": "Told by the intake.", "retry": retry},
        headers={"content-type": "application/problem+json", **headers},
    )


class Clocks:
    """The wall clock and the monotonic one; time passes on both, settings change one."""

    def __init__(self):
        self.wall, self.steady = NOW, 5_000.0

    def pass_s(self, seconds):
        self.wall += seconds
        self.steady += seconds


async def deliver_all(uplink, outbox, clocks, limit_s):
    """Takes turns until nothing waits or `limit_s` have passed; returns the seconds that passed."""
    start = clocks.steady
    while outbox.status.waiting and clocks.steady - start < limit_s:
        clocks.pass_s(await uplink._turn() or 0.5)
    return clocks.steady - start


# --- fixtures, for tests/unit/conftest.py ---


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def intake(pki):
    made = FakeIntake(pki)
    made.date = NOW
    return made


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
def clocks():
    return Clocks()


@pytest.fixture
def told():
    """What the uplink tells of itself: source and error, or None."""
    return []


@pytest.fixture
async def uplink(outbox, worker, settings, pki, intake, clocks, told):
    async with httpx2.AsyncClient(transport=intake) as client:
        signer, trust = open_signer(f"file:{pki / 'booth.key'}"), load_trust(pki / "ca.pem")
        yield Uplink(
            outbox,
            worker,
            settings,
            lambda: signer,
            lambda: trust,
            client,
            lambda: clocks.wall,
            tell=lambda source, error: told.append((source, error)),
            chance=lambda: 1.0,
            monotonic=lambda: clocks.steady,
        )
