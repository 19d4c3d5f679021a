"""The screen as a machine: it waits for the controller, comes back with it, forgets each visit, and is started anew when its page does not live."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from booth import web
from booth.web import open_pages
from tests.bench.process_memory import family
from tests.canaries import hits, text_needles
from tests.kiosk_rig import KioskBrowser
from tests.unit.fake_booth import FakeBooth, kiosk_state

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


SECRET = "CNRY-STORED-4711"
PLANT = """async (secret) => {
  localStorage.setItem("number", secret);
  sessionStorage.setItem("number", secret);
  await (await caches.open("visit")).put("/number", new Response(secret));
  await new Promise((done, failed) => {
    const opening = indexedDB.open("visit");
    opening.onupgradeneeded = () => opening.result.createObjectStore("numbers");
    opening.onerror = failed;
    opening.onsuccess = () => {
      const writing = opening.result.transaction("numbers", "readwrite");
      writing.objectStore("numbers").put(secret, "number");
      writing.oncomplete = () => (opening.result.close(), done());
    };
  });
  window.kept = secret;
}"""
LEFT = """async () => ({
  local: localStorage.length, session: sessionStorage.length, caches: (await caches.keys()).length,
  databases: (await indexedDB.databases()).length, variable: window.kept ?? null, cookie: document.cookie,
})"""
NOTHING = {"local": 0, "session": 0, "caches": 0, "databases": 0, "variable": None, "cookie": ""}
UNWELL = ("hangs", "crashes", "shows something else")


def renderers(process: int) -> list[int]:
    """The processes that hold pages."""
    found = []
    for one in family(process):
        with suppress(OSError):
            if b"--type=renderer" in Path(f"/proc/{one}/cmdline").read_bytes():
                found.append(one)
    return found


# A page of the run before shows the new run's state at once, and only then makes way for a page of its own; so does one of the visit before.
SHOWN = "(state) => !window.old && document.body.dataset.state === state"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as line:
        return line.getsockname()[1]


async def test_the_screen_waits_for_the_controller_and_never_shows_an_error_of_the_browser(kiosk_profile):
    from playwright.async_api import async_playwright

    port = free_port()
    # Not more often: each run lives for a second, and a look that falls four times between its first answer and its page would be a screen not well.
    screen = KioskBrowser(kiosk_profile, f"http://127.0.0.1:{port}/", check_s=3)
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
                    await page.wait_for_function(SHOWN, arg=state)
                await page.wait_for_selector("#lost:not([hidden])", state="attached")
                await page.evaluate("() => { window.old = true; }")
            async with open_pages(booth, port):
                await page.wait_for_function(SHOWN, arg="attract")
                assert len(renderers(screen.process.pid)) == 1, "no page behind an address line, none in reserve"
                await page.evaluate(PLANT, SECRET)
                await booth.show(kiosk_state("clearing", visit=None))
                await page.wait_for_selector("body[data-state=clearing]")
                before = len(seen)
                await page.evaluate("() => { window.old = true; }")
                await booth.show(kiosk_state("attract"))
                await page.wait_for_function(SHOWN, arg="attract")
                assert len(seen) > before, "the next visit has a document of its own"
                assert await page.evaluate(LEFT) == NOTHING
                assert hits(text_needles("secret", SECRET), kiosk_profile) == []
            assert not [url for url in seen if not url.startswith(f"http://127.0.0.1:{port}/")], seen
            assert screen.process.poll() is None
    finally:
        screen.kill()


@pytest.mark.parametrize("what", UNWELL)
async def test_a_page_that_does_not_live_is_started_anew(what, kiosk_profile, tmp_path, monkeypatch):
    from playwright.async_api import Error, async_playwright

    monkeypatch.setattr(web, "ALIVE_S", 0.5)
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(60)
    async with open_pages(FakeBooth(kiosk_state("attract")), 0) as url:
        screen = KioskBrowser(kiosk_profile, url, check_s=1, more={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        try:
            assert "READY=1" in (await asyncio.to_thread(next_good, manager))
            async with async_playwright() as playwright:
                remote = await playwright.chromium.connect_over_cdp(await screen.address())
                page = remote.contexts[0].pages[0]
                await page.wait_for_selector("body[data-state=attract]")
                if what == "hangs":
                    await page.evaluate("() => setTimeout(() => { for (;;); }, 0)")
                elif what == "crashes":
                    for process in renderers(screen.process.pid):
                        os.kill(process, signal.SIGKILL)
                else:
                    await page.goto("about:blank")
                assert await asyncio.to_thread(screen.process.wait, 60) == 1
                with suppress(Error):
                    await remote.close()
        finally:
            screen.kill()
            manager.close()


def next_good(manager: socket.socket) -> str:
    """The next sign of life that systemd's watchdog would get."""
    while "WATCHDOG=1" not in (told := manager.recv(4096).decode()):
        pass
    return told
