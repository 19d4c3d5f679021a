"""The countdown at the desk: told in every language, held and released by the session's own form alone, and nothing left of a deleted packet."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from crypto.keys import Purpose, SignerSource
from crypto.retention_records import HoldRecord
from server.deletions import Deletions
from server.desk import make_desk
from server.holds import HoldReason, Holds
from server.messages import LANGUAGES, load_messages
from server.retention import Policy
from server.retention_rows import tell_policy
from tests.desk_rig import BASE, Desk, opened_desk, parts
from tests.sealed_packets import Keys, digest


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("desk-retention") / "pki")


@contextlib.asynccontextmanager
async def signing(desk: Desk, keys: Keys):
    """The desk with its key for decisions, by the clock that its certificate is valid at."""
    signer = SignerSource(f"file:{keys.folder / 'desk.key'}").current
    holds = Holds(desk.rooms.store, signer, Purpose.DESK, now)
    rooms = replace(desk.rooms, holds=holds, now=now)
    transport = httpx2.ASGITransport(make_desk(rooms), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        yield Desk(rooms, desk.objects, desk.receipts, client, desk.clock)


@pytest.fixture
async def desk(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages()) as opened:
        await opened.sign_in()
        yield opened


@pytest.fixture
async def officer(desk, keys):
    async with signing(desk, keys) as signed:
        await signed.sign_in()
        yield signed


def now() -> datetime:
    return datetime.now(UTC)


def token(page: httpx2.Response) -> str:
    return page.text.split('name="csrf_token" value="')[1].split('"')[0]


async def send(officer: Desk, sha256: str, what: str, reason: str, csrf: str) -> httpx2.Response:
    return await officer.client.post(f"/packets/{sha256}/{what}", data={"reason": reason, "csrf_token": csrf})


def deletions_of(officer: Desk, keys: Keys) -> Deletions:
    signer = SignerSource(f"file:{keys.folder / 'intake.key'}").current
    objects = officer.objects
    return Deletions(officer.rooms.store, objects.packets, objects.orders, signer, keys.trust, now, timedelta(days=30))


async def test_the_countdown_says_both_days_in_every_language(desk, keys):
    sha256 = await desk.receive(keys.packet(parts()))
    broken = await desk.receive(b"\x89PBOOTH" + keys.packet(parts())[7:], keep=False)
    await tell_policy(desk.rooms.store, Policy(undecided_days=12, backups_days=20))
    told = {}
    for language in LANGUAGES:
        page = await desk.client.get(f"/packets/{sha256}", headers={"Accept-Language": language})
        assert page.status_code == 200
        told[language] = page.text
        assert "retention." not in page.text.replace('id="retention-title"', "").replace('"retention-title"', "")
    assert (
        "Will be deleted on 4 December 2026, in 12 days. Gone from the last backup on 24 December 2026." in told["en"]
    )
    assert ">deleted in 12 days</a>" in told["en"]
    assert "Wird am 4. Dezember 2026 gelöscht, in 12 Tagen." in told["de"]
    assert "4 декабря 2026" in told["ru"]
    assert "ديسمبر" in told["ar"]
    # One that cannot be opened has its time too.
    assert "in 12 days" in (await desk.client.get(f"/packets/{broken}")).text


async def test_a_hold_is_placed_and_released_by_the_sessions_form_alone(officer, keys):
    sha256 = await officer.receive(keys.packet(parts()))
    page = await officer.client.get(f"/packets/{sha256}")
    refused = await send(officer, sha256, "hold", "court", "x" * 43)
    assert refused.status_code == 403
    assert (await officer.client.get(f"/packets/{sha256}/hold")).status_code == 405
    assert (await send(officer, sha256, "hold", "because", token(page))).status_code == 400
    assert (await send(officer, sha256, "hold", "court", token(page))).status_code == 303
    assert (await send(officer, sha256, "hold", "court", token(page))).status_code == 303
    held = await officer.client.get(f"/packets/{sha256}")
    assert "Held: not deleted until every hold is released" in held.text
    assert held.text.count("Court or prosecutor") == 2  # the line, and its button; it is offered no more
    (placed,) = await officer.rooms.holds.of(sha256)
    record = HoldRecord.verify(placed.record, keys.trust)
    assert record.by.startswith("u-")
    assert (await send(officer, sha256, "release", "fraud", token(held))).status_code == 409
    assert (await send(officer, sha256, "release", "court", token(held))).status_code == 303
    released = await officer.client.get(f"/packets/{sha256}")
    assert "Will be deleted on" in released.text
    await officer.client.post("/logout", data={"csrf_token": token(held)})
    assert (await send(officer, sha256, "hold", "court", token(held))).headers["location"].startswith("/login")


async def test_a_desk_without_a_key_shows_the_countdown_and_no_form(desk, keys):
    sha256 = await desk.receive(keys.packet(parts()))
    page = await desk.client.get(f"/packets/{sha256}")
    assert "Will be deleted on" in page.text
    assert "Hold this packet" not in page.text
    assert (await send(desk, sha256, "hold", "court", token(page))).status_code == 409


async def test_nothing_of_a_deleted_packet_is_shown_from_memory(officer, keys):
    packet = keys.packet(parts())
    sha256, other = await officer.receive(packet), await officer.receive(keys.packet(parts()))
    for opened in (sha256, other):
        assert (await officer.client.get(f"/packets/{opened}")).status_code == 200
    await officer.client.get("/")
    before = officer.rooms.opener.held
    await deletions_of(officer, keys).delete_packet(sha256, "undecided")
    for path in ("/portrait.jpg", "/pad/frame-1.jpg", "/accept"):
        assert (await officer.client.get(f"/packets/{sha256}{path}")).status_code in {404, 410}
    for path in ("", "/packet", "/cms", "/package.zip", "/parts/visit.json"):
        answer = await officer.client.get(f"/api/packets/{sha256}{path}")
        assert (answer.status_code, answer.json()["code"]) == (410, "retention.deleted")
    assert sha256 not in (await officer.client.get("/")).text
    for language in LANGUAGES:
        page = await officer.client.get(f"/packets/{sha256}", headers={"Accept-Language": language})
        assert page.status_code == 410
        assert sha256 in page.text
        assert "A1234567" not in page.text
    assert officer.rooms.opener.held < before
    assert (await officer.client.get(f"/packets/{other}")).status_code == 200
    held = await send(officer, sha256, "hold", HoldReason.COURT, token(page))
    assert held.status_code == 410
    assert digest(packet) == sha256
