"""The fleet's pages: told in every language, changed by forms of those who may alone, a token shown once and good once."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from crypto.heartbeat import Device, LampLight, SelfTests, Service
from server.alert_rows import Judged, settle
from server.alerts import KINDS, Kind, Level, Standing
from server.audit import audit_log
from server.authority import init_authority
from server.errors import EnrolmentRefusedError
from server.fleet_rows import note_heartbeat
from server.messages import LANGUAGES, load_messages
from server.roles import Role
from server.store import Nonce
from tests.desk_rig import NOW, opened_desk
from tests.enrolment_rig import request_for
from tests.heartbeats import LAMPS, heartbeat
from tests.sealed_packets import Keys

MINUTE = timedelta(minutes=1)
KEY = re.compile(r"\b(?:fleet|error|section|statistics)\.[a-z_.]+")
HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("fleet-pages") / "pki")


@pytest.fixture
def authority(tmp_path):
    return init_authority(tmp_path / "ca", "Fleet pages", "Test", None, now=lambda: NOW)


@pytest.fixture
async def desk(keys, authority, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages(), issuer_dir=tmp_path / "ca") as opened:
        yield opened


async def tell(desk, booth="booth-0001", ago=5 * MINUTE, **fields):
    beat = heartbeat(booth=booth, sent_at=NOW - ago, **fields)
    tell.count += 1
    await note_heartbeat(desk.rooms.store, beat, NOW - ago, Nonce(booth, f"nonce-{tell.count}", NOW))


tell.count = 0


async def post(desk, path: str, **fields: str):
    """A form of this session, whose token is looked up once."""
    session = desk.client.cookies["__Host-desk"]
    if session not in post.tokens:
        page = await desk.client.get("/account")
        found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert found is not None
        post.tokens[session] = found[1]
    return await desk.client.post(path, data={"csrf_token": post.tokens[session], **fields})


post.tokens = {}


def visible(html: str) -> str:
    return re.sub(r"<(script|style)[^>]*>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)


async def test_every_kind_of_alert_and_state_is_told_in_every_language(desk):
    lost = Device(device="camera", state="lost", since=NOW - timedelta(hours=3), port="v4l2")
    out = Service(state="out_of_service", reason="fault", since=NOW - timedelta(hours=5))
    weak = {lamp: LampLight(response_pct=70.0) for lamp in LAMPS}
    await tell(desk, devices=(lost,), service=out, lamps=weak, faults=("camera.lost",))
    names = {
        Kind.LAMP_WEAK: "key_left",
        Kind.LAMP_FALLING: "fill_top",
        Kind.DEVICE: "camera",
        Kind.REFUSALS: "pose.yaw",
    }
    standing = [Standing(kind, names.get(kind, ""), Level.WARN, 12.5, 10.0) for kind in Kind]
    standing.append(Standing(Kind.REFUSALS, "visits", Level.GRAVE, 40.0, 10.0))
    await settle(desk.rooms.store, {"booth-0001": Judged(frozenset(Kind), standing)}, NOW - MINUTE)
    await desk.sign_in()
    for code in LANGUAGES:
        for path in ("/fleet", "/fleet/booths/booth-0001"):
            page = await desk.client.get(f"{path}?lang={code}")
            assert page.status_code == 200
            assert not KEY.findall(visible(page.text)), code
            assert page.text.count('class="chip care"') >= len(KINDS)
    english = (await desk.client.get("/fleet?lang=en")).text
    assert "Lamp left: 12.5\N{NO-BREAK SPACE}% of its light" in english
    assert "40\N{NO-BREAK SPACE}% of the visits end without a portrait" in english
    assert "about 12 days are left until 10\N{NO-BREAK SPACE}%" in english
    await settle(desk.rooms.store, {"booth-0001": Judged(frozenset(Kind), ())}, NOW)
    after = (await desk.client.get("/fleet/booths/booth-0001?lang=de")).text
    assert "Erledigte Meldungen" in after
    assert "Diese Kabine braucht jetzt niemanden" in after


async def test_a_booth_is_shown_as_it_told_and_a_silent_one_as_the_alert_says(desk):
    for minutes in range(0, 60 * 24 * 9, 60 * 24):
        light = {"key_left": LampLight(response_pct=99.0 - minutes / 2000)}
        await tell(desk, ago=timedelta(days=9) - minutes * MINUTE, lamps=light, tests=SelfTests(tested_at=None))
    await tell(desk, "booth-0002", ago=timedelta(hours=5))
    silent = {"booth-0002": Judged({Kind.SILENT}, (Standing(Kind.SILENT, "", Level.GRAVE),))}
    await settle(desk.rooms.store, silent, NOW)
    await desk.sign_in()
    assert "Silent" in visible((await desk.client.get("/fleet/booths/booth-0002?lang=en")).text)
    page = (await desk.client.get("/fleet/booths/booth-0001?lang=en")).text
    assert page.count('<li><p class="panel-name') == 1
    assert "No self-test was run yet." in page
    assert "icao 2026-11" in page
    assert (await desk.client.get("/fleet/booths/booth-9999")).status_code == 404
    nowhere = await desk.client.get("/fleet/booths/%00?lang=en")
    told = load_messages().languages["en"]("error.request.unknown_path")
    assert (nowhere.status_code, told in nowhere.text) == (404, True), "PostgreSQL would take no such question"
    # Who may only look sees no forms.
    await desk.sign_in_as(Role.AUDITOR)
    for path in ("/fleet", "/fleet/booths/booth-0001"):
        looked = await desk.client.get(path)
        assert looked.status_code == 200
        assert 'action="/fleet' not in looked.text


async def test_sites_and_booths_are_made_named_moved_and_retired(desk):
    await desk.sign_in()
    for site in ("north", "south"):
        assert (await post(desk, "/fleet/sites", site=site, name=f"Office {site}")).status_code == 303
    assert (await post(desk, "/fleet/sites", site="north", name=HOSTILE)).status_code == 303
    added = await post(desk, "/fleet/booths", booth="booth-0007", label=HOSTILE, site="north")
    assert (added.status_code, added.headers["location"]) == (303, "/fleet/booths/booth-0007")
    for path in ("/fleet", "/fleet?site=north", "/fleet/booths/booth-0007"):
        page = (await desk.client.get(path)).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
    assert "booth-0007" not in visible((await desk.client.get("/fleet?site=south")).text)
    new = visible((await desk.client.get("/fleet/booths/booth-0007?lang=en")).text)
    assert ("The booth has not told anything yet." in new, "All well" in new) == (True, False)
    refused = await post(desk, "/fleet/sites/north/remove")
    assert (refused.status_code, "Booths stand at this site" in refused.text) == (409, True)
    assert (await post(desk, "/fleet/booths/booth-0007", label="Foyer", site="south")).status_code == 303
    assert (await post(desk, "/fleet/sites/north/remove")).status_code == 303
    assert (await post(desk, "/fleet/sites/north/remove")).status_code == 404
    assert (await post(desk, "/fleet/booths/booth-0007/retire")).status_code == 303
    assert "Left the fleet" in (await desk.client.get("/fleet/booths/booth-0007?lang=en")).text
    assert (await post(desk, "/fleet/booths/booth-0007/return")).status_code == 303
    for fields in (
        {"site": "../x", "name": "x"},
        {"site": "x", "name": ""},
        {"site": "x", "name": "a\u202eb"},
        {"site": "x", "name": "n" * 81},
    ):
        assert (await post(desk, "/fleet/sites", **fields)).status_code == 422
    assert (await post(desk, "/fleet/booths", booth="b", label="", site="nowhere")).status_code == 404
    assert (await post(desk, "/fleet/booths/booth-0007", label="x", site="nowhere")).status_code == 404
    assert (await post(desk, "/fleet/booths/booth-9999/retire")).status_code == 404
    assert (await desk.client.get("/fleet/sites?lang=de")).headers["location"] == "/fleet?lang=de"
    assert (await desk.client.get("/fleet/booths/b/token?lang=xx")).headers["location"] == "/fleet/booths/b"
    async with desk.rooms.store.reading() as connection:
        entries = [bytes(row) for row in (await connection.execute(sa.select(audit_log.c.entry))).scalars()]
    text = b"".join(entries)
    assert text.count(b"fleet.booth") >= 5
    assert text.count(b"fleet.site") >= 8
    assert text.count(b"act.failed") >= 8
    assert b"Foyer" not in text
    # Which site or booth a form named stands in the entry.
    said = [json.loads(line) for line in re.findall(rb'\{"action":"fleet\.[^{]*\{[^}]*\}[^}]*\}', text)]
    named = {(one["action"], one["facts"]["act"], one["subject"]) for one in said}
    assert {("fleet.site", "put", "north"), ("fleet.site", "put", "unreadable")} <= named
    assert ("fleet.booth", "add", "booth-0007") in named


async def test_a_token_is_shown_once_and_enrols_that_booth_once(desk, authority):
    await desk.sign_in()
    await post(desk, "/fleet/booths", booth="booth-0009", label="", site="")
    made = await post(desk, "/fleet/booths/booth-0009/token", hours="4")
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    token = re.search(r"<code>([0-9A-Z-]{20,})</code>", made.text)
    assert token is not None
    assert token[1] not in (await desk.client.get("/fleet/booths/booth-0009")).text
    with pytest.raises(EnrolmentRefusedError):
        authority.issue_for_token(token[1], request_for("booth-0008"))
    assert b"BEGIN CERTIFICATE" in authority.issue_for_token(token[1], request_for("booth-0009"))
    with pytest.raises(EnrolmentRefusedError):
        authority.issue_for_token(token[1], request_for("booth-0009"))
    second = re.search(
        r"<code>([0-9A-Z-]{20,})</code>", (await post(desk, "/fleet/booths/booth-0009/token", hours="1")).text
    )
    assert second is not None
    assert (await post(desk, "/fleet/booths/booth-0009/withdraw")).status_code == 200
    with pytest.raises(EnrolmentRefusedError):
        authority.issue_for_token(second[1], request_for("booth-0009"))
    assert (await post(desk, "/fleet/booths/booth-0009/token", hours="9000")).status_code == 422
    (desk.rooms.settings.issuer_dir / "authority.sqlite3").write_bytes(b"not a database at all, in any version")
    broken = await post(desk, "/fleet/booths/booth-0009/token", hours="4")
    assert (broken.status_code, "use intake ca token on the" in broken.text) == (503, True)


async def test_a_desk_without_the_authority_says_where_tokens_are_made(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages()) as desk:
        await desk.sign_in()
        await post(desk, "/fleet/booths", booth="booth-0009", label="", site="")
        page = (await desk.client.get("/fleet/booths/booth-0009")).text
        assert "intake ca token FOLDER booth-0009" in page
        for act in ("token", "withdraw"):
            assert (await post(desk, f"/fleet/booths/booth-0009/{act}", hours="4")).status_code == 503
