"""The pages' interface: who is let in, what a command does, how states and pictures flow, and that nothing is left when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import struct
from pathlib import Path

import httpx2
import pytest
import websockets
from fastapi.testclient import TestClient
from websockets.frames import Frame, Opcode

from booth import page_requests, web
from booth.kiosk import Consent, Identify, Start
from booth.page_requests import MAX_COMMAND_BYTES
from booth.status_code import draw_code
from booth.web import create_app, open_pages
from tests.unit.fake_booth import FakeBooth, kiosk_state

HOST = "127.0.0.1:8000"
JPEG = b"\xff\xd8 a picture \xff\xd9"
BOOTH = Path(web.__file__).parent
MAX_PAGE_BYTES = 300_000


@pytest.fixture
def booth():
    return FakeBooth(kiosk_state("attract"), JPEG, JPEG)


@pytest.fixture
def client(booth):
    return TestClient(create_app(booth), base_url=f"http://{HOST}", client=("127.0.0.1", 40000))


@pytest.fixture
async def served(booth, no_tasks_left):
    async with open_pages(booth, 0) as address, httpx2.AsyncClient(base_url=address, timeout=10) as browser:
        yield browser


def token_of(page):
    return re.search(r'name="kiosk-token" content="([^"]+)"', page.text).group(1)


def press(client, event, body=None, **headers):
    return client.post(f"/api/visit/{event}", json=body, headers=shown(client) | headers)


def shown(client):
    """What a page that shows the present state sends along."""
    state = client.app.state.pages._booth.state
    return {"X-Kiosk-Token": token_of(client.get("/")), "X-Kiosk-Seen": f"{state.state} {state.visit or '-'}"}


async def events(lines):
    """Events of a stream as (name, data)."""
    name = ""
    async for line in lines:
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            yield name, json.loads(line.removeprefix("data:"))


# --- the door ----------------------------------------------------------------------------------------------------------

PATHS = ("/", "/technician", "/api/messages/de", "/api/technician", "/static/kiosk.js", "/api/visit/portrait")


def test_every_answer_is_uncached_and_runs_nothing_foreign(client):
    for path in PATHS:
        answer = client.get(path)
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "booth.example"},
        {"Host": "127.0.0.1.example"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_foreign_pages_are_refused_everywhere(client, headers):
    for path in PATHS:
        answer = client.get(path, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "page.foreign"
        assert answer.headers["cache-control"] == "no-store"


def test_the_waiting_page_may_open_the_kiosk_page_and_nothing_else(client):
    opening = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=opening).status_code == 200
    for path in PATHS[1:]:
        assert client.get(path, headers=opening).status_code == 403
    for changed in (
        {"Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Mode": "no-cors"},
        {"Origin": "null"},
        {"Host": "x.example"},
    ):
        assert client.get("/", headers=opening | changed).status_code == 403
    assert client.post("/", headers=opening).status_code == 403


async def test_pages_that_follow_are_counted(served):
    assert (await served.get("/api/pages")).text == '{"pages":0,"silent_s":null}'
    async with served.stream("GET", "/api/events") as stream:
        async for _ in stream.aiter_lines():
            break
        assert (await served.get("/api/pages")).json() == {"pages": 1, "silent_s": None}


@pytest.mark.parametrize("peer", ["192.0.2.7", "testclient", "10.0.0.1", "2001:db8::1"])
def test_another_machine_is_refused(booth, peer):
    client = TestClient(create_app(booth), base_url=f"http://{HOST}", client=(peer, 40000))
    assert client.get("/technician").status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "localhost"])
def test_loopback_names_are_let_in(client, host):
    assert client.get("/", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


def test_nothing_is_told_about_the_interface(client):
    assert {client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json", "/static/../web.py")} == {404}


# --- pages -------------------------------------------------------------------------------------------------------------


def test_the_kiosk_page_has_no_inline_code_and_stays_light(client):
    page = client.get("/")
    assert '<html lang="en" dir="ltr">' in page.text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", page.text)
    addresses = {"/", "/api/messages/ar"} | set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))
    answers = [client.get(address) for address in addresses]
    assert all(answer.status_code == 200 for answer in answers)
    assert sum(len(answer.content) for answer in answers) < MAX_PAGE_BYTES


def test_every_module_that_a_script_imports_is_preloaded(client):
    page = client.get("/").text
    imports = {
        name
        for script in (BOOTH / "static").glob("*.js")
        if not script.name.startswith("technician")
        for name in re.findall(r'(?:from|import) "\./([\w.]+)"', script.read_text("utf-8"))
    }
    assert imports == set(re.findall(r'modulepreload" href="/static/([\w.]+)"', page))


def test_the_page_starts_in_the_language_of_the_visit(booth):
    booth = FakeBooth(kiosk_state("consent", language="ar"))
    client = TestClient(create_app(booth), base_url=f"http://{HOST}", client=("::1", 40000))
    assert '<html lang="ar" dir="rtl">' in client.get("/").text


def test_messages_come_with_what_the_language_screen_needs(client):
    told = client.get("/api/messages/ru").json()
    assert (told["language"], told["direction"]) == ("ru", "ltr")
    assert [each["name"] for each in told["languages"]] == ["English", "Deutsch", "Русский", "العربية"]
    assert set(told["texts"]["review.tries_left"]) == {"one", "few", "many", "other"}
    missing = client.get("/api/messages/tlh")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "messages.catalogue")


# --- commands ----------------------------------------------------------------------------------------------------------


def test_a_command_reaches_the_visit(client, booth):
    answer = press(client, "start")
    assert answer.status_code == 202
    assert answer.json() == {"error": None, "state": booth.state.model_dump(mode="json")}
    assert booth.commands == [Start()]


def test_a_command_that_the_visit_does_not_allow_is_409_with_the_state(client, booth):
    answer = press(client, "accept")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "command.refused"
    assert answer.json()["state"]["state"] == "attract"
    assert booth.commands == []


def test_a_tap_on_a_screen_that_is_gone_does_nothing(client, booth):
    assert press(client, "start", None, **{"X-Kiosk-Seen": "review 8f4a2c61"}).status_code == 409
    assert booth.commands == []
    assert press(client, "start", None, **{"X-Kiosk-Seen": "attract -"}).status_code == 202


def test_a_command_that_does_not_tell_what_its_page_showed_does_nothing(client, booth):
    answer = client.post("/api/visit/start", headers={"X-Kiosk-Token": token_of(client.get("/"))})
    assert (answer.status_code, answer.json()["error"]["code"]) == (428, "page.seen")
    assert answer.json()["state"]["state"] == "attract"
    assert booth.commands == []


def test_bodies_become_commands(booth):
    booth = FakeBooth(kiosk_state("identify", commands=("identify", "consent")))
    client = TestClient(create_app(booth), base_url=f"http://{HOST}", client=("127.0.0.1", 40000))
    press(client, "identify", {"number": "DEMO2026000017Q"})
    press(client, "consent", {"answer": False})
    assert booth.commands == [Identify(number="DEMO2026000017Q"), Consent(answer=False)]


@pytest.mark.parametrize(
    ("event", "content"),
    [
        ("identify", b'{"number": 7, "extra": true}'),
        ("identify", b'{"number": "' + b"A" * 65 + b'"}'),
        ("identify", b"[]"),
        ("identify", b"not json"),
        ("identify", b"\xff\xfe"),
        ("identify", b"[" * 4000),
        ("identify", b'{"number":' * 400),
        ("language", b'{"language": "tlh"}'),
        ("consent", b"{}"),
        ("explode", b""),
    ],
)
def test_what_no_booth_understands_is_422_and_never_repeats_what_was_sent(client, booth, event, content):
    answer = client.post(f"/api/visit/{event}", content=content, headers=shown(client))
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "command.malformed"
    assert "AAAA" not in answer.text
    assert booth.commands == []


def test_a_long_body_is_cut_short(client, booth):
    assert press(client, "identify", {"number": "A" * MAX_COMMAND_BYTES}).status_code == 413
    assert booth.commands == []


async def begun_command(served, body):
    """A connection that announces 100 bytes of a command and sends fewer."""
    token = token_of(await served.get("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.base_url.port)
    head = (
        f"POST /api/visit/start HTTP/1.1\r\nHost: 127.0.0.1:{served.base_url.port}\r\nX-Kiosk-Token: {token}\r\n"
        "X-Kiosk-Seen: attract -\r\nContent-Length: 100\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    return reader, writer


async def test_a_command_that_never_ends_is_let_go(booth, served, monkeypatch):
    monkeypatch.setattr(page_requests, "COMMAND_S", 0.05)
    reader, writer = await begun_command(served, b"{")
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 10)
    assert b" 408 " in answer
    assert b"page.slow" in answer
    assert booth.commands == []
    writer.close()
    await writer.wait_closed()


async def test_a_page_that_leaves_in_the_middle_of_a_command_is_no_failure(booth, served, monkeypatch, caplog):
    gone = asyncio.Event()
    problem = page_requests.problem

    def noted(status, code, message):
        if code == "page.gone":
            gone.set()
        return problem(status, code, message)

    monkeypatch.setattr(page_requests, "problem", noted)
    _, writer = await begun_command(served, b"{")
    writer.close()
    await writer.wait_closed()
    await asyncio.wait_for(gone.wait(), 10)
    assert (await served.get("/")).status_code == 200
    assert not [record for record in caplog.records if record.exc_info]
    assert booth.commands == []


@pytest.mark.parametrize("token", ["", "wrong", "\u00e9"])
def test_without_the_token_of_the_page_nothing_happens(client, booth, token):
    headers = {"X-Kiosk-Token": token.encode("latin-1")}
    answer = client.post("/api/visit/start", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "page.token")
    assert booth.commands == []


def test_tokens_differ_between_runs(booth):
    pages = [
        TestClient(create_app(booth), base_url=f"http://{HOST}", client=("127.0.0.1", 1)).get("/") for _ in range(2)
    ]
    assert token_of(pages[0]) != token_of(pages[1])


def test_reading_never_changes_anything(client, booth):
    for path in (*PATHS, "/api/visit/start", "/api/visit/cancel"):
        client.get(path)
    assert booth.commands == []
    assert client.get("/api/visit/start").status_code == 405


async def test_the_portrait_is_only_there_while_it_is_shown(client, booth):
    assert client.get("/api/visit/portrait").status_code == 404
    await booth.show(kiosk_state("review"))
    answer = client.get("/api/visit/portrait?attempt=1")
    assert (answer.content, answer.headers["content-type"]) == (JPEG, "image/jpeg")
    assert answer.headers["cache-control"] == "no-store"


async def test_the_status_code_is_only_there_on_the_thanks_screen(client, booth):
    assert client.get("/api/visit/status-code").status_code == 404
    await booth.show(kiosk_state("thanks", status_url="https://intake.example/status#token"))
    answer = client.get("/api/visit/status-code")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.text == draw_code("https://intake.example/status#token")
    assert answer.headers["cache-control"] == "no-store"


# --- states ------------------------------------------------------------------------------------------------------------


async def test_a_page_hears_the_present_state_at_once_and_every_change(booth, served):
    async with served.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = events(stream.aiter_lines())
        assert (await anext(told))[0] == "hello"
        assert await anext(told) == ("state", booth.state.model_dump(mode="json"))
        await booth.show(kiosk_state("language", language="ru"))
        name, state = await anext(told)
        assert (name, state["state"], state["language"]) == ("state", "language", "ru")


async def test_a_silent_booth_shows_that_it_lives(booth, served, monkeypatch):
    monkeypatch.setattr(web, "ALIVE_S", 0.01)
    async with served.stream("GET", "/api/events") as stream:
        told = events(stream.aiter_lines())
        names = [(await anext(told))[0] for _ in range(4)]
    assert names == ["hello", "state", "alive", "alive"]


async def test_the_stream_names_the_run_so_that_old_pages_reload(served):
    page = await served.get("/")
    async with served.stream("GET", "/api/events") as stream:
        _, hello = await anext(events(stream.aiter_lines()))
    assert f'name="kiosk-instance" content="{hello["instance"]}"' in page.text


async def test_a_page_that_goes_away_is_forgotten(booth, served, monkeypatch):
    monkeypatch.setattr(web, "ALIVE_S", 0.01)
    async with served.stream("GET", "/api/events") as stream:
        told = events(stream.aiter_lines())
        await anext(told)
        await anext(told)
        assert booth.subscribers == 1
    await asyncio.wait_for(booth.alone.wait(), 10)


# --- pictures ----------------------------------------------------------------------------------------------------------


def preview_address(served):
    return str(served.base_url).replace("http://", "ws://").rstrip("/") + "/api/preview"


async def ask(socket, within_s=5.0):
    await socket.send("ready")
    message = await asyncio.wait_for(socket.recv(), within_s)
    return struct.unpack(">Q", message[:8])[0], message[8:]


async def test_one_picture_for_each_ready_and_never_the_same_twice(booth, served):
    await booth.show(kiosk_state("framing"))
    async with websockets.connect(preview_address(served)) as socket:
        assert await ask(socket) == (1, JPEG)
        await socket.send("ready")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.05)
        booth.picture_at_ns = 2**40
        message = await asyncio.wait_for(socket.recv(), 5)
        assert struct.unpack(">Q", message[:8])[0] == 2**40


async def test_a_page_that_does_not_ask_gets_nothing(booth, served):
    await booth.show(kiosk_state("framing"))
    async with websockets.connect(preview_address(served)) as socket:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.05)


@pytest.mark.parametrize("state", ["attract", "consent", "review", "thanks", "clearing", "out_of_service"])
async def test_no_picture_leaves_while_the_visit_shows_none(booth, served, state):
    await booth.show(kiosk_state(state))
    async with websockets.connect(preview_address(served)) as socket:
        with pytest.raises(TimeoutError):
            await ask(socket, 0.05)
        await booth.show(kiosk_state("framing"))
        assert (await asyncio.wait_for(socket.recv(), 5))[8:] == JPEG


async def test_a_camera_that_comes_late_is_waited_for(booth, served):
    booth.picture = None
    await booth.show(kiosk_state("framing"))
    async with websockets.connect(preview_address(served)) as socket:
        with pytest.raises(TimeoutError):
            await ask(socket, 0.05)
        booth.picture = JPEG
        assert (await asyncio.wait_for(socket.recv(), 5))[8:] == JPEG


@pytest.mark.parametrize("rude", [b"\x00\x01", "ready" * 1000])
async def test_a_rude_page_loses_its_socket_and_nothing_else(booth, served, rude):
    await booth.show(kiosk_state("framing"))
    async with websockets.connect(preview_address(served)) as socket:
        await socket.send(rude)
        await asyncio.wait_for(socket.wait_closed(), 5)
    async with websockets.connect(preview_address(served)) as socket:
        assert (await ask(socket))[1] == JPEG


@pytest.mark.parametrize("frames", [b"\xff\xfe", [b"rea", b"\xff"]])
async def test_a_text_that_is_no_text_closes_the_socket_without_a_trace_in_the_log(booth, served, caplog, frames):
    await booth.show(kiosk_state("framing"))
    async with websockets.connect(preview_address(served)) as socket:
        await socket.send(frames, text=True)
        await asyncio.wait_for(socket.wait_closed(), 5)
        assert socket.close_code == websockets.CloseCode.INVALID_DATA
    assert not [record for record in caplog.records if record.exc_info]
    async with websockets.connect(preview_address(served)) as socket:
        assert (await ask(socket))[1] == JPEG


async def test_a_text_that_is_no_text_and_a_close_at_once_leave_no_trace_in_the_log(booth, served, caplog):
    await booth.show(kiosk_state("framing"))
    async with websockets.connect(preview_address(served)) as socket:
        frames = Frame(Opcode.TEXT, b"\xff"), Frame(Opcode.CLOSE, b"\x03\xe8")
        socket.transport.write(b"".join(frame.serialize(mask=True) for frame in frames))
        await asyncio.wait_for(socket.wait_closed(), 5)
    assert not [record for record in caplog.records if record.exc_info]
    async with websockets.connect(preview_address(served)) as socket:
        assert (await ask(socket))[1] == JPEG


async def test_a_foreign_origin_gets_no_pictures(served):
    with pytest.raises(websockets.InvalidStatus, match="403"):
        await websockets.connect(preview_address(served), origin="https://evil.example")


# --- the end -----------------------------------------------------------------------------------------------------------


async def test_closing_ends_streams_and_sockets_at_once_and_leaves_nothing(booth, no_tasks_left):
    await booth.show(kiosk_state("framing"))
    async with contextlib.AsyncExitStack() as stack:
        pages = open_pages(booth, 0)
        address = await pages.__aenter__()
        browser = await stack.enter_async_context(httpx2.AsyncClient(base_url=address, timeout=10))
        stream = await stack.enter_async_context(browser.stream("GET", "/api/events"))
        told = events(stream.aiter_lines())
        await anext(told)
        socket = await stack.enter_async_context(websockets.connect(f"{address.replace('http', 'ws')}api/preview"))
        await ask(socket)
        async with asyncio.timeout(2):
            await pages.__aexit__(None, None, None)
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert [name async for name, _ in told if name not in {"state", "alive"}] == []
    assert booth.subscribers == 0


async def test_a_taken_port_is_told(booth, served):
    with pytest.raises(OSError, match="in use"):
        async with open_pages(booth, served.base_url.port):
            pass
