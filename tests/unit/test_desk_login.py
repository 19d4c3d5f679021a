"""The desk's door: closed without a session, a name with its password and code, forms of its own pages alone, and headers that keep every answer private."""

from __future__ import annotations

import re

import pytest

from server.messages import load_messages
from tests.desk_rig import opened_desk, parts
from tests.sealed_packets import Keys


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


PRIVATE = [
    "/",
    "/?before=3",
    f"/packets/{'0' * 64}",
    f"/packets/{'0' * 64}/portrait.jpg",
    "/api/packets",
    f"/api/packets/{'0' * 64}",
    f"/api/packets/{'0' * 64}/parts/portrait.jpg",
    f"/api/packets/{'0' * 64}/package.zip",
    f"/api/packets/{'0' * 64}/cms",
    f"/api/packets/{'0' * 64}/packet",
]


@pytest.mark.parametrize("path", PRIVATE)
async def test_nothing_is_shown_without_a_session(desk, path):
    answer = await desk.client.get(path)
    if path.startswith("/api/"):
        assert answer.status_code == 401
        assert answer.json()["code"] == "login.required"
    else:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")


async def test_a_session_with_an_invented_token_is_none(desk):
    desk.client.cookies.set("__Host-desk", "A" * 43)
    assert (await desk.client.get("/api/packets")).status_code == 401


async def test_name_and_password_open_a_session_whose_cookie_no_script_sees(desk):
    answer = await desk.sign_in()
    assert answer.status_code == 303
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("__Host-desk="))
    for attribute in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert attribute.lower() in cookie.lower()
    assert "max-age" not in cookie.lower()
    assert "domain" not in cookie.lower()
    assert (await desk.client.get("/")).status_code == 200


async def test_login_leads_to_the_packet_that_was_asked_for_and_nowhere_else(desk):
    wanted = f"/packets/{'a' * 64}"
    sent = await desk.client.get(wanted)
    assert sent.headers["location"] == f"/login?next={wanted}"
    assert (await desk.sign_in(next=wanted)).headers["location"] == wanted
    for elsewhere in ("https://evil.example/", "//evil.example", "/logout", f"/packets/{'a' * 64}/../../x"):
        desk.client.cookies.clear()
        assert (await desk.sign_in(next=elsewhere)).headers["location"] == "/"


async def test_a_wrong_password_is_told_and_too_many_are_locked_out_for_a_time(desk):
    for _ in range(3):
        answer = await desk.sign_in("WRONG-WRONG")
        assert answer.status_code == 403
        assert "Name, password or code is wrong" in answer.text
        assert "WRONG" not in answer.text
    locked = await desk.sign_in()
    assert locked.status_code == 429
    assert int(locked.headers["retry-after"]) == 61
    assert "61 seconds" in locked.text
    desk.clock.now += 60
    assert (await desk.sign_in()).status_code == 303


async def test_a_login_form_without_its_token_or_from_elsewhere_is_refused(desk):
    await desk.client.get("/login")
    made = await desk.user()
    person = {"name": made.user.name, "password": made.password}
    assert (await desk.client.post("/login", data=person)).status_code == 403
    token = re.search(r'name="csrf_token" value="([^"]+)"', (await desk.client.get("/login")).text)[1]
    form = {**person, "csrf_token": token}
    foreign = await desk.client.post("/login", data=form, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    desk.client.cookies.clear()
    assert (await desk.client.post("/login", data=form)).status_code == 403
    assert (await desk.client.post("/login", json=form)).status_code == 415
    assert (await desk.client.get("/api/packets")).status_code == 401


async def test_a_login_never_continues_a_session_that_the_browser_brought(desk):
    desk.client.cookies.set("__Host-desk", "fixed-by-somebody", domain="desk.test", path="/")
    await desk.sign_in()
    assert desk.client.cookies.get("__Host-desk", domain="") != "fixed-by-somebody"
    assert desk.rooms.door.session("fixed-by-somebody") is None


async def test_signing_out_ends_the_session_and_lets_go_of_what_was_opened(officer, keys):
    await officer.receive(keys.packet())
    page = await officer.client.get("/")
    assert officer.rooms.opener.held == 1
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]
    assert (await officer.client.post("/logout", data={"csrf_token": "x"})).status_code == 403
    assert (await officer.client.get("/")).status_code == 200
    answer = await officer.client.post("/logout", data={"csrf_token": token})
    assert answer.status_code == 303
    assert "cache" in answer.headers["clear-site-data"]
    assert officer.rooms.opener.held == 0
    assert (await officer.client.get("/")).status_code == 303


async def test_a_session_ends_after_silence_and_after_its_longest_time(officer):
    officer.clock.now += 899
    assert (await officer.client.get("/")).status_code == 200
    officer.clock.now += 901
    assert (await officer.client.get("/")).status_code == 303
    await officer.sign_in()
    for _ in range(45):
        officer.clock.now += 800
        last = await officer.client.get("/api/packets")
    assert last.status_code == 401


async def test_logout_by_address_alone_does_nothing(officer):
    assert (await officer.client.get("/logout")).status_code == 405
    assert (await officer.client.get("/")).status_code == 200


@pytest.mark.parametrize(
    "path", ["/login", "/", "/api/packets", "/nothing", "/static/desk.css", f"/packets/{'0' * 64}"]
)
async def test_every_answer_carries_the_headers_that_keep_it_private(officer, path):
    headers = (await officer.client.get(path)).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "max-age" in headers["strict-transport-security"]


async def test_the_pages_hold_no_inline_code_and_nothing_from_elsewhere(officer, keys):
    sha256 = await officer.receive(keys.packet(parts()))
    for path in ("/", f"/packets/{sha256}", "/nothing"):
        text = (await officer.client.get(path)).text
        assert not re.search(r"<style|style=|\son\w+=|javascript:|<script(?! type=\"module\" src=\"/static/)", text)
        assert not re.search(r"(src|href)=\"(https?:)?//", text)


async def test_forms_are_small_and_have_a_length(desk):
    await desk.client.get("/login")
    huge = await desk.client.post("/login", data={"password": "x" * 5000})
    assert huge.status_code == 413
    assert (await desk.client.post("/login", data=dict.fromkeys(map(str, range(30)), "x"))).status_code == 400
