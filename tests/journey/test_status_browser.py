"""The public status page in a real browser: the token never leaves by an address, each outcome is shown, axe finds nothing, and nothing overflows."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from axe_playwright_python.sync_playwright import Axe

from crypto.application import application_digest, check_character
from crypto.status_token import make_status_token, status_digest
from server.application_rows import Links, Registry, note_captures
from server.applications import NewApplication, Outcome
from server.config import StoreSettings
from server.messages import load_messages
from server.store import open_store
from tests.doors import open_server
from tests.journey.screens import CHROMIUM
from tests.sealed_packets import Keys

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium")]
VISITS = {"received": (), "accepted": (), "retake": ("glasses", "light")}


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    folder = tmp_path_factory.mktemp("status")
    with open_server("serve", Keys(folder / "pki"), folder) as opened:
        with ThreadPoolExecutor(1) as thread:  # Playwright has a loop of its own on this one
            tokens = thread.submit(asyncio.run, fill(folder / "serve")).result()
        yield opened, tokens


async def fill(data: Path) -> dict[str, str]:
    """One visit for each outcome; their tokens, and one of a visit that has not arrived."""
    tokens = {name: make_status_token() for name in (*VISITS, "unknown")}
    now = datetime.now(UTC)
    async with open_store(StoreSettings(data_dir=data).resolved_database_url) as store:
        registry = Registry(store, lambda: now)
        for serial, (name, reasons) in enumerate(VISITS.items()):
            body = f"ST{serial:05}"
            number = body + check_character(body)
            await registry.file([NewApplication(number, "centre", now.date())])
            links = Links(application_digest(number).hex(), status_digest(tokens[name]).hex())
            async with store.writing() as connection:
                await note_captures(connection, [(f"{serial:064}", links)], lambda: now)
            if name != "received":
                await registry.decide(number, Outcome(name), reasons)
    return tokens


def test_the_page_tells_each_outcome_and_the_token_stays_behind_the_number_sign(door, browser):
    intake, tokens = door
    words = load_messages().languages
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 390, "height": 844}, locale="ru-RU")
    page = context.new_page()
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request))  # noqa: PLW0108 - Playwright cannot wrap a built-in
    page.on("pageerror", lambda error: faults.append(str(error)))
    axe = Axe()

    def shows(view: str, language: str) -> None:
        page.wait_for_selector(f'[data-view="{view}"]:not([hidden])')
        assert page.locator("[data-view]:not([hidden])").count() == 1
        assert page.locator("h1:visible").inner_text() == words[language](f"status.{view}.title")
        wide, view_wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= view_wide, "nothing is cut off or has to be scrolled sideways"

    # The code of the thanks screen is opened by a phone that speaks Russian.
    page.goto(f"{intake.url}/status#{tokens['received']}")
    shows("received", "ru")
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    # Another language is chosen: the token goes with the link.
    page.click("nav a[lang=ar]")
    shows("received", "ar")
    assert page.evaluate("location.hash") == f"#{tokens['received']}"
    assert page.evaluate("getComputedStyle(document.documentElement).direction") == "rtl"
    for view, language in (("retake", "ar"), ("accepted", "de"), ("unknown", "en")):
        page.goto("about:blank")
        page.goto(f"{intake.url}/status?lang={language}#{tokens[view]}")
        shows(view, language)
        if view == "retake":
            told = page.locator("[data-reason]:not([hidden])")
            assert told.all_inner_texts() == [words[language](f"status.reason.{each}") for each in VISITS["retake"]]
            assert axe.run(page).violations_count == 0
    # Nothing yet; a click later it is there. (Another visit's token stands in for the upload.)
    page.evaluate(f"history.replaceState(null, '', '#{tokens['accepted']}')")
    page.click("[data-view=unknown] .again")
    shows("accepted", "en")
    # Without a code the page asks for it, however it is typed.
    page.goto("about:blank")
    page.goto(f"{intake.url}/status?lang=en")
    shows("ask", "en")
    assert axe.run(page).violations_count == 0
    page.fill("#token", f" {intake.url}/status#{tokens['retake'].upper()} ")
    page.keyboard.press("Enter")
    shows("retake", "en")
    # The intake goes away.
    page.route("**/status/v1/lookup", lambda route: route.abort())
    page.goto(f"{intake.url}/status?lang=en#{tokens['received']}")
    shows("failed", "en")

    assert faults == []
    assert not any(token in request.url for request in asked for token in tokens.values() if "#" not in request.url)
    told = [request for request in asked if request.method == "POST"]
    assert {re.sub(r"^https://[^/]+", "", request.url) for request in told} == {"/status/v1/lookup"}
    assert all(json.loads(request.post_data).keys() == {"token"} for request in told)
    assert context.cookies() == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    log = intake.told()
    assert not any(token in log for token in tokens.values())
    context.close()


def test_without_script_the_form_does_it(door, browser):
    intake, tokens = door
    context = browser.new_context(ignore_https_errors=True, java_script_enabled=False, color_scheme="dark")
    page = context.new_page()
    sent = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    page.goto(f"{intake.url}/status?lang=de")
    page.fill("#token", tokens["retake"])
    page.click("button[type=submit]")
    page.wait_for_selector('[data-view="retake"]:not([hidden])')
    assert page.locator("[data-reason]:visible").count() == 2
    assert page.locator(".again:visible").count() == 0, "nothing that needs the script"
    assert [parse_qs(request.post_data) for request in sent] == [{"token": [tokens["retake"]]}]
    assert tokens["retake"] not in page.url
    context.close()
