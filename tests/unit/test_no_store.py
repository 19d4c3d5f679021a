"""No answer of booth or desk may be kept by a browser: every route, every method, every outcome."""

from __future__ import annotations

import re

import httpx2
import pytest
from starlette.routing import Mount, WebSocketRoute

from booth.web import STATIC, create_app, open_pages
from server.messages import load_messages
from tests.desk_rig import opened_desk
from tests.sealed_packets import Keys
from tests.unit.fake_booth import FakeBooth, kiosk_state

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
STALE = {"If-None-Match": "*", "If-Modified-Since": "Tue, 22 Nov 2050 10:00:00 GMT", "Range": "bytes=0-3"}


def flat(routes):
    """The routes of included routers too, which FastAPI keeps as they are."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from flat(inner.routes) if inner is not None else (route,)


def paths(app):
    """Every path of an application, parameters filled in, files of its folders one by one."""
    found = set()
    for route in flat(app.routes):
        if isinstance(route, Mount):
            found |= {f"{route.path}/{file.name}" for file in STATIC.parent.joinpath(route.name).iterdir()}
            found.add(f"{route.path}/none.css")
        elif hasattr(route, "path") and not isinstance(route, WebSocketRoute):
            found.add(re.sub(r"\{[^}]*\}", "en", route.path))
    return sorted(found)


def raw_paths(app):
    return {route.path for route in flat(app.routes) if hasattr(route, "path")}


async def asked(client, path):
    """Every answer that the path gives, as far as its headers."""
    for method in METHODS:
        for headers in ({}, STALE, {"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            async with client.stream(method, path, headers=headers) as answer:
                yield f"{method} {path} {headers} {answer.status_code}", answer


def unkept(answer):
    return answer.headers.get_list("cache-control") == ["no-store"] and "expires" not in answer.headers


def routes_of(app):
    """Below the layers around it."""
    while not hasattr(app, "routes"):
        app = app._app
    return app


@pytest.mark.parametrize("state", ["framing", "review"])
async def test_no_answer_of_the_booth_is_kept(state):
    booth = FakeBooth(kiosk_state(state), b"\xff\xd8 a picture \xff\xd9", b"\xff\xd8 a picture \xff\xd9")
    known = paths(create_app(booth))
    assert {"/", "/api/events", "/api/visit/portrait", "/api/technician", "/static/kiosk.js"} <= set(known)
    seen = set()
    async with open_pages(booth, 0) as address, httpx2.AsyncClient(base_url=address, timeout=10) as client:
        for path in (*known, "/none", "/api/visit/portrait?attempt=1", "/static/..%2fweb.py"):
            async for told, answer in asked(client, path):
                seen.add(answer.status_code)
                assert unkept(answer), told
    assert {200, 403, 404, 405} <= seen, "refusals and errors are answers too"


async def test_the_first_page_makes_the_browser_forget():
    async with open_pages(FakeBooth(kiosk_state("attract")), 0) as address, httpx2.AsyncClient() as client:
        answer = await client.get(address)
    assert answer.headers["clear-site-data"] == '"cache", "storage"'


async def test_no_answer_of_the_desk_is_kept(tmp_path):
    keys = Keys(tmp_path / "pki")
    async with opened_desk(keys, tmp_path / "data", load_messages()) as desk:
        app = desk.client._transport.app
        known = {re.sub(r"\{sha256[^}]*\}", "SHA", path) for path in raw_paths(routes_of(app))}
        assert (await desk.sign_in()).status_code == 303
        sha256 = await desk.receive(keys.packet())
        seen = set()
        for path in sorted(known):
            for part in ("portrait.jpg", "report.json", "none"):
                filled = re.sub(r"\{[^}]*\}", part, path.replace("SHA", sha256))
                for method in ("GET", "HEAD", "OPTIONS", "DELETE", "POST"):
                    if (method, filled) == ("POST", "/logout"):
                        continue  # the rest is asked as an officer
                    answer = await desk.client.request(method, filled, headers=STALE)
                    seen.add((answer.status_code, "portrait" in filled))
                    assert unkept(answer), f"{method} {filled} {answer.status_code}"
    assert (200, True) in seen, "a portrait was among the answers"
