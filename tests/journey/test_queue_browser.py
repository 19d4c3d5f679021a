"""Single keys in a real browser (tests/journey/test_officers_day.py uses them all day): who writes is not led away, they can be switched off, an open page is a look."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from crypto.keys import SignerSource
from crypto.seal import read_header
from server.config import DeskSettings
from server.objects import open_objects
from server.queue_rows import queue_looks
from server.receipt_log import open_receipt_log
from server.roles import Role
from server.store import NewPacket, Nonce, open_present_store, open_store
from tests.desk_users import make_user
from tests.doors import open_server
from tests.journey.screens import CHROMIUM
from tests.sealed_packets import Keys, digest, report, visit

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium")]
PACKETS = 2
WAIT_MS = 60_000
HEARS = ".shortcuts-open:not([hidden])"  # the page's script shows it when it listens


async def fill(keys: Keys, settings: DeskSettings) -> list[str]:
    """Packets as an intake keeps them, oldest first."""
    digests = []
    async with (
        open_store(settings.resolved_database_url) as store,
        open_objects(settings) as objects,
        open_receipt_log(store, SignerSource(f"file:{keys.folder / 'intake.key'}").current) as receipts,
    ):
        for number in range(PACKETS):
            told = visit(f"DEMO2026{number:05}")
            parts = {"report.json": json.dumps(report()).encode(), "visit.json": json.dumps(told).encode()}
            packet = keys.packet(parts)
            sha256, header = digest(packet), read_header(packet)
            async with objects.packets.writer() as writer:
                await writer.write(packet)
                await writer.keep(sha256)
            at = datetime.now(UTC) - timedelta(hours=PACKETS - number)
            names = " ".join(header.recipient_key_ids)
            new = NewPacket(sha256, header.packet_id, header.booth, names, len(packet), at, at)
            await receipts.append(new, Nonce(header.booth, sha256, at))
            digests.append(sha256)
    return digests


async def looked_at(settings: DeskSettings) -> set[str]:
    async with open_present_store(settings.resolved_database_url) as store, store.reading() as connection:
        return set((await connection.execute(sa.select(queue_looks.c.packet_sha256))).scalars())


def test_keys_are_not_heard_while_somebody_writes_and_can_be_switched_off(tmp_path, browser):
    keys = Keys(tmp_path / "pki")
    settings = DeskSettings.from_pki(keys.folder, tmp_path / "data")
    with ThreadPoolExecutor(1) as thread:  # Playwright has a loop of its own on this one

        def run(work):
            return thread.submit(asyncio.run, work).result()

        packets = run(fill(keys, settings))
        officer = make_user(keys.folder, settings.data_dir, Role.OFFICER)
        with open_server("desk", keys, tmp_path, data=settings.data_dir, DESK_TOTP="optional") as door:
            page = browser.new_context(ignore_https_errors=True, locale="en-GB").new_page()
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(f"{door.url}/login")
            page.fill("input[name=name]", officer.user.name)
            page.fill("input[name=password]", officer.password)
            page.click("main button[type=submit]")
            page.wait_for_selector("table.packets", timeout=WAIT_MS)
            page.wait_for_selector(HEARS, timeout=WAIT_MS)

            for key, expected in (("j", packets[0]), ("j", packets[1]), ("k", packets[0])):
                page.keyboard.press(key)
                assert page.evaluate("document.activeElement.getAttribute('href')") == f"/packets/{expected}"
            page.keyboard.press("/")
            page.keyboard.type("nq? an officer's word")
            assert page.input_value("#q") == "nq? an officer's word"
            # By place on a keyboard without Latin letters; opening the page alone is no look, the page's own form is one.
            page.evaluate("document.activeElement.blur()")
            assert run(looked_at(settings)) == set()
            with page.expect_response(lambda answer: answer.url.endswith("/look") and answer.status == 204):
                page.click(f'a[href="/packets/{packets[1]}"]')
            assert run(looked_at(settings)) == {packets[1]}
            page.evaluate("dispatchEvent.call(document, new KeyboardEvent('keydown', {key: 'й', code: 'KeyQ'}))")
            page.wait_for_selector("table.packets", timeout=WAIT_MS)
            page.wait_for_selector(HEARS, timeout=WAIT_MS)

            page.click(".shortcuts-open")
            page.uncheck("input[name=shortcuts]")
            page.click(".shortcuts-close")
            page.reload()
            page.wait_for_selector(HEARS, timeout=WAIT_MS)
            page.evaluate("document.activeElement.blur()")
            for key in "jnq/":
                page.keyboard.press(key)
            assert page.evaluate("document.activeElement === document.body"), "switched off, also after a reload"
            page.click(".shortcuts-open")
            page.check("input[name=shortcuts]")
            page.click(".shortcuts-close")
            page.evaluate("document.activeElement.blur()")
            page.keyboard.press("j")
            assert page.evaluate("document.activeElement.getAttribute('href')") == f"/packets/{packets[0]}"
            assert faults == []
