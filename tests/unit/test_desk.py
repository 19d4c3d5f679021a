"""The desk as an officer sees it: packets from new to old, harmless when hostile, the same facts as page and as JSON."""

from __future__ import annotations

import asyncio
import hashlib
import re

import pytest

from crypto.application import application_digest
from crypto.seal import read_header
from server.application_rows import Links, Registry, note_captures
from server.applications import NewApplication, Outcome
from server.messages import load_messages
from tests.desk_rig import NOW, opened_desk, parts
from tests.sealed_packets import APPLICANT, Keys, finding, report, visit

NUMBER = "DEMO2026000017Q"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}\u202e"


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("desk-keys") / "pki")


@pytest.fixture(scope="session")
def messages():
    return load_messages()


@pytest.fixture
async def desk(keys, tmp_path, messages):
    async with opened_desk(keys, tmp_path / "data", messages) as started:
        yield started


@pytest.fixture
async def officer(desk):
    assert (await desk.sign_in()).status_code == 303
    return desk


async def test_the_list_tells_what_was_decided(officer, keys):
    store, links = officer.rooms.store, Links(application_digest(NUMBER).hex())
    registry = Registry(store, lambda: NOW)
    await registry.file([NewApplication(NUMBER, "interior", NOW.date())])
    refused = await officer.receive(keys.packet(parts(finding("pose.yaw"))))
    async with store.writing() as connection:
        await note_captures(connection, [(refused, links)], lambda: NOW)
    await registry.decide(NUMBER, Outcome.RETAKE, ("eyes",))
    await officer.receive(keys.packet(parts(finding("pose.yaw"))))
    page = (await officer.client.get("/?state=all")).text
    assert page.index("<td>Received</td>") < page.index("<td>Refused</td>")
    assert "<td>Refused</td>" not in (await officer.client.get("/")).text


async def test_the_queue_shows_the_oldest_first_and_everything_from_new_to_old_with_what_opening_told(officer, keys):
    good = await officer.receive(keys.packet(parts(finding("pose.yaw"))))
    bad = await officer.receive(
        keys.packet(parts(finding("pose.yaw", 20.0, "fail"), finding("pose.roll"), told=visit("B-77", "typed")))
    )
    page = (await officer.client.get("/?state=all")).text
    assert page.index(bad) < page.index(good)
    page = (await officer.client.get("/")).text
    assert page.index(good) < page.index(bad)
    assert "B-77" in page
    assert "Number typed, unverified" in page
    assert "Rules not met" in page
    assert "1 of 2" in page
    assert "Rules met" in page
    assert "2 minutes ago" in page
    stored = await officer.rooms.store.find(good)
    assert f"{stored.packet_id[:4]}-{stored.packet_id[4:8]}".upper() in page


async def test_a_portrait_that_staff_released_says_so_with_who_and_why_in_the_officers_language(officer, keys):
    override = {
        "staff": "482103",
        "reason_class": "head_cover",
        "open_rules": ["pose.yaw"],
        "at": "2026-11-22T12:00:00.000Z",
    }
    told = visit("B-77", override=override, assistance=[{"action": "override", "staff": "482103"}])
    sha256 = await officer.receive(keys.packet(parts(finding("pose.yaw", 20.0, "fail"), told=told)))
    assert "Released by staff" in (await officer.client.get("/")).text
    page = (await officer.client.get(f"/packets/{sha256}")).text
    assert "the member of staff 482103 let the photo pass. Reason: religious head cover." in page
    assert "<dt>Rules not met</dt>" in page
    assert "Rules not met" in page, "the report's own verdict stays"
    german = (await officer.client.get(f"/packets/{sha256}", headers={"Accept-Language": "de"})).text
    assert "religiöse Kopfbedeckung" in german
    listed = (await officer.client.get("/api/packets")).json()
    assert [one["summary"]["released"] for one in listed["packets"]] == [True]


async def test_whatever_a_booth_says_of_a_release_is_shown_as_plain_text(officer, keys):
    hostile = {"staff": "<script>alert(1)</script>", "reason_class": "a\u202eb", "open_rules": "x", "at": [1]}
    sha256 = await officer.receive(keys.packet(parts(finding("pose.yaw"), told=visit("B-77", override=hostile))))
    page = (await officer.client.get(f"/packets/{sha256}")).text
    assert "<script>alert" not in page
    assert "\u202e" not in page


async def test_a_packet_that_does_not_open_has_its_line_and_one_opaque_sentence(officer, keys, caplog):
    packet = bytearray(keys.packet())
    packet[-1] ^= 1
    refused = await officer.receive(bytes(packet))
    good = await officer.receive(keys.packet())
    page = await officer.client.get("/")
    assert page.status_code == 200
    assert "Could not be opened" in page.text
    assert good in page.text
    own = await officer.client.get(f"/packets/{refused}")
    assert own.status_code == 422
    assert "could not be opened and verified" in own.text
    assert refused in own.text
    told = await officer.client.get(f"/api/packets/{refused}")
    assert (told.status_code, told.json()["code"]) == (422, "packet.not_opened")
    assert "decrypt" not in own.text + told.text
    sealed = await officer.client.get(f"/api/packets/{refused}/packet")
    assert sealed.content == bytes(packet)
    listed = (await officer.client.get("/api/packets")).json()["packets"]
    assert [packet["summary"] is None for packet in listed] == [False, True]


async def test_a_packet_of_another_booth_or_for_another_desk_does_not_open(officer, keys, tmp_path):
    stranger = Keys(tmp_path / "stranger")
    foreign = await officer.receive(stranger.packet())
    assert (await officer.client.get(f"/packets/{foreign}")).status_code == 422


async def test_damaged_or_lost_bytes_are_told_without_breaking_the_list(officer, keys):
    packet = keys.packet()
    sha256 = await officer.receive(packet)
    path = officer.objects.packets.path_of(sha256)
    path.write_bytes(packet[:-1] + b"x")
    assert (await officer.client.get("/")).status_code == 200
    answer = await officer.client.get(f"/packets/{sha256}")
    assert answer.status_code == 500
    assert "damaged" in answer.text
    path.unlink()
    assert (await officer.client.get(f"/packets/{sha256}")).status_code == 500


async def test_the_packet_page_shows_the_portrait_beside_every_finding(officer, keys):
    sha256 = await officer.receive(
        keys.packet(
            parts(
                finding("pose.yaw", -22.34, "fail", evidence={"points": [[10, 20]], "boxes": []}),
                finding("pose.pitch", 6.0, "warn", warn_limit={"low": -5, "high": 5}),
                finding("eyes.open", None, "not_assessed", reason="no face"),
                finding("rule.of.tomorrow", 1.0),
                told=visit(captured_at="2026-11-22T11:58:00Z"),
            )
        )
    )
    page = (await officer.client.get(f"/packets/{sha256}")).text
    assert f'src="/packets/{sha256}/portrait.jpg"' in page
    for text in (
        "Head turned (yaw)",
        "\N{MINUS SIGN}22.34°",
        "\N{MINUS SIGN}8° \N{EN DASH} 8°",
        "Not met",
        "ISO/IEC 39794-5:2019 D.1.4.2.4",
        "advised",
        "\N{MINUS SIGN}5° \N{EN DASH} 5°",
        "Not assessed",
        "no face",
        "rule.of.tomorrow",
        "Rules not met",
        "A1234567",
        "22 Nov 2026, 11:58:00 UTC",
        "Valid; certificate chain leads to a trusted root",
        "booth-0001",
        sha256,
        '<circle cx="10.0" cy="20.0"',
    ):
        assert text in page, text
    portrait = await officer.client.get(f"/packets/{sha256}/portrait.jpg")
    assert portrait.headers["content-type"] == "image/jpeg"
    assert portrait.content == APPLICANT.read_bytes()


async def test_hostile_words_of_a_signed_packet_stay_words(officer, keys):
    told = {"application": {"number": EVIL, "how": EVIL}, EVIL: EVIL, "deep": {EVIL: [EVIL, {EVIL: EVIL}]}}
    hostile = parts(
        finding(EVIL, 1e308, EVIL, unit=EVIL, source=EVIL, reason=EVIL, level=EVIL, advice=EVIL),
        told=told,
        profile=EVIL,
        profile_version=EVIL,
        software=EVIL,
        notes=[EVIL],
        portrait=b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    )
    sha256 = await officer.receive(keys.packet(hostile))
    for path in ("/", f"/packets/{sha256}"):
        page = await officer.client.get(path)
        assert page.status_code == 200
        assert "&lt;script&gt;" in page.text
        assert "<script>" not in page.text
        assert "<img src=x" not in page.text
        assert "onerror=alert" not in re.sub(r"&lt;.*?&gt;", "", page.text)
        assert "{{7*7}}" in page.text
        assert "\u202e" not in page.text
    assert (await officer.client.get(f"/packets/{sha256}/portrait.jpg")).status_code == 404
    part = await officer.client.get(f"/api/packets/{sha256}/parts/portrait.jpg")
    assert part.headers["content-disposition"].startswith("attachment")
    assert (await officer.client.get(f"/api/packets/{sha256}")).status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"findings": 7, "width": "wide"}',
        b'{"findings": [null, 1, [], {"rule": {}, "value": [], "limit": 3, "evidence": "x"}]}',
        b'{"findings": [{"value": ' + b"9" * 5000 + b', "limit": {"low": -1e999, "high": NaN}}]}',
        b'{"findings": [{"value": 1e300, "limit": {"low": 1, "high": 1}, "unit": "\\ud800"}]}',
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b'{"findings": [' + b"{}," * 5000 + b"{}]}",
        b'{"width": 1e12, "height": -4, "judged": "crop", "findings": [{"evidence": {"points": [[1,2]]}}]}',
    ],
)
async def test_broken_records_are_shown_as_far_as_they_go(officer, keys, text):
    broken = {"portrait.jpg": APPLICANT.read_bytes(), "report.json": text, "visit.json": text}
    sha256 = await officer.receive(keys.packet(broken))
    for path in ("/", f"/packets/{sha256}", "/api/packets", f"/api/packets/{sha256}"):
        assert (await officer.client.get(path)).status_code == 200, path


async def test_a_packet_without_any_known_part_is_shown_too(officer, keys):
    sha256 = await officer.receive(keys.packet({"something.bin": b"x"}))
    page = await officer.client.get(f"/packets/{sha256}")
    assert page.status_code == 200
    assert "no report that can be read" in page.text
    assert "no portrait that can be shown" in page.text


async def test_the_machine_interface_gives_the_same_packet_byte_for_byte(officer, keys):
    packet = keys.packet()
    sha256 = await officer.receive(packet)
    listed = (await officer.client.get("/api/packets")).json()
    assert listed["next"] is None
    assert listed["packets"][0]["sha256"] == sha256
    assert listed["packets"][0]["packet_id"] == read_header(packet).packet_id
    facts = (await officer.client.get(f"/api/packets/{sha256}")).json()
    assert facts["signature"]["verified"] is True
    assert facts["report"] == report()
    assert facts["visit"] == visit()
    for name, told in facts["parts"].items():
        data = (await officer.client.get(f"/api/packets/{sha256}/parts/{name}")).content
        assert hashlib.sha256(data).hexdigest() == told["sha256"]
        assert len(data) == told["size"]
    assert (await officer.client.get(f"/api/packets/{sha256}/packet")).content == packet
    package = await officer.client.get(f"/api/packets/{sha256}/package.zip")
    assert package.content.startswith(b"PK\x03\x04")
    cms = await officer.client.get(f"/api/packets/{sha256}/cms")
    assert package.content in cms.content
    for wrong in ("nothing.txt", "../../etc/passwd", "manifest.json"):
        assert (await officer.client.get(f"/api/packets/{sha256}/parts/{wrong}")).status_code == 404


async def test_long_lists_have_pages(keys, tmp_path, messages):
    async with opened_desk(keys, tmp_path / "data", messages, list_length=2) as desk:
        await desk.sign_in()
        packets = [await desk.receive(keys.packet({"something.bin": bytes([i])})) for i in range(5)]
        for start, expected in (("/", packets), ("/?state=all", packets[::-1])):
            seen, path = [], start
            while path:
                page = (await desk.client.get(path)).text
                seen += re.findall(r'href="/packets/([0-9a-f]{64})["?]', page)
                older = re.search(r'href="(/\?[^"]*behind=[^"]+)"', page)
                path = older and older[1].replace("&amp;", "&")
            assert seen == expected
        by_api = (await desk.client.get("/api/packets?limit=2")).json()
        assert [p["sha256"] for p in by_api["packets"]] == packets[:2:-1]
        after = (await desk.client.get(f"/api/packets?limit=3&before={by_api['next']}")).json()
        assert [p["sha256"] for p in after["packets"]] == packets[2::-1]


async def test_unknown_packets_and_pages_are_told_in_words(officer):
    for path, status, words in (
        (f"/packets/{'0' * 64}", 404, "There is no such packet."),
        ("/packets/x", 400, "The page cannot be shown"),
        ("/nothing", 404, "There is no such page."),
        (f"/?behind={'1' * 41}", 400, "The page cannot be shown"),
    ):
        answer = await officer.client.get(path)
        assert answer.status_code == status, path
        assert words in answer.text
        assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("language", "direction", "title"),
    [("de", "ltr", "Eingegangene Pakete"), ("ru", "ltr", "Полученные пакеты"), ("ar", "rtl", "الحزم المستلمة")],
)
async def test_the_language_comes_from_the_browser_or_the_officers_choice_and_stays(
    officer, keys, language, direction, title
):
    sha256 = await officer.receive(keys.packet(parts(finding("pose.yaw", -22.3, "fail"))))
    page = await officer.client.get("/", headers={"Accept-Language": f"xx,{language}-XX;q=0.9,en;q=0.5"})
    assert f'<html lang="{language}" dir="{direction}">' in page.text
    assert title in page.text
    assert page.headers["content-language"] == language
    assert "Received packets" in (await officer.client.get("/")).text
    chosen = await officer.client.get(f"/packets/{sha256}?lang={language}")
    assert f'lang="{language}"' in chosen.text
    assert title in (await officer.client.get("/", headers={"Accept-Language": "en"})).text


async def test_an_invented_language_is_not_echoed(officer):
    page = await officer.client.get('/?lang="><script>alert(1)</script>')
    assert page.status_code == 200
    assert "alert(1)" not in page.text


async def test_opened_packets_stay_few_and_not_for_long(officer, keys):
    for i in range(6):
        sha256 = await officer.receive(keys.packet({"something.bin": bytes([i])}))
        await officer.client.get(f"/packets/{sha256}")
    assert officer.rooms.opener.held <= 4
    officer.rooms.opener.sweep(sessions=0)
    assert officer.rooms.opener.held == 0


async def test_many_requests_for_one_packet_at_once_are_all_answered(officer, keys):
    sha256 = await officer.receive(keys.packet())
    answers = await asyncio.gather(*(officer.client.get(f"/api/packets/{sha256}") for _ in range(12)))
    assert {a.status_code for a in answers} == {200}


async def test_nothing_opened_is_written_to_the_disk(officer, keys, tmp_path):
    marker = b"A1234567"
    sha256 = await officer.receive(keys.packet())
    await officer.client.get(f"/packets/{sha256}")
    await officer.client.get("/")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert marker not in path.read_bytes()
            assert APPLICANT.read_bytes()[2000:2100] not in path.read_bytes()
