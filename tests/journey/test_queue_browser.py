"""The officers' queue in a real browser: single keys lead through it and can be switched off, a packet that is open is shown as taken, axe finds nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from crypto.desk_secret import load_desk_secret
from crypto.keys import SignerSource
from crypto.seal import read_header
from server.config import DeskSettings
from server.objects import open_objects
from server.receipt_log import open_receipt_log
from server.roles import Role
from server.store import NewPacket, Nonce, open_store
from server.users import Users
from tests.doors import open_server
from tests.journey.screens import CHROMIUM
from tests.sealed_packets import APPLICANT, Keys, digest, finding, report, visit

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium")]
RULES = ("pose.yaw", "light.even", "background.even")
PACKETS = 5
WAIT_MS = 30_000


async def fill(keys: Keys, data: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Packets as an intake keeps them, oldest first, and two officers with their passwords."""
    settings = DeskSettings.from_pki(keys.folder, data)
    async with (
        open_store(settings.resolved_database_url) as store,
        open_objects(settings) as objects,
        open_receipt_log(store, SignerSource(f"file:{keys.folder / 'intake.key'}").current) as receipts,
    ):
        packets = [await receive(keys, objects.packets, receipts, number) for number in range(PACKETS)]
        users = Users(store, load_desk_secret(settings.secret))
        made = [await users.add(name, [Role.OFFICER.value], temporary=False) for name in ("Ada", "Grace")]
    return packets, [(one.user.name, one.password) for one in made]


async def receive(keys: Keys, objects, receipts, number: int) -> str:
    failing = RULES[: number % 3]
    findings = [finding(rule, 14.0, "fail") if rule in failing else finding(rule) for rule in RULES]
    override = {"override": {"staff": "s-07", "reason_class": "medical"}} if number == 2 else {}
    told = visit(f"DEMO2026{number:05}", "typed" if number == 3 else "scanned", **override)
    parts = {
        "portrait.jpg": APPLICANT.read_bytes(),
        "report.json": json.dumps(report(*findings)).encode(),
        "visit.json": json.dumps(told).encode(),
    }
    if number == 1:
        pad = {"mechanism": "light-steps", "usable": True, "score": 0.2, "operating_point": 0.5, "suspected": True}
        parts["pad/score.json"] = json.dumps(pad).encode()
    packet = keys.packet(parts)
    sha256, header = digest(packet), read_header(packet)
    async with objects.writer() as writer:
        await writer.write(packet)
        await writer.keep(sha256)
    at = datetime.now(UTC) - timedelta(hours=30) + timedelta(hours=number * 3)
    keys_named = " ".join(header.recipient_key_ids)
    await receipts.append(
        NewPacket(sha256, header.packet_id, header.booth, keys_named, len(packet), at, at), Nonce("b", sha256, at)
    )
    return sha256


@contextlib.contextmanager
def open_filled_desk(folder: Path):
    """A running desk with packets; their digests and the officers."""
    keys, data = Keys(folder / "pki"), folder / "data"
    with ThreadPoolExecutor(1) as thread:  # Playwright has a loop of its own on this one
        packets, officers = thread.submit(asyncio.run, fill(keys, data)).result()
    with open_server("desk", keys, folder, data=data, DESK_TOTP="optional") as door:
        yield door, packets, officers


def signed_in(browser, door, name: str, password: str, **options):
    context = browser.new_context(ignore_https_errors=True, **options)
    page = context.new_page()
    page.goto(f"{door.url}/login")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", password)
    page.click("main button[type=submit]")
    page.wait_for_selector("table.packets", timeout=WAIT_MS)
    return page


def test_single_keys_lead_through_the_queue_and_can_be_switched_off(tmp_path, browser):
    with open_filled_desk(tmp_path) as (door, packets, officers):
        page = signed_in(browser, door, *officers[0], locale="en-GB", viewport={"width": 1440, "height": 900})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        axe = Axe()

        def at(path: str) -> None:
            page.wait_for_url(f"**{path}", timeout=WAIT_MS)

        page.keyboard.press("?")
        page.wait_for_selector("dialog.shortcuts[open]", timeout=WAIT_MS)
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        page.keyboard.press("Escape")
        for key, expected in (("j", packets[0]), ("j", packets[1]), ("k", packets[0])):
            page.keyboard.press(key)
            assert page.evaluate("document.activeElement.getAttribute('href')") == f"/packets/{expected}"
        page.keyboard.press("/")
        page.keyboard.type("nothing of an officer's keys: n")
        assert page.input_value("#q").endswith("keys: n"), "who writes is not led away"
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("n")
        at(f"/packets/{packets[0]}")
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        page.keyboard.press("n")
        at(f"/packets/{packets[1]}")

        # Another officer sees that somebody has it, and is given the next one.
        other = signed_in(browser, door, *officers[1], locale="ar", viewport={"width": 1440, "height": 900})
        assert other.locator("html").get_attribute("dir") == "rtl"
        rows = other.locator("table.packets tbody tr")
        assert [rows.nth(number).locator("td .tag").count() for number in range(3)] == [0, 1, 0]
        other.keyboard.press("n")
        other.wait_for_url(f"**/packets/{packets[0]}", timeout=WAIT_MS)
        other.keyboard.press("n")
        other.wait_for_url(f"**/packets/{packets[2]}", timeout=WAIT_MS)

        page.keyboard.press("q")
        at("/")
        page.click(".shortcuts-open")
        page.uncheck("input[name=shortcuts]")
        page.click(".shortcuts-close")
        page.reload()
        page.keyboard.press("n")
        page.keyboard.press("j")
        assert page.evaluate("document.activeElement === document.body"), "switched off, also after a reload"
        page.click("details.filters summary")
        page.select_option("#rule", "pose.yaw")
        page.click("form.search button.main")
        at("/?rule=pose.yaw")
        failing = [f"/packets/{packets[number]}?rule=pose.yaw" for number in (1, 2, 4)]
        ends_at = time.monotonic() + WAIT_MS / 1000
        while (
            page.eval_on_selector_all("a.row-link", "links => links.map((one) => one.getAttribute('href'))") != failing
        ):
            assert time.monotonic() < ends_at, "the desk reads packets within seconds"
            page.reload()
        assert faults == []
