"""Accepting at the desk: asked once more, once however often, by a form of one's own session; the hand-over is followed in every language."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import timedelta

import httpx2
import pytest

from crypto.decision import verify_decision
from crypto.desk_secret import load_desk_secret
from server.audit import AuditLog
from server.config import DeskSettings
from server.desk import DeskRooms, make_desk
from server.messages import LANGUAGES, load_messages
from tests.desk_rig import BASE, Desk, users_and_door
from tests.desk_rig import Clock as SessionClock
from tests.handover_rig import PRODUCER, another_desk, opened_counter
from tests.sealed_packets import Keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("desk-order-keys") / "pki")


@pytest.fixture(scope="session")
def messages():
    return load_messages()


@contextlib.asynccontextmanager
async def seen(counter, hand_over, keys, messages):
    """The desk's pages over a counter."""
    rooms = counter.intake.rooms
    settings = DeskSettings.from_pki(keys.folder, rooms.settings.data_dir)
    opener = hand_over._rooms.opener
    secret, clock = load_desk_secret(settings.secret), SessionClock()
    users, door = users_and_door(rooms.store, secret, clock)
    audit = AuditLog(rooms.store, secret, settings.data_dir, signer=None, now=counter.clock)
    made = DeskRooms(
        settings,
        rooms.store,
        opener,
        door,
        messages,
        audit,
        now=counter.clock,
        hand_over=hand_over,
        users=users,
        secret=secret,
    )
    transport = httpx2.ASGITransport(make_desk(made), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        yield Desk(made, rooms.objects, rooms.receipts, client, clock)


@pytest.fixture
async def counter(keys, tmp_path):
    async with opened_counter(keys, tmp_path / "data") as opened:
        yield opened


@pytest.fixture
async def officer(counter, keys, messages):
    async with seen(counter, counter.hand_over, keys, messages) as desk:
        assert (await desk.sign_in()).status_code == 303
        yield desk


def token(page: httpx2.Response) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


async def test_a_packet_is_accepted_after_a_page_that_says_what_it_means(officer, counter, keys):
    stored = await counter.receive()
    path = f"/packets/{stored.sha256}"
    assert f'href="{path}/accept"' in (await officer.client.get(path)).text
    page = await officer.client.get(f"{path}/accept")
    assert page.status_code == 200
    for said in ("Accept this packet?", "cannot be taken back", PRODUCER, "A1234567"):
        assert said in page.text
    assert await counter.hand_over.decision(stored.sha256) is None, "looking decides nothing"
    form = {"csrf_token": token(page), "producer": PRODUCER}
    for _ in range(2):
        answer = await officer.client.post(f"{path}/accept", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, path)
    (order,) = await counter.orders.of_packet(stored.sha256)
    after = await officer.client.get(path)
    assert "Waiting for the answer" in after.text
    assert "/accept" not in after.text
    assert (await officer.client.get(f"{path}/accept")).headers["location"] == path
    assert path in (await officer.client.get("/?state=accepted")).text
    assert path not in (await officer.client.get("/")).text, "it waits for nobody"
    decision = verify_decision((await counter.hand_over.decision(stored.sha256)).decision, keys.trust)
    assert re.fullmatch(r"u-[0-9a-f]{8}", decision.officer)
    assert (await counter.answer(order, "quality")).status_code == 200
    assert "Rejected by the producer: the portrait is not good enough" in (await officer.client.get(path)).text


async def test_without_a_session_or_its_form_nothing_is_accepted_nor_sent(officer, counter, keys, messages):
    order = await counter.accept()
    await counter.answer(order, "quality")
    stored = await counter.receive()
    path = f"/packets/{stored.sha256}/accept"
    page = await officer.client.get(path)
    good = {"csrf_token": token(page), "producer": PRODUCER}
    async with seen(counter, counter.hand_over, keys, messages) as stranger:
        for wanted in (path, f"/handover/{order.id}/resend"):
            assert (await stranger.client.post(wanted, data=good)).headers["location"].startswith("/login")
        assert (await stranger.client.get("/handover")).headers["location"] == "/login"
    for wanted in (path, f"/handover/{order.id}/resend"):
        for form in ({"x": "y"}, {"csrf_token": "x"}, {"producer": PRODUCER}):
            assert (await officer.client.post(wanted, data=form)).status_code == 403
        foreign = await officer.client.post(wanted, data=good, headers={"Origin": "https://evil.test"})
        assert foreign.status_code == 403
        assert (await officer.client.request("GET", wanted, params=good)).status_code in {200, 405}
    refused = await officer.client.post(path, data=good | {"producer": "nobody"})
    assert (refused.status_code, "choose one of the producers" in refused.text) == (409, True)
    assert await counter.hand_over.decision(stored.sha256) is None
    assert await counter.orders.asked(10) == []


async def test_what_is_late_stands_first_and_is_sent_anew_and_pages_are_in_every_language(officer, counter):
    late, fresh = await counter.accept(), await counter.accept()
    assert "Late" not in (await officer.client.get("/handover")).text
    await counter.answer(fresh)
    counter.clock.ahead = timedelta(hours=73)
    page = await officer.client.get("/handover")
    assert "The producer has not answered in time" in page.text
    assert "1 without an answer, 1 of them late" in page.text
    assert "Accepted by the producer" in page.text
    assert page.text.index("The producer has not answered") < page.text.index(late.packet_sha256)
    again = await officer.client.post(f"/handover/{late.id}/resend", data={"csrf_token": token(page)})
    assert (again.status_code, again.headers["location"]) == (303, "/handover")
    newest = (await counter.orders.of_packet(late.packet_sha256))[0]
    assert newest.resend_of == late.id
    after = (await officer.client.get("/handover")).text
    assert "The producer has not answered" not in after
    assert "Sent anew" in after
    form = {"csrf_token": token(page)}
    assert (await officer.client.post(f"/handover/{fresh.id}/resend", data=form)).status_code == 409
    assert (await officer.client.post(f"/handover/{'0' * 32}/resend", data=form)).status_code == 404

    counter.clock.ahead = timedelta()
    order = await counter.accept()
    await counter.answer(order, "x.my_own-code")
    path = f"/packets/{order.packet_sha256}"
    other = await counter.receive()
    for language in LANGUAGES:
        for wanted in (path, "/handover", f"/packets/{other.sha256}/accept"):
            page = await officer.client.get(wanted, params={"lang": language})
            assert page.status_code == 200
            assert f'lang="{language}"' in page.text
            assert not re.search(r"\b(?:accept|handover|order)\.[a-z_]+\b", re.sub(r"<[^>]*>", "", page.text))
    assert "x.my_own-code" in (await officer.client.get(path)).text
    assert json.dumps(order.id)[1:-1] in (await officer.client.get("/handover")).text


async def test_a_desk_that_cannot_decide_shows_no_button_and_one_with_several_producers_asks_for_which(
    counter, keys, tmp_path, messages
):
    stored = await counter.receive()
    folder = tmp_path / "nobody"
    folder.mkdir()
    async with (
        another_desk(counter.intake, keys, counter.clock, folder) as hand_over,
        seen(counter, hand_over, keys, messages) as desk,
    ):
        await desk.sign_in()
        assert "/accept" not in (await desk.client.get(f"/packets/{stored.sha256}")).text
        answer = await desk.client.get(f"/packets/{stored.sha256}/accept")
        assert (answer.status_code, "no key for decisions" in answer.text) == (503, True)

    folder = tmp_path / "producers"
    for name in (PRODUCER, "producer-b"):
        (folder / name).mkdir(parents=True)
        public = (keys.folder / "producers" / PRODUCER / "producer.hpke.pub").read_bytes()
        (folder / name / "key.hpke.pub").write_bytes(public)
    stored = await counter.receive()
    async with (
        another_desk(counter.intake, keys, counter.clock, folder) as hand_over,
        seen(counter, hand_over, keys, messages) as desk,
    ):
        await desk.sign_in()
        page = await desk.client.get(f"/packets/{stored.sha256}/accept")
        assert page.text.count('type="radio"') == 2
        form = {"csrf_token": token(page)}
        path = f"/packets/{stored.sha256}/accept"
        assert (await desk.client.post(path, data=form)).status_code == 409
        assert (await desk.client.post(path, data=form | {"producer": "producer-b"})).status_code == 303
    assert (await counter.orders.of_packet(stored.sha256))[0].producer == "producer-b"
