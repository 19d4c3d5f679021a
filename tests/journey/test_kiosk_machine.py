"""The screen as a machine: it waits for the controller, comes back with it, and is started anew when it shows something else."""

from __future__ import annotations

import asyncio
import socket

import pytest

from booth.web import open_pages
from tests.kiosk_rig import KioskBrowser
from tests.unit.fake_booth import FakeBooth, kiosk_state

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as line:
        return line.getsockname()[1]


async def test_the_screen_waits_for_the_controller_and_never_shows_an_error_of_the_browser(kiosk_profile):
    from playwright.async_api import async_playwright

    port = free_port()
    screen = KioskBrowser(kiosk_profile, f"http://127.0.0.1:{port}/", check_s=1)
    try:
        async with async_playwright() as playwright:
            remote = await playwright.chromium.connect_over_cdp(await screen.address())
            page = remote.contexts[0].pages[0]
            page.set_default_timeout(60_000)
            seen = []
            page.on("framenavigated", lambda frame: seen.append(frame.url))
            assert "One moment" in await page.inner_text("body")
            assert page.url.endswith(f"wait.html#http://127.0.0.1:{port}/")
            for state in ("attract", "consent", "attract"):
                booth = FakeBooth(kiosk_state(state))
                async with open_pages(booth, port):
                    await page.wait_for_selector(f"body[data-state={state}]")
                await page.wait_for_selector("#lost:not([hidden])", state="attached")
            async with open_pages(booth, port):
                await page.wait_for_selector("body[data-state=attract]")
                await booth.show(kiosk_state("clearing", visit=None))
                await page.wait_for_selector("body[data-state=clearing]")
                before = len(seen)
                await booth.show(kiosk_state("attract"))
                await page.wait_for_function("() => performance.getEntriesByType('navigation')[0].type === 'reload'")
                await page.wait_for_selector("body[data-state=attract]")
                assert len(seen) > before, "the next visit has a document of its own"
            assert not [url for url in seen if not url.startswith(f"http://127.0.0.1:{port}/")], seen
            assert screen.process.poll() is None
            # A controller that answers and a screen that shows something else: the browser ends, and systemd starts it anew.
            async with open_pages(booth, port):
                await page.goto("about:blank")
                assert await asyncio.to_thread(screen.process.wait, 60) == 1
    finally:
        screen.kill()
