"""The desk's search: what an officer knows of a packet finds it; a word stands in no address; what cannot be read is told."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from crypto.application import application_digest
from server.application_rows import Links, note_captures
from server.messages import load_messages
from tests.desk_rig import NOW, opened_desk
from tests.sealed_packets import Keys

NUMBER = "DEMO2026000017Q"


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("search-keys") / "pki")


@pytest.fixture
async def officer(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages(), list_length=2) as desk:
        assert (await desk.sign_in()).status_code == 303
        yield desk


async def searched(officer, *, follow: bool = False, **fields: str):
    page = (await officer.client.get("/")).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    return await officer.client.post("/search", data={"csrf_token": token[1], **fields}, follow_redirects=follow)


def listed(page) -> list[str]:
    return re.findall(r'href="/packets/([0-9a-f]{64})["?]', page.text)


async def test_each_thing_that_is_known_of_a_packet_finds_it(officer, keys):
    packets = [await officer.receive(keys.packet({"visit.json": b"{}"})) for _ in range(4)]
    stored = await officer.rooms.store.find(packets[1])
    async with officer.rooms.store.writing() as connection:
        await note_captures(connection, [(packets[1], Links(application_digest(NUMBER).hex()))], lambda: NOW)
    reference = f"{stored.packet_id[:4]}-{stored.packet_id[4:8]}".upper()
    for word in (
        packets[1],
        packets[1][:9].upper(),
        stored.packet_id,
        reference,
        f" {reference.lower()} ",
        "demo-2026 000017q",
    ):
        page = await searched(officer, q=word)
        assert (page.status_code, listed(page)) == (200, [packets[1]]), word
        assert "Found: 1" in page.text
    assert "No packet matches" in (await searched(officer, q="0" * 64)).text


async def test_booth_and_days_stand_in_the_address_and_lead_from_page_to_page(officer, keys):
    packets = [await officer.receive(keys.packet({"visit.json": b"{}"})) for _ in range(5)]
    await officer.receive(keys.packet({"visit.json": b"{}"}, booth="booth-0002"))
    day = (NOW - timedelta(minutes=2)).date()
    answer = await searched(officer, q=" ", booth="booth-0001", **{"from": f"{day}", "to": f"{day}"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/?booth=booth-0001&from={day}&to={day}")
    seen, address = [], answer.headers["location"]
    while address:
        page = await officer.client.get(address)
        seen += listed(page)
        assert f'value="{day}"' in page.text
        older = re.search(r'href="/\?(booth=[^"]+behind=[^"]+)"', page.text)
        address = older and "/?" + older[1].replace("&amp;", "&")
    assert seen == packets
    assert listed(await officer.client.get("/?booth=booth%00-0002%0A")) != []
    changed = (await officer.client.get("/?booth=booth-0001&behind=5-3")).text
    assert "booth=booth-0001" in re.search(r'href="\?([^"]+)" lang="de"', changed)[1]
    for empty in (f"/?to={day - timedelta(days=1)}", f"/?from={day + timedelta(days=1)}", "/?booth=%00booth-0009"):
        assert "No packet matches" in (await officer.client.get(empty)).text


async def test_a_word_is_looked_for_within_booth_and_days(officer, keys):
    sha256 = await officer.receive(keys.packet({"visit.json": b"{}"}))
    day = (NOW - timedelta(minutes=2)).date()
    assert listed(await searched(officer, q=sha256, booth="booth-0001", to=f"{day}")) == [sha256]
    assert listed(await searched(officer, q=sha256, booth="booth-0002")) == []
    assert listed(await searched(officer, q=sha256, to=f"{day - timedelta(days=1)}")) == []


async def test_a_word_that_finds_too_many_says_so(officer, keys):
    packets = [await officer.receive(keys.packet({"visit.json": b"{}"})) for _ in range(3)]
    async with officer.rooms.store.writing() as connection:
        links = Links(application_digest(NUMBER).hex())
        await note_captures(connection, [(one, links) for one in packets], lambda: NOW)
    page = await searched(officer, q=NUMBER)
    assert (listed(page), "More than 2 packets match" in page.text) == (packets[:0:-1], True)


WRONG = [
    ({"q": "abc"}, "no application number and no reference"),
    ({"q": "<b>&'\"{{1}}"}, "no application number and no reference"),
    ({"q": "Z123456789"}, "no application number and no reference"),
    ({"q": "abcd", "from": "yesterday"}, "first day is no date"),
    ({"q": "abcd", "to": "2026-02-30"}, "last day is no date"),
    ({"q": "abcd", "from": "2026-11-02", "to": "2026-11-01"}, "before the first one"),
    ({"q": "abcd", "to": "9999-12-31"}, "last day is no date"),
]


async def test_what_cannot_be_read_is_told_and_finds_nothing(officer, keys):
    await officer.receive(keys.packet({"visit.json": b"{}"}))
    for fields, told in WRONG:
        page = await searched(officer, **fields)
        assert (page.status_code, listed(page)) == (400, []), fields
        assert told in page.text
        assert "<b>" not in page.text
        days = {name: value for name, value in fields.items() if name != "q"}
        assert (await officer.client.get("/", params=days)).status_code == (400 if days else 200)


async def test_a_search_is_a_form_of_this_session_and_leaves_nothing_behind(officer, keys):
    await officer.receive(keys.packet({"visit.json": b"{}"}))
    assert (await officer.client.post("/search", data={"q": NUMBER, "csrf_token": "x"})).status_code == 403
    moved = await officer.client.get("/search", params={"lang": "de"})
    assert (moved.status_code, moved.headers["location"]) == (303, "/?lang=de")
    page = await searched(officer, q=NUMBER)
    assert NUMBER not in "".join(re.findall(r'(?:href|action)="([^"]*)"', page.text))
    assert page.headers["cache-control"] == "no-store"
    assert NUMBER not in (await officer.client.get("/", params={"q": NUMBER})).text
    officer.client.cookies.clear()
    assert (await officer.client.post("/search", data={"q": NUMBER})).headers["location"].startswith("/login")
    assert (await officer.client.get("/?behind=99999999999999999-1&booth=%00")).status_code == 303
