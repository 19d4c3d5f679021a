"""Attacks on the kiosk's pages over real sockets: other addresses, spoofed proxies, forged forms, foreign code, slow heads."""

from __future__ import annotations

import asyncio
import re
import socket

import httpx2
import pytest

from booth.page_protocol import PageProtocol
from booth.technician_login import TechnicianDoor
from booth.web import open_pages
from tests.unit.fake_booth import FakeBooth, kiosk_state

EVIL = "evil.example"


@pytest.fixture
def booth():
    return FakeBooth(kiosk_state("attract"))


@pytest.fixture
async def port(booth, tmp_path, no_tasks_left):
    async with open_pages(booth, 0, door=TechnicianDoor(tmp_path / "technician.argon2id")) as address:
        yield int(address.rstrip("/").rpartition(":")[2])


async def speak(port, *lines, body=b"", host=None):
    """One request, byte by byte as given; the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fixed = [] if host == "" else [f"Host: {host or f'127.0.0.1:{port}'}"]
    writer.write("\r\n".join([lines[0], *fixed, "Connection: close", *lines[1:], "", ""]).encode("latin-1") + body)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
        await writer.wait_closed()


def status(answer):
    return int(answer.split(b" ", 2)[1])


async def token_of(port):
    page = await speak(port, "GET / HTTP/1.1")
    return re.search(rb'name="kiosk-token" content="([^"]+)"', page).group(1).decode()


async def test_only_loopback_listens(port):
    own = socket.gethostbyname_ex(socket.gethostname())[2]
    for address in {"127.0.0.2", *own} - {"127.0.0.1"}:
        with pytest.raises(OSError, match=r"refused|unreachable|failed"):
            await asyncio.wait_for(asyncio.open_connection(address, port), 5)


@pytest.mark.parametrize(
    "lines",
    [
        ("X-Forwarded-For: 192.0.2.7",),
        ("Forwarded: for=192.0.2.7;host=evil.example;proto=https",),
        ("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https"),
        ("X-Real-IP: 192.0.2.7", "X-Original-URL: /technician"),
    ],
)
async def test_no_proxy_is_believed(port, lines):
    answer = await speak(port, "GET /api/pages HTTP/1.1", *lines)
    assert status(answer) == 200
    assert EVIL.encode() not in answer
    foreign = await speak(port, "GET /api/pages HTTP/1.1", *lines, "X-Forwarded-Host: 127.0.0.1", host=EVIL)
    assert status(foreign) == 403


@pytest.mark.parametrize(
    ("lines", "host", "wanted"),
    [
        (("GET / HTTP/1.1", f"Host: {EVIL}"), None, 400),  # two hosts
        (("GET / HTTP/1.1",), "", 400),  # none
        (("GET / HTTP/1.0",), "", 403),  # none where it may be missing
        (("GET http://127.0.0.1/ HTTP/1.1",), EVIL, 403),
        (("GET / HTTP/1.1", "Origin: http://127.0.0.1:1"), None, 403),
        (("GET / HTTP/1.1", f"Origin: http://{EVIL}", "Origin: OWN"), None, 403),
        (("GET / HTTP/1.1", "Origin: OWN", f"Origin: http://{EVIL}"), None, 403),
        (("GET / HTTP/1.1", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-origin"), None, 403),
        (("GET / HTTP/1.1",), "127.0.0.1.nip.example", 403),
        (("GET / HTTP/1.1",), "127.0.0.1@evil.example", 403),
        (("GET / HTTP/1.1",), "0.0.0.0", 403),
        (("GET / HTTP/1.1",), "2130706433", 403),
    ],
)
async def test_hosts_and_origins_that_are_not_ours_alone_are_refused(port, lines, host, wanted):
    lines = [line.replace("OWN", f"http://127.0.0.1:{port}") for line in lines]
    assert status(await speak(port, *lines, host=host)) == wanted


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"])
async def test_a_forged_form_commands_nothing(booth, port, kind):
    token = await token_of(port)
    body = f"X-Kiosk-Token={token}&token={token}&event=start".encode()
    lines = (f"Content-Type: {kind}", f"Content-Length: {len(body)}", f"Cookie: X-Kiosk-Token={token}")
    for path in (f"/api/visit/start?X-Kiosk-Token={token}", "/api/technician/session", "/api/technician/session/end"):
        assert status(await speak(port, f"POST {path} HTTP/1.1", *lines, body=body)) == 403
    assert booth.commands == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "GET", "HEAD"])
async def test_no_other_method_commands(booth, port, method):
    token = await token_of(port)
    lines = (f"X-Kiosk-Token: {token}", "X-Kiosk-Seen: attract -", "X-HTTP-Method-Override: POST", "Content-Length: 0")
    assert status(await speak(port, f"{method} /api/visit/start HTTP/1.1", *lines)) == 405
    assert booth.commands == []


async def test_a_foreign_page_is_told_nothing_about_what_it_may(port):
    lines = (
        f"Origin: http://{EVIL}",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: x-kiosk-token",
    )
    answer = await speak(port, "OPTIONS /api/visit/start HTTP/1.1", *lines)
    assert status(answer) == 403
    assert b"access-control" not in answer.lower()
    assert EVIL.encode() not in answer


@pytest.mark.parametrize(
    "path",
    ["/", "/technician", "/technician?language=ar", "/api/pages", "/static/kiosk.js", "/nothing", "/api/visit/start"],
)
async def test_the_policy_lets_in_our_own_code_alone(port, path):
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:
        answer = await browser.get(path)
    policy = {
        words[0]: set(words[1:])
        for words in (part.split() for part in answer.headers["content-security-policy"].split(";"))
    }
    assert policy["default-src"] == {"'none'"}
    assert {
        source for name, sources in policy.items() if name != "require-trusted-types-for" for source in sources
    } <= {"'none'", "'self'"}
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == {"'none'"}
    assert policy["require-trusted-types-for"] == {"'script'"}
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", answer.text) or path.endswith(
        ".js"
    )


async def test_a_head_that_does_not_come_loses_its_connection(port, monkeypatch):
    monkeypatch.setattr(PageProtocol, "head_s", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: ")
    try:
        assert await asyncio.wait_for(reader.read(), 10) == b""
    except ConnectionResetError:
        pass
    finally:
        writer.close()


async def test_no_address_is_completed_by_a_redirect(port):
    answer = await speak(port, f"GET /technician/?next={EVIL} HTTP/1.1")
    assert status(answer) == 404
    assert EVIL.encode() not in answer
