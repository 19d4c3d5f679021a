"""What the desk notes before it shows or does it, route by route; the auditor's page; the export; other packets like this one."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from crypto.application import application_digest
from crypto.audit_entry import open_entry
from crypto.keys import SignerSource, load_trust
from crypto.seal import verify
from server.audit import Action, audit_log, digests_hash
from server.audit_reading import Wanted, newest_rows
from server.audit_witness import FILE_NAME
from server.decisions import HandOver, HandOverRooms
from server.desk import make_desk
from server.desk_session import need_of
from server.desk_terms import DeskTerms
from server.duplicates import is_copy
from server.handover_rows import decisions
from server.messages import LANGUAGES, load_messages
from server.queue_reader import QueueReader
from server.roles import Role
from server.second_person import Cause
from server.store import packets
from tests.desk_rig import Desk, opened_desk, parts
from tests.sealed_packets import Keys, visit

NUMBER, OTHER, THIRD = "DEMO2026000017Q", "DEMO2026000018O", "DEMO2026000019M"
# Every route of a signed-in person names a permission but these: the door, and one's own account.
OWN = ("/login", "/logout", "/account")
# Routes that show no personal data and change nothing, so that looking at them is not noted.
PLAIN = {
    "GET /search",  # leads to the list
    "GET /counter",  # empty forms
    "GET /counter/{form}",
    "GET /fleet",  # booths and sites
    "GET /fleet/{form}",
    "GET /fleet/booths/{booth}",
    "GET /fleet/booths/{booth}/{form}",
    "GET /fleet/booths/{booth}/orders/{kind}",
    "GET /fleet/booths/{booth}/withdraw-order/{order}",
    "GET /fleet/sites/{site}/{form}",
    "GET /users/{user}/{form}",  # leads to the user's page
    "GET /statistics",  # sums
    "GET /statistics.csv",
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("desk-audit") / "pki")


@pytest.fixture
async def desk(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages()) as opened:
        yield opened


async def entries(desk: Desk, keys: Keys) -> list[tuple[str, str, str, dict]]:
    """Actor, action, subject and facts, oldest first."""
    trust = load_trust(keys.folder / "ca.pem")
    rows = await newest_rows(desk.rooms.store, Wanted(), 200)
    read = [open_entry(row.entry, trust, desk.rooms.secret) for row in reversed(rows)]
    return [(one.actor, one.action, one.subject, one.facts) for one in read]


def token(page) -> str:
    return re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]


def all_routes(routes):
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from all_routes(inner.routes) if inner is not None else (route,)


def needed(dependant):
    """What a route's dependencies ask for, at any depth."""
    found = [need_of(dependant.call)]
    for inner in dependant.dependencies:
        found += needed(inner)
    return [one for one in found if one is not None]


async def test_every_route_names_a_permission_and_every_look_and_act_an_action(desk, keys):
    rooms = desk.rooms
    signer = SignerSource(f"file:{keys.folder / 'desk.key'}").current
    given = (rooms.store, desk.objects.orders, rooms.opener, keys.folder / "producers")
    hand_over = HandOver(HandOverRooms(*given, signer=signer, answer_within=timedelta(hours=72), now=rooms.now))
    app = make_desk(replace(rooms, hand_over=hand_over))
    while not hasattr(app, "routes"):
        app = app._app
    seen = set()
    for route in all_routes(app.routes):
        if not hasattr(route, "dependant") or route.path.startswith(OWN):
            continue
        for method in route.methods:
            name = f"{method} {route.path}"
            (need,) = needed(route.dependant)
            assert (need.action is None) == (name in PLAIN), name
            seen.add(name)
    assert seen > PLAIN | {"GET /audit", "GET /packets/{sha256}", "POST /packets/{sha256}/accept", "GET /handover"}


async def test_an_officers_day_is_in_the_log_and_nobodys_data_are(desk, keys):
    other = await desk.receive(keys.packet(parts(told=visit(OTHER))))
    sha256 = await desk.receive(keys.packet(parts(told=visit(NUMBER))))
    client = desk.client
    assert (await desk.sign_in("wrong password")).status_code == 403
    made = await desk.user()
    user = made.user.id
    await desk.sign_in()
    page = await client.get("/")
    await client.post("/search", data={"q": NUMBER, "csrf_token": token(page)})
    for path in ("", "/portrait.jpg", "/portrait.jpg"):
        assert (await client.get(f"/packets/{sha256}{path}")).status_code == 200
    assert (await client.get(f"/api/packets/{sha256}/parts/visit.json")).status_code == 200
    assert (await client.get("/api/packets?limit=1")).status_code == 200
    for typed in ("Anna%20Schmidt", NUMBER):
        assert (await client.get(f"/packets/{typed}")).status_code == 400
    assert (await client.get(f"/users/{NUMBER}")).status_code == 404
    await client.post("/logout", data={"csrf_token": token(page)})
    told = await entries(desk, keys)
    network = told[0][3]["network"]
    assert re.fullmatch("[0-9a-f]{32}", network)
    number = desk.rooms.secret.mac("application", application_digest(NUMBER)).hex()
    assert [one[:2] for one in told[:2]] == [("nobody", "sign_in.refused"), (user, "sign_in")]
    assert [one[1:] for one in told[2:]] == [
        ("packets.list", "", {"count": 2, "packets": digests_hash([other, sha256])}),
        ("packets.search", "", {"count": 0, "packets": digests_hash([]), "application": number}),
        ("packet.see", sha256, {}),
        ("packet.portrait", sha256, {}),
        ("packet.export", sha256, {"part": "part", "name": "visit.json"}),
        ("packets.list", "", {"count": 1, "packets": digests_hash([sha256])}),
        *[("packet.see", "unreadable", {})] * 2,
        ("users.list", "unreadable", {}),
        ("sign_out", "", {}),
    ]
    assert {one[0] for one in told[2:]} == {user}
    async with desk.rooms.store.reading() as connection:
        rows = (await connection.execute(sa.select(audit_log))).all()
    written = repr(rows)
    for personal in (NUMBER, OTHER, made.user.name, "Anna", "127.0.0.1", "testclient"):
        assert personal not in written


async def test_what_is_denied_and_what_came_to_nothing_is_noted(desk, keys):
    sha256 = await desk.receive(keys.packet(parts(told=visit(NUMBER))))
    await desk.sign_in_as(Role.OFFICER)
    assert (await desk.client.get(f"/api/packets/{sha256}/cms")).status_code == 403
    await desk.sign_in_as(Role.SUPERVISOR)
    held = await desk.client.post(f"/packets/{sha256}/hold", data={"csrf_token": "x", "reason": "court"})
    assert held.status_code == 403
    officer, supervisor = (await desk.user(Role.OFFICER)).user.id, (await desk.user(Role.SUPERVISOR)).user.id
    told = await entries(desk, keys)
    assert told[1] == (officer, "denied", sha256, {"permission": "packets.export", "asked": "packet.export"})
    assert told[3] == (supervisor, "packet.hold", sha256, {})
    assert told[4] == (supervisor, "act.failed", sha256, {"entry": 4, "asked": "packet.hold", "code": "login.form"})


async def test_the_desk_s_bare_address_leads_everybody_to_his_own_first_page(desk):
    """Nothing that was not theirs was asked for, so nothing is noted as denied."""
    homes = {Role.CLERK: "/counter", Role.TECHNICIAN: "/fleet", Role.ADMINISTRATOR: "/fleet"}
    for role, home in homes.items():
        await desk.sign_in_as(role)
        led = await desk.client.get("/")
        assert (led.status_code, led.headers["location"]) == (303, home), role
        assert (await desk.client.get(home)).status_code == 200
    await desk.sign_in_as(Role.AUDITOR)
    await desk.client.get("/audit?lang=en")
    page = await desk.client.get("/audit?action=denied")
    assert "No entry fits" in page.text


async def test_what_cannot_be_noted_is_not_shown(desk, keys):
    sha256 = await desk.receive(keys.packet(parts(told=visit(NUMBER))))
    await desk.sign_in()
    (desk.rooms.settings.data_dir / FILE_NAME).write_text("{}")
    for path in (
        "/",
        f"/packets/{sha256}",
        f"/packets/{sha256}/portrait.jpg",
        f"/api/packets/{sha256}/packet",
        "/audit",
    ):
        answer = await desk.client.get(path)
        assert answer.status_code == 503, path
        assert NUMBER not in answer.text
        assert "image/jpeg" not in answer.headers["content-type"]


async def test_the_auditor_reads_the_log_and_looks_whether_it_is_whole(desk, keys):
    sha256 = await desk.receive(keys.packet(parts(told=visit(NUMBER))))
    await desk.sign_in_as(Role.OFFICER)
    assert (await desk.client.get("/audit")).status_code == 403
    await desk.client.get(f"/packets/{sha256}")
    await desk.sign_in_as(Role.AUDITOR)
    for language in LANGUAGES:
        page = await desk.client.get(f"/audit?lang={language}")
        assert (page.status_code, page.headers["content-language"]) == (200, language)
        assert re.findall(r">audit\.(?!read)", page.text) == [], "a text that the catalogue lacks"
    await desk.client.get("/?lang=en")
    page = await desk.client.get(f"/audit?subject={sha256[:8]}")
    assert (page.text.count("opened a packet</td>"), page.text.count("<tr>")) == (1, 2)
    assert f'href="/packets/{sha256}"' in page.text
    assert "No entry fits" in (await desk.client.get("/audit?to=2020-01-01")).text
    assert "sign-in" not in (await desk.client.get("/audit?action=denied")).text.split("<tbody>")[1]
    for wrong in ("from=x", "action=x", "actor=%D0%90", "from=2026-02-02&to=2026-01-01"):
        assert (await desk.client.get(f"/audit?{wrong}")).status_code == 400
    assert "Not checked since" in page.text
    form = {"csrf_token": token(page)}
    assert (await desk.client.post("/audit/verify", data=form)).headers["location"] == "/audit#verified"
    assert "The log is whole." in (await desk.client.get("/audit")).text
    async with desk.rooms.store.writing() as connection:
        await connection.execute(
            sa.update(audit_log).where(audit_log.c.action == "denied").values(actor="u-innocent", action="sign_out")
        )
    page = await desk.client.get("/audit")
    assert ("NOT GENUINE" in page.text, "u-innocent" in page.text) == (True, False)
    await desk.client.post("/audit/verify", data=form)
    page = (await desk.client.get("/audit")).text
    assert "The log is NOT whole: 1 findings" in page
    assert "entry.columns" in page


async def test_only_packets_are_linked_as_packets_and_roles_are_whole(desk):
    """The keyed hash of an application has a packet's form."""
    await desk.sign_in_as(Role.AUDITOR)
    application, packet = "a1" * 32, "b2" * 32
    await desk.rooms.audit.note("u-00000001", Action.APPLICATION_REGISTERED, application, typed=True, centre="north")
    await desk.rooms.audit.note("u-00000001", Action.DENIED, packet, asked=str(Action.PACKET_EXPORTED))
    roles = "/".join(sorted(Role))
    await desk.rooms.audit.note("u-00000001", Action.USER_CHANGED, "u-00000002", roles=roles)
    await desk.client.get("/audit?lang=en")
    page = (await desk.client.get("/audit?actor=u-00000001")).text
    assert f"/packets/{application}" not in page
    assert f'href="/audit?subject={application}"' in page
    assert f'href="/packets/{packet}"' in page
    assert "Administrator, Auditor, Clerk, Officer, Supervisor, Technician" in page
    assert "number typed:" in page
    assert "centre:" in page


async def test_long_logs_have_pages(desk, monkeypatch):
    monkeypatch.setattr("server.desk_audit.LENGTH", 5)
    await desk.sign_in_as(Role.AUDITOR)
    for _ in range(8):
        await desk.rooms.audit.note("u-00000001", Action.SIGN_OUT)
    page = await desk.client.get("/audit?actor=u-00000001&action=sign_out")
    assert page.text.count('<th scope="row">') == 5
    older = re.search(r'href="/audit\?([^"]*before=[^"]*)"', page.text)[1].replace("&amp;", "&")
    assert "actor=u-00000001" in older
    assert (await desk.client.get(f"/audit?{older}")).text.count('<th scope="row">') == 3


async def test_the_export_holds_what_was_signed_and_its_readme_is_true(desk, keys, tmp_path):
    frame = b"\xff\xd8\xff a frame of the presentation attack check"
    packet = keys.packet(parts(told=visit(NUMBER)) | {"pad/frame-01.jpg": frame})
    sha256 = await desk.receive(packet)
    await desk.sign_in()
    answer = await desk.client.get(f"/api/packets/{sha256}/records.zip")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    stored = await desk.rooms.store.find(sha256)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        files = {name.removeprefix(f"{stored.packet_id}/"): archive.read(name) for name in archive.namelist()}
    trust = load_trust(keys.folder / "ca.pem")
    assert set(files) == {
        *("README.txt", "packet.packet", "package.p7m", "package.zip"),
        *("receipt.json", "log-entry.json", "log-head.p7m"),
    }
    assert (files["packet.packet"], files["receipt.json"]) == (packet, stored.receipt)
    assert verify(files["package.p7m"], trust).content == files["package.zip"]
    assert json.loads(files["log-entry.json"]) == json.loads(files["receipt.json"])["entry"]
    again = await desk.client.get(f"/api/packets/{sha256}/records.zip")
    assert again.content == answer.content
    readme = files["README.txt"].decode()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    shutil.copyfile(keys.folder / "ca.pem", tmp_path / "ca.pem")
    # The indented lines of the part "How to check them" are commands, run here as they stand.
    commands = [line.strip() for line in readme.split("How to check them")[1].splitlines() if line.startswith("     ")]
    assert sum(line.startswith("openssl cms -verify") for line in commands) == 2
    told = ""
    for line in commands:
        command = line.split("        ")[0]
        run = subprocess.run(["bash", "-ec", command], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: ASYNC221 (no server waits)
        assert run.returncode == 0, (command, run.stderr)
        told += run.stdout + run.stderr
        if line != command:
            assert run.stdout.split()[0] == line.split()[-1], "the hash of the leaf"
    assert f'"packet_id":"{stored.packet_id}"' in told
    assert '"root_hash":' in told
    assert f"{hashlib.sha256(frame).hexdigest()}  package/pad/frame-01.jpg" in told
    assert sha256 in readme
    async with desk.rooms.store.writing() as connection:
        row = {"number": 1, "packet_sha256": sha256, "decided_at": stored.received_at, "verdict": "accepted"}
        await connection.execute(sa.insert(decisions).values(**row, decision=b"the signed decision", link=b"its link"))
    decided = await desk.client.get(f"/api/packets/{sha256}/records.zip")
    with zipfile.ZipFile(io.BytesIO(decided.content)) as archive:
        told = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert (told["decision.p7m"], told["decision-link.p7m"]) == (b"the signed decision", b"its link")
    assert b"openssl cms -verify -inform DER -in decision-link.p7m" in told["README.txt"]
    # Whoever changes the row makes neither a header nor a path of it.
    async with desk.rooms.store.writing() as connection:
        await connection.execute(sa.update(packets).values(packet_id='../"\r\nX-Made: 1\u00e4'))
    for path in ("packet", "records.zip"):
        answer = await desk.client.get(f"/api/packets/{sha256}/{path}")
        assert re.fullmatch(r'attachment; filename="[A-Za-z0-9._-]+"', answer.headers["content-disposition"])
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {name.rpartition("/")[0] for name in archive.namelist()} == {stored.packet_id}


async def test_other_packets_with_the_same_file_or_application_are_told(desk, keys):
    """The file is the same in all; two applications."""
    first = await desk.receive(keys.packet(parts(told=visit(NUMBER))))
    retake = await desk.receive(keys.packet(parts(portrait=b"\xff\xd8\xff another", told=visit(NUMBER))))
    alone = await desk.receive(keys.packet(parts(portrait=b"\xff\xd8\xff yet another", told=visit(THIRD))))
    rooms = desk.rooms
    reader = QueueReader(rooms.store, rooms.opener, DeskTerms(rooms.secret))
    await desk.sign_in()

    async def card(sha256: str) -> str:
        await reader.look()
        page = (await desk.client.get(f"/packets/{sha256}?lang=en")).text
        return page.split('id="duplicates-title"')[1].split("</section>")[0] if 'id="duplicates-title"' in page else ""

    assert await card(alone) == ""
    told = await card(first)
    assert retake in told
    assert "The same application" in told
    assert "The same portrait file" not in told
    stolen = await desk.receive(keys.packet(parts(told=visit(OTHER))))
    told = await card(stolen)
    assert ("another application" in told, first in told, retake in told) == (True, True, False)
    assert "look into it before you decide" in await card(first)
    # Then one person is not enough; a portrait that only its own applicant sent again needs no second one.
    given = (rooms.store, desk.objects.orders, rooms.opener, None, None, timedelta(hours=72), rooms.now)
    hand_over = HandOver(HandOverRooms(*given, is_copy=partial(is_copy, rooms.store, DeskTerms(rooms.secret))))
    causes = {}
    for sha256 in (first, stolen, retake, alone):
        stored = await rooms.store.find(sha256)
        causes[sha256] = set(await hand_over.causes(await rooms.opener.content(stored)))
    assert causes == {first: {Cause.COPY}, stolen: {Cause.COPY}, retake: set(), alone: set()}
